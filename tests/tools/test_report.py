"""The report on executed notebooks: text, JSON, exit codes, and pages written anew in one step."""

import json
import shutil

import pytest

from hw4 import runtime
from hw4.tools import cli, execute, pages


@pytest.fixture
def committed(folder, monkeypatch):
    """Make the small notebook the one that is committed, and the only one that is expected."""
    monkeypatch.setattr(runtime, "NOTEBOOKS", folder)
    monkeypatch.setattr(execute, "NOTEBOOKS", folder)
    monkeypatch.setattr(execute, "ORDER", ("q7_grad_cam",))
    return folder


def test_piped_report_is_plain_tab_separated_text(committed, capsys):
    assert cli.main(["report"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "q7_grad_cam\t7-a\tshapes\t(28, 28)\t(28, 28)\tconfirmed"
    assert lines[-1] == (
        "7 claims: 3 confirmed, 1 exceeded, 1 corrected, 1 added, 1 not run; no problems"
    )
    assert "\x1b" not in "".join(lines)


def test_json_report_has_the_schema_of_grading(committed, capsys):
    assert cli.main(["report", "--json"]) == 0
    out = capsys.readouterr().out
    assert out.isascii()  # a terminal of another locale would replace what it lacks
    (found,) = json.loads(out)["submissions"]
    assert "⟨0.7⟩" in found["claims"][2]["note"]
    assert found["question"] == "q7"
    assert len(found["claims"]) == 7


def test_a_missing_notebook_is_named(committed, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(execute, "ORDER", ("q5_conv_shapes", "q7_grad_cam"))
    assert cli.main(["report", "--html", str(tmp_path / "out")]) == 1
    out = capsys.readouterr().out
    assert "PROBLEM in q5_conv_shapes [missing notebook]: q5_conv_shapes.ipynb is not there" in out
    assert out.endswith("; 1 problem\n")
    assert "q5_conv_shapes.ipynb is not there" in (tmp_path / "out/index.html").read_text()


def test_a_missing_notebook_is_named_when_the_folder_is(committed, monkeypatch, capsys):
    monkeypatch.setattr(execute, "ORDER", ("q5_conv_shapes", "q7_grad_cam"))
    assert cli.main(["report", str(committed)]) == 1
    assert "q5_conv_shapes.ipynb is not there" in capsys.readouterr().out


def test_a_notebook_overwritten_by_another_question_is_named(committed, monkeypatch, capsys):
    monkeypatch.setattr(execute, "ORDER", ("q5_conv_shapes", "q7_grad_cam"))
    shutil.copy(committed / "q7_grad_cam.ipynb", committed / "q5_conv_shapes.ipynb")
    assert cli.main(["report"]) == 1
    out = capsys.readouterr().out
    assert "PROBLEM in q5_conv_shapes [question]: q5_conv_shapes.ipynb holds question q7" in out


def test_with_no_notebook_at_all_every_one_is_missing(committed, capsys):
    (committed / "q7_grad_cam.ipynb").unlink()
    assert cli.main(["report"]) == 1
    assert "q7_grad_cam.ipynb is not there" in capsys.readouterr().out


def test_the_reference_is_held_against_itself(committed, book, capsys):
    text = (committed / "q7_grad_cam.ipynb").read_text(encoding="utf-8")
    invented = text.replace("Measured: 7.", "Measured: 8.")
    assert invented != text
    (committed / "q7_grad_cam.ipynb").write_text(invented, encoding="utf-8")
    assert cli.main(["report"]) == 1
    assert "[table]: its text/plain does not follow from its JSON" in capsys.readouterr().out


def test_a_claim_that_the_house_requires_is_missing_from_the_reference(committed, capsys):
    book = json.loads((committed / "q7_grad_cam.ipynb").read_text(encoding="utf-8"))
    data = book["cells"][8]["outputs"][0]["data"]["application/vnd.hw4.claims+json"]
    data["claims"] = [claim for claim in data["claims"] if claim["id"] != "7-c"]
    (committed / "q7_grad_cam.ipynb").write_text(json.dumps(book), encoding="utf-8")
    assert cli.main(["report"]) == 1
    assert "claim 7-c is missing" in capsys.readouterr().out


def test_missing_file_is_a_wrong_call(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path / "q9.ipynb")]) == 2
    assert "notebooks must be existing files or folders; got" in capsys.readouterr().err


def test_a_claim_links_to_its_place_and_can_be_filtered(committed, tmp_path):
    assert cli.main(["report", "--html", str(tmp_path / "out")]) == 0
    index = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    page = (tmp_path / "out/q7_grad_cam.html").read_text(encoding="utf-8")
    assert '<a href="q7_grad_cam.html#cell-6" title="q7_grad_cam.ipynb">7-a</a>' in index
    assert 'id="cell-6"' in page
    assert index.count('data-verdict="confirmed"') == 3
    assert '<option value="not run">' in index
    assert "full scale: takes an hour" in index
    assert "CPU (2 cores) · tensorflow · seed 7 · keras 3.15.1 · MNIST" in index
    assert page.count("<math") == 2
    assert "<script" not in page
    assert "$$" not in page


def test_an_old_page_survives_no_failed_run(committed, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert cli.main(["report", "--html", str(out)]) == 0

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pages.Pages, "add", full)
    assert cli.main(["report", "--html", str(out)]) == 2
    assert "not finished" in (out / "index.html").read_text(encoding="utf-8")
    assert "no problems" not in (out / "index.html").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_pages_of_notebooks_that_are_gone_go(committed, tmp_path):
    out = tmp_path / "out"
    assert cli.main(["report", "--html", str(out)]) == 0
    (out / "q1_old.html").write_text("yesterday")
    assert cli.main(["report", "--html", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["index.html", "q7_grad_cam.html"]


def test_a_folder_of_other_things_is_never_replaced(committed, tmp_path, capsys):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter1.txt").write_text("years of work")
    assert cli.main(["report", "--html", str(tmp_path / "thesis")]) == 2
    assert "must be new, empty or an earlier report; got" in capsys.readouterr().err
    assert (tmp_path / "thesis/chapter1.txt").read_text() == "years of work"
