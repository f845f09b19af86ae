"""DuckDB's part of a publication: splits the events of a timeline by type and writes typed columns, as files or tables.

The events are read once, a million at a time. For each portion and type, one ``json_extract`` with all of the type's paths extracts the
columns, which are staged as Parquet. Everything that is published is made from the staged files.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import duckdb
import polars as pl
import pyarrow as pa
from duckdb.func import SPECIAL

from workbench.errors import LakeBusy, LakeDamaged, LakeError, StorageFull, UsageError
from workbench.events import FORMULA
from workbench.lake.aside import built_aside
from workbench.lake.database import connect, literal_path
from workbench.lake.files.format import DataFile
from workbench.lake.files.location import translated, translation
from workbench.lake.json_paths import is_reachable, json_paths
from workbench.lake.reading.event_filter import EventFilter, identifier, quoted
from workbench.lake.reading.query import query_error
from workbench.publication.exact_texts import FUNCTION as EXACT_TEXT
from workbench.publication.exact_texts import exact_columns, exact_text
from workbench.timeline import Timeline

FileFormat = Literal["parquet", "csv", "arrow"]

PORTION = 1_000_000
"""The approximate number of events held at once; a larger file is held completely, on disk if necessary."""
SMALL = 16_384
"""If the staged files of a table have fewer rows than this on average, they are merged."""

NOTES = "workbench_published"
"""The table of a DuckDB file that holds the catalogue."""

_ROWS_OF_A_BATCH = 65_536
_PARQUET = "(FORMAT parquet, DICTIONARY_SIZE_LIMIT 5000)"
"""A larger dictionary costs more time than the space it saves is worth."""
_TIMES = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True)
class TypedColumn:
    """A column for a path in the payload: the keys of the path, the column's name and its SQL type."""

    path: tuple[str, ...]
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class TableLayout:
    """The columns of one event type's table.

    Attributes
    ----------
    events
        Those of the event, as the lake has them.
    payload
        Whether the payload stands in a column of its own, as recorded: never, where it is no object, or always.
    payload_bytes
        Whether there is a column for payloads that are no JSON.
    guarded
        Whether there are payloads of which DuckDB cannot extract anything.
    """

    type: str
    events: tuple[str, ...]
    columns: tuple[TypedColumn, ...]
    payload: Literal["never", "others", "always"] = "never"
    payload_bytes: bool = False
    guarded: bool = False


def long_places(timeline: Timeline, type_: str, paths: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return those of some places of a type where an integer does not fit 64 bits."""
    asked = [path for path in paths if is_reachable(path)]
    if not asked:
        return []
    tests = ", ".join(
        f"bool_or(regexp_full_match(x[{at}], '-?[0-9]+') AND TRY_CAST(x[{at}] AS BIGINT) IS NULL)" for at in range(1, len(asked) + 1)
    )
    relation = timeline.sql(
        f"SELECT {tests} FROM (SELECT TRY(json_extract(data, {json_paths(asked)})) AS x FROM events "
        f"WHERE type = {quoted(type_)} AND regexp_matches(data, '[0-9]{{19}}'))"
    )
    [found] = relation.fetchall()
    return [path for path, is_long in zip(asked, found, strict=True) if is_long]


@dataclass(slots=True)
class Staged:
    """What was staged of one table."""

    files: list[tuple[Path, int]] = field(default_factory=list)
    """With the number of rows in each."""

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(rows for _, rows in self.files)


class Press:
    """A separate database that makes tables, and a folder that stages them; closing removes both."""

    def __init__(self, folder: Path, *, place: str, guard_formulas: bool = False) -> None:
        self._folder = folder
        self._guard_formulas = guard_formulas
        self._place = place
        self._connection = connect(spill=folder / "spilt")
        text = self._connection.type("VARCHAR")
        self._connection.create_function(EXACT_TEXT, exact_text, [text, text], text, null_handling=SPECIAL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def stage_events(self, timeline: Timeline, layouts: Iterable[TableLayout]) -> dict[str, Staged]:
        """Stage the timeline's events of some types, each with its columns; rows in the order of the lake's files."""
        wanted = {layout.type: layout for layout in layouts}
        found = {name: Staged() for name in wanted}
        if not wanted:
            return found
        payload = ["data", *(["data_bytes"] if any(layout.payload_bytes for layout in wanted.values()) else [])]
        columns = list(dict.fromkeys([*(name for layout in wanted.values() for name in layout.events), *payload]))
        with self._translated(timeline):
            self._connection.execute("DROP TABLE IF EXISTS events_0")
            self._connection.execute("DROP TABLE IF EXISTS events_1")
            self._connection.register("names", pa.table({"type": pa.array(sorted(wanted), pa.string())}))
            self._connection.execute("CREATE OR REPLACE TYPE event_type AS ENUM (SELECT type FROM names)")
            chosen = ", ".join(columns)
            # Several types at once, each in its own thread, which preserves the order of rows; meanwhile the next portion is read.
            staged: list[tuple[str, int, Future[Path]]] = []
            with self._single_threads(), ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="stage") as beside:
                for number, rows in enumerate(self._portions(timeline, columns)):
                    table = f"events_{number % 2}"
                    self._connection.execute(
                        f"CREATE OR REPLACE TABLE {table} AS SELECT {chosen}, TRY_CAST(type AS event_type) AS type FROM ({rows})"
                    )
                    counts = self._connection.execute(
                        f"SELECT type::VARCHAR, count(*) FROM {table} WHERE type IS NOT NULL GROUP BY 1 ORDER BY 1"
                    ).fetchall()
                    for _, _, file in staged[-len(wanted) :]:
                        file.result()  # before its table is made anew
                    staged += [
                        (name, count, beside.submit(self._copied, _select(wanted[name], table), "parquet")) for name, count in counts
                    ]
            for name, count, file in staged:
                found[name].files.append((file.result(), count))
        return found

    @contextmanager
    def _single_threads(self) -> Iterator[None]:
        self._connection.execute("SET threads = 1")
        try:
            yield
        finally:
            self._connection.execute("RESET threads")

    def _portions(self, timeline: Timeline, columns: Sequence[str]) -> Iterator[str]:
        """Yield queries of the events, portion by portion."""
        snapshot = timeline.log
        if not timeline.edits and not timeline.visible_only and not timeline.follows:
            conditions = EventFilter.of(timeline, rule=snapshot.rule)
            for files in _together(conditions.files(snapshot.files)):
                snapshot.queries.checks.verify(files, columns=(*columns, "type"), conditions=conditions)
                yield snapshot.queries.select(self._connection, files, conditions=conditions.unproven(files))
            return
        reader = timeline.sql(f"SELECT {', '.join(columns)}, type FROM events").to_arrow_reader(_ROWS_OF_A_BATCH)
        for portion in _portions(reader):
            self._connection.register("portion", portion)
            yield "SELECT * FROM portion"

    def stage_frame(self, frame: pl.DataFrame) -> Staged:
        """Stage a frame."""
        file = self._aside("parquet")
        with self._translated():
            frame.write_parquet(file)
        return Staged([(file, frame.height)])

    def write(self, staged: Staged, *, format: FileFormat) -> list[tuple[Path, int]]:  # noqa: A002  # the user's own word
        """Return files of a format with what was staged of a table, and their rows; several for large Parquet tables."""
        if format == "parquet" and (len(staged.files) == 1 or staged.rows > SMALL * len(staged.files)):
            return staged.files
        if format == "parquet":
            file = self._copied(_rows(staged), "parquet")
        elif format == "csv":
            # DuckDB writes an empty text in quotes, and null as nothing.
            file = self._copied(self._guarded(_rows(staged)), "csv", f"(FORMAT csv, HEADER, TIMESTAMPFORMAT '{_TIMES}')")
        else:
            file = self._aside("arrow")
            with self._translated():
                reader = self._connection.sql(_rows(staged)).to_arrow_reader(_ROWS_OF_A_BATCH)
                with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, reader.schema) as writer:
                    for batch in reader:
                        writer.write_batch(batch)
        return [(file, staged.rows)]

    def _copied(self, select: str, suffix: str, options: str = _PARQUET) -> Path:
        file = self._aside(suffix)
        with self._translated(), self._connection.cursor() as connection:
            connection.execute(f"COPY ({select}) TO {quoted(str(file))} {options}")
        return file

    def _guarded(self, select: str) -> str:
        """Return the SQL of rows for CSV; with ``guard_formulas``, no text looks like a formula."""
        if not self._guard_formulas:
            return select
        columns = []
        for name, type_ in self._connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE {select})").fetchall():
            value = identifier(name)
            if type_ == "VARCHAR" or type_.startswith("ENUM"):
                text = f"CAST({value} AS VARCHAR)"
                value = f"CASE WHEN regexp_matches({text}, {quoted(FORMULA)}) THEN {quoted(chr(39))} || {text} ELSE {text} END"
            columns.append(f"{value} AS {identifier(chr(39) + name if re.match(FORMULA, name) else name)}")
        return f"SELECT {', '.join(columns)} FROM ({select})"

    def _aside(self, suffix: str) -> Path:
        return self._folder / f"{secrets.token_hex(8)}.{suffix}"

    @contextmanager
    def _translated(self, timeline: Timeline | None = None) -> Iterator[None]:
        with translated(self._place):
            try:
                yield
            except duckdb.Error as error:
                full = translation(error, self._place)
                if isinstance(full, StorageFull):
                    raise full from error
                if timeline is not None:
                    raise query_error(error, place=timeline.log.place, files=timeline.log.files) from error
                raise LakeError(f"{self._place} cannot be written: {str(error).splitlines()[0]}") from error


class DatabaseFile:
    """A DuckDB file with published tables; ``commit`` changes it atomically."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def notes(self) -> str | None:
        """Return its catalogue as text; None if the file does not exist.

        Raises
        ------
        UsageError
            It is another file.
        LakeBusy
            Another program has it open.
        """
        if not self._file.exists():
            return None
        with _opened(self._file, read_only=True) as connection:
            try:
                rows = connection.execute(f"SELECT notes FROM {NOTES}").fetchall()
            except duckdb.CatalogException:
                raise UsageError(f"{self._file} is a DuckDB file that was not published here: name another file.") from None
        if len(rows) != 1:
            raise LakeDamaged(f"{self._file} does not say what it holds: remove it, and publish again.")
        return str(rows[0][0])

    def commit(self, notes: str, *, added: Mapping[str, Staged], anew: Mapping[str, Staged], dropped: Iterable[str]) -> None:
        """Append to tables, rewrite tables and drop tables in one transaction; a new file is built under a temporary name."""
        place = nullcontext(self._file) if self._file.exists() else built_aside(self._file)
        with place as building, _opened(building) as connection, translated(str(self._file)):
            connection.execute("BEGIN")
            connection.execute(f"CREATE TABLE IF NOT EXISTS {NOTES} (notes VARCHAR)")
            for name in dropped:
                connection.execute(f"DROP TABLE IF EXISTS {identifier(name)}")
            for name, staged in anew.items():
                connection.execute(f"CREATE OR REPLACE TABLE {identifier(name)} AS {_rows(staged)}")
            for name, staged in added.items():
                connection.execute(f"INSERT INTO {identifier(name)} {_rows(staged)}")
            connection.execute(f"DELETE FROM {NOTES}")
            connection.execute(f"INSERT INTO {NOTES} VALUES (?)", [notes])
            connection.execute("COMMIT")


@contextmanager
def _opened(file: Path, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        with connect(file, read_only=read_only) as connection:
            yield connection
    except duckdb.IOException as error:
        full = translation(error, str(file))
        if isinstance(full, StorageFull):
            raise full from error
        text = str(error).splitlines()[0]
        if "lock" in text:
            raise LakeBusy(f"{file} is open in another program: close it there, and publish again.") from error
        raise LakeError(f"{file} is no DuckDB file that can be opened, or cannot be written: {text}") from error
    except duckdb.Error as error:
        if isinstance(error, duckdb.CatalogException):
            raise
        raise LakeError(f"{file} cannot be written: {str(error).splitlines()[0]}") from error


def _select(layout: TableLayout, table: str) -> str:
    """Return the query of a type's table over the events of a portion."""
    columns = list(layout.events)
    kinds, exact = exact_columns([column.path for column in layout.columns if column.type == "VARCHAR"])
    exactly = iter(exact)
    for at, column in enumerate(layout.columns, 1):
        value = f"coalesce({next(exactly)}, x[{at}])" if column.type == "VARCHAR" else f"x[{at}]::{column.type}"
        columns.append(f"{value} AS {identifier(column.name)}")
    if layout.payload == "always":
        columns.append("data AS payload")
    elif layout.payload == "others":
        columns.append("CASE WHEN is_object THEN NULL ELSE data END AS payload")
    if layout.payload_bytes:
        columns.append("nullif(data_bytes, ''::BLOB) AS payload_bytes")
    taken, is_object = f"json_extract_string(data, {json_paths(one.path for one in layout.columns)})", "json_type(data) = 'OBJECT'"
    if layout.guarded:
        taken, is_object = f"TRY({taken})", f"coalesce(TRY({is_object}), false)"
        kinds = f"TRY({kinds.removesuffix(' AS kinds')}) AS kinds"
    given = [f"{taken} AS x"] if layout.columns else []
    given += [kinds] if exact else []
    given += [f"{is_object} AS is_object"] if layout.payload == "others" else []
    inner = ", ".join(["*", *given])
    return f"SELECT {', '.join(columns)} FROM (SELECT {inner} FROM {table} WHERE type = {quoted(layout.type)})"


def _rows(staged: Staged) -> str:
    return f"SELECT * FROM read_parquet([{', '.join(quoted(literal_path(file)) for file, _ in staged.files)}], hive_partitioning = false)"


def _together(files: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    """Put small neighbours together."""
    held: list[DataFile] = []
    for file in files:
        if held and sum(one.rows for one in held) + file.rows > PORTION:
            yield held
            held = []
        held.append(file)
    if held:
        yield held


def _portions(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        if rows >= PORTION:
            yield pa.Table.from_batches(held)
            held, rows = [], 0
    if held:
        yield pa.Table.from_batches(held)
