"""Question 1: find a network for MNIST by searching, then train it once and properly.

The search sees the training split and chooses by the validation split; neither it nor the final
training ever asks for the test set. First trials are short and see few images, and the best of
them run again for longer (`search`). The choice is then trained on all training images, with
one-cycle learning rate and augmentation (`train_final`).
"""

import contextlib
import tempfile
from itertools import pairwise
from pathlib import Path

import keras
import keras_tuner
import numpy as np

from hw4 import conv_shapes as cs
from hw4 import mnist, runtime, training
from hw4.tuner import Plan, open_search, records, write_json
from hw4.tuning import search_space

# Small batches make many steps, which the task's limit on the learning rate asks for.
BATCH_SIZE = 32
# An epoch of a trial is this many images, the next ones of a fixed order.
IMAGES_PER_EPOCH = 6_000
# Forward MACs of the final training: a cheaper network gets more epochs for the same time.
FINAL_MACS = 1.9e12
FINAL_EPOCHS = (5, 8)


def build_model(hp, learning_rate=None) -> keras.Model:
    """Return the compiled network of one point of the search space.

    Every block is convolution, pooling where the map is large enough, batch normalisation, ReLU
    and dropout; every dense layer has ReLU and dropout; the output is a softmax over ten digits.

    Args:
        hp: Keras Tuner hyperparameters, in which the space is declared if it is not yet, or a
            mapping of names to values.
        learning_rate: a number or schedule instead of the chosen learning rate.

    Raises:
        ShapeError: values outside the space that cannot be built.
    """
    is_container = isinstance(hp, keras_tuner.HyperParameters)
    values = search_space.declare(hp).values if is_container else hp
    described = search_space.network(values)
    cs.trace(described, search_space.INPUT_SHAPE)
    layers = [keras.Input(search_space.INPUT_SHAPE)]
    for layer, following in pairwise([*described, None]):
        layers += _keras_layers(layer, following, values)
    model = keras.Sequential(layers)
    rate = values["learning_rate"] if learning_rate is None else learning_rate
    model.compile(
        optimizer=_optimizer(values["optimizer"], rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def plan(
    tuner: str = "random",
    *,
    trials: int = 12,
    promoted: int = 2,
    epochs: tuple[int, int] = (1, 3),
    seed: int = 0,
    mac_budget: int = search_space.MAC_BUDGET,
    output_budget: int = search_space.OUTPUT_BUDGET,
) -> Plan:
    """Return the plan of a search on MNIST; `Plan` explains the arguments.

    Args:
        tuner: `random`, `bayesian` or `hyperband`.
        trials: first trials; Hyperband derives its own number from `epochs`.
        promoted: how many of the best run again for longer; not for Hyperband.
        epochs: of a first and of a promoted trial, 6,000 images each.
        seed: any integer from 0.
        mac_budget: most MACs of a network for one image.
        output_budget: most numbers that its convolutions may write for one image.

    Raises:
        ValueError: an argument outside its range, or a budget that not even the narrowest
            network of every depth keeps.
    """
    data = {
        "file": mnist.SHA256,
        "images_per_epoch": IMAGES_PER_EPOCH,
        "batch_size": BATCH_SIZE,
        "mac_budget": mac_budget,
        "output_budget": output_budget,
    }
    search_space.check_budgets(mac_budget, output_budget)
    return Plan(
        space=search_space.declare(keras_tuner.HyperParameters()),
        tuner=tuner,
        trials=trials,
        promoted=promoted,
        epochs=epochs,
        seed=seed,
        repair=lambda values: search_space.shrink(values, mac_budget, output_budget),
        data=data,
    )


def search(tuner: str = "random", *, folder: str | Path | None = None, **options) -> list[dict]:
    """Search on the training split of MNIST, choose by its validation split, return every trial.

    Args:
        tuner: `random`, `bayesian` or `hyperband`.
        folder: where the search is kept, so that an interrupted one goes on; a temporary folder
            by default, for a search that starts anew.
        options: see `plan`.

    Returns:
        One mapping for each trial: `trial`, `parent` (the shorter trial it repeats), `values`,
        `epochs`, `score` (validation accuracy), `seconds`, `status`, `message`. `tuner.best`
        picks the winner.

    Raises:
        ValueError: an argument outside its range, or a folder of another search.
    """
    planned = plan(tuner, **options)
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
        found = open_search(planned, folder)
        found.run(trainer())
        log = records(found.oracle)
        write_json(Path(folder) / "log.json", log)
    return log


def trainer():
    """Return `evaluate(values, epochs, seed)`: train on a subset, score on the validation split."""
    images, labels = inputs("train")
    held_out = inputs("validation")
    # The classes of the first n images of any n are mixed by this one shuffle.
    order = np.random.default_rng(0).permutation(len(images))

    def evaluate(values: dict, epochs: int, seed: int) -> float:
        # After the last image the order begins again.
        seen = np.resize(order, IMAGES_PER_EPOCH * epochs)
        return accuracy(fit(values, images[seen], labels[seen], seed=seed), *held_out)

    return evaluate


def fit(
    values, images, labels, *, seed: int, epochs: int = 1, batch_size: int = BATCH_SIZE, used=None
) -> keras.Model:
    """Return the network of `values`, trained with one-cycle learning rate.

    Args:
        values: hyperparameters; the chosen learning rate is the peak of the cycle.
        images: (n, 28, 28, 1) to train on.
        labels: (n,) digits.
        seed: of the initial weights, dropout and order.
        epochs: passes over the images.
        batch_size: images a step.
        used: what an earlier call with the same values and sizes returned; it forgets everything
            and is trained again, which saves the time of tracing a new model.
    """
    model = _fresh(values, seed, training.steps(len(images), batch_size, epochs), used)
    training.fit(model, images, labels, epochs=epochs, batch_size=batch_size, seed=seed)
    return model


def accuracy(model, images, labels) -> float:
    """Return the share of images, (n, 28, 28, 1), of which a model names the right digit."""
    return model.evaluate(**runtime.batched(images, labels, 500), verbose=0)[1]


def final_epochs(values) -> int:
    """Return the epochs that `train_final` gives a network: its share of a fixed sum of MACs."""
    affordable = FINAL_MACS / (search_space.macs(values) * 60_000)
    return int(np.clip(affordable, *FINAL_EPOCHS))


def train_final(values: dict, *, seed: int, epochs: int | None = None):
    """Train the chosen network on all 60,000 training images, augmented, with one-cycle rate.

    The validation images have done their work when the choice is made, so they train too. The
    peak of the learning rate is the chosen one, which the task limits to 0.001.

    Args:
        values: hyperparameters of the winner.
        seed: of the initial weights, dropout, order and augmentation.
        epochs: `final_epochs` by default.

    Returns:
        The trained model, and the history of `training.fit`.
    """
    parts = [inputs(split) for split in ("train", "validation")]
    images, labels = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    epochs = final_epochs(values) if epochs is None else epochs
    model = _fresh(values, seed, training.steps(len(images), BATCH_SIZE, epochs))
    history = training.fit(
        model,
        images,
        labels,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        seed=seed,
        augmented=True,
        label="final training",
    )
    return model, history


def inputs(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a split of MNIST as a network takes it: (n, 28, 28, 1) in [0, 1], and labels (n,)."""
    images, labels = mnist.load(split)
    return mnist.as_input(images), labels


def _fresh(values, seed: int, steps: int, used=None) -> keras.Model:
    """Return an untrained network for so many steps of one cycle; the seed decides its weights."""
    if used is None:
        keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    model = build_model(values, training.one_cycle(values["learning_rate"], steps))
    if used is None:
        return model
    # Weights and the states of dropout as in the new model; steps and moments of the optimizer 0.
    for old, new in zip(used.variables, model.variables, strict=True):
        old.assign(new)
    for variable in used.optimizer.variables:
        variable.assign(keras.ops.zeros_like(variable))
    return used


def _keras_layers(layer, following, values) -> list[keras.layers.Layer]:
    """Return one described layer in Keras, with the activation and dropout that belong after it."""
    kinds, made = keras.layers, []
    match layer:
        case cs.Conv2D(filters, size, padding=padding, use_bias=bias):
            made = [kinds.Conv2D(filters, size, padding=padding, use_bias=bias)]
        case cs.BatchNorm():
            # Keras' default momentum of 0.99 remembers longer than a short trial lasts.
            made = [kinds.BatchNormalization(momentum=0.9), kinds.ReLU()]
        case cs.MaxPool2D(size):
            made = [kinds.MaxPooling2D(size)]
        case cs.Flatten():
            made = [kinds.Flatten()]
        case cs.Dense(units):
            made = [kinds.Dense(units, activation="relu" if following else "softmax")]
    ends_block = isinstance(following, cs.Conv2D | cs.Flatten)
    ends_dense = isinstance(layer, cs.Dense) and following is not None
    rate = values["dropout_conv"] * ends_block + values["dropout_dense"] * ends_dense
    return [*made, kinds.Dropout(rate)] if rate else made


def _optimizer(name: str, rate) -> keras.optimizers.Optimizer:
    match name:
        case "adam":
            return keras.optimizers.Adam(rate)
        case "rmsprop":
            # Keras' 0.9 forgets the last gradients too soon for small batches; this is PyTorch's.
            return keras.optimizers.RMSprop(rate, rho=0.99)
        case "sgd":
            return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    known = ", ".join(search_space.OPTIMIZERS)
    raise ValueError(f"optimizer must be one of {known}; got {name!r}. Choose one of these.")
