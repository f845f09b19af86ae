"""A timeline: an immutable, lazy description of a history.

A timeline knows which lake, up to where, and what of it is looked at; the lake executes it. Refining it returns a new one::

    now = lake.timeline                       # everything that was recorded
    past = now.upto("2026-03-01T09:00:00Z")   # the same history, as it was then
    moves = past.streams("user-*").types("user.moved")
    fork = now.drop(type="user.deleted", after="2026-02-01T00:00:00Z", cascade="causation")    # what if
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from workbench.display import card
from workbench.errors import BeforeFirstEvent, UsageError, WorkbenchError
from workbench.events import Cutoff, Selection
from workbench.timeline.edits import Cascade, Drop, Edit, EditAddress, Effect, Insert, Patch, Replace, Retime, Truncate, json_text

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyRelation
    from pyarrow import Table

    from workbench.projection.expressions import Where
    from workbench.timeline.extraction import Extracted, Extraction, Pair

Bound = str | int | datetime | date
"""An instant or a position: RFC 3339 text, a datetime with a zone, a date (its first instant in UTC), digits or an int."""
Some = str | Sequence[str]
"""A name, or several."""


_NO_LINKS_OF_A_FORK = "A what-if has no links(): nobody knows where they would lead. Ask for one or the other."


class RecordedLog(Protocol):
    """What a timeline needs of a lake: one version of its events, and how to execute a timeline over them."""

    @property
    def path(self) -> str:
        """Where the lake lies."""

    def resolve(self, cutoff: Cutoff, *, stale: bool) -> int | None:
        """Return the position of the last event, system events included, at or before the cutoff; None if there is none."""

    def events(self, timeline: Timeline) -> pl.LazyFrame:
        """Return the timeline's events, lazily, in log order."""

    def query(self, timeline: Timeline, sql: str, *, tables: Mapping[str, Table] | None = None) -> DuckDBPyRelation:
        """Return a lazy relation over a view ``events`` of the timeline, and over ``tables`` by name."""

    def extract(self, timeline: Timeline, extraction: Extraction) -> Extracted:
        """Give places of the payloads of the timeline's events, chunk by chunk."""

    def extract_beside(self, fork: Timeline, extraction: Extraction) -> Generator[Pair, None, None]:
        """Give the same of a what-if and, beside it, of the timeline without its edits; nothing of either is hidden."""

    def named(self, fork: Timeline, places: pl.DataFrame) -> pl.DataFrame:
        """Return the ``event_id`` of events, given their ``position`` and ``prepare_position``: of a what-if, or of what was recorded."""

    def count(self, timeline: Timeline) -> int:
        """Count the timeline's events."""

    def late(self, timeline: Timeline) -> int:
        """Count the events inside the timeline's cut whose stamp is later than the time of its cutoff."""

    def last_position(self) -> int | None:
        """Return the position of the last event in the lake."""

    def describe(self, timeline: Timeline) -> Provenance:
        """Say where results of the timeline come from; counts its events."""

    def unresolved(self, timeline: Timeline) -> int:
        """Count the links of the timeline that lead nowhere."""

    def effects(self, timeline: Timeline) -> tuple[Effect, ...]:
        """Say of each edit of the timeline what it came to."""

    def touched(self, timeline: Timeline) -> pl.DataFrame | None:
        """Return the events that the timeline's edits touch, as they were recorded and as they are now; None if there are many."""

    def first_touched(self, timeline: Timeline) -> int | None:
        """Return the position of the first event that the timeline's edits took away or put there; None if there is none."""


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
    edits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeline:
    """An immutable history of one lake. Made by ``lake.timeline`` and refined by its methods; opens and reads nothing itself.

    Attributes
    ----------
    cutoff
        The end as it was asked for, or None: everything the lake held when it was opened.
    selections
        What is looked at: an event counts if it fits every one of them.
    edits
        What happened otherwise than it was recorded, in the order in which it applies; empty for what was recorded. The cutoff applies
        last, on the edited times, whether it was said before or after.
    """

    log: RecordedLog = field(repr=False)
    cutoff: Cutoff | None = None
    selections: tuple[Selection, ...] = ()
    system: bool = False
    visible_only: bool = False
    upto_position: int | None = None
    """The position that the cutoff resolved to, inclusive; None without a cutoff."""
    after_position: int | None = None
    """The position after which events are looked at, exclusive; None for all."""
    edits: tuple[Edit, ...] = ()
    follows: bool = False
    """Whether each link of a user's stands for the event that it leads to."""

    def upto(self, cutoff: Bound | None = None, *, position: int | None = None, stale: bool = False) -> Timeline:
        """Return the history as it was at a time or a position, inclusively.

        A time resolves, on the whole recorded log before any selection, to the last event recorded at or before it; all events
        up to that position count. Events of one transaction share a position and are never parted. Of two cutoffs the earlier
        in the log wins.

        An undated event, whose stamp lies outside the years 1 to 9999, counts as recorded with the event before it in the log: its own
        stamp decides nothing. Undated events before the first dated one count from that one on.

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
        try:
            last = self.log.resolve(asked, stale=stale)
        except BeforeFirstEvent:
            if not self.edits:
                raise
            last = None  # an edit may have put something there
        resolved = -1 if last is None else last
        if self.upto_position is not None and (self.upto_position, _instant(self.cutoff)) <= (resolved, _instant(asked)):
            return self
        return changed(self, cutoff=asked, upto_position=resolved)

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
        if first is None or (self.after_position is not None and self.after_position >= first):
            return self
        return changed(self, after_position=first)

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
        timeline = self.with_system() if selection.system else self
        return timeline._select(selection) if selection.is_narrow else timeline

    def with_system(self) -> Timeline:
        """Take in all that the lake holds besides users' events.

        These are types that begin with ``$`` (metadata, tombstones, links), the metadata of streams, and the streams that the server
        writes for itself, which only a lake exported with ``system`` holds. A stream of a user's whose name begins with ``$`` is in any
        timeline.
        """
        return changed(self, system=True)

    def links(self) -> Timeline:
        """Replace each link (``$>``) in a user's stream by the event that it leads to.

        The row has position, stream, category and revision of the link; id, type, times and payload are those of the target. It is what a
        read of the server with ``resolve_links`` shows: one step only, and no row where the store hides the target from readers. Links
        whose target the lake lacks are left out too; ``unresolved_links`` counts both. Links of the system projections stay as they
        are. The rows of all links that are looked at are held in memory.

        Without it, links of users are left out; ``lake.info()`` and ``distribution()`` name the streams that hold them.

        Raises
        ------
        UsageError
            The timeline is a what-if: nobody knows where its links would lead.
        """
        if self.edits:
            raise UsageError(_NO_LINKS_OF_A_FORK)
        return changed(self, follows=True)

    @property
    def unresolved_links(self) -> int:
        """How many links are left out because the lake lacks their target or the store hides it; 0 without ``links()``."""
        return self.log.unresolved(self)

    def visible(self) -> Timeline:
        """Leave out what the store hides from readers of streams at the cutoff: ``$tb``, ``$maxCount``, ``$maxAge``, deleted streams.

        Of undated events nobody knows the age: ``$maxAge`` hides none of them.

        A lake that was exported with a choice of streams or categories knows it of those; where it was a choice of types of events, or
        of metadata alone, `UsageError` is raised when the timeline is executed.
        """
        return changed(self, visible_only=True)

    def drop(
        self,
        *,
        stream: Some | None = None,
        category: Some | None = None,
        type: Some | None = None,  # noqa: A002  # the field's own word
        after: Bound | None = None,
        upto: Bound | None = None,
        position: int | None = None,
        event_id: str | None = None,
        where: Where | str | None = None,
        cascade: Cascade | None = None,
    ) -> Timeline:
        """Return the history in which these events never happened.

        Every edit finds its events by the same arguments, all of which must fit, as the edits before it left them. Edits apply in the order
        in which they are said, renumber nothing, and never touch the lake or events of the system. ``effects`` says what each came to.

        Parameters
        ----------
        stream, type
            A name or several, in which ``*`` stands for any run of characters: ``"user-*"``.
        category
            A category or several, named exactly.
        after, upto
            A range, exclusive and inclusive, of times or positions, as in the methods of the same name.
        position, event_id
            Of one event.
        where
            A condition on the event: ``"data.amount > 100 and data.plan in ('pro', 'team')"``, in the language of
            ``workbench.conditions``, or ``event.data["amount"] > 100``.
        cascade
            ``"causation"`` also drops the events that a dropped one caused, and what those caused; ``"correlation"`` what is later in the
            log and has the correlation id of a dropped one. Both across all streams.

        Raises
        ------
        UsageError
            No argument is given, one means nothing, or names events of the system.
        """
        address = EditAddress.of(
            "drop", stream=stream, category=category, type=type, after=after, upto=upto, position=position, event_id=event_id, where=where
        )
        return self._edited(Drop(address, cascade))

    def truncate(
        self,
        *,
        stream: Some | None = None,
        category: Some | None = None,
        type: Some | None = None,  # noqa: A002  # the field's own word
        after: Bound | None = None,
        upto: Bound | None = None,
        position: int | None = None,
        event_id: str | None = None,
        where: Where | str | None = None,
    ) -> Timeline:
        """Return the history in which each stream that has such an event ends before the first of them. Arguments are those of ``drop``.

        ``truncate(stream="user-42", after="2026-02-01")`` ends the stream there, and ``truncate(type="order.disputed")`` ends every order
        at its first dispute.
        """
        address = EditAddress.of(
            "truncate",
            stream=stream,
            category=category,
            type=type,
            after=after,
            upto=upto,
            position=position,
            event_id=event_id,
            where=where,
        )
        return self._edited(Truncate(address))

    def patch(
        self,
        *,
        stream: Some | None = None,
        category: Some | None = None,
        type: Some | None = None,  # noqa: A002  # the field's own word
        after: Bound | None = None,
        upto: Bound | None = None,
        position: int | None = None,
        event_id: str | None = None,
        where: Where | str | None = None,
        set: Mapping[str, Any] | None = None,  # noqa: A002  # the edit's own word
        unset: Iterable[str] | None = None,
    ) -> Timeline:
        """Return the history in which fields of these events' payloads were others. The other arguments are those of ``drop``.

        The rest of a payload stays byte for byte. Where an event's payload is no JSON object, `UsageError` names it when the timeline is
        executed.

        Parameters
        ----------
        set
            Fields and their values: ``{"plan": "pro", "address.city": "Rome"}``. A dot goes into an object, which is made where there is
            none; a dot that is part of a name is written ``\\.``. A ``Decimal`` keeps its digits, a datetime becomes its text.
        unset
            Fields that are not there: ``["trial"]``.

        Raises
        ------
        UsageError
            As ``drop`` does; or nothing is set or unset, or a value is no JSON.
        """
        address = EditAddress.of(
            "patch", stream=stream, category=category, type=type, after=after, upto=upto, position=position, event_id=event_id, where=where
        )
        return self._edited(Patch.of(address, set=set, unset=unset))

    def replace(
        self,
        *,
        stream: Some | None = None,
        category: Some | None = None,
        type: Some | None = None,  # noqa: A002  # the field's own word
        after: Bound | None = None,
        upto: Bound | None = None,
        position: int | None = None,
        event_id: str | None = None,
        where: Where | str | None = None,
        data: Any = ...,
        metadata: Any = ...,
        as_type: str | None = None,
    ) -> Timeline:
        """Return the history in which these events had another payload, other metadata or another type. Payloads are any JSON values.

        The other arguments are those of ``drop``: ``type=`` finds the events, ``as_type=`` is what they become.

        Raises
        ------
        UsageError
            As ``drop`` does; or nothing is replaced, or a value is no JSON.
        """
        address = EditAddress.of(
            "replace",
            stream=stream,
            category=category,
            type=type,
            after=after,
            upto=upto,
            position=position,
            event_id=event_id,
            where=where,
        )
        payload, meta = (
            None if value is ... else json_text(f"replace({name}=...)", value) for name, value in (("data", data), ("metadata", metadata))
        )
        return self._edited(Replace(address, data=payload, metadata=meta, as_type=as_type))

    def insert(
        self,
        *,
        stream: str,
        type: str,  # noqa: A002  # the field's own word
        at: Bound,
        data: Any = ...,
        metadata: Any = None,
        event_id: str | None = None,
    ) -> Timeline:
        """Return the history in which one more event happened.

        It takes the position of the last event that had been recorded by then, behind it, and the revision of the last recorded event of
        its stream up to there, or 0; its id follows from the lake and the edit.

        Parameters
        ----------
        at
            When, or the position of an event: right behind it, and at its time.
        data
            Any JSON value; an empty object if it is not given.
        metadata
            Any JSON value; ``$correlationId`` and ``$causationId`` in it count.

        Raises
        ------
        UsageError
            A name is none or the system's own, or a payload is no JSON.
        InvalidTime
            The time has no time zone, or is none.
        """
        given = {} if data is ... else data
        return self._edited(Insert.of(stream=stream, type=type, at=at, data=given, metadata=metadata, event_id=event_id))

    def retime(
        self,
        *,
        stream: Some | None = None,
        category: Some | None = None,
        type: Some | None = None,  # noqa: A002  # the field's own word
        after: Bound | None = None,
        upto: Bound | None = None,
        position: int | None = None,
        event_id: str | None = None,
        where: Where | str | None = None,
        by: str | timedelta | None = None,
        to: Bound | None = None,
    ) -> Timeline:
        """Return the history in which these events happened earlier or later. The other arguments are those of ``drop``.

        They move in the log behind all that had been recorded by their new times, and keep their ids and revisions. Of equal times the
        recorded events come first.

        Parameters
        ----------
        by
            A span: ``"-1h"``, ``"1d 12h"`` (``s m h d w``), ``"PT90M"``, or a timedelta. Undated events stay where they are; ``effects``
            counts them.
        to
            A time, for one event, which may be undated.

        Raises
        ------
        UsageError
            As ``drop`` does; or the span is none.
        InvalidTime
            The time has no time zone, or is none.
        """
        address = EditAddress.of(
            "retime", stream=stream, category=category, type=type, after=after, upto=upto, position=position, event_id=event_id, where=where
        )
        return self._edited(Retime.of(address, by=by, to=to))

    @property
    def effects(self) -> tuple[Effect, ...]:
        """What each edit came to in this lake, whatever the cutoff and the selection: how many events, and what to be aware of."""
        return self.log.effects(self) if self.edits else ()

    def events(self) -> pl.LazyFrame:
        """Return the events as a lazy frame in log order with the columns of ``EVENT_SCHEMA``.

        A what-if has two columns more. ``origin`` says what became of the event: recorded, patched, replaced, inserted or retimed.
        ``sequence`` is 0 where it stands as recorded; events that were put in at a position come behind those that were recorded there, as
        1, 2 and so on, in the order of their times. Their ``prepare_position`` is the last recorded one there plus that number, so that
        (position, prepare_position) is the order of a fork as it is that of a log, and names one event.
        """
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
        if self.upto_position is None:
            return self.log.last_position()
        return self.upto_position if self.upto_position >= 0 else None

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
        """Show what the timeline is. Counts its events, and works out what its edits come to."""
        values: dict[str, object] = {"Position": None if self.position is None else str(self.position)}
        if self.cutoff is not None and self.cutoff.time is not None:
            values["As it was at (UTC)"] = self.cutoff.time
        notes = [part for part in self._parts()[1:] if not part.startswith("what if ")]
        try:
            found = self.describe()
            values |= {"Events": found.events, "Complete until (UTC)": found.complete_until}
            if found.late:
                notes.append(f"{found.late:,} {'event' if found.late == 1 else 'events'} inside it carry a later stamp")
            notes += [f"what if {effect}" for effect in self.effects]
        except WorkbenchError as error:
            # A display is no place for a traceback: the question that is asked next raises it.
            notes += [*(f"what if {edit}" for edit in self.edits), f"cannot be read: {error}"]
        return card("What if" if self.edits else "Timeline", values, place=self.log.path, notes=notes)._repr_html_()

    def _parts(self) -> list[str]:
        at = "nothing" if self.position is None else f"position {self.position}"
        asked = f" ({self.cutoff})" if self.cutoff is not None and self.cutoff.time is not None else ""
        parts = [f"up to {at}{asked}"]
        if self.after_position is not None:
            parts.append(f"after position {self.after_position}")
        parts += [str(selection) for selection in self.selections]
        parts.append("with system events" if self.system else "without system events")
        if self.follows:
            parts.append("with what links lead to")
        if self.visible_only:
            parts.append("without what the store hides")
        return [*parts, *(f"what if {edit}" for edit in self.edits)]

    def _select(self, selection: Selection) -> Timeline:
        return changed(self, selections=(*self.selections, selection))

    def _edited(self, edit: Edit) -> Timeline:
        if self.follows:
            raise UsageError(_NO_LINKS_OF_A_FORK)
        return changed(self, edits=(*self.edits, edit))


def _cutoff(method: str, value: Bound | None, position: int | None) -> Cutoff:
    if value is None and position is not None:
        asked = Cutoff.parse(position)
        if asked.position is None:
            raise UsageError(f"{method}() takes a whole number as position=, not {position!r}: a time needs no name.")
        return asked
    if value is None or position is not None:
        raise UsageError(f"{method}() takes one bound: a time, or position=.")
    return Cutoff.parse(value)


def _instant(cutoff: Cutoff | None) -> float:
    return cutoff.time.timestamp() if cutoff is not None and cutoff.time is not None else float("inf")


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


def ensure_timelines(*given: object) -> None:
    """See to it that a question is asked of timelines.

    Raises
    ------
    UsageError
        Something else was given; most often it is the lake.
    """
    for one in given:
        if not isinstance(one, Timeline):
            raise UsageError(
                f"A question is asked of a timeline, and a {type(one).__name__} was given: write lake.timeline, where lake = wb.open(…), "
                "or what upto(), drop() and the like make of it."
            )
