"""Computes which handlers run, and where the lives of each entity begin and end.

A *step* is one matching handler on one event. Steps are sorted by entity, then in log order, then in the order of the handlers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.fold.vectorised.json_columns import Mask
from workbench.fold.vectorised.segmented_scans import last_before


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The result of each step.

    Attributes
    ----------
    runs
        Whether the handler runs; otherwise it is skipped.
    births
        Whether the step begins a life.
    alive
        Whether the entity exists after the step.
    lives
        The number of the step's life; undefined if the handler is skipped.
    born
        Whether each life began among these steps.
    """

    runs: Mask
    births: Mask
    alive: Mask
    lives: npt.NDArray[np.int64]
    born: Mask


def lifetimes_of(entities: npt.NDArray[np.int64], *, begins: Mask, deletes: Mask, alive_before: Mask) -> Lifetimes:
    """Compute the lives.

    Parameters
    ----------
    entities
        The entity of each step; the steps of an entity are adjacent.
    begins, deletes
        Whether the handler begins an entity that is absent, and whether it ends one.
    alive_before
        Whether each step's entity existed before all steps.
    """
    first = np.empty(len(entities), dtype=np.bool_)
    first[:1] = True
    np.not_equal(entities[1:], entities[:-1], out=first[1:])
    starts = last_before(first)
    changes = last_before(begins | deletes)
    known = changes >= starts
    alive = np.where(known, begins[changes], alive_before)  # the index is unused where unknown
    before = np.empty_like(alive)
    before[:1] = False
    before[1:] = alive[:-1]
    before[first] = alive_before[first]
    births = begins & ~before
    lives = np.cumsum(first | births) - 1
    born = births[np.flatnonzero(first | births)]
    return Lifetimes(before | begins, births, alive, lives, born)
