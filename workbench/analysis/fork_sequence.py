"""The events of a what-if that stand where none was recorded: inserted, or moved in time.

Several of them may share the position of a recorded event and yet be days later than it, so that a position alone does not say what had
happened by then: see ``Timeline.events``. What else is asked of a history by places takes their sequence into account.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.resolve import Source
from workbench.replay.steps import steps
from workbench.replay.versions import Versions
from workbench.timeline import Timeline

_SCHEMA = pl.Schema(
    {"position": pl.Int64(), "prepare_position": pl.Int64(), "sequence": pl.Int64(), "recorded_at": pl.Datetime("us", "UTC")}
)
_APPLIED = ("began", "changed", "unchanged", "ended")
_Numbers = npt.NDArray[np.int64]


def put_in(timeline: Timeline) -> pl.DataFrame:
    """Return ``position``, ``prepare_position``, ``sequence`` and time of each such event; none of a history as it was recorded."""
    if not timeline.edits:
        return pl.DataFrame(schema=_SCHEMA)
    found = timeline.sql(f"SELECT {', '.join(_SCHEMA)} FROM events WHERE sequence > 0").to_arrow_table()
    return pl.DataFrame(found).cast(_SCHEMA)


def sequences(
    found: Versions, projection: Source, timeline: Timeline, moved: pl.DataFrame, *, errors: OnError
) -> tuple[_Numbers, _Numbers]:
    """Return the sequence of the event with which each version begins, and of that with which it ends: 0 where that one was recorded there.

    Parameters
    ----------
    found
        The versions of all entities, or of some, those of each in log order.
    timeline
        Of which they are, as ``subject.folded`` gives it.
    moved
        As ``put_in`` gives them.
    """
    nothing = np.zeros(found.rows.height, np.int64)
    if moved.is_empty():
        return nothing, nothing
    prepare = found.witness["prepare_position"]
    place = ["valid_from_position", prepare]
    rows = found.rows.select("key", *place, "valid_to_position", "valid_to", "event_count").with_row_index("row")
    begins = rows.join(moved, left_on=place, right_on=["position", "prepare_position"], how="left", maintain_order="left")
    begins = begins.with_columns(pl.col("sequence").fill_null(0))
    goes_on = (pl.col("key").shift(-1) == pl.col("key")) & (pl.col("event_count").shift(-1) == pl.col("event_count") + 1)
    rows = begins.with_columns(ends=pl.when(goes_on).then(pl.col("sequence").shift(-1)))
    # Of an event that ended an entity no version tells the prepare position: it is found by its time.
    times = moved.group_by("position", "recorded_at").agg(pl.col("sequence").max().alias("ended"))
    rows = rows.join(
        times, left_on=["valid_to_position", "valid_to"], right_on=["position", "recorded_at"], how="left", maintain_order="left"
    )
    unsure = rows.filter(pl.col("ends").is_null() & pl.col("ended").is_not_null())
    ends = rows.select(pl.coalesce("ends", "ended", 0)).to_series().to_numpy().copy()
    for row, sequence in _told(unsure, place, projection, timeline, moved, errors=errors):
        ends[row] = sequence
    return begins["sequence"].to_numpy(), ends


def _told(
    unsure: pl.DataFrame, place: list[str], projection: Source, timeline: Timeline, moved: pl.DataFrame, *, errors: OnError
) -> list[tuple[int, int]]:
    """Return what ended versions where an event was recorded at the same place and time as one that was put in: step by step."""
    if unsure.is_empty():
        return []
    recorded = timeline.events().filter(pl.col("position").is_in(unsure["valid_to_position"].implode()), pl.col("sequence") == 0)
    shared = recorded.select("position", "recorded_at").unique().collect()
    unsure = unsure.join(shared, left_on=["valid_to_position", "valid_to"], right_on=["position", "recorded_at"], how="semi")
    sequence = {(position, prepare): number for position, prepare, number, _ in moved.iter_rows()}
    told = []
    for (key,), versions in unsure.group_by("key"):
        walked = steps(projection, timeline, key=str(key), errors=errors).filter(pl.col("outcome").is_in(_APPLIED))
        places = walked.select("position", "prepare_position").rows()
        for row, *begun in versions.select("row", *place).iter_rows():
            told.append((row, sequence.get(places[places.index(tuple(begun)) + 1], 0)))
    return told
