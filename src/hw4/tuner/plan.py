"""What a search is, as plain values, and how they are written so that a kill loses nothing."""

import hashlib
import json
import operator
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras_tuner
import numpy as np

TUNERS = ("random", "bayesian", "hyperband")


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
        promoted: how many of the best first trials run again for longer.
        initial_points: random trials before the Bayesian model is first asked.
        repair: turns a proposal into an admissible one, idempotent.
        data: whatever identifies the data; a folder of other data is refused.
    """

    space: keras_tuner.HyperParameters
    tuner: str = "random"
    trials: int = 12
    seed: int = 0
    epochs: tuple[int, int] = (2, 6)
    promoted: int = 3
    initial_points: int = 6
    repair: Callable[[dict], dict] = dict
    data: dict = field(default_factory=dict)

    def __post_init__(self):
        """Check every argument, and make integers of what counts as one."""
        if self.tuner not in TUNERS:
            raise ValueError(
                f"tuner must be one of {', '.join(TUNERS)}; got {self.tuner!r}. Choose one."
            )
        for name, least in (("trials", 1), ("seed", 0), ("promoted", 0), ("initial_points", 1)):
            value = getattr(self, name)
            number = _integer(value)
            if number is None or number < least:
                raise ValueError(
                    f"{name} must be an integer of at least {least}; got {value!r}. Correct it."
                )
            object.__setattr__(self, name, number)
        pair = isinstance(self.epochs, tuple | list) and len(self.epochs) == 2
        epochs = tuple(map(_integer, self.epochs)) if pair else (None,)
        if None in epochs or not 1 <= epochs[0] <= epochs[1]:
            raise ValueError(
                f"epochs must be two integers (short, long) with 1 <= short <= long; got "
                f"{self.epochs!r}. Try (2, 6)."
            )
        # Its factor is 3: with less there is one bracket, which is a random search.
        if self.tuner == "hyperband" and epochs[1] < 3:
            raise ValueError(
                f"epochs must end with at least 3 for hyperband; got {self.epochs}. Try (1, 4)."
            )
        object.__setattr__(self, "epochs", epochs)

    def signature(self) -> dict:
        """Return the plain values that a search folder must share with this plan."""
        names = ("tuner", "trials", "seed", "epochs", "promoted", "initial_points", "data")
        plain = {name: getattr(self, name) for name in names}
        return json.loads(json.dumps(plain | {"space": self.space.get_config()["space"]}))

    def digest(self) -> str:
        """Return a short text that differs between plans with different signatures."""
        return hashlib.sha256(json.dumps(self.signature()).encode()).hexdigest()[:16]

    def generator(self, *key: int) -> np.random.Generator:
        """Return an independent source of randomness for each seed and key."""
        return np.random.default_rng([self.seed, *key])


def _integer(value) -> int | None:
    """Return an integer, NumPy's included, as Python's; None for anything else."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def write_json(path: Path, content) -> None:
    """Write JSON so that a kill at any moment leaves the old file or the new one, whole.

    Raises:
        ValueError: the content holds NaN or an infinity, for which JSON has no word.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
