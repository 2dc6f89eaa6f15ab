"""Keras Tuner's base tuner with our oracles: runs trials, resumes them, logs every one.

A trial whose training raises gets the score `oracles.FAILURE` instead of failing: in Keras Tuner
1.4.8 three failures in a row abort the search, failed trials pad the list of the best, and four of
them stop Hyperband.
"""

import contextlib
import io
import json
import math
import time
from pathlib import Path

import keras_tuner
from tqdm.auto import tqdm

from hw4.runtime import search_role, watched
from hw4.tuner.oracles import FAILURE, ORACLES, SCORE, completed
from hw4.tuner.plan import Plan, write_json

IDLE_SECONDS = 0.2


class Search(keras_tuner.engine.base_tuner.BaseTuner):
    """Runs the trials of an oracle in this process, here or as a worker of a chief elsewhere."""

    def __init__(self, plan: Plan, folder: Path):
        self.plan, self._bar, self._began = plan, None, True
        # Before Keras Tuner reads the same variables.
        self._role = search_role()
        # Keras Tuner prints that it reloads; whoever resumes named the folder and knows.
        with contextlib.redirect_stdout(io.StringIO()):
            super().__init__(
                ORACLES[plan.tuner](plan), directory=str(folder), project_name="trials"
            )

    def run(self, evaluate, label: str = "search") -> None:
        """Run all trials that are left; `evaluate(values, epochs, seed)` returns a score.

        Raises:
            ValueError: this process has a part in a search on several machines.
        """
        if self._role:
            raise ValueError(
                "KERASTUNER_TUNER_ID must be unset for a search in one process; got "
                f"{self._role[0]!r}. Unset it and KERASTUNER_ORACLE_*, or run `hw4 tune`."
            )
        with progress(self.oracle, label) as self._bar:
            self.search(evaluate)

    def pre_create_trial(self):
        """Wait a moment when the last request for a trial found none."""
        # An oracle that waits for other workers answers at once, again and again.
        if not self._began:
            time.sleep(IDLE_SECONDS)
        self._began = False

    def on_trial_begin(self, trial):
        """Note that the request found a trial."""
        self._began = True

    def run_trial(self, trial, evaluate):
        """Return the metrics of one trial: its score, FAILURE if it failed, and its seconds."""
        values = dict(trial.hyperparameters.values)
        epochs = values["tuner/epochs"]
        seed = int(self.plan.generator(3, int(trial.trial_id)).integers(2**31))
        start = time.perf_counter()
        try:
            plain = {k: v for k, v in values.items() if not k.startswith("tuner/")}
            score = float(evaluate(plain, epochs, seed))
            if not math.isfinite(score):
                raise ValueError(f"score must be finite; got {score}. Lower the learning rate.")
        except Exception as error:
            score, trial.message = FAILURE, f"{type(error).__name__}: {error}"
        return {SCORE: score, "seconds": time.perf_counter() - start}

    def on_trial_end(self, trial):
        """Report the trial and move the progress bar, which a worker leaves to the chief."""
        super().on_trial_end(trial)
        if self._bar is not None:
            self._bar.update()

    def save(self):
        """Write the state, which a worker leaves to the chief."""
        if not self._is_worker():
            self.oracle.save()

    def reload(self):
        """Read the state, which a worker leaves to the chief."""
        if not self._is_worker():
            self.oracle.reload()

    def _get_tuner_fname(self):
        # The oracle's file is all there is to reload.
        return str(Path(self.project_dir) / "oracle.json")


def open_search(plan: Plan, folder: str | Path) -> Search:
    """Return the search of `plan` in `folder`: a new one, or the one found there, to go on with.

    Raises:
        ValueError: the folder holds a search of another plan, or something else.
    """
    folder = Path(folder)
    marker, wanted = folder / "search.json", plan.signature()
    if marker.is_file():
        found = json.loads(marker.read_text("utf-8"))
        differing = sorted(
            key for key in wanted.keys() | found if wanted.get(key) != found.get(key)
        )
        if differing:
            raise ValueError(
                f"folder must hold this very search; got {folder}, which differs in "
                f"{', '.join(differing)}. Name another folder, or delete this one."
            )
    elif folder.exists() and any(
        path.name != f"{marker.name}.partial" for path in folder.iterdir()
    ):
        raise ValueError(
            f"folder must be new, empty, or hold a search; got {folder}, which holds other files. "
            "Name another folder."
        )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(marker, wanted)
    return Search(plan, folder)


def progress(oracle, label: str = "search") -> tqdm:
    """Return a bar over all trials of an oracle, at those that have ended, for who watches."""
    return tqdm(
        desc=label,
        unit="trial",
        total=oracle.total,
        initial=len(oracle.end_order),
        leave=False,
        disable=not watched(),
    )


def records(oracle) -> list[dict]:
    """Return every trial of an oracle as plain values, in the order of the trial numbers."""
    return [_record(trial) for trial in sorted(oracle.trials.values(), key=lambda t: t.trial_id)]


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


def _record(trial) -> dict:
    values = trial.hyperparameters.values
    ended, metrics = trial.status == "COMPLETED", trial.metrics
    return {
        "trial": int(trial.trial_id),
        "parent": int(values["tuner/trial_id"]) if values.get("tuner/trial_id") else None,
        "values": {k: v for k, v in values.items() if not k.startswith("tuner/")},
        "epochs": values["tuner/epochs"],
        "score": float(trial.score) if completed(trial) else None,
        # A trial that ended with the loss of its workers has none.
        "seconds": float(metrics.get_last_value("seconds")) if metrics.exists("seconds") else None,
        "status": "completed" if completed(trial) else "failed" if ended else "unfinished",
        "message": trial.message,
    }
