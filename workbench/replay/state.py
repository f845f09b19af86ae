"""``state``: the state of every entity at the end of a timeline."""

from __future__ import annotations

import polars as pl

from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.resolve import Source, folded_from_the_start, subject_of
from workbench.materialised.histories import state_of
from workbench.replay.rebuild import rebuild
from workbench.timeline import Timeline


def state(
    projection: Source, timeline: Timeline, *, key: str | None = None, revision: int | None = None, errors: OnError = "raise"
) -> pl.DataFrame:
    """Return the state of every entity at the end of a timeline: one row for each that is there, sorted by key.

    The columns are ``key``, the projection's fields, and of the last event that was applied to the entity ``position``, ``revision`` and
    ``recorded_at``; ``event_count`` events were, since it began. Parameters and errors are those of ``rebuild``, whose ``state`` it is;
    ``rebuild`` also says what became of each event.
    """
    if revision is not None:
        return rebuild(projection, timeline, key=key, revision=revision, errors=errors).state
    subject = subject_of(projection, timeline)
    return state_of(subject, folded_from_the_start(timeline, subject, question="state"), key=key, errors=errors)
