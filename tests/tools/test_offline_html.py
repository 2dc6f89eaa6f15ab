"""Pages: nothing of a notebook is executed or fetched, and a bad cell costs that cell alone."""

import html.parser
import itertools
import json
import os
import re
import select
import shutil
import subprocess
import time
from pathlib import PureWindowsPath

import pytest

from hw4.tools import offline_html, pages
from hw4.tools.grade import grade_all, label
from hw4.tools.submission import Cell, Notebook

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OWN = "document.documentElement.dataset.owned='yes'"
REMOTE = "http://attacker.invalid/x"
HTML = {
    "img onerror": f'<img src=x onerror="{OWN}">',
    "img remote": f'<img src="{REMOTE}">',
    "img srcset": f'<img srcset="{REMOTE} 2x">',
    "svg onload": f'<svg onload="{OWN}"><circle r="9"/></svg>',
    "svg script": f"<svg><script>{OWN}</script></svg>",
    "svg use": f'<svg><use href="{REMOTE}#a"/></svg>',
    "iframe srcdoc": f'<iframe srcdoc="<script>parent.{OWN}</script>"></iframe>',
    "iframe src": f'<iframe src="{REMOTE}"></iframe>',
    "script": f"<script>{OWN}</script>",
    "SCRIPT": f"<SCRIPT>{OWN}</SCRIPT>",
    "script src": f'<script src="{REMOTE}"></script>',
    "unclosed script": f"<script>{OWN}",
    "script in pieces": f"<scr<script></script>ipt>{OWN}</script>",
    "unclosed comment": "<!-- swallowed",
    "unclosed textarea": "<textarea><title><style>",
    "unclosed attribute": '<a href="',
    "closing the page": f"</pre></section></main></body></html><script>{OWN}</script>",
    "link javascript": f'<a href="javascript:{OWN}">click</a>',
    "link with a tab": f'<a href="java&#9;script:{OWN}">click</a>',
    "link data": f'<a href="data:text/html,<script>{OWN}</script>">click</a>',
    "object": f'<object data="{REMOTE}"></object><embed src="{REMOTE}">',
    "style import": f"<style>@import '{REMOTE}'; body {{ display: none }}</style>",
    "style url": f'<p style="background:url({REMOTE});color:red">text</p>',
    "style over everything": '<p style="position:fixed;inset:0">covered</p>',
    "meta refresh": f'<meta http-equiv="refresh" content="0;url={REMOTE}">',
    "base": f'<base href="{REMOTE}">',
    "link stylesheet": f'<link rel="stylesheet" href="{REMOTE}">',
    "form": f'<form action="{REMOTE}"><input autofocus onfocus="{OWN}"></form>',
    "details ontoggle": f'<details open ontoggle="{OWN}">x</details>',
    "video": f'<video src="{REMOTE}" onerror="{OWN}" autoplay></video>',
    "math": f'<math><mtext><table><mglyph><style><img src=x onerror="{OWN}">',
    "math href": f'<math href="javascript:{OWN}"><mi>x</mi></math>',
    "noscript": f'<noscript><p title="</noscript><img src=x onerror={OWN}>">',
    "template": f"<template><script>{OWN}</script></template>",
    "our ids": '<h2 id="claims">x</h2><a name="cell-1"></a>',
}
OTHER = {
    "markdown": ("text/markdown", f'<img src=x onerror="{OWN}"> [x](javascript:{OWN})'),
    "mermaid": ("text/vnd.mermaid", f'graph TD; A["<img src=x onerror={OWN}>"]'),
    "javascript": ("application/javascript", OWN),
    "latex": ("text/latex", f"$\\text{{<img src=x onerror={OWN}>}}$"),
    "svg image": ("image/svg+xml", f"<svg xmlns='http://www.w3.org/2000/svg' onload='{OWN}'/>"),
    "png that is markup": ("image/png", f'"><script>{OWN}</script>'),
    "plain": ("text/plain", f"<script>{OWN}</script>"),
    "JSON": ("application/json", {"<script>": OWN}),
    "a kind of markup": (f"<script>{OWN}</script>", "x"),
}
SECTION = re.compile(r'<section id="cell-(\d+)".*?</section>', re.DOTALL)


def display(mime, content):
    return {"output_type": "display_data", "metadata": {}, "data": {mime: content}}


def attacks():
    """One notebook with every vector: in Markdown, in an output, in an error, in code."""
    cells = []

    def add(kind, source, *outputs):
        cells.append(Cell(len(cells) + 1, kind, None, source, count=1, outputs=list(outputs)))

    for vector in HTML.values():
        add("markdown", vector)
        add("code", "x", display("text/html", vector))
        add("code", vector, {"output_type": "stream", "name": "stdout", "text": vector})
        failed = {"output_type": "error", "ename": vector, "evalue": vector, "traceback": [vector]}
        add("code", "x", failed)
        add("raw", vector)
    for mime, content in OTHER.values():
        add("code", "x", display(mime, content))
    add("markdown", "the last cell is there")
    return Notebook(None, cells, [])


class Reader(html.parser.HTMLParser):
    """Collect the tags, attributes and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.ids = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]


FRAME = {"html", "head", "body", "meta", "title", "style", "main", "section"}


def test_only_what_is_allowed_is_left():
    text = offline_html.page(attacks(), "<b>title</b>")
    read = Reader(text)
    assert read.tags <= offline_html.TAGS | FRAME
    for tag, name, value in read.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in ("srcdoc", "srcset", "action", "formaction", "background"), (tag, name)
        if name == "href":
            assert re.match(r"#|https?://|mailto:|[\w-]+\.html", value), value
        if name == "src":
            assert value.startswith("data:image/")
        if name == "style":
            assert "url" not in value
            assert "position" not in value
    assert text.count("<style>") == 1
    assert text.count("<meta") == 4


def test_every_cell_is_there_and_no_vector_swallows_the_next():
    notebook = attacks()
    sections = SECTION.findall(offline_html.page(notebook, "title"))
    assert sections == [str(cell.number) for cell in notebook.cells]
    assert "the last cell is there" in offline_html.page(notebook, "title")


def test_the_policy_allows_no_script_on_a_page_of_a_notebook():
    text = offline_html.page(attacks(), "title")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert text.index("Content-Security-Policy") < text.index("<style>")


def rendered(*cells):
    numbered = [Cell(i, *cell[:1], None, *cell[1:]) for i, cell in enumerate(cells, 1)]
    return offline_html.page(Notebook(None, numbered, []), "title")


def test_a_bad_formula_costs_that_formula():
    text = rendered(("markdown", "before $a^2$ and $x^2^2$ after"), ("markdown", "the next"))
    assert "<math" in text
    assert '<code class="problem" title="not a formula">x^2^2</code>' in text
    assert "after" in text
    assert "the next" in text


def test_a_cell_that_cannot_be_rendered_costs_that_cell(monkeypatch):
    def broken(source):
        raise RecursionError("too deep")

    monkeypatch.setattr(offline_html, "markdown", broken)
    text = rendered(("markdown", "one"), ("code", "x = 1"))
    assert "this text cannot be shown: RecursionError: too deep" in text
    assert 'id="cell-2"' in text


def test_a_widget_without_state_is_named():
    cell = Cell(1, "code", None, "w", outputs=[display("application/vnd.jupyter.widget-view", {})])
    shown = offline_html.cell_html(cell)
    assert "An output that this page does not show: application/vnd.jupyter.widget-view" in shown


def test_nine_megabytes_in_one_output_take_no_time():
    huge = "<table>" + "<tr><td>1</td></tr>" * 500_000 + "</table>"
    cell = Cell(1, "code", None, "x", outputs=[display("text/html", huge)])
    start = time.perf_counter()
    assert "An output of 9.5 MB is left out (text/html)" in offline_html.cell_html(cell)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("vector", ["<div>" * 100_000, "<b><i>" * 400])
def test_tags_deep_inside_one_another_cost_that_output(vector):
    cell = Cell(1, "code", None, "x", outputs=[display("text/html", vector)])
    start = time.perf_counter()
    assert "tags inside one another" in offline_html.cell_html(cell)
    assert time.perf_counter() - start < 5
    nested = "<div>" * 400 + "deep" + "</div>" * 400 + "<p>" * 10_000 + "<br>" * 10_000
    assert "deep" in offline_html.clean(nested)


def test_a_page_that_takes_too_long_is_shown_as_it_is_written(monkeypatch):
    monkeypatch.setattr(offline_html, "LONGEST", -1)
    text = rendered(("markdown", "# one <b>"), ("code", "x = 1"))
    start = '<section id="cell-1" class="markdown" role="group" aria-label="cell 1">'
    assert f"{start}<pre># one &lt;b&gt;</pre>" in text
    assert "<pre>x = 1</pre>" in text


def test_an_attached_image_is_embedded():
    cell = Cell(1, "markdown", None, "![a](attachment:a.png)")
    cell.attachments = {"a.png": {"image/png": "iVBORw0KGgo="}}
    assert 'src="data:image/png;base64,iVBORw0KGgo="' in offline_html.cell_html(cell)


def test_a_remote_image_leaves_its_words():
    text = offline_html.markdown(
        "[![Open in Colab](https://x.invalid/badge.svg)](https://y.invalid)"
    )
    assert ">Open in Colab</a>" in text
    hostile = offline_html.clean(f'<img alt="<script>{OWN}</script>" src="http://x.invalid">')
    assert Reader(hostile).tags == set()
    hostile = offline_html.clean('<img alt="a>b" title=\'<script src="x">\'>')
    assert "script" not in Reader(hostile).tags


def test_links_inside_and_to_other_notebooks_lead_somewhere():
    text = offline_html.markdown("## Recap\n\n[up](#Recap) and [next](q6_batch_norm.ipynb)")
    assert '<h2 id="n-Recap">' in text
    assert 'href="#n-Recap"' in text
    assert 'href="q6_batch_norm.html"' in text


def test_colours_of_a_traceback_are_kept():
    failed = {
        "output_type": "error",
        "ename": "E",
        "evalue": "v",
        "traceback": ["\x1b[31mred\x1b[0m"],
    }
    shown = offline_html.cell_html(Cell(1, "code", None, "x", outputs=[failed]))
    assert "red" in shown
    assert "ansi-red" in shown
    assert "\x1b" not in shown


# --- the index ------------------------------------------------------------------------------


def indexed(paths_and_notebooks, out):
    report = pages.Pages(out)
    for found, notebook in paths_and_notebooks:
        report.add(found, notebook)
    return report.finish()


def test_a_screen_reader_finds_its_way(save, book, references, tmp_path):
    broken = save(book, "b/broken.ipynb")
    broken.write_text("{", encoding="utf-8")
    index = indexed(grade_all([save(book), broken], references), tmp_path / "out")
    for page in index.parent.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert '<html lang="en">' in text
        assert text.count("<main>") == 1
        levels = [int(level) for level in re.findall(r"<h(\d)", text)]
        assert levels[0] == 1, page
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), page
        assert not re.search(r"<img(?![^>]* alt=)", text)
    text = index.read_text(encoding="utf-8")
    for name in ("question", "verdict"):
        assert f'<label>{name} <select name="{name}">' in text
    assert "<output aria-live='polite'>" in text
    assert text.count("<th>") == 0  # every heading says whether it is a row's or a column's
    for region in re.findall(r'<div class="wide"[^>]*>', text):
        assert 'tabindex="0" role="region" aria-label=' in region


def test_two_drives_share_no_folder():
    drives = [PureWindowsPath(r"C:\a\q5.ipynb"), PureWindowsPath(r"D:\b\q5.ipynb")]
    assert pages._shared(drives) is None
    assert label(drives[0], None) == r"C:\a\q5.ipynb"
    course = [PureWindowsPath(rf"C:\Course\{name}\q5.ipynb") for name in ("Ann", "BOB")]
    assert label(course[1], pages._shared(course)) == r"BOB\q5.ipynb"
    assert pages._shared([]) is None


@pytest.mark.parametrize("stem", ["con", "NUL", "Com1", "lpt9"])
def test_no_page_has_a_name_that_windows_keeps_for_itself(stem):
    path = PureWindowsPath(rf"C:\Ann\{stem}.ipynb")
    assert pages._page_name(path, {}) == f"Ann-{stem}.html"
    assert pages._page_name(path.with_stem(f"{stem}x"), {}) == f"{stem}x.html"


# --- in a browser ----------------------------------------------------------------------------

browser = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")


def opened(path, tmp_path, query="", what="--dump-dom"):
    """Open a page; return its document after scripts ran and the addresses it asked for."""
    log = tmp_path / f"net{time.monotonic_ns()}.json"
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--no-first-run",
        f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}",
        "--virtual-time-budget=4000", what, f"{path.as_uri()}{query}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    asked = set(re.findall(r"https?://[^\"\\ ]*attacker[^\"\\ ]*", log.read_text(errors="replace")))
    return done.stdout, asked


@browser
def test_the_browser_sees_an_attack_that_is_let_through(tmp_path):
    """Show that the two tests below can fail."""
    path = tmp_path / "bare.html"
    path.write_text(f"<html><body>{HTML['img onerror']}{HTML['img remote']}</body></html>")
    text, asked = opened(path, tmp_path)
    assert 'data-owned="yes"' in text
    assert asked


@browser
def test_no_attack_runs_or_asks_for_anything(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(offline_html.page(attacks(), "title"), encoding="utf-8")
    text, asked = opened(path, tmp_path)
    assert "the last cell is there" in text
    assert "data-owned" not in text
    assert asked == set()


@browser
def test_the_policy_alone_holds_what_the_list_would_let_through(tmp_path):
    path = tmp_path / "page.html"
    # an unclosed comment or text would hide the rest of the page from this test
    bare = "".join(v for name, v in HTML.items() if "unclosed" not in name)
    bare = bare.replace(HTML["meta refresh"], "")  # no policy forbids a page to lead elsewhere
    path.write_text(offline_html.document("title", bare), encoding="utf-8")
    text, _ = opened(path, tmp_path)
    assert "data-owned" not in text.replace(OWN, "")
    assert "<html" in text


@browser
def test_the_filter_works_and_links_land(save, book, references, tmp_path):
    index = indexed(grade_all([save(book)], references), tmp_path / "out")
    text, _ = opened(index, tmp_path)
    assert "7 of 7 claims" in text
    text, _ = opened(index, tmp_path, "?question=q7&verdict=confirmed")
    assert "3 of 7 claims" in text
    hidden = re.findall(r'<tr data-question="q7" data-verdict="([\w ]+)" hidden', text)
    assert sorted(hidden) == ["added", "corrected", "exceeded", "not run"]
    for name, place in re.findall(r'href="([\w-]+\.html)#([\w-]+)"', text):
        assert f'id="{place}"' in (index.parent / name).read_text(encoding="utf-8")


KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), "ArrowDown": (40, "")}


class Keyboard:
    """A page in Chromium, which only keys reach, by the DevTools protocol over two pipes."""

    def __init__(self, path, tmp_path):
        command = [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-sync",
            "--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={tmp_path / 'keys'}",
            path.as_uri(),
        ]  # fmt: skip
        read, self.out = os.pipe()
        self.answers, write = os.pipe()
        # Chromium reads from its file 3 and writes to its file 4
        shell = ["bash", "-c", f'exec "$@" 3<&{read} 4>&{write}', "bash", *command]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(shell, pass_fds=(read, write), **quiet)
        os.close(read)
        os.close(write)
        self.number, self.session, self.rest = 0, {}, b""
        (page,) = [
            target
            for target in self.call("Target.getTargets")["targetInfos"]
            if target["type"] == "page"
        ]
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        self.wait("location.protocol == 'file:' && document.readyState == 'complete'")

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params} | self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            text, found, self.rest = self.rest.partition(b"\0")
            if not found:
                ready, _, _ = select.select([self.answers], [], [], 60)
                self.rest = text + (os.read(self.answers, 1 << 20) if ready else b"")
                assert self.rest != text, "Chromium does not answer"
            elif (answer := json.loads(text)).get("id") == self.number:
                return answer["result"]

    def ask(self, expression):
        return self.call("Runtime.evaluate", expression=expression)["result"].get("value")

    def wait(self, expression):
        start = time.monotonic()
        while not self.ask(expression):
            assert time.monotonic() - start < 30, expression
            time.sleep(0.05)

    def press(self, key):
        code, text = KEYS[key]
        known = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **known)
        self.call("Input.dispatchKeyEvent", type="keyUp", **known)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.out)
        os.close(self.answers)


@browser
def test_keys_alone_reach_the_filters_and_follow_a_claim(save, book, references, tmp_path):
    index = indexed(grade_all([save(book)], references), tmp_path / "out")
    keys = Keyboard(index, tmp_path)
    try:
        reached = {}
        for _ in range(20):
            keys.press("Tab")
            line = "getComputedStyle(document.activeElement)"
            assert keys.ask(f"{line}.outlineStyle") == "solid"
            assert keys.ask(f"parseFloat({line}.outlineWidth)") >= 2
            at = keys.ask("document.activeElement.name || document.activeElement.textContent")
            reached[at] = True
            if at == "verdict":
                keys.press("ArrowDown")
                keys.wait("document.querySelector('output').textContent == '3 of 7 claims'")
            if at == "7-c":
                break
        # the table itself stands between them, and what the filter hides is not reached
        question, verdict, _, first, second = [*reached][-5:]
        assert (question, verdict, first, second) == ("question", "verdict", "7-a", "7-c")
        place = keys.ask("document.activeElement.getAttribute('href')")
        keys.press("Enter")
        keys.wait(f"location.href.endsWith({json.dumps(place)})")
        keys.wait("document.querySelector(':target').getBoundingClientRect().top < innerHeight")
    finally:
        keys.close()


@browser
def test_paper_has_every_claim_whatever_the_filter_shows(save, book, references, tmp_path):
    many = [save(book, f"student{number}/q7.ipynb") for number in range(20)]
    index = indexed(grade_all(many, references), tmp_path / "out")
    sheets = []
    for query in ("", "?verdict=failed"):
        path = tmp_path / f"print{len(sheets)}.pdf"
        opened(index, tmp_path, query, f"--print-to-pdf={path}")
        sheets.append(len(re.findall(rb"/Type\s*/Page\b", path.read_bytes())))
    assert sheets[0] == sheets[1] > 5
