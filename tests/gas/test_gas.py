"""The gas table: reading, refusing, the generated series, and what may be known when."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hw4 import gas
from hw4.gas import generated as generator
from hw4.gas import reading


@pytest.fixture(scope="module")
def generated():
    return gas.load()


def small_table(hours=30):
    """Return a raw table as a file would hold it, written without the code under test."""
    dates = pd.date_range("2023-02-03 12:00", periods=hours, freq="h")
    names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    return pd.DataFrame(
        {
            "date": dates,
            "time (hour)": [d.hour for d in dates],
            "year": 2023,
            "month": 2,
            "day": [names[d.weekday()] for d in dates],
            "holiday": 0,
            "T air": np.linspace(-5, 5, hours),
            "cons (m3/unit)": np.linspace(1, 0.5, hours),
        }
    )


def write(table, folder, suffix):
    path = folder / f"gas{suffix}"
    if suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_excel(path, index=False)
    return path


def test_generated_series_has_the_size_columns_and_dates_of_the_course(generated):
    assert len(generated) == 6428
    assert list(generated.columns) == [
        "time (hour)",
        "year",
        "month",
        "day",
        "holiday",
        "T air",
        "cons (m3/unit)",
    ]
    assert generated.index[0] == pd.Timestamp("2023-02-03 12:00")
    assert (np.diff(generated.index) == pd.Timedelta("1h")).all()
    assert gas.train_size(len(generated)) == 5142
    assert len(generated) - gas.train_size(len(generated)) == 1286


def test_generated_series_says_so_and_is_the_same_at_every_call(generated):
    assert "generated" in generated.attrs["source"]
    pd.testing.assert_frame_equal(generated, generator.generate())


def test_generated_series_is_pinned(generated):
    # Another NumPy could draw other numbers; then the notebook's outputs must be made again.
    first = generated["cons (m3/unit)"].iloc[[0, 1, 2]]
    assert first.tolist() == pytest.approx([0.9342, 0.92, 0.9136], abs=2e-4)


def test_generated_series_is_physical(generated):
    consumption, air = generated["cons (m3/unit)"], generated["T air"]
    assert consumption.min() > 0
    monthly = consumption.groupby(generated["month"]).mean()
    assert monthly[2] > 5 * monthly[7]
    assert monthly[10] > 2 * monthly[8]
    cold = consumption[air < 5].groupby(generated["time (hour)"]).mean()
    assert cold.idxmax() in (7, 8, 19, 20)
    assert cold.idxmin() in (2, 3, 4)
    # An autumn hour needs more than a spring hour of the same temperature: less sun.
    mild = air.between(9, 12)
    by_month = consumption[mild].groupby(generated["month"]).mean()
    assert by_month[10] > 1.3 * by_month[5]
    missing = generated.isna().sum()
    assert 10 <= missing["T air"] <= 60
    assert 10 <= missing["cons (m3/unit)"] <= 60
    assert missing.sum() == missing["T air"] + missing["cons (m3/unit)"]


def test_walls_answer_late():
    dates = pd.date_range("2023-02-03", periods=200, freq="h")
    air = np.zeros(200)
    air[100:] = -10
    load = generator.expected_consumption(dates, air, np.zeros(200, bool))
    warm = generator.expected_consumption(dates, np.zeros(200), np.zeros(200, bool))
    extra = load - warm
    assert np.abs(extra[:100]).max() == 0
    assert 0 < extra[100] < 0.1 * extra[190]


def test_smoothing_against_a_closed_form():
    step = np.r_[0.0, np.ones(50)]
    expected = 1 - (1 - 1 / 30) ** np.arange(51)
    assert generator.smoothed(step, 30) == pytest.approx(expected)


def test_ar1_has_the_stated_deviation_and_memory():
    values = generator.ar1(np.random.default_rng(0), 200_000, hours=10, deviation=3)
    assert values.std() == pytest.approx(3, rel=0.03)
    lagged = np.corrcoef(values[:-10], values[10:])[0, 1]
    assert lagged == pytest.approx(np.exp(-1), abs=0.03)


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_a_written_table_comes_back_by_path_and_by_environment(
    suffix, generated, tmp_path, monkeypatch
):
    part = generated[:400]
    path = write(part.reset_index(), tmp_path, suffix)
    read = gas.load(path)
    pd.testing.assert_frame_equal(read, part, check_freq=False, check_index_type=False)
    assert read.attrs["source"] == f"file gas{suffix}"
    monkeypatch.setenv("HW4_GAS", str(path))
    pd.testing.assert_frame_equal(gas.load(), read)


def test_environment_naming_nothing_is_refused(monkeypatch):
    monkeypatch.setenv("HW4_GAS", "/nowhere/gas.csv")
    with pytest.raises(ValueError, match=r"HW4_GAS must be an existing path; got '/nowhere"):
        gas.load()


def test_rows_are_sorted_and_a_date_without_hour_takes_it_from_its_column():
    raw = small_table()
    shuffled = raw.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(gas.validate(shuffled), gas.validate(raw))
    days_only = raw.assign(date=raw["date"].dt.strftime("%Y-%m-%d"))
    pd.testing.assert_frame_equal(
        gas.validate(days_only), gas.validate(raw), check_freq=False, check_index_type=False
    )


def test_lacking_hours_come_as_missing_values():
    raw = small_table().drop(index=[20])
    raw.loc[raw["date"].dt.day == 4, "holiday"] = 1
    raw.loc[13, "holiday"] = 0  # what a file says of its own rows stays as it is
    table = gas.complete_hours(gas.validate(raw))
    row = table.iloc[20]
    assert len(table) == 30
    assert np.isnan(row["T air"])
    assert np.isnan(row["cons (m3/unit)"])
    assert (row["time (hour)"], row["day"], row["holiday"]) == (8, "Saturday", 1)
    assert table["holiday"].iloc[11:15].tolist() == [0, 1, 0, 1]
    assert table["holiday"].dtype == "int64"


def put(column, row, value):
    def change(table):
        table = table.astype({column: object})
        table.loc[row, column] = value
        return table

    return change


REFUSED = {
    "column": (lambda t: t.drop(columns=["T air", "month"]), r"without month, T air\."),
    "empty": (lambda t: t[:0], r"at least one row; got 0"),
    "text": (
        put("T air", 3, "warm"),
        r"T air must be finite numbers such as 0\.93, or empty; got 'warm' in row 3",
    ),
    "complex": (
        lambda t: t.assign(**{"T air": 1 + 2j}),
        r"T air must be finite numbers such as 0\.93, or empty; got \(1\+2j\) in row 0",
    ),
    "infinite": (
        put("cons (m3/unit)", 3, np.inf),
        r"finite numbers such as 0\.93, or empty; got inf in row 3",
    ),
    "negative": (put("cons (m3/unit)", 2, -1.5), r"must lie in 0 to inf; got -1\.5 in row 2"),
    "fahrenheit": (put("T air", 5, 75.0), r"T air must lie in -90 to 60; got 75\.0 in row 5"),
    "all missing": (lambda t: t.assign(**{"T air": np.nan}), r"T air must have values; got none"),
    "hour 24": (put("time (hour)", 12, 24), r"integers from 0 to 23; got 24 in row 12"),
    "half hour": (put("time (hour)", 12, 0.5), r"integers from 0 to 23; got 0\.5 in row 12"),
    "holiday": (
        put("holiday", 1, "yes"),
        r"holiday must be integers from 0 to 1; got 'yes' in row 1",
    ),
    "weekday": (put("day", 4, "Funday"), r"English weekday names; got 'Funday' in row 4"),
    "wrong weekday": (
        put("day", 4, "Monday"),
        r"date's weekday; got 'Monday' in row 4 \(2023-02-03",
    ),
    "wrong month": (put("month", 4, 3), r"agree with the date's month; got 3 in row 4"),
    "date": (
        put("date", 7, "yesterday"),
        r"readable dates, such as 2023-02-03 12:00; got 'yesterday' in row 7",
    ),
    "serial": (lambda t: t.assign(date=45000.5), r"first column must be the date; got date with"),
    "no date": (
        lambda t: t.drop(columns="date"),
        r"must be the date; got time \(hour\) with 12 in row 0",
    ),
    "minutes": (
        lambda t: t.assign(date=t["date"] + pd.Timedelta("5min")),
        r"full hours; got Timestamp\('2023-02-03 12:05:00'\) in row 0.* and 27 more",
    ),
    "duplicate": (
        lambda t: pd.concat([t, t[3:4]], ignore_index=True),
        r"hour once \(where .*\); got Timestamp\('2023-02-03 15:00:00'\) in row 3; .* in row 30\.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_table_is_refused_with_its_values(name):
    change, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        gas.validate(change(small_table()))


def spreadsheet_hours(raw):
    """Dates as a spreadsheet makes them that adds 1/24 to the cell above: some end in 59.999 s."""
    serial = 44_960.5 + np.r_[0, np.cumsum(np.full(len(raw) - 1, 1 / 24))]  # days since 1899-12-30
    dates = pd.to_datetime(serial, unit="D", origin="1899-12-30").floor("ms")
    assert (dates.second == 59).any()
    assert ((dates - raw["date"]).abs() < pd.Timedelta("1s")).all()
    return raw.assign(date=dates)


RIGHT = {
    "hours that end in 59.999 s": spreadsheet_hours,
    "an integer with the noise of a formula": lambda t: t.assign(
        **{"time (hour)": t["time (hour)"] - 1e-9}
    ),
    "day first": lambda t: t.assign(date=t["date"].dt.strftime("%d.%m.%Y %H:%M")),
    "day first with strokes": lambda t: t.assign(date=t["date"].dt.strftime("%d/%m/%Y %H:%M:%S")),
    "day first without hours": lambda t: t.assign(date=t["date"].dt.strftime("%d.%m.%Y")),
    "month first": lambda t: t.assign(date=t["date"].dt.strftime("%m/%d/%Y %I:%M %p")),
    "one time zone": lambda t: t.assign(date=t["date"].dt.strftime("%Y-%m-%dT%H:%M:%S+01:00")),
    "blanks around headings": lambda t: t.rename(columns=lambda name: f" {name}  "),
    "other blanks in headings": lambda t: t.rename(
        columns=lambda name: name.replace(" ", "\xa0\n")
    ),
    "empty rows and columns": lambda t: pd.concat(
        [pd.Series([None] * (len(t) + 2)), t.reindex([-1, *t.index, -2]).astype(object)], axis=1
    ).rename(columns={0: None}),
}


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_table_is_read_however_it_was_written(name, suffix, tmp_path):
    raw = small_table(hours=12 * 24)  # 3 to 15 February: days that could be months, and others
    read = gas.load(write(RIGHT[name](raw), tmp_path, suffix))
    pd.testing.assert_frame_equal(read, gas.validate(raw), check_freq=False, check_index_type=False)
    assert read.index.tz is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("marks", [";,", "\t,", ";.", ",.", "|."])
def test_a_csv_of_another_country_is_read(marks, encoding, tmp_path):
    separator, decimal = marks
    raw = small_table().assign(note="°C")
    path = tmp_path / "gas.csv"
    raw.to_csv(path, index=False, sep=separator, decimal=decimal, encoding=encoding)
    pd.testing.assert_frame_equal(
        gas.load(path), gas.validate(raw), check_freq=False, check_index_type=False
    )


def test_the_line_in_which_excel_names_the_separator_is_no_row(tmp_path):
    path = tmp_path / "gas.csv"
    path.write_text("sep=;\n" + small_table().to_csv(index=False, sep=";"))
    pd.testing.assert_frame_equal(
        gas.load(path), gas.validate(small_table()), check_freq=False, check_index_type=False
    )


def test_a_small_workbook_that_unpacks_to_a_large_one_is_refused(tmp_path, monkeypatch):
    path = write(small_table(), tmp_path, ".xlsx")
    monkeypatch.setattr(reading, "LARGEST", path.stat().st_size + 1)
    with pytest.raises(ValueError, match=r"gas\.xlsx, which failed with .* bytes unpacked, more"):
        gas.load(path)


def test_lacking_hours_are_named(tmp_path):
    raw = small_table().drop(index=[14, 20])
    assert gas.load(write(raw, tmp_path, ".csv")).attrs["lacking"] == [
        "2023-02-04 02:00:00",
        "2023-02-04 08:00:00",
    ]
    assert gas.load().attrs["lacking"] == []


def csv_text(**changes):
    return small_table().assign(**changes).to_csv(index=False)


REFUSED_FILES = {
    "decimal commas between commas": (
        csv_text(**{"T air": "0,93"}),
        r"gas\.csv: T air must be finite numbers such as 0\.93, or empty; got '0,93' in row 0",
    ),
    "two zones": (
        csv_text().replace("-02-03 13:00:00", "-02-03 13:00:00+02:00"),
        r"gas\.csv: date must have one time zone or none; got none in row 0, \+02:00 in row 1\.",
    ),
    "summer time": (
        csv_text()
        .replace(":00:00,", ":00:00+01:00,")
        .replace("-04 03:00:00+01", "-04 03:00:00+02"),
        r"got \+01:00 in row 0, \+02:00 in row 15\. Write all dates in local standard time",
    ),
    "equal headings": (
        csv_text().replace("holiday", "month"),
        r"gas\.csv must have the columns .* without holiday\.",
    ),
    "equal headings, one too many": (
        csv_text(extra=1).replace("extra", "T air"),
        r"gas\.csv must have each column once; got several of T air \(blanks",
    ),
    "equal headings but for blanks": (
        csv_text(extra=1).replace("extra", " month  "),
        r"got several of month \(blanks around a heading do not count\)\. Delete",
    ),
    "a cell of 200,000 characters": (
        csv_text(day="x" * 200_000),
        r"^gas\.csv: day must be English weekday names; got 'x{196}\.\.\. in row 0; .{1,900}$",
    ),
    "a heading of 200,000 characters": ("x" * 200_000 + "\n1\n", r"got x{197}\.\.\., without time"),
    "one quote": (csv_text() + '"' + "x" * 200_000, r"gas\.csv, which failed with ParserError"),
    "a row too wide": (csv_text() + "1,2,3,4,5,6,7,8,9\n", r"ParserError: .* saw 9"),
    "zeros": ("\0" * 100, r"gas\.csv (must have|, which failed)"),
    "a page": (
        "<html><body>Sign in</body></html>",
        r"must have the columns .* got <html>",
    ),
    "clocks go back": (
        csv_text().replace("2023-02-04 03:00", "2023-02-04 02:00").replace(",3,2023", ",2,2023"),
        r"hour once \(where clocks go back, .*; got '2023-02-04 02:00:00' in row 14; .* row 15",
    ),
}


@pytest.mark.parametrize("name", REFUSED_FILES)
def test_a_wrong_file_is_refused_in_one_line(name, tmp_path):
    content, message = REFUSED_FILES[name]
    (tmp_path / "gas.csv").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        gas.load(tmp_path / "gas.csv")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1200


def test_what_is_no_file_is_refused_without_reading(tmp_path, monkeypatch):
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "device.csv").symlink_to("/dev/zero")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    (tmp_path / "file").write_text("")
    refused = {
        "folder.csv": "must be a file; got .*folder.csv, which is a folder",
        "pipe.csv": "must be a file; got .*pipe.csv, which is a pipe or a device",
        "device.csv": "must be a file; got .*device.csv, which is a pipe or a device",
        "loop.csv": "readable file; got .*loop.csv, which says Too many levels",
        "file/gas.csv": "readable file; got .*gas.csv, which says Not a directory",
        "x" * 300 + ".csv": "readable file; got .*, which says File name too long",
        "nul\0.csv": "readable file; got .*, which says .*null byte",
        "half \ud800.csv": "readable file; got .*, which says .*surrogates not allowed",
    }
    for name, message in refused.items():
        with pytest.raises(ValueError, match=message):
            gas.load(tmp_path / name)
    path = write(small_table(), tmp_path, ".csv")
    monkeypatch.setattr(reading, "LARGEST", 100)
    with pytest.raises(ValueError, match=r"at most 100 bytes; got .*gas\.csv, which has 2,\d\d\d"):
        gas.load(path)


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    path = write(small_table(), tmp_path, ".csv")
    monkeypatch.setattr(Path, "read_bytes", refuse)  # who tests as root is refused nothing
    with pytest.raises(ValueError, match=r"got .*gas\.csv, which says Permission denied\. Correct"):
        gas.load(path)


def test_gaps_that_a_wrong_date_makes_are_refused():
    table = gas.validate(small_table())
    table.index = table.index[:-1].append(pd.DatetimeIndex(["2033-02-04"]))
    with pytest.raises(ValueError, match=r"at most 10 % lacking; got 30 rows .* 87,\d\d\d hours"):
        gas.complete_hours(table)


@pytest.mark.parametrize(
    ("file", "content", "error", "message"),
    [
        ("gas.txt", b"", ValueError, r"\.xlsx or \.csv; got 'gas\.txt'"),
        ("gas.xlsx", b"not a workbook", ValueError, r"readable \.xlsx table; got gas\.xlsx"),
        ("gas.csv", b"", ValueError, r"readable \.csv table; got gas\.csv, .*EmptyDataError"),
        ("gas.csv", None, FileNotFoundError, r"must be a file; got .*gas\.csv"),
    ],
)
def test_unreadable_files_are_refused(tmp_path, file, content, error, message):
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(error, match=message):
        gas.load(tmp_path / file)


def test_filling_uses_only_the_past(generated):
    filled = gas.fill_from_past(generated)
    assert not filled.isna().to_numpy().any()
    column = "cons (m3/unit)"
    hole = int(np.flatnonzero(generated[column].isna())[0])
    assert filled[column].iloc[hole] == generated[column].iloc[hole - 1]
    # Whatever happens after an hour leaves the filled table up to that hour as it was.
    changed = generated.copy()
    changed.iloc[hole + 1 :, changed.columns.get_loc(column)] = 1e6
    until = slice(None, hole + 1)
    pd.testing.assert_frame_equal(gas.fill_from_past(changed)[until], filled[until])


def test_filling_without_a_past_is_refused(generated):
    table = generated.copy()
    table.iloc[0, table.columns.get_loc("T air")] = np.nan
    with pytest.raises(ValueError, match=r"no value of T air on 2023-02-03 12:00"):
        gas.fill_from_past(table)


def test_features_as_given(generated):
    given = gas.as_given(gas.fill_from_past(generated))
    assert given.shape == (6428, 6)
    assert given.dtype == np.float32
    assert given[0].tolist() == pytest.approx([12, 2023, 2, 4, 0, -1.2])  # a Friday


def test_calendar_is_continuous_over_midnight_and_the_week(generated):
    calendar = gas.calendar(generated)
    jumps = np.linalg.norm(np.diff(calendar[:, :2], axis=0), axis=1)
    assert jumps == pytest.approx(2 * np.sin(np.pi / 24), abs=1e-5)
    assert calendar[24 * 7, :4] == pytest.approx(calendar[0, :4])
    assert len(np.unique(calendar[: 24 * 7, :4].round(4), axis=0)) == 24 * 7
    assert (calendar[:, 4] == generated["holiday"]).all()


@pytest.mark.parametrize("share", [0, 1, -0.2, 1.5, float("nan")])
def test_senseless_split_is_refused(share):
    with pytest.raises(ValueError, match=r"share must lie between 0 and 1; got"):
        gas.train_size(100, share)
