# ruff: noqa: ARG001  # the functions of each kind here share one signature
"""Compiles a plan's operations to Python functions that change an entity's fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workbench.projection import plan
from workbench.projection.evaluation import reading
from workbench.projection.fields import fits_int64, float_of, scaled
from workbench.projection.payloads import ABSENT
from workbench.projection.rows import Row
from workbench.projection.values import Fit, Misfit, fitting, fitting_elements

Undo = list[tuple[set[Any], set[Any], bool]]
"""Sets that an event changed in place: the set, the elements, and whether they were added."""
Change = Callable[[list[Any], Row, Any, Any, Undo], None]
"""Applies one event to the values of an entity's fields; raises ``Misfit``."""
_Apply = Callable[[list[Any], Any, Undo], None]


def changing(operation: plan.Operation, fields: tuple[plan.Field, ...]) -> Change:
    """Return a function that performs one operation."""
    index = next(index for index, field in enumerate(fields) if field.name == operation.field)
    kind = fields[index].kind
    apply = _applying(operation, index, kind)
    read = reading(operation.value)
    fit = _fit(operation, kind)
    nulls = operation.verb == "set"

    def change(values: list[Any], row: Row, data: Any, metadata: Any, undo: Undo) -> None:
        found = read(row, data, metadata)
        if found is ABSENT:
            return
        if found is None:
            if nulls:
                values[index] = None
            return
        try:
            apply(values, fit(found), undo)
        except Misfit as misfit:
            misfit.field = operation.field
            raise

    return change


def beginning(one: plan.Plan) -> Callable[[], list[Any]]:
    """Return a function that returns the initial values of the fields, with new sets and lists each time."""
    initial = [field.initial for field in one.fields]
    made = [
        (index, set if field.kind.name == "set" else list)
        for index, field in enumerate(one.fields)
        if field.kind.element is not None and field.initial is not None
    ]

    def begin() -> list[Any]:
        values = initial.copy()
        for index, make in made:
            values[index] = make(values[index])
        return values

    return begin


def take_back(undo: Undo) -> None:
    """Undo the changes that a failed event made to sets in place."""
    for held, elements, included in reversed(undo):
        if included:
            held.difference_update(elements)
        else:
            held.update(elements)


def _fit(operation: plan.Operation, kind: plan.Kind) -> Fit:
    if isinstance(operation.value, plan.Constant):
        return set if kind.name == "set" else list if kind.name == "list" else _as_it_is
    if isinstance(operation.value, plan.Column) and plan.COLUMNS[operation.value.name] == "instant":
        fit: Fit = _as_it_is if kind.element is None else _alone
    else:
        fit = fitting(kind) if operation.verb == "set" or kind.element is None else fitting_elements(kind)
    if kind.name == "set" and operation.verb != "set":
        return lambda value: set(fit(value))
    return fit


def _as_it_is(value: Any) -> Any:
    return value


def _alone(value: Any) -> Any:
    return [value]


def _applying(operation: plan.Operation, index: int, kind: plan.Kind) -> _Apply:
    match operation.verb:
        case "set":

            def put(values: list[Any], value: Any, undo: Undo) -> None:
                values[index] = value

            return put
        case "add" | "subtract":
            return _sum(index, kind, negative=operation.verb == "subtract")
        case "max" | "min":
            pick = max if operation.verb == "max" else min

            def extreme(values: list[Any], value: Any, undo: Undo) -> None:
                held = values[index]
                values[index] = value if held is None else pick(held, value)

            return extreme
        case "append":
            keep = operation.keep

            def append(values: list[Any], elements: list[Any], undo: Undo) -> None:
                values[index] = [*(values[index] or ()), *elements][-keep:]

            return append
        case "include":

            def include(values: list[Any], elements: set[Any], undo: Undo) -> None:
                held = values[index]
                if held is None:
                    values[index] = elements
                    return
                fresh = elements - held
                held |= fresh
                undo.append((held, fresh, True))

            return include
        case "exclude":

            def exclude(values: list[Any], elements: set[Any], undo: Undo) -> None:
                held = values[index]
                if held is None:
                    values[index] = set()
                    return
                gone = elements & held
                held -= gone
                undo.append((held, gone, False))

            return exclude


def _sum(index: int, kind: plan.Kind, *, negative: bool) -> _Apply:
    checked, reason = _SUMS[kind.name]

    def add(values: list[Any], value: Any, undo: Undo) -> None:
        held = values[index]
        if held is None:
            held = 0
        total = checked(held - value if negative else held + value, kind)
        if total is None:
            raise Misfit(f"with it the sum {reason}", value=value)
        values[index] = total

    return add


def _integers(total: int, kind: plan.Kind) -> int | None:
    return total if fits_int64(total) else None


def _floats(total: float, kind: plan.Kind) -> float | None:
    return float_of(total)


_SUMS: dict[str, tuple[Callable[[Any, plan.Kind], Any], str]] = {
    "integer": (_integers, "leaves int64"),
    "float": (_floats, "is outside the range of a double"),
    "decimal": (scaled, "has more digits than the field"),
}
