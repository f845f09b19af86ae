"""``Streams.Append``, ``Delete`` and ``Tombstone``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from workbench.embedded.calls.access import DELETE, WRITE
from workbench.embedded.calls.failures import Failure, append_too_large, invalid_argument, tombstoned, wrong_revision
from workbench.embedded.calls.proposals import expected_revision, proposed_event, size_of, ticks_of, writable_stream
from workbench.embedded.calls.requests import only_request, parsed
from workbench.embedded.node import Context, EmbeddedNode
from workbench.embedded.recording.appends import ANY, MAX_APPEND_SIZE, NO_STREAM, STREAM_EXISTS, AppendResult, Tombstoned, WrongRevision
from workbench.embedded.recording.records import NewEvent
from workbench.protocol import shared_pb2, streams_pb2

_EMPTY = shared_pb2.Empty()


class AppendWorker:
    """Takes appends and deletions on a node."""

    def __init__(self, node: EmbeddedNode) -> None:
        self._node = node
        self._log = node.log

    async def append(self, requests: AsyncIterator[bytes], context: Context) -> streams_pb2.AppendResp:
        """Serve ``Append``: the options first, then one message an event; a wrong revision is told in the response."""
        try:
            return await self._append(requests, context)
        except Failure as failure:
            await failure.abort(context)
        except Tombstoned as error:
            await tombstoned(error).abort(context)

    async def _append(self, requests: AsyncIterator[bytes], context: Context) -> streams_pb2.AppendResp:
        options = None
        events: list[NewEvent] = []
        size = 0
        async for raw in requests:
            request = parsed(raw, streams_pb2.AppendReq)
            if options is None:
                if request.WhichOneof("content") != "options":
                    raise invalid_argument("An append begins with its options.")
                options = request.options
                stream = writable_stream(options.stream_identifier)
                expected = expected_revision(options, "expected_stream_revision", "revision")
                self._node.admit(context, stream, WRITE)
                continue
            if request.WhichOneof("content") != "proposed_message":
                raise invalid_argument("An append has one message of options, and then events.")
            events.append(event := proposed_event(request.proposed_message, accept_timestamps=self._node.accept_timestamps))
            size += size_of(event)
            if size > MAX_APPEND_SIZE:
                raise append_too_large()
        if options is None:
            raise invalid_argument("The append is empty.")
        try:
            done = self._log.append(stream, events, expected=expected)
        except WrongRevision as error:
            return _refused(error)
        await self._settled(done)
        success = streams_pb2.AppendResp.Success()
        if done.revision < 0:
            success.no_stream.CopyFrom(_EMPTY)
        else:
            success.current_revision = done.revision
        if done.commit < 0:
            success.no_position.CopyFrom(_EMPTY)
        else:
            success.position.commit_position, success.position.prepare_position = done.commit, done.prepare
        return streams_pb2.AppendResp(success=success)

    async def _settled(self, done: AppendResult) -> None:
        """Wait until something recorded may be acknowledged."""
        self._node.settle()
        await self._node.published(done.count)
        if self._node.plan.delay:
            await asyncio.sleep(self._node.plan.delay)
        self._node.plan.lose_reply()

    async def delete(self, requests: AsyncIterator[bytes], context: Context) -> streams_pb2.DeleteResp:
        """Serve ``Delete``: hide all events of a stream, which may go on later."""
        done = await self._end(requests, streams_pb2.DeleteReq, context, self._log.delete)
        return streams_pb2.DeleteResp(position=streams_pb2.DeleteResp.Position(commit_position=done.commit, prepare_position=done.prepare))

    async def tombstone(self, requests: AsyncIterator[bytes], context: Context) -> streams_pb2.TombstoneResp:
        """Serve ``Tombstone``: end a stream for ever."""
        done = await self._end(requests, streams_pb2.TombstoneReq, context, self._log.tombstone)
        return streams_pb2.TombstoneResp(
            position=streams_pb2.TombstoneResp.Position(commit_position=done.commit, prepare_position=done.prepare)
        )

    async def _end(
        self,
        requests: AsyncIterator[bytes],
        kind: type[streams_pb2.DeleteReq | streams_pb2.TombstoneReq],
        context: Context,
        end: Callable[..., AppendResult],
    ) -> AppendResult:
        try:
            options = (await only_request(requests, kind)).options
            stream = writable_stream(options.stream_identifier)
            expected = expected_revision(options, "expected_stream_revision", "revision")
            self._node.admit(context, stream, DELETE)
            # These calls carry no event that could bring its time, so it comes in the call's own metadata.
            stamps = [value for key, value in context.invocation_metadata() or () if key == "created" and self._node.accept_timestamps]
            created = ticks_of(str(stamps[-1])) if stamps else None
            done = end(stream, expected=expected, created=created)
            await self._settled(done)
        except Failure as failure:
            await failure.abort(context)
        except Tombstoned as error:
            await tombstoned(error).abort(context)
        except WrongRevision as error:
            await wrong_revision(error).abort(context)
        return done


def _refused(error: WrongRevision) -> streams_pb2.AppendResp:
    refusal = streams_pb2.AppendResp.WrongExpectedVersion()
    # Each fact stands twice: clients before 20.6.1 read the fields named after that version.
    if error.expected == ANY:
        refusal.expected_any.CopyFrom(_EMPTY)
        refusal.any_20_6_0.CopyFrom(_EMPTY)
    elif error.expected == STREAM_EXISTS:
        refusal.expected_stream_exists.CopyFrom(_EMPTY)
        refusal.stream_exists_20_6_0.CopyFrom(_EMPTY)
    elif error.expected == NO_STREAM:
        refusal.expected_no_stream.CopyFrom(_EMPTY)
        refusal.expected_revision_20_6_0 = 2**64 - 1
    else:
        refusal.expected_revision = refusal.expected_revision_20_6_0 = error.expected
    if error.current < 0:
        refusal.current_no_stream.CopyFrom(_EMPTY)
        refusal.no_stream_20_6_0.CopyFrom(_EMPTY)
    else:
        refusal.current_revision = refusal.current_revision_20_6_0 = error.current
    return streams_pb2.AppendResp(wrong_expected_version=refusal)
