"""The steps of a chunk in order, the versions that they make, and what fields hold after some of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workbench.fold.vectorised.entity_table import NO_INSTANT, Carry
from workbench.fold.vectorised.field_columns import Entities, FieldColumn, TextColumn
from workbench.fold.vectorised.handler_matching import Rows
from workbench.fold.vectorised.json_columns import Mask
from workbench.fold.vectorised.lifetimes import Lives
from workbench.fold.vectorised.operations import Outcome

_FEW = 4
"""One of how many points is few enough to search for each."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """The matching events of a chunk, those of an entity together and in log order."""

    rows: Rows
    entities: Entities


@dataclass(frozen=True, slots=True)
class Steps:
    """Handlers that run on events: ``at`` are indices into the ordered events."""

    at: npt.NDArray[np.int64]
    handler: npt.NDArray[Any]
    entity: Entities
    life: npt.NDArray[np.int64]
    alive: Mask
    entity_of_life: Entities
    born: Mask
    starts: npt.NDArray[np.int64]
    """Of each life its first step."""

    @classmethod
    def of(
        cls, at: npt.NDArray[np.int64], handler: npt.NDArray[Any], entity: Entities, lives: Lives, run: npt.NDArray[np.int64] | None
    ) -> Steps:
        life = lives.lives if run is None else lives.lives[run]
        first = np.ones(len(life), dtype=np.bool_)
        np.not_equal(life[1:], life[:-1], out=first[1:])
        starts = np.flatnonzero(first)
        # Of a life that nothing ran in nobody asks.
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
    """The events that were applied, each with its last step, in the order of entity and log."""

    points: npt.NDArray[np.int64]
    entity: Entities
    alive: Mask
    """Whether the entity is there after the event."""
    first: Mask
    last: Mask
    """Whether it is the entity's first or last event in the chunk."""
    position: npt.NDArray[np.int64]
    revision: npt.NDArray[np.int64]
    recorded_at: npt.NDArray[np.int64]
    code: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls, steps: Steps, points: npt.NDArray[np.int64], ordered: Ordered, rows: pa.Table, carry: Carry, *, last_only: bool
    ) -> ChunkVersions:
        entity = steps.entity[points]
        changes = entity[1:] != entity[:-1]
        first, last = np.ones(len(points), dtype=np.bool_), np.ones(len(points), dtype=np.bool_)
        first[1:], last[:-1] = changes, changes
        # The events of a life: of one event only the life after it goes on.
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
    """Return a column of the events themselves; ``recorded_at``, which alone may be null, has ``NO_INSTANT`` there."""
    column = rows.column(name)
    found: npt.NDArray[np.int64] = (pc.fill_null(column, NO_INSTANT) if column.null_count else column).to_numpy()
    return found


def base_of(column: FieldColumn[Any], steps: Steps) -> Any:
    """Return what gives the field of lives before their first step: as the entity begins, or as it was carried here."""

    def base(lives: npt.NDArray[np.int64]) -> Any:
        born = steps.born[lives]
        both = column.join([column.initial(1), column.get(steps.entity_of_life[lives[~born]])])
        at = np.zeros(len(lives), dtype=np.int64)
        at[~born] = np.arange(1, len(lives) - int(np.count_nonzero(born)) + 1)
        return column.take(both, at)

    return base


class Held:
    """What a field holds after each step of a chunk."""

    def __init__(self, column: FieldColumn[Any], found: Outcome | None, steps: Steps) -> None:
        self._column = column
        self._found = found if found is not None and len(found.steps) else None
        self._steps = steps
        self._base = base_of(column, steps)
        self._index: npt.NDArray[np.int64] | None = None
        self._both: Any = None

    def at(self, points: npt.NDArray[np.int64]) -> Any:
        """Return what is held after some steps, ascending."""
        column, found = self._column, self._found
        if found is None:
            return self._base(self._steps.life[points])
        index = self._latest(found.steps, points)
        if self._both is None and found.quoted and len(points) < len(found.steps):
            # Only those texts are unquoted that are asked for.
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
        """Return for some steps what ``_latest`` does for all."""
        if self._index is None and len(points) < len(self._steps.at) // _FEW:
            lives = self._steps.life[points]
            last = np.searchsorted(done, points, side="right")
            return np.where(last > np.searchsorted(done, self._steps.starts[lives]), last - 1, len(done) + lives)
        if self._index is None:
            # Polars looks texts up by such numbers as they are, and numpy all else by those of its own size.
            self._index = _latest(done, self._steps, np.uint32 if isinstance(self._column, TextColumn) else np.int64)
        return self._index[points]


def _latest(done: npt.NDArray[np.int64], steps: Steps, dtype: Any = np.int64) -> npt.NDArray[Any]:
    """Return for each step the index of the last of some done at or before it, in its life; behind those, that of its life."""
    marks = np.zeros(len(steps.at), dtype=np.bool_)
    marks[steps.starts] = True
    marks[done] = True
    index = np.empty(len(marks), dtype=dtype)
    index[steps.starts] = np.arange(len(done), len(done) + len(steps.starts), dtype=dtype)
    index[done] = np.arange(len(done), dtype=dtype)  # of one step, several operations may be on the field: the last one stays
    bounds = np.flatnonzero(marks)
    return np.repeat(index[bounds], np.diff(bounds, append=len(marks)))


def in_order(entity: Entities, rows: pa.Table) -> Ordered:
    """Return the rows that have an entity, sorted by entity and log order; most often they are."""
    matching = np.flatnonzero(entity >= 0)
    found = entity[matching]
    if not len(matching):
        return Ordered(matching, found)
    position = rows.column("position").to_numpy()[matching]
    # A lake as exported gives runs one after the other, in each of which the events of an entity stand together: those are put together.
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
    """Whether the events of each entity, which stand together, are in log order."""
    return bool(((position[1:] > position[:-1]) | (entity[1:] != entity[:-1])).all())
