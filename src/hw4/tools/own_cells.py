"""What cells of a student's own do to the reference's, as far as their source shows.

Such cells may try out whatever they like; they may not decide what the claims measure:

1. They set no name that a later cell of the reference reads before it surely sets it itself.
2. They change (an item, an attribute, by `+=`, `del` or a method of `CHANGING`) only what they
   surely made: not what comes from elsewhere, under whatever name.
3. They use nothing that changes what it does not name, such as `exec` or an unknown module.

This is an aid for reading, no fence: what libraries, files and processes do is not looked at, and
who hides well enough is not found. The report shows these cells to the grader, to be read.
"""

import ast
import builtins
import collections
import re
import sys
from collections.abc import Iterable, Iterator

import numpy as np

from hw4.tools.names import COMPREHENSIONS, FUNCTIONS, Cell, cell, name_set, set_apart

# With these a cell changes what it does not name; the second line are methods of models, too.
POWERS = {
    "setattr", "delattr", "exec", "globals", "locals", "vars", "__import__", "get_ipython",
    "run_cell", "user_ns", "modules", "_getframe", "settrace", "setprofile", "get_objects",
    "get_referents", "get_referrers", "attrgetter", "methodcaller", "eval", "compile",
}  # fmt: skip
METHODS = {"eval", "compile"}  # of tables and models, which are no powers
DUNDERS = {"__init__", "__name__", "__qualname__", "__doc__", "__version__", "__file__", "__len__"}
KNOWN = sys.stdlib_module_names - {
    "builtins", "ctypes", "importlib", "inspect", "unittest", "code", "runpy", "pdb", "bdb",
    "cProfile", "profile", "trace", "pkgutil", "zipimport", "pickle", "marshal", "types",
} | {
    "hw4", "numpy", "pandas", "matplotlib", "seaborn", "plotly", "sklearn", "scipy", "keras",
    "keras_tuner", "tensorflow", "torch", "jax", "PIL", "cv2", "tqdm", "IPython",
    "ipywidgets",
}  # fmt: skip
# Methods after which a thing holds what they were given, all that change what they are called on
# (those of `Claims` last), and functions that change their first argument or lead to such methods.
TAKING = {"add", "append", "appendleft", "extend", "insert", "put", "setdefault", "update"}
CHANGING = TAKING | {
    "__init__", "adapt", "apply_gradients", "assign", "assign_add", "assign_sub", "byteswap",
    "clear", "compile", "create_trial", "difference_update", "intersection_update",
    "symmetric_difference_update",
    "discard", "end_trial", "fill", "fit", "fit_transform", "itemset", "load_weights",
    "partial_fit", "partition", "pop", "popitem", "popleft", "remove", "resize", "reverse",
    "set_params", "set_weights", "setfield", "setflags", "sort", "train_on_batch", "update_trial",
    "equal", "at_least", "at_most", "corrected", "added", "not_run",
}  # fmt: skip
PUTTING = {
    "at", "copyto", "delitem", "fill_diagonal", "getattr", "heapify", "heappop", "heappush", "iadd",
    "insort", "place", "put_along_axis", "putmask", "set_value", "setitem", "shuffle",
}  # fmt: skip
# Settings of how things are shown, which anybody may change.
SETTINGS = re.compile(r"\brcParams\b|\boptions\.(display|plotting)\b")
# What shares nothing with where it comes from, and what is new but may hold the same things.
PLAIN = {
    "DataFrame", "Series", "abs", "argmax", "argsort", "array", "astype", "bool", "clip",
    "clone_model", "concatenate", "deepcopy", "dtype", "einsum", "evaluate", "exp", "fit_transform",
    "float", "int", "isinstance", "item", "len", "log", "maximum", "mean", "minimum", "ndim",
    "ones_like", "pad", "predict", "range", "repeat", "roll", "round", "shape", "size", "sqrt",
    "stack", "std", "str", "tile", "where", "zeros_like",
}  # fmt: skip
COPYING = {
    "Counter", "copy", "defaultdict", "deque", "dict", "list", "set", "sorted", "sum", "tolist",
    "tuple",
}  # fmt: skip
NEW = (
    ast.BinOp, ast.Compare, ast.Constant, ast.Dict, ast.DictComp, ast.JoinedStr, ast.Lambda,
    ast.List, ast.ListComp, ast.Set, ast.SetComp, ast.Tuple, ast.UnaryOp,
)  # fmt: skip
# The self-checks that `student` writes.
CHECK = re.compile(
    r"from hw4\.tools import selfcheck\n\n"
    r"selfcheck\.(check\(\"q\d\", \d+, globals\(\)\)|check_claims\(\w+\))"
)
ANYTHING = ast.Name("anything", ast.Load())
LARGEST = 200_000  # signs of own cells; more is not read


def reaches(sources: list[str], own: dict[int, str]) -> dict[int, str]:
    """Say how a student's own cells reach into the reference's, those that do.

    Args:
        sources: of the cells down to the claims table, as they were executed.
        own: number of each of the student's own -> source of the reference's cell in whose place
            it stands: what that sets, it may set.

    >>> cells = ["maps = [1]", "mine = [maps]; mine.append(3)", "show(measured=maps)"]
    >>> reaches(cells, {1: ""})
    {}
    >>> reaches([cells[0], "mine = maps; mine.append(3)", cells[2]], {1: ""})
    {1: 'it changes mine'}
    >>> reaches([cells[0], "maps = 3", cells[2]], {1: ""})
    {1: 'it sets maps'}
    """
    own = {n: instead for n, instead in own.items() if not CHECK.fullmatch(sources[n])}
    if sum(len(sources[n]) for n in own) > LARGEST:
        return dict.fromkeys(own, "it is too long to be looked through")
    cells, found = [], {}
    for n, source in enumerate(sources):
        try:
            cells.append(Cell(source) if n in own else cell(source))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            cells.append(cell(""))
            found[n] = "it is no plain Python"
    needed, things = _needed(cells, own), _Things(cells, own)
    for n in own.keys() - found.keys():
        found[n] = next(_harm(cells[n], needed[n] - cell(own[n]).sets, things), "")
    return {n: found[n] for n in own if found[n]}


def _needed(cells: list[Cell], own: Iterable[int]) -> dict[int, set[str]]:
    """Return what the reference still reads after each cell, functions of cells above included."""
    needed, live, above = {}, set(), []
    for n in reversed(range(len(cells))):
        needed[n] = live
        live = live if n in own else cells[n].reads(live)
    for n, one in enumerate(cells):
        if n not in own:
            above += one.functions
        else:
            for name, reads in reversed(above):
                needed[n] = needed[n] | (reads if name in needed[n] else set())
    return needed


def _harm(one: Cell, needed: set[str], things: "_Things") -> Iterator[str]:
    for module, name, here in sorted(one.imports):
        hidden = name == "*" or name in POWERS or (name in PUTTING and here != name)
        if hidden or (module or name).partition(".")[0] not in KNOWN:
            yield f"it imports {name} of {module}" if module else f"it imports {name}"
    names = one.sets | {here for *_, here in one.imports - things.imports}
    yield from (f"it sets {name}" for name in sorted(names & needed))
    for node in ast.walk(one.tree):
        name = _last(node)
        odd = name.startswith("__") and name not in DUNDERS
        if odd or (name in POWERS and (isinstance(node, ast.Name) or name not in METHODS)):
            yield f"it uses {name}"
        for thing in things.changed_by(node):
            if not things.is_own(thing):
                yield f"it changes {re.sub('@[0-9]+', '', ast.unparse(thing))}"


def _last(node: ast.AST) -> str:
    """Return the last part of a dotted name."""
    return getattr(node, "attr", getattr(node, "id", ""))


class _Things:
    """What the names of own cells hold, from all these cells together.

    `values` are what each name is bound to, `outside` the names of what own cells did not make,
    and `shared` the names of what may be, or may hold, such a thing. `known` are imports and
    definitions: what they return when they are called is new.
    """

    def __init__(self, cells: list[Cell], own: Iterable[int]) -> None:
        # a prompt leaves its last answer among the builtins
        self.imports, self.modules, self.known = set(), set(), set(dir(builtins)) - {"_"}
        self.outside, mine, given = {ANYTHING.id}, set(), set()
        everywhere = set().union(*(cells[n].sets for n in own))
        for n, one in enumerate(cells):
            here = {name for *_, name in one.imports}
            self.known |= here
            self.modules |= {name for module, _, name in one.imports if not module}
            if n in own:
                taken = one.reads() - mine
                self.outside |= {x for x in taken if x in given or x not in everywhere} | here
                mine |= one.sets
            else:
                self.imports |= one.imports
                self.known |= {name for name, _ in one.functions}
                mine, given = mine - one.sets, given | one.sets
        self.known -= everywhere
        nodes = [node for n in own for node in ast.walk(set_apart(cells[n].tree))]
        self.calls = {id(node.func): node for node in nodes if isinstance(node, ast.Call)}
        self.classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}
        self.methods = {part for node in self.classes.values() for part in node.body}
        self.functions = collections.defaultdict(list)
        for node in nodes:
            if isinstance(node, FUNCTIONS) and node not in self.methods:
                self.functions[node.name].append(node)
        named = [node for node in nodes if isinstance(node, ast.Name)]
        self.passed_on = {node.id for node in named if id(node) not in self.calls}
        self.values = collections.defaultdict(list)
        self.copied = {name for node in nodes for name in self._copied_first(node)}
        bindings = [binding for node in nodes for binding in self._bindings(node)]
        for name, value, whole in bindings:
            self.values[name] += [value] * whole
        holders = collections.defaultdict(set)
        for name, value, _ in bindings:
            for mentioned in self._mentions(value):
                holders[mentioned].add(name)
        self.shared, waiting = set(), list(self.outside)
        while waiting:
            if (name := waiting.pop()) not in self.shared:
                self.shared.add(name)
                waiting += holders[name]

    def is_own(self, node: ast.expr) -> bool:
        """Say whether own cells surely made what an expression is, so that they may change it."""
        values = self.values[_name(node)] if _name(node) not in self.outside else []
        if values and all(map(self._is_new, values)):
            return True
        return not self.shared.intersection(self._mentions(node))

    def _is_new(self, value: ast.expr) -> bool:
        if isinstance(value, ast.Call) and (
            self._is(value, COPYING) or _last(value.func) in self.classes
        ):
            return True
        return isinstance(value, NEW) or not self.shared.intersection(self._mentions(value))

    def _is(self, node: ast.AST, names: set[str]) -> bool:
        """Say whether a call or attribute is one of `names`, and not another of that name."""
        if isinstance(node, ast.Call):
            return self._is(node.func, names) and all(k.arg != "copy" for k in node.keywords)
        own = f"self.{node.attr}" if isinstance(node, ast.Attribute) else _last(node)
        return _last(node) in names and not self.values[own]

    def _mentions(self, node: ast.AST, called: bool = False) -> Iterator[str]:
        """Yield the names whose things the value of an expression may be or hold.

        Known names are such things, too, but where they are `called` or given to a call.
        """
        function = node.func if isinstance(node, ast.Call) else node
        plain = isinstance(node, ast.Call | ast.Attribute) and self._is(node, PLAIN)
        if plain or isinstance(node, ast.Compare | ast.JoinedStr):
            return
        if isinstance(node, ast.Yield):
            yield ANYTHING.id  # that somebody sends
        called = called or isinstance(node, ast.Call)
        parts = ast.iter_child_nodes(node)
        if name := _name(node):
            yield from () if called and name in self.known else (name,)
            return
        if isinstance(node, ast.Call):
            parts = [getattr(function, "value", function)]
            if _last(function) not in self.functions:  # of which what they return is looked at
                parts += [*node.args, *node.keywords]
        elif isinstance(node, COMPREHENSIONS):
            parts = [getattr(node, "elt", getattr(node, "value", None))]
        elif isinstance(node, ast.Dict):
            parts = node.values
        elif isinstance(node, ast.Subscript):
            parts = [node.value]
        for part in parts:
            yield from self._mentions(part, called)

    def _bindings(self, node: ast.AST) -> Iterator[tuple[str, ast.expr, bool]]:
        """Yield (name, value, whether the name is bound to it or only to what holds it)."""
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    yield from self._spread(target, value)
            case ast.AnnAssign(value=ast.expr()) | ast.NamedExpr():
                yield from self._spread(node.target, node.value)
            case ast.AugAssign(target=ast.Name() as target, value=value):
                yield from self._spread(target, ast.BinOp(value, node.op, value))
            case ast.For() | ast.AsyncFor() | ast.comprehension():
                yield from self._spread(node.target, ast.Starred(node.iter))
            case ast.withitem(context_expr=value, optional_vars=ast.expr() as target):
                yield from self._spread(target, ast.Starred(value))
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name, ANYTHING, True
            case ast.MatchMapping(rest=str(name)):
                yield name, ANYTHING, True
            case ast.ClassDef(name=name):
                yield name, ast.Tuple([*_returned(node)]), True
                for part in node.body:
                    value = getattr(part, "value", None) or ast.Constant(None)
                    yield name, value, False
                    inner = [getattr(part, "name", None), *map(name_set, ast.walk(part))]
                    yield from ((f"self.{one}", value, True) for one in inner if one)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                name, parameters = getattr(node, "name", ""), _parameters(node)
                if node in self.methods:
                    parameters = parameters[parameters[:1] and _is_self(parameters[0]) :]
                elif name:
                    yield name, ast.Tuple([*_returned(node), *node.decorator_list]), True
                defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
                passed_on = name in self.passed_on or getattr(node, "decorator_list", False)
                if node in self.methods or passed_on or not name:
                    defaults.append(ANYTHING)
                for one in parameters:
                    yield from ((one, value, one not in self.copied) for value in defaults)
            case ast.Call(func=ast.Name(id=name)) if name in self.functions:
                for function in self.functions[name]:
                    yield from self._passed(node, _parameters(function))
            case ast.Call(func=ast.Attribute(attr=attr, value=holder), args=args):
                if attr in TAKING and _name(holder):
                    for value in (*args, *(part.value for part in node.keywords)):
                        yield from self._spread(ast.Subscript(holder), value)
                for part in getattr(self.classes.get(_last(holder)), "body", ()):
                    if isinstance(part, FUNCTIONS) and part.name == attr:
                        yield from self._passed(node, _parameters(part))

    def _spread(self, target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr, bool]]:
        if isinstance(target, ast.Tuple | ast.List):
            values = getattr(value, "elts", [])
            if len(values) != len(target.elts) or ast.Starred in map(type, [*values, *target.elts]):
                values = [ast.Starred(value)] * len(target.elts)
            for one, part in zip(target.elts, values, strict=True):
                yield from self._spread(one, part)
        elif isinstance(target, ast.Starred):
            yield from self._spread(target.value, ast.List([value]))
        elif name := _name(target):
            yield name, value, True
        else:
            if isinstance(target, ast.Attribute):
                yield f"self.{target.attr}", value, True
            yield from ((name, value, False) for name in [*self._mentions(target.value)])

    def _passed(self, call: ast.Call, names: list[str]) -> Iterator[tuple[str, ast.expr, bool]]:
        """Yield what the parameters of an own function get from a call."""
        named = {part.arg: part.value for part in call.keywords}
        odd = None in named or ast.Starred in map(type, call.args) or len(call.args) > len(names)
        for place, name in enumerate(names):
            values = [*call.args[place : place + 1], named.get(name.partition("@")[0])]
            for value in [ANYTHING] if odd else filter(None, values):
                yield name, value, name not in self.copied

    def _copied_first(self, function: ast.AST) -> Iterator[str]:
        """Yield the names that a function, before all else, sets to a copy of theirs."""
        seen = set()
        for statement in function.body if isinstance(function, FUNCTIONS) else ():
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if name not in seen:
                    if isinstance(value, ast.BinOp) or self._is(value, PLAIN | COPYING):
                        yield name
            seen |= {part.id for part in ast.walk(statement) if isinstance(part, ast.Name)}

    def changed_by(self, node: ast.AST) -> Iterator[ast.expr]:
        """Yield the things that a node changes."""
        if isinstance(node, ast.AugAssign):
            values = self.values[_name(getattr(node.target, "value", node.target))]
            arrays = values and all(isinstance(v, ast.Call | ast.BinOp) for v in values)
            if not (arrays and isinstance(node.target, ast.Subscript)):
                yield node.target
        if isinstance(node, ast.Call):
            into = _last(node.func) in PUTTING or any(part.arg == "copy" for part in node.keywords)
            if into and _last(node.func) not in self.functions:
                yield from node.args[:1]
            yield from (part.value for part in node.keywords if part.arg == "out")
            function = vars(np).get(_last(node.func))
            if isinstance(function, np.ufunc):
                yield from node.args[function.nin :]
            if any(part.arg == "inplace" for part in node.keywords):
                yield getattr(node.func, "value", node.func)
        if not isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
            return
        call, holder = self.calls.get(id(node)), getattr(node, "value", None)
        if _last(node) in PUTTING and not call:
            yield node  # which would change things under another name
        reads = isinstance(node.ctx, ast.Load)
        if not holder or (reads and _last(node) not in CHANGING):
            return
        if SETTINGS.search(ast.unparse(node)):
            return
        if call and _last(node) == "update" and len(call.args) > 1:
            return  # that of a moving average, not of a dictionary
        known = _last(holder) in self.known or _last(holder) in self.classes
        if reads and isinstance(holder, ast.Name) and known:
            # a function of a module, which returns something new, or the method of a class
            if holder.id not in self.modules:
                yield from call.args if call else [node]
        else:
            yield holder


def _name(node: ast.AST) -> str:
    """Return the name of a variable, `self.x` for an attribute of `self`, "" for all else."""
    if isinstance(node, ast.Attribute) and _is_self(_last(node.value)):
        return f"self.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _is_self(name: str) -> bool:
    return name.partition("@")[0] == "self"


def _parameters(function: ast.AST) -> list[str]:
    return [name_set(part) for part in ast.walk(function.args) if isinstance(part, ast.arg)]


def _returned(node: ast.AST) -> list[ast.expr]:
    parts = [part for part in ast.walk(node) if isinstance(part, ast.Return | ast.Yield)]
    return [part.value for part in parts if part.value]
