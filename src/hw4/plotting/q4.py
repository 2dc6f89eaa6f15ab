"""Figures of question 4: the two networks drawn, parameters, times, tasks and who solves them."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import (
    FormatStrFormatter,
    LogLocator,
    NullFormatter,
    PercentFormatter,
    ScalarFormatter,
)

from hw4.plotting import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, new_axes

# A network keeps its colour through all figures.
COLOURS = {
    "SimpleRNN": GREEN,
    "GRU": PURPLE,
    "LSTM": RED,
    "CNN": BLUE,
    "Conv1D": BLUE,
    "small CNN": BLUE,
    "deep CNN": SKY,
    "CNN, as deep as needed": SKY,
}


def unrolled_rnn(steps: int = 4, ax=None, **figure) -> Axes:
    """Draw a recurrent network unrolled in time: the same weights at every step.

    Args:
        steps: how many steps are drawn.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **({"figsize": (7.0, 2.8)} | figure))
    rows = {"x": (0, GREY), "h": (1, RED), "y": (2, GREY)}
    for t in range(1, steps + 1):
        for name, (row, colour) in rows.items():
            box = {"boxstyle": "circle", "facecolor": "white", "edgecolor": colour}
            ax.text(t, row, f"${name}_{t}$", ha="center", va="center", bbox=box)
        _arrow(ax, (t, 0.22), (t, 0.78), "W")
        _arrow(ax, (t, 1.22), (t, 1.78), "V")
    for t in range(steps + 1):
        _arrow(ax, (t + 0.2, 1), (t + 0.8, 1), "U", RED)
    ax.text(0, 1, "$h_0 = 0$", ha="center", va="center")
    ax.text(steps + 1, 1, "…", ha="center", va="center")
    ax.set(xlim=(-0.4, steps + 1.3), ylim=(-0.4, 2.4))
    ax.set_axis_off()
    return ax


def filter_on_image(image, kernel, response, *, corner=(0, 0)) -> np.ndarray:
    """Draw an image, a filter, and its answer at every place.

    Args:
        image: (h, w), 0 to 1.
        kernel: (k, k), drawn with its numbers.
        response: (h - k + 1, w - k + 1), or of the image's size.
        corner: row and column of the place that is marked in image and answer.

    Returns:
        The three Axes.
    """
    _, axes = plt.subplots(1, 3, figsize=(7.5, 2.8), width_ratios=(3, 1.4, 3))
    largest = np.abs(response).max()
    axes[0].imshow(image, cmap="gray_r")
    axes[1].imshow(kernel, cmap="RdBu_r", vmin=-2, vmax=2)
    shown = axes[2].imshow(response, cmap="RdBu_r", vmin=-largest, vmax=largest)
    plt.colorbar(shown, ax=axes[2], shrink=0.8)
    for (row, column), weight in np.ndenumerate(kernel):
        colour = "white" if abs(weight) > 1.5 else "black"
        axes[1].text(column, row, f"{weight:g}", color=colour, ha="center", va="center")
    row, column = corner
    size = len(kernel)
    edge = {"fill": False, "edgecolor": ORANGE, "linewidth": 2}
    axes[0].add_patch(Rectangle((column - 0.5, row - 0.5), size, size, **edge))
    axes[2].add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **edge))
    for ax, title in zip(axes, ("image", "filter", "answer at every place"), strict=True):
        ax.set(xticks=[], yticks=[], title=title)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
    return axes


def sequence(values, *, marked=(), state=None, title: str = "", ax=None, **figure) -> Axes:
    """Draw one sequence as bars, with what matters in orange, and what is asked as a line.

    Args:
        values: (n,) one number a step.
        marked: steps that decide the answer.
        state: (n,) the right answer after each step.
        title: text above.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **({"figsize": (7.0, 1.5)} | figure))
    colours = [ORANGE if step in set(marked) else GREY for step in range(len(values))]
    ax.bar(range(len(values)), values, color=colours, width=0.6)
    if state is not None:
        ax.step(range(len(values)), state, where="mid", color="black", label="right answer")
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    ax.set(xlim=(-1, len(values)), title=title, xlabel="step")
    ax.grid(axis="x", visible=False)
    return ax


def parameter_counts(features, counts: dict, *, title: str = "", ax=None, **figure) -> Axes:
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
        style = {"marker": "o", "markersize": 3.5, "color": COLOURS.get(name)}
        ax.plot(features, values, label=name, **style)
    ax.set(xscale="log", yscale="log", xlabel="input features", ylabel="parameters", title=title)
    _plain_ticks(ax.xaxis, features)
    ax.legend()
    return ax


def times(lengths, seconds: dict, slopes: dict, *, title: str = "", ax=None, **figure) -> Axes:
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


def recall(
    steps,
    accuracy: dict,
    fields: dict,
    *,
    xlabel: str = "delay, steps",
    log: bool = False,
    title: str = "",
    ax=None,
    **figure,
) -> Axes:
    """Draw accuracy against the steps to look back, and where each receptive field ends.

    Args:
        steps: (n,) how far back what decides the answer lies.
        accuracy: name to (n,) accuracies.
        fields: name to receptive field in steps; a dashed line stands at its end, if `steps`
            reach it.
        xlabel: meaning of the steps.
        log: whether the steps are drawn on a logarithmic axis.
        title: text above.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **figure)
    # The later curves are thinner, so that equal accuracies do not hide one another.
    for (name, values), width in zip(accuracy.items(), (5, 2.5, 1.2), strict=False):
        colour = COLOURS[name]
        style = {"color": colour, "linewidth": width, "markersize": 4 + width}
        ax.plot(steps, values, marker="o", label=name, **style)
        if fields.get(name, np.inf) <= max(steps):
            # A field of r steps reaches back over r - 1 steps before the last.
            end = f"end of its field, {fields[name]} steps"
            ax.axvline(fields[name] - 0.5, color=colour, linestyle="--", linewidth=1, label=end)
    ax.axhline(0.5, color=GREY, linestyle=":", label="guessing")
    ax.set(ylim=(0.4, 1.05), xlabel=xlabel, ylabel="test accuracy", title=title)
    if log:
        ax.set_xscale("log")
        _plain_ticks(ax.xaxis, steps)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def progress(seconds: dict, accuracy: dict, *, title: str = "", ax=None, **figure) -> Axes:
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


def _arrow(ax, start, end, text: str, colour: str = GREY) -> None:
    style = {"arrowstyle": "->", "color": colour, "linewidth": 1.4}
    ax.annotate("", end, start, arrowprops=style)
    x, y = np.mean([start, end], axis=0)
    ax.text(x + 0.05, y + 0.07, f"${text}$", color=colour, fontsize=9)


def _plain_ticks(axis, positions) -> None:
    axis.set_major_formatter(ScalarFormatter())
    axis.set_ticks(list(positions))
    axis.set_tick_params(which="minor", bottom=False)
