"""requirements.txt, environment.yml and pyproject.toml agree, and are what is installed."""

import re
import tomllib
from importlib import metadata

import pytest

from hw4.runtime import ROOT
from hw4.tools import doctor

REQUIREMENTS = (ROOT / "requirements.txt").read_text(encoding="utf-8")
PINS = doctor.pins(REQUIREMENTS)


def test_every_requirement_is_an_exact_pin():
    lines = [line for line in REQUIREMENTS.splitlines() if line and not line.startswith("#")]
    assert lines == [f"{name}=={version}" for name, version in PINS.items()]


def test_pyproject_takes_its_dependencies_from_the_same_file():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["dependencies"]
    assert project["tool"]["setuptools"]["dynamic"] == {
        "dependencies": {"file": ["requirements.txt"]}
    }


def test_the_builder_is_pinned_so_that_set_up_can_be_repeated_offline():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["build-system"]["requires"] == [f"setuptools=={PINS['setuptools']}"]


def test_installed_package_declares_exactly_these_pins():
    declared = [line for line in metadata.requires("hw4") if "extra ==" not in line]
    assert doctor.pins("\n".join(declared)) == PINS


def test_environment_installs_the_same_file_on_a_supported_python():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert text.endswith("  - pip:\n      - -r requirements.txt\n      - -e .\n")
    (python,) = re.findall(r"- python=(\S+)", text)
    assert python in ("3.11", "3.12", "3.13")
    assert re.findall(r"[A-Za-z0-9_-]+==\S+", text) == []


@pytest.mark.parametrize("name", PINS)
def test_installed_version_is_the_pin(name):
    assert doctor._installed(name) == PINS[name]


def test_python_range_is_said_once_and_meant_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["requires-python"] == ">=3.11,<3.14"
    assert "SUPPORTED = ((3, 11), (3, 13))" in (ROOT / "setup_env.py").read_text(encoding="utf-8")
    workflow = (ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8")
    assert 'python: ["3.11", "3.12", "3.13"]' in workflow
