"""Figures of question 1: a search over time, against its hyperparameters, and tuners compared."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator, NullFormatter

from hw4.plotting import BLUE, GREY, ORANGE, new_axes


def best_so_far(spent, scores, best, promoted, ax=None):
    """Draw every trial over the epochs spent, and the best score so far as a staircase.

    Args:
        spent: (n,) epochs spent after each trial.
        scores: (n,) score of each trial, NaN where it failed.
        best: (n,) best score so far.
        promoted: (n,) whether a trial was a promoted one.
        ax: where to draw; a new figure by default.
    """
    ax, promoted = new_axes(ax), np.asarray(promoted)
    spent, scores = np.asarray(spent), np.asarray(scores, float)
    ax.step(spent, best, where="post", color=GREY, label="best so far")
    ax.plot(spent[~promoted], scores[~promoted], "o", color=BLUE, label="short trial")
    ax.plot(spent[promoted], scores[promoted], "s", color=ORANGE, label="promoted, longer")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epochs spent", ylabel="validation accuracy", title="The search over time")
    ax.legend(loc="lower right")
    return ax


def score_against(columns, scores, *, logarithmic=(), ylabel="validation accuracy"):
    """Draw the score against every hyperparameter, one small panel for each.

    Args:
        columns: name to (n,) numbers or texts.
        scores: (n,) scores.
        logarithmic: names whose axis is logarithmic.
        ylabel: meaning of the scores.

    Returns:
        One Axes for each name, in order.
    """
    across = 4
    down = -(-len(columns) // across)
    figure, grid = plt.subplots(
        down, across, figsize=(2.5 * across, 2.1 * down), sharey=True, squeeze=False
    )
    panels = grid.ravel()
    for ax, (name, column) in zip(panels, columns.items(), strict=False):
        ax.set_xlabel(name)
        texts = isinstance(column[0], str)
        names = sorted(set(column)) if texts else None
        x = [names.index(value) for value in column] if texts else column
        ax.plot(x, scores, "o", color=BLUE, alpha=0.7, markersize=4)
        if texts:
            ax.set_xticks(range(len(names)), names)
            ax.set_xlim(-0.5, len(names) - 0.5)
        elif all(isinstance(value, int) for value in column):
            ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        if name in logarithmic:
            # Within one decade the default labels overlap or are missing.
            ax.set_xscale("log")
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.set_xticks([min(column), max(column)], [f"{min(column):.1e}", f"{max(column):.1e}"])
    for ax in panels[len(columns) :]:
        ax.remove()
    figure.supylabel(ylabel, fontsize="medium")
    return list(panels[: len(columns)])


def compared(spent, quality, *, optimum, ax=None):
    """Draw the mean regret of several tuners over the epochs spent, with 95 % bands.

    Args:
        spent: name to (n,) epochs spent.
        quality: name to (seeds, n) true quality of the incumbent.
        optimum: the best quality there is; regret is what is missing to it.
        ax: where to draw; a new figure by default.
    """
    ax = new_axes(ax)
    for name, runs in quality.items():
        regret = optimum - np.asarray(runs)
        mean, half = regret.mean(0), 1.96 * regret.std(0, ddof=1) / np.sqrt(len(regret))
        (line,) = ax.step(spent[name], mean, where="post", label=name)
        ax.fill_between(
            spent[name],
            mean - half,
            mean + half,
            step="post",
            alpha=0.2,
            linewidth=0,
            color=line.get_color(),
        )
    ax.set(
        xlabel="epochs spent",
        ylabel="regret (optimum - incumbent)",
        title="Three tuners on the stub, mean and 95 % band",
    )
    ax.set_yscale("log")
    ax.legend()
    return ax


def gains(found, ax=None):
    """Draw gains with their intervals as horizontal bars around zero.

    Args:
        found: name to (mean, low, high), in points of accuracy.
        ax: where to draw; a new figure by default.
    """
    ax = new_axes(ax, figsize=(7.0, 0.7 + 0.6 * len(found)))
    for i, (mean, low, high) in enumerate(found.values()):
        ax.errorbar(mean, i, xerr=[[mean - low], [high - mean]], fmt="o", color=BLUE, capsize=4)
    ax.axvline(0, color=GREY, linewidth=1)
    ax.set_yticks(range(len(found)), found)
    ax.set_ylim(-0.5, len(found) - 0.5)
    ax.set(xlabel="gain in held-out accuracy (points), 95 % interval")
    return ax
