"""Windows, axis guard, network builders, and an LSTM that is fed one step at a time.

Axis order everywhere: (samples, steps, features). Step t of a window is one hour, and its
features are what was measured in that hour.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

KINDS = {"SimpleRNN": layers.SimpleRNN, "GRU": layers.GRU, "LSTM": layers.LSTM}
READERS = ("last", "max")


@dataclass(frozen=True)
class Scaler:
    """Mean and scale of each column, fitted on one part of the data and applied to all.

    z = (x - mean) / scale, with the biased standard deviation as scale; a constant column keeps
    scale 1, so that it becomes 0 and not NaN.

    >>> scaler = Scaler.fit(np.array([[0.0, 7.0], [2.0, 7.0]]))
    >>> scaler.transform(np.array([[4.0, 7.0]]))
    array([[3., 0.]], dtype=float32)
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, training) -> "Scaler":
        """Fit on the training part (n, f) or (n,); ValueError if it is empty or not finite."""
        training = np.asarray(training, dtype=np.float64)
        if len(training) == 0 or not np.isfinite(training).all():
            bad = int((~np.isfinite(training)).sum())
            raise ValueError(
                f"training must be finite numbers, at least one row; got {len(training)} rows with "
                f"{bad} values that are not finite. Fill or drop them before."
            )
        low, deviation = training.min(axis=0), training.std(axis=0)
        # The mean of equal numbers can miss them by one ulp, and their deviation is then not 0.
        constant = low == training.max(axis=0)
        mean = np.where(constant, low, training.mean(axis=0))
        return cls(mean, np.where(constant, 1.0, deviation))

    def transform(self, values) -> np.ndarray:
        """Return the scaled values, float32."""
        return ((np.asarray(values, np.float64) - self.mean) / self.scale).astype(np.float32)

    def inverse(self, scaled) -> np.ndarray:
        """Return the values in their own unit, float64."""
        return np.asarray(scaled, np.float64) * self.scale + self.mean


def windows(past, target, length: int, known=None) -> tuple[np.ndarray, np.ndarray]:
    """Cut a series into windows that end one step before what they are to predict.

    X[i] = [past[i : i + length], known[i + 1 : i + length + 1]],  y[i] = target[i + length]

    so the last row of X[i] holds the newest measurement, and the calendar of the predicted hour.

    Args:
        past: (n, f) what is known only after its hour, such as consumption.
        target: (n,) what is predicted.
        length: steps a window, from 1 to n - 1.
        known: (n, k) what is known in advance, such as the calendar.

    Returns:
        X (n - length, length, f + k) and y (n - length,), both float32.

    Raises:
        ValueError: no room for one window, or lengths that differ.

    >>> X, y = windows(np.array([[1.0], [2], [3], [4]]), np.array([1.0, 2, 3, 4]), length=2)
    >>> X[..., 0].tolist(), y.tolist()
    ([[1.0, 2.0], [2.0, 3.0]], [3.0, 4.0])
    """
    target = np.asarray(target, np.float32)
    parts = [_matrix(past, "past", len(target))]
    if known is not None:
        # Row t of a window carries what is known at t about the hour t + 1.
        parts.append(np.roll(_matrix(known, "known", len(target)), -1, axis=0))
    if isinstance(length, bool) or not isinstance(length, int) or not 1 <= length < len(target):
        raise ValueError(
            f"length must be an integer from 1 to {len(target) - 1} (rows less one); got "
            f"{length!r}. Shorten the window or take more rows."
        )
    table = np.concatenate(parts, axis=1)
    view = np.lib.stride_tricks.sliding_window_view(table[:-1], length, axis=0)
    return np.ascontiguousarray(view.transpose(0, 2, 1)), target[length:]


def check_axes(X, *, steps: int, features: int) -> np.ndarray:
    """Return X unchanged if it is (n, steps, features), else name the readings it allows.

    Raises:
        ValueError: another shape; the text says what the network would take it for.

    >>> check_axes(np.zeros((5, 6, 1)), steps=1, features=6)
    Traceback (most recent call last):
    ...
    ValueError: X must have shape (n, steps=1, features=6); got (5, 6, 1), which is read as \
6 time steps of 1 feature. If it is meant as 1 time step of 6 features, pass X.reshape(n, 1, 6).
    """
    shape = np.shape(X)
    if len(shape) == 3 and shape[1:] == (steps, features):
        return X
    wanted = f"X must have shape (n, steps={steps}, features={features}); got {shape}"
    if len(shape) == 2:
        width = shape[1]
        raise ValueError(
            f"{wanted}, which has no step axis: {_reading(width, 1)}, or {_reading(1, width)}? "
            f"Pass X.reshape(n, {width}, 1) for the first, X.reshape(n, 1, {width}) for the second."
        )
    if len(shape) != 3:
        raise ValueError(f"{wanted}. Bring X into samples, steps, features.")
    rows, columns = shape[1:]
    # With one axis of length 1 both readings hold the same numbers in the same order.
    cure = f"reshape(n, {columns}, {rows})" if 1 in shape[1:] else "transpose(0, 2, 1)"
    raise ValueError(
        f"{wanted}, which is read as {_reading(rows, columns)}. If it is meant as "
        f"{_reading(columns, rows)}, pass X.{cure}."
    )


def stacked_lstm(
    steps: int, features: int, units=(50, 50, 50), unroll: bool = False
) -> keras.Model:
    """Build the course's network: LSTM layers over (steps, features), then one Dense output.

    With steps=6 and features=1 this is the given wiring, which hands the six features of one hour
    over as six time steps.

    Args:
        steps: time steps.
        features: numbers a step.
        units: size of each LSTM layer.
        unroll: write the loop out; the same numbers, quicker on a CPU for short sequences.
    """
    last = len(units) - 1
    return keras.Sequential(
        [layers.Input((steps, features))]
        + [
            layers.LSTM(size, return_sequences=i < last, unroll=unroll)
            for i, size in enumerate(units)
        ]
        + [layers.Dense(1)]
    )


def recurrent_network(
    kind: str, units: int, features: int, outputs: int = 1, memory: int | None = None
) -> keras.Model:
    """Build one recurrent layer whose last state is read by a Dense layer, for any length.

    Args:
        kind: `SimpleRNN`, `GRU` or `LSTM`.
        units: size of the state.
        features: numbers a step.
        outputs: numbers the Dense layer returns, without activation.
        memory: for an LSTM, steps over which it shall forget slowly before it is trained: its
            forget bias becomes log(memory), so that a cell keeps 1 - 1 / (memory + 1) a step
            (Tallec and Ollivier 2018, arXiv:1804.11188). Keras starts at 1, which keeps 0.73.

    Raises:
        ValueError: unknown kind, or a memory for another kind or below 1.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}. Name one.")
    if memory is not None and (kind != "LSTM" or memory < 1):
        raise ValueError(
            f"memory must be at least 1 step, of an LSTM; got {memory} for {kind}. Leave it out."
        )
    recurrent = KINDS[kind](units)
    model = keras.Sequential([layers.Input((None, features)), recurrent, layers.Dense(outputs)])
    if memory is not None:
        kernel, recurrent_kernel, bias = recurrent.get_weights()
        bias[units : 2 * units] = np.log(memory)
        recurrent.set_weights([kernel, recurrent_kernel, bias])
    return model


def conv_network(
    filters: int,
    kernel_size: int,
    dilations,
    features: int,
    read: str = "last",
    outputs: int = 1,
) -> keras.Model:
    """Build causal Conv1D layers, read at the last position or at the maximum over all.

    Causal padding puts d (k - 1) zeros before the sequence, so that output t sees steps up to t.

    Args:
        filters: channels of every layer.
        kernel_size: taps of every layer.
        dilations: dilation of each layer in turn.
        features: numbers a step.
        read: `last` (the newest output, like an RNN's last state) or `max` (global max pooling).
        outputs: numbers the Dense layer returns, without activation.

    Raises:
        ValueError: another `read`.
    """
    if read not in READERS:
        raise ValueError(f"read must be one of {', '.join(READERS)}; got {read!r}. Name one.")
    inputs = keras.Input((None, features))
    signal = inputs
    for dilation in dilations:
        signal = layers.Conv1D(
            filters, kernel_size, padding="causal", dilation_rate=dilation, activation="relu"
        )(signal)
    signal = signal[:, -1] if read == "last" else layers.GlobalMaxPooling1D()(signal)
    return keras.Model(inputs, layers.Dense(outputs)(signal))


def fit(model, X, y, *, epochs: int, batch_size: int = 64, loss="mse", **adam):
    """Compile with Adam(**adam) and train silently; return the model.

    Under TensorFlow sixteen steps run in one call, which halves the time of these small networks
    and changes no number. The PyTorch backend refuses that.
    """
    together = 16 if keras.backend.backend() == "tensorflow" else 1
    model.compile(keras.optimizers.Adam(**adam), loss, steps_per_execution=together)
    model.fit(X, y, batch_size=batch_size, epochs=epochs, verbose=0)
    return model


def predict(model, X) -> np.ndarray:
    """Return the model's single output for every sample, (n,), in one eager pass.

    `model.predict` would trace a new TensorFlow graph for each of many small models, and warn.
    """
    return keras.ops.convert_to_numpy(model(X, training=False))[:, 0]


def by_stateful_layer(layer, X, reset_each_step: bool = False) -> np.ndarray:
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


def by_cell(layer, X) -> np.ndarray:
    """Feed an LSTM's own cell in a Python loop that carries (h, c): (n, steps, units)."""
    X = np.asarray(X, np.float32)
    states = [keras.ops.zeros((len(X), layer.units))] * 2
    outputs = []
    for t in range(X.shape[1]):
        h, states = layer.cell(X[:, t], states)
        outputs.append(keras.ops.convert_to_numpy(h))
    return np.stack(outputs, axis=1)


def _matrix(values, name: str, rows: int) -> np.ndarray:
    values = np.asarray(values, np.float32)
    if values.ndim != 2 or len(values) != rows:
        raise ValueError(
            f"{name} must have shape (n, features) with n = {rows} as in target; got "
            f"{values.shape}. Add the feature axis or cut it to the same rows."
        )
    return values


def _reading(steps: int, features: int) -> str:
    return f"{steps} time step{'s' * (steps != 1)} of {features} feature{'s' * (features != 1)}"
