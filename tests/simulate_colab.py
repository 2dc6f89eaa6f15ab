"""Run notebooks as Colab would: its versions, its module, the clone redirected to this checkout.

`python tests/simulate_colab.py q5 q6`, in an environment made from tests/colab_requirements.txt
without this package. What is committed is what is cloned. Exits with 1 if a notebook fails or
draws other verdicts than the committed one.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
CLAIMS = "application/vnd.hw4.claims+json"
COLAB = """\
import os, sys, types
sys.modules["google.colab"] = types.ModuleType("google.colab")
os.environ["HW4_REPOSITORY"] = {address!r}
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")"""


def verdicts(notebook) -> dict[str, str]:
    """Return the verdict of each claim that a notebook shows."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    shown = [o.data[CLAIMS] for o in outputs if CLAIMS in o.get("data", {})]
    return {claim["id"]: claim["verdict"] for document in shown for claim in document["claims"]}


def simulate(question: str, content: Path) -> list[str]:
    """Execute one notebook with `content` in the place of Colab's /content; list what differs."""
    (path,) = (ROOT / "notebooks").glob(f"{question}_*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    wanted = verdicts(notebook)
    (first,) = (c for c in notebook.cells if "bootstrap" in c.metadata.get("tags", ()))
    first.source = first.source.replace("/content/hw4", f"{content.as_posix()}/hw4")
    notebook.cells.insert(0, nbformat.v4.new_code_cell(COLAB.format(address=ROOT.as_uri())))
    client = NotebookClient(
        notebook,
        timeout=3600,
        kernel_name="python3",
        resources={"metadata": {"path": str(content)}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        return [str(error)]
    found = verdicts(notebook)
    return [
        f"{id}: {wanted.get(id, 'missing')} committed, {found.get(id, 'missing')} here"
        for id in sorted(wanted.keys() | found.keys())
        if wanted.get(id) != found.get(id)
    ]


def main(questions: list[str]) -> int:
    """Simulate notebooks one after another in one /content, as a person opens them."""
    failed = 0
    with tempfile.TemporaryDirectory() as content:
        for question in questions:
            problems = simulate(question, Path(content))
            print(f"{question}: {'; '.join(problems) or 'same verdicts'}", flush=True)
            failed += bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
