"""Cron text with a time zone, and the instants that it names.

The meaning is that of Debian's cron, by the library cronsim: ``1`` is Monday, and of day-of-month and day-of-week both count if one
of them begins with ``*``, else either does. When clocks go forward, a job at a time of day that is skipped runs at the first minute after
it; when they go back, a job at a time of day that comes twice runs at the first. Jobs whose minute or hour begins with ``*`` run by
elapsed time, so that an hourly one runs in both of two hours of one name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import takewhile
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from workbench.errors import UsageError

_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_FIRST_LOOK = timedelta(hours=1)
_LONG_AGO = timedelta(days=366 * 30)


@dataclass(frozen=True, slots=True)
class CronTimes:
    """The instants that a cron text names in a time zone.

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
            next(times.after(datetime(2026, 1, 1, tzinfo=UTC)))
        except CronSimError as error:
            raise UsageError(f"{text!r} is no schedule ({str(error).lower()}): {example}.") from error
        except StopIteration:
            raise UsageError(f"{text!r} names a time that never comes: {example}.") from None
        return times

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the instants after a moment, exclusively, in UTC and rising."""
        tz = UTC if self.zone == "UTC" else ZoneInfo(self.zone)
        last = moment.astimezone(UTC)
        # A time of day that comes twice is given as its first by cronsim, and may so lie before the moment, or come a second time.
        for local in CronSim(_NAMED.get(self.text.strip(), self.text), last.astimezone(tz)):
            found = local.astimezone(UTC)
            if found > last:
                last = found
                yield found

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


def check_zone(zone: str) -> None:
    """Make sure that there is a time zone of this name.

    Raises
    ------
    UsageError
        There is none.
    """
    if zone not in _zones():
        raise UsageError(f"{zone!r} is no time zone: give an IANA name such as UTC or Europe/Berlin.")


@cache
def _zones() -> set[str]:
    """Return the names of all time zones, which takes a walk through a folder."""
    return available_timezones()
