"""``Streams.BatchAppend``: many appends in flight on one call, each all or none, answered in the order in which they end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

import grpc.aio
from esdbclient.protos.Grpc import code_pb2, shared_pb2, status_pb2, streams_pb2
from google.protobuf import any_pb2, empty_pb2
from google.protobuf.message import Message
from grpc import StatusCode

from workbench.embedded.failures import Failure
from workbench.embedded.log import ANY, MAX_APPEND_SIZE, NO_STREAM, STREAM_EXISTS, Tombstoned, WrongRevision
from workbench.embedded.node import Context, Node
from workbench.embedded.proposals import expected_revision, parse_uuid, proposed_event, size_of, stream_name
from workbench.embedded.records import NewEvent

_IN_FLIGHT = 16_384  # replies that may wait; beyond it, requests wait in the connection

_Request = streams_pb2.BatchAppendReq
_Reply = streams_pb2.BatchAppendResp
_NOTHING = empty_pb2.Empty()


@dataclass(slots=True)
class _Batch:
    """An append of which more is to come."""

    correlation: shared_pb2.UUID
    stream: str
    expected: int
    events: list[NewEvent] = field(default_factory=list)
    size: int = 0
    timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class BatchAppender:
    """Serves the calls of ``BatchAppend`` on a node."""

    def __init__(self, node: Node) -> None:
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

    def __init__(self, node: Node, context: Context) -> None:
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
                answer = self._take(request)
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
        """Take one request: a whole append, or a part of one; return the answer if it ends the append."""
        try:
            correlation = parse_uuid(request.correlation_id)
            batch = self._open.get(correlation)
            if batch is None:
                if not request.HasField("options"):
                    return None  # the rest of an append that was refused already
                batch = self._begin(request)
                if not request.is_final:
                    self._keep(correlation, batch, request)
            try:
                for message in request.proposed_messages:
                    event = proposed_event(message, accept_timestamps=self._node.accept_timestamps)
                    batch.events.append(event)
                    batch.size += size_of(event)
                if batch.size > MAX_APPEND_SIZE:
                    raise _Refused(
                        _status(
                            code_pb2.INVALID_ARGUMENT,
                            "MaximumAppendSizeExceeded",
                            shared_pb2.MaximumAppendSizeExceeded(maxAppendSize=MAX_APPEND_SIZE),
                        )
                    )
            except (Failure, _Refused):
                self._drop(correlation)
                raise
            if not request.is_final:
                return None
            self._drop(correlation)
            return self._append(batch)
        except _Refused as refused:
            return 0, _reply(request.correlation_id, _stream_of(request), error=refused.status)
        except Failure as failure:
            return 0, _reply(request.correlation_id, _stream_of(request), error=_as_status(failure))

    def _begin(self, request: _Request) -> _Batch:
        options = request.options
        stream = stream_name(options.stream_identifier)
        self._node.admit(self._context, stream, writes=True)
        if options.HasField("deadline") and options.deadline.seconds + options.deadline.nanos / 1e9 <= 0:
            raise _Refused(_TIMEOUT)
        return _Batch(request.correlation_id, stream, expected_revision(options, "expected_stream_position", "stream_position"))

    def _keep(self, correlation: UUID, batch: _Batch, request: _Request) -> None:
        self._open[correlation] = batch
        if request.options.HasField("deadline"):
            seconds = request.options.deadline.seconds + request.options.deadline.nanos / 1e9
            batch.timer = asyncio.get_running_loop().call_later(min(seconds, 86_400.0), self._expire, correlation)

    def _drop(self, correlation: UUID) -> None:
        batch = self._open.pop(correlation, None)
        if batch is not None:
            batch.close()

    def _expire(self, correlation: UUID) -> None:
        batch = self._open.pop(correlation)
        self.answers.put_nowait((0, _reply(batch.correlation, batch.stream, error=_TIMEOUT)))

    def _append(self, batch: _Batch) -> tuple[int, _Reply]:
        try:
            done = self._node.log.append(batch.stream, batch.events, expected=batch.expected)
        except WrongRevision as error:
            raise _Refused(_status(code_pb2.ALREADY_EXISTS, "WrongExpectedVersion", _wrong_version(error))) from None
        except Tombstoned:
            identifier = shared_pb2.StreamIdentifier(stream_name=batch.stream.encode())
            raise _Refused(_status(code_pb2.NOT_FOUND, "StreamDeleted", shared_pb2.StreamDeleted(stream_identifier=identifier))) from None
        self._node.settle()
        reply = _reply(batch.correlation, batch.stream)
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


class _Refused(Exception):
    """Raised to answer one append of a call with an error, while the call goes on."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


def _status(code: int, message: str, details: Message) -> status_pb2.Status:
    packed = any_pb2.Any()
    packed.Pack(details)
    return status_pb2.Status(code=code, message=message, details=packed)


_TIMEOUT = _status(code_pb2.DEADLINE_EXCEEDED, "Timeout", shared_pb2.Timeout())


def _as_status(failure: Failure) -> status_pb2.Status:
    """Say a failure of one append in its reply; raise one of the whole call: a wrong password, another leader, a full disk."""
    if failure.code is StatusCode.PERMISSION_DENIED:
        return _status(code_pb2.PERMISSION_DENIED, "AccessDenied", shared_pb2.AccessDenied())
    if failure.code is StatusCode.INVALID_ARGUMENT:
        return _status(code_pb2.INVALID_ARGUMENT, "BadRequest", shared_pb2.BadRequest(message=failure.details))
    raise failure


def _stream_of(request: _Request) -> str:
    return str(request.options.stream_identifier.stream_name, errors="replace")


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
