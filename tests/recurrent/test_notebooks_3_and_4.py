"""What the texts of notebooks 3 and 4 say, held against what their cells gave."""

import re

import nbformat
import pytest

from hw4.runtime import NOTEBOOKS

SOLUTIONS = {
    "q3": [
        "If it is meant as 24 time steps of 7 features, pass X.transpose(0, 2, 1).\nTrue",
        "0.000 and 0.000",
        "cell 0.700, as at the start",
    ],
    "q4": [
        "from 99 features on: 5f + 1 > 3 (f + 64 + 2), so 2f > 197",
        "14 layers, since 2^14 = 16,384; 16000 steps",
        "right: True",
    ],
}


@pytest.fixture(params=SOLUTIONS)
def question(request):
    return request.param


@pytest.fixture
def cells(question):
    (path,) = NOTEBOOKS.glob(f"{question}_*.ipynb")
    return nbformat.read(path, as_version=4).cells


def test_exercises_have_hidden_solutions_that_ran_and_are_right(cells, question):
    solutions = [cell for cell in cells if "solution" in cell.metadata.get("tags", [])]
    exercises = re.findall(r"(?m)^\*\*\d\.\*\*", "\n".join(cell.source for cell in cells))
    assert len(exercises) == len(solutions)
    assert all(cell.metadata["jupyter"]["source_hidden"] for cell in solutions)
    printed = ["".join(o.get("text", "") for o in cell.outputs).strip() for cell in solutions]
    assert printed == SOLUTIONS[question]
