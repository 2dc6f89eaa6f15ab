"""One row of the comparison: scores with their uncertainty, beside what a constant would score."""

import math
from dataclasses import dataclass, field

import numpy as np
from sklearn import metrics

from hw4.claims import varying
from hw4.transfer.collapse import diagnose_collapse

_Z95 = 1.959963984540054


@dataclass(frozen=True, eq=False)
class Row:
    """What one run of one model showed on the test images, and the predictions it rests on.

    `weights` and `data` are names: `imagenet`, `random` or a file's; `real` or `phantom`.
    """

    model: str
    weights: str
    data: str
    train_images: int
    test_images: int
    majority_share: float
    train_accuracy: float
    accuracy: float
    interval: tuple[float, float]
    balanced_accuracy: float
    roc_auc: float
    feature_seconds: float
    head_seconds: float
    parameters: int
    findings: tuple[str, ...]
    y_true: np.ndarray = field(repr=False)
    y_prob: np.ndarray = field(repr=False)
    history: dict = field(repr=False)

    @property
    def beats_majority(self) -> bool:
        """Whether even the lower end of the interval exceeds the majority share."""
        return self.interval[0] > self.majority_share

    @property
    def verdict(self) -> str:
        """Say in words what `beats_majority` says."""
        return f"{'beats' if self.beats_majority else 'does not beat'} the majority class"

    @property
    def diagnosis(self) -> str:
        """Join the findings, in the marks of `claims.varying`: a borderline one may come and go."""
        return f"⟨{'; '.join(self.findings) or 'no sign of collapse'}⟩"


def score(y_true, y_prob, *, loss: float | None = None, **columns) -> Row:
    """Make the row of one model from its test predictions.

    Args:
        y_true: (n,) labels, 0 or 1.
        y_prob: (n,) probabilities of class 1; a prediction is class 1 from 1/2.
        loss: test loss, when known, for the diagnosis.
        columns: the other fields of Row.

    >>> row = score([0, 1, 1, 1], [0.2, 0.9, 0.8, 0.4], model="m", weights="random", data="phantom",
    ...     train_images=9, train_accuracy=1.0, feature_seconds=0.0, head_seconds=0.0, parameters=3,
    ...     history={})
    >>> row.accuracy, row.majority_share, row.roc_auc
    (0.75, 0.75, 1.0)
    """
    findings = diagnose_collapse(y_true, y_prob, loss)
    y_true, y_prob = np.ravel(y_true).astype(int), np.ravel(y_prob).astype(float)
    predicted = (y_prob >= 0.5).astype(int)
    right = int((predicted == y_true).sum())
    both = len(np.unique(y_true)) == 2
    recalls = metrics.recall_score(y_true, predicted, labels=[0, 1], average=None, zero_division=0)
    return Row(
        test_images=len(y_true),
        majority_share=float(max(y_true.mean(), 1 - y_true.mean())),
        accuracy=right / len(y_true),
        interval=wilson(right, len(y_true)),
        balanced_accuracy=float(recalls.mean()) if both else math.nan,
        roc_auc=float(metrics.roc_auc_score(y_true, y_prob)) if both else math.nan,
        findings=findings,
        y_true=y_true,
        y_prob=y_prob,
        **columns,
    )


def wilson(right: int, total: int, z: float = _Z95) -> tuple[float, float]:
    r"""Return the Wilson score interval of a share, 95 % by default.

    (p + z^2/2n ± z sqrt(p(1 - p)/n + z^2/4n^2)) / (1 + z^2/n), with p = right / total.
    Unlike p ± z s it never leaves [0, 1] and is not empty at p = 1. Wilson, JASA 22 (1927).

    Raises:
        ValueError: counts that make no share.

    >>> [round(end, 4) for end in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    if not 0 <= right <= total or total < 1:
        raise ValueError(f"right must be from 0 to total, total at least 1; got {right}, {total}.")
    p = right / total
    centre, spread = p + z * z / (2 * total), math.sqrt(p * (1 - p) / total + (z / total) ** 2 / 4)
    scale = 1 + z * z / total
    low, high = (centre - z * spread) / scale, (centre + z * spread) / scale
    return max(0.0, low), min(1.0, high)


def table(rows: list[Row]) -> dict[str, dict[str, str]]:
    """Format rows for people: column title to property to text, ready for a pandas DataFrame.

    Measured numbers stand in the marks of `claims.varying`, at a width that does not vary.
    """
    return {f"{row.model}, {row.weights}": _texts(row) for row in rows}


def _texts(row: Row) -> dict[str, str]:
    low, high = row.interval
    return {
        "weights": row.weights,
        "data": row.data,
        "train images": f"{row.train_images:,}",
        "test images": f"{row.test_images:,}",
        "majority share": f"{row.majority_share:.4f}",
        "train accuracy": varying(row.train_accuracy, ".4f"),
        "accuracy": varying(row.accuracy, ".4f"),
        "95 % interval": f"{varying(low, '.4f')} to {varying(high, '.4f')}",
        "balanced accuracy": varying(row.balanced_accuracy, ".4f"),
        "ROC AUC": varying(row.roc_auc, ".4f"),
        "seconds, features": varying(row.feature_seconds, "7.1f"),
        "seconds, training": varying(row.head_seconds, "7.1f"),
        "parameters": f"{row.parameters:,}",
        "verdict": row.verdict,
    }
