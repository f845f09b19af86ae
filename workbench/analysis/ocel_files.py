"""Writes the two file formats of OCEL 2.0, SQLite and JSON, row by row."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import orjson

from workbench.errors import WorkbenchError

Kind = Literal["string", "integer", "float", "boolean"]
Relations = tuple[tuple[str, str], ...]
"""Ids of related objects, and the qualifier of each relation."""

_SQL_TYPES: Mapping[Kind, str] = {"string": "TEXT", "integer": "INTEGER", "float": "REAL", "boolean": "BOOLEAN"}
_AT_ONCE = 5_000
_TABLES = """
CREATE TABLE event_map_type (ocel_type TEXT PRIMARY KEY, ocel_type_map TEXT);
CREATE TABLE object_map_type (ocel_type TEXT PRIMARY KEY, ocel_type_map TEXT);
CREATE TABLE event (ocel_id TEXT PRIMARY KEY, ocel_type TEXT, FOREIGN KEY (ocel_type) REFERENCES event_map_type (ocel_type));
CREATE TABLE object (ocel_id TEXT PRIMARY KEY, ocel_type TEXT, FOREIGN KEY (ocel_type) REFERENCES object_map_type (ocel_type));
CREATE TABLE event_object (
    ocel_event_id TEXT, ocel_object_id TEXT, ocel_qualifier TEXT,
    PRIMARY KEY (ocel_event_id, ocel_object_id, ocel_qualifier),
    FOREIGN KEY (ocel_event_id) REFERENCES event (ocel_id), FOREIGN KEY (ocel_object_id) REFERENCES object (ocel_id)
);
CREATE TABLE object_object (
    ocel_source_id TEXT, ocel_target_id TEXT, ocel_qualifier TEXT,
    PRIMARY KEY (ocel_source_id, ocel_target_id, ocel_qualifier),
    FOREIGN KEY (ocel_source_id) REFERENCES object (ocel_id), FOREIGN KEY (ocel_target_id) REFERENCES object (ocel_id)
);
"""


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a type of events or objects."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of an event type: those that all types have, and the others by the names of payload members."""

    common: tuple[Attribute, ...]
    members: Mapping[str, Attribute]

    @property
    def all(self) -> tuple[Attribute, ...]:
        """All attributes, in the order of an event's values."""
        return (*self.common, *self.members.values())


@dataclass(frozen=True, slots=True)
class LogObject:
    """An object, the values of its attributes from ``time`` on, and the objects related to it."""

    id: str
    type: str
    time: str
    values: tuple[Any, ...]
    relations: Relations


@dataclass(frozen=True, slots=True)
class LogEvent:
    """An event, the values of its attributes, and the objects related to it."""

    id: str
    type: str
    time: str
    values: tuple[Any, ...]
    relations: Relations


@dataclass(frozen=True, slots=True)
class OcelLog:
    """The log to write; objects and events are iterators that are read while writing."""

    event_types: Mapping[str, Attributes]
    object_types: Mapping[str, tuple[Attribute, ...]]
    objects: Callable[[], Iterator[LogObject]]
    events: Callable[[], Iterator[LogEvent]]


@dataclass(slots=True)
class Counted:
    """The numbers of what was written."""

    events: int = 0
    objects: int = 0
    relations: int = 0
    object_relations: int = 0


def write_sqlite(log: OcelLog, file: Path) -> Counted:
    """Write a log as a SQLite database with the tables of the standard."""
    counted = Counted()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        try:
            # No journal is needed: the file is read only when complete, and discarded after a crash.
            connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;" + _TABLES)
            types = {name: attributes.all for name, attributes in log.event_types.items()}
            events = _typed_tables(connection, "event", types, own=("ocel_time TIMESTAMP",))
            objects = _typed_tables(connection, "object", log.object_types, own=("ocel_time TIMESTAMP", "ocel_changed_field TEXT"))
            for some_objects in _batches(log.objects()):
                _insert(connection, "object", [(one.id, one.type) for one in some_objects])
                _insert_by_type(connection, objects, [(one.type, (one.id, one.time, None, *one.values)) for one in some_objects])
                related = [(one.id, other, how) for one in some_objects for other, how in one.relations]
                _insert(connection, "object_object", related)
                counted.objects += len(some_objects)
                counted.object_relations += len(related)
            for some_events in _batches(log.events()):
                _insert(connection, "event", [(one.id, one.type) for one in some_events])
                _insert_by_type(connection, events, [(one.type, (one.id, one.time, *one.values)) for one in some_events])
                related = [(one.id, other, how) for one in some_events for other, how in one.relations]
                _insert(connection, "event_object", related)
                counted.events += len(some_events)
                counted.relations += len(related)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise WorkbenchError(f"The log cannot be written as SQLite: {error}. The incomplete file was removed.") from error
    return counted


def write_json(log: OcelLog, file: Path) -> Counted:
    """Write a log as JSON, one object or event per line."""
    counted = Counted()
    event_types = {name: attributes.all for name, attributes in log.event_types.items()}
    with file.open("wb") as out:
        out.write(b'{"objectTypes":' + _types(log.object_types) + b',\n"eventTypes":' + _types(event_types) + b',\n"objects":[')
        for number, thing in enumerate(log.objects()):
            held = zip(log.object_types[thing.type], thing.values, strict=True)
            attributes = [{"name": name.name, "time": thing.time, "value": value} for name, value in held if value is not None]
            _line(out, number, {"id": thing.id, "type": thing.type, "attributes": attributes, "relationships": _related(thing.relations)})
            counted.objects += 1
            counted.object_relations += len(thing.relations)
        out.write(b'],\n"events":[')
        for number, one in enumerate(log.events()):
            values = zip(event_types[one.type], one.values, strict=True)
            said = [{"name": name.name, "value": value} for name, value in values if value is not None]
            related = _related(one.relations)
            _line(out, number, {"id": one.id, "type": one.type, "time": one.time, "attributes": said, "relationships": related})
            counted.events += 1
            counted.relations += len(one.relations)
        out.write(b"]}\n")
    return counted


FORMATS: Mapping[str, Callable[[OcelLog, Path], Counted]] = {".sqlite": write_sqlite, ".json": write_json}
"""The writer for each suffix of a file name."""


def _typed_tables(
    connection: sqlite3.Connection, what: str, types: Mapping[str, tuple[Attribute, ...]], *, own: tuple[str, ...]
) -> dict[str, str]:
    """Create a table for each type, and return the insert statement of each."""
    statements: dict[str, str] = {}
    taken = {"object"}  # the standard itself has tables event_object and object_object
    for name, attributes in types.items():
        plain = "".join(letter for letter in name if letter.isalnum()) or "type"
        # Table names ignore case, and shortened names of types may be equal.
        short = next(free for free in (plain, *(f"{plain}{number}" for number in range(2, len(types) + 2))) if free.lower() not in taken)
        taken.add(short.lower())
        connection.execute(f"INSERT INTO {what}_map_type VALUES (?, ?)", (name, short))
        columns = ["ocel_id TEXT", *own, *(f"{_quoted(one.name)} {_SQL_TYPES[one.kind]}" for one in attributes)]
        key = f"FOREIGN KEY (ocel_id) REFERENCES {what} (ocel_id)"
        connection.execute(f"CREATE TABLE {_quoted(f'{what}_{short}')} ({', '.join(columns)}, {key})")
        statements[name] = f"INSERT INTO {_quoted(f'{what}_{short}')} VALUES ({', '.join('?' * len(columns))})"
    return statements


def _insert(connection: sqlite3.Connection, table: str, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def _insert_by_type(connection: sqlite3.Connection, statements: Mapping[str, str], rows: list[tuple[str, tuple[Any, ...]]]) -> None:
    by_type: dict[str, list[tuple[Any, ...]]] = {}
    for name, values in rows:
        by_type.setdefault(name, []).append(values)
    for name, values_of_type in by_type.items():
        connection.executemany(statements[name], values_of_type)


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(rows, _AT_ONCE)):
        yield batch


def _types(types: Mapping[str, Iterable[Attribute]]) -> bytes:
    return orjson.dumps(
        [{"name": name, "attributes": [{"name": one.name, "type": one.kind} for one in attributes]} for name, attributes in types.items()]
    )


def _line(out: IO[bytes], number: int, values: dict[str, Any]) -> None:
    out.write((b"\n" if number == 0 else b",\n") + orjson.dumps(values))


def _related(relations: Relations) -> list[dict[str, str]]:
    return [{"objectId": other, "qualifier": how} for other, how in relations]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
