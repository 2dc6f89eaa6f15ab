"""Hourly gas consumption: the course's table if `HW4_GAS` names it, else a generated series.

The table is read, checked against its own dates and never silently repaired: a wrong value is
refused with its column, row and content. What comes out always says where it came from, in
`table.attrs["source"]`.
"""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from hw4 import runtime
from hw4.gas.generated import generate
from hw4.gas.reading import read

TARGET = "cons (m3/unit)"
# The six inputs in the order of the course's program.
FEATURES = ("time (hour)", "year", "month", "day", "holiday", "T air")
COLUMNS = (*FEATURES, TARGET)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
GENERATED = "generated series, not the course's table"
TRAIN_SHARE = 0.8


def load(path: str | Path | None = None) -> pd.DataFrame:
    """Return the hourly table, indexed by date and in order of time.

    Args:
        path: an .xlsx or .csv file whose first column is the date; None takes the file that
            `HW4_GAS` names, or the generated series if it names none.

    Returns:
        Columns `time (hour)` 0..23, `year`, `month`, `day` (weekday name), `holiday` (0 or 1),
        `T air` (degrees C) and `cons (m3/unit)`; the last two may hold NaN. One row for each
        hour from the first to the last: hours that a file lacks come with NaN for both.
        `attrs["source"]` says whether it is generated or which file was read, and
        `attrs["lacking"]` names the hours that the file lacks.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is not such a table, naming columns, rows and values.

    >>> table = load()
    >>> table.shape, table.attrs["source"]
    ((6428, 7), "generated series, not the course's table")
    """
    path = runtime.path_setting("HW4_GAS") if path is None else Path(path)
    if path is None:
        table = generate()
        table.attrs |= {"source": GENERATED, "lacking": []}
        return table
    rows = validate(read(path), path.name)
    table = complete_hours(rows)
    lacking = table.index.difference(rows.index)
    table.attrs |= {"source": f"file {path.name}", "lacking": [str(hour) for hour in lacking]}
    return table


def validate(raw: pd.DataFrame, name: str = "table") -> pd.DataFrame:
    """Return the checked table in order of time, with the column types that `load` promises.

    Args:
        raw: the date in the first column, then at least the seven columns. A date without a
            time of day gets its hour from `time (hour)`. Less than a second beside the full hour
            is rounded (spreadsheets that add 1/24 end in 59.999 s). Whether 03.02.2023 is in
            February or in March, the column `month` says.
        name: what errors call the table.

    Raises:
        ValueError: missing or repeated columns, no rows, unreadable dates, several time zones,
            values that are no numbers or out of range, hours that occur twice, calendar columns
            that contradict the date.
    """
    raw = raw.rename(columns=lambda column: " ".join(str(column).split()))
    absent = [column for column in COLUMNS if column not in raw.columns]
    if absent:
        raise ValueError(
            f"{name} must have the columns {', '.join(COLUMNS)}; got "
            f"{runtime.cut(', '.join(raw.columns))}, without {', '.join(absent)}. "
            "Rename or add them."
        )
    repeated = [column for column in COLUMNS if list(raw.columns).count(column) > 1]
    if repeated:
        raise ValueError(
            f"{name} must have each column once; got several of {', '.join(repeated)} (blanks "
            "around a heading do not count). Delete or rename all but one."
        )
    if raw.empty:
        raise ValueError(f"{name} must have at least one row; got 0. Export the table again.")
    bounds = {"time (hour)": (0, 23), "year": (1900, 2200), "month": (1, 12), "holiday": (0, 1)}
    columns = {column: _integers(raw[column], *bounds[column], name) for column in bounds}
    columns["T air"] = _numbers(raw["T air"], -90, 60, name)
    columns[TARGET] = _numbers(raw[TARGET], 0, np.inf, name)
    dates = _dates(raw, columns["time (hour)"], columns["month"], name)
    columns["day"] = _weekdays(raw["day"], dates, name)
    for column, part in {"time (hour)": "hour", "year": "year", "month": "month"}.items():
        wrong = columns[column] != getattr(dates.dt, part)
        _refuse(wrong, raw[column], f"agree with the date's {part}", name, dates)
    table = pd.DataFrame({column: columns[column].to_numpy() for column in COLUMNS})
    return table.set_index(pd.DatetimeIndex(dates, name="date")).sort_index()


def complete_hours(table: pd.DataFrame) -> pd.DataFrame:
    """Insert the hours that are lacking between the first and the last, with NaN measurements.

    A holiday lasts the whole day, so inserted hours take it from the other rows of their day;
    a day without any row is taken for an ordinary one.

    Raises:
        ValueError: more than one hour in ten would be inserted.
    """
    hours = pd.date_range(table.index[0], table.index[-1], freq="h", name="date")
    lacking = len(hours) - len(table)
    if lacking > 0.1 * len(hours):
        raise ValueError(
            f"dates must be hourly with at most 10 % lacking; got {len(table):,} rows between "
            f"{hours[0]} and {hours[-1]}, where {len(hours):,} hours lie. Check the dates."
        )
    table = table.reindex(hours)
    whole_day = table["holiday"].groupby(hours.normalize()).transform("max")
    calendar = {
        "time (hour)": hours.hour,
        "year": hours.year,
        "month": hours.month,
        "day": hours.day_name(),
        "holiday": table["holiday"].fillna(whole_day).fillna(0),
    }
    integers = {column: "int64" for column in calendar if column != "day"}
    return table.assign(**calendar).astype(integers)


def fill_from_past(table: pd.DataFrame) -> pd.DataFrame:
    """Fill missing measurements with the last one before them; the future is never looked at.

    Raises:
        ValueError: the first row misses a value, so that nothing lies before it.
    """
    filled = table.ffill()
    if filled.isna().to_numpy().any():
        columns = ", ".join(filled.columns[filled.isna().any()])
        raise ValueError(
            f"the first row must be complete; got no value of {columns} on {table.index[0]}. "
            "Drop the rows before the first complete one."
        )
    return filled


def train_size(rows: int, share: float = TRAIN_SHARE) -> int:
    """Return how many of the first rows train; the rest, later in time, is the test.

    >>> train_size(6428)
    5142
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1; got {share}. The course takes 0.8.")
    return int(rows * share)


def as_given(table: pd.DataFrame) -> np.ndarray:
    """Return the six features as the course's program has them: (n, 6) float32, unscaled.

    The weekday's name becomes its number, Monday 0 to Sunday 6.
    """
    numbers = table.assign(day=table["day"].map(WEEKDAYS.index))
    return numbers[list(FEATURES)].to_numpy(np.float32)


def calendar(table: pd.DataFrame) -> np.ndarray:
    """Return hour and weekday as points on a circle, and the holiday: (n, 5) float32.

    sin and cos of 2 pi hour / 24 and of 2 pi weekday / 7, so that hour 23 is next to hour 0.

    >>> calendar(load()[:1]).round(2)
    array([[ 0.  , -1.  , -0.43, -0.9 ,  0.  ]], dtype=float32)
    """
    weekday = table["day"].map(WEEKDAYS.index)
    angles = [2 * np.pi * table["time (hour)"] / 24, 2 * np.pi * weekday / 7]
    circle = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    return np.column_stack([*circle, table["holiday"]]).astype(np.float32)


def _refuse(wrong, values, expectation: str, name: str, labels=None) -> None:
    """Raise the error that shows the first three of the wrong values and their rows."""
    rows = np.flatnonzero(np.asarray(wrong))
    if len(rows) == 0:
        return
    places = [
        f"row {row}" + (f" ({labels.iloc[row]})" if labels is not None else "") for row in rows
    ]
    shown = "; ".join(
        f"{_shown(values.iloc[row])} in {place}"
        for row, place in list(zip(rows, places, strict=True))[:3]
    )
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    raise ValueError(
        f"{name}: {values.name} must {expectation}; got {shown}{more}. Correct the table (row 0 "
        "is the first below the header)."
    )


def _shown(value) -> str:
    """Write 1.5 and not np.float64(1.5)."""
    return runtime.cut(repr(value.item() if isinstance(value, np.generic) else value))


def _floats(values: pd.Series) -> pd.Series:
    """Return numbers, also in the form of text, as floats; NaN for what is no real number."""
    real = values.map(lambda value: not isinstance(value, complex | np.complexfloating))
    return pd.to_numeric(values.astype(object).where(real), errors="coerce").astype(float)


def _numbers(values: pd.Series, low: float, high: float, name: str) -> pd.Series:
    numbers = _floats(values)
    text = numbers.isna() & values.notna()
    _refuse(text | np.isinf(numbers), values, "be finite numbers such as 0.93, or empty", name)
    _refuse((numbers < low) | (numbers > high), values, f"lie in {low:g} to {high:g}", name)
    if numbers.isna().all():
        raise ValueError(f"{name}: {values.name} must have values; got none. Export it again.")
    return numbers


def _integers(values: pd.Series, low: int, high: int, name: str) -> pd.Series:
    numbers = _floats(values)
    rounded = numbers.round()
    wrong = ~(rounded.between(low, high) & ((numbers - rounded).abs() < 1e-6))
    _refuse(wrong, values, f"be integers from {low} to {high}", name)
    return rounded.astype("int64")


def _dates(raw: pd.DataFrame, hours: pd.Series, months: pd.Series, name: str) -> pd.Series:
    values = raw.iloc[:, 0]
    if values.name in COLUMNS or pd.to_numeric(values.astype(str), errors="coerce").notna().all():
        raise ValueError(
            f"{name}: the first column must be the date; got {values.name or 'no heading'} with "
            f"{_shown(values.iloc[0])} in row 0. Put the date first, as 2023-02-03 12:00."
        )
    # 03.02.2023 can be read in two ways; the table's own months decide, and both agree on ISO.
    readings = [_parsed(values, name, day_first) for day_first in (False, True)]
    dates = max(readings, key=lambda dates: (dates.dt.month == months).sum())
    _refuse(dates.isna(), values, "be readable dates, such as 2023-02-03 12:00", name)
    full_hours = dates.dt.round("h")
    off = (dates - full_hours).abs() >= pd.Timedelta(seconds=1)
    if (full_hours == full_hours.dt.normalize()).all() and hours.any():
        full_hours = full_hours + pd.to_timedelta(hours, unit="h")
    _refuse(off, values, "be full hours", name)
    once = "name every hour once (where clocks go back, write standard time or keep one of two)"
    _refuse(full_hours.duplicated(keep=False), values, once, name)
    return full_hours


def _parsed(values: pd.Series, name: str, day_first: bool) -> pd.Series:
    """Return the times on the clock that the dates show, NaT where they are unreadable."""
    try:
        with warnings.catch_warnings(action="ignore"):  # that 31.12. was read day first after all
            dates = pd.to_datetime(values, errors="coerce", format="mixed", dayfirst=day_first)
    except ValueError as error:
        zones = values.astype(str).str.extract(r":\d\d(?:\.\d+)? ?([^\d:.\s].*)$")[0].fillna("none")
        first = zones.drop_duplicates()
        shown = ", ".join(f"{runtime.cut(zone)} in row {row}" for row, zone in first[:3].items())
        raise ValueError(
            f"{name}: {values.name} must have one time zone or none; got {shown}. Write all dates "
            "in local standard time without a zone."
        ) from error
    return dates.dt.tz_localize(None)


def _weekdays(values: pd.Series, dates: pd.Series, name: str) -> pd.Series:
    names = values.astype(str).str.strip().str.capitalize()
    full = names.map({**{day: day for day in WEEKDAYS}, **{day[:3]: day for day in WEEKDAYS}})
    _refuse(full.isna(), values, "be English weekday names", name)
    _refuse(full != dates.dt.day_name(), values, "agree with the date's weekday", name, dates)
    return full
