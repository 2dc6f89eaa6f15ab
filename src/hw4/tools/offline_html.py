"""Render a notebook as one HTML page that needs no network and executes nothing of the notebook.

Every cell and output is rendered, then sanitised by an allow-list, on its own: what is wrong with
one costs that one alone. A Content-Security-Policy refuses what would get through all the same.
"""

import base64
import functools
import hashlib
import html
import re
import time
from collections.abc import Callable

import nh3
from latex2mathml.converter import convert
from nbconvert.filters.ansi import ansi2html
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from hw4.claims import MIME
from hw4.tools.submission import Cell, Notebook, joined, shortened, visible

LARGEST = 2**20  # signs of one output; what is longer is left out and named
LARGEST_TEXT = 2**14  # signs of Markdown; the committed notebooks have at most a tenth
DEEPEST = 500  # tags inside one another, which take the square of their number
LONGEST = 20  # seconds for a page, after which its cells are shown as they are written
LARGEST_IMAGE = 8 * 2**20
STYLES = {
    "background", "background-color", "color", "font-style", "font-weight", "max-width", "padding",
    "text-align", "text-decoration", "vertical-align", "white-space", "width",
}  # fmt: skip
MATHML = (
    "math mfrac mi mn mo mover mpadded mphantom mroot mrow ms mspace msqrt mstyle msub msubsup "
    "msup mtable mtd mtext mtr munder munderover mmultiscripts"
)
TAGS = set(
    "a abbr b blockquote br caption code col colgroup dd del details div dl dt em h1 h2 h3 h4 h5 "
    f"h6 hr i img ins kbd li ol p pre s small span strong sub summary sup table tbody td tfoot th "
    f"thead tr u ul {MATHML}".split()
)
ATTRIBUTES = {
    "*": {"style", "class", "title"},
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
    "ol": {"start"},
    "details": {"open"},
    "math": {"display"},
} | {
    tag: {"stretchy", "fence", "form", "linethickness", "columnalign", "mathvariant", "width"}
    for tag in MATHML.split()[1:]
}
ATTRIBUTES |= {f"h{level}": {"id"} for level in range(1, 7)}
_IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]+")
_TAG = re.compile(r"<(/?)([a-zA-Z][\w-]*)")
# Tags that end by themselves.
_SHALLOW = {"br", "col", "hr", "img", "input", "li", "link", "meta", "p", "td", "th", "tr", "wbr"}
_OWN_PAGE = re.compile(r"([\w-]+)\.ipynb(#.*)?")
PREFERRED = (
    "text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "image/gif",
    "text/latex", "text/plain",
)  # fmt: skip


def document(title: str, body: str, script: str = "", style: str = "") -> str:
    """Return a whole page under a policy that lets no script run but ours, and fetch nothing."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"script-src 'sha256-{digest}'; " if script else ""
    policy = (
        f"default-src 'none'; {allowed}style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}{style}</style></head>\n<body>\n{body}\n"
        + (f"<script>{script}</script>" if script else "")
        + "</body></html>\n"
    )


def page(notebook: Notebook, title: str, head: str = "") -> str:
    """Return the page of a notebook, under the HTML `head`; cell n has the anchor `cell-n`."""
    body, start = [f"<main>{head}"], time.perf_counter()
    for cell in notebook.cells:
        late = time.perf_counter() - start > LONGEST
        shown = f"<pre>{_escaped(cell.source)}</pre>" if late else cell_html(cell)
        body.append(
            f'<section id="cell-{cell.number}" class="{html.escape(cell.kind)}" '
            # a group: a hundred landmarks a page would be none
            f'role="group" aria-label="cell {cell.number}">{shown}</section>'
        )
    return document(title, "\n".join([*body, "</main>"]), style=_code_style())


def cell_html(cell: Cell) -> str:
    """Return one cell as harmless HTML; what cannot be rendered is named in its place."""
    if cell.kind == "markdown":
        return _careful(lambda: markdown(_with_attachments(cell)), "this text")
    if cell.kind != "code":
        return f"<pre>{_escaped(cell.source)}</pre>"
    count = " " if cell.count is None else str(cell.count)
    parts = [f'<div class="count">[{count}]</div>', _careful(lambda: _code(cell.source), "code")]
    for output in cell.outputs:
        shown = _careful(functools.partial(_output, output, cell.number), "this output")
        parts.append(f'<div class="output" tabindex="0">{shown}</div>')
    return "".join(parts)


def clean(text: str) -> str:
    """Keep of some HTML what the allow-list names.

    >>> clean('<b onclick="f()">a</b><script>f()</script><img src=x onerror="f()">')
    '<b>a</b>'

    Raises:
        ValueError: tags too deep inside one another.
    """
    depth = deepest = 0
    for closing, tag in _TAG.findall(text):
        if tag.lower() not in _SHALLOW:
            depth += -1 if closing else 1
            deepest = max(deepest, depth)
    if deepest > DEEPEST:
        raise ValueError(f"{deepest:,} tags inside one another")
    cleaned = nh3.clean(
        text,
        tags=TAGS,
        attributes=ATTRIBUTES,
        attribute_filter=_filter,
        filter_style_properties=STYLES,
        id_prefix="n-",
        url_schemes={"http", "https", "mailto", "data"},
    )
    return re.sub(r"<img[^>]*>", _image, cleaned)


def _image(tag: re.Match) -> str:
    """Put the words for an image in the place of one that is not in the notebook."""
    if ' src="' in tag[0]:
        return tag[0]
    words = re.search(r' alt="([^"]*)"', tag[0])
    return html.escape(html.unescape(words[1])) if words else ""


def _filter(tag: str, name: str, value: str) -> str | None:
    if name == "src":
        return value if _IMAGE.fullmatch(value) else None
    if name == "class" and value != "problem":
        return None
    if name == "href":
        if value.startswith("#"):
            return f"#n-{value[1:]}"
        if match := _OWN_PAGE.fullmatch(value):
            return f"{match[1]}.html"
        return value if re.match(r"https?://|mailto:", value, re.IGNORECASE) else None
    if name == "style" and "url" in value.lower():
        return None
    return value


@functools.lru_cache(512)
def markdown(source: str) -> str:
    """Return Markdown as harmless HTML, its formulas as MathML."""
    if len(source) > LARGEST_TEXT:
        return f"<pre>{_escaped(source[:LARGEST])}</pre>"
    renderer = _MathMLRenderer(escape=False, exclude_anchor_links=True)
    return clean(MarkdownWithMath(renderer=renderer).render(source))


class _MathMLRenderer(IPythonRenderer):
    """Markdown whose formulas are MathML, where nbconvert leaves them to a remote script."""

    def heading(self, text: str, level: int, **attrs) -> str:
        """Give a heading the id that Jupyter's own links use."""
        id_ = html.escape(re.sub("<[^>]*>", "", text).strip().replace(" ", "-"))
        return f'<h{level} id="{id_}">{text}</h{level}>\n'

    def block_math(self, body: str) -> str:
        return formula(body, "block")

    def inline_math(self, body: str) -> str:
        return formula(body, "inline")

    def latex_environment(self, name: str, body: str) -> str:
        return formula(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")


def formula(body: str, display: str) -> str:
    """Return a formula as MathML, or its source, marked, where it is none."""
    try:
        if len(body) > 5000:
            raise ValueError("too long")
        return convert(body.strip(), display=display)
    except Exception:
        return f'<code class="problem" title="not a formula">{_escaped(body[:5000])}</code>'


def _careful(render: Callable[[], str], what: str) -> str:
    try:
        return render()
    except Exception as error:
        reason = f"{type(error).__name__}: {shortened(error)}"
        return f'<p class="problem">{what} cannot be shown: {html.escape(reason)}</p>'


def _escaped(text: str) -> str:
    return html.escape(visible(text, newlines=True))


@functools.lru_cache(2048)
def _code(source: str) -> str:
    if len(source) > 2 * LARGEST_TEXT:
        return f"<pre>{_escaped(source[:LARGEST])}</pre>"
    shown = highlight(visible(source, newlines=True), PythonLexer(), HtmlFormatter(nowrap=True))
    return f'<pre class="code" tabindex="0">{shown}</pre>'


@functools.cache
def _code_style() -> str:
    light = HtmlFormatter(style="default").get_style_defs(".code")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".code")
    return (
        f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n.code {{ background: none }}"
    )


def _output(output: dict, number: int) -> str:
    kind = output["output_type"]
    if kind == "stream":
        return _text(joined(output["text"]))
    if kind == "error":
        lines = output["traceback"]
        text = "\n".join(map(str, lines)) if isinstance(lines, list) else str(lines)
        name = f"{joined(output['ename'])}: {joined(output['evalue'])}"
        return f'<p class="problem">{html.escape(shortened(name))}</p>{_text(text)}'
    data = {name: value for name, value in output["data"].items() if name != MIME}
    for name in PREFERRED:
        if name in data:
            return _rich(name, joined(data[name]), number)
    names = shortened(", ".join(map(str, data)) or "nothing")
    return f"<p><i>An output that this page does not show: {html.escape(names)}</i></p>"


def _rich(name: str, text: str, number: int) -> str:
    most = LARGEST_IMAGE if name.startswith("image/") else LARGEST
    if len(text) > most:
        return f"<p><i>An output of {len(text) / 1e6:.1f} MB is left out ({name}).</i></p>"
    if name == "text/plain":
        return _text(text)
    if name == "text/markdown":
        return markdown(text)
    if name == "text/latex":
        return clean(formula(text.strip().strip("$"), "block"))
    if name == "image/svg+xml":
        # as an image it can neither run a script nor load anything
        text = base64.b64encode(text.encode("utf-8", "replace")).decode()
    if name.startswith("image/"):
        return clean(f'<img alt="figure of cell {number}" src="data:{name};base64,{text.strip()}">')
    return clean(text)


def _text(text: str) -> str:
    rest = f"\n… {len(text) - LARGEST // 4:,} more signs" if len(text) > LARGEST // 4 else ""
    text = "".join(
        sign if sign == "\x1b" else visible(sign, newlines=True)
        for sign in re.split("(\x1b)", text[: LARGEST // 4])
    )
    return f"<pre>{ansi2html(text).replace(chr(27), '')}{rest}</pre>"


def _with_attachments(cell: Cell) -> str:
    def embedded(match) -> str:
        images = cell.attachments.get(match[1])
        for name, content in images.items() if isinstance(images, dict) else ():
            return f"data:{name};base64,{joined(content)}"
        return match[0]

    return re.sub(r"attachment:([\w. -]+)", embedded, cell.source)


STYLE = """
:root { color-scheme: light dark; --line: #d5d5d5; --soft: #f6f6f4; --ink: #1c1c1c;
  --paper: #fff; --link: #0b5cad; --problem: #b00020 }
@media (prefers-color-scheme: dark) { :root { --line: #444; --soft: #24262a; --ink: #e6e6e6;
  --paper: #16181c; --link: #7ab8ff; --problem: #ff8a8a } }
* { box-sizing: border-box }
body { font: 16px/1.55 system-ui, sans-serif; margin: 0; color: var(--ink);
  background: var(--paper) }
main { max-width: 64rem; margin: 0 auto; padding: 1rem }
a { color: var(--link) } :focus-visible { outline: 3px solid var(--link); outline-offset: 2px }
pre { overflow: auto; margin: .4rem 0; font: 13px/1.45 ui-monospace, monospace;
  white-space: pre-wrap; overflow-wrap: anywhere }
.code pre, pre.code { background: var(--soft); border: 1px solid var(--line);
  border-radius: 4px; padding: .5rem .7rem }
section { margin: .8rem 0; scroll-margin-top: 1rem }
section:target { outline: 3px solid var(--link); outline-offset: 6px }
.count { float: right; color: #777; font: 12px ui-monospace, monospace; padding: .3rem .5rem }
.output { overflow-x: auto } img { max-width: 100%; height: auto }
.output img { background: #fff }
table { border-collapse: collapse } th, td { text-align: left; vertical-align: top;
  padding: .3rem .6rem; border-bottom: 1px solid var(--line) }
.problem { color: var(--problem) }
@media print { section { break-inside: avoid } .count { display: none } }
"""
