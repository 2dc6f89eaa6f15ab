"""Figures of question 7."""

import matplotlib.pyplot as plt
import numpy as np

from hw4.plotting import curves


def faithfulness(measured, confidence=1.96):
    """Draw mean deletion and insertion curves side by side, with their normal intervals.

    Args:
        measured: name to `faithfulness.Curves`.
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
            xlabel=f"share of pixels {verb}, warmest first",
            ylabel="probability of the digit" if kind == "deletion" else "",
            title=kind.capitalize(),
            bands={
                name: (means[name] - errors[name], means[name] + errors[name]) for name in means
            },
            ax=ax,
        )
    return axes


def bars(values, *, xlabel, title="", ax=None):
    """Draw one horizontal bar a name, first on top, each with its value; values are near 0..1."""
    ax = ax if ax is not None else plt.subplots(figsize=(6, 0.5 + 0.4 * len(values)))[1]
    drawn = ax.barh(list(values), list(values.values()))
    ax.bar_label(drawn, fmt="%.2f", padding=3)
    ax.invert_yaxis()
    ax.set(xlabel=xlabel, title=title, xlim=(min(0, *values.values()), 1.08))
    ax.grid(visible=False, axis="y")
    return ax
