"""The networks of questions 3 and 4: shapes, receptive fields, learning."""

import keras
import numpy as np
import pytest

from hw4 import recurrent

pytestmark = pytest.mark.slow


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_the_given_network_has_the_given_shape():
    model = recurrent.stacked_lstm(6, 1)
    assert model.input_shape == (None, 6, 1)
    assert [layer.units for layer in model.layers] == [50, 50, 50, 1]
    # 4 (50 (1 + 50) + 50) + 2 x 4 (50 (50 + 50) + 50) + 51
    assert model.count_params() == 10_400 + 2 * 20_200 + 51


def test_unrolling_changes_no_number():
    keras.utils.set_random_seed(3)
    loop = recurrent.stacked_lstm(6, 1, units=(4, 3))
    written_out = recurrent.stacked_lstm(6, 1, units=(4, 3), unroll=True)
    written_out.set_weights(loop.get_weights())
    X = np.random.default_rng(0).normal(size=(5, 6, 1)).astype("float32")
    assert np.abs(numpy(loop(X)) - numpy(written_out(X))).max() < 1e-6


@pytest.mark.parametrize("kind", ["SimpleRNN", "GRU", "LSTM"])
def test_recurrent_network_takes_any_length(kind):
    model = recurrent.recurrent_network(kind, 4, features=2)
    assert type(model.layers[1]).__name__ == kind
    for steps in (1, 9):
        assert numpy(model(np.zeros((2, steps, 2), "float32"))).shape == (2, 1)


def test_memory_sets_what_a_cell_keeps_untrained():
    layer = recurrent.recurrent_network("LSTM", 3, features=2, memory=36).layers[1]
    bias = layer.get_weights()[2]
    assert bias[:3].tolist() == bias[6:].tolist()[:3] == [0, 0, 0]
    kept = 1 / (1 + np.exp(-bias[3:6]))
    assert kept == pytest.approx([36 / 37] * 3)
    for kind, memory in (("GRU", 9), ("LSTM", 0)):
        with pytest.raises(ValueError, match=rf"memory must be .* got {memory} for {kind}"):
            recurrent.recurrent_network(kind, 3, 2, memory=memory)


def test_conv_network_sees_exactly_its_field():
    keras.utils.set_random_seed(0)
    model = recurrent.conv_network(6, 3, (1, 2, 4), features=2)
    X = np.random.default_rng(0).normal(size=(1, 40, 2)).astype("float32")
    field = 1 + 2 * (1 + 2 + 4)
    before = numpy(model(X))
    for back in range(25):
        moved = X.copy()
        moved[0, -1 - back] += 50
        changed = bool((numpy(model(moved)) != before).any())
        assert changed == (back < field), back


def test_conv_network_reading_the_maximum_sees_every_place():
    keras.utils.set_random_seed(0)
    model = recurrent.conv_network(8, 3, (1,), features=1, read="max")
    X = np.zeros((1, 40, 1), "float32")
    outputs = []
    for place in (5, 20, 35):
        moved = X.copy()
        moved[0, place] = 3
        outputs.append(float(numpy(model(moved))[0, 0]))
    assert outputs == pytest.approx([outputs[0]] * 3, abs=1e-6)
    assert abs(outputs[0] - float(numpy(model(X))[0, 0])) > 1e-3


@pytest.mark.parametrize(
    "build",
    [
        lambda read: recurrent.recurrent_network("GRU", 4, 2, read),
        lambda read: recurrent.conv_network(4, 3, (1, 2), 2, read),
    ],
)
def test_readers_reduce_the_same_signal(build):
    X = np.random.default_rng(0).normal(size=(3, 9, 2)).astype("float32")
    every, last, largest = build("every"), build("last"), build("max")
    for model in (last, largest):
        model.set_weights(every.get_weights())
    signal = numpy(keras.Model(every.inputs[0], every.layers[-1].input)(X))
    kernel, bias = every.get_weights()[-2:]
    assert recurrent.predict(every, X) == pytest.approx((signal @ kernel + bias)[..., 0], abs=1e-5)
    assert recurrent.predict(last, X) == pytest.approx(recurrent.predict(every, X)[:, -1], abs=1e-5)
    expected = (signal.max(axis=1) @ kernel + bias)[:, 0]
    assert recurrent.predict(largest, X) == pytest.approx(expected, abs=1e-5)


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="kind must be one of SimpleRNN, GRU, LSTM; got 'lstm'"):
        recurrent.recurrent_network("lstm", 4, 1)
    with pytest.raises(ValueError, match="read must be one of last, max, every; got 'mean'"):
        recurrent.conv_network(4, 3, (1,), 1, read="mean")
    with pytest.raises(ValueError, match="read must be one of last, max, every; got 'mean'"):
        recurrent.recurrent_network("GRU", 4, 1, read="mean")


def small_task():
    X = np.random.default_rng(0).normal(size=(250, 4, 1)).astype("float32")
    return X, X[:, -1, 0] * 0.5


def test_a_trainer_learns():
    X, y = small_task()
    build = lambda: recurrent.stacked_lstm(4, 1, units=(6,))  # noqa: E731
    train = recurrent.Trainer(build, batch_size=np.int64(32), learning_rate=0.02)
    before = float(((recurrent.predict(build(), X) - y) ** 2).mean())
    after = float(((recurrent.predict(train(X, y, seed=0, epochs=6), X) - y) ** 2).mean())
    assert after < 0.2 * before


def test_a_trainer_gives_what_a_network_of_its_own_gives():
    X, y = small_task()
    schedule = keras.optimizers.schedules.CosineDecay(0.02, 30)
    builds = (
        (0.02, lambda: recurrent.stacked_lstm(4, 1, (5,))),
        (schedule, lambda: recurrent.conv_network(5, 2, (1,), 1)),
    )
    for rate, build in builds:
        train = recurrent.Trainer(build, learning_rate=rate)
        train(X[:100], y[:100], seed=8, epochs=2)  # must leave no trace
        ours = train(X, y, seed=3, epochs=3)
        train(X, y, seed=4, epochs=1)  # nor reach into what was handed out

        keras.utils.set_random_seed(3)
        own = build()
        own.compile(keras.optimizers.Adam(rate), "mse")
        rng = np.random.default_rng(3)
        for _ in range(3):
            order = rng.permutation(len(X))
            for start in range(0, len(X), 64):
                batch = order[start : start + 64]
                own.train_on_batch(X[batch], y[batch])
        assert recurrent.predict(ours, X) == pytest.approx(recurrent.predict(own, X), abs=1e-6)


@pytest.mark.parametrize("batch_size", [0, 2.5, True])
def test_a_senseless_batch_is_refused(batch_size):
    message = rf"batch_size must be an integer of at least 1; got {batch_size}\."
    with pytest.raises(ValueError, match=message):
        recurrent.Trainer(lambda: recurrent.stacked_lstm(4, 1, (5,)), batch_size=batch_size)
