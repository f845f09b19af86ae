"""Resolves times to positions: of a cutoff, and of many times at once for the events that edits insert or move in time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workbench.errors import BeforeFirstEvent, BeyondExport, UsageError
from workbench.events import FIRST_TICKS, LAST_TICKS, format_time
from workbench.lake.files.format import DATED, DataFile
from workbench.lake.reading.event_filter import EventFilter

if TYPE_CHECKING:
    from workbench.lake.reading.snapshot import Snapshot

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_NEVER = np.iinfo(np.int64).max


def last_recorded_by(snapshot: Snapshot, time: datetime, *, stale: bool) -> int | None:
    """Return the position that a cutoff at a time resolves to: that of the last event recorded by then; None in an empty history.

    Raises
    ------
    BeyondExport
        The lake is not known to be complete until then, and a stale answer is not allowed.
    BeforeFirstEvent
        No event had been recorded by then.
    """
    complete = None if snapshot.checkpoint is None else snapshot.checkpoint.complete_until
    if not stale and (complete is None or time > complete):
        known = "nothing was exported yet" if complete is None else f"it is complete until {format_time(complete)}"
        action = "export first"
        if snapshot.leader is not None:
            known += ", since it was copied from a follower that lagged behind its leader"
            action = f"export from the leader first ({snapshot.leader or 'leave nodePreference out of the address'})"
        raise BeyondExport(
            f"{format_time(time)} is beyond the lake {snapshot.path}; {known}: {action}, or allow a stale answer (stale=True, --stale)."
        )
    moment = microseconds(time)
    best, straddling = -1, []
    for file in snapshot.files:
        if not file.has_undated and file.last_ticks // 10 <= moment:
            best = max(best, file.last_position)
        elif file.has_undated or file.first_ticks // 10 <= moment:
            straddling.append(file)
    straddling = [file for file in straddling if file.last_position > best]
    best = max(best, snapshot.greatest(f"recorded_at <= make_timestamptz({moment}) and position > {best}", straddling))
    if best < 0:
        first = first_ticks(snapshot)
        if first is not None:
            begins = f"the first was at {format_time(EPOCH + first // 10 * MICROSECOND)}"
        else:
            begins = "no event of the lake has a time that is an instant" if snapshot.files else "the lake holds no events"
        raise BeforeFirstEvent(f"Nothing had been recorded at {format_time(time)}: {begins}.")
    return last_undated_behind(snapshot, best, moment)


def positions_at(snapshot: Snapshot, moments: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return, for microseconds since 1970, the position of the last event of the whole log that was recorded by then, and the last
    prepare position there; -1 where nothing had been."""
    files, nowhere = snapshot.files, np.full(len(moments), -1, dtype=np.int64)
    if not len(moments) or not files:
        return nowhere, nowhere
    least, greatest = int(moments.min()), int(moments.max())
    sure = max((file.last_position for file in files if not file.has_undated and file.last_ticks // 10 <= least), default=-1)
    near = [file for file in files if file.last_position >= sure]
    if not any(file.has_undated for file in near):
        near = [file for file in near if file.first_ticks // 10 <= greatest]
    if not near:
        return nowhere, nowhere
    # The events of a transaction share a position, and an export may have split them over two files.
    reach = max(file.last_position for file in near)
    near = [file for file in files if file in near or sure <= file.first_position <= reach]
    everything = EventFilter((), upto=None, after=sure - 1 if sure >= 0 else None, system=True, rule=snapshot.rule)
    relation = snapshot.queries.relation(
        "SELECT position, prepare_position, epoch_us(recorded_at) AS at FROM events", files=near, conditions=everything.unproven(near)
    )
    with snapshot.queries.translated(near):
        found: pa.Table = relation.to_arrow_table()
    position, prepare = (found.column(name).to_numpy() for name in ("position", "prepare_position"))
    order = np.lexsort((prepare, position))
    position, prepare = position[order], prepare[order]
    # An undated event counts as recorded with the one before it. Before the first that is dated, no time reaches one.
    at = pc.fill_null(pc.fill_null_forward(found.column("at").take(pa.array(order))), _NEVER).to_numpy()
    # The earliest time from each event on: the last event at or before a time is the last one at which this is not later than the time.
    earliest = np.minimum.accumulate(at[::-1])[::-1]
    reached = np.searchsorted(earliest, moments, side="right") - 1
    there = position[np.maximum(reached, 0)]
    last = np.searchsorted(position, there, side="right") - 1
    return np.where(reached < 0, -1, there), np.where(reached < 0, -1, prepare[last])


def end_of_position(snapshot: Snapshot, position: int) -> tuple[int, int]:
    """Return the last prepare position at a position, and that event's ticks; at -1, before the log, the time at which it begins.

    An undated event counts as recorded with the event before it in the log, or, where there is none, with the first that has a time.
    """
    prepare, ticks = -1, None
    if position >= 0:
        files = [file for file in snapshot.files if file.first_position <= position <= file.last_position]
        sql = f"SELECT prepare_position, recorded_ticks FROM events WHERE position = {position} ORDER BY prepare_position DESC LIMIT 1"
        relation = snapshot.queries.relation(sql, files=files)
        with snapshot.queries.translated(files):
            [(prepare, ticks)] = relation.fetchall()
        if not FIRST_TICKS <= ticks <= LAST_TICKS:
            ticks = ticks_at(snapshot, position)
    if ticks is None:
        ticks = first_ticks(snapshot)
    if ticks is None:
        lacks = "no event of it has a time that is an instant" if snapshot.files else "it is empty"
        raise UsageError(f"The lake {snapshot.path} cannot tell the time of a position, since {lacks}: give a time.")
    return prepare, ticks


def ticks_at(snapshot: Snapshot, position: int) -> int | None:
    """Return the greatest ticks of the events at a position; where they are undated, those of the last dated event before it."""
    files = [file for file in snapshot.files if file.first_position <= position <= file.last_position]
    found = _value(snapshot, f"SELECT max(recorded_ticks) FROM events WHERE position = {position} AND {DATED}", files)
    if found is not None or not any(file.has_undated for file in files):
        return found
    before = [file for file in snapshot.files if file.first_position < position]
    sql = f"SELECT recorded_ticks FROM events WHERE position < {position} AND {DATED} ORDER BY position DESC, prepare_position DESC LIMIT 1"
    return _value(snapshot, sql, before)


def first_ticks(snapshot: Snapshot) -> int | None:
    """Return the least ticks of a log, those of undated events left out; None if none are left."""
    dated = [file.first_ticks for file in snapshot.files if not file.has_undated]
    found = _value(snapshot, f"SELECT min(recorded_ticks) FROM events WHERE {DATED}", [file for file in snapshot.files if file.has_undated])
    return min([*dated, *([] if found is None else [found])], default=None)


def last_undated_behind(snapshot: Snapshot, position: int, moment: int) -> int:
    """Return how far a log reaches that reached a position at a moment, in microseconds: to the last of the undated events behind it.

    They follow it with no dated one between. The position stays where there are none, or where its transaction ends later than the moment.
    """
    undated = [file for file in snapshot.files if file.has_undated and file.last_position > position]
    if not undated:
        return position
    there = [file for file in snapshot.files if file.first_position <= position <= file.last_position]
    sql = f"SELECT recorded_ticks FROM events WHERE position = {position} AND {DATED} ORDER BY prepare_position DESC LIMIT 1"
    ends = _value(snapshot, sql, there)
    if ends is not None and ends // 10 > moment:
        return position
    later = [file for file in snapshot.files if file.last_position > position]
    place = "(position, prepare_position)"
    relation = snapshot.queries.relation(f"SELECT min({place}) FROM events WHERE position > {position} AND {DATED}", files=later)
    with snapshot.queries.translated(later):
        [(following,)] = relation.fetchall()
    before = "" if following is None else f" AND {place} < {tuple(following)}"
    found = _value(snapshot, f"SELECT max(position) FROM events WHERE position > {position}{before} AND NOT ({DATED})", undated)
    return position if found is None else found


def _value(snapshot: Snapshot, sql: str, files: Sequence[DataFile]) -> int | None:
    """Return the single number that a query returns, or None."""
    if not files:
        return None
    relation = snapshot.queries.relation(sql, files=files)
    with snapshot.queries.translated(files):
        rows = relation.fetchall()
    return None if not rows or rows[0][0] is None else int(rows[0][0])


def microseconds(time: datetime) -> int:
    """Return the microseconds from 1970 to an instant."""
    return (time - EPOCH) // MICROSECOND
