"""The file of a search: one JSON object a line, only ever appended to, synchronised line by line.

The first line says what is searched; then come `asked` (a trial was handed out) and `told` (it came
back). Whoever is killed leaves at worst half of a last line, which was never acted upon.
"""

import json
import math
import os
from pathlib import Path

from hw4 import runtime

NAME = "events.jsonl"


class EventLog:
    """The events of the one process that may search in a folder at a time.

    Args:
        folder: new, empty, or of an earlier search.
        search: plain values that identify the search.

    Raises:
        ValueError: the folder is a file, holds another search or other files, another process
            searches in it, or a line of the file is damaged.
    """

    def __init__(self, folder: str | Path, search: dict) -> None:
        folder = Path(folder)
        runtime.expect_folder("folder", folder)
        self.path = folder / NAME
        if folder.exists() and not self.path.exists() and any(folder.iterdir()):
            raise ValueError(
                f"folder must be new, empty, or hold a search; got {folder}, which holds other "
                "files. Name another folder."
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b")
        try:
            _lock(self._file, folder)
            self.events = self._read(folder, search)
        except BaseException:
            self._file.close()
            raise

    def _read(self, folder: Path, search: dict) -> list[dict]:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        # What a kill left of a last line.
        self._file.truncate(whole)
        header = {"event": "search"} | json.loads(json.dumps(search))
        if not whole:
            self.append(header)
            _synchronise(folder)
            return []
        lines = content[:whole].splitlines()
        found, *events = [self._parse(number, line) for number, line in enumerate(lines, 1)]
        differing = sorted(k for k in header.keys() | found if header.get(k) != found.get(k))
        if differing:
            raise ValueError(
                f"folder must hold this very search; got {folder}, which differs in "
                f"{', '.join(differing)}. Name another folder, or delete this one."
            )
        return events

    def _parse(self, number: int, line: bytes) -> dict:
        kinds = ("search",) if number == 1 else ("asked", "told")
        try:
            # NaN and infinity, for which JSON has no word, are no numbers here either.
            event = json.loads(line, parse_constant=int, parse_float=_finite)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict) or event.get("event") not in kinds:
            raise self.damage(number - 2, f"no event {' or '.join(kinds)}")
        return event

    def damage(self, index: int, what: str) -> ValueError:
        """Return the error that names the file and the line of event `index`, from 0."""
        return ValueError(
            f"{self.path} must hold one event a line; got {what} in line {index + 2}. Restore the "
            "file, or search again in another folder."
        )

    def append(self, event: dict) -> None:
        """Write one event, and return when it is on the disk."""
        # One write, so that a kill cuts a line and never mixes two.
        self._file.write(json.dumps(event, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let other processes search in the folder."""
        self._file.close()


def _finite(text: str) -> float:
    """Return a number of JSON, unless it is as large as 1e999."""
    if math.isinf(number := float(text)):
        raise ValueError(text)
    return number


def _lock(file, folder: Path) -> None:
    """Keep other processes out until the file is closed, which the death of a process does too."""
    try:
        try:
            import fcntl
        except ImportError:  # Windows
            import msvcrt

            # A byte that no log reaches: locked bytes can be neither read nor written by others.
            file.seek(2**40)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ValueError(
            f"folder must have no other search at work; got {folder}, in which one is "
            f"({error.strerror}). Wait for it, or name another folder."
        ) from None


def _synchronise(folder: Path) -> None:
    """Make the name of a new file outlive a loss of power, where folders can be synchronised."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
