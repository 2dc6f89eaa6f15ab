"""Every shape of classifier that Grad-CAM must open, and every one that it must refuse."""

import re

import keras
import numpy as np
import pytest
from keras import layers

from hw4.grad_cam.maps import grad_cam
from hw4.grad_cam.score_graph import ScoreGraph

RNG = np.random.default_rng(7)
KERNEL = RNG.normal(size=(3, 3, 1, 4)).astype("float32")
DENSE = RNG.normal(size=(4, 3)).astype("float32")
IMAGES = RNG.random((5, 7, 8, 1)).astype("float32")


def stack(activation=None):
    return [
        layers.Conv2D(4, 3, activation="relu", name="conv"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation=activation, name="logits"),
    ]


def functional(*tail, activation=None):
    x = inputs = keras.Input((7, 8, 1))
    for layer in [*stack(activation), *tail]:
        x = layer(x)
    return keras.Model(inputs, x)


def called():
    model = keras.Sequential(stack("softmax"))
    model(IMAGES[:2])
    return model


def built_twice():
    parts = stack("softmax")
    keras.Sequential([keras.Input((7, 8, 1)), *parts])
    return keras.Sequential([keras.Input((7, 8, 1)), *parts])


def built():
    model = keras.Sequential(stack("softmax"))
    model.build((None, 7, 8, 1))
    return model


def nested_tail():
    """A nested model without convolutions in front of the convolution is harmless."""
    resize = keras.Sequential([keras.Input((7, 8, 1)), layers.Rescaling(1.0)])
    return keras.Sequential([keras.Input((7, 8, 1)), resize, *stack("softmax")])


class OwnFunctional(keras.Model):
    """A subclass that only wraps the functional constructor still has a graph."""


def own_functional():
    model = functional(activation="softmax")
    return OwnFunctional(model.inputs, model.outputs)


HEADS = {
    "logits": functional,
    "softmax": lambda: functional(activation="softmax"),
    "log_softmax": lambda: functional(activation="log_softmax"),
    "sigmoid": lambda: functional(activation="sigmoid"),
    "softmax layer": lambda: functional(layers.Softmax()),
    "activation layer": lambda: functional(layers.Activation("softmax")),
    "float32 activation": lambda: functional(layers.Activation("softmax", dtype="float32")),
    "keras.ops": lambda: functional(keras.ops.softmax),
    "keras.ops.sigmoid": lambda: functional(keras.ops.sigmoid),
    "softmax twice": lambda: functional(layers.Softmax(), activation="softmax"),
    "dropout after": lambda: functional(layers.Dropout(0.5), layers.Flatten(), layers.Softmax()),
    "monte carlo dropout": lambda: functional(lambda x: layers.Dropout(0.9)(x, training=True)),
    "sequential, Input": lambda: keras.Sequential([keras.Input((7, 8, 1)), *stack("softmax")]),
    "sequential, called": called,
    "sequential, built": built,
    "layers of two models": built_twice,
    "nested preprocessing": nested_tail,
    "own functional class": own_functional,
}


def with_weights(model):
    model.get_layer("conv").set_weights([KERNEL, np.zeros(4, "float32")])
    model.get_layer("logits").set_weights([DENSE, np.ones(3, "float32")])
    return model


def slow_cam():
    """CAM / Z by loops over positions, without Keras: a relu convolution, GAP, and Dense."""
    activations = np.zeros((5, 5, 6, 4))
    for i in range(5):
        for j in range(6):
            patch = IMAGES[:, i : i + 3, j : j + 3, 0].astype("float64")
            activations[:, i, j] = np.maximum(np.einsum("nab,abk->nk", patch, KERNEL[:, :, 0]), 0)
    return activations @ DENSE / 30


@pytest.mark.parametrize("name", HEADS)
def test_every_structure_and_head_gives_the_map_of_the_score_before_its_activation(name):
    model = with_weights(HEADS[name]())
    truth = slow_cam()
    for one in range(3):
        np.testing.assert_allclose(
            grad_cam(model, IMAGES, one, relu=False), truth[..., one], rtol=1e-4, atol=1e-6
        )
    scores = truth.sum(axis=(1, 2))
    best = scores.argmax(axis=1)
    expected = np.take_along_axis(truth, best[:, None, None, None], axis=3)[..., 0]
    np.testing.assert_allclose(
        grad_cam(model, IMAGES), np.maximum(expected, 0), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_a_single_unit_scores_z_for_class_1_and_minus_z_for_class_0(activation):
    parts = [layers.Conv2D(2, 3), layers.GlobalAveragePooling2D(), layers.Dense(1, activation)]
    model = keras.Sequential([keras.Input((7, 8, 1)), *parts])
    ones, zeros = (grad_cam(model, IMAGES, i, relu=False) for i in (1, 0))
    np.testing.assert_array_equal(ones, -zeros)
    z = keras.ops.convert_to_numpy(model(IMAGES, training=False))[:, 0]
    predicted = z > (0.5 if activation else 0)
    wanted = np.where(predicted[:, None, None], ones, zeros)
    np.testing.assert_array_equal(grad_cam(model, IMAGES, relu=False), wanted)


def test_a_gradient_through_a_skip_connection_has_its_closed_form():
    inputs = keras.Input((6, 6, 3))
    trunk = layers.Conv2D(4, 3, padding="same", name="trunk")(inputs)
    branch = layers.BatchNormalization(name="norm")(trunk)
    branch = layers.Conv2D(4, 3, padding="same", name="branch")(branch)
    added = layers.Add(name="add")([trunk, layers.ReLU(name="relu")(branch)])
    outputs = layers.Dense(3, "softmax")(layers.GlobalAveragePooling2D()(added))
    model = keras.Model(inputs, outputs)
    images = RNG.random((4, 6, 6, 3))
    look = keras.Model(inputs, [model.get_layer(name).output for name in ("branch", "add")])
    branch, added = (keras.ops.convert_to_numpy(x) for x in look(images, training=False))
    kernel = model.layers[-1].get_weights()[0][:, 2]
    weights = kernel * (branch > 0).mean(axis=(1, 2)) / 36  # relu lets the gradient through at > 0
    expected = np.einsum("nhwk,nk->nhw", branch, weights)
    for layer in ("branch", model.get_layer("branch"), None):
        maps = grad_cam(model, images, 2, layer=layer, relu=False)
        np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-6)
    maps = grad_cam(model, images, 2, layer="add", relu=False)
    np.testing.assert_allclose(maps, added @ kernel / 36, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("last", "map_size"),
    [
        (layers.SeparableConv2D(3, 3), (5, 5)),
        (layers.DepthwiseConv2D(2), (6, 6)),
        (layers.Conv2DTranspose(2, 2, strides=2), (14, 14)),
    ],
)
def test_the_last_convolution_of_any_kind_is_found(last, map_size):
    parts = [layers.Conv2D(2, 1), last, layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(2)]
    model = keras.Sequential([keras.Input((7, 7, 2)), *parts])
    assert grad_cam(model, np.ones((1, 7, 7, 2))).shape == (1, *map_size)


def test_a_convolutional_head_is_not_the_layer_explained():
    x = inputs = keras.Input((7, 7, 1))
    head = [layers.Conv2D(3, 1), layers.Flatten(), layers.Softmax()]
    for layer in [layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(keepdims=True), *head]:
        x = layer(x)
    model = keras.Model(inputs, x)
    assert grad_cam(model, np.ones((2, 7, 7, 1))).shape == (2, 5, 5)


def test_any_image_size_is_taken_where_the_model_takes_it():
    model = keras.Sequential([keras.Input((None, None, 1)), *stack("softmax")])
    assert grad_cam(model, np.ones((1, 9, 12, 1))).shape == (1, 7, 10)


def test_channels_first_maps_are_the_channels_last_maps():
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow on a CPU has no channels-first convolution")
    first = [layers.Conv2D(4, 3, data_format="channels_first", name="conv"), layers.ReLU(name="r")]
    pool = layers.GlobalAveragePooling2D(data_format="channels_first")
    dense = layers.Dense(3, "softmax", name="logits")
    model = with_weights(keras.Sequential([keras.Input((1, 7, 8)), *first, pool, dense]))
    maps = grad_cam(model, IMAGES.transpose(0, 3, 1, 2), 1, layer="r", relu=False)
    np.testing.assert_allclose(maps, slow_cam()[..., 1], rtol=1e-4, atol=1e-6)


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def nested(*tail):
    inner = keras.Sequential([keras.Input((7, 8, 1)), *stack()[: 2 - len(tail)]], name="inner")
    return keras.Sequential([keras.Input((7, 8, 1)), inner, *tail, layers.Dense(3, "softmax")])


def two_inputs():
    a, b = keras.Input((7, 8, 1)), keras.Input((7, 8, 1))
    return keras.Model([a, b], layers.Dense(2)(layers.Flatten()(layers.Add()([a, b]))))


def two_outputs():
    model = functional()
    return keras.Model(model.input, [model.output, model.output])


def shared():
    conv, inputs = layers.Conv2D(1, 3, padding="same", name="both"), keras.Input((7, 8, 1))
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(conv(conv(inputs)))))


def plain(*parts):
    return lambda: keras.Sequential([keras.Input((7, 8, 1)), *parts])


SOFT_CONV = [layers.Conv2D(3, (7, 8), activation="softmax"), layers.Flatten()]
REFUSED = {
    "unbuilt": (lambda: keras.Sequential(stack()), None, "must be built; got 'sequential"),
    "subclassed": (Subclassed, None, "functional or Sequential; got Subclassed"),
    "two inputs": (two_inputs, None, r"one input.*got 2 inputs"),
    "two outputs": (two_outputs, None, r"outputs \[\(None, 3\), \(None, 3\)\]"),
    "4-D output": (plain(layers.Conv2D(3, 3)), None, r"outputs \[\(None, 5, 6, 3\)\]"),
    "nested": (nested, None, "last convolutional layer inside the nested model 'inner'"),
    "nested by name": (nested, "conv", "'conv' inside the nested model 'inner'"),
    "no convolution": (plain(layers.Flatten(name="f"), layers.Dense(2)), None, r"output: \[\]"),
    "missing": (functional, "block5", r"got 'block5'. Use one of \['conv'\]"),
    "not of this model": (functional, layers.Conv2D(1, 1, name="x"), r"got 'x'.*\['conv'\]"),
    "flat layer": (functional, "logits", r"got 'logits'|Use one of \['conv'\]"),
    "pooled layer": (
        plain(layers.Conv2D(1, 1, name="c"), layers.Flatten(name="f"), layers.Dense(2)),
        "f",
        r"got 'f' \(Flatten\) with output shape \(None, 56\). Use one of \['c'\]",
    ),
    "shared": (shared, None, "used once in the model; got 'both', which is shared by 2 calls"),
    "softmax of one": (plain(*stack()[:2], layers.Dense(1, "softmax")), None, "over one unit"),
    "softmax in a convolution": (plain(*SOFT_CONV), None, r"taken off; got '.*' \(Conv2D\)"),
    "nested head": (
        plain(*stack()[:2], keras.Sequential([keras.Input((4,)), layers.Dense(2, "softmax")])),
        None,
        r"taken off; got '.*' \(Sequential\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_what_was_received_and_what_exists(name):
    build, layer, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        grad_cam(build(), IMAGES, layer=layer)


def test_a_thing_that_is_no_model_is_a_type_error():
    with pytest.raises(TypeError, match=re.escape("must be a keras.Model; got function")):
        ScoreGraph(functional)


def test_a_nested_model_with_a_spatial_output_can_be_explained_as_one_layer():
    model = nested(layers.GlobalAveragePooling2D())
    model.get_layer("inner").layers[0].set_weights([KERNEL, np.zeros(4, "float32")])
    model.layers[-1].set_weights([DENSE, np.ones(3, "float32")])
    maps = grad_cam(model, IMAGES, 0, layer="inner", relu=False)
    np.testing.assert_allclose(maps, slow_cam()[..., 0], rtol=1e-4, atol=1e-6)
