"""The steps of a chunk in order, the versions that they make, and what fields hold after some of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workbench.replay.kernel.carry import Carry
from workbench.replay.kernel.columns import Column, Entities
from workbench.replay.kernel.decisions import Rows
from workbench.replay.kernel.lives import Lives
from workbench.replay.kernel.operations import Outcome
from workbench.replay.kernel.texts import Mask

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

    @classmethod
    def of(
        cls, at: npt.NDArray[np.int64], handler: npt.NDArray[Any], entity: Entities, lives: Lives, run: npt.NDArray[np.int64] | None
    ) -> Steps:
        life = lives.lives if run is None else lives.lives[run]
        entity_of_life = np.zeros(len(lives.born), dtype=np.int64)
        entity_of_life[life] = entity
        return cls(at, handler, entity, life, lives.alive if run is None else lives.alive[run], entity_of_life, lives.born)

    def last_of_events(self) -> npt.NDArray[np.int64]:
        """Return the last step of each event."""
        last = np.ones(len(self.at), dtype=np.bool_)
        np.not_equal(self.at[1:], self.at[:-1], out=last[:-1])
        return np.flatnonzero(last)


@dataclass(frozen=True, slots=True)
class Versions:
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
    ) -> Versions:
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
        count = index - np.searchsorted(life, lives) + 1 + np.where(steps.born[lives], 0, carry.count[entity])
        at = ordered.rows[steps.at[points]]

        def column(name: str) -> npt.NDArray[np.int64]:
            found: npt.NDArray[np.int64] = rows.column(name).to_numpy()[at].astype(np.int64, copy=False)
            return found

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


def base_of(column: Column[Any], steps: Steps) -> Any:
    """Return what gives the field of lives before their first step: as the entity begins, or as it was carried here."""

    def base(lives: npt.NDArray[np.int64]) -> Any:
        born = steps.born[lives]
        both = column.join([column.initial(1), column.get(steps.entity_of_life[lives[~born]])])
        at = np.zeros(len(lives), dtype=np.int64)
        at[~born] = np.arange(1, len(lives) - int(np.count_nonzero(born)) + 1)
        return column.take(both, at)

    return base


def held_at(column: Column[Any], found: Outcome | None, steps: Steps, points: npt.NDArray[np.int64]) -> Any:
    """Return what a field holds after some steps."""
    lives = steps.life[points]
    base = base_of(column, steps)
    if found is None or not len(found.steps):
        return base(lives)
    if len(points) < len(steps.at) // _FEW:
        last = np.searchsorted(found.steps, points, side="right") - 1
    else:
        last = np.full(len(steps.at), -1, dtype=np.int64)
        last[found.steps] = np.arange(len(found.steps))
        last = np.maximum.accumulate(last)[points]
    known = (last >= 0) & (steps.life[found.steps][last] == lives)
    if known.all():
        return replace(found, held=column.take(found.held, last)).plain().held
    if found.quoted and len(points) < len(found.steps):  # only those texts are unquoted that are held at last
        found = replace(found, held=column.take(found.held, np.maximum(last, 0)))
        last = np.arange(len(points))
    held = found.plain().held
    both = column.join([held, base(np.arange(len(steps.born)))])
    return column.take(both, np.where(known, last, len(held[0] if isinstance(held, tuple) else held) + lives))


def in_order(entity: Entities, rows: pa.Table) -> Ordered:
    """Return the rows that have an entity, sorted by entity and log order; most often they are."""
    matching = np.flatnonzero(entity >= 0)
    found = entity[matching]
    if not len(matching):
        return Ordered(matching, found)
    position = rows.column("position").to_numpy()[matching]
    later = position[1:] > position[:-1]
    same = found[1:] == found[:-1]
    if (later | ~same).all():
        runs = found[np.flatnonzero(np.concatenate([[True], ~same]))]
        if len(np.unique(runs)) == len(runs):
            return Ordered(matching, found)
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
