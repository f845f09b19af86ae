"""The location of a lake, a local directory or an object store, and the translation of their errors."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from pyarrow import fs

from workbench.errors import LakeBusy, LakeDamaged, LakeError, LakeNotFound, StorageFull, UsageError, WorkbenchError
from workbench.events import EVENT_SCHEMA
from workbench.host.durable_files import sync
from workbench.lake.files.format import (
    STATISTICS,
    TABLE,
    DataFile,
    FileName,
    Identity,
    are_dated_as_stamped,
    identity_of,
    table_configuration,
)
from workbench.lake.files.integrity import Malformed
from workbench.lake.files.parquet import CheckedFile, Footer, read_footer

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_TEXT = re.compile(r"no space left|quota exceeded|file too large|os error (28|122|27)\b", re.IGNORECASE)
_CONFLICT_TEXT = re.compile(r"concurrent|conflict|already exists|invalid table version|metadata changed", re.IGNORECASE)
_DENIED_TEXT = re.compile(r"\b403\b|forbidden|access ?denied|unauthorized|permission denied", re.IGNORECASE)
_LOG_TEXT = re.compile(r"^Kernel error: (?!.*(object store|Generic \w+ error|Unsupported))")
_DEBUG_TEXT = re.compile(r":? *\w* \{.*")  # a value of Rust, printed whole
_MISSING_TEXT = re.compile(r"not found|no such file", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Location:
    """The address of a lake, and access to it.

    ``directory`` is the lake's directory on this machine, or None in an object store. ``options`` are deltalake's storage
    options; they may hold credentials, so they are left out of the repr.
    """

    path: str
    url: str
    directory: Path | None
    options: dict[str, str] = field(repr=False, hash=False)

    @classmethod
    def of(cls, path: str | Path, *, storage_options: Mapping[str, str] | None = None) -> Location:
        """Parse a path (``data/demo``) or a URL (``s3://bucket/demo``, ``file:///…``), without any I/O."""
        text = str(path)
        if not text:
            raise UsageError("A lake needs a path or a URL.")
        scheme = urlsplit(text).scheme
        if scheme == "file":
            directory = Path(unquote(urlsplit(text).path))
        elif len(scheme) > 1 and "://" in text:
            root = text.rstrip("/")
            return cls(path=root, url=f"{root}/{TABLE}", directory=None, options=dict(storage_options or {}))
        else:
            directory = Path(text)
        directory = directory.expanduser().absolute()
        # deltalake 1.6 decodes the one and replaces the other by a slash when it reads its log, and so reads another directory.
        escape = re.search(r"%[0-9A-Fa-f]{2}|\\|\0", str(directory))
        if escape is not None:
            raise UsageError(f"A lake cannot be in {directory}, because the path contains {escape[0]!r}. Choose another directory.")
        return cls(path=text if scheme != "file" else str(directory), url=str(directory / TABLE), directory=directory, options={})

    def taken(self) -> bool:
        """Whether the location already holds a Delta table, a lake's or another."""
        with translated(self.path):
            return DeltaTable.is_deltatable(self.url, storage_options=self.options or None)

    def open(self) -> DeltaTable:
        """Return the newest version of the lake's table; reads Delta's log only.

        Raises
        ------
        LakeNotFound
            There is nothing, or no lake in a format that this workbench knows.
        """
        with translated(self.path):
            if self.directory is not None and not self.directory.is_dir():
                what = "is a file" if self.directory.exists() else "does not exist"
                raise LakeNotFound(f"There is no lake at {self.path}: it {what}. `workbench export` makes one.")
            try:
                table = DeltaTable(self.url, storage_options=self.options or None)
            except TableNotFoundError:
                raise LakeNotFound(f"There is no lake at {self.path}. `workbench export` makes one.") from None
            identity_of(self.path, table.metadata().configuration)
            if pa.schema(table.schema().to_arrow()).names != EVENT_SCHEMA.names:
                raise LakeNotFound(f"{self.path} is not a lake of this workbench: it has other columns.")
            return table

    def create(self, identity: Identity) -> DeltaTable:
        """Create the lake's table and its directory; refuse a directory that holds something else.

        Raises
        ------
        LakeNotFound
            The location holds something other than a lake.
        LakeBusy
            Another export created a lake here at the same time.
        """
        self.claim()
        with translated(self.path):
            return DeltaTable.create(
                self.url,
                schema=DeltaSchema.from_arrow(EVENT_SCHEMA),
                mode="error",
                name=TABLE,
                configuration=table_configuration(identity),
                storage_options=self.options or None,
                raise_if_key_not_exists=False,
            )

    def claim(self) -> None:
        """Make the lake's directory, unless it is a lake already; refuse one that holds something else."""
        if self.directory is None or (self.directory / TABLE / "_delta_log").is_dir():
            return
        if self.directory.exists() and not self.directory.is_dir():
            raise LakeNotFound(f"{self.path} is a file: a lake needs its own directory.")
        if self.directory.is_dir() and any(map(_is_foreign, self.directory.iterdir())):
            raise LakeNotFound(f"{self.path} is a directory with other files, not a lake: choose another or an empty one.")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except (FileNotFoundError, NotADirectoryError) as error:  # as under /proc, or below a file
            raise LakeError(
                f"The directory {self.path} cannot be created: {error.strerror}. Choose another directory for the lake."
            ) from error
        except OSError as error:
            raise translation(error, self.path) from error

    def file_url(self, name: str) -> str:
        """Return the full address of one of the table's files."""
        return f"{self.url}/{name}"

    def settle(self, names: Sequence[str]) -> None:
        """Flush files of the table to the disk, so that after a power failure no commit names a missing file."""
        if self.directory is None:
            return  # an object store has confirmed them
        for path in {Path(self.url, name) for name in names} | {Path(self.url, name).parent for name in names}:
            sync(path)

    def dataset(self, names: Sequence[str]) -> ds.Dataset:
        """Return files of the table as an Arrow dataset, which DuckDB and Polars read through deltalake's file system.

        Everything is verified when it is read: against digests or, in files up to format 2, the checksums of pages.
        """
        checked = ds.ParquetFileFormat(default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True))
        return ds.dataset(list(names), schema=EVENT_SCHEMA, format=checked, filesystem=self.filesystem())

    def filesystem(self) -> fs.FileSystem:
        """Return the file system in which the names of the table's files are paths; files from an object store are verified when read."""
        if self.directory is not None:
            return fs.SubTreeFileSystem(self.url, fs.LocalFileSystem())
        return fs.PyFileSystem(_Storage(self.url, self.options or None))


class _Storage(DeltaStorageHandler):
    """An object store, from which files with digests are read as `CheckedFile`."""

    def open_input_file(self, path: str) -> pa.PythonFile:
        file, name = super().open_input_file(path), FileName.parse(path)
        if name is None or name.digest is None:
            return file
        return pa.PythonFile(CheckedFile(file, digest=name.digest), mode="r")


def _is_foreign(entry: Path) -> bool:
    """Tell whether something in a directory without a lake is in a new lake's way; what a killed creation left is not."""
    return not entry.name.startswith(".") and not (entry.name == TABLE and entry.is_dir() and not any(entry.iterdir()))


def diagnosis(place: Location, files: Iterable[DataFile]) -> LakeError | None:
    """Read some files completely, and return the error for the first that is missing or damaged; None if all are as written.

    If the lake's newest version no longer names a missing file, the lake is not damaged: the reader is out of date.
    """
    filesystem = place.filesystem()
    for file in files:
        try:
            with filesystem.open_input_file(file.path) as source:
                if source.size() != file.bytes:
                    return damaged(place, file, f"it has {source.size()} bytes and was written with {file.bytes}")
                footer = read_footer(source, digest=file.content_digest, columns=EVENT_SCHEMA.names)
                for group in range(footer.groups):
                    for name in footer.names:
                        footer.chunk(group, name).check(source)
                parquet = pq.ParquetFile(source, metadata=footer.metadata, page_checksum_verification=True)
                found: list[dict[str, Any]] = []
                rows = 0
                for group in range(footer.groups):
                    read = parquet.read_row_group(group)
                    read.validate(full=True)
                    _check_bounds(read, footer, group)
                    if not are_dated_as_stamped(read):
                        raise Malformed("column recorded_at is not what column recorded_ticks says")
                    found.append({name: pc.min_max(read.column(name)).as_py() for name in _BOUNDED})
                    rows += read.num_rows
                if rows != file.rows:
                    raise Malformed(f"it has {rows} rows and was written with {file.rows}")
                _check_description(file, found)
        except FileNotFoundError:
            if file.path not in {Path(uri).name for uri in place.open().file_uris()}:
                return LakeError(
                    f"The lake {place.path} was clustered, and old files deleted, since it was opened: open it again, or refresh()."
                )
            return damaged(place, file, "it is missing")
        except PermissionError:
            return LakeError(f"No permission to read {place.file_url(file.path)}.")
        except (OSError, ValueError, KeyError, Malformed, pa.ArrowException) as error:
            # ValueError and KeyError: names in the footer that are not UTF-8, or other columns.
            return damaged(place, file, (str(error) or type(error).__name__).splitlines()[0].rstrip("."))
    return None


_BOUNDED = ("position", "prepare_position", "recorded_ticks", "stream", "category", "type")


def _check_bounds(rows: pa.Table, footer: Footer, group: int) -> None:
    """Check the bounds in the footer, by which readers skip row groups."""
    for name in STATISTICS:
        bounds = footer.chunk(group, name).bounds
        if bounds is None:
            continue
        found = pc.min_max(rows.column(name)).as_py()
        if not bounds[0] <= found["min"] <= found["max"] <= bounds[1]:
            raise Malformed(f"the bounds of column {name} in its footer do not hold")


def _check_description(file: DataFile, found: Sequence[Mapping[str, Any]]) -> None:
    """Check the log's statistics of a file: positions and times exactly, names as bounds that may be truncated."""
    least = {name: min(group[name]["min"] for group in found) for name in _BOUNDED}
    greatest = {name: max(group[name]["max"] for group in found) for name in _BOUNDED}
    exact = {
        "position": (file.first_position, file.last_position) == (least["position"], greatest["position"]),
        "prepare_position": file.first_prepare == least["prepare_position"],
        "recorded_ticks": (file.first_ticks, file.last_ticks) == (least["recorded_ticks"], greatest["recorded_ticks"]),
    }
    names = {
        name: getattr(file, f"least_{name}") <= least[name] <= greatest[name] <= getattr(file, f"greatest_{name}")
        for name in ("stream", "category", "type")
    }
    wrong = [name for name, holds in {**exact, **names}.items() if not holds]
    if wrong:
        raise Malformed(f"the bounds of column {wrong[0]} in the lake's log do not hold")


def damaged(place: Location, file: DataFile, what: str) -> LakeDamaged:
    """Return the error for a file of the lake that differs from what was written."""
    return LakeDamaged(f"A file of the lake is damaged: {place.file_url(file.path)}, {what}. Restore it, or export into a new directory.")


def discard(place: Location, filesystem: fs.FileSystem, names: Iterable[str], *, after: BaseException | None = None) -> None:
    """Delete files that were written for a failed commit; files that cannot be deleted wait for a vacuum.

    ``after`` is the error of the commit. On a local disk, a failed commit did not happen. On an object store, only the answer may have been
    lost; the files may then belong to the lake.
    """
    if after is not None and (place.directory is None or not isinstance(translation(after, place.path), LakeBusy)):
        return
    for name in names:
        with suppress(OSError, pa.ArrowException):
            filesystem.delete_file(name)


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn errors of deltalake, pyarrow and the operating system into those of the workbench, naming the lake at ``path``."""
    try:
        yield
    except WorkbenchError:
        raise
    except (OSError, DeltaError, pa.ArrowException, MemoryError) as error:
        raise translation(error, path) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        # deltalake's Rust code panics on some damaged checkpoints; no module exports that class, which is not an Exception.
        raise LakeDamaged(
            f"The log of the lake {path} is damaged, {TABLE}/_delta_log: it cannot be read. Restore it, or export into a new directory."
        ) from error


def translation(error: BaseException, path: str) -> LakeError:
    """Translate an error of deltalake, pyarrow or the operating system about the lake at ``path``."""
    text = str(error).strip()
    line = _DEBUG_TEXT.sub("", text.splitlines()[0]).rstrip(".") if text else type(error).__name__
    if (isinstance(error, OSError) and error.errno in _FULL) or _FULL_TEXT.search(text):
        return StorageFull(f"No room is left where the lake {path} is written: free some and run again; the last commit is intact.")
    if isinstance(error, DeltaError) and _LOG_TEXT.search(text):
        what = line.removeprefix("Kernel error: ")
        return LakeDamaged(
            f"The log of the lake {path} is damaged, {TABLE}/_delta_log: {what}. Restore it, or export into a new directory."
        )
    if isinstance(error, PermissionError) or _DENIED_TEXT.search(text):
        return LakeError(f"No permission for the lake {path}: {line}. Check the access rights, or the credentials of the object store.")
    if isinstance(error, CommitFailedError) or (isinstance(error, DeltaError) and _CONFLICT_TEXT.search(text)):
        return LakeBusy(f"Another writer committed to the lake {path} first, so this batch was discarded: run again.")
    if isinstance(error, TableNotFoundError):
        return LakeNotFound(f"There is no lake at {path}. `workbench export` makes one.")
    if isinstance(error, (FileNotFoundError, pa.ArrowInvalid)) or _MISSING_TEXT.search(text):
        return LakeDamaged(f"A file of the lake {path} is missing or cannot be read: {line}.")
    return LakeError(f"The lake {path} cannot be read or written: {line}.")
