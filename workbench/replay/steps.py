"""``steps``: returns the effect of each event on one entity and the time it took, also for two histories side by side."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

import polars as pl

from workbench.errors import ReplayError
from workbench.fold.entity_scope import EntityScope, keyed_by_stream, mentioned
from workbench.fold.event_by_event.function_fold import Fold, RecordedEvent, columns_of, keyed_events
from workbench.fold.event_by_event.plan_fold import OnError, stepped
from workbench.fold.resolve import Source, folded, subject_of
from workbench.fold.results import frame_of, polars_type
from workbench.materialised.key_index import streams_about
from workbench.projection.plan import Plan
from workbench.projection.rows import ROW, Row, event_in_words, rows_of
from workbench.timeline import Timeline

_EVENT = {
    "position": pl.Int64(),
    "prepare_position": pl.Int64(),
    "recorded_at": pl.Datetime("us", "UTC"),
    "stream": pl.String(),
    "revision": pl.Int64(),
    "type": pl.String(),
    "event_id": pl.String(),
}
_SHOWN = [*(name for name in _EVENT if name not in ("type", "event_id")), "event_type", "event_id"]
_PLACE = ("position", "prepare_position")
_SAME = (*_PLACE, "stream", "event_id")
"""The columns that identify the same event in two histories."""
_SIDE = ("outcome", "changed_fields", "before", "after", "microseconds", "why")
_NO_FIELDS = "key"
"""The only field of a struct without fields; it is always null."""
_WHY = {
    "orphan": "the entity did not exist",
    "unmatched": "no handler's condition holds",
    "unhandled": "no handler takes its type",
}


@dataclass(slots=True)
class _Walk:
    """Collects the rows of ``steps`` in log order."""

    rows: list[Row] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    """The fields after the event; None if the entity does not exist."""
    nanoseconds: list[int] = field(default_factory=list)
    why: list[str | None] = field(default_factory=list)

    def take(self, row: Row, outcome: str, values: Any, *, nanoseconds: int, why: str | None = None) -> None:
        self.rows.append(row)
        self.outcomes.append(outcome)
        self.values.append(values)
        self.nanoseconds.append(nanoseconds)
        self.why.append(why)


def steps(projection: Source, timeline: Timeline, *, key: str, against: Timeline | None = None, errors: OnError = "raise") -> pl.DataFrame:
    """Fold the events of one entity one at a time, and return what each event did.

    Events without an effect are returned too. If the key is in the events and not in the name of the stream, these are the events that
    name the entity and whose type has a handler. Materialised states are not read.

    Parameters
    ----------
    projection
        A class that extends `Projection`, a `Fold`, or the name of a category, as in `state`.
    timeline
        The history to fold. ``timeline.after(...)`` bounds the rows that are returned, not the fold.
    key
        The entity.
    against
        Another history to compare with, such as a what-if. An event that has the same id and position in both histories is one row.
    errors
        ``"raise"`` stops at the first value that does not fit its field. ``"collect"`` gives such an event the outcome ``failed``.

    Returns
    -------
    polars.DataFrame
        One row for each event, in log order. The event: ``position``, ``prepare_position``, ``recorded_at``, ``stream``, ``revision``,
        ``event_type`` as recorded, ``event_id``, and in a what-if ``origin``. What it did:

        - ``outcome``: ``began``, ``changed``, ``unchanged`` (applied, but no field changed) or ``ended``; or, for an event without effect,
          ``orphan``, ``unmatched``, ``unhandled`` or ``failed``. An event that ends an entity and begins it anew ``began`` it.
        - ``changed_fields``; ``before`` and ``after``: the fields as structs, null where the entity does not exist.
        - ``microseconds``: the time that it took to decode and fold the event.
        - ``why``: the reason why the event had no effect, else null.

        With ``against``, the type and these six columns again with the prefix ``against_``, then:

        - ``side``: the history that has the event, ``both``, ``timeline`` or ``against``. On the other side the outcome is ``not there``,
          and the state stays as it was.
        - ``differs``: whether the two states differ after the event.
        - ``diverged``: true for the first event after which they differ.

    Raises
    ------
    UsageError
        The timeline selects a part of the events, which would change the state, or the lake has no such category.
    ValueDoesNotFit
        A value does not fit its field, or a stream's name has no key.

    Examples
    --------
    >>> from workbench.sample.projections import User
    >>> now = wb.open("data/demo").timeline
    >>> wb.steps(User, now, key="4").select("revision", "event_type", "outcome", "changed_fields").slice(1, 2)
    shape: (2, 4)
    ┌──────────┬────────────────┬─────────┬──────────────────────────┐
    │ revision ┆ event_type     ┆ outcome ┆ changed_fields           │
    │ ---      ┆ ---            ┆ ---     ┆ ---                      │
    │ i64      ┆ str            ┆ str     ┆ list[str]                │
    ╞══════════╪════════════════╪═════════╪══════════════════════════╡
    │ 1        ┆ user.logged_in ┆ changed ┆ ["logins", "last_login"] │
    │ 2        ┆ user.logged_in ┆ changed ┆ ["logins", "last_login"] │
    └──────────┴────────────────┴─────────┴──────────────────────────┘
    """
    walked = _walked(projection, timeline, key=key, errors=errors)
    if against is None:
        return _after(walked, timeline)
    return _after(_beside(walked, _walked(projection, against, key=key, errors=errors)), timeline, against)


def _walked(projection: Source, timeline: Timeline, *, key: str, errors: OnError) -> pl.DataFrame:
    """Fold the events of an entity, and return the rows of ``steps`` for one history."""
    subject = subject_of(projection, timeline)
    scope = EntityScope.of(subject, folded(timeline, subject, question="steps"), key=key, index=streams_about)
    whole, events = scope.timeline, scope.events()
    if isinstance(subject, Fold):
        walk, fields = _of_fold(subject, events.collect(), key=key, errors=errors)
    else:
        condition = mentioned(subject, key)
        walk, fields = _of_plan(subject, events if condition is None else events.filter(condition), key=key, errors=errors)
    columns = [pl.Series(name, [row[ROW.index(name)] for row in walk.rows], dtype=dtype) for name, dtype in _EVENT.items()]
    there = pl.Series("there", [values is not None for values in walk.values], dtype=pl.Boolean)
    frame = pl.DataFrame([*columns, there, fields.alias("fields")]).rename({"type": "event_type"})
    if whole.edits:
        frame = frame.join(_origins(whole, frame["position"]), on=_PLACE, how="left", maintain_order="left")
    frame = frame.with_columns(
        after=pl.when("there").then("fields"),
        outcome=pl.Series(walk.outcomes, dtype=pl.String),
        microseconds=pl.Series(walk.nanoseconds, dtype=pl.Int64) / 1000,
        why=pl.Series(walk.why, dtype=pl.String),
    ).with_columns(before=pl.col("after").shift(1))
    frame = frame.with_columns(changed_fields=_differing(frame, "before", "after"))
    unchanged = (pl.col("outcome") == "changed") & (pl.col("changed_fields").list.len() == 0)
    return frame.with_columns(outcome=pl.when(unchanged).then(pl.lit("unchanged")).otherwise("outcome")).select(
        *_SHOWN, *(["origin"] if whole.edits else []), *_SIDE
    )


def _origins(timeline: Timeline, positions: pl.Series) -> pl.DataFrame:
    """Return the ``origin`` of the events at these positions of a fork."""
    return timeline.events().filter(pl.col("position").is_in(positions.unique().implode())).select(*_PLACE, "origin").collect()


def _differing(frame: pl.DataFrame, one: str, other: str) -> pl.Expr:
    """Return the names of the fields, of either column of structs, whose values differ or that only one has."""
    has = {side: [one.name for one in dtype.fields] for side in (one, other) if isinstance(dtype := frame.schema[side], pl.Struct)}
    names = dict.fromkeys(name for side in has.values() for name in side)

    def value(side: str, name: str) -> pl.Expr:
        return pl.col(side).struct.field(name) if name in has[side] else pl.lit(None)

    named = [pl.when(value(one, name).ne_missing(value(other, name))).then(pl.lit(name)) for name in names]
    return pl.concat_list(named).list.drop_nulls() if named else pl.lit([], dtype=pl.List(pl.String))


def _of_plan(plan: Plan, events: pl.LazyFrame, *, key: str, errors: OnError) -> tuple[_Walk, pl.Series]:
    walk = _Walk()
    batches = events.collect_batches(maintain_order=True)
    was_there = False
    for step in stepped(plan, batches, key=key, is_all_ours=keyed_by_stream(plan), errors=errors):
        outcome, why = step.became, _WHY.get(step.became)
        if outcome == "applied":
            outcome = "began" if step.count == 1 else "changed" if step.values is not None else "ended"
            if step.values is None and not was_there:
                why = "it created and deleted the entity"
        elif step.failure is not None:
            why = f"{step.failure.field} = {step.failure.value} does not fit: {step.failure.reason}"
        walk.take(step.row, outcome, step.values, nanoseconds=step.nanoseconds, why=why)
        was_there = step.values is not None
    schema = pl.Schema({_NO_FIELDS: pl.String(), **{one.name: polars_type(one.kind) for one in plan.fields}})
    nothing = (None,) * len(plan.fields)
    frame = frame_of(schema, [(None, *(nothing if values is None else values)) for values in walk.values])
    return walk, frame.select(fields=pl.struct([one.name for one in plan.fields] or [_NO_FIELDS]))["fields"]


def _of_fold(fold: Fold, events: pl.DataFrame, *, key: str, errors: OnError) -> tuple[_Walk, pl.Series]:
    walk = _Walk()
    keyed, _ = keyed_events(fold, events)
    state: Any = None
    for row in rows_of(keyed.filter(pl.col("_key") == key)):
        given = fold.begin() if state is None else copy.deepcopy(state)
        began = perf_counter_ns()
        try:
            after = fold.function(given, RecordedEvent(row))
        except Exception as error:
            if errors != "collect":
                error.add_note(f"in {event_in_words(row)}")
                raise
            took = perf_counter_ns() - began
            values = None if state is None else copy.deepcopy(columns_of(state))
            walk.take(row, "failed", values, nanoseconds=took, why=f"the function raised {type(error).__name__}: {error}")
            continue
        took = perf_counter_ns() - began
        outcome = "orphan" if state is None and after is None else "began" if state is None else "ended" if after is None else "changed"
        walk.take(row, outcome, None if after is None else copy.deepcopy(columns_of(after)), nanoseconds=took, why=_WHY.get(outcome))
        state = after
    names = list(dict.fromkeys(name for values in walk.values if values is not None for name in values))
    try:
        rows = [dict.fromkeys(names) if values is None else values for values in walk.values]
        frame = (
            pl.DataFrame(rows, infer_schema_length=None)
            if names
            else pl.DataFrame({_NO_FIELDS: [None] * len(rows)}, {_NO_FIELDS: pl.String})
        )
    except (pl.exceptions.PolarsError, TypeError, OverflowError, ValueError) as error:
        raise ReplayError(f"{fold.name}: the states do not form one frame: {error}") from error
    return walk, frame.select(fields=pl.struct(names or [_NO_FIELDS]))["fields"]


def _beside(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Join the events of two histories into one row per event."""
    marks = pl.lit(value=True)
    right = other.rename({name: f"against_{name}" for name in (*_SIDE, "event_type", "origin") if name in other.columns})
    frame = one.with_columns(_in=marks).join(
        right.with_columns(_against_in=marks), on=_SAME, how="full", coalesce=True, maintain_order="left_right"
    )
    left_in, right_in = (pl.col(name).fill_null(value=False) for name in ("_in", "_against_in"))
    frame = frame.with_columns(
        pl.coalesce("recorded_at", "recorded_at_right"),
        pl.coalesce("revision", "revision_right"),
        pl.coalesce("event_type", "against_event_type"),
        _in=left_in,
        _against_in=right_in,
        side=pl.when(left_in & right_in).then(pl.lit("both")).when(left_in).then(pl.lit("timeline")).otherwise(pl.lit("against")),
    ).sort(_PLACE, maintain_order=True)
    for there, prefix in (("_in", ""), ("_against_in", "against_")):
        # A state may be null, so fill gaps with the row index of the last event and not with its value.
        last = pl.when(there).then(pl.int_range(pl.len())).forward_fill()
        carried = pl.col(f"{prefix}after").gather(last.fill_null(0))
        held = pl.when(last.is_not_null()).then(carried)
        frame = frame.with_columns(
            pl.when(there).then(f"{prefix}outcome").otherwise(pl.lit("not there")).alias(f"{prefix}outcome"),
            pl.col(f"{prefix}changed_fields").fill_null(pl.lit([], dtype=pl.List(pl.String))),
            pl.when(there).then(f"{prefix}before").otherwise(held).alias(f"{prefix}before"),
            held.alias(f"{prefix}after"),
        )
    apart = (_differing(frame, "after", "against_after").list.len() > 0) | (pl.col("after").is_null() != pl.col("against_after").is_null())
    origins = [name for name in ("origin", "against_origin") if name in frame.columns]
    return frame.with_columns(differs=apart).select(
        *_SHOWN,
        *origins,
        "side",
        *_SIDE,
        *(f"against_{name}" for name in ("event_type", *_SIDE)),
        "differs",
        diverged=pl.col("differs") & (pl.col("differs").cum_sum() == 1),
    )


def _after(rows: pl.DataFrame, *timelines: Timeline) -> pl.DataFrame:
    bounds = [timeline.after_position for timeline in timelines if timeline.after_position is not None]
    return rows.filter(pl.col("position") > max(bounds)) if bounds else rows
