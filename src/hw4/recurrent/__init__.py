"""Questions 3 and 4: recurrent networks built, counted, stepped and compared with convolutions."""

from hw4.recurrent import counts, stepping, tasks
from hw4.recurrent.networks import (
    Trainer,
    conv_network,
    predict,
    recurrent_network,
    stacked_lstm,
)
from hw4.recurrent.windows import check_axes, windows

__all__ = [
    "Trainer",
    "check_axes",
    "conv_network",
    "counts",
    "predict",
    "recurrent_network",
    "stacked_lstm",
    "stepping",
    "tasks",
    "windows",
]
