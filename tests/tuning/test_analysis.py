"""What is read from the log of a search, against scipy and by hand."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from hw4.tuning import TUNERS, analysis, best, race, reported, space

VALUES = {"conv_layers": 2, "filters_1": 16, "filters_2": 64}
VALUES |= {"dropout_conv": 0.1, "dense_layers": 1, "neurons_1": 32, "dropout_dense": 0.0}
VALUES |= {"optimizer": "adam", "learning_rate": 1e-3}


def record(trial, score, epochs=2, parent=None, **values):
    status = "failed" if score is None else "completed"
    return {
        "trial": trial,
        "parent": parent,
        "values": VALUES | values,
        "epochs": epochs,
        "score": score,
        "seconds": 1.25,
        "status": status,
        "message": None,
    }


LOG = [
    record(0, 0.90, learning_rate=1e-4, optimizer="sgd"),
    record(1, None),
    record(2, 0.97, learning_rate=5e-4),
    record(3, 0.95, learning_rate=4e-4, optimizer="rmsprop"),
    record(4, 0.98, learning_rate=9e-4),
    record(5, 0.99, epochs=4, parent=4, learning_rate=9e-4),
]


def test_rows_show_every_hyperparameter_and_say_what_failed():
    rows = analysis.table(LOG)
    assert rows[5] == {
        **{"trial": "5", "repeats trial": "4", "filters": "16/64", "neurons": "32"},
        **{
            "dropout conv": "0.1",
            "dropout dense": "0.0",
            "optimizer": "adam",
            "learning rate": "9.0e-04",
        },
        **{"MACs": "2.0 M", "epochs": "4", "score": "0.9900", "seconds": "1.2"},
    }
    assert rows[1]["score"] == "failed"
    # 784 x 9 x 16 + 196 x 9 x 16 x 64 + 49 x 64 x 32 + 32 x 10
    assert space.macs(VALUES) == 112_896 + 1_806_336 + 100_352 + 320


def test_the_reported_winner_is_described_like_ours():
    theirs = analysis.describe(reported.BEST, reported.network(reported.BEST))
    assert theirs.keys() == analysis.describe(VALUES).keys()
    assert (theirs["filters"], theirs["neurons"]) == ("128/64/256", "256/256/160/256")
    assert (theirs["dropout conv"], theirs["dropout dense"]) == ("0.2/0.4/0.0", "0.3/0.2/0.2/0.3")
    # convolutions on 26, 11 and 3 pixels, then 256 numbers into the dense layers
    macs = 676 * 9 * 128 + 121 * 9 * 128 * 64 + 9 * 9 * 64 * 256
    macs += 256 * 256 + 256 * 256 + 256 * 160 + 160 * 256 + 256 * 10
    assert theirs["MACs"] == f"{macs / 1e6:.1f} M"


def test_over_the_course_the_incumbent_is_who_would_win():
    # A longer trial counts more than a better short one, as in `best`.
    columns = analysis.course([*LOG[:5], record(5, 0.975, epochs=4, parent=4)])
    assert columns["spent"].tolist() == [2, 4, 6, 8, 10, 14]
    assert columns["score"].tolist() == pytest.approx(
        [0.90, np.nan, 0.97, 0.95, 0.98, 0.975], nan_ok=True
    )
    assert columns["incumbent"].tolist() == [0.90, 0.90, 0.97, 0.97, 0.98, 0.975]
    assert columns["promoted"].tolist() == [False] * 5 + [True]
    assert np.isnan(analysis.course(LOG[1:2])["incumbent"]).all()


def test_only_short_completed_trials_are_compared():
    assert [r["trial"] for r in analysis.first_trials(LOG)] == [0, 2, 3, 4]
    assert analysis.first_trials([]) == []


def test_influence_against_scipy_and_by_hand():
    found = {row["name"]: row for row in analysis.influence(LOG)}
    scores = [0.90, 0.97, 0.95, 0.98]
    expected = stats.spearmanr([1e-4, 5e-4, 4e-4, 9e-4], scores)
    assert found["learning_rate"]["effect"] == pytest.approx(expected.statistic) == 1.0
    # Ranks 1 (sgd), 3 and 4 (adam), 2 (rmsprop) around 2.5: 1.5² + 2 x 1² + 0.5² of 5.
    assert found["optimizer"]["effect"] == pytest.approx((2.25 + 2 + 0.25) / 5)
    assert found["optimizer"]["measure"] == "eta squared"
    assert found["conv_layers"]["effect"] is None
    assert analysis.influence([]) == []
    level = [record(i, 0.9, learning_rate=1e-4 * (i + 1)) for i in range(4)]
    assert {row["effect"] for row in analysis.influence(level)} == {None}


def test_the_stub_has_its_top_where_it_says_and_short_trials_see_less():
    top = {"learning_rate": 5e-4, "width": 192, "dropout": 0.2}
    assert race.quality(top) == race.PEAK
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = {
            "learning_rate": 10 ** rng.uniform(-5, -3),
            "width": int(rng.choice(range(32, 257, 32))),
            "dropout": float(rng.choice([0.0, 0.1, 0.3])),
        }
        assert race.quality(other) < race.PEAK
    scores = [race.stub(top, epochs, seed=1) for epochs in (1, 2, 6)]
    assert scores == sorted(scores)
    assert race.stub(top, 2, 1) == race.stub(top, 2, 1)


def test_the_race_is_fair_and_says_when_scores_matter():
    runs = {
        tuner: race.run_stub(tuner, 1, trials=11, promoted=3)
        for tuner in ("random", "bayesian", "hyperband")
    }
    assert {int(run["spent"][-1]) for run in runs.values()} == {40}
    for run in runs.values():
        assert len(run["quality"]) == len(run["log"]) == len(run["spent"])
        assert (run["quality"] <= race.PEAK).all()
    assert runs["bayesian"]["seconds"] > runs["random"]["seconds"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3])
def test_when_the_scores_begin_to_matter(seed):
    """After all first trials; after the initial points; after the first round."""
    seeds = range(seed, seed + 16)
    assert [race.listens_after(tuner, seeds, 6, 1) for tuner in TUNERS] == [6, 4, 5]


def test_the_stock_bayesian_oracle_takes_longer_to_propose_than_ours():
    ours = race.run_stub("bayesian", 1, trials=11, promoted=3)["seconds"]
    assert race.stock_bayesian_seconds(1, proposals=1) > 3 * ours


def test_permutation_p_values_by_counting():
    """All orders of 5, counted one by one."""
    scores = np.array([1.0, 2, 3, 4, 5])
    for column in ([2, 1, 3, 5, 4], [1, 2, 3, 4, 5], [1, 1, 2, 2, 3]):
        found, p = analysis._rank(column, scores)
        assert found == pytest.approx(stats.spearmanr(column, scores).statistic)
        every = [stats.spearmanr(order, scores).statistic for order in permutations(column)]
        share = np.mean(np.abs(every) >= abs(found) - 1e-12)
        assert p == pytest.approx(share, abs=0.02)
    groups = ["a", "a", "b", "b", "c"]
    found, p = analysis._between(groups, scores)
    every = [analysis._between(list(order), scores)[0] for order in set(permutations(groups))]
    assert p == pytest.approx(np.mean(np.array(every) >= found - 1e-12))


def test_the_smallest_p_of_three_groups_of_four_is_not_the_approximation():
    groups, scores = list("aaaabbbbcccc"), np.arange(12.0)
    exact = 6 / 34_650
    assert stats.kruskal(*np.split(scores, 3)).pvalue > 0.007
    assert analysis._between(groups, scores)[1] == pytest.approx(exact, abs=3e-4)


def test_every_hyperparameter_has_one_row():
    limits = {f"filters_{i}": space.most_filters(i) for i in range(1, 6)}
    rows = {row["hyperparameter"]: row for row in analysis.every_value(LOG, LOG[5], limits)}
    assert len(rows) == 16
    assert rows["filters_1"] | {"evidence": ""} == {
        **{"hyperparameter": "filters_1", "range": "32 to 256", "budget leaves": "32"},
        **{"chosen": "16", "reported": "128", "evidence": "", "reading": "not searched"},
    }
    assert rows["filters_2"]["budget leaves"] == "32 to 64"
    assert rows["filters_4"]["reported"] == rows["filters_3"]["chosen"] == "no such layer"
    assert rows["dropout_conv"]["reported"] == "0.2/0.4/0.0"
    assert rows["learning_rate"]["range"] == "0.0005 to 0.001"
    assert rows["learning_rate"]["evidence"].startswith("Spearman +1.00, p = 0.0")
    # Of 4! orders two are as extreme: 0.083 proves nothing.
    assert rows["learning_rate"]["reading"] == "undecided"
    assert rows["conv_layers"]["reading"] == "undefined"


def test_the_winner_is_the_best_of_the_longest():
    log = [*LOG, record(6, 0.985, epochs=4, parent=2), record(7, 0.999), record(8, None, epochs=4)]
    assert best(log)["trial"] == 5
    assert best([*log, record(9, 0.99, epochs=4)])["trial"] == 5
    assert best(log[:5])["trial"] == 4
