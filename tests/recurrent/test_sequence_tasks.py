"""The two tasks hold what they promise; errors and the stopwatch are right."""

import time

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score

from hw4.recurrent import tasks


@pytest.mark.parametrize(("steps", "delay"), [(1, 0), (10, 0), (10, 9), (40, 15)])
def test_recall_marks_the_sign_to_remember(steps, delay):
    X, y = tasks.delayed_recall(500, steps, delay, np.random.default_rng(0))
    assert X.shape == (500, steps, 2)
    assert set(np.unique(X[..., 0])) == {-1, 1}
    for sequence, label in zip(X, y, strict=True):
        (place,) = np.flatnonzero(sequence[:, 1])
        assert steps - 1 - place == delay
        assert label == (sequence[place, 0] + 1) / 2


def test_nothing_but_the_marked_step_tells_the_answer():
    X, y = tasks.delayed_recall(20_000, 12, 5, np.random.default_rng(0))
    agreement = ((X[..., 0] > 0) == (y[:, None] > 0.5)).mean(axis=0)
    assert agreement[6] == 1
    assert np.abs(np.delete(agreement, 6) - 0.5).max() < 0.02
    assert y.mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("delay", [-1, 10, 11])
def test_a_delay_outside_the_sequence_is_refused(delay):
    with pytest.raises(ValueError, match=rf"delay must lie in 0 to 9 .* got {delay}"):
        tasks.delayed_recall(5, 10, delay, np.random.default_rng(0))


def test_motif_classes_hold_the_same_values_forwards_and_backwards():
    X, y = tasks.motif_detection(400, 30, np.random.default_rng(0), noise=0.0)
    assert y.sum() == 200
    places = set()
    for series, label in zip(X[..., 0], y, strict=True):
        first, last = np.flatnonzero(series)[[0, -1]]
        hidden = series[first : last + 1]
        assert hidden.tolist() == (tasks.MOTIF if label else tasks.MOTIF[::-1]).tolist()
        places.add(int(first))
    assert places == set(range(30 - 7 + 1))


def test_a_matched_filter_finds_the_motif():
    X, y = tasks.motif_detection(2000, 64, np.random.default_rng(1))
    response = np.array([np.correlate(s, tasks.MOTIF, "valid").max() for s in X[..., 0]])
    accuracy = ((response > 5.5) == (y > 0.5)).mean()
    assert accuracy > 0.97
    # Sums that ignore order do not.
    assert abs(np.corrcoef(X[..., 0].sum(axis=1), y)[0, 1]) < 0.1
    assert abs(np.corrcoef((X[..., 0] ** 2).sum(axis=1), y)[0, 1]) < 0.1


def test_equal_generators_give_equal_tasks():
    for make in (
        lambda rng: tasks.motif_detection(20, 30, rng),
        lambda rng: tasks.delayed_recall(20, 30, 3, rng),
    ):
        first, again, other = (make(np.random.default_rng(seed))[0] for seed in (5, 5, 6))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def test_a_sequence_shorter_than_the_motif_is_refused():
    with pytest.raises(ValueError, match="steps must be at least 7, the motif's; got 6"):
        tasks.motif_detection(5, 6, np.random.default_rng(0))


def test_errors_equal_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, forecast = rng.normal(3, 2, 50), rng.normal(3, 2, 50)
        ours = tasks.errors(truth, forecast)
        assert ours["MAE"] == pytest.approx(mean_absolute_error(truth, forecast))
        assert ours["R2"] == pytest.approx(r2_score(truth, forecast))


def test_errors_refuse_silent_broadcasting_and_a_constant_truth():
    with pytest.raises(ValueError, match=r"two \(n,\) arrays; got \(3,\) and \(3, 1\)"):
        tasks.errors(np.arange(3), np.arange(3)[:, None])
    with pytest.raises(ValueError, match=r"truth must vary for R2; got 3 values with spread 0\.0"):
        tasks.errors(np.ones(3), np.arange(3))


def test_stopwatch_takes_turns_after_a_warm_up():
    calls = []
    seconds = tasks.median_seconds(
        {"a": lambda: calls.append("a"), "b": lambda: (calls.append("b"), time.sleep(0.01))},
        repeats=3,
    )
    assert "".join(calls) == "ab" * 4
    assert 0.009 < seconds["b"] < 0.5
    assert seconds["a"] < seconds["b"]


def test_stopwatch_ignores_one_disturbance(monkeypatch):
    now = [0.0]
    durations = iter([9, 1, 2, 50, 3, 1])

    def work():
        now[0] += next(durations)

    monkeypatch.setattr(tasks.time, "perf_counter", lambda: now[0])
    assert tasks.median_seconds({"a": work}, repeats=5) == {"a": 2}


def test_stopwatch_without_rounds_is_refused():
    with pytest.raises(ValueError, match="repeats must be at least 1; got 0"):
        tasks.median_seconds({}, repeats=0)


def test_slope_of_a_power_law():
    x = np.array([16, 64, 256, 1024])
    assert tasks.loglog_slope(x, 3e-4 * x**0.8) == pytest.approx(0.8)
