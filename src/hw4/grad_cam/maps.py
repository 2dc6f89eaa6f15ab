"""Grad-CAM heat maps (Selvaraju et al. 2017, arXiv:1610.02391), and how to draw them.

Maps are (n, h, w) at the resolution of the chosen layer; `normalise` brings them to [0, 1],
`upsample` to the size of the images, `superimpose` onto one image.
"""

import cv2
import keras
import numpy as np

from hw4.grad_cam.score_graph import opened

#: Names that `superimpose` takes, and OpenCV's codes for them.
COLORMAPS = {
    name.removeprefix("COLORMAP_").lower(): getattr(cv2, name)
    for name in sorted(dir(cv2))
    if name.startswith("COLORMAP_")
}


def grad_cam(
    model, images, class_index=None, layer=None, relu=True, batch_size=256, scores=None
) -> np.ndarray:
    """Return one raw Grad-CAM map per image: where the evidence for a class lies.

    map_ij = ReLU(sum_k a_k A_ijk) with a_k = (1/Z) sum_ij d score / d A_ijk, where A are the
    activations of `layer` at its Z = h * w positions and the score is read before the softmax,
    sigmoid or other activation of the head. The model runs in inference mode, one forward and
    one backward pass for a batch, and is not changed in any way.

    A head of one unit z counts as two classes: class 1 scores z, class 0 scores -z, here as in
    `deletion_insertion`. Where the graph does not show where a squashing end begins (a function
    of one's own, `exp(z) / sum`), the outputs are tested and the model is refused: the map of a
    probability looks like one of the score and is not.

    Args:
        model: functional or built Sequential classifier, one input, one (n, classes) output.
        images: (n, height, width, channels) numbers, scaled as the model expects them.
        class_index: None for the predicted class, an int, or one int per image (n,).
        layer: name or layer object with a 4-D output; None takes the last one that has weights
            and is no normalisation: a convolution of any kind (one whose map is 1x1, as in a
            convolutional head, only when there is no other). A warning names parallel branches.
        relu: keep positive evidence only. False also returns evidence against the class.
        batch_size: images per forward and backward pass; bounds memory, not the result.
        scores: None finds the score; a layer, its name or a tensor of the model, (n, classes),
            is differentiated exactly as it is instead.

    Returns:
        (n, h, w) float32, h and w those of the layer, not of the images.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: anything else that Grad-CAM cannot explain, with what was received.

    >>> model = keras.Sequential([keras.Input((2, 2, 1)),
    ...     keras.layers.Conv2D(1, 1, kernel_initializer="ones"),
    ...     keras.layers.GlobalAveragePooling2D(),
    ...     keras.layers.Dense(2, kernel_initializer="ones", activation="softmax")])
    >>> grad_cam(model, np.reshape([1.0, 2.0, 3.0, 4.0], (1, 2, 2, 1)), class_index=0)
    array([[[0.25, 0.5 ],
            [0.75, 1.  ]]], dtype=float32)
    """
    batch_size = integer("batch_size", batch_size, 1)
    graph = opened(model, scores)
    operation = graph.find(layer)
    images = _check_images(images, graph.input)
    classes = _check_classes(class_index, len(images), graph.classes)
    graph.check_squashed(images, classes)
    maps = graph.maps(images, classes, operation, batch_size)
    bad = np.flatnonzero(~np.isfinite(maps).all(axis=(1, 2)))
    if len(bad):
        raise ValueError(
            "model must give finite activations and gradients; got NaN or infinity for "
            f"{len(bad)} of {len(maps)} images, first {bad[0]}. Check weights and input scale."
        )
    return np.maximum(maps, 0) if relu else maps


def integer(name, value, low, high=None) -> int:
    """Return an integer, Python's or NumPy's, from `low` to `high` as an int.

    >>> integer("steps", np.int64(3), 1)
    3
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        wanted = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be an integer {wanted}; got {value!r:.80}. Correct it.")
    return int(value)


def plain(name, values) -> np.ndarray:
    """As `runtime.real`, which a leaf does not import, and from a tensor of any backend, too."""
    if keras.ops.is_tensor(values):
        values = keras.ops.convert_to_numpy(values)
    try:
        array = np.asarray(values)
    except ValueError:  # rows of unequal length
        array = np.empty(0, object)
    masked = isinstance(values, np.ma.MaskedArray)
    if masked or not (array.dtype.kind in "fiub" or array.dtype.name == "bfloat16"):
        kind = "a masked array" if masked else f"dtype {array.dtype}"
        raise ValueError(f"{name} must hold real numbers; got {kind}. Convert it.")
    return array


def _check_images(images, expected) -> np.ndarray:
    """Finite numbers in an array of the model's input shape (n, ...)."""
    images = plain("images", images)
    shape = tuple(expected.shape)
    wanted = "(n, " + ", ".join("any" if side is None else str(side) for side in shape[1:]) + ")"
    matches = images.ndim == len(shape) and all(
        side in (None, size) for side, size in zip(shape[1:], images.shape[1:], strict=True)
    )
    if not matches or not len(images):
        raise ValueError(
            f"images must have shape {wanted} with n at least 1; got {images.shape}. Use "
            "images[None] for a single image and images[..., None] for a missing channel axis."
        )
    if not np.isfinite(images).all():
        bad = np.flatnonzero(~np.isfinite(images).all(axis=tuple(range(1, images.ndim))))
        raise ValueError(
            f"images must be finite; got NaN or infinity in {len(bad)} of {len(images)} images, "
            f"first {bad[0]}. Remove or repair them."
        )
    if "int" in expected.dtype and images.dtype.kind not in "iu":
        raise ValueError(f"images must be integers for this model; got {images.dtype}.")
    return _cast(images, expected.dtype)


def _cast(images, dtype) -> np.ndarray:
    """Images in another dtype that holds them: 257 would be 1 in uint8, 1e5 infinite in float16."""
    kind = np.dtype("float32" if dtype == "bfloat16" else dtype)
    low, high = (0, 1) if kind.kind == "b" else _limits(kind)
    if images.min() < low or images.max() > high:
        raise ValueError(
            f"images must be from {low:.6g} to {high:.6g} for this model's {dtype}; got "
            f"{images.min():.6g} to {images.max():.6g}. Scale or clip them."
        )
    return images.astype(dtype)


def _limits(kind) -> tuple[float, float]:
    limits = np.iinfo(kind) if kind.kind in "iu" else np.finfo(kind)
    return limits.min, limits.max


def _check_classes(class_index, count, classes) -> np.ndarray | None:
    """None, or int32 class indices (count,)."""
    if class_index is None:
        return None
    chosen = np.asarray(class_index)
    if (
        isinstance(class_index, np.ma.MaskedArray)
        or chosen.dtype.kind not in "iu"
        or chosen.shape not in ((), (count,))
    ):
        raise ValueError(
            f"class_index must be None, an int, or one int for each of the {count} images; got "
            f"{class_index!r:.80} of shape {chosen.shape}."
        )
    bad = chosen[(chosen < 0) | (chosen >= classes)]
    if bad.size:
        raise ValueError(
            f"class_index must be from 0 to {classes - 1}, as the model has {classes} classes; "
            f"got {bad.flat[0]}."
        )
    return np.broadcast_to(chosen.astype("int32"), (count,))


def _check_maps(maps, name="maps") -> np.ndarray:
    """Finite float64 maps (n, h, w) or one map (h, w)."""
    maps = plain(name, maps)
    if maps.ndim not in (2, 3) or 0 in maps.shape:
        raise ValueError(
            f"{name} must be numbers of shape (n, h, w) or (h, w); got {maps.dtype} of shape "
            f"{maps.shape}."
        )
    if not np.isfinite(maps).all():
        raise ValueError(
            f"{name} must be finite; got {np.count_nonzero(~np.isfinite(maps))} values of NaN or "
            "infinity. Drawn, they would look like an innocent map."
        )
    return maps.astype("float64")


def normalise(maps) -> np.ndarray:
    """Scale each map to [0, 1]: max(map, 0) / max of the map, so that 0 stays "no evidence".

    Negative values, which `grad_cam(..., relu=False)` keeps, become 0. A map without positive
    values stays all zero, never NaN: ask `is_blank` which ones, as they say nothing when drawn.

    >>> normalise([[[1.0, 4.0], [-2.0, 2.0]], [[0.0, 0.0], [0.0, -1.0]]]).tolist()
    [[[0.25, 1.0], [0.0, 0.5]], [[0.0, 0.0], [0.0, 0.0]]]
    """
    maps = np.maximum(_check_maps(maps), 0)
    peak = maps.max(axis=(-2, -1), keepdims=True)
    return (maps / np.where(peak > 0, peak, 1)).astype("float32")


def is_blank(maps) -> np.ndarray | np.bool_:
    """Whether each map holds no positive value at all: bool (n,), or one bool for one map.

    >>> is_blank([[[1.0, 4.0]], [[0.0, -1.0]]]).tolist()
    [False, True]
    """
    return ~(_check_maps(maps) > 0).any(axis=(-2, -1))


def upsample(maps, size) -> np.ndarray:
    """Resize maps (n, h, w) or (h, w) bilinearly to `size` (height, width), float32.

    Half-pixel centres, edges repeated: position i of N takes the source at (i + 1/2) n/N - 1/2,
    the rule of cv2.INTER_LINEAR, without smoothing when it shrinks.

    >>> upsample([[0.0, 1.0]], (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    maps = _check_maps(maps)
    sides = np.asarray(size)
    if sides.shape != (2,) or sides.dtype.kind not in "iu" or (sides < 1).any():
        raise ValueError(f"size must be (height, width), two positive integers; got {size!r}.")
    rows, columns = (
        _bilinear(old, new) for old, new in zip(maps.shape[-2:], sides.tolist(), strict=True)
    )
    return (rows @ maps @ columns.T).astype("float32")


def _bilinear(old, new) -> np.ndarray:
    """Weights (new, old) of linear interpolation along one axis; each row sums to 1."""
    where = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    return np.maximum(0, 1 - np.abs(where[:, None] - np.arange(old)))


def superimpose(image, heatmap, alpha=0.4, colormap="jet") -> np.ndarray:
    """Blend one heat map over one image: (1 - alpha) * image + alpha * colour, uint8 RGB.

    Args:
        image: (h, w), (h, w, 1) or RGB (h, w, 3); floats from 0 to 1, or uint8.
        heatmap: 2-D, from 0 to 1 (see `normalise`); resized to the image with `upsample`.
        alpha: share of the colours, from 0 to 1.
        colormap: a key of `COLORMAPS`. With "jet" hot is red and cold is blue.

    Returns:
        (h, w, 3) uint8, red first (OpenCV's own colour maps are blue first).

    Raises:
        ValueError: NaN, values out of range, wrong shape or dtype, unknown colour map.

    >>> superimpose([[1.0, 0.0]], [[0.0, 1.0]], alpha=1.0).tolist()
    [[[0, 0, 128], [128, 0, 0]]]
    """
    if colormap not in COLORMAPS:
        raise ValueError(f"colormap must be one of {', '.join(COLORMAPS)}; got {colormap!r}.")
    if isinstance(alpha, bool) or not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 to 1; got {alpha!r}.")
    image = _rgb(image)
    heatmap = _check_maps(heatmap, "heatmap")
    if heatmap.ndim != 2:
        raise ValueError(f"heatmap must be 2-D, one map; got shape {heatmap.shape}. Use maps[i].")
    heatmap = upsample(
        _unit(heatmap, "heatmap", "Pass it through normalise first."), image.shape[:2]
    )
    levels = np.rint(255 * heatmap).astype("uint8")
    colours = cv2.applyColorMap(levels, COLORMAPS[colormap])[..., ::-1]
    return np.rint((1 - alpha) * image + alpha * colours).astype("uint8")


def _unit(values, name, advice) -> np.ndarray:
    """Values in [0, 1], those out of it by no more than rounding (1e-6) clipped."""
    if values.min() < -1e-6 or values.max() > 1 + 1e-6:
        raise ValueError(
            f"{name} must be from 0 to 1; got {values.min():g} to {values.max():g}. {advice}"
        )
    return np.clip(values, 0, 1)


def _rgb(image) -> np.ndarray:
    """One image as float64 (h, w, 3) from 0 to 255."""
    image = np.asarray(image)
    grey = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1)
    if not (grey or (image.ndim == 3 and image.shape[2] == 3)) or 0 in image.shape:
        raise ValueError(
            f"image must have shape (h, w), (h, w, 1) or (h, w, 3); got {image.shape}."
        )
    if image.dtype.kind != "f" and image.dtype != np.uint8:
        raise ValueError(
            f"image must be floats from 0 to 1 or uint8; got dtype {image.dtype}. Convert it."
        )
    pixels = image.reshape(*image.shape[:2], -1).astype("float64")
    if not np.isfinite(pixels).all():
        raise ValueError("image must be finite; got NaN or infinity. Remove or repair it.")
    if image.dtype != np.uint8:
        pixels = 255 * _unit(pixels, "image", "Divide by 255, or pass uint8.")
    return np.repeat(pixels, 3, axis=2) if grey else pixels
