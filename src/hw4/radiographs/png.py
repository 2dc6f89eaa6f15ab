"""16-bit grey PNG files: their completeness, and their pixels as the networks take them.

The format is that of the PNG specification (ISO/IEC 15948): a signature, then chunks of length,
type, data and CRC-32, from IHDR to IEND.
"""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def decode(path: Path, size: int) -> np.ndarray:
    """Read one grey PNG as three equal 8-bit channels of the size the network takes.

    16 bits become 8 by v -> round(v / 257), which maps 0..65535 onto 0..255; the resize
    averages areas when it shrinks and interpolates bilinearly when it grows, and comes first, so
    that nothing is rounded twice. The aspect ratio is not kept, as in the task.

    Args:
        path: the file.
        size: height and width in pixels.

    Returns:
        (size, size, 3) uint8.

    Raises:
        ValueError: the file is missing, cut off, damaged, or no grey image.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"path must be readable; got {error.strerror}.") from error
    # libpng would write to stderr, and may return half an image, so damage is looked for first.
    if reason := damage(content):
        raise ValueError(f"path must be a whole PNG file; got {reason}.")
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.ndim != 2:
        kind = "pixels that cannot be decoded" if pixels is None else f"shape {pixels.shape}"
        raise ValueError(f"path must be a grey PNG; got {kind}.")
    shrinks = max(pixels.shape) > size
    resized = cv2.resize(
        pixels.astype(np.float32),
        (size, size),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )
    eight = np.rint(resized / (257 if pixels.dtype == np.uint16 else 1)).astype(np.uint8)
    return np.repeat(eight[..., None], 3, axis=2)


def damage(content: bytes) -> str | None:
    """Say what is wrong with a PNG file, chunk by chunk; None when every CRC is right.

    >>> damage(b"")
    'an empty file'
    >>> damage(b"GIF89a")
    'another format'
    """
    if not content:
        return "an empty file"
    if not content.startswith(_SIGNATURE):
        return "another format"
    position = len(_SIGNATURE)
    while position + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        body = content[position + 4 : position + 8 + length]
        if position + 12 + length > len(content):
            break
        (stored,) = struct.unpack_from(">I", content, position + 8 + length)
        if zlib.crc32(body) != stored:
            return f"a damaged {body[:4].decode('latin-1')} chunk"
        if body[:4] == b"IEND":
            return None
        position += 12 + length
    return "a file that is cut off"


def ending_problem(path: Path) -> str | None:
    """Say what is wrong with the two ends of a PNG file, reading 20 bytes of it; None if nothing.

    Finds empty, foreign and cut-off files without reading the pixels.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(len(_SIGNATURE))
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - len(_END)))
            end = stream.read()
    except OSError as error:
        return str(error.strerror)
    if start != _SIGNATURE:
        return "another format" if start else "an empty file"
    return None if end == _END else "a file that is cut off"
