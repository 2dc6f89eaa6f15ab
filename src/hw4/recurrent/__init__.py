"""Questions 3 and 4: recurrent networks built, counted, stepped and compared with convolutions."""

from hw4.recurrent import counts, stepping, tasks
from hw4.recurrent.networks import (
    compile_and_fit,
    conv_network,
    predict,
    recurrent_network,
    stacked_lstm,
)
from hw4.recurrent.windows import check_axes, windows

__all__ = [
    "check_axes",
    "compile_and_fit",
    "conv_network",
    "counts",
    "predict",
    "recurrent_network",
    "stacked_lstm",
    "stepping",
    "tasks",
    "windows",
]
