"""Figures of question 5: which taps fall beside the input, and how many zeros are drawn."""

from hw4.plotting import q5 as shapes


def points(ax):
    return {
        group.get_label(): [int(x) for x, _ in group.get_offsets()]
        for group in ax.collections
        if hasattr(group, "get_offsets") and group.get_label()[0] != "_"
    }


def test_the_impossible_layer_has_three_taps_beside_the_input():
    drawn = points(shapes.kernel_over_input(11, kernel_size=5, dilation_rate=8))
    assert drawn["input"] == list(range(11))
    assert drawn["tap"] == [0, 8]
    assert drawn["tap beside the input"] == [16, 24, 32]


def test_a_kernel_that_fits_has_none():
    ax = shapes.kernel_over_input(11, kernel_size=3, dilation_rate=2)
    assert "tap beside the input" not in points(ax)
    assert "spans 5 pixels; the input has 11" in ax.get_title()


def test_padding_bars_have_the_length_of_the_zeros():
    ax = shapes.same_padding_picture({"f = 4": (1, 2), "stride": (0, 1)})
    before, after = ax.containers
    assert [bar.get_width() for bar in before] == [-1, 0]
    assert [bar.get_width() for bar in after] == [2, 1]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["f = 4", "stride"]
