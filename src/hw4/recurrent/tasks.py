"""Sequence tasks that need opposite abilities."""

import numpy as np

from hw4.runtime import integer

MOTIF = np.array([1, -1, 1, 1, -1, -1, 1], np.float32)


def delayed_recall(
    n: int, steps: int, delay: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw sequences of random signs, one of which is marked and has to be recalled at the end.

    Channel 0 is an independent fair sign at every step; channel 1 is 1 at step
    steps - 1 - delay and 0 elsewhere. The label is the marked sign, so whoever cannot see that
    step cannot do better than 50 %.

    Args:
        n: sequences.
        steps: length.
        delay: steps between the marked one and the last, from 0 to steps - 1.
        rng: source of all randomness.

    Returns:
        X (n, steps, 2) float32 and labels (n,) float32, 0 or 1.

    Raises:
        ValueError: a delay outside its range.
    """
    delay = integer("delay", delay, 0, steps - 1, "Lengthen the sequence.")
    X = np.zeros((n, steps, 2), np.float32)
    X[..., 0] = rng.choice([-1, 1], (n, steps))
    marked = steps - 1 - delay
    X[:, marked, 1] = 1
    return X, (X[:, marked, 0] > 0).astype(np.float32)


def running_parity(n: int, steps: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw presses of a light switch, and whether the light is on after each step.

    y[t] = x[0] xor x[1] xor ... xor x[t]. Given the last r presses, the ones before them leave the
    answer a fair coin: whoever sees only r steps is right half of the time after more than r.

    Args:
        n: sequences.
        steps: length.
        rng: source of all randomness.

    Returns:
        X (n, steps, 1) float32, 1 for a press, and labels (n, steps, 1) float32, 1 for on.

    >>> X, y = running_parity(1, 6, np.random.default_rng(2))
    >>> X[0, :, 0].astype(int).tolist(), y[0, :, 0].astype(int).tolist()
    ([1, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 0])
    """
    presses = rng.integers(0, 2, (n, integer("steps", steps, 1), 1))
    return presses.astype(np.float32), (presses.cumsum(axis=1) % 2).astype(np.float32)


def motif_detection(
    n: int, steps: int, rng: np.random.Generator, noise: float = 0.2
) -> tuple[np.ndarray, np.ndarray]:
    """Draw noise that hides seven values at any place: in the motif's order, or backwards.

    Both classes contain the same values, so only their local order tells them apart.

    Args:
        n: sequences, half of them (rounded down) with the motif.
        steps: length, at least that of the motif.
        rng: source of all randomness.
        noise: standard deviation of the noise, which lies over the seven values too.

    Returns:
        X (n, steps, 1) float32 and labels (n,) float32, 1 for the motif.

    Raises:
        ValueError: fewer steps than the motif has.
    """
    size = len(MOTIF)
    steps = integer("steps", steps, size, cure=f"The motif alone takes {size}.")
    X = rng.normal(0, noise, (n, steps, 1)).astype(np.float32)
    labels = np.zeros(n, np.float32)
    labels[rng.permutation(n)[: n // 2]] = 1
    for series, label in zip(X[..., 0], labels, strict=True):
        first = rng.integers(0, steps - size + 1)
        series[first : first + size] += MOTIF if label else MOTIF[::-1]
    return X, labels
