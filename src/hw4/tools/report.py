"""Show grades for people and machines: rows of text, JSON and CSV."""

import collections
import csv
import io
import json

from hw4 import claims
from hw4.tools import grade
from hw4.tools.grade import Grade, label
from hw4.tools.submission import visible

SCHEMA_VERSION = 1
CSV_COLUMNS = ("path", "question", "status", *claims.VERDICTS, "problems", "texts")
EXPORTED = (
    "id", "verdict", "measured", "evidence", "statement", "reported", "expected", "relation",
    "tolerance", "refutes", "unit", "note",
)  # fmt: skip


def as_json(grades: list[Grade]) -> str:
    """Return the grades as JSON of the documented schema, in signs that every locale can print."""
    submissions = [
        {
            "path": label(found.path),
            "question": found.question,
            "status": found.status,
            "problems": [vars(problem) for problem in found.problems],
            "claims": [{key: claim[key] for key in EXPORTED} for claim in found.claims],
        }
        for found in grades
    ]
    content = {"schema_version": SCHEMA_VERSION, "submissions": submissions}
    return json.dumps(content, indent=1, allow_nan=False)


def as_csv(grades: list[Grade]) -> str:
    """Return one line a submission; no cell of it is taken for a formula by a spreadsheet."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(CSV_COLUMNS)
    for found in grades:
        counts = collections.Counter(claim["verdict"] for claim in found.claims)
        texts = "; ".join(f"{p.kind}: {p.text.splitlines()[0]}" for p in found.problems)
        row = [label(found.path), found.question or "", found.status]
        row += [counts[name] for name in claims.VERDICTS]
        row += [len(found.problems), visible(texts)]
        table.writerow([f"'{x}" if str(x)[:1] in ("=", "+", "-", "@") else x for x in row])
    return text.getvalue()


def rows(found: Grade) -> list[tuple[str, str, str, str, str]]:
    """Return one row a claim: id, statement, reported, measured, verdict, without mask marks."""
    return [
        (
            claim["id"],
            visible(claim["statement"]),
            visible(claims.number_text(claim["reported"])),
            visible(grade.measured(claim)).replace("⟨", "").replace("⟩", ""),
            claim["verdict"],
        )
        for claim in found.claims
    ]
