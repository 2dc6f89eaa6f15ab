"""The command line: what it prints, and its exit codes."""

import json
import subprocess
import sys

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
