"""The vectorised kernel is held equal to the event-by-event engine, bit for bit."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lake.histories import checkpoint_at, open_writer, row, table
from tests.laws import at_least
from tests.replay.logs import timeline_of
from tests.strategies import Recorded, declared, frame, handlers, histories, projections
from workbench.errors import ReplayError, ValueDoesNotFit
from workbench.fold import vectorised
from workbench.fold.event_by_event.function_fold import Fold, fold_function
from workbench.fold.event_by_event.plan_fold import fold, stepped
from workbench.fold.results import FoldResult
from workbench.fold.vectorised.engine import Engine
from workbench.fold.vectorised.extraction_layout import ExtractionLayout
from workbench.fold.vectorised.json_columns import instants
from workbench.lake import open_lake
from workbench.lake.reading import extract
from workbench.projection import Digits, Json, Projection, event, on, plan_of, upcast
from workbench.projection.plan import Plan
from workbench.projection.rows import ROW
from workbench.projection.values import instant_of

law = settings(max_examples=at_least(40))


def _assert_same(expected: FoldResult, actual: FoldResult) -> None:
    assert _bits(expected.state) == _bits(actual.state)
    if expected.history is not None and actual.history is not None:
        assert _bits(expected.history) == _bits(actual.history)
    assert expected.counts == actual.counts
    assert _bits(expected.failures) == _bits(actual.failures)


def _bits(rows: pl.DataFrame) -> tuple[Any, list[tuple[str, ...]]]:
    return rows.schema, [tuple(map(repr, row)) for row in rows.rows()]


@contextmanager
def _chunks_of(rows: int, *, apart: int = 1) -> Iterator[None]:
    """Read so many rows of the log at a time, and so many where ranges of streams will do."""
    with mock.patch.object(extract, "CHUNK_ROWS", rows), mock.patch.object(extract, "APART_ROWS", apart):
        yield


_CHUNKS = st.sampled_from([(1, 1), (1_000_000, 1), (1_000_000, 1_000_000)])


@contextmanager
def _no_other_engine() -> Iterator[None]:
    """Fail if an entity is handed over to the event-by-event engine."""
    with mock.patch.object(Engine, "_hand_over", side_effect=AssertionError("handed over")):
        yield


@law
@given(projections(), histories(max_size=40), st.integers(1, 4), _CHUNKS, st.none() | st.integers(0, 9))
def test_state_history_counts_and_failures_are_those_of_the_event_by_event_engine(
    projection: type[Projection], history: list[Recorded], runs: int, chunks: tuple[int, int], seed: int | None
) -> None:
    plan, log = plan_of(projection), frame(history)
    timeline = timeline_of(log, runs=runs, seed=seed)
    expected = fold(plan, log, history=True, errors="collect")
    with _chunks_of(chunks[0], apart=chunks[1]):
        _assert_same(expected, vectorised.history(plan, timeline, errors="collect").result)
        _assert_same(expected, vectorised.state(plan, timeline, errors="collect").result)


@law
@given(st.data(), histories(max_size=60), st.integers(1, 3))
def test_entities_whose_values_all_fit_are_the_same(data: st.DataObject, history: list[Recorded], runs: int) -> None:
    """Histories of many events of few kinds: most of what the others draw is folded by the other engine."""
    fields = data.draw(
        st.lists(st.sampled_from(["name", "size", "ratio", "balance", "roles", "tags"]), min_size=1, max_size=4, unique=True)
    )
    handled = [data.draw(handlers(event_type=kind, fields=fields)) for kind in ("thing.begun", "thing.changed", "thing.ended")]
    plan = plan_of(declared(fields, handled))
    payloads = [
        '{"name":"Ann","size":3,"ratio":0.1,"balance":1.10}',
        '{"name":null,"size":-2,"roles":["x","y"]}',
        '{"roles":"x","tags":"t"}',
        "{}",
    ]
    log = frame([replace(one, data=data.draw(st.sampled_from(payloads))) for one in history])
    with _chunks_of(1):
        actual = vectorised.history(plan, timeline_of(log, runs=runs), errors="collect").result
    _assert_same(fold(plan, log, history=True, errors="collect"), actual)


@settings(law, max_examples=at_least(100))
@given(st.data(), projections(), histories(max_size=20), st.integers(1, 3), _CHUNKS)
def test_marks_are_the_states_around_the_first_applied_event_that_is_pointed_at(
    data: st.DataObject, projection: type[Projection], history: list[Recorded], runs: int, chunks: tuple[int, int]
) -> None:
    plan, log = plan_of(projection), frame(history)
    places = [(one.position, one.prepare_position) for one in history]
    pointed = data.draw(st.sets(st.sampled_from(places))) if places else set()
    layout = ExtractionLayout.of(plan, key=None)
    engine = Engine(plan, layout, key=None, keeps_history=False, errors="collect", timings=vectorised.Timings())
    marks = engine.mark()
    with _chunks_of(chunks[0], apart=chunks[1]):
        timeline = timeline_of(log, runs=runs)
        for chunk in timeline.log.extract(timeline, layout.extraction).chunks():
            rows = chunk.rows.select(["position", "prepare_position"]).to_pylist()
            here = np.array([tuple(row.values()) in pointed for row in rows], dtype=np.bool_)
            assert not list(engine.take(chunk, pointed=here))
    whole = fold(plan, log, history=True, errors="collect")
    assert whole.history is not None
    assert _bits(engine.result(Counter()).state) == _bits(whole.state)
    unknown, found = set(marks.unknown()), marks.found()
    ours = log.filter(pl.col("category").is_in(plan.categories))
    fields = [field.name for field in plan.fields]
    for key in {*whole.history["key"], *found["key"]} - unknown:
        mark = found.filter(key=key)
        applied = [
            (step.row[ROW.index("position")], step.row[ROW.index("prepare_position")])
            for step in stepped(plan, [ours], key=key, is_all_ours=False, errors="collect")
            if step.became == "applied"
        ]
        expected = [place for place in applied if place in pointed][:1]
        assert mark.select("position", "prepare_position").rows() == expected
        for place in expected:
            assert plan.types[mark["code"][0]].type == history[places.index(place)].type
            for name, length in (("before", places.index(place)), ("after", places.index(place) + 1)):
                state = fold(plan, frame(history[:length]), errors="collect").state.filter(key=key).select(fields)
                assert mark[f"there_{name}"].to_list() == [bool(state.height)]
                if state.height and fields:
                    assert _bits(mark[name].struct.unnest()) == _bits(state)


@law
@given(projections(), histories(), st.integers(1, 3), _CHUNKS)
def test_the_first_value_that_does_not_fit_is_named_as_by_the_other_engine(
    projection: type[Projection], history: list[Recorded], runs: int, chunks: tuple[int, int]
) -> None:
    plan, log = plan_of(projection), frame(history)
    timeline = timeline_of(log, runs=runs)
    with _chunks_of(chunks[0], apart=chunks[1]):
        assert _said(lambda: fold(plan, log)) == _said(lambda: vectorised.state(plan, timeline))


@law
@given(projections(), histories(), st.integers(0, 25))
def test_a_replay_goes_on_from_an_earlier_one(projection: type[Projection], history: list[Recorded], cut: int) -> None:
    plan = plan_of(projection)
    first = fold(plan, frame(history[:cut]), errors="collect")
    later = frame(history[cut:])
    expected = fold(plan, later, initial=first.state, errors="collect")
    _assert_same(expected, vectorised.state(plan, timeline_of(later), initial=first.state, errors="collect").result)


@law
@given(projections(), histories())
def test_the_replay_of_one_entity_is_its_part_of_the_replay_of_all(projection: type[Projection], history: list[Recorded]) -> None:
    plan, timeline = plan_of(projection), timeline_of(frame(history))
    whole = vectorised.history(plan, timeline, errors="collect").result
    assert whole.history is not None
    for key in ["1", "2", "x-y", "nobody"]:
        one = vectorised.history(plan, timeline, key=key, errors="collect").result
        assert one.history is not None
        assert _bits(whole.state.filter(pl.col("key") == key)) == _bits(one.state)
        assert _bits(whole.history.filter(pl.col("key") == key)) == _bits(one.history)


def _said(replay: Callable[[], object]) -> str | None:
    """Return the sentence with which a replay stops; None if it does not."""
    try:
        replay()
    except ReplayError as error:
        return str(error)
    return None


class Account(Projection, category="account"):
    owner: str | None
    balance: Annotated[Decimal, Digits(20, scale=4)] = Decimal(0)
    rate: float = 0.0
    moves: int = 0
    least: str | None
    tags: set[str]
    last: list[int]
    extra: Json | None

    handlers = (
        on("opened").create("owner"),
        on("moved").add(balance=event.data["amount"], rate=event.data["rate"], moves=1).min(least=event.data["tag"]),
        on("moved").include(tags=event.data["tag"]).append(keep=3, last=event.data["n"]).set(extra=event.data["extra"]),
        on("closed").delete(),
    )


def _accounts(count: int, *, accounts: int = 3) -> list[dict[str, Any]]:
    rows = []
    revisions: dict[str, int] = {}
    for number in range(count):
        stream = f"account-{number * 7 % accounts}"
        revision = revisions[stream] = revisions.get(stream, -1) + 1
        kind = "opened" if revision % 90 == 0 else "closed" if revision % 90 == 89 else "moved"
        payload = {
            "owner": f'Zoë "{number}"',
            "amount": number / 8,
            "rate": 0.1 * number,
            "tag": f"t{number % 5}",
            "n": number,
            "extra": [number],
        }
        rows.append(row(number * 100, stream, revision=revision, type=kind, data=json.dumps(payload, ensure_ascii=number % 2 == 0)))
    return rows


def _events(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(table(rows))


def test_plain_values_need_no_other_engine() -> None:
    log = _events(_accounts(1_000))
    plan = plan_of(Account)
    with _no_other_engine(), _chunks_of(1):
        actual = vectorised.history(plan, timeline_of(log, runs=7)).result
    _assert_same(fold(plan, log, history=True), actual)


@pytest.mark.parametrize("clustered", [False, True])
def test_a_lake_gives_the_same_at_any_position(tmp_path: Path, *, clustered: bool) -> None:
    rows = _accounts(600, accounts=11)
    with open_writer(tmp_path) as writer:
        for first in range(0, len(rows), 75):
            piece = rows[first : first + 75]
            writer.append(table(piece), checkpoint_at(piece[-1]))
        if clustered:
            assert writer.cluster().epochs
    plan, lake = plan_of(Account), open_lake(tmp_path)
    for position in [0, 5_000, 29_950, 60_000]:
        past = lake.timeline.upto(position=position, stale=True)
        with _chunks_of(100):
            actual = vectorised.history(plan, past).result
        _assert_same(fold(plan, past.events().collect(), history=True), actual)


def test_an_epoch_is_read_in_ranges_of_streams(tmp_path: Path) -> None:
    rows = _accounts(600, accounts=11)
    with open_writer(tmp_path) as writer, mock.patch("workbench.lake.files.file_writer.ROW_GROUP_ROWS", 50):
        writer.append(table(rows), checkpoint_at(rows[-1]))
    timeline, plan = open_lake(tmp_path).timeline, plan_of(Account)
    with mock.patch.object(extract, "APART_ROWS", 100):
        layout = ExtractionLayout.of(plan, key=None)
        chunks = list(timeline.log.extract(timeline, layout.extraction).chunks())
        actual = vectorised.history(plan, timeline).result
    assert [False] * (len(chunks) - 1) + [True] == [chunk.ends for chunk in chunks]
    assert len(chunks) > 3
    assert sum(chunk.rows.num_rows for chunk in chunks) == 600
    _assert_same(fold(plan, timeline.events().collect(), history=True), actual)


class Odd(Projection, category="odd"):
    text: str | None
    star: str | None
    amount: Annotated[Decimal, Digits(30, scale=17)] | None
    total: int = 0
    size: float | None

    handlers = (
        on("changed").set(text=event.data["text"], amount=event.data["amount"], size=event.data["size"]),
        on("added").add(total=event.data["n"]),
        on("starred").set(star=event.data["*"]),
        on("emptied").set(star=event.data[""]),
    )


@pytest.mark.parametrize(
    ("kind", "payloads"),
    [
        ("changed", ['{"text":"a"}', '{"other":"\\ud800","text":"b"}']),
        ("changed", ['{"text":"a"}', '{"text":"b\\ud800"}']),
        # DuckDB's complaint quotes the payload, cut within a character.
        *(("changed", [f'{{"other":"\\ud800{"x" * more}{"日本" * 100}"}}']) for more in range(3)),
        *(("changed", [f'{{"other":"{"日本" * 100}{"x" * more}\\ud800"}}']) for more in range(3)),
        ("changed", ['{"amount":0.1}', '{"amount":0.1000000000000000055}']),
        ("changed", ['{"deep":{"amount":0.1},"amount":0.1000000000000000055}']),
        ("changed", ['{"\\u0061mount":0.1000000000000000055}']),
        ("changed", ['{"amount" : 1e-20}', '{"amount":12345678901234567890.5}']),
        ("changed", ['{"amount":0.0000001}', '{"amount":123456789.123456}', '{"amount":9007199254740993}']),
        ("changed", ['{"size":123456789012345678901234567890}', '{"size":-0.0}', '{"size":5e-324}']),
        ("added", ['{"n":9223372036854775807}', '{"n":-9223372036854775808}', '{"n":1}']),
        ("added", ['{"n":1.0}', '{"n":1e3}', '{"n":-0}', '{"n":9007199254740992.0}']),
        ("starred", ['{"*":"x","y":"z"}', '{"y":"z"}']),
        ("emptied", ['{"":"x"}', '{"y":"z"}']),
    ],
)
def test_what_the_extraction_cannot_tell_is_read_from_the_payload(kind: str, payloads: list[str]) -> None:
    rows = [row(number * 10, "odd-1", revision=number, type=kind, data=data) for number, data in enumerate(payloads)]
    plan, log = plan_of(Odd), _events(rows)
    actual = vectorised.history(plan, timeline_of(log), errors="collect").result
    _assert_same(fold(plan, log, history=True, errors="collect"), actual)


class Deep(Projection, category="odd", key=event.data["key"]):
    total: int = 0
    handlers = (on("added").add(total=event.data["n"]),)


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("projection", [Odd, Deep])
def test_a_payload_that_is_nested_too_deeply_to_be_read_is_an_error(projection: type[Projection]) -> None:
    # By itself depth is no matter, as what is wanted is extracted; half a surrogate pair makes the whole of it be read.
    rows = [
        row(10, "odd-1", type="added", data='{"key":1,"n":1}'),
        row(20, "odd-1", revision=1, type="added", data=f'{{"key":1,"n":2,"half":"\\ud800","deep":{DEEP}}}'),
        row(30, "odd-1", revision=2, type="added", data='{"key":1,"n":4}'),
    ]
    log = _events(rows)
    with pytest.raises(ValueDoesNotFit, match="nested too deeply; in event 1 of stream 'odd-1'"):
        vectorised.state(plan_of(projection), timeline_of(log))
    for key in (None, "1"):
        actual = vectorised.history(plan_of(projection), timeline_of(log), key=key, errors="collect").result
        assert actual.state["total"].to_list() == [5]
        _assert_same(fold(plan_of(projection), log, history=True, errors="collect"), actual)


def test_what_is_retyped_may_be_nested_deeply() -> None:
    class Retyped(Projection, category="odd"):
        total: int = 0
        upcasters = (upcast("added").retype(n=int),)
        handlers = (on("added").where(event.data["n"] == 1).add(total=event.data["n"]),)

    log = _events([row(10, "odd-1", type="added", data='{"n":"1"}'), row(20, "odd-1", revision=1, type="added", data=f'{{"n":{DEEP}}}')])
    assert vectorised.state(plan_of(Retyped), timeline_of(log)).result.state["total"].to_list() == [1]


def test_only_what_is_read_of_an_event_has_to_be_readable() -> None:
    class Noted(Projection, category="odd"):
        total: int = 0
        handlers = (on("noted").add(total=event.metadata["n"]),)

    log = _events([row(10, "odd-1", type="noted", data=f'{{"half":"\\ud800","deep":{DEEP}}}', metadata='{"n":3,"half":"\\ud800"}')])
    actual = vectorised.history(plan_of(Noted), timeline_of(log)).result
    assert actual.state["total"].to_list() == [3]
    _assert_same(fold(plan_of(Noted), log, history=True), actual)


def test_a_sum_that_leaves_int64_is_an_error() -> None:
    rows = [row(number * 10, "odd-1", revision=number, type="added", data=f'{{"n":{2**62}}}') for number in range(3)]
    log = _events(rows)
    with pytest.raises(ValueDoesNotFit, match="leaves int64; in event 1 of stream 'odd-1'"):
        vectorised.state(plan_of(Odd), timeline_of(log))
    collected = vectorised.state(plan_of(Odd), timeline_of(log), errors="collect").result
    assert collected.state["total"].to_list() == [2**62]
    assert collected.counts.failed == 2


class Club(Projection, category="club"):
    members: set[str]
    board: set[str]
    visits: list[int]

    handlers = (
        on("joined").include(members=event.data["who"], board=event.data["chair"]).append(keep=150, visits=event.data["n"]),
        on("left").exclude(members=event.data["who"], board=event.data["chair"]).append(keep=90, visits=event.data["n"]),
        on("merged").set(members=event.data["who"], board=event.data["board"], visits=event.data["n"]),
        on("closed").delete(),
    )


def _clubs(seed: int, count: int) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    revisions: Counter[str] = Counter()
    rows = []
    for number in range(count):
        stream = f"club-{chance.randrange(3)}"
        kind = chance.choices(["joined", "left", "merged", "closed"], [90, 20, 1, 0.5])[0]
        people = [f"p{chance.randrange(400):03}" for _ in range(chance.choice([1, 1, 1, 2, 20]))]
        payload: dict[str, Any] = {"who": people if kind == "merged" or len(people) > 1 else people[0], "n": [number]}
        if kind == "merged":
            payload["board"] = [f"b{seat:03}" for seat in range(100)]
        if chance.random() < 0.5:
            payload["chair"] = f"b{chance.randrange(90, 104):03}"
        rows.append(row(number * 100, stream, revision=revisions[stream], type=kind, data=json.dumps(payload)))
        revisions[stream] += 1
    return rows


@pytest.mark.parametrize("seed", range(2))
def test_sets_and_lists_with_hundreds_of_elements_are_the_same(seed: int) -> None:
    log, plan = _events(_clubs(seed, 1_500)), plan_of(Club)
    expected = fold(plan, log, history=True)
    assert expected.history is not None
    assert (expected.history["members"].list.len() > 150).any()
    for rows in (100, 1_000_000):
        with _no_other_engine(), _chunks_of(rows):
            _assert_same(expected, vectorised.history(plan, timeline_of(log, runs=5)).result)
            _assert_same(expected, vectorised.state(plan, timeline_of(log, runs=5)).result)


@pytest.mark.parametrize("people", ["different", "few"])
def test_a_set_and_a_list_that_grow_cost_no_more_than_their_events(people: str) -> None:
    """At the square of their size, as before, this would take ten minutes."""

    class Room(Projection, category="room"):
        members: set[str]
        log: list[int]

        handlers = (
            on("filled").set(members=event.data["who"]),
            on("joined").include(members=event.data["who"]).append(keep=1_000_000, log=event.data["n"]),
            on("left").exclude(members=event.data["who"]),
        )

    count, several = 60_000, 12
    names = [f"p{number if people == 'different' else number % several}" for number in range(count)]
    first = row(1, "room-1", revision=0, type="filled", data=json.dumps({"who": [f"q{number}" for number in range(count)]}))
    kinds = ["joined" if people == "different" or number // 7 % 2 else "left" for number in range(count)]
    joins = [
        row(number + 2, "room-1", revision=number + 1, type=kinds[number], data=f'{{"who":"{name}","n":{number}}}')
        for number, name in enumerate(names)
    ]
    log = _events([first, *joins])
    began = time.process_time()
    state = vectorised.state(plan_of(Room), timeline_of(log)).result.state
    assert time.process_time() - began < 60
    members = {f"q{number}" for number in range(count)}
    for kind, name in zip(kinds, names, strict=True):
        (members.add if kind == "joined" else members.discard)(name)
    assert state["members"][0].to_list() == sorted(members)
    assert state["log"][0].to_list() == [number for number in range(count) if kinds[number] == "joined"]


def test_the_first_failure_of_the_log_is_named_whatever_its_stream() -> None:
    payloads = ['{"n":1}', '{"n":"late in name, early in the log"}', '{"n":"early in name, late in the log"}']
    streams = ["odd-1", "odd-2", "odd-1"]
    rows = [row(number * 10, streams[number], revision=number, type="added", data=data) for number, data in enumerate(payloads)]
    with _chunks_of(1_000_000), pytest.raises(ValueDoesNotFit, match="early in the log"):
        vectorised.state(plan_of(Odd), timeline_of(_events(rows)))


def test_a_stream_without_a_key_is_an_error_and_hurts_no_other_if_collected() -> None:
    rows = [
        row(10, "odd-1", type="added", data='{"n":1}'),
        row(20, "odd", type="added", data='{"n":1}'),
        row(30, "odd-2", type="added", data='{"n":1}'),
    ]
    plan, log = plan_of(Odd), _events(rows)
    with pytest.raises(ValueDoesNotFit, match="declare key="):
        vectorised.state(plan, timeline_of(log))
    collected = vectorised.state(plan, timeline_of(log), errors="collect").result
    assert collected.state["key"].to_list() == ["1", "2"]
    _assert_same(fold(plan, log, errors="collect"), collected)


class Tagged(Projection, category="odd", key=event.metadata["tags"]):
    total: int = 0

    handlers = (on("added").add(total=event.data["n"]),)


@pytest.mark.parametrize(("written", "what"), [('["a", "b"]', "a list"), ("[]", "a list"), ('{"a": 1}', "an object")])
@pytest.mark.parametrize("data", ['{"n":1}', '{"n":1, "n":2, "m":1e400}'])
def test_a_key_that_is_a_list_or_an_object_is_an_error_and_hurts_no_other_if_collected(written: str, what: str, data: str) -> None:
    """An event without a key is only counted; here no row would come, and nobody would know why."""
    tags = ['"a"', written, "null", "7", written]
    rows = [row(10 * at, f"odd-{at}", type="added", data=data, metadata=f'{{"tags":{tag}}}') for at, tag in enumerate(tags, 1)]
    plan, log = plan_of(Tagged), _events(rows)
    said = f"it is {what}, but the key of an entity is a text or a whole number"
    timeline = timeline_of(log)
    for ask in (lambda: vectorised.state(plan, timeline), lambda: fold(plan, log)):
        with pytest.raises(ValueDoesNotFit, match=f"{said}; in event 0 of stream 'odd-2'"):
            ask()
    collected = vectorised.history(plan, timeline, errors="collect").result
    assert collected.state["key"].to_list() == ["7", "a"]
    assert (collected.counts.keyless, collected.counts.failed) == (1, 2)
    _assert_same(fold(plan, log, history=True, errors="collect"), collected)
    by_function = Fold(lambda state, _: (state or 0) + 1, category="odd", key=event.metadata["tags"])
    with pytest.raises(ReplayError, match=said):
        fold_function(by_function, log)


def test_function_upcasters_are_left_to_the_other_engine() -> None:
    class Lifted(Projection, category="odd"):
        text: str | None
        handlers = (on("changed").set(text=event.data["text"]),)
        upcasters = (upcast("changed").apply(lambda data, metadata: data),)

    assert not vectorised.supports(plan_of(Lifted))
    assert vectorised.supports(plan_of(Odd))


def test_nothing_at_all_gives_empty_results() -> None:
    plan: Plan = plan_of(Account)
    log = _events([])
    result = vectorised.history(plan, timeline_of(log)).result
    _assert_same(fold(plan, log, history=True), result)


def test_dates_that_do_not_exist_are_instants_to_neither_engine() -> None:
    tails = ("T10:00:00Z", "T10:00:00.123Z", "T10:00:00.123456Z", "T23:59:60Z", "T24:00:00Z", "T10:00:00+02:00", " 10:00:00Z", "")
    days = [(year, month, day) for year in (0, 1, 1900, 2000, 2023, 2024, 9999) for month in range(14) for day in range(33)]
    written = [f"{year:04}-{month:02}-{day:02}{tail}" for year, month, day in days for tail in tails]
    values, fits = instants(pl.Series([f'"{text}"' for text in written]))
    found = [value if fit else None for value, fit in zip(values.tolist(), fits.tolist(), strict=True)]
    assert found == [instant_of(text) for text in written]
    assert not fits[written.index("2023-02-30T10:00:00Z")]
