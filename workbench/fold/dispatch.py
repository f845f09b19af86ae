"""Chooses the engine that folds a plan or a fold."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from workbench.fold import vectorised
from workbench.fold.entity_scope import EntityScope, KeyIndex
from workbench.fold.event_by_event.function_fold import Fold, fold_function
from workbench.fold.event_by_event.plan_fold import OnError, fold
from workbench.fold.resolve import Subject
from workbench.fold.results import FoldResult
from workbench.timeline import Timeline


def replay(
    subject: Subject,
    timeline: Timeline,
    *,
    key: str | None = None,
    keys: pl.Series | None = None,
    index: KeyIndex | None = None,
    initial: pl.DataFrame | None = None,
    history: bool = False,
    errors: OnError = "raise",
    counted: bool = True,
) -> FoldResult:
    """Fold a timeline's events with the fastest engine that can run the subject.

    Parameters
    ----------
    timeline
        As ``resolve.folded`` gives it.
    key
        Only this entity. The counts are then of the events that were looked at.
    keys
        Only these entities, with ``history``, of a plan of one category whose keys are the names of streams.
    index
        What is known of where events about an entity stand, for a key that stands in events.
    initial
        The state of a plan that an earlier replay gave, which goes on from there; the timeline then holds the events after it. With
        ``history``, instead, the versions that no event had ended: they are given again, with their ends where those are known now.
    counted
        Whether the counts are looked at: without, those of types that nobody handles may be left out.
    """
    scope = EntityScope.of(subject, timeline, key=key, index=index)
    if isinstance(subject, Fold):
        assert initial is None
        result, _ = fold_function(subject, scope.events().collect(), errors=errors)
    elif vectorised.supports(subject):
        if history:
            return vectorised.history(subject, scope.timeline, key=key, keys=keys, initial=initial, errors=errors, counted=counted).result
        return vectorised.state(subject, scope.timeline, key=key, initial=initial, errors=errors, counted=counted).result
    else:
        state, versions = (None, initial) if history else (initial, None)
        events = scope.events().collect_batches(maintain_order=True)
        result = fold(scope.plan, events, initial=state, versions=versions, history=history, errors=errors)
    if key is None and keys is None:
        return result
    mine = pl.col("key") == key if keys is None else pl.col("key").is_in(keys.implode())
    return replace(result, state=result.state.filter(mine), history=None if result.history is None else result.history.filter(mine))
