"""Networks with and without batch normalisation: their cost and their progress (question 6)."""

import time
from collections.abc import Iterator

import keras
import numpy as np
from keras import layers


def build(normalised: bool, filters=(16, 32, 64)) -> keras.Sequential:
    """Return a small digit reader: strided 5x5 convolutions with ReLU, and ten scores.

    Args:
        normalised: put batch norm between each convolution and its ReLU, and take the
            convolution's bias away, which batch norm would cancel. Its momentum is 0.9, so that
            its moving statistics settle in the few batches of an experiment.
        filters: of each convolution.

    >>> [build(normalised).count_params() for normalised in (False, True)]
    [74762, 75098]
    """
    model = keras.Sequential([keras.Input((28, 28, 1))])
    for number in filters:
        model.add(layers.Conv2D(number, 5, strides=2, padding="same", use_bias=not normalised))
        if normalised:
            model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.ReLU())
    model.add(layers.Flatten())
    model.add(layers.Dense(10))
    return model


def batches(images, labels, size: int, seed: int) -> Iterator[tuple]:
    """Yield full batches without end, every pass over the data in a new order drawn from `seed`.

    Raises:
        ValueError: `size` is not between 1 and the number of images.
    """
    if not 1 <= size <= len(images):
        raise ValueError(f"size must be from 1 to {len(images)}; got {size}. Take a smaller batch.")
    return _batches(images, labels, size, np.random.default_rng(seed))


def train_until(model, batches, measure, *, checkpoints, goal=np.inf) -> dict[int, float]:
    """Train batch by batch; measure after the given numbers of batches, up to the goal.

    Args:
        model: compiled Keras model.
        batches: (images, labels) pairs; one is taken for each step.
        measure: from the model to a number.
        checkpoints: numbers of batches, from 1.
        goal: stop as soon as the measure reaches this.

    Returns:
        Number of batches to what was measured then, in order; the last one may hold the goal.

    Raises:
        ValueError: no checkpoint, or one below 1.
    """
    if not checkpoints or min(checkpoints) < 1:
        raise ValueError(f"checkpoints must be from 1; got {[*checkpoints]}. Measure after a step.")
    history = {}
    for step, (images, labels) in zip(range(1, max(checkpoints) + 1), batches, strict=False):
        model.train_on_batch(images, labels)
        if step in checkpoints:
            history[step] = measure(model)
            if history[step] >= goal:
                break
    return history


def paired_seconds(functions, rounds: int) -> np.ndarray:
    """Time functions in turn, so that a disturbance of the machine meets them alike.

    Args:
        functions: called without arguments.
        rounds: how often all are timed; a further round, not counted, warms up.

    Returns:
        Seconds a call, (rounds, functions).
    """
    table = np.empty((rounds + 1, len(functions)))
    for row in table:
        for column, function in enumerate(functions):
            start = time.perf_counter()
            function()
            row[column] = time.perf_counter() - start
    return table[1:]


def _batches(images, labels, size, rng):
    while True:
        order = rng.permutation(len(images))
        for start in range(0, len(images) - size + 1, size):
            chosen = order[start : start + size]
            yield images[chosen], labels[chosen]
