"""Measures of states: aggregates over all entities or those that meet a condition, in the language of ``workbench.conditions``."""

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
    """A measure of the states of a projection; ``parse`` creates it from text."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Measure:
        """Parse a measure.

        Raises
        ------
        InvalidCondition
            The text is not in the language.
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
        There is no such field, or its type does not allow the measure or comparison.
    """
    try:
        return states.select(expression(measure, states.schema, fields=fields, json=json)).item()
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"The measure {measure.text!r} cannot be evaluated: {str(error).partition(chr(10))[0]}.") from error


def expression(measure: Measure, schema: pl.Schema, *, fields: Sequence[str], json: Collection[str] = ()) -> pl.Expr:
    """Return a measure as an aggregation of states with these columns.

    Sums of integers have 128 bits, because sums of 64 bits would wrap around.

    Raises
    ------
    UsageError
        As for ``measured``.
    """
    conditions = StateConditions(schema, fields, json)
    found = parse_measure(measure.text, conditions)
    if found.field is None:
        return pl.len() if found.where is None else found.where.sum()
    name = conditions.column_of(found.field)
    dtype, values = schema[name], pl.col(name)
    if dtype == pl.Null:  # a field that no state of the fold has
        dtype = pl.Int64()
        values = values.cast(dtype)
    if found.function in ("sum", "avg") and not dtype.is_numeric():
        raise UsageError(f"{measure.text!r} cannot be measured: {name} has the type {dtype} and is not a number; count(*) counts entities.")
    if dtype.is_nested() and (found.function != "count" or found.distinct):
        raise UsageError(f"{measure.text!r} cannot be measured: {name} has the type {dtype}, which has no order.")
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
