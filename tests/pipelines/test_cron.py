"""Cron text with a zone: Mondays are Mondays, and clocks that change neither lose a time nor give one twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import UsageError
from workbench.pipelines import CronTimes

BERLIN = ZoneInfo("Europe/Berlin")


def local(text: str, *, after: str, count: int, zone: str = "Europe/Berlin") -> list[str]:
    times = CronTimes.parse(text, zone=zone)
    begin = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone))
    return [f"{at.astimezone(ZoneInfo(zone)):%a %m-%d %H:%M %z}" for at in islice(times.after(begin), count)]


def test_one_is_monday_and_both_zero_and_seven_are_sunday() -> None:
    assert local("0 9 * * 1", after="2026-03-01", count=2) == ["Mon 03-02 09:00 +0100", "Mon 03-09 09:00 +0100"]
    for sunday in ("0", "7", "SUN", "sun"):
        assert local(f"0 9 * * {sunday}", after="2026-03-02", count=1) == ["Sun 03-08 09:00 +0100"]


def test_a_time_of_day_that_is_skipped_comes_right_after_the_gap_and_once() -> None:
    found = local("30 2 * * *", after="2026-03-28", count=3)
    assert found == ["Sat 03-28 02:30 +0100", "Sun 03-29 03:00 +0200", "Mon 03-30 02:30 +0200"]
    assert local("0,30 2,3 * * *", after="2026-03-29", count=3) == [
        "Sun 03-29 03:00 +0200",
        "Sun 03-29 03:30 +0200",
        "Mon 03-30 02:00 +0200",
    ]


def test_a_time_of_day_that_comes_twice_counts_at_its_first_and_once() -> None:
    found = local("30 2 * * *", after="2026-10-24T12:00", count=2)
    assert found == ["Sun 10-25 02:30 +0200", "Mon 10-26 02:30 +0100"]
    times = CronTimes.parse("30 2 * * *", zone="Europe/Berlin")
    between_the_two = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert next(times.after(between_the_two)) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_jobs_of_every_hour_run_by_elapsed_time() -> None:
    assert local("15 * * * *", after="2026-10-25T01:30", count=4) == [
        "Sun 10-25 02:15 +0200",
        "Sun 10-25 02:15 +0100",
        "Sun 10-25 03:15 +0100",
        "Sun 10-25 04:15 +0100",
    ]
    assert local("*/30 * * * *", after="2026-03-29T01:15", count=3) == [
        "Sun 03-29 01:30 +0100",
        "Sun 03-29 03:00 +0200",
        "Sun 03-29 03:30 +0200",
    ]


def test_midnight_exists_even_where_clocks_change_then() -> None:
    assert local("0 0 * * *", after="2018-11-03T12:00", count=2, zone="America/Sao_Paulo") == [
        "Sun 11-04 01:00 -0200",
        "Mon 11-05 00:00 -0200",
    ]


def test_names_stand_for_their_times() -> None:
    assert local("@daily", after="2026-03-01T12:00", count=1) == ["Mon 03-02 00:00 +0100"]
    assert local("@weekly", after="2026-03-02", count=1) == ["Sun 03-08 00:00 +0100"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("15 0 * *", "it has 4 fields and not five"),
        ("0 15 0 * * *", "it has 6 fields and not five"),
        ("60 0 * * *", "bad minute"),
        ("0 0 * * 8", "bad day-of-week"),
        ("0 0 31 2 *", "bad day-of-month"),
        ("@noon", "known names are @hourly, @daily"),
    ],
)
def test_what_is_no_schedule_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        CronTimes.parse(text, zone="UTC")


def test_an_unknown_zone_is_refused() -> None:
    for zone in ("Europe/Berln", "../etc/passwd", ""):
        with pytest.raises(UsageError, match="is no time zone: give an IANA name such as UTC or Europe/Berlin"):
            CronTimes.parse("0 0 * * *", zone=zone)


moments = st.integers(0, 365 * 24 * 3600).map(lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))
texts = st.sampled_from(["*/20 * * * *", "0,30 2 * * *", "15 1-3 * * *", "0 */2 * * *", "0 0 * * 1", "5 2 25 10 *", "30 2 29 3 *"])


@given(text=texts, begin=moments, days=st.integers(0, 40), most=st.integers(1, 50), zone=st.sampled_from(["UTC", "Europe/Berlin"]))
def test_the_last_times_of_a_span_are_those_that_counting_from_its_beginning_gives(
    text: str, begin: datetime, days: int, most: int, zone: str
) -> None:
    times, end = CronTimes.parse(text, zone=zone), begin + timedelta(days=days)
    counted = list(takewhile(lambda at: at <= end, times.after(begin)))
    assert times.between(begin, end, most=most) == counted[-most:]
    assert counted == sorted(set(counted))


@given(text=texts, begin=moments)
def test_where_one_goes_on_from_does_not_change_what_comes(text: str, begin: datetime) -> None:
    times = CronTimes.parse(text, zone="Europe/Berlin")
    first, second, third = islice(times.after(begin), 3)
    assert next(times.after(first)) == second
    assert next(times.after(second - timedelta(microseconds=1))) == second
    assert next(times.after(second)) == third
    assert times.last(second) == second
