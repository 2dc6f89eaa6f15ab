"""The bootstrap cell: silent elsewhere, and on Colab it never touches the big three."""

import ast

from hw4.runtime import ROOT
from hw4.tools import colab


def test_cell_is_python_and_does_nothing_here(capsys):
    source = colab.bootstrap_cell()
    ast.parse(source)
    exec(source, {})
    assert capsys.readouterr().out == ""
    assert "{" not in source.replace('f"{home}', "")


def test_missing_pins_of_a_machine_that_has_keras_only():
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    wanted = colab.missing(requirements, {"tensorflow", "keras", "numpy", "pandas"})
    names = {pin.split("==")[0] for pin in wanted}
    assert {"keras-tuner", "tensorboard", "tqdm"} <= names
    assert names.isdisjoint({"tensorflow", "keras", "numpy", "pandas", "pytest"})
    assert all("==" in pin for pin in wanted)


def test_nothing_is_missing_here(monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError(f"nothing to install, but called with {args}")

    monkeypatch.setattr(colab.subprocess, "run", forbidden)
    colab.main()
