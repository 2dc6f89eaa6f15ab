"""Walk the graph of a Keras model with the rules of `trace`, without importing Keras.

Keras 3 keeps a model's calls as nodes sorted by depth, each with the tensors that go in and come
out; every tensor gets the State that `trace` hands from layer to layer.
"""

from dataclasses import dataclass, replace
from math import prod
from typing import NoReturn

from hw4.conv_shapes import layers as cl
from hw4.conv_shapes.layers import ShapeError
from hw4.conv_shapes.rules import Step
from hw4.conv_shapes.tracing import Row, State, advance, make_row, start


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


def from_keras(model) -> list[Row]:
    """Return one Row for each layer call of a Sequential or functional Keras model.

    Sizes follow from the rules of `trace`; parameters are the layer's own variables, so that frozen
    layers and kernels, LoRA and quantised layers count as they do in Keras. A variable that is met
    again, as in a shared layer, is counted at its first call. A merge (Add, Concatenate, ...)
    sees what its branches see together.

    Args:
        model: a built Keras model; Keras itself is not imported.

    Raises:
        ShapeError: a model without fixed input size, a layer that has no rule here or whose output
            is not what the rule says, or branches whose jumps differ.
        TypeError: not such a model.
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
    rows: list[Row] = []
    _walk(graph, inputs, rows, _Count(model.trainable_weights))
    return rows


class _Count:
    """Counts every variable once, and tells which of them the whole model trains."""

    def __init__(self, trained) -> None:
        self.trained, self.seen = set(map(id, trained)), set()

    def of(self, layer) -> tuple[int, int]:
        """Return (parameters, trainable) of the layer's variables that were not seen before."""
        sizes = {id(variable): prod(variable.shape) for variable in getattr(layer, "weights", ())}
        new = sizes.keys() - self.seen
        self.seen |= new
        return sum(sizes[key] for key in new), sum(sizes[key] for key in new & self.trained)


def _graph(model) -> object | None:
    """Return what holds the nodes of a model, None for a layer or an unbuilt model."""
    graph = getattr(model, "_functional", None) or model
    return graph if hasattr(graph, "_nodes_by_depth") else None


def _walk(graph, inputs, rows, count) -> list[State]:
    """Add the rows of a graph and return the States of its outputs."""
    states = {id(tensor): state for tensor, state in zip(graph.inputs, inputs, strict=True)}
    # Inputs before outputs, and in one depth the order of model.summary().
    order = {id(operation): index for index, operation in enumerate(graph.operations)}
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in sorted(graph._nodes_by_depth[depth], key=lambda n: order[id(n.operation)]):
            layer = node.operation
            if type(layer).__name__ == "InputLayer":
                continue
            given = [states[id(tensor)] for tensor in node.arguments.keras_tensors]
            inner = _graph(layer)
            if inner is not None:
                results = _walk(inner, given, rows, count)
            else:
                row, result = _call(layer, given, node.outputs, len(rows) + 1)
                parameters, trainable = count.of(layer)
                rows.append(replace(row, parameters=parameters, trainable=trainable))
                results = [result]
            states.update(zip(map(id, node.outputs), results, strict=True))
    return [states[id(tensor)] for tensor in graph.outputs]


def _call(layer, given, outputs, position) -> tuple[Row, State]:
    """Return the Row and State of one layer call, its shape held against the call's outputs."""
    kind, name = type(layer).__name__, layer.name

    def refuse(expectation, got, fix) -> NoReturn:
        problem = f"{expectation}; got {got} in {name!r}. {fix}"
        raise ShapeError(problem, "from_keras", {}, position, kind)

    if type(layer).__module__.partition(".")[0] != "keras":
        # A class of somebody's own does what it likes, whatever its name.
        refuse("model must be made of Keras' own layers", kind, "Trace it by hand.")
    row, state = _rule(layer, kind, given, position, refuse)
    shapes = [tuple(tensor.shape)[1:] for tensor in outputs]
    if shapes != [state.shape]:
        refuse(f"output must be {state.shape}, as the rule says", shapes, "Trace it by hand.")
    return row, state


def _rule(layer, kind, given, position, refuse) -> tuple[Row, State]:
    """Return the Row and State that the rule for this kind of layer gives."""
    state, name = given[0], layer.name
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


def _merge(layer, given, refuse) -> State:
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
