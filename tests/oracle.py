"""The log of a store, read the plain way: one event at a time with protobuf's own parser. What an export is held against."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.stores import NewEvent, Store, read_all
from workbench.lake import open_lake
from workbench.server_streams import is_server_stream

Row = tuple[Any, ...]


def log_of(store: Store, *, system: bool = False) -> list[Row]:
    """Return the events of ``$all`` in log order, as rows of what was recorded.

    Streams that the server writes for itself are left out, as a lake leaves them out, unless they are asked for.
    """
    rows = [
        (
            event.commit_position,
            event.prepare_position,
            event.stream_identifier.stream_name.decode(),
            event.stream_revision,
            event.id.string,
            event.metadata["type"],
            int(event.metadata["created"]),
            event.metadata["content-type"] == "application/json",
            event.data,
            event.custom_metadata,
        )
        for event in read_all(store.address)
    ]
    return [row for row in rows if system or not is_server_stream(row[2])]


def lake_rows(path: Path) -> list[Row]:
    """Return every event of a lake in log order, with the recorded bytes given back from whichever column holds them."""
    frame = open_lake(path).timeline.with_system().events().collect()
    return [
        (
            row["position"],
            row["prepare_position"],
            row["stream"],
            row["revision"],
            row["event_id"],
            row["type"],
            row["recorded_ticks"],
            row["is_json"],
            given_back(row["data"], row["data_bytes"]),
            given_back(row["metadata"], row["metadata_bytes"]),
        )
        for row in frame.iter_rows(named=True)
    ]


def given_back(text: str | None, raw: bytes | None) -> bytes:
    if raw is not None:
        assert text is None
        return raw
    assert text is not None
    return text.encode()


PAYLOADS = (
    b'{"a": 1.10, "b": null}',
    b"",
    b"\xff\x00\xfe",
    b"NaN",
    '{"n":"漢字 🦊"}'.encode(),
    b"[1,]",
    b'"text"',
    b'{"a":1,"a":2}',
    b"x" * 3000,
)
TRACES = (b"", b'{"$correlationId":"c-1","$causationId":"e-1"}', b"\x00\x01", b"[]", b'{"$correlationId":5}')


def fill(store: Store, events: int, *, begin: int = 0) -> list[str]:
    """Append events of every make, and return their ids: many streams, JSON and not, system streams, a dangling link now and then."""
    ids = []
    for i in range(begin, begin + events):
        stream = f"user-{i % 7}" if i % 5 else f"{('room', 'users', '$settings', 'order-eu')[i % 4]}-{i % 3}"
        link = i % 50 == 49
        event = NewEvent(
            id=uuid4(),
            type="$>" if link else f"type.{i % 4}",
            data=b"7@no-such-stream" if link else PAYLOADS[i % len(PAYLOADS)],
            metadata=TRACES[i % len(TRACES)],
            is_json=bool(i % 3),
        )
        store.append("$svc-links" if link else stream, [event])
        ids.append(str(event.id))
    return ids


def new_events(count: int) -> Sequence[NewEvent]:
    return [NewEvent(id=uuid4(), type="t", data=b'{"n":%d}' % i) for i in range(count)]
