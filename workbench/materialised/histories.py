"""Materialised histories of projections and snapshots of folds: kept in the lake, used without being asked for, removable.

``materialise`` makes them, and nothing else does; ``state``, ``rebuild``, ``history``, ``first`` and ``diff`` then read them, fold only
what came after, and bring them up to date when that has become much. The state of a fold goes on from its last snapshot before the end, its
history from the last one before ``after``. They stand for one lake, one meaning of a projection with its upcasters, and one version of the
engines; whatever else is asked is replayed, as if they were not there. Answers are the same bit for bit.

Where a projection's key stands in the events of a large lake, ``materialise`` also makes an index of keys
(``workbench.materialised.key_index``), by which questions for one entity find its events. Exports bring it up to date.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from workbench.display import card, in_bytes
from workbench.errors import LakeError, UsageError
from workbench.events import Cutoff
from workbench.fold import vectorised
from workbench.fold.dispatch import replay
from workbench.fold.event_by_event.function_fold import Fold
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.event_columns import with_event_columns
from workbench.fold.resolve import Source, Subject, folded_from_the_start, subject_of
from workbench.fold.results import history_schema, state_of_versions
from workbench.lake.lake import Lake
from workbench.materialised.fold_point import FoldPoint, KeptState, is_plain, may_be_kept
from workbench.materialised.key_index import index_point, streams_about, write_index
from workbench.materialised.snapshots import continued, kept_snapshot
from workbench.materialised.stored_file import FilePart, Kind, Manifest, Moment, StoredFiles, Unusable
from workbench.projection.fields import storable
from workbench.projection.plan import Plan
from workbench.timeline import Timeline

_ROWS: dict[Kind, str] = {"history": "Versions", "snapshots": "States", "keys": "Keys and streams"}
_SMALL = 250_000
"""A file with fewer versions is rewritten together with newer ones, which keeps the number of files small."""


@dataclass(frozen=True, slots=True)
class Materialised:
    """Data of a projection or fold that is stored in a lake.

    Attributes
    ----------
    name
        The name of the projection or fold.
    kind
        ``"history"``: every version of every entity; ``"snapshots"``: the states of a fold at some moments; ``"keys"``: an index of the
        streams in which events with a key stand.
    positions
        Up to which events of the log: one position of a history or an index, of snapshots each.
    rows, bytes
        Versions, states, or keys with a stream each, and what they take on the disk.
    """

    name: str
    kind: Kind
    positions: tuple[int, ...]
    rows: int
    bytes: int
    made_at: datetime
    folder: str
    _stored: StoredFiles = field(repr=False)

    def _repr_html_(self) -> str:
        values = {
            _ROWS[self.kind]: self.rows,
            "Position": str(self.positions[-1]) if self.positions else None,
            "On disk": in_bytes(self.bytes),
            "Made (UTC)": self.made_at,
        }
        return card(f"Materialised {self.kind}", values, place=self.name)._repr_html_()

    def remove(self) -> None:
        """Delete it. A question that is reading it at this moment folds the events instead."""
        with self._stored.writing(wait=True):
            self._stored.remove(self.folder)


def materialise(projection: Source, lake: Lake | Timeline, *, errors: OnError = "raise") -> Materialised:
    """Store the whole history of a projection, or a snapshot of a fold, in the lake. Questions about it then read it instead of folding.

    What is stored already is brought up to date, and made anew if it is damaged. The function waits for another process that is writing.

    If a projection's key is in the events, and the lake holds 100,000 events or more, an index of keys is stored too: which streams have
    events about which entity. `steps` and the `diff` of a what-if use it, and without the history all questions about one entity do.
    Exports bring it up to date.

    Parameters
    ----------
    projection
        A class that extends `Projection`, a `Fold`, or the name of a category, as in `state`. Python functions need a ``version``.
    lake
        A lake on this machine's file system, or its timeline up to a moment. A snapshot of a fold at such a moment stays; the one at the
        end of the log is replaced by that at a later end.
    errors
        ``"raise"`` stops at the first value that does not fit its field. ``"collect"`` leaves such events out. A question with the other
        choice that meets such an event folds instead.

    Returns
    -------
    Materialised
        What is stored: its kind, positions, rows and bytes. ``remove()`` deletes it.

    Raises
    ------
    UsageError
        The timeline is a part of the history, the lake is in an object store or has no events, or a Python function has no ``version``.
    LakeError
        The lake cannot be written, or no space is left.
    ValueDoesNotFit
        A value does not fit its field, or a stream's name has no key.

    Examples
    --------
    >>> from workbench.sample.projections import User
    >>> found = wb.materialise(User, wb.open("data/demo"))
    >>> found.kind, found.rows
    ('history', 8139)
    """
    timeline = lake.timeline if isinstance(lake, Lake) else lake
    subject = subject_of(projection, timeline)
    whole = folded_from_the_start(timeline, subject, question="materialise")
    point = FoldPoint.of(subject, whole)
    if point is None:
        where = f"{whole.log.path}, an object store" if is_plain(whole) else f"a part of the history ({whole})"
        raise UsageError(f"materialise() keeps whole histories in a lake on this machine's file system, and this is {where}.")
    if point.key is None:
        raise UsageError(f"{subject.name} has a Python function, whose meaning nobody can tell: name it with version= to materialise it.")
    if whole.position is None:
        raise UsageError(f"There is nothing to materialise: the lake {whole.log.path} holds no events up to there.")
    with point.stored.writing(wait=True):
        if isinstance(subject, Fold):
            manifest = kept_snapshot(point, subject, whole, errors=errors)
        else:
            manifest = _kept_history(point, subject, whole, errors=errors, checks=True)
            write_index(subject, whole)
    return _described(manifest, point.stored)


def list_materialised(lake: Lake | Timeline, projection: Source | None = None) -> list[Materialised]:
    """Return what is materialised in a lake.

    Parameters
    ----------
    lake
        The lake, or a timeline of it.
    projection
        Only what belongs to this projection or fold. An index of keys has the name of the projection that made it, and belongs to all
        projections that find their keys in the same way.

    Returns
    -------
    list[Materialised]
        Sorted by name. ``remove()`` deletes one.

    Examples
    --------
    >>> from workbench.sample.projections import Room
    >>> lake = wb.open("data/demo")
    >>> _ = wb.materialise(Room, lake)
    >>> [(one.name, one.kind) for one in wb.list_materialised(lake, Room)]
    [('Room', 'history')]
    """
    timeline = lake.timeline if isinstance(lake, Lake) else lake
    stored = StoredFiles.of(timeline.log)
    if stored is None:
        return []
    found = stored.all()
    if projection is not None:
        subject = subject_of(projection, timeline)
        plain = Timeline(log=timeline.log)
        points = [FoldPoint.of(subject, plain), None if isinstance(subject, Fold) else index_point(subject, plain)]
        found = [one for one in found if one.key in {point.key for point in points if point is not None}]
    return [_described(one, stored) for one in found]


def state_of(subject: Subject, timeline: Timeline, *, key: str | None = None, errors: OnError = "raise") -> pl.DataFrame:
    """Return the state at the end of a timeline, as ``resolve.folded`` gives it: from materialised data, or by a replay."""
    found = kept_answer(subject, timeline, key=key, errors=errors)
    return replay(subject, timeline, key=key, index=streams_about, errors=errors, counted=False).state if found is None else found.state


def history_of(
    plan: Plan,
    timeline: Timeline,
    *,
    key: str | None = None,
    keys: pl.Series | None = None,
    since: int | None = None,
    errors: OnError = "raise",
) -> pl.DataFrame:
    """Return every version up to the end of a timeline in the same way. May leave out versions that ended by the position ``since``.

    With ``keys``, which are names of one category's streams, only the versions of these entities.
    """
    found = kept_versions(plan, timeline, key=key, keys=keys, since=since, errors=errors)
    if found is None:
        found = replay(plan, timeline, key=key, keys=keys, index=streams_about, history=True, errors=errors, counted=False).history
        assert found is not None
    return found


def kept_answer(subject: Subject, timeline: Timeline, *, key: str | None = None, errors: OnError = "raise") -> KeptState | None:
    """Return the state at the end of a timeline from materialised data; None if that cannot answer.

    With it comes what became of the events, if that is kept: for all entities, at the moment up to which they are kept and after it. Of a
    what-if, what lies before the first event that edits touch is read, and the rest is folded; nothing of it is kept.
    """
    if timeline.edits:
        return _forked(subject, timeline, key=key, errors=errors)
    if isinstance(subject, Fold):
        return continued(subject, timeline, key=key, errors=errors)
    with suppress(Unusable):
        found = _History.of(subject, timeline, is_of_all=key is None, errors=errors)
        return None if found is None else found.answer(key)
    return None


def _forked(subject: Subject, timeline: Timeline, *, key: str | None, errors: OnError) -> KeptState | None:
    plain = replace(timeline, edits=())
    if not _is_kept(subject, plain):  # checked first, as working out what the edits touch is expensive
        return None
    touched = timeline.log.first_touched(timeline)
    if touched is None:  # no edit is about an event of this timeline
        return kept_answer(subject, plain, key=key, errors=errors)
    last = touched - 1
    before = replace(plain, cutoff=Cutoff(position=max(last, 0)), upto_position=last)
    if isinstance(subject, Fold):
        return continued(subject, timeline, upto=last, key=key, errors=errors)
    found = kept_answer(subject, before, key=key, errors=errors) if last >= 0 else None
    if found is None:
        return None
    result = replay(subject, replace(timeline, after_position=last), key=key, index=streams_about, initial=found.state, errors=errors)
    counts = None if found.counts is None else found.counts + result.counts
    failures = None if found.failures is None else pl.concat([found.failures, result.failures])
    return KeptState(result.state, counts, failures)


def _is_kept(subject: Subject, timeline: Timeline) -> bool:
    """Whether a subject is materialised."""
    if not may_be_kept(timeline):
        return False
    points = [FoldPoint.of(subject, timeline), None if isinstance(subject, Fold) else FoldPoint.of(subject, timeline, traced=True)]
    return any(point is not None and point.find() is not None for point in points)


def kept_versions(
    plan: Plan,
    timeline: Timeline,
    *,
    key: str | None = None,
    keys: pl.Series | None = None,
    since: int | None = None,
    errors: OnError = "raise",
) -> pl.DataFrame | None:
    """Return every version from materialised data, as a replay's ``history``; None if that cannot answer.

    Parameters
    ----------
    keys
        Only these entities; there may be many.
    since
        What had ended by this position is left out.
    """
    with suppress(Unusable):
        found = _History.of(plan, timeline, is_of_all=key is None and keys is None, errors=errors)
        asked = [key] if key is not None else None if keys is None else keys.to_list()
        return None if found is None else found.versions(asked, since=-1 if since is None else since)
    return None


@dataclass(frozen=True, slots=True)
class _History:
    """A materialised history, and the versions of ``plan`` that a question needs of it, up to ``end``."""

    point: FoldPoint
    manifest: Manifest
    plan: Plan
    traced: Plan
    timeline: Timeline
    end: int
    errors: OnError

    @classmethod
    def of(cls, plan: Plan, timeline: Timeline, *, is_of_all: bool, errors: OnError) -> _History | None:
        snapshot, end = timeline.log, timeline.position
        if end is None or not may_be_kept(timeline):
            return None
        # A question that needs event columns gives the materialised plan; one for versions alone gives the plan without them.
        for traced, is_traced in ((with_event_columns(plan)[0], False), (plan, True)):
            point = FoldPoint.of(plan, timeline, traced=is_traced)
            manifest = None if point is None else point.find()
            if point is None or manifest is None:
                continue
            last = snapshot.last_position()
            assert last is not None
            [moment] = manifest.moments
            if end == last > moment.position and is_of_all and point.is_far_behind(moment):
                # If the lake is read-only, full or locked, the new events are folded for this question only.
                with suppress(LakeError, OSError), point.stored.writing(wait=False):
                    manifest = _kept_history(point, plan, timeline, errors=errors, traced=traced)
            if end == last < manifest.moments[0].position:
                return None  # an older version of the lake may end inside a transaction
            found = cls(point, manifest, plan, traced, timeline, end, errors)
            return None if found._fails else found
        return None

    @property
    def _fails(self) -> bool:
        """Whether the question must stop at a failed event."""
        failure = self._moment.first_failure
        return self.errors == "raise" and failure is not None and failure <= self.end

    @property
    def _moment(self) -> Moment:
        return self.manifest.moments[0]

    @property
    def _tail(self) -> Timeline | None:
        """The events after the materialised ones, if the question reaches them."""
        return replace(self.timeline, after_position=self._moment.position) if self.end > self._moment.position else None

    def answer(self, key: str | None) -> KeptState:
        now = min(self.end, self._moment.position)
        keys = None if key is None else [key]
        parts = [one for one in self._about(keys) if one.first_from <= now and (one.last_to is None or one.last_to > now)]
        ends = pc.field("valid_to_position")
        where = (pc.field("valid_from_position") <= now) & (ends.is_null() | (ends > now))
        own = ("key", *(one.name for one in self.plan.fields), "revision", "event_count", "valid_from_position", "valid_from")
        state, result = state_of_versions(self._read(parts, keys, where, columns=own), self.plan), None
        if self._tail is not None:
            result = replay(self.plan, self._tail, key=key, index=streams_about, initial=state, errors=self.errors)
            state = result.state
        return self.point.answer(self._moment, result, state=state, end=self.end, key=key)

    def versions(self, keys: list[str] | None, *, since: int) -> pl.DataFrame:
        parts = [one for one in self._about(keys) if one.first_from <= self.end and (one.last_to is None or one.last_to > since)]
        ends = pc.field("valid_to_position")
        where = None if since < 0 else ends.is_null() | (ends > since)
        if self._tail is None:
            begun = pc.field("valid_from_position") <= self.end
            rows = self._read(parts, keys, begun if where is None else begun & where)
            later = pl.col("valid_to_position") > self.end
            found = rows.with_columns(pl.when(~later).then(pl.col(name)).alias(name) for name in ("valid_to_position", "valid_to"))
        else:
            ended = self._read([one for one in parts if not one.is_open], keys, where)
            going_on = self._read([one for one in parts if one.is_open], keys, None)
            one, many = (None, None) if keys is None else (keys[0], None) if len(keys) == 1 else (None, pl.Series(keys))
            rest = replay(
                self.traced, self._tail, key=one, keys=many, index=streams_about, initial=going_on, history=True, errors=self.errors
            ).history
            assert rest is not None
            found = pl.concat([ended, rest])
        ordered = found.sort("key", "valid_from_position", self.traced.fields[-1].name)
        return ordered.select(history_schema(self.plan).names())

    def _about(self, keys: list[str] | None) -> list[FilePart]:
        if keys is None:
            return list(self._moment.parts)
        asked = [key for key in keys if storable(key)]
        least, greatest = min(asked, default=""), max(asked, default="")
        return [one for one in self._moment.parts if asked and one.least_key <= greatest and least <= one.greatest_key]

    def _read(
        self, parts: list[FilePart], keys: list[str] | None, where: pc.Expression | None, *, columns: tuple[str, ...] | None = None
    ) -> pl.DataFrame:
        schema = history_schema(self.traced)
        if keys is not None and parts:
            named = pa.array(keys, pa.large_string())
            mine = pc.field("key") == named[0] if len(keys) == 1 else pc.field("key").isin(named)
            where = mine if where is None else mine & where
        return self.point.stored.read_rows(self.manifest.key, parts, columns=columns or schema.names(), schema=schema, where=where)


def _kept_history(
    point: FoldPoint, plan: Plan, timeline: Timeline, *, errors: OnError, traced: Plan | None = None, checks: bool = False
) -> Manifest:
    """Write the missing part of the history up to the end of a timeline. The caller holds the lock."""
    assert point.key is not None
    assert timeline.position is not None
    traced = with_event_columns(plan)[0] if traced is None else traced
    manifest = point.find()
    if manifest is not None:
        try:
            if checks:
                point.stored.check(point.key, manifest.files)
            [moment] = manifest.moments
            if errors == "collect" or moment.first_failure is None:
                if moment.position >= timeline.position:
                    return manifest
                return _written(point, traced, timeline, before=moment, name=plan.name, errors=errors)
        except Unusable:
            pass
    return _written(point, traced, timeline, before=None, name=plan.name, errors=errors)


def _written(point: FoldPoint, traced: Plan, timeline: Timeline, *, before: Moment | None, name: str, errors: OnError) -> Manifest:
    assert point.key is not None
    schema, stored, key = history_schema(traced), point.stored, point.key
    kept = () if before is None else before.parts
    large = [one for one in kept if not one.is_open and one.rows >= _SMALL]
    small = [one for one in kept if not one.is_open and one.rows < _SMALL]
    with _Writing.into(stored, key) as writing:
        writing.take(stored.read_rows(key, small, columns=schema.names(), schema=schema))
        tail, initial = timeline, None
        if before is not None:
            going_on = [one for one in kept if one.is_open]
            tail = replace(timeline, after_position=before.position)
            initial = stored.read_rows(key, going_on, columns=schema.names(), schema=schema)
        if vectorised.supports(traced):
            found = vectorised.versions(traced, tail, initial=initial, errors=errors)
            for batch in found:
                writing.take(batch)
            result = found.result
        else:
            result = replay(traced, tail, initial=initial, history=True, errors=errors)
            assert result.history is not None
            writing.take(result.history)
        assert result is not None
        moment = point.moment(timeline, before=before, result=result, parts=(*large, *writing.finish()))
        writing.count(moment.files, besides=() if before is None else before.files)
        return stored.swap(key, name=name, kind="history", moments=(moment,))


class _Writing:
    """Writes versions into files, with ended and current versions apart."""

    def __init__(self, stored: StoredFiles, key: str) -> None:
        self._stored = stored
        self._key = key
        self._parts: list[FilePart] = []
        self._ended: list[pl.DataFrame] = []
        self._open: list[pl.DataFrame] = []

    @classmethod
    @contextmanager
    def into(cls, stored: StoredFiles, key: str) -> Iterator[_Writing]:
        """Begin writing. If it fails before a manifest names the files, removes them."""
        writing = cls(stored, key)
        try:
            yield writing
        except BaseException:
            stored.discard(key, writing._parts)
            raise

    def take(self, rows: pl.DataFrame) -> None:
        """Write versions, those of an entity in log order."""
        ended = pl.col("valid_to_position").is_not_null()
        self._ended.append(rows.filter(ended))
        self._open.append(rows.filter(~ended))
        if sum(one.height for one in self._ended) >= _SMALL:
            self._flush()

    def count(self, files: tuple[FilePart, ...], *, besides: tuple[FilePart, ...]) -> None:
        """Adopt files written elsewhere, except those that existed before."""
        self._parts = [one for one in files if one not in besides]

    def finish(self) -> tuple[FilePart, ...]:
        """Write the remaining versions, and return the files."""
        self._flush()
        if self._open:
            self._write(pl.concat(self._open))
        return tuple(self._parts)

    def _flush(self) -> None:
        """Write ended versions. The few that began before any of them ended go into a file of their own: a moment reads one other."""
        if not self._ended:
            return
        rows = pl.concat(self._ended)
        self._ended.clear()
        if rows.height < _SMALL:
            self._write(rows)
            return
        early = pl.col("valid_from_position") < rows["valid_to_position"].min()
        self._write(rows.filter(early))
        self._write(rows.filter(~early))

    def _write(self, rows: pl.DataFrame) -> None:
        if rows.height:
            self._parts.append(self._stored.write_versions(self._key, rows.sort("key", maintain_order=True)))


def _described(manifest: Manifest, stored: StoredFiles) -> Materialised:
    return Materialised(
        name=manifest.name,
        kind=manifest.kind,
        positions=tuple(moment.position for moment in manifest.moments),
        rows=sum(part.rows for moment in manifest.moments for part in moment.parts),
        bytes=sum(part.bytes for part in manifest.files),
        made_at=manifest.made_at,
        folder=manifest.key,
        _stored=stored,
    )
