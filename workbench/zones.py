"""Converts between instants and wall clocks of time zones, and finds the instants at which calendar periods begin.

The zone data comes from the ``tzdata`` package, on every machine. DuckDB, Polars and the operating system have their own copies, which
differ by release. So engines work with instants only, and every local time that is shown is computed here.

Instants and wall clocks are whole microseconds since 1970, in UTC and by the clock respectively.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench.errors import UsageError

Every = Literal["1s", "1m", "15m", "1h", "1d", "1w", "1mo", "1q", "1y"]
"""How long a period is: a second, a minute, a quarter of an hour, an hour, a day, a week (from Monday), a month, a quarter, a year."""

Numbers = NDArray[np.int64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_PROBE = timedelta(days=6)
"""No zone has changed its offset twice within this time; tests/test_zones.py checks that."""
_EARLIEST, _LATEST = datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC)
"""Between these instants, every wall clock shows a time that Python can represent."""
_ALWAYS, _NEVER = -(1 << 62), 1 << 62


@cache
def is_zone(name: str) -> bool:
    """Whether a name is an IANA time zone that both the ``tzdata`` package and Polars, which holds results, know."""
    if name not in _names():
        return False
    try:
        pl.Series([_EPOCH]).dt.convert_time_zone(name)
    except pl.exceptions.PolarsError:  # "Factory" stands for a zone that was not configured
        return False
    return True


@cache
def _names() -> frozenset[str]:
    return frozenset((files("tzdata") / "zones").read_text("ascii").split())


def check_zone(name: str) -> None:
    """Check the name of a time zone.

    Raises
    ------
    UsageError
        There is no such time zone.
    """
    if not is_zone(name):
        raise UsageError(f"{name!r} is not a time zone: use an IANA name such as UTC or Europe/Berlin.")


@cache
def zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name.

    Raises
    ------
    UsageError
        There is no such time zone.

    >>> zone("Europe/Berlin").utcoffset(datetime(2026, 7, 1))
    datetime.timedelta(seconds=7200)
    """
    check_zone(name)
    with (files("tzdata") / "zoneinfo").joinpath(*name.split("/")).open("rb") as data:
        return ZoneInfo.from_file(data, key=name)


def microseconds(moment: datetime) -> int:
    """Return an instant as microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def instant(number: int) -> datetime:
    """Return microseconds since 1970 as an instant in UTC."""
    return _EPOCH + timedelta(microseconds=number)


def offsets(instants: Numbers, tz: str) -> Numbers:
    """Return the offset of the wall clock from UTC at each instant, in microseconds."""
    if not instants.size:
        return np.zeros(0, np.int64)
    since, ahead = _segments(int(instants.min()), int(instants.max()), tz)
    found: Numbers = ahead[np.searchsorted(since, instants, side="right") - 1]
    return found


def reached(walls: Numbers, tz: str) -> Numbers:
    """Return the first instant at which the wall clock shows each time, or the next later time if the clock skips it.

    >>> midnight = microseconds(datetime(2025, 11, 2, tzinfo=UTC))
    >>> instant(int(reached(np.array([midnight]), "America/Havana")[0]))  # the first of two
    datetime.datetime(2025, 11, 2, 4, 0, tzinfo=datetime.timezone.utc)
    """
    if not walls.size:
        return np.zeros(0, np.int64)
    since, ahead = _segments(int(walls.min()) - 2 * _DAY, int(walls.max()) + 2 * _DAY, tz)
    # The latest time that the clock has shown by the end of each segment; it may be later than the segment's own if it was put back.
    shown = np.maximum.accumulate(np.append(since[1:] + ahead[:-1], _NEVER))
    segment = np.searchsorted(shown, walls, side="right")
    found: Numbers = np.maximum(since[segment], walls - ahead[segment])
    return found


def showing(walls: Numbers, tz: str) -> Numbers:
    """Return, in order, all instants at which the wall clock shows one of these times: none, one or two for each."""
    if not walls.size:
        return np.zeros(0, np.int64)
    since, ahead = _segments(int(walls.min()) - 2 * _DAY, int(walls.max()) + 2 * _DAY, tz)
    until = np.append(since[1:], _NEVER)
    each = [
        found[(found >= begin) & (found < end)]
        for begin, end, offset in zip(since.tolist(), until.tolist(), ahead.tolist(), strict=True)
        for found in [walls - offset]
    ]
    return np.unique(np.concatenate(each))


def _segments(first: int, last: int, tz: str) -> tuple[Numbers, Numbers]:
    """Return the instants from which each offset applies, and the offsets, to cover a range of instants."""
    zone(tz)
    years = range(_year(first) - 1, _year(last) + 2)
    changes = [change for year in years for change in _changes(tz, year)]
    # A change in the first second of a year is among that year's changes, so this looks at the second before it.
    before = _offset(tz, datetime(min(max(years[0], 2), 9999), 1, 1, tzinfo=UTC) - timedelta(seconds=1))
    return np.array([_ALWAYS, *(at for at, _ in changes)], np.int64), np.array([before, *(ahead for _, ahead in changes)], np.int64)


def _year(number: int) -> int:
    return int(np.datetime64(number, "us").astype("datetime64[Y]").astype(np.int64)) + 1970


@lru_cache(maxsize=16_384)
def _changes(tz: str, year: int) -> tuple[tuple[int, int], ...]:
    """Return the instants of a year of UTC at which the offset changes, each with the offset from then on."""
    if not 1 <= year <= 9999:
        return ()
    found = []
    second = timedelta(seconds=1)
    moment, end = datetime(year, 1, 1, tzinfo=UTC) - (second if year > 1 else timedelta()), datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    before = _offset(tz, moment)
    while moment < end:
        following = moment + min(_PROBE, end - moment)
        after = _offset(tz, following)
        if after != before:
            low, high = moment, following
            while high - low > second:
                middle = low + (high - low) // (2 * second) * second
                low, high = (middle, high) if _offset(tz, middle) == before else (low, middle)
            found.append((microseconds(high), after))
        moment, before = following, after
    return tuple(found)


def _offset(tz: str, moment: datetime) -> int:
    found = min(max(moment, _EARLIEST), _LATEST).astimezone(zone(tz)).utcoffset()
    assert found is not None
    return found // _MICROSECOND


@dataclass(frozen=True, slots=True)
class Unit:
    """How long a period is: so many seconds, days or months."""

    seconds: int = 0
    days: int = 0
    months: int = 0

    def ordinal(self, wall: int) -> int:
        """Number the periods of a clock that never changes, one after the other."""
        if self.seconds:
            return wall // (self.seconds * _SECOND)
        if self.days:
            return (wall // _DAY + (3 if self.days == 7 else 0)) // self.days  # 1970 began on a Thursday
        month = int(np.datetime64(wall, "us").astype("datetime64[M]").astype(np.int64))
        return month // self.months

    def walls(self, first: int, last: int) -> Numbers:
        """Return the times on such a clock at which the periods with these numbers begin."""
        numbers = np.arange(first, last + 1, dtype=np.int64)
        if self.seconds:
            return numbers * (self.seconds * _SECOND)
        if self.days:
            return (numbers * self.days - (3 if self.days == 7 else 0)) * _DAY
        return (numbers * self.months).astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)


UNITS: Mapping[Every, Unit] = {
    "1s": Unit(seconds=1),
    "1m": Unit(seconds=60),
    "15m": Unit(seconds=900),
    "1h": Unit(seconds=3600),
    "1d": Unit(days=1),
    "1w": Unit(days=7),
    "1mo": Unit(months=1),
    "1q": Unit(months=3),
    "1y": Unit(months=12),
}
assert tuple(UNITS) == get_args(Every)


def edges(first: int, last: int, every: Every, tz: str) -> Numbers:
    """Return the instants at which periods begin, from the period of one instant to that of another, and the end of the last.

    Days and longer periods begin when the wall clock first shows the midnight of their first day, or the next later time if it skips that
    midnight; a day that it skips entirely is not a period. Hours and shorter periods begin whenever the clock enters one, and when the
    clock is put back.

    >>> at = microseconds(datetime(2026, 4, 4, 15, 10, tzinfo=UTC))  # the clock was put back by half an hour ten minutes ago
    >>> [f"{instant(int(edge)):%H:%M}" for edge in edges(at, at, "1h", "Australia/Lord_Howe")]
    ['15:00', '15:30']
    """
    unit = UNITS[every]
    if unit.seconds:
        found = _on_time_line(first, last, unit.seconds * _SECOND, tz)
    else:
        low, high = (unit.ordinal(at + int(offsets(np.array([at]), tz)[0])) for at in (first, last))
        found = np.unique(reached(unit.walls(low - 1, high + 2), tz))
    return found[int(np.searchsorted(found, first, side="right")) - 1 : int(np.searchsorted(found, last, side="right")) + 1]


def _on_time_line(first: int, last: int, length: int, tz: str) -> Numbers:
    least, most = first - 2 * length, last + 2 * length
    since, ahead = _segments(least, most, tz)
    found = []
    before = 0
    for start, end, offset in zip(since.tolist(), [*since[1:].tolist(), _NEVER], ahead.tolist(), strict=True):
        low, high = max(start, least), min(end, most + 1)
        if low < high:
            if low == start and (offset < before or (start + before - 1) // length < (start + offset) // length):
                found.append(np.array([start], np.int64))
            found.append(np.arange(-(-(low + offset) // length) * length - offset, high, length, dtype=np.int64))
        before = offset
    return np.unique(np.concatenate(found))


def begin(moment: datetime, every: Every, tz: str) -> datetime:
    """Return the instant in UTC at which the period of an instant began."""
    at = microseconds(moment)
    return instant(int(edges(at, at, every, tz)[0]))


def clock(column: pl.Series) -> pl.Series:
    """Convert a column's instants to wall-clock times of its own time zone; a column without a zone is returned as it is."""
    zone_of = getattr(column.dtype, "time_zone", None)
    if zone_of is None:
        return column
    instants = column.dt.cast_time_unit("us").to_physical()
    known = instants.drop_nulls().to_numpy()
    ahead = np.zeros(len(column), np.int64)
    ahead[column.is_not_null().to_numpy()] = offsets(known, zone_of)
    return (instants + pl.Series(ahead)).cast(pl.Datetime("us")).alias(column.name)


def moments(column: pl.Series) -> list[Any]:
    """Return the instants of a column as Python datetimes in the column's own time zone."""
    zone_of = getattr(column.dtype, "time_zone", None)
    if zone_of is None:
        return column.to_list()
    return [None if at is None else at.astimezone(zone(zone_of)) for at in column.dt.convert_time_zone("UTC").to_list()]


def texts(column: pl.Series, pattern: str) -> pl.Series:
    """Format the instants of a column, with the suffix ``Z`` for UTC and an offset such as ``+02:00`` for other zones."""
    zone_of = getattr(column.dtype, "time_zone", None)
    if zone_of is None or zone_of == "UTC":
        return column.dt.strftime(pattern + ("" if zone_of is None else "Z"))
    walls = clock(column)
    ahead = (walls.to_physical() - column.dt.cast_time_unit("us").to_physical()) // 60_000_000
    names = {minutes: _offset_text(minutes) for minutes in ahead.drop_nulls().unique()}
    return walls.dt.strftime(pattern) + ahead.replace_strict(list(names), list(names.values()), return_dtype=pl.String)


def _offset_text(minutes: int) -> str:
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
