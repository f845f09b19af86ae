"""The target of a publication: a directory of files listed in a manifest, or one DuckDB file. Both change atomically."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from workbench.errors import LakeBusy, LakeError, UsageError
from workbench.host.durable_files import put_in_place, staged_alone, sync
from workbench.lake.files.location import translated
from workbench.publication.catalogue import File, Format, Notes, PublishedTable
from workbench.publication.typed_tables import DatabaseFile, FileFormat, Press, Staged

MANIFEST = "manifest.json"
_SUFFIXES: dict[FileFormat, str] = {"parquet": ".parquet", "csv": ".csv", "arrow": ".arrow"}
_OURS = re.compile(r"\d{6,}(-\d+)?\.(parquet|csv|arrow)")
"""Names of published files."""
_FORMATS: dict[str, Format] = {"parquet": "parquet", "duckdb": "duckdb", "csv": "csv", "arrow": "arrow"}


@dataclass(frozen=True, slots=True)
class TableChange:
    """The change of a table in one run: rows to append, or all rows rewritten."""

    table: PublishedTable
    staged: Staged
    is_anew: bool


class Target(Protocol):
    """A place to publish to."""

    @property
    def path(self) -> Path:
        """Where it is."""

    def notes(self) -> Notes | None:
        """Return the catalogue of what was published there, or None."""

    def commit(self, notes: Notes, changes: list[TableChange], *, before: Notes | None, press: Press) -> Notes:
        """Publish; return the notes with the valid files."""


@dataclass(frozen=True, slots=True)
class DirectoryTarget:
    """A directory with a folder for each table. Only the files that the manifest names are valid."""

    path: Path
    format: FileFormat

    def notes(self) -> Notes | None:
        if not self.path.exists():
            return None
        if not self.path.is_dir():
            raise UsageError(f"{self.path} is a file: name a directory, or a file that ends in .duckdb.")
        try:
            text = (self.path / MANIFEST).read_text(encoding="utf-8")
        except FileNotFoundError:
            if any(not entry.name.startswith(".") for entry in self.path.iterdir()):
                raise UsageError(f"{self.path} holds other files, and nothing that was published: name an empty directory.") from None
            return None
        except OSError as error:
            raise LakeError(f"{self.path / MANIFEST} cannot be read: {error.strerror}.") from error
        return Notes.decoded(text, place=str(self.path / MANIFEST))

    def commit(self, notes: Notes, changes: list[TableChange], *, before: Notes | None, press: Press) -> Notes:
        if before is None:  # the manifest claims the directory before any file is written
            self._write(Notes(notes.lake, notes.what, notes.format, notes.goes_on))
        # Readers of the manifest ignore files that it does not name; readers that list the directory find only complete files.
        moves: list[tuple[Path, Path]] = []
        tables = []
        for change in changes:
            kept = () if change.is_anew else change.table.files
            tables.append(replace(change.table, files=(*kept, *self._written(change, notes, press, moves))))
        with translated(str(self.path)):
            for source, file in moves:
                file.parent.mkdir(exist_ok=True)
                sync(source)
                source.replace(file)
            for folder in {file.parent for _, file in moves}:
                sync(folder)
        done = replace(notes, tables=tuple(tables))
        self._write(done)
        self._clean(done, before)
        return done

    def _written(self, change: TableChange, notes: Notes, press: Press, moves: list[tuple[Path, Path]]) -> Iterator[File]:
        if not change.staged.files:
            return
        files = press.write(change.staged, format=self.format)
        for number, (source, rows) in enumerate(files):
            part = f"-{number}" if len(files) > 1 else ""
            name = f"{change.table.name}/{notes.generation:06}{part}{_SUFFIXES[self.format]}"
            moves.append((source, self.path / name))
            yield File(name, rows, source.stat().st_size)

    def _write(self, notes: Notes) -> None:
        aside = self.path / f".{MANIFEST}"
        with translated(str(self.path)):
            aside.write_text(notes.encoded(), encoding="utf-8")
            put_in_place(aside, self.path / MANIFEST)

    def _clean(self, notes: Notes, before: Notes | None) -> None:
        """Delete files that a killed run left and files that the manifest no longer names, but no other files."""
        named = {file.path for table in notes.tables for file in table.files}
        for name in {table.name for one in (notes, before) if one is not None for table in one.tables}:
            folder = self.path / name
            for entry in folder.iterdir() if folder.is_dir() else ():
                if f"{name}/{entry.name}" not in named and _OURS.fullmatch(entry.name):
                    entry.unlink(missing_ok=True)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


@dataclass(frozen=True, slots=True)
class DatabaseTarget:
    """One DuckDB file."""

    path: Path

    def notes(self) -> Notes | None:
        if self.path.is_dir():
            raise UsageError(f"{self.path} is a directory: name a file, or say format='parquet'.")
        text = DatabaseFile(self.path).notes()
        return None if text is None else Notes.decoded(text, place=str(self.path))

    def commit(self, notes: Notes, changes: list[TableChange], *, before: Notes | None, press: Press) -> Notes:
        _ = press  # the staged files are used as they are
        there: Mapping[str, PublishedTable] = {table.name: table for table in before.tables} if before is not None else {}
        done = replace(notes, tables=tuple(change.table for change in changes))
        DatabaseFile(self.path).commit(
            done.encoded(),
            added={change.table.name: change.staged for change in changes if change.staged.files and not change.is_anew},
            anew={change.table.name: change.staged for change in changes if change.staged.files and change.is_anew},
            dropped=there.keys() - {change.table.name for change in changes},
        )
        return done


def target_of(to: str | Path, asked: str | None) -> tuple[Target, Format]:
    """Return the target and the format of a publication.

    Raises
    ------
    UsageError
        The format is unknown, or does not fit the name.
    """
    path = Path(to).expanduser()
    is_database = path.suffix in (".duckdb", ".db")
    settled = _FORMATS.get(asked or ("duckdb" if is_database else "parquet"))
    if settled is None:
        raise UsageError(f"format={asked!r} is unknown: publish as 'parquet', 'duckdb', 'csv' or 'arrow'.")
    if settled == "duckdb":
        return DatabaseTarget(path), settled
    if is_database or path.suffix in _SUFFIXES.values():
        raise UsageError(f"{path} is named like a file, and {settled} is published into a directory: name one.")
    return DirectoryTarget(path, settled), settled


@contextmanager
def staging(target: Target) -> Iterator[Path]:
    """Hold the lock of the target, which one process at a time has, and yield a directory for staging.

    Raises
    ------
    LakeBusy
        Another process publishes there.
    """
    is_directory = isinstance(target, DirectoryTarget)
    folder = target.path / ".staging" if is_directory else target.path.with_name(f".{target.path.name}.staging")
    with ExitStack() as held:
        with translated(str(target.path)):
            busy = LakeBusy(f"Another process is publishing to {target.path}: wait until it is done.")
            held.enter_context(staged_alone(folder, busy=busy))
        yield folder
