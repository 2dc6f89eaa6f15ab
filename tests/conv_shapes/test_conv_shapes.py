"""conv_shapes against slow loops, published values, frozen and live PyTorch, and live Keras.

HW4_SHAPE_CASES sets how many random layers are compared with each library (10,000 are 100 %).
"""

import json
import os
import random
import re
import sys
import time
import types
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import make_pytorch_shapes
import reference
from hw4 import conv_shapes as cs
from hw4.conv_shapes import receptive_field as rf
from hw4.conv_shapes import tracing
from hw4.conv_shapes.receptive_field import Field, Window

CASES = int(os.environ.get("HW4_SHAPE_CASES", "1000"))
TABLE = json.loads(make_pytorch_shapes.TABLE.read_text(encoding="utf-8"))


def task(stride):
    layers = []
    for filters, dilation in ((64, 2), (128, 4), (256, 8)):
        layers += [
            cs.Conv2D(filters, 3, padding="same"),
            cs.Conv2D(filters // 2, 5, stride, "valid", dilation),
            cs.MaxPool2D(2, 2),
        ]
    return layers


def vgg16():
    layers = []
    for repeats, filters in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        layers += [cs.Conv2D(filters, 3, padding="same")] * repeats + [cs.MaxPool2D(2, 2)]
    return layers


def resnet_v1_50():
    """The longest path of TF-slim's network: the last unit of a block strides, padded by hand."""
    layers = [cs.ZeroPadding2D(3), cs.Conv2D(64, 7, 2), cs.MaxPool2D(3, 2, "same")]
    for filters, units, stride in ((64, 3, 2), (128, 4, 2), (256, 6, 2), (512, 3, 1)):
        for unit in range(units):
            last = stride == 2 and unit == units - 1
            layers += [cs.Conv2D(filters, 1), cs.ZeroPadding2D(1)]
            layers += [cs.Conv2D(filters, 3, 2 if last else 1), cs.Conv2D(4 * filters, 1)]
    return layers


def alexnet():
    same = [cs.Conv2D(384, 3, padding="same")]
    pool = [cs.MaxPool2D(3, 2)]
    head = [cs.Conv2D(64, 11, 4), *pool, cs.Conv2D(192, 5, padding="same"), *pool]
    return head + same * 3 + pool


def ours(case, convention, module=cs):
    """The answer in the form of make_pytorch_shapes.torch_truth."""
    kind, arguments, shape = case
    try:
        row = module.trace([getattr(cs, kind)(**arguments)], shape, convention)[0]
    except cs.ShapeError:
        return None
    return [*row.output_shape, row.parameters]


# --- The task ---------------------------------------------------------------------------------


def test_the_task_without_stride_builds_under_both_conventions():
    sides = [256, 248, 124, 124, 108, 54, 54, 22, 11]
    counts = [1792, 51232, 0, 36992, 204864, 0, 147712, 819328, 0]
    for convention in ("keras", "pytorch"):
        rows = cs.trace(task(1), (256, 256, 3), convention)
        assert [row.output_shape[:2] for row in rows] == [(side, side) for side in sides]
        assert [row.parameters for row in rows] == counts


def test_the_task_with_stride_is_as_hand_worked_until_layer_8_which_cannot_exist():
    rows = cs.trace(task(2)[:7], (256, 256, 3), "pytorch")
    assert [row.output_shape[0] for row in rows] == [256, 124, 62, 62, 23, 11, 11]
    with pytest.raises(cs.ShapeError) as caught:
        cs.trace(task(2), (256, 256, 3), "pytorch")
    error = caught.value
    assert (error.position, error.kind, error.rule) == (8, "Conv2D", "output size")
    assert {8, 33, 11, -10} <= set(map(int, re.findall(r"-?\b\d+", str(error))))
    assert [error.numbers[name] for name in ("span", "n", "out")] == [33, 11, -10]


def test_keras_refuses_the_task_at_its_first_stride_with_dilation():
    with pytest.raises(cs.ShapeError, match=r"layer 2 \(Conv2D\).*\(2, 2\).*\(2, 2\)") as caught:
        cs.trace(task(2), (256, 256, 3))
    assert caught.value.rule == "stride with dilation"


# --- Slow loops -------------------------------------------------------------------------------

AXIS = {
    "n": st.integers(1, 15),
    "k": st.integers(1, 6),
    "s": st.integers(1, 4),
    "d": st.integers(1, 3),
}


@given(**AXIS, p=st.integers(0, 4))
def test_convolution_length_is_the_number_of_places_of_a_sliding_kernel(n, k, s, d, p):
    places = reference.kernel_places(n, k, s, d, p, p)
    case = ("Conv2D", {"filters": 1, "kernel_size": (k, 1), "strides": (s, 1)}, (n, 1, 1))
    case[1].update(padding=(p, 0), dilation_rate=(d, 1), use_bias=False)
    answer = ours(case, "pytorch")
    assert answer == ([len(places), 1, 1, k] if places else None)


@given(**AXIS, p=st.integers(0, 3))
def test_ceil_mode_lets_the_last_window_hang_over(n, k, s, d, p):
    p = min(p, k // 2)
    places = reference.ceil_places(n, k, s, d, p, p)
    arguments = {"pool_size": (k, 1), "strides": (s, 1), "padding": (p, 0), "ceil_mode": True}
    answer = ours(("MaxPool2D", arguments | {"dilation_rate": (d, 1)}, (n, 1, 1)), "pytorch")
    assert answer == ([len(places), 1, 1, 0] if places else None)


@given(**AXIS)
def test_transposed_length_is_the_number_of_stamped_cells(n, k, s, d):
    arguments = {"filters": 1, "kernel_size": (k, 1), "strides": (s, 1), "dilation_rate": (d, 1)}
    row = cs.trace([cs.Conv2DTranspose(**arguments)], (n, 1, 1), "pytorch")[0]
    assert row.output_shape == (len(reference.stamped(n, k, s, d)), 1, 1)
    assert row.macs == n * k


@given(**AXIS)
def test_same_padding_is_the_least_that_gives_ceil_n_over_s_and_leans_after(n, k, s, d):
    before, after = cs.same_padding(k, d, s, n)
    goal = -(-n // s)
    assert len(reference.kernel_places(n, k, s, d, before, after)) == goal
    assert after - before in (0, 1)
    if before + after:
        assert len(reference.kernel_places(n, k, s, d, before, after - 1)) < goal
    if s == 1:
        assert cs.same_padding(k, d) == (before, after)


def test_same_padding_by_axis_and_its_refusals():
    assert cs.same_padding((3, 4), 2, input_size=(9, 9)) == ((2, 2), (3, 3))
    assert cs.same_padding(3, 1, (2, 1), (224, 5)) == ((0, 1), (1, 1))
    with pytest.raises(cs.ShapeError, match="input_size must be given .*; got None"):
        cs.same_padding(3, strides=2)
    with pytest.raises(cs.ShapeError, match="kernel_size must be .*; got 0"):
        cs.same_padding(0)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["slide", "slide", "stamp"]),
        st.integers(1, 4),
        st.integers(1, 3),
        st.integers(1, 2),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=4,
)


def field_of(operations, module=rf):
    field = module.Field()
    for kind, k, s, d, before in operations:
        field = field.through(module.Window(k, s, d, before, kind == "stamp"))
    return field


def check_field(field, operations):
    """Hold a field against the inputs that each output of two periods really depends on."""
    period = field.run if hasattr(field, "run") else field.period
    seen = [reference.seen_inputs(operations, output) for output in range(period + 2)]
    spans = [(min(inputs), max(inputs)) if inputs else None for inputs in seen]
    assert [field.at(output) for output in range(period + 2)] == spans
    spans = [span for span in spans if span]
    assert field.receptive_field == max((last - first + 1 for first, last in spans), default=0)
    assert field.padding == -min((first for first, _ in spans), default=0)


@given(OPERATIONS)
def test_receptive_field_of_every_output_is_what_it_depends_on(operations):
    check_field(field_of(operations), operations)


SEVEN = {
    # outputs see one input, or two where the blocks of one layer meet
    "blocks": ([("stamp", 9, 9, 1, 0)] * 7, 1, Fraction(1, 9**7)),
    "overlap": ([("stamp", 18, 9, 1, 0)] * 7, 3, Fraction(1, 9**7)),
    "gaps": ([("stamp", 3, 9, 1, 0)] * 7, 1, Fraction(1, 9**7)),
    "hundreds of digits": ([("stamp", 9, 9, 1, 0)] * 700, 1, Fraction(1, 9**700)),
    "huge gap": ([("stamp", 3, 99_999_999, 1, 0)], 1, Fraction(1, 99_999_999)),
    "huge": ([("stamp", 99_999_999, 99_999_999, 1, 0)] * 3, 1, Fraction(1, 99_999_999**3)),
    "too many": ([("stamp", 8, 9, 1, 0)] * 7, None, Fraction(1, 9**7)),
    "too many, merged": ([("stamp", 8, 9, 1, 0)] * 7 + [("slide", 3, 81, 1, 1)], None, 9**-5),
}


@pytest.mark.parametrize("name", SEVEN)
def test_large_strides_cost_nothing(name):
    operations, width, jump = SEVEN[name]
    start = time.process_time()
    field = field_of(operations)
    assert field.receptive_field == width
    assert field.jump == pytest.approx(jump) if isinstance(jump, float) else field.jump == jump
    assert time.process_time() - start < 3


def test_unlisted_windows_leave_sizes_known():
    layers = [cs.Conv2DTranspose(1, 8, 9)] * 7 + [cs.Conv2D(1, 3), cs.Flatten()]
    rows = cs.trace(layers, (1, 1, 1))
    assert rows[6].output_shape == (9**7, 9**7, 1)
    assert [rows[-1].receptive_field, rows[-1].padding] == [None, None]
    # a merge with what is not known is not known
    unknown = field_of(SEVEN["too many"][0])
    for merged in (unknown.merged(Field()), Field().merged(unknown)):
        assert (merged.receptive_field, merged.padding) == (None, None)


def test_merges_of_equal_fields_stay_a_formula():
    up = ("stamp", 4, 4, 1, 0)
    narrow, wide = field_of([("slide", 3, 2, 1, 1), up]), field_of([("slide", 7, 2, 1, 3), up])
    early = field_of([("slide", 3, 2, 1, 5), up])
    assert narrow.merged(wide) == wide.merged(narrow) == wide
    both = early.merged(narrow)
    assert isinstance(both, Field)
    for output in range(20):
        assert both.at(output) == (early.at(output)[0], narrow.at(output)[1])


def test_a_trace_of_ten_times_the_layers_takes_about_ten_times_as_long():
    def seconds(count):
        layers = [cs.Conv2D(4, 3, padding="same"), cs.BatchNorm()] * (count // 2)
        start = time.process_time()
        assert cs.trace(layers, (8, 8, 4))[-1].receptive_field == count + 1
        return time.process_time() - start

    seconds(100)
    ratio = min(seconds(10_000) for _ in range(2)) / min(seconds(1_000) for _ in range(3))
    assert ratio < 30  # 10 if linear, 100 if quadratic


def test_branches_of_different_period_merge_output_by_output():
    pooled = Field().through(Window(2, 2)).through(Window(2, 2, transposed=True))
    direct = Field()
    for merged in (pooled.merged(direct), direct.merged(pooled)):
        # The pool shows outputs 0 and 1 both pixels, 2 and 3 the next two: their own among them.
        assert [merged.at(o) for o in range(4)] == [(0, 1), (0, 1), (2, 3), (2, 3)]
        assert (merged.receptive_field, merged.jump, merged.padding) == (2, 1, 0)


def test_outputs_that_all_fall_between_inputs_see_nothing():
    layers = [cs.Conv2DTranspose(1, 1, 2), cs.ZeroPadding2D(1), cs.Conv2D(1, 1, 2)]
    row = cs.trace(layers, (5, 5, 1), "pytorch")[-1]
    assert (row.receptive_field, row.jump, row.padding) == (0, 1, 0)


# --- Published values -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "side", "expected"),
    [
        (vgg16(), 224, (212, 32, 90)),
        (resnet_v1_50(), 224, (483, 32, 239)),
        (alexnet(), 224, (195, 32, 64)),
        ([cs.Conv2D(1, 3)] * 2, 9, (5, 1, 0)),
        ([cs.Conv2D(1, 3)] * 3, 9, (7, 1, 0)),
        ([cs.Conv2D(1, (3, 1)), cs.MaxPool2D((1, 2))], 9, ((3, 2), (1, 2), 0)),
        ([cs.Conv2DTranspose(1, 2, 2), cs.Conv2D(1, 3)], 9, (2, Fraction(1, 2), 0)),
    ],
)
def test_receptive_field_stride_and_padding(layers, side, expected):
    row = cs.trace(layers, (side, side, 3))[-1]
    assert (row.receptive_field, row.jump, row.padding) == expected


def test_vgg16_has_its_published_size_and_cost():
    head = [cs.Flatten(), cs.Dense(4096), cs.Dense(4096), cs.Dense(1000)]
    for convention in ("keras", "pytorch"):
        rows = cs.trace(vgg16() + head, (224, 224, 3), convention)
        assert sum(row.parameters for row in rows) == 138_357_544
        assert sum(row.macs for row in rows) == 15_470_264_320
    assert rows[-1].receptive_field == 212 + 6 * 32


@pytest.mark.parametrize(("convention", "counts"), [("keras", (40, 20)), ("pytorch", (20, 20))])
def test_batch_norm_counts_moving_statistics_only_under_keras(convention, counts):
    row = cs.trace([cs.BatchNorm()], (4, 4, 10), convention)[0]
    assert (row.parameters, row.trainable) == counts


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (cs.Conv2D(4, 3, groups=2), 36 * 9 * 1 * 4),
        (cs.DepthwiseConv2D(3, depth_multiplier=2), 36 * 9 * 2 * 2),
        (cs.SeparableConv2D(5, 3), 36 * (9 * 2 + 2 * 5)),
        (cs.Conv2DTranspose(4, 3, 2), 64 * 9 * 2 * 4),
        (cs.Dense(7), 64 * 2 * 7),
        (cs.MaxPool2D(2), 0),
    ],
)
def test_macs_worked_by_hand_on_8x8x2(layer, macs):
    assert cs.trace([layer], (8, 8, 2))[0].macs == macs


# --- PyTorch ----------------------------------------------------------------------------------


def disagreements(module):
    return [row for row in TABLE["rows"] if ours(row[:3], "pytorch", module) != row[3]]


def test_frozen_pytorch_table():
    assert len(TABLE["rows"]) >= 1500
    assert disagreements(cs) == []


def test_live_pytorch():
    pytest.importorskip("torch")
    for case in make_pytorch_shapes.cases(CASES, seed=5):
        assert ours(case, "pytorch") == make_pytorch_shapes.torch_truth(case), case


# Wrong formulas that a calculator may well have; the checks above must notice each of them.
MUTANTS = [
    ("rules", "s + 1\n", "s\n"),
    ("rules", "span, padded = d * (k - 1) + 1", "span, padded = d * k"),
    ("rules", "span, padded = d * (k - 1) + 1", "span, padded = d * (k - 1)"),
    ("rules", ">= n + before", "> n + before"),
    ("rules", ">= n + before", ">= n"),
    ("rules", "2 * p > k", "2 * p >= k"),
    ("rules", "return (top, top), (left, left)", "return (left, left), (top, top)"),
    ("rules", "or max(strides) > 1)", "or min(strides) > 1)"),
    ("rules", "- 2 * p + span", "- p + span"),
    ("rules", "op >= max(s, d)", "op >= s"),
    ("rules", "filters % groups or channels", "channels % groups or channels"),
    ("rules", "channels // groups", "channels"),
    ("rules", "+ filters * bool(layer.use_bias)", "+ bool(layer.use_bias)"),
    ("rules", "total // 2, total - total // 2", "total - total // 2, total // 2"),
    ("receptive_field", "return (self.kernel - 1) * self.dilation", "return self.kernel - 1"),
    ("receptive_field", "before - reach + stride - 1, before", "before - reach, before"),
    ("receptive_field", "old[0] * (run // self.run)", "old[0] * run"),
    ("receptive_field", "floors = -((self", "floors = ((self"),
    ("receptive_field", "or (window.dilation == 1 and", "or ("),
    ("receptive_field", "_moved(span, -laps * step)", "_moved(span, laps * step)"),
    ("receptive_field", "_moved(span, laps * self.step)", "_moved(span, 0)"),
    ("receptive_field", "pow(stride // common, -1, period)", "1"),
]


def random_chains(count, seed):
    rng = random.Random(seed)
    limits = (4, 4, 2)  # kernel, stride, dilation
    for _ in range(count):
        yield [
            (
                rng.choice(("slide", "stamp")),
                *map(rng.randint, (1, 1, 1), limits),
                rng.randint(0, 2),
            )
            for _ in range(rng.randint(1, 3))
        ]


def noticed(module):
    try:
        for operations in random_chains(60, seed=8):
            check_field(field_of(operations, sys.modules[rf.__name__]), operations)
    except AssertionError:
        return True
    try:
        last = module.trace(resnet_v1_50(), (224, 224, 3))[-1]
    except cs.ShapeError:
        return True
    published = (last.receptive_field, last.jump, last.padding) == (483, 32, 239)
    return not published or bool(disagreements(module))


@pytest.mark.parametrize(("name", "old", "new"), [("rules", "", ""), *MUTANTS])
def test_wrong_formulas_are_noticed(monkeypatch, name, old, new):
    for module_name in ("receptive_field", "rules", "tracing"):
        source = (Path(cs.__file__).parent / f"{module_name}.py").read_text(encoding="utf-8")
        if module_name == name and old:
            assert old in source
            source = source.replace(old, new)
        module = types.ModuleType(f"hw4.conv_shapes.{module_name}")
        exec(compile(source, module_name, "exec"), module.__dict__)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(cs, module_name, module)
    # The first case changes nothing, and so must not be noticed.
    assert noticed(module) == bool(old)


# --- Keras ------------------------------------------------------------------------------------


def keras_layer(kind, arguments):
    import keras

    a = {name: tuple(v) if isinstance(v, list) else v for name, v in arguments.items()}
    if "Pool" in kind:
        # Keras has no such arguments: asking for them is a refusal.
        if a.pop("ceil_mode", False) or a.pop("dilation_rate", 1) not in (1, (1, 1)):
            raise ValueError(kind)
        return getattr(keras.layers, kind.replace("Avg", "Average").replace("Pool", "Pooling"))(**a)
    if kind == "Conv2DTranspose" and a["groups"] == 1:
        del a["groups"]
    names = ["kernel"] if kind.startswith("Conv") else ["depthwise", "pointwise"]
    names = names[:1] if kind == "DepthwiseConv2D" else names
    return getattr(keras.layers, kind)(**a, **{f"{name}_initializer": "zeros" for name in names})


def keras_truth(case):
    """What calling the layer on a symbolic input does; any exception is a refusal."""
    import keras

    kind, arguments, shape = case
    try:
        layer = keras_layer(kind, arguments)
        return [*layer(keras.KerasTensor((1, *shape))).shape[1:], layer.count_params()]
    except Exception:
        return None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:divide by zero")  # Keras' way to refuse a pooling stride of 0
def test_live_keras():
    refused = 0
    for case in make_pytorch_shapes.cases(CASES, seed=11, words=0.95):
        answer = ours(case, "keras")
        assert answer == keras_truth(case), case
        refused += answer is None
    assert 0.2 < refused / CASES < 0.8


# What TensorFlow says where it has no kernel on this processor: which it has depends on oneDNN,
# and so on AVX-512.
NO_KERNEL = (
    "do not yet support dilation rates larger than 1",
    "only supports equal length strides",
)


def called(layer, images):
    """The layer's output; None where TensorFlow lacks the kernel on this processor, and says so."""
    try:
        return layer(images)
    except Exception as error:
        if not any(reason in str(error) for reason in NO_KERNEL):
            raise
        return None


@pytest.mark.slow
def test_keras_shapes_are_those_of_arrays():
    compared = 0
    for case in make_pytorch_shapes.cases(200, seed=12, words=1):
        kind, arguments, shape = case
        answer = ours(case, "keras")
        # A lost position (see the module's docstring) is accepted symbolically only.
        if answer and not (kind == "Conv2DTranspose" and "output_padding" in arguments):
            output = called(keras_layer(kind, arguments), np.zeros((1, *shape), "float32"))
            if output is not None:
                compared += 1
                assert list(output.shape[1:]) == answer[:3], case
    assert compared > 50


def line_network(rng):
    """A random net on a line (height only), its layers for both, with all-ones kernels."""
    from keras import layers

    ones = {"kernel_initializer": "ones", "use_bias": False}
    mine, theirs = [], []
    for _ in range(rng.randint(1, 4)):
        k, s, d, padding = *(rng.randint(1, 3) for _ in "ksd"), rng.choice(("valid", "same"))
        kind = rng.choice(("conv", "conv", "pool", "transposed"))
        if kind == "pool":
            mine.append(cs.AvgPool2D((k, 1), (s, 1), padding))
            theirs.append(layers.AveragePooling2D((k, 1), (s, 1), padding))
            continue
        s, d = rng.choice(((s, 1), (1, d)))
        ours_class = cs.Conv2D if kind == "conv" else cs.Conv2DTranspose
        keras_class = layers.Conv2D if kind == "conv" else layers.Conv2DTranspose
        arguments = {"strides": (s, 1), "padding": padding, "dilation_rate": (d, 1)}
        mine.append(ours_class(1, (k, 1), **arguments))
        theirs.append(keras_class(1, (k, 1), **arguments, **ones))
    return mine, theirs


def test_receptive_fields_are_the_support_of_real_networks():
    """One image for each input pixel: an output that is not zero depends on that pixel."""
    rng, n, compared = random.Random(3), 30, 0
    for _ in range(25):
        mine, theirs = line_network(rng)
        state = tracing.start((n, 1, 1))
        for position, layer in enumerate(mine, 1):
            row, state = tracing.advance(layer, state, "keras", position)
        images = np.eye(n, dtype="float32").reshape(n, n, 1, 1)
        for layer in theirs:
            images = None if images is None else called(layer, images)
        if images is None:
            continue
        compared += 1
        support = np.asarray(images)[:, :, 0, 0] != 0
        assert support.shape == (n, row.output_shape[0])
        for output in range(support.shape[1]):
            pixels = np.flatnonzero(support[:, output])
            span = state.fields[0].at(output) or (0, -1)
            first, last = max(span[0], 0), min(span[1], n - 1)
            assert pixels.size == 0 or (pixels[0] >= first and pixels[-1] <= last)
            if (
                8 < output * state.fields[0].jump < n - 8
                and span[0] >= 0
                and span[1] < n
                and pixels.size
            ):
                assert (pixels[0], pixels[-1]) == span, (mine, output)
    assert compared > 15


@pytest.mark.slow
@pytest.mark.parametrize("name", ["VGG16", "ResNet50"])
def test_from_keras_traces_published_networks(undrawn, name):
    import keras

    model = getattr(keras.applications, name)(weights=None)
    rows = cs.from_keras(model)
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    assert [row.name for row in rows] == [layer.name for layer in layers]
    assert [row.output_shape for row in rows] == [tuple(layer.output.shape[1:]) for layer in layers]
    assert [row.parameters for row in rows] == [layer.count_params() for layer in layers]
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert sum(row.trainable for row in rows) == trainable
    last = [row for row in rows if len(row.output_shape) == 3][-1]
    # Keras' ResNet50 pads its pooling by hand, so its padding is not TF-slim's 239.
    seen, macs = {"VGG16": ((212, 32, 90), 15_470_264_320), "ResNet50": ((483, 32, 241), 0)}[name]
    assert (last.receptive_field, last.jump, last.padding) == seen
    assert not macs or sum(row.macs for row in rows) == macs


def test_from_keras_branches_sharing_nesting_and_freezing():
    import keras
    from keras import layers

    inputs = keras.Input((16, 16, 4))
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    left = shared(shared(inputs))
    right = layers.Conv2D(4, 7, padding="same", name="wide")(inputs)
    joined = layers.Concatenate()([left, keras.ops.relu(left + right)])
    inner = keras.Sequential([keras.Input((16, 16, 8)), layers.MaxPooling2D(), layers.ReLU()])
    up = layers.Conv2DTranspose(8, 2, 2, use_bias=False)(inner(joined))
    frozen = layers.BatchNormalization(name="frozen")
    model = keras.Model(inputs, layers.Add(name="last")([frozen(up), joined]))
    frozen.trainable = False
    rows = {row.name: row for row in cs.from_keras(model)}
    assert sum(row.parameters for row in cs.from_keras(model)) == model.count_params()
    assert [r.parameters for r in cs.from_keras(model) if r.name == "shared"] == [148, 0]
    assert (rows["frozen"].parameters, rows["frozen"].trainable) == (32, 0)
    # 7 wide, two neighbours pooled: 8; the skip connection's own 7 lie inside.
    assert (rows["last"].receptive_field, rows["last"].jump) == (8, 1)


def small_model():
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(6, name="dense"),
            layers.Dropout(0.5),
            layers.Dense(2, activation=layers.PReLU(), name="prelu"),
        ]
    )


def nested(model):
    import keras

    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, model(inputs))


def freeze(model, *names):
    for layer in model.layers:
        layer.trainable = layer.name not in names
    return model


def frozen_kernel(model):
    model.get_layer("conv").kernel.trainable = False
    return model


def thawed_inside(model):
    model.trainable = False
    model.get_layer("dense").trainable = True
    return model


def frozen_outside(model):
    outer = nested(model)
    outer.trainable = False
    model.trainable = True
    return outer


def with_lora(model):
    model.get_layer("dense").enable_lora(2)
    model.get_layer("conv").enable_lora(1)
    return model


def quantized(mode):
    def change(model):
        for name in ("dense", "prelu"):
            model.get_layer(name).quantize(mode)
        return model

    return change


CHANGES = {
    "as built": lambda model: model,
    "nested": nested,
    "frozen layers": lambda model: freeze(model, "conv", "bn"),
    "frozen kernel": frozen_kernel,
    "frozen model, one layer thawed": thawed_inside,
    "frozen around, thawed inside": frozen_outside,
    "frozen inside": lambda model: nested(freeze(model, *(each.name for each in model.layers))),
    "lora": with_lora,
    "lora, frozen": lambda model: freeze(with_lora(model), "dense"),
    "int8": quantized("int8"),
    "int4": quantized("int4"),
    "float8": quantized("float8"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_from_keras_counts_what_keras_counts(name):
    from keras.src.utils import summary_utils

    model = CHANGES[name](small_model())
    rows = cs.from_keras(model)
    assert sum(row.parameters for row in rows) == model.count_params()
    trainable = summary_utils.count_params(model.trainable_weights)
    assert sum(row.trainable for row in rows) == trainable
    assert all(row.trainable <= row.parameters for row in rows)


def test_from_keras_knows_keras_layers_from_their_namesakes():
    import keras

    class Dense(keras.layers.Dense):
        def call(self, inputs):
            return super().call(inputs)[:, :1]

    model = keras.Sequential([keras.Input((4,)), Dense(3, name="mine")])
    with pytest.raises(cs.ShapeError, match=r"layer 1 \(Dense\).*own layers; got Dense in 'mine'"):
        cs.from_keras(model)


def test_from_keras_refusals():
    import keras
    from keras import layers

    inputs = keras.Input((8, 8, 4))
    a = layers.Conv2D(4, 3, 2, padding="same")(inputs)
    up = layers.UpSampling2D(name="grow")(a)
    with pytest.raises(cs.ShapeError, match=r"layer 2 \(UpSampling2D\).*'grow'.*Supported: "):
        cs.from_keras(keras.Model(inputs, up))
    crop = layers.Conv2D(4, 5)(inputs)
    bad = layers.Add(name="join")([a, crop])
    with pytest.raises(cs.ShapeError, match=r"\(Add\): branches must have one jump; got .*'join'"):
        cs.from_keras(keras.Model(inputs, bad))
    free = keras.Input((None, None, 3))
    with pytest.raises(cs.ShapeError, match=r"fixed input size; got \(None, None, None, 3\)"):
        cs.from_keras(keras.Model(free, layers.Conv2D(1, 1)(free)))
    with pytest.raises(TypeError, match="built Sequential or functional .*; got Sequential"):
        cs.from_keras(keras.Sequential([layers.Conv2D(1, 1)]))


# --- Bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("convention", ["keras", "pytorch"])
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (cs.Conv2D(0, 3), r"filters must be .*; got 0\."),
        (cs.Conv2D(2.0, 3), r"filters must be an integer .*; got 2\.0"),
        (cs.Conv2D(2, 3.0), r"kernel_size must be .*; got 3\.0"),
        (cs.Conv2D(2, (3, 0)), r"kernel_size must be .*; got \(3, 0\)"),
        (cs.Conv2D(2, (3, 3, 3)), r"kernel_size must be .*; got \(3, 3, 3\)"),
        (cs.Conv2D(2, True), r"kernel_size must be .*; got True"),
        (cs.Conv2D(2, 3, -1), r"strides must be .*; got -1"),
        (cs.Conv2D(2, 3, dilation_rate=0), r"dilation_rate must be .*; got 0"),
        (cs.Conv2D(2, 3, padding="full"), r"padding must be 'valid'.*; got 'full'"),
        (cs.Conv2D(2, 3, padding=None), r"padding must be .*; got None"),
        (cs.Conv2D(4, 3, groups=3), r"groups must divide filters 4 and .* 6 channels; got 3"),
        (cs.Conv2D(4, 3, groups=4), r"groups must divide filters 4 and .* 6 channels; got 4"),
        (cs.DepthwiseConv2D(3, depth_multiplier=0), r"depth_multiplier must be .*; got 0"),
        (cs.MaxPool2D(0), r"pool_size must be .*; got 0"),
        (cs.AvgPool2D(2, 0), r"strides must be .*; got 0"),
        (cs.MaxPool2D(9), r"input height 8 .* dilated kernel of 1 \* \(9 - 1\) \+ 1 = 9"),
        (cs.Conv2DTranspose(2, 3, 2, output_padding=2), r"less than .*2.*; got 2"),
        (cs.Conv2DTranspose(2, 3, padding="full"), r"padding must be .*; got 'full'"),
        (cs.ZeroPadding2D(-1), r"padding must be .*; got -1"),
        (cs.ZeroPadding2D(((1, 2), (3, 4), (5, 6))), r"padding must be .*; got \(\(1, 2\), "),
        (cs.Conv2D(10**5000, 3), r"filters .* below 2\*\*63; got <an integer of 16610 bits>"),
        (cs.Conv2D(2, (3, -(10**5000))), r"kernel_size .*; got \(3, <an integer of 16610 bits>\)"),
        (cs.Conv2D(2, "3" * 10**6), r"kernel_size .*; got '3+\.\.\.3+'\. "),
        (cs.Conv2D(2, 3, padding="x" * 10**6), r"padding must .*; got 'x+\.\.\.x+'\. "),
        (cs.Conv2DTranspose(2, 3, 2**62), r"output must be smaller than 2\*\*63 on every axis"),
        (cs.Dense(0), r"units must be .*; got 0"),
    ],
)
def test_refusals_of_both_name_the_layer_and_the_value(layer, message, convention):
    kind = type(layer).__name__
    with pytest.raises(cs.ShapeError, match=rf"layer 2 \({kind}\): .*{message}") as caught:
        cs.trace([cs.BatchNorm(), layer], (8, 8, 6), convention)
    assert len(str(caught.value)) < 400
    assert (caught.value.position, caught.value.kind) == (2, kind)
    assert caught.value.rule


@pytest.mark.parametrize(
    ("layers", "convention", "message"),
    [
        (
            [cs.Conv2D(2, 3, padding=1)],
            "keras",
            "'valid' or 'same' under keras; got 1.*ZeroPadding",
        ),
        ([cs.Conv2D(2, 3, (1, 2), dilation_rate=(2, 1))], "keras", "must not both exceed 1"),
        ([cs.Conv2D(2, 3, (1, 2), "same")], "pytorch", "integers here .* stride"),
        ([cs.MaxPool2D(2, padding="same")], "pytorch", "integers here .* pooling"),
        ([cs.MaxPool2D(3, padding=2)], "pytorch", r"at most half .*\(3, 3\); got \(2, 2\)"),
        ([cs.MaxPool2D(3, ceil_mode=True)], "keras", "ceil_mode must be False"),
        ([cs.Conv2DTranspose(2, 3, groups=2)], "keras", "groups must be 1 under keras; got 2"),
        ([cs.Conv2DTranspose(2, 2, padding="same")], "pytorch", "must be integers under pytorch"),
        ([cs.Conv2DTranspose(2, 2, padding=9)], "pytorch", r"got \(8 - 1\) \* 1 - 2 \* 9"),
        ([cs.BatchNorm(scale=False)], "pytorch", "center and scale must agree"),
        ([cs.Dense(3)], "pytorch", r"must be flat .*; got \(8, 8, 6\)"),
        ([cs.Flatten(), cs.Conv2D(3, 3)], "keras", r"layer 2 .*; got \(384,\)"),
        ([cs.GlobalAvgPool2D(), cs.MaxPool2D(2)], "pytorch", r"layer 2 .*; got \(6,\)"),
    ],
)
def test_refusals_of_one_convention(layers, convention, message):
    with pytest.raises(cs.ShapeError, match=message):
        cs.trace(layers, (8, 8, 6), convention)


@pytest.mark.parametrize("shape", [(8, 8), (8, 0, 3), (8, 8.0, 3), (None, 8, 3), 8, (1, 8, 8, 3)])
def test_bad_input_shapes(shape):
    with pytest.raises(ValueError, match=re.escape(f"got {shape!r}. Leave out the batch axis.")):
        cs.trace([], shape)


def test_bad_convention_and_foreign_layer():
    with pytest.raises(ValueError, match="'keras' or 'pytorch'; got 'caffe'"):
        cs.trace([], (8, 8, 3), "caffe")
    with pytest.raises(TypeError, match="layer 1 must be one of Conv2D, .*; got 'conv'"):
        cs.trace(["conv"], (8, 8, 3))
    for alone in (cs.Conv2D(1, 3), "conv 64 3x3"):
        with pytest.raises(TypeError, match="layers must be several layers; got .*Pass a list of"):
            cs.trace(alone, (8, 8, 3))


def test_layers_are_values_and_numpy_sizes_are_welcome():
    assert cs.Conv2D(8, 3) == cs.Conv2D(8, 3)
    assert hash(cs.Conv2D(8, 3)) == hash(cs.Conv2D(8, 3))
    layer = cs.Conv2D(np.int64(8), [np.int32(3), 3])
    row = cs.trace([layer], tuple(np.array([9, 8, 2])))[0]
    assert (row.output_shape, row.parameters) == ((7, 6, 8), 152)


def test_dense_head_sees_the_whole_input():
    layers = [cs.Conv2D(4, 3, 2, "same"), cs.Flatten(), cs.Dense(5), cs.BatchNorm()]
    rows = cs.trace(layers, (9, 7, 3))
    assert [row.output_shape for row in rows] == [(5, 4, 4), (80,), (5,), (5,)]
    # On 9x7 the strided kernels reach from pixel -1 to 9 and to 7.
    assert [row.receptive_field for row in rows] == [3, 3, (11, 9), (11, 9)]
