"""The tasks hold what they promise."""

import numpy as np
import pytest

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


@pytest.mark.parametrize("delay", [-1, 10, 11, 2.5, True])
def test_a_delay_outside_the_sequence_is_refused(delay):
    with pytest.raises(ValueError, match=rf"delay must be an integer from 0 to 9; got {delay}\."):
        tasks.delayed_recall(5, 10, delay, np.random.default_rng(0))


def test_the_light_follows_every_press():
    X, y = tasks.running_parity(50, 30, np.random.default_rng(0))
    assert X.shape == y.shape == (50, 30, 1)
    for presses, light in zip(X[..., 0], y[..., 0], strict=True):
        on = False
        for pressed, shown in zip(presses, light, strict=True):
            on = not on if pressed else on
            assert shown == on


def test_the_last_presses_alone_say_nothing_of_the_light():
    X, y = tasks.running_parity(40_000, 12, np.random.default_rng(0))
    seen = X[:, -5:, 0] @ 2 ** np.arange(5)  # which of the 32 last quintuples
    shares = [y[seen == code, -1].mean() for code in range(32)]
    assert np.abs(np.array(shares) - 0.5).max() < 0.06  # four sampling errors of 1,250
    first = X[:, :5, 0] @ 2 ** np.arange(5)
    assert {float(y[first == code, 4].std()) for code in range(32)} == {0.0}


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
        lambda rng: tasks.running_parity(20, 30, rng),
    ):
        first, again, other = (make(np.random.default_rng(seed))[0] for seed in (5, 5, 6))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def test_a_sequence_shorter_than_the_motif_is_refused():
    with pytest.raises(ValueError, match="steps must be an integer of at least 7; got 6"):
        tasks.motif_detection(5, 6, np.random.default_rng(0))
