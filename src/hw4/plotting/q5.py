"""Figures of question 5."""

from collections.abc import Callable

import matplotlib.pyplot as plt

from hw4.plotting import BLUE, GREY, ORANGE, RED, new_axes


def kernel_places(
    input_size, kernel_size, strides=1, dilation_rate=1, padding=(0, 0), ax=None
) -> plt.Axes:
    """Draw, along one axis, every place where a kernel can be put down, or why there is none.

    Args:
        input_size: number of input pixels.
        kernel_size: number of taps.
        strides: pixels between neighbouring places.
        dilation_rate: pixels between neighbouring taps.
        padding: (before, after), zeros at the two ends of the input.
        ax: where to draw; a new figure by default.

    Returns:
        The Axes: squares for the input, below, and a line of discs for each place, above; red where
        a tap of a kernel that does not fit falls beside the input.
    """
    before, after = padding
    span = dilation_rate * (kernel_size - 1) + 1
    count = (input_size + before + after - span) // strides + 1
    lines = max(count, 1)
    ax = new_axes(ax, figsize=(9, 1.5 + 0.2 * lines))
    inside = dict.fromkeys(range(input_size), "input")
    zeros = [*range(-before, 0), *range(input_size, input_size + after)]
    inside |= dict.fromkeys(zeros, "zero")
    taps = [
        (place * strides - before + tap * dilation_rate, place + 1)
        for place in range(lines)
        for tap in range(kernel_size)
    ]
    for place in range(lines):
        first = place * strides - before
        ax.plot([first, first + span - 1], [place + 1] * 2, color=GREY, linewidth=1, zorder=0)
    squares = {"marker": "s", "s": 80}
    ax.scatter(range(input_size), [0] * input_size, color=GREY, label="input", **squares)
    if zeros:
        empty = {"facecolor": "none", "edgecolor": GREY}
        ax.scatter(zeros, [0] * len(zeros), label="zero", **empty, **squares)
    styles = (
        ("input", BLUE, "tap"),
        ("zero", ORANGE, "tap on a zero"),
        (None, RED, "tap beside the input"),
    )
    for where, colour, label in styles:
        chosen = [tap for tap in taps if inside.get(tap[0]) == where]
        if chosen:
            ax.scatter(*zip(*chosen, strict=True), s=50, color=colour, label=label)
    total = f"{input_size} + {before + after}" if zeros else f"{input_size}"
    formula = f"floor(({total} − {span}) / {strides}) + 1 = {count}"
    ax.set(
        title=f"{'no place' if count < 1 else f'places {count}'}: {formula}",
        xlabel="pixel",
        yticks=range(1, count + 1),
        ylabel="place",
        ylim=(-0.8, lines + 0.8),
    )
    ax.grid(visible=False)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def explorer() -> Callable:
    """Show sliders for all numbers of `kernel_places` beside its drawing, in a live notebook.

    Returns:
        The drawing function; its `widget` holds the sliders.
    """
    import ipywidgets

    @ipywidgets.interact(
        input_size=(3, 30),
        kernel=(1, 7),
        stride=(1, 4),
        dilation=(1, 8),
        before=(0, 8),
        after=(0, 8),
    )
    def draw(input_size=11, kernel=5, stride=2, dilation=8, before=0, after=0) -> None:
        kernel_places(input_size, kernel, stride, dilation, (before, after))
        plt.show()

    return draw


def same_padding_picture(cases, ax=None) -> plt.Axes:
    """Draw the zeros that "same" puts before and after an input, one row a case.

    Args:
        cases: label to (before, after).
        ax: where to draw; a new figure by default.

    Returns:
        The Axes: bars to the left are zeros before, bars to the right zeros after.
    """
    ax = new_axes(ax, figsize=(7, 1.2 + 0.38 * len(cases)))
    labels = list(cases)
    before, after = zip(*cases.values(), strict=True)
    ax.barh(labels, [-zeros for zeros in before], color=BLUE, label="before")
    right = ax.barh(labels, after, color=ORANGE, label="after")
    for row, zeros in enumerate(before):
        ax.text(-zeros - 0.1, row, zeros, ha="right", va="center")
    ax.bar_label(right, labels=[str(zeros) for zeros in after], padding=3)
    ax.axvline(0, color=GREY, linewidth=1)
    widest = max(*before, *after) + 1
    ax.set(
        title='The zeros of "same": an odd total has one more after the input',
        xlabel="zeros, in pixels",
        xlim=(-widest, widest),
        xticks=[],
    )
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax
