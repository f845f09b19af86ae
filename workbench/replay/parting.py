"""Where what was recorded and a what-if part, for entities by the ten thousand, without every version of each of them.

Before the first event of a stream that edits touch, both sides are the same. So the two states right after it mostly say all: if they
differ, that event is where the two part. Entities for which they do not are left to be looked at version by version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import polars as pl

from workbench.extraction import Extracted, Extraction
from workbench.projection.plan import Plan
from workbench.replay import kernel
from workbench.replay.fold import OnError
from workbench.replay.witness import with_witness
from workbench.timeline import RecordedLog, Timeline

_STREAM, _KEY = ("stream", "position", "prepare_position"), ("position", "prepare_position")
Answer = TypeVar("Answer")
PARTED = ("key", "parted_position", "parted_event_id", "parted_event_type", "parted_at")


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


def parted_at_first(
    plan: Plan, plain: Timeline, fork: Timeline, *, fields: Sequence[str], errors: OnError
) -> tuple[tuple[pl.DataFrame, pl.DataFrame], pl.DataFrame]:
    """Return both states, and of the entities that part at the first event that edits touch, that event: a frame of ``PARTED``.

    Parameters
    ----------
    plan
        Of one category, keyed by the stream.
    plain, fork
        The same timeline without edits, and with them.
    """
    taken, put = fork.log.first_touched(fork, [handled.type for handled in plan.types])
    prefix = f"{plan.categories[0]}-"
    ours = pl.concat([taken, put]).select(_STREAM).filter(pl.col("stream").str.starts_with(prefix))
    first = ours.sort(_KEY).unique("stream", keep="first").with_columns(key=pl.col("stream").str.slice(len(prefix)))
    traced, witness = with_witness(plan, ["prepare_position"])
    answers = both(lambda one: kernel.marked(traced, one, first, errors=errors), plain, fork)
    unknown = pl.concat([answer.unknown for answer in answers])
    first = first.filter(~pl.col("key").is_in(unknown.implode()))
    sides = []
    for answer, name in zip(answers, "ab", strict=True):
        sides.append(
            answer.at_marks.select(
                "key",
                pl.struct(fields or ("key",)).alias(f"_{name}"),
                pl.col("position").alias(f"_position_{name}"),
                pl.col(witness["prepare_position"]).alias(f"_prepare_{name}"),
                pl.lit(value=True).alias(f"_there_{name}"),
            )
        )
    found = first.join(sides[0], on="key", how="left").join(sides[1], on="key", how="left")
    for rows, name in ((taken, "a"), (put, "b")):
        marks = rows.select(*_STREAM, *(pl.col(one).alias(f"_{one}_{name}") for one in ("event_id", "type", "recorded_at")))
        found = found.join(marks, on=_STREAM, how="left")
    there_a, there_b = (pl.col(f"_there_{name}").fill_null(value=False) for name in "ab")
    event_a, event_b = (pl.col(f"_event_id_{name}").is_not_null() for name in "ab")
    applied_a, applied_b = (
        ((pl.col(f"_position_{name}") == pl.col("position")) & (pl.col(f"_prepare_{name}") == pl.col("prepare_position"))).fill_null(
            value=False
        )
        for name in "ab"
    )
    by_b = applied_b | (there_a & ~there_b & event_b & ~applied_a)
    by_a = ~by_b & ((applied_a & (there_b | ~event_b)) | (there_b & ~there_a & event_a))
    differs = pl.any_horizontal(
        there_a != there_b, *(pl.col("_a").struct.field(one).ne_missing(pl.col("_b").struct.field(one)) for one in fields)
    )
    found = found.with_columns(_by_a=by_a, _by_b=by_b).filter(differs & (pl.col("_by_a") | pl.col("_by_b")))

    def named(column: str) -> pl.Expr:
        return pl.when("_by_b").then(f"_{column}_b").otherwise(f"_{column}_a")

    parted = found.select(
        "key",
        parted_position="position",
        parted_event_id=named("event_id"),
        parted_event_type=named("type"),
        parted_at=named("recorded_at"),
    )
    return (answers[0].state, answers[1].state), parted
