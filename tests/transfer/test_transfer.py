"""Question 2's machinery on tiny images: backbones, features, heads, comparison and diagnosis."""

import warnings

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from hw4 import radiographs, training, transfer
from hw4.transfer import collapse, comparison, features, fitting, preprocessing, scores
from hw4.transfer import weights as pretrained
from hw4.transfer.networks import folded

pytestmark = pytest.mark.slow

SIZE = 32
NAMES = ("VGG16", "ResNet50")


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
    return {name: transfer.build_classifier(name, "random", size=SIZE) for name in NAMES}


def outputs(model, inputs, training=False):
    """What `predict` gives, without the seconds that it takes to trace a network."""
    return keras.ops.convert_to_numpy(model(inputs, training=training))


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
    assert transfer.BACKBONES[name].parameters == total - head


@pytest.mark.parametrize("name", ["VGG16", "ResNet50"])
def test_the_graph_is_flat_and_frozen_and_names_its_last_convolution(classifiers, name):
    model = classifiers[name]
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert convolutions[-1].name == transfer.BACKBONES[name].last_convolution
    assert {weight.path.split("/")[0] for weight in model.trainable_weights} == {"hidden", "output"}


@pytest.mark.parametrize("name", ["VGG16", "ResNet50"])
def test_a_frozen_network_is_bit_identical_after_training(classifiers, name):
    model = classifiers[name]
    frozen = [w for layer in model.layers for w in layer.weights if layer.name not in _HEAD]
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in frozen]
    x = np.random.default_rng(0).normal(0, 60, (8, SIZE, SIZE, 3)).astype("float32")
    assert (outputs(model, x) == outputs(model, x, training=True)).all()
    model.compile("adam", "binary_crossentropy", run_eagerly=True)
    model.fit(x, np.arange(8)[:, None] % 2, epochs=1, verbose=0)
    after = [keras.ops.convert_to_numpy(weight) for weight in frozen]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


_HEAD = ("hidden", "output")


def test_random_weights_follow_their_seed_alone():
    models = [
        transfer.build_classifier("VGG16", "random", size=SIZE, seed=seed) for seed in (1, 1, 2)
    ]
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


@pytest.mark.parametrize("name", NAMES)
def test_tuning_the_last_block_changes_it_and_the_head_and_nothing_else(data, name):
    weights = transfer.find(name, "random")
    model = transfer.build_classifier(name, weights, size=SIZE)
    before = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    before_block, after = transfer.split_at_last_block(model, name)
    maps = outputs(before_block, weights.preprocess(data.images(SIZE, np.arange(12))))
    options = {"epochs": 1, "batch_size": 6, "learning_rate": 0.01}
    history = transfer.fine_tune(after, maps, data.labels[:12], **options)
    changed = {
        name
        for name, old in before.items()
        if any(
            (a != b).any() for a, b in zip(old, model.get_layer(name).get_weights(), strict=True)
        )
    }
    block = {"VGG16": "block5_conv{}", "ResNet50": "conv5_block3_{}_conv"}[name]
    assert changed == {*_HEAD, *(block.format(k) for k in (1, 2, 3))}
    assert len(history["loss"]) == 1


def test_tuning_behind_the_cut_is_tuning_the_whole_network(data):
    """The gradient that the last block gets from cached maps is that of the uncut network."""
    weights = transfer.find("VGG16", "random")
    train = np.arange(6)
    cut, whole = (transfer.build_classifier("VGG16", weights, size=SIZE) for _ in range(2))
    images = weights.preprocess(data.images(SIZE, train))
    before, after = transfer.split_at_last_block(cut, "VGG16")
    maps = outputs(before, images)
    transfer.fine_tune(after, maps, data.labels[train], epochs=1, learning_rate=1e-3)
    transfer.unfreeze_last_block(whole, "VGG16")
    whole.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy", run_eagerly=True)
    whole.train_on_batch(images, data.labels[train].astype("f4")[:, None])
    for name in ("block5_conv1", "block5_conv3", "output"):
        a, b = (model.get_layer(name).get_weights()[0] for model in (cut, whole))
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_batch_norm_folds_into_the_convolution_before_it():
    """The embedded ResNet50, whose statistics are of a real training, is the same without."""
    whole = transfer.build_classifier("ResNet50", size=SIZE)
    without = folded(whole)
    images = np.random.default_rng(0).uniform(-120, 150, (4, SIZE, SIZE, 3)).astype("f4")
    expected = outputs(whole, images)
    np.testing.assert_allclose(outputs(without, images), expected, atol=1e-4)
    assert np.ptp(expected) > 1e-3
    norm = keras.layers.BatchNormalization
    assert sum(isinstance(layer, norm) for layer in whole.layers) == 53
    assert not any(isinstance(layer, norm) for layer in without.layers)


def test_heads_trained_one_after_another_know_nothing_of_each_other():
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(90, 6)).astype("f4"), rng.integers(0, 2, 90)
    alone = transfer.build_head(6, seed=3)
    alone.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    targets = labels.astype("f4")[:, None]
    training.fit(alone, values, targets, epochs=3, batch_size=64, seed=3)
    options = {"epochs": 3, "learning_rate": 0.01}
    transfer.fit_head(values[:70], 1 - labels[:70], seed=1, **options)
    head, history = transfer.fit_head(values, labels, seed=3, **options)
    transfer.fit_head(values, 1 - labels, seed=1, **options)
    for a, b in zip(alone.get_weights(), head.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert [len(history[name]) for name in ("loss", "accuracy", "seconds")] == [3, 3, 3]
    expected = outputs(head, values)[:, 0]
    np.testing.assert_allclose(transfer.probabilities(head, values), expected, atol=1e-6)


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
    twice = preprocessing.PREPROCESSING["caffe twice"](images)
    np.testing.assert_allclose(twice, corrupted, atol=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_torch_is_keras_preprocessing_in_that_mode(dtype):
    images = np.random.default_rng(1).integers(0, 256, (3, 5, 4, 3)).astype(dtype)
    before = images.copy()
    mode = keras.applications.imagenet_utils.preprocess_input
    expected = mode(images.astype("float32"), data_format="channels_last", mode="torch")
    np.testing.assert_allclose(preprocessing.torch(images), expected, atol=1e-5)
    twice = mode(expected.copy(), data_format="channels_last", mode="torch")
    found = preprocessing.PREPROCESSING["torch twice"](images)
    np.testing.assert_allclose(found, twice, atol=1e-5)
    assert (images == before).all()


@pytest.mark.parametrize("mode", [preprocessing.caffe, preprocessing.torch])
def test_guards_of_preprocessing(mode):
    images = np.full((1, 2, 2, 3), 7, np.uint8)
    with pytest.raises(ValueError, match=r"minimum of -[0-9.]+: they were preprocessed already"):
        mode(mode(images))
    with pytest.warns(UserWarning, match=r"maximum of 0\.0274.*1/255 scaling"):
        mode(preprocessing.unit(images))
    with pytest.raises(ValueError, match=r"3 channels last; got \(2, 2, 1\)"):
        mode(images[0, ..., :1])
    with pytest.raises(ValueError, match=r"maximum of 30000\. Divide 16 bits by 257"):
        mode(np.full((1, 2, 2, 3), 30_000, np.uint16))
    for bad in (np.nan, np.inf):
        pixels = images.astype("f4")
        pixels[0, 0, 0, 0] = bad
        with pytest.raises(ValueError, match="images must be finite; got 1 pixels of NaN"):
            mode(pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mode(np.zeros_like(images))
        assert mode(images[:0]).shape == (0, 2, 2, 3)


# --- features --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["VGG16", "ResNet50"])
def test_features_equal_the_frozen_network_end_to_end(data, cache, classifiers, name):
    found = transfer.extract_features(name, data, weights="random", size=SIZE, cache=cache)
    head, _ = transfer.fit_head(*found.take(np.arange(20)), epochs=2, seed=1)
    whole = classifiers[name]
    transfer.transplant(head, whole)
    inputs = preprocessing.caffe(data.images(SIZE))
    np.testing.assert_allclose(outputs(head, found.values), outputs(whole, inputs), atol=1e-4)
    if name == "ResNet50":
        return
    other = transfer.BACKBONES[name].build(
        include_top=False, weights=None, pooling="avg", input_shape=(SIZE, SIZE, 3)
    )
    other.set_weights(
        [w for layer in whole.layers if layer.name not in _HEAD for w in layer.get_weights()]
    )
    np.testing.assert_allclose(found.values, outputs(other, inputs), rtol=1e-4, atol=1e-4)
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
    identity = {"weights": identity}
    found = features.extract(Mean, data, identity, preprocessing.caffe, cache=cache, **options)
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
        {"index": np.arange(29)},
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
    "another part": lambda path: path.write_bytes(
        next(path.parent.glob("part-0000000-*")).read_bytes()
    ),
    "nan": lambda path: _rewrite(path, values=np.full((4, 3), np.nan, np.float32)),
    "another type": lambda path: _rewrite(path, values=np.zeros((4, 3))),
    "another shape": lambda path: _rewrite(path, values=np.zeros((4, 2), np.float32)),
}


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")  # a file left open
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_part_is_computed_again_and_no_other(data, tmp_path, damage):
    first, _ = extract(data, tmp_path)
    DAMAGE[damage](next(tmp_path.glob("*/part-0000008-*.npz")))
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


def test_an_index_reads_those_images_and_no_others(data, tmp_path):
    whole, _ = extract(data, tmp_path)
    part, calls = extract(data, tmp_path, index=[20, 3, 7, 3, 29])
    assert calls == 1
    assert part.positions.tolist() == [3, 7, 20, 29]
    np.testing.assert_allclose(part.values, whole.values[part.positions], rtol=1e-5)


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


@pytest.mark.parametrize(
    ("name", "weights", "wrong", "right"),
    [
        (
            "VGG16",
            "imagenet",
            "caffe",
            r"torch, with which imagenet \(torchvision\), 8 bits of VGG16",
        ),
        ("ResNet50", "imagenet", "torch", r"caffe, with which imagenet \(Keras\), 8 bits of Res"),
        ("ResNet50", "random", "1/255", "caffe, with which random of ResNet50"),
    ],
)
def test_a_wrong_pairing_is_refused_by_name(data, name, weights, wrong, right):
    with pytest.raises(ValueError, match=rf"must be {right}.* got {wrong}.*on_purpose=True"):
        transfer.extract_features(name, data, weights=weights, preprocessing=wrong)


def test_unknown_preprocessing_is_refused(data):
    with pytest.raises(ValueError, match="must be one of caffe, torch, 1/255, caffe twice, torch"):
        transfer.extract_features("VGG16", data, preprocessing="tf")


# --- diagnosis -------------------------------------------------------------------------------

binary = st.lists(st.integers(0, 1), min_size=2, max_size=40)


@given(binary, st.floats(0, 1))
def test_a_constant_output_is_always_found(y_true, value):
    found = transfer.diagnose_collapse(y_true, [value] * len(y_true))
    assert any(f.startswith("constant prediction: class " + str(int(value >= 0.5))) for f in found)
    assert any(f.startswith("constant output") for f in found)
    assert any("is the share of class" in f for f in found)


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


D, A = keras.layers.Dense, keras.layers.Activation
A_MILLIONTH = keras.initializers.Constant(1e-6)
SOFTMAX_TAILS = {
    "its own activation": [D(1, activation="softmax")],
    "a layer behind": [D(1), A("softmax")],
    "a Softmax layer": [D(1), keras.layers.Softmax()],
    "a linear end": [D(1, activation="softmax"), A("linear")],
    "an operation behind": [D(1, activation="softmax"), keras.layers.Rescaling(1.0)],
    "log_softmax": [D(1, activation="log_softmax")],
    "a Lambda": [D(1), keras.layers.Lambda(lambda z: keras.ops.softmax(z))],
    "by hand": [
        D(1),
        keras.layers.Lambda(lambda z: keras.ops.exp(z) / keras.ops.sum(keras.ops.exp(z), -1, True)),
    ],
    "a Lambda, frozen": [
        D(1, trainable=False),
        keras.layers.Lambda(lambda z: keras.ops.softmax(z)),
    ],
    "a hundredfold": [D(1), keras.layers.Lambda(lambda z: 100 * keras.ops.softmax(z))],
    "a sigmoid behind": [D(1), keras.layers.Lambda(lambda z: keras.ops.sigmoid(z / z))],
    "a normalisation behind": [D(1), A("softmax"), keras.layers.BatchNormalization()],
    "a PReLU behind": [D(1, activation="softmax"), keras.layers.PReLU()],
    "a second head": [D(1, activation="softmax"), D(1, activation="sigmoid")],
    "a nested head": [keras.Sequential([keras.Input((3,)), D(1, activation="softmax")])],
    "the mean of two": [
        D(2),
        keras.layers.Lambda(lambda z: keras.ops.mean(keras.ops.softmax(z), 1, True)),
    ],
    "clipped": [D(1, activation="softmax"), keras.layers.Lambda(lambda p: keras.ops.clip(p, 0, 1))],
}


@pytest.mark.parametrize("tail", SOFTMAX_TAILS)
def test_a_softmax_over_one_unit_is_refused_with_the_reason(tail):
    model = keras.Sequential([keras.Input((3,)), *SOFTMAX_TAILS[tail]])
    with pytest.raises(ValueError, match=r"= 1 for every image.*15\.942385.*Use a sigmoid"):
        transfer.check_head(model)


def test_a_softmax_before_an_operation_is_refused():
    inputs = keras.Input((3,))
    outputs = keras.ops.squeeze(D(1, activation="softmax")(inputs)[:, None], 1) * 1.0
    with pytest.raises(ValueError, match="got softmax behind"):
        transfer.check_head(keras.Model(inputs, outputs))


def test_other_heads_pass_the_guard():
    inputs = keras.Input((3,))
    second = keras.Model(inputs, D(2, activation="softmax")(inputs)[:, 1:])
    heads = [D(2, activation="softmax"), D(1), D(1, activation="sigmoid")]
    heads += [D(1, kernel_initializer="zeros", trainable=False)]
    heads += [D(1, kernel_initializer="zeros"), D(1, kernel_initializer=A_MILLIONTH)]
    models = [keras.Sequential([keras.Input((3,)), head]) for head in heads]
    places = keras.Input((5, 3))
    attention = keras.layers.Softmax(axis=1)(D(1)(places))  # over places, of which each has one
    attended = keras.Model(places, D(1)(keras.ops.sum(attention * places, axis=1)))
    for model in (*models, second, attended):
        assert transfer.check_head(model) is model
    small = transfer.small_cnn(16)
    assert transfer.check_head(small) is small
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
        ([0, 1], [0.5, 1.0000001], r"y_prob must be from 0 to 1; got 1\.0000001"),
        ([0, 1], [0.5, np.nan], "y_prob must be from 0 to 1; got nan"),
        ([0, 1], [[0.5, 0.5], [0.5, 0.5]], r"y_prob must have shape .* got \(2, 2\)"),
    ],
)
def test_what_is_no_prediction_is_refused(y_true, y_prob, message):
    with pytest.raises(ValueError, match=message):
        transfer.diagnose_collapse(y_true, y_prob)


# --- scores ----------------------------------------------------------------------------------


def result(y_true, y_prob, patients=None, **changes):
    columns = {
        "model": "m", "weights": "random", "data": "phantom", "train_images": 5, "parameters": 3,
        "train_accuracy": 0.5, "feature_seconds": 1.0, "training_seconds": 2.0,
    }  # fmt: skip
    patients = np.arange(len(y_true)) if patients is None else np.asarray(patients)
    return scores.Result(y_true=y_true, y_prob=y_prob, patients=patients, **columns | changes)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=2, max_size=50))
def test_scores_agree_with_scikit_learn(pairs):
    y_true, y_prob = map(np.array, zip(*pairs, strict=True))
    found = result(y_true, y_prob)
    assert found.right.mean() == metrics.accuracy_score(y_true, y_prob >= 0.5)
    assert found.majority_share == max(np.mean(y_true), 1 - np.mean(y_true))
    if 0 < y_true.sum() < len(y_true):
        balanced = metrics.balanced_accuracy_score(y_true, y_prob >= 0.5)
        assert scores.balanced_accuracy(y_true, y_prob) == pytest.approx(balanced)
        assert scores.roc_auc(y_true, y_prob) == pytest.approx(
            metrics.roc_auc_score(y_true, y_prob)
        )
    else:
        assert np.isnan(scores.balanced_accuracy(y_true, y_prob))
        assert np.isnan(scores.roc_auc(y_true, y_prob))
        assert np.isnan(found.roc_auc).all()


def test_a_row_without_intervals_above_the_majority_does_not_beat_it():
    truth = np.repeat([1, 0], [20, 10])
    better = result(truth, np.where(np.arange(30) < 29, truth, 1))
    assert better.beats_majority
    assert better.accuracy[0] == pytest.approx(29 / 30)
    constant = result(truth, np.ones(30))
    assert not constant.beats_majority
    assert constant.accuracy[0] == constant.majority_share == pytest.approx(2 / 3)


def test_intervals_over_patients_are_wider_than_over_images():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(60), 4)
    right = np.repeat(rng.random(60) < 0.8, 4)
    truth = np.repeat(rng.integers(0, 2, 60), 4)
    probability = np.where(right, truth, 1 - truth)
    together = result(truth, probability, patients).accuracy
    alone = result(truth, probability).accuracy
    assert together[0] == alone[0]
    ratio = (together[2] - together[1]) / (alone[2] - alone[1])
    assert ratio == pytest.approx(2, abs=0.3)  # sqrt(4): four views say what one says


def test_the_paired_difference_counts_what_one_alone_gets_right():
    truth, patients = np.array([1, 1, 0, 0, 1, 1]), list("aabbcd")
    first = result(truth, truth, patients)
    second = result(truth, [0.1, 0.9, 0.2, 0.2, 0.9, 0.2], patients)
    found = scores.paired(first, second)
    assert found.accuracy[0] == pytest.approx(1 - 4 / 6)
    assert (found.only_first, found.only_second) == (2, 0)  # patients a and d
    assert found.p_value == pytest.approx(0.5)
    same = scores.paired(first, first)
    assert (same.accuracy, same.p_value) == ((0.0, 0.0, 0.0), 1.0)
    with pytest.raises(ValueError, match="judged on the same images; got 6 and 6 of other"):
        scores.paired(first, result(truth, truth, list("aabbce")))


def test_folds_are_pooled_only_when_no_patient_counts_twice():
    first = result([0, 1], [0.2, 0.7], ["a", "b"], train_accuracy=0.8)
    second = result([1, 1], [0.2, 0.7], ["c", "c"], train_accuracy=0.9)
    both = scores.pooled([first, second])
    assert both.y_prob.tolist() == [0.2, 0.7, 0.2, 0.7]
    assert (both.train_accuracy, both.training_seconds) == (pytest.approx(0.85), 4)
    with pytest.raises(ValueError, match="disjoint test patients"):
        scores.pooled([first, first])


def test_detection_counts_each_class_of_width_and_admits_doubt_at_the_ceiling():
    rng = np.random.default_rng(3)
    patients, widths = np.repeat(np.arange(50), 2), rng.uniform(0, 4, 100)
    found = rng.random(100) < 0.6
    found[widths > 3] = True
    rates = scores.detection(found, patients, widths, edges=[0, 1, 2, 3, 4])
    for low, (share, lower, upper) in zip(range(3), rates, strict=False):
        inside = (widths >= low) & (widths < low + 1)
        assert share == pytest.approx(found[inside].mean())
        assert lower < share < upper
    count = len(set(patients[widths >= 3]))
    assert rates[3] == pytest.approx((1.0, count / (count + 1.959964**2), 1.0))


def test_pointing_hits_what_a_count_of_pixels_says():
    rng = np.random.default_rng(5)
    heat, box = rng.random((40, 8, 8)), (0.55, 0.4, 0.3, 0.35)
    hits, chance = scores.pointing(heat, [box] * 40, margin=0.05)
    centres = (np.arange(8) + 0.5) / 8
    inside = (abs(centres - 0.4) <= 0.225)[:, None] & (abs(centres - 0.55) <= 0.2)
    expected = [inside.ravel()[picture.argmax()] for picture in heat]
    assert hits.tolist() == expected
    assert 0 < sum(expected) < 40
    assert chance == pytest.approx([0.4 * 0.45] * 40)
    edge = scores.pointing(heat[:1], [(0.05, 0.5, 0.2, 0.2)], margin=0.0)[1]
    assert edge == pytest.approx([0.15 * 0.2])  # what lies outside the image cannot be hit


def test_the_table_has_every_column_and_masks_what_varies():
    texts = scores.table([result([0, 1, 1, 1], [0.2, 0.9, 0.8, 0.4])])["m, random"]
    assert texts["data"] == "phantom"
    assert texts["majority share"] == "⟨0.7500⟩"
    assert texts["test accuracy"].startswith("⟨0.750⟩ [⟨")
    assert texts["beats the majority"] == "no"
    columns = ["train images", "test images", "test patients", "train accuracy"]
    columns += ["balanced accuracy", "ROC AUC", "seconds, features", "seconds, training"]
    assert set(columns) < set(texts)


# --- comparison ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compared(data, cache, tmp_path_factory):
    """The same path that ImageNet weights take, with a file that this test makes itself."""
    folder = tmp_path_factory.mktemp("weights")
    saved = transfer.build_classifier("VGG16", "random", size=SIZE, seed=99)
    backbone = keras.Model(saved.inputs, saved.get_layer("block5_pool").output)
    backbone.save_weights(folder / "mine.weights.h5")
    train, test = data.split()
    found = transfer.compare(
        data, train, test, {"VGG16": folder / "mine.weights.h5"}, size=SIZE, epochs=2, cache=cache
    )
    return found[0], saved, train, test


def test_weights_from_a_file_run_end_to_end(compared, data):
    found, saved, train, test = compared
    assert found.name == "VGG16, mine.weights.h5"
    assert (found.train_images, len(found.y_true)) == (len(train), len(test))
    assert (found.data, found.parameters) == ("phantom", 14_780_481)
    assert (found.patients == data.patients[test]).all()
    assert (found.y_true == data.labels[test]).all()
    transfer.transplant(found.network, saved)
    inputs = preprocessing.caffe(data.images(SIZE, test))
    np.testing.assert_allclose(outputs(saved, inputs)[:, 0], found.y_prob, atol=1e-4)


def test_the_small_network_is_scored_on_the_same_images(compared, data):
    found, _, train, test = compared
    small = transfer.from_scratch(data, train, test, size=16, epochs=1)
    assert (small.name, small.parameters) == ("small CNN, from scratch", 33_041)
    assert (small.patients == found.patients).all()
    assert scores.paired(small, found).accuracy[0] == pytest.approx(
        small.right.mean() - found.right.mean()
    )
    text = transfer.explain([found, small])
    assert text.count("(phantom)") == 2
    assert text.splitlines()[-1].startswith("No row beats the majority class")
    truth = np.repeat([1, 0], [20, 10])
    good, bad = result(truth, truth, model="good"), result(truth, np.ones(30), model="bad")
    assert transfer.explain([bad, good]).splitlines()[-1].startswith("good beats it, so that")
    assert len(transfer.explain([good]).splitlines()) == 2


def test_folds_test_every_image_once_and_keep_patients_together(data):
    tested = []
    for train, test in transfer.folds(data, 3, seed=2):
        assert not set(data.patients[train]) & set(data.patients[test])
        assert sorted([*train, *test]) == list(range(len(data)))
        tested.extend(test)
    assert sorted(tested) == list(range(len(data)))


def test_folds_of_some_images_leave_the_others_alone(data):
    some = np.flatnonzero(data.labels == 1)[::2]
    parts = list(transfer.folds(data, 2, seed=2, index=some))
    assert sorted(np.concatenate([test for _, test in parts])) == some.tolist()
    assert all(sorted([*train, *test]) == some.tolist() for train, test in parts)


def test_every_preprocessing_gets_its_own_features_and_the_same_test_images(data, cache):
    splits = list(transfer.folds(data, 2, seed=2, index=range(8)))
    options = {"size": SIZE, "epochs": 1, "cache": cache}
    found = transfer.compare_preprocessing("ResNet50", data, splits, **options)
    assert list(found) == ["right", "1/255", "the other network's", "twice"]
    modes = [result.weights.removeprefix("imagenet (Keras), 8 bits, ") for result in found.values()]
    assert modes == ["caffe", "1/255", "torch", "caffe twice"]
    tested = np.concatenate([test for _, test in splits])
    for result in found.values():
        assert (result.patients == data.patients[tested]).all()
    assert len({result.y_prob.tobytes() for result in found.values()}) == 4


def test_overlapping_parts_and_missing_weights_stop_before_any_work(data, monkeypatch):
    train, test = data.split()
    for run in (transfer.compare, transfer.from_scratch):
        with pytest.raises(ValueError, match="train and test must not overlap; got 1 images"):
            run(data, [*train, test[0]], test)
    monkeypatch.setattr(pretrained, "_sought", _nothing)
    monkeypatch.setattr(comparison, "extract_features", None)
    with pytest.raises(pretrained.NotAvailable, match="nowhere"):
        transfer.compare(data, train, test, "official")


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
    model = transfer.small_cnn(16, seed=2)
    images = np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 1)).astype("float32")
    darker = images * np.array([0.3, 0.5, 0.7, 0.9]).reshape(4, 1, 1, 1) + 20
    np.testing.assert_allclose(
        outputs(model, images),
        outputs(model, darker.astype("float32")),
        atol=1e-3,
    )


def test_grey_pixels_come_with_labels_and_positions(data):
    images, labels, positions = fitting.read_grey(data, 16, [4, 2])
    assert images.shape == (2, 16, 16, 1)
    assert positions.tolist() == [4, 2]
    assert (labels == data.labels[[4, 2]]).all()
    assert (images[1, ..., 0] == data.images(16, [2])[0, ..., 0]).all()
