"""The clock of a store, which can be set."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from workbench.errors import InvalidTime

TICKS_PER_SECOND = 10_000_000
SINCE_YEAR_1 = 621_355_968_000_000_000
"""How many ticks passed from the first day that .NET's dates know to the Unix epoch."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ticks(moment: datetime) -> int:
    """Return the 100 ns ticks from the Unix epoch to an instant.

    Raises
    ------
    InvalidTime
        The datetime is naive.

    >>> to_ticks(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    10000000
    """
    if moment.tzinfo is None:
        raise InvalidTime(f"{moment.isoformat()} has no time zone: give the datetime one, like tzinfo=UTC.")
    return (moment - _EPOCH) // timedelta(microseconds=1) * 10


class Clock:
    """Tells the time in 100 ns ticks since the Unix epoch; the system's, until it is set.

    Once set it stands still until it is set or advanced again. It may be set back: the clocks of servers run backwards now and
    then. Safe to use from any thread.

    >>> clock = Clock()
    >>> clock.set(datetime(2026, 3, 1, tzinfo=UTC))
    >>> clock.advance(timedelta(hours=1))
    >>> clock()
    17723268000000000
    """

    def __init__(self, moment: datetime | None = None) -> None:
        self._ticks = None if moment is None else to_ticks(moment)

    def __call__(self) -> int:
        return time.time_ns() // 100 if self._ticks is None else self._ticks

    def set(self, moment: datetime | int) -> None:
        """Stop at an instant with a time zone, or at a number of ticks."""
        self._ticks = moment if isinstance(moment, int) else to_ticks(moment)

    def advance(self, by: timedelta) -> None:
        """Stand later than now by some time; earlier, if it is negative."""
        self._ticks = self() + by // timedelta(microseconds=1) * 10

    def reset(self) -> None:
        """Follow the system's clock again."""
        self._ticks = None
