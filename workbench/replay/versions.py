"""Returns versions of entities, each with the event that made it, for ``history``, ``first``, ``diff`` and ``lineage``."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from workbench.errors import ReplayError
from workbench.fold.entity_scope import EntityScope
from workbench.fold.event_by_event.function_fold import Fold, Folded, RecordedEvent, columns_of, fold_function, keyed_events
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.event_columns import EVENT_COLUMNS, with_event_columns
from workbench.fold.resolve import Subject
from workbench.fold.results import HISTORY_PROVENANCE, PROVENANCE, polars_type
from workbench.materialised.histories import history_of
from workbench.materialised.snapshots import latest
from workbench.projection import plan as ir
from workbench.projection.plan import COLUMNS
from workbench.projection.rows import ROW, event_in_words, rows_of
from workbench.timeline import Timeline

_FOLD_EVENT_COLUMNS = {column: f"_{column}" for column in EVENT_COLUMNS}
_PREPARE = ROW.index("prepare_position")
_TAKEN = {"key", "event_id", "event_stream", *PROVENANCE, *HISTORY_PROVENANCE, *_FOLD_EVENT_COLUMNS.values()}


@dataclass(frozen=True, slots=True)
class Versions:
    """Every version of every entity.

    Attributes
    ----------
    rows
        The columns of ``results.history_schema``, then ``event_id``, ``stream`` and ``prepare_position`` of the version's event, under
        the names in ``event_columns``.
    fields
        The columns that are fields of the entity.
    """

    rows: pl.DataFrame
    fields: tuple[str, ...]
    event_columns: dict[str, str]

    @property
    def history(self) -> pl.DataFrame:
        """The versions in the form that ``history`` returns."""
        return self.rows.drop(self.event_columns.values())


def versions(
    subject: Subject,
    timeline: Timeline,
    *,
    key: str | None = None,
    keys: pl.Series | None = None,
    since: int | None = None,
    errors: OnError = "raise",
) -> Versions:
    """Return the versions of every entity, or of one, up to the end of a timeline that ``resolve.folded`` returned.

    A plan's materialised history is read. A fold continues from its last snapshot at or before ``since``, or starts from its first event.

    Parameters
    ----------
    keys
        Only these entities, of a plan of one category whose keys are the names of streams; there may be many.
    since
        A position: versions that ended by then are left out. Versions that were valid then are returned without the event that made them.
    """
    if isinstance(subject, Fold):
        return _of_fold(subject, timeline, key=key, since=since, errors=errors)
    traced, event_columns = with_event_columns(subject)
    rows = history_of(traced, timeline, key=key, keys=keys, since=since, errors=errors)
    ordered = [name for name in rows.columns if name not in event_columns.values()]
    return Versions(rows.select(*ordered, *event_columns.values()), tuple(field.name for field in subject.fields), event_columns)


@dataclass(frozen=True, slots=True)
class _There:
    """An entity that exists: its state, the number of its events, and its last version."""

    state: Any
    count: int
    version: dict[str, Any]


def _of_fold(fold: Fold, timeline: Timeline, *, key: str | None, since: int | None, errors: OnError) -> Versions:
    """Run a fold event by event in this process, and keep a copy of every state."""
    started = None if since is None else latest(fold, timeline, upto=since, errors=errors)
    entities: dict[str, Folded] = {}
    if started is not None:
        _, moment, entities = started
        timeline = replace(timeline, after_position=moment.position)
    keyed, _ = keyed_events(fold, EntityScope(fold, timeline, key).events().collect())
    if key is not None:
        keyed = keyed.filter(pl.col("_key") == key)
        entities = {key: entities[key]} if key in entities else {}
    if since is not None:  # states before ``since`` need no copies
        before_rows = pl.col("position") <= since
        _, entities = fold_function(fold, keyed.filter(before_rows), initial=entities, errors=errors)
        keyed = keyed.filter(~before_rows)
    there = {name: _begun(fold, name, entity) for name, entity in sorted(entities.items())}
    rows = [one.version for one in there.values()]
    for name, row in zip(keyed["_key"].to_list(), rows_of(keyed), strict=True):
        stream, _, event_type, revision, position, recorded_at, event_id, *_ = row
        before = there.get(name)
        try:
            after = fold.function(fold.begin() if before is None else copy.deepcopy(before.state), RecordedEvent(row))
        except Exception as error:
            if errors == "collect":
                continue
            error.add_note(f"in {event_in_words(row)}")
            raise
        if before is not None:
            before.version.update(valid_to_position=position, valid_to=recorded_at)
        if after is None:
            there.pop(name, None)
            continue
        count = 1 if before is None else before.count + 1
        version = _version(fold, name, after, count, revision=revision, position=position, recorded_at=recorded_at)
        version |= {"event_type": event_type, "_event_id": event_id, "_stream": stream, "_prepare_position": row[_PREPARE]}
        there[name] = _There(after, count, version)
        rows.append(version)
    return _framed(fold, rows)


def _begun(fold: Fold, key: str, entity: Folded) -> _There:
    """Return an entity from a snapshot."""
    version = _version(
        fold,
        key,
        entity.state,
        entity.event_count,
        revision=entity.revision,
        position=entity.position,
        recorded_at=entity.recorded_at,
    )
    return _There(entity.state, entity.event_count, version)


def _version(fold: Fold, key: str, state: Any, count: int, *, revision: int, position: int, recorded_at: int | None) -> dict[str, Any]:
    """Return a version whose end and event are unknown."""
    columns = columns_of(state)
    taken = sorted(columns.keys() & _TAKEN)
    if taken:
        raise ReplayError(
            f"{fold.name}: a state has the field {', '.join(taken)}, which is a column of every history: choose another name."
        )
    own = dict.fromkeys([*HISTORY_PROVENANCE, *_FOLD_EVENT_COLUMNS.values()])
    known = {"revision": revision, "event_count": count, "valid_from_position": position, "valid_from": recorded_at}
    return {"key": key, **columns, **own, **known}


def _framed(fold: Fold, rows: list[dict[str, Any]]) -> Versions:
    own = {
        "key": pl.String(),
        **HISTORY_PROVENANCE,
        **{name: polars_type(ir.Kind(COLUMNS[one])) for one, name in _FOLD_EVENT_COLUMNS.items()},
    }
    try:
        frame = pl.DataFrame(rows, infer_schema_length=None) if rows else pl.DataFrame(schema=own)
    except (pl.exceptions.PolarsError, TypeError, OverflowError, ValueError) as error:
        raise ReplayError(f"{fold.name}: the states do not form one frame: {error}") from error
    fields = dict.fromkeys(name for row in rows for name in row if name not in own)
    ordered = ["key", *fields, *HISTORY_PROVENANCE, *_FOLD_EVENT_COLUMNS.values()]
    shaped = frame.select(pl.col(name).cast(own[name]) if name in own else pl.col(name) for name in ordered)
    return Versions(shaped.sort("key", maintain_order=True), tuple(fields), _FOLD_EVENT_COLUMNS)


def beginning_after(rows: pl.DataFrame, timeline: Timeline) -> pl.DataFrame:
    """Return the versions that begin after the position given to ``timeline.after``."""
    return rows if timeline.after_position is None else rows.filter(pl.col("valid_from_position") > timeline.after_position)
