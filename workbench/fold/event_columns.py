"""Adds fields to a plan that record which event was last applied to each entity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from workbench.projection import plan as ir
from workbench.projection.plan import COLUMNS

EVENT_COLUMNS = ("event_id", "stream", "prepare_position")


def with_event_columns(plan: ir.Plan, columns: Sequence[str] = EVENT_COLUMNS) -> tuple[ir.Plan, dict[str, str]]:
    """Return a plan with fields for the event last applied to the entity, and the names of these fields."""
    names = {column: free_name(column, plan) for column in columns}
    fields = tuple(ir.Field(name, ir.Kind(COLUMNS[column])) for column, name in names.items())
    operations = tuple(ir.Operation("set", name, ir.Column(column)) for column, name in names.items())
    traced = with_handlers(plan, lambda handler: replace(handler, operations=(*handler.operations, *operations)))
    return replace(traced, fields=(*plan.fields, *fields)), names


def with_handlers(plan: ir.Plan, change: Callable[[ir.Handler], ir.Handler]) -> ir.Plan:
    """Return a plan with every handler changed."""
    types = tuple(
        replace(handled, branches=tuple(replace(branch, handlers=tuple(map(change, branch.handlers))) for branch in handled.branches))
        for handled in plan.types
    )
    return replace(plan, types=types)


def free_name(name: str, plan: ir.Plan) -> str:
    """Return a field name that the plan does not use yet."""
    taken = {field.name for field in plan.fields}
    free = f"_{name}"
    while free in taken:
        free = f"_{free}"
    return free
