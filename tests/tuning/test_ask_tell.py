"""Search by ask and tell: repeatable, resumable after kill -9, without aborts, honest."""

import json
import multiprocessing
import os
import signal
import textwrap

import keras_tuner
import numpy as np
import pytest

from hw4.tuning import TUNERS, ask_tell, best, race
from hw4.tuning.ask_tell import Plan, Search, attempt

SPACE = race.stub_space()


def plan(tuner="random", **changes):
    options = {"trials": 7, "seed": 0, "epochs": (2, 6), "promoted": 2, "initial_points": 4}
    return Plan(SPACE, tuner, **options | changes)


def run(planned, folder=None, evaluate=race.stub):
    with Search(planned, folder) as search:
        return search.run(evaluate)


def lines(folder):
    return [json.loads(line) for line in (folder / "events.jsonl").read_text("utf-8").splitlines()]


def timeless(log):
    return [{k: v for k, v in record.items() if k != "seconds"} for record in log]


@pytest.mark.parametrize("tuner", TUNERS)
def test_equal_seeds_repeat_and_others_share_no_trial(tuner):
    seeds = [*range(12), 2**31, 2**32 - 1]
    logs = [run(plan(tuner, seed=seed, trials=5)) for seed in seeds]
    assert timeless(run(plan(tuner, seed=0, trials=5))) == timeless(logs[0])
    # Keras Tuner 1.4.8 proposes shifted copies of the same trials for s and s + 3.
    rates = [rate for log in logs for rate in {r["values"]["learning_rate"] for r in log}]
    assert len(rates) == len(set(rates)) >= 5 * len(seeds)


def test_named_streams_share_nothing():
    drawn = [
        plan(seed=seed).stream(name, number)
        for seed in range(40)
        for name in ("proposals", "trial", "trials")
        for number in range(20)
    ]
    assert len(set(drawn)) == len(drawn)
    assert min(drawn) > 0


def test_the_best_first_trials_are_promoted_once_each():
    log = run(plan(trials=9, promoted=3))
    first, longer = log[:9], log[9:]
    ranked = sorted(first, key=lambda record: -record["score"])
    assert [record["parent"] for record in longer] == [record["trial"] for record in ranked[:3]]
    assert [record["values"] for record in longer] == [record["values"] for record in ranked[:3]]
    assert {record["epochs"] for record in first} == {2}
    assert {record["epochs"] for record in longer} == {6}
    assert best(log) == max(longer, key=lambda record: record["score"])


def test_hyperband_promotes_within_its_brackets():
    log = run(plan("hyperband"))
    assert [record["epochs"] for record in log] == [2] * 5 + [6] * 2 + [6] * 3
    promoted = [record for record in log if record["parent"] is not None]
    ranked = sorted(log[:5], key=lambda record: -record["score"])
    assert [record["parent"] for record in promoted] == [record["trial"] for record in ranked[:2]]


@pytest.mark.parametrize("tuner", TUNERS)
def test_failures_abort_nothing_and_never_win(tuner):
    calls = []

    def evaluate(values, epochs, seed):
        calls.append(seed)
        if len(calls) <= 4:
            raise MemoryError("too large")
        return float("nan") if len(calls) == 5 else race.stub(values, epochs, seed)

    log = run(plan(tuner, trials=8), evaluate=evaluate)
    assert len(log) == 10
    assert [record["status"] for record in log[:5]] == ["failed"] * 5
    assert log[0]["message"] == "MemoryError: too large"
    assert "score must be finite; got nan" in log[4]["message"]
    assert best(log)["status"] == "completed"
    assert best(log)["epochs"] == 6
    assert len(set(calls)) == 10


def test_a_search_without_any_success_says_why():
    def evaluate(values, epochs, seed):
        raise RuntimeError("no device")

    log = run(plan(trials=4), evaluate=evaluate)
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
        return race.stub(values, epochs, seed)

    for _ in range(20):
        try:
            log = run(plan(tuner), tmp_path / "torn", interrupted)
            break
        except Interruption:
            continue
    assert timeless(log) == timeless(run(plan(tuner)))
    assert len(begun) == 2 * len(log)


def killed_in_trial(planned, folder, number):
    """Search in a process of its own, which SIGKILL ends in the middle of a trial."""

    def evaluate(values, epochs, seed):
        calls.append(seed)
        if len(calls) == number + 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return race.stub(values, epochs, seed)

    calls = []
    # A fork has no time to lose with importing Keras.
    child = multiprocessing.get_context("fork").Process(
        target=run, args=(planned, folder, evaluate)
    )
    child.start()
    child.join(timeout=60)
    assert child.exitcode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("tuner", TUNERS)
def test_kill_9_in_the_middle_of_a_trial(tuner, tmp_path):
    whole = run(plan(tuner))
    for number in (0, 5, len(whole) - 1):
        folder = tmp_path / str(number)
        killed_in_trial(plan(tuner), folder, number)
        events = [(event["event"], event.get("trial")) for event in lines(folder)]
        assert events[-1] == ("asked", number)
        assert events.count(("told", number)) == 0
        calls = []

        def evaluate(values, epochs, seed, calls=calls):
            calls.append(seed)
            return race.stub(values, epochs, seed)

        log = run(plan(tuner), folder, evaluate)
        assert len(calls) == len(log) - number
        assert timeless(log) == timeless(whole)
        assert best(log)["trial"] == best(whole)["trial"]


@pytest.mark.slow
@pytest.mark.parametrize("tuner", TUNERS)
def test_a_log_cut_at_any_byte_is_gone_on_with(tuner, tmp_path):
    whole, path = run(plan(tuner), tmp_path), tmp_path / "events.jsonl"
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in [
        0,
        1,
        content.index(b"\n"),
        *rng.integers(len(content), size=4 if tuner == "bayesian" else 12),
        len(content) - 1,
    ]:
        path.write_bytes(content[:cut])
        assert timeless(run(plan(tuner), tmp_path)) == timeless(whole)
        events = lines(tmp_path)
        told = [event["trial"] for event in events if event["event"] == "told"]
        assert sorted(told) == [*range(len(whole))]


@pytest.mark.parametrize(
    ("line", "damaged", "message"),
    [
        (1, "", "got no event search in line 1"),
        (1, "[]", "got no event search in line 1"),
        (3, '{"event": "to', "got no event asked or told in line 3"),
        (3, "\0\0\0", "got no event asked or told in line 3"),
        (3, "[" * 100_000, "got no event asked or told in line 3"),
        (3, '{"event": ["told"]}', "got no event asked or told in line 3"),
        (3, '{"event": "told", "trial": 0, "score": 1e999}', "got no event asked or told in line"),
        (4, '{"event": "search"}', "got no event asked or told in line 4"),
        (3, '{"event": "told"}', r"an event out of place \(KeyError\('trial'\)\) in line 3"),
        (3, '{"event": "told", "trial": 5}', r"\(trial 5 told before it was asked\) in line 3"),
        (3, '{"event": "told", "trial": "0"}', r"out of place \(TypeError.* in line 3"),
        (3, '{"event": "told", "trial": 0, "score": NaN}', "got no event asked or told in line 3"),
        (
            3,
            '{"event": "told", "trial": 0, "score": "high", "details": 0, "seconds": 1, '
            '"message": 0}',
            r"an event out of place \(.*\) in line 3",
        ),
        (3, '{"event": "told", "trial": 0}', r"out of place \(KeyError\('score'\)\) in line 3"),
        (4, '{"event": "asked", "trial": 3}', r"\(trial 3 after 1 trials\) in line 4"),
    ],
)
def test_a_damaged_line_is_one_clear_error(line, damaged, message, tmp_path):
    run(plan(), tmp_path)
    path = tmp_path / "events.jsonl"
    content = path.read_text("utf-8").splitlines()
    content[line - 1] = damaged
    path.write_text("\n".join(content) + "\n", "utf-8")
    with pytest.raises(ValueError, match=message) as error:
        Search(plan(), tmp_path)
    assert str(error.value).startswith(f"{path} must hold one event a line; got ")
    assert str(error.value).endswith("Restore the file, or search again in another folder.")


def test_a_result_told_twice_is_a_damaged_line(tmp_path):
    run(plan(), tmp_path)
    path = tmp_path / "events.jsonl"
    content = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join([*content[:3], content[2], *content[3:]]), "utf-8")
    with pytest.raises(ValueError, match=r"\(trial 0 told twice\) in line 4"):
        Search(plan(), tmp_path)


def test_the_log_says_what_was_proposed_built_and_told(tmp_path):
    def narrow(values):
        return values | {"width": 32}

    log = run(plan(trials=2, promoted=1, affordable=narrow), tmp_path)
    header, *events = lines(tmp_path)
    assert (header["event"], header["tuner"], header["seed"]) == ("search", "random", 0)
    assert [event["event"] for event in events] == ["asked", "told"] * 3
    assert [event["trial"] for event in events] == [0, 0, 1, 1, 2, 2]
    for event, record in zip(events[::2], log, strict=True):
        assert event["values"] == record["values"] == event["proposed"] | {"width": 32}
    assert [event["score"] for event in events[1::2]] == [record["score"] for record in log]


def test_details_beside_the_score_are_kept(tmp_path):
    def evaluate(values, epochs, seed):
        return 0.5, {"wrong": [1, 2]}

    log = run(plan(trials=2, promoted=0), tmp_path, evaluate)
    assert [(r["score"], r["details"]) for r in log] == [(0.5, {"wrong": [1, 2]})] * 2
    assert run(plan(trials=2, promoted=0), tmp_path, evaluate=None) == log


def test_two_searches_at_once_in_one_folder_are_refused(tmp_path):
    with Search(plan(), tmp_path):
        with pytest.raises(ValueError, match="folder must have no other search at work; got"):
            Search(plan(), tmp_path)
        # Another process is another matter than another file of this one.
        code = f"""
            import sys
            from hw4.tuning import event_log
            try:
                event_log.EventLog({str(tmp_path)!r}, {{}})
            except ValueError as error:
                sys.exit("no other search" in str(error) and 7)
        """
        child = multiprocessing.get_context("fork").Process(
            target=exec, args=(textwrap.dedent(code), {})
        )
        child.start()
        child.join(timeout=60)
        assert child.exitcode == 7
    assert len(run(plan(), tmp_path)) == 9


def test_a_finished_search_is_read_and_not_run_again(tmp_path):
    log = run(plan(), tmp_path)
    before = (tmp_path / "events.jsonl").read_bytes()
    assert run(plan(), tmp_path, evaluate=None) == log
    assert (tmp_path / "events.jsonl").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["events.jsonl"]


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
    before = (tmp_path / "search/events.jsonl").read_bytes()
    with pytest.raises(ValueError, match=f"which differs in {named}. Name another folder"):
        Search(plan(**changed), tmp_path / "search")
    assert (tmp_path / "search/events.jsonl").read_bytes() == before


def test_a_folder_of_another_space_or_of_something_else_is_refused(tmp_path):
    run(plan(), tmp_path / "search")
    wider = keras_tuner.HyperParameters()
    wider.Float("learning_rate", 1e-5, 1e-2, sampling="log")
    with pytest.raises(ValueError, match="differs in space"):
        Search(Plan(wider, trials=7, promoted=2, initial_points=4), tmp_path / "search")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").touch()
    with pytest.raises(ValueError, match="which holds other files"):
        Search(plan(), tmp_path / "thesis")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]
    with pytest.raises(ValueError, match="folder must be a folder; got .*, which is none"):
        Search(plan(), tmp_path / "thesis/chapter.tex")


def test_a_small_space_ends_when_it_is_exhausted():
    space = keras_tuner.HyperParameters()
    space.Choice("width", [1, 2, 3])
    for tuner in ("random", "hyperband"):
        log = run(
            Plan(space, tuner, trials=10, promoted=1, epochs=(1, 9)),
            None,
            lambda values, epochs, seed: values["width"],
        )
        first = [record["values"]["width"] for record in log if record["parent"] is None]
        assert sorted(first) == [1, 2, 3]
        # Hyperband has promoted within the round that it could fill.
        assert tuner == "hyperband" or log[-1]["values"] == {"width": 3}


def test_what_is_built_is_affordable_and_what_was_proposed_is_kept(tmp_path):
    def affordable(values):
        return values | {"width": min(values["width"], 64)}

    for tuner in TUNERS:
        log = run(plan(tuner, affordable=affordable), tmp_path / tuner)
        assert max(record["proposed"]["width"] for record in log) > 64
        for record in log:
            assert record["values"] == affordable(record["proposed"])
        assert timeless(run(plan(tuner, affordable=affordable), tmp_path / tuner)) == timeless(log)


def test_scores_guide_the_bayesian_search():
    """On a plain hill, late proposals lie nearer to the peak than random ones do."""
    space = keras_tuner.HyperParameters()
    space.Float("x", 0.0, 1.0)
    distances = {"random": [], "bayesian": []}
    for tuner, found in distances.items():
        for seed in range(4):
            log = run(
                Plan(space, tuner, 12, seed, promoted=0, initial_points=4),
                None,
                lambda values, epochs, seed: -((values["x"] - 0.7) ** 2),
            )
            found += [abs(record["values"]["x"] - 0.7) for record in log[6:]]
    assert sum(distances["bayesian"]) < 0.5 * sum(distances["random"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuner": "grid"}, "tuner must be one of random, bayesian, hyperband; got 'grid'"),
        ({"trials": 0}, "trials must be an integer of at least 1; got 0"),
        ({"seed": -1}, "seed must be an integer from 0 to 4294967295; got -1"),
        ({"seed": True}, "seed must be an integer from 0 to 4294967295; got True"),
        ({"trials": 2.0}, r"trials must be an integer of at least 1; got 2\.0"),
        ({"epochs": (3, 2)}, r"epochs\[1\] must be an integer of at least 3; got 2\. Try \(3, 6\)"),
        ({"epochs": (0, 2)}, r"epochs\[0\] must be an integer of at least 1; got 0"),
        ({"epochs": (1.5, 2)}, r"epochs\[0\] must be an integer of at least 1; got 1\.5"),
        ({"epochs": (1, 2, 3)}, r"epochs must be two integers, .* got \(1, 2, 3\)"),
        ({"epochs": ("1", "2")}, r"epochs\[0\] must be an integer of at least 1; got '1'"),
        ({"epochs": 3}, r"epochs must be two integers, .* got 3\. Try"),
        (
            {"tuner": "hyperband", "epochs": (1, 2)},
            r"epochs\[1\] must be an integer of at least 3; got 2\. Try \(1, 6\)",
        ),
    ],
)
def test_senseless_plans_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        plan(**changes)


def test_integers_of_numpy_are_integers():
    counted = plan(trials=np.int64(7), seed=np.uint8(0), epochs=[np.int32(2), np.int64(6)])
    assert counted.signature() == plan().signature()
    assert timeless(run(counted)) == timeless(run(plan()))


def test_nothing_is_printed(tmp_path, capfd):
    run(plan("bayesian"), tmp_path / "search")
    run(plan("bayesian"), tmp_path / "search")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("tuner", TUNERS)
def test_the_bar_of_a_resumed_search_begins_where_it_stopped(tuner, tmp_path, monkeypatch, capfd):
    def evaluate(values, epochs, seed):
        calls.append(seed)
        if len(calls) == 5:
            raise Interruption
        return race.stub(values, epochs, seed)

    calls = []
    with pytest.raises(Interruption):
        run(plan(tuner), tmp_path, evaluate)
    monkeypatch.setattr(ask_tell, "watched", lambda: True)
    total = len(run(plan(tuner), tmp_path, evaluate))
    shown = capfd.readouterr().err
    # Hyperband counts its own trials.
    assert ("4trial [" if tuner == "hyperband" else f"| 4/{total} [") in shown.split("\r")[1]


def test_the_bayesian_search_keeps_away_from_failures_and_from_running_trials():
    def evaluate(values, epochs, seed):
        if values["x"] > 0.5:
            raise MemoryError("too large")
        return values["x"]

    space = keras_tuner.HyperParameters()
    space.Float("x", 0.0, 1.0)
    planned = Plan(space, "bayesian", 24, promoted=0, initial_points=6)
    log = run(planned, None, evaluate)
    failed = [record["status"] == "failed" for record in log]
    assert sum(failed[:6]) > 0
    assert sum(failed[12:]) < sum(failed[:6]) / 6 * 12
    assert 0.4 < best(log)["values"]["x"] <= 0.5
    search = Search(planned)
    for _ in range(6):
        record = search.ask()
        search.tell(record["trial"], attempt(evaluate, *search.job(record)))
    running = sorted(search.ask()["values"]["x"] for _ in range(5))
    assert min(np.diff(running)) > 0.01


def test_the_bayesian_model_sees_what_keras_tuner_would_show_it():
    def end(trial, score):
        oracle.update_trial(trial.trial_id, {ask_tell.SCORE: score})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)

    oracle, shown = plan("bayesian").oracle(), []
    for score in (0.92, 0.90, 0.91, 0.94):
        end(oracle.create_trial("one"), score)
    # What Keras Tuner makes of completed trials.
    theirs = oracle._vectorize_trials()
    fit = oracle.gpr.fit
    oracle.gpr.fit = lambda x, y: shown.append((x, y)) or fit(x, y)
    oracle.create_trial("other")
    for ours, wanted in zip(shown[0], theirs, strict=True):
        np.testing.assert_allclose(ours, wanted)
    # The trial that runs counts as the worst.
    oracle.create_trial("one")
    assert shown[1][1].tolist() == [-0.92, -0.90, -0.91, -0.94, -0.90]


def test_a_failed_trial_is_never_promoted_by_hyperband_before_a_completed_one():
    def evaluate(values, epochs, seed):
        begun.append(seed)
        if len(begun) in (2, 4, 5):
            raise MemoryError("too large")
        return -1e6 + len(begun)

    begun = []
    log = run(plan("hyperband"), evaluate=evaluate)
    assert [record["parent"] for record in log if record["parent"] is not None] == [2, 0]
