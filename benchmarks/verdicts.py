"""Every verdict again, for other seeds and backends: what it took, and what came out otherwise.

    python benchmarks/verdicts.py [--seeds 1 2 3] [--backends torch jax] [--jobs N] [q5 ...]

Runs each notebook once for each seed on TensorFlow, and once for each other backend with its own
seed. A machine with a GPU and no TensorFlow: `--seeds --backends jax`. What was executed lies in
build/verdicts, and the table is made of all that lies there and has the cells of today.
Exits with 1 if a run fails or a verdict differs from the committed one.
"""

import argparse
import os
import sys
from importlib.util import find_spec

from rich.console import Console

from _results import write
from hw4.runtime import BUILD, NOTEBOOKS
from hw4.tools import execute
from hw4.tools.grade import References, grade_all

EXECUTED = BUILD / "verdicts"
DIFFERS = "instead of"
COLUMNS = ("notebook", "backend", "seed", "device", "seconds", "verdicts")
STALE = {"edited cell", "missing cell", "added cell", "moved cell"}


def settings(seeds, backends):
    """Yield a name and the environment of each round; say of a backend that it is missing."""
    for seed in seeds:
        yield f"seed-{seed}", {"HW4_SEED": str(seed), "KERAS_BACKEND": "tensorflow"}
    for backend in backends:
        if find_spec(backend):
            # two kernels share one card
            yield backend, {"KERAS_BACKEND": backend, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        else:
            print(f"{backend}: not run, it is not installed", file=sys.stderr)


def run(sources, rounds, jobs=None, folder=EXECUTED):
    """Execute the notebooks once for each round; return what went wrong, a line each."""
    problems = []
    for name, environment in rounds:
        print(f"== {name}", file=sys.stderr)
        before = os.environ.copy()
        os.environ.update(environment)
        try:
            failed = execute.run_all(sources, folder / name, Console(stderr=True), most=jobs)
        finally:
            os.environ.clear()
            os.environ.update(before)
        problems += [f"{name}, {source.stem}: {text}" for source, text in failed.items()]
    return problems


def rows(references, folder=EXECUTED):
    """One row an executed notebook whose code is that of its reference."""
    for grade, _ in grade_all(sorted(folder.glob("*/q*.ipynb")), references):
        if STALE & {problem.kind for problem in grade.problems} or not grade.environment:
            continue
        wanted = references[grade.question].claims
        found = {claim["id"]: claim["verdict"] for claim in grade.claims}
        differ = [
            f"{id}: {found.get(id, 'missing')} {DIFFERS} {claim['verdict']}"
            for id, claim in wanted.items()
            if found.get(id) not in (claim["verdict"], "not run")
        ]
        left_out = [id for id in wanted if found.get(id) == "not run"]
        said = [f"{len(wanted) - len(differ) - len(left_out)} as committed", *differ]
        said += [f"{id}: not run" for id in left_out]
        where = grade.environment
        yield [
            grade.question,
            where["backend"],
            str(where["seed"]),
            where["device"],
            f"{grade.seconds:.0f}",
            "; ".join(said),
        ]


def main() -> int:
    """Run what the command line asks for, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*")
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3])
    parser.add_argument("--backends", nargs="*", default=["torch", "jax"])
    parser.add_argument("--jobs", type=int)
    options = parser.parse_args()
    sources = execute.find(options.notebooks)
    problems = run(sources, settings(options.seeds, options.backends), options.jobs)
    table = sorted(rows(References(NOTEBOOKS)))
    notes = "Seconds include the start of the kernel; two or more notebooks share the cores."
    if not any("GPU" in row[3] for row in table):
        notes += " **No run had a GPU.**"
    write("verdicts.py", ("keras", "tensorflow", "torch", "jax"), table, COLUMNS, notes)
    print("\n".join(problems))
    return 1 if problems or any(DIFFERS in row[-1] for row in table) else 0


if __name__ == "__main__":
    sys.exit(main())
