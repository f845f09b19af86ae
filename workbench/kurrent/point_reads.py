"""Reads single events: one at a position of ``$all``, a few before it, or one of a stream.

An export uses these reads to verify that the log is the one it copied before. Each answer is small, has a deadline, and always goes over
the gRPC channel, whichever transport the bulk reads use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import grpc
import msgspec
import pyarrow as pa

from workbench.errors import InvalidPosition
from workbench.events import EVENT_SCHEMA, EventAt
from workbench.kurrent import wire
from workbench.kurrent.errors import Peer, translate_rpc_error
from workbench.kurrent.filter import ReadFilter
from workbench.kurrent.reader import READ, events_of
from workbench.protocol import shared_pb2, streams_pb2

DEADLINE_SECONDS = 10.0
"""How long an answer may take."""

FILTERED_SECONDS = 600.0
"""How long an answer may take when the server searches for events that pass a filter."""

_Options = streams_pb2.ReadReq.Options
_FORWARDS, _BACKWARDS = _Options.ReadDirection.Forwards, _Options.ReadDirection.Backwards


LIMITS: Final = ("$maxAge", "$maxCount", "$tb")
"""The fields of a stream's metadata that hide events of the stream; a scavenge may remove hidden events."""


@dataclass(frozen=True, slots=True)
class StreamMetadata:
    """The newest metadata of a stream: its revision in the metadata stream, and whether it may hide events of the stream."""

    revision: int
    may_hide: bool


class PointReader:
    """Reads single events over a channel that the caller opens and closes; see ``Connection.points``.

    All methods may also raise ``SourceUnavailable``, ``AccessDenied`` and ``ReadInterrupted``.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        address: Peer | str,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._address = address
        self._metadata = metadata
        self._read = channel.unary_stream(READ, request_serializer=streams_pb2.ReadReq.SerializeToString, response_deserializer=None)

    def event_at(self, position: int, prepare_position: int) -> EventAt | None:
        """Return the first event of ``$all`` at or after a position, system events included; None if the log ends before it.

        If the event at the position was scavenged, the result is a later one: in a scavenged chunk, a server accepts any position and
        answers with the next remaining event.

        Raises
        ------
        InvalidPosition
            The server refused the position: no record begins there.
        """
        events = self._events(self._at(position, prepare_position, direction=_FORWARDS, count=1))
        return _event(events, 0) if events.num_rows else None

    def events_before(
        self,
        position: int,
        prepare_position: int,
        *,
        count: int,
        filter: ReadFilter | None = None,  # noqa: A002  # the protocol's own word
    ) -> pa.RecordBatch:
        """Return up to ``count`` events of ``$all`` before a position, the newest first, in ``EVENT_SCHEMA``.

        With a filter the server may have to search the log to its beginning; the deadline is then ten minutes.

        Raises
        ------
        InvalidPosition
            The server refused the position: no record begins there.
        """
        request = self._at(position, prepare_position, direction=_BACKWARDS, count=count)
        if filter is None:
            return self._events(request)
        filter.write_into(request.options)
        return self._events(request, seconds=FILTERED_SECONDS)

    def event_in_stream(self, stream: str, revision: int) -> EventAt | None:
        """Return the first visible event of a stream at or after a revision; None if there is none.

        A stream read leaves out the events that ``$maxAge``, ``$maxCount``, ``$tb`` or a deletion hides, scavenged or not.

        Raises
        ------
        StreamDeleted
            The stream was tombstoned.
        """
        options = _Options.StreamOptions(stream_identifier=_named(stream), revision=revision)
        events = self._events(_request(direction=_FORWARDS, count=1, stream=options))
        return _event(events, 0) if events.num_rows else None

    def stream_metadata(self, stream: str) -> StreamMetadata | None:
        """Return the newest metadata of a stream, or None.

        Raises
        ------
        StreamDeleted
            The stream was tombstoned.
        """
        options = _Options.StreamOptions(stream_identifier=_named(f"$${stream}"), end=shared_pb2.Empty())
        events = self._events(_request(direction=_BACKWARDS, count=1, stream=options))
        if not events.num_rows:
            return None
        text, raw = events["data"][0].as_py(), events["data_bytes"][0].as_py()
        return StreamMetadata(events["revision"][0].as_py(), _may_hide(text.encode() if raw is None else raw))

    def _at(self, position: int, prepare_position: int, *, direction: Any, count: int) -> streams_pb2.ReadReq:
        if prepare_position > position:
            # A record is prepared before it is committed. Servers reject such a request without a reason ("Exception was thrown by
            # handler.").
            raise InvalidPosition(f"{self._address}: no record can have position {position} and prepare position {prepare_position}.")
        place = _Options.Position(commit_position=position, prepare_position=prepare_position)
        return _request(direction=direction, count=count, all=_Options.AllOptions(position=place))

    def _events(self, request: streams_pb2.ReadReq, *, seconds: float = DEADLINE_SECONDS) -> pa.RecordBatch:
        try:
            messages = list(self._read(request, timeout=seconds, metadata=self._metadata))
        except grpc.RpcError as error:
            raise translate_rpc_error(error, address=self._address) from error
        decoded = wire.decode(wire.Messages.of(messages)) if messages else None
        return events_of(decoded) if decoded is not None else pa.RecordBatch.from_pylist([], schema=EVENT_SCHEMA)


def _may_hide(metadata: bytes) -> bool:
    """Whether metadata can hide events. Servers parse it leniently, so metadata that is not JSON counts if it names a limit."""
    try:
        values = msgspec.json.decode(metadata)
    except (msgspec.DecodeError, RecursionError):
        return any(name.encode() in metadata for name in LIMITS)
    return isinstance(values, dict) and any(name in values for name in LIMITS)


def _named(stream: str) -> shared_pb2.StreamIdentifier:
    return shared_pb2.StreamIdentifier(stream_name=stream.encode())


def _request(*, direction: Any, count: int, **what: Any) -> streams_pb2.ReadReq:
    return streams_pb2.ReadReq(
        options=_Options(
            read_direction=direction,
            resolve_links=False,
            count=count,
            no_filter=shared_pb2.Empty(),
            uuid_option=_Options.UUIDOption(string=shared_pb2.Empty()),
            **what,
        )
    )


def _event(events: pa.RecordBatch, row: int) -> EventAt:
    return EventAt(**{name: events[name][row].as_py() for name in EventAt.__dataclass_fields__})
