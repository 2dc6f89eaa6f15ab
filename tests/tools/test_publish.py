"""One address: every copy agrees with pyproject.toml, and publishing changes all of them."""

import json
import shutil

import nbformat
import pytest

from hw4.runtime import ROOT
from hw4.tools import colab, publish

COPIES = ("README.md", "CITATION.cff", "pyproject.toml", "notebooks")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    for name in COPIES:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    monkeypatch.setattr(colab, "ROOT", tmp_path)
    return tmp_path


def texts(folder):
    return {
        path.relative_to(folder): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".md", ".cff", ".toml", ".ipynb")
    }


def test_every_copy_of_the_address_is_up_to_date(checkout):
    assert publish.stamp() == []


def test_publishing_rewrites_every_copy_and_nothing_else(checkout):
    before, (old_url, old_tag) = texts(checkout), colab.address()
    old = old_url.removeprefix("https://github.com/")
    changed = publish.publish("owner/na.me", "v2.0")
    after = texts(checkout)
    url, tag = colab.address()
    assert (url, tag) == ("https://github.com/owner/na.me", "v2.0")
    notebooks = sorted(checkout.glob("notebooks/q*.ipynb"))
    assert set(notebooks) <= set(changed)
    for name, text in after.items():
        assert old not in text, name
        # back again, everything is as it was: nothing but addresses had changed
    publish.publish(old, old_tag)
    assert texts(checkout) == before
    for path in notebooks:
        cells = nbformat.read(path, as_version=4).cells
        (first,) = (c for c in cells if "bootstrap" in c.metadata.get("tags", []))
        assert first.source == colab.bootstrap_cell(path.stem[:2])


def test_one_forgotten_copy_is_found(checkout):
    (path,) = checkout.glob("notebooks/q5*.ipynb")
    text, branch = path.read_text(encoding="utf-8"), f"--branch={colab.address()[1]}"
    assert branch in text
    path.write_text(text.replace(branch, "--branch=v0.0.9"), encoding="utf-8")
    assert publish.stamp() == [path]


def test_badges_of_all_kinds_are_stamped_and_foreign_links_are_not():
    text = (
        "[a](https://colab.research.google.com/github/x/y/blob/v0/notebooks/q1_k.ipynb) "
        "[b](https://mybinder.org/v2/gh/x/y/v0?urlpath=lab) "
        "![c](https://github.com/x/y/actions/workflows/test.yml/badge.svg) "
        "[d](https://github.com/keras-team/keras)\n"
        'repository-code: "https://github.com/x/y"'
    )
    assert publish.stamped(text, "o/n", "v1") == (
        "[a](https://colab.research.google.com/github/o/n/blob/v1/notebooks/q1_k.ipynb) "
        "[b](https://mybinder.org/v2/gh/o/n/v1?urlpath=lab) "
        "![c](https://github.com/o/n/actions/workflows/test.yml/badge.svg) "
        "[d](https://github.com/keras-team/keras)\n"
        'repository-code: "https://github.com/o/n"'
    )


@pytest.mark.parametrize(
    ("repository", "tag", "message"),
    [
        ("name", "", "REPO must be owner/name; got 'name'"),
        ("a/b/c", "", "REPO must be owner/name; got 'a/b/c'"),
        ("https://github.com/a/b", "", "REPO must be owner/name; got 'https://github.com/a/b'"),
        ("", "v1", "REPO must be owner/name; got ''"),
        ("a/b", "-x", "TAG must be a tag or branch; got '-x'"),
        ("a/b", "v 1", "TAG must be a tag or branch; got 'v 1'"),
    ],
)
def test_wrong_calls_change_nothing(checkout, capsys, repository, tag, message):
    before = texts(checkout)
    assert publish.main([repository, tag]) == 2
    assert message in capsys.readouterr().err
    assert texts(checkout) == before


def test_without_arguments_the_copies_are_brought_up_to_date(checkout, capsys):
    assert publish.main(["", ""]) == 0
    assert capsys.readouterr().out.endswith(": 0 files changed\n")


def test_a_notebook_of_another_layout_is_refused(checkout):
    (path,) = checkout.glob("notebooks/q6*.ipynb")
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    with pytest.raises(ValueError, match="notebook of q6 must be written as nbformat writes it"):
        publish.publish("owner/name")
