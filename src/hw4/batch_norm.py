"""Batch normalisation, forward and backward, in NumPy.

    y = gamma · (x − mean) / sqrt(var + eps) + beta            one mean and variance per feature

The textbook stands in `_moments`, `_normalise` and `_gradients`; around it are the homework's
function, the conventions of the libraries and what is refused. Arrays are (n, d), or (n, h, w, c)
with statistics over n, h and w. Normalising uses the *biased* variance of the batch, or the running
one outside training; which is *stored*, and what "momentum" means, differ between libraries: see
`Convention`. The output and dx have the dtype of x (integers become float64), computed in float32
or wider; statistics, dgamma and dbeta are float64 of shape (d,). NaN, infinity and results too
large for their dtype are refused, and so are arrays that carry more than numbers (a mask, a unit).
Only `cache_dict` is ever written to, in 'train' mode.

Source: Ioffe and Szegedy (2015), "Batch Normalization", algorithms 1 and 2 and section 3.
"""

from collections import namedtuple
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np

# What the backward pass needs; x (as rows) may be a view, so leave it alone until then.
Cache = namedtuple("Cache", "x shape gamma mean inv_std training")


# --- The textbook, on rows x of shape (n, d), float32 or float64 --------------------------------


def _moments(x) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and biased variance of each column, and x − mean (up to `_lost`): algorithm 1."""
    mean = _mean(x)
    centred = x - mean.astype(x.dtype)
    var = _column_sums(centred, centred) / len(x) - _lost(mean, x.dtype) ** 2
    return mean, np.maximum(var, 0), centred


def _normalise(centred, mean, inv_std, gamma, beta) -> np.ndarray:
    """gamma · (x − mean) / std + beta, written over `centred`."""
    scale = gamma * inv_std
    centred *= scale.astype(centred.dtype)
    centred += (beta - scale * _lost(mean, centred.dtype)).astype(centred.dtype)
    return centred


def _gradients(dout, centred, cache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx (written over `centred`), dgamma and dbeta: section 3, with x̂ = (x − mean)/std."""
    work, (n, _) = centred.dtype, centred.shape
    lost, scale = _lost(cache.mean, work), cache.gamma * cache.inv_std
    dbeta = _column_sums(dout)
    dgamma = (_column_sums(dout, centred) - lost * dbeta) * cache.inv_std
    # In inference mean and variance are constants, and only dout · gamma/std is left.
    slope, level = cache.training * dgamma * cache.inv_std / n, cache.training * dbeta / n
    centred *= slope.astype(work)  # x̂ · dgamma/n
    np.subtract(dout, centred, out=centred)
    centred -= (level - lost * slope).astype(work)
    centred *= scale.astype(work)
    return centred, dgamma, dbeta


def _mean(x) -> np.ndarray:
    """Column means in float64; of a constant column exactly its value."""
    if x.dtype == np.float64:  # about the first row, since n · 0.1 / n need not be 0.1
        return x[0] + (x - x[0]).mean(axis=0)
    return x.mean(axis=0, dtype=np.float64)


def _lost(mean, dtype) -> np.ndarray:
    """What a mean loses when it is rounded to `dtype`: at 1e6 float32 keeps no hundredths."""
    return mean - mean.astype(dtype)


def _column_sums(*factors) -> np.ndarray:
    """Column sums of a product in float64; float32 adds at most 128 terms in a row: it rounds."""
    (rows, d), terms = factors[0].shape, ",".join("ij" for _ in factors) + "->j"
    cut = rows - rows % 128  # rows up to here are added as 128 long ones, side by side
    head = np.einsum(terms, *(a[:cut].reshape(128, cut // 128 * d) for a in factors))
    tail = np.einsum(terms, *(a[cut:] for a in factors))
    return head.reshape(-1, d).sum(axis=0, dtype=np.float64) + tail


# --- The functions to call ----------------------------------------------------------------------


@dataclass(frozen=True)
class Convention:
    """What a library means by momentum, and which variance it stores.

        momentum_weighs="old":    running = momentum · running + (1 − momentum) · batch
        momentum_weighs="batch":  running = (1 − momentum) · running + momentum · batch

    Args:
        momentum: from 0 to 1.
        momentum_weighs: "old" (Keras) or "batch" (PyTorch).
        eps: added to the variance, at least 0.
        ddof: of the stored variance alone: 0 is biased, 1 unbiased.

    Raises:
        ValueError: a number outside its range.
        TypeError: something that is not a number.

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

    def update(self, running, batch) -> np.ndarray:
        """Move a running statistic towards the batch's."""
        old = self.momentum if self.momentum_weighs == "old" else 1 - self.momentum
        return old * running + (1 - old) * batch


def forward_batchnorm(Z, gamma, beta, eps, cache_dict, beta_avg, mode) -> np.ndarray:
    """Batch-normalise Z as the homework asks.

    'train' normalises by the batch and sets, as new arrays, with the biased variance,
    `cache_dict['mu'|'var'] = beta_avg · old + (1 − beta_avg) · batch`; 'test' normalises by the
    cache. After an error the cache is as it was.

    Args:
        Z: (n, d), one example a row.
        gamma: scale, of shape (d,), (1, d) or ().
        beta: offset, likewise.
        eps: added to the variance, at least 0.
        cache_dict: running mean "mu" and variance "var", likewise; an updated () becomes (d,).
        beta_avg: share of the old value that is kept, from 0 to 1.
        mode: "train" or "test".

    Returns:
        The output alone, (n, d).

    Raises:
        ValueError: an unknown mode, a number outside its range, missing cache keys, wrong shapes,
            an empty batch, NaN or infinity, or eps = 0 with a variance of 0.
        TypeError: what is not a plain array of real numbers.

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
    out, _, *new = _forward("Z", Z, gamma, beta, (mu, var), mode == "train", convention)
    if mode == "train":
        shapes = [np.shape(cache_dict[key]) or -1 for key in ("mu", "var")]
        cache_dict.update(mu=new[0].reshape(shapes[0]), var=new[1].reshape(shapes[1]))
    return out


def batchnorm_forward(
    x, gamma, beta, *, running_mean, running_var, training, convention=None, **overrides
) -> tuple[np.ndarray, Cache, np.ndarray, np.ndarray]:
    """Batch-normalise x of shape (n, d) or (n, h, w, c).

    Args:
        x: the batch.
        gamma: scale, one a feature or one number.
        beta: offset, likewise.
        running_mean: likewise.
        running_var: likewise, at least 0.
        training: whether the batch's own statistics are used, and the running ones updated.
        convention: `KERAS` unless given.
        overrides: fields of the convention, such as `eps=`.

    Returns:
        Output, what `batchnorm_backward` needs, and the running mean and variance as new arrays.

    Raises:
        ValueError: as `forward_batchnorm`, and where a feature has no more than ddof values: the
            stored variance is then undefined (so PyTorch refuses a batch of one).
        TypeError: as `forward_batchnorm`.

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
    return _forward("x", x, gamma, beta, (mean, var), bool(training), convention)


def batchnorm_backward(dout, cache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of sum(dout · y) for the forward call that made `cache`.

        x̂ = (x − mean)/std        dbeta = Σ dout        dgamma = Σ dout·x̂
        dx = gamma/std · (dout − dbeta/n − x̂·dgamma/n)   training: mean and variance depend on x
        dx = gamma/std · dout                            inference: they are constants

    Args:
        dout: d loss / d y, of the shape of x.
        cache: second result of `batchnorm_forward`.

    Returns:
        dx of the shape and dtype of x; dgamma and dbeta, (d,) float64.

    Raises:
        ValueError: dout has not the shape of x, is not finite, or a gradient overflows.
        TypeError: dout is no plain array of real numbers, cache not that of a forward call.

    >>> x, dout = np.array([[1.0], [3.0]]), np.array([[1.0], [0.0]])
    >>> options = dict(running_mean=0, running_var=1, training=True, eps=0)
    >>> _, cache, *_ = batchnorm_forward(x, 2, 5, **options)
    >>> [gradient.ravel().tolist() for gradient in batchnorm_backward(dout, cache)]
    [[0.0, 0.0], [-1.0], [1.0]]
    """
    if not isinstance(cache, Cache):
        advice = "Pass the second result of batchnorm_forward"
        _refuse("cache", "that of a forward call", type(cache).__name__, advice, TypeError)
    dout = _batch("dout", dout, (2, 4))
    if dout.shape != cache.shape:
        _refuse("dout", f"of the shape of x, {cache.shape}", dout.shape, "Pass d loss / d out")
    _finite("dout", dout)

    def compute(work) -> tuple:
        _widen_if(_out_of_range(cache.inv_std), work)
        centred = cache.x.astype(work, copy=False) - cache.mean.astype(work)
        rows = dout.reshape(cache.x.shape).astype(work, copy=False)
        dx, dgamma, dbeta = _gradients(rows, centred, cache)
        if not np.isfinite(dgamma + dbeta).all():  # einsum overflows in silence
            raise FloatingPointError
        return dx.astype(cache.x.dtype, copy=False).reshape(cache.shape), dgamma, dbeta

    return _wide_enough("dout", dout, cache.x.dtype, compute)


# --- Precision and range ------------------------------------------------------------------------


def _forward(name, x, gamma, beta, running, training, convention) -> tuple:
    """Output, cache, and running mean and variance, in the narrowest precision that suffices."""
    gamma, beta, rows = _feature("gamma", gamma, x), _feature("beta", beta, x), _rows(x)
    if training and len(rows) <= convention.ddof:
        expectation = f"more than ddof={convention.ddof} values a feature"
        _refuse(name, expectation, len(rows), "Add examples, or use ddof=0")
    if not training:
        _finite(name, x)

    def compute(work) -> tuple:
        z, new = rows.astype(work, copy=False), running
        if training:
            mean, var, centred = _judged_moments(name, z, work)
            stored = var * (len(z) / (len(z) - convention.ddof))
            new = convention.update(running[0], mean), convention.update(running[1], stored)
        else:
            (mean, var), centred = running, z - running[0].astype(work)
        if (flat := np.flatnonzero(var + convention.eps == 0)).size:
            got = f"eps={convention.eps!r} and variance 0 in feature {flat[0]}"
            _refuse("eps", "> 0 where a variance is 0", got, "Use eps=1e-5 or drop the feature")
        inv_std = 1 / np.sqrt(var + convention.eps)
        _widen_if(_out_of_range(inv_std), work)
        out = _normalise(centred, mean, inv_std, gamma, beta)
        out = out.astype(x.dtype, copy=False).reshape(x.shape)
        return out, Cache(rows, x.shape, gamma, mean, inv_std, training), *new

    return _wide_enough(name, x, x.dtype, compute)


def _judged_moments(name, x, work) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`_moments`, unless float32 is too narrow for them; refuse what has no finite variance."""
    with np.errstate(all="ignore"):
        mean, var, centred = _moments(x)
    if not (finite := np.isfinite(var).all()) and work is np.float64:
        _finite(name, x)
        _refuse(name, "of finite variance", f"values up to {np.abs(x).max():.3g}", "Scale it down")
    # Squares below 1e-30 lose digits, then vanish; a constant feature has none to lose.
    _widen_if(not finite or centred[:, var < 1e-30].any(), work)
    return mean, var, centred


def _out_of_range(inv_std) -> bool:
    return inv_std.min() < 1e-30 or inv_std.max() > 1e30


def _widen_if(too_narrow, work) -> None:
    if too_narrow and work is np.float32:
        raise FloatingPointError


def _wide_enough(name, x, dtype, compute: Callable) -> tuple:
    """compute(float32), or compute(float64) where that is too narrow; refuse if both are."""
    wide = np.float64 in (x.dtype, dtype)
    for work in (np.float64,) if wide else (np.float32, np.float64):
        with suppress(FloatingPointError), np.errstate(over="raise", invalid="raise"):
            return compute(work)
    top = f"values up to {np.abs(x).max():.3g}"
    _refuse(name, f"such that results fit {dtype}", top, "Rescale or use a wider dtype")


# --- What is taken, and what is refused ---------------------------------------------------------


def _rows(x) -> np.ndarray:
    return x.reshape(-1, x.shape[-1])


def _batch(name, x, ranks) -> np.ndarray:
    """x as a float array of native byte order; integers as float64."""
    x = _plain(name, x)
    if x.dtype.kind not in "fiu" or x.dtype.itemsize > 8:
        _refuse(name, "float16, 32, 64 or integers", f"dtype {x.dtype}", "Convert it", TypeError)
    if x.ndim not in ranks or x.size == 0:
        shapes = " or ".join({2: "(n, d)", 4: "(n, h, w, c)"}[rank] for rank in ranks)
        _refuse(name, f"of shape {shapes} and not empty", f"shape {x.shape}", "Reshape or fill it")
    return x.astype(f"f{x.dtype.itemsize}" if x.dtype.kind == "f" else "f8", copy=False)


def _feature(name, values, x, low=-np.inf) -> np.ndarray:
    """One float64 per feature, as a new array of shape (d,)."""
    values, d = _plain(name, values), x.shape[-1]
    if values.dtype.kind not in "fiu":
        _refuse(name, "real numbers", f"dtype {values.dtype}", "Pass one per feature", TypeError)
    if values.shape not in ((), (d,), (1, d)):
        _refuse(name, f"of shape ({d},), (1, {d}) or ()", f"shape {values.shape}", "Reshape it")
    _finite(name, values)
    if values.min() < low:
        _refuse(name, f">= {low}", values.min(), "Check where it was computed")
    return np.broadcast_to(values.astype(np.float64).ravel(), (d,)).copy()


def _plain(name, values) -> np.ndarray:
    """values as an array, unless they carry what an array would drop: a mask, a unit, a matrix."""
    for one in _leaves(values):
        if isinstance(one, np.ndarray) and type(one) not in (np.ndarray, np.memmap):
            advice = "Fill what is masked, then pass numpy.asarray of it"
            _refuse(name, "a plain array", type(one).__name__, advice, TypeError)
    try:
        array = np.asarray(values)
    except ValueError:
        _refuse(name, "an array", "rows of unequal length", "Give every row all features")
    if array.dtype == object:
        kind = f"{type(values).__name__} of dtype object"
        _refuse(name, "an array of real numbers", kind, "Convert it to a dense one", TypeError)
    return array


def _leaves(values) -> Iterator:
    """What a nested list holds, or the thing itself."""
    if not isinstance(values, list | tuple):
        yield values
    else:
        for one in values:
            yield from _leaves(one)


def _number(name, value, high) -> None:
    if type(value) is bool or not isinstance(value, int | float | np.number):
        _refuse(name, "a real number", repr(value), "Pass a float", TypeError)
    if not 0 <= value <= high:
        _refuse(name, f"between 0 and {high:.4g}", repr(value), "Check its sign and size")


def _finite(name, x) -> None:
    if not (finite := np.isfinite(x)).all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        _refuse(name, "finite", f"{x[where]} at index {where}", "Clean the data first")


def _refuse(argument, expectation, got, advice, error=ValueError) -> NoReturn:
    raise error(f"{argument} must be {expectation}; got {got}. {advice}.")


KERAS = Convention(momentum=0.99, momentum_weighs="old", eps=1e-3, ddof=0)
PYTORCH = Convention(momentum=0.1, momentum_weighs="batch", eps=1e-5, ddof=1)
