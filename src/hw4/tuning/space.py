"""The search space of question 1: what may be chosen, what it builds, and what that costs.

`network` turns a choice into the layers of `conv_shapes`, which decide about size and cost before
any model exists. Padding is `same` and a map is pooled only while its half keeps 3 pixels, so one
to five convolutions fit on 28x28; `shrink` then brings a choice within a budget of MACs and of
memory. Every point can therefore be built and afforded, and no proposal is ever thrown away.
"""

from math import prod

from keras_tuner import HyperParameters

from hw4 import conv_shapes as cs

INPUT_SHAPE = (28, 28, 1)
CLASSES = 10
MOST_LAYERS = 5
KERNEL_SIZE = 3
FILTERS = (32, 256)
NEURONS = (32, 256)
# Before a batch normalisation, dropout makes the variance in training larger than in use (Li et
# al., "Understanding the Disharmony", 2019): beyond 0.2 short trials scored near to guessing.
CONV_DROPOUTS = (0.0, 0.1, 0.2)
# Float(0, 0.5, step=0.1) of Keras Tuner ends at 0.4, since 0.5 // 0.1 is 4.
DROPOUTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
LEARNING_RATES = (5e-4, 1e-3)
OPTIMIZERS = ("adam", "rmsprop", "sgd")
MAC_BUDGET = 6_000_000
# Numbers that the convolutions write for one image. A first layer of 256 filters costs few MACs,
# but moves so much memory that its training takes five times as long as the others'.
OUTPUT_BUDGET = 45_000
SMALLEST_MAP = 3


def declare(hp: HyperParameters) -> HyperParameters:
    """Register every hyperparameter of the space in `hp`, a Keras Tuner container, and return it.

    Limits of the task: at most 5 convolutional and 5 dense layers, 256 filters, 256 neurons,
    learning rate 0.001, and the optimizer is searched too. Filters and neurons of layer i exist
    only in networks that have a layer i.
    """
    hp.Int("conv_layers", 1, MOST_LAYERS, default=3)
    for i in range(1, MOST_LAYERS + 1):
        with hp.conditional_scope("conv_layers", list(range(i, MOST_LAYERS + 1))):
            hp.Int(f"filters_{i}", *FILTERS, step=2, sampling="log", default=32)
    hp.Choice("dropout_conv", list(CONV_DROPOUTS))
    hp.Int("dense_layers", 1, MOST_LAYERS, default=1)
    for i in range(1, MOST_LAYERS + 1):
        with hp.conditional_scope("dense_layers", list(range(i, MOST_LAYERS + 1))):
            hp.Int(f"neurons_{i}", *NEURONS, step=2, sampling="log", default=128)
    hp.Choice("dropout_dense", list(DROPOUTS))
    hp.Choice("optimizer", list(OPTIMIZERS))
    hp.Float("learning_rate", *LEARNING_RATES, sampling="log", default=LEARNING_RATES[1])
    return hp


def network(values) -> list:
    """Return the layers of a choice as `conv_shapes` values, activations and dropout left out.

    Args:
        values: mapping of hyperparameter names to values. With `pooling` False, which the search
            does not offer but the ablation needs, no map is pooled.

    Raises:
        KeyError: a hyperparameter is missing.

    >>> one = {"conv_layers": 1, "filters_1": 32}
    >>> one |= {"dense_layers": 1, "neurons_1": 32}
    >>> [type(layer).__name__ for layer in network(one)]
    ['Conv2D', 'MaxPool2D', 'BatchNorm', 'Flatten', 'Dense', 'Dense']
    """
    layers, side = [], INPUT_SHAPE[0]
    for i in range(1, values["conv_layers"] + 1):
        filters = values[f"filters_{i}"]
        # Batch normalisation subtracts any bias again.
        layers.append(cs.Conv2D(filters, KERNEL_SIZE, padding="same", use_bias=False))
        if values.get("pooling", True) and side // 2 >= SMALLEST_MAP:
            layers.append(cs.MaxPool2D(2))
            side //= 2
        # After pooling it has a quarter of the numbers to work on, and so has ReLU.
        layers.append(cs.BatchNorm())
    layers.append(cs.Flatten())
    widths = [values[f"neurons_{i}"] for i in range(1, values["dense_layers"] + 1)]
    return layers + [cs.Dense(width) for width in (*widths, CLASSES)]


def macs(values) -> int:
    """Return the multiply-accumulate operations of one image through the network of a choice.

    Raises:
        ShapeError: the network cannot be built.
    """
    return _costs(values)[0]


def outputs(values) -> int:
    """Return how many numbers the convolutions of a choice write for one image."""
    return _costs(values)[1]


def shrink(values, mac_budget: int = MAC_BUDGET, output_budget: int = OUTPUT_BUDGET) -> dict:
    """Halve filters of a choice until it costs no more MACs and outputs than the budgets.

    The layer whose halving saves most goes first; the cost of a convolution falls with its own
    filters and with those before it.

    Returns:
        A copy of `values`, equal to it where both budgets held already.

    Raises:
        ValueError: not even the fewest filters are affordable.
    """

    def cost(choice) -> float:
        found = _costs(choice)
        return max(found[0] / mac_budget, found[1] / output_budget)

    values = dict(values)
    while cost(values) > 1:
        names = [f"filters_{i}" for i in range(1, values["conv_layers"] + 1)]
        halved = [{name: values[name] // 2} for name in names if values[name] > FILTERS[0]]
        if not halved:
            raise ValueError(
                "mac_budget and output_budget must allow the narrowest network of every depth; "
                f"got {mac_budget:,} and {output_budget:,}, and {values['conv_layers']} "
                f"convolutional layers need {macs(values):,} and {outputs(values):,}. Raise them."
            )
        values |= min(halved, key=lambda change: cost(values | change))
    return values


def check_budgets(mac_budget: int, output_budget: int) -> None:
    """Raise what `shrink` raises if any choice of layers and neurons could not be afforded."""
    for depth in range(1, MOST_LAYERS + 1):
        dense = {f"neurons_{i}": NEURONS[1] for i in range(1, MOST_LAYERS + 1)}
        values = dense | {"dense_layers": MOST_LAYERS, "conv_layers": depth}
        values |= {f"filters_{i}": FILTERS[0] for i in range(1, depth + 1)}
        shrink(values, mac_budget, output_budget)


def most_filters(
    layer: int, mac_budget: int = MAC_BUDGET, output_budget: int = OUTPUT_BUDGET
) -> int:
    """Return how many filters convolution `layer`, from 1, has at most in an affordable network."""
    widest, cheapest = FILTERS[0], {"dense_layers": 1, "neurons_1": NEURONS[0]}
    cheapest |= {f"filters_{i}": FILTERS[0] for i in range(1, layer + 1)}
    cheapest["conv_layers"] = layer
    while widest < FILTERS[1]:
        wider = cheapest | {f"filters_{layer}": 2 * widest}
        if shrink(wider, mac_budget, output_budget) != wider:
            break
        widest *= 2
    return widest


def _costs(values) -> tuple[int, int]:
    rows = cs.trace(network(values), INPUT_SHAPE)
    written = (prod(row.output_shape) for row in rows if isinstance(row.layer, cs.Conv2D))
    return sum(row.macs for row in rows), sum(written)
