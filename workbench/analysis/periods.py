"""Periods of time on a zone's wall clock: their names, how events are cut into them, and which of them read well.

Days, weeks, months, quarters and years begin at a wall clock's midnight, so they are cut on the wall clock and turned into instants at
the end: DuckDB takes the next existing instant where a clock was put forward over midnight. A date that a zone left out has no instant
of its own and so no period. Hours and shorter periods are cut on the time line instead, since the wall clock shows one hour twice when
it is put back; where it moves by half an hour, hours from then on begin at another minute.

Calendars are dear, a microsecond and more for each event. So events are first counted into *slots*, whole minutes since the year 1, and
the calendar is asked once for each slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args
from zoneinfo import available_timezones

import polars as pl

from workbench.errors import UsageError
from workbench.timeline import Timeline

Every = Literal["1s", "1m", "15m", "1h", "1d", "1w", "1mo", "1q", "1y"]
"""How long a period is: a second, a minute, a quarter of an hour, an hour, a day, a week (from Monday), a month, a quarter, a year."""

PERIOD = pl.Enum(list(get_args(Every)))
"""The type of a column ``every``."""

READABLE = 100
"""As many periods as one sees at a glance."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_1 = 62_135_596_800_000_000
"""Microseconds from the first instant of the year 1, a whole minute, to the Unix epoch: slots are never negative."""
_WHOLE_MINUTES = datetime(1972, 1, 8, tzinfo=UTC)
"""Since then every zone's offset from UTC is a whole number of minutes; the last to change was Liberia."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A period, as DuckDB says it."""

    interval: str
    cut: str
    """The wall clock at which the period began that ``{local}`` stands in."""
    on_time_line: bool
    ordinal: Callable[[datetime], int]
    """Numbers the periods of UTC, one after the other."""


def _every(seconds: int, *, shift: int = 0) -> Callable[[datetime], int]:
    return lambda moment: ((moment - _EPOCH) // timedelta(seconds=1) + shift) // seconds


_DAY = 86_400
UNITS: Mapping[Every, Unit] = {
    "1s": Unit("1 SECOND", "date_trunc('second', {local})", on_time_line=True, ordinal=_every(1)),
    "1m": Unit("1 MINUTE", "date_trunc('minute', {local})", on_time_line=True, ordinal=_every(60)),
    "15m": Unit("15 MINUTE", "time_bucket(INTERVAL 15 MINUTE, {local})", on_time_line=True, ordinal=_every(900)),
    "1h": Unit("1 HOUR", "date_trunc('hour', {local})", on_time_line=True, ordinal=_every(3600)),
    "1d": Unit("1 DAY", "date_trunc('day', {local})", on_time_line=False, ordinal=_every(_DAY)),
    "1w": Unit("1 WEEK", "date_trunc('week', {local})", on_time_line=False, ordinal=_every(7 * _DAY, shift=3 * _DAY)),
    "1mo": Unit("1 MONTH", "date_trunc('month', {local})", on_time_line=False, ordinal=lambda moment: moment.year * 12 + moment.month),
    "1q": Unit(
        "3 MONTH", "date_trunc('quarter', {local})", on_time_line=False, ordinal=lambda moment: moment.year * 4 + (moment.month - 1) // 3
    ),
    "1y": Unit("1 YEAR", "date_trunc('year', {local})", on_time_line=False, ordinal=lambda moment: moment.year),
}


@dataclass(frozen=True, slots=True)
class Extent:
    """When the events of a timeline were recorded; None where there is none."""

    first: datetime | None
    last: datetime | None

    @classmethod
    def of(cls, timeline: Timeline) -> Extent:
        """Ask for the first and the last time of a timeline."""
        [(first, last)] = timeline.sql("SELECT epoch_us(min(recorded_at)), epoch_us(max(recorded_at)) FROM events").fetchall()
        return cls.between(first, last)

    @classmethod
    def between(cls, first: int | None, last: int | None) -> Extent:
        """Return the extent of two times in microseconds since the Unix epoch."""
        if first is None or last is None:
            return cls(None, None)
        return cls(_EPOCH + timedelta(microseconds=first), _EPOCH + timedelta(microseconds=last))

    def periods(self, every: Every) -> int:
        """Return into how many periods of UTC the extent falls, empty ones included."""
        if self.first is None or self.last is None:
            return 0
        ordinal = UNITS[every].ordinal
        return ordinal(self.last) - ordinal(self.first) + 1

    def settle(self, every: Every | Literal["auto"], *, among: Iterable[Every] = UNITS, most: int = READABLE) -> Every:
        """Choose the shortest period of which there are no more than about a hundred, where that was left open."""
        if every != "auto":
            return every
        known = tuple(among)
        return next((period for period in known if self.periods(period) <= most), known[-1])

    def slot(self, *, finest: Every = "1m") -> int:
        """Return how many seconds long slots may be, so that each lies in one period of any zone."""
        return 60 if finest != "1s" and self.first is not None and self.first >= _WHOLE_MINUTES else 1


def check_zone(tz: str) -> None:
    """Refuse what is no time zone.

    Raises
    ------
    UsageError
        ``tz`` is no IANA name.
    """
    if tz not in available_timezones():
        raise UsageError(f"tz={tz!r} is no time zone: give an IANA name such as 'UTC' or 'Europe/Berlin'.")


def check_every(every: str, *, among: Iterable[str] = UNITS) -> None:
    """Refuse what is no period.

    Raises
    ------
    UsageError
        ``every`` is neither one of the periods nor ``"auto"``.
    """
    known = tuple(among)
    if every != "auto" and every not in known:
        raise UsageError(f"every={every!r} is unknown: periods are {either((*known, 'auto'))}.")


def either(names: Iterable[str]) -> str:
    """Return names as a choice: ``'a', 'b' or 'c'``."""
    *most, last = map(repr, names)
    return f"{', '.join(most)} or {last}" if most else last


def local(instant: str, tz: str) -> str:
    """Return the SQL of what a zone's wall clock shows at an instant."""
    return f"(({instant}) AT TIME ZONE '{tz}')"


def start(instant: str, every: Every, tz: str) -> str:
    """Return the SQL of when the period of an instant began: an instant, or a wall clock, of which :func:`instant_of` makes one."""
    unit = UNITS[every]
    shown = local(instant, tz)
    cut = unit.cut.format(local=shown)
    return f"({instant} - ({shown} - {cut}))" if unit.on_time_line else cut


def instant_of(start: str, every: Every, tz: str) -> str:
    """Return the SQL of the instant that a start is."""
    return start if UNITS[every].on_time_line else f"(({start}) AT TIME ZONE '{tz}')"


def slot_of(seconds: int) -> str:
    """Return the SQL of the slot in which an event lies."""
    return f"((epoch_us(recorded_at) + {_YEAR_1}) // {seconds * 1_000_000})"


def slot_start(slot: str, seconds: int) -> str:
    """Return the SQL of the instant at which a slot begins."""
    return f"make_timestamptz({slot} * {seconds * 1_000_000} - {_YEAR_1})"


def dense(table: str, every: Every, tz: str) -> str:
    """Return the SQL of all periods from the first to the last ``start`` of a table: ``period``, an instant, and ``start``."""
    series = f"generate_series(min(start), max(start), INTERVAL {UNITS[every].interval})"
    if UNITS[every].on_time_line:
        # A clock that moves by half an hour moves the hours behind it: each is cut anew.
        between = f"SELECT {start('moment', every, tz)} AS start FROM (SELECT unnest({series}) AS moment FROM {table})"
    else:
        between = f"SELECT unnest({series}) AS start FROM {table}"
    return f"""
        SELECT {instant_of("start", every, tz)} AS period, max(start) AS start
        FROM (SELECT start FROM {table} UNION {between})
        GROUP BY period
    """
