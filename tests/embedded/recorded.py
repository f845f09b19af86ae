"""Calls that were recorded with a real server, made again, and told in words that can be compared.

The calls and the rules by which two answers are the same come with the recording (``golden/calls.jsonl.gz``): positions are compared
by the event that they point at, and ids only where a client sent them. How 25.0.1 answered otherwise than the recorded 23.10.8
stands in ``golden/differs-25.0.txt.gz``, as differences between the words of this module.
"""

from __future__ import annotations

import base64
import gzip
import json
import threading
import time
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
from esdbclient.protos.Grpc import shared_pb2, streams_pb2
from google.protobuf.message import DecodeError, Message

_FOLDER = Path(__file__).parent / "golden"
_STREAMS = "/event_store.client.streams.Streams/"
_ANSWERS: dict[str, type[Message]] = {
    _STREAMS + "Read": streams_pb2.ReadResp,
    _STREAMS + "Append": streams_pb2.AppendResp,
    _STREAMS + "BatchAppend": streams_pb2.BatchAppendResp,
    _STREAMS + "Delete": streams_pb2.DeleteResp,
    _STREAMS + "Tombstone": streams_pb2.TombstoneResp,
}
_DETAILS: dict[str, type[Message]] = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (
        shared_pb2.WrongExpectedVersion,
        shared_pb2.StreamDeleted,
        shared_pb2.Timeout,
        shared_pb2.BadRequest,
        shared_pb2.MaximumAppendSizeExceeded,
    )
}
_OWN_STREAM = b"$$$scavenges"  # in which a real server writes an event when it starts
_OWN_TRAILERS = {"content-length", "date", "server"}
_LONG = 100  # bytes
_TOLD = 400  # characters of a line, in the differences of 25.0
_DEADLINE = 30.0
_SILENCE = 1.0  # seconds without an answer after which none is taken to come, where none came when it was recorded
_FEWER = "cancelled by the client: fewer answers came than were waited for"


@dataclass(frozen=True)
class Call:
    """A recorded call; the keys of the recording's lines, requests and answers decoded."""

    number: int
    rank: str
    about: str
    method: str
    metadata: tuple[tuple[str, str], ...]
    requests: tuple[bytes, ...]
    answers: tuple[bytes, ...]
    end: tuple[str | None, str, tuple[tuple[str, str], ...]]
    take: int | None
    keep: str | None
    more: str | None
    hold: bool
    gap: float
    before: float


def recorded_calls() -> list[Call]:
    """Return the recorded calls, in the order in which they must be made."""
    with gzip.open(_FOLDER / "calls.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [_call(json.loads(line)) for line in lines]


def _call(line: dict[str, Any]) -> Call:
    return Call(
        number=line["n"],
        rank=line["rank"],
        about=f"{line['section']}: {line['why']}",
        method=line["method"],
        metadata=tuple((key, value) for key, value in line["metadata"]),
        requests=tuple(_unpacked(value) for value in line["requests"]),
        answers=tuple(_unpacked(value) for value in line["responses"]),
        end=(line["code"], line["details"], tuple((key, value) for key, value in line["trailers"])),
        take=line.get("take"),
        keep=line.get("keep"),
        more=line.get("more"),
        hold=line.get("hold", False),
        gap=line.get("gap", 0),
        before=line.get("before", 0),
    )


def _unpacked(value: str | dict[str, str]) -> bytes:
    return zlib.decompress(base64.b64decode(value["zlib"])) if isinstance(value, dict) else base64.b64decode(value)


def differences_of_the_newer() -> dict[int, list[str]]:
    """Return, by the number of the call, how 25.0.1 answered otherwise than what is recorded."""
    found: dict[int, list[str]] = {}
    with gzip.open(_FOLDER / "differs-25.0.txt.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("#"):
                changes = found[int(line[1:].split(" ", 1)[0])] = []
            elif line.startswith("    "):
                changes.append(line.strip("\n")[4:])
    return found


@dataclass
class Answer:
    """What came of a call that was made again."""

    messages: Sequence[bytes]
    end: tuple[str | None, str, Sequence[tuple[str, str | bytes]]]


class _Making:
    """A call under way."""

    def __init__(self, channel: grpc.Channel, call: Call, requests: Sequence[bytes]) -> None:
        self.begun = 0
        self._came: list[bytes] = []
        self._changed = threading.Condition()
        self.over = False
        self._ended = threading.Event()
        self._call, self._gap = call, call.gap
        self.stream = channel.stream_stream(call.method)(self._send(requests), metadata=call.metadata)
        self._taking = threading.Thread(target=self._take, daemon=True)
        self._taking.start()

    def _send(self, requests: Sequence[bytes]) -> Iterator[bytes]:
        for at, request in enumerate(requests):
            if at:
                time.sleep(self._gap)
            yield request
        if self._call.hold:  # the client does not end its side of the call
            self._ended.wait(_DEADLINE)

    def _take(self) -> None:
        with suppress(grpc.RpcError):
            for message in self.stream:
                with self._changed:
                    self._came.append(message)
                    self._changed.notify_all()
        with self._changed:
            self.over = True
            self._changed.notify_all()

    def answer(self, call: Call) -> Answer:
        """Wait until the call ended, or as many answers came as are to be taken, and return them."""
        enough = None if call.take is None else self.begun + max(call.take, len(call.answers))
        seconds = _SILENCE if call.end[1] == _FEWER else _DEADLINE
        with self._changed:
            self._changed.wait_for(lambda: self.over or (enough is not None and len(self._came) >= enough), seconds)
            messages = self._came[self.begun :]
            over = self.over
        if not over and call.take is not None:
            del messages[call.take :]
        self.begun += len(messages)
        if over:
            end = (self.stream.code().name, self.stream.details(), tuple(self.stream.trailing_metadata() or ()))
        if call.keep is None:
            self.close()
        if over:
            return Answer(messages, end)
        fewer = call.take is None or len(messages) < call.take
        return Answer(messages, (None, _FEWER if fewer else "cancelled by the client", ()))

    def close(self) -> None:
        """Cancel the call, if it is still under way."""
        self.stream.cancel()
        self._ended.set()
        self._taking.join(_DEADLINE)


@dataclass
class Places:
    """Which event begins at which position."""

    events: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    positions: dict[tuple[bytes, int], int] = field(default_factory=dict)

    def learn(self, messages: Iterable[bytes]) -> None:
        """Note the places of events that were read."""
        for message in messages:
            read = streams_pb2.ReadResp.FromString(message).event
            for event in (read.event, read.link):
                place = event.stream_identifier.stream_name, event.stream_revision
                if event.metadata and place[0] != _OWN_STREAM:
                    self.events[event.commit_position] = place
                    self.positions[place] = event.commit_position

    def before(self, position: int) -> int | None:
        """Return where the event begins that stands at a position, or last before it."""
        known = sorted(self.events)
        at = bisect_right(known, position)
        return known[at - 1] if at else None

    def told(self, position: int) -> str:
        """Say at which event a position is, or behind which."""
        begin = self.before(position)
        if begin is None or position >= 2**62:
            return f"{position} (no event)"
        stream, revision = self.events[begin]
        return f"{'at' if begin == position else 'behind'} {stream.decode(errors='replace')}/{revision}"


def make_again(calls: Sequence[Call], address: str) -> tuple[list[Answer], Places]:
    """Make all calls against an empty server, one after the other; return what it answered, and where it put which event."""
    recorded, own = Places(), Places()
    for call in calls:
        if call.method == _STREAMS + "Read":
            recorded.learn(call.answers)
    answers = []
    open_calls: dict[str, _Making] = {}
    options = [("grpc.max_receive_message_length", 2**26), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(address, options=options) as channel:
        for call in calls:
            time.sleep(call.before)
            if call.more is None:
                making = _Making(channel, call, [_translated(request, recorded, own) for request in call.requests])
            else:
                making = open_calls[call.more]
            answer = making.answer(call)
            if call.keep is not None:
                open_calls[call.keep] = making
            if call.method == _STREAMS + "Read":
                own.learn(answer.messages)
            answers.append(answer)
    return answers, own


def _translated(request: bytes, recorded: Places, own: Places) -> bytes:
    """Put the server's own position of the same event into a read of ``$all``, the distance to it kept."""
    message = streams_pb2.ReadReq()
    with suppress(DecodeError):
        message.ParseFromString(request)
    position = message.options.all.position
    begin = recorded.before(position.commit_position)
    if not message.options.all.HasField("position") or begin is None or not 100 < position.commit_position < 10**14:
        return request
    distance = own.positions.get(recorded.events[begin], begin) - begin
    position.commit_position += distance
    position.prepare_position += distance if position.prepare_position else 0
    return bytes(message.SerializeToString())


class Teller:
    """Says answers in words, the same ones for the same answers."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._sent = {identity for call in calls for identity in _sent_ids(call)}
        self.recorded = Places()
        for call in calls:
            if call.method == _STREAMS + "Read":
                self.recorded.learn(call.answers)

    def differences(self, call: Call, answer: Answer, places: Places) -> list[str]:
        """Return what was recorded and is not answered, and the other way round, in order."""
        expected, system = self._told(call, call.answers, call.end, self.recorded)
        answered, _ = self._told(call, answer.messages, answer.end, places)
        if system and len(answered) == len(expected) + system:  # own events stand where those of the server itself did
            del answered[len(expected) - 1 : -1]
        changes = unified_diff(expected, answered, n=0, lineterm="")
        says = {"-": "recorded", "+": "answered"}
        return [f"{says[line[0]]} {line[1:_TOLD]}" for line in changes if line[:2] != "@@" and line[:3] not in ("---", "+++")]

    def _told(self, call: Call, messages: Iterable[bytes], end: tuple[Any, Any, Any], places: Places) -> tuple[list[str], int]:
        kind = _ANSWERS.get(call.method)
        told, system = [], 0
        for message in messages:
            if kind is None:
                told.append("an answer")
                continue
            parsed = kind.FromString(message)
            if isinstance(parsed, streams_pb2.ReadResp) and parsed.event.event.stream_identifier.stream_name == _OWN_STREAM:
                system += 1
            else:
                told.append(self._fields(parsed, places))
        code, details, trailers = end
        kept = sorted([key, value if isinstance(value, str) else value.hex()] for key, value in trailers if key not in _OWN_TRAILERS)
        return [*told, f"status {code} {details!r} {kept}"], system

    def _fields(self, message: Message, places: Places) -> str:
        return " ".join(
            f"{descriptor.name}={self._value(message, descriptor.name, value, places)}" for descriptor, value in message.ListFields()
        )

    def _value(self, message: Message, name: str, value: Any, places: Places) -> str:
        kind = message.DESCRIPTOR.name
        if name in ("commit_position", "prepare_position"):
            return places.told(value)
        if kind == "RecordedEvent" and name == "metadata":
            return str({key: "TIME" if key == "created" else value[key] for key in sorted(value)})
        if kind == "RecordedEvent" and name == "id" and _identity(value) not in self._sent:
            return "{AN ID OF THE SERVER'S OWN}"
        if name == "subscription_id":
            return "ID"
        if name == "details" and value.type_url:
            detail = _DETAILS[value.type_url.split("/")[-1]].FromString(value.value)
            return f"{value.type_url}{{{self._fields(detail, places)}}}"
        if isinstance(value, Message):
            return f"{{{self._fields(value, places)}}}"
        if isinstance(value, bytes):
            return repr(value) if len(value) <= _LONG else f"{value[:40]!r}...({len(value)} bytes, crc {zlib.crc32(value):08x})"
        return str(value)


def _identity(value: shared_pb2.UUID) -> UUID | None:
    if value.WhichOneof("value") == "structured":
        high, low = value.structured.most_significant_bits % 2**64, value.structured.least_significant_bits % 2**64
        return UUID(int=high << 64 | low)
    with suppress(ValueError):
        return UUID(value.string)
    return None


def _sent_ids(call: Call) -> Iterator[UUID]:
    for request in call.requests:
        with suppress(DecodeError):
            if call.method == _STREAMS + "Append":
                proposed: Iterable[Any] = [streams_pb2.AppendReq.FromString(request).proposed_message]
            elif call.method == _STREAMS + "BatchAppend":
                proposed = streams_pb2.BatchAppendReq.FromString(request).proposed_messages
            else:
                return
            yield from filter(None, (_identity(event.id) for event in proposed))
