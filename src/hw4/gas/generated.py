"""A generated hourly gas series with the course table's columns, dates and size.

It stands in for the course's table, which is not public, and is not a copy of it. It assumes:

* air: a continental year, coldest in late January, a daily wave, and weather that persists for
  days (an AR(1) process with a time constant of 72 hours);
* houses: walls smooth the air temperature over 30 hours, the sun replaces some heating, and what
  is missing to 20 degrees is burnt, more in the morning and the evening than at night;
* sun: it follows the calendar and not the air. The air lags behind it by about a month, so an
  autumn hour needs more gas than a spring hour that is equally cold;
* people: hot water and cooking at fixed hours, later on weekends and holidays;
* the meter: multiplicative noise, and short failures of either sensor.

Sources of the two mechanisms: EN ISO 52016-1 (one heat capacity, solar gains) and degree-day
practice, ASHRAE Handbook of Fundamentals, chapter "Energy estimating".
"""

import numpy as np
import pandas as pd
from scipy.signal import lfilter

START = pd.Timestamp("2023-02-03 12:00")
HOURS = 6_428
HOLIDAYS = ("2023-04-07", "2023-04-10", "2023-05-01", "2023-05-18", "2023-05-29", "2023-10-03")
# The series is data, not an experiment: its seed is fixed and not an argument.
_SEED = 20_230_203
_LEAD = 24 * 30  # hours simulated before START, so that the walls forget their first temperature

MEAN, AMPLITUDE, DAILY = 7.0, 15.0, 4.0  # air, degrees C
WEATHER, PERSISTENCE = 3.2, 72  # standard deviation in degrees C; hours
INERTIA, LIMIT, SOLAR = 30, 20.0, 4.5  # hours; degrees C; degrees C at an average sun
LOSS, WATER = 0.045, 0.1  # m3 an hour for each degree; m3 an hour
NOISE, NOISE_MEMORY = 0.06, 2.0  # relative standard deviation; hours
FAILURES = {"T air": 12, "cons (m3/unit)": 12}  # gaps of 1 to 5 hours


def generate() -> pd.DataFrame:
    """Return the generated table, the same at every call.

    cons = (LOSS * softplus(LIMIT - felt) * rhythm + WATER * habits) * exp(noise), with
    felt = air smoothed over INERTIA + SOLAR * sun.

    Returns:
        6,428 rows by hour from 2023-02-03 12:00, columns as in the course's table: T air in
        degrees C, consumption in m3 an hour and dwelling; some of both missing (NaN).

    >>> table = generate()
    >>> len(table), str(table.index[-1]), list(table.columns[:3])
    (6428, '2023-10-29 07:00:00', ['time (hour)', 'year', 'month'])
    """
    rng = np.random.default_rng(_SEED)
    dates = pd.date_range(START - pd.Timedelta(hours=_LEAD), periods=HOURS + _LEAD, freq="h")
    air = air_temperature(dates, rng)
    holiday = np.isin(dates.strftime("%Y-%m-%d"), HOLIDAYS)
    noise = ar1(rng, len(dates), NOISE_MEMORY, NOISE)
    consumption = expected_consumption(dates, air, holiday) * np.exp(noise)
    table = pd.DataFrame(
        {
            "time (hour)": dates.hour.astype("int64"),
            "year": dates.year.astype("int64"),
            "month": dates.month.astype("int64"),
            "day": dates.day_name(),
            "holiday": holiday.astype("int64"),
            "T air": air.round(1),
            "cons (m3/unit)": consumption.round(4),
        },
        index=dates.rename("date"),
    )[_LEAD:]
    return _with_failures(table, rng)


def air_temperature(dates: pd.DatetimeIndex, rng: np.random.Generator) -> np.ndarray:
    """Draw air temperatures (n,), degrees C: season + daily wave + persistent weather."""
    season = MEAN - AMPLITUDE * np.cos(_year_angle(dates, coldest_day=20))
    daily = DAILY * np.cos(2 * np.pi * (dates.hour.to_numpy() - 15) / 24)
    return season + daily + ar1(rng, len(dates), PERSISTENCE, WEATHER)


def expected_consumption(dates: pd.DatetimeIndex, air, holiday) -> np.ndarray:
    """Return the consumption without noise, (n,), m3 an hour.

    Args:
        dates: n hours, without gaps.
        air: (n,) degrees C.
        holiday: (n,) true on public holidays, which are lived like weekends.
    """
    hour = dates.hour.to_numpy()
    free = holiday | (dates.day_of_week.to_numpy() >= 5)
    sun = 1 - np.cos(_year_angle(dates, coldest_day=-10))  # least on 21 December
    missing = softplus(LIMIT - smoothed(air, INERTIA) - SOLAR * sun)
    rhythm = 0.85 + 0.22 * _bump(hour, 7.5, 1.6) + 0.25 * _bump(hour, 19.5, 2.5)
    rhythm = rhythm - 0.15 * _bump(hour, 3, 2.5)
    habits = 0.25 + _bump(hour, 7 + 1.5 * free, 1.5) + 0.5 * _bump(hour, 13, 2)
    habits = (habits + 1.1 * _bump(hour, 20, 2)) * (1 + 0.15 * free)
    return LOSS * missing * rhythm + WATER * habits


def smoothed(values, hours: float) -> np.ndarray:
    """Smooth by first-order inertia: s[t] = s[t-1] + (x[t] - s[t-1]) / hours, s[0] = x[0].

    >>> smoothed(np.array([0.0, 4.0, 4.0]), hours=2)
    array([0., 2., 3.])
    """
    keep = 1 - 1 / hours
    return lfilter([1 / hours], [1, -keep], values, zi=[keep * values[0]])[0]


def ar1(rng: np.random.Generator, n: int, hours: float, deviation: float) -> np.ndarray:
    """Draw n values of a stationary AR(1) process with correlation exp(-lag / hours)."""
    keep = np.exp(-1 / hours)
    shocks = rng.normal(0, deviation, n + 1)
    shocks[1:] *= np.sqrt(1 - keep**2)
    return lfilter([1], [1, -keep], shocks)[1:]


def softplus(degrees) -> np.ndarray:
    """Return max(0, degrees) with a soft corner: not every household starts heating at once."""
    return 0.8 * np.logaddexp(0, np.asarray(degrees) / 0.8)


def _year_angle(dates: pd.DatetimeIndex, coldest_day: float) -> np.ndarray:
    day = dates.day_of_year.to_numpy() + dates.hour.to_numpy() / 24
    return 2 * np.pi * (day - coldest_day) / 365.25


def _bump(hour, centre, width) -> np.ndarray:
    """Return a bell of height 1 around an hour of the day, across midnight where needed."""
    return np.exp(-0.5 * (((hour - centre + 12) % 24 - 12) / width) ** 2)


def _with_failures(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    table = table.copy()
    for column, count in FAILURES.items():
        # The first day stays whole, so that every gap has a past to be filled from.
        for first in rng.choice(np.arange(24, len(table) - 5), count, replace=False):
            table.iloc[first : first + rng.integers(1, 6), table.columns.get_loc(column)] = np.nan
    return table
