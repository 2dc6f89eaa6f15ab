"""Files of the data set: found, read within bounds, and their pixels as the networks take them.

Grey PNG files of 16 bits, in one folder or in `images_part1` to `images_part4`. The format is that
of the PNG specification (ISO/IEC 15948): a signature, then chunks of length, type, data and
CRC-32, from IHDR to IEND.
"""

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

#: Bounds of what is read; the published files have at most about 3 million pixels.
MAX_PIXELS = 2**25
MAX_BYTES = 2**27
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def find(folder: Path, problems: dict[str, list[str]]) -> dict[str, Path]:
    """Map every stem to its PNG file, from the folder itself and from its `images*` folders.

    Hidden files are none of the data set's: archives made on a Mac carry `._<name>.png`.
    """
    parts = sorted(path for path in folder.glob("images*") if path.is_dir())
    found: dict[str, Path] = {}
    for place in (folder, *parts):
        for name in sorted(os.listdir(place)):
            stem, extension = os.path.splitext(name)
            if extension.lower() != ".png" or name.startswith("."):
                continue
            if stem in found:
                problems["duplicate file"].append(stem)
            found.setdefault(stem, place / name)
    return found


def read(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Raises:
        ValueError: a pipe or device, which may never end; a larger file; or an unreadable one.
    """
    try:
        if not path.is_file():
            raise ValueError(f"path must be readable; got {_no_file(path)}.")
        with path.open("rb") as stream:
            length = os.fstat(stream.fileno()).st_size
            if length > limit:
                raise ValueError(f"path must hold at most {limit:,} bytes; got {length:,}.")
            # read(limit) would reserve the whole limit for every file
            return stream.read(length)
    except OSError as error:
        raise ValueError(f"path must be readable; got {error.strerror}.") from error


def _no_file(path: Path) -> str:
    return "no regular file" if os.path.lexists(path) else "no such file"


def decode(path: Path, size: int) -> np.ndarray:
    """Read one grey PNG as three equal 8-bit channels of the size the network takes.

    16 bits become 8 by v -> round(v / 257), which maps 0..65535 onto 0..255; the resize
    averages areas when it shrinks and interpolates bilinearly when it grows, and comes first, so
    that nothing is rounded twice. The aspect ratio is not kept, as in the task.

    Args:
        path: the file; colours are welcome where they are all grey.
        size: height and width in pixels.

    Returns:
        (size, size, 3) uint8.

    Raises:
        ValueError: the file is missing, cut off, damaged, too large, or no grey image.
    """
    content = read(path)
    # libpng would write to stderr, and may return half an image, so damage is looked for first.
    if reason := damage(content):
        raise ValueError(f"path must be a whole PNG file; got {reason}.")
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ValueError("path must be a grey PNG; got pixels that cannot be decoded.")
    pixels = _grey(pixels)
    shrinks = max(pixels.shape) > size
    resized = cv2.resize(
        pixels.astype(np.float32),
        (size, size),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )
    eight = np.rint(resized / (257 if pixels.dtype == np.uint16 else 1)).astype(np.uint8)
    return np.repeat(eight[..., None], 3, axis=2)


def _grey(pixels: np.ndarray) -> np.ndarray:
    """Return the one channel of an image whose colours are all equal and all opaque."""
    if pixels.ndim == 2:
        return pixels
    first = pixels[..., :1]
    if pixels.shape[2] == 4 and (pixels[..., 3] != np.iinfo(pixels.dtype).max).any():
        raise ValueError("path must be a grey PNG; got one that is transparent in places.")
    if (differ := (pixels[..., :3] != first).any(axis=2)).any():
        raise ValueError(
            f"path must be a grey PNG; got colours in {differ.sum():,} of {differ.size:,} pixels."
        )
    return np.ascontiguousarray(first[..., 0])


def damage(content: bytes) -> str | None:
    """Say what is wrong with a PNG file, chunk by chunk; None when every CRC is right.

    >>> damage(b"")
    'an empty file'
    >>> damage(b"GIF89a")
    'another format'
    """
    if reason := _start_problem(content):
        return reason
    position = len(_SIGNATURE)
    while position + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        body = content[position + 4 : position + 8 + length]
        if position + 12 + length > len(content):
            break
        (stored,) = struct.unpack_from(">I", content, position + 8 + length)
        if zlib.crc32(body) != stored:
            return f"a damaged {body[:4].decode('latin-1')!r} chunk"
        if body[:4] == b"IEND":
            return None
        position += 12 + length
    return "a file that is cut off"


def ends_problem(path: Path) -> tuple[str, str] | None:
    """Return the kind of problem of a PNG file's two ends and what it is; None if nothing.

    Finds empty, foreign, oversized and cut-off files without reading the pixels; of a sound file
    it reads 45 bytes.
    """
    try:
        if not path.is_file():
            return "unreadable", _no_file(path)
        with path.open("rb") as stream:
            if reason := _start_problem(stream.read(len(_SIGNATURE) + 25)):
                return "unreadable", reason
            stream.seek(0, os.SEEK_END)
            if (length := stream.tell()) > MAX_BYTES:
                return "unreadable", f"{length:,} bytes, more than {MAX_BYTES:,}"
            stream.seek(max(0, length - len(_END)))
            if stream.read() == _END:
                return None
            return _walk(stream, length)
    except OSError as error:
        return "unreadable", str(error.strerror)


def _start_problem(start: bytes) -> str | None:
    """Judge the signature and the size that the header declares, before anything is decoded."""
    if not start.startswith(_SIGNATURE):
        return "another format" if start else "an empty file"
    if len(start) < len(_SIGNATURE) + 25:
        return "a file that is cut off"
    kind, width, height = struct.unpack_from(">4sII", start, len(_SIGNATURE) + 4)
    if kind != b"IHDR" or not width * height:
        return "no header with a size"
    if width * height > MAX_PIXELS:
        return f"{width:,} x {height:,} pixels, more than {MAX_PIXELS:,}"
    return None


def _walk(stream, length: int) -> tuple[str, str]:
    """Go from chunk to chunk to where the file should have ended."""
    position = len(_SIGNATURE)
    while position + 12 <= length:
        stream.seek(position)
        size, kind = struct.unpack(">I4s", stream.read(8))
        position += 12 + size
        if kind == b"IEND" and position < length:
            return "bytes after the end", f"{length - position:,} bytes after the picture's end"
    return "unreadable", "a file that is cut off"
