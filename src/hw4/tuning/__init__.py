"""Question 1: find a network for MNIST by searching, then train it once and properly.

`search` sees the training split and chooses by the validation split; neither it nor `train_final`
ever asks for the test set. `search_space` holds what may be chosen, `search_log` reads what came
out, `reported` takes the report's own search apart, `ablation` takes parts of a network away.
"""

from hw4.tuning.procedure import (
    accuracy,
    build_model,
    final_epochs,
    fit,
    inputs,
    plan,
    search,
    train_final,
    trainer,
)

__all__ = [
    "accuracy",
    "build_model",
    "final_epochs",
    "fit",
    "inputs",
    "plan",
    "search",
    "train_final",
    "trainer",
]
