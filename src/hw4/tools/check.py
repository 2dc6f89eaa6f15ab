"""What `make test` runs: lint, unit tests, and every notebook executed again and compared."""

import contextlib
import sys

from hw4.runtime import NOTEBOOKS, ROOT, cores
from hw4.tools import execute, jobs

PARTS = ("lint", "fast", "unit", "notebooks")
# `fast` are the unit tests that are not marked `slow`.
DEFAULT = ("lint", "unit", "notebooks")
# A file of tests stays in one process, which makes what its tests share once. A process that dies
# ends the tests, with the name of the deadly one: another process would only run that again.
SPREAD = ("--dist=loadfile", "--no-loadscope-reorder", "--max-worker-restart=0", "-n")
NBVAL = ("--nbval", "--nbval-cell-timeout=900", "-p", "no:cacheprovider", "-q", "--no-header")


def run(parts: list[str], only: list[str] | None = None, most: int | None = None) -> int:
    """Run `parts`, `DEFAULT` if there are none, each to its end; return 0 if all passed, else 1.

    What a command writes is shown as it comes where it runs alone, else whole at its end.
    """
    results = {}
    for part in parts or DEFAULT:
        match part:
            case "lint":
                results |= _lint()
            case "fast":
                results |= _unit("fast unit tests", most, "-m", "not slow")
            case "unit":
                results |= _unit("unit tests", most)
            case "notebooks":
                results |= _notebooks(only, most)
    failed = [name for name, passed in results.items() if not passed]
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed", end="")
    print(f": {', '.join(failed)}" if failed else "", flush=True)
    return 1 if failed else 0


def _lint() -> dict[str, bool]:
    ruff = [sys.executable, "-m", "ruff"]
    work = [
        jobs.Job("ruff check", [*ruff, "check", str(ROOT)]),
        jobs.Job("ruff format", [*ruff, "format", "--check", "-q", str(ROOT)]),
    ]
    return _run(work, 1)


def _unit(name: str, most: int | None, *chosen: str) -> dict[str, bool]:
    """Run unit tests in a process a core, or in a single one."""
    most = most or jobs.at_once(cores())
    spread = [*SPREAD, str(most)] if most > 1 else []
    job = jobs.Job(name, [sys.executable, "-m", "pytest", *chosen, *spread])
    return _run([job], 1, execute.environment(most))


def _notebooks(only: list[str] | None, most: int | None) -> dict[str, bool]:
    """Compare each notebook in a process of its own, so that a kernel that dies harms no other."""
    sources = execute.find(only)
    most = most or jobs.at_once(len(sources))
    rules = f"--nbval-sanitize-with={NOTEBOOKS / 'nbval_sanitize.cfg'}"
    work = [
        jobs.Job(source.stem, [sys.executable, "-m", "pytest", *NBVAL, rules, str(source)])
        for source in execute.schedule(sources, most)
    ]
    report = jobs.Job("claims", [sys.executable, "-m", "hw4.tools.cli", "report"])
    return _run(work, most) | _run([report], 1)


def _run(
    work: list[jobs.Job], most: int, environment: dict[str, str] | None = None
) -> dict[str, bool]:
    held: dict[jobs.Job, list[str]] = {job: [] for job in work}
    environment = environment or execute.environment(most)
    with contextlib.closing(jobs.run(work, most, environment, ROOT)) as events:
        for job, line in events:
            if line is not None:
                if most == 1:
                    print(line, flush=True)
                else:
                    held[job].append(line)
            elif job.code is None:
                print(f"== {job.name}" + (" started" if most > 1 else ""), flush=True)
            elif most > 1:
                print("\n".join([f"== {job.name}", *held[job]]), flush=True)
    return {job.name: job.code == 0 for job in work}
