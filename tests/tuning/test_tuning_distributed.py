"""Chief and workers over gRPC on the loopback: a dead worker costs a retry and nothing else."""

import argparse
import contextlib
import io
import json
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from concurrent import futures

import grpc
import pytest
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_client

from hw4 import runtime, tuning
from hw4.tools import cli, tuning_command
from hw4.tuner import Plan, open_search, oracles, races, records, running
from hw4.tuner.distributed import Chief, conduct, work

# A worker's start counts, and it imports Keras.
LEASE = 60.0
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
    work(Plan(races.stub_space(), trials=4, promoted=2, seed=3), evaluate)
"""


def plan(**changes):
    return Plan(races.stub_space(), **{"trials": 4, "promoted": 2, "seed": 3} | changes)


def local(folder):
    search = open_search(plan(), folder)
    search.run(races.stub)
    return records(search.oracle)


def within(seconds, call, *arguments):
    """Return what a call returns or raise what it raises, but do not wait for it for ever."""
    result = futures.Future()

    def run():
        try:
            result.set_result(call(*arguments))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result.result(timeout=seconds)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture
def join(monkeypatch):
    """Make this process a worker, or the chief, of a chief at a port."""
    # `work` sets it for the whole process.
    monkeypatch.setattr(oracle_client, "TIMEOUT", oracle_client.TIMEOUT)

    def join(name, port):
        part = runtime.worker_environment(name, port, 1)
        # The threads of this process are settled.
        for variable in (key for key in part if key.startswith("KERASTUNER_")):
            monkeypatch.setenv(variable, part[variable])

    return join


@contextlib.contextmanager
def serving(folder, lease=LEASE, say=pytest.fail, **changes):
    """Open a chief on a free port, and a client of it as any process could have."""
    chief = Chief(open_search(plan(**changes), folder).oracle, "127.0.0.1:0", lease, say)
    with grpc.insecure_channel(f"127.0.0.1:{chief.port}") as channel:
        try:
            yield chief, protos.get_service_grpc().OracleStub(channel)
        finally:
            chief.stop()


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
    said = []
    with serving(tmp_path, 0.5, said.append) as (chief, client):
        lost = client.CreateTrial(protos.get_service().CreateTrialRequest(tuner_id="ghost"))
        with pytest.raises(TimeoutError, match="0 of the 1 trials begun"):
            within(20, chief.wait)
    assert said == ["worker ghost has not been heard of for 0.5 s; trial 0 goes to another worker"]
    # The ghost comes back with a result while the trial waits: it counts, and only once.
    oracle = open_search(plan(), tmp_path).oracle
    ended = oracle.get_trial(lost.trial.trial_id)
    oracle.update_trial(ended.trial_id, {"val_accuracy": 0.5, "seconds": 1.0})
    ended.status = "COMPLETED"
    oracle.end_trial(ended)
    oracle.end_trial(ended)
    assert oracle.end_order == [ended.trial_id]
    log = local(tmp_path)
    assert len(log) == 6
    assert log[0]["score"] == 0.5


def test_the_chief_says_what_becomes_of_a_trial(tmp_path):
    said = []
    with serving(tmp_path, say=said.append) as (chief, client):
        for name in ("first", "second"):
            client.CreateTrial(protos.get_service().CreateTrialRequest(tuner_id=name))
            chief._release(name, "died")
    assert said == [
        "worker first died; trial 0 goes to another worker",
        "worker second died; trial 0 has ended",
    ]


def test_a_child_that_never_calls_is_given_up_and_killed(tmp_path):
    said = []
    with serving(tmp_path, 0.5, said.append) as (chief, _):
        stuck = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        try:
            with pytest.raises(TimeoutError, match="got none that lives"):
                within(20, chief.wait, {"worker1": stuck})
            assert stuck.wait(timeout=5) == -signal.SIGKILL
        finally:
            stuck.kill()
    assert said == ["worker worker1 has not been heard of for 0.5 s; it had no trial"]


def test_an_interruption_ends_the_workers_at_once(tmp_path, monkeypatch):
    def interrupted(chief, children):
        started.extend(children.values())
        raise KeyboardInterrupt

    started = []
    monkeypatch.setattr(Chief, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        conduct(plan(), tmp_path, [sys.executable, "-c", "import time; time.sleep(600)"], 2)
    assert [child.returncode for child in started] == [-signal.SIGTERM] * 2


def test_a_worker_is_heard_in_a_long_trial_and_while_it_waits_for_one(tmp_path, join):
    def evaluate(values, epochs, seed):
        begun.set()
        time.sleep(2.5)
        return races.stub(values, epochs, seed)

    begun, one = threading.Event(), {"trials": 1, "promoted": 0}
    with serving(tmp_path, lease=1.0, **one) as (chief, _):
        for name in ("busy", "idle"):
            join(name, chief.port)
            worker = threading.Thread(target=work, args=(plan(**one), evaluate, 1.0), daemon=True)
            worker.start()
            assert begun.wait(timeout=10)
        within(20, chief.wait)
    assert records(chief.oracle)[0]["status"] == "completed"


def test_a_worker_with_another_plan_is_refused(tmp_path, join):
    with serving(tmp_path) as (chief, _):
        join("worker1", chief.port)
        with pytest.raises(ValueError, match=r"plan must be the chief's; got \w+, and the chief"):
            within(20, work, plan(seed=4), races.stub, 5.0)
    assert not chief.oracle.trials


def test_a_worker_does_not_wait_for_a_chief_longer_than_the_lease(join):
    join("worker1", free_port())
    with pytest.raises(ConnectionError, match=r"must answer within 0\.5 s; got DEADLINE_EXCEEDED"):
        within(20, work, plan(), races.stub, 0.5)


@pytest.mark.parametrize("name", ["", "chief"])
def test_only_a_worker_works(name, join, monkeypatch):
    join(name, free_port())
    if not name:
        for variable in ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"):
            monkeypatch.setenv(variable, "")
    with pytest.raises(ValueError, match=f"TUNER_ID must name a worker; got {name or None!r}"):
        within(20, work, plan(), races.stub, 0.5)


@pytest.mark.parametrize("name", ["worker1", "chief"])
def test_a_search_alone_is_refused_to_a_process_with_a_part(name, join, tmp_path):
    join(name, free_port())
    with pytest.raises(
        ValueError, match=f"must be unset for a search in one process; got '{name}'"
    ):
        within(20, open_search(plan(), tmp_path).run, races.stub)


def test_empty_variables_count_as_unset(monkeypatch, tmp_path):
    for variable in ("TUNER_ID", "ORACLE_IP", "ORACLE_PORT"):
        monkeypatch.setenv(f"KERASTUNER_{variable}", "")
    assert len(within(20, local, tmp_path)) == 6


def test_a_stranger_is_refused_and_the_search_goes_on(tmp_path, join):
    messages = protos.get_service()
    with serving(tmp_path) as (chief, client):
        with pytest.raises(grpc.RpcError, match="this search has no trial 77"):
            client.UpdateTrial(
                messages.UpdateTrialRequest(trial_id="77", metrics={"val_accuracy": 1.0}), timeout=5
            )
        join("worker1", chief.port)
        threading.Thread(target=work, args=(plan(), races.stub, 5.0), daemon=True).start()
        within(20, chief.wait)
    assert len(records(chief.oracle)) == 6


def test_an_error_of_the_chief_ends_it_with_the_reason(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    request = protos.get_service().CreateTrialRequest
    with serving(tmp_path, lease=0.5, say=lambda message: None) as (chief, client):
        client.CreateTrial(request(tuner_id="worker1"))
        with monkeypatch.context() as patch:
            patch.setattr(oracles, "write_json", full)
            with pytest.raises(grpc.RpcError):
                client.CreateTrial(request(tuner_id="worker2"), timeout=5)
        # The lock that the error left behind holds up neither a call nor the chief itself.
        assert client.CreateTrial(request(tuner_id="worker3"), timeout=5).trial.trial_id == "2"
        within(5, chief._release, "worker1", "is gone")
        with pytest.raises(ConnectionError, match=r"got OSError: .*No space left.*same command"):
            within(20, chief.wait)


def test_the_chief_shows_its_progress_and_a_worker_none(tmp_path, join, monkeypatch):
    def evaluate(values, epochs, seed):
        begun.set()
        assert watched.wait(timeout=10)
        time.sleep(0.2)
        return races.stub(values, epochs, seed)

    begun, watched, shown = threading.Event(), threading.Event(), io.StringIO()
    monkeypatch.setattr(running, "watched", lambda: True)
    monkeypatch.setattr(sys, "stderr", shown)
    with serving(tmp_path) as (chief, _):
        join("worker1", chief.port)
        threading.Thread(target=work, args=(plan(), evaluate, 10.0), daemon=True).start()
        assert begun.wait(timeout=10)
        assert shown.getvalue() == ""
        watched.set()
        within(20, chief.wait)
    assert re.search(r"\| [1-6]/6 \[", shown.getvalue())


def test_a_trial_that_kills_its_workers_fails_at_last(tmp_path):
    oracle = open_search(plan(), tmp_path).oracle
    for name in ("first", "second"):
        assert oracle.create_trial(name).trial_id == "0"
        assert oracle.release(name) == "0"
    log = records(oracle)
    assert log[0]["status"] == "failed"
    assert log[0]["message"] == "2 workers were lost on it"
    assert log[0]["score"] is log[0]["seconds"] is None
    json.dumps(log, allow_nan=False)
    assert len(local(tmp_path)) == 6


def test_a_result_outlives_the_workers_that_brought_it(tmp_path):
    oracle = open_search(plan(), tmp_path).oracle
    for name in ("first", "second"):
        trial = oracle.create_trial(name)
        oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5, "seconds": 1.0})
        oracle.release(name)
    assert records(oracle)[0]["status"] == "completed"
    assert records(oracle)[0]["score"] == 0.5


@pytest.mark.parametrize("status", ["INVALID", "COMPLETED"])
def test_trials_that_come_back_without_a_result_are_tried_again_and_abort_nothing(status, tmp_path):
    oracle = open_search(plan(), tmp_path).oracle
    for i in range(8):
        trial = oracle.create_trial("worker")
        assert int(trial.trial_id) == i // 2
        trial.status = status
        oracle.end_trial(trial)
        assert not oracle.ongoing_trials
    assert [record["status"] for record in records(oracle)] == ["failed"] * 4
    # None is left to promote.
    assert len(local(tmp_path)) == 4


def test_no_worker_is_sent_home_while_a_trial_may_come_back(tmp_path):
    oracle = open_search(plan(trials=1, promoted=0), tmp_path).oracle
    oracle.create_trial("first")
    assert oracle.create_trial("second").status == "IDLE"
    oracle.release("first")
    assert oracle.create_trial("second").trial_id == "0"


def test_an_address_of_another_machine_is_refused(tmp_path):
    oracle = open_search(plan(), tmp_path).oracle
    with pytest.raises(ValueError, match=r"must be free and belong to this machine; got 192\.0\.2"):
        Chief(oracle, "192.0.2.1:1")


def test_a_port_has_one_chief(tmp_path):
    with serving(tmp_path / "one") as (chief, _):
        other = open_search(plan(), tmp_path / "other").oracle
        with pytest.raises(ValueError, match=f"must be free and .*; got 127.0.0.1:{chief.port}"):
            Chief(other, f"127.0.0.1:{chief.port}")


START = """
    import sys
    from hw4 import tuning
    tuning.trainer = lambda: lambda values, epochs, seed: values["learning_rate"] * epochs
    from hw4.tools.cli import main
    sys.exit(main())
"""


def stub_training(values, epochs, seed):
    return values["learning_rate"] * epochs


@pytest.mark.parametrize("mode", ["alone", "chief and worker", "workers"])
def test_the_command_searches_alone_or_with_others(mode, tmp_path, join, monkeypatch, capsys):
    """Only the training is stubbed, here and in the processes that the command starts."""
    start, folder = textwrap.dedent(START), tmp_path / "search"
    monkeypatch.setattr(tuning_command, "START", start)
    monkeypatch.setitem(tuning.search.__globals__, "trainer", lambda: stub_training)
    # Overrides --seed, for the workers too.
    monkeypatch.setenv("HW4_SEED", "5")
    arguments = ["tune", "--trials", "4", "--promoted", "1", "--folder", str(folder)]
    if mode == "workers":
        assert cli.main([*arguments, "--workers", "2"]) == 0
    elif mode == "alone":
        assert cli.main(arguments) == 0
    else:
        port = free_port()
        join("worker1", port)
        worker = subprocess.Popen([sys.executable, "-c", start, *arguments])
        join("chief", port)
        assert cli.main(arguments) == 0
        assert worker.wait(timeout=20) == 0
    out, log = capsys.readouterr().out, json.loads((folder / "log.json").read_text("utf-8"))
    for variable in ("TUNER_ID", "ORACLE_IP", "ORACLE_PORT"):
        monkeypatch.delenv(f"KERASTUNER_{variable}", raising=False)
    alone = open_search(tuning.plan(trials=4, promoted=1, seed=5), tmp_path / "expected")
    alone.run(stub_training)
    expected = records(alone.oracle)
    assert [record["values"] for record in log] == [record["values"] for record in expected]
    assert [r["score"] for r in log] == pytest.approx([r["score"] for r in expected], rel=1e-6)
    assert len(out.splitlines()) == 7
    assert out.splitlines()[-1].startswith("winner: trial 4, validation accuracy 0.00")


def test_the_workers_of_the_command_get_the_same_options():
    parser = argparse.ArgumentParser()
    tuning_command.add_arguments(parser)
    options = parser.parse_args(["--workers", "2", "--tuner", "bayesian", "--seed", "5"])
    command = tuning_command.worker_command(options)
    again = parser.parse_args(command[command.index("tune") + 1 :])
    assert vars(again) == vars(options) | {"workers": 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "-1"], "workers must be 0 here, or at least 1 without .*; got -1"),
        (["--tuner", "grid"], "tuner must be one of random, bayesian, hyperband; got 'grid'"),
        (["--trials", "0"], "trials must be an integer of at least 1; got 0"),
        (["--lease", "0"], "lease must be a positive number of seconds; got 0"),
        (["--lease", "nan"], "lease must be a positive number of seconds; got nan"),
        (["--lease", "inf"], "lease must be a positive number of seconds; got inf"),
    ],
)
def test_senseless_options_are_refused(arguments, message, tmp_path):
    parser = argparse.ArgumentParser()
    tuning_command.add_arguments(parser)
    with pytest.raises(ValueError, match=message):
        tuning_command.run(parser.parse_args([*arguments, "--folder", str(tmp_path / "search")]))
    assert not (tmp_path / "search").exists()


def test_workers_are_not_started_by_a_process_with_a_part(join):
    join("chief", free_port())
    parser = argparse.ArgumentParser()
    tuning_command.add_arguments(parser)
    with pytest.raises(ValueError, match="without KERASTUNER_ variables; got 2"):
        tuning_command.run(parser.parse_args(["--workers", "2"]))
