"""Start-up, seeds, device report and every environment variable, in one place.

Environment variables read by hw4, all optional:

=================== ============================================================
HW4_PROFILE         `standard` (default) or `full`, the literal scale of the report
HW4_SEED            overrides the seed written in a notebook
HW4_THREADS         number of CPU threads of the backend and of OpenCV
HW4_WEIGHTS_DIR     folder with pretrained weight files (question 2)
HW4_GRAZPEDWRI      folder with the wrist radiographs (question 2)
HW4_GAS             file with the gas consumption table (question 3)
HW4_REPOSITORY      where the first cell clones from on Colab, instead of the published address
KERAS_BACKEND       `tensorflow` (default), `jax` or `torch`; read by Keras itself
=================== ============================================================
"""

import contextlib
import errno
import functools
import operator
import os
import platform
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

PROFILES = ("standard", "full")
LARGEST_SEED = 2**32 - 1  # what NumPy's legacy generator takes
ROOT = Path(__file__).resolve().parents[2]
DATA, BUILD, NOTEBOOKS = ROOT / "data", ROOT / "build", ROOT / "notebooks"
BACKEND_PACKAGES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}


def profile() -> str:
    """Return the profile named by `HW4_PROFILE`, `standard` when it is unset.

    Raises:
        ValueError: the variable holds something else.
    """
    name = os.environ.get("HW4_PROFILE") or "standard"
    if name not in PROFILES:
        raise ValueError(
            f"HW4_PROFILE must be one of {', '.join(PROFILES)}; got {name!r}. "
            "Unset it or choose one of these."
        )
    return name


def path_setting(variable: str) -> Path | None:
    """Return the existing path that `variable` names, or None when it is unset.

    A relative path starts at the project's folder.

    Raises:
        ValueError: the path does not exist or cannot be looked at.
    """
    value = os.environ.get(variable)
    if not value:
        return None
    # a notebook runs in its own folder, so that a relative path needs one fixed meaning
    try:
        path = ROOT / Path(value).expanduser()
        path.stat()
    except (OSError, RuntimeError, ValueError) as error:  # none there, no such user, a NUL inside
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{variable} must be an existing path; got {cut(repr(value), 80)} ({reason}). "
            "Correct it, or unset it to go on without."
        ) from error
    return path


def integer_setting(variable: str, low: int, high: int) -> int | None:
    """Return the integer that `variable` holds, or None when it is unset.

    Raises:
        ValueError: it is not an integer from `low` to `high`.
    """
    value = os.environ.get(variable)
    if not value:
        return None
    if not re.fullmatch(r"\s*[0-9]{1,10}\s*", value) or not low <= int(value) <= high:
        raise ValueError(
            f"{variable} must be an integer from {low} to {high}; got {value!r}. Correct it."
        )
    return int(value)


def integer(name: str, value, low: int, high: int | None = None, cure: str = "Correct it.") -> int:
    """Return `value` as Python's int if it is an integer from `low` to `high`, NumPy's included.

    Raises:
        ValueError: anything else: a bool, a float, text, or a number out of range.

    >>> integer("epochs", 3, 1)
    3
    >>> integer("epochs", True, 1)
    Traceback (most recent call last):
    ValueError: epochs must be an integer of at least 1; got True. Correct it.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < low or (high is not None and number > high):
        wanted = f"of at least {low}" if high is None else f"from {low} to {high}"
        huge = number is not None and abs(number) >= 10**80  # Python writes 4300 digits at most
        shown = f"a number of {number.bit_length()} bits" if huge else cut(repr(value), 80)
        raise ValueError(f"{name} must be an integer {wanted}; got {shown}. {cure}")
    return number


def real(name: str, values) -> "np.ndarray":  # noqa: F821 - imported when it is needed
    """Return `values` as an array of real numbers; what would be lost in it is refused.

    Raises:
        ValueError: a mask, complex numbers, objects or text, or rows of unequal length.

    >>> real("images", [1 + 2j])
    Traceback (most recent call last):
    ValueError: images must be a plain array of real numbers; got list of complex128. Convert it.
    """
    import numpy as np

    try:
        array = np.asarray(values)
    except ValueError:  # rows of unequal length
        array = np.empty(0, object)
    masked = isinstance(values, np.ma.MaskedArray)
    if masked or not (array.dtype.kind in "fiub" or array.dtype.name == "bfloat16"):
        raise ValueError(
            f"{name} must be a plain array of real numbers; got {type(values).__name__} of "
            f"{array.dtype}. {'Fill or drop what is masked' if masked else 'Convert it'}."
        )
    return array


def cut(text: str, most: int = 200) -> str:
    """Return a text for a message, without its end where it is longer than `most` signs.

    >>> cut("0123456789", most=6)
    '012...'
    """
    return text if len(text) <= most else f"{text[: most - 3]}..."


def expect_folder(name: str, path: Path) -> None:
    """Refuse what is there and no folder, such as a file or a link that leads nowhere.

    Raises:
        ValueError: `path` is such a thing; the message begins with `name`.
    """
    if os.path.lexists(path) and not path.is_dir():
        raise ValueError(f"{name} must be a folder; got {path}, which is none. Name another.")


def write_whole(path: str | Path, content: str | bytes, durable: bool = True) -> Path:
    """Write a file so that a kill at any moment leaves the old one or the new one, whole.

    Two processes may write the same path at once: each has its own partial file, and the last one
    to finish stands. A symbolic link is replaced, not followed.

    Args:
        path: the file; its folder is made.
        content: text (written as UTF-8 with plain line ends) or bytes.
        durable: wait until the disk has it, so that a power cut is survived, too; thousands of
            files that can be written again need not wait.

    Raises:
        OSError: the file cannot be written, a folder is there, or a pipe or device, which it would
            replace.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "A folder, where a file is to be", str(path))
    # /dev/stdout leads to a plain file where output is redirected to one
    place = Path(os.path.realpath(path.parent))
    device = place in (Path("/dev"), Path("/dev/fd")) or place.match("/proc/*/fd")
    if device or (path.exists() and not path.is_file()):
        raise FileExistsError(errno.EEXIST, "A pipe or device, which no file replaces", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        content = content.encode("utf-8")
    handle, partial = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name[:80]}.", suffix=".partial"
    )
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        # mkstemp makes a file for its owner alone
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(partial, 0o666 & ~umask)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise
    return path


def start(seed: int) -> int:
    """Load the Keras backend silently, pin what makes runs repeatable, and seed everything.

    Python, NumPy and the backend are seeded; TensorFlow also gets deterministic kernels and
    GPU memory growth. Data format, float type and epsilon are Keras' own defaults, whatever a
    personal `keras.json` says. Calling it again only seeds again.

    Args:
        seed: any integer from 0; `HW4_SEED` overrides it.

    Returns:
        The seed in force, for the generators that a notebook makes itself.

    Raises:
        ValueError: a seed out of range, or an environment variable with a senseless value.
        RuntimeError: TensorFlow has computed before, so that its devices cannot be set up.
    """
    override = integer_setting("HW4_SEED", 0, LARGEST_SEED)
    seed = seed if override is None else override
    seed = integer("seed", seed, 0, LARGEST_SEED, "Choose 7, say.")
    threads = integer_setting("HW4_THREADS", 1, 1024)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow leaves oneDNN off on processors without AVX-512, where it is faster, too
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # a personal keras.json must not decide what a notebook computes, or on what
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with _quiet_stderr():
        import keras

        keras.config.set_image_data_format("channels_last")
        keras.config.set_floatx("float32")
        keras.config.set_epsilon(1e-7)
        _configure(keras.backend.backend(), threads)
    keras.utils.set_random_seed(seed)
    return seed


def reseed(seed: int) -> None:
    """Seed what the layers of Keras draw from, as `keras.utils.set_random_seed` does, but quicker.

    With TensorFlow they draw from Python's `random` alone. To seed its own operations, too, empties
    its caches, so that the next call of each function traced before takes up to half a second
    longer, as long as the training of a small network.

    Args:
        seed: any integer from 0.

    Raises:
        ValueError: a seed out of range.
    """
    import keras

    seed = integer("seed", seed, 0, LARGEST_SEED, "Choose 7, say.")
    if keras.backend.backend() == "tensorflow":
        random.seed(seed)
    else:
        keras.utils.set_random_seed(seed)


def keras_home() -> Path:
    """Return the folder in which Keras keeps its settings and what it downloads."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()


def watched() -> bool:
    """Say whether a person watches: a terminal, or a live notebook in Jupyter or Colab.

    Jupyter's server sets `JPY_SESSION_NAME` for the kernels of people; batch runs do not.
    """
    live = "JPY_SESSION_NAME" in os.environ or "google.colab" in sys.modules
    return live or sys.stderr.isatty()


def environment(seed: int, data: str) -> dict:
    """Describe this run for the claims: backend, device, seed, profile, versions, data source."""
    import keras

    backend = keras.backend.backend()
    packages = ["keras", BACKEND_PACKAGES[backend], "numpy"]
    return {
        "backend": backend,
        "device": device(),
        "seed": seed,
        "profile": profile(),
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in packages},
        "data": data,
    }


def device() -> str:
    """Name the device that Keras computes on, for instance `CPU (2 cores)` or `GPU: H100`."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        names = [tf.config.experimental.get_device_details(g).get("device_name") for g in gpus]
    elif backend == "torch":
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        names = [torch.cuda.get_device_name(i) for i in range(count)]
    else:
        import jax

        names = [d.device_kind for d in jax.devices() if d.platform == "gpu"]
    if names:
        return "GPU: " + ", ".join(str(name) for name in names)
    return f"CPU ({cores_text()})"


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cores_text() -> str:
    """Say how many cores this process may use, for instance `1 core`."""
    return f"{cores()} core{'s' * (cores() > 1)}"


def batched(x, y, batch_size: int) -> dict:
    """Return the arguments with which a Keras model's `fit` and `evaluate` take arrays in order.

    On TensorFlow this is a dataset without autotuning: at the end of an epoch TensorFlow 2.21 may
    wait for the autotuning thread, which sleeps for 10, 20, 40, ... ms, so that about one epoch
    in five takes up to twice its time. Elsewhere it is the arrays themselves.

    Args:
        x: (n, ...) inputs.
        y: (n, ...) targets.
        batch_size: samples a step.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return {"x": x, "y": y, "batch_size": batch_size}
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size).prefetch(2)
    return {"x": data.with_options(options)}


def steps_together(most: int) -> int:
    """Return Keras' `steps_per_execution`: `most` on TensorFlow, 1 where it saves nothing.

    A step of a small network takes less time than Python takes to start it. Numbers do not change.
    The PyTorch backend refuses more than 1.
    """
    import keras

    return most if keras.backend.backend() == "tensorflow" else 1


@functools.cache
def _configure(backend: str, threads: int | None) -> None:
    """Settings of a process that the backend takes once, before it computes anything."""
    import cv2

    if threads:
        cv2.setNumThreads(threads)
    if backend == "tensorflow":
        import tensorflow as tf

        # its warnings about retracing would go into the notebooks of those who build many models
        tf.get_logger().setLevel("ERROR")
        tf.config.experimental.enable_op_determinism()
        try:
            for gpu in tf.config.list_physical_devices("GPU"):
                tf.config.experimental.set_memory_growth(gpu, True)
            if threads:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(threads)
        except RuntimeError as error:
            raise RuntimeError(
                "start() must come before TensorFlow computes anything; it has computed already. "
                "Restart the kernel and run the cells in order."
            ) from error
    elif backend == "torch" and threads:
        import torch

        torch.set_num_threads(threads)


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hold back what native code writes to file descriptor 2, and show it only after an error.

    TensorFlow 2.21 prints its banners there before any logging level is in force.
    """
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
