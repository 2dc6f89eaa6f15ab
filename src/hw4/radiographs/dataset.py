"""GRAZPEDWRI-DX, paediatric wrist radiographs: found, checked, split by patient, streamed.

Nagy et al., "A pediatric wrist trauma X-ray dataset (GRAZPEDWRI-DX) for machine learning",
Scientific Data 9, 222 (2022), figshare 14825193, CC BY 4.0: `dataset.csv` with `filestem` and
`fracture_visible` (empty means 0), and 20,327 16-bit grey files `<filestem>.png`, in one folder or
in `images_part1` to `images_part4`. Loading reads no pixels: those are streamed by `batches`.
"""

import functools
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from hw4 import runtime
from hw4.radiographs import annotations, files, splits
from hw4.radiographs.phantom import CSV_NAME, FRACTURES_NAME, MARK, write_phantom

__all__ = ["DataError", "Radiographs", "load", "write_phantom"]

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

    def split(
        self, by: str = "patient", test_share: float = 0.2, seed: int = 7
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of the training and of the test images, both sorted.

        `patient` keeps all images of a patient on one side and both shares as close to
        `test_share` as whole patients allow; `image` draws ceil(test_share * n) images, as the
        task does, stratified by label to within one image.

        Raises:
            ValueError: unknown `by`, a share outside (0, 1), or too few images or patients.
        """
        return splits.split(self.labels, self.patients, by, test_share, seed)

    def positions(self, index=None) -> np.ndarray:
        """Return the positions, (n,) from 0, that an index means, as NumPy understands it.

        Args:
            index: None for all, a slice, a mask of one truth value an image, or integers, negative
                ones counting from the end.

        Raises:
            ValueError: a mask of another length, numbers out of range, or no integers.
        """
        everything = np.arange(len(self))
        if index is None or isinstance(index, slice):
            return everything[slice(None) if index is None else index]
        wanted = np.asarray(index)
        if wanted.dtype == bool and wanted.shape != everything.shape:
            raise ValueError(
                f"index must be a mask of {len(self):,} truth values; got shape {wanted.shape}. "
                "Compare a whole column, such as labels == 1."
            )
        if not wanted.size and wanted.ndim == 1:
            return everything[:0]
        if wanted.ndim != 1 or wanted.dtype.kind not in "biu":
            raise ValueError(
                f"index must be a slice, a mask or a list of integers; got {wanted.dtype} of shape "
                f"{wanted.shape}. Name positions such as [0, 1]."
            )
        if wanted.dtype != bool and not -len(self) <= wanted.min() <= wanted.max() < len(self):
            raise ValueError(
                f"index must be from {-len(self)} to {len(self) - 1}; got "
                f"{wanted.min()} to {wanted.max()}. Name positions of these {len(self):,} images."
            )
        return everything[wanted]

    def batches(self, size: int = 224, batch_size: int = 64, index=None) -> Iterator[tuple]:
        """Return an iterator over (images, labels, positions) of at most `batch_size` radiographs.

        Images are (b, size, size, 3) uint8, three equal channels; `positions` says which of this
        object's entries they are. A file that cannot be read is left out of its batch and named
        in `problems["unreadable"]`; in strict mode it stops with its name.

        Args:
            size: height and width in pixels.
            batch_size: at least 1; nothing else is held in memory.
            index: what to read, in this order, as `positions` takes it; all by default.

        Raises:
            ValueError: a size or index out of range.
            DataError: an unreadable file in strict mode, or none that is readable.
        """
        size = runtime.integer("size", size, 1, cure="Try 224.")
        batch_size = runtime.integer("batch_size", batch_size, 1, cure="Try 64.")
        return self._stream(size, batch_size, self.positions(index))

    def _stream(self, size: int, batch_size: int, positions: np.ndarray) -> Iterator[tuple]:
        empty = len(positions) > 0
        for start in range(0, len(positions), batch_size):
            kept, images = [], []
            for position in positions[start : start + batch_size]:
                try:
                    images.append(files.decode(self.paths[position], size))
                    kept.append(position)
                except ValueError as error:
                    self.report("unreadable", str(self.stems[position]), str(error))
            if kept:
                empty = False
                kept = np.array(kept)
                yield np.stack(images), self.labels[kept], kept
        if empty:
            raise DataError(
                f"index must name at least one readable file; got {len(positions):,} unreadable "
                f"ones: {_some(self.problems['unreadable'], 5)}. Restore them."
            )

    def images(self, size: int = 224, index=None) -> np.ndarray:
        """Return the radiographs of `index` as one array (n, size, size, 3) uint8, in memory.

        Raises:
            DataError: one of them cannot be read, as rows would no longer fit the labels.
        """
        wanted = self.positions(index)
        size = runtime.integer("size", size, 1, cure="Try 224.")
        images, read = np.empty((len(wanted), size, size, 3), np.uint8), 0
        for part, _, _ in self.batches(size, index=wanted):
            images[read : read + len(part)] = part
            read += len(part)
        if read != len(wanted):
            raise DataError(
                f"index must name readable files; got {len(wanted) - read} unreadable of "
                f"{len(wanted)}, see problems['unreadable']. Use batches, which says what it left "
                "out."
            )
        return images

    def boxes(self, position: int) -> list[tuple[float, ...]]:
        """Return the marked fractures of one image, (centre x, centre y, width, height) each.

        Shares of the image's width and height, read from the box files in YOLO form (fracture is
        class 3) where the folder has them; an empty list otherwise. Rows that are none are left
        out and the image is named in `problems["damaged boxes"]`.
        """
        position = runtime.integer("position", position, -len(self), len(self) - 1)
        stem = str(self.stems[position])
        for name in _BOX_FOLDERS:
            path = self.folder / name / f"{stem}.txt"
            if os.path.lexists(path):
                try:
                    boxes, damaged = annotations.read_boxes(path)
                except ValueError as error:
                    boxes, damaged = [], [str(error)]
                for detail in damaged:
                    self.report("damaged boxes", stem, f"{detail}.")
                return boxes
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

    Reported by name in `problems`, and left out: `missing file`; `unreadable` (empty, cut off, no
    PNG, too large, no regular file; damage further inside is found when the pixels are read);
    `damaged row` (too many or too few fields, an open quote); `missing filestem`; `unknown label`;
    `unknown patient`; `contradictory label` and `contradictory patient` (listed more than once,
    differently).

    Reported without being left out: `duplicate row` and `duplicate file` (the first one counts),
    `file without row`, `bytes after the end` of a PNG file, `patient differs from stem`
    (`patient_id` counts), `patient guessed from stem` (no name of the published form and no
    `patient_id`), `text that is not UTF-8` (read as Latin-1), and `empty class`.

    Args:
        folder: where `dataset.csv` is; by default what `HW4_GRAZPEDWRI` names.
        strict: stop at the first problem instead.

    Returns:
        The usable images; no pixels are read.

    Raises:
        FileNotFoundError: no folder is named, or it has no `dataset.csv`.
        ValueError: the table lacks a column, or (DataError) nothing is usable, or there is any
            problem in strict mode.

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
    problems: dict[str, list[str]] = defaultdict(list)
    found = files.find(folder, problems)
    rows = annotations.read_table(folder / CSV_NAME, problems)
    problems["missing file"] += [stem for stem in rows if stem not in found]
    named = {name for names in problems.values() for name in names}
    problems["file without row"] += sorted(set(found) - set(rows) - named)
    stems = []
    for stem in (stem for stem in rows if stem in found):
        kind, _ = files.ends_problem(found[stem]) or (None, None)
        if kind:
            problems[kind].append(stem)
        if kind != "unreadable":
            stems.append(stem)
    classes = {rows[stem][0] for stem in stems}
    problems["empty class"] += [str(label) for label in (0, 1) if label not in classes]
    problems = {kind: list(dict.fromkeys(names)) for kind, names in problems.items() if names}
    if problems and (strict or not stems):
        wanted = "be free of problems" if strict else "hold at least one usable image"
        listed = "; ".join(f"{kind}: {_some(names, 20)}" for kind, names in problems.items())
        raise DataError(f"folder must {wanted}; got {listed}. Mend it or see load().")
    return Radiographs(
        folder,
        MARK if any(MARK in stem for stem in stems) else "real",
        np.array(stems, dtype=str),
        np.array([rows[stem][0] for stem in stems], dtype=np.int64),
        np.array([rows[stem][1] for stem in stems], dtype=str),
        tuple(found[stem] for stem in stems),
        strict,
        problems,
    )


def _some(names: list[str], most: int) -> str:
    return ", ".join(names[:most]) + (f", … {len(names):,} in all" if len(names) > most else "")
