"""Tracing VGG16 with hw4.conv_shapes beside building it in Keras, in one run.

python benchmarks/conv_shapes.py
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from hw4.conv_shapes import Conv2D, Dense, Flatten, MaxPool2D, from_keras, trace

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def vgg16():
    """The layers of VGG16 (Simonyan and Zisserman 2015, configuration D)."""
    layers = []
    for filters, count in BLOCKS:
        layers += [Conv2D(filters, 3, padding="same")] * count + [MaxPool2D(2)]
    return [*layers, Flatten(), Dense(4096), Dense(4096), Dense(1000)]


def best(function, repeats):
    """Shortest of several runs, milliseconds: what the work takes when nothing disturbs it."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return min(times)


def build():
    """Build the network in Keras, as one would to read its summary."""
    return keras.applications.VGG16(weights=None)


if __name__ == "__main__":
    rows = trace(vgg16(), (224, 224, 3))
    model = build()
    total = sum(row.parameters for row in rows)
    print(f"parameters {total:,}, by Keras {model.count_params():,}")
    traced, built = best(lambda: trace(vgg16(), (224, 224, 3)), 200), best(build, 2)
    walked = best(lambda: from_keras(model), 20)
    print(f"trace {traced:.2f} ms, from_keras {walked:.2f} ms, Keras builds it in {built:.0f} ms")
    print(f"ratio of building to tracing: {built / traced:.0f}")
