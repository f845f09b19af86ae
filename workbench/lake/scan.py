"""Polars over the files of a lake: a lazy frame in log order.

All events of one epoch come before those of the next, so the epochs are read and sorted one after the other: memory is bounded by
one epoch and the wanted columns, and a `head` stops at the epoch in which it has enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import polars as pl
import pyarrow as pa
from polars.io.plugins import register_io_source

from workbench.errors import LakeDamaged, WorkbenchError
from workbench.events import EVENT_SCHEMA, CategoryRule
from workbench.lake.conditions import LAST_DASH, Conditions
from workbench.lake.format import DataFile, in_log_order
from workbench.lake.pages import Pages
from workbench.lake.place import Place, diagnosis, translation

POLARS_SCHEMA = pl.DataFrame(EVENT_SCHEMA.empty_table()).schema
_ORDER = ("position", "prepare_position")
_HIDING = ("stream", "revision", "recorded_at")


def log_order(
    files: Sequence[DataFile],
    *,
    conditions: Conditions,
    place: Place,
    pages: Pages,
    rule: CategoryRule,
    hidden: Callable[[], pl.DataFrame] | None,
) -> pl.LazyFrame:
    """Return a lazy frame of the events in ``files`` that fulfil the conditions, in log order.

    Predicates, columns and a `head` that are asked of the frame reach the files. ``hidden`` gives, when the frame is executed,
    the streams of which the store hides something.
    """

    def read(
        columns: list[str] | None,
        predicate: pl.Expr | None,
        most: int | None,
        batch_size: int | None,  # noqa: ARG001
    ) -> Iterator[pl.DataFrame]:
        wanted = list(POLARS_SCHEMA) if columns is None else columns
        left = most
        held_back = None if hidden is None else hidden().lazy()
        asked = {*_ORDER, *wanted, *_names(conditions.polars()), *_names(predicate), *(() if hidden is None else _HIDING)}
        if rule == "last" and "category" in asked:
            asked.add("stream")
        for epoch in in_log_order(files):
            pages.verify(epoch, columns=asked, conditions=conditions)
            frame = _without(_filtered(_scan(epoch, place, rule), conditions), held_back)
            if predicate is not None:
                frame = frame.filter(predicate)
            frame = frame.sort(_ORDER).select(wanted)
            try:
                rows = (frame if left is None else frame.head(left)).collect()
            except (pl.exceptions.PolarsError, OSError, pa.ArrowException) as error:
                raise _read_error(error, place, files) from error
            yield rows
            if left is not None:
                left -= rows.height
                if left <= 0:
                    return

    return register_io_source(read, schema=POLARS_SCHEMA, is_pure=True)


def _scan(files: Sequence[DataFile], place: Place, rule: CategoryRule) -> pl.LazyFrame:
    if place.directory is None:
        frame = pl.scan_pyarrow_dataset(place.dataset([file.path for file in files]))
    else:
        frame = pl.scan_parquet([place.file_url(file.path) for file in files], schema=POLARS_SCHEMA, glob=False)
    if rule == "last":
        frame = frame.with_columns(category=pl.col("stream").str.replace(LAST_DASH, ""))
    return frame


def _names(condition: pl.Expr | None) -> list[str]:
    return [] if condition is None else condition.meta.root_names()


def _filtered(frame: pl.LazyFrame, conditions: Conditions) -> pl.LazyFrame:
    where = conditions.polars()
    return frame if where is None else frame.filter(where)


def _without(frame: pl.LazyFrame, hidden: pl.LazyFrame | None) -> pl.LazyFrame:
    if hidden is None:
        return frame
    seen = pl.col("gone").is_null() | (
        ~pl.col("gone") & (pl.col("revision") >= pl.col("least_revision")) & (pl.col("recorded_at") >= pl.col("least_time"))
    )
    return frame.join(hidden, left_on="stream", right_on="hidden_stream", how="left").filter(seen)


def _read_error(error: Exception, place: Place, files: Sequence[DataFile]) -> Exception:
    """Return what an error while reading means: a damaged file, or else a mistake in what was asked of the frame."""
    damage: WorkbenchError | None = diagnosis(place, files)
    if damage is not None:
        return damage
    if isinstance(error, pl.exceptions.PolarsError):
        text = str(error).splitlines()[0]
        if not text.startswith("parquet:"):
            return error
        # A footer that only Polars cannot read.
        return LakeDamaged(f"A file of the lake {place.path} is damaged, {text.rstrip('.')}. Restore it, or export into a new directory.")
    return translation(error, place.path)
