"""What the figures of question 4 show."""

import matplotlib as mpl
import numpy as np
import pytest

from hw4.plotting import q4 as figures


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_parameter_counts_on_logarithmic_axes():
    ax = figures.parameter_counts([1, 10], {"LSTM": [5, 50], "Conv1D": [2, 90]})
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert list(ax.lines[1].get_ydata()) == [2, 90]
    assert labels(ax) == ["LSTM", "Conv1D"]


def test_times_are_milliseconds_with_their_slopes():
    ax = figures.times([16, 64], {"LSTM": [0.001, 0.004]}, {"LSTM": 1.0})
    assert ax.lines[0].get_ydata() == pytest.approx([1, 4])
    assert labels(ax) == ["LSTM, slope 1.00"]
    assert ax.get_ylabel() == "milliseconds per sequence"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["16", "64"]


def test_recall_marks_the_last_visible_delay():
    accuracy = {"LSTM": [1, 1], "CNN": [1, 0.5], "deep CNN": [1, 1]}
    ax = figures.recall([8, 20], accuracy, {"CNN": 15, "deep CNN": 63})
    vertical = [line for line in ax.lines if len(set(line.get_xdata())) == 1]
    assert [line.get_xdata()[0] for line in vertical] == [14.5]
    assert labels(ax) == ["LSTM", "CNN", "end of its field, 15 steps", "deep CNN", "guessing"]


def test_recall_on_logarithmic_lengths():
    ax = figures.recall([16, 64], {"LSTM": [1, 1]}, {}, log=True, xlabel="steps")
    assert ax.get_xscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["16", "64"]
    assert ax.get_xlabel() == "steps"


def test_a_network_keeps_its_colour():
    curve = {"LSTM": [1, 1]}
    drawn = [
        figures.parameter_counts([1, 10], curve),
        figures.times([1, 10], curve, {"LSTM": 1.0}),
        figures.recall([1, 10], curve, {}),
        figures.progress(curve, curve),
    ]
    assert {ax.lines[0].get_color() for ax in drawn} == {figures.COLOURS["LSTM"]}


def test_the_unrolled_network_repeats_its_weights():
    ax = figures.unrolled_rnn(steps=3)
    texts = [text.get_text() for text in ax.texts]
    for name in "xhy":
        assert [f"${name}_{t}$" in texts for t in (1, 2, 3, 4)] == [True, True, True, False]
    assert [texts.count(f"${weight}$") for weight in "WVU"] == [3, 3, 4]


def test_a_filter_marks_one_place_in_image_and_answer():
    image, kernel = np.eye(6), np.array([[1, 0], [0, -1]])
    axes = figures.filter_on_image(image, kernel, np.ones((5, 5)), corner=(2, 3))
    assert [text.get_text() for text in axes[1].texts] == ["1", "0", "0", "-1"]
    window, place = axes[0].patches[0], axes[2].patches[0]
    assert (window.get_xy(), window.get_width()) == ((2.5, 1.5), 2)
    assert (place.get_xy(), place.get_width()) == ((2.5, 1.5), 1)
    np.testing.assert_array_equal(axes[0].images[0].get_array(), image)


def test_a_sequence_shows_what_matters_and_what_is_asked():
    ax = figures.sequence([1, -1, 1], marked=[1], state=[0, 0, 1])
    assert [bar.get_height() for bar in ax.patches] == [1, -1, 1]
    colours = [mpl.colors.to_hex(bar.get_facecolor()) for bar in ax.patches]
    assert colours[0] == colours[2] != colours[1] == figures.ORANGE.lower()
    assert list(ax.lines[0].get_ydata()) == [0, 0, 1]


def test_progress_puts_time_on_x():
    ax = figures.progress({"CNN": [1, 2], "LSTM": [4, 8]}, {"CNN": [0.9, 1], "LSTM": [0.5, 0.6]})
    assert list(ax.lines[1].get_xdata()) == [4, 8]
    assert ax.get_xlabel() == "training time, s"
    assert labels(ax) == ["CNN", "LSTM", "guessing"]
