"""Where a classifier's score is: before the softmax or sigmoid at its end, if that is certain.

The graph shows it where the squashing end is one of Keras' own and what follows keeps the order
of the classes (`find_score`). Elsewhere numbers tell (`how_squashed`): what lies in [0, 1], or sums
to the same for every image, came through a squashing end.
"""

import keras
import numpy as np

#: Layers whose weights act on each channel by itself: they mix nothing.
PER_CHANNEL = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.Normalization,
    keras.layers.RMSNormalization,
    keras.layers.PReLU,
)
#: Layers that hand their input on unchanged in inference mode; the two last if the shape stays.
_COPIES = (
    keras.layers.Identity,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.ActivityRegularization,
    keras.layers.Flatten,
    keras.layers.Reshape,
)
#: Operations of `keras.ops` that keep the order of the classes; the arithmetic ones do so with a
#: number (above 0 where it multiplies).
_INCREASING = ("Cast", "Clip", "Exp", "Log", "Log1p", "Log2", "Log10", "Reshape", "Sqrt")
_ARITHMETIC = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide")
_SQUASHES = ("softmax", "sigmoid", "sparsemax")
_KERAS = ("keras", "tensorflow", "jax", "torch")
#: As the classes of layers and operations are called, in small letters: `Relu6`, `LogSoftmax`.
_ACTIVATIONS = {name.replace("_", "") for name in dir(keras.activations)}
WAY_OUT = (
    "Name with scores= the layer or tensor (n, classes) to differentiate, such as the layer before "
    "the softmax"
)


def calls_of(function) -> dict[keras.Operation, list]:
    """Operation to its calls (nodes) on the way of a `keras.Function`."""
    calls = {}
    for node in (node for level in function._nodes_by_depth.values() for node in level):
        if not node.is_input:
            calls.setdefault(node.operation, []).append(node)
    return calls


def named_score(source, output, scores) -> keras.KerasTensor:
    """The tensor (n, classes) that `scores` names: by a layer, a layer's name, or itself."""
    if isinstance(scores, keras.KerasTensor):
        tensor, name = scores, scores.name
    else:
        name = getattr(scores, "name", scores)
        calls = calls_of(keras.Function(source, output))
        found = [op for op in calls if scores is op or scores == op.name]
        if not found or len(calls[found[0]]) > 1 or len(calls[found[0]][0].outputs) > 1:
            flat = [op.name for op in calls if len(calls[op][0].outputs[0].shape) == 2]
            raise ValueError(
                "scores must be a layer that the model uses once, its name, or a tensor of the "
                f"model; got {name!r}. Use one of {flat}."
            )
        tensor = calls[found[0]][0].outputs[0]
    if len(tensor.shape) != 2 or tensor.shape[1] is None:
        raise ValueError(
            f"scores must have shape (n, classes); got {name!r} with shape {tuple(tensor.shape)}."
            " Name a later layer."
        )
    try:
        keras.Function(source, tensor)
    except ValueError:
        raise ValueError(
            f"scores must be computed from the model's input; got {name!r}. Take a tensor of this "
            "model."
        ) from None
    return tensor


def _producer(tensor) -> tuple:
    """The operation that made a symbolic tensor, and that operation's inputs."""
    operation, index, _ = tensor._keras_history
    return operation, operation._inbound_nodes[index]


def _is_keras(function) -> bool:
    """Whether a function or class is Keras' own, or its backend's."""
    return (getattr(function, "__module__", None) or "").split(".")[0] in _KERAS


def _squashes(operation, kinds=_SQUASHES) -> bool:
    """Whether the function that an operation applies last is one of `kinds`."""
    applied = getattr(operation, "activation", None)
    if applied is None:
        # The name of a function or class of one's own promises nothing.
        function = isinstance(operation, keras.layers.Lambda)
        applied = operation.function if function else type(operation)
        if not _is_keras(applied):
            return False
    name = getattr(applied, "__name__", type(applied).__name__).lower()
    return any(kind in name for kind in kinds)


def _keeps_order(operation, node, tensor) -> bool:
    """Whether each class's output rises with that class's input alone, the same for all."""
    if not _is_keras(type(operation)):
        return False
    if isinstance(operation, _COPIES):
        return True
    if isinstance(operation, keras.layers.Rescaling):
        return np.ndim(operation.scale) == np.ndim(operation.offset) == 0 < operation.scale
    kind = type(operation).__name__
    if not type(operation).__module__.startswith("keras.src.ops."):
        return False
    if kind in _INCREASING:
        return True
    first, *others = node.arguments.args[:2]
    if kind in ("Add", "Multiply") and first is not node.input_tensors[0]:
        first, others = others[0], [first]
    numbers = all(
        isinstance(x, (int, float)) and (x > 0 or kind in _ARITHMETIC[:2]) for x in others
    )
    return kind in _ARITHMETIC and first is node.input_tensors[0] and numbers


def find_score(output) -> tuple[keras.KerasTensor, keras.layers.Dense | None, bool]:
    """Follow the output back to its score: (tensor, its Dense if any, whether it is certain).

    The tensor is the one before all activations at the end, or the input of the Dense layer
    whose activation has to go. Layers that hand on or only rescale (`_keeps_order`) are looked
    through if a squashing function lies behind them.
    """
    tensor = score = output
    certain = softmax = False
    while True:
        operation, node = _producer(tensor)
        softmax = softmax or _squashes(operation, ("softmax",))
        # keras.layers.Softmax, keras.ops.relu6 and their kin have no `activation` of their own.
        named = _is_keras(type(operation)) and type(operation).__name__.lower() in _ACTIVATIONS
        function = not hasattr(operation, "activation") and (named or _squashes(operation))
        last = function or isinstance(operation, keras.layers.Activation)
        through = last or _keeps_order(operation, node, tensor)
        if not through or node.input_tensors[0].shape[1:] != tensor.shape[1:]:
            break
        tensor = node.input_tensors[0]
        squashed = _squashes(operation)
        certain = certain or squashed
        if squashed or (score is node.outputs[0] and (last or isinstance(operation, _COPIES))):
            score = tensor
    if output.shape[1] == 1 and softmax:
        raise ValueError(
            "model must not end in a softmax over one unit, whose output is always 1; got "
            f"output shape {tuple(output.shape)}. Use a sigmoid."
        )
    dense = type(operation).call is keras.layers.Dense.call
    if dense and (score is tensor or _squashes(operation)):
        return node.input_tensors[0], operation, certain or _squashes(operation)
    operation = _squashing(score)
    if operation:
        raise ValueError(
            f"model must end in a layer whose activation can be taken off; got {operation.name!r} "
            f"({type(operation).__name__}), and what follows mixes its outputs. {WAY_OUT}, or give "
            "a softmax its own Activation layer at the end, and unpack a nested model into the "
            "flat graph."
        )
    return score, None, certain


def _squashing(tensor) -> keras.Operation | None:
    """The operation that squashes if nothing but squashed numbers come together in a tensor.

    Weights that mix end the search with None. A nested model counts as squashing, since nobody
    looks into it.
    """
    operation, node = _producer(tensor)
    if _squashes(operation) or isinstance(operation, keras.Model):
        return operation
    if getattr(operation, "weights", ()) and not isinstance(operation, PER_CHANNEL):
        return None
    found = [_squashing(source) for source in node.input_tensors]
    return found[0] if found and all(found) else None


def vary(scores) -> bool:
    """Whether scores (m, units) differ between the rows by more than rounding."""
    return len(scores) > 1 and np.ptp(scores, axis=0).max() > 1e-5 * np.abs(scores).max()


def _same(totals) -> bool:
    return np.ptp(totals) <= 1e-4 * abs(totals.mean())


def how_squashed(scores) -> str | None:
    """In words what betrays squashed scores (m, units), or None."""
    if not len(scores):
        return None
    low, high, varied = scores.min(), scores.max(), vary(scores)
    seen = f"numbers from {low:.3g} to {high:.3g}"
    if scores.shape[1] > 1:
        sums, powers = scores.sum(axis=1), np.exp(np.minimum(scores, 700)).sum(axis=1)
        total = sums.mean()
        if (low >= -1e-6 or high <= 1e-6) and _same(sums) and (varied or abs(total - 1) < 1e-4):
            return f"{seen} that sum to {total:.4g} for every image"
        if high <= 1e-6 and varied and _same(powers):
            return f"{seen} whose exponentials sum to {powers.mean():.4g} for every image"
    varied = varied or low == 1  # a softmax over one unit
    return f"{seen}, all from 0 to 1" if varied and low >= -1e-6 and high <= 1 + 1e-6 else None
