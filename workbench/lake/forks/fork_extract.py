"""Extracts a timeline and a what-if of it side by side; events that both share are read and extracted once."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from workbench.lake.forks.overlay import KEY, Layer
from workbench.lake.reading.extract import Extractor, Piece, read_ahead
from workbench.timeline.extraction import Chunk, Pair

Mask = NDArray[np.bool_]

_PLACED = frozenset({*KEY, "stream", "revision", "recorded_at"})
"""Columns that no edit changes unless it moves the event."""


def pairs(recorded: Extractor, forked: Extractor) -> Generator[Pair, None, None]:
    """Yield the chunks of a timeline without and with its edits, both from the same files and with no hidden events."""
    assert forked.layer is not None
    # An event added at the key of a recorded event replaces it; other touched events are removed.
    taken = forked.layer.gone.join(forked.layer.added, on=KEY, how="anti")
    return read_ahead(partial(_pair, recorded, forked, taken), forked.pieces())


def _pair(recorded: Extractor, forked: Extractor, taken: pl.DataFrame, piece: Piece) -> Pair:
    layer = piece.layer
    assert layer is not None
    began = time.perf_counter()
    drops = layer.drops(piece.files, system=piece.conditions.system)
    ours = recorded.chunk(replace(piece, layer=None), flag=" OR ".join(f"({one.sql()})" for one in drops) or "false")
    gone = ours.rows.column("flag").to_numpy(zero_copy_only=False)
    ours = replace(ours, rows=ours.rows.drop_columns("flag"))
    added = ours.rows[:0]
    if layer.added.height:
        added = forked.chunk(replace(piece, files=(), layer=Layer((), layer.gone.clear(), layer.added))).rows
    gone, theirs, put = _forked(ours.rows, added, dropped=gone, taken=taken)
    return Pair(ours, Chunk(theirs, ours.ends, partial(forked.fetch, piece), time.perf_counter() - began), gone, put)


def _forked(rows: pa.Table, added: pa.Table, *, dropped: Mask, taken: pl.DataFrame) -> tuple[Mask, pa.Table, Mask]:
    """Return which of the recorded rows are gone, the rows of the what-if in their order, and which of these were put there."""
    recorded = _places(rows).with_row_index("row")
    gone = dropped.copy()
    if taken.height:
        gone[recorded.join(taken, on=KEY, how="semi")["row"].to_numpy()] = True
    index = np.where(gone, -1, np.arange(rows.num_rows))
    besides = np.ones(added.num_rows, dtype=np.bool_)
    if added.num_rows:
        instead = recorded.join(_places(added).with_row_index("added"), on=KEY, how="inner")
        at, by = instead["row"].to_numpy(), instead["added"].to_numpy()
        gone[at] = True
        index[at] = rows.num_rows + by.astype(np.int64)
        besides[by] = False
    index = np.concatenate([index[index >= 0], len(gone) + np.flatnonzero(besides)])
    put = index >= len(gone)
    if not added.num_rows and len(index) == len(gone):
        return gone, rows, put
    # Where all that changed stands in its place, these columns are as they were.
    same = [name for name in rows.column_names if name in _PLACED] if len(index) == len(gone) and not besides.any() else []
    both = pa.concat_tables([rows, added]).drop_columns(same).combine_chunks() if added.num_rows else rows
    changed = both.take(pa.array(index))
    for name in same:
        changed = changed.append_column(rows.schema.field(name), rows.column(name))
    return gone, changed.select(rows.column_names), put


def _places(rows: pa.Table) -> pl.DataFrame:
    return pl.DataFrame({name: rows.column(name).to_numpy() for name in KEY})
