"""The messages of a read besides the stored ones, as KurrentDB 25.0 sends them.

What esdbclient's protobuf messages do not know yet is written by hand (``streams.proto`` of 24.10.5 and later)::

    ReadResp     1a LEN Checkpoint   42 LEN CaughtUp
    Checkpoint   08 commit position  10 prepare position  1a LEN Timestamp
    CaughtUp     0a LEN Timestamp  10 stream revision  1a LEN Position
    Position     08 commit position  10 prepare position
    Timestamp    08 seconds  10 nanoseconds
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from workbench.embedded.recording import records
from workbench.embedded.recording.clock import TICKS_PER_SECOND
from workbench.embedded.recording.log import Log
from workbench.embedded.recording.records import field, varint
from workbench.protocol import shared_pb2, streams_pb2

EVENT = 0x0A
"""The first byte of a message that holds an event."""

_NUMBER = re.compile(r"\s*[+-]?[0-9]+\s*")
_LEAST, _GREATEST = -(2**63), 2**63 - 1

Position = tuple[int, int]
"""Commit and prepare position."""


def confirmation(subscription: str) -> bytes:
    """Return the message that begins a subscription."""
    return _message(confirmation=streams_pb2.ReadResp.SubscriptionConfirmation(subscription_id=subscription))


def not_found(stream: str) -> bytes:
    """Return the message that answers a read of a stream that there is not."""
    identifier = shared_pb2.StreamIdentifier(stream_name=stream.encode())
    return _message(stream_not_found=streams_pb2.ReadResp.StreamNotFound(stream_identifier=identifier))


def first_stream_position(revision: int) -> bytes:
    """Return the message that says where a stream begins, or that it ends before the revision that was asked for."""
    return _message(first_stream_position=revision)


def last_stream_position(revision: int) -> bytes:
    """Return the message that says where a stream ends."""
    return _message(last_stream_position=revision)


def checkpoint(position: Position, *, now: int) -> bytes:
    """Return the message that says how far a filtered subscription has come."""
    return _content(0x1A, _position(position) + field(0x1A, _timestamp(now)))


def caught_up(*, now: int, revision: int | None = None, position: Position | None = None) -> bytes:
    """Return the message that says that a subscription is live, and behind which revision or position it goes on."""
    content = field(0x0A, _timestamp(now))
    if revision is not None:
        content += b"\x10" + varint(revision)
    if position is not None:
        there = _position(position)
        content += b"\x1a" + varint(len(there)) + there
    return _content(0x42, content)


def events(log: Log, numbers: Sequence[int], *, resolve: bool, head: int) -> list[bytes]:
    """Return the messages of records, links resolved to what a reader sees at a head if that was asked for."""
    if isinstance(numbers, range) and numbers.step == 1:  # as in $all: one scan
        frames = list(log.frames(numbers.start, numbers.stop))
    else:
        frames = list(log.frames_at(numbers))
    if not resolve:
        return frames
    return [_resolved(log, n, f, head) if log.type_of[n] == "$>" else f for n, f in zip(numbers, frames, strict=True)]


def structured(message: bytes) -> bytes:
    """Return a message with each event id as two numbers."""
    return records.with_structured_ids(message) if message[0] == EVENT else message


def _resolved(log: Log, number: int, link: bytes, head: int) -> bytes:
    """Resolve a link. What does not begin with a number and an @ is no link, but an event as any other.

    The server reads the number by .NET's ``long.TryParse``, which refuses what does not fit into 64 bits.
    """
    text, at, stream = records.decode(link).data.decode(errors="replace").partition("@")
    if not at or not _NUMBER.fullmatch(text) or not _LEAST <= (revision := int(text)) <= _GREATEST:
        return link
    target = log.number_of(stream, revision, head=head)
    return records.resolved(link, None if target is None else log.frames_at([target])[0], log.commits[number])


def _message(**content: Any) -> bytes:
    return bytes(streams_pb2.ReadResp(**content).SerializeToString())


def _content(tag: int, content: bytes) -> bytes:
    return bytes((tag,)) + varint(len(content)) + content


def _position(position: Position) -> bytes:
    commit, prepare = position
    return (b"\x08" + varint(commit) if commit else b"") + (b"\x10" + varint(prepare) if prepare else b"")


def _timestamp(ticks: int) -> bytes:
    seconds, rest = divmod(ticks, TICKS_PER_SECOND)
    return b"\x08" + varint(seconds) + (b"\x10" + varint(rest * 100) if rest else b"")
