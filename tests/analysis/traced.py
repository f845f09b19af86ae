"""Small histories with correlation and causation, for the tests of workflows, traces and OCEL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from workbench.events import EVENT_SCHEMA, Checkpoint, Selection, Store, category_of
from workbench.lake import LakeWriter, open_lake
from workbench.timeline import Timeline

BEGIN = datetime(2026, 3, 1, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Traced:
    """An event; its id is its number in the log, beginning with 1."""

    type: str
    correlation_id: str | None = "c"
    seconds: float = 0.0
    """After ``BEGIN``."""
    cause: int | str | None = None
    """The number of the event that caused it, or any id."""
    stream: str = "order-1"
    data: str | None = "{}"
    id: str | None = None


def id_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def timeline_in(path: Path, events: Sequence[Traced], *, complete_until: datetime | None = None) -> Timeline:
    """Write events as one export, at positions 10, 20, 30 …, and return the timeline of the lake."""
    rows: list[dict[str, Any]] = []
    revisions: dict[str, int] = {}
    for number, one in enumerate(events, 1):
        revision = revisions[one.stream] = revisions.get(one.stream, -1) + 1
        at = BEGIN + timedelta(seconds=one.seconds)
        rows.append(
            {
                "position": number * 10,
                "prepare_position": number * 10,
                "stream": one.stream,
                "category": category_of(one.stream),
                "revision": revision,
                "event_id": one.id or id_of(number),
                "type": one.type,
                "recorded_at": at,
                "recorded_ticks": (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10,
                "is_json": True,
                "data": one.data,
                "metadata": "{}",
                "data_bytes": None if one.data is not None else b"\xff",
                "metadata_bytes": None,
                "correlation_id": one.correlation_id,
                "causation_id": id_of(one.cause) if isinstance(one.cause, int) else one.cause,
            }
        )
    store = Store("esdb://store.example:2113", first_position=10 if rows else None, first_event_id=rows[0]["event_id"] if rows else None)
    writer = LakeWriter.open(path, store=store, selection=Selection())
    last: dict[str, Any] = rows[-1] if rows else {"position": 0, "event_id": id_of(0), "recorded_at": BEGIN}
    until = complete_until or max((row["recorded_at"] for row in rows), default=BEGIN)
    checkpoint = Checkpoint(last["position"], last["position"], last["event_id"], until)
    writer.append(pa.Table.from_pylist(rows, schema=EVENT_SCHEMA), checkpoint)
    writer.close()
    return open_lake(path).timeline
