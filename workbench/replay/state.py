"""``state``: returns the state of every entity at the end of a timeline."""

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
    """Return the state of every entity at the end of a timeline.

    States that were materialised are read; only the events after them are folded. `rebuild` gives the same states and also says what
    became of each event.

    Parameters
    ----------
    projection
        A class that extends `Projection`, a `Fold`, or the name of a category. The payloads of a category are merged: the last event to
        name a top-level key wins.
    timeline
        The history to fold, from its first event to its cutoff, inclusive. A what-if is folded as its edits leave it.
    key
        Only this entity.
    revision
        Only events of the entity's stream up to this revision, inclusive. Needs ``key``.
    errors
        ``"raise"`` stops at the first value that does not fit its field. ``"collect"`` leaves such events out.

    Returns
    -------
    polars.DataFrame
        One row for each entity that exists, sorted by ``key``: the key, the projection's fields, and ``position``, ``revision`` and
        ``recorded_at`` of the last event that was applied to it. ``event_count`` is the number of events applied since it began.

    Raises
    ------
    UsageError
        The timeline selects a part of the events, which would change the state; the lake has no such category; or the stream has no
        such revision.
    ValueDoesNotFit
        A value does not fit its field, or a stream's name has no key.

    Examples
    --------
    >>> from workbench.sample.projections import User
    >>> then = wb.open("data/demo").timeline.upto("2026-02-01")
    >>> wb.state(User, then, key="4").select("key", "name", "plan", "logins", "event_count")
    shape: (1, 5)
    ┌─────┬──────────────────┬──────────┬────────┬─────────────┐
    │ key ┆ name             ┆ plan     ┆ logins ┆ event_count │
    │ --- ┆ ---              ┆ ---      ┆ ---    ┆ ---         │
    │ str ┆ str              ┆ str      ┆ i64    ┆ i64         │
    ╞═════╪══════════════════╪══════════╪════════╪═════════════╡
    │ 4   ┆ Małgorzata Zhang ┆ business ┆ 76     ┆ 124         │
    └─────┴──────────────────┴──────────┴────────┴─────────────┘
    """
    if revision is not None:
        return rebuild(projection, timeline, key=key, revision=revision, errors=errors).state
    subject = subject_of(projection, timeline)
    return state_of(subject, folded_from_the_start(timeline, subject, question="state"), key=key, errors=errors)
