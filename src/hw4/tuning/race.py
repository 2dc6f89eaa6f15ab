"""The three tuners on a stubbed objective of known optimum: equal budget, many seeds, seconds.

The objective imitates an accuracy: a smooth hill over learning rate, width and dropout, of which
a trial of e epochs sees all but a share exp(-e / 2), plus noise. Evaluating it costs nothing, so
what is left is what the tuners do: how good their proposals are, and how long they think.
"""

import time
import warnings

import keras_tuner
import numpy as np

from hw4.tuning.ask_tell import Plan, Search, attempt, best, silent

PEAK = 0.995
NOISE = 0.002


def stub_space() -> keras_tuner.HyperParameters:
    """Return three hyperparameters that look like those of a network."""
    hp = keras_tuner.HyperParameters()
    hp.Float("learning_rate", 1e-5, 1e-3, sampling="log")
    hp.Int("width", 32, 256, step=32)
    hp.Float("dropout", 0.0, 0.5, step=0.1)
    return hp


def quality(values) -> float:
    """Return the accuracy that a choice reaches when it is trained for ever; at most 0.995.

    >>> quality({"learning_rate": 5e-4, "width": 192, "dropout": 0.2})
    0.995
    """
    rate = np.log10(values["learning_rate"] / 5e-4)
    width, dropout = (values["width"] - 192) / 224, values["dropout"] - 0.2
    return float(PEAK - 0.03 * rate**2 - 0.02 * width**2 - 0.05 * dropout**2)


def stub(values, epochs: int, seed: int) -> float:
    """Return the noisy accuracy of a choice after some epochs; small rates learn slowly."""
    speed = values["learning_rate"] / 5e-4
    unlearned = 0.1 * np.exp(-epochs * min(1.0, 0.3 + 0.7 * speed) / 2)
    return quality(values) - unlearned + NOISE * np.random.default_rng(seed).standard_normal()


def run_stub(
    tuner: str, seed: int, trials: int, promoted: int, epochs=(2, 6), sign: int = 1
) -> dict:
    """Search the stub once; return epochs spent, quality of the incumbent, seconds of thinking.

    The incumbent is what the search would answer so far: the best score among the trials with
    the longest budget that has been tried.

    Args:
        tuner: `random`, `bayesian` or `hyperband`.
        seed: of the search.
        trials: first trials, not for Hyperband.
        promoted: trials that run again for longer, not for Hyperband.
        epochs: of a first and of a promoted trial.
        sign: -1 searches for the worst, which a tuner that learns notices.

    Returns:
        `spent` and `quality`, one entry a trial; `seconds` a proposal, on average; the `log`.
    """
    plan = Plan(
        stub_space(), tuner, trials, seed, epochs=epochs, promoted=promoted, initial_points=4
    )
    search, thinking = Search(plan), 0.0
    while True:
        start = time.perf_counter()
        record = search.ask()
        thinking += time.perf_counter() - start
        if record is None:
            break
        search.tell(record["trial"], attempt(lambda *job: sign * stub(*job), *search.job(record)))
    log = search.records()
    found = [best(log[:n]) for n in range(1, len(log) + 1)]
    return {
        "spent": np.cumsum([record["epochs"] for record in log]),
        "quality": np.array([quality(record["values"]) for record in found]),
        "seconds": thinking / len(log),
        "log": log,
    }


def listens_after(tuner: str, seeds, trials: int, promoted: int) -> int:
    """Return how many trials a tuner proposes before the scores can matter.

    The same search runs for the best and for the worst score; up to here it proposes the same, with
    every seed (with a single one, two searches may by chance agree a little longer).
    """
    logs = [
        [run_stub(tuner, seed, trials, promoted, sign=sign)["log"] for sign in (1, -1)]
        for seed in seeds
    ]
    return min(
        next((i for i, (a, b) in enumerate(zip(*pair, strict=True)) if a["values"] != b["values"]))
        for pair in logs
    )


def stock_bayesian_seconds(seed: int, proposals: int = 2, initial_points: int = 4) -> float:
    """Return the seconds that a model-based proposal of Keras Tuner's own oracle takes, a mean.

    It climbs the acquisition function from 50 random points, on the stub after a few trials.
    """
    oracle = keras_tuner.oracles.BayesianOptimizationOracle(
        keras_tuner.Objective("score", "max"),
        num_initial_points=initial_points,
        seed=seed,
        hyperparameters=stub_space(),
    )
    with warnings.catch_warnings(action="ignore"):
        told(oracle, [0.90, 0.93, 0.95, 0.92][:initial_points])
        start = time.perf_counter()
        told(oracle, [0.94] * proposals)
        return (time.perf_counter() - start) / proposals


def told(oracle: keras_tuner.Oracle, scores) -> list:
    """Ask one of Keras Tuner's own oracles for trials, tell it these scores, return the trials.

    Args:
        oracle: it is silenced.
        scores: one a trial; None for one that fails.
    """
    silent(oracle)
    trials = []
    for score in scores:
        trial = oracle.create_trial("alone")
        if score is not None:
            oracle.update_trial(trial.trial_id, {oracle.objective.name: score})
        trial.status = "FAILED" if score is None else "COMPLETED"
        oracle.end_trial(trial)
        trials.append(trial)
    return trials
