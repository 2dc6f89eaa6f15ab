"""What two questions measure alike, against bookkeeping done by hand."""

import time

from hw4.measure import paired_seconds


def test_times_are_paired_and_the_first_round_is_not_counted():
    calls = []

    def slow():
        calls.append("slow")
        time.sleep(0.01 if len(calls) > 2 else 0.5)

    table = paired_seconds([lambda: calls.append("quick"), slow], rounds=3)
    assert table.shape == (3, 2)
    assert calls == ["quick", "slow"] * 4
    assert (table[:, 1] >= 0.01).all()
    assert (table < 0.5).all()
