"""Make the two pictures of the README again: `.venv/bin/python .github/pictures.py`.

The report on the committed notebooks as Chromium shows it, and a figure of question 7's notebook as
it is committed.
"""

import base64
import io
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from hw4.runtime import NOTEBOOKS
from hw4.tools import cli

HERE = Path(__file__).parent
SIZE = (1200, 760)


def report() -> bytes:
    """Return the beginning of the report as a picture."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise SystemExit("chromium must be installed; got none. Install it: apt install chromium")
    with tempfile.TemporaryDirectory() as folder:
        cli.main(["report", "--html", f"{folder}/report"])
        command = [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={folder}/profile", f"--window-size={SIZE[0]},{SIZE[1]}",
            f"--screenshot={folder}/report.png", Path(folder, "report/index.html").as_uri(),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        return Path(folder, "report.png").read_bytes()


def figure(source: str) -> bytes:
    """Return the first figure of the cell of question 7 whose source holds `source`."""
    (path,) = NOTEBOOKS.glob("q7_*.ipynb")
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if source in "".join(cell["source"]):
            for output in cell.get("outputs", ()):
                if picture := output.get("data", {}).get("image/png"):
                    return base64.b64decode(picture)
    raise SystemExit(f"source must be of a cell with a figure; got {source!r}. Name another.")


if __name__ == "__main__":
    # a palette is enough for flat colours, and a third of the size
    image = Image.open(io.BytesIO(report())).convert("RGB")
    image.quantize(128).save(HERE / "report.png", optimize=True)
    (HERE / "figure.png").write_bytes(figure("heatmaps.overlays("))
