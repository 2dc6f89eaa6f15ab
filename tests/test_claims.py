"""Claims: every relation with right and wrong answers, and what is displayed."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw4.claims import MIME, REQUIRED, Claims, judge, measured_text, varying

RIGHT_AND_WRONG = [
    # relation, reported, expected, measured, tolerance, refutes, verdict
    ("equal", 1792, 1792, 1792, 0, False, "confirmed"),
    ("equal", 1792, 1792, 1793, 0, False, "failed"),
    ("equal", 0.5, 0.5, 0.5004, 1e-3, False, "confirmed"),
    ("equal", 0.5, 0.5, 0.5011, 1e-3, False, "failed"),
    ("equal", [7, 7], [7, 7], [7, 7], 0, False, "confirmed"),
    ("equal", [7, 7], [7, 7], [7, 8], 0, False, "failed"),
    ("equal", [7, 7], [7, 7], [7, 7, 1], 0, False, "failed"),
    ("equal", True, True, True, 0, False, "confirmed"),
    ("equal", True, True, 1, 0, False, "failed"),
    ("equal", "valid", "valid", "same", 0, False, "failed"),
    ("equal", 24, 23, 23, 0, True, "corrected"),
    ("equal", 24, 23, 22, 0, True, "failed"),
    ("equal", 23, 23, 23, 0, True, "failed"),
    ("at_least", 0.9921, 0.9935, 0.9953, 0, False, "exceeded"),
    ("at_least", 0.9921, 0.9935, 0.9934, 0, False, "failed"),
    ("at_least", 0.9921, 0.99, 0.991, 0, False, "confirmed"),
    ("at_least", 0.9921, 0.9921, 0.9921, 0, False, "confirmed"),
    ("at_least", "it generalises", 0.0, 0.01, 0, False, "confirmed"),
    ("at_least", "it is faster", 1.0, 1.5, 0, True, "corrected"),
    ("at_least", "it is faster", 1.0, 0.5, 0, True, "failed"),
    ("at_least", 2.0, 1.0, 1.5, 0, True, "failed"),
    ("at_most", 1946.0, 1946.0, 60.0, 0, False, "exceeded"),
    ("at_most", 1946.0, 1946.0, 1947.0, 0, False, "failed"),
    ("at_most", 0.5, 0.6, 0.55, 0, False, "confirmed"),
    ("at_least", 0.9, 0.9, math.nan, 0, False, "failed"),
    ("at_most", 0.9, 0.9, math.nan, 0, False, "failed"),
    ("equal", 0.9, 0.9, math.nan, 1, False, "failed"),
]


@pytest.mark.parametrize(
    ("relation", "reported", "expected", "measured", "tolerance", "refutes", "verdict"),
    RIGHT_AND_WRONG,
)
def test_judge(relation, reported, expected, measured, tolerance, refutes, verdict):
    assert judge(reported, expected, measured, relation, tolerance, refutes) == verdict


@given(
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)
def test_at_least_is_at_most_turned_round(mark, measured):
    up = judge("a sentence", mark, measured, "at_least", 0, False)
    down = judge("a sentence", -mark, -measured, "at_most", 0, False)
    assert up == down == ("confirmed" if measured >= mark else "failed")


def verdicts(claims):
    return [claim["verdict"] for claim in claims.document()["claims"]]


def test_methods_return_nothing_and_fill_the_document():
    claims = Claims("q7", {"backend": "tensorflow", "seed": 7})
    shapes = {"reported": (1, 2), "measured": np.array([1, 2])}
    assert claims.equal("7-a", "shapes", **shapes) is None
    claims.at_least("7-b", "accuracy", reported=0.99, measured=np.float32(0.995))
    claims.at_most("7-c", "loss", reported=1, measured=2)
    assert claims.not_run("7-d", "weights", reported=1, reason="no network") is None
    assert verdicts(claims) == ["confirmed", "exceeded", "failed", "not run"]
    document = claims.document()
    assert (document["schema_version"], document["question"]) == (1, "q7")
    assert (document["backend"], document["seed"]) == ("tensorflow", 7)
    assert [claim["id"] for claim in document["claims"]] == ["7-a", "7-b", "7-c", "7-d"]
    assert {"reported", "expected", "measured", "relation", "verdict", "unit"} <= set(
        document["claims"][0]
    )
    json.dumps(document, allow_nan=False)


def test_a_finding_on_which_the_report_said_nothing_is_added_if_it_holds():
    claims = Claims("q7")
    assert claims.added("7-x", "gain", measured=0.2, mark=0.1) is None
    claims.added("7-y", "size", measured=3, mark=4, relation="equal")
    claims.added("7-z", "loss", measured=0.3, mark=0.1, relation="at_most")
    assert verdicts(claims) == ["added", "failed", "failed"]
    assert str(claims).startswith("7-x ADDED: gain. Reported: nothing. Measured: ⟨0.2⟩, must be ≥")
    with pytest.raises(ValueError, match="reported must be what the report says in 7-w; got None"):
        claims.at_least("7-w", "gain", reported=None, measured=0.2, mark=0.1)


def test_a_claim_decided_twice_is_replaced():
    claims = Claims("q7")
    claims.equal("7-c", "size", reported=7, measured=6)
    claims.equal("7-c", "size", reported=7, measured=7)
    assert [claim["verdict"] for claim in claims.document()["claims"]] == ["confirmed"]


def test_nan_is_written_as_text_and_fails():
    claims = Claims("q7")
    claims.at_least("7-b", "accuracy", reported=0.9, measured=math.nan)
    assert verdicts(claims) == ["failed"]
    text = json.dumps(claims.document(), allow_nan=False)
    assert '"measured": "nan"' in text


def test_text_masks_measured_numbers_and_only_those():
    claims = Claims("q7")
    claims.equal("7-c", "size of the map", reported=7, measured=7, unit="pixels")
    claims.at_least("7-b", "accuracy", reported=0.9921, measured=0.9953, mark=0.9935)
    inexact, exact = claims._repr_mimebundle_()["text/plain"].splitlines()
    assert exact == "7-c CONFIRMED: size of the map. Reported: 7. Measured: 7 pixels."
    assert inexact == (
        "7-b EXCEEDED: accuracy. Reported: 0.9921. Measured: ⟨0.9953⟩, must be ≥ 0.9935, "
        "margin ⟨+0.0018⟩."
    )


def test_words_are_held_against_a_mark():
    claims = Claims("q7")
    told = {"reported": "a small map", "mark": 7}
    claims.equal("7-c", "size", **told, measured=7)
    assert verdicts(claims) == ["confirmed"]
    claims.equal("7-c", "size", **told, measured=14)
    assert verdicts(claims) == ["failed"]
    assert claims.document()["claims"][0]["reported"] == "a small map"


def test_margin_is_positive_on_the_good_side():
    below = {"verdict": "x", "relation": "at_most", "expected": 10, "measured": 4.0, "unit": "s"}
    assert "margin ⟨+6⟩" in measured_text(below | {"tolerance": 0})
    assert "margin ⟨+0⟩" in measured_text(below | {"tolerance": 0, "expected": 4.0})


def test_html_escapes_what_it_shows():
    claims = Claims("q7")
    claims.equal("7-c", "a < b & c", reported="<b>", measured="<b>")
    shown = claims._repr_mimebundle_()["text/html"]
    assert "a &lt; b &amp; c" in shown
    assert '<td style="text-align:left"><b></td>' not in shown


def test_show_displays_three_representations(capsys):
    claims = Claims("q7")
    claims.equal("7-c", "size", reported=7, measured=7)
    assert set(claims._repr_mimebundle_()) == {MIME, "text/html", "text/plain"}
    claims.show()
    assert "7-c" in capsys.readouterr().out


def test_varying():
    assert varying(0.5, ".1%") == "⟨50.0%⟩"
    assert varying(3, "d", " s") == "⟨3 s⟩"


def test_required_ids_are_unique_and_complete():
    ids = [id for group in REQUIRED.values() for id in group]
    assert len(ids) == len(set(ids)) == 40


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Claims("q8"), ValueError, "question must be one of q1, .*; got 'q8'"),
        (
            lambda: Claims("q7").not_run("7-a", "x", reported=1, reason=" "),
            ValueError,
            "reason must say why 7-a did not run; got ' '",
        ),
        (
            lambda: Claims("q7").at_least("7-f", "x", reported="good", measured=1.0),
            TypeError,
            "measured and its mark must be numbers for at_least in 7-f; got 1.0 and 'good'",
        ),
        (
            lambda: Claims("q7").corrected(
                "7-f", "x", reported=1, measured=2, expected=2, relation="above"
            ),
            ValueError,
            "relation must be one of equal, at_least, at_most; got 'above'",
        ),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()
