"""Figures of question 3: a series with its split, forecasts, repairs compared, gates."""

import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from hw4.plotting import BLUE, GREY, ORANGE, RED, new_axes

# A baseline keeps its line through all figures; others are solid.
LINES = {"last value": "--"}


def split_series(
    dates, values, train_size: int, *, ylabel: str, title: str, ax=None, **figure
) -> Axes:
    """Draw a series whose first `train_size` values train and whose others test.

    Args:
        dates: (n,) times.
        values: (n,) numbers, NaN where missing.
        train_size: number of training values.
        ylabel: meaning and unit of the values.
        title: text above; name the data source in it.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **figure)
    parts = {"training": (slice(None, train_size), BLUE), "test": (slice(train_size, None), ORANGE)}
    for name, (part, colour) in parts.items():
        label = f"{name}, {len(values[part]):,} hours"
        ax.plot(dates[part], values[part], color=colour, linewidth=0.6, label=label)
    ax.axvline(dates[train_size], color=GREY, linestyle="--", linewidth=1)
    ax.set(ylabel=ylabel, title=title)
    _date_axis(ax)
    for handle in ax.legend(loc="upper center").legend_handles:
        handle.set_linewidth(2)
    return ax


def forecasts(
    dates, truth, named: dict, *, ylabel: str, title: str = "", ax=None, **figure
) -> Axes:
    """Draw what was measured in grey, and each named forecast over it.

    Args:
        dates: (n,) times.
        truth: (n,) measured values.
        named: name to (n,) forecasts.
        ylabel: meaning and unit.
        title: text above.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **figure)
    ax.plot(dates, truth, color=GREY, linewidth=2.2, alpha=0.6, label="measured")
    for (name, values), colour in zip(named.items(), (RED, BLUE, ORANGE), strict=False):
        ax.plot(dates, values, color=colour, linewidth=1, label=name)
    ax.set(ylabel=ylabel, title=title)
    _date_axis(ax)
    ax.legend(loc="upper left")
    return ax


def errors(named: dict, *, marks: dict, xlabel: str, title: str = "", ax=None, **figure) -> Axes:
    """Draw errors over several seeds, the first on top: their mean and their range, logarithmic.

    Args:
        named: name to errors above 0, one a seed.
        marks: name to the position of a line, such as a baseline.
        xlabel: meaning of the errors.
        title: text above.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **figure)
    for row, values in enumerate(named.values()):
        ax.plot([min(values), max(values)], [row, row], color=BLUE, linewidth=2)
        ax.plot(np.mean(values), row, color=BLUE, marker="o")
    for name, position in marks.items():
        style = LINES.get(name, "-")
        ax.axvline(position, color=GREY, linestyle=style, linewidth=1.2, label=name)
    ax.set(xscale="log", xlabel=xlabel, title=title)
    ax.set_yticks(range(len(named)), list(named))
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.invert_yaxis()
    if marks:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1, fontsize=8)
    return ax


def saturation(steps, shares, *, title: str = "", ax=None, **figure) -> Axes:
    """Draw the share of saturated gates after each step as bars, in percent.

    Args:
        steps: names of the steps, in the order they are fed.
        shares: (n,) from 0 to 1.
        title: text above.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **figure)
    ax.bar(range(len(steps)), 100 * np.asarray(shares), color=BLUE, width=0.6)
    ax.set_xticks(range(len(steps)), steps)
    ax.set(
        ylim=(0, 100), ylabel="saturated gates, %", xlabel="what is fed at each step", title=title
    )
    ax.grid(axis="x", visible=False)
    return ax


def _date_axis(ax) -> None:
    locator = mdates.AutoDateLocator(minticks=4, maxticks=10)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
