"""Question 1 measured: stubbed searches, and ours against the report.

    python benchmarks/tuning.py                  the stub, and our procedure for 3 seeds
    python benchmarks/tuning.py ours reported    both procedures in one run, the report's scaled
                                                 up from a small part; HW4_PROFILE=full runs all
                                                 of it, about an hour

Parts: `stub` (200 seeds, at least 20 trials each, every proposal built), `ours`, `reported` (its
program: 5 trials of 5 epochs, then up to 20 epochs, everything judged by the test set).
"""

import sys
import time

from hw4 import runtime

runtime.start(0)

import keras  # noqa: E402
import keras_tuner  # noqa: E402
import numpy as np  # noqa: E402

from hw4 import tuning  # noqa: E402
from hw4.tuning import TUNERS, best, reported, space  # noqa: E402
from hw4.tuning.ask_tell import Plan, Search  # noqa: E402

SEEDS = (1, 2, 3)
# More epochs than the notebook's: there is a fifth of the report's time to spend.
FINAL_FACTOR = 1.5
REPORTED_SEARCHES = 5


def now() -> np.ndarray:
    """Return seconds on the clock, and of the processor, which other work does not stretch."""
    return np.array([time.perf_counter(), time.process_time()])


def told(seconds) -> str:
    """Return both times as text."""
    return f"{seconds[0]:.0f} s, of the processor {seconds[1]:.0f} s"


def stub():
    """Search 200 times with a trainer that only builds, and count what fails or aborts.

    Random and Bayesian searches have 20 trials, Hyperband's brackets 30.
    """
    declared = space.declare(keras_tuner.HyperParameters())
    failed = aborted = trials = 0

    def build(values, epochs, seed):
        tuning.build_model(values)
        return float(np.random.default_rng(seed).random())

    for seed in range(200):
        tuner = TUNERS[seed % len(TUNERS)]
        search = Search(Plan(declared, tuner, 17, seed, (2, 12), 3, affordable=space.shrink))
        try:
            search.run(build)
        except RuntimeError:
            aborted += 1
        log = search.records()
        trials += len(log)
        failed += sum(record["status"] != "completed" for record in log)
        if seed % 20 == 19:
            keras.backend.clear_session()
    print(f"stub: {trials} trials of 200 searches, {failed} failed builds, {aborted} aborts")


def ours():
    """Search, choose by validation, train, test once; for three seeds."""
    scores, times = [], []
    for seed in SEEDS:
        start = now()
        winner = best(tuning.search("random", seed=seed))
        epochs = round(FINAL_FACTOR * tuning.final_epochs(winner["values"]))
        model, _ = tuning.train_final(winner["values"], seed=seed, epochs=epochs)
        times.append(now() - start)
        scores.append(tuning.accuracy(model, *tuning.inputs("test")))
        print(f"ours, seed {seed}: {100 * scores[-1]:.2f} %, {epochs} epochs, {told(times[-1])}")
    print(f"ours: mean {100 * np.mean(scores):.3f} %, mean {told(np.mean(times, axis=0))}")
    return np.mean(times, axis=0)


def as_reported():
    """Run the reported program, several times over, and return its mean cost.

    A trial that cannot be built costs it nothing, and a search that would abort is drawn again.
    The standard profile trains on a tenth of the images for one epoch of each part and scales up,
    validation and tracing left out; its last training counts as 4 epochs, the fewest that early
    stopping allows. Both favour it.
    """
    literal = runtime.profile() == "full"
    (x, y), held_out = [
        tuple(np.concatenate(part) for part in zip(*map(tuning.inputs, splits), strict=True))
        for splits in (("train", "validation"), ("test",))
    ]

    def fit(model, epochs, fewest, **options):
        if not literal:
            model.fit(x[:256], y[:256], verbose=0, **options)
        start = now()
        if literal:
            options |= {"epochs": epochs, "validation_data": held_out}
            scores = model.fit(x, y, verbose=0, **options).history["val_accuracy"]
            return now() - start, max(scores)
        scores = model.fit(x[::10], y[::10], verbose=0, **options).history["accuracy"]
        return (now() - start) * 10 * fewest, max(scores)

    def search(rng):
        draws = [reported.sample(rng) for _ in range(reported.TRIALS)]
        failed = "".join("x" if reported.obstacle(values) else "." for values in draws)
        if "x" * reported.FAILURE_LIMIT in failed:
            return search(rng)
        spent, results = np.zeros(2), []
        for values in (values for values, mark in zip(draws, failed, strict=True) if mark == "."):
            keras.backend.clear_session()
            model = reported.build(values)
            budget = reported.EPOCHS, reported.EPOCHS
            seconds, score = fit(model, *budget, batch_size=reported.BATCH_SIZE)
            spent += seconds
            results.append((score, len(results), model))
        model = max(results)[2]
        monitor = "val_loss" if literal else "loss"
        stop = keras.callbacks.EarlyStopping(monitor, patience=3, restore_best_weights=True)
        spent += fit(model, 20, 4, batch_size=128, callbacks=[stop])[0]
        score = f"{100 * model.evaluate(*held_out, verbose=0)[1]:.2f} %" if literal else "scaled up"
        print(f"reported, trials {failed}: {score}, {told(spent)}", flush=True)
        return spent

    rng = np.random.default_rng(0)
    spent = np.mean([search(rng) for _ in range(1 if literal else REPORTED_SEARCHES)], axis=0)
    print(f"reported: mean {told(spent)}")
    return spent


PARTS = {"stub": stub, "ours": ours, "reported": as_reported}

if __name__ == "__main__":
    spent = {name: PARTS[name]() for name in sys.argv[1:] or ("stub", "ours")}
    if {"ours", "reported"} <= spent.keys():
        wall, processor = spent["ours"] / spent["reported"]
        print(f"ours / reported: {wall:.3f}, of the processor {processor:.3f}")
