"""Oracles and tuner: repeatable, resumable after kill -9, without aborts, honest in their log."""

import json
import signal
import subprocess
import sys
import textwrap

import keras_tuner
import numpy as np
import pytest
from keras_tuner import oracles

from hw4.tuner import TUNERS, Plan, best, open_search, races, records, running, write_json
from hw4.tuner.oracles import ORACLES

SPACE = races.stub_space()


def plan(tuner="random", **changes):
    options = {"trials": 7, "seed": 0, "epochs": (2, 6), "promoted": 2, "initial_points": 4}
    return Plan(SPACE, tuner, **options | changes)


def run(planned, folder, evaluate=races.stub):
    search = open_search(planned, folder)
    search.run(evaluate)
    return records(search.oracle)


def timeless(log):
    return [{k: v for k, v in record.items() if k != "seconds"} for record in log]


@pytest.mark.parametrize("tuner", TUNERS)
def test_equal_seeds_repeat_and_others_share_no_trial(tuner, tmp_path):
    logs = [run(plan(tuner, seed=seed), tmp_path / str(seed)) for seed in range(5)]
    again = run(plan(tuner, seed=0), tmp_path / "again")
    assert timeless(again) == timeless(logs[0])
    # Keras Tuner 1.4.8 proposes shifted copies of the same trials for s and s + 3.
    rates = [{record["values"]["learning_rate"] for record in log} for log in logs]
    assert all(rates[i].isdisjoint(rates[j]) for i in range(5) for j in range(i))


def test_the_best_first_trials_are_promoted_once_each(tmp_path):
    log = run(plan(trials=9, promoted=3), tmp_path / "search")
    first, longer = log[:9], log[9:]
    ranked = sorted(first, key=lambda record: -record["score"])
    assert [record["parent"] for record in longer] == [record["trial"] for record in ranked[:3]]
    assert [record["values"] for record in longer] == [record["values"] for record in ranked[:3]]
    assert {record["epochs"] for record in first} == {2}
    assert {record["epochs"] for record in longer} == {6}
    assert best(log) == max(longer, key=lambda record: record["score"])


def test_hyperband_promotes_within_its_brackets(tmp_path):
    log = run(plan("hyperband"), tmp_path / "search")
    assert [record["epochs"] for record in log] == [2] * 5 + [6] * 2 + [6] * 3
    promoted = [record for record in log if record["parent"] is not None]
    ranked = sorted(log[:5], key=lambda record: -record["score"])
    assert [record["parent"] for record in promoted] == [record["trial"] for record in ranked[:2]]


@pytest.mark.parametrize("tuner", TUNERS)
def test_failures_abort_nothing_and_never_win(tuner, tmp_path):
    calls = []

    def evaluate(values, epochs, seed):
        calls.append(seed)
        if len(calls) <= 4:
            raise MemoryError("too large")
        return float("nan") if len(calls) == 5 else races.stub(values, epochs, seed)

    log = run(plan(tuner, trials=8), tmp_path / "search", evaluate)
    assert len(log) == 10
    assert [record["status"] for record in log[:5]] == ["failed"] * 5
    assert log[0]["message"] == "MemoryError: too large"
    assert "score must be finite; got nan" in log[4]["message"]
    assert best(log)["status"] == "completed"
    assert best(log)["epochs"] == 6
    assert len(set(calls)) == 10


def test_a_search_without_any_success_says_why(tmp_path):
    def evaluate(values, epochs, seed):
        raise RuntimeError("no device")

    log = run(plan(trials=4), tmp_path / "search", evaluate)
    assert len(log) == 4
    with pytest.raises(ValueError, match=r"got 4 trials and none did \(RuntimeError: no device\)"):
        best(log)


class Interruption(BaseException):
    """What no `except Exception` holds, as a kill."""


@pytest.mark.parametrize("tuner", TUNERS)
def test_interrupted_at_every_trial_it_ends_as_if_never_interrupted(tuner, tmp_path):
    begun = []

    def interrupted(values, epochs, seed):
        begun.append(seed)
        if begun.count(seed) == 1:
            raise Interruption
        return races.stub(values, epochs, seed)

    for _ in range(20):
        try:
            log = run(plan(tuner), tmp_path / "torn", interrupted)
            break
        except Interruption:
            continue
    assert timeless(log) == timeless(run(plan(tuner), tmp_path / "whole"))
    assert len(begun) == 2 * len(log)


def test_interrupted_between_the_end_of_a_trial_and_the_next(tmp_path, monkeypatch):
    evaluations = []

    def evaluate(values, epochs, seed):
        evaluations.append(seed)
        return races.stub(values, epochs, seed)

    def interrupted(self):
        raise Interruption

    for _ in range(9):
        search = open_search(plan(), tmp_path / "torn")
        with monkeypatch.context() as patch:
            patch.setattr(search, "save", interrupted.__get__(search))
            with pytest.raises(Interruption):
                search.run(evaluate)
    log = run(plan(), tmp_path / "torn", evaluate)
    assert timeless(log) == timeless(run(plan(), tmp_path / "whole"))
    assert len(evaluations) == len(set(evaluations)) == 9


KILLED = """
    import os, signal, sys
    from hw4.tuner import Plan, open_search, races
    calls = []
    def evaluate(values, epochs, seed):
        calls.append(seed)
        if len(calls) == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return races.stub(values, epochs, seed)
    plan = Plan(races.stub_space(), sys.argv[1], 7, 0, (2, 6), 2, 4)
    open_search(plan, sys.argv[2]).run(evaluate)
"""


def test_kill_9_in_the_middle_of_a_trial(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED), encoding="utf-8")
    processes = {
        tuner: subprocess.Popen(
            [sys.executable, script, tuner, tmp_path / tuner], stderr=subprocess.DEVNULL
        )
        for tuner in TUNERS
    }
    for tuner, process in processes.items():
        assert process.wait(timeout=120) == -signal.SIGKILL
        state = json.loads((tmp_path / tuner / "trials/oracle.json").read_text("utf-8"))
        assert len(state["ongoing_trials"]) == 1
        assert len(state["end_order"]) == 5
        calls = []

        def evaluate(values, epochs, seed, calls=calls):
            calls.append(seed)
            return races.stub(values, epochs, seed)

        log = run(plan(tuner), tmp_path / tuner, evaluate)
        assert len(calls) == len(log) - 5
        whole = run(plan(tuner), tmp_path / f"{tuner} whole")
        assert timeless(log) == timeless(whole)
        assert best(log)["trial"] == best(whole)["trial"]


def test_a_finished_search_is_read_and_not_run_again(tmp_path):
    log = run(plan(), tmp_path / "search")
    assert run(plan(), tmp_path / "search", evaluate=None) == log


def test_half_a_file_from_a_kill_is_not_read(tmp_path):
    log = run(plan(), tmp_path / "search")
    (tmp_path / "search/trials/oracle.json.partial").write_text('{"trials": [', encoding="utf-8")
    assert run(plan(), tmp_path / "search", evaluate=None) == log


def test_a_search_that_was_killed_while_its_folder_was_made_begins_anew(tmp_path):
    (tmp_path / "search.json.partial").write_text('{"tun', encoding="utf-8")
    assert len(run(plan(), tmp_path)) == 9


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"data": {"file": "other"}}, "data"),
        ({"seed": 1}, "seed"),
        ({"tuner": "bayesian"}, "tuner"),
        ({"trials": 8, "promoted": 1}, "promoted, trials"),
    ],
)
def test_a_folder_of_another_search_is_refused(changed, named, tmp_path):
    run(plan(), tmp_path / "search")
    before = (tmp_path / "search/trials/oracle.json").read_bytes()
    with pytest.raises(ValueError, match=f"which differs in {named}. Name another folder"):
        open_search(plan(**changed), tmp_path / "search")
    assert (tmp_path / "search/trials/oracle.json").read_bytes() == before


def test_a_folder_of_another_space_or_of_something_else_is_refused(tmp_path):
    open_search(plan(), tmp_path / "search")
    wider = keras_tuner.HyperParameters()
    wider.Float("learning_rate", 1e-5, 1e-2, sampling="log")
    with pytest.raises(ValueError, match="differs in space"):
        open_search(Plan(wider, trials=7, promoted=2, initial_points=4), tmp_path / "search")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").touch()
    with pytest.raises(ValueError, match="which holds other files"):
        open_search(plan(), tmp_path / "thesis")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]


def test_a_small_space_ends_when_it_is_exhausted(tmp_path):
    space = keras_tuner.HyperParameters()
    space.Choice("width", [1, 2, 3])
    log = run(
        Plan(space, trials=10, promoted=1, epochs=(1, 2)),
        tmp_path / "search",
        lambda values, epochs, seed: values["width"],
    )
    assert sorted(record["values"]["width"] for record in log[:-1]) == [1, 2, 3]
    assert log[-1]["values"] == {"width": 3}


def test_every_proposal_is_repaired_before_it_counts(tmp_path):
    def repair(values):
        return values | {"width": min(values["width"], 64)}

    for tuner in TUNERS:
        log = run(plan(tuner, repair=repair), tmp_path / tuner)
        assert {record["values"]["width"] for record in log} <= {32, 64}
        assert len({json.dumps(record["values"]) for record in log if not record["parent"]}) > 3


def test_scores_guide_the_bayesian_search(tmp_path):
    """On a plain hill, late proposals lie nearer to the peak than random ones do."""
    space = keras_tuner.HyperParameters()
    space.Float("x", 0.0, 1.0)
    distances = {"random": [], "bayesian": []}
    for tuner, found in distances.items():
        for seed in range(4):
            log = run(
                Plan(space, tuner, 12, seed, promoted=0, initial_points=4),
                tmp_path / f"{tuner}{seed}",
                lambda values, epochs, seed: -((values["x"] - 0.7) ** 2),
            )
            found += [abs(record["values"]["x"] - 0.7) for record in log[6:]]
    assert sum(distances["bayesian"]) < 0.5 * sum(distances["random"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuner": "grid"}, "tuner must be one of random, bayesian, hyperband; got 'grid'"),
        ({"trials": 0}, "trials must be an integer of at least 1; got 0"),
        ({"seed": -1}, "seed must be an integer of at least 0; got -1"),
        ({"seed": True}, "seed must be an integer of at least 0; got True"),
        ({"trials": 2.0}, r"trials must be an integer of at least 1; got 2\.0"),
        ({"epochs": (3, 2)}, r"1 <= short <= long; got \(3, 2\)"),
        ({"epochs": (0, 2)}, r"1 <= short <= long; got \(0, 2\)"),
        ({"epochs": (1.5, 2)}, r"epochs must be two integers .* got \(1\.5, 2\)"),
        ({"epochs": (1, 2, 3)}, r"epochs must be two integers .* got \(1, 2, 3\)"),
        ({"epochs": ("1", "2")}, r"epochs must be two integers .* got \('1', '2'\)"),
        ({"epochs": 3}, r"epochs must be two integers .* got 3"),
        (
            {"tuner": "hyperband", "epochs": (1, 2)},
            r"epochs must end with at least 3 for hyperband; got \(1, 2\)",
        ),
    ],
)
def test_senseless_plans_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        plan(**changes)


def test_integers_of_numpy_are_integers():
    counted = plan(trials=np.int64(7), seed=np.uint8(0), epochs=[np.int32(2), np.int64(6)])
    assert counted.signature() == plan().signature()
    assert counted.digest() == plan().digest()


def test_json_has_no_word_for_nan(tmp_path):
    write_json(tmp_path / "log.json", [1.0])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "log.json", [float("nan")])
    assert (tmp_path / "log.json").read_text("utf-8") == "[1.0]"


def test_no_files_but_the_two_of_the_search(tmp_path):
    run(plan(), tmp_path / "search")
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {"search/search.json", "search/trials/oracle.json"}


def test_nothing_is_printed(tmp_path, capfd):
    run(plan("bayesian"), tmp_path / "search")
    run(plan("bayesian"), tmp_path / "search")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("epochs", [(2, 6), (1, 3), (1, 10)])
@pytest.mark.parametrize("tuner", TUNERS)
def test_the_number_of_trials_is_known_before(tuner, epochs, tmp_path):
    assert set(ORACLES) == set(TUNERS)
    total = open_search(plan(tuner, epochs=epochs), tmp_path).oracle.total
    assert len(run(plan(tuner, epochs=epochs), tmp_path)) == total


@pytest.mark.parametrize("tuner", TUNERS)
def test_the_bar_of_a_resumed_search_begins_where_it_stopped(tuner, tmp_path, monkeypatch, capfd):
    def evaluate(values, epochs, seed):
        calls.append(seed)
        if len(calls) == 5:
            raise Interruption
        return races.stub(values, epochs, seed)

    calls = []
    with pytest.raises(Interruption):
        run(plan(tuner), tmp_path, evaluate)
    monkeypatch.setattr(running, "watched", lambda: True)
    total = len(run(plan(tuner), tmp_path, evaluate))
    shown = capfd.readouterr().err
    assert f"| 4/{total} [" in shown.split("\r")[1]


def test_running_and_failed_trials_count_as_the_worst_for_the_bayesian_search(tmp_path):
    def end(trial, score):
        oracle.update_trial(trial.trial_id, {"val_accuracy": score, "seconds": 1.0})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)

    oracle = open_search(plan("bayesian"), tmp_path).oracle
    for score in (0.92, 0.90, 0.91):
        end(oracle.create_trial("one"), score)
    # What Keras Tuner makes of completed trials alone.
    theirs = oracles.BayesianOptimizationOracle._vectorize_trials(oracle)
    for ours, wanted in zip(oracle._vectorize_trials(), theirs, strict=True):
        np.testing.assert_allclose(ours, wanted)
    for _ in range(2):
        oracle.create_trial("lost")
        oracle.release("lost")
    last = oracle.create_trial("one")
    oracle.create_trial("other")
    end(last, 0.93)
    x, y = oracle._vectorize_trials()
    assert x.shape == (6, 3)
    assert y.tolist() == [-0.92, -0.90, -0.91, -0.90, -0.93, -0.90]
    # The first proposal of the process itself.
    assert oracle.create_trial("one").status == "RUNNING"
    assert np.isfinite(oracle.gpr.predict(x)).all()
