"""Events whose stamps are no instants are kept, count as recorded with the event before them, and never decide about time."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.lake.histories import EPOCH, Row, checkpoint_at, lake_of, logs, open_writer, row, rows_of, table, write
from tests.laws import at_least
from workbench.errors import BeforeFirstEvent, LakeDamaged, UsageError
from workbench.events import EVENT_SCHEMA, FIRST_TICKS, LAST_TICKS
from workbench.lake.reading.time_to_position import positions_at

WILD = [LAST_TICKS + 1, FIRST_TICKS - 1, 2**63 - 1, -(2**63)]
SOME = [row(10 * number, f"user-{number % 3}", revision=number // 3, number=number) for number in range(1, 31)]


@st.composite
def wild_logs(draw: st.DrawFn) -> list[Row]:
    """Draw a log in which some events, or all, are undated."""
    rows = draw(logs(most=30))
    wild = draw(st.lists(st.sampled_from([None, None, None, *WILD]), min_size=len(rows), max_size=len(rows)))
    return [event if ticks is None else undated(event, ticks) for event, ticks in zip(rows, wild, strict=True)]


def undated(event: Row, ticks: int = WILD[0]) -> Row:
    """Return an event with a stamp that is no instant."""
    return {**event, "recorded_at": None, "recorded_ticks": ticks}


def times_of(rows: list[Row]) -> list[datetime | None]:
    """Return of each event the time of the last event at or before it that has one."""
    found: list[datetime | None] = []
    for event in rows:
        found.append(event["recorded_at"] or (found[-1] if found else None))
    return found


@given(rows=wild_logs(), batch=st.integers(1, 9), clustered=st.booleans(), data=st.data())
@settings(max_examples=at_least(25))
def test_a_time_is_resolved_as_if_an_undated_event_had_the_time_of_the_one_before_it(
    rows: list[Row], batch: int, clustered: bool, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("lake")
    write(path, rows, batch=batch)
    if clustered:
        with open_writer(path) as writer:
            writer.cluster()
    lake = wb.open(path)
    lake.verify()
    everything = lake.timeline.with_system()
    assert rows_of(everything.events().collect()) == rows
    times = times_of(rows)
    dated = sorted({event["recorded_at"] for event in rows if event["recorded_at"] is not None})
    info = lake.info()
    assert info.undated_events == sum(event["recorded_at"] is None for event in rows)
    assert (info.first_recorded_at, info.last_recorded_at) == ((dated[0], dated[-1]) if dated else (None, None))
    asked = [*dated, *(one + (other - one) / 2 for one, other in pairwise(dated)), *([dated[0] - timedelta(1)] if dated else [])]
    for moment in asked:
        reached = [event["position"] for event, time in zip(rows, times, strict=True) if time is not None and time <= moment]
        if not reached:
            with pytest.raises(BeforeFirstEvent):
                everything.upto(moment, stale=True)
            continue
        past = everything.upto(moment, stale=True)
        inside = [event for event in rows if event["position"] <= max(reached)]
        assert (past.position, past.count()) == (max(reached), len(inside))
        assert past.late == sum(event["recorded_at"] is not None and event["recorded_at"] > moment for event in inside)
    if asked:
        moments = np.array(data.draw(st.permutations([(moment - EPOCH) // timedelta(microseconds=1) for moment in asked])))
        positions, _ = positions_at(lake._snapshot, moments)
        assert positions.tolist() == [
            max(
                (
                    event["position"]
                    for event, time in zip(rows, times, strict=True)
                    if time is not None and time <= EPOCH + timedelta(microseconds=int(moment))
                ),
                default=-1,
            )
            for moment in moments
        ]


def test_a_lake_without_any_instant_says_so(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, [undated(event) for event in SOME])
    with pytest.raises(BeforeFirstEvent, match="no event of the lake has a time that is an instant"):
        lake.timeline.upto("2026-03-01", stale=True)
    with pytest.raises(UsageError, match="cannot tell the time of a position"):
        lake.timeline.insert(at=100, stream="user-9", type="happened", data={}).count()
    assert lake.timeline.count() == len(SOME)
    assert lake.timeline.upto(position=100).visible().count() == 10
    assert lake.info().first_recorded_at is None


def test_what_is_inserted_at_the_position_of_an_undated_event_has_the_time_of_the_one_before_it(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, [undated(SOME[0]), *SOME[1:9], undated(SOME[9], WILD[3]), *SOME[10:]])
    for position, time in ((100, SOME[8]["recorded_at"]), (10, SOME[1]["recorded_at"])):
        fork = lake.timeline.insert(at=position, stream="user-9", type="happened", data={})
        [found] = fork.events().collect().filter(origin="inserted").to_dicts()
        assert (found["position"], found["recorded_at"]) == (position, time)


def test_an_undated_event_is_moved_to_a_time_and_by_no_duration(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, [*SOME[:9], undated(SOME[9]), *SOME[10:]])
    later = lake.timeline.retime(stream=SOME[9]["stream"], by="1h")
    [effect] = later.effects
    assert effect.notes == ("leaves 1 event without an instant, which cannot be moved by a duration",)
    rows = later.events().collect()
    assert rows.filter(position=100).select("recorded_ticks", "recorded_at", "origin").row(0) == (WILD[0], None, "recorded")
    assert rows.filter(origin="retimed").height == 9
    there = lake.timeline.retime(position=100, to=SOME[20]["recorded_at"]).events().collect().filter(origin="retimed")
    assert there.select("position", "recorded_at").rows() == [(SOME[20]["position"], SOME[20]["recorded_at"])]


def test_a_writer_takes_no_time_that_the_stamp_does_not_say(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        for wrong in ({**SOME[0], "recorded_at": None}, {**SOME[0], "recorded_ticks": WILD[0]}):
            with pytest.raises(UsageError, match="recorded_at where recorded_ticks is not a valid instant"):
                writer.append(table([wrong]), checkpoint_at(wrong))


def test_verify_finds_a_time_that_the_stamp_does_not_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, open_writer(tmp_path) as writer:
        patch.setattr("workbench.lake.writer.are_dated_as_stamped", lambda _: True)
        writer.append(table([{**SOME[0], "recorded_at": None}]), checkpoint_at(SOME[0]))
    with pytest.raises(LakeDamaged, match="column recorded_at is not what column recorded_ticks says"):
        wb.open(tmp_path).verify()


def test_a_lake_made_when_every_event_had_an_instant_takes_undated_ones_when_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other readers of the table rely on what its schema says."""
    strict = pa.schema([field.with_nullable(field.nullable and field.name != "recorded_at") for field in EVENT_SCHEMA])
    with monkeypatch.context() as patch:
        patch.setattr("workbench.lake.files.location.EVENT_SCHEMA", strict)
        with open_writer(tmp_path) as writer:
            writer.append(table(SOME[:10]), checkpoint_at(SOME[9]))
    assert not is_nullable(tmp_path)
    with open_writer(tmp_path) as writer:
        writer.append(table(SOME[10:20]), checkpoint_at(SOME[19]))
    assert not is_nullable(tmp_path)
    wild = [undated(event) for event in SOME[20:]]
    with open_writer(tmp_path) as writer:
        writer.append(table(wild[:5]), checkpoint_at(wild[4]))
        writer.append(table(wild[5:]), checkpoint_at(wild[-1]))
        assert is_nullable(tmp_path)
        writer.cluster()
    lake = wb.open(tmp_path)
    lake.verify()
    assert rows_of(lake.timeline.events().collect()) == [*SOME[:20], *wild]
    assert lake.sql("select count(*) from events where recorded_at is null").fetchall() == [(10,)]


def is_nullable(path: Path) -> bool:
    schema = pa.schema(DeltaTable(path / "events").schema().to_arrow())
    return bool(schema.field("recorded_at").nullable)


def test_other_readers_of_the_table_learn_how_many_times_are_null(tmp_path: Path) -> None:
    write(tmp_path, [*SOME[:5], *(undated(event) for event in SOME[5:14])], batch=7)
    actions = pa.table(DeltaTable(tmp_path / "events").get_add_actions(flatten=True)).to_pylist()
    assert sorted(action["null_count.recorded_at"] for action in actions) == [2, 7]
