"""Hold executed notebooks against the committed ones, the reference.

Statement, mark, relation, tolerance and whether the report is refuted come from the reference;
only the measured value comes from the submission, and the verdict is drawn from these.
"""

import ast
import collections
import difflib
import functools
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

from hw4 import claims
from hw4.claims import MIME, REQUIRED, SCHEMA_VERSION
from hw4.tools import own_cells, submission
from hw4.tools.execute import ORDER
from hw4.tools.submission import Cell, Notebook, Problem, Unreadable, joined, shortened, visible

# What the reference alone says about a claim; a submission that says something else is told.
FIXED = ("statement", "reported", "expected", "relation", "tolerance", "refutes", "unit")
CLAIM_KEYS = {item.name for item in fields(claims.Claim)}
# Outputs may be compared word by word only between runs that are equal in these.
SAME_RUN = ("seed", "profile", "data", "backend")
# What showing or judging a claim of odd values raises.
ODD = (TypeError, ValueError, KeyError, AttributeError, RecursionError, OverflowError)
# As in nbval_sanitize.cfg, but linear in the length of any text.
MASK = re.compile(r"(?<! ) *⟨[^⟨⟩]*⟩")


@dataclass
class Grade:
    """What was found out about one submission.

    `claims` are those of the reference with the measured value and `verdict` of the submission and
    its `evidence`; `notes` say what differs and may; `places` are the cells that decide a claim.
    """

    path: Path
    question: str | None = None
    status: str = "ok"
    problems: list[Problem] = field(default_factory=list)
    claims: list[dict] = field(default_factory=list)
    environment: dict = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    seconds: float | None = None

    def add(self, kind: str, text: str, cell: Cell | None = None) -> None:
        """Name one problem."""
        self.problems.append(Problem(kind, cell.number if cell else None, text))


@dataclass
class Reference:
    """The committed notebook of one question."""

    notebook: Notebook
    document: dict
    claims: dict[str, dict]
    shown_in: Cell

    @functools.cached_property
    def home(self) -> dict[tuple[str, str], int]:
        """Kind and content of an output -> the cell that makes it."""
        cells = reversed(self.notebook.code)
        return {item: cell.number for cell in cells for item in _contents(cell).items()}


class References(dict):
    """The references of a folder by question, and which of the seven are `missing`."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        for path in sorted(folder.glob("q*.ipynb")):
            try:
                notebook = submission.read(path)
            except Unreadable:
                continue
            documents = _documents(notebook)
            if documents and _well_formed(documents[0][1]):
                cell, document, _ = documents[0]
                by_id = {claim["id"]: claim for claim in document["claims"]}
                self.setdefault(
                    str(document["question"]), Reference(notebook, document, by_id, cell)
                )
        sources = [
            (cell.source, question) for question in self for cell in self[question].notebook.code
        ]
        counts = collections.Counter(source for source, _ in set(sources))
        # cells that several notebooks share say nothing about the question
        self.owners = {source: question for source, question in sources if counts[source] == 1}

    @property
    def missing(self) -> list[str]:
        """Questions without a readable reference."""
        return [question for question in REQUIRED if question not in self]

    def question_of(self, notebook: Notebook) -> str | None:
        """Name the question whose cells the notebook holds, None when it holds none."""
        owners = [self.owners[c.source] for c in notebook.code if c.source in self.owners]
        return collections.Counter(owners).most_common(1)[0][0] if owners else None


def grade_all(paths: list[Path], references: References) -> Iterator[tuple[Grade, Notebook | None]]:
    """Grade one submission after the other; none stops the next, whatever it is."""
    for path in paths:
        notebook = None
        try:
            notebook = submission.read(path)
            grade = examine(notebook, references)
        except Unreadable as error:
            grade = Grade(path, status="unreadable")
            grade.add(error.kind, error.text)
        except Exception as error:
            notebook, grade = None, Grade(path, status="unreadable")
            grade.add("unexpected", f"{type(error).__name__}: {shortened(error)}")
        yield grade, notebook


def examine(notebook: Notebook, references: References) -> Grade:
    """Hold one notebook against the reference of its question."""
    grade = Grade(notebook.path, problems=list(notebook.problems), seconds=notebook.seconds)
    _execution(grade, notebook)
    documents = _documents(notebook)
    claimed = documents[-1][1].get("question") if _is_dict(documents) else None
    claimed = claimed if isinstance(claimed, str) else None
    grade.question = references.question_of(notebook) or (claimed if claimed in REQUIRED else None)
    if claimed and claimed != grade.question:
        grade.add("question", f"claims of {shortened(claimed)} among cells of {grade.question}")
    path = notebook.path
    if path.stem in ORDER and grade.question not in (None, path.stem.split("_")[0]):
        grade.add("question", f"{path.name} holds question {grade.question}")
    reference = references.get(grade.question)
    if reference is None:
        grade.add(
            "no reference", f"no committed notebook of question {grade.question or 'unknown'}"
        )
    else:
        pairs = _compare_cells(grade, notebook, reference)
        _check_claims(grade, documents, reference, pairs)
        _compare_outputs(grade, pairs, reference)
        _compare_texts(grade, notebook, reference)
        grade.places = _places(notebook, grade.claims)
    grade.status = "findings" if grade.problems else "ok"
    return grade


def _is_dict(documents: list) -> bool:
    return bool(documents) and isinstance(documents[-1][1], dict)


def _execution(grade: Grade, notebook: Notebook) -> None:
    counts = [cell.count for cell in notebook.code]
    if not counts:
        grade.add("not executed", "it has no code cells")
    elif None in counts:
        grade.add(
            "not executed", f"{counts.count(None)} of {len(counts)} code cells were not executed"
        )
    elif counts != list(range(1, len(counts) + 1)):
        shown = shortened(counts)
        grade.add("out of order", f"cells were executed out of order or several times: {shown}")
    for cell in notebook.code:
        for output in cell.outputs:
            if output["output_type"] == "error":
                name, value = joined(output["ename"]), joined(output["evalue"])
                grade.add("error", f"ended in {shortened(name)}: {shortened(value)}", cell)
            given = output.get("execution_count", cell.count)
            if output["output_type"] == "execute_result" and given != cell.count:
                grade.add(
                    "output", f"a result numbered {shortened(given)} in cell {cell.count}", cell
                )


# --- cells -----------------------------------------------------------------------------------


def _compare_cells(
    grade: Grade, notebook: Notebook, reference: Reference
) -> list[tuple[Cell, Cell]]:
    """Name the cells that were edited, added, moved or left out; return (reference, submitted)."""
    pairs = _pair(reference.notebook.code, notebook.code)
    for ours, theirs in pairs:
        if ours.source != theirs.source:
            changed = "\n".join(_difference(ours.source, theirs.source))
            if _may_differ(ours, theirs):
                grade.notes.append(f"cell {theirs.number} differs, as it may:\n{changed}")
            else:
                grade.add("edited cell", f"differs from the reference:\n{changed}", theirs)
    paired = {id(cell) for pair in pairs for cell in pair}
    for cell in reference.notebook.code:
        if id(cell) not in paired:
            first = shortened(cell.source.splitlines()[0], 80)
            grade.add("missing cell", f"cell {cell.number} of the reference is missing: {first}")
    own = {id(theirs): ours.source for ours, theirs in pairs if _is_own(ours, theirs)}
    for cell in notebook.code:
        if id(cell) in paired:
            continue
        if "yours" in cell.tags:
            own[id(cell)] = ""
            grade.notes.append(f"cell {cell.number} is the author's own:\n{_quoted(cell.source)}")
        else:
            grade.add("added cell", f"not in the reference:\n{_quoted(cell.source)}", cell)
    # what stands below the claims table decides no claim
    shown = [theirs.number for ours, theirs in pairs if ours is reference.shown_in]
    cells = [cell for cell in notebook.code if not shown or cell.number <= shown[0]]
    instead = {n: own[id(cell)] for n, cell in enumerate(cells) if id(cell) in own}
    reaches = own_cells.reaches([cell.source for cell in cells], instead) if instead else {}
    for n, reach in reaches.items():
        text = f"the author's own, but {shortened(reach)}:\n{_quoted(cells[n].source)}"
        grade.add("added cell", text, cells[n])
    place = {id(cell): index for index, cell in enumerate(reference.notebook.code)}
    order = [place[id(ours)] for ours, theirs in sorted(pairs, key=lambda pair: pair[1].number)]
    if order != sorted(order):
        grade.add("moved cell", "the cells stand in another order than in the reference")
    return pairs


def _pair(ours: list[Cell], theirs: list[Cell]) -> list[tuple[Cell, Cell]]:
    """Pair cells: the same id and source, then the same source, the same id, the same place."""
    pairs, left, right = [], list(ours), list(theirs)
    for key in (
        lambda cell: (cell.id, cell.source),
        lambda cell: cell.source,
        lambda cell: cell.id,
    ):
        waiting = collections.defaultdict(collections.deque)
        for cell in right:
            waiting[key(cell)].append(cell)
        for cell in left:
            if key(cell) is not None and waiting[key(cell)]:
                pairs.append((cell, waiting[key(cell)].popleft()))
        paired = {id(cell) for pair in pairs for cell in pair}
        left = [cell for cell in left if id(cell) not in paired]
        right = [cell for cell in right if id(cell) not in paired]
    # without ids an edited cell is the one that stands after the same cell
    after = {id(mine): id(other) for mine, other in pairs}
    before = {id(cell): id(previous) for previous, cell in itertools.pairwise(theirs)}
    follower = {before.get(id(cell)): cell for cell in right}
    previous = None
    for cell in ours:
        if id(cell) not in after and (previous is None or previous in after):
            other = follower.pop(after.get(previous), None)
            if other is not None:
                pairs.append((cell, other))
                after[id(cell)] = id(other)
        previous = id(cell)
    return pairs


def _difference(
    ours: str, theirs: str, names: tuple[str, str] = ("reference", "submission"), around: int = 1
) -> list[str]:
    # a difference takes the square of the number of lines
    first, second = ([line[:500] for line in text.split("\n")[:1000]] for text in (ours, theirs))
    lines = difflib.unified_diff(first, second, *names, lineterm="", n=around)
    lines = [shortened(line) for line in lines]
    return lines[:40] + ["…"] * (len(lines) > 40)


def _quoted(source: str) -> str:
    lines = source.splitlines()
    return "\n".join(["+" + shortened(line) for line in lines[:20]] + ["…"] * (len(lines) > 20))


def _may_differ(ours: Cell, theirs: Cell) -> bool:
    return _is_own(ours, theirs) or _same_but_for_constants(ours.source, theirs.source)


def _is_own(ours: Cell, theirs: Cell) -> bool:
    """Say whether a cell is its author's: tagged `yours`, or a solution made `yours`, and other."""
    tagged = "yours" in ours.tags or ("solution" in ours.tags and "yours" in theirs.tags)
    return tagged and ours.source != theirs.source


def _same_but_for_constants(ours: str, theirs: str) -> bool:
    """Say whether two sources differ in nothing but the values of constants in capitals.

    A value is made of numbers, texts, operators, names and of calls that the reference makes in
    this cell; nothing else can hide in it. A single letter is a matrix of the papers, no constant.

    >>> _same_but_for_constants("EPOCHS, BATCH = 6, 128", "EPOCHS, BATCH = 1, 2 * 32")
    True
    >>> _same_but_for_constants("EPOCHS = 6", "EPOCHS = setattr(claims, 'equal', print)")
    False
    >>> _same_but_for_constants("Z = X @ W", "Z = 0 * X")
    False
    """
    try:
        mine, other = ast.parse(ours).body, ast.parse(theirs).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    called = {ast.dump(n.func) for part in mine for n in ast.walk(part) if isinstance(n, ast.Call)}
    if len(mine) != len(other):
        return False
    for a, b in zip(mine, other, strict=True):
        if ast.dump(a) == ast.dump(b):
            continue
        if not (isinstance(a, ast.Assign) and isinstance(b, ast.Assign)):
            return False
        if [ast.dump(t) for t in a.targets] != [ast.dump(t) for t in b.targets]:
            return False
        names = [n.id for t in a.targets for n in ast.walk(t) if isinstance(n, ast.Name)]
        if not all(name.isupper() and len(name) > 1 for name in names):
            return False
        if not _is_plain(b.value, called):
            return False
    return True


PLAIN = (
    ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.UnaryOp, ast.BinOp, ast.IfExp,
    ast.Compare, ast.BoolOp, ast.Name, ast.Load, ast.keyword, ast.operator, ast.unaryop,
    ast.cmpop, ast.boolop,
)  # fmt: skip


def _is_plain(value: ast.AST, called: set[str]) -> bool:
    if isinstance(value, ast.Call):
        parts = [*value.args, *value.keywords]
        return ast.dump(value.func) in called and all(_is_plain(part, called) for part in parts)
    children = ast.iter_child_nodes(value)
    return isinstance(value, PLAIN) and all(_is_plain(child, called) for child in children)


# --- outputs ---------------------------------------------------------------------------------


def _compare_outputs(grade: Grade, pairs: list[tuple[Cell, Cell]], reference: Reference) -> None:
    """Name outputs that cannot belong to their cell."""
    reason = _why_not_word_by_word(grade, reference)
    if reason:
        grade.notes.append(f"outputs are not compared word by word with the reference: {reason}")
    for ours, theirs in pairs:
        if ours is reference.shown_in or theirs.count is None or _is_own(ours, theirs):
            continue
        expected, found = _contents(ours), _contents(theirs)
        found.pop("error", None)  # named already
        if lost := sorted(set(expected) - set(found)):
            missing = ", ".join(lost)
            grade.add("output", f"no output of the kind {missing}, which this cell makes", theirs)
        elif new := sorted(set(found) - set(expected)):
            extra = shortened(", ".join(new))
            grade.add(
                "output", f"output of the kind {extra}, which this cell does not make", theirs
            )
        elif "nbval-ignore-output" not in ours.tags and ours.source == theirs.source:
            for kind, content in found.items():
                if content == expected[kind]:
                    continue
                owner = reference.home.get((kind, content))
                if owner and len(content) > 40:
                    text = f"its {kind} is that of cell {owner} of the reference"
                elif reason or kind.startswith("image/"):
                    continue
                else:
                    changed = _difference(expected[kind], content)
                    text = f"its {kind} is another:\n" + "\n".join(changed)
                grade.add("output", text, theirs)
                break
    for claim in grade.claims if not reason else ():
        note = reference.claims[claim["id"]]["note"]
        if claim["verdict"] != "not run" and not _same(note, claim["note"]):
            text = f"claim {claim['id']}: its note is {shortened(claim['note'])!r}, "
            grade.add("claim mark", f"{text}the reference's {shortened(note)!r}")


def _why_not_word_by_word(grade: Grade, reference: Reference) -> str:
    differ = [key for key in SAME_RUN if grade.environment.get(key) != reference.document.get(key)]
    if _releases(grade.environment) != _releases(reference.document):
        differ.append("versions")
    if differ:
        return f"another {', '.join(differ)}"
    return "cells differ, as they may" if grade.notes else ""


def _releases(environment: dict) -> dict:
    versions = environment.get("versions")
    items = versions.items() if isinstance(versions, dict) else ()
    return {name: str(version).rpartition(".")[0] for name, version in items}


def _contents(cell: Cell) -> dict[str, str]:
    """Return kind -> content, texts with measured numbers masked."""
    contents: dict[str, str] = {}
    for output in cell.outputs:
        type_ = output["output_type"]
        if type_ == "stream":
            # native libraries warn on one machine and not on another
            parts = {} if joined(output["name"]) == "stderr" else {"stream": output["text"]}
        else:
            parts = output["data"] if type_ != "error" else {"error": ""}
        for kind, text in parts.items():
            content = joined(text)
            if not kind.startswith("image/"):
                content = MASK.sub("⟨measured⟩", content)
            contents[kind] = contents.get(kind, "") + content
    return contents


def _compare_texts(grade: Grade, notebook: Notebook, reference: Reference) -> None:
    """Note what a person should read: own words, words left out, warnings."""
    ours = [cell.source for cell in reference.notebook.cells if cell.kind == "markdown"]
    theirs = [cell.source for cell in notebook.cells if cell.kind == "markdown"]
    for cell in notebook.cells:
        words = cell.kind != "code" and cell.source.strip() and cell.source not in ours
        if words:
            grade.notes.append(f"the text of cell {cell.number} is its author's own")
        for output in cell.outputs:
            if output.get("name") == "stderr":
                first = shortened(joined(output["text"]).strip())
                grade.notes.append(f"cell {cell.number} warned: {first}")
    if lost := sum(source not in theirs for source in ours):
        grade.notes.append(f"{lost} texts of the reference are not there")


# --- claims ----------------------------------------------------------------------------------


def _documents(notebook: Notebook) -> list[tuple[Cell, object, dict]]:
    """Return (cell, document, data of the output) of every claims table."""
    return [
        (cell, output["data"][MIME], output["data"])
        for cell in notebook.cells
        for output in cell.outputs
        if MIME in output.get("data", {})
    ]


def _well_formed(document: object) -> bool:
    entries = document.get("claims") if isinstance(document, dict) else None
    return (
        isinstance(entries, list)
        and _is_shallow(document, 8)
        and all(
            isinstance(entry, dict)
            and set(entry) == CLAIM_KEYS
            and all(isinstance(entry[key], str) for key in ("id", "statement", "relation", "note"))
            for entry in entries
        )
    )


def _is_shallow(value: object, most: int) -> bool:
    values = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return True
    return most > 0 and all(_is_shallow(part, most - 1) for part in values)


def _check_claims(
    grade: Grade,
    documents: list[tuple[Cell, object, dict]],
    reference: Reference,
    pairs: list[tuple[Cell, Cell]],
) -> None:
    """Check the claims table and draw every verdict again."""
    if not documents:
        grade.add("no claims", "no claims table")
        return
    if len(documents) > 1:
        numbers = ", ".join(str(cell.number) for cell, _, _ in documents)
        grade.add("several claims tables", f"claims tables in the cells {numbers}")
    places = {id(theirs) for ours, theirs in pairs if ours is reference.shown_in}
    for cell, _, _ in documents:
        if id(cell) not in places:
            grade.add("output", "a claims table in a cell that does not show claims", cell)
    cell, document, data = documents[-1]
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        text = f"claims of schema version {shortened(version)}; this hw4 reads {SCHEMA_VERSION}"
        grade.add("malformed claims", text, cell)
        return
    if not _well_formed(document):
        text = "the claims table lacks keys, or has them of another kind or too deep"
        grade.add("malformed claims", text, cell)
        return
    said = {key: value for key, value in document.items() if key != "claims"}
    grade.environment = {k: v for k, v in said.items() if _is_said(v, reference.document.get(k))}
    lacking = sorted(set(reference.document) - set(grade.environment) - {"claims"})
    if lacking:
        grade.add("environment", f"the claims table does not say its {', '.join(lacking)}", cell)
    if said.get("optional") != reference.document.get("optional"):
        grade.add("environment", "other claims are optional than in the reference", cell)
    _check_ids(grade, document["claims"], reference, cell)
    _check_table(grade, document["claims"], data, cell)
    submitted = {entry["id"]: entry for entry in document["claims"]}
    for id_, ours in reference.claims.items():
        if id_ in submitted:
            grade.claims.append(_decide(grade, ours, submitted[id_], cell))


def _is_said(value: object, ours: object) -> bool:
    """Say whether a value of the environment is of the reference's kind: text, number, versions."""
    if type(value) is not type(ours):
        return False
    return not isinstance(value, dict) or all(isinstance(v, str) for v in value.values())


def _check_ids(grade: Grade, entries: list[dict], reference: Reference, cell: Cell) -> None:
    counts = collections.Counter(entry["id"] for entry in entries)
    wanted = dict.fromkeys([*REQUIRED.get(grade.question, ()), *reference.claims])
    for id_ in wanted:
        if id_ not in counts:
            grade.add("claim missing", f"claim {id_} is missing", cell)
    for id_, count in counts.items():
        if count > 1:
            grade.add("claim twice", f"claim {shortened(id_)} stands there {count} times", cell)
        if id_ not in wanted:
            grade.add("claim extra", f"claim {shortened(id_)} is not in the reference", cell)


def _decide(grade: Grade, ours: dict, theirs: dict, cell: Cell) -> dict:
    """Return the claim with the verdict drawn from the reference's mark and their measurement."""
    id_ = ours["id"]
    claim = ours | {"measured": theirs["measured"], "note": theirs["note"]}
    claim["evidence"] = "consistent, not re-run"
    if theirs["verdict"] == "not run":
        claim |= {"verdict": "not run", "measured": None}
        if not theirs["note"].strip() or theirs["measured"] is not None:
            grade.add("claim not run", f"claim {id_} did not run and does not say why", cell)
        elif ours["verdict"] != "not run":
            reason = shortened(theirs["note"])
            grade.add(
                "claim not run", f"claim {id_} did not run, the reference's did: {reason}", cell
            )
        return claim
    if ours["verdict"] == "not run":
        # the reference has no mark for it: a person has to look at theirs
        text = f"claim {id_} ran, which the reference's did not; its mark is the submission's own"
        grade.add("claim mark", text, cell)
        claim |= {key: theirs[key] for key in FIXED}
        ours = claim
    changed = [key for key in FIXED if not _same(ours[key], theirs[key])]
    for key in changed:
        text = f"claim {id_}: its {key} is {shortened(theirs[key])}, the reference's "
        grade.add("claim mark", text + shortened(ours[key]), cell)
    claim["verdict"] = _verdict(ours, theirs["measured"])
    if claim["verdict"] == "failed":
        text = f"claim {id_} failed: measured {measured(claim)}"
        if "must be" not in text:
            text += f", must be {shortened(claims.number_text(ours['expected']))}"
        grade.add("claim failed", text, cell)
    elif theirs["verdict"] != claim["verdict"]:
        text = f"claim {id_} says {shortened(repr(theirs['verdict']))}, but it is "
        grade.add("claim verdict", f"{text}{claim['verdict']!r}", cell)
    return claim


def _verdict(ours: dict, measured: object) -> str:
    """Draw the verdict; a value of another kind than the reference's has measured nothing."""
    if ours["verdict"] != "not run" and not _alike(ours["measured"], measured):
        return "failed"
    keys = ("relation", "tolerance", "refutes")
    try:
        return claims.judge(ours["reported"], ours["expected"], measured, *(ours[k] for k in keys))
    except ODD:
        return "failed"


def _alike(ours: object, theirs: object) -> bool:
    if isinstance(ours, int | float) and not isinstance(ours, bool):
        number = isinstance(theirs, int | float) and not isinstance(theirs, bool)
        return number and -1e300 < theirs < 1e300
    if isinstance(ours, list):
        same = isinstance(theirs, list) and len(ours) == len(theirs)
        return same and all(map(_alike, ours, theirs))
    return type(ours) is type(theirs)


def _same(ours: object, theirs: object) -> bool:
    """Compare what the reference fixes: texts but for masked numbers, numbers but for rounding."""
    if isinstance(ours, str) and isinstance(theirs, str):
        return MASK.sub("⟨⟩", ours) == MASK.sub("⟨⟩", theirs)
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-6)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    return type(ours) is type(theirs) and ours == theirs


def measured(claim: dict) -> str:
    """Return `claims.measured_text` of a claim, whatever its values are."""
    try:
        return shortened(claims.measured_text(claim))
    except ODD:
        return shortened(claim["measured"])


def _check_table(grade: Grade, entries: list[dict], data: dict, cell: Cell) -> None:
    """Hold what people read against what machines read, and that nothing else is to be read."""
    beside = [kind for kind in data if kind not in (MIME, "text/plain", "text/html")]
    for output in cell.outputs:
        if output.get("data") is not data and output.get("name") != "stderr":
            beside.append(output["output_type"])
    if beside:
        grade.add("table", f"more beside it: {shortened(', '.join(beside))}", cell)
    text = joined(data.get("text/plain", ""))
    masked = [
        e["id"] for e in entries if f"{e['id']} ⟨" in text and f"{e['id']} ⟨" not in e["note"]
    ]
    try:
        shown = claims.shown([claims.Claim(**entry) for entry in entries], masked)
    except ODD as error:
        grade.add("malformed claims", f"cannot be shown: {shortened(error)}", cell)
        return
    for kind, expected in shown.items():
        found = joined(data.get(kind, ""))
        if found != expected:
            names = ("from the JSON", "as shown")
            changed = "\n".join(_difference(_lines(expected), _lines(found), names, around=0))
            grade.add("table", f"its {kind} does not follow from its JSON:\n{changed}", cell)


def _lines(text: str) -> str:
    return text.replace("</tr>", "</tr>\n")


def _places(notebook: Notebook, decided: list[dict]) -> dict[str, int]:
    """Return claim id -> number of the first code cell that names it, else of the claims table."""
    places = {}
    for claim in decided:
        named = [c.number for c in notebook.code if f'"{claim["id"]}"' in c.source]
        tables = [cell.number for cell, _, _ in _documents(notebook)]
        places[claim["id"]] = (named or tables)[0]
    return places


def summary(grades: list[Grade]) -> str:
    """Count verdicts and problems in one line."""
    verdicts = collections.Counter(claim["verdict"] for grade in grades for claim in grade.claims)
    counted = [f"{verdicts[name]} {name}" for name in claims.VERDICTS if verdicts[name]]
    problems = sum(len(grade.problems) for grade in grades)
    end = f"{problems} problem{'s' if problems != 1 else ''}" if problems else "no problems"
    return f"{sum(verdicts.values())} claims: {', '.join(counted) or 'none'}; {end}"


def label(path: Path, root: Path | None = None) -> str:
    """Return a path as it is shown: below `root` where it lies there, control signs visible."""
    if root is not None and path.is_relative_to(root):
        path = path.relative_to(root)
    return visible(path)
