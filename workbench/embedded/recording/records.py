"""The layout of a recorded event on the wire and in storage.

A record is kept as the finished ``ReadResp`` message that a read sends, so that serving it is a copy of bytes. The layout is that
of the server: fields in ascending order, and the metadata map as ``type``, ``created``, ``content-type`` (KurrentDB,
``Streams.Read.cs``, ``MetadataHelpers.cs``; the messages are those of ``streams.proto``)::

    ReadResp      0a LEN ReadEvent
    ReadEvent     0a LEN RecordedEvent   [12 LEN RecordedEvent of the link]   18 commit position
    RecordedEvent 0a 26 12 24 <36 characters of the id>  12 .. stream  18 .. revision  20 .. prepare  28 .. commit
                  32 .. type  32 .. created  32 .. content-type  3a .. metadata  42 .. data
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

MAX_REVISION = 2**63 - 1
"""The revision of a tombstone, and the ``$tb`` of a deleted stream."""

_ID_LENGTH = 40  # 0a 26 12 24 and 36 characters


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that a writer proposes.

    ``created`` is its own time in 100 ns ticks since the Unix epoch; None leaves the stamp to the store's clock.
    """

    id: UUID
    type: str
    data: bytes = b""
    metadata: bytes = b""
    is_json: bool = True
    created: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """An event in the log: its position, and the message that a read sends for it."""

    commit: int
    prepare: int
    stream: str
    revision: int
    type: str
    created: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Payload:
    """What a stored frame says besides its place."""

    id: UUID
    is_json: bool
    metadata: bytes
    data: bytes


def varint(value: int) -> bytes:
    """Return an unsigned integer in protobuf's variable-length form."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(tag: int, payload: bytes) -> bytes:
    """Return a length-delimited field; an empty one is left out, as proto3 does."""
    return bytes((tag,)) + varint(len(payload)) + payload if payload else b""


@lru_cache(maxsize=65_536)
def _stream_field(stream: str) -> bytes:
    return field(0x12, field(0x1A, stream.encode()))


@lru_cache(maxsize=4_096)
def _map_entry(key: str, value: str) -> bytes:
    return field(0x32, field(0x0A, key.encode()) + field(0x12, value.encode()))


_CREATED = b"\x0a\x07created\x12"
_JSON = _map_entry("content-type", "application/json")
_OCTETS = _map_entry("content-type", "application/octet-stream")


def encode(event: NewEvent, *, stream: str, revision: int, prepare: int, commit: int, created: int) -> bytes:
    """Return the ``ReadResp`` message of an event that is recorded at a place and a time."""
    ticks = b"%d" % created
    position = varint(commit)
    recorded = b"".join(
        (
            b"\x0a\x26\x12\x24",
            str(event.id).encode(),
            _stream_field(stream),
            b"\x18" + varint(revision) if revision else b"",
            b"\x20" + (position if prepare == commit else varint(prepare)) if prepare else b"",
            b"\x28" + position if commit else b"",
            _map_entry("type", event.type),
            bytes((0x32, len(ticks) + 11)),
            _CREATED,
            bytes((len(ticks),)),
            ticks,
            _JSON if event.is_json else _OCTETS,
            field(0x3A, event.metadata),
            field(0x42, event.data),
        )
    )
    length = varint(len(recorded))
    read_event = len(recorded) + len(length) + len(position) + 2
    return b"".join((b"\x0a", varint(read_event), b"\x0a", length, recorded, b"\x18", position))


def _frame(event: bytes, link: bytes, commit: int) -> bytes:
    read_event = field(0x0A, event) + field(0x12, link) + b"\x18" + varint(commit)
    return b"\x0a" + varint(len(read_event)) + read_event


def _varint_at(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _recorded(frame: bytes) -> bytes:
    """Return the RecordedEvent inside a stored frame."""
    _, at = _varint_at(frame, 1)
    length, at = _varint_at(frame, at + 1)
    return frame[at : at + length]


def _fields(frame: bytes) -> list[tuple[int, int, int]]:
    """Return number, start and end of each length-delimited field of the RecordedEvent in a frame."""
    _, at = _varint_at(frame, 1)
    length, at = _varint_at(frame, at + 1)
    end = at + length
    found = []
    while at < end:
        tag, at = _varint_at(frame, at)
        size, at = _varint_at(frame, at)
        if tag & 7 == 2:
            found.append((tag >> 3, at, at + size))
            at += size
    return found


def decode(frame: bytes) -> Payload:
    """Return id, content flag, metadata and data of a stored frame."""
    event_id = UUID(_recorded(frame)[4:_ID_LENGTH].decode())
    metadata = data = b""
    is_json = False
    for number, start, end in _fields(frame):
        if number == 6:
            is_json = is_json or frame[start:end] == _JSON[2:]
        elif number == 7:
            metadata = frame[start:end]
        elif number == 8:
            data = frame[start:end]
    return Payload(id=event_id, is_json=is_json, metadata=metadata, data=data)


def id_of(frame: bytes) -> UUID:
    """Return the event id of a stored frame."""
    return UUID(_recorded(frame)[4:_ID_LENGTH].decode())


def resolved(link: bytes, target: bytes | None, commit: int) -> bytes:
    """Return the message of a link that is resolved to its target, or of one whose target is gone."""
    return _frame(b"" if target is None else _recorded(target), _recorded(link), commit)


def with_structured_ids(frame: bytes) -> bytes:
    """Return a frame with each id as two signed 64-bit numbers, which clients may ask for instead of text."""
    _, at = _varint_at(frame, 1)
    parts = []
    while at < len(frame):
        tag = frame[at]
        if tag == 0x18:
            parts.append(frame[at:])
            break
        length, start = _varint_at(frame, at + 1)
        at = start + length
        parts.append(field(tag, _structured_id(frame[start + 4 : start + _ID_LENGTH]) + frame[start + _ID_LENGTH : at]))
    read_event = b"".join(parts)
    return b"\x0a" + varint(len(read_event)) + read_event


def _structured_id(text: bytes) -> bytes:
    high, low = struct.unpack(">QQ", UUID(text.decode()).bytes)
    numbers = (b"\x08" + varint(high) if high else b"") + (b"\x10" + varint(low) if low else b"")
    return field(0x0A, b"\x0a" + varint(len(numbers)) + numbers)


def redacted(frame: bytes) -> bytes:
    """Return a frame whose data is overwritten by 0xFF, byte for byte."""
    for number, start, end in _fields(frame):
        if number == 8:
            return frame[:start] + b"\xff" * (end - start) + frame[end:]
    return frame
