"""A timeline is the log, cut and chosen from: whatever it says, a filter over the rows in Python says too."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lake.histories import COMPLETE, EPOCH, STORE, STREAMS, TYPES, Row, is_system, lake_of, logs, open_writer, row, rows_of, write
from tests.laws import at_least
from workbench.errors import BeforeFirstEvent, BeyondExport, InvalidTime, UsageError
from workbench.events import EVENT_SCHEMA, Cutoff, Selection
from workbench.lake import open_lake
from workbench.lake.files.format import FORMAT_VERSION
from workbench.timeline import Timeline

LOG = [row(10 * number, f"user-{number % 5}", revision=number // 5, type=f"type{number % 3}") for number in range(1, 41)]

PATTERNS = [
    "*",
    "user*",
    "user-*",
    "user-1",
    "user-1*",
    "*1",
    "*-*-*",
    "a\U0010ffff*",
    "x%_*",
    "it's*",
    "u*-1",
    "long-*",
    "missing",
    "é*",
    ".",
]
TYPE_PATTERNS = ["*", "user.*", "user.moved", "*.v2", "user.m*", "order_paid", "order?paid", "Ä*"]


def fits(pattern: str, name: str) -> bool:
    """The meaning of a pattern, said with a regular expression."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None


def at(rows: list[Row], time: datetime) -> int:
    """The position that a time resolves to, or -1."""
    return max((event["position"] for event in rows if event["recorded_at"] <= time), default=-1)


def clustered(path: Path, rows: list[Row], *, cluster: bool, batch: int = 7) -> Timeline:
    write(path, rows, batch=batch)
    if cluster:
        with open_writer(path) as writer:
            writer.cluster()
    return open_lake(path).timeline


@st.composite
def times(draw: st.DrawFn, rows: list[Row]) -> datetime:
    """Draw an instant on, just before, just after, or far from the stamps of a log."""
    stamps = [event["recorded_at"] for event in rows] or [EPOCH]
    return draw(st.sampled_from(stamps)) + draw(st.sampled_from([0, 0, -1, 1, -(10**9), 10**9])) * timedelta(microseconds=1)  # type: ignore[no-any-return]


@given(data=st.data(), rows=logs(), cluster=st.booleans())
@settings(max_examples=at_least(40))
def test_a_timeline_is_what_a_filter_over_the_rows_says(
    data: st.DataObject, rows: list[Row], cluster: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    timeline = clustered(tmp_path_factory.mktemp("lake"), rows, cluster=cluster)
    expected = rows
    positions = st.sampled_from([0, *(event["position"] for event in rows), *(event["position"] - 1 for event in rows)])
    if data.draw(st.booleans()) and rows:
        cut = data.draw(positions)
        timeline, expected = timeline.upto(position=cut), [event for event in expected if event["position"] <= cut]
    if data.draw(st.booleans()) and rows:
        time = data.draw(times(rows))
        if at(rows, time) < 0:
            with pytest.raises(BeforeFirstEvent):
                timeline.upto(time)
        else:
            timeline = timeline.upto(time)
            expected = [event for event in expected if event["position"] <= at(rows, time)]
    last = max((event["position"] for event in expected), default=None)
    assert timeline.position == last
    if timeline.cutoff is not None and timeline.cutoff.time is not None:
        stamp = timeline.cutoff.time
        assert timeline.late == sum(event["recorded_at"] > stamp for event in expected)
    if data.draw(st.booleans()) and rows:
        cut = data.draw(positions)
        timeline, expected = timeline.after(position=cut), [event for event in expected if event["position"] > cut]
    if data.draw(st.booleans()) and rows:
        time = data.draw(times(rows))
        timeline, expected = timeline.after(time), [event for event in expected if event["position"] > at(rows, time)]
    for _ in range(data.draw(st.integers(0, 2))):
        streams = data.draw(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3))
        timeline = timeline.streams(*streams)
        expected = [event for event in expected if any(fits(pattern, event["stream"]) for pattern in streams)]
    if data.draw(st.booleans()):
        types = data.draw(st.lists(st.sampled_from(TYPE_PATTERNS), min_size=1, max_size=3))
        timeline = timeline.types(*types)
        expected = [event for event in expected if any(fits(pattern, event["type"]) for pattern in types)]
    if data.draw(st.booleans()):
        categories = data.draw(st.lists(st.sampled_from(["user", "order", "users", "*", "a\U0010ffffb", "none"]), min_size=1, max_size=3))
        timeline, expected = timeline.categories(*categories), [event for event in expected if event["category"] in categories]
    if data.draw(st.booleans()):
        timeline = timeline.with_system()
    else:
        expected = [event for event in expected if not is_system(event)]

    assert rows_of(timeline.events().collect()) == expected
    assert timeline.count() == len(expected)
    relation = timeline.sql("select * from events order by position, prepare_position").to_arrow_table()
    assert pa.table(relation).cast(EVENT_SCHEMA).to_pylist() == expected
    described = timeline.describe()
    assert (described.events, described.position, described.late) == (len(expected), last, timeline.late)


@given(data=st.data(), rows=logs(), cluster=st.booleans())
@settings(max_examples=at_least(20))
def test_what_is_asked_of_the_frame_is_what_the_frame_gives(
    data: st.DataObject, rows: list[Row], cluster: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    events = clustered(tmp_path_factory.mktemp("lake"), rows, cluster=cluster, batch=9).with_system().events()
    whole = events.collect()
    assert whole.schema == events.collect_schema()
    most = data.draw(st.integers(0, 50))
    stream = data.draw(st.sampled_from(STREAMS))
    kind = data.draw(st.sampled_from(TYPES))
    assert events.head(most).collect().equals(whole.head(most))
    assert events.tail(most).collect().equals(whole.tail(most))
    assert events.filter(stream=stream).collect().equals(whole.filter(stream=stream))
    chosen = (pl.col("type") == kind) | (pl.col("position") > 900)
    assert events.filter(chosen).select("event_id").head(most).collect().equals(whole.filter(chosen).select("event_id").head(most))
    assert events.select(pl.len()).collect().item() == whole.height
    assert events.group_by("stream").len().sort("stream").collect().equals(whole.group_by("stream").len().sort("stream"))
    assert (
        events.filter(pl.col("data").is_not_null())
        .select("type", "data")
        .collect()
        .equals(whole.filter(pl.col("data").is_not_null()).select("type", "data"))
    )


def test_a_time_copied_out_of_the_table_includes_its_event(tmp_path: Path) -> None:
    timeline = lake_of(tmp_path, [row(1, "user-1", ticks=17_672_256_000_000_019), row(2, "user-1", ticks=17_672_256_000_000_021)]).timeline
    stamp = timeline.events().collect()["recorded_at"][0]
    assert timeline.upto(stamp).count() == 1
    assert timeline.upto(stamp.isoformat()).position == 1


def test_times_dates_texts_and_positions_all_cut(tmp_path: Path) -> None:
    rows = [row(number, "user-1", ticks=(17_672_256_000 + 36_000 * number) * 10**6) for number in range(1, 49)]
    timeline = lake_of(tmp_path, rows).timeline
    day = datetime(2026, 1, 2, tzinfo=UTC)
    cuts: list[Timeline] = [
        timeline.upto(day),
        timeline.upto(date(2026, 1, 2)),
        timeline.upto("2026-01-02"),
        timeline.upto("24"),
        timeline.upto(24),
    ]
    assert [cut.count() for cut in [*cuts, timeline.upto(position=24), timeline.upto("2026-01-02T01:00:00+01:00")]] == [24] * 7
    assert timeline.upto(day).cutoff == Cutoff(time=day)


def test_upto_and_after_of_one_bound_part_the_log(tmp_path: Path) -> None:
    timeline = lake_of(tmp_path, LOG).timeline
    for bound in (LOG[17]["recorded_at"], LOG[17]["recorded_at"] + timedelta(milliseconds=1), LOG[17]["position"], 179, 0):
        both = [*rows_of(timeline.upto(bound).events().collect()), *rows_of(timeline.after(bound).events().collect())]
        assert both == LOG


def test_the_earlier_of_two_cutoffs_and_the_later_of_two_bounds_win(tmp_path: Path) -> None:
    timeline = lake_of(tmp_path, LOG).timeline
    assert timeline.upto(position=100).upto(position=300).position == 100
    assert timeline.upto(position=300).upto(position=100).position == 100
    assert timeline.after(position=100).after(position=300).count() == 10
    assert timeline.after(position=300).after(position=100).count() == 10


def test_events_of_one_transaction_are_never_parted(tmp_path: Path) -> None:
    rows = [
        row(10, "a-1"),
        *(row(20, f"b-{n}", prepare=12 + n, ticks=17_672_256_000_000_000 + 10**8 * n, number=n + 5) for n in range(4)),
        row(30, "a-1"),
    ]
    timeline = lake_of(tmp_path, rows, batch=3).timeline
    assert timeline.upto(position=20).count() == 5
    assert timeline.upto(position=19).count() == 1
    assert timeline.upto(rows[1]["recorded_at"]).position == 20
    assert timeline.after(position=20).count() == 1


def test_a_clock_that_ran_backwards_is_counted(tmp_path: Path) -> None:
    seconds = [0, 10, 5, 6, 20]
    rows = [row(n, "user-1", ticks=17_672_256_000_000_000 + 10**7 * second) for n, second in enumerate(seconds, start=1)]
    past = lake_of(tmp_path, rows, batch=1).timeline.upto("2026-01-01T00:00:06Z")
    assert (past.position, past.late, past.count()) == (4, 1, 4)
    assert past.describe().late == 1


def test_cutoffs_resolve_on_the_whole_log_before_any_selection(tmp_path: Path) -> None:
    rows = [row(1, "user-1"), row(2, "$settings"), row(3, "order-1")]
    timeline = lake_of(tmp_path, rows).timeline
    assert timeline.streams("user-*").upto(rows[1]["recorded_at"]).position == 2
    assert timeline.streams("user-*").position == 3


def test_a_time_after_the_last_export_is_refused_unless_a_stale_answer_will_do(tmp_path: Path) -> None:
    timeline = lake_of(tmp_path, LOG).timeline
    assert timeline.upto(COMPLETE).count() == len(LOG)
    later = COMPLETE + timedelta(microseconds=1)
    for ask in (timeline.upto, timeline.after):
        with pytest.raises(BeyondExport, match=r"2030-01-01T00:00:00\.000001Z.*complete until 2030-01-01T00:00:00Z.*export first.*--stale"):
            ask(later)
        with pytest.raises(BeyondExport, match=r"position 401|Position 401.*up to 400.*export first"):
            ask(position=401)
    assert timeline.upto(later, stale=True).count() == len(LOG)
    assert timeline.upto(position=401, stale=True).position == 400
    assert timeline.after(later, stale=True).count() == 0


def test_a_time_before_the_first_event_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    timeline = lake_of(tmp_path, LOG).timeline
    with pytest.raises(BeforeFirstEvent, match=r"2025-12-31T00:00:00Z: the first was at 2026-01-01T00:00:10Z\.$"):
        timeline.upto("2025-12-31")
    assert timeline.after("2025-12-31").count() == len(LOG)


def test_a_position_before_the_first_event_is_an_empty_history(tmp_path: Path) -> None:
    timeline = lake_of(tmp_path, LOG).timeline.upto(position=9)
    assert (timeline.position, timeline.count(), timeline.events().collect().height) == (None, 0, 0)
    assert timeline.sql("select count(*), max(recorded_at) from events").fetchall() == [(0, None)]
    assert timeline.after(position=5).count() == 0
    assert "up to nothing" in repr(timeline)


def test_an_empty_lake_has_an_empty_timeline(tmp_path: Path) -> None:
    open_writer(tmp_path).close()
    timeline = open_lake(tmp_path).timeline
    assert (timeline.position, timeline.count(), timeline.events().collect().height) == (None, 0, 0)
    assert timeline.sql("select * from events").columns == EVENT_SCHEMA.names
    with pytest.raises(BeyondExport, match="nothing was exported yet"):
        timeline.upto("2026-01-01")
    with pytest.raises(BeforeFirstEvent, match="holds no events"):
        timeline.upto("2026-01-01", stale=True)


@pytest.mark.parametrize("value", [datetime(2026, 1, 1), "2026-01-01T09:00:00", "yesterday"])  # noqa: DTZ001
def test_a_naive_time_is_refused(tmp_path: Path, value: str | datetime) -> None:
    with pytest.raises(InvalidTime):
        lake_of(tmp_path, LOG).timeline.upto(value)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda timeline: timeline.upto(),
        lambda timeline: timeline.upto("2026-01-01", position=3),
        lambda timeline: timeline.after(),
        lambda timeline: timeline.upto(position=-1),
        lambda timeline: timeline.streams(),
        lambda timeline: timeline.types(""),
        lambda timeline: timeline.streams("$$user-1").events(),
        lambda timeline: timeline.types("$metadata").count(),
        lambda timeline: timeline.categories("$$user").sql("select 1"),
        lambda timeline: timeline.upto(1.5),
        lambda timeline: timeline.after(1.5),
        lambda timeline: timeline.upto(["2026-01-01"]),
        lambda timeline: timeline.upto(position=True),
        lambda timeline: timeline.upto(position="2026-01-01"),
        lambda timeline: timeline.streams(["user-1"]),
        lambda timeline: timeline.streams(5),
        lambda timeline: timeline.categories("user", None),
        lambda timeline: timeline.types(b"happened"),
        lambda timeline: timeline.types("half\ud800"),
        lambda timeline: timeline.select("user-*"),
    ],
)
def test_calls_that_mean_nothing_are_refused(tmp_path: Path, wrong: Callable[[Timeline], object]) -> None:
    with pytest.raises(UsageError):
        wrong(lake_of(tmp_path, LOG).timeline)


def test_a_stream_of_the_servers_links_is_told_by_the_category_that_they_are_of(tmp_path: Path) -> None:
    timeline = lake_of(tmp_path, LOG).timeline
    for asked in (timeline.categories("$ce-order"), timeline.streams("$ce-order"), timeline.streams("$category-order")):
        with pytest.raises(UsageError, match="links to the events of category order: name that category"):
            asked.count()


def test_a_users_stream_may_begin_with_a_dollar(tmp_path: Path) -> None:
    timeline = lake_of(tmp_path, [row(1, "$svc-all"), row(2, "$ce-all"), row(3, "$x"), row(4, "$$$x", type="$metadata")]).timeline
    for chosen, expected in (
        (timeline, [1, 3]),
        (timeline.streams("$*"), [1, 3]),
        (timeline.streams("$svc-*"), [1]),
        (timeline.categories("$svc"), [1]),
        (timeline.with_system(), [1, 2, 3, 4]),
    ):
        assert chosen.events().collect()["position"].to_list() == expected
        assert chosen.sql("select position from events order by 1").fetchall() == [(position,) for position in expected]
        assert chosen.count() == len(expected)


@pytest.mark.parametrize("value", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_outside_of_the_calendar_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(InvalidTime, match="outside the years"):
        lake_of(tmp_path, LOG).timeline.upto(value)


@pytest.mark.parametrize("letter", ["\0", "'", '"', "\n", "\\", "%", "_", "?", "[", "(", "é", "\x7f", "\U0010ffff"])
def test_names_of_any_characters_are_found_by_both_engines(tmp_path: Path, letter: str) -> None:
    names = [f"a{letter}b-1", f"{letter}-1", f"a{letter}{letter}-{letter}", "ab-1", "a-1"]
    timeline = lake_of(tmp_path, [row(number, name, type=name) for number, name in enumerate(names, start=1)]).timeline
    for chosen, expected in (
        (timeline.streams(names[0]), [1]),
        (timeline.types(names[1]), [2]),
        (timeline.categories(f"a{letter}b"), [1]),
        (timeline.streams(f"a{letter}*"), [1, 3]),
        (timeline.streams(f"*{letter}b-*"), [1]),
    ):
        assert chosen.events().collect()["position"].to_list() == expected
        assert chosen.sql("select position from events order by 1").fetchall() == [(position,) for position in expected]
        assert chosen.count() == len(expected)


def test_a_timeline_never_changes_and_two_of_them_coexist(tmp_path: Path) -> None:
    now = lake_of(tmp_path, LOG).timeline
    past = now.upto(position=100)
    some = past.types("type1")
    relations = [each.sql("select count(*) from events") for each in (now, past, some)]
    assert [relation.fetchall() for relation in relations] == [[(40,)], [(10,)], [(4,)]]
    assert [relation.fetchall() for relation in reversed(relations)] == [[(4,)], [(10,)], [(40,)]]
    assert (now.cutoff, past.selections) == (None, ())
    assert past == now.upto(position=100)
    assert len({now, past, now.upto(position=100)}) == 2


def test_frames_of_several_timelines_go_into_one_query(tmp_path: Path) -> None:
    now = lake_of(tmp_path, LOG).timeline
    past = now.upto(position=100).events().group_by("stream").len()
    joined = now.events().join(past, on="stream").join(now.types("type1").events(), on="position", how="semi")
    assert joined.collect().height == sum(event["type"] == "type1" for event in LOG)
    assert joined.collect(engine="streaming").height == joined.collect().height
    assert [frame.height for frame in pl.collect_all([joined, past, now.events()])] == [joined.collect().height, 5, 40]


def test_a_relation_outlives_its_lake(tmp_path: Path) -> None:
    relation = lake_of(tmp_path, LOG).timeline.sql("select count(*) from events")
    assert relation.filter("true").fetchall() == [(40,)]


def test_a_selection_as_a_value_selects_the_same(tmp_path: Path) -> None:
    timeline = lake_of(tmp_path, LOG).timeline
    chosen = timeline.select(Selection(streams=("user-1",), types=("type1", "type2")))
    assert chosen.count() == timeline.streams("user-1").types("type1", "type2").count() > 0
    assert timeline.select(Selection()) is timeline


def test_a_timeline_says_in_a_line_what_it_is(tmp_path: Path) -> None:
    timeline = lake_of(tmp_path, LOG).timeline.upto("2026-01-01T00:02:00Z").after(position=20).streams("user-*").types("a<b")
    assert str(timeline) == (
        "up to position 120 (2026-01-01T00:02:00Z), after position 20, streams user-*, types a<b, without system events"
    )
    assert repr(timeline) == f"<Timeline of {tmp_path}: {timeline}>"
    assert "types a&lt;b" in timeline._repr_html_()
    assert str(timeline.with_system().visible()).endswith("with system events, without what the store hides")


def test_a_timeline_says_where_its_results_come_from(tmp_path: Path) -> None:
    provenance = lake_of(tmp_path, LOG).timeline.upto("2026-01-01T00:02:00Z").types("type1").describe()
    assert (provenance.store, provenance.lake, provenance.lake_version) == (STORE.address, str(tmp_path), 6)
    assert (provenance.cutoff, provenance.position, provenance.events) == ("2026-01-01T00:02:00Z", 120, 4)
    assert (provenance.selection, provenance.complete_until, provenance.schema_version) == ("types type1", COMPLETE, FORMAT_VERSION)


def test_only_files_that_can_hold_what_is_asked_for_are_read(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, LOG, batch=10)
    for file in lake.files()[1:]:
        Path(file).unlink()
    past = lake.timeline.upto(position=100)
    assert rows_of(past.events().collect()) == LOG[:10]
    assert past.count() == 10
    assert past.sql("select count(data) from events").fetchall() == [(10,)]
    assert lake.timeline.events().head(10).collect().height == 10
