"""Read a submitted notebook, whatever it is: cells as plain values, or the name of what is wrong.

JSON is parsed once and the few keys that grading needs are checked by hand: a validation against
the notebook schema takes longer than everything else together, and stops at the first fault.
"""

import collections
import json
import math
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hw4 import runtime

REPORT = "hw4 report"  # title of the pages that `report` and `grade` write
LARGEST = 32 * 2**20  # bytes; the committed notebooks have at most 2 MB
OUTPUT_TEXTS = {
    "stream": ("name", "text"),
    "error": ("ename", "evalue", "traceback"),
    "display_data": ("data",),
    "execute_result": ("data",),
}
OTHERS = {b"PK\3\4": "a zip archive", b"\x1f\x8b": "a gzip archive", b"%PDF": "a PDF"}
# Control characters, signs that turn the writing direction, and halves of surrogate pairs.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: its class, the number of the cell where there is one, and words."""

    kind: str
    cell: int | None
    text: str


class Unreadable(Exception):  # noqa: N818 - says what the file is
    """A file that is no readable notebook; `kind` names the class of failure."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.text = kind, text


@dataclass
class Cell:
    """One cell; `number` counts all cells of the notebook from 1."""

    number: int
    kind: str
    id: str | None
    source: str
    tags: tuple[str, ...] = ()
    count: int | None = None
    outputs: list[dict] = field(default_factory=list)
    attachments: dict = field(default_factory=dict)


@dataclass
class Notebook:
    """The cells of a notebook and what was malformed about it."""

    path: Path
    cells: list[Cell]
    problems: list[Problem]
    seconds: float | None = None

    @property
    def code(self) -> list[Cell]:
        """The cells that a kernel executes."""
        return [cell for cell in self.cells if cell.kind == "code" and cell.source.strip()]


def visible(text: object, newlines: bool = False) -> str:
    """Show what a terminal or an eye would not: escapes, control and direction signs.

    >>> print(visible("a\\x1b[2J\\u202eb"))
    a\\x1b[2J\\u202eb
    """

    def shown(match) -> str:
        code = ord(match[0])
        if newlines and match[0] in "\n\t":
            return match[0]
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

    return _UNSEEN.sub(shown, str(text))


def shortened(text: object, most: int = 200) -> str:
    """Return `visible` text, without its end where it is longer than `most` signs."""
    return runtime.cut(visible(str(text)[: 2 * most]), most)


def find(paths: Iterable[Path], missing: bool = False) -> list[Path]:
    """Return files as they are named, and of every folder all notebooks below it, sorted.

    Args:
        paths: files and folders.
        missing: also return the folders that hold other files but, down to their last folder, no
            notebook, nor the pages of an earlier report. What lies beside a notebook, or in a
            folder beside it, is no submission, unless folders beside a loose notebook at the top
            hold notebooks, too.

    Raises:
        FileNotFoundError: a path that does not exist.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not os.path.lexists(path):
            raise FileNotFoundError(
                f"notebooks must be existing files or folders; got {visible(path)!r}. "
                "Correct the path."
            )
        found |= dict.fromkeys(_below(path, missing) if path.is_dir() else [path])
    return list(found)


def _below(folder: Path, missing: bool) -> list[Path]:
    unreadable, notebooks, others = [], [], []
    for place, folders, files in os.walk(folder, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        files = [name for name in files if not _is_hidden(name)]
        # a folder that is called like a notebook is a finding, not a place to look in silently
        names = [name for name in (*files, *folders) if name.lower().endswith(".ipynb")]
        notebooks += [Path(place, name) for name in names]
        others += [Path(place)] if files and not names and not is_report(Path(place)) else []
    above = {parent for path in notebooks for parent in path.parents}
    beside = {path.parent for path in notebooks}
    if len(beside) > 1:
        beside.discard(folder)  # which holds submissions in folders, and a loose one
    without = [path for path in others if path not in above and not beside & {*path.parents}]
    # of folders in one another the outermost, but for the one that holds all submissions
    without = [path for path in without if path != folder] or without
    outermost = [path for path in without if not {*without} & {*path.parents}]
    found = [*notebooks, *(Path(error.filename) for error in unreadable)]
    return sorted([*found, *(outermost if missing else [])])


def is_report(folder: Path) -> bool:
    """Say whether a folder holds the pages of an earlier report."""
    index = folder / "index.html"
    try:
        # a pipe of that name would wait for ever
        return os.path.isfile(index) and f"<title>{REPORT}".encode() in index.read_bytes()[:2000]
    except OSError:
        return False


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


def read(path: Path) -> Notebook:
    """Read one notebook of format 4; a byte order mark is taken off.

    Raises:
        Unreadable: as `parse` does, or it cannot be read, or it is a folder without a notebook.
    """
    if path.suffix.lower() != ".ipynb" and path.is_dir() and os.access(path, os.R_OK):
        names = sorted(part.name for part in path.iterdir() if not _is_hidden(part.name))
        listed = ", ".join(shortened(name, 60) for name in names[:5]) + ", …" * (len(names) > 5)
        raise Unreadable("missing notebook", f"expected an .ipynb; found only {listed}")
    return parse(path, _content(path))


def parse(path: Path, content: bytes) -> Notebook:
    """Return the notebook that `content` is; `path` is where it comes from.

    Raises:
        Unreadable: it is none; says of which class the failure is.
    """
    text = _text(content)
    odd: list[str] = []

    def constant(name: str) -> str:
        odd.append(f"{name} is no number of JSON")
        return name

    def number(digits: str) -> float | str:
        return float(digits) if math.isfinite(float(digits)) else constant(shortened(digits, 40))

    def once(pairs: list[tuple[str, Any]]) -> dict:
        # one reader takes the first value of a key, another the last
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = collections.Counter(key for key, _ in pairs)
            odd.append(f"the key {shortened(max(counts, key=counts.get))} twice in one object")
        return found

    try:
        document = json.loads(
            text, parse_constant=constant, parse_float=number, object_pairs_hook=once
        )
    except RecursionError:
        raise Unreadable("too deep", "its JSON is nested too deeply") from None
    except ValueError as error:
        raise Unreadable("damaged", f"not JSON: {shortened(error)}") from None
    if not isinstance(document, dict) or not {"cells", "worksheets"} & set(document):
        raise Unreadable("not a notebook", "JSON, but without the cells of a notebook")
    version = document.get("nbformat")
    if version != 4 or isinstance(version, bool):
        raise Unreadable(
            "format", f"nbformat must be the number 4; got {shortened(repr(version))}. Save it anew"
        )
    problems = []
    if odd:
        problems.append(Problem("malformed", None, odd[0]))
    if _SURROGATE.search(text) and _has_surrogates(document):
        problems.append(Problem("malformed", None, "halves of surrogate pairs in its text"))
        document = _without_surrogates(document)
    return _notebook(path, document, problems)


def _content(path: Path) -> bytes:
    """Return the bytes of a regular file, never waiting for a pipe or reading without an end."""
    try:
        handle = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
    except FileNotFoundError:
        raise Unreadable("not a file", "a link to nothing, or removed meanwhile") from None
    except PermissionError:
        raise Unreadable("no permission", "it may not be read") from None
    except OSError as error:
        raise Unreadable("not a file", f"cannot be opened: {error.strerror}") from None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise Unreadable("not a file", "a folder, pipe or device, not a regular file")
    with os.fdopen(handle, "rb") as stream:
        content = b"" if status.st_size > LARGEST else stream.read(LARGEST + 1)
    if status.st_size > LARGEST or len(content) > LARGEST:
        raise Unreadable("too large", f"more than {LARGEST >> 20} MiB, clear its largest outputs")
    if not content.strip():
        raise Unreadable("empty", "it has no content")
    return content


def _text(content: bytes) -> str:
    for start, name in OTHERS.items():
        if content.startswith(start):
            raise Unreadable("not a notebook", f"{name}, under a name that ends in .ipynb")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise Unreadable("encoding", "UTF-16 or UTF-32, where notebooks are UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable("encoding", f"not UTF-8: byte {error.start} is {error.reason}") from None
    if "\0" in text:
        raise Unreadable("damaged", f"a NUL byte at {text.index(chr(0))}")
    return text


def _notebook(path: Path, document: dict, problems: list[Problem]) -> Notebook:
    raw = document.get("cells")
    if not isinstance(raw, list):
        raise Unreadable("malformed", "its cells are no list")
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        problems.append(Problem("malformed", None, "the notebook has no metadata"))
        metadata = {}
    cells = [_cell(number, cell, problems) for number, cell in enumerate(raw, 1)]
    ours = metadata.get("hw4")
    seconds = ours.get("seconds") if isinstance(ours, dict) else None
    if type(seconds) not in (int, float) or not 0 <= seconds < 1e7:
        seconds = None
    return Notebook(path, cells, problems, seconds)


def _cell(number: int, raw: object, problems: list[Problem]) -> Cell:
    def part(key, kind, default, holder=None) -> Any:
        holder = raw if holder is None else holder
        if isinstance(holder.get(key), kind):
            return holder[key]
        state = "has no" if key not in holder else "has a malformed"
        problems.append(Problem("malformed", number, f"cell {number} {state} {key}"))
        return default

    if not isinstance(raw, dict):
        problems.append(Problem("malformed", number, f"cell {number} is no cell"))
        return Cell(number, "raw", None, "")
    kind, metadata = part("cell_type", str, "raw"), part("metadata", dict, {})
    tags = metadata.get("tags", [])
    tags = tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()
    # Colab keeps the id in the metadata
    ids = [i for i in (raw.get("id"), metadata.get("id")) if isinstance(i, str)]
    cell = Cell(number, kind, ids[0] if ids else None, joined(part("source", str | list, "")), tags)
    # what ends a line for Python, and nothing else: it would hide code behind a comment's sign
    lines = re.split("\r\n|\r|\n", cell.source)
    cell.source = "\n".join(line.rstrip(" \t") for line in lines).strip("\n")
    if isinstance(raw.get("attachments"), dict):
        cell.attachments = raw["attachments"]
    if kind == "code":
        if "execution_count" not in raw or isinstance(raw["execution_count"], bool):
            part("execution_count", (), None)
        else:
            cell.count = part("execution_count", int | None, None)
        for output in part("outputs", list, []):
            type_ = output.get("output_type") if isinstance(output, dict) else None
            if not isinstance(type_, str) or type_ not in OUTPUT_TEXTS:
                problems.append(
                    Problem("malformed", number, f"cell {number} has a malformed output")
                )
                continue
            for key in OUTPUT_TEXTS[type_]:
                wanted = dict if key == "data" else str | list
                output[key] = part(key, wanted, {} if key == "data" else "", output)
            cell.outputs.append(output)
    return cell


def joined(text: object) -> str:
    """Return a text of a notebook, which may be stored as a list of its lines.

    >>> joined(["a\\n", "b"])
    'a\\nb'
    """
    return "".join(map(str, text)) if isinstance(text, list) else str(text)


def _has_surrogates(document: dict) -> bool:
    try:
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _without_surrogates(document: dict) -> dict:
    text = json.dumps(document, ensure_ascii=False)
    return json.loads(text.encode("utf-8", "replace").decode("utf-8"))
