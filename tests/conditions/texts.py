"""Random conditions: their texts, and what they mean said the plain way, by which engines are judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from workbench.projection.values import instant_of

ABSENT = object()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Read = Callable[[Any], Any]
Truth = Callable[[Any], bool | None]
Name = tuple[str, Read, Sequence[Sequence[Any]]]
"""A name as it is written, how it is read, and constants of each kind to compare it with."""
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: one == other,
    "<>": lambda one, other: one != other,
    "!=": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A condition: its text, and what it is of one row, true, false or unknown."""

    text: str
    truth: Truth

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Instant:
    """A constant that is an instant, in microseconds."""

    at: int


def decoded(text: str | None) -> Any:
    """Decode a payload; of duplicate keys the first counts."""
    return ABSENT if text is None else json.loads(text, object_pairs_hook=lambda pairs: dict(reversed(pairs)))


def payload_of(root: str, *steps: str | int) -> Read:
    """Return a function that reads what stands in a payload."""
    return lambda one: inside(getattr(one, root), *steps)


def inside(text: str | None, *steps: str | int) -> Any:
    """Return what stands at a place of JSON text."""
    value = decoded(text)
    for step in steps:
        fits = isinstance(value, dict) if isinstance(step, str) else isinstance(value, list)
        if not fits or (step not in value if isinstance(step, str) else step >= len(value)):
            return ABSENT
        value = value[step]
    return value


def compared(value: Any, sign: str, constant: Any) -> bool | None:
    """Compare a value with a constant as the language says."""
    if value is ABSENT or value is None:
        return None
    if isinstance(constant, Instant):
        value = value if isinstance(value, Instant) else instant_of(value) if isinstance(value, str) else None
        at = value.at if isinstance(value, Instant) else value
        return None if at is None else _COMPARE[sign](at, constant.at)
    if isinstance(constant, (bool, str)):
        return _COMPARE[sign](value, constant) if type(value) is type(constant) else None
    if type(value) not in (int, float):
        return None
    if type(value) is int and type(constant) is int:
        return _COMPARE[sign](value, constant)
    return _COMPARE[sign](_double(value), float(constant))


def _double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def all_of(found: Sequence[bool | None]) -> bool | None:
    return False if False in found else None if None in found else True


def any_of(found: Sequence[bool | None]) -> bool | None:
    return True if True in found else None if None in found else False


def opposite(found: bool | None) -> bool | None:
    return None if found is None else not found


def written(constant: Any) -> str:
    """Write a constant."""
    match constant:
        case Instant(at):
            return f"timestamp '{(_EPOCH + timedelta(microseconds=at)).isoformat()}'"
        case bool():
            return str(constant).lower()
        case str():
            return "'" + constant.replace("'", "''") + "'"
    return repr(constant)


def comparisons(names: Sequence[Name]) -> st.SearchStrategy[Asked]:
    """Comparisons of a name, as it is written and read, with constants of one of its kinds, and questions of what is missing."""

    def compare(name: Name) -> st.SearchStrategy[Asked]:
        text, read, kinds = name

        def of(constants: Sequence[Any]) -> st.SearchStrategy[Asked]:
            one = st.sampled_from(list(constants))
            signs = st.sampled_from(["=", "<>", "!="] if isinstance(constants[0], bool) else list(_COMPARE))
            ordered = [] if isinstance(constants[0], bool) else [st.tuples(st.just("between"), st.tuples(one, one))]
            lists = st.lists(one, min_size=1, max_size=3)
            return st.one_of(
                st.tuples(signs, one).map(
                    lambda drawn: Asked(f"{text} {drawn[0]} {written(drawn[1])}", lambda row: compared(read(row), *drawn))
                ),
                st.tuples(st.sampled_from(["in", "IN", "not in"]), lists).map(lambda drawn: _listed(text, read, *drawn)),
                *(strategy.map(lambda drawn: _between(text, read, *drawn[1])) for strategy in ordered),
            )

        return st.one_of(*map(of, kinds))

    return st.sampled_from(list(names)).flatmap(compare)


def _listed(text: str, read: Read, word: str, constants: Sequence[Any]) -> Asked:
    def holds(row: Any) -> bool | None:
        found = any_of([compared(read(row), "=", one) for one in constants])
        return opposite(found) if word == "not in" else found

    return Asked(f"{text} {word} ({', '.join(map(written, constants))})", holds)


def _between(text: str, read: Read, low: Any, high: Any) -> Asked:
    return Asked(
        f"{text} between {written(low)} and {written(high)}",
        lambda row: all_of([compared(read(row), ">=", low), compared(read(row), "<=", high)]),
    )


def missing(names: Sequence[Name], *, exists: bool) -> st.SearchStrategy[Asked]:
    """Questions of what is null or absent; with ``exists`` those that tell the two apart, too."""

    def ask(drawn: tuple[Name, str]) -> Asked:
        (text, read, _), word = drawn
        if word == "exists":
            return Asked(f"exists({text})", lambda row: read(row) is not ABSENT)
        return Asked(f"{text} {word}", lambda row: (read(row) is ABSENT or read(row) is None) == (word != "is not null"))

    words = ["is null", "IS  NULL", "is not null", *(["exists"] if exists else [])]
    return st.tuples(st.sampled_from(list(names)), st.sampled_from(words)).map(ask)


def combined(simple: st.SearchStrategy[Asked]) -> st.SearchStrategy[Asked]:
    """Combinations of simple conditions, in parentheses where the grouping is not the language's own."""

    def joined(drawn: tuple[str, list[Asked]]) -> Asked:
        word, parts = drawn
        join = all_of if word.lower() == "and" else any_of
        return Asked(f" {word} ".join(f"({one})" for one in parts), lambda row: join([one.truth(row) for one in parts]))

    def mixed(parts: tuple[Asked, Asked, Asked]) -> Asked:
        one, two, three = parts
        return Asked(
            f"not ({one}) and ({two}) or ({three})",
            lambda row: any_of([all_of([opposite(one.truth(row)), two.truth(row)]), three.truth(row)]),
        )

    return st.recursive(
        simple,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(["and", "or", "AND", "\nor"]), st.lists(inner, min_size=2, max_size=3)).map(joined),
            inner.map(lambda one: Asked(f"not ({one})", lambda row: opposite(one.truth(row)))),
            st.tuples(inner, inner, inner).map(mixed),
        ),
        max_leaves=4,
    )
