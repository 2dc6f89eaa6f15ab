"""Figures of question 6: what is on the Axes, not how it looks."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from hw4 import plotting
from hw4.plotting import q6 as normalisation


def test_histograms_give_every_feature_an_outline_over_a_common_range():
    features = {"first": np.array([0.0, 1.0, 1.0]), "second": np.array([3.0, 4.0, 4.0])}
    shifted = {name: values - 2 for name, values in features.items()}
    left, right = normalisation.histograms({"a": features, "b": shifted}, xlabel="value", bins=4)
    assert (left.get_title(), right.get_title()) == ("a", "b")
    assert left.get_xlabel() == right.get_xlabel() == "value"
    outlines = [patch.get_xy() for patch in left.patches]
    assert all((xy[:, 0].min(), xy[:, 0].max()) == (0, 4) for xy in outlines)
    # A density: the area under each outline is 1, whatever the number of values.
    heights = np.histogram(features["first"], 4, (0, 4), density=True)[0]
    assert outlines[0][:, 1].max() == pytest.approx(heights.max()) == pytest.approx(2 / 3)
    names = [text.get_text() for text in right.get_legend().get_texts()]
    assert sorted(names) == ["first", "second"]
    assert right.patches[0].get_xy()[:, 0].min() == -2


def test_theory_is_a_line_and_measurement_is_points_of_its_colour():
    measured, predicted = {"eps 0": [1, 10], "eps 1": [2, 9]}, {"eps 1": [2, 10]}
    ax = normalisation.against_theory([1, 10], measured, predicted, xlabel="x", ylabel="y")
    points, others, line = ax.lines
    assert [one.get_marker() for one in ax.lines] == ["o", "o", "None"]
    assert [one.get_linestyle() for one in ax.lines] == ["None", "None", "-"]
    assert line.get_color() == others.get_color() != points.get_color()
    assert list(line.get_ydata()) == [2, 10]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["eps 0", "eps 1"]


def test_convergence_marks_only_the_runs_that_arrived_in_the_colour_of_their_network():
    fast = [{25: 0.9, 50: 0.99}, {25: 0.8, 50: 0.9, 75: 0.98}]
    slow = [{25: 0.5, 50: 0.7, 1075: 0.8}]
    histories = {"fast": fast, "slow": slow}
    ax = normalisation.convergence(
        histories, 0.98, ylabel="accuracy", title="t", ax=plotting.new_axes()
    )
    goal, first, arrival, second, later, third = ax.lines
    assert list(goal.get_ydata()) == [0.98, 0.98]
    assert (list(first.get_xdata()), list(first.get_ydata())) == ([25, 50], [0.9, 0.99])
    assert (arrival.get_xdata()[0], arrival.get_ydata()[0]) == (50, 0.99)
    assert (later.get_xdata()[0], later.get_ydata()[0]) == (75, 0.98)
    colours = [line.get_color() for line in (first, arrival, second, later)]
    assert len(set(colours)) == 1
    assert third.get_color() != first.get_color()
    assert list(third.get_xdata()) == [25, 50, 1075]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "fast, 2 seeds",
        "slow, 1 seeds",
    ]
    assert (ax.get_ylabel(), ax.get_title()) == ("accuracy", "t")


def test_a_feature_as_wide_as_the_root_of_eps_leaves_with_71_percent():
    ax = normalisation.shrinkage(1e-2)
    curve = next(line for line in ax.lines if line.get_label() == "eps = 1e-02")
    x, y = curve.get_data()
    assert np.interp(0.1, x, y) == pytest.approx(np.sqrt(0.5), abs=1e-3)
    assert y[[0, -1]] == pytest.approx([1e-3, 1], rel=1e-3)


def test_the_slider_redraws(monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gca().get_legend().get_texts()[1]))
    slider = normalisation.explorer().widget.children[0]
    slider.value = -8
    assert [text.get_text() for text in shown] == ["eps = 1e-03", "eps = 1e-08"]
