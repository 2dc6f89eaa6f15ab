"""Set-up: interrupted installs, missing screen libraries and wrong Pythons, on a fake pip."""

import subprocess
import sys

import pytest

from hw4.runtime import ROOT

sys.path.insert(0, str(ROOT))
import setup_env


@pytest.fixture
def venv(tmp_path, monkeypatch):
    site = tmp_path / "lib/python3.11/site-packages"
    site.mkdir(parents=True)
    monkeypatch.setattr(setup_env, "VENV", tmp_path)
    monkeypatch.setattr(setup_env, "PYTHON", tmp_path / "bin/python")
    return tmp_path


def answer(returncode=0, stderr=""):
    return subprocess.CompletedProcess([], returncode, "", stderr)


def test_what_pip_left_unfinished_is_removed(venv, capsys):
    site = venv / "lib/python3.11/site-packages"
    for name in ("whole-1.0.dist-info", "half-2.0.dist-info", "~ld-1.0.dist-info"):
        (site / name).mkdir()
    (site / "whole-1.0.dist-info/RECORD").write_text("")
    setup_env.remove_half_installed()
    assert [path.name for path in site.iterdir()] == ["whole-1.0.dist-info"]
    assert "removing the unfinished half-2.0.dist-info" in capsys.readouterr().out


def test_headless_opencv_takes_the_place_of_the_other(venv, monkeypatch, capsys):
    answers = iter([answer(1, "ImportError: libGL.so.1: cannot open shared object file"), answer()])
    monkeypatch.setattr(setup_env, "quiet", lambda *command: next(answers))
    calls = []
    monkeypatch.setattr(setup_env, "pip", lambda *arguments: calls.append(arguments))
    setup_env.use_headless_opencv_if_needed()
    assert calls == [
        ("uninstall", "-y", "opencv-python"),
        ("install", "--no-deps", "--force-reinstall", "opencv-python-headless==5.0.0.93"),
    ]
    assert "lacks a library of a screen (ImportError: libGL.so.1" in capsys.readouterr().out


def test_another_opencv_failure_is_shown(venv, monkeypatch):
    monkeypatch.setattr(setup_env, "quiet", lambda *command: answer(1, "numpy is too old"))
    with pytest.raises(SystemExit, match="import cv2 failed:\nnumpy is too old"):
        setup_env.use_headless_opencv_if_needed()


def test_unsupported_python_is_named(monkeypatch):
    monkeypatch.setattr(setup_env.sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit, match="Python must be 3.11 to 3.13; got"):
        setup_env.main()


def test_a_venv_without_pip_is_made_anew(venv, monkeypatch):
    python = venv / "bin/python"
    python.parent.mkdir()
    python.write_text("broken")
    commands = []

    def quiet(*command):
        commands.append(command[1:])
        return answer(1 if command[0] == python else 0)

    monkeypatch.setattr(setup_env, "quiet", quiet)
    setup_env.make_venv()
    assert commands == [("-m", "pip", "--version"), ("-m", "venv", venv)]
    assert not python.exists()


def test_missing_venv_module_says_what_to_install(venv, monkeypatch):
    monkeypatch.setattr(setup_env, "quiet", lambda *command: answer(1, "No module named venv"))
    with pytest.raises(SystemExit, match=r"apt install python3\.\d+-venv"):
        setup_env.make_venv()
