"""Faithfulness measures against a linear model whose truth is known, slow loops and SciPy."""

import random

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from keras import layers
from scipy import stats

from hw4.grad_cam.faithfulness import (
    centre_gaussian,
    deletion_insertion,
    random_maps,
    randomise_layers,
    rank_correlation,
)
from hw4.grad_cam.maps import grad_cam, normalise
from hw4.measure import paired_interval

RNG = np.random.default_rng(11)
WEIGHTS = RNG.normal(size=(6, 5))
IMAGES = RNG.random((40, 6, 5, 1))
CLASSES = RNG.integers(2, size=40)


def predict(images):
    """A logistic model of the pixels: w * x is exactly what each pixel adds to the score."""
    z = np.einsum("nhwc,hw->n", np.asarray(images, dtype="float64"), WEIGHTS)
    return np.stack([1 / (1 + np.exp(z)), 1 / (1 + np.exp(-z))], axis=1)


TRUTH = IMAGES[..., 0] * WEIGHTS * np.where(CLASSES == 1, 1, -1)[:, None, None]


def areas(maps, **options):
    curves = deletion_insertion(predict, IMAGES, maps, CLASSES, steps=10, **options)
    return curves.deletion_area, curves.insertion_area


def is_faithful(maps):
    """Better than random maps on both curves with 95 % confidence."""
    (deletion, insertion), (deletion_0, insertion_0) = areas(maps), areas(random_maps((40, 6, 5)))
    gains = paired_interval(deletion_0, deletion), paired_interval(insertion, insertion_0)
    return all(low > 0 for _, low, _ in gains)


def test_true_importance_beats_random_and_its_inverse_does_not():
    assert is_faithful(TRUTH)
    assert not is_faithful(-TRUTH)
    assert not is_faithful(random_maps((40, 6, 5), seed=1))
    assert not is_faithful(np.zeros((40, 6, 5)))
    (worst, _), (best, _) = areas(-TRUTH), areas(TRUTH)
    assert (best <= worst).all()


@pytest.mark.parametrize("baseline", [0.0, 0.5, RNG.random((6, 5, 1)), RNG.random((40, 6, 5, 1))])
def test_curves_equal_a_slow_loop(baseline):
    curves = deletion_insertion(predict, IMAGES, TRUTH, CLASSES, steps=7, baseline=baseline)
    empty = np.broadcast_to(baseline, IMAGES.shape)
    for i in range(0, 40, 13):
        order = sorted(np.ndindex(6, 5), key=lambda pixel: -TRUTH[i][pixel])
        for k in range(8):
            count = round(k * 30 / 7)
            assert curves.fractions[k] == count / 30
            gone, come = IMAGES[i].copy(), empty[i].copy()
            for pixel in order[:count]:
                gone[pixel], come[pixel] = empty[i][pixel], IMAGES[i][pixel]
            for curve, image in ((curves.deletion, gone), (curves.insertion, come)):
                np.testing.assert_allclose(curve[i, k], predict(image[None])[0, CLASSES[i]])
    heights = (curves.deletion[:, 1:] + curves.deletion[:, :-1]) / 2
    expected = (heights * np.diff(curves.fractions)).sum(axis=1)
    np.testing.assert_allclose(curves.deletion_area, expected)


def test_among_some_pixels_the_others_stay_and_shares_count_the_chosen_ones():
    among = np.random.default_rng(4).random((40, 6, 5)) < 0.4
    among[:, 0, 0] = True
    curves = deletion_insertion(predict, IMAGES, TRUTH, CLASSES, steps=4, among=among)
    assert curves.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    for i in range(0, 40, 13):
        order = sorted(np.argwhere(among[i]).tolist(), key=lambda pixel: -TRUTH[i][*pixel])
        for k in range(5):
            gone, come = IMAGES[i].copy(), IMAGES[i].copy()
            count = round(k * len(order) / 4)
            for pixel in order[:count]:
                gone[*pixel] = 0
            for pixel in order[count:]:
                come[*pixel] = 0
            for curve, image in ((curves.deletion, gone), (curves.insertion, come)):
                np.testing.assert_allclose(curve[i, k], predict(image[None])[0, CLASSES[i]])


def test_a_map_that_only_finds_the_ink_wins_over_all_pixels_and_not_among_the_inked_ones():
    """Half of each image is ink, of random importance; the map knows where, and no more."""
    rng = np.random.default_rng(2)
    ink = rng.random((400, 6, 5)) < 0.5
    ink[:, 0, 0] = True
    images = ink[..., None] * rng.random((400, 6, 5, 1))

    def brightness(batch):
        p = np.asarray(batch).mean(axis=(1, 2))
        return np.concatenate([1 - p, p], axis=1)

    gains = []
    for among in (None, ink):
        areas = [
            deletion_insertion(brightness, images, maps, 1, 10, seed=3, among=among).deletion_area
            for maps in (ink.astype(float), random_maps(ink.shape, 1))
        ]
        gains.append(paired_interval(areas[1], areas[0]))
    assert gains[0][1] > 0.03
    assert gains[1][1] < 0 < gains[1][2]


def test_ends_are_shared_and_predict_is_called_once_a_point():
    seen = []

    def counting(images):
        seen.append(len(images))
        return predict(images)

    curves = deletion_insertion(counting, IMAGES, TRUTH, CLASSES, steps=5)
    assert seen == [40] * (2 + 2 * 4)
    np.testing.assert_array_equal(curves.deletion[:, 0], curves.insertion[:, -1])
    np.testing.assert_array_equal(curves.deletion[:, -1], curves.insertion[:, 0])
    np.testing.assert_allclose(curves.insertion[:, 0], 0.5)


@pytest.mark.parametrize("dtype", ["float32", "uint8", "bool"])
def test_equal_values_go_in_random_order_and_not_from_the_top_left(dtype):
    """Half of a blank map is deleted: each pixel is gone in about half of 2,000 images."""
    images = np.ones((2000, 4, 4), "float32")
    kept = []

    def watch(batch):
        kept.append(np.asarray(batch).mean(axis=0))
        return np.full((len(batch), 1), 1.0)

    deletion_insertion(watch, images, np.zeros((2000, 4, 4), dtype), 0, steps=2)
    np.testing.assert_allclose(kept[2], 0.5, atol=0.06)
    again = deletion_insertion(predict, IMAGES, TRUTH > 0, CLASSES, steps=4, seed=3)
    same = deletion_insertion(predict, IMAGES, TRUTH > 0, CLASSES, steps=4, seed=3)
    other = deletion_insertion(predict, IMAGES, TRUTH > 0, CLASSES, steps=4, seed=4)
    np.testing.assert_array_equal(again.deletion, same.deletion)
    assert (again.deletion != other.deletion).any()
    with_larger = np.zeros((2000, 4, 4))
    with_larger[:, 3, 3] = 1
    kept.clear()
    deletion_insertion(watch, images, with_larger.astype(dtype), 0, steps=16)
    assert kept[2][3, 3] == 0  # the larger value still goes first


GOOD = {"predict": predict, "images": IMAGES, "maps": TRUTH, "class_index": CLASSES}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"maps": TRUTH[:, :3]}, r"got maps \(40, 3, 5\) and images \(40, 6, 5, 1\)"),
        ({"maps": TRUTH[:7]}, r"got maps \(7, 6, 5\)"),
        ({"maps": TRUTH * np.nan}, "maps must be finite"),
        ({"images": IMAGES * np.inf}, "images must be finite"),
        ({"images": IMAGES[:0], "maps": TRUTH[:0]}, "n at least 1"),
        ({"class_index": [1, 0]}, r"each of the 40 images; got int64 of shape \(2,\)"),
        ({"class_index": 0.5}, "got float64"),
        ({"class_index": 2}, "from 0 to 1; got 2 to 2"),
        ({"class_index": -1}, "from 0 to 1; got -1 to -1"),
        ({"steps": 0}, "steps must be an integer from 1 to 30; got 0"),
        ({"steps": 31}, "steps must be an integer from 1 to 30; got 31"),
        ({"steps": 2.0}, "got 2.0"),
        ({"among": np.ones((40, 6, 4), bool)}, r"booleans \(40, 6, 5\).*got bool of shape \(40, 6"),
        ({"among": np.ones((40, 6, 5))}, "got float64"),
        ({"among": TRUTH > 1e9}, "some true for every image"),
        ({"baseline": np.nan}, "baseline must be finite"),
        ({"baseline": np.zeros(7)}, r"of shape \(40, 6, 5, 1\); got \(7,\)"),
        ({"predict": lambda x: predict(x)[:3]}, r"\(40, classes\) probabilities; got shape \(3, 2"),
        ({"predict": lambda x: predict(x)[:, 0]}, r"got shape \(40,\)"),
        ({"predict": lambda x: predict(x) * 9}, "from 0 to 1; got .* Apply the softmax"),
        ({"predict": lambda x: predict(x) * np.nan}, "from 0 to 1; got nan"),
    ],
)
def test_what_cannot_be_measured_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        deletion_insertion(**{**GOOD, **changes})


def test_uninformed_maps():
    maps = random_maps((50, 8, 6), seed=2)
    np.testing.assert_array_equal(maps, random_maps((50, 8, 6), seed=2))
    assert (maps != random_maps((50, 8, 6), seed=3)).any()
    assert abs(maps.mean() - 0.5) < 0.02
    centred = centre_gaussian((2, 9, 7), sigma=0.3)
    assert centred.shape == (2, 9, 7)
    assert centred[1, 4, 3] == centred.max() == 1
    np.testing.assert_array_equal(centred, centred[:, ::-1, ::-1])
    expected = stats.norm.pdf(2, scale=2.1) / stats.norm.pdf(0, scale=2.1)
    np.testing.assert_allclose(centred[0, 4, 5], expected, rtol=1e-6)


SMALL = npst.arrays("int64", (3, 2, 4), elements=st.integers(0, 5))


@given(SMALL, SMALL)
def test_rank_correlation_is_scipys_and_0_for_a_constant_map(first, second):
    for ours, a, b in zip(rank_correlation(first, second), first, second, strict=True):
        constant = np.ptp(a) == 0 or np.ptp(b) == 0
        theirs = 0 if constant else stats.spearmanr(a.ravel(), b.ravel()).statistic
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_rank_correlation_refuses_what_it_cannot_compare():
    with pytest.raises(ValueError, match=r"got \(2, 3, 3\) and \(3, 3\)"):
        rank_correlation(np.ones((2, 3, 3)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="must be finite"):
        rank_correlation(np.full((1, 2, 2), np.nan), np.ones((1, 2, 2)))


def network():
    """Explicitly seeded initialisers would draw the same weights again if asked naively."""
    seeded = keras.initializers.GlorotUniform(seed=1)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, name="conv", kernel_initializer=seeded),
            layers.SeparableConv2D(4, 3, activation="relu", name="separable"),
            layers.DepthwiseConv2D(2, name="depthwise"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(3, activation="softmax", name="top"),
        ]
    )


def kernels(model):
    return {part.name: part.get_weights()[0] for part in model.layers if part.weights}


def test_layers_are_redrawn_from_the_top_down_in_copies():
    model = network()
    model.get_layer("norm").set_weights([np.full(4, 3.0)] * 4)
    before, state = [w.copy() for w in model.get_weights()], random.getstate()
    nodes = [len(part._inbound_nodes) for part in model.layers]
    copies = list(randomise_layers(model, seed=5))
    assert [name for name, _ in copies] == ["top", "norm", "depthwise", "separable", "conv"]
    originals = kernels(model)
    for done, (_, copy) in enumerate(copies, start=1):
        changed = [name for name, k in kernels(copy).items() if (k != originals[name]).any()]
        assert sorted(changed) == sorted(name for name, _ in copies[:done])
    np.testing.assert_array_equal(kernels(copies[0][1])["top"], kernels(copies[4][1])["top"])
    assert kernels(copies[-1][1])["norm"].tolist() == [1.0] * 4
    assert random.getstate() == state
    assert [len(part._inbound_nodes) for part in model.layers] == nodes
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    repeated = list(randomise_layers(model, seed=5))[-1][1]
    other = list(randomise_layers(model, seed=6))[-1][1]
    np.testing.assert_array_equal(kernels(repeated)["conv"], kernels(copies[-1][1])["conv"])
    assert (kernels(other)["conv"] != kernels(copies[-1][1])["conv"]).any()
    spread = kernels(copies[-1][1])["conv"]
    assert 0 < np.abs(spread).max() <= np.sqrt(6 / (9 + 36))  # Glorot's bound for 3x3, 1 to 4


@pytest.mark.slow
def test_maps_of_randomised_copies_can_be_compared():
    model, images = network(), np.random.default_rng(0).random((5, 8, 8, 1))
    maps = normalise(grad_cam(model, images, 0))
    for _, copy in randomise_layers(model):
        redrawn = rank_correlation(maps, normalise(grad_cam(copy, images, 0)))
        assert redrawn.shape == (5,)
        assert (np.abs(redrawn) <= 1 + 1e-12).all()
