"""Chief and workers over gRPC on the loopback: a dead worker costs a retry and nothing else."""

import argparse
import math
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from hw4 import tuning_command
from hw4.tuner import Plan, distributed, open_search, races, records
from hw4.tuner.distributed import Chief, conduct

LEASE = 5.0
WORKER = """
    import os, signal, sys, time
    from pathlib import Path
    from hw4.tuner import Plan, races
    from hw4.tuner.distributed import work
    mark = Path(sys.argv[1])
    def evaluate(values, epochs, seed):
        time.sleep(0.1)
        if os.environ["KERASTUNER_TUNER_ID"] == "worker1":
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        while not mark.exists():
            time.sleep(0.02)
        return races.stub(values, epochs, seed)
    work(Plan(races.stub_space(), trials=4, promoted=2, seed=3), evaluate, lease=5)
"""


def plan(**changes):
    return Plan(races.stub_space(), **{"trials": 4, "promoted": 2, "seed": 3} | changes)


def local(folder):
    search = open_search(plan(), folder)
    search.run(races.stub)
    return records(search.oracle)


def test_two_workers_of_which_one_is_killed(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(WORKER), encoding="utf-8")
    said, folder = [], tmp_path / "chief"
    command = [sys.executable, str(script), str(tmp_path / "mark")]
    log = conduct(plan(), folder, command, workers=2, lease=LEASE, say=said.append)
    assert len(said) == 1
    assert said[0].startswith("worker worker1 ended with exit code -9; trial ")
    assert said[0].endswith(" goes to another worker")
    expected = local(tmp_path / "local")
    assert [record["trial"] for record in log] == [0, 1, 2, 3, 4, 5]
    assert [record["values"] for record in log] == [record["values"] for record in expected]
    # gRPC carries 32-bit floats.
    assert [r["score"] for r in log] == pytest.approx([r["score"] for r in expected], abs=1e-6)
    # The chief's folder is whole: the search reads as finished.
    assert len(records(open_search(plan(), folder).oracle)) == 6


def test_workers_that_all_die_end_the_search_with_the_way_on(tmp_path):
    start, said = time.monotonic(), []
    with pytest.raises(TimeoutError, match=r"got none that lives, with 0 of the 0 trials.*again"):
        conduct(plan(), tmp_path, [sys.executable, "-c", "exit(3)"], 2, LEASE, said.append)
    assert time.monotonic() - start < 10
    assert sorted(said) == [
        f"worker worker{i} ended with exit code 3; it had no trial" for i in (1, 2)
    ]
    assert len(local(tmp_path)) == 6


def test_a_silent_worker_is_given_up_after_the_lease(tmp_path):
    oracle = open_search(plan(), tmp_path).oracle
    said = []
    chief = Chief(oracle, "127.0.0.1:0", lease=0.5, say=said.append)
    try:
        lost = oracle.create_trial("ghost")
        chief._servicer.heard["ghost"] = time.monotonic()
        with pytest.raises(TimeoutError, match="0 of the 1 trials begun"):
            chief.wait()
    finally:
        chief.stop()
    assert said == ["worker ghost has not been heard of for 0.5 s; trial 0 goes to another worker"]
    # The ghost comes back with a result while the trial waits: it counts, and only once.
    oracle.update_trial(lost.trial_id, {"val_accuracy": 0.5, "seconds": 1.0})
    lost.status = "COMPLETED"
    oracle.end_trial(lost)
    oracle.end_trial(lost)
    assert oracle.end_order == [lost.trial_id]
    log = local(tmp_path)
    assert len(log) == 6
    assert log[0]["score"] == 0.5


def test_a_heartbeat_keeps_a_busy_worker(tmp_path):
    oracle = open_search(plan(), tmp_path).oracle
    chief = Chief(oracle, "127.0.0.1:0", lease=0.6, say=pytest.fail)
    trial = oracle.create_trial("busy")
    chief._servicer.heard["busy"] = time.monotonic()

    class Client:
        def get_trial(self, trial_id):
            distributed.protos.get_service()
            chief._servicer.GetTrial(argparse.Namespace(trial_id=trial_id), None)

    waiting = threading.Thread(target=chief.wait, daemon=True)
    waiting.start()
    try:
        with distributed._heartbeat(Client(), trial.trial_id, 0.15):
            time.sleep(1.5)
            assert oracle.tuner_ids == {"busy"}
    finally:
        chief._servicer.stop_triggered = True
        oracle.release("busy")
        waiting.join(timeout=5)
        chief.stop()
    assert not waiting.is_alive()


def test_a_trial_that_kills_its_workers_fails_at_last(tmp_path):
    oracle = open_search(plan(), tmp_path).oracle
    for name in ("first", "second"):
        assert oracle.create_trial(name).trial_id == "0"
        assert oracle.release(name) == "0"
    log = records(oracle)
    assert log[0]["status"] == "failed"
    assert log[0]["message"] == "2 workers died of it"
    assert not math.isfinite(oracle.trials["0"].score)
    assert len(local(tmp_path)) == 6


def test_no_worker_is_sent_home_while_a_trial_may_come_back(tmp_path):
    oracle = open_search(plan(trials=1, promoted=0), tmp_path).oracle
    oracle.create_trial("first")
    assert oracle.create_trial("second").status == "IDLE"
    oracle.release("first")
    assert oracle.create_trial("second").trial_id == "0"


def test_a_worker_with_another_plan_is_refused(tmp_path):
    space = open_search(plan(), tmp_path).oracle.get_space()
    distributed._agree(space, plan())
    with pytest.raises(ValueError, match=r"plan must be the chief's; got \w+, and the chief has"):
        distributed._agree(space, plan(seed=4))


def test_an_address_of_another_machine_is_refused(tmp_path):
    oracle = open_search(plan(), tmp_path).oracle
    with pytest.raises(ValueError, match=r"must be free and belong to this machine; got 192\.0\.2"):
        Chief(oracle, "192.0.2.1:1")


def test_the_workers_of_the_command_get_the_same_options():
    parser = argparse.ArgumentParser()
    tuning_command.add_arguments(parser)
    options = parser.parse_args(["--workers", "2", "--tuner", "bayesian", "--seed", "5"])
    command = tuning_command.worker_command(options)
    again = parser.parse_args(command[command.index("tune") + 1 :])
    assert vars(again) == vars(options) | {"workers": 0}


@pytest.mark.parametrize("arguments", [["--workers", "-1"], ["--tuner", "grid"], ["--trials", "x"]])
def test_senseless_options_are_refused(arguments):
    parser = argparse.ArgumentParser()
    tuning_command.add_arguments(parser)
    with pytest.raises((SystemExit, ValueError)):
        tuning_command.run(parser.parse_args(arguments))


def test_light_command():
    code = "import sys, hw4.tuning_command; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
