"""One LSTM step against a scalar loop, and stepwise feeding against the whole sequence."""

from math import exp, tanh

import keras
import numpy as np
import pytest
from keras import layers

from hw4.recurrent import stepping


def scalar_lstm(inputs, w, u, b):
    """Run one unit on one feature, gate by gate, in plain Python: i, f, g, o."""

    def squash(z):
        return 1 / (1 + exp(-z))

    h = c = 0.0
    out = []
    for x in inputs:
        i, f, g, o = (x * w[gate] + h * u[gate] + b[gate] for gate in range(4))
        c = squash(f) * c + squash(i) * tanh(g)
        h = squash(o) * tanh(c)
        out.append(h)
    return out


def test_sequence_equals_a_scalar_loop():
    rng = np.random.default_rng(0)
    for _ in range(20):
        w, u, b = rng.normal(size=(3, 4))
        inputs = rng.normal(size=7)
        ours = stepping.sequence(inputs[None, :, None], w[None], u[None], b)
        assert ours[0, :, 0] == pytest.approx(scalar_lstm(inputs, w, u, b), abs=1e-12)


def test_open_forget_gate_keeps_and_closed_one_clears_the_cell():
    none = np.zeros((1, 4))
    c = np.array([[0.7]])
    keep, clear = np.array([-50.0, 50, 0, 0]), np.array([-50.0, -50, 0, 0])
    assert stepping.step(none[:, :1], none[:, :1], c, none, none, keep)[1] == pytest.approx(0.7)
    assert stepping.step(none[:, :1], none[:, :1], c, none, none, clear)[1] == pytest.approx(0)


def test_state_starts_at_zero_and_batches_do_not_mix():
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(2, 12)), rng.normal(size=(3, 12)), rng.normal(size=12)
    X = rng.normal(size=(4, 5, 2))
    together = stepping.sequence(X, *weights)
    alone = np.concatenate([stepping.sequence(x[None], *weights) for x in X])
    assert together == pytest.approx(alone)
    assert stepping.sequence(X[:, :2], *weights) == pytest.approx(together[:, :2])


def test_gates_rebuild_the_outputs():
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(2, 12)), rng.normal(size=(3, 12)), rng.normal(size=12)
    X = rng.normal(size=(4, 5, 2))
    gates = stepping.gates(X, *weights)
    outputs = stepping.sequence(X, *weights)
    assert gates.shape == (4, 5, 3, 3)
    h = c = np.zeros((4, 3))
    for t in range(5):
        candidate = np.tanh((X[:, t] @ weights[0] + h @ weights[1] + weights[2])[:, 6:9])
        c = gates[:, t, 1] * c + gates[:, t, 0] * candidate
        h = gates[:, t, 2] * np.tanh(c)
        assert h == pytest.approx(outputs[:, t])


def test_sigmoid_does_not_overflow():
    with np.errstate(all="raise"):
        values = stepping.sigmoid(np.array([-1e6, -2.0, 0, 2.0, 1e6]))
    assert values == pytest.approx([0, 1 / (1 + exp(2)), 0.5, 1 / (1 + exp(-2)), 1])


def test_weights_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"shapes \[\(2, 12\), .* got \[\(3, 12\), \(3, 12\)"):
        stepping.sequence(np.zeros((1, 4, 2)), np.zeros((3, 12)), np.zeros((3, 12)), np.zeros(12))


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


@pytest.mark.parametrize("options", [{}, {"use_bias": True, "recurrent_activation": "sigmoid"}])
def test_step_by_step_equals_the_sequence(options):
    layer = built_lstm(**options)
    X = np.random.default_rng(0).normal(size=(4, 11, 3)).astype("float32")
    whole = numpy(layer(X))
    assert np.abs(stepping.by_stateful_layer(layer, X) - whole).max() < 1e-6
    assert np.abs(stepping.by_cell(layer, X) - whole).max() < 1e-6
    assert np.abs(stepping.sequence(X, *layer.get_weights()) - whole).max() < 1e-6


def test_resetting_the_state_leaves_only_the_first_step_right():
    layer = built_lstm()
    X = np.random.default_rng(0).normal(size=(4, 11, 3)).astype("float32")
    whole = numpy(layer(X))
    forgetful = stepping.by_stateful_layer(layer, X, reset_each_step=True)
    assert np.abs(forgetful[:, 0] - whole[:, 0]).max() < 1e-6
    assert (np.abs(forgetful[:, 1:] - whole[:, 1:]).max(axis=(0, 2)) > 0.01).all()
    # What is left answers to its own input alone, wherever it stands.
    alone = numpy(layer(X[:, 7:8]))[:, 0]
    assert np.abs(forgetful[:, 7] - alone).max() < 1e-6


def test_stepping_leaves_the_layer_as_it_was():
    layer = built_lstm()
    X = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    before = numpy(layer(X))
    stepping.by_stateful_layer(layer, X)
    stepping.by_cell(layer, X)
    np.testing.assert_array_equal(numpy(layer(X)), before)
