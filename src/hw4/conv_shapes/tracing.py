"""Go through a network layer by layer: `trace`, and the rules that are not about kernels."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from hw4.conv_shapes import rules
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
    Size,
    ZeroPadding2D,
    shown,
)
from hw4.conv_shapes.receptive_field import Field, Scattered, Window
from hw4.conv_shapes.rules import ALL, Step


@dataclass(frozen=True)
class Row:
    """One line of the table; the shape is (features,) after Flatten, GlobalAvgPool2D or Dense.

    In input pixels: ``receptive_field``; ``jump`` between neighbouring outputs, a Fraction where
    upsampling makes it one; ``padding``, how far the first output reaches before the input. A layer
    that merges all positions sees them all, and keeps the last jump. Field and padding are None
    where upsampling with gaps makes more than MOST_WINDOWS different windows.
    """

    layer: object
    output_shape: tuple[int, ...]
    parameters: int
    trainable: int
    macs: int
    receptive_field: Size | None
    jump: Size
    padding: Size | None
    name: str


class State(NamedTuple):
    """What a layer hands on: shape, positions not yet merged, and the Field of each axis."""

    shape: tuple[int, ...]
    grid: tuple[int, int]
    fields: tuple[Field | Scattered, Field | Scattered]


def trace(layers: Iterable, input_shape: tuple[int, ...], convention: str = "keras") -> list[Row]:
    """Return one Row for each layer of a sequence.

    out = floor((n + before + after - d (k - 1) - 1) / s) + 1 on each axis; the other formulas are
    in ``rules``.

    Args:
        layers: values such as `Conv2D(64, 3)`.
        input_shape: (height, width, channels) or (features,), without the batch axis.
        convention: `keras` or `pytorch`.

    Raises:
        ShapeError: what the library of the convention refuses, with the layer's number, the rule
            and its numbers.
        TypeError: something that is not one of these layers, or none in a list.

    Source: Dumoulin and Visin 2016, arXiv:1603.07285.

    >>> rows = trace([Conv2D(64, 3, padding="same"), MaxPool2D(2)], (256, 256, 3))
    >>> [(row.output_shape, row.parameters, row.receptive_field, row.jump) for row in rows]
    [((256, 256, 64), 1792, 3, 1), ((128, 128, 64), 0, 4, 2)]
    """
    if isinstance(layers, str) or not isinstance(layers, Iterable):
        raise TypeError(f"layers must be several layers; got {shown(layers)}. Pass a list of them.")
    state, rows = start(input_shape, convention), []
    for position, layer in enumerate(layers, 1):
        row, state = advance(layer, state, convention, position)
        rows.append(row)
    return rows


def same_padding(
    kernel_size: Size, dilation_rate: Size = 1, strides: Size = 1, input_size: Size | None = None
) -> tuple[int, int] | tuple[tuple[int, int], tuple[int, int]]:
    """Return the (before, after) zeros of "same"; an odd total puts its extra zero after.

    total = max((ceil(n / s) - 1) s + d (k - 1) + 1 - n, 0), which is d (k - 1) when s = 1.

    Args:
        kernel_size: k, taps.
        dilation_rate: d, pixels between neighbouring taps.
        strides: s, pixels between neighbouring places.
        input_size: n, pixels; needed only when s > 1.

    Returns:
        One pair of zeros, or one for each axis if any argument is a pair.

    Raises:
        ShapeError: a size that is not a positive integer, or a missing input size.

    Source: tf.nn, "Notes on padding".

    >>> same_padding(5, dilation_rate=2), same_padding(4), same_padding(3, 1, 2, 224)
    ((4, 4), (1, 2), (0, 1))
    """
    given = {"kernel_size": kernel_size, "dilation_rate": dilation_rate, "strides": strides}
    sizes = {name: rules.pair(value, name) for name, value in given.items()}
    if input_size is None and max(sizes["strides"]) > 1:
        fix = "Pass the size of the layer's input."
        rules.fail("input_size must be given when strides exceed 1", None, fix, "same", **sizes)
    given["input_size"] = 1 if input_size is None else input_size
    sizes["input_size"] = rules.pair(given["input_size"], "input_size")
    both = tuple(rules.same(*axis) for axis in zip(*sizes.values(), strict=True))
    return both if any(isinstance(v, (tuple, list)) for v in given.values()) else both[0]


def start(input_shape: tuple[int, ...], convention: str = "keras") -> State:
    """Return the State of a network's input.

    Raises:
        ValueError: a bad shape or convention.
    """
    if convention not in ("keras", "pytorch"):
        raise ValueError(
            f"convention must be 'keras' or 'pytorch'; got {shown(convention)}. Choose one."
        )
    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else ()
    if len(shape) not in (1, 3) or not all(map(rules.is_integer, shape)):
        expectation = (
            "input_shape must be positive integers, (height, width, channels) or (features,)"
        )
        rules.fail(expectation, shown(input_shape), "Leave out the batch axis.", "input_shape")
    shape = tuple(map(int, shape))
    return State(shape, shape[:2] if len(shape) == 3 else (1, 1), (Field(), Field()))


def advance(
    layer: object, state: State, convention: str, position: int, name: str | None = None
) -> tuple[Row, State]:
    """Return the Row and the next State of one layer; its ShapeError gets the position."""
    kind = type(layer).__name__
    if type(layer) not in _RULES:
        known = ", ".join(rule.__name__ for rule in _RULES)
        raise TypeError(
            f"layer {position} must be one of {known}; got {shown(layer)}. Use one of them."
        )
    try:
        step = _RULES[type(layer)](layer, state.shape, convention)
        if max(step.shape) >= rules.LIMIT:
            expectation = "output must be smaller than 2**63 on every axis"
            rules.fail(expectation, shown(step.shape), "Use smaller sizes.", "64 bits")
    except ShapeError as error:
        raise ShapeError(error.problem, error.rule, error.numbers, position, kind) from None
    grid, windows = step.shape[:2] if len(step.shape) == 3 else state.grid, step.windows
    if windows == ALL:
        grid, windows = (1, 1), [Window(max(n, 1)) for n in state.grid]
    state = State(step.shape, grid, see(state.fields, windows))
    return make_row(layer, state, step, name or kind), state


def see(fields: tuple, windows: tuple[Window, ...] | list[Window] | None) -> tuple:
    """Return the fields behind one more layer's windows; None leaves them as they are."""
    if windows is None:
        return fields
    return tuple(field.through(window) for field, window in zip(fields, windows, strict=True))


def make_row(layer: object, state: State, step: Step, name: str) -> Row:
    """Return the Row of a layer from what it did."""
    views = ("receptive_field", "jump", "padding")
    view = (_tidy(*(getattr(field, view) for field in state.fields)) for view in views)
    total = step.trainable + step.statistics
    return Row(layer, state.shape, total, step.trainable, step.macs, *view, name)


def _tidy(height, width) -> Size | None:
    return height if height == width else (height, width)


def _global_pool(layer, shape, convention) -> Step:
    channels = rules.image(shape)[2]
    return Step((1, 1, channels) if layer.keepdims else (channels,), windows=ALL)


def _zero_padding(layer, shape, convention) -> Step:
    height, width, channels = rules.image(shape)
    sides = layer.padding
    if not isinstance(sides, (tuple, list)) or not any(isinstance(s, (tuple, list)) for s in sides):
        sides = [(side, side) for side in rules.pair(sides, "padding", 0)]
    if len(sides) != 2:
        expectation = "padding must be an integer, a pair, or ((top, bottom), (left, right))"
        rules.fail(expectation, shown(sides), "Give one pair for each axis.", "padding")
    (top, bottom), (left, right) = (rules.pair(side, "padding", 0) for side in sides)
    windows = (Window(1, before=top), Window(1, before=left))
    return Step((height + top + bottom, width + left + right, channels), windows=windows)


def _batch_norm(layer, shape, convention) -> Step:
    channels, learned = shape[-1], bool(layer.center) + bool(layer.scale)
    if convention == "pytorch" and learned == 1:
        expectation = "center and scale must agree under pytorch (affine)"
        rules.fail(expectation, shown(layer), "Set both or neither.", "affine")
    return Step(shape, learned * channels, 2 * channels * (convention == "keras"))


def _flatten(layer, shape, convention) -> Step:
    return Step((prod(shape),))


def _dense(layer, shape, convention) -> Step:
    units, (*outer, features) = rules.whole_number(layer.units, "units"), shape
    if outer and convention == "pytorch":
        # nn.Linear works on the last axis, which is the width there and not the channels.
        fix = "Put Flatten or GlobalAvgPool2D before."
        rules.fail("input must be flat (features,) under pytorch", f"{shape}", fix, "rank")
    weights = features * units
    trainable = weights + units * bool(layer.use_bias)
    macs, windows = prod(outer) * weights, None if outer else ALL
    return Step((*outer, units), trainable, macs=macs, windows=windows)


_RULES = {
    Conv2D: rules.conv,
    DepthwiseConv2D: rules.conv,
    SeparableConv2D: rules.conv,
    Conv2DTranspose: rules.transposed,
    MaxPool2D: rules.pool,
    AvgPool2D: rules.pool,
    GlobalAvgPool2D: _global_pool,
    ZeroPadding2D: _zero_padding,
    BatchNorm: _batch_norm,
    Flatten: _flatten,
    Dense: _dense,
}
