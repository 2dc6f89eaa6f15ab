"""MNIST, embedded, verified at every load, with the test set returned only by name.

LeCun, Cortes and Burges: 60,000 training and 10,000 test images of handwritten digits, 28x28,
grey, ten classes. `data/README.md` gives source, licence and checksums.
"""

import hashlib
import io
from pathlib import Path

import numpy as np

from hw4.runtime import DATA

SHA256 = "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"
SPLITS = ("train", "validation", "test")
VALIDATION_SIZE = 5_000
# The split belongs to the data, not to an experiment: its seed is fixed and not an argument.
_SPLIT_SEED = 20_060_101


def load(split: str = "train", path: str | Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of one split.

    `train` (55,000) and `validation` (5,000, stratified) share the 60,000 training images;
    `test` is the 10,000 test images and comes only when it is asked for.

    Args:
        split: `train`, `validation` or `test`.
        path: the file to read; the project's own by default.

    Returns:
        Read-only uint8 arrays: images (n, 28, 28) in 0..255, labels (n,) in 0..9.

    Raises:
        ValueError: unknown split, or a file that is not the expected one.
        FileNotFoundError: no file.

    >>> images, labels = load("validation")
    >>> images.shape, images.dtype.name, labels.shape
    ((5000, 28, 28), 'uint8', (5000,))
    """
    if split not in SPLITS:
        raise ValueError(
            f"split must be one of {', '.join(SPLITS)}; got {split!r}. Name one of these."
        )
    arrays = _read_verified(path)
    if split == "test":
        return _frozen(arrays["x_test"], arrays["y_test"])
    images, labels = arrays["x_train"], arrays["y_train"]
    keep = validation_mask(labels)
    if split == "train":
        keep = ~keep
    return _frozen(images[keep], labels[keep])


def load_all(
    path: str | Path | None = None,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return `(x_train, y_train), (x_test, y_test)` as Keras does: all 60,000, and the test set.

    Use it to show the data; to train and choose, use `load`, which keeps the test set away.

    >>> (x_train, y_train), (x_test, y_test) = load_all()
    >>> x_train.shape, x_test.shape
    ((60000, 28, 28), (10000, 28, 28))
    """
    arrays = _read_verified(path)
    train = _frozen(arrays["x_train"], arrays["y_train"])
    return train, _frozen(arrays["x_test"], arrays["y_test"])


def validation_mask(labels: np.ndarray, size: int = VALIDATION_SIZE) -> np.ndarray:
    """Mark a stratified validation part: every class keeps its share to within one image.

    Quotas follow the largest-remainder method, so they add up to `size` exactly.

    Args:
        labels: (n,) class indices.
        size: number of images to mark, below n.

    Returns:
        A boolean mask (n,) with `size` true entries, the same at every call.

    Raises:
        ValueError: `size` is not between 1 and n - 1.
    """
    labels = np.asarray(labels)
    if not 1 <= size < len(labels):
        raise ValueError(
            f"size must be from 1 to {len(labels) - 1}; got {size}. Take a part of the labels."
        )
    counts = np.bincount(labels)
    exact = counts * size / len(labels)
    quota = np.floor(exact).astype(int)
    largest = np.argsort(quota - exact, kind="stable")[: size - quota.sum()]
    quota[largest] += 1
    rng = np.random.default_rng(_SPLIT_SEED)
    mask = np.zeros(len(labels), dtype=bool)
    for label, n in enumerate(quota):
        mask[rng.permutation(np.flatnonzero(labels == label))[:n]] = True
    return mask


def as_input(images: np.ndarray) -> np.ndarray:
    """Scale uint8 images (n, 28, 28) to float32 in [0, 1] with a channel axis: (n, 28, 28, 1).

    Raises:
        ValueError: images of another dtype or rank, for instance those that are scaled already.

    >>> as_input(np.full((1, 28, 28), 255, np.uint8)).max()
    np.float32(1.0)
    """
    if images.dtype != np.uint8 or images.ndim != 3:
        raise ValueError(
            f"images must be uint8 of shape (n, h, w); got {images.dtype} of shape {images.shape}. "
            "Scale the images as they were loaded, once."
        )
    return images[..., None].astype(np.float32) / np.float32(255)


def _read_verified(path: str | Path | None) -> dict[str, np.ndarray]:
    path = Path(path) if path is not None else DATA / "mnist.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"path must be the MNIST file; got {path}, where there is no file. {_CURE}"
        )
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise ValueError(
            f"path must be the MNIST file with sha256 {SHA256}; got {path} with sha256 {digest} "
            f"({len(content):,} bytes), so it is damaged or another file. {_CURE}"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return dict(archive)


_CURE = "Restore it with `git checkout -- data/mnist.npz`, or clone the repository again."


def _frozen(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    for array in arrays:
        array.setflags(write=False)
    return arrays
