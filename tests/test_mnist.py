"""MNIST: known facts of the data set, the split, and files that are not it."""

import numpy as np
import pytest

from hw4 import mnist
from hw4.runtime import DATA

# Class counts published with the data set (LeCun, Cortes and Burges).
TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.fixture(scope="module")
def everything():
    return mnist.load_all()


def test_shapes_counts_and_known_labels(everything):
    (x_train, y_train), (x_test, y_test) = everything
    assert (x_train.shape, x_test.shape) == ((60000, 28, 28), (10000, 28, 28))
    assert np.bincount(y_train).tolist() == TRAIN_COUNTS
    assert np.bincount(y_test).tolist() == TEST_COUNTS
    assert y_train[:5].tolist() == [5, 0, 4, 1, 9]
    # the mean and deviation that image pipelines quote for the training images
    assert round(float(x_train.mean() / 255), 4) == 0.1307
    assert round(float(x_train.std() / 255), 4) == 0.3081


def test_splits_are_disjoint_complete_and_stratified(everything):
    (x_train, y_train), _ = everything
    train, validation = mnist.load("train"), mnist.load("validation")
    assert (len(train[0]), len(validation[0])) == (55000, 5000)
    mask = mnist.validation_mask(y_train)
    assert np.array_equal(x_train[mask], validation[0])
    assert np.array_equal(x_train[~mask], train[0])
    exact = np.array(TRAIN_COUNTS) * 5000 / 60000
    assert np.abs(np.bincount(validation[1]) - exact).max() < 1


def test_split_is_the_same_at_every_call():
    first, second = mnist.load("validation"), mnist.load("validation")
    assert np.array_equal(first[0], second[0])


def test_test_set_only_by_name(everything):
    _, (x_test, y_test) = everything
    images, labels = mnist.load("test")
    assert np.array_equal(images, x_test)
    assert np.array_equal(labels, y_test)


@pytest.mark.parametrize("split", mnist.SPLITS)
def test_arrays_are_read_only(split):
    images, labels = mnist.load(split)
    with pytest.raises(ValueError, match="read-only"):
        images[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        labels[0] = 1


@pytest.mark.parametrize("size", [1, 7, 99])
def test_validation_mask_of_any_size(size):
    labels = np.random.default_rng(0).integers(0, 10, 100)
    assert mnist.validation_mask(labels, size).sum() == size
    assert (
        mnist.validation_mask(labels.tolist(), size) == mnist.validation_mask(labels, size)
    ).all()


@pytest.mark.parametrize("size", [0, 100, -1])
def test_validation_mask_refuses_impossible_sizes(size):
    with pytest.raises(ValueError, match=f"size must be from 1 to 99; got {size}"):
        mnist.validation_mask(np.zeros(100, int), size)


def test_as_input():
    scaled = mnist.as_input(np.array([[[0, 51], [102, 255]]], np.uint8))
    assert scaled.shape == (1, 2, 2, 1)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.ravel(), [0, 0.2, 0.4, 1], rtol=1e-6)


def test_as_input_refuses_to_scale_twice():
    scaled = mnist.as_input(np.zeros((2, 28, 28), np.uint8))
    with pytest.raises(ValueError, match=r"uint8 .* got float32 of shape \(2, 28, 28, 1\). Scale"):
        mnist.as_input(scaled)


def test_unknown_split():
    with pytest.raises(ValueError, match="split must be one of train, .*, test; got 'Test'"):
        mnist.load("Test")


def _damaged(path):
    content = bytearray((DATA / "mnist.npz").read_bytes())
    content[5_000_000] ^= 1
    path.write_bytes(content)


def _truncated(path):
    path.write_bytes((DATA / "mnist.npz").read_bytes()[:1000])


def _foreign(path):
    np.savez(path.open("wb"), x_train=np.zeros(3))


def _empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [_damaged, _truncated, _foreign, _empty])
def test_another_file_is_refused(tmp_path, spoil):
    path = tmp_path / "mnist.npz"
    spoil(path)
    message = f"sha256 {mnist.SHA256}; got .*mnist.npz with sha256 .*`git checkout"
    with pytest.raises(ValueError, match=message):
        mnist.load("train", path)


def test_missing_file(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="got .*nothing.npz, where there is no file. Restore"
    ):
        mnist.load("train", tmp_path / "nothing.npz")
