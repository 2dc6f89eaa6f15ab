"""`hw4 tune`: the search of question 1 from a shell, on one process, several, or many machines."""

import sys
from pathlib import Path

from hw4 import runtime

TUNERS = ("random", "bayesian", "hyperband")
START = "import sys; from hw4.cli import main; sys.exit(main())"


def add_arguments(parser) -> None:
    """Add the options of `hw4 tune` to an argparse parser."""
    parser.add_argument("--tuner", choices=TUNERS, default="random", help="who proposes")
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
    parser.add_argument("--lease", type=float, default=60.0, help="seconds a worker may be silent")


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
    runtime.start(options.seed)
    from hw4 import tuning

    plan = tuning.plan(
        options.tuner, trials=options.trials, promoted=options.promoted, seed=options.seed
    )
    try:
        log = _take_part(plan, options, role)
    except (TimeoutError, ConnectionError) as error:
        print(f"hw4 tune: {error}", file=sys.stderr)
        return 1
    if log is not None:
        _print(log)
    return 0


def _take_part(plan, options, role) -> list[dict] | None:
    """Return the log of the whole search, None for a worker, which has only a part of it."""
    from hw4 import tuning
    from hw4.tuner import open_search, records

    if options.workers or role:
        from hw4.tuner import distributed
    if options.workers:
        command = worker_command(options)
        return distributed.conduct(
            plan, options.folder, command, options.workers, options.lease, _say
        )
    if role and "chief" not in role[0]:
        return distributed.work(plan, tuning.trainer(), options.lease)
    search = open_search(plan, options.folder)
    if role:
        chief = distributed.Chief(search.oracle, f"{role[1]}:{role[2]}", options.lease, _say)
        try:
            chief.wait()
        finally:
            chief.stop()
    else:
        search.run(tuning.trainer())
    return records(search.oracle)


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
