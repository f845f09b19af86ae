"""Conditions on states, from text, as expressions of Polars; ``workbench.conditions`` has the language."""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from workbench.conditions.builder import Comparator, Constant, Path
from workbench.errors import UsageError
from workbench.events import parse_time

_COMPARE = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class StateConditions:
    """Builds conditions on the columns of a frame of states.

    Attributes
    ----------
    names
        The columns that a condition may name.
    what
        What a row of the frame is, for errors: a state, or a version.
    """

    schema: pl.Schema
    names: Collection[str]
    what: str = "state"

    def check(self, path: Path) -> None:
        if column_of(path) not in self.names:
            raise UsageError(f"it names {column_of(path)}, which no {self.what} has; it has {', '.join(self.names) or 'no fields'}")

    def compare(self, path: Path, comparator: Comparator, constant: Constant) -> pl.Expr:
        found: pl.Expr = _COMPARE[comparator](pl.col(column_of(path)), self._comparable(path, constant))
        return found

    def one_of(self, path: Path, constants: Sequence[Constant]) -> pl.Expr:
        return pl.any_horizontal(self.compare(path, "==", constant) for constant in constants)

    def is_null(self, path: Path) -> pl.Expr:
        return pl.col(column_of(path)).is_null()

    def exists(self, path: Path) -> pl.Expr:
        raise UsageError(f"a {self.what} has every field, so that exists() tells nothing: write {column_of(path)} is not null")

    def all_of(self, conditions: Sequence[pl.Expr]) -> pl.Expr:
        return pl.all_horizontal(conditions)

    def any_of(self, conditions: Sequence[pl.Expr]) -> pl.Expr:
        return pl.any_horizontal(conditions)

    def negation(self, condition: pl.Expr) -> pl.Expr:
        return ~condition

    def _comparable(self, path: Path, constant: Constant) -> Constant:
        """Return what a field is compared with: beside a time, a text is an instant."""
        name = column_of(path)
        dtype = self.schema[name]
        if dtype.is_temporal() and isinstance(constant, str):
            return parse_time(constant)
        kinds = {bool: dtype == pl.Boolean, str: dtype == pl.String, datetime: dtype.is_temporal()}
        if not (kinds.get(type(constant), dtype.is_numeric()) or dtype == pl.Null):
            raise UsageError(f"{name} is {dtype} and cannot be compared with {constant!r}")
        return constant


def column_of(path: Path) -> str:
    """Return the name of the column that a path stands for; of merged payloads, a name may hold dots."""
    return ".".join(map(str, path))
