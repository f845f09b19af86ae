"""A lake, as its readers see it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.display import card, in_bytes
from workbench.errors import UsageError
from workbench.events import CategoryRule, format_time
from workbench.lake.database import QueryLimits
from workbench.lake.duckdb_file import write_duckdb
from workbench.lake.files.location import Location, diagnosis, translated
from workbench.lake.info import LakeInfo, read_info
from workbench.lake.reading.query import Queries
from workbench.lake.reading.snapshot import Snapshot
from workbench.timeline import Timeline

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation


def open_lake(
    path: str | Path,
    *,
    category: CategoryRule = "first",
    storage_options: Mapping[str, str] | None = None,
    memory: str | None = None,
    spill: str | None = None,
) -> Lake:
    """Open the lake at ``path`` for reading, as it is now. Reads Delta's log only.

    The log is checked against its own sums, so that no commit can be lost unseen. What a question reads is checked first, once for each
    opened lake: the size of a file, its footer, and the digests of the columns and row groups that the question can reach; so a damaged
    file is an error and never a wrong number. `sql` checks when it is called, and all that the query could reach without its LIMIT;
    `events` when its frame is executed. What comes from an object store is compared as it comes.

    Parameters
    ----------
    path
        A directory, or the URL of one in an object store (``s3://bucket/demo``).
    category
        How categories are cut from the names of streams: up to the first ``-``, as recorded in the lake, or up to the last.
    storage_options
        Of deltalake, for object stores.
    memory, spill
        How much memory SQL takes at most, and how much it writes into temporary files when that is full: ``"8GB"``. Without them the
        variables ``WORKBENCH_MEMORY`` and ``WORKBENCH_SPILL`` say so, or else it is 80 % of the machine's memory, and a quarter of the
        room that is free where temporary files go (``TMPDIR``).

    Raises
    ------
    LakeNotFound
        There is no lake.
    UsageError
        A limit is no size.
    """
    if category not in ("first", "last"):
        raise UsageError(f"category={category!r} is unknown: it is 'first' or 'last'.")
    limits = QueryLimits.of(memory=memory, spill=spill)
    place = Location.of(path, storage_options=storage_options)
    return Lake(Snapshot.newest(place, rule=category, queries=Queries(place, rule=category, limits=limits)))


class Lake:
    """An exported copy of one event store, as it was when it was opened or refreshed last. Made by `workbench.open`."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @property
    def path(self) -> str:
        """Where the lake lies."""
        return self._snapshot.path

    @property
    def timeline(self) -> Timeline:
        """All events that users recorded, up to the last export before the lake was opened or refreshed.

        Metadata of streams, tombstones, links and the streams that the server writes for itself are left out; ``with_system()`` takes in
        those that the lake holds.
        """
        return Timeline(log=self._snapshot)

    def refresh(self) -> Lake:
        """See what was exported meanwhile, and return this lake. Timelines made before stay as they are."""
        old = self._snapshot
        self._snapshot = Snapshot.newest(old.place, rule=old.rule, queries=old.queries)
        return self

    def info(self) -> LakeInfo:
        """Say what the lake holds."""
        return read_info(self._snapshot)

    def sql(self, query: str) -> DuckDBPyRelation:
        """Return a lazy DuckDB relation over the view ``events`` of everything recorded, without system events."""
        return self.timeline.sql(query)

    def reading(self, query: str | None = None) -> AbstractContextManager[None]:
        """Translate DuckDB's errors while relations of this lake are executed, which is when their rows are asked for::

            with lake.reading():
                rows = lake.sql("select data::json from events").fetchall()

        Ctrl-C stops them at once. ``query`` is their SQL, which an error about limits then names.

        Raises
        ------
        QueryError
            A value does not fit: a text that is no number, a JSON path into what is no JSON.
        LakeDamaged
            A file is missing or cannot be read.
        LakeError
            They need more than the limits of memory and temporary files; see `open_lake`.
        """
        return self._snapshot.queries.translated(self._snapshot.files, sql=query)

    def files(self) -> list[str]:
        """Return the addresses of the Parquet files of this version, in the order of their positions, for any other tool."""
        return [self._snapshot.place.file_url(file.path) for file in self._snapshot.files]

    def verify(self) -> None:
        """Read every file of this version as a whole, and make sure that it is what was written.

        Sizes, row counts, footers, the digest of each column chunk, that all of it decodes, and that the bounds hold by which readers
        skip what they need not read, those in the footers and those in the log. Every question checks what it reads by itself (see
        `open_lake`): this is for a disk or a copy that is in doubt. It takes about as long as reading all columns of all events.

        Raises
        ------
        LakeDamaged
            A file is missing or is not what was written; it is named.
        """
        snapshot = self._snapshot
        with translated(snapshot.path):
            found = diagnosis(snapshot.place, snapshot.files)
        if found is not None:
            raise found

    def write_duckdb(self, file: str | Path) -> None:
        """Write all that the lake holds, system events too, into one DuckDB file; replaces the file when all is written.

        Its table ``events`` is in log order, and its table ``lake`` has one row: of which lake, store and version it is a copy.

        Raises
        ------
        StorageFull
            No room was left. The file is as it was.
        """
        write_duckdb(self._snapshot, Path(file))

    def _repr_html_(self) -> str:
        snapshot = self._snapshot
        position, complete = snapshot.last_position(), snapshot.checkpoint
        values = {
            "Events": sum(file.rows for file in snapshot.files),
            "Last position": None if position is None else str(position),
            "Complete until (UTC)": None if complete is None else complete.complete_until,
            "On disk": in_bytes(sum(file.bytes for file in snapshot.files)),
        }
        return card("Lake", values, place=self.path, notes=[f"A copy of {snapshot.identity.store.address}"])._repr_html_()

    if not TYPE_CHECKING:  # a type checker knows by itself that there is no such name

        def __getattr__(self, name: str) -> object:
            said = f"A Lake has no {name!r}"
            if not name.startswith("_") and hasattr(Timeline, name):
                said += f", but its timeline has: write lake.timeline.{name}"
            raise AttributeError(f"{said}.", name=name, obj=self)

    def __repr__(self) -> str:
        return f"<Lake {self.path}: {self._summary()}>"

    def _summary(self) -> str:
        snapshot = self._snapshot
        events = sum(file.rows for file in snapshot.files)
        complete = snapshot.checkpoint
        until = f", complete until {format_time(complete.complete_until)}" if complete is not None else ""
        return f"{events:,} events of {snapshot.identity.store.address}{until}"
