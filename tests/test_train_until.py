"""The batch-by-batch training of question 6 on tiny data, against bookkeeping done by hand."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from hw4.training import batches, train_until


def test_batches_visit_every_image_once_a_pass_with_its_label_in_an_order_of_the_seed():
    numbers = np.arange(12)
    drawn = list(itertools.islice(batches(numbers, -numbers, 4, seed=3), 6))
    passes = [np.concatenate([x for x, _ in drawn[start : start + 3]]) for start in (0, 3)]
    assert all(sorted(one) == list(range(12)) for one in passes)
    assert list(passes[0]) != list(passes[1])
    assert all((labels == -images).all() for images, labels in drawn)
    again = next(batches(numbers, -numbers, 4, seed=3))[0]
    other = next(batches(numbers, -numbers, 4, seed=4))[0]
    assert list(again) == list(drawn[0][0]) != list(other)


def test_batches_are_full():
    sizes = {len(x) for x, _ in itertools.islice(batches(np.arange(7), np.arange(7), 3, 0), 9)}
    assert sizes == {3}


@pytest.mark.parametrize("size", [0, 8])
def test_batches_refuse_an_impossible_size_at_once(size):
    with pytest.raises(ValueError, match=rf"size must be from 1 to 7; got {size}\."):
        batches(np.arange(7), np.arange(7), size, 0)


class Counter:
    """Stands in for a model that has been trained: remembers what it is trained on."""

    compiled, optimizer = True, SimpleNamespace(built=True)

    def __init__(self):
        self.seen = []

    def train_on_batch(self, images, labels):
        self.seen.append((images, labels))


def test_training_stops_at_the_goal_and_measures_at_checkpoints_only():
    model, endless = Counter(), ((k, -k) for k in itertools.count())
    checkpoints = (1, 4, 6, 9)
    history = train_until(
        model, endless, lambda m: len(m.seen) / 10, checkpoints=checkpoints, goal=0.6
    )
    assert history == {1: 0.1, 4: 0.4, 6: 0.6}
    assert model.seen == [(k, -k) for k in range(6)]


def test_training_without_a_goal_ends_with_the_last_checkpoint():
    model, endless = Counter(), ((k, k) for k in itertools.count())
    history = train_until(model, endless, lambda m: 1e9, checkpoints={3, 5})
    assert (list(history), len(model.seen)) == ([3, 5], 5)
    assert next(endless) == (5, 5)  # none was taken and thrown away


@pytest.mark.parametrize("checkpoints", [(), (0, 5)])
def test_training_refuses_checkpoints_before_the_first_batch(checkpoints):
    with pytest.raises(ValueError, match="checkpoints must be from 1"):
        train_until(Counter(), [], len, checkpoints=checkpoints)
