"""Which input positions an output position sees, along one axis, exactly.

The outputs of a chain of convolutions and poolings see windows of equal width, a constant jump
apart. A transposed convolution breaks that: with stride 2 even and odd outputs see different
windows. Where its kernel leaves no gaps the first and last input are still one formula (`Field`),
however long the period is; else the windows of one period are listed (`Scattered`).
Source: Araujo, Norris and Sim 2019, "Computing Receptive Fields of CNNs", distill.00021.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import NamedTuple

Span = tuple[int, int]
# Windows that are listed one by one; a network that has more of them gets None for its field.
MOST_WINDOWS = 100_000


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

    @property
    def reach(self) -> int:
        """Distance from the first tap to the last."""
        return (self.kernel - 1) * self.dilation


@dataclass(frozen=True)
class Field:
    """The window of every output position as a formula; positions in the zero padding count.

    Output o sees the inputs from scale * floor((rise * o + a) / run) + b, (a, b) being ``first``,
    to the same with ``last``; rise / run is in lowest terms and 0 <= b < scale.

    >>> field = Field().through(Window(3, before=1)).through(Window(2, 2))
    >>> field.receptive_field, field.jump, field.padding
    (4, 2, 1)
    """

    scale: int = 1
    rise: int = 1
    run: int = 1
    first: Span = (0, 0)
    last: Span = (0, 0)

    @property
    def receptive_field(self) -> int:
        """Width of the widest window in input pixels."""
        # (rise * o + a) mod run takes every value, so that the floors differ by the ceiling.
        floors = -((self.first[0] - self.last[0]) // self.run)
        return self.scale * floors + self.last[1] - self.first[1] + 1

    @property
    def jump(self) -> int | Fraction:
        """Distance in input pixels between neighbouring outputs: an int, or a Fraction."""
        return _whole(self.scale * self.rise, self.run)

    @property
    def padding(self) -> int:
        """How far the first window reaches before the input's first pixel."""
        return -self.at(0)[0]

    def at(self, output: int) -> Span:
        """Return the (first, last) input seen by one output."""
        first, last = (
            self.scale * ((self.rise * output + a) // self.run) + b
            for a, b in (self.first, self.last)
        )
        return first, last

    def through(self, window: Window) -> "Field | Scattered":
        """Return the field after one more layer."""
        stride, before, reach = window.stride, window.before, window.reach
        if not window.transposed:
            return self._composed(stride, 1, -before, reach - before)
        gapless = stride == 1 or (window.dilation == 1 and window.kernel >= stride)
        if self.rise > 1 or not gapless:
            return self._scattered().through(window)
        return self._composed(1, stride, before - reach + stride - 1, before)

    def merged(self, other: "Field | Scattered") -> "Field | Scattered":
        """Return the field of a layer that reads this one and another with the same jump."""
        if isinstance(other, Field) and self._parallel(other):
            first = min(self.first, other.first, key=self._shift)
            last = max(self.last, other.last, key=self._shift)
            return Field(self.scale, self.rise, self.run, first, last)
        return self._scattered().merged(other)

    def _shift(self, end: Span) -> int:
        """Order the ends of parallel fields: what they see grows with this number."""
        return self.scale * end[0] + end[1]

    def _parallel(self, other: "Field") -> bool:
        same = (self.scale, self.rise, self.run) == (other.scale, other.rise, other.run)
        ends = (self.first[1], self.last[1]) == (other.first[1], other.last[1])
        return same and (ends or self.run == 1)

    def _composed(self, rise: int, run: int, first: int, last: int) -> "Field":
        """Return this field of the positions floor((rise * o + first or last) / run).

        Nested floors are one: floor((floor(x / run) + a) / n) = floor((x + a * run) / (n * run)).
        """
        rise, run, mine = self.rise * rise, self.run * run, self.rise
        common = gcd(rise, run)

        def end(old: Span, shift: int) -> Span:
            a = (mine * shift + old[0] * (run // self.run)) // common
            # whole steps of the scale move into the floor, so that equal fields look equal
            return a + run // common * (old[1] // self.scale), old[1] % self.scale

        ends = end(self.first, first), end(self.last, last)
        if run == common:
            scale = self.scale * (rise // common)
            ends = tuple(divmod(self.scale * a + b, scale) for a, b in ends)
            return Field(scale, 1, 1, *ends)
        return Field(self.scale, rise // common, run // common, *ends)

    def _scattered(self) -> "Scattered":
        listed = self.run <= MOST_WINDOWS
        spans = {output: self.at(output) for output in range(self.run)} if listed else None
        return Scattered(self.scale * self.rise, self.run, spans)


@dataclass(frozen=True)
class Scattered:
    """The window of every output of one period; an output without one falls between the inputs.

    ``spans[r]`` is the (first, last) input seen by output r; output ``r + period`` sees the same,
    ``step`` further on. ``spans`` is None where there are too many to list.
    """

    step: int
    period: int
    spans: dict[int, Span] | None

    @property
    def receptive_field(self) -> int | None:
        """Width of the widest window in input pixels; 0 if all outputs fall between the inputs."""
        if self.spans is None:
            return None
        return max((last - first + 1 for first, last in self.spans.values()), default=0)

    @property
    def jump(self) -> int | Fraction:
        """Distance in input pixels between neighbouring outputs: an int, or a Fraction."""
        return _whole(self.step, self.period)

    @property
    def padding(self) -> int | None:
        """How far the first window reaches before the input's first pixel."""
        if self.spans is None:
            return None
        return -min((first for first, _ in self.spans.values()), default=0)

    def at(self, output: int) -> Span | None:
        """Return the (first, last) input seen by one output, None if it sees none."""
        laps, rest = divmod(output, self.period)
        span = self.spans.get(rest)
        return span and _moved(span, laps * self.step)

    def through(self, window: Window) -> "Scattered":
        """Return the field after one more layer, each listed window seen through each tap."""
        stride = window.stride
        common = self.period if window.transposed else gcd(self.period, stride)
        if window.transposed:
            step, period = self.step, self.period * stride
        else:
            step, period = self.step * (stride // common), self.period // common
        if self.spans is None or len(self.spans) * window.kernel > MOST_WINDOWS:
            return Scattered(step, period, None)
        inverse = None if window.transposed else pow(stride // common, -1, period)
        found: dict[int, list[Span]] = {}
        for tap in range(window.kernel):
            shift = tap * window.dilation - window.before
            for position, span in self.spans.items():
                if window.transposed:
                    laps, output = divmod(position * stride + shift, period)
                    found.setdefault(output, []).append(_moved(span, -laps * step))
                elif (position - shift) % common == 0:
                    output = (position - shift) // common * inverse % period
                    laps = (output * stride + shift - position) // self.period
                    found.setdefault(output, []).append(_moved(span, laps * self.step))
        return Scattered(step, period, {output: _hull(spans) for output, spans in found.items()})

    def merged(self, other: "Field | Scattered") -> "Scattered":
        """Return the field of a layer that reads this one and another with the same jump."""
        other = other._scattered() if isinstance(other, Field) else other
        period = lcm(self.period, other.period)
        step = self.step * (period // self.period)
        if self.spans is None or other.spans is None or period > MOST_WINDOWS:
            return Scattered(step, period, None)
        both = {o: [s for s in (self.at(o), other.at(o)) if s] for o in range(period)}
        return Scattered(step, period, {o: _hull(spans) for o, spans in both.items() if spans})


def _whole(numerator: int, denominator: int) -> int | Fraction:
    ratio = Fraction(numerator, denominator)
    return ratio.numerator if ratio.denominator == 1 else ratio


def _moved(span: Span, by: int) -> Span:
    return span[0] + by, span[1] + by


def _hull(spans: Iterable[Span]) -> Span:
    firsts, lasts = zip(*spans, strict=True)
    return min(firsts), max(lasts)
