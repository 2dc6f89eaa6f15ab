"""A search on Dask: local workers, a cluster of somebody else's, and the death of a worker."""

import argparse
import json
import os
import signal
import sys
import time
import types

import dask
import pytest
from distributed import Client, LocalCluster
from distributed.protocol import pickle

from hw4.tools import cli, tune
from hw4.tuning import TUNERS, ask_tell, best, event_log, on_mnist, race
from hw4.tuning.ask_tell import Plan, Search

pytestmark = pytest.mark.slow


def plan(tuner="random", **changes):
    options = {"trials": 7, "seed": 3, "epochs": (2, 6), "promoted": 2, "initial_points": 4}
    return Plan(race.stub_space(), tuner, **options | changes)


def by_value(function):
    """Return a copy that is pickled with its code, so that workers need not import Keras."""
    copy = types.FunctionType(function.__code__, function.__globals__)
    copy.__qualname__ = "copied"  # which no module has
    return copy


@by_value
def stub(values, epochs, seed):
    time.sleep(0.02)
    return values["learning_rate"] * epochs * 100


def loads_keras():
    return "keras" in sys.modules


def run(planned, folder=None, evaluate=stub, client=None):
    with Search(planned, folder) as search:
        return search.run(evaluate, client)


def events(folder):
    lines = (folder / event_log.NAME).read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def timeless(log):
    return [{k: v for k, v in record.items() if k != "seconds"} for record in log]


@pytest.fixture(scope="module")
def cluster():
    """Two processes, as `hw4 tune --workers 2` starts them."""
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}), tune.local(2) as found:
        yield found


@pytest.fixture
def client(cluster, monkeypatch):
    monkeypatch.setattr(ask_tell, "attempt", by_value(ask_tell.attempt))
    with Client(cluster) as found:
        found.wait_for_workers(2, timeout=60)
        yield found


def test_two_workers_run_the_same_trials_to_the_same_winner(client, tmp_path):
    log = run(plan(), tmp_path, client=client)
    assert timeless(log) == timeless(run(plan()))
    # The folder is whole: the search reads as finished.
    assert run(plan(), tmp_path, evaluate=None) == log
    assert len({*client.run(os.getpid).values()} - {os.getpid()}) == 2
    assert not any(client.run(by_value(loads_keras)).values())


@pytest.mark.parametrize("tuner", TUNERS)
def test_trials_overlap_and_a_resumed_search_replays_their_order(tuner, client, tmp_path):
    log = run(plan(tuner), tmp_path, client=client)
    assert {record["status"] for record in log} == {"completed"}
    assert [record["trial"] for record in log] == [*range(len(log))]
    kinds = [event["event"] for event in events(tmp_path)]
    assert kinds[1:3] == ["asked", "asked"]
    if tuner == "hyperband":
        first = sorted(log[:5], key=lambda record: -record["score"])
        promoted = [r["parent"] for r in log if r["parent"] is not None and r["parent"] < 5]
        assert set(promoted) == {record["trial"] for record in first[:2]}
    # Cut in the middle: what was told stays, the rest is asked again.
    path = tmp_path / event_log.NAME
    kept = path.read_bytes().splitlines(keepends=True)[: len(kinds) // 2]
    path.write_bytes(b"".join(kept))
    again = run(plan(tuner), tmp_path, client=client)
    told = [event for event in events(tmp_path) if event["event"] == "told"]
    assert sorted(event["trial"] for event in told) == [*range(len(again))]
    assert path.read_bytes().startswith(b"".join(kept))
    if tuner == "random":
        assert timeless(again) == timeless(log)


def test_a_worker_killed_in_mid_trial_costs_nothing_but_its_time(client, tmp_path):
    mark = str(tmp_path / "mark")

    def evaluate(values, epochs, seed):
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return stub(values, epochs, seed)
        os.kill(os.getpid(), signal.SIGKILL)

    log = run(plan(), tmp_path / "search", evaluate, client)
    assert os.path.exists(mark)
    assert timeless(log) == timeless(run(plan()))


def test_a_trial_that_kills_its_workers_is_failed_at_last(client, tmp_path):
    deadly = ask_tell.Search(plan(trials=3, promoted=1))
    number = 1
    seed = deadly.plan.stream("trial", number)

    def evaluate(values, epochs, given):
        if given == seed:
            os.kill(os.getpid(), signal.SIGKILL)
        return stub(values, epochs, given)

    log = run(deadly.plan, tmp_path, evaluate, client)
    assert [record["status"] for record in log] == ["completed", "failed", "completed", "completed"]
    assert log[1]["message"].startswith("its workers died: ")
    assert best(log)["trial"] == 3
    assert run(deadly.plan, tmp_path, evaluate=None) == log


def test_workers_that_cannot_run_a_trial_at_all_end_the_search_with_the_way_on(client, tmp_path):
    class Broken:
        def __reduce__(self):
            return _refuse, ()

    with pytest.raises(
        ConnectionError, match="must be able to run a trial; got RuntimeError: "
    ) as e:
        run(plan(), tmp_path, Broken(), client)
    assert str(e.value).endswith("run the same command again: it goes on from there.")
    assert len(str(e.value).splitlines()) == 1
    assert timeless(run(plan(), tmp_path)) == timeless(run(plan()))


def _refuse():
    raise ImportError("no hw4 here")


def test_a_cluster_without_workers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(ask_tell, "PATIENCE", 0.5)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty,
        Client(empty) as client,
        pytest.raises(TimeoutError, match=r"must be running; got none for 0\.5 s\. Start some"),
    ):
        run(plan(), tmp_path, client=client)
    assert timeless(run(plan(), tmp_path)) == timeless(run(plan()))


def arguments(folder, *more):
    return ["tune", "--trials", "4", "--promoted", "1", "--folder", str(folder), *more]


def expected(capsys):
    """What the command prints for this search, seconds aside."""
    out = capsys.readouterr().out.splitlines()
    return [line.rsplit("\t", 1)[0] for line in out]


@pytest.mark.parametrize("function", [ask_tell.attempt, on_mnist.evaluate_in_worker])
def test_what_workers_run_is_sent_to_them_by_its_name(function):
    assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.parametrize("where", ["workers", "scheduler"])
def test_the_command_searches_elsewhere_as_it_does_alone(
    where, cluster, tmp_path, monkeypatch, capsys
):
    """Only the training is stubbed, and the import of Keras; `HW4_SEED` overrides --seed."""
    monkeypatch.setenv("HW4_SEED", "5")
    monkeypatch.setattr(on_mnist, "trainer", lambda: stub)
    monkeypatch.setattr(on_mnist, "evaluate_in_worker", stub)
    monkeypatch.setattr(ask_tell, "attempt", by_value(ask_tell.attempt))
    assert cli.main(arguments(tmp_path / "alone")) == 0
    alone = expected(capsys)
    assert len(alone) == 7
    assert alone[-1].startswith("winner: trial 4, validation accuracy 0.")
    more = ["--workers", "2"] if where == "workers" else ["--scheduler", cluster.scheduler_address]
    assert cli.main(arguments(tmp_path / where, "--seed", "9", *more)) == 0
    assert expected(capsys) == alone


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--workers", "-1"], "workers must be an integer of at least 0; got -1"),
        (
            ["--workers", "2", "--scheduler", "tcp://x:1"],
            "workers must be 0 with a scheduler; got 2",
        ),
        (["--scheduler", "nowhere"], "scheduler must be an address such as tcp://.*; got nowhere"),
        (["--tuner", "grid"], "tuner must be one of random, bayesian, hyperband; got 'grid'"),
        (["--trials", "0"], "trials must be an integer of at least 1; got 0"),
    ],
)
def test_senseless_options_are_refused(more, message, tmp_path, monkeypatch):
    monkeypatch.setattr(on_mnist, "trainer", lambda: stub)
    parser = argparse.ArgumentParser()
    tune.add_arguments(parser)
    with pytest.raises(ValueError, match=message):
        tune.run(parser.parse_args([*more, "--folder", str(tmp_path / "search")]))
    assert not (tmp_path / "search").exists()


def test_a_scheduler_of_ten_million_signs_is_not_repeated_whole(capsys):
    assert cli.main(["tune", "--scheduler", "k" * 10**7]) == 2
    assert len(capsys.readouterr().err) < 4000


def test_a_scheduler_that_does_not_answer_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tune, "PATIENCE", 0.5)
    assert cli.main(arguments(tmp_path / "search", "--scheduler", "tcp://127.0.0.1:9")) == 1
    message = capsys.readouterr().err
    assert message.startswith("hw4 tune: scheduler must answer within 0.5 s; got ")
    assert len(message.splitlines()) == 1
