"""``lineage``: finds the events that gave a field of an entity its value."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from workbench.errors import UsageError
from workbench.fold.event_by_event.function_fold import Fold
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.event_columns import free_name, with_handlers
from workbench.fold.resolve import Source, folded, subject_of
from workbench.projection import plan as ir
from workbench.replay.versions import versions
from workbench.timeline import Timeline

_EXTREMES = frozenset({"max", "min"})


def lineage(projection: Source, timeline: Timeline, *, key: str, field: str, errors: OnError = "raise") -> pl.DataFrame:
    """Return the events that gave a field of one entity its value at the end of a timeline.

    Only the entity's present life counts. The value stems from the last event that replaced it, by ``set``, ``max`` or ``min``, and from
    every later event that changed it, by ``add``, ``subtract``, ``include``, ``exclude`` or ``append``. If no event replaced it, all
    events that changed the initial value are returned. An event whose element ``append`` has dropped since is included. A `Fold` does not
    declare what it does: its lineage is every event after which the field had another value.

    Parameters
    ----------
    projection
        A class that extends `Projection`, a `Fold`, or the name of a category, as in `state`.
    timeline
        The history to fold. ``timeline.after(...)`` bounds the rows that are returned, not the fold.
    key
        The entity.
    field
        The field of the projection.
    errors
        ``"raise"`` stops at the first value that does not fit its field. ``"collect"`` leaves such events out.

    Returns
    -------
    polars.DataFrame
        One row for each event, in log order: ``position``, ``stream``, ``revision``, ``recorded_at``, ``event_type``, ``event_id``, and the
        field's value ``before`` and ``after`` the event. ``before`` is null where the entity begins. Empty if the entity does not exist.

    Raises
    ------
    UsageError
        The projection has no such field; or the timeline selects a part of the events, which would change the state.
    ValueDoesNotFit
        A value does not fit its field, or a stream's name has no key.

    Examples
    --------
    >>> from workbench.sample.projections import User
    >>> now = wb.open("data/demo").timeline
    >>> wb.lineage(User, now, key="3", field="email").select("revision", "event_type", "before", "after")
    shape: (1, 4)
    ┌──────────┬──────────────┬──────────────────────────┬─────────────────────────────┐
    │ revision ┆ event_type   ┆ before                   ┆ after                       │
    │ ---      ┆ ---          ┆ ---                      ┆ ---                         │
    │ i64      ┆ str          ┆ str                      ┆ str                         │
    ╞══════════╪══════════════╪══════════════════════════╪═════════════════════════════╡
    │ 15       ┆ user.updated ┆ zeljko.van.3@example.org ┆ zeljko.van.3824@example.org │
    └──────────┴──────────────┴──────────────────────────┴─────────────────────────────┘
    """
    subject = subject_of(projection, timeline)
    whole = folded(timeline, subject, question="lineage")
    if isinstance(subject, Fold):
        found = versions(subject, whole, key=key, errors=errors)
        fields = found.fields
        replaced, wrote = "", ""
    else:
        fields = tuple(one.name for one in subject.fields)
        replaced, wrote = free_name("replaced", subject), free_name("wrote", subject)
        found = versions(_counting(subject, field, replaced=replaced, wrote=wrote), whole, key=key, errors=errors)
    if field not in fields and (fields or not isinstance(subject, Fold)):
        raise UsageError(f"{subject.name} has no field {field!r}; it has {', '.join(fields)}.")
    life = _present_life(found.rows if fields else found.rows.with_columns(pl.lit(None).alias(field)))
    life = life.with_columns(_before=pl.col(field).shift(1))
    life = life.with_columns(_other=pl.col(field).ne_missing(pl.col("_before")) | (pl.col("event_count") == 1))
    if isinstance(subject, Fold):
        life = life.filter("_other")
    else:
        sets, writes = (pl.col(name) > pl.col(name).shift(1, fill_value=0) for name in (replaced, wrote))
        life = life.with_columns(
            _sets=sets | (writes & pl.col("_other") & _only_extremes(subject, field)), _writes=writes & pl.col("_other")
        )
        since = life.with_row_index("_at").filter("_sets")["_at"].max()
        life = life.slice(since if isinstance(since, int) else 0).filter(pl.col("_sets") | pl.col("_writes"))
    if timeline.after_position is not None:
        life = life.filter(pl.col("valid_from_position") > timeline.after_position)
    return life.select(
        position="valid_from_position",
        stream=found.event_columns["stream"],
        revision="revision",
        recorded_at="valid_from",
        event_type="event_type",
        event_id=found.event_columns["event_id"],
        before="_before",
        after=field,
    )


def _present_life(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the versions of an entity's current life; none if it does not exist at the end."""
    if rows.is_empty() or rows["valid_to_position"][-1] is not None:
        return rows.clear()
    begins = rows.with_row_index("_at").filter(pl.col("event_count") == 1)["_at"].max()
    return rows.slice(begins if isinstance(begins, int) else 0)


def _only_extremes(plan: ir.Plan, field: str) -> bool:
    """Whether only ``set``, ``max`` and ``min`` write to a field, so that each new value replaced the previous one."""
    verbs = {
        operation.verb
        for handled in plan.types
        for branch in handled.branches
        for handler in branch.handlers
        for operation in handler.operations
        if operation.field == field
    }
    return verbs <= {"set", *_EXTREMES}


def _counting(plan: ir.Plan, field: str, *, replaced: str, wrote: str) -> ir.Plan:
    """Return a plan that also counts how often a field was replaced, and how often it was written in another way."""

    def counting(handler: ir.Handler) -> ir.Handler:
        operations: list[ir.Operation] = []
        for operation in handler.operations:
            operations.append(operation)
            if operation.field == field:
                counter = replaced if operation.verb == "set" else wrote
                operations.append(ir.Operation("add", counter, _one_if_there(operation)))
        return replace(handler, operations=tuple(operations))

    fields = tuple(ir.Field(name, ir.Kind("integer"), 0) for name in (replaced, wrote))
    return replace(with_handlers(plan, counting), fields=(*plan.fields, *fields))


def _one_if_there(operation: ir.Operation) -> ir.Value:
    """Return a value that is 1 if the operation has an effect, and absent otherwise."""
    if isinstance(operation.value, ir.Constant):
        return ir.Constant(1)
    there: ir.Condition = ir.Exists(operation.value)
    if operation.verb != "set":
        there = ir.AllOf((there, ir.Not(ir.IsNull(operation.value))))
    return ir.Choice(((there, ir.Scalar(1)),), ir.Absent())
