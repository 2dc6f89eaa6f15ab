"""Figures of question 5: which taps fall where, and how many zeros are drawn."""

import matplotlib.pyplot as plt
import pytest

import reference
from hw4.plotting import q5 as shapes


def points(ax):
    return {
        group.get_label(): [(int(x), int(y)) for x, y in group.get_offsets()]
        for group in ax.collections
        if group.get_label()[0] != "_"
    }


def test_the_impossible_layer_has_three_taps_beside_the_input():
    ax = shapes.kernel_places(11, kernel_size=5, strides=2, dilation_rate=8)
    drawn = points(ax)
    assert drawn["input"] == [(x, 0) for x in range(11)]
    assert drawn["tap"] == [(0, 1), (8, 1)]
    assert drawn["tap beside the input"] == [(16, 1), (24, 1), (32, 1)]
    assert ax.get_title() == "no place: floor((11 − 33) / 2) + 1 = -10"


@pytest.mark.parametrize(
    ("n", "k", "s", "d", "padding"),
    [(9, 3, 2, 2, (1, 2)), (11, 3, 1, 2, (0, 0)), (5, 5, 1, 1, (2, 2)), (6, 4, 3, 1, (0, 1))],
)
def test_every_place_is_drawn_as_a_sliding_kernel_finds_it(n, k, s, d, padding):
    ax = shapes.kernel_places(n, k, s, d, padding)
    places = reference.kernel_places(n, k, s, d, *padding)
    drawn = points(ax)
    wanted = {(x, o) for o, taps in enumerate(places, 1) for x in taps}
    assert {*drawn["tap"], *drawn.get("tap on a zero", [])} == wanted
    assert all(0 <= x < n for x, _ in drawn["tap"])
    assert all(x < 0 or x >= n for x, _ in drawn.get("tap on a zero", []))
    assert "tap beside the input" not in drawn
    assert len(drawn.get("zero", [])) == sum(padding)
    assert ax.get_title().startswith(f"places {len(places)}: ")
    assert ax.get_title().endswith(f" = {len(places)}")


def test_sliders_redraw(monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gca().get_title()))
    draw = shapes.explorer()
    for slider in draw.widget.children[:6]:
        slider.value = slider.min
    assert shown[0].startswith("no place")
    assert shown[-1] == "places 3: floor((3 − 1) / 1) + 1 = 3"


def test_padding_bars_have_the_length_of_the_zeros():
    ax = shapes.same_padding_picture({"f = 4": (1, 2), "stride": (0, 1)})
    before, after = ax.containers
    assert [bar.get_width() for bar in before] == [-1, 0]
    assert [bar.get_width() for bar in after] == [2, 1]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["f = 4", "stride"]
    assert "one more after" in ax.get_title()
