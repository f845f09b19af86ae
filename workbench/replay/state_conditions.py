"""Builds Polars expressions for conditions on states from text in the language of ``workbench.conditions``."""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from workbench.conditions.builder import Comparator, Constant, Path
from workbench.errors import UsageError
from workbench.events import parse_time
from workbench.fold.resolve import Subject
from workbench.projection import plan
from workbench.projection.evaluation import asking
from workbench.projection.payloads import ABSENT, decoder

_COMPARE = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


_decode = decoder((), whole=True, decimals=False)


@dataclass(frozen=True, slots=True)
class StateConditions:
    """Builds conditions on the columns of a frame of states.

    Attributes
    ----------
    names
        The columns that a condition may name.
    json
        The columns that hold JSON text. A condition may name a path into it, and compares the value there as in a payload.
    what
        What a row of the frame is, for error messages: a state, or a version.
    """

    schema: pl.Schema
    names: Collection[str]
    json: Collection[str] = ()
    what: str = "state"

    def check(self, path: Path) -> None:
        self._resolved(path)

    def column_of(self, path: Path) -> str:
        """Return the column that a path names as a whole."""
        name, steps = self._resolved(path)
        if steps:
            raise UsageError(f"{name} is a path into a field, but a measure takes whole fields")
        return name

    def compare(self, path: Path, comparator: Comparator, constant: Constant) -> pl.Expr:
        name, steps = self._resolved(path)
        if self._is_json(name):
            return _decided(name, plan.Comparison(plan.Path("data", steps), comparator, constant))
        found: pl.Expr = _COMPARE[comparator](pl.col(name), self._comparable(name, constant))
        return found

    def one_of(self, path: Path, constants: Sequence[Constant]) -> pl.Expr:
        return pl.any_horizontal(self.compare(path, "==", constant) for constant in constants)

    def is_null(self, path: Path) -> pl.Expr:
        name, steps = self._resolved(path)
        if not steps:
            return pl.col(name).is_null()
        place = plan.Path("data", steps)
        return _decided(name, plan.AnyOf((plan.IsNull(place), plan.Not(plan.Exists(place))))).fill_null(value=True)

    def exists(self, path: Path) -> pl.Expr:
        name, steps = self._resolved(path)
        if not steps:
            raise UsageError(f"exists() is always true, because a {self.what} has every field: write {name} is not null")
        return _decided(name, plan.Exists(plan.Path("data", steps))).fill_null(value=False)

    def all_of(self, conditions: Sequence[pl.Expr]) -> pl.Expr:
        return pl.all_horizontal(conditions)

    def any_of(self, conditions: Sequence[pl.Expr]) -> pl.Expr:
        return pl.any_horizontal(conditions)

    def negation(self, condition: pl.Expr) -> pl.Expr:
        return ~condition

    def _resolved(self, path: Path) -> tuple[str, Path]:
        """Split a path into a column, whose name may contain dots, and the remaining steps into its JSON."""
        for length in range(len(path), 0, -1):
            name = ".".join(map(str, path[:length]))
            if name in self.names and (length == len(path) or name in self.json):
                return name, path[length:]
        named = ".".join(map(str, path))
        raise UsageError(f"a {self.what} has no {named}; it has {', '.join(self.names) or 'no fields'}")

    def _is_json(self, name: str) -> bool:
        return name in self.json and self.schema[name] == pl.String

    def _comparable(self, name: str, constant: Constant) -> Constant:
        """Return a constant for the comparison with a field: text becomes an instant if the field is a time."""
        dtype = self.schema[name]
        if dtype.is_temporal() and isinstance(constant, str):
            return parse_time(constant)
        kinds = {bool: dtype == pl.Boolean, str: dtype == pl.String, datetime: dtype.is_temporal()}
        if not (kinds.get(type(constant), dtype.is_numeric()) or dtype == pl.Null):
            raise UsageError(f"{name} is {dtype} and cannot be compared with {constant!r}")
        return constant


def rows_where(where: str, rows: pl.DataFrame, subject: Subject, *, what: str) -> pl.DataFrame:
    """Return the rows of states or versions for which a condition holds; it may name every column.

    Raises
    ------
    InvalidCondition
        The text is outside the language, or names a column that is not there.
    """
    from workbench.conditions.parser import parse_condition  # noqa: PLC0415  # sqlglot takes long to import

    return rows.filter(parse_condition(where, StateConditions(rows.schema, rows.columns, json=json_fields(subject), what=what)))


def json_fields(subject: Subject) -> frozenset[str]:
    """Return the fields of a projection that hold JSON text. The fields of a fold are unknown in advance."""
    return frozenset(one.name for one in subject.fields if one.kind.name == "json") if isinstance(subject, plan.Plan) else frozenset()


def _decided(column: str, condition: plan.Condition) -> pl.Expr:
    """Evaluate a payload condition on the JSON text of a column; the result is unknown if the column is null."""
    ask = asking(condition)

    def decide(text: str) -> bool | None:
        return ask((), _decode(text), ABSENT)

    return pl.col(column).map_elements(decide, return_dtype=pl.Boolean)
