"""What a lake holds, in one value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from workbench.display import card, in_bytes
from workbench.events import Checkpoint, Selection, Store
from workbench.lake.snapshot import Snapshot

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COUNTS = """
    SELECT count(DISTINCT stream), count(DISTINCT category), count(DISTINCT type),
        count(*) FILTER (WHERE starts_with(stream, '$') OR starts_with(type, '$'))
    FROM events
"""


@dataclass(frozen=True, slots=True)
class LakeInfo:
    """What a lake holds. Counts of events, streams, categories and types include the system's own; `system_events` counts those."""

    path: str
    version: int
    store: Store
    selection: Selection
    events: int
    system_events: int
    streams: int
    categories: int
    types: int
    first_position: int | None
    last_position: int | None
    first_recorded_at: datetime | None
    last_recorded_at: datetime | None
    checkpoint: Checkpoint | None
    complete_until: datetime | None
    files: int
    bytes: int
    unclustered_runs: int

    def _repr_html_(self) -> str:
        values = {
            "Events": self.events,
            "Last position": None if self.last_position is None else str(self.last_position),
            "Complete until (UTC)": self.complete_until,
            "Streams": self.streams,
            "Categories": self.categories,
            "Event types": self.types,
            "First event (UTC)": self.first_recorded_at,
            "Last event (UTC)": self.last_recorded_at,
            "On disk": in_bytes(self.bytes),
        }
        notes = [f"A copy of {self.store.address}", f"{self.system_events:,} of the events are the system's own"]
        return card("Lake", values, place=self.path, notes=notes)._repr_html_()


def read_info(snapshot: Snapshot) -> LakeInfo:
    """Read what a snapshot holds: from Delta's statistics what they say exactly, from the columns of names the rest."""
    files = snapshot.files
    events = sum(file.rows for file in files)
    streams = categories = types = system = 0
    if files:
        relation = snapshot.queries.relation(_COUNTS, files=files)
        with snapshot.queries.translated(files):
            [(streams, categories, types, system)] = relation.fetchall()
    checkpoint = snapshot.checkpoint
    return LakeInfo(
        path=snapshot.path,
        version=snapshot.version,
        store=snapshot.identity.store,
        selection=snapshot.identity.selection,
        events=events,
        system_events=system,
        streams=streams,
        categories=categories,
        types=types,
        first_position=min((file.first_position for file in files), default=None),
        last_position=snapshot.last_position(),
        first_recorded_at=_time(min((file.first_ticks for file in files), default=None)),
        last_recorded_at=_time(max((file.last_ticks for file in files), default=None)),
        checkpoint=checkpoint,
        complete_until=checkpoint.complete_until if checkpoint is not None else None,
        files=len(files),
        bytes=sum(file.bytes for file in files),
        unclustered_runs=sum(file.epoch is None for file in files),
    )


def _time(ticks: int | None) -> datetime | None:
    return None if ticks is None else _EPOCH + timedelta(microseconds=ticks // 10)
