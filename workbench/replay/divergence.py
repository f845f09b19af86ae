"""Where what was recorded and a what-if part, for entities by the ten thousand, without every version of each of them.

What two histories of an entity share does the same to equal states. So they can only part at an event that edits touch, and the first one
that is applied on either side mostly says all: if the states after it differ, that is where the two part. Entities for which they do not
are left to be looked at version by version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import polars as pl

from workbench.fold import vectorised
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.projection.plan import Plan
from workbench.timeline import RecordedLog, Timeline
from workbench.timeline.extraction import Extracted, Extraction

_PLACE = ("position", "prepare_position")
Answer = TypeVar("Answer")
DIVERGED = ("key", "diverged_position", "diverged_event_id", "diverged_event_type", "diverged_at")


@dataclass(frozen=True, slots=True)
class _Among:
    """A log that gives only some streams to the kernel."""

    log: RecordedLog
    streams: pl.Series

    def extract(self, timeline: Timeline, extraction: Extraction) -> Extracted:
        return self.log.extract(replace(timeline, log=self.log), replace(extraction, among=self.streams))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)


def both(ask: Callable[[Timeline], Answer], a: Timeline, b: Timeline) -> tuple[Answer, Answer]:
    """Ask of two timelines at once: where the one has work for one processor only, the other takes the rest."""
    with ThreadPoolExecutor(1, thread_name_prefix="side") as beside:
        other = beside.submit(ask, b)
        return ask(a), other.result()


def among(timeline: Timeline, streams: pl.Series) -> Timeline:
    """Return a timeline that gives the kernel only these streams, which may be too many for a selection."""
    log: Any = _Among(timeline.log, streams)
    return replace(timeline, log=log)


def first_divergence(
    plan: Plan, fork: Timeline, *, fields: Sequence[str], errors: OnError
) -> tuple[tuple[pl.DataFrame, pl.DataFrame], pl.DataFrame]:
    """Return both states, and of the entities that part at the first applied event that edits touch, that event: a frame of ``DIVERGED``.

    Parameters
    ----------
    plan
        Keyed by the stream.
    fork
        A what-if of which nothing is hidden; the other side is the same timeline without edits.
    """
    a, b = vectorised.beside(plan, fork, errors=errors)
    unknown = pl.concat([a.unknown, b.unknown])
    sides = [
        side.marks.select("key", pl.struct(_PLACE).alias(f"at_{name}"), pl.exclude("key", *_PLACE).name.suffix(f"_{name}"))
        for side, name in ((a, "a"), (b, "b"))
    ]
    found = sides[0].join(sides[1], on="key", how="full", coalesce=True).filter(~pl.col("key").is_in(unknown.implode()))
    (position_a, prepare_a), (position_b, prepare_b) = ([pl.col(f"at_{name}").struct.field(one) for one in _PLACE] for name in "ab")
    earlier = (position_a < position_b) | ((position_a == position_b) & (prepare_a < prepare_b))
    same = (position_a == position_b) & (prepare_a == prepare_b)
    # Where only one side applies the event, the other still is what both were before it.
    by_a = (earlier | pl.col("at_b").is_null()).fill_null(value=False)
    by_b = ~by_a & ~same.fill_null(value=False)
    found = found.with_columns(
        _there_a=pl.when(by_b).then("there_before_b").otherwise("there_after_a"),
        _there_b=pl.when(by_a).then("there_before_a").otherwise("there_after_b"),
        _a=pl.when(by_b).then("before_b").otherwise("after_a"),
        _b=pl.when(by_a).then("before_a").otherwise("after_b"),
        _by_a=by_a,
    )
    differs = pl.any_horizontal(
        pl.col("_there_a") != pl.col("_there_b"),
        *(pl.col("_a").struct.field(one).ne_missing(pl.col("_b").struct.field(one)) for one in fields),
    )

    def of_side(column: str) -> pl.Expr:
        return pl.when("_by_a").then(f"{column}_a").otherwise(f"{column}_b")

    types = pl.Series([handled.type for handled in plan.types], dtype=pl.String)
    diverged = (
        found.filter(differs)
        .select("key", of_side("at").struct.unnest(), diverged_at=of_side("recorded_at"), code=of_side("code"))
        .with_columns(diverged_event_type=pl.col("code").map_batches(types.gather, return_dtype=pl.String))
    )
    named = fork.log.named(fork, diverged.select(_PLACE))
    return (a.state, b.state), diverged.join(named, on=_PLACE, how="left").select(
        "key", "diverged_event_type", "diverged_at", diverged_position="position", diverged_event_id="event_id"
    ).select(DIVERGED)
