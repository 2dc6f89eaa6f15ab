"""What the log of a search says: as a table, over time, and about every hyperparameter."""

import math

import numpy as np
from scipy import stats

from hw4.tuner import best
from hw4.tuning.search_space import macs

SINGLE = (
    "conv_layers",
    "dropout_conv",
    "dense_layers",
    "dropout_dense",
    "optimizer",
    "learning_rate",
)


def table(log: list[dict]) -> list[dict[str, str]]:
    """Return one row of readable cells for each trial of a log (`tuner.records`).

    Filters and neurons are joined by slashes, first layer first; a promoted trial names the
    trial that it repeats for longer.
    """
    return [_row(record) for record in log]


def over_time(log: list[dict]) -> dict[str, np.ndarray]:
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
    means = {f"mean {name}": float(np.mean(found)) for name, found in _widths(values).items()}
    return {name: values[name] for name in SINGLE} | means | {"MACs, millions": macs(values) / 1e6}


def influence(log: list[dict]) -> list[dict]:
    """Return for every hyperparameter how the score goes with it among the first trials.

    Numbers: Spearman's rank correlation with its p value. Words: the share of the variance of
    the ranks that lies between the groups (eta squared), with the p value of Kruskal and Wallis.
    None where it is not defined: a single value or score, or fewer than 3 trials.

    Returns:
        Mappings with `name`, `measure`, `effect`, `p`.
    """
    first = first_trials(log)
    scores = [record["score"] for record in first]
    rows = [features(record["values"]) for record in first]
    found = []
    for name in rows[0] if rows else ():
        column = [row[name] for row in rows]
        kind = "groups" if isinstance(column[0], str) else "rank"
        defined = min(len(set(column)), len(set(scores))) > 1 and len(rows) > 2
        effect = _effect(kind, column, scores) if defined else None
        measure = "eta squared" if kind == "groups" else "Spearman"
        value, p = effect if effect else (None, None)
        found.append({"name": name, "measure": measure, "effect": value, "p": p})
    return found


def _score(record: dict) -> float:
    return math.nan if record["score"] is None else record["score"]


def _effect(kind: str, column: list, scores: list[float]) -> tuple[float, float]:
    if kind == "rank":
        result = stats.spearmanr(column, scores)
        return float(result.statistic), float(result.pvalue)
    ranks = stats.rankdata(scores)
    groups = [ranks[[value == name for value in column]] for name in sorted(set(column))]
    between = sum(len(group) * (group.mean() - ranks.mean()) ** 2 for group in groups)
    total = ((ranks - ranks.mean()) ** 2).sum()
    return float(between / total), float(stats.kruskal(*groups).pvalue)


def _widths(values) -> dict[str, list[int]]:
    """Return the filters of every convolution and the neurons of every dense layer, in order."""
    return {
        name: [values[f"{name}_{i}"] for i in range(1, values[count] + 1)]
        for name, count in (("filters", "conv_layers"), ("neurons", "dense_layers"))
    }


def describe(values) -> dict[str, str]:
    """Return a choice as readable cells; filters and neurons are joined by slashes."""
    return {name: "/".join(map(str, found)) for name, found in _widths(values).items()} | {
        "dropout conv, dense": f"{values['dropout_conv']:.1f}, {values['dropout_dense']:.1f}",
        "optimizer": values["optimizer"],
        "learning rate": f"{values['learning_rate']:.1e}",
        "MACs": f"{macs(values) / 1e6:.1f} M",
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
