"""Parameter formulas against Keras for many sizes, and sequential depth against brute force."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keras import layers

from hw4.recurrent import counts

size = st.integers(1, 40)


def keras_count(layer, features):
    layer.build((None, 12, features))
    return layer.count_params()


@settings(max_examples=25, deadline=None)
@given(size, size, st.booleans())
def test_recurrent_formulas_equal_keras(units, features, use_bias):
    pairs = [(counts.simple_rnn, layers.SimpleRNN), (counts.lstm, layers.LSTM)]
    for formula, kind in pairs:
        expected = keras_count(kind(units, use_bias=use_bias), features)
        assert formula(units, features, use_bias) == expected
    for reset_after in (True, False):
        layer = layers.GRU(units, use_bias=use_bias, reset_after=reset_after)
        formula = counts.gru(units, features, use_bias, reset_after)
        assert formula == keras_count(layer, features)


@settings(max_examples=25, deadline=None)
@given(size, size, st.integers(1, 9), st.booleans(), st.integers(1, 4))
def test_conv_formula_equals_keras(filters, features, kernel_size, use_bias, groups):
    filters, features = filters * groups, features * groups
    layer = layers.Conv1D(filters, kernel_size, use_bias=use_bias, groups=groups)
    formula = counts.conv1d(filters, features, kernel_size, use_bias, groups)
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


@example(50, 25, 3)  # a draw
@given(size, size, st.integers(1, 9))
def test_rule_of_the_larger_equals_the_counts(units, features, kernel_size):
    larger = counts.conv1d(units, features, kernel_size) > counts.simple_rnn(units, features)
    assert counts.conv_is_larger(units, features, kernel_size) == larger


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


@pytest.mark.parametrize("bad", [0, -3, 2.0, True, "5", None])
def test_senseless_sizes_are_refused(bad):
    calls = {
        "units": lambda: counts.lstm(bad, 1),
        "features": lambda: counts.gru(5, bad),
        "kernel_size": lambda: counts.conv1d(5, 1, bad),
        "steps": lambda: counts.sequential_depth("recurrent", bad),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=f"{name} must be a positive integer; got {bad!r}"):
            call()


def test_what_cannot_be_built_is_refused():
    with pytest.raises(ValueError, match="groups must divide features and filters; got 3 for 4"):
        counts.conv1d(6, 4, 3, groups=3)
    with pytest.raises(ValueError, match="kernel_size must be at least 2 to see 9 steps; got 1"):
        counts.doubling_dilations(9, 1)
    with pytest.raises(ValueError, match="kernel_size must be at least 2 to see 9 steps; got 1"):
        counts.sequential_depth("stacked", 9, 1)
    with pytest.raises(ValueError, match="kind must be one of recurrent, .* got 'parallel'"):
        counts.sequential_depth("parallel", 9)
