"""Networks written as one line of text, for `hw4 shapes`.

Layers are separated by ";" or new lines. Sizes are 3 or, for height and width, 3x5.

    conv F K     dwconv K [mM]     sepconv F K [mM]     tconv F K [opN]
    pool K (or maxpool, avgpool)   gap   pad N   bn   flatten   dense N

Convolutions and pooling take sS (stride), dD (dilation), and same, valid or pN (padding);
convolutions gG (groups) and nobias, dense nobias, pooling ceil.
"""

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from fractions import Fraction
from typing import NoReturn

from hw4 import conv_shapes as cs
from hw4.conv_shapes.layers import shown

_LAYERS = {
    "conv": (cs.Conv2D, ("filters", "kernel_size")),
    "dwconv": (cs.DepthwiseConv2D, ("kernel_size",)),
    "sepconv": (cs.SeparableConv2D, ("filters", "kernel_size")),
    "tconv": (cs.Conv2DTranspose, ("filters", "kernel_size")),
    "pool": (cs.MaxPool2D, ("pool_size",)),
    "maxpool": (cs.MaxPool2D, ("pool_size",)),
    "avgpool": (cs.AvgPool2D, ("pool_size",)),
    "gap": (cs.GlobalAvgPool2D, ()),
    "pad": (cs.ZeroPadding2D, ("padding",)),
    "bn": (cs.BatchNorm, ()),
    "flatten": (cs.Flatten, ()),
    "dense": (cs.Dense, ("units",)),
}
_NUMBERED = {
    "s": "strides",
    "d": "dilation_rate",
    "p": "padding",
    "g": "groups",
    "m": "depth_multiplier",
    "op": "output_padding",
}
_WORDS = {
    "same": ("padding", "same"),
    "valid": ("padding", "valid"),
    "nobias": ("use_bias", False),
    "ceil": ("ceil_mode", True),
}
# ASCII digits, few enough that no number outgrows what Python prints or a float holds.
_SIZE = re.compile(r"([0-9]{1,12})(?:[x×]([0-9]{1,12}))?")
_NUMBERED_OPTION = re.compile(rf"(op|[sdpgm])({_SIZE.pattern})")
_COUNTS = ("filters", "units")
_TOTALS = ("parameters", "trainable", "macs")
_LONG = re.compile(r"\D*\d{13}")
_WIDTH = 72
_SHORTER = "Use numbers of at most 12 digits."
_LARGEST = 10**100


class NetworkError(ValueError):
    """A network that cannot be read or built; the message ends with a caret under the place."""

    def __init__(self, problem: str, text: str, start: int, end: int) -> None:
        super().__init__(f"{problem}\n{_excerpt(text, start, end)}")
        self.start, self.end = start, end


def parse(text: str) -> tuple[list, list[tuple[int, int]]]:
    """Return (layers, places): the layers of a network and the (start, end) of each in the text.

    Raises:
        NetworkError: a word that is not understood, with a caret under it.
        ValueError: no layer at all.

    >>> parse("conv 32 5x3 s2 p1; pool 2")[0][0].kernel_size
    (5, 3)
    >>> parse("conv 32 5x3; pol 2")
    Traceback (most recent call last):
    hw4.conv_shapes.text.NetworkError: layer 2 must be a known kind; got 'pol'. Did you mean pool?
      conv 32 5x3; pol 2
                   ^^^
    """
    layers, places = [], []
    for piece in re.finditer(r"[^;\n]+", text):
        words = [
            (word.group().lower(), piece.start() + word.start(), piece.start() + word.end())
            for word in re.finditer(r"\S+", piece.group())
        ]
        if words:
            layers.append(_layer(text, words, len(layers) + 1))
            places.append((words[0][1], words[-1][2]))
    if not layers:
        raise ValueError("NETWORK must have at least one layer; got none. Try 'conv 64 3x3 same'.")
    return layers, places


def _layer(text, words, position) -> object:
    """Return the layer of one piece of the text."""
    (kind, start, end), *rest = words

    def refuse(expectation, got, fix, start, end) -> NoReturn:
        problem = f"layer {position} {expectation}; got {got}. {fix}"
        raise NetworkError(problem, text, start, end)

    if kind not in _LAYERS:
        close = difflib.get_close_matches(kind[:20], _LAYERS, 1)
        fix = f"Did you mean {close[0]}?" if close else f"Use one of {', '.join(_LAYERS)}."
        refuse("must be a known kind", shown(kind), fix, start, end)
    cls, required = _LAYERS[kind]
    known, arguments = {field.name for field in fields(cls)}, {}
    for index, name in enumerate(required):
        # A missing number is shown one place after the last word.
        last = words[-1][2] + 1
        word, start, end = rest[index] if index < len(rest) else ("", last, last + 1)
        arguments[name] = _size(_SIZE.fullmatch(word))
        if arguments[name] is None:
            fix = f"Write {kind} {' '.join('64' if n in _COUNTS else '3x3' for n in required)}."
            fix = _SHORTER if _LONG.match(word) else fix
            got = shown(word) if word else "nothing"
            refuse(f"({kind}) must have its {name} here", got, fix, start, end)
    for word, start, end in rest[len(required) :]:
        name, value = _option(word)
        if name not in known:
            fix = f"It takes {', '.join(_usage(known - set(required))) or 'no options'}."
            fix = _SHORTER if _LONG.match(word) else fix
            refuse(f"({kind}) must have options it knows", shown(word), fix, start, end)
        if name in arguments:
            refuse(
                f"({kind}) must have one {name}", f"another, {shown(word)}", "Drop one.", start, end
            )
        arguments[name] = value
    return cls(**arguments)


def _size(match) -> int | tuple[int, int] | None:
    """Return 3 for "3", (3, 5) for "3x5", None for no match."""
    if match is None:
        return None
    height, width = match.groups()[-2:]
    return int(height) if width is None else (int(height), int(width))


def _option(word) -> tuple:
    """Return (field, value) of an option such as s2, same or nobias; (None, None) if unknown."""
    match = _NUMBERED_OPTION.fullmatch(word)
    return (_NUMBERED[match[1]], _size(match)) if match else _WORDS.get(word, (None, None))


def _usage(known) -> Iterator[str]:
    yield from (f"{letter}N" for letter, name in _NUMBERED.items() if name in known)
    yield from (word for word, (name, _) in _WORDS.items() if name in known)


def _excerpt(text, start, end) -> str:
    """Return the line of a place, shortened to fit a terminal, over carets that mark it."""
    first = text.rfind("\n", 0, start) + 1
    line = text[first:].partition("\n")[0].replace("\t", " ")
    start, end = start - first, min(end - first, max(len(line), start - first + 1))
    left = max(0, min(start - _WIDTH // 3, len(line) - _WIDTH))
    head = "… " if left else "  "
    tail = " …" if left + _WIDTH < len(line) else ""
    carets = "^" * max(1, min(end, left + _WIDTH) - start)
    return f"{head}{line[left : left + _WIDTH]}{tail}\n  {' ' * (start - left)}{carets}"


def parse_shape(text: str) -> tuple[int, ...]:
    """Return the input shape written as 256x256x3 or, for features, 784.

    Raises:
        ValueError: anything else, a size of 0 or of more than 12 digits included.

    >>> parse_shape("256x256x3"), parse_shape("784")
    ((256, 256, 3), (784,))
    """
    parts = re.split("[x×]", text.strip().lower(), maxsplit=3)
    sizes = [int(part) for part in parts if re.fullmatch("[0-9]{1,12}", part)]
    if len(parts) not in (1, 3) or len(sizes) < len(parts) or 0 in sizes:
        raise ValueError(
            f"--input must be HEIGHTxWIDTHxCHANNELS or FEATURES; got {shown(text)}. "
            "Write for instance 256x256x3."
        )
    return tuple(sizes)


def run(
    text: str,
    input_shape: str | tuple[int, ...],
    convention: str = "keras",
    as_json: bool = False,
) -> str:
    """Return what `hw4 shapes` prints: the table of a network, or its JSON.

    Args:
        text: the network, see the module's docstring.
        input_shape: a tuple, or text as in `--input`.
        convention: `keras` or `pytorch`.
        as_json: JSON instead of a table.

    Raises:
        NetworkError: a word or layer at fault, with a caret under it.
        ValueError: a bad shape or convention, or no layer.

    >>> print(run("conv 64 3x3 same; pool 2", "256x256x3"))
    #  layer             output shape  parameters  trainable         MACs  field  jump
    1  conv 64 3x3 same    256x256x64       1,792      1,792  113,246,208      3     1
    2  pool 2              128x128x64           0          0            0      4     2
       total                                1,792      1,792  113,246,208
    """
    shape = parse_shape(input_shape) if isinstance(input_shape, str) else input_shape
    layers, places = parse(text)
    try:
        rows = cs.trace(layers, shape, convention)
    except cs.ShapeError as error:
        if error.position is None:
            raise
        raise NetworkError(str(error), text, *places[error.position - 1]) from None
    for number, (row, place) in enumerate(zip(rows, places, strict=True), 1):
        if max(row.macs, row.parameters, *_terms(row.jump, row.receptive_field)) > _LARGEST:
            problem = f"layer {number} must keep its numbers to 100 digits; got more. Shorten."
            raise NetworkError(problem, text, *place)
    names = [" ".join(text[start:end].split()) for start, end in places]
    if as_json:
        return json.dumps(_as_json(names, rows, shape, convention), indent=1)
    return _table(names, rows)


def _as_json(names, rows, shape, convention) -> dict:
    """Return the table as plain values; a fractional jump becomes a float."""
    keys = ("output_shape", "parameters", "trainable", "macs", "receptive_field", "jump", "padding")
    layers = [
        {"layer": name, "kind": row.name} | {key: _plain(getattr(row, key)) for key in keys}
        for name, row in zip(names, rows, strict=True)
    ]
    totals = {key: sum(getattr(row, key) for row in rows) for key in _TOTALS}
    return {"input_shape": list(shape), "convention": convention, "layers": layers, **totals}


def _terms(*sizes) -> Iterator[int]:
    """Yield the whole numbers that sizes are written with."""
    for size in sizes:
        for axis in size if isinstance(size, tuple) else (size,):
            if axis is not None:
                yield from axis.as_integer_ratio()


def _plain(value) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, Fraction) else value


def _table(names, rows) -> str:
    """Return the rows as text: layers to the left, numbers to the right."""
    head = ("#", "layer", "output shape", "parameters", "trainable", "MACs", "field", "jump")
    lines = [head]
    for number, (name, row) in enumerate(zip(names, rows, strict=True), 1):
        counts = (f"{getattr(row, key):,}" for key in _TOTALS)
        sizes = (row.output_shape, row.receptive_field, row.jump)
        shape, field, jump = (
            "x".join(map(str, size if isinstance(size, tuple) else (size,))).replace("None", "?")
            for size in sizes
        )
        lines.append((str(number), name, shape, *counts, field, jump))
    totals = (f"{sum(getattr(row, key) for row in rows):,}" for key in _TOTALS)
    lines.append(("", "total", "", *totals, "", ""))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 1 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
