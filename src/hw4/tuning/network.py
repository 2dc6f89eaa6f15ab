"""A point of the search space as a Keras network, and its training on any images."""

from itertools import pairwise

import keras
import keras_tuner
import numpy as np

from hw4 import conv_shapes as cs
from hw4 import mnist, runtime, training
from hw4.tuning import space

# Small batches make many steps, which the task's limit on the learning rate asks for.
BATCH_SIZE = 32


def build_model(hp, learning_rate=None) -> keras.Model:
    """Return the compiled network of one point of the search space.

    Every block is convolution, pooling where the map is large enough, batch normalisation, ReLU
    and dropout; every dense layer has ReLU and dropout; the output is a softmax over ten digits.

    Args:
        hp: Keras Tuner hyperparameters, in which the space is declared if it is not yet, or a
            mapping of names to values.
        learning_rate: a number or schedule instead of the chosen learning rate.

    Raises:
        ShapeError: values outside the space that cannot be built.
    """
    is_container = isinstance(hp, keras_tuner.HyperParameters)
    values = space.declare(hp).values if is_container else hp
    described = space.network(values)
    cs.trace(described, space.INPUT_SHAPE)
    layers = [keras.Input(space.INPUT_SHAPE)]
    for layer, following in pairwise([*described, None]):
        layers += _keras_layers(layer, following, values)
    model = keras.Sequential(layers)
    rate = values["learning_rate"] if learning_rate is None else learning_rate
    model.compile(
        optimizer=_optimizer(values["optimizer"], rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def train_network(
    values, images, labels, *, seed: int, epochs: int = 1, batch_size: int = BATCH_SIZE, used=None
) -> keras.Model:
    """Return the network of `values`, trained with one-cycle learning rate.

    Args:
        values: hyperparameters; the chosen learning rate is the peak of the cycle.
        images: (n, 28, 28, 1) to train on.
        labels: (n,) digits.
        seed: of the initial weights, dropout and order.
        epochs: passes over the images.
        batch_size: images a step.
        used: what an earlier call with the same values and sizes returned; it forgets everything
            and is trained again, which saves the time of tracing a new model.
    """
    model = fresh(values, seed, training.steps(len(images), batch_size, epochs), used)
    training.fit(model, images, labels, epochs=epochs, batch_size=batch_size, seed=seed)
    return model


def accuracy(model, images, labels) -> float:
    """Return the share of images, (n, 28, 28, 1), of which a model names the right digit."""
    return model.evaluate(**runtime.batched(images, labels, 500), verbose=0)[1]


def mistakes(model, images, labels) -> np.ndarray:
    """Return the positions of the images, (n, 28, 28, 1), of which a model names a wrong digit."""
    return np.flatnonzero(model.predict(images, batch_size=500, verbose=0).argmax(1) != labels)


def inputs(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a split of MNIST as a network takes it: (n, 28, 28, 1) in [0, 1], and labels (n,)."""
    images, labels = mnist.load(split)
    return mnist.as_input(images), labels


def fresh(values, seed: int, steps: int, used=None) -> keras.Model:
    """Return an untrained network for so many steps of one cycle; the seed decides its weights."""
    if used is None:
        keras.backend.clear_session(free_memory=False)
    runtime.reseed(seed)
    model = build_model(values, training.one_cycle(values["learning_rate"], steps))
    if used is None:
        return model
    training.restart(used, model)
    return used


def _keras_layers(layer, following, values) -> list[keras.layers.Layer]:
    """Return one described layer in Keras, with the activation and dropout that belong after it."""
    kinds, made = keras.layers, []
    match layer:
        case cs.Conv2D(filters, size, padding=padding, use_bias=bias):
            made = [kinds.Conv2D(filters, size, padding=padding, use_bias=bias)]
        case cs.BatchNorm():
            # Keras' default momentum of 0.99 remembers longer than a short trial lasts.
            made = [kinds.BatchNormalization(momentum=0.9), kinds.ReLU()]
        case cs.MaxPool2D(size):
            made = [kinds.MaxPooling2D(size)]
        case cs.Flatten():
            made = [kinds.Flatten()]
        case cs.Dense(units):
            made = [kinds.Dense(units, activation="relu" if following else "softmax")]
    ends_block = isinstance(following, cs.Conv2D | cs.Flatten)
    ends_dense = isinstance(layer, cs.Dense) and following is not None
    rate = values["dropout_conv"] * ends_block + values["dropout_dense"] * ends_dense
    return [*made, kinds.Dropout(rate)] if rate else made


def _optimizer(name: str, rate) -> keras.optimizers.Optimizer:
    match name:
        case "adam":
            return keras.optimizers.Adam(rate)
        case "rmsprop":
            # Keras' 0.9 forgets the last gradients too soon for small batches; this is PyTorch's.
            return keras.optimizers.RMSprop(rate, rho=0.99)
        case "sgd":
            return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    known = ", ".join(space.OPTIMIZERS)
    raise ValueError(f"optimizer must be one of {known}; got {name!r}. Choose one of these.")
