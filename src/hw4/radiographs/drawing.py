"""One drawn wrist: its anatomy, a fracture in it, and a view of it with pose and exposure.

Lengths are shares of the image's height, y points down from the elbow to the hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

# Drawn on at least this many rows and averaged down, so that a gap of a fraction of a pixel dims
# its pixels by that fraction instead of being there or not.
_FINEST_ROWS = 768
# Blurred at this multiple of the size, where a blur of a fraction of a pixel is still one.
_BLURRED = 2


@dataclass(frozen=True)
class Fracture:
    """A fracture as one image shows it.

    `gap` is the opening along the bone, at the bone's axis, and `shift` how far the distal part
    has slid sideways, both as shares of the image's height; `bend` is its angle in radians. `box`
    is the frame around it, (centre x, centre y, width, height) as shares of the image.
    """

    gap: float
    shift: float
    bend: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class _Break:
    """A fracture in the wrist's own frame, before its pose; `shift` and `bend` have a sign."""

    bone: int
    y: float
    slope: float
    gap: float
    shift: float
    bend: float


@dataclass(frozen=True)
class _Anatomy:
    """What all views of one wrist share; lengths as shares of the image's height."""

    forearm: np.ndarray
    axes: np.ndarray
    widths: np.ndarray
    ends: np.ndarray
    brightness: np.ndarray
    carpals: np.ndarray
    fracture: _Break | None

    @property
    def hinge(self) -> np.ndarray:
        """Where the fracture line crosses the axis of its bone, (x, y)."""
        x, tilt = self.axes[self.fracture.bone]
        return np.array([x + tilt * self.fracture.y, self.fracture.y])


def draw(
    wrist: list[int],
    view: int,
    fractured: bool,
    size: int = 224,
    mirrored: bool = False,
    finest: float = 1.0,
) -> tuple[np.ndarray, Fracture | None]:
    """Draw one view of one wrist.

    Args:
        wrist: integers that seed its anatomy, the same for all its views.
        view: integer from 1 that seeds small changes of pose, and exposure, blur and noise.
        fractured: whether one bone is broken; nothing else depends on it.
        size: height and width in pixels.
        mirrored: a left wrist instead of a right one.
        finest: gap, shift and bend are multiplied by one number between this and 1, drawn
            log-uniformly for the wrist.

    Returns:
        Pixels (size, size) uint16, and the fracture, None without one.

    >>> pixels, fracture = draw([7, 1], view=1, fractured=True, size=64)
    >>> pixels.shape, pixels.dtype.name, 0.007 < fracture.gap < 0.015
    ((64, 64), 'uint16', True)
    """
    anatomy = _anatomy(np.random.default_rng(wrist), fractured, finest)
    rng = np.random.default_rng([*wrist, view])
    pose = _pose(wrist, rng, mirrored)
    light = _light(anatomy, pose, size, rng.uniform(0.7, 1.4))
    exposed = rng.uniform(0.65, 1.15) * light ** rng.uniform(0.8, 1.25) + rng.uniform(0, 0.06)
    noisy = exposed + rng.normal(0, rng.uniform(0.006, 0.018), light.shape)
    pixels = np.rint(np.clip(noisy, 0, 1) * 65535).astype(np.uint16)
    return pixels, _seen(anatomy, pose)


def _light(anatomy: _Anatomy, pose, size: int, blur: float) -> np.ndarray:
    """Return what reaches the plate, (size, size) in 0..1, blurred by `blur` rows of 448."""
    fine = size * max(_BLURRED, -(-_FINEST_ROWS // size))
    canvas = np.zeros((fine, fine), np.float32)
    _fill(canvas, anatomy.forearm, pose, 0.24)
    for x, y, a, b, angle, value in anatomy.carpals:
        _fill(canvas, _ellipse(x, y, a, b, angle), pose, value)
    for bone in range(2):
        for outline, value in _bone(anatomy, bone):
            for placed, sign in _parts(anatomy, bone, pose):
                _fill(canvas, outline, placed, value, sign, anatomy)
    larger = _BLURRED * size
    canvas = cv2.resize(canvas, (larger, larger), interpolation=cv2.INTER_AREA)
    canvas = cv2.GaussianBlur(canvas, (0, 0), blur * larger / 448)
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)


def _anatomy(rng: np.random.Generator, fractured: bool, finest: float) -> _Anatomy:
    centre, half = rng.uniform(0.46, 0.54), rng.uniform(0.24, 0.32)
    waist = rng.uniform(0.86, 1.0)
    sides = np.array([[-1.2, 1.0], [0.5, waist], [0.8, 0.95], [1.3, rng.uniform(0.9, 1.1)]])
    left = np.stack([centre - half * sides[:, 1], sides[:, 0]], 1)
    right = np.stack([centre + half * sides[:, 1], sides[:, 0]], 1)[::-1]
    apart = half * rng.uniform(0.42, 0.5)
    tilt = rng.uniform(-0.03, 0.03, 2)
    axes = np.array([[centre - apart, tilt[0]], [centre + apart, tilt[1]]])
    widths = np.stack([rng.uniform(0.05, 0.068, 2), rng.uniform(0.075, 0.1, 2)], 1)
    ends = rng.uniform(0.66, 0.71) + rng.uniform(-0.015, 0.015, 2)
    brightness = np.array([rng.uniform(0.5, 0.6), rng.uniform(0.72, 0.86)])
    count = rng.integers(6, 9)
    carpals = np.stack(
        [
            centre + rng.uniform(-0.75, 0.75, count) * half,
            rng.uniform(0.78, 0.92, count),
            rng.uniform(0.03, 0.05, count),
            rng.uniform(0.025, 0.04, count),
            rng.uniform(0, np.pi, count),
            rng.uniform(0.5, 0.68, count),
        ],
        1,
    )
    # Drawn for everyone, so that the rest of the anatomy does not depend on the label.
    bone, y = int(rng.integers(2)), rng.uniform(0.38, 0.6)
    slope = rng.uniform(0.1, 0.5) * rng.choice([-1, 1])
    gap = rng.uniform(0.008, 0.014)
    shift = rng.uniform(0.006, 0.02) * rng.choice([-1, 1])
    bend = rng.uniform(0.03, 0.14) * rng.choice([-1, 1])
    part = finest ** rng.uniform()
    fracture = _Break(bone, y, slope, part * gap, part * shift, part * bend)
    forearm = np.concatenate([left, right])
    return _Anatomy(
        forearm, axes, widths, ends, brightness, carpals, fracture if fractured else None
    )


def _bone(anatomy: _Anatomy, bone: int) -> Iterator[tuple[np.ndarray, float]]:
    """Yield the outlines of one bone with their brightness: cortex first, marrow on top of it."""
    (x, tilt), (narrow, wide) = anatomy.axes[bone], anatomy.widths[bone]
    end = anatomy.ends[bone]
    y = np.linspace(-0.3, end, 60)
    half = narrow + (wide - narrow) * np.clip((y - end + 0.22) / 0.22, 0, 1) ** 2
    centre = x + tilt * y
    marrow, cortex = anatomy.brightness
    for inset, value in ((0.0, cortex), (0.016, marrow)):
        inner = half - inset
        stop = y <= end - inset
        sides = [np.stack([centre + side * inner, y], 1)[stop] for side in (-1, 1)]
        yield np.concatenate([sides[0], sides[1][::-1]]), value


def _ellipse(x, y, a, b, angle) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    across, along = a * np.cos(t), b * np.sin(t)
    return np.stack([x + across * cos - along * sin, y + across * sin + along * cos], 1)


def _pose(wrist, view: np.random.Generator, mirrored: bool) -> np.ndarray:
    """Draw the map (2, 3) of one view: rotation, scale and shift about the image's centre.

    Most of it belongs to the wrist, as the views of one patient are taken alike.
    """
    rng = np.random.default_rng([*wrist, 0])
    angle = rng.normal(0, 0.045) + view.normal(0, 0.012)
    scale = rng.uniform(0.94, 1.06) * view.uniform(0.99, 1.01)
    shift = rng.normal(0, 0.02, 2) + view.normal(0, 0.006, 2)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    return np.column_stack([linear, [0.5, 0.5] - linear @ [0.5, 0.5] + shift])


def _parts(anatomy: _Anatomy, bone: int, pose) -> list[tuple[np.ndarray, int]]:
    """Return where each part of a bone lies, and its side of the fracture: -1 above, 1 below."""
    fracture = anatomy.fracture
    if fracture is None or fracture.bone != bone:
        return [(pose, 0)]
    return [(pose, -1), (_composed(pose, _displacement(fracture, anatomy.hinge)), 1)]


def _fill(canvas, points, placed, value, sign: int = 0, anatomy: _Anatomy | None = None) -> None:
    """Paint a polygon, or what lies on one side of the fracture line of it.

    Its outline is smoothed, so that a shift by a fraction of a pixel shows; the fracture's edge is
    taken from each pixel's own distance, as fillPoly widens what it fills and closes hairlines.
    """
    pixels = _moved(points, placed) * len(canvas)
    low = np.clip(np.floor(pixels.min(0)).astype(int) - 1, 0, len(canvas))
    high = np.clip(np.ceil(pixels.max(0)).astype(int) + 2, 0, len(canvas))
    if (low >= high).any():
        return
    cover = np.zeros((high - low)[::-1], np.uint8)
    inside = np.rint((pixels - low) * 16).astype(np.int32)
    cv2.fillPoly(cover, [inside], 255, lineType=cv2.LINE_AA, shift=4)
    share = cover.astype(np.float32) / 255
    if sign:
        share *= (
            sign * _distance(anatomy, placed, low, high, len(canvas)) >= anatomy.fracture.gap / 2
        )
    window = canvas[low[1] : high[1], low[0] : high[0]]
    window += share * (value - window)


def _distance(anatomy: _Anatomy, placed, low, high, fine: int) -> np.ndarray:
    """Return how far below the fracture line, along the bone, each pixel of a window lies.

    It is (y - hinge y) - slope * (x - hinge x) in the wrist's own frame, linear in the pixel's
    place in the image.
    """
    normal, back = np.array([-anatomy.fracture.slope, 1]), np.linalg.inv(placed[:, :2])
    across, down = normal @ back
    start = normal @ (-back @ placed[:, 2] - anatomy.hinge)
    x, y = (np.arange(low[k], high[k], dtype=np.float32) / fine for k in (0, 1))
    return (down * y + start)[:, None].astype(np.float32) + np.float32(across) * x


def _displacement(fracture: _Break, hinge) -> np.ndarray:
    """Return the map (2, 3) of the distal part: bent about the hinge, slid along the line.

    Sliding along the line leaves the gap as wide as it is.
    """
    cos, sin = np.cos(fracture.bend), np.sin(fracture.bend)
    linear = np.array([[cos, -sin], [sin, cos]])
    slid = fracture.shift * np.array([1, fracture.slope])
    return np.column_stack([linear, hinge - linear @ hinge + slid])


def _composed(after, before) -> np.ndarray:
    """Return the map (2, 3) that does `before` and then `after`."""
    return after[:, :2] @ before + np.column_stack([np.zeros((2, 2)), after[:, 2]])


def _moved(points, pose) -> np.ndarray:
    return np.asarray(points) @ pose[:, :2].T + pose[:, 2]


def _seen(anatomy: _Anatomy, pose) -> Fracture | None:
    fracture = anatomy.fracture
    if fracture is None:
        return None
    half = anatomy.widths[fracture.bone, 0] + 0.02
    reach = abs(fracture.slope) * half + 0.02
    spread = np.array([[-half, -reach], [half, reach], [-half, reach], [half, -reach]])
    corners = _moved(anatomy.hinge + spread, pose)
    low, high = np.clip(corners.min(0), 0, 1), np.clip(corners.max(0), 0, 1)
    scale = float(np.hypot(*pose[:, 1]))
    return Fracture(
        scale * fracture.gap,
        scale * abs(fracture.shift),
        abs(fracture.bend),
        (*map(float, (low + high) / 2), *map(float, high - low)),
    )
