"""What a real server sent, byte by byte, is read as another client read it (``wire/README.md`` says what was recorded and how)."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from workbench.errors import AccessDenied, InvalidPosition, ReadInterrupted, StreamDeleted
from workbench.kurrent import wire
from workbench.kurrent.errors import translate_rpc_error
from workbench.kurrent.reader import events_of
from workbench.kurrent.transport.http2 import Endpoint
from workbench.kurrent.transport.http2_frames import CallFailed, Exchange

HERE = Path(__file__).parent / "wire"
NAMES = sorted(path.name.removesuffix(".json.gz") for path in HERE.glob("*.json.gz"))
CUT = {"kill-in-mid-read", "shutdown-cuts-off"}
"""The server's process ended before the answer did."""

Code = grpc.StatusCode
FAILURES = {
    "access-denied-nobody": (Code.PERMISSION_DENIED, "Access Denied", AccessDenied),
    "access-denied-ops": (Code.PERMISSION_DENIED, "Access Denied", AccessDenied),
    "invalid-filter": (Code.UNKNOWN, "Exception was thrown by handler.", ReadInterrupted),
    "position-of-no-record": (Code.UNKNOWN, "Unexpected ReadAllResult: Error", InvalidPosition),
    "tombstoned-stream": (Code.FAILED_PRECONDITION, "Event stream 'dead-1' is deleted.", StreamDeleted),
    "unauthenticated": (Code.UNAUTHENTICATED, "Unauthenticated", AccessDenied),
}


@dataclass(frozen=True)
class Recording:
    name: str
    sent: bytes
    events: list[dict[str, Any]]
    error: dict[str, str] | None

    @classmethod
    def load(cls, name: str) -> Recording:
        said = json.loads(gzip.decompress((HERE / f"{name}.json.gz").read_bytes()))
        sent = gzip.decompress((HERE / f"{name}.server.bin.gz").read_bytes())
        return cls(name, sent, said["expected"]["events"], said["expected"]["error"])


@pytest.fixture(params=NAMES)
def recording(request: pytest.FixtureRequest) -> Recording:
    return Recording.load(request.param)


def test_all_recordings_are_there() -> None:
    assert len(NAMES) == 17


@pytest.mark.parametrize("size", [1 << 20, 7, 1])
def test_a_recording_is_read_alike_in_pieces_of_any_size(recording: Recording, size: int) -> None:
    exchange, failure = replay(recording.sent, size)
    body = bytes(exchange.take())
    check_events(recording, messages_in(body))
    check_failure(recording, failure)
    assert exchange.ended is (recording.name not in CUT and failure is None)


def test_a_recording_is_read_alike_from_a_socket(recording: Recording) -> None:
    messages: list[bytes] = []
    failure: CallFailed | None = None
    with playing(recording.sent) as endpoint:
        try:
            for chunk in endpoint.call("/m", b"").chunks(events=100, size=1 << 20):
                messages += [bytes(chunk.data[a:b]) for a, b in zip(chunk.start.tolist(), chunk.end.tolist(), strict=True)]
        except CallFailed as error:
            failure = error
    check_events(recording, messages)
    if recording.name in CUT:
        assert failure is not None
        assert (failure.code(), failure.details()) == (Code.UNAVAILABLE, "the server closed the connection")
    else:
        check_failure(recording, failure)


def replay(sent: bytes, size: int) -> tuple[Exchange, CallFailed | None]:
    exchange = Exchange([(":method", "POST")], b"")
    for at in range(0, len(sent), size):
        try:
            exchange.receive(sent[at : at + size])
        except CallFailed as failure:
            return exchange, failure
        if exchange.ended:
            break
    return exchange, None


def messages_in(body: bytes) -> list[bytes]:
    messages, at = [], 0
    while len(body) - at >= 5:
        stop = at + 5 + int.from_bytes(body[at + 1 : at + 5], "big")
        if stop > len(body):
            break
        messages.append(body[at + 5 : stop])
        at = stop
    return messages


def check_events(recording: Recording, messages: list[bytes]) -> None:
    """The events are all that the other client saw, or a beginning of them where the answer was cut."""
    decoded = wire.decode(wire.Messages.of(messages)) if messages else None
    seen = [] if decoded is None else [as_expected(row) for row in events_of(decoded).to_pylist()]
    expected = [{key: value for key, value in event.items() if key != "recorded_at"} for event in recording.events]
    assert seen == (expected[: len(seen)] if recording.name in CUT else expected)
    if recording.name in CUT:
        assert 100 <= len(seen) < len(expected)


def check_failure(recording: Recording, failure: CallFailed | None) -> None:
    if recording.name not in FAILURES:
        assert failure is None
        # A missing stream is an answer of its own; esdbclient makes an exception of it.
        assert recording.error is None or recording.error["esdbclient"] == "NotFound"
        return
    assert failure is not None
    code, details, kind = FAILURES[recording.name]
    assert (failure.code(), failure.details()) == (code, details)
    assert recording.error is not None
    if said := re.fullmatch(r'status = StatusCode\.(\w+) details = "(.*)"', recording.error["says"]):
        assert (failure.code().name, failure.details()) == said.groups()
    assert type(translate_rpc_error(failure, address="esdb://x")) is kind


def as_expected(row: dict[str, Any]) -> dict[str, Any]:
    data, metadata = (
        row[text].encode() if row[text] is not None else row[binary] or b""
        for text, binary in (("data", "data_bytes"), ("metadata", "metadata_bytes"))
    )
    return {
        "stream": row["stream"],
        "revision": row["revision"],
        "commit_position": row["position"],
        "id": row["event_id"],
        "type": row["type"],
        "content_type": "application/json" if row["is_json"] else "application/octet-stream",
        "data_bytes": len(data),
        "data_sha256": hashlib.sha256(data).hexdigest()[:32],
        "metadata_bytes": len(metadata),
        "metadata_sha256": hashlib.sha256(metadata).hexdigest()[:32],
    }


@contextmanager
def playing(sent: bytes) -> Iterator[Endpoint]:
    """A server that sends what was recorded to whoever connects, and closes."""

    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(30)
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        yield Endpoint("127.0.0.1", listener.getsockname()[1], None, ())
        thread.join(30)
