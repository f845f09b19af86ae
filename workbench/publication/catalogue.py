"""The catalogue of a publication: its lake, the last event it includes, and a description of each table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from workbench.errors import LakeDamaged
from workbench.payloads.shapes import Known
from workbench.publication.typed_tables import TableLayout

VERSION = 1
"""The version of the catalogue; incremented when an older workbench could misread what a newer one publishes."""

Format = Literal["parquet", "duckdb", "csv", "arrow"]
TableKind = Literal["events", "state", "result"]


@dataclass(frozen=True, slots=True)
class File:
    """A file of a table, by its path below the publication."""

    path: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SeenPath:
    """What was seen at one path of a type's payloads: see `workbench.payloads.shapes.Known`."""

    path: tuple[str, ...]
    kinds: tuple[str, ...]
    keys: int = 0


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """A published table.

    Attributes
    ----------
    source
        The event type, or the name of the projection or result.
    layout, seen
        For a table of events; None and empty for a state or result.
    """

    name: str
    kind: TableKind
    source: str
    rows: int
    columns: int
    files: tuple[File, ...] = ()
    layout: TableLayout | None = None
    seen: tuple[SeenPath, ...] = ()

    @property
    def known(self) -> Known:
        """What is known about the payloads, as a value to extend."""
        return Known({one.path: set(one.kinds) for one in self.seen}, {one.path: one.keys for one in self.seen if one.keys})

    @property
    def named(self) -> dict[tuple[str, ...], str]:
        """The column names of the payload's paths."""
        return {} if self.layout is None else {column.path: column.name for column in self.layout.columns}


@dataclass(frozen=True, slots=True)
class Notes:
    """The catalogue of a publication.

    Attributes
    ----------
    lake
        The id of the lake's table.
    what
        Which events are published.
    goes_on
        Whether a later run adds to it; otherwise a run publishes everything again.
    position, event_id, events
        The last event of the lake's log up to the end of the timeline, and the number of events up to it.
    generation
        The number of runs that have published.
    guard_formulas
        Whether texts in CSV that a spreadsheet may read as formulas are prefixed with ``'``.
    """

    lake: str
    what: str
    format: Format
    goes_on: bool
    position: int | None = None
    event_id: str | None = None
    events: int = 0
    generation: int = 0
    tables: tuple[PublishedTable, ...] = ()
    guard_formulas: bool = False
    version: int = VERSION

    def encoded(self) -> str:
        """Write the notes as JSON."""
        return msgspec.json.format(msgspec.json.encode(self)).decode() + "\n"

    @classmethod
    def decoded(cls, text: str, *, place: str) -> Notes:
        """Read notes.

        Raises
        ------
        LakeDamaged
            The text is not a catalogue, or a newer workbench wrote it.
        """
        try:
            found = msgspec.json.decode(text, type=Notes)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise LakeDamaged(f"{place} does not say what it holds ({error}): remove it, and publish again.") from error
        if found.version != VERSION:
            raise LakeDamaged(f"{place} was published by another version of the workbench: publish to another place.")
        return found


def noted(table: PublishedTable, known: Known, *, rows: int, files: tuple[File, ...]) -> PublishedTable:
    """Return a table with what is known of its payloads and what was written."""
    seen = tuple(SeenPath(path, tuple(sorted(kinds)), known.keys.get(path, 0)) for path, kinds in known.kinds.items())
    return PublishedTable(table.name, table.kind, table.source, rows, table.columns, files, table.layout, seen)


def by_source(tables: tuple[PublishedTable, ...]) -> Mapping[tuple[TableKind, str], PublishedTable]:
    """Return tables by kind and source."""
    return {(table.kind, table.source): table for table in tables}
