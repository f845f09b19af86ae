"""What-if: forks of a timeline answer every question, as a lake would that had really been written so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import uuid4

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import workbench as wb
from tests.forks import EPOCH, Call, bounds, cut, edited, edits, lake_in_runs, told, written
from tests.laws import at_least
from tests.replay.asking import engine, entities, lake_of, timeline_in
from tests.replay.asking import event as recorded
from tests.stores import NewEvent, Server
from tests.strategies import CATEGORY, Recorded, histories, projections
from workbench.export import export_log
from workbench.fold.dispatch import replay
from workbench.fold.event_by_event.function_fold import RecordedEvent, fold_function
from workbench.fold.event_by_event.plan_fold import fold
from workbench.lake import open_lake
from workbench.lake.reading import extract
from workbench.materialised import histories as histories_module
from workbench.materialised import snapshots
from workbench.projection import Projection, event, on, plan_of
from workbench.replay import diff as diffing
from workbench.timeline import Timeline

law = settings(max_examples=at_least(40))


class Thing(Projection, category=CATEGORY):
    """Its state says in which order its events came."""

    name: str
    size: int = 0
    tags: list[str]
    last: str

    handlers = (
        on("thing.begun").create("name").append(tags=event.data["name"], keep=9),
        on("thing.started").create("name"),
        on("thing.changed").set(name=event.data["name"]).append(tags=event.data["name"], keep=9).set(last="changed"),
        on("thing.counted").where(event.data["size"] > 0).add(size=1).set(last="counted"),
        on("thing.ended").where(event.data["name"].exists()).delete(),
    )


class ByK(Projection, category=CATEGORY, key=event.data["k"]):
    """Keyed across streams."""

    size: int = 0
    names: list[str]
    handlers = (
        on("thing.changed").add(size=1).append(names=event.data["name"], keep=9),
        on("thing.begun").add(size=1).append(names=event.data["name"], keep=9),
    )


HISTORY = [
    recorded(10, "thing.begun", '{"name": "a"}', revision=0),
    recorded(20, "thing.changed", '{"name": "b", "k": "x"}', revision=1),
    recorded(30, "thing.begun", '{"name": "c"}', stream="thing-2", revision=0),
    recorded(40, "thing.counted", '{"size": 3}', revision=2),
    recorded(50, "thing.changed", '{"name": "d", "k": "x"}', stream="thing-2", revision=1),
    recorded(60, "thing.counted", '{"size": 4}', stream="thing-2", revision=2),
]


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    return timeline_in(tmp_path_factory.mktemp("forks") / "lake", HISTORY)


def fields(projection: type[Projection]) -> list[str]:
    return [field.name for field in plan_of(projection).fields]


def states(projection: type[Projection], timeline: Timeline) -> dict[str, tuple[Any, ...]]:
    return entities(wb.state(projection, timeline, errors="collect"), fields(projection))


# Laws


@law
@given(st.data(), projections(), histories(max_size=14).filter(bool))
def test_a_fork_that_reads_what_is_materialised_is_answered_as_the_fold_of_its_events(
    data: st.DataObject, projection: type[Projection], history: list[Recorded]
) -> None:
    calls = data.draw(edits(history))
    upto = data.draw(st.none() | bounds(history))
    with lake_in_runs(history) as now:
        wb.materialise(projection, now.upto(position=data.draw(st.sampled_from(history)).position, stale=True), errors="collect")
        fork = edited(now, calls)
        fork = fork if upto is None else fork.upto(upto, stale=True)
        expected = fold(plan_of(projection), fork.events().collect(), errors="collect")
        rebuilt = wb.rebuild(projection, fork, errors="collect")
        assert_frame_equal(expected.state, rebuilt.state)
        assert expected.counts == rebuilt.counts
        assert_frame_equal(expected.failures, rebuilt.failures)


def test_of_a_fork_only_what_follows_the_first_edit_is_folded(tmp_path: Path) -> None:
    now = timeline_in(tmp_path / "lake", HISTORY)
    fork = now.patch(position=50, set={"name": "z"})
    expected = wb.state(Thing, fork)
    wb.materialise(Thing, now)
    with mock.patch.object(histories_module, "replay", wraps=replay) as folded:
        assert wb.state(Thing, fork).equals(expected)
    [call] = folded.call_args_list
    assert call.args[1].events().collect()["position"].to_list() == [50, 60]
    assert len(wb.list_materialised(now)) == 1  # and nothing of a fork is kept


def test_a_fold_goes_on_from_a_snapshot_before_the_first_edit(tmp_path: Path) -> None:
    def count(state: dict[str, int] | None, event: RecordedEvent) -> dict[str, int]:
        return {"size": (state or {"size": 0})["size"] + 1 + len(event.data.get("name", ""))}

    subject = wb.Fold(count, category=CATEGORY, version="1")
    now = timeline_in(tmp_path / "lake", HISTORY)
    fork = now.patch(position=50, set={"name": "zzz"})
    expected = wb.state(subject, fork)
    wb.materialise(subject, now.upto(position=40, stale=True))
    wb.materialise(subject, now)
    with mock.patch.object(snapshots, "fold_function", wraps=fold_function) as folded:
        assert wb.state(subject, fork).equals(expected)
    [call] = folded.call_args_list
    assert call.args[1]["position"].to_list() == [50, 60]


@law
@given(st.data(), projections(), histories(max_size=14), st.booleans(), st.integers(1, 6))
def test_every_question_to_a_fork_is_answered_as_the_fold_of_its_events(
    data: st.DataObject, projection: type[Projection], history: list[Recorded], cluster: bool, batch: int
) -> None:
    if not history:
        return
    calls = data.draw(edits(history))
    upto = data.draw(st.none() | bounds(history))
    with lake_in_runs(history, batch=batch, cluster=cluster) as now:
        fork = edited(now, calls)
        fork = fork if upto is None else fork.upto(upto, stale=True)
        expected = fold(plan_of(projection), fork.events().collect(), history=True, errors="collect")
        assert expected.history is not None
        for vectorised in (True, False):
            with engine(columns=vectorised), mock.patch.object(extract, "CHUNK_ROWS", 3), mock.patch.object(extract, "APART_ROWS", 1):
                rebuilt = wb.rebuild(projection, fork, errors="collect")
                history_ = wb.history(projection, fork, errors="collect")
            assert_frame_equal(expected.state, rebuilt.state)
            assert expected.counts == rebuilt.counts
            assert_frame_equal(expected.failures, rebuilt.failures)
            assert_frame_equal(expected.history.sort("key", maintain_order=True), history_)


@law
@given(st.data(), st.sampled_from([Thing, ByK]), histories(max_size=16))
def test_the_states_of_a_fork_are_those_of_a_lake_that_was_written_so(
    data: st.DataObject, projection: type[Projection], history: list[Recorded]
) -> None:
    if not history:
        return
    calls = data.draw(edits(history))
    upto = data.draw(st.none() | bounds(history))
    events = cut(told(history, calls), history, upto)
    with lake_in_runs(history) as now, lake_of(written(events)) as really:
        fork = edited(now, calls)
        fork = fork if upto is None else fork.upto(upto, stale=True)
        assert states(projection, really) == states(projection, fork)


@pytest.mark.needs("timestamps", "empty log")
@settings(law, max_examples=at_least(12))
@given(data=st.data(), history=histories(max_size=16))
def test_the_same_holds_of_a_store_that_the_events_were_appended_to(
    server: Server, data: st.DataObject, history: list[Recorded], tmp_path_factory: pytest.TempPathFactory
) -> None:
    if not history:
        return
    place = tmp_path_factory.mktemp("stores")
    first = exported(server, place / "first", history)
    # What was really recorded has positions of its own.
    there = first.events().select("position", "event_id").collect()["position"].to_list()
    moved = [replace(one, position=position, prepare_position=position) for one, position in zip(history, there, strict=True)]
    calls = [
        (method, {name: value for name, value in arguments.items() if name != "event_id"})
        for method, arguments in data.draw(edits(moved))
        if method != "patch"
    ]
    calls = [(method, arguments if _addressed(arguments) else {**arguments, "stream": "*"}) for method, arguments in calls]
    really = exported(server, place / "second", [one.event for one in told(moved, calls)])
    for projection in (Thing, ByK):
        assert states(projection, really) == states(projection, edited(first, calls))


def _addressed(arguments: dict[str, Any]) -> bool:
    return bool(arguments.keys() & {"stream", "category", "type", "after", "upto", "position", "where"})


def exported(server: Server, path: Path, events: Sequence[Recorded]) -> Timeline:
    """Append events to a fresh store, each with its own time, and copy its log."""
    with server.serve() as store:
        for one in events:
            data = b"\xff" if one.data is None else one.data.encode()
            metadata = b"" if one.metadata is None else one.metadata.encode()
            new = NewEvent(uuid4(), one.type, data, metadata, is_json=one.data is not None, created=one.recorded_at * 10)
            store.append(one.stream, [new])
        export_log(store.uri, path)
    return open_lake(path).timeline


@settings(law, max_examples=at_least(25))
@given(st.data(), st.sampled_from([Thing, ByK]), histories(max_size=14))
def test_an_edit_and_its_reverse_give_the_state_that_was(
    data: st.DataObject, projection: type[Projection], history: list[Recorded]
) -> None:
    ours = [one for one in history if one.data is not None and one.stream.startswith("thing")]
    if not ours:
        return
    # Of several events at one position an insert comes behind the last.
    one = data.draw(st.sampled_from(ours))
    alone = sum(other.position == one.position for other in history) == 1
    with lake_in_runs(history) as now:
        expected = states(projection, now)
        by = timedelta(microseconds=data.draw(st.sampled_from([-3_600_000_000, -1, 1, 77, 3_600_000_000])))
        address: dict[str, Any] = data.draw(st.sampled_from([{"position": one.position}, {"stream": one.stream}, {"type": one.type}]))
        there = now.retime(**address, by=by)
        back = there.retime(event_id=_id(one), by=-by) if address.keys() == {"position"} and alone else None
        if back is not None:
            assert states(projection, back) == expected
        if one.data is not None and one.data.startswith("{"):
            put = now.patch(event_id=_id(one), set={"brand new": 1}).patch(event_id=_id(one), unset=["brand new"])
            assert states(projection, put) == expected
            assert put.events().collect()["data"].to_list() == now.events().collect()["data"].to_list()
        if alone:
            import json

            dropped = now.drop(position=one.position)
            metadata = None if one.metadata is None else json.loads(one.metadata)
            again = dropped.insert(stream=one.stream, type=one.type, at=one.position, data=0, metadata=metadata)
            # The payload as recorded, to the byte: replace() would write the same value otherwise.
            same = replace(again, edits=(*again.edits[:-1], replace(again.edits[-1], data=one.data)))  # type: ignore[arg-type]  # an insert
            assert states(projection, same) == expected


def _id(one: Recorded) -> str:
    return f"00000000-0000-0000-0000-{one.prepare_position:012d}"


@settings(law, max_examples=at_least(16))
@given(st.data(), projections(), histories(max_size=14))
def test_a_diff_finds_the_same_whether_edits_touch_little_or_much(
    data: st.DataObject, projection: type[Projection], history: list[Recorded]
) -> None:
    if not history:
        return
    first, second = data.draw(edits(history)), data.draw(edits(history, most=1))
    with lake_in_runs(history) as now:
        one = edited(now, first)
        two = edited(one if data.draw(st.booleans()) else now, second)
        for a, b in ((now, one), (one, two), (two, one)):
            found = wb.diff(projection, a, b, errors="collect")
            with mock.patch.object(diffing, "_FEW_STREAMS", -1), mock.patch.object(diffing, "_FEW_KEYS", -1):  # as if they touched much
                assert_frame_equal(wb.diff(projection, a, b, errors="collect"), found)
                with mock.patch.object(diffing, "_is_whole_fork", return_value=False):
                    assert_frame_equal(wb.diff(projection, a, b, errors="collect"), found)
            before = wb.state(projection, a, errors="collect").select("key", *fields(projection))
            after = wb.state(projection, b, errors="collect").select("key", *fields(projection))
            same = before.join(after, on=before.columns, how="inner", nulls_equal=True)["key"].to_list()
            assert sorted({*before["key"], *after["key"]} - set(same)) == found["key"].to_list()


def test_two_moments_of_one_fork_differ_as_two_forks_do(now: Timeline) -> None:
    fork = now.insert(
        stream="thing-1", type="thing.changed", at=EPOCH + timedelta(microseconds=HISTORY[3].recorded_at + 5), data={"name": "z"}
    )
    before = fork.upto(EPOCH + timedelta(microseconds=HISTORY[3].recorded_at + 4))
    [row] = wb.diff(Thing, before, fork.upto(EPOCH + timedelta(microseconds=HISTORY[3].recorded_at + 6))).to_dicts()
    assert (row["key"], row["changed_fields"], row["diverged_position"]) == ("1", ["name", "tags", "last"], 40)


# Examples


def test_a_diff_names_the_event_at_which_a_fork_parts(now: Timeline) -> None:
    def diverged(fork: Timeline) -> list[tuple[Any, ...]]:
        rows = wb.diff(Thing, now, fork)
        return rows.select("key", "change", "changed_fields", "diverged_position", "diverged_event_type").rows()

    moment = EPOCH + timedelta(microseconds=HISTORY[3].recorded_at + 7)
    inserted = now.insert(stream="thing-1", type="thing.ended", at=moment, data={"name": 1})
    assert diverged(inserted) == [("1", "removed", [], 40, "thing.ended")]
    [row] = wb.diff(Thing, now, inserted).to_dicts()
    assert row["diverged_event_id"] == inserted.events().filter(origin="inserted").collect()["event_id"][0]
    assert row["diverged_at"] == moment
    assert diverged(now.patch(position=50, set={"name": "z"})) == [("2", "changed", ["name", "tags"], 50, "thing.changed")]
    assert diverged(now.drop(position=40)) == [("1", "changed", ["size", "last"], 40, "thing.counted")]
    assert diverged(now.replace(position=40, as_type="thing.changed", data={"name": "q"})) == [
        ("1", "changed", ["name", "size", "tags", "last"], 40, "thing.changed")
    ]
    assert diverged(now.insert(stream="thing-3", type="thing.begun", at=60, data={"name": "n"})) == [("3", "added", [], 60, "thing.begun")]
    assert diverged(now.retime(position=20, by="-1h")) == [("1", "changed", ["name", "tags"], 20, "thing.changed")]
    assert diverged(now.drop(stream="nobody")) == []
    keyed = wb.diff(ByK, now, now.patch(position=20, set={"k": "y"}))
    assert keyed.select("key", "change", "diverged_position").rows() == [("x", "changed", 20), ("y", "added", 20)]


def test_every_question_takes_a_fork(now: Timeline) -> None:
    fork = now.insert(stream="thing-1", type="thing.changed", at=40, data={"name": "z"})
    assert wb.state(Thing, fork, key="1")["name"].to_list() == ["z"]
    assert wb.history(Thing, fork, key="1")["name"].to_list() == ["a", "b", "b", "z"]
    assert wb.history(Thing, fork.after(position=20), key="1")["valid_from_position"].to_list() == [40, 40]
    assert wb.first(Thing, fork, pl.col("name") == "z")["position"].to_list() == [40]
    line = wb.lineage(Thing, fork, key="1", field="name")
    assert line.select("position", "before", "after").rows() == [(40, "b", "z")]
    merged = wb.state("thing", fork, key="1")
    assert merged["name"].to_list() == ["z"]
    assert wb.state(wb.Fold(_count, category=CATEGORY, initial=0), fork)["state"].to_list() == [4, 3]


def _count(state: int, _: object) -> int:
    return state + 1


def test_a_fork_is_never_answered_from_what_is_kept(tmp_path: Path) -> None:
    timeline = timeline_in(tmp_path / "lake", HISTORY)
    wb.materialise(Thing, timeline)
    fork = timeline.drop(position=40)
    expected = {"1": ("b", 0, ["a", "b"], "changed"), "2": ("d", 1, ["c", "d"], "counted")}
    assert {key: (*held[:2], list(held[2]), held[3]) for key, held in states(Thing, fork).items()} == expected
    assert wb.diff(Thing, timeline, fork)["key"].to_list() == ["1"]
    wb.materialise(Thing, timeline)
    assert [one.positions for one in wb.list_materialised(timeline)] == [(60,)]


def test_forks_of_forks_add_up(now: Timeline) -> None:
    one = now.drop(position=40)
    two = one.insert(stream="thing-1", type="thing.counted", at=60, data={"size": 9}).patch(type="thing.counted", set={"size": 0})
    assert {key: held[1] for key, held in states(Thing, one).items()} == {"1": 0, "2": 1}
    assert {key: held[1] for key, held in states(Thing, two).items()} == {"1": 0, "2": 0}
    calls: list[Call] = [
        ("drop", {"position": 40}),
        ("insert", {"stream": "thing-1", "type": "thing.counted", "at": 60, "data": {"size": 9}}),
    ]
    assert edited(now, calls) == two.__class__(log=now.log, edits=two.edits[:2])
