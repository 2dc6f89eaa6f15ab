"""hw4.batch_norm beside Keras' layer called eagerly, PyTorch, and the machine's own copying.

    python benchmarks/batch_norm.py [rounds]

All take the same float32 arrays. The backward rows time forward and backward together; Keras' need
the TensorFlow backend. A copy of the array is what no batch norm can be faster than.
"""

import os
import sys
from functools import partial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from _results import PAIRS, absent, beside, write
from hw4.batch_norm import KERAS, batchnorm_backward, batchnorm_forward

SHAPES = [(4096, 1024), (32, 28, 28, 64), (64, 28, 28, 3)]
close = partial(np.testing.assert_allclose, atol=1e-4)


def hw4(x, training):
    return batchnorm_forward(
        x, 1, 0, running_mean=0, running_var=1, training=training, convention=KERAS
    )


def by_keras(x, dout):
    """Keras' layer: name to (what hw4 does for the same result, what Keras does)."""
    layer, tensor = keras.layers.BatchNormalization(), keras.ops.convert_to_tensor(x)
    layer.build(x.shape)
    fresh = layer.get_weights()

    yield "training", lambda: hw4(x, True)[0], lambda: layer(tensor, training=True)
    layer.set_weights(fresh)  # running statistics as ours
    yield "inference", lambda: hw4(x, False)[0], lambda: layer(tensor, training=False)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        upstream = tf.constant(dout)

        def backward():
            with tf.GradientTape() as tape:
                tape.watch(tensor)
                out = layer(tensor, training=True)
            return tape.gradient(out, [tensor, layer.gamma, layer.beta], upstream)[0]

        yield "backward", lambda: batchnorm_backward(dout, hw4(x, True)[1])[0], backward


def by_pytorch(x, dout):
    """PyTorch's layer, channels first as it wants them; gradients by autograd."""
    import torch

    kind = torch.nn.BatchNorm1d if x.ndim == 2 else torch.nn.BatchNorm2d
    layer = kind(x.shape[-1], eps=KERAS.eps)
    order, back = ((0, 1), (0, 1)) if x.ndim == 2 else ((0, 3, 1, 2), (0, 2, 3, 1))
    tensor, upstream = (torch.tensor(a.transpose(order)).contiguous() for a in (x, dout))

    def forward(training):
        with torch.no_grad():
            return layer.train(training)(tensor)

    def backward():
        leaf = tensor.detach().requires_grad_()
        layer.train()(leaf).backward(upstream)
        return leaf.grad

    def same(ours, theirs):
        close(ours, theirs.detach().numpy().transpose(back))

    yield "training", lambda: hw4(x, True)[0], partial(forward, True), same
    layer.reset_running_stats()
    yield "inference", lambda: hw4(x, False)[0], partial(forward, False), same
    yield "backward", lambda: batchnorm_backward(dout, hw4(x, True)[1])[0], backward, same


def rows(rounds=25, shapes=SHAPES):
    """One row a shape, direction and peer."""
    for shape in shapes:
        random = np.random.default_rng(0)
        x, dout = (random.normal(3, 2, shape).astype(np.float32) for _ in range(2))
        for what, ours, theirs in by_keras(x, dout):
            same = lambda a, b: close(a, keras.ops.convert_to_numpy(b))  # noqa: E731
            yield beside(f"{shape} {what}", ours, "Keras", theirs, rounds=rounds, same=same)
        if missing := absent(str(shape), "PyTorch", "torch"):
            yield missing
        else:
            for what, ours, theirs, same in by_pytorch(x, dout):
                yield beside(f"{shape} {what}", ours, "PyTorch", theirs, rounds=rounds, same=same)
        ours = lambda x=x: hw4(x, True)[0]  # noqa: E731
        yield beside(f"{shape} training", ours, "a copy of x", x.copy, rounds=rounds)


if __name__ == "__main__":
    notes = (
        f"{PAIRS}The results of Keras and PyTorch are compared before times. Keras on "
        f"{keras.backend.backend()}, called eagerly. PyTorch fuses inference into one pass over "
        "the data, where hw4's NumPy makes four (is it finite, centre, scale, shift), and more in "
        "training; a copy is one pass, too. PyTorch also uses all cores it may, hw4 one."
    )
    table = list(rows(*map(int, sys.argv[1:2])))
    write("batch_norm.py", ("numpy", "keras", "tensorflow", "torch"), table, notes=notes)
