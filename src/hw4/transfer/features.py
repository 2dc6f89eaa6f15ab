"""Features of a frozen network: extracted once, kept on disk, resumed, and never trusted blindly.

The cache is a folder of parts, one a batch. Each part says what it was made from; a part that is
missing, damaged or made from something else is computed again, and only that one.
"""

import functools
import hashlib
import io
import json
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from tqdm.auto import tqdm

from hw4.runtime import BUILD, watched, write_whole
from hw4.transfer.backbones import known
from hw4.transfer.networks import build_classifier, folded
from hw4.transfer.preprocessing import PREPROCESSING
from hw4.transfer.weights import Weights, find

#: Images a forward pass. With 64, ResNet50 took 41 ms an image of 96 pixels on one core, with 16 it
#: took 24: smaller maps stay in the processor's cache.
AT_ONCE = 16
_VERSION = 3
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Features:
    """One vector an image: `values` (n, channels) float32, `labels` (n,), `positions` (n,).

    `positions` are those in the data set, without the files that cannot be read. `seconds` is
    what the forward passes took, then or now; `computed` counts the parts computed now.
    """

    values: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    seconds: float
    computed: int

    def take(self, index) -> tuple[np.ndarray, np.ndarray]:
        """Return values and labels of the images at these positions of the data set.

        >>> features = Features(np.array([[5.0], [6.0]]), np.array([0, 1]), np.array([0, 2]), 0, 0)
        >>> features.take([1, 2])
        (array([[6.]]), array([1]))
        """
        rows = self.rows(index)
        return self.values[rows], self.labels[rows]

    def rows(self, index) -> np.ndarray:
        """Return which rows belong to these positions, in the order of the data set."""
        return np.flatnonzero(np.isin(self.positions, index))


def extract_features(
    name: str,
    data,
    *,
    weights: str | Path | Weights = "imagenet",
    size: int = 224,
    preprocessing: str | None = None,
    on_purpose: bool = False,
    index=None,
    seed: int = 7,
    batch_size: int = 64,
    cache: str | Path | None = None,
) -> Features:
    """Run radiographs through a frozen backbone once, and keep the result on disk.

    Args:
        name: `VGG16` or `ResNet50`.
        data: Radiographs.
        weights: as in `build_classifier`.
        size: height and width the images are brought to.
        preprocessing: a key of PREPROCESSING; what the weights want by default.
        on_purpose: whether another preprocessing than the weights want is meant.
        index: positions of the images; all by default.
        seed: of random weights.
        batch_size: images a file of the cache.
        cache: folder of the cache; `build/features` by default.

    Returns:
        Features: (n, 512) or (n, 2048) float32, equal to the pooled maps of `build_classifier`.

    Raises:
        ValueError: an unknown name, preprocessing, size or file, or a preprocessing that these
            weights were not trained with.
        NotAvailable: official weights that are not here.
    """
    found = find(name, weights, seed=seed)
    preprocessing = preprocessing or found.preprocessing
    if preprocessing not in PREPROCESSING:
        raise ValueError(
            f"preprocessing must be one of {', '.join(PREPROCESSING)}; got {preprocessing!r}. "
            "Name one."
        )
    if preprocessing != found.preprocessing and not on_purpose:
        raise ValueError(
            f"preprocessing must be {found.preprocessing}, with which {found.name} of {name} was "
            f"trained; got {preprocessing}. Leave it out, or say on_purpose=True."
        )

    return extract(
        functools.partial(frozen, name, found, size),
        data,
        {"backbone": name, "weights": found.digest, "preprocessing": preprocessing},
        PREPROCESSING[preprocessing],
        channels=known(name).channels,
        size=size,
        index=index,
        batch_size=batch_size,
        cache=cache,
    )


@functools.lru_cache(maxsize=3)
def frozen(name: str, weights: Weights, size: int) -> keras.Model:
    """Build a backbone with pooling once for several preprocessings: frozen, it does not change."""
    whole = build_classifier(name, weights, size=size)
    return folded(keras.Model(whole.inputs, whole.get_layer("pool").output))


def extract(
    build: Callable,
    data,
    identity: dict,
    preprocess: Callable,
    *,
    channels: int,
    size: int,
    index=None,
    batch_size: int = 64,
    cache: str | Path | None = None,
) -> Features:
    """Run images of `data` through a network once, or read what that gave before.

    Args:
        build: called without arguments when anything must be computed; returns a Keras model
            from preprocessed images to (n, channels).
        data: Radiographs.
        identity: what the features depend on besides the data and the size: plain values, the
            digest of the weights and the name of the preprocessing among them.
        preprocess: from uint8 RGB images to what the network takes.
        channels: length of a vector.
        size: height and width the images are brought to.
        index: positions of the images; all by default.
        batch_size: images a part, which is one file.
        cache: folder; `build/features` by default.
    """
    wanted = np.arange(len(data)) if index is None else np.unique(np.asarray(index, int))
    key = json.dumps(
        identity | {"data": data.digest, "size": size, "version": _VERSION}, sort_keys=True
    )
    folder = Path(cache or BUILD / "features") / hashlib.sha256(key.encode()).hexdigest()[:16]
    model, parts, computed = None, [], 0
    starts = range(0, len(wanted), batch_size)
    for start in tqdm(starts, desc="features", unit="batch", leave=False, disable=not watched()):
        batch = wanted[start : start + batch_size]
        name = hashlib.sha256(batch.astype("<i8").tobytes()).hexdigest()[:16]
        path = folder / f"part-{batch[0]:07d}-{name}.npz"
        part = _read(path, key, batch, channels)
        if part is None:
            model = model or build()
            part = _compute(model, data, preprocess, batch, size, channels)
            computed += 1
            _write(path, part | {"key": np.array(key)})
        for position in np.setdiff1d(batch, part["positions"]):
            data.report("unreadable", str(data.stems[position]), "It has no features.")
        parts.append(part)
    return _joined(parts, data, channels, computed)


def _compute(model, data, preprocess, batch, size: int, channels: int) -> dict:
    start = time.perf_counter()
    values, positions = np.empty((0, channels)), ()
    # One batch at most, and none when not one of its files can be read.
    found = next(data.batches(size, len(batch), batch), None)
    if found is not None:
        images, _, positions = found
        values = model.predict(preprocess(images), batch_size=AT_ONCE, verbose=0)
    return {
        "values": np.asarray(values, np.float32),
        "positions": np.asarray(positions, np.int64),
        "seconds": np.array(time.perf_counter() - start),
    }


def _write(path: Path, part: dict) -> None:
    # Written whole or not at all, so that an interruption costs one batch.
    content = io.BytesIO()
    np.savez(content, **part)
    write_whole(path, content.getvalue())


def _read(path: Path, key: str, batch: np.ndarray, channels: int) -> dict | None:
    """Return a part whose checksums, origin, shape and values are all right, else None."""
    try:
        # from memory: NumPy leaves a damaged file open, and Windows would not let it be replaced
        content = io.BytesIO(path.read_bytes())
        with np.load(content, allow_pickle=False) as archive:
            part = dict(archive)
        values, positions = part["values"], part["positions"]
        right = (
            str(part["key"]) == key
            and values.shape == (len(positions), channels)
            and values.dtype == np.float32
            and np.isin(positions, batch).all()
            and np.isfinite(values).all()
            and float(part["seconds"]) >= 0
        )
    except _DAMAGE:
        return None
    return part if right else None


def _joined(parts: list[dict], data, channels: int, computed: int) -> Features:
    empty = np.empty((0, channels), np.float32), np.empty(0, np.int64)
    values = np.concatenate([empty[0], *(part["values"] for part in parts)])
    positions = np.concatenate([empty[1], *(part["positions"] for part in parts)])
    seconds = float(sum(part["seconds"] for part in parts))
    return Features(values, data.labels[positions], positions, seconds, computed)
