"""Question 2's machinery on tiny images: backbones, features, heads, controls and diagnosis."""

import os
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics

from hw4 import radiographs, transfer
from hw4.transfer import collapse, comparison, features, preprocessing, scores
from hw4.transfer import fine_tuning as finetune
from hw4.transfer import scratch as control
from hw4.transfer import weights as pretrained

SIZE = 32


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    return radiographs.load(radiographs.write_phantom(folder, 30, 7, size=48))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Features that several tests ask for are extracted once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def classifiers():
    return {name: transfer.build_classifier(name, size=SIZE) for name in transfer.BACKBONES}


# --- networks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "total", "head"),
    [("VGG16", 14_780_481, 65_793), ("ResNet50", 23_850_113, 262_401)],
)
def test_parameters_are_those_of_the_table(classifiers, name, total, head):
    model = classifiers[name]
    assert model.count_params() == total
    found = sum(model.get_layer(layer).count_params() for layer in ("hidden", "output"))
    assert found == head
    assert transfer.build_head(transfer.BACKBONES[name].channels).count_params() == head
    assert comparison._BACKBONE_PARAMETERS[name] == total - head


@pytest.mark.parametrize("name", ["VGG16", "ResNet50"])
def test_the_graph_is_flat_and_frozen_and_names_its_last_convolution(classifiers, name):
    model = classifiers[name]
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert convolutions[-1].name == transfer.BACKBONES[name].last_convolution
    assert {weight.path.split("/")[0] for weight in model.trainable_weights} == {"hidden", "output"}


@pytest.mark.parametrize("name", ["VGG16", "ResNet50"])
def test_a_frozen_network_is_bit_identical_after_training(name):
    model = transfer.build_classifier(name, size=SIZE, seed=3)
    frozen = [w for layer in model.layers for w in layer.weights if layer.name not in _HEAD]
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in frozen]
    x = np.random.default_rng(0).normal(0, 60, (8, SIZE, SIZE, 3)).astype("float32")
    inference = keras.ops.convert_to_numpy(model(x, training=False))
    training = keras.ops.convert_to_numpy(model(x, training=True))
    assert (inference == training).all()
    model.compile("adam", "binary_crossentropy")
    model.fit(x, np.arange(8)[:, None] % 2, epochs=1, verbose=0)
    after = [keras.ops.convert_to_numpy(weight) for weight in frozen]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


_HEAD = ("hidden", "output")


def test_random_weights_follow_their_seed_alone():
    models = [transfer.build_classifier("VGG16", size=SIZE, seed=seed) for seed in (1, 1, 2)]
    first, same, other = ([w for w in model.get_weights() if w.ndim == 4] for model in models)
    assert all((a == b).all() for a, b in zip(first, same, strict=True))
    assert not any((a == b).all() for a, b in zip(first, other, strict=True))
    limit = np.sqrt(6 / (9 * (64 + 64)))
    assert limit * 0.99 < np.abs(first[1]).max() <= limit


def test_senseless_networks_are_refused():
    with pytest.raises(ValueError, match="name must be one of VGG16, ResNet50; got 'VGG19'"):
        transfer.build_classifier("VGG19")
    with pytest.raises(ValueError, match="size must be an integer of at least 32; got 31"):
        transfer.build_classifier("VGG16", size=31)
    with pytest.raises(ValueError, match="activation must be one of sigmoid, linear; got 'relu'"):
        transfer.build_head(4, activation="relu")


def test_tuning_the_last_block_changes_it_and_the_head_and_nothing_else(data):
    model = transfer.build_classifier("ResNet50", size=SIZE)
    before = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    history = finetune.fine_tune(
        model,
        "ResNet50",
        data,
        np.arange(12),
        size=SIZE,
        epochs=1,
        batch_size=6,
        learning_rate=0.01,
    )
    changed = {
        name
        for name, old in before.items()
        if any(
            (a != b).any() for a, b in zip(old, model.get_layer(name).get_weights(), strict=True)
        )
    }
    assert changed == {*_HEAD, *(f"conv5_block3_{k}_conv" for k in (1, 2, 3))}
    assert len(history["loss"]) == 1


def test_a_stream_is_every_image_once_preprocessed(data):
    stream = finetune.Stream(data, np.arange(10), "VGG16", size=SIZE, batch_size=4, seed=1)
    batches = [stream[step] for step in range(len(stream))]
    labels = np.concatenate([labels for _, labels in batches])
    images = np.concatenate([images for images, _ in batches])
    assert labels.shape == (10, 1)
    expected = keras.applications.vgg16.preprocess_input(
        data.images(SIZE, stream.index).astype("f4")
    )
    assert (images == expected).all()
    assert (labels[:, 0] == data.labels[stream.index]).all()
    order = stream.index.copy()
    stream.on_epoch_end()
    assert sorted(stream.index) == list(range(10))
    assert (stream.index != order).any()


# --- preprocessing ---------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["vgg16", "resnet50"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_caffe_is_keras_preprocessing_and_leaves_its_argument_alone(module, dtype):
    images = np.random.default_rng(1).integers(0, 256, (3, 5, 4, 3)).astype(dtype)
    before = images.copy()
    expected = getattr(keras.applications, module).preprocess_input(images.astype("float32"))
    found = preprocessing.caffe(images)
    assert found.dtype == np.float32
    assert (found == expected).all()
    assert (images == before).all()
    corrupted = keras.applications.vgg16.preprocess_input(expected.copy())
    np.testing.assert_allclose(preprocessing.caffe_twice(images), corrupted, atol=1e-4)


def test_guards_of_preprocessing():
    images = np.full((1, 2, 2, 3), 7, np.uint8)
    with pytest.raises(ValueError, match=r"preprocessed already"):
        preprocessing.caffe(preprocessing.caffe(images))
    with pytest.warns(UserWarning, match=r"maximum of 0\.0274.*1/255 scaling"):
        preprocessing.caffe(preprocessing.unit(images))
    with pytest.raises(ValueError, match=r"3 channels last; got \(2, 2, 1\)"):
        preprocessing.caffe(images[0, ..., :1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        preprocessing.caffe(np.zeros_like(images))


# --- features --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["VGG16", "ResNet50"])
def test_features_equal_the_frozen_network_end_to_end(data, cache, name):
    found = transfer.extract_features(name, data, size=SIZE, cache=cache)
    head, _ = transfer.fit_head(*found.take(np.arange(20)), epochs=2, seed=1)
    whole = transfer.build_classifier(name, size=SIZE)
    transfer.transplant(head, whole)
    inputs = transfer.BACKBONES[name].preprocess(data.images(SIZE))
    end_to_end = whole.predict(inputs, verbose=0)
    np.testing.assert_allclose(head.predict(found.values, verbose=0), end_to_end, atol=1e-4)
    if name == "ResNet50":
        return
    other = transfer.BACKBONES[name].build(
        include_top=False, weights=None, pooling="avg", input_shape=(SIZE, SIZE, 3)
    )
    other.set_weights(
        [w for layer in whole.layers if layer.name not in _HEAD for w in layer.get_weights()]
    )
    np.testing.assert_allclose(found.values, other.predict(inputs, verbose=0), rtol=1e-4, atol=1e-4)
    assert (found.labels == data.labels).all()


class Mean:
    """A stand-in for a network: the mean of each channel, and a count of its calls."""

    calls = 0

    def predict(self, inputs, **_):
        Mean.calls += 1
        return inputs.mean(axis=(1, 2))


def extract(data, cache, identity=("a",), **options):
    Mean.calls = 0
    options = {"size": 8, "batch_size": 4, "channels": 3} | options
    found = features.extract(Mean, data, {"weights": identity}, cache=cache, **options)
    return found, Mean.calls


def test_the_cache_answers_the_second_time_and_only_for_the_same_question(data, tmp_path):
    first, calls = extract(data, tmp_path)
    assert calls == first.computed == 8
    again, calls = extract(data, tmp_path)
    assert calls == again.computed == 0
    assert (again.values == first.values).all()
    assert again.seconds == first.seconds
    expected = preprocessing.caffe(data.images(8)).mean(axis=(1, 2))
    np.testing.assert_allclose(first.values, expected, rtol=1e-6)
    for change in (
        {"identity": ("b",)},
        {"size": 9},
        {"preprocessing": "twice"},
        {"batch_size": 5},
    ):
        assert extract(data, tmp_path, **change)[1] > 0


def test_other_data_is_another_question(data, tmp_path):
    extract(data, tmp_path / "cache")
    folder = radiographs.write_phantom(tmp_path / "other", 30, 8, size=48)
    assert extract(radiographs.load(folder), tmp_path / "cache")[1] == 8


def _cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def _flip(path):
    content = bytearray(path.read_bytes())
    with np.load(path) as archive:
        where = content.find(archive["values"].tobytes())
    content[where + 5] ^= 255
    path.write_bytes(content)


def _rewrite(path, **changes):
    with np.load(path) as archive:
        part = dict(archive) | changes
    with path.open("wb") as stream:
        np.savez(stream, **part)


DAMAGE = {
    "cut off": _cut,
    "one byte": _flip,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not an archive"),
    "missing": lambda path: path.unlink(),
    "another origin": lambda path: _rewrite(path, key=np.array("{}")),
    "another part": lambda path: path.write_bytes(path.with_name("part-0000000.npz").read_bytes()),
    "nan": lambda path: _rewrite(path, values=np.full((4, 3), np.nan, np.float32)),
    "another type": lambda path: _rewrite(path, values=np.zeros((4, 3))),
    "another shape": lambda path: _rewrite(path, values=np.zeros((4, 2), np.float32)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_part_is_computed_again_and_no_other(data, tmp_path, damage):
    first, _ = extract(data, tmp_path)
    DAMAGE[damage](next(tmp_path.glob("*/part-0000008.npz")))
    again, calls = extract(data, tmp_path)
    assert calls == again.computed == 1
    assert (again.values == first.values).all()
    assert extract(data, tmp_path)[1] == 0


def test_an_interrupted_extraction_goes_on_where_it_stopped(data, tmp_path, monkeypatch):
    predict = Mean.predict

    def interrupted(self, inputs, **options):
        if Mean.calls == 5:
            raise KeyboardInterrupt
        return predict(self, inputs, **options)

    monkeypatch.setattr(Mean, "predict", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract(data, tmp_path)
    monkeypatch.setattr(Mean, "predict", predict)
    found, calls = extract(data, tmp_path)
    assert calls == 3
    assert len(found.values) == 30
    assert not list(tmp_path.rglob("*.partial"))


def test_shards_share_the_work_and_the_last_call_collects_it(data, tmp_path):
    whole, _ = extract(data, tmp_path / "alone")
    parts = [extract(data, tmp_path / "shared", shard=(k, 3)) for k in range(3)]
    assert [calls for _, calls in parts] == [3, 3, 2]
    collected, calls = extract(data, tmp_path / "shared")
    assert calls == 0
    assert (collected.values == whole.values).all()
    joined = np.sort(np.concatenate([part.positions for part, _ in parts]))
    assert joined.tolist() == list(range(30))
    with pytest.raises(ValueError, match=r"shard must be \(k, m\) with 0 <= k < m; got \(3, 3\)"):
        extract(data, tmp_path, shard=(3, 3))


def test_an_unreadable_file_costs_its_own_row_and_is_named_each_time(tmp_path):
    folder = radiographs.write_phantom(tmp_path / "phantom", 12, 7, size=32)
    data = radiographs.load(folder)
    content = bytearray(data.paths[5].read_bytes())
    content[100] ^= 255
    data.paths[5].write_bytes(content)
    for calls in (3, 0):
        data = radiographs.load(folder)
        found, computed = extract(data, tmp_path / "cache")
        assert computed == calls
        assert found.positions.tolist() == [k for k in range(12) if k != 5]
        assert data.problems == {"unreadable": [data.stems[5]]}
        values, labels = found.take([4, 5, 6])
        assert (values == found.values[[4, 5]]).all()
        assert labels.tolist() == data.labels[[4, 6]].tolist()


def test_scaling_by_255_is_warned_about_and_unknown_preprocessing_refused(data, tmp_path):
    with pytest.warns(UserWarning, match=r"got 1/255.*same grey everywhere.*Use caffe"):
        extract(data, tmp_path, preprocessing="1/255")
    with pytest.raises(ValueError, match="preprocessing must be one of caffe, 1/255, twice; got"):
        extract(data, tmp_path, preprocessing="torch")


# --- diagnosis -------------------------------------------------------------------------------

binary = st.lists(st.integers(0, 1), min_size=2, max_size=40)


@settings(deadline=None)
@given(binary, st.floats(0, 1))
def test_a_constant_output_is_always_found(y_true, value):
    found = transfer.diagnose_collapse(y_true, [value] * len(y_true))
    assert any(f.startswith("constant prediction: class " + str(int(value >= 0.5))) for f in found)
    assert any(f.startswith("constant output") for f in found)
    assert any("is the share of class" in f for f in found)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=4, max_size=60))
def test_findings_agree_with_scikit_learn(pairs):
    y_true, y_prob = map(np.array, zip(*pairs, strict=True))
    predicted = y_prob >= 0.5
    found = transfer.diagnose_collapse(y_true, y_prob)
    accuracy = metrics.accuracy_score(y_true, predicted)
    shares = {label: np.mean(y_true == label) for label in (0, 1)}
    for label, share in shares.items():
        assert any(f"share of class {label}" in f for f in found) == (accuracy == share)
    if 0 < y_true.sum() < len(y_true):
        half = metrics.balanced_accuracy_score(y_true, predicted) == pytest.approx(0.5, abs=1e-12)
        assert any(f.startswith("balanced accuracy") for f in found) == half
    assert any(f.startswith("constant prediction") for f in found) == (len(set(predicted)) == 1)


def test_an_almost_constant_prediction_is_found_unless_it_is_right():
    y_true = np.repeat([1, 0], [60, 40])
    almost = np.where(np.arange(100) == 3, 0.1, 0.8)
    found = transfer.diagnose_collapse(y_true, almost)
    assert found == ("almost constant prediction: class 1 for 99 of 100 images",)
    rare = (np.arange(100) >= 97).astype(int)
    assert transfer.diagnose_collapse(rare, rare) == ()
    assert transfer.diagnose_collapse(y_true, np.where(np.arange(100) % 10, 0.8, 0.1)) != found


def test_a_good_classifier_has_no_findings():
    assert transfer.diagnose_collapse([0, 1, 1, 0, 1], [0.1, 0.9, 0.8, 0.3, 0.7], loss=0.2) == ()
    assert transfer.diagnose_collapse([[0], [1], [1]], [[0.1], [0.9], [1.0]]) == ()


@pytest.mark.filterwarnings("ignore:You are using a softmax")
def test_the_softmax_fingerprint_is_what_keras_computes_from_the_outputs():
    y = np.array([1, 1, 0, 1, 0, 1, 1], "float32")[:, None]
    x = np.random.default_rng(0).normal(size=(7, 5)).astype("float32")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1, activation="softmax")])
    model.compile("adam", "binary_crossentropy")
    before = model.get_weights()
    trained_loss = model.fit(x, y, epochs=3, verbose=0).history["loss"][-1]
    outputs = model.predict(x, verbose=0)
    loss = float(keras.losses.BinaryCrossentropy()(y, outputs))
    assert loss == pytest.approx(collapse.SOFTMAX_LOSS * 2 / 7, abs=1e-5)
    assert pytest.approx(15.942385, abs=1e-6) == collapse.SOFTMAX_LOSS
    found = transfer.diagnose_collapse(y, outputs, loss)
    assert any("softmax over one unit" in finding for finding in found)
    assert any(finding.startswith("loss ") for finding in found)
    assert not any(f.startswith("loss ") for f in transfer.diagnose_collapse(y, y, loss + 0.01))
    # On TensorFlow, Keras takes the training loss from the logits, behind the softmax.
    learns = any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    assert learns == (keras.backend.backend() == "tensorflow")
    assert (trained_loss == pytest.approx(loss, abs=1e-5)) != learns


@pytest.mark.parametrize(
    "tail",
    [
        [keras.layers.Dense(1, activation="softmax")],
        [keras.layers.Dense(1), keras.layers.Activation("softmax")],
        [keras.layers.Dense(1), keras.layers.Softmax()],
    ],
)
def test_a_softmax_over_one_unit_is_refused_with_the_reason(tail):
    with pytest.raises(ValueError, match=r"= 1 for every image.*15\.942385.*Use a sigmoid"):
        transfer.check_head(keras.Sequential([keras.Input((3,)), *tail]))


def test_other_heads_pass_the_guard():
    for tail in (keras.layers.Dense(2, activation="softmax"), keras.layers.Dense(1)):
        transfer.check_head(keras.Sequential([keras.Input((3,)), tail]))
    for build in (transfer.build_head, lambda *_, **k: transfer.build_classifier("VGG16", **k)):
        with pytest.raises(ValueError, match="softmax over one unit"):
            build(4, activation="softmax")


@pytest.mark.parametrize(
    ("y_true", "y_prob", "message"),
    [
        ([], [], r"y_true must have shape .* got \(0,\)"),
        ([0, 1], [0.5], "as many entries as y_true; got 1 and 2"),
        ([0, 2], [0.5, 0.5], "y_true must hold 0 and 1 only; got 2"),
        ([0, np.nan], [0.5, 0.5], "y_true must hold 0 and 1 only; got nan"),
        ([0, 1], [0.5, 1.5], r"y_prob must be from 0 to 1; got 1\.5"),
        ([0, 1], [0.5, np.nan], "y_prob must be from 0 to 1; got nan"),
        ([0, 1], [[0.5, 0.5], [0.5, 0.5]], r"y_prob must have shape .* got \(2, 2\)"),
    ],
)
def test_what_is_no_prediction_is_refused(y_true, y_prob, message):
    with pytest.raises(ValueError, match=message):
        transfer.diagnose_collapse(y_true, y_prob)


# --- scores ----------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_that_of_scipy(case):
    right, total = case
    expected = binomtest(right, total).proportion_ci(0.95, method="wilson")
    assert scores.wilson(right, total) == pytest.approx((expected.low, expected.high), abs=1e-9)


COLUMNS = {
    "model": "m", "weights": "random", "data": "phantom", "train_images": 5, "parameters": 3,
    "train_accuracy": 0.5, "feature_seconds": 1.0, "head_seconds": 2.0, "history": {},
}  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=2, max_size=50))
def test_a_row_agrees_with_scikit_learn(pairs):
    y_true, y_prob = map(np.array, zip(*pairs, strict=True))
    row = scores.score(y_true, y_prob, **COLUMNS)
    assert row.accuracy == metrics.accuracy_score(y_true, y_prob >= 0.5)
    assert row.majority_share == max(np.mean(y_true), 1 - np.mean(y_true))
    if 0 < y_true.sum() < len(y_true):
        balanced = metrics.balanced_accuracy_score(y_true, y_prob >= 0.5)
        assert row.balanced_accuracy == pytest.approx(balanced)
        assert row.roc_auc == pytest.approx(metrics.roc_auc_score(y_true, y_prob))
    else:
        assert np.isnan(row.balanced_accuracy)
    assert row.beats_majority == (scores.wilson(round(row.accuracy * len(y_true)), len(y_true))[0]
                                  > row.majority_share)  # fmt: skip


def test_the_table_has_every_column_and_masks_what_varies():
    row = scores.score([0, 1, 1, 1], [0.2, 0.9, 0.8, 0.4], **COLUMNS)
    texts = scores.table([row])["m, random"]
    assert texts["data"] == "phantom"
    assert texts["majority share"] == "0.7500"
    assert texts["accuracy"] == "⟨0.7500⟩"
    assert texts["verdict"] == "does not beat the majority class"
    columns = ["weights", "train images", "test images", "95 % interval", "balanced accuracy"]
    columns += ["ROC AUC", "seconds, features", "seconds, training", "parameters"]
    assert set(columns) < set(texts)


# --- comparison ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compared(data, cache, tmp_path_factory):
    """The same path that ImageNet weights take, with a file that this test makes itself."""
    folder = tmp_path_factory.mktemp("weights")
    saved = transfer.build_classifier("VGG16", size=SIZE, seed=99)
    backbone = keras.Model(saved.inputs, saved.get_layer("block5_pool").output)
    backbone.save_weights(folder / "mine.weights.h5")
    train, test = data.split()
    options = {"size": SIZE, "epochs": 2, "control_size": 16, "control_epochs": 1, "cache": cache}
    found = transfer.compare(data, train, test, {"VGG16": folder / "mine.weights.h5"}, **options)
    return found, saved, (train, test), options


def test_every_comparison_has_both_controls(compared, data):
    found, _, (train, test), _ = compared
    assert [(row.model, row.weights) for row in found.rows] == [
        ("VGG16", "random"), ("ResNet50", "random"),
        ("small CNN", "from scratch"), ("VGG16", "mine.weights.h5"),
    ]  # fmt: skip
    assert {row.data for row in found.rows} == {"phantom"}
    assert {(row.train_images, row.test_images) for row in found.rows} == {(len(train), len(test))}
    assert [row.parameters for row in found.rows][:2] == [14_780_481, 23_850_113]
    text = found.explain()
    assert text.count("(phantom)") == 4
    assert "small CNN" in text.splitlines()[-1]


def test_weights_from_a_file_run_end_to_end(compared, data):
    found, saved, (_, test), _ = compared
    transfer.transplant(found.models[3], saved)
    inputs = preprocessing.caffe(data.images(SIZE, test))
    np.testing.assert_allclose(
        saved.predict(inputs, verbose=0)[:, 0], found.rows[3].y_prob, atol=1e-4
    )
    assert not np.allclose(found.rows[3].y_prob, found.rows[0].y_prob, atol=1e-6)


def test_controls_are_taken_over_only_from_the_same_images(compared, data):
    found, _, (train, test), options = compared
    controls = transfer.Comparison(found.rows[:3], found.models[:3], found.origin)
    again = transfer.compare(data, train, test, "random", controls=controls, **options)
    assert again.rows == controls.rows
    with pytest.raises(ValueError, match="controls must come from the same images and split"):
        transfer.compare(data, train[1:], test, "random", controls=controls, **options)


def test_overlapping_parts_and_missing_weights_stop_before_any_work(compared, data, monkeypatch):
    _, _, (train, test), options = compared
    with pytest.raises(ValueError, match="train and test must not overlap; got 1 images"):
        transfer.compare(data, [*train, test[0]], test, **options)
    monkeypatch.setattr(pretrained, "_climb", _nothing)
    monkeypatch.setattr(comparison, "_run", None)
    with pytest.raises(pretrained.NotAvailable, match="nowhere"):
        transfer.compare(data, train, test, "imagenet", **options)


def _nothing(*_):
    raise pretrained.NotAvailable("nowhere")


def test_the_published_format_of_weight_files_is_read(tmp_path, classifiers):
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    source = classifiers["VGG16"]
    backbone = keras.Model(source.inputs, source.get_layer("block5_pool").output)
    path = tmp_path / "published.h5"
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, backbone)
    loaded = transfer.build_classifier("VGG16", path, size=SIZE)
    names = [layer.name for layer in backbone.layers if layer.weights]
    for name in names:
        pairs = zip(
            source.get_layer(name).get_weights(), loaded.get_layer(name).get_weights(), strict=True
        )
        assert all((a == b).all() for a, b in pairs)
    assert len(names) == 13


def test_the_control_does_not_see_the_exposure():
    model = control.small_cnn(16, seed=2)
    images = np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 1)).astype("float32")
    darker = images * np.array([0.3, 0.5, 0.7, 0.9]).reshape(4, 1, 1, 1) + 20
    np.testing.assert_allclose(
        model.predict(images, verbose=0),
        model.predict(darker.astype("float32"), verbose=0),
        atol=1e-3,
    )
    learnt = control.small_cnn(16, standardise=False)
    assert (
        np.abs(learnt.predict(images, verbose=0) - learnt.predict(images / 255, verbose=0)).max()
        > 1e-3
    )


# --- several devices -------------------------------------------------------------------------

DEVICES = """
import os, sys
import keras
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, parts)
import numpy as np
from hw4 import transfer
from hw4.transfer import fine_tuning as finetune
x = np.random.default_rng(0).normal(size=(12, 6)).astype("float32")
y = (x.sum(1) > 0).astype("float32")[:, None]
def trained():
    head = transfer.build_head(6, seed=1)
    head.compile("sgd", "binary_crossentropy")
    loss = head.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"]
    return np.append(head.predict(x, batch_size=4, verbose=0), loss)
alone = trained()
with finetune.data_parallel() as devices:
    spread = trained()
print(devices, np.abs(spread - alone).max() < 1e-5)
"""


def test_two_devices_give_what_one_gives():
    setting = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DEVICES],
        env=os.environ | setting, capture_output=True, text=True, check=False,
    )  # fmt: skip
    devices = 1 if keras.backend.backend() == "torch" else 2
    assert answer.stdout.split("\n")[0] == f"{devices} True", answer.stderr[-2000:]
