"""Windows of a series, and a guard of their axes.

Axis order everywhere: (samples, steps, features). Step t of a window is one hour, and its
features are what was measured in that hour.
"""

import numpy as np

from hw4.runtime import integer, real


def windows(
    past: np.ndarray, target: np.ndarray, length: int, known: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a series into windows that end one step before what they are to predict.

    X[i] = [past[i : i + length], known[i + 1 : i + length + 1]],  y[i] = target[i + length]

    so the last row of X[i] holds the newest measurement, and the calendar of the predicted hour.

    Args:
        past: (n, f) what is known only after its hour, such as consumption.
        target: (n,) what is predicted.
        length: steps a window, from 1 to n - 1.
        known: (n, k) what is known in advance, such as the calendar.

    Returns:
        X (n - length, length, f + k) and y (n - length,), both float32.

    Raises:
        ValueError: a length that is no integer or leaves no window, or parts of other rows.

    >>> X, y = windows(np.array([[1.0], [2], [3], [4]]), np.array([1.0, 2, 3, 4]), length=2)
    >>> X[..., 0].tolist(), y.tolist()
    ([[1.0, 2.0], [2.0, 3.0]], [3.0, 4.0])
    """
    target = real("target", target).astype(np.float32)
    parts = [_matrix(past, "past", len(target))]
    if known is not None:
        # Row t of a window carries what is known at t about the hour t + 1.
        parts.append(np.roll(_matrix(known, "known", len(target)), -1, axis=0))
    length = integer(
        "length", length, 1, len(target) - 1, "A window takes fewer rows than there are."
    )
    table = np.concatenate(parts, axis=1)
    view = np.lib.stride_tricks.sliding_window_view(table[:-1], length, axis=0)
    return np.ascontiguousarray(view.transpose(0, 2, 1)), target[length:]


def check_axes(X: np.ndarray, *, steps: int, features: int) -> np.ndarray:
    """Return X unchanged if it is (n, steps, features), else name the readings it allows.

    Raises:
        ValueError: another shape; the text says what the network would take it for.

    >>> check_axes(np.zeros((5, 6, 1)), steps=1, features=6)
    Traceback (most recent call last):
    ...
    ValueError: X must have shape (n, steps=1, features=6); got (5, 6, 1), which is read as \
6 time steps of 1 feature. If it is meant as 1 time step of 6 features, pass X.reshape(n, 1, 6).
    """
    shape = np.shape(X)
    if len(shape) == 3 and shape[1:] == (steps, features):
        return X
    wanted = f"X must have shape (n, steps={steps}, features={features}); got {shape}"
    if len(shape) == 2:
        width = shape[1]
        raise ValueError(
            f"{wanted}, which has no step axis: {_reading(width, 1)}, or {_reading(1, width)}? "
            f"Pass X.reshape(n, {width}, 1) for the first, X.reshape(n, 1, {width}) for the second."
        )
    if len(shape) != 3:
        raise ValueError(f"{wanted}. Bring X into samples, steps, features.")
    rows, columns = shape[1:]
    # With one axis of length 1 both readings hold the same numbers in the same order.
    cure = f"reshape(n, {columns}, {rows})" if 1 in shape[1:] else "transpose(0, 2, 1)"
    raise ValueError(
        f"{wanted}, which is read as {_reading(rows, columns)}. If it is meant as "
        f"{_reading(columns, rows)}, pass X.{cure}."
    )


def _matrix(values, name: str, rows: int) -> np.ndarray:
    values = real(name, values).astype(np.float32)
    if values.ndim != 2 or len(values) != rows:
        raise ValueError(
            f"{name} must have shape (n, features) with n = {rows} as in target; got "
            f"{values.shape}. Add the feature axis or cut it to the same rows."
        )
    return values


def _reading(steps: int, features: int) -> str:
    return f"{steps} time step{'s' * (steps != 1)} of {features} feature{'s' * (features != 1)}"
