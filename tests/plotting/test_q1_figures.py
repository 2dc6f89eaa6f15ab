"""The figures of question 1: what is on the Axes."""

import numpy as np
import pytest

from hw4.plotting import q1 as plots


def test_search_course_draws_errors_and_separates_promoted_trials():
    ax = plots.search_course(
        [1, 2, 3, 7],
        [0.9, np.nan, 0.95, 0.98],
        [0.9, 0.9, 0.95, 0.98],
        [False, False, False, True],
    )
    stairs, short, longer = ax.get_lines()
    assert stairs.get_ydata() == pytest.approx([10, 10, 5, 2])
    assert short.get_xdata().tolist() == [1, 2, 3]
    assert longer.get_ydata() == pytest.approx([2])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epochs spent", "validation error (%)")
    assert ax.get_yscale() == "log"
    assert {"2", "5", "10"} <= {text.get_text() for text in ax.get_yticklabels()}


def test_score_against_draws_numbers_and_words_in_the_colours_of_groups():
    columns = {
        "rate": [1e-4, 1e-3, 5e-4],
        "optimizer": ["sgd", "adam", "adam"],
        "dropout": [0.1, 0.2, 0.1],
        "width": [33.0, 40.0, 80.0],
    }
    groups = columns["optimizer"]
    panels = plots.score_against(columns, [0.9, 0.95, 0.96], groups, logarithmic=("rate",))
    assert [ax.get_xlabel() for ax in panels] == list(columns)
    assert [ax.get_xscale() for ax in panels] == ["log", "linear", "linear", "linear"]
    assert [text.get_text() for text in panels[1].get_xticklabels()] == ["adam", "sgd"]
    adam, sgd = panels[1].get_lines()
    assert (adam.get_xdata().tolist(), sgd.get_xdata().tolist()) == ([0, 0], [1])
    assert adam.get_ydata().tolist() == [0.95, 0.96]
    assert panels[2].get_xticks().tolist() == [0.1, 0.2]
    (legend,) = panels[0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["adam", "sgd"]
    assert len(panels[0].figure.axes) == 4


def test_compared_draws_the_mean_regret_of_each_tuner_in_points():
    quality = {"random": [[0.8, 0.9], [0.6, 0.9]], "bayesian": [[0.7, 0.95], [0.7, 0.85]]}
    ax = plots.compared({"random": [2, 4], "bayesian": [2, 8]}, quality, optimum=1.0)
    lines = ax.get_lines()
    assert [line.get_label() for line in lines] == ["random", "bayesian"]
    assert lines[0].get_ydata() == pytest.approx([30, 10, 10])
    assert lines[1].get_xdata().tolist() == [2, 8, 9]
    assert len(ax.collections) == 2


def test_confused_digits_show_the_mistakes_alone():
    counts = 100 * np.eye(10, dtype=int)
    counts[4, 9], counts[7, 2] = 5, 1
    ax = plots.confused_digits(counts)
    shown = {
        (round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in ax.texts
    }
    assert shown == {(4, 9): "5", (7, 2): "1"}
    assert ax.get_title() == "The 6 mistakes on test images"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")


def test_gains_show_mean_and_interval():
    ax = plots.gains({"dropout": (1.0, 0.5, 1.5), "pooling": (2.0, -1.0, 5.0)})
    assert [text.get_text() for text in ax.get_yticklabels()] == ["dropout", "pooling"]
    ends = [segment[:, 0].tolist() for bar in ax.containers for segment in bar[2][0].get_segments()]
    assert ends == [[0.5, 1.5], [-1.0, 5.0]]


def test_a_competitor_keeps_its_colour():
    quality = {"bayesian + promotion": [[0.8, 0.9], [0.6, 0.9]]}
    (line,) = plots.compared({"bayesian + promotion": [2, 4]}, quality, optimum=1.0).get_lines()
    ax = plots.gains({"bayesian + promotion (98 epochs)": (1.0, 0.5, 1.5)})
    assert ax.containers[0].lines[0].get_color() == line.get_color() == plots.ORANGE


def test_given_axes_are_used():
    ax = plots.new_axes()
    assert plots.gains({"dropout": (1.0, 0.5, 1.5)}, ax=ax) is ax
