"""Questions 3 and 4: recurrent networks built, counted, stepped and compared with convolutions."""

from hw4.recurrent.networks import (
    KINDS,
    Scaler,
    by_cell,
    by_stateful_layer,
    check_axes,
    conv_network,
    fit,
    predict,
    recurrent_network,
    stacked_lstm,
    windows,
)

__all__ = [
    "KINDS",
    "Scaler",
    "by_cell",
    "by_stateful_layer",
    "check_axes",
    "conv_network",
    "fit",
    "predict",
    "recurrent_network",
    "stacked_lstm",
    "windows",
]
