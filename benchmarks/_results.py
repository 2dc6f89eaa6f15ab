"""What the measurements share: two sides by turns, and RESULTS.md, which runs alone write."""

import io
import os
import platform
import re
import time
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hw4.measure import seconds_by_turns
from hw4.runtime import cores_text, write_whole

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """# Results

Written by the scripts of this folder, a section each: not by hand. Cores are those that the script
could use; the load is the whole machine's at the end of the run, other work included. That work
stretches the seconds of the clock much more than those of the processor.

![Time of hw4 over that of each peer, and the time or memory of growing work](results.png)
"""
PAIRS = (
    "Medians of calls by turns in one process after a warm-up; the ratio is the median of the "
    "ratios of a turn, with its quartiles; below 1 hw4 is the faster one. "
)
#: first columns of the tables that count what grows, and which column to draw against it
GROWTH = {"convolutions": 1, "notebooks": 1, "files": 3}
COLUMNS = ("what", "hw4, ms", "beside it", "its ms", "ratio (quartiles)")


def now() -> np.ndarray:
    """Return seconds on the clock, and of the processor, which other work stretches less."""
    return np.array([time.perf_counter(), time.process_time()])


def beside(what, ours, name, theirs, *, rounds, same=None, parts=1) -> list[str]:
    """Compare two functions: first what they return, by `same(a, b)`, then their times.

    A call of ours does `parts` times what one of theirs does; its time is given a part.

    Raises:
        AssertionError: from `same`, where the outputs differ.
    """
    if same:
        same(ours(), theirs())
    table = 1e3 * seconds_by_turns([ours, theirs], rounds) / (parts, 1)
    mine, other = np.median(table, axis=0)
    low, middle, high = np.quantile(table[:, 0] / table[:, 1], (0.25, 0.5, 0.75))
    return [what, f"{mine:.3g}", name, f"{other:.3g}", f"{middle:.2g} ({low:.2g} to {high:.2g})"]


def absent(what, name, package) -> list[str] | None:
    """Return the row of a peer that is not installed, or None where it is."""
    if find_spec(package):
        return None
    return [what, "", name, "", f"not run: {package} is not installed (`pip install -e .[bench]`)"]


def ratio(row) -> float | None:
    """Return the ratio of a row, or None where the peer did not run."""
    return float(row[-1].split()[0]) if row[1] else None


def write(script: str, packages, rows, columns=COLUMNS, notes="", path=RESULTS) -> str:
    """Print the table of one script and put it into RESULTS.md in place of its last one."""
    here = [name for name in packages if find_spec(name)]
    versions = "".join(f", {name} {metadata.version(name)}" for name in here)
    python = platform.python_version()
    lines = [f"{cores_text()} ({platform.machine()}), Python {python}{versions}"]
    if hasattr(os, "getloadavg"):
        lines[0] += f"; load {os.getloadavg()[0]:.1f}"
    lines += ["", *([notes, ""] if notes else [])]
    for row in (columns, ["---"] * len(columns), *rows):
        cells = [" ".join(cell.replace("|", r"\|").split()) for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    section = f"## {script}\n\n" + "\n".join(lines) + "\n"
    print(section)
    old = path.read_text(encoding="utf-8") if path.exists() else HEAD
    parts = {part.split("\n", 1)[0]: part for part in re.split(r"(?m)^## ", old)[1:]}
    parts[script] = section.removeprefix("## ")
    body = "".join(f"\n## {parts[name].strip()}\n" for name in sorted(parts))
    write_whole(path, HEAD + body)
    figure = io.BytesIO()
    plot({name: _table(part) for name, part in parts.items()}).savefig(figure)
    write_whole(path.with_name("results.png"), figure.getvalue())  # HEAD's picture
    return section


def _table(section: str) -> list[list[str]]:
    """Return the rows of the one table of a section, its columns first."""
    rows = [line[2:-2].split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.replace(r"\|", "|") for cell in row] for row in rows if row[0] != "---"]


def plot(tables):
    """Return a figure of each pair's ratio with its quartiles, and of every table of growth."""
    # not before: a script may measure its own memory
    import matplotlib.pyplot as plt

    from hw4.plotting import BLUE, GREY, ORANGE

    pairs = [
        (
            f"{name.removesuffix('.py')}: {row[0]}, beside {row[2]}",
            [float(x) for x in re.findall(r"[\d.e+-]+", row[-1])],
        )
        for name, rows in tables.items()
        for row in rows[1:]
        if tuple(rows[0]) == COLUMNS and row[1]
    ]
    grown = {name: rows for name, rows in tables.items() if rows[0][0] in GROWTH}
    shape = [["pairs", name] for name in grown] or [["pairs"]]
    figure, axes = plt.subplot_mosaic(
        shape, figsize=(13, 2 + 0.22 * len(pairs)), width_ratios=[1.3, 1][: len(shape[0])]
    )
    ax, places = axes["pairs"], range(len(pairs))
    middle, low, high = np.reshape([ratios for _, ratios in pairs], (-1, 3)).T
    whiskers = [middle - low, high - middle]
    ax.errorbar(middle, places, xerr=whiskers, fmt="o", color=BLUE, markersize=4)
    ax.set_yticks(places, [label for label, _ in pairs])
    ax.axvline(1, color=GREY, linestyle="--")
    ax.set(xscale="log", xlabel="time of hw4 over the peer's (left of 1: hw4 is faster)")
    ax.invert_yaxis()
    ax.margins(y=0.01)
    for name, (columns, *rows) in grown.items():
        shown = GROWTH[columns[0]]
        # a row such as "300 with their HTML" counts other work
        counted = [row for row in rows if row[0][-1].isdigit()]
        x, y = (np.array([float(row[k].replace(",", "")) for row in counted]) for k in (0, shown))
        ax = axes[name]
        ax.loglog(x, y, "o-", color=ORANGE)
        ax.set(xlabel=columns[0], ylabel=columns[shown], title=name.replace(".py", ""))
        ax.set(ylim=(y.min() / 10, y.max() * 10))
        ax.minorticks_off()
        ax.set_xticks(x, [row[0] for row in counted])
    return figure
