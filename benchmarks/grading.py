"""How grading grows with the number of submissions: copies of the committed notebooks.

    python benchmarks/grading.py [counts]

Ten times the submissions should take ten times the time, and no more memory: a grade is dropped
when the next one is made.
"""

import itertools
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

from _results import write
from hw4.runtime import NOTEBOOKS
from hw4.tools.grade import References, grade_all
from hw4.tools.pages import Pages

COLUMNS = ("notebooks", "seconds", "ms a notebook", "peak memory of the process so far, MiB")


def copies(count, folder):
    """Write `count` files, the committed notebooks by turns; return their paths."""
    sources = itertools.cycle(sorted(NOTEBOOKS.glob("q*.ipynb")))
    targets = [folder / f"{number:05}.ipynb" for number in range(count)]
    for source, target in zip(sources, targets, strict=False):
        shutil.copyfile(source, target)
    return targets


def rows(counts=(10, 100, 1_000), pages=300):
    """One row a number of submissions, one with their pages; refuse a grade that holds nothing."""
    references = References(NOTEBOOKS)
    for count, shown in [*((count, False) for count in counts), (pages, True)]:
        with tempfile.TemporaryDirectory() as folder:
            paths, held = copies(count, Path(folder)), 0
            report = Pages(Path(folder, "html")) if shown else None
            start = time.perf_counter()
            for grade, notebook in grade_all(paths, references):
                held += bool(grade.claims)
                if report:
                    report.add(grade, notebook)
            if report:
                report.finish()
            seconds = time.perf_counter() - start
        if held != count:
            raise AssertionError(f"grades must have claims; got {held} of {count}. Read one.")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
        name = f"{count:,}" + " with their HTML" * shown
        yield [name, f"{seconds:.2f}", f"{1e3 * seconds / count:.1f}", f"{peak:.0f}"]


if __name__ == "__main__":
    counts = [int(count) for count in sys.argv[1:]]
    write("grading.py", ("nbformat",), list(rows(counts) if counts else rows()), COLUMNS)
