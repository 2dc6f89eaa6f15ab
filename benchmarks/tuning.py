"""Question 1 measured: stubbed searches, the feasibility rule, and ours against the report.

    python benchmarks/tuning.py                    the quick parts and our procedure, 3 seeds
    python benchmarks/tuning.py stub feasible      only these parts
    python benchmarks/tuning.py ours reported      both procedures in one run, about an hour

Parts: `stub` (200 seeds x 20 trials, every proposal built), `feasible` (500 points of the
reported space, built), `ours`, `reported` (its program as it stands: 5 trials of 5 epochs, then up
to 20 epochs, everything judged by the test set).
"""

import sys
import tempfile
import time

from hw4 import runtime

runtime.start(0)

import keras  # noqa: E402
import keras_tuner  # noqa: E402
import numpy as np  # noqa: E402

from hw4 import search_space, tuning, tuning_reported  # noqa: E402
from hw4.search_plan import TUNERS, Plan  # noqa: E402
from hw4.tuner import best, open_search, records  # noqa: E402

SEEDS = (1, 2, 3)
# Twice the epochs of the notebook: there is a fifth of the report's time to spend.
FINAL_FACTOR = 2


def stub():
    """Search 200 times with a trainer that only builds, and count what fails or aborts."""
    space = search_space.declare(keras_tuner.HyperParameters())
    failed = aborted = trials = 0

    def build(values, epochs, seed):
        tuning.build_model(values)
        return float(np.random.default_rng(seed).random())

    for seed in range(200):
        tuner = TUNERS[seed % len(TUNERS)]
        plan = Plan(space, tuner, 17, seed, (2, 12), 3, repair=search_space.shrink)
        with tempfile.TemporaryDirectory() as folder:
            try:
                search = open_search(plan, folder)
                search.run(build)
            except RuntimeError:
                aborted += 1
            log = records(search.oracle)
        trials += len(log)
        failed += sum(record["status"] != "completed" for record in log)
        if seed % 20 == 19:
            keras.backend.clear_session()
    print(f"stub: {trials} trials of 200 searches, {failed} failed builds, {aborted} aborts")


def feasible():
    """Compare the verdict of conv_shapes with really building, on the reported space."""
    rng, agree, built = np.random.default_rng(1), 0, 0
    for _ in range(500):
        values = tuning_reported.sample(rng)
        try:
            tuning_reported.build(values, initializer="zeros")
            works = True
        except ValueError:
            works = False
        agree += works == (tuning_reported.obstacle(values) is None)
        built += works
    print(f"feasible: {agree} of 500 verdicts agree, {built} points can be built")


def ours():
    """Search, choose by validation, train, test once; for three seeds."""
    images, labels = tuning.inputs("test")
    scores, times = [], []
    for seed in SEEDS:
        start = time.perf_counter()
        winner = best(tuning.search("random", seed=seed))
        epochs = FINAL_FACTOR * tuning.final_epochs(winner["values"])
        model, _ = tuning.train_final(winner["values"], seed=seed, epochs=epochs)
        times.append(time.perf_counter() - start)
        scores.append(model.evaluate(images, labels, batch_size=500, verbose=0)[1])
        print(f"ours, seed {seed}: {100 * scores[-1]:.2f} % in {times[-1]:.0f} s, {epochs} epochs")
    print(f"ours: mean {100 * np.mean(scores):.3f} %, mean {np.mean(times):.0f} s")


def reported():
    """Run the reported program; a depth that cannot be built is drawn again, which it did not."""
    (x, y), (x_test, y_test) = [
        tuple(np.concatenate(part) for part in zip(*map(tuning.inputs, splits), strict=True))
        for splits in (("train", "validation"), ("test",))
    ]
    rng, start, results = np.random.default_rng(0), time.perf_counter(), []
    while len(results) < tuning_reported.TRIALS:
        values = tuning_reported.sample(rng)
        if tuning_reported.obstacle(values) is None:
            model = tuning_reported.build(values)
            history = model.fit(
                x,
                y,
                epochs=tuning_reported.EPOCHS,
                batch_size=tuning_reported.BATCH_SIZE,
                validation_data=(x_test, y_test),
                verbose=0,
            ).history
            results.append((max(history["val_accuracy"]), len(results), model))
    model = max(results)[2]
    stop = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    options = {"validation_data": (x_test, y_test), "callbacks": [stop], "verbose": 0}
    model.fit(x, y, epochs=20, batch_size=128, **options)
    accuracy = model.evaluate(x_test, y_test, verbose=0)[1]
    print(f"reported: {100 * accuracy:.2f} % in {time.perf_counter() - start:.0f} s")


PARTS = {"stub": stub, "feasible": feasible, "ours": ours, "reported": reported}

if __name__ == "__main__":
    for name in sys.argv[1:] or ("stub", "feasible", "ours"):
        PARTS[name]()
