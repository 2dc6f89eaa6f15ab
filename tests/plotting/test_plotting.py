"""Figures: what is on the Axes, not how it looks."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.special import softmax

from hw4 import plotting
from hw4.grad_cam import faithfulness
from hw4.plotting import q7 as heatmaps


def test_curves_carry_names_values_and_labels():
    series = {"first": [1, 2, 3], "second": [3, 2, 1]}
    bands = {"first": ([0, 1, 2], [2, 3, 4])}
    ax = plotting.curves([1, 2, 3], series, xlabel="epoch", ylabel="accuracy", bands=bands)
    assert [line.get_label() for line in ax.lines] == ["first", "second"]
    assert ax.lines[1].get_ydata().tolist() == [3, 2, 1]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "accuracy")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["first", "second"]
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (0, 4)


def test_curves_draw_on_the_axes_they_are_given():
    ax = plotting.new_axes()
    assert plotting.curves([1], {"only": [1]}, xlabel="x", ylabel="y", ax=ax) is ax
    assert ax.get_legend() is None


def test_image_grid_shows_every_image_on_a_fixed_scale():
    grey, colour = np.full((2, 2), 0.5), np.zeros((2, 2, 3), np.uint8)
    rows = [[grey, None], [colour, grey]]
    axes = plotting.image_grid(rows, row_titles=["a", "b"], column_titles=["c", "d"])
    assert axes.shape == (2, 2)
    assert axes[0, 0].images[0].get_clim() == (0, 1)
    assert axes[1, 0].images[0].get_clim() == (0, 255)
    assert len(axes[0, 1].images) == 0
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["a", "b"]
    assert [ax.get_title() for ax in axes[0]] == ["c", "d"]


def two_curves(level):
    fractions = np.linspace(0, 1, 3)
    table = np.full((5, 3), level) + np.arange(5)[:, None] / 100
    return faithfulness.Curves(fractions, table, 1 - table)


def test_faithfulness_draws_means_and_their_intervals():
    deletion, insertion = heatmaps.faithfulness({"map": two_curves(0.4), "rival": two_curves(0.6)})
    assert [line.get_label() for line in deletion.lines] == ["map", "rival"]
    np.testing.assert_allclose(deletion.lines[0].get_ydata(), 0.42)
    np.testing.assert_allclose(insertion.lines[0].get_ydata(), 0.58)
    low = deletion.collections[0].get_paths()[0].vertices[:, 1].min()
    half = 1.96 * np.std(np.arange(5) / 100, ddof=1) / np.sqrt(5)
    assert low == pytest.approx(0.42 - half)
    assert "deleted" in deletion.get_xlabel()
    assert "inserted" in insertion.get_xlabel()


def test_bars_name_every_value_from_the_top():
    ax = heatmaps.bars({"first": 0.25, "second": 0.5}, xlabel="correlation")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["first", "second"]
    assert [text.get_text() for text in ax.texts] == ["0.25", "0.50"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_bars_show_the_level_of_chance():
    ax = heatmaps.bars({"one": 0.2}, xlabel="x", chance=("unrelated", 0.3))
    assert ax.lines[0].get_xdata() == [0.3, 0.3]
    assert ax.get_legend().get_texts()[0].get_text() == "unrelated"


def test_overlays_carry_the_bar_of_their_colour_map():
    image = np.zeros((4, 4, 3), np.uint8)
    axes = heatmaps.overlays([[image, image]], colormap="inferno", column_titles=["a", "b"])
    assert axes.shape == (1, 2)
    (bar,) = set(axes[0, 0].figure.axes) - set(axes.ravel())
    assert "largest" in bar.get_ylabel()


def test_gains_draw_each_interval_in_its_row():
    intervals = {("random", "deletion"): (0.2, 0.1, 0.4), ("bump", "deletion"): (-0.1, -0.2, 0.1)}
    ax = heatmaps.gains(intervals, xlabel="gain")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["random", "bump"]
    segments = ax.collections[0].get_segments()
    np.testing.assert_allclose([line[:, 0] for line in segments], [[0.1, 0.4], [-0.2, 0.1]])
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_softened_bars_are_the_softmax_and_the_slider_moves_it(monkeypatch):
    scores = np.array([1.0, 3.0, -2.0])
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gca()))
    draw = heatmaps.explorer(scores)
    draw.widget.children[0].value = 10.0
    for ax, temperature in zip(shown, (1.0, 10.0), strict=True):
        wanted = softmax(scores / temperature)
        assert [bar.get_width() for bar in ax.patches] == pytest.approx(wanted)
        assert ax.get_title().endswith(f"1 - p of class 1 is {1 - wanted[1]:.1e}")
