"""A small executed notebook of question 7, and the folder of references that it makes."""

import copy
import json

import nbformat
import pytest

from hw4.claims import REQUIRED, Claims
from hw4.tools.grade import References

ENVIRONMENT = {
    "backend": "tensorflow",
    "device": "CPU (2 cores)",
    "seed": 7,
    "profile": "standard",
    "versions": {"keras": "3.15.1"},
    "data": "MNIST",
}


def small_claims():
    """Seven claims, of every kind: exact, marked, refuting, added and not run."""
    claims = Claims("q7", ENVIRONMENT)
    claims.equal("7-a", "shapes", reported=[28, 28], measured=[28, 28])
    claims.at_least("7-b", "accuracy", reported=0.9921, measured=0.9952, mark=0.9935)
    claims.equal("7-c", "map", reported=7, measured=7, note="as ⟨0.7⟩ shows")
    claims.corrected(
        "7-d", "correlation", reported=1, measured=0.5, expected=0.9, relation="at_most"
    )
    claims.equal("7-e", "blend", reported=0.5, measured=0.5001, tolerance=0.01)
    claims.added("7-f", "faithful", measured=0.15, mark=0)
    claims.not_run("7-g", "full scale", reported=0.9, reason="takes an hour")
    assert set(REQUIRED["q7"]) <= {claim["id"] for claim in claims.document()["claims"]}
    return claims


def code(number, source, *outputs, tags=(), text=None):
    outputs = list(outputs)
    if text:
        outputs.append(nbformat.v4.new_output("stream", name="stdout", text=text))
    cell = nbformat.v4.new_code_cell(
        source, id=f"c{number}", execution_count=number, outputs=outputs
    )
    if tags:
        cell.metadata["tags"] = list(tags)
    return cell


def small_book():
    """Return the notebook as plain JSON, so that a test can spoil anything in it."""
    bundle = copy.deepcopy(small_claims()._repr_mimebundle_())
    picture = {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"}
    cells = [
        nbformat.v4.new_markdown_cell(
            "# Maps\n\nA formula: $a^2$ and\n\n$$\\frac{1}{n}$$", id="m1"
        ),
        code(1, "import keras", tags=["bootstrap"]),
        code(2, "EPOCHS, BATCH = 6, 128\nclaims = make(range(3))"),
        code(3, "print(accuracy)", text="accuracy ⟨0.9952⟩ of 7 maps\n"),
        code(4, "show(maps)", nbformat.v4.new_output("display_data", data=picture)),
        code(5, 'claims.equal("7-a", "shapes", reported=[28, 28], measured=shape)'),
        code(6, "guess = None", tags=["yours"]),
        code(7, "total = 1 + 1", tags=["solution"]),
        code(8, "claims.show()", nbformat.v4.new_output("display_data", data=bundle)),
    ]
    return json.loads(json.dumps(nbformat.v4.new_notebook(cells=cells)))


@pytest.fixture
def book():
    return small_book()


@pytest.fixture
def save(tmp_path):
    def write(book, name="q7_grad_cam.ipynb"):
        path = tmp_path / "submitted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(book), encoding="utf-8")
        return path

    return write


@pytest.fixture
def folder(tmp_path):
    """The folder of the reference."""
    place = tmp_path / "reference"
    place.mkdir()
    (place / "q7_grad_cam.ipynb").write_text(json.dumps(small_book()), encoding="utf-8")
    return place


@pytest.fixture
def references(folder):
    return References(folder)
