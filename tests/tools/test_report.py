"""The report on executed notebooks: good ones pass, and every way to cheat or fail is seen."""

import copy
import json

import nbformat
import pytest

from hw4.claims import MIME, REQUIRED, Claims
from hw4.tools import cli, report


def notebook(count=3, claims=None):
    """A small executed notebook of question 7, all of its claims confirmed."""
    if claims is None:
        claims = Claims("q7", {"backend": "tensorflow", "seed": 7})
        for id in REQUIRED["q7"]:
            claims.equal(id, f"statement of {id}", reported=7, measured=7)
    cells = [
        nbformat.v4.new_markdown_cell("A formula: $a^2 + b^2$ and\n\n$$\\frac{1}{n}\\sum_i x_i$$")
    ]
    for number in range(1, count + 1):
        cells.append(nbformat.v4.new_code_cell(f"x = {number}", execution_count=number))
    bundle = copy.deepcopy(claims._repr_mimebundle_())
    cells[-1].outputs = [nbformat.v4.new_output("display_data", data=bundle)]
    return nbformat.v4.new_notebook(cells=cells)


@pytest.fixture
def save(tmp_path):
    def write(book, name="q7_grad_cam.ipynb"):
        path = tmp_path / name
        nbformat.write(book, path)
        return path

    return write


def document(book):
    return book.cells[-1].outputs[0].data[MIME]


def test_a_sound_notebook_has_no_problem(save):
    finding = report.read(save(notebook()))
    assert finding.problems == []
    assert finding.environment["seed"] == 7
    assert report.summary([finding]) == "6 claims: 6 confirmed; no problems"


def edit_measured(book):
    document(book)["claims"][0]["measured"] = 8


def edit_verdict(book):
    document(book)["claims"][0]["verdict"] = "exceeded"


def fake_not_run(book):
    document(book)["claims"][0]["verdict"] = "not run"


def drop_claim(book):
    del document(book)["claims"][2]


def drop_table(book):
    book.cells[-1].outputs = []


def unexecuted(book):
    book.cells[-2].execution_count = None


def out_of_order(book):
    book.cells[-2].execution_count = 7


def error_output(book):
    book.cells[-2].outputs = [
        nbformat.v4.new_output("error", ename="ZeroDivisionError", evalue="by zero", traceback=[])
    ]


def other_question(book):
    document(book)["question"] = "q5"


def claim_without_relation(book):
    del document(book)["claims"][0]["relation"]


def claims_as_text(book):
    document(book)["claims"] = "all confirmed"


def old_schema(book):
    document(book)["schema_version"] = 0


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (edit_measured, "claim 7-a says 'confirmed', but its own numbers say 'failed'"),
        (edit_verdict, "claim 7-a says 'exceeded', but its own numbers say 'confirmed'"),
        (fake_not_run, "claim 7-a says 'not run', but its own numbers say 'confirmed'"),
        (drop_claim, "claim 7-c is missing"),
        (drop_table, "no claims table"),
        (unexecuted, "1 of 3 code cells were not executed"),
        (out_of_order, "cells were executed out of order: [1, 7, 3]"),
        (error_output, "cell 2 ended in ZeroDivisionError: by zero"),
        (other_question, "claims of question 'q5' in notebook q7_grad_cam"),
        (claim_without_relation, "the claims are malformed: KeyError('relation')"),
        (claims_as_text, "the claims are malformed: TypeError"),
        (old_schema, "claims of schema version 0; this hw4 reads 1"),
    ],
)
def test_problems_are_seen_and_the_exit_code_says_so(save, capsys, spoil, problem):
    book = notebook()
    spoil(book)
    path = save(book)
    assert any(found.startswith(problem) for found in report.read(path).problems)
    assert cli.main(["report", str(path)]) == 1
    assert f"PROBLEM in q7_grad_cam: {problem}" in capsys.readouterr().out


def test_a_failed_claim_fails_the_report(save, capsys):
    claims = Claims("q7")
    for id in REQUIRED["q7"]:
        claims.at_least(id, "accuracy", reported=0.9, measured=0.5)
    path = save(notebook(claims=claims))
    assert cli.main(["report", str(path)]) == 1
    assert "claim 7-b failed: measured ⟨0.5⟩, must be ≥ 0.9" in capsys.readouterr().out


def test_nan_fails_and_is_shown(save, capsys):
    claims = Claims("q7")
    for id in REQUIRED["q7"]:
        claims.at_least(id, "accuracy [/b]", reported=0.9, measured=float("nan"))
    assert cli.main(["report", str(save(notebook(claims=claims)))]) == 1
    assert "claim 7-b failed: measured ⟨nan⟩, must be ≥ 0.9" in capsys.readouterr().out


def test_an_honest_not_run_is_no_problem(save):
    claims = Claims("q7")
    for id in REQUIRED["q7"]:
        claims.not_run(id, "weights", reported=1, reason="they cannot be had offline")
    assert report.read(save(notebook(claims=claims))).problems == []


def test_piped_report_is_plain_tab_separated_text(save, capsys):
    assert cli.main(["report", str(save(notebook()))]) == 0
    out = capsys.readouterr().out
    assert "q7_grad_cam\t7-a\tstatement of 7-a\t7\t7\tconfirmed\n" in out
    assert "\x1b" not in out


def test_json_report(save, capsys):
    assert cli.main(["report", "--json", str(save(notebook()))]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["notebook"] == "q7_grad_cam"
    assert [claim["id"] for claim in found["claims"]] == list(REQUIRED["q7"])


def test_html_needs_no_network(save, tmp_path, capsys):
    assert cli.main(["report", str(save(notebook())), "--html", str(tmp_path / "out")]) == 0
    index = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    page = (tmp_path / "out/q7_grad_cam.html").read_text(encoding="utf-8")
    assert 'href="q7_grad_cam.html"' in index
    assert index.count('<td class="confirmed">') == 6
    assert page.count("<math") == 2
    assert "<script" not in page
    assert "$$" not in page


def test_missing_file_is_a_wrong_call(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path / "q9.ipynb")]) == 2
    assert "notebooks must be existing files; got" in capsys.readouterr().err


def test_unreadable_file_is_a_problem(tmp_path):
    path = tmp_path / "q7_grad_cam.ipynb"
    path.write_text("{", encoding="utf-8")
    assert "not a readable notebook" in report.read(path).problems[0]
