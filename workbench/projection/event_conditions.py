"""Builds conditions on events, and paths into events, from text in the language of ``workbench.conditions``."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from workbench.conditions.builder import Comparator, Constant, Path
from workbench.errors import UsageError
from workbench.events import parse_time
from workbench.projection import plan
from workbench.projection.expressions import Value, Where, event
from workbench.projection.fields import fits_int64

_COMPARE = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_KNOWN = ("data", "metadata", *plan.COLUMNS)
_HOLDS: dict[plan.KindName, tuple[tuple[type, ...], str]] = {
    "integer": ((int, float), "whole numbers"),
    "text": ((str,), "text"),
    "instant": ((datetime,), "instants"),
}


def where(text: str) -> Where:
    """Parse a condition on an event.

    >>> where("data.amount > 100").condition == (event.data["amount"] > 100).condition
    True

    Raises
    ------
    InvalidCondition
        The text is not in the language, uses an unknown name, or compares incompatible values.
    """
    from workbench.conditions.parser import parse_condition  # noqa: PLC0415  # sqlglot takes long to import

    return Where(parse_condition(text, EventConditions()), repr(text))


def event_path(text: str) -> Value:
    """Return the value of an event at a path into its payload or metadata, or in one of its own columns.

    Parameters
    ----------
    text
        A path in the language of conditions: ``metadata.userId``, ``data.tags[0]``, ``data."first name"``, ``stream``.

    Returns
    -------
    Value
        The same as ``wb.event.metadata["userId"]``, for ``activity(actor=…)``, ``schemas(version=…)``, handlers and keys.

    Raises
    ------
    InvalidCondition
        The text is not a path, or an event has no such column.

    Examples
    --------
    >>> event_path('metadata."user id"')
    event.metadata['user id']
    """
    from workbench.conditions.parser import parse_path  # noqa: PLC0415  # as above

    return _value(parse_path(text, EventConditions()))


@dataclass(frozen=True, slots=True)
class EventConditions:
    """Builds conditions of a plan."""

    def check(self, path: Path) -> None:
        root, *steps = path
        if root not in _KNOWN:
            raise UsageError(f"an event has no {root}; it has {', '.join(_KNOWN)}; to name a key of its payload, write data.{root}")
        if steps and root in plan.COLUMNS:
            raise UsageError(f"{root} has no parts")
        _value(path)

    def compare(self, path: Path, comparator: Comparator, constant: Constant) -> plan.Condition:
        found: Where = _COMPARE[comparator](_value(path), _comparable(path, constant))
        return found.condition

    def one_of(self, path: Path, constants: Sequence[Constant]) -> plan.Condition:
        return _value(path).isin(*(_comparable(path, constant) for constant in constants)).condition

    def is_null(self, path: Path) -> plan.Condition:
        value = _value(path)
        return (value.is_null() | ~value.exists()).condition

    def exists(self, path: Path) -> plan.Condition:
        return _value(path).exists().condition

    def all_of(self, conditions: Sequence[plan.Condition]) -> plan.Condition:
        return plan.AllOf(tuple(conditions))

    def any_of(self, conditions: Sequence[plan.Condition]) -> plan.Condition:
        return plan.AnyOf(tuple(conditions))

    def negation(self, condition: plan.Condition) -> plan.Condition:
        return plan.Not(condition)


def _value(path: Path) -> Value:
    root, *steps = path
    value: Value = getattr(event, str(root))
    for step in steps:
        value = value[step]
    return value


def _comparable(path: Path, constant: Constant) -> Constant:
    """Return a constant for the comparison with a value: text becomes an instant if the value is a time."""
    kind = plan.COLUMNS.get(str(path[0]))
    if kind == "instant" and isinstance(constant, str):
        return parse_time(constant)
    if kind is not None:
        types, name = _HOLDS[kind]
        if isinstance(constant, bool) or not isinstance(constant, types):
            raise UsageError(f"{path[0]} holds {name} and cannot be compared with {constant!r}")
    if type(constant) is int and not fits_int64(constant):
        raise UsageError(f"{constant} does not fit into 64 bits")
    return constant
