"""The committed notebooks: executed in order, clean, readable, and complete in their claims."""

import configparser
import importlib.util
import re
import shutil
import statistics
import subprocess
import sys

import nbformat
import pytest

from hw4.claims import MIME, VERDICTS, Claims
from hw4.runtime import NOTEBOOKS
from hw4.tools import colab, execute
from hw4.tools.grade import References, grade_all

PATHS = execute.find()
pytestmark = pytest.mark.skipif(not PATHS, reason="no notebooks")


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_every_notebook_has_its_place_in_the_order():
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == {path.stem for path in PATHS}


def test_claims_and_execution_are_in_order(path):
    ((found, _),) = grade_all([path], References(NOTEBOOKS))
    assert found.problems == []
    assert found.claims


def test_each_id_is_claimed_in_one_notebook():
    grades = [found for found, _ in grade_all(PATHS, References(NOTEBOOKS))]
    ids = [claim["id"] for found in grades for claim in found.claims]
    assert sorted({id_ for id_ in ids if ids.count(id_) > 1}) == []


def test_outputs_are_clean(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|Users|tmp|work)/\w", text)
    assert '"execution": {' not in text


def test_bootstrap_is_the_first_code_cell(path):
    assert code_cells(path)[0].source == colab.bootstrap_cell(path.stem[:2])


def test_cells_are_short(path):
    lengths = [
        len([line for line in cell.source.splitlines() if line.strip()])
        for cell in code_cells(path)
        if "bootstrap" not in cell.metadata.get("tags", [])
    ]
    assert max(lengths) <= 18
    assert 2 <= statistics.median(lengths) <= 8


def test_every_ignored_cell_says_why_and_they_are_few(path):
    cells = [cell for cell in code_cells(path) if cell.outputs]
    ignored = [c for c in cells if "nbval-ignore-output" in c.metadata.get("tags", [])]
    assert len(ignored) * 10 <= len(cells)
    assert all(cell.source.lstrip().startswith("#") for cell in ignored)


def test_no_cell_ends_with_a_semicolon_or_installs(path):
    for cell in code_cells(path):
        assert not cell.source.rstrip().endswith(";")
        assert "pip install" not in cell.source


def sanitize(text):
    config = configparser.RawConfigParser()
    config.read(NOTEBOOKS / "nbval_sanitize.cfg", encoding="utf-8")
    for section in config.sections():
        text = re.sub(config[section]["regex"], config[section]["replace"], text)
    return text


@pytest.mark.parametrize(
    ("stored", "fresh", "same"),
    [
        ("accuracy ⟨0.9953⟩, margin ⟨+0.0018⟩", "accuracy ⟨0.9948⟩, margin ⟨-0.1⟩", True),
        ("rows |   ⟨9.1 s⟩ |", "rows | ⟨12.4 s⟩ |", True),
        ("<td>⟨1⟩</td>", "<td>⟨2⟩</td>", True),
        ("verdict confirmed ⟨1⟩", "verdict failed ⟨1⟩", False),
        ("accuracy 0.9953", "accuracy 0.9948", False),
        ("⟨1⟩ and 5 and ⟨2⟩", "⟨1⟩ and 6 and ⟨2⟩", False),
        ("⟨1⟩\nfirst", "⟨1⟩\nsecond", False),
    ],
)
def test_sanitizer_masks_measured_numbers_and_nothing_else(stored, fresh, same):
    assert (sanitize(stored) == sanitize(fresh)) is same


def test_sanitizer_patterns_are_distinct():
    config = configparser.RawConfigParser()
    config.read(NOTEBOOKS / "nbval_sanitize.cfg", encoding="utf-8")
    patterns = [config[section]["regex"] for section in config.sections()]
    assert len(patterns) == len(set(patterns)) > 0


def test_an_optional_claim_compares_equal_whether_it_ran_or_not():
    ran, failed, missing = (Claims("q2", optional=["2-c"]) for _ in range(3))
    ran.at_least("2-c", "beats it", reported="no", measured=0.3, mark=0.0, unit="points", note="n")
    failed.at_least("2-c", "beats it", reported="no", measured=-0.3, mark=0.0)
    missing.not_run("2-c", "beats it", reported="no", reason="no weights")
    for kind in ("text/html", "text/plain"):
        shown = [claims._repr_mimebundle_()[kind] for claims in (ran, failed, missing)]
        assert len(set(map(sanitize, shown))) == 1
        assert "not run: no weights" in shown[2]
    assert sanitize(shown[0]) == "2-c⟨measured⟩"


@pytest.fixture
def comparable():
    spec = importlib.util.spec_from_file_location("nbval_rules", NOTEBOOKS / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.comparable


def claims_document(optional=(), **changes):
    claims = Claims("q5", {"device": "CPU", "seed": 7, "data": "none"}, optional)
    claims.equal("5.1-a", "exact", reported=7, measured=changes.get("exact", 7))
    claims.at_least("5.1-b", "near ⟨1⟩", reported=0.9, measured=changes.get("near", 0.95))
    claims.at_most("5.1-c", "mark", reported="low", measured=0, mark=changes.get("mark", 0.1))
    document = claims.document()
    return document | {key: changes[key] for key in changes.keys() & document.keys()}


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"near": 0.97}, True),  # exceeds as before
        ({"device": "GPU", "versions": {"keras": "4"}}, True),
        ({"mark": 0.1 + 1e-9}, True),
        ({"near": 0.5}, False),  # fails
        ({"exact": 8}, False),
        ({"mark": 0.2}, False),
        ({"seed": 8}, False),
        ({"data": "invented"}, False),
        ({"claims": []}, False),
    ],
)
def test_nbval_compares_claims_with_measured_numbers_masked(comparable, changes, same):
    assert (comparable(claims_document(**changes)) == comparable(claims_document())) is same


def test_nbval_compares_optional_claims_by_their_ids(comparable):
    first = comparable(claims_document(optional=["5.1-a"]))
    assert comparable(claims_document(optional=["5.1-a"], exact=8)) == first
    assert comparable(claims_document(optional=["5.1-a"], near=0.5)) != first


INVENTED = """
from IPython.display import display
display({{"{mime}": {document}, "text/plain": "claims"}}, raw=True)
"""


@pytest.mark.slow
def test_nbval_sees_an_invented_table(tmp_path):
    source = INVENTED.format(mime=MIME, document=claims_document())
    for name, stored in {"honest": {}, "invented": {"exact": 8}}.items():
        data = {MIME: claims_document(**stored), "text/plain": "claims"}
        output = nbformat.v4.new_output("display_data", data=data)
        cell = nbformat.v4.new_code_cell(source, execution_count=1, outputs=[output])
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / f"{name}.ipynb")
    shutil.copy(NOTEBOOKS / "conftest.py", tmp_path)
    command = [sys.executable, "-m", "pytest", "-p", "hw4.tools", "--nbval", "-rpf"]
    done = subprocess.run([*command, tmp_path], capture_output=True, text=True, cwd=tmp_path)
    said = re.findall(r"(PASSED|FAILED) (\w+)\.ipynb", done.stdout)
    assert sorted(said) == [("FAILED", "invented"), ("PASSED", "honest")], done.stdout


@pytest.fixture(params=["q3", "q4", "q5"])
def cells(request):
    (path,) = NOTEBOOKS.glob(f"{request.param}_*.ipynb")
    return nbformat.read(path, as_version=4).cells


def test_first_screen_counts_the_verdicts_as_the_table_does(cells):
    (line,) = re.findall(r"\*\*Verdicts\.\*\* ([^;]*);", cells[0].source)
    said = {verdict: int(count) for count, verdict in re.findall(r"(\d+) ([a-z ]+)", line)}
    bundles = [
        o.data[MIME] for c in cells for o in c.get("outputs", ()) if MIME in o.get("data", {})
    ]
    verdicts = [claim["verdict"] for claim in bundles[-1]["claims"]]
    assert said == {v: verdicts.count(v) for v in VERDICTS if v in verdicts}


def test_links_of_the_contents_land_on_headings(cells):
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    headings = re.findall(r"(?m)^##+ (.*)$", text)
    anchors = {heading.replace(" ", "-").replace('"', "%22") for heading in headings}
    links = re.findall(r"\]\(#([^)]*)\)", text)
    assert len(links) >= 9
    assert set(links) <= anchors
