"""Decides which events of a chunk match which handlers, and which entity each event is about."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from workbench.fold.vectorised.column_expressions import Lists, Scope
from workbench.fold.vectorised.extraction_layout import ExtractionLayout
from workbench.fold.vectorised.json_columns import DECODE, Mask, integers, mask, unquoted
from workbench.projection import plan as ir
from workbench.projection.evaluation import Read, asking, keying
from workbench.projection.payloads import ABSENT
from workbench.projection.rows import Row, rows_of
from workbench.projection.values import Misfit
from workbench.timeline.extraction import Chunk, Root

Rows = npt.NDArray[np.int64]


@dataclass(slots=True)
class Matches:
    """The matching handlers and the keys of the rows of a chunk."""

    matched: list[tuple[int, Rows]] = field(default_factory=list)
    """Handler numbers, each with the rows that match it."""
    keys: list[tuple[Rows, pl.Series]] = field(default_factory=list)
    """Rows that match a handler, with their keys; null if there is none."""
    json_keys: list[tuple[Rows, pl.Series]] = field(default_factory=list)
    """The same, with the keys as JSON text: see ``keys_of``."""
    keyed_by_stream: list[Rows] = field(default_factory=list)
    """Rows that match a handler and have their key in the stream's name."""
    unreadable: list[int] = field(default_factory=list)
    """Rows whose payloads cannot be decoded."""
    unmatched: int = 0
    unhandled: Counter[str] = field(default_factory=Counter)


class HandlerMatcher:
    """Matches events with a plan's handlers."""

    def __init__(self, plan: ir.Plan, layout: ExtractionLayout) -> None:
        self._plan = plan
        self._layout = layout
        self.handlers: list[ir.Handler] = []
        """All handlers; a handler's number is its index, and increases within a branch in declared order."""
        self.type_of: list[int] = []
        """The index of each handler's type."""
        for code, handled in enumerate(plan.types):
            for branch in handled.branches:
                self.handlers += branch.handlers
                self.type_of += [code] * len(branch.handlers)

    def decide(self, chunk: Chunk) -> tuple[Matches, list[Scope]]:
        """Match all rows of a chunk; also return a scope for each type, to read values from."""
        rows = chunk.rows
        lists: dict[Root, Lists] = {"data": _lists(rows.column("data")), "metadata": _lists(rows.column("metadata"))}
        columns = {name: pl.Series(name, rows.column(name)) for name in self._layout.columns}
        codes = rows.column("code").to_numpy()
        doubtful = rows.column("doubtful").to_numpy()
        any_doubt = bool(doubtful.any())
        found = Matches()
        scopes = []
        first = 0
        for code, handled in enumerate(self._plan.types):
            here = np.flatnonzero(codes == code)
            scope = Scope(here, self._layout.slots[code], lists, columns)
            scopes.append(scope)
            if any_doubt:
                sure = ~doubtful[here]
                if not sure.all():
                    self._ask(code, first, here[~sure], chunk, found)
                    here = here[sure]
            self._answer(handled, first, scope.at(here), found)
            first += sum(len(branch.handlers) for branch in handled.branches)
        return found, scopes

    def _answer(self, handled: ir.HandledType, first: int, scope: Scope, found: Matches) -> None:
        """Match events column by column."""
        for branch in handled.branches:
            if not len(scope.rows):
                break
            taken = scope
            if branch.condition is not None:
                holds = scope.answer(branch.condition).true
                taken, scope = scope.at(scope.rows[holds]), scope.at(scope.rows[~holds])
            else:
                scope = scope.at(scope.rows[:0])
            matches: Mask = np.zeros(len(taken.rows), dtype=np.bool_)
            for number, handler in enumerate(branch.handlers, first):
                if handler.where is None:
                    matches[:] = True
                    found.matched.append((number, taken.rows))
                else:
                    holds = taken.answer(handler.where).true
                    matches |= holds
                    found.matched.append((number, taken.rows[holds]))
            if not matches.all():
                found.unmatched += int(np.count_nonzero(~matches))
                taken = taken.at(taken.rows[matches])
            if branch.key is None:
                found.keyed_by_stream.append(taken.rows)
            elif isinstance(branch.key, ir.Column):
                found.keys.append((taken.rows, _own_keys(taken.column(branch.key.name))))
            else:
                found.json_keys.append((taken.rows, taken.texts(branch.key)))
            first += len(branch.handlers)
        if len(scope.rows):
            found.unhandled[handled.type] += len(scope.rows)

    def _ask(self, code: int, first: int, here: Rows, chunk: Chunk, found: Matches) -> None:
        """Match events one by one, with the functions of the event-by-event engine."""
        handled, roots = self._plan.types[code], {root for root, _ in self._layout.slots[code].values()}
        branches, number = [], first
        for branch in handled.branches:
            asked = [None if handler.where is None else asking(handler.where) for handler in branch.handlers]
            branches.append((None if branch.condition is None else asking(branch.condition), asked, keying(branch.key), branch.key, number))
            number += len(branch.handlers)
        places = pl.DataFrame(chunk.rows.select(["position", "prepare_position"]).take(pa.array(here))).with_columns(row=pl.Series(here))
        whole = chunk.fetch(places).join(places, on=["position", "prepare_position"], how="left", maintain_order="left")
        for row, index in zip(rows_of(whole), whole["row"].to_list(), strict=True):
            try:
                data = DECODE(row[7]) if "data" in roots else ABSENT
                metadata = DECODE(row[8]) if "metadata" in roots else ABSENT
            except RecursionError:
                found.unreadable.append(index)
                continue
            for condition, asked, keyed, key, number in branches:
                if condition is not None and condition(row, data, metadata) is not True:
                    continue
                matching = [at for at, ask in enumerate(asked, number) if ask is None or ask(row, data, metadata) is True]
                at_row = np.array([index], dtype=np.int64)
                found.matched += [(at, at_row) for at in matching]
                if matching and key is None:
                    found.keyed_by_stream.append(at_row)
                elif matching:
                    found.keys.append((at_row, pl.Series([_key(keyed, row, data, metadata)], dtype=pl.String)))
                else:
                    found.unmatched += 1
                break
            else:
                found.unhandled[handled.type] += 1


def keys_of(texts: pl.Series) -> pl.Series:
    """Return the keys in JSON texts: strings that are not empty, and whole numbers.

    The result is null if there is no key, and empty text for a list or an object, which is an error.
    """
    strings = mask(texts.str.starts_with('"'))
    found = unquoted(texts)
    numbers, whole = integers(texts)
    none = ~strings & ~whole | mask(found == "")
    keys = found.zip_with(pl.Series(strings), pl.Series(numbers).cast(pl.String)).set(pl.Series(none), None)
    nested = mask(texts.str.contains(r"^[\[{]")) & ~strings
    return keys.set(pl.Series(nested), "") if nested.any() else keys


def _key(keyed: Read, row: Row, data: object, metadata: object) -> str | None:
    """Return the key of an event as ``keys_of`` does."""
    try:
        found: str | None = keyed(row, data, metadata)
    except Misfit:
        return ""
    return found


def _own_keys(column: pl.Series) -> pl.Series:
    texts = column if column.dtype == pl.String else column.cast(pl.String)
    return texts.set(texts == "", None)


def _lists(column: pa.ChunkedArray) -> Lists:
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0)
    if not isinstance(array.type, (pa.ListType, pa.LargeListType)):  # the plan reads nothing from this root
        empty = np.zeros(len(array), dtype=np.int64)
        return Lists(pl.Series([], dtype=pl.String), empty, empty.astype(np.bool_), escapes=False)
    starts = array.offsets.to_numpy()[:-1].astype(np.int64)
    there = np.ones(len(array), dtype=np.bool_) if array.null_count == 0 else pc.is_valid(array).to_numpy(zero_copy_only=False)
    payload = array.values.buffers()[2]
    escapes = payload is not None and bool((np.frombuffer(payload, dtype=np.uint8) == ord("\\")).any())
    return Lists(pl.Series(array.values, dtype=pl.String), starts, there, escapes)


def streams_of(rows: pa.Table) -> tuple[pl.Series, npt.NDArray[np.int64]]:
    """Return the stream and the first row of each run of rows of one stream."""
    streams = pl.Series(rows.column("stream"))
    first = np.ones(len(streams), dtype=np.bool_)
    first[1:] = mask(streams.slice(1) != streams.slice(0, len(streams) - 1)) if len(streams) else first[1:]
    starts = np.flatnonzero(first)
    return streams.gather(starts), starts
