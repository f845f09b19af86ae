"""Which engine answers: the one place that knows how the state of a plan or of a fold is come by."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from workbench.fold import vectorised
from workbench.fold.event_by_event.function_fold import Fold, fold_function
from workbench.fold.event_by_event.plan_fold import OnError, fold
from workbench.fold.resolve import Subject, keyed_by_stream
from workbench.fold.results import FoldResult, history_schema
from workbench.materialised.key_index import narrowed
from workbench.projection import plan as ir
from workbench.projection.fields import fits_int64
from workbench.projection.rows import ROW
from workbench.timeline import Timeline


def replay(
    subject: Subject,
    timeline: Timeline,
    *,
    key: str | None = None,
    initial: pl.DataFrame | None = None,
    history: bool = False,
    errors: OnError = "raise",
    counted: bool = True,
) -> FoldResult:
    """Fold a timeline's events by the best engine there is for them.

    Parameters
    ----------
    timeline
        As ``subject.folded`` gives it.
    key
        Only this entity. The counts are then of the events that were looked at.
    initial
        The state of a plan that an earlier replay gave, which goes on from there; the timeline then holds the events after it. With
        ``history``, instead, the versions that no event had ended: they are given again, with their ends where those are known now.
    counted
        Whether the counts are looked at: without, those of types that nobody handles may be left out.
    """
    if key is not None:
        timeline = narrowed(subject, timeline, key)
    if isinstance(subject, Fold):
        assert initial is None
        result, _ = fold_function(subject, events_of(subject, timeline, key=key).collect(), errors=errors)
    elif initial is not None and vectorised.supports(subject):
        if not history:
            return vectorised.state(subject, timeline, key=key, initial=initial, errors=errors, counted=counted).result
        found = vectorised.versions(subject, timeline, key=key, initial=initial, errors=errors, counted=counted)
        versions = pl.concat([pl.DataFrame(schema=history_schema(subject)), *found]).sort("key", maintain_order=True)
        assert found.result is not None
        return replace(found.result, history=versions)
    elif vectorised.supports(subject):
        ask = vectorised.history if history else vectorised.state
        return ask(subject, timeline, key=key, errors=errors, counted=counted).result
    else:
        plan = subject if key is None or keyed_by_stream(subject) else _about(subject, key)
        state, versions = (None, initial) if history else (initial, None)
        events = events_of(subject, timeline, key=key).collect_batches(maintain_order=True)
        result = fold(plan, events, initial=state, versions=versions, history=history, errors=errors)
    if key is None:
        return result
    mine = pl.col("key") == key
    return replace(result, state=result.state.filter(mine), history=None if result.history is None else result.history.filter(mine))


def events_of(subject: Subject, timeline: Timeline, *, key: str | None = None) -> pl.LazyFrame:
    """Return the events that have to be looked at, in log order, with the columns that an engine reads."""
    ours = timeline.categories(*subject.categories)
    if key is None or not keyed_by_stream(subject):
        return ours.events().select(ROW)
    streams = [f"{category}-{key}" for category in subject.categories]
    # A star in a name stands for any run of characters: what it lets in too goes out by the second condition.
    return ours.streams(*streams).events().filter(pl.col("stream").is_in(streams)).select(ROW)


def _about(plan: ir.Plan, key: str) -> ir.Plan:
    """Return a plan that acts on the events of one entity only, so that no other one costs anything, or fails."""

    def narrowed(branch: ir.Branch) -> ir.Branch:
        assert branch.key is not None
        mine: list[ir.Condition] = [ir.Comparison(branch.key, "==", key)]
        if key.removeprefix("-").isdecimal() and str(int(key)) == key and fits_int64(int(key)):
            mine.append(ir.Comparison(branch.key, "==", int(key)))
        about: ir.Condition = ir.AnyOf(tuple(mine))
        handlers = tuple(
            replace(handler, where=about if handler.where is None else ir.AllOf((about, handler.where))) for handler in branch.handlers
        )
        return replace(branch, handlers=handlers)

    types = tuple(replace(handled, branches=tuple(map(narrowed, handled.branches))) for handled in plan.types)
    return replace(plan, types=types)
