"""Polars over the files of a lake: a lazy frame in log order.

All events of one epoch come before those of the next, so the epochs are read and sorted one after the other. Memory is limited to the
requested columns of one epoch, and a `head` stops at the epoch in which it has enough rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import polars as pl
import pyarrow as pa
from polars.io.plugins import register_io_source

from workbench.errors import LakeDamaged, WorkbenchError
from workbench.events import CategoryRule
from workbench.lake.files.checks import Checks
from workbench.lake.files.format import DataFile, in_log_order
from workbench.lake.files.location import Location, diagnosis, translation
from workbench.lake.forks.overlay import EVENT, FORK, KEY, Layer
from workbench.lake.reading.event_filter import LAST_DASH, EventFilter

_HIDES = ("gone", "least_revision", "least_time")
_HIDING = ("stream", "revision", "recorded_at")


def log_order(
    files: Sequence[DataFile],
    *,
    conditions: EventFilter,
    place: Location,
    checks: Checks,
    rule: CategoryRule,
    hidden: Callable[[], pl.DataFrame] | None,
    layer: Callable[[], Layer] | None,
    fork: bool,
) -> pl.LazyFrame:
    """Return a lazy frame of the events in ``files`` that match the conditions, in log order.

    Predicates, column selections and a `head` on the frame are pushed down to the files. When the frame is executed, ``hidden`` returns the
    streams with hidden events, and ``layer`` the overlay of edits or resolved links. A ``fork`` has additional columns.
    """
    schema = FORK if fork else EVENT

    def read(
        columns: list[str] | None,
        predicate: pl.Expr | None,
        most: int | None,
        batch_size: int | None,  # noqa: ARG001
    ) -> Iterator[pl.DataFrame]:
        wanted = schema.names() if columns is None else columns
        left = most
        held_back = None if hidden is None else hidden().lazy()
        over = None if layer is None else layer()
        drops = () if over is None else over.drops(files, system=conditions.system)
        conditional = (_names(one) for one in (conditions.polars(), predicate, *(drop.polars() for drop in drops)))
        asked = {*KEY, *wanted, *(name for names in conditional for name in names), *(() if hidden is None else _HIDING)}
        if rule == "last" and "category" in asked:
            asked.add("stream")
        for epoch, after, upto in _epochs(files, always=over is not None):
            checks.verify(epoch, columns=asked & set(EVENT), conditions=conditions)
            frame = _filtered(_scan(epoch, place, rule), conditions)
            if over is None or over.settled:
                frame = _without(frame, held_back)
            if over is not None:
                frame = _under(frame, over.between(after, upto), drops)
                frame = frame if over.settled else _without(frame, held_back)
            if predicate is not None:
                frame = frame.filter(predicate)
            frame = frame.sort(KEY).select(wanted)
            try:
                rows = (frame if left is None else frame.head(left)).collect()
            except (pl.exceptions.PolarsError, OSError, pa.ArrowException) as error:
                raise _read_error(error, place, files) from error
            yield rows
            if left is not None:
                left -= rows.height
                if left <= 0:
                    return

    return register_io_source(read, schema=schema, is_pure=True)


def _epochs(files: Sequence[DataFile], *, always: bool) -> Iterator[tuple[tuple[DataFile, ...], int | None, int | None]]:
    """Yield the files of each epoch, and the range of positions whose events come before those of the next one.

    With ``always`` there is at least one, for the events that edits put where no file is.
    """
    epochs = list(in_log_order(files)) or ([()] if always else [])
    ends = [max(file.last_position for file in epoch) for epoch in epochs[:-1]]
    yield from zip(epochs, [None, *ends], [*ends, None], strict=True) if epochs else ()


def _under(frame: pl.LazyFrame, layer: Layer, drops: Sequence[EventFilter]) -> pl.LazyFrame:
    """Apply the overlay of a fork to recorded events."""
    for one in drops:
        asked = one.polars()
        frame = frame.filter(pl.lit(value=False) if asked is None else ~asked)
    if layer.gone.height:
        frame = frame.join(layer.gone.lazy(), on=KEY, how="anti")
    frame = frame.with_columns(sequence=pl.lit(0, dtype=pl.Int64), origin=pl.lit("recorded"))
    return pl.concat([frame, layer.added.lazy()]) if layer.added.height else frame


def _scan(files: Sequence[DataFile], place: Location, rule: CategoryRule) -> pl.LazyFrame:
    if not files:
        return pl.LazyFrame(schema=EVENT)
    if place.directory is None:
        frame = pl.scan_pyarrow_dataset(place.dataset([file.path for file in files]))
    else:
        frame = pl.scan_parquet([place.file_url(file.path) for file in files], schema=EVENT, glob=False)
    if rule == "last":
        frame = frame.with_columns(category=pl.col("stream").str.replace(LAST_DASH, ""))
    return frame


def _names(condition: pl.Expr | None) -> list[str]:
    return [] if condition is None else condition.meta.root_names()


def _filtered(frame: pl.LazyFrame, conditions: EventFilter) -> pl.LazyFrame:
    where = conditions.polars()
    return frame if where is None else frame.filter(where)


def _without(frame: pl.LazyFrame, hidden: pl.LazyFrame | None) -> pl.LazyFrame:
    if hidden is None:
        return frame
    young = (pl.col("recorded_at") >= pl.col("least_time")).fill_null(value=True)
    seen = pl.col("gone").is_null() | (~pl.col("gone") & (pl.col("revision") >= pl.col("least_revision")) & young)
    return frame.join(hidden, left_on="stream", right_on="hidden_stream", how="left").filter(seen).drop(_HIDES)


def _read_error(error: Exception, place: Location, files: Sequence[DataFile]) -> Exception:
    """Translate an error while reading: a damaged file, or else a mistake in the expression on the frame."""
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
