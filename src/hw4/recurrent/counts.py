"""Parameters and sequential depth of recurrent and convolutional layers, as exact formulas.

With u units (or filters) and f input features. None of the counts contains the sequence length:
both kinds of layer share their weights, a convolution over positions, a recurrence over steps.
"""

from math import ceil

from hw4.runtime import integer


def simple_rnn(units: int, features: int) -> int:
    """Return u (f + u) + u: a matrix for the input, one for the state, and a bias.

    >>> simple_rnn(50, 1), simple_rnn(50, 50)
    (2600, 5050)
    """
    u, f = _positive(units=units, features=features)
    return u * (f + u) + u


def lstm(units: int, features: int) -> int:
    """Return 4 (u (f + u) + u): three gates and one candidate, each as large as a SimpleRNN.

    PyTorch keeps two bias vectors, 4 u more.

    >>> lstm(50, 1), lstm(50, 50)
    (10400, 20200)
    """
    return 4 * simple_rnn(units, features)


def gru(units: int, features: int, reset_after: bool = True) -> int:
    """Return 3 (u (f + u) + b u) with b = 2 biases if `reset_after`, else 1.

    `reset_after` is the form of cuDNN and PyTorch and the default of Keras; without it the count
    is that of Cho et al. (2014).

    >>> gru(50, 1), gru(50, 1, reset_after=False)
    (7950, 7800)
    """
    return 3 * simple_rnn(units, features) + 3 * int(units) * bool(reset_after)


def conv1d(filters: int, features: int, kernel_size: int) -> int:
    """Return k f u + u.

    >>> conv1d(50, 1, 3), conv1d(50, 50, 3)
    (200, 7550)
    """
    u, f, k = _positive(filters=filters, features=features, kernel_size=kernel_size)
    return k * f * u + u


def doubling_dilations(steps: int, kernel_size: int) -> list[int]:
    """Return the dilations 1, 2, 4, ... of the shortest such stack that sees all the steps.

    L layers see 1 + (k - 1)(2^L - 1) steps, so L grows like log2 of the length.
    Source: van den Oord et al. (2016), WaveNet, arXiv:1609.03499.

    >>> doubling_dilations(64, 3), len(doubling_dilations(1024, 3))
    ([1, 2, 4, 8, 16, 32], 10)
    """
    steps, k = _positive(steps=steps, kernel_size=kernel_size)
    if k < 2 and steps > 1:
        raise ValueError(f"kernel_size must be at least 2 to see {steps} steps; got {k}. Try 3.")
    dilations: list[int] = []
    while 1 + (k - 1) * sum(dilations) < steps:
        dilations.append(2 ** len(dilations))
    return dilations


def sequential_depth(kind: str, steps: int, kernel_size: int = 3) -> int:
    """Count the operations that must follow one another until the last output knows every step.

    Args:
        kind: `recurrent` (n, each state needs the one before), `stacked` (undilated convolutions,
            ceil((n - 1) / (k - 1)) layers), `dilated` (doubling dilations, about log2 n layers)
            or `single` (one convolution: 1, but it knows only k steps).
        steps: length n of the sequence.
        kernel_size: taps k of the convolutions.

    Raises:
        ValueError: unknown kind.

    >>> [sequential_depth(kind, 1024) for kind in ("recurrent", "stacked", "dilated", "single")]
    [1024, 512, 10, 1]
    """
    n, k = _positive(steps=steps, kernel_size=kernel_size)
    depths = {
        "recurrent": lambda: n,
        "stacked": lambda: ceil((n - 1) / (k - 1)),
        "dilated": lambda: len(doubling_dilations(n, k)),
        "single": lambda: 1,
    }
    if kind not in depths:
        raise ValueError(f"kind must be one of {', '.join(depths)}; got {kind!r}. Name one.")
    if k == 1 and kind in ("stacked", "dilated") and n > 1:
        raise ValueError(f"kernel_size must be at least 2 to see {n} steps; got 1. Try 3.")
    return depths[kind]()


def _positive(**sizes: int) -> list[int]:
    return [integer(name, value, 1) for name, value in sizes.items()]
