"""Folds a plan column by column, over whole chunks of a log.

A plan and a timeline come in; state and versions of entities go out, equal bit for bit to those of `event_by_event`.
DuckDB extracts the values that the plan reads; numpy and Polars fold them.
If a value needs exact conversion, its entity is handed over to the event-by-event engine for the rest of the replay.
Begin reading with ``engine``: ``handler_matching``, ``lifetimes`` and ``operations`` are its stages, ``entity_table`` its memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field

import polars as pl

from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.results import FoldResult, history_schema, state_of_versions
from workbench.fold.vectorised.engine import Engine, Timings
from workbench.fold.vectorised.extraction_layout import ExtractionLayout
from workbench.projection.plan import Plan
from workbench.timeline import Timeline
from workbench.timeline.extraction import Extracted

__all__ = ["Replay", "Side", "Timings", "beside", "history", "state", "supports", "versions"]


@dataclass(frozen=True, slots=True)
class Replay:
    """A result, and the time that each stage took."""

    result: FoldResult
    timings: Timings


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison of a recorded history with a fork: the final state, and the first effects of the edits.

    Attributes
    ----------
    marks
        For each entity, the first applied event that edits removed from or added to this side: see ``Marks.found``.
    unknown
        Keys of entities whose first such event is unknown.
    """

    state: pl.DataFrame
    marks: pl.DataFrame
    unknown: pl.Series


@dataclass(slots=True)
class VersionBatches:
    """Iterates over versions in batches, as they end. ``result`` is set after the last batch."""

    batches: Iterator[pl.DataFrame]
    timings: Timings = field(default_factory=Timings)
    result: FoldResult | None = None

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return self.batches


def supports(plan: Plan) -> bool:
    """Whether this engine can run a plan: any plan without upcasters that need Python."""
    return not plan.python_only


def state(
    plan: Plan,
    timeline: Timeline,
    *,
    key: str | None = None,
    initial: pl.DataFrame | None = None,
    errors: OnError = "raise",
    counted: bool = True,
) -> Replay:
    """Fold a timeline into the state of every entity, or of one.

    Parameters
    ----------
    initial
        The state from an earlier replay; the timeline then has only the events after it.
    errors
        See ``workbench.fold.event_by_event.plan_fold.fold``, which also documents the result and the exceptions.
    counted
        Whether to count the events of types without a handler, which takes a separate query.
    """
    timings = Timings()
    extracted, engine = _engine(plan, timeline, key=key, keeps_history=False, errors=errors, timings=timings)
    if initial is not None:
        engine.resume(initial)
    for _ in _folded(extracted, engine, timings):
        pass
    with timings.stage("write"):
        result = engine.result(Counter(extracted.unwanted() if counted else ()))
    return Replay(result, timings)


def beside(plan: Plan, fork: Timeline, *, errors: OnError = "raise") -> tuple[Side, Side]:
    """Fold a recorded history and its fork in parallel, and extract the events that both share only once."""
    layout = ExtractionLayout.of(plan, key=None)
    engines = [Engine(plan, layout, key=None, keeps_history=False, errors=errors, timings=Timings()) for _ in range(2)]
    marks = [engine.mark() for engine in engines]
    # Numpy works in one thread: while one side uses a single processor, the other side uses the rest.
    with closing(fork.log.extract_beside(fork, layout.extraction)) as pairs, ThreadPoolExecutor(1, thread_name_prefix="side") as other:
        for pair in pairs:
            forked = other.submit(_exhaust, engines[1].take(pair.forked, pointed=pair.put))
            try:
                _exhaust(engines[0].take(pair.recorded, pointed=pair.gone))
            finally:
                wait([forked])
            forked.result()
    recorded, forked_side = (
        Side(engine.result(Counter()).state, found.found(), found.unknown()) for engine, found in zip(engines, marks, strict=True)
    )
    return recorded, forked_side


def _exhaust(batches: Iterator[pl.DataFrame]) -> None:
    for _ in batches:
        pass


def versions(
    plan: Plan,
    timeline: Timeline,
    *,
    key: str | None = None,
    keys: pl.Series | None = None,
    initial: pl.DataFrame | None = None,
    errors: OnError = "raise",
    counted: bool = True,
) -> VersionBatches:
    """Return every version of every entity, or of one, in batches; the versions of an entity are in log order.

    Memory is bounded by a chunk of the log and one version of every entity.

    Parameters
    ----------
    keys
        Only these entities of a plan of one category, whose keys are the names of streams; there may be many.
    initial
        The open versions at the end of an earlier replay; the timeline then has only the events after it. They are returned again, with
        their ends if these are known now.
    """
    timings = Timings()
    extracted, engine = _engine(plan, timeline, key=key, keys=keys, keeps_history=True, errors=errors, timings=timings)
    if initial is not None:
        engine.resume(state_of_versions(initial, plan), initial)

    def batches() -> Iterator[pl.DataFrame]:
        yield from _folded(extracted, engine, timings)
        with timings.stage("write"):
            rest = list(engine.rest())
        yield from rest
        found.result = engine.result(Counter(extracted.unwanted() if counted else ()))

    found = VersionBatches(batches(), timings)
    return found


def history(
    plan: Plan,
    timeline: Timeline,
    *,
    key: str | None = None,
    keys: pl.Series | None = None,
    initial: pl.DataFrame | None = None,
    errors: OnError = "raise",
    counted: bool = True,
) -> Replay:
    """Fold a timeline into all its versions and the state at its end, all in memory."""
    found = versions(plan, timeline, key=key, keys=keys, initial=initial, errors=errors, counted=counted)
    batches = list(found)
    assert found.result is not None
    with found.timings.stage("write"):
        whole = pl.concat([pl.DataFrame(schema=history_schema(plan)), *batches])
        whole = whole.sort("key", maintain_order=True)
    result = found.result
    return Replay(FoldResult(result.state, whole, result.counts, result.failures), found.timings)


def _engine(
    plan: Plan,
    timeline: Timeline,
    *,
    key: str | None,
    keys: pl.Series | None = None,
    keeps_history: bool,
    errors: OnError,
    timings: Timings,
) -> tuple[Extracted, Engine]:
    layout = ExtractionLayout.of(plan, key=key, keys=keys)
    extracted = timeline.log.extract(timeline, layout.extraction)
    return extracted, Engine(plan, layout, key=key, keeps_history=keeps_history, errors=errors, timings=timings)


def _folded(extracted: Extracted, engine: Engine, timings: Timings) -> Iterator[pl.DataFrame]:
    # Close explicitly: the garbage collector might do it at any time and in any thread.
    with closing(extracted.chunks()) as chunks:
        while True:
            with timings.stage("wait"):
                chunk = next(chunks, None)
            if chunk is None:
                return
            timings.read += chunk.seconds
            yield from engine.take(chunk)
