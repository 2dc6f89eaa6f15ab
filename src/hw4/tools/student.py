"""Notebooks without their answers, for students: `hw4 student [q5 ...] --out FOLDER`.

Every cell tagged `solution` becomes a stub with its task and a hint, followed by a self-check;
claims stay, followed by a check that says what is off. Solution cells and checks carry nbgrader's
metadata (schema 3), and the tag `yours`, so that `hw4 grade` lets them differ.
"""

import ast
import copy
import json
import re
import textwrap
from pathlib import Path

from hw4 import runtime
from hw4.tools.selfcheck import asked_for, is_solution, tasks

# Sentences that are true of the committed notebook only.
_ABOUT_SOLUTIONS = re.compile(
    r"[ ]?\(?[^.()\n]*\bsolutions?\b[^.()\n]*\b(?:hidden|folded|collapsed)\b[^.()\n]*\.\)?\n*", re.I
)
_ORDINARY = {"print", "display", "len", "range", "zip", "enumerate", "f"}


def write(sources: list[Path], folder: Path) -> list[Path]:
    """Write the student's version of every notebook into a folder; return the files.

    Raises:
        ValueError: the folder is a file, or holds a file of that name with other content, such as
            work done in it: nothing is written then.
    """
    runtime.expect_folder("out", folder)
    texts = {}
    for source in sources:
        notebook = json.loads(source.read_text(encoding="utf-8"))
        blank = without_answers(notebook, source.stem.split("_")[0])
        text = json.dumps(blank, indent=1, ensure_ascii=False) + "\n"
        target = folder / source.name
        if target.exists() and target.read_bytes() != text.encode():
            raise ValueError(
                f"out must hold no other {source.name}; got {folder}, where somebody may have "
                "worked in it. Choose another folder."
            )
        texts[target] = text
    return [runtime.write_whole(target, text) for target, text in texts.items()]


def without_answers(notebook: dict, question: str) -> dict:
    """Return a notebook's JSON with stubs and self-checks in place of solutions, not executed."""
    blank, cells, number = copy.deepcopy(notebook), [], 0
    exercises = list(tasks(notebook["cells"]))
    for cell in blank["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = _ABOUT_SOLUTIONS.sub("", "".join(cell["source"]))
        if cell["cell_type"] != "code":
            cells.append(cell)
            continue
        source = "".join(cell["source"])
        cell["outputs"], cell["execution_count"] = [], None
        cell["metadata"].pop("execution", None)
        cells.append(cell)
        if is_solution(cell):
            number += 1
            cell["source"] = stub(*exercises[number - 1], number)
            name = f"{question}-exercise-{number}"
            cell["metadata"] = {"tags": ["solution", "yours"], "nbgrader": _nbgrader(name)}
            call = f'selfcheck.check("{question}", {number}, globals())'
            cells.append(_check(cell, name, call))
        elif shown := re.search(r"^(\w+)\.show\(\)$", source, re.M):
            call = f"selfcheck.check_claims({shown[1]})"
            cells.append(_check(cell, f"{question}-claims", call))
    blank["cells"] = cells
    return blank


def stub(task: str, source: str, number: int) -> str:
    """Return what stands where a solution stood: its task, what to define, and a hint.

    >>> print(stub("Double x.", "def double(x):\\n    return sum([x, x])", 1))
    # Exercise 1. Double x.
    # Define: double(x)
    # Hint: the solution has 2 lines and uses sum.
    # YOUR CODE HERE
    raise NotImplementedError()
    """
    tree = ast.parse(source)
    signatures = {
        part.name: f"{part.name}({ast.unparse(part.args)})"
        for part in tree.body
        if isinstance(part, ast.FunctionDef)
    }
    defined = [signatures.get(name, name) for name in asked_for(source, task)]
    used = [ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)]
    used = [n for n in dict.fromkeys(used) if n.isidentifier() or re.fullmatch(r"\w+\.\w+", n)]
    used = [name for name in used if name not in _ORDINARY | set(signatures)][:6]
    lines = sum(bool(line.strip()) for line in source.splitlines())
    hint = f"Hint: the solution has {lines} lines" + (
        f" and uses {', '.join(used)}." if used else "."
    )
    parts = [
        f"Exercise {number}. {task}",
        f"Define: {', '.join(defined)}" if defined else "",
        hint,
        "YOUR CODE HERE",
    ]
    comments = [line for part in parts for line in textwrap.wrap(part, 96, break_long_words=False)]
    return "\n".join([*(f"# {line}" for line in comments), "raise NotImplementedError()"])


def _check(cell: dict, name: str, call: str) -> dict:
    """Return the self-check that follows a cell: a test cell to nbgrader, worth one point."""
    return {
        "cell_type": "code",
        "id": f"{cell['id'][:56]}-check",
        "metadata": {"tags": ["check", "yours"], "nbgrader": _nbgrader(f"{name}-check", points=1)},
        "execution_count": None,
        "outputs": [],
        "source": f"from hw4.tools import selfcheck\n\n{call}",
    }


def _nbgrader(name: str, points: int | None = None) -> dict:
    """Return nbgrader's metadata: an answer to be written, or a locked test of it with points."""
    test = points is not None
    kind = {"grade": test, "solution": not test, "locked": test, "task": False}
    return {"schema_version": 3, "grade_id": name} | kind | ({"points": points} if test else {})
