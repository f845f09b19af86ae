"""The types that a field can have, and the conversion of Python constants to them."""

from __future__ import annotations

import json
import math
import types
import typing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from workbench.errors import InvalidProjection
from workbench.projection.plan import Field, Kind, KindName

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Digits:
    """The number of decimal digits of a ``Decimal`` field, given in its annotation.

    Parameters
    ----------
    precision
        All digits, 1 to 38.
    scale
        The digits after the decimal point, at most ``precision``. A plain ``Decimal`` is ``Digits(38, scale=9)``.

    Raises
    ------
    InvalidProjection
        The numbers are out of range.

    Examples
    --------
    >>> from typing import Annotated
    >>> class Account(wb.Projection, category="account"):
    ...     balance: Annotated[Decimal, Digits(18, scale=2)] = Decimal(0)
    ...     handlers = [wb.on("account.paid").add(balance=wb.event.data["amount"])]
    """

    precision: int = 38
    scale: int = 9

    def __post_init__(self) -> None:
        if not 1 <= self.precision <= 38 or not 0 <= self.scale <= self.precision:
            raise InvalidProjection(
                f"Digits() expects a precision of 1 to 38 and a scale of 0 to the precision, got {self.precision} and {self.scale}."
            )


class _JsonText:
    """Marks text as the canonical text of a JSON value."""


Json = Annotated[str, _JsonText]
"""A JSON value of any kind, stored as canonical text: no spaces, keys sorted, numbers that are not integers as their nearest double."""

_SIMPLE: dict[Any, KindName] = {str: "text", int: "integer", float: "float", bool: "boolean", datetime: "instant"}
_KNOWN = "str, int, float, Decimal, bool, datetime, Json, set[...] or list[...] of these, each also with | None"


def field_of(name: str, annotation: Any, default: Any, *, given: bool) -> Field:
    """Return a field from its annotation and its default.

    Without a default, a field begins as null; a set or list begins empty, or as null if its annotation has ``| None``.

    Raises
    ------
    InvalidProjection
        The annotation is not a known type, or the default does not fit it. The message continues "field 'name'".
    """
    inner, optional = _without_none(annotation)
    kind = kind_of(inner)
    unset = () if kind.element is not None and not optional else None
    return Field(name, kind, constant_of(kind, default) if given else unset)


def kind_of(annotation: Any) -> Kind:
    """Return the kind that an annotation without ``| None`` means."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        inner, *marks = arguments
        if inner is str and _JsonText in marks:
            return Kind("json")
        digits = [mark for mark in marks if isinstance(mark, Digits)]
        if inner is Decimal and digits:
            return Kind("decimal", precision=digits[-1].precision, scale=digits[-1].scale)
        return kind_of(inner)
    if annotation is Decimal:
        return kind_of(Annotated[Decimal, Digits()])
    if origin in (set, list) and len(arguments) == 1:
        element = kind_of(arguments[0])
        if element.element is not None or (origin is set and element.name == "json"):
            raise InvalidProjection(
                f"has the type {origin.__name__} of {element}, which is not possible: take a Json field for nested values"
            )
        return Kind("set" if origin is set else "list", element)
    if annotation in (set, list):
        raise InvalidProjection(f"has a {annotation.__name__} without an element type: write {annotation.__name__}[str], for example")
    try:
        return Kind(_SIMPLE[annotation])
    except (KeyError, TypeError):
        shown = getattr(annotation, "__name__", None) if isinstance(annotation, type) else None
        raise InvalidProjection(f"has the unknown type {shown or annotation}: use {_KNOWN}") from None


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation, False
    arguments = typing.get_args(annotation)
    kept = [argument for argument in arguments if argument is not type(None)]
    if len(kept) != 1:
        raise InvalidProjection(f"has the unknown type {annotation}: use {_KNOWN}")
    return kept[0], len(kept) < len(arguments)


def constant_of(kind: Kind, value: Any) -> Any:
    """Return a Python constant as a value of a kind (see ``plan.Constant``).

    Raises
    ------
    InvalidProjection
        The constant does not fit.
    """
    if value is None:
        return None
    if kind.element is not None:
        if isinstance(value, (set, list, dict)):
            raise InvalidProjection(f"takes {value!r}, which is mutable: write a tuple or a frozenset, or omit the default to begin empty")
        if not isinstance(value, (tuple, frozenset)):
            raise InvalidProjection(f"takes {value!r}, which is not a tuple or frozenset")
        elements = elements_of(kind, value)
        return tuple(sorted(set(elements))) if kind.name == "set" else elements
    fitted = _scalar(kind, value)
    if fitted is None:
        raise InvalidProjection(f"takes {value!r}, which does not fit its type, {kind}")
    return fitted


def elements_of(kind: Kind, value: Any) -> tuple[Any, ...]:
    """Return one constant or a tuple of constants as elements of a kind, for ``include``, ``exclude`` and ``append``."""
    assert kind.element is not None
    found = []
    for element in value if isinstance(value, (tuple, frozenset)) else (value,):
        fitted = None if element is None else _scalar(kind.element, element)
        if fitted is None:
            raise InvalidProjection(f"takes {element!r}, which does not fit the elements of its type, {kind}")
        found.append(fitted)
    return tuple(found)


def _scalar(kind: Kind, value: Any) -> Any:
    match kind.name:
        case "text" if isinstance(value, str) and storable(value):
            return str(value)
        case "integer" if type(value) is int and fits_int64(value):
            return value
        case "float" if type(value) in (int, float):
            return float_of(value)
        case "decimal" if type(value) in (int, Decimal):
            return scaled(Decimal(value), kind)
        case "boolean" if isinstance(value, bool):
            return value
        case "instant" if isinstance(value, date):
            return microseconds_of(value)
        case "json":
            return canonical(value)
    return None


def storable(text: object) -> bool:
    """Whether a value is text that UTF-8 can encode, that is, has no lone surrogate."""
    return isinstance(text, str) and (text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text))


def fits_int64(value: int) -> bool:
    """Whether an integer fits into int64."""
    return -(2**63) <= value < 2**63


def float_of(value: float) -> float | None:
    """Return a number as a finite double, with -0.0 as 0.0, or None if it has none."""
    try:
        number = float(value) + 0.0  # -0.0 + 0.0 is 0.0
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def scaled(value: Decimal, kind: Kind) -> Decimal | None:
    """Return a decimal with the kind's scale, or None if that loses a digit or exceeds the kind's precision."""
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):  # infinities and NaN
        return None
    if not any(digits):
        return Decimal((0, (0,), -kind.scale))
    zeros = exponent + kind.scale
    if len(digits) + zeros > kind.precision:
        return None
    if zeros >= 0:
        return Decimal((sign, digits + (0,) * zeros, -kind.scale))
    if any(digits[zeros:]):
        return None
    return Decimal((sign, digits[:zeros], -kind.scale))


def microseconds_of(moment: date) -> int:
    """Return an aware datetime, or a date's first instant in UTC, as microseconds since the Unix epoch.

    Raises
    ------
    InvalidProjection
        The datetime has no time zone.
    """
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise InvalidProjection(f"takes {moment.isoformat()}, which has no time zone: give it tzinfo=UTC")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def canonical(value: Any) -> str | None:
    """Return the canonical text of a decoded JSON value, or None if it has none (an infinite number, a lone surrogate, not JSON).

    No spaces; keys sorted by code points; text unescaped where JSON allows; integers in full; other numbers as Python writes their
    nearest double.

    >>> canonical({"b": [1, 1.10, 1e3], "a": "é"})
    '{"a":"é","b":[1,1.1,1000.0]}'
    """
    try:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):
        return None
    return text if storable(text) else None
