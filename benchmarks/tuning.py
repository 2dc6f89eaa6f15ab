"""Question 1 measured: stubbed searches, and ours against the report.

    python benchmarks/tuning.py [stub] [workers] [ours] [recipe] [reported]
        [--searches 20] [--seeds 1]

Parts, the first three by default: `stub` (searches whose trainer only builds), `workers` (one
search here and on 1, 2 and 4 processes), `ours` (search and final training, once a seed), `recipe`
(the report's best network trained as it did, once a seed, without the search that found it),
`reported` (its program: 5 trials of 5 epochs, then up to 20 epochs, everything judged by the test
set; scaled up from a small part, or with HW4_PROFILE=full all of it, about an hour).
"""

import argparse
import sys
import time

from hw4 import runtime

runtime.start(0)

import keras  # noqa: E402
import keras_tuner  # noqa: E402
import numpy as np  # noqa: E402

from _results import now, write  # noqa: E402
from hw4 import tuning  # noqa: E402
from hw4.tools import tune  # noqa: E402
from hw4.tuning import TUNERS, best, reported, space  # noqa: E402
from hw4.tuning.ask_tell import Plan, Search  # noqa: E402

PARTS = ("stub", "workers", "ours", "recipe", "reported")
COLUMNS = ("what", "what came out", "seconds", "of the processor")
REPORTED_SEARCHES = 5
REPORTED_EPOCHS = 20  # at most, of its last training


def stub(searches=20):
    """Search with a trainer that only builds, and count what fails or aborts.

    Random and Bayesian searches have 20 trials, Hyperband's brackets 30.
    """
    start = now()
    declared = space.declare(keras_tuner.HyperParameters())
    failed = aborted = trials = 0

    def build(values, epochs, seed):
        tuning.build_model(values)
        return float(np.random.default_rng(seed).random())

    for seed in range(searches):
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
    came_out = f"{trials:,} trials, {failed} failed builds, {aborted} aborts"
    yield f"stubbed searches: {searches}", came_out, now() - start


def workers(counts=(0, 1, 2, 4), trials=8):
    """Run one search in this process (0) and on processes of its own, which start and end with it.

    Raises:
        AssertionError: other first trials than in here, or one that failed.
    """
    proposed = []
    for count in counts:
        start = time.perf_counter()
        with tune.connected(count, None) as client:
            log = tuning.search(trials=trials, promoted=1, epochs=(1, 2), client=client)
        spent = time.perf_counter() - start
        np.testing.assert_equal({record["status"] for record in log}, {"completed"})
        proposed.append([record["values"] for record in log if record["parent"] is None])
        np.testing.assert_equal(proposed[-1], proposed[0])
        yield [str(count), str(len(log)), f"{100 * best(log)['score']:.2f} %", f"{spent:.0f}"]


def ours(seeds=(1,)):
    """Search, choose, train and test as question 1 does; for each seed, then the mean of all."""
    scores, times = [], []
    for seed in seeds:
        start = now()
        winner = best(tuning.search("random", seed=seed))
        model, history = tuning.train_final(winner["values"], seed=seed)
        times.append(now() - start)
        scores.append(tuning.accuracy(model, *tuning.inputs("test")))
        said = f"{100 * scores[-1]:.2f} %, {len(history['loss'])} epochs"
        yield f"ours, seed {seed}", said, times[-1]
    yield "ours, mean", f"{100 * np.mean(scores):.3f} %", np.mean(times, axis=0)


def everything():
    """Return the 60,000 training images and labels, and those of the test set."""
    parts = zip(tuning.inputs("train"), tuning.inputs("validation"), strict=True)
    return tuple(map(np.concatenate, parts)), tuning.inputs("test")


def early_stopping(monitor="val_loss"):
    """Return the report's rule of when to stop its last training."""
    return keras.callbacks.EarlyStopping(monitor, patience=3, restore_best_weights=True)


def recipe(seeds=(1,)):
    """Train the report's best network as it did, stopped by the test set; once a seed."""
    (x, y), held_out = everything()
    scores, times = [], []
    for seed in seeds:
        keras.utils.set_random_seed(seed)
        start = now()
        model = reported.build(reported.BEST)
        options = {"validation_data": held_out, "callbacks": [early_stopping()], "verbose": 0}
        ran = model.fit(x, y, batch_size=128, epochs=REPORTED_EPOCHS, **options).epoch
        times.append(now() - start)
        scores.append(tuning.accuracy(model, *held_out))
        said = f"{100 * scores[-1]:.2f} %, {len(ran)} epochs"
        yield f"the report's best, seed {seed}", said, times[-1]
    yield "the report's best, mean", f"{100 * np.mean(scores):.3f} %", np.mean(times, axis=0)


def as_reported():
    """Run the reported program, several times over, and give its mean cost at last.

    A trial that cannot be built costs it nothing, and a search that would abort is drawn again.
    The standard profile trains on a tenth of the images for one epoch of each part and scales up,
    validation and tracing left out; its last training counts as 4 epochs, the fewest that early
    stopping allows. Both favour it.
    """
    literal = runtime.profile() == "full"
    (x, y), held_out = everything()

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
        stop = early_stopping("val_loss" if literal else "loss")
        spent += fit(model, REPORTED_EPOCHS, 4, batch_size=128, callbacks=[stop])[0]
        score = f"{100 * model.evaluate(*held_out, verbose=0)[1]:.2f} %" if literal else "scaled up"
        return f"reported, trials {failed}", score, spent

    rng, times = np.random.default_rng(0), []
    for _ in range(1 if literal else REPORTED_SEARCHES):
        *said, spent = search(rng)
        times.append(spent)
        yield *said, spent
    yield "reported, mean", "", np.mean(times, axis=0)


def rows(parts):
    """Yield the rows of some parts; `parts` are their names and generators."""
    spent = {}
    for name, part in parts.items():
        for what, came_out, seconds in part:
            print(what, came_out, file=sys.stderr)
            spent[name] = seconds  # at last the mean
            yield [what, came_out, *(f"{number:.0f}" for number in seconds)]
    if {"ours", "reported"} <= spent.keys():
        ratios = spent["ours"] / spent["reported"]
        yield ["ours / reported, of the means", "", *(f"{number:.3f}" for number in ratios)]


def write_workers():
    """Write the section of the shared search."""
    notes = (
        "One search of question 1 in the script's own process (0), and on so many processes, one "
        "trial at a time in each, which share the cores and start and end with the search. All "
        "run the same first trials."
    )
    columns = ("workers", "trials", "best, held out", "seconds")
    packages = ("keras", "tensorflow", "distributed")
    write("tuning.py, workers", packages, list(workers()), columns, notes)


def write_parts(options):
    """Write the section of the other parts, if any was asked for."""
    known = {
        "stub": stub(options.searches),
        "ours": ours(options.seeds),
        "recipe": recipe(options.seeds),
        "reported": as_reported(),
    }
    chosen = {name: part for name, part in known.items() if name in options.parts}
    notes = (
        "A stubbed search only builds its networks. Ours is question 1: search, choice by "
        "validation and final training, accuracy on the test set. The report's best (recipe) is "
        "trained by its recipe, without the search that found it. Its program (reported): `x` is a "
        "trial that cannot be built; scaled up means from a tenth of its images, in its favour. "
        f"Keras on {keras.backend.backend()}, {runtime.device()}."
    )
    if left_out := [name for name in known if name not in chosen]:
        notes += f" Not run: {', '.join(left_out)}."
    if chosen:
        packages = ("keras", "keras_tuner", "tensorflow")
        write("tuning.py", packages, list(rows(chosen)), COLUMNS, notes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["stub", "workers", "ours"])
    parser.add_argument("--searches", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    asked = parser.parse_args()
    if unknown := [name for name in asked.parts if name not in PARTS]:
        parser.error(f"parts must be among {', '.join(PARTS)}; got {unknown[0]!r}")
    if "workers" in asked.parts:
        write_workers()
    write_parts(asked)
