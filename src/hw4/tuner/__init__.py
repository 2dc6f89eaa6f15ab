"""Keras Tuner made repeatable, resumable and unable to abort; it knows nothing of a data set.

A `Plan` says what is searched; `open_search` opens its folder, new or interrupted; `Search.run`
runs the trials; `records` lists every one of them and `best` picks the winner. `distributed`
does the same on several processes or machines, `races` compares the tuners on a stub.
"""

from hw4.tuner.plan import TUNERS, Plan, write_json
from hw4.tuner.running import Search, best, open_search, records

__all__ = ["TUNERS", "Plan", "Search", "best", "open_search", "records", "write_json"]
