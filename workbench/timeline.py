"""A timeline: an immutable, lazy description of a history.

A timeline knows which lake, up to where, and what of it is looked at; the lake executes it. Refining it returns a new one::

    now = lake.timeline                       # everything that was recorded
    past = now.upto("2026-03-01T09:00:00Z")   # the same history, as it was then
    moves = past.streams("user-*").types("user.moved")
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from html import escape
from typing import TYPE_CHECKING, Protocol

from workbench.errors import BeforeFirstEvent, UsageError
from workbench.events import Cutoff, Selection

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyRelation

    from workbench.extraction import Extracted, Extraction

Bound = str | int | datetime | date
"""An instant or a position: RFC 3339 text, a datetime with a zone, a date (its first instant in UTC), digits or an int."""


class RecordedLog(Protocol):
    """What a timeline needs of a lake: one version of its events, and how to execute a timeline over them."""

    @property
    def path(self) -> str:
        """Where the lake lies."""

    def resolve(self, cutoff: Cutoff, *, stale: bool) -> int | None:
        """Return the position of the last event, system events included, at or before the cutoff; None if there is none."""

    def events(self, timeline: Timeline) -> pl.LazyFrame:
        """Return the timeline's events, lazily, in log order."""

    def query(self, timeline: Timeline, sql: str) -> DuckDBPyRelation:
        """Return a lazy relation over a view ``events`` of the timeline."""

    def extract(self, timeline: Timeline, extraction: Extraction) -> Extracted:
        """Give places of the payloads of the timeline's events, chunk by chunk."""

    def count(self, timeline: Timeline) -> int:
        """Count the timeline's events."""

    def late(self, timeline: Timeline) -> int:
        """Count the events inside the timeline's cut whose stamp is later than the time of its cutoff."""

    def last_position(self) -> int | None:
        """Return the position of the last event in the lake."""

    def describe(self, timeline: Timeline) -> Provenance:
        """Say where results of the timeline come from; counts its events."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a result came from: enough to make it again."""

    store: str
    lake: str
    lake_version: int
    position: int | None
    cutoff: str
    complete_until: datetime | None
    selection: str
    events: int
    late: int
    schema_version: int
    workbench_version: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """An immutable history of one lake. Made by ``lake.timeline`` and refined by its methods; opens and reads nothing itself.

    Attributes
    ----------
    cutoff
        The end as it was asked for, or None: everything the lake held when it was opened.
    selections
        What is looked at: an event counts if it fits every one of them.
    """

    log: RecordedLog = field(repr=False)
    cutoff: Cutoff | None = None
    selections: tuple[Selection, ...] = ()
    system: bool = False
    hides: bool = False
    last: int | None = None
    """The position that the cutoff resolved to, inclusive; None without a cutoff."""
    beyond: int | None = None
    """The position after which events are looked at, exclusive; None for all."""

    def upto(self, cutoff: Bound | None = None, *, position: int | None = None, stale: bool = False) -> Timeline:
        """Return the history as it was at a time or a position, inclusively.

        A time resolves, on the whole recorded log before any selection, to the last event recorded at or before it; all events
        up to that position count. Events of one transaction share a position and are never parted. Of two cutoffs the earlier
        in the log wins.

        Parameters
        ----------
        cutoff
            ``"2026-03-01T09:00:00Z"``, a datetime with a zone, a date (its first instant in UTC), or a position.
        position
            A position, instead of ``cutoff``.
        stale
            Answer also if the lake was last exported before the cutoff, with what it holds.

        Raises
        ------
        BeforeFirstEvent
            Nothing had been recorded at that time.
        BeyondExport
            The lake is not known to be complete up to there.
        InvalidTime
            The time has no time zone, or is none.
        """
        asked = _cutoff("upto", cutoff, position)
        last = self.log.resolve(asked, stale=stale)
        resolved = -1 if last is None else last
        if self.last is not None and self.last <= resolved:
            return self
        return replace(self, cutoff=asked, last=resolved)

    def after(self, bound: Bound | None = None, *, position: int | None = None, stale: bool = False) -> Timeline:
        """Look only at events after a time or a position, exclusively: those that ``upto`` of the same bound leaves out.

        It bounds what is looked at and changes no history. Of two bounds the later in the log wins. A time before the first
        event leaves nothing out.

        Raises
        ------
        BeyondExport
            The lake is not known to be complete up to there.
        InvalidTime
            The time has no time zone, or is none.
        """
        asked = _cutoff("after", bound, position)
        try:
            first = self.log.resolve(asked, stale=stale)
        except BeforeFirstEvent:
            return self
        if first is None or (self.beyond is not None and self.beyond >= first):
            return self
        return replace(self, beyond=first)

    def streams(self, *patterns: str) -> Timeline:
        """Look only at these streams; ``*`` stands for any run of characters: ``user-*``.

        Names narrow what earlier calls left, here and below, and a name that no event has is no error: it selects nothing.
        """
        return self._select(Selection(streams=_names("streams", patterns)))

    def categories(self, *names: str) -> Timeline:
        """Look only at these categories, named exactly."""
        return self._select(Selection(categories=_names("categories", names)))

    def types(self, *patterns: str) -> Timeline:
        """Look only at these event types; ``*`` stands for any run of characters: ``chat.*``."""
        return self._select(Selection(types=_names("types", patterns)))

    def select(self, selection: Selection) -> Timeline:
        """Look only at what a selection chooses; an empty one chooses everything."""
        if not isinstance(selection, Selection):
            raise UsageError(f"select() takes a Selection, not {selection!r}.")
        return self._select(selection) if selection else self

    def with_system(self) -> Timeline:
        """Take in the streams and types that begin with ``$``: metadata, tombstones, links of the system projections."""
        return replace(self, system=True)

    def visible(self) -> Timeline:
        """Leave out what the store hides from readers of streams at the cutoff: ``$tb``, ``$maxCount``, ``$maxAge``, deleted streams.

        A lake that was exported with a choice of streams or categories knows it of those; where it was a choice of types of events, or
        of metadata alone, `UsageError` is raised when the timeline is executed.
        """
        return replace(self, hides=True)

    def events(self) -> pl.LazyFrame:
        """Return the events as a lazy frame in log order with the columns of ``EVENT_SCHEMA``."""
        return self.log.events(self)

    def sql(self, query: str) -> DuckDBPyRelation:
        """Return a DuckDB relation: the query over a view ``events`` of this timeline.

        The rows are read when they are asked for; that the pages which hold them are not damaged is checked here.
        """
        return self.log.query(self, query)

    def count(self) -> int:
        """Count the events."""
        return self.log.count(self)

    @property
    def position(self) -> int | None:
        """The position of the last event in the cut, before any selection; None if the cut is empty."""
        if self.last is None:
            return self.log.last_position()
        return self.last if self.last >= 0 else None

    @property
    def late(self) -> int:
        """How many events inside the cut carry a stamp later than the cutoff's time: the server's clock ran backwards."""
        return self.log.late(self)

    def describe(self) -> Provenance:
        """Say where results of this timeline come from. Counts the events."""
        return self.log.describe(self)

    @property
    def selection(self) -> str:
        """What is looked at, in words."""
        return " and ".join(str(selection) for selection in self.selections) or "everything"

    def __str__(self) -> str:
        return ", ".join(self._parts())

    def __repr__(self) -> str:
        return f"<Timeline of {self.log.path}: {self}>"

    def _repr_html_(self) -> str:
        return f"<div><b>Timeline</b> of <code>{escape(self.log.path)}</code>: {escape(str(self))}</div>"

    def _parts(self) -> list[str]:
        at = "nothing" if self.position is None else f"position {self.position}"
        asked = f" ({self.cutoff})" if self.cutoff is not None and self.cutoff.time is not None else ""
        parts = [f"up to {at}{asked}"]
        if self.beyond is not None:
            parts.append(f"after position {self.beyond}")
        parts += [str(selection) for selection in self.selections]
        parts.append("with system events" if self.system else "without system events")
        if self.hides:
            parts.append("without what the store hides")
        return parts

    def _select(self, selection: Selection) -> Timeline:
        return replace(self, selections=(*self.selections, selection))


def _cutoff(method: str, value: Bound | None, position: int | None) -> Cutoff:
    if value is None and position is not None:
        asked = Cutoff.parse(position)
        if asked.position is None:
            raise UsageError(f"{method}() takes a whole number as position=, not {position!r}: a time needs no name.")
        return asked
    if value is None or position is not None:
        raise UsageError(f"{method}() takes one bound: a time, or position=.")
    return Cutoff.parse(value)


def _names(method: str, names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise UsageError(f"{method}() takes at least one name.")
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"{method}() takes names as text, each an argument of its own, as in {method}('a', 'b'): not {name!r}.")
        if not name:
            raise UsageError(f"{method}() takes names that are not empty.")
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise UsageError(f"{name!r} has half a surrogate pair in it, which no name can have.")
    return names
