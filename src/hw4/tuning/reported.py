"""The reported search of question 1, taken apart: what cannot be built, and how often it aborts.

Its convolutions are 3x3 without padding, each followed by pooling with 2: 28 becomes 26, 13, 11,
5, 3, 1, and a fourth convolution finds a map of 1. Keras Tuner 1.4.8 ends a search after 3
consecutive failed trials.
"""

import contextlib
import io
import tempfile

import keras
import keras_tuner
import numpy as np
from keras_tuner.engine.base_tuner import BaseTuner

from hw4 import conv_shapes as cs
from hw4.tuning.ask_tell import silent
from hw4.tuning.space import CLASSES, INPUT_SHAPE

FAILURE_LIMIT = 3
TRIALS = 5
EPOCHS = 5
BATCH_SIZE = 32
# What the report found best; layers count from 1 here, from 0 in its program.
BEST = {
    "conv_layers": 3,
    **{"filters_1": 128, "filters_2": 64, "filters_3": 256},
    **{"dropout_conv_1": 0.2, "dropout_conv_2": 0.4, "dropout_conv_3": 0.0},
    "dense_layers": 4,
    **{"neurons_1": 256, "neurons_2": 256, "neurons_3": 160, "neurons_4": 256},
    **{"dropout_dense_1": 0.3, "dropout_dense_2": 0.2},
    **{"dropout_dense_3": 0.2, "dropout_dense_4": 0.3},
    "learning_rate": 6.29e-4,
}
WIDTHS = tuple(range(32, 257, 32))


def each(count: int) -> range:
    """Return the numbers of so many layers, from 1."""
    return range(1, count + 1)


def declare(hp: keras_tuner.HyperParameters) -> keras_tuner.HyperParameters:
    """Register the hyperparameters of the report in `hp`, as its program does, and return it.

    Only the layers that the current values ask for are registered; the optimizer is missing.
    """
    for i in each(hp.Int("conv_layers", 1, 5, default=3)):
        hp.Int(f"filters_{i}", 32, 256, step=32)
        hp.Float(f"dropout_conv_{i}", 0.0, 0.5, step=0.1)
    for i in each(hp.Int("dense_layers", 1, 5)):
        hp.Int(f"neurons_{i}", 32, 256, step=32)
        hp.Float(f"dropout_dense_{i}", 0.0, 0.5, step=0.1)
    hp.Float("learning_rate", 1e-5, 1e-3, sampling="log")
    return hp


def sample(rng: np.random.Generator) -> dict:
    """Return one random point of the reported space, uniform in every hyperparameter."""
    values = {"conv_layers": int(rng.integers(1, 6)), "dense_layers": int(rng.integers(1, 6))}
    for kind, count in (("conv", values["conv_layers"]), ("dense", values["dense_layers"])):
        width = "filters" if kind == "conv" else "neurons"
        for i in each(count):
            values[f"{width}_{i}"] = int(rng.choice(WIDTHS))
            # Keras Tuner counts the steps of 0.1 up to 0.5 by floor division, and ends at 0.4.
            values[f"dropout_{kind}_{i}"] = float(rng.integers(5)) / 10
    return values | {"learning_rate": float(10 ** rng.uniform(-5, -3))}


def network(values) -> list:
    """Return the layers of a reported choice as `conv_shapes` values."""
    layers = []
    for i in each(values["conv_layers"]):
        layers += [cs.Conv2D(values[f"filters_{i}"], 3), cs.MaxPool2D(2)]
    widths = [values[f"neurons_{i}"] for i in each(values["dense_layers"])]
    return [*layers, cs.Flatten(), *(cs.Dense(width) for width in (*widths, CLASSES))]


def obstacle(values) -> cs.ShapeError | None:
    """Return the reason why a choice cannot be built, None if it can.

    >>> deep = {f"filters_{i}": 32 for i in each(5)} | {"dense_layers": 0}
    >>> [obstacle(deep | {"conv_layers": n}) is None for n in range(1, 6)]
    [True, True, True, False, False]
    """
    try:
        cs.trace(network(values), INPUT_SHAPE)
    except cs.ShapeError as error:
        return error
    return None


def build(values, initializer: str = "glorot_uniform") -> keras.Model:
    """Return the compiled network of a reported choice, or raise what Keras raises."""
    kinds, layers = keras.layers, [keras.Input(INPUT_SHAPE)]
    options = {"activation": "relu", "kernel_initializer": initializer}
    for i in each(values["conv_layers"]):
        layers += [kinds.Conv2D(values[f"filters_{i}"], 3, **options), kinds.MaxPooling2D(2)]
        layers.append(kinds.Dropout(values[f"dropout_conv_{i}"]))
    layers.append(kinds.Flatten())
    for i in each(values["dense_layers"]):
        layers.append(kinds.Dense(values[f"neurons_{i}"], **options))
        layers.append(kinds.Dropout(values[f"dropout_dense_{i}"]))
    layers.append(kinds.Dense(CLASSES, activation="softmax", kernel_initializer=initializer))
    model = keras.Sequential(layers)
    optimizer = keras.optimizers.Adam(values["learning_rate"])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def abort_probability(failure: float, trials: int, limit: int = FAILURE_LIMIT) -> float:
    """Return the chance of `limit` consecutive failures among independent trials.

    With r_k the chance of being alive with the last k trials failed,
    r_0' = (1 - p) sum r_k and r_k' = p r_(k-1); whoever would reach r_limit has aborted.

    Args:
        failure: chance p that one trial fails, in [0, 1].
        trials: number of trials.
        limit: failures in a row that abort.

    Raises:
        ValueError: `failure` is not a probability.

    >>> round(abort_probability(0.4, 5), 4)
    0.1408
    """
    if not 0 <= failure <= 1:
        raise ValueError(f"failure must be from 0 to 1; got {failure}. Give a probability.")
    alive = np.zeros(limit)
    alive[0] = 1
    for _ in range(trials):
        alive = np.concatenate([[(1 - failure) * alive.sum()], failure * alive[:-1]])
    return float(1 - alive.sum())


def stock_search_aborts(seed: int, trials: int) -> bool:
    """Run Keras Tuner's own random search over the reported space; say whether it aborted.

    Nothing is trained: a trial fails if its network cannot be built, and scores 0 if it can.
    """
    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective("score", "max"),
        max_trials=trials,
        seed=seed,
        hyperparameters=declare(keras_tuner.HyperParameters()),
    )
    with tempfile.TemporaryDirectory() as folder:
        try:
            # Keras Tuner prints the traceback of every failed trial.
            with contextlib.redirect_stderr(io.StringIO()):
                _Stock(silent(oracle), directory=folder).search()
        except RuntimeError:
            return True
    return False


class _Stock(BaseTuner):
    """Keras Tuner's base tuner; only what a trial does is stubbed."""

    def run_trial(self, trial) -> float:
        """Fail as building would fail."""
        if error := obstacle(declare(trial.hyperparameters).values):
            raise error
        return 0.0
