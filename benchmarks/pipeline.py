"""How long the project's own commands take, phase by phase, and each notebook of `hw4 run`.

    python benchmarks/pipeline.py [lint fast unit notebooks run]

`make test` is lint, unit and notebooks, after set-up; `make test-fast` is lint and fast; `make run`
is run. All of them take about half an hour on two cores.
"""

import resource
import subprocess
import sys
import time

from _results import write
from hw4.runtime import BUILD
from hw4.tools import check
from hw4.tools.submission import read

HW4 = (sys.executable, "-m", "hw4.tools.cli")
PHASES = {part: ["test", part] for part in check.PARTS} | {"run": ["run"]}
COLUMNS = ("what", "seconds", "of the processor", "exit code")
NOTES = (
    "`hw4 test` in its parts (`fast` is some of `unit`), and `hw4 run`. Below it are its "
    "notebooks, each with the seconds of its own clock; they run side by side, and each has its "
    "share of the cores."
)


def phase(words):
    """Run one command of hw4 as a user would; return its row."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    code = subprocess.run([*HW4, *words]).returncode
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [f"hw4 {' '.join(words)}", f"{seconds:.0f}", f"{used:.0f}", str(code)]


def notebooks(folder, begun):
    """One row a notebook that was executed since then, the longest first."""
    paths = [path for path in folder.glob("q*.ipynb") if path.stat().st_mtime >= begun]
    found = [read(path) for path in paths]
    for notebook in sorted(found, key=lambda one: -(one.seconds or 0)):
        yield [notebook.path.stem, f"{notebook.seconds or 0:.0f}", "", ""]


def rows(phases=PHASES, executed=BUILD / "notebooks"):
    """One row a phase; those of the notebooks follow `run`."""
    for name in phases:
        begun = time.time()
        yield phase(PHASES[name])
        if name == "run":
            yield from notebooks(executed, begun)


if __name__ == "__main__":
    table = list(rows(sys.argv[1:] or PHASES))
    write("pipeline.py", ("keras", "tensorflow"), table, COLUMNS, NOTES)
