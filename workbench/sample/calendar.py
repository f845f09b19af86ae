"""When things happen: growth, weekdays, hours, a launch, an outage, and a clock that once ran backwards.

Instants are ticks: 100 ns since the Unix epoch, as KurrentDB stamps its events.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

SECOND = 10_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR

UNTIL = datetime(2026, 4, 1, tzinfo=UTC)
"""The default end of a history, exclusive; fixed, so that a seed gives the same history on any day."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOURS = (2, 1, 1, 1, 1, 2, 4, 8, 14, 18, 18, 15, 12, 15, 18, 17, 15, 12, 11, 13, 16, 15, 9, 4)
_WEEKDAYS = (1.0, 1.05, 1.1, 1.05, 0.9, 0.55, 0.5)  # Monday first
_GROWTH = 4.0  # the last day is this many times as busy as the first
_LAUNCH_FACTOR = 3.0
_LAUNCH_SHARE = 0.3  # of that day's moments, in the quarter of an hour after the announcement
_BURST_STEP = SECOND // 100  # under load the server's clock is read every 10 ms: events share a stamp


def to_ticks(moment: datetime) -> int:
    """Return an instant as ticks since the Unix epoch."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 10


def to_datetime(ticks: int) -> datetime:
    """Return ticks as an instant in UTC, floored to microseconds as a lake does."""
    return _EPOCH + timedelta(microseconds=ticks // 10)


def to_text(ticks: int, *, digits: int = 7) -> str:
    """Return ticks as RFC 3339 text in UTC with so many digits of a second.

    >>> to_text(17_724_000_000_000_001)
    '2026-03-01T21:20:00.0000001Z'
    """
    seconds, rest = divmod(ticks, SECOND)
    whole = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{rest:07d}"[: len(whole) + 1 + digits] + "Z" if digits else f"{whole}Z"


class SampleClock:
    """The moments of a history, one an event, and the server's clock that stamps them.

    Parameters
    ----------
    events
        How many moments there are.
    days
        Over how many whole days before ``until`` they spread.

    Attributes
    ----------
    moments : Sequence[int]
        True time in ticks, rising; the ``i``-th event of the history happens at the ``i``-th moment or shortly after.
    launch : int
        The first tick of the announcement on launch day, at 60 per cent of the days.
    failover : int
        True time at which another server took over, whose clock was slow: the stamps step back there, at 70 per cent.
    """

    def __init__(self, *, events: int, days: int, until: datetime, rng: random.Random) -> None:
        self.until = to_ticks(until)
        self.since = self.until - days * DAY
        self.now = self.since
        launch_day, failover_day, outage_day = int(days * 0.6), int(days * 0.7), int(days * 0.45)
        self.launch = self.since + launch_day * DAY + 10 * HOUR
        self.failover = self.until
        self._slow_until = self.until
        self._slow_by = 0

        moments = array("q")
        for day, count in enumerate(_shares(events, _weights(days, until.weekday(), launch_day, rng))):
            first = self.since + day * DAY
            hours = list(_HOURS)
            if day == outage_day and days > 3:
                hours[13:16] = [0, 0, 0]  # nothing was recorded between 13:00 and 16:00
            today = [first + hour * HOUR + int(rng.random() * HOUR) for hour in rng.choices(range(24), hours, k=count)]
            if day == launch_day:
                burst = int(count * _LAUNCH_SHARE)
                today[:burst] = [(self.launch + int(rng.random() * HOUR / 4)) // _BURST_STEP * _BURST_STEP for _ in range(burst)]
            today.sort()
            if day == failover_day and count > 1:
                middle = count // 2
                self.failover = today[middle]
                self._slow_by = today[middle] - today[middle - 1] + 47 * SECOND
                self._slow_until = self.failover + 2 * HOUR
            moments.extend(today)
        self.moments: Sequence[int] = moments

    @property
    def progress(self) -> float:
        """The share of the history's time that has passed, from 0 to 1."""
        return (self.now - self.since) / (self.until - self.since)

    @property
    def is_launch(self) -> bool:
        return self.launch <= self.now < self.launch + 12 * HOUR

    def stamp(self) -> int:
        """Return the time on the server's clock: true time, except for two hours under the slow server."""
        slow = self.failover <= self.now < self._slow_until
        return self.now - self._slow_by if slow else self.now


class SchemaVersions:
    """Which schema version of an event type the services write, by how much of the history has passed.

    >>> SchemaVersions({"user.created": (0.3, 0.65)}).at("user.created", 0.5)
    2
    """

    def __init__(self, changes: dict[str, tuple[float, ...]]) -> None:
        self._changes = changes

    def at(self, event_type: str, progress: float) -> int:
        changes = self._changes.get(event_type)
        return bisect_right(changes, progress) + 1 if changes else 1


def _weights(days: int, last_weekday: int, launch_day: int, rng: random.Random) -> list[float]:
    """Return the relative activity of each day; ``last_weekday`` is the weekday after the last day."""
    weights = []
    for day in range(days):
        weekday = (last_weekday - days + day) % 7
        weight = _GROWTH ** (day / days) * _WEEKDAYS[weekday] * rng.lognormvariate(0.0, 0.12)
        weights.append(weight * _LAUNCH_FACTOR if day == launch_day else weight)
    return weights


def _shares(total: int, weights: Sequence[float]) -> list[int]:
    """Divide a whole number by weights, exactly: by largest remainder, ties to the earlier."""
    scale = total / sum(weights)
    exact = [weight * scale for weight in weights]
    shares = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: shares[i] - exact[i])
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares
