"""Which names the cells of a notebook read, set and import, as their source says."""

import ast
import dis
import functools
import re
import types
import warnings
from collections.abc import Iterable

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
# What these statements set, they set whatever happens.
SURE = (ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom, ast.ClassDef, *FUNCTIONS)
# Of IPython's own syntax: code to be timed, and lines that only show something.
TIMED = re.compile(r"^( *)%%?time(?:it)?(?: -\w+(?: \d+)?)*(?: |$)", re.M)
SHOWN = re.compile(
    r"^( *)(?:%matplotlib(?: inline)?|%config InlineBackend\.\w+ ?= ?['\"]\w+['\"]|%whos?|%pwd"
    r"|!(?:ls|pwd|nvidia-smi|pip list|pip show)[\w ./*-]*|[\w.]+\?\??|\?\??[\w.]+)$",
    re.M,
)


class Cell:
    """One cell.

    Attributes:
        tree: its syntax tree.
        imports: (module, name, name here) of what it imports.
        sets: the global names that it sets or deletes, anywhere, but for imports.
        functions: (name, global names that it reads) of its functions and classes.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: it is no Python.
    """

    def __init__(self, source: str) -> None:
        try:
            self.tree = ast.parse(source)
        except SyntaxError:
            self.tree = ast.parse(SHOWN.sub(r"\1pass", TIMED.sub(r"\1", source)))
        self.imports, self.sets, self.functions, self._steps = set(), set(), [], []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = "." * getattr(node, "level", 0) + (getattr(node, "module", None) or "")
                for alias in node.names:
                    here = alias.asname or alias.name.partition(".")[0]
                    self.imports.add((module, alias.name, here))
        for statement in self.tree.body:
            reads, sets, inside = _names(statement)
            self._steps.append((reads, sets if isinstance(statement, SURE) else set()))
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                self.sets |= sets | inside
            if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
                self.functions.append((statement.name, reads))

    def reads(self, after: Iterable[str] = ()) -> set[str]:
        """Return the global names that it, or else what follows, reads before it surely set them.

        >>> sorted(Cell("a = 1\\nif a > b: c = 2").reads(after="abc"))
        ['b', 'c']
        """
        names = set(after)
        for reads, surely in reversed(self._steps):
            names = (names - surely) | reads
        return names


cell = functools.lru_cache(1000)(Cell)


def _names(statement: ast.stmt) -> tuple[set[str], set[str], set[str]]:
    """Return the global names that a statement reads before it sets them, sets, sets by `global`.

    They are read off its bytecode: Python itself has found out which names are global.
    """
    reads, sets, inside = set(), set(), set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.Module([statement], [])
        codes = [compile(tree, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)]
    for code in codes:  # which grows
        for step in dis.get_instructions(code):
            kind, _, where = step.opname.partition("_")
            top = code is codes[0] and where == "NAME"
            if kind == "LOAD" and where in ("NAME", "GLOBAL", "FROM_DICT_OR_GLOBALS"):
                reads |= {step.argval} - (sets if top else set())
            elif kind in ("STORE", "DELETE") and (top or where == "GLOBAL"):
                (sets if top else inside).add(step.argval)
        codes += [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return reads, sets, inside


def set_apart(tree: ast.Module) -> ast.Module:
    """Give what is local to a function or comprehension a name of its own: `x` becomes `x@3`."""
    for node in ast.walk(tree):
        if not isinstance(node, (*FUNCTIONS, ast.Lambda, *COMPREHENSIONS)):
            continue
        if isinstance(node, COMPREHENSIONS):
            outside = [node.generators[0].iter]
            setting = [part.target for part in node.generators]
        else:
            outside = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
            setting = [node]
        others = {id(part) for top in outside for part in ast.walk(top)}
        inside = [part for part in ast.walk(node) if id(part) not in others]
        local = {name_set(part) for top in setting for part in ast.walk(top)}
        local -= {n for p in inside if isinstance(p, ast.Global | ast.Nonlocal) for n in p.names}
        for part in inside:
            if isinstance(part, ast.Name) and part.id in local:
                part.id += f"@{id(node)}"
            elif isinstance(part, ast.arg) and part.arg in local:
                part.arg += f"@{id(node)}"
    return tree


def name_set(node: ast.AST) -> str | None:
    """Return the name of a variable or parameter that a node sets."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return node.id
    return node.arg if isinstance(node, ast.arg) else None
