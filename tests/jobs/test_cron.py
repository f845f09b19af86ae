"""Cron text with a zone: Mondays are Mondays, and clocks that change neither lose a time nor give one twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import UsageError
from workbench.jobs import CronTimes
from workbench.zones import zone as zone_of


def local(text: str, *, after: str, count: int, zone: str = "Europe/Berlin") -> list[str]:
    times = CronTimes.parse(text, zone=zone)
    begin = datetime.fromisoformat(after).replace(tzinfo=zone_of(zone))
    return [f"{at.astimezone(zone_of(zone)):%a %m-%d %H:%M %z}" for at in islice(times.after(begin), count)]


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 */2 * * *", ["00:00 +1100", "02:00 +1030", "04:00 +1030"]),
        ("*/20 2 * * *", ["02:00 +1030", "02:20 +1030", "02:40 +1030"]),
        ("*/20 1 * * *", ["01:00 +1100", "01:20 +1100", "01:40 +1100", "01:40 +1030"]),
        ("45 1 * * *", ["01:45 +1100"]),
        ("0 2 * * *", ["02:00 +1030"]),
    ],
)
def test_no_run_is_lost_where_a_clock_is_put_back_by_half_an_hour(text: str, expected: list[str]) -> None:
    found = local(text, after="2026-04-04T23:59", count=len(expected), zone="Australia/Lord_Howe")
    assert found == [f"Sun 04-05 {one}" for one in expected]


def test_every_minute_of_an_hour_runs_where_a_clock_is_put_back_by_half_an_hour() -> None:
    found = local("* 2 * * *", after="2026-04-04T23:59", count=61, zone="Australia/Lord_Howe")
    assert found[:60] == [f"Sun 04-05 02:{minute:02} +1030" for minute in range(60)]
    assert found[60] == "Mon 04-06 02:00 +1030"


def test_times_follow_the_package_and_not_the_machines_zone_data() -> None:
    assert local("0 0 * * *", after="2026-11-14T12:00", count=1, zone="America/Vancouver") == ["Sun 11-15 00:00 -0700"]


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
        with pytest.raises(UsageError, match="is not a time zone: use an IANA name such as UTC or Europe/Berlin"):
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


@given(
    text=st.sampled_from(["*/20 * * * *", "*/30 2 * * *", "0 */2 * * *", "15 * * * *", "0 0 * * *", "30 1 * * *", "0,30 2,3 * * *"]),
    zone=st.sampled_from(["Australia/Lord_Howe", "America/Havana", "America/St_Johns", "Pacific/Apia", "Europe/Berlin", "UTC"]),
    begin=st.integers(0, 20 * 365).map(lambda days: datetime(2006, 1, 1, tzinfo=UTC) + timedelta(days=days)),
)
def test_runs_are_at_the_minutes_whose_clock_the_text_names(text: str, zone: str, begin: datetime) -> None:
    minutes, hours, *_ = text.split()
    wanted_minutes, wanted_hours = (_named(field, most) for field, most in ((minutes, 60), (hours, 24)))
    shown = [(begin + timedelta(minutes=number)).astimezone(zone_of(zone)) for number in range(1, 4 * 24 * 60)]
    matching = [at for at in shown if at.minute in wanted_minutes and at.hour in wanted_hours]
    found = list(takewhile(lambda at: at <= shown[-1], CronTimes.parse(text, zone=zone).after(begin)))
    if minutes.startswith("*") or hours.startswith("*"):
        # In UTC: Python takes no time that comes twice for equal to one of another zone.
        assert found == [at.astimezone(UTC) for at in matching]
    else:  # each date and time of day once, at its first; a skipped one right behind the gap
        named = {at.replace(tzinfo=None) for at in matching}
        local_runs = [at.astimezone(zone_of(zone)).replace(tzinfo=None) for at in found]
        assert len(set(local_runs)) == len(local_runs)
        assert named - set(local_runs) <= {at.replace(tzinfo=None) for at in shown if at.fold}


def _named(field: str, most: int) -> set[int]:
    if field.startswith("*"):
        return set(range(0, most, int(field[2:] or 1)))
    return {int(one) for one in field.split(",")}
