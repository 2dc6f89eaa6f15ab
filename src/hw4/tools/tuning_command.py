"""`hw4 tune`: the search of question 1 from a shell, on one process, several, or many machines."""

import math
import sys
from pathlib import Path

from hw4 import runtime

START = "import sys; from hw4.tools.cli import main; sys.exit(main())"


def add_arguments(parser) -> None:
    """Add the options of `hw4 tune` to an argparse parser."""
    parser.add_argument("--tuner", default="random", help="random, bayesian or hyperband")
    parser.add_argument("--trials", type=int, default=12, help="first trials (not for hyperband)")
    parser.add_argument("--promoted", type=int, default=2, help="how many of them run for longer")
    parser.add_argument("--seed", type=int, default=7, help="any integer from 0")
    parser.add_argument(
        "--folder",
        type=Path,
        default=runtime.BUILD / "search",
        help="where the search is kept; an interrupted one goes on",
    )
    parser.add_argument("--workers", type=int, default=0, help="processes on this machine")
    parser.add_argument(
        "--lease",
        type=float,
        default=60.0,
        help="seconds of silence or start-up after which a worker counts as dead",
    )


def worker_command(options) -> list[str]:
    """Return the command line of one worker, with the options of its chief."""
    names = ("tuner", "trials", "promoted", "seed", "folder", "lease")
    pairs = [(f"--{name}", str(getattr(options, name))) for name in names]
    return [sys.executable, "-c", START, "tune", *(text for pair in pairs for text in pair)]


def run(options) -> int:
    """Run the search, or this process's part of it, and print every trial and the winner.

    `runtime.search_role` tells whether this process is alone, the chief or a worker.

    Returns:
        0 when the search ended, 1 when it was given up.

    Raises:
        ValueError: an option that makes no sense.
    """
    role = runtime.search_role()
    if options.workers < 0 or (options.workers and role):
        raise ValueError(
            f"workers must be 0 here, or at least 1 without KERASTUNER_ variables; got "
            f"{options.workers}. Correct or unset it."
        )
    if not 0 < options.lease < math.inf:
        raise ValueError(
            f"lease must be a positive number of seconds; got {options.lease:g}. Try 60."
        )
    # The one in force, which the workers must get too.
    options.seed = runtime.start(options.seed)
    try:
        log = _take_part(options, role)
    except (TimeoutError, ConnectionError) as error:
        print(f"hw4 tune: {error}", file=sys.stderr)
        return 1
    if log is not None:
        _print(log)
    return 0


def _take_part(options, role) -> list[dict] | None:
    """Return the log of the whole search, None for a worker, which has only a part of it."""
    from hw4 import tuning
    from hw4.tuner import distributed, open_search, records, write_json

    choice = {"trials": options.trials, "promoted": options.promoted, "seed": options.seed}
    if not options.workers and not role:
        return tuning.search(options.tuner, folder=options.folder, **choice)
    plan, lease = tuning.plan(options.tuner, **choice), options.lease
    if options.workers:
        command = worker_command(options)
        log = distributed.conduct(plan, options.folder, command, options.workers, lease, _say)
    elif "chief" in role[0]:
        oracle = open_search(plan, options.folder).oracle
        chief = distributed.Chief(oracle, f"{role[1]}:{role[2]}", lease, _say)
        try:
            chief.wait()
        finally:
            chief.stop()
        log = records(oracle)
    else:
        return distributed.work(plan, tuning.trainer(), lease)
    write_json(options.folder / "log.json", log)
    return log


def _say(message: str) -> None:
    print(f"hw4 tune: {message}", file=sys.stderr, flush=True)


def _print(log: list[dict]) -> None:
    from hw4.tuner import best
    from hw4.tuning.search_log import table

    rows = table(log)
    print("\t".join(rows[0]))
    for row in rows:
        print("\t".join(row.values()))
    winner = best(log)
    print(f"winner: trial {winner['trial']}, validation accuracy {winner['score']:.4f}")
