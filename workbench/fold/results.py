"""The results of a replay: state, history, counts and failures, in the same form from both engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
import pyarrow as pa

from workbench.errors import ValueDoesNotFit
from workbench.projection.plan import Kind, Plan

_INSTANT = pl.Datetime("us", "UTC")
_TYPES: dict[str, pl.DataType] = {
    "text": pl.String(),
    "json": pl.String(),
    "integer": pl.Int64(),
    "float": pl.Float64(),
    "boolean": pl.Boolean(),
    "instant": _INSTANT,
}
PROVENANCE: dict[str, pl.DataType] = {
    "position": pl.Int64(),
    "revision": pl.Int64(),
    "recorded_at": _INSTANT,
    "event_count": pl.Int64(),
}
"""The columns of a state after its fields: the last event applied to the entity, and the number of events since it began."""
HISTORY_PROVENANCE: dict[str, pl.DataType] = {
    "event_type": pl.String(),
    "revision": pl.Int64(),
    "event_count": pl.Int64(),
    "valid_from_position": pl.Int64(),
    "valid_to_position": pl.Int64(),
    "valid_from": _INSTANT,
    "valid_to": _INSTANT,
}
FAILURES_SCHEMA = pl.Schema(
    {
        "position": pl.Int64(),
        "stream": pl.String(),
        "revision": pl.Int64(),
        "type": pl.String(),
        "event_id": pl.String(),
        "field": pl.String(),
        "value": pl.String(),
        "reason": pl.String(),
    }
)
"""The columns of collected failures: one row for each failed event, in log order. ``value`` is shortened JSON."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The events of a projection's categories by outcome; each event counts once.

    Attributes
    ----------
    applied
        Events that began, changed or ended an entity.
    unmatched
        Events of handled types that met no handler's ``where``.
    orphans
        Events about an entity that did not exist.
    keyless
        Events without a key.
    failed
        Events with a value that does not fit, if collected.
    unhandled
        Events whose type has no handler, by recorded type.
    """

    applied: int = 0
    unmatched: int = 0
    orphans: int = 0
    keyless: int = 0
    failed: int = 0
    unhandled: Mapping[str, int] = field(default_factory=dict)

    @property
    def events(self) -> int:
        """All events of the categories."""
        return self.applied + self.unmatched + self.orphans + self.keyless + self.failed + sum(self.unhandled.values())

    def __add__(self, other: Counts) -> Counts:
        unhandled = {name: self.unhandled.get(name, 0) + other.unhandled.get(name, 0) for name in {*self.unhandled, *other.unhandled}}
        return Counts(
            applied=self.applied + other.applied,
            unmatched=self.unmatched + other.unmatched,
            orphans=self.orphans + other.orphans,
            keyless=self.keyless + other.keyless,
            failed=self.failed + other.failed,
            unhandled=dict(sorted(unhandled.items())),
        )


@dataclass(frozen=True, slots=True)
class FoldResult:
    """The result of a replay.

    Attributes
    ----------
    state
        See ``state_schema``; sorted by key.
    history
        See ``history_schema``; sorted by key, versions in log order. None unless requested.
    failures
        See ``FAILURES_SCHEMA``; empty unless failures were collected.
    """

    state: pl.DataFrame
    history: pl.DataFrame | None
    counts: Counts
    failures: pl.DataFrame

    def with_counts(self, counts: Counts) -> FoldResult:
        """Return the same result with other counts."""
        return replace(self, counts=counts)


def polars_type(kind: Kind) -> pl.DataType:
    """Return the type of a field's column: sets and lists are lists, JSON is text, instants are microseconds in UTC."""
    if kind.element is not None:
        return pl.List(polars_type(kind.element))
    return pl.Decimal(kind.precision, kind.scale) if kind.name == "decimal" else _TYPES[kind.name]


def state_schema(plan: Plan) -> pl.Schema:
    """Return the columns of a state, which has one row for each entity that exists.

    These are ``key``, the fields, and ``position``, ``revision`` and ``recorded_at`` of the last event applied to the entity;
    ``event_count`` counts the events applied since the entity began. A fold needs only this frame to continue.
    """
    return pl.Schema({"key": pl.String(), **_fields(plan), **PROVENANCE})


def history_schema(plan: Plan) -> pl.Schema:
    """Return the columns of a history, which has one row for each version: the state after an event that did not end the entity.

    These are ``key``, the fields, the event's ``event_type`` (as recorded) and ``revision``, and ``event_count`` as in a state. A version
    is valid from its event's position and time, inclusive, to those of the next event applied to the entity, exclusive, or null if there
    is none yet. An event that ends an entity ends its last version and has no row. If the server's clock ran backwards, ``valid_to`` is
    before ``valid_from``.
    """
    return pl.Schema({"key": pl.String(), **_fields(plan), **HISTORY_PROVENANCE})


def state_of_versions(versions: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """Convert versions, one for each entity, to a state."""
    named = {"position": pl.col("valid_from_position"), "recorded_at": pl.col("valid_from")}
    return versions.select(named.get(name, pl.col(name)).alias(name) for name in state_schema(plan)).sort("key")


def frame_of(schema: pl.Schema, rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    """Return rows of Python values, instants in microseconds, as a frame sorted by key; rows of one key keep their order."""
    # Through Arrow: Polars would build a series for every list, and needs a cast to read integers as instants.
    columns = {
        name: pl.Series(name, pa.array([row[index] for row in rows], _arrow(dtype)), dtype=dtype)
        for index, (name, dtype) in enumerate(schema.items())
    }
    return pl.DataFrame(columns).sort("key", maintain_order=True)


def failures_frame(failures: Sequence[ValueDoesNotFit], positions: Sequence[tuple[int, int]]) -> pl.DataFrame:
    """Return collected failures as a frame in log order; ``positions`` holds the position and prepare position of each."""
    order = sorted(range(len(failures)), key=lambda index: positions[index])
    rows = [tuple(getattr(failures[index], name) for name in FAILURES_SCHEMA) for index in order]
    return pl.DataFrame(rows, schema=FAILURES_SCHEMA, orient="row")


def _fields(plan: Plan) -> dict[str, pl.DataType]:
    return {one.name: polars_type(one.kind) for one in plan.fields}


def _arrow(dtype: pl.DataType) -> pa.DataType:
    return pl.Series([], dtype=dtype).to_arrow(compat_level=pl.CompatLevel.oldest()).type
