"""Grad-CAM against hand-worked numbers, CAM, finite differences, and its own softmax mutant."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from hw4.grad_cam.maps import grad_cam, normalise


def small_model(scale=1.0, seed=3):
    """Conv, pool, Dense tanh, Dense softmax with seeded weights; logits times `scale`."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(5, 3, name="conv"),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(6, activation="tanh"),
            layers.Dense(4, activation="softmax", name="probabilities"),
        ]
    )
    rng = np.random.default_rng(seed)
    weights = [np.abs(rng.normal(size=w.shape)) ** 0.5 for w in model.get_weights()]
    weights = [w * rng.choice([-1, 1], w.shape) if w.ndim > 1 else w for w in weights]
    model.set_weights([*weights[:-2], weights[-2] * scale, weights[-1] * scale])
    return model


IMAGES = np.random.default_rng(5).random((6, 8, 8, 1)).astype("float32")


def golden_model():
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.Conv2D(2, 3, name="conv"),
            layers.ReLU(name="relu"),
            layers.Permute((3, 1, 2)),
            layers.Flatten(),
            layers.Dense(1, use_bias=False),
        ]
    )
    dense = np.array([[1.0]] * 5 + [[-1.0]] * 3)
    model.set_weights([np.ones((3, 3, 1, 2)), np.array([-50.0, -75.0]), dense])
    return model


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("conv", [[11.25, 13.5], [20.25, 22.5]]),
        (None, [[11.25, 13.5], [20.25, 22.5]]),
        ("relu", [[0, 4], [28, 32.5]]),
    ],
)
def test_the_golden_case_worked_by_hand(layer, expected):
    image = np.arange(16).reshape(1, 4, 4, 1)
    maps = grad_cam(golden_model(), image, class_index=1, layer=layer, relu=False)
    assert maps.dtype == np.float32
    np.testing.assert_array_equal(maps, [expected])
    # The single unit's other class is the same evidence with the other sign, all below zero.
    assert not grad_cam(golden_model(), image, 0, layer=layer).any()


def test_z_times_grad_cam_is_cam_for_gap_and_dense():
    rng = np.random.default_rng(0)
    inputs = keras.Input((9, 7, 3))
    features = layers.Conv2D(6, 3, activation="relu")(inputs)
    outputs = layers.Dense(5, "softmax")(layers.GlobalAveragePooling2D()(features))
    model = keras.Model(inputs, outputs)
    images = rng.random((4, 9, 7, 3))
    activations = keras.ops.convert_to_numpy(keras.Model(inputs, features)(images))
    kernel = model.get_weights()[-2]
    for one in range(5):
        cam = activations @ kernel[:, one]
        maps = 35 * grad_cam(model, images, one, relu=False)
        np.testing.assert_allclose(maps, cam, atol=1e-6 * np.abs(cam).max())


@pytest.mark.parametrize(("scores", "agree"), [(None, True), ("probabilities", False)])
def test_logits_times_1000_leave_the_map_unchanged_unless_the_softmax_is_left_in(scores, agree):
    """Times 1000 saturates any softmax."""
    plain, loud = (
        normalise(grad_cam(small_model(s), IMAGES, scores=scores)) for s in (1.0, 1000.0)
    )
    assert plain.max() > 0
    assert np.allclose(plain, loud, atol=1e-5) is agree


def head_in_numpy(features, model, one):
    """Score `one` from conv activations (n, 6, 6, k), float64: an independent head, no Keras."""
    gamma, beta, mean, variance, w1, b1, w2, b2 = (
        w.astype("float64") for w in model.get_weights()[2:]
    )
    pooled = np.maximum(features, 0).reshape(len(features), 3, 2, 3, 2, -1).max(axis=(2, 4))
    normal = (pooled - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    return (np.tanh(normal.reshape(len(features), -1) @ w1 + b1) @ w2 + b2)[:, one]


def test_gradients_agree_with_finite_differences_on_the_activations():
    model = small_model()
    look = keras.Model(model.inputs[0], model.get_layer("conv").output)
    activations = keras.ops.convert_to_numpy(look(IMAGES)).astype("float64")
    classes, step = [0, 1, 2, 3, 1, 2], 1e-5
    expected = []
    for features, one in zip(activations, classes, strict=True):
        # one activation moved at a time
        moves = step * np.eye(features.size).reshape(-1, *features.shape)
        up, down = (head_in_numpy(features + sign * moves, model, one) for sign in (1, -1))
        gradient = ((up - down) / (2 * step)).reshape(features.shape)
        expected.append(features @ gradient.mean(axis=(0, 1)))
    maps = grad_cam(model, IMAGES, classes, relu=False)
    np.testing.assert_allclose(maps, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(grad_cam(model, IMAGES, classes), np.maximum(maps, 0))


def test_predicted_class_one_int_and_one_int_each_agree():
    model = small_model()
    best = keras.ops.convert_to_numpy(model(IMAGES, training=False)).argmax(axis=1)
    np.testing.assert_array_equal(grad_cam(model, IMAGES), grad_cam(model, IMAGES, best))
    each = grad_cam(model, IMAGES, [2] * 6, relu=False)
    np.testing.assert_array_equal(grad_cam(model, IMAGES, np.int64(2), relu=False), each)


@pytest.mark.parametrize("batch_size", [1, 4, 6, 100])
def test_batches_change_nothing_but_memory(batch_size):
    args = (small_model(), IMAGES, [0, 1, 2, 3, 0, 1])
    parts = grad_cam(*args, relu=False, batch_size=batch_size)
    np.testing.assert_allclose(parts, grad_cam(*args, relu=False), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8", "int64"])
def test_images_of_any_number_type_are_taken_as_they_are(dtype):
    model, images = small_model(), np.rint(IMAGES * 255).astype(dtype)
    expected = grad_cam(model, images.astype("float32"))
    np.testing.assert_array_equal(grad_cam(model, images), expected)
    tensor = keras.ops.convert_to_tensor(images.astype("float32"))
    np.testing.assert_array_equal(grad_cam(model, tensor), expected)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_other_precisions_give_the_same_map(policy):
    expected = normalise(grad_cam(small_model(), IMAGES, 1))
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        maps = grad_cam(small_model(), IMAGES, 1)
    finally:
        keras.config.set_dtype_policy(before)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(normalise(maps), expected, atol=0.1 if "16" in policy else 1e-4)


def test_the_model_is_bit_identical_afterwards():
    model = small_model()
    model.layers[0].trainable = False
    model.layers[6].activity_regularizer = keras.regularizers.L2(1.0)

    def state():
        parts = [(p, p.trainable, getattr(p, "activation", None)) for p in model.layers]
        nodes = [(len(p._inbound_nodes), len(p._outbound_nodes)) for p in model.layers]
        values = [(v.path, keras.ops.convert_to_numpy(v).tobytes()) for v in model.variables]
        names = [id(part) for part in (*model.outputs, model.layers[-1].output)]
        return parts, nodes, values, len(model.losses), model.built, names

    before = state()
    grad_cam(model, IMAGES)
    assert state() == before
    assert all(getattr(weight.value, "grad", None) is None for weight in model.weights)


NAN_IN_3 = IMAGES.copy()
NAN_IN_3[3, 0, 0, 0] = np.nan
BAD = {
    "one image": ({"images": IMAGES[0]}, r"\(n, 8, 8, 1\) with n at least 1; got \(8, 8, 1\)"),
    "no channel": ({"images": IMAGES[..., 0]}, r"got \(6, 8, 8\)"),
    "three channels": ({"images": np.zeros((1, 8, 8, 3))}, r"got \(1, 8, 8, 3\)"),
    "other size": ({"images": np.zeros((1, 9, 8, 1))}, r"got \(1, 9, 8, 1\)"),
    "no images": ({"images": IMAGES[:0]}, r"got \(0, 8, 8, 1\)"),
    "one NaN": ({"images": NAN_IN_3}, "NaN or infinity in 1 of 6 images, first 3"),
    "infinity": ({"images": np.full((2, 8, 8, 1), np.inf)}, "in 2 of 2 images, first 0"),
    "text": ({"images": np.full((1, 8, 8, 1), "a")}, "real numbers; got dtype <U1"),
    "complex": ({"images": IMAGES * 1j}, "real numbers; got dtype complex"),
    "class too large": ({"class_index": 4}, "from 0 to 3, as the model has 4 classes; got 4"),
    "negative class": ({"class_index": -1}, "from 0 to 3.*got -1"),
    "one bad class": ({"class_index": [0, 1, 2, 3, 9, 0]}, "got 9"),
    "wrong length": (
        {"class_index": [1, 2]},
        r"each of the 6 images; got \[1, 2\] of shape \(2,\)",
    ),
    "float class": ({"class_index": 1.0}, "an int, or one int for each .* got 1.0"),
    "boolean class": ({"class_index": True}, "an int, or one int for each .* got True"),
    "batch size": ({"batch_size": 0}, "batch_size must be an integer of at least 1; got 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused_with_what_was_received(name):
    arguments, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        grad_cam(**{"model": small_model(), "images": IMAGES, **arguments})


def test_a_model_with_nan_weights_is_refused():
    with pytest.raises(ValueError, match="NaN or infinity for 6 of 6 images, first 0"):
        grad_cam(small_model(scale=np.nan), IMAGES)


SCRIPT = """
import json, sys; sys.path.insert(0, {here!r})
import test_grad_cam as t
maps = [t.grad_cam(t.small_model(), t.IMAGES, c, relu=False).tolist() for c in (None, 2)]
print(json.dumps(maps))
"""


@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
def test_other_installed_backends_draw_the_same_maps(backend):
    if backend == keras.backend.backend() or not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is the active backend or not installed")
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(here=str(Path(__file__).parent))],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = np.array(json.loads(run.stdout.splitlines()[-1]))
    ours = np.array([grad_cam(small_model(), IMAGES, c, relu=False) for c in (None, 2)])
    np.testing.assert_allclose(theirs, ours, atol=1e-5 * np.abs(ours).max())
