"""`hw4 tune`: the search of question 1 from a shell, in one process, several, or a cluster."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from hw4 import runtime

# Seconds in which a scheduler must answer.
PATIENCE = 20.0


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
    parser.add_argument("--scheduler", help="a Dask cluster that runs: tcp://host:8786")


def run(options) -> int:
    """Run the search, and print every trial and the winner.

    Returns:
        0 when the search ended, 1 when it was given up.

    Raises:
        ValueError: an option that makes no sense.
    """
    # before TensorFlow, which takes seconds to load
    connection = connected(options.workers, options.scheduler)
    seed = runtime.start(options.seed)
    from hw4 import tuning
    from hw4.tuning import analysis

    try:
        with connection as client:
            log = tuning.search(
                options.tuner,
                trials=options.trials,
                promoted=options.promoted,
                seed=seed,
                folder=options.folder,
                client=client,
            )
    except OSError as error:
        print(f"hw4 tune: {error}", file=sys.stderr)
        return 1
    rows = analysis.table(log)
    print("\t".join(rows[0]))
    for row in rows:
        print("\t".join(row.values()))
    winner = tuning.best(log)
    print(f"winner: trial {winner['trial']}, validation accuracy {winner['score']:.4f}")
    return 0


def connected(workers: int, scheduler: str | None) -> contextlib.AbstractContextManager:
    """Return the context of a Dask client: of processes here, or of a running cluster; else None.

    Wrong arguments are refused at once; the connection is made when the context is entered.

    Raises:
        ValueError: a negative number, both at once, or no address.
        ConnectionError: on entering, the scheduler does not answer.
    """
    workers = runtime.integer("workers", workers, 0)
    if scheduler and workers:
        raise ValueError(
            f"workers must be 0 with a scheduler; got {workers}. Start them where the scheduler is."
        )
    if scheduler and "://" not in scheduler:
        raise ValueError(
            f"scheduler must be an address such as tcp://127.0.0.1:8786; got {scheduler}. Take the "
            "one that `dask scheduler` prints."
        )
    return _client(workers, scheduler) if workers or scheduler else contextlib.nullcontext()


@contextlib.contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator:
    from distributed import Client

    with contextlib.ExitStack() as stack:
        address = scheduler or stack.enter_context(local(workers))
        try:
            client = stack.enter_context(Client(address, timeout=PATIENCE))
        except OSError as error:
            raise ConnectionError(
                f"scheduler must answer within {PATIENCE:g} s; got {type(error).__name__} from "
                f"{scheduler}. Start it, or correct the address."
            ) from None
        yield client


def local(workers: int) -> "LocalCluster":  # noqa: F821 - imported when it is needed
    """Return a Dask cluster of processes on this machine, one trial at a time in each."""
    from distributed import LocalCluster

    share = max(1, runtime.cores() // workers)
    threads = runtime.integer_setting("HW4_THREADS", 1, 1024) or share
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        # Any port: two searches at once must not quarrel about one.
        dashboard_address=":0",
        # The system decides about memory; Dask would kill a process in mid-training.
        memory_limit=0,
        env={"HW4_THREADS": str(threads)},
    )
