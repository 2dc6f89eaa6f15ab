"""Does a heat map tell the truth about the model? Three measurements that need no opinion.

Deletion and insertion curves (Petsiuk et al. 2018, arXiv:1806.07421), whose areas one number an
image can be compared in pairs with those of uninformed maps; and parameter randomisation (Adebayo
et al. 2018, arXiv:1810.03292): a map that survives the loss of the weights explains none of them.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
from scipy.stats import rankdata

from hw4.grad_cam.maps import integer, plain


@dataclass(frozen=True)
class Curves:
    """Class probability as pixels go (`deletion`) or come (`insertion`), most important first.

    `fractions` (steps + 1,) is the share of pixels changed; the curves are (n, steps + 1); the
    areas under them (n,), by the trapezoid rule. Faithful: low deletion, high insertion area.
    """

    fractions: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def deletion_area(self) -> np.ndarray:
        """Area under each deletion curve, (n,): lower is better."""
        return np.trapezoid(self.deletion, self.fractions, axis=1)

    @property
    def insertion_area(self) -> np.ndarray:
        """Area under each insertion curve, (n,): higher is better."""
        return np.trapezoid(self.insertion, self.fractions, axis=1)


def deletion_insertion(
    predict, images, maps, class_index, steps=28, baseline=0.0, seed=0, among=None
) -> Curves:
    """Measure how fast a class appears and disappears in the order that the maps give.

    Step k replaces the round(k * pixels / steps) most important pixels of every image by
    `baseline` (deletion), or starts from `baseline` and puts those pixels in (insertion). All
    channels of a pixel go together. Equal values, such as the many zeros that Grad-CAM's ReLU
    leaves, are ordered at random, because array order would favour the top left corner.

    On MNIST the baseline 0 is the background: deleting background changes nothing there, and a
    map that puts the ink first wins whatever it knows of the digit. `among=images[..., 0] > 0`
    changes inked pixels only, the same number of them at every step whatever the map.

    Args:
        predict: callable, images (n, ...) to class probabilities (n, classes). One column p
            counts as two classes, as in `grad_cam`: p is that of class 1, 1 - p that of class 0.
        images: (n, h, w, channels) or (n, h, w) numbers.
        maps: (n, h, w), larger is more important (see `grad_cam.upsample`).
        class_index: int, or one int per image (n,): the class whose probability is followed.
        steps: number of steps from the first curve point to the last, at most h * w.
        baseline: number or array that broadcasts to the images, such as blurred images.
        seed: int for the order of equal values.
        among: booleans (n, h, w), at least one true an image: only these pixels are changed, and
            step k changes round(k * their number / steps) of them. None: all pixels.

    Raises:
        ValueError: shapes that do not match, NaN, or predictions that are no probabilities.

    >>> left = lambda images: np.stack([1 - images[:, 0, 0], images[:, 0, 0]], axis=1)
    >>> curves = deletion_insertion(left, [[[1.0, 1.0]]], [[[0.9, 0.1]]], class_index=1, steps=2)
    >>> curves.deletion.tolist(), curves.insertion.tolist(), curves.deletion_area.tolist()
    ([[1.0, 0.0, 0.0]], [[0.0, 1.0, 1.0]], [0.25])
    """
    images, maps, classes = _check_inputs(images, maps, class_index)
    pixels = maps[0].size
    steps = integer("steps", steps, 1, pixels)
    empty = np.asarray(baseline, dtype=images.dtype)
    if not np.isfinite(empty).all():
        raise ValueError("baseline must be finite; got NaN or infinity.")
    try:
        empty = np.broadcast_to(empty, images.shape)
    except ValueError:
        raise ValueError(
            f"baseline must broadcast to the images of shape {images.shape}; got {empty.shape}."
        ) from None
    among = _check_among(among, maps)
    # The pixels that may change come first, in the order of their map.
    ranks = np.where(among, _ranks(maps, seed, among), pixels)
    shape = maps.shape + (1,) * (images.ndim - 3)
    ranks, among = ranks.reshape(shape), among.reshape(shape)
    sizes = among.sum(axis=(1, 2), keepdims=True)
    whole = _probability(predict, images, classes)
    nothing = _probability(predict, np.where(among, empty, images), classes)
    deletion, insertion = [whole], [nothing]
    for step in range(1, steps):
        first = ranks < np.rint(step * sizes / steps)
        deletion.append(_probability(predict, np.where(first, empty, images), classes))
        rest = among & ~first
        insertion.append(_probability(predict, np.where(rest, empty, images), classes))
    counts = np.rint(np.arange(steps + 1) * pixels / steps)
    return Curves(
        counts / pixels if among.all() else np.arange(steps + 1) / steps,
        np.stack([*deletion, nothing], axis=1),
        np.stack([*insertion, whole], axis=1),
    )


def _check_among(among, maps) -> np.ndarray:
    """Booleans (n, h, w), all true when None is given."""
    among = np.ones(maps.shape, bool) if among is None else np.asarray(among)
    if among.dtype != bool or among.shape != maps.shape or not among.any(axis=(1, 2)).all():
        raise ValueError(
            f"among must be booleans {maps.shape}, some true for every image; got {among.dtype} of "
            f"shape {among.shape}. Leave it out to change all pixels."
        )
    return among


def _check_inputs(images, maps, class_index) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Float images, maps and int classes (n,) that belong together."""
    images, maps, classes = plain("images", images), plain("maps", maps), np.asarray(class_index)
    images = images if images.dtype.kind == "f" else images.astype("float32")
    if images.ndim not in (3, 4) or maps.shape != images.shape[:3] or not images.size:
        raise ValueError(
            "maps must be (n, h, w) for images (n, h, w, channels) or (n, h, w), n at least 1; "
            f"got maps {maps.shape} and images {images.shape}. Bring maps to size with upsample."
        )
    for name, values in (("images", images), ("maps", maps)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite; got NaN or infinity. Remove or repair them.")
    if classes.dtype.kind not in "iu" or classes.shape not in ((), (len(images),)):
        raise ValueError(
            f"class_index must be an int or one int for each of the {len(images)} images; got "
            f"{classes.dtype} of shape {classes.shape}."
        )
    return images, maps, np.broadcast_to(classes, len(images))


def _ranks(maps, seed, among) -> np.ndarray:
    """Position of every pixel in decreasing order of its map, (n, h, w), ties at random.

    Those among the pixels to change come before all others.
    """
    flat = maps.reshape(len(maps), -1)
    shuffled = np.random.default_rng(seed).permuted(
        np.tile(np.arange(flat.shape[1]), (len(flat), 1)), axis=1
    )
    values = np.take_along_axis(flat, shuffled, axis=1)
    chosen = np.take_along_axis(among.reshape(flat.shape), shuffled, axis=1)
    # Ascending and then reversed: negating would break unsigned integers and booleans.
    order = np.take_along_axis(shuffled, np.lexsort((values, chosen))[:, ::-1], axis=1)
    return np.argsort(order, axis=1).reshape(maps.shape)


def _probability(predict, images, classes) -> np.ndarray:
    """Probability of each image's class, (n,) float64."""
    table = plain("predict", predict(images)).astype("float64")
    if table.ndim != 2 or len(table) != len(images):
        raise ValueError(
            f"predict must return ({len(images)}, classes) probabilities; got shape {table.shape}."
        )
    if table.shape[1] == 1:
        table = np.concatenate([1 - table, table], axis=1)
    if classes.min() < 0 or classes.max() >= table.shape[1]:
        raise ValueError(
            f"class_index must be from 0 to {table.shape[1] - 1}; got {classes.min()} to "
            f"{classes.max()}."
        )
    if not ((table >= -1e-6) & (table <= 1 + 1e-6)).all():
        raise ValueError(
            f"predict must return probabilities from 0 to 1; got {table.min():g} to "
            f"{table.max():g}. Apply the softmax to logits."
        )
    return table[np.arange(len(table)), classes]


def random_maps(shape, seed=0) -> np.ndarray:
    """Uninformed maps: independent uniform numbers of `shape` (n, h, w), float32.

    >>> random_maps((2, 3, 4)).shape
    (2, 3, 4)
    """
    return np.random.default_rng(seed).random(shape, dtype="float32")


def centre_gaussian(shape, sigma=0.25) -> np.ndarray:
    """Maps that only know that objects are centred: exp(-r^2 / (2 s^2)), peak 1, float32.

    `shape` is (n, h, w); s = sigma * min(h, w) pixels, r the distance from the image's centre.

    >>> centre_gaussian((1, 1, 3), sigma=1.0).round(3).tolist()
    [[[0.6069999933242798, 1.0, 0.6069999933242798]]]
    """
    n, height, width = shape
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in (height, width))
    squared = rows[:, None] ** 2 + columns**2
    one = np.exp(-squared / (2 * (sigma * min(height, width)) ** 2))
    return np.tile(one.astype("float32"), (n, 1, 1))


def rank_correlation(first, second) -> np.ndarray:
    """Spearman's rank correlation of each pair of maps (n, h, w), (n,); ties share a mean rank.

    A constant map has no order to agree with: its correlation counts as 0.

    >>> rank_correlation([[[1, 2], [3, 9]]], [[[0, 1], [2, 3]]]).tolist()
    [1.0]
    """
    first, second = plain("first", first), plain("second", second)
    if first.ndim != 3 or first.shape != second.shape:
        raise ValueError(
            f"first and second must be maps (n, h, w) alike; got {first.shape} and {second.shape}."
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("first and second must be finite; got NaN or infinity.")
    a, b = (rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second))
    a, b = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (a, b))
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return (a * b).sum(axis=1) / np.where(scale > 0, scale, 1)


def randomise_layers(model, seed=0) -> Iterator[tuple[str, keras.Model]]:
    """Yield (layer name, copy of the model) with layers drawn anew from the top down to it.

    Every layer with weights is re-initialised by its own initialisers, seeded here; each copy is
    a model of its own, and neither `model` nor any global random state is touched.

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="low"),
    ...     keras.layers.Dense(2, name="high")])
    >>> [name for name, copy in randomise_layers(model)]
    ['high', 'low']
    """
    names = [layer.name for layer in reversed(model.layers) if layer.weights]
    for depth, name in enumerate(names, start=1):
        state = random.getstate()  # where Keras takes the seeds of new layers from
        copy = keras.models.clone_model(model)
        random.setstate(state)
        copy.set_weights(model.get_weights())
        rng = np.random.default_rng(seed)
        for top in names[:depth]:
            _redraw(copy.get_layer(top), rng)
        yield name, copy


def _redraw(layer, rng) -> None:
    """Draw all weights of a layer, or of the layers inside it, from their initialisers."""
    inner = getattr(layer, "layers", None) or ()
    for part in inner:
        _redraw(part, rng)
    for variable in () if inner else layer.weights:
        # Separable and depthwise layers call it after the step, not after the weight.
        step = variable.name.removesuffix("kernel").rstrip("_") or "depthwise"
        initializer = getattr(layer, f"{variable.name}_initializer", None) or getattr(
            layer, f"{step}_initializer", None
        )
        if initializer is None:
            raise ValueError(
                f"model must hold layers with an initialiser for each weight; got "
                f"{layer.name!r} with none for {variable.name!r}."
            )
        config = initializer.get_config()
        if "seed" in config:
            config["seed"] = int(rng.integers(2**31))
        variable.assign(type(initializer).from_config(config)(variable.shape, variable.dtype))
