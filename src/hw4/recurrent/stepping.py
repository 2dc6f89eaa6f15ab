"""An LSTM fed one step at a time: written out in NumPy, by Keras' cell, and by a stateful layer.

Source: Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al. (2000). Gate order
in the weights is that of Keras: input, forget, candidate, output. PyTorch orders them likewise
but keeps two biases, whose sum is the one here.
"""

import keras
import numpy as np
from keras import layers


def step(x, h, c, kernel, recurrent_kernel, bias) -> tuple[np.ndarray, np.ndarray]:
    """Advance the state by one time step.

    i, f, o = sigmoid(x W + h U + b),  g = tanh(x W + h U + b)
    c' = f * c + i * g,  h' = o * tanh(c')

    Args:
        x: (n, features) input of this step.
        h: (n, units) output of the step before.
        c: (n, units) cell state of the step before.
        kernel: W, (features, 4 units).
        recurrent_kernel: U, (units, 4 units).
        bias: b, (4 units,).

    Returns:
        h' and c', both (n, units).

    >>> one, none = np.ones((1, 1)), np.zeros((1, 1))
    >>> h, c = step(one, none, none, np.zeros((1, 4)), np.zeros((1, 4)), np.array([0, 0, 1.0, 0]))
    >>> c.round(4), h.round(4)  # c = 0.5 tanh(1), h = 0.5 tanh(c)
    (array([[0.3808]]), array([[0.1817]]))
    """
    i, f, g, o = np.split(x @ kernel + h @ recurrent_kernel + bias, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def sequence(X, kernel, recurrent_kernel, bias) -> np.ndarray:
    """Run `step` over a sequence from a zero state.

    Args:
        X: (n, steps, features).
        kernel: W, (features, 4 units).
        recurrent_kernel: U, (units, 4 units).
        bias: b, (4 units,).

    Returns:
        The output of every step, (n, steps, units), float64.

    Raises:
        ValueError: shapes that do not belong together.
    """
    X = np.asarray(X, np.float64)
    units = np.shape(recurrent_kernel)[0]
    wanted = [(X.shape[-1], 4 * units), (units, 4 * units), (4 * units,)]
    shapes = [np.shape(weights) for weights in (kernel, recurrent_kernel, bias)]
    if X.ndim != 3 or shapes != wanted:
        raise ValueError(
            f"weights must have shapes {wanted} for X of shape (n, steps, features); got {shapes} "
            f"for {X.shape}. Pass *layer.get_weights() of an LSTM built on such an X."
        )
    h = c = np.zeros((len(X), units))
    outputs = np.empty((*X.shape[:2], units))
    for t in range(X.shape[1]):
        h, c = step(X[:, t], h, c, kernel, recurrent_kernel, bias)
        outputs[:, t] = h
    return outputs


def gates(X, kernel, recurrent_kernel, bias) -> np.ndarray:
    """Return input, forget and output gate at every step: (n, steps, 3, units), in 0..1.

    A gate near 0 or 1 is saturated: its derivative sigmoid' = s (1 - s) vanishes.
    """
    outputs = sequence(X, kernel, recurrent_kernel, bias)
    before = np.concatenate([np.zeros_like(outputs[:, :1]), outputs[:, :-1]], axis=1)
    i, f, _, o = np.split(np.asarray(X) @ kernel + before @ recurrent_kernel + bias, 4, axis=-1)
    return sigmoid(np.stack([i, f, o], axis=2))


def by_stateful_layer(
    layer: layers.LSTM, X: np.ndarray, reset_each_step: bool = False
) -> np.ndarray:
    """Feed an LSTM one step a call, in a stateful twin with the same weights.

    Args:
        layer: a built `keras.layers.LSTM`.
        X: (n, steps, features).
        reset_each_step: forget the state before every call, which is the mistake to study.

    Returns:
        All outputs, (n, steps, units), float32.
    """
    X = np.asarray(X, np.float32)
    config = layer.get_config() | {"stateful": True, "return_sequences": False, "name": None}
    twin = layers.LSTM.from_config(config)
    twin(X[:, :1])
    twin.set_weights(layer.get_weights())
    twin.reset_state()
    outputs = []
    for t in range(X.shape[1]):
        if reset_each_step:
            twin.reset_state()
        outputs.append(keras.ops.convert_to_numpy(twin(X[:, t : t + 1])))
    return np.stack(outputs, axis=1)


def by_cell(layer: layers.LSTM, X: np.ndarray) -> np.ndarray:
    """Feed an LSTM's own cell in a Python loop that carries (h, c).

    Args:
        layer: a built `keras.layers.LSTM`.
        X: (n, steps, features).

    Returns:
        All outputs, (n, steps, units), float32.
    """
    X = np.asarray(X, np.float32)
    states = [keras.ops.zeros((len(X), layer.units))] * 2
    outputs = []
    for t in range(X.shape[1]):
        h, states = layer.cell(X[:, t], states)
        outputs.append(keras.ops.convert_to_numpy(h))
    return np.stack(outputs, axis=1)


def sigmoid(x) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), by tanh, which cannot overflow.

    >>> sigmoid(np.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(x)))
