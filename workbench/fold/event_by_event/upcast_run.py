"""Runs upcasters that could not be compiled away on decoded payloads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from workbench.projection import plan
from workbench.projection.evaluation import asking, part, walk
from workbench.projection.payloads import ABSENT
from workbench.projection.rows import Row
from workbench.projection.values import Misfit, converted

Lifting = Callable[[Row, Any, Any], tuple[str, Any]]
"""Takes an event as recorded; returns its upcast type and data."""


def lifting(recorded: str, lifts: Sequence[plan.Lift]) -> Lifting:
    """Return a function that upcasts events of a recorded type. It may change the decoded data in place."""
    steps = [(lift, None if lift.when is None else asking(lift.when)) for lift in lifts]

    def lift_event(row: Row, data: Any, metadata: Any) -> tuple[str, Any]:
        # Decide all conditions before the first edit: they read the event as recorded, and edits change the decoded data.
        taken = [(lift, ask is None or ask(row, data, metadata) is True) for lift, ask in steps]
        current, lifted = recorded, data
        for lift, holds in taken:
            if lift.type != current or not holds:
                continue
            for edit in lift.edits:
                lifted = _edited(lifted, edit, metadata)
            current = lift.to or current
        return current, lifted

    return lift_event


def _edited(data: Any, edit: plan.Edit, metadata: Any) -> Any:
    if isinstance(edit, plan.Apply):
        given = edit.function(None if data is ABSENT else data, None if metadata is ABSENT else metadata)
        if not _is_json(given):
            raise Misfit("the upcaster's function did not return a JSON value", field="event.data", value=given)
        return ABSENT if given is None else given
    lifted = data if type(data) is dict else {}
    match edit:
        case plan.Move(source, target):
            _move(lifted, source, target)
        case plan.Default(target, scalar):
            lifted.setdefault(target, scalar.value)
        case plan.Retype(target, to) if target in lifted:
            lifted[target] = converted(lifted[target], to)
        case plan.Split(source, targets, separator) if type(lifted.get(source)) is str:
            whole = lifted.pop(source)
            for index, target in enumerate(targets):
                found = part(whole, separator, index, len(targets))
                if found is not ABSENT:
                    lifted[target] = found
    return lifted


def _move(data: dict[str, Any], source: tuple[str | int, ...], target: str) -> None:
    value = walk(data, source)
    if value is not ABSENT:
        del walk(data, source[:-1])[source[-1]]
        data[target] = value


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, float):
        return not math.isnan(value)  # a JSON number outside the range of doubles is infinite here
    return value is None or isinstance(value, (bool, int, str))
