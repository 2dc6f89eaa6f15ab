"""Figures of question 2: radiographs with marks, confusion matrices, curves with intervals."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from hw4.plotting import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, new_axes

NETWORKS = {"VGG16": BLUE, "ResNet50": PURPLE, "small CNN": GREEN}


def colour_of(name: str) -> str:
    """Return the colour that a network keeps through all figures; grey for random weights.

    >>> colour_of("VGG16, imagenet (torchvision), 8 bits") == BLUE
    True
    """
    if "random" in name:
        return GREY
    return next((colour for known, colour in NETWORKS.items() if name.startswith(known)), GREY)


def radiograph(image, title="", *, boxes=(), ax=None, colour=ORANGE, **figure) -> plt.Axes:
    """Draw one radiograph, with marked fractures as frames.

    Args:
        image: (h, w) grey or (h, w, 3) RGB.
        title: text above; red where the prediction in it is wrong is the caller's choice.
        boxes: (centre x, centre y, width, height) each, as shares of the image.
        ax: where to draw; a new figure by default.
        colour: of the frames.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **figure)
    height, width = image.shape[:2]
    ax.imshow(image)
    for x, y, w, h in boxes:
        corner = ((x - w / 2) * width - 0.5, (y - h / 2) * height - 0.5)
        ax.add_patch(Rectangle(corner, w * width, h * height, fill=False, ec=colour, lw=1.5))
    ax.set_title(title, fontsize=8)
    ax.set_axis_off()
    return ax


def gallery(images, titles, *, boxes=None, columns=4, wrong=None, colour=ORANGE) -> np.ndarray:
    """Draw radiographs side by side; return the array of their Axes.

    Args:
        images: n images, (h, w) or (h, w, 3).
        titles: n texts.
        boxes: n lists of boxes as in `radiograph`.
        columns: pictures a row.
        wrong: n booleans; the titles of true ones are red.
        colour: of the frames.
    """
    rows = -(-len(images) // columns)
    figure = {"figsize": (2.15 * columns, 2.45 * rows), "squeeze": False}
    axes = plt.subplots(rows, columns, **figure)[1]
    for number, ax in enumerate(axes.flat):
        ax.set_axis_off()
        if number >= len(images):
            continue
        marked = boxes[number] if boxes is not None else ()
        radiograph(images[number], titles[number], boxes=marked, ax=ax, colour=colour)
        if wrong is not None and wrong[number]:
            ax.title.set_color(RED)
    return axes


def confusion(
    counts, *, title="", names=("no fracture", "fracture"), ax=None, **figure
) -> plt.Axes:
    """Draw a confusion matrix with its counts: rows are true, columns predicted.

    Args:
        counts: (2, 2) integers.
        title: text above.
        names: of the two classes.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **({"figsize": (3.4, 3.2)} | figure))
    counts = np.asarray(counts)
    # Shades are shares of the true class, so that the larger class does not drown the other.
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(counts):
        ink = "white" if shares[i, j] > 0.5 else "black"
        ax.text(j, i, f"{count:,}\n{shares[i, j]:.0%}", ha="center", va="center", color=ink)
    ax.set_xticks(range(2), names)
    ax.set_yticks(range(2), names, rotation=90, va="center")
    ax.set(xlabel="predicted", ylabel="true", title=title)
    ax.grid(False)
    return ax


def confusions(named) -> np.ndarray:
    """Draw several confusion matrices in a row; return the array of their Axes.

    Args:
        named: title to (2, 2) counts.
    """
    axes = plt.subplots(1, len(named), figsize=(3.2 * len(named), 3.2), squeeze=False)[1][0]
    for ax, (title, counts) in zip(axes, named.items(), strict=True):
        confusion(counts, title=title, ax=ax)
        ax.title.set_fontsize(10)
    return axes


def roc(curves, *, title="", ax=None, **figure) -> plt.Axes:
    """Draw ROC curves beside the diagonal of chance.

    Args:
        curves: name to (false positive rates, true positive rates, area).
        title: text above.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **({"figsize": (4.4, 4.0)} | figure))
    for name, (false, true, area) in curves.items():
        ax.plot(false, true, color=colour_of(name), label=f"{name}: {area:.3f}")
    ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="chance: 0.500")
    ax.set(xlabel="false positive rate", ylabel="true positive rate", title=title, aspect="equal")
    ax.legend(title="area under the curve", loc="lower right", fontsize=8, title_fontsize=8)
    return ax


def accuracies(
    names, values, intervals, majority, *, line="majority share", title="", ax=None, **figure
) -> plt.Axes:
    """Draw accuracies with their 95 % intervals against the share of the majority class.

    Args:
        names: n texts.
        values: n accuracies.
        intervals: n pairs (low, high).
        majority: what a constant prediction scores.
        line: what the line there is called.
        title: text above.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **({"figsize": (7.0, 0.9 + 0.5 * len(names))} | figure))
    rows = np.arange(len(names))[::-1]
    for row, name, value, (low, high) in zip(rows, names, values, intervals, strict=True):
        spread = [[value - low], [high - value]]
        ax.errorbar(value, row, xerr=spread, fmt="o", color=colour_of(name), capsize=4)
    ax.axvline(majority, color=RED, linestyle="--", label=f"{line} {majority:.3f}")
    ax.set_yticks(rows, names)
    ax.set(xlabel="test accuracy, 95 % interval", title=title, ylim=(-0.6, len(names) - 0.4))
    ax.figure.legend(loc="outside lower left", fontsize=8)
    return ax


def histories(results, majority: float) -> np.ndarray:
    """Draw accuracy and loss of training (dashed) and test (full) by epoch; return both Axes.

    Args:
        results: objects with `model`, `weights`, and `history` with `accuracy`, `loss`, `val_...`.
        majority: what a constant prediction scores.
    """
    axes = plt.subplots(1, 2, figsize=(9.0, 3.4))[1]
    for ax, quantity in zip(axes, ("accuracy", "loss"), strict=True):
        for result in results:
            epochs = np.arange(1, len(result.history[quantity]) + 1)
            options = {"color": colour_of(f"{result.model}, {result.weights}")}
            ax.plot(
                epochs, result.history[f"val_{quantity}"], label=f"{result.model}, test", **options
            )
            ax.plot(
                epochs, result.history[quantity], "--", label=f"{result.model}, training", **options
            )
        ax.set(xlabel="epoch", ylabel=quantity)
    axes[0].axhline(majority, color=RED, linestyle=":", label=f"majority share {majority:.3f}")
    axes[1].legend(*axes[0].get_legend_handles_labels(), fontsize=8)
    return axes


def against(
    x, series, *, xlabel, ylabel, majority=None, log=False, title="", ax=None, **figure
) -> plt.Axes:
    """Draw one curve with intervals for each network.

    Args:
        x: (n,) positions.
        series: name to n triples (value, low, high); None leaves a position out.
        xlabel: meaning and unit of x.
        ylabel: meaning of the values.
        majority: what a constant prediction scores, drawn as a line.
        log: whether x is drawn by octaves.
        title: text above.
        ax: where to draw; a new figure by default.
        figure: options of a new figure.
    """
    ax = new_axes(ax, **figure)
    for number, (name, triples) in enumerate(series.items()):
        pairs = [(at, triple) for at, triple in zip(x, triples, strict=True) if triple is not None]
        # side by side, so that intervals do not hide each other
        shift = 0.015 * (number - (len(series) - 1) / 2)
        places = [at * (1 + 2 * shift) if log else at + shift * np.ptp(x) for at, _ in pairs]
        value, low, high = np.transpose([triple for _, triple in pairs])
        spread = [value - low, high - value]
        options = {"color": colour_of(name), "capsize": 3, "marker": "o", "markersize": 4}
        ax.errorbar(places, value, yerr=np.maximum(spread, 0), label=name, **options)
    if log:
        ax.set_xscale("log", base=2)
        ax.set_xticks(x, [f"{at:,}" for at in x])
        ax.minorticks_off()
    if majority is not None:
        ax.axhline(majority, color=RED, linestyle=":", label=f"majority share {majority:.3f}")
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.legend(fontsize=8)
    return ax
