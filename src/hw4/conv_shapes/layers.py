"""The layers that conv_shapes understands, as plain values, and the error it raises.

Sizes are an int for both axes or a (height, width) pair. Nothing is checked here: whether a value
is legal depends on the convention, and ``trace`` can name the layer's place in the network.
"""

import reprlib
from dataclasses import dataclass

Size = int | tuple[int, int]


class ShapeError(ValueError):
    """A layer that cannot be built.

    Args:
        problem: what must be, what was got, and what to do.
        rule: name of the rule that refused.
        numbers: every number in the rule, by name.
        position: place of the layer in the network, from 1.
        kind: class of the layer.

    >>> str(ShapeError("units must be ...", "units", {"units": 0}, position=2, kind="Dense"))
    'layer 2 (Dense): units must be ...'
    """

    def __init__(
        self,
        problem: str,
        rule: str = "",
        numbers: dict | None = None,
        position: int | None = None,
        kind: str | None = None,
    ) -> None:
        where = "" if position is None else f"layer {position} ({kind}): "
        super().__init__(where + problem)
        self.problem, self.rule, self.numbers = problem, rule, numbers or {}
        self.position, self.kind = position, kind


class _Short(reprlib.Repr):
    """`repr` that is never long, nor an error of Python's on a number of thousands of digits."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 80

    def repr_int(self, x, level) -> str:
        return repr(x) if x.bit_length() <= 200 else f"<an integer of {x.bit_length()} bits>"


_SHORT = _Short()


def shown(value: object) -> str:
    """Return a value as an error message shows it: its `repr`, its middle left out if it is long.

    >>> shown((3, -1)), len(shown("word" * 1_000_000)), shown(10**5000)
    ('(3, -1)', 80, '<an integer of 16610 bits>')
    """
    return _SHORT.repr(value)


@dataclass(frozen=True)
class Conv2D:
    """Convolution with a kernel of shape (kh, kw, channels / groups, filters)."""

    filters: int
    kernel_size: Size
    strides: Size = 1
    padding: str | Size = "valid"
    dilation_rate: Size = 1
    groups: int = 1
    use_bias: bool = True


@dataclass(frozen=True)
class DepthwiseConv2D:
    """``depth_multiplier`` filters for each channel; in PyTorch ``Conv2d(groups=channels)``."""

    kernel_size: Size
    strides: Size = 1
    padding: str | Size = "valid"
    dilation_rate: Size = 1
    depth_multiplier: int = 1
    use_bias: bool = True


@dataclass(frozen=True)
class SeparableConv2D:
    """A depthwise convolution without bias, then a 1x1 convolution, which has the bias."""

    filters: int
    kernel_size: Size
    strides: Size = 1
    padding: str | Size = "valid"
    dilation_rate: Size = 1
    depth_multiplier: int = 1
    use_bias: bool = True


@dataclass(frozen=True)
class Conv2DTranspose:
    """Transposed convolution; ``output_padding=None`` is each library's own default."""

    filters: int
    kernel_size: Size
    strides: Size = 1
    padding: str | Size = "valid"
    dilation_rate: Size = 1
    groups: int = 1
    use_bias: bool = True
    output_padding: Size | None = None


@dataclass(frozen=True)
class MaxPool2D:
    """Max pooling; ``strides=None`` means ``pool_size``. Ceil mode and dilation: PyTorch only."""

    pool_size: Size
    strides: Size | None = None
    padding: str | Size = "valid"
    ceil_mode: bool = False
    dilation_rate: Size = 1


@dataclass(frozen=True)
class AvgPool2D:
    """Average pooling; ``strides=None`` means ``pool_size``. Ceil mode: PyTorch only."""

    pool_size: Size
    strides: Size | None = None
    padding: str | Size = "valid"
    ceil_mode: bool = False


@dataclass(frozen=True)
class GlobalAvgPool2D:
    """Mean over both axes: (channels,), or (1, 1, channels) with ``keepdims``."""

    keepdims: bool = False


@dataclass(frozen=True)
class ZeroPadding2D:
    """Zeros around the image: an int, a pair, or ((top, bottom), (left, right))."""

    padding: Size | tuple[tuple[int, int], tuple[int, int]] = 1


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation of each channel, learning ``center`` (beta) and ``scale`` (gamma)."""

    center: bool = True
    scale: bool = True


@dataclass(frozen=True)
class Flatten:
    """All features in one axis."""


@dataclass(frozen=True)
class Dense:
    """``units`` weighted sums over the last axis; under PyTorch only of flat features."""

    units: int
    use_bias: bool = True
