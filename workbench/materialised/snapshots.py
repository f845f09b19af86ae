"""Snapshots of a ``Fold``: its entities as bytes, from which later replays go on.

The bytes are MessagePack, read as the fold's type of state: whoever can write into a lake cannot run code in the processes that read it.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import msgspec
import polars as pl

from workbench.errors import InvalidProjection, LakeError, ReplayError, UsageError
from workbench.fold.entity_scope import EntityScope
from workbench.fold.event_by_event.function_fold import Fold, Folded, fold_function
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.results import FoldResult
from workbench.materialised.fold_point import FoldPoint, KeptState, may_be_kept
from workbench.materialised.stored_file import Manifest, Moment, Unusable
from workbench.timeline import Timeline


def encoded(entities: dict[str, Folded], fold: Fold) -> bytes:
    """Return a fold's entities as bytes.

    Raises
    ------
    InvalidProjection
        A state would not come back as it was.
    """
    rows = [(key, one.state, one.position, one.revision, one.recorded_at, one.event_count) for key, one in entities.items()]
    what = "make them of dicts, lists, texts, numbers and instants, or name their type once, as in Fold(…, state=Cart)"
    try:
        content = msgspec.msgpack.encode(rows)
        back = _rows(content, fold)
    except Exception as error:  # msgspec refuses the value, or a user's class fails
        raise InvalidProjection(f"{fold.name}: its states cannot be kept ({error}): {what}.") from error
    for (_, state, *_), (_, read, *_) in zip(rows, back, strict=True):
        if not _is_same(state, read):
            raise InvalidProjection(f"{fold.name}: its states cannot be kept ({state!r} would come back as {read!r}): {what}.")
    return content


def decoded(content: bytes, fold: Fold) -> dict[str, Folded] | None:
    """Return the entities; None if ``encoded`` did not make the bytes for this fold."""
    try:
        return {key: Folded(*rest) for key, *rest in _rows(content, fold)}
    except Exception:  # noqa: BLE001  # a user's class may raise anything; the snapshot is then ignored
        return None


def _rows(content: bytes, fold: Fold) -> list[tuple[str, Any, int, int, int | None, int]]:
    state = Any if fold.state is None else fold.state
    return cast(
        "list[tuple[str, Any, int, int, int | None, int]]",
        msgspec.msgpack.decode(content, type=list[tuple[str, state, int, int, int | None, int]]),  # type: ignore[valid-type]  # a user's
    )


def _is_same(one: Any, other: Any) -> bool:
    """Whether two states are equal and have the same types at every level."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return _is_same(list(one), list(other)) and _is_same(list(one.values()), list(other.values()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, set | frozenset):
        return one == other and {type(item) for item in one} == {type(item) for item in other}
    if dataclasses.is_dataclass(one):
        return all(_is_same(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one))
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124  # NaN


def continued(
    subject: Fold, timeline: Timeline, *, upto: int | None = None, key: str | None = None, errors: OnError = "raise"
) -> KeptState | None:
    """Return the state of a fold, continued from the last snapshot before the end of a timeline; None without one.

    Parameters
    ----------
    upto
        Only from a snapshot up to this position: of a what-if, before what its edits touch.
    """
    end = timeline.position
    start = end if upto is None else upto
    started = None if end is None or start is None else latest(subject, replace(timeline, edits=()), upto=start, errors=errors)
    if end is None or started is None:
        return None
    point, moment, entities = started
    if key is not None:
        entities = {key: entities[key]} if key in entities else {}
    events = EntityScope(subject, replace(timeline, after_position=moment.position), key).events().collect()
    result, after = fold_function(subject, events, initial=entities, errors=errors)
    state = result.state if key is None else result.state.filter(pl.col("key") == key)
    with suppress(Unusable):
        answer = point.answer(moment, result, state=state, end=end, key=key)
        if upto is None and key is None and end == point.snapshot.last_position() and point.is_far_behind(moment):
            with suppress(LakeError, ReplayError, UsageError, OSError), point.stored.writing(wait=False):
                _swap(point, subject, timeline, after, before=moment, result=result)
        return answer
    return None


def kept_snapshot(point: FoldPoint, subject: Fold, timeline: Timeline, *, errors: OnError) -> Manifest:
    """Write a snapshot at the end of a timeline, unless it exists. The caller holds the lock."""
    manifest, end = point.find(), timeline.position
    assert end is not None
    started = None if manifest is None else _latest(point, manifest, subject, end, errors=errors)
    if manifest is None or started is None:
        result, entities = fold_function(subject, EntityScope(subject, timeline).events().collect(), errors=errors)
        return _swap(point, subject, timeline, entities, before=None, result=result)
    before, entities = started
    if before.position == end and (before.is_asked_for or timeline.cutoff is None):
        return manifest
    events = EntityScope(subject, replace(timeline, after_position=before.position)).events().collect()
    result, entities = fold_function(subject, events, initial=entities, errors=errors)
    return _swap(point, subject, timeline, entities, before=before, result=result)


def latest(subject: Fold, timeline: Timeline, *, upto: int, errors: OnError) -> tuple[FoldPoint, Moment, dict[str, Folded]] | None:
    """Return the last readable snapshot up to a position, and its entities; None without one."""
    point = FoldPoint.of(subject, timeline) if may_be_kept(timeline) else None
    manifest = None if point is None else point.find()
    if point is None or manifest is None:
        return None
    found = _latest(point, manifest, subject, upto, errors=errors)
    return None if found is None else (point, *found)


def _latest(point: FoldPoint, manifest: Manifest, subject: Fold, upto: int, *, errors: OnError) -> tuple[Moment, dict[str, Folded]] | None:
    for moment in reversed(manifest.moments):
        if moment.position > upto or (errors == "raise" and moment.first_failure is not None):
            continue
        with suppress(Unusable):
            point.failures(moment)
            entities = decoded(point.stored.read_bytes(manifest.key, moment.parts[0]), subject)
            if entities is not None:
                return moment, entities
    return None


def _swap(
    point: FoldPoint,
    subject: Fold,
    timeline: Timeline,
    entities: dict[str, Folded],
    *,
    before: Moment | None,
    result: FoldResult,
) -> Manifest:
    """Write a snapshot at the end of a timeline. It replaces one at an earlier end of the log, and no others."""
    assert point.key is not None
    manifest = point.find()
    there = () if manifest is None else manifest.moments
    written = [point.stored.write_bytes(point.key, encoded(entities, subject), rows=len(entities))]
    try:
        moment = replace(point.moment(timeline, before=before, result=result, parts=written), is_asked_for=timeline.cutoff is not None)
        written += [one for one in moment.files if one not in written and (before is None or one not in before.files)]
        earlier = [one for one in there if one.position < moment.position and (one.is_asked_for or moment.is_asked_for)]
        moments = (*earlier, moment, *(one for one in there if one.position > moment.position))
        return point.stored.swap(point.key, name=subject.name, kind="snapshots", moments=moments)
    except BaseException:
        point.stored.discard(point.key, written)
        raise
