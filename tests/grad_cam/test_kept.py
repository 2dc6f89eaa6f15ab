"""What is kept between calls: compiled once, true to weights and layers, freed with the model."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops

from hw4.grad_cam import grad_cam, score_graph
from hw4.grad_cam.score_graph import ScoreGraph, opened

IMAGES = np.random.default_rng(5).random((23, 7, 8, 1)).astype("float32")
COMPILED = keras.backend.backend() in ("tensorflow", "jax")


class Scaled(layers.Layer):
    """An own layer with a number of its own, in an attribute or in a list."""

    def __init__(self, factor=1.0, name=None):
        super().__init__(name=name)
        self.factor, self._offsets = factor, [0.0]

    def call(self, x):
        return self.factor * x + self._offsets[0]


def network():
    model = keras.Sequential(
        [
            keras.Input((7, 8, 1)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            Scaled(name="scaled"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(),
            layers.Dense(6, activation="tanh", name="hidden"),
            layers.Dense(3, name="scores"),
            layers.Activation("softmax", name="softmax"),
        ]
    )
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def count_steps(monkeypatch):
    """A list that grows when Python runs through the model: while compiling, or always on torch."""
    seen, step = [], ScoreGraph._step

    def counting(self, images, classes, operation):
        seen.append(images.shape)
        return step(self, images, classes, operation)

    monkeypatch.setattr(ScoreGraph, "_step", counting)
    return seen


def test_it_is_compiled_once_whatever_the_number_of_images(monkeypatch):
    seen, model = count_steps(monkeypatch), network()
    whole = grad_cam(model, IMAGES, 1, relu=False)
    for size in (23, 8, 7, 5, 3, 1):
        parts = grad_cam(model, IMAGES, 1, relu=False, batch_size=size)
        np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-5)
    few = grad_cam(model, IMAGES[:3], [1] * 3, relu=False)
    np.testing.assert_allclose(few, whole[:3], rtol=1e-4, atol=1e-5)
    if keras.backend.backend() == "tensorflow":
        assert len(seen) == 1
    elif COMPILED:  # one shape for every full batch, and a power of two for each smaller one
        assert len({shape[0] for shape in seen}) == len(seen)
    grad_cam(model, IMAGES, 1, layer="pool")
    assert len(seen) > 1


def test_a_graph_is_kept_for_each_naming_of_scores_and_training_changes_none():
    model = network()
    graph = opened(model)
    assert graph is not opened(model, "scores")
    model.compile("sgd", "categorical_crossentropy")
    model.fit(IMAGES, np.eye(3)[np.arange(23) % 3], epochs=1, verbose=0)
    model.predict(IMAGES, verbose=0)
    model.trainable = False
    keras.Model(model.inputs, model.layers[0].output)
    grad_cam(model, IMAGES)
    assert opened(model) is graph
    assert opened(network()) is not graph


def test_new_weights_are_seen():
    model, other = network(), network()
    before = grad_cam(model, IMAGES, 1, relu=False)
    weights = [w + 0.1 for w in model.get_weights()]
    model.set_weights(weights)
    other.set_weights(weights)
    after = grad_cam(model, IMAGES, 1, relu=False)
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(after, grad_cam(other, IMAGES, 1, relu=False), rtol=1e-5)


def shorter(model):
    model.pop()
    model.add(layers.Dense(3, kernel_initializer="ones", name="more"))


CHANGES = {
    "activation of a layer": lambda m: setattr(m.layers[0], "activation", ops.tanh),
    "a number": lambda m: setattr(m.get_layer("scaled"), "factor", -2.0),
    "an item of a list": lambda m: m.get_layer("scaled")._offsets.__setitem__(0, -1.5),
    "a setting of Keras": lambda m: setattr(m.get_layer("pool"), "padding", "same"),
    "layers": shorter,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_structure_is_noticed(name):
    model, fresh = network(), network()
    before = grad_cam(model, IMAGES, 1, layer="conv", relu=False)
    for one in (model, fresh):
        CHANGES[name](one)
    if name == "a setting of Keras":  # which changes shapes downstream, and so cannot be replayed
        with pytest.raises(Exception, match="(?i)shape|dimension|size|incompatible"):
            grad_cam(model, IMAGES, 1, layer="conv", relu=False)
        return
    after = grad_cam(model, IMAGES, 1, layer="conv", relu=False)
    assert np.abs(after - before).max() > 1e-3
    expected = grad_cam(fresh, IMAGES, 1, layer="conv", relu=False)
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_everything_is_freed_with_the_model():
    model = network()
    grad_cam(model, IMAGES)
    grad_cam(model, IMAGES, 1, scores=model.get_layer("softmax").output)
    gone = [weakref.ref(model), weakref.ref(opened(model)), weakref.ref(model.layers[0])]
    gc.collect()
    kept = len(score_graph._KEPT)
    del model
    gc.collect()  # frees the model, and with it the entry,
    gc.collect()  # which frees the graph and its layers
    assert [ref() for ref in gone] == [None] * 3
    assert len(score_graph._KEPT) == kept - 1


class Asking(layers.Layer):
    """A layer that looks at numbers while it runs, which no compiler can follow."""

    def call(self, x):
        return -x if float(ops.max(x)) > 1e6 else x


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX traces even to differentiate")
def test_a_layer_that_cannot_be_compiled_is_run_as_it_is():
    def build(*tail):
        parts = [layers.Conv2D(4, 3), *tail, layers.GlobalAveragePooling2D(), layers.Dense(3)]
        model = keras.Sequential([keras.Input((7, 8, 1)), *parts])
        rng = np.random.default_rng(1)
        model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
        return model

    asking = Asking()
    asking.compute_output_spec = lambda x: keras.KerasTensor(x.shape, x.dtype)
    maps = grad_cam(build(asking), IMAGES, 1, relu=False, batch_size=10)
    np.testing.assert_allclose(maps, grad_cam(build(), IMAGES, 1, relu=False), rtol=1e-4)
