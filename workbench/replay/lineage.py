"""``lineage``: which events gave a field of an entity its value."""

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
    """Return the events that gave a field of one entity the value that it has at the end of a timeline, in log order.

    They are those of the entity's present life that had a say in it: the last event that ``set`` the field, or replaced its value by a
    greater or lesser one (``max``, ``min``), and every later one that added to it, subtracted, included, excluded or appended. If none
    set it, they are all that wrote to it, onto the value with which it begins. An element that ``append`` has since let go of counts
    too. Of a ``Fold``, which does not say what it does, they are all events after which the field was another.

    Returns
    -------
    polars.DataFrame
        Of each event ``position``, ``stream``, ``revision``, ``recorded_at``, ``event_type`` and ``event_id``, and the field ``before`` and
        ``after`` it; ``before`` is null where the entity begins. No rows if the entity is not there. ``timeline.after(...)`` bounds the
        rows.

    Raises
    ------
    UsageError
        There is no such field; or as ``rebuild`` does.
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
        stream=found.witness["stream"],
        revision="revision",
        recorded_at="valid_from",
        event_type="event_type",
        event_id=found.witness["event_id"],
        before="_before",
        after=field,
    )


def _present_life(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the versions of an entity since it began last; none if it is not there in the end."""
    if rows.is_empty() or rows["valid_to_position"][-1] is not None:
        return rows.clear()
    begins = rows.with_row_index("_at").filter(pl.col("event_count") == 1)["_at"].max()
    return rows.slice(begins if isinstance(begins, int) else 0)


def _only_extremes(plan: ir.Plan, field: str) -> bool:
    """Whether nothing but ``set``, ``max`` and ``min`` writes to a field: then a value that won replaced the one before."""
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
    """Return a plan that also counts how often a field was set, and otherwise written to."""

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
    """Return 1 where an operation's value changes something, and otherwise what is absent."""
    if isinstance(operation.value, ir.Constant):
        return ir.Constant(1)
    there: ir.Condition = ir.Exists(operation.value)
    if operation.verb != "set":
        there = ir.AllOf((there, ir.Not(ir.IsNull(operation.value))))
    return ir.Choice(((there, ir.Scalar(1)),), ir.Absent())
