"""Training a whole network on streamed radiographs, and spreading the work over devices."""

import contextlib
import math

import keras
import numpy as np

from hw4.transfer.backbones import known, unfreeze_last_block
from hw4.transfer.collapse import check_head


class Stream(keras.utils.PyDataset):
    """Radiographs as Keras takes them, preprocessed batch by batch; nothing else is in memory.

    Args:
        data: Radiographs.
        index: positions to read.
        name: the network, whose preprocessing is applied.
        size: height and width in pixels.
        batch_size: images a step.
        seed: of a new order for every epoch; None keeps the order.
    """

    def __init__(self, data, index, name, *, size=224, batch_size=64, seed=None):
        super().__init__()
        self.data, self.index = data, np.array(index)
        self.preprocess, self.size, self.batch_size = known(name).preprocess, size, batch_size
        self.rng = None if seed is None else np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        """Count the steps of an epoch."""
        return math.ceil(len(self.index) / self.batch_size)

    def __getitem__(self, step: int):
        """Return images (b, size, size, 3) float32 and labels (b, 1) of one step."""
        rows = self.index[step * self.batch_size : (step + 1) * self.batch_size]
        batch = next(self.data.batches(self.size, self.batch_size, rows), None)
        if batch is None:
            raise ValueError(f"data must be readable; got no readable file in step {step}.")
        images, labels, _ = batch
        return self.preprocess(images), labels.astype(np.float32)[:, None]

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch."""
        if self.rng is not None:
            self.index = self.rng.permutation(self.index)


def fine_tune(
    model, name: str, data, train, *, size=224, epochs=2, batch_size=32, seed=7, learning_rate=1e-5
) -> dict[str, list[float]]:
    """Tune the last convolutional block and the head, end to end, with a small learning rate.

    To be done after the head has been trained and transplanted: the gradients of a random head
    would destroy what the block has learnt. Batch normalisation stays frozen.

    Args:
        model: what `build_classifier` returned, with a trained head.
        name: `VGG16` or `ResNet50`.
        data: Radiographs.
        train: positions of the training images.
        size: height and width the model was built for.
        epochs: passes over the images.
        batch_size: images a step.
        seed: of the order.
        learning_rate: of Adam.

    Returns:
        History: lists `loss` and `accuracy`, one entry an epoch.
    """
    check_head(model)
    unfreeze_last_block(model, name)
    model.compile(keras.optimizers.Adam(learning_rate), "binary_crossentropy", metrics=["accuracy"])
    stream = Stream(data, train, name, size=size, batch_size=batch_size, seed=seed)
    return model.fit(stream, epochs=epochs, verbose=0).history


@contextlib.contextmanager
def data_parallel():
    """Split every batch over all devices of this machine: build, compile and fit inside.

    TensorFlow: `tf.distribute.MirroredStrategy`. JAX: `keras.distribution.DataParallel`. With one
    device nothing changes. PyTorch, and several machines: extract features in shards
    (`extract_features(shard=(k, m))`), which needs a common folder and no communication; for
    training on several machines start one process a machine and enter
    `tf.distribute.MultiWorkerMirroredStrategy().scope()` or call
    `keras.distribution.initialize()` there instead.

    Batch normalisation that is trained keeps its own statistics on every device of TensorFlow,
    unless its layers are `synchronized`; the frozen networks of this question are not concerned.

    Yields:
        The number of devices in use.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) > 1:
            strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
            with strategy.scope():
                yield len(devices)
            return
    elif backend == "jax" and len(keras.distribution.list_devices()) > 1:
        previous = keras.distribution.distribution()
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=keras.distribution.list_devices())
        )
        try:
            yield len(keras.distribution.list_devices())
        finally:
            keras.distribution.set_distribution(previous)
        return
    yield 1
