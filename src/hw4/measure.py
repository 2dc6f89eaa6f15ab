"""How two things are measured against each other: in pairs, with intervals, by turns.

The statistics are SciPy's and scikit-learn's; what is here says which of them the notebooks mean,
and over which unit (patients, seeds, images) a result is sampled.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from hw4.runtime import integer, real

Interval = tuple[float, float, float]


def paired_interval(with_it, without, confidence: float = 0.95) -> Interval:
    """Return the mean of the paired differences `with_it - without` and its Student t interval.

    mean ± t_(n-1) s / sqrt(n), with s the sample deviation of the n differences
    (`scipy.stats.ttest_rel`).

    Args:
        with_it: (n,) numbers, one a unit that is independent of the others: a seed, an image.
        without: (n,) numbers of the same units in the same order.
        confidence: between 0 and 1.

    Returns:
        Mean, lower and upper end.

    Raises:
        ValueError: fewer than 2 pairs, unequal numbers, something that is not finite, or a
            confidence outside its range.

    >>> gain = paired_interval([0.97, 0.98, 0.96], [0.95, 0.97, 0.93])
    >>> [round(x, 4) for x in gain]
    [0.02, -0.0048, 0.0448]
    """
    _check_confidence(confidence)
    with_it, without = (
        real(name, values).astype(float)
        for name, values in (("with_it", with_it), ("without", without))
    )
    if with_it.shape != without.shape or with_it.ndim != 1 or len(with_it) < 2:
        raise ValueError(
            f"with_it and without must be equally long, at least 2; got shapes {with_it.shape} and "
            f"{without.shape}. Measure both on the same units."
        )
    differences = with_it - without
    if not np.isfinite(differences).all():
        raise ValueError(
            f"with_it and without must be finite; got {(~np.isfinite(differences)).sum()} pairs "
            "that are not. Look for a training that diverged."
        )
    mean = float(differences.mean())
    rounding = 4 * np.finfo(float).eps * max(np.abs(with_it).max(), np.abs(without).max())
    if np.ptp(differences) <= rounding:  # equal differences; SciPy divides by their deviation
        return mean, mean, mean
    low, high = stats.ttest_rel(with_it, without).confidence_interval(confidence)
    return mean, float(low), float(high)


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Return a share and its interval of Wilson (1927), for trials that are independent.

    Raises:
        ValueError: `trials` below 1, `successes` not from 0 to `trials`, or a confidence not
            between 0 and 1.

    >>> [round(x, 4) for x in wilson(8, 10)]
    [0.8, 0.4902, 0.9433]
    """
    trials = integer("trials", trials, 1)
    successes = integer("successes", successes, 0, trials)
    _check_confidence(confidence)
    low, high = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return successes / trials, float(low), float(high)


def cluster_bootstrap(
    statistic: Callable[..., float],
    clusters,
    *arrays,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Return `statistic(*arrays)` and its percentile interval over resampled clusters.

    Rows of one cluster are not independent (all images of a patient share a label), so whole
    clusters are drawn with replacement (Davison and Hinkley 1997, section 3.8). A statistic of two
    models on the same rows gives a paired interval.

    Args:
        statistic: from the arrays, all of n rows, to a number; NaN where a draw leaves it
            undefined, which leaves that draw out.
        clusters: (n,) names of the clusters, such as patients.
        arrays: (n, ...) each.
        draws: number of resamples.
        seed: of the draws.
        confidence: between 0 and 1.

    Returns:
        The statistic of all rows, lower and upper end.

    Raises:
        ValueError: fewer than 2 clusters, arrays of other lengths, a statistic that is undefined
            in more than half of the draws, no draw, or a confidence outside its range.

    >>> right, patients = np.array([1, 1, 1, 0, 0, 1, 1, 1]), list("aabbbccd")
    >>> [round(x, 2) for x in cluster_bootstrap(np.mean, patients, right)]
    [0.75, 0.45, 1.0]
    """
    draws = integer("draws", draws, 1)
    _check_confidence(confidence)
    arrays = [np.asarray(array) for array in arrays]
    names, of_row = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) < 2 or any(len(array) != len(of_row) for array in arrays):
        raise ValueError(
            f"clusters must name at least 2 groups, one name a row; got {len(names)} groups of "
            f"{len(of_row)} rows for arrays of {[len(array) for array in arrays]}. Give each row "
            "its patient."
        )
    order = np.argsort(of_row, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(of_row))[:-1])
    rng = np.random.default_rng(seed)
    values = np.empty(draws)
    for draw in range(draws):
        chosen = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        values[draw] = statistic(*(array[chosen] for array in arrays))
    defined = values[~np.isnan(values)]
    if 2 * len(defined) < draws:
        raise ValueError(
            f"statistic must be defined for most resamples; got NaN in {draws - len(defined)} of "
            f"{draws}. Give more clusters of each kind."
        )
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, (tail, 1 - tail))
    return float(statistic(*arrays)), float(low), float(high)


def mcnemar(first_right, second_right) -> tuple[int, int, float]:
    """Compare two classifiers on the same cases: what only one gets right, and the exact p value.

    Under equal quality each discordant case falls to either side like a fair coin (McNemar 1947,
    exact form). The cases must be independent.

    Args:
        first_right: (n,) booleans.
        second_right: (n,) booleans of the same cases.

    Returns:
        Cases that only the first gets right, cases that only the second does, two-sided p.

    Raises:
        ValueError: unequal shapes, or something else than booleans (or 0 and 1), such as
            predictions.

    >>> mcnemar([True] * 8 + [False], [False] * 7 + [True, True])
    (7, 1, 0.0703125)
    """
    first, second = _booleans("first_right", first_right), _booleans("second_right", second_right)
    if first.shape != second.shape:
        raise ValueError(
            f"first_right and second_right must have one shape; got {first.shape} and "
            f"{second.shape}. Judge both on the same cases."
        )
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    p = stats.binomtest(only_first, discordant).pvalue if discordant else 1.0
    return only_first, only_second, float(p)


def _booleans(name: str, values) -> np.ndarray:
    array = real(name, values)
    odd = array[~np.isin(array, (0, 1))]
    if odd.size:
        raise ValueError(f"{name} must be booleans; got {odd[0]}. Compare answers with the truth.")
    return array.astype(bool)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1; got {confidence}. Try 0.95.")


def operations(function: Callable[[np.ndarray], object], x) -> int:
    """Count the operations on single numbers of NumPy's elementwise functions in `function(x)`.

    One for each number of the result, and for each number that a reduction takes in: the same on
    every machine, unlike seconds. What is no `ufunc` (`np.dot`, `np.sort`, copies) is not counted.

    Args:
        function: called with `x` once.
        x: array.

    Raises:
        TypeError: `function` uses a ufunc that works on whole vectors, such as `np.matmul`, or in
            another way than elementwise, `outer`, `reduce` and `accumulate`.

    >>> operations(lambda x: x + 1, np.ones((4, 3)))
    12
    >>> operations(lambda x: x - x.mean(axis=0), np.ones((4, 3)))  # 12 + 3 divisions + 12
    27
    """
    count = 0

    class Counted(np.ndarray):
        def __array_ufunc__(self, ufunc, method, *arrays, out=(), **options) -> np.ndarray:
            nonlocal count
            if ufunc.signature or method not in ("__call__", "outer", "reduce", "accumulate"):
                name = ufunc.__name__ + ("" if method == "__call__" else f".{method}")
                raise TypeError(
                    f"function must work elementwise or reduce; got np.{name}, whose operations "
                    "are not counted. Write it with elementwise functions and sums."
                )
            plain = [np.asarray(array) for array in arrays]
            if out:
                options["out"] = tuple(np.asarray(array) for array in out)
            result = np.asarray(getattr(ufunc, method)(*plain, **options))
            count += (result if method in ("__call__", "outer") else plain[0]).size
            return result.view(Counted)

    function(np.asarray(x).view(Counted))
    return count


def seconds_by_turns(functions: Sequence[Callable[[], object]], rounds: int) -> np.ndarray:
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
