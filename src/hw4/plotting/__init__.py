"""Every figure of the notebooks; nothing else in hw4 imports matplotlib.

A plot function takes finished numbers and returns the Axes it drew on.
"""

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler

# The colours of Okabe and Ito (2008), which people with colour-vision deficiency can tell apart.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
)
GREY = "#777777"

plt.rcParams.update(
    {
        "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, RED, PURPLE, SKY]),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "figure.dpi": 100,
        "figure.figsize": (7.0, 3.6),
        "figure.constrained_layout.use": True,
        "image.cmap": "gray",
        "legend.frameon": False,
    }
)


def new_axes(ax=None, **figure) -> plt.Axes:
    """Return `ax`, or the Axes of a new figure made with the options `figure`."""
    return ax if ax is not None else plt.subplots(**figure)[1]


def curves(x, series, *, xlabel, ylabel, title="", bands=None, ax=None, **figure) -> plt.Axes:
    """Draw named curves over a common x.

    Args:
        x: (n,) positions.
        series: name to (n,) values.
        xlabel: meaning and unit of x.
        ylabel: meaning and unit of the values.
        title: text above.
        bands: name to a pair of (n,) arrays, lower and upper, shaded around that curve.
        ax: where to draw; a new figure by default.
        figure: options of a new figure, `figsize` for instance.
    """
    ax = new_axes(ax, **figure)
    for name, values in series.items():
        marker = "o" if len(x) <= 30 else None
        (line,) = ax.plot(x, values, marker=marker, markersize=3.5, label=name)
        if bands and name in bands:
            ax.fill_between(x, *bands[name], color=line.get_color(), alpha=0.2, linewidth=0)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if len(series) > 1:
        ax.legend()
    return ax


def image_grid(rows, row_titles=None, column_titles=None, cell=1.05) -> np.ndarray:
    """Draw rows of images without axes: grey (h, w) or RGB (h, w, 3), floats 0..1 or uint8.

    Args:
        rows: equally long rows of images; None leaves a place empty.
        row_titles: one text a row, at its left.
        column_titles: one text a column, above.
        cell: side of one image, inches.

    Returns:
        The Axes, an array (rows, columns).
    """
    height, width = len(rows), len(rows[0])
    left = 0.9 if row_titles else 0
    size = (cell * width + left, cell * height + (0.3 if column_titles else 0))
    _, axes = plt.subplots(height, width, figsize=size, squeeze=False)
    for row, line in zip(axes, rows, strict=True):
        for ax, image in zip(row, line, strict=True):
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
            ax.spines[:].set_visible(False)
            if image is not None:
                ax.imshow(image, vmin=0, vmax=255 if image.dtype == np.uint8 else 1)
    for ax, text in zip(axes[:, 0], row_titles or (), strict=False):
        ax.set_ylabel(text, rotation=0, ha="right", va="center")
    for ax, text in zip(axes[0], column_titles or (), strict=False):
        ax.set_title(text, fontsize=10)
    return axes
