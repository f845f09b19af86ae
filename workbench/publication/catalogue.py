"""What a publication says of itself: of which lake it is, up to which event, and what is known of each table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from workbench.errors import LakeDamaged
from workbench.payloads.shapes import Known
from workbench.publication.typed_tables import TableLayout

VERSION = 1
"""Raised when an older workbench could misread what a newer one publishes."""

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
    """What was seen at one place of a type's payloads: see ``replay.shapes.Known``."""

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
        Of the events of a type; None and empty of a state or result.
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
        """What is known of the payloads, to be added to."""
        return Known({one.path: set(one.kinds) for one in self.seen}, {one.path: one.keys for one in self.seen if one.keys})

    @property
    def named(self) -> dict[tuple[str, ...], str]:
        """The names of the payload's places."""
        return {} if self.layout is None else {column.path: column.name for column in self.layout.columns}


@dataclass(frozen=True, slots=True)
class Notes:
    """What a publication says of itself.

    Attributes
    ----------
    lake
        The id of the lake's table.
    what
        Which events are published.
    goes_on
        Whether a later run adds to it; otherwise all is published anew.
    position, event_id, events
        The last event of the lake's log up to the end of the timeline, and how many there are up to it.
    generation
        How often was published.
    guard_formulas
        Whether texts in CSV that a spreadsheet may take for formulas have ``'`` before them.
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
            They are none, or a newer workbench wrote them.
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
    """Return tables by what they are of."""
    return {(table.kind, table.source): table for table in tables}
