"""Question 1: find a network for MNIST by searching, then train it once and properly.

`search` sees the training split and chooses by the validation split; neither it nor `train_final`
ever asks for the test set. `space` holds what may be chosen, `ask_tell` and `event_log` run any
search, `race` compares the tuners on a stub, `analysis` reads what came out, `reported` takes the
report's own search apart, `ablation` takes parts of a network away.
"""

from hw4.tuning.ask_tell import TUNERS, best
from hw4.tuning.network import accuracy, build_model, inputs, mistakes, train_network
from hw4.tuning.on_mnist import search, train_final

__all__ = [
    "TUNERS",
    "accuracy",
    "best",
    "build_model",
    "inputs",
    "mistakes",
    "search",
    "train_final",
    "train_network",
]
