"""Parameter formulas against Keras for many sizes, and sequential depth against brute force."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from hw4.recurrent import counts

size = st.integers(1, 40)


def keras_count(layer, features):
    layer.build((None, 12, features))
    return layer.count_params()


@pytest.mark.slow
@settings(max_examples=25)
@given(size, size, st.integers(1, 9))
def test_formulas_equal_keras(units, features, kernel_size):
    pairs = [
        (counts.simple_rnn(units, features), layers.SimpleRNN(units)),
        (counts.lstm(units, features), layers.LSTM(units)),
        (counts.gru(units, features), layers.GRU(units)),
        (counts.gru(units, features, reset_after=False), layers.GRU(units, reset_after=False)),
        (counts.conv1d(units, features, kernel_size), layers.Conv1D(units, kernel_size)),
    ]
    for formula, layer in pairs:
        assert formula == keras_count(layer, features)


def test_published_counts():
    assert counts.conv1d(50, 1, 3) == 200
    assert counts.simple_rnn(50, 1) == 2_600
    assert counts.gru(50, 1) == 7_950
    assert counts.gru(50, 1, reset_after=False) == 7_800
    assert counts.lstm(50, 1) == 10_400
    assert counts.conv1d(50, 50, 3) == 7_550
    assert counts.simple_rnn(50, 50) == 5_050
    assert counts.lstm(50, 50) == 20_200


@given(st.integers(1, 3000), st.integers(2, 9))
def test_dilated_stack_sees_all_steps_with_the_fewest_layers(steps, kernel_size):
    dilations = counts.doubling_dilations(steps, kernel_size)
    assert dilations == [2**i for i in range(len(dilations))]
    field = 1 + sum(d * (kernel_size - 1) for d in dilations)
    assert field >= steps
    if dilations:
        assert field - dilations[-1] * (kernel_size - 1) < steps
    assert counts.sequential_depth("dilated", steps, kernel_size) == len(dilations)


@pytest.mark.parametrize(
    ("steps", "kernel_size"), list(itertools.product((1, 2, 3, 10, 11, 64), (2, 3, 5)))
)
def test_stacked_depth_counts_layers_one_by_one(steps, kernel_size):
    field, layers_used = 1, 0
    while field < steps:
        field += kernel_size - 1
        layers_used += 1
    assert counts.sequential_depth("stacked", steps, kernel_size) == layers_used
    assert counts.sequential_depth("recurrent", steps, kernel_size) == steps
    assert counts.sequential_depth("single", steps, kernel_size) == 1


@pytest.mark.parametrize("bad", [0, -3, 2.0, True, "5", None, np.int64(0), np.float64(2)])
def test_senseless_sizes_are_refused(bad):
    calls = {
        "units": lambda: counts.lstm(bad, 1),
        "features": lambda: counts.gru(5, bad),
        "kernel_size": lambda: counts.conv1d(5, 1, bad),
        "steps": lambda: counts.sequential_depth("recurrent", bad),
    }
    for name, call in calls.items():
        message = re.escape(f"{name} must be an integer of at least 1; got {bad!r}.")
        with pytest.raises(ValueError, match=message):
            call()


def test_numpy_integers_count_like_python_ones():
    for kind in (np.int64, np.uint8, np.int32):
        fifty, one, three = kind(50), kind(1), kind(3)
        assert counts.simple_rnn(fifty, one) == 2_600
        assert counts.lstm(fifty, fifty) == 20_200  # 255 is the largest uint8
        assert counts.gru(fifty, one) == 7_950
        assert counts.conv1d(fifty, fifty, three) == 7_550
        assert counts.doubling_dilations(fifty, three) == [1, 2, 4, 8, 16]
        assert counts.sequential_depth("recurrent", fifty) == 50


def test_what_cannot_be_built_is_refused():
    with pytest.raises(ValueError, match="kernel_size must be at least 2 to see 9 steps; got 1"):
        counts.doubling_dilations(9, 1)
    with pytest.raises(ValueError, match="kernel_size must be at least 2 to see 9 steps; got 1"):
        counts.sequential_depth("stacked", 9, 1)
    with pytest.raises(ValueError, match="kind must be one of recurrent, .* got 'parallel'"):
        counts.sequential_depth("parallel", 9)
