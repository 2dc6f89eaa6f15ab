"""The networks of question 2: a head on a frozen backbone, the head alone, and a small network."""

from pathlib import Path

import keras
import numpy as np

from hw4.runtime import integer, reseed
from hw4.transfer.backbones import known
from hw4.transfer.collapse import check_head
from hw4.transfer.weights import Weights, find, load

HIDDEN_UNITS = 128
ACTIVATIONS = ("sigmoid", "linear")
SMALL_CNN = "small CNN"


def build_classifier(
    name: str,
    weights: str | Path | Weights = "imagenet",
    *,
    size: int = 224,
    activation: str = "sigmoid",
    seed: int = 7,
) -> keras.Model:
    """Return backbone, global average pooling, Dense(128, relu) and Dense(1) as one flat graph.

    No model is nested in it, so that Grad-CAM reaches every layer. The backbone is frozen, which
    in Keras 3 also keeps batch normalisation on its stored statistics, even in training.

    Args:
        name: `VGG16` or `ResNet50`.
        weights: `imagenet`, `official`, `random`, a file, or what `weights.find` returned.
        size: height and width of the images, at least 32.
        activation: of the last unit: `sigmoid`, or `linear` for logits.
        seed: of random weights and of the head.

    Returns:
        A Keras model from (n, size, size, 3) preprocessed images to (n, 1).

    Raises:
        ValueError: unknown backbone or activation, a softmax, which is always 1 over one unit, a
            size below 32, or a file with other layers.
    """
    backbone, found = known(name), find(name, weights, seed=seed)
    size = integer("size", size, 32, cure="The networks halve it 5 times.")
    body = backbone.build(include_top=False, weights=None, input_shape=(size, size, 3))
    load(body, found)
    body.trainable = False
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(body.output)
    outputs = _head(pooled, activation, seed)
    return check_head(keras.Model(body.inputs, outputs, name=f"{name.lower()}_classifier"))


def build_head(channels: int, *, activation: str = "sigmoid", seed: int = 7) -> keras.Model:
    """Return the head alone: Dense(128, relu) and Dense(1) on vectors of features.

    >>> [build_head(channels).count_params() for channels in (512, 2048)]
    [65793, 262401]
    """
    inputs = keras.Input((channels,), name="features")
    return check_head(keras.Model(inputs, _head(inputs, activation, seed), name="head"))


def transplant(head: keras.Model, classifier: keras.Model) -> None:
    """Copy a trained head into a classifier, whose layers have the same names."""
    for layer in head.layers:
        if layer.weights:
            classifier.get_layer(layer.name).set_weights(layer.get_weights())


def folded(model: keras.Model) -> keras.Model:
    """Return a copy of a frozen model without batch norm: a convolution before does its work.

    s (k * x + b - mean) + beta = (s k) * x + s (b - mean) + beta with s = gamma / sqrt(variance +
    epsilon): the same function up to rounding, in half the passes over memory.
    """

    def call(layer, *inputs, **options) -> keras.KerasTensor:
        norm = isinstance(layer, keras.layers.BatchNormalization)
        return inputs[0] if norm else layer(*inputs, **options)

    copy = keras.models.clone_model(model, call_function=call)
    for layer in copy.layers:
        weights = layer.weights and model.get_layer(layer.name).get_weights()
        norm = layer.weights and _norm_behind(model, layer.name)
        if norm:
            gamma, beta, mean, variance = norm.get_weights()
            scale = gamma / np.sqrt(variance + norm.epsilon)
            weights = [weights[0] * scale, (weights[1] - mean) * scale + beta]
        layer.set_weights(weights)
    return copy


def _norm_behind(model, name: str) -> keras.layers.Layer | None:
    """Return the batch norm behind a convolution, which `keras.applications` names alike."""
    names = {layer.name for layer in model.layers}
    norm = f"{name.removesuffix('_conv')}_bn"
    return model.get_layer(norm) if norm in names else None


def split_at_last_block(model: keras.Model, name: str) -> tuple[keras.Model, keras.Model]:
    """Split a classifier before its last convolutional block, which can learn from then on.

    Returns:
        What is frozen, from images to maps, as a copy; and the block with the head, from maps to
        (n, 1), made of the model's own layers, so that training it changes the model.
    """
    unfreeze_last_block(check_head(model), name)
    maps = model.get_layer(known(name).before_last_block).output
    return folded(keras.Model(model.inputs, maps)), keras.Model(maps, model.output)


def unfreeze_last_block(model: keras.Model, name: str) -> list[str]:
    """Make the last convolutional block trainable, its batch normalisation excepted.

    The statistics of batch normalisation belong to the pretraining data: small batches of
    radiographs would replace them by noisy ones. The model must be compiled again afterwards.

    Returns:
        The names of the layers that can learn now, head excluded.
    """
    block, frozen = known(name).last_block, keras.layers.BatchNormalization
    found = [layer for layer in model.layers if layer.name.startswith(block) and layer.weights]
    for layer in found:
        layer.trainable = not isinstance(layer, frozen)
    return [layer.name for layer in found if layer.trainable]


def small_cnn(size: int, *, seed: int = 7) -> keras.Model:
    """Return a small network to train from scratch on one grey channel, for comparison.

    Per-image standardisation, which takes the exposure away; four times convolution and batch
    norm, in the first three behind a pooling, where a quarter of the numbers is left; global
    *maximum* pooling, since a fracture is in one place and not on average.

    >>> small_cnn(96).count_params()
    33041
    """
    reseed(seed)
    layers = keras.layers
    x = inputs = keras.Input((size, size, 1), name="pixels")
    per_image = {"axis": (1, 2, 3), "center": False, "scale": False}
    x = layers.LayerNormalization(**per_image, name="image_standardisation")(x)
    for number, filters in enumerate((16, 32, 32, 64), start=1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
        if number < 4:
            x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"norm{number}")(x)
        x = layers.Activation("relu", name=f"relu{number}")(x)
    x = layers.GlobalMaxPooling2D(name="maximum")(x)
    outputs = layers.Dense(1, activation="sigmoid", name="output")(x)
    return keras.Model(inputs, outputs, name="small_cnn")


def _head(features, activation: str, seed: int) -> keras.KerasTensor:
    # A softmax is let through to `check_head`, which says what is wrong with it.
    if activation not in (*ACTIVATIONS, "softmax"):
        raise ValueError(
            f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}. Name one."
        )
    glorot = keras.initializers.GlorotUniform
    hidden = keras.layers.Dense(
        HIDDEN_UNITS, "relu", kernel_initializer=glorot(seed=seed), name="hidden"
    )(features)
    return keras.layers.Dense(
        1, activation, kernel_initializer=glorot(seed=seed + 1), name="output"
    )(hidden)
