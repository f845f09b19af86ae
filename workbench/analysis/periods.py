"""Assigns events to periods of time on a zone's wall clock, and chooses the length of periods.

``workbench.zones`` computes where periods begin; DuckDB gets these instants in the table :data:`TABLE` beside the events.

Comparing each event with many instants costs a microsecond or more. Events are therefore first assigned to *slots*, whole minutes since
the year 1, and each distinct slot is looked up once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

import numpy as np
import polars as pl
import pyarrow as pa

from workbench.errors import UsageError
from workbench.timeline import Timeline
from workbench.zones import UNITS, Every, Numbers, edges, instant, microseconds

__all__ = ["CHANCE", "PERIOD", "READABLE", "TABLE", "UNITS", "Every", "Extent", "Periods", "check_every", "either"]

PERIOD = pl.Enum(list(get_args(Every)))
"""The type of a column ``every``."""

READABLE = 100
"""The most periods that a reader can take in at a glance."""
CHANCE = 0.001
"""An observation with this probability or more counts as chance."""
TABLE = "_workbench_periods"
"""The name of the table of periods in a query: ``first_slot``, ``period``."""
_YEAR_1 = 62_135_596_800_000_000
"""Microseconds from the first instant of the year 1, a whole minute, to the Unix epoch: slots are never negative."""
_WHOLE_MINUTES = datetime(1972, 1, 8, tzinfo=UTC)
"""Since then every zone's offset from UTC is a whole number of minutes; the last to change was Liberia."""
_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Extent:
    """The first and last time of a timeline's events; None if there are none."""

    first: datetime | None
    last: datetime | None

    @classmethod
    def of(cls, timeline: Timeline) -> Extent:
        """Query the extent of a timeline."""
        [(first, last)] = timeline.sql("SELECT epoch_us(min(recorded_at)), epoch_us(max(recorded_at)) FROM events").fetchall()
        return cls.between(first, last)

    @classmethod
    def between(cls, first: int | None, last: int | None) -> Extent:
        """Return the extent of two times in microseconds since the Unix epoch."""
        if first is None or last is None:
            return cls(None, None)
        return cls(instant(first), instant(last))

    def periods(self, every: Every) -> int:
        """Return the number of UTC periods in the extent, including empty ones."""
        if self.first is None or self.last is None:
            return 0
        ordinal = UNITS[every].ordinal
        return ordinal(microseconds(self.last)) - ordinal(microseconds(self.first)) + 1

    def settle(self, every: Every | Literal["auto"], *, among: Iterable[Every] = UNITS, most: int = READABLE) -> Every:
        """Return ``every``, or for ``"auto"`` the shortest period that gives at most about a hundred periods."""
        if every != "auto":
            return every
        known = tuple(among)
        return next((period for period in known if self.periods(period) <= most), known[-1])

    def slot(self, *, finest: Every = "1m") -> int:
        """Return the length of slots in seconds, such that each slot is in one period of any zone."""
        return 60 if finest != "1s" and self.first is not None and self.first >= _WHOLE_MINUTES else 1


@dataclass(frozen=True, slots=True)
class Periods:
    """The periods of an extent, without gaps.

    Attributes
    ----------
    edges
        The beginnings of the periods, then the end of the last one, in microseconds since the Unix epoch; empty if there are no events.
    slot
        The length in seconds of the slots by which a query finds an event's period.
    """

    edges: Numbers
    slot: int

    @classmethod
    def of(cls, extent: Extent, every: Every, tz: str) -> Periods:
        """Divide an extent into periods."""
        if extent.first is None or extent.last is None:
            return cls(np.zeros(0, np.int64), 60)
        found = edges(microseconds(extent.first), microseconds(extent.last), every, tz)
        return cls(found, extent.slot(finest=every))

    @property
    def starts(self) -> Numbers:
        """The beginnings of the periods."""
        return self.edges[:-1]

    def start_of(self, instants: Numbers) -> Numbers:
        """Return the beginning of each instant's period."""
        return self.edges[np.searchsorted(self.edges, instants, side="right") - 1]

    def tables(self) -> dict[str, pa.Table]:
        """Return the table that the SQL of this class reads."""
        starts = pa.array(self.starts, pa.timestamp("us", tz="UTC"))
        return {TABLE: pa.table({"first_slot": pa.array(self._slot(self.starts), pa.int64()), "period": starts})}

    def with_period(self) -> str:
        """Return the SQL of the events with a column ``period``, the beginning of each event's period; null for undated events."""
        slot = f"((epoch_us(recorded_at) + {_YEAR_1}) // {self.slot * _SECOND})"
        slots = f"SELECT slot, period FROM (SELECT DISTINCT {slot} AS slot FROM events) ASOF JOIN {TABLE} ON slot >= first_slot"
        return f"(SELECT events.*, slots.period FROM events LEFT JOIN ({slots}) AS slots ON slots.slot = {slot})"

    def _slot(self, instants: Numbers) -> Numbers:
        return (instants + _YEAR_1) // (self.slot * _SECOND)


def check_every(every: str, *, among: Iterable[str] = UNITS) -> None:
    """Check the name of a period.

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
