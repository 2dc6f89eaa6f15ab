"""Tracing VGG16 with hw4.conv_shapes beside building it in Keras and summing it up by torchinfo.

    python benchmarks/conv_shapes.py [rounds]

Then how tracing grows with the number of layers: ten times the layers, about ten times the time.
"""

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from _results import PAIRS, absent, beside, write
from hw4.conv_shapes import Conv2D, Dense, Flatten, MaxPool2D, from_keras, trace

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
INPUT = (224, 224, 3)


def vgg16():
    """The layers of VGG16 (Simonyan and Zisserman 2015, configuration D)."""
    layers = []
    for filters, count in BLOCKS:
        layers += [Conv2D(filters, 3, padding="same")] * count + [MaxPool2D(2)]
    return [*layers, Flatten(), Dense(4096), Dense(4096), Dense(1000)]


def torch_vgg16():
    """The same network in PyTorch."""
    from torch import nn

    layers, channels = [], INPUT[-1]
    for filters, count in BLOCKS:
        for _ in range(count):
            layers += [nn.Conv2d(channels, filters, 3, padding="same"), nn.ReLU()]
            channels = filters
        layers.append(nn.MaxPool2d(2))
    for before, after in ((7 * 7 * 512, 4096), (4096, 4096), (4096, 1000)):
        layers += [*([nn.Flatten()] if before > 4096 else []), nn.Linear(before, after)]
    return nn.Sequential(*layers)


def ours():
    """All parameters, by hw4."""
    return sum(row.parameters for row in trace(vgg16(), INPUT))


def by_torchinfo():
    """All parameters, by building in PyTorch and torchinfo's summary."""
    import torchinfo

    return torchinfo.summary(torch_vgg16(), (1, 3, 224, 224), verbose=0).total_params


def equal(first, second):
    """Refuse unequal outputs."""
    if first != second:
        raise AssertionError(f"outputs must be equal; got {first} and {second}. Mend one.")


def rows(rounds=3):
    """One row a peer."""
    model = keras.applications.VGG16(weights=None)

    def build():
        return keras.applications.VGG16(weights=None).count_params()

    def walk():
        return sum(row.parameters for row in from_keras(model))

    yield beside("VGG16, trace", ours, "Keras builds it", build, rounds=rounds, same=equal)
    counted = model.count_params
    yield beside("VGG16, from_keras", walk, "count_params", counted, rounds=rounds, same=equal)
    for package in ("torch", "torchinfo"):
        if missing := absent("VGG16, trace", "torchinfo", package):
            yield missing
            return
    yield beside("VGG16, trace", ours, "torchinfo", by_torchinfo, rounds=rounds, same=equal)


def growth(counts=(10, 100, 1_000, 10_000), rounds=5):
    """Processor time of tracing n convolutions, and a layer: best of some rounds."""
    for count in counts:
        layers, times = [Conv2D(8, 3, padding="same")] * count, []
        for _ in range(rounds):
            start = time.process_time()
            traced = trace(layers, (32, 32, 8))
            times.append(time.process_time() - start)
        equal(traced[-1].receptive_field, 1 + 2 * count)
        yield [f"{count:,}", f"{1e3 * min(times):.2f}", f"{1e6 * min(times) / count:.2f}"]


if __name__ == "__main__":
    packages = ("keras", "tensorflow", "torch", "torchinfo")
    notes = (
        f"{PAIRS}All count the parameters, which are compared before times. `count_params` adds "
        "up sizes that Keras holds already; `from_keras` also gives shapes, multiply-adds and "
        "receptive fields, and is the slower one."
    )
    write("conv_shapes.py", packages, list(rows(*map(int, sys.argv[1:2]))), notes=notes)
    columns = ("convolutions", "trace, ms of the processor", "µs a layer")
    write("conv_shapes.py, growth", (), list(growth()), columns)
