"""The comparison of VGG16 and ResNet50: frozen features once, a small head, a score.

Each wrong preprocessing can be tried on purpose, and a small network trained from scratch on the
same images shows what borrowed features are worth.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from hw4.transfer.backbones import BACKBONES, known
from hw4.transfer.features import extract_features
from hw4.transfer.fitting import fit_head, fit_small_cnn, probabilities, read_grey
from hw4.transfer.networks import SMALL_CNN, small_cnn
from hw4.transfer.scores import Result, pooled
from hw4.transfer.weights import find


def compare(
    data,
    train,
    test,
    weights: str | Path | dict = "imagenet",
    *,
    size: int = 224,
    epochs: int = 20,
    seed: int = 7,
    curves: bool = True,
    cache: str | Path | None = None,
) -> list[Result]:
    """Compare networks on the same images: for each, features, then a head, then its scores.

    Args:
        data: Radiographs.
        train: positions of the training images.
        test: positions of the test images, which nothing is chosen by.
        weights: of both networks, as in `build_classifier`, or a dict from network to weights.
        size: height and width of the images.
        epochs: of the heads.
        seed: of random weights, heads and orders.
        curves: whether the history holds the test scores of every epoch, which takes time.
        cache: folder of the feature cache; `build/features` by default.

    Returns:
        One result a network, with its trained head.

    Raises:
        ValueError: overlapping parts.
        NotAvailable: official weights that are not here; nothing was computed.
    """
    _check_apart(train, test)
    named = weights if isinstance(weights, dict) else dict.fromkeys(BACKBONES, weights)
    # Sought first: when they are not there, nobody waits for features to learn it.
    runs = {name: find(name, choice, seed=seed) for name, choice in named.items()}
    results = []
    for name, found in runs.items():
        features = extract_features(name, data, weights=found, size=size, cache=cache)
        results.append(_run(name, found.name, features, data, train, test, epochs, seed, curves))
    return results


def compare_preprocessing(
    name: str,
    data,
    splits,
    *,
    size: int = 224,
    epochs: int = 20,
    seed: int = 7,
    cache: str | Path | None = None,
) -> dict[str, Result]:
    """Train and test heads behind each preprocessing: the weights' own, and three wrong ones.

    Args:
        name: `VGG16` or `ResNet50`, on its embedded weights.
        data: Radiographs.
        splits: (train, test) positions with disjoint test patients, as from `folds`.
        size: height and width of the images.
        epochs: of the heads.
        seed: of heads and orders.
        cache: folder of the feature cache; `build/features` by default.

    Returns:
        `right`, `1/255`, `the other network's` and `twice` to a result each, pooled over splits.
    """
    splits = list(splits)
    for parts in splits:
        _check_apart(*parts)
    found, index = find(name), np.unique(np.concatenate([part for both in splits for part in both]))
    own, other = found.preprocessing, {"caffe": "torch", "torch": "caffe"}[found.preprocessing]
    modes = {"right": own, "1/255": "1/255", "the other network's": other, "twice": f"{own} twice"}
    results = {}
    for title, mode in modes.items():
        options = {"weights": found, "size": size, "preprocessing": mode, "on_purpose": True}
        features = extract_features(name, data, **options, index=index, cache=cache)
        made = name, f"{found.name}, {mode}", features, data
        results[title] = pooled([_run(*made, *parts, epochs, seed, False) for parts in splits])
    return results


def from_scratch(
    data, train, test, *, size: int = 96, epochs: int = 6, seed: int = 7, curves: bool = True
) -> Result:
    """Train the small network on the training images, and score it on the test images."""
    _check_apart(train, test)
    start = time.perf_counter()
    *fitted, _ = read_grey(data, size, train)
    *held, positions = read_grey(data, size, test)
    reading = time.perf_counter() - start
    model = small_cnn(size, seed=seed)
    history = fit_small_cnn(model, fitted, held if curves else None, epochs=epochs, seed=seed)
    patients, parameters = data.patients[positions], model.count_params()
    made = {"model": SMALL_CNN, "weights": "from scratch", "feature_seconds": reading}
    return _score(model, history, fitted, held, patients, data, parameters, **made)


def folds(
    data, count: int = 5, seed: int = 7, index=None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (train, test) positions of `count` splits by patient, in which all are tested once.

    scikit-learn's StratifiedGroupKFold: whole patients, and classes as evenly as they allow.
    `index` are the positions to split, all by default.
    """
    index = data.positions(index)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for parts in splitter.split(index, data.labels[index], data.patients[index]):
        yield tuple(index[part] for part in parts)


def explain(results: list[Result]) -> str:
    """Say of every result what it shows, then what the others say about collapsed ones."""
    lines = []
    for result in results:
        beats = "beats" if result.beats_majority else "does not beat"
        lines.append(f"{result.name} ({result.data}): {beats} the majority class")
        # In the marks of `claims.varying`: a borderline finding may come and go.
        lines.append(f"    ⟨{'; '.join(result.findings) or 'no sign of collapse'}⟩")
    beating = [result for result in results if result.beats_majority]
    if beating and len(beating) < len(results):
        lines.append(
            f"{beating[0].model} beats it, so that something can be learnt from these images and "
            "labels. Why another row does not, be it weights, training or too few images for it, "
            "is not shown here."
        )
    elif not beating:
        lines.append(
            "No row beats the majority class: these images, labels or epochs may not suffice for "
            "any network, so that no row can be judged."
        )
    return "\n".join(lines)


def _run(name, weights, features, data, train, test, epochs, seed, curves) -> Result:
    """Train a head on the features of the training images, and score it on the others."""
    fitted, held = features.take(train), features.take(test)
    validation = held if curves else None
    head, history = fit_head(*fitted, epochs=epochs, seed=seed, validation=validation)
    patients = data.patients[features.positions[features.rows(test)]]
    made = {"model": name, "weights": weights, "feature_seconds": features.seconds}
    parameters = known(name).parameters + head.count_params()
    return _score(head, history, fitted, held, patients, data, parameters, **made)


def _check_apart(train, test) -> None:
    common = np.intersect1d(train, test).size
    if common:
        raise ValueError(
            f"train and test must not overlap; got {common} images in both. Use data.split."
        )


def _score(network, history, fitted, held, patients, data, parameters, **made) -> Result:
    fitted_prob, held_prob = (probabilities(network, part[0]) for part in (fitted, held))
    return Result(
        data=data.source,
        train_images=len(fitted[1]),
        train_accuracy=float(np.mean((fitted_prob >= 0.5) == fitted[1])),
        training_seconds=sum(history["seconds"]),
        parameters=parameters,
        y_true=held[1],
        y_prob=held_prob,
        patients=patients,
        history=history,
        network=network,
        **made,
    )
