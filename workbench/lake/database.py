"""How DuckDB is opened: in memory or over a file, with limits, and with nothing fetched from anywhere."""

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
    # A name in a query is a table or a file, and never a variable of the Python code that happens to run it.
    "python_enable_replacements": False,
}
_SIZE = re.compile(r"\d+(\.\d+)?\s*[KMGT]i?B", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """How much memory queries of one opened lake take, and how much they write into temporary files when that is full.

    Sizes are texts such as ``"8GB"``. Without ``memory`` it is DuckDB's own limit: 80 % of what the machine or its container has. Without
    ``spill`` it is a quarter of the room that is free where temporary files go, which is the directory that ``TMPDIR`` names, or the
    system's.
    """

    memory: str | None = None
    spill: str | None = None

    @classmethod
    def of(cls, *, memory: str | None = None, spill: str | None = None) -> QueryLimits:
        """Return the limits that were given, or else those of the environment: WORKBENCH_MEMORY and WORKBENCH_SPILL.

        Raises
        ------
        UsageError
            One is no size.

        >>> QueryLimits.of(memory="2GB").memory
        '2GB'
        """
        found = {
            "memory": (memory, MEMORY_VARIABLE) if memory is not None else (os.environ.get(MEMORY_VARIABLE) or None, MEMORY_VARIABLE),
            "spill": (spill, SPILL_VARIABLE) if spill is not None else (os.environ.get(SPILL_VARIABLE) or None, SPILL_VARIABLE),
        }
        for name, (size, variable) in found.items():
            if size is not None and not _SIZE.fullmatch(size.strip()):
                raise UsageError(f"{size!r} is no limit for {name} ({variable}): write a size with its unit, such as 8GB or 500MB.")
        return cls(*(None if size is None else size.strip() for size, _ in found.values()))


class SpillFolder:
    """A folder for the temporary files of this process's queries; it goes with its owner, or when a later process finds it abandoned."""

    def __init__(self) -> None:
        self.path, lock = take_new_folder(Path(tempfile.gettempdir()), "workbench-queries-*")
        self.remove = weakref.finalize(self, _remove, self.path, lock, os.getpid())
        """Removes the folder, once; called at the latest when Python ends."""

    def quarter(self) -> str:
        """Return a quarter of the room that is free there, as a size."""
        return f"{max(shutil.disk_usage(self.path).free // 4, 1_000_000) // 1000}KB"


def _remove(path: Path, lock: FileLock, owner: int) -> None:
    if os.getpid() == owner:  # and not a forked child, in which this is the parent's folder
        remove_folder(path, lock)


class Database:
    """An in-memory database that holds no data, for queries over files. It opens at the first question.

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
        """Stop the queries that run now, each with `duckdb.InterruptException`."""
        for cursor in list(self._cursors.values()):
            with suppress(duckdb.Error):
                cursor.interrupt()

    def abandon(self) -> None:
        """Remove the temporary files, also while a query still writes them: for a process that ends without waiting for it."""
        if self._folder is not None:
            self._folder.remove()

    @property
    def folder(self) -> str | None:
        """The folder of temporary files; None before the first question."""
        return None if self._folder is None else str(self._folder.path)

    def setting(self, name: str) -> str:
        """Return a setting of the database as DuckDB writes it."""
        ((value,),) = self.cursor().execute(f"SELECT current_setting('{name}')::VARCHAR").fetchall()
        return str(value)

    def _opened(self) -> duckdb.DuckDBPyConnection:
        self._folder = SpillFolder()
        given = {"temp_directory": str(self._folder.path / "files")}
        if self._limits.memory is not None:
            given["memory_limit"] = self._limits.memory
        connection = duckdb.connect(":memory:", config={**_SAFE, **given})
        # DuckDB shows this one where it is given in the configuration, and does not hold it.
        connection.execute(f"SET GLOBAL max_temp_directory_size = '{self._limits.spill or self._folder.quarter()}'")
        # These belong to extensions within DuckDB, which it loads after it has read its configuration.
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        # Files never change under their name, so what was read of their footers stays true.
        connection.execute("SET GLOBAL parquet_metadata_cache = true")
        connection.execute("SET GLOBAL lock_configuration = true")
        return connection


def connect(file: str | Path = ":memory:", *, read_only: bool = False, spill: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Open a database for statements of our own: in UTC, and without fetching extensions. ``spill`` is its folder of temporary files:
    without it they lie beside a file, and a database in memory has none."""
    in_memory = str(file) == ":memory:"
    given = {"temp_directory": str(spill or "")} if spill is not None or in_memory else {}
    # An absolute path names a file whatever it begins with, such as ``md:``.
    connection = duckdb.connect(":memory:" if in_memory else str(Path(file).absolute()), read_only=read_only, config={**_SAFE, **given})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def literal_path(path: str | Path) -> str:
    """Return a path as DuckDB's functions read it, in which ``*``, ``?`` and ``[`` would otherwise stand for other files too.

    >>> literal_path("g/lake [ab]/events.parquet")
    'g/lake [[]ab]/events.parquet'
    """
    return re.sub(r"[*?\[]", r"[\g<0>]", str(path))
