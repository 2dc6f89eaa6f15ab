"""Figures of question 4: parameters, times against length, recall against delay, motifs."""

import numpy as np
from matplotlib.ticker import (
    FormatStrFormatter,
    LogLocator,
    NullFormatter,
    PercentFormatter,
    ScalarFormatter,
)

from hw4.plotting import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, new_axes

COLOURS = {"CNN": BLUE, "SimpleRNN": GREEN, "GRU": PURPLE, "LSTM": RED}


def parameter_counts(features, counts: dict, *, title: str = "", ax=None, **figure):
    """Draw parameters against input features, both on logarithmic axes.

    Args:
        features: (n,) input features.
        counts: name to (n,) parameter counts.
        title: text above.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **figure)
    for name, values in counts.items():
        ax.plot(features, values, marker="o", markersize=3.5, label=name)
    ax.set(xscale="log", yscale="log", xlabel="input features", ylabel="parameters", title=title)
    _plain_ticks(ax.xaxis, features)
    ax.legend()
    return ax


def times(lengths, seconds: dict, slopes: dict, *, title: str = "", ax=None, **figure):
    """Draw time per sequence against sequence length, log-log, with the slope of each fit.

    Args:
        lengths: (n,) steps.
        seconds: name to (n,) seconds per sequence.
        slopes: name to the fitted exponent, written in the legend.
        title: text above.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **figure)
    for name, values in seconds.items():
        label = f"{name}, slope {slopes[name]:.2f}"
        milliseconds = 1e3 * np.asarray(values)
        ax.plot(
            lengths, milliseconds, marker="o", markersize=4, label=label, color=COLOURS.get(name)
        )
    ax.set(xscale="log", yscale="log", xlabel="steps in a sequence", title=title)
    ax.set_ylabel("milliseconds per sequence")
    _plain_ticks(ax.xaxis, lengths)
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.legend()
    return ax


def recall(delays, accuracy: dict, fields: dict, *, title: str = "", ax=None, **figure):
    """Draw accuracy against delay, and where each receptive field ends.

    Args:
        delays: (n,) steps between the marked sign and the end.
        accuracy: name to (n,) accuracies.
        fields: name to receptive field in steps; a dashed line stands behind the last
            visible delay, if the delays reach it.
        title: text above.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **figure)
    # The later curves are thinner, so that equal accuracies do not hide one another.
    styles = zip(accuracy.items(), (RED, BLUE, ORANGE), (5, 2.5, 1.2), strict=False)
    for (name, values), colour, width in styles:
        style = {"color": colour, "linewidth": width, "markersize": 4 + width}
        ax.plot(delays, values, marker="o", label=name, **style)
        if fields.get(name, np.inf) <= max(delays):
            # A field of r steps ends between the delays r - 1 (seen) and r (not seen).
            end = f"end of its field, {fields[name]} steps"
            ax.axvline(fields[name] - 0.5, color=colour, linestyle="--", linewidth=1, label=end)
    ax.axhline(0.5, color=GREY, linestyle=":", label="guessing")
    ax.set(ylim=(0.4, 1.05), xlabel="delay, steps", ylabel="test accuracy", title=title)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.legend(loc="center right")
    return ax


def progress(seconds: dict, accuracy: dict, *, title: str = "", ax=None, **figure):
    """Draw test accuracy against training time.

    Args:
        seconds: name to (n,) training seconds so far.
        accuracy: name to (n,) accuracies.
        title: text above.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **figure)
    for name, values in accuracy.items():
        ax.plot(seconds[name], values, marker="o", label=name, color=COLOURS.get(name))
    ax.axhline(0.5, color=GREY, linestyle=":", label="guessing")
    ax.set(ylim=(0.4, 1.05), xlabel="training time, s", ylabel="test accuracy", title=title)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.legend(loc="center right")
    return ax


def _plain_ticks(axis, positions) -> None:
    axis.set_major_formatter(ScalarFormatter())
    axis.set_ticks(list(positions))
    axis.set_tick_params(which="minor", bottom=False)
