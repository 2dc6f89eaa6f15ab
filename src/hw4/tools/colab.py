"""The first cell of every notebook, and what it runs on Colab.

As a script, `python colab.py q5` installs what a Colab machine lacks for one notebook; it needs
only the standard library.
"""

import ast
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# The address before `make publish` has written a real one.
UNPUBLISHED = "https://github.com/hw4-homework/hw4"
# Colab builds these for its own GPUs; another version of one of them would break the machine.
NEVER_INSTALLED = ("tensorflow", "keras", "numpy", "jax", "torch")
HELD = (*NEVER_INSTALLED, "opencv-python", "opencv-python-headless", "scipy", "pandas")
# Reached by an option alone: worker processes, Excel files.
ON_DEMAND = {"dask", "distributed", "openpyxl"}
# What they are called on PyPI, and what Keras Tuner imports without declaring it.
DISTRIBUTIONS = {"cv2": "opencv-python", "sklearn": "scikit-learn"}
UNDECLARED = {"keras_tuner": ("tensorboard", "six", "scipy", "sklearn")}

BOOTSTRAP = """\
# On Colab this fetches the package once and installs what is missing. Elsewhere it does nothing.
import os
import subprocess
import sys

if "google.colab" in sys.modules:
    url = "{url}"
    own, home = os.environ.get("HW4_REPOSITORY"), "/content/hw4"
    hint = "Set os.environ['HW4_REPOSITORY'] to its address, or upload it as /content/hw4."
    clone = ["git", "clone", "-q", "--depth=1", *([own] if own else ["--branch={tag}", url]), home]
    install = [sys.executable, f"{{home}}/src/hw4/tools/colab.py", "{question}"]
    here = os.path.exists(install[1])
    if not (here or own or url):
        raise RuntimeError(f"hw4 must come from its repository, which is not published. {{hint}}")
    for command in [install] if here else [clone, install]:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"hw4 was not set up: {{' '.join(done.stderr.split())}} {{hint}}")
    sys.path.insert(0, f"{{home}}/src")"""


def address() -> tuple[str, str]:
    """Return the repository's address and the tag or branch that is published, of pyproject.toml.

    Raises:
        ValueError: the address is not one of GitHub, where Colab and Binder look.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    url, tag = project["project"]["urls"]["Repository"], project["tool"]["hw4"]["tag"]
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", url):
        raise ValueError(
            f"Repository in pyproject.toml must be https://github.com/OWNER/NAME; got {url!r}. "
            "Write it with `make publish REPO=OWNER/NAME`."
        )
    return url, tag


def bootstrap_cell(question: str) -> str:
    """Return the source of the first code cell of a notebook.

    Args:
        question: `q1` to `q7`.
    """
    url, tag = address()
    return BOOTSTRAP.format(url="" if url == UNPUBLISHED else url, tag=tag, question=question)


def needed(question: str) -> set[str]:
    """List what a notebook imports, itself and through modules of ours, by distribution name.

    Args:
        question: `q1` to `q7`.
    """
    (notebook,) = (ROOT / "notebooks").glob(f"{question}_*.ipynb")
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    found, seen, queue = set(), set(), list(_imported("\n".join(code)))
    while queue:
        name = queue.pop()
        if name.split(".")[0] != "hw4":
            found.add(name.split(".")[0])
            queue += [more for more in UNDECLARED.get(name, ()) if more not in found]
        for path in _files(name) - seen:
            seen.add(path)
            queue += _imported(path.read_text(encoding="utf-8"))
    found -= sys.stdlib_module_names | ON_DEMAND
    return {normal(DISTRIBUTIONS.get(name, name)) for name in found}


def _imported(source: str) -> set[str]:
    """List the dotted names of modules that a source imports, and of what it takes from them."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _files(name: str) -> set[Path]:
    """List the files of ours that importing a dotted name executes."""
    parts = name.split(".")
    places = [ROOT.joinpath("src", *parts[:length]) for length in range(1, len(parts) + 1)]
    files = {file for place in places for file in (place / "__init__.py", place.with_suffix(".py"))}
    return {file for file in files if parts[0] == "hw4" and file.is_file()}


def normal(name: str) -> str:
    """Return a distribution's name as PyPI compares it: keras_tuner is keras-tuner."""
    return re.sub("[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, str]:
    """Read the exact pins of a requirements file.

    >>> pins("# a comment\\nkeras==3.15.1\\n")
    {'keras': '3.15.1'}
    """
    return dict(re.findall(r"(?m)^([A-Za-z0-9._-]+)==(\S+)", text))


def missing(wanted: set[str], requirements: str, installed: set[str]) -> list[str]:
    """List the pins of what is wanted and not installed in any version.

    Args:
        wanted: names of distributions.
        requirements: text with a pin a line; what has no pin comes with something that has.
        installed: names of distributions; headless OpenCV is OpenCV.

    >>> missing({"keras", "six", "tqdm"}, "keras==3.15.1\\nsix==1.17.0\\ntqdm==4.70.1", {"Six"})
    ['tqdm==4.70.1']
    """
    there = {normal(name).removesuffix("-headless") for name in installed}
    skipped = there | set(NEVER_INSTALLED)
    return [
        f"{n}=={v}"
        for n, v in pins(requirements).items()
        if normal(n) in wanted and normal(n) not in skipped
    ]


def main(question: str) -> None:
    """Install the missing pins, holding every package of HELD at its present version.

    Args:
        question: `q1` to `q7`.
    """
    installed = {
        normal(each.metadata["Name"] or ""): each.version for each in metadata.distributions()
    }
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    wanted = missing(needed(question), requirements, set(installed))
    if not wanted:
        return
    held = [f"{name}=={installed[name]}" for name in HELD if name in installed]
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(held), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "-q", "-c", str(constraints), *wanted]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"pip could not install {' '.join(wanted)}: {done.stderr.strip()}")


if __name__ == "__main__":
    main(sys.argv[1])
