"""What the store hides from readers of streams, though the log still holds it.

KurrentDB keeps a stream's metadata as the last event of the stream ``$$name``: ``$tb`` (truncate before this revision),
``$maxCount`` (only the last so many) and ``$maxAge`` (seconds). A deleted stream is one whose ``$tb`` is 2^63-1; a tombstoned one
ends in an event ``$streamDeleted`` of revision 2^63-1. ``$all`` shows all of it until a scavenge. A metadata stream itself shows
its last event only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from workbench.events import MAX_POSITION

TOMBSTONE = "$streamDeleted"
HIDDEN_SCHEMA: dict[str, pl.DataType] = {
    "hidden_stream": pl.String(),
    "gone": pl.Boolean(),
    "least_revision": pl.Int64(),
    "least_time": pl.Datetime("us", "UTC"),
}
"""One row for each stream that hides something: all of it, or what lies below a revision or before a time."""

_ALWAYS = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class StreamMetadata:
    """The part of a stream's metadata that hides events."""

    truncate_before: int | None = None
    max_count: int | None = None
    max_age: int | None = None

    @classmethod
    def parse(cls, text: str | None) -> StreamMetadata:
        """Read the payload of a metadata event; what is no metadata hides nothing, as in the store."""
        try:
            read = json.loads(text or "")
        except ValueError:
            return cls()
        if not isinstance(read, dict):
            return cls()
        values = [read.get(name) for name in ("$tb", "$maxCount", "$maxAge")]
        if any(value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0) for value in values):
            return cls()
        return cls(*values)


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """A stream's last revision in the cut, and the metadata that holds there."""

    stream: str
    last_revision: int
    metadata: StreamMetadata


def hidden_streams(ends: Iterable[StreamEnd], *, tombstoned: Iterable[str], now: datetime) -> pl.DataFrame:
    """Return what is hidden at an instant, a frame of ``HIDDEN_SCHEMA``.

    Parameters
    ----------
    ends
        The streams that have metadata, or are metadata streams.
    tombstoned
        The streams that were tombstoned; their metadata streams are gone with them.
    now
        The instant from which ``$maxAge`` counts back.
    """
    gone = {name for stream in tombstoned for name in (stream, f"$${stream}")}
    rows = [(stream, True, 0, _ALWAYS) for stream in sorted(gone)]
    for end in ends:
        if end.stream in gone:
            continue
        metadata = end.metadata
        least = metadata.truncate_before or 0
        if metadata.max_count:
            least = max(least, end.last_revision - metadata.max_count + 1)
        since = _ALWAYS if not metadata.max_age else _before(now, metadata.max_age)
        rows.append((end.stream, False, min(least, MAX_POSITION), since))
    return pl.DataFrame(rows, schema=HIDDEN_SCHEMA, orient="row")


def _before(now: datetime, seconds: int) -> datetime:
    try:
        return now - timedelta(seconds=seconds)
    except OverflowError:  # older than any calendar
        return _ALWAYS
