"""``history``: returns every version of every entity, in log order."""

from __future__ import annotations

import polars as pl

from workbench.fold.event_by_event.function_fold import Fold
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.resolve import Source, folded, subject_of
from workbench.materialised.histories import history_of
from workbench.replay.versions import beginning_after, versions
from workbench.timeline import Timeline


def history(projection: Source, timeline: Timeline, *, key: str | None = None, errors: OnError = "raise") -> pl.DataFrame:
    """Return every version of every entity.

    A version is the state of an entity after one event. A materialised history is read instead of folded.

    Parameters
    ----------
    projection
        A class that extends `Projection`, a `Fold`, or the name of a category, as in `state`.
    timeline
        The history to fold. ``timeline.after(...)`` bounds the rows that are returned, not the fold: an entity is always folded from its
        first event.
    key
        Only this entity.
    errors
        ``"raise"`` stops at the first value that does not fit its field. ``"collect"`` leaves such events out.

    Returns
    -------
    polars.DataFrame
        One row for each event that was applied to an entity and did not end it, sorted by ``key``, then in log order: the key, the fields
        after the event, ``event_type`` and ``revision`` of the event, and ``event_count``, the number of events applied since the entity
        began. The version is valid from ``valid_from_position`` and ``valid_from``, inclusive, to ``valid_to_position`` and ``valid_to``,
        exclusive; both are null while it is valid. For a `Fold`, the columns are those of the states that it returned.

    Raises
    ------
    UsageError
        The timeline selects a part of the events, which would change the states, or the lake has no such category.
    ValueDoesNotFit
        A value does not fit its field, or a stream's name has no key.

    Examples
    --------
    >>> from workbench.sample.projections import Room
    >>> now = wb.open("data/demo").timeline
    >>> wb.history(Room, now, key="1").select("name", "messages", "event_type", "valid_from").head(3)
    shape: (3, 4)
    ┌───────┬──────────┬────────────────────┬────────────────────────────────┐
    │ name  ┆ messages ┆ event_type         ┆ valid_from                     │
    │ ---   ┆ ---      ┆ ---                ┆ ---                            │
    │ str   ┆ i64      ┆ str                ┆ datetime[μs, UTC]              │
    ╞═══════╪══════════╪════════════════════╪════════════════════════════════╡
    │ Lobby ┆ 0        ┆ chat.room_created  ┆ 2026-01-01 00:00:45.731224 UTC │
    │ Lobby ┆ 0        ┆ chat.member_joined ┆ 2026-01-01 00:00:45.731224 UTC │
    │ Lobby ┆ 1        ┆ chat.message_sent  ┆ 2026-01-01 00:00:48.731224 UTC │
    └───────┴──────────┴────────────────────┴────────────────────────────────┘
    """
    subject = subject_of(projection, timeline)
    whole = folded(timeline, subject, question="history")
    if isinstance(subject, Fold):
        rows = versions(subject, whole, key=key, since=timeline.after_position, errors=errors).history
    else:
        rows = history_of(subject, whole, key=key, since=timeline.after_position, errors=errors)
    return beginning_after(rows, timeline)
