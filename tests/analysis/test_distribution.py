"""What a distribution promises: every event is counted once, whatever the grain, and nothing is left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tests.analysis.conftest import Sample
from tests.lakes import START, Recorded, community, write_lake
from tests.laws import at_least
from workbench.analysis.distribution import By, distribution, lifespans
from workbench.analysis.periods import Every
from workbench.errors import UsageError
from workbench.lake import open_lake
from workbench.timeline import Timeline

TOTAL = {
    "count": pl.Int64(),
    "share": pl.Float64(),
    "payload_bytes": pl.Int64(),
    "mean_payload_bytes": pl.Float64(),
    "median_payload_bytes": pl.Int64(),
    "largest_payload_bytes": pl.Int64(),
    "first_recorded_at": pl.Datetime("us", "UTC"),
    "last_recorded_at": pl.Datetime("us", "UTC"),
    "first_position": pl.Int64(),
    "last_position": pl.Int64(),
}


def timeline_of(path: Path, events: list[Recorded]) -> Timeline:
    return open_lake(write_lake(path, events)).timeline


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    return timeline_of(tmp_path_factory.mktemp("lake"), community(2000))


@pytest.mark.parametrize("by", get_args(By))
@pytest.mark.parametrize("every", [None, "auto", *get_args(Every)])
def test_counts_add_up_to_the_timelines_length_whatever_the_grain(history: Timeline, by: By, every: Every | None) -> None:
    timeline = history.upto(position=300) if every in ("1s", "1m", "15m") else history
    frame = distribution(timeline, by=by, every=every, tz="Europe/Berlin")
    assert frame["count"].sum() == timeline.count() == (3 if every in ("1s", "1m", "15m") else 2000)


@pytest.mark.parametrize("by", get_args(By))
def test_a_distribution_agrees_with_a_plain_count_over_the_events(history: Timeline, by: By) -> None:
    events = history.events().collect()
    size = pl.coalesce(pl.col("data").str.len_bytes(), pl.col("data_bytes").bin.size())
    expected = (
        events.group_by(by)
        .agg(
            pl.len().cast(pl.Int64).alias("count"),
            (pl.len() / events.height).alias("share"),
            size.sum().cast(pl.Int64).alias("payload_bytes"),
            size.mean().alias("mean_payload_bytes"),
            size.sort().gather((pl.len() - 1) // 2).first().cast(pl.Int64).alias("median_payload_bytes"),
            size.max().cast(pl.Int64).alias("largest_payload_bytes"),
            pl.col("recorded_at").min().alias("first_recorded_at"),
            pl.col("recorded_at").max().alias("last_recorded_at"),
            pl.col("position").min().alias("first_position"),
            pl.col("position").max().alias("last_position"),
            pl.lit(0, dtype=pl.Int64).first().alias("links"),
        )
        .sort("count", by, descending=[True, False])
    )
    frame = distribution(history, by=by)
    assert frame.schema == {by: pl.String(), **TOTAL, "links": pl.Int64()}
    assert_frame_equal(frame, expected)


@pytest.mark.parametrize("tz", ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/Sao_Paulo"])
@pytest.mark.parametrize(("every", "cut"), [("1d", "1d"), ("1w", "1w"), ("1mo", "1mo"), ("1q", "1q"), ("1y", "1y")])
def test_periods_begin_on_the_wall_clock_of_the_time_zone(history: Timeline, every: Every, cut: str, tz: str) -> None:
    events = history.events().collect()
    local = pl.col("recorded_at").dt.convert_time_zone(tz).dt.truncate(cut)
    expected = events.group_by(local.alias("period"), "type").agg(pl.len().cast(pl.Int64).alias("count")).sort("period", "type")
    frame = distribution(history, every=every, tz=tz).filter(pl.col("count") > 0).select("period", "type", "count")
    assert frame.schema["period"] == pl.Datetime("us", tz)
    assert expected.to_dicts() == frame.sort("period", "type").to_dicts()


def test_periods_are_dense_and_an_empty_one_counts_nothing(tmp_path: Path) -> None:
    timeline = timeline_of(tmp_path, [Recorded("a", START), Recorded("b", START + timedelta(days=400))])
    frame = distribution(timeline, every="1d")
    assert frame.height == 2 * 401
    gap = frame.slice(2, 2 * 399)
    assert gap["count"].to_list() == [0] * 798
    assert gap["payload_bytes"].to_list() == [0] * 798
    for name in (
        "share",
        "mean_payload_bytes",
        "median_payload_bytes",
        "largest_payload_bytes",
        "first_recorded_at",
        "last_recorded_at",
        "first_position",
        "last_position",
    ):
        assert gap[name].null_count() == 798


def test_rows_of_a_period_come_in_the_order_of_the_totals(history: Timeline) -> None:
    order = distribution(history)["type"].to_list()
    for _, rows in distribution(history, every="1mo").group_by("period", maintain_order=True):
        assert order == rows["type"].to_list()
        assert rows["share"].sum() == pytest.approx(1)


def test_equal_counts_come_by_name(tmp_path: Path) -> None:
    events = [Recorded(name, START, f"{name}-1") for name in ("c", "a", "b", "b")]
    assert distribution(timeline_of(tmp_path, events))["type"].to_list() == ["b", "a", "c"]


@pytest.mark.parametrize(("tz", "day", "hours"), [("Europe/Berlin", "2026-03-29", 23), ("Europe/Berlin", "2026-10-25", 25)])
def test_the_hour_that_a_clock_skips_or_repeats_is_counted_as_it_was(tmp_path: Path, tz: str, day: str, hours: int) -> None:
    midnight = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(tz)).astimezone(UTC)
    events = [Recorded("a", midnight + timedelta(minutes=30) + timedelta(hours=hour)) for hour in range(hours)]
    timeline = timeline_of(tmp_path, events)
    by_hour = distribution(timeline, every="1h", tz=tz)
    assert by_hour["count"].to_list() == [1] * hours
    assert {after - before for before, after in pairwise(by_hour["period"].dt.convert_time_zone("UTC"))} == {timedelta(hours=1)}
    assert distribution(timeline, every="1d", tz=tz)["count"].to_list() == [hours]


@pytest.mark.parametrize(("tz", "day"), [("Australia/Lord_Howe", "2025-04-06"), ("Asia/Pyongyang", "2018-05-05")])
def test_no_event_is_lost_where_a_clock_moves_by_half_an_hour(tmp_path: Path, tz: str, day: str) -> None:
    noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=ZoneInfo(tz)).astimezone(UTC)
    events = [Recorded("a", noon + timedelta(minutes=20 * number)) for number in range(-72, 72)]
    frame = distribution(timeline_of(tmp_path, events), every="1h", tz=tz)
    assert frame["count"].sum() == len(events)
    assert frame["count"].min() != 0
    assert frame["period"].is_sorted()
    assert frame["period"].is_unique().all()


def test_a_date_that_a_time_zone_left_out_has_no_period(tmp_path: Path) -> None:
    # Samoa went from 29 to 31 December 2011, over the date line.
    start = datetime(2011, 12, 29, 12, tzinfo=UTC)
    events = [Recorded("a", start + timedelta(hours=6 * number)) for number in range(12)]
    frame = distribution(timeline_of(tmp_path, events), every="1d", tz="Pacific/Apia")
    assert [(str(moment.date()), count) for moment, count in frame.select("period", "count").iter_rows()] == [
        ("2011-12-29", 4), ("2011-12-31", 4), ("2012-01-01", 4),
    ]  # fmt: skip


@pytest.mark.parametrize("every", get_args(Every))
def test_a_distribution_over_time_says_how_long_its_periods_are(tmp_path: Path, every: Every) -> None:
    timeline = timeline_of(tmp_path, [Recorded("a", START)])
    frame = distribution(timeline, every=every)
    assert frame.columns[:2] == ["period", "every"]
    assert frame["every"].to_list() == [every]
    assert distribution(timeline, every="auto")["every"].to_list() == ["1s"]


def test_a_day_whose_midnight_does_not_exist_begins_at_its_first_instant(tmp_path: Path) -> None:
    # In 2018 São Paulo put its clocks forward at midnight of 4 November.
    noon = datetime(2018, 11, 4, 12, tzinfo=ZoneInfo("America/Sao_Paulo")).astimezone(UTC)
    events = [Recorded("a", noon + timedelta(days=days)) for days in (-1, 0, 1)]
    frame = distribution(timeline_of(tmp_path, events), every="1d", tz="America/Sao_Paulo")
    assert [str(moment.time()) for moment in frame["period"]] == ["00:00:00", "01:00:00", "00:00:00"]
    assert frame["count"].to_list() == [1, 1, 1]


@pytest.mark.parametrize("every", [None, "auto", "1h", "1mo"])
def test_an_empty_timeline_gives_an_empty_frame_with_its_columns(history: Timeline, every: Every | None) -> None:
    frame = distribution(history.types("nothing"), every=every, tz="Asia/Tokyo")
    period = {} if every is None else {"period": pl.Datetime("us", "Asia/Tokyo"), "every": pl.Enum(get_args(Every))}
    assert frame.is_empty()
    assert frame.schema == {**period, "type": pl.String(), **TOTAL, **({} if every else {"links": pl.Int64()})}


@settings(max_examples=at_least(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, 2000), category=st.sampled_from(["user", "message", "room"]))
def test_a_cutoff_and_a_selection_say_what_is_counted(history: Timeline, cut: int, category: str) -> None:
    past = history.upto(position=cut * 100)
    assert distribution(past)["count"].sum() == cut
    whole = dict(distribution(past, by="category").select("category", "count").iter_rows())
    assert distribution(past.categories(category))["count"].sum() == whole.get(category, 0)


def test_payloads_are_measured_in_bytes_as_recorded(tmp_path: Path) -> None:
    events = [Recorded("a", START, data='"ä"'), Recorded("a", START, binary=b"\x00\xff"), Recorded("b", START, binary=b"")]
    assert distribution(timeline_of(tmp_path, events))["payload_bytes"].to_list() == [6, 0]


def test_the_automatic_period_gives_a_readable_number_of_them(tmp_path: Path) -> None:
    for number, (span, hours) in enumerate([(2, 1), (90, 24), (600, 24 * 7), (4000, 24 * 28)]):
        events = [Recorded("a", START), Recorded("a", START + timedelta(days=span))]
        periods = distribution(timeline_of(tmp_path / str(number), events), every="auto")["period"]
        assert (periods[1] - periods[0]) >= timedelta(hours=hours)
        assert len(periods) <= 140


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"by": "colour"}, "count by 'type', 'category' or 'stream'"),
        ({"every": "2w"}, "'1w', '1mo', '1q', '1y' or 'auto'"),
        ({"every": "1d", "tz": "Berlin'"}, "IANA name"),
    ],
)
def test_what_cannot_be_counted_is_refused_naming_what_can(history: Timeline, wrong: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        distribution(history, **wrong)  # type: ignore[arg-type]  # the point of the test


def test_a_table_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    events = [Recorded("a", START + timedelta(days=100 * number), f"s-{number}") for number in range(100)]
    with pytest.raises(UsageError, match="take a longer period than '1h', or select fewer events"):
        distribution(timeline_of(tmp_path, events), by="stream", every="1h")


def test_the_automatic_period_keeps_within_the_same_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [Recorded("a", START + timedelta(days=2 * number), f"s-{number}") for number in range(30)]
    timeline = timeline_of(tmp_path, events)
    assert distribution(timeline, by="stream", every="auto")["every"].unique().to_list() == ["1d"]
    monkeypatch.setitem(distribution.__globals__, "_MOST_ROWS", 30 * 10)
    assert distribution(timeline, by="stream", every="auto")["every"].unique().to_list() == ["1w"]
    monkeypatch.setitem(distribution.__globals__, "_MOST_ROWS", 29)
    with pytest.raises(UsageError, match="30 x 1 rows, more than 29: select fewer events"):
        distribution(timeline, by="stream", every="auto")


def test_lifespans_say_the_first_and_last_period_of_each_type(history: Timeline) -> None:
    frame = lifespans(history, every="1w", tz="Europe/Berlin")
    over_time = distribution(history, every="1w", tz="Europe/Berlin").filter(pl.col("count") > 0)
    expected = over_time.group_by("type").agg(
        pl.col("period").min().alias("first"), pl.col("period").max().alias("last"), pl.col("count").sum()
    )
    assert_frame_equal(frame.select("type", first="first_period", last="last_period", count="count").sort("type"), expected.sort("type"))
    assert frame["first_recorded_at"].is_sorted()
    assert frame["every"].unique().to_list() == ["1w"]


def test_types_that_a_system_took_up_and_gave_up_are_told_from_those_that_are_rare(sample: Sample) -> None:
    frame = lifespans(sample.timeline, every="1w")
    vanished = set(frame.filter("is_vanished")["type"])
    # The types of the first version of the sample's services, which a later version replaced.
    assert {"UserAdded", "UserLoggedIn"} <= vanished
    assert all(name.startswith("User") or name == "chat.room_created" for name in vanished)
    assert "chat.room_opened" in set(frame.filter("is_new")["type"])


def test_one_late_event_is_no_new_type(tmp_path: Path) -> None:
    events = [Recorded("a", START + timedelta(days=number)) for number in range(100)] + [Recorded("b", START + timedelta(days=98))]
    assert lifespans(timeline_of(tmp_path, events), every="1d").filter(pl.col("is_new") | pl.col("is_vanished")).is_empty()
    events += [Recorded("c", START + timedelta(days=90, minutes=number)) for number in range(10)]
    (new,) = lifespans(timeline_of(tmp_path / "new", events), every="1d").filter("is_new").iter_rows(named=True)
    assert new["type"] == "c"


def test_lifespans_of_nothing_and_of_one_event(history: Timeline, tmp_path: Path) -> None:
    empty = lifespans(history.types("nothing"), tz="Asia/Tokyo")
    one = lifespans(timeline_of(tmp_path, [Recorded("a", START)]), tz="Asia/Tokyo")
    assert empty.is_empty()
    assert empty.schema == one.schema
    assert one.select("is_new", "is_vanished", "count").rows() == [(False, False, 1)]
