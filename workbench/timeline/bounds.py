"""Checks the bounds and names that a timeline is refined by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from workbench.errors import UsageError
from workbench.events import Cutoff

Bound = str | int | datetime | date
"""An instant or a position: RFC 3339 text, a datetime with a zone, a date (its first instant in UTC), digits or an int."""
Some = str | Sequence[str]
"""A name, or several."""


def parse_bound(method: str, value: Bound | None, position: int | None) -> Cutoff:
    """Read the one bound that a method is given.

    Raises
    ------
    UsageError
        Not exactly one bound is given, or the position is not a whole number.
    InvalidTime
        The time has no time zone, or is not a time.
    """
    if value is None and position is not None:
        asked = Cutoff.parse(position)
        if asked.position is None:
            raise UsageError(f"{method}() takes a whole number as position=, not {position!r}: a time needs no name.")
        return asked
    if value is None or position is not None:
        raise UsageError(f"{method}() takes one bound: a time, or position=.")
    return Cutoff.parse(value)


def instant_of(cutoff: Cutoff | None) -> float:
    """Return a cutoff's time as seconds since 1970; infinity if it has none."""
    return cutoff.time.timestamp() if cutoff is not None and cutoff.time is not None else float("inf")


def ensure_names(method: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names as they are.

    Raises
    ------
    UsageError
        A name is empty or not text, or there is none.
    """
    if not names:
        raise UsageError(f"{method}() takes at least one name.")
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"{method}() takes names as text, each an argument of its own, as in {method}('a', 'b'): not {name!r}.")
        if not name:
            raise UsageError(f"{method}() takes names that are not empty.")
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise UsageError(f"{name!r} has half a surrogate pair in it, which no name can have.")
    return names
