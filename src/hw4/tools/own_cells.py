"""What a cell of a student's own does to the cells after it, as far as its source shows.

Such a cell may try out whatever it likes; it may not decide what the claims measure. Who hides that
well enough is not found here: the report shows these cells to the grader, to be read.
"""

import ast
import re
import symtable
from collections.abc import Iterable, Iterator

# With these a cell changes what it does not name.
POWERS = {
    "setattr", "delattr", "exec", "eval", "compile", "globals", "locals", "vars", "__import__",
    "get_ipython",
}  # fmt: skip
MODULES = {"builtins", "ctypes", "gc", "importlib", "inspect", "sys", "unittest"}
# Methods that change what they are called on; the last six are those of `Claims`.
CHANGING = {
    "append", "clear", "extend", "fill", "fit", "insert", "load_weights", "pop", "put",
    "remove", "reverse", "set_weights", "setdefault", "setflags", "sort", "update",
    "equal", "at_least", "at_most", "corrected", "added", "not_run",
}  # fmt: skip


# The self-checks that `student` writes.
CHECK = re.compile(
    r"from hw4\.tools import selfcheck\n\n"
    r"selfcheck\.(check\(\"q\d\", \d+, globals\(\)\)|check_claims\(\w+\))"
)


def reach(source: str, before: list[str], after: list[str], instead: str = "") -> str:
    """Say how a cell changes what later cells read, "" where it does not.

    Args:
        source: of the cell.
        before: sources of the reference's cells above it, whose imports it may repeat.
        after: sources of the reference's cells below it.
        instead: source of the reference's cell in whose place it stands: what that sets, it may.

    >>> claim = ["claims.equal(measured=accuracy)"]
    >>> reach("mine = [accuracy]; mine.append(3)", [], claim)
    ''
    >>> reach("accuracy = 0.9999", [], claim)
    'it sets accuracy'
    >>> reach("from hw4 import claims as c; c.judge = print", [], claim)
    'it changes c.judge'
    """
    if CHECK.fullmatch(source):
        return ""
    try:
        tree = ast.parse(source)
        needed = _needed(after) - _bound(symtable.symtable(instead, "cell", "exec"))
        return next(_harm(tree, source, before, needed), "")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "it is no plain Python"


def _harm(tree: ast.Module, source: str, before: list[str], needed: set[str]) -> Iterator[str]:
    above = [node for part in before for node in _imports(_parsed(part))]
    known = {ast.dump(node): _names(node) for node in above}
    imports = _imports(tree)
    for node in imports:
        modules = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            if "*" in modules:
                yield f"it imports everything of {node.module}"
            modules = [node.module or "."]
        yield from (f"it imports {name}" for name in modules if name.split(".")[0] in MODULES)
    repeated = set().union(*(_names(node) for node in imports if ast.dump(node) in known))
    for name in sorted((_bound(symtable.symtable(source, "cell", "exec")) - repeated) & needed):
        yield f"it sets {name}"
    made, imported = set(_made(tree)), set().union(*known.values(), *map(_names, imports))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in POWERS:
            yield f"it uses {node.id}"
        if isinstance(node, ast.Attribute) and node.attr.startswith("__"):
            yield f"it uses {node.attr}"
        if isinstance(node, ast.Attribute | ast.Subscript) and (root := _root(node)) not in made:
            changing = getattr(node, "attr", "") in CHANGING and root in needed - imported
            if changing or not isinstance(node.ctx, ast.Load):
                yield f"it changes {ast.unparse(node)}"


def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def _imports(tree: ast.Module) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def _names(node: ast.Import | ast.ImportFrom) -> set[str]:
    return {alias.asname or alias.name.split(".")[0] for alias in node.names}


def _bound(table: symtable.SymbolTable) -> set[str]:
    """Return the global names that a source sets, deletes or imports."""
    symbols = [s for s in table.get_symbols() if s.is_assigned() or s.is_imported()]
    inside = table.get_type() != "module"
    names = {s.get_name() for s in symbols if not inside or s.is_declared_global()}
    return names.union(*map(_bound, table.get_children()))


def _needed(sources: list[str]) -> set[str]:
    """Return the names that sources read before they set them, or a few more."""
    needed: set[str] = set()
    given: set[str] = set()
    for statement in (part for source in sources for part in _parsed(source).body):
        nodes = list(ast.walk(statement))
        stored, loaded = set(_ids(nodes, ast.Store)), set(_ids(nodes, ast.Load))
        if isinstance(statement, ast.AugAssign):
            loaded |= stored
        elif not isinstance(statement, ast.Assign):
            loaded -= stored
        inner = [node.target for node in nodes if isinstance(node, ast.comprehension)]
        needed |= loaded - given - set(_ids(inner, ast.Store))
        given |= stored
    return needed


def _ids(nodes: Iterable[ast.AST], context: type) -> Iterator[str]:
    for node in nodes:
        for name in ast.walk(node):
            if isinstance(name, ast.Name) and isinstance(name.ctx, context):
                yield name.id


def _made(tree: ast.Module) -> Iterator[str]:
    """Yield the names under which a source holds something of its own, not another's by alias."""
    for node in ast.walk(tree):
        alias = isinstance(getattr(node, "value", None), ast.Name | ast.Attribute | ast.Subscript)
        if isinstance(node, ast.Assign) and not alias:
            yield from _ids(node.targets, ast.Store)
        elif isinstance(node, ast.arg):
            yield node.arg


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return getattr(node, "id", "")
