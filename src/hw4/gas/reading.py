"""The file of a gas table, as it stands: cells and headings, not yet their meaning."""

import io
import re
import stat
import zipfile
from pathlib import Path

import pandas as pd

LARGEST = 100_000_000  # bytes; the course's table has less than one million


def read(path: Path) -> pd.DataFrame:
    """Return the cells below the heading of an .xlsx or .csv file; empty rows and columns go.

    A .csv may be separated by commas, semicolons, tabs or strokes, in UTF-8 or UTF-16. Its cells
    stay text; where cells are not separated by commas, a comma inside a number is its decimal
    point.

    Args:
        path: a regular file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another ending, a folder or device, a file that cannot be read or is no table.
    """
    suffix = path.suffix.lower()
    if suffix not in (".xlsx", ".csv"):
        raise ValueError(f"path must end in .xlsx or .csv; got {path.name!r}. Convert the table.")
    content = _content(path)
    try:
        cells = _xlsx_cells(content) if suffix == ".xlsx" else _csv_cells(content)
        cells = cells.dropna(how="all").dropna(how="all", axis="columns")
        heading = cells.iloc[0]
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(
            f"path must be a readable {suffix} table; got {path.name}, which failed with "
            f"{reason[:200]}. Export it again."
        ) from error
    rows = cells.iloc[1:].reset_index(drop=True).infer_objects()
    rows.columns = ["" if pd.isna(name) else str(name) for name in heading]
    return rows


def _content(path: Path) -> bytes:
    try:
        status = path.stat()
        # A pipe would wait for ever, and a device may have no end.
        regular, fits = stat.S_ISREG(status.st_mode), status.st_size <= LARGEST
        content = path.read_bytes() if regular and fits else b""
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"path must be a file; got {path}, where none is. Correct it."
        ) from error
    except (OSError, ValueError) as error:  # a ValueError says that no path has such a sign
        raise ValueError(
            f"path must be a readable file; got {str(path)[:200]}, which says "
            f"{getattr(error, 'strerror', error)}. Correct the path or its permissions."
        ) from error
    if not regular:
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
        raise ValueError(f"path must be a file; got {path}, which is {kind}. Name the table.")
    if not fits:
        raise ValueError(
            f"path must have at most {LARGEST:,} bytes; got {path}, which has "
            f"{status.st_size:,}. Export the columns that are needed."
        )
    return content


def _xlsx_cells(content: bytes) -> pd.DataFrame:
    # An .xlsx file is a zip archive, and a small one can hold more than the memory.
    size = sum(part.file_size for part in zipfile.ZipFile(io.BytesIO(content)).infolist())
    if size > LARGEST:
        raise ValueError(f"{size:,} bytes unpacked, more than {LARGEST:,}")
    return pd.read_excel(io.BytesIO(content), header=None)


def _csv_cells(content: bytes) -> pd.DataFrame:
    utf_16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = content.decode("utf-16" if utf_16 else "utf-8-sig", errors="replace")
    text = re.sub(r"\A\s*sep=.\s*?\n", "", text)  # which Excel writes and reads
    heading = text.lstrip().partition("\n")[0]
    separator = max(",;\t|", key=heading.count)
    cells = pd.read_csv(io.StringIO(text), sep=separator, header=None, dtype=str)
    if separator != ",":
        cells = cells.replace(r"^\s*([+-]?\d*),(\d+)\s*$", r"\1.\2", regex=True)
    return cells
