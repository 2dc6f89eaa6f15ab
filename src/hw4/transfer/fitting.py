"""Training of question 2: heads on cached features, the small network, the last block."""

import keras
import numpy as np

from hw4 import training
from hw4.transfer.backbones import known
from hw4.transfer.collapse import check_head
from hw4.transfer.networks import SMALL_CNN, build_head, unfreeze_last_block
from hw4.transfer.weights import Weights

History = dict[str, list[float]]


def fit_head(
    values, labels, *, epochs: int = 20, seed: int = 7, validation=None, learning_rate=1e-3
) -> tuple[keras.Model, History]:
    """Train Dense(128, relu) and Dense(1, sigmoid) on features with Adam, in batches of 64.

    Args:
        values: (n, channels) float32.
        labels: (n,) 0 or 1.
        epochs: passes over the features.
        seed: of the first weights and of the order.
        validation: values and labels to evaluate after each epoch; nothing is chosen by them.
        learning_rate: of Adam.

    Returns:
        The head and its history: lists `loss`, `accuracy`, `seconds`, and `val_...`.
    """
    head = build_head(values.shape[1], seed=seed)
    history = _fit(head, values, labels, learning_rate, epochs, 64, seed, validation, "head")
    return head, history


def fit_small_cnn(
    model, fitted, held=None, *, epochs: int = 10, seed: int = 7, batch_size: int = 32
) -> History:
    """Train it on images and labels with Adam and a one-cycle schedule; return the history.

    Args:
        model: what `small_cnn` returned.
        fitted: (images, labels) to train on, images (n, size, size, 1) float32.
        held: (images, labels) evaluated after each epoch; nothing is chosen by them.
        epochs: passes over the training images.
        seed: of their order.
        batch_size: images a step.
    """
    # A schedule has at least two steps; a run on a handful of images may have one.
    steps = max(2, training.steps(len(fitted[0]), batch_size, epochs))
    rate = training.one_cycle(3e-3, steps)
    return _fit(model, *fitted, rate, epochs, batch_size, seed, held, SMALL_CNN)


def fine_tune(
    model,
    name: str,
    data,
    weights: Weights,
    train,
    *,
    size: int,
    epochs: int = 3,
    seed: int = 7,
    learning_rate: float = 1e-5,
    batch_size: int = 32,
) -> History:
    """Tune the last convolutional block and the head with a small learning rate.

    What stands before the block is frozen, so that every image passes it once; its maps are kept
    in memory (n times 6 x 6 x 512 or 3 x 3 x 2048 numbers at 96 pixels). To be done after the head
    has been trained and transplanted: the gradients of a random head would destroy what the block
    has learnt. Batch normalisation stays frozen.

    Args:
        model: what `build_classifier` returned, with a trained head; it is changed.
        name: `VGG16` or `ResNet50`.
        data: Radiographs.
        weights: what the model was built with; its preprocessing is applied.
        train: positions of the training images.
        size: height and width the model was built for.
        epochs: passes over the images.
        seed: of the order.
        learning_rate: of Adam.
        batch_size: images a step.

    Returns:
        History: lists `loss`, `accuracy` and `seconds`, one entry an epoch.
    """
    check_head(model)
    unfreeze_last_block(model, name)
    cut = model.get_layer(known(name).before_last_block).output
    before, after = keras.Model(model.inputs, cut), keras.Model(cut, model.output)
    parts = [
        (before.predict_on_batch(weights.preprocess(images)), labels)
        for images, labels, _ in data.batches(size, 64, train)
    ]
    maps, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _fit(after, maps, labels, learning_rate, epochs, batch_size, seed, None, "last block")


def read_grey(data, size: int, index) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read one channel of radiographs, (n, size, size, 1) float32 in 0..255.

    Returns:
        The images that can be read, their labels and their positions.
    """
    parts = [(images[..., :1], *rest) for images, *rest in data.batches(size, index=index)]
    images, labels, positions = (np.concatenate(part) for part in zip(*parts, strict=True))
    return images.astype(np.float32), labels, positions


def _fit(model, inputs, labels, rate, epochs, batch_size, seed, held, label) -> History:
    model.compile(keras.optimizers.Adam(rate), "binary_crossentropy", metrics=["accuracy"])
    return training.fit(
        model,
        inputs,
        _column(labels),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        validation=held and (held[0], _column(held[1])),
        label=label,
    )


def _column(labels) -> np.ndarray:
    return np.asarray(labels, np.float32).reshape(-1, 1)
