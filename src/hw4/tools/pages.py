"""The HTML report: one page a notebook and an index, written anew in one step."""

import collections
import contextlib
import datetime
import html
import os
import re
import shutil
import tempfile
from pathlib import Path, PurePath

from hw4 import claims, runtime
from hw4.tools import grade, offline_html
from hw4.tools.grade import Grade, label
from hw4.tools.report import rows
from hw4.tools.submission import REPORT, Notebook, is_report, shortened, visible

# No file of Windows is called so, whatever it ends in.
RESERVED = re.compile("con|prn|aux|nul|(com|lpt)[0-9]", re.IGNORECASE)


class Pages:
    """The HTML report in a folder: one page a notebook and an index.

    It is written beside the folder and takes its place when it is whole. From the first moment on
    the old index says that it is replaced, so that no old page survives a run that fails.

    Args:
        folder: new, empty, or an earlier report.

    Raises:
        ValueError: the folder holds something else.
    """

    def __init__(self, folder: Path) -> None:
        if folder.is_dir() and any(folder.iterdir()) and not is_report(folder):
            raise ValueError(
                f"folder of the report must be new, empty or an earlier report; got "
                f"{visible(folder)}. Name another."
            )
        self.folder = folder
        announce(folder)
        self._partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        self._names: dict[str, Grade] = {}

    def add(self, found: Grade, notebook: Notebook | None) -> None:
        """Write the page of one submission."""
        name = _page_name(found.path, self._names)
        self._names[name] = found
        title = label(found.path)
        head = f'<p><a href="index.html">All claims</a></p>{_problems(found)}'
        if notebook is None:
            words = f"<h1>{html.escape(title)}</h1><p>It cannot be shown.</p>"
            text = offline_html.document(title, f"<main>{head}{words}</main>")
        else:
            text = offline_html.page(notebook, title, head)
        runtime.write_whole(self._partial / name, text.encode("utf-8", "replace"))

    def finish(self) -> Path:
        """Write the index and put everything in its place; return the index."""
        text = _index(self._names).encode("utf-8", "replace")
        runtime.write_whole(self._partial / "index.html", text)
        self._partial.chmod(0o755)
        for attempt in range(20):
            # another run may put its own report there in between
            old = Path(f"{self._partial}.old{attempt}")
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.folder, old)
            try:
                os.rename(self._partial, self.folder)
                break
            except OSError:
                if attempt == 19:
                    raise
            finally:
                shutil.rmtree(old, ignore_errors=True)
        return self.folder / "index.html"

    def close(self) -> None:
        """Remove what was not finished."""
        shutil.rmtree(self._partial, ignore_errors=True)


def announce(folder: Path) -> None:
    """Replace the index of an earlier report by the word that it is being written."""
    text = f"<main><h1>{REPORT}</h1><p>Being written since {_now()}; not finished.</p></main>"
    page = offline_html.document(REPORT, text)
    try:
        runtime.write_whole(folder / "index.html", page)
    except FileNotFoundError:
        # another run has just put its own report there
        runtime.write_whole(folder / "index.html", page)


def _now() -> str:
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"


def _page_name(path: PurePath, taken: dict) -> str:
    """Return a file name from a path; two paths never share one, whatever the file system."""
    stem = path.stem
    taken_names = {"index.html", *(name.lower() for name in taken)}
    if f"{stem}.html".lower() in taken_names or RESERVED.fullmatch(stem):
        stem = f"{path.parent.name}-{stem}"
    stem = re.sub(r"[^\w-]+", "-", stem, flags=re.ASCII)[:80] or "notebook"
    name, number = f"{stem}.html", 1
    while name.lower() in taken_names:
        number += 1
        name = f"{stem}-{number}.html"
    return name


# --- the index -------------------------------------------------------------------------------


def _index(pages: dict[str, Grade]) -> str:
    grades = list(pages.values())
    root = _shared([found.path.absolute() for found in grades])
    labels = {name: label(found.path.absolute(), root) for name, found in pages.items()}
    body = [
        f"<main><h1>hw4: every claim, decided by code</h1><p>{html.escape(grade.summary(grades))}. "
        f"Written {_now()}.</p>",
        _legend(),
        _overview(pages, labels),
        _not_run(pages),
        _all_problems(pages, labels),
        _claims(pages, labels),
        "</main>",
    ]
    return offline_html.document(REPORT, "\n".join(body), _SCRIPT, _STYLE)


def _shared(paths: list[PurePath]) -> PurePath | None:
    """Return the deepest folder that holds all paths, None without one: on two drives, say."""
    folders = paths[0].parents if paths else ()
    return next((f for f in folders if all(p.is_relative_to(f) for p in paths)), None)


def _css(verdict: str) -> str:
    return verdict.replace(" ", "-")


def _legend() -> str:
    items = " ".join(f'<span class="badge {_css(v)}">{v}</span>' for v in claims.VERDICTS)
    return f'<p class="legend">Verdicts on the report: {items}</p>'


def _bar(found: Grade) -> str:
    counts = collections.Counter(claim["verdict"] for claim in found.claims)
    total = sum(counts.values())
    said = ", ".join(f"{counts[name]} {name}" for name in claims.VERDICTS if counts[name])
    parts = "".join(
        f'<span class="{_css(name)}" style="width:{100 * counts[name] / total:.1f}%">'
        f"{counts[name]}</span>"
        for name in claims.VERDICTS
        if counts[name]
    )
    return f'<div class="bar" role="img" aria-label="{said or "no claims"}">{parts}</div>'


def _overview(pages: dict[str, Grade], labels: dict[str, str]) -> str:
    lines = []
    for name, found in pages.items():
        environment = found.environment
        versions = environment.get("versions")
        versions = versions if isinstance(versions, dict) else {}
        said = [environment.get("device"), environment.get("backend")]
        said += [f"seed {environment['seed']}"] if "seed" in environment else []
        said += [f"{package} {version}" for package, version in versions.items()]
        said += [environment.get("data")]
        run = html.escape(shortened(" · ".join(str(part) for part in said if part), 400))
        seconds = "" if found.seconds is None else f"{found.seconds:.0f} s"
        lines.append(
            f'<tr><th scope="row"><a href="{name}">{html.escape(labels[name])}</a></th>'
            f"<td>{found.question or 'unknown'}</td>"
            f'<td class="{found.status}">{found.status}</td><td>{_bar(found)}</td>'
            f"<td>{len(found.problems) or ''}</td><td>{seconds}</td>"
            f"<td><small>{run}</small></td></tr>"
        )
    heads = ("notebook", "question", "status", "verdicts", "problems", "time", "run with")
    head = "".join(f'<th scope="col">{title}</th>' for title in heads)
    return (
        '<h2>Notebooks</h2><div class="wide" tabindex="0" role="region" aria-label="Notebooks">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _not_run(pages: dict[str, Grade]) -> str:
    items = [
        f'<li><a href="{name}#cell-{found.places.get(claim["id"], 1)}">{claim["id"]}</a> '
        f"{html.escape(visible(claim['statement']))}: "
        f"{html.escape(shortened(claim['note'], 400))}</li>"
        for name, found in pages.items()
        for claim in found.claims
        if claim["verdict"] == "not run"
    ]
    inside = f"<ul>{''.join(items)}</ul>" if items else "<p>No claim says that it was not run.</p>"
    return f"<h2>What was not run, and why</h2>{inside}"


def _all_problems(pages: dict[str, Grade], labels: dict[str, str]) -> str:
    parts = [
        f'<h3><a href="{name}">{html.escape(labels[name])}</a></h3>{_problems(found, name)}'
        for name, found in pages.items()
        if found.problems
    ]
    return f"<h2>Problems</h2>{''.join(parts) or '<p>None.</p>'}"


def _problems(found: Grade, page: str = "") -> str:
    """Return the problems of a submission, each linked to its cell, and what differs and may."""
    items = []
    for problem in found.problems:
        first, _, rest = problem.text.partition("\n")
        place = (
            f' <a href="{page}#cell-{problem.cell}">cell {problem.cell}</a>' if problem.cell else ""
        )
        first = html.escape(visible(first))
        items.append(f"<li><b>{problem.kind}</b>{place}: {first}{_block(rest)}</li>")
    shown = f'<ul class="problem">{"".join(items)}</ul>' if items else ""
    notes = "".join(
        f"<li>{html.escape(visible(first))}{_block(rest)}</li>"
        for first, _, rest in (note.partition("\n") for note in found.notes)
    )
    return shown + (f"<ul>{notes}</ul>" if notes else "")


def _block(text: str) -> str:
    return f"<pre>{html.escape(visible(text, newlines=True))}</pre>" if text else ""


def _claims(pages: dict[str, Grade], labels: dict[str, str]) -> str:
    lines = []
    for name, found in pages.items():
        for (id_, *texts, verdict), claim in zip(rows(found), found.claims, strict=True):
            place = f"{name}#cell-{found.places.get(id_, 1)}"
            cells = "".join(f"<td>{html.escape(shortened(text, 600))}</td>" for text in texts)
            lines.append(
                f'<tr data-question="{found.question}" data-verdict="{verdict}">'
                f'<th scope="row"><a href="{place}" title="{html.escape(labels[name])}">{id_}</a>'
                f'</th>{cells}<td><span class="badge {_css(verdict)}">{verdict}</span>'
                f"<br><small>{claim['evidence']}</small></td></tr>"
            )
    questions = sorted({str(found.question) for found in pages.values() if found.claims})
    heads = ("claim", "statement", "reported", "measured", "verdict")
    head = "".join(f'<th scope="col">{title}</th>' for title in heads)
    return (
        f"<h2>Claims</h2><form hidden>{_choice('question', questions)}"
        f"{_choice('verdict', claims.VERDICTS)}<output aria-live='polite'></output></form>"
        '<div class="wide" tabindex="0" role="region" aria-label="Claims">'
        f'<table id="claims"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _choice(name: str, values) -> str:
    options = "".join(f'<option value="{value}">{value}</option>' for value in values)
    return (
        f'<label>{name} <select name="{name}"><option value="">all</option>{options}</select>'
        "</label> "
    )


_SCRIPT = """
const form = document.querySelector("form");
const lines = [...document.querySelectorAll("#claims tbody tr")];
function show() {
  let count = 0;
  for (const line of lines) {
    const fits = ["question", "verdict"].every(
      name => !form[name].value || line.dataset[name] === form[name].value);
    line.hidden = !fits;
    count += fits;
  }
  form.querySelector("output").textContent = `${count} of ${lines.length} claims`;
}
for (const [name, value] of new URLSearchParams(location.search))
  if (form[name]) form[name].value = value;
form.hidden = false;
form.addEventListener("change", show);
form.addEventListener("submit", event => event.preventDefault());
show();
"""

_STYLE = (
    "".join(
        f".{name.replace(' ', '-')} {{ --verdict: light-dark({light}, {dark}) }}\n"
        for name, (light, dark, _) in claims.COLOURS.items()
    )
    + """
main { max-width: 84rem }
.badge { color: var(--verdict); font-weight: bold; white-space: nowrap }
.wide { overflow-x: auto } .wide table { width: 100% }
.ok { color: light-dark(#1b7f3b, #6fd08c) }
.findings, .unreadable { color: var(--problem); font-weight: bold }
.bar { display: flex; min-width: 10rem; height: 1.4rem; border-radius: 4px; overflow: hidden }
.bar span { background: var(--verdict); color: var(--paper); font-size: 12px;
  text-align: center; overflow: hidden }
form { position: sticky; top: 0; background: var(--paper); padding: .5rem 0 }
select { font: inherit; padding: .2rem .4rem }
td { overflow-wrap: anywhere; min-width: 4rem } td:last-child { min-width: 20rem }
#claims td { min-width: 7rem } #claims td:nth-child(2) { min-width: 14rem }
td.unreadable { white-space: nowrap }
[hidden] { display: none }
@media (max-width: 40rem) { main { padding: .5rem } th, td { padding: .25rem .3rem } }
@media print { form { display: none } .wide { overflow: visible }
  .bar span, .badge { print-color-adjust: exact } tr { break-inside: avoid }
  #claims tbody tr { display: table-row } }
"""
)
