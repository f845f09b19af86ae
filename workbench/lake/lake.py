"""The lake as readers see it: `open_lake` and `Lake`."""

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
    """Open a lake for reading, as it is now. Reads only the log of the Delta table.

    Data is checked before it is used, once for each opened lake: the sums of the log here, and for each question the size and footer of
    the files that it reads and the digests of the columns and row groups that it can reach. A damaged file is an error, never a wrong
    number. `Lake.sql` checks when it is called, `Timeline.events` when its frame is collected. In an object store the checksum of each
    page is compared as it arrives.

    Parameters
    ----------
    path
        A directory, or the URL of one in an object store (``s3://bucket/demo``).
    category
        The category of a stream is its name up to the ``"first"`` ``-``, as recorded in the lake, or up to the ``"last"``.
    storage_options
        Options of deltalake for object stores.
    memory, spill
        How much memory SQL takes at most, and how much it writes into temporary files when that is full: ``"8GB"``. The defaults are the
        environment variables ``WORKBENCH_MEMORY`` and ``WORKBENCH_SPILL``, or else 80 % of the machine's memory, and a quarter of the
        free space where temporary files go (``TMPDIR``).

    Returns
    -------
    Lake
        The lake, with `Lake.timeline` as the beginning of every question.

    Raises
    ------
    LakeNotFound
        There is no lake at ``path``.
    LakeDamaged
        The log of the lake is damaged.
    UsageError
        ``category`` is unknown, or a limit is not a size.

    Examples
    --------
    >>> lake = wb.open("data/demo")
    >>> lake.timeline.upto("2026-03-01").count()
    20314
    """
    if category not in ("first", "last"):
        raise UsageError(f"category={category!r} is unknown: it is 'first' or 'last'.")
    limits = QueryLimits.of(memory=memory, spill=spill)
    place = Location.of(path, storage_options=storage_options)
    return Lake(Snapshot.newest(place, rule=category, queries=Queries(place, rule=category, limits=limits)))


class Lake:
    """An exported copy of one event store, as it was when it was opened or last refreshed. `workbench.open` makes one.

    Examples
    --------
    >>> lake = wb.open("data/demo")
    >>> lake.timeline.categories("user").count()
    8400
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @property
    def path(self) -> str:
        """The directory or URL of the lake."""
        return self._snapshot.path

    @property
    def timeline(self) -> Timeline:
        """All events that users recorded, as of when the lake was opened or refreshed.

        Metadata of streams, tombstones, links and the streams that the server writes for itself are left out. `Timeline.with_system` adds
        those that the lake holds.
        """
        return Timeline(log=self._snapshot)

    def refresh(self) -> Lake:
        """Take in what was exported since the lake was opened.

        Returns
        -------
        Lake
            This lake. Timelines that were made before stay as they are.

        Examples
        --------
        >>> lake = wb.open("data/demo")
        >>> lake.refresh() is lake
        True
        """
        old = self._snapshot
        self._snapshot = Snapshot.newest(old.place, rule=old.rule, queries=old.queries)
        return self

    def info(self) -> LakeInfo:
        """Say what the lake holds.

        Returns
        -------
        LakeInfo
            The store, the number of events, streams and types, the checkpoint, and what else is worth knowing. Counts the events.

        Examples
        --------
        >>> found = wb.open("data/demo").info()
        >>> found.events, found.streams, found.complete_until.date()
        (40000, 2539, datetime.date(2026, 3, 31))
        """
        return read_info(self._snapshot)

    def sql(self, query: str) -> DuckDBPyRelation:
        """Return the result of a SQL query over the view ``events`` of all recorded events without system events, lazily.

        Parameters
        ----------
        query
            SQL of DuckDB, as in `Timeline.sql`.

        Returns
        -------
        duckdb.DuckDBPyRelation
            Rows are read when they are fetched.

        Raises
        ------
        QueryError
            The query is not SQL that can be run over ``events``.
        LakeDamaged
            A file that the query reads is missing or damaged.

        Examples
        --------
        >>> wb.open("data/demo").sql("select count(distinct stream) from events").fetchall()
        [(2539,)]
        """
        return self.timeline.sql(query)

    def reading(self, query: str | None = None) -> AbstractContextManager[None]:
        """Return a context in which DuckDB's errors become the workbench's, while rows of this lake's relations are fetched.

        Inside it, Ctrl-C stops a query at once.

        Parameters
        ----------
        query
            The SQL of the relation. An error about limits then names it.

        Returns
        -------
        contextlib.AbstractContextManager
            The context.

        Raises
        ------
        QueryError
            A value does not fit: a text that is not a number, or a JSON path into text that is not JSON.
        LakeDamaged
            A file is missing or cannot be read.
        LakeError
            The query needs more than the limits of memory and temporary files; see `open`.

        Examples
        --------
        >>> lake = wb.open("data/demo")
        >>> with lake.reading():
        ...     rows = lake.sql("select data->>'city' from events where type = 'user.created' limit 2").fetchall()
        >>> len(rows)
        2
        """
        return self._snapshot.queries.translated(self._snapshot.files, sql=query)

    def files(self) -> list[str]:
        """Return the addresses of the Parquet files of this version, for other tools.

        Returns
        -------
        list[str]
            Paths or URLs, in the order of the files' positions.

        Examples
        --------
        >>> files = wb.open("data/demo").files()
        >>> pl.scan_parquet(files).select(pl.len()).collect().item()
        40000
        """
        return [self._snapshot.place.file_url(file.path) for file in self._snapshot.files]

    def verify(self) -> None:
        """Read every file of this version completely, and check that it is what was written.

        Questions check what they read (see `open`). This method is for a disk or a copy that is in doubt. It checks sizes, row counts,
        footers, the digest of each column chunk, that all data decodes, and the bounds by which readers skip data. It takes about as long
        as reading all columns of all events.

        Raises
        ------
        LakeDamaged
            A file, which is named, is missing or is not what was written.

        Examples
        --------
        >>> wb.open("data/demo").verify()
        """
        snapshot = self._snapshot
        with translated(snapshot.path):
            found = diagnosis(snapshot.place, snapshot.files)
        if found is not None:
            raise found

    def write_duckdb(self, file: str | Path) -> None:
        """Write all that the lake holds, system events too, to one DuckDB file.

        Its table ``events`` is in log order. Its table ``lake`` has one row that names the lake, the store and the version copied. The
        file is replaced when all is written.

        Parameters
        ----------
        file
            The file to write or replace.

        Raises
        ------
        StorageFull
            No space was left. An older file stays as it was.

        Examples
        --------
        >>> lake = wb.open("data/demo")
        >>> lake.write_duckdb("data/demo.duckdb")
        >>> import duckdb
        >>> duckdb.connect("data/demo.duckdb").sql("select count(*) from events").fetchone()
        (40000,)
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
