"""Claims: what was reported, what was measured, and the verdict that code draws from the two.

A verdict is never typed in. It follows from the reported value, the measured value, the pass
mark and the relation between them, so that a reader of the JSON can draw it again (`judge`).
"""

import html
import math
from dataclasses import asdict, dataclass

MIME = "application/vnd.hw4.claims+json"
SCHEMA_VERSION = 1
# On white, on black (both with a contrast of 4.5 or more), and in a terminal.
COLOURS = {
    "confirmed": ("#1b7f3b", "#6fd08c", "green"),
    "exceeded": ("#0b62a8", "#7ab8ff", "blue"),
    "corrected": ("#a85a00", "#f0b060", "yellow"),
    "added": ("#5b3fa0", "#b9a3f5", "magenta"),
    "not run": ("#666666", "#b5b5b5", "dim"),
    "failed": ("#c00000", "#ff8a8a", "bold red"),
}
VERDICTS = tuple(COLOURS)
RELATIONS = {"equal": "=", "at_least": "≥", "at_most": "≤"}
REQUIRED = {
    "q1": ("1.1-a", "1.1-b", "1.2-a", "1.2-b", "1.3-a", "1.3-b", "1.3-c", "1.3-d"),
    "q2": ("2-a", "2-b", "2-c", "2-d", "2-e"),
    "q3": ("3-a", "3-b", "3-c", "3-d"),
    "q4": ("4.1-a", "4.1-b", "4.2-a", "4.2-b"),
    "q5": ("5.1-a", "5.1-b", "5.1-c", "5.1-d", "5.1-e", "5.2-a"),
    "q6": ("6.1-i", "6.1-ii", "6.1-iii", "6.2-a", "6.3-a", "6.4-a", "6.5-a"),
    "q7": ("7-a", "7-b", "7-c", "7-d", "7-e", "7-f"),
}


@dataclass(frozen=True)
class Claim:
    """One decided statement; `expected` is the pass mark that `measured` is held against."""

    id: str
    statement: str
    reported: object
    expected: object
    measured: object
    relation: str
    tolerance: float
    refutes: bool
    verdict: str
    unit: str
    note: str


def varying(value: float, spec: str = ".4f", unit: str = "") -> str:
    """Format a measured number that may differ between machines, inside the marks ⟨ and ⟩.

    Notebook checks mask whatever stands between these marks, and nothing else.

    >>> varying(0.99531)
    '⟨0.9953⟩'
    """
    return f"⟨{value:{spec}}{unit}⟩"


def judge(reported, expected, measured, relation: str, tolerance: float, refutes: bool) -> str:
    """Draw the verdict: `confirmed`, `exceeded`, `corrected`, `added` or `failed`.

    The measurement must hold its relation to `expected`; otherwise the claim failed. If it
    does, a finding on which the report said nothing (`reported` is None) is `added`, a claim that
    `refutes` the report is `corrected` (provided that the reported value does
    not hold it too), and one that beats a reported number in the direction of its relation is
    `exceeded`. NaN always fails.

    >>> judge(0.9921, 0.9935, 0.9950, "at_least", 0, refutes=False)
    'exceeded'
    >>> judge(24, 23, 23, "equal", 0, refutes=True)
    'corrected'
    """
    if not _holds(measured, expected, relation, tolerance):
        return "failed"
    if reported is None:
        return "added"
    if refutes:
        return "failed" if _holds(reported, expected, relation, tolerance) else "corrected"
    if relation != "equal" and _is_number(reported) and not _close(reported, measured, tolerance):
        beats = measured > reported if relation == "at_least" else measured < reported
        return "exceeded" if beats else "confirmed"
    return "confirmed"


class Claims:
    """The claims of one notebook, decided one by one and shown as one table.

    Args:
        question: `q1` to `q7`.
        environment: what `runtime.environment` returns; kept once per notebook in the JSON.
        optional: ids of claims that need what may be missing, such as a download. Whether they
            ran differs between machines, so checks of the table mask all but their ids.

    Raises:
        ValueError: unknown question.

    >>> claims = Claims("q5")
    >>> claims.corrected("5.1-b", "height after layer 5", reported=24, measured=23, expected=23)
    >>> print(claims)
    5.1-b CORRECTED: height after layer 5. Reported: 24. Measured: 23.
    """

    def __init__(self, question: str, environment: dict | None = None, optional=()) -> None:
        if question not in REQUIRED:
            raise ValueError(
                f"question must be one of {', '.join(REQUIRED)}; got {question!r}. Name one."
            )
        self.question = question
        self.environment = dict(environment or {})
        self.optional = frozenset(optional)
        self._claims: dict[str, Claim] = {}

    def equal(
        self, id, statement, *, reported, measured, mark=None, tolerance=0, unit="", note=""
    ) -> None:
        """Hold `measured` == `mark`, the reported value by default, to within `tolerance`."""
        about = {"tolerance": tolerance, "unit": unit, "note": note}
        self._decide(id, statement, reported, measured, mark, "equal", **about)

    def at_least(self, id, statement, *, reported, measured, mark=None, unit="", note="") -> None:
        """Hold `measured` >= `mark`; the mark is the reported number unless another is given."""
        self._decide(id, statement, reported, measured, mark, "at_least", unit=unit, note=note)

    def at_most(self, id, statement, *, reported, measured, mark=None, unit="", note="") -> None:
        """Hold `measured` <= `mark`; the mark is the reported number unless another is given."""
        self._decide(id, statement, reported, measured, mark, "at_most", unit=unit, note=note)

    def corrected(
        self,
        id,
        statement,
        *,
        reported,
        measured,
        expected,
        relation="equal",
        tolerance=0,
        unit="",
        note="",
    ) -> None:
        """Refute `reported`: `measured` holds `relation` to `expected`, `reported` does not."""
        about = {"tolerance": tolerance, "unit": unit, "note": note}
        self._decide(id, statement, reported, measured, expected, relation, refutes=True, **about)

    def added(
        self, id, statement, *, measured, mark, relation="at_least", tolerance=0, unit="", note=""
    ) -> None:
        """Add a finding on which the report said nothing: `measured` holds `relation` to `mark`."""
        about = {"tolerance": tolerance, "unit": unit, "note": note}
        self._decide(id, statement, None, measured, mark, relation, added=True, **about)

    def not_run(self, id, statement, *, reported, reason: str) -> None:
        """Record that a claim could not be decided here, and why."""
        if not reason.strip():
            raise ValueError(f"reason must say why {id} did not run; got {reason!r}. Name it.")
        claim = Claim(id, statement, reported, None, None, "equal", 0, False, "not run", "", reason)
        self._add(claim)

    def show(self) -> None:
        """Display the table: HTML to read, text to compare, JSON for `hw4 report`."""
        from IPython.display import display

        display(self._repr_mimebundle_(), raw=True)

    def document(self) -> dict:
        """Return the claims as plain data, the content of the JSON representation."""
        claims = [
            {key: _finite(value) for key, value in asdict(claim).items()}
            for claim in self._claims.values()
        ]
        head = {"schema_version": SCHEMA_VERSION, "question": self.question}
        head |= self.environment | {"optional": sorted(self.optional)}
        return head | {"claims": claims}

    def _decide(
        self,
        id,
        statement,
        reported,
        measured,
        expected,
        relation,
        *,
        tolerance=0,
        refutes=False,
        unit,
        note,
        added=False,
    ) -> None:
        if reported is None and not added:
            raise ValueError(
                f"reported must be what the report says in {id}; got None. Use `added` for a "
                "finding on which it says nothing."
            )
        if relation not in RELATIONS:
            raise ValueError(
                f"relation must be one of {', '.join(RELATIONS)}; got {relation!r}. "
                "Choose one of these."
            )
        expected = reported if expected is None else expected
        values = [_plain(value) for value in (reported, expected, measured)]
        if relation != "equal" and not all(map(_is_number, values[1:])):
            raise TypeError(
                f"measured and its mark must be numbers for {relation} in {id}; got {measured!r} "
                f"and {expected!r}. Give `mark` when the reported answer is a sentence."
            )
        verdict = judge(*values, relation, tolerance, refutes)
        self._add(Claim(id, statement, *values, relation, tolerance, refutes, verdict, unit, note))

    def _add(self, claim: Claim) -> None:
        # A cell that is run twice replaces its claim instead of adding a second one.
        self._claims[claim.id] = claim
        self._claims = dict(sorted(self._claims.items()))

    def __str__(self) -> str:
        return shown(list(self._claims.values()), self.optional)["text/plain"]

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {MIME: self.document()} | shown(list(self._claims.values()), self.optional)


def shown(claims: list[Claim], optional=()) -> dict[str, str]:
    """Return the table of claims as people read it: MIME type to text, HTML and plain."""
    text = "\n".join(_as_text(claim, optional) for claim in claims)
    return {"text/html": _as_html(claims, optional), "text/plain": text}


def measured_text(claim: dict) -> str:
    """Format measured value, pass mark and margin of one claim (as a mapping) for a table."""
    if claim["verdict"] == "not run":
        return f"not run: {claim['note']}"
    relation, expected = claim["relation"], claim["expected"]
    unit = f" {claim['unit']}" if claim["unit"] else ""
    if relation == "equal" and not claim["tolerance"]:
        return f"{number_text(claim['measured'])}{unit}"
    shown = f"⟨{number_text(claim['measured'])}⟩{unit}"
    shown += f", must be {RELATIONS[relation]} {number_text(expected)}"
    if relation == "equal":
        return f"{shown} ± {number_text(claim['tolerance'])}"
    if not _is_number(claim["measured"]):
        return shown
    sign = 1 if relation == "at_least" else -1
    margin = sign * (claim["measured"] - expected) + 0.0  # never -0
    return f"{shown}, margin ⟨{margin:+.4g}⟩"


def _masked(text: str, opening: str = "⟨", closing: str = "⟩") -> str:
    """Put the marks of `varying` around a whole text instead of around its numbers."""
    return opening + text.replace("⟨", "").replace("⟩", "") + closing


def _as_text(claim: Claim, optional) -> str:
    note = f" [{claim.note}]" if claim.note and claim.verdict != "not run" else ""
    text = (
        f"{claim.verdict.upper()}: {claim.statement}. Reported: "
        f"{number_text(claim.reported)}. Measured: {measured_text(asdict(claim))}.{note}"
    )
    return f"{claim.id} {_masked(text) if claim.id in optional else text}"


def _as_html(claims: list[Claim], optional) -> str:
    rows = []
    for claim in claims:
        colour = COLOURS[claim.verdict][0]
        badge = f'<b style="color:{colour};white-space:nowrap">{claim.verdict}</b>'
        measured = measured_text(asdict(claim))
        texts = (claim.statement, number_text(claim.reported), measured, claim.note)
        cells = [f"<b>{html.escape(claim.id)}</b>", *map(html.escape, texts)]
        cells.insert(4, badge)
        row = "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells)
        rows.append(_masked(row, "<!--⟨-->", "<!--⟩-->") if claim.id in optional else row)
    titles = ("claim", "statement", "reported", "measured", "verdict", "note")
    head = "".join(f'<th style="text-align:left">{title}</th>' for title in titles)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _holds(measured, expected, relation: str, tolerance: float) -> bool:
    if relation == "equal":
        return _close(measured, expected, tolerance)
    if not (_is_number(measured) and _is_number(expected)):
        return False
    return measured >= expected if relation == "at_least" else measured <= expected


def _close(a, b, tolerance: float) -> bool:
    if _is_number(a) and _is_number(b):
        return a == b or abs(a - b) <= tolerance
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_close(x, y, tolerance) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value) -> object:
    """Turn NumPy scalars, arrays and tuples into the plain values that JSON knows."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _finite(value) -> object:
    """Write NaN and infinities as text, since JSON has no numbers for them."""
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def number_text(value) -> str:
    """Format a plain value of a claim for people: 1,792; 0.9953; (60000, 28, 28, 1)."""
    if value is None:
        return "nothing"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        # without thousands separators, which would look like more commas of the list
        items = (str(v) if isinstance(v, int) else number_text(v) for v in value)
        return f"({', '.join(items)})"
    return str(value)


@dataclass(frozen=True)
class ReportedTable:
    """A table in which wrong cells stand out: each column a pair of lists, reported and true.

    A cell whose two values differ shows both: in HTML struck out and marked, in text as
    `24 -> 23`.

    Args:
        labels: one text a row.
        columns: name to (reported, true), two sequences as long as `labels`.

    Raises:
        ValueError: a column of another length.

    >>> ReportedTable(["pool"], {"height": ([24], [23]), "channels": ([64], [64])})
          height    channels
    pool  24 -> 23  64
    >>> ReportedTable(["pool"], {"height": ([24], [23])}).wrong
    1
    """

    labels: list[str]
    columns: dict[str, tuple[list, list]]

    def __post_init__(self) -> None:
        for name, (reported, true) in self.columns.items():
            if not len(reported) == len(true) == len(self.labels):
                raise ValueError(
                    f"column {name!r} must have {len(self.labels)} reported and true values; got "
                    f"{len(reported)} and {len(true)}. Give one for each label."
                )

    @property
    def wrong(self) -> int:
        """Number of cells whose reported value is not the true one."""
        return sum(r != t for pair in self.columns.values() for r, t in zip(*pair, strict=True))

    def __repr__(self) -> str:
        table = [["", *self.columns]]
        for row, label in enumerate(self.labels):
            table.append([label, *(_text(r[row], t[row]) for r, t in self.columns.values())])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ("", *self.columns))
        body = []
        for row, label in enumerate(self.labels):
            cells = "".join(_cell(r[row], t[row]) for r, t in self.columns.values())
            body.append(f'<tr><td style="text-align:left">{html.escape(label)}</td>{cells}</tr>')
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _show(value) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _text(reported, true) -> str:
    return _show(true) if reported == true else f"{_show(reported)} -> {_show(true)}"


def _cell(reported, true) -> str:
    if reported == true:
        return f"<td>{html.escape(_show(true))}</td>"
    return (
        '<td style="background:#fde0d2;color:#000"><del>'
        f"{html.escape(_show(reported))}</del> <b>{html.escape(_show(true))}</b></td>"
    )
