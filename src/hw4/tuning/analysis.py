"""What the log of a search says: as a table, over time, and about every hyperparameter."""

import math

import keras_tuner
import numpy as np
from scipy import stats

from hw4 import conv_shapes as cs
from hw4.tuning import reported, space
from hw4.tuning.ask_tell import best
from hw4.tuning.space import macs

PERMUTATIONS = 20_000
# What every layer may have of its own, and the number of such layers.
LAYERS = {
    "filters": "conv_layers",
    "neurons": "dense_layers",
    "dropout_conv": "conv_layers",
    "dropout_dense": "dense_layers",
}
SINGLE = (
    "conv_layers",
    "dropout_conv",
    "dense_layers",
    "dropout_dense",
    "optimizer",
    "learning_rate",
)


def table(log: list[dict]) -> list[dict[str, str]]:
    """Return one row of readable cells for each trial of a log (`Search.records`).

    Filters and neurons are joined by slashes, first layer first; a promoted trial names the
    trial that it repeats for longer.
    """
    return [_row(record) for record in log]


def course(log: list[dict]) -> dict[str, np.ndarray]:
    """Return what happened after each trial, (n,) each, NaN where there is no score yet.

    `spent`: epochs so far. `score`: of this trial. `incumbent`: score of the trial that would win
    if the search ended here. `promoted`: whether this trial repeats a shorter one.
    """
    columns: dict[str, list] = {"score": [], "incumbent": []}
    for n, record in enumerate(log, 1):
        columns["score"].append(_score(record))
        ended = any(earlier["status"] == "completed" for earlier in log[:n])
        columns["incumbent"].append(_score(best(log[:n])) if ended else math.nan)
    columns["spent"] = np.cumsum([record["epochs"] for record in log])
    columns["promoted"] = [record["parent"] is not None for record in log]
    return {name: np.array(column) for name, column in columns.items()}


def first_trials(log: list[dict]) -> list[dict]:
    """Return the completed trials with the smallest budget: the only ones that compare fairly."""
    completed = [record for record in log if record["status"] == "completed"]
    shortest = min((record["epochs"] for record in completed), default=0)
    return [record for record in completed if record["epochs"] == shortest]


def features(values) -> dict:
    """Return what a log is analysed by: every single hyperparameter, mean widths, and the cost."""
    means = {f"mean {name}": float(np.mean(_each(values, name))) for name in ("filters", "neurons")}
    return {name: values[name] for name in SINGLE} | means | {"MACs, millions": macs(values) / 1e6}


def influence(log: list[dict]) -> list[dict]:
    """Return for every hyperparameter how the score goes with it among the first trials.

    Numbers: Spearman's rank correlation. Words: the share of the variance of the ranks that lies
    between the groups (eta squared). The p values are those of a permutation test. None where they
    are not defined: a single value or score, or fewer than 3 trials.

    Returns:
        Mappings with `name`, `measure`, `effect`, `p`.
    """
    first = first_trials(log)
    scores = stats.rankdata([record["score"] for record in first])
    rows = [features(record["values"]) for record in first]
    found = []
    for name in rows[0] if rows else ():
        column = [row[name] for row in rows]
        words = isinstance(column[0], str)
        defined = min(len(set(column)), len(set(scores))) > 1 and len(rows) > 2
        effect, p = (_between if words else _rank)(column, scores) if defined else (None, None)
        measure = "eta squared" if words else "Spearman"
        found.append({"name": name, "measure": measure, "effect": effect, "p": p})
    return found


def every_value(log: list[dict], winner: dict, limits: dict[str, int]) -> list[dict[str, str]]:
    """Return one row of readable cells for every hyperparameter of the space.

    Args:
        log: all trials.
        winner: one of them.
        limits: largest affordable value of those hyperparameters that the budget limits.

    Returns:
        `hyperparameter`, `range`, `budget leaves`, `chosen`, `reported`, `evidence`, `reading`.
    """
    effects = influence(log)
    found = {row["name"]: row for row in effects}
    rows = []
    for hp in space.declare(keras_tuner.HyperParameters()).space:
        choices = hp.values if hasattr(hp, "ordered") else (f"{hp.min_value} to {hp.max_value}",)
        most = limits.get(hp.name)
        kind = hp.name.rsplit("_", 1)[0]
        row = found.get(hp.name) or found.get(f"mean {kind}") or {"p": None}
        told = row["p"] is not None
        fixed = most == hp.min_value if most else False
        if fixed:
            reading = "not searched"
        elif not told:
            reading = "undefined"
        else:
            reading = "matters" if row["p"] < 0.05 / len(effects) else "undecided"
        chosen = winner["values"].get(hp.name, "no such layer")
        rows.append(
            {
                "hyperparameter": hp.name,
                "range": ", ".join(map(str, choices)),
                "budget leaves": ""
                if most is None
                else str(hp.min_value) + f" to {most}" * (not fixed),
                "chosen": f"{chosen:.2g}" if isinstance(chosen, float) else str(chosen),
                "reported": _as_reported(hp.name),
                "evidence": f"{row['measure']} {row['effect']:+.2f}, p = {row['p']:.2g}"
                if told
                else "",
                "reading": reading,
            }
        )
    return rows


def _as_reported(name: str) -> str:
    """Return what the report's best trial had for a hyperparameter of ours."""
    described = describe(reported.BEST, reported.network(reported.BEST))
    if name in ("dropout_conv", "dropout_dense", "optimizer"):
        return described[name.replace("_", " ")]
    return str(reported.BEST.get(name, "no such layer"))


def _rank(column: list, scores: np.ndarray) -> tuple[float, float]:
    ranks, centred = stats.rankdata(column), scores - scores.mean()

    def covariance(ranks, axis) -> np.ndarray:
        return (ranks * centred).sum(axis)

    p = _permutation_p(ranks, covariance, "two-sided")
    return float(np.corrcoef(ranks, scores)[0, 1]), p


def _between(column: list, scores: np.ndarray) -> tuple[float, float]:
    _, groups = np.unique(column, return_inverse=True)
    sizes, centred = np.bincount(groups), scores - scores.mean()

    def between(groups, axis) -> np.ndarray:
        sums = (((groups == g) * centred).sum(axis) for g in range(len(sizes)))
        return sum(total**2 / size for total, size in zip(sums, sizes, strict=True))

    p = _permutation_p(groups, between, "greater")
    return float(between(groups, 0) / (centred**2).sum()), p


def _permutation_p(column: np.ndarray, statistic, alternative: str) -> float:
    """Return how often a shuffled column goes with the scores as well as this one."""
    test = stats.permutation_test(
        (column,),
        statistic,
        permutation_type="pairings",
        alternative=alternative,
        vectorized=True,
        n_resamples=PERMUTATIONS,
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def _score(record: dict) -> float:
    return math.nan if record["score"] is None else record["score"]


def _each(values, name: str) -> list:
    """Return a hyperparameter of every layer, in order, or the one that all layers share."""
    if name in values:
        return [values[name]]
    return [values[f"{name}_{i}"] for i in range(1, values[LAYERS[name]] + 1)]


def describe(values, layers: list | None = None) -> dict[str, str]:
    """Return a choice as readable cells; what every layer has of its own is joined by slashes.

    Args:
        values: a choice from our space, or one from the report's.
        layers: its network as `conv_shapes` values, if it is the report's.
    """
    cells = {}
    for name in LAYERS:
        spec = ".1f" if name.startswith("dropout") else "d"
        cells[name.replace("_", " ")] = "/".join(f"{x:{spec}}" for x in _each(values, name))
    rows = cs.trace(layers or space.network(values), space.INPUT_SHAPE)
    return cells | {
        "optimizer": values.get("optimizer", "adam, not searched"),
        "learning rate": f"{values['learning_rate']:.1e}",
        "MACs": f"{sum(row.macs for row in rows) / 1e6:.1f} M",
    }


def _row(record: dict) -> dict[str, str]:
    score, seconds = record["score"], record["seconds"]
    return {
        "trial": str(record["trial"]),
        "repeats trial": "" if record["parent"] is None else str(record["parent"]),
        **describe(record["values"]),
        "epochs": str(record["epochs"]),
        "score": record["status"] if score is None else f"{score:.4f}",
        "seconds": "" if seconds is None else f"{seconds:.1f}",
    }
