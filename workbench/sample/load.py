"""Writes the sample system's history into a store."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from workbench.errors import SourceError, WrongExpectedRevision
from workbench.kurrent import Connection, ReadFilter
from workbench.kurrent.bulk_writer import EventToWrite, Pending
from workbench.sample.calendar import to_datetime
from workbench.sample.journal import Append, JournalEvent, Tombstone
from workbench.sample.system import SampleSystem
from workbench.server_streams import NOT_EXPRESSION

Progress = Callable[[int, int], None]
"""Told how many events were sent and how many there will be."""

_PROGRESS_EVERY = 500


@dataclass(frozen=True, slots=True)
class LoadSummary:
    """What a load wrote.

    Attributes
    ----------
    events, streams
        What the store now holds of the sample, its own events among them.
    by_service
        Events by the service that wrote them; ``store`` stands for the metadata of streams.
    registrations
        Registrations by outcome: ``started`` and ``compensating`` are under way or stuck.
    conflicts
        Appends that the store refused because another came first; each was decided again.
    since, until
        The time that the history covers, whatever the store's own stamps say; ``until`` is exclusive.
    accepts_timestamps
        Whether the store recorded the events at the time at which they happened.
    """

    events: int
    streams: int
    by_service: dict[str, int]
    registrations: dict[str, int]
    conflicts: int
    days: int
    seed: int
    since: datetime
    until: datetime
    seconds: float
    accepts_timestamps: bool

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def note(self) -> str | None:
        """What a reader of the copy must know about its times, if anything."""
        if self.accepts_timestamps:
            return None
        return (
            f"This store stamps events itself: the {self.days} days are compressed into the {self.seconds:.0f} seconds of the load. "
            "Use the embedded store (workbench db start) for a sample with a past."
        )


def load(source: Connection, *, events: int, days: int = 90, seed: int = 1, progress: Progress | None = None) -> LoadSummary:
    """Let the sample system run, and append what it writes to a store, conflicts and all.

    Parameters
    ----------
    events, days, seed
        As of :class:`SampleSystem`: the same give the same history. The store will hold exactly so many events more.
    progress
        Called every few hundred events.

    Raises
    ------
    UsageError
        ``events`` or ``days`` is less than 1.
    SourceError
        The store is not empty, or it failed.
    """
    system = SampleSystem(events=events, days=days, seed=seed)
    started = time.monotonic()
    taken = stream_of_users(source)
    if taken is not None:
        raise SourceError(
            f"{source.address} is not empty: stream {taken!r} has events. Nothing was written: the sample goes into an empty store only."
        )
    with source.writer() as writer:
        accepts_timestamps = source.accepts_timestamps
        waiting: deque[tuple[Append, Pending]] = deque()
        reported = 0
        for request in system.requests():
            if isinstance(request, Tombstone):
                writer.tombstone(request.stream, ticks=request.event.ticks if accepts_timestamps else None)
                continue
            proposed = [_proposed(event, stamped=accepts_timestamps) for event in request.events]
            waiting.append((request, writer.append(request.stream, proposed, expected=request.expected)))
            while waiting and waiting[0][1].done:
                _check(*waiting.popleft())
            if progress is not None and system.facts.events - reported >= _PROGRESS_EVERY:
                reported = system.facts.events
                progress(reported, events)
        for request, pending in waiting:
            _check(request, pending)
    if progress is not None:
        progress(events, events)
    facts = system.facts
    return LoadSummary(
        events=facts.events,
        streams=len(facts.by_stream),
        by_service=dict(facts.by_service),
        registrations=dict(Counter(view.status for view in system.registrations.registrations.values())),
        conflicts=facts.conflicts,
        days=days,
        seed=seed,
        since=to_datetime(facts.since),
        until=to_datetime(facts.until),
        seconds=time.monotonic() - started,
        accepts_timestamps=accepts_timestamps,
    )


def stream_of_users(source: Connection) -> str | None:
    """Return a stream to which somebody has written; None if a store holds nothing but what the server writes for itself."""
    end = source.end()
    last = None if end is None else source.last_kept(end, filter=ReadFilter(f"^{NOT_EXPRESSION}"))
    return None if last is None else last.stream


def _proposed(event: JournalEvent, *, stamped: bool) -> EventToWrite:
    return EventToWrite(
        type=event.type,
        data=event.data,
        metadata=event.metadata,
        event_id=event.id,
        is_json=event.is_json,
        ticks=event.ticks if stamped else None,
    )


def _check(request: Append, pending: Pending) -> None:
    """Check that the store refused the stale appends, and only those."""
    try:
        pending.result()
    except WrongExpectedRevision as error:
        if not request.refused:
            raise WrongExpectedRevision(f"{error} Somebody else writes to this store: load the sample into a fresh one.") from error
    else:
        if request.refused:
            raise SourceError(f"The store accepted an append to {request.stream!r} at revision {request.expected}, which was stale.")
