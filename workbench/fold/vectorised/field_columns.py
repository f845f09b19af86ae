"""The fields of all entities as columns, which a replay keeps between chunks.

Three kinds of column suffice for every kind of field: numbers; texts; and sets and lists, where each distinct value is stored once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from workbench.fold.results import polars_type
from workbench.fold.vectorised.json_columns import Mask, Numbers
from workbench.fold.vectorised.set_operations import Deed, done, grown
from workbench.projection.plan import Field, Kind

Entities = npt.NDArray[np.int64]
Held = TypeVar("Held")

_SLACK = 100_000
SMALL = 64
"""For sets and lists up to this size, each version is built at once, so that equal ones share a code."""


class FieldColumn(ABC, Generic[Held]):
    """One field of all entities; ``Held`` is the type in which some of its values are passed around."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.dtype = polars_type(field.kind)

    @abstractmethod
    def grow(self, size: int) -> None:
        """Resize the column to this many entities."""

    @abstractmethod
    def get(self, entities: Entities) -> Held:
        """Return the values of some entities."""

    @abstractmethod
    def put(self, entities: Entities, values: Held) -> None:
        """Replace the values of some distinct entities."""

    @abstractmethod
    def of_constant(self, value: Any, count: int) -> Held:
        """Return a constant ``count`` times."""

    @abstractmethod
    def take(self, values: Held, indices: Entities) -> Held:
        """Return some of the values."""

    @abstractmethod
    def join(self, parts: list[Held]) -> Held:
        """Concatenate values."""

    @abstractmethod
    def count(self, values: Held) -> int:
        """Return the number of values."""

    @abstractmethod
    def series(self, values: Held) -> pl.Series:
        """Convert values to the column of a result."""

    @abstractmethod
    def of_series(self, series: pl.Series) -> tuple[Held, Mask]:
        """Convert the column of a result to values; also return which of them this column cannot represent."""

    def sweep(self) -> None:
        """Free values that no entity has any more. Call it only while no ``Held`` values are in use."""

    def initial(self, count: int) -> Held:
        """Return the field's initial value ``count`` times."""
        return self.of_constant(self.field.initial, count)


NumbersHeld = tuple[Numbers, Mask]


class NumberColumn(FieldColumn[NumbersHeld]):
    """Numbers, booleans and instants: values, and whether they are null."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self.of: Any = np.float64 if field.kind.name == "float" else np.int64
        self._values = np.zeros(0, dtype=self.of)
        self._null = np.zeros(0, dtype=np.bool_)

    def grow(self, size: int) -> None:
        more = size - len(self._values)
        self._values = np.concatenate([self._values, np.zeros(more, dtype=self.of)])
        self._null = np.concatenate([self._null, np.zeros(more, dtype=np.bool_)])

    def get(self, entities: Entities) -> NumbersHeld:
        return self._values[entities], self._null[entities]

    def put(self, entities: Entities, values: NumbersHeld) -> None:
        self._values[entities], self._null[entities] = values

    def of_constant(self, value: Any, count: int) -> NumbersHeld:
        return np.full(count, self.number(value), dtype=self.of), np.full(count, value is None)

    def take(self, values: NumbersHeld, indices: Entities) -> NumbersHeld:
        return values[0][indices], values[1][indices]

    def join(self, parts: list[NumbersHeld]) -> NumbersHeld:
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def count(self, values: NumbersHeld) -> int:
        return len(values[0])

    def number(self, constant: Any) -> int | float:
        """Return a constant of the field's kind in the column's representation."""
        if constant is None:
            return 0
        if isinstance(constant, Decimal):
            return int(constant.scaleb(self.field.kind.scale))
        return constant if self.of is np.float64 else int(constant)

    def series(self, values: NumbersHeld) -> pl.Series:
        numbers, null = values
        if self.field.kind.name == "decimal":
            return _decimals(numbers, null, self.field.kind)
        found = pl.Series(pa.array(numbers, mask=null))
        return found.cast(self.dtype)

    def of_series(self, series: pl.Series) -> tuple[NumbersHeld, Mask]:
        null = series.is_null().to_numpy()
        if self.field.kind.name != "decimal":
            whole = series if self.of is np.float64 else series.cast(pl.Int64)
            return (whole.fill_null(0).to_numpy().astype(self.of), null), np.zeros(len(series), dtype=np.bool_)
        raw = np.frombuffer(_decimal_array(series).buffers()[1] or b"", dtype=np.int64).reshape(-1, 2)[: len(series)]
        low, high = np.where(null, 0, raw[:, 0]), np.where(null, 0, raw[:, 1])
        return (low, null), high != low >> 63


class TextColumn(FieldColumn[pl.Series]):
    """Texts: each entity has an index into a pool; ``sweep`` removes texts without an index."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self._at = np.zeros(0, dtype=np.int64)
        self._pool: list[pl.Series] = []
        self._size = 0

    def grow(self, size: int) -> None:
        grown = np.full(size, -1, dtype=np.int64)
        grown[: len(self._at)] = self._at
        self._at = grown

    def get(self, entities: Entities) -> pl.Series:
        at = self._at[entities]
        there = at >= 0
        return self._whole().gather(at if there.all() else pl.Series(pa.array(at, mask=~there)))

    def put(self, entities: Entities, values: pl.Series) -> None:
        self._pool.append(_alone(values))
        self._at[entities] = np.arange(self._size, self._size + len(values))
        self._size += len(values)
        if self._size > 2 * len(self._at) + _SLACK:
            used = np.flatnonzero(self._at >= 0)
            self._pool = [_alone(self._whole().gather(self._at[used]))]
            self._at[used] = np.arange(len(used))
            self._size = len(used)

    def of_constant(self, value: Any, count: int) -> pl.Series:
        return pl.repeat(value, count, dtype=pl.String, eager=True)

    def take(self, values: pl.Series, indices: Entities) -> pl.Series:
        return values.gather(indices)

    def join(self, parts: list[pl.Series]) -> pl.Series:
        return pl.concat(parts, rechunk=True)  # gathering from a series of several chunks is five times as slow

    def count(self, values: pl.Series) -> int:
        return len(values)

    def series(self, values: pl.Series) -> pl.Series:
        return values

    def of_series(self, series: pl.Series) -> tuple[pl.Series, Mask]:
        return series, np.zeros(len(series), dtype=np.bool_)

    def _whole(self) -> pl.Series:
        if len(self._pool) != 1:
            self._pool = [pl.concat(self._pool, rechunk=True) if self._pool else pl.Series([], dtype=pl.String)]
        return self._pool[0]


@dataclass(slots=True)
class _Later:
    """A set or list whose tuple is built on demand: the code of its previous value, and the operation applied to it."""

    before: int
    deed: Deed
    held: tuple[Any, ...] | None = None


class CodedColumn(FieldColumn[Entities]):
    """Sets and lists, as codes.

    Null is -1. A code from 0 up means a tuple, and equal tuples have the same code. A code from -2 down means the result of an operation on
    a large set or list; its tuple is built only on demand, because building all of them would take quadratic time. These codes are valid
    until the end of a chunk, when the values of entities get tuples.
    """

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self._codes = np.zeros(0, dtype=np.int64)
        self.tuples: list[tuple[Any, ...]] = []
        self._known: dict[tuple[Any, ...], int] = {}
        self._later: list[_Later] = []

    def grow(self, size: int) -> None:
        grown = np.full(size, -1, dtype=np.int64)
        grown[: len(self._codes)] = self._codes
        self._codes = grown

    def get(self, entities: Entities) -> Entities:
        return self._codes[entities]

    def put(self, entities: Entities, values: Entities) -> None:
        if self._later:
            values = values.copy()
            for index in np.flatnonzero(values < -1).tolist():
                values[index] = self.code(self.held(int(values[index])))
        self._codes[entities] = values

    def sweep(self) -> None:
        self._later.clear()
        if len(self.tuples) <= 2 * len(self._codes) + _SLACK:
            return
        used, codes = np.unique(self._codes[self._codes >= 0], return_inverse=True)
        self._codes[self._codes >= 0] = codes
        self.tuples = [self.tuples[code] for code in used]
        self._known = {held: code for code, held in enumerate(self.tuples)}

    def code(self, held: tuple[Any, ...] | None) -> int:
        """Return the code of a tuple, or of null."""
        if held is None:
            return -1
        code = self._known.setdefault(held, len(self.tuples))
        if code == len(self.tuples):
            self.tuples.append(held)
        return code

    def after(self, code: int, deed: Deed) -> int:
        """Return the code of a set or list after an operation."""
        if code >= -1:
            held = () if code < 0 else self.tuples[code]
            if deed[0] == "set" or len(held) <= SMALL:
                return self.code(done(deed, held, kind=self.field.kind.name))
        elif deed[0] == "set":
            return self.code(done(deed, (), kind=self.field.kind.name))
        self._later.append(_Later(code, deed))
        return -1 - len(self._later)

    def held(self, code: int) -> tuple[Any, ...]:
        """Return the tuple of a code; null counts as empty."""
        deeds: list[Deed] = []
        at = code
        while at < -1 and self._later[-2 - at].held is None:
            deeds.append(self._later[-2 - at].deed)
            at = self._later[-2 - at].before
        known = self._later[-2 - at].held if at < -1 else self.tuples[at] if at >= 0 else ()
        assert known is not None
        if deeds:
            known = self._later[-2 - code].held = grown(deeds[::-1], known, kind=self.field.kind.name)
        return known

    def of_constant(self, value: Any, count: int) -> Entities:
        return np.full(count, self.code(value), dtype=np.int64)

    def take(self, values: Entities, indices: Entities) -> Entities:
        return values[indices]

    def join(self, parts: list[Entities]) -> Entities:
        return np.concatenate(parts)

    def count(self, values: Entities) -> int:
        return len(values)

    def series(self, values: Entities) -> pl.Series:
        # Negative codes index from the end: null is last, preceded by the other values from newest to oldest.
        size = len(self.tuples) + len(self._later) + 1
        place = np.zeros(size, dtype=np.int64)
        place[values] = 1
        used = np.flatnonzero(place)
        place[used] = np.arange(len(used))
        held: list[list[Any] | None] = [None] * len(used)
        # In the order of creation, so that each value can build on the previous one.
        for index in range(len(used) - 1, -1, -1):
            code = int(used[index]) if used[index] < len(self.tuples) else int(used[index]) - size
            held[index] = None if code == -1 else list(self.held(code))
        return _lists(held, self.dtype).gather(place[values])

    def of_series(self, series: pl.Series) -> tuple[Entities, Mask]:
        whole = series.cast(pl.List(pl.Int64)) if self.dtype == pl.List(pl.Datetime("us", "UTC")) else series
        codes = [self.code(None if held is None else tuple(held)) for held in whole.to_list()]
        return np.array(codes, dtype=np.int64), np.zeros(len(series), dtype=np.bool_)


def column_of(field: Field) -> FieldColumn[Any]:
    """Return an empty column for a field."""
    if field.kind.element is not None:
        return CodedColumn(field)
    return TextColumn(field) if field.kind.name in ("text", "json") else NumberColumn(field)


def _alone(texts: pl.Series) -> pl.Series:
    """Return a copy that does not keep the memory of the original series alive."""
    return pl.Series(texts.to_arrow(), dtype=pl.String)


def _lists(held: list[list[Any] | None], dtype: pl.DataType) -> pl.Series:
    if dtype == pl.List(pl.Datetime("us", "UTC")):
        return pl.Series(held, dtype=pl.List(pl.Int64)).cast(dtype)
    return pl.Series(held, dtype=dtype)


def _decimals(numbers: Numbers, null: Mask, kind: Kind) -> pl.Series:
    wide = np.empty((len(numbers), 2), dtype=np.int64)
    wide[:, 0], wide[:, 1] = numbers, numbers >> 63
    valid = pa.array(~null).buffers()[1]
    array = pa.Array.from_buffers(pa.decimal128(kind.precision, kind.scale), len(numbers), [valid, pa.py_buffer(wide)])
    return pl.Series(array)


def _decimal_array(series: pl.Series) -> pa.Array:
    array = series.to_arrow()
    return array if array.offset == 0 else pa.concat_arrays([array])
