"""A phantom of GRAZPEDWRI-DX: drawn wrists in the layout of the published radiographs.

Forearm, radius and ulna with a bright cortex, and carpal bones; pose, exposure, blur and noise
change from view to view. A fracture is a thin oblique gap across one bone, whose distal part is
shifted and bent. Nothing here is a radiograph: every `filestem` says `phantom`.
"""

import csv
import io
import os
from pathlib import Path

import cv2
import numpy as np

from hw4.radiographs.drawing import draw

CSV_NAME = "dataset.csv"
MARK = "phantom"
#: Class number of a fracture in the box files that accompany the published images.
FRACTURE_CLASS = 3
FRACTURED_SHARE = 2 / 3
MAX_VIEWS = 4
_VERSION = 2


def write_phantom(folder: str | Path, n: int, seed: int, size: int = 224) -> Path:
    """Draw `n` phantom radiographs into `folder`, in the layout of GRAZPEDWRI-DX.

    Writes 16-bit grey `<filestem>.png`, `labels/<filestem>.txt` with the place of each fracture
    (class 3, centre x, centre y, width, height, as shares of the image), and at last
    `dataset.csv` with `filestem`, `fracture_visible` (`1.0` or empty) and `patient_id`. Patients
    have one to four views; two thirds of the images are fractured. Equal arguments give equal
    files, and a folder that already holds them is left as it is.

    Args:
        folder: created when missing; never one that holds other radiographs.
        n: number of images, at least 3.
        seed: any integer from 0.
        size: height and width in pixels, at least 32.

    Returns:
        `folder` as a Path.

    Raises:
        ValueError: an argument out of range, or a folder with other radiographs.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     folder = write_phantom(place, n=3, seed=7, size=32)
    ...     len(list(folder.glob("*.png"))), (folder / "dataset.csv").is_file()
    (3, True)
    """
    for name, value, least in (("n", n, 3), ("seed", seed, 0), ("size", size, 32)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(
                f"{name} must be an integer of at least {least}; got {value!r}. "
                f"Try {name}={max(least, 7)}."
            )
    folder, plan = Path(folder), _plan(n, seed)
    table = _table(plan, seed, size)
    if _is_written(folder, plan, table):
        return folder
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    for patient, view, fractured in plan:
        pixels, box = draw([_VERSION, seed, patient], view, fractured, size, patient % 2 == 0)
        stem = _stem(patient, view)
        cv2.imwrite(str(folder / f"{stem}.png"), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])
        line = " ".join([str(FRACTURE_CLASS), *(f"{v:.5f}" for v in box)]) + "\n" if box else ""
        (folder / "labels" / f"{stem}.txt").write_text(line, encoding="utf-8")
    # The table comes last and in one step: with it the phantom is complete, without it nothing.
    partial = folder / f"{CSV_NAME}.partial"
    partial.write_text(table, encoding="utf-8")
    os.replace(partial, folder / CSV_NAME)
    return folder


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


def _stem(patient: int, view: int) -> str:
    # The published stems read <patient>_<time>_<view>_WRI-<side><projection>_<sex and age>.
    return f"{patient:04d}_{MARK}_{view:02d}_WRI-{'LR'[patient % 2]}1"


def _table(plan, seed: int, size: int) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["filestem", "patient_id", "fracture_visible", "device_manufacturer"])
    device = f"{MARK} v{_VERSION} seed {seed} size {size}"
    for patient, view, fractured in plan:
        writer.writerow([_stem(patient, view), patient, "1.0" if fractured else "", device])
    return text.getvalue()


def _is_written(folder: Path, plan, table: str) -> bool:
    path = folder / CSV_NAME
    if not path.is_file():
        if any(folder.glob("*.png")) and not any(folder.glob(f"*_{MARK}_*.png")):
            raise ValueError(f"folder must be empty or a phantom's; got {folder}. Choose another.")
        return False
    content = path.read_text(encoding="utf-8")
    if MARK not in content:
        raise ValueError(
            f"folder must not hold other radiographs; got {folder}, whose {CSV_NAME} names no "
            f"{MARK}. Choose another folder."
        )
    files = [folder / f"{_stem(patient, view)}.png" for patient, view, _ in plan]
    if content == table and all(path.is_file() and path.stat().st_size for path in files):
        return True
    for old in [*folder.glob(f"*_{MARK}_*.png"), *folder.glob(f"labels/*_{MARK}_*.txt"), path]:
        old.unlink()
    return False
