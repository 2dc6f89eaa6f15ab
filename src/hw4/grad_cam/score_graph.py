"""A Keras image classifier opened up: its score before the softmax, differentiated at a layer.

Nothing is added to the user's model: its graph is replayed with a zero shift e_k added to every
position of channel k at the chosen layer. Since d score / d e_k = sum_ij d score / d A_ijk, one
gradient of shape (channels,) per image says all that Grad-CAM needs, and skip connections
around the layer cost no second pass. The same code runs on TensorFlow, PyTorch and JAX.

The replay is compiled once for a model, a layer and scores (not on PyTorch), for any number of
images, and kept as long as the model lives: new weights are seen, and a changed structure makes a
new one (`opened`).
"""

import functools
import inspect
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from hw4.grad_cam.head import (
    PER_CHANNEL,
    WAY_OUT,
    calls_of,
    find_score,
    how_squashed,
    named_score,
    vary,
)

_CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)
#: What every layer has, and what says nothing of what it computes.
_BOOKKEEPING = set(vars(keras.layers.Layer())) - {"_dtype_policy"}
_PLAIN = (bool, int, float, str, tuple, type(None))
_KEPT = weakref.WeakKeyDictionary()


def opened(model, scores=None) -> "ScoreGraph":
    """Return the `ScoreGraph` of a model: the one kept from an earlier call while it still holds.

    It is kept until the model is freed, or until a layer or an attribute of a layer is another one
    than before. What a layer reads from elsewhere, such as a Python variable inside a `Lambda`, is
    seen once, as in `model.predict`.
    """
    if not isinstance(model, keras.Model) or not hasattr(model, "inputs"):
        return ScoreGraph(model, scores)  # which says what is wrong
    structure = _structure(model)
    before, graphs = _KEPT.get(model, ((), {}))
    if not _unchanged(before, structure):
        graphs = {}
        _KEPT[model] = structure, graphs
    if scores not in graphs:
        graphs[scores] = ScoreGraph(model, scores)
    return graphs[scores]


def _structure(model) -> list:
    """All that the compiled code depends on besides the values of weights, in one flat list."""
    found = [*model.inputs, *model.outputs]
    for part in model._flatten_layers(include_self=False):
        found.append(part)
        if isinstance(part, keras.Model):
            found += (*getattr(part, "inputs", ()), *getattr(part, "outputs", ()))
            continue
        for name, value in vars(part).items():
            if isinstance(value, list):
                found += value
            elif name not in _BOOKKEEPING and value is not model:  # which would never be freed
                found.append(value)
    return found


def _unchanged(before, after) -> bool:
    """Whether two structures hold the same objects, and plain values that are equal."""
    return len(before) == len(after) and all(
        a is b or (type(a) is type(b) and isinstance(a, _PLAIN) and a == b)
        for a, b in zip(before, after, strict=True)
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

    def __init__(self, model, scores=None) -> None:
        _check_model(model)
        self.input, output = model.inputs[0], model.outputs[0]
        self.named = scores is not None
        if self.named:
            source, self._dense, self.certain = named_score(self.input, output, scores), None, False
            self.units = source.shape[1]
        else:
            source, self._dense, self.certain = find_score(output)
            self.units = output.shape[1]
        self.classes = max(self.units, 2)
        self._function = keras.Function(self.input, source)
        self._calls = calls_of(self._function)
        self._steps = {}
        parts = [*self._calls, *([self._dense] if self._dense else ())]
        held = (v for part in parts for v in getattr(part, "variables", ()))
        self._variables = list({id(variable): variable for variable in held}.values())
        self._takes_training = {
            op for op in self._calls if "training" in inspect.signature(op.call).parameters
        }
        #: Operations that end before the score and return one 4-D tensor, in order of execution.
        self.spatial = [op for op in self._function.operations if len(self._shape(op)) == 4]

    def _shape(self, operation) -> tuple:
        outputs = self._calls[operation][0].outputs if operation in self._calls else ()
        return tuple(outputs[0].shape) if len(outputs) == 1 else ()

    def find(self, layer=None) -> keras.Operation:
        """Return the operation that `layer` (name, layer or None) means, or a clear ValueError.

        None is the last layer with places (a 4-D output) and weights that mix channels: a
        convolution of any class, wrapped or inside a layer of one's own. One whose map is 1x1, as
        in a convolutional head, is taken only when there is no other. When branches run parallel
        to it, a warning names them.
        """
        names = [operation.name for operation in self.spatial]
        if layer is None:
            operation, beside = self._last
            if beside:
                warnings.warn(
                    f"layer=None took {operation.name!r}, the last of parallel branches, beside "
                    f"{', '.join(map(repr, beside))}. Name with layer= another one, or the layer "
                    "that joins them.",
                    stacklevel=3,
                )
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

    def _once(self, operation) -> keras.Operation:
        if len(self._calls[operation]) > 1:
            raise ValueError(
                f"layer must be used once in the model; got {operation.name!r}, which is shared "
                f"by {len(self._calls[operation])} calls. Name a layer after one of them."
            )
        return operation

    def _mixes(self, operation) -> bool:
        """Whether an operation has places and weights other than a normalisation's."""
        if isinstance(operation, keras.Model) and _convolutional(operation):
            return True  # even if its output is flat: its convolution may be the last
        weights = getattr(operation, "weights", ())
        spatial = len(self._shape(operation)) == 4
        return spatial and bool(weights) and not isinstance(operation, PER_CHANNEL)

    @functools.cached_property
    def _last(self) -> tuple[keras.Operation, list[str]]:
        """The operation that `layer=None` means, and the names of branches parallel to it."""
        found = [op for op in self._function.operations if self._mixes(op)]
        found = [op for op in found if self._map_size(op) != (1, 1)] or found
        if not found:
            raise ValueError(
                "model must contain a convolutional layer with a 4-D output when layer is None; "
                f"got layers with a 4-D output: {[op.name for op in self.spatial]}. Name one of "
                "them, if any."
            )
        operation = found[-1]
        if isinstance(operation, keras.Model) and _convolutional(operation):
            raise _nested(operation, "its last convolutional layer")
        above, queue = {operation}, list(self._calls[self._once(operation)][0].input_tensors)
        while queue:
            parent, index, _ = queue.pop()._keras_history
            if parent not in above:
                above.add(parent)
                queue += parent._inbound_nodes[index].input_tensors
        return operation, [other.name for other in found if other not in above]

    def _channel_axis(self, operation) -> int:
        """1 or 3; a layer without `data_format` follows the convolutions, or Keras' default."""
        sources = [operation, *(op for op in self.spatial if _convolutional(op))]
        sources = [getattr(op, "layer", op) for op in sources]  # what a wrapper wraps
        formats = [op.data_format for op in sources if hasattr(op, "data_format")]
        chosen = formats[0] if formats else keras.config.image_data_format()
        return 1 if chosen == "channels_first" else 3

    def _map_size(self, operation) -> tuple:
        shape = self._shape(operation)
        return shape[2:] if self._channel_axis(operation) == 1 else shape[1:3]

    def check_squashed(self, images, classes) -> None:
        """Refuse scores that came through a squashing end which the graph does not show.

        The scores of the first two images, and of noise in their range (of float inputs up to 1e9
        times it), must not all lie in [0, 1], nor have the same sum, or sum of exponentials, for
        every image. Scores that a caller named pass, except that one squashed unit has no
        predicted class.

        Args:
            images: (n, ...) in the model's own dtype.
            classes: None asks for the predicted class.
        """
        if self.certain or (self.named and (self.units > 1 or classes is not None)):
            return
        scores = self._probe(images)
        how = how_squashed(scores)
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
        self.certain = vary(scores)

    def _probe(self, images) -> np.ndarray:
        """Scores (m, units), float64, of a few images and of noise; rows that overflow left out."""
        rng, (low, high) = np.random.default_rng(0), (images.min(), images.max())
        shape = (6, *images.shape[1:])
        if images.dtype.kind in "iub":
            noise = rng.integers(min(0, low), max(1, int(high)) + 1, shape)
        else:
            noise = rng.uniform(low, max(high, low + 1e-3), shape)
            noise *= np.array([1, 100, 1e9, -1, -100, -1e9]).reshape(-1, *[1] * (images.ndim - 1))
        with np.errstate(over="ignore"):
            probes = np.concatenate([images[:2], noise.astype(images.dtype)])
        with keras.StatelessScope():
            scores = self._scores(keras.ops.convert_to_tensor(probes, dtype=self.input.dtype))
        scores = keras.ops.convert_to_numpy(keras.ops.cast(scores, "float32")).astype("float64")
        return scores[np.isfinite(scores).all(axis=1)]

    def _scores(self, images, seen=lambda operation, outputs: outputs) -> Any:
        """Scores (n, units); `seen` is told every operation's outputs and may replace them."""

        def inference(current) -> Callable:
            def call(*args, **kwargs) -> Any:
                # A layer wired with training=True (Monte Carlo dropout) is overruled too.
                if current in self._takes_training:
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

    def maps(self, images, classes, operation, batch_size) -> np.ndarray:
        """Return Grad-CAM's maps before the ReLU, sum_k a_k A_ijk with a_k = mean_ij dz / dA_ijk.

        Inference mode throughout; one forward and one backward pass a batch.

        Args:
            images: (n, ...) in the model's own dtype.
            classes: ints (n,), or None for the highest score.
            operation: what `find` returned.
            batch_size: images a pass.

        Returns:
            (n, h, w) float32.
        """
        classes = np.full(len(images), -1, "int32") if classes is None else classes
        if operation not in self._steps:
            self._steps[operation] = _compiled(
                lambda images, classes: self._step(images, classes, operation),
                self._variables,
                self.input,
            )
        step, parts = self._steps[operation], []
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            parts.append(step(images[rows], classes[rows], batch_size))
        return np.concatenate(parts)

    def _step(self, images, classes, operation) -> Any:
        """Maps of one batch of tensors; class -1 is the one with the highest score."""
        axis = self._channel_axis(operation)
        shape = [keras.ops.shape(images)[0], 1, 1, 1]
        shape[axis] = self._shape(operation)[axis]

        def score(shift) -> tuple:
            kept = []

            def seen(current, outputs) -> Any:
                if current is operation:
                    outputs = outputs + keras.ops.cast(shift, outputs.dtype)
                    kept.append(outputs)
                return outputs

            scores = self._scores(images, seen)
            if self.units == 1:
                scores = keras.ops.concatenate([-scores, scores], axis=1)
            best = keras.ops.cast(keras.ops.argmax(scores, axis=1), "int32")
            wanted = keras.ops.where(classes < 0, best, classes)
            mask = keras.ops.one_hot(wanted, self.classes, dtype="bool")
            return keras.ops.sum(keras.ops.where(mask, scores, 0)), kept[0]

        gradient, activations = _gradient(score, keras.ops.zeros(shape, dtype="float32"))
        sides = [side for side in (1, 2, 3) if side != axis]
        places = keras.ops.shape(activations)[sides[0]] * keras.ops.shape(activations)[sides[1]]
        weights = gradient / keras.ops.cast(places, "float32")
        return keras.ops.sum(keras.ops.cast(activations, "float32") * weights, axis=axis)


def _compiled(step, variables, expected) -> Callable:
    """Return `step(images, classes)` as a function of arrays and the batch size.

    Compiled for any number of images on TensorFlow and, padded to a power of two, on JAX. What
    cannot be compiled, such as a layer that asks a tensor for its value, runs as it is.
    """

    def plain(images, classes) -> Any:
        # The scope keeps the variables and loss lists of the user's model as they were.
        with keras.StatelessScope():
            return step(images, classes)

    def eager(images, classes, batch_size=None) -> np.ndarray:
        images = keras.ops.convert_to_tensor(images, dtype=expected.dtype)
        maps = plain(images, keras.ops.convert_to_tensor(classes, dtype="int32"))
        return keras.ops.convert_to_numpy(maps)

    backend, fast = keras.backend.backend(), None

    def run(images, classes, batch_size) -> np.ndarray:
        nonlocal fast
        try:
            if fast is None and backend == "tensorflow":
                fast = _compiled_by_tensorflow(plain, expected)
            elif fast is None:
                fast = _compiled_by_jax(step, variables)
            return fast(images, classes, batch_size)
        except Exception:
            result = eager(images, classes)  # whose error is the true one, if there is one
            fast = eager
            return result

    return run if backend in ("tensorflow", "jax") else eager


def _compiled_by_tensorflow(step, expected) -> Callable:
    import tensorflow as tf

    traced = tf.function(step, autograph=False).get_concrete_function(
        tf.TensorSpec((None, *expected.shape[1:]), expected.dtype), tf.TensorSpec((None,), "int32")
    )
    return lambda images, classes, size: traced(tf.constant(images), tf.constant(classes)).numpy()


def _compiled_by_jax(step, variables) -> Callable:
    import jax

    @jax.jit
    def traced(values, images, classes) -> Any:
        # Weights are arguments: as constants of the compiled code they would never change.
        with keras.StatelessScope(zip(variables, values, strict=True)):
            return step(images, classes)

    def run(images, classes, batch_size) -> np.ndarray:
        count = len(images)
        size = min(batch_size, 1 << (count - 1).bit_length())
        more = [(0, size - count)] + [(0, 0)] * (images.ndim - 1)
        images, classes = np.pad(images, more, mode="edge"), np.pad(classes, more[0], mode="edge")
        return np.asarray(traced([v.value for v in variables], images, classes))[:count]

    return run


def _gradient(score, at) -> tuple:
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


def _check_model(model) -> None:
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


def _convolutional(operation) -> bool:
    if isinstance(operation, keras.Model):
        return any(_convolutional(layer) for layer in operation.layers)
    return isinstance(operation, _CONVOLUTIONS)


def _contains(model, layer) -> bool:
    return any(
        layer is inner
        or layer == inner.name
        or (isinstance(inner, keras.Model) and _contains(inner, layer))
        for inner in model.layers
    )


def _nested(operation, what) -> ValueError:
    return ValueError(
        f"model must be one flat graph; got {what} inside the nested model {operation.name!r}, "
        "which Keras cannot look into. Build the model on nested.input and nested.output, or "
        f"explain the nested output itself with layer={operation.name!r}."
    )
