"""The shapes of payloads: their keys and the kinds of their values, without the values.

DuckDB reads all payloads of a timeline once, not a sample, and returns one row per distinct shape. It takes about 1 µs of one core for
each event whose paths were found in a sample, and 2 µs for others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Literal

import msgspec
import polars as pl
import pyarrow as pa

from workbench.lake.reading.event_filter import quoted
from workbench.payloads.signatures import Signatures
from workbench.timeline import Timeline
from workbench.timeline.extraction import Root

Path = tuple[str, ...]
"""The keys of a path in a payload; empty for the payload itself. ``ELEMENT`` stands for any element of an array."""
PlaceKind = Literal["null", "boolean", "integer", "float", "text", "array", "object", "mixed"]

ELEMENT = "\0[]"
MOST_KEYS = 500
"""An object with more distinct keys than this, over all events of a type, counts as a map, whose keys are data."""

DEEPEST = 100
"""The shape of a payload that is nested deeper than this is not reported: recursion over it would exceed Python's stack."""

_MANY = 100_000
"""With fewer events than this, the shape of each payload is computed directly."""
_SAMPLES, _SAMPLE = 8, 4_000
_MANY_SIGNATURES = 2_000
"""More than can be listed."""

_NUMBERS = """contains(worked_out, 'INT"') OR contains(worked_out, 'DOUBLE"') OR contains(worked_out, '"JSON"')"""
_EXTENT = ("first_position", "last_position", "first_recorded_at", "last_recorded_at")

_KINDS: dict[str, PlaceKind] = {
    "NULL": "null",
    "BOOLEAN": "boolean",
    "BIGINT": "integer",
    "UBIGINT": "integer",
    "HUGEINT": "integer",
    "DOUBLE": "float",
    "VARCHAR": "text",
    "JSON": "object",  # an empty one; inside of arrays, elements of several kinds
}


def shapes(
    timeline: Timeline,
    *,
    by: Mapping[str, str] | None = None,
    root: Root = "data",
    over: str = "events",
    tables: Mapping[str, pa.Table] | None = None,
) -> pl.DataFrame:
    """Count the events of each type and shape.

    Parameters
    ----------
    root
        Whether the shape is that of the data or of the metadata.
    by
        Expressions of SQL over an event, by the names of further columns to count by.
    over, tables
        The SQL of the events with further columns, for these expressions, and the tables that it needs.

    Returns
    -------
    polars.DataFrame
        ``type``, the columns of ``by``, ``held`` (``json``, ``bytes``, ``empty``, or ``unreadable`` for JSON that DuckDB does not take,
        such as half a surrogate pair, or that is nested deeper than ``DEEPEST``), ``shape`` (JSON; null where there is none),
        ``digits`` (whether an integer may have 16 or even 19 digits; 0 if it has fewer), ``events``, ``first_position``,
        ``last_position``, ``first_recorded_at`` and ``last_recorded_at``; by first position.
    """
    further = dict(by or {})
    count = partial(_counted, timeline, further, root, over=over, tables=tables)
    work_out = partial(count, shape=f"TRY(json_structure({root}))::VARCHAR", signature="NULL::UBIGINT", has_numbers=_NUMBERS)
    learned = None if timeline.edits else _learned(timeline, root)
    if learned is None:
        return _ordered([work_out()], further)
    quick = count(
        shape=f"CASE WHEN {learned.types} THEN NULL ELSE TRY(json_structure({root}))::VARCHAR END",
        signature=learned.of,
        has_numbers=f"{learned.numbers} OR {_NUMBERS}",
    )
    told = quick.filter(pl.col("signature").is_not_null())
    unproven = {
        number: type_
        for number, type_, payload in told.select("signature", "type", "payload").iter_rows()
        if not learned.proves(type_, payload)
    }
    if not unproven:
        return _ordered([quick], further)
    if len(unproven) > _MANY_SIGNATURES:
        types = sorted(set(unproven.values()))
        again = f"type IN ({', '.join(map(quoted, types))})"
        kept = quick.filter(~pl.col("type").is_in(types))
    else:
        again = f"{learned.of} IN ({', '.join(map(str, unproven))})"
        kept = quick.filter(~pl.col("signature").is_in(list(unproven)).fill_null(value=False))
    return _ordered([kept, work_out(where=again)], further)


def _learned(timeline: Timeline, root: Root) -> Signatures | None:
    """Learn signatures from events of different times; None if there are too few events for that to pay off."""
    [(events, first, last)] = timeline.sql("SELECT count(*), min(position), max(position) FROM events").fetchall()
    if events < _MANY:
        return None
    starts = [first + (last - first) * part // _SAMPLES for part in range(_SAMPLES)]
    parts = (f"(SELECT type, {root} AS payload FROM events WHERE position >= {start} LIMIT {_SAMPLE})" for start in starts)
    shaped = f"SELECT type, TRY(json_structure(payload))::VARCHAR AS shape FROM ({' UNION ALL '.join(parts)})"
    seen = timeline.sql(f"SELECT type, shape, count(*) FROM ({shaped}) GROUP BY ALL").fetchall()
    known = ((type_, count, places(shape)) for type_, shape, count in seen if shape is not None and not _is_too_deep(shape))
    return Signatures.learned(known, root=root)


def _counted(
    timeline: Timeline,
    by: Mapping[str, str],
    root: Root,
    *,
    shape: str,
    signature: str,
    has_numbers: str,
    over: str,
    tables: Mapping[str, pa.Table] | None,
    where: str = "true",
) -> pl.DataFrame:
    """Count events by signature, if they have one, or by shape, with the shape and the payload of one of them."""
    named = "".join(f", {expression} AS {name}" for name, expression in by.items())
    found = timeline.log.query(
        timeline,
        rf"""
        WITH seen AS (
            SELECT type, position, recorded_at, {root} AS payload, {root}_bytes AS bytes,
                {signature} AS signature, {shape} AS worked_out{named}
            FROM {over} WHERE {where}
        ),
        counted AS (
            SELECT
                type{"".join(f", {name}" for name in by)}, signature, worked_out,
                CASE WHEN payload IS NOT NULL THEN 'json' WHEN octet_length(bytes) = 0 THEN 'empty' ELSE 'bytes' END AS holding,
                CASE WHEN ({has_numbers}) AND regexp_matches(payload, '[\[:,\s]-?[0-9]{{16,}}[\],}}\s]')
                     THEN CASE WHEN regexp_matches(payload, '[\[:,\s]-?[0-9]{{19,}}[\],}}\s]') THEN 19 ELSE 16 END ELSE 0 END AS digits,
                count(*) AS events,
                min(position) AS first_position, max(position) AS last_position,
                min(recorded_at) AS first_recorded_at, max(recorded_at) AS last_recorded_at,
                any_value(CASE WHEN signature IS NOT NULL THEN payload END) AS payload
            FROM seen
            GROUP BY ALL
        )
        SELECT * EXCLUDE (worked_out, holding), coalesce(worked_out, TRY(json_structure(payload))::VARCHAR) AS shape,
            CASE WHEN holding = 'json' AND shape IS NULL THEN 'unreadable' ELSE holding END AS held
        FROM counted
        """,
        tables=tables,
    ).pl()
    deep = pl.Series([shape is not None and _is_too_deep(shape) for shape in found["shape"]], dtype=pl.Boolean)
    return found.with_columns(
        shape=pl.when(deep).then(None).otherwise("shape"), held=pl.when(deep).then(pl.lit("unreadable")).otherwise("held")
    )


def _is_too_deep(shape: str) -> bool:
    """Whether a shape is nested so deeply that recursion over it could exceed Python's stack."""
    if shape.count("{") + shape.count("[") <= DEEPEST:
        return False
    depth = 0
    for mark in re.sub(r'"(?:[^"\\]|\\.)*"', "", shape):
        depth += (mark in "{[") - (mark in "}]")
        if depth > DEEPEST:
            return True
    return False


def _ordered(counted: Iterable[pl.DataFrame], by: Iterable[str]) -> pl.DataFrame:
    """Combine counts of the same shape, whether found by signature or directly."""
    rows = pl.concat(counted)
    found = (
        rows.group_by("type", *by, "held", "shape", "digits")
        .agg(pl.col("events").sum(), pl.col(_EXTENT[::2]).min(), pl.col(_EXTENT[1::2]).max())
        .select("type", *by, "held", "shape", "digits", "events", *_EXTENT)
        .sort("first_position", "type", "shape", *by, "digits")
    )
    instants = [name for name, dtype in found.schema.items() if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None]
    return found.with_columns(pl.col(instants).dt.convert_time_zone("UTC"))


@lru_cache(maxsize=128)
def places(shape: str) -> tuple[tuple[Path, PlaceKind], ...]:
    """Return every path of a shape with the kind of its value, each after its parent; the payload itself comes first.

    >>> places('{"a":"UBIGINT","tags":["VARCHAR"]}')
    (((), 'object'), (('a',), 'integer'), (('tags',), 'array'), (('tags', '\\x00[]'), 'text'))
    """
    return tuple(_places((), msgspec.json.decode(shape), inside=False))


def _places(path: Path, found: Any, *, inside: bool) -> Iterator[tuple[Path, PlaceKind]]:
    if isinstance(found, dict):
        yield path, "object"
        for key, value in found.items():
            yield from _places((*path, key), value, inside=inside)
    elif isinstance(found, list):
        yield path, "array"
        # An empty array has elements of no kind.
        if found != ["NULL"]:
            yield from _places((*path, ELEMENT), found[0], inside=True)
    else:
        yield path, "mixed" if inside and found == "JSON" else _KINDS[found]


def shown(path: Path) -> str:
    """Format a path for display, unambiguously.

    >>> shown(("address", "city")), shown(("tags", ELEMENT)), shown(("a.b",)), shown(())
    ('address.city', 'tags[]', '["a.b"]', '')
    """
    text = ""
    for step in path:
        if step == ELEMENT:
            text += "[]"
        elif step.isidentifier():
            text += f".{step}" if text else step
        else:
            text += f"[{msgspec.json.encode(step).decode()}]"
    return text


@dataclass(slots=True)
class Known:
    """What is known about the payloads of one type.

    Attributes
    ----------
    kinds
        By place, in the order in which places were first seen: the kinds of value, ``long`` besides ``integer`` where one does not fit 64
        bits, and ``map`` where an object has too many keys to be columns.
    keys
        By place of an object: how many different keys it has.
    """

    kinds: dict[Path, set[str]] = field(default_factory=dict)
    keys: dict[Path, int] = field(default_factory=dict)

    def take(self, path: Path, kind: str) -> None:
        """Record a kind of value at a path; parents come before their keys."""
        found = self.kinds.get(path)
        if found is not None:
            found.add(kind)
            return
        above = path[:-1]
        if path and any("map" in self.kinds[path[:depth]] for depth in range(len(path))):
            return
        self.kinds[path] = {kind}
        if path:
            self.keys[above] = self.keys.get(above, 0) + 1
            if self.keys[above] > MOST_KEYS:
                self._close(above)

    def _close(self, path: Path) -> None:
        """Treat an object as a map: forget what was known about its keys."""
        self.kinds[path].add("map")
        inside = [other for other in self.kinds if len(other) > len(path) and other[: len(path)] == path]
        for other in inside:
            del self.kinds[other]
            self.keys.pop(other, None)
        self.keys.pop(path, None)
