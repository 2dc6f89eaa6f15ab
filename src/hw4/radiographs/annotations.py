"""What the published text files say of an image: its label, its patient, and where it is broken.

`dataset.csv` has one row an image, among its 17 columns `filestem`, `patient_id` and
`fracture_visible`; the box files of the published YOLOv5 folder have one row a finding.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from hw4 import runtime
from hw4.radiographs import files
from hw4.radiographs.phantom import CSV_NAME, FRACTURE_CLASS

LABELS = {"": 0, "0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1}
# The published stems read <patient>_<time>_<view>_WRI-<side><projection>_<sex and age>; copies of
# them have something before.
_PUBLISHED = re.compile(r"(?:^|_)([0-9]+)_[^_]+_[0-9]+_WRI-")
_MAX_BOX_BYTES = 2**20


def read_table(path: Path, problems: dict[str, list[str]]) -> dict[str, tuple[int, str]]:
    """Map every stem to its label and its patient, without those that have none or two.

    A row is a line of as many fields as the header; `patient_id` wins over the stem.

    Raises:
        ValueError: the file cannot be read, or lacks a column.
    """
    (_, header), *rows = _rows(path, problems) or [(0, [])]
    lacking = [name for name in ("filestem", "fracture_visible") if header.count(name) != 1]
    if lacking:
        raise ValueError(
            f"{CSV_NAME} must have the columns filestem and fracture_visible, once each; got "
            f"{runtime.cut(', '.join(header) or 'nothing')}. Restore the published table."
        )
    found: dict[str, tuple[int, str] | None] = {}
    for line, fields in rows:
        row = dict(zip(header, fields, strict=False))
        stem = row.get("filestem") or f"line {line}"
        if len(fields) != len(header):
            problems["damaged row"].append(stem)
            continue
        entry, kind = None, _row_problem(row)
        if not kind:
            stated, from_stem = _number(row.get("patient_id", "")), patient_of(stem)
            if stated and from_stem and stated != from_stem:
                problems["patient differs from stem"].append(stem)
            if not stated and not stem[0].isdigit() and not _PUBLISHED.search(stem):
                problems["patient guessed from stem"].append(stem)
            entry = LABELS[row["fracture_visible"].lower()], stated or from_stem
            kind = _repeated(found, stem, entry)
        if kind:
            problems[kind].append(stem)
        if kind != "duplicate row":
            found[stem] = None if kind else entry
    return {stem: entry for stem, entry in found.items() if entry}


def _row_problem(row: dict[str, str]) -> str | None:
    if not row["filestem"]:
        return "missing filestem"
    if row["fracture_visible"].lower() not in LABELS:
        return "unknown label"
    if not row.get("patient_id") and not patient_of(row["filestem"]):
        return "unknown patient"
    return None


def _repeated(found: dict, stem: str, entry: tuple[int, str]) -> str | None:
    """Say how a row stands to an earlier one of the same stem."""
    if stem not in found:
        return None
    before = found[stem]
    if before == entry:
        return "duplicate row"
    return "contradictory patient" if before and before[0] == entry[0] else "contradictory label"


def patient_of(stem: str) -> str:
    """Return the patient in a file's name, empty where there is none.

    In names that are not the published ones it is the first number of four digits, or else the
    first number.

    >>> patient_of("0007_1297860395_01_WRI-L1_M014"), patient_of("aug_2024_0007_1_01_WRI-R2_F003")
    ('0007', '0007')
    >>> patient_of("7_3"), patient_of("aug_3_0007"), patient_of("wrist")
    ('0007', '0007', '')
    """
    if published := _PUBLISHED.search(stem):
        return _number(published[1])
    numbers = re.findall(r"(?:^|(?<=_))[0-9]+(?=_|$)", stem)
    return _number(next((text for text in numbers if len(text) == 4), (numbers or [""])[0]))


def _number(text: str) -> str:
    """Write a patient's number in four digits, whether it came as `7`, `0007` or `7.0`."""
    number = re.fullmatch(r"([0-9]{1,18})(?:\.0*)?", text)
    return f"{int(number[1]):04d}" if number else text


def _rows(path: Path, problems: dict[str, list[str]]) -> list[tuple[int, list[str]]]:
    """Return the lines that are rows, each with its number, the header first.

    Every line is parsed for itself, so that an open quote damages its own row and no other.
    """
    rows = []
    for line, text in enumerate(io.StringIO(_text(path, problems), newline=None), start=1):
        try:
            fields = [field.strip() for row in csv.reader([text], strict=True) for field in row]
        except csv.Error:
            problems["damaged row"].append(f"line {line}")
            continue
        if any(fields):
            rows.append((line, fields))
    return rows


def _text(path: Path, problems: dict[str, list[str]]) -> str:
    content = files.read(path)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problems["text that is not UTF-8"].append(f"line {line}")
        return content.decode("latin-1")


def read_boxes(path: Path) -> tuple[list[tuple[float, ...]], list[str]]:
    """Return the boxes of the fractures in a YOLO file, and what is wrong with its other rows.

    A row is `class x y width height`, maybe with a confidence, or a polygon `class x1 y1 x2 y2 x3
    y3 ...`, of which the box around it is taken; all but the class are shares of the image.

    Returns:
        (centre x, centre y, width, height) of each fracture, class 3; one text a damaged row.
    """
    boxes, damaged = [], []
    text = files.read(path, _MAX_BOX_BYTES).decode("utf-8-sig", errors="replace")
    for line, row in _numbers(text):
        if row is None or not row[0].is_integer() or not all(0 <= v <= 1 for v in row[1:5]):
            damaged.append(f"line {line} is no row of a class and shares of the image")
        elif row[0] == FRACTURE_CLASS:
            boxes.append(tuple(row[1:5]))
    return boxes, damaged


def _numbers(text: str) -> Iterator[tuple[int, list[float] | None]]:
    """Yield each line's number and its values, polygons as boxes; None where it has others."""
    for line, fields in enumerate((line.split() for line in text.splitlines()), start=1):
        try:
            row = [float(field) for field in fields]
        except ValueError:
            row = []
        if len(row) >= 7 and len(row) % 2:
            x, y = row[1::2], row[2::2]
            sides = max(x) - min(x), max(y) - min(y)
            row = [row[0], (max(x) + min(x)) / 2, (max(y) + min(y)) / 2, *sides]
        if fields:
            yield line, row if len(row) in (5, 6) else None
