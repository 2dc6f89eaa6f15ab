"""The networks of questions 3 and 4, and how they are trained.

Axis order everywhere: (samples, steps, features).
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import layers

from hw4 import training
from hw4.runtime import integer, reseed, steps_together

KINDS = {"SimpleRNN": layers.SimpleRNN, "GRU": layers.GRU, "LSTM": layers.LSTM}
READERS = ("last", "max", "every")


def stacked_lstm(
    steps: int, features: int, units: Sequence[int] = (50, 50, 50), unroll: bool = False
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
    kind: str, units: int, features: int, read: str = "last", memory: int | None = None
) -> keras.Model:
    """Build one recurrent layer whose states are read by Dense(1), for sequences of any length.

    Args:
        kind: `SimpleRNN`, `GRU` or `LSTM`.
        units: size of the state.
        features: numbers a step.
        read: `last` state, `max` over all states, or `every` state, one answer a step.
        memory: for an LSTM, steps over which it shall forget slowly before it is trained: its
            forget bias becomes log(memory), so that a cell keeps 1 - 1 / (memory + 1) a step
            (Tallec and Ollivier 2018, arXiv:1804.11188). Keras starts at 1, which keeps 0.73.

    Raises:
        ValueError: unknown kind or `read`, or a memory for another kind or below 1.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}. Name one.")
    if memory is not None and (kind != "LSTM" or memory < 1):
        raise ValueError(
            f"memory must be at least 1 step, of an LSTM; got {memory} for {kind}. Leave it out."
        )
    inputs = keras.Input((None, features))
    recurrent = KINDS[kind](units, return_sequences=True)
    model = keras.Model(inputs, layers.Dense(1)(_read(recurrent(inputs), read)))
    if memory is not None:
        kernel, recurrent_kernel, bias = recurrent.get_weights()
        bias[units : 2 * units] = np.log(memory)
        recurrent.set_weights([kernel, recurrent_kernel, bias])
    return model


def conv_network(
    filters: int, kernel_size: int, dilations: Sequence[int], features: int, read: str = "last"
) -> keras.Model:
    """Build causal Conv1D layers, read by Dense(1).

    Causal padding puts d (k - 1) zeros before the sequence, so that output t sees steps up to t.

    Args:
        filters: channels of every layer.
        kernel_size: taps of every layer.
        dilations: dilation of each layer in turn.
        features: numbers a step.
        read: the `last` output, the `max` over all (global max pooling), or `every` output.

    Raises:
        ValueError: another `read`.
    """
    inputs = keras.Input((None, features))
    signal = inputs
    for dilation in dilations:
        signal = layers.Conv1D(
            filters, kernel_size, padding="causal", dilation_rate=dilation, activation="relu"
        )(signal)
    return keras.Model(inputs, layers.Dense(1)(_read(signal, read)))


class Trainer:
    """Trains networks of one architecture again and again, each from fresh weights, with Adam.

    The training step is traced once, which takes TensorFlow longer than some hundred runs of it in
    networks this small; and there sixteen batches run in one call, which halves the time again.
    Neither changes a number.

    Args:
        build: makes a new network with fresh weights.
        batch_size: sequences a batch.
        loss: what Keras' `compile` takes.
        adam: options of `keras.optimizers.Adam`.

    >>> train = Trainer(lambda: recurrent_network("GRU", 2, features=1), learning_rate=0.01)
    >>> X, y = np.ones((8, 5, 1), np.float32), np.ones(8, np.float32)
    >>> first, again = (train(X, y, seed=3, epochs=1) for _ in range(2))
    >>> bool((predict(first, X) == predict(again, X)).all())
    True
    """

    def __init__(
        self, build: Callable[[], keras.Model], *, batch_size: int = 64, loss="mse", **adam
    ) -> None:
        self.build, self.batch_size = build, integer("batch_size", batch_size, 1)
        self._traced = build()
        optimizer = keras.optimizers.Adam(**adam)
        self._traced.compile(optimizer, loss, steps_per_execution=steps_together(16))

    def __call__(
        self, X: np.ndarray, y: np.ndarray, *, seed: int, epochs: int, callbacks: Sequence = ()
    ) -> keras.Model:
        """Return a new network, trained by `training.fit`.

        Args:
            X: (n, steps, features).
            y: (n,) targets, or (n, steps, 1) for networks that answer at every step.
            seed: of the fresh weights and the order of the sequences.
            epochs: passes over the data.
            callbacks: as `training.fit` takes them; a learning rate that they change stays changed.
        """
        reseed(seed)
        model = self.build()
        training.restart(self._traced, model)
        options = {"batch_size": self.batch_size, "seed": seed, "callbacks": callbacks}
        training.fit(self._traced, X, y, epochs=epochs, **options)
        model.set_weights(self._traced.get_weights())
        return model


def predict(model: keras.Model, X: np.ndarray) -> np.ndarray:
    """Return the model's single output for every sample (and step), (n,) or (n, steps).

    It is one eager pass: `model.predict` would trace a new TensorFlow graph for each of many small
    models, and warn.
    """
    return keras.ops.convert_to_numpy(model(X, training=False))[..., 0]


def _read(signal: keras.KerasTensor, read: str) -> keras.KerasTensor:
    """Reduce (n, steps, channels) over the steps."""
    if read not in READERS:
        raise ValueError(f"read must be one of {', '.join(READERS)}; got {read!r}. Name one.")
    if read == "max":
        return layers.GlobalMaxPooling1D()(signal)
    return signal[:, -1] if read == "last" else signal
