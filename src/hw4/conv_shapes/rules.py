"""What one layer does to sizes, parameters and MACs under each convention, refusals included.

n input, k kernel, s stride, d dilation, before and after the padding, along one axis:

* convolution and pooling: floor((n + before + after - d (k - 1) - 1) / s) + 1, at least 1; in
  ceil mode s - 1 is added to the numerator, and the last window must start inside n + before;
* Keras transposed: valid (n - 1) s + max(d (k - 1) + 1, s); same n s; with output padding op
  (n - 1) s + d (k - 1) + 1 + op, and (n - 1) s + (d (k - 1) + 1) mod 2 + op;
* PyTorch transposed: (n - 1) s - 2 p + d (k - 1) + op + 1.

Source: Dumoulin and Visin 2016, arXiv:1603.07285; the Keras 3.15 and PyTorch 2.13 references.
"""

from math import prod
from numbers import Integral
from typing import NamedTuple, NoReturn

from hw4.conv_shapes import layers as cl
from hw4.conv_shapes.layers import ShapeError, shown
from hw4.conv_shapes.receptive_field import Window

Pair = tuple[int, int]
AXES = ("height", "width")
ALL = "all"
LIMIT = 2**63  # both libraries hold a size in 64 bits


class Step(NamedTuple):
    """The effect of a layer; ``windows`` is a Window for each axis, ALL positions, or None."""

    shape: tuple[int, ...]
    trainable: int = 0
    statistics: int = 0
    macs: int = 0
    windows: tuple[Window, Window] | str | None = None


def fail(expectation: str, got: object, fix: str, rule: str, **numbers) -> NoReturn:
    """Raise the ShapeError "<expectation>; got <got>. <fix>"."""
    raise ShapeError(f"{expectation}; got {got}. {fix}", rule, numbers)


def is_integer(value: object, least: int = 1) -> bool:
    """Tell whether a value is a true integer (no bool, no float) from ``least`` to LIMIT - 1."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    return whole and least <= value < LIMIT


def whole_number(value: object, name: str, least: int = 1) -> int:
    """Return an argument as an int.

    Args:
        value: what was given.
        name: the argument's name.
        least: smallest value allowed.

    Raises:
        ShapeError: it is no integer of this size.
    """
    if not is_integer(value, least):
        expectation = f"{name} must be an integer of at least {least}, below 2**63"
        fail(expectation, shown(value), "Use a whole number.", name, **{name: value})
    return int(value)


def pair(value: object, name: str, least: int = 1) -> Pair:
    """Return (height, width) of a size given as an int or a pair.

    Args:
        value: what was given.
        name: the argument's name.
        least: 1, or 0 where nothing is a size, too.

    Raises:
        ShapeError: it is neither.
    """
    items = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(items) != 2 or not all(is_integer(item, least) for item in items):
        kind = "positive" if least else "non-negative"
        expectation = f"{name} must be a {kind} integer below 2**63 or a (height, width) pair"
        fail(expectation, shown(value), "Use whole numbers.", name, **{name: value})
    return int(items[0]), int(items[1])


def same(k: int, d: int, s: int, n: int) -> Pair:
    """Return the (before, after) zeros of "same" along one axis."""
    total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
    return total // 2, total - total // 2


def image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (height, width, channels).

    Raises:
        ShapeError: the features are flat.
    """
    if len(shape) != 3:
        fix = "Put this layer before the features become flat."
        fail("input must be (height, width, channels)", f"{shape}", fix, "rank", input=shape)
    return shape


def _padding(layer, convention, kernel, strides, dilation, sizes) -> tuple[Pair, Pair]:
    """Return ((top, bottom), (left, right)) of a convolution or pooling."""
    word, pooling = layer.padding, isinstance(layer, (cl.MaxPool2D, cl.AvgPool2D))
    if isinstance(word, str):
        # Keras lowers the word of a convolution, and nobody else does.
        word = word.lower() if convention == "keras" and not pooling else word
        if word == "valid":
            return (0, 0), (0, 0)
        if word == "same" and convention == "pytorch" and (pooling or max(strides) > 1):
            where = "on a pooling layer" if pooling else f"with stride {strides}"
            fix = "Use integers, as (1, 1)." if pooling else "Use stride 1 or integers."
            got = f"'same' {where}"
            fail("padding must be integers here under pytorch", got, fix, "same", strides=strides)
        if word == "same":
            return tuple(map(same, kernel, dilation, strides, sizes))
    elif convention == "pytorch":
        top, left = pair(word, "padding", 0)
        if pooling and any(2 * p > k for p, k in zip((top, left), kernel, strict=True)):
            expectation = f"padding must be at most half the pooling window {kernel}"
            numbers = {"padding": (top, left), "kernel": kernel}
            fail(expectation, (top, left), "Use a smaller padding.", "pool padding", **numbers)
        return (top, top), (left, left)
    expectation, fix = "padding must be 'valid', 'same' or integers", "Choose one."
    if convention == "keras":
        expectation = "padding must be 'valid' or 'same' under keras"
        fix = "For explicit zeros put a ZeroPadding2D layer before."
    fail(expectation, shown(layer.padding), fix, "padding", padding=layer.padding)


def _slide(
    layer, convention, kernel, strides, dilation, sizes, ceil=False
) -> tuple[Pair, tuple[Window, Window]]:
    """Return the (height, width) and the Windows of a kernel sliding over an image."""
    padding = _padding(layer, convention, kernel, strides, dilation, sizes)
    out, windows = [], []
    for axis in (0, 1):
        n, k, s, d = sizes[axis], kernel[axis], strides[axis], dilation[axis]
        before, after = padding[axis]
        span, padded = d * (k - 1) + 1, n + before + after
        size = (padded - span + (s - 1 if ceil else 0)) // s + 1
        if ceil and (size - 1) * s >= n + before:
            size -= 1
        # Keras lets "same" keep an empty image (see Conv2DTranspose) empty.
        if size < 1 and (n or str(layer.padding).lower() != "same"):
            expectation = (
                f"kernel must fit into input {AXES[axis]} {n} + padding {before} + {after}"
            )
            formula = f"floor(({padded} - {span}{f' + {s - 1}' * ceil}) / {s}) + 1 = {size}"
            got = f"a dilated kernel of {d} * ({k} - 1) + 1 = {span}, so an output of {formula}"
            numbers = {"n": n, "kernel": k, "stride": s, "dilation": d, "span": span, "out": size}
            fix = "Use a larger input, more padding, or a smaller kernel or dilation."
            numbers |= {"before": before, "after": after}
            fail(expectation, got, fix, "output size", **numbers)
        out.append(size)
        windows.append(Window(k, s, d, before))
    return tuple(out), tuple(windows)


def _sizes(layer) -> tuple[Pair, Pair, Pair]:
    """Return the checked kernel, strides and dilation of a convolution."""
    names = ("kernel_size", "strides", "dilation_rate")
    return tuple(pair(getattr(layer, name), name) for name in names)


def _no_stride_with_dilation(strides: Pair, dilation: Pair, convention: str) -> None:
    if convention == "keras" and max(strides) > 1 and max(dilation) > 1:
        expectation = "strides and dilation_rate must not both exceed 1 under keras, on any axis"
        fix = "Set one of them to 1, or use the pytorch convention."
        got = f"strides={strides} and dilation_rate={dilation}"
        fail(expectation, got, fix, "stride with dilation", strides=strides, dilation=dilation)


def _grouped(layer, channels: int) -> Pair:
    """Return (filters, groups) after checking that the groups divide both sides."""
    filters, groups = whole_number(layer.filters, "filters"), whole_number(layer.groups, "groups")
    if filters % groups or channels % groups:
        expectation = f"groups must divide filters {filters} and the input's {channels} channels"
        numbers = {"groups": groups, "filters": filters, "channels": channels}
        fail(expectation, groups, "Use a common divisor.", "groups", **numbers)
    return filters, groups


def conv(layer, shape: tuple[int, ...], convention: str) -> Step:
    """Apply Conv2D, DepthwiseConv2D or SeparableConv2D."""
    kernel, strides, dilation = _sizes(layer)
    *sizes, channels = image(shape)
    if isinstance(layer, cl.Conv2D):
        _no_stride_with_dilation(strides, dilation, convention)
        filters, groups = _grouped(layer, channels)
        weights = prod(kernel) * channels // groups * filters
    else:
        multiplied = channels * whole_number(layer.depth_multiplier, "depth_multiplier")
        weights, filters = prod(kernel) * multiplied, multiplied
        if isinstance(layer, cl.SeparableConv2D):
            filters = whole_number(layer.filters, "filters")
            weights += multiplied * filters
    out, windows = _slide(layer, convention, kernel, strides, dilation, sizes)
    trainable = weights + filters * bool(layer.use_bias)
    return Step((*out, filters), trainable, 0, prod(out) * weights, windows)


def pool(layer, shape: tuple[int, ...], convention: str) -> Step:
    """Apply MaxPool2D or AvgPool2D."""
    kernel = pair(layer.pool_size, "pool_size")
    strides = kernel if layer.strides is None else pair(layer.strides, "strides")
    dilation = pair(getattr(layer, "dilation_rate", 1), "dilation_rate")
    if convention == "keras" and (layer.ceil_mode or max(dilation) > 1):
        got = f"ceil_mode={shown(layer.ceil_mode)} and dilation {dilation}"
        fix = "Use the pytorch convention."
        fail("ceil_mode must be False and dilation 1 under keras", got, fix, "pooling options")
    *sizes, channels = image(shape)
    ceil = bool(layer.ceil_mode)
    out, windows = _slide(layer, convention, kernel, strides, dilation, sizes, ceil)
    return Step((*out, channels), windows=windows)


def _transposed_keras(layer, n, s, span, op, axis) -> Pair:
    """Return the output size and the crop before it along one axis."""
    word = layer.padding.lower() if isinstance(layer.padding, str) else layer.padding
    if word not in ("valid", "same"):
        fix = "Crop the output with another layer."
        fail("padding must be 'valid' or 'same' under keras", shown(layer.padding), fix, "padding")
    if op is not None and op >= s:
        expectation = f"output_padding must be less than the stride {s} ({AXES[axis]})"
        fail(expectation, op, "Use a smaller one.", "output_padding", output_padding=op, stride=s)
    if word == "valid":
        return (n - 1) * s + (max(span, s) if op is None else span + op), 0
    out = n * s if op is None else (n - 1) * s + span % 2 + op
    return out, max((n - 1) * s + span - out, 0) // 2


def _transposed_pytorch(layer, n, s, span, op, axis) -> Pair:
    """Return the output size and the crop before it along one axis."""
    d = pair(layer.dilation_rate, "dilation_rate")[axis]
    if isinstance(layer.padding, str) and layer.padding != "valid":
        fix = "nn.ConvTranspose2d takes no words: use integers."
        fail("padding must be integers under pytorch", shown(layer.padding), fix, "padding")
    p = 0 if layer.padding == "valid" else pair(layer.padding, "padding", 0)[axis]
    op = op or 0
    if op >= max(s, d):
        expectation = f"output_padding must be less than stride {s} or dilation {d} ({AXES[axis]})"
        numbers = {"output_padding": op, "stride": s, "dilation": d}
        fail(expectation, op, "Use a smaller one.", "output_padding", **numbers)
    out = (n - 1) * s - 2 * p + span + op
    if out < 1:
        formula = f"({n} - 1) * {s} - 2 * {p} + {span} + {op} = {out}"
        numbers = {"n": n, "stride": s, "padding": p, "span": span, "out": out}
        expectation = f"padding must leave an output {AXES[axis]} of at least 1"
        fail(expectation, formula, "Use a smaller padding.", "output size", **numbers)
    return out, p


def transposed(layer, shape: tuple[int, ...], convention: str) -> Step:
    """Apply Conv2DTranspose."""
    kernel, strides, dilation = _sizes(layer)
    extra = layer.output_padding
    extra = (None, None) if extra is None else pair(extra, "output_padding", 0)
    *sizes, channels = image(shape)
    _no_stride_with_dilation(strides, dilation, convention)
    filters, groups = _grouped(layer, channels)
    if convention == "keras" and groups > 1:
        fix = "Use the pytorch convention."
        fail("groups must be 1 under keras", groups, fix, "groups", groups=groups)
    rule = _transposed_keras if convention == "keras" else _transposed_pytorch
    out, windows = [], []
    for axis, (n, k, s, d) in enumerate(zip(sizes, kernel, strides, dilation, strict=True)):
        size, crop = rule(layer, n, s, d * (k - 1) + 1, extra[axis], axis)
        out.append(size)
        windows.append(Window(k, s, d, crop, transposed=True))
    weights = prod(kernel) * channels // groups * filters
    trainable = weights + filters * bool(layer.use_bias)
    return Step((*out, filters), trainable, 0, prod(sizes) * weights, tuple(windows))
