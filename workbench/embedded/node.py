"""The node: one log, served by one event loop, and the calls that wait for it to grow."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeAlias

import grpc.aio
from grpc import StatusCode

from workbench.embedded.calls.access import READ, Right
from workbench.embedded.calls.accounts import Accounts
from workbench.embedded.calls.failures import Failure
from workbench.embedded.faults import FaultPlan
from workbench.embedded.membership import LEADER, Member, refusal
from workbench.embedded.recording.log import Log
from workbench.embedded.recording.system_projections import Projections

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Watch:
    """Waits for a log to grow; changes between two waits are not missed."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._history = log.history
        self._event = asyncio.Event()

    def wake(self) -> None:
        """End the wait, or the next one."""
        self._event.set()

    def check(self) -> None:
        """Make sure that the log is still the one that was watched at first.

        Raises
        ------
        Failure
            It was replaced by another, as by a restored backup, for which a server is restarted.
        """
        if self._history != self._log.history:
            raise Failure(StatusCode.UNAVAILABLE, "The server was restarted with a restored log.")

    async def growth(self) -> None:
        """Wait until woken, and check."""
        self.check()
        await self._event.wait()
        self._event.clear()
        self.check()


class EmbeddedNode:
    """What the services share. Lives on the thread of its event loop, and so do all its callers.

    Appends are staged in the log at once. A log in memory publishes them at once too. One on a disk is written by a thread of its
    own, so that the loop goes on taking appends: all that came meanwhile are the next write (group commit).
    """

    def __init__(
        self,
        log: Log,
        *,
        accounts: Accounts,
        plan: FaultPlan,
        now: Callable[[], int],
        accept_timestamps: bool,
        refused_position: str = "InvalidPosition",
    ) -> None:
        self.log = log
        self.accounts = accounts
        self.plan = plan
        self.accept_timestamps = accept_timestamps
        self.now = now
        self.refused_position = refused_position
        """What a read of ``$all`` from a position that no record has is answered with."""
        self.address = ("", 0)
        """What gossip tells clients to dial."""
        self.projections: Projections | None = None
        """Writes links for what is appended, if they are switched on."""
        self._staged = asyncio.Event()
        self._watches: set[Watch] = set()
        self._held: deque[tuple[int, float]] = deque()  # numbers from which records are held back, and since when
        self._release_timer: asyncio.TimerHandle | None = None
        self._writing = asyncio.Lock()
        self._broken: Exception | None = None
        self._stopping = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedded-store-writer")
        self._writer: asyncio.Task[None] | None = None

    @property
    def visible(self) -> int:
        """How many records are acknowledged: what is published, less what was recorded too recently."""
        return self._held[0][0] if self._held else self.log.published

    @property
    def head(self) -> int:
        """How many records readers may see: the visible ones, less those by which the node lags."""
        if self.plan.empty_until > time.monotonic():
            return 0
        return max(0, self.visible - self.plan.lag)

    def start(self) -> None:
        """Begin to write what is staged."""
        self._writer = asyncio.create_task(self._write_staged())

    async def stop(self) -> None:
        """Write what is staged, and no more."""
        self._stopping = True
        self._staged.set()
        if self._release_timer is not None:
            self._release_timer.cancel()
        if self._writer is not None:
            await self._writer
        if self._broken is None:
            await self._write_now()
        self._thread.shutdown()

    def settle(self) -> None:
        """Have what was staged written."""
        if self._broken is not None:
            raise _unwritable(self._broken)
        if self.projections is not None:
            self.projections.catch_up()
        if self.log.blocking:
            self._staged.set()
        else:
            first = self.log.published
            self.log.flush()
            self._hold(first)
            self.notify()

    async def written(self, count: int) -> None:
        """Wait until so many records are published, whether or not readers see them yet.

        Raises
        ------
        Failure
            They never will be: the storage cannot be written.
        """
        await self._until(lambda: self.log.published >= count)

    async def published(self, count: int) -> None:
        """Wait until so many records are visible, so that a client may be told.

        Raises
        ------
        Failure
            They never will be: the storage cannot be written.
        """
        await self._until(lambda: self.visible >= count)

    async def _until(self, reached: Callable[[], bool]) -> None:
        if reached():
            return
        with self.watching() as watch:
            while not reached():
                if self._broken is not None:
                    raise _unwritable(self._broken)
                await watch.growth()

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        """Give a watch that wakes whenever something was published, or the head or the faults changed."""
        watch = Watch(self.log)
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    @property
    def members(self) -> Sequence[Member]:
        """The members of the cluster, as this node tells of them."""
        plan = self.plan
        if plan.members is not None:
            return plan.members
        own = Member(*self.address, plan.state)
        return [own] if plan.leader is None else [own, Member(*plan.leader)]

    def admit(self, context: Context, stream: str, right: Right) -> None:
        """Let a call go on that reads, writes or deletes a stream, or reads ``$all``.

        Raises
        ------
        Failure
            The user may not, this node is not ready, or not the leader and the call wants one, or its storage cannot be written.
        """
        writes = right != READ
        if writes and self._broken is not None:
            raise _unwritable(self._broken)
        metadata = context.invocation_metadata() or ()
        self.accounts.check(metadata, stream, right, self.log)
        self.plan.refuse_as_not_ready(requires_leader=_requires_leader(context))
        self.standing(context, writes=writes)()

    def standing(self, context: Context, *, writes: bool) -> Callable[[], None]:
        """Return a check that raises a Failure once this node is in no state to serve a call, which may be under way."""
        plan, requires_leader = self.plan, _requires_leader(context)

        def check() -> None:
            if plan.state != LEADER and (refused := refusal(plan.state, self._leader, requires_leader=requires_leader, writes=writes)):
                raise refused

        return check

    @property
    def _leader(self) -> tuple[str, int] | None:
        if self.plan.leader is not None:
            return self.plan.leader
        return next(((member.host, member.port) for member in self.members if member.state == LEADER and member.is_alive), None)

    def notify(self) -> None:
        """Wake all who watch."""
        if self._held or self.plan.empty_until:
            self._release()
        for watch in self._watches:
            watch.wake()

    async def rewrite(self, change: Callable[[Log], None]) -> None:
        """Change the log itself, while nothing is staged or being written."""
        async with self._writing:
            await self._write_now()
            change(self.log)
            self._held.clear()
        self.notify()

    def _hold(self, first: int) -> None:
        """Hold back the records from a number on, if what was just published becomes visible later."""
        if self.plan.visibility_delay and first < self.log.published:
            self._held.append((first, asyncio.get_running_loop().time()))

    def _release(self) -> None:
        """Show the records that were held back long enough, and come again for the next."""
        loop, held, plan = asyncio.get_running_loop(), self._held, self.plan
        while held and held[0][1] + plan.visibility_delay <= loop.time():
            held.popleft()
        if self._release_timer is not None:
            self._release_timer.cancel()
            self._release_timer = None
        due = held[0][1] + plan.visibility_delay if held else math.inf
        if plan.empty_until > time.monotonic():
            due = min(due, plan.empty_until)  # the loop's time is the monotonic one
        if math.isfinite(due):
            self._release_timer = loop.call_at(due, self.notify)

    async def _write_staged(self) -> None:
        while self._broken is None and not self._stopping:
            await self._staged.wait()
            self._staged.clear()
            async with self._writing:
                await self._write_now()

    async def _write_now(self) -> None:
        first, staged = self.log.take_staged()
        if not staged:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self.log.write, first, staged)
        except Exception as error:  # noqa: BLE001 - whatever it was, the log in memory is ahead of the one on the disk,
            self._broken = error  # so nothing may build on it any more, and nobody may wait for it
        else:
            self.log.publish(len(staged))
            self._hold(first)
        self.notify()


def _requires_leader(context: Context) -> bool:
    return ("requires-leader", "true") in [tuple(pair) for pair in context.invocation_metadata() or ()]


def _unwritable(error: Exception) -> Failure:
    return Failure(
        StatusCode.UNAVAILABLE,
        f"The embedded store could not write its data folder ({error}) and takes no more events: make room and start it again.",
    )
