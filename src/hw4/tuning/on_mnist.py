"""The search and the final training of question 1 on MNIST.

The search sees the training split and chooses by the validation split; neither it nor the final
training ever asks for the test set. First trials are short and see few images, and the best of
them run again for longer (`search`). The choice is then trained on all training images, with
one-cycle learning rate and augmentation (`train_final`).
"""

import functools
from collections.abc import Callable
from pathlib import Path

import keras
import keras_tuner
import numpy as np

from hw4 import mnist, runtime, training
from hw4.tuning import space
from hw4.tuning.ask_tell import Plan, Search
from hw4.tuning.network import BATCH_SIZE, fresh, inputs, mistakes, train_network

# An epoch of a trial is this many images, the next ones of a fixed order.
IMAGES_PER_EPOCH = 6_000
# Forward MACs of the final training: a cheaper network gets more epochs for the same time.
FINAL_MACS = 1.9e12
FINAL_EPOCHS = (5, 8)
# The digits of MNIST are centred by their mass, so they are moved less and bent more than usual: of
# 20,000 training images held out 132 were mistaken instead of 138, one training each: no worse.
VARIED = {"shift": 1.0, "rotation": 15.0, "scale": 0.15, "shear": 0.2}


def search(
    tuner: str = "random",
    *,
    trials: int = 12,
    promoted: int = 2,
    epochs: tuple[int, int] = (1, 3),
    seed: int = 0,
    mac_budget: int = space.MAC_BUDGET,
    output_budget: int = space.OUTPUT_BUDGET,
    folder: str | Path | None = None,
    client=None,
) -> list[dict]:
    """Search on the training split of MNIST, choose by its validation split, return every trial.

    Args:
        tuner: `random`, `bayesian` or `hyperband`.
        trials: first trials; Hyperband derives its own number from `epochs`.
        promoted: how many of the best run again for longer; not for Hyperband.
        epochs: of a first and of a promoted trial, 6,000 images each.
        seed: any integer from 0.
        mac_budget: most MACs of a network for one image.
        output_budget: most numbers that its convolutions may write for one image.
        folder: where the search is kept, so that an interrupted one goes on; None keeps nothing.
        client: a `distributed.Client` whose workers run the trials; None runs them in here.

    Returns:
        One mapping for each trial, see `Search.records`; `best` picks the winner.

    Raises:
        ValueError: an argument outside its range, budgets that not even the narrowest network of
            every depth keeps, or a folder of another search.
    """
    space.check_budgets(mac_budget, output_budget)
    planned = Plan(
        space=space.declare(keras_tuner.HyperParameters()),
        tuner=tuner,
        trials=trials,
        promoted=promoted,
        epochs=epochs,
        seed=seed,
        affordable=lambda values: space.shrink(values, mac_budget, output_budget),
        data={
            "file": mnist.SHA256,
            "images_per_epoch": IMAGES_PER_EPOCH,
            "batch_size": BATCH_SIZE,
            "mac_budget": mac_budget,
            "output_budget": output_budget,
        },
    )
    with Search(planned, folder) as found:
        return found.run(trainer() if client is None else evaluate_in_worker, client)


def trainer() -> Callable[[dict, int, int], tuple[float, dict]]:
    """Return `evaluate(values, epochs, seed)`: train on a subset, score on the validation split.

    Beside the accuracy it returns which validation images the network got wrong.
    """
    images, labels = inputs("train")
    held_out = inputs("validation")
    # The classes of the first n images of any n are mixed by this one shuffle.
    order = np.random.default_rng(0).permutation(len(images))

    def evaluate(values: dict, epochs: int, seed: int) -> tuple[float, dict]:
        # After the last image the order begins again.
        seen = np.resize(order, IMAGES_PER_EPOCH * epochs)
        model = train_network(values, images[seen], labels[seen], seed=seed)
        wrong = mistakes(model, *held_out)
        return 1 - len(wrong) / len(held_out[0]), {"wrong": wrong.tolist()}

    return evaluate


@functools.cache
def _trainer_of_this_process() -> Callable[[dict, int, int], tuple[float, dict]]:
    return trainer()


def evaluate_in_worker(values: dict, epochs: int, seed: int) -> tuple[float, dict]:
    """Do what `trainer()` returns in a process that loads the data and sets Keras up once."""
    runtime.start(seed)
    return _trainer_of_this_process()(values, epochs, seed)


def final_epochs(values) -> int:
    """Return the epochs that `train_final` gives a network: its share of a fixed sum of MACs."""
    affordable = FINAL_MACS / (space.macs(values) * 60_000)
    return int(np.clip(affordable, *FINAL_EPOCHS))


def train_final(values: dict, *, seed: int) -> tuple[keras.Model, dict[str, list[float]]]:
    """Train the chosen network on all 60,000 training images, augmented, with one-cycle rate.

    The validation images have done their work when the choice is made, so they train too. The
    peak of the learning rate is the chosen one, which the task limits to 0.001.

    Args:
        values: hyperparameters of the winner.
        seed: of the initial weights, dropout, order and augmentation.

    Returns:
        The trained model, and the history of `training.fit`.
    """
    parts = [inputs(split) for split in ("train", "validation")]
    images, labels = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    epochs = final_epochs(values)
    model = fresh(values, seed, training.steps(len(images), BATCH_SIZE, epochs))
    history = training.fit(
        model,
        images,
        labels,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        seed=seed,
        augmented=VARIED,
        label="final training",
    )
    return model, history
