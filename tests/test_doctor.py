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
    assert out.endswith("3 of 6 checks failed\n")


def test_a_card_that_is_not_used_is_named_with_what_to_do(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(doctor.runtime, "device", lambda: "CPU (2 cores)")
    said = doctor._backend()
    assert "CPU (2 cores); NVIDIA H100 80GB HBM3 is there and not used" in said
    assert "HW4_GPU=1" in said
    monkeypatch.setattr(doctor.runtime, "device", lambda: "GPU: NVIDIA H100 80GB HBM3")
    assert "not used" not in doctor._backend()
