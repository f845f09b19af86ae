"""Where in a log a time stands: behind the last event that had been recorded by then, as a cutoff has it, for many times at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workbench.errors import UsageError
from workbench.lake.conditions import Conditions

if TYPE_CHECKING:
    from workbench.lake.reading.snapshot import Snapshot


def places_by(snapshot: Snapshot, moments: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return, for microseconds since 1970, the position of the last event of the whole log that was recorded by then, and the last
    prepare position there; -1 where nothing had been."""
    files, nowhere = snapshot.files, np.full(len(moments), -1, dtype=np.int64)
    if not len(moments) or not files:
        return nowhere, nowhere
    least, greatest = int(moments.min()), int(moments.max())
    sure = max((file.last_position for file in files if file.last_ticks // 10 <= least), default=-1)
    near = [file for file in files if file.last_position >= sure and file.first_ticks // 10 <= greatest]
    if not near:
        return nowhere, nowhere
    # A transaction stands at one position, and an export may have parted it.
    reach = max(file.last_position for file in near)
    near = [file for file in files if file in near or sure <= file.first_position <= reach]
    everything = Conditions((), upto=None, after=sure - 1 if sure >= 0 else None, system=True, rule=snapshot.rule)
    relation = snapshot.queries.relation(
        "SELECT position, prepare_position, epoch_us(recorded_at) AS at FROM events", files=near, conditions=everything.unproven(near)
    )
    with snapshot.queries.translated(near):
        found: pa.Table = relation.to_arrow_table()
    position, prepare, at = (found.column(name).to_numpy() for name in ("position", "prepare_position", "at"))
    order = np.lexsort((prepare, position))
    position, prepare, at = position[order], prepare[order], at[order]
    # From each event on, the earliest time: the last event that a time reaches is the last one from which on it reaches something.
    earliest = np.minimum.accumulate(at[::-1])[::-1]
    reached = np.searchsorted(earliest, moments, side="right") - 1
    there = position[np.maximum(reached, 0)]
    last = np.searchsorted(position, there, side="right") - 1
    return np.where(reached < 0, -1, there), np.where(reached < 0, -1, prepare[last])


def place_behind(snapshot: Snapshot, position: int) -> tuple[int, int]:
    """Return the last prepare position at a position, and that event's ticks; at -1, before the log, the time at which it begins."""
    if position < 0:
        if not snapshot.files:
            raise UsageError(f"The lake {snapshot.path} is empty, and no event tells the time of a position: give a time.")
        return -1, min(file.first_ticks for file in snapshot.files)
    files = [file for file in snapshot.files if file.first_position <= position <= file.last_position]
    sql = f"SELECT prepare_position, recorded_ticks FROM events WHERE position = {position} ORDER BY prepare_position DESC LIMIT 1"
    relation = snapshot.queries.relation(sql, files=files)
    with snapshot.queries.translated(files):
        [(prepare, ticks)] = relation.fetchall()
    return prepare, ticks
