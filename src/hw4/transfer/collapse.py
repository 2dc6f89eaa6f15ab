"""A classifier that always gives one answer: how to notice it, and guards against two causes.

Accuracy alone does not show a collapse: it equals the share of a class, which may look good.
"""

import keras
import numpy as np

from hw4.runtime import real

#: Binary cross-entropy in float32 of an output of exactly 1 for a label 0: Keras clips at 1e-7,
#: and 1 - (1 - 1e-7) is 2^-23 there, so -ln(2^-23) = 23 ln 2 = 15.942385.
SOFTMAX_LOSS = float(23 * np.log(2))
_LOSS_TOLERANCE = 1e-3


def diagnose_collapse(y_true, y_prob, loss: float | None = None) -> tuple[str, ...]:
    """Say in words everything that is suspicious about the predictions of a binary classifier.

    A prediction is class 1 where its probability is at least 1/2. Looked for: one class for every
    image, or for 95 % of them without the other class being found; one number for every image;
    accuracy equal to a class share; balanced accuracy 1/2; the constant 1 of a softmax over one
    unit, with its loss, 15.942385 times the share of class 0.

    Args:
        y_true: (n,) or (n, 1) labels, 0 or 1.
        y_prob: (n,) or (n, 1) probabilities of class 1.
        loss: mean binary cross-entropy, when known.

    Returns:
        The findings; empty for a classifier that shows none of these signs.

    Raises:
        ValueError: no images, other labels than 0 and 1, unequal lengths, or numbers that are no
            probabilities.

    >>> for finding in diagnose_collapse([1, 1, 0], [0.8, 0.8, 0.8]):
    ...     print(finding)
    constant prediction: class 1 for all 3 images
    constant output: 0.8 for every image
    accuracy 0.6666666666666666 is the share of class 1
    balanced accuracy is 0.5, that of a coin
    """
    y_true, y_prob = checked(y_true, y_prob)
    predicted = y_prob >= 0.5
    share = float(y_true.mean())
    findings = []
    if predicted.all() or not predicted.any():
        answer = int(predicted[0])
        findings.append(f"constant prediction: class {answer} for all {len(y_true)} images")
    elif almost := _almost_constant(y_true, predicted):
        findings.append(almost)
    if len(y_prob) > 1 and np.ptp(y_prob) <= 1e-6:
        findings.append(f"constant output: {y_prob[0]:.6g} for every image")
    right = int((predicted == y_true).sum())
    for label, count in ((1, int(y_true.sum())), (0, int(len(y_true) - y_true.sum()))):
        if right == count:
            shown = right / len(y_true)
            findings.append(f"accuracy {shown!r} is the share of class {label}")
    if share in (0, 1):
        findings.append(f"only class {int(share)} occurs, so balanced accuracy says nothing")
    elif _balanced_is_half(y_true, predicted):
        findings.append("balanced accuracy is 0.5, that of a coin")
    if (y_prob == 1).all():
        findings.append("every output is exactly 1: the mark of a softmax over one unit")
    if loss is not None and share < 1 and abs(loss - SOFTMAX_LOSS * (1 - share)) < _LOSS_TOLERANCE:
        findings.append(
            f"loss {loss:.6f} is {SOFTMAX_LOSS:.6f} times the share of class 0: "
            "an output that is always exactly 1"
        )
    return tuple(findings)


def check_head(model) -> keras.Model:
    """Return the model, unless it is a softmax (or its logarithm) over one unit.

    softmax(z) = e^z / e^z = 1 whatever z is, so its output is constant. The training loss need not
    show it: on TensorFlow, Keras 3 takes the loss from z, behind the softmax, and it falls as with
    a sigmoid, while every prediction stays 1. Such a softmax is found by its name, and where it has
    none (a `Lambda`, an own layer, e^z / sum e^z by hand) behind the last layer that has weights
    by trying what comes out for inputs and weights that differ.

    Raises:
        ValueError: with the reason and the cure.
    """
    if model.outputs[0].shape[-1] != 1:
        return model
    weighted = [layer for layer in model.layers if layer.weights]
    tail = model.layers[model.layers.index(weighted[-1]) :] if weighted else model.layers
    single = [layer for layer in tail if layer.output.shape[-1] == 1]
    # Before the tail only what is (n, 1): a softmax over places has one channel, too.
    parts = (*model._flatten_layers(include_self=False), *getattr(model, "operations", ()))
    single += [part for part in parts if _shape(part) == (1,)]
    named = [name for layer in single for name in _names(layer) if "softmax" in name]
    if named or (weighted and _is_constant(weighted[-1], model)):
        raise ValueError(
            f"head must not be a softmax over one unit; got {named[0] if named else 'one'} behind "
            f"{tail[0].name}, whose output is e^z / e^z = 1 for every image, with a cross-entropy "
            f"of {SOFTMAX_LOSS:.6f} times the share of class 0. Use a sigmoid."
        )
    return model


def _shape(part) -> tuple | None:
    """Shape of the one tensor that a layer or an operation returns, without the batch."""
    output = getattr(part, "output", None)  # a layer inside a wrapper was never called by itself
    return tuple(output.shape[1:]) if isinstance(output, keras.KerasTensor) else None


def _names(layer) -> list[str]:
    """Name what a layer or an operation computes: its class, its activation, its function."""
    parts = type(layer), getattr(layer, "activation", None), getattr(layer, "function", None)
    names = [getattr(part, "__name__", type(part).__name__) for part in parts]
    return [name.lower() for name in names]


def _is_constant(layer, model) -> bool:
    """Say whether inputs of `layer` that differ all give one number, whatever its weights are."""
    source = layer.input
    simple = isinstance(source, keras.KerasTensor) and None not in source.shape[1:]
    if isinstance(layer, keras.Model) or not simple:
        return False
    # Small ones, too, for which no sigmoid of an honest head is rounded to 0 or 1.
    scales = np.logspace(-3, 0, 8).reshape(-1, *[1] * (len(source.shape) - 1))
    rng = np.random.default_rng(0)
    inputs = (scales * rng.normal(size=(8, *source.shape[1:]))).astype("f4")
    rest = keras.Model(source, model.outputs[0])
    own = rest.trainable_variables, rest.non_trainable_variables
    # A head of zeros is constant, too, until it is trained, or thawed; a variance is above 0.
    drawn = [
        [abs(rng.normal(0, 0.1, v.shape)) if "float" in v.dtype else v.value for v in part]
        for part in own
    ]
    for trainable, frozen in (own, drawn):
        outputs, _ = rest.stateless_call(trainable, frozen, inputs)
        outputs = keras.ops.convert_to_numpy(outputs)
        if not np.isfinite(outputs).all() or np.ptp(outputs) > 1e-6 * abs(outputs).max():
            return False
    return True


def checked(y_true, y_prob) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (n,) int and probabilities (n,) float64, or say what is wrong with them."""
    y_true, y_prob = real("y_true", y_true), real("y_prob", y_prob).astype(np.float64)
    for name, array in (("y_true", y_true), ("y_prob", y_prob)):
        if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)) or not array.size:
            raise ValueError(
                f"{name} must have shape (n,) or (n, 1) with n at least 1; got {array.shape}. "
                "Give one number an image."
            )
    y_true, y_prob = y_true.ravel(), y_prob.ravel()
    if len(y_true) != len(y_prob):
        raise ValueError(
            f"y_prob must have as many entries as y_true; got {len(y_prob)} and {len(y_true)}."
        )
    if not np.isin(y_true, (0, 1)).all():
        bad = y_true[~np.isin(y_true, (0, 1))][0]
        raise ValueError(f"y_true must hold 0 and 1 only; got {bad:g}. Encode the two classes.")
    if not ((y_prob >= 0) & (y_prob <= 1)).all():
        bad = y_prob[~((y_prob >= 0) & (y_prob <= 1))][0]
        raise ValueError(
            f"y_prob must be from 0 to 1; got {float(bad)!r}. Apply the sigmoid, and look for NaN "
            "in the training loss."
        )
    return y_true.astype(int), y_prob


def _almost_constant(y_true, predicted) -> str | None:
    """Name the class that gets 95 % of the predictions without the other class being found."""
    recalls = [float(np.mean(predicted[y_true == label] == label)) for label in np.unique(y_true)]
    answer = int(predicted.mean() >= 0.5)
    count = int((predicted == answer).sum())
    if count < 0.95 * len(predicted) or len(recalls) < 2 or np.mean(recalls) >= 0.55:
        return None
    return f"almost constant prediction: class {answer} for {count} of {len(predicted)} images"


def _balanced_is_half(y_true, predicted) -> bool:
    """Compare the two recalls' sum with 1 in integers, free of rounding."""
    positives, negatives = int(y_true.sum()), int((1 - y_true).sum())
    hits, rejections = (
        int((predicted & (y_true == 1)).sum()),
        int((~predicted & (y_true == 0)).sum()),
    )
    return hits * negatives + rejections * positives == positives * negatives
