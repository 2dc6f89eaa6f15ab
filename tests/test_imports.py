"""Who may import what: the layout of the package, held as a test."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hw4
from hw4.runtime import ROOT

SOURCES = sorted((ROOT / "src/hw4").rglob("*.py"))
STANDARD = sys.stdlib_module_names
LEAVES = {
    "claims": {"IPython"},
    "batch_norm": {"numpy"},
    "conv_shapes": set(),
    "grad_cam": {"keras", "numpy", "scipy", "cv2", "tensorflow", "torch", "jax"},
}
BACKEND_SWITCHES = {"runtime", "score_graph"}


def module_of(path: Path) -> str:
    """Name of the module or package of ours that a file belongs to."""
    return path.relative_to(ROOT / "src/hw4").parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Names that a file imports: ours as hw4.<module>, others by their top package."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "hw4":
            names |= {f"hw4.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    ours = {".".join(name.split(".")[:2]) for name in names if name.startswith("hw4.")}
    others = {name.split(".")[0] for name in names if not name.startswith("hw4")}
    return (ours | others) - {f"hw4.{module_of(path)}"}


GRAPH: dict[str, set[str]] = {}
for source in SOURCES:
    GRAPH.setdefault(module_of(source), set()).update(imported(source))


def closure(module: str) -> set[str]:
    """All that a module of ours imports, through our own modules."""
    seen, queue, outside = set(), [module], set()
    while queue:
        for found in GRAPH[queue.pop()]:
            name = found.removeprefix("hw4.")
            if name == found:
                outside.add(found)
            elif name not in seen:
                seen.add(name)
                queue.append(name)
    return outside - STANDARD


@pytest.mark.parametrize(("leaf", "allowed"), LEAVES.items())
def test_leaves_need_no_more_than_this(leaf, allowed):
    assert closure(leaf) <= allowed


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_matplotlib_only_in_plotting_and_backends_only_behind_a_switch(path):
    found = imported(path)
    if path.parent.name != "plotting":
        assert "matplotlib" not in found
    if path.stem not in BACKEND_SWITCHES:
        assert found.isdisjoint({"tensorflow", "torch", "jax"})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_environment_is_read_in_runtime_alone(path):
    # colab holds the text of a cell that runs before the package is there
    if path.stem not in ("runtime", "execute", "colab"):
        assert "os.environ" not in path.read_text(encoding="utf-8")


def test_imports_make_no_circle():
    ours = {
        name: {n.removeprefix("hw4.") for n in found if n.startswith("hw4.")}
        for name, found in GRAPH.items()
    }
    done: set[str] = set()
    while ready := {name for name, needs in ours.items() if needs <= done} - done:
        done |= ready
    assert set(ours) - done == set()


@pytest.mark.parametrize("module", ["hw4", "hw4.conv_shapes", "hw4.batch_norm", "hw4.claims"])
def test_light_modules_load_nothing_heavy(module):
    heavy = ["tensorflow", "keras", "matplotlib", "pandas", "cv2"]
    if module in ("hw4", "hw4.conv_shapes", "hw4.claims"):
        heavy.append("numpy")
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_house_has_sixteen_doors_and_the_map_names_them():
    doors = {path.stem for path in (ROOT / "src/hw4").iterdir() if path.name[0] not in "_."}
    assert len(doors) <= 16
    named = {door for door in doors if re.search(rf"`(hw4\.)?{door}`", hw4.__doc__)}
    assert named == doors
