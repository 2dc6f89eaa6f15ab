"""The weights a backbone starts from: embedded by default, official or one's own where named.

`imagenet` is the file in `data/`, 8 bits a weight, verified by its SHA-256: it needs no network
and nothing waits for one. `official` is the float32 file of `keras.applications`, sought in
`HW4_WEIGHTS_DIR` and in Keras' cache, where `make weights` puts it. A checksum decides whether a
file is one of these, never its name.
"""

import contextlib
import functools
import hashlib
import io
import os
import sys
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from hw4 import runtime
from hw4.transfer.backbones import BACKBONES, Source, known
from hw4.transfer.preprocessing import PREPROCESSING

#: Seconds to wait for an answer before the network counts as absent.
PATIENCE = 5.0
_BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


class NotAvailable(FileNotFoundError):  # noqa: N818 - it is an answer, and reads like one
    """Pretrained weights that cannot be had here; the message says where they were sought."""


@dataclass(frozen=True)
class Weights:
    """What a backbone starts from.

    `name` is what tables print, `digest` keys the caches, `preprocessing` is what the images must
    go through before these weights; `path` is the file, None for random weights drawn by `seed`.
    """

    name: str
    digest: str
    preprocessing: str = "caffe"
    path: Path | None = None
    seed: int | None = None

    def preprocess(self, images: np.ndarray) -> np.ndarray:
        """Bring uint8 RGB images to what these weights were trained on, as a new array."""
        return PREPROCESSING[self.preprocessing](images)


def find(backbone: str, weights: str | Path | Weights = "imagenet", *, seed: int = 7) -> Weights:
    """Return the weights meant by `imagenet`, `official`, `random` or the path of a file.

    Args:
        backbone: `VGG16` or `ResNet50`.
        weights: a word, a file that Keras' `load_weights` reads (`.h5`, `.keras`), or what this
            function returned. A file of one's own is taken to want `caffe`, as Keras' own do;
            `dataclasses.replace(found, preprocessing="torch")` says otherwise.
        seed: of the random weights.

    Raises:
        NotAvailable: `official`, and the file is neither in the named folder nor in the cache.
        ValueError: unknown backbone, no such file, or a damaged file in `HW4_WEIGHTS_DIR`.

    >>> find("VGG16", "random", seed=3)
    Weights(name='random', digest='random-3', preprocessing='caffe', path=None, seed=3)
    >>> [find(name).preprocessing for name in ("VGG16", "ResNet50")]
    ['torch', 'caffe']
    """
    record = known(backbone)
    if isinstance(weights, Weights):
        return weights
    if weights == "random":
        return Weights("random", f"random-{seed}", seed=seed)
    if weights == "imagenet":
        return _named(record.embedded, runtime.DATA / record.embedded.place)
    if weights == "official":
        return _named(record.official, _sought(backbone))
    path = Path(weights)
    if not path.is_file():
        raise ValueError(
            "weights must be imagenet, official, random or an existing file; got "
            f"{str(weights)!r}. Correct it."
        )
    digest = md5_of(path)
    if digest == record.official.checksum:
        return _named(record.official, path)
    return Weights(path.name, digest, path=path)


def load(model, weights: Weights) -> None:
    """Put weights into a backbone without its top.

    Raises:
        ValueError: a file that is damaged, foreign or of another network, with its name.
    """
    if weights.path is None:
        _randomise(model, weights.seed)
    elif weights.path.suffix == ".npz":
        _fill(model, read_embedded(weights.path, weights.digest), weights.path)
    else:
        try:
            model.load_weights(str(weights.path))
        except Exception as error:  # h5py, zipfile and Keras raise each their own
            raise ValueError(
                f"weights must be a file that Keras can load into {model.name}; got "
                f"{weights.path} ({type(error).__name__}). Copy the file again, or name another."
            ) from error


def read_embedded(path: Path, checksum: str) -> dict[str, np.ndarray]:
    """Read the arrays of an embedded file, whose SHA-256 must be `checksum`.

    Raises:
        ValueError: no file, a damaged one, or another one, and how to restore it.
    """
    content = path.read_bytes() if path.is_file() else b""
    found = hashlib.sha256(content).hexdigest()
    if found != checksum:
        got = f"sha256 {found} ({len(content):,} bytes)" if path.is_file() else "no file"
        raise ValueError(
            f"weights must be {path} with sha256 {checksum}; got {got}. Restore it with "
            f"`git checkout -- data/{path.name}`, or clone the repository again."
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return dict(archive)


def largest_difference(backbone: str) -> float:
    """Return the largest |embedded - official| weight, over the largest weight of its channel.

    Rounding to 8 bits moves no weight by more than 1/254 = 0.0039; the embedded VGG16 is another
    training than the official one, so that only ResNet50 can come near it.

    Raises:
        NotAvailable: the official file is not here.
    """
    found = [find(backbone, weights) for weights in ("imagenet", "official")]
    model, kernels = known(backbone).build(include_top=False, weights=None), []
    for weights in found:
        load(model, weights)
        kernels.append([layer.get_weights()[0].copy() for layer in _convolutions(model)])
    differences = []
    for a, b in zip(*kernels, strict=True):
        scale = np.maximum(np.abs(b).max((0, 1, 2)), np.finfo(np.float32).tiny)
        differences.append(float((np.abs(a - b).max((0, 1, 2)) / scale).max()))
    return max(differences)


def fetch(url: str, target: Path, md5: str, patience: float = PATIENCE) -> Path:
    """Download `url` to `target`, in one step and only if its MD5 sum is right.

    A network that does not answer within `patience` seconds counts as absent: name resolution,
    which has no time-out of its own, is waited for in a thread.

    Raises:
        NotAvailable: no answer, a broken transfer, or another file than expected.
    """
    response = _opened(url, patience)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with response, partial.open("wb") as stream:
            while block := response.read(1 << 20):
                stream.write(block)
        found = md5_of(partial)
        if found != md5:
            raise NotAvailable(
                f"{url} must have MD5 {md5}; got {found}. The transfer was damaged: try again."
            )
        os.replace(partial, target)
    except OSError as error:
        if isinstance(error, NotAvailable):
            raise
        raise NotAvailable(f"{url} could not be read to its end ({error}). Try again.") from error
    finally:
        partial.unlink(missing_ok=True)
    return target


def md5_of(path: Path) -> str:
    """Return the MD5 sum of a file, which identifies it and protects nothing."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def cache_folder() -> Path:
    """Return the folder in which Keras keeps downloaded weights."""
    return runtime.keras_home() / "models"


def main() -> int:
    """`make weights`: have both official files, verified, or say which cannot be had; 1 if any."""
    failures = 0
    for backbone, record in BACKBONES.items():
        try:
            path = _sought(backbone, download=True)
            print(f"ok    {backbone}, {record.official.name}: {path}")
        except (NotAvailable, ValueError) as error:
            failures += 1
            print(f"FAIL  {backbone}, {record.official.name}: {error}")
    return 1 if failures else 0


def _named(source: Source, path: Path) -> Weights:
    return Weights(source.name, source.checksum, source.preprocessing, path)


def _sought(backbone: str, download: bool = False) -> Path:
    """Return the verified official file, or say where it was sought."""
    url, md5 = known(backbone).official.place, known(backbone).official.checksum
    name, sought = url.rsplit("/", 1)[1], []
    named = runtime.path_setting("HW4_WEIGHTS_DIR")
    if named is None:
        sought.append("HW4_WEIGHTS_DIR is not set")
    elif (path := named / name).is_file():
        # Whoever names a folder means its file: going on quietly would hide the damage.
        if (found := md5_of(path)) != md5:
            raise ValueError(f"{path} must have MD5 {md5}; got {found}. Copy the file again.")
        return path
    else:
        sought.append(f"HW4_WEIGHTS_DIR lacks {name}")
    path = cache_folder() / name
    if path.is_file() and md5_of(path) == md5:
        return path
    sought.append("Keras' cache " + ("holds a damaged file" if path.is_file() else "lacks it"))
    if download:
        try:
            return fetch(url, path, md5)
        except NotAvailable as error:
            sought.append(str(error))
    raise NotAvailable(
        f"official weights of {backbone} are not available: {'; '.join(sought)}. Run "
        "`make weights`, or take the embedded ones: weights='imagenet'."
    )


def _opened(url: str, patience: float) -> io.BufferedIOBase:
    answer: dict = {}

    def ask() -> None:
        try:
            answer["response"] = urllib.request.urlopen(url, timeout=patience)
        except (OSError, ValueError) as error:
            answer["error"] = error

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(patience)
    if "response" in answer:
        return answer["response"]
    raise NotAvailable("no answer from the download server. Copy the file by hand, see README.")


def _convolutions(model) -> list:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


def _fill(model, arrays: dict[str, np.ndarray], path: Path) -> None:
    """Put the arrays of an embedded file into the layers of the same names."""
    for layer in model.layers:
        if not layer.weights:
            continue
        read = functools.partial(_array, arrays, layer.name, path)
        if isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([read("kernel") * read("scale"), read("bias")])
        else:
            layer.set_weights([read(name) for name in _BATCH_NORM])


def _array(arrays: dict, layer: str, path: Path, name: str) -> np.ndarray:
    key = f"{layer}/{name}"
    if key not in arrays:
        raise ValueError(
            f"weights must hold {key}; got {path}, which does not: it belongs to another network. "
            "Name the network's own file."
        )
    return arrays[key]


def _randomise(model, seed: int) -> None:
    """Draw every kernel as Glorot and Bengio (2010) do, the same on every backend."""
    rng = np.random.default_rng(seed)
    for layer in _convolutions(model):
        height, width, inputs, outputs = layer.kernel.shape
        limit = np.sqrt(6 / (height * width * (inputs + outputs)))
        kernel = rng.uniform(-limit, limit, layer.kernel.shape).astype(np.float32)
        layer.kernel.assign(kernel)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
