"""What a series promises: at each step exactly what the measures give of the state up to it, whatever the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import workbench as wb
from tests.forks import bounds, edited, edits, lake_in_runs
from tests.lakes import START, write_lake
from tests.lakes import Recorded as Written
from tests.laws import at_least
from tests.replay.asking import event as recorded
from tests.replay.asking import lake_of, timeline_in
from tests.strategies import CATEGORY, Recorded, histories, projections
from workbench.analysis.series import Every, series
from workbench.errors import InvalidProjection, UsageError
from workbench.fold.event_by_event.function_fold import RecordedEvent
from workbench.lake import open_lake
from workbench.projection import Projection, event, on
from workbench.timeline import Timeline

law = settings(max_examples=at_least(16))

BEGIN = 1_700_000_000_000_000
MEASURES = (
    pl.len(),
    pl.col("size").sum(),
    pl.col("size").mean().alias("mean"),
    pl.col("name").n_unique(),
    pl.col("name").filter(pl.col("size") > 0).last().alias("last"),
    pl.col("position").max().alias("newest"),
    pl.col("recorded_at").max(),
    pl.col("tags").list.len().sum(),
)


class Thing(Projection, category=CATEGORY):
    """It is born, changes, dies and may be born again."""

    name: str
    size: int = 0
    tags: list[str]

    handlers = (
        on("thing.begun").create("name"),
        on("thing.started").create("name"),
        on("thing.changed").append(tags=event.data["name"], keep=3),
        on("thing.counted").add(size=1),
        on("thing.ended").delete(),
    )


def stretched(history: Sequence[Recorded]) -> list[Recorded]:
    """Return a history whose clock goes by half hours where it went by milliseconds: forwards, and backwards now and then."""
    return [replace(one, recorded_at=BEGIN + (one.recorded_at - BEGIN) * 1_800_000) for one in history]


def told(source: type[Projection], timeline: Timeline, steps: pl.DataFrame) -> pl.DataFrame:
    """Return what a series says, worked out by a rebuild for each of its steps."""
    cuts = [timeline.upto(at, stale=True) for at in steps["at"]]
    position = pl.Series("position", [cut.position for cut in cuts], dtype=pl.Int64)
    measured = [wb.state(source, cut, errors="collect").select(MEASURES) for cut in cuts]
    return pl.concat(measured).select(steps["at"], position, pl.all())


@law
@given(st.data(), histories(max_size=20).filter(bool), st.sampled_from(["1h", "1d"]), st.sampled_from(["UTC", "Asia/Kathmandu"]))
def test_at_each_step_a_measure_is_that_of_the_state_up_to_it(data: st.DataObject, drawn: list[Recorded], every: Every, tz: str) -> None:
    history = stretched(drawn)
    earliest = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=min(one.recorded_at for one in history))
    upto = data.draw(st.none() | bounds(history).filter(lambda one: isinstance(one, int) or one >= earliest))
    with lake_in_runs(history) as now:
        cut = now if upto is None else now.upto(upto, stale=True)
        if cut.count():
            found = series(Thing, cut, *MEASURES, every=every, tz=tz, errors="collect")
            assert_frame_equal(found, told(Thing, cut, found))


@law
@given(st.data(), histories(max_size=14).filter(bool))
def test_of_a_what_if_too(data: st.DataObject, drawn: list[Recorded]) -> None:
    history = stretched(drawn)
    calls = data.draw(edits(history))
    with lake_in_runs(history) as now:
        fork = edited(now, calls)
        if fork.count():
            found = series(Thing, fork, *MEASURES, every="1h", errors="collect")
            assert_frame_equal(found, told(Thing, fork, found))
            assert_frame_equal(wb.state(Thing, fork, errors="collect").select(MEASURES), found.select(pl.exclude("at", "position")).tail(1))


@law
@given(projections(), histories(max_size=14).filter(bool))
def test_of_any_projection_every_column_and_the_last_step_is_the_end(projection: type[Projection], drawn: list[Recorded]) -> None:
    everything = (pl.len(), pl.all().n_unique().name.suffix("_different"), pl.all().drop_nulls().first().name.suffix("_first"))
    with lake_of(stretched(drawn)) as now:
        found = series(projection, now, *everything, every="1h", errors="collect")
        states = [wb.state(projection, now.upto(at, stale=True), errors="collect").select(everything) for at in found["at"]]
        assert_frame_equal(found.drop("at", "position"), pl.concat(states))
        assert_frame_equal(found.tail(1).drop("at", "position"), wb.state(projection, now, errors="collect").select(everything))


HISTORY = [
    recorded(10, "thing.begun", '{"name": "a"}', at=BEGIN),
    recorded(20, "thing.begun", '{"name": "b"}', at=BEGIN + 3_600_000_000, stream="thing-2"),
    recorded(30, "thing.counted", at=BEGIN + 400 * 86_400_000_000),
    recorded(40, "thing.ended", at=BEGIN + 401 * 86_400_000_000, stream="thing-2"),
]


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    return timeline_in(tmp_path_factory.mktemp("series") / "lake", HISTORY)


def test_a_year_without_events_has_its_steps_and_nothing_changes_in_it(now: Timeline) -> None:
    found = series(Thing, now, pl.len(), pl.col("size").sum(), every="1d", tz="Europe/Berlin")
    assert found["len"].to_list() == [1, *[2] * 400, 1]
    assert found["size"].to_list() == [*[0] * 400, 1, 1]
    assert found["position"].to_list() == [10, *[20] * 399, 30, 40]
    assert {at.time().isoformat() for at in found["at"][:-1]} == {"00:00:00"}  # whatever the clocks were put to
    assert found["at"].dtype == pl.Datetime("us", "Europe/Berlin")


def test_an_event_at_the_very_instant_of_a_step_counts_for_it(tmp_path: Path) -> None:
    midnight, day = 1_700_006_400_000_000, 86_400_000_000
    times = [midnight - 1, midnight, midnight + 1, midnight + day, midnight + day + 1, midnight + 3 * day]
    history = [recorded(10 * n, "thing.begun", '{"name": "a"}', at=at, stream=f"thing-{n}") for n, at in enumerate(times)]
    found = series(Thing, timeline_in(tmp_path / "lake", history), pl.len(), every="1d")
    zone = ZoneInfo("UTC")
    assert found.rows() == [
        (datetime(2023, 11, 15, tzinfo=zone), 10, 2),
        (datetime(2023, 11, 16, tzinfo=zone), 30, 4),
        (datetime(2023, 11, 17, tzinfo=zone), 40, 5),
        (datetime(2023, 11, 18, tzinfo=zone), 50, 6),
    ]


@pytest.mark.parametrize(
    ("every", "first", "last", "steps"),
    [
        ("1h", "2026-03-29T00:30+01:00", "2026-03-29T04:00+02:00", ["01:00+01", "03:00+02", "04:00+02"]),
        ("1h", "2026-10-25T01:30+02:00", "2026-10-25T04:00+01:00", ["02:00+02", "02:00+01", "03:00+01", "04:00+01"]),
        ("1d", "2026-03-28T12:00+01:00", "2026-03-30T12:00+02:00", ["00:00+01", "00:00+02", "12:00+02"]),
        ("1w", "2026-03-28T12:00+01:00", "2026-04-07T00:00+02:00", ["00:00+02", "00:00+02", "00:00+02"]),
        ("1mo", "2026-10-31T12:00+01:00", "2027-01-01T00:00+01:00", ["00:00+01", "00:00+01", "00:00+01"]),
    ],
)
def test_steps_begin_by_the_clock_of_the_zone(tmp_path: Path, every: Every, first: str, last: str, steps: list[str]) -> None:
    events = [Written("thing.begun", datetime.fromisoformat(at).astimezone(UTC), "thing-1") for at in (first, last)]
    found = series(Thing, open_lake(write_lake(tmp_path / "lake", events)).timeline, pl.len(), every=every, tz="Europe/Berlin")
    assert [at.strftime("%H:%M%z")[:8] for at in found["at"]] == steps
    assert found["at"][-1] == datetime.fromisoformat(last)
    assert found["at"].is_sorted()
    assert found["at"].n_unique() == found.height


def test_what_is_materialised_answers_the_same_and_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timeline_in(tmp_path / "lake", HISTORY)
    expected = series(Thing, now, *MEASURES, every="1w")
    wb.materialise(Thing, now)
    monkeypatch.setattr(import_module("workbench.analysis.series"), "vectorised", None)
    assert_frame_equal(expected, series(Thing, now, *MEASURES, every="1w"))


def test_a_fold_has_a_series_too(now: Timeline) -> None:
    def count(state: dict[str, int] | None, event: RecordedEvent) -> dict[str, int] | None:
        return None if event.type == "thing.ended" else {"size": (state or {"size": 0})["size"] + 1}

    subject = wb.Fold(count, category=CATEGORY)
    found = series(subject, now, pl.len(), pl.col("size").sum(), pl.col("position").max().alias("newest"), every="1mo")
    states = [wb.state(subject, now.upto(at, stale=True)) for at in found["at"]]
    assert found["len"].to_list() == [one.height for one in states]
    assert found["size"].to_list() == [one["size"].sum() for one in states]
    assert found["newest"].to_list() == [one["position"].max() for one in states]


def test_what_the_store_hides_is_what_it_hid_at_each_step(tmp_path: Path) -> None:
    history = [
        *HISTORY[:2],
        recorded(25, "$metadata", '{"$maxAge": 86400}', at=BEGIN + 7_200_000_000, stream="$$thing-1"),
        recorded(30, "thing.begun", '{"name": "c"}', at=BEGIN + 3 * 86_400_000_000, stream="thing-3"),
    ]
    visible = timeline_in(tmp_path / "lake", history).visible()
    found = series(Thing, visible, pl.len(), every="1d")
    assert found["len"].to_list() == [wb.state(Thing, visible.upto(at, stale=True)).height for at in found["at"]] == [2, 1, 1, 2]


def test_after_bounds_the_steps_and_no_state(now: Timeline) -> None:
    assert series(Thing, now.after(position=20), pl.len(), every="1d")["len"].to_list() == [2, 1]


def test_measures_have_the_names_that_they_are_given(now: Timeline) -> None:
    assert series(Thing, now, pl.len(), things=pl.len(), every="1mo").columns == ["at", "position", "len", "things"]


def test_measures_may_be_written_as_scenarios_have_them(now: Timeline) -> None:
    found = series(Thing, now, "count(*)", "sum(size) filter (where name = 'a')", counted="count(*) filter (where size > 0)", every="1mo")
    assert found.columns[2:] == ["count(*)", "sum(size) filter (where name = 'a')", "counted"]
    assert found.row(-1)[2:] == (1, 1, 1)
    assert found.row(0)[2:] == (2, 0, 0)
    assert found.schema["sum(size) filter (where name = 'a')"] == pl.Int64


def test_an_empty_history_has_no_steps_and_one_event_has_one(tmp_path: Path) -> None:
    nothing = series(Thing, timeline_in(tmp_path / "empty", []), *MEASURES)
    assert nothing.is_empty()
    assert nothing.columns[:3] == ["at", "position", "len"]
    one = series(Thing, timeline_in(tmp_path / "one", HISTORY[:1]), pl.len())
    assert one["len"].to_list() == [1]


@pytest.mark.parametrize(
    ("measures", "words"),
    [
        ([], "needs at least one measure"),
        ([7], "is not a measure"),
        (["len"], r"The measure 'len' is wrong at line 1, column 1: .*; a measure is count\(\*\)"),
        (["sum(balance)"], "a state has no balance; it has name, size, tags"),
        (["sum(name)"], "name has the type String and is not a number"),
        (["count(*)", "count(*)"], r"'count\(\*\)' is given twice"),
        ([pl.col("balance").sum()], "names balance, which is not a column of a state; it has key, name, size, tags"),
        ([pl.col("size")], "gives a value for each entity"),
        ([pl.len(), pl.col("size")], "gives a value for each entity"),
        ([pl.col("tags").sum()], "cannot be evaluated"),
        ([pl.len(), pl.len()], "cannot be evaluated"),
        ([pl.col("position").max()], "'position' is a column of every step"),
        ([pl.col("size").filter(pl.col("size") > 9).mode()], "gives a value for each entity"),
    ],
)
def test_what_is_no_measure_is_refused(now: Timeline, measures: list[pl.Expr], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        series(Thing, now, *measures)


def test_unknown_steps_zones_and_projections_are_refused(now: Timeline) -> None:
    with pytest.raises(UsageError, match="every='1y' is unknown: steps are '1h', '1d', '1w' or '1mo'"):
        series(Thing, now, pl.len(), every="1y")  # type: ignore[arg-type]  # the mistake is the test
    with pytest.raises(UsageError, match="'Berlin' is not a time zone"):
        series(Thing, now, pl.len(), tz="Berlin")
    with pytest.raises(InvalidProjection):
        series(3, now, pl.len())  # type: ignore[arg-type]  # the mistake is the test
    with pytest.raises(UsageError, match="selects only the types"):
        series(Thing, now.types("thing.begun"), pl.len())


def test_more_steps_than_anyone_reads_are_refused(tmp_path: Path) -> None:
    events = [Written("thing.begun", START + timedelta(days=days), "thing-1") for days in (0, 4000)]
    with pytest.raises(UsageError, match=r"every='1h' makes 96,000 steps, more than 65,000"):
        series(Thing, open_lake(write_lake(tmp_path / "lake", events)).timeline, pl.len(), every="1h")
