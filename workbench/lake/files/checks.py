"""Verifies the files of a lake before an engine reads them.

Neither DuckDB nor Polars notices that a file was changed. So this module first reads and verifies the parts of files that a query can
reach, once for each opened lake, because files are immutable. It runs at 1.6 GB/s on a processor with instructions for SHA-256; decoding
the same data runs at 0.45 GB/s.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from workbench.events import EVENT_SCHEMA
from workbench.lake.files.format import DataFile
from workbench.lake.files.integrity import Malformed
from workbench.lake.files.location import Location, damaged, diagnosis, translation
from workbench.lake.files.parquet import Footer, read_footer
from workbench.lake.reading.event_filter import EventFilter

_THREADS = min(os.cpu_count() or 1, 8)
_BOUNDS = {
    "position": ("first_position", "last_position"),
    **{name: (f"least_{name}", f"greatest_{name}") for name in ("stream", "category", "type")},
}
"""The columns to which conditions apply, with the two bounds of a `DataFile`."""


class Checks:
    """Verifies the files of one lake and remembers which parts are intact; thread-safe."""

    def __init__(self, place: Location) -> None:
        self._place = place
        self._footers: dict[str, tuple[Footer, tuple[DataFile, ...]]] = {}
        self._checked: set[tuple[str, int, str]] = set()

    def verify(self, files: Sequence[DataFile], *, columns: Collection[str], conditions: EventFilter | None = None) -> None:
        """Verify the footers, and some columns of the row groups that may hold matching events.

        For an object store this does nothing: both engines then read through Arrow, from a `CheckedFile`.

        Raises
        ------
        LakeDamaged
            A file differs from what was written, or is missing.
        """
        if self._place.directory is None or not files:
            return
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="checks") as threads:
            for _ in threads.map(lambda file: self._verify(file, columns, conditions), files):
                pass

    def _verify(self, file: DataFile, columns: Collection[str], conditions: EventFilter | None) -> None:
        try:
            known = self._footers.get(file.path)
            if known is None:
                known = self._footers[file.path] = self._read_footer(file)
            footer, groups = known
            pending = [
                (number, name)
                for number, bounds in enumerate(groups)
                if conditions is None or conditions.files([bounds])
                for name in columns
                if (file.path, number, name) not in self._checked
            ]
            if not pending:
                return
            if footer.digests is None:
                self._decode(file, pending)
            with self._path(file).open("rb") as source:
                for number, name in pending:
                    try:
                        footer.chunk(number, name).check(source)
                    except Malformed as error:
                        raise damaged(self._place, file, f"{error}, in column {name}, row group {number}") from None
            self._checked.update((file.path, number, name) for number, name in pending)
        except (OSError, pa.ArrowException) as error:
            raise diagnosis(self._place, [file]) or translation(error, self._place.path) from error

    def _decode(self, file: DataFile, pending: Sequence[tuple[int, str]]) -> None:
        """Read columns of a file without digests, and compare the checksums of its pages."""
        with pq.ParquetFile(self._path(file), page_checksum_verification=True) as parquet:
            for number in sorted({number for number, _ in pending}):
                parquet.read_row_group(number, columns=[name for group, name in pending if group == number])

    def _read_footer(self, file: DataFile) -> tuple[Footer, tuple[DataFile, ...]]:
        """Return the footer of a file, and for each row group a `DataFile` with the bounds of that row group."""
        path = self._path(file)
        size = path.stat().st_size
        if size != file.bytes:
            raise damaged(self._place, file, f"it has {size} bytes but was written with {file.bytes}")
        try:
            with path.open("rb") as source:
                footer = read_footer(source, digest=file.content_digest, columns=EVENT_SCHEMA.names)
            if footer.metadata.num_rows != file.rows:
                raise Malformed(f"it was written with {file.rows} rows but has a different number")
        except Malformed as error:
            raise damaged(self._place, file, str(error)) from None
        return footer, tuple(_bounded(file, footer, number) for number in range(footer.groups))

    def _path(self, file: DataFile) -> Path:
        return Path(self._place.url, file.path)


def _bounded(file: DataFile, footer: Footer, group: int) -> DataFile:
    bounds: dict[str, Any] = {}
    for name, fields in _BOUNDS.items():
        found = footer.chunk(group, name).bounds
        if found is not None:
            bounds |= dict(zip(fields, found, strict=True))
    return replace(file, **bounds)
