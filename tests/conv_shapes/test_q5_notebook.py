"""What the text of question 5's notebook says, held against what its cells gave."""

import json
import re

import nbformat
import pytest

from hw4.runtime import NOTEBOOKS


@pytest.fixture(scope="module")
def cells():
    (path,) = NOTEBOOKS.glob("q5_*.ipynb")
    return nbformat.read(path, as_version=4).cells


def output(cell):
    return "".join(each.get("text", "") for each in cell.outputs)


def test_stored_lines_of_tensorflow_are_those_of_the_run(cells):
    (cell,) = [cell for cell in cells if "STORED = [" in cell.source]
    stored = json.loads(re.search(r"STORED = (\[.*\])", cell.source)[1])
    assert [line[15:].strip() for line in output(cell).splitlines()] == list(map(str, stored))


def test_exercises_have_hidden_solutions_that_ran(cells):
    solutions = [cell for cell in cells if "solution" in cell.metadata.get("tags", [])]
    exercises = re.findall(r"(?m)^\*\*\d\.\*\*", "\n".join(cell.source for cell in cells))
    assert len(solutions) == len(exercises) == 3
    for cell in solutions:
        assert cell.metadata["jupyter"]["source_hidden"]
        assert cell.execution_count
    assert [output(cell).strip() for cell in solutions] == [
        "layer 8 alone: [1]; with dilation 1 before: up to 2",
        "576 of 576",
        "dilated 5x5: (17, 25)\neight 3x3:   (17, 72)\none 17x17:   (17, 289)\n"
        "but the dilated filter looks at 25 of 289 pixels",
    ]
