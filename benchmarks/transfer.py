"""What a frozen network costs: epochs of its head from cached features, and its one pass.

    python benchmarks/transfer.py [images] [pixels] [rounds]

An epoch of `transfer.fit_head`, a twentieth of its default training, stands beside an epoch of the
frozen network with the same head, end to end, on phantom images; the losses of two epochs are
compared first. The pass that computes the features stands beside one matrix product of as many
multiply-adds. Its result is long and has to be written to memory, so that a network with many
multiply-adds a number, such as VGG16, may be the faster one.
"""

import sys
import tempfile
from functools import partial

from hw4 import runtime

seed = runtime.start(7)

import keras  # noqa: E402 - after runtime.start, which silences the native banners
import numpy as np  # noqa: E402

from _results import PAIRS, beside, write  # noqa: E402
from hw4 import radiographs, training, transfer  # noqa: E402
from hw4.conv_shapes import from_keras  # noqa: E402
from hw4.transfer.features import AT_ONCE, frozen  # noqa: E402

SIDE = 1024  # of the square factor of the matrix product
EPOCHS = 20  # of a head, as `fit_head` has it
BATCH = 64  # as there


def end_to_end(name, weights, size, inputs, labels):
    """Return a function that trains the whole network for some epochs and returns their losses."""
    whole = transfer.build_classifier(name, weights, size=size, seed=seed)
    whole.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")

    def train(epochs=1):
        options = {"epochs": epochs, "batch_size": BATCH, "seed": seed}
        return training.fit(whole, inputs, labels[:, None], **options)["loss"]

    return train


def product(multiply_adds):
    """Return a function that multiplies two matrices with about so many multiply-adds."""
    random = np.random.default_rng(0)
    shapes = (SIDE, SIDE), (SIDE, max(1, round(multiply_adds / SIDE**2)))
    a, b = (keras.ops.convert_to_tensor(random.random(shape, np.float32)) for shape in shapes)
    return lambda: keras.ops.convert_to_numpy(keras.ops.matmul(a, b))


def rows(images=64, size=96, rounds=3, names=tuple(transfer.BACKBONES)):
    """Two rows a network: an epoch of its head, and its pass over the images."""
    with tempfile.TemporaryDirectory() as folder:
        data = radiographs.load(radiographs.write_phantom(f"{folder}/phantom", images, seed))
        pixels, labels = data.images(size), data.labels.astype("float32")
    for name in names:
        weights = transfer.find(name)
        inputs, network = weights.preprocess(pixels), frozen(name, weights, size)
        run = partial(network.predict, inputs, batch_size=AT_ONCE, verbose=0)
        head = partial(transfer.fit_head, run(), labels, seed=seed)
        whole = end_to_end(name, weights, size, inputs, labels)
        # the second loss is that of a head that has learnt
        np.testing.assert_allclose(head(epochs=2)[1]["loss"], whole(epochs=2), rtol=1e-3)
        what = f"{name}, fit_head, an epoch on {images} images"
        ours = partial(head, epochs=EPOCHS)
        yield beside(what, ours, "end to end", whole, rounds=rounds, parts=EPOCHS)

        macs = images * sum(row.macs for row in from_keras(network))
        what = f"{name}, the pass of {images} images, {macs / 1e9:.1f} G multiply-adds"
        yield beside(what, run, "a matrix product", product(macs), rounds=rounds)


if __name__ == "__main__":
    table = list(rows(*map(int, sys.argv[1:4])))
    notes = (
        f"{PAIRS}An epoch is a twentieth of a call of `fit_head`, which builds its head too. The "
        "losses of two epochs, with and without cached features, are compared before times. "
        f"Phantom images; Keras on {keras.backend.backend()}, {runtime.device()}."
    )
    write("transfer.py", ("keras", "tensorflow", "torch"), table, notes=notes)
