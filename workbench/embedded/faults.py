"""Faults for tests: what goes wrong on the way to a client, and what happens to a log over the years."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from grpc import StatusCode

from workbench.embedded.failures import Failure
from workbench.embedded.log import CHUNK, Appended, Log
from workbench.embedded.records import NewEvent, Record, redacted


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
    leader: tuple[str, int] | None = None
    interruptions: list[Interruption] = field(default_factory=list)
    lost_replies: int = 0
    date_header: bool = True

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
    ``not_leader``) hold until ``clear`` or until they were used up, and touch nothing that is recorded. Faults of the *log*
    (``scavenge``, ``restore``, ``redact``, ``transaction``) change what is recorded, for good. Both act on calls that are under way.

    Some need no switch. A dangling link is an event of type ``$>`` whose data names what is not there: ``b"7@no-such-stream"``.
    An invalid position is any that no event has.
    """

    def __init__(
        self,
        plan: FaultPlan,
        *,
        rewrite: Callable[[Callable[[Log], None]], None],
        record: Callable[[Callable[[Log], Appended]], Appended],
        notify: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._rewrite = rewrite
        self._record = record
        self._notify = notify

    def clear(self) -> None:
        """End all faults of the service."""
        self._plan.interruptions.clear()
        self._plan.lost_replies = 0
        self._plan.lag = 0
        self._plan.delay = 0.0
        self._plan.visibility_delay = 0.0
        self._plan.leader = None
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
        """Refuse writes, and reads that want the leader, and name another leader instead, in gossip too."""
        self._plan.leader = (host, port)

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
            log.history += 1

        self._rewrite(change)

    def redact(self, position: int) -> None:
        """Write 0xFF over the data of the event at a position, in place."""

        def change(log: Log) -> None:
            log.rewrite([_redacted(record) if record.commit == position else record for record in log.all_records()])

        self._rewrite(change)

    def transaction(self, stream: str, events: Sequence[NewEvent]) -> Appended:
        """Append events as an explicit transaction of the old TCP protocol: one commit position, a prepare position each."""
        return self._record(lambda log: log.append_transaction(stream, events))


def _redacted(record: Record) -> Record:
    return replace(record, frame=redacted(record.frame))
