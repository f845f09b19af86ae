"""Evaluates a plan's values and conditions for many events of one type at once."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from workbench.fold.vectorised.json_columns import DECODE, Mask, doubles, instants, integers, mapped, mask, quoted, unquoted
from workbench.projection import plan as ir
from workbench.projection.evaluation import part
from workbench.projection.fields import microseconds_of
from workbench.projection.payloads import ABSENT
from workbench.projection.values import Number, converted
from workbench.timeline.extraction import Root

Rows = npt.NDArray[np.int64]

_COMPARE: dict[ir.Comparator, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Lists:
    """The extracted lists of one root: all elements, and the offset of each row's first element; rows without a list have none."""

    elements: pl.Series
    starts: npt.NDArray[np.int64]
    there: Mask
    escapes: bool
    """Whether any element contains an escape."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A condition's result for each event, by Kleene's logic: true, false, or neither."""

    true: Mask
    false: Mask


@dataclass(frozen=True, slots=True)
class Scope:
    """A set of events of one type, by their rows in a chunk."""

    rows: Rows
    slots: Mapping[ir.Path, tuple[Root, int]]
    lists: Mapping[Root, Lists]
    columns: Mapping[str, pl.Series]

    def at(self, rows: Rows) -> Scope:
        """Return the scope of other events of the same type."""
        return Scope(rows, self.slots, self.lists, self.columns)

    def column(self, name: str) -> pl.Series:
        """Return a column of the events."""
        return self.columns[name].gather(self.rows)

    def texts(self, value: ir.Value) -> pl.Series:
        """Return a value as JSON text."""
        match value:
            case ir.Path():
                return self._path(value)
            case ir.Column(name):
                column = self.column(name)
                return quoted(column) if column.dtype == pl.String else column.cast(pl.String)
            case ir.Constant(constant) | ir.Scalar(constant):
                return self._repeated(json.dumps(constant, ensure_ascii=False))
            case ir.Absent():
                return self._repeated(None)
            case ir.Choice(alternatives, otherwise):
                chosen = self.texts(otherwise)
                for condition, then in reversed(alternatives):
                    holds = pl.Series(self.answer(condition).true)
                    chosen = self.texts(then).zip_with(holds, chosen)
                return chosen
            case ir.Converted(inner, to):
                return mapped(self.texts(inner), lambda text: _written(converted(_outline(text), to), text))
            case ir.Part(inner, separator, index, count):
                return mapped(self.texts(inner), lambda text: _written(part(_outline(text), separator, index, count), text))

    def escapes(self, value: ir.Value) -> bool:
        """Whether a value's JSON text may contain escapes."""
        return not isinstance(value, ir.Path) or self.lists[value.root].escapes

    def answer(self, condition: ir.Condition) -> Truth:
        """Evaluate a condition."""
        match condition:
            case ir.Comparison(value, comparator, constant):
                return self._comparison(value, comparator, constant)
            case ir.IsIn(value, constants):
                return self._any([self._comparison(value, "==", constant) for constant in constants])
            case ir.IsNull(value):
                true = np.zeros(len(self.rows), dtype=np.bool_) if isinstance(value, ir.Column) else mask(self.texts(value) == "null")
                return Truth(true, ~true)
            case ir.Exists(value):
                there = self.column(value.name) if isinstance(value, ir.Column) else self.texts(value)
                true = there.is_not_null().to_numpy()
                return Truth(true, ~true)
            case ir.AllOf(conditions):
                answers = [self.answer(one) for one in conditions]
                return Truth(
                    np.logical_and.reduce([one.true for one in answers], axis=0),
                    np.logical_or.reduce([one.false for one in answers], axis=0),
                )
            case ir.AnyOf(conditions):
                return self._any([self.answer(one) for one in conditions])
            case ir.Not(inner):
                answer = self.answer(inner)
                return Truth(answer.false, answer.true)
            case ir.Holds(inner):
                true = self.answer(inner).true
                return Truth(true, ~true)

    def _path(self, path: ir.Path) -> pl.Series:
        root, slot = self.slots[path]
        lists = self.lists[root]
        there = lists.there[self.rows]
        if there.all():
            return lists.elements.gather(lists.starts[self.rows] + slot)
        found = pa.array(lists.starts[self.rows] + slot, mask=~there)
        return lists.elements.gather(pl.Series(found))

    def _repeated(self, text: str | None) -> pl.Series:
        return pl.repeat(text, len(self.rows), dtype=pl.String, eager=True)

    def _any(self, answers: list[Truth]) -> Truth:
        return Truth(
            np.logical_or.reduce([one.true for one in answers], axis=0),
            np.logical_and.reduce([one.false for one in answers], axis=0),
        )

    def _comparison(self, value: ir.Value, comparator: ir.Comparator, constant: ir.Comparand) -> Truth:
        compare = _COMPARE[comparator]
        if isinstance(value, ir.Column):
            column = self.column(value.name)
            there = column.is_not_null().to_numpy()
            if isinstance(constant, float):
                held = mask(compare(column.cast(pl.Float64), constant))
            else:
                held = mask(compare(column, microseconds_of(constant) if isinstance(constant, datetime) else constant))
            return Truth(there & held, there & ~held)
        texts = self.texts(value)
        if isinstance(constant, bool):
            true, false = mask(texts == "true"), mask(texts == "false")
            held = compare(true, constant)
            return Truth((true | false) & held, (true | false) & ~held)
        if isinstance(constant, str):
            strings = mask(texts.str.starts_with('"'))
            held = mask(compare(unquoted(texts, escapes=self.escapes(value)), constant))
            return Truth(strings & held, strings & ~held)
        if isinstance(constant, datetime):
            moments, known = instants(texts)
            held = compare(moments, microseconds_of(constant))
            return Truth(known & held, known & ~held)
        numbers, known = doubles(texts)
        held = compare(numbers, float(constant))
        if isinstance(constant, int):
            whole, exact = integers(texts)
            held = np.where(exact, compare(whole, constant), held)
            # An integer outside int64 never equals one inside, although their nearest doubles may be equal.
            beyond = known & ~exact & (np.abs(numbers) >= 2.0**63) & ~mask(texts.str.contains(r"[.eE]"))
            held = np.where(beyond, compare(np.where(numbers > 0, np.inf, -np.inf), float(constant)), held)
        return Truth(known & held, known & ~held)


def _outline(text: str) -> Any:
    """Return the value of JSON text, and for an array or object of any depth an empty one."""
    return [] if text[0] == "[" else {} if text[0] == "{" else DECODE(text)


def _written(value: Any, text: str) -> str | None:
    """Return a converted value as JSON text: null if it is absent, and the original text if it did not change."""
    if value is ABSENT:
        return None
    if isinstance(value, Number):
        return value.text
    return text if isinstance(value, (list, dict, float)) else json.dumps(value, ensure_ascii=False)
