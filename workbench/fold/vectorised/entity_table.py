"""The table of entities that a replay keeps between chunks: each entity's fields and last event."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from workbench.fold.results import history_schema, state_schema
from workbench.fold.vectorised.field_columns import Entities, FieldColumn, column_of
from workbench.fold.vectorised.json_columns import Mask
from workbench.fold.vectorised.key_ids import KeyIds
from workbench.projection.plan import Plan

INSTANT = pl.Datetime("us", "UTC")

NO_INSTANT = np.iinfo(np.int64).min
"""The time of an undated event, see ``EVENT_SCHEMA``."""


class EntityTable:
    """The entities by number, in the order of their first event.

    Attributes
    ----------
    alive
        Whether the entity exists.
    slow
        Whether the event-by-event engine has taken it over.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.columns: dict[str, FieldColumn[Any]] = {field.name: column_of(field) for field in plan.fields}
        self._numbering = KeyIds()
        self._names = pl.Series("key", [], dtype=pl.String)
        self._size = 0
        self.alive: Mask = np.zeros(0, dtype=np.bool_)
        self.slow: Mask = np.zeros(0, dtype=np.bool_)
        self.position = np.zeros(0, dtype=np.int64)
        self.revision = np.zeros(0, dtype=np.int64)
        self.recorded_at = np.zeros(0, dtype=np.int64)
        self.count = np.zeros(0, dtype=np.int64)
        self.code = np.zeros(0, dtype=np.int64)
        """The type of the last event, as its index in the plan."""

    def entities(self, keys: pl.Series) -> Entities:
        """Return the numbers of entities by their keys; new keys get new numbers."""
        numbers, fresh = self._numbering.of(keys)
        if len(fresh):
            self._names = pl.concat([self._names, keys.gather(fresh)], rechunk=True)
            self._grow(len(self._names))
        return numbers

    def keys(self, entities: Entities) -> pl.Series:
        """Return the keys of entities."""
        return self._names.gather(entities)

    def take_in(self, state: pl.DataFrame) -> list[str]:
        """Start from the entities of a state; return the keys of entities with values that the columns cannot represent."""
        entities = self.entities(state["key"])
        unfit = np.zeros(len(entities), dtype=np.bool_)
        for name, column in self.columns.items():
            held, cannot = column.of_series(state[name])
            column.put(entities, held)
            unfit |= cannot
        self.alive[entities] = True
        self.slow[entities[unfit]] = True
        self.position[entities] = state["position"].to_numpy()
        self.revision[entities] = state["revision"].to_numpy()
        self.recorded_at[entities] = state["recorded_at"].cast(pl.Int64).fill_null(NO_INSTANT).to_numpy()
        self.count[entities] = state["event_count"].to_numpy()
        return state["key"].filter(pl.Series(unfit)).to_list()

    def state(self, entities: Entities) -> pl.DataFrame:
        """Return the state of entities, all of which exist."""
        parts = {
            "key": self.keys(entities),
            **{name: column.series(column.get(entities)) for name, column in self.columns.items()},
            "position": pl.Series(self.position[entities]),
            "revision": pl.Series(self.revision[entities]),
            "recorded_at": instants(self.recorded_at[entities]),
            "event_count": pl.Series(self.count[entities]),
        }
        return pl.DataFrame(parts, schema=state_schema(self.plan))

    def versions(
        self, entities: Entities, *, ends: npt.NDArray[np.int64] | None = None, end_times: npt.NDArray[np.int64] | None = None
    ) -> pl.DataFrame:
        """Return the last versions of entities, all of which exist, with their ends if known."""
        held = {name: column.get(entities) for name, column in self.columns.items()}
        return version_frame(
            self.plan,
            self.columns,
            keys=self.keys(entities),
            held=held,
            code=self.code[entities],
            revision=self.revision[entities],
            count=self.count[entities],
            position=self.position[entities],
            recorded_at=self.recorded_at[entities],
            ends=ends,
            end_times=end_times,
        )

    def _grow(self, size: int) -> None:
        if size <= self._size:
            return
        self._size = max(size, 2 * self._size)
        for column in self.columns.values():
            column.grow(self._size)
        for name in ("alive", "slow", "position", "revision", "recorded_at", "count", "code"):
            old = getattr(self, name)
            new = np.zeros(self._size, dtype=old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)


def version_frame(
    plan: Plan,
    columns: dict[str, FieldColumn[Any]],
    *,
    keys: pl.Series,
    held: dict[str, Any],
    code: npt.NDArray[np.int64],
    revision: npt.NDArray[np.int64],
    count: npt.NDArray[np.int64],
    position: npt.NDArray[np.int64],
    recorded_at: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64] | None,
    end_times: npt.NDArray[np.int64] | None,
) -> pl.DataFrame:
    """Return versions in the columns of a history."""
    types = pl.Series([handled.type for handled in plan.types], dtype=pl.String)
    unknown = pl.repeat(None, len(keys), dtype=pl.Int64, eager=True)
    parts = {
        "key": keys,
        **{name: column.series(held[name]) for name, column in columns.items()},
        "event_type": types.gather(code),
        "revision": pl.Series(revision),
        "event_count": pl.Series(count),
        "valid_from_position": pl.Series(position),
        "valid_to_position": unknown if ends is None else pl.Series(ends),
        "valid_from": instants(recorded_at),
        "valid_to": unknown.cast(INSTANT) if end_times is None else instants(end_times),
    }
    return pl.DataFrame(parts, schema=history_schema(plan))


def instants(microseconds: npt.NDArray[np.int64]) -> pl.Series:
    """Return microseconds since 1970 as instants, and ``NO_INSTANT`` as null."""
    found = pl.Series(microseconds, dtype=pl.Int64)
    none = microseconds == NO_INSTANT
    return (found.set(pl.Series(none), None) if none.any() else found).cast(INSTANT)
