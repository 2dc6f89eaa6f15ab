"""One epoch of a head on cached features against one epoch of the whole frozen network.

python benchmarks/transfer.py [images] [pixels]; both kinds of epoch run in this one process, on
the same phantom images, after a first epoch of each that is not counted.

Last shown:
(PyTorch backend, 2 shared CPU cores, 192 phantom images, 96 pixels)
VGG16: frozen network 17.98 s an epoch, features once 9.96 s, head 0.0105 s, 1716 times faster
ResNet50: frozen network 2.97 s an epoch, features once 3.22 s, head 0.0122 s, 243 times faster
"""

import statistics
import sys
import tempfile
import time

from hw4 import runtime

seed = runtime.start(7)

import keras  # noqa: E402 - after runtime.start, which silences the native banners
import numpy as np  # noqa: E402

from hw4 import radiographs, transfer  # noqa: E402


def main(images: int, size: int) -> int:
    """Print one line a network; return 1 when a head epoch is not 50 times faster."""
    slow = 0
    with tempfile.TemporaryDirectory() as folder:
        data = radiographs.load(radiographs.write_phantom(f"{folder}/phantom", images, seed))
        for name in transfer.BACKBONES:
            whole = _whole_epoch(name, data, size)
            start = time.perf_counter()
            found = transfer.extract_features(name, data, size=size, cache=f"{folder}/cache")
            extraction = time.perf_counter() - start
            _, history = transfer.fit_head(*found.take(np.arange(images)), epochs=12, seed=seed)
            head = statistics.median(history["seconds"][1:])
            slow += whole / head < 50
            print(
                f"{name}, {images} phantom images, {size} pixels, {runtime.device()}: "
                f"frozen network {whole:.2f} s an epoch, features once {extraction:.2f} s, "
                f"head {head:.4f} s an epoch, {whole / head:.0f} times faster"
            )
    return 1 if slow else 0


def _whole_epoch(name: str, data, size: int) -> float:
    """Time the second epoch of the frozen network with its head, end to end."""
    weights = transfer.find(name)
    model = transfer.build_classifier(name, weights, size=size)
    model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy", metrics=["accuracy"])
    images = weights.preprocess(data.images(size))
    labels = data.labels.astype("float32")[:, None]
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        model.fit(images, labels, batch_size=64, epochs=1, verbose=0)
        seconds.append(time.perf_counter() - start)
    return seconds[1]


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(arguments + [384, 96][len(arguments) :])))
