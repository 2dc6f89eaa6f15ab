"""The NumPy LSTM against hand-worked numbers, a scalar loop and published gate order."""

from math import exp, tanh

import numpy as np
import pytest

from hw4.recurrent import stepping as lstm_numpy


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
        ours = lstm_numpy.sequence(inputs[None, :, None], w[None], u[None], b)
        assert ours[0, :, 0] == pytest.approx(scalar_lstm(inputs, w, u, b), abs=1e-12)


def test_open_forget_gate_keeps_and_closed_one_clears_the_cell():
    none = np.zeros((1, 4))
    c = np.array([[0.7]])
    keep, clear = np.array([-50.0, 50, 0, 0]), np.array([-50.0, -50, 0, 0])
    assert lstm_numpy.step(none[:, :1], none[:, :1], c, none, none, keep)[1] == pytest.approx(0.7)
    assert lstm_numpy.step(none[:, :1], none[:, :1], c, none, none, clear)[1] == pytest.approx(0)


def test_state_starts_at_zero_and_batches_do_not_mix():
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(2, 12)), rng.normal(size=(3, 12)), rng.normal(size=12)
    X = rng.normal(size=(4, 5, 2))
    together = lstm_numpy.sequence(X, *weights)
    alone = np.concatenate([lstm_numpy.sequence(x[None], *weights) for x in X])
    assert together == pytest.approx(alone)
    assert lstm_numpy.sequence(X[:, :2], *weights) == pytest.approx(together[:, :2])


def test_gates_rebuild_the_outputs():
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(2, 12)), rng.normal(size=(3, 12)), rng.normal(size=12)
    X = rng.normal(size=(4, 5, 2))
    gates = lstm_numpy.gates(X, *weights)
    outputs = lstm_numpy.sequence(X, *weights)
    assert gates.shape == (4, 5, 3, 3)
    h = c = np.zeros((4, 3))
    for t in range(5):
        candidate = np.tanh((X[:, t] @ weights[0] + h @ weights[1] + weights[2])[:, 6:9])
        c = gates[:, t, 1] * c + gates[:, t, 0] * candidate
        h = gates[:, t, 2] * np.tanh(c)
        assert h == pytest.approx(outputs[:, t])


def test_sigmoid_does_not_overflow():
    with np.errstate(all="raise"):
        values = lstm_numpy.sigmoid(np.array([-1e6, -2.0, 0, 2.0, 1e6]))
    assert values == pytest.approx([0, 1 / (1 + exp(2)), 0.5, 1 / (1 + exp(-2)), 1])


def test_weights_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"shapes \[\(2, 12\), .* got \[\(3, 12\), \(3, 12\)"):
        lstm_numpy.sequence(np.zeros((1, 4, 2)), np.zeros((3, 12)), np.zeros((3, 12)), np.zeros(12))
