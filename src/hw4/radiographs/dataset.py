"""GRAZPEDWRI-DX, paediatric wrist radiographs: found, checked, split by patient, streamed.

Nagy et al., "A pediatric wrist trauma X-ray dataset (GRAZPEDWRI-DX) for machine learning",
Scientific Data 9, 222 (2022), figshare 14825193, CC BY 4.0: `dataset.csv` with `filestem` and
`fracture_visible` (empty means 0), and 20,327 16-bit grey files `<filestem>.png`, in one folder or
in `images_part1` to `images_part4`. Loading reads no pixels: those are streamed by `batches`.
"""

import csv
import functools
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from hw4 import runtime
from hw4.radiographs import splits
from hw4.radiographs.phantom import CSV_NAME, FRACTURE_CLASS, FRACTURES_NAME, MARK, write_phantom
from hw4.radiographs.png import decode, ending_problem

__all__ = ["DataError", "Radiographs", "load", "write_phantom"]

LABELS = {"": 0, "0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1}
_BOX_FOLDERS = ("labels", "folder_structure/yolov5/labels", "yolov5/labels")


class DataError(ValueError):
    """A data set with something missing, damaged or contradictory, in strict mode."""


@dataclass(frozen=True, eq=False)
class Radiographs:
    """The usable images of one folder, and by name those that are not.

    `stems`, `labels` (0 or 1) and `patients` have one entry an image, in the order of the table.
    `problems` maps a kind of problem to the names it concerns. `source` is `real` or `phantom`.
    """

    folder: Path
    source: str
    stems: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    paths: tuple[Path, ...]
    strict: bool = False
    problems: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Count the usable images."""
        return len(self.stems)

    def split(self, by: str = "patient", test_share: float = 0.2, seed: int = 7):
        """Return the indices of the training and of the test images, both sorted.

        `patient` keeps all images of a patient on one side and both shares as close to
        `test_share` as whole patients allow; `image` draws ceil(test_share * n) images, as the
        task does, stratified by label to within one image.

        Raises:
            ValueError: unknown `by`, a share outside (0, 1), or too few images or patients.
        """
        return splits.split(self.labels, self.patients, by, test_share, seed)

    def batches(self, size: int = 224, batch_size: int = 64, index=None) -> Iterator[tuple]:
        """Yield (images, labels, positions) of at most `batch_size` radiographs at a time.

        Images are (b, size, size, 3) uint8, three equal channels; `positions` says which of this
        object's entries they are. A file that cannot be read is left out of its batch and named
        in `problems["unreadable"]`; in strict mode it stops with its name.

        Args:
            size: height and width in pixels.
            batch_size: at least 1; nothing else is held in memory.
            index: positions to read, in this order; all by default.

        Raises:
            DataError: an unreadable file in strict mode.
        """
        for name, value in (("size", size), ("batch_size", batch_size)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"{name} must be a positive integer; got {value!r}. Try 64.")
        index = np.arange(len(self)) if index is None else np.asarray(index, dtype=int)
        for start in range(0, len(index), batch_size):
            kept, images = [], []
            for position in index[start : start + batch_size]:
                try:
                    images.append(decode(self.paths[position], size))
                    kept.append(position)
                except ValueError as error:
                    self.report("unreadable", str(self.stems[position]), str(error))
            if kept:
                kept = np.array(kept)
                yield np.stack(images), self.labels[kept], kept

    def images(self, size: int = 224, index=None) -> np.ndarray:
        """Return the radiographs of `index` as one array (n, size, size, 3) uint8, in memory.

        Raises:
            DataError: one of them cannot be read, as rows would no longer fit the labels.
        """
        wanted = len(self) if index is None else len(index)
        parts = [images for images, _, _ in self.batches(size, index=index)]
        images = np.concatenate(parts) if parts else np.empty((0, size, size, 3), np.uint8)
        if len(images) != wanted:
            raise DataError(
                f"index must name readable files; got {wanted - len(images)} unreadable of "
                f"{wanted}, see problems['unreadable']. Use batches, which says what it left out."
            )
        return images

    def boxes(self, position: int) -> list[tuple[float, ...]]:
        """Return the marked fractures of one image, (centre x, centre y, width, height) each.

        Shares of the image's width and height, read from the box files in YOLO form (fracture is
        class 3) where the folder has them; an empty list otherwise.
        """
        for name in _BOX_FOLDERS:
            path = self.folder / name / f"{self.stems[position]}.txt"
            if path.is_file():
                rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
                found = [row for row in rows if row and int(row[0]) == FRACTURE_CLASS]
                return [tuple(map(float, row[1:5])) for row in found]
        return []

    def fractures(self, size: int = 224) -> pd.DataFrame:
        """Return how wide each fracture is, one row an image, in the order of `stems`.

        `gap` and `shift` are shares of the image's height, `bend` is in radians, and `gap_pixels`
        and `shift_pixels` are what the lengths come to at a height of `size` pixels. NaN where
        nothing is known: images without a fracture, and all real radiographs.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     data = load(write_phantom(place, n=6, seed=7, size=32))
        ...     table = data.fractures(size=96)
        >>> bool((table.gap.notna() == (data.labels == 1)).all()), bool(table.gap.max() < 0.016)
        (True, True)
        """
        size = runtime.integer("size", size, 1)
        path = self.folder / FRACTURES_NAME
        lengths = ["gap", "shift", "bend"]
        known = pd.DataFrame(columns=["filestem", *lengths], dtype=float)
        if path.is_file():
            known = pd.read_csv(path, dtype={"filestem": str})
        table = known.set_index("filestem")[lengths].reindex(self.stems)
        return table.assign(gap_pixels=size * table["gap"], shift_pixels=size * table["shift"])

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 over names and contents of all files, in order; read once, in pieces."""
        total = hashlib.sha256()
        for stem, path in zip(self.stems, self.paths, strict=True):
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            total.update(f"{stem} {content}\n".encode())
        return total.hexdigest()

    def summary(self) -> str:
        """Say in one line a kind what there is and what is wrong with it."""
        counts = Counter(self.labels.tolist())
        lines = [
            f"{self.source}: {len(self):,} images of {len(set(self.patients)):,} patients, "
            f"{counts[1]:,} fractured, {counts[0]:,} not"
        ]
        for kind, names in self.problems.items():
            shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
            lines.append(f"{kind}: {len(names):,} ({shown})")
        return "\n".join(lines)

    def report(self, kind: str, name: str, detail: str) -> None:
        """Add a name to a kind of problem, once; in strict mode stop with it."""
        if self.strict:
            raise DataError(f"{kind}: {name}: {detail} Mend it, or load with strict=False.")
        names = self.problems.setdefault(kind, [])
        if name not in names:
            names.append(name)


def load(folder: str | Path | None = None, strict: bool = False) -> Radiographs:
    """Find the radiographs of `folder` and everything that is wrong with them.

    Reported by name in `problems`, and left out: `missing file`, `unreadable` (empty, cut off or
    no PNG; damage further inside is found when the pixels are read), `unknown label`, `missing
    filestem`, and `contradictory label` (listed more than once with different labels). Reported
    without being left out: `duplicate row` and `duplicate file` (the first one counts), `file
    without row`, and `empty class`.

    Args:
        folder: where `dataset.csv` is; by default what `HW4_GRAZPEDWRI` names.
        strict: stop at the first problem instead.

    Returns:
        The usable images; no pixels are read.

    Raises:
        FileNotFoundError: no folder is named, or it has no `dataset.csv`.
        ValueError: the table lacks a column, or (DataError) any problem in strict mode.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     print(load(write_phantom(place, n=6, seed=7, size=32)).summary())
    phantom: 6 images of 3 patients, 4 fractured, 2 not
    """
    folder = runtime.path_setting("HW4_GRAZPEDWRI") if folder is None else Path(folder)
    if folder is None or not (folder / CSV_NAME).is_file():
        raise FileNotFoundError(
            f"folder must hold {CSV_NAME}; got {folder}. Name the folder of GRAZPEDWRI-DX, set "
            "HW4_GRAZPEDWRI, or draw a stand-in with write_phantom."
        )
    problems: dict[str, list[str]] = {}
    files = _find_files(folder, problems)
    labels = _read_table(folder / CSV_NAME, problems)
    problems["missing file"] = [stem for stem in labels if stem not in files]
    problems["file without row"] = sorted(set(files) - set(labels) - _named(problems))
    present = [stem for stem in labels if stem in files]
    problems["unreadable"] = [stem for stem in present if ending_problem(files[stem])]
    damaged = set(problems["unreadable"])
    stems = [stem for stem in present if stem not in damaged]
    classes = {labels[stem] for stem in stems}
    problems["empty class"] = [str(label) for label in (0, 1) if label not in classes]
    problems = {kind: names for kind, names in problems.items() if names}
    if strict and problems:
        listed = "; ".join(f"{kind}: {', '.join(names[:20])}" for kind, names in problems.items())
        raise DataError(f"folder must be free of problems; got {listed}. Mend it or see load().")
    source = MARK if any(MARK in stem for stem in stems) else "real"
    return Radiographs(
        folder,
        source,
        np.array(stems, dtype=str),
        np.array([labels[stem] for stem in stems], dtype=np.int64),
        np.array([stem.split("_")[0] for stem in stems], dtype=str),
        tuple(files[stem] for stem in stems),
        strict,
        problems,
    )


def _find_files(folder: Path, problems: dict) -> dict[str, Path]:
    """Map every stem to its file, from the folder itself and from its `images*` folders."""
    parts = sorted(path for path in folder.glob("images*") if path.is_dir())
    files: dict[str, Path] = {}
    for place in (folder, *parts):
        for entry in sorted(os.scandir(place), key=lambda entry: entry.name):
            stem, extension = os.path.splitext(entry.name)
            if extension.lower() != ".png":
                continue
            if stem in files:
                problems.setdefault("duplicate file", []).append(stem)
            files.setdefault(stem, Path(entry.path))
    return files


def _read_table(path: Path, problems: dict) -> dict[str, int]:
    """Map every stem to its label, without those that have none or two."""
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        lacking = {"filestem", "fracture_visible"} - set(reader.fieldnames or ())
        if lacking:
            raise ValueError(
                f"{CSV_NAME} must have the columns filestem and fracture_visible; got "
                f"{reader.fieldnames}. Restore the published table."
            )
        rows = [(row["filestem"] or "", row["fracture_visible"] or "") for row in reader]
    labels: dict[str, int | None] = {}
    for line, (stem, text) in enumerate(((a.strip(), b.strip()) for a, b in rows), start=2):
        label = LABELS.get(text.lower())
        if not stem:
            problems.setdefault("missing filestem", []).append(f"line {line}")
        elif label is None:
            problems.setdefault("unknown label", []).append(stem)
            labels[stem] = None
        elif stem in labels and labels[stem] != label:
            problems.setdefault("contradictory label", []).append(stem)
            labels[stem] = None
        elif stem in labels:
            problems.setdefault("duplicate row", []).append(stem)
        else:
            labels[stem] = label
    return {stem: label for stem, label in labels.items() if label is not None}


def _named(problems: dict) -> set[str]:
    return {name for names in problems.values() for name in names}
