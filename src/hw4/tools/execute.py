"""Execute notebooks beside one another, and say which cell is running and for how long."""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from hw4.runtime import BUILD, NOTEBOOKS, cores
from hw4.tools import jobs
from hw4.tools.submission import visible

# Quickest first.
ORDER = (
    "q5_conv_shapes",
    "q6_batch_norm",
    "q4_rnn_vs_cnn",
    "q3_lstm_forecast",
    "q7_grad_cam",
    "q2_transfer_learning",
    "q1_keras_tuner",
)


def find(names: list[str] | None = None) -> list[Path]:
    """Return the notebooks that exist, quickest first, or those that `names` picks.

    Args:
        names: paths, file names, or beginnings of file names such as `q7`.

    Raises:
        ValueError: a name that picks no notebook, or the path of somebody else's.
    """
    present = [path for stem in ORDER if (path := NOTEBOOKS / f"{stem}.ipynb").is_file()]
    if not names:
        return present
    picked = []
    for name in names:
        given = Path(name)
        named = (given.suffix and given.is_file()) or given.parent != Path()
        if named and given.parent.resolve() != NOTEBOOKS.resolve():
            raise ValueError(
                f"notebook must be one of the project's own, in {NOTEBOOKS}; got {name!r}. "
                "`hw4 grade` holds others against them."
            )
        found = [path for path in present if given.stem and path.stem.startswith(given.stem)]
        if not found:
            known = ", ".join(path.stem for path in present)
            raise ValueError(f"notebook must be one of {known}; got {name!r}. Name one of these.")
        picked += [path for path in found if path not in picked]
    return picked


def missing() -> list[Path]:
    """Return the paths of the seven notebooks that do not exist."""
    paths = [NOTEBOOKS / f"{stem}.ipynb" for stem in ORDER]
    return [path for path in paths if not path.is_file()]


def schedule(sources: list[Path], most: int) -> list[Path]:
    """Order notebooks, given quickest first: the first verdict soon, then the longest first.

    >>> [path.name for path in schedule([Path("a"), Path("b"), Path("c")], most=2)]
    ['a', 'c', 'b']
    """
    return list(sources) if most == 1 else [*sources[:1], *sources[:0:-1]]


def environment(most: int) -> dict[str, str]:
    """Return the environment of kernels of which `most` run at once.

    It has none of a person's own start-up files for IPython, none of the mark of a live notebook
    (runtime.watched), and shares the cores unless `HW4_THREADS` does.
    """
    folder = BUILD / "cache/ipython"
    (folder / "profile_default/startup").mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name != "JPY_SESSION_NAME"}
    kept["IPYTHONDIR"] = str(folder)
    if most > 1 and not kept.get("HW4_THREADS"):
        kept["HW4_THREADS"] = str(max(1, cores() // most))
    return kept


def command(source: Path, target: Path, *options: str) -> list[str]:
    """Return the command line of a process that executes one notebook (`kernel`)."""
    return [sys.executable, "-m", "hw4.tools.kernel", str(source), str(target), *options]


def run_all(
    sources: list[Path],
    target: Path,
    console: Console,
    verdict: Callable[[Path], str] = lambda path: "executed",
    most: int | None = None,
    variables: dict[str, str] | None = None,
) -> dict[Path, str]:
    """Execute every notebook of `sources` into the folder `target`, going on after failures.

    Each runs in a process of its own, so that none harms another. Its result is written in one
    step when it ends. A notebook that fails is written with its error unless it would replace its
    own source.

    Args:
        sources: notebooks to execute, quickest first, each in the folder it lies in.
        target: where the executed notebooks go; may be the folder of the sources.
        console: where progress is shown.
        verdict: from the path of an executed notebook to the words said of it at once.
        most: how many run at once; by default as cores and memory allow.
        variables: set in the kernels' environment, whatever this process has there.

    Returns:
        What went wrong, for the sources that failed.
    """
    target.mkdir(parents=True, exist_ok=True)
    most = most or jobs.at_once(len(sources))
    work = {}
    for source in schedule(sources, most):
        work[jobs.Job(source.stem, command(source, target / source.name))] = source
    shown = _Progress(console, len(work))
    results: dict[jobs.Job, dict] = {}
    failed: dict[Path, str] = {}
    kept = environment(most) | (variables or {})
    with shown, contextlib.closing(jobs.run(work, most, kept)) as events:
        for job, line in events:
            if line is not None:
                told = jobs.told(line)
                results.setdefault(job, {"last": ""}).update(told or {"last": line})
                if told and "cell" in told:
                    shown.cell(job, told["cell"], told["of"])
            elif job.code is None:
                shown.start(job)
            else:
                source, result = work[job], results.get(job, {"last": ""})
                problem = _problem(job, result)
                executed = target / source.name
                if problem:
                    failed[source] = problem
                    if not result.get("written") and not _same(source, executed):
                        # what an earlier run has left is not the result of this one
                        with contextlib.suppress(OSError):
                            executed.unlink()
                    shown.end(job, f"FAILED after {{}}: {visible(problem, newlines=True)}")
                else:
                    shown.end(job, f"{verdict(executed)} ({{}})")
    return failed


def _problem(job: jobs.Job, result: dict) -> str | None:
    if "problem" in result:
        return result["problem"]
    return f"its process ended with code {job.code}: {result['last'] or 'it said nothing'}"


class _Progress:
    """One line a running notebook on a terminal; in a log, the first cell and every tenth."""

    def __init__(self, console: Console, count: int) -> None:
        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        quiet = not console.is_terminal
        self.bars = Progress(*columns, console=console, transient=True, disable=quiet)
        self.console, self.count = console, count
        self.started: dict[jobs.Job, tuple] = {}

    def __enter__(self) -> "_Progress":
        self.bars.start()
        return self

    def __exit__(self, *reason) -> None:
        self.bars.stop()

    def start(self, job: jobs.Job) -> None:
        label = f"[{len(self.started) + 1}/{self.count}] {job.name}"
        self.started[job] = label, self.bars.add_task(label), time.perf_counter()

    def cell(self, job: jobs.Job, position: int, of: int) -> None:
        label, task, start = self.started[job]
        text = f"{label}, cell {position}/{of}"
        self.bars.update(task, description=text)
        if not self.console.is_terminal and (position == 1 or position % 10 == 0):
            self._say(f"{text} after {time.perf_counter() - start:.0f} s")

    def end(self, job: jobs.Job, text: str) -> None:
        _, task, start = self.started[job]
        self.bars.remove_task(task)
        self._say(f"{job.name}: {text}".replace("{}", f"{time.perf_counter() - start:.0f} s", 1))

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _same(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve()
