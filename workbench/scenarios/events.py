"""Conditions on events, from their text."""

from __future__ import annotations

import operator
from datetime import datetime

from workbench.errors import UsageError
from workbench.events import Cutoff
from workbench.projection.expressions import Value, Where, event
from workbench.projection.plan import COLUMNS
from workbench.scenarios.language import Comparator, Constant, Path, condition, place

_COMPARE = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def where(text: str) -> Where:
    """Return the condition on an event that a text says, see :mod:`.language`.

    >>> where('data.amount > 100 and type == "user.paid"')
    (event.data['amount'] > 100) & (event.type == 'user.paid')

    Raises
    ------
    UsageError
        It says none, or compares what cannot be compared.
    """
    return condition(text, _OfEvents())


def value(text: str) -> Value:
    """Return the place of an event that a text names, see :mod:`.language`.

    >>> value('metadata.userId')
    event.metadata['userId']

    Raises
    ------
    UsageError
        It names none.
    """
    return _value(place(text))


class _OfEvents:
    """Conditions as a projection has them."""

    def compare(self, path: Path, comparator: Comparator, constant: Constant) -> Where:
        found: Where = _COMPARE[comparator](_value(path), _comparable(path, constant))
        return found

    def among(self, path: Path, constants: tuple[Constant, ...]) -> Where:
        return _value(path).isin(*(_comparable(path, constant) for constant in constants))

    def is_null(self, path: Path) -> Where:
        value = _value(path)
        return value.is_null() | ~value.exists()

    def exists(self, path: Path) -> Where:
        return _value(path).exists()

    def both(self, one: Where, other: Where) -> Where:
        return one & other

    def either(self, one: Where, other: Where) -> Where:
        return one | other

    def opposite(self, one: Where) -> Where:
        return ~one


def _value(path: Path) -> Value:
    root, *steps = path
    known = ("data", "metadata", *COLUMNS)
    if root not in known:
        raise UsageError(f"An event has no {root!r}; it has {', '.join(known)}: what stands in its payload is data.{root}.")
    value: Value = getattr(event, str(root))
    for step in steps:
        value = value[step]
    return value


def _comparable(path: Path, constant: Constant) -> Constant | datetime:
    if COLUMNS.get(str(path[0])) != "instant" or not isinstance(constant, str):
        return constant
    moment = Cutoff.parse(constant).time
    if moment is None:
        raise UsageError(f"{path[0]} is compared with {constant!r}, which is no time: write 2026-03-01T09:00:00Z or 2026-03-01.")
    return moment
