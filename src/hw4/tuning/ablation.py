"""What a part of a network is worth: trained with and without it, same seeds, same budget."""

import numpy as np

from hw4.tuning import network


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
    x, y = network.inputs("train")
    held_out = network.inputs("validation")
    found = {}
    for name, values in variants.items():
        model, found[name] = None, {"training": [], "held-out": []}
        for seed in seeds:
            chosen = np.random.default_rng(seed).permutation(len(x))[:images]
            data, budget = (x[chosen], y[chosen]), {"epochs": epochs, "batch_size": batch_size}
            model = network.train_network(values, *data, seed=seed, used=model, **budget)
            found[name]["training"].append(network.accuracy(model, *data))
            found[name]["held-out"].append(network.accuracy(model, *held_out))
    return {
        name: {part: np.array(scores) for part, scores in parts.items()}
        for name, parts in found.items()
    }
