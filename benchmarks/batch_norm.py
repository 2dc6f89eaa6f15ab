"""hw4.batch_norm beside Keras' own layer called eagerly, on the same float32 array in one run.

    python benchmarks/batch_norm.py [repeats]

The two sides alternate, so that both meet the same disturbances; each line gives medians and their
ratio (below 1: hw4 is faster). The backward rows need the TensorFlow backend, and time its
gradient tape together with the forward call.
"""

import os
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from hw4.batch_norm import KERAS, batchnorm_backward, batchnorm_forward

SHAPES = [(4096, 1024), (32, 28, 28, 64), (64, 28, 28, 3)]


def alternate(ours, theirs, repeats):
    """Median milliseconds of two functions called in turn, after two warm-up rounds."""
    times = ([], [])
    for _ in range(repeats + 2):
        for function, record in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            function()
            record.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(record[2:]) for record in times]


def contestants(shape):
    """Pairs of equal work: (name, hw4, Keras)."""
    random = np.random.default_rng(0)
    x, dout = (random.normal(3, 2, shape).astype(np.float32) for _ in range(2))
    gamma, beta, mean, var = np.ones(shape[-1]), np.zeros(shape[-1]), 0.0, 1.0
    layer, tensor = keras.layers.BatchNormalization(), keras.ops.convert_to_tensor(x)
    layer.build(shape)

    def ours(training):
        return batchnorm_forward(
            x, gamma, beta, running_mean=mean, running_var=var, training=training, convention=KERAS
        )

    np.testing.assert_allclose(ours(True)[0], layer(tensor, training=True), atol=1e-4)
    yield "forward, training", lambda: ours(True), lambda: layer(tensor, training=True)
    yield "forward, inference", lambda: ours(False), lambda: layer(tensor, training=False)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        upstream = tf.constant(dout)

        def theirs():
            with tf.GradientTape() as tape:
                tape.watch(tensor)
                out = layer(tensor, training=True)
            return tape.gradient(out, [tensor, layer.gamma, layer.beta], upstream)

        np.testing.assert_allclose(
            batchnorm_backward(dout, ours(True)[1])[0], theirs()[0], atol=1e-4
        )
        yield "forward + backward", lambda: batchnorm_backward(dout, ours(True)[1]), theirs


def main(repeats=25):
    print(f"Keras {keras.__version__} on {keras.backend.backend()}, NumPy {np.__version__}")
    for shape in SHAPES:
        for name, ours, theirs in contestants(shape):
            mine, keras_ms = alternate(ours, theirs, repeats)
            print(
                f"{shape!s:>18} {name:<19} hw4 {mine:7.2f} ms   Keras {keras_ms:7.2f} ms   "
                f"ratio {mine / keras_ms:.2f}"
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
