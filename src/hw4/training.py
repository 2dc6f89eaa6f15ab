"""Training that several questions share: schedule, augmentation, fits, a model used again."""

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence

import cv2
import keras
import numpy as np
from tqdm.auto import tqdm

from hw4.runtime import batched, integer, watched


def one_cycle(
    peak: float, steps: int, warm_up: float = 0.25
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the one-cycle schedule: a linear rise from peak/25 to `peak`, then a cosine to zero.

    Smith and Topin, "Super-Convergence" (2018), with the cosine descent of Loshchilov and
    Hutter (2017).

    Args:
        peak: highest learning rate, above 0.
        steps: optimizer steps in the whole run, at least 2.
        warm_up: share of the steps spent rising, between 0 and 1, both excluded.

    Raises:
        ValueError: an argument outside its range.

    >>> schedule = one_cycle(0.003, steps=100)
    >>> [round(float(schedule(step)), 5) for step in (0, 25, 100)]
    [0.00012, 0.003, 0.0]
    """
    if not peak > 0:
        raise ValueError(f"peak must be above 0; got {peak}. Try 0.003 for Adam.")
    if steps < 2:
        raise ValueError(f"steps must be at least 2; got {steps}. Count epochs x batches.")
    if not 0 < warm_up < 1:
        raise ValueError(f"warm_up must be between 0 and 1; got {warm_up}. Try 0.25.")
    rising = min(max(1, round(warm_up * steps)), steps - 1)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak / 25,
        warmup_target=peak,
        warmup_steps=rising,
        decay_steps=steps - rising,
    )


def augment(
    images: np.ndarray,
    rng: np.random.Generator,
    *,
    shift: float = 2.0,
    rotation: float = 10.0,
    scale: float = 0.1,
    shear: float = 0.1,
) -> np.ndarray:
    """Move every image by its own small random affine map, uniform in each parameter.

    Args:
        images: (n, h, w, 1), taken as float32.
        rng: source of all randomness: equal generators give equal images.
        shift: largest displacement, pixels, in each direction.
        rotation: largest angle, degrees, to each side.
        scale: largest relative change of size.
        shear: largest horizontal shear, pixels a pixel.

    Returns:
        New images, (n, h, w, 1) float32; what enters from outside is 0.

    Raises:
        ValueError: images of another shape.

    >>> image = np.zeros((1, 5, 5, 1), np.float32); image[0, 2, 2] = 1
    >>> still = dict(shift=0, rotation=0, scale=0, shear=0)
    >>> bool((augment(image, np.random.default_rng(0), **still) == image).all())
    True
    """
    images = np.asarray(images, np.float32)
    if images.ndim != 4 or images.shape[-1] != 1:
        raise ValueError(
            f"images must have shape (n, h, w, 1); got {images.shape}. Add the missing axis."
        )
    n, height, width, _ = images.shape
    maps = _random_affine(n, (height, width), rng, shift, rotation, scale, shear)
    out = np.empty_like(images)
    for image, matrix, target in zip(images, maps, out, strict=True):
        target[..., 0] = cv2.warpAffine(image[..., 0], matrix, (width, height))
    return out


def fit(
    model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    augmented: bool | Mapping[str, float] = False,
    validation: tuple | None = None,
    callbacks: Sequence = (),
    label: str = "training",
) -> dict[str, list[float]]:
    """Train a compiled model, with a progress bar for a person who watches, and no other output.

    Order and augmentation come from `seed` alone, so that they are the same on every backend.

    Args:
        model: compiled Keras model.
        images: (n, ...) inputs; (n, h, w, 1) float32 if augmented.
        targets: (n, ...) as the model's loss takes them.
        epochs: passes over the data.
        batch_size: samples a step.
        seed: of the order and of the augmentation.
        augmented: whether every epoch sees freshly augmented images, or the options of `augment`.
        validation: images and targets to evaluate after each epoch.
        callbacks: of Keras; each epoch is a training of its own to them, so that those which wait
            for several epochs, as EarlyStopping does, do nothing.
        label: text of the progress bar.

    Returns:
        One list an epoch for each metric, plus `seconds`.
    """
    rng = np.random.default_rng(seed)
    if isinstance(augmented, bool):
        augmented = {} if augmented else None
    held_out = validation and batched(*validation, batch_size)
    make_variables(model, images, targets)
    history: dict[str, list[float]] = {}
    with tqdm(total=epochs, desc=label, unit="epoch", leave=False, disable=not watched()) as bar:
        for epoch in range(epochs):
            start = time.perf_counter()
            order = rng.permutation(len(images))
            batch = images[order] if augmented is None else augment(images[order], rng, **augmented)
            logs = model.fit(
                **batched(batch, targets[order], batch_size),
                initial_epoch=epoch,
                epochs=epoch + 1,
                shuffle=False,
                callbacks=callbacks,
                verbose=0,
            ).history
            if held_out:
                # `fit` would evaluate, too, over arrays, with the autotuning that `batched` avoids
                scores = model.evaluate(**held_out, verbose=0, return_dict=True)
                logs |= {f"val_{name}": [value] for name, value in scores.items()}
            logs["seconds"] = [time.perf_counter() - start]
            for name, values in logs.items():
                history.setdefault(name, []).extend(values)
            bar.update()
    return history


def make_variables(model, images, targets) -> None:
    """Make the variables of a compiled model's optimizer and metrics, unless they are there.

    TensorFlow's `tf.function` traces twice what makes variables, and to trace the training step of
    a small network takes longer than its training. No number changes.

    Args:
        model: compiled Keras model.
        images: (n, ...) inputs, of which the first is used.
        targets: (n, ...) as the model's loss takes them.
    """
    if not model.compiled or model.optimizer.built:  # Keras' own error names the remedy
        return
    with warnings.catch_warnings():
        # a model of a list of one input, which `fit` feeds without a word
        warnings.filterwarnings("ignore", "The structure of `inputs`")
        answer = model(images[:1], training=False)
    model.optimizer.build(model.trainable_variables)
    model.compute_metrics(images[:1], targets[:1], answer)
    model.reset_metrics()


def restart(used, new) -> None:
    """Give a trained model the weights of a new one, and an optimizer whose states are all zero.

    It can then be trained like the new one, without the time of tracing a training step, which for
    a small network is longer than the training. Adam, RMSprop and SGD start with such states.

    Args:
        used: compiled model; the learning rate of its optimizer stays.
        new: model of the same layers; it need not be compiled.
    """
    for old, fresh in zip(used.variables, new.variables, strict=True):
        old.assign(keras.ops.copy(fresh))  # JAX's training takes the arrays that it is given
    for variable in used.optimizer.variables:
        if variable.name != "learning_rate":
            variable.assign(np.zeros(variable.shape))


def steps(samples: int, batch_size: int, epochs: int) -> int:
    """Count the optimizer steps of a run whose last batch of an epoch may be smaller.

    Raises:
        ValueError: a count that is no integer of at least 1.

    >>> steps(samples=55_000, batch_size=128, epochs=2)
    860
    """
    counts = {"samples": samples, "batch_size": batch_size, "epochs": epochs}
    samples, batch_size, epochs = (integer(name, count, 1) for name, count in counts.items())
    return -(-samples // batch_size) * epochs


def batches(images, labels, size: int, seed: int) -> Iterator[tuple]:
    """Yield full batches without end, every pass over the data in a new order drawn from `seed`.

    Raises:
        ValueError: `size` is not between 1 and the number of images.
    """
    if not 1 <= size <= len(images):
        raise ValueError(f"size must be from 1 to {len(images)}; got {size}. Take a smaller batch.")
    return _batches(images, labels, size, np.random.default_rng(seed))


def train_until(model, batches, measure, *, checkpoints, goal=np.inf) -> dict[int, float]:
    """Train batch by batch; measure after the given numbers of batches, up to the goal.

    Args:
        model: compiled Keras model.
        batches: (images, labels) pairs; one is taken for each step.
        measure: from the model to a number.
        checkpoints: numbers of batches, from 1.
        goal: stop as soon as the measure reaches this.

    Returns:
        Number of batches to what was measured then, in order; the last one may hold the goal.

    Raises:
        ValueError: no checkpoint, or one below 1.
    """
    if not checkpoints or min(checkpoints) < 1:
        raise ValueError(f"checkpoints must be from 1; got {[*checkpoints]}. Measure after a step.")
    history = {}
    for step, (images, labels) in zip(range(1, max(checkpoints) + 1), batches, strict=False):
        make_variables(model, images, labels)
        model.train_on_batch(images, labels)
        if step in checkpoints:
            history[step] = measure(model)
            if history[step] >= goal:
                break
    return history


def _batches(images, labels, size, rng) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    while True:
        order = rng.permutation(len(images))
        for start in range(0, len(images) - size + 1, size):
            chosen = order[start : start + size]
            yield images[chosen], labels[chosen]


def _random_affine(n, size, rng, shift, rotation, scale, shear) -> np.ndarray:
    """Draw (n, 2, 3) float32 maps that turn, scale and shear about the image centre, then shift."""
    low, high = -1.0, 1.0
    angle = np.deg2rad(rotation) * rng.uniform(low, high, n)
    factor = 1 + scale * rng.uniform(low, high, n)
    slant = shear * rng.uniform(low, high, n)
    move = shift * rng.uniform(low, high, (n, 2))
    cos, sin = factor * np.cos(angle), factor * np.sin(angle)
    linear = np.stack(
        [np.stack([cos, cos * slant - sin], -1), np.stack([sin, sin * slant + cos], -1)], 1
    )
    centre = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    offset = centre - linear @ centre + move
    return np.concatenate([linear, offset[..., None]], axis=2).astype(np.float32)
