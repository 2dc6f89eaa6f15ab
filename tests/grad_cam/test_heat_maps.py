"""Scaling, resizing and drawing of heat maps: `normalise`, `upsample`, `superimpose`."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hw4.grad_cam.maps import COLORMAPS, is_blank, normalise, superimpose, upsample

FINITE = st.floats(-(2.0**100), 2.0**100, width=32)
SHAPES = npst.array_shapes(min_dims=3, max_dims=3, max_side=5)
MAPS = npst.arrays("float32", SHAPES, elements=FINITE)


@given(MAPS)
@example(np.full((1, 2, 2), 1e-45, "float32"))
def test_normalised_maps_lie_in_0_to_1_reach_1_unless_blank_and_keep_their_order(maps):
    scaled = normalise(maps)
    assert scaled.dtype == np.float32
    assert scaled.shape == maps.shape
    assert scaled.min() >= 0
    for one, raw, blank in zip(scaled, maps, is_blank(maps), strict=True):
        assert one.max() == (0 if blank else 1)
        assert blank == (raw.max() <= 0)
        order = np.argsort(raw.ravel(), kind="stable")
        assert (np.diff(one.ravel()[order]) >= 0).all()
        np.testing.assert_array_equal(normalise(raw), one)


def slow_bilinear(image, height, width):
    """One pixel at a time, by the textbook rule with half-pixel centres and repeated edges."""
    rows, columns = image.shape
    result = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y, x = (i + 0.5) * rows / height - 0.5, (j + 0.5) * columns / width - 0.5
            top, left = int(np.floor(y)), int(np.floor(x))
            for r, c in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                weight = (1 - abs(y - r)) * (1 - abs(x - c))
                pixel = image[min(max(r, 0), rows - 1), min(max(c, 0), columns - 1)]
                result[i, j] += weight * pixel
    return result


@pytest.mark.parametrize("size", [(28, 28), (7, 7), (14, 9), (3, 5), (1, 1), (224, 30)])
@pytest.mark.parametrize("shape", [(7, 7), (1, 4), (5, 1), (4, 6)])
def test_upsampling_is_the_slow_rule_and_opencvs(shape, size):
    maps = np.random.default_rng(1).normal(size=(3, *shape)).astype("float32")
    ours = upsample(maps, size)
    assert ours.shape == (3, *size)
    for one, result in zip(maps, ours, strict=True):
        np.testing.assert_allclose(result, slow_bilinear(one, *size), atol=1e-6)
        theirs = cv2.resize(one, size[::-1], interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(result, theirs.reshape(size), atol=2e-5)
    np.testing.assert_array_equal(upsample(maps[0], size), ours[0])


@pytest.mark.parametrize("size", [28, (28,), (0, 5), (-1, 5), (2.0, 3.0), (1, 2, 3)])
def test_a_bad_size_is_refused(size):
    with pytest.raises(ValueError, match=r"size must be \(height, width\), two positive"):
        upsample(np.ones((2, 2)), size)


@pytest.mark.parametrize("function", [normalise, is_blank, lambda maps: upsample(maps, (4, 4))])
@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ([[np.nan, 1.0]], "maps must be finite; got 1 values of NaN"),
        ([[np.inf, np.inf]], "got 2 values"),
        ([1.0, 2.0], r"\(n, h, w\) or \(h, w\); got float64 of shape \(2,\)"),
        (np.zeros((0, 2, 2)), r"of shape \(0, 2, 2\)"),
        (np.zeros((2, 2), complex), "got dtype complex128"),
    ],
)
def test_bad_maps_are_refused(function, maps, message):
    with pytest.raises(ValueError, match=message):
        function(maps)


def test_hot_is_red_and_cold_is_blue():
    colours = superimpose(np.zeros((1, 3)), [[0.0, 0.5, 1.0]], alpha=1.0)
    (cold, middle, hot) = colours[0].astype(int)
    assert cold.argmax() == 2
    assert middle.argmax() == 1
    assert hot.argmax() == 0
    assert hot[2] == cold[0] == 0


def test_every_colour_map_ends_as_in_matplotlib_where_both_have_it():
    matplotlib = pytest.importorskip("matplotlib")
    for name in ("jet", "hot", "viridis", "inferno", "turbo"):
        ours = superimpose(np.zeros((1, 2)), [[0.0, 1.0]], alpha=1.0, colormap=name)[0]
        theirs = 255 * matplotlib.colormaps[name]([0.0, 1.0])[:, :3]
        np.testing.assert_allclose(ours, theirs, atol=12, err_msg=name)
    assert len(COLORMAPS) >= 20


IMAGES = {
    "grey floats": np.linspace(0, 1, 12).reshape(3, 4),
    "grey float16": np.linspace(0, 1, 12).reshape(3, 4, 1).astype("float16"),
    "grey bytes": np.arange(0, 240, 20, dtype="uint8").reshape(3, 4),
    "RGB floats": np.random.default_rng(0).random((3, 4, 3)),
    "RGB bytes": np.arange(36, dtype="uint8").reshape(3, 4, 3),
}


@pytest.mark.parametrize("name", IMAGES)
def test_the_blend_is_a_weighted_mean_pixel_by_pixel(name):
    image = IMAGES[name]
    untouched = image.copy()
    scale = 1 if image.dtype == np.uint8 else 255
    plain = np.broadcast_to(image.reshape(3, 4, -1).astype(float) * scale, (3, 4, 3))
    heat = np.random.default_rng(1).random((2, 2))
    colours = superimpose(np.zeros((3, 4)), heat, alpha=1.0).astype(float)
    for alpha in (0, 0.25, 1):
        result = superimpose(image, heat, alpha)
        assert result.shape == (3, 4, 3)
        assert result.dtype == np.uint8
        blend = (1 - alpha) * plain + alpha * colours
        np.testing.assert_allclose(result, blend, atol=0.5001)
    np.testing.assert_array_equal(image, untouched)


def test_the_heat_map_is_resized_to_the_image_and_lands_where_it_belongs():
    heat = np.zeros((7, 7))
    heat[1, 5] = 1
    result = superimpose(np.zeros((28, 42)), heat, alpha=1.0).astype(int)
    redness = result[..., 0] - result[..., 2]
    assert np.abs(np.argwhere(redness == redness.max()).mean(axis=0) - [5.5, 32.5]).max() < 1


def test_a_blank_map_is_flagged_and_draws_one_colour():
    assert is_blank(np.zeros((2, 7, 7))).tolist() == [True, True]
    result = superimpose(np.zeros((4, 4)), normalise(np.zeros((7, 7))))
    assert (result == result[0, 0]).all()


GREY, HEAT = np.zeros((4, 4)), np.zeros((2, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.full((4, 4), np.nan), HEAT), "image must be finite; got NaN"),
        ((GREY + 1.5, HEAT), r"image must be from 0 to 1; got 1.5 to 1.5. Divide by 255"),
        ((GREY - 0.1, HEAT), r"image must be from 0 to 1; got -0.1"),
        ((GREY.astype(int), HEAT), "floats from 0 to 1 or uint8; got dtype int64"),
        ((GREY > 0, HEAT), "got dtype bool"),
        ((np.zeros((4, 4, 4)), HEAT), r"\(h, w\), \(h, w, 1\) or \(h, w, 3\); got \(4, 4, 4\)"),
        ((np.zeros((2, 4, 4, 3)), HEAT), r"got \(2, 4, 4, 3\)"),
        ((np.zeros(4), HEAT), r"got \(4,\)"),
        ((np.zeros((0, 4)), HEAT), r"got \(0, 4\)"),
        ((GREY, HEAT * np.nan), "heatmap must be finite; got 4 values of NaN"),
        ((GREY, HEAT + 3), "heatmap must be from 0 to 1; got 3 to 3. Pass it through normalise"),
        ((GREY, HEAT - 1), "heatmap must be from 0 to 1; got -1 to -1"),
        ((GREY, np.zeros((1, 2, 2))), r"2-D, one map; got shape \(1, 2, 2\)"),
        ((GREY, np.zeros(3)), r"of shape \(3,\)"),
        ((GREY, HEAT, 1.1), "alpha must be from 0 to 1; got 1.1"),
        ((GREY, HEAT, -0.1), "alpha must be from 0 to 1; got -0.1"),
        ((GREY, HEAT, np.nan), "alpha must be from 0 to 1; got nan"),
        ((GREY, HEAT, 0.4, "rainbows"), "one of autumn, .*jet.*; got 'rainbows'"),
    ],
)
def test_nothing_is_drawn_from_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        superimpose(*arguments)
