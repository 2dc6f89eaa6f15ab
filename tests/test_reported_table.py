"""The table of reported and true values: text, HTML, and what is counted as wrong."""

import pytest

from hw4.claims import ReportedTable

TABLE = ReportedTable(
    ["conv <1>", "pool"],
    {"height": ([256, 24], [256, 23]), "parameters": ([1792, 0], [1792, "none"])},
)


def test_text_is_aligned_and_shows_both_values_where_they_differ():
    assert repr(TABLE).splitlines() == [
        "          height    parameters",
        "conv <1>  256       1,792",
        "pool      24 -> 23  0 -> none",
    ]


def test_html_marks_exactly_the_wrong_cells():
    shown = TABLE._repr_html_()
    assert shown.count("<del>") == TABLE.wrong == 2
    assert "<del>24</del> <b>23</b>" in shown
    assert "conv &lt;1&gt;" in shown


def test_columns_must_be_as_long_as_the_labels():
    with pytest.raises(ValueError, match="column 'h' must have 1 reported .*; got 1 and 2"):
        ReportedTable(["a"], {"h": ([1], [1, 2])})
