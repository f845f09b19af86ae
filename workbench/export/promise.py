"""Until when a lake is complete: the instant up to which every event that was recorded is in it.

A server stamps an event before it can be read: some milliseconds before under load, seconds with a slow follower. So the time at which
the end of the log was asked for promises too much. What is sure is the stamp of the last event, and a date that lies well back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from workbench.events import format_time
from workbench.export.progress import Wait
from workbench.export.resume import Stopwatch
from workbench.export.source import Source
from workbench.kurrent import EventPosition, NodeState

VISIBLE_WITHIN: Final = timedelta(seconds=10)
"""How long after its stamp an event is taken to be readable at the latest, explicit transactions left out."""

UNTIL_SECONDS: Final = 12.0
"""How long an export waits until it can promise what was asked for: `VISIBLE_WITHIN`, and the date header's renewal once a second."""

_POLL_SECONDS = 0.5
_TICK = timedelta(microseconds=1)
_NEVER = datetime.fromtimestamp(0, UTC)
_FIRST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class HighWaterMark:
    """The last event of the log when it was asked for, and what is known of the time.

    Attributes
    ----------
    end
        The event, or None of a log without events.
    date
        The server's time at the answer, or where it sends none our own before the question; None where it says nothing, because a
        follower answered whose leader is further or cannot be asked.
    leader
        Where ``date`` is None, the leader's host and port; empty where they are not known.
    given_times
        Whether writers may say when an event was recorded, so that stamps tell nothing of when it became readable.
    """

    end: EventPosition | None
    date: datetime | None
    leader: str = ""
    given_times: bool = False

    def complete_until(self, previous: datetime | None) -> datetime:
        """Return until when a lake is complete that holds the log up to ``end``, and was complete until ``previous`` before."""
        if self.given_times:
            assert self.date is not None
            return max(self.up_to(None if self.end is None else self.end.recorded_at, previous), self.date)
        sure = self.up_to(None if self.end is None else self.end.recorded_at, previous)
        return sure if self.date is None else max(sure, self.date - VISIBLE_WITHIN)

    def up_to(self, stamp: datetime | None, previous: datetime | None) -> datetime:
        """Return until when a lake is complete that holds the log up to an event with this stamp.

        Later events may have the same stamp. A stamp that lies ahead of the server's own time promises no more than that time; an undated
        event (see ``EVENT_SCHEMA``) promises nothing.
        """
        sure = _NEVER if stamp is None or stamp == _FIRST else stamp - _TICK
        if self.date is not None and not self.given_times:
            sure = min(sure, self.date)
        return sure if previous is None else max(previous, sure)


def high_water_mark(source: Source, *, clock: Stopwatch, given_times: bool) -> HighWaterMark:
    """Ask for the end of the log, and for the leader's first where a follower is read."""
    follows = source.check_node() is not NodeState.LEADER
    asked = clock.now()
    leader = source.leader_end() if follows else None
    leader_asked, asked = asked, clock.now()
    end = source.end()
    if not follows:
        answered = asked if end is None or end.answered_at is None else end.answered_at
        return HighWaterMark(end, min(asked, answered) if given_times else answered, given_times=given_times)
    if leader is not None and end == leader:
        return HighWaterMark(end, leader.answered_at or leader_asked)
    return HighWaterMark(end, None, leader=source.leader_address or "")


def wait_for(
    until: datetime,
    ask: Callable[[], HighWaterMark],
    *,
    previous: datetime | None,
    clock: Stopwatch,
    told: Callable[[Wait], None],
) -> HighWaterMark:
    """Ask for the end of the log until a lake that holds it is complete until a time, at most for `UNTIL_SECONDS`."""
    mark = ask()
    if mark.end is None or _is_reached(mark, until, previous):
        return mark
    deadline = clock.seconds() + UNTIL_SECONDS
    told(Wait(UNTIL_SECONDS, f"Events up to {format_time(until)} may not be readable yet.", is_poll=True))
    while clock.seconds() < deadline:
        clock.sleep(_POLL_SECONDS)
        mark = ask()
        if _is_reached(mark, until, previous):
            break
    return mark


def _is_reached(mark: HighWaterMark, until: datetime, previous: datetime | None) -> bool:
    return mark.complete_until(previous) >= until
