"""What a trained model showed on test images: numbers with intervals over patients, and as text."""

import functools
import math
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats

from hw4.claims import varying
from hw4.measure import Interval, cluster_bootstrap, mcnemar, wilson
from hw4.transfer.collapse import checked, diagnose_collapse


@dataclass(frozen=True, eq=False)
class Result:
    """One run of one model: how it was made, and its predictions, from which all scores follow.

    `weights` and `data` are names: `imagenet (Keras), 8 bits`, `random` or a file's; `real` or
    `phantom`. `y_true`, `y_prob` and `patients` have one entry a test image. Every score is
    (value, low, high) with its 95 % interval over resampled *patients*: images of one patient
    share anatomy, exposure and mostly the label, and count as one draw.
    """

    model: str
    weights: str
    data: str
    train_images: int
    train_accuracy: float
    feature_seconds: float
    training_seconds: float
    parameters: int
    y_true: np.ndarray = field(repr=False)
    y_prob: np.ndarray = field(repr=False)
    patients: np.ndarray = field(repr=False)
    history: dict = field(repr=False, default_factory=dict)
    network: object = field(repr=False, default=None)

    def __post_init__(self) -> None:
        y_true, y_prob = checked(self.y_true, self.y_prob)
        object.__setattr__(self, "y_true", y_true)
        object.__setattr__(self, "y_prob", y_prob)

    @property
    def name(self) -> str:
        """Name of the run: model and weights."""
        return f"{self.model}, {self.weights}"

    @property
    def right(self) -> np.ndarray:
        """Whether each test image was judged rightly; from 1/2 on the answer is class 1."""
        return (self.y_prob >= 0.5) == self.y_true

    @property
    def majority_share(self) -> float:
        """Return what the better one of the two constant answers scores."""
        return float(max(self.y_true.mean(), 1 - self.y_true.mean()))

    @functools.cached_property
    def accuracy(self) -> Interval:
        """Share of right answers."""
        return cluster_bootstrap(np.mean, self.patients, self.right)

    @functools.cached_property
    def balanced_accuracy(self) -> Interval:
        """Mean of the two classes' shares of right answers."""
        return self._interval(balanced_accuracy)

    @functools.cached_property
    def roc_auc(self) -> Interval:
        """Chance that a fracture gets a higher probability than an image without one."""
        return self._interval(roc_auc)

    @property
    def beats_majority(self) -> bool:
        """Whether even the lower end of the interval exceeds the majority share."""
        return self.accuracy[1] > self.majority_share

    @property
    def findings(self) -> tuple[str, ...]:
        """Signs of a collapse, see `diagnose_collapse`."""
        return diagnose_collapse(self.y_true, self.y_prob)

    def _interval(self, statistic) -> Interval:
        if len(np.unique(self.y_true)) < 2:
            return (math.nan,) * 3
        return cluster_bootstrap(statistic, self.patients, self.y_true, self.y_prob, draws=1000)


def balanced_accuracy(y_true, y_prob) -> float:
    """Return the mean recall of the two classes; NaN where one is missing.

    >>> balanced_accuracy([0, 1, 1, 1], [0.2, 0.9, 0.8, 0.4])
    0.8333333333333333
    """
    y_true, positive = np.asarray(y_true), np.asarray(y_prob) >= 0.5
    fractures = np.count_nonzero(y_true)
    if fractures in (0, len(y_true)):
        return math.nan
    hits, alarms = (np.count_nonzero(positive & (y_true == label)) for label in (1, 0))
    return float(hits / fractures + 1 - alarms / (len(y_true) - fractures)) / 2


def roc_auc(y_true, y_prob) -> float:
    """Return the area under the ROC curve; NaN where one class is missing.

    By ranks (Mann and Whitney 1947): (sum of the ranks of class 1 - n1 (n1 + 1) / 2) / (n1 n0);
    scikit-learn's number at a fraction of its time, which a bootstrap needs.

    >>> roc_auc([0, 1, 1, 1], [0.5, 0.9, 0.8, 0.4])
    0.6666666666666666
    """
    y_true = np.asarray(y_true)
    ones = np.count_nonzero(y_true)
    zeros = len(y_true) - ones
    if not ones or not zeros:
        return math.nan
    ranks = stats.rankdata(y_prob)[y_true == 1].sum()
    return float((ranks - ones * (ones + 1) / 2) / (ones * zeros))


def pooled(results: list[Result]) -> Result:
    """Join the runs of one model on disjoint test parts, so that every image counts once.

    Raises:
        ValueError: a patient in two test parts, whose images would be counted twice.
    """
    parts = [set(result.patients.tolist()) for result in results]
    if sum(map(len, parts)) != len(set().union(*parts)):
        raise ValueError(
            "results must have disjoint test patients; got patients in several parts. Use folds."
        )
    return replace(
        results[0],
        train_accuracy=float(np.mean([result.train_accuracy for result in results])),
        training_seconds=sum(result.training_seconds for result in results),
        network=None,
        **{
            name: np.concatenate([getattr(result, name) for result in results])
            for name in ("y_true", "y_prob", "patients")
        },
    )


@dataclass(frozen=True)
class Difference:
    """First minus second on the same images: accuracies in a pair, and McNemar over patients.

    `accuracy` is (difference, low, high) over resampled patients. A patient counts as right when
    every image is: `only_first` and `only_second` are the patients on which one alone is right.
    """

    accuracy: Interval
    only_first: int
    only_second: int
    p_value: float


def paired(first: Result, second: Result) -> Difference:
    """Compare two runs on the same test images, image by image, and judge over patients.

    Raises:
        ValueError: other test images.
    """
    same = np.array_equal(first.patients, second.patients)
    if not same or not np.array_equal(first.y_true, second.y_true):
        raise ValueError(
            f"first and second must be judged on the same images; got {len(first.y_true)} and "
            f"{len(second.y_true)} of other patients or labels. Compare runs of one split."
        )
    difference = cluster_bootstrap(
        lambda a, b: float(np.mean(a) - np.mean(b)), first.patients, first.right, second.right
    )
    _, row = np.unique(first.patients, return_inverse=True)
    wrong = [np.bincount(row, ~result.right) > 0 for result in (first, second)]
    return Difference(difference, *mcnemar(~wrong[0], ~wrong[1]))


def detection(found, patients, widths, edges) -> list[Interval | None]:
    """Return the share of fractures that are found, by how wide they are.

    Args:
        found: (n,) whether each fracture is recognised.
        patients: (n,) names.
        widths: (n,) any measure of size.
        edges: (k + 1,) rising limits of k classes, the last one included.

    Returns:
        One (share, low, high) a class, over resampled patients; by Wilson over patients where all
        or none are found, which resampling cannot tell from certainty; None for an empty class.

    >>> rates = detection([0, 1, 1, 1], list("abcd"), [1, 2, 5, 6], edges=[0, 3, 6])
    >>> [round(number, 3) for number in rates[1]]
    [1.0, 0.342, 1.0]
    """
    found, patients, widths = np.asarray(found), np.asarray(patients), np.asarray(widths)
    classes = np.digitize(widths, edges[1:-1])
    shares = []
    for number in range(len(edges) - 1):
        inside = (classes == number) & (widths >= edges[0]) & (widths <= edges[-1])
        count = len(np.unique(patients[inside]))
        if not count:
            shares.append(None)
        elif found[inside].all() or not found[inside].any():
            shares.append(wilson(count * int(found[inside][0]), count))
        else:
            shares.append(cluster_bootstrap(np.mean, patients[inside], found[inside]))
    return shares


def pointing(heat, boxes, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Say whether the hottest pixel of each map lies in the marked frame, and how large that is.

    The pointing game of Zhang et al. (2018), arXiv:1608.00507. A random pixel hits with the chance
    that is the frame's share of the image.

    Args:
        heat: (n, h, w) maps.
        boxes: n frames (centre x, centre y, width, height) as shares of the image.
        margin: by which a frame is enlarged on each side, as a share of the image: the maps are
            coarse.

    >>> hits, chance = pointing(np.eye(4)[None, :, ::-1], [(0.8, 0.2, 0.3, 0.3)], margin=0.0)
    >>> hits.tolist(), [round(share, 2) for share in chance.tolist()]
    ([True], [0.09])
    """
    heat, hits, chance = np.asarray(heat), [], []
    for picture, (x, y, width, height) in zip(heat, boxes, strict=True):
        row, column = np.unravel_index(picture.argmax(), picture.shape)
        across = abs((column + 0.5) / picture.shape[1] - x) <= width / 2 + margin
        down = abs((row + 0.5) / picture.shape[0] - y) <= height / 2 + margin
        hits.append(bool(across and down))
        sides = [
            min(1, centre + side / 2 + margin) - max(0, centre - side / 2 - margin)
            for centre, side in ((x, width), (y, height))
        ]
        chance.append(sides[0] * sides[1])
    return np.array(hits), np.array(chance)


def table(results: list[Result]) -> dict[str, dict[str, str]]:
    """Format results for people: run to property to text, ready for a pandas DataFrame.

    Measured numbers stand in the marks of `claims.varying`, at a width that does not vary.
    """
    return {result.name: _texts(result) for result in results}


def interval_text(interval: Interval, spec: str = ".3f") -> str:
    """Format (value, low, high) for people, in the marks of `claims.varying`.

    >>> interval_text((0.75, 0.5, 1.0))
    '⟨0.750⟩ [⟨0.500⟩, ⟨1.000⟩]'
    """
    value, low, high = (varying(number, spec) for number in interval)
    return f"{value} [{low}, {high}]"


def _texts(result: Result) -> dict[str, str]:
    return {
        "data": result.data,
        "train images": varying(result.train_images, ","),
        "test images": varying(len(result.y_true), ","),
        "test patients": varying(len(np.unique(result.patients)), ","),
        "majority share": varying(result.majority_share),
        "train accuracy": varying(result.train_accuracy),
        "test accuracy": interval_text(result.accuracy),
        "balanced accuracy": interval_text(result.balanced_accuracy),
        "ROC AUC": interval_text(result.roc_auc),
        "seconds, features": varying(result.feature_seconds, "7.1f"),
        "seconds, training": varying(result.training_seconds, "7.1f"),
        "parameters": f"{result.parameters:,}",
        "beats the majority": "yes" if result.beats_majority else "no",
    }
