"""Weights: the embedded ones to the last array, the official ones wherever they are, no waiting."""

import dataclasses
import hashlib
import shutil
import socket
import time

import keras
import numpy as np
import pytest

from hw4 import radiographs, transfer
from hw4.runtime import DATA
from hw4.transfer import backbones, weights

pytestmark = pytest.mark.slow

NAMES = ("VGG16", "ResNet50")


def md5(content):
    return hashlib.md5(content).hexdigest()


GOOD = b"the published file"


@pytest.fixture
def ladder(tmp_path, monkeypatch):
    """Three empty rungs: a named folder, a cache, a server (a folder behind a file:// address)."""
    places = {name: tmp_path / name for name in ("named", "cache", "server")}
    for place in places.values():
        place.mkdir()
    for name, backbone in backbones.BACKBONES.items():
        url = (places["server"] / f"{name}.h5").as_uri()
        source = dataclasses.replace(backbone.official, place=url, checksum=md5(GOOD))
        changed = dataclasses.replace(backbone, official=source)
        monkeypatch.setitem(backbones.BACKBONES, name, changed)
    monkeypatch.setattr(weights, "cache_folder", lambda: places["cache"])
    monkeypatch.setenv("HW4_WEIGHTS_DIR", str(places["named"]))
    return places


# --- embedded --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models():
    """Both networks on their embedded weights, small, without a top."""
    built = {}
    for name in NAMES:
        built[name] = backbones.BACKBONES[name].build(
            include_top=False, weights=None, input_shape=(32, 32, 3)
        )
        weights.load(built[name], weights.find(name))
    return built


@pytest.mark.parametrize(("name", "layer"), [("VGG16", "block3_conv2"), ("ResNet50", "conv1_conv")])
def test_a_layer_is_rebuilt_by_hand(models, name, layer):
    with np.load(DATA / backbones.BACKBONES[name].embedded.place, allow_pickle=False) as archive:
        kernel, scale, bias = (archive[f"{layer}/{part}"] for part in ("kernel", "scale", "bias"))
    assert kernel.dtype == np.int8
    expected = np.empty(kernel.shape, np.float32)
    for channel in range(kernel.shape[-1]):
        expected[..., channel] = kernel[..., channel].astype(np.float32) * scale[channel]
    found = models[name].get_layer(layer).get_weights()
    assert (found[0] == expected).all()
    assert (found[1] == bias).all()
    # one scale a channel, the largest weight over 127
    assert (np.abs(kernel).max((0, 1, 2)) == 127).all()


def test_batch_normalisation_is_loaded_in_its_order(models):
    with np.load(DATA / "resnet50_int8.npz", allow_pickle=False) as archive:
        for layer in ("conv1_bn", "conv5_block3_3_bn"):
            found = models["ResNet50"].get_layer(layer)
            for part in ("gamma", "beta", "moving_mean", "moving_variance"):
                value = keras.ops.convert_to_numpy(getattr(found, part))
                assert (value == archive[f"{layer}/{part}"]).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_array_of_the_file_has_its_layer(models, name):
    with np.load(DATA / backbones.BACKBONES[name].embedded.place, allow_pickle=False) as archive:
        stored = sum(archive[key].size for key in archive if not key.endswith("/scale"))
    assert stored == models[name].count_params() == backbones.BACKBONES[name].parameters


@pytest.mark.parametrize("name", NAMES)
def test_the_default_is_embedded_and_asks_no_network(name, ladder, monkeypatch):
    monkeypatch.setattr(weights, "_opened", None)
    monkeypatch.setattr(weights, "cache_folder", None)
    found = weights.find(name)
    assert found.path.parent == DATA
    assert "8 bits" in found.name
    record = backbones.BACKBONES[name].embedded
    assert found.digest == hashlib.sha256(found.path.read_bytes()).hexdigest() == record.checksum


def test_preprocessing_belongs_to_the_weights():
    wanted = {name: weights.find(name).preprocessing for name in NAMES}
    assert wanted == {"VGG16": "torch", "ResNet50": "caffe"}
    assert {b.official.preprocessing for b in backbones.BACKBONES.values()} == {"caffe"}
    image = np.full((1, 1, 1, 3), 255, np.uint8)
    assert weights.find("VGG16").preprocess(image).max() < 3
    assert weights.find("ResNet50").preprocess(image).max() > 100


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "missing", "a pickle"])
def test_a_damaged_embedded_file_is_one_clear_error(tmp_path, damage):
    source = backbones.BACKBONES["VGG16"].embedded
    path = tmp_path / source.place
    content = bytearray((DATA / source.place).read_bytes())
    content[5_000] ^= 1
    if damage == "foreign":
        shutil.copy(DATA / "resnet50_int8.npz", path)
    elif damage == "a pickle":
        np.savez(path, evil=np.array([{}], dtype=object))
    elif damage != "missing":
        path.write_bytes(content[: 100 if damage == "cut" else None])
    got = "no file" if damage == "missing" else r"sha256 [0-9a-f]{64} \([0-9,]+ bytes\)"
    message = rf"must be .*vgg16_int8\.npz with sha256 06a9.*; got {got}\. Restore it with `git ch"
    with pytest.raises(ValueError, match=message):
        weights.read_embedded(path, source.checksum)


def test_arrays_of_another_network_are_refused_by_name(models, tmp_path):
    content = (DATA / "vgg16_int8.npz").read_bytes()
    (tmp_path / "own.npz").write_bytes(content)
    own = weights.find("ResNet50", tmp_path / "own.npz")
    own = dataclasses.replace(own, digest=hashlib.sha256(content).hexdigest())
    with pytest.raises(
        ValueError, match=r"must hold conv1_conv/kernel; got .*own\.npz.*another net"
    ):
        weights.load(models["ResNet50"], own)


def test_embedded_resnet50_sees_fractures_and_1_255_blinds_it(tmp_path):
    """Behaviour, not numbers: the embedded weights carry what ImageNet taught."""
    folder = radiographs.write_phantom(tmp_path / "phantom", 160, 7, size=96, finest=1.0)
    data = radiographs.load(folder)
    train, test = data.split()
    scores = {}
    for mode in ("caffe", "1/255"):
        found = transfer.extract_features(
            "ResNet50", data, size=96, preprocessing=mode, on_purpose=True, cache=tmp_path / "cache"
        )
        head, _ = transfer.fit_head(*found.take(train), epochs=15, seed=1)
        values, truth = found.take(test)
        probability = head.predict(values, verbose=0)[:, 0]
        scores[mode] = transfer.balanced_accuracy(truth, probability)
    assert scores["caffe"] > 0.7
    assert scores["1/255"] < 0.6


# --- official and own ------------------------------------------------------------------------


def test_the_published_files_are_named_as_keras_names_them():
    import keras.src.applications.resnet as resnet
    import keras.src.applications.vgg16 as vgg16

    official = {name: backbones.BACKBONES[name].official for name in NAMES}
    assert official["VGG16"].place == vgg16.WEIGHTS_PATH_NO_TOP
    assert official["ResNet50"].checksum == resnet.WEIGHTS_HASHES["resnet50"][1]
    url = resnet.BASE_WEIGHTS_PATH + "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert official["ResNet50"].place == url
    assert official["VGG16"].checksum == "6d6bbae143d832006294945121d1f1fc"
    assert official["ResNet50"].checksum == "4d473c1dd8becc155b73f8504c6f6626"


@pytest.mark.parametrize("rung", ["named", "cache"])
def test_each_rung_serves_and_the_first_one_that_has_the_file_wins(ladder, rung):
    for place in list(ladder)[list(ladder).index(rung) :]:
        (ladder[place] / "VGG16.h5").write_bytes(GOOD)
    found = weights.find("VGG16", "official")
    assert found.name == "imagenet (Keras), float32"
    assert found.digest == md5(GOOD)
    assert found.path.parent == ladder[rung]


def test_what_is_nowhere_is_not_available_and_says_where_it_was_sought(ladder, monkeypatch):
    (ladder["server"] / "VGG16.h5").write_bytes(GOOD)
    with pytest.raises(
        weights.NotAvailable,
        match=r"not available: HW4_WEIGHTS_DIR lacks VGG16\.h5; Keras' cache lacks it\. Run `make",
    ):
        weights.find("VGG16", "official")
    monkeypatch.delenv("HW4_WEIGHTS_DIR")
    with pytest.raises(weights.NotAvailable, match="HW4_WEIGHTS_DIR is not set"):
        weights.find("ResNet50", "official")


def test_a_damaged_file_in_the_named_folder_is_an_error_not_a_detour(ladder):
    (ladder["named"] / "VGG16.h5").write_bytes(GOOD[:-1])
    (ladder["cache"] / "VGG16.h5").write_bytes(GOOD)
    with pytest.raises(ValueError, match=f"must have MD5 {md5(GOOD)}; got {md5(GOOD[:-1])}"):
        weights.find("VGG16", "official")


def test_a_damaged_file_in_the_cache_is_replaced_by_make_weights(ladder, capsys):
    (ladder["cache"] / "VGG16.h5").write_bytes(b"half")
    with pytest.raises(weights.NotAvailable, match="holds a damaged file"):
        weights.find("VGG16", "official")
    (ladder["server"] / "VGG16.h5").write_bytes(GOOD)
    assert weights.main() == 1  # ResNet50 is nowhere
    assert weights.find("VGG16", "official").path.read_bytes() == GOOD
    assert not list(ladder["cache"].glob("*.partial"))


def test_another_file_on_the_server_is_never_kept(ladder, capsys):
    (ladder["server"] / "VGG16.h5").write_bytes(b"a login page")
    assert weights.main() == 1
    assert f"got {md5(b'a login page')}" in capsys.readouterr().out
    assert list(ladder["cache"].iterdir()) == []


def test_only_the_published_file_is_called_imagenet(ladder, tmp_path):
    mine = tmp_path / "mine.weights.h5"
    mine.write_bytes(b"my own")
    assert weights.find("VGG16", mine).name == "mine.weights.h5"
    assert weights.find("VGG16", str(mine)).digest == md5(b"my own")
    mine.write_bytes(GOOD)
    assert weights.find("VGG16", mine).name == "imagenet (Keras), float32"


@pytest.mark.parametrize("name", ["mine.weights.h5", "mine.keras", "mine.h5"])
def test_a_damaged_file_of_ones_own_is_our_error_with_its_name(models, tmp_path, name):
    path = tmp_path / name
    models["VGG16"].save(path) if name == "mine.keras" else models["VGG16"].save_weights(
        tmp_path / "whole.weights.h5"
    )
    content = path.read_bytes() if path.exists() else (tmp_path / "whole.weights.h5").read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"not a weight file"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"that Keras can load into vgg16; got .*{name} \("):
            weights.load(models["VGG16"], weights.find("VGG16", path))


def test_weights_of_another_network_are_our_error_too(models, tmp_path):
    models["ResNet50"].save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(ValueError, match=r"into vgg16; got .*other\.weights\.h5"):
        weights.load(models["VGG16"], weights.find("VGG16", tmp_path / "other.weights.h5"))


def test_random_weights_are_keyed_by_their_seed():
    assert weights.find("VGG16", "random", seed=1) != weights.find("VGG16", "random", seed=2)


def test_what_does_not_exist_is_refused(ladder):
    with pytest.raises(ValueError, match=r"must be imagenet, official, random or an existing file"):
        weights.find("VGG16", "imagnet")
    with pytest.raises(ValueError, match="name must be one of VGG16, ResNet50; got 'VGG19'"):
        weights.find("VGG19")


def test_official_and_embedded_are_compared_where_both_are_here(tmp_path, models, monkeypatch):
    """ResNet50's own embedded weights, moved by a known amount, stand in for the official file."""
    with pytest.raises(weights.NotAvailable):
        weights.largest_difference("ResNet50")
    layer = models["ResNet50"].get_layer("conv1_conv")
    kernel, bias = layer.get_weights()
    moved = kernel.copy()
    moved[np.unravel_index(np.abs(kernel).argmax(), kernel.shape)] *= 2
    layer.set_weights([moved, bias])
    models["ResNet50"].save_weights(tmp_path / "moved.weights.h5")
    layer.set_weights([kernel, bias])
    monkeypatch.setattr(weights, "_sought", lambda name: tmp_path / "moved.weights.h5")
    assert weights.largest_difference("ResNet50") == pytest.approx(0.5)


def test_a_server_that_never_answers_is_given_up_soon():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        with pytest.raises(weights.NotAvailable, match="no answer"):
            weights.fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/x", None, "", patience=0.3)
        assert time.monotonic() - start < 3


def test_a_name_that_never_resolves_is_given_up_soon(monkeypatch, tmp_path):
    monkeypatch.setattr(weights.urllib.request, "urlopen", lambda *a, **k: time.sleep(5))
    start = time.monotonic()
    with pytest.raises(weights.NotAvailable, match="no answer"):
        weights.fetch("http://name.invalid/x", tmp_path / "x", "", patience=0.2)
    assert time.monotonic() - start < 2


def test_make_weights_says_what_it_has_and_fails_honestly(ladder, capsys):
    assert weights.main() == 1
    assert capsys.readouterr().out.count("FAIL") == 2
    for name in NAMES:
        (ladder["server"] / f"{name}.h5").write_bytes(GOOD)
    assert weights.main() == 0
    assert capsys.readouterr().out.count("ok ") == 2
