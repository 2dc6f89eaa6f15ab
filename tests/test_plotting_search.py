"""The figures of question 1: what is on the Axes."""

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import pytest

from hw4.plotting import search as plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plots.plt.close("all")


def test_best_so_far_separates_promoted_trials():
    ax = plots.best_so_far(
        [2, 4, 6, 10],
        [0.9, np.nan, 0.95, 0.97],
        [0.9, 0.9, 0.95, 0.97],
        [False, False, False, True],
    )
    stairs, short, longer = ax.get_lines()
    assert stairs.get_ydata().tolist() == [0.9, 0.9, 0.95, 0.97]
    assert short.get_xdata().tolist() == [2, 4, 6]
    assert longer.get_ydata().tolist() == [0.97]
    assert ax.get_xlabel() == "epochs spent"
    assert ax.get_ylabel() == "validation accuracy"


def test_score_against_draws_numbers_and_words():
    columns = {
        "rate": [1e-4, 1e-3, 5e-4],
        "optimizer": ["sgd", "adam", "adam"],
        "layers": [1, 2, 3],
    }
    panels = plots.score_against(columns, [0.9, 0.95, 0.96], logarithmic=("rate",))
    assert [ax.get_xlabel() for ax in panels] == list(columns)
    assert [ax.get_xscale() for ax in panels] == ["log", "linear", "linear"]
    assert [text.get_text() for text in panels[1].get_xticklabels()] == ["adam", "sgd"]
    assert panels[1].get_lines()[0].get_xdata().tolist() == [1, 0, 0]
    assert panels[2].get_lines()[0].get_ydata().tolist() == [0.9, 0.95, 0.96]
    assert len(panels[0].figure.axes) == 3


def test_compared_draws_the_mean_regret_of_each_tuner():
    quality = {"random": [[0.8, 0.9], [0.6, 0.9]], "bayesian": [[0.7, 0.95], [0.7, 0.85]]}
    ax = plots.compared({"random": [2, 4], "bayesian": [2, 8]}, quality, optimum=1.0)
    lines = ax.get_lines()
    assert [line.get_label() for line in lines] == ["random", "bayesian"]
    assert lines[0].get_ydata() == pytest.approx([0.3, 0.1])
    assert lines[1].get_xdata().tolist() == [2, 8]
    assert len(ax.collections) == 2


def test_gains_show_mean_and_interval():
    ax = plots.gains({"dropout": (1.0, 0.5, 1.5), "pooling": (2.0, -1.0, 5.0)})
    assert [text.get_text() for text in ax.get_yticklabels()] == ["dropout", "pooling"]
    ends = [segment[:, 0].tolist() for bar in ax.containers for segment in bar[2][0].get_segments()]
    assert ends == [[0.5, 1.5], [-1.0, 5.0]]


def test_given_axes_are_used():
    ax = plots.new_axes()
    assert plots.gains({"dropout": (1.0, 0.5, 1.5)}, ax=ax) is ax
