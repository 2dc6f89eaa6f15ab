"""Read executed notebooks, check them and their claims again, and render one HTML report."""

import html
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from hw4 import claims
from hw4.claims import MIME, REQUIRED, SCHEMA_VERSION


@dataclass
class Finding:
    """What one executed notebook says, and everything that is wrong with it."""

    path: Path
    environment: dict = field(default_factory=dict)
    claims: list[dict] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read(path: Path) -> Finding:
    """Read and check one notebook: executed in order, no error, every claim there and sound."""
    finding = Finding(path)
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:
        finding.problems.append(f"not a readable notebook: {error}")
        return finding
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    finding.problems += _execution_problems(cells)
    outputs = [output for cell in cells for output in cell.outputs]
    documents = [o.data[MIME] for o in outputs if MIME in o.get("data", {})]
    if not documents:
        finding.problems.append("no claims table")
        return finding
    try:
        document = dict(documents[-1])
        problems = _claim_problems(path, document)
        finding.claims = document.pop("claims")
        finding.environment = document
        rows(finding)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        finding.claims, problems = [], [f"the claims are malformed: {error!r}"]
    finding.problems += problems
    return finding


def _execution_problems(cells) -> list[str]:
    counts = [cell.execution_count for cell in cells]
    problems = []
    if None in counts:
        problems.append(f"{counts.count(None)} of {len(counts)} code cells were not executed")
    elif counts != list(range(1, len(counts) + 1)):
        problems.append(f"cells were executed out of order: {counts}")
    for cell in cells:
        problems += [
            f"cell {cell.execution_count} ended in {output.ename}: {output.evalue}"
            for output in cell.outputs
            if output.output_type == "error"
        ]
    return problems


def _claim_problems(path: Path, document: dict) -> list[str]:
    version, question = document.get("schema_version"), document.get("question")
    if version != SCHEMA_VERSION:
        return [f"claims of schema version {version}; this hw4 reads {SCHEMA_VERSION}"]
    if question != path.stem.split("_")[0]:
        return [f"claims of question {question!r} in notebook {path.stem}"]
    decided = {claim["id"]: claim for claim in document["claims"]}
    problems = [f"claim {id} is missing" for id in REQUIRED[question] if id not in decided]
    for id, claim in decided.items():
        verdict = _judge_again(claim)
        if verdict != claim["verdict"]:
            problems.append(
                f"claim {id} says {claim['verdict']!r}, but its own numbers say {verdict!r}"
            )
        elif verdict == "failed":
            problems.append(f"claim {id} failed: measured {claims.measured_text(claim)}")
    return problems


def _judge_again(claim: dict) -> str:
    if claim["verdict"] == "not run" and claim["measured"] is None and claim["note"]:
        return "not run"
    keys = ("reported", "expected", "measured", "relation", "tolerance", "refutes")
    return claims.judge(*(claim[key] for key in keys))


def summary(findings: list[Finding]) -> str:
    """Count verdicts and problems in one line."""
    verdicts = [claim["verdict"] for finding in findings for claim in finding.claims]
    counted = [f"{verdicts.count(name)} {name}" for name in claims.VERDICTS if verdicts.count(name)]
    problems = sum(len(finding.problems) for finding in findings)
    end = f"{problems} problem{'s' if problems != 1 else ''}" if problems else "no problems"
    counted_text = ", ".join(counted) or "none"
    return f"{len(verdicts)} claims: {counted_text}; {end}"


def as_json(findings: list[Finding]) -> list[dict]:
    """Return the findings as plain data."""
    return [
        {
            "notebook": finding.path.stem,
            "environment": finding.environment,
            "claims": finding.claims,
            "problems": finding.problems,
        }
        for finding in findings
    ]


def rows(finding: Finding) -> list[tuple[str, str, str, str, str]]:
    """Return one row a claim: id, statement, reported, measured, verdict, without mask marks."""
    return [
        (
            claim["id"],
            claim["statement"],
            claims.number_text(claim["reported"]),
            claims.measured_text(claim).replace("⟨", "").replace("⟩", ""),
            claim["verdict"],
        )
        for claim in finding.claims
    ]


def render(findings: list[Finding], folder: Path) -> Path:
    """Write every notebook as HTML and an index page with all claims; return the index.

    The pages need no network: formulas become MathML, and no script is loaded from elsewhere.
    """
    from hw4.tools.offline_html import page

    folder.mkdir(parents=True, exist_ok=True)
    for finding in findings:
        (folder / f"{finding.path.stem}.html").write_text(page(finding.path), encoding="utf-8")
    index = folder / "index.html"
    index.write_text(_index(findings), encoding="utf-8")
    return index


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem }
tr { border-bottom: 1px solid #ddd }
.confirmed { color: #1b7f3b } .exceeded { color: #0b62a8 } .corrected { color: #a85a00 }
.added { color: #5b3fa0 } .failed, .problem { color: #c00000 } .not-run { color: #666 }
"""


def _index(findings: list[Finding]) -> str:
    parts = [_section(finding) for finding in findings]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>hw4 report</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>hw4: every claim, decided by code</h1>"
        f"<p>{html.escape(summary(findings))}</p>{''.join(parts)}</body></html>"
    )


def _section(finding: Finding) -> str:
    stem = finding.path.stem
    body = []
    for id, statement, reported, measured, verdict in rows(finding):
        cells = "".join(f"<td>{html.escape(t)}</td>" for t in (id, statement, reported, measured))
        css = verdict.replace(" ", "-")
        body.append(f'<tr>{cells}<td class="{css}"><b>{verdict}</b></td></tr>')
    head = "<tr><th>claim<th>statement<th>reported<th>measured<th>verdict</tr>"
    problems = "".join(f'<p class="problem">{html.escape(p)}</p>' for p in finding.problems)
    return (
        f'<h2><a href="{stem}.html">{stem}</a></h2>{problems}<table>{head}{"".join(body)}</table>'
    )
