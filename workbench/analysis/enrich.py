"""Adds to each event the state that another entity had at that event."""

from __future__ import annotations

from typing import Any

import polars as pl

from workbench.analysis.fork_sequence import put_in, sequences
from workbench.errors import UsageError
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.resolve import Source, folded, subject_of
from workbench.frames import as_frame
from workbench.replay.versions import versions
from workbench.timeline import Timeline, ensure_timelines

_KEY, _POSITION, _SEQUENCE = "key", "position", "sequence"
_NOBODY, _LAST = -1, 2**63 - 1
_OF_A_STATE = {
    "position": "valid_from_position",
    "revision": "revision",
    "recorded_at": "valid_from",
    "event_count": "event_count",
}
"""The columns of a version for the columns of a state after its fields."""


def enrich(
    frame: Any,
    projection: Source,
    *,
    timeline: Timeline,
    on: str,
    before: bool = False,
    prefix: str | None = None,
    errors: OnError = "raise",
) -> pl.DataFrame:
    """Add to each event the state that another entity had when the event happened.

    Parameters
    ----------
    frame
        Events, or another table with a column ``position``: ``timeline.events()``, a result of SQL, or anything else of which Polars can
        make a frame.
    projection
        The projection of the other entities.
    timeline
        The history that the events are from, at least up to the last of them. Its states are added.
    on
        The column with the other entity's key. Whole numbers count as their digits.
    before
        Add the state before everything that happened at the event's position. By default, the state after it, as in
        ``timeline.upto(position=...)``.
    prefix
        The prefix of the added columns. By default, ``user_`` for a projection ``User``.
    errors
        ``"raise"`` stops at the first value that does not fit its field. ``"collect"`` leaves such events out.

    Returns
    -------
    polars.DataFrame
        The frame with its rows in their order, and after its columns those of `state` without the key: the fields, ``event_count``, and
        ``position``, ``revision`` and ``recorded_at`` of the last event applied to the entity by then, all with the prefix. They are null
        if the entity did not exist, or if key or position is null.

        In a what-if, inserted and moved events follow the one that was recorded at their position. The column ``sequence`` of
        ``events()`` tells them apart. Without it, all rows count as recorded events.

    Raises
    ------
    UsageError
        The first argument is not a frame, lacks a column, or already has one that would be added; a position is after the end of the
        timeline; the timeline is ``visible()``; or it selects a part of the events, which would change the states.
    ValueDoesNotFit
        A value does not fit its field, or a stream's name has no key.

    Examples
    --------
    The city from which each message was sent:

    >>> from workbench.sample.projections import User
    >>> now = wb.open("data/demo").timeline
    >>> sent = now.types("chat.message_sent").sql("select position, stream, data->>'userId' as user_id from events")
    >>> wb.enrich(sent, User, timeline=now, on="user_id").select("stream", "user_id", "user_city").head(3)
    shape: (3, 3)
    ┌────────┬─────────┬───────────┐
    │ stream ┆ user_id ┆ user_city │
    │ ---    ┆ ---     ┆ ---       │
    │ str    ┆ str     ┆ str       │
    ╞════════╪═════════╪═══════════╡
    │ room-1 ┆ 1       ┆ London    │
    │ room-1 ┆ 1       ┆ London    │
    │ room-1 ┆ 1       ┆ London    │
    └────────┴─────────┴───────────┘
    """
    ensure_timelines(timeline)
    if timeline.visible_only:
        raise UsageError("enrich() does not know what the store hid at each event: remove visible(), or call state() for one moment.")
    given = as_frame(frame, name="The first argument of enrich()")
    subject = subject_of(projection, timeline)
    asked = _asked(given, on, timeline)
    whole = folded(timeline, subject, question="enrich")
    found = versions(subject, whole, errors=errors)
    begun, ended = sequences(found, projection, whole, put_in(whole), errors=errors)
    rows = found.rows.select(_KEY, pl.int_range(pl.len()).alias("_version"), "valid_from_position", "valid_to_position")
    version = pl.col("_version")
    begins = rows.select(_KEY, pl.col("valid_from_position").alias(_POSITION), pl.Series(_SEQUENCE, begun), version, rank=2 * version)
    ended_at = pl.col("valid_to_position").alias(_POSITION)
    ends = rows.select(_KEY, ended_at, pl.Series(_SEQUENCE, ended), pl.lit(_NOBODY, pl.Int64).alias("_version"), rank=2 * version + 1)
    stood = _stood(asked, pl.concat([begins, ends.drop_nulls(_POSITION)]), before=before)
    called = f"{subject.name.lower()}_" if prefix is None else prefix
    columns = {name: name for name in found.fields} | _OF_A_STATE
    states = found.rows.select(pl.col(column).alias(f"{called}{name}") for name, column in columns.items())
    taken = [name for name in states.columns if name in given.columns]
    if taken:
        raise UsageError(f"The frame already has a column {taken[0]!r}: choose another prefix, such as prefix='then_'.")
    return given.hstack(states.select(pl.all().gather(stood)))


def _asked(frame: pl.DataFrame, on: str, timeline: Timeline) -> pl.DataFrame:
    """Return the key and the position of each row."""
    for name, what in ((on, "the other entity's key"), (_POSITION, "the event's place in the log")):
        if name not in frame.columns:
            raise UsageError(f"The frame has no column {name!r} with {what}; it has {', '.join(frame.columns)}.")
    if not (frame.schema[on] == pl.String or frame.schema[on].is_integer() or frame.schema[on] == pl.Null):
        raise UsageError(f"The column {on!r} has the type {frame.schema[on]}: cast it to text or whole numbers.")
    if not (frame.schema[_POSITION].is_integer() or frame.schema[_POSITION] == pl.Null):
        raise UsageError(f"The column 'position' has the type {frame.schema[_POSITION]}: a position in the log is a whole number.")
    sequence = pl.col(_SEQUENCE).cast(pl.Int64) if timeline.edits and _SEQUENCE in frame.columns else pl.lit(0, pl.Int64)
    asked = frame.select(pl.col(on).cast(pl.String).alias(_KEY), pl.col(_POSITION).cast(pl.Int64), sequence.alias(_SEQUENCE))
    last, end = asked[_POSITION].max(), timeline.position
    if isinstance(last, int) and (end is None or last > end):
        where = "is empty" if end is None else f"ends at {end}"
        raise UsageError(
            f"The frame has an event at position {last}, but the timeline {where}: pass the timeline that contains the events."
        )
    return asked


def _stood(asked: pl.DataFrame, changes: pl.DataFrame, *, before: bool) -> pl.Series:
    """Return the version that was valid at each position; null if there was none.

    Versions begin and end in the order of their ``rank``. With ``before``, changes at the same position count as later.
    """
    rank = pl.lit(-1 if before else _LAST, pl.Int64).alias("rank")
    rows = asked.with_row_index("_row").drop_nulls([_KEY, _POSITION]).with_columns(rank)
    entities = rows.select(_KEY).unique().with_row_index("_entity")  # numbers sort faster than texts
    both = pl.concat([rows.join(entities, on=_KEY), changes.join(entities, on=_KEY)], how="diagonal")
    walked = both.sort("_entity", _POSITION, _SEQUENCE, "rank").with_columns(pl.col("_version").forward_fill().over("_entity"))
    stood = walked.filter(pl.col("_row").is_not_null() & (pl.col("_version") != _NOBODY)).select("_row", "_version")
    every = pl.DataFrame({"_row": pl.int_range(asked.height, dtype=pl.get_index_type(), eager=True)})
    return every.join(stood, on="_row", how="left", maintain_order="left")["_version"]
