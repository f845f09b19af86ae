"""``Streams.Read``: reads and live subscriptions, of a stream and of ``$all``.

The order and meaning of the messages are those of KurrentDB's enumerators (``Services/Transport/Enumerators``): a read starts
inclusively, save that a backwards read of ``$all`` starts exclusively; a subscription starts exclusively, confirms first, catches
up, says so, and goes on live.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from itertools import count as counting
from typing import Any
from uuid import UUID

from esdbclient.protos.Grpc import shared_pb2, streams_pb2
from grpc import StatusCode

from workbench.embedded import records
from workbench.embedded.failures import Failure, invalid_argument, tombstoned
from workbench.embedded.filters import Filter
from workbench.embedded.log import Log, Tombstoned
from workbench.embedded.node import Context, Node, Watch
from workbench.embedded.proposals import stream_name
from workbench.embedded.records import MAX_REVISION

_PAGE = 128
_SCAN = 4_096
_END = 2**63 - 1
_EVENT = 0x0A  # the tag of a ReadResp that holds an event
_CAUGHT_UP = streams_pb2.ReadResp(caught_up=streams_pb2.ReadResp.CaughtUp()).SerializeToString()

Options = streams_pb2.ReadReq.Options
Page = Sequence[bytes]


class Reader:
    """Answers reads on a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._log = node.log
        self._subscriptions = counting(1)

    async def read(self, request: streams_pb2.ReadReq, context: Context) -> AsyncIterator[bytes]:
        """Serve one ``Streams.Read``, with the faults that are planned for it."""
        plan = self._node.plan
        interruption = plan.interruptions.pop(0) if plan.interruptions else None
        left = _END if interruption is None else interruption.after
        structured = request.options.uuid_option.WhichOneof("content") == "structured"
        unchanged = Watch(self._log)
        check_standing = self._node.standing(context, writes=False)
        try:
            async with aclosing(self._pages(request.options, context)) as pages:
                async for page in pages:
                    unchanged.check()
                    check_standing()
                    if plan.delay:
                        await asyncio.sleep(plan.delay)
                    for message in page[:left]:
                        yield _structured(message) if structured else message
                    left -= sum(message[0] == _EVENT for message in page) if interruption is not None else 0
                    if left <= 0:
                        break
            if interruption is not None and left <= 0 and not interruption.quietly:
                raise Failure(StatusCode.UNAVAILABLE, "The connection was cut by an injected fault.")
        except Failure as failure:
            await failure.abort(context)
        except Tombstoned as error:
            await tombstoned(error).abort(context)

    def _pages(self, options: Options, context: Context) -> AsyncGenerator[Page, None]:
        of_stream, of_all = options.HasField("stream"), options.HasField("all")
        if not (of_stream or of_all):
            raise invalid_argument("The read names neither a stream nor $all.")
        if not options.HasField("uuid_option"):
            raise invalid_argument("'uuidOption' is a required argument of type UUIDOption")
        stream = "$all" if of_all else stream_name(options.stream.stream_identifier)
        self._node.admit(context, stream, writes=False)
        backwards = options.read_direction == Options.Backwards
        subscribes = options.WhichOneof("count_option") == "subscription"
        filtered = options.WhichOneof("filter_option") == "filter"
        if (subscribes and backwards) or (filtered and of_stream) or options.WhichOneof("count_option") is None:
            raise invalid_argument("The combination of stream, count, direction and filter options is invalid.")
        if of_all:
            chosen = Filter(options.filter) if filtered else None
            if subscribes:
                if chosen is not None and not chosen.checkpoint_interval:
                    raise invalid_argument("The subscription's checkpoint interval is zero.")
                return self._subscribe_to_all(options, chosen)
            return self._all_backwards(options, chosen) if backwards else self._all_forwards(options, chosen)
        if subscribes:
            return self._subscribe_to_stream(stream, options)
        return self._stream(stream, options, backwards=backwards)

    # -- a stream

    async def _stream(self, stream: str, options: Options, *, backwards: bool) -> AsyncGenerator[Page, None]:
        log, head = self._log, self._node.head
        numbers = log.readable(stream, head=head)
        if numbers is None:
            yield [_not_found(stream)]
            return
        where = options.stream.WhichOneof("revision_option")
        revision = min(options.stream.revision, _END) if where == "revision" else 0 if where == "start" else _END
        if backwards:
            chosen = numbers[: bisect_right(numbers, revision, key=log.revisions.__getitem__)][::-1]
        else:
            chosen = numbers[bisect_left(numbers, revision, key=log.revisions.__getitem__) :]
        generation = log.generation
        for start in range(0, min(len(chosen), options.count), _PAGE):
            if generation != log.generation:
                raise Failure(StatusCode.UNAVAILABLE, "The log was rewritten during the read.")
            yield self._messages(chosen[start : min(start + _PAGE, options.count)], resolve=options.resolve_links)
        if options.control_option.compatibility >= 1:
            # Newer clients ask for this (ControlOption), to tell an empty stream from a start behind its end.
            yield [_message(last_stream_position=log.revisions[log.recorded(stream, after=-1, head=head)[-1]])]

    async def _subscribe_to_stream(self, stream: str, options: Options) -> AsyncGenerator[Page, None]:
        log, node = self._log, self._node
        numbers = log.readable(stream, head=node.head) or ()
        where = options.stream.WhichOneof("revision_option")
        if where == "revision":
            after = min(options.stream.revision, _END)
        else:
            after = log.revisions[numbers[-1]] if where == "end" and numbers else -1
        yield [self._confirmation()]
        live = False
        with node.watching() as watch:
            while True:
                head = node.head
                if live:  # what comes now is not hidden: it is the newest
                    numbers = log.recorded(stream, after=after, head=head)
                else:
                    numbers = log.readable(stream, head=head) or ()
                    numbers = numbers[bisect_right(numbers, after, key=log.revisions.__getitem__) :]
                for start in range(0, len(numbers), _PAGE):
                    page = numbers[start : start + _PAGE]
                    after = log.revisions[page[-1]]
                    yield self._messages(page, resolve=options.resolve_links)
                if after == MAX_REVISION:
                    raise Tombstoned(stream)
                if head < node.head:
                    continue
                if not live:
                    live = True
                    yield [_CAUGHT_UP]
                await watch.growth()

    # -- $all

    async def _all_forwards(self, options: Options, chosen: Filter | None) -> AsyncGenerator[Page, None]:
        if options.all.WhichOneof("all_option") == "end":
            return
        cursor = _Cursor(self._log, after=self._before(options, _unknown_position(chosen)), head=self._node.head)
        left = options.count
        while left and (numbers := cursor.step(self._node.head, _PAGE if chosen is None else _SCAN)):
            for page in self._passed(numbers, chosen, options.resolve_links, left):
                left -= len(page)
                yield page

    async def _all_backwards(self, options: Options, chosen: Filter | None) -> AsyncGenerator[Page, None]:
        log, left = self._log, options.count
        number = self._node.head
        if options.all.WhichOneof("all_option") == "start":
            return
        if options.all.WhichOneof("all_option") == "position":
            commit, prepare = self._before(options, _unknown_position(chosen))
            number = log.find(commit, prepare + 1, head=number)
        generation = log.generation
        while left and number:
            if generation != log.generation:
                raise Failure(StatusCode.UNAVAILABLE, "The log was rewritten during the read.")
            first = max(0, number - (_PAGE if chosen is None else _SCAN))
            numbers = range(number - 1, first - 1, -1)
            number = first
            for page in self._passed(numbers, chosen, options.resolve_links, left):
                left -= len(page)
                yield page

    async def _subscribe_to_all(self, options: Options, chosen: Filter | None) -> AsyncGenerator[Page, None]:
        log, node = self._log, self._node
        where = options.all.WhichOneof("all_option")
        after = (-1, -1)
        if where == "position":
            commit, prepare = self._before(options, invalid_argument("Trying to read from an invalid position."))
            after = (commit, prepare + 1)
        if where == "end" or after[0] >= _END:
            after = log.position(node.head - 1) if node.head else (-1, -1)
        yield [self._confirmation()]
        cursor = _Cursor(log, after=after, head=node.head)
        looked_at, live = 0, False
        with node.watching() as watch:
            while True:
                size = _PAGE if chosen is None else min(_SCAN, chosen.checkpoint_interval - looked_at)
                numbers = cursor.step(node.head, size)
                for page in self._passed(numbers, chosen, options.resolve_links, _END):
                    yield page
                looked_at += len(numbers)
                if chosen is not None and looked_at and (looked_at == chosen.checkpoint_interval or not (numbers or live)):
                    looked_at = 0
                    yield [_checkpoint(*cursor.after)]
                if numbers:
                    continue
                if not live:
                    live = True
                    yield [_CAUGHT_UP]
                await watch.growth()

    def _before(self, options: Options, refusal: Failure) -> tuple[int, int]:
        """Return the position right before the one that a request names, so that what follows it is asked for inclusively."""
        if options.all.WhichOneof("all_option") != "position":
            return -1, -1
        position = options.all.position
        commit, prepare = min(position.commit_position, _END), min(position.prepare_position, _END)
        if not self._log.begins(commit, head=self._node.head):
            raise refusal
        return commit, prepare - 1

    def _passed(self, numbers: Sequence[int], chosen: Filter | None, resolve: bool, left: int) -> Iterator[Page]:  # noqa: FBT001
        passed = numbers if chosen is None else chosen.allowed(self._log, numbers)
        for start in range(0, min(len(passed), left), _PAGE):
            yield self._messages(passed[start : min(start + _PAGE, left)], resolve=resolve)

    # -- messages

    def _messages(self, numbers: Sequence[int], *, resolve: bool) -> Page:
        log, frames = self._log, self._frames(numbers)
        if not resolve:
            return frames
        return [self._resolved(n, f) if log.type_of[n] == "$>" else f for n, f in zip(numbers, frames, strict=True)]

    def _frames(self, numbers: Sequence[int]) -> Page:
        if isinstance(numbers, range) and numbers.step == 1:  # as in $all: one scan
            return self._log.frames(numbers.start, numbers.stop)
        return self._log.frames_at(numbers)

    def _resolved(self, number: int, frame: bytes) -> bytes:
        revision, at, stream = records.decode(frame).data.decode(errors="replace").partition("@")
        target = self._log.number_of(stream, int(revision), head=self._node.head) if at and revision.isdecimal() else None
        return records.resolved(frame, None if target is None else self._log.frames_at([target])[0], self._log.commits[number])

    def _confirmation(self) -> bytes:
        identity = str(UUID(int=next(self._subscriptions)))
        return _message(confirmation=streams_pb2.ReadResp.SubscriptionConfirmation(subscription_id=identity))


class _Cursor:
    """A place in ``$all`` that moves forwards, and finds itself again when a scavenge renumbered the records."""

    def __init__(self, log: Log, *, after: tuple[int, int], head: int) -> None:
        self._log = log
        self.after = after
        """The position of the last record that was passed."""
        self._seek(head)

    def _seek(self, head: int) -> None:
        commit, prepare = self.after
        self._number = self._log.find(commit, prepare + 1, head=head)
        self._generation = self._log.generation

    def step(self, head: int, size: int) -> range:
        """Return the numbers of the next records, at most ``size``; none at the head."""
        log = self._log
        # Beyond the head, or at a head that fell back, records may come that lie before the place that was asked for.
        if self._generation != log.generation or (self._number < head and log.position(self._number) <= self.after):
            self._seek(head)
        numbers = range(self._number, min(self._number + size, head))
        if numbers:
            self._number = numbers.stop
            self.after = log.position(numbers.stop - 1)
        return numbers


def _unknown_position(chosen: Filter | None) -> Failure:
    return Failure(StatusCode.UNKNOWN, f"Unexpected {'' if chosen is None else 'Filtered'}ReadAllResult: InvalidPosition")


def _message(**content: Any) -> bytes:
    return bytes(streams_pb2.ReadResp(**content).SerializeToString())


def _not_found(stream: str) -> bytes:
    identifier = shared_pb2.StreamIdentifier(stream_name=stream.encode())
    return _message(stream_not_found=streams_pb2.ReadResp.StreamNotFound(stream_identifier=identifier))


def _checkpoint(commit: int, prepare: int) -> bytes:
    return _message(checkpoint=streams_pb2.ReadResp.Checkpoint(commit_position=commit, prepare_position=prepare))


def _structured(message: bytes) -> bytes:
    return records.with_structured_ids(message) if message[0] == _EVENT else message
