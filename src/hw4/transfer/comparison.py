"""The comparison of VGG16 and ResNet50: frozen features once, a small head, honest controls.

Two controls go with every comparison. Random frozen features show what the head and the data give
without pretraining (negative); a small network trained from scratch on the same images shows
what is there to be learnt (positive). A collapsed row between them has a known culprit.
"""

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from hw4 import training
from hw4.transfer.backbones import (
    BACKBONES,
    build_classifier,
    build_head,
    known,
    resolve,
    transplant,
    unfreeze_last_block,
)
from hw4.transfer.collapse import check_head, check_scale, diagnose_collapse
from hw4.transfer.features import Features, extract
from hw4.transfer.scores import Row, score, table
from hw4.transfer.scratch import CONTROL, fit_small_cnn, read_grey, small_cnn
from hw4.transfer.weights import Weights

__all__ = [
    "BACKBONES",
    "Comparison",
    "build_classifier",
    "build_head",
    "check_head",
    "check_scale",
    "compare",
    "diagnose_collapse",
    "extract_features",
    "fit_head",
    "fit_small_cnn",
    "read_grey",
    "small_cnn",
    "table",
    "transplant",
    "unfreeze_last_block",
]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Rows in the order of the table, and the trained model of each: a head, or the control."""

    rows: list[Row]
    models: list = field(repr=False)
    origin: str = field(repr=False)

    def explain(self) -> str:
        """Say of every row what it shows, then what the controls say about collapsed ones."""
        lines = []
        for row in self.rows:
            lines.append(f"{row.model}, {row.weights} ({row.data}): {row.verdict}")
            lines.append(f"    {row.diagnosis}")
        control = next(row for row in self.rows if row.model == CONTROL)
        if control.beats_majority:
            lines.append(
                "The small CNN learns from the same images and labels: where another row does "
                "not beat the majority class, its frozen weights are at fault, not the data."
            )
        else:
            lines.append(
                "Not even the small CNN beats the majority class: these images, labels or "
                "epochs may not suffice for any network, so that no other row can be judged."
            )
        return "\n".join(lines)


def extract_features(
    name: str,
    data,
    *,
    weights: str | Path | Weights = "random",
    size: int = 224,
    preprocessing: str | None = None,
    seed: int = 7,
    batch_size: int = 64,
    cache: str | Path | None = None,
    shard: tuple[int, int] = (0, 1),
) -> Features:
    """Run every radiograph through a frozen backbone once, and keep the result on disk.

    Args:
        name: `VGG16` or `ResNet50`.
        data: Radiographs.
        weights: as in `build_classifier`.
        size: height and width the images are brought to.
        preprocessing: a key of PREPROCESSING; the backbone's own by default.
        seed: of random weights.
        batch_size: images a forward pass, and a file of the cache.
        cache: folder of the cache; `build/features` by default.
        shard: (k, m) for the k-th of m machines, see `features.extract`.

    Returns:
        Features: (n, 512) or (n, 2048) float32, equal to the pooled maps of `build_classifier`.

    Raises:
        ValueError: an unknown name, preprocessing, size or file.
        NotAvailable: ImageNet weights that cannot be had here.
    """
    backbone, found = known(name), resolve(name, weights, seed)

    def build():
        whole = build_classifier(name, found, size=size)
        return keras.Model(whole.inputs, whole.get_layer("pool").output)

    return extract(
        build,
        data,
        {"backbone": name, "weights": found.digest},
        channels=backbone.channels,
        size=size,
        preprocessing=preprocessing or backbone.preprocessing,
        batch_size=batch_size,
        cache=cache,
        shard=shard,
    )


def fit_head(
    values, labels, *, epochs: int = 30, seed: int = 7, validation=None, learning_rate=1e-3
):
    """Train Dense(128, relu) and Dense(1, sigmoid) on features with Adam, in batches of 64.

    Args:
        values: (n, channels) float32.
        labels: (n,) 0 or 1.
        epochs: passes over the features.
        seed: of the first weights and of the order.
        validation: values and labels to evaluate after each epoch; nothing is chosen by them.
        learning_rate: of Adam.

    Returns:
        The head and its history: lists `loss`, `accuracy`, `seconds`, and `val_...`.
    """
    head = build_head(values.shape[1], seed=seed)
    head.compile(keras.optimizers.Adam(learning_rate), "binary_crossentropy", metrics=["accuracy"])
    history = training.fit(
        head,
        values,
        _column(labels),
        epochs=epochs,
        batch_size=64,
        seed=seed,
        validation=validation and (validation[0], _column(validation[1])),
        label="head",
    )
    return head, history


def compare(
    data,
    train,
    test,
    weights: str | Path | dict = "random",
    *,
    size: int = 224,
    epochs: int = 30,
    seed: int = 7,
    control_size: int = 96,
    control_epochs: int = 10,
    cache: str | Path | None = None,
    controls: Comparison | None = None,
) -> Comparison:
    """Compare both networks on the same images, always beside the two controls.

    Args:
        data: Radiographs.
        train: positions of the training images.
        test: positions of the test images, which nothing is chosen by.
        weights: `imagenet`, `random` for the controls alone, or a dict from network to file.
        size: height and width of the images for the networks.
        epochs: of the heads.
        seed: of random weights, heads, orders and the control.
        control_size: height and width of the images for the small network.
        control_epochs: epochs of the small network.
        cache: folder of the feature cache; `build/features` by default.
        controls: an earlier comparison on the same images whose controls are taken over.

    Returns:
        Comparison: random features of both networks, the small network, then `weights`.

    Raises:
        ValueError: overlapping parts, or controls of other test images.
        NotAvailable: ImageNet weights that cannot be had here; nothing was computed.
    """
    if np.intersect1d(train, test).size:
        raise ValueError(
            f"train and test must not overlap; got {np.intersect1d(train, test).size} images in "
            "both. Use data.split."
        )
    named = weights if isinstance(weights, dict) else dict.fromkeys(BACKBONES, weights)
    # Sought first: when they are not there, nobody waits for the controls to learn it.
    runs = [(name, resolve(name, choice, seed)) for name, choice in named.items()]
    origin = _origin(data, train, test)
    options = {"size": size, "epochs": epochs, "seed": seed, "cache": cache}
    if controls is None:
        pairs = [_run(data, train, test, name, "random", **options) for name in BACKBONES]
        pairs.append(_control(data, train, test, control_size, control_epochs, seed))
    else:
        if controls.origin != origin:
            raise ValueError(
                "controls must come from the same images and split; got others. Leave them out."
            )
        pairs = list(zip(controls.rows, controls.models, strict=True))
    pairs += [
        _run(data, train, test, name, found, **options)
        for name, found in runs
        if found.name != "random"
    ]
    return Comparison([row for row, _ in pairs], [model for _, model in pairs], origin)


def _origin(data, train, test) -> str:
    """Identify images and split, so that rows of different ones never meet in one table."""
    parts = data.digest, *(np.sort(part).astype(int).tolist() for part in (train, test))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _control(data, train, test, size, epochs, seed) -> tuple[Row, object]:
    """Train and score the positive control."""
    start = time.perf_counter()
    fitted, held = read_grey(data, size, train), read_grey(data, size, test)
    reading = time.perf_counter() - start
    model = small_cnn(size, seed=seed)
    history = fit_small_cnn(model, fitted, held, epochs=epochs, seed=seed)
    columns = {"model": CONTROL, "weights": "from scratch", "feature_seconds": reading}
    row = _row(model, fitted, held, data, history, sum(history["seconds"]), columns)
    return row, model


def _run(data, train, test, name, weights, *, size, epochs, seed, cache) -> tuple[Row, object]:
    """Extract, train the head, score: one row of the table."""
    found = resolve(name, weights, seed)
    features = extract_features(name, data, weights=found, size=size, seed=seed, cache=cache)
    fitted, held = features.take(train), features.take(test)
    start = time.perf_counter()
    head, history = fit_head(*fitted, epochs=epochs, seed=seed, validation=held)
    seconds = time.perf_counter() - start
    columns = {"model": name, "weights": found.name, "feature_seconds": features.seconds}
    row = _row(head, fitted, held, data, history, seconds, columns)
    return row, head


def _row(model, fitted, held, data, history, seconds, columns) -> Row:
    name = columns["model"]
    total = model.count_params() + (_BACKBONE_PARAMETERS[name] if name in BACKBONES else 0)
    fitted_prob, held_prob = (
        model.predict(part[0], batch_size=256, verbose=0)[:, 0] for part in (fitted, held)
    )
    return score(
        held[1],
        held_prob,
        loss=history["val_loss"][-1],
        data=data.source,
        train_images=len(fitted[1]),
        train_accuracy=float(np.mean((fitted_prob >= 0.5) == fitted[1])),
        head_seconds=seconds,
        parameters=total,
        history=history,
        **columns,
    )


# Convolutions and batch normalisation of the two networks without their tops; tests count them.
_BACKBONE_PARAMETERS = {"VGG16": 14_714_688, "ResNet50": 23_587_712}


def _column(labels) -> np.ndarray:
    return np.asarray(labels, np.float32).reshape(-1, 1)
