"""The bootstrap cell: silent elsewhere, and on a simulated Colab it fetches and adds, no more."""

import ast
import subprocess
import sys
import types
from pathlib import Path

import pytest

from hw4.runtime import ROOT
from hw4.tools import colab

QUESTIONS = [f"q{number}" for number in range(1, 8)]
REQUIREMENTS = (ROOT / "requirements.txt").read_text(encoding="utf-8")
# What Colab has of ours, by the names that its distributions give themselves.
COLAB = {
    *("tensorflow", "keras", "numpy", "pandas", "matplotlib", "scikit-learn", "scipy", "six"),
    *("opencv-python-headless", "ipython", "ipykernel", "nbformat", "nbconvert", "nbclient"),
    *("tqdm", "rich", "traitlets", "tensorboard", "openpyxl", "dask", "distributed"),
}


@pytest.fixture
def on_colab(monkeypatch, tmp_path):
    """A machine that looks like Colab, whose /content/hw4 is a folder of ours."""
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("HW4_REPOSITORY", raising=False)
    home = tmp_path / "content" / "hw4"
    home.parent.mkdir()

    def run(question="q5"):
        source = colab.bootstrap_cell(question).replace("/content/hw4", home.as_posix())
        exec(source, {})
        return home

    run.home = home
    return run


@pytest.fixture
def repository(tmp_path):
    """A repository whose colab.py writes down how it was called."""
    folder = tmp_path / "published"
    script = folder / "src/hw4/tools/colab.py"
    script.parent.mkdir(parents=True)
    script.write_text("import sys\nopen(__file__ + '.calls', 'a').write(sys.argv[1] + '\\n')")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=a", "-c", "user.email=b@c", "commit", "-q", "-m", "first")
    git(folder, "tag", "v0.1.0")
    return folder


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), *arguments], check=True)


def calls(home):
    return (home / "src/hw4/tools/colab.py.calls").read_text().split()


def published(monkeypatch, url, tag="v0.1.0"):
    monkeypatch.setattr(colab, "address", lambda: (url, tag))


@pytest.mark.parametrize("question", QUESTIONS)
def test_cell_is_python_and_does_nothing_here(question, capfd):
    source = colab.bootstrap_cell(question)
    ast.parse(source)
    exec(source, {})
    assert capfd.readouterr() == ("", "")
    assert max(map(len, source.splitlines())) <= 100


def test_an_unpublished_copy_says_in_one_line_what_to_do(on_colab, monkeypatch):
    published(monkeypatch, colab.UNPUBLISHED)
    with pytest.raises(RuntimeError, match="not published.*HW4_REPOSITORY.*upload it") as caught:
        on_colab()
    assert "\n" not in str(caught.value)


def test_the_published_address_is_cloned_at_its_tag(on_colab, repository, monkeypatch, capfd):
    published(monkeypatch, repository.as_uri())
    home = on_colab("q7")
    assert calls(home) == ["q7"]
    assert sys.path[0] == f"{home.as_posix()}/src"
    assert capfd.readouterr() == ("", "")
    published(monkeypatch, repository.as_uri(), tag="v9")
    # a clone that is there is used, quietly, whatever its tag
    assert calls(on_colab("q5")) == ["q7", "q5"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("url", ["unpublished", "https://github.com/owner/name"])
def test_an_address_of_ones_own_comes_first(on_colab, repository, monkeypatch, url):
    published(monkeypatch, colab.UNPUBLISHED if url == "unpublished" else url)
    monkeypatch.setenv("HW4_REPOSITORY", repository.as_uri())
    assert calls(on_colab()) == ["q5"]


@pytest.mark.parametrize("tag", ["v0.1.0", "v9"])
def test_a_clone_that_fails_is_an_error_of_its_own(on_colab, repository, monkeypatch, tag):
    url = repository.as_uri() + ("" if tag == "v9" else "-gone")
    published(monkeypatch, url, tag)
    with pytest.raises(RuntimeError, match="hw4 was not set up: .*HW4_REPOSITORY") as caught:
        on_colab()
    assert ("v9" if tag == "v9" else "gone") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not on_colab.home.exists()


def test_an_installation_that_fails_is_an_error_of_its_own(on_colab, repository, monkeypatch):
    script = repository / "src/hw4/tools/colab.py"
    script.write_text("import sys; sys.exit('pip could not install tqdm==4.70.1: no network')")
    git(repository, "-c", "user.name=a", "-c", "user.email=b@c", "commit", "-qam", "second")
    monkeypatch.setenv("HW4_REPOSITORY", repository.as_uri())
    with pytest.raises(RuntimeError, match="not set up: pip could not install tqdm==4.70.1: no"):
        on_colab()


def test_what_each_notebook_needs_and_no_more():
    needed = {question: colab.needed(question) for question in QUESTIONS}
    assert {"keras-tuner", "tensorboard", "six", "scikit-learn", "scipy"} <= needed["q1"]
    assert "keras-tuner" not in set().union(*(needed[q] for q in QUESTIONS[1:]))
    for names in needed.values():
        assert {"keras", "numpy", "matplotlib"} <= names
        for never in ("nbconvert", "latex2mathml", "openpyxl", "dask", "distributed", "jupyter"):
            assert never not in names


@pytest.mark.parametrize("question", QUESTIONS)
def test_everything_needed_is_pinned_or_comes_with_what_is(question):
    comes_along = {"jax", "torch"} | {"cycler", "ipywidgets"}  # with Matplotlib, with Jupyter
    pinned = {colab.normal(line.split("==")[0]) for line in REQUIREMENTS.splitlines()}
    assert colab.needed(question) - comes_along <= pinned


def test_on_colab_only_the_tuner_is_added():
    added = {q: colab.missing(colab.needed(q), REQUIREMENTS, COLAB) for q in QUESTIONS}
    assert [pin.split("==")[0] for pin in added.pop("q1")] == ["keras-tuner"]
    assert set(map(tuple, added.values())) == {()}


@pytest.mark.parametrize("name", ["keras_tuner", "Keras.Tuner", "KERAS-TUNER"])
def test_spellings_of_one_name_are_one(name):
    assert colab.missing({"keras-tuner"}, "keras-tuner==1.4.8", {name}) == []


def test_frameworks_are_not_installed_even_where_they_are_missing():
    wanted = {"tensorflow", "keras", "numpy", "torch", "opencv-python"}
    pins = colab.missing(wanted, REQUIREMENTS + "\ntorch==2.13.0", set())
    assert [pin.split("==")[0] for pin in pins] == ["opencv-python"]
    assert colab.missing({"opencv-python"}, REQUIREMENTS, {"opencv-python-headless"}) == []


def test_nothing_is_missing_here(monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError(f"nothing to install, but called with {args}")

    monkeypatch.setattr(colab.subprocess, "run", forbidden)
    for question in ("q1", "q5"):  # the one that needs most, and one that needs little
        colab.main(question)


def test_what_is_missing_is_installed_beside_held_versions(monkeypatch):
    seen = {}

    def pip(command, **kwargs):
        seen["command"] = command
        seen["held"] = Path(command[command.index("-c") + 1]).read_text().split()
        return types.SimpleNamespace(returncode=1, stderr="no network\n")

    monkeypatch.setattr(colab, "missing", lambda *arguments: ["tqdm==4.70.1"])
    monkeypatch.setattr(colab.subprocess, "run", pip)
    with pytest.raises(SystemExit, match="pip could not install tqdm==4.70.1: no network"):
        colab.main("q5")
    assert seen["command"][-1] == "tqdm==4.70.1"
    names = [line.split("==")[0] for line in seen["held"]]
    assert {"tensorflow", "keras", "numpy", "scipy", "pandas"} <= set(names)
    assert "tqdm" not in names


@pytest.mark.parametrize(
    "url", ["", "owner/name", "https://gitlab.com/a/b", "https://github.com/a"]
)
def test_an_address_that_colab_cannot_open_is_refused(monkeypatch, tmp_path, url):
    (tmp_path / "pyproject.toml").write_text(
        f'[project.urls]\nRepository = "{url}"\n[tool.hw4]\ntag = "v1"\n'
    )
    monkeypatch.setattr(colab, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=f"must be https://github.com/OWNER/NAME; got '{url}'"):
        colab.address()
