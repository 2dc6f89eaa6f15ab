"""What a frozen network costs: epochs of its head from cached features, and its one pass.

    python benchmarks/transfer.py [images] [pixels] [rounds]

An epoch of the head stands beside an epoch of the frozen network with the same head, end to end,
on phantom images; the loss of both is compared first. The pass that computes the features stands
beside one matrix product of as many multiply-adds. Its result is long and has to be written to
memory, so that a network with many multiply-adds a number, such as VGG16, may be the faster one.
"""

import sys
import tempfile
from functools import partial

from hw4 import runtime

seed = runtime.start(7)

import keras  # noqa: E402 - after runtime.start, which silences the native banners
import numpy as np  # noqa: E402

from _results import beside, write  # noqa: E402
from hw4 import radiographs, transfer  # noqa: E402
from hw4.conv_shapes import from_keras  # noqa: E402
from hw4.transfer.features import AT_ONCE, frozen  # noqa: E402

SIDE = 1024  # of the square factor of the matrix product
BATCH = 64


def epoch(model, inputs, labels):
    """Return a function that trains the head for one epoch and returns the loss."""
    model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    return lambda: model.fit(inputs, labels, **options).history["loss"][0]


def product(multiply_adds):
    """Return a function that multiplies two matrices with about so many multiply-adds."""
    random = np.random.default_rng(0)
    shapes = (SIDE, SIDE), (SIDE, max(1, round(multiply_adds / SIDE**2)))
    a, b = (keras.ops.convert_to_tensor(random.random(shape, np.float32)) for shape in shapes)
    return lambda: keras.ops.convert_to_numpy(keras.ops.matmul(a, b))


def rows(images=64, size=96, rounds=3, names=tuple(transfer.BACKBONES)):
    """Two rows a network: its head's epoch, and its pass over the images."""
    with tempfile.TemporaryDirectory() as folder:
        data = radiographs.load(radiographs.write_phantom(f"{folder}/phantom", images, seed))
        pixels, labels = data.images(size), data.labels.astype("float32")[:, None]
    for name in names:
        record, weights = transfer.BACKBONES[name], transfer.find(name)
        inputs, network = weights.preprocess(pixels), frozen(name, weights, size)
        run = partial(network.predict, inputs, batch_size=AT_ONCE, verbose=0)
        ours = epoch(transfer.build_head(record.channels, seed=seed), run(), labels)
        whole = transfer.build_classifier(name, weights, size=size, seed=seed)
        theirs = epoch(whole, inputs, labels)
        same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3)  # noqa: E731
        what = f"{name}, an epoch of the head on {images} images"
        yield beside(what, ours, "end to end", theirs, rounds=rounds, same=same)

        macs = images * sum(row.macs for row in from_keras(network))
        what = f"{name}, the pass of {images} images, {macs / 1e9:.1f} G multiply-adds"
        yield beside(what, run, "a matrix product", product(macs), rounds=rounds)


if __name__ == "__main__":
    table = list(rows(*map(int, sys.argv[1:4])))
    notes = f"Phantom images; Keras on {keras.backend.backend()}, {runtime.device()}."
    write("transfer.py", ("keras", "tensorflow", "torch"), table, notes=notes)
