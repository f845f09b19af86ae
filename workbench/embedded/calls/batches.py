"""``Streams.BatchAppend``: many atomic appends in flight on one call, answered in the order in which they end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

import grpc.aio
from google.protobuf.message import Message
from grpc import StatusCode

from workbench.embedded.calls.access import WRITE
from workbench.embedded.calls.failures import Failure, invalid_argument
from workbench.embedded.calls.proposals import expected_revision, parse_uuid, proposed_event, size_of, writable_stream
from workbench.embedded.calls.requests import parsed
from workbench.embedded.node import Context, EmbeddedNode
from workbench.embedded.recording.appends import ANY, MAX_APPEND_SIZE, NO_STREAM, STREAM_EXISTS, Tombstoned, WrongRevision
from workbench.embedded.recording.clock import TICKS_PER_SECOND
from workbench.embedded.recording.records import NewEvent
from workbench.protocol import Empty, Packed, code_pb2, shared_pb2, status_pb2, streams_pb2

_IN_FLIGHT = 16_384  # replies that may wait; beyond it, requests wait in the connection

_WRITE_TIMEOUT = 2.0
"""After how many seconds at most an append fails whose last part has not come; the server's default."""

_Request = streams_pb2.BatchAppendReq
_Proposed = streams_pb2.BatchAppendReq.ProposedMessage
_Reply = streams_pb2.BatchAppendResp
_NOTHING = Empty()


@dataclass(slots=True)
class _Batch:
    """An append that is not complete yet."""

    stream: str
    expected: int
    seconds: float
    """How long it may stay open."""

    events: list[NewEvent] = field(default_factory=list)
    size: int = 0
    timer: asyncio.TimerHandle | None = None
    refused: bool = False

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class BatchAppender:
    """Serves the calls of ``BatchAppend`` on a node."""

    def __init__(self, node: EmbeddedNode) -> None:
        self._node = node

    async def batch_append(self, _: object, context: Context) -> None:
        """Serve one call: take requests as they come, and answer each append when it is safely recorded or refused.

        Requests are read from the context and not from the iterator that gRPC also offers, which costs a tenth of the throughput.
        """
        call = _Call(self._node, context)
        taking = asyncio.create_task(call.take())
        try:
            while (answer := await call.answers.get()) is not None:
                count, reply = answer
                if count > self._node.visible:
                    await self._node.published(count)
                if self._node.plan.delay:
                    await asyncio.sleep(self._node.plan.delay)
                self._node.plan.lose_reply()
                await context.write(reply)
            await taking
        except Failure as failure:
            await failure.abort(context)
        finally:
            taking.cancel()
            call.close()


class _Call:
    """The receiving side of one call."""

    def __init__(self, node: EmbeddedNode, context: Context) -> None:
        self._node = node
        self._context = context
        self._open: dict[UUID, _Batch] = {}
        self.answers: asyncio.Queue[tuple[int, _Reply] | None] = asyncio.Queue()
        """Replies, each with the number of records that must be published before it is sent; None at the end."""

    async def take(self) -> None:
        """Take requests until the client has sent its last."""
        read = self._context.read
        try:
            while (request := await read()) is not grpc.aio.EOF:
                answer = self._take(parsed(request, _Request))
                if answer is not None:
                    self.answers.put_nowait(answer)
                while self.answers.qsize() > _IN_FLIGHT:
                    await asyncio.sleep(0.01)
        finally:
            self.answers.put_nowait(None)

    def close(self) -> None:
        for batch in self._open.values():
            batch.close()

    def _take(self, request: _Request) -> tuple[int, _Reply] | None:
        """Take one request: a whole append, or a part of one; return the answer if there is one to send."""
        named = request.options.stream_identifier if request.options.HasField("stream_identifier") else None
        try:
            correlation = parse_uuid(request.correlation_id)
            if request.HasField("options"):
                self._begin(correlation, request.options)
            batch = self._open.get(correlation)
            if batch is None or batch.refused:
                return None  # the rest of an append that was answered already
            if named is None:
                named = shared_pb2.StreamIdentifier(stream_name=batch.stream.encode())
            self._add(correlation, batch, request.proposed_messages)
            if not request.is_final:
                self._expect_more(correlation, batch)
                return None
            self._drop(correlation)
            if not correlation.int:
                raise invalid_argument("The correlation id is empty.", in_batch=_EMPTY_CORRELATION)
            return self._append(batch, request.correlation_id)
        except _BatchRefused as refused:
            status = refused.status
        except Failure as failure:
            status = _as_status(failure)
        identity = request.correlation_id if request.HasField("correlation_id") else None
        return 0, _Reply(correlation_id=identity, stream_identifier=named, error=status)

    def _begin(self, correlation: UUID, options: streams_pb2.BatchAppendReq.Options) -> None:
        """Open an append. Options that are sent again for an open one change nothing."""
        if not options.HasField("stream_identifier"):
            raise invalid_argument("The request names no stream.", in_batch="Object reference not set to an instance of an object.")
        stream = writable_stream(options.stream_identifier)
        self._node.admit(self._context, stream, WRITE)
        seconds = min(_requested_timeout(options, self._node.now()), _WRITE_TIMEOUT)
        if seconds <= 0:
            raise _BatchRefused(_TIMEOUT)
        if correlation not in self._open:
            expected = expected_revision(options, "expected_stream_position", "stream_position")
            self._open[correlation] = _Batch(stream, expected, seconds)

    def _add(self, correlation: UUID, batch: _Batch, proposed: Iterable[_Proposed]) -> None:
        """Add events to an append.

        One that was refused for one of its events stays open until its time is over, and is answered a second time then, as the
        server does. (What comes for it meanwhile is left out; the server would record it without the event that it refused.)
        """
        try:
            for message in proposed:
                event = proposed_event(message, accept_timestamps=self._node.accept_timestamps)
                batch.events.append(event)
                batch.size += size_of(event)
        except Failure:
            batch.refused = True
            self._expect_more(correlation, batch)
            raise
        if batch.size > MAX_APPEND_SIZE:
            self._drop(correlation)
            raise _BatchRefused(_TOO_LARGE)

    def _expect_more(self, correlation: UUID, batch: _Batch) -> None:
        if batch.timer is None:
            batch.timer = asyncio.get_running_loop().call_later(batch.seconds, self._expire, correlation)

    def _drop(self, correlation: UUID) -> None:
        batch = self._open.pop(correlation, None)
        if batch is not None:
            batch.close()

    def _expire(self, correlation: UUID) -> None:
        batch = self._open.pop(correlation)
        high, low = (part - (part >> 63 << 64) for part in divmod(correlation.int, 2**64))
        structured = shared_pb2.UUID.Structured(most_significant_bits=high, least_significant_bits=low)
        self.answers.put_nowait((0, _reply(shared_pb2.UUID(structured=structured), batch.stream, error=_TIMEOUT)))

    def _append(self, batch: _Batch, correlation: shared_pb2.UUID) -> tuple[int, _Reply]:
        try:
            done = self._node.log.append(batch.stream, batch.events, expected=batch.expected)
        except WrongRevision as error:
            raise _BatchRefused(_status(code_pb2.ALREADY_EXISTS, "WrongExpectedVersion", _wrong_version(error))) from None
        except Tombstoned:
            identifier = shared_pb2.StreamIdentifier(stream_name=batch.stream.encode())
            raise _BatchRefused(
                _status(code_pb2.NOT_FOUND, "StreamDeleted", shared_pb2.StreamDeleted(stream_identifier=identifier))
            ) from None
        self._node.settle()
        reply = _reply(correlation, batch.stream)
        success = reply.success
        if done.revision < 0:
            success.no_stream.CopyFrom(_NOTHING)
        else:
            success.current_revision = done.revision
        if done.commit < 0:
            success.no_position.CopyFrom(_NOTHING)
        else:
            success.position.commit_position = done.commit
            success.position.prepare_position = done.prepare
        return done.count, reply


class _BatchRefused(Exception):
    """Raised to answer one append of a call with an error, while the call goes on."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


def _status(code: int, message: str, details: Message) -> status_pb2.Status:
    packed = Packed()
    packed.Pack(details)
    return status_pb2.Status(code=code, message=message, details=packed)


def _requested_timeout(options: streams_pb2.BatchAppendReq.Options, now: int) -> float:
    """Return within how many seconds a client wants its append done: a duration, or from older clients an instant."""
    if options.HasField("deadline"):
        ticks = options.deadline.seconds * TICKS_PER_SECOND + options.deadline.nanos // 100
    elif options.HasField("deadline_21_10_0"):
        ticks = options.deadline_21_10_0.seconds * TICKS_PER_SECOND + options.deadline_21_10_0.nanos // 100 - now
    else:
        return math.inf
    return float(ticks / TICKS_PER_SECOND)


_EMPTY_CORRELATION = "correlationId (Parameter 'correlationId should be non-empty GUID.')"
_TIMEOUT = _status(code_pb2.DEADLINE_EXCEEDED, "Timeout", shared_pb2.Timeout())
_TOO_LARGE = _status(
    code_pb2.INVALID_ARGUMENT, "MaximumAppendSizeExceeded", shared_pb2.MaximumAppendSizeExceeded(maxAppendSize=MAX_APPEND_SIZE)
)


def _as_status(failure: Failure) -> status_pb2.Status:
    """Say a failure of one append in its reply; raise one of the whole call: a wrong password, another leader, a full disk."""
    if failure.code is StatusCode.PERMISSION_DENIED:
        return _status(code_pb2.PERMISSION_DENIED, "AccessDenied", shared_pb2.AccessDenied())
    if failure.code is StatusCode.INVALID_ARGUMENT:
        return _status(code_pb2.INVALID_ARGUMENT, "BadRequest", shared_pb2.BadRequest(message=failure.in_batch or failure.details))
    raise failure


def _reply(correlation: shared_pb2.UUID, stream: str, *, error: status_pb2.Status | None = None) -> _Reply:
    identifier = shared_pb2.StreamIdentifier(stream_name=stream.encode())
    return _Reply(correlation_id=correlation, stream_identifier=identifier, error=error)


def _wrong_version(error: WrongRevision) -> shared_pb2.WrongExpectedVersion:
    details = shared_pb2.WrongExpectedVersion()
    if error.expected == ANY:
        details.expected_any.CopyFrom(_NOTHING)
    elif error.expected == STREAM_EXISTS:
        details.expected_stream_exists.CopyFrom(_NOTHING)
    elif error.expected == NO_STREAM:
        details.expected_no_stream.CopyFrom(_NOTHING)
    else:
        details.expected_stream_position = error.expected
    if error.current < 0:
        details.current_no_stream.CopyFrom(_NOTHING)
    else:
        details.current_stream_revision = error.current
    return details
