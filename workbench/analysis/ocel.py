"""Exports a history as an object-centric event log, OCEL 2.0 (https://www.ocel-standard.org), for process mining tools."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench.analysis.ocel_files import FORMATS, Attribute, Attributes, Kind, LogEvent, LogObject, OcelLog
from workbench.errors import UsageError, WorkbenchError
from workbench.host.durable_files import written_aside
from workbench.lake.reading.event_filter import quoted
from workbench.projection.fields import float_of
from workbench.projection.payloads import decoder
from workbench.projection.values import Number
from workbench.timeline import Timeline, ensure_timelines

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

_MOST_ATTRIBUTES = 100
"""The most attributes of one event type; SQLite allows 2,000 columns, more than anyone reads."""
_TRACE = "correlation"
_KINDS: dict[type[Any], Kind] = {str: "string", bool: "boolean", int: "integer", float: "float"}
_OWN = {"event_id": "string", "stream": "string", "revision": "integer"}
"""The attributes of every event besides its payload."""
_OBJECT = (Attribute("events", "integer"),)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = "SELECT epoch_us(min(recorded_at)), count(*) FILTER (recorded_at IS NULL) FROM events"
_MANY = 10_000
"""The number of rows to fetch at once."""
_SMALLEST, _GREATEST = -(2**63), 2**63 - 1
"""SQLite's integers have 64 bits."""
_DECODE = decoder((), whole=True, decimals=True)


@dataclass(frozen=True, slots=True)
class Ocel:
    """What was written.

    Attributes
    ----------
    relations
        Between events and objects.
    object_relations
        Between correlation ids and the streams that their events are in.
    undated
        How many events have a stamp that is no instant, and are written with the time of the event before them.
    left_out
        How many members of payloads have no attribute, since an event type has too many; of which types.
    """

    path: Path
    events: int
    objects: int
    relations: int
    object_relations: int
    undated: int
    left_out: dict[str, int]


def export_ocel(timeline: Timeline, path: str | Path, *, payloads: bool = True) -> Ocel:
    """Write a timeline's events as an OCEL 2.0 log, for tools of process mining.

    - An event's activity is its type. Its id is the position, followed by ``/`` and the prepare position if the two differ. Its attributes
      are ``event_id``, ``stream``, ``revision``, and the payload's members that are text, numbers or booleans; of equal keys the first
      counts. An attribute with values of several kinds, or with a number that no double can hold, is text.
    - An undated event has the time of the event before it in the log, or of the first dated event.
    - Readers sort events by time. Events with the same microsecond are written nanoseconds apart, in log order.
    - Objects are the streams, whose type is the category, and the correlation ids (``correlation:…``), of the type ``correlation``; each
      has its number of ``events``. If streams or categories have such names, correlations get others. An event is ``recorded in`` its
      stream and ``part of`` its correlation, which ``touches`` streams.

    Memory does not grow with the log. The file is written under another name and renamed when it is complete.

    Parameters
    ----------
    timeline
        Any history: as of any time, selected, or a what-if.
    path
        The file to write or replace; its name ends in ``.sqlite`` or ``.json``.
    payloads
        Whether members of payloads become attributes: at most 100 of each event type, those that most of its events have.

    Returns
    -------
    Ocel
        How many events, objects and relations were written, and what was left out.

    Raises
    ------
    UsageError
        The name has another suffix, or the directory does not exist.
    WorkbenchError
        The file cannot be written.

    Examples
    --------
    >>> from workbench.analysis import export_ocel
    >>> now = wb.open("data/demo").timeline
    >>> found = export_ocel(now.categories("registration"), "registrations.json")
    >>> found.events, found.objects
    (2798, 1122)
    """
    ensure_timelines(timeline)
    file = Path(path)
    write = FORMATS.get(file.suffix)
    if write is None:
        raise UsageError(f"{file} has an unknown suffix: OCEL 2.0 is written to a file that ends in {' or '.join(FORMATS)}.")
    if not file.parent.is_dir() or file.is_dir():
        raise UsageError(f"{file} cannot be written: " + ("it is a directory." if file.is_dir() else "there is no such directory."))
    [(first, undated)] = timeline.sql(_TIMES).fetchall()
    log, left_out = _log(timeline, payloads=payloads, first=first or 0)
    try:
        with written_aside(file) as part:
            counted = write(log, part)
    except OSError as error:
        raise WorkbenchError(f"{file} cannot be written: {error.strerror or error}. The incomplete file was removed.") from error
    return Ocel(file, counted.events, counted.objects, counted.relations, counted.object_relations, undated, left_out)


def _log(timeline: Timeline, *, payloads: bool, first: int) -> tuple[OcelLog, dict[str, int]]:
    types = sorted(name for (name,) in timeline.sql("SELECT DISTINCT type FROM events").fetchall())
    categories = sorted(name for (name,) in timeline.sql("SELECT DISTINCT category FROM events").fetchall())
    trace = _trace(timeline, categories)
    members = _members(timeline) if payloads else {}
    attributes = {name: _attributes(members.get(name, {})) for name in types}
    left_out = {name: count for name in types if (count := len(members.get(name, {})) - len(attributes[name].members)) > 0}
    log = OcelLog(
        event_types=attributes,
        object_types=dict.fromkeys([*categories, *([trace.type] if trace.is_used else [])], _OBJECT),
        objects=lambda: _objects(timeline, trace, first),
        events=lambda: _events(timeline, attributes, trace, first),
    )
    return log, left_out


@dataclass(frozen=True, slots=True)
class _OcelTrace:
    """The type of the objects for correlation ids, and the prefix of their ids, which no stream's name has."""

    type: str
    prefix: str
    is_used: bool


def _trace(timeline: Timeline, categories: list[str]) -> _OcelTrace:
    prefix, number = f"{_TRACE}:", 1
    while timeline.sql(f"SELECT 1 FROM events WHERE starts_with(stream, {quoted(prefix)}) LIMIT 1").fetchall():
        number += 1
        prefix = f"{_TRACE} {number}:"
    kind = _TRACE
    while kind in categories:
        kind = f"${kind}"
    [(count,)] = timeline.sql("SELECT count(correlation_id) FROM events").fetchall()
    return _OcelTrace(kind, prefix, is_used=count > 0)


def _members(timeline: Timeline) -> dict[str, dict[str, Counter[Kind]]]:
    """Return the members with scalar values in the payloads of each event type, with their kinds."""
    found: dict[str, dict[str, Counter[Kind]]] = {}
    for batch in timeline.events().select("type", "data").collect_batches(maintain_order=True):
        for event_type, data in batch.iter_rows():
            for name, value in _plain(data):
                kind = _kind(value)
                if kind is not None:
                    found.setdefault(event_type, {}).setdefault(name, Counter())[kind] += 1
    return found


def _attributes(members: dict[str, Counter[Kind]]) -> Attributes:
    """Choose the members of a type that become attributes, and give each a name that is unique regardless of case."""
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


def _objects(timeline: Timeline, trace: _OcelTrace, first: int) -> Iterator[LogObject]:
    """Yield the streams, and the correlation ids with the streams that they touch."""
    begun = f"coalesce(epoch_us(min(recorded_at)), {first})"
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
        yield LogObject(f"{trace.prefix}{correlation_id}", trace.type, _time(at), (events,), relations)


def _rows(relation: DuckDBPyRelation) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a result, fetched in batches; relations of DuckDB 2 have no ``fetchmany``."""
    for batch in relation.to_arrow_reader(_MANY):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _events(timeline: Timeline, attributes: dict[str, Attributes], trace: _OcelTrace, first: int) -> Iterator[LogEvent]:
    columns = ("position", "prepare_position", "type", "recorded_at", "event_id", "stream", "revision", "correlation_id", "data")
    shaped = pl.col("recorded_at").dt.epoch("us")
    clock = _Clock(first, first * 1_000 - 1)
    for batch in timeline.events().select(columns).with_columns(shaped).collect_batches(maintain_order=True):
        for position, prepare, event_type, at, event_id, stream, revision, correlation_id, data in batch.iter_rows():
            own = attributes[event_type]
            values: dict[str, Any] = dict(_plain(data)) if own.members else {}
            known = [_fitted(values.get(name), attribute.kind) for name, attribute in own.members.items()]
            relations = [(stream, "recorded in")]
            if correlation_id is not None:
                relations.append((f"{trace.prefix}{correlation_id}", "part of"))
            named = str(position) if prepare == position else f"{position}/{prepare}"
            yield LogEvent(named, event_type, clock.time(at), (event_id, stream, revision, *known), tuple(relations))


@dataclass(slots=True)
class _Clock:
    """Gives consecutive events of the same microsecond times that differ by nanoseconds."""

    _recorded: int
    _written: int

    def time(self, microseconds: int | None) -> str:
        """Return the time of the next event in the log; an event without a time gets the time of the event before it."""
        recorded = self._recorded if microseconds is None else microseconds
        self._written = max(recorded * 1_000, self._written + 1) if recorded >= self._recorded else recorded * 1_000
        self._recorded = recorded
        whole, nanoseconds = divmod(self._written, 1_000)
        return _time(whole) if not nanoseconds else f"{_time(whole)[:-1]}{nanoseconds:03}Z"


def _plain(data: str | None) -> Iterator[tuple[str, Any]]:
    """Yield the members of a payload that are texts, numbers or booleans."""
    try:
        payload = None if data is None else _DECODE(data)
    except RecursionError:  # nested too deeply to decode
        return
    for name, value in payload.items() if isinstance(payload, dict) else ():
        # A text may contain half a surrogate pair, which UTF-8 cannot encode.
        yield name, value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _kind(value: Any) -> Kind | None:
    """Return the kind of attribute for a value; None if there is none."""
    if isinstance(value, Number) or (type(value) is int and not _SMALLEST <= value <= _GREATEST):
        return "string" if float_of(value) is None else "float"
    return _KINDS.get(type(value))


def _fitted(value: Any, kind: Kind) -> Any:
    """Convert a value to the kind of its attribute; an attribute with several kinds is text."""
    if value is None or isinstance(value, (dict, list)):
        return None
    if kind == "float":
        return float(value)
    if kind != "string" or isinstance(value, str):
        return value
    return value.text if isinstance(value, Number) else json.dumps(value)


def _time(microseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds")[:26] + "Z"
