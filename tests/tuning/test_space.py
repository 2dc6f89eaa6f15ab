"""The search space of question 1 and the reported one: what is offered, built, and refused."""

import functools
import itertools

import keras
import keras_tuner
import numpy as np
import pytest

from hw4 import conv_shapes as cs
from hw4 import tuning
from hw4.tuning import reported, space
from hw4.tuning.ask_tell import Plan, Search

pytestmark = pytest.mark.slow

SPACE = space.declare(keras_tuner.HyperParameters())
LARGEST = {"conv_layers": 5, "dense_layers": 5}
LARGEST |= {f"filters_{i}": 256 for i in range(1, 6)} | {f"neurons_{i}": 256 for i in range(1, 6)}
LARGEST |= {"dropout_conv": 0.5, "dropout_dense": 0.5, "optimizer": "adam", "learning_rate": 1e-3}


@functools.cache
def points(count, *budgets, seed=0):
    """Return so many affordable proposals of one search; nobody changes them."""

    def affordable(values):
        return space.shrink(values, *budgets)

    search = Search(Plan(SPACE, trials=count, seed=seed, affordable=affordable))
    return [search.ask()["values"] for _ in range(count)]


def test_the_limits_of_the_task_and_the_forgotten_optimizer():
    declared = {hp.name: hp for hp in SPACE.space}
    for name, most in (("conv_layers", 5), ("dense_layers", 5), ("learning_rate", 1e-3)):
        assert declared[name].max_value == most
    for kind in ("filters", "neurons"):
        assert [declared[f"{kind}_{i}"].max_value for i in range(1, 6)] == [256] * 5
    assert set(declared["optimizer"].values) == {"adam", "rmsprop", "sgd"}
    drawn = points(500)
    for name in ("conv_layers", "dense_layers"):
        assert {values[name] for values in drawn} == {1, 2, 3, 4, 5}
    assert all(5e-4 <= values["learning_rate"] <= 1e-3 for values in drawn)
    assert all(isinstance(values["filters_1"], int) for values in drawn)


@pytest.mark.parametrize("budgets", [(), (30_000_000, 220_000)])
def test_whatever_is_affordable_is_proposed_and_nothing_else(budgets):
    drawn = points(500, *budgets)
    for i in range(1, 6):
        proposed = {values[f"filters_{i}"] for values in drawn if values["conv_layers"] >= i}
        most = space.most_filters(i, *budgets)
        assert proposed == {n for n in (32, 64, 128, 256) if n <= most}
    for hp in SPACE.space:
        if hasattr(hp, "ordered"):
            assert {values[hp.name] for values in drawn} == set(hp.values)


def test_most_filters_by_hand():
    # 64 first filters write 28 x 28 x 64 = 50,176 numbers; 128 second ones need 7.2 million MACs.
    assert [space.most_filters(i) for i in range(1, 6)] == [32, 64, 256, 256, 256]
    assert [space.most_filters(i, 30_000_000, 220_000) for i in range(1, 6)] == [256] * 5


def test_budgets_that_exclude_a_depth_are_refused_before_the_search():
    least = 2_988_032
    space.check_budgets(least, 45_000)
    with pytest.raises(ValueError, match=rf"got {least - 1:,} and 45,000, and .* {least:,} and"):
        tuning.search(mac_budget=least - 1)
    with pytest.raises(ValueError, match="got 6,000,000 and 25,000, and 1 convolutional"):
        tuning.search(output_budget=25_000)


def test_filters_exist_only_in_networks_that_have_the_layer():
    for values in points(50):
        names = {name for name in values if name.startswith("filters_")}
        assert names == {f"filters_{i}" for i in range(1, values["conv_layers"] + 1)}


def test_keras_builds_what_conv_shapes_describes():
    for values in points(12):
        model = tuning.build_model(values)
        rows = cs.trace(space.network(values), space.INPUT_SHAPE)
        assert model.count_params() == sum(row.parameters for row in rows)
        assert model.output_shape == (None, 10)
        extra = keras.layers.Dropout | keras.layers.ReLU
        built = [layer for layer in model.layers if not isinstance(layer, extra)]
        assert [tuple(layer.output.shape[1:]) for layer in built] == [r.output_shape for r in rows]
        rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        assert rate == pytest.approx(values["learning_rate"], rel=1e-6)
        assert type(model.optimizer).__name__.lower() == values["optimizer"]


@pytest.mark.parametrize("depth", range(1, 6))
def test_every_depth_keeps_a_map_of_three(depth):
    rows = cs.trace(space.network(LARGEST | {"conv_layers": depth}), (28, 28, 1))
    flat = next(i for i, row in enumerate(rows) if isinstance(row.layer, cs.Flatten))
    assert rows[flat - 1].output_shape[0] == {1: 14, 2: 7}.get(depth, 3)


def test_dropout_sits_behind_blocks_and_dense_layers():
    values = LARGEST | {"conv_layers": 2, "dense_layers": 1, "dropout_conv": 0.2}
    kinds = [type(layer).__name__ for layer in tuning.build_model(values).layers]
    block = ["Conv2D", "MaxPooling2D", "BatchNormalization", "ReLU", "Dropout"]
    assert kinds == [*block, *block, "Flatten", "Dense", "Dropout", "Dense"]
    without = tuning.build_model(values | {"dropout_conv": 0.0, "dropout_dense": 0.0})
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in without.layers)


def test_macs_by_hand():
    values = LARGEST | {"conv_layers": 1, "dense_layers": 1, "filters_1": 16, "neurons_1": 32}
    # convolution 28 x 28 x 9 x 16, dense 14 x 14 x 16 x 32, output 32 x 10
    assert space.macs(values) == 112_896 + 100_352 + 320


def test_shrinking_keeps_the_budget_and_touches_nothing_but_filters():
    shrunk = space.shrink(LARGEST, 8_000_000)
    assert space.macs(LARGEST) > 8_000_000 >= space.macs(shrunk)
    assert {k: v for k, v in shrunk.items() if "filters" not in k} == {
        k: v for k, v in LARGEST.items() if "filters" not in k
    }
    assert all(32 <= shrunk[f"filters_{i}"] <= 256 for i in range(1, 6))
    assert space.shrink(shrunk, 8_000_000) == shrunk
    assert space.outputs(shrunk) <= 45_000 < space.outputs(LARGEST)
    # One halving less would break a budget: the last one was needed.
    undone = [shrunk | {f"filters_{i}": 2 * shrunk[f"filters_{i}"]} for i in range(1, 6)]
    costs = [(space.macs(values), space.outputs(values)) for values in undone]
    assert any(macs > 8_000_000 or outputs > 45_000 for macs, outputs in costs)
    wide = LARGEST | {"conv_layers": 1, "dense_layers": 1, "neurons_1": 32}
    # 28 x 28 x 256 outputs are too many, although 2.6 million MACs are not.
    assert space.macs(wide) < 8_000_000
    assert space.outputs(wide) == 200_704
    assert space.shrink(wide)["filters_1"] == 32
    narrow = {name: 32 for name in LARGEST if name.startswith("filters")}
    least = space.macs(LARGEST | narrow)
    assert space.shrink(LARGEST, least) == LARGEST | narrow
    with pytest.raises(ValueError, match=f"got {least - 1:,} and 45,000.*5 .* {least:,} and"):
        space.shrink(LARGEST, least - 1)


def test_the_halving_that_saves_most_goes_first():
    values = LARGEST | {"conv_layers": 3} | {"filters_1": 32, "filters_2": 64}
    shrunk = space.shrink(values, space.macs(values) - 1)
    single = [values | {f"filters_{i}": values[f"filters_{i}"] // 2} for i in (1, 2, 3)]
    assert shrunk == min(single, key=space.macs)


def test_all_proposals_of_50_seeds_are_affordable():
    budget = 6_000_000
    for seed in range(50):
        for values in points(6, budget, seed=seed):
            assert space.macs(values) <= budget
            assert space.outputs(values) <= space.OUTPUT_BUDGET


def test_declaring_twice_changes_nothing():
    hp = keras_tuner.HyperParameters()
    space.declare(hp)
    before = hp.get_config()
    space.declare(hp)
    assert hp.get_config() == before
    model = tuning.build_model(keras_tuner.HyperParameters())
    assert model.output_shape == (None, 10)


def test_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match=r"adam, rmsprop, sgd; got 'lion'"):
        tuning.build_model(LARGEST | {"conv_layers": 1, "filters_1": 16, "optimizer": "lion"})


@functools.cache
def keras_layer(kind, *arguments):
    return getattr(keras.layers, kind)(*arguments)


def keras_shape(values):
    """Return the output shape of a reported choice by the rules of Keras' layers, or raise."""
    shape = (None, *space.INPUT_SHAPE)
    for i in reported.each(values["conv_layers"]):
        shape = keras_layer("Conv2D", values[f"filters_{i}"], 3).compute_output_shape(shape)
        shape = keras_layer("MaxPooling2D", 2).compute_output_shape(shape)
    shape = keras_layer("Flatten").compute_output_shape(shape)
    for i in reported.each(values["dense_layers"]):
        shape = keras_layer("Dense", values[f"neurons_{i}"]).compute_output_shape(shape)
    return shape


def succeeds(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except ValueError:
        return False
    return True


def test_500_reported_points_by_keras_own_shapes_and_one_of_each_depth_by_building_it():
    rng = np.random.default_rng(1)
    verdicts, built = [], {}
    for _ in range(500):
        values = reported.sample(rng)
        fits = reported.obstacle(values) is None
        assert succeeds(keras_shape, values) == fits, values
        depth = values["conv_layers"], values["dense_layers"]
        if depth not in built:
            built[depth] = succeeds(reported.build, values, initializer="zeros")
        assert built[depth] == fits, values
        verdicts.append(fits)
    assert len(built) == 25
    assert 0.5 < np.mean(verdicts) < 0.7


def test_the_reported_network_counts_as_keras_counts():
    values = reported.sample(np.random.default_rng(3)) | {"conv_layers": 2}
    values |= {f"filters_{i}": 64 for i in (1, 2)} | {"dropout_conv_1": 0.1, "dropout_conv_2": 0}
    rows = cs.trace(reported.network(values), (28, 28, 1))
    built = reported.build(values, initializer="zeros")
    assert built.count_params() == sum(row.parameters for row in rows)


def test_sampled_points_are_points_of_the_declared_space():
    for seed in range(20):
        values = reported.sample(np.random.default_rng(seed))
        hp = keras_tuner.HyperParameters()
        hp.values = dict(values)
        reported.declare(hp)
        assert hp.values == values
        for declared in hp.space:
            if declared.name != "learning_rate":
                options = list(declared.values)
                assert any(value == pytest.approx(values[declared.name]) for value in options)


@pytest.mark.parametrize(("p", "trials"), [(0.4, 5), (0.4, 8), (0.25, 6), (0.0, 5), (1.0, 3)])
def test_abort_probability_against_all_sequences(p, trials):
    expected = sum(
        p ** sum(failed) * (1 - p) ** (trials - sum(failed))
        for failed in itertools.product((0, 1), repeat=trials)
        if "111" in "".join(map(str, failed))
    )
    assert reported.abort_probability(p, trials) == pytest.approx(expected)


def test_abort_probability_refuses_what_is_no_probability():
    with pytest.raises(ValueError, match=r"from 0 to 1; got 1\.5"):
        reported.abort_probability(1.5, 5)


def test_stock_searches_abort_about_as_often_as_computed():
    aborted = np.mean([reported.stock_search_aborts(seed, 5) for seed in range(1, 41)])
    expected = reported.abort_probability(0.4, 5)
    assert abs(aborted - expected) < 4 * np.sqrt(expected * (1 - expected) / 40)
    assert aborted > 0
