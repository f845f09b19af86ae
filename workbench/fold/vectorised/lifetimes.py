"""Lives: which handlers run, on which entity, and where its lives begin and end.

A *step* is one matching handler on one event. Steps stand in the order of their entities, those of an entity in log order, those of an
event in the order of the handlers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.fold.vectorised.json_columns import Mask
from workbench.fold.vectorised.segmented_scans import last_before


@dataclass(frozen=True, slots=True)
class Lives:
    """What becomes of steps.

    Attributes
    ----------
    runs
        Whether the handler runs; otherwise it is passed over.
    births
        Whether an entity begins with it.
    alive
        Whether the entity is there after it.
    lives
        The life that it belongs to, by number; meaningless where the handler is passed over.
    born
        Of each life, whether it began among these steps.
    """

    runs: Mask
    births: Mask
    alive: Mask
    lives: npt.NDArray[np.int64]
    born: Mask


def lives_of(entities: npt.NDArray[np.int64], *, begins: Mask, deletes: Mask, alive_before: Mask) -> Lives:
    """Work out the lives.

    Parameters
    ----------
    entities
        Of each step; those of an entity stand together.
    begins, deletes
        Whether the handler begins an entity that is absent, and whether it ends one.
    alive_before
        Of each step, whether its entity was there before all of them.
    """
    first = np.empty(len(entities), dtype=np.bool_)
    first[:1] = True
    np.not_equal(entities[1:], entities[:-1], out=first[1:])
    starts = last_before(first)
    changes = last_before(begins | deletes)
    known = changes >= starts
    alive = np.where(known, begins[changes], alive_before)  # where unknown, any index will do
    before = np.empty_like(alive)
    before[:1] = False
    before[1:] = alive[:-1]
    before[first] = alive_before[first]
    births = begins & ~before
    lives = np.cumsum(first | births) - 1
    born = births[np.flatnonzero(first | births)]
    return Lives(before | begins, births, alive, lives, born)
