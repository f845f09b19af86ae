"""Writes rows to a Parquet file of a lake: sorted by stream, and with statistics for Delta."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.transaction import AddAction
from pyarrow import fs

from workbench.events import EVENT_SCHEMA, format_time
from workbench.lake.files.format import STATISTICS, FileName
from workbench.lake.files.parquet import seal

ROW_GROUP_ROWS = 16_384
ROW_GROUP_BYTES = 8 * 2**20
"""The limits of a row group, in rows and bytes: a reader of one stream decodes one, and a merge holds one of each input."""

RUN_BYTES = 256 * 2**20
"""The maximum size of a sorted run before compression; it limits the copy that sorting makes."""

_DICTIONARY = ["stream", "category", "type", "is_json"]
_ENCODING = {
    **dict.fromkeys(("position", "prepare_position", "revision", "recorded_at", "recorded_ticks"), "DELTA_BINARY_PACKED"),
    # Texts of one length: stored separately, the lengths compress to nothing and do not interrupt the text.
    **dict.fromkeys(("event_id", "correlation_id", "causation_id"), "DELTA_LENGTH_BYTE_ARRAY"),
}
_PAYLOAD = ("data", "metadata", "data_bytes", "metadata_bytes")
_PREFIX = 64
_BUFFER_BYTES = 2**20
_LAST_CHARACTER = "\U0010ffff"


def sorted_by_stream(rows: pa.Table) -> pa.Table:
    """Return rows, given in log order, sorted by (category, stream), each stream still in log order.

    A stream's revisions rise with its positions, so this is also the order (category, stream, revision, position). Each name is ranked
    once, and the rows are sorted by rank: sorting a million rows by two texts takes ten times as long. The result is always a copy, so
    that it does not keep the memory of which the rows were slices.
    """
    streams = rows.column("stream").combine_chunks().dictionary_encode()
    if isinstance(streams, pa.ChunkedArray):  # arrays of at most 2 GiB are returned unchanged, or in one chunk
        streams = streams.chunk(0)
    names = streams.dictionary
    # A stream has one category, so take that of any of its rows.
    codes: npt.NDArray[np.int64] = streams.indices.to_numpy().astype(np.int64)
    a_row = np.empty(len(names), dtype=np.int64)
    a_row[codes] = np.arange(len(codes))
    keys = pa.table({"category": rows.column("category").take(pa.array(a_row)), "stream": names})
    by_name = pc.sort_indices(keys, sort_keys=[("category", "ascending"), ("stream", "ascending")]).to_numpy()
    rank = np.empty(len(names), dtype=np.int32)
    rank[by_name] = np.arange(len(names), dtype=np.int32)
    order = np.argsort(rank[codes], kind="stable")
    return rows.take(pa.array(order))


def runs_of(rows: pa.Table, *, most: int = RUN_BYTES) -> Iterator[pa.Table]:
    """Cut rows in log order into pieces of at most ``most`` bytes of payload, or of one row."""
    if rows.nbytes <= most:
        yield rows
        return
    sizes = np.full(rows.num_rows, 200, dtype=np.int64)
    for name in _PAYLOAD:
        sizes += pc.fill_null(pc.binary_length(rows.column(name)), 0).to_numpy()
    ends = np.cumsum(sizes)
    first = 0
    while first < rows.num_rows:
        before = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, before + most, side="right")), first + 1)
        yield rows.slice(first, last - first)
        first = last


class FileWriter:
    """Writes one file of events in memory until it is complete, because its name holds the digest of its content."""

    def __init__(self) -> None:
        self._sink = pa.BufferOutputStream()
        self._writer = new_writer(self._sink)
        self._statistics = FileStatistics()
        self._groups = 0

    @property
    def bytes(self) -> int:
        """The present size of the file in bytes."""
        return int(self._sink.tell())

    def write(self, rows: pa.Table, *, row_group_size: int) -> None:
        """Add at least one row, in row groups of ``row_group_size`` rows."""
        self._statistics.add(rows)
        self._writer.write_table(rows, row_group_size=row_group_size)
        self._groups += -(-rows.num_rows // row_group_size)

    def finish(self, name: FileName, names: list[str], *, filesystem: fs.FileSystem, data_change: bool) -> AddAction:
        """Add the file's name to ``names``, write the file, and return the action that adds it."""
        sealed = seal(self._writer, self._sink, groups=self._groups)
        names.append(replace(name, digest=sealed.digest).text)
        # deltalake's streams take bytes; a buffered stream converts Arrow's buffers.
        with pa.BufferedOutputStream(filesystem.open_output_stream(names[-1]), _BUFFER_BYTES) as sink:
            for part in sealed.parts:
                sink.write(part)
        return self._statistics.action(names[-1], size=sealed.size, data_change=data_change)


def new_writer(sink: pa.NativeFile) -> pq.ParquetWriter:
    """Begin a Parquet file with the encodings that measured best for events (dictionaries only for repeated names)."""
    return pq.ParquetWriter(
        sink,
        EVENT_SCHEMA,
        compression="zstd",
        compression_level=1,
        use_dictionary=_DICTIONARY,
        column_encoding=_ENCODING,
        write_statistics=list(STATISTICS),
        store_schema=False,
        write_batch_size=ROW_GROUP_ROWS,
    )


def row_group_rows(rows: pa.Table) -> int:
    """Return the number of rows per row group that keeps it within its limits of rows and bytes."""
    average = max(rows.nbytes // max(rows.num_rows, 1), 1)
    return int(min(max(ROW_GROUP_BYTES // average, 1), ROW_GROUP_ROWS))


@dataclass(slots=True)
class FileStatistics:
    """The statistics of a file for Delta, collected batch by batch while the file is written."""

    rows: int = 0
    undated: int = 0
    least: dict[str, Any] | None = None
    greatest: dict[str, Any] | None = None

    def add(self, rows: pa.Table) -> None:
        """Add the statistics of rows that are written to the file."""
        bounds = {name: pc.min_max(rows.column(name)).as_py() for name in STATISTICS}
        least = {name: bound["min"] for name, bound in bounds.items()}
        greatest = {name: bound["max"] for name, bound in bounds.items()}
        if self.least is not None and self.greatest is not None:
            least = {name: _known(min, value, self.least[name]) for name, value in least.items()}
            greatest = {name: _known(max, value, self.greatest[name]) for name, value in greatest.items()}
        self.rows, self.least, self.greatest = self.rows + rows.num_rows, least, greatest
        self.undated += rows.column("recorded_at").null_count

    def action(self, path: str, *, size: int, data_change: bool) -> AddAction:
        """Return the Delta action that adds the file."""
        assert self.least is not None
        assert self.greatest is not None
        statistics = {
            "numRecords": self.rows,
            "minValues": {name: _bound(value, upper=False) for name, value in self.least.items() if value is not None},
            "maxValues": {name: _bound(value, upper=True) for name, value in self.greatest.items() if value is not None},
            "nullCount": {**dict.fromkeys(STATISTICS, 0), "recorded_at": self.undated},
        }
        return AddAction(
            path=path,
            size=size,
            partition_values={},
            modification_time=time.time_ns() // 1_000_000,
            data_change=data_change,
            stats=json.dumps(statistics, ensure_ascii=False),
        )


def write_run(rows: pa.Table, names: list[str], *, part: int, token: str, filesystem: fs.FileSystem) -> AddAction:
    """Sort rows that are in log order, write them as one file, add its name to `names`, and return the action that adds it."""
    position = rows.column("position")
    ordered = sorted_by_stream(rows)
    file = FileWriter()
    file.write(ordered, row_group_size=row_group_rows(ordered))
    name = FileName("run", position[0].as_py(), position[-1].as_py(), part, token)
    return file.finish(name, names, filesystem=filesystem, data_change=True)


def _known(choose: Callable[[Any, Any], Any], one: Any, other: Any) -> Any:
    """Return the least or greatest of two bounds; None is the bound of a column of nulls."""
    return choose(one, other) if one is not None and other is not None else one if other is None else other


def _bound(value: Any, *, upper: bool) -> Any:
    """Return a statistic as JSON; long text is truncated to a valid bound, as Delta's protocol requires for strings."""
    if isinstance(value, str):
        if len(value) <= _PREFIX or (upper and value[_PREFIX] == _LAST_CHARACTER):
            return value
        return value[:_PREFIX] + (_LAST_CHARACTER if upper else "")
    return value if isinstance(value, int) else format_time(value)
