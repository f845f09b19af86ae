"""With an index of keys every question for one entity is answered as without, bit for bit; and it reads few streams alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock
from uuid import uuid4

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.forks import edited, edits
from tests.lake.s3 import object_store
from tests.laws import at_least
from tests.materialised.test_materialised import UNTIL, bits, write
from tests.replay.told import mixed
from tests.stores import NewEvent, Store
from tests.strategies import Recorded, frame, histories, projections
from workbench.errors import LakeError, UsageError, ValueDoesNotFit, WorkbenchError
from workbench.events import EVENT_SCHEMA, Checkpoint, Selection
from workbench.events import Store as StoreOf
from workbench.export import export_log
from workbench.fold.entity_scope import EntityScope
from workbench.lake import Lake, LakeWriter, open_lake
from workbench.lake.files.location import Location
from workbench.lake.reading.snapshot import Snapshot
from workbench.materialised import fold_point, key_index
from workbench.materialised.fold_point import FoldPoint
from workbench.materialised.histories import list_materialised, materialise
from workbench.materialised.key_index import keep_up, streams_about, write_index
from workbench.materialised.stored_plan import plan_from_json, plan_to_json
from workbench.projection import Projection, event, on, plan_of, upcast
from workbench.replay.rebuild import Rebuilt
from workbench.timeline import Timeline
from workbench.timeline.extraction import Extraction


class Person(Projection, category="user", key=event.data["userId"]):
    name: str | None
    logins: int = 0
    handlers = (
        on("created").create("name"),
        on("renamed").where(event.data["name"].exists()).set(name=event.data["name"]),
        on("in").add(logins=1),
        on("deleted").delete(),
    )


class Seen(Projection, category="user", key=event.data["userId"]):
    events: int = 0
    handlers = (on("in").add(events=1),)


def said(key: Any, **more: Any) -> dict[str, Any]:
    return {"userId": key, **more}


EVENTS = [
    ("user-a", "created", said("ann", name="Ann")),
    ("user-a", "in", said("ann")),
    ("user-b", "created", said("bob", name="Bob")),
    ("user-b", "in", said("ann")),
    ("user-c", "in", said("bob")),
    ("user-c", "renamed", said("bob")),
    ("user-d", "renamed", said("ann", name="Anna")),
    ("user-e", "noted", said("ann")),
    ("user-e", "created", said("cy", name="ann")),
    ("user-f", "deleted", said("bob")),
]


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an index be worth it however few events there are."""
    monkeypatch.setattr(fold_point, "WORTH_KEEPING", 1)
    monkeypatch.setattr(key_index, "_EVENTS_OF_A_STREAM", 0.01)


def make(projection: type[Projection], lake: Lake) -> None:
    """Make the index of keys, and not the history that ``materialise`` keeps beside it, which would be read instead."""
    point = FoldPoint.of(plan_of(projection), lake.timeline)
    assert point is not None
    with point.stored.writing(wait=True):
        write_index(plan_of(projection), lake.timeline)


def bring_up_to_date(path: Path) -> None:
    """Do what an export does at its end."""
    keep_up(Location.of(path))


@contextmanager
def without() -> Iterator[None]:
    with mock.patch.object(key_index._Index, "of", return_value=None):
        yield


def shown(found: Any) -> Any:
    if isinstance(found, pl.DataFrame):
        return bits(found.drop("microseconds", "against_microseconds", strict=False))
    if isinstance(found, Rebuilt):
        # Of one entity only events that had to be looked at are counted: those that may be about it, and the fewer the better.
        counts = found.counts
        return (shown(found.state), shown(found.failures), counts.applied, counts.orphans, counts.failed)
    return found


def answers(projection: type[Projection], timeline: Timeline, key: str, *, fork: Timeline | None = None) -> list[Any]:
    """Ask every question for one entity; what fails answers with its error."""
    field = plan_of(projection).fields[0].name
    questions: list[Callable[[], Any]] = [
        lambda: wb.state(projection, timeline, key=key),
        lambda: wb.rebuild(projection, timeline, key=key, errors="collect"),
        lambda: wb.history(projection, timeline, key=key, errors="collect"),
        lambda: wb.first(projection, timeline, pl.col("event_count") > 1, key=key, errors="collect"),
        lambda: wb.lineage(projection, timeline, key=key, field=field),
        lambda: wb.steps(projection, timeline, key=key, errors="collect"),
    ]
    if fork is not None:
        questions = [
            lambda: wb.state(projection, fork, key=key),
            lambda: wb.diff(projection, timeline, fork, key=key, errors="collect"),
            lambda: wb.steps(projection, timeline, key=key, against=fork, errors="collect"),
        ]
    return [answer(question) for question in questions]


def answer(question: Callable[[], Any]) -> Any:
    try:
        return shown(question())
    except (WorkbenchError, ZeroDivisionError) as error:
        return type(error), str(error), getattr(error, "__notes__", None)


def agree(projection: type[Projection], timeline: Timeline, keys: Sequence[str], *, fork: Timeline | None = None) -> None:
    for key in keys:
        with without():
            expected = answers(projection, timeline, key, fork=fork)
        assert expected == answers(projection, timeline, key, fork=fork), key


def kinds(lake: Lake | Timeline, projection: type[Projection] | None = None) -> list[str]:
    return [one.kind for one in list_materialised(lake, projection)]


ODD = (
    '{"k": "\\u0031", "name": "Ann"}',
    '{"\\u006b": "1", "name": "Bo"}',
    '{"k": "\\ud800", "name": "1"}',
    '{"k": "1", "name": "\\udc00"}',
    '{"k": 2, "k": "1"}',
    '{"k": -0, "size": 1}',
    '{"k": 12345678901234567890, "name": "1"}',
    '{"k": "x\\u0000y", "name": "z"}',
    '{"k": "1.0"}',
    '{"k": {"k": "1"}}',
    '{"k": 1e0}',
)
KEYS = (
    event.data["k"],
    event.data["k"],
    event.data["name"],
    event.data["deep"]["k"],
    event.correlation_id,
    event.metadata["v"],
    event.stream,
)


def recorded() -> st.SearchStrategy[list[Recorded]]:
    """Histories in which keys are spelt in odd ways now and then."""
    odd = st.one_of(st.none(), st.none(), st.sampled_from(ODD))

    def spelt(history: list[Recorded]) -> st.SearchStrategy[list[Recorded]]:
        size = len(history)
        return st.lists(odd, min_size=size, max_size=size).map(
            lambda chosen: [one if text is None else replace(one, data=text) for one, text in zip(history, chosen, strict=True)]
        )

    return histories(max_size=9).filter(bool).flatmap(spelt)


@settings(max_examples=at_least(12), suppress_health_check=list(HealthCheck))
@given(st.data(), projections(keys=st.sampled_from(KEYS)), recorded(), st.sampled_from([1, 4, 10**9]), st.integers(1, 9))
def test_every_question_for_every_entity_is_answered_as_without_it_at_every_position_and_after_exports(
    data: st.DataObject, projection: type[Projection], events: list[Recorded], worth: int, cut: int
) -> None:
    table = frame(events)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "lake"
        lake = write(path, table.head(cut))
        make(projection, lake)
        state = wb.history(projection, lake.timeline, errors="collect")
        agree(projection, lake.timeline, ["1", data.draw(st.sampled_from(["", *state["key"].unique().sort()]))])
        assert kinds(lake) == ["keys"]
        if cut < len(events):
            with mock.patch.object(fold_point, "WORTH_KEEPING", worth):
                lake = write(path, table.tail(-cut))
                bring_up_to_date(path)
                found = wb.history(projection, lake.timeline, errors="collect")["key"].unique().sort().to_list()
                key = data.draw(st.sampled_from([*found, "1"]))
                position = data.draw(st.sampled_from(events)).position
                agree(projection, lake.timeline.upto(position=position), [key])
                agree(projection, lake.timeline, [data.draw(st.sampled_from([key, "nobody", "\ud800"]))])
        fork = edited(lake.timeline, data.draw(edits(events)))
        assume(not isinstance(answer(fork.count), tuple))
        agree(projection, lake.timeline, [data.draw(st.sampled_from(["1", "2"]))], fork=fork)
        agree(projection, lake.timeline, ["1"], fork=fork.upto(position=data.draw(st.sampled_from(events)).position))
        with without():
            expected = [answer(lambda: wb.diff(projection, lake.timeline, fork, errors="collect"))]
        assert expected == [answer(lambda: wb.diff(projection, lake.timeline, fork, errors="collect"))]


def test_the_streams_are_those_that_have_events_about_the_entity_and_nothing_else_is_read(tmp_path: Path) -> None:
    lake = write(tmp_path, mixed(*EVENTS))
    make(Person, lake)
    plan = plan_of(Person)
    assert streams_about(plan, lake.timeline, ["ann"]) == {"user-a", "user-b", "user-d"}
    assert streams_about(plan, lake.timeline, ["bob"]) == {"user-b", "user-c", "user-f"}
    assert streams_about(plan, lake.timeline, ["ann", "bob"]) == {"user-a", "user-b", "user-c", "user-d", "user-f"}
    assert streams_about(plan, lake.timeline, ["nobody"]) == set()
    looked_at: list[Timeline] = []

    def extract(log: Snapshot, timeline: Timeline, extraction: Extraction) -> Any:
        looked_at.append(timeline)
        return extracted(log, timeline, extraction)

    extracted = Snapshot.extract
    with mock.patch.object(Snapshot, "extract", extract):
        assert wb.state(Person, lake.timeline, key="ann")["logins"].to_list() == [2]
        wb.history(Person, lake.timeline, key="ann")
        wb.diff(Person, lake.timeline.upto(position=40), lake.timeline, key="ann")
    assert {timeline.selections for timeline in looked_at} == {(Selection(streams=("user-a", "user-b", "user-d")),)}


def test_no_question_makes_it_and_materialise_does_where_many_events_would_be_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = write(tmp_path, mixed(*EVENTS))
    fork = lake.timeline.drop(stream="user-b")
    for key in ("ann", "bob"):
        answers(Person, lake.timeline, key)
        answers(Person, lake.timeline, key, fork=fork)
    wb.state(Person, lake.timeline)
    wb.diff(Person, lake.timeline, fork)
    bring_up_to_date(tmp_path)
    assert not (tmp_path / "materialised").exists()
    monkeypatch.setattr(fold_point, "WORTH_KEEPING", 11)
    materialise(Person, lake)
    assert kinds(lake) == ["history"]
    monkeypatch.setattr(fold_point, "WORTH_KEEPING", 10)
    materialise(Person, lake)
    [made] = [one for one in list_materialised(lake) if one.kind == "keys"]
    assert (made.name, made.positions, made.rows) == ("Person", (100,), 7)
    assert "Keys and streams" in made._repr_html_()


def test_an_export_brings_it_up_to_date(store: Store, tmp_path: Path) -> None:
    def append(stream: str, *keys: str) -> None:
        store.append(stream, [NewEvent(uuid4(), "in", json.dumps(said(key)).encode()) for key in keys])

    append("user-a", "ann", "bob")
    export_log(store.uri, tmp_path / "lake")
    materialise(Seen, open_lake(tmp_path / "lake"))
    append("user-b", "ann")
    export_log(store.uri, tmp_path / "lake")
    lake = open_lake(tmp_path / "lake")
    [made] = [one for one in list_materialised(lake, Seen) if one.kind == "keys"]
    assert made.positions == (lake.timeline.position,)
    assert streams_about(plan_of(Seen), lake.timeline, ["ann"]) == {"user-a", "user-b"}


@settings(deadline=None, max_examples=at_least(30))
@given(projections(keys=st.sampled_from(KEYS)))
def test_its_plan_is_read_as_it_was_written_and_nothing_else_is(projection: type[Projection]) -> None:
    plan = key_index._keys_alone(plan_of(projection))
    text = plan_to_json(plan)
    if text is None:
        assert plan.python_only
    else:
        assert plan_from_json(text) == plan
    for other in ("", "{}", "[]", "{", '{"Path": ["data", []]}', '{"dataclass": [1]}', '{"Plan": [1]}', '{"Callable": []}'):
        assert plan_from_json(other) is None


def test_projections_with_the_same_keys_share_it_and_others_do_not(tmp_path: Path) -> None:
    class Same(Projection, category="user", key=event.data["userId"]):
        seen: int = 0
        handlers = tuple(on(name).add(seen=1) for name in ("created", "renamed", "in", "deleted"))

    class Other(Projection, category="user", key=event.data["name"]):
        logins: int = 0
        handlers = Person.handlers[2:]

    lake = write(tmp_path, mixed(*EVENTS))
    make(Person, lake)
    [made] = list_materialised(lake)
    assert wb.state(Same, lake.timeline, key="bob")["seen"].to_list() == [4]
    assert list_materialised(lake) == [made] == list_materialised(lake, Same)
    make(Other, lake)
    agree(Other, lake.timeline, ["ann"])
    assert len(list_materialised(lake)) == 2
    assert [one.name for one in list_materialised(lake, Other)] == ["Other"]
    for one in list_materialised(lake, Person):
        one.remove()
    assert [one.name for one in list_materialised(lake)] == ["Other"]
    agree(Person, lake.timeline, ["ann"])


def test_a_history_that_is_materialised_is_read_instead(tmp_path: Path) -> None:
    lake = write(tmp_path, mixed(*EVENTS))
    materialise(Person, lake)
    assert wb.state(Person, lake.timeline, key="ann")["logins"].to_list() == [2]
    assert sorted(kinds(lake, Person)) == ["history", "keys"]
    agree(Person, lake.timeline, ["ann", "bob"], fork=lake.timeline.drop(stream="user-b"))


def test_what_came_after_is_looked_through_and_added_once_it_is_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = mixed(*EVENTS, *(("user-g", "in", said("ann")), ("user-h", "in", said("new"))) * 2)
    make(Person, write(tmp_path, events.head(6)))
    monkeypatch.setattr(fold_point, "WORTH_KEEPING", 5)
    lake = write(tmp_path, events.slice(6, 4))
    bring_up_to_date(tmp_path)
    agree(Person, lake.timeline, ["ann", "cy"])
    assert list_materialised(lake)[0].positions == (60,)
    lake = write(tmp_path, events.tail(-10))
    agree(Person, lake.timeline.upto(position=100), ["ann"])
    assert list_materialised(lake)[0].positions == (60,)
    looked_at: list[int | None] = []
    keyed = key_index.streams_by_key

    def looking(plan: Any, timeline: Timeline, **more: Any) -> Any:
        looked_at.append(timeline.after_position)
        return keyed(plan, timeline, **more)

    monkeypatch.setattr(key_index, "streams_by_key", looking)
    wb.state(Person, lake.timeline, key="ann")
    bring_up_to_date(tmp_path)
    assert looked_at == [60, 60]
    assert list_materialised(lake)[0].positions == (140,)
    agree(Person, lake.timeline, ["ann", "new"])


def test_files_are_few_however_often_it_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_index, "_ROWS", 12)
    told = [(f"user-{number % 41}", "in", said(f"u{number % 29}")) for number in range(60)]
    events = mixed(*told)
    sizes = []
    for start in range(0, 60, 3):
        lake = write(tmp_path, events.slice(start, 3))
        make(Person, lake) if start == 0 else bring_up_to_date(tmp_path)
        assert streams_about(plan_of(Person), lake.timeline, ["u7"]) == {
            stream for stream, _, at in told[: start + 3] if at["userId"] == "u7"
        }
        [manifest] = list_materialised(lake)[0]._stored.all()
        sizes.append(len(manifest.files))
    assert max(sizes) <= 7
    agree(Person, lake.timeline, ["u7", "u0"])


NAMED: list[Any] = []


def renamed(data: Any, metadata: Any) -> Any:
    NAMED.append(data)
    if "refused" in data:
        raise ZeroDivisionError
    return {**data, "userId": str(data["userId"]).lower()}


def test_a_python_function_that_makes_keys_is_asked_once_for_each_event_and_what_it_refuses_is_not_lost(tmp_path: Path) -> None:
    class Lowered(Projection, category="user", key=event.data["userId"]):
        logins: int = 0
        upcasters = (upcast("in").apply(renamed, version=1),)
        handlers = (on("in").add(logins=1),)

    class Unversioned(Projection, category="user", key=event.data["userId"]):
        logins: int = 0
        upcasters = (upcast("in").apply(renamed),)
        handlers = (on("in").add(logins=1),)

    told = [("user-a", "in", said("ANN")), ("user-b", "in", said("ann")), ("user-c", "in", said("Bob")), ("user-d", "in", said("Cy"))]
    fine = write(tmp_path / "fine", mixed(*told))
    make(Lowered, fine)
    agree(Lowered, fine.timeline, ["ann", "bob", "ANN"])
    NAMED.clear()
    assert wb.state(Lowered, fine.timeline, key="bob")["logins"].to_list() == [1]
    assert [said("Bob")] == NAMED
    make(Unversioned, fine)
    assert len(list_materialised(fine)) == 1
    spoilt = write(tmp_path / "spoilt", mixed(*told, ("user-e", "in", said("Bob", refused=True)), ("user-b", "in", said("Bob"))))
    make(Lowered, spoilt)
    agree(Lowered, spoilt.timeline, ["ann", "bob", "nobody"])
    assert kinds(spoilt) == ["keys"]
    plan = plan_of(Lowered)
    assert streams_about(plan, spoilt.timeline, ["ann"]) == {"user-a", "user-b", "user-e"}
    with pytest.raises(ZeroDivisionError) as raised:
        wb.state(Lowered, spoilt.timeline, key="ann")
    assert "user-e" in raised.value.__notes__[0]


def test_a_what_if_adds_the_streams_in_which_edits_put_events_about_the_entity(tmp_path: Path) -> None:
    lake = write(tmp_path, mixed(*EVENTS))
    make(Person, lake)
    now = lake.timeline
    forks = [
        now.insert(stream="user-new", type="in", at=50, data=said("ann")),
        now.patch(stream="user-c", type="in", set={"userId": "ann"}),
        now.replace(type="noted", data=said("ann"), as_type="in"),
        now.retime(stream="user-d", by="-1h"),
        now.drop(stream="user-b"),
        now.drop(type="in"),
        now.truncate(stream="user-a", after=10),
        now.insert(stream="user-new", type="in", at=50, data=said("eve")).patch(stream="user-*", set={"userId": "eve"}),
    ]
    for fork in forks:
        agree(Person, now, ["ann"], fork=fork)
        with without():
            expected = bits(wb.diff(Person, now, fork))
        assert expected == bits(wb.diff(Person, now, fork))
    agree(Person, now, ["eve"], fork=forks[-1])
    plan = plan_of(Person)
    assert streams_about(plan, forks[0], ["ann"]) == {"user-a", "user-b", "user-d", "user-new"}
    assert streams_about(plan, forks[1], ["ann"]) == {"user-a", "user-b", "user-c", "user-d"}
    [made] = list_materialised(lake)
    assert made.positions == (100,)


def test_what_the_store_hides_is_not_there_with_it_either(tmp_path: Path) -> None:
    lake = write(tmp_path, mixed(*EVENTS, ("$$user-a", "$metadata", {"$maxCount": 1}), ("user-a", "in", said("ann"))))
    make(Person, lake)
    assert wb.state(Person, lake.timeline.visible(), key="ann").height == 0
    assert kinds(lake) == ["keys"]
    agree(Person, lake.timeline.visible(), ["ann", "bob"])


def test_compaction_keeps_it_and_another_log_or_a_transaction_that_goes_on_ends_it(tmp_path: Path) -> None:
    events = mixed(*EVENTS)
    for start in range(0, 10, 2):
        lake = write(tmp_path / "a", events.slice(start, 2))
    make(Person, lake)
    [made] = list_materialised(lake)
    with LakeWriter.open(tmp_path / "a", store=StoreOf("esdb://store.example"), selection=Selection()) as writer:
        assert writer.cluster().files_added
    lake = open_lake(tmp_path / "a")
    agree(Person, lake.timeline, ["ann", "bob"])
    assert list_materialised(lake) == [made]
    other = write(tmp_path / "b", mixed(*(("user-z", kind, data) for _, kind, data in EVENTS)))
    (tmp_path / "a" / "materialised").rename(tmp_path / "b" / "materialised")
    assert kinds(other) == []
    make(Person, other)
    assert streams_about(plan_of(Person), other.timeline, ["ann"]) == {"user-z"}
    same = events.tail(1).with_columns(stream=pl.lit("user-y"), data=pl.lit(json.dumps(said("ann"))), prepare_position=pl.lit(101))
    grown = write(tmp_path / "b", same.with_columns(type=pl.lit("in")))
    assert streams_about(plan_of(Person), grown.timeline, ["ann"]) is None
    make(Person, grown)
    assert streams_about(plan_of(Person), grown.timeline, ["ann"]) == {"user-y", "user-z"}
    agree(Person, grown.timeline, ["ann", "bob"])


def test_a_reader_that_opened_the_lake_before_is_answered_as_it_was(tmp_path: Path) -> None:
    events = mixed(*EVENTS)
    older = write(tmp_path, events.head(4))
    lake = write(tmp_path, events.tail(-4))
    make(Person, lake)
    agree(Person, older.timeline, ["ann", "bob"])
    assert list_materialised(older)[0].positions == (100,)


def test_what_is_damaged_answers_nothing_and_is_made_anew(tmp_path: Path) -> None:
    lake = write(tmp_path, mixed(*EVENTS))
    make(Person, lake)
    plan = plan_of(Person)
    expected = {"user-a", "user-b", "user-d"}
    assert streams_about(plan, lake.timeline, ["ann"]) == expected
    [made] = list_materialised(lake)
    folder = tmp_path / "materialised" / made.folder
    for suffix in ("manifest.json", ".parquet"):
        for at in range(0, 1200, 97):
            [file] = [entry for entry in folder.iterdir() if entry.name.endswith(suffix) and entry.name in _named(lake)]
            whole = file.read_bytes()
            spoilt = whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :] if at < len(whole) else b""
            file.write_bytes(spoilt)
            assert streams_about(plan, lake.timeline, ["ann"]) in (None, expected), (file.name, at)
            make(Person, lake)
            assert streams_about(plan, lake.timeline, ["ann"]) == expected, (file.name, at)
            assert streams_about(plan, lake.timeline, ["bob"]) == {"user-b", "user-c", "user-f"}
    for part in _named(lake) - {"manifest.json"}:
        (folder / part).unlink()
    assert streams_about(plan, lake.timeline, ["ann"]) is None
    make(Person, lake)
    assert streams_about(plan, lake.timeline, ["ann"]) == expected


def _named(lake: Lake) -> set[str]:
    [manifest] = list_materialised(lake)[0]._stored.all()
    return {"manifest.json", *(part.path for part in manifest.files)}


def test_a_part_that_is_damaged_does_not_stand_in_the_way_of_what_comes_after(tmp_path: Path) -> None:
    events = mixed(*EVENTS)
    lake = write(tmp_path, events.head(3))
    make(Person, lake)
    for part in _named(lake) - {"manifest.json"}:
        (tmp_path / "materialised" / list_materialised(lake)[0].folder / part).write_bytes(b"PAR1")
    lake = write(tmp_path, events.tail(-3))
    bring_up_to_date(tmp_path)
    assert streams_about(plan_of(Person), lake.timeline, ["ann"]) == {"user-a", "user-b", "user-d"}
    assert list_materialised(lake)[0].positions == (100,)


def test_without_the_right_the_room_or_the_quiet_to_write_the_payloads_are_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = mixed(*EVENTS)
    lake = write(tmp_path, events.head(7))
    opened = os.open

    def denied(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if str(path).endswith(".lock"):
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, mode, **more)

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    def ask() -> None:
        agree(Person, lake.timeline, ["ann"], fork=lake.timeline.drop(stream="user-b"))

    for owner, name, refusal in ((os, "open", denied), (Path, "replace", full)):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, refusal)
            with pytest.raises(LakeError):
                make(Person, lake)
            ask()
        assert kinds(lake) == []
    [left] = [entry for entry in (tmp_path / "materialised").iterdir() if entry.is_dir()]
    assert list(left.iterdir()) == []
    make(Person, lake)
    [made] = list_materialised(lake)
    lake = write(tmp_path, events.tail(-7))
    with made._stored.writing(wait=True):
        bring_up_to_date(tmp_path)
        ask()
    assert list_materialised(lake) == [made]
    for owner, name, refusal in ((os, "open", denied), (Path, "replace", full)):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, refusal)
            bring_up_to_date(tmp_path)
            ask()
        assert list_materialised(lake) == [made]
    bring_up_to_date(tmp_path)
    assert list_materialised(lake)[0].positions == (100,)


def test_a_lake_in_an_object_store_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with object_store() as store:
        for name, value in store.options.items():
            monkeypatch.setenv(name, value)
        told = mixed(*EVENTS).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(EVENT_SCHEMA)
        with LakeWriter.open("s3://bucket/lake", store=StoreOf("esdb://store.example"), selection=Selection()) as writer:
            writer.append(told, Checkpoint(100, 100, "00000000-0000-0000-0000-000000000100", UNTIL))
        lake = open_lake("s3://bucket/lake")
        assert wb.state(Person, lake.timeline, key="ann")["logins"].to_list() == [2]
        fork = lake.timeline.drop(stream="user-b")
        assert wb.diff(Person, lake.timeline, fork)["key"].to_list() == ["ann"]
        assert kinds(lake) == []


def test_where_keys_have_nearly_as_many_streams_as_events_none_is_kept_and_that_is_tried_again_when_there_are_twice_as_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_index, "_EVENTS_OF_A_STREAM", 2)
    plan = plan_of(Person)
    lake = write(tmp_path, mixed(*EVENTS))
    make(Person, lake)
    assert streams_about(plan, lake.timeline, ["ann"]) is None
    agree(Person, lake.timeline, ["ann", "bob"], fork=lake.timeline.drop(stream="user-b"))
    [made] = list_materialised(lake)
    assert (made.kind, made.rows, made.positions) == ("keys", 0, (100,))
    more = mixed(*EVENTS, *(("user-a", "in", said("ann")),) * 20)
    lake = write(tmp_path, more.slice(10, 5))
    bring_up_to_date(tmp_path)
    assert streams_about(plan, lake.timeline, ["ann"]) is None
    assert list_materialised(lake) == [made]
    lake = write(tmp_path, more.tail(-15))
    bring_up_to_date(tmp_path)
    assert streams_about(plan, lake.timeline, ["ann"]) == {"user-a", "user-b", "user-d"}
    agree(Person, lake.timeline, ["ann", "bob"])


def test_an_entity_in_many_streams_is_looked_for_in_the_payloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_index, "_FEW", 2)
    lake = write(tmp_path, mixed(*EVENTS))
    make(Person, lake)
    plan = plan_of(Person)
    assert streams_about(plan, lake.timeline, ["ann"]) is None
    assert streams_about(plan, lake.timeline, ["cy"]) == {"user-e"}
    agree(Person, lake.timeline, ["ann", "cy"], fork=lake.timeline.drop(stream="user-b"))
    monkeypatch.setattr(key_index, "_FEW", 100)
    monkeypatch.setattr(key_index, "_LIKE_A_SEARCH", 2)
    assert streams_about(plan, lake.timeline, ["ann"]) is None
    assert streams_about(plan, lake.timeline, ["cy"]) == {"user-e"}


def test_streams_whose_names_have_stars_are_looked_up_too(tmp_path: Path) -> None:
    lake = write(tmp_path, mixed(("user-*", "in", said("ann")), ("user-x", "in", said("ann")), ("user-y", "in", said("bob"))))
    make(Person, lake)
    agree(Person, lake.timeline, ["ann", "bob"])
    scope = EntityScope.of(plan_of(Person), lake.timeline, key="bob", index=streams_about)
    assert scope.timeline.selections == (Selection(streams=("user-y",)),)


def test_a_key_at_a_place_that_no_path_can_name_is_looked_for_in_the_payloads(tmp_path: Path) -> None:
    class Starred(Projection, category="user", key=event.data["user*"]):
        logins: int = 0
        handlers = (on("in").add(logins=1),)

    lake = write(tmp_path, mixed(("user-a", "in", {"user*": "ann"}), ("user-b", "in", {"user*": "bob", "userx": "ann"})))
    make(Starred, lake)
    agree(Starred, lake.timeline, ["ann", "bob"], fork=lake.timeline.patch(stream="user-b", set={"user*": "ann"}))
    assert kinds(lake) == []


def test_a_key_that_is_no_text_is_refused(tmp_path: Path) -> None:
    number: Any = 42
    with pytest.raises(UsageError, match="write key='42'"):
        wb.state(Person, write(tmp_path, mixed(*EVENTS)).timeline, key=number)


def test_a_key_with_half_a_surrogate_pair_is_none(tmp_path: Path) -> None:
    lake = write(tmp_path, mixed(("user-a", "in", '{"userId": "\\ud800"}'), ("user-b", "in", said("ann"))))
    make(Seen, lake)
    make(Person, lake)
    rebuilt = wb.rebuild(Seen, lake.timeline)
    assert (rebuilt.state["key"].to_list(), rebuilt.counts.keyless) == (["ann"], 1)
    agree(Person, lake.timeline, ["\ud800", "ann"])
    materialise(Seen, lake)
    assert wb.state(Seen, lake.timeline, key="\ud800").height == wb.history(Seen, lake.timeline, key="\ud800").height == 0


def test_an_event_that_cannot_be_read_may_be_about_any_entity(tmp_path: Path) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    lake = write(tmp_path, mixed(("user-a", "in", f'{{"userId":"ann","half":"\\ud800","deep":{deep}}}'), ("user-b", "in", said("bob"))))
    make(Person, lake)
    agree(Person, lake.timeline, ["ann", "bob", "nobody"])
    assert kinds(lake) == ["keys"]
    with pytest.raises(ValueDoesNotFit, match="nested too deeply; in event 0 of stream 'user-a'"):
        wb.state(Person, lake.timeline, key="bob")
