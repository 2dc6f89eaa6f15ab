"""What a part of a network is worth: trained with and without it, same seeds, same budget."""

import numpy as np
from scipy import stats

from hw4.tuning import procedure


def ablate(
    variants: dict[str, dict], *, images: int, epochs: int, seeds, batch_size: int = 16
) -> dict[str, dict[str, np.ndarray]]:
    """Train every variant once for each seed on few images; return its accuracies.

    Each seed has its own training images, the same for all variants, so that differences are
    paired. The held-out images are the validation split.

    Args:
        variants: name to hyperparameters.
        images: size of a training set; few, so that there is something to overfit.
        epochs: passes over it.
        seeds: integers from 0, one run of every variant for each.
        batch_size: images a step; small, since few images make few steps.

    Returns:
        Name to `training` and `held-out` accuracies, (len(seeds),) each.
    """
    x, y = procedure.inputs("train")
    held_out = procedure.inputs("validation")
    found = {}
    for name, values in variants.items():
        model, found[name] = None, {"training": [], "held-out": []}
        for seed in seeds:
            chosen = np.random.default_rng(seed).permutation(len(x))[:images]
            data, budget = (x[chosen], y[chosen]), {"epochs": epochs, "batch_size": batch_size}
            model = procedure.fit(values, *data, seed=seed, used=model, **budget)
            found[name]["training"].append(procedure.accuracy(model, *data))
            found[name]["held-out"].append(procedure.accuracy(model, *held_out))
    return {
        name: {part: np.array(scores) for part, scores in parts.items()}
        for name, parts in found.items()
    }


def paired_gain(with_it: np.ndarray, without: np.ndarray) -> tuple[float, float, float]:
    """Return the mean paired difference and its 95 % interval, low and high.

    mean ± t_(0.975, n - 1) s / sqrt(n), with s the sample deviation of the n differences.

    Raises:
        ValueError: fewer than 2 pairs, or unequal numbers.

    >>> gain = paired_gain(np.array([0.97, 0.98, 0.96]), np.array([0.95, 0.97, 0.93]))
    >>> [round(float(x), 4) for x in gain]
    [0.02, -0.0048, 0.0448]
    """
    if len(with_it) != len(without) or len(without) < 2:
        raise ValueError(
            f"with_it and without must have the same length of at least 2; got {len(with_it)} and "
            f"{len(without)}. Run every variant with the same seeds."
        )
    gains = np.asarray(with_it) - np.asarray(without)
    half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    return float(gains.mean()), float(gains.mean() - half), float(gains.mean() + half)
