"""Which input positions an output position sees, along one axis, exactly.

A chain of convolutions and poolings has one period: its outputs see windows of equal width, a
constant jump apart. A transposed convolution breaks that (with stride 2 even and odd outputs see
different windows), so a Field keeps the window of each output of one period.
Source: Araujo, Norris and Sim 2019, "Computing Receptive Fields of CNNs", distill.00021.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import NamedTuple


class Window(NamedTuple):
    """A kernel of ``kernel`` taps, ``dilation`` apart, with ``before`` zeros in front of the input.

    Output o of a convolution reads the inputs o * stride - before + t * dilation; a transposed one
    writes input i to the outputs i * stride - before + t * dilation; t = 0 .. kernel - 1.
    """

    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    transposed: bool = False


@dataclass(frozen=True)
class Field:
    """The window of every output position; positions in the zero padding count.

    ``spans[r]`` is the (first, last) input seen by output r, None if it sees none. Output
    ``r + len(spans)`` sees the same, ``step`` further on.

    >>> field = Field().through(Window(3, before=1)).through(Window(2, 2))
    >>> field.receptive_field, field.jump, field.padding
    (4, 2, 1)
    """

    step: int = 1
    spans: tuple[tuple[int, int] | None, ...] = ((0, 0),)

    @property
    def receptive_field(self):
        """Width of the widest window in input pixels; 0 if all outputs fall between the inputs."""
        return max((last - first + 1 for first, last in filter(None, self.spans)), default=0)

    @property
    def jump(self):
        """Distance in input pixels between neighbouring outputs: an int, or a Fraction."""
        jump = Fraction(self.step, len(self.spans))
        return jump.numerator if jump.denominator == 1 else jump

    @property
    def padding(self):
        """How far the first window reaches before the input's first pixel."""
        return -min((first for first, _ in filter(None, self.spans)), default=0)

    def at(self, output):
        """Return the (first, last) input seen by one output, None if it sees none."""
        laps, rest = divmod(output, len(self.spans))
        span = self.spans[rest]
        return span and (span[0] + laps * self.step, span[1] + laps * self.step)

    def through(self, window):
        """Return the Field after one more layer."""
        kernel, stride, dilation, before, transposed = window
        period = len(self.spans)
        if transposed:
            spans = (
                [
                    self.at((output + before - t * dilation) // stride)
                    for t in range(kernel)
                    if (output + before - t * dilation) % stride == 0
                ]
                for output in range(period * stride)
            )
            return Field(self.step, tuple(map(_hull, spans)))
        # With one period the windows move in order, so the outer taps decide.
        taps = range(kernel) if period > 1 else {0, kernel - 1}
        common = gcd(period, stride)
        spans = (
            [self.at(output * stride - before + t * dilation) for t in taps]
            for output in range(period // common)
        )
        return Field(self.step * stride // common, tuple(map(_hull, spans)))

    def merged(self, other):
        """Return the Field of a layer that reads this one and another with the same jump."""
        period = lcm(len(self.spans), len(other.spans))
        spans = tuple(_hull([self.at(o), other.at(o)]) for o in range(period))
        return Field(self.step * period // len(self.spans), spans)


def _hull(spans):
    seen = list(filter(None, spans))
    return (min(first for first, _ in seen), max(last for _, last in seen)) if seen else None
