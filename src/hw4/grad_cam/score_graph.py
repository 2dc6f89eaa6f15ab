"""A Keras image classifier opened up: its score before the softmax, differentiated at a layer.

Nothing is added to the user's model: its graph is replayed with a zero shift e_k added to every
position of channel k at the chosen layer. Since d score / d e_k = sum_ij d score / d A_ijk, one
gradient of shape (channels,) per image says all that Grad-CAM needs, and skip connections
around the layer cost no second pass. The same code runs on TensorFlow, PyTorch and JAX.

Where the score is follows from the graph where that is certain (`_find_score`). Elsewhere the
outputs for a few probes are looked at: what lies in [0, 1], or sums to the same number for every
image, came through a squashing end and is refused.
"""

import inspect
import warnings

import keras
import numpy as np

_CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)
#: Layers whose weights act on each channel by itself: they mix nothing.
_PER_CHANNEL = (
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
WAY_OUT = (
    "Name with scores= the layer or tensor (n, classes) to differentiate, such as the layer before "
    "the softmax"
)


class ScoreGraph:
    """The part of a classifier from its input to the score before softmax or sigmoid.

    A head of one unit z (sigmoid or logit) counts as two classes with scores -z and z.

    Args:
        model: functional or built Sequential classifier.
        scores: None finds the score; the name of a layer, a layer or a tensor of the model names
            it, and is then taken exactly as it is.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is unbuilt, subclassed, quantised, has several inputs or outputs, or a head
            whose activation cannot be taken off.

    >>> ScoreGraph(keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3, name="c"),
    ...     keras.layers.Flatten(), keras.layers.Dense(5, activation="softmax")])).classes
    5
    """

    def __init__(self, model, scores=None):
        _check_model(model)
        self.input, output = model.inputs[0], model.outputs[0]
        self.named = scores is not None
        if self.named:
            source, self._dense, self.certain = _named(self.input, output, scores), None, False
            self.units = source.shape[1]
        else:
            source, self._dense, self.certain = _find_score(output)
            self.units = output.shape[1]
        self.classes = max(self.units, 2)
        self._function = keras.Function(self.input, source)
        self._calls = _calls(self._function)
        #: Operations that end before the score and return one 4-D tensor, in order of execution.
        self.spatial = [op for op in self._function.operations if len(self._shape(op)) == 4]

    def _shape(self, operation):
        outputs = self._calls[operation][0].outputs if operation in self._calls else ()
        return tuple(outputs[0].shape) if len(outputs) == 1 else ()

    def find(self, layer=None):
        """Return the operation that `layer` (name, layer or None) means, or a clear ValueError.

        None is the last layer with places (a 4-D output) and weights that mix channels: a
        convolution of any class, wrapped or inside a layer of one's own. One whose map is 1x1, as
        in a convolutional head, is taken only when there is no other. When branches run parallel
        to it, a warning names them.
        """
        names = [operation.name for operation in self.spatial]
        if layer is None:
            found = [op for op in self._function.operations if self._mixes(op)]
            wide = [op for op in found if self._map_size(op) != (1, 1)]
            if not found:
                raise ValueError(
                    "model must contain a convolutional layer with a 4-D output when layer is "
                    f"None; got layers with a 4-D output: {names}. Name one of them, if any."
                )
            operation = (wide or found)[-1]
            if isinstance(operation, keras.Model) and _convolutional(operation):
                raise _nested(operation, "its last convolutional layer")
            self._warn_of_branches(self._once(operation), wide or found)
            return operation
        for operation in self._function.operations:
            if layer is operation or layer == operation.name:
                if operation in self.spatial:
                    return self._once(operation)
                raise ValueError(
                    "layer must have a spatial (4-D) output that is computed from the images; got "
                    f"{operation.name!r} ({type(operation).__name__}) with output shape "
                    f"{self._shape(operation) or 'that of the input'}. Use one of {names}."
                )
        for operation in self._function.operations:
            if isinstance(operation, keras.Model) and _contains(operation, layer):
                raise _nested(operation, repr(getattr(layer, "name", layer)))
        raise ValueError(
            f"layer must be a layer before the model's score; got "
            f"{getattr(layer, 'name', layer)!r}. Use one of {names}."
        )

    def _once(self, operation):
        if len(self._calls[operation]) > 1:
            raise ValueError(
                f"layer must be used once in the model; got {operation.name!r}, which is shared "
                f"by {len(self._calls[operation])} calls. Name a layer after one of them."
            )
        return operation

    def _mixes(self, operation):
        """Whether an operation has places and weights other than a normalisation's."""
        if isinstance(operation, keras.Model) and _convolutional(operation):
            return True  # even if its output is flat: its convolution may be the last
        weights = getattr(operation, "weights", ())
        spatial = len(self._shape(operation)) == 4
        return spatial and bool(weights) and not isinstance(operation, _PER_CHANNEL)

    def _warn_of_branches(self, operation, others):
        above, queue = set(), list(self._calls[operation][0].input_tensors)
        while queue:
            parent, index, _ = queue.pop()._keras_history
            if parent not in above:
                above.add(parent)
                queue += parent._inbound_nodes[index].input_tensors
        beside = [other.name for other in others if other not in above and other is not operation]
        if beside:
            warnings.warn(
                f"layer=None took {operation.name!r}, the last of parallel branches, beside "
                f"{', '.join(map(repr, beside))}. Name with layer= another one, or the layer that "
                "joins them.",
                stacklevel=4,
            )

    def _channel_axis(self, operation):
        """1 or 3; a layer without `data_format` follows the convolutions, or Keras' default."""
        sources = [operation, *(op for op in self.spatial if _convolutional(op))]
        sources = [getattr(op, "layer", op) for op in sources]  # what a wrapper wraps
        formats = [op.data_format for op in sources if hasattr(op, "data_format")]
        chosen = formats[0] if formats else keras.config.image_data_format()
        return 1 if chosen == "channels_first" else 3

    def _map_size(self, operation):
        shape = self._shape(operation)
        return shape[2:] if self._channel_axis(operation) == 1 else shape[1:3]

    def check_squashed(self, images, classes):
        """Refuse scores that came through a squashing end which the graph does not show.

        The scores of the first two images, and of noise in their range and a hundred times it,
        must not all lie in [0, 1], nor have the same sum, or sum of exponentials, for every image.
        Scores that a caller named pass, except that one squashed unit has no predicted class.

        Args:
            images: (n, ...) in the model's own dtype.
            classes: None asks for the predicted class.
        """
        if self.certain or (self.named and (self.units > 1 or classes is not None)):
            return
        scores = self._probe(images)
        how = _how_squashed(scores)
        if how and self.named:
            raise ValueError(
                f"class_index must be given for scores of one squashed unit; got None, and {how}, "
                "of which every one would count as class 1. Pass 0 or 1."
            )
        if how:
            raise ValueError(
                f"model must end in scores that no softmax or sigmoid has squashed; got {how}. "
                f"{WAY_OUT}."
            )
        # Outputs that are the same for every image, such as those of a head of zeros, tell nothing.
        self.certain = _vary(scores)

    def _probe(self, images):
        """Scores (m, units), float64, of a few images and of noise; rows that overflow left out."""
        rng, (low, high) = np.random.default_rng(0), (images.min(), images.max())
        shape = (6, *images.shape[1:])
        if images.dtype.kind in "iub":
            noise = rng.integers(min(0, low), max(1, int(high)) + 1, shape)
        else:
            noise = rng.uniform(low, max(high, low + 1e-3), shape)
            noise *= np.array([1, 1, 100, 100, -1, -100]).reshape(-1, *[1] * (images.ndim - 1))
        probes = np.concatenate([images[:2], noise.astype(images.dtype)])
        with keras.StatelessScope():
            scores = self._raw_scores(keras.ops.convert_to_tensor(probes, dtype=self.input.dtype))
        scores = keras.ops.convert_to_numpy(keras.ops.cast(scores, "float32")).astype("float64")
        return scores[np.isfinite(scores).all(axis=1)]

    def _raw_scores(self, images, seen=lambda operation, outputs: outputs):
        """Scores (n, units); `seen` is told every operation's outputs and may replace them."""

        def inference(current):
            def call(*args, **kwargs):
                # A layer wired with training=True (Monte Carlo dropout) is overruled too.
                if "training" in inspect.signature(current.call).parameters:
                    kwargs["training"] = False
                return seen(current, current(*args, **kwargs))

            return call

        features = self._function._run_through_graph(images, operation_fn=inference)
        if self._dense is None:
            return features
        kernel = keras.ops.convert_to_tensor(self._dense.kernel)
        features = keras.ops.matmul(keras.ops.cast(features, kernel.dtype), kernel)
        if self._dense.use_bias:
            features = features + keras.ops.convert_to_tensor(self._dense.bias)
        return features

    def differentiate(self, images, classes, operation):
        """Return activations A (n, h, w, k) and sum_ij d score / d A_ijk (n, 1, 1, k).

        `classes` are ints (n,), or None for the highest score. Inference mode throughout; one
        forward and one backward pass.
        """
        axis = self._channel_axis(operation)
        shape = [len(images), 1, 1, 1]
        shape[axis] = self._shape(operation)[axis]
        images = keras.ops.convert_to_tensor(images, dtype=self.input.dtype)

        def score(shift):
            kept = []

            def seen(current, outputs):
                if current is operation:
                    outputs = outputs + keras.ops.cast(shift, outputs.dtype)
                    kept.append(outputs)
                return outputs

            # The scope keeps the variables and loss lists of the user's model as they were.
            with keras.StatelessScope():
                scores = self._raw_scores(images, seen)
            if self.units == 1:
                scores = keras.ops.concatenate([-scores, scores], axis=1)
            wanted = keras.ops.argmax(scores, axis=1) if classes is None else classes
            mask = keras.ops.one_hot(wanted, self.classes, dtype="bool")
            return keras.ops.sum(keras.ops.where(mask, scores, 0)), kept[0]

        gradient, activations = _gradient(score, keras.ops.zeros(shape, dtype="float32"))
        activations = keras.ops.cast(activations, "float32")
        return tuple(keras.ops.moveaxis(part, axis, 3) for part in (activations, gradient))


def _gradient(score, at):
    """Return (d score / d at, activations) for `score(at) -> (scalar, activations)`."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(at)
            value, activations = score(at)
        zero = tf.UnconnectedGradients.ZERO
        return tape.gradient(value, at, unconnected_gradients=zero), activations
    if backend == "torch":
        import torch

        with torch.enable_grad():
            value, activations = score(at.requires_grad_())
        (gradient,) = torch.autograd.grad(value, at, materialize_grads=True)
        return gradient, activations.detach()
    if backend == "jax":
        import jax

        return jax.grad(score, has_aux=True)(at)
    raise ValueError(f"keras backend must be tensorflow, torch or jax; got {backend!r}.")


def _check_model(model):
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a keras.Model; got {type(model).__name__}.")
    owner = next(kind for kind in type(model).__mro__ if "call" in vars(kind)).__name__
    if owner not in ("Functional", "Sequential"):
        raise ValueError(
            f"model must be functional or Sequential; got {type(model).__name__} with its own "
            "call(), whose layers cannot be followed. Rebuild it with the functional API."
        )
    if not hasattr(model, "inputs"):
        raise ValueError(
            f"model must be built; got {model.name!r} without an input shape. Call it on images "
            "or model.build((None, height, width, channels)) first."
        )
    for part in model._flatten_layers():
        if getattr(part, "quantization_mode", None):
            raise ValueError(
                f"model must have float weights; got {part.quantization_mode} weights in "
                f"{part.name!r}, through which no gradient flows. Explain the float model that was "
                "quantised."
            )
    shapes = [tuple(tensor.shape) for tensor in model.outputs]
    if len(model.inputs) != 1 or len(shapes) != 1 or len(shapes[0]) != 2:
        raise ValueError(
            "model must have one input and one output of shape (n, classes); got "
            f"{len(model.inputs)} inputs and outputs {shapes}. Cut out the part to explain."
        )


def _calls(function):
    """Operation to its calls (nodes) on the way of a `keras.Function`."""
    calls = {}
    for node in (node for level in function._nodes_by_depth.values() for node in level):
        if not node.is_input:
            calls.setdefault(node.operation, []).append(node)
    return calls


def _named(source, output, scores):
    """The tensor (n, classes) that `scores` names: by a layer, a layer's name, or itself."""
    if isinstance(scores, keras.KerasTensor):
        tensor, name = scores, scores.name
    else:
        name = getattr(scores, "name", scores)
        calls = _calls(keras.Function(source, output))
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


def _producer(tensor):
    """The operation that made a symbolic tensor, and that operation's inputs."""
    operation, index, _ = tensor._keras_history
    return operation, operation._inbound_nodes[index]


def _squashes(operation, kinds=_SQUASHES):
    """Whether the function that an operation applies last is one of `kinds`."""
    applied = getattr(operation, "activation", None) or operation
    if isinstance(operation, keras.layers.Lambda):
        # An own function's name promises nothing.
        applied = operation.function
        if getattr(applied, "__module__", "").split(".")[0] not in ("keras", "tensorflow", "jax"):
            return False
    name = getattr(applied, "__name__", type(applied).__name__).lower()
    return any(kind in name for kind in kinds)


def _keeps_order(operation, node, tensor):
    """Whether each class's output rises with that class's input alone, the same for all."""
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


def _find_score(output):
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
        # keras.layers.Softmax, keras.ops.softmax and their kin have no `activation` of their own.
        function = not hasattr(operation, "activation") and _squashes(operation)
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


def _squashing(tensor):
    """The operation that squashes if nothing but squashed numbers come together in a tensor.

    Weights that mix end the search with None. A nested model counts as squashing, since nobody
    looks into it.
    """
    operation, node = _producer(tensor)
    if _squashes(operation) or isinstance(operation, keras.Model):
        return operation
    if getattr(operation, "weights", ()) and not isinstance(operation, _PER_CHANNEL):
        return None
    found = [_squashing(source) for source in node.input_tensors]
    return found[0] if found and all(found) else None


def _vary(scores):
    """Whether scores (m, units) differ between the rows by more than rounding."""
    return len(scores) > 1 and np.ptp(scores, axis=0).max() > 1e-5 * np.abs(scores).max()


def _same(totals):
    return np.ptp(totals) <= 1e-4 * abs(totals.mean())


def _how_squashed(scores):
    """In words what betrays squashed scores (m, units), or None."""
    if not len(scores):
        return None
    low, high, varied = scores.min(), scores.max(), _vary(scores)
    seen = f"numbers from {low:.3g} to {high:.3g}"
    if scores.shape[1] > 1:
        sums, powers = scores.sum(axis=1), np.exp(np.minimum(scores, 700)).sum(axis=1)
        total = sums.mean()
        if (low >= -1e-6 or high <= 1e-6) and _same(sums) and (varied or abs(total - 1) < 1e-4):
            return f"{seen} that sum to {total:.4g} for every image"
        if high <= 1e-6 and varied and _same(powers):
            return f"{seen} whose exponentials sum to {powers.mean():.4g} for every image"
    return f"{seen}, all from 0 to 1" if varied and low >= -1e-6 and high <= 1 + 1e-6 else None


def _convolutional(operation):
    if isinstance(operation, keras.Model):
        return any(_convolutional(layer) for layer in operation.layers)
    return isinstance(operation, _CONVOLUTIONS)


def _contains(model, layer):
    return any(
        layer is inner
        or layer == inner.name
        or (isinstance(inner, keras.Model) and _contains(inner, layer))
        for inner in model.layers
    )


def _nested(operation, what):
    return ValueError(
        f"model must be one flat graph; got {what} inside the nested model {operation.name!r}, "
        "which Keras cannot look into. Build the model on nested.input and nested.output, or "
        f"explain the nested output itself with layer={operation.name!r}."
    )
