"""What the figures of question 4 show."""

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


def test_progress_puts_time_on_x():
    ax = figures.progress({"CNN": [1, 2], "LSTM": [4, 8]}, {"CNN": [0.9, 1], "LSTM": [0.5, 0.6]})
    assert list(ax.lines[1].get_xdata()) == [4, 8]
    assert ax.get_xlabel() == "training time, s"
    assert labels(ax) == ["CNN", "LSTM", "guessing"]
