"""Set-up: interrupted installs, moved checkouts, missing libraries, GPUs and wrong Pythons."""

import os
import signal
import subprocess
import sys
import time
import venv as venv_module
import zipfile
from pathlib import Path, PureWindowsPath

import pytest

from hw4.runtime import ROOT

sys.path.insert(0, str(ROOT))
import setup_env


@pytest.fixture
def venv(tmp_path, monkeypatch):
    (tmp_path / "lib/python3.11/site-packages").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(setup_env, "VENV", tmp_path)
    return tmp_path


def answer(returncode=0, stderr="", stdout=""):
    return subprocess.CompletedProcess([], returncode, stdout, stderr)


def distribution(
    site, name, *, without=(), files=("module.py",), listed=None, cut=None, record=None
):
    folder = site / f"{name}.dist-info"
    folder.mkdir()
    for file in files:
        (site / file).write_text("")
    listed = files if listed is None else listed
    lines = "".join(f"{file},,\n" for file in (*listed, f"{name}.dist-info/RECORD"))[:cut]
    record = lines if record is None else record
    for file, content in {"INSTALLER": "pip\n", "METADATA": "", "RECORD": record}.items():
        if file not in without:
            (folder / file).write_text(content)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"without": ["RECORD"]}, "RECORD"),
        ({"without": ["INSTALLER"]}, "INSTALLER"),
        ({"without": ["METADATA"]}, "METADATA"),
        ({"listed": ["module.py", "gone.so"]}, "gone.so"),
        ({"cut": 0}, "the end of RECORD"),
        ({"cut": -9}, "the end of RECORD"),
        ({"record": "\0" * 200_000}, "the end of RECORD"),
    ],
)
def test_what_pip_left_unfinished_is_removed(venv, capsys, options, missing):
    site = venv / "lib/python3.11/site-packages"
    distribution(site, "whole-1.0", listed=["module.py", "__pycache__/module.pyc"])
    distribution(site, "half-2.0", **options)
    (site / "~ld-1.0.dist-info").mkdir()
    setup_env.remove_unfinished()
    assert [path.name for path in site.glob("*.dist-info")] == ["whole-1.0.dist-info"]
    said = capsys.readouterr().out
    assert f"removing the unfinished half-2.0.dist-info ({missing} is missing)" in said


def small_wheel(folder: Path, files: int) -> Path:
    """A wheel of many small files, as pip takes it."""
    path = folder / "many-1.0-py3-none-any.whl"
    names = [f"many/m{i}.py" for i in range(files)] + ["many/__init__.py"]
    info = {
        "many-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: many\nVersion: 1.0\n",
        "many-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        # first, as in TensorFlow's wheel: what is unpacked then looks like an installed package
        for name, content in info.items():
            archive.writestr(name, content)
        listed = [*names, *info, "many-1.0.dist-info/RECORD"]
        archive.writestr("many-1.0.dist-info/RECORD", "".join(f"{name},,\n" for name in listed))
        for name in names:
            archive.writestr(name, "x = 1\n")
    return path


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_pip_that_was_killed_while_unpacking_is_made_good(tmp_path, monkeypatch):
    pip = pytest.importorskip("pip", reason="its own is linked: to install one takes seconds")
    monkeypatch.setattr(setup_env, "VENV", tmp_path / ".venv")
    venv_module.create(setup_env.VENV, symlinks=True)
    wheel = small_wheel(tmp_path, files=500)
    (site,) = setup_env.VENV.glob("lib/*/site-packages")
    (site / "pip").symlink_to(Path(pip.__file__).parent)
    install = [setup_env.python(), "-m", "pip", "install", "-q", "--no-index", "--no-compile"]
    for _ in range(5):
        process = subprocess.Popen([*install, wheel], start_new_session=True)
        while process.poll() is None and not (site / "many/m20.py").exists():
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not (site / "many/__init__.py").exists():
            break
    assert (site / "many-1.0.dist-info/RECORD").is_file(), "pip was not killed in mid-unpacking"
    subprocess.run([*install, wheel], check=True)
    assert not (site / "many/__init__.py").exists(), "pip takes it for installed"
    setup_env.remove_unfinished()
    subprocess.run([*install, wheel], check=True)
    assert (site / "many/__init__.py").exists()


def test_a_moved_environment_gets_working_scripts(venv):
    script, long, other = (venv / f"bin/{name}" for name in ("hw4", "jupyter", "system"))
    script.write_bytes(b"#!/old/place/.venv/bin/python3.11\nprint(\xff)\n")
    long.write_text("#!/bin/sh\n'''exec' \"/old place/.venv/bin/python\" \"$0\" \"$@\"\n' '''\n")
    other.write_text("#!/usr/bin/env python3\n")
    setup_env.mend_after_a_move()
    assert script.read_bytes() == f"#!{venv}/bin/python3.11\n".encode() + b"print(\xff)\n"
    assert f'exec\' "{venv}/bin/python" "$0"' in long.read_text()
    assert other.read_text() == "#!/usr/bin/env python3\n"


def test_the_stamp_belongs_to_a_place_a_python_and_pins(venv, monkeypatch):
    monkeypatch.setenv("HW4_GPU", "0")
    (venv / "bin/python").write_text("")
    assert not setup_env.is_ready()
    (venv / "ready").write_text(setup_env.wanted_stamp())
    assert setup_env.is_ready()
    with monkeypatch.context() as changed:
        changed.setattr(setup_env.sys, "version_info", (3, 13, 9))
        assert not setup_env.is_ready()
    with monkeypatch.context() as changed:
        changed.setenv("HW4_GPU", "1")
        assert not setup_env.is_ready()
    moved = venv.with_name("moved")
    venv.rename(moved)
    monkeypatch.setattr(setup_env, "VENV", moved)
    assert not setup_env.is_ready()


def fake_steps(monkeypatch, calls, failing=None):
    for name in ("make_venv", "mend_after_a_move", "remove_unfinished", "try_out"):

        def step(name=name):
            calls.append(name)
            if name == failing:
                sys.exit("it broke")

        monkeypatch.setattr(setup_env, name, step)
    monkeypatch.setattr(setup_env, "use_headless_opencv_if_needed", lambda: calls.append("cv2"))
    monkeypatch.setattr(setup_env, "pip", lambda *arguments: calls.append(arguments[0]))


def test_ready_is_stamped_after_everything_was_tried_and_then_nothing_is_done(venv, monkeypatch):
    monkeypatch.setattr(setup_env, "ROOT", make_project(venv.parent / "project"))
    (venv / "bin/python").write_text("")
    calls = []
    fake_steps(monkeypatch, calls, failing="try_out")
    with pytest.raises(SystemExit, match="it broke"):
        setup_env.main()
    assert not (venv / "ready").exists()
    calls.clear()
    fake_steps(monkeypatch, calls)
    setup_env.main()
    assert calls[-2:] == ["cv2", "try_out"]
    assert setup_env.is_ready()
    calls.clear()
    setup_env.main()
    assert calls == []


def make_project(folder: Path) -> Path:
    folder.mkdir()
    for name in ("requirements.txt", "pyproject.toml"):
        (folder / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def test_what_does_not_work_is_not_called_complete(venv, monkeypatch):
    monkeypatch.setattr(
        setup_env, "quiet", lambda *command: answer(1, "No module named 'tensorflow.python'")
    )
    with pytest.raises(SystemExit, match=r"do not work:\nNo module named 'tensorflow\.python'"):
        setup_env.try_out()


def test_the_trial_passes_here():
    exec(setup_env.TRIAL, {})


@pytest.mark.slow
def test_two_set_ups_of_one_checkout_take_turns(tmp_path):
    code = (
        f"import sys, time; sys.path.insert(0, {str(ROOT)!r}); import setup_env, pathlib\n"
        f"setup_env.ROOT = pathlib.Path({str(tmp_path)!r})\n"
        "with setup_env.alone():\n"
        "    print('in', flush=True); time.sleep(0.4); print('out', flush=True)\n"
    )
    out = tmp_path / "out"
    with out.open("w") as stream:
        both = [subprocess.Popen([sys.executable, "-c", code], stdout=stream) for _ in range(2)]
        assert [process.wait() for process in both] == [0, 0]
    order = [line for line in out.read_text().split("\n") if line in ("in", "out")]
    assert order == ["in", "out", "in", "out"]


@pytest.mark.parametrize(
    ("choice", "listed", "wanted"),
    [
        (None, None, False),
        (None, "GPU 0: NVIDIA H100 (UUID: x)", True),
        (None, "No devices were found", False),
        ("0", "GPU 0: NVIDIA H100 (UUID: x)", False),
        ("1", None, True),
    ],
)
def test_cuda_is_installed_where_there_is_a_card(tmp_path, monkeypatch, choice, listed, wanted):
    if listed:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\necho '{listed}'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin" if listed else str(tmp_path))
    monkeypatch.delenv("HW4_GPU", raising=False)
    if choice:
        monkeypatch.setenv("HW4_GPU", choice)
    expected = [f"tensorflow[and-cuda]=={setup_env.pin('tensorflow')}"] if wanted else []
    assert setup_env.gpu_requirements() == expected


def test_another_value_of_the_gpu_setting_is_refused(monkeypatch):
    monkeypatch.setenv("HW4_GPU", "yes")
    with pytest.raises(SystemExit, match="HW4_GPU must be 0, 1 or unset; got 'yes'"):
        setup_env.gpu_requirements()


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


def test_windows_keeps_programs_in_another_folder(monkeypatch):
    monkeypatch.setattr(setup_env, "VENV", PureWindowsPath(r"C:\hw4\.venv"))
    monkeypatch.setattr(setup_env.sys, "platform", "win32")
    assert str(setup_env.python()) == r"C:\hw4\.venv\Scripts\python.exe"
    assert not setup_env.has_nvidia_card()


def test_unsupported_python_is_named(monkeypatch):
    monkeypatch.setattr(setup_env.sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit, match="Python must be 3.11 to 3.13; got"):
        setup_env.main()


@pytest.mark.parametrize("program", ["/bin/true", "/bin/false", "/nowhere/python3"])
def test_make_refuses_what_is_no_python(program):
    done = subprocess.run(
        ["make", "ready", f"PYTHON={program}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f"PYTHON must be Python 3.11 to 3.13; got {program}" in done.stdout


@pytest.mark.parametrize("found", ["", "3.12.99"])
def test_a_venv_without_pip_or_of_another_python_is_made_anew(venv, monkeypatch, found):
    (venv / "bin/python").write_text("broken")
    commands = []

    def quiet(*command):
        commands.append(command[1:])
        return answer(0 if found else 1, stdout=found) if len(commands) == 1 else answer()

    monkeypatch.setattr(setup_env, "quiet", quiet)
    setup_env.make_venv()
    assert commands[1] == ("-m", "venv", venv)
    assert not (venv / "bin/python").exists()


def test_missing_venv_module_says_what_to_install(venv, monkeypatch):
    monkeypatch.setattr(setup_env, "quiet", lambda *command: answer(1, "No module named venv"))
    with pytest.raises(SystemExit, match=r"apt install python3\.\d+-venv"):
        setup_env.make_venv()
