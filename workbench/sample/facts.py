"""Counts a history while it is generated: the ground truth for everything that is computed from its copy."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date

from workbench.sample.calendar import DAY, to_datetime
from workbench.sample.journal import SOFT_DELETED, JournalEvent

_SERVICES = {
    "user": "auth",
    "room": "chat",
    "post": "community",
    "member": "community",
    "registration": "registration",
    "users": "accounts",
}
"""The service that writes a category; the rest, which begins with ``$``, is the store's own bookkeeping."""


@dataclass(slots=True)
class RunningCounts:
    """Counts of a history so far; instants are ticks, days are those of the server's stamps in UTC.

    Attributes
    ----------
    conflicts : int
        Appends that the store must refuse because another came first; each was decided again.
    by_user : Counter[str]
        The number of events that each user caused, by the ``userId`` of the metadata.
    active_users : dict[date, set[str]]
        The users who acted on each day, by the same ``userId``.
    steps_back : int
        The number of events with an earlier stamp than the event before.
    soft_deleted, tombstoned : set[str]
        The streams that are deleted now: until somebody writes to them again, and for good.
    """

    since: int
    until: int
    events: int = 0
    by_type: Counter[str] = field(default_factory=Counter)
    by_category: Counter[str] = field(default_factory=Counter)
    by_stream: Counter[str] = field(default_factory=Counter)
    by_user: Counter[str] = field(default_factory=Counter)
    conflicts: int = 0
    steps_back: int = 0
    active_users: dict[date, set[str]] = field(default_factory=lambda: defaultdict(set))
    soft_deleted: set[str] = field(default_factory=set)
    tombstoned: set[str] = field(default_factory=set)
    _last_ticks: int = 0
    _day_ends: int = 0
    _actors: set[str] = field(default_factory=set)

    def count(self, event: JournalEvent, category: str) -> None:
        """Count one more recorded event."""
        ticks, event_type = event.ticks, event.type
        self.events += 1
        self.by_type[event_type] += 1
        self.by_category[category] += 1
        self.by_stream[event.stream] += 1
        self.steps_back += ticks < self._last_ticks
        self._last_ticks = ticks
        if event.cause is not None and event.cause.user_id is not None:
            if not self._day_ends - DAY <= ticks < self._day_ends:
                self._day_ends = (ticks // DAY + 1) * DAY
                self._actors = self.active_users[to_datetime(ticks).date()]
            self._actors.add(event.cause.user_id)
            self.by_user[event.cause.user_id] += 1
        elif event_type == "$streamDeleted":
            self.tombstoned.add(event.stream)
        elif event_type == "$metadata" and "$tb" in event.body:
            stream = event.stream[len("$$") :]
            if event.body["$tb"] == SOFT_DELETED:
                self.soft_deleted.add(stream)
            else:
                self.soft_deleted.discard(stream)

    @property
    def by_service(self) -> Counter[str]:
        """How many events each service wrote; ``store`` stands for the metadata of streams."""
        counts: Counter[str] = Counter()
        for category, count in self.by_category.items():
            counts[_SERVICES.get(category, "store")] += count
        return counts
