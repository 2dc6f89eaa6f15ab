"""Search and final training of question 1 on tiny stand-ins: which data enter, what comes out."""

import inspect

import keras
import numpy as np
import pytest

from hw4 import mnist, tuning
from hw4.tuning import ablation, best, network, on_mnist, space

pytestmark = pytest.mark.slow

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
    monkeypatch.setattr(on_mnist, "IMAGES_PER_EPOCH", 400)
    return asked


def test_search_has_no_parameter_for_data_and_never_asks_for_the_test_set(tiny, tmp_path):
    assert set(inspect.signature(tuning.search).parameters) == {
        *("tuner", "trials", "promoted", "epochs", "seed", "mac_budget", "output_budget"),
        *("folder", "client"),
    }
    with pytest.raises(TypeError, match="unexpected keyword argument 'data'"):
        tuning.search(data=stripes(10, 0))
    options = {"trials": 2, "promoted": 1, "epochs": (1, 2), "mac_budget": 4_000_000}
    log = tuning.search("random", folder=tmp_path / "search", **options)
    assert set(tiny) == {"train", "validation"}
    assert [record["status"] for record in log] == ["completed"] * 3
    assert tuning.search("random", folder=tmp_path / "search", **options) == log
    assert all(space.macs(record["values"]) <= 4_000_000 for record in log)
    assert all(0 <= record["score"] <= 1 and record["seconds"] > 0 for record in log)
    assert best(log)["epochs"] == 2
    with pytest.raises(ValueError, match="differs in data"):
        tuning.search("random", folder=tmp_path / "search", **options | {"mac_budget": 5_000_000})


def test_a_trial_of_e_epochs_sees_e_portions_of_the_training_images(tiny, monkeypatch):
    seen = []
    monkeypatch.setattr(on_mnist, "train_network", lambda values, *data, seed: seen.append(data))
    monkeypatch.setattr(on_mnist, "mistakes", lambda model, *held_out: np.arange(50))
    evaluate = on_mnist.trainer()
    assert [evaluate(SMALL, epochs, 0) for epochs in (1, 2, 5)] == [
        (0.75, {"wrong": [*range(50)]})
    ] * 3
    first, second, fifth = (images for images, _ in seen)
    assert [len(images) for images in (first, second, fifth)] == [400, 800, 2000]
    assert (first == second[:400]).all()
    assert len(np.unique(second, axis=0)) == 800
    # There are 900 images; then the order begins again.
    assert (fifth[900:1800] == fifth[:900]).all()


def test_a_worker_does_what_this_process_does_and_loads_its_data_once(tiny, monkeypatch):
    on_mnist._trainer_of_this_process.cache_clear()
    here = on_mnist.trainer()(SMALL, 1, 5)
    tiny.clear()
    assert on_mnist.evaluate_in_worker(SMALL, 1, 5) == here
    monkeypatch.setattr(on_mnist, "train_network", lambda *_, seed: None)
    monkeypatch.setattr(on_mnist, "mistakes", lambda *_: np.arange(20))
    assert on_mnist.evaluate_in_worker(SMALL, 1, 5) == (0.9, {"wrong": [*range(20)]})
    assert sorted(tiny) == ["train", "validation"]
    on_mnist._trainer_of_this_process.cache_clear()


def outputs(model, images):
    """What `predict` gives, without the seconds that it takes to trace a new model."""
    return keras.ops.convert_to_numpy(model(images, training=False))


def test_training_repeats_with_its_seed_and_learns():
    data, held_out = [(mnist.as_input(x), y) for x, y in (stripes(600, 1), stripes(300, 2))]
    model, twin = (tuning.train_network(SMALL, *data, epochs=4, seed=3) for _ in range(2))
    first, same = outputs(model, held_out[0]), outputs(twin, held_out[0])
    tuning.train_network(SMALL, *data, epochs=4, seed=4, used=twin)
    other = outputs(twin, held_out[0])
    assert (first == same).all()
    assert (first != other).any()
    assert np.mean(other.argmax(1) == held_out[1]) > 0.6
    predicted = first.argmax(1)
    score = tuning.accuracy(model, *held_out)
    assert score == pytest.approx(np.mean(predicted == held_out[1]))
    assert score > 0.6
    wrong = tuning.mistakes(model, *held_out)
    assert wrong.tolist() == [i for i in range(300) if predicted[i] != held_out[1][i]]


@pytest.mark.parametrize("optimizer", space.OPTIMIZERS)
def test_a_used_model_is_trained_like_a_new_one(optimizer):
    images, labels = stripes(200, 1)
    values = SMALL | {"optimizer": optimizer, "dropout_dense": 0.3}
    data, held_out = (mnist.as_input(images[:150]), labels[:150]), mnist.as_input(images[150:])
    model = tuning.train_network(values, *data, seed=1)
    new = outputs(model, held_out)
    for seed in (2, 1):
        assert tuning.train_network(values, *data, seed=seed, used=model) is model
        assert (outputs(model, held_out) == new).all() == (seed == 1)


def test_the_final_training_uses_all_training_images_and_no_others(tiny, monkeypatch):
    given = {}

    def fit(model, images, labels, **options):
        given.update(options, images=images, labels=labels)
        rate = model.optimizer.learning_rate
        given["rates"] = [float(keras.ops.convert_to_numpy(rate))]
        given["peak"] = max(float(model.optimizer._learning_rate(s)) for s in range(40))
        return {"loss": [1.0]}

    monkeypatch.setattr(on_mnist.training, "fit", fit)
    monkeypatch.setattr(on_mnist, "FINAL_EPOCHS", (4, 4))
    model, history = tuning.train_final(SMALL | {"learning_rate": 7e-4}, seed=1)
    assert sorted(tiny) == ["train", "validation"]
    assert len(given["images"]) == len(given["labels"]) == 1100
    assert given["augmented"] == on_mnist.VARIED
    assert given["epochs"] == 4
    # The task limits the learning rate, and so the peak of the cycle.
    assert given["peak"] == pytest.approx(7e-4, rel=1e-3)
    assert history == {"loss": [1.0]}
    assert model.output_shape == (None, 10)


def test_cheap_networks_train_for_more_epochs_within_bounds():
    epochs = [
        on_mnist.final_epochs(SMALL | {"conv_layers": 3, "filters_2": width, "filters_3": width})
        for width in (16, 64, 128, 256)
    ]
    assert epochs == sorted(epochs, reverse=True)
    low, high = on_mnist.FINAL_EPOCHS
    assert epochs[0] == high
    assert epochs[-1] == low
    assert all(isinstance(count, int) for count in epochs)


def test_epochs_that_are_no_pair_are_refused_by_the_plan():
    with pytest.raises(ValueError, match="epochs must be two integers, .* got 3"):
        tuning.search(epochs=3)


def test_ablation_pairs_the_same_images_and_seeds(monkeypatch, tiny):
    calls = []

    def fit(values, images, labels, *, seed, epochs, batch_size, used):
        calls.append((values["name"], seed, images.sum()))
        return {"with": 0.9, "without": 0.8}[values["name"]] + seed / 100

    # The stand-in of a model is its accuracy; it loses a tenth on the 200 held-out images.
    monkeypatch.setattr(network, "train_network", fit)
    monkeypatch.setattr(network, "accuracy", lambda m, x, y: m - (len(x) == len(y) == 200) / 10)
    variants = {"with": {"name": "with"}, "without": {"name": "without"}}
    found = ablation.ablate(variants, images=50, epochs=1, seeds=(0, 1, 2))
    assert found["with"]["training"] == pytest.approx([0.9, 0.91, 0.92])
    assert found["with"]["held-out"] == pytest.approx([0.8, 0.81, 0.82])
    assert [call[:2] for call in calls[2:4]] == [("with", 2), ("without", 0)]
    assert calls[0][2] == calls[3][2] != calls[1][2]
    assert sorted(tiny) == ["train", "validation"]
