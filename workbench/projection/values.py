"""JSON values that are made to fit fields. Both engines use this: one on every value, one on those that its own way leaves open.

A decoded JSON value is None, bool, int, float, str, list or dict. Where a plan has decimal fields, a number with a fraction or an
exponent is a ``Number``: the nearest double, with its text as recorded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from workbench.projection.fields import canonical, fits_int64, float_of, scaled, storable
from workbench.projection.plan import Kind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INSTANT = re.compile(
    r"([0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])"
    r"(?:\.([0-9]+))?([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DIGITS = 4_000
"""Integers of more digits count as their nearest double, which is infinite: Python reads no longer ones."""

LEAST_INSTANT = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
GREATEST_INSTANT = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND

Fit = Callable[[Any], Any]
"""Makes a JSON value that is not null fit; raises ``Misfit``."""


class Misfit(Exception):
    """Raised when a value does not fit; the engine completes it to ``ValueDoesNotFit``."""

    def __init__(self, reason: str, *, value: object, field: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field
        self.value = value


class Number(float):
    """A JSON number with a fraction or an exponent: its nearest double, and its text as recorded."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Number:
        number = super().__new__(cls, text)
        number.text = text
        return number


def integer_or_double(text: str) -> int | float:
    """Return a JSON number without fraction and exponent."""
    return int(text) if len(text) <= _DIGITS else Number(text)


def instant_of(text: str) -> int | None:
    """Return RFC 3339 text as microseconds since the Unix epoch, or None if it is none.

    The zone is needed; between date and time stands ``T`` or a space; digits behind the microseconds are cut off; a leap second is none.
    The instant lies in the years 1 to 9999 of UTC.
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        return None
    seconds, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{seconds}{'Z' if zone in 'Zz' else zone}")
    except ValueError:  # the 30th of February, the year 0
        return None
    found = (moment - _EPOCH) // _MICROSECOND + (int(f"{fraction:0<6.6}") if fraction else 0)
    return found if LEAST_INSTANT <= found <= GREATEST_INSTANT else None


def converted(value: Any, to: Literal["number", "text", "boolean"]) -> Any:
    """Return a JSON value retyped, see ``plan.Converted``."""
    if to == "number":
        if isinstance(value, bool):
            return int(value)
        match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            return value
        return integer_or_double(value) if match.group(1) is None and match.group(2) is None else Number(value)
    if to == "text":
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value) if isinstance(value, int) else value
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value, value)
    return bool(value) if type(value) is int and value in (0, 1) else value


def fitting(kind: Kind) -> Fit:
    """Return what makes a JSON value fit a kind.

    - text takes text that can be written as UTF-8 (it holds no half of a surrogate pair); boolean takes true and false;
    - integer takes integers of int64, and other numbers (1.0, 1e3) whose nearest double is whole and at most 2**53 in size;
    - float takes any number whose nearest double is finite; -0.0 becomes 0.0;
    - decimal takes any number that has its digits, as recorded, within precision and scale: nothing is rounded;
    - instant takes text, see ``instant_of``; json takes anything that has a canonical text (no number in it is beyond the doubles);
    - set and list take arrays without nulls. Numbers written as text are text.
    """
    if kind.element is not None:
        fit, make = fitting(kind.element), set if kind.name == "set" else list

        def collection(value: Any) -> Any:
            if type(value) is not list:
                raise Misfit("it is no array", value=value)
            return make(_elements(value, fit))

        return collection
    return (lambda value: _decimal(value, kind)) if kind.name == "decimal" else _SCALARS[kind.name]


def fitting_elements(kind: Kind) -> Fit:
    """Return what makes a JSON value a list of elements for ``include``, ``exclude`` and ``append`` on a set or a list."""
    assert kind.element is not None
    fit = fitting(kind.element)
    if kind.element.name == "json":
        return lambda value: [fit(value)]
    return lambda value: _elements(value, fit) if type(value) is list else [fit(value)]


def shown(value: object) -> str:
    """Return a value for an error's sentence: as JSON, shortened."""
    try:
        if isinstance(value, Number):
            text = value.text
        else:
            text = str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
            text = text if storable(text) else json.dumps(value)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _elements(values: list[Any], fit: Fit) -> list[Any]:
    if None in values:
        raise Misfit("an element is null", value=values)
    return [fit(value) for value in values]


def _text(value: Any) -> Any:
    if type(value) is not str:
        raise Misfit("it is no text", value=value)
    if not storable(value):
        raise Misfit("it holds half a surrogate pair, which is no character", value=value)
    return value


def _boolean(value: Any) -> Any:
    if type(value) is bool:
        return value
    raise Misfit("it is neither true nor false", value=value)


def _integer(value: Any) -> Any:
    if type(value) is int:
        if fits_int64(value):
            return value
        raise Misfit("it is outside of int64", value=value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    raise Misfit("it is no whole number" if isinstance(value, float) else "it is no number", value=value)


def _float(value: Any) -> Any:
    if type(value) is not int and not isinstance(value, float):
        raise Misfit("it is no number", value=value)
    number = float_of(value)
    if number is None:
        raise Misfit("it is beyond what a double can hold", value=value)
    return number


def _decimal(value: Any, kind: Kind) -> Any:
    if type(value) is not int and not isinstance(value, float):
        raise Misfit("it is no number", value=value)
    try:
        exact = Decimal(value if isinstance(value, int) else value.text if isinstance(value, Number) else repr(value))
    except InvalidOperation:  # an exponent beyond what even Decimal has
        exact = Decimal("Infinity")
    found = scaled(exact, kind)
    if found is None:
        raise Misfit(f"it has more digits than {kind} holds", value=value)
    return found


def _instant(value: Any) -> Any:
    found = instant_of(value) if type(value) is str else None
    if found is None:
        raise Misfit("it is no RFC 3339 time with a zone, like 2026-03-01T09:00:00Z", value=value)
    return found


def _json(value: Any) -> Any:
    text = canonical(value)
    if text is None:
        what = "a number in it is beyond what a double can hold"
        if not storable(json.dumps(value, ensure_ascii=False)):
            what = "a text in it holds half a surrogate pair, which is no character"
        raise Misfit(what, value=value)
    return text


_SCALARS: dict[str, Fit] = {
    "text": _text,
    "boolean": _boolean,
    "integer": _integer,
    "float": _float,
    "instant": _instant,
    "json": _json,
}
