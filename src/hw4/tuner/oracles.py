"""Keras Tuner's oracles, made repeatable, resumable and unable to abort.

Keras Tuner proposes and keeps the books. What is changed here, and why (version 1.4.8):

* every draw comes from (seed, draw number); there, seed 0 means "any", and seed s + 3 repeats
  the trials of seed s;
* one file, replaced in one step, holds the whole state; there, a killed process can leave trial
  and search files that disagree or end in mid-line;
* a proposal goes through `Plan.repair` before it counts, so that none is wasted;
* no worker is sent home while another's trial may still come back, a trial that comes back
  without a result waits for another worker, and no number of failures ends the search;
* promising trials of a random or Bayesian search run again for longer (Hyperband has its own way).
"""

import json
import math
import warnings
from pathlib import Path

import keras_tuner
import numpy as np
from keras_tuner import oracles
from sklearn.exceptions import ConvergenceWarning

from hw4.tuner.plan import Plan, write_json

SCORE = "val_accuracy"
DIGEST = "tuner/plan"
# Draws that give only duplicates before the space counts as exhausted.
MOST_DRAWS = 200
# Draws among which the Bayesian model chooses.
CANDIDATES = 200
# Workers that may be lost on a trial before it counts as failed.
MOST_LOSSES = 2
# Score of a failed trial: JSON has no infinity, and 32-bit floats hold a power of two exactly.
FAILURE = -(2.0**100)


class _Books:
    """What all three oracles share; stands before a Keras Tuner oracle in the bases."""

    def __init__(self, plan: Plan, **options):
        # Keras Tuner's own seed must not be 0; it is used for the Gaussian process alone.
        space = plan.space.copy()
        # Travels to the workers, who compare it with their own.
        space.Fixed(DIGEST, plan.digest())
        super().__init__(
            objective=keras_tuner.Objective(SCORE, "max"),
            hyperparameters=space,
            allow_new_entries=False,
            seed=int(plan.generator(0).integers(1, 2**31)),
            max_consecutive_failed_trials=math.inf,
            **options,
        )
        self.plan, self.verbose, self._seed_state = plan, 0, 0

    @property
    def total(self) -> int:
        """Number of trials of the whole search, unless the space is exhausted before."""
        return self.max_trials

    def _random_values(self):
        for _ in range(MOST_DRAWS):
            values = self._draw(self.plan.generator(1, self._seed_state))
            self._seed_state += 1
            if not self._duplicate(values):
                return values
        return None

    def _draw(self, rng: np.random.Generator) -> dict:
        """Return one admissible point of the space, uniform before it is repaired."""
        values = {}
        for hp in self.hyperparameters.space:
            # Conditions name hyperparameters that come earlier in the space.
            if all(condition.is_active(values) for condition in hp.conditions):
                values[hp.name] = hp.prob_to_value(rng.random())
        return self.plan.repair(values)

    def _compute_values_hash(self, values):
        # The budget of a trial is no part of its configuration, its parent trial is.
        kept = ("tuner/trial_id",)
        return super()._compute_values_hash(
            {k: v for k, v in values.items() if k in kept or not k.startswith("tuner/")}
        )

    @keras_tuner.synchronized
    def create_trial(self, tuner_id):
        trial = super().create_trial(tuner_id)
        if trial.status == "STOPPED" and self.ongoing_trials:
            trial.status = "IDLE"
            self.tuner_ids.add(tuner_id)
        return trial

    @keras_tuner.synchronized
    def update_trial(self, trial_id, metrics, step=0):
        if trial_id in self.end_order:
            return self.trials[trial_id]
        return super().update_trial(trial_id, metrics, step)

    @keras_tuner.synchronized
    def end_trial(self, trial):
        # A worker that was given up may come back after another one has run its trial.
        if trial.trial_id in self.end_order:
            return
        known = self.trials[trial.trial_id]
        if trial.status != "COMPLETED" or not known.metrics.exists(SCORE):
            # The worker or this chief was cut off between the training and the report.
            for tuner_id, ongoing in list(self.ongoing_trials.items()):
                if ongoing is known:
                    self._put_back(tuner_id)
            return
        # gRPC carries 32-bit floats: the values that were proposed are the ones to keep.
        trial.hyperparameters = known.hyperparameters
        self._retry_queue = [queued for queued in self._retry_queue if queued != trial.trial_id]
        super().end_trial(trial)

    @keras_tuner.synchronized
    def release(self, tuner_id: str) -> str | None:
        """Take back the trial of a worker that is gone, and return its number if it had one.

        The trial waits for another worker; one that has cost two workers is failed instead.
        """
        self.tuner_ids.discard(tuner_id)
        if tuner_id not in self.ongoing_trials:
            return None
        return self._put_back(tuner_id)

    def _put_back(self, tuner_id: str) -> str:
        trial = self.ongoing_trials[tuner_id]
        self._run_times[trial.trial_id] += 1
        if self._run_times[trial.trial_id] < MOST_LOSSES:
            del self.ongoing_trials[tuner_id]
            trial.status = "RUNNING"
            self._retry_queue.append(trial.trial_id)
            self.save()
        else:
            # A result may have come although its worker did not live to end the trial.
            if not trial.metrics.exists(SCORE):
                self.update_trial(trial.trial_id, {SCORE: FAILURE})
                trial.message = f"{MOST_LOSSES} workers were lost on it"
            trial.status = "COMPLETED"
            self.end_trial(trial)
        return trial.trial_id

    def get_state(self):
        return super().get_state() | {
            "trials": [trial.get_state() for trial in self.trials.values()]
        }

    def set_state(self, state):
        trials = map(keras_tuner.engine.trial.Trial.from_state, state["trials"])
        self.trials = {trial.trial_id: trial for trial in trials}
        super().set_state(state)
        # Keras Tuner saves the end of a trial while it still counts as ongoing.
        ongoing = [trial.trial_id for trial in self.ongoing_trials.values()]
        self._retry_queue += [number for number in ongoing if number not in self.end_order]
        self.ongoing_trials = {}

    def _save_trial(self, trial):
        """Do nothing: `save`, which follows every change, writes the trials too."""

    def save(self):
        write_json(Path(self._get_oracle_fname()), self.get_state())

    def reload(self):
        self.set_state(json.loads(Path(self._get_oracle_fname()).read_text("utf-8")))


def completed(trial) -> bool:
    """Say whether a trial ended with a score of its own."""
    return trial.status == "COMPLETED" and trial.score > FAILURE


class _Promoting(_Books):
    """First trials with the short budget, then the best of them again with the long one."""

    def __init__(self, plan, **options):
        super().__init__(plan, max_trials=plan.trials + plan.promoted, **options)

    def populate_space(self, trial_id):
        if len(self.trials) < self.plan.trials:
            response = self._explore(trial_id)
            if response["values"] is not None:
                response["values"] |= {"tuner/epochs": self.plan.epochs[0]}
                return response
        return self._promote()

    def _explore(self, trial_id):
        return super().populate_space(trial_id)

    def _promote(self):
        values = [trial.hyperparameters.values for trial in self.trials.values()]
        taken = {v["tuner/trial_id"] for v in values if "tuner/trial_id" in v}
        first = [
            t for t in self.trials.values() if "tuner/trial_id" not in t.hyperparameters.values
        ]
        if any(trial.status == "RUNNING" for trial in first):
            return {"status": "IDLE", "values": None}
        ready = [t for t in first if t.trial_id not in taken and completed(t)]
        if not ready or len(taken) >= self.plan.promoted:
            return {"status": "STOPPED", "values": None}
        best = max(ready, key=lambda trial: trial.score)
        longer = {"tuner/epochs": self.plan.epochs[1], "tuner/trial_id": best.trial_id}
        return {"status": "RUNNING", "values": best.hyperparameters.values | longer}


class RandomOracle(_Promoting, oracles.RandomSearchOracle):
    """Independent draws from the space."""


class BayesianOracle(_Promoting, oracles.BayesianOptimizationOracle):
    """The most promising of many draws, judged by a Gaussian process: mean + beta deviations.

    Keras Tuner climbs the same criterion 50 times from random points of the unit cube, which takes
    seconds a proposal and ends at points that may be inadmissible; draws are neither.
    """

    def __init__(self, plan):
        super().__init__(plan, num_initial_points=plan.initial_points)

    def _make_gpr(self):
        # The kernel has one length scale to fit, for which 20 restarts are too many.
        return super()._make_gpr().set_params(n_restarts_optimizer=2)

    def _explore(self, trial_id):
        if sum(map(completed, self.trials.values())) < self.plan.initial_points:
            return self._random_populate_space()
        with warnings.catch_warnings():
            # Few trials do not determine the length scale; it may end at its bound.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.gpr.fit(*self._vectorize_trials())
        rng = self.plan.generator(2, len(self.trials))
        candidates = [self._draw(rng) for _ in range(CANDIDATES)]
        mean, deviation = self.gpr.predict(np.array([*map(self._encode, candidates)]), True)
        # Keras Tuner models the negative score.
        for i in np.argsort(mean - self.beta * deviation, kind="stable"):
            if not self._duplicate(candidates[i]):
                return {"status": "RUNNING", "values": candidates[i]}
        return self._random_populate_space()

    def _vectorize_trials(self):
        # Keras Tuner asks the process about running trials before it has been fitted. Here a
        # running or failed trial counts as the worst so far, so that others keep away from it.
        trials = self.trials.values()
        worst = min(trial.score for trial in trials if completed(trial))
        x = [self._encode(trial.hyperparameters.values) for trial in trials]
        y = [-(trial.score if completed(trial) else worst) for trial in trials]
        return np.array(x), np.array(y)

    def _encode(self, values) -> list[float]:
        """Return a choice as Keras Tuner encodes it: shares in [0, 1], defaults where inactive."""
        return [hp.value_to_prob(values.get(hp.name, hp.default)) for hp in self._nonfixed_space()]


class HalvingOracle(_Books, oracles.HyperbandOracle):
    """Successive halving over brackets, from 1 epoch up to the long budget."""

    def __init__(self, plan):
        super().__init__(plan, max_epochs=plan.epochs[1], factor=3)

    @property
    def total(self) -> int:
        """Number of trials of all rounds of all brackets."""
        brackets = range(self._get_num_brackets())
        return sum(self._get_size(bracket, i) for bracket in brackets for i in range(bracket + 1))


ORACLES = {"random": RandomOracle, "bayesian": BayesianOracle, "hyperband": HalvingOracle}
