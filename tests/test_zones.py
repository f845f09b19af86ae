"""Time zones: one source of data decides where periods begin, and the periods cover the time line without gaps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from struct import unpack, unpack_from
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import UsageError
from workbench.zones import (
    UNITS,
    Every,
    begin,
    clock,
    edges,
    instant,
    is_zone,
    microseconds,
    moments,
    offsets,
    reached,
    showing,
    texts,
    zone,
)

NAMES = tuple(name for name in (files("tzdata") / "zones").read_text("ascii").split() if name != "Factory")
TELLING = (
    "Atlantic/Azores",
    "America/Havana",
    "Asia/Amman",
    "America/Scoresbysund",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "America/Vancouver",
    "Africa/Casablanca",
    "America/Edmonton",
    "Europe/Chisinau",
    "Pacific/Apia",
    "Africa/Monrovia",
    "America/Sao_Paulo",
    "Europe/Berlin",
    "UTC",
)
zones = st.sampled_from(TELLING) | st.sampled_from(NAMES)
seconds = st.integers(
    microseconds(datetime(1890, 1, 1, tzinfo=UTC)) // 1_000_000, microseconds(datetime(2045, 1, 1, tzinfo=UTC)) // 1_000_000
)


def wall(at: int, tz: str) -> datetime:
    """Return what the clock shows by the package's data, asked one instant at a time."""
    return instant(at).astimezone(zone(tz)).replace(tzinfo=None)


def near(tz: str, second: int) -> int:
    """Return the last instant before a second at which the clock of a zone changed, if it did so within a year."""
    at = second * 1_000_000
    past = np.arange(at - 366 * 86_400_000_000, at, 3_600_000_000)
    [changes] = np.nonzero(np.diff(offsets(past, tz)))
    return int(past[changes[-1] + 1]) if changes.size else at


@given(tz=zones, second=seconds, away=st.integers(-7200, 7200))
def test_offsets_are_those_of_the_package(tz: str, second: int, away: int) -> None:
    at = near(tz, second) + away * 1_000_000
    assert instant(at + int(offsets(np.array([at]), tz)[0])).replace(tzinfo=None) == wall(at, tz)


def test_no_zone_changes_its_offset_twice_within_six_days() -> None:
    for name in NAMES:
        at, ahead = _changes_in_file((files("tzdata") / "zoneinfo").joinpath(*name.split("/")).read_bytes())
        changes = at[1:][ahead[1:] != ahead[:-1]]
        assert np.diff(changes).min(initial=10**9) > 6 * 86_400, name


def _changes_in_file(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the changes of a file of zone data and the offsets from then on, in seconds (RFC 9636, the block of 64 bits)."""
    utc, standard, leaps, times, kinds, letters = unpack(">6l", data[20:44])
    body = 44 + times * 5 + kinds * 6 + letters + leaps * 8 + standard + utc
    _, _, _, times, kinds, _ = unpack(">6l", data[body + 20 : body + 44])
    at = np.frombuffer(data, ">i8", times, body + 44)
    which = np.frombuffer(data, "u1", times, body + 44 + 8 * times)
    offset = np.array([unpack_from(">l", data, body + 44 + 9 * times + 6 * kind)[0] for kind in range(kinds)])
    return at, offset[which]


@given(tz=zones, second=seconds, away=st.integers(-90_000, 90_000), every=st.sampled_from(("1d", "1w", "1mo", "1q", "1y")))
def test_a_day_and_what_is_made_of_days_begins_when_the_clock_first_shows_its_midnight(
    tz: str, second: int, away: int, every: Every
) -> None:
    at = near(tz, second) + away * 1_000_000
    first, last = edges(at, at, every, tz).tolist()
    assert first <= at < last
    for edge in (first, last):
        shown, before = wall(edge, tz), wall(edge - 1, tz)
        starts = {"1d": shown, "1w": shown - timedelta(shown.weekday()), "1mo": shown.replace(day=1)}
        starts |= {"1q": shown.replace(month=(shown.month - 1) // 3 * 3 + 1, day=1), "1y": shown.replace(month=1, day=1)}
        midnight = starts[every].replace(hour=0, minute=0, second=0, microsecond=0)
        assert before < midnight <= shown
        # Never before: a clock that is put back shows the time before midnight again, and no day begins twice.
        assert all(wall(edge - hours * 3_600_000_000 - 1, tz) < midnight for hours in range(30))


@given(tz=zones, second=seconds, away=st.integers(-7200, 7200), hours=st.integers(0, 30), every=st.sampled_from(("1m", "15m", "1h")))
def test_hours_cover_the_time_line_and_the_clock_does_not_leave_one(tz: str, second: int, away: int, hours: int, every: Every) -> None:
    at = near(tz, second) + away * 1_000_000
    found = edges(at, at + hours * 3_600_000_000, every, tz)
    assert found[0] <= at < found[1]
    assert found[-2] <= at + hours * 3_600_000_000 < found[-1]
    length = UNITS[every].seconds * 1_000_000
    for start, end in pairwise(found.tolist()[:200]):
        assert start < end
        shown = [
            int(moment) + int(offset) for moment, offset in zip((start, end - 1), offsets(np.array([start, end - 1]), tz), strict=True)
        ]
        assert shown[0] // length == shown[1] // length
        assert shown[0] <= shown[1]


@given(tz=zones, second=seconds, away=st.integers(-7200, 7200))
def test_every_instant_is_among_those_that_show_its_time_and_the_first_of_them_is_when_it_is_reached(
    tz: str, second: int, away: int
) -> None:
    at = near(tz, second) + away * 1_000_000
    local = np.array([at + int(offsets(np.array([at]), tz)[0])])
    all_of_them = showing(local, tz).tolist()
    assert at in all_of_them
    assert len(all_of_them) <= 2
    assert {wall(one, tz) for one in all_of_them} == {wall(at, tz)}
    assert reached(local, tz).tolist() <= all_of_them[:1]


@pytest.mark.parametrize(
    ("tz", "at", "every", "began"),
    [
        ("Atlantic/Azores", "2026-10-25T00:30:00+00:00", "1d", "2026-10-25T00:00:00+00:00"),  # until 01:00, and 00:00 again
        ("Atlantic/Azores", "2026-10-25T01:30:00+00:00", "1d", "2026-10-25T00:00:00+00:00"),
        ("America/Havana", "2025-11-02T05:30:00+00:00", "1d", "2025-11-02T04:00:00+00:00"),
        ("America/Havana", "2020-11-01T05:30:00+00:00", "1mo", "2020-11-01T04:00:00+00:00"),
        ("Asia/Amman", "2021-10-28T22:30:00+00:00", "1d", "2021-10-28T21:00:00+00:00"),
        ("America/St_Johns", "2010-11-07T03:00:00+00:00", "1d", "2010-11-07T02:30:00+00:00"),  # 23:30 of the day before, again
        ("Pacific/Apia", "2011-12-30T10:30:00+00:00", "1d", "2011-12-30T10:00:00+00:00"),
        ("Australia/Lord_Howe", "2026-04-04T14:59:00+00:00", "1h", "2026-04-04T14:00:00+00:00"),
        ("Australia/Lord_Howe", "2026-04-04T15:01:00+00:00", "1h", "2026-04-04T15:00:00+00:00"),
        ("Australia/Lord_Howe", "2026-04-04T15:31:00+00:00", "1h", "2026-04-04T15:30:00+00:00"),
        ("America/Vancouver", "2026-11-15T12:00:00+00:00", "1d", "2026-11-15T07:00:00+00:00"),
        ("Africa/Casablanca", "2026-11-15T12:00:00+00:00", "1d", "2026-11-15T00:00:00+00:00"),
    ],
)
def test_periods_begin_where_the_zones_clocks_say(tz: str, at: str, every: Every, began: str) -> None:
    assert begin(datetime.fromisoformat(at), every, tz) == datetime.fromisoformat(began)


@pytest.mark.parametrize("name", ["localtime", "Factory", "Europe/Berln", "../etc/passwd", "", "posixrules", "right/UTC"])
def test_what_is_no_zone_of_the_database_is_refused(name: str) -> None:
    assert not is_zone(name)
    with pytest.raises(UsageError, match="is not a time zone: use an IANA name"):
        zone(name)


def test_every_zone_of_the_package_is_a_zone() -> None:
    assert [name for name in NAMES if not is_zone(name)] == []


def test_the_machines_own_zone_data_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    at = datetime(2026, 11, 15, 12, tzinfo=UTC)
    assert at.astimezone(zone("America/Vancouver")).utcoffset() == timedelta(hours=-7)
    assert zone("America/Vancouver") is not ZoneInfo("America/Vancouver")


def test_a_column_shows_the_packages_clock_whatever_polars_thinks() -> None:
    column = pl.Series("at", [datetime(2026, 11, 15, 12, tzinfo=UTC), None]).dt.convert_time_zone("America/Vancouver")
    assert clock(column).to_list() == [datetime(2026, 11, 15, 5), None]  # noqa: DTZ001  # a wall clock's time
    assert texts(column, "%Y-%m-%dT%H:%M:%S").to_list() == ["2026-11-15T05:00:00-07:00", None]
    assert [moment and moment.isoformat() for moment in moments(column)] == ["2026-11-15T05:00:00-07:00", None]
    assert texts(column.dt.convert_time_zone("UTC"), "%H:%M").to_list() == ["12:00Z", None]


@pytest.mark.parametrize("year", [1, 2, 9998, 9999])
def test_the_first_and_the_last_years_have_periods_too(year: int) -> None:
    for moment in (datetime(year, 1, 5, tzinfo=UTC), datetime(year, 12, 25, tzinfo=UTC)):
        at = microseconds(moment)
        for every in UNITS:
            first, last = edges(at, at, every, "Europe/Berlin").tolist()
            assert first <= at < last
