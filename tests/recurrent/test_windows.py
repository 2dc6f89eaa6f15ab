"""Windows without leakage, and the guard of their axes."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw4 import recurrent


def slow_windows(past, target, length, known=None):
    X, y = [], []
    for hour in range(length, len(target)):
        rows = []
        for t in range(hour - length, hour):
            rows.append(list(past[t]) + ([] if known is None else list(known[t + 1])))
        X.append(rows)
        y.append(target[hour])
    return np.array(X, np.float32), np.array(y, np.float32)


@settings(max_examples=40)
@given(st.data())
def test_windows_equal_a_slow_loop(data):
    n = data.draw(st.integers(2, 30))
    length = data.draw(st.integers(1, n - 1))
    f, k = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    past, target, known = rng.normal(size=(n, f)), rng.normal(size=n), rng.normal(size=(n, k))
    known = known if k else None
    X, y = recurrent.windows(past, target, length, known)
    expected = slow_windows(past, target, length, known)
    np.testing.assert_array_equal(X, expected[0])
    np.testing.assert_array_equal(y, expected[1])
    assert X.dtype == y.dtype == np.float32


@pytest.mark.parametrize("hour", [0, 1, 7, 50, 98, 99])
def test_a_planted_future_value_never_enters_a_window(hour):
    n, length, planted = 100, 8, 1e6
    past = np.zeros((n, 2))
    past[hour, 0] = planted
    X, _ = recurrent.windows(past, np.zeros(n), length, known=np.zeros((n, 1)))
    predicted = np.arange(length, n)
    seen = predicted[(planted == X).any(axis=(1, 2))]
    # It may only serve hours after its own, and does serve the next `length` of them.
    assert (seen > hour).all()
    assert seen.tolist() == [t for t in range(hour + 1, hour + 1 + length) if length <= t < n]


@pytest.mark.parametrize("hour", [1, 50, 99])
def test_what_is_known_in_advance_reaches_one_step_ahead_and_no_further(hour):
    n, length = 100, 8
    known = np.zeros((n, 1))
    known[hour] = 1
    X, _ = recurrent.windows(np.zeros((n, 1)), np.zeros(n), length, known)
    seen = np.arange(length, n)[(X == 1).any(axis=(1, 2))]
    assert seen.min() == max(hour, length)


@pytest.mark.parametrize("length", [0, -1, 10, 11, 2.0, True, None, np.int64(0), np.bool_(True)])
def test_a_senseless_window_is_refused(length):
    message = rf"length must be an integer from 1 to 9; got {re.escape(repr(length))}\."
    with pytest.raises(ValueError, match=message):
        recurrent.windows(np.zeros((10, 1)), np.zeros(10), length)


def test_series_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match=r"past must have shape .* n = 10 .* got \(9, 1\)"):
        recurrent.windows(np.zeros((9, 1)), np.zeros(10), 2)
    with pytest.raises(ValueError, match=r"known must have shape .* got \(10,\)"):
        recurrent.windows(np.zeros((10, 1)), np.zeros(10), 2, known=np.zeros(10))


SIX_STEPS, SIX_FEATURES = r"6 time steps of 1 feature", r"1 time step of 6 features"


@pytest.mark.parametrize(
    ("shape", "steps", "features", "message"),
    [
        ((9, 6, 1), 1, 6, rf"got \(9, 6, 1\), which is read as {SIX_STEPS}\. .*{SIX_FEATURES}, "
         r"pass X\.reshape\(n, 1, 6\)\."),
        ((9, 1, 6), 6, 1, rf"read as {SIX_FEATURES}\. .*{SIX_STEPS}, pass X\.reshape\(n, 6, 1\)"),
        ((9, 6), 1, 6, rf"no step axis: {SIX_STEPS}, or {SIX_FEATURES}\? .*\(n, 6, 1\) for the "
         r"first, X\.reshape\(n, 1, 6\) for the second"),
        ((9, 7, 24), 24, 7, r"read as 7 time steps of 24 features\. .*24 time steps of 7 features, "
         r"pass X\.transpose\(0, 2, 1\)"),
        ((9,), 1, 6, r"got \(9,\)\. Bring X into samples, steps, features"),
        ((9, 2, 3, 4), 1, 6, r"got \(9, 2, 3, 4\)\. Bring"),
    ],
)  # fmt: skip
def test_axis_guard_names_both_readings(shape, steps, features, message):
    with pytest.raises(ValueError, match=message):
        recurrent.check_axes(np.zeros(shape), steps=steps, features=features)


def test_axis_guard_lets_the_right_shape_pass():
    X = np.zeros((9, 24, 7))
    assert recurrent.check_axes(X, steps=24, features=7) is X
