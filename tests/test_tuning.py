"""Search and final training of question 1 on tiny stand-ins: which data enter, what comes out."""

import inspect
import json

import keras
import numpy as np
import pytest

from hw4 import mnist, tuning
from hw4.tuner import best, open_search
from hw4.tuning import ablation, procedure, search_space

SMALL = {"conv_layers": 1, "filters_1": 16}
SMALL |= {"dropout_conv": 0.1, "dense_layers": 1, "neurons_1": 16, "dropout_dense": 0.0}
SMALL |= {"optimizer": "adam", "learning_rate": 1e-3}


def stripes(count, seed):
    """Images of which digit d is bright in rows 2d and 2d + 1: learned in a few steps."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(10, size=count).astype(np.uint8)
    images = rng.integers(0, 40, (count, 28, 28)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 2] = 255
    return images, labels


@pytest.fixture
def tiny(monkeypatch):
    """Replace MNIST; return the names of the splits that are asked for."""
    asked = []

    def load(split):
        asked.append(split)
        return stripes({"train": 900, "validation": 200, "test": 100}[split], len(split))

    monkeypatch.setattr(mnist, "load", load)
    monkeypatch.setattr(procedure, "IMAGES_PER_EPOCH", 400)
    return asked


def test_search_has_no_parameter_for_data_and_never_asks_for_the_test_set(tiny, tmp_path):
    assert set(inspect.signature(tuning.search).parameters) == {"tuner", "folder", "options"}
    assert set(inspect.signature(tuning.plan).parameters) == {
        *("tuner", "trials", "promoted", "epochs", "seed", "mac_budget")
    }
    with pytest.raises(TypeError, match="unexpected keyword argument 'data'"):
        tuning.search(data=stripes(10, 0))
    options = {"trials": 2, "promoted": 1, "epochs": (1, 2), "mac_budget": 4_000_000}
    log = tuning.search("random", folder=tmp_path / "search", **options)
    assert sorted(tiny) == ["train", "validation"]
    assert [record["status"] for record in log] == ["completed"] * 3
    assert json.loads((tmp_path / "search/log.json").read_text("utf-8")) == log
    assert all(search_space.macs(record["values"]) <= 4_000_000 for record in log)
    assert all(0 <= record["score"] <= 1 and record["seconds"] > 0 for record in log)
    assert best(log)["epochs"] == 2
    with pytest.raises(ValueError, match="differs in data"):
        tuning.search("random", folder=tmp_path / "search", **options | {"mac_budget": 5_000_000})


def test_a_trial_of_e_epochs_sees_e_portions_of_the_training_images(tiny, monkeypatch):
    seen = []
    monkeypatch.setattr(
        procedure,
        "fit_and_score",
        lambda values, data, held_out, **rest: seen.append((data, held_out)),
    )
    evaluate = tuning.trainer()
    for epochs in (1, 2, 5):
        evaluate(SMALL, epochs, 0)
    assert [len(data[0]) for data, _ in seen] == [400, 800, 900]
    assert {len(held_out[0]) for _, held_out in seen} == {200}
    assert (seen[0][0][0] == seen[1][0][0][:400]).all()


def test_training_repeats_with_its_seed_and_learns():
    data, held_out = [(mnist.as_input(x), y) for x, y in (stripes(600, 1), stripes(300, 2))]
    scores = [
        tuning.fit_and_score(SMALL, data, held_out, epochs=4, seed=seed) for seed in (3, 3, 4)
    ]
    assert scores[0] == scores[1]
    assert min(scores) > 0.6


def test_the_final_training_uses_all_training_images_and_no_others(tiny, monkeypatch):
    given = {}

    def fit(model, images, labels, **options):
        given.update(options, images=images, labels=labels)
        rate = model.optimizer.learning_rate
        given["rates"] = [float(keras.ops.convert_to_numpy(rate))]
        given["peak"] = max(float(model.optimizer._learning_rate(s)) for s in range(40))
        return {"loss": [1.0]}

    monkeypatch.setattr(procedure.training, "fit", fit)
    model, history = tuning.train_final(SMALL | {"learning_rate": 7e-4}, seed=1, epochs=4)
    assert sorted(tiny) == ["train", "validation"]
    assert len(given["images"]) == len(given["labels"]) == 1100
    assert given["augmented"] is True
    assert given["epochs"] == 4
    # The task limits the learning rate, and so the peak of the cycle.
    assert given["peak"] == pytest.approx(7e-4, rel=1e-3)
    assert history == {"loss": [1.0]}
    assert model.output_shape == (None, 10)


def test_cheap_networks_train_for_more_epochs_within_bounds():
    epochs = [
        tuning.final_epochs(SMALL | {"conv_layers": 3, "filters_2": width, "filters_3": width})
        for width in (16, 64, 128, 256)
    ]
    assert epochs == sorted(epochs, reverse=True)
    low, high = procedure.FINAL_EPOCHS
    assert epochs[0] == high
    assert epochs[-1] == low
    assert all(isinstance(count, int) for count in epochs)


def test_a_plan_of_the_search_is_kept_and_reopened(tmp_path):
    plan = tuning.plan("bayesian", trials=3, seed=2)
    open_search(plan, tmp_path)
    open_search(tuning.plan("bayesian", trials=3, seed=2), tmp_path)
    with pytest.raises(ValueError, match="differs in epochs"):
        open_search(tuning.plan("bayesian", trials=3, seed=2, epochs=(1, 4)), tmp_path)


def test_ablation_pairs_the_same_images_and_seeds(monkeypatch, tiny):
    calls = []

    def fit_and_score(values, data, held_out, *, epochs, seed, batch_size):
        calls.append((values["name"], seed, data[0].sum()))
        return {"with": 0.9, "without": 0.8}[values["name"]] + seed / 100

    monkeypatch.setattr(procedure, "fit_and_score", fit_and_score)
    variants = {"with": {"name": "with"}, "without": {"name": "without"}}
    found = ablation.ablate(variants, images=50, epochs=1, seeds=(0, 1, 2))
    assert found["with"] == pytest.approx([0.9, 0.91, 0.92])
    assert [call[:2] for call in calls[:2]] == [("with", 0), ("without", 0)]
    assert calls[0][2] == calls[1][2] != calls[2][2]
    assert sorted(tiny) == ["train", "validation"]


def test_paired_gain_by_hand_and_by_scipy():
    from scipy import stats

    a, b = np.array([0.9, 0.94, 0.95, 0.99]), np.array([0.9, 0.9, 0.93, 0.96])
    mean, low, high = ablation.paired_gain(a, b)
    interval = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((0.0225, interval.low, interval.high))
    with pytest.raises(ValueError, match="at least 2; got 1 and 1"):
        ablation.paired_gain(a[:1], b[:1])
