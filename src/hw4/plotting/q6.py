"""Figures of question 6."""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np

from hw4.plotting import GREY, new_axes


def histograms(panels, *, xlabel, bins=50) -> np.ndarray:
    """Draw the distribution of each feature as one outline, panels side by side.

    Args:
        panels: title to {name of a feature: (n,) values}.
        xlabel: meaning of the values, in all panels.
        bins: bars over the range of a panel, the same for all its features.

    Returns:
        The Axes, one a panel.
    """
    _, axes = plt.subplots(1, len(panels), figsize=(10, 3.4), squeeze=False)
    for ax, (title, features) in zip(axes[0], panels.items(), strict=True):
        values = np.stack(list(features.values()))
        edges = np.linspace(values.min(), values.max(), bins + 1)
        for name, one in features.items():
            ax.hist(one, edges, density=True, histtype="step", linewidth=1.5, label=name)
        ax.set(title=title, xlabel=xlabel, yticks=[])
        ax.set_ylabel("density")
    axes[0, -1].legend(loc="upper right")
    return axes[0]


def against_theory(
    x, measured, predicted, *, xlabel, ylabel, title="", ax=None, **figure
) -> plt.Axes:
    """Draw measured points over the lines that theory predicts, on logarithmic axes.

    Args:
        x: (n,) positive positions.
        measured: name to (n,) positive values, drawn as points.
        predicted: name, one of those measured, to (n,) positive values, drawn as a line.
        xlabel: meaning and unit of x.
        ylabel: meaning and unit of the values.
        title: text above.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **figure)
    for name, values in measured.items():
        (points,) = ax.plot(x, values, "o", markersize=5, label=name)
        if name in predicted:
            ax.plot(x, predicted[name], color=points.get_color(), linewidth=1)
    ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel, title=title)
    ax.minorticks_off()
    ax.legend()
    return ax


def convergence(histories, goal, *, ylabel, title="", ax=None, **figure) -> plt.Axes:
    """Draw runs of different length up to a common goal, one colour a kind of network.

    Args:
        histories: name to a list of runs, {number of batches: value} each.
        goal: drawn as a dashed line; a dot marks where a run reached it.
        ylabel: meaning of the values.
        title: text above.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **figure)
    ax.axhline(goal, color=GREY, linestyle="--", linewidth=1)
    for number, (name, runs) in enumerate(histories.items()):
        for run, history in enumerate(runs):
            steps, values = zip(*history.items(), strict=True)
            label = "_" if run else f"{name}, {len(runs)} seeds"
            ax.plot(steps, values, color=f"C{number}", linewidth=1, label=label)
            if values[-1] >= goal:
                ax.plot(steps[-1], values[-1], "o", color=f"C{number}", markersize=5)
    ax.set(xlabel="batches", ylabel=ylabel, title=title)
    ax.legend(loc="lower right")
    return ax


def shrinkage(eps: float, ax=None) -> plt.Axes:
    """Draw with which deviation, s / sqrt(s² + eps), a feature of deviation s leaves batch norm."""
    ax = new_axes(ax)
    deviations = 10.0 ** np.linspace(-4, 1, 101)
    ax.axhline(1, color=GREY, linestyle="--", linewidth=1, label="promised")
    ax.plot(deviations, deviations / np.sqrt(deviations**2 + eps), label=f"eps = {eps:.0e}")
    ax.axvline(np.sqrt(eps), color=GREY, linestyle=":", linewidth=1, label="square root of eps")
    ax.set(
        xscale="log",
        xlim=(deviations[0], deviations[-1]),
        ylim=(0, 1.1),
        xlabel="deviation of the input",
        ylabel="deviation of the output",
        title="What eps leaves of a feature of small scale",
    )
    ax.minorticks_off()
    ax.legend()
    return ax


def explorer() -> Callable:
    """Show a slider for eps beside `shrinkage`, in a live notebook.

    Returns:
        The drawing function; its `widget` holds the slider.
    """
    import ipywidgets

    @ipywidgets.interact(exponent=(-8, 0))
    def draw(exponent=-3) -> None:
        shrinkage(10.0**exponent)
        plt.show()

    return draw
