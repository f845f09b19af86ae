"""Appends many events fast: one call with many atomic appends in flight, each answered separately.

Source: ``streams.proto`` of KurrentDB, ``BatchAppend`` (from 21.2): a request with ``is_final`` is one atomic append; each is
answered by one response with its correlation id, success or ``google.rpc.Status`` with a detail that says what was wrong.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Final, Self

import grpc
import numpy as np
import orjson

from workbench.errors import AccessDenied, SourceError, SourceUnavailable, StreamDeleted, UsageError, WrongExpectedRevision
from workbench.kurrent import wire
from workbench.kurrent.errors import Peer, missing_login, translate_rpc_error
from workbench.kurrent.transport.duplex import CallEnded, Duplex
from workbench.protocol import Duration, Empty, shared_pb2, status_pb2, streams_pb2

WINDOW_REQUESTS = 512
WINDOW_BYTES = 16 * 1024 * 1024
"""How many bytes may be in flight, unanswered; a larger request is sent alone."""

_UNSENT = 64  # requests made ready ahead of the one that is being sent: enough that the wire never waits for us
_PATIENCE = 60.0
_UNARY_SECONDS = 30.0


class StreamState(Enum):
    """What an append may expect of a stream other than a revision."""

    NO_STREAM = "no stream"
    STREAM_EXISTS = "an existing stream"
    ANY = "any revision"


NO_STREAM: Final = StreamState.NO_STREAM
STREAM_EXISTS: Final = StreamState.STREAM_EXISTS
ANY: Final = StreamState.ANY

Expected = int | StreamState
"""The revision of the stream's last event, as the writer knows it, or a :class:`StreamState`."""


@dataclass(frozen=True, slots=True)
class EventToWrite:
    """An event to be recorded.

    Parameters
    ----------
    data, metadata
        The payload and the metadata as they are to be stored, byte for byte.
    event_id
        A UUID as text. Appended again with ``NO_STREAM`` or an exact revision, the event is never recorded twice: the log itself
        shows that it is there. With ``ANY`` and ``STREAM_EXISTS`` a server only remembers recent ids, and forgets all of them when
        it restarts: then the event is recorded once more.
    is_json
        Whether the content type is JSON; the server does not check.
    ticks
        When it happened, in units of 100 ns since the Unix epoch. The embedded store records this time; a KurrentDB stamps its own.
    """

    type: str
    data: bytes = b""
    metadata: bytes = b""
    event_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    is_json: bool = True
    ticks: int | None = None


@dataclass(frozen=True, slots=True)
class Appended:
    """Where an append went: the revision and the position of its last event."""

    revision: int
    position: int


class Pending:
    """The answer to an append, once it is there."""

    __slots__ = ("_error", "_number", "_size", "_value", "_wait", "expected", "stream")

    def __init__(self, number: int, stream: str, expected: Expected, size: int, wait: Callable[[Pending], Appended]) -> None:
        self.stream, self.expected = stream, expected
        self._number, self._size, self._wait = number, size, wait
        self._value: Appended | None = None
        self._error: SourceError | None = None

    @property
    def done(self) -> bool:
        """Whether :meth:`result` returns at once."""
        return self._value is not None or self._error is not None

    def result(self) -> Appended:
        """Wait for the answer.

        Raises
        ------
        WrongExpectedRevision
            The stream has another revision; nothing was written.
        StreamDeleted
            The stream was tombstoned.
        AccessDenied, SourceUnavailable, SourceError
            The server refused for another reason, or the connection broke; the events may or may not have been recorded.
        """
        return self._wait(self)


class BulkWriter:
    """A pipelined writer; made by ``Connection.writer()``. A context manager, for one thread.

    Leaving the block waits for all answers and raises the first error that no :meth:`Pending.result` has raised. An exception inside
    the block closes the call at once, without waiting.

    Appends are carried out in the order in which they are made. If the connection breaks, unanswered appends may or may not have been
    recorded. Repeating them is safe with the same event ids and ``NO_STREAM`` or exact revisions; see :class:`EventToWrite`.

    Parameters
    ----------
    channel
        A channel to the node, made by ``grpc`` itself.
    address
        Named in errors.
    patience
        Seconds to wait for the next answer before giving up the connection.

    Examples
    --------
    >>> from workbench.embedded import EmbeddedStore
    >>> from workbench.kurrent import connect
    >>> with EmbeddedStore() as store, connect(store.uri) as source, source.writer() as writer:
    ...     pending = writer.append("user-1", [EventToWrite("user.created", b'{"name": "Ada"}')], expected=NO_STREAM)
    ...     pending.result().revision
    0
    """

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        address: Peer | str,
        metadata: Sequence[tuple[str, str]] = (),
        patience: float = _PATIENCE,
    ) -> None:
        self._channel, self._address = channel, address
        self._metadata, self._patience = tuple(metadata), patience
        self._read = channel.unary_stream(
            f"{_STREAMS}/Read",
            request_serializer=streams_pb2.ReadReq.SerializeToString,
            response_deserializer=streams_pb2.ReadResp.FromString,
        )
        self._delete = channel.unary_unary(
            f"{_STREAMS}/Delete",
            request_serializer=streams_pb2.DeleteReq.SerializeToString,
            response_deserializer=streams_pb2.DeleteResp.FromString,
        )
        self._tombstone = channel.unary_unary(
            f"{_STREAMS}/Tombstone",
            request_serializer=streams_pb2.TombstoneReq.SerializeToString,
            response_deserializer=streams_pb2.TombstoneResp.FromString,
        )
        self._call: Duplex | None = None
        self._session = uuid.uuid4().int >> 65  # positive, the upper half of this writer's correlation ids; the lower half counts
        self._count = 0
        self._in_flight: dict[int, Pending] = {}
        self._bytes_in_flight = 0
        self._unasked: dict[int, SourceError] = {}
        self._broken: SourceError | None = None

    def append(self, stream: str, events: Sequence[EventToWrite], *, expected: Expected) -> Pending:
        """Append events to a stream, all or none. Waits only while the window is full.

        Raises
        ------
        UsageError
            There are no events, or the expected revision is negative.
        SourceError
            The connection broke; no append in flight will be answered any more.
        """
        if not events or (isinstance(expected, int) and expected < 0):
            raise UsageError(f"An append to {stream!r} needs at least one event, and an expected revision of at least 0.")
        if self._broken is not None:
            raise self._broken
        self._count += 1
        message = _request(self._session, self._count, stream, events, expected)
        pending = Pending(self._count, stream, expected, len(message), self._result)
        if self._call is None:
            self._call = Duplex(
                self._channel,
                f"{_STREAMS}/BatchAppend",
                metadata=self._metadata,
                patience=self._patience,
            )
        # Drain a full window by half, not by one: server and client then work in bursts, at half the processor time.
        if len(self._in_flight) >= WINDOW_REQUESTS or self._bytes_in_flight + pending._size > WINDOW_BYTES:
            while self._in_flight and (
                len(self._in_flight) > WINDOW_REQUESTS // 2 or self._bytes_in_flight + pending._size > WINDOW_BYTES // 2
            ):
                self._step()
        try:
            self._call.send(message)
        except CallEnded as error:
            self._break(error)
        self._in_flight[self._count] = pending
        self._bytes_in_flight += pending._size
        if self._call.unsent > _UNSENT:
            while self._call.unsent > _UNSENT // 2:
                self._step()
        return pending

    def flush(self) -> None:
        """Wait for all answers, and raise the first error that no :meth:`Pending.result` has raised."""
        while self._in_flight:
            self._step()
        if self._unasked:
            first = next(iter(self._unasked.values()))
            self._unasked.clear()
            raise first

    def revision(self, stream: str) -> int | None:
        """Return the revision of a stream's last event, or None if the stream does not exist or is deleted.

        Raises
        ------
        StreamDeleted
            The stream was tombstoned.
        """
        identifier = shared_pb2.StreamIdentifier(stream_name=stream.encode())
        options = streams_pb2.ReadReq.Options(
            stream=streams_pb2.ReadReq.Options.StreamOptions(stream_identifier=identifier, end=shared_pb2.Empty()),
            read_direction=streams_pb2.ReadReq.Options.Backwards,
            count=1,
            no_filter=shared_pb2.Empty(),
            uuid_option=streams_pb2.ReadReq.Options.UUIDOption(string=shared_pb2.Empty()),
        )
        found: int | None = None
        try:
            for answer in self._read(streams_pb2.ReadReq(options=options), **self._unary()):
                if answer.HasField("event"):
                    found = answer.event.event.stream_revision
        except grpc.RpcError as error:
            raise translate_rpc_error(error, address=self._address) from error
        return found

    def set_metadata(self, stream: str, metadata: Mapping[str, Any], *, expected: Expected = ANY, ticks: int | None = None) -> Pending:
        """Set a stream's metadata (``$maxCount``, ``$maxAge``, ``$tb``, ``$acl``, and any custom key)."""
        event = EventToWrite("$metadata", orjson.dumps(metadata), ticks=ticks)
        return self.append(f"$${stream}", [event], expected=expected)

    def delete(self, stream: str, *, expected: Expected = ANY) -> None:
        """Delete a stream after all earlier appends; a later append may begin it again."""
        request = streams_pb2.DeleteReq(options=_options(streams_pb2.DeleteReq.Options, stream, expected))
        self._unary_call(self._delete, request)

    def tombstone(self, stream: str, *, expected: Expected = ANY, ticks: int | None = None) -> None:
        """Delete a stream for good, after all earlier appends. For ``ticks`` see :class:`EventToWrite`."""
        request = streams_pb2.TombstoneReq(options=_options(streams_pb2.TombstoneReq.Options, stream, expected))
        self._unary_call(self._tombstone, request, *(() if ticks is None else (("created", str(ticks)),)))

    def close(self) -> None:
        """Close the call without waiting; appends in flight may or may not be recorded."""
        if self._call is not None:
            self._call.close()
        if self._broken is None:
            self._broken = SourceError(f"{self._address}: this writer is closed.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self.close()

    def _result(self, pending: Pending) -> Appended:
        while not pending.done:
            if self._broken is not None:
                raise self._broken
            self._step()
        if pending._error is not None:
            self._unasked.pop(pending._number, None)
            raise pending._error
        assert pending._value is not None
        return pending._value

    def _step(self) -> None:
        assert self._call is not None
        try:
            message = self._call.step()
        except CallEnded as error:
            self._break(error)
        if message is None:
            return
        response = streams_pb2.BatchAppendResp.FromString(message)
        pending = self._in_flight.pop(_number(response.correlation_id), None)
        if pending is None:
            return
        self._bytes_in_flight -= pending._size
        if response.HasField("success"):
            done = response.success
            pending._value = Appended(done.current_revision, done.position.commit_position)
        else:
            pending._error = self._refused(response.error, pending)
            self._unasked[pending._number] = pending._error

    def _break(self, ended: CallEnded) -> None:
        """Give up: fail every append in flight, and every later one, with the call's error."""
        count = len(self._in_flight)
        if ended.code() is grpc.StatusCode.OK:
            error: SourceError = SourceUnavailable(f"{self._address}: the server ended the call.")
        else:
            error = translate_rpc_error(ended, address=self._address)
        if count:
            unanswered = "1 append was" if count == 1 else f"{count} appends were"
            error = type(error)(f"{error} {unanswered} not answered, and may have been recorded. {_AGAIN}")
        self._broken = error
        for pending in self._in_flight.values():
            pending._error = error
        self._in_flight.clear()
        self._unasked.clear()
        raise error from ended

    def _refused(self, status: status_pb2.Status, pending: Pending) -> SourceError:
        """Translate the Status of a refused append; its detail says what was wrong."""
        where, detail = f"{self._address}: stream {pending.stream!r}", status.details
        if detail.Is(shared_pb2.WrongExpectedVersion.DESCRIPTOR):
            wrong = shared_pb2.WrongExpectedVersion()
            detail.Unpack(wrong)
            now = f"is at revision {wrong.current_stream_revision}" if wrong.HasField("current_stream_revision") else "does not exist"
            return WrongExpectedRevision(
                f"{where} {now}, and the append expected {_named(pending.expected)}. Read the stream and decide again."
            )
        if detail.Is(shared_pb2.StreamDeleted.DESCRIPTOR):
            return StreamDeleted(f"{where} was deleted for good (tombstoned). Write to another stream.")
        if detail.Is(shared_pb2.AccessDenied.DESCRIPTOR):
            reason = missing_login(self._address) or "this user may not append to it. Give another user, or change the stream's ACL"
            return AccessDenied(f"{where}: {reason}.")
        if detail.Is(shared_pb2.Timeout.DESCRIPTOR):
            return SourceUnavailable(f"{where}: the server did not complete the append in time, but may still do so. {_AGAIN}")
        if detail.Is(shared_pb2.MaximumAppendSizeExceeded.DESCRIPTOR):
            size = shared_pb2.MaximumAppendSizeExceeded()
            detail.Unpack(size)
            return SourceError(f"{where}: the append is larger than the server's limit of {size.maxAppendSize} bytes. Split it.")
        if detail.type_url.endswith(_EVENT_TOO_LARGE):
            event_id, event_size, limit = _event_too_large(detail.value)
            return SourceError(
                f"{where}: event {event_id} has {event_size} bytes, more than the server's limit of {limit} bytes for one event. Make it "
                "smaller, or raise the server's MaxAppendEventSize."
            )
        if detail.Is(shared_pb2.BadRequest.DESCRIPTOR):
            bad = shared_pb2.BadRequest()
            detail.Unpack(bad)
            return SourceError(f"{where}: the server refused the append as invalid: {bad.message or status.message}.")
        return SourceError(f"{where}: the server refused the append: {status.message or 'it gave no reason'}.")

    def _unary(self, *more: tuple[str, str]) -> dict[str, Any]:
        return {"metadata": (*self._metadata, *more), "timeout": _UNARY_SECONDS}

    def _unary_call(self, method: Any, request: Any, *more: tuple[str, str]) -> None:
        while self._in_flight:
            self._step()
        try:
            method(request, **self._unary(*more))
        except grpc.RpcError as error:
            raise translate_rpc_error(error, address=self._address) from error


_STREAMS: Final = "/event_store.client.streams.Streams"
_AGAIN: Final = (
    "Append again with the same event ids. Appends that expect no stream or an exact revision are never recorded twice; the others are "
    "safe while the server remembers their ids, at most until it restarts."
)
_EVENT_TOO_LARGE: Final = "/event_store.client.MaximumAppendEventSizeExceeded"


def _event_too_large(value: bytes) -> tuple[str, int, int]:
    """Read a ``MaximumAppendEventSizeExceeded`` (eventId = 1, proposedEventSize = 2, maxAppendEventSize = 3), new in KurrentDB 25."""
    data = np.frombuffer(value + bytes(10), np.uint8)
    parts = wire.fields(data, wire.Spans(*(np.array([edge], np.int64) for edge in (0, 0, len(value)))))
    event_id = wire.text(data, wire.one_each(parts.get(1), 1), what="event id")[0].as_py()
    return event_id, int(wire.numbers(parts.get(2), 1)[0]), int(wire.numbers(parts.get(3), 1)[0])


def _named(expected: Expected) -> str:
    return expected.value if isinstance(expected, StreamState) else f"revision {expected}"


_DEADLINE = Duration(seconds=30)  # for each append, from when the server takes it up
_EMPTY: Final = Empty()
_STATE_FIELDS: Final = {NO_STREAM: "no_stream", STREAM_EXISTS: "stream_exists", ANY: "any"}
_JSON, _BYTES = "application/json", "application/octet-stream"


def _request(session: int, number: int, stream: str, events: Sequence[EventToWrite], expected: Expected) -> bytes:
    expectation = {"stream_position": expected} if isinstance(expected, int) else {_STATE_FIELDS[expected]: _EMPTY}
    messages = []
    for event in events:
        properties = {"type": event.type, "content-type": _JSON if event.is_json else _BYTES}
        if event.ticks is not None:
            properties["created"] = str(event.ticks)
        messages.append(
            streams_pb2.BatchAppendReq.ProposedMessage(
                id=shared_pb2.UUID(string=event.event_id), metadata=properties, custom_metadata=event.metadata, data=event.data
            )
        )
    correlation = shared_pb2.UUID.Structured(most_significant_bits=session, least_significant_bits=number)
    request = streams_pb2.BatchAppendReq(
        correlation_id=shared_pb2.UUID(structured=correlation),
        options=streams_pb2.BatchAppendReq.Options(
            stream_identifier=shared_pb2.StreamIdentifier(stream_name=stream.encode()), deadline=_DEADLINE, **expectation
        ),
        proposed_messages=messages,
        is_final=True,
    )
    return bytes(request.SerializeToString())


def _options(kind: Any, stream: str, expected: Expected) -> Any:
    identifier = shared_pb2.StreamIdentifier(stream_name=stream.encode())
    if isinstance(expected, int):
        return kind(stream_identifier=identifier, revision=expected)
    return kind(stream_identifier=identifier, **{_STATE_FIELDS[expected]: shared_pb2.Empty()})


def _number(correlation_id: shared_pb2.UUID) -> int:
    """Return the lower half of a correlation id, which the server sends back in one of two forms."""
    if correlation_id.WhichOneof("value") == "structured":
        return int(correlation_id.structured.least_significant_bits)
    return uuid.UUID(correlation_id.string).int & (2**64 - 1)
