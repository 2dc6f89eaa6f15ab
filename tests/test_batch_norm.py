"""Batch normalisation against slow loops, Keras, PyTorch, centred differences and invariants."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from hw4.batch_norm import (
    KERAS,
    PYTORCH,
    Convention,
    batchnorm_backward,
    batchnorm_forward,
    forward_batchnorm,
)

FROZEN = json.loads((Path(__file__).parent / "data" / "pytorch_batch_norm.json").read_text())
FRESH = {"running_mean": 0.0, "running_var": 1.0}


def rng(seed=0):
    return np.random.default_rng(seed)


def train(x, gamma=1.0, beta=0.0, **options):
    return batchnorm_forward(x, gamma, beta, **(FRESH | {"training": True} | options))


def relative(got, want):
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    return np.abs(got - want).max() / (np.abs(want).max() or 1.0)


# --- an independent truth: one number at a time, exactly rounded sums ---------------------------


def slow_moments(column):
    """Mean and biased variance of a list of floats; math.fsum rounds only once."""
    mean = math.fsum(column) / len(column)
    return mean, math.fsum((value - mean) ** 2 for value in column) / len(column)


def slow_normalise(x, gamma, beta, eps, mean=None, var=None):
    """Loop over features and rows of (n, d); batch statistics unless others are given."""
    rows = np.asarray(x, np.float64).tolist()
    moments = [slow_moments(column) for column in zip(*rows, strict=True)]
    mean = [m for m, _ in moments] if mean is None else mean
    var = [v for _, v in moments] if var is None else var
    out = [
        [
            gamma[j] * (value - mean[j]) / math.sqrt(var[j] + eps) + beta[j]
            for j, value in enumerate(row)
        ]
        for row in rows
    ]
    return np.array(out), np.array(mean), np.array(var)


# --- the homework's function, and the bugs that are known to pass weak checks --------------------


def homework(Z, gamma, beta, eps, cache_dict, beta_avg, mode, bug=None):
    """The task's few lines, with a choice of mistakes."""
    if bug == "transposes Z":
        Z = Z.T
    axis = 1 if bug == "statistics over the features" else 0
    keep = axis == 1
    mu = Z.mean(axis=axis, keepdims=keep)
    var = Z.var(axis=axis, keepdims=keep, ddof=1 if bug == "normalises by unbiased variance" else 0)
    if mode == "train" or bug == "updates the cache in test mode":
        weights = (beta_avg, 1 - beta_avg)
        old, new = weights[::-1] if bug == "averages the wrong way round" else weights
        kept = {"mu": mu, "var": np.sqrt(var) if bug == "stores the standard deviation" else var}
        if bug == "stores the unbiased variance":
            kept["var"] = Z.var(axis=0, ddof=1)
        for key, value in kept.items():
            if bug == "writes into the caller's arrays":
                cache_dict[key] *= old
                cache_dict[key] += new * value
            elif bug != "never updates the cache":
                cache_dict[key] = old * cache_dict[key] + new * value
    uses_cache = mode == "test" and bug != "batch statistics in test mode"
    if uses_cache or bug == "cache statistics in train mode":
        mu, var = cache_dict["mu"], cache_dict["var"]
    std = np.sqrt(var + eps)
    if bug == "eps outside the root":
        std = np.sqrt(var) + eps
    elif bug == "no eps":
        std = np.sqrt(var)
    elif bug == "divides by the variance":
        std = var + eps
    Z_norm = (Z - mu) / std
    out = gamma * (Z if bug == "scales Z instead of Z_norm" else Z_norm) + beta
    return out.T if bug == "transposes Z" else out


PUBLIC_BUGS = [
    "transposes Z",
    "scales Z instead of Z_norm",
    "normalises by unbiased variance",
    "averages the wrong way round",
    "updates the cache in test mode",
    "eps outside the root",
]
MORE_BUGS = [
    "statistics over the features",
    "no eps",
    "batch statistics in test mode",
    "stores the standard deviation",
    "stores the unbiased variance",
    "never updates the cache",
    "writes into the caller's arrays",
    "cache statistics in train mode",
    "divides by the variance",
]


def check_homework(forward, shape=(5, 3)):
    """Raise unless `forward` does what the task asks, on random Z of the given shape."""
    random, d = rng(6), shape[1]
    gamma, beta = random.normal(2, 1, d), random.normal(0, 1, d)
    mu, var, eps, beta_avg = random.normal(0, 1, d), random.uniform(1, 2, d), 0.03, 0.8
    cache, handed_in = {"mu": mu, "var": var}, (mu.copy(), var.copy())
    want_mu, want_var = mu.copy(), var.copy()
    for mode in ("train", "train", "test", "train", "test"):
        Z = random.normal(1, 0.7, shape)
        before = Z.copy()
        out = forward(Z, gamma, beta, eps, cache, beta_avg, mode)
        if mode == "train":
            want, batch_mu, batch_var = slow_normalise(Z, gamma, beta, eps)
            want_mu = beta_avg * want_mu + (1 - beta_avg) * batch_mu
            want_var = beta_avg * want_var + (1 - beta_avg) * batch_var
        else:
            want, _, _ = slow_normalise(Z, gamma, beta, eps, want_mu, want_var)
        np.testing.assert_allclose(out, want, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(cache["mu"], want_mu, rtol=1e-12)
        np.testing.assert_allclose(cache["var"], want_var, rtol=1e-12)
        np.testing.assert_array_equal(Z, before)
        np.testing.assert_array_equal([mu, var], handed_in)


def test_homework_function_is_right():
    check_homework(forward_batchnorm)
    check_homework(homework)


@pytest.mark.parametrize("bug", PUBLIC_BUGS + MORE_BUGS)
def test_known_bugs_are_killed(bug):
    def mutant(*arguments):
        return homework(*arguments, bug=bug)

    with pytest.raises((AssertionError, ValueError)):
        check_homework(mutant)


def test_a_square_batch_hides_the_shape_of_the_transposed_bug():
    arguments = (np.ones(3), np.zeros(3), 0.1, {"mu": np.zeros(3), "var": np.ones(3)}, 0.9, "train")
    assert homework(rng().normal(size=(3, 3)), *arguments, bug="transposes Z").shape == (3, 3)
    with pytest.raises(ValueError, match="broadcast"):
        homework(rng().normal(size=(5, 3)), *arguments, bug="transposes Z")


@pytest.mark.parametrize(("shape", "kept"), [((3,), (3,)), ((1, 3), (1, 3)), ((), (3,))])
def test_per_feature_arguments_may_be_vectors_rows_or_numbers(shape, kept):
    Z, cache = rng().normal(size=(5, 3)), {"mu": np.zeros(shape), "var": np.ones(shape)}
    out = forward_batchnorm(Z, np.full(shape, 2.0), np.full(shape, 1.0), 0.1, cache, 0.5, "train")
    want, mu, var = slow_normalise(Z, [2.0] * 3, [1.0] * 3, 0.1)
    np.testing.assert_allclose(out, want, rtol=1e-12)
    assert cache["mu"].shape == cache["var"].shape == kept
    np.testing.assert_allclose(cache["mu"].ravel(), mu / 2, rtol=1e-12)
    np.testing.assert_allclose(cache["var"].ravel(), (1 + var) / 2, rtol=1e-12)


def test_test_mode_leaves_the_very_arrays_in_the_cache():
    cache = {"mu": np.zeros(3, np.float32), "var": np.ones(3, np.float32)}
    before = dict(cache)
    forward_batchnorm(rng().normal(size=(5, 3)), np.ones(3), np.zeros(3), 0.1, cache, 0.9, "test")
    assert all(cache[key] is before[key] for key in before)


# --- other libraries ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(13, 4), (3, 5, 2, 4), (1, 4)])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.6, "eps": 0.2}])
def test_keras_layer_over_several_steps(shape, options):
    keras = pytest.importorskip("keras")
    random, d = rng(3), shape[-1]
    settings = {name: options[key] for name, key in (("momentum", "momentum"),) if key in options}
    settings |= {"epsilon": options["eps"]} if "eps" in options else {}
    layer = keras.layers.BatchNormalization(**settings)
    layer.build(shape)
    gamma, beta = random.normal(1, 1, d), random.normal(0, 1, d)
    mean, var = np.zeros(d), np.ones(d)
    layer.set_weights([gamma, beta, mean, var])
    for training in (True, True, False, True, False):
        x = random.normal(2, 3, shape).astype(np.float32)
        want = np.asarray(layer(x, training=training))
        out, _, mean, var = batchnorm_forward(
            x, gamma, beta, running_mean=mean, running_var=var, training=training, **options
        )
        np.testing.assert_allclose(out, want, rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(mean, np.asarray(layer.moving_mean), rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(var, np.asarray(layer.moving_variance), rtol=2e-5)


@pytest.mark.parametrize("case", FROZEN["cases"], ids=lambda case: f"eps {case['eps']}")
def test_frozen_pytorch_steps(case):
    d = len(case["gamma"])
    mean, var = np.zeros(d), np.ones(d)
    for step in case["steps"]:
        out, cache, mean, var = batchnorm_forward(
            np.array(step["x"]),
            case["gamma"],
            case["beta"],
            running_mean=mean,
            running_var=var,
            training=step["training"],
            convention=PYTORCH,
            momentum=case["momentum"],
            eps=case["eps"],
        )
        dx, dgamma, dbeta = batchnorm_backward(np.array(step["dout"]), cache)
        got = {"out": out, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}
        got |= {"running_mean": mean, "running_var": var}
        for name, value in got.items():
            np.testing.assert_allclose(value, step[name], rtol=1e-8, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("answer", FROZEN["refusals"], ids=lambda answer: str(answer["shape"]))
def test_refuses_the_batches_of_one_that_pytorch_refuses(answer):
    if answer["message"]:
        with pytest.raises(ValueError, match="x must be more than ddof=1 values a feature; got 1"):
            train(np.zeros(answer["shape"]), convention=PYTORCH)
    else:
        train(np.zeros(answer["shape"]), convention=PYTORCH)


def test_frozen_numbers_are_still_what_pytorch_gives():
    pytest.importorskip("torch")
    import make_pytorch_batch_norm

    live = make_pytorch_batch_norm.make()
    for now, then in zip(live["cases"], FROZEN["cases"], strict=True):
        for new, old in zip(now["steps"], then["steps"], strict=True):
            for name in new:
                np.testing.assert_allclose(new[name], old[name], rtol=1e-9, atol=1e-10)
    assert [a["shape"] for a in live["refusals"] if a["message"]] == [[1, 3], [1, 1, 1, 3]]


@pytest.mark.parametrize(
    ("preset", "want_mean", "want_var"),
    [(KERAS, 0.01 * 2.5, 0.99 + 0.01 * 1.25), (PYTORCH, 0.1 * 2.5, 0.9 + 0.1 * 5 / 3)],
)
def test_presets_by_hand(preset, want_mean, want_var):
    _, _, mean, var = train(np.array([[1.0], [2.0], [3.0], [4.0]]), convention=preset)
    np.testing.assert_allclose([mean[0], var[0]], [want_mean, want_var], rtol=1e-14)
    assert preset.eps == {KERAS: 1e-3, PYTORCH: 1e-5}[preset]


def test_momentum_direction_is_named():
    assert KERAS.update(1.0, 0.0) == PYTORCH.update(0.0, 1.0) + 0.89
    same = Convention(momentum=0.25, momentum_weighs="batch", eps=0.0, ddof=0)
    other = Convention(momentum=0.75, momentum_weighs="old", eps=0.0, ddof=0)
    assert same.update(8.0, 4.0) == other.update(8.0, 4.0) == 7.0


# --- gradients ----------------------------------------------------------------------------------


def slope(function, array):
    """Centred differences of a scalar function, steps h and h/2 combined (error of order h⁴)."""
    gradient, h = np.zeros(array.shape), 2e-3
    for index in np.ndindex(array.shape):
        kept, values = array[index], []
        for step in (h, -h, h / 2, -h / 2):
            array[index] = kept + step
            values.append(function())
        array[index] = kept
        coarse, fine = (values[0] - values[1]) / (2 * h), (values[2] - values[3]) / h
        gradient[index] = (4 * fine - coarse) / 3
    return gradient


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(7, 3), (2, 5), (2, 3, 4, 3), (1, 2, 2, 1)])
@pytest.mark.parametrize("eps", [1e-3, 0.7])
def test_gradients_are_centred_differences(shape, training, eps):
    random, d = rng(9), shape[-1]
    x, dout = random.normal(1, 2, shape), random.normal(size=shape)
    gamma, beta = random.normal(1, 1, d), random.normal(size=d)
    running = {"running_mean": random.normal(size=d), "running_var": random.uniform(0.5, 2, d)}

    def forward():
        return batchnorm_forward(x, gamma, beta, training=training, eps=eps, **running)

    got = batchnorm_backward(dout, forward().__getitem__(1))
    for gradient, array in zip(got, (x, gamma, beta), strict=True):
        want = slope(lambda: float((forward()[0] * dout).sum()), array)
        assert gradient.shape == want.shape
        assert relative(gradient, want) <= 1e-8


def test_an_upstream_gradient_of_ones_is_blind():
    x = rng().normal(size=(7, 3))
    dx, dgamma, dbeta = batchnorm_backward(np.ones((7, 3)), train(x, gamma=5.0)[1])
    np.testing.assert_allclose(dx, 0, atol=1e-14)
    np.testing.assert_allclose(dgamma, 0, atol=1e-14)
    np.testing.assert_array_equal(dbeta, 7)


def test_dense_bias_before_batch_norm_has_no_gradient():
    random = rng(5)
    inputs, weights, bias = random.normal(size=(32, 10)), random.normal(size=(10, 20)), np.ones(20)
    _, cache, _, _ = train(inputs @ weights + bias, random.normal(size=20), random.normal(size=20))
    dx, _, _ = batchnorm_backward(random.normal(size=(32, 20)), cache)
    assert np.abs(dx.sum(axis=0)).max() <= 1e-15 * np.abs(dx).sum(axis=0).max()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_batch_of_one_gives_beta_and_no_gradient(dtype):
    x, beta = rng().normal(1e3, 10, (1, 6)).astype(dtype), rng(1).normal(size=6).astype(dtype)
    out, cache, _, _ = train(x, gamma=3.0, beta=beta)
    np.testing.assert_array_equal(out, beta[None])
    dx, dgamma, dbeta = batchnorm_backward(rng(2).normal(size=(1, 6)).astype(dtype), cache)
    np.testing.assert_array_equal(dx, 0)
    np.testing.assert_array_equal(dgamma, 0)
    assert np.all(dbeta != 0)


def test_batch_of_one_image_is_not_a_batch_of_one_value():
    dx, _, _ = batchnorm_backward(
        rng().normal(size=(1, 4, 4, 2)), train(rng(1).normal(size=(1, 4, 4, 2)))[1]
    )
    assert np.abs(dx).max() > 0.1


# --- precision and range ------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [0.0, 1e4, 1e5, -1e6])
@pytest.mark.parametrize("std", [1e-3, 1.0, 30.0])
def test_float32_is_right_far_from_zero(mean, std):
    x = rng().normal(mean, std, (700, 5)).astype(np.float32)
    x[:, 4] += np.linspace(0, 3 * std, 700, dtype=np.float32)  # the first row is no typical row
    gamma, beta = [1.0, 2.0, -1.0, 0.5, 1.0], [0.0, 0.1, 0.2, 0.3, 0.4]
    want, want_mean, want_var = slow_normalise(x, gamma, beta, 1e-5)
    out, cache, mean, var = train(x, gamma, beta, eps=1e-5, momentum=0.0)
    assert out.dtype == np.float32
    assert np.abs(out - want).max() <= 3e-6
    np.testing.assert_allclose(mean, want_mean, rtol=0, atol=1e-6 * (std + 1e-9))
    np.testing.assert_allclose(var, want_var, rtol=2e-6)
    dout = rng(1).normal(size=x.shape).astype(np.float32)
    wide = batchnorm_backward(dout, train(x.astype(np.float64), gamma, beta, eps=1e-5)[1])
    for got, expected in zip(batchnorm_backward(dout, cache), wide, strict=True):
        assert relative(got, expected) <= 5e-6


def test_one_pass_variance_would_lose_everything():
    x = rng().normal(1e4, 1, (1000, 1)).astype(np.float32)
    one_pass = float((x * x).mean() - x.mean() ** 2)
    _, _, true_var = slow_normalise(x, [1.0], [0.0], 0.0)
    assert abs(one_pass / true_var[0] - 1) > 0.5
    assert abs(train(x, momentum=0.0)[3][0] / true_var[0] - 1) < 1e-6


def test_an_outlier_in_the_first_row_does_no_harm():
    x = rng().normal(0, 1e-3, (999, 2)).astype(np.float32)
    x[0] = 1e5
    want, _, want_var = slow_normalise(x, [1.0] * 2, [0.0] * 2, 1e-3)
    out, _, _, var = train(x, momentum=0.0)
    np.testing.assert_allclose(out, want, rtol=1e-5)
    np.testing.assert_allclose(var, want_var, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-30, 1e-20, 1e15, 1e20, 1e30, 1e38])
@pytest.mark.parametrize("eps", [0.0, 1e-3])
def test_float32_over_its_whole_range(scale, eps):
    x = (rng().uniform(-3, 3, (50, 4)) * scale).astype(np.float32)
    want, _, _ = slow_normalise(x, [1.5] * 4, [0.0] * 4, eps)
    dout = rng(1).normal(size=x.shape).astype(np.float32)
    out, cache, mean, var = train(x, 1.5, eps=eps)
    np.testing.assert_allclose(out, want, rtol=1e-5, atol=2e-6 * np.abs(want).max() + 1e-43)
    assert np.isfinite(mean).all()
    assert np.isfinite(var).all()
    if scale > 1e-30 or eps:  # below that, the gradient 1/std does not fit float32
        gradients = batchnorm_backward(dout, cache)
        assert all(np.isfinite(gradient).all() for gradient in gradients)
        wide = batchnorm_backward(dout, train(x.astype(np.float64), 1.5, eps=eps)[1])
        for got, expected in zip(gradients, wide, strict=True):
            floor = 1e-42 + 1e-5 * np.abs(expected).max()
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=floor)


def test_extremes_of_each_dtype_side_by_side():
    top = np.finfo(np.float32).max
    x = np.array([[top, 1.0, 0.0], [-top, 1.0, 1e-45], [top, 1.0, 0.0], [-top, 1.0, 0.0]])
    out, _, mean, var = train(x.astype(np.float32))
    np.testing.assert_allclose(out[:, 0], [1, -1, 1, -1])
    np.testing.assert_array_equal(out[:, 1], 0)
    assert np.isfinite([mean, var]).all()
    half = np.array([[65504.0], [-65504.0]], np.float16)
    out, _, mean, var = train(half, momentum=0.0, running_var=np.ones(1, np.float16))
    np.testing.assert_array_equal(out, np.array([[1], [-1]], np.float16))
    assert var.dtype == np.float64
    assert var[0] == 65504.0**2


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e4 + 0.1, -7.7])
def test_constant_feature_is_exactly_constant(dtype, value):
    x = np.full((1001, 2), value, dtype)
    x[:, 1] = np.arange(1001)
    out, _, mean, var = train(x, beta=0.25, momentum=0.0)
    np.testing.assert_array_equal(out[:, 0], dtype(0.25))
    assert var[0] == 0
    assert mean[0] == dtype(value)
    with pytest.raises(ValueError, match=r"eps must be > 0 .* eps=0.0 and variance 0 in feature 0"):
        train(x, eps=0.0)


@settings(max_examples=60)
@given(value=st.floats(-1e6, 1e6, width=32), n=st.integers(1, 5000))
def test_constant_float32_columns_have_variance_zero(value, n):
    _, _, mean, var = train(np.full((n, 1), value, np.float32), momentum=0.0)
    assert (mean[0], var[0]) == (value, 0)


def test_float32_falls_back_on_float64_where_it_is_too_narrow():
    top = float(np.finfo(np.float32).max)
    x = np.array([[top], [top], [top], [-top]], np.float32)  # x − mean overflows
    want, _, _ = slow_normalise(x / top, [1.0], [0.0], 0.0)
    np.testing.assert_allclose(train(x)[0], want, rtol=1e-6)
    options = {"running_var": 1e84, "training": False}  # 1/std has few bits in float32
    np.testing.assert_allclose(train(x, **options)[0], x.astype(float) * 1e-42, rtol=1e-6)
    for training, want in ((False, 16 * top), (True, 0)):
        cache = train(np.array([[1.0], [3.0]] * 4, np.float32), training=training, eps=0.0)[1]
        _, dgamma, dbeta = batchnorm_backward(np.full((8, 1), top, np.float32), cache)
        np.testing.assert_allclose([dgamma[0], dbeta[0]], [want, 8 * top], rtol=1e-6)


def test_eps_biases_features_of_small_scale():
    x = rng().normal(0, 0.01, (4000, 1))
    shrunk = train(x, eps=1e-3)[0].var()
    assert shrunk == pytest.approx(x.var() / (x.var() + 1e-3), rel=1e-12)
    assert shrunk < 0.1


DTYPES = [
    (np.float16, np.float16, 2e-3),
    (np.float32, np.float32, 1e-6),
    (np.float64, np.float64, 1e-13),
    (">f4", np.float32, 1e-6),
    (np.int64, np.float64, 1e-13),
    (np.uint8, np.float64, 1e-13),
]


@pytest.mark.parametrize(("given_dtype", "want_dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("training", [True, False])
def test_dtypes(given_dtype, want_dtype, tolerance, training):
    x = rng().integers(0, 100, (9, 3)).astype(given_dtype)
    statistics = {} if training else {"mean": [40.0] * 3, "var": [900.0] * 3}
    want, _, _ = slow_normalise(x, [2.0] * 3, [1.0] * 3, 1e-3, **statistics)
    running = {"running_mean": np.full(3, 40, np.float16), "running_var": np.full(3, 900.0)}
    out, cache, mean, var = batchnorm_forward(x, 2, 1, training=training, **running)
    assert out.dtype == want_dtype
    assert mean.dtype == var.dtype == np.float64
    np.testing.assert_allclose(out, want, atol=tolerance * 4)
    dx, dgamma, dbeta = batchnorm_backward(np.ones((9, 3), np.float32), cache)
    assert (dx.dtype, dgamma.dtype, dbeta.dtype) == (want_dtype, np.float64, np.float64)


def test_lists_are_arrays():
    assert train([[1, 2], [3, 4]], eps=0.0)[0].tolist() == [[-1, -1], [1, 1]]


# --- memory: sums, layouts, nothing written ------------------------------------------------------


@pytest.mark.parametrize("n", [1, 127, 128, 129, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_are_whole_whatever_the_number_of_rows(n, dtype):
    x, dout = rng().normal(3, 2, (n, 2)).astype(dtype), rng(1).normal(size=(n, 2)).astype(dtype)
    gamma, beta, tolerance = [1.0, 2.0], [0.5, -1.0], 100 * np.finfo(dtype).eps
    want, want_mean, want_var = slow_normalise(x, gamma, beta, 1e-3)
    out, cache, mean, var = train(x, gamma, beta, momentum=0.0)
    for got, expected in ((out, want), (mean, want_mean), (var, want_var)):
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
    x_hat = (want - beta) / gamma
    _, dgamma, dbeta = batchnorm_backward(dout, cache)
    for got, terms in ((dgamma, dout * x_hat), (dbeta, dout.astype(float))):
        expected = [math.fsum(column) for column in terms.T.tolist()]
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * math.sqrt(n))


@pytest.mark.parametrize("training", [True, False])
def test_layout_is_irrelevant_and_nothing_is_written(training):
    base = rng().normal(size=(2, 3, 4, 5))
    for view in (
        base[:, ::2],
        base[..., ::-2],
        base.transpose(3, 1, 2, 0),
        np.asfortranarray(base),
    ):
        d = view.shape[-1]
        arrays = [view, np.full(d, 2.0), np.ones(d), np.zeros(d), np.ones(d)]
        copies = [array.copy() for array in arrays]
        for array in (base, *arrays):
            array.flags.writeable = False
        x, gamma, beta, mean, var = arrays
        results = [
            batchnorm_forward(
                batch, gamma, beta, running_mean=mean, running_var=var, training=training
            )
            for batch in (x, np.ascontiguousarray(x))
        ]
        np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-12)
        dout = rng(2).normal(size=view.T.shape).T
        gradients = [batchnorm_backward(dout, result[1]) for result in results]
        for got, want in zip(*gradients, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
        for array, copy in zip(arrays, copies, strict=True):
            np.testing.assert_array_equal(array, copy)
        for new in results[0][2:]:
            assert not any(np.shares_memory(new, old) for old in arrays)


@pytest.mark.parametrize("training", [True, False])
def test_running_values_are_ordinary_arrays(training):
    for running in train(rng().normal(size=(5, 3)), training=training)[2:]:
        assert running.shape == (3,)
        assert running.flags.writeable


def test_images_are_rows_of_channels():
    x = rng().normal(size=(2, 3, 4, 5))
    np.testing.assert_array_equal(train(x)[0].reshape(-1, 5), train(x.reshape(-1, 5))[0])


# --- refusals -----------------------------------------------------------------------------------

Z = rng().normal(size=(5, 3))
GOOD = {
    "Z": Z,
    "gamma": np.ones(3),
    "beta": np.zeros(3),
    "eps": 1e-5,
    "cache_dict": {"mu": np.zeros(3), "var": np.ones(3)},
    "beta_avg": 0.9,
    "mode": "train",
}
WITH_NAN = Z.copy()
WITH_NAN[3, 1] = np.nan
WITH_INF = Z.copy()
WITH_INF[2, 0] = -np.inf

REFUSALS = [
    ({"mode": "predict"}, ValueError, "mode must be 'train' or 'test'; got 'predict'"),
    ({"mode": True}, ValueError, "mode must be 'train' or 'test'; got True"),
    ({"mode": None}, ValueError, "mode .* got None"),
    ({"eps": -1e-5}, ValueError, "eps must be between 0 and .*; got -1e-05"),
    ({"eps": math.nan}, ValueError, "eps .* got nan"),
    ({"eps": math.inf}, ValueError, "eps .* got inf"),
    ({"eps": "small"}, TypeError, "eps must be a real number; got 'small'"),
    ({"eps": None}, TypeError, "eps .* got None"),
    ({"beta_avg": 1.5}, ValueError, "beta_avg must be between 0 and 1; got 1.5"),
    ({"beta_avg": -0.1}, ValueError, "beta_avg must be between 0 and 1; got -0.1"),
    ({"beta_avg": math.nan}, ValueError, "beta_avg must be between 0 and 1; got nan"),
    ({"beta_avg": True}, TypeError, "beta_avg must be a real number; got True"),
    ({"gamma": np.ones(5)}, ValueError, r"gamma must be of shape \(3,\).*; got shape \(5,\)"),
    ({"gamma": np.ones((3, 1))}, ValueError, r"gamma .* got shape \(3, 1\)"),
    ({"gamma": np.ones(1)}, ValueError, r"gamma .* got shape \(1,\)"),
    ({"beta": np.zeros((5, 3))}, ValueError, r"beta .* got shape \(5, 3\)"),
    ({"beta": [0.0, np.nan, 0.0]}, ValueError, r"beta must be finite; got nan at index \(1,\)"),
    ({"gamma": ["a", "b", "c"]}, TypeError, "gamma must be real numbers; got dtype <U1"),
    ({"Z": np.zeros((0, 3))}, ValueError, r"Z .* not empty; got shape \(0, 3\)"),
    ({"Z": np.zeros((5, 0))}, ValueError, r"Z .* got shape \(5, 0\)"),
    ({"Z": np.zeros(3)}, ValueError, r"Z must be of shape \(n, d\) .* got shape \(3,\)"),
    ({"Z": np.zeros((2, 5, 3))}, ValueError, r"Z .* got shape \(2, 5, 3\)"),
    ({"Z": np.zeros((2, 2, 2, 3))}, ValueError, r"Z .* got shape \(2, 2, 2, 3\)"),
    ({"Z": Z.astype(complex)}, TypeError, "Z .* got dtype complex128"),
    ({"Z": Z > 0}, TypeError, "Z .* got dtype bool"),
    ({"Z": WITH_NAN}, ValueError, r"Z must be finite; got nan at index \(3, 1\)"),
    ({"Z": WITH_INF}, ValueError, r"Z must be finite; got -inf at index \(2, 0\)"),
    ({"Z": Z * 1e200}, ValueError, r"Z must be of finite variance; got values up to .*e\+200"),
    ({"cache_dict": {"mu": np.zeros(3)}}, ValueError, r"cache_dict .* got \['mu'\]"),
    ({"cache_dict": {}}, ValueError, r"cache_dict .* 'mu' and 'var'; got \[\]"),
    ({"cache_dict": None}, TypeError, "cache_dict must be a dict; got None"),
    (
        {"cache_dict": {"mu": np.zeros(3), "var": np.array([1, -0.5, 1])}},
        ValueError,
        r"cache_dict\['var'\] must be >= 0; got -0.5",
    ),
    (
        {"cache_dict": {"mu": np.zeros(4), "var": np.ones(3)}},
        ValueError,
        r"cache_dict\['mu'\] must be of shape \(3,\).* got shape \(4,\)",
    ),
    ({"Z": np.ones((5, 3)), "eps": 0}, ValueError, "eps must be > 0 .* eps=0 and variance 0"),
    ({"gamma": 1e308, "Z": Z * 1e-150, "eps": 0}, ValueError, "Z must be such that results fit"),
]
TRAIN_ONLY = ("of finite variance", "variance 0", "results fit")


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize(("change", "error", "message"), REFUSALS)
def test_refusals_leave_the_cache_alone(change, error, message, mode):
    if mode == "test" and any(words in message for words in TRAIN_ONLY):
        pytest.skip("concerns the statistics of a batch")
    arguments = {"mode": mode} | change
    arguments = GOOD | {"cache_dict": {"mu": np.zeros(3), "var": np.ones(3)}} | arguments
    cache = arguments["cache_dict"]
    items = list(cache.items()) if isinstance(cache, dict) else []
    values = [np.copy(value) for _, value in items]
    with pytest.raises(error, match=message):
        forward_batchnorm(**arguments)
    if isinstance(cache, dict):
        assert [(key, id(value)) for key, value in cache.items()] == [
            (key, id(value)) for key, value in items
        ]
        assert all(np.array_equal(a, b) for a, (_, b) in zip(values, items, strict=True))


class Metres(np.ndarray):
    """Stands for the arrays with units of other libraries."""


MASKED = np.ma.masked_array(Z, mask=Z > 0)
NO_PLAIN_ARRAYS = [
    (MASKED, "a plain array; got MaskedArray. Fill what is masked"),
    (np.ma.masked_array(Z), "a plain array; got MaskedArray"),
    (list(MASKED), "a plain array; got MaskedArray"),
    ([[np.ma.masked, 1.0, 2.0]] * 5, "a plain array; got MaskedConstant"),
    (np.asmatrix(Z), "a plain array; got matrix"),
    (Z.view(Metres), "a plain array; got Metres"),
    (Z.astype(object), "an array of real numbers; got ndarray of dtype object"),
    (scipy.sparse.csr_array(Z), "an array of real numbers; got csr_array of dtype object"),
    (Z.astype(complex), "dtype complex128"),
    (Z.astype([("a", float)]), "dtype .*'a'"),
]


@pytest.mark.parametrize(("values", "message"), NO_PLAIN_ARRAYS)
def test_what_carries_more_than_real_numbers_is_refused_everywhere(values, message):
    cache = {"mu": np.zeros(3), "var": np.ones(3)}
    row = values[:1] if hasattr(values, "ndim") or isinstance(values, list) else values
    arguments = GOOD | {"cache_dict": cache}
    for name, value in (("Z", values), ("gamma", row), ("beta", row)):
        with pytest.raises(TypeError, match=f"{name} must be .*{message}"):
            forward_batchnorm(**arguments | {name: value})
    for key in cache:
        with pytest.raises(TypeError, match=rf"cache_dict\['{key}'\] must be .*{message}"):
            forward_batchnorm(**arguments | {"cache_dict": cache | {key: row}})
    for name in ("running_mean", "running_var"):
        with pytest.raises(TypeError, match=f"{name} must be .*{message}"):
            train(Z, **{name: row})
    with pytest.raises(TypeError, match=f"dout must be .*{message}"):
        batchnorm_backward(values, train(Z)[1])
    assert [cache["mu"].tolist(), cache["var"].tolist()] == [[0, 0, 0], [1, 1, 1]]


def test_an_array_on_disk_is_a_plain_array(tmp_path):
    on_disk = np.memmap(tmp_path / "Z", mode="w+", shape=Z.shape)
    on_disk[:] = rng().integers(0, 255, Z.shape)
    np.testing.assert_array_equal(train(on_disk)[0], train(np.array(on_disk))[0])


def test_a_backward_pass_wants_the_cache_and_not_the_whole_answer():
    answer = train(np.eye(3))
    with pytest.raises(TypeError, match=r"cache must be that of a forward call; got tuple"):
        batchnorm_backward(np.eye(3), answer)


def test_ragged_rows_are_refused():
    with pytest.raises(ValueError, match="x must be an array; got rows of unequal length"):
        train([[1.0, 2.0], [3.0]])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"training": "train"}, TypeError, "training must be True or False; got 'train'"),
        ({"momentum": 1.01}, ValueError, "momentum must be between 0 and 1; got 1.01"),
        ({"ddof": -1}, ValueError, "ddof must be an integer >= 0; got -1"),
        ({"ddof": 0.5}, ValueError, "ddof must be an integer >= 0; got 0.5"),
        ({"ddof": 5}, ValueError, "x must be more than ddof=5 values a feature; got 5"),
        ({"momentum_weighs": "new"}, ValueError, "momentum_weighs .* got 'new'"),
        ({"running_mean": np.zeros(2)}, ValueError, r"running_mean .* got shape \(2,\)"),
        ({"running_var": -1}, ValueError, "running_var must be >= 0; got -1"),
        ({"running_var": np.nan}, ValueError, r"running_var must be finite; got nan at index \(\)"),
        ({"momentun": 0.5}, TypeError, "momentun"),
        ({"training": False, "running_var": 0, "eps": 0}, ValueError, "eps .* variance 0"),
    ],
)
def test_refusals_of_the_general_function(options, error, message):
    with pytest.raises(error, match=message):
        train(Z, **options)


def test_inference_refuses_what_float16_cannot_hold():
    x = np.array([[60000.0]], np.float16)
    with pytest.raises(ValueError, match=r"x must be such that results fit float16; got .* 6e\+04"):
        train(x, training=False, running_var=1e-6)


@pytest.mark.parametrize(
    ("dout", "message"),
    [
        (np.ones((3, 5)), r"dout must be of the shape of x, \(5, 3\); got \(3, 5\)"),
        (np.ones((1, 1, 5, 3)), r"dout .* got \(1, 1, 5, 3\)"),
        (WITH_NAN, r"dout must be finite; got nan at index \(3, 1\)"),
        (Z[::-1] * 1e307, "dout must be such that results fit float64"),
    ],
)
def test_refusals_of_backward(dout, message):
    with pytest.raises(ValueError, match=message):
        batchnorm_backward(dout, train(Z, gamma=100.0)[1])


# --- properties ---------------------------------------------------------------------------------

SEEDS = st.integers(0, 2**32 - 1)
QUICK = settings(max_examples=40)


@QUICK
@given(seed=SEEDS, n=st.integers(2, 9), d=st.integers(1, 5), c=st.floats(1e-3, 1e3))
def test_scaling_or_shifting_the_input_changes_nothing(seed, n, d, c):
    x = rng(seed).normal(size=(n, d))
    want = train(x, eps=0.0)[0]
    np.testing.assert_allclose(train(c * x, eps=0.0)[0], want, atol=1e-8)
    np.testing.assert_allclose(train(-c * x, eps=0.0)[0], -want, atol=1e-8)
    np.testing.assert_allclose(train(x + c, eps=0.0)[0], want, atol=1e-6)


@QUICK
@given(seed=SEEDS, n=st.integers(2, 9), d=st.integers(1, 5))
def test_reordering_examples_or_features_reorders_the_output(seed, n, d):
    random = rng(seed)
    x, dout, gamma = random.normal(size=(n, d)), random.normal(size=(n, d)), random.normal(size=d)
    rows, columns = random.permutation(n), random.permutation(d)
    out, cache, mean, var = train(x, gamma)
    moved_out, moved_cache, moved_mean, moved_var = train(x[rows][:, columns], gamma[columns])
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(moved_out, out[rows][:, columns], **close)
    np.testing.assert_allclose([moved_mean, moved_var], [mean[columns], var[columns]], **close)
    dx = batchnorm_backward(dout, cache)[0]
    moved_dx = batchnorm_backward(dout[rows][:, columns], moved_cache)[0]
    np.testing.assert_allclose(moved_dx, dx[rows][:, columns], rtol=1e-7, atol=1e-7)


@QUICK
@given(seed=SEEDS, n=st.integers(2, 40), eps=st.floats(0, 10))
def test_outputs_have_mean_beta_and_the_stated_variance(seed, n, eps):
    x = rng(seed).normal(3, 2, (n, 3))
    out = train(x, gamma=2.0, beta=7.0, eps=eps)[0]
    np.testing.assert_allclose(out.mean(axis=0), 7, rtol=1e-10)
    np.testing.assert_allclose(out.var(axis=0), 4 * x.var(axis=0) / (x.var(axis=0) + eps))


@QUICK
@given(seed=SEEDS, n=st.integers(1, 9), d=st.integers(1, 4))
def test_gradient_is_orthogonal_to_constants_and_to_the_input(seed, n, d):
    random = rng(seed)
    x, dout = random.normal(size=(n, d)), random.normal(size=(n, d))
    out, cache, _, _ = train(x, gamma=3.0, eps=1e-12)
    dx, _, _ = batchnorm_backward(dout, cache)
    scale = np.abs(cache.gamma * cache.inv_std * dout).max()
    np.testing.assert_allclose(dx.sum(axis=0) / scale, 0, atol=1e-9)
    if n > 2:
        np.testing.assert_allclose((dx * out).sum(axis=0) / scale, 0, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@settings(max_examples=80)
@given(data=st.data())
def test_finite_numbers_never_become_nan_or_infinite(dtype, data):
    numbers = st.floats(width=np.dtype(dtype).itemsize * 8, allow_nan=False, allow_infinity=False)
    n, d = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    draw = data.draw(st.lists(numbers, min_size=n * d, max_size=n * d))
    x = np.array(draw, dtype).reshape(n, d)
    out, cache, mean, var = train(x, eps=1e-3)
    want, _, _ = slow_normalise(x, [1.0] * d, [0.0] * d, 1e-3)
    np.testing.assert_allclose(out, want, rtol=2e-3, atol=2e-3)
    dx, dgamma, dbeta = batchnorm_backward(np.ones_like(x), cache)
    assert all(np.isfinite(array).all() for array in (mean, var, dx, dgamma, dbeta))
