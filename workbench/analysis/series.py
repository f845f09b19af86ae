"""Evaluates measures of states over time in one pass over the history, instead of one rebuild for each step."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal, Self, get_args

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.compute as pc

from workbench.analysis.fork_sequence import put_in, sequences
from workbench.errors import UsageError
from workbench.fold import vectorised
from workbench.fold.event_by_event.function_fold import Fold
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.resolve import Source, folded, subject_of
from workbench.fold.results import PROVENANCE, history_schema, state_schema
from workbench.materialised.histories import history_of, kept_versions
from workbench.projection.plan import Plan
from workbench.replay.state import state
from workbench.replay.state_conditions import json_fields
from workbench.replay.versions import versions as versions_of
from workbench.scenarios.measures import Measure, expression
from workbench.timeline import Timeline
from workbench.zones import check_zone, edges, instant, microseconds

Every = Literal["1h", "1d", "1w", "1mo"]

_MICROSECOND = timedelta(microseconds=1)
_HOUR = timedelta(hours=1)
_MOST_STEPS = 65_000
"""The number of a step fits into 16 bits, which makes sorting versions several times as fast."""
_OF_A_STEP = ("at", "position")
_OF_A_STATE = {"valid_from_position": "position", "valid_from": "recorded_at"}
"""The names in a state of the columns of a version."""
_COLUMN = "state "
_NEVER = np.iinfo(np.int64).max
_UNDATED = -2
_CARRIED = """
    SELECT position, make_timestamptz(last_value(epoch_us(recorded_at) IGNORE NULLS) OVER (ORDER BY position, prepare_position))
        AS recorded_at FROM events
"""
"""The events, where an undated event gets the time of the last dated event before it, as in ``upto``."""
_SHORTEST = {"1h": _HOUR, "1d": timedelta(hours=23), "1w": timedelta(weeks=1), "1mo": timedelta(days=28)}
_Numbers = npt.NDArray[np.int64]


def series(
    projection: Source,
    timeline: Timeline,
    *measures: pl.Expr | str,
    every: Every = "1d",
    tz: str = "UTC",
    errors: OnError = "raise",
    **named: pl.Expr | str,
) -> pl.DataFrame:
    """Measure the state of all entities at each step of time.

    A measure gives exactly what it would give of ``state(projection, timeline.upto(step))``: the same entities in the same order. But the
    events are folded only once, or a materialised history is read, and of each entity only the versions that are valid at a step are kept.

    Parameters
    ----------
    projection
        A class that extends `Projection`, a `Fold`, or the name of a category, as in `state`.
    timeline
        Any history from its first event on, what-ifs included. ``after`` bounds the steps, not the fold.
    *measures
        Polars aggregations over the columns of `state`: ``pl.len()``, ``pl.col("balance").sum()``, ``pl.col("city").n_unique()``. Or SQL,
        which also names the column: ``"count(*)"``, ``"sum(paid) filter (where plan = 'pro')"`` (see ``workbench.conditions``).
    every
        Steps are the first instants of hours, days, weeks (from Monday) or months: ``"1h"``, ``"1d"``, ``"1w"`` or ``"1mo"``.
    tz
        The IANA name of the time zone in which they begin.
    errors
        ``"raise"`` stops at the first value that does not fit its field. ``"collect"`` leaves such events out.
    **named
        Measures with names for their columns: ``users=pl.len()``.

    Returns
    -------
    polars.DataFrame
        One row for each step after the first event, in order, and a last one for the end of the timeline: ``at`` (Datetime in ``tz``; in
        the last row the time of the cutoff, or else of the last event), ``position`` (Int64; that of the last event by then, as ``upto``
        resolves it; null before the first), and the measures. Empty if there are no events.

    Raises
    ------
    UsageError
        There is no measure, a measure returns several values or names a column that does not exist, ``every`` or ``tz`` is unknown, there
        would be more than 65,000 steps, or the timeline selects a part of the events, which would change the states.
    ValueDoesNotFit
        A value does not fit its field, or a stream's name has no key.

    Examples
    --------
    >>> from workbench.sample.projections import User
    >>> now = wb.open("data/demo").timeline
    >>> wb.series(User, now, "sum(paid)", users=pl.len(), every="1mo").drop("position")
    shape: (3, 3)
    ┌────────────────────────────────┬───────────────┬───────┐
    │ at                             ┆ sum(paid)     ┆ users │
    │ ---                            ┆ ---           ┆ ---   │
    │ datetime[μs, UTC]              ┆ decimal[38,2] ┆ u32   │
    ╞════════════════════════════════╪═══════════════╪═══════╡
    │ 2026-02-01 00:00:00 UTC        ┆ 14183.28      ┆ 78    │
    │ 2026-03-01 00:00:00 UTC        ┆ 35531.91      ┆ 344   │
    │ 2026-03-31 23:57:18.285669 UTC ┆ 68118.56      ┆ 535   │
    └────────────────────────────────┴───────────────┴───────┘
    """
    if every not in get_args(Every):
        raise UsageError(f"every={every!r} is unknown: steps are {', '.join(map(repr, get_args(Every)[:-1]))} or {get_args(Every)[-1]!r}.")
    check_zone(tz)
    given = _given(measures, named)
    subject = subject_of(projection, timeline)
    whole = folded(timeline, subject, question="series")
    steps = _Steps.of(timeline, every=every, tz=tz)
    moved = put_in(whole)
    # What the store hides depends on the moment, and so do all versions. The same is true of a few forks.
    if whole.visible_only or steps.part(moved):
        columns = state(projection, whole, errors=errors).schema
        asked = _Measures.of(given, columns, json=json_fields(subject))
        nobody = pl.DataFrame(schema=columns)  # the columns of a fold's states are those of its entities
        states = (state(projection, whole.upto(moment, stale=True), errors=errors) for moment in steps.moments())
        answers = [asked.of_state(pl.concat([nobody, one], how="diagonal_relaxed")) for one in states]
    elif isinstance(subject, Fold) or whole.edits:
        found = versions_of(subject, whole, errors=errors)
        rows = found.history
        columns = rows.rename(_OF_A_STATE).drop("event_type", "valid_to_position", "valid_to").schema
        asked = _Measures.of(given, columns, json=json_fields(subject))
        late = sequences(found, projection, whole, moved, errors=errors)
        answers = list(_walk(_standing(rows, steps, columns=asked.columns_read(columns), late=late), steps, asked))
    else:
        columns = state_schema(subject)
        asked = _Measures.of(given, columns, json=json_fields(subject))
        read = asked.columns_read(columns)
        kept = [_standing(pl.DataFrame(schema=history_schema(subject)), steps, columns=read)]
        kept += [_standing(batch, steps, columns=read) for batch in _versions(subject, whole, errors=errors)]
        answers = list(_walk(pl.concat(kept), steps, asked))
    none = asked.of_state(pl.DataFrame(schema=columns)).clear()
    at = pl.from_epoch(pl.Series("at", steps.instants), time_unit="us").dt.replace_time_zone("UTC").dt.convert_time_zone(tz)
    position = pl.Series("position", steps.positions).set(pl.Series(steps.positions < 0), None)
    return pl.DataFrame([at, position]).hstack(asked.together([none, *answers]))


def _given(measures: tuple[pl.Expr | str, ...], named: Mapping[str, pl.Expr | str]) -> dict[str, pl.Expr | Measure]:
    """Return the measures by name; an expression without a name gets a number."""
    found: dict[str, pl.Expr | Measure] = {}
    for name, one in [*((one if isinstance(one, str) else str(number), one) for number, one in enumerate(measures)), *named.items()]:
        if not isinstance(one, pl.Expr | str):
            raise UsageError(f"{one!r} is not a measure: write a Polars aggregation like pl.len(), or a text like 'sum(balance)'.")
        if name in found:
            raise UsageError(f"The measure {name!r} is given twice.")
        found[name] = Measure.parse(one) if isinstance(one, str) else one.alias(name) if name in named else one
    if not found:
        raise UsageError("series() needs at least one measure: a Polars aggregation like pl.len(), or a text like 'sum(balance)'.")
    return found


@dataclass(frozen=True, slots=True)
class _Measures:
    """Aggregations of a state."""

    expressions: tuple[pl.Expr, ...]
    written: tuple[str, ...]
    """The names of the measures that were given as texts."""

    @classmethod
    def of(cls, given: Mapping[str, pl.Expr | Measure], schema: pl.Schema, *, json: Collection[str]) -> Self:
        """Check that each measure can be evaluated on states with these columns, and gives one value."""
        fields = [name for name in schema if name != "key" and name not in PROVENANCE]
        written = {name: one for name, one in given.items() if isinstance(one, Measure)}
        asked = cls(
            tuple(
                expression(one, schema, fields=fields, json=json).alias(name) if isinstance(one, Measure) else one
                for name, one in given.items()
            ),
            tuple(written),
        )
        nobody = pl.DataFrame(schema=schema)
        for one in asked.expressions:
            unknown = [] if one.meta.has_multiple_outputs() else [name for name in one.meta.root_names() if name not in schema]
            if unknown:
                raise UsageError(
                    f"The measure {one} names {', '.join(unknown)}, which is not a column of a state; it has {', '.join(schema)}."
                )
            if asked._asked(nobody, [one]).height != 1:
                raise UsageError(
                    f"The measure {one} gives a value for each entity, not one for all: aggregate it, for example with .sum()."
                )
        taken = [name for name in asked.of_state(nobody).columns if name in _OF_A_STEP]
        if taken:
            raise UsageError(f"{taken[0]!r} is a column of every step: rename the measure with .alias(…).")
        return asked

    def columns_read(self, schema: pl.Schema) -> list[str]:
        """Return the columns of a state that the measures read; at least one, to count the entities."""
        if any(one.meta.has_multiple_outputs() for one in self.expressions):  # a selector needs all columns
            return list(schema)
        return sorted({"position"}.union(*(one.meta.root_names() for one in self.expressions)))

    def of_state(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the values of the measures on a state, as one row."""
        found = self._asked(rows, list(self.expressions))
        if found.height != 1:
            raise UsageError(
                f"A measure gives one value for each state, but these give {found.height:,}: aggregate, for example with .sum()."
            )
        return found

    def together(self, answers: list[pl.DataFrame]) -> pl.DataFrame:
        """Return the answers as one frame; 128-bit integers, which few tools support, become 64-bit ones if they fit."""
        found = pl.concat(answers)
        wide = [name for name in self.written if found.schema[name] == pl.Int128]
        narrow = found.with_columns(pl.col(wide).cast(pl.Int64, strict=False))
        return narrow if narrow.null_count().equals(found.null_count()) else found

    def _asked(self, rows: pl.DataFrame, expressions: list[pl.Expr]) -> pl.DataFrame:
        try:
            return rows.select(expressions)
        except pl.exceptions.PolarsError as error:
            raise UsageError(f"The measures cannot be evaluated: {str(error).partition(chr(10))[0]}.") from error


@dataclass(frozen=True, slots=True)
class _Steps:
    """The steps of a series.

    Attributes
    ----------
    instants
        Distinct instants in microseconds since 1970, ascending.
    positions
        The position of the last event in the whole log that was recorded by each instant, within the timeline's cutoff; -1 before the
        first event.
    """

    instants: _Numbers
    positions: _Numbers

    @classmethod
    def of(cls, timeline: Timeline, *, every: Every, tz: str) -> Self:
        [(first, last)] = timeline.sql("SELECT min(epoch_us(recorded_at)), max(epoch_us(recorded_at)) FROM events").fetchall()
        if first is None:
            return cls(np.empty(0, np.int64), np.empty(0, np.int64))
        end = last if timeline.cutoff is None or timeline.cutoff.time is None else microseconds(timeline.cutoff.time)
        count = (end - first) // (_SHORTEST[every] // _MICROSECOND)
        if count > _MOST_STEPS:
            raise UsageError(
                f"every={every!r} makes {count:,} steps, more than {_MOST_STEPS:,}: use longer steps, or bound them with after()."
            )
        begun = edges(first, end, every, tz)
        instants = np.append(begun[(begun >= first) & (begun < end)], end)
        return cls(instants, _positions(timeline, instants))

    def part(self, moved: pl.DataFrame) -> bool:
        """Whether a step excludes an inserted event but includes a recorded event after it.

        An event inserted after a position, and not at a time, has the time of the event there; if the clock ran backwards, events after it
        are earlier. The state at such a step is then not a version in the whole history.
        """
        before = np.searchsorted(self.instants, moved["recorded_at"].cast(pl.Int64).to_numpy()) - 1
        return bool(((before >= 0) & (self.positions[before] > moved["position"].to_numpy())).any())

    def moments(self) -> Iterator[datetime]:
        """Yield the instants."""
        return map(instant, self.instants.tolist())


def _positions(timeline: Timeline, instants: _Numbers) -> _Numbers:
    """Resolve instants as ``upto`` does, in one query: the greatest position in each span of time, then the running maximum.

    Spans have the greatest common divisor of the distances between all instants but the last, mostly whole hours, so there are few.
    """
    log = Timeline(log=timeline.log, system=True)
    origin, end = int(instants[0]), int(instants[-1])
    unit = max(int(np.gcd.reduce(np.diff(instants[:-1]), initial=0)), 1)
    until = int(instants[-2]) if len(instants) > 1 else origin - 1
    us = "epoch_us(recorded_at)"
    span = f"CASE WHEN {us} <= {origin} THEN 0 WHEN {us} <= {until} THEN ({us} - {origin} - 1) // {unit} + 1 ELSE -1 END"
    spanned = f"SELECT CASE WHEN {us} IS NULL THEN {_UNDATED} ELSE {span} END AS span, max(position) AS position"
    some = f"WHERE {us} <= {end} OR {us} IS NULL"
    found = log.sql(f"{spanned} FROM events {some} GROUP BY 1").to_arrow_table()
    if pc.any(pc.equal(found.column("span"), _UNDATED)).as_py():
        found = log.sql(f"{spanned} FROM ({_CARRIED}) WHERE {us} <= {end} GROUP BY 1").to_arrow_table()
    spans, greatest = (found.column(name).to_numpy() for name in ("span", "position"))
    step = np.where(spans < 0, len(instants) - 1, np.searchsorted(instants, origin + spans * unit))
    positions = np.full(len(instants), -1, np.int64)
    np.maximum.at(positions, step, greatest)
    return np.minimum(np.maximum.accumulate(positions), _NEVER if timeline.upto_position is None else timeline.upto_position)


def _versions(plan: Plan, timeline: Timeline, *, errors: OnError) -> Iterator[pl.DataFrame]:
    """Yield every version, as in ``history``, in no particular order; reading starts with the first batch."""
    kept = kept_versions(plan, timeline, errors=errors)
    if kept is not None:
        yield kept
    elif vectorised.supports(plan):
        yield from vectorised.versions(plan, timeline, errors=errors, counted=False)
    else:
        yield history_of(plan, timeline, errors=errors)


def _standing(versions: pl.DataFrame, steps: _Steps, *, columns: list[str], late: tuple[_Numbers, _Numbers] | None = None) -> pl.DataFrame:
    """Return the versions that are an entity's state at one or more steps: these columns, and the range of steps.

    The range is the number of the first step at which the version is the state, and of the first at which it no longer is.

    Parameters
    ----------
    late
        In a fork, the sequences of the events that begin and end each version.
    """
    begins, ends = (
        _reached(versions, bound, steps, None if late is None else late[index]) for index, bound in enumerate(("valid_from", "valid_to"))
    )
    named = versions.rename(_OF_A_STATE).select("key", pl.col(columns).name.prefix(_COLUMN))
    numbers = [pl.Series("_begins", begins, dtype=pl.UInt16), pl.Series("_ends", ends, dtype=pl.UInt16)]
    return named.with_columns(numbers).filter(pl.Series(begins < ends))


def _reached(versions: pl.DataFrame, bound: str, steps: _Steps, sequences: _Numbers | None) -> _Numbers:
    """Return the first step that includes the event that begins or ends each version, or the number of steps if none does."""
    position = versions[f"{bound}_position"].fill_null(_NEVER).to_numpy()
    reached = np.searchsorted(steps.positions, position)
    if sequences is not None:  # an inserted event may be at the last position of a step but later than it, so compare the time too
        [put_in] = np.nonzero(sequences)
        time = versions[bound].cast(pl.Int64).gather(put_in).to_numpy()
        reached[put_in] = np.maximum(reached[put_in], np.searchsorted(steps.instants, time))
    return reached


def _walk(versions: pl.DataFrame, steps: _Steps, asked: _Measures) -> Iterator[pl.DataFrame]:
    """Yield the measures at each step, updating the state by the versions that begin and end there."""
    versions = versions if versions["key"].is_sorted() else versions.sort("key", maintain_order=True)  # the order of a state
    entity = versions["key"].rle_id().to_numpy()
    rows = versions.select(pl.col(f"^{_COLUMN}.*$").name.map(lambda name: name.removeprefix(_COLUMN)))
    begun, ended = (_by_step(versions[name], len(steps.instants)) for name in ("_begins", "_ends"))
    standing = np.full(int(entity[-1]) + 1 if len(entity) else 0, -1, np.int64)
    answer = None
    for begins, ends in zip(begun, ended, strict=True):
        if len(begins) or len(ends) or answer is None:
            standing[entity[ends]] = -1
            standing[entity[begins]] = begins
            answer = asked.of_state(rows[standing[standing >= 0]])
        yield answer


def _by_step(numbers: pl.Series, count: int) -> list[npt.NDArray[np.int64]]:
    """Return the rows of each number below ``count``."""
    values = numbers.to_numpy()
    order = np.argsort(values, kind="stable")
    bounds = np.searchsorted(values[order], np.arange(count + 1))
    return [order[first:last] for first, last in pairwise(bounds)]
