"""The figures of question 2: what is on their Axes."""

from types import SimpleNamespace

import matplotlib as mpl

mpl.use("agg")

import numpy as np
import pytest

from hw4.plotting import BLUE, GREEN, GREY, PURPLE, RED
from hw4.plotting import q2 as figures


def test_a_box_is_drawn_where_it_is():
    image = np.zeros((40, 80))
    ax = figures.radiograph(image, "phantom", boxes=[(0.5, 0.25, 0.2, 0.1)])
    (frame,) = ax.patches
    assert frame.get_xy() == pytest.approx((0.4 * 80 - 0.5, 0.2 * 40 - 0.5))
    assert (frame.get_width(), frame.get_height()) == pytest.approx((16, 4))
    assert ax.get_title() == "phantom"
    assert ax.images[0].get_array().shape == (40, 80)


def test_a_gallery_shows_each_image_and_marks_wrong_ones():
    images = [np.full((4, 4), k) for k in range(5)]
    axes = figures.gallery(images, list("abcde"), columns=4, wrong=[0, 1, 0, 0, 1])
    assert axes.shape == (2, 4)
    assert [ax.get_title() for ax in axes.flat] == ["a", "b", "c", "d", "e", "", "", ""]
    assert [len(ax.images) for ax in axes.flat] == [1] * 5 + [0] * 3
    assert [ax.title.get_color() == RED for ax in axes.flat][:5] == [
        False,
        True,
        False,
        False,
        True,
    ]
    assert axes[0, 2].images[0].get_array()[0, 0] == 2


def test_a_confusion_matrix_names_rows_and_columns_and_shows_all_counts():
    ax = figures.confusion([[1, 2], [3, 1000]], title="VGG16")
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    assert texts[(1, 0)].startswith("2\n")
    assert texts[(0, 1)].startswith("3\n")
    assert texts[(1, 1)].startswith("1,000\n")
    assert texts[(0, 0)] == "1\n33%"
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("predicted", "true", "VGG16")


def test_a_confusion_matrix_with_an_empty_class_is_drawn_without_nan():
    ax = figures.confusion([[0, 0], [0, 7]])
    assert "0%" in ax.texts[0].get_text()


def test_confusion_matrices_stand_in_a_row():
    axes = figures.confusions({"a": [[1, 2], [3, 4]], "b": [[5, 6], [7, 8]]})
    assert [ax.get_title() for ax in axes] == ["a", "b"]
    assert axes[1].texts[3].get_text().startswith("8\n")


def test_roc_draws_every_curve_and_chance():
    ax = figures.roc({"a": ([0, 0, 1], [0, 1, 1], 1.0), "b": ([0, 1], [0, 1], 0.5)})
    assert len(ax.lines) == 3
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["a: 1.000", "b: 0.500", "chance: 0.500"]
    assert ax.get_xlabel() == "false positive rate"


def test_accuracies_show_intervals_and_the_majority_share():
    ax = figures.accuracies(["VGG16", "b"], [0.7, 0.9], [(0.6, 0.75), (0.85, 0.95)], 0.667)
    segments = [container[2][0].get_segments()[0] for container in ax.containers]
    assert [segment[:, 0].tolist() for segment in segments] == [
        pytest.approx([0.6, 0.75]),
        pytest.approx([0.85, 0.95]),
    ]
    assert [container[0].get_color() for container in ax.containers] == [BLUE, GREY]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["VGG16", "b"]
    assert ax.get_yticks().tolist() == [1, 0]
    assert any(line.get_xdata()[0] == 0.667 for line in ax.lines)


def test_a_network_keeps_its_colour():
    names = ["VGG16, imagenet", "ResNet50", "small CNN, from scratch", "ResNet50, random", "other"]
    assert [figures.colour_of(name) for name in names] == [BLUE, PURPLE, GREEN, GREY, GREY]


def test_histories_show_training_and_test_of_every_network_and_the_majority():
    history = {"accuracy": [0.5, 0.7], "val_accuracy": [0.4, 0.6], "loss": [1, 0.5]}
    history["val_loss"] = [1.2, 0.8]
    result = SimpleNamespace(model="VGG16", weights="imagenet", history=history)
    left, right = figures.histories([result], 0.667)
    assert [line.get_ydata().tolist() for line in left.lines[:2]] == [[0.4, 0.6], [0.5, 0.7]]
    assert [line.get_linestyle() for line in left.lines] == ["-", "--", ":"]
    assert left.lines[2].get_ydata()[0] == 0.667
    assert right.lines[0].get_ydata().tolist() == [1.2, 0.8]
    assert {line.get_color() for line in right.lines} == {BLUE}


def test_curves_with_intervals_leave_out_what_was_not_measured():
    series = {"VGG16": [(0.7, 0.6, 0.8), (0.9, 0.8, 0.95)], "small CNN": [None, (0.8, 0.7, 0.9)]}
    ax = figures.against(
        [50, 100], series, xlabel="images", ylabel="accuracy", majority=0.667, log=True
    )
    first, second = ax.containers
    assert first[0].get_ydata().tolist() == [0.7, 0.9]
    assert second[0].get_ydata().tolist() == [0.8]
    ends = [segment[:, 1].tolist() for segment in first[2][0].get_segments()]
    assert ends == [pytest.approx([0.6, 0.8]), pytest.approx([0.8, 0.95])]
    assert first[0].get_xdata() == pytest.approx([50, 100], rel=0.05)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert set(labels) == {"VGG16", "small CNN", "majority share 0.667"}
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["50", "100"]
