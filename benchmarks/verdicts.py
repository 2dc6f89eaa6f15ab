"""Every verdict again, for other seeds and backends: what it took, and what came out otherwise.

    python benchmarks/verdicts.py [q5 ...] [--seeds 1 2 3] [--backends torch jax] [--jobs N]

Runs each notebook once for each seed on TensorFlow, and once for each other backend with its own
seed. A machine with a GPU and no TensorFlow: `--seeds --backends jax`; the table alone: `--seeds
--backends`. What was executed lies in build/verdicts, and the table is made of all that lies there:
runs that failed and runs of other cells than today's have a row that says so.
Exits with 1 if a run failed or a verdict differs from the committed one; a claim that was not run
is named and excused, since a machine may lack what it needs.
"""

import argparse
import sys
from importlib.util import find_spec

from rich.console import Console

from _results import write
from hw4.claims import REQUIRED
from hw4.runtime import BUILD, NOTEBOOKS
from hw4.tools import execute
from hw4.tools.grade import References, grade_all

EXECUTED = BUILD / "verdicts"
SEEDS, BACKENDS = (1, 2, 3), ("torch", "jax")
COLUMNS = ("run", "on", "seconds", "verdicts")
DIFFERS, FAILED = "instead of", "run failed"
STALE = {"edited cell", "missing cell", "added cell", "moved cell"}


def settings(seeds=SEEDS, backends=BACKENDS):
    """Return the environment of each round by its name, which is that of its folder."""
    by_seed = {f"seed-{n}": {"HW4_SEED": str(n), "KERAS_BACKEND": "tensorflow"} for n in seeds}
    # two kernels share one card
    options = {"HW4_SEED": "", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return by_seed | {name: {"KERAS_BACKEND": name, **options} for name in backends}


def run(sources, rounds, jobs=None, folder=EXECUTED):
    """Execute the notebooks once for each round; return what went wrong, a line each."""
    problems = []
    for name, variables in rounds.items():
        if not find_spec(variables["KERAS_BACKEND"]):
            print(
                f"{name}: not run, {variables['KERAS_BACKEND']} is not installed", file=sys.stderr
            )
            continue
        print(f"== {name}", file=sys.stderr)
        console = Console(stderr=True)
        failed = execute.run_all(sources, folder / name, console, most=jobs, variables=variables)
        problems += [f"{name}, {source.stem}: {text}" for source, text in failed.items()]
    return problems


def rows(references, folder=EXECUTED):
    """One row an executed notebook: as committed or not, stale, or failed."""
    for grade, _ in grade_all(sorted(folder.glob("*/q*.ipynb")), references):
        said, came_out = grade.environment, outcome(grade, references)
        on = f"{said.get('backend')}, seed {said.get('seed')}, {said.get('device')}"
        yield [
            f"{grade.path.stem[:2]} {grade.path.parent.name.replace('-', ' ')}",
            # a run that failed has kept outputs of the reference
            on if said and not came_out.startswith(FAILED) else "",
            "" if grade.seconds is None else f"{grade.seconds:.0f}",
            came_out,
        ]


def outcome(grade, references) -> str:
    """Say how the verdicts of one run compare with the committed ones."""
    kinds = {problem.kind for problem in grade.problems}
    if STALE & kinds:
        return "stale: its cells are not those of today"
    if not grade.environment or {"error", "not executed"} & kinds:
        first = min(grade.problems, key=lambda problem: problem.kind != "error")
        return f"{FAILED}: {f'cell {first.cell} ' if first.cell else ''}{first.text}"
    wanted = references[grade.question].claims
    found = {claim["id"]: claim["verdict"] for claim in grade.claims}
    differ = [
        f"{id}: {found.get(id, 'missing')} {DIFFERS} {claim['verdict']}"
        for id, claim in wanted.items()
        if found.get(id) not in (claim["verdict"], "not run")
    ]
    left_out = [f"{id}: not run" for id in wanted if found.get(id) == "not run"]
    said = f"{len(wanted) - len(differ) - len(left_out)} as committed"
    return "; ".join([said, *differ, *left_out])


def not_run(table) -> str:
    """Name the runs of the seven questions that have no row."""
    there = {row[0] for row in table}
    names = [f"{q} {name.replace('-', ' ')}" for q in REQUIRED for name in settings()]
    return ", ".join(name for name in names if name not in there)


def main() -> int:
    """Run what the command line asks for, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*")
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--backends", nargs="*", default=BACKENDS)
    parser.add_argument("--jobs", type=int)
    options = parser.parse_args()
    sources = execute.find(options.notebooks)
    problems = run(sources, settings(options.seeds, options.backends), options.jobs)
    table = sorted(rows(References(NOTEBOOKS)))
    notes = "Seconds include the start of the kernel; notebooks may have shared the cores."
    if missing := not_run(table):
        notes += f" Not run: {missing}."
    if not any("GPU" in row[1] for row in table):
        notes += " **No run had a GPU.**"
    write("verdicts.py", ("keras", "tensorflow", "torch", "jax"), table, COLUMNS, notes)
    print("\n".join(problems))
    return (
        1 if problems or any(word in row[-1] for row in table for word in (DIFFERS, FAILED)) else 0
    )


if __name__ == "__main__":
    sys.exit(main())
