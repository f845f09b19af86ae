"""Orders the events that a fork inserted or moved in time among those at the same position.

Several such events may share the position of a recorded event although they happened days later, so a position alone does not determine
what came before: see ``Timeline.events``. Questions that look up positions also compare the sequence.
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
    """Return ``position``, ``prepare_position``, ``sequence`` and time of each such event; empty for a recorded history."""
    if not timeline.edits:
        return pl.DataFrame(schema=_SCHEMA)
    found = timeline.sql(f"SELECT {', '.join(_SCHEMA)} FROM events WHERE sequence > 0").to_arrow_table()
    return pl.DataFrame(found).cast(_SCHEMA)


def sequences(
    found: Versions, projection: Source, timeline: Timeline, moved: pl.DataFrame, *, errors: OnError
) -> tuple[_Numbers, _Numbers]:
    """Return the sequences of the events that begin and end each version; 0 for an event recorded at its position.

    Parameters
    ----------
    found
        Versions of entities, those of each entity in log order.
    timeline
            The timeline of the versions, as ``resolve.folded`` returned it.
        moved
        The result of ``put_in``.
    """
    nothing = np.zeros(found.rows.height, np.int64)
    if moved.is_empty():
        return nothing, nothing
    prepare = found.event_columns["prepare_position"]
    place = ["valid_from_position", prepare]
    rows = found.rows.select("key", *place, "valid_to_position", "valid_to", "event_count").with_row_index("row")
    begins = rows.join(moved, left_on=place, right_on=["position", "prepare_position"], how="left", maintain_order="left")
    begins = begins.with_columns(pl.col("sequence").fill_null(0))
    goes_on = (pl.col("key").shift(-1) == pl.col("key")) & (pl.col("event_count").shift(-1) == pl.col("event_count") + 1)
    rows = begins.with_columns(ends=pl.when(goes_on).then(pl.col("sequence").shift(-1)))
    # No version has the prepare position of an event that ended an entity, so find the event by its time.
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
    """Find what ended versions if a recorded event has the same position and time as an inserted one, by ``steps``."""
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
