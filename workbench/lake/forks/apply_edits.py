"""Applies edits to one version of a lake: extends an overlay by one edit at a time.

Events that are not moved keep their positions. Events that are inserted, or moved to another time, take the position of the last event of
the whole log that had been recorded by that time, as a cutoff does. They come after all events recorded at that position, ordered by time,
then by edit, then in log order. The module is long because all six edits share the search for events and their positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np
import polars as pl

from workbench.errors import BeforeFirstEvent, UsageError
from workbench.events import Cutoff, category_of
from workbench.lake.files.format import DataFile
from workbench.lake.forks.event_ids import as_event_id
from workbench.lake.forks.overlay import EVENT, FORK, KEY, Layer, Overlay, in_cut
from workbench.lake.forks.patch_sql import plainly_patched
from workbench.lake.forks.patch_text import NoObject, patched
from workbench.lake.forks.payload_conditions import holding, read_by
from workbench.lake.reading.event_filter import EventFilter, Names, quoted
from workbench.lake.reading.time_to_position import end_of_position, positions_at
from workbench.projection.values import GREATEST_INSTANT, LEAST_INSTANT
from workbench.timeline import Timeline
from workbench.timeline.edits import Drop, Edit, Effect, EventAddress, Insert, Patch, Replace, Retime, Truncate
from workbench.trace_ids import trace_ids

if TYPE_CHECKING:
    from workbench.lake.reading.snapshot import Snapshot

TOUCHED = 10_000
"""So many events that edits take away are remembered one by one; where there are more, a diff folds everything."""

_BATCH = 500_000
"""About how many rows of the log are read at a time where a condition is asked of each."""

_ROWS = 32_768
"""Rows that DuckDB puts into Arrow at a time: fewer than it would itself, so that they do not all take memory anew."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NAMES = "_workbench_names"

_ADDED = pl.Schema(
    {
        **FORK,
        "_was": pl.String(),  # patched, replaced, inserted, or as it was recorded
        "_home": pl.Int64(),  # the position, prepare position and ticks with which it came in
        "_home_prepare": pl.Int64(),
        "_home_ticks": pl.Int64(),
        "_base": pl.Int64(),  # the last prepare position that was recorded at its position
        "_rank": pl.Int64(),  # the edit that put it where it is
    }
)
_NO_EVENTS = pl.DataFrame(schema=EVENT)
_NOTHING = Overlay((), _NO_EVENTS.select(KEY), pl.DataFrame(schema=_ADDED), _NO_EVENTS)
_WHOLE = f"SELECT {', '.join(EVENT.names())} FROM events"


def apply_edit(snapshot: Snapshot, overlay: Overlay | None, edit: Edit) -> Overlay:
    """Return an overlay extended by one edit.

    Raises
    ------
    UsageError
        The edit cannot be applied to one of its events; the message names the event.
    """
    forking = _Forking(snapshot, _NOTHING if overlay is None else overlay)
    match edit:
        case Drop():
            return forking.drop(edit)
        case Truncate():
            return forking.truncate(edit)
        case Patch():
            return forking.patch(edit)
        case Replace():
            return forking.replace(edit)
        case Insert():
            return forking.insert(edit)
        case Retime():
            return forking.retime(edit)


@dataclass(frozen=True, slots=True)
class _Found:
    """The events that match an address: recorded events, and events that earlier edits added."""

    recorded: pl.DataFrame
    added: pl.Series

    @property
    def count(self) -> int:
        return self.recorded.height + int(self.added.sum())


@dataclass(frozen=True, slots=True)
class _Forking:
    """An edit under way."""

    snapshot: Snapshot
    before: Overlay

    def drop(self, edit: Drop) -> Overlay:
        address = edit.address
        if edit.cascade is None and address.where is None and address.event_id is None:
            return self._drop_all(edit, address)
        found = self._find(address, columns=("event_id", "correlation_id"))
        dropped = self._without(found)
        if edit.cascade is None:
            return _said(dropped, edit, found.count)
        then = _Forking(self.snapshot, dropped)
        seeds = pl.concat([found.recorded, self.before.added.filter(found.added).select(found.recorded.columns)])
        followed = then._caused(seeds) if edit.cascade == "causation" else then._correlated(seeds)
        return _said(then._without(followed), edit, found.count, cascaded=followed.count)

    def truncate(self, edit: Truncate) -> Overlay:
        address = edit.address
        if address == EventAddress(replace(address.selection, types=()), after=address.after):
            return self._drop_all(edit, address)  # what follows one of these in its stream is one of them
        found = self._find(address, columns=())
        starts = pl.concat([found.recorded, self.before.added.filter(found.added).select(found.recorded.columns)])
        starts = starts.sort(KEY).unique("stream", keep="first").rename({name: f"_from_{name}" for name in KEY})
        behind = f"(e.position, e.prepare_position) >= ({', '.join(f's._from_{name}' for name in KEY)})"
        recorded = self._read(
            f"SELECT {', '.join(f'e.{name}' for name in (*KEY, 'stream'))} FROM events e JOIN {_NAMES} s USING (stream) WHERE {behind}",
            self._of_streams(starts["stream"]),
            names=starts,
        )
        added = self.before.added.join(starts, on="stream", how="left", maintain_order="left")
        position, prepare = (pl.col(f"_from_{name}") for name in KEY)
        at_or_behind = (pl.col("position") > position) | ((pl.col("position") == position) & (pl.col("prepare_position") >= prepare))
        followed = _Found(recorded, added.select(at_or_behind.fill_null(value=False).alias("hit"))["hit"])
        return _said(self._without(followed), edit, followed.count)

    def patch(self, edit: Patch) -> Overlay:
        found = self._find(edit.address, columns=EVENT.names())
        same = True

        def change(rows: pl.DataFrame) -> pl.DataFrame:
            nonlocal same
            data = plainly_patched(rows["data"], edit.set, edit.unset).alias("data")
            left = np.flatnonzero(data.is_null().to_numpy())
            if len(left):
                asked = rows[left].select("data", "stream", "revision", "type", "position")
                data = data.scatter(left, pl.Series(list(map(self._patched(edit), asked.iter_rows())), dtype=pl.String))
            same = same and data.equals(rows["data"])
            return rows.with_columns(data, _was=_unless_inserted("patched"))

        changed = self._changed(found, change)
        return _said(changed, edit, found.count, *(["changes nothing, since its events are so already"] if same and found.count else []))

    def replace(self, edit: Replace) -> Overlay:
        found = self._find(edit.address, columns=EVENT.names())
        put: dict[str, Any] = {}
        if edit.data is not None:
            put |= {"data": edit.data, "data_bytes": None, "is_json": True}
        if edit.metadata is not None:
            put |= _metadata(edit.metadata)
        if edit.as_type is not None:
            put["type"] = edit.as_type
        values = [pl.lit(value, dtype=EVENT[name]).alias(name) for name, value in put.items()]
        return _said(self._changed(found, lambda rows: rows.with_columns(*values, _was=_unless_inserted("replaced"))), edit, found.count)

    def insert(self, edit: Insert) -> Overlay:
        if edit.at.time is None:
            position = self._resolved(edit.at)
            prepare, ticks = end_of_position(self.snapshot, position)
        else:
            moment = (edit.at.time - _EPOCH) // _MICROSECOND
            ticks = moment * 10
            position, prepare = (int(found[0]) for found in positions_at(self.snapshot, np.array([moment], dtype=np.int64)))
        twins = sum(effect.edit == edit for effect in self.before.effects)
        name = f"{self.snapshot.table} {twins} {edit}"
        notes = []
        began, revision = self._stream_up_to(edit.stream, position)
        if began is None:
            notes.append(f"begins the stream {edit.stream!r}, of which nothing was recorded")
        elif position < began:
            notes.append(f"puts an event before its stream began, at position {began}")
        if self._is_beyond(edit.at):
            notes.append("lies after the last export, and what was recorded by then is not known")
        row = {
            "position": position,
            "stream": edit.stream,
            "category": category_of(edit.stream, self.snapshot.rule),
            "revision": revision,
            "event_id": edit.event_id or str(uuid5(NAMESPACE_OID, name)),
            "type": edit.type,
            "recorded_at": _EPOCH + ticks // 10 * _MICROSECOND,
            "recorded_ticks": ticks,
            "is_json": True,
            "data": edit.data,
            "metadata_bytes": b"",
            **(_metadata(edit.metadata) if edit.metadata is not None else {}),
            "_was": "inserted",
            "_home": position,
            "_home_prepare": prepare,
            "_home_ticks": ticks,
            "_base": prepare,
            "_rank": len(self.before.effects),
        }
        added = pl.concat([self.before.added, pl.DataFrame([row], schema=_ADDED)])
        return _said(replace(self.before, added=_numbered(added)), edit, 1, *notes)

    def retime(self, edit: Retime) -> Overlay:
        found = self._find(edit.address, columns=EVENT.names())
        if edit.to is not None and found.count > 1:
            raise UsageError(f"{edit} is about {found.count:,} events: to= gives one event its time; name it by position= or event_id=.")
        early = undated = 0

        def change(rows: pl.DataFrame) -> pl.DataFrame:
            nonlocal early, undated
            moved = self._moved(rows, edit)
            early += self._before_their_streams(moved)
            undated += moved["recorded_at"].null_count()
            return moved

        changed = self._changed(found, change)
        notes = []
        if early:
            notes.append(
                f"puts {early:,} {'event' if early == 1 else 'events'} before {'its stream' if early == 1 else 'their streams'} began"
            )
        if undated:
            notes.append(
                f"leaves {undated:,} {'event' if undated == 1 else 'events'} without an instant, which cannot be moved by a duration"
            )
        return _said(changed, edit, found.count, *notes)

    def _drop_all(self, edit: Drop | Truncate, address: EventAddress) -> Overlay:
        """Drop events by an address that a query can evaluate: the fork's query evaluates it too, and needs no list of events."""
        conditions = self._conditions(address)
        added = self._fitting(address)
        count = int(self._read("SELECT count(*) AS n FROM events", conditions)["n"][0])
        touched = None
        if self.before.touched is not None and count + self.before.touched.height <= TOUCHED:
            touched = pl.concat([self.before.touched, self._read(_WHOLE, conditions)]) if count else self.before.touched
        dropped = (*self.before.dropped, conditions) if count else self.before.dropped
        overlay = replace(self.before, dropped=dropped, added=_numbered(self.before.added.filter(~added)), touched=touched)
        return _said(overlay, edit, count + int(added.sum()))

    def _without(self, found: _Found) -> Overlay:
        """Return the overlay without some events."""
        touched = None
        if self.before.touched is not None and found.recorded.height + self.before.touched.height <= TOUCHED:
            touched = pl.concat([self.before.touched, self._whole(found.recorded)])
        gone = pl.concat([self.before.gone, found.recorded.select(KEY)])
        return replace(self.before, gone=gone, added=_numbered(self.before.added.filter(~found.added)), touched=touched)

    def _changed(self, found: _Found, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Overlay:
        """Return the overlay with some events changed; ``found`` has all columns."""
        recorded = found.recorded.with_columns(
            sequence=pl.lit(0, dtype=pl.Int64),
            origin=pl.lit("recorded"),
            _was=pl.lit("recorded"),
            _home="position",
            _home_prepare="prepare_position",
            _home_ticks="recorded_ticks",
            _base="prepare_position",
            _rank=pl.lit(0, dtype=pl.Int64),
        ).select(_ADDED.names())
        touched = None
        if self.before.touched is not None and recorded.height + self.before.touched.height <= TOUCHED:
            touched = pl.concat([self.before.touched, found.recorded])
        gone = pl.concat([self.before.gone, found.recorded.select(KEY)])
        hit, rest = self.before.added.filter(found.added), self.before.added.filter(~found.added)
        rows = change(pl.concat([hit, recorded]))
        return replace(self.before, gone=gone, added=_numbered(pl.concat([rest, rows])), touched=touched)

    def _patched(self, edit: Patch) -> Callable[[tuple[str | None, str, int, str, int]], str]:
        def change(row: tuple[str | None, str, int, str, int]) -> str:
            text, stream, revision, event_type, position = row
            try:
                if text is None:
                    raise NoObject("its payload is no JSON")
                return patched(text, edit.set, edit.unset)
            except NoObject as error:
                raise UsageError(
                    f"{edit} cannot change event {revision} of stream {stream!r} ({event_type}, position {position}): {error}. "
                    "Leave it out, or replace its payload."
                ) from None

        return change

    # Where events go ----------------------------------------------------------------------------------------------------------

    def _moved(self, rows: pl.DataFrame, edit: Retime) -> pl.DataFrame:
        if edit.to is not None:
            ticks = pl.lit((edit.to - _EPOCH) // _MICROSECOND * 10, dtype=pl.Int64)
        else:
            assert edit.by is not None
            ticks = pl.col("recorded_ticks") + edit.by // _MICROSECOND * 10
            ticks = pl.when(pl.col("recorded_at").is_null()).then("recorded_ticks").otherwise(ticks)
        moved = rows.with_columns(recorded_ticks=ticks)
        moments = moved["recorded_ticks"] // 10
        if edit.to is None:
            moments = moments.set(rows["recorded_at"].is_null(), None)
        if not moments.is_between(LEAST_INSTANT, GREATEST_INSTANT).all():
            raise UsageError(f"{edit} leaves the years 1 to 9999.")
        position, prepare = positions_at(self.snapshot, moments.fill_null(0).to_numpy())  # what stays undated stays at home
        home = pl.col("recorded_ticks") == pl.col("_home_ticks")
        return moved.with_columns(
            recorded_at=moments.cast(EVENT["recorded_at"]),
            position=pl.when(home).then("_home").otherwise(pl.Series(position, dtype=pl.Int64)),
            _base=pl.when(home).then("_home_prepare").otherwise(pl.Series(prepare, dtype=pl.Int64)),
            _rank=pl.lit(len(self.before.effects), dtype=pl.Int64),
        )

    def _is_beyond(self, at: Cutoff) -> bool:
        known = self.snapshot.checkpoint
        if known is None:
            return True
        return at.time > known.complete_until if at.time is not None else (at.position or 0) > known.position

    def _stream_up_to(self, stream: str, position: int) -> tuple[int | None, int]:
        """Return the first position of a recorded stream, and its last revision up to a position; 0 if there is none."""
        conditions = self._of_streams(pl.Series([stream]))
        files = conditions.files(self.snapshot.files)
        sql = f"SELECT min(position), coalesce(max(revision) FILTER (WHERE position <= {position}), 0) FROM events"
        relation = self.snapshot.queries.relation(sql, files=files, conditions=conditions)
        with self.snapshot.queries.translated(files):
            [(began, revision)] = relation.fetchall()
        return began, revision

    def _before_their_streams(self, moved: pl.DataFrame) -> int:
        """Count the recorded events that are now before the first recorded event of their stream, and were not the first."""
        ours = moved.filter((pl.col("_was") != "inserted") & (pl.col("position") < pl.col("_home")))
        if not ours.height:
            return 0
        streams = ours.select(pl.col("stream").unique())
        conditions = self._of_streams(streams["stream"])
        sql = f"SELECT stream, min(position) AS began FROM events SEMI JOIN {_NAMES} USING (stream) GROUP BY stream"
        relation = self.snapshot.queries.relation(
            sql, files=conditions.files(self.snapshot.files), conditions=conditions, tables={_NAMES: streams.to_arrow()}
        )
        with self.snapshot.queries.translated(self.snapshot.files):
            began = pl.DataFrame(relation.to_arrow_table())
        return ours.join(began, on="stream").filter(pl.col("position") < pl.col("began"), pl.col("_home") > pl.col("began")).height

    # What follows from what --------------------------------------------------------------------------------------------------

    def _caused(self, seeds: pl.DataFrame) -> _Found:
        """Find the events that some events caused, directly or indirectly."""
        left = self._candidates("causation_id").with_columns(as_event_id("causation_id"))
        found = [left.clear()]
        causes = seeds.select(causation_id=pl.col("event_id").unique())
        while causes.height and left.height:
            caused = left.join(causes, on="causation_id", how="semi", maintain_order="left")
            left = left.join(causes, on="causation_id", how="anti", maintain_order="left")
            found.append(caused)
            causes = caused.select(causation_id=pl.col("event_id").unique())
        return self._split(pl.concat(found))

    def _correlated(self, seeds: pl.DataFrame) -> _Found:
        """Find the events with the correlation id of some events, later in the log than the first of these."""
        begun = seeds.drop_nulls("correlation_id").sort(KEY).unique("correlation_id", keep="first")
        begun = begun.select("correlation_id", *(pl.col(name).alias(f"_from_{name}") for name in KEY))
        position, prepare = (pl.col(f"_from_{name}") for name in KEY)
        later = (pl.col("position") > position) | ((pl.col("position") == position) & (pl.col("prepare_position") > prepare))
        return self._split(self._candidates("correlation_id").join(begun, on="correlation_id").filter(later))

    def _candidates(self, column: str) -> pl.DataFrame:
        """Return all events with a correlation id or a causation id; ``_row`` numbers those that earlier edits added."""
        names = (*KEY, "stream", "event_id", column)
        recorded = self._read(f"SELECT {', '.join(names)} FROM events WHERE {column} IS NOT NULL", self._of_all())
        added = self.before.added.select(names).with_row_index("_row").drop_nulls(column)
        return pl.concat([recorded, added], how="diagonal")

    def _split(self, found: pl.DataFrame) -> _Found:
        rows = found["_row"].drop_nulls().to_numpy()
        hit = np.zeros(self.before.added.height, dtype=np.bool_)
        hit[rows] = True
        return _Found(found.filter(pl.col("_row").is_null()).select(*KEY, "stream"), pl.Series("hit", hit, dtype=pl.Boolean))

    # What is there ------------------------------------------------------------------------------------------------------------

    def _find(self, address: EventAddress, *, columns: Sequence[str]) -> _Found:
        """Find the events that match an address, with their keys, streams and some more columns."""
        conditions = self._conditions(address)
        wanted = list(dict.fromkeys((*columns, *KEY, "stream")))
        where = "" if address.event_id is None else f" WHERE event_id = {quoted(address.event_id)}"
        if address.where is None:
            recorded = self._read(f"SELECT {', '.join(wanted)} FROM events{where}", conditions)
        else:
            asked = list(dict.fromkeys((*wanted, *read_by(address.where))))
            parts = [_NO_EVENTS.select(wanted)]
            for files in _batches(conditions.files(self.snapshot.files)):
                rows = self._read(f"SELECT {', '.join(asked)} FROM events{where}", conditions, files=files)
                parts.append(rows.filter(holding(rows, address.where)).select(wanted))
            recorded = pl.concat(parts)
        return _Found(recorded, self._fitting(address))

    def _fitting(self, address: EventAddress) -> pl.Series:
        """Return which of the events that earlier edits added match an address."""
        added = self.before.added
        parts = [pl.lit(value=True)]
        names = EventFilter.of(Timeline(log=self.snapshot, selections=(address.selection,)), rule=self.snapshot.rule).polars()
        if names is not None:
            parts.append(names)
        if address.upto is not None:
            parts.append(in_cut(self._resolved(address.upto), address.upto.time))
        if address.after is not None:
            parts.append(~in_cut(self._resolved(address.after), address.after.time))
        if address.position is not None:
            parts.append(pl.col("position") == address.position)
        if address.event_id is not None:
            parts.append(pl.col("event_id") == address.event_id)
        fits = added.select(hit=reduce(and_, parts) & pl.col("position").is_not_null())["hit"]
        if address.where is None or not fits.any():
            return fits
        return fits & holding(added, address.where)

    def _conditions(self, address: EventAddress) -> EventFilter:
        """Return the conditions of an address on recorded events, except on their ids and payloads."""
        uptos, afters = [], []
        if address.upto is not None:
            uptos.append(self._resolved(address.upto))
        if address.after is not None:
            afters.append(self._resolved(address.after))
        if address.position is not None:
            uptos.append(address.position)
            afters.append(address.position - 1)
        timeline = Timeline(
            log=self.snapshot,
            selections=(address.selection,),
            upto_position=min(uptos, default=None),
            after_position=max(afters, default=None),
        )
        return EventFilter.of(timeline, rule=self.snapshot.rule)

    def _resolved(self, cutoff: Cutoff) -> int:
        try:
            found = self.snapshot.resolve(cutoff, stale=True)
        except BeforeFirstEvent:
            return -1
        return -1 if found is None else found

    def _of_all(self) -> EventFilter:
        return EventFilter((), upto=None, after=None, system=False, rule=self.snapshot.rule)

    def _of_streams(self, streams: pl.Series) -> EventFilter:
        """Return conditions that restrict to streams, if these are few enough to list."""
        if len(streams) > 50:
            return self._of_all()
        return replace(self._of_all(), clauses=(tuple(Names("stream", name, literal=True) for name in streams.to_list()),))

    def _whole(self, found: pl.DataFrame) -> pl.DataFrame:
        """Return all columns of recorded events that are still there, given their keys and streams."""
        if not found.height:
            return _NO_EVENTS
        positions = found["position"].to_numpy()
        upto, after = int(positions.max()), int(positions.min()) - 1
        conditions = replace(self._of_streams(found["stream"].unique()), upto=upto, after=after)
        return self._read(f"{_WHOLE} SEMI JOIN {_NAMES} USING (position, prepare_position)", conditions, names=found.select(KEY))

    def _read(
        self, sql: str, conditions: EventFilter, *, files: Sequence[DataFile] | None = None, names: pl.DataFrame | None = None
    ) -> pl.DataFrame:
        """Query the recorded events that no edit has removed or moved."""
        asked = conditions.files(self.snapshot.files) if files is None else files
        layer = Layer(self.before.dropped, self.before.gone, _NOTHING.added).between(conditions.after, conditions.upto)
        relation = self.snapshot.queries.relation(
            sql,
            files=asked,
            conditions=conditions.unproven(asked),
            layer=layer,
            tables=None if names is None else {_NAMES: names.to_arrow()},
        )
        with self.snapshot.queries.translated(asked):
            return pl.DataFrame(relation.to_arrow_table(_ROWS))


def _said(overlay: Overlay, edit: Edit, matched: int, *notes: str, cascaded: int = 0) -> Overlay:
    said = notes if matched else (*notes, "matches no event")
    return replace(overlay, effects=(*overlay.effects, Effect(edit, matched, cascaded, said)))


def _numbered(added: pl.DataFrame) -> pl.DataFrame:
    """Number the events: those not moved keep their place, the others come after all recorded events of their position, by time."""
    inserted = pl.col("_was") == "inserted"
    moves = inserted | (pl.col("recorded_ticks") != pl.col("_home_ticks"))
    still = added.filter(~moves).with_columns(
        position="_home", prepare_position="_home_prepare", sequence=pl.lit(0, dtype=pl.Int64), origin="_was"
    )
    moved = (
        added.filter(moves)
        .sort("position", "recorded_ticks", "_rank", "_home", "_home_prepare", inserted, maintain_order=True)
        .with_columns(sequence=pl.int_range(1, pl.len() + 1).over("position"))
        .with_columns(
            prepare_position=pl.col("_base") + pl.col("sequence"),
            origin=pl.when(inserted).then(pl.lit("inserted")).otherwise(pl.lit("retimed")),
        )
    )
    return pl.concat([still, moved])


def _unless_inserted(word: str) -> pl.Expr:
    return pl.when(pl.col("_was") == "inserted").then(pl.lit("inserted")).otherwise(pl.lit(word))


def _metadata(text: str) -> dict[str, Any]:
    """Return the columns of an event's metadata."""
    correlation_id, causation_id = trace_ids(text)
    return {"metadata": text, "metadata_bytes": None, "correlation_id": correlation_id, "causation_id": causation_id}


def _batches(files: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    batch: list[DataFile] = []
    for file in files:
        batch.append(file)
        if sum(one.rows for one in batch) >= _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
