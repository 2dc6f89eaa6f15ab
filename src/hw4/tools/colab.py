"""The first cell of every notebook, and what it runs on Colab.

As a script this file installs what a Colab machine lacks; it needs only the standard library.
"""

import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

# Colab builds these for its own GPUs; another version of one of them would break the machine.
NEVER_TOUCHED = ("tensorflow", "keras", "numpy", "jax", "torch")
# Checks and servers of a local installation, of no use inside a hosted notebook.
NOT_NEEDED = ("jupyter", "nbval", "pytest", "hypothesis", "ruff", "setuptools")

BOOTSTRAP = """\
# On Colab this fetches the package once. Elsewhere it does nothing.
import subprocess
import sys

if "google.colab" in sys.modules:
    url, tag, home = "{url}", "{tag}", "/content/hw4"
    subprocess.run(["git", "clone", "-q", "--depth=1", "--branch", tag, url, home])
    subprocess.run([sys.executable, f"{{home}}/src/hw4/tools/colab.py"], check=True)
    sys.path.insert(0, f"{{home}}/src")"""


def bootstrap_cell() -> str:
    """Return the source of the first code cell, with the address and version of pyproject.toml."""
    package = metadata.metadata("hw4")
    label, url = package["Project-URL"].split(", ")
    if label != "Repository":
        raise ValueError(f"the first project URL must be Repository; got {label!r}. See pyproject.")
    return BOOTSTRAP.format(url=url, tag=f"v{package['Version']}")


def missing(requirements: str, installed: set[str]) -> list[str]:
    """List the pins of `requirements` whose package is not installed in any version.

    >>> missing("keras==3.15.1\\nnbclient==0.11.0\\nsix==1.17.0", installed={"six"})
    ['nbclient==0.11.0']
    """
    lines = [line.strip() for line in requirements.splitlines()]
    pins = {line.split("==")[0]: line for line in lines if "==" in line and line[0] != "#"}
    skipped = {*installed, *NEVER_TOUCHED, *NOT_NEEDED}
    return [pin for name, pin in pins.items() if name not in skipped]


def main() -> None:
    """Install the missing pins, holding every package of NEVER_TOUCHED at its present version."""
    installed = {(d.metadata["Name"] or "").lower(): d.version for d in metadata.distributions()}
    root = Path(__file__).resolve().parents[3]
    wanted = missing((root / "requirements.txt").read_text(encoding="utf-8"), set(installed))
    if not wanted:
        return
    held = [f"{name}=={installed[name]}" for name in NEVER_TOUCHED if name in installed]
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(held), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "-q", "-c", str(constraints), *wanted]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
