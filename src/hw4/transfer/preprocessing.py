"""What an image goes through before a backbone, and two ways to get it wrong on purpose."""

from collections.abc import Callable

import numpy as np

from hw4.transfer.collapse import check_scale

#: Mean blue, green and red of ImageNet, in the order in which caffe reads images.
CAFFE_MEANS = np.array([103.939, 116.779, 123.68], dtype=np.float32)


def caffe(images: np.ndarray) -> np.ndarray:
    """Reverse RGB to BGR and subtract the mean colour; no scaling, and never in place.

    The preprocessing of VGG16 and ResNet50 (v1). `keras.applications` subtracts from a float
    array in place, so that calling its function twice on one array corrupts it; here the input
    is left as it is, and images that were preprocessed already are refused.

    Args:
        images: (..., 3) RGB from 0 to 255.

    Returns:
        A new array (..., 3) float32, BGR.

    Raises:
        ValueError: no three channels, or negative pixels.

    >>> caffe(np.zeros((1, 1, 3), np.uint8)).ravel().tolist()
    [-103.93900299072266, -116.77899932861328, -123.68000030517578]
    """
    images = np.asarray(images)
    if images.ndim < 1 or images.shape[-1] != 3:
        raise ValueError(f"images must have 3 channels last; got {images.shape}. Repeat grey ones.")
    check_scale(images)
    return _caffe(images)


def unit(images: np.ndarray) -> np.ndarray:
    """Divide by 255: right for networks trained so, and wrong for VGG16 and ResNet50 (v1)."""
    return np.asarray(images, np.float32) / np.float32(255)


def caffe_twice(images: np.ndarray) -> np.ndarray:
    """Preprocess what was preprocessed: the effect of a second call on one float array."""
    return _caffe(_caffe(images))


def _caffe(images) -> np.ndarray:
    return np.asarray(images, np.float32)[..., ::-1] - CAFFE_MEANS


PREPROCESSING: dict[str, Callable] = {"caffe": caffe, "1/255": unit, "twice": caffe_twice}
