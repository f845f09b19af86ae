"""Whoever decides a condition decides it alike: the fold of event by event, that of columns, the edits, and the questions about states."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.conditions.texts import ABSENT, Asked, Instant, Name, Read, combined, comparisons, decoded, inside, missing, payload_of
from tests.laws import at_least
from tests.replay.asking import engine, lake_of
from tests.strategies import OLD_TYPES, TYPES, UNHANDLED, Recorded, frame, histories
from workbench import Json, Projection, event, on
from workbench.lake.forks.payload_conditions import holding
from workbench.projection.event_conditions import where
from workbench.scenarios.measures import Measure, measured

law = settings(max_examples=at_least(25))

NUMBERS = [0, 1, -1, 7, 42, 2.5, 0.5, 1e3, 2**63 - 1, -(2**63), 0.1, 9007199254740993]
TEXTS = ["Ann", "", "Zoë", "a b c", "7", "true", "O'Hara", "日本", "\U0001f600", "2026-03-01T09:00:00Z"]
BOOLEANS = [True, False]
MOMENTS = [Instant(at) for at in (1_772_355_600_000_000, -62_135_596_800_000_000, 1_772_350_200_123_456, 1_700_000_000_000_000)]
KINDS: list[list[Any]] = [NUMBERS, TEXTS, BOOLEANS, MOMENTS]


def column(name: str) -> Read:
    def read(one: Recorded) -> Any:
        match name:
            case "category":
                return one.stream.partition("-")[0]
            case "correlation_id":
                return "c" if one.metadata is not None and "$correlationId" in one.metadata else ABSENT
            case "recorded_at":
                return Instant(one.recorded_at)
        return getattr(one, name)

    return read


PATHS = [
    *((f"data.{name}", payload_of("data", name)) for name in ("size", "name", "ratio", "active", "seen", "roles", "extra", "k")),
    ('data."size"', payload_of("data", "size")),
    ("data . deep . name", payload_of("data", "deep", "name")),
    ("data.roles[0]", payload_of("data", "roles", 0)),
    ("data[1]", payload_of("data", 1)),
    ("data", payload_of("data")),
    ("metadata.v", payload_of("metadata", "v")),
    ("metadata.$correlationId", payload_of("metadata", "$correlationId")),
]
COLUMNS: list[Name] = [
    ("revision", column("revision"), [[0, 1, 2, 1.5]]),
    ("position", column("position"), [[0, 10, 30, 100]]),
    ("stream", column("stream"), [["thing-1", "thing-2", "thing-x-y", "s"]]),
    ("category", column("category"), [["thing", "other"]]),
    ("type", column("type"), [[*TYPES, UNHANDLED, "u"]]),
    ("correlation_id", column("correlation_id"), [["c", "d"]]),
    ("recorded_at", column("recorded_at"), [[Instant(1_700_000_000_000_000 + more) for more in (-4_000, 0, 1, 1_001)]]),
]
NAMES: list[Name] = [*((text, read, KINDS) for text, read in PATHS), *COLUMNS]
CONDITIONS = combined(st.one_of(comparisons(NAMES), missing(NAMES, exists=True)))


@law
@given(CONDITIONS, histories(max_size=20))
def test_a_condition_on_an_event_is_what_the_language_says_whoever_asks(condition: Asked, history: list[Recorded]) -> None:
    expected = [condition.truth(one) for one in history]
    assert holding(frame(history), where(condition.text).condition).to_list() == [one is True for one in expected]
    assert holding(frame(history), where(f"not ({condition.text})").condition).to_list() == [one is False for one in expected]
    ids = [f"00000000-0000-0000-0000-{one.prepare_position:012d}" for one in history]
    handled = (*TYPES, *OLD_TYPES, UNHANDLED)

    class Held(Projection, category=("thing", "other"), key=event.event_id):
        handlers = tuple(on(type_).where(condition.text).create() for type_ in handled)

    with lake_of(history) as timeline:
        kept = timeline.drop(where=condition.text).events().collect()
        assert kept["event_id"].to_list() == [one for one, holds in zip(ids, expected, strict=True) if holds is not True]
        if not history:
            return
        for columns in (True, False):
            with engine(columns=columns):
                found = wb.state(Held, timeline)
            assert sorted(found["key"]) == sorted(one for one, holds in zip(ids, expected, strict=True) if holds is True)


class Thing(Projection, category="thing"):
    name: str | None
    size: int | None
    ratio: float | None
    active: bool | None
    seen: datetime | None
    handlers = tuple(on(type_).create("name", "size", "ratio", "active", "seen") for type_ in TYPES)


def field(name: str) -> Read:
    def read(row: dict[str, Any]) -> Any:
        value = row[name]
        return Instant(round((value - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6)) if isinstance(value, datetime) else value

    return read


FIELDS: list[Name] = [
    ("name", field("name"), [TEXTS]),
    ("size", field("size"), [[one for one in NUMBERS if type(one) is int]]),
    ("ratio", field("ratio"), [[0.5, 2.5, 1e3, 0.1, 0.0]]),
    ('"active"', field("active"), [BOOLEANS]),
    ("seen", field("seen"), [MOMENTS[:1] + MOMENTS[3:]]),
]
ON_STATES = combined(st.one_of(comparisons(FIELDS), missing(FIELDS, exists=False)))


@law
@given(ON_STATES, histories(max_size=20), st.booleans())
def test_a_condition_on_a_state_is_what_the_language_says(condition: Asked, history: list[Recorded], columns: bool) -> None:
    with lake_of(history) as timeline, engine(columns=columns):
        versions = wb.history(Thing, timeline, errors="collect")
        found = wb.first(Thing, timeline, where=condition.text, errors="collect")
        states = wb.state(Thing, timeline, errors="collect")
    rows = [row for row in versions.iter_rows(named=True) if condition.truth(row) is True]
    expected = {row["key"]: row["valid_from_position"] for row in reversed(rows)}
    assert dict(found.select("key", "position").iter_rows()) == expected
    measure = Measure.parse(f"count(*) filter (where {condition.text})")
    counted = measured(measure, states, fields=["name", "size", "ratio", "active", "seen"])
    assert counted == sum(condition.truth(row) is True for row in states.iter_rows(named=True))


class Noted(Projection, category="thing"):
    extra: Json
    handlers = tuple(on(type_).create("extra") for type_ in TYPES)


INSIDE: list[Name] = [
    ("extra", lambda row: decoded(row["extra"]) if row["extra"] is not None else None, KINDS),
    ("extra.name", lambda row: inside(row["extra"], "name"), KINDS),
    ("extra[0]", lambda row: inside(row["extra"], 0), KINDS),
]
ON_JSON = combined(st.one_of(comparisons(INSIDE), missing(INSIDE[1:], exists=True), missing(INSIDE[:1], exists=False)))


@law
@given(ON_JSON, histories(max_size=20), st.booleans())
def test_a_field_of_json_is_compared_as_a_payload_is(condition: Asked, history: list[Recorded], columns: bool) -> None:
    with lake_of(history) as timeline, engine(columns=columns):
        versions = wb.history(Noted, timeline, errors="collect")
        found = wb.first(Noted, timeline, where=condition.text, errors="collect")
        states = wb.state(Noted, timeline, errors="collect")
    rows = [row for row in versions.iter_rows(named=True) if condition.truth(row) is True]
    assert dict(found.select("key", "position").iter_rows()) == {row["key"]: row["valid_from_position"] for row in reversed(rows)}
    measure = Measure.parse(f"count(*) filter (where {condition.text})")
    counted = measured(measure, states, fields=["extra"], json=["extra"])
    assert counted == sum(condition.truth(row) is True for row in states.iter_rows(named=True))
