"""The ordered steps of a chunk, the versions that they produce, and the values of fields after them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workbench.fold.vectorised.entity_table import NO_INSTANT, EntityTable
from workbench.fold.vectorised.field_columns import Entities, FieldColumn, TextColumn
from workbench.fold.vectorised.handler_matching import Rows
from workbench.fold.vectorised.json_columns import Mask
from workbench.fold.vectorised.lifetimes import Lifetimes
from workbench.fold.vectorised.operations import Outcome

_FEW = 4
"""If at most one in so many steps is asked for, a search for each is faster than an index of all."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """The matching events of a chunk, grouped by entity and in log order."""

    rows: Rows
    entities: Entities


@dataclass(frozen=True, slots=True)
class Steps:
    """Handler runs on events; ``at`` holds indices into the ordered events."""

    at: npt.NDArray[np.int64]
    handler: npt.NDArray[Any]
    entity: Entities
    life: npt.NDArray[np.int64]
    alive: Mask
    entity_of_life: Entities
    born: Mask
    starts: npt.NDArray[np.int64]
    """The first step of each life."""

    @classmethod
    def of(
        cls, at: npt.NDArray[np.int64], handler: npt.NDArray[Any], entity: Entities, lives: Lifetimes, run: npt.NDArray[np.int64] | None
    ) -> Steps:
        life = lives.lives if run is None else lives.lives[run]
        first = np.ones(len(life), dtype=np.bool_)
        np.not_equal(life[1:], life[:-1], out=first[1:])
        starts = np.flatnonzero(first)
        # Lives without a handler are never looked up.
        numbers = np.cumsum(first) - 1
        born = lives.born[life[starts]]
        return cls(at, handler, entity, numbers, lives.alive if run is None else lives.alive[run], entity[starts], born, starts)

    def last_of_events(self) -> npt.NDArray[np.int64]:
        """Return the last step of each event."""
        last = np.ones(len(self.at), dtype=np.bool_)
        np.not_equal(self.at[1:], self.at[:-1], out=last[:-1])
        return np.flatnonzero(last)


@dataclass(frozen=True, slots=True)
class ChunkVersions:
    """The applied events, each with its last step, by entity and in log order."""

    points: npt.NDArray[np.int64]
    entity: Entities
    alive: Mask
    """Whether the entity exists after the event."""
    first: Mask
    last: Mask
    """Whether the event is the entity's first or last one in the chunk."""
    position: npt.NDArray[np.int64]
    revision: npt.NDArray[np.int64]
    recorded_at: npt.NDArray[np.int64]
    code: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls, steps: Steps, points: npt.NDArray[np.int64], ordered: Ordered, rows: pa.Table, carry: EntityTable, *, last_only: bool
    ) -> ChunkVersions:
        entity = steps.entity[points]
        changes = entity[1:] != entity[:-1]
        first, last = np.ones(len(points), dtype=np.bool_), np.ones(len(points), dtype=np.bool_)
        first[1:], last[:-1] = changes, changes
        # Group by the life after each event: if an event ends one life and begins another, only the latter continues.
        life = steps.life[points]
        index = np.arange(len(points))
        if last_only:
            index = np.flatnonzero(last)
            points, entity, first, last = points[index], entity[index], first[index], last[index]
        lives = life[index]
        begins = np.zeros(len(steps.born), dtype=np.int64)
        changed = np.flatnonzero(np.diff(life)) + 1
        begins[life[changed]] = changed
        count = index - begins[lives] + 1 + np.where(steps.born[lives], 0, carry.count[entity])
        at = ordered.rows[steps.at[points]]

        def column(name: str) -> npt.NDArray[np.int64]:
            return numbers(rows, name)[at].astype(np.int64, copy=False)

        return cls(
            points,
            entity,
            steps.alive[points],
            first,
            last,
            column("position"),
            column("revision"),
            column("recorded_at"),
            column("code"),
            count,
        )


def numbers(rows: pa.Table, name: str) -> npt.NDArray[np.int64]:
    """Return a column of the events; only ``recorded_at`` may be null, and then is ``NO_INSTANT``."""
    column = rows.column(name)
    found: npt.NDArray[np.int64] = (pc.fill_null(column, NO_INSTANT) if column.null_count else column).to_numpy()
    return found


def base_of(column: FieldColumn[Any], steps: Steps) -> Any:
    """Return a function for a field's value before the first step of lives: its initial value, or that from earlier chunks."""

    def base(lives: npt.NDArray[np.int64]) -> Any:
        born = steps.born[lives]
        both = column.join([column.initial(1), column.get(steps.entity_of_life[lives[~born]])])
        at = np.zeros(len(lives), dtype=np.int64)
        at[~born] = np.arange(1, len(lives) - int(np.count_nonzero(born)) + 1)
        return column.take(both, at)

    return base


class FieldValues:
    """The values of a field after each step of a chunk."""

    def __init__(self, column: FieldColumn[Any], found: Outcome | None, steps: Steps) -> None:
        self._column = column
        self._found = found if found is not None and len(found.steps) else None
        self._steps = steps
        self._base = base_of(column, steps)
        self._index: npt.NDArray[np.int64] | None = None
        self._both: Any = None

    def at(self, points: npt.NDArray[np.int64]) -> Any:
        """Return the values after some steps, which are ascending."""
        column, found = self._column, self._found
        if found is None:
            return self._base(self._steps.life[points])
        index = self._latest(found.steps, points)
        if self._both is None and found.quoted and len(points) < len(found.steps):
            # Unquote only the texts that are needed.
            known = index < len(found.steps)
            held = replace(found, held=column.take(found.held, np.where(known, index, 0))).plain().held
            if known.all():
                return held
            index = np.where(known, np.arange(len(index)), index - len(found.steps) + len(index))
            return column.take(column.join([held, self._base(np.arange(len(self._steps.born)))]), index)
        if self._both is None:
            self._both = column.join([found.plain().held, self._base(np.arange(len(self._steps.born)))])
        return column.take(self._both, index)

    def _latest(self, done: npt.NDArray[np.int64], points: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return for some steps the index that the function ``_latest`` returns for all steps."""
        if self._index is None and len(points) < len(self._steps.at) // _FEW:
            lives = self._steps.life[points]
            last = np.searchsorted(done, points, side="right")
            return np.where(last > np.searchsorted(done, self._steps.starts[lives]), last - 1, len(done) + lives)
        if self._index is None:
            # Polars gathers texts by indices of this type without a cast; numpy needs its native index type.
            self._index = _latest(done, self._steps, np.uint32 if isinstance(self._column, TextColumn) else np.int64)
        return self._index[points]


def _latest(done: npt.NDArray[np.int64], steps: Steps, dtype: Any = np.int64) -> npt.NDArray[Any]:
    """Return for each step the index of the last operation at or before it in its life, or ``len(done)`` plus its life if there is none."""
    marks = np.zeros(len(steps.at), dtype=np.bool_)
    marks[steps.starts] = True
    marks[done] = True
    index = np.empty(len(marks), dtype=dtype)
    index[steps.starts] = np.arange(len(done), len(done) + len(steps.starts), dtype=dtype)
    index[done] = np.arange(len(done), dtype=dtype)  # if one step has several operations on the field, the last one wins
    bounds = np.flatnonzero(marks)
    return np.repeat(index[bounds], np.diff(bounds, append=len(marks)))


def in_order(entity: Entities, rows: pa.Table) -> Ordered:
    """Return the rows that have an entity, sorted by entity and in log order; they usually are already."""
    matching = np.flatnonzero(entity >= 0)
    found = entity[matching]
    if not len(matching):
        return Ordered(matching, found)
    position = rows.column("position").to_numpy()[matching]
    # An exported lake is a sequence of runs, each grouped by entity: merge the groups of each entity.
    starts = np.flatnonzero(np.append(True, found[1:] != found[:-1]))
    together = np.argsort(found[starts], kind="stable")
    if (together[1:] > together[:-1]).all() and _in_log_order(found, position):
        return Ordered(matching, found)
    lengths = np.diff(np.append(starts, len(found)))[together]
    order = np.repeat(starts[together] - np.cumsum(lengths) + lengths, lengths) + np.arange(len(found))
    if _in_log_order(found[order], position[order]):
        return Ordered(matching[order], found[order])
    offset = position - position.min()
    if int(found.max()).bit_length() + int(offset.max()).bit_length() <= 63:
        keys = (found << int(offset.max()).bit_length()) | offset
        order = np.argsort(keys)
        keys = keys[order]
        if (keys[1:] != keys[:-1]).all():
            return Ordered(matching[order], found[order])
    prepare = rows.column("prepare_position").to_numpy()[matching]
    order = np.lexsort((prepare, position, found))
    return Ordered(matching[order], found[order])


def _in_log_order(entity: Entities, position: npt.NDArray[np.int64]) -> bool:
    """Whether the events of each entity, which are adjacent, are in log order."""
    return bool(((position[1:] > position[:-1]) | (entity[1:] != entity[:-1])).all())
