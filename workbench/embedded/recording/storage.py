"""Stores the records of a log: in memory, or in an SQLite file.

Both keep records under the numbers 0, 1, 2, … in log order; the log's index (``log.py``) knows everything else about them.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from workbench.embedded.recording.records import Record
from workbench.errors import EmbeddedStoreError
from workbench.host.durable_files import take_lock

FILE_NAME = "events.sqlite3"
LOCK_NAME = "lock"
_APPLICATION_ID = 0x57424553  # "WBES", in the file's header: the mark by which a folder is known as a store's own
_FORMAT = 1


class Storage(Protocol):
    """What a log needs of its storage."""

    blocking: bool
    """Whether ``write`` waits for a disk, so that it belongs on a thread of its own."""

    scavenged: int
    """Positions below this lie in chunks that were scavenged: records may be missing there."""

    end: int
    """The log ends here at least, even if the records before were taken away."""

    def load(self) -> Iterator[Record]:
        """Yield all records in log order; their frames may be left empty."""

    def write(self, first: int, records: Sequence[Record]) -> None:
        """Append records, numbered from ``first``, all or none; they outlive a crash as soon as this returns."""

    def frames(self, start: int, stop: int) -> Sequence[bytes]:
        """Return the frames numbered from ``start`` up to but not including ``stop``."""

    def frames_at(self, numbers: Sequence[int]) -> Sequence[bytes]:
        """Return the frames with these numbers, in the order asked for."""

    def replace_all(self, records: Iterable[Record], *, scavenged: int, end: int) -> None:
        """Put these records, with their frames, in the place of all that were there, and set both marks."""

    def close(self) -> None:
        """Let go of files and locks."""


class MemoryStorage:
    """Records in a list, gone when the store stops."""

    blocking = False

    def __init__(self) -> None:
        self.scavenged = self.end = 0
        self._frames: list[bytes] = []

    def load(self) -> Iterator[Record]:
        return iter(())

    def write(self, first: int, records: Sequence[Record]) -> None:
        if first != len(self._frames):
            raise ValueError(f"records from {first} cannot follow {len(self._frames)} records")
        self._frames.extend([record.frame for record in records])

    def frames(self, start: int, stop: int) -> Sequence[bytes]:
        return self._frames[start:stop]

    def frames_at(self, numbers: Sequence[int]) -> Sequence[bytes]:
        frames = self._frames
        return [frames[number] for number in numbers]

    def replace_all(self, records: Iterable[Record], *, scavenged: int, end: int) -> None:
        self._frames = [record.frame for record in records]
        self.scavenged, self.end = scavenged, end

    def close(self) -> None:
        self._frames = []


_SCHEMA = """
CREATE TABLE streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE types (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE log (scavenged INTEGER NOT NULL, "end" INTEGER NOT NULL) STRICT;
INSERT INTO log VALUES (0, 0);
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    commit_position INTEGER NOT NULL,
    prepare_position INTEGER NOT NULL,
    stream INTEGER NOT NULL REFERENCES streams,
    revision INTEGER NOT NULL,
    type INTEGER NOT NULL REFERENCES types,
    created INTEGER NOT NULL,
    frame BLOB NOT NULL  -- last, so that loading the index does not read the pages of long frames
) STRICT;
"""


class SqliteStorage:
    """Records in an SQLite file, each write one transaction that is on the disk before ``write`` returns.

    Nothing is opened before ``open``. ``write`` may run on another thread than the reads: they use separate connections, and in
    WAL mode neither waits for the other.
    """

    blocking = True

    def __init__(self, folder: Path) -> None:
        self.scavenged = self.end = 0
        self._folder = folder
        self._lock: FileLock | None = None
        self._writer: sqlite3.Connection
        self._reader: sqlite3.Connection
        self._streams: dict[str, int] = {}
        self._types: dict[str, int] = {}

    def open(self) -> None:
        """Lock the folder and open its file, or make both.

        Raises
        ------
        EmbeddedStoreError
            Another store has the folder, it holds something else, or it cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._check_own()
            self._take_lock()
        except OSError as error:
            raise EmbeddedStoreError(
                f"The data folder {self._folder} cannot be used: {error.strerror or error}. Choose one that you may write to."
            ) from error
        try:
            self._connect()
        except sqlite3.Error as error:
            self.close()
            raise EmbeddedStoreError(
                f"The file {self._folder / FILE_NAME} cannot be opened as an event store: {error}. Restore it from a copy, or "
                "start with another folder."
            ) from error
        except EmbeddedStoreError:
            self.close()
            raise

    def _check_own(self) -> None:
        if any(self._folder.iterdir()) and not (self._folder / FILE_NAME).exists() and not (self._folder / LOCK_NAME).exists():
            raise EmbeddedStoreError(
                f"The folder {self._folder} is not empty and holds no event store: name an empty folder, or one that an embedded "
                "store made."
            )

    def _take_lock(self) -> None:
        file = self._folder / LOCK_NAME
        owner = file.read_text(encoding="utf-8", errors="replace").strip() if file.exists() else ""
        said = f" (process {owner})" if owner else ""
        self._lock = take_lock(
            file,
            busy=EmbeddedStoreError(
                f"Another embedded store has the data folder {self._folder} open{said}: stop it first, or use another folder."
            ),
        )
        file.write_text(str(os.getpid()), encoding="utf-8")

    def _connect(self) -> None:
        path = self._folder / FILE_NAME
        self._writer = _connect(path)
        (application,) = self._writer.execute("PRAGMA application_id").fetchone()
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        (tables,) = self._writer.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables == 0:
            self._writer.executescript(
                f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {_FORMAT}; COMMIT;"
            )
        elif application != _APPLICATION_ID:
            raise EmbeddedStoreError(f"The file {path} is an SQLite file of another program: name another folder.")
        elif version != _FORMAT:
            raise EmbeddedStoreError(
                f"The file {path} has format {version}, and this version of the workbench reads format {_FORMAT}: use the version "
                "that wrote it, or start with an empty folder."
            )
        self._writer.execute("PRAGMA journal_mode = WAL")
        # FULL: each commit is synced to the disk before it returns, so that an acknowledged event survives a power cut too.
        self._writer.execute("PRAGMA synchronous = FULL")
        self._reader = _connect(path)
        self._streams = {name: number for number, name in self._writer.execute("SELECT id, name FROM streams")}
        self._types = {name: number for number, name in self._writer.execute("SELECT id, name FROM types")}
        self.scavenged, self.end = self._writer.execute('SELECT scavenged, "end" FROM log').fetchone()

    def load(self) -> Iterator[Record]:
        streams = {number: name for name, number in self._streams.items()}
        types = {number: name for name, number in self._types.items()}
        rows = self._reader.execute("SELECT commit_position, prepare_position, stream, revision, type, created FROM events ORDER BY number")
        for commit, prepare, stream, revision, type_, created in rows:
            yield Record(commit, prepare, streams[stream], revision, types[type_], created, b"")

    def write(self, first: int, records: Sequence[Record]) -> None:
        with self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            self._insert(first, records)

    def _insert(self, first: int, records: Iterable[Record]) -> None:
        self._writer.executemany(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    number,
                    record.commit,
                    record.prepare,
                    self._streams.get(record.stream) or self._name("streams", self._streams, record.stream),
                    record.revision,
                    self._types.get(record.type) or self._name("types", self._types, record.type),
                    record.created,
                    record.frame,
                )
                for number, record in enumerate(records, first)
            ),
        )

    def _name(self, table: str, known: dict[str, int], name: str) -> int:
        known[name] = number = len(known) + 1
        self._writer.execute(f"INSERT INTO {table} VALUES (?, ?)", (number, name))
        return number

    def frames(self, start: int, stop: int) -> Sequence[bytes]:
        rows = self._reader.execute("SELECT frame FROM events WHERE number >= ? AND number < ? ORDER BY number", (start, stop))
        return [frame for (frame,) in rows]

    def frames_at(self, numbers: Sequence[int]) -> Sequence[bytes]:
        read = self._reader.execute
        return [read("SELECT frame FROM events WHERE number = ?", (number,)).fetchone()[0] for number in numbers]

    def replace_all(self, records: Iterable[Record], *, scavenged: int, end: int) -> None:
        with self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.execute("DELETE FROM events")
            self._insert(0, records)
            self._writer.execute('UPDATE log SET scavenged = ?, "end" = ?', (scavenged, end))
        self.scavenged, self.end = scavenged, end

    def close(self) -> None:
        for connection in (getattr(self, "_reader", None), getattr(self, "_writer", None)):
            if connection is not None:
                connection.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _connect(path: Path) -> sqlite3.Connection:
    # The threads that use a connection take turns (the event loop opens it, one writer thread writes), so the check is off.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=16)
