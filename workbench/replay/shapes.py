"""The shapes of payloads: which keys stand where and what kind of value they hold, without the values.

One pass of DuckDB over all payloads of a timeline, exact and not by samples; as many rows come out as there are different shapes. It costs
about 2 µs of one core for each event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import msgspec
import polars as pl

from workbench.extraction import Root
from workbench.timeline import Timeline

Path = tuple[str, ...]
"""The keys that lead to a place in a payload; none for the payload itself. ``ELEMENT`` stands for any element of an array."""
PlaceKind = Literal["null", "boolean", "integer", "float", "text", "array", "object", "mixed"]

ELEMENT = "\0[]"
MOST_KEYS = 500
"""An object with more different keys than this, over all events of a type, is taken for a map, whose keys are data."""

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


def shapes(timeline: Timeline, *, by: Mapping[str, str] | None = None, root: Root = "data") -> pl.DataFrame:
    """Count the events of each type and shape.

    Parameters
    ----------
    root
        Whether the shape is that of the data or of the metadata.
    by
        Expressions of SQL over an event, by the names of further columns to count by.

    Returns
    -------
    polars.DataFrame
        ``type``, the columns of ``by``, ``held`` (``json``, ``bytes``, ``empty``, or ``unreadable`` for JSON that DuckDB does not take,
        such as half a surrogate pair), ``shape`` (JSON; null where there is none), ``long`` (whether an integer may have nineteen digits or
        more), ``events``, ``first_position``, ``last_position``, ``first_recorded_at`` and ``last_recorded_at``; by first position.
    """
    further = dict(by or {})
    named = "".join(f", {expression} AS {name}" for name, expression in further.items())
    rows = timeline.sql(
        rf"""
        WITH seen AS (
            SELECT type, position, recorded_at, {root} AS payload, {root}_bytes AS bytes,
                TRY(json_structure({root}))::VARCHAR AS shape{named}
            FROM events
        )
        SELECT
            type{"".join(f", {name}" for name in further)},
            CASE WHEN shape IS NOT NULL THEN 'json' WHEN payload IS NOT NULL THEN 'unreadable'
                 WHEN octet_length(bytes) = 0 THEN 'empty' ELSE 'bytes' END AS held,
            shape,
            CASE WHEN contains(shape, 'INT"') OR contains(shape, 'DOUBLE"')
                 THEN regexp_matches(payload, '[\[:,\s]-?[0-9]{{19,}}[\],}}\s]') ELSE false END AS long,
            count(*) AS events,
            min(position) AS first_position, max(position) AS last_position,
            min(recorded_at) AS first_recorded_at, max(recorded_at) AS last_recorded_at
        FROM seen
        GROUP BY ALL
        ORDER BY first_position, type, shape
        """
    ).pl()
    instants = [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None]
    return rows.with_columns(pl.col(instants).dt.convert_time_zone("UTC"))


@lru_cache(maxsize=128)
def places(shape: str) -> tuple[tuple[Path, PlaceKind], ...]:
    """Return every place of a shape with what stands there, each below its parent; the payload itself comes first.

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
    """Write a place for people, and so that it names nothing else.

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
    """What is known of the payloads of one type.

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
        """Take in that something of a kind stands at a place; parents come before their keys."""
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
        """Take an object for a map: what was known of its inside goes."""
        self.kinds[path].add("map")
        inside = [other for other in self.kinds if len(other) > len(path) and other[: len(path)] == path]
        for other in inside:
            del self.kinds[other]
            self.keys.pop(other, None)
        self.keys.pop(path, None)
