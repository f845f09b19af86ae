"""Small lakes that tests write by hand, through the lake's own writer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from workbench.events import EVENT_SCHEMA, Checkpoint, Selection, Store, category_of
from workbench.lake import LakeWriter

START = datetime(2026, 1, 5, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a test says of an event; the rest follows from its place in the log."""

    type: str
    at: datetime
    stream: str = "user-1"
    data: str | None = "{}"
    binary: bytes | None = None


def write_lake(path: Path, events: Iterable[Recorded], *, complete_until: datetime | None = None) -> Path:
    """Write events, in the order given, as one export; positions are multiples of 100."""
    rows: list[dict[str, Any]] = []
    revisions: dict[str, int] = {}
    for number, event in enumerate(events, 1):
        revision = revisions[event.stream] = revisions.get(event.stream, -1) + 1
        rows.append(
            {
                "position": number * 100,
                "prepare_position": number * 100,
                "stream": event.stream,
                "category": category_of(event.stream),
                "revision": revision,
                "event_id": f"00000000-0000-4000-8000-{number:012d}",
                "type": event.type,
                "recorded_at": event.at,
                "recorded_ticks": (event.at - _EPOCH) // timedelta(microseconds=1) * 10,
                "is_json": event.binary is None,
                "data": event.data if event.binary is None else None,
                "metadata": "{}",
                "data_bytes": event.binary,
                "metadata_bytes": None,
                "correlation_id": None,
                "causation_id": None,
            }
        )
    first: dict[str, Any] = rows[0] if rows else {"position": None, "event_id": None}
    last: dict[str, Any] = rows[-1] if rows else {"position": 0, "event_id": "00000000-0000-4000-8000-000000000000"}
    until = complete_until or max((row["recorded_at"] for row in rows), default=START)
    store = Store("esdb://store.example:2113", first_position=first["position"], first_event_id=first["event_id"])
    writer = LakeWriter.open(path, store=store, selection=Selection())
    checkpoint = Checkpoint(last["position"], last["position"], last["event_id"], until)
    writer.append(pa.Table.from_pylist(rows, schema=EVENT_SCHEMA), checkpoint)
    writer.close()
    return path


def community(events: int = 4000, *, days: int = 120) -> list[Recorded]:
    """Return a history that looks like a real one: it grows, it has quiet nights and weekends, and few types are frequent."""
    kinds = {
        "user.logged_in": 34, "message.posted": 27, "message.edited": 11, "room.joined": 8, "post.published": 6,
        "user.registered": 4, "registration.completed": 3.4, "comment.added": 3, "room.created": 1.4,
        "user.profile_updated": 1, "registration.compensated": 0.5, "user.password_reset": 0.4, "user.deleted": 0.2,
        "snapshot.user.v2": 0.1, "moderation.user_banned": 0.05,
    }  # fmt: skip
    names = [name for name, weight in kinds.items() for _ in range(round(weight * 20))]
    recorded = []
    for number in range(events):
        # A fixed walk over the types, and times that grow denser.
        name = names[number * 7919 % len(names)]
        moment = START + timedelta(days=days) * (number / events) ** 0.7
        if name == "post.published" and number < events // 2:
            name = "message.posted"
        stream = f"{name.split('.')[0]}-{number * 104729 % 97}"
        recorded.append(Recorded(name, moment.replace(microsecond=0), stream, f'{{"n": {number}, "text": "äöü"}}'))
    return recorded
