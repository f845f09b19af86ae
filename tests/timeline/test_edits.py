"""Edits: what each does to the events of a timeline, to the byte, and what is said of it."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.forks import EPOCH, Call, bounds, cut, edited, edits, lake_in_runs, seen, shown, told
from tests.lake.histories import COMPLETE, Row, lake_of, open_writer, row, tombstone
from tests.laws import at_least
from tests.strategies import Recorded, histories
from workbench.errors import BeforeFirstEvent, InvalidTime, QueryError, UsageError
from workbench.events import EVENT_SCHEMA
from workbench.lake import open_lake
from workbench.lake.forks.patch_sql import plainly_patched
from workbench.lake.forks.patch_text import NoObject, patched
from workbench.projection import event
from workbench.timeline import Timeline
from workbench.timeline.edits import span_of

law = settings(max_examples=at_least(40))


def traced(position: int, stream: str, *, cause: int | None = None, about: str | None = None, **more: Any) -> Row:
    """Return an event that another one caused, or with a correlation."""
    cause_id = None if cause is None else str(uuid.UUID(int=cause + 1))
    metadata = json.dumps({"$causationId": cause_id, "$correlationId": about})
    return row(position, stream, metadata=metadata, **more) | {"causation_id": cause_id, "correlation_id": about}


LOG = [
    traced(10, "user-1", type="user.created", data='{"name": "Ann", "amount": 1.10}', about="a"),
    traced(20, "order-1", type="order.placed", cause=10, about="a", data='{"total": 7}'),
    traced(30, "user-2", type="user.created", data='{"name": "Bob", "amount": 250}'),
    traced(40, "mail-1", type="mail.sent", cause=20, about="a"),
    traced(50, "user-1", type="user.moved", revision=1, data='{"address": {"city": "Rome"}, "amount": 99}', about="b"),
    traced(60, "mail-2", type="mail.sent", cause=30, data='"hello"'),
    traced(70, "mail-1", type="mail.opened", revision=1, cause=40, about="b"),
    traced(80, "user-1", type="user.deleted", revision=2, data=b"\xff", cause=70, about="b"),
]


@pytest.fixture
def now(tmp_path: Path) -> Timeline:
    return lake_of(tmp_path / "lake", LOG, batch=3).timeline


def at(position: int) -> datetime:
    return next(one["recorded_at"] for one in LOG if one["position"] == position)  # type: ignore[no-any-return]


def positions(timeline: Timeline) -> list[int]:
    return timeline.events().collect()["position"].to_list()


def only(timeline: Timeline, **values: Any) -> dict[str, Any]:
    return timeline.events().filter(**values).collect().row(0, named=True)


# Laws


@law
@given(st.data(), histories(max_size=14), st.booleans(), st.integers(1, 6))
def test_the_events_of_a_fork_are_what_its_edits_say(data: st.DataObject, history: list[Recorded], cluster: bool, batch: int) -> None:
    if not history:
        return
    calls = data.draw(edits(history))
    upto = data.draw(st.none() | bounds(history))
    with lake_in_runs(history, batch=batch, cluster=cluster) as now:
        fork = edited(now, calls) if data.draw(st.booleans()) or upto is None else _cut_first(now, calls, upto)
        fork = fork if upto is None else fork.upto(upto, stale=True)
        expected = shown(cut(told(history, calls), history, upto))
        events = fork.events().collect()
        assert seen(events) == expected
        assert fork.count() == fork.describe().events == len(expected)
        assert fork.sql("SELECT * FROM events ORDER BY position, prepare_position").pl().equals(events)
        assert not events.select("position", "prepare_position").is_duplicated().any()
        users = fork.streams("thing-1").types("thing.*").events().select("data", "sequence").collect()
        assert users["data"].to_list() == [one[5] for one in expected if one[0] == "thing-1" and one[2].startswith("thing.")]
        assert [effect.matched for effect in fork.effects] == _counts(history, calls)


def _cut_first(now: Timeline, calls: list[Call], upto: int | datetime) -> Timeline:
    try:
        return edited(now.upto(upto, stale=True), calls)
    except BeforeFirstEvent:
        return edited(now, calls)


def _counts(history: list[Recorded], calls: list[Call]) -> list[int]:
    """Return how many events each edit takes, told by what is gone, or would be."""
    counts = []
    for number, (method, arguments) in enumerate(calls):
        before = calls[:number]
        address = {name: arguments[name] for name in _ADDRESS if name in arguments}
        as_drop = (method, arguments) if method in ("drop", "truncate") else ("drop", address)
        counts.append(1 if method == "insert" else len(told(history, before)) - len(told(history, [*before, as_drop])))
    return counts


_ADDRESS = ("stream", "category", "type", "after", "upto", "position", "event_id", "where")


@law
@given(st.data(), histories(max_size=14))
def test_edits_of_what_comes_after_the_cutoff_change_nothing(data: st.DataObject, history: list[Recorded]) -> None:
    if not history:
        return
    end = data.draw(st.sampled_from([one.position for one in history]))
    calls = [(method, arguments | {"after": end}) for method, arguments in data.draw(edits(history)) if method not in ("insert", "retime")]
    later = [one.position for one in history if one.position > end]
    calls += [("insert", {"stream": "thing-1", "type": "thing.changed", "at": position}) for position in later[:1]]
    with lake_in_runs(history) as now:
        expected = now.upto(position=end)
        fork = edited(expected, calls)
        assert fork.events().select(expected.events().collect_schema().names()).collect().equals(expected.events().collect())


def test_a_timeline_without_edits_has_the_columns_of_the_lake_and_no_effects(now: Timeline) -> None:
    assert now.events().collect_schema().names() == EVENT_SCHEMA.names
    assert now.sql("SELECT * FROM events").columns == EVENT_SCHEMA.names
    assert now.effects == ()
    fork = now.drop(stream="nobody")
    assert fork.events().collect_schema().names() == [*EVENT_SCHEMA.names, "sequence", "origin"]
    assert fork.sql("SELECT * FROM events").columns == [*EVENT_SCHEMA.names, "sequence", "origin"]
    assert fork.events().select(EVENT_SCHEMA.names).collect().equals(now.events().collect())


def test_edits_are_values_that_read_nothing() -> None:
    blind: Any = object()  # no log at all

    def fork() -> Timeline:
        return (
            Timeline(log=blind)
            .drop(type="a", after="2026-01-01", cascade="causation")
            .patch(stream="user-*", where=event.data["amount"] > 100, set={"plan": "pro"}, unset=["trial"])
            .replace(position=7, data=[1])
            .insert(stream="user-1", type="b", at=5)
            .retime(type="c", by="-1h")
            .truncate(category="order", type=["d", "e"])
        )

    assert fork() == fork()
    assert hash(fork()) == hash(fork())
    assert len({fork(), fork(), Timeline(log=blind)}) == 2
    assert Timeline(log=blind).replace(stream="a", data=1) != Timeline(log=blind).replace(stream="a", data=1.0)
    assert Timeline(log=blind).drop(where=event.data["a"] == 1) != Timeline(log=blind).drop(where=event.data["a"] == 1.0)
    said = [str(edit) for edit in fork().edits]
    assert said == [
        "drop(type='a', after='2026-01-01T00:00:00Z', cascade='causation')",
        "patch(stream='user-*', where=event.data['amount'] > 100, set={'plan': \"pro\"}, unset=['trial'])",
        "replace(position=7, data=[1])",
        "insert(stream='user-1', type='b', data={}, at=5)",
        "retime(type='c', by='-1h')",
        "truncate(category='order', type=['d', 'e'])",
    ]


# What each does


def test_a_dropped_event_takes_what_it_caused_with_it_through_several_categories(now: Timeline) -> None:
    fork = now.drop(type="user.created", stream="user-1", cascade="causation")
    assert positions(fork) == [30, 50, 60]
    [effect] = fork.effects
    assert (effect.matched, effect.cascaded, effect.notes) == (1, 4, ())
    assert str(effect).endswith(": 1 event and 4 that followed")
    assert positions(now.drop(stream="user-2")) == [10, 20, 40, 50, 60, 70, 80]


def test_a_correlation_takes_only_what_is_later_in_the_log(now: Timeline) -> None:
    fork = now.drop(type="order.placed", cascade="correlation")
    assert positions(fork) == [10, 30, 50, 60, 70, 80]
    assert [effect.cascaded for effect in fork.effects] == [1]
    assert positions(now.drop(position=70, cascade="correlation")) == [10, 20, 30, 40, 50, 60]


def test_a_cascade_takes_what_earlier_edits_put_there(now: Timeline) -> None:
    cause = LOG[0]["event_id"]
    fork = now.insert(stream="mail-9", type="mail.sent", at=60, metadata={"$causationId": cause}).retime(type="mail.opened", by="1h")
    assert positions(fork.drop(position=10, cascade="causation")) == [30, 50, 60]
    assert positions(fork.drop(stream="mail-9")) == [10, 20, 30, 40, 50, 60, 80, 80]


def test_a_stream_is_truncated_before_the_first_event_that_fits(now: Timeline) -> None:
    assert positions(now.truncate(type="user.moved")) == [10, 20, 30, 40, 60, 70]
    assert positions(now.truncate(stream="user-*", after=at(10))) == [10, 20, 40, 60, 70]
    assert positions(now.truncate(where=event.data["amount"] > 90)) == [10, 20, 40, 60, 70]
    assert positions(now.insert(stream="user-1", type="user.moved", at=20).truncate(type="user.moved")) == [10, 20, 30, 40, 60, 70]


def test_a_patch_changes_what_is_named_and_no_other_byte(now: Timeline) -> None:
    fork = now.patch(stream="user-1", upto=at(50), set={"address.city": "Oslo", "plan": Decimal("1.50")}, unset=["name"])
    assert only(fork, position=10)["data"] == '{"amount": 1.10,"address":{"city":"Oslo"},"plan":1.50}'
    assert only(fork, position=50)["data"] == '{"address": {"city": "Oslo"}, "amount": 99,"plan":1.50}'
    assert fork.events().collect()["origin"].to_list() == ["patched", *["recorded"] * 3, "patched", *["recorded"] * 3]
    assert fork.patch(position=10, set={"plan": 2}).effects[-1].notes == ()
    assert fork.patch(position=10, unset=["name"]).effects[-1].notes == ("changes nothing, since its events are so already",)


@pytest.mark.parametrize(
    ("text", "puts", "takes", "expected"),
    [
        ('{ "a" : 1.10 , "b":2}', {("b",): "3"}, [], '{ "a" : 1.10 , "b":3}'),
        ('{"a":1,"a":2}', {("a",): "3"}, [], '{"a":3,"a":2}'),
        ('{"a":1,"b":0,"a":2}', {}, [("a",)], '{"b":0}'),
        ('{"\\u0061":1}', {("a",): "2"}, [], '{"\\u0061":2}'),
        ("{ }", {("a", "b"): "1"}, [], '{"a":{"b":1} }'),
        ('{"a":{"b":[1, {"c":"}"}]},"d":1}', {("a", "x"): '"y"'}, [("d",)], '{"a":{"b":[1, {"c":"}"}],"x":"y"}}'),
        (' {"a":1 , "b":2 }', {}, [("b",)], ' {"a":1 }'),
        ('{"a":1}', {}, [("b",), ("a", "b")], '{"a":1}'),
        ('{"n":' + "9" * 5000 + "}", {("a",): "1"}, [], '{"n":' + "9" * 5000 + ',"a":1}'),
    ],
)
def test_json_text_is_patched_to_the_byte(text: str, puts: dict[tuple[str, ...], str], takes: list[tuple[str, ...]], expected: str) -> None:
    assert patched(text, list(puts.items()), takes) == expected


_KEYS = st.sampled_from(["a", "b", "ü", 'q"', "a b", "'"])
_PLACES = st.lists(_KEYS, min_size=1, max_size=2).map(tuple)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=8,
)
_SEPARATORS = st.sampled_from(
    [(",", ":"), (", ", ": "), (",", " :"), (" ,", ":"), ("\n,\t", ":"), (" , ", "\t:"), (" ,", " \n: "), ("\r,", "\r:")]
)


def _careful(text: str, puts: list[tuple[tuple[str, ...], str]], takes: list[tuple[str, ...]]) -> str | None:
    try:
        return patched(text, puts, takes)
    except NoObject:
        return None


@given(
    st.lists(st.tuples(st.dictionaries(_KEYS, _JSON, max_size=3) | _JSON, _SEPARATORS, st.booleans()), max_size=5),
    st.lists(st.tuples(_PLACES, st.sampled_from(["[7]", '"\'"', '"ü"', "1.10"])), max_size=2),
    st.lists(_PLACES, max_size=2),
)
def test_patching_many_at_once_gives_what_the_careful_way_gives_or_leaves_it_to_that(
    payloads: list[tuple[Any, tuple[str, str], bool]], puts: list[tuple[tuple[str, ...], str]], takes: list[tuple[str, ...]]
) -> None:
    texts = [json.dumps(held, separators=separators, ensure_ascii=is_ascii) for held, separators, is_ascii in payloads]
    found = plainly_patched(pl.Series(texts, dtype=pl.String), puts, takes)
    assert [
        _careful(text, puts, takes) for text, plain in zip(texts, found, strict=True) if plain is not None
    ] == found.drop_nulls().to_list()


@pytest.mark.parametrize(
    ("text", "puts", "takes", "expected"),
    [
        ('{"a":{"b":1.10,"c":"x"},"d":null}', [(("a", "c"), "2")], [], '{"a":{"b":1.10,"c":2},"d":null}'),
        ('{"a":{"b":1.5,"c":"ü"},"d":null}', [(("d",), "2"), (("e",), '"x"')], [("a",)], '{"d":2,"e":"x"}'),
        ('{"a":1, "b":[2] }', [], [("b",), ("c",)], '{"a":1 }'),
        ('{"a":12}', [(("a",), "7")], [], '{"a":7}'),
        ('{"a":1}', [], [("a",)], "{}"),
        ('{"a":null ,"b":1}', [], [("a",), ("a",)], '{"b":1}'),
        ('{"a":1.10}', [(("a",), "7")], [], None),  # 1.1 for DuckDB
        ('{"a":1,"b":{"a":2}}', [(("a",), "7")], [], None),
        ('{"a" :1}', [(("a",), "7")], [], None),
        ("[]", [(("a",), "7")], [], None),
        (None, [(("a",), "7")], [], None),
    ],
)
def test_what_is_plain_is_patched_at_once(
    text: str | None, puts: list[tuple[tuple[str, ...], str]], takes: list[tuple[str, ...]], expected: str | None
) -> None:
    assert plainly_patched(pl.Series([text], dtype=pl.String), puts, takes).to_list() == [expected]


def test_all_of_duplicate_keys_are_taken_and_what_is_between_and_behind_them_stays() -> None:
    assert patched('{"k":1,"k":null,"a":2, "k":3,"b":4}', [], [("k",), ("none",)]) == '{"a":2, "b":4}'


@pytest.mark.parametrize("text", ["[1]", '"x"', "null", "7"])
def test_only_objects_are_patched(text: str) -> None:
    with pytest.raises(NoObject, match="no JSON object"):
        patched(text, [(("a",), "1")], [])
    with pytest.raises(NoObject, match="no JSON object"):
        patched(f'{{"a":{text}}}', [(("a", "b"), "1")], [])


@pytest.mark.parametrize(("stream", "why"), [("user-1", "its payload is no JSON"), ("mail-2", '"hello" is no JSON object')])
def test_a_payload_that_is_no_object_is_refused_with_its_event(now: Timeline, stream: str, why: str) -> None:
    fork = now.patch(stream=stream, type=["user.deleted", "mail.sent"], set={"a": 1})
    with pytest.raises(UsageError, match=rf"cannot change event [0-9] of stream '{stream}' \(.*{why}"):
        fork.events().collect()
    with pytest.raises(UsageError, match="cannot change event"):
        fork.count()


def test_a_payload_the_metadata_and_the_type_are_replaced(now: Timeline) -> None:
    fork = now.replace(position=80, data={"why": "asked"}, metadata={"$correlationId": "z"}, as_type="user.left")
    left = only(fork, position=80)
    assert (left["data"], left["data_bytes"], left["metadata"]) == ('{"why":"asked"}', None, '{"$correlationId":"z"}')
    assert (left["type"], left["correlation_id"], left["causation_id"], left["origin"]) == ("user.left", "z", None, "replaced")
    assert only(now.replace(position=80, data=None), position=80)["data"] == "null"


def test_an_inserted_event_stands_behind_what_had_been_recorded_by_then(now: Timeline) -> None:
    moment = at(50) + timedelta(seconds=5)
    fork = (
        now.insert(stream="user-1", type="late", at=moment, data={"n": 1})
        .insert(stream="user-1", type="early", at=at(50) + timedelta(seconds=1))
        .insert(stream="user-1", type="first", at=50)
    )
    there = fork.events().filter(position=50).collect()
    assert there["type"].to_list() == ["user.moved", "first", "early", "late"]
    assert there["sequence"].to_list() == [0, 1, 2, 3]
    assert there["prepare_position"].to_list() == [50, 51, 52, 53]
    late = only(fork, type="late")
    assert (late["category"], late["revision"], late["recorded_at"], late["origin"]) == ("user", 1, moment, "inserted")
    assert (late["data"], late["metadata"], late["metadata_bytes"], late["is_json"]) == ('{"n":1}', None, b"", True)
    assert fork.upto(at(50) + timedelta(seconds=1)).events().collect()["type"].to_list()[-2:] == ["first", "early"]
    assert fork.upto(moment).upto(at(50) + timedelta(seconds=1)).events().collect()["type"].to_list()[-1] == "early"
    assert fork.upto(position=50).count() == 8


def test_an_event_inserted_into_a_transaction_that_two_exports_hold_stands_behind_all_of_it() -> None:
    begun = 1_700_000_000_000_000
    history = [Recorded("thing-1", at, "thing.begun", 0, at, begun + at, data="{}", metadata=None) for at in range(7)]
    with lake_in_runs(history) as timeline:
        fork = timeline.insert(stream="thing-1", type="thing.ended", data={}, at=EPOCH + timedelta(microseconds=begun + 3))
        rows = fork.events().select("type", "prepare_position").collect()
    assert rows["type"].to_list() == ["thing.begun"] * 7 + ["thing.ended"]
    assert rows["prepare_position"].is_unique().all()


def test_ids_of_inserted_events_follow_from_the_lake_and_the_edit(now: Timeline) -> None:
    once = now.insert(stream="user-1", type="t", at=50)
    ids = once.insert(stream="user-1", type="t", at=50).events().filter(type="t").collect()["event_id"].to_list()
    assert len(set(ids)) == 2
    assert only(open_lake(now.log.path).timeline.insert(stream="user-1", type="t", at=50), type="t")["event_id"] == ids[0]
    assert uuid.UUID(ids[0]).version == 5
    own = "6B29FC40-CA47-1067-B31D-00DD010662DA"
    assert only(now.insert(stream="user-1", type="t", at=50, event_id=own), type="t")["event_id"] == own.lower()


def test_a_retimed_event_moves_in_the_log_and_keeps_its_id(now: Timeline) -> None:
    fork = now.retime(type="user.deleted", by="-25s")
    moved = only(fork, type="user.deleted")
    assert (moved["position"], moved["sequence"], moved["revision"], moved["origin"]) == (50, 1, 2, "retimed")
    assert moved["recorded_at"] == at(80) - timedelta(seconds=25)
    assert moved["recorded_ticks"] == LOG[7]["recorded_ticks"] - 250_000_000
    assert moved["event_id"] == LOG[7]["event_id"]
    back = fork.retime(type="user.deleted", by="25s")
    assert back.events().collect().equals(now.drop(stream="nobody").events().collect())
    assert only(now.retime(position=80, to=at(20)), type="user.deleted")["position"] == 20
    assert only(now.retime(position=10, by="-1d"), sequence=1)["position"] == -1


def test_later_edits_see_what_earlier_ones_left(now: Timeline) -> None:
    fork = (
        now.insert(stream="user-3", type="user.created", at=at(60), data={"amount": 5})
        .patch(stream="user-3", set={"amount": 500})
        .replace(where=event.data["amount"] > 400, as_type="user.rich")
        .retime(type="user.rich", by="10s")
    )
    rich = only(fork, type="user.rich")
    assert (rich["data"], rich["position"], rich["origin"]) == ('{"amount":500}', 70, "inserted")
    assert fork.drop(type="user.rich").events().collect().equals(now.drop(stream="nobody").events().collect())
    assert [effect.matched for effect in fork.effects] == [1, 1, 1, 1]


def test_events_of_the_system_are_left_alone(tmp_path: Path) -> None:
    rows = [row(10, "user-1"), row(20, "$$user-1", type="$metadata", data='{"$maxCount": 1}'), row(30, "user-2"), tombstone(40, "user-2")]
    now = lake_of(tmp_path, rows).timeline
    assert now.drop(stream="*").with_system().events().collect()["position"].to_list() == [20, 40]
    assert now.truncate(stream="user-2").with_system().events().collect()["position"].to_list() == [10, 20, 40]
    assert only(now.insert(stream="user-2", type="t", at=40), type="t")["revision"] == 0
    assert positions(now.insert(stream="user-2", type="t", at=40).visible()) == [10]


def test_categories_by_the_last_dash_are_those_of_inserted_events_too(tmp_path: Path) -> None:
    lake_of(tmp_path, [row(10, "order-eu-7")])
    now = open_lake(tmp_path, category="last").timeline.insert(stream="order-eu-8", type="t", at=10)
    assert now.events().collect()["category"].to_list() == ["order-eu", "order-eu"]
    assert now.drop(category="order-eu").count() == 0


def test_late_counts_stamps_behind_the_cutoff_in_a_fork(tmp_path: Path) -> None:
    now = lake_of(tmp_path, [row(10, "user-1"), row(20, "user-1", revision=1, ticks=17_672_256_900_000_000), row(30, "user-2")]).timeline
    cutoff = "2026-01-01T00:00:30Z"
    assert now.upto(cutoff).late == 1
    assert now.drop(position=20).upto(cutoff).late == 0
    assert now.patch(position=20, set={"a": 1}).upto(cutoff).late == 1
    assert now.retime(position=30, by="1h").upto(cutoff).late == 1


# What is said


def test_it_is_said_what_matches_nothing_and_what_comes_before_its_stream(now: Timeline) -> None:
    fork = (
        now.drop(type="user.banned")
        .insert(stream="mail-1", type="mail.queued", at=20)
        .insert(stream="mial-1", type="mail.queued", at=20)
        .retime(type="mail.opened", by="-65s")
        .insert(stream="user-1", type="t", at=COMPLETE + timedelta(days=1))
    )
    assert [(effect.matched, effect.notes) for effect in fork.effects] == [
        (0, ("matches no event",)),
        (1, ("puts an event before its stream began, at position 40",)),
        (1, ("begins the stream 'mial-1', of which nothing was recorded",)),
        (1, ("puts 1 event before its stream began",)),
        (1, ("lies after the last export, and what was recorded by then is not known",)),
    ]


def test_a_fork_carries_and_prints_its_basis(now: Timeline) -> None:
    fork = now.drop(stream="user-2").upto(position=50)
    assert str(fork) == "up to position 50, without system events, what if drop(stream='user-2')"
    assert fork.describe().edits == ("drop(stream='user-2')",)
    assert fork.describe().events == 4
    assert now.describe().edits == ()
    assert now.upto(position=50).drop(stream="user-2") == fork


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("drop", {}, "must say which events"),
        ("drop", {"strem": "a"}, r"drop\(\) has no argument 'strem'; it takes stream, category, type, after, .*, where, cascade\.$"),
        ("truncate", {"stream": "a", "cascade": "causation"}, r"truncate\(\) has no argument 'cascade'; it takes stream, .*, where\.$"),
        ("retime", {"type": "a", "by": "1h", "as_type": "b"}, r"it takes stream, .*, where, by, to\.$"),
        ("drop", {"stream": "$$user-1"}, "cannot be edited"),
        ("drop", {"stream": []}, "is empty"),
        ("drop", {"stream": ""}, "expects a name"),
        ("drop", {"stream": "a", "cascade": "both"}, "'causation' or 'correlation'"),
        ("drop", {"where": pl.col("a") > 1}, "is not a condition: write one like 'data.amount > 100'"),
        ("drop", {"event_id": "42"}, "expects a UUID"),
        ("drop", {"position": "x"}, "whole number"),
        ("drop", {"after": "2026-01-01T00:00:00"}, "no time zone"),
        ("patch", {"stream": "a"}, "needs set= or unset="),
        ("patch", {"stream": "a", "unset": "trial"}, "a list of names"),
        ("patch", {"stream": "a", "set": {"a..b": 1}}, "not a field name"),
        ("patch", {"stream": "a", "set": {"a": float("nan")}}, "expects a JSON value"),
        ("patch", {"stream": "a", "set": {"a": datetime(2026, 1, 1)}}, "no time zone"),  # noqa: DTZ001  # the case
        ("replace", {"stream": "a"}, "needs a replacement"),
        ("replace", {"stream": "a", "as_type": "$gone"}, "cannot be edited"),
        ("insert", {"stream": "a", "type": "$>", "at": 1}, "cannot be edited"),
        ("insert", {"stream": "a", "type": "t", "at": 1, "data": {1: 2}}, "expects a JSON value"),
        ("retime", {"stream": "a"}, "by=, a duration"),
        ("retime", {"stream": "a", "by": "1 fortnight"}, "not a duration"),
        ("retime", {"stream": "a", "to": 7}, "expects a time as to="),
    ],
)
def test_edits_that_mean_nothing_are_refused_when_they_are_said(method: str, arguments: dict[str, Any], message: str) -> None:
    blind: Any = object()
    with pytest.raises(UsageError, match=message):
        getattr(Timeline(log=blind), method)(**arguments)


def test_edits_that_cannot_be_done_are_refused_when_they_are_executed(now: Timeline) -> None:
    with pytest.raises(UsageError, match="is about 2 events"):
        now.retime(type="user.created", to="2026-01-01").count()
    with pytest.raises(UsageError, match="leaves the years 1 to 9999"):
        now.retime(type="user.created", by="-800000d").count()
    with pytest.raises(InvalidTime):
        now.retime(type="user.created", to="yesterday")
    with pytest.raises(QueryError, match="no column 'origin'"):
        now.sql("SELECT origin FROM events")


def test_an_empty_lake_can_be_forked(tmp_path: Path) -> None:
    with open_writer(tmp_path):
        pass
    fork = open_lake(tmp_path).timeline.insert(stream="user-1", type="t", at="2026-01-01")
    assert only(fork, type="t")["position"] == -1
    with pytest.raises(UsageError, match="give a time"):
        fork.insert(stream="user-1", type="t", at=5).count()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-1h", timedelta(hours=-1)),
        ("1d 12h", timedelta(hours=36)),
        ("-1h30m", timedelta(minutes=-90)),
        ("0.5s", timedelta(seconds=0.5)),
        ("2w", timedelta(weeks=2)),
        ("PT90M", timedelta(minutes=90)),
        ("-P1DT1H", timedelta(hours=-25)),
        ("+1m", timedelta(minutes=1)),
    ],
)
def test_spans_of_time_are_read(text: str, expected: timedelta) -> None:
    assert span_of(text) == expected


def test_dots_of_a_name_are_written_with_a_backslash(now: Timeline) -> None:
    fork = now.patch(position=10, set={"a\\.b": 1, "c": {"d": [None, True, "é", datetime(2026, 1, 1, tzinfo=UTC)]}})
    data = only(fork, position=10)["data"]
    assert data == '{"name": "Ann", "amount": 1.10,"a.b":1,"c":{"d":[null,true,"é","2026-01-01T00:00:00Z"]}}'
    assert str(fork.edits[0]).startswith("patch(position=10, set={'a\\\\.b': 1")
