"""Two sequence tasks that need opposite abilities, the error measures, and a fair stopwatch."""

import time
from collections.abc import Callable

import numpy as np

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
    if not 0 <= delay < steps:
        raise ValueError(
            f"delay must lie in 0 to {steps - 1} (steps less one); got {delay}. Lengthen the "
            "sequence."
        )
    X = np.zeros((n, steps, 2), np.float32)
    X[..., 0] = rng.choice([-1, 1], (n, steps))
    marked = steps - 1 - delay
    X[:, marked, 1] = 1
    return X, (X[:, marked, 0] > 0).astype(np.float32)


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
    if steps < size:
        raise ValueError(f"steps must be at least {size}, the motif's; got {steps}. Take more.")
    X = rng.normal(0, noise, (n, steps, 1)).astype(np.float32)
    labels = np.zeros(n, np.float32)
    labels[rng.permutation(n)[: n // 2]] = 1
    for series, label in zip(X[..., 0], labels, strict=True):
        first = rng.integers(0, steps - size + 1)
        series[first : first + size] += MOTIF if label else MOTIF[::-1]
    return X, labels


def errors(truth, forecast) -> dict[str, float]:
    """Return MAE = mean |y - p| and R2 = 1 - sum (y - p)^2 / sum (y - mean y)^2.

    Raises:
        ValueError: shapes that differ (broadcasting (n,) against (n, 1) would go unnoticed), or a
            constant truth, for which R2 is not defined.

    >>> errors([1.0, 2.0, 3.0], [1.0, 2.0, 5.0])
    {'MAE': 0.6666666666666666, 'R2': -1.0}
    """
    truth, forecast = np.asarray(truth, np.float64), np.asarray(forecast, np.float64)
    if truth.shape != forecast.shape or truth.ndim != 1:
        raise ValueError(
            f"truth and forecast must be two (n,) arrays; got {truth.shape} and {forecast.shape}. "
            "Drop the last axis."
        )
    spread = ((truth - truth.mean()) ** 2).sum()
    if not spread > 0:
        raise ValueError(
            f"truth must vary for R2; got {len(truth)} values with spread {spread}. Take more."
        )
    residual = truth - forecast
    return {"MAE": float(np.abs(residual).mean()), "R2": float(1 - (residual**2).sum() / spread)}


def median_seconds(calls: dict[str, Callable], repeats: int = 5) -> dict[str, float]:
    """Time several calls in turn and return the median of each, after one round of warm-up.

    Taking turns spreads a disturbance of the machine over all of them instead of over one.

    Args:
        calls: name to a function without arguments that returns when its work is done.
        repeats: timed rounds, at least 1.

    Raises:
        ValueError: no repeats.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1; got {repeats}. Take 5.")
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def loglog_slope(x, y) -> float:
    """Return the exponent b of the least-squares fit y = a x^b.

    >>> round(loglog_slope([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
