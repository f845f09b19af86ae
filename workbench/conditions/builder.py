"""What the parser asks of a caller: to make conditions out of their parts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol, TypeVar

Constant = bool | int | float | str | datetime
Comparator = Literal["==", "!=", "<", "<=", ">", ">="]
Path = tuple[str | int, ...]
Found = TypeVar("Found")


class Builder(Protocol[Found]):
    """Makes conditions of events, or of states.

    A method raises ``UsageError`` where a part means nothing there; the parser adds the line and column.
    """

    def check(self, path: Path) -> None:
        """Raise an error that lists the known names if the path's first name is unknown."""

    def compare(self, path: Path, comparator: Comparator, constant: Constant) -> Found:
        """Return the condition that a value compares so with a constant."""

    def one_of(self, path: Path, constants: Sequence[Constant]) -> Found:
        """Return the condition that a value equals one of several constants, which are of one kind."""

    def is_null(self, path: Path) -> Found:
        """Return the condition that a value is null or absent; it is never unknown."""

    def exists(self, path: Path) -> Found:
        """Return the condition that a value is there; null is."""

    def all_of(self, conditions: Sequence[Found]) -> Found:
        """Return the condition that all of several hold."""

    def any_of(self, conditions: Sequence[Found]) -> Found:
        """Return the condition that at least one of several holds."""

    def negation(self, condition: Found) -> Found:
        """Return the condition that another one is false."""
