"""What a store report promises: its counts add up, and agree with what the sample's generator knows and with plain SQL."""

from __future__ import annotations

import statistics
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tests.analysis.conftest import Sample
from tests.lake import histories
from tests.lakes import START, Recorded, community, write_lake
from tests.laws import at_least
from workbench.analysis import StoreReport, distribution, store_usage
from workbench.analysis.periods import Every
from workbench.errors import UsageError
from workbench.events import EVENT_SCHEMA, Checkpoint, Selection, Store
from workbench.lake import LakeWriter, open_lake
from workbench.timeline import Timeline


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    return open_lake(write_lake(tmp_path_factory.mktemp("lake"), community(1000))).timeline


def report_of(path: Path, events: list[Recorded], **asked: Any) -> StoreReport:
    return store_usage(open_lake(write_lake(path, events)).timeline, **asked)


def figures(report: StoreReport) -> dict[str, Any]:
    return report.summary.row(0, named=True)


def test_the_report_agrees_with_what_the_sample_knows_of_itself(sample: Sample) -> None:
    whole, facts = sample.timeline.with_system(), sample.facts
    found = store_usage(whole, snapshots="*.snapshot")
    assert figures(found)["events"] == facts.events
    assert figures(found)["streams"] == len(facts.by_stream)
    assert figures(found)["steps_back"] == facts.steps_back == found.steps_back.height
    assert dict(found.lengths.select("category", "events").iter_rows()) == dict(facts.by_category)
    assert dict(found.longest.head(20).select("stream", "events").iter_rows()).items() <= facts.by_stream.items()
    assert found.longest["events"].to_list()[:20] == [count for _, count in facts.by_stream.most_common(20)]
    assert found.snapshots["snapshots"].sum() == facts.by_type["user.snapshot"] + facts.by_type["room.snapshot"] > 0


def test_deleted_streams_are_those_that_the_sample_deleted(sample: Sample) -> None:
    hidden = store_usage(sample.timeline).hidden
    assert hidden is not None
    fates = {fate: set(rows["stream"]) for (fate,), rows in hidden.group_by("fate")}
    assert fates["tombstoned"] == sample.facts.tombstoned
    assert fates["deleted"] == sample.facts.soft_deleted


@pytest.mark.parametrize("cut", [1, 1000, 5000, 8000])
def test_what_is_hidden_is_what_the_visible_history_lacks(sample: Sample, cut: int) -> None:
    past = sample.timeline.upto(position=cut * 100)
    found = store_usage(past)
    assert found.hidden is not None
    assert figures(found)["hidden_events"] == found.hidden["hidden"].sum() == past.count() - past.visible().count()
    assert (found.hidden.filter(pl.col("fate") == "limited")["hidden"] == 0).all()
    assert (found.hidden.filter(pl.col("fate") == "truncated")["hidden"] > 0).all()


@pytest.mark.parametrize("every", ["auto", *get_args(Every)[2:]])
@pytest.mark.parametrize("tz", ["UTC", "Europe/Berlin", "America/Sao_Paulo"])
def test_rates_add_up_and_are_those_of_the_distribution(history: Timeline, every: Every, tz: str) -> None:
    found = store_usage(history, every=every, tz=tz)
    expected = distribution(history, every=found.every, tz=tz).group_by("period", maintain_order=True).agg(pl.col("count").sum())
    assert found.rates["events"].sum() == history.count()
    assert_frame_equal(found.rates.select("period", count="events"), expected)
    assert found.rates["new_streams"].sum() == found.rates["streams"].to_list()[-1] == figures(found)["streams"]
    assert found.rates["peak_second_events"].max() == figures(found)["peak_second_events"]
    assert ((found.rates["events"] == 0) == (found.rates["peak_second_events"] == 0)).all()


@settings(max_examples=at_least(20))
@given(offsets=st.lists(st.integers(0, 100_000), min_size=1, max_size=30))
def test_key_figures_are_those_of_a_plain_computation(tmp_path_factory: pytest.TempPathFactory, offsets: list[int]) -> None:
    moments = [START + timedelta(milliseconds=10 * offset) for offset in offsets]
    found = figures(report_of(tmp_path_factory.mktemp("lake"), [Recorded("a", moment) for moment in moments]))
    ordered = sorted(moments)
    seconds = Counter(moment.replace(microsecond=0) for moment in moments)
    minutes = Counter(moment.replace(second=0, microsecond=0) for moment in moments)
    assert found["peak_second_events"] == max(seconds.values()) == seconds[found["peak_second"]]
    assert found["peak_minute_events"] == max(minutes.values()) == minutes[found["peak_minute"]]
    steps = [after - before for before, after in pairwise(moments)]
    assert found["steps_back"] == sum(step < timedelta(0) for step in steps)
    assert found["largest_step_back"] == max((-step for step in steps if step < timedelta(0)), default=None)
    gaps = [(after - before).total_seconds() for before, after in pairwise(ordered)]
    if len(moments) < 3 or not any(gaps):
        assert found["burstiness"] is None
    else:
        mean, deviation = statistics.fmean(gaps), statistics.pstdev(gaps)
        assert found["burstiness"] == pytest.approx((deviation - mean) / (deviation + mean))
    first, last = (moment.replace(second=0, microsecond=0) for moment in (ordered[0], ordered[-1]))
    counts = [minutes[first + timedelta(minutes=number)] for number in range((last - first) // timedelta(minutes=1) + 1)]
    if len(moments) < 3 or len(counts) < 2:
        assert found["fano_factor"] is None
    else:
        assert found["fano_factor"] == pytest.approx(statistics.pvariance(counts) / statistics.fmean(counts))


def test_a_metronome_is_not_bursty_and_a_burst_is(tmp_path: Path) -> None:
    even = [Recorded("a", START + timedelta(seconds=number)) for number in range(50)]
    burst = [Recorded("a", START + timedelta(milliseconds=number)) for number in range(50)] + [Recorded("a", START + timedelta(days=9))]
    assert figures(report_of(tmp_path / "even", even))["burstiness"] == pytest.approx(-1)
    assert figures(report_of(tmp_path / "burst", burst))["burstiness"] > 0.7


@settings(max_examples=at_least(12))
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_streams_of_each_length_are_counted_in_their_bin(tmp_path_factory: pytest.TempPathFactory, lengths: list[int]) -> None:
    events = [Recorded("a", START, f"s-{stream}") for stream, length in enumerate(lengths) for _ in range(length)]
    found = report_of(tmp_path_factory.mktemp("lake"), events)
    for low, high, streams, count in found.histogram.iter_rows():
        inside = [length for length in lengths if low <= length <= high]
        assert (streams, count) == (len(inside), sum(inside))
    assert found.histogram["streams"].sum() == len(lengths)
    assert found.histogram["from_events"].to_list() == [2**place for place in range(max(lengths).bit_length())]
    assert figures(found)["median_length"] == sorted(lengths)[(len(lengths) - 1) // 2]
    assert figures(found)["longest_length"] == max(lengths)


def test_snapshots_are_measured_from_one_to_the_next_and_to_the_end(tmp_path: Path) -> None:
    kinds = ["a", "a", "a", "snap", "a", "snap", "a", "a", "a", "a"]
    events = [Recorded(kind, START + timedelta(hours=number), "user-1") for number, kind in enumerate(kinds)]
    events += [Recorded("snap", START + timedelta(days=1), "user-2"), Recorded("a", START, "room-1")]
    (row,) = report_of(tmp_path, events, snapshots="snap").snapshots.iter_rows(named=True)
    assert row == {
        "category": "user", "snapshots": 3, "streams": 2, "events": 8, "median_between": 1, "largest_between": 3,
        "median_since": 0, "largest_since": 4, "median_age": timedelta(hours=2),
    }  # fmt: skip
    assert report_of(tmp_path / "none", events).snapshots.is_empty()


def test_missing_revisions_are_found_with_the_first_of_them(tmp_path: Path) -> None:
    revisions = {"user-1": [0, 1, 4, 6], "user-2": [5, 6], "user-3": [0, 2]}
    rows = [
        {
            "position": number * 100, "prepare_position": number * 100, "stream": stream, "category": "user", "revision": revision,
            "event_id": f"00000000-0000-4000-8000-{number:012d}", "type": "a", "recorded_at": START, "is_json": True, "data": "{}",
            "metadata": "{}", "recorded_ticks": (START - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10,
            **dict.fromkeys(("data_bytes", "metadata_bytes", "correlation_id", "causation_id")),
        }
        for number, (stream, revision) in enumerate(((s, r) for s, found in revisions.items() for r in found), 1)
    ]  # fmt: skip
    writer = LakeWriter.open(
        tmp_path, store=Store("esdb://s.example:2113", first_position=100, first_event_id=str(rows[0]["event_id"])), selection=Selection()
    )
    last = rows[-1]
    writer.append(
        EVENT_SCHEMA.empty_table().from_pylist(rows, schema=EVENT_SCHEMA),
        Checkpoint(int(str(last["position"])), int(str(last["position"])), str(last["event_id"]), START),
    )
    writer.close()
    found = store_usage(open_lake(tmp_path).timeline)
    assert found.gaps.rows() == [("user-1", 3, 2, 0, 6), ("user-3", 1, 1, 0, 2)]
    assert figures(found)["missing_revisions"] == 4


def test_links_in_a_stream_are_no_missing_revisions(tmp_path: Path) -> None:
    """A stream of a user may hold links between its events, which a timeline leaves out."""
    kept: dict[str, list[str | None]] = {
        "mixed-1": ["$>", "a", "$>", "$>", "a", "$@", "a", "$>"],
        "linked-1": ["$>", "$>"],
        "gap-1": ["$>", None, "a", "$>", None, "a", None, "$>"],
        "gap-2": ["a", None, "$>", "a"],
    }
    rows = [
        histories.row(number, stream, revision=revision, type=kind, data=f"{revision}@other-1")
        for number, (stream, revision, kind) in enumerate(
            ((stream, revision, kind) for stream, kinds in kept.items() for revision, kind in enumerate(kinds) if kind is not None), 1
        )
    ]
    timeline = histories.lake_of(tmp_path, rows).timeline
    found = store_usage(timeline)
    assert figures(found)["missing_revisions"] == 2
    assert found.gaps.rows() == [("gap-1", 1, 4, 2, 5), ("gap-2", 1, 1, 0, 3)]
    assert figures(store_usage(timeline.streams("mixed-*")))["missing_revisions"] == 0
    assert figures(store_usage(timeline.links()))["missing_revisions"] == 2
    with_system = store_usage(timeline.with_system())
    assert with_system.gaps.rows() == [("gap-1", 3, 1, 0, 7), ("gap-2", 1, 1, 0, 3)]


def test_where_the_clock_went_back_is_named_with_the_greatest_step_first(tmp_path: Path) -> None:
    seconds = [0, 10, 5, 20, 1, 30]
    found = report_of(tmp_path, [Recorded("a", START + timedelta(seconds=second)) for second in seconds])
    assert found.steps_back.rows() == [
        (500, START + timedelta(seconds=1), timedelta(seconds=19)),
        (300, START + timedelta(seconds=5), timedelta(seconds=5)),
    ]


def test_an_empty_timeline_gives_plain_zeros_and_empty_frames_of_the_same_columns(history: Timeline) -> None:
    empty, full = store_usage(history.types("nothing"), snapshots="a"), store_usage(history, snapshots="*")
    row = figures(empty)
    assert (row["events"], row["streams"], row["missing_revisions"], row["hidden_events"], row["steps_back"]) == (0,) * 5
    assert {row[name] for name in ("first_recorded_at", "events_per_second", "peak_second", "burstiness", "median_length")} == {None}
    for name in ("rates", "lengths", "histogram", "longest", "snapshots", "gaps", "hidden", "steps_back"):
        assert getattr(empty, name).is_empty(), name
        assert getattr(empty, name).schema == getattr(full, name).schema, name
    assert empty.summary.schema == full.summary.schema


def test_one_event_and_a_year_of_silence_give_a_plain_answer(tmp_path: Path) -> None:
    one = figures(report_of(tmp_path / "one", [Recorded("a", START)]))
    assert (one["events"], one["events_per_second"], one["burstiness"], one["fano_factor"]) == (1, None, None, None)
    two = report_of(tmp_path / "two", [Recorded("a", START), Recorded("a", START + timedelta(days=365))], every="1d")
    assert two.rates.height == 366
    assert two.rates["events"].sum() == 2


def test_what_would_be_too_many_periods_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="more than 1,000,000: use a longer period"):
        report_of(tmp_path, [Recorded("a", START), Recorded("a", START + timedelta(days=365))], every="1s")


def test_a_lake_of_chosen_types_cannot_say_what_is_hidden(tmp_path: Path) -> None:
    store_name = Store("esdb://s.example:2113", first_position=None, first_event_id=None)
    LakeWriter.open(tmp_path, store=store_name, selection=Selection(types=("a",))).close()
    found = store_usage(open_lake(tmp_path).timeline)
    assert found.hidden is None
    assert figures(found)["hidden_events"] is None
