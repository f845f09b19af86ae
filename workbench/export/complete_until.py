"""Determines the instant until which a lake is complete: every event recorded up to then is in it.

A server stamps an event before the event can be read: milliseconds before under load, seconds before on a slow follower. So the time at
which the end of the log was read would promise too much. The stamp of the last event is safe, and so is a time far enough in the past.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from workbench.events import format_time
from workbench.export.progress import Wait
from workbench.export.retrying import Stopwatch
from workbench.export.source import Source
from workbench.kurrent import EventPosition, NodeState

VISIBLE_WITHIN: Final = timedelta(seconds=10)
"""The longest assumed time from an event's stamp until it can be read, except in explicit transactions."""

UNTIL_SECONDS: Final = 12.0
"""How long an export waits for the requested time: `VISIBLE_WITHIN`, plus a second for the date header, which has whole seconds."""

_POLL_SECONDS = 0.5
_TICK = timedelta(microseconds=1)
_NEVER = datetime.fromtimestamp(0, UTC)
_FIRST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class HighWaterMark:
    """The last event of the log at a moment, and the time of that moment.

    Attributes
    ----------
    end
        The event, or None for a log without events.
    date
        The server's time at its answer, or our own time before the request if the server sends none; None if a follower answered and
        its leader is ahead or cannot be asked.
    leader
        If ``date`` is None, the leader's host and port; empty if they are not known.
    given_times
        Whether writers may set the time of an event, so that its stamp does not tell when it became readable.
    """

    end: EventPosition | None
    date: datetime | None
    leader: str = ""
    given_times: bool = False

    def complete_until(self, previous: datetime | None) -> datetime:
        """Return the instant until which a lake is complete that holds the log up to ``end``; before, it was ``previous``."""
        if self.given_times:
            assert self.date is not None
            return max(self.up_to(None if self.end is None else self.end.recorded_at, previous), self.date)
        sure = self.up_to(None if self.end is None else self.end.recorded_at, previous)
        return sure if self.date is None else max(sure, self.date - VISIBLE_WITHIN)

    def up_to(self, stamp: datetime | None, previous: datetime | None) -> datetime:
        """Return the instant until which a lake is complete that holds the log up to an event with this stamp.

        Later events may have the same stamp. A stamp ahead of the server's own time counts as that time; an undated event (see
        ``EVENT_SCHEMA``) does not count.
        """
        sure = _NEVER if stamp is None or stamp == _FIRST else stamp - _TICK
        if self.date is not None and not self.given_times:
            sure = min(sure, self.date)
        return sure if previous is None else max(previous, sure)


def high_water_mark(source: Source, *, clock: Stopwatch, given_times: bool) -> HighWaterMark:
    """Ask for the end of the log; when reading a follower, ask for its leader's end first."""
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
    """Poll the end of the log, for at most `UNTIL_SECONDS`, until a lake that holds it is complete until a time."""
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
