"""What the figures of question 3 show."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from hw4.plotting import q3 as series

DATES = pd.date_range("2023-02-03", periods=100, freq="h")


def test_split_series_shows_both_parts_and_the_border():
    ax = series.split_series(DATES, np.arange(100.0), 80, ylabel="m³", title="generated")
    training, test, border = ax.lines
    assert len(training.get_ydata()) == 80
    assert test.get_ydata()[0] == 80
    assert pd.Timestamp(border.get_xdata()[0]) == DATES[80]
    assert ax.get_title() == "generated"
    assert ax.get_ylabel() == "m³"
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["training, 80 hours", "test, 20 hours"]


def test_forecasts_draws_truth_and_every_forecast():
    named = {"network": np.ones(100), "yesterday": np.zeros(100)}
    ax = series.forecasts(DATES, np.arange(100), named, ylabel="m³")
    assert [line.get_label() for line in ax.lines] == ["measured", "network", "yesterday"]
    assert ax.lines[1].get_ydata().tolist() == [1] * 100


def test_errors_show_mean_and_range_of_the_seeds():
    named = {"given": [1.5, 2.5], "all": [0.01, 0.02, 0.06]}
    ax = series.errors(named, marks={"last value": 0.04}, xlabel="1 - R²", title="repairs")
    assert (ax.get_title(), ax.get_xlabel(), ax.get_xscale()) == ("repairs", "1 - R²", "log")
    lines = [list(line.get_xdata()) for line in ax.lines]
    assert lines == [[1.5, 2.5], [2.0], [0.01, 0.06], [pytest.approx(0.03)], [0.04, 0.04]]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["given", "all"]
    assert ax.yaxis_inverted()
    assert ax.get_legend().get_texts()[0].get_text() == "last value"


def test_a_baseline_keeps_its_line_through_all_figures():
    last = {"last value": 0.04}
    drawn = [series.errors({"a": [1]}, marks=m, xlabel="") for m in (last, {"mean": 1} | last)]
    alone, mean, beside = [line.get_linestyle() for ax in drawn for line in ax.lines[2:]]
    assert alone == beside != mean


def test_saturation_is_in_percent():
    ax = series.saturation(["hour", "year"], [0.25, 0.9])
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([25, 90])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["hour", "year"]


def test_everything_draws_on_given_axes():
    _, given = plt.subplots()
    assert series.saturation(["a"], [0.1], ax=given) is given
    assert series.errors({"a": [1.0]}, marks={}, xlabel="", ax=given) is given
