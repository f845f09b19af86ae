"""Measures of states, worked out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from workbench.errors import UsageError
from workbench.events import Cutoff
from workbench.scenarios.language import AGGREGATES, Comparator, Constant, Measure, Path, condition


def measured(measure: Measure, states: pl.DataFrame, *, fields: list[str]) -> Any:
    """Return what a measure is of states.

    Parameters
    ----------
    states
        One row for each entity, with these fields.

    Raises
    ------
    UsageError
        There is no such field, or it cannot be measured or compared so.
    """
    try:
        return states.select(expression(measure, states.schema, fields=fields)).item()
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"The measure {measure.text!r} cannot be asked: {str(error).partition(chr(10))[0]}.") from error


def expression(measure: Measure, schema: pl.Schema, *, fields: list[str]) -> pl.Expr:
    """Return a measure as an aggregation of states with these columns.

    Sums of integers are of 128 bits, since those of 64 would wrap around.

    Raises
    ------
    UsageError
        As ``measured`` does.
    """
    where = None if measure.where is None else condition(measure.where, _OfStates(measure, schema, fields))
    if measure.field is None:
        return pl.len() if where is None else where.sum()
    dtype = schema[_known(measure, measure.field, fields)]
    values = pl.col(measure.field)
    if dtype == pl.Null:  # a fold's field that no state has
        dtype = pl.Int64()
        values = values.cast(dtype)
    if measure.aggregate in ("sum", "mean") and not dtype.is_numeric():
        raise UsageError(f"{measure.text!r} cannot be measured: {measure.field} is {dtype} and no number; {AGGREGATES[0]} counts entities.")
    if dtype.is_nested():
        raise UsageError(f"{measure.text!r} cannot be measured: {measure.field} is {dtype} and has no order.")
    if where is not None:
        values = values.filter(where)
    match measure.aggregate:
        case "sum" if dtype.is_integer():
            return values.cast(pl.Int128).sum()
        case "sum":
            return values.sum()
        case "mean":
            return values.mean()
        case "min":
            return values.min()
    return values.max()


def _known(measure: Measure, name: str, fields: list[str]) -> str:
    if name not in fields:
        raise UsageError(f"The measure {measure.text!r} names {name}, which no state has; it has {', '.join(fields) or 'no fields'}.")
    return name


class _OfStates:
    """Conditions on the columns of a state."""

    def __init__(self, measure: Measure, schema: pl.Schema, fields: list[str]) -> None:
        self._measure, self._schema, self._fields = measure, schema, fields

    def compare(self, path: Path, comparator: Comparator, constant: Constant) -> pl.Expr:
        column, value = self._column(path), self._constant(path, constant)
        match comparator:
            case "==":
                return column == value
            case "!=":
                return column != value
            case "<":
                return column < value
            case "<=":
                return column <= value
            case ">":
                return column > value
            case ">=":
                return column >= value

    def among(self, path: Path, constants: tuple[Constant, ...]) -> pl.Expr:
        return pl.any_horizontal(self.compare(path, "==", constant) for constant in constants)

    def is_null(self, path: Path) -> pl.Expr:
        return self._column(path).is_null()

    def exists(self, path: Path) -> pl.Expr:
        raise UsageError(f"{_name(path)} exists is asked of events: a field of a state is null or is not null.")

    def both(self, one: pl.Expr, other: pl.Expr) -> pl.Expr:
        return one & other

    def either(self, one: pl.Expr, other: pl.Expr) -> pl.Expr:
        return one | other

    def opposite(self, one: pl.Expr) -> pl.Expr:
        return ~one

    def _column(self, path: Path) -> pl.Expr:
        return pl.col(_known(self._measure, _name(path), self._fields))

    def _constant(self, path: Path, constant: Constant) -> Constant | datetime:
        """Return what a field is compared with: a text is a time beside an instant, and otherwise of the field's own kind."""
        dtype = self._schema[_known(self._measure, _name(path), self._fields)]
        if dtype.is_temporal() and isinstance(constant, str):
            moment = Cutoff.parse(constant).time
            if moment is not None:
                return moment
        fits = {bool: dtype == pl.Boolean, str: dtype == pl.String}.get(type(constant), dtype.is_numeric())
        if not (fits or dtype == pl.Null):
            raise UsageError(f"The measure {self._measure.text!r} compares {_name(path)}, which is {dtype}, with {constant!r}.")
        return constant


def _name(path: Path) -> str:
    return ".".join(map(str, path))
