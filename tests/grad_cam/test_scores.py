"""A score, or a probability in disguise: every form is differentiated before it or refused."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops

from hw4.grad_cam import grad_cam, normalise
from hw4.grad_cam.faithfulness import deletion_insertion

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(7)
IMAGES = RNG.random((5, 7, 8, 1)).astype("float32")
KERNEL = RNG.normal(size=(3, 3, 1, 4)).astype("float32")
# A bias that makes the network sure: there the map of a probability is far from the score's.
BIAS = np.array([4.0, 0.0, -4.0], "float32")


class Temperature(layers.Layer):
    """An own softmax, with a weight of its own."""

    def build(self, shape):
        self.heat = self.add_weight(shape=(), initializer="ones")

    def call(self, scores):
        return ops.softmax(scores / self.heat)


class OwnScores(layers.Layer):
    """An own last layer that squashes nothing."""

    def call(self, scores):
        return 2.0 * scores


class SoftmaxHead(layers.Layer):
    """An own last layer with weights, whose name promises more than it does."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3), initializer="orthogonal")

    def call(self, scores):
        return ops.matmul(scores, self.kernel)


class OwnSoftmax(layers.Layer):
    """A softmax with a temperature, under its name."""

    def call(self, scores):
        return ops.softmax(scores / 2)


class Backwards(layers.Flatten):
    """Called and derived like a layer that hands on, and none."""

    def call(self, scores):
        return scores[:, ::-1]


def mixture(z):
    """Two experts' softmax, weighted by a gate's."""
    gate, first, second = (layers.Dense(units, "softmax")(z) for units in (2, 3, 3))
    return gate[:, :1] * first + gate[:, 1:] * second


def by_hand(z):
    """Softmax from its parts: exp(z) / sum exp(z)."""
    powers = ops.exp(z)
    return powers / ops.sum(powers, axis=1, keepdims=True)


def classifier(tail, units=3, activation=None):
    """Convolution, mean, `units` scores, and whatever `tail` makes of them."""
    inputs = keras.Input((7, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Dense(units, activation=activation, name="logits")(x)
    model = keras.Model(inputs, tail(x))
    rng = np.random.default_rng(3)
    model.get_layer("conv").set_weights([KERNEL, np.zeros(4)])
    model.get_layer("logits").set_weights([rng.normal(size=(4, units)), BIAS[-units:]])
    return model


@functools.cache
def score_maps(one):
    """The maps of the scores as they are, which a tail must not change; nobody changes these."""
    return grad_cam(classifier(lambda z: z), IMAGES, one, relu=False)


FOUND = {
    "Lambda(softmax)": layers.Lambda(ops.softmax),
    "Lambda(activation)": layers.Lambda(keras.activations.softmax),
    "softmax, Identity": lambda z: layers.Identity()(ops.softmax(z)),
    "softmax, linear": lambda z: layers.Activation("linear")(layers.Softmax()(z)),
    "softmax, cast": lambda z: ops.cast(layers.Softmax()(z), "float32"),
    "softmax, clip": lambda z: ops.clip(layers.Softmax()(z), 1e-7, 1 - 1e-7),
    "softmax, Rescaling": lambda z: layers.Rescaling(100.0, offset=3.0)(ops.softmax(z)),
    "softmax, noise": lambda z: layers.GaussianNoise(0.1)(ops.softmax(z)),
    "softmax, Reshape": lambda z: layers.Reshape((3,))(ops.softmax(z)),
    "softmax, ops.reshape": lambda z: ops.reshape(ops.softmax(z), (-1, 3)),
    "softmax * 100": lambda z: ops.softmax(z) * 100,
    "100 * softmax": lambda z: 100 * ops.softmax(z),
    "softmax / 2": lambda z: ops.softmax(z) / 2,
    "log(softmax)": lambda z: ops.log(ops.softmax(z)),
    "log(softmax + eps)": lambda z: ops.log(ops.softmax(z) + 1e-9),
    "softmax * 100, cast, clip": lambda z: ops.clip(ops.cast(ops.softmax(z) * 9, "float64"), 0, 9),
    "tanh": layers.Activation("tanh"),
    "sparsemax": layers.Activation("sparsemax"),
    "softmax, sqrt": lambda z: ops.sqrt(ops.softmax(z)),
    "exp(log_softmax)": lambda z: ops.exp(ops.log_softmax(z)),
    "Activation(Softmax())": lambda z: layers.Activation(layers.Softmax())(z),
    "ops.tanh": ops.tanh,
    "ops.relu6": ops.relu6,
    "ops.softsign": ops.softsign,
    "ops.hard_sigmoid": ops.hard_sigmoid,
    "ops.hard_tanh": ops.hard_tanh,
    "ops.gelu": ops.gelu,
}


@pytest.mark.parametrize("name", FOUND)
def test_a_squashing_end_whose_place_is_certain_is_taken_off(name):
    model = classifier(FOUND[name])
    for one in (None, 0, 2):
        maps = grad_cam(model, IMAGES, one, relu=False)
        np.testing.assert_allclose(maps, score_maps(one), rtol=1e-5, atol=1e-7)


def test_a_squashing_layer_under_a_tail_is_taken_off_too():
    model = classifier(lambda p: 100 * p, activation="softmax")
    np.testing.assert_allclose(grad_cam(model, IMAGES, 1, relu=False), score_maps(1), rtol=1e-5)


def identity_dense(p):
    return layers.Dense(3, use_bias=False, kernel_initializer="identity")(p)


REFUSED = {
    "own softmax": (layers.Lambda(lambda z: ops.softmax(z)), "sum to 1"),
    "own softmax * 100": (layers.Lambda(lambda z: 100 * ops.softmax(z)), "sum to 100"),
    "- own softmax": (layers.Lambda(lambda z: -ops.softmax(z)), "sum to -1"),
    "own log softmax": (layers.Lambda(lambda z: ops.log_softmax(z)), "exponentials sum to 1"),
    "own sigmoid": (layers.Lambda(lambda z: ops.sigmoid(z)), "all from 0 to 1"),
    "temperature layer": (Temperature(), "sum to 1"),
    "exp / sum": (by_hand, "sum to 1"),
    "own softmax that is called so": (OwnSoftmax(), "sum to 1"),
    "own order of a softmax": (
        lambda z: Backwards()(ops.softmax(z)),
        r"taken off; got '.*' \(Softmax\)",
    ),
    "ratio of relus": (
        layers.Lambda(lambda z: ops.relu(z) / (ops.sum(ops.relu(z), 1, keepdims=True) + 1e-6)),
        "all from 0 to 1",
    ),
    "softplus ratio": (
        lambda z: ops.softplus(z) / ops.sum(ops.softplus(z), axis=1, keepdims=True),
        "sum to 1",
    ),
    "product of two sigmoids": (lambda z: ops.sigmoid(z) * ops.sigmoid(2 * z), r"\(Sigmoid\)"),
    "two sigmoids side by side": (
        lambda z: ops.concatenate([ops.sigmoid(z[:, :1]), ops.sigmoid(z[:, 1:])], axis=1),
        r"\(Sigmoid\)",
    ),
    "softmax, Permute": (
        lambda z: layers.Flatten()(layers.Permute((2, 1))(layers.Reshape((1, 3))(ops.softmax(z)))),
        r"\(Softmax\)",
    ),
    "mixture of experts": (mixture, r"\(Dense\)"),
    "copy of a softmax": (lambda z: identity_dense(ops.softmax(z)), "sum to 1"),
    "average of two": (
        lambda z: layers.Average()([ops.softmax(z), ops.softmax(-z)]),
        r"taken off; got '.*' \(Softmax\)",
    ),
    "slice": (lambda z: ops.softmax(z)[:, :2], r"\(Softmax\)"),
    "slice * 100": (lambda z: 100 * ops.softmax(z)[:, :2], r"\(Softmax\)"),
    "1 - softmax": (lambda z: 1 - ops.softmax(z), r"\(Softmax\)"),
    "softmax * -1": (lambda z: ops.softmax(z) * -1, r"\(Softmax\)"),
    "batch norm over it": (
        lambda z: layers.BatchNormalization()(ops.softmax(z)),
        r"\(Softmax\)",
    ),
    "two heads": (
        lambda z: layers.Concatenate()([ops.softmax(z), ops.sigmoid(z)]),
        r"\(Softmax\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_squashing_ends_are_refused_with_a_way_out(name):
    tail, message = REFUSED[name]
    model = classifier(tail)
    with pytest.raises(ValueError, match=f"{message}.*scores="):
        grad_cam(model, IMAGES)
    maps = grad_cam(model, IMAGES, 1, scores="logits", relu=False)
    np.testing.assert_allclose(maps, score_maps(1), rtol=1e-5)


def test_a_convolutional_softmax_that_is_pooled_is_refused():
    x = inputs = keras.Input((7, 8, 1))
    x = layers.Conv2D(3, 3, activation="softmax")(layers.Conv2D(4, 3)(x))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    with pytest.raises(ValueError, match=r"taken off; got '.*' \(Conv2D\)"):
        grad_cam(model, IMAGES)
    x = layers.Softmax()(layers.Conv2D(3, 3)(layers.Conv2D(4, 3)(inputs)))
    model = keras.Model(inputs, layers.GlobalMaxPooling2D()(x))
    with pytest.raises(ValueError, match=r"taken off; got '.*' \(.*Softmax\)"):
        grad_cam(model, IMAGES)


@pytest.mark.parametrize(
    "tail",
    [
        lambda z: z,
        OwnScores(),
        layers.Lambda(lambda z: z + 1),
        lambda z: 3 * z,
        lambda z: z * ops.sigmoid(z),  # swish by hand: a gate squashes nothing
        lambda z: z * ops.softmax(z) + z,  # attention
        layers.Activation("relu"),
    ],
)
@pytest.mark.parametrize("units", [1, 3])
def test_what_squashes_nothing_is_taken_with_small_weights_and_with_one_image(tail, units):
    model = classifier(tail, units)
    for part in ("conv", "logits"):
        weights = model.get_layer(part).get_weights()
        model.get_layer(part).set_weights([weights[0] * 0.02, np.zeros_like(weights[1])])
    assert grad_cam(model, IMAGES[:1]).shape == (1, 5, 6)


@pytest.mark.parametrize("units", [1, 3])
@pytest.mark.parametrize("scale", [1, 1e-2, 1e-4])
@pytest.mark.parametrize("tail", [lambda z: z, lambda z: layers.Lambda(lambda x: ops.relu(x))(z)])
def test_scores_that_happen_to_lie_from_0_to_1_are_no_probabilities(tail, scale, units):
    model = classifier(tail, units)
    for part in ("conv", "logits"):
        weight, bias = model.get_layer(part).get_weights()
        model.get_layer(part).set_weights([np.abs(weight) * scale, np.zeros_like(bias)])
    assert grad_cam(model, IMAGES[:1]).any()


def test_an_own_layer_is_differentiated_whatever_its_name():
    model = classifier(SoftmaxHead())
    expected = grad_cam(model, IMAGES, 1, relu=False, scores=model.output)
    np.testing.assert_array_equal(grad_cam(model, IMAGES, 1, relu=False), expected)


def test_an_own_softmax_over_one_unit_is_refused():
    with pytest.raises(ValueError, match="numbers from 1 to 1, all from 0 to 1"):
        grad_cam(classifier(OwnSoftmax(), units=1), IMAGES)


def test_an_untrained_head_of_zeros_is_no_probability():
    model = classifier(lambda z: z)
    model.get_layer("logits").set_weights([np.zeros((4, 3)), np.zeros(3)])
    assert not grad_cam(model, IMAGES).any()


@pytest.mark.parametrize("tail", [layers.Lambda(ops.sigmoid), lambda z: 5 * ops.sigmoid(z)])
def test_a_single_unit_in_disguise_predicts_class_0_when_it_is_unlikely(tail):
    """With p about .02 the prediction is class 0, whatever the sigmoid is hidden in."""
    plain, model = classifier(lambda z: z, units=1), classifier(tail, units=1)
    assert (keras.ops.convert_to_numpy(plain(IMAGES)) < 0).all()
    expected = grad_cam(plain, IMAGES, 0, relu=False)
    np.testing.assert_allclose(grad_cam(model, IMAGES, relu=False), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="all from 0 to 1.*scores="):
        grad_cam(classifier(layers.Lambda(lambda z: ops.sigmoid(z)), units=1), IMAGES)


def test_the_scores_of_a_squashed_unit_need_the_class_to_be_named():
    model = classifier(layers.Lambda(lambda z: ops.sigmoid(z), name="p"), units=1)
    with pytest.raises(ValueError, match="class_index must be given .* all from 0 to 1"):
        grad_cam(model, IMAGES, scores="p")
    ones = grad_cam(model, IMAGES, 1, scores="p", relu=False)
    zeros = grad_cam(model, IMAGES, 0, scores="p", relu=False)
    np.testing.assert_array_equal(ones, -zeros)


def test_scores_differentiate_what_they_name_exactly_as_it_is():
    """d p_c / dA = p_c (dz_c / dA - sum_m p_m dz_m / dA), from the maps of the three scores."""
    model = classifier(layers.Softmax(name="p"))
    each = np.stack([grad_cam(model, IMAGES, one, relu=False) for one in range(3)])
    p = keras.ops.convert_to_numpy(model(IMAGES)).astype("float64")
    for one in range(3):
        expected = p[:, one, None, None] * (each[one] - np.einsum("nm,mnij->nij", p, each))
        for scores in ("p", model.get_layer("p"), model.output):
            maps = grad_cam(model, IMAGES, one, relu=False, scores=scores)
            np.testing.assert_allclose(maps, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ("nothing", r"scores must be .* got 'nothing'. Use one of \[.*'logits'.*\]"),
        ("conv", r"\(n, classes\); got 'conv' with shape \(None, 5, 6, 4\)"),
        (keras.Input((3,)), "scores must be computed from the model's input"),
        (3, "got 3"),
    ],
)
def test_scores_that_are_none_are_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        grad_cam(classifier(lambda z: z), IMAGES, scores=scores)


class Residual(layers.Layer):
    """An own layer: its convolution is inside, where no class name tells."""

    def build(self, shape):
        self.inner = layers.Conv2D(shape[-1], 3, padding="same")
        self.inner.build(shape)

    def call(self, x):
        return x + self.inner(x)


@pytest.mark.parametrize(
    ("last", "size"),
    [
        (Residual(name="last"), (5, 6)),
        (layers.SpectralNormalization(layers.Conv2D(3, 2), name="last"), (4, 5)),
        (layers.Dense(3, name="last"), (5, 6)),
        (layers.EinsumDense("bhwc,cd->bhwd", (None, None, 3), name="last"), None),
    ],
)
def test_the_last_layer_with_weights_and_places_is_explained_whatever_its_class(last, size):
    x = inputs = keras.Input((7, 8, 1))
    if size is None:
        last = layers.EinsumDense("bhwc,cd->bhwd", (5, 6, 3), name="last")
    x = last(layers.Conv2D(4, 3, name="stem")(x))
    x = layers.LayerNormalization()(x)
    x = layers.MaxPooling2D(2)(layers.ReLU()(layers.BatchNormalization()(x)))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    maps = grad_cam(model, IMAGES, 0, relu=False)
    np.testing.assert_array_equal(maps, grad_cam(model, IMAGES, 0, layer="last", relu=False))
    assert maps.shape[1:] == (size or (5, 6))


def test_one_of_several_parallel_branches_is_named():
    inputs = keras.Input((7, 8, 1))
    branches = [layers.Conv2D(2, 3, padding="same", name=f"branch_{i}")(inputs) for i in (1, 2)]
    x = layers.Concatenate(name="joined")(branches)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    with pytest.warns(UserWarning, match="'branch_2'.* beside 'branch_1'.*layer="):
        maps = grad_cam(model, IMAGES, 0)
    np.testing.assert_array_equal(maps, grad_cam(model, IMAGES, 0, layer="branch_2"))


@pytest.mark.filterwarnings("error")
def test_a_skip_connection_or_a_gate_is_no_parallel_branch():
    inputs = keras.Input((7, 8, 1))
    trunk = layers.Conv2D(4, 3, padding="same", name="trunk")(inputs)
    x = layers.Add()([trunk, layers.Conv2D(4, 3, padding="same", name="last")(trunk)])
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply()([x, layers.Conv2D(4, 1, activation="sigmoid", name="gate")(gate)])
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    np.testing.assert_array_equal(grad_cam(model, IMAGES), grad_cam(model, IMAGES, layer="last"))


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
def test_an_int8_model_is_refused():
    model = classifier(lambda z: z)
    model.quantize("int8")
    with pytest.raises(ValueError, match="int8 weights in 'logits'.*Explain the float model"):
        grad_cam(model, IMAGES)


@pytest.mark.parametrize(
    ("dtype", "images", "message"),
    [
        ("uint8", np.full((1, 7, 8, 1), 257), "from 0 to 255 for this model's uint8; got 257 to"),
        ("uint8", np.full((1, 7, 8, 1), -1), "got -1 to -1"),
        ("int8", np.full((1, 7, 8, 1), 128, "uint8"), "from -128 to 127 .*; got 128 to 128"),
        ("float16", np.full((1, 7, 8, 1), 1e5), "float16; got 100000 to 100000"),
        ("float32", np.full((1, 7, 8, 1), 1e39), r"float32; got 1e\+39 to 1e\+39"),
    ],
)
def test_images_that_the_input_cannot_hold_are_refused(dtype, images, message):
    x = inputs = keras.Input((7, 8, 1), dtype=dtype)
    for layer in [layers.Rescaling(1 / 255), layers.Conv2D(2, 3), layers.Flatten()]:
        x = layer(x)
    model = keras.Model(inputs, layers.Dense(3)(x))
    with pytest.raises(ValueError, match=message):
        grad_cam(model, images)
    assert grad_cam(model, np.full((1, 7, 8, 1), 127)).shape == (1, 5, 6)


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8])
def test_integers_of_numpy_are_integers(kind):
    model = classifier(lambda z: z)
    expected = grad_cam(model, IMAGES, 1)
    maps = grad_cam(model, IMAGES, kind(1), batch_size=kind(2))
    np.testing.assert_allclose(maps, expected, rtol=1e-5)
    constant = lambda images: np.full((len(images), 2), 0.5)  # noqa: E731
    curves = deletion_insertion(constant, IMAGES, IMAGES[..., 0], kind(1), steps=kind(4))
    assert curves.deletion.shape == (5, 5)


@pytest.mark.parametrize(
    "wrong",
    [
        np.ma.masked_array(IMAGES, IMAGES > 0.5),
        IMAGES.astype(object),
        IMAGES.astype(str),
        IMAGES + 0j,
        np.zeros(IMAGES.shape, "M8[s]"),
        [[1.0], [1.0, 2.0]],
    ],
)
def test_what_an_array_of_numbers_would_lose_is_refused(wrong):
    table = lambda images: np.full((len(images), 2), 0.5)  # noqa: E731
    for name, call in {
        "images": lambda: grad_cam(classifier(lambda z: z), wrong),
        "images ": lambda: deletion_insertion(table, wrong, IMAGES[..., 0], 1),
        "maps": lambda: deletion_insertion(table, IMAGES, wrong, 1),
        "predict": lambda: deletion_insertion(lambda images: wrong, IMAGES, IMAGES[..., 0], 1),
        "maps ": lambda: normalise(wrong),
    }.items():
        with pytest.raises(ValueError, match=f"{name.strip()} must hold real numbers; got"):
            call()


def test_a_mask_over_class_indices_is_refused_and_a_long_value_is_cut():
    masked = np.ma.masked_array([1] * 5, [0, 0, 0, 0, 1])
    with pytest.raises(ValueError, match="class_index must be None, an int, or one"):
        grad_cam(classifier(lambda z: z), IMAGES, masked)
    for arguments in ({"class_index": "9" * 10**6}, {"batch_size": "9" * 10**6}):
        with pytest.raises(ValueError, match="got '9999") as caught:
            grad_cam(classifier(lambda z: z), IMAGES, **arguments)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", [True, np.True_, 2.0, "2", 0, -3, np.int64(0), None])
def test_what_is_no_count_is_refused(value):
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1; got"):
        grad_cam(classifier(lambda z: z), IMAGES, batch_size=value)
    with pytest.raises(ValueError, match="steps must be an integer from 1 to 56; got"):
        deletion_insertion(lambda x: x, IMAGES, IMAGES[..., 0], 1, steps=value)


def test_one_column_of_probabilities_counts_as_two_classes_as_in_grad_cam():
    """p for class 1 and 1 - p for class 0, exactly as a table of two columns."""

    def two(images):
        p = np.asarray(images, "float64").mean(axis=(1, 2))
        return np.concatenate([1 - p, p], axis=1)

    for one in (0, 1, [0, 1, 1, 0, 1]):
        results = [
            deletion_insertion(predict, IMAGES, IMAGES[..., 0], one, steps=4)
            for predict in (two, lambda images: two(images)[:, 1:])
        ]
        np.testing.assert_array_equal(results[0].deletion, results[1].deletion)
        np.testing.assert_array_equal(results[0].insertion, results[1].insertion)
    with pytest.raises(ValueError, match="from 0 to 1; got 2 to 2"):
        deletion_insertion(lambda x: two(x)[:, 1:], IMAGES, IMAGES[..., 0], 2)
