"""``Streams.Read``: which read or subscription a request asks for, and reads of streams and of ``$all``.

The order and meaning of the messages are those of KurrentDB's enumerators (``Services/Transport/Enumerators``): a read starts
inclusively, save that a backwards read of ``$all`` starts exclusively.
"""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing

from google.protobuf.json_format import MessageToDict
from grpc import StatusCode

from workbench.embedded.calls import messages
from workbench.embedded.calls.access import READ
from workbench.embedded.calls.failures import Failure, invalid_argument, not_chosen, tombstoned
from workbench.embedded.calls.filters import Filter
from workbench.embedded.calls.messages import EVENT, Position
from workbench.embedded.calls.proposals import stream_name
from workbench.embedded.calls.requests import only_request
from workbench.embedded.calls.subscriptions import END, PAGE, START, Cursor, Page, Subscriptions
from workbench.embedded.node import Context, EmbeddedNode, Watch
from workbench.embedded.recording.appends import Tombstoned
from workbench.embedded.recording.clock import SINCE_YEAR_1
from workbench.embedded.recording.records import MAX_REVISION
from workbench.protocol import streams_pb2

_SCAN = 4_096
_SERVER_PAGE = 32
_NOWHERE = 2**64 - 1  # stands for the end of a stream, as a revision

Options = streams_pb2.ReadReq.Options


class ReadHandler:
    """Answers reads on a node."""

    def __init__(self, node: EmbeddedNode) -> None:
        self._node = node
        self._log = node.log
        self._subscriptions = Subscriptions(node)

    async def read(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Serve one ``Streams.Read``, with the faults that are planned for it."""
        plan = self._node.plan
        unchanged = Watch(self._log)
        check_standing = self._node.standing(context, writes=False)
        try:
            request = await only_request(requests, streams_pb2.ReadReq)
            interruption = plan.interruptions.pop(0) if plan.interruptions else None
            left = _NOWHERE if interruption is None else interruption.after
            structured = request.options.uuid_option.WhichOneof("content") != "string"
            async with aclosing(self._pages(request, context)) as pages:
                async for page in pages:
                    unchanged.check()
                    check_standing()
                    if plan.delay:
                        await asyncio.sleep(plan.delay)
                    for message in page[:left]:
                        yield messages.structured(message) if structured else message
                    left -= sum(message[0] == EVENT for message in page) if interruption is not None else 0
                    if left <= 0:
                        break
            if interruption is not None and left <= 0 and not interruption.quietly:
                raise Failure(StatusCode.UNAVAILABLE, "The connection was cut by an injected fault.")
        except Failure as failure:
            await failure.abort(context)
        except Tombstoned as error:
            await tombstoned(error).abort(context)

    def _pages(self, request: streams_pb2.ReadReq, context: Context) -> AsyncGenerator[Page, None]:
        """Return what a request asks for.

        Its parts are looked at in the server's order, so that of several faults the same one is told.
        """
        options = request.options
        if not request.HasField("options"):
            raise invalid_argument("The read has no options.")
        if not options.HasField("uuid_option"):
            kind = "EventStore.Client.Streams.ReadReq+Types+Options+Types+UUIDOption"
            raise invalid_argument(f" `uuidOption` is a required argument of type {kind}")
        of = options.WhichOneof("stream_option")
        if of is None:
            raise not_chosen("ReadReq+Types+Options", "StreamOption")
        stream = "$all" if of == "all" else stream_name(options.stream.stream_identifier)
        self._node.admit(context, stream, READ)
        subscribes = options.WhichOneof("count_option") == "subscription"
        backwards = options.read_direction == Options.Backwards
        filtered = options.WhichOneof("filter_option") == "filter"
        if not _is_possible(options):
            raise invalid_argument(f"The combination of {_combination(options)} is invalid.")
        if of == "all":
            position = self._position(options)
            chosen = _filter(options) if filtered else None
            if subscribes:
                return self._subscribe(chosen, position, options)
            if backwards:
                return self._all_backwards(position, options, chosen)
            return self._all_forwards(position, options, chosen)
        revision = _revision(options)
        if subscribes:
            after = None if revision == _NOWHERE else revision
            if options.stream.WhichOneof("revision_option") == "start":
                after = -1
            return self._subscriptions.to_stream(stream, after=after, resolve=options.resolve_links)
        return self._stream(stream, revision, options, backwards=backwards)

    def _subscribe(self, chosen: Filter | None, position: Position, options: Options) -> AsyncGenerator[Page, None]:
        if chosen is None:
            return self._subscriptions.to_all(position, resolve=options.resolve_links)
        if not chosen.checkpoint_interval:
            raise invalid_argument("The subscription's checkpoint interval is zero.")
        return self._subscriptions.to_filtered(chosen, position, resolve=options.resolve_links)

    # -- a stream

    async def _stream(self, stream: str, revision: int, options: Options, *, backwards: bool) -> AsyncGenerator[Page, None]:
        log, head = self._log, self._node.head
        if not options.count or (revision == _NOWHERE and not backwards):
            raise _unreadable()
        numbers = log.readable(stream, head=head)
        if numbers is None:
            yield [messages.not_found(stream)]
            return
        if (log.limits(stream, head=head).max_age or 0) > self._node.now() + SINCE_YEAR_1:
            raise _unreadable()  # the server cannot tell the day so long ago
        if backwards:
            chosen = numbers[: bisect_right(numbers, min(revision, MAX_REVISION), key=log.revisions.__getitem__)][::-1]
        else:
            chosen = numbers[bisect_left(numbers, revision, key=log.revisions.__getitem__) :]
        # Newer clients ask for this (ControlOption), to tell an empty stream from a start behind its end.
        extended = options.control_option.compatibility >= 1
        if extended and not backwards:
            yield [messages.first_stream_position(first) for first in self._begins(stream, numbers, revision, options.count, head)]
        generation = log.generation
        for start in range(0, min(len(chosen), options.count), PAGE):
            if generation != log.generation:
                raise Failure(StatusCode.UNAVAILABLE, "The log was rewritten during the read.")
            page = chosen[start : min(start + PAGE, options.count)]
            yield messages.events(log, page, resolve=options.resolve_links, head=self._node.head)
        if extended:
            yield [messages.last_stream_position(log.revisions[log.recorded(stream, after=-1, head=head)[-1]])]

    def _begins(self, stream: str, numbers: Sequence[int], revision: int, count: int, head: int) -> Iterator[int]:
        """Yield the revisions that the server names as the first one of a stream when a page of a read holds no event.

        It reads pages of 32 events, and says where it goes on whenever all before was hidden, or nothing is left.
        """
        log, limits = self._log, self._log.limits(stream, head=head)
        last = log.revisions[log.recorded(stream, after=-1, head=head)[-1]]
        hidden = max(limits.truncate_before, 0 if limits.max_count is None else last - limits.max_count + 1)
        size = min(_SERVER_PAGE, count)
        while True:
            page_end = min(revision + size - 1, MAX_REVISION)
            begin = max(revision, hidden)
            at = bisect_left(numbers, begin, key=log.revisions.__getitem__)
            visible = log.revisions[numbers[at]] if at < len(numbers) else None
            if page_end < hidden:
                following, ended = hidden, False
            elif visible is not None and visible <= page_end:
                return
            elif limits.max_age is not None:  # the server searches for the first event that is young enough
                following, ended = (last + 1, True) if visible is None else (visible, False)
            else:
                following, ended = min(page_end + 1, last + 1), page_end >= last
                if begin > last:
                    following, ended = last + 1, True
            if following != revision:
                yield following
            if ended:
                return
            revision = following

    # -- $all

    async def _all_forwards(self, position: Position, options: Options, chosen: Filter | None) -> AsyncGenerator[Page, None]:
        if position == END or not options.count:
            return
        commit, prepare = position
        if position != START and not self._log.begins(commit, head=self._node.head):
            raise self._refused(chosen)
        cursor = Cursor(self._log, after=(commit, prepare - 1), head=self._node.head)
        left = options.count
        while left and (numbers := cursor.step(self._node.head, PAGE if chosen is None else _SCAN)):
            for page in self._passed(numbers, chosen, left, resolve=options.resolve_links):
                left -= len(page)
                yield page

    async def _all_backwards(self, position: Position, options: Options, chosen: Filter | None) -> AsyncGenerator[Page, None]:
        log, left = self._log, options.count
        number = self._node.head
        if position != END:
            number = self._number_before(position, chosen)
        generation = log.generation
        while left and number:
            if generation != log.generation:
                raise Failure(StatusCode.UNAVAILABLE, "The log was rewritten during the read.")
            first = max(0, number - (PAGE if chosen is None else _SCAN))
            numbers = range(number - 1, first - 1, -1)
            number = first
            for page in self._passed(numbers, chosen, left, resolve=options.resolve_links):
                left -= len(page)
                yield page

    def _number_before(self, position: Position, chosen: Filter | None) -> int:
        """Return the number of the record behind those that lie before a position."""
        log, head = self._log, self._node.head
        commit, prepare = position
        number = log.find(commit, prepare, head=head)
        if not number:
            return 0
        if number == head and commit > log.behind(head - 1):
            raise Failure(StatusCode.UNKNOWN, f"Unexpected {_result(chosen)}: Error")
        if not log.begins(commit, head=head):
            raise self._refused(chosen)
        last = log.position(number - 1)
        if last[0] == last[1] and log.behind(number - 1) == commit > prepare:
            number -= 1  # both positions of a record must be behind it
        return number

    def _position(self, options: Options) -> Position:
        """Return the position that a request names."""
        where = options.all.WhichOneof("all_option")
        if where != "position":
            if where is None:
                raise invalid_argument("The read of $all does not say from where.")
            return START if where == "start" else END
        commit, prepare = position = options.all.position.commit_position, options.all.position.prepare_position
        if position == END:
            return END
        if max(commit, prepare) > MAX_REVISION:
            raise invalid_argument(f"The position {commit}/{prepare} is beyond any log.")
        if prepare > commit:
            raise invalid_argument(f"The prepare position {prepare} is above the commit position {commit}.")
        return position

    def _refused(self, chosen: Filter | None) -> Failure:
        return Failure(StatusCode.UNKNOWN, f"Unexpected {_result(chosen)}: {self._node.refused_position}")

    def _passed(self, numbers: Sequence[int], chosen: Filter | None, left: int, *, resolve: bool) -> Iterator[Page]:
        passed = numbers if chosen is None else chosen.allowed(self._log, numbers)
        for start in range(0, min(len(passed), left), PAGE):
            page = passed[start : min(start + PAGE, left)]
            yield messages.events(self._log, page, resolve=resolve, head=self._node.head)


def _unreadable() -> Failure:
    return Failure(StatusCode.UNKNOWN, "Unexpected ReadStreamResult: Error")


def _result(chosen: Filter | None) -> str:
    return f"{'' if chosen is None else 'Filtered'}ReadAllResult"


def _revision(options: Options) -> int:
    """Return the revision that a read of a stream starts at."""
    where = options.stream.WhichOneof("revision_option")
    if where is None:
        raise invalid_argument("The read of the stream does not say from where.")
    revision = 0 if where == "start" else _NOWHERE if where == "end" else int(options.stream.revision)
    if MAX_REVISION < revision < _NOWHERE:
        raise invalid_argument(f"The revision {revision} is greater than any revision.")
    return revision


def _is_possible(options: Options) -> bool:
    of, count = options.WhichOneof("stream_option"), options.WhichOneof("count_option")
    filtering, direction = options.WhichOneof("filter_option"), options.read_direction
    return (
        count is not None
        and filtering is not None
        and direction in (Options.Forwards, Options.Backwards)
        and not (of == "stream" and filtering == "filter")
        and not (count == "subscription" and direction == Options.Backwards)
    )


def _combination(options: Options) -> str:
    """Name the choices of a request as .NET does."""
    chosen = [options.WhichOneof(choice) for choice in ("stream_option", "count_option", "filter_option")]
    of, count, filtering = ("None" if name is None else "".join(word.capitalize() for word in name.split("_")) for name in chosen)
    directions = {Options.Forwards: "Forwards", Options.Backwards: "Backwards"}
    return f"({of}, {count}, {directions.get(options.read_direction, str(options.read_direction))}, {filtering})"


def _filter(options: Options) -> Filter:
    kind = "ReadReq+Types+Options+Types+FilterOptions"
    given = options.filter
    if given.WhichOneof("filter") is None:
        text = json.dumps(MessageToDict(given)).replace("{", "{ ").replace("}", " }")
        raise invalid_argument(f"'{text}' is not a valid EventStore.Client.Streams.{kind}")
    if given.WhichOneof("window") is None:
        raise not_chosen(kind, "Window")
    return Filter(given)
