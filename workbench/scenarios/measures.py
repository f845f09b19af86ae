"""Measures of states: aggregates of a field, over all entities or those that fit a condition. ``workbench.conditions`` has the language."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from workbench.conditions.parser import AnyNames, parse_measure
from workbench.errors import UsageError
from workbench.replay.state_conditions import StateConditions


@dataclass(frozen=True, slots=True)
class Measure:
    """What is measured of the states of a projection, as it was written; made by ``parse``, which knows that it is in the language."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Measure:
        """Read a measure.

        Raises
        ------
        InvalidCondition
            The text is outside the language.
        """
        parse_measure(text, AnyNames())
        return cls(text)


def measured(measure: Measure, states: pl.DataFrame, *, fields: Sequence[str], json: Collection[str] = ()) -> Any:
    """Return the value of a measure.

    Parameters
    ----------
    states
        One row for each entity, with these fields.
    json
        The fields that hold JSON text.

    Raises
    ------
    UsageError
        There is no such field, or it cannot be measured or compared so.
    """
    try:
        return states.select(expression(measure, states.schema, fields=fields, json=json)).item()
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"The measure {measure.text!r} cannot be asked: {str(error).partition(chr(10))[0]}.") from error


def expression(measure: Measure, schema: pl.Schema, *, fields: Sequence[str], json: Collection[str] = ()) -> pl.Expr:
    """Return a measure as an aggregation of states with these columns.

    Sums of integers are of 128 bits, since those of 64 would wrap around.

    Raises
    ------
    UsageError
        As ``measured`` does.
    """
    conditions = StateConditions(schema, fields, json)
    found = parse_measure(measure.text, conditions)
    if found.field is None:
        return pl.len() if found.where is None else found.where.sum()
    name = conditions.column_of(found.field)
    dtype, values = schema[name], pl.col(name)
    if dtype == pl.Null:  # a fold's field that no state has
        dtype = pl.Int64()
        values = values.cast(dtype)
    if found.function in ("sum", "avg") and not dtype.is_numeric():
        raise UsageError(f"{measure.text!r} cannot be measured: {name} is {dtype} and no number; count(*) counts entities.")
    if dtype.is_nested() and (found.function != "count" or found.distinct):
        raise UsageError(f"{measure.text!r} cannot be measured: {name} is {dtype} and has no order.")
    if found.where is not None:
        values = values.filter(found.where)
    match found.function:
        case "count":
            return values.drop_nulls().n_unique() if found.distinct else values.count()
        case "sum" if dtype.is_integer():
            return values.cast(pl.Int128).sum()
        case "sum":
            return values.sum()
        case "avg":
            return values.mean()
        case "min":
            return values.min()
    return values.max()
