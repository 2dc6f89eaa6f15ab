"""What an image goes through before a network, and the ways to get it wrong on purpose.

Preprocessing belongs to weights, not to an architecture: the same VGG16 exists with weights that
want `caffe` (Oxford, which Keras downloads) and with weights that want `torch` (torchvision).
"""

import functools
import warnings
from collections.abc import Callable

import numpy as np

from hw4.runtime import real

#: Mean blue, green and red of ImageNet, in the order in which caffe reads images.
CAFFE_MEANS = np.array([103.939, 116.779, 123.68], dtype=np.float32)
#: Mean and deviation of red, green and blue of ImageNet, of images from 0 to 1.
TORCH_MEANS = np.array([0.485, 0.456, 0.406], dtype=np.float32)
TORCH_DEVIATIONS = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def caffe(images: np.ndarray) -> np.ndarray:
    """Reverse RGB to BGR and subtract the mean colour; no scaling, and never in place.

    `keras.applications` subtracts from a float array in place, so that calling its function twice
    on one array corrupts it; here the input is left as it is, and images that were preprocessed
    already are refused.

    Args:
        images: (..., 3) RGB from 0 to 255.

    Returns:
        A new array (..., 3) float32, BGR.

    Raises:
        ValueError: no three channels, or pixels that are not from 0 to 255.

    >>> caffe(np.zeros((1, 1, 3), np.uint8)).ravel().tolist()
    [-103.93900299072266, -116.77899932861328, -123.68000030517578]
    """
    return _caffe(check_scale(images))


def torch(images: np.ndarray) -> np.ndarray:
    """Divide RGB by 255, subtract the mean colour and divide by its deviation, never in place.

    Args:
        images: (..., 3) RGB from 0 to 255.

    Returns:
        A new array (..., 3) float32, RGB.

    Raises:
        ValueError: no three channels, or pixels that are not from 0 to 255.

    >>> [round(float(x), 3) for x in torch(np.full((1, 1, 3), 255, np.uint8)).ravel()]
    [2.249, 2.429, 2.64]
    """
    return _torch(check_scale(images))


def check_scale(images) -> np.ndarray:
    """Return images as an array; refuse what is not from 0 to 255, warn about 0 to 1.

    Divided by 255, all images lie within 1 of the same point once the mean colour is subtracted, a
    spread that the first layer was never shown.

    Raises:
        ValueError: no three channels, NaN, or pixels outside 0..255: negative ones were
            preprocessed already, larger ones have 16 bits.
    """
    images = real("images", images)
    if images.ndim < 1 or images.shape[-1] != 3:
        raise ValueError(f"images must have 3 channels last; got {images.shape}. Repeat grey ones.")
    if not images.size:
        return images
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(
            f"images must be finite; got {np.count_nonzero(~np.isfinite(images))} pixels of NaN or "
            "infinity. Look for them where the images were read."
        )
    if low < 0:
        raise ValueError(
            f"images must be from 0 to 255; got a minimum of {low:g}: they were "
            "preprocessed already. Preprocess once, from a copy of the pixels."
        )
    if high > 255:
        raise ValueError(
            f"images must be from 0 to 255; got a maximum of {high:g}. Divide 16 bits by 257."
        )
    if images.dtype.kind == "f" and high <= 1:
        warnings.warn(
            f"images must be from 0 to 255; got a maximum of {high:g}: this looks like 1/255 "
            "scaling, after which the mean colour leaves almost the same grey everywhere. Leave "
            "the pixels unscaled.",
            stacklevel=3,
        )
    return images


def unit(images: np.ndarray) -> np.ndarray:
    """Divide by 255: right for networks trained so, and wrong for VGG16 and ResNet50 (v1)."""
    return np.asarray(images, np.float32) / np.float32(255)


def _caffe(images) -> np.ndarray:
    return np.asarray(images, np.float32)[..., ::-1] - CAFFE_MEANS


def _torch(images) -> np.ndarray:
    return (unit(images) - TORCH_MEANS) / TORCH_DEVIATIONS


def _twice(function: Callable, images: np.ndarray) -> np.ndarray:
    """Preprocess what was preprocessed: the effect of a second call on one float array."""
    return function(function(images))


PREPROCESSING: dict[str, Callable] = {
    "caffe": caffe,
    "torch": torch,
    "1/255": unit,
    "caffe twice": functools.partial(_twice, _caffe),
    "torch twice": functools.partial(_twice, _torch),
}
