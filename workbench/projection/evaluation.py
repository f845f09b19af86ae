# ruff: noqa: ARG001, ARG005  # every function here has the one signature that is named Read
"""Compiles values and conditions of a plan to Python functions of one event.

A function takes the event's row (a tuple, see ``rows.ROW``) and its two decoded payloads. A value is a decoded JSON value or
``ABSENT``; a condition is True, False, or None for unknown.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from workbench.projection import plan
from workbench.projection.fields import fits_int64, microseconds_of, storable
from workbench.projection.payloads import ABSENT
from workbench.projection.rows import ROW, Row
from workbench.projection.values import Misfit, converted, instant_of

Read = Callable[[Row, Any, Any], Any]
Ask = Callable[[Row, Any, Any], bool | None]

_COMPARE: dict[plan.Comparator, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def reading(value: plan.Value) -> Read:
    """Return a function that reads a value of an event."""
    match value:
        case plan.Path(root, steps):
            return _path(root, steps)
        case plan.Column(name):
            index = ROW.index(name)

            def column(row: Row, data: Any, metadata: Any) -> Any:
                held = row[index]
                return ABSENT if held is None else held

            return column
        case plan.Constant(constant) | plan.Scalar(constant):
            return lambda row, data, metadata: constant
        case plan.Absent():
            return lambda row, data, metadata: ABSENT
        case plan.Choice(alternatives, otherwise):
            return _choice([(asking(condition), reading(then)) for condition, then in alternatives], reading(otherwise))
        case plan.Converted(inner, to):
            read = reading(inner)
            return lambda row, data, metadata: converted(read(row, data, metadata), to)
        case plan.Part(inner, separator, index, count):
            whole = reading(inner)
            return lambda row, data, metadata: part(whole(row, data, metadata), separator, index, count)


def asking(condition: plan.Condition) -> Ask:
    """Return a function that evaluates a condition on an event."""
    match condition:
        case plan.Comparison(value, comparator, constant):
            return _comparison(value, comparator, constant)
        case plan.IsIn(value, constants):
            return _any([_comparison(value, "==", constant) for constant in constants])
        case plan.IsNull(value):
            read = reading(value)
            return lambda row, data, metadata: read(row, data, metadata) is None
        case plan.Exists(value):
            there = reading(value)
            return lambda row, data, metadata: there(row, data, metadata) is not ABSENT
        case plan.AllOf(conditions):
            return _all([asking(part) for part in conditions])
        case plan.AnyOf(conditions):
            return _any([asking(part) for part in conditions])
        case plan.Not(inner):
            ask = asking(inner)

            def negation(row: Row, data: Any, metadata: Any) -> bool | None:
                found = ask(row, data, metadata)
                return None if found is None else not found

            return negation
        case plan.Holds(inner):
            holds = asking(inner)
            return lambda row, data, metadata: holds(row, data, metadata) is True


def keying(key: plan.Value | None) -> Read:
    """Return a function that reads an event's key: text, or None if it has none. A key from the stream may be empty text.

    The function raises ``Misfit`` if the key is a list or an object.
    """
    if key is None:
        stream, category = ROW.index("stream"), ROW.index("category")
        return lambda row, data, metadata: row[stream][len(row[category]) + 1 :]
    read = reading(key)

    def found(row: Row, data: Any, metadata: Any) -> str | None:
        value = read(row, data, metadata)
        if type(value) is str:
            return value if value and storable(value) else None
        if isinstance(value, (list, dict)):
            what = "a list" if isinstance(value, list) else "an object"
            raise Misfit(f"it is {what}, but the key of an entity is a text or a whole number", field="key", value=value)
        return str(value) if type(value) is int and fits_int64(value) else None

    return found


def part(value: Any, separator: str, index: int, count: int) -> Any:
    """Return a part of a text, see ``plan.Part``."""
    if type(value) is not str:
        return ABSENT
    parts = value.split(separator, count - 1)
    return parts[index] if index < len(parts) else ABSENT


def places(node: object) -> Iterator[plan.Path]:
    """Yield every path into a payload that a part of a plan reads."""
    match node:
        case plan.Path():
            yield node
        case tuple():
            for inner in node:
                yield from places(inner)
        case plan.Choice(alternatives, otherwise):
            yield from places((*alternatives, otherwise))
        case plan.AllOf(conditions) | plan.AnyOf(conditions):
            yield from places(conditions)
        case plan.Not(inner) | plan.Holds(inner):
            yield from places(inner)
        case plan.Operation() | plan.Converted() | plan.Part() | plan.Comparison() | plan.IsIn() | plan.IsNull() | plan.Exists():
            yield from places(node.value)
        case plan.Handler():
            yield from places((node.where, node.operations))
        case plan.Branch():
            yield from places((node.condition, node.key, node.handlers))
        case plan.Lift():
            yield from places(node.when)
        case plan.HandledType():
            yield from places((node.branches, node.lifts))


def columns(node: object) -> set[str]:
    """Return the columns of the event that a part of a plan reads."""
    if isinstance(node, plan.Column):
        return {node.name}
    if isinstance(node, tuple):
        return set().union(*map(columns, node))
    slots = getattr(type(node), "__slots__", ()) if type(node).__module__ == plan.__name__ else ()
    return set().union(*(columns(getattr(node, slot)) for slot in slots))


def _path(root: plan.Root, steps: tuple[str | int, ...]) -> Read:
    if root == "data":
        if len(steps) == 1 and isinstance(steps[0], str):  # the most common case
            name = steps[0]
            return lambda row, data, metadata: data.get(name, ABSENT) if type(data) is dict else ABSENT
        return lambda row, data, metadata: walk(data, steps)
    return lambda row, data, metadata: walk(metadata, steps)


def walk(value: Any, steps: tuple[str | int, ...]) -> Any:
    """Return the value at a path of a decoded payload."""
    for step in steps:
        if isinstance(step, str):
            value = value.get(step, ABSENT) if type(value) is dict else ABSENT
        else:
            value = value[step] if type(value) is list and step < len(value) else ABSENT
    return value


def _choice(alternatives: list[tuple[Ask, Read]], otherwise: Read) -> Read:
    def chosen(row: Row, data: Any, metadata: Any) -> Any:
        for ask, read in alternatives:
            if ask(row, data, metadata) is True:
                return read(row, data, metadata)
        return otherwise(row, data, metadata)

    return chosen


def _comparison(value: plan.Value, comparator: plan.Comparator, constant: plan.Comparand) -> Ask:
    compare = _COMPARE[comparator]
    kind = type(constant)
    if isinstance(constant, datetime):
        return _instants(value, compare, microseconds_of(constant))
    read = reading(value)
    if kind in (str, bool):

        def same_kind(row: Row, data: Any, metadata: Any) -> bool | None:
            found = read(row, data, metadata)
            return compare(found, constant) if type(found) is kind else None

        return same_kind
    double = float(constant)

    def numbers(row: Row, data: Any, metadata: Any) -> bool | None:
        found = read(row, data, metadata)
        if type(found) is int:
            return compare(found, constant) if kind is int else compare(_double(found), double)
        return compare(float(found), double) if isinstance(found, float) else None

    return numbers


def _instants(value: plan.Value, compare: Callable[[Any, Any], bool], moment: int) -> Ask:
    read = reading(value)
    if isinstance(value, plan.Column):

        def recorded(row: Row, data: Any, metadata: Any) -> bool | None:
            found = read(row, data, metadata)
            return None if found is ABSENT else compare(found, moment)

        return recorded

    def instants(row: Row, data: Any, metadata: Any) -> bool | None:
        found = read(row, data, metadata)
        instant = instant_of(found) if type(found) is str else None
        return None if instant is None else compare(instant, moment)

    return instants


def _double(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _all(asks: list[Ask]) -> Ask:
    def conjunction(row: Row, data: Any, metadata: Any) -> bool | None:
        found: bool | None = True
        for ask in asks:
            answer = ask(row, data, metadata)
            if answer is False:
                return False
            if answer is None:
                found = None
        return found

    return conjunction


def _any(asks: list[Ask]) -> Ask:
    def disjunction(row: Row, data: Any, metadata: Any) -> bool | None:
        found: bool | None = False
        for ask in asks:
            answer = ask(row, data, metadata)
            if answer is True:
                return True
            if answer is None:
                found = None
        return found

    return disjunction
