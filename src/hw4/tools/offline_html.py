"""Render a notebook as one HTML page that needs no network: formulas as MathML, no scripts."""

import re
from pathlib import Path

import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from hw4.claims import MIME


def page(path: Path) -> str:
    """Return the HTML page of the notebook at `path`.

    Raises:
        ValueError: something in it, a formula for instance, cannot be converted.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(MIME, None)
    resources = {"metadata": {"name": path.stem}}
    try:
        body, _ = _OfflineExporter().from_notebook_node(notebook, resources=resources)
    except Exception as error:
        raise ValueError(
            f"{path.stem} must be convertible to HTML; got {error!r}. Correct that cell."
        ) from error
    return re.sub(r"<script\b.*?</script>", "", body, flags=re.DOTALL)


class _OfflineExporter(HTMLExporter):
    def default_filters(self):
        yield from super().default_filters()
        yield "markdown2html", _markdown


class _MathMLRenderer(IPythonRenderer):
    """Markdown whose formulas are MathML, where nbconvert leaves them to a remote script."""

    def block_math(self, body: str) -> str:
        return convert(body.strip(), display="block")

    def inline_math(self, body: str) -> str:
        return convert(body.strip())

    def latex_environment(self, name: str, body: str) -> str:
        return convert(f"\\begin{{{name}}}{body}\\end{{{name}}}", display="block")


def _markdown(source: str) -> str:
    renderer = _MathMLRenderer(escape=False, exclude_anchor_links=True)
    return MarkdownWithMath(renderer=renderer).render(source)
