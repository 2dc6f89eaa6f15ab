"""Figures of question 5."""

from hw4.plotting import BLUE, GREY, ORANGE, RED, new_axes


def kernel_over_input(input_size, kernel_size, dilation_rate, ax=None):
    """Draw, along one axis, the taps of a dilated kernel over an input that may be too small.

    Args:
        input_size: number of input pixels.
        kernel_size: number of taps.
        dilation_rate: distance between neighbouring taps, pixels.
        ax: where to draw; a new figure by default.

    Returns:
        The Axes: one square an input pixel, one disc a tap, red where it falls beside the input.
    """
    ax = new_axes(ax, figsize=(9, 1.9))
    taps = [dilation_rate * tap for tap in range(kernel_size)]
    span = taps[-1] + 1
    ax.scatter(range(input_size), [0] * input_size, marker="s", s=90, color=GREY, label="input")
    ax.plot([0, span - 1], [1, 1], color=BLUE, zorder=0)
    for inside, colour, label in ((True, BLUE, "tap"), (False, RED, "tap beside the input")):
        chosen = [tap for tap in taps if (tap < input_size) is inside]
        if chosen:
            ax.scatter(chosen, [1] * len(chosen), s=90, color=colour, label=label)
            ax.vlines(chosen, 0, 1, color=colour, linestyles=":", linewidth=1)
    ax.set(
        title=f"A kernel of {kernel_size} taps, {dilation_rate} apart, spans {span} pixels; "
        f"the input has {input_size}",
        xlabel="pixel",
        yticks=[],
        ylim=(-0.6, 1.6),
        xlim=(-1, max(span, input_size)),
    )
    ax.grid(visible=False)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def same_padding_picture(cases, ax=None):
    """Draw the zeros that "same" puts before and after an input, one row a case.

    Args:
        cases: label to (before, after).
        ax: where to draw; a new figure by default.

    Returns:
        The Axes: bars to the left are zeros before, bars to the right zeros after.
    """
    ax = new_axes(ax, figsize=(7, 0.9 + 0.38 * len(cases)))
    labels = list(cases)
    before, after = zip(*cases.values(), strict=True)
    ax.barh(labels, [-zeros for zeros in before], color=BLUE, label="before")
    right = ax.barh(labels, after, color=ORANGE, label="after")
    for row, zeros in enumerate(before):
        ax.text(-zeros - 0.1, row, zeros, ha="right", va="center")
    ax.bar_label(right, labels=[str(zeros) for zeros in after], padding=3)
    ax.axvline(0, color=GREY, linewidth=1)
    widest = max(*before, *after) + 1
    ax.set(xlabel="zeros, in pixels", xlim=(-widest, widest), xticks=[])
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax
