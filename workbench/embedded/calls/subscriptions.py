"""Live subscriptions to a stream and to ``$all``.

The order of the messages is that of KurrentDB 25.0 (``Enumerator.StreamSubscription``, ``AllSubscription``,
``AllSubscriptionFiltered``, ``SubscriptionsService``): a subscription confirms, starts exclusively, catches up, says so, and goes on
live. One that starts at or behind the end is live at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from itertools import count as counting
from uuid import UUID

from workbench.embedded.calls import messages
from workbench.embedded.calls.failures import invalid_argument
from workbench.embedded.calls.filters import DEFAULT_WINDOW, Filter
from workbench.embedded.calls.messages import Position
from workbench.embedded.node import EmbeddedNode
from workbench.embedded.recording.appends import Tombstoned
from workbench.embedded.recording.log import Log
from workbench.embedded.recording.records import MAX_REVISION

PAGE = 128
"""How many events at most go out between two looks at the faults and at the state of the log."""

START: Position = (-1, -1)
END: Position = (2**64 - 1, 2**64 - 1)
"""The place before everything, and the one that stands for wherever the log ends; clients may send it as a position."""

_FIRST_RECORD: Position = (0, 0)

Page = Sequence[bytes]


class Subscriptions:
    """Serves subscriptions on a node."""

    def __init__(self, node: EmbeddedNode) -> None:
        self._node = node
        self._log = node.log
        self._identities = counting(1)

    async def to_stream(self, stream: str, *, after: int | None, resolve: bool) -> AsyncGenerator[Page, None]:
        """Serve a subscription to a stream, after a revision; -1 is before the first, None behind the last.

        Raises
        ------
        Tombstoned
            The stream was tombstoned, or is meanwhile.
        """
        log, node = self._log, self._node
        log.readable(stream, head=node.head)
        recorded = log.recorded(stream, after=-1, head=node.head)
        last = log.revisions[recorded[-1]] if recorded else -1
        if after is None:
            after = last
        yield [self._confirmation()]
        live = False
        with node.watching() as watch:
            while True:
                head = node.head
                numbers: Sequence[int]
                if live:  # what comes now is not hidden: it is the newest
                    numbers = log.recorded(stream, after=after, head=head)
                elif after >= last:
                    numbers = ()
                else:
                    numbers = log.readable(stream, head=head) or ()
                    numbers = numbers[bisect_right(numbers, after, key=log.revisions.__getitem__) :]
                for start in range(0, len(numbers), PAGE):
                    page = numbers[start : start + PAGE]
                    after = log.revisions[page[-1]]
                    yield messages.events(log, page, resolve=resolve, head=node.head)
                if numbers and after == MAX_REVISION:
                    raise Tombstoned(stream)
                if not live and (head == node.head or after >= last):
                    live = True
                    yield [messages.caught_up(now=node.now(), revision=after if after >= 0 else None)]
                    after = max(after, last)  # what is hidden by now stays so
                elif head == node.head:
                    await watch.growth()

    async def to_all(self, after: Position, *, resolve: bool) -> AsyncGenerator[Page, None]:
        """Serve a subscription to ``$all``, after a position."""
        log, node = self._log, self._node
        with node.watching() as watch:
            last = self._last()
            after, live = self._begun(after, last)
            yield [self._confirmation()]
            self._check(after, live=live)
            cursor = Cursor(log, after=after, head=node.head)
            if live:
                yield [messages.caught_up(now=node.now(), position=_known(after))]
            while True:
                numbers = cursor.step(node.head, PAGE)
                if numbers:
                    yield messages.events(log, numbers, resolve=resolve, head=node.head)
                    continue
                if not live:
                    live = True
                    yield [messages.caught_up(now=node.now(), position=_known(cursor.after))]
                await watch.growth()

    async def to_filtered(self, chosen: Filter, after: Position, *, resolve: bool) -> AsyncGenerator[Page, None]:
        """Serve a subscription to those events of ``$all`` that a filter lets through, after a position."""
        node = self._node
        with node.watching() as watch:
            last = self._last()
            after, live = self._begun(after, last)
            passed = _Passed(node, chosen, checkpoint=after, resolve=resolve)
            yield [self._confirmation()]
            self._check(after, live=live)
            while not live:
                live, page = passed.catch_up()
                yield page
            yield [messages.caught_up(now=node.now(), position=_known(passed.checkpoint))]
            cursor = Cursor(self._log, after=last, head=node.head)
            looked_at = 0
            while True:
                numbers = cursor.step(node.head, PAGE)
                if not numbers:
                    await watch.growth()
                    continue
                page, looked_at = passed.live(numbers, looked_at)
                yield page

    def _last(self) -> Position:
        return self._log.position(self._node.head - 1) if self._node.head else START

    def _begun(self, after: Position, last: Position) -> tuple[Position, bool]:
        """Return where a subscription really begins, and whether it is live from there on."""
        if after == END:
            after = last
        return after, after >= last

    def _check(self, after: Position, *, live: bool) -> None:
        """Refuse a position at which no record begins, once the subscription is confirmed."""
        if not live and after != START and not self._log.begins(after[0], head=self._node.head):
            raise invalid_argument("Trying to read from an invalid position.")

    def _confirmation(self) -> bytes:
        return messages.confirmation(str(UUID(int=next(self._identities))))


class _Passed:
    """What a filtered subscription sends: the events that pass, and the checkpoints."""

    def __init__(self, node: EmbeddedNode, chosen: Filter, *, checkpoint: Position, resolve: bool) -> None:
        self._node = node
        self._log = node.log
        self._filter = chosen
        self._resolve = resolve
        self.checkpoint = checkpoint
        """The position of the last event that was sent, or of the last checkpoint."""
        self._sent: Position | None = None
        self._next = max(checkpoint, _FIRST_RECORD)
        self._looked_at = 0

    def catch_up(self) -> tuple[bool, list[bytes]]:
        """Return whether the head is reached, and what the next page of the log gives.

        The server reads as many events at a time as the filter's window holds, or until 32 passed. A checkpoint stands at the
        beginning of the page that was read last, or at the last event that passed.
        """
        log, begun = self._log, self._next
        first = log.find(*begun, head=self._node.head)
        numbers, kept, ended = self._page(first)
        sent = []
        for number in kept:
            if log.position(number) > self.checkpoint:
                self.checkpoint = log.position(number)
                sent.append(number)
        page = messages.events(log, sent, resolve=self._resolve, head=self._node.head)
        if numbers:
            following = numbers[-1] + 1
            if following < self._node.head and log.commits[following] == log.commits[numbers[-1]]:
                self._next = log.position(following)
            else:
                self._next = (log.behind(numbers[-1]), 0)
        if self.checkpoint < begun < self._next:
            self.checkpoint = begun
        self._looked_at += len(numbers)
        if ended:
            if self.checkpoint < _FIRST_RECORD < self._next:
                self.checkpoint = _FIRST_RECORD
            page += self._checkpointed()
        elif self._looked_at >= self._filter.checkpoint_interval:
            self._looked_at %= self._filter.checkpoint_interval
            page += self._checkpointed()
        return ended, page

    def _page(self, first: int) -> tuple[range, Sequence[int], bool]:
        """Return the records that are looked at from a number on, those of them that pass, and whether the log ends before more."""
        stop = min(first + self._filter.window, self._node.head)
        kept: list[int] = []
        for begin in range(first, stop, PAGE):
            kept += self._filter.allowed(self._log, range(begin, min(begin + PAGE, stop)))
            if len(kept) >= DEFAULT_WINDOW:
                del kept[DEFAULT_WINDOW:]
                return range(first, kept[-1] + 1), kept, False
        numbers = range(first, stop)
        return numbers, kept, len(numbers) < self._filter.window

    def live(self, numbers: Sequence[int], looked_at: int) -> tuple[list[bytes], int]:
        """Return what new records give, and how many were looked at since a checkpoint was due."""
        log, page = self._log, []
        allowed = set(self._filter.allowed(log, numbers))
        for number in numbers:
            position = log.position(number)
            if number in allowed and position > self.checkpoint:
                self.checkpoint = position
                page += messages.events(log, [number], resolve=self._resolve, head=self._node.head)
            looked_at += 1
            if looked_at >= self._filter.checkpoint_interval:
                looked_at = 0
                if position >= self.checkpoint:
                    self.checkpoint = position
                    page += self._checkpointed()
        return page, looked_at

    def _checkpointed(self) -> list[bytes]:
        """Return a checkpoint, if it is further on than the one before."""
        if self.checkpoint == START or (self._sent is not None and self.checkpoint <= self._sent):
            return []
        self._sent = self.checkpoint
        return [messages.checkpoint(self.checkpoint, now=self._node.now())]


class Cursor:
    """A place in ``$all`` that moves forwards, and finds itself again when a scavenge renumbered the records."""

    def __init__(self, log: Log, *, after: Position, head: int) -> None:
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


def _known(position: Position) -> Position | None:
    return None if position == START else position
