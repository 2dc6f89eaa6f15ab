"""A phantom of GRAZPEDWRI-DX: drawn wrists in the layout of the published radiographs.

Forearm, radius and ulna with a bright cortex, and carpal bones; pose, exposure, blur and noise
change from view to view. A fracture is an oblique gap across one bone, whose distal part is
shifted and bent, from clearly visible down to a hairline. Nothing here is a radiograph: every
`filestem` says `phantom`.
"""

import csv
import hashlib
import io
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from hw4 import runtime
from hw4.radiographs.drawing import draw

CSV_NAME = "dataset.csv"
FRACTURES_NAME = "fractures.csv"
#: What write_phantom wrote, one `<sha256>  <file>` a line, as `sha256sum --check` reads it.
MANIFEST_NAME = "phantom.sha256"
MARK = "phantom"
#: Class number of a fracture in the box files that accompany the published images.
FRACTURE_CLASS = 3
FRACTURED_SHARE = 2 / 3
MAX_VIEWS = 4
_VERSION = 3
# the names under which runtime.write_whole has a file before it is whole
_PARTIAL = re.compile(r"^(.*/)?\.([^/]+)\.[^./]+\.partial$")


def write_phantom(
    folder: str | Path, n: int, seed: int, size: int = 224, finest: float = 0.2
) -> Path:
    """Draw `n` phantom radiographs into `folder`, in the layout of GRAZPEDWRI-DX.

    Writes 16-bit grey `<filestem>.png`; `labels/<filestem>.txt` with the place of each fracture
    (class 3, centre x, centre y, width, height, as shares of the image); `fractures.csv` with
    its `gap` and `shift` as shares of the image's height and its `bend` in radians; and at last
    `dataset.csv` with `filestem`, `fracture_visible` (`1.0` or empty) and `patient_id`. Patients
    have one to four views; two thirds of the images are fractured. Equal arguments give equal
    files, and a folder that already holds them is left as it is.

    `phantom.sha256` names every file before it is written, with its checksum. Only files that it
    names, and that are still as they were written, are ever replaced or deleted.

    Args:
        folder: created when missing; empty, or a phantom's own.
        n: number of images, at least 3.
        seed: any integer from 0.
        size: height and width in pixels, at least 32.
        finest: the widest gap is 1.4 % of the height, the finest fracture has gap, shift and bend
            `finest` times as large; in (0, 1]. In between each wrist draws its own, as often
            from every octave.

    Returns:
        `folder` as a Path.

    Raises:
        ValueError: an argument out of range, or a folder that holds anything else.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     folder = write_phantom(place, n=3, seed=7, size=32)
    ...     len(list(folder.glob("*.png"))), (folder / "dataset.csv").is_file()
    (3, True)
    """
    n = runtime.integer("n", n, 3, cure="Try n=7.")
    seed = runtime.integer("seed", seed, 0, cure="Try seed=7.")
    size = runtime.integer("size", size, 32, cure="Try size=32.")
    if isinstance(finest, bool) or not 0 < finest <= 1:
        raise ValueError(f"finest must be above 0 and at most 1; got {finest!r}. Try 0.2.")
    folder, finest = Path(folder), float(finest)
    arguments = f"# {MARK} v{_VERSION} n {n} seed {seed} size {size} finest {finest}"
    written, own, complete = _own_files(folder)
    if written == arguments and complete:
        return folder
    if written != arguments:
        for name in own:
            (folder / name).unlink()
        own = set()
        runtime.write_whole(folder / MANIFEST_NAME, f"{arguments}\n")
    for name, content in _files(n, seed, size, finest):
        if name in own:
            continue
        # named first, so that a file is known as ours from the moment it is there
        with (folder / MANIFEST_NAME).open("a", encoding="utf-8") as manifest:
            manifest.write(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
        runtime.write_whole(folder / name, content, durable=False)
    return folder


def _files(n: int, seed: int, size: int, finest: float) -> Iterator[tuple[str, bytes]]:
    """Yield every file's name and content; the table, which makes a phantom whole, comes last."""
    device = f"{MARK} v{_VERSION} seed {seed} size {size}"
    table = [("filestem", "patient_id", "fracture_visible", "device_manufacturer")]
    fractures = [("filestem", "gap", "shift", "bend")]
    for (patient, view, fractured), (pixels, seen) in _drawn(n, seed, size, finest):
        # The published stems read <patient>_<time>_<view>_WRI-<side><projection>_<sex and age>.
        stem = f"{patient:04d}_{MARK}_{view:02d}_WRI-{'LR'[patient % 2]}1"
        yield f"{stem}.png", _png(pixels)
        box = " ".join([str(FRACTURE_CLASS), *(f"{v:.5f}" for v in seen.box)]) if seen else ""
        yield f"labels/{stem}.txt", f"{box}\n".encode() if seen else b""
        table.append((stem, patient, "1.0" if fractured else "", device))
        if seen:
            fractures.append((stem, *(f"{v:.6f}" for v in (seen.gap, seen.shift, seen.bend))))
    yield FRACTURES_NAME, _csv(fractures)
    yield CSV_NAME, _csv(table)


def _drawn(n: int, seed: int, size: int, finest: float) -> Iterator[tuple]:
    """Yield what is planned and drawn, in order: a thread a core, few images ahead of their use."""

    def image(planned: tuple[int, int, bool]) -> tuple:
        patient, view, fractured = planned
        wrist = [_VERSION, seed, patient]
        return planned, draw(wrist, view, fractured, size, patient % 2 == 0, finest)

    plan, ahead = _plan(n, seed), 32
    with ThreadPoolExecutor(runtime.cores()) as pool:
        for start in range(0, n, ahead):
            yield from pool.map(image, plan[start : start + ahead])


def _png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes()


def _csv(rows: list[tuple]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _plan(n: int, seed: int) -> list[tuple[int, int, bool]]:
    """List (patient, view, fractured) of every image; the views of a patient share the label."""
    rng = np.random.default_rng([_VERSION, seed])
    views, most = [], min(MAX_VIEWS, n // 3)
    while sum(views) < n:
        views.append(min(int(rng.integers(1, most + 1)), n - sum(views)))
    room, fractured = round(FRACTURED_SHARE * n), set()
    for patient in rng.permutation(len(views)):
        if views[patient] <= room:
            fractured.add(int(patient))
            room -= views[patient]
    return [
        (patient + 1, view + 1, patient in fractured)
        for patient, count in enumerate(views)
        for view in range(count)
    ]


def _own_files(folder: Path) -> tuple[str, set[str], bool]:
    """Return the arguments of the phantom in `folder`, its files, and whether none is missing.

    Raises:
        ValueError: something is there that no phantom wrote, or that was changed since.
    """
    # looked for before the manifest is read: another process may be writing the same phantom
    found = _found_files(folder)
    if not found:
        return "", set(), False
    try:
        first, *lines = (folder / MANIFEST_NAME).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        first, lines = "", []
    sums = {name: sha for sha, _, name in (line.partition("  ") for line in lines)}
    known = {MANIFEST_NAME} if first.startswith(f"# {MARK} v") else set()
    # what a kill left of a file that was being written, or another process writes right now
    ours = {*sums, MANIFEST_NAME}
    known |= {name for name in found if (m := _PARTIAL.match(name)) and m.expand(r"\1\2") in ours}
    own = {name for name in (found & set(sums)) - known if _sha256(folder / name) == sums[name]}
    if strange := sorted(found - known - own):
        raise ValueError(
            f"folder must be empty or hold a phantom's own files alone; got {strange[0]} in "
            f"{folder}, which no phantom wrote or which was changed since"
            f"{f', and {len(strange) - 1:,} more' if strange[1:] else ''}. Choose another folder, "
            "or delete this one."
        )
    return first, own, CSV_NAME in sums and own >= set(sums)


def _found_files(folder: Path) -> set[str]:
    """Return the paths below `folder` of everything in it that is not a folder of its own."""
    runtime.expect_folder("folder", folder)
    found = set()
    for place, folders, files in os.walk(folder):
        linked = [name for name in folders if (Path(place) / name).is_symlink()]
        found |= {(Path(place) / name).relative_to(folder).as_posix() for name in files + linked}
    return found


def _sha256(path: Path) -> str | None:
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
