"""A Keras image classifier opened up: its score before the softmax, differentiated at a layer.

Nothing is added to the user's model: its graph is replayed with a zero shift e_k added to every
position of channel k at the chosen layer. Since d score / d e_k = sum_ij d score / d A_ijk, one
gradient of shape (channels,) per image says all that Grad-CAM needs, and skip connections
around the layer cost no second pass. The same code runs on TensorFlow, PyTorch and JAX.
"""

import inspect

import keras

_CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)
_RESHAPES = (keras.layers.Dropout, keras.layers.Flatten, keras.layers.Reshape)
_POOLS = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)


class ScoreGraph:
    """The part of a classifier from its input to the score before softmax or sigmoid.

    A head of one unit z (sigmoid or logit) counts as two classes with scores -z and z.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is unbuilt, subclassed, has several inputs or outputs, or a head whose
            activation cannot be taken off.

    >>> ScoreGraph(keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3, name="c"),
    ...     keras.layers.Flatten(), keras.layers.Dense(5, activation="softmax")])).classes
    5
    """

    def __init__(self, model):
        _check_model(model)
        self.units = model.outputs[0].shape[1]
        self.classes = max(self.units, 2)
        source, self._dense = _find_score(model.outputs[0])
        self._function = keras.Function(model.inputs[0], source)
        self.input = model.inputs[0]
        self._calls = {}
        for node in (node for level in self._function._nodes_by_depth.values() for node in level):
            if not node.is_input:
                self._calls.setdefault(node.operation, []).append(node)
        #: Operations that end before the score and return one 4-D tensor, in order of execution.
        self.spatial = [op for op in self._function.operations if len(self._shape(op)) == 4]

    def _shape(self, operation):
        outputs = self._calls[operation][0].outputs if operation in self._calls else ()
        return tuple(outputs[0].shape) if len(outputs) == 1 else ()

    def find(self, layer=None):
        """Return the operation that `layer` (name, layer or None) means, or a clear ValueError.

        None is the last convolution; one whose map is 1x1, as in a convolutional head, is
        taken only when there is no other.
        """
        names = [operation.name for operation in self.spatial]
        if layer is None:
            found = [op for op in self._function.operations if _convolutional(op)]
            wide = [op for op in found if self._map_size(op) != (1, 1)]
            if not found:
                raise ValueError(
                    "model must contain a convolutional layer with a 4-D output when layer is "
                    f"None; got layers with a 4-D output: {names}. Name one of them, if any."
                )
            operation = (wide or found)[-1]
            if isinstance(operation, keras.Model):
                raise _nested(operation, "its last convolutional layer")
            return self._once(operation)
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

    def _channel_axis(self, operation):
        """1 or 3; a layer without `data_format` follows the convolutions, or Keras' default."""
        sources = [operation, *(op for op in self.spatial if _convolutional(op))]
        formats = [op.data_format for op in sources if hasattr(op, "data_format")]
        chosen = formats[0] if formats else keras.config.image_data_format()
        return 1 if chosen == "channels_first" else 3

    def _map_size(self, operation):
        shape = self._shape(operation)
        return shape[2:] if self._channel_axis(operation) == 1 else shape[1:3]

    def _scores(self, features):
        """Scores before the activation, (n, classes)."""
        if self._dense is not None:
            kernel = keras.ops.convert_to_tensor(self._dense.kernel)
            features = keras.ops.matmul(keras.ops.cast(features, kernel.dtype), kernel)
            if self._dense.use_bias:
                features = features + keras.ops.convert_to_tensor(self._dense.bias)
        if self.units == 1:
            features = keras.ops.concatenate([-features, features], axis=1)
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
            seen = []

            def inference(current):
                def call(*args, **kwargs):
                    # A layer wired with training=True (Monte Carlo dropout) is overruled too.
                    if "training" in inspect.signature(current.call).parameters:
                        kwargs["training"] = False
                    outputs = current(*args, **kwargs)
                    if current is operation:
                        outputs = outputs + keras.ops.cast(shift, outputs.dtype)
                        seen.append(outputs)
                    return outputs

                return call

            # The scope keeps the variables and loss lists of the user's model as they were.
            with keras.StatelessScope():
                features = self._function._run_through_graph(images, operation_fn=inference)
                scores = self._scores(features)
            wanted = keras.ops.argmax(scores, axis=1) if classes is None else classes
            mask = keras.ops.one_hot(wanted, self.classes, dtype="bool")
            return keras.ops.sum(keras.ops.where(mask, scores, 0)), seen[0]

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
    shapes = [tuple(tensor.shape) for tensor in model.outputs]
    if len(model.inputs) != 1 or len(shapes) != 1 or len(shapes[0]) != 2:
        raise ValueError(
            "model must have one input and one output of shape (n, classes); got "
            f"{len(model.inputs)} inputs and outputs {shapes}. Cut out the part to explain."
        )


def _producer(tensor):
    """The operation that made a symbolic tensor, and that operation's first input."""
    operation, index, _ = tensor._keras_history
    inputs = operation._inbound_nodes[index].input_tensors
    return operation, (inputs[0] if inputs else None)


def _squashes(operation, kinds=("softmax", "sigmoid")):
    """Whether the function that an operation applies last is one of `kinds`."""
    applied = getattr(operation, "activation", None) or operation
    name = getattr(applied, "__name__", type(applied).__name__).lower()
    return any(kind in name for kind in kinds)


def _find_score(output):
    """Follow the output back to the tensor before its activations, and to its Dense if any."""
    tensor, softmax = output, False
    while True:
        operation, source = _producer(tensor)
        softmax = softmax or _squashes(operation, ("softmax",))
        activation = isinstance(operation, keras.layers.Activation)
        # keras.layers.Softmax, keras.ops.softmax and their kin have no `activation` of their own.
        function = not hasattr(operation, "activation") and _squashes(operation)
        through = activation or function or isinstance(operation, _RESHAPES)
        if not through or source.shape[1:] != tensor.shape[1:]:
            break
        tensor = source
    if output.shape[1] == 1 and softmax:
        raise ValueError(
            "model must not end in a softmax over one unit, whose output is always 1; got "
            f"output shape {tuple(output.shape)}. Use a sigmoid."
        )
    if type(operation).call is keras.layers.Dense.call:
        return source, operation
    while isinstance(operation, _RESHAPES + _POOLS):
        operation, source = _producer(source)
    if isinstance(operation, keras.Model) or _squashes(operation):
        raise ValueError(
            f"model must end in a layer whose activation can be taken off; got {operation.name!r} "
            f"({type(operation).__name__}). Give a softmax its own Activation layer at the end, "
            "and unpack a nested model into the flat graph."
        )
    return tensor, None


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
