"""The text language of `hw4 shapes`: what it reads, prints and refuses, carets included."""

import json
import time

import pytest

from hw4 import conv_shapes as cs
from hw4.conv_shapes.text import NetworkError, parse, parse_shape, run

TASK = (
    "conv 64 3x3 s1 same; conv 32 5x5 s2 d2 valid; pool 2 s2;"
    "conv 128 3x3 s1 same; conv 64 5x5 s2 d4 valid; pool 2 s2;"
    "conv 256 3x3 s1 same; conv 128 5x5 s2 d8 valid; pool 2 s2"
)


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("conv 64 3", cs.Conv2D(64, 3)),
        ("conv 64 3x5 s2 d3 p1 g4 nobias", cs.Conv2D(64, (3, 5), 2, 1, 3, 4, False)),
        ("CONV 64 3×5 SAME s2x1", cs.Conv2D(64, (3, 5), (2, 1), "same")),
        ("dwconv 3 s2 m2 p1x0", cs.DepthwiseConv2D(3, 2, (1, 0), depth_multiplier=2)),
        ("sepconv 8 3 m2 d2", cs.SeparableConv2D(8, 3, dilation_rate=2, depth_multiplier=2)),
        ("tconv 8 4 s2 op1 same", cs.Conv2DTranspose(8, 4, 2, "same", output_padding=1)),
        ("pool 2", cs.MaxPool2D(2)),
        ("maxpool 3 s2 p1 d2 ceil", cs.MaxPool2D(3, 2, 1, True, 2)),
        ("avgpool 2x3 s1 same", cs.AvgPool2D((2, 3), 1, "same")),
        ("gap", cs.GlobalAvgPool2D()),
        ("pad 1x2", cs.ZeroPadding2D((1, 2))),
        ("bn", cs.BatchNorm()),
        ("flatten", cs.Flatten()),
        ("dense 10 nobias", cs.Dense(10, False)),
    ],
)
def test_each_layer_is_read(text, layer):
    assert parse(text)[0] == [layer]


def test_separators_blanks_and_places():
    text = " conv 4 3 ;; pool 2\n\n  gap;"
    layers, places = parse(text)
    assert [type(layer) for layer in layers] == [cs.Conv2D, cs.MaxPool2D, cs.GlobalAvgPool2D]
    assert [text[start:end] for start, end in places] == ["conv 4 3", "pool 2", "gap"]


def underlined(error):
    """The text above the carets of an error, which must be its last two lines."""
    line, carets = str(error).splitlines()[-2:]
    assert set(carets) == {" ", "^"}
    start = carets.index("^")
    assert len(carets) - start == carets.count("^")
    return line.ljust(len(carets))[start : len(carets)]


@pytest.mark.parametrize(
    ("text", "word", "message"),
    [
        ("conv 4 3; pol 2", "pol", "layer 2 must be a known kind; got 'pol'. Did you mean pool?"),
        ("xyz", "xyz", "layer 1 must be a known kind; got 'xyz'. Use one of conv, dwconv"),
        ("conv", " ", "layer 1 (conv) must have its filters here; got nothing. Write conv 64 3x3."),
        ("conv 8", " ", "layer 1 (conv) must have its kernel_size here; got nothing."),
        ("conv 8 ;pool 2", ";", "layer 1 (conv) must have its kernel_size here; got nothing."),
        ("pool same", "same", "layer 1 (pool) must have its pool_size here; got 'same'."),
        ("bn; conv -8 3", "-8", "layer 2 (conv) must have its filters here; got '-8'."),
        ("conv 8 3x3x3", "3x3x3", "kernel_size here; got '3x3x3'."),
        ("conv 8 3 s1.5", "s1.5", "got 's1.5'. It takes sN, dN, pN, gN, same, valid, nobias."),
        ("dwconv 3 g2", "g2", "got 'g2'. It takes sN, dN, pN, mN, same, valid, nobias."),
        ("pool 2 s2 nobias", "nobias", "It takes sN, dN, pN, same, valid, ceil."),
        ("gap 3", "3", "got '3'. It takes no options."),
        ("conv 8 3 s2 s3", "s3", "must have one strides; got another, 's3'."),
        ("conv 8 3 same p1", "p1", "must have one padding; got another, 'p1'."),
        ("bn\n  conv 8 3 what\nbn", "what", "layer 2 (conv)"),
    ],
)
def test_unreadable_words_are_underlined(text, word, message):
    with pytest.raises(NetworkError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert underlined(caught.value) == word


@pytest.mark.parametrize(
    ("convention", "layer", "numbers"),
    [
        ("pytorch", "conv 128 5x5 s2 d8 valid", ("layer 8", "33", "11", "-10")),
        ("keras", "conv 32 5x5 s2 d2 valid", ("layer 2", "(2, 2)")),
    ],
)
@pytest.mark.parametrize("separator", ["; ", ";", "\n", "  ;\n\t"])
def test_impossible_layer_is_underlined_however_long_the_line(
    convention, layer, numbers, separator
):
    text = separator.join(piece.strip() for piece in TASK.split(";"))
    with pytest.raises(NetworkError) as caught:
        run(text, "256x256x3", convention)
    assert all(number in str(caught.value) for number in numbers)
    assert underlined(caught.value) == layer
    assert all(len(line) <= 76 for line in str(caught.value).splitlines()[1:])


def test_table_is_aligned_and_complete():
    table = run(TASK.replace("s2 d", "d"), "256x256x3").splitlines()
    head = "# layer output shape parameters trainable MACs field jump"
    assert " ".join(table[0].split()) == head
    assert len(table) == 11
    eighth = "8 conv 128 5x5 d8 valid 22x22x128 819,328 819,328 396,492,800 186 4"
    assert " ".join(table[8].split()) == eighth
    assert table[10].split() == ["total", "1,261,920", "1,261,920", "7,044,333,568"]
    assert len({len(line) for line in table[:10]}) == 1, "numbers end in one column"


def test_json_carries_the_rows():
    answer = json.loads(run("bn; tconv 4 2x1 s2x1", (8, 6, 3), as_json=True))
    assert (answer["input_shape"], answer["convention"]) == ([8, 6, 3], "keras")
    assert answer["layers"][1] == {
        "layer": "tconv 4 2x1 s2x1",
        "kind": "Conv2DTranspose",
        "output_shape": [16, 6, 4],
        "parameters": 28,
        "trainable": 28,
        "macs": 8 * 6 * 2 * 3 * 4,
        "receptive_field": 1,
        "jump": [0.5, 1],
        "padding": 0,
    }
    assert (answer["parameters"], answer["trainable"]) == (40, 34)


def test_flat_input_and_convention():
    assert "7,850" in run("dense 10", "784", "pytorch")
    with pytest.raises(ValueError, match="'keras' or 'pytorch'; got 'tf'"):
        run("dense 10", "784", "tf")


@pytest.mark.parametrize("text", ["256", "32x32x3", " 28×28X1 "])
def test_shapes_are_read(text):
    assert len(parse_shape(text)) in (1, 3)


@pytest.mark.parametrize("text", ["", "32x32", "0x3x3", "axbxc", "32x32x3x1", "-3x3x3", "3.0"])
def test_bad_shapes(text):
    with pytest.raises(ValueError, match="--input must be HEIGHTxWIDTHxCHANNELS .*; got"):
        parse_shape(text)


@pytest.mark.parametrize("text", ["", " ; \n ;"])
def test_empty_network(text):
    with pytest.raises(ValueError, match="at least one layer; got none"):
        run(text, "8x8x3")


HOSTILE = {
    "5,000 digits": ("conv " + "9" * 5000 + " 3", "at most 12 digits"),
    "13 digits": ("conv 1000000000000 3", "got '1000000000000'. Use numbers of at most 12 digits."),
    "digits of an option": ("conv 1 3 s" + "9" * 5000, "at most 12 digits"),
    "a word of 10 MB": ("x" * 10**7, "must be a known kind; got 'xxx"),
    "an option of 10 MB": ("conv 1 3 " + "s" * 10**7, "It takes sN"),
    "Arabic digits": ("conv ٣ 3", "must have its filters here; got '٣'"),
    "superscript": ("conv 3² 3", "must have its filters here; got '3²'"),
    "full-width digits of an option": ("conv 8 3 s２", "must have options it knows; got 's２'"),
    "64 bits": (
        "tconv 1 3 s999999999999;" * 3,
        "layer 2 (Conv2DTranspose): output must be smaller",
    ),
    "100 digits": ("pad 99999999;pool 2 s9999999;" * 40, "must keep its numbers to 100 digits"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("as_json", [False, True])
def test_hostile_text_is_refused_briefly_and_at_once(name, as_json):
    text, message = HOSTILE[name]
    start = time.process_time()
    with pytest.raises(NetworkError) as caught:
        run(text, "8x8x1", as_json=as_json)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500
    assert time.process_time() - start < 3


@pytest.mark.parametrize("text", ["9" * 5000, "9" * 10**7, "8x" * 10**6, "٣x٣x٣", "1" * 13])
def test_hostile_sizes_are_refused_briefly(text):
    with pytest.raises(ValueError, match="--input must be .*; got '") as caught:
        parse_shape(text)
    assert len(str(caught.value)) < 250


def test_large_numbers_that_fit_are_printed():
    table = run("tconv 1 3 s99999999; tconv 1 99999999 s99999999", "8x8x1")
    assert table.splitlines()[1].split()[-2:] == ["1", "1/99999999"]
    assert run("tconv 1 8 s9;" * 7, "1x1x1").splitlines()[7].split()[-2:] == ["?", "1/4782969"]
    last = json.loads(run("tconv 1 8 s9;" * 7, "1x1x1", as_json=True))["layers"][-1]
    assert (last["receptive_field"], last["jump"]) == (None, 1 / 9**7)
