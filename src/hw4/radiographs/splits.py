"""A training and a test part, stratified by label, drawn by patient or by image.

Several views of one patient on both sides leak: a classifier that recognises the patient then
scores without having learnt anything about fractures.
"""

import numpy as np


def split(
    labels, patients, by: str = "patient", test_share: float = 0.2, seed: int = 7
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the training and of the test images, both sorted.

    `patient` keeps all images of a patient on one side and takes from both classes as close to
    `test_share` as whole patients allow; `image` draws ceil(test_share * n) images, stratified
    to within one image.

    Args:
        labels: (n,) 0 or 1.
        patients: (n,) any names.
        by: `patient` or `image`.
        test_share: between 0 and 1, both excluded.
        seed: equal seeds give equal splits.

    Raises:
        ValueError: unknown `by`, a share outside (0, 1), or fewer than 2 patients or images.

    >>> train, test = split([0, 1, 0, 1], ["a", "a", "b", "b"], test_share=0.5)
    >>> (train.tolist(), test.tolist()) in (([0, 1], [2, 3]), ([2, 3], [0, 1]))
    True
    """
    labels, patients = np.asarray(labels, dtype=int), np.asarray(patients)
    if by not in ("patient", "image"):
        raise ValueError(f"by must be one of patient, image; got {by!r}. Name one.")
    if not 0 < test_share < 1:
        raise ValueError(f"test_share must be between 0 and 1; got {test_share}. Try 0.2.")
    groups = patients if by == "patient" else np.arange(len(labels))
    if len(np.unique(groups)) < 2:
        raise ValueError(
            f"data must hold at least 2 {by}s to be split; got {len(np.unique(groups))}. "
            "Add images."
        )
    rng = np.random.default_rng(seed)
    choose = _choose_patients if by == "patient" else _choose_images
    test = choose(labels, groups, test_share, rng)
    return np.flatnonzero(~test), np.flatnonzero(test)


def leakage(patients, train, test) -> float:
    """Return the share of test images whose patient also has images among the training ones.

    >>> leakage(["a", "a", "b", "c"], train=[0, 2], test=[1, 3])
    0.5
    """
    patients = np.asarray(patients)
    return float(np.isin(patients[test], patients[train]).mean())


def _choose_images(labels, groups, share, rng) -> np.ndarray:
    """Mark ceil(share * n) images; quotas a class by largest remainders."""
    wanted = min(int(np.ceil(share * len(labels) - 1e-9)), len(labels) - 1)
    exact = np.bincount(labels, minlength=2) * wanted / len(labels)
    quota = np.floor(exact).astype(int)
    quota[np.argsort(quota - exact, kind="stable")[: wanted - quota.sum()]] += 1
    test = np.zeros(len(labels), dtype=bool)
    for label, count in enumerate(quota):
        test[rng.permutation(np.flatnonzero(labels == label))[:count]] = True
    return test


def _choose_patients(labels, groups, share, rng) -> np.ndarray:
    """Mark whole patients, in random order, each one if it brings both classes closer."""
    names, which = np.unique(groups, return_inverse=True)
    counts = np.stack([np.bincount(which, labels == label, len(names)) for label in (0, 1)], 1)
    target, held = share * counts.sum(0), np.zeros(2)
    chosen = np.zeros(len(names), dtype=bool)
    for patient in rng.permutation(len(names)):
        before, after = target - held, target - held - counts[patient]
        if (after**2).sum() < (before**2).sum():
            chosen[patient], held = True, held + counts[patient]
    # Few patients or an extreme share: neither side may be empty.
    if chosen.all() or not chosen.any():
        smallest = counts.sum(1).argmin()
        chosen[smallest] = not chosen[smallest]
    return chosen[which]
