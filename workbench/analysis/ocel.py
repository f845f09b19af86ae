"""A history as an object-centric event log: OCEL 2.0 (https://www.ocel-standard.org), as tools for process mining read it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from workbench.analysis.ocel_files import FORMATS, Attribute, Attributes, Kind, Log, LogEvent, LogObject
from workbench.errors import UsageError, WorkbenchError
from workbench.timeline import Timeline, ensure_timelines

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

_MOST_ATTRIBUTES = 100
"""Of one event type; SQLite has room for 2,000 columns, and nobody looks at so many."""
_TRACE = "correlation"
_KINDS: dict[type[Any], Kind] = {str: "string", bool: "boolean", int: "integer", float: "float"}
_OWN = {"event_id": "string", "stream": "string", "revision": "integer"}
"""What every event says of itself besides its payload."""
_OBJECT = (Attribute("events", "integer"),)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MANY = 10_000
"""Rows that are fetched at once."""
_SMALLEST, _GREATEST = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Ocel:
    """What was written.

    Attributes
    ----------
    relations
        Between events and objects.
    object_relations
        Between correlation ids and the streams that their events are in.
    left_out
        How many members of payloads have no attribute, since an event type has too many; of which types.
    """

    path: Path
    events: int
    objects: int
    relations: int
    object_relations: int
    left_out: dict[str, int]


def export_ocel(timeline: Timeline, path: str | Path, *, payloads: bool = True) -> Ocel:
    """Write a timeline's events as an OCEL 2.0 log.

    - An event's activity is its type, its id the position, with the prepare position behind ``/`` where that is another. Attributes are
      ``event_id``, ``stream``, ``revision``, and the members of its payload that are texts, numbers or booleans.
    - Objects are the streams, whose type is the category, and the correlation ids (``correlation:…``), of the type ``correlation``; each
      says how many ``events`` it has. An event is ``recorded in`` its stream and ``part of`` its correlation, which ``touches`` streams.

    It is written event by event beside its place and moved there in the end, so that a log of any length takes little memory.

    Parameters
    ----------
    timeline
        Any history: what is selected, as of any time, a what-if.
    path
        A file whose name ends in ``.sqlite`` or ``.json``; one that is there gives way.
    payloads
        Whether the payloads' members become attributes: at most 100 of each event type, those that most of its events have.

    Raises
    ------
    UsageError
        The name ends otherwise, or there is no such directory.
    WorkbenchError
        The file cannot be written.
    """
    ensure_timelines(timeline)
    file = Path(path)
    write = FORMATS.get(file.suffix)
    if write is None:
        raise UsageError(f"{file} has a suffix that is not known: OCEL 2.0 is written to a file that ends in {' or '.join(FORMATS)}.")
    if not file.parent.is_dir() or file.is_dir():
        raise UsageError(f"{file} cannot be written: " + ("it is a directory." if file.is_dir() else "there is no such directory."))
    log, left_out = _log(timeline, payloads=payloads)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        counted = write(log, part)
        part.replace(file)
    except OSError as error:
        raise WorkbenchError(f"{file} cannot be written: {error.strerror or error}. Nothing of it was kept.") from error
    finally:
        part.unlink(missing_ok=True)
    return Ocel(file, counted.events, counted.objects, counted.relations, counted.object_relations, left_out)


def _log(timeline: Timeline, *, payloads: bool) -> tuple[Log, dict[str, int]]:
    types = sorted(name for (name,) in timeline.sql("SELECT DISTINCT type FROM events").fetchall())
    categories = sorted(name for (name,) in timeline.sql("SELECT DISTINCT category FROM events").fetchall())
    trace = _TRACE if _TRACE not in categories else f"${_TRACE}"
    members = _members(timeline) if payloads else {}
    attributes = {name: _attributes(members.get(name, {})) for name in types}
    left_out = {name: count for name in types if (count := len(members.get(name, {})) - len(attributes[name].members)) > 0}
    log = Log(
        event_types=attributes,
        object_types=dict.fromkeys([*categories, *_traces(timeline, trace)], _OBJECT),
        objects=lambda: _objects(timeline, trace),
        events=lambda: _events(timeline, attributes),
    )
    return log, left_out


def _traces(timeline: Timeline, trace: str) -> list[str]:
    [(count,)] = timeline.sql("SELECT count(correlation_id) FROM events").fetchall()
    return [trace] if count else []


def _members(timeline: Timeline) -> dict[str, dict[str, Counter[Kind]]]:
    """Return of each event type the members of its payloads that have plain values, and of which kinds these are."""
    found: dict[str, dict[str, Counter[Kind]]] = {}
    for batch in timeline.events().select("type", "data").collect_batches(maintain_order=True):
        for event_type, data in batch.iter_rows():
            for name, value in _plain(data):
                found.setdefault(event_type, {}).setdefault(name, Counter())[_KINDS[type(value)]] += 1
    return found


def _attributes(members: dict[str, Counter[Kind]]) -> Attributes:
    """Choose the members of a type that become attributes, each with a name that no other has, whatever the case of its letters."""
    often = sorted(members, key=lambda name: (-members[name].total(), name))[:_MOST_ATTRIBUTES]
    named: dict[str, Attribute] = {}
    taken = {"ocel_id", "ocel_time", *_OWN}
    for name in sorted(often):
        plain = name.replace("\x00", "").encode("utf-8", "replace").decode() or "unnamed"
        free, number = plain, 1
        while free.lower() in taken:
            number += 1
            free = f"{plain}_{number}"
        taken.add(free.lower())
        kinds = set(members[name])
        one = kinds.pop() if len(kinds) == 1 else "float" if kinds == {"integer", "float"} else "string"
        named[name] = Attribute(free, one)
    return Attributes(tuple(Attribute(name, "integer" if kind == "integer" else "string") for name, kind in _OWN.items()), named)


def _objects(timeline: Timeline, trace: str) -> Iterator[LogObject]:
    """Yield the streams, and the correlation ids with the streams that they touch."""
    begun = "epoch_us(min(recorded_at))"
    streams = timeline.sql(f"SELECT stream, category, count(*), {begun} FROM events GROUP BY 1, 2 ORDER BY 1")
    for stream, category, events, at in _rows(streams):
        yield LogObject(stream, category, _time(at), (events,), ())
    correlations = timeline.sql(
        f"""
        SELECT correlation_id, count(*), {begun}, list_sort(list(DISTINCT stream)) FROM events
        WHERE correlation_id IS NOT NULL GROUP BY 1 ORDER BY 1
        """
    )
    for correlation_id, events, at, touched in _rows(correlations):
        relations = tuple((stream, "touches") for stream in touched)
        yield LogObject(f"{_TRACE}:{correlation_id}", trace, _time(at), (events,), relations)


def _rows(relation: DuckDBPyRelation) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a result, some thousands at a time; relations of DuckDB 2 have no ``fetchmany``."""
    for batch in relation.to_arrow_reader(_MANY):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _events(timeline: Timeline, attributes: dict[str, Attributes]) -> Iterator[LogEvent]:
    columns = ("position", "prepare_position", "type", "recorded_at", "event_id", "stream", "revision", "correlation_id", "data")
    shaped = pl.col("recorded_at").dt.epoch("us")
    for batch in timeline.events().select(columns).with_columns(shaped).collect_batches(maintain_order=True):
        for position, prepare, event_type, at, event_id, stream, revision, correlation_id, data in batch.iter_rows():
            own = attributes[event_type]
            values: dict[str, Any] = dict(_plain(data)) if own.members else {}
            known = [_fitted(values.get(name), attribute.kind) for name, attribute in own.members.items()]
            relations = [(stream, "recorded in")]
            if correlation_id is not None:
                relations.append((f"{_TRACE}:{correlation_id}", "part of"))
            named = str(position) if prepare == position else f"{position}/{prepare}"
            yield LogEvent(named, event_type, _time(at), (event_id, stream, revision, *known), tuple(relations))


def _plain(data: str | None) -> Iterator[tuple[str, Any]]:
    """Yield the members of a payload that are texts, numbers or booleans."""
    try:
        payload = None if data is None else orjson.loads(data)
    except orjson.JSONDecodeError:  # half a surrogate pair, which the log may hold
        return
    for name, value in payload.items() if isinstance(payload, dict) else ():
        if type(value) in _KINDS:
            # SQLite's integers have 64 bits.
            yield name, value if type(value) is not int or _SMALLEST <= value <= _GREATEST else float(value)


def _fitted(value: Any, kind: Kind) -> Any:
    """Return a value of the kind that its attribute has; one of several kinds is written as text."""
    if value is None or _KINDS[type(value)] == kind:
        return value
    if kind == "float":
        return float(value)
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _time(microseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds")[:26] + "Z"
