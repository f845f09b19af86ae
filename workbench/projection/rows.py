"""Converts frames of events to Python tuples, the fastest form for a loop."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

import polars as pl

Row = tuple[Any, ...]

ROW = (
    *("stream", "category", "type", "revision", "position", "recorded_at", "event_id", "data", "metadata"),
    *("prepare_position", "correlation_id", "causation_id"),
)
"""The columns of a row, in order; ``recorded_at`` in microseconds since the Unix epoch. Unneeded columns are None."""

_SLICE = 50_000
"""How many rows are Python objects at a time."""


def rows_of(frame: pl.DataFrame, *, needed: Container[str] = ROW) -> Iterator[Row]:
    """Yield the rows of a frame of events, in its order."""
    for part in frame.iter_slices(_SLICE):
        yield from zip(*(_listed(part[name]) if name in needed else [None] * part.height for name in ROW), strict=True)


def event_in_words(row: Row) -> str:
    """Return a short description of a row's event for error notes and messages."""
    stream, _, event_type, revision, position, _, event_id, *_ = row
    return f"event {revision} of stream {stream!r} ({event_type}, id {event_id}, position {position})"


def _listed(column: pl.Series) -> list[Any]:
    return (column.cast(pl.Int64) if isinstance(column.dtype, pl.Datetime) else column).to_list()
