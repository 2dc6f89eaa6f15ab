"""Features of a frozen network: extracted once, kept on disk, resumed, and never trusted blindly.

The cache is a folder of parts, one a batch. Each part says what it was made from; a part that is
missing, damaged or made from something else is computed again, and only that one.
"""

import hashlib
import json
import os
import time
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from hw4.runtime import BUILD, watched
from hw4.transfer.preprocessing import PREPROCESSING

_VERSION = 1
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
        rows = np.flatnonzero(np.isin(self.positions, index))
        return self.values[rows], self.labels[rows]


def extract(
    build,
    data,
    identity: dict,
    *,
    channels: int,
    size: int,
    preprocessing: str = "caffe",
    batch_size: int = 64,
    cache: str | Path | None = None,
    shard: tuple[int, int] = (0, 1),
) -> Features:
    """Run every image of `data` through a network once, or read what that gave before.

    Args:
        build: called without arguments when anything must be computed; returns a Keras model
            from preprocessed images to (n, channels).
        data: Radiographs.
        identity: what the features depend on besides the data, the size and the preprocessing:
            plain values, the digest of the weights among them.
        channels: length of a vector.
        size: height and width the images are brought to.
        preprocessing: a key of PREPROCESSING.
        batch_size: images a forward pass, and a part.
        cache: folder; `build/features` by default.
        shard: (k, m) computes the parts k, k + m, k + 2m, ... only and returns those, so that m
            processes or machines with a common folder share the work.

    Raises:
        ValueError: unknown preprocessing, or a senseless shard.
    """
    if preprocessing not in PREPROCESSING:
        known = ", ".join(PREPROCESSING)
        raise ValueError(f"preprocessing must be one of {known}; got {preprocessing!r}. Name one.")
    first, step = shard
    if not 0 <= first < step:
        raise ValueError(f"shard must be (k, m) with 0 <= k < m; got {shard}. Try (0, 1).")
    if preprocessing == "1/255":
        warnings.warn(
            "preprocessing must be what the network was trained with; got 1/255. VGG16 and "
            "ResNet50 learnt from 0..255 less the mean colour, and see almost the same grey "
            "everywhere when images are divided by 255. Use caffe.",
            stacklevel=3,
        )
    whole = identity | {
        "data": data.digest,
        "size": size,
        "preprocessing": preprocessing,
        "batch": batch_size,
        "version": _VERSION,
    }
    key = json.dumps(whole, sort_keys=True)
    folder = Path(cache or BUILD / "features") / hashlib.sha256(key.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    worker = _Worker(build, data, key, channels, size, PREPROCESSING[preprocessing])
    starts = range(0, len(data), batch_size)[first::step]
    parts, computed = [], 0
    for start in tqdm(starts, desc="features", unit="batch", leave=False, disable=not watched()):
        path = folder / f"part-{start:07d}.npz"
        index = np.arange(start, min(start + batch_size, len(data)))
        part = worker.read(path, index)
        if part is None:
            part, computed = worker.compute(path, index), computed + 1
        for position in np.setdiff1d(index, part["positions"]):
            data.report("unreadable", str(data.stems[position]), "It has no features.")
        parts.append(part)
    return _joined(parts, data, channels, computed)


class _Worker:
    """Computes and reads parts; builds the network only when a part is missing."""

    def __init__(self, build, data, key, channels, size, preprocess):
        self.build, self.data, self.key = build, data, key
        self.channels, self.size, self.preprocess = channels, size, preprocess
        self.model = None

    def compute(self, path: Path, index: np.ndarray) -> dict:
        self.model = self.model or self.build()
        start = time.perf_counter()
        # One batch at most, and none when not one of its files can be read.
        batch = next(self.data.batches(self.size, len(index), index), None)
        values, positions = np.empty((0, self.channels)), ()
        if batch is not None:
            images, _, positions = batch
            inputs = self.preprocess(images)
            values = self.model.predict(inputs, batch_size=len(index), verbose=0)
        part = {
            "key": np.array(self.key),
            "start": np.array(index[0]),
            "values": np.asarray(values, np.float32),
            "positions": np.asarray(positions, np.int64),
            "seconds": np.array(time.perf_counter() - start),
        }
        # Written whole or not at all, so that an interruption costs one batch.
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as stream:
            np.savez(stream, **part)
        os.replace(partial, path)
        return part

    def read(self, path: Path, index: np.ndarray) -> dict | None:
        """Return a part whose checksums, origin, shape and values are all right, else None."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                part = dict(archive)
            values, positions = part["values"], part["positions"]
            right = (
                str(part["key"]) == self.key
                and int(part["start"]) == index[0]
                and values.shape == (len(positions), self.channels)
                and values.dtype == np.float32
                and np.isin(positions, index).all()
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
