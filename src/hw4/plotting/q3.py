"""Figures of question 3: a series with its split, forecasts, repairs compared, gates."""

import textwrap

import matplotlib.dates as mdates
import numpy as np

from hw4.plotting import BLUE, GREY, ORANGE, RED, new_axes


def split_series(dates, values, train_size: int, *, ylabel: str, title: str, ax=None, **figure):
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


def forecasts(dates, truth, named: dict, *, ylabel: str, title: str = "", ax=None, **figure):
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


def scores(
    named: dict,
    *,
    marks: dict,
    xlabel: str = "R² on the test hours",
    title: str = "",
    ax=None,
    **figure,
):
    """Draw one bar a score, the first on top, with its number, and a line for each mark.

    Args:
        named: name to score; negative ones are red.
        marks: name to the position of a dashed line, such as a baseline.
        xlabel: meaning of the score.
        title: text above.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **figure)
    values = np.array(list(named.values()), float)
    rows = np.arange(len(values))
    ax.barh(rows, values, color=[RED if value < 0 else BLUE for value in values], height=0.6)
    span = max(values.max(), 1) - min(values.min(), 0)
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    for row, value in zip(rows, values, strict=True):
        # Beside the bar's end, on the side where the bar is not.
        side = "left" if value >= 0 else "right"
        shift = 0.01 * span * (1 if value >= 0 else -1)
        ax.text(value + shift, row, f"{value:.2f}", va="center", ha=side, zorder=3, bbox=paper)
    for (name, position), style in zip(marks.items(), ("--", ":", "-."), strict=False):
        ax.axvline(position, color=GREY, linestyle=style, linewidth=1.2, label=name)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(rows, list(named))
    ax.set(
        xlabel=xlabel,
        title=textwrap.fill(title, 45),
        xlim=(min(values.min(), 0) - 0.12 * span, max(values.max(), 1) + 0.15 * span),
    )
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    if marks:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=len(marks))
    return ax


def saturation(steps, shares, *, title: str = "", ax=None, **figure):
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
