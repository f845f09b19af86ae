"""Materialised histories of projections and snapshots of folds: kept in the lake, used without being asked for, removable.

``materialise`` makes them, and nothing else does; ``state``, ``history``, ``first`` and ``diff`` then read them, fold only what came
after, and bring them up to date when that has become much. They stand for one lake, one meaning of a projection with its upcasters, and
one version of the engines; whatever else is asked is replayed, as if they were not there. Answers are the same bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from workbench.errors import LakeError, ReplayError, UsageError
from workbench.lake.lake import Lake
from workbench.lake.materials import Manifest, Materials, Moment, Part, Unusable, moment_at
from workbench.lake.snapshot import Snapshot
from workbench.projection.fingerprint import fingerprint
from workbench.projection.plan import Plan
from workbench.replay import kernel
from workbench.replay.engine import events_of, replay
from workbench.replay.fold import OnError, fold
from workbench.replay.function import Fold, Folded, fold_function
from workbench.replay.results import history_schema, state_of_versions
from workbench.replay.snapshots import decoded, encoded
from workbench.replay.subject import Source, Subject, folded_from_the_start, subject_of
from workbench.replay.witness import with_witness
from workbench.timeline import Timeline

KEPT_VERSION = 1
"""Raised whenever the engines give something else for the same plan, or other things of it are kept: what is older is not read then."""

WORTH_KEEPING = 100_000
"""New events of the log from which on a question brings what is kept up to date; fewer are folded again each time, which is quicker."""

_SMALL = 250_000
"""Versions below which a file is written anew, together with those that came after, so that there are never many."""

_MOMENTS: dict[tuple[str, str, int, int], Moment | None] = {}
"""What versions of lakes hold up to a position. They never change, and each takes a query."""


@dataclass(frozen=True, slots=True)
class Materialised:
    """Something that is kept in a lake.

    Attributes
    ----------
    name
        Of the projection or fold.
    kind
        ``"history"``: every version of every entity; ``"snapshots"``: the states of a fold at some moments.
    positions
        Up to which events of the log: one position of a history, of snapshots each.
    rows, bytes
        Versions or states, and what they take on the disk.
    """

    name: str
    kind: Literal["history", "snapshots"]
    positions: tuple[int, ...]
    rows: int
    bytes: int
    made_at: datetime
    folder: str
    _materials: Materials = field(repr=False)

    def remove(self) -> None:
        """Delete it. Who is reading it falls back to a replay."""
        with self._materials.writing(wait=True):
            self._materials.remove(self.folder)


def materialise(projection: Source, lake: Lake | Timeline, *, errors: OnError = "raise") -> Materialised:
    """Keep the whole history of a projection, or a snapshot of a fold, in the lake.

    From then on questions about the same projection read it. One that is there already is brought up to date, and made anew where it was
    damaged. Waits for another process that is writing.

    Parameters
    ----------
    lake
        A lake, or its timeline up to some moment: a fold is then continued from there.
    errors
        ``"collect"`` keeps what is there without the events with a value that does not fit; a question that does not say the same, and
        looks at such an event, is then replayed.

    Raises
    ------
    UsageError
        The timeline is a part of the history, or lies in an object store; or a Python function without ``version=`` takes part.
    LakeError
        There is no right or no room to write.
    ValueDoesNotFit, UsageError
        As ``rebuild`` does.
    """
    timeline = lake.timeline if isinstance(lake, Lake) else lake
    subject = subject_of(projection, timeline)
    whole = folded_from_the_start(timeline, subject, question="materialise")
    shelf = _Shelf.of(subject, whole)
    if shelf is None:
        where = f"{whole.log.path}, an object store" if _is_plain(whole) else f"a part of the history ({whole})"
        raise UsageError(f"materialise() keeps whole histories in a lake on this machine's file system, and this is {where}.")
    if shelf.key is None:
        raise UsageError(f"{subject.name} has a Python function, whose meaning nobody can tell: name it with version= to materialise it.")
    if whole.position is None:
        raise UsageError(f"There is nothing to materialise: the lake {whole.log.path} holds no events up to there.")
    with shelf.materials.writing(wait=True):
        if isinstance(subject, Fold):
            manifest = _kept_snapshot(shelf, subject, whole, errors=errors)
        else:
            manifest = _kept_history(shelf, subject, whole, errors=errors, checks=True)
    return _described(manifest, shelf.materials)


def materialised(lake: Lake | Timeline, projection: Source | None = None) -> list[Materialised]:
    """Return what is kept in a lake, or of one projection, by name; each can be removed."""
    timeline = lake.timeline if isinstance(lake, Lake) else lake
    snapshot = timeline.log
    materials = Materials.of(snapshot) if isinstance(snapshot, Snapshot) else None
    if materials is None:
        return []
    found = materials.all()
    if projection is not None:
        subject = subject_of(projection, timeline)
        shelf = _Shelf.of(subject, Timeline(log=timeline.log))
        found = [one for one in found if shelf is not None and one.key == shelf.key]
    return [_described(one, materials) for one in found]


def state_of(subject: Subject, timeline: Timeline, *, key: str | None = None, errors: OnError = "raise") -> pl.DataFrame:
    """Return the state at the end of a timeline, as ``subject.folded`` gives it: from what is kept, or by a replay."""
    found = kept_state(subject, timeline, key=key, errors=errors)
    return replay(subject, timeline, key=key, errors=errors).state if found is None else found


def history_of(plan: Plan, timeline: Timeline, *, key: str | None = None, errors: OnError = "raise") -> pl.DataFrame:
    """Return every version up to the end of a timeline in the same way."""
    found = kept_versions(plan, timeline, key=key, errors=errors)
    if found is None:
        found = replay(plan, timeline, key=key, history=True, errors=errors).history
        assert found is not None
    return found


def kept_state(subject: Subject, timeline: Timeline, *, key: str | None = None, errors: OnError = "raise") -> pl.DataFrame | None:
    """Return the state at the end of a timeline from what is kept; None if nothing is that could answer."""
    if isinstance(subject, Fold):
        return _continued(subject, timeline, key=key, errors=errors)
    with suppress(Unusable):
        found = _History.of(subject, timeline, key=key, errors=errors)
        return None if found is None else found.state(key)
    return None


def kept_versions(plan: Plan, timeline: Timeline, *, key: str | None = None, errors: OnError = "raise") -> pl.DataFrame | None:
    """Return every version from what is kept, as a replay's ``history``; None if nothing is that could answer."""
    with suppress(Unusable):
        found = _History.of(plan, timeline, key=key, errors=errors)
        return None if found is None else found.versions(key)
    return None


@dataclass(frozen=True, slots=True)
class _Shelf:
    """Where what is kept of a subject stands, if anything is; ``key`` is None if nothing may be."""

    snapshot: Snapshot
    materials: Materials
    key: str | None

    @classmethod
    def of(cls, subject: Subject, timeline: Timeline, *, traced: bool = False) -> _Shelf | None:
        snapshot = timeline.log
        materials = Materials.of(snapshot) if isinstance(snapshot, Snapshot) and _is_plain(timeline) else None
        if materials is None:
            return None
        assert isinstance(snapshot, Snapshot)
        plan = subject if isinstance(subject, Fold) or traced else with_witness(subject)[0]
        meaning = plan.fingerprint() if isinstance(plan, Fold) else fingerprint(plan)
        if meaning is None:
            return cls(snapshot, materials, None)
        text = "\n".join([str(KEPT_VERSION), snapshot.rule, meaning])
        return cls(snapshot, materials, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32])

    def find(self) -> Manifest | None:
        """Return what is kept, with the moments that this lake's log still holds."""
        manifest = None if self.key is None else self.materials.find(self.key)
        if manifest is None:
            return None
        moments = tuple(moment for moment in manifest.moments if self._holds(moment))
        return replace(manifest, moments=moments) if moments else None

    def moment(self, position: int) -> Moment | None:
        """Return up to which event the log goes at a position."""
        asked = (self.snapshot.path, self.snapshot.table, self.snapshot.version, position)
        if asked not in _MOMENTS:
            _MOMENTS[asked] = moment_at(self.snapshot, position)
        return _MOMENTS[asked]

    def behind(self, moment: Moment) -> int:
        """Return how many events of the log came after a moment."""
        return sum(file.rows for file in self.snapshot.files) - moment.events

    def _holds(self, moment: Moment) -> bool:
        last = self.snapshot.last_position()
        if last is not None and moment.position > last:
            return True  # this reader opened the lake before; the table's id says that it is the same
        found = self.moment(moment.position)
        # An event that was added at the very position, of a transaction that an export had parted, shows in their number.
        return found is not None and (found.position, found.event_id, found.events) == (moment.position, moment.event_id, moment.events)


@dataclass(frozen=True, slots=True)
class _History:
    """A history that is kept, and what is asked of it: versions of ``plan`` up to ``end``, the last event of a timeline's cut."""

    shelf: _Shelf
    manifest: Manifest
    plan: Plan
    traced: Plan
    timeline: Timeline
    end: int
    errors: OnError

    @classmethod
    def of(cls, plan: Plan, timeline: Timeline, *, key: str | None, errors: OnError) -> _History | None:
        snapshot, end = timeline.log, timeline.position
        if end is None or not isinstance(snapshot, Snapshot) or not _any(snapshot):
            return None
        # Questions for the events behind the versions give the plan that is kept, those for versions alone the one without witness.
        for traced, is_traced in ((with_witness(plan)[0], False), (plan, True)):
            shelf = _Shelf.of(plan, timeline, traced=is_traced)
            manifest = None if shelf is None else shelf.find()
            if shelf is None or manifest is None:
                continue
            last = snapshot.last_position()
            assert last is not None
            [moment] = manifest.moments
            if end == last > moment.position and key is None and shelf.behind(moment) >= WORTH_KEEPING:
                # Without the right, the room or the quiet to write, what is new is folded for this question only.
                with suppress(LakeError, OSError), shelf.materials.writing(wait=False):
                    manifest = _kept_history(shelf, plan, timeline, errors=errors, traced=traced)
            if end == last < manifest.moments[0].position:
                return None  # whether this older view of the lake ends inside a transaction cannot be told
            found = cls(shelf, manifest, plan, traced, timeline, end, errors)
            return None if found._fails else found
        return None

    @property
    def _fails(self) -> bool:
        """Whether the question is to stop at an event that was left out."""
        failure = self._moment.first_failure
        return self.errors == "raise" and failure is not None and failure <= self.end

    @property
    def _moment(self) -> Moment:
        return self.manifest.moments[0]

    @property
    def _tail(self) -> Timeline | None:
        """What came after, if the question goes that far."""
        return replace(self.timeline, beyond=self._moment.position) if self.end > self._moment.position else None

    def state(self, key: str | None) -> pl.DataFrame | None:
        tail = self._tail
        if tail is not None and key is not None and self.plan.python_only:
            return None
        now = min(self.end, self._moment.position)
        parts = [one for one in self._about(key) if one.first_from <= now and (one.last_to is None or one.last_to > now)]
        ends = pc.field("valid_to_position")
        where = (pc.field("valid_from_position") <= now) & (ends.is_null() | (ends > now))
        own = ("key", *(one.name for one in self.plan.fields), "revision", "event_count", "valid_from_position", "valid_from")
        state = state_of_versions(self._read(parts, key, where, columns=own), self.plan)
        if tail is None:
            return state
        if self.plan.python_only:
            return fold(self.plan, _batches(self.plan, tail), initial=state, errors=self.errors).state
        return kernel.state(self.plan, tail, key=key, initial=state, errors=self.errors).result.state

    def versions(self, key: str | None) -> pl.DataFrame | None:
        tail = self._tail
        if tail is not None and self.plan.python_only:
            return None
        parts = [one for one in self._about(key) if one.first_from <= self.end]
        if tail is None:
            rows = self._read(parts, key, pc.field("valid_from_position") <= self.end)
            later = pl.col("valid_to_position") > self.end
            found = rows.with_columns(pl.when(~later).then(pl.col(name)).alias(name) for name in ("valid_to_position", "valid_to"))
        else:
            ended = self._read([one for one in parts if not one.is_open], key, None)
            going_on = self._read([one for one in parts if one.is_open], key, None)
            found = pl.concat([ended, *kernel.versions(self.traced, tail, key=key, initial=going_on, errors=self.errors)])
        ordered = found.sort("key", "valid_from_position", self.traced.fields[-1].name)
        return ordered.select(history_schema(self.plan).names())

    def _about(self, key: str | None) -> list[Part]:
        parts = self._moment.parts
        return [one for one in parts if key is None or one.least_key <= key <= one.greatest_key]

    def _read(
        self, parts: list[Part], key: str | None, where: pc.Expression | None, *, columns: tuple[str, ...] | None = None
    ) -> pl.DataFrame:
        schema = history_schema(self.traced)
        if key is not None:
            mine = pc.field("key") == pa.scalar(key, pa.large_string())
            where = mine if where is None else mine & where
        return self.shelf.materials.read_versions(self.manifest.key, parts, columns=columns or schema.names(), schema=schema, where=where)


def _kept_history(
    shelf: _Shelf, plan: Plan, timeline: Timeline, *, errors: OnError, traced: Plan | None = None, checks: bool = False
) -> Manifest:
    """Write the history up to the end of a timeline, or what of it is not there yet; needs the right to write."""
    assert shelf.key is not None
    assert timeline.position is not None
    traced = with_witness(plan)[0] if traced is None else traced
    manifest = shelf.find()
    if manifest is not None:
        try:
            if checks:
                shelf.materials.check(shelf.key, manifest.parts)
            [moment] = manifest.moments
            if errors == "collect" or moment.first_failure is None:
                if moment.position >= timeline.position:
                    return manifest
                if not plan.python_only:
                    return _written(shelf, traced, timeline, before=moment, name=plan.name, errors=errors)
        except Unusable:
            pass
    return _written(shelf, traced, timeline, before=None, name=plan.name, errors=errors)


def _written(shelf: _Shelf, traced: Plan, timeline: Timeline, *, before: Moment | None, name: str, errors: OnError) -> Manifest:
    assert shelf.key is not None
    schema, materials, key = history_schema(traced), shelf.materials, shelf.key
    kept = () if before is None else before.parts
    large = [one for one in kept if not one.is_open and one.rows >= _SMALL]
    small = [one for one in kept if not one.is_open and one.rows < _SMALL]
    going_on = [one for one in kept if one.is_open]
    with _Writing.into(materials, key) as writing:
        writing.take(materials.read_versions(key, small, columns=schema.names(), schema=schema))
        if traced.python_only:
            result = fold(traced, _batches(traced, timeline), history=True, errors=errors)
            assert result.history is not None
            writing.take(result.history)
        else:
            tail = timeline if before is None else replace(timeline, beyond=before.position)
            initial = materials.read_versions(key, going_on, columns=schema.names(), schema=schema)
            found = kernel.versions(traced, tail, initial=initial, errors=errors)
            for batch in found:
                writing.take(batch)
            assert found.result is not None
            result = found.result
        parts = (*large, *writing.finish())
        moment = replace(_at_end(shelf, timeline), parts=parts, first_failure=_first_failure(before, result.failures))
        return materials.swap(key, name=name, kind="history", moments=(moment,))


def _at_end(shelf: _Shelf, timeline: Timeline) -> Moment:
    """Return the last event of a timeline's cut, which is not empty."""
    assert timeline.position is not None
    moment = shelf.moment(timeline.position)
    assert moment is not None
    return moment


class _Writing:
    """Versions on their way into files, those that have ended apart from those that have not."""

    def __init__(self, materials: Materials, key: str) -> None:
        self._materials = materials
        self._key = key
        self._parts: list[Part] = []
        self._ended: list[pl.DataFrame] = []
        self._open: list[pl.DataFrame] = []

    @classmethod
    @contextmanager
    def into(cls, materials: Materials, key: str) -> Iterator[_Writing]:
        """Begin, and leave no files behind if something fails before a manifest names them."""
        writing = cls(materials, key)
        try:
            yield writing
        except BaseException:
            materials.discard(key, writing._parts)
            raise

    def take(self, rows: pl.DataFrame) -> None:
        """Write versions, those of an entity in log order."""
        ended = pl.col("valid_to_position").is_not_null()
        self._ended.append(rows.filter(ended))
        self._open.append(rows.filter(~ended))
        if sum(one.height for one in self._ended) >= _SMALL:
            self._flush()

    def finish(self) -> tuple[Part, ...]:
        """Write what is left, and return the files."""
        self._flush()
        if self._open:
            self._write(pl.concat(self._open))
        return tuple(self._parts)

    def _flush(self) -> None:
        """Write versions that have ended; apart those, few, that began before any of them ended: of the rest a moment needs one file."""
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
            self._parts.append(self._materials.write_versions(self._key, rows.sort("key", maintain_order=True)))


def _continued(subject: Fold, timeline: Timeline, *, key: str | None, errors: OnError) -> pl.DataFrame | None:
    """Return the state of a fold, going on from the last snapshot before the end of a timeline."""
    snapshot, end = timeline.log, timeline.position
    if end is None or not isinstance(snapshot, Snapshot) or not _any(snapshot):
        return None
    shelf = _Shelf.of(subject, timeline)
    manifest = None if shelf is None else shelf.find()
    if shelf is None or manifest is None:
        return None
    started = _latest(shelf, manifest, subject, end, errors=errors)
    if started is None:
        return None
    moment, entities = started
    if key is not None:
        entities = {key: entities[key]} if key in entities else {}
    events = events_of(subject, replace(timeline, beyond=moment.position), key=key).collect()
    result, after = fold_function(subject, events, initial=entities, errors=errors)
    if key is None and end == snapshot.last_position() and shelf.behind(moment) >= WORTH_KEEPING:
        failed = _first_failure(moment, result.failures)
        with suppress(LakeError, ReplayError, UsageError, OSError), shelf.materials.writing(wait=False):
            _swap_snapshot(shelf, subject, end, after, failed=failed, instead_of=moment)
    return result.state if key is None else result.state.filter(pl.col("key") == key)


def _kept_snapshot(shelf: _Shelf, subject: Fold, timeline: Timeline, *, errors: OnError) -> Manifest:
    """Write a snapshot at the end of a timeline, unless it is there; needs the right to write."""
    end = timeline.position
    assert end is not None
    manifest = shelf.find()
    started = None if manifest is None else _latest(shelf, manifest, subject, end, errors=errors)
    entities: dict[str, Folded] = {}
    tail, moment = timeline, None
    if started is not None and manifest is not None:
        moment, entities = started
        if moment.position == end:
            return manifest
        tail = replace(timeline, beyond=moment.position)
    result, entities = fold_function(subject, events_of(subject, tail).collect(), initial=entities, errors=errors)
    return _swap_snapshot(shelf, subject, end, entities, failed=_first_failure(moment, result.failures))


def _swap_snapshot(
    shelf: _Shelf, subject: Fold, end: int, entities: dict[str, Folded], *, failed: int | None, instead_of: Moment | None = None
) -> Manifest:
    assert shelf.key is not None
    manifest = shelf.find()
    content = encoded(entities, subject)
    moment = shelf.moment(end)
    assert moment is not None
    part = shelf.materials.write_bytes(shelf.key, content, rows=len(entities))
    others = [one for one in (() if manifest is None else manifest.moments) if one != instead_of and one.position != end]
    moments = sorted([*others, replace(moment, parts=(part,), first_failure=failed)], key=lambda one: one.position)
    return shelf.materials.swap(shelf.key, name=subject.name, kind="snapshots", moments=tuple(moments))


def _latest(shelf: _Shelf, manifest: Manifest, subject: Fold, end: int, *, errors: OnError) -> tuple[Moment, dict[str, Folded]] | None:
    """Return the last moment up to a position that can be read, and the entities at it."""
    for moment in reversed(manifest.moments):
        if moment.position > end or (errors == "raise" and moment.first_failure is not None):
            continue
        with suppress(Unusable):
            entities = decoded(shelf.materials.read_bytes(manifest.key, moment.parts[0]), subject)
            if entities is not None:
                return moment, entities
    return None


def _first_failure(before: Moment | None, failures: pl.DataFrame) -> int | None:
    if before is not None and before.first_failure is not None:
        return before.first_failure
    return int(failures["position"][0]) if failures.height else None


def _is_plain(timeline: Timeline) -> bool:
    """Whether a timeline is all that was recorded up to some position, and nothing else."""
    return replace(timeline, cutoff=None, last=None) == Timeline(log=timeline.log)


def _any(snapshot: Snapshot) -> bool:
    """Whether anything at all is kept, which costs less to tell than what is meant."""
    materials = Materials.of(snapshot)
    return materials is not None and materials.root.is_dir()


def _batches(plan: Plan, timeline: Timeline) -> Iterator[pl.DataFrame]:
    return events_of(plan, timeline).collect_batches(maintain_order=True)


def _described(manifest: Manifest, materials: Materials) -> Materialised:
    return Materialised(
        name=manifest.name,
        kind=manifest.kind,
        positions=tuple(moment.position for moment in manifest.moments),
        rows=sum(part.rows for part in manifest.parts),
        bytes=sum(part.bytes for part in manifest.parts),
        made_at=manifest.made_at,
        folder=manifest.key,
        _materials=materials,
    )
