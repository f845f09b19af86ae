"""Stores histories, snapshots and indexes of keys beside the events of a lake, each as a folder with a manifest.

``LAKE/materialised/<key>/manifest.json`` names the files that count. A writer writes new files aside, swaps in a new manifest, and leaves
the files of the previous manifest to readers until the next swap. If a writer is killed, the old manifest stays valid. Everything that is
read is checked against digests (`workbench.lake.files.integrity`): a manifest has its digest in its first line, a file in its name.
Damaged or unknown data is ignored, and the question is replayed.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from workbench.errors import LakeBusy
from workbench.host.durable_files import put_in_place, sync, take_lock
from workbench.lake.files.integrity import digest_of
from workbench.lake.files.location import translated
from workbench.lake.files.parquet import CheckedFile, seal
from workbench.timeline import RecordedLog

FOLDER = "materialised"
MANIFEST = "manifest.json"
FORMAT = 2
"""Increase this when an older workbench could misread what a newer one writes."""

Kind = Literal["history", "snapshots", "keys"]

_LOCK = ".lock"
_ROWS, _OTHER = ".parquet", ".bin"
_ROWS_OF_A_GROUP = 16_384
"""Small enough to read one entity cheaply, and large enough to read whole columns at full speed."""


class Unusable(Exception):
    """Raised when stored data is missing or damaged. The caller replays instead."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """One file.

    Attributes
    ----------
    path
        The file's name. It ends in the digest of a Parquet file's footer, or of the whole of another file.
    first_from, last_from, first_to, last_to
        The positions at which versions begin and end. Of versions that no event has ended yet the latter are None; an index has none.
    """

    path: str
    bytes: int
    rows: int
    first_from: int = -1
    last_from: int = -1
    first_to: int | None = None
    last_to: int | None = None
    least_key: str = ""
    greatest_key: str = ""

    @property
    def digest(self) -> str:
        """The digest in the name."""
        return self.path.rpartition("-")[2].partition(".")[0]

    @property
    def is_open(self) -> bool:
        """Whether no event has ended the versions."""
        return self.last_to is None


@dataclass(frozen=True, slots=True)
class Moment:
    """A point up to which events were folded, and the files that hold the result.

    Attributes
    ----------
    position, event_id, events
        Of the last event of the log, whichever it is about, and how many there were up to it.
    first_failure, failures
        The position of the first event with a value that did not fit, if such events were left out; and the file that has them all.
    counts, unhandled
        What became of the events that were folded, and of which types those are that nobody handles; empty of an index.
    is_asked_for
        Whether the moment was named by who asked; one that was the end of the log gives way to a later end.
    """

    position: int
    event_id: str
    events: int
    parts: tuple[FilePart, ...] = ()
    first_failure: int | None = None
    failures: FilePart | None = None
    counts: dict[str, int] = field(default_factory=dict)
    unhandled: dict[str, int] = field(default_factory=dict)
    is_asked_for: bool = False

    @property
    def files(self) -> tuple[FilePart, ...]:
        """All files."""
        return self.parts if self.failures is None else (*self.parts, self.failures)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of one folder.

    Attributes
    ----------
    key
        The folder's name, which stands for what was folded, and how.
    name
        The projection's name, for people.
    table
        The id of the lake's table: another table is another history.
    moments
        A history has one, and so has an index; snapshots have several, in log order.
    """

    key: str
    name: str
    kind: Kind
    table: str
    made_at: datetime
    moments: tuple[Moment, ...]
    format: int = FORMAT
    plan: str = ""
    """The plan of an index of keys, as ``stored_plan`` writes it; empty if it cannot be written."""

    @property
    def files(self) -> tuple[FilePart, ...]:
        """All files."""
        return tuple(part for moment in self.moments for part in moment.files)


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """The materialised data of one lake on this machine's file system."""

    root: Path
    table: str
    path: str
    """The path of the lake, for messages."""

    @classmethod
    def of(cls, log: RecordedLog) -> StoredFiles | None:
        """Return the materialised data of a lake; None for a lake in an object store, which has none."""
        directory = log.place.directory
        return None if directory is None else cls(directory / FOLDER, log.table, log.path)

    def find(self, key: str) -> Manifest | None:
        """Return the manifest of a folder; None if it is missing, damaged or of another lake."""
        try:
            raw = (self.root / key / MANIFEST).read_bytes()
        except OSError:
            return None
        digest, _, body = raw.partition(b"\n")
        if digest.decode("ascii", "replace") != digest_of(body).hex():
            return None
        try:
            found = msgspec.json.decode(body, type=Manifest)
        except msgspec.DecodeError:
            return None
        return found if (found.format, found.key, found.table) == (FORMAT, key, self.table) and found.moments else None

    def all(self) -> list[Manifest]:
        """Return all manifests, sorted by name."""
        folders = sorted(self.root.iterdir()) if self.root.is_dir() else []
        found = [self.find(folder.name) for folder in folders if folder.is_dir()]
        return sorted((one for one in found if one is not None), key=lambda one: (one.name, one.key))

    @contextmanager
    def writing(self, *, wait: bool) -> Iterator[None]:
        """Hold the lock for writing.

        Raises
        ------
        LakeBusy
            Another process has it, and is not to be waited for.
        """
        with translated(self.path):
            self.root.mkdir(exist_ok=True)
            busy = LakeBusy(f"Another process is writing what is materialised in {self.path}: wait until it is done.")
            lock = take_lock(self.root / _LOCK, busy=None if wait else busy)
        try:
            yield
        finally:
            lock.release()

    def swap(self, key: str, *, name: str, kind: Kind, moments: tuple[Moment, ...], plan: str = "") -> Manifest:
        """Put a manifest in place; its files are written already. The caller holds the lock."""
        folder, before = self.root / key, self.find(key)
        manifest = Manifest(key, name, kind, self.table, datetime.now(UTC), moments, plan=plan)
        body = msgspec.json.encode(manifest)
        aside = folder / f".{MANIFEST}.{secrets.token_hex(6)}"
        with translated(self.path):
            folder.mkdir(exist_ok=True)
            try:
                aside.write_bytes(digest_of(body).hex().encode() + b"\n" + body)
                sync(folder)
                sync(self.root)
                put_in_place(aside, folder / MANIFEST)
            finally:
                aside.unlink(missing_ok=True)
        # Readers may still use the files of the previous manifest. Older files, and those that a killed writer left, are removed.
        named = {MANIFEST, *(part.path for one in (manifest, before) if one is not None for part in one.files)}
        for entry in folder.iterdir():
            if entry.name not in named:
                with suppress(OSError):
                    entry.unlink()
        for other in self.root.iterdir():
            if other.is_dir() and not (other / MANIFEST).exists():  # its writer was killed before the first swap, or while removing it
                shutil.rmtree(other, ignore_errors=True)
        return manifest

    def remove(self, key: str) -> None:
        """Remove a folder, its manifest first. The caller holds the lock."""
        with translated(self.path):
            (self.root / key / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(self.root / key, ignore_errors=True)

    def discard(self, key: str, parts: Sequence[FilePart]) -> None:
        """Delete files that no manifest names."""
        for part in parts:
            with suppress(OSError):
                (self.root / key / part.path).unlink()

    def write_versions(self, key: str, rows: pl.DataFrame) -> FilePart:
        """Write versions sorted by key. Either all of them have ended, or none has."""
        part = self._write_rows(key, rows, statistics=["key", "valid_from_position", "valid_to_position"])
        first_from, last_from = _bounds(rows["valid_from_position"])
        ended = rows["valid_to_position"].null_count() == 0
        first_to, last_to = _bounds(rows["valid_to_position"]) if ended else (None, None)
        return replace(part, first_from=first_from, last_from=last_from, first_to=first_to, last_to=last_to)

    def write_keys(self, key: str, rows: pl.DataFrame) -> FilePart:
        """Write other rows that belong to keys, sorted by key."""
        return self._write_rows(key, rows, statistics=["key"])

    def _write_rows(self, key: str, rows: pl.DataFrame, *, statistics: list[str]) -> FilePart:
        table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        strings = [name for name, dtype in rows.schema.items() if dtype == pl.String]

        sink = pa.BufferOutputStream()
        writer = pq.ParquetWriter(
            sink,
            table.schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=[name for name in strings if not name.endswith("event_id")],
            write_statistics=statistics,
        )
        writer.write_table(table, row_group_size=_ROWS_OF_A_GROUP)
        sealed = seal(writer, sink, groups=-(-rows.height // _ROWS_OF_A_GROUP))
        path = self._write(key, sealed.parts, digest=sealed.digest, suffix=_ROWS)
        keys = rows["key"]
        return FilePart(path, sealed.size, rows.height, least_key=str(keys[0]), greatest_key=str(keys[-1]))

    def write_bytes(self, key: str, content: bytes, *, rows: int) -> FilePart:
        """Write a file that is not Parquet."""
        path = self._write(key, [content], digest=digest_of(content).hex(), suffix=_OTHER)
        return FilePart(path, len(content), rows)

    def read_rows(
        self, key: str, parts: Sequence[FilePart], *, columns: Sequence[str], schema: pl.Schema, where: pc.Expression | None = None
    ) -> pl.DataFrame:
        """Read columns of the rows that fulfil a condition, in no particular order.

        Raises
        ------
        Unusable
            A file is missing or damaged.
        """
        wanted = pl.Schema({name: schema[name] for name in columns})
        if not parts:
            return pl.DataFrame(schema=wanted)
        kind = ds.ParquetFileFormat(default_fragment_scan_options=ds.ParquetFragmentScanOptions(pre_buffer=False))
        try:
            with ExitStack() as files:
                opened = [files.enter_context(self._open(key, part)) for part in parts]
                fragments = [kind.make_fragment(pa.PythonFile(file, mode="r")) for file in opened]
                dataset = ds.FileSystemDataset(fragments, fragments[0].physical_schema, kind)
                table = dataset.to_table(columns=list(columns), filter=where)
        except (OSError, pa.ArrowException, KeyError) as error:
            raise Unusable(str(error)) from error
        found = pl.DataFrame(table)
        if found.schema != wanted:
            raise Unusable(f"{found.schema} is not {wanted}")
        return found

    def read_bytes(self, key: str, part: FilePart) -> bytes:
        """Read a file that is not Parquet.

        Raises
        ------
        Unusable
            It is missing or damaged.
        """
        try:
            content = (self.root / key / part.path).read_bytes()
        except OSError as error:
            raise Unusable(str(error)) from error
        if digest_of(content).hex() != part.digest:
            raise Unusable(f"{part.path} is damaged")
        return content

    def check(self, key: str, parts: Sequence[FilePart]) -> None:
        """Read all of some files.

        Raises
        ------
        Unusable
            One is missing or damaged.
        """
        for part in parts:
            if not part.path.endswith(_ROWS):
                self.read_bytes(key, part)
                continue
            try:
                with self._open(key, part) as file:
                    file.check_all()
            except OSError as error:
                raise Unusable(str(error)) from error

    def _open(self, key: str, part: FilePart) -> CheckedFile:
        """Open a Parquet file.

        Raises
        ------
        Unusable, OSError
            It is missing.
        """
        file = self.root / key / part.path
        if file.parent != self.root / key:
            raise Unusable(f"{file} lies elsewhere")
        return CheckedFile(file.open("rb"), digest=part.digest)

    def _write(self, key: str, content: Sequence[bytes | pa.Buffer], *, digest: str, suffix: str) -> str:
        """Write a file and return its name."""
        folder = self.root / key
        file = folder / f"{secrets.token_hex(8)}-{digest}{suffix}"
        with translated(self.path):
            folder.mkdir(exist_ok=True)
            try:
                with file.open("wb") as sink:
                    for one in content:
                        sink.write(one)
                sync(file)
            except BaseException:
                with suppress(OSError):
                    file.unlink(missing_ok=True)
                raise
        return file.name


def moment_at(snapshot: RecordedLog, position: int) -> Moment | None:
    """Return the last event up to a position, and the number of events up to it, system events included; None if there are none."""
    whole = [file for file in snapshot.files if file.last_position <= position]
    parts = [file for file in snapshot.files if file.first_position <= position < file.last_position]
    events = sum(file.rows for file in whole)
    last = max((file.last_position for file in whole), default=-1)
    if parts:
        relation = snapshot.queries.relation(f"SELECT count(*), max(position) FROM events WHERE position <= {position}", files=parts)
        with snapshot.queries.translated(parts):
            [(inside, greatest)] = relation.fetchall()
        events += inside
        last = max(last, -1 if greatest is None else greatest)
    if last < 0:
        return None
    holding = [file for file in snapshot.files if file.first_position <= last <= file.last_position]
    sql = f"SELECT event_id FROM events WHERE position = {last} ORDER BY prepare_position DESC LIMIT 1"
    relation = snapshot.queries.relation(sql, files=holding)
    with snapshot.queries.translated(holding):
        [(event_id,)] = relation.fetchall()
    return Moment(last, event_id, events)


def _bounds(column: pl.Series) -> tuple[int, int]:
    least, greatest = column.min(), column.max()
    assert isinstance(least, int)
    assert isinstance(greatest, int)
    return least, greatest
