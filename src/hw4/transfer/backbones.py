"""VGG16 and ResNet50 with the preprocessing each was trained with, and a head on top of them.

Simonyan and Zisserman (2015), arXiv:1409.1556; He et al. (2016), arXiv:1512.03385.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from hw4.transfer.collapse import check_head
from hw4.transfer.preprocessing import PREPROCESSING
from hw4.transfer.weights import Weights, find

HIDDEN_UNITS = 128
ACTIVATIONS = ("sigmoid", "linear")


@dataclass(frozen=True)
class Backbone:
    """A network without its top. `last_block` begins the names of the layers worth tuning."""

    name: str
    build: Callable
    preprocessing: str
    channels: int
    last_convolution: str
    last_block: str

    def preprocess(self, images: np.ndarray) -> np.ndarray:
        """Bring uint8 RGB images to what the network was trained on, as a new array."""
        return PREPROCESSING[self.preprocessing](images)


BACKBONES = {
    backbone.name: backbone
    for backbone in (
        Backbone("VGG16", keras.applications.VGG16, "caffe", 512, "block5_conv3", "block5_"),
        Backbone(
            "ResNet50",
            keras.applications.ResNet50,
            "caffe",
            2048,
            "conv5_block3_3_conv",
            "conv5_block3_",
        ),
    )
}


def known(name: str) -> Backbone:
    """Return the backbone of this name.

    >>> known("VGG16").last_convolution
    'block5_conv3'
    """
    if name not in BACKBONES:
        raise ValueError(f"name must be one of {', '.join(BACKBONES)}; got {name!r}. Name one.")
    return BACKBONES[name]


def resolve(name: str, weights: str | Path | Weights, seed: int) -> Weights:
    """Return `weights` found, whether given as a word, as a file or as what `find` returned."""
    return weights if isinstance(weights, Weights) else find(name, weights, seed=seed)


def build_backbone(name: str, weights: str | Path | Weights, *, size: int = 224, seed: int = 7):
    """Return the convolutional part, frozen, from (n, size, size, 3) to maps.

    Frozen is `trainable = False` for every layer. In Keras 3 that also keeps batch normalisation
    on its stored statistics, even inside a model that is training.

    Raises:
        ValueError: unknown backbone, a size below 32, or a file with other layers.
    """
    backbone, weights = known(name), resolve(name, weights, seed)
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 32:
        raise ValueError(
            f"size must be an integer of at least 32; got {size!r}. The networks halve it 5 times."
        )
    model = backbone.build(include_top=False, weights=None, input_shape=(size, size, 3))
    if weights.path is None:
        _randomise(model, weights.seed)
    else:
        model.load_weights(str(weights.path))
    model.trainable = False
    return model


def build_classifier(
    name: str,
    weights: str | Path | Weights = "random",
    *,
    size: int = 224,
    activation: str = "sigmoid",
    seed: int = 7,
):
    """Return backbone, global average pooling, Dense(128, relu) and Dense(1) as one flat graph.

    No model is nested in it, so that Grad-CAM reaches every layer. The backbone is frozen.

    Args:
        name: `VGG16` or `ResNet50`.
        weights: `imagenet`, `random`, a file, or what `weights.find` returned.
        size: height and width of the images, at least 32.
        activation: of the last unit: `sigmoid`, or `linear` for logits.
        seed: of random weights and of the head.

    Returns:
        A Keras model from (n, size, size, 3) preprocessed images to (n, 1).

    Raises:
        ValueError: unknown backbone or activation, or a softmax, always 1 over one unit.
    """
    backbone = build_backbone(name, weights, size=size, seed=seed)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(backbone.output)
    outputs = _head(pooled, activation, seed)
    model = keras.Model(backbone.inputs, outputs, name=f"{name.lower()}_classifier")
    check_head(model)
    return model


def build_head(channels: int, *, activation: str = "sigmoid", seed: int = 7):
    """Return the head alone: Dense(128, relu) and Dense(1) on vectors of features.

    >>> [build_head(channels).count_params() for channels in (512, 2048)]
    [65793, 262401]
    """
    inputs = keras.Input((channels,), name="features")
    model = keras.Model(inputs, _head(inputs, activation, seed), name="head")
    check_head(model)
    return model


def transplant(head, classifier) -> None:
    """Copy a trained head into a classifier, whose layers have the same names."""
    for layer in head.layers:
        if layer.weights:
            classifier.get_layer(layer.name).set_weights(layer.get_weights())


def unfreeze_last_block(model, name: str) -> list[str]:
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


def _head(features, activation: str, seed: int):
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


def _randomise(model, seed: int) -> None:
    """Draw every kernel as Glorot and Bengio (2010) do, the same on every backend."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            height, width, inputs, outputs = layer.kernel.shape
            limit = np.sqrt(6 / (height * width * (inputs + outputs)))
            kernel = rng.uniform(-limit, limit, layer.kernel.shape).astype(np.float32)
            layer.kernel.assign(kernel)
