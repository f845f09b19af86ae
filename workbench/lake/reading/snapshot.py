"""One version of a lake: its files, and the execution of timelines over them."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, partial
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from workbench import __version__
from workbench.errors import BeyondExport, UsageError
from workbench.events import LAST_TICKS, MAX_POSITION, CategoryRule, Checkpoint, Cutoff
from workbench.lake.files.format import FORMAT_VERSION, DataFile, Identity, checkpoint_from, identity_of, leader_of
from workbench.lake.files.location import Location, translated
from workbench.lake.files.sums import live_files
from workbench.lake.forks.apply_edits import TOUCHED, apply_edit
from workbench.lake.forks.fork_extract import pairs
from workbench.lake.forks.overlay import EVENT, KEY, Layer, Overlay, Overlays
from workbench.lake.reading.event_filter import EventFilter, Names, quoted
from workbench.lake.reading.extract import Extractor
from workbench.lake.reading.query import Queries
from workbench.lake.reading.scan import log_order
from workbench.lake.reading.time_to_position import EPOCH, MICROSECOND, last_recorded_by, microseconds, ticks_at
from workbench.lake.reading.user_links import Links, find_links
from workbench.lake.reading.visibility import TOMBSTONE, StreamEnd, StreamLimits, hidden_streams
from workbench.timeline import Provenance, Timeline
from workbench.timeline.edits import Effect
from workbench.timeline.extraction import Extraction, Pair

_COUNT = "SELECT count(*) FROM events"
_GONE = "_workbench_taken"
_TOMBSTONES, _METASTREAMS = Names("type", TOMBSTONE), Names("stream", "$$*")
_TOMBSTONED = f"SELECT DISTINCT stream FROM events WHERE type = '{TOMBSTONE}' AND revision = {MAX_POSITION}"
_METADATA = """
    SELECT stream, revision, is_json, coalesce(encode(data), data_bytes) FROM events WHERE starts_with(stream, '$$')
    QUALIFY row_number() OVER (PARTITION BY stream ORDER BY position DESC, prepare_position DESC) = 1
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One immutable version of a lake: the `RecordedLog` that executes timelines."""

    place: Location
    version: int
    table: str
    """The unique id of the table."""
    identity: Identity
    checkpoint: Checkpoint | None
    leader: str | None
    """The leader to read instead, if a follower was copied that could not tell whether it was up to date; see `leader_of`."""
    files: tuple[DataFile, ...]
    """In the order of their positions."""
    rule: CategoryRule
    queries: Queries = field(repr=False, compare=False)
    overlays: Overlays = field(default_factory=Overlays, repr=False, compare=False)
    """What edits came to that were asked for last."""

    @classmethod
    def newest(cls, place: Location, *, rule: CategoryRule, queries: Queries) -> Snapshot:
        """Read the newest version from Delta's log; no Parquet file is opened."""
        table = place.open()
        version_of = cache(table.transaction_version)  # each call scans the log
        with translated(place.path):
            return cls(
                place=place,
                version=table.version(),
                table=str(table.metadata().id),
                identity=identity_of(place.path, table.metadata().configuration),
                checkpoint=checkpoint_from(version_of),
                leader=leader_of(table.metadata().configuration),
                files=live_files(place.path, table, version_of=version_of),
                rule=rule,
                queries=queries,
            )

    @property
    def path(self) -> str:
        return self.place.path

    def last_position(self) -> int | None:
        return max((file.last_position for file in self.files), default=None)

    def resolve(self, cutoff: Cutoff, *, stale: bool) -> int | None:
        if cutoff.time is None:
            assert cutoff.position is not None
            return self._last_up_to(cutoff.position, stale=stale)
        return last_recorded_by(self, cutoff.time, stale=stale)

    def events(self, timeline: Timeline) -> pl.LazyFrame:
        conditions = EventFilter.of(timeline, rule=self.rule)
        return log_order(
            conditions.files(self.files),
            conditions=conditions,
            place=self.place,
            checks=self.queries.checks,
            rule=self.rule,
            hidden=(lambda: self._hidden(timeline)) if timeline.visible_only else None,
            layer=(lambda: self._over(timeline, conditions)) if timeline.edits or timeline.follows else None,
            fork=bool(timeline.edits),
        )

    def query(self, timeline: Timeline, sql: str, *, tables: Mapping[str, pa.Table] | None = None) -> duckdb.DuckDBPyRelation:
        conditions = EventFilter.of(timeline, rule=self.rule)
        hidden = self._hidden(timeline) if timeline.visible_only else None
        layer = self._over(timeline, conditions) if timeline.edits or timeline.follows else None
        files = conditions.files(self.files)
        return self.queries.asked(sql, files=files, conditions=conditions, hidden=hidden, layer=layer, tables=tables)

    def extract(self, timeline: Timeline, extraction: Extraction) -> Extractor:
        conditions = EventFilter.of(timeline, rule=self.rule)
        hidden = self._hidden(timeline) if timeline.visible_only else None
        return Extractor.of(
            extraction,
            timeline=timeline,
            queries=self.queries,
            files=self.files,
            conditions=conditions,
            hidden=hidden,
            layer_of=partial(self._over, timeline) if timeline.edits or timeline.follows else None,
        )

    def extract_beside(self, fork: Timeline, extraction: Extraction) -> Generator[Pair, None, None]:
        return pairs(self.extract(replace(fork, edits=()), extraction), self.extract(fork, extraction))

    def named(self, fork: Timeline, places: pl.DataFrame) -> pl.DataFrame:
        added = self._overlay(fork).added.select(*KEY, "event_id").join(places, on=KEY, how="semi")
        rest = places.join(added, on=KEY, how="anti")
        if rest.is_empty():
            return added
        last = int(rest["position"].to_numpy().max())
        conditions = EventFilter.of(Timeline(log=self, upto_position=last, system=True), rule=self.rule)
        files = conditions.files(self.files)
        sql = f"SELECT position, prepare_position, event_id FROM events SEMI JOIN {_GONE} USING (position, prepare_position)"
        tables = {_GONE: rest.select(KEY).to_arrow()}
        relation = self.queries.relation(sql, files=files, conditions=conditions.unproven(files), tables=tables)
        with self.queries.translated(files):
            return pl.concat([added, pl.DataFrame(relation.to_arrow_table())])

    def count(self, timeline: Timeline) -> int:
        conditions = EventFilter.of(timeline, rule=self.rule)
        files = conditions.files(self.files)
        if timeline.visible_only or timeline.edits or timeline.follows:
            hidden = self._hidden(timeline) if timeline.visible_only else None
            layer = self._over(timeline, conditions) if timeline.edits or timeline.follows else None
            return self.queries.value(_COUNT, files=files, conditions=conditions, hidden=hidden, layer=layer)
        whole = {file.path: file.rows for file in files if conditions.hold_all(file)}
        parts = [file for file in files if file.path not in whole]
        return sum(whole.values()) + (self.queries.value(_COUNT, files=parts, conditions=conditions) if parts else 0)

    def late(self, timeline: Timeline) -> int:
        if timeline.cutoff is None or timeline.cutoff.time is None:
            return 0
        moment = microseconds(timeline.cutoff.time)
        if timeline.edits:
            cut = EventFilter.of(Timeline(log=self, upto_position=timeline.upto_position, system=True), rule=self.rule)
            layer = self._over(timeline, cut)
            sql = f"SELECT count(*) FROM events WHERE recorded_ticks BETWEEN {(moment + 1) * 10} AND {LAST_TICKS}"
            return self.queries.value(sql, files=cut.files(self.files), conditions=cut, layer=layer)
        files = [
            file
            for file in self.files
            if file.last_ticks // 10 > moment and timeline.upto_position is not None and file.first_position <= timeline.upto_position
        ]
        if not files:
            return 0
        is_late = f"recorded_ticks BETWEEN {(moment + 1) * 10} AND {LAST_TICKS}"
        return self.queries.value(f"SELECT count(*) FROM events WHERE position <= {timeline.upto_position} AND {is_late}", files=files)

    def describe(self, timeline: Timeline) -> Provenance:
        return Provenance(
            store=self.identity.store.address,
            lake=self.path,
            lake_version=self.version,
            position=timeline.position,
            cutoff=str(timeline.cutoff) if timeline.cutoff is not None else "everything recorded",
            complete_until=None if self.checkpoint is None else self.checkpoint.complete_until,
            selection=timeline.selection,
            events=self.count(timeline),
            late=self.late(timeline),
            schema_version=FORMAT_VERSION,
            workbench_version=__version__,
            edits=tuple(map(str, timeline.edits)),
        )

    def effects(self, timeline: Timeline) -> tuple[Effect, ...]:
        return self._overlay(timeline).effects if timeline.edits else ()

    def touched(self, timeline: Timeline) -> pl.DataFrame | None:
        if not timeline.edits:
            return pl.DataFrame(schema=EVENT)
        overlay = self._overlay(timeline)
        if overlay.touched is None or overlay.added.height > TOUCHED:
            return None
        return pl.concat([overlay.touched, overlay.added.select(EVENT.names())])

    def added(self, timeline: Timeline) -> pl.DataFrame:
        """Return the events that edits added or changed, in their final form, regardless of the cutoff and the selection."""
        return self._overlay(timeline).added.select(EVENT.names()) if timeline.edits else pl.DataFrame(schema=EVENT)

    def first_touched(self, timeline: Timeline) -> int | None:
        conditions = EventFilter.of(timeline, rule=self.rule)
        files = conditions.files(self.files)
        layer = self._over(timeline, conditions)
        first = "SELECT min(position) FROM events"
        asked = [f"{first} WHERE {one.sql()}" for one in layer.drops(files, system=conditions.system)]
        if layer.gone.height:
            asked.append(f"{first} SEMI JOIN {_GONE} USING ({', '.join(KEY)})")
        found = layer.added["position"].to_list()
        for sql in asked:
            tables = {_GONE: layer.gone.to_arrow()}
            relation = self.queries.relation(sql, files=files, conditions=conditions.unproven(files), tables=tables)
            with self.queries.translated(files):
                found += [position for (position,) in relation.fetchall()]
        return min((position for position in found if position is not None), default=None)

    def _overlay(self, timeline: Timeline) -> Overlay:
        return self.overlays.of(timeline.edits, partial(apply_edit, self))

    def unresolved(self, timeline: Timeline) -> int:
        return self._links(timeline, EventFilter.of(timeline, rule=self.rule)).unresolved if timeline.follows else 0

    def _links(self, timeline: Timeline, conditions: EventFilter) -> Links:
        hidden = self._hidden(timeline, asked="links()")
        shown = hidden if timeline.visible_only else None
        return find_links(self.queries, self.files, conditions=conditions, hidden_links=shown, hidden_targets=hidden)

    def _over(self, timeline: Timeline, conditions: EventFilter) -> Layer:
        if timeline.follows:
            found = self._links(timeline, conditions)
            return Layer((), found.places if timeline.system else found.places.clear(), found.rows, settled=True)
        return self._overlay(timeline).over(conditions, time=None if timeline.cutoff is None else timeline.cutoff.time)

    def _hidden(self, timeline: Timeline, *, asked: str = "visible()") -> pl.DataFrame:
        """Return the streams with hidden events at the end of a timeline, regardless of its selection."""
        self._check_governed(asked)
        cut = EventFilter.of(Timeline(log=self, upto_position=timeline.upto_position, system=True), rule=self.rule)
        files = cut.files(self.files)

        def ask(sql: str, among: list[DataFile]) -> list[tuple[Any, ...]]:
            relation = self.queries.relation(sql, files=among, conditions=cut)
            with self.queries.translated(among):
                return relation.fetchall()

        tombstoned = ask(_TOMBSTONED, [file for file in files if _TOMBSTONES.may_fit(file.least_type, file.greatest_type)])
        ends = []
        for stream, revision, is_json, data in ask(
            _METADATA, [file for file in files if _METASTREAMS.may_fit(file.least_stream, file.greatest_stream)]
        ):
            ends.append(StreamEnd(stream, revision, StreamLimits(max_count=1)))
            ends.append(StreamEnd(stream[2:], 0, StreamLimits.parse(data if is_json else None)))
        if any(end.metadata.max_age for end in ends):
            self._check_instant(timeline, asked)
        counted = [end.stream for end in ends if end.metadata.max_count and not end.last_revision]
        if counted:
            names = ", ".join(quoted(name) for name in counted)
            last = dict(ask(f"SELECT stream, max(revision) FROM events WHERE stream IN ({names}) GROUP BY stream", files))
            ends = [replace(end, last_revision=last.get(end.stream, end.last_revision)) for end in ends]
        return hidden_streams(ends, tombstoned=[stream for (stream,) in tombstoned], now=self._end_time(timeline))

    def _check_governed(self, asked: str) -> None:
        """Check that the lake holds all events that decide about the visibility of others.

        A selection of streams or categories keeps them whole, with their tombstones and metadata (see `export_log`).
        """
        selection = self.identity.selection
        if selection.types:
            raise UsageError(
                f"{asked} cannot say what $maxCount hides in the lake {self.path}: it holds only {selection}, so the last events of its "
                "streams may be missing. Export a lake without a choice of types."
            )
        # The tombstone of a stream of which only the metadata was chosen is not in the lake.
        alone = [name for name in selection.streams if ("$" in name if name.startswith("*") else name.startswith(("$$", "$*")))]
        alone += [name for name in selection.categories if name.startswith("$$")]
        if alone:
            raise UsageError(
                f"{asked} cannot say which metadata of {alone[0]} is hidden in the lake {self.path}: it holds only {selection}, and "
                "lacks the tombstones of the streams themselves. Export a lake that chooses the streams."
            )

    def _check_instant(self, timeline: Timeline, asked: str) -> None:
        """Check that the instant from which ``$maxAge`` counts back is known: a selection may have left out the event at a position."""
        cutoff = timeline.cutoff
        if (
            not self.identity.selection.is_everything
            and cutoff is not None
            and cutoff.position is not None
            and cutoff.position != timeline.upto_position
        ):
            raise UsageError(
                f"{asked} cannot count $maxAge back from position {cutoff.position}: the lake {self.path} holds only "
                f"{self.identity.selection}, and no event there tells its time. Name a time instead."
            )

    def _end_time(self, timeline: Timeline) -> datetime:
        """Return the instant at which a timeline ends: its cutoff's, its last event's, or that of the last export."""
        if timeline.cutoff is not None and timeline.cutoff.time is not None:
            return timeline.cutoff.time
        if timeline.upto_position is None:
            return EPOCH if self.checkpoint is None else self.checkpoint.complete_until
        ticks = ticks_at(self, timeline.upto_position)
        return EPOCH + (0 if ticks is None else ticks // 10) * MICROSECOND

    def _last_up_to(self, position: int, *, stale: bool) -> int | None:
        copied = -1 if self.checkpoint is None else self.checkpoint.position
        if position > copied and not stale:
            held = "nothing yet" if copied < 0 else f"the log up to {copied}"
            raise BeyondExport(
                f"Position {position} is beyond the lake {self.path}, which holds {held}: "
                "export first, or allow a stale answer (stale=True, --stale)."
            )
        best, straddling = -1, []
        for file in self.files:
            if file.last_position <= position:
                best = max(best, file.last_position)
            elif file.first_position <= position:
                straddling.append(file)
        inside = self.greatest(f"position <= {position}", [file for file in straddling if file.last_position > best])
        best = max(best, inside)
        return best if best >= 0 else None

    def greatest(self, condition: str, files: list[DataFile]) -> int:
        """Return the last position among events of some files that fulfil a condition in SQL; -1 without any."""
        if not files:
            return -1
        return self.queries.value(f"select coalesce(max(position), -1) from events where {condition}", files=files)
