"""Finds the streams that the store hides from readers at the end of a timeline: deleted and truncated ones."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from workbench.errors import UsageError
from workbench.events import MAX_POSITION
from workbench.lake.reading.user_events import user_stream
from workbench.lake.reading.visibility import TOMBSTONE, StreamLimits
from workbench.timeline import Timeline

_MICROSECONDS = 1_000_000
_METADATA = """
    SELECT substr(stream, 3), CASE WHEN is_json THEN coalesce(encode(data), data_bytes) END FROM events WHERE starts_with(stream, '$$')
    QUALIFY row_number() OVER (PARTITION BY stream ORDER BY position DESC, prepare_position DESC) = 1
"""
_TOMBSTONED = f"SELECT DISTINCT stream FROM events WHERE type = '{TOMBSTONE}' AND revision = {MAX_POSITION}"
_HIDDEN: dict[str, pl.DataType] = {
    "stream": pl.String(),
    "fate": pl.Enum(["tombstoned", "deleted", "truncated", "limited"]),
    "events": pl.Int64(),
    "hidden": pl.Int64(),
    "truncate_before": pl.Int64(),
    "max_count": pl.Int64(),
    "max_age": pl.Duration("us"),
}


def hidden_of(timeline: Timeline, streams: pl.DataFrame) -> pl.DataFrame | None:
    """Return the streams that the store hides, in whole or in part, or might hide; None if the lake lacks their metadata."""
    try:
        shown = replace(timeline, visible_only=True).sql("SELECT stream, count(*) AS shown FROM events GROUP BY stream")
    except UsageError:
        return None
    governing = replace(timeline, selections=(), after_position=None, system=True, visible_only=False)
    gone = {stream for (stream,) in governing.sql(_TOMBSTONED).fetchall()}
    told = {stream: StreamLimits.parse(data) for stream, data in governing.sql(_METADATA).fetchall()}
    rows = []
    for stream in sorted(gone | told.keys()):
        metadata = StreamLimits() if stream in gone else told[stream]
        if stream in gone or metadata.truncate_before or metadata.max_count or metadata.max_age:
            age = None if metadata.max_age is None else metadata.max_age * _MICROSECONDS
            fate = "tombstoned" if stream in gone else "deleted" if metadata.truncate_before == MAX_POSITION else "limited"
            rows.append((stream, fate, metadata.truncate_before or None, metadata.max_count, age))
    schema = {"stream": pl.String, "fate": pl.String, "truncate_before": pl.Int64, "max_count": pl.Int64, "max_age": pl.Int64}
    found = pl.DataFrame(rows, schema=schema, orient="row")
    if timeline.selections:
        found = found.join(streams, on="stream", how="semi")
    if not timeline.system:
        found = found.filter(user_stream())
    if found.is_empty():
        return pl.DataFrame(schema=_HIDDEN)
    return (
        found.join(streams.select("stream", "events"), on="stream", how="left")
        .join(shown.pl(), on="stream", how="left")
        .with_columns(pl.col("events", "shown").fill_null(0))
        .with_columns(hidden=pl.col("events") - pl.col("shown"), max_age=pl.col("max_age").cast(_HIDDEN["max_age"]))
        .with_columns(
            fate=pl.when((pl.col("fate") == "limited") & (pl.col("hidden") > 0))
            .then(pl.lit("truncated"))
            .otherwise("fate")
            .cast(_HIDDEN["fate"])
        )
        .select(list(_HIDDEN))
        .sort("hidden", "stream", descending=[True, False])
    )
