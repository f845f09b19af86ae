"""Determines which events the store hides from readers of streams, although the log still holds them.

KurrentDB keeps a stream's metadata as the last event of the stream ``$$name``: ``$tb`` (truncate before this revision), ``$maxCount`` (keep
only this many events) and ``$maxAge`` (seconds). A deleted stream has a ``$tb`` of 2^63-1; a tombstoned one ends with an event
``$streamDeleted`` of revision 2^63-1. ``$all`` shows hidden events until a scavenge. A metadata stream itself shows only its last event.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from workbench.events import MAX_POSITION
from workbench.lenient_json import read_value

TOMBSTONE = "$streamDeleted"
HIDDEN_SCHEMA: dict[str, pl.DataType] = {
    "hidden_stream": pl.String(),
    "gone": pl.Boolean(),
    "least_revision": pl.Int64(),
    "least_time": pl.Datetime("us", "UTC"),
}
"""One row for each stream with hidden events: all of them, or those below a revision or before a time."""

_ALWAYS = datetime(1, 1, 1, tzinfo=UTC)

_LONGEST = MAX_POSITION // 10_000_000
"""The longest time in seconds that the server can hold, in ticks of 100 ns."""

_DEEPEST = 64
"""The deepest nesting of arrays and objects (the limit of Newtonsoft.Json, which the server uses)."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """The part of a stream's metadata that hides events."""

    truncate_before: int | None = None
    max_count: int | None = None
    max_age: int | None = None

    @classmethod
    def parse(cls, data: bytes | None) -> StreamLimits:
        """Parse the payload of a metadata event as the server does (KurrentDB, ``StreamMetadata.TryFromJsonBytes``).

        If a known field has the wrong type, ``null`` included, or does not fit into 64 bits, or if the text is not a JSON object, the
        server ignores all of the metadata. It ignores only the field if a number is in range but meaningless, such as a ``$maxCount`` of
        0 or a negative ``$tb``. The server stops reading at the end of the object, and replaces bytes that are not UTF-8.
        """
        try:
            values = read_value((data or b"").decode("utf-8-sig", errors="replace"), deepest=_DEEPEST)
        except ValueError:
            return cls()
        if not isinstance(values, dict) or not _understood(values):
            return cls()
        count, age, before = (values.get(name, 0) for name in ("$maxCount", "$maxAge", "$tb"))
        return cls(
            truncate_before=before if before >= 0 else None, max_count=count if count > 0 else None, max_age=age if age > 0 else None
        )


def _understood(values: dict[str, object]) -> bool:
    whole = (values[name] for name in ("$maxCount", "$maxAge", "$tb", "$cacheControl") if name in values)
    return (
        all(isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63 for value in whole)
        and all(abs(value) <= _LONGEST for name in ("$maxAge", "$cacheControl") if isinstance(value := values.get(name), int))
        and isinstance(values.get("$tmp", False), bool)
        and _is_acl(values.get("$acl", {}))
    )


def _is_acl(value: object) -> bool:
    if not isinstance(value, dict) or not value.keys() <= {"$r", "$w", "$d", "$mr", "$mw"}:
        return False
    return all(isinstance(role, str) for roles in value.values() for role in (roles if isinstance(roles, list) else [roles]))


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """A stream's last revision in the cut, and the metadata that applies there."""

    stream: str
    last_revision: int
    metadata: StreamLimits


def hidden_streams(ends: Iterable[StreamEnd], *, tombstoned: Iterable[str], now: datetime) -> pl.DataFrame:
    """Return the hidden parts of streams at an instant, as a frame with ``HIDDEN_SCHEMA``.

    Parameters
    ----------
    ends
        The streams that have metadata, or are metadata streams.
    tombstoned
        The tombstoned streams; their metadata streams are hidden too.
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
