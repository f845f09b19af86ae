"""``write_history``: writes every version of every entity to one Parquet file in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from workbench.errors import UsageError, WorkbenchError
from workbench.fold import vectorised
from workbench.fold.event_by_event.function_fold import Fold
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.resolve import Source, folded, subject_of
from workbench.fold.results import history_schema
from workbench.host.durable_files import written_aside
from workbench.replay.history import history
from workbench.timeline import Timeline

_TYPE = "event_type"
_RISING = ("revision", "event_count", "valid_from_position", "valid_to_position", "valid_from", "valid_to")
"""Columns whose neighbouring values differ little. Only they and the key have statistics: for fields, statistics rarely skip anything."""
_VIEWS = pl.CompatLevel.newest()
"""Pass Polars' text format to Arrow without a copy. The file does not record the format, since not all readers support it."""
_LOOK, _FEW = 20_000, 500
"""A column gets a dictionary if a sample of rows has at most so many distinct values: a larger one costs more than it saves."""


def write_history(
    projection: Source, timeline: Timeline, file: str | Path, *, fields: Sequence[str] | None = None, errors: OnError = "raise"
) -> int:
    """Write every version of every entity to a Parquet file.

    The file has the columns of `history`. The versions of an entity are in log order; the entities are in no particular order. Memory is
    bounded by a part of the log and the current version of every entity. The exceptions are a `Fold` and upcasters that are Python
    functions: their histories are held in memory as a whole. The file is written under another name and renamed when it is complete: until
    then, and after a failure, an older file stays as it was.

    Parameters
    ----------
    projection
        A class that extends `Projection`, a `Fold`, or the name of a category, as in `state`.
    timeline
        The history to fold. ``timeline.after(...)`` bounds the rows that are written, not the fold.
    file
        The file to write or replace. Its directory must exist.
    fields
        Write only ``key``, these fields, ``event_type``, ``valid_from_position`` and ``valid_from``. By default, all columns.
    errors
        ``"raise"`` stops at the first value that does not fit its field. ``"collect"`` leaves such events out.

    Returns
    -------
    int
        The number of versions in the file.

    Raises
    ------
    UsageError
        There is no such field, the path cannot be a file, or the timeline selects a part of the events, which would change the states.
    ValueDoesNotFit
        A value does not fit its field, or a stream's name has no key.
    WorkbenchError
        The file cannot be written.

    Examples
    --------
    >>> from workbench.sample.projections import User
    >>> now = wb.open("data/demo").timeline
    >>> wb.write_history(User, now, "data/users.parquet", fields=["name", "plan"])
    8139
    >>> pl.read_parquet("data/users.parquet").columns
    ['key', 'name', 'plan', 'event_type', 'valid_from_position', 'valid_from']
    """
    target = Path(file)
    if target.is_dir() or not target.parent.is_dir():
        raise UsageError(f"{target} cannot be written: name a file in an existing directory.")
    subject = subject_of(projection, timeline)
    whole = folded(timeline, subject, question="history")
    batches: Iterable[pl.DataFrame]
    if isinstance(subject, Fold) or not vectorised.supports(subject):
        batches = [history(projection, timeline, errors=errors)]
        schema = batches[0].schema
    else:
        batches = vectorised.versions(subject, whole, errors=errors, counted=False)
        schema = history_schema(subject)
    names = _columns(schema, fields)
    try:
        with written_aside(target) as part:
            return write_versions(batches, part, schema=schema, names=names, after=timeline.after_position)
    except OSError as error:
        raise WorkbenchError(f"{target} cannot be written: {error.strerror or error}. The incomplete file was removed.") from error


def _columns(schema: pl.Schema, fields: Sequence[str] | None) -> list[str]:
    if fields is None:
        return schema.names()
    unknown = [name for name in fields if name not in schema]
    if unknown:
        raise UsageError(f"A history has no column {unknown[0]!r}; it has {', '.join(schema.names())}.")
    return list(dict.fromkeys(["key", *fields, _TYPE, "valid_from_position", "valid_from"]))


def write_versions(
    batches: Iterable[pl.DataFrame], file: Path, *, schema: pl.Schema, names: Sequence[str] | None = None, after: int | None = None
) -> int:
    """Write batches; a thread compresses one batch while the next one is folded."""
    names = schema.names() if names is None else names
    nothing = pl.DataFrame(schema={name: schema[name] for name in names})
    arrow = nothing.to_arrow(compat_level=_VIEWS).schema
    rising = {name: "DELTA_BINARY_PACKED" for name in _RISING if name in names}
    rows = 0
    with ExitStack() as held:
        writer: pq.ParquetWriter | None = None

        def put(batch: pl.DataFrame) -> None:
            nonlocal writer
            if writer is None:
                repeating = _repeating(batch.drop(rising))
                writer = held.enter_context(
                    pq.ParquetWriter(
                        file,
                        arrow,
                        use_dictionary=repeating,
                        column_encoding=rising,
                        write_statistics=["key", *rising],
                        store_schema=False,
                    )
                )
            writer.write_table(batch.to_arrow(compat_level=_VIEWS))

        with ThreadPoolExecutor(1, thread_name_prefix="write") as beside:
            written = None
            for batch in batches:
                wanted = batch if after is None else batch.filter(pl.col("valid_from_position") > after)
                rows += wanted.height
                if written is not None:
                    written.result()  # at most one batch is waiting
                written = beside.submit(put, wanted.select(names))
            if written is not None:
                written.result()
        if writer is None:
            put(nothing)
    return rows


def _repeating(batch: pl.DataFrame) -> list[str]:
    """Return the columns, by their Parquet names, that have few distinct values in a batch and so are worth a dictionary."""
    found = []
    for column in batch.gather_every(max(batch.height // _LOOK, 1)).iter_columns():
        nested = isinstance(column.dtype, pl.List)
        values = column.explode(empty_as_null=False) if nested else column
        if values.n_unique() <= _FEW:
            found.append(f"{column.name}.list.element" if nested else column.name)
    return found
