"""The schedule against its formula, the augmentation against geometry, and fit against Keras."""

import math

import keras
import numpy as np
import pytest

from hw4 import training
from hw4.recurrent import Trainer


def one_cycle_by_hand(step, peak, steps, warm_up):
    rising = min(max(1, round(warm_up * steps)), steps - 1)
    if step < rising:
        return peak / 25 + (peak - peak / 25) * step / rising
    return peak / 2 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


@pytest.mark.parametrize(
    ("peak", "steps", "warm_up"), [(3e-3, 100, 0.25), (1, 7, 0.1), (0.1, 2, 0.9)]
)
def test_one_cycle_follows_the_formula(peak, steps, warm_up):
    schedule = training.one_cycle(peak, steps, warm_up)
    found = [float(schedule(step)) for step in range(steps + 1)]
    wanted = [one_cycle_by_hand(step, peak, steps, warm_up) for step in range(steps + 1)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7 * peak)
    assert max(found) == pytest.approx(peak)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"peak": 0, "steps": 10}, "peak must be above 0; got 0"),
        ({"peak": math.nan, "steps": 10}, "peak must be above 0; got nan"),
        ({"peak": 1, "steps": 1}, "steps must be at least 2; got 1"),
        ({"peak": 1, "steps": 10, "warm_up": 1}, "warm_up must be between 0 and 1; got 1"),
    ],
)
def test_one_cycle_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        training.one_cycle(**arguments)


STILL = {"shift": 0, "rotation": 0, "scale": 0, "shear": 0}


def blob(n=200, size=28):
    """Images of one Gaussian spot off the centre."""
    y, x = np.mgrid[:size, :size]
    spot = np.exp(-((y - 10) ** 2 + (x - 16) ** 2) / 8).astype(np.float32)
    return np.repeat(spot[None, ..., None], n, axis=0)


def centroids(images):
    y, x = np.mgrid[: images.shape[1], : images.shape[2]]
    mass = images[..., 0] / images.sum(axis=(1, 2, 3))[:, None, None]
    return np.stack([(mass * x).sum(axis=(1, 2)), (mass * y).sum(axis=(1, 2))], axis=1)


def test_augmentation_is_seeded_and_leaves_its_input_alone():
    images = blob()
    before = images.copy()
    first = training.augment(images, np.random.default_rng(3))
    second = training.augment(images, np.random.default_rng(3))
    assert np.array_equal(first, second)
    assert np.array_equal(images, before)
    assert not np.array_equal(first, training.augment(images, np.random.default_rng(4)))
    assert (first.shape, first.dtype) == (images.shape, np.float32)


def test_shift_alone_moves_every_image_by_at_most_that():
    moved = centroids(training.augment(blob(), np.random.default_rng(0), **STILL | {"shift": 3}))
    steps = moved - [16, 10]
    assert np.abs(steps).max() <= 3.05
    assert np.abs(steps).max(axis=0).min() > 2.5
    assert np.abs(steps.mean(axis=0)).max() < 0.5


def test_rotation_alone_keeps_the_distance_from_the_centre():
    turned = centroids(
        training.augment(blob(), np.random.default_rng(0), **STILL | {"rotation": 20})
    )
    arms = turned - 13.5
    np.testing.assert_allclose(np.hypot(*arms.T), math.hypot(2.5, 3.5), atol=0.05)
    angles = np.rad2deg(np.arctan2(arms[:, 1], arms[:, 0]) - math.atan2(-3.5, 2.5))
    assert 18 < np.abs(angles).max() <= 20.5


def test_scale_alone_stretches_the_distance_from_the_centre():
    sized = centroids(training.augment(blob(), np.random.default_rng(0), **STILL | {"scale": 0.2}))
    ratio = np.hypot(*(sized - 13.5).T) / math.hypot(2.5, 3.5)
    assert 0.79 < ratio.min() < 0.83
    assert 1.17 < ratio.max() < 1.21


def test_shear_alone_moves_sideways_only():
    slanted = centroids(
        training.augment(blob(), np.random.default_rng(0), **STILL | {"shear": 0.3})
    )
    assert np.abs(slanted[:, 1] - 10).max() < 0.05
    assert 0.9 < np.abs(slanted[:, 0] - 16).max() <= 0.3 * 3.5 + 0.05


@pytest.mark.parametrize("kind", ["float16", "float64", "int64", "uint8"])
def test_augment_takes_any_real_numbers(kind):
    image = np.zeros((1, 9, 9, 1), kind)
    image[0, 4, 4] = 1
    moved = training.augment(image, np.random.default_rng(0), **STILL)
    assert (moved.dtype, moved.tolist()) == (np.float32, image.tolist())


def test_augment_refuses_other_shapes():
    with pytest.raises(
        ValueError, match=r"images must have shape \(n, h, w, 1\); got \(4, 28, 28\)"
    ):
        training.augment(np.zeros((4, 28, 28), np.float32), np.random.default_rng(0))


def small_problem():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(64, 4, 4, 1)).astype(np.float32)
    return images, (images.mean(axis=(1, 2, 3)) > 0).astype(np.float32)[:, None]


def small_model():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    return model


def run_fit(**options):
    images, targets = small_problem()
    model = small_model()
    defaults = {"epochs": 3, "batch_size": 16, "seed": 5}
    return model, training.fit(model, images, targets, **defaults | options)


def test_fit_tells_its_callbacks_of_each_epoch_once():
    epochs = []
    told = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    run_fit(callbacks=[told])
    assert epochs == [0, 1, 2]


def test_fit_equals_keras_on_the_same_order():
    model, history = run_fit()
    images, targets = small_problem()
    rng, peer = np.random.default_rng(5), small_model()
    for _ in range(3):
        order = rng.permutation(64)
        for batch in order.reshape(4, 16):
            peer.train_on_batch(images[batch], targets[batch])
    for ours, theirs in zip(model.get_weights(), peer.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert {name: len(values) for name, values in history.items()} == {
        "loss": 3,
        "accuracy": 3,
        "seconds": 3,
    }


class Traced(keras.layers.Layer):
    """Passes on what it gets, and counts how often Python does so while training."""

    count = 0

    def call(self, inputs, training=False):
        self.count += bool(training)
        return inputs


def fit_whole(model):
    training.fit(model, *small_problem(), epochs=2, batch_size=16, seed=0)


def train_again(model):
    Trainer(lambda: model)(*small_problem(), seed=0, epochs=2)


def train_batches(model):
    stream = training.batches(*small_problem(), 16, seed=0)
    training.train_until(model, stream, lambda model: 0, checkpoints=[3])


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow traces twice")
@pytest.mark.parametrize("train", [fit_whole, train_again, train_batches])
@pytest.mark.parametrize("metrics", [[], ["accuracy", "AUC"]])
@pytest.mark.filterwarnings("error")
def test_the_training_step_is_traced_once(train, metrics):
    counter, inputs = Traced(), keras.Input((4, 4, 1))
    stack = keras.Sequential([keras.layers.Flatten(), counter, keras.layers.Dense(1, "sigmoid")])
    model = keras.Model([inputs], stack(inputs))
    counter.count = 0
    model.compile("adam", "binary_crossentropy", metrics=metrics)
    train(model)
    assert counter.count == 1


def test_a_restarted_model_shares_nothing_with_the_new_one():
    def build():
        shape = keras.Input((4, 4, 1))
        kinds = keras.layers
        stack = [shape, kinds.Flatten(), kinds.Dropout(0.5), kinds.Dense(1, "sigmoid")]
        model = keras.Sequential(stack)
        model.compile("adam", "binary_crossentropy")
        return model

    used, new = build(), build()
    fit_whole(used)
    before = [np.copy(keras.ops.convert_to_numpy(variable)) for variable in new.variables]
    training.restart(used, new)
    fit_whole(used)
    for variable, value in zip(new.variables, before, strict=True):
        assert np.array_equal(variable, value)


def test_a_model_that_was_not_compiled_is_refused_by_keras():
    with pytest.raises(ValueError, match=r"call `compile\(\)`"):
        fit_whole(keras.Sequential([keras.layers.Dense(1)]))


def test_fit_hands_options_to_the_augmentation(monkeypatch):
    given = []
    monkeypatch.setattr(training, "augment", lambda x, rng, **more: given.append(more) or x)
    run_fit(augmented={"shift": 1.0})
    run_fit(augmented=True)
    assert given == [{"shift": 1.0}] * 3 + [{}] * 3


def test_fit_is_repeatable_and_silent(capfd):
    first, second = run_fit(augmented=True)[0], run_fit(augmented=True)[0]
    for ours, theirs in zip(first.get_weights(), second.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)
    assert capfd.readouterr().out == ""


def test_fit_reports_validation():
    images, targets = (part[:50] for part in small_problem())  # the last batch is smaller
    model, history = run_fit(validation=(images, targets))
    assert len(history["val_accuracy"]) == len(history["val_loss"]) == 3
    outputs = model.predict(images, verbose=0)
    assert history["val_accuracy"][-1] == pytest.approx(np.mean((outputs > 0.5) == targets))
    likelihoods = np.where(targets == 1, outputs, 1 - outputs)
    assert history["val_loss"][-1] == pytest.approx(-np.log(likelihoods).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("samples", "batch", "epochs", "steps"), [(64, 16, 3, 12), (65, 16, 3, 15)]
)
def test_steps(samples, batch, epochs, steps):
    assert training.steps(samples, batch, epochs) == steps


@pytest.mark.parametrize(("name", "wrong"), [("samples", 0), ("batch_size", 0), ("epochs", 2.5)])
def test_steps_are_counted_of_integers_from_1(name, wrong):
    counts = {"samples": 64, "batch_size": 16, "epochs": 3} | {name: wrong}
    with pytest.raises(ValueError, match=rf"^{name} must be an integer of at least 1; got {wrong}"):
        training.steps(**counts)
