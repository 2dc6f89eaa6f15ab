"""Walk the graph of a Keras model with the rules of `trace`, without importing Keras.

Keras 3 keeps a model's calls as nodes sorted by depth, each with the tensors that go in and come
out; every tensor gets the State that `trace` hands from layer to layer.
"""

from dataclasses import dataclass, replace

from hw4.conv_shapes import layers as cl
from hw4.conv_shapes.layers import ShapeError
from hw4.conv_shapes.rules import Step
from hw4.conv_shapes.tracing import State, advance, make_row, start


@dataclass(frozen=True)
class Pointwise:
    """A layer without weights that changes no size: the name of its Keras class."""

    kind: str


@dataclass(frozen=True)
class Merge:
    """A layer that joins branches: the name of its Keras class."""

    kind: str


_SIZES = ("kernel_size", "strides", "padding", "dilation_rate")
_POOL = ("pool_size", "strides", "padding")
# Keras class -> our class, and the attributes that carry its arguments, in order.
_LAYERS = {
    "Conv2D": (cl.Conv2D, ("filters", *_SIZES, "groups", "use_bias")),
    "DepthwiseConv2D": (cl.DepthwiseConv2D, (*_SIZES, "depth_multiplier", "use_bias")),
    "SeparableConv2D": (cl.SeparableConv2D, ("filters", *_SIZES, "depth_multiplier", "use_bias")),
    "Conv2DTranspose": (cl.Conv2DTranspose, ("filters", *_SIZES)),
    "MaxPooling2D": (cl.MaxPool2D, _POOL),
    "AveragePooling2D": (cl.AvgPool2D, _POOL),
    "GlobalAveragePooling2D": (cl.GlobalAvgPool2D, ("keepdims",)),
    "GlobalMaxPooling2D": (cl.GlobalAvgPool2D, ("keepdims",)),
    "ZeroPadding2D": (cl.ZeroPadding2D, ("padding",)),
    "BatchNormalization": (cl.BatchNorm, ("center", "scale")),
    "Flatten": (cl.Flatten, ()),
    "Dense": (cl.Dense, ("units", "use_bias")),
}
_NOISE = {"Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise"}
_ACTIVATIONS = {"Activation", "ReLU", "LeakyReLU", "ELU", "Softmax", "Identity", "Rescaling"}
# What an expression such as keras.ops.relu(x) leaves in the graph.
_OPERATIONS = {"Relu", "Relu6", "Sigmoid", "Tanh", "Silu", "Gelu"}
_POINTWISE = _NOISE | _ACTIVATIONS | _OPERATIONS
_MERGES = {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"}


def from_keras(model):
    """Return one Row for each layer call of a Sequential or functional Keras model.

    Keras is not imported. The parameters of a shared layer are counted at its first call, frozen
    layers train nothing, and a merge (Add, Concatenate, ...) sees what its branches see together.
    Raises ShapeError for a model without fixed input size, a layer that has no rule here, and
    branches whose jumps differ.
    """
    graph = _graph(model)
    if graph is None:
        raise TypeError(
            "model must be a built Sequential or functional Keras model; got "
            f"{type(model).__name__}. Give it an Input, or call build() with the input's shape."
        )
    inputs = []
    for tensor in graph.inputs:
        shape = tuple(tensor.shape)[1:]
        if None in shape:
            raise ShapeError(
                f"model must have a fixed input size; got {tuple(tensor.shape)}. "
                "Build it with input_shape=(height, width, channels).",
                "input_shape",
            )
        inputs.append(start(shape))
    rows = []
    _walk(graph, inputs, rows, set())
    return rows


def _graph(model):
    graph = getattr(model, "_functional", None) or model
    return graph if hasattr(graph, "_nodes_by_depth") else None


def _walk(graph, inputs, rows, counted):
    """Add the rows of a graph and return the States of its outputs."""
    states = {id(tensor): state for tensor, state in zip(graph.inputs, inputs, strict=True)}
    # Inputs before outputs, and in one depth the order of model.summary().
    order = {id(operation): index for index, operation in enumerate(graph.operations)}
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in sorted(graph._nodes_by_depth[depth], key=lambda n: order[id(n.operation)]):
            if type(node.operation).__name__ == "InputLayer":
                continue
            given = [states[id(tensor)] for tensor in node.arguments.keras_tensors]
            inner = _graph(node.operation)
            if inner is not None:
                results = _walk(inner, given, rows, counted)
            else:
                row, result = _call(node.operation, given, len(rows) + 1)
                rows.append(_owned(row, node.operation, counted))
                results = [result]
            states.update(zip(map(id, node.outputs), results, strict=True))
    return [states[id(tensor)] for tensor in graph.outputs]


def _owned(row, layer, counted):
    """Count a shared layer's parameters once, and a frozen layer's as not trainable."""
    parameters = 0 if id(layer) in counted else row.parameters
    counted.add(id(layer))
    trainable = min(row.trainable, parameters) if getattr(layer, "trainable", True) else 0
    return replace(row, parameters=parameters, trainable=trainable)


def _call(layer, given, position):
    """Return the Row and State of one layer call."""
    kind, name, state = type(layer).__name__, layer.name, given[0]

    def refuse(expectation, got, fix):
        problem = f"{expectation}; got {got} in {name!r}. {fix}"
        raise ShapeError(problem, "from_keras", {}, position, kind)

    if getattr(layer, "data_format", None) == "channels_first":
        refuse("data_format must be 'channels_last'", "'channels_first'", "Rebuild the model so.")
    if kind in _LAYERS:
        if kind == "BatchNormalization" and layer.axis not in (-1, len(state.shape)):
            refuse("axis must be the last", layer.axis, "Rebuild the model so.")
        cls, names = _LAYERS[kind]
        extra = {"output_padding", "use_bias"} if kind == "Conv2DTranspose" else ()
        keywords = {extra_name: getattr(layer, extra_name) for extra_name in extra}
        ours = cls(*(getattr(layer, argument) for argument in names), **keywords)
        return advance(ours, state, "keras", position, name)
    if kind in _MERGES and len(given) > 1:
        merged = _merge(layer, given, refuse)
        return make_row(Merge(kind), merged, Step(merged.shape), name), merged
    if kind in _POINTWISE and len(given) == 1:
        return make_row(Pointwise(kind), state, Step(state.shape), name), state
    known = ", ".join(sorted([*_LAYERS, *_POINTWISE, *_MERGES]))
    return refuse("model must be made of supported layers", f"{kind}", f"Supported: {known}.")


def _merge(layer, given, refuse):
    """Return the State of a layer that joins branches."""
    shapes = [state.shape for state in given]
    first, shape = given[0], shapes[0]
    if type(layer).__name__ == "Concatenate":
        if layer.axis not in (-1, len(shape)):
            refuse("axis must be the last", layer.axis, "Concatenate channels.")
        shape = (*shape[:-1], sum(each[-1] for each in shapes))
    elif len(set(shapes)) > 1:
        refuse("branches must have one shape", f"{shapes}", "Broadcasting has no rule here.")
    fields = first.fields
    for other in given[1:]:
        # One position left means that there is no jump to disagree about.
        jumps = [[field.jump for field in state.fields] for state in (first, other)]
        if jumps[0] != jumps[1] and first.grid != (1, 1):
            refuse("branches must have one jump", f"{jumps}", "Give them equal total strides.")
        pairs = zip(fields, other.fields, strict=True)
        fields = tuple(field.merged(more) for field, more in pairs)
    return State(shape, first.grid, fields)
