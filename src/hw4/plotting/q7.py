"""Figures of question 7."""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable

from hw4.plotting import GREY, curves, image_grid, new_axes


def faithfulness(measured, what="pixels", confidence=1.96) -> np.ndarray:
    """Draw mean deletion and insertion curves side by side, with their normal intervals.

    Args:
        measured: name to `faithfulness.Curves`.
        what: the shares are shares of these.
        confidence: half-width of the shaded interval, in standard errors; 1.96 is 95 %.

    Returns:
        The two Axes, deletion first.
    """
    _, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
    for ax, kind in zip(axes, ("deletion", "insertion"), strict=True):
        values = {name: getattr(one, kind) for name, one in measured.items()}
        means = {name: table.mean(axis=0) for name, table in values.items()}
        errors = {
            name: confidence * table.std(axis=0, ddof=1) / np.sqrt(len(table))
            for name, table in values.items()
        }
        fractions = next(iter(measured.values())).fractions
        verb = "deleted" if kind == "deletion" else "inserted"
        curves(
            fractions,
            means,
            xlabel=f"share of {what} {verb}, warmest first",
            ylabel="probability of the digit" if kind == "deletion" else "",
            title=kind.capitalize(),
            bands={
                name: (means[name] - errors[name], means[name] + errors[name]) for name in means
            },
            ax=ax,
        )
    return axes


def bars(values, *, xlabel, title="", chance=None, ax=None) -> plt.Axes:
    """Draw one horizontal bar a name, first on top, each with its value; values are near 0..1.

    `chance` is a pair (name, value) for a dashed line.
    """
    ax = ax if ax is not None else plt.subplots(figsize=(6, 0.5 + 0.4 * len(values)))[1]
    drawn = ax.barh(list(values), list(values.values()))
    over = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # not crossed by the dashed line
    ax.bar_label(drawn, fmt="%.2f", padding=3, bbox=over)
    ax.invert_yaxis()
    if chance:
        ax.axvline(chance[1], color=GREY, linestyle="--", label=chance[0])
        ax.legend(loc="lower right")
    ax.set(xlabel=xlabel, title=title, xlim=(min(0, *values.values()), 1.08))
    ax.grid(visible=False, axis="y")
    return ax


def overlays(rows, *, colormap, row_titles=None, column_titles=None, cell=1.05) -> np.ndarray:
    """Draw a grid of overlays with the colour bar of their maps, scaled to their own largest value.

    Args:
        rows: equally long rows of images, as `plotting.image_grid` takes them.
        colormap: the map's name, which OpenCV and Matplotlib share.
        row_titles: one text a row.
        column_titles: one text a column.
        cell: side of one image, inches.

    Returns:
        The Axes of the images, (rows, columns).
    """
    axes = image_grid(rows, row_titles, column_titles, cell)
    bar = axes[0, 0].figure.colorbar(
        ScalarMappable(cmap=colormaps[colormap]), ax=axes, fraction=0.02, pad=0.01
    )
    bar.set_label("evidence / largest", fontsize=9)
    bar.set_ticks([0, 0.5, 1])
    return axes


def gains(intervals, *, xlabel, ax=None) -> plt.Axes:
    """Draw paired differences with their intervals, one row a rival, one shade a measurement.

    Args:
        intervals: (rival, measurement) to (mean, low, high).
        xlabel: what the differences are.
        ax: where to draw; a new figure by default.
    """
    rivals = list(dict.fromkeys(rival for rival, _ in intervals))
    kinds = list(dict.fromkeys(kind for _, kind in intervals))
    ax = new_axes(ax, figsize=(7, 0.9 + 0.45 * len(rivals)))
    for place, (kind, colour) in enumerate(zip(kinds, ("black", GREY), strict=False)):
        rows = np.arange(len(rivals)) + 0.2 * (place - (len(kinds) - 1) / 2)
        means, lows, highs = np.transpose([intervals[rival, kind] for rival in rivals])
        errors = [means - lows, highs - means]
        ax.errorbar(means, rows, xerr=errors, fmt="o", capsize=3, color=colour, label=kind)
    ax.axvline(0, color=GREY, linewidth=1)
    ax.set(xlabel=xlabel, yticks=range(len(rivals)), yticklabels=rivals)
    ax.set_ylim(len(rivals) - 0.5, -0.5)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def softened(scores, temperature, ax=None) -> plt.Axes:
    """Draw the softmax of scores divided by a temperature, and what it leaves of a gradient.

    Args:
        scores: (classes,) before the softmax.
        temperature: above 0; below 1 the largest score takes all.
        ax: where to draw; a new figure by default.
    """
    scaled = (np.asarray(scores, float) - np.max(scores)) / temperature
    parts = np.exp(scaled)
    p = parts / parts.sum()
    top = int(p.argmax())
    title = f"temperature {temperature:.2g}: 1 - p of class {top} is {1 - p[top]:.1e}"
    ax = bars({str(i): value for i, value in enumerate(p)}, xlabel="p", title=title, ax=ax)
    ax.set_ylabel("class")
    return ax


def explorer(scores) -> Callable:
    """Show a slider for the temperature beside `softened`, in a live notebook.

    Args:
        scores: (classes,) before the softmax.

    Returns:
        The drawing function; its `widget` holds the slider.
    """
    import ipywidgets

    @ipywidgets.interact(temperature=ipywidgets.FloatLogSlider(1, min=-1, max=1.5, step=0.1))
    def draw(temperature=1.0) -> None:
        softened(scores, temperature)
        plt.show()

    return draw
