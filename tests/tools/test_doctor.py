"""hw4 doctor: all well here, and each thing that is wrong gets its own line."""

from hw4.tools import cli, doctor


def test_all_well(capsys):
    assert cli.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(doctor.CHECKS) + 1
    assert lines[-1] == "all well"


def test_what_is_wrong_is_named(capsys, monkeypatch):
    monkeypatch.setenv("HW4_PROFILE", "quick")
    monkeypatch.setattr(doctor, "_installed", lambda name: None if name == "rich" else "0")
    assert doctor.main() == 1
    out = capsys.readouterr().out
    assert "FAIL  settings: HW4_PROFILE must be one of standard, full; got 'quick'" in out
    assert "rich 15.0.0 wanted, none found" in out
    assert "FAIL  backend: HW4_PROFILE" in out
    assert out.endswith("3 of 5 checks failed\n")
