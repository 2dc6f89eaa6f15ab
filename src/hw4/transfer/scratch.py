"""The positive control of a comparison: a small network trained from scratch on the same images."""

import keras
import numpy as np

from hw4 import training

CONTROL = "small CNN"


def small_cnn(size: int, *, channels: int = 1, standardise: bool = True, seed: int = 7):
    """Return a small network to train from scratch, by default the positive control.

    Per-image standardisation, which takes the exposure away; four times convolution and batch
    norm; global *maximum* pooling, since a fracture is in one place and not on average. Without
    `standardise` the network learns the scale of its training images instead, and depends on it.

    >>> small_cnn(96).count_params()
    60817
    """
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    x = inputs = keras.Input((size, size, channels), name="pixels")
    if standardise:
        per_image = {"axis": (1, 2, 3), "center": False, "scale": False}
        x = layers.LayerNormalization(**per_image, name="image_standardisation")(x)
    else:
        x = layers.BatchNormalization(momentum=0.9, name="data_standardisation")(x)
    for number, filters in enumerate((16, 32, 64, 64), start=1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"norm{number}")(x)
        x = layers.Activation("relu", name=f"relu{number}")(x)
        if number < 4:
            x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = layers.GlobalMaxPooling2D(name="maximum")(x)
    outputs = layers.Dense(1, activation="sigmoid", name="output")(x)
    return keras.Model(inputs, outputs, name="small_cnn")


def fit_small_cnn(model, fitted, held, *, epochs: int = 10, seed: int = 7, batch_size: int = 32):
    """Train it on images and labels with Adam and a one-cycle schedule; return the history.

    Args:
        model: what `small_cnn` returned.
        fitted: (images, labels) to train on, images (n, size, size, channels) float32.
        held: (images, labels) evaluated after each epoch; nothing is chosen by them.
        epochs: passes over the training images.
        seed: of their order.
        batch_size: images a step.
    """
    # A schedule has at least two steps; a run on a handful of images may have one.
    steps = max(2, training.steps(len(fitted[0]), batch_size, epochs))
    schedule = training.one_cycle(3e-3, steps)
    model.compile(keras.optimizers.Adam(schedule), "binary_crossentropy", metrics=["accuracy"])
    return training.fit(
        model,
        fitted[0],
        fitted[1].astype(np.float32)[:, None],
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        validation=(held[0], held[1].astype(np.float32)[:, None]),
        label=CONTROL,
    )


def read_grey(data, size: int, index) -> tuple[np.ndarray, np.ndarray]:
    """Read one channel of radiographs, (n, size, size, 1) float32 in 0..255, and their labels."""
    parts = [(images[..., :1], labels) for images, labels, _ in data.batches(size, index=index)]
    images, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    return images.astype(np.float32), labels
