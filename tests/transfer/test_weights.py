"""The weights ladder: every rung, every damage, and no waiting where there is no network."""

import hashlib
import socket
import time

import pytest

from hw4.transfer import weights


def md5(content):
    return hashlib.md5(content).hexdigest()


GOOD = b"the published file"


@pytest.fixture
def ladder(tmp_path, monkeypatch):
    """Three empty rungs: a named folder, a cache, a server (a folder behind a file:// address)."""
    places = {name: tmp_path / name for name in ("named", "cache", "server")}
    for place in places.values():
        place.mkdir()
    known = {
        name: ((places["server"] / f"{name}.h5").as_uri(), md5(GOOD)) for name in weights.IMAGENET
    }
    monkeypatch.setattr(weights, "IMAGENET", known)
    monkeypatch.setattr(weights, "cache_folder", lambda: places["cache"])
    monkeypatch.setenv("HW4_WEIGHTS_DIR", str(places["named"]))
    return places


def test_the_published_files_are_named_as_keras_names_them():
    import keras.src.applications.resnet as resnet
    import keras.src.applications.vgg16 as vgg16

    assert weights.IMAGENET["VGG16"][0] == vgg16.WEIGHTS_PATH_NO_TOP
    assert weights.IMAGENET["ResNet50"][1] == resnet.WEIGHTS_HASHES["resnet50"][1]
    url = resnet.BASE_WEIGHTS_PATH + "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert weights.IMAGENET["ResNet50"][0] == url
    assert weights.IMAGENET["VGG16"][1] == "6d6bbae143d832006294945121d1f1fc"
    assert weights.IMAGENET["ResNet50"][1] == "4d473c1dd8becc155b73f8504c6f6626"


@pytest.mark.parametrize("rung", ["named", "cache", "server"])
def test_each_rung_serves_and_the_first_one_that_has_the_file_wins(ladder, rung):
    for place in list(ladder)[list(ladder).index(rung) :]:
        (ladder[place] / "VGG16.h5").write_bytes(GOOD)
    found = weights.find("VGG16")
    assert found.name == "imagenet"
    assert found.digest == md5(GOOD)
    assert found.path.parent == ladder["named" if rung == "named" else "cache"]
    assert not list(ladder["cache"].glob("*.partial"))


def test_what_is_nowhere_is_not_available_and_says_where_it_was_sought(ladder):
    with pytest.raises(
        weights.NotAvailable,
        match=r"are not available: HW4_WEIGHTS_DIR lacks VGG16\.h5; Keras' cache lacks it; no",
    ):
        weights.find("VGG16")
    with pytest.raises(weights.NotAvailable, match="cache lacks it$"):
        weights.find("VGG16", download=False)


def test_without_the_variable_the_ladder_starts_at_the_cache(ladder, monkeypatch):
    monkeypatch.delenv("HW4_WEIGHTS_DIR")
    with pytest.raises(weights.NotAvailable, match="HW4_WEIGHTS_DIR is not set"):
        weights.find("ResNet50", download=False)


def test_a_damaged_file_in_the_named_folder_is_an_error_not_a_detour(ladder):
    (ladder["named"] / "VGG16.h5").write_bytes(GOOD[:-1])
    (ladder["cache"] / "VGG16.h5").write_bytes(GOOD)
    with pytest.raises(ValueError, match=f"must have MD5 {md5(GOOD)}; got {md5(GOOD[:-1])}"):
        weights.find("VGG16")


def test_a_damaged_file_in_the_cache_is_replaced_by_a_download(ladder):
    (ladder["cache"] / "VGG16.h5").write_bytes(b"half")
    with pytest.raises(weights.NotAvailable, match="holds a damaged file"):
        weights.find("VGG16")
    (ladder["server"] / "VGG16.h5").write_bytes(GOOD)
    assert weights.find("VGG16").path.read_bytes() == GOOD


def test_another_file_on_the_server_is_never_kept(ladder):
    (ladder["server"] / "VGG16.h5").write_bytes(b"a login page")
    with pytest.raises(weights.NotAvailable, match=f"got {md5(b'a login page')}"):
        weights.find("VGG16")
    assert list(ladder["cache"].iterdir()) == []


def test_only_the_published_file_is_called_imagenet(ladder, tmp_path):
    mine = tmp_path / "mine.weights.h5"
    mine.write_bytes(b"my own")
    assert weights.find("VGG16", mine).name == "mine.weights.h5"
    assert weights.find("VGG16", str(mine)).digest == md5(b"my own")
    mine.write_bytes(GOOD)
    assert weights.find("VGG16", mine).name == "imagenet"


def test_random_weights_are_keyed_by_their_seed():
    assert weights.find("VGG16", "random", seed=1) != weights.find("VGG16", "random", seed=2)


def test_what_does_not_exist_is_refused(ladder):
    with pytest.raises(ValueError, match=r"weights must be imagenet, random or an existing file"):
        weights.find("VGG16", "imagnet")
    with pytest.raises(ValueError, match="backbone must be one of VGG16, ResNet50; got 'VGG19'"):
        weights.find("VGG19")


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
    for name in weights.IMAGENET:
        (ladder["server"] / f"{name}.h5").write_bytes(GOOD)
    assert weights.main() == 0
    assert capsys.readouterr().out.count("ok ") == 2
