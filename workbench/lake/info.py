"""Summarises the contents of a lake."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from workbench.display import card, in_bytes
from workbench.events import Checkpoint, Selection, Store
from workbench.lake.files.format import DATED
from workbench.lake.reading.snapshot import Snapshot
from workbench.lake.reading.user_events import SERVER_STREAM_SQL, USER_EVENT_SQL, USER_LINK_SQL, USER_STREAM_SQL

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COUNTS = f"""
    SELECT count(DISTINCT stream) FILTER (own), count(DISTINCT category) FILTER (own), count(DISTINCT type) FILTER (own),
        count(*) FILTER (own), count(*) FILTER (server), count(*) FILTER (link)
    FROM (SELECT stream, category, type, {USER_EVENT_SQL} AS own, {SERVER_STREAM_SQL} AS server, {USER_LINK_SQL} AS link FROM events)
"""
_LINK_STREAMS = f"""
    SELECT stream FROM events WHERE {USER_STREAM_SQL} GROUP BY stream
    HAVING bool_or(type = '$>') AND NOT bool_or({USER_EVENT_SQL}) ORDER BY stream
"""
_TICKS = f"""
    SELECT count(*) FILTER (NOT dated), min(recorded_ticks) FILTER (dated), max(recorded_ticks) FILTER (dated)
    FROM (SELECT recorded_ticks, {DATED} AS dated FROM events)
"""
_NAMED = 20
"""The greatest number of link streams to name."""


@dataclass(frozen=True, slots=True)
class LakeInfo:
    """What a lake holds.

    Attributes
    ----------
    selection
        What of the log it was asked to hold.
    events
        All that is in the lake.
    user_events
        Those of them that users recorded: what ``lake.timeline`` counts.
    user_links
        Links in users' streams; ``timeline.links()`` gives the events that they point to.
    system_events
        What the server wrote for itself, and metadata of its streams. What is left is metadata of users' streams and tombstones.
    streams, categories, types
        Of users' events.
    first_recorded_at, last_recorded_at
        The least and the greatest time of an event, undated ones left out.
    undated_events
        Events whose stamp is no instant, as it lies outside the years 1 to 9999. Their ``recorded_at`` is null; ``recorded_ticks`` has
        the stamp as the server sent it.
    link_streams, link_stream_names
        How many streams of users hold links and no event, and the names of the first twenty.
    """

    path: str
    version: int
    store: Store
    selection: Selection
    events: int
    user_events: int
    user_links: int
    system_events: int
    streams: int
    categories: int
    types: int
    link_streams: int
    link_stream_names: tuple[str, ...]
    first_position: int | None
    last_position: int | None
    first_recorded_at: datetime | None
    last_recorded_at: datetime | None
    undated_events: int
    checkpoint: Checkpoint | None
    complete_until: datetime | None
    files: int
    bytes: int
    unclustered_runs: int

    def _repr_html_(self) -> str:
        values = {
            "Events": self.user_events,
            "Last position": None if self.last_position is None else str(self.last_position),
            "Complete until (UTC)": self.complete_until,
            "Streams": self.streams,
            "Categories": self.categories,
            "Event types": self.types,
            "First event (UTC)": self.first_recorded_at,
            "Last event (UTC)": self.last_recorded_at,
            "On disk": in_bytes(self.bytes),
        }
        notes = [f"A copy of {self.store.address}, which holds {self.selection}", *self.notes]
        return card("Lake", values, place=self.path, notes=notes)._repr_html_()

    @property
    def notes(self) -> list[str]:
        """What the lake holds besides users' events, in sentences."""
        said = []
        if self.system_events:
            said.append(f"{self.system_events:,} {'event' if self.system_events == 1 else 'events'} of the server's own")
        rest = self.events - self.user_events - self.user_links - self.system_events
        if rest:
            said.append(f"{rest:,} {'event that is' if rest == 1 else 'events that are'} metadata of streams or tombstones")
        if self.user_links:
            said.append(f"{self.user_links:,} {'link' if self.user_links == 1 else 'links'} in users' streams")
        notes = [f"Besides, the lake holds {', '.join(said)}"] if said else []
        if self.link_streams:
            names = ", ".join(self.link_stream_names) + (", ..." if self.link_streams > len(self.link_stream_names) else "")
            what = "1 stream holds" if self.link_streams == 1 else f"{self.link_streams:,} streams hold"
            notes.append(f"{what} only links, which timeline.links() follows: {names}")
        if self.undated_events:
            notes.append(undated_note(self.undated_events))
        return notes


def undated_note(count: int) -> str:
    """Return a sentence, without a full stop, about a number of undated events."""
    if count == 1:
        return "1 event has a time stamp outside the years 1 to 9999: its recorded_at is null, and recorded_ticks keeps the stamp"
    return f"{count:,} events have time stamps outside the years 1 to 9999: their recorded_at is null, and recorded_ticks keeps the stamps"


def read_info(snapshot: Snapshot) -> LakeInfo:
    """Summarise a snapshot: from Delta's statistics where they are exact, else from the columns of names."""
    files = snapshot.files
    events = sum(file.rows for file in files)
    streams = categories = types = own = system = links = 0
    names: list[str] = []
    if files:
        relation = snapshot.queries.relation(_COUNTS, files=files)
        with snapshot.queries.translated(files):
            [(streams, categories, types, own, system, links)] = relation.fetchall()
        if links:
            relation = snapshot.queries.relation(_LINK_STREAMS, files=files)
            with snapshot.queries.translated(files):
                names = [name for (name,) in relation.fetchall()]
    checkpoint = snapshot.checkpoint
    ticks = [(file.first_ticks, file.last_ticks) for file in files if not file.has_undated]
    undated = 0
    uncertain = [file for file in files if file.has_undated]
    if uncertain:
        relation = snapshot.queries.relation(_TICKS, files=uncertain)
        with snapshot.queries.translated(uncertain):
            [(undated, first, last)] = relation.fetchall()
        ticks += [] if first is None else [(first, last)]
    return LakeInfo(
        path=snapshot.path,
        version=snapshot.version,
        store=snapshot.identity.store,
        selection=snapshot.identity.selection,
        events=events,
        user_events=own,
        user_links=links,
        system_events=system,
        streams=streams,
        categories=categories,
        types=types,
        link_streams=len(names),
        link_stream_names=tuple(names[:_NAMED]),
        first_position=min((file.first_position for file in files), default=None),
        last_position=snapshot.last_position(),
        first_recorded_at=_time(min((first for first, _ in ticks), default=None)),
        last_recorded_at=_time(max((last for _, last in ticks), default=None)),
        undated_events=undated,
        checkpoint=checkpoint,
        complete_until=checkpoint.complete_until if checkpoint is not None else None,
        files=len(files),
        bytes=sum(file.bytes for file in files),
        unclustered_runs=sum(file.epoch is None for file in files),
    )


def _time(ticks: int | None) -> datetime | None:
    return None if ticks is None else _EPOCH + timedelta(microseconds=ticks // 10)
