"""What others run from the repository: workflows, line ends on Windows, Binder, the citation."""

import re
import shutil
import subprocess
import tomllib

import yaml

from hw4.runtime import NOTEBOOKS, ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))
JOBS = WORKFLOW["jobs"]


def commands(job):
    return [step["run"] for step in job["steps"] if "run" in step]


def test_the_workflow_runs_every_notebook_in_a_job_of_its_own_here_and_as_on_colab():
    names = sorted(path.stem.split("_")[0] for path in NOTEBOOKS.glob("q*.ipynb"))
    for job in ("notebook", "colab"):
        assert JOBS[job]["strategy"]["matrix"]["notebook"] == names
        assert "${{ matrix.notebook }}" in commands(JOBS[job])[-1]


def test_every_command_of_the_workflow_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(" ".join(re.findall(r"(?m)^([a-z][a-z -]*):", makefile)).split())
    for job in JOBS.values():
        for command in commands(job):
            tool, *words = command.split()
            if tool == "make":
                assert words[0] in targets, command
            else:
                (file,) = (word for word in words if word.startswith("tests/"))
                assert (ROOT / file).is_file(), command


def test_the_gpu_job_waits_for_its_label_and_all_jobs_end():
    assert "'gpu'" in JOBS["gpu"]["if"]
    assert "labeled" in WORKFLOW[True]["pull_request"]["types"]  # YAML reads the word on as true
    assert all(job["timeout-minutes"] <= 60 for job in JOBS.values())


def test_text_has_plain_line_ends_on_windows_too(tmp_path):
    def git(*arguments, folder=tmp_path):
        subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)

    (tmp_path / ".ci").mkdir()
    for name in (".gitattributes", ".ci/run", "Makefile", "README.md", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    git("init", "-q")
    git("add", "-A")
    git("-c", "user.name=a", "-c", "user.email=b@c", "commit", "-q", "-m", "first")
    there = tmp_path / "there"
    # what Git for Windows is set to by its installer
    windows = ("-c", "core.autocrlf=true", "-c", "core.eol=crlf")
    git(*windows, "clone", "-q", tmp_path.as_uri(), str(there))
    for path in (there / ".ci/run", there / "Makefile", there / "requirements.txt"):
        assert b"\r" not in path.read_bytes(), path.name


def test_binder_installs_the_pins_on_a_supported_python():
    binder = ROOT / "binder"
    assert "-r ../requirements.txt" in (binder / "requirements.txt").read_text().splitlines()
    assert (binder / "runtime.txt").read_text().strip() == "python-3.11"
    subprocess.run(["bash", "-n", str(binder / "postBuild")], check=True)


def test_the_citation_agrees_with_pyproject_and_names_nobody():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["repository-code"] == project["urls"]["Repository"]
    assert str(citation["version"]) == project["version"]
    assert citation["license"] == project["license"]
    assert citation["authors"] == [{"name": "The hw4 authors"}]
