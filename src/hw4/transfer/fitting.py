"""Training of question 2: heads on cached features, the small network, the last block."""

import functools

import keras
import numpy as np

from hw4 import training
from hw4.runtime import steps_together
from hw4.transfer.networks import SMALL_CNN, build_head

History = dict[str, list[float]]


def fit_head(
    values, labels, *, epochs: int = 20, seed: int = 7, validation=None, learning_rate=1e-3
) -> tuple[keras.Model, History]:
    """Train Dense(128, relu) and Dense(1, sigmoid) on features with Adam, in batches of 64.

    Args:
        values: (n, channels) float32.
        labels: (n,) 0 or 1.
        epochs: passes over the features.
        seed: of the first weights and of the order.
        validation: values and labels to evaluate after each epoch; nothing is chosen by them.
        learning_rate: of Adam.

    Returns:
        The head and its history: lists `loss`, `accuracy`, `seconds`, and `val_...`.
    """
    head = build_head(values.shape[1], seed=seed)
    traced = _traced_head(values.shape[1], learning_rate)
    training.restart(traced, head)
    history = _fit(traced, values, labels, epochs, 64, seed, validation, "head")
    head.set_weights(traced.get_weights())
    return head, history


@functools.cache
def _traced_head(channels: int, learning_rate: float) -> keras.Model:
    """Return the compiled head that trains all heads of these channels, by sixteen steps a call."""
    model = build_head(channels)
    _compile(model, learning_rate, steps_per_execution=steps_together(16))
    return model


def fit_small_cnn(
    model, fitted, held=None, *, epochs: int = 10, seed: int = 7, batch_size: int = 25
) -> History:
    """Train it on images and labels with Adam and a one-cycle schedule; return the history.

    Args:
        model: what `small_cnn` returned.
        fitted: (images, labels) to train on, images (n, size, size, 1) float32.
        held: (images, labels) evaluated after each epoch; nothing is chosen by them.
        epochs: passes over the training images.
        seed: of their order.
        batch_size: images a step.
    """
    # A schedule has at least two steps; a run on a handful of images may have one.
    steps = max(2, training.steps(len(fitted[0]), batch_size, epochs))
    _compile(model, training.one_cycle(3e-3, steps))
    return _fit(model, *fitted, epochs, batch_size, seed, held, SMALL_CNN)


def fine_tune(
    after,
    maps,
    labels,
    *,
    epochs: int = 3,
    seed: int = 7,
    learning_rate: float = 1e-5,
    batch_size: int = 32,
) -> History:
    """Tune the last convolutional block and the head with a small learning rate.

    To be done after the head has been trained and transplanted: the gradients of a random head
    would destroy what the block has learnt. Batch normalisation stays frozen.

    Args:
        after: the second part from `split_at_last_block`; it is changed, and the model with it.
        maps: what the first part makes of the training images, computed once.
        labels: (n,) 0 or 1.
        epochs: passes over the maps.
        seed: of the order.
        learning_rate: of Adam.
        batch_size: images a step.

    Returns:
        History: lists `loss`, `accuracy` and `seconds`, one entry an epoch.
    """
    _compile(after, learning_rate)
    return _fit(after, maps, labels, epochs, batch_size, seed, None, "last block")


def probabilities(network, inputs) -> np.ndarray:
    """Return the network's single output for each input, (n,).

    Called directly, 256 inputs at a time: `predict` would trace a graph for each of many networks.
    """
    parts = (
        network(inputs[start : start + 256], training=False) for start in range(0, len(inputs), 256)
    )
    return np.concatenate([keras.ops.convert_to_numpy(part)[:, 0] for part in parts])


def read_grey(data, size: int, index) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read one channel of radiographs, (n, size, size, 1) float32 in 0..255.

    Returns:
        The images that can be read, their labels and their positions.
    """
    parts = [(images[..., :1], *rest) for images, *rest in data.batches(size, index=index)]
    images, labels, positions = (np.concatenate(part) for part in zip(*parts, strict=True))
    return images.astype(np.float32), labels, positions


def _compile(model, rate, **options) -> None:
    adam = keras.optimizers.Adam(rate)
    model.compile(adam, "binary_crossentropy", metrics=["accuracy"], **options)


def _fit(model, inputs, labels, epochs, batch_size, seed, held, label) -> History:
    return training.fit(
        model,
        inputs,
        _column(labels),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        validation=held and (held[0], _column(held[1])),
        label=label,
    )


def _column(labels) -> np.ndarray:
    return np.asarray(labels, np.float32).reshape(-1, 1)
