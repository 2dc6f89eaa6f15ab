"""Pretrained weights by a ladder of places, and a plain answer where there are none.

`HW4_WEIGHTS_DIR` → Keras' cache → Keras' download → not available. The two ImageNet files are
those of `keras.applications`; an MD5 sum decides whether a file is one of them, never its name.
"""

import contextlib
import hashlib
import os
import sys
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from hw4 import runtime

_URL = "https://storage.googleapis.com/tensorflow/keras-applications"
_SUFFIX = "weights_tf_dim_ordering_tf_kernels_notop.h5"
IMAGENET = {
    "VGG16": (f"{_URL}/vgg16/vgg16_{_SUFFIX}", "6d6bbae143d832006294945121d1f1fc"),
    "ResNet50": (f"{_URL}/resnet/resnet50_{_SUFFIX}", "4d473c1dd8becc155b73f8504c6f6626"),
}
#: Seconds to wait for an answer before the network counts as absent.
PATIENCE = 5.0


class NotAvailable(FileNotFoundError):  # noqa: N818 - it is an answer, and reads like one
    """Pretrained weights that cannot be had here; the message says where they were sought."""


@dataclass(frozen=True)
class Weights:
    """What a backbone starts from: `name` is what tables print, `digest` keys the caches."""

    name: str
    digest: str
    path: Path | None = None
    seed: int | None = None


def find(
    backbone: str, weights: str | Path = "imagenet", *, seed: int = 7, download: bool = True
) -> Weights:
    """Return the weights meant by `imagenet`, `random` or the path of a file.

    Only a file whose MD5 sum is the published one is ever called `imagenet`; any other is called
    by its own name. `random` is seeded and needs no file.

    Args:
        backbone: `VGG16` or `ResNet50`.
        weights: `imagenet`, `random`, or a file that `load_weights` reads (`.h5`, `.keras`).
        seed: of the random weights.
        download: whether the last rung of the ladder may be tried.

    Returns:
        Weights.

    Raises:
        NotAvailable: no rung of the ladder holds the file.
        ValueError: unknown backbone, no such file, or a damaged file in `HW4_WEIGHTS_DIR`.

    >>> find("VGG16", "random", seed=3)
    Weights(name='random', digest='random-3', path=None, seed=3)
    """
    if backbone not in IMAGENET:
        raise ValueError(f"backbone must be one of {', '.join(IMAGENET)}; got {backbone!r}.")
    if weights == "random":
        return Weights("random", f"random-{seed}", seed=seed)
    if weights != "imagenet":
        path = Path(weights)
        if not path.is_file():
            raise ValueError(
                f"weights must be imagenet, random or an existing file; got {str(weights)!r}."
            )
        return _described(path, backbone)
    return _described(_climb(backbone, download), backbone)


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
    # Keras reads KERAS_HOME itself, but does not export the result.
    from keras.src.backend.config import keras_home

    return Path(keras_home()).expanduser() / "models"


def main() -> int:
    """`make weights`: have both files, verified, or say which one cannot be had; 1 if any."""
    failures = 0
    for backbone in IMAGENET:
        try:
            print(f"ok    {backbone}: {find(backbone).path}")
        except (NotAvailable, ValueError) as error:
            failures += 1
            print(f"FAIL  {backbone}: {error}")
    return 1 if failures else 0


def _climb(backbone: str, download: bool) -> Path:
    """Walk the ladder; return the verified file or say where it was sought."""
    url, md5 = IMAGENET[backbone]
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
    raise NotAvailable(f"ImageNet weights of {backbone} are not available: {'; '.join(sought)}")


def _opened(url: str, patience: float):
    answer: dict = {}

    def ask():
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


def _described(path: Path, backbone: str) -> Weights:
    digest = md5_of(path)
    name = "imagenet" if digest == IMAGENET[backbone][1] else path.name
    return Weights(name, digest, path)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
