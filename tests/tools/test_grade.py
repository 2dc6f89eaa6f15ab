"""Grading: honest submissions pass, and every forgery that we could think of is named."""

import copy
import gzip
import json
import os
import threading
import time
from pathlib import Path

import pytest

from hw4.claims import MIME, Claim, shown
from hw4.tools import cli, grade, submission
from hw4.tools.grade import grade_all


def only(paths, references):
    return [found for found, _ in grade_all(paths, references)]


def kinds(found):
    return {problem.kind for problem in found.problems}


def cell(book, number):
    return book["cells"][number]


def document(book):
    return cell(book, 8)["outputs"][0]["data"][MIME]


def claim(book, id_):
    return next(entry for entry in document(book)["claims"] if entry["id"] == id_)


def show_again(book):
    """Make the table's text and HTML follow from its JSON, as a careful forger would."""
    data = cell(book, 8)["outputs"][0]["data"]
    data.update(shown([Claim(**entry) for entry in document(book)["claims"]]))


def renumber(book):
    for count, part in enumerate((c for c in book["cells"] if c["cell_type"] == "code"), 1):
        part["execution_count"] = count


# --- honest ----------------------------------------------------------------------------------


def test_an_equal_notebook_is_ok(book, save, references):
    (found,) = only([save(book)], references)
    assert (found.status, found.question, found.problems, found.notes) == ("ok", "q7", [], [])
    verdicts = {c["id"]: c["verdict"] for c in found.claims}
    assert verdicts == {
        "7-a": "confirmed", "7-b": "exceeded", "7-c": "confirmed", "7-d": "corrected",
        "7-e": "confirmed", "7-f": "added", "7-g": "not run",
    }  # fmt: skip
    assert found.places["7-a"] == 6
    assert found.places["7-b"] == 9  # named in no cell but shown in the table
    assert grade.summary([found]).endswith("; no problems")


def other_numbers(book):
    claim(book, "7-b")["measured"] = 0.9941
    claim(book, "7-c")["note"] = "as ⟨0.4⟩ shows"
    cell(book, 3)["outputs"][0]["text"] = "accuracy   ⟨0.9941⟩ of 7 maps\n"
    show_again(book)


def constants(book):
    cell(book, 2)["source"] = "EPOCHS, BATCH = 2 * 3, 64\nclaims = make(range(3))"


def yours(book):
    cell(book, 6)["source"] = "guess = 12"
    cell(book, 7).update(source="total = sum([1, 1])", metadata={"tags": ["yours"]})
    extra = copy.deepcopy(cell(book, 6)) | {"id": "x", "source": "print('my own')"}
    book["cells"].insert(8, extra)
    renumber(book)


def without_ids(book):
    for part in book["cells"]:
        del part["id"]
    book["nbformat_minor"] = 4


def ids_of_colab(book):
    for number, part in enumerate(book["cells"]):
        del part["id"]
        part["metadata"]["id"] = f"colab{number}"


def lists_of_lines(book):
    for part in book["cells"]:
        part["source"] = part["source"].splitlines(keepends=True)


def windows_line_ends(book):
    cell(book, 2)["source"] = cell(book, 2)["source"].replace("\n", "\r\n") + "\r\n"


def a_warning_on_stderr(book):
    warning = {"output_type": "stream", "name": "stderr", "text": "slow\n"}
    cell(book, 3)["outputs"].append(warning)


def another_machine(book):
    document(book)["versions"] = {"keras": "3.13.2"}
    document(book)["device"] = "GPU: T4"
    cell(book, 3)["outputs"][0]["text"] = "accuracy ⟨0.9952⟩ of 7  maps\n"


def remarks(book):
    cell(book, 0)["source"] += "\n\nMy own words."


def add(book, number, source, *tags):
    extra = copy.deepcopy(cell(book, 5)) | {"id": "x", "source": source}
    book["cells"].insert(number, extra | {"metadata": {"tags": list(tags)}})
    renumber(book)


OWN = """\
import numpy as np
mine = [float(np.mean(maps))]
for value in mine:
    mine.append(value)
total = sum(i for i in range(3))  # which no later cell reads
"""


def own_cell(book):
    add(book, 3, OWN, "yours")


def own_cell_below_the_table(book):
    add(book, 9, "accuracy = maps[0] = 1", "yours")


def own_solution(book):
    cell(book, 7).update(source="total = sum([1, 1])", metadata={"tags": ["yours"]})
    add(book, 8, 'from hw4.tools import selfcheck\n\nselfcheck.check("q7", 1, globals())', "yours")


@pytest.mark.parametrize(
    "change",
    [
        other_numbers, constants, yours, without_ids, ids_of_colab, lists_of_lines,
        windows_line_ends, a_warning_on_stderr, another_machine, remarks, own_cell,
        own_cell_below_the_table, own_solution,
    ],
    ids=lambda change: change.__name__,
)  # fmt: skip
def test_what_may_differ_is_no_problem(book, save, references, change):
    change(book)
    (found,) = only([save(book)], references)
    assert (found.status, found.problems) == ("ok", [])


def test_what_may_differ_is_noted_with_its_difference(book, save, references):
    constants(book)
    (found,) = only([save(book)], references)
    assert "-EPOCHS, BATCH = 6, 128\n+EPOCHS, BATCH = 2 * 3, 64" in found.notes[0]
    assert "not compared word by word" in found.notes[1]


# --- forged ----------------------------------------------------------------------------------


def change_claim(id_, **values):
    def forge(book):
        claim(book, id_).update(values)
        show_again(book)

    return forge


def change_all(**values):
    def forge(book):
        for entry in document(book)["claims"]:
            entry.update(values)
        show_again(book)

    return forge


def drop_claim(book):
    document(book)["claims"] = [c for c in document(book)["claims"] if c["id"] != "7-b"]
    show_again(book)


def no_claims_at_all(book):
    document(book)["claims"] = []
    show_again(book)


def copies(book):
    document(book)["claims"] += [claim(book, "7-a")] * 90
    show_again(book)


def failed_then_confirmed(book):
    document(book)["claims"].insert(0, claim(book, "7-b") | {"measured": 0.5, "verdict": "failed"})
    show_again(book)


def extra_claim(book):
    document(book)["claims"].append(claim(book, "7-a") | {"id": "7-z"})
    show_again(book)


def retyped_id(book):
    claim(book, "7-b")["id"] = "7\u2011b"
    show_again(book)


def drop_cell(number):
    def forge(book):
        del book["cells"][number]
        renumber(book)

    forge.__name__ = f"drop_cell_{number}"
    return forge


def edited(number, source):
    def forge(book):
        cell(book, number)["source"] = source

    return forge


def edited_without_ids(book):
    without_ids(book)
    cell(book, 3)["source"] = "print(0.9999)"


def added_cell(book):
    extra = copy.deepcopy(cell(book, 5)) | {"id": "x", "source": "Claims.equal = lie"}
    book["cells"].insert(3, extra)
    renumber(book)


def hidden_as_yours(book):
    cell(book, 5).update(source="pass", metadata={"tags": ["yours"]})


def swapped(book):
    book["cells"][3], book["cells"][4] = book["cells"][4], book["cells"][3]
    renumber(book)


def hand_numbered(book):
    for part in book["cells"][1:8]:
        part["outputs"] = []


def not_executed(book):
    cell(book, 4)["execution_count"] = None


def out_of_order(book):
    cell(book, 4)["execution_count"] = 12


def error(book):
    failed = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
    cell(book, 5)["outputs"] = [failed]


def output_of_another_cell(book):
    cell(book, 5)["outputs"] = copy.deepcopy(cell(book, 3)["outputs"])


def another_text(book):
    cell(book, 3)["outputs"][0]["text"] = "accuracy ⟨0.9952⟩ of 8 maps\n"


def result_of_another_count(book):
    cell(book, 3)["outputs"] = [
        {"output_type": "execute_result", "execution_count": 40, "metadata": {}, "data": {}}
    ]


def second_table(book):
    cell(book, 5)["outputs"] = copy.deepcopy(cell(book, 8)["outputs"])


def second_table_in_its_cell(book):
    cell(book, 8)["outputs"] *= 2


def table_elsewhere(book):
    cell(book, 5)["outputs"] = cell(book, 8)["outputs"]
    cell(book, 8)["outputs"] = []


def no_table(book):
    cell(book, 8)["outputs"] = []


def another_question(book):
    document(book)["question"] = "q5"


def other_text(book):
    data = cell(book, 8)["outputs"][0]["data"]
    data["text/plain"] = data["text/plain"].replace("0.9952", "0.9999")


def other_html(book):
    data = cell(book, 8)["outputs"][0]["data"]
    data["text/html"] = data["text/html"].replace("0.9952", "0.9999")


def no_html(book):
    del cell(book, 8)["outputs"][0]["data"]["text/html"]


def claim_as_text(book):
    document(book)["claims"] = "all confirmed"


def claim_without_relation(book):
    del claim(book, "7-a")["relation"]


def claim_of_lists(book):
    claim(book, "7-a").update(id=["7-a"])


def old_schema(book):
    document(book)["schema_version"] = 0


def document_as_list(book):
    cell(book, 8)["outputs"][0]["data"][MIME] = [1]


def no_seed(book):
    del document(book)["seed"]


def boundless(book):
    claim(book, "7-b")["measured"] = 1e999
    show_again(book)


def beside_the_table(**output):
    def forge(book):
        cell(book, 8)["outputs"].insert(0, {"output_type": "display_data", "metadata": {}} | output)

    return forge


def another_kind_of_table(book):
    cell(book, 8)["outputs"][0]["data"]["text/markdown"] = "| 7-b | 0.9999 | confirmed |"


def all_optional(book):
    document(book)["optional"] = [entry["id"] for entry in document(book)["claims"]]
    data = cell(book, 8)["outputs"][0]["data"]
    data.update(shown([Claim(**c) for c in document(book)["claims"]], document(book)["optional"]))


def own(source):
    return lambda book: add(book, 3, source, "yours")


def solution_that_reaches(book):
    cell(book, 7).update(source="claims.at_least = print", metadata={"tags": ["yours"]})


def raw_cell(book):
    cell(book, 5)["cell_type"] = "raw"
    renumber(book)


FORGERIES = {
    "another kind of table": (another_kind_of_table, "table"),
    "a picture of a table": (beside_the_table(data={"image/png": "iVBORw0KGgo="}), "table"),
    "a table printed above": (
        beside_the_table(output_type="stream", name="stdout", text="7-b EXCEEDED"), "table"),
    "all optional": (all_optional, "environment"),
    "a note with a tolerance": (change_claim("7-e", note="5 % are allowed"), "claim mark"),
    "a widget": (
        lambda book: cell(book, 5).update(
            outputs=[{"output_type": "display_data", "data": {"application/widget": {}}}]
        ), "output"),
    "code behind a comment's sign": (
        lambda book: cell(book, 7).update(source="# sum\u2028total = 1 + 1"), "edited cell"),
    "a code cell made raw": (raw_cell, "missing cell"),
    "own cell that patches Claims": (
        own("import hw4.claims as c\nc.Claims.at_least = lambda *a, **k: None"), "added cell"),
    "own cell that sets what is measured": (own("accuracy = 0.9999"), "added cell"),
    "own cell that sets it in a function": (
        own("def f():\n    global accuracy\n    accuracy = 1\nf()"), "added cell"),
    "own cell that changes a list": (own("maps.append(3)"), "added cell"),
    "own cell that changes an item": (own("maps[0] = 3"), "added cell"),
    "own cell that changes it under another name": (own("m = maps\nm.append(3)"), "added cell"),
    "own cell before the table": (
        lambda book: add(book, 8, "claims = Claims('q7')", "yours"), "added cell"),
    "two own cells together": (
        lambda book: (add(book, 3, "m = maps", "yours"), add(book, 4, "m.pop()", "yours")),
        "added cell"),
    "own cell that claims": (own("claims.equal('7-a', 'shapes')"), "added cell"),
    "own cell with another numpy": (own("import fake as claims"), "added cell"),
    "own cell with a star": (own("from fake import *"), "added cell"),
    "own cell with setattr": (own("setattr(show, 'x', 3)"), "added cell"),
    "own cell with a magic": (own("%run -i cheat.py"), "added cell"),
    "own cell with builtins": (own("import builtins as b\nb.print = 3"), "added cell"),
    "own cell by a class": (own("print.__class__.x = 3"), "added cell"),
    "solution that reaches": (solution_that_reaches, "added cell"),
    "weakened mark": (change_claim("7-b", expected=0.5), "claim mark"),
    "weakened mark, failed measurement": (
        change_claim("7-b", expected=0.5, measured=0.6, verdict="confirmed"), "claim failed"),
    "flipped relation": (change_claim("7-b", relation="at_most", measured=0.1), "claim failed"),
    "tolerance": (change_claim("7-e", tolerance=1e9, measured=400.0), "claim failed"),
    "tolerance of an exact claim": (
        change_claim("7-a", tolerance=1e9, measured=[28, 29]), "claim failed"),
    "mark of an exact claim": (
        change_claim("7-c", expected=8, measured=8, reported=8), "claim failed"),
    "refutes no more": (change_claim("7-d", refutes=False, verdict="confirmed"), "claim mark"),
    "reported": (change_claim("7-b", reported=0.5), "claim mark"),
    "statement": (change_claim("7-b", statement="accuracy in training"), "claim mark"),
    "unit": (change_claim("7-b", unit="%"), "claim mark"),
    "verdict": (change_claim("7-a", verdict="exceeded"), "claim verdict"),
    "unknown verdict": (
        lambda book: claim(book, "7-a").update(verdict="brilliant"), "claim verdict"),
    "failed, honest": (change_claim("7-b", measured=0.5, verdict="failed"), "claim failed"),
    "blanked": (change_claim("7-b", measured=None), "claim failed"),
    "text instead of a number": (change_claim("7-b", measured="0.9999"), "claim failed"),
    "true instead of a number": (change_claim("7-b", measured=True), "claim failed"),
    "a list instead of a number": (change_claim("7-b", measured=[1]), "claim failed"),
    "NaN": (change_claim("7-b", measured=float("nan")), "claim failed"),
    "infinite": (boundless, "claim failed"),
    "all blanked": (change_all(measured=None), "claim failed"),
    "one not run": (
        change_claim("7-b", verdict="not run", measured=None, note="no time"), "claim not run"),
    "all not run": (
        change_all(verdict="not run", measured=None, note="no time"), "claim not run"),
    "not run without a reason": (
        change_claim("7-g", verdict="not run", note=" "), "claim not run"),
    "run where the reference did not": (
        change_claim("7-g", verdict="confirmed", measured=0.9, expected=0.9), "claim mark"),
    "claim dropped": (drop_claim, "claim missing"),
    "no claims": (no_claims_at_all, "claim missing"),
    "90 copies": (copies, "claim twice"),
    "an id twice, the first failed": (failed_then_confirmed, "claim twice"),
    "an extra claim": (extra_claim, "claim extra"),
    "an id retyped": (retyped_id, "claim missing"),
    "claim cell dropped, renumbered": (drop_cell(5), "missing cell"),
    "last cell dropped": (drop_cell(8), "no claims"),
    "edited source": (edited(3, "print(0.9999)"), "edited cell"),
    "edited constants beyond values": (
        edited(2, "EPOCHS, BATCH = 6, 128\nclaims = lie(range(3))"), "edited cell"),
    "a call in a constant": (
        edited(2, "EPOCHS, BATCH = cheat(), 128\nclaims = make(range(3))"), "edited cell"),
    "another name among constants": (
        edited(2, "EPOCHS, claims = 6, 128\nclaims = make(range(3))"), "edited cell"),
    "constants that are no Python": (edited(2, "EPOCHS, BATCH ="), "edited cell"),
    "edited bootstrap": (edited(1, "import keras as lies"), "edited cell"),
    "edited solution": (edited(7, "total = 3"), "edited cell"),
    "edited, without ids": (edited_without_ids, "edited cell"),
    "hidden as yours": (hidden_as_yours, "edited cell"),
    "added cell": (added_cell, "added cell"),
    "swapped cells": (swapped, "moved cell"),
    "hand-numbered": (hand_numbered, "output"),
    "not executed": (not_executed, "not executed"),
    "out of order": (out_of_order, "out of order"),
    "error": (error, "error"),
    "output of another cell": (output_of_another_cell, "output"),
    "another text": (another_text, "output"),
    "result of another count": (result_of_another_count, "output"),
    "second table": (second_table, "several claims tables"),
    "second table in its cell": (second_table_in_its_cell, "several claims tables"),
    "table elsewhere": (table_elsewhere, "output"),
    "no table": (no_table, "no claims"),
    "another question": (another_question, "question"),
    "text that does not follow": (other_text, "table"),
    "HTML that does not follow": (other_html, "table"),
    "no HTML": (no_html, "table"),
    "claims as text": (claim_as_text, "malformed claims"),
    "a claim without its relation": (claim_without_relation, "malformed claims"),
    "an id that is a list": (claim_of_lists, "malformed claims"),
    "old schema": (old_schema, "malformed claims"),
    "a list for a document": (document_as_list, "malformed claims"),
    "no seed": (no_seed, "environment"),
}  # fmt: skip


@pytest.mark.parametrize(("forge", "kind"), FORGERIES.values(), ids=FORGERIES)
def test_forgeries_are_named(book, save, references, forge, kind):
    forge(book)
    (found,) = only([save(book)], references)
    assert found.status == "findings"
    assert kind in kinds(found), found.problems


@pytest.mark.parametrize(
    "output",
    [
        lambda number: {"output_type": "stream", "name": "stdout", "text": f"row {number}\n" * 9},
        lambda number: {
            "output_type": "display_data", "metadata": {}, "data": {"image/png": f"{number}" * 60},
        },
    ],
    ids=["text", "figure"],
)  # fmt: skip
def test_outputs_of_another_cell_are_named_in_a_run_of_other_constants(book, save, folder, output):
    for number in (3, 5):
        cell(book, number)["outputs"] = [output(number)]
    (folder / "q7_grad_cam.ipynb").write_text(json.dumps(book), encoding="utf-8")
    constants(book)
    (found,) = only([save(book)], grade.References(folder))
    assert found.status == "ok"
    first, second = cell(book, 3), cell(book, 5)
    first["outputs"], second["outputs"] = second["outputs"], first["outputs"]
    (found,) = only([save(book)], grade.References(folder))
    assert [p.kind for p in found.problems] == ["output", "output"]
    assert "is that of cell 6 of the reference" in found.problems[0].text


def endless_outputs(book):
    cell(book, 3)["outputs"][0]["text"] = "⟨" * 500_000 + " " * 500_000
    cell(book, 5)["source"] = "\n".join(f"x = {number}" for number in range(20_000))


def thousands_of_cells(book):
    cells = [copy.deepcopy(cell(book, 5)) | {"id": None, "source": f"{i}"} for i in range(20_000)]
    book["cells"] = [*book["cells"][:4], *cells]


@pytest.mark.slow
@pytest.mark.parametrize("forge", [endless_outputs, thousands_of_cells])
def test_grading_takes_no_longer_than_reading(book, save, references, forge):
    forge(book)
    start = time.perf_counter()
    (found,) = only([save(book)], references)
    assert time.perf_counter() - start < 30
    assert {"edited cell", "added cell", "output"} & kinds(found)


def test_marks_come_from_the_reference(book, save, references):
    change_claim("7-b", expected=0.5, measured=0.6, verdict="confirmed", relation="at_most")(book)
    (found,) = only([save(book)], references)
    decided = next(c for c in found.claims if c["id"] == "7-b")
    assert (decided["verdict"], decided["expected"]) == ("failed", 0.9935)
    texts = [p.text for p in found.problems]
    assert "claim 7-b: its expected is 0.5, the reference's 0.9935" in texts
    assert any("failed: measured ⟨0.6⟩, must be ≥ 0.9935, margin ⟨-0.3935⟩" in t for t in texts)


def test_an_edited_cell_is_shown_as_a_difference(book, save, references):
    cell(book, 3)["source"] = "print(0.9999)"
    (found,) = only([save(book)], references)
    (problem,) = found.problems
    assert problem.cell == 4
    assert "-print(accuracy)\n+print(0.9999)" in problem.text


@pytest.mark.parametrize(
    "name", ["Copy of q7.ipynb", "81019_Q7_GRAD_CAM.IPYNB", "a/q7_grad_cam.ipynb", "homework.ipynb"]
)
def test_the_question_is_read_from_the_content(book, save, references, name):
    (found,) = only(submission.find([save(book, name).parent]), references)
    assert (found.question, found.status) == ("q7", "ok")


def test_a_question_without_a_reference_is_named(save, references):
    stranger = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (found,) = only([save(stranger)], references)
    assert found.question is None
    assert "no reference" in kinds(found)


# --- damaged ---------------------------------------------------------------------------------


def raw(content):
    return lambda path, text: path.write_bytes(content(text.encode()))


def spoiled(spoil):
    def write(path, text):
        book = json.loads(text)
        spoil(book)
        path.write_text(json.dumps(book), encoding="utf-8")

    return write


def link(path, text):
    path.symlink_to(path.parent / "nowhere")


DAMAGED = {
    "truncated": (raw(lambda b: b[: len(b) // 2]), "damaged"),
    "empty": (raw(lambda b: b""), "empty"),
    "blanks": (raw(lambda b: b" \n"), "empty"),
    "a list": (raw(lambda b: b"[1, 2]"), "not a notebook"),
    "a number": (raw(lambda b: b"4"), "not a notebook"),
    "another object": (raw(lambda b: b'{"a": 1}'), "not a notebook"),
    "HTML": (raw(lambda b: b"<html>"), "damaged"),
    "UTF-16": (raw(lambda b: b.decode().encode("utf-16")), "encoding"),
    "Latin-1": (raw(lambda b: b.replace(b"Maps", b"M\xe4ps")), "encoding"),
    "BOM": (raw(lambda b: b"\xef\xbb\xbf" + b), None),
    "NUL bytes": (raw(lambda b: b.replace(b"Maps", b"M\0ps")), "damaged"),
    "nothing but NUL": (raw(lambda b: bytes(100)), "damaged"),
    "deep nesting": (raw(lambda b: b'{"cells": ' + b"[" * 100_000), "too deep"),
    "deep and whole": (raw(lambda b: b'{"cells": ' + b"[" * 90_000 + b"]" * 90_000 + b"}"),
                       "too deep"),
    "a number of 5,000 digits": (
        raw(lambda b: b.replace(b'_count": 3', b'_count": 3' + b"3" * 5000)), "damaged"),
    "50 MB in one output": (
        raw(lambda b: b.replace(b"of 7 maps", b"x" * 50_000_000)), "too large"),
    "NaN": (raw(lambda b: b.replace(b"0.9952, ", b"NaN, ")), "malformed"),
    "half a surrogate pair": (raw(lambda b: b.replace(b"Maps", rb"M\ud800ps")), "malformed"),
    "nbformat 1": (spoiled(lambda b: b.update(nbformat=1)), "format"),
    "nbformat 3": (
        spoiled(lambda b: b.update(nbformat=3, worksheets=[{"cells": b.pop("cells")}])), "format"),
    "nbformat 5": (spoiled(lambda b: b.update(nbformat=5)), "format"),
    "nbformat as text": (spoiled(lambda b: b.update(nbformat="4")), "format"),
    "no nbformat": (spoiled(lambda b: b.pop("nbformat")), "format"),
    "cells is an object": (spoiled(lambda b: b.update(cells={})), "malformed"),
    "a cell is null": (spoiled(lambda b: b["cells"].__setitem__(3, None)), "malformed"),
    "no metadata": (spoiled(lambda b: b.pop("metadata")), "malformed"),
    "no cell metadata": (spoiled(lambda b: b["cells"][3].pop("metadata")), "malformed"),
    "no outputs": (spoiled(lambda b: b["cells"][3].pop("outputs")), "malformed"),
    "outputs null": (spoiled(lambda b: b["cells"][3].update(outputs=None)), "malformed"),
    "an output is text": (spoiled(lambda b: b["cells"][3].update(outputs=["x"])), "malformed"),
    "no execution_count": (spoiled(lambda b: b["cells"][3].pop("execution_count")), "malformed"),
    "execution_count as text": (
        spoiled(lambda b: b["cells"][3].update(execution_count="3")), "malformed"),
    "no ename": (
        spoiled(lambda b: b["cells"][3].update(outputs=[{"output_type": "error"}])), "malformed"),
    "no data": (
        spoiled(lambda b: b["cells"][4].update(outputs=[{"output_type": "display_data"}])),
        "malformed"),
    "data is text": (
        spoiled(lambda b: b["cells"][4]["outputs"][0].update(data="x")), "malformed"),
    "no source": (spoiled(lambda b: b["cells"][3].pop("source")), "malformed"),
    "no cell type": (spoiled(lambda b: b["cells"][3].pop("cell_type")), "malformed"),
    "tags are numbers": (
        spoiled(lambda b: b["cells"][3].update(metadata={"tags": [1, {}]})), None),
    "measured in lists, 500 deep": (
        spoiled(lambda b: claim(b, "7-b").update(measured=json.loads("[" * 500 + "]" * 500))),
        "malformed claims"),
    "a device in lists, 900 deep": (
        spoiled(lambda b: document(b).update(device=json.loads("[" * 900 + "]" * 900))),
        "malformed claims"),
    "a device that is a list": (spoiled(lambda b: document(b).update(device=[1])), "environment"),
    "seconds of 400 digits": (
        spoiled(lambda b: b["metadata"].update(hw4={"seconds": 10**400})), None),
    "measured 1e400": (raw(lambda b: b.replace(b"0.9952, ", b"1e400, ")), "malformed"),
    "measured of 400 digits": (
        spoiled(lambda b: claim(b, "7-b").update(measured=10**400)), "claim failed"),
    "a key twice": (raw(lambda b: b.replace(b'"id": "7-b"', b'"unit": "%", "id": "7-b"')),
                    "malformed"),
    "a gzip archive": (raw(gzip.compress), "not a notebook"),
    "a PDF": (raw(lambda b: b"%PDF-1.7\n\xe2\xe3" + b), "not a notebook"),
    "1 GB of holes": (lambda path, text: (path.touch(), os.truncate(path, 10**9)), "too large"),
    "a link to itself": (lambda path, text: path.symlink_to(path.name), "not a file"),
    "a directory": (lambda path, text: path.mkdir(), "not a file"),
    "a dangling link": (link, "not a file"),
    "a pipe": (lambda path, text: os.mkfifo(path), "not a file"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "kind"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_named_and_does_not_stop_the_batch(
    book, save, folder, tmp_path, capsys, damage, kind
):
    path = save(book, "a/q7_grad_cam.ipynb")
    path.unlink()
    damage(path, json.dumps(book))
    save(book, "b/q7_grad_cam.ipynb")
    call = ["grade", str(tmp_path / "submitted"), "--json", "--reference", str(folder)]
    code = cli.main([*call, "--html", str(tmp_path / "out"), "--csv", str(tmp_path / "out.csv")])
    found = json.loads(capsys.readouterr().out)["submissions"]
    assert [entry["path"][-20:] for entry in found] == [
        f"/{place}/q7_grad_cam.ipynb" for place in "ab"
    ]
    assert found[1]["status"] == "ok"
    if kind is None:
        assert (code, found[0]["status"]) == (0, "ok")
    else:
        assert code == 1
        assert kind in {problem["kind"] for problem in found[0]["problems"]}
        assert found[0]["status"] in ("findings", "unreadable")
    assert (tmp_path / "out/index.html").read_text(encoding="utf-8").count("q7_grad_cam") >= 4
    assert len((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_a_file_that_may_not_be_read_is_named(book, save, references, monkeypatch):
    def refused(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    path = save(book)
    monkeypatch.setattr(submission.os, "open", refused)
    (found,) = only([path], references)
    assert (found.status, kinds(found)) == ("unreadable", {"no permission"})


def test_a_fault_of_ours_costs_one_row(book, save, references, monkeypatch):
    def broken(*arguments):
        raise MemoryError("no more")

    monkeypatch.setattr(grade, "examine", broken)
    (found,) = only([save(book)], references)
    assert (found.status, kinds(found)) == ("unreadable", {"unexpected"})


def test_a_pipe_that_somebody_writes_to_is_not_read(tmp_path, references):
    path = tmp_path / "q7.ipynb"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: open(path, "w").close(), daemon=True)
    writer.start()
    (found,) = only([path], references)
    assert kinds(found) == {"not a file"}
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # lets the writer go, if it waits still
    writer.join(5)
    os.close(handle)


# --- the command -----------------------------------------------------------------------------


def put(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"PK")


def test_a_folder_without_a_notebook_has_a_row(book, save, folder, tmp_path, capsys):
    put(tmp_path / "submitted", "bob/mine.zip", "eve/essay.pdf", "eve/img/a.png", "list.csv")
    put(tmp_path / "submitted", "ann/notes.txt", "ann/img/a.png", ".cache/x", "max/.hidden")
    save(book, "ann/q7_grad_cam.ipynb")
    save(book, "dan/task/q7_grad_cam.ipynb")
    out = tmp_path / "submitted/report"
    call = ["grade", str(tmp_path / "submitted"), "--json", "--reference", str(folder)]
    call += ["--html", str(out), "--csv", str(tmp_path / "out.csv")]
    for more in ([], ["--html", str(tmp_path / "elsewhere")]):
        # the pages of the first call are no submission of the second
        assert cli.main(call + more) == 1
        found = json.loads(capsys.readouterr().out)["submissions"]
        names = [entry["path"].partition("submitted/")[2] for entry in found]
        assert names == ["ann/q7_grad_cam.ipynb", "bob", "dan/task/q7_grad_cam.ipynb", "eve"]
        assert [entry["status"] for entry in found] == ["ok", "unreadable", "ok", "unreadable"]
        (problem,) = found[3]["problems"]
        assert problem["kind"] == "missing notebook"
        assert problem["text"] == "expected an .ipynb; found only essay.pdf, img"
        assert "bob,,unreadable,0,0,0,0,0,0,1,missing notebook: expected an .ipynb; found" in (
            tmp_path / "out.csv"
        ).read_text(encoding="utf-8")
        index = (out / "index.html").read_text(encoding="utf-8")
        assert "expected an .ipynb; found only mine.zip" in index
        assert (out / "bob.html").exists()


def test_a_submission_that_is_a_folder_without_a_notebook_has_a_row(folder, tmp_path, capsys):
    put(tmp_path / "bob", *(f"{number}.zip" for number in range(7)))
    assert cli.main(["grade", str(tmp_path / "bob"), "--json", "--reference", str(folder)]) == 1
    (found,) = json.loads(capsys.readouterr().out)["submissions"]
    assert found["problems"][0]["text"].endswith("only 0.zip, 1.zip, 2.zip, 3.zip, 4.zip, …")


def test_what_cannot_be_looked_into_is_no_report():
    assert not submission.is_report(Path("x" * 300)), "the name is too long for the file system"


def test_a_loose_notebook_hides_no_folder_without_one(book, save, folder, tmp_path, capsys):
    call = ["grade", str(tmp_path / "submitted"), "--json", "--reference", str(folder)]
    put(tmp_path / "submitted", "bob/mine.zip")
    save(book, "q7_grad_cam.ipynb")
    assert cli.main(call) == 0, "one submission, and a folder of its files"
    save(book, "ann/q7_grad_cam.ipynb")
    capsys.readouterr()
    assert cli.main(call) == 1, "submissions in folders, and a loose one"
    found = json.loads(capsys.readouterr().out)["submissions"]
    assert [entry["status"] for entry in found] == ["ok", "unreadable", "ok"]


def test_three_hundred_of_one_name_have_a_page_each(book, save, folder, tmp_path, capsys):
    for number in range(30):
        save(book, f"student{number}/q7_grad_cam.ipynb")
    out = tmp_path / "out"
    call = ["grade", str(tmp_path / "submitted"), "--reference", str(folder), "--html", str(out)]
    assert cli.main(call) == 0
    assert len(list(out.glob("*.html"))) == 31
    lines = capsys.readouterr().out.splitlines()
    assert len({line.split("\t")[0] for line in lines[:30]}) == 30


def test_the_schema_is_exactly_the_documented_one(book, save, folder, capsys):
    cell(book, 3)["source"] = "print(0.9999)"
    assert cli.main(["grade", str(save(book)), "--json", "--reference", str(folder)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"schema_version", "submissions"}
    assert found["schema_version"] == 1
    (entry,) = found["submissions"]
    assert set(entry) == {"path", "question", "status", "problems", "claims"}
    assert set(entry["problems"][0]) == {"kind", "cell", "text"}
    assert {"id", "verdict", "measured", "evidence"} <= set(entry["claims"][0])
    assert {c["evidence"] for c in entry["claims"]} == {"consistent, not re-run"}


@pytest.mark.parametrize("option", [["--json"], []])
def test_terminal_escapes_are_shown_not_obeyed(book, save, folder, tmp_path, capsys, option):
    cell(book, 3)["source"] = "print('\x1b[2J\u202e')"
    failed = {"output_type": "error", "ename": "\x1b]0;E", "evalue": "\x9b2J", "traceback": []}
    cell(book, 3)["outputs"] = [failed]
    change_claim("7-a", note="\x1b[31m", unit="\x1b[5m")(book)
    document(book)["device"] = "\x1b[1m"
    path = save(book, "q7\x1b[2J\n.ipynb")
    call = ["grade", str(path), "--reference", str(folder), "--csv", str(tmp_path / "out.csv")]
    assert cli.main([*call, *option]) == 1
    out = capsys.readouterr().out + (tmp_path / "out.csv").read_text(encoding="utf-8")
    assert not {"\x1b", "\x9b", "\u202e"} & set(out)
    assert "q7\\x1b[2J\\x0a.ipynb" in out.replace("\\\\", "\\")


def test_spreadsheets_find_no_formula(book, save, folder, tmp_path, monkeypatch):
    path = save(book, "=cmd.ipynb")
    monkeypatch.chdir(path.parent)
    call = ["grade", path.name, "--reference", str(folder), "--csv", str(tmp_path / "out.csv")]
    assert cli.main(call) == 0
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()[1].startswith("'=cmd")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["grade", "{0}/nowhere"], "notebooks must be existing files or folders; got"),
        (["grade", "{0}"], "submissions must hold notebooks; got none below"),
        (["grade", "{0}", "--reference", "{0}"], "submissions must hold notebooks"),
    ],
)
def test_wrong_calls_exit_with_2(tmp_path, capsys, call, said):
    assert cli.main([part.format(tmp_path) for part in call]) == 2
    assert said in capsys.readouterr().err
