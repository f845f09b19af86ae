"""The two small texts of a scenario: which events an edit is about, and what is measured of states.

A condition compares places with constants, and combines such comparisons::

    data.amount > 100 and not data.plan in ["free", "trial"]
    data.address.city is null or metadata["schema version"] == 2

- A place is a name, deeper with ``.name``, ``["any name"]`` or ``[0]``. Of an event: ``data…``, ``metadata…``, or a column such as
  ``type`` or ``recorded_at``; of a state: a field.
- A constant is a number, a text in quotes (of either kind; a backslash keeps the next character), ``true`` or ``false``. A text that is
  compared with an instant is a time: ``recorded_at < "2026-03-01"``.
- ``== != < <= > >=``, ``in [...]``, ``not in [...]``; ``is null`` (null, or not there) and ``is not null``; of events also ``exists``,
  which a null does. ``not``, ``and``, ``or`` bind in this order, and parentheses group.
- What is null, not there, or of another kind is neither equal nor unequal: the comparison is unknown, as in SQL, and so does not hold.

A measure is one of ``count``, ``sum(field)``, ``mean(field)``, ``min(field)`` and ``max(field)``, of all entities, or of those for which
``where`` and a condition on the fields hold: ``sum(paid) where plan == "pro"``. Nulls are left out; a sum of nothing is 0.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar, cast

from workbench.errors import UsageError

Constant = bool | int | float | str
Comparator = Literal["==", "!=", "<", "<=", ">", ">="]
Path = tuple[str | int, ...]
Found = TypeVar("Found")

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![\w.]))
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<name>[^\W\d]\w*)
    |(?P<sign>==|!=|<=|>=|[<>()\[\],.])
    )""",
    re.VERBOSE | re.DOTALL,
)
_COMPARATORS = ("==", "!=", "<=", ">=", "<", ">")
_WORDS = ("and", "or", "not", "in", "is", "null", "exists", "true", "false", "where")
AGGREGATES = ("count", "sum", "mean", "min", "max")


class Conditions(Protocol[Found]):
    """What conditions are made of, for those who ask: of events or of states."""

    def compare(self, path: Path, comparator: Comparator, constant: Constant) -> Found:
        """Return the condition that compares a place."""

    def among(self, path: Path, constants: tuple[Constant, ...]) -> Found:
        """Return the condition that a place holds one of several constants."""

    def is_null(self, path: Path) -> Found:
        """Return the condition that a place holds null, or is not there; it is never unknown."""

    def exists(self, path: Path) -> Found:
        """Return the condition that there is a place."""

    def both(self, one: Found, other: Found) -> Found:
        """Return the condition that two hold."""

    def either(self, one: Found, other: Found) -> Found:
        """Return the condition that one of two holds."""

    def opposite(self, one: Found) -> Found:
        """Return the condition that another one is false."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What is measured of the states of a projection: an aggregate of a field, over the entities that fit a condition.

    Attributes
    ----------
    text
        As it was written.
    field
        None for a count.
    where
        The text of the condition; None for all entities.
    """

    text: str
    aggregate: str
    field: str | None
    where: str | None

    @classmethod
    def parse(cls, text: str) -> Measure:
        """Read a measure.

        Raises
        ------
        UsageError
            It is none; the message says where, and what is known.
        """
        reader = _Reader(text, "measure")
        aggregate, field = reader.name(), None
        if aggregate not in AGGREGATES:
            raise reader.wrong(f"{aggregate!r} is no measure; known are count, {', '.join(f'{one}(field)' for one in AGGREGATES[1:])}", 0)
        if aggregate != "count":
            reader.expect("(")
            field = ".".join(map(str, reader.path()))
            reader.expect(")")
        where = None
        if reader.takes("where"):
            where = text[reader.at :].strip()
            condition(where, _Unasked())
        elif not reader.is_done:
            raise reader.wrong(f"{reader.shown} stands where the measure ends, or goes on with where")
        return cls(text, aggregate, field, where)


def condition(text: str, conditions: Conditions[Found]) -> Found:
    """Read a condition.

    Raises
    ------
    UsageError
        It is none; the message says where. Or ``conditions`` refuses a part of it.
    """
    reader = _Reader(text, "condition")
    parser = _Parser(reader, conditions)
    found = parser.any_of()
    if not reader.is_done:
        raise reader.wrong(f"{reader.shown} stands where the condition ends, or goes on with and, or")
    return found


def place(text: str) -> Path:
    """Read a place alone.

    Raises
    ------
    UsageError
        It is none; the message says where.
    """
    reader = _Reader(text, "place")
    found = reader.path()
    if not reader.is_done:
        raise reader.wrong(f"{reader.shown} stands where the place ends")
    return found


class _Reader:
    """A text, word by word."""

    def __init__(self, text: str, what: str) -> None:
        self._text, self._what = text, what
        self._tokens: list[tuple[str, str, int]] = []
        self._index = 0
        at = 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None:
                start = at + len(text[at:]) - len(text[at:].lstrip())
                raise self.wrong(f"{_hint(text[start:])}", start)
            kind = cast(str, found.lastgroup)
            self._tokens.append((kind, found[kind], found.start(kind)))
            at = found.end()

    @property
    def is_done(self) -> bool:
        return self._index == len(self._tokens)

    @property
    def at(self) -> int:
        """Where the next word begins."""
        return len(self._text) if self.is_done else self._tokens[self._index][2]

    @property
    def shown(self) -> str:
        """The next word, for a message."""
        return "nothing" if self.is_done else self._tokens[self._index][1]

    def takes(self, *words: str) -> bool:
        """Go over these words or signs if they come next."""
        ahead = self._tokens[self._index : self._index + len(words)]
        if [(kind in ("name", "sign"), word) for kind, word, _ in ahead] != [(True, word) for word in words]:
            return False
        self._index += len(words)
        return True

    def expect(self, word: str) -> None:
        if not self.takes(word):
            raise self.wrong(f"{word!r} must stand where {self.shown} stands")

    def name(self) -> str:
        if self.is_done or self._tokens[self._index][0] != "name":
            raise self.wrong(f"a name must stand where {self.shown} stands")
        self._index += 1
        return self._tokens[self._index - 1][1]

    def path(self) -> Path:
        """Read a place."""
        if not self.is_done and self._tokens[self._index][1] in _WORDS:
            raise self.wrong(f"a name must stand where {self.shown} stands")
        steps: list[str | int] = [self.name()]
        while True:
            if self.takes("."):
                steps.append(self.name())
            elif self.takes("["):
                step = self.constant()
                if not isinstance(step, (str, int)) or isinstance(step, bool) or (isinstance(step, int) and step < 0):
                    raise self.wrong('["name"] or [0] goes on from a place')
                steps.append(step)
                self.expect("]")
            else:
                return tuple(steps)

    def constant(self) -> Constant:
        kind, word, _ = ("", "", 0) if self.is_done else self._tokens[self._index]
        if kind == "number":
            self._index += 1
            number = int(word) if word.lstrip("-").isdecimal() else float(word)
            if not -math.inf < number < math.inf:
                raise self.wrong(f"{word} is beyond all numbers", self._tokens[self._index - 1][2])
            return number
        if kind == "text":
            self._index += 1
            return re.sub(r"\\(.)", r"\1", word[1:-1], flags=re.DOTALL)
        if self.takes("true"):
            return True
        if self.takes("false"):
            return False
        if self.takes("null"):
            raise self.wrong("null is no constant: write is null, or is not null", self._tokens[self._index - 1][2])
        hint = f"; a text stands in quotes: '{word}'" if kind == "name" else ""
        raise self.wrong(f"a constant must stand where {self.shown} stands{hint}")

    def wrong(self, why: str, at: int | None = None) -> UsageError:
        column = (self.at if at is None else at) + 1
        return UsageError(f"{self._text!r} is no {self._what}: at character {column}, {why}.")


@dataclass(frozen=True, slots=True)
class _Parser(Generic[Found]):
    """The grammar of conditions, by descent."""

    reader: _Reader
    conditions: Conditions[Found]

    def any_of(self) -> Found:
        found = self.all_of()
        while self.reader.takes("or"):
            found = self.conditions.either(found, self.all_of())
        return found

    def all_of(self) -> Found:
        found = self.one()
        while self.reader.takes("and"):
            found = self.conditions.both(found, self.one())
        return found

    def one(self) -> Found:
        if self.reader.takes("not"):
            return self.conditions.opposite(self.one())
        if self.reader.takes("("):
            found = self.any_of()
            self.reader.expect(")")
            return found
        return self.comparison()

    def comparison(self) -> Found:
        reader, conditions = self.reader, self.conditions
        path = reader.path()
        if reader.takes("exists"):
            return conditions.exists(path)
        if reader.takes("is", "not", "null"):
            return conditions.opposite(conditions.is_null(path))
        if reader.takes("is", "null"):
            return conditions.is_null(path)
        if reader.takes("not", "in"):
            return conditions.opposite(conditions.among(path, self.constants()))
        if reader.takes("in"):
            return conditions.among(path, self.constants())
        for comparator in _COMPARATORS:
            if reader.takes(comparator):
                return conditions.compare(path, cast("Comparator", comparator), reader.constant())
        raise reader.wrong(f"{', '.join(_COMPARATORS)}, in, not in, is null, is not null or exists must stand where {reader.shown} stands")

    def constants(self) -> tuple[Constant, ...]:
        self.reader.expect("[")
        found = [self.reader.constant()]
        while self.reader.takes(","):
            found.append(self.reader.constant())
        self.reader.expect("]")
        return tuple(found)


class _Unasked:
    """Conditions of nothing: only whether a text is a condition counts."""

    def compare(self, path: Path, comparator: Comparator, constant: Constant) -> None: ...
    def among(self, path: Path, constants: tuple[Constant, ...]) -> None: ...
    def is_null(self, path: Path) -> None: ...
    def exists(self, path: Path) -> None:
        raise UsageError(f"{'.'.join(map(str, path))} exists is asked of events: a field of a state is null or is not null.")

    def both(self, one: None, other: None) -> None: ...
    def either(self, one: None, other: None) -> None: ...
    def opposite(self, one: None) -> None: ...


def _hint(rest: str) -> str:
    if rest[0] in "\"'":
        return "a quote is opened and never closed"
    if rest[0] == "=":
        return "'=' is none of its signs: equal is =="
    if rest[:2] in ("&&", "||") or rest[0] in "&|!~":
        return f"{rest[0]!r} is none of its signs: write and, or, not"
    if rest[0].isdecimal() or rest[0] == "-":
        return f"{rest.split(maxsplit=1)[0]} is no number"
    return f"{rest[0]!r} is none of its signs"
