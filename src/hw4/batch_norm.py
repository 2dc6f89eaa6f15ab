"""Batch normalisation, forward and backward, in NumPy.

    y = gamma · (x − mean) / sqrt(var + eps) + beta            one mean and variance per feature

Arrays are (n, d), or (n, h, w, c) with statistics over n, h and w. Normalising uses the *biased*
variance of the batch, or the running one outside training; which is *stored*, and what "momentum"
means, differ between libraries: see `Convention`. The output and dx have the dtype of x (integers
become float64), computed in float32 or wider; statistics, dgamma and dbeta are float64 of shape
(d,). NaN, infinity and results too large for their dtype are refused. Only `cache_dict` is ever
written to, in 'train' mode.

Source: Ioffe and Szegedy (2015), "Batch Normalization", algorithms 1 and 2 and section 3.
"""

from collections import namedtuple
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

_BLOCK = 2**17  # elements worked on at a time: 512 KiB of float32 stays in a core's cache


@dataclass(frozen=True)
class Convention:
    """What a library means by momentum, and which variance it stores; ValueError for bad numbers.

    momentum_weighs="old":    running = momentum · running + (1 − momentum) · batch
    momentum_weighs="batch":  running = (1 − momentum) · running + momentum · batch
    `ddof` belongs to the stored variance only: 0 is biased, 1 unbiased.

    >>> round(KERAS.update(0.0, 1.0), 9), round(PYTORCH.update(0.0, 1.0), 9)
    (0.01, 0.1)
    """

    momentum: float
    momentum_weighs: str
    eps: float
    ddof: int

    def __post_init__(self) -> None:
        """Refuse impossible numbers at once, before any array is touched."""
        _number("momentum", self.momentum, 1)
        _number("eps", self.eps, np.finfo(float).max)
        if self.momentum_weighs not in ("old", "batch"):
            _refuse("momentum_weighs", "'old' or 'batch'", repr(self.momentum_weighs), "Choose one")
        if not isinstance(self.ddof, int | np.integer) or self.ddof < 0:
            _refuse("ddof", "an integer >= 0", repr(self.ddof), "Use 0 (biased) or 1 (unbiased)")

    def update(self, running, batch):
        """Move a running statistic towards the batch's."""
        old = self.momentum if self.momentum_weighs == "old" else 1 - self.momentum
        return old * running + (1 - old) * batch


# What `batchnorm_backward` needs; x (as rows) may be a view, so leave it alone until then.
Cache = namedtuple("Cache", "x shape gamma mean inv_std training")


def forward_batchnorm(Z, gamma, beta, eps, cache_dict, beta_avg, mode):
    """Batch-normalise Z of shape (n, d) as the homework asks, and return the output alone.

    'train' normalises by the batch and sets, as new arrays, with the biased variance,
    `cache_dict['mu'|'var'] = beta_avg · old + (1 − beta_avg) · batch`; 'test' normalises by the
    cache. gamma, beta and cache entries have shape (d,), (1, d) or (); an updated () becomes (d,).
    Raises ValueError for an unknown mode, eps < 0, beta_avg outside [0, 1], missing cache keys,
    wrong shapes, an empty batch, NaN or infinity, and eps = 0 with a variance of 0; TypeError for
    things that are not real numbers. The cache is then as it was.

    >>> Z, cache = np.array([[1.0], [3.0]]), {"mu": np.zeros(1), "var": np.ones(1)}
    >>> forward_batchnorm(Z, [2.0], [5.0], 0.0, cache, 0.75, "train").tolist()
    [[3.0], [7.0]]
    >>> cache["mu"].tolist(), cache["var"].tolist()
    ([0.5], [1.0])
    """
    if mode not in ("train", "test"):
        _refuse("mode", "'train' or 'test'", repr(mode), "Pass one of the two")
    _number("beta_avg", beta_avg, 1)
    convention, Z = Convention(beta_avg, "old", eps, 0), _batch("Z", Z, (2,))
    if not isinstance(cache_dict, MutableMapping):
        _refuse("cache_dict", "a dict", repr(cache_dict), "Pass one with 'mu', 'var'", TypeError)
    if not {"mu", "var"} <= cache_dict.keys():
        _refuse("cache_dict", "with keys 'mu' and 'var'", [*cache_dict], "Start with zeros, ones")
    mu = _feature("cache_dict['mu']", cache_dict["mu"], Z)
    var = _feature("cache_dict['var']", cache_dict["var"], Z, low=0)
    out, _, *new = _forward("Z", Z, gamma, beta, mu, var, mode == "train", convention)
    if mode == "train":
        shapes = [np.shape(cache_dict[key]) or -1 for key in ("mu", "var")]
        cache_dict.update(mu=new[0].reshape(shapes[0]), var=new[1].reshape(shapes[1]))
    return out


def batchnorm_forward(
    x, gamma, beta, *, running_mean, running_var, training, convention=None, **overrides
):
    """Batch-normalise x of shape (n, d) or (n, h, w, c).

    Returns `out, cache, running_mean, running_var`: the running values are new arrays, updated in
    training and copied otherwise. `convention` is `KERAS` unless given; `momentum=`, `eps=`,
    `ddof=` and `momentum_weighs=` override its fields. Per-feature arguments may be one number.
    Raises as `forward_batchnorm` does, and ValueError where a feature has no more than ddof values:
    the stored variance is then undefined (so PyTorch refuses a batch of one).

    >>> x = np.array([[1.0], [2.0], [3.0], [4.0]])
    >>> for preset in KERAS, PYTORCH:
    ...     options = dict(training=True, convention=preset, momentum_weighs="batch", momentum=1)
    ...     batchnorm_forward(x, 1, 0, running_mean=0, running_var=1, **options)[3].round(4).item()
    1.25
    1.6667
    """
    convention = replace(KERAS if convention is None else convention, **overrides)
    if not isinstance(training, bool | np.bool_):
        _refuse("training", "True or False", repr(training), "Pass a bool", TypeError)
    x = _batch("x", x, (2, 4))
    mean = _feature("running_mean", running_mean, x)
    var = _feature("running_var", running_var, x, low=0)
    return _forward("x", x, gamma, beta, mean, var, bool(training), convention)


def batchnorm_backward(dout, cache):
    """Gradients of sum(dout · y) for the forward call that made `cache`: `dx, dgamma, dbeta`.

        x̂ = (x − mean)/std        dbeta = Σ dout        dgamma = Σ dout·x̂
        dx = gamma/std · (dout − dbeta/n − x̂·dgamma/n)   training: mean and variance depend on x
        dx = gamma/std · dout                            inference: they are constants

    Raises ValueError where dout has not the shape of x, is not finite, or a gradient overflows.

    >>> x, dout = np.array([[1.0], [3.0]]), np.array([[1.0], [0.0]])
    >>> options = dict(running_mean=0, running_var=1, training=True, eps=0)
    >>> _, cache, *_ = batchnorm_forward(x, 2, 5, **options)
    >>> [gradient.ravel().tolist() for gradient in batchnorm_backward(dout, cache)]
    [[0.0, 0.0], [-1.0], [1.0]]
    """
    dout = _batch("dout", dout, (2, 4))
    if dout.shape != cache.shape:
        _refuse("dout", f"of the shape of x, {cache.shape}", dout.shape, "Pass d loss / d out")
    _finite("dout", dout)
    return _widening("dout", dout, cache, lambda work: _gradients(dout, cache, work))


def _forward(name, x, gamma, beta, mean, var, training, convention):
    gamma, beta, running = _feature("gamma", gamma, x), _feature("beta", beta, x), (mean, var)
    rows = x.reshape(-1, x.shape[-1])
    if training:
        mean, var, stored = _moments(name, rows, convention.ddof)
        running = convention.update(running[0], mean), convention.update(running[1], stored)
    else:
        _finite(name, x)
    if (flat := np.flatnonzero(var + convention.eps == 0)).size:
        got = f"eps={convention.eps!r} and variance 0 in feature {flat[0]}"
        _refuse("eps", "> 0 where a variance is 0", got, "Use eps=1e-5 or drop the feature")
    cache = Cache(rows, x.shape, gamma, mean, 1 / np.sqrt(var + convention.eps), training)
    return _widening(name, x, cache, lambda work: _output(cache, beta, work)), cache, *running


def _output(cache, beta, work):
    x, scale = cache.x.astype(work, copy=False), cache.gamma * cache.inv_std
    # What is lost by rounding the mean to the working precision goes into the offset.
    offset = (beta - (cache.mean - cache.mean.astype(work)) * scale).astype(work)
    scale, out = scale.astype(work), np.empty(x.shape, work)
    for rows, centred in _centred(x, cache.mean):
        centred *= scale
        np.add(centred, offset, out=out[rows])
    return out.astype(cache.x.dtype, copy=False).reshape(cache.shape)


def _gradients(dout, cache, work):
    x, g = (a.reshape(cache.x.shape).astype(work, copy=False) for a in (cache.x, dout))
    (n, d), (_, shape, gamma, mean, inv_std, training) = x.shape, cache
    dbeta, product = np.zeros(d), np.zeros(d)
    for rows, centred in _centred(x, mean):
        dbeta += _sums(g[rows])
        product += _sums(g[rows], centred)
    lost = mean - mean.astype(work)  # x − mean = (x − rounded mean) − lost
    dgamma = (product - lost * dbeta) * inv_std
    if not np.isfinite(dgamma + dbeta).all():
        raise FloatingPointError("a sum over the batch overflowed")
    slope = dgamma * inv_std / n * training
    level = (dbeta / n * training - lost * slope).astype(work)
    slope, scale, dx = slope.astype(work), (gamma * inv_std).astype(work), np.empty((n, d), work)
    for rows, centred in _centred(x, mean):
        centred *= slope
        block = np.subtract(g[rows], level, out=dx[rows])
        block -= centred
        block *= scale
    return dx.astype(cache.x.dtype, copy=False).reshape(shape), dgamma, dbeta


def _moments(name, rows, ddof):
    """Mean, biased variance and stored variance of each feature, by two passes, in float64."""
    x = rows.astype(np.promote_types(rows.dtype, np.float32), copy=False)
    if (n := len(x)) <= ddof:
        _refuse(name, f"more than ddof={ddof} values a feature", n, "Add examples, or use ddof=0")
    with np.errstate(all="ignore"):  # what overflows here is done again below, or refused
        mean, var, shift = _about(x, _sums(x) / n)
        # A constant feature must get exactly 0, and float32 squares must not over- or underflow:
        # such columns are done again in float64, about a value that the column contains.
        hard = ~((shift**2 <= var) & (var > 1e-30) & (var < 1e30))
        if hard.any():
            columns = x[:, hard].astype(np.float64)
            mean[hard], var[hard], _ = _about(columns, columns[0])
        stored = var * (n / (n - ddof))
    if not (np.isfinite(mean) & np.isfinite(stored)).all():
        _finite(name, rows)
        _refuse(name, "of finite variance", f"values up to {np.abs(x).max():.3g}", "Scale it down")
    return mean, var, stored


def _about(x, centre):
    """Mean and variance from deviations about a nearby centre, and the distance between the two."""
    sums = [(_sums(centred), _sums(centred, centred)) for _, centred in _centred(x, centre)]
    shift, squares = np.sum(sums, axis=0) / len(x)
    return centre.astype(x.dtype) + shift, np.maximum(squares - shift**2, 0), shift


def _centred(x, centre):
    """Yield (slice of rows, those rows of x − centre) in blocks that the caller may overwrite."""
    height, centre = max(1, _BLOCK // x.shape[1]), centre.astype(x.dtype)
    scratch = np.empty((min(height, len(x)), x.shape[1]), x.dtype)
    for start in range(0, len(x), height):
        block = x[start : start + height]
        yield slice(start, start + height), np.subtract(block, centre, out=scratch[: len(block)])


def _sums(*factors):
    """Column sums of a product in float64; float32 adds at most 128 terms in a row: it rounds."""
    # Not BLAS: its threads gain little here, and stall on a busy machine.
    (rows, d), terms = factors[0].shape, ",".join("ij" for _ in factors) + "->j"
    cut = rows - rows % 128  # rows up to here are added as 128 long ones, side by side
    head = np.einsum(terms, *(a[:cut].reshape(128, cut // 128 * d) for a in factors))
    tail = np.einsum(terms, *(a[cut:] for a in factors))
    return head.reshape(-1, d).sum(axis=0, dtype=np.float64) + tail


def _widening(name, x, cache, compute):
    """compute(float32), or compute(float64) where float32 is too narrow; refuse if that is too."""
    extreme = cache.inv_std.min() < 1e-30 or cache.inv_std.max() > 1e30
    wide = extreme or np.float64 in (x.dtype, cache.x.dtype)
    for work in (np.float64,) if wide else (np.float32, np.float64):
        with suppress(FloatingPointError), np.errstate(over="raise", invalid="raise"):
            return compute(work)
    top = f"values up to {np.abs(x).max():.3g}"
    _refuse(name, f"such that results fit {cache.x.dtype}", top, "Rescale or use a wider dtype")


def _batch(name, x, ranks):
    """x as a float array of native byte order; integers as float64."""
    x = np.asarray(x)
    if x.dtype.kind not in "fiu" or x.dtype.itemsize > 8:
        _refuse(name, "float16, 32, 64 or integers", f"dtype {x.dtype}", "Convert it", TypeError)
    if x.ndim not in ranks or x.size == 0:
        shapes = " or ".join({2: "(n, d)", 4: "(n, h, w, c)"}[rank] for rank in ranks)
        _refuse(name, f"of shape {shapes} and not empty", f"shape {x.shape}", "Reshape or fill it")
    return x.astype(f"f{x.dtype.itemsize}" if x.dtype.kind == "f" else "f8", copy=False)


def _feature(name, values, x, low=-np.inf):
    """One float64 per feature, as a new array of shape (d,)."""
    values, d = np.asarray(values), x.shape[-1]
    if values.dtype.kind not in "fiu":
        _refuse(name, "real numbers", f"dtype {values.dtype}", "Pass one per feature", TypeError)
    if values.shape not in ((), (d,), (1, d)):
        _refuse(name, f"of shape ({d},), (1, {d}) or ()", f"shape {values.shape}", "Reshape it")
    _finite(name, values)
    if values.min() < low:
        _refuse(name, f">= {low}", values.min(), "Check where it was computed")
    return np.broadcast_to(values.astype(np.float64).ravel(), (d,)).copy()


def _number(name, value, high):
    if type(value) is bool or not isinstance(value, int | float | np.number):
        _refuse(name, "a real number", repr(value), "Pass a float", TypeError)
    if not 0 <= value <= high:
        _refuse(name, f"between 0 and {high:.4g}", repr(value), "Check its sign and size")


def _finite(name, x):
    if not (finite := np.isfinite(x)).all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        _refuse(name, "finite", f"{x[where]} at index {where}", "Clean the data first")


def _refuse(argument, expectation, got, advice, error=ValueError):
    raise error(f"{argument} must be {expectation}; got {got}. {advice}.")


KERAS = Convention(momentum=0.99, momentum_weighs="old", eps=1e-3, ddof=0)
PYTORCH = Convention(momentum=0.1, momentum_weighs="batch", eps=1e-5, ddof=1)
