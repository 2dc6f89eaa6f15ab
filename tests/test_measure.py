"""Intervals and tests against numbers worked by hand, published ones, and simulated truth."""

import math
import time

import numpy as np
import pytest
from scipy import stats

from hw4 import measure
from hw4.measure import seconds_by_turns


def test_paired_interval_is_the_textbook_formula():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 7))
    d = a - b
    half = stats.t.ppf(0.95, 6) * d.std(ddof=1) / math.sqrt(7)
    expected = (d.mean(), d.mean() - half, d.mean() + half)
    assert measure.paired_interval(a, b, confidence=0.9) == pytest.approx(expected)


def test_equal_differences_have_no_width():
    assert measure.paired_interval([2, 3, 4], [1, 2, 3]) == (1, 1, 1)


def test_differences_that_rounding_alone_parts_have_no_width():
    mean, low, high = measure.paired_interval([0.3, 0.4, 0.5], [0.1, 0.2, 0.3])
    assert low == mean == high == pytest.approx(0.2)


@pytest.mark.parametrize("confidence", [0, 1, 95, math.nan])
def test_a_confidence_is_between_0_and_1(confidence):
    for call in (
        lambda: measure.paired_interval([1, 2, 4], [1, 2, 3], confidence),
        lambda: measure.wilson(8, 10, confidence),
        lambda: measure.cluster_bootstrap(np.mean, [1, 2], [3, 4], confidence=confidence),
    ):
        with pytest.raises(ValueError, match=f"^confidence must be between .* got {confidence}"):
            call()


@pytest.mark.parametrize(
    ("successes", "trials", "message"),
    [(0, 0, "trials .* got 0"), (11, 10, "successes .* 0 to 10; got 11"), (8.0, 10, r"got 8\.0")],
)
def test_wilson_refuses(successes, trials, message):
    with pytest.raises(ValueError, match=message):
        measure.wilson(successes, trials)


@pytest.mark.parametrize("values", [[0.9, 0.2], ["True", "False"], [math.nan, 1], [3, 0]])
def test_mcnemar_refuses_what_says_neither_right_nor_wrong(values):
    with pytest.raises(ValueError, match="second_right must be"):
        measure.mcnemar([1, 0], values)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1], [1], r"at least 2; got shapes \(1,\) and \(1,\)"),
        ([1, 2], [1, 2, 3], r"got shapes \(2,\) and \(3,\)"),
        ([1, math.nan], [1, 2], "got 1 pairs that are not"),
    ],
)
def test_paired_interval_refuses(a, b, message):
    with pytest.raises(ValueError, match=message):
        measure.paired_interval(a, b)


def test_wilson_against_published_numbers():
    # Newcombe (1998), table I: 81 of 263 and 0 of 20, score method without continuity correction
    assert measure.wilson(81, 263) == pytest.approx((0.3080, 0.2553, 0.3662), abs=5e-5)
    assert measure.wilson(0, 20) == pytest.approx((0, 0, 0.1611), abs=5e-5)


def test_cluster_bootstrap_of_single_rows_is_an_ordinary_bootstrap():
    values = np.random.default_rng(2).normal(size=60)
    found = measure.cluster_bootstrap(np.mean, range(60), values, draws=4000)
    known = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    assert found[0] == pytest.approx(values.mean())
    assert found[1:] == pytest.approx((known.low, known.high), abs=0.03)


def test_cluster_bootstrap_covers_the_truth_where_rows_of_a_cluster_agree():
    """40 clusters of 5 equal rows: an interval over rows would be too narrow by sqrt(5)."""
    rng, covered = np.random.default_rng(4), 0
    for trial in range(100):
        values = np.repeat(rng.normal(size=40), 5)
        clusters = np.repeat(np.arange(40), 5)
        order = rng.permutation(200)
        _, low, high = measure.cluster_bootstrap(
            np.mean, clusters[order], values[order], draws=300, seed=trial
        )
        covered += low <= 0 <= high
    assert 86 <= covered <= 100


def test_cluster_bootstrap_pairs_its_arrays_and_leaves_out_undefined_draws():
    a = np.arange(8.0)
    _, low, high = measure.cluster_bootstrap(
        lambda x, y: (x - y).mean(), list("aabbccdd"), a + 2, a
    )
    assert (low, high) == (2, 2)
    rare = np.array([1, 0, 0, 0])
    with pytest.raises(ValueError, match=r"got NaN in \d+ of 100"):
        measure.cluster_bootstrap(
            lambda x: math.nan if x.sum() < 3 else 1.0, range(4), rare, draws=100
        )


@pytest.mark.parametrize(
    ("clusters", "message"),
    [(list("aaa"), "got 1 groups of 3 rows"), (list("ab"), r"2 rows for arrays of \[3\]")],
)
def test_cluster_bootstrap_refuses(clusters, message):
    with pytest.raises(ValueError, match=message):
        measure.cluster_bootstrap(np.mean, clusters, np.arange(3))


def test_mcnemar_by_hand():
    first = [1, 1, 1, 1, 1, 0, 0, 1]
    second = [0, 0, 0, 0, 0, 0, 1, 1]
    only_first, only_second, p = measure.mcnemar(first, second)
    # 5 heads or more, or 1 or fewer, of 6 fair coins: 2 (1 + 6) / 64
    assert (only_first, only_second, p) == (5, 1, pytest.approx(14 / 64))
    assert measure.mcnemar([1, 0], [1, 0]) == (0, 0, 1.0)
    with pytest.raises(ValueError, match=r"one shape; got \(2,\) and \(3,\)"):
        measure.mcnemar([1, 0], [1, 0, 1])


def test_times_are_paired_and_the_first_round_is_not_counted():
    calls = []

    def slow():
        calls.append("slow")
        time.sleep(0.01 if len(calls) > 2 else 0.5)

    table = seconds_by_turns([lambda: calls.append("quick"), slow], rounds=3)
    assert table.shape == (3, 2)
    assert calls == ["quick", "slow"] * 4
    assert (table[:, 1] >= 0.01).all()
    assert (table < 0.5).all()


def test_operations_of_batch_norm_are_those_counted_by_hand():
    def batch_norm(x):
        centred = x - x.mean(axis=0)  # a sum, 4 divisions, a difference
        variance = (centred**2).sum(axis=0) / len(x)  # a square, a sum, 4 divisions
        return centred / np.sqrt(variance + 1e-3)  # 4 additions, 4 roots, a division

    assert measure.operations(batch_norm, np.ones((10, 4))) == 5 * 40 + 4 * 4


def test_operations_count_in_place_and_outer_work_and_leave_the_input_alone():
    x = np.arange(6.0).reshape(2, 3)

    def work(a):
        b = a * 2
        b += 1
        np.exp(b, out=b)
        return b

    assert measure.operations(work, x) == 18
    assert measure.operations(lambda a: np.ones(3) + a[:1, 0], x) == 3
    assert (x == np.arange(6.0).reshape(2, 3)).all()


def test_operations_of_two_arrays_are_those_of_their_result():
    column = np.arange(4.0)[:, None]
    assert measure.operations(lambda a: a + np.ones(3), column) == 12
    assert measure.operations(lambda a: np.multiply.outer(a, np.ones(3)), column[:, 0]) == 12
    assert measure.operations(lambda a: np.add.accumulate(a), column) == 4
    assert measure.operations(np.modf, column) == 8  # two results


@pytest.mark.parametrize(
    ("work", "name"),
    [
        (lambda a: a @ a, "matmul"),
        (lambda a: np.vecdot(a, a), "vecdot"),
        (lambda a: np.add.reduceat(a, [0, 1]), "add.reduceat"),
        (lambda a: np.add.at(a, [0, 0], 1), "add.at"),
    ],
)
def test_operations_that_are_not_elementwise_are_refused(work, name):
    with pytest.raises(TypeError, match=rf"or reduce; got np\.{name}, whose"):
        measure.operations(work, np.ones((3, 3)))
