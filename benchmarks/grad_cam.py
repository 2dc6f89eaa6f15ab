"""hw4.grad_cam beside the bare compiled forward and backward pass, on question 7's network.

    python benchmarks/grad_cam.py [rounds]

The bare function does for one network and one layer what `grad_cam` does for any: no checks, no
search for the score, no copies. On TensorFlow it is a `tf.function`, on JAX a `jax.jit`, on PyTorch
plain autograd. captum's `LayerGradCam` of the same network in PyTorch joins in where it is there.
"""

import os
import sys
from functools import partial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers, ops

from _results import PAIRS, absent, beside, write
from hw4 import runtime
from hw4.grad_cam import grad_cam

BATCHES = (1, 32, 256)


def question_7():
    """The report's network, its layers drawn at random."""
    model = keras.Sequential([keras.Input((28, 28, 1))])
    for filters in (32, 64, 128):
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D(2))
    for layer in (layers.Flatten(), layers.Dense(128, "relu"), layers.Dense(10, "softmax")):
        model.add(layer)
    return model


def halves(model):
    """The model cut at its last convolution: images to activations, activations to scores."""
    activations = model.layers[4].output
    x = inputs = keras.Input(activations.shape[1:])
    for layer in model.layers[5:-1]:
        x = layer(x)
    last, body = model.layers[-1], keras.Model(inputs, x)

    def scores(values):
        return ops.matmul(body(values, training=False), last.kernel) + last.bias

    return keras.Model(model.inputs[0], activations), scores


def bare(model):
    """The shortest compiled Grad-CAM of this one network, from arrays to arrays."""
    below, scores = halves(model)

    def best(activations):
        return ops.sum(ops.max(scores(activations), axis=1))

    def weigh(activations, gradient):
        return ops.relu(ops.sum(activations * ops.mean(gradient, (1, 2), keepdims=True), axis=3))

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function(reduce_retracing=True)
        def compiled(images):
            activations = below(images, training=False)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(activations)
                score = best(activations)
            return weigh(activations, tape.gradient(score, activations))

        return lambda images: compiled(tf.constant(images)).numpy()
    if backend == "jax":
        import jax

        @jax.jit
        def compiled(images):
            activations = below(images, training=False)
            return weigh(activations, jax.grad(best)(activations))

        return lambda images: np.asarray(compiled(images))
    import torch

    def eager(images):
        with torch.no_grad():
            activations = below(images, training=False)
        activations.requires_grad_()
        (gradient,) = torch.autograd.grad(best(activations), activations)
        return weigh(activations, gradient).detach().cpu().numpy()

    return eager


def captum(model):
    """captum's LayerGradCam of the same network written in PyTorch."""
    import torch
    from captum.attr import LayerGradCam

    nn, weights = torch.nn, model.get_weights()
    parts = []
    for kernel, bias in zip(weights[0:6:2], weights[1:6:2], strict=True):
        conv = nn.Conv2d(*kernel.shape[2:], 3, padding="same")
        conv.weight.data = torch.tensor(kernel.transpose(3, 2, 0, 1))
        conv.bias.data = torch.tensor(bias)
        parts += [conv, nn.ReLU(), nn.MaxPool2d(2)]
    hidden, scores = nn.Linear(3 * 3 * 128, 128), nn.Linear(128, 10)
    # Keras flattens places before channels, PyTorch channels before places.
    first = weights[6].reshape(3, 3, 128, 128).transpose(2, 0, 1, 3).reshape(1152, 128)
    for layer, kernel, bias in ((hidden, first, weights[7]), (scores, weights[8], weights[9])):
        layer.weight.data, layer.bias.data = torch.tensor(kernel.T.copy()), torch.tensor(bias)
    network = nn.Sequential(*parts, nn.Flatten(), hidden, nn.ReLU(), scores).eval()
    method = LayerGradCam(network, network[7])  # Keras' activations are after the ReLU

    def maps(images):
        tensor = torch.as_tensor(images).permute(0, 3, 1, 2)
        with torch.no_grad():
            best = network(tensor).argmax(1)
        return method.attribute(tensor, best, relu_attributions=True)[:, 0].detach().numpy()

    return maps


def close(ours, theirs):
    """Refuse maps that differ."""
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def rows(rounds=30, batches=BATCHES):
    """One row a rival and batch size."""
    model = question_7()
    rivals = {"bare": bare(model)}
    missing = absent("Grad-CAM", "captum", "captum")
    if not missing:
        rivals["captum"] = captum(model)
    for name, rival in rivals.items():
        for count in batches:
            shape = (count, *model.input_shape[1:])
            images = np.random.default_rng(0).random(shape, dtype="float32")
            ours, theirs = partial(grad_cam, model, images), partial(rival, images)
            what = f"maps of {count} images"
            yield beside(what, ours, name, theirs, rounds=rounds, same=close)
    if missing:
        yield missing


if __name__ == "__main__":
    notes = (
        f"{PAIRS}The maps are compared before times. Question 7's network, Keras on "
        f"{keras.backend.backend()}, {runtime.device()}; `bare` is the compiled forward and "
        "backward pass of this one network alone, captum works on PyTorch."
    )
    packages = ("keras", "tensorflow", "jax", "torch", "captum")
    write("grad_cam.py", packages, list(rows(*map(int, sys.argv[1:2]))), notes=notes)
