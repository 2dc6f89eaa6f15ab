"""hw4.grad_cam beside the bare compiled forward and backward pass, on question 7's network.

    python benchmarks/grad_cam.py [rounds]

The bare function does for one network and one layer what `grad_cam` does for any: no checks, no
search for the score, no copies. On TensorFlow it is a `tf.function`, on JAX a `jax.jit`, on PyTorch
plain autograd; there captum's `LayerGradCam` joins in where it is installed. Outputs are compared
before times; the sides alternate, and a line gives medians and the quartiles of the ratio.
"""

import importlib.util
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers, ops

from hw4.grad_cam import grad_cam
from hw4.measure import seconds_by_turns

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
    """captum's LayerGradCam of the same network written in PyTorch, or None without captum."""
    if not importlib.util.find_spec("captum"):
        return None
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


def main(rounds=30, batches=BATCHES):
    """Print one line a batch size and rival; return their ratios (time of hw4 / time of rival)."""
    model = question_7()
    rivals = {"bare": bare(model), "captum": captum(model)}
    rivals = {name: rival for name, rival in rivals.items() if rival}
    print(f"Keras {keras.__version__} on {keras.backend.backend()}; without: ", end="")
    print({"bare", "captum"} - set(rivals) or "nothing")
    found = {}
    for count in batches:
        shape = (count, *model.input_shape[1:])
        images = np.random.default_rng(0).random(shape, dtype="float32")
        ours = grad_cam(model, images)
        for name, rival in rivals.items():
            theirs = rival(images)
            np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())

            def run(rival=rival, images=images):
                return rival(images)

            table = seconds_by_turns([lambda images=images: grad_cam(model, images), run], rounds)
            mine, other = 1e3 * np.median(table, axis=0)
            low, middle, high = np.quantile(table[:, 0] / table[:, 1], (0.25, 0.5, 0.75))
            found[name, count] = middle
            print(
                f"{count:4} images: hw4 {mine:8.2f} ms ({1e3 * count / mine:7,.0f} maps/s)   "
                f"{name} {other:8.2f} ms   ratio {middle:.2f} ({low:.2f} to {high:.2f})"
            )
    return found


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
