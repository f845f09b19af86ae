"""A timeline: an immutable, lazy description of a history.

A timeline names a lake, a cutoff, a selection and edits; the lake executes it. The module is long because `Timeline` has many methods, each
with its full documentation. Each method that refines a timeline returns a new one::

    now = lake.timeline                       # everything that was recorded
    past = now.upto("2026-03-01T09:00:00Z")   # the same history, as it was then
    moves = past.streams("user-*").types("user.moved")
    fork = now.drop(type="user.deleted", after="2026-02-01T00:00:00Z", cascade="causation")    # what if

The module is long because every method is public and has its whole documentation here; the methods themselves are short.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as changed
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack

from workbench.display import card
from workbench.errors import BeforeFirstEvent, UsageError, WorkbenchError
from workbench.events import Cutoff, Selection
from workbench.timeline.bounds import Bound, ensure_names, instant_of, parse_bound
from workbench.timeline.edits import (
    ADDRESS_WORDS,
    Cascade,
    Drop,
    Edit,
    EditAddress,
    Effect,
    EventAddress,
    Insert,
    Patch,
    Replace,
    Retime,
    Truncate,
    json_text,
)
from workbench.timeline.recorded_log import Provenance, RecordedLog

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyRelation


_NO_LINKS_OF_A_FORK = "A what-if has no links(): nobody knows where they would lead. Ask for one or the other."


@dataclass(frozen=True, slots=True)
class Timeline:
    """An immutable history of one lake: `Lake.timeline` makes one, and its methods return refined ones. It opens and reads nothing itself.

    Attributes
    ----------
    log
        The version of the lake that executes the timeline.
    cutoff
        The end as it was asked for; None for all that the lake held when it was opened.
    selections
        What is looked at. An event counts if it fits all of them.
    system
        Whether the server's own events are looked at too.
    visible_only
        Whether events are left out that the store hides from readers.
    upto_position
        The position that the cutoff resolved to, inclusive; None without a cutoff.
    after_position
        The position after which events are looked at, exclusive; None for all.
    edits
        What happened otherwise than recorded, in the order of application; empty for the recorded history. The cutoff applies after all
        edits, on the edited times.
    follows
        Whether a user's link is replaced by the event that it leads to.

    Examples
    --------
    >>> now = wb.open("data/demo").timeline
    >>> now.upto("2026-02-01").streams("user-*").types("user.moved")
    <Timeline of data/demo: up to position 800900 (2026-02-01T00:00:00Z), streams user-*, types user.moved, without system events>
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
        """Return the history as it was at a time or a position, inclusive.

        A time resolves to the last event recorded at or before it, in the whole recorded log before any selection; all events up to that
        position count. Events of one transaction share a position and are never separated. Of two cutoffs the earlier in the log wins.

        An undated event (its stamp is outside the years 1 to 9999) counts as recorded with the event before it in the log. Undated events
        before the first dated one count with that one.

        Parameters
        ----------
        cutoff
            ``"2026-03-01T09:00:00Z"``, a datetime with a zone, a date (its first instant in UTC), or a position.
        position
            A position, instead of ``cutoff``.
        stale
            Answer from what the lake holds even if its last export was before the cutoff.

        Returns
        -------
        Timeline
            The history up to there.

        Raises
        ------
        BeforeFirstEvent
            Nothing had been recorded at that time.
        BeyondExport
            The lake is not known to be complete up to there.
        InvalidTime
            The time has no time zone, or is not a time.
        UsageError
            Not exactly one bound is given.

        Examples
        --------
        >>> now = wb.open("data/demo").timeline
        >>> now.upto("2026-03-01T09:00:00Z").count(), now.count()
        (20348, 39938)
        """
        asked = parse_bound("upto", cutoff, position)
        try:
            last = self.log.resolve(asked, stale=stale)
        except BeforeFirstEvent:
            if not self.edits:
                raise
            last = None  # an edit may have put something there
        resolved = -1 if last is None else last
        if self.upto_position is not None and (self.upto_position, instant_of(self.cutoff)) <= (resolved, instant_of(asked)):
            return self
        return changed(self, cutoff=asked, upto_position=resolved)

    def after(self, bound: Bound | None = None, *, position: int | None = None, stale: bool = False) -> Timeline:
        """Look only at events after a time or a position, exclusive: those that `upto` with the same bound leaves out.

        This bounds what is looked at, and changes no history: states are still folded from the first event. Of two bounds the later in the
        log wins. A time before the first event leaves nothing out.

        Parameters
        ----------
        bound
            A time or a position, as in `upto`.
        position
            A position, instead of ``bound``.
        stale
            Answer from what the lake holds even if its last export was before the bound.

        Returns
        -------
        Timeline
            The history, looked at after the bound.

        Raises
        ------
        BeyondExport
            The lake is not known to be complete up to there.
        InvalidTime
            The time has no time zone, or is not a time.
        UsageError
            Not exactly one bound is given.

        Examples
        --------
        >>> now = wb.open("data/demo").timeline
        >>> now.upto("2026-03-01").count() + now.after("2026-03-01").count() == now.count()
        True
        """
        asked = parse_bound("after", bound, position)
        try:
            first = self.log.resolve(asked, stale=stale)
        except BeforeFirstEvent:
            return self
        if first is None or (self.after_position is not None and self.after_position >= first):
            return self
        return changed(self, after_position=first)

    def streams(self, *patterns: str) -> Timeline:
        """Look only at these streams. Each selection narrows the ones before it.

        Parameters
        ----------
        *patterns
            Names in which ``*`` stands for any run of characters: ``user-*``. A name that no event has selects nothing.

        Returns
        -------
        Timeline
            The history, looked at in these streams.

        Raises
        ------
        UsageError
            A name is empty or not text, or there is none.

        Examples
        --------
        >>> wb.open("data/demo").timeline.streams("user-1", "user-2").count()
        298
        """
        return self._select(Selection(streams=ensure_names("streams", patterns)))

    def categories(self, *names: str) -> Timeline:
        """Look only at these categories. Each selection narrows the ones before it.

        Parameters
        ----------
        *names
            Categories, spelled exactly. One that no event has selects nothing.

        Returns
        -------
        Timeline
            The history, looked at in these categories.

        Raises
        ------
        UsageError
            A name is empty or not text, or there is none.

        Examples
        --------
        >>> wb.open("data/demo").timeline.categories("user", "room").count()
        31615
        """
        return self._select(Selection(categories=ensure_names("categories", names)))

    def types(self, *patterns: str) -> Timeline:
        """Look only at these event types. Each selection narrows the ones before it.

        Parameters
        ----------
        *patterns
            Types in which ``*`` stands for any run of characters: ``chat.*``. A type that no event has selects nothing.

        Returns
        -------
        Timeline
            The history, looked at in these types.

        Raises
        ------
        UsageError
            A name is empty or not text, or there is none.

        Examples
        --------
        >>> wb.open("data/demo").timeline.types("chat.member_*").count()
        4533
        """
        return self._select(Selection(types=ensure_names("types", patterns)))

    def select(self, selection: Selection) -> Timeline:
        """Look only at what a selection chooses.

        Parameters
        ----------
        selection
            Patterns of streams, categories and types. An empty selection chooses everything.

        Returns
        -------
        Timeline
            The history, looked at through the selection.

        Raises
        ------
        UsageError
            The argument is not a `Selection`.

        Examples
        --------
        >>> moves = Selection(streams=("user-*",), types=("user.moved",))
        >>> wb.open("data/demo").timeline.select(moves).count()
        242
        """
        if not isinstance(selection, Selection):
            raise UsageError(f"select() takes a Selection, not {selection!r}.")
        timeline = self.with_system() if selection.system else self
        return timeline._select(selection) if selection.is_narrow else timeline

    def with_system(self) -> Timeline:
        """Look at the server's own events too, as far as the lake holds them.

        These are types that begin with ``$`` (metadata, tombstones, links), the metadata of streams, and streams that the server writes
        for itself, which only a lake exported with ``system`` holds. Streams of users whose names begin with ``$`` are part of every
        timeline.

        Returns
        -------
        Timeline
            The history with system events.

        Examples
        --------
        >>> now = wb.open("data/demo").timeline
        >>> now.with_system().types("$*").sql("select type, count(*) from events group by type order by type").fetchall()
        [('$metadata', 50), ('$streamDeleted', 12)]
        """
        return changed(self, system=True)

    def links(self) -> Timeline:
        """Replace each link (``$>``) in a user's stream by the event that it leads to.

        The row keeps position, stream, category and revision of the link; id, type, times and payload are those of the target. The result
        is what a read of the server with ``resolve_links`` shows: one step only, and no row where the store hides the target from readers.
        Links whose target the lake lacks are left out too; ``unresolved_links`` counts both. Links of the server's own projections stay as
        they are. The rows of all links that are looked at are held in memory.

        Without this method, links of users are left out. ``lake.info()`` and ``distribution()`` name the streams that hold them.

        Returns
        -------
        Timeline
            The history with the targets of links.

        Raises
        ------
        UsageError
            The timeline is a what-if, whose links have no known targets.

        Examples
        --------
        >>> now = wb.open("data/demo").timeline
        >>> now.links().count() - now.count(), now.links().unresolved_links
        (0, 0)
        """
        if self.edits:
            raise UsageError(_NO_LINKS_OF_A_FORK)
        return changed(self, follows=True)

    @property
    def unresolved_links(self) -> int:
        """The number of links left out because the lake lacks their target or the store hides it; 0 without ``links()``."""
        return self.log.unresolved(self)

    def visible(self) -> Timeline:
        """Leave out what the store hides from readers of streams at the cutoff: by ``$tb``, ``$maxCount``, ``$maxAge`` or deletion.

        An undated event has no known age: ``$maxAge`` never hides it.

        Returns
        -------
        Timeline
            The history that readers of the server see. Executing it raises `UsageError` if the lake was exported with a choice of event
            types or of metadata alone; a lake with a choice of streams or categories answers for those.

        Examples
        --------
        >>> now = wb.open("data/demo").timeline
        >>> now.count() - now.visible().count()
        519
        """
        return changed(self, visible_only=True)

    def drop(
        self,
        *,
        cascade: Cascade | None = None,
        **address: Unpack[EditAddress],
    ) -> Timeline:
        """Return the history in which these events never happened.

        All edits find their events by the same arguments, `workbench.timeline.EditAddress`. Edits apply in the order of the calls,
        each to the events as the edits before it left them. They never change revisions, the lake, or the server's own events. ``effects``
        says what each edit did.

        Parameters
        ----------
        cascade
            ``"causation"`` also drops the events that a dropped event caused, and what those caused. ``"correlation"`` also drops later
            events with the correlation id of a dropped one. Both apply across all streams.
        **address
            Which events, in the words of `workbench.timeline.EditAddress`: ``stream``, ``category``, ``type``, ``after``, ``upto``,
            ``position``, ``event_id`` and ``where``.

        Returns
        -------
        Timeline
            The what-if.

        Raises
        ------
        UsageError
            No argument of the address is given, an argument is unknown or has no meaning, or one names the server's own events.
        InvalidCondition
            The SQL of ``where`` is not in the language of conditions.

        Examples
        --------
        >>> from workbench.sample.projections import User
        >>> now = wb.open("data/demo").timeline
        >>> fork = now.drop(type="user.deleted", cascade="causation")
        >>> wb.state(User, now).height, wb.state(User, fork).height
        (535, 612)
        """
        return self._edited(Drop(_event_address("drop", address), cascade))

    def truncate(
        self,
        **address: Unpack[EditAddress],
    ) -> Timeline:
        """Return the history in which each stream that has such an event ends before the first of them.

        Parameters
        ----------
        **address
            Which events, in the words of `workbench.timeline.EditAddress`: ``stream``, ``category``, ``type``, ``after``, ``upto``,
            ``position``, ``event_id`` and ``where``.

        Returns
        -------
        Timeline
            The what-if.

        Raises
        ------
        UsageError, InvalidCondition
            As in `drop`.

        Examples
        --------
        Each user's stream ends before the user is first locked:

        >>> now = wb.open("data/demo").timeline
        >>> fork = now.truncate(category="user", type="user.locked")
        >>> now.count() - fork.count()
        644
        """
        return self._edited(Truncate(_event_address("truncate", address)))

    def patch(
        self,
        *,
        set: Mapping[str, Any] | None = None,  # noqa: A002  # the edit's own word
        unset: Iterable[str] | None = None,
        **address: Unpack[EditAddress],
    ) -> Timeline:
        r"""Return the history in which fields of these events' payloads had other values.

        The rest of a payload stays byte for byte. If an event's payload is not a JSON object, executing the timeline raises `UsageError`,
        which names the event.

        Parameters
        ----------
        set
            Fields and their values: ``{"plan": "pro", "address.city": "Rome"}``. A dot leads into an object, which is made if it is
            absent; a dot that is part of a name is written ``\.``. A ``Decimal`` keeps its digits, a datetime becomes its text.
        unset
            Fields to remove: ``["trial"]``.
        **address
            Which events, in the words of `workbench.timeline.EditAddress`: ``stream``, ``category``, ``type``, ``after``, ``upto``,
            ``position``, ``event_id`` and ``where``.

        Returns
        -------
        Timeline
            The what-if.

        Raises
        ------
        UsageError
            As in `drop`; or nothing is set or unset, or a value cannot be JSON.
        InvalidCondition
            As in `drop`.

        Examples
        --------
        >>> from workbench.sample.projections import User
        >>> fork = wb.open("data/demo").timeline.patch(stream="user-1", type="user.moved", set={"address.city": "Rome"})
        >>> wb.state(User, fork, key="1")["city"].item()
        'Rome'
        """
        return self._edited(Patch.of(_event_address("patch", address), set=set, unset=unset))

    def replace(
        self,
        *,
        data: Any = ...,
        metadata: Any = ...,
        as_type: str | None = None,
        **address: Unpack[EditAddress],
    ) -> Timeline:
        """Return the history in which these events had another payload, other metadata or another type.

        Parameters
        ----------
        data
            The new payload: any JSON value, None for null. By default, the payload stays.
        metadata
            The new metadata, likewise.
        as_type
            The new event type.
        **address
            Which events, in the words of `workbench.timeline.EditAddress`: ``stream``, ``category``, ``type``, ``after``, ``upto``,
            ``position``, ``event_id`` and ``where``. ``type`` finds them; ``as_type`` is what they become.

        Returns
        -------
        Timeline
            The what-if.

        Raises
        ------
        UsageError
            As in `drop`; or nothing is replaced, or a value cannot be JSON.
        InvalidCondition
            As in `drop`.

        Examples
        --------
        >>> from workbench.sample.projections import User
        >>> fork = wb.open("data/demo").timeline.replace(type="user.deleted", as_type="user.locked")
        >>> wb.state(User, fork)["is_locked"].sum()
        87
        """
        events = _event_address("replace", address)
        payload, meta = (
            None if value is ... else json_text(f"replace({name}=...)", value) for name, value in (("data", data), ("metadata", metadata))
        )
        return self._edited(Replace(events, data=payload, metadata=meta, as_type=as_type))

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

        The event takes the position of the last event recorded by then and follows it. Its revision is that of the last recorded event of
        its stream up to there, or 0.

        Parameters
        ----------
        stream
            The stream of the event, which may be new.
        type
            The type of the event.
        at
            A time; or the position of an event, which the new event follows at the same time.
        data
            The payload: any JSON value. By default, an empty object.
        metadata
            The metadata: any JSON value. Its ``$correlationId`` and ``$causationId`` count.
        event_id
            The id of the event, a UUID. By default, it is derived from the lake and the edit.

        Returns
        -------
        Timeline
            The what-if.

        Raises
        ------
        UsageError
            A name is empty or the server's own, or a payload cannot be JSON.
        InvalidTime
            The time has no time zone, or is not a time.

        Examples
        --------
        >>> from workbench.sample.projections import User
        >>> now = wb.open("data/demo").timeline
        >>> fork = now.insert(stream="user-1", type="user.paid", at="2026-03-01T12:00:00Z", data={"amount": 500})
        >>> wb.diff(User, now, fork).select("key", "changed_fields")
        shape: (1, 2)
        ┌─────┬─────────────────────────────────┐
        │ key ┆ changed_fields                  │
        │ --- ┆ ---                             │
        │ str ┆ list[str]                       │
        ╞═════╪═════════════════════════════════╡
        │ 1   ┆ ["payments", "paid", … "big_pa… │
        └─────┴─────────────────────────────────┘
        """
        given = {} if data is ... else data
        return self._edited(Insert.of(stream=stream, type=type, at=at, data=given, metadata=metadata, event_id=event_id))

    def retime(
        self,
        *,
        by: str | timedelta | None = None,
        to: Bound | None = None,
        **address: Unpack[EditAddress],
    ) -> Timeline:
        """Return the history in which these events happened earlier or later.

        An event moves behind all events recorded by its new time, and keeps its id and revision. At equal times, events that stay come
        first.

        Parameters
        ----------
        by
            How far to move them: ``"-1h"``, ``"1d 12h"`` (units ``s m h d w``), ``"PT90M"``, or a timedelta. Undated events stay where
            they are; ``effects`` counts them.
        to
            The new time of one event, instead of ``by``. The event may be undated.
        **address
            Which events, in the words of `workbench.timeline.EditAddress`: ``stream``, ``category``, ``type``, ``after``, ``upto``,
            ``position``, ``event_id`` and ``where``.

        Returns
        -------
        Timeline
            The what-if.

        Raises
        ------
        UsageError
            As in `drop`; or the span is not a span.
        InvalidCondition
            As in `drop`.
        InvalidTime
            The time has no time zone, or is not a time.

        Examples
        --------
        >>> now = wb.open("data/demo").timeline
        >>> fork = now.retime(type="user.deleted", by="30d")
        >>> fork.upto("2026-03-01").types("user.deleted").count(), now.upto("2026-03-01").types("user.deleted").count()
        (12, 43)
        """
        return self._edited(Retime.of(_event_address("retime", address), by=by, to=to))

    @property
    def effects(self) -> tuple[Effect, ...]:
        """What each edit did: how many events it matched, and what to be aware of. Cutoff and selection are ignored."""
        return self.log.effects(self) if self.edits else ()

    def events(self) -> pl.LazyFrame:
        """Return the events as a lazy frame, in log order.

        Returns
        -------
        polars.LazyFrame
            The columns of ``EVENT_SCHEMA``. Files are read when it is collected; predicates and projections reach them. A what-if has two
            more columns:

            - ``origin``: ``recorded``, ``patched``, ``replaced``, ``inserted`` or ``retimed``.
            - ``sequence``: 0 for events at their recorded place. Events that were put at a position follow those recorded there, as 1, 2
              and so on, in the order of their times. Their ``prepare_position`` is the last one recorded there plus that number, so that
              (position, prepare_position) orders a fork as it does a log, and identifies an event.

        Examples
        --------
        >>> now = wb.open("data/demo").timeline
        >>> now.types("user.moved").events().select("stream", "revision", "recorded_at").head(2).collect()
        shape: (2, 3)
        ┌────────┬──────────┬────────────────────────────────┐
        │ stream ┆ revision ┆ recorded_at                    │
        │ ---    ┆ ---      ┆ ---                            │
        │ str    ┆ i64      ┆ datetime[μs, UTC]              │
        ╞════════╪══════════╪════════════════════════════════╡
        │ user-1 ┆ 15       ┆ 2026-01-01 14:04:18.288576 UTC │
        │ user-1 ┆ 16       ┆ 2026-01-01 14:47:54.287461 UTC │
        └────────┴──────────┴────────────────────────────────┘
        """
        return self.log.events(self)

    def sql(self, query: str) -> DuckDBPyRelation:
        """Return the result of a SQL query over the view ``events`` of this timeline, lazily.

        Parameters
        ----------
        query
            SQL of DuckDB. Payloads are JSON text: ``data->>'city'``.

        Returns
        -------
        duckdb.DuckDBPyRelation
            Rows are read when they are fetched, as by ``.pl()`` or ``.fetchall()``. The files that they come from are checked for damage
            when this method is called.

        Raises
        ------
        QueryError
            The query is not SQL that can be run over ``events``.
        LakeDamaged
            A file that the query reads is missing or damaged.

        Examples
        --------
        >>> past = wb.open("data/demo").timeline.upto("2026-02-01")
        >>> past.sql("select category, count(*) from events group by 1 order by 2 desc limit 2").fetchall()
        [('room', 4485), ('user', 1639)]
        """
        return self.log.query(self, query)

    def count(self) -> int:
        """Count the events.

        Returns
        -------
        int
            The events that are looked at.

        Examples
        --------
        >>> wb.open("data/demo").timeline.upto("2026-03-01").count()
        20314
        """
        return self.log.count(self)

    @property
    def position(self) -> int | None:
        """The position of the last event up to the cutoff, before any selection; None if there is no event."""
        if self.upto_position is None:
            return self.log.last_position()
        return self.upto_position if self.upto_position >= 0 else None

    @property
    def late(self) -> int:
        """The number of events up to the cutoff with a stamp later than its time: the server's clock ran backwards."""
        return self.log.late(self)

    def describe(self) -> Provenance:
        """Say where results of this timeline come from. Counts the events.

        Returns
        -------
        Provenance
            The store, the lake and its version, the position, the cutoff, the edits and the number of events: enough to repeat a result.

        Examples
        --------
        >>> found = wb.open("data/demo").timeline.upto("2026-03-01").describe()
        >>> found.cutoff, found.events
        ('2026-03-01T00:00:00Z', 20314)
        """
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


def words_of(edit: str) -> dict[str, bool]:
    """Return the words that an edit takes, by the name of its method, and whether each is required. Those of its address come first."""
    parameters = list(inspect.signature(getattr(Timeline, edit)).parameters.values())[1:]
    own = {one.name: one.default is one.empty for one in parameters if one.kind is not one.VAR_KEYWORD}
    return {**dict.fromkeys(ADDRESS_WORDS if len(own) < len(parameters) else (), False), **own}


def _event_address(method: str, given: EditAddress) -> EventAddress:
    unknown = [repr(word) for word in given if word not in ADDRESS_WORDS]
    if unknown:
        raise UsageError(f"{method}() has no argument {', '.join(unknown)}; it takes {', '.join(words_of(method))}.")
    return EventAddress.of(method, given)


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
