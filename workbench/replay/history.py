"""``history``: every version of every entity, in log order."""

from __future__ import annotations

import polars as pl

from workbench.fold.event_by_event.function_fold import Fold
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.resolve import Source, folded, subject_of
from workbench.materialised.histories import history_of
from workbench.replay.versions import beginning_after, versions
from workbench.timeline import Timeline


def history(projection: Source, timeline: Timeline, *, key: str | None = None, errors: OnError = "raise") -> pl.DataFrame:
    """Return every version of every entity, or of one: sorted by key, versions in log order.

    One row for each event that was applied to an entity and left it there: ``key``, the fields after it, the event's ``event_type`` and
    ``revision``, ``event_count`` as in a state, and how long the version was valid: from ``valid_from_position`` and ``valid_from``,
    inclusively, to ``valid_to_position`` and ``valid_to``, exclusively, which are null while it is. ``timeline.after(...)`` bounds the
    rows, and no state: entities are folded from their first event. A materialised history is read instead; a ``Fold`` has snapshots,
    which help where ``after`` leaves out what lies before one. The columns of a fold are those of the states that stand there, or follow.

    Raises
    ------
    UsageError, ValueDoesNotFit
        As ``rebuild`` does.
    """
    subject = subject_of(projection, timeline)
    whole = folded(timeline, subject, question="history")
    if isinstance(subject, Fold):
        rows = versions(subject, whole, key=key, since=timeline.after_position, errors=errors).history
    else:
        rows = history_of(subject, whole, key=key, since=timeline.after_position, errors=errors)
    return beginning_after(rows, timeline)
