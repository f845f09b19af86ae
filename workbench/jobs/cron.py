"""Cron text with a time zone, and the instants that it names.

The meaning is that of Debian's cron: ``1`` is Monday, and of day-of-month and day-of-week both count if one of them begins with ``*``,
else either does. When clocks go forward, a job at a time of day that is skipped runs right after the gap; when they go back, a job at a
time of day that comes twice runs at the first. Jobs whose minute or hour begins with ``*`` run whenever the clock shows one of their
times, so that an hourly one runs in both of two hours of one name.

The library cronsim reads the text. The instants are made here, since it loses those behind a change of half an hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import numpy as np
from cronsim import CronSim, CronSimError

from workbench.errors import UsageError
from workbench.zones import Numbers, check_zone, instant, microseconds, offsets, reached, showing

_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_FIRST_LOOK = timedelta(hours=1)
_LONG_AGO = timedelta(days=366 * 30)
_DAY = timedelta(days=1)
_MINUTE = 60_000_000
_MOST_YEARS = 50
"""A time that does not come in so many years never comes."""
_ANY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CronTimes:
    """The instants that a cron text names in a time zone.

    Attributes
    ----------
    text
        Minute, hour, day of month, month and day of week.
    zone
        The time zone of the schedule, such as ``Europe/Berlin``; ``UTC`` by default.

    >>> times = CronTimes.parse("30 8 * * 1", zone="Europe/Berlin")
    >>> next(times.after(datetime(2026, 3, 25, tzinfo=UTC)))
    datetime.datetime(2026, 3, 30, 6, 30, tzinfo=datetime.timezone.utc)
    """

    text: str
    zone: str

    @classmethod
    def parse(cls, text: str, *, zone: str) -> CronTimes:
        """Read a cron text of five fields, or ``@hourly``, ``@daily``, ``@weekly``, ``@monthly``, ``@yearly``.

        Raises
        ------
        UsageError
            The text names no time, or there is no such zone.
        """
        check_zone(zone)
        found = _NAMED.get(text.strip(), text)
        example = "write minute, hour, day of month, month and day of week, such as 15 0 * * 1-5"
        if found.startswith("@"):
            raise UsageError(f"{text!r} is no schedule; known names are {', '.join(_NAMED)}: or {example}.")
        if len(found.split()) != 5:
            raise UsageError(f"{text!r} is no schedule, since it has {len(found.split())} fields and not five: {example}.")
        times = cls(text, zone)
        try:
            next(times.after(_ANY))
        except CronSimError as error:
            raise UsageError(f"{text!r} is no schedule ({str(error).lower()}): {example}.") from error
        except StopIteration:
            raise UsageError(f"{text!r} names a time that never comes: {example}.") from None
        return times

    @property
    def is_several_a_day(self) -> bool:
        """Whether it names more than one time of day."""
        named = CronSim(_NAMED.get(self.text.strip(), self.text), datetime(2026, 1, 1, tzinfo=UTC))
        return len(named.minutes) * len(named.hours) > 1

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the instants after a moment, exclusively, in UTC and rising."""
        last = microseconds(moment)
        for found in self._from_day_before(last):
            if found > last:
                yield instant(found)

    def _from_day_before(self, first: int) -> Iterator[int]:
        """Yield the instants from the local day before a moment on, rising: a time that comes twice may have come before the moment."""
        read = CronSim(_NAMED.get(self.text.strip(), self.text), _ANY)
        minutes, hours = read.parts[1], read.parts[2]
        by_clock = minutes.startswith("*") or hours.startswith("*")
        minutes_of_day = np.array([60 * hour + minute for hour in sorted(read.hours) for minute in sorted(read.minutes)], np.int64)
        day = instant(first + int(offsets(np.array([first]), self.zone)[0])).replace(hour=0, minute=0, second=0, microsecond=0) - _DAY
        end = day.year + _MOST_YEARS
        waiting: Numbers = np.zeros(0, np.int64)
        while day.year <= end:
            # Where a clock is put back over midnight, times of the day before come again behind the day's first.
            if waiting.size:
                begun = reached(np.array([microseconds(day)]), self.zone)[0]
                yield from waiting[waiting < begun].tolist()
                waiting = waiting[waiting >= begun]
            if day.month in read.months and read.match_day(day):
                walls = microseconds(day) + minutes_of_day * _MINUTE
                found = showing(walls, self.zone) if by_clock else reached(walls, self.zone)
                waiting = np.unique(np.concatenate([waiting, found]))
                end = day.year + _MOST_YEARS
            day += _DAY

    def between(self, after: datetime, upto: datetime, *, most: int) -> list[datetime]:
        """Return the last instants of a span, at the most so many: after its first moment, exclusively, up to its last, inclusively."""
        look = _FIRST_LOOK
        while True:
            # From the far end, in growing steps: the span may be years, and the schedule every minute.
            begin = max(after, upto - look)
            found = list(takewhile(lambda one: one <= upto, self.after(begin)))
            if begin == after or len(found) >= most:
                return found[-most:]
            look *= 4

    def last(self, upto: datetime) -> datetime | None:
        """Return the last instant up to a moment, inclusively; None if there was none in thirty years."""
        found = self.between(upto - _LONG_AGO, upto, most=1)
        return found[0] if found else None

    def __str__(self) -> str:
        return f"{self.text} {self.zone}"
