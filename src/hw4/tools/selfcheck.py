"""Self-checks of an exercise: they say what is off about an answer, never what is right.

The right answer is what the committed notebook's hidden solution gives here and now, in a copy of
the reader's own names: its functions are called as the solution calls them, with equal arguments.
"""

import ast
import contextlib
import copy
import functools
import io
import json
import re
import sys
from collections.abc import Callable, Iterator

import numpy as np

from hw4 import runtime

MOST_CALLS = 2000


class AnswerOff(AssertionError):  # noqa: N818 - says what the answer is
    """An answer that is not right yet; the message says in which way."""

    def _render_traceback_(self) -> list[str]:
        # IPython shows this instead of a traceback through our own code
        return [str(self)]


def check(question: str, number: int, names: dict) -> None:
    """Hold what the reader has defined against the solution of one exercise.

    Args:
        question: `q1` to `q7`.
        number: of the exercise, from 1.
        names: the reader's `globals()`; they are copied, not changed.

    Raises:
        AnswerOff: something is missing or off.
        ValueError: there is no such exercise.
    """
    found = exercises(question)
    number = runtime.integer("number", number, 1, len(found), "Name an exercise of this notebook.")
    task, source = found[number - 1]
    wanted = asked_for(source, task)
    if not wanted:
        print(f"Exercise {number} is answered in words, which nothing checks here.")
        return
    off, random = what_is_off(source, wanted, names)
    if off:
        raise AnswerOff(f"Exercise {number} is not right yet: " + "; ".join(off) + ".")
    if set(random) == set(wanted):
        print(f"Exercise {number} answers with random numbers, which nothing checks here.")
        return
    unchecked = f" ({', '.join(random)}: random, not checked)" if random else ""
    print(f"Exercise {number} is right{unchecked}.")


def check_claims(claims) -> None:
    """Say of every failed claim of a notebook (`hw4.claims.Claims`) what is off.

    Raises:
        AnswerOff: a claim failed.
    """
    decided = claims.document()["claims"]
    off = [
        f"{claim['id']}: {_claim_off(claim)}" for claim in decided if claim["verdict"] == "failed"
    ]
    if off:
        raise AnswerOff(f"{len(off)} of {len(decided)} claims fail. " + "; ".join(off) + ".")
    print(f"All {len(decided)} claims hold.")


def _claim_off(claim: dict) -> str:
    if claim["relation"] != "equal":
        side = "below" if claim["relation"] == "at_least" else "above"
        return f"the measured number is {side} its mark"
    return difference(claim["measured"], claim["expected"]) or "the reported value would hold, too"


def exercises(question: str) -> list[tuple[str, str]]:
    """Return (task, source of the hidden solution) of every exercise of a committed notebook."""
    for path in sorted(runtime.NOTEBOOKS.glob(f"{question}_*.ipynb")):
        if found := list(tasks(json.loads(path.read_text(encoding="utf-8"))["cells"])):
            return found
    raise ValueError(
        f"question must be one with exercises; got {question!r}. Look into {runtime.NOTEBOOKS}."
    )


def is_solution(cell: dict) -> bool:
    """Say whether a cell, as the notebook's JSON has it, is the solution of an exercise."""
    tagged = "solution" in cell["metadata"].get("tags", ())
    return cell["cell_type"] == "code" and tagged


def tasks(cells: list[dict]) -> Iterator[tuple[str, str]]:
    """Yield the task of every exercise, from the text before it, and its solution."""
    text, number = "", 0
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            text = source
        elif is_solution(cell):
            number += 1
            parts = re.split(r"\*\*(?:Exercise )?([0-9]+)\.?\*\*\.?", text)
            numbered = dict(zip(parts[1::2], parts[2::2], strict=True))
            yield " ".join(numbered.get(str(number), text).split()), source


def asked_for(source: str, task: str = "") -> list[str]:
    """Return the names that a solution answers with.

    These are its functions and what it shows by name; without functions, all names in what it
    shows or asserts; and only those that the task names, if it names any.

    >>> asked_for("def f(x):\\n    return x\\n\\nn, m = 2, 3\\nprint(f'{f(m)} and {n}')")
    ['f', 'n']
    >>> asked_for("one, two = 1, 2\\nassert one < two")
    ['one', 'two']
    """
    body = ast.parse(source).body
    functions = [part.name for part in body if isinstance(part, ast.FunctionDef)]
    nodes = [
        node
        for part in body
        if not isinstance(part, ast.FunctionDef | ast.ClassDef)
        for node in ast.walk(part)
    ]
    targets = [
        target
        for node in nodes
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.For)
        for target in getattr(node, "targets", None) or [node.target]
    ]
    stored = {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    shown = []
    for part in (node for node in nodes if isinstance(node, ast.Expr | ast.Assert)):
        inside = list(ast.walk(part))
        if functions:
            # what a function is called with is not the answer
            value = getattr(part, "value", None)
            inside = [value, *getattr(value, "args", ())]
            inside += [n.value for n in ast.walk(part) if isinstance(n, ast.FormattedValue)]
        shown += [node.id for node in inside if isinstance(node, ast.Name) and node.id in stored]
    names = list(dict.fromkeys([*functions, *shown]))
    return [name for name in names if re.search(rf"`{name}\b", task)] or names


def what_is_off(source: str, wanted: list[str], names: dict) -> tuple[list[str], list[str]]:
    """Hold the wanted names against what the solution makes of the reader's other names.

    Returns:
        One text for every name that is missing or off; and the names of which two runs of the
        solution do not agree, such as a trained score: these are open.
    """
    off, random, again = [], [], None
    if missing := [name for name in wanted if name not in names]:
        return [f"`{name}` is not defined" for name in missing], []
    try:
        reference, calls = _solved(source, names)
        for name in wanted:
            if name in calls:
                text = _function_off(names[name], calls[name])
            else:
                text = difference(names[name], reference[name])
            if text and name not in calls:
                again = again or _solved(source, names, skipped=1000)[0]
                if difference(again[name], reference[name]):
                    random.append(name)
                    continue
            if text:
                off.append(f"`{name}`: {text}")
    except Exception as error:
        text = f"the solution fails among these names ({type(error).__name__}: {error})"
        return [f"{text}: restart the kernel and run all cells"], []
    return off, random


def _solved(source: str, names: dict, skipped: int = 0) -> tuple[dict, dict[str, list]]:
    """Run a solution in a copy of `names`; return its names, and each function's calls.

    Generators of random numbers are copied, without so many of their next numbers.
    """
    scope, calls = dict(names), {}
    for name, value in names.items():
        if isinstance(value, np.random.Generator):
            scope[name] = copy.deepcopy(value)
            scope[name].random(skipped)
    with contextlib.redirect_stdout(io.StringIO()), _no_new_figures():
        for part in ast.parse(source).body:
            exec(compile(ast.Module([part], []), "<solution>", "exec"), scope)
            if isinstance(part, ast.FunctionDef):
                calls[part.name] = []
                scope[part.name] = _recorded(scope[part.name], calls[part.name])
    return scope, calls


def _recorded(function: Callable, calls: list) -> Callable:
    @functools.wraps(function)
    def recorded(*args, **kwargs) -> object:
        before = _copied((args, kwargs))
        result = function(*args, **kwargs)
        if len(calls) < MOST_CALLS:
            calls.append((before, _copied((args, kwargs)), result))
        return result

    return recorded


def _copied(value) -> object:
    try:
        return copy.deepcopy(value)
    except Exception:  # models and open files stay what they are
        return value


@contextlib.contextmanager
def _no_new_figures() -> Iterator[None]:
    pyplot = sys.modules.get("matplotlib.pyplot")
    before = set(pyplot.get_fignums()) if pyplot else set()
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        for figure in set(pyplot.get_fignums()) - before:
            pyplot.close(figure)


def _function_off(function, calls: list) -> str:
    if not callable(function):
        return "is no function"
    wrong = []
    for before, after, result in calls:
        args, kwargs = _copied(before)
        try:
            text = difference(function(*args, **kwargs), result)
        except Exception as error:
            text = f"raises {type(error).__name__}: {error}"
        if not text and (changed := difference([args, kwargs], list(after))):
            text = f"changes its arguments otherwise: {changed}"
        if text:
            wrong.append((before, text))
    if not wrong:
        return ""
    (args, kwargs), text = wrong[0]
    given = ", ".join([*map(_short, args), *(f"{k}={_short(v)}" for k, v in kwargs.items())])
    return f"{len(wrong):,} of {len(calls):,} calls are off, the first with ({given}): {text}"


def _short(value) -> str:
    return runtime.cut(" ".join(repr(value).split()), 40)


def difference(given, wanted) -> str:
    """Say in which way `given` is off, without saying what is wanted; empty if it is right.

    >>> difference([1, 2, 3], [2, 3, 4])
    'off by one: every value is one too small'
    >>> difference([[1, 2], [3, 4]], [[1, 3], [2, 4]])
    'the axes are swapped'
    """
    if given is None and wanted is not None:
        return "it is None: is a return missing?"
    if isinstance(wanted, str):
        return _text_off(given, wanted)
    if isinstance(wanted, bool | np.bool_):
        if not isinstance(given, bool | np.bool_):
            return "True or False is wanted"
        return "" if bool(given) == bool(wanted) else "the opposite is true"
    if isinstance(wanted, dict):
        return _mapping_off(given, wanted)
    numbers = _numbers(wanted)
    if numbers is not None:
        return _numbers_off(given, numbers)
    if isinstance(wanted, list | tuple):
        return _sequence_off(given, wanted)
    try:
        return "" if given is wanted or bool(given == wanted) else "another value"
    except (TypeError, ValueError):
        return ""  # a model, say, which cannot be compared


def _text_off(given, wanted: str) -> str:
    if not isinstance(given, str):
        return f"a text is wanted, not {type(given).__name__}"
    if given == wanted:
        return ""
    alike = "".join(given.split()).casefold() == "".join(wanted.split()).casefold()
    return "only spaces or capitals differ" if alike else "another text"


def _mapping_off(given, wanted: dict) -> str:
    if not isinstance(given, dict):
        return f"a dictionary is wanted, not {type(given).__name__}"
    if extra := len(given.keys() - wanted.keys()):
        return f"{extra} of its keys are not wanted"
    if missing := len(wanted.keys() - given.keys()):
        return f"{missing} keys are missing"
    texts = {key: difference(given[key], wanted[key]) for key in wanted}
    return next((f"at {key!r}: {text}" for key, text in texts.items() if text), "")


def _sequence_off(given, wanted) -> str:
    if not isinstance(given, list | tuple | np.ndarray):
        return f"a sequence is wanted, not {type(given).__name__}"
    if len(given) != len(wanted):
        return _length_off(len(given), len(wanted))
    texts = [difference(a, b) for a, b in zip(given, wanted, strict=True)]
    wrong = [(place, text) for place, text in enumerate(texts) if text]
    if not wrong:
        return ""
    return (
        f"{len(wrong)} of {len(texts)} entries are off, the first at {wrong[0][0]}: {wrong[0][1]}"
    )


def _length_off(given: int, wanted: int) -> str:
    many = "many" if given > wanted else "few"
    return f"{'one' if abs(given - wanted) == 1 else 'several'} too {many}, of {given}"


def _numbers(value) -> np.ndarray | None:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return None  # ragged
    return array.astype(float) if array.dtype.kind in "iuf" else None


def _numbers_off(given, wanted: np.ndarray) -> str:
    found = _numbers(given)
    if found is None:
        kind = "a number is" if not wanted.ndim else "numbers are"
        return f"{kind} wanted, not {type(given).__name__}"
    if found.shape != wanted.shape:
        return _shape_off(found, wanted)
    if np.isfinite(wanted).all() and not np.isfinite(found).all():
        bad = np.count_nonzero(~np.isfinite(found))
        return f"{bad} of {found.size} values are not finite: a division by zero, is eps missing?"
    whole = bool((wanted == np.rint(wanted)).all())
    # exact answers must be exact; computed ones may differ by the order of their sums
    near = functools.partial(np.isclose, rtol=0 if whole else 1e-6, atol=1e-7, equal_nan=True)
    right = near(found, wanted)
    if right.all():
        return ""
    return _values_off(found, wanted, right, near)


def _shape_off(found: np.ndarray, wanted: np.ndarray) -> str:
    shown = f"its shape is {found.shape}" if found.ndim else "it is a single number"
    if found.ndim > 1 and found.shape == wanted.shape[::-1]:
        return f"the axes are swapped: {shown}"
    if found.size == wanted.size:
        return f"the right number of values, otherwise arranged: {shown}"
    if found.ndim == wanted.ndim == 1:
        return _length_off(len(found), len(wanted))
    if found.ndim != wanted.ndim:
        many = "many" if found.ndim > wanted.ndim else "few"
        return f"too {many} axes: {shown}"
    return f"another shape, is it the wrong axis? {shown}"


def _values_off(found, wanted, right, near) -> str:
    """Name the first kind of mistake that turns the wanted numbers into these."""
    distance, axis = found - wanted, found.ndim > 0
    large = "large" if distance.flat[0] > 0 else "small"
    every = "every value is" if axis else "it is"
    if near(np.abs(distance), 1).all() and np.ptp(distance) < 1e-6:
        return f"off by one: {every} one too {large}"
    if near(-found, wanted).all():
        return "the sign is the other one"
    if found.ndim == 2 and found.shape[0] == found.shape[1] and near(found.T, wanted).all():
        return "the axes are swapped"
    if axis and near(np.flip(found), wanted).all():
        return "in reverse order"
    if axis and near(np.sort(found, axis=None), np.sort(wanted, axis=None)).all():
        return "the right values in another order"
    if axis and not near(distance, 0).any() and np.ptp(distance) < 1e-6 * np.abs(distance).max():
        return f"every value is too {large} by the same amount"
    if wanted.all() and np.ptp(ratio := found / wanted) < 1e-6 * np.abs(ratio).max():
        named = {2: "twice", 0.5: "half of", 100: "a hundred times", 0.01: "a hundredth of"}
        times = next((text for k, text in named.items() if np.isclose(ratio.flat[0], k)), "")
        if times:
            return f"{every} {times} what is wanted"
        if axis:
            return "every value is wrong by the same factor"
    if text := _standardised_off(found, wanted):
        return text
    wrong = ~right
    if axis and right.any():
        first = tuple(int(k) for k in np.argwhere(wrong)[0])
        place = first[0] if len(first) == 1 else first
        kind = "off by one" if near(np.abs(distance[wrong]), 1).all() else "wrong"
        return f"{wrong.sum()} of {wrong.size} values are {kind}, the first at {place}"
    if np.allclose(found, wanted, rtol=0.02, atol=0):
        return "close but not equal: rounded, or eps missing or in another place?"
    return "the right shape but wrong values" if axis else f"another number, too {large}"


def _standardised_off(found, wanted) -> str:
    """Recognise what goes wrong with features, (n, d), that are brought to mean 0 along axis 0."""
    if found.ndim != 2 or min(found.shape) < 2 or not _centred(wanted, 0):
        return ""
    if not _centred(found, 0):
        if _centred(found, 1):
            return "the wrong axis: the mean of each row is 0, not that of each column"
        if np.allclose(found - found.mean(axis=0), wanted, rtol=1e-6):
            return "not centred: each column is off by an amount of its own"
        return ""
    lengths = np.linalg.norm(wanted, axis=0)
    factor = np.linalg.norm(found, axis=0) / np.where(lengths > 0, lengths, 1)
    if not np.allclose(found, wanted * factor, rtol=1e-6):
        return ""
    n, variance, moving = len(found), wanted.var(axis=0), lengths > 0
    if np.allclose(found.var(axis=0)[moving], 1, rtol=1e-7) and (variance < 1 - 1e-7).any():
        return "eps is missing: the variance of each column is exactly 1"
    # with eps in the denominator the factor is not quite the one between n and n - 1
    if np.allclose(factor[moving] ** 2 * n / (n - 1), 1, rtol=0.25 / n):
        return "the variance is divided by n - 1 instead of n"
    if np.abs(factor[moving] - 1).max() < 0.2:
        return "each column is off by a factor near 1: is eps in another place?"
    return "each column is off by a factor of its own: is it the variance instead of its root?"


def _centred(values, axis: int) -> bool:
    return bool((np.abs(values.mean(axis=axis)) < 1e-5 * np.abs(values).max()).all())
