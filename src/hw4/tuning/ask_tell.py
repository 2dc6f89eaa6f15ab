"""A search by ask and tell: Keras Tuner's oracles propose and are told, our loop does the rest.

What Keras Tuner 1.4.8 is not asked to do, and why: its seeds 0 and s + 3 repeat others (ours are
spread by NumPy's SeedSequence); its files can disagree after a kill (ours is one log of events,
which is replayed into a fresh oracle); three failed trials in a row end its search (here a failed
trial is told as a bad one, and logged as failed).
"""

import asyncio
import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import keras_tuner
import numpy as np
from keras_tuner import oracles
from sklearn.exceptions import ConvergenceWarning
from tqdm.auto import tqdm

from hw4.runtime import LARGEST_SEED, integer, watched
from hw4.tuning.event_log import EventLog

TUNERS = ("random", "bayesian", "hyperband")
SCORE = "val_accuracy"
# What is known of a trial before it is told.
NOTHING = {"score": None, "details": None, "seconds": None, "message": None}
# Draws among which the Bayesian model chooses.
CANDIDATES = 200
# Seconds without any worker after which a distributed search gives up.
PATIENCE = 60.0


@dataclass(frozen=True)
class Plan:
    """What a search is; two searches with equal plans propose the same trials.

    Args:
        space: Keras Tuner hyperparameters, all declared.
        tuner: `random`, `bayesian` or `hyperband`.
        trials: configurations tried at first; Hyperband derives its own number from `epochs`.
        seed: any integer from 0.
        epochs: budget of a first trial and of a promoted one; Hyperband has its own way from 1
            epoch to the second of them.
        promoted: how many of the best first trials run again for longer, all if there are fewer;
            not for Hyperband.
        initial_points: random trials before the Bayesian model is first asked.
        affordable: turns what is proposed into what is built; idempotent.
        data: whatever identifies the data; a folder of other data is refused.

    Raises:
        ValueError: an argument outside its range.
    """

    space: keras_tuner.HyperParameters
    tuner: str = "random"
    trials: int = 12
    seed: int = 0
    epochs: tuple[int, int] = (2, 6)
    promoted: int = 3
    initial_points: int = 6
    affordable: Callable[[dict], dict] = dict
    data: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every argument, and make integers of what counts as one."""
        if self.tuner not in TUNERS:
            raise ValueError(
                f"tuner must be one of {', '.join(TUNERS)}; got {self.tuner!r}. Choose one."
            )
        for name, low, high in (
            ("trials", 1, None),
            ("seed", 0, LARGEST_SEED),
            ("promoted", 0, None),
            ("initial_points", 1, None),
        ):
            object.__setattr__(self, name, integer(name, getattr(self, name), low, high))
        if not isinstance(self.epochs, tuple | list) or len(self.epochs) != 2:
            raise ValueError(
                f"epochs must be two integers, short and long; got {self.epochs!r}. Try (2, 6)."
            )
        short = integer("epochs[0]", self.epochs[0], 1)
        # Hyperband's factor is 3: with less there is one bracket, which is a random search.
        least = max(short, 3) if self.tuner == "hyperband" else short
        long = integer("epochs[1]", self.epochs[1], least, cure=f"Try ({short}, {least + 3}).")
        object.__setattr__(self, "epochs", (short, long))

    def signature(self) -> dict:
        """Return the plain values that a search folder must share with this plan."""
        names = ("tuner", "trials", "seed", "epochs", "promoted", "initial_points", "data")
        plain = {name: getattr(self, name) for name in names}
        return plain | {"space": self.space.get_config()["space"]}

    def stream(self, name: str, number: int = 0) -> int:
        """Return the 32-bit seed of a named stream; equal names and seeds alone give equal ones."""
        key = (*name.encode(), number)
        state = np.random.SeedSequence(self.seed, spawn_key=key).generate_state(1)
        # Keras Tuner takes 0 for "any".
        return max(1, int(state[0]))

    def oracle(self) -> keras_tuner.Oracle:
        """Return Keras Tuner's oracle of this search, which neither prints nor writes."""
        common = {
            "objective": keras_tuner.Objective(SCORE, "max"),
            "hyperparameters": self.space.copy(),
            "seed": self.stream("proposals"),
        }
        match self.tuner:
            case "random":
                oracle = oracles.RandomSearchOracle(max_trials=self.trials, **common)
            case "bayesian":
                oracle = BestOfDraws(
                    max_trials=self.trials, num_initial_points=self.initial_points, **common
                )
                # The kernel has one length scale to fit, for which 20 restarts are too many.
                oracle.gpr.set_params(n_restarts_optimizer=2)
            case _:
                oracle = oracles.HyperbandOracle(max_epochs=self.epochs[1], factor=3, **common)
        return silent(oracle)


class BestOfDraws(oracles.BayesianOptimizationOracle):
    """Keras Tuner's Gaussian process and its criterion, mean + beta deviations, at random points.

    Keras Tuner climbs the criterion 50 times, which takes tenths of a second and more a proposal;
    the best of 200 draws takes milliseconds. A running trial counts as the worst so far, so that
    others keep away.
    """

    def populate_space(self, trial_id: str) -> dict:
        """Return the next proposal, as `Oracle.populate_space` defines it."""
        scores = [t.score for t in self.trials.values() if t.status == "COMPLETED"]
        if len(scores) < self.num_initial_points:
            return super().populate_space(trial_id)
        trials = [(trial.hyperparameters.values, trial.score) for trial in self.trials.values()]
        x = [self._shares(values) for values, _ in trials]
        # Keras Tuner models the negative score.
        y = [-(min(scores) if score is None else score) for _, score in trials]
        with warnings.catch_warnings():
            # Few trials do not determine the length scale; it may end at its bound.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.gpr.fit(np.array(x), np.array(y))
        rng = np.random.default_rng([self.seed, len(self.trials)])
        draws = [self._draw(rng) for _ in range(CANDIDATES)]
        mean, deviation = self.gpr.predict([*map(self._shares, draws)], return_std=True)
        chosen = draws[int(np.argmin(mean - self.beta * deviation))]
        return {"status": "RUNNING", "values": chosen}

    def _draw(self, rng: np.random.Generator) -> dict:
        values = {}
        for hp in self.hyperparameters.space:
            # Conditions name hyperparameters that come earlier in the space.
            if all(condition.is_active(values) for condition in hp.conditions):
                values[hp.name] = hp.prob_to_value(rng.random())
        return values

    def _shares(self, values: dict) -> list[float]:
        """Return a choice in [0, 1] a hyperparameter, defaults where inactive, as Keras Tuner."""
        space = self.hyperparameters.space
        return [hp.value_to_prob(values.get(hp.name, hp.default)) for hp in space]


def silent(oracle: keras_tuner.Oracle) -> keras_tuner.Oracle:
    """Return an oracle that prints nothing, clears no cell, and writes no file."""
    oracle.verbose = 0
    oracle.save = oracle._save_trial = lambda *_: None
    return oracle


class Search:
    """Asks an oracle for trials and tells it what came of them, in a folder or in memory alone.

    A folder that holds this search is gone on with: its events are replayed into a fresh oracle,
    and trials that were asked for but not told run again, with their numbers, values and seeds.

    Args:
        plan: what is searched.
        folder: where the log of events is kept; None keeps none.

    Raises:
        ValueError: see `EventLog`.
    """

    def __init__(self, plan: Plan, folder: str | Path | None = None) -> None:
        self.plan, self._oracle = plan, plan.oracle()
        self._records: list[dict] = []
        self._proposed: dict[int, object] = {}
        self._again: list[dict] = []
        self._log = EventLog(folder, plan.signature()) if folder is not None else None
        if self._log:
            try:
                self._replay()
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> "Search":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Let others search in the folder."""
        if self._log:
            self._log.close()

    def records(self) -> list[dict]:
        """Return every trial as plain values, in the order of their numbers.

        `trial`, `parent` (the shorter trial it repeats), `proposed`, `values` (what is built),
        `epochs`, `score`, `details` (what `evaluate` returned beside it), `seconds`, `status`
        (`completed`, `failed`, `unfinished`), `message` (why it failed).
        """
        return [dict(record) for record in self._records]

    def ask(self) -> dict | None:
        """Return the record of the next trial to run; None while, or because, there is none."""
        if self._again:
            return self._again.pop(0)
        found = self._propose() or self._promote()
        if found is None:
            return None
        event = {"event": "asked", "trial": len(self._records), **found}
        if self._log:
            self._log.append(event)
        return self._asked(event)

    def tell(self, number: int, outcome: dict) -> None:
        """Take what `attempt` returned for a trial."""
        event = {"event": "told", "trial": number, **outcome}
        if self._log:
            self._log.append(event)
        self._told(event)

    def run(self, evaluate, client=None, label: str = "search") -> list[dict]:
        """Run all trials that are left, here or on a Dask client; return all records.

        Args:
            evaluate: `evaluate(values, epochs, seed)` returns a score, or a score and details that
                JSON can hold; for a client, importable or picklable.
            client: a `distributed.Client`; None runs the trials one after the other in here.
            label: text of the progress bar.

        Raises:
            TimeoutError: the client had no worker for a minute.
            ConnectionError: a worker cannot run `evaluate` at all, or the client lost its cluster.
        """
        planned = self.plan.trials + self.plan.promoted
        with tqdm(
            desc=label,
            unit="trial",
            # Hyperband counts its own.
            total=None if self.plan.tuner == "hyperband" else planned,
            initial=sum(record["status"] != "unfinished" for record in self._records),
            leave=False,
            disable=not watched(),
        ) as bar:
            for number, outcome in (
                _here(self, evaluate) if client is None else _spread(self, evaluate, client)
            ):
                self.tell(number, outcome)
                bar.update()
        return self.records()

    def job(self, record: dict) -> tuple[dict, int, int]:
        """Return the arguments of `evaluate` for a trial: values, epochs, seed."""
        return record["values"], record["epochs"], self.plan.stream("trial", record["trial"])

    def _propose(self) -> dict | None:
        number = len(self._records)
        trial = self._oracle.create_trial(f"trial {number}")
        if trial.status != "RUNNING":
            return None
        self._proposed[number] = trial
        values = trial.hyperparameters.values
        proposed = {k: v for k, v in values.items() if not k.startswith("tuner/")}
        parent = values.get("tuner/trial_id")
        return {
            "parent": int(parent) if parent else None,
            "epochs": values.get("tuner/epochs", self.plan.epochs[0]),
            "proposed": proposed,
            # The oracle keeps what it proposed: it learns the score of "propose, then afford".
            "values": self.plan.affordable(proposed),
        }

    def _promote(self) -> dict | None:
        if self.plan.tuner == "hyperband":
            return None
        first = [record for record in self._records if record["parent"] is None]
        taken = [record["parent"] for record in self._records if record["parent"] is not None]
        if len(taken) == self.plan.promoted or any(r["status"] == "unfinished" for r in first):
            return None
        ready = [r for r in first if r["status"] == "completed" and r["trial"] not in taken]
        if not ready:
            return None
        chosen = max(ready, key=lambda record: record["score"])
        kept = {name: chosen[name] for name in ("proposed", "values")}
        return {"parent": chosen["trial"], "epochs": self.plan.epochs[1], **kept}

    def _asked(self, event: dict) -> dict:
        names = ("trial", "parent", "proposed", "values", "epochs")
        record = {name: event[name] for name in names}
        record |= {**NOTHING, "status": "unfinished"}
        self._records.append(record)
        return record

    def _told(self, event: dict) -> None:
        record = self._records[event["trial"]]
        scores = [r["score"] for r in self._records if r["score"] is not None]
        failed = event["score"] is None
        record |= {name: event[name] for name in NOTHING}
        record["status"] = "failed" if failed else "completed"
        trial = self._proposed.get(event["trial"])
        if trial is None:
            return
        # A failed trial counts as the worst so far, so that a model keeps away without losing its
        # scale; in Hyperband's ranking it comes last, and leaves no hole in a round.
        worst = -math.inf if self.plan.tuner == "hyperband" else min(scores, default=0.0)
        self._oracle.update_trial(trial.trial_id, {SCORE: worst if failed else event["score"]})
        trial.status = "COMPLETED"
        self._oracle.end_trial(trial)

    def _replay(self) -> None:
        for index, event in enumerate(self._log.events):
            try:
                (self._ask_again if event["event"] == "asked" else self._tell_again)(event)
            except (KeyError, TypeError, IndexError, ValueError, _DisorderError) as error:
                raise self._log.damage(index, f"an event out of place ({error!r})") from None
        self._again = [r for r in self._records if r["status"] == "unfinished"]

    def _ask_again(self, event: dict) -> None:
        if event["trial"] != len(self._records):
            raise _DisorderError(f"trial {event['trial']} after {len(self._records)} trials")
        if event["parent"] is None or self.plan.tuner == "hyperband":
            # Brings the oracle to where it was; what counts is what was logged then.
            if self._propose() is None:
                raise _DisorderError(f"trial {event['trial']}, which is not proposed here")
            hyperparameters = self._proposed[event["trial"]].hyperparameters
            own = {k: v for k, v in hyperparameters.values.items() if k.startswith("tuner/")}
            hyperparameters.values = own | event["proposed"]
        self._asked(event)

    def _tell_again(self, event: dict) -> None:
        number = event["trial"]
        if not 0 <= number < len(self._records):
            raise _DisorderError(f"trial {number} told before it was asked")
        if self._records[number]["status"] != "unfinished":
            raise _DisorderError(f"trial {number} told twice")
        self._told(event)


class _DisorderError(Exception):
    """An event that cannot come where it stands."""

    def __repr__(self) -> str:
        return str(self)


def attempt(evaluate, values: dict, epochs: int, seed: int) -> dict:
    """Return score, details, seconds and message of one trial; a failure has the score None."""
    start, details, message = time.perf_counter(), None, None
    try:
        found = evaluate(values, epochs, seed)
        score, details = found if isinstance(found, tuple) else (found, None)
        score = float(score)
        if not math.isfinite(score):
            raise ValueError(f"score must be finite; got {score}. Lower the learning rate.")
    except Exception as error:
        score, details, message = None, None, f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - start
    return {"score": score, "details": details, "seconds": seconds, "message": message}


def _here(search: Search, evaluate) -> Iterator[tuple[int, dict]]:
    while record := search.ask():
        yield record["trial"], attempt(evaluate, *search.job(record))


def _spread(search: Search, evaluate, client) -> Iterator[tuple[int, dict]]:
    """Yield trial numbers and outcomes as the workers of a Dask client finish them."""
    from distributed import wait

    running, heard = {}, time.monotonic()
    while True:
        threads = sum(client.nthreads().values())
        heard = time.monotonic() if threads else heard
        if time.monotonic() - heard > PATIENCE:
            raise TimeoutError(
                f"workers must be running; got none for {PATIENCE:g} s. Start some, and run the "
                "same command again: it goes on from there."
            )
        while len(running) < max(1, threads) and (record := search.ask()):
            # Equal arguments are different trials to us, and one result to Dask.
            future = client.submit(attempt, evaluate, *search.job(record), pure=False)
            running[future] = record["trial"]
        if not running:
            return
        with contextlib.suppress(TimeoutError):
            wait([*running], timeout=1, return_when="FIRST_COMPLETED")
        for future in [future for future in running if future.done()]:
            yield running.pop(future), _outcome(future)


def _outcome(future) -> dict:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        return NOTHING | {"message": f"its workers died: {error}"}
    except (Exception, asyncio.CancelledError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConnectionError(
            f"workers must be able to run a trial; got {why}. Install the same hw4 there, keep the "
            "scheduler running, and run the same command again: it goes on from there."
        ) from error


def best(log: list[dict]) -> dict:
    """Return the winner: the best score among the completed trials with the longest budget.

    Scores after few and after many epochs do not compare. Ties go to the earlier trial.

    Raises:
        ValueError: no trial was completed.
    """
    completed = [record for record in log if record["status"] == "completed"]
    if not completed:
        why = next((record["message"] for record in log if record["message"]), "no trial ended")
        raise ValueError(
            f"evaluate must complete at least one trial; got {len(log)} trials and none did "
            f"({why}). Correct the training and search again in another folder."
        )
    return max(completed, key=lambda record: (record["epochs"], record["score"]))
