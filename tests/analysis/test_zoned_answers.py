"""All answers over time cut the time line at the same instants, in zones whose clocks and whose laws changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.lakes import Recorded, write_lake
from workbench import charts
from workbench.analysis import activity, distribution, lifespans, store_usage
from workbench.analysis.periods import Every
from workbench.analysis.schemas import schemas
from workbench.analysis.series import series
from workbench.cli.output import show
from workbench.display.tables import table
from workbench.errors import UsageError
from workbench.jobs import CronTimes
from workbench.lake import open_lake
from workbench.projection import event
from workbench.timeline import Timeline
from workbench.zones import begin, clock

CHANGES = [
    ("Atlantic/Azores", "2026-10-25T01:00"),
    ("America/Havana", "2025-11-02T05:00"),
    ("Asia/Amman", "2021-10-28T22:00"),
    ("America/Scoresbysund", "2023-10-29T01:00"),
    ("America/St_Johns", "2010-11-07T02:31"),
    ("Australia/Lord_Howe", "2026-04-04T15:00"),
    ("Australia/Lord_Howe", "2026-10-03T15:30"),
    ("America/Vancouver", "2026-11-02T00:00"),
    ("Africa/Casablanca", "2026-11-02T00:00"),
    ("America/Edmonton", "2026-11-02T00:00"),
    ("Europe/Chisinau", "2026-10-25T01:00"),
    ("Pacific/Apia", "2011-12-30T10:00"),
    ("Africa/Monrovia", "1972-01-07T00:44:30"),
]


def around(path: Path, moment: str) -> Timeline:
    """Return a history with an event every twenty minutes from two days before a moment to two days after it."""
    middle = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    return open_lake(write_lake(path, [Recorded("a", middle + timedelta(minutes=20 * n), f"a-{n % 3}") for n in range(-144, 144)])).timeline


@pytest.mark.parametrize("every", ["1h", "1d", "1mo"])
@pytest.mark.parametrize(("tz", "moment"), CHANGES)
def test_every_answer_counts_an_event_in_the_period_that_the_zone_says(tmp_path: Path, tz: str, moment: str, every: Every) -> None:
    timeline = around(tmp_path, moment)
    times = timeline.events().select("recorded_at").collect()["recorded_at"]
    expected = (
        pl.Series("period", [begin(at, every, tz) for at in times]).cast(pl.Datetime("us", "UTC")).value_counts(sort=True).sort("period")
    )
    starts = expected["period"].to_list()

    counted = distribution(timeline, every=every, tz=tz).select(pl.col("period").dt.convert_time_zone("UTC"), "count")
    assert counted.filter(pl.col("count") > 0).rows() == expected.rows()  # an hour of St. John's once had a minute, without an event
    rates = store_usage(timeline, every=every, tz=tz).rates.select(pl.col("period").dt.convert_time_zone("UTC"), "events")
    assert rates.rows() == counted.rows()
    found = schemas(timeline, every=every, tz=tz).over_time
    assert found is not None
    assert set(found["period"].dt.convert_time_zone("UTC")) <= set(starts)
    spans = lifespans(timeline, every=every, tz=tz)
    assert spans.select(pl.col("first_period", "last_period").dt.convert_time_zone("UTC")).row(0) == (starts[0], starts[-1])


@pytest.mark.parametrize(("tz", "moment"), CHANGES)
def test_days_of_activity_are_those_of_the_distribution(tmp_path: Path, tz: str, moment: str) -> None:
    timeline = around(tmp_path, moment)
    by_day = distribution(timeline, every="1d", tz=tz)
    found = activity(timeline, actor=event.stream, tz=tz)
    # Where a date is left out, activity counts nothing on it.
    assert found.days.filter(pl.col("actions") > 0).select("day", "actions").rows() == list(
        zip(clock(by_day["period"]).dt.date(), by_day["count"], strict=True)
    )


@pytest.mark.parametrize(("tz", "moment"), CHANGES)
def test_steps_of_a_series_are_the_beginnings_of_the_periods(tmp_path: Path, tz: str, moment: str) -> None:
    timeline = around(tmp_path, moment)
    for every in ("1h", "1d"):
        starts = distribution(timeline, every=every, tz=tz)["period"].to_list()
        found = series("a", timeline, pl.len(), every=every, tz=tz)["at"].to_list()
        assert [at for at in found[:-1] if at > starts[0]] == starts[1:]


def test_a_day_that_begins_twice_keeps_its_events(tmp_path: Path) -> None:
    first, second = (datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1))
    timeline = open_lake(write_lake(tmp_path, [Recorded("a", first), Recorded("a", second)])).timeline
    for tz in ("Atlantic/Azores",):
        assert distribution(timeline, every="1d", tz=tz)["count"].to_list() == [2]
        assert store_usage(timeline, every="1d", tz=tz).rates["events"].to_list() == [2]
        assert distribution(timeline, every="1d", tz=tz)["period"].dt.convert_time_zone("UTC").to_list() == [
            datetime(2026, 10, 25, tzinfo=UTC)
        ]


@pytest.mark.parametrize("tz", ["localtime", "Factory"])
def test_what_names_no_zone_is_refused_everywhere(tmp_path: Path, tz: str) -> None:
    timeline = around(tmp_path, "2026-10-25T01:00")
    for ask in (
        lambda: distribution(timeline, every="1d", tz=tz),
        lambda: lifespans(timeline, tz=tz),
        lambda: store_usage(timeline, tz=tz),
        lambda: schemas(timeline, every="1d", tz=tz),
        lambda: activity(timeline, actor=event.stream, tz=tz),
        lambda: series("a", timeline, pl.len(), tz=tz),
        lambda: CronTimes.parse("0 0 * * *", zone=tz),
    ):
        with pytest.raises(UsageError, match="is not a time zone: use an IANA name"):
            ask()


def test_everything_that_shows_a_time_shows_the_packages_clock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2026, 11, 15, 12, tzinfo=UTC)
    timeline = open_lake(write_lake(tmp_path, [Recorded("a", at + timedelta(hours=2 * n), "a-1", '{"b": 1}') for n in range(2)])).timeline
    tz = "America/Vancouver"
    frame = distribution(timeline, every="1h", tz=tz)
    for json, csv in ((True, False), (False, True), (False, False)):
        show(frame, json=json, csv=csv)
        assert "2026-11-15T05:00:00-07:00" in capsys.readouterr().out
    assert "2026-11-15 05:00" in str(table(frame.select("period", "count")))
    assert "15 Nov 2026, 05:00" in charts.distribution(frame).numbers.rows[0][0]
    assert "15 Nov 2026, 05:00" in charts.rates(store_usage(timeline, every="1h", tz=tz)).data[0].x[0]
    assert charts.series(series("a", timeline, pl.len(), every="1h", tz=tz)).data[0].x[-1] == "2026-11-15 07:00:00"
    assert charts.lifespans(lifespans(timeline, tz=tz)).data[0].base[0] == "2026-11-15T05:00:00"
    assert charts.schemas(schemas(timeline, every="1h", tz=tz)).data[0].x[0] == "15 Nov 2026, 05:00"
