"""Notebooks without answers, their round trip through grading, and what a self-check says."""

import json
import math
from itertools import product

import nbformat
import numpy as np
import pytest

from hw4 import batch_norm, claims, runtime
from hw4.conv_shapes import same_padding
from hw4.tools import cli, execute, grade, selfcheck, student

SOURCES = execute.find()
WITH_EXERCISES = [p for p in SOURCES if '"solution"' in p.read_text(encoding="utf-8")]


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell):
    return "".join(cell["source"])


# --- the student's version -------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_solution_and_no_output_is_left_and_the_file_is_a_notebook(tmp_path, path):
    (written,) = student.write([path], tmp_path)
    text, blank = written.read_text(encoding="utf-8"), read(written)
    nbformat.validate(nbformat.reads(text, as_version=4))
    cells = read(path)["cells"]
    solutions = {line.strip() for _, one in selfcheck.tasks(cells) for line in one.splitlines()}
    given = [cell["source"] for cell in cells if "solution" not in cell["metadata"].get("tags", ())]
    given = {line.strip() for source in given for line in "".join(source).splitlines()}
    # what the essay shows elsewhere, such as `except ValueError as error:`, is no secret
    secret = {line for line in solutions - given if len(line) >= 25}
    assert secret or not solutions
    assert [line for line in secret if json.dumps(line)[1:-1] in text] == []
    code = [cell for cell in blank["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in blank["cells"]}) == len(blank["cells"])


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda path: path.stem)
def test_every_exercise_has_a_stub_and_a_check_with_metadata_of_nbgrader(path):
    cells = student.without_answers(read(path), "q5")["cells"]
    places = [k for k, cell in enumerate(cells) if selfcheck.is_solution(cell)]
    assert len(places) == len(list(selfcheck.tasks(read(path)["cells"]))) > 0
    for number, place in enumerate(places, start=1):
        stub, check = cells[place], cells[place + 1]
        lines = source(stub).splitlines()
        assert lines[0].startswith(f"# Exercise {number}. ")
        assert lines[-2:] == ["# YOUR CODE HERE", "raise NotImplementedError()"]
        assert sum(line.startswith("# Hint: ") for line in lines) == 1
        assert source(check).endswith(f'selfcheck.check("q5", {number}, globals())')
        compile(f"{source(stub)}\n{source(check)}", "cells", "exec")
        # https://nbgrader.readthedocs.io: an autograded answer, and a locked test with points
        assert stub["metadata"]["nbgrader"] == {
            "schema_version": 3,
            "grade_id": f"q5-exercise-{number}",
            "grade": False,
            "solution": True,
            "locked": False,
            "task": False,
        }
        assert check["metadata"]["nbgrader"] == {
            "schema_version": 3,
            "grade_id": f"q5-exercise-{number}-check",
            "grade": True,
            "solution": False,
            "locked": True,
            "task": False,
            "points": 1,
        }
    assert sum(source(cell).endswith("selfcheck.check_claims(claims)") for cell in cells) == 1


def test_what_is_true_of_the_committed_notebook_only_is_left_out():
    texts = [
        "## Exercises\n\nThe solutions are in the hidden cells: open one.\n\n**1.** Why?",
        "**1.** Fold it. (The solution is in the folded cell below.)",
    ]
    cells = [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": t} for t in texts]
    left = [source(cell) for cell in student.without_answers({"cells": cells}, "q5")["cells"]]
    assert left == ["## Exercises\n\n**1.** Why?", "**1.** Fold it."]


def test_work_in_the_folder_is_never_overwritten(tmp_path, capsys):
    assert cli.main(["student", "q5", "q6", "--out", str(tmp_path / "out")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert cli.main(["student", "q5", "q6", "--out", str(tmp_path / "out")]) == 0
    path = next((tmp_path / "out").glob("q6*"))
    path.write_text(path.read_text("utf-8").replace("YOUR CODE HERE", "my work") + " ", "utf-8")
    next((tmp_path / "out").glob("q5*")).unlink()
    assert cli.main(["student", "q5", "q6", "--out", str(tmp_path / "out")]) == 2
    assert f"out must hold no other {path.name}; got" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("q5*"))


# --- round trip ------------------------------------------------------------------------------


def handed_in(path, folder, own=""):
    """The student's notebook with the solutions pasted in, executed as the committed one was."""
    (written,) = student.write([path], folder)
    notebook, reference = read(written), {cell.get("id"): cell for cell in read(path)["cells"]}
    count = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        count += 1
        cell["execution_count"] = count
        known = reference.get(cell["id"])
        if known is None:
            text = "All claims hold.\n"
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": text}]
        else:
            own_words = own if selfcheck.is_solution(known) else ""
            cell["source"] = source(known) + own_words
            cell["outputs"] = known["outputs"]
            for output in cell["outputs"]:
                if "execution_count" in output:
                    output["execution_count"] = count
    written.write_text(json.dumps(notebook), encoding="utf-8")
    return written


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda path: path.stem)
def test_solutions_pasted_in_again_pass_grading(tmp_path, path):
    references = grade.References(runtime.NOTEBOOKS)
    handed = handed_in(path, tmp_path / "solved")
    ((found, _),) = grade.grade_all([handed], references)
    ((committed, _),) = grade.grade_all([path], references)
    assert (found.problems, found.status) == (committed.problems, committed.status)
    assert found.claims == committed.claims
    ((other, _),) = grade.grade_all(
        [handed_in(path, tmp_path / "own", "\nmine = print(1)")], references
    )
    assert other.problems == committed.problems
    assert sum("+" in note and "mine = print(1)" in note for note in other.notes) > 0
    (blank,) = student.write([path], tmp_path / "blank")
    ((found, _),) = grade.grade_all([blank], references)
    assert "not executed" in {problem.kind for problem in found.problems}


# --- checks of an exercise -------------------------------------------------------------------

TASK = "**2.** Write `zeros_before(f, d, s, n)` in one line."
SOLUTION = """def zeros_before(f, d, s, n):
    return max((math.ceil(n / s) - 1) * s + d * (f - 1) + 1 - n, 0) // 2


tried = list(product(*[range(1, 5)] * 3, range(1, 10)))
right = sum(zeros_before(*numbers) == same_padding(*numbers)[0] for numbers in tried)
print(f"{right} of {len(tried)}")"""


def check(answer, monkeypatch, tmp_path, task=TASK, solution=SOLUTION, **names):
    """Run a check as a notebook would, against a committed notebook with this one exercise."""
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": task},
        {"cell_type": "code", "metadata": {"tags": ["solution"]}, "source": solution},
    ]
    (tmp_path / "q5_x.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    monkeypatch.setattr(runtime, "NOTEBOOKS", tmp_path)
    scope = {"math": math, "product": product, "same_padding": same_padding, "np": np} | names
    exec(answer, scope)
    selfcheck.check("q5", 1, scope)


def test_the_solution_itself_is_right(monkeypatch, tmp_path, capsys):
    check(SOLUTION, monkeypatch, tmp_path)
    assert capsys.readouterr().out.endswith("Exercise 1 is right.\n")


FULL = "max((math.ceil(n / s) - 1) * s + d * (f - 1) + 1 - n, 0)"
WRONG_ZEROS = {
    "nothing": ("", "`zeros_before` is not defined"),
    "no return": (f"def zeros_before(f, d, s, n): {FULL}", "is a return missing"),
    "no function": ("zeros_before = 3", "is no function"),
    "off by one": (f"def zeros_before(f, d, s, n): return {FULL} // 2 + 1", "one too large"),
    "after instead of before": (
        f"def zeros_before(f, d, s, n): return -(-{FULL} // 2)",
        "of 576 calls are off, the first with (2, 1, 1, 1)",
    ),
    "both sides": (f"def zeros_before(f, d, s, n): return {FULL}", "off"),
    "as a list": (f"def zeros_before(f, d, s, n): return [{FULL} // 2]", "otherwise arranged"),
    "a text": (f"def zeros_before(f, d, s, n): return str({FULL} // 2)", "a number is wanted"),
    "another signature": ("def zeros_before(f, d, s): return 0", "raises TypeError"),
    "divides by zero": ("def zeros_before(f, d, s, n): return 1 // 0", "raises ZeroDivisionError"),
    "not finite": ("def zeros_before(f, d, s, n): return math.nan", "is eps missing"),
    "sign": (f"def zeros_before(f, d, s, n): return -({FULL} // 2)", "sign"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_ZEROS)
def test_wrong_answers_to_exercise_2_of_question_5(monkeypatch, tmp_path, kind):
    answer, message = WRONG_ZEROS[kind]
    with pytest.raises(selfcheck.AnswerOff) as off:
        check(answer, monkeypatch, tmp_path)
    assert message in str(off.value)
    assert str(off.value).startswith("Exercise 1 is not right yet: ")
    assert off.value._render_traceback_() == [str(off.value)]


def test_names_are_copied_and_arguments_compared_after_the_call(monkeypatch, tmp_path):
    solution = "def update(cache):\n    cache['mu'] = 2\n    return 1\n\nprint(update({'mu': 0}))"
    scope = {"kept": [1]}
    check(solution, monkeypatch, tmp_path, solution=solution, task="x", **scope)
    with pytest.raises(selfcheck.AnswerOff, match=r"changes its arguments otherwise: .*at 'mu'"):
        check("def update(cache): return 1", monkeypatch, tmp_path, solution=solution, task="x")
    assert scope == {"kept": [1]}


def test_what_two_runs_do_not_agree_on_is_left_open(monkeypatch, tmp_path, capsys):
    rng = np.random.default_rng(1)
    solution = "score, n = rng.random(), 3\nprint(score, n)"
    check("score, n = 0.5, 3", monkeypatch, tmp_path, solution=solution, task="x", rng=rng)
    assert capsys.readouterr().out == "Exercise 1 is right (score: random, not checked).\n"
    random = solution.replace("print(score, n)", "print(score)")
    check("score = 0.5", monkeypatch, tmp_path, solution=random, task="x", rng=rng)
    assert "answers with random numbers, which nothing checks" in capsys.readouterr().out
    with pytest.raises(selfcheck.AnswerOff, match="`n`: another number, too large"):
        check("score, n = 0.5, 9", monkeypatch, tmp_path, solution=solution, task="x", rng=rng)
    assert rng.random() == np.random.default_rng(1).random()


def test_a_solution_that_fails_among_the_readers_names_says_so(monkeypatch, tmp_path):
    broken = f"{SOLUTION.split('tried')[0]}\nproduct = None"
    with pytest.raises(selfcheck.AnswerOff, match=r"fails among these names .*restart the kernel"):
        check(broken, monkeypatch, tmp_path)


def test_an_exercise_that_is_not_there_is_refused(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="question must be one with exercises; got 'q9'"):
        selfcheck.check("q9", 1, {})
    with pytest.raises(ValueError, match="number must be an integer from 1 to 3; got 4"):
        selfcheck.check("q5", 4, {})


def test_a_check_without_names_says_that_it_checks_nothing(monkeypatch, tmp_path, capsys):
    check("", monkeypatch, tmp_path, solution="print(1 + 1)", task="Why?")
    assert "answered in words" in capsys.readouterr().out


# --- what is off -----------------------------------------------------------------------------

HEIGHTS = [256, 124, 62, 62, 23, 11, 11]
WRONG_HEIGHTS = {
    "one too many each": ([h + 1 for h in HEIGHTS], "off by one: every value is one too large"),
    "the reported 24": (
        [256, 124, 62, 62, 24, 11, 11], "1 of 7 values are off by one, the first at 4"),
    "24 and 12": ([256, 124, 62, 62, 24, 12, 12], "3 of 7 values are off by one, the first at 4"),
    "the stride ignored": (
        [256, 248, 124, 124, 108, 54, 54], "6 of 7 values are wrong, the first at 1"),
    "a layer too many": ([*HEIGHTS, -10], "one too many, of 8"),
    "a layer forgotten": (HEIGHTS[1:], "one too few, of 6"),
    "from the end": (HEIGHTS[::-1], "in reverse order"),
    "two exchanged": ([256, 124, 62, 62, 11, 23, 11], "the right values in another order"),
    "twice": ([2 * h for h in HEIGHTS], "every value is twice what is wanted"),
    "with widths": ([[h, h] for h in HEIGHTS], "too many axes: its shape is (7, 2)"),
    "as text": ("256, 124", "numbers are wanted, not str"),
    "one number": (256, "too few axes: it is a single number"),
    "all else": ([1, 2, 3, 4, 5, 6, 7], "the right shape but wrong values"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_HEIGHTS)
def test_wrong_heights_of_question_5_are_told_apart(kind):
    given, message = WRONG_HEIGHTS[kind]
    assert selfcheck.difference(given, HEIGHTS) == message
    assert selfcheck.difference(np.array(HEIGHTS), HEIGHTS) == ""


def test_no_two_kinds_of_wrong_heights_get_the_same_words():
    messages = [selfcheck.difference(given, HEIGHTS) for given, _ in WRONG_HEIGHTS.values()]
    assert len(set(messages)) == len(messages) >= 10


Z = np.random.default_rng(3).normal(2, 0.5, size=(7, 4))
SQUARE = np.random.default_rng(4).normal(2, 0.5, size=(5, 5))


def forward(z):
    d = z.shape[1]
    cache = {"mu": np.zeros(d), "var": np.ones(d)}
    return batch_norm.forward_batchnorm(z, np.ones(d), np.zeros(d), 1e-3, cache, 0.9, "train")


def by_hand(z, axis=0, eps=1e-3, ddof=0, root=np.sqrt):
    mean, variance = z.mean(axis, keepdims=True), z.var(axis, ddof=ddof, keepdims=True)
    return (z - mean) / root(variance + eps)


WRONG_NORMS = {
    "the wrong axis": (lambda z: by_hand(z, axis=1), "the wrong axis"),
    "missing eps": (lambda z: by_hand(z, eps=0), "eps is missing"),
    "n - 1": (lambda z: by_hand(z, ddof=1), "divided by n - 1"),
    "transposed": (lambda z: by_hand(z).T, "the axes are swapped"),
    "not centred": (lambda z: z / np.sqrt(z.var(0) + 1e-3), "not centred"),
    "the sign": (lambda z: -by_hand(z), "the sign is the other one"),
    "twice": (lambda z: 2 * by_hand(z), "every value is twice"),
    "eps beside the root": (
        lambda z: (z - z.mean(0)) / (np.sqrt(z.var(0)) + 1e-3), "is eps in another place"),
    "the variance, not its root": (lambda z: by_hand(z, root=lambda v: v), "instead of its root"),
    "over all": (lambda z: (z - z.mean()) / np.sqrt(z.var() + 1e-3), "wrong values"),
    "one row left out": (lambda z: by_hand(z)[1:], "another shape"),
    "no return": (lambda z: None, "is a return missing"),
    "a constant feature": (lambda z: by_hand(z) / np.array([1, 1, 1, 0] + [1] * (z.shape[1] - 4)),
                           "is eps missing"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_NORMS)
@pytest.mark.parametrize("z", [Z, SQUARE], ids=["uneven", "square"])
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_wrong_batch_norms_of_question_6_are_told_apart(kind, z):
    wrong, message = WRONG_NORMS[kind]
    assert message in selfcheck.difference(wrong(z), forward(z))
    assert selfcheck.difference(by_hand(z), forward(z)) == ""


OTHERS = [
    (True, False, "the opposite is true"),
    (1, True, "True or False is wanted"),
    ("Conv2D", "conv 2d", "only spaces or capitals differ"),
    ("a", "b", "another text"),
    (3, "b", "a text is wanted, not int"),
    ({"a": 1}, {"a": 1, "b": 2}, "1 keys are missing"),
    ({"a": 1, "c": 2}, {"a": 1}, "1 of its keys are not wanted"),
    ({"a": 1}, {"a": 2}, "at 'a': off by one: it is one too small"),
    ([1, "x"], [1, "y"], "1 of 2 entries are off, the first at 1: another text"),
    ([1, [2, 3]], [1, [2]], "1 of 2 entries are off, the first at 1: one too many, of 2"),
    ((3, 5), (5, 3), "in reverse order"),
    (np.zeros((3, 5)), np.ones((5, 3)), "the axes are swapped: its shape is (3, 5)"),
    (0.5, 50.0, "it is a hundredth of what is wanted"),
    (7.0, 3.0, "another number, too large"),
    (0.12, 0.1234, "another number, too small"),
    (0.123, 0.1234, "close but not equal: rounded, or eps missing or in another place?"),
    (819_329, 819_328, "off by one: it is one too large"),
]


@pytest.mark.parametrize(("given", "wanted", "message"), OTHERS)
def test_other_values_are_told_apart(given, wanted, message):
    assert selfcheck.difference(given, wanted) == message
    assert selfcheck.difference(wanted, wanted) == ""


def wrong(value):
    """Ten and more typical wrong answers in place of a number or a list of numbers."""
    array = np.asarray(value, float)
    yield from (array + 1, array - 1, -array, 2 * array, 100 * array, array / 100, array + 0.004)
    yield from (None, str(value), np.full_like(array, np.nan), array * 1.013, array + 17)
    if array.ndim and len(array) > 1:
        one = array.copy()
        one.flat[-1] += 1
        yield from (one, array[1:], np.concatenate([array, array[:1]]), array.flat[0], array[None])
    else:
        yield from (np.stack([array, array]), np.zeros((2, 2)))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_ten_wrong_answers_to_the_exact_claims_of_a_question_are_told_apart(path):
    (document,) = [
        output["data"][claims.MIME]
        for cell in read(path)["cells"]
        for output in cell.get("outputs", [])
        if claims.MIME in output.get("data", {})
    ]
    messages = set()
    for claim in document["claims"]:
        value = claim["expected"]
        if claim["relation"] != "equal" or selfcheck._numbers(value) is None or not np.any(value):
            continue
        assert selfcheck.difference(value, value) == ""
        for given in wrong(value):
            if selfcheck._numbers(given) is not None and np.array_equal(given, value):
                continue
            message = selfcheck.difference(given, value)
            assert message
            assert str(value) not in message or len(str(value)) < 3
            messages.add(message)
    assert len(messages) >= 10 or not messages
    assert messages or path.stem.startswith("q3")  # all its claims are measured


def test_failed_claims_say_what_is_off_and_not_what_is_right(capsys):
    table = claims.Claims("q5")
    table.corrected("5.1-b", "height after layer 5", reported=24, measured=23, expected=23)
    selfcheck.check_claims(table)
    assert capsys.readouterr().out == "All 1 claims hold.\n"
    table.corrected("5.1-b", "height after layer 5", reported=24, measured=22, expected=23)
    table.at_least("5.1-a", "accuracy", reported=0.8877, measured=0.5)
    with pytest.raises(selfcheck.AnswerOff) as off:
        selfcheck.check_claims(table)
    text = str(off.value)
    assert "5.1-b: off by one: it is one too small" in text
    assert "5.1-a: the measured number is below its mark" in text
    assert "23" not in text
    assert "0.8877" not in text


def test_a_file_is_no_folder_to_write_into(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ValueError, match="out must be a folder; got .*/file, which is none. Name another"
    ):
        student.write(SOURCES[:1], tmp_path / "file")
