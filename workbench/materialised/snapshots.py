"""Snapshots of a ``Fold``: its entities as bytes, from which later replays go on.

The bytes are a pickle, of which only plain values and the function's own dataclasses, named tuples and enumerations are let back in:
who can write into a lake must not be able to run code in the processes that read it.
"""

from __future__ import annotations

import dataclasses
import enum
import io
import pickle
import sys
from contextlib import suppress
from dataclasses import replace
from typing import Any

import polars as pl

from workbench.errors import InvalidProjection, LakeError, ReplayError, UsageError
from workbench.fold.entity_scope import EntityScope
from workbench.fold.event_by_event.function_fold import Fold, Folded, fold_function
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.results import FoldResult
from workbench.materialised.fold_point import KeptState, Shelf, may_be_kept
from workbench.materialised.stored_file import Manifest, Moment, Unusable
from workbench.timeline import Timeline

_PLAIN = {
    "builtins": {"bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "set", "str", "tuple"},
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "uuid": {"UUID"},
}


class _Refused(Exception):
    """Raised when a snapshot names a class that is not let in."""


class _Loader(pickle.Unpickler):
    def __init__(self, content: bytes, fold: Fold) -> None:
        super().__init__(io.BytesIO(content))
        module = sys.modules.get(getattr(fold.function, "__module__", None) or "")
        known = [one for one in vars(module).values() if isinstance(one, type)] if module is not None else []
        self._own = {(one.__module__, one.__qualname__): one for one in known if _is_record(one)}

    def find_class(self, module: str, name: str, /) -> Any:
        if name in _PLAIN.get(module, ()):
            return super().find_class(module, name)
        if (module, name) in self._own:
            return self._own[module, name]
        raise _Refused(f"{module}.{name}")


def encoded(entities: dict[str, Folded], fold: Fold) -> bytes:
    """Return a fold's entities as bytes.

    Raises
    ------
    InvalidProjection
        A state is made of something that cannot be kept.
    """
    rows = [(key, one.state, one.position, one.revision, one.recorded_at, one.event_count) for key, one in entities.items()]
    try:
        content = pickle.dumps(rows, protocol=5)
        _Loader(content, fold).load()
    except _Refused as error:
        raise InvalidProjection(
            f"{fold.name}: its states hold {error}, which is not kept; make them of dicts, lists, sets, texts, numbers, instants, and of "
            "dataclasses, named tuples and enumerations that stand in the function's module."
        ) from None
    except Exception as error:  # what a class of the user does when it is pickled
        raise InvalidProjection(f"{fold.name}: its states cannot be kept: {type(error).__name__}: {error}.") from error
    return content


def decoded(content: bytes, fold: Fold) -> dict[str, Folded] | None:
    """Return the entities again; None if the bytes are not what ``encoded`` gave for this fold."""
    try:
        rows = _Loader(content, fold).load()
        return {key: Folded(*rest) for key, *rest in rows}
    except Exception:  # noqa: BLE001  # a pickle can fail in any way, and then there is no snapshot
        return None


def continued(
    subject: Fold, timeline: Timeline, *, upto: int | None = None, key: str | None = None, errors: OnError = "raise"
) -> KeptState | None:
    """Return the state of a fold, going on from the last snapshot before the end of a timeline; None if there is none.

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
    shelf, moment, entities = started
    if key is not None:
        entities = {key: entities[key]} if key in entities else {}
    events = EntityScope(subject, replace(timeline, after_position=moment.position), key).events().collect()
    result, after = fold_function(subject, events, initial=entities, errors=errors)
    state = result.state if key is None else result.state.filter(pl.col("key") == key)
    with suppress(Unusable):
        answer = shelf.answer(moment, result, state=state, end=end, key=key)
        if upto is None and key is None and end == shelf.snapshot.last_position() and shelf.is_far_behind(moment):
            with suppress(LakeError, ReplayError, UsageError, OSError), shelf.materials.writing(wait=False):
                _swap(shelf, subject, timeline, after, before=moment, result=result)
        return answer
    return None


def kept_snapshot(shelf: Shelf, subject: Fold, timeline: Timeline, *, errors: OnError) -> Manifest:
    """Write a snapshot at the end of a timeline, unless it is there; needs the right to write."""
    manifest, end = shelf.find(), timeline.position
    assert end is not None
    started = None if manifest is None else _latest(shelf, manifest, subject, end, errors=errors)
    if manifest is None or started is None:
        result, entities = fold_function(subject, EntityScope(subject, timeline).events().collect(), errors=errors)
        return _swap(shelf, subject, timeline, entities, before=None, result=result)
    before, entities = started
    if before.position == end and (before.is_asked_for or timeline.cutoff is None):
        return manifest
    events = EntityScope(subject, replace(timeline, after_position=before.position)).events().collect()
    result, entities = fold_function(subject, events, initial=entities, errors=errors)
    return _swap(shelf, subject, timeline, entities, before=before, result=result)


def latest(subject: Fold, timeline: Timeline, *, upto: int, errors: OnError) -> tuple[Shelf, Moment, dict[str, Folded]] | None:
    """Return the last snapshot up to a position inside a timeline, and the entities in it; None if there is none that can be read."""
    shelf = Shelf.of(subject, timeline) if may_be_kept(timeline) else None
    manifest = None if shelf is None else shelf.find()
    if shelf is None or manifest is None:
        return None
    found = _latest(shelf, manifest, subject, upto, errors=errors)
    return None if found is None else (shelf, *found)


def _latest(shelf: Shelf, manifest: Manifest, subject: Fold, upto: int, *, errors: OnError) -> tuple[Moment, dict[str, Folded]] | None:
    for moment in reversed(manifest.moments):
        if moment.position > upto or (errors == "raise" and moment.first_failure is not None):
            continue
        with suppress(Unusable):
            shelf.failures(moment)
            entities = decoded(shelf.materials.read_bytes(manifest.key, moment.parts[0]), subject)
            if entities is not None:
                return moment, entities
    return None


def _swap(
    shelf: Shelf,
    subject: Fold,
    timeline: Timeline,
    entities: dict[str, Folded],
    *,
    before: Moment | None,
    result: FoldResult,
) -> Manifest:
    """Write a snapshot at the end of a timeline: beside those at other moments, but in the place of one at an earlier end of the log."""
    assert shelf.key is not None
    manifest = shelf.find()
    there = () if manifest is None else manifest.moments
    written = [shelf.materials.write_bytes(shelf.key, encoded(entities, subject), rows=len(entities))]
    try:
        moment = replace(shelf.moment(timeline, before=before, result=result, parts=written), is_asked_for=timeline.cutoff is not None)
        written += [one for one in moment.files if one not in written and (before is None or one not in before.files)]
        earlier = [one for one in there if one.position < moment.position and (one.is_asked_for or moment.is_asked_for)]
        moments = (*earlier, moment, *(one for one in there if one.position > moment.position))
        return shelf.materials.swap(shelf.key, name=subject.name, kind="snapshots", moments=moments)
    except BaseException:
        shelf.materials.discard(shelf.key, written)
        raise


def _is_record(one: type) -> bool:
    return dataclasses.is_dataclass(one) or issubclass(one, enum.Enum) or (issubclass(one, tuple) and hasattr(one, "_fields"))
