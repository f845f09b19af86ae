"""What edits mean, said the plain way over rows in Python: what forks of timelines are held against."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from hypothesis import strategies as st

from tests.strategies import OLD_TYPES, TYPES, UNHANDLED, Recorded, conditions, frame
from workbench.events import EVENT_SCHEMA, Checkpoint, Selection, Store
from workbench.lake import LakeWriter, open_lake
from workbench.lake.forks.patch_text import patched
from workbench.projection.evaluation import asking
from workbench.projection.expressions import Where
from workbench.projection.payloads import ABSENT, decoder
from workbench.projection.rows import rows_of
from workbench.timeline import Timeline
from workbench.timeline.edits import span_of

Call = tuple[str, dict[str, Any]]
"""A method of a timeline that edits it, and its arguments."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_ID = "ffffffff-0000-0000-0000-000000000000"
_decode = decoder((), whole=True, decimals=False)


@dataclass(frozen=True, slots=True)
class Told:
    """An event of a fork: where it stands, and where it came in."""

    event: Recorded
    event_id: str
    home: tuple[int, ...]
    order: tuple[int, ...]
    """The position; 0 where it stands as recorded; then the prepare position, or time and edit and home."""
    origin: str = "recorded"


@contextmanager
def lake_in_runs(history: Sequence[Recorded], *, batch: int = 5, cluster: bool = False) -> Iterator[Timeline]:
    """Write a history in exports of so many events, cluster it or not, and give the timeline of the lake."""
    rows = frame(history).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(EVENT_SCHEMA)
    with TemporaryDirectory() as place:
        path = Path(place) / "lake"
        first = history[0] if history else None
        store = Store("esdb://store.example:2113", first.position if first else None, _id(first) if first else None)
        with LakeWriter.open(path, store=store, selection=Selection()) as writer:
            for start in range(0, len(history), batch):
                piece = history[start : start + batch]
                last = piece[-1]
                checkpoint = Checkpoint(last.position, last.prepare_position, _id(last), datetime(2030, 1, 1, tzinfo=UTC))
                writer.append(rows.slice(start, batch), checkpoint)
            if cluster:
                writer.cluster()
        yield open_lake(path).timeline


def as_recorded(history: Sequence[Recorded]) -> list[Told]:
    return [Told(one, _id(one), (one.position, one.prepare_position), (one.position, 0, one.prepare_position)) for one in history]


def edited(timeline: Timeline, calls: Sequence[Call]) -> Timeline:
    for method, arguments in calls:
        timeline = getattr(timeline, method)(**arguments)
    return timeline


def told(history: Sequence[Recorded], calls: Sequence[Call]) -> list[Told]:
    """Return the events of a fork in their order."""
    events = as_recorded(history)
    for rank, (method, arguments) in enumerate(calls):
        hit = [one for one in events if method != "insert" and _fits(one, arguments, history)]
        rest = [one for one in events if one not in hit]
        match method:
            case "drop":
                events = rest
            case "truncate":
                first: dict[str, tuple[int, ...]] = {}
                for one in hit:
                    first.setdefault(one.event.stream, one.order)
                events = [one for one in events if one.event.stream not in first or one.order < first[one.event.stream]]
            case "patch":
                events = [*rest, *(replace(one, event=_patched(one.event, arguments), origin=_word(one, "patched")) for one in hit)]
            case "replace":
                events = [*rest, *(replace(one, event=_replaced(one.event, arguments), origin=_word(one, "replaced")) for one in hit)]
            case "retime":
                events = [*rest, *(_moved(one, arguments, history, rank) for one in hit)]
            case "insert":
                events = [*rest, _inserted(arguments, history, rank)]
        events.sort(key=lambda one: one.order)
    return events


def cut(events: Sequence[Told], history: Sequence[Recorded], upto: int | datetime | None) -> list[Told]:
    """Return the events up to a cutoff."""
    return [one for one in events if upto is None or _up_to(one, upto, history)]


def shown(events: Sequence[Told]) -> list[tuple[Any, ...]]:
    """Return the events as ``seen`` does, save for the ids of inserted ones."""
    return [
        (
            one.event.stream,
            one.event.revision,
            one.event.type,
            one.order[0],
            one.event.recorded_at,
            one.event.data,
            one.event.metadata,
            _origin(one),
        )
        for one in events
    ]


def seen(events: pl.DataFrame) -> list[tuple[Any, ...]]:
    named = ("stream", "revision", "type", "position", "recorded_at", "data", "metadata", "origin")
    return events.select(pl.col(name).cast(pl.Int64) if name == "recorded_at" else name for name in named).rows()


def written(events: Sequence[Told]) -> list[Recorded]:
    """Return the events as a log that was really written so: with positions of its own."""
    return [replace(one.event, position=10 * number, prepare_position=10 * number) for number, one in enumerate(events, 1)]


@st.composite
def edits(draw: st.DrawFn, history: Sequence[Recorded], *, most: int = 3) -> list[Call]:
    """Draw edits of a history; a patch is about an event whose payload was recorded as an object."""
    return [draw(_edit(history)) for _ in range(draw(st.integers(1, most)))]


@st.composite
def _edit(draw: st.DrawFn, history: Sequence[Recorded]) -> Call:
    method = draw(st.sampled_from(["drop", "truncate", "patch", "replace", "insert", "retime"]))
    if method == "insert":
        given: dict[str, Any] = {
            "stream": draw(st.sampled_from(["thing-1", "thing-2", "thing-new"])),
            "type": draw(st.sampled_from([*TYPES, *OLD_TYPES])),
            "at": draw(bounds(history)),
            "data": draw(st.sampled_from([{}, {"name": "Ann", "size": 3}, {"k": "1", "size": 1.5}, [], None])),
        }
        return method, given
    address: dict[str, Any] = {}
    for name, values in (
        ("stream", ["thing-1", "thing-*", "*", "*-1"]),
        ("category", ["thing", "other", ["thing", "other"]]),
        ("type", [*TYPES, UNHANDLED, "thing.*", [TYPES[0], TYPES[1]]]),
        ("position", [one.position for one in history]),
    ):
        if values and draw(st.integers(0, 3)) == 0:
            address[name] = draw(st.sampled_from(values))
    for name in ("after", "upto"):
        if draw(st.integers(0, 4)) == 0:
            address[name] = draw(bounds(history))
    if draw(st.integers(0, 4)) == 0:
        address["where"] = draw(conditions())
    if not address:
        address["stream"] = "*"
    match method:
        case "patch":
            only = [one for one in history if one.data is not None and one.data.startswith("{")]
            address["event_id"] = draw(st.sampled_from([_id(one) for one in only] or [_NO_ID]))
            address["set"] = draw(st.sampled_from([{"name": "Bob"}, {"size": 5, "tags": ["a"]}, {"new.name": "x"}]))
            address["unset"] = draw(st.sampled_from([[], ["size"], ["k", "none"]]))
        case "replace":
            address |= draw(
                st.sampled_from([{"data": {"name": "Zed"}}, {"as_type": TYPES[1]}, {"data": {"size": 1}, "metadata": {"v": 1}}])
            )
        case "retime":
            address["by"] = draw(st.sampled_from(["0.001s", "-0.001s", "-1h", "1h", timedelta(microseconds=1), timedelta(microseconds=-3)]))
    return method, address


def bounds(history: Sequence[Recorded]) -> st.SearchStrategy[int | datetime]:
    """Draw positions and times of a history, and ones beside them."""
    positions = [one.position + by for one in history for by in (0, 1, -1) if one.position + by >= 0] or [0]
    times = [EPOCH + timedelta(microseconds=one.recorded_at + by) for one in history for by in (0, 1, -1, 10**9)] or [EPOCH]
    return st.one_of(st.sampled_from(positions), st.sampled_from(times))


_BEHIND = 10**9
"""Of equal times and places, what was inserted comes behind what was recorded."""


def _id(one: Recorded) -> str:
    return f"00000000-0000-0000-0000-{one.prepare_position:012d}"


def _origin(one: Told) -> str:
    return "retimed" if one.origin != "inserted" and one.order[1] else one.origin


def _word(one: Told, word: str) -> str:
    return "inserted" if one.origin == "inserted" else word


def _last_by(bound: int | datetime, history: Sequence[Recorded]) -> int:
    if isinstance(bound, int):
        return max((one.position for one in history if one.position <= bound), default=-1)
    moment = _micros(bound)
    return max((one.position for one in history if one.recorded_at <= moment), default=-1)


def _micros(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1)


def _up_to(one: Told, bound: int | datetime, history: Sequence[Recorded]) -> bool:
    late = isinstance(bound, datetime) and one.order[1] > 0 and one.event.recorded_at > _micros(bound)
    return one.order[0] <= _last_by(bound, history) and not late


def _fits(one: Told, arguments: dict[str, Any], history: Sequence[Recorded]) -> bool:
    def named(name: str, value: str, *, exactly: bool = False) -> bool:
        given = arguments.get(name)
        patterns = [given] if isinstance(given, str) else given
        return patterns is None or any(value == pattern if exactly else _like(pattern, value) for pattern in patterns)

    event = one.event
    where: Where | None = arguments.get("where")
    return (
        named("stream", event.stream)
        and named("category", event.stream.partition("-")[0], exactly=True)
        and named("type", event.type)
        and arguments.get("position", one.order[0]) == one.order[0]
        and arguments.get("event_id", one.event_id) == one.event_id
        and ("upto" not in arguments or _up_to(one, arguments["upto"], history))
        and ("after" not in arguments or not _up_to(one, arguments["after"], history))
        and (where is None or _holds(where, event))
    )


def _like(pattern: str, name: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None


def _holds(where: Where, event: Recorded) -> bool:
    [row] = rows_of(frame([event]))
    data, metadata = (ABSENT if text is None else _decode(text) for text in (event.data, event.metadata))
    return asking(where.condition)(row, data, metadata) is True


def _patched(event: Recorded, arguments: dict[str, Any]) -> Recorded:
    assert event.data is not None
    puts = [(tuple(name.split(".")), json.dumps(value, separators=(",", ":"))) for name, value in arguments["set"].items()]
    return replace(event, data=patched(event.data, puts, [(name,) for name in arguments["unset"]]))


def _replaced(event: Recorded, arguments: dict[str, Any]) -> Recorded:
    data, metadata = (json.dumps(arguments[name], separators=(",", ":")) if name in arguments else None for name in ("data", "metadata"))
    return replace(event, type=arguments.get("as_type", event.type), data=data or event.data, metadata=metadata or event.metadata)


def _moved(one: Told, arguments: dict[str, Any], history: Sequence[Recorded], rank: int) -> Told:
    at = one.event.recorded_at + span_of(arguments["by"]) // timedelta(microseconds=1)
    event = replace(one.event, recorded_at=at)
    recorded = {(each.position, each.prepare_position): each for each in history}
    if one.origin != "inserted":
        if recorded[one.home[0], one.home[1]].recorded_at == at:
            return replace(one, event=event, order=(one.home[0], 0, one.home[1]))
        return replace(one, event=event, order=(_last_by(EPOCH + timedelta(microseconds=at), history), 1, at, rank, *one.home))
    home, _, begun = one.home
    position = home if at == begun else _last_by(EPOCH + timedelta(microseconds=at), history)
    return replace(one, event=event, order=(position, 1, at, rank, home, _BEHIND))


def _inserted(arguments: dict[str, Any], history: Sequence[Recorded], rank: int) -> Told:
    position = _last_by(arguments["at"], history)
    if isinstance(arguments["at"], datetime):
        at = _micros(arguments["at"])
    else:
        there = [one for one in history if one.position == position] or [min(history, key=lambda one: one.recorded_at)]
        at = there[-1].recorded_at
    stream = arguments["stream"]
    revision = max((one.revision for one in history if one.stream == stream and one.position <= position), default=0)
    data = json.dumps(arguments["data"], separators=(",", ":"))
    event = Recorded(stream, revision, arguments["type"], position, 0, at, data, None)
    return Told(event, "inserted", (position, 0, at), (position, 1, at, rank, position, _BEHIND), "inserted")
