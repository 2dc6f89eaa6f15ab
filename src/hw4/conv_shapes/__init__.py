"""Exact convolution arithmetic: output sizes, parameters, MACs and receptive fields.

Two conventions, each refusing what its library refuses:

* ``keras`` (3.15, ``channels_last``): padding is a word. Conv2D and Conv2DTranspose refuse a
  stride with a dilation, even on different axes; depthwise and separable layers accept both.
  ``parameters`` includes the moving statistics of batch norm, as ``count_params()`` does. The
  judge is a layer called on ``keras.Input``; TensorFlow on real arrays is laxer in one place (too
  large a pooling window gives an empty array) and stricter in another (``Conv2DTranspose`` with
  ``same`` and an ``output_padding`` that loses a position, which here may even leave size 0).
* ``pytorch`` (2.13; shapes are still written height, width, channels): padding is integers, or a
  word on convolutions, ``same`` only with stride 1. Running statistics are buffers, not parameters.

MACs count the products with a weight for one image: biases, pooling and normalisation count 0, and
a transposed convolution multiplies every input element by its whole kernel. Sizes are an int or a
(height, width) pair, and so are results: an int where both axes agree, else a pair.
"""

from hw4.conv_shapes.keras_models import from_keras
from hw4.conv_shapes.layers import (
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAvgPool2D,
    MaxPool2D,
    SeparableConv2D,
    ShapeError,
    ZeroPadding2D,
)
from hw4.conv_shapes.tracing import Row, same_padding, trace

__all__ = [
    "AvgPool2D",
    "BatchNorm",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "DepthwiseConv2D",
    "Flatten",
    "GlobalAvgPool2D",
    "MaxPool2D",
    "Row",
    "SeparableConv2D",
    "ShapeError",
    "ZeroPadding2D",
    "from_keras",
    "same_padding",
    "trace",
]
