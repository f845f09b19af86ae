"""Marks: the state of entities right after given events, taken down while a replay goes past them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from workbench.replay.kernel.carry import Carry
from workbench.replay.kernel.steps import Held, Ordered, Steps
from workbench.replay.kernel.texts import Mask


class Marks:
    """What entities are right after one event of each, inclusively, whether that event is about them or not.

    It is what they are before their first event behind the mark, or in the end. Entities that the event-by-event engine has taken over are
    not known.
    """

    def __init__(self, carry: Carry, marks: pl.DataFrame) -> None:
        """Mark entities: ``key``, each once, ``position`` and ``prepare_position``."""
        self._carry = carry
        numbers = carry.entities(marks["key"])
        self._position = np.zeros(len(numbers), dtype=np.int64)
        self._prepare = np.zeros(len(numbers), dtype=np.int64)
        self._position[numbers] = marks["position"].to_numpy()
        self._prepare[numbers] = marks["prepare_position"].to_numpy()
        self._passed = np.zeros(len(numbers), dtype=np.bool_)
        self._found: list[pl.DataFrame] = []

    def go_past(self, steps: Steps, ordered: Ordered, rows: pa.Table, *, held: dict[str, Held], bad: Mask) -> None:
        """Take down the states of entities with a mark that these steps go past, before they become what is carried on."""
        waits = np.zeros(max(len(self._passed), int(steps.entity.max(initial=-1)) + 1), dtype=np.bool_)
        waits[: len(self._passed)] = ~self._passed
        near = np.flatnonzero(waits[steps.entity])
        if not len(near):
            return
        position, prepare = rows.column("position").to_numpy(), rows.column("prepare_position").to_numpy()
        at, entity = ordered.rows[steps.at[near]], steps.entity[near]
        mark = self._position[entity]
        later = position[at] > mark
        same = np.flatnonzero(position[at] == mark)
        later[same] = prepare[at[same]] > self._prepare[entity[same]]
        first = near[later & ~_after_one(later, entity)]
        first = first[~bad[steps.entity[first]]]
        inside = (first > 0) & (steps.entity[first - 1] == steps.entity[first])
        carried = steps.entity[first[~inside]]
        points = first[inside] - 1
        points = points[steps.alive[points]]
        columns = self._carry.columns
        self._found += [
            self._state(carried[self._carry.alive[carried]]),
            pl.DataFrame(
                {
                    "key": self._carry.keys(steps.entity[points]),
                    **{name: column.series(held[name].at(points)) for name, column in columns.items()},
                    "position": pl.Series(position[ordered.rows[steps.at[points]]]),
                },
                schema=self._state(points[:0]).schema,
            ),
        ]
        self._passed[steps.entity[first]] = True

    def states(self) -> pl.DataFrame:
        """Return the states of the entities that are there: ``key``, the fields and ``position``."""
        left = np.flatnonzero(~self._passed)
        left = left[self._carry.alive[left] & ~self._carry.slow[left]]
        return pl.concat([*self._found, self._state(left)])

    def unknown(self) -> pl.Series:
        """Return the keys of marked entities whose states are not known."""
        return self._carry.keys(np.flatnonzero(self._carry.slow[: len(self._position)]))

    def _state(self, entities: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pl.DataFrame:
        return self._carry.state(entities).drop("revision", "recorded_at", "event_count")


def _after_one(marks: Mask, entity: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Mask:
    """Return where the step before is one of the same entity that is marked."""
    after = np.zeros(len(marks), dtype=np.bool_)
    after[1:] = marks[:-1] & (entity[1:] == entity[:-1])
    return after
