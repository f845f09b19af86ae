"""An index from entity keys to streams, for projections whose key is in the events.

The index depends only on how a projection finds its keys. It lists the streams in which each key occurs, so that a question for one entity
reads those streams and not the payloads of all events. ``materialise`` makes the index, and exports bring it up to
date; questions never write. A question searches the events that came after the index, or all of them where there is no index. The index
is bound to the lake, and a damaged one counts as absent. It may name too many streams, as edits and cutoffs take events away, but never
too few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from workbench.errors import LakeError
from workbench.events import CategoryRule
from workbench.fold.entity_scope import mention_of, mentioned
from workbench.fold.event_by_event.plan_fold import keyed
from workbench.fold.vectorised.extraction_layout import ExtractionLayout
from workbench.fold.vectorised.handler_matching import HandlerMatcher, Matches, Rows, keys_of
from workbench.lake.files.file_writer import ROW_GROUP_ROWS
from workbench.lake.files.format import DataFile
from workbench.lake.files.location import Location
from workbench.lake.json_paths import is_reachable
from workbench.lake.reading.query import Queries
from workbench.lake.reading.snapshot import Snapshot
from workbench.materialised import fold_point
from workbench.materialised.fold_point import FoldPoint
from workbench.materialised.stored_file import FOLDER, FilePart, Moment, StoredFiles, Unusable
from workbench.materialised.stored_plan import plan_from_json, plan_to_json
from workbench.projection import plan as ir
from workbench.projection.evaluation import places
from workbench.projection.fingerprint import fingerprint
from workbench.projection.rows import ROW
from workbench.timeline import RecordedLog, Timeline
from workbench.timeline.extraction import Chunk

_FEW = 100
"""Look up at most this many streams by name."""

_LIKE_A_SEARCH = 30
"""Looking up this many streams takes as long as searching the payloads of the same rows, as each row is compared with each name."""

_EVENTS_OF_A_STREAM = 2.0
"""An index needs at least this many events for each pair of key and stream to be worth its size."""

_ROWS = 1_000_000
"""Approximate maximum number of rows in a file."""

_UNDECIDED = ""
"""The key of events that cannot be read or upcast, and so may be about any entity. No real key is empty."""

_SCHEMA = pl.Schema({"key": pl.String(), "stream": pl.String()})


def streams_about(plan: ir.Plan, timeline: Timeline, keys: Sequence[str], *, searches: bool = False) -> set[str] | None:
    """Return the streams that may hold events about some entities, and no fewer; None if unknown or too many.

    Parameters
    ----------
    timeline
        Any history; of one that goes on beyond some position only what comes after it counts.
    searches
        Whether to look through the events, once for each key, where there is no index.
    """
    index = _Index.of(plan, timeline)
    found = None if index is None else index.streams(timeline, keys)
    if found is None and searches and _says_keys(plan):
        recorded = Timeline(log=timeline.log, upto_position=timeline.upto_position, after_position=timeline.after_position)
        asked = ((key, batch) for key in keys for batch in streams_by_key(_keys_alone(plan), recorded, key=key))
        found = {stream for key, batch in asked for stream in batch.filter(pl.col("key").is_in([key, _UNDECIDED]))["stream"]}
    if found is None:
        return None
    if timeline.edits:
        put = timeline.log.added(timeline).filter(pl.col("category").is_in(plan.categories))
        conditions = [mentioned(plan, key) for key in keys]
        known = [condition for condition in conditions if condition is not None]
        found |= set((put.filter(pl.any_horizontal(known)) if len(known) == len(conditions) else put)["stream"])
    return found if len(found) <= _FEW else None


def write_index(plan: ir.Plan, timeline: Timeline) -> None:
    """Make or update the index of a plan's keys in a timeline's lake, if that saves searching many events.

    Needs the right to write.
    """
    index = _Index.of(plan, timeline)
    if index is not None:
        index.bring_up_to_date(checks=True)


def keep_up(place: Location) -> None:
    """Update the indexes of a lake that lack many events, unless the lake is read-only, full or locked."""
    if place.directory is None or not (place.directory / FOLDER).is_dir():
        return
    with suppress(LakeError, OSError):
        for rule in get_args(CategoryRule):
            snapshot = Snapshot.newest(place, rule=rule, queries=Queries(place, rule=rule))
            stored = StoredFiles.of(snapshot)
            assert stored is not None
            for manifest in stored.all():
                plan = plan_from_json(manifest.plan)
                index = None if plan is None else _Index.of(replace(plan, name=manifest.name), Timeline(log=snapshot))
                if index is not None and index.point.key == manifest.key and index.is_far_behind:
                    with stored.writing(wait=False):
                        index.bring_up_to_date(checks=False)


@dataclass(frozen=True, slots=True)
class _Index:
    """An index of keys, written or not. ``keys`` is the plan reduced to its key expressions."""

    point: FoldPoint
    keys: ir.Plan
    name: str

    @classmethod
    def of(cls, plan: ir.Plan, timeline: Timeline) -> _Index | None:
        """Return the index for a plan; None if its lake cannot hold one."""
        point = index_point(plan, timeline)
        return None if point is None or point.key is None else cls(point, _keys_alone(plan), plan.name)

    @property
    def snapshot(self) -> RecordedLog:
        return self.point.snapshot

    def streams(self, timeline: Timeline, keys: Sequence[str]) -> set[str] | None:
        """Return the streams in which events about some entities were recorded; None if there is no useful index."""
        end = self.snapshot.last_position() if timeline.upto_position is None else timeline.upto_position
        recorded = Timeline(log=self.snapshot, upto_position=end, after_position=timeline.after_position)
        if end is None or self._looked_through(recorded) < fold_point.WORTH_KEEPING:
            return None
        moment = self._there()
        found = self._read(moment, keys)
        if moment is None or found is None:
            return None
        rest = _since(moment, recorded)
        if self._looked_through(rest):
            wanted = pl.col("key").is_in([*keys, _UNDECIDED])
            for batch in streams_by_key(self.keys, rest, key=keys[0] if len(keys) == 1 else None):
                found.update(batch.filter(wanted)["stream"])
        return found if self._saves(found, recorded) else None

    def _saves(self, streams: set[str], recorded: Timeline) -> bool:
        """Whether looking up streams is faster than searching all payloads."""
        if len(streams) > _FEW or mention_of(self.keys, "") is None:
            return len(streams) <= _FEW
        plan_from_json = 0
        for file in self._files(recorded):
            here = sum(file.least_stream <= stream <= file.greatest_stream for stream in streams)
            plan_from_json += min(file.rows, here * ROW_GROUP_ROWS)
        return plan_from_json * len(streams) <= _LIKE_A_SEARCH * self._looked_through(recorded)

    @property
    def is_far_behind(self) -> bool:
        """Whether enough events came after the index, or after it was found not worthwhile, to write it."""
        moment, rows = self._there(), sum(file.rows for file in self.snapshot.files)
        if moment is not None and not moment.parts:
            return rows >= 2 * moment.events
        return rows - (0 if moment is None else moment.events) >= fold_point.WORTH_KEEPING

    def _looked_through(self, timeline: Timeline) -> int:
        """Return about how many events a search for keys in this part of the log reads."""
        return sum(file.rows for file in self._files(timeline))

    def _files(self, timeline: Timeline) -> list[DataFile]:
        after, last = -1 if timeline.after_position is None else timeline.after_position, timeline.upto_position
        assert last is not None
        return [file for file in self.snapshot.files if last > after and file.last_position > after and file.first_position <= last]

    def _there(self) -> Moment | None:
        manifest = self.point.find()
        return None if manifest is None else manifest.moments[0]

    def _read(self, moment: Moment | None, keys: Sequence[str]) -> set[str] | None:
        """Return the streams with events about some entities up to a moment; None if the index does not say."""
        if moment is None or not moment.parts:
            return None
        assert self.point.key is not None
        asked = sorted({*keys, _UNDECIDED})
        parts = [part for part in moment.parts if any(part.least_key <= key <= part.greatest_key for key in asked)]
        where = pc.field("key").isin(pa.array(asked, pa.large_string()))
        with suppress(Unusable):
            return set(self.point.stored.read_rows(self.point.key, parts, columns=["stream"], schema=_SCHEMA, where=where)["stream"])
        return None

    def bring_up_to_date(self, *, checks: bool) -> None:
        """Write the missing part of the index. The caller holds the lock.

        Parameters
        ----------
        checks
            Whether to read all files of the index, and to make it anew if one is damaged.
        """
        before, last = self._there(), self.snapshot.last_position()
        if last is None or ((before is None or not before.parts) and not self.is_far_behind):
            return
        if before is not None and before.parts:
            with suppress(Unusable):
                if checks:
                    self._check(before)
                if before.position < last:
                    self._write(last, before=before)
                return
        self._write(last, before=None)

    def _check(self, moment: Moment) -> None:
        assert self.point.key is not None
        self.point.stored.check(self.point.key, moment.files)

    def _write(self, last: int, *, before: Moment | None) -> None:
        """Write the index up to the end of the log. If it is not worthwhile, writes only a manifest, so that nobody tries again at once."""
        stored, key, moment = self.point.stored, self.point.key, self.point.moment_at(last)
        assert key is not None
        assert moment is not None
        kept = sorted(() if before is None else before.parts, key=lambda part: part.rows)
        added: list[FilePart] = []
        pays = True
        try:
            since = Timeline(log=self.snapshot, after_position=None if before is None else before.position)
            for fresh in _gathered(streams_by_key(self.keys, since)):
                rows = fresh
                # A file that is not much larger than its newer rows is rewritten with them, which keeps the number of files small.
                while kept and kept[0].rows <= min(2 * rows.height, _ROWS):
                    more = stored.read_rows(key, [kept.pop(0)], columns=_SCHEMA.names(), schema=_SCHEMA)
                    rows = pl.concat([rows, more]).unique()
                added.append(stored.write_keys(key, rows.sort("key")))
                pays = sum(part.rows for part in (*kept, *added)) * _EVENTS_OF_A_STREAM <= moment.events
                if not pays:
                    break
            moment = replace(moment, parts=(*kept, *added) if pays else ())
            stored.swap(key, name=self.name, kind="keys", moments=(moment,), plan=plan_to_json(self.keys) or "")
        except BaseException:
            stored.discard(key, added)
            raise


def _gathered(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Combine batches into larger ones without duplicate rows. Skips empty ones."""
    rows = pl.DataFrame(schema=_SCHEMA)
    for batch in batches:
        rows = pl.concat([rows, batch])
        if rows.height >= _ROWS:
            rows = rows.unique()
            if rows.height >= _ROWS // 2:
                yield rows
                rows = rows.clear()
    if rows.height:
        yield rows.unique()


def _since(moment: Moment, recorded: Timeline) -> Timeline:
    """Return the part of a recorded timeline after a moment."""
    return replace(
        recorded, after_position=moment.position if recorded.after_position is None else max(moment.position, recorded.after_position)
    )


def index_point(plan: ir.Plan, timeline: Timeline) -> FoldPoint | None:
    """Return the place of the index that a plan shares with all plans of the same keys; None if there can be none."""
    if not _says_keys(plan):
        return None
    meaning = fingerprint(_keys_alone(plan))
    return FoldPoint.named(None if meaning is None else f"keys {meaning}", timeline.log)


def _says_keys(plan: ir.Plan) -> bool:
    """Whether all keys are in events at paths that an extraction can read, and none comes from a stream's name."""
    if any(branch.key is None for handled in plan.types for branch in handled.branches):
        return False
    # A path that cannot be extracted is read event by event, which takes too long for a whole log.
    return plan.python_only or all(is_reachable(path.steps) for path in places(_keys_alone(plan).types))


def _keys_alone(plan: ir.Plan) -> ir.Plan:
    """Return a plan that only finds keys: the same ones, and possibly keys of further events."""

    def alone(handled: ir.HandledType) -> ir.HandledType:
        anything = (ir.Handler(None, ()),)
        branches = tuple(replace(branch, handlers=anything) for branch in handled.branches)
        if not handled.lifts:
            branches = tuple(replace(branch, type=handled.type) for branch in branches)
            if len({branch.key for branch in branches}) == 1:  # all branches give the same key
                branches = (replace(branches[0], condition=None),)
        return replace(handled, branches=branches)

    # If any field is decimal, upcasters written in Python get numbers with their text.
    exact = any("decimal" in (field.kind.name, field.kind.element and field.kind.element.name) for field in plan.fields)
    fields = (ir.Field("number", ir.Kind("decimal", precision=1)),) if exact and plan.python_only else ()
    return ir.Plan("keys", tuple(sorted(plan.categories)), fields, tuple(map(alone, plan.types)), creates=False)


def streams_by_key(plan: ir.Plan, timeline: Timeline, *, key: str | None = None) -> Iterator[pl.DataFrame]:
    """Yield the keys of events with their streams, possibly repeated; at least those of one entity, if it is given.

    The key is empty where it cannot be told. The plan is one that has keys alone.
    """
    if plan.python_only:
        batches = timeline.categories(*plan.categories).events().select(ROW).collect_batches(maintain_order=True)
        yield from (batch.select(_SCHEMA.names()).unique() for batch in keyed(plan, batches))
        return
    layout = ExtractionLayout.of(plan, key=key)
    asked = replace(layout.extraction, columns=tuple(sorted({"stream", *layout.columns})))
    decider = HandlerMatcher(plan, layout)
    with closing(timeline.log.extract(timeline, asked).chunks()) as chunks:
        for chunk in chunks:
            decisions, _ = decider.decide(chunk)
            yield _decided(chunk, decisions)


def _decided(chunk: Chunk, decisions: Matches) -> pl.DataFrame:
    streams = pl.Series("stream", chunk.rows.column("stream"))
    texts = _distinct(streams, decisions.json_keys)
    named = texts.with_columns(keys_of(texts["key"]).alias("key"))
    unread = pl.DataFrame({"stream": streams.gather(decisions.unreadable)}).select(pl.lit(_UNDECIDED).alias("key"), "stream")
    return pl.concat([named, _distinct(streams, decisions.keys), unread]).drop_nulls()


def _distinct(streams: pl.Series, found: list[tuple[Rows, pl.Series]]) -> pl.DataFrame:
    """Return the distinct pairs of key and stream of rows."""
    if not found:
        return pl.DataFrame(schema=_SCHEMA)
    keys = pl.concat([keys for _, keys in found])
    at = np.full(len(streams), -1, dtype=np.int64)
    at[np.concatenate([rows for rows, _ in found])] = np.arange(len(keys))
    # Neighbouring rows mostly share stream and key. Comparing neighbours first leaves few rows to hash.
    rows = np.flatnonzero(at >= 0)
    frame = pl.DataFrame({"key": keys.gather(at[rows]), "stream": streams.gather(rows)}, schema=_SCHEMA).drop_nulls()
    again = pl.all_horizontal(pl.all() == pl.all().shift(1)).fill_null(value=False)
    return frame.filter(~again).unique()
