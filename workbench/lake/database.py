"""Opens DuckDB, in memory or over a file, with limits and without downloading extensions."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import duckdb
from filelock import FileLock

from workbench.errors import UsageError
from workbench.host.durable_files import remove_folder, take_new_folder

MEMORY_VARIABLE, SPILL_VARIABLE = "WORKBENCH_MEMORY", "WORKBENCH_SPILL"
_SAFE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    # A name in a query is a table or a file, never a variable of the calling Python code.
    "python_enable_replacements": False,
}
_SIZE = re.compile(r"\d+(\.\d+)?\s*[KMGT]i?B", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """The limits of memory and of temporary files for the queries of one opened lake.

    Sizes are texts such as ``"8GB"``. ``memory`` defaults to DuckDB's own limit: 80 % of the memory of the machine or its container.
    ``spill`` defaults to a quarter of the free space in the directory for temporary files: that of ``TMPDIR``, or the system's.
    """

    memory: str | None = None
    spill: str | None = None

    @classmethod
    def of(cls, *, memory: str | None = None, spill: str | None = None) -> QueryLimits:
        """Return the given limits, or else those of the environment: WORKBENCH_MEMORY and WORKBENCH_SPILL.

        Raises
        ------
        UsageError
            A limit is not a valid size.

        >>> QueryLimits.of(memory="2GB").memory
        '2GB'
        """
        found = {
            "memory": (memory, MEMORY_VARIABLE) if memory is not None else (os.environ.get(MEMORY_VARIABLE) or None, MEMORY_VARIABLE),
            "spill": (spill, SPILL_VARIABLE) if spill is not None else (os.environ.get(SPILL_VARIABLE) or None, SPILL_VARIABLE),
        }
        for name, (size, variable) in found.items():
            if size is not None and not _SIZE.fullmatch(size.strip()):
                raise UsageError(
                    f"{size!r} is not a valid limit for {name} ({variable}): write a size with its unit, such as 8GB or 500MB."
                )
        return cls(*(None if size is None else size.strip() for size, _ in found.values()))


class SpillFolder:
    """A folder for the temporary files of this process's queries; removed with its owner, or by a later process if abandoned."""

    def __init__(self) -> None:
        self.path, lock = take_new_folder(Path(tempfile.gettempdir()), "workbench-queries-*")
        self.remove = weakref.finalize(self, _remove, self.path, lock, os.getpid())
        """Removes the folder, once; called at interpreter exit at the latest."""

    def quarter(self) -> str:
        """Return a quarter of the free disk space, as a size."""
        return f"{max(shutil.disk_usage(self.path).free // 4, 1_000_000) // 1000}KB"


def _remove(path: Path, lock: FileLock, owner: int) -> None:
    if os.getpid() == owner:  # in a forked child, the folder belongs to the parent
        remove_folder(path, lock)


class Database:
    """An in-memory database for queries over files; it holds no data and opens with the first query.

    Its configuration is locked: no query can change it. Its time zone is UTC.
    """

    def __init__(self, limits: QueryLimits) -> None:
        self._limits = limits
        self._opening = Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._folder: SpillFolder | None = None
        self._cursors: weakref.WeakValueDictionary[int, duckdb.DuckDBPyConnection] = weakref.WeakValueDictionary()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection with its own temporary views."""
        with self._opening:
            if self._connection is None:
                self._connection = self._opened()
            cursor = self._connection.cursor()
            self._cursors[id(cursor)] = cursor
            return cursor

    def interrupt(self) -> None:
        """Stop the running queries; each raises `duckdb.InterruptException`."""
        for cursor in list(self._cursors.values()):
            with suppress(duckdb.Error):
                cursor.interrupt()

    def abandon(self) -> None:
        """Remove the temporary files even while a query writes them, for a process that exits without waiting for it."""
        if self._folder is not None:
            self._folder.remove()

    @property
    def folder(self) -> str | None:
        """The folder of temporary files; None before the first query."""
        return None if self._folder is None else str(self._folder.path)

    def setting(self, name: str) -> str:
        """Return a setting of the database as DuckDB's text."""
        ((value,),) = self.cursor().execute(f"SELECT current_setting('{name}')::VARCHAR").fetchall()
        return str(value)

    def _opened(self) -> duckdb.DuckDBPyConnection:
        self._folder = SpillFolder()
        given = {"temp_directory": str(self._folder.path / "files")}
        if self._limits.memory is not None:
            given["memory_limit"] = self._limits.memory
        connection = duckdb.connect(":memory:", config={**_SAFE, **given})
        # If given in the configuration, DuckDB shows this setting but does not enforce it.
        connection.execute(f"SET GLOBAL max_temp_directory_size = '{self._limits.spill or self._folder.quarter()}'")
        # These belong to built-in extensions, which DuckDB loads after it has read its configuration.
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        # Files are immutable, so cached footers stay valid.
        connection.execute("SET GLOBAL parquet_metadata_cache = true")
        connection.execute("SET GLOBAL lock_configuration = true")
        return connection


def connect(file: str | Path = ":memory:", *, read_only: bool = False, spill: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Open a database for the workbench's own statements: in UTC, and without downloading extensions. ``spill`` is its folder of temporary
    files; by default they are beside a file, and an in-memory database has none."""
    in_memory = str(file) == ":memory:"
    given = {"temp_directory": str(spill or "")} if spill is not None or in_memory else {}
    # An absolute path is always a file, even if its name begins with a prefix such as ``md:``.
    connection = duckdb.connect(":memory:" if in_memory else str(Path(file).absolute()), read_only=read_only, config={**_SAFE, **given})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def literal_path(path: str | Path) -> str:
    """Escape a path for DuckDB's functions, which treat ``*``, ``?`` and ``[`` as wildcards.

    >>> literal_path("g/lake [ab]/events.parquet")
    'g/lake [[]ab]/events.parquet'
    """
    return re.sub(r"[*?\[]", r"[\g<0>]", str(path))
