"""Question 7's network on MNIST: trained as its notebook does, and by the report's recipe.

    python benchmarks/training.py [--seeds 1 2 3 4 5]

Seed by seed one after the other in one process. The notebook's training: 6 epochs of 55,000
augmented images, batches of 128, one-cycle rate. The recipe: 15 epochs of 60,000 images, batches of
64, Adam at its default rate. Both are tested after each epoch, which chooses nothing and is no part
of their time. About twenty minutes a seed on one core.
"""

import argparse
import sys

from hw4 import runtime

runtime.start(0)

import keras  # noqa: E402
import numpy as np  # noqa: E402

from _results import now, write  # noqa: E402
from grad_cam import question_7  # noqa: E402
from hw4 import mnist, training, tuning  # noqa: E402

COLUMNS = ("what", "test accuracy", "reaches the report's 99.21 %", "seconds", "of the processor")
REPORTED = 0.9921
EPOCHS, BATCH, PEAK = 6, 128, 3e-3  # the notebook's
LITERAL_EPOCHS, LITERAL_BATCH = 15, 64  # the task's
KINDS = ("ours", "the report's recipe")


class Clock(keras.callbacks.Callback):
    """Tests after each epoch, with the clock stopped."""

    def __init__(self, images, labels):
        super().__init__()
        self.tested = runtime.batched(images, labels, 500)
        self.spent, self.history, self.since = np.zeros(2), [], now()

    def on_epoch_end(self, epoch, logs=None):
        self.spent = self.spent + now() - self.since
        accuracy = self.model.evaluate(**self.tested, verbose=0, return_dict=True)["accuracy"]
        self.history.append((accuracy, *self.spent))
        self.since = now()

    def reached(self, goal):
        """Say after which epoch and how many seconds the test accuracy was at the goal first."""
        for epoch, (accuracy, seconds, _) in enumerate(self.history, start=1):
            if accuracy >= goal:
                return f"epoch {epoch}, {seconds:.0f} s"
        return f"never in {len(self.history)} epochs"


def inputs(split):
    """Return a split: images as a network takes them, labels as vectors with a single 1."""
    images, labels = tuning.inputs(split)
    return images, keras.utils.to_categorical(labels, 10)


def trained(optimizer, data, tested, seed, **options):
    """Train question 7's network from fresh weights; return its clock."""
    runtime.reseed(seed)
    clock, model = Clock(*tested), question_7()
    model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    training.fit(model, *data, seed=seed, callbacks=[clock], **options)
    return clock


def rows(seeds=(1,)):
    """Yield a row a training, then the mean of each kind and the ratio of their times."""
    fitted, watched, tested = (inputs(split) for split in mnist.SPLITS)
    everything = [np.concatenate(pair) for pair in zip(fitted, watched, strict=True)]
    steps = training.steps(len(fitted[0]), BATCH, EPOCHS)
    results = []
    for seed in seeds:
        one_cycle = keras.optimizers.Adam(training.one_cycle(PEAK, steps))
        options = {"epochs": EPOCHS, "batch_size": BATCH, "augmented": True}
        ours = trained(one_cycle, fitted, tested, seed, **options)
        literal = {"epochs": LITERAL_EPOCHS, "batch_size": LITERAL_BATCH}
        recipe = trained("adam", everything, tested, seed, **literal)
        results.append([clock.history[-1] for clock in (ours, recipe)])
        for kind, clock in zip(KINDS, (ours, recipe), strict=True):
            yield row(f"{kind}, seed {seed}", clock.reached(REPORTED), clock.history[-1])
    results = np.array(results)
    for kind, mean in zip(KINDS, results.mean(axis=0), strict=True):
        yield row(f"{kind}, mean", "", mean)
    ratios = results[:, 0, 1:] / results[:, 1, 1:]
    spread = [f"{np.median(r):.2f} ({r.min():.2f} to {r.max():.2f})" for r in ratios.T]
    yield ["ours / recipe: median (all)", "", "", *spread]


def row(what, when, result):
    """Return one row: an accuracy, and seconds by the clock and of the processor."""
    made = [what, f"{100 * result[0]:.2f} %", when, *(f"{number:.0f}" for number in result[1:])]
    print(*made, sep=", ", file=sys.stderr)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    notes = (
        "Question 7's network, trained as its notebook does (6 epochs, augmented, one-cycle rate), "
        "and by the recipe of the task and the report (15 epochs), by turns in one process; tests "
        "after each epoch are no part of the time. Both go through hw4's `fit`, which saves the "
        "recipe, too, TensorFlow's waits at ends of epochs. Keras on "
        f"{keras.backend.backend()}, {runtime.device()}."
    )
    table = list(rows(parser.parse_args().seeds))
    write("training.py", ("keras", "tensorflow", "jax", "torch"), table, COLUMNS, notes)
