"""Looks up single events of a lake, to compare them with the store from which it was copied.

It reads the newest files first, so that a lookup takes as long in a large lake as in a small one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import polars as pl

from workbench.events import EventAt
from workbench.lake.files.format import DataFile, in_log_order
from workbench.lake.reading.snapshot import Snapshot
from workbench.lake.reading.user_events import USER_STREAM_SQL

_WANTED = "_workbench_wanted"
_COLUMNS = ", ".join(EventAt.__dataclass_fields__)
_NEWEST = f"""
    WITH newest AS (
        SELECT stream, max(position) AS position FROM events WHERE {USER_STREAM_SQL}
        GROUP BY stream ORDER BY max(position) DESC LIMIT {{most}}
    )
    SELECT {_COLUMNS} FROM events SEMI JOIN newest USING (stream, position)
"""
_HELD = f"SELECT position, prepare_position, event_id FROM events SEMI JOIN {_WANTED} USING (position, prepare_position)"


@dataclass(frozen=True, slots=True)
class RecordedEvents:
    """The events of one version of a lake."""

    snapshot: Snapshot

    def newest_of_streams(self, *, most: int) -> Iterator[EventAt]:
        """Yield the newest event of each of up to ``most`` users' streams, the newest first; lazily, a range of positions at a time."""
        seen: set[str] = set()
        for files in reversed(list(in_log_order(self.snapshot.files))):
            # A range may hold older events of the streams already seen, but of at most that many streams.
            for event in self._newest_in(files, most=most + len(seen)):
                if event.stream not in seen:
                    seen.add(event.stream)
                    yield event
                if len(seen) == most:
                    return

    def holds(self, events: Collection[tuple[int, int, str]]) -> set[tuple[int, int, str]]:
        """Return the subset of some events, each given by position, prepare position and id, that the lake has."""
        if not events:
            return set()
        first, last = min(events)[0], max(events)[0]
        files = [file for file in self.snapshot.files if file.first_position <= last and file.last_position >= first]
        wanted = pl.DataFrame([event[:2] for event in events], schema={"position": pl.Int64, "prepare_position": pl.Int64}, orient="row")
        relation = self.snapshot.queries.relation(_HELD, files=files, tables={_WANTED: wanted.to_arrow()})
        with self.snapshot.queries.translated(files):
            return set(relation.fetchall()) & set(events)

    def _newest_in(self, files: tuple[DataFile, ...], *, most: int) -> list[EventAt]:
        relation = self.snapshot.queries.relation(_NEWEST.format(most=most), files=files)
        with self.snapshot.queries.translated(files):
            found = [EventAt(*row) for row in relation.fetchall()]
        return sorted(found, key=lambda event: event.order, reverse=True)
