"""Settings from the environment, seeds, device report and the silent start."""

import json
import os
import random
import subprocess
import sys

import keras
import numpy as np
import pytest

from hw4 import runtime


def draws():
    """One number from every generator that start() seeds."""
    backend = float(keras.ops.convert_to_numpy(keras.random.uniform(())))
    return random.random(), float(np.random.random()), backend  # noqa: NPY002


def test_start_seeds_python_numpy_and_backend(monkeypatch):
    monkeypatch.delenv("HW4_SEED", raising=False)
    assert runtime.start(3) == 3
    first = draws()
    runtime.start(3)
    assert draws() == first
    runtime.start(4)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


@pytest.mark.slow
def test_reseeded_networks_are_those_of_keras_own_seed_and_train_alike(monkeypatch):
    def trained(seed_with):
        seed_with(5)
        layers = keras.layers
        stack = [keras.Input((6,)), layers.Dense(8), layers.Dropout(0.5), layers.Dense(1)]
        model = keras.Sequential(stack)
        model.compile("sgd", "mse")
        x = np.linspace(-1, 1, 60).reshape(10, 6)
        model.fit(x, x[:, 0], epochs=2, shuffle=False, verbose=0)
        return model.get_weights()

    expected = trained(keras.utils.set_random_seed)
    if keras.backend.backend() == "tensorflow":  # whose own seed `reseed` must leave alone
        monkeypatch.delattr("tensorflow.random.set_seed")
    for ours, theirs in zip(trained(runtime.reseed), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("seed", [None, -1, 3.5, "x", True, 2**32])
def test_a_senseless_seed_of_a_network_is_refused(seed):
    with pytest.raises(ValueError, match="seed must be an integer from 0 to 4294967295; got"):
        runtime.reseed(seed)


def test_seed_can_be_overridden(monkeypatch):
    monkeypatch.setenv("HW4_SEED", "11")
    assert runtime.start(3) == 11


@pytest.mark.parametrize("seed", [-1, 1.5, "7", None, True, 2**32])
def test_start_refuses(seed, monkeypatch):
    monkeypatch.delenv("HW4_SEED", raising=False)
    with pytest.raises(
        ValueError, match=f"seed must be an integer from 0 to 4294967295; got {seed!r}"
    ):
        runtime.start(seed)


@pytest.mark.parametrize("value", ["-1", "1.5", "seven", "--5", "²", "4294967296"])
def test_senseless_settings_are_named(value, monkeypatch):
    monkeypatch.setenv("HW4_SEED", value)
    with pytest.raises(ValueError, match=f"HW4_SEED must be an integer from 0 .* got '{value}'"):
        runtime.start(3)
    monkeypatch.delenv("HW4_SEED")
    monkeypatch.setenv("HW4_THREADS", "0")
    with pytest.raises(ValueError, match="HW4_THREADS must be an integer from 1 to 1024; got '0'"):
        runtime.start(3)


def test_profile(monkeypatch):
    monkeypatch.delenv("HW4_PROFILE", raising=False)
    assert runtime.profile() == "standard"
    monkeypatch.setenv("HW4_PROFILE", "full")
    assert runtime.profile() == "full"
    monkeypatch.setenv("HW4_PROFILE", "Full")
    with pytest.raises(ValueError, match="HW4_PROFILE must be one of standard, full; got 'Full'"):
        runtime.profile()


def test_path_setting(monkeypatch, tmp_path):
    monkeypatch.delenv("HW4_GAS", raising=False)
    assert runtime.path_setting("HW4_GAS") is None
    monkeypatch.setenv("HW4_GAS", str(tmp_path))
    assert runtime.path_setting("HW4_GAS") == tmp_path
    monkeypatch.setenv("HW4_GAS", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="HW4_GAS must be an existing path; got '.*none'"):
        runtime.path_setting("HW4_GAS")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("~nobody-of-this-name/gas.csv", "Could not determine home directory"),
        ("x" * 5000, "File name too long"),
        ("setup_env.py/gas.csv", "Not a directory"),
    ],
)
def test_a_path_that_cannot_be_looked_at_is_refused_in_one_short_line(monkeypatch, value, reason):
    monkeypatch.setenv("HW4_GAS", value)
    message = rf"HW4_GAS must be an existing path; got '.*\({reason}.*\)\. Correct it"
    with pytest.raises(ValueError, match=message) as caught:
        runtime.path_setting("HW4_GAS")
    assert len(str(caught.value)) < 300


def test_environment_is_plain_and_complete():
    found = runtime.environment(7, "some data")
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {"backend", "device", "seed", "profile", "versions", "data"}
    assert found["backend"] == keras.backend.backend()
    assert found["versions"]["numpy"] == np.__version__
    assert found["device"].startswith(("CPU (", "GPU: "))


def test_cores_are_those_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)
    assert runtime.cores_text() == "1 core"
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 3})
    assert runtime.cores_text() == "2 cores"
    if not runtime.device().startswith("GPU"):
        assert runtime.device() == "CPU (2 cores)"


def test_batched_gives_every_sample_once_in_order():
    x, y = np.arange(10, dtype=np.float32).reshape(5, 2), np.arange(5)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Identity()])
    model.compile(loss=lambda target, output: target[..., 0] * 0 + output[..., 0])
    # The loss of a batch of two and so on is the mean over all five samples of 0, 2, 4, 6, 8.
    assert model.evaluate(**runtime.batched(x, y[:, None], 2), verbose=0) == 4
    if keras.backend.backend() == "tensorflow":
        data = runtime.batched(x, y, 2)["x"]
        assert [labels.numpy().tolist() for _, labels in data] == [[0, 1], [2, 3], [4]]
        # What the waiting at the end of an epoch came from.
        assert data.options().autotune.enabled is False


@pytest.mark.parametrize(("backend", "steps"), [("tensorflow", 20), ("torch", 1), ("jax", 1)])
def test_steps_run_together_only_where_that_saves_time(monkeypatch, backend, steps):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    assert runtime.steps_together(20) == steps


def test_watched_is_false_for_batch_runs_and_true_in_a_live_notebook(monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert runtime.watched() is sys.stderr.isatty()
    monkeypatch.setenv("JPY_SESSION_NAME", "q7.ipynb")
    assert runtime.watched()


SILENT = """
import sys
from hw4 import runtime
runtime.start(1)
import keras, numpy as np
from hw4.tools import doctor
c = keras.config
print(c.backend(), c.image_data_format(), c.floatx(), c.epsilon())
print(doctor._settings())
x, y = np.zeros((8, 4), "float32"), np.zeros((8, 1), "float32")
model = keras.Sequential([keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(x, y, verbose=0)
for size in range(int(sys.argv[1])):  # a new graph each, about which TensorFlow likes to warn
    keras.Sequential([keras.layers.Dense(size + 1)]).predict(x, verbose=0)
print(repr(float(model.predict(x + 1, verbose=0)[0, 0])))
"""


def run_silent(graphs, **environment):
    """Return what is printed: settings, what the doctor says of them, a prediction."""
    kept = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", SILENT, str(graphs)],
        capture_output=True,
        text=True,
        env=kept | environment,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.slow
def test_start_up_is_silent_repeatable_and_follows_no_personal_keras_json(tmp_path):
    personal = {"image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1}
    (tmp_path / "keras.json").write_text(json.dumps(personal | {"backend": "torch"}))
    (tmp_path / "none").mkdir()
    first, said, number = run_silent(7, HW4_THREADS="1", KERAS_HOME=str(tmp_path))
    assert "a personal keras.json says backend torch, image_data_format channels_first" in said
    second, said, same = run_silent(0, KERAS_HOME=str(tmp_path / "none"))
    assert "keras.json" not in said
    assert first == second == "tensorflow channels_last float32 1e-07"
    assert number == same


@pytest.mark.parametrize("value", [2, np.int64(2), np.uint8(2)])
def test_integers_of_numpy_are_integers(value):
    number = runtime.integer("steps", value, 1, 5)
    assert (number, type(number)) == (2, int)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(True, "True"), (2.0, r"2\.0"), ("2", "'2'"), (None, "None"), (0, "0"), (6, "6")],
)
def test_integer_refuses_everything_else_with_its_value(value, shown):
    with pytest.raises(ValueError, match=rf"^steps must be an integer from 1 to 5; got {shown}\."):
        runtime.integer("steps", value, 1, 5)


def test_a_seed_of_numpy_is_a_seed(monkeypatch):
    monkeypatch.delenv("HW4_SEED", raising=False)
    assert type(runtime.start(np.int64(7))) is int


def test_integer_shows_no_number_that_python_cannot_write():
    with pytest.raises(ValueError, match="from 0 to 9; got a number of 16610 bits"):
        runtime.integer("seed", 10**5000, 0, 9)


def test_integer_cuts_what_it_echoes():
    with pytest.raises(ValueError, match="got 'x{76}") as caught:
        runtime.integer("steps", "x" * 10_000_000, 1)
    assert len(str(caught.value)) < 200


def test_write_whole_replaces_or_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "new" / "text.json"
    assert runtime.write_whole(path, "old ü\n") == path
    assert path.read_bytes() == "old ü\n".encode()
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        runtime.write_whole(path, b"new")
    assert path.read_text(encoding="utf-8") == "old ü\n"
    assert [p.name for p in path.parent.iterdir()] == ["text.json"]


def test_write_whole_follows_no_link_that_a_stranger_may_have_left(tmp_path):
    link, real = tmp_path / "grades.csv", tmp_path / "elsewhere"
    real.write_text("old")
    link.symlink_to(real)
    runtime.write_whole(link, "new")
    assert (link.read_text(), link.is_symlink(), real.read_text()) == ("new", False, "old")


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="this system has no such names")
def test_write_whole_leaves_the_names_of_devices_alone(tmp_path):
    """Where output is redirected to a file, /dev/stdout leads to one that can be replaced."""
    with (tmp_path / "out").open("w") as stream:
        for path in (f"/dev/fd/{stream.fileno()}", "/dev/no_such_device"):
            with pytest.raises(FileExistsError, match=f"no file replaces: '{path}'"):
                runtime.write_whole(path, "new")
    assert (tmp_path / "out").read_text() == ""


def test_write_whole_names_the_folder_that_is_in_its_way(tmp_path):
    with pytest.raises(IsADirectoryError, match=f"'{tmp_path}'"):
        runtime.write_whole(tmp_path, "new")


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_write_whole_replaces_no_pipe_or_device(tmp_path, kind):
    path = tmp_path / "grades.csv"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to(os.devnull)
    before = path.lstat()
    with pytest.raises(FileExistsError, match=r"no file replaces: '.*grades\.csv'"):
        runtime.write_whole(path, "new")
    assert path.lstat() == before
    assert [p.name for p in tmp_path.iterdir()] == ["grades.csv"]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.ma.masked_array([1.0, 2.0], [0, 1]), r"MaskedArray of float64\. Fill or drop"),
        ([1 + 2j], "list of complex128"),
        (np.array([1, None]), "ndarray of object"),
        (["1"], "list of <U1"),
        (np.zeros(2, "M8[s]"), r"ndarray of datetime64\[s\]"),
        ([[1], [1, 2]], "list of object"),
        (None, "NoneType of object"),
    ],
)
def test_real_refuses_what_an_array_of_numbers_would_lose(values, shown):
    with pytest.raises(ValueError, match=f"^x must be a plain array of real numbers; got {shown}"):
        runtime.real("x", values)


@pytest.mark.parametrize("values", [[True], np.uint8([3]), np.float16([0.5]), 3, np.ones((1, 2))])
def test_real_takes_every_kind_of_real_number(values):
    np.testing.assert_array_equal(runtime.real("x", values), values)
