"""Faults for tests: broken connections, and changes to a log such as scavenges and restored backups."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from grpc import StatusCode

from workbench.embedded.calls.failures import Failure, not_ready
from workbench.embedded.membership import LEADER, Member, check_state
from workbench.embedded.recording.appends import AppendResult
from workbench.embedded.recording.layout import CHUNK
from workbench.embedded.recording.log import Log
from workbench.embedded.recording.records import NewEvent, Record, redacted
from workbench.errors import UsageError

_EPOCH_RECORD = 133
"""The size in the log of the record of a leader's epoch; no client sees that record."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """How one read ends too early: after so many events, with an error or as if all were well."""

    after: int
    quietly: bool


@dataclass(slots=True)
class FaultPlan:
    """What the services ask before they answer."""

    lag: int = 0
    delay: float = 0.0
    visibility_delay: float = 0.0
    state: str = LEADER
    leader: tuple[str, int] | None = None
    members: Sequence[Member] | None = None
    not_ready: float = 0
    not_ready_for_all: bool = True
    empty_until: float = 0.0
    interruptions: list[Interruption] = field(default_factory=list)
    lost_replies: int = 0
    date_header: bool = True

    def refuse_as_not_ready(self, *, requires_leader: bool) -> None:
        """Refuse a call, if calls of its kind are to be refused as on a node that is starting.

        Raises
        ------
        Failure
            UNAVAILABLE, the server is not ready.
        """
        if self.not_ready and (requires_leader or self.not_ready_for_all):
            self.not_ready -= 1
            raise not_ready()

    def lose_reply(self) -> None:
        """Lose the reply to an append that was recorded, if one is to be lost.

        Raises
        ------
        Failure
            UNAVAILABLE, as when the connection breaks before the reply.
        """
        if self.lost_replies:
            self.lost_replies -= 1
            raise Failure(StatusCode.UNAVAILABLE, "The reply was lost by an injected fault.")


class Faults:
    """Switches for faults of a running store; ``store.faults``.

    Faults of the *service* (``interrupt_reads``, ``lose_replies``, ``lag``, ``delay``, ``visibility_delay``, ``date_header``,
    ``not_ready``, ``empty_for``) and of the *cluster* (``not_leader``, ``node_state``, ``gossip``) hold until ``clear`` or until they
    were used up, and touch nothing that is recorded. Faults of the *log* (``scavenge``, ``restore``, ``redact``, ``transaction``,
    ``begin_transaction``, ``phantom_tail``, ``begin_epoch``) change what is recorded, for good. All act on calls that are under way.

    Some need no switch. A dangling link is an event of type ``$>`` whose data names what is not there: ``b"7@no-such-stream"``.
    An invalid position is any that no event has.
    """

    def __init__(
        self,
        plan: FaultPlan,
        *,
        rewrite: Callable[[Callable[[Log], None]], None],
        record: Callable[[Callable[[Log], AppendResult]], AppendResult],
        notify: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._rewrite = rewrite
        self._record = record
        self._notify = notify
        self._phantom: tuple[int, str] | None = None

    def clear(self) -> None:
        """End all faults of the service."""
        self._plan.interruptions.clear()
        self._plan.lost_replies = 0
        self._plan.lag = 0
        self._plan.delay = 0.0
        self._plan.visibility_delay = 0.0
        self._plan.state = LEADER
        self._plan.leader = None
        self._plan.members = None
        self._plan.not_ready = 0
        self._plan.empty_until = 0.0
        self._plan.date_header = True
        self._notify()

    def interrupt_reads(self, *, after: int, times: int = 1, quietly: bool = False) -> None:
        """End the next reads or subscriptions as soon as they have sent so many events.

        With status UNAVAILABLE; ``quietly`` with OK, as if that were all.
        """
        self._plan.interruptions.extend([Interruption(after, quietly)] * times)

    def lose_replies(self, *, times: int = 1) -> None:
        """Record the next appends, and answer UNAVAILABLE instead of saying so."""
        self._plan.lost_replies += times

    @property
    def lag(self) -> int:
        """How many of the last events readers do not see yet, as on a follower."""
        return self._plan.lag

    @lag.setter
    def lag(self, events: int) -> None:
        self._plan.lag = events
        self._notify()

    @property
    def delay(self) -> float:
        """How many seconds pass before each page of a read (up to 128 events) and each reply to a write."""
        return self._plan.delay

    @delay.setter
    def delay(self, seconds: float) -> None:
        self._plan.delay = seconds

    @property
    def visibility_delay(self) -> float:
        """How many seconds after it was stamped an event can be read, and its writer is answered.

        A busy server needs up to 145 ms, and a cluster with a slow follower seconds. ``math.inf`` holds events back until the delay
        is lowered, which counts for those that wait already too.
        """
        return self._plan.visibility_delay

    @visibility_delay.setter
    def visibility_delay(self, seconds: float) -> None:
        self._plan.visibility_delay = seconds
        self._notify()

    @property
    def date_header(self) -> bool:
        """Whether answers carry the header ``date``, the store's time to the second below; on unless it is switched off."""
        return self._plan.date_header

    @date_header.setter
    def date_header(self, sent: bool) -> None:
        self._plan.date_header = sent

    def not_leader(self, *, host: str, port: int) -> None:
        """Make this node a follower of a leader elsewhere, which it names in gossip.

        It refuses writes, and reads that want the leader, also those under way, and names the leader; others it answers from its
        own log.
        """
        self._plan.state = "Follower"
        self._plan.leader = (host, port)
        self._notify()

    def node_state(self, state: str) -> None:
        """Put this node into a state of the protocol, such as ``"Follower"``, ``"ReadOnlyReplica"``, ``"CatchingUp"`` or ``"Unknown"``.

        Gossip tells it, and calls are refused as a real node in that state refuses them: ``Server Is Not Ready`` for all calls
        while it is ``"Initializing"``, and for those that want the leader where no leader is known, as in an election
        (``"Unknown"``); ``Leader info available`` where one is, by ``not_leader`` or ``gossip``. Other reads are served, whatever the
        log holds.

        Raises
        ------
        UsageError
            There is no such state.
        """
        check_state(state)
        self._plan.state = state
        self._notify()

    def gossip(self, members: Sequence[Member]) -> None:
        """Answer questions for gossip with these members and no others, whatever state this node is in."""
        self._plan.members = list(members)

    def not_ready(self, *, times: float = math.inf, requires_leader: bool = False) -> None:
        """Refuse the next calls of streams with ``Server Is Not Ready``, as a node that is starting does.

        Without ``times`` until ``clear``. With ``requires_leader`` those alone that want the leader, as in an election.
        """
        self._plan.not_ready = times
        self._plan.not_ready_for_all = not requires_leader

    def empty_for(self, seconds: float) -> None:
        """Show an empty log to all readers for some seconds, as a server does for about one after its start.

        ``math.inf`` until ``clear``. Appends are taken and answered meanwhile.
        """
        self._plan.empty_until = time.monotonic() + seconds
        self._notify()

    def phantom_tail(self, stream: str, events: Sequence[NewEvent]) -> AppendResult:
        """Append events that no other node has, as the log of a deposed leader holds them when it is started again.

        The node goes into the state ``"PreReplica"``, so it refuses those who want the leader and serves the events to all others,
        until ``drop_phantom_tail``.
        """
        done = self._record(lambda log: log.append(stream, events))
        if self._phantom is None:
            self._phantom = done.count - len(events), self._plan.state
        self.node_state("PreReplica")
        return done

    def drop_phantom_tail(self) -> None:
        """Take the phantom tail away, as a deposed leader does when it follows the new one, and go back to the state before.

        Calls that are under way end with UNAVAILABLE: the server starts again. What is recorded next stands behind the record of
        the new leader's epoch (``begin_epoch`` of the leader), at another place than the tail began.

        Raises
        ------
        UsageError
            There is none.
        """
        if self._phantom is None:
            raise UsageError("The store has no phantom tail: make one by phantom_tail first.")
        (first, state), self._phantom = self._phantom, None

        def change(log: Log) -> None:
            kept = list(islice(log.all_records(), first))
            end = log.commits[first] if first < log.published else log.end
            log.rewrite(kept, end=end + _EPOCH_RECORD)
            log.restart()

        self._rewrite(change)
        self.node_state(state)

    def begin_epoch(self) -> None:
        """Record what a node records first when it is elected leader: no event, but it takes its place in the log."""
        self._rewrite(lambda log: log.rewrite(list(log.all_records()), end=log.end + _EPOCH_RECORD))

    def scavenge(self, positions: Collection[int] = ()) -> int:
        """Take records away for good, and return how many.

        Without positions those that a scavenge would take: what ``$tb``, ``$maxCount``, ``$maxAge`` and deletions hide, and all
        but the tombstone of a tombstoned stream.

        A scavenge closes the chunk that is being written, so the next event takes the next multiple of ``CHUNK`` as its position.
        Below that the server then accepts *any* position, also one at which no record ever began, and goes on at the next record
        that is left; backwards at the one before.
        """
        removed = 0

        def change(log: Log) -> None:
            nonlocal removed
            gone = set(positions) if positions else log.hidden_positions()
            kept = [record for record in log.all_records() if record.commit not in gone]
            removed = log.published - len(kept)
            closed = -(-log.end // CHUNK) * CHUNK
            log.rewrite(kept, scavenged=closed, end=closed)

        self._rewrite(change)
        return removed

    def restore(self, *, upto: int) -> None:
        """Go back to how the log was when its last event was the one at a position, as a restored backup does.

        Later events are gone, and other ones take their positions. Where one of them was in a scavenged chunk, the backup is older
        than the scavenge, and only records that begin somewhere are accepted there again. ``upto=-1`` leaves an empty log, as of
        another cluster. Calls that are under way end with UNAVAILABLE.
        """

        def change(log: Log) -> None:
            kept = [record for record in log.all_records() if record.commit <= upto]
            lost = log.commits[len(kept)] if len(kept) < log.published else log.end
            scavenged = log.scavenged if lost >= log.scavenged else 0
            log.rewrite(kept, scavenged=scavenged, end=scavenged)
            log.restart()

        self._rewrite(change)

    def redact(self, position: int) -> None:
        """Write 0xFF over the data of the event at a position, in place."""

        def change(log: Log) -> None:
            log.rewrite([_redacted(record) if record.commit == position else record for record in log.all_records()])

        self._rewrite(change)

    def transaction(self, stream: str, events: Sequence[NewEvent]) -> AppendResult:
        """Append events as an explicit transaction of the old TCP protocol: one commit position, a prepare position each."""
        return self._record(lambda log: log.append_transaction(stream, events))

    def begin_transaction(self, stream: str, events: Sequence[NewEvent]) -> Callable[[], AppendResult]:
        """Write the events of an explicit transaction, and return the function that commits it.

        Nobody sees them before, and then at a position behind all that was recorded meanwhile; but they carry the time of now.
        """
        prepared: list[tuple[int, NewEvent]] = []
        self._rewrite(lambda log: prepared.extend(log.prepare_transaction(stream, events)))
        return lambda: self._record(lambda log: log.commit_transaction(stream, prepared))


def _redacted(record: Record) -> Record:
    return replace(record, frame=redacted(record.frame))
