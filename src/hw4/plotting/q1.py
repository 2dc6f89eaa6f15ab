"""Figures of question 1: a search over time, against its hyperparameters, and tuners compared."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from hw4.measure import paired_interval
from hw4.plotting import BLUE, GREEN, GREY, ORANGE, RED, new_axes

# What keeps its colour through all figures of the notebook.
COLOURS = {"adam": BLUE, "rmsprop": ORANGE, "sgd": GREEN}
COLOURS |= {"random + promotion": BLUE, "bayesian + promotion": ORANGE}
COLOURS |= {"hyperband": GREEN, "random, all short": RED}


def search_course(spent, score, incumbent, promoted, *, xlabel="epochs spent", ax=None) -> Axes:
    """Draw the error of every trial, and of the incumbent as a staircase, on a logarithmic axis.

    Args:
        spent: (n,) what has been spent after each trial.
        score: (n,) accuracy of each trial, NaN where it failed.
        incumbent: (n,) accuracy of the trial that would win so far.
        promoted: (n,) whether a trial was a promoted one.
        xlabel: meaning of `spent`.
        ax: where to draw; a new figure by default.
    """
    ax, promoted = new_axes(ax), np.asarray(promoted)
    spent, error = np.asarray(spent), 100 * (1 - np.asarray(score, float))
    answer = 100 * (1 - np.asarray(incumbent, float))
    ax.step(spent, answer, where="post", color=GREY, label="answer so far")
    ax.plot(spent[~promoted], error[~promoted], "o", color=BLUE, label="short trial")
    ax.plot(spent[promoted], error[promoted], "s", color=ORANGE, label="promoted, longer")
    _plain_log_axis(ax.yaxis)
    ax.set(xlabel=xlabel, ylabel="validation error (%)", title="The search over time")
    ax.legend()
    return ax


def score_against(
    columns, scores, groups, *, logarithmic=(), ylabel="validation accuracy"
) -> list[Axes]:
    """Draw the score against every hyperparameter, one small panel for each.

    Args:
        columns: name to (n,) numbers or texts.
        scores: (n,) scores.
        groups: (n,) texts that decide the colour.
        logarithmic: names whose axis is logarithmic.
        ylabel: meaning of the scores.

    Returns:
        One Axes for each name, in order.
    """
    across = 3
    down = -(-len(columns) // across)
    figure, grid = plt.subplots(
        down, across, figsize=(3 * across, 2.1 * down), sharey=True, squeeze=False
    )
    panels, groups, scores = grid.ravel(), np.asarray(groups), np.asarray(scores)
    for ax, (name, column) in zip(panels, columns.items(), strict=False):
        ax.set_xlabel(name)
        values = sorted(set(column))
        texts = isinstance(column[0], str)
        x = np.array([values.index(value) for value in column] if texts else column)
        for group in sorted(set(groups)):
            chosen = groups == group
            style = {"alpha": 0.7, "markersize": 4, "color": COLOURS.get(group)}
            ax.plot(x[chosen], scores[chosen], "o", label=group, **style)
        if texts:
            ax.set_xticks(range(len(values)), values)
            ax.set_xlim(-0.5, len(values) - 0.5)
        elif name in logarithmic:
            # Within one decade the default labels overlap or are missing.
            ax.set_xscale("log")
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.set_xticks([values[0], values[-1]], [f"{values[0]:.1e}", f"{values[-1]:.1e}"])
        elif len(values) <= 6:
            ax.set_xticks(values)
    for ax in panels[len(columns) :]:
        ax.remove()
    figure.supylabel(ylabel, fontsize="medium")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=9)
    return list(panels[: len(columns)])


def compared(spent, quality, *, optimum, ax=None) -> Axes:
    """Draw the mean regret of several searches over the epochs spent, with 95 % bands.

    Args:
        spent: name to (n,) epochs spent.
        quality: name to (seeds, n) true accuracy of the answer so far.
        optimum: the best accuracy there is; regret is what is missing to it.
        ax: where to draw; a new figure by default.
    """
    ax = new_axes(ax)
    for name, runs in quality.items():
        regret = 100 * (optimum - np.asarray(runs))
        intervals = [paired_interval(column, np.zeros(len(column))) for column in regret.T]
        # A step needs a further point to be seen.
        x = [*spent[name], spent[name][-1] + 1]
        mean, low, high = np.transpose([*intervals, intervals[-1]])
        (line,) = ax.step(x, mean, where="post", label=name, color=COLOURS.get(name))
        band = {"step": "post", "alpha": 0.2, "linewidth": 0, "color": line.get_color()}
        ax.fill_between(x, low, high, **band)
    ax.set(
        xlabel="epochs spent",
        ylabel="regret (points of accuracy)",
        title="Searches of equal cost on the stub: mean and 95 % band",
    )
    _plain_log_axis(ax.yaxis)
    ax.legend()
    return ax


def confused_digits(counts, ax=None) -> Axes:
    """Draw which digits are taken for which; the right answers are left out, being most.

    Args:
        counts: (10, 10) integers, rows true, columns predicted.
        ax: where to draw; a new figure by default.
    """
    ax, counts = new_axes(ax, figsize=(4.6, 4.2)), np.asarray(counts)
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    ax.imshow(wrong, cmap="Blues")
    for (i, j), count in np.ndenumerate(wrong):
        if count:
            ink = "white" if count > wrong.max() / 2 else "black"
            ax.text(j, i, str(count), ha="center", va="center", color=ink)
    ax.set_xticks(range(len(counts)))
    ax.set_yticks(range(len(counts)))
    ax.set(xlabel="predicted", ylabel="true", title=f"The {wrong.sum()} mistakes on test images")
    ax.grid(False)
    return ax


def _plain_log_axis(axis) -> None:
    """Make an axis logarithmic, with plain numbers at 1, 2 and 5 of every decade."""
    axis.axes.set_yscale("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def gains(
    found, title="", *, xlabel="gain in held-out accuracy (points), 95 % interval", ax=None
) -> Axes:
    """Draw gains with their intervals as horizontal bars around zero.

    Args:
        found: name to (mean, low, high), in points of accuracy; what a name says in brackets does
            not change its colour.
        title: text above.
        xlabel: what is drawn.
        ax: where to draw; a new figure by default.
    """
    ax = new_axes(ax, figsize=(7.0, 0.7 + 0.6 * len(found)))
    for i, (name, (mean, low, high)) in enumerate(found.items()):
        style = {"fmt": "o", "capsize": 4, "color": COLOURS.get(name.split(" (")[0], GREY)}
        ax.errorbar(mean, i, xerr=[[mean - low], [high - mean]], **style)
    ax.axvline(0, color=GREY, linewidth=1)
    ax.set_yticks(range(len(found)), found)
    ax.set_ylim(len(found) - 0.5, -0.5)
    ax.set(xlabel=xlabel, title=title)
    return ax
