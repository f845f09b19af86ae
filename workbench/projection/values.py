"""Converts JSON values to the types of fields.

The event-by-event engine converts every value here, the vectorised engine only those that its column expressions cannot convert.
A decoded JSON value is None, bool, int, float, str, list or dict. If a plan has decimal fields, a number with a fraction or an
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
"""Longer integers count as their nearest double, which is infinite, because Python does not parse them."""

LEAST_INSTANT = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
GREATEST_INSTANT = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND

Fit = Callable[[Any], Any]
"""Converts a JSON value that is not null to a field's type, or raises ``Misfit``."""


class Misfit(Exception):
    """Raised when a value does not fit; the engine adds the context and raises ``ValueDoesNotFit``."""

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
    """Return RFC 3339 text as microseconds since the Unix epoch, or None if it is not an instant.

    The zone is required; ``T`` or a space separates date and time; digits after the microseconds are truncated. Leap seconds and times
    outside the years 1 to 9999 UTC are not instants.
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
    """Convert a JSON value, see ``plan.Converted``."""
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
    """Return a function that converts a JSON value to a kind.

    - text accepts text that UTF-8 can encode (no lone surrogate); boolean accepts true and false;
    - integer accepts int64 integers, and other numbers (1.0, 1e3) whose nearest double is whole and at most 2**53 in size;
    - float accepts any number whose nearest double is finite; -0.0 becomes 0.0;
    - decimal accepts any number whose digits, as recorded, fit precision and scale: it never rounds;
    - instant accepts text, see ``instant_of``; json accepts any value that has a canonical text (every number fits a double);
    - set and list accept arrays without nulls. A number written as text is text.
    """
    if kind.element is not None:
        fit, make = fitting(kind.element), set if kind.name == "set" else list

        def collection(value: Any) -> Any:
            if type(value) is not list:
                raise Misfit("it is not an array", value=value)
            return make(_elements(value, fit))

        return collection
    return (lambda value: _decimal(value, kind)) if kind.name == "decimal" else _SCALARS[kind.name]


def fitting_elements(kind: Kind) -> Fit:
    """Return a function that converts a JSON value to a list of elements, for ``include``, ``exclude`` and ``append``."""
    assert kind.element is not None
    fit = fitting(kind.element)
    if kind.element.name == "json":
        return lambda value: [fit(value)]
    return lambda value: _elements(value, fit) if type(value) is list else [fit(value)]


def shown(value: object) -> str:
    """Return a value as shortened JSON for an error message."""
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
        raise Misfit("it is not text", value=value)
    if not storable(value):
        raise Misfit("it contains half a surrogate pair, which is not a character", value=value)
    return value


def _boolean(value: Any) -> Any:
    if type(value) is bool:
        return value
    raise Misfit("it is neither true nor false", value=value)


def _integer(value: Any) -> Any:
    if type(value) is int:
        if fits_int64(value):
            return value
        raise Misfit("it does not fit into int64", value=value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    raise Misfit("it is not a whole number" if isinstance(value, float) else "it is not a number", value=value)


def _float(value: Any) -> Any:
    if type(value) is not int and not isinstance(value, float):
        raise Misfit("it is not a number", value=value)
    number = float_of(value)
    if number is None:
        raise Misfit("it is outside the range of a double", value=value)
    return number


def _decimal(value: Any, kind: Kind) -> Any:
    if type(value) is not int and not isinstance(value, float):
        raise Misfit("it is not a number", value=value)
    try:
        exact = Decimal(value if isinstance(value, int) else value.text if isinstance(value, Number) else repr(value))
    except InvalidOperation:  # an exponent outside the range of Decimal
        exact = Decimal("Infinity")
    found = scaled(exact, kind)
    if found is None:
        raise Misfit(f"it has more digits than {kind} allows", value=value)
    return found


def _instant(value: Any) -> Any:
    found = instant_of(value) if type(value) is str else None
    if found is None:
        raise Misfit("it is not an RFC 3339 time with a zone, like 2026-03-01T09:00:00Z", value=value)
    return found


def _json(value: Any) -> Any:
    text = canonical(value)
    if text is None:
        what = "a number in it is outside the range of a double"
        if not storable(json.dumps(value, ensure_ascii=False)):
            what = "a text in it contains half a surrogate pair, which is not a character"
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
