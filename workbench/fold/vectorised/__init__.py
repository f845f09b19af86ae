"""The vectorised kernel: folds a plan column by column over whole chunks of a log.

DuckDB extracts the places that a plan reads; numpy and Polars fold. Entities with a value that is not plainly what its field takes are
handed over to the event-by-event engine, so that results are equal bit for bit.
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
    """A result, and where the time went."""

    result: FoldResult
    timings: Timings


@dataclass(frozen=True, slots=True)
class Side:
    """What was recorded, or a what-if of it: the state in the end, and where edits first show.

    Attributes
    ----------
    marks
        Of each entity the first applied event that edits took away from this side, or put there: see ``marks.Marks.found``.
    unknown
        Keys of entities of which that is not known.
    """

    state: pl.DataFrame
    marks: pl.DataFrame
    unknown: pl.Series


@dataclass(slots=True)
class VersionBatches:
    """Versions as they end, in batches; ``result`` is known when all were taken."""

    batches: Iterator[pl.DataFrame]
    timings: Timings = field(default_factory=Timings)
    result: FoldResult | None = None

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return self.batches


def supports(plan: Plan) -> bool:
    """Tell whether the kernel can run a plan: all but upcasters that are Python functions."""
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
    """Fold a timeline into the state of every entity, or of the one that has a key.

    Parameters
    ----------
    initial
        The state that an earlier replay gave; the timeline then holds the events after it.
    errors
        See ``workbench.fold.event_by_event.plan_fold.fold``, as for all else that this gives or raises.
    counted
        Whether to count the events of types that nobody handles, which takes a query of its own.
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
    """Fold what was recorded and a what-if of it into the state of every entity, side by side, and extract only once what both share."""
    layout = ExtractionLayout.of(plan, key=None)
    engines = [Engine(plan, layout, key=None, keeps_history=False, errors=errors, timings=Timings()) for _ in range(2)]
    marks = [engine.mark() for engine in engines]
    # Numpy works in one thread: where the one side has work for one processor only, the other takes the rest.
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
    """Return every version of every entity, or of one, in batches as they are found; those of an entity are in log order.

    Memory is bounded by a chunk of the log and one version of every entity.

    Parameters
    ----------
    keys
        Only these entities of a plan of one category, whose keys are the names of streams; there may be many.
    initial
        The versions that no event had ended at the end of an earlier replay; the timeline then holds the events after it. They are given
        again, with their ends where those are known now.
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
    """Fold a timeline into ``versions``, and the state at its end. All of it is held in memory."""
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
    # Closed here and not by the garbage collector, which may come at any time and in any thread.
    with closing(extracted.chunks()) as chunks:
        while True:
            with timings.stage("wait"):
                chunk = next(chunks, None)
            if chunk is None:
                return
            timings.read += chunk.seconds
            yield from engine.take(chunk)
