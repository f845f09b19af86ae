"""Records, during a replay, the state of each entity before and after its first event that edits touch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from workbench.fold.vectorised.chunk_steps import FieldValues, Ordered, Steps, numbers
from workbench.fold.vectorised.entity_table import EntityTable, instants
from workbench.fold.vectorised.json_columns import Mask

Indices = npt.NDArray[np.int64]


class FirstEditStates:
    """The state of each entity right before and right after its first applied event among the marked ones.

    It is unknown for entities that the event-by-event engine has already taken over.
    """

    def __init__(self, carry: EntityTable) -> None:
        self._carry = carry
        self._passed = np.zeros(0, dtype=np.bool_)
        self._found: list[pl.DataFrame] = []

    def go_past(self, steps: Steps, ordered: Ordered, rows: pa.Table, pointed: Mask, *, held: dict[str, FieldValues], bad: Mask) -> None:
        """Record the states of entities that have no mark yet. Call it before the chunk is committed.

        Parameters
        ----------
        pointed
            Whether each row is a marked event.
        """
        on = np.flatnonzero(pointed[ordered.rows[steps.at]])
        self._passed = np.append(self._passed, np.zeros(len(self._carry.alive) - len(self._passed), dtype=np.bool_))
        entity = steps.entity[on]
        on = on[~self._passed[entity] & ~bad[entity]]
        if not len(on):
            return
        entity = steps.entity[on]
        first = on[np.append(True, entity[1:] != entity[:-1])]
        last = np.searchsorted(steps.at, steps.at[first], side="right") - 1
        entity = steps.entity[first]
        inside = (first > 0) & (steps.entity[first - 1] == entity)
        before, carried = inside & steps.alive[first - 1], ~inside & self._carry.alive[entity]
        after = steps.alive[last]
        at = ordered.rows[steps.at[first]]
        position, prepare, recorded_at, code = (
            numbers(rows, name)[at].astype(np.int64) for name in ("position", "prepare_position", "recorded_at", "code")
        )
        # Look up both at once: the values before, from this chunk or from earlier ones, and the values after.
        points = np.unique(np.concatenate([first[before] - 1, last[after]]))
        states = self._struct(
            {
                name: pl.concat([column.series(held[name].at(points)), column.series(column.get(entity[carried]))])
                for name, column in self._carry.columns.items()
            }
        )
        was = np.where(before, np.searchsorted(points, first - 1), len(points) + np.cumsum(carried) - 1)
        self._found.append(
            pl.DataFrame(
                {
                    "key": self._carry.keys(entity),
                    "position": position,
                    "prepare_position": prepare,
                    "recorded_at": instants(recorded_at),
                    "code": code,
                    "there_before": before | carried,
                    "there_after": after,
                    "before": _taken(states, was, before | carried),
                    "after": _taken(states, np.searchsorted(points, last), after),
                }
            )
        )
        self._passed[entity] = True

    def found(self) -> pl.DataFrame:
        """Return the marks in no particular order.

        The columns are ``key``; ``position``, ``prepare_position``, ``recorded_at`` and ``code`` (the type, as its index in the plan) of
        the event; ``there_before`` and ``there_after``; and ``before`` and ``after``, structs of the fields, null if the entity does not
        exist.
        """
        none = np.zeros(0, dtype=np.int64)
        empty = self._carry.state(none).select(
            "key", "position", pl.col("position").alias("prepare_position"), "recorded_at", pl.col("position").alias("code")
        )
        flags = {name: pl.Series([], dtype=pl.Boolean) for name in ("there_before", "there_after")}
        states = self._struct({name: column.series(column.get(none)) for name, column in self._carry.columns.items()})
        return pl.concat([empty.with_columns(**flags, before=states, after=states), *self._found])

    def unknown(self) -> pl.Series:
        """Return the keys of entities that the event-by-event engine took over at any time."""
        return self._carry.keys(np.flatnonzero(self._carry.slow))

    def _struct(self, fields: dict[str, Any]) -> pl.Series:
        return pl.DataFrame(fields).to_struct("fields") if fields else pl.Series("fields", [], dtype=pl.Struct([]))


def _taken(states: pl.Series, index: Indices, there: Mask) -> pl.Series:
    """Return the states of entities that exist, and null for others."""
    return states.gather(pl.Series(np.where(there, index, -1)).replace(-1, None))
