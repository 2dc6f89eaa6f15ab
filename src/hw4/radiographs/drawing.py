"""One drawn wrist: its anatomy, a fracture in it, and a view of it with pose and exposure.

Lengths are shares of the image's height, y points down from the elbow to the hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np

# Drawn at twice the size and averaged down, so that edges and the gap are not jagged.
_FINE = 2


@dataclass(frozen=True)
class Anatomy:
    """What all views of one wrist share; lengths as shares of the image's height."""

    forearm: np.ndarray
    axes: np.ndarray
    widths: np.ndarray
    ends: np.ndarray
    brightness: np.ndarray
    carpals: np.ndarray
    fracture: dict | None


def draw(wrist: list[int], view: int, fractured: bool, size: int = 224, mirrored: bool = False):
    """Draw one view of one wrist.

    Args:
        wrist: integers that seed its anatomy, the same for all its views.
        view: integer from 1 that seeds small changes of pose, and exposure, blur and noise.
        fractured: whether one bone is broken; nothing else depends on it.
        size: height and width in pixels.
        mirrored: a left wrist instead of a right one.

    Returns:
        Pixels (size, size) uint16, and the box of the fracture as shares of the image
        (centre x, centre y, width, height), None without a fracture.

    >>> pixels, box = draw([7, 1], view=1, fractured=True, size=64)
    >>> pixels.shape, pixels.dtype.name, len(box)
    ((64, 64), 'uint16', 4)
    """
    anatomy = _anatomy(np.random.default_rng(wrist), fractured)
    rng = np.random.default_rng([*wrist, view])
    pose = _pose(wrist, rng, mirrored)
    fine = size * _FINE
    canvas = np.zeros((fine, fine), np.float32)
    _fill(canvas, anatomy.forearm, pose, 0.24)
    for x, y, a, b, angle, value in anatomy.carpals:
        _fill(canvas, _ellipse(x, y, a, b, angle), pose, value)
    for bone in range(2):
        for outline, value in _bone(anatomy, bone):
            _fill(canvas, outline, pose, value)
    canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.7, 1.4) * fine / 448)
    canvas = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    exposed = rng.uniform(0.65, 1.15) * canvas ** rng.uniform(0.8, 1.25) + rng.uniform(0, 0.06)
    noisy = exposed + rng.normal(0, rng.uniform(0.006, 0.018), canvas.shape)
    pixels = np.rint(np.clip(noisy, 0, 1) * 65535).astype(np.uint16)
    return pixels, _box(anatomy, pose)


def _anatomy(rng: np.random.Generator, fractured: bool) -> Anatomy:
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
    fracture = {
        "bone": int(rng.integers(2)),
        "y": rng.uniform(0.38, 0.6),
        "slope": rng.uniform(0.1, 0.5) * rng.choice([-1, 1]),
        "gap": rng.uniform(0.008, 0.014),
        "shift": rng.uniform(0.006, 0.02) * rng.choice([-1, 1]),
        "bend": rng.uniform(0.03, 0.14) * rng.choice([-1, 1]),
    }
    forearm = np.concatenate([left, right])
    return Anatomy(
        forearm, axes, widths, ends, brightness, carpals, fracture if fractured else None
    )


def _bone(anatomy: Anatomy, bone: int):
    """Yield the outlines of one bone with their brightness: cortex first, marrow on top of it."""
    (x, tilt), (narrow, wide) = anatomy.axes[bone], anatomy.widths[bone]
    end, fracture = anatomy.ends[bone], anatomy.fracture
    y = np.linspace(-0.3, end, 60)
    half = narrow + (wide - narrow) * np.clip((y - end + 0.22) / 0.22, 0, 1) ** 2
    centre = x + tilt * y
    marrow, cortex = anatomy.brightness
    for inset, value in ((0.0, cortex), (0.016, marrow)):
        inner = half - inset
        stop = y <= end - inset
        outline = np.concatenate(
            [
                np.stack([centre - inner, y], 1)[stop],
                np.stack([centre + inner, y], 1)[stop][::-1],
            ]
        )
        if fracture is None or fracture["bone"] != bone:
            yield outline, value
            continue
        upper = _clipped(outline, fracture, x + tilt * fracture["y"], below=False)
        lower = _clipped(outline, fracture, x + tilt * fracture["y"], below=True)
        yield upper, value
        yield _displaced(lower, fracture, x + tilt * fracture["y"]), value


def _clipped(outline, fracture, x, below: bool):
    """Cut a polygon along the oblique fracture line and keep one side of it."""
    sign = 1 if below else -1
    line = fracture["y"] + fracture["slope"] * (outline[:, 0] - x) + sign * fracture["gap"] / 2
    depth = sign * (outline[:, 1] - line)
    kept = []
    for i, d in enumerate(depth):
        j = (i + 1) % len(outline)
        if d >= 0:
            kept.append(outline[i])
        if (d >= 0) != (depth[j] >= 0):
            kept.append(outline[i] + (outline[j] - outline[i]) * d / (d - depth[j]))
    return np.array(kept)


def _displaced(points, fracture, x):
    """Shift the distal part sideways and bend it about the fracture."""
    hinge = np.array([x, fracture["y"]])
    cos, sin = np.cos(fracture["bend"]), np.sin(fracture["bend"])
    turned = (points - hinge) @ np.array([[cos, sin], [-sin, cos]])
    return turned + hinge + [fracture["shift"], 0]


def _ellipse(x, y, a, b, angle):
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


def _fill(canvas, points, pose, value) -> None:
    pixels = _moved(points, pose) * len(canvas) * 16
    cv2.fillPoly(canvas, [np.rint(pixels).astype(np.int32)], float(value), shift=4)


def _moved(points, pose):
    return np.asarray(points) @ pose[:, :2].T + pose[:, 2]


def _box(anatomy: Anatomy, pose) -> tuple[float, float, float, float] | None:
    if anatomy.fracture is None:
        return None
    fracture = anatomy.fracture
    x, tilt = anatomy.axes[fracture["bone"]]
    half = anatomy.widths[fracture["bone"], 0] + 0.02
    reach = abs(fracture["slope"]) * half + 0.02
    centre = np.array([x + tilt * fracture["y"], fracture["y"]])
    spread = np.array([[-half, -reach], [half, reach], [-half, reach], [half, -reach]])
    corners = _moved(centre + spread, pose)
    low, high = np.clip(corners.min(0), 0, 1), np.clip(corners.max(0), 0, 1)
    return (*map(float, (low + high) / 2), *map(float, high - low))
