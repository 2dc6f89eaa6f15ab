"""The command line: what it prints, and its exit codes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hw4.tools import cli

LEGAL = "conv 64 3x3 s1 same; conv 32 5x5 d2 valid; pool 2 s2"


def test_shapes_prints_the_table(capsys):
    assert cli.main(["shapes", LEGAL, "--input", "256x256x3"]) == 0
    out = capsys.readouterr().out
    assert "256x256x64" in out
    assert "51,232" in out
    assert "124x124x32" in out


def test_shapes_as_json(capsys):
    assert cli.main(["shapes", LEGAL, "--input", "256x256x3", "--json"]) == 0
    json.loads(capsys.readouterr().out)


def test_a_network_that_cannot_be_built_is_shown_with_a_caret(capsys):
    network = "conv 64 3x3 s1 same; conv 32 5x5 s2 d2 valid"
    assert cli.main(["shapes", network, "--input", "256x256x3"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "layer 2 (Conv2D)" in captured.err
    line, caret = captured.err.splitlines()[-2:]
    assert line[caret.index("^") :].startswith("conv 32")
    assert cli.main(["shapes", network, "--input", "256x256x3", "--convention", "pytorch"]) == 0


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["shapes", "conv 1 3"]])
def test_wrong_calls_exit_with_2_and_say_how(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage: hw4" in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    code = (
        "import sys, hw4.tools.cli\n"
        "try: hw4.tools.cli.main(['--help'])\n"
        "except SystemExit: print([m for m in ('keras', 'numpy', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_interruption_is_reported_and_has_its_own_code(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    assert cli.main(["run"]) == 130
    assert "what is finished is kept, nothing is half-written" in capsys.readouterr().err


def test_a_pipe_that_nobody_reads_is_no_traceback():
    code = "import sys; from hw4.tools.cli import main; sys.exit(main(['report']))"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_a_folder_without_notebooks_is_no_report_without_problems(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("")
    assert cli.main(["report", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"folders must hold notebooks; got none below {tmp_path}" in captured.err


def test_a_closed_output_is_no_traceback():
    code = "import sys; from hw4.tools.cli import main; sys.exit(main(sys.argv[1:]))"
    shell = 'exec "$0" "$@" >&-'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable, "-c", code, "shapes", LEGAL, "--input", "256x256x3"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["{}"],
        ["test", "{}"],
        ["run", "{}"],
        ["run", "--jobs", "{}"],
        ["student", "{}", "--out", "x"],
        ["report", "{}"],
        ["report", "--csv", "{}"],
        ["report", "--html", "{}"],
        ["grade", "{}"],
        ["shapes", "{}", "--input", "8x8x3"],
        ["shapes", "conv {} 3", "--input", "8x8x3"],
        ["shapes", "gap", "--input", "{}"],
        ["shapes", "gap", "--input", "8", "--convention", "{}"],
        ["tune", "--trials", "{}"],
    ],
)
def test_a_word_of_ten_million_signs_is_not_repeated_whole(arguments, capsys):
    try:
        code = cli.main([argument.format("k" * 10**7) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    err = capsys.readouterr().err
    assert "kkkk" in err
    assert len(err) < 4000
    assert "Traceback" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_line():
    code = "import sys; from hw4.tools.cli import main; sys.exit(main(['report']))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.stderr == "hw4 report: No space left on device\n"
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("{0}/file/report", "Not a directory: {0}/file/report"),
        ("{0}/" + "x" * 300, "File name too long: {0}/" + "x" * 300),
        ("/proc/report", "No such file or directory: "),
    ],
)
def test_errors_of_the_file_system_are_one_line(tmp_path, capsys, folder, said):
    (tmp_path / "file").write_text("")
    assert cli.main(["report", "--html", folder.format(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"hw4 report: {said.format(tmp_path)}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--csv", "{0}"], "csv must be a file; got the folder {0}."),
        (["--html", "{0}/file"], "html must be a folder; got {0}/file, which is none."),
        (["--reference", "{0}"], "reference must be a folder of executed notebooks; got {0}."),
    ],
)
def test_places_are_refused_before_any_work(monkeypatch, tmp_path, capsys, option, said):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(cli, "_rerun", lambda *_: pytest.fail("graded first"))
    monkeypatch.setattr(cli, "_show", lambda *_: pytest.fail("graded first"))
    option = [word.format(tmp_path) for word in option]
    assert cli.main(["grade", str(tmp_path / "file"), "--rerun", *option]) == 2
    assert capsys.readouterr().err.startswith(f"hw4 grade: {said.format(tmp_path)}")


@pytest.mark.parametrize(
    "options", [["--scheduler", "typo"], ["--workers", "-1"], ["--seed", "-1"]]
)
def test_a_search_is_refused_before_tensorflow_is_loaded(tmp_path, options):
    code = "import sys; from hw4.tools import cli; code = cli.main(sys.argv[1:]); "
    code += "print(code, 'tensorflow' in sys.modules)"
    command = [sys.executable, "-c", code, "tune", "--folder", str(tmp_path / "search"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "2 False\n"
    assert done.stderr.count("\n") == 1


def test_a_sigterm_ends_like_ctrl_c_with_its_own_code(monkeypatch, capsys):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(cli, "_run", lambda options: os.kill(os.getpid(), signal.SIGTERM))
    assert cli.main(["run"]) == 143
    assert "nothing is half-written" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before
