"""Which events are in a timeline, by their names and positions: for DuckDB, for Polars, and for the choice of files by their statistics.

A filter is a conjunction of clauses, and a clause a choice of names. A pattern that begins with text is written as a range as well:
ranges are what Polars, DuckDB and Delta can hold against the statistics of a file and of a row group.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_, or_

import polars as pl

from workbench.errors import UsageError
from workbench.events import CategoryRule
from workbench.lake.files.format import DataFile
from workbench.lake.reading.user_events import USER_EVENT_SQL, user_event
from workbench.server_streams import Column, linked_category, only_others
from workbench.timeline import Timeline

LAST_DASH = "-[^-]*$"
"""What follows the category in a stream's name where KurrentDB cuts at the last dash; one expression for both engines."""


@dataclass(frozen=True, slots=True)
class Names:
    """A condition on a column of names: one name, or a pattern in which ``*`` stands for any run of characters."""

    column: Column
    pattern: str
    literal: bool = False
    """Whether a ``*`` is only itself."""

    @property
    def exact(self) -> bool:
        """Whether one name alone fits."""
        return self.literal or "*" not in self.pattern

    @property
    def prefix(self) -> str:
        """What every name that fits begins with."""
        return self.pattern.partition("*")[0]

    @property
    def expression(self) -> str:
        """The pattern as a regular expression for the whole name."""
        return ".*".join(re.escape(part) for part in self.pattern.split("*"))

    @property
    def only_prefix(self) -> bool:
        """Whether the range of the prefix says all."""
        return self.pattern == f"{self.prefix}*"

    def polars(self) -> pl.Expr:
        """Return the condition as an expression of Polars."""
        column = pl.col(self.column)
        if self.exact:
            return column == self.pattern
        parts = [column >= self.prefix]
        end = after_prefix(self.prefix)
        if end is not None:
            parts.append(column < end)
        if not self.only_prefix:
            parts.append(column.str.contains(rf"(?s)\A(?:{self.expression})\z"))
        return reduce(and_, parts)

    def sql(self) -> str:
        """Return the condition as an expression of SQL."""
        if self.exact:
            return f"{self.column} = {quoted(self.pattern)}"
        parts = [f"{self.column} >= {quoted(self.prefix)}"]
        end = after_prefix(self.prefix)
        if end is not None:
            parts.append(f"{self.column} < {quoted(end)}")
        if not self.only_prefix:
            parts.append(f"regexp_full_match({self.column}, {quoted(self.expression)}, 's')")
        return "(" + " AND ".join(parts) + ")"

    def fits_all(self, least: str, greatest: str) -> bool:
        """Tell whether every name between two bounds, inclusive, fits."""
        if self.exact:
            return least == self.pattern == greatest
        return self.only_prefix and least.startswith(self.prefix) and greatest.startswith(self.prefix)

    def may_fit(self, least: str, greatest: str) -> bool:
        """Tell whether a name between two bounds, inclusive, could fit."""
        if self.exact:
            return least <= self.pattern <= greatest
        end = after_prefix(self.prefix)
        return greatest >= self.prefix and (end is None or least < end)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What an event must fulfil to be in a timeline, but for what `visible` hides."""

    clauses: tuple[tuple[Names, ...], ...]
    """Of each clause at least one of the names must fit."""
    upto: int | None
    after: int | None
    system: bool
    rule: CategoryRule

    @classmethod
    def of(cls, timeline: Timeline, *, rule: CategoryRule) -> EventFilter:
        """Collect the conditions of a timeline.

        Raises
        ------
        UsageError
            System events are named, which the timeline leaves out.
        """
        clauses: list[tuple[Names, ...]] = []
        for selection in timeline.selections:
            given: tuple[tuple[Column, tuple[str, ...]], ...] = (("stream", selection.streams), ("type", selection.types))
            for column, patterns in given:
                if patterns:
                    clauses.append(tuple(Names(column, pattern) for pattern in patterns))
            if selection.categories:
                clauses.append(tuple(Names("category", name, literal=True) for name in selection.categories))
                if not any("*" in name for name in selection.categories):
                    # A category's streams are its own name and what follows its dash: a range, whatever the rule.
                    pairs = ((Names("stream", name), Names("stream", f"{name}-*")) for name in selection.categories)
                    clauses.append(tuple(names for pair in pairs for names in pair))
        conditions = cls(
            clauses=tuple(clauses),
            upto=timeline.upto_position,
            after=timeline.after_position,
            system=timeline.system,
            rule=rule,
        )
        if not timeline.system:
            for names in (names for clause in clauses for names in clause):
                _check_users(names)
        return conditions

    def polars(self) -> pl.Expr | None:
        """Return the conditions as an expression over the columns of the files; None if all events fulfil them."""
        parts = [reduce(or_, (names.polars() for names in clause)) for clause in self.clauses]
        if self.upto is not None:
            parts.append(pl.col("position") <= self.upto)
        if self.after is not None:
            parts.append(pl.col("position") > self.after)
        if not self.system:
            parts.append(user_event())
        return reduce(and_, parts) if parts else None

    def sql(self) -> str:
        """Return the conditions as an expression of SQL over the columns of the files."""
        parts = ["(" + " OR ".join(names.sql() for names in clause) + ")" for clause in self.clauses]
        if self.upto is not None:
            parts.append(f"position <= {self.upto}")
        if self.after is not None:
            parts.append(f"position > {self.after}")
        if not self.system:
            parts.append(USER_EVENT_SQL)
        return " AND ".join(parts) or "true"

    def files(self, files: Iterable[DataFile]) -> list[DataFile]:
        """Choose the files that could hold events of the timeline, by their statistics."""
        return [file for file in files if self._may_hold(file)]

    def unproven(self, files: Iterable[DataFile]) -> EventFilter:
        """Leave out what the statistics of the files prove for every event in them: a query need not ask it of each."""
        files = list(files)
        system = self.system or not any(
            _may_be_system(file.least_stream, file.greatest_stream) or _may_be_system(file.least_type, file.greatest_type) for file in files
        )
        return replace(
            self,
            clauses=tuple(clause for clause in self.clauses if not all(self._proven(clause, file) for file in files)),
            upto=None if self.upto is not None and all(file.last_position <= self.upto for file in files) else self.upto,
            after=None if self.after is not None and all(file.first_position > self.after for file in files) else self.after,
            system=system,
        )

    def hold_all(self, file: DataFile) -> bool:
        """Tell whether every event of a file fulfils the conditions, as far as its statistics can tell."""
        return (
            not self.clauses
            and (self.upto is None or file.last_position <= self.upto)
            and (self.after is None or file.first_position > self.after)
            and (
                self.system
                or not (_may_be_system(file.least_stream, file.greatest_stream) or _may_be_system(file.least_type, file.greatest_type))
            )
        )

    def _proven(self, clause: tuple[Names, ...], file: DataFile) -> bool:
        return any(names.fits_all(*self._bounds(file)[names.column]) for names in clause)

    def _bounds(self, file: DataFile) -> dict[str, tuple[str, str]]:
        """Return the least and greatest names in a file; categories by another rule than the recorded ones could be any."""
        return {
            "stream": (file.least_stream, file.greatest_stream),
            "category": (file.least_category, file.greatest_category) if self.rule == "first" else ("", "\U0010ffff"),
            "type": (file.least_type, file.greatest_type),
        }

    def _may_hold(self, file: DataFile) -> bool:
        if self.upto is not None and file.first_position > self.upto:
            return False
        if self.after is not None and file.last_position <= self.after:
            return False
        bounds = self._bounds(file)
        return all(any(names.may_fit(*bounds[names.column]) for names in clause) for clause in self.clauses)


def _check_users(names: Names) -> None:
    """Refuse a name that fits nothing but what a timeline leaves out unless it is asked for system events."""
    if not only_others(names.pattern, column=names.column):
        return
    linked = linked_category(names.pattern)
    if linked is not None:
        raise UsageError(
            f"{names.pattern} is where the server keeps links to the events of category {linked}: name that category, or add "
            ".with_system() to see the links themselves."
        )
    raise UsageError(f"{names.pattern} names system events, which this timeline leaves out: add .with_system().")


def _may_be_system(least: str, greatest: str) -> bool:
    return Names("stream", "$*").may_fit(least, greatest)


def after_prefix(prefix: str) -> str | None:
    """Return the least text that is greater than all texts with a prefix; None if there is none.

    >>> after_prefix("user-")
    'user.'
    """
    while prefix:
        code = ord(prefix[-1])
        if code < 0x10FFFF:
            # Surrogates are no characters of their own in UTF-8.
            return prefix[:-1] + chr(0xE000 if code == 0xD7FF else code + 1)
        prefix = prefix[:-1]
    return None


def identifier(name: str) -> str:
    """Return a name as SQL has it.

    >>> identifier('say "when"')
    '"say ""when""\"'
    """
    return '"' + name.replace('"', '""') + '"'


def quoted(text: str) -> str:
    """Return text as a literal of SQL.

    >>> quoted("it's")
    "'it''s'"
    """
    # DuckDB ends a statement at a NUL, so that one is put in by a function.
    parts = ["'" + part.replace("'", "''") + "'" for part in text.split("\0")]
    return parts[0] if len(parts) == 1 else "(" + " || chr(0) || ".join(parts) + ")"
