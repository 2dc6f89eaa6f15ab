"""VGG16 and ResNet50: everything that is known of each, in one record.

Simonyan and Zisserman (2015), arXiv:1409.1556; He et al. (2016), arXiv:1512.03385.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras

_KERAS_FILES = "https://storage.googleapis.com/tensorflow/keras-applications"
_NO_TOP = "weights_tf_dim_ordering_tf_kernels_notop.h5"


@dataclass(frozen=True)
class Source:
    """A file of ImageNet weights: its place, its checksum, what tables call it, what it wants.

    `place` is a name in `data/` or an address; `checksum` is a SHA-256 or, for Keras' own files,
    the MD5 sum that Keras publishes; `preprocessing` is a key of PREPROCESSING.
    """

    place: str
    checksum: str
    name: str
    preprocessing: str


@dataclass(frozen=True)
class Backbone:
    """A network without its top.

    Args:
        name: what tables print.
        build: its function in `keras.applications`.
        channels: length of a vector of pooled features.
        parameters: without the top; tests count them.
        last_convolution: layer that Grad-CAM looks at.
        before_last_block: layer whose output the last block starts from.
        last_block: what the names of the layers of the last block begin with.
        embedded: the weights of `data/`, 8 bits.
        official: those that Keras downloads, float32.
    """

    name: str
    build: Callable
    channels: int
    parameters: int
    last_convolution: str
    before_last_block: str
    last_block: str
    embedded: Source
    official: Source


BACKBONES = {
    "VGG16": Backbone(
        name="VGG16",
        build=keras.applications.VGG16,
        channels=512,
        parameters=14_714_688,
        last_convolution="block5_conv3",
        before_last_block="block4_pool",
        last_block="block5_",
        embedded=Source(
            "vgg16_int8.npz",
            "06a940e1273013a3bd37fec6985c475c17f4445ed677b5d221a17bf0d60fe24c",
            "imagenet (torchvision), 8 bits",
            "torch",
        ),
        official=Source(
            f"{_KERAS_FILES}/vgg16/vgg16_{_NO_TOP}",
            "6d6bbae143d832006294945121d1f1fc",
            "imagenet (Keras), float32",
            "caffe",
        ),
    ),
    "ResNet50": Backbone(
        name="ResNet50",
        build=keras.applications.ResNet50,
        channels=2048,
        parameters=23_587_712,
        last_convolution="conv5_block3_3_conv",
        before_last_block="conv5_block2_out",
        last_block="conv5_block3_",
        embedded=Source(
            "resnet50_int8.npz",
            "fab45dc2e07828039734f6d57c5b972e8bc480f7fe1fcad1cd6e929302eeb9de",
            "imagenet (Keras), 8 bits",
            "caffe",
        ),
        official=Source(
            f"{_KERAS_FILES}/resnet/resnet50_{_NO_TOP}",
            "4d473c1dd8becc155b73f8504c6f6626",
            "imagenet (Keras), float32",
            "caffe",
        ),
    ),
}


def known(name: str) -> Backbone:
    """Return the backbone of this name.

    >>> known("VGG16").last_convolution
    'block5_conv3'
    """
    if name not in BACKBONES:
        raise ValueError(f"name must be one of {', '.join(BACKBONES)}; got {name!r}. Name one.")
    return BACKBONES[name]
