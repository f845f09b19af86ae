"""A recorded log in memory, read by the lake's own extraction: what property tests replay, thousands of times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from workbench.lake.files.format import DataFile
from workbench.lake.files.location import Location
from workbench.lake.reading.event_filter import EventFilter
from workbench.lake.reading.extract import Extractor
from workbench.lake.reading.query import Queries
from workbench.timeline import Timeline
from workbench.timeline.extraction import Extraction


class _Tables(Queries):
    """Queries over tables in memory, where a lake has files."""

    def __init__(self) -> None:
        super().__init__(Location.of("memory://log"), rule="first")
        self.tables: dict[str, pa.Table] = {}

    def _source(self, connection: duckdb.DuckDBPyConnection, files: Sequence[DataFile]) -> str:
        if not files:
            return super()._source(connection, files)
        connection.register("_tables", pa.concat_tables([self.tables[file.path] for file in files]))
        return "_tables"

    def row_groups(self, file: DataFile) -> list[tuple[str, int]]:
        return [(stream, 1) for stream in sorted(self.tables[file.path].column("stream").to_pylist())]


_QUERIES = _Tables()


@dataclass(frozen=True, slots=True)
class Log:
    """A log of several runs; stands in for a lake's snapshot."""

    files: tuple[DataFile, ...]
    path: str = "memory"
    queries: Queries = field(default=_QUERIES, repr=False)

    def extract(self, timeline: Timeline, extraction: Extraction) -> Extractor:
        conditions = EventFilter.of(timeline, rule="first")
        return Extractor.of(extraction, timeline=timeline, queries=self.queries, files=self.files, conditions=conditions, hidden=None)


def timeline_of(frame: pl.DataFrame, *, runs: int = 1, seed: int | None = None) -> Timeline:
    """Return a timeline over events in log order, kept in so many runs, sorted by stream or, with a seed, shuffled."""
    files = []
    _QUERIES.tables.clear()
    size = max(1, -(-frame.height // runs))
    for number, first in enumerate(range(0, frame.height, size)):
        part = frame.slice(first, size)
        kept = part.sort("category", "stream", maintain_order=True) if seed is None else part.sample(fraction=1, shuffle=True, seed=seed)
        _QUERIES.tables[str(number)] = kept.to_arrow(compat_level=pl.CompatLevel.oldest())
        files.append(_file(str(number), part))
    log: Any = Log(tuple(files))
    return Timeline(log=log)


def _file(path: str, part: pl.DataFrame) -> DataFile:
    def least(name: str) -> Any:
        return part[name].min()

    def greatest(name: str) -> Any:
        return part[name].max()

    return DataFile(
        path=path,
        bytes=1,
        rows=part.height,
        first_position=least("position"),
        last_position=greatest("position"),
        first_prepare=least("prepare_position"),
        first_ticks=least("recorded_ticks"),
        last_ticks=greatest("recorded_ticks"),
        least_stream=least("stream"),
        greatest_stream=greatest("stream"),
        least_category=least("category"),
        greatest_category=greatest("category"),
        least_type=least("type"),
        greatest_type=greatest("type"),
        epoch=None,
    )
