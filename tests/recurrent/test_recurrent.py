"""Windows without leakage, the axis guard, and an LSTM fed step by step."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from sklearn.preprocessing import StandardScaler

from hw4 import recurrent
from hw4.recurrent import stepping as lstm_numpy


def built_lstm(units=5, features=3, seed=1, **options):
    keras.utils.set_random_seed(seed)
    layer = layers.LSTM(units, return_sequences=True, **options)
    layer.build((None, None, features))
    rng = np.random.default_rng(seed)
    # Keras starts biases at 0 and 1; random ones show a forgotten or misplaced bias.
    layer.set_weights([rng.normal(0, 0.5, w.shape) for w in layer.get_weights()])
    return layer


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def slow_windows(past, target, length, known=None):
    X, y = [], []
    for hour in range(length, len(target)):
        rows = []
        for t in range(hour - length, hour):
            rows.append(list(past[t]) + ([] if known is None else list(known[t + 1])))
        X.append(rows)
        y.append(target[hour])
    return np.array(X, np.float32), np.array(y, np.float32)


@settings(max_examples=40, deadline=None)
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


@pytest.mark.parametrize("length", [0, -1, 10, 11, 2.0, True, None])
def test_a_senseless_window_is_refused(length):
    with pytest.raises(ValueError, match=rf"length must be an integer from 1 to 9 .* got {length}"):
        recurrent.windows(np.zeros((10, 1)), np.zeros(10), length)


def test_series_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match=r"past must have shape .* n = 10 .* got \(9, 1\)"):
        recurrent.windows(np.zeros((9, 1)), np.zeros(10), 2)
    with pytest.raises(ValueError, match=r"known must have shape .* got \(10,\)"):
        recurrent.windows(np.zeros((10, 1)), np.zeros(10), 2, known=np.zeros(10))


def test_scaler_against_hand_worked_numbers():
    scaler = recurrent.Scaler.fit([[1.0, 10.0], [3.0, 10.0], [5.0, 10.0]])
    assert scaler.mean.tolist() == [3, 10]
    assert scaler.scale.tolist() == pytest.approx([np.sqrt(8 / 3), 1])
    assert scaler.transform([[3.0, 10.0]]).tolist() == [[0, 0]]
    values = np.array([[7.0, 12.0], [-2.0, 10.0]])
    assert scaler.inverse(scaler.transform(values)) == pytest.approx(values, rel=1e-6)


def test_scaler_equals_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(20):
        training, values = rng.normal(3, 40, (200, 5)), rng.normal(3, 40, (50, 5))
        training[:, 2] = 2023
        ours, theirs = recurrent.Scaler.fit(training), StandardScaler().fit(training)
        assert ours.transform(values) == pytest.approx(theirs.transform(values), rel=1e-6)
        scaled = ours.transform(values)
        assert ours.inverse(scaled) == pytest.approx(theirs.inverse_transform(scaled), abs=1e-4)


def test_scaler_of_a_large_constant_column_gives_zeros():
    constant = np.full(1000, 0.1)
    assert (recurrent.Scaler.fit(constant).transform(constant) == 0).all()


@pytest.mark.parametrize("training", [[], [[1.0], [np.nan]], [[np.inf]]])
def test_scaler_refuses_what_has_no_mean(training):
    with pytest.raises(ValueError, match=r"training must be finite numbers, at least one row; got"):
        recurrent.Scaler.fit(np.array(training))


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


@pytest.mark.parametrize("options", [{}, {"use_bias": True, "recurrent_activation": "sigmoid"}])
def test_step_by_step_equals_the_sequence(options):
    layer = built_lstm(**options)
    X = np.random.default_rng(0).normal(size=(4, 11, 3)).astype("float32")
    whole = numpy(layer(X))
    assert np.abs(recurrent.by_stateful_layer(layer, X) - whole).max() < 1e-6
    assert np.abs(recurrent.by_cell(layer, X) - whole).max() < 1e-6
    assert np.abs(lstm_numpy.sequence(X, *layer.get_weights()) - whole).max() < 1e-6


def test_resetting_the_state_leaves_only_the_first_step_right():
    layer = built_lstm()
    X = np.random.default_rng(0).normal(size=(4, 11, 3)).astype("float32")
    whole = numpy(layer(X))
    forgetful = recurrent.by_stateful_layer(layer, X, reset_each_step=True)
    assert np.abs(forgetful[:, 0] - whole[:, 0]).max() < 1e-6
    assert (np.abs(forgetful[:, 1:] - whole[:, 1:]).max(axis=(0, 2)) > 0.01).all()
    # What is left answers to its own input alone, wherever it stands.
    alone = numpy(layer(X[:, 7:8]))[:, 0]
    assert np.abs(forgetful[:, 7] - alone).max() < 1e-6


def test_stepping_leaves_the_layer_as_it_was():
    layer = built_lstm()
    X = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    before = numpy(layer(X))
    recurrent.by_stateful_layer(layer, X)
    recurrent.by_cell(layer, X)
    np.testing.assert_array_equal(numpy(layer(X)), before)


def test_the_given_network_has_the_given_shape():
    model = recurrent.stacked_lstm(6, 1)
    assert model.input_shape == (None, 6, 1)
    assert [layer.units for layer in model.layers] == [50, 50, 50, 1]
    # 4 (50 (1 + 50) + 50) + 2 x 4 (50 (50 + 50) + 50) + 51
    assert model.count_params() == 10_400 + 2 * 20_200 + 51


def test_unrolling_changes_no_number():
    keras.utils.set_random_seed(3)
    loop = recurrent.stacked_lstm(6, 1, units=(4, 3))
    written_out = recurrent.stacked_lstm(6, 1, units=(4, 3), unroll=True)
    written_out.set_weights(loop.get_weights())
    X = np.random.default_rng(0).normal(size=(5, 6, 1)).astype("float32")
    assert np.abs(numpy(loop(X)) - numpy(written_out(X))).max() < 1e-6


@pytest.mark.parametrize("kind", ["SimpleRNN", "GRU", "LSTM"])
def test_recurrent_network_takes_any_length(kind):
    model = recurrent.recurrent_network(kind, 4, features=2, outputs=3)
    assert type(model.layers[0]).__name__ == kind
    for steps in (1, 9):
        assert numpy(model(np.zeros((2, steps, 2), "float32"))).shape == (2, 3)


def test_memory_sets_what_a_cell_keeps_untrained():
    layer = recurrent.recurrent_network("LSTM", 3, features=2, memory=36).layers[0]
    bias = layer.get_weights()[2]
    assert bias[:3].tolist() == bias[6:].tolist()[:3] == [0, 0, 0]
    kept = 1 / (1 + np.exp(-bias[3:6]))
    assert kept == pytest.approx([36 / 37] * 3)
    for kind, memory in (("GRU", 9), ("LSTM", 0)):
        with pytest.raises(ValueError, match=rf"memory must be .* got {memory} for {kind}"):
            recurrent.recurrent_network(kind, 3, 2, memory=memory)


def test_conv_network_sees_exactly_its_field():
    keras.utils.set_random_seed(0)
    model = recurrent.conv_network(6, 3, (1, 2, 4), features=2)
    X = np.random.default_rng(0).normal(size=(1, 40, 2)).astype("float32")
    field = 1 + 2 * (1 + 2 + 4)
    before = numpy(model(X))
    for back in range(25):
        moved = X.copy()
        moved[0, -1 - back] += 50
        changed = bool((numpy(model(moved)) != before).any())
        assert changed == (back < field), back


def test_conv_network_reading_the_maximum_sees_every_place():
    keras.utils.set_random_seed(0)
    model = recurrent.conv_network(8, 3, (1,), features=1, read="max")
    X = np.zeros((1, 40, 1), "float32")
    outputs = []
    for place in (5, 20, 35):
        moved = X.copy()
        moved[0, place] = 3
        outputs.append(float(numpy(model(moved))[0, 0]))
    assert outputs == pytest.approx([outputs[0]] * 3, abs=1e-6)
    assert abs(outputs[0] - float(numpy(model(X))[0, 0])) > 1e-3


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="kind must be one of SimpleRNN, GRU, LSTM; got 'lstm'"):
        recurrent.recurrent_network("lstm", 4, 1)
    with pytest.raises(ValueError, match="read must be one of last, max; got 'mean'"):
        recurrent.conv_network(4, 3, (1,), 1, read="mean")


def test_fit_learns_and_returns_the_model():
    keras.utils.set_random_seed(0)
    X = np.random.default_rng(0).normal(size=(256, 4, 1)).astype("float32")
    y = X[:, -1, 0] * 0.5
    model = recurrent.stacked_lstm(4, 1, units=(6,))
    before = float(((numpy(model(X))[:, 0] - y) ** 2).mean())
    assert recurrent.fit(model, X, y, epochs=6, batch_size=32, learning_rate=0.02) is model
    assert float(((numpy(model(X))[:, 0] - y) ** 2).mean()) < 0.2 * before
