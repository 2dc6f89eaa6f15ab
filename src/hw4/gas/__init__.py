"""Question 3: hourly gas consumption, the course's table read and checked, or a generated one."""

from hw4.gas.table import (
    COLUMNS,
    FEATURES,
    GENERATED,
    TARGET,
    TRAIN_SHARE,
    WEEKDAYS,
    as_given,
    calendar,
    complete_hours,
    fill_from_past,
    load,
    train_size,
    validate,
)

__all__ = [
    "COLUMNS",
    "FEATURES",
    "GENERATED",
    "TARGET",
    "TRAIN_SHARE",
    "WEEKDAYS",
    "as_given",
    "calendar",
    "complete_hours",
    "fill_from_past",
    "load",
    "train_size",
    "validate",
]
