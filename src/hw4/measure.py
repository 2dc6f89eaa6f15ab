"""How two things are measured against each other: by turns, in pairs, with intervals."""

import time

import numpy as np


def paired_seconds(functions, rounds: int) -> np.ndarray:
    """Time functions in turn, so that a disturbance of the machine meets them alike.

    Args:
        functions: called without arguments.
        rounds: how often all are timed; a further round, not counted, warms up.

    Returns:
        Seconds a call, (rounds, functions).
    """
    table = np.empty((rounds + 1, len(functions)))
    for row in table:
        for column, function in enumerate(functions):
            start = time.perf_counter()
            function()
            row[column] = time.perf_counter() - start
    return table[1:]
