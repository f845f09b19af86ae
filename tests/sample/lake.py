"""The sample's history as a lake, written straight through the lake's writer, with the read models after any event."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from workbench.events import EVENT_SCHEMA, Checkpoint, Selection, Store, category_of
from workbench.lake import LakeWriter
from workbench.sample.journal import TOMBSTONE_REVISION, JournalEvent

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def row_of(event: JournalEvent, position: int) -> dict[str, Any]:
    """Return an event as a row of a lake."""
    metadata = _json(event.metadata) or {}
    return {
        "position": position,
        "prepare_position": position,
        "stream": event.stream,
        "category": category_of(event.stream),
        "revision": min(event.revision, TOMBSTONE_REVISION),
        "event_id": event.id or f"00000000-0000-4000-8000-{position:012d}",
        "type": event.type,
        "recorded_at": _EPOCH + timedelta(microseconds=event.ticks // 10),
        "recorded_ticks": event.ticks,
        "is_json": event.is_json,
        **_payload("data", event.data),
        **_payload("metadata", event.metadata),
        "correlation_id": metadata.get("$correlationId"),
        "causation_id": metadata.get("$causationId"),
    }


def write_sample(path: Path, events: Sequence[JournalEvent]) -> Path:
    """Write a history as one export; the position of the event at index ``i`` is ``(i + 1) * 100``."""
    rows = [row_of(event, (index + 1) * 100) for index, event in enumerate(events)]
    store = Store("esdb://sample.example:2113", first_position=100, first_event_id=rows[0]["event_id"])
    writer = LakeWriter.open(path, store=store, selection=Selection())
    last = rows[-1]
    until = max(row["recorded_at"] for row in rows)
    writer.append(pa.Table.from_pylist(rows, schema=EVENT_SCHEMA), Checkpoint(last["position"], last["position"], last["event_id"], until))
    writer.close()
    return path


def _json(raw: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _payload(column: str, raw: bytes) -> dict[str, Any]:
    try:
        orjson.loads(raw)
        return {column: raw.decode(), f"{column}_bytes": None}
    except (orjson.JSONDecodeError, UnicodeDecodeError):
        return {column: None, f"{column}_bytes": raw}
