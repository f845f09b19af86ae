"""Expressions over an event in a declaration: ``event.data["city"]``, ``event.recorded_at``, and conditions on them.

>>> event.data["address"]["city"]
event.data['address']['city']
>>> (event.data["amount"] > 100) & ~event.metadata["test"].is_null()
(event.data['amount'] > 100) & ~event.metadata['test'].is_null()
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Final, NoReturn

from workbench.errors import InvalidProjection
from workbench.projection import plan
from workbench.projection.fields import fits_int64, microseconds_of, storable

Comparable = bool | int | float | Decimal | str | date
"""Types that a value can be compared with. A ``Decimal`` counts as its nearest double, a date as its first instant in UTC."""

_COLUMN_KIND: dict[plan.KindName, type[Any]] = {"integer": float, "text": str, "instant": datetime}


class Where:
    """A condition on an event. Combine conditions by ``&``, ``|`` and ``~``, in parentheses.

    It is true, false or unknown, and holds only if it is true; unknown is what a comparison makes of a value that is absent, null
    or of another kind than the constant. ``&``, ``|`` and ``~`` follow Kleene's logic, as SQL does.
    """

    __slots__ = ("condition", "text")

    def __init__(self, condition: plan.Condition, text: str) -> None:
        self.condition = condition
        self.text = text

    def __and__(self, other: Where) -> Where:
        return Where(plan.AllOf((self.condition, _condition(other))), f"{_grouped(self)} & {_grouped(other)}")

    def __or__(self, other: Where) -> Where:
        return Where(plan.AnyOf((self.condition, _condition(other))), f"{_grouped(self)} | {_grouped(other)}")

    def __invert__(self) -> Where:
        return Where(plan.Not(self.condition), f"~{_grouped(self)}")

    def __bool__(self) -> NoReturn:
        raise InvalidProjection(f"{self} has no truth value: combine conditions by &, | and ~ in parentheses, not by and, or, not.")

    def __repr__(self) -> str:
        return self.text


class Value:
    """A value of an event: a place in its payload, or one of its own columns.

    ``["name"]`` goes into an object, ``[0]`` into an array. A place that is not there is *absent*, which is not null: an absent value
    changes nothing, null makes a field null.
    """

    __slots__ = ("value",)
    __hash__: ClassVar[None]  # type: ignore[assignment]  # == makes a condition
    __iter__: ClassVar[None] = None
    __contains__: ClassVar[None] = None

    def __init__(self, value: plan.Path | plan.Column) -> None:
        self.value: Final = value

    def __getitem__(self, step: str | int) -> Value:
        if not isinstance(self.value, plan.Path):
            raise InvalidProjection(f"{self} is a column and has no parts.")
        if not storable(step) and not (type(step) is int and 0 <= step < 2**31):
            raise InvalidProjection(f"{self}[{step!r}] is not a path: a step is a key (text) or an index (a whole number from 0).")
        return Value(plan.Path(self.value.root, (*self.value.steps, step)))

    def __eq__(self, other: Comparable) -> Where:  # type: ignore[override]  # a condition, as in Polars and SQLAlchemy
        return self._compare("==", other)

    def __ne__(self, other: Comparable) -> Where:  # type: ignore[override]  # a condition, as above
        return self._compare("!=", other)

    def __lt__(self, other: Comparable) -> Where:
        return self._compare("<", other)

    def __le__(self, other: Comparable) -> Where:
        return self._compare("<=", other)

    def __gt__(self, other: Comparable) -> Where:
        return self._compare(">", other)

    def __ge__(self, other: Comparable) -> Where:
        return self._compare(">=", other)

    def isin(self, *constants: Comparable) -> Where:
        """Whether the value is one of these constants, all of one kind."""
        found = [self._constant(constant) for constant in constants]
        if not found or len({_kind(constant) for constant in found}) != 1:
            raise InvalidProjection(f"{self}.isin() expects one or more constants of the same type.")
        return Where(plan.IsIn(self.value, tuple(found)), f"{self}.isin({', '.join(map(repr, constants))})")

    def is_null(self) -> Where:
        """Whether the value is there and null. A value that is absent is not null."""
        return Where(plan.IsNull(self.value), f"{self}.is_null()")

    def exists(self) -> Where:
        """Whether the value is there; null is."""
        return Where(plan.Exists(self.value), f"{self}.exists()")

    def __bool__(self) -> NoReturn:
        raise InvalidProjection(f"{self} is not a condition: compare it, or call .exists() or .is_null().")

    def __repr__(self) -> str:
        return str(self.value)

    def _compare(self, comparator: plan.Comparator, other: Comparable) -> Where:
        constant = self._constant(other)
        if isinstance(constant, bool) and comparator not in ("==", "!="):
            raise InvalidProjection(f"{self} {comparator} {other!r}: booleans have no order.")
        return Where(plan.Comparison(self.value, comparator, constant), f"{self} {comparator} {other!r}")

    def _constant(self, other: Comparable) -> plan.Comparand:
        constant = self._comparand(other)
        if isinstance(self.value, plan.Column):
            holds = plan.COLUMNS[self.value.name]
            if _kind(constant) is not _COLUMN_KIND[holds]:
                raise InvalidProjection(f"{self} is of type {holds} and cannot be compared with {other!r}.")
        return constant

    def _comparand(self, other: object) -> plan.Comparand:
        match other:
            case bool():
                return other
            case int() if fits_int64(other):
                return int(other)
            case float() | Decimal() if math.isfinite(other) and math.isfinite(number := float(other)):
                return number + 0.0  # one zero
            case str() if storable(other):
                return str(other)
            case date():
                microseconds_of(other)
                moment = other if isinstance(other, datetime) else datetime(other.year, other.month, other.day, tzinfo=UTC)
                return moment.astimezone(UTC)
            case Value():
                raise InvalidProjection(f"{self} is compared with {other}: compare a value of an event with constants only.")
            case None:
                raise InvalidProjection(f"{self} is compared with None: use .is_null(), or ~.exists() for an absent value.")
        raise InvalidProjection(f"{self} cannot be compared with {other!r}: use a finite number, a text, a boolean or an instant.")


class Event:
    """The event that a handler or an upcaster reads."""

    __slots__ = ()

    data: ClassVar[Value] = Value(plan.Path("data"))
    metadata: ClassVar[Value] = Value(plan.Path("metadata"))
    position: ClassVar[Value] = Value(plan.Column("position"))
    prepare_position: ClassVar[Value] = Value(plan.Column("prepare_position"))
    stream: ClassVar[Value] = Value(plan.Column("stream"))
    category: ClassVar[Value] = Value(plan.Column("category"))
    revision: ClassVar[Value] = Value(plan.Column("revision"))
    event_id: ClassVar[Value] = Value(plan.Column("event_id"))
    type: ClassVar[Value] = Value(plan.Column("type"))
    recorded_at: ClassVar[Value] = Value(plan.Column("recorded_at"))
    correlation_id: ClassVar[Value] = Value(plan.Column("correlation_id"))
    causation_id: ClassVar[Value] = Value(plan.Column("causation_id"))

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an event has no {name!r}; it has data, metadata, {', '.join(plan.COLUMNS)}")

    def __repr__(self) -> str:
        return "event"


event: Final = Event()
"""The event that a handler or an upcaster reads."""


def _condition(other: object) -> plan.Condition:
    if not isinstance(other, Where):
        raise InvalidProjection(f"{other!r} is not a condition: put comparisons in parentheses before & and |.")
    return other.condition


def _grouped(where: Where) -> str:
    return f"({where})" if isinstance(where.condition, (plan.Comparison, plan.AllOf, plan.AnyOf)) else str(where)


def _kind(constant: plan.Comparand) -> type[Any]:
    return float if type(constant) is int else type(constant)
