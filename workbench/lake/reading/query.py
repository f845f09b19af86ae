"""Runs DuckDB over the files of a lake: one in-memory database, and for each query a connection with its own view."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.errors import LakeDamaged, LakeError, QueryError, StorageFull, WorkbenchError
from workbench.events import EVENT_SCHEMA, CategoryRule
from workbench.host.stopping import interruptible
from workbench.lake.database import MEMORY_VARIABLE, SPILL_VARIABLE, Database, QueryLimits, literal_path
from workbench.lake.files.checks import Checks
from workbench.lake.files.format import DataFile
from workbench.lake.files.location import Location, diagnosis, translated, translation
from workbench.lake.forks.overlay import KEY, Layer
from workbench.lake.reading.event_filter import LAST_DASH, EventFilter, identifier, quoted
from workbench.lake.reading.statement import ensure_one_select
from workbench.server_streams import EXPRESSION

VIEW = "events"
_HIDDEN, _SOURCE = "_workbench_hidden", "_workbench_source"
_GONE, _ADDED = "_workbench_gone", "_workbench_added"

_DUCKDB_TYPES = {
    pa.int64(): "BIGINT",
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
}


class Queries:
    """Runs SQL over files of one lake. The database opens with the first query and holds no data."""

    def __init__(self, place: Location, *, rule: CategoryRule, limits: QueryLimits | None = None) -> None:
        self._place = place
        self._rule = rule
        self._database = Database(limits or QueryLimits())
        self.checks = Checks(place)
        """Verifies the files before DuckDB, which does not verify them, reads them."""

    def relation(
        self,
        sql: str,
        *,
        files: Sequence[DataFile],
        conditions: EventFilter | None = None,
        hidden: pl.DataFrame | None = None,
        layer: Layer | None = None,
        tables: Mapping[str, pa.Table] | None = None,
    ) -> duckdb.DuckDBPyRelation:
        """Return the query as a lazy relation over a view ``events`` of these files, and over ``tables`` by name.

        With a layer, the view is that of a fork, with the columns of one.

        Raises
        ------
        QueryError
            DuckDB cannot make sense of the query.
        LakeDamaged
            A file is missing or cannot be read.
        """
        connection = self._database.cursor()
        with self.translated(files):
            for name, table in (tables or {}).items():
                connection.register(name, table)
            self.checks.verify(files, columns=(), conditions=conditions)
            view = self.select(connection, files, conditions=conditions, hidden=hidden, layer=layer)
            connection.execute(f"CREATE TEMP VIEW {VIEW} AS {view}")
            relation = connection.sql(sql)
            self.checks.verify(files, columns=_columns_read(connection, relation), conditions=conditions)
        return relation

    def asked(
        self,
        sql: str,
        *,
        files: Sequence[DataFile],
        conditions: EventFilter | None = None,
        hidden: pl.DataFrame | None = None,
        layer: Layer | None = None,
        tables: Mapping[str, pa.Table] | None = None,
    ) -> duckdb.DuckDBPyRelation:
        """Return a user's query as a lazy relation, as ``relation`` does; nothing runs of what is not one SELECT.

        Columns of types that DuckDB hands to Arrow as other values become text: unsigned integers of 128 bits, BIGNUM, BIT, and times with
        an offset. A signed integer of more than 38 digits is an error when it is read.

        Raises
        ------
        QueryError
            It is refused by `ensure_one_select`, or DuckDB cannot make sense of it, or has such types within a list or a struct.
        """
        connection = self._database.cursor()
        with self.translated(files, sql=sql):
            ensure_one_select(connection, sql)
            relation = self.relation(sql, files=files, conditions=conditions, hidden=hidden, layer=layer, tables=tables)
            return _exact(relation)

    def value(
        self,
        sql: str,
        *,
        files: Sequence[DataFile],
        conditions: EventFilter | None = None,
        hidden: pl.DataFrame | None = None,
        layer: Layer | None = None,
    ) -> int:
        """Return the single whole number that a query returns."""
        relation = self.relation(sql, files=files, conditions=conditions, hidden=hidden, layer=layer)
        with self.translated(files):
            ((value,),) = relation.fetchall()
        return int(value)

    def row_groups(self, file: DataFile) -> list[tuple[str, int]]:
        """Return the least stream, from the statistics, and the number of rows of each row group of a file."""
        with translated(self._place.path):
            metadata = pq.read_metadata(file.path, filesystem=self._place.filesystem())
        column = metadata.schema.names.index("stream")
        groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
        found = ((group.column(column).statistics, group.num_rows) for group in groups)
        return [(statistics.min, rows) for statistics, rows in found if statistics is not None and statistics.has_min_max]

    @contextmanager
    def translated(self, files: Sequence[DataFile], *, sql: str | None = None) -> Iterator[None]:
        """Translate DuckDB's errors to the workbench's; after a read error, find the damaged file.

        Ctrl-C within the block stops the queries of this lake. ``sql`` is the running query, if known.
        """
        try:
            with interruptible(self._database.interrupt, abandon=self._database.abandon):
                yield
        except (duckdb.Error, UnicodeDecodeError) as error:
            exceeded = self._exceeded(error, sql)
            if exceeded is not None:
                raise exceeded from error
            raise query_error(as_duckdb_error(error), place=self._place, files=files) from error

    def _exceeded(self, error: Exception, sql: str | None) -> LakeError | None:
        """Return the error for a query that exceeds a limit; None for any other error."""
        text = str(error)
        query = "A query" if sql is None else f"The query {shortened(sql)!r}"
        advice = "Choose fewer columns or a shorter history, or raise the limit"
        if isinstance(error, duckdb.OutOfMemoryException):
            spill = self._database.setting("max_temp_directory_size")
            memory = self._database.setting("memory_limit")
            if "max_temp_directory_size" in text:
                what = f"{query} writes more than {spill} of temporary files, beside {memory} of memory"
                return LakeError(f"{what}. {advice} (--spill, {SPILL_VARIABLE}).")
            return LakeError(f"{query} needs more memory than {memory}. {advice} (--memory, {MEMORY_VARIABLE}).")
        folder = self._database.folder
        if (
            isinstance(error, duckdb.IOException)
            and folder is not None
            and folder in text
            and translation(error, folder).__class__ is StorageFull
        ):
            return StorageFull(f"No room is left in {folder} for the temporary files of a query: free some, or set TMPDIR to another disk.")
        return None

    def select(
        self,
        connection: duckdb.DuckDBPyConnection,
        files: Sequence[DataFile],
        *,
        conditions: EventFilter | None = None,
        hidden: pl.DataFrame | None = None,
        layer: Layer | None = None,
    ) -> str:
        """Return the SQL, for one connection, of the rows in ``files`` that fulfil the conditions and are not hidden; under a layer, if
        there is one, whose rows must have been narrowed by the same conditions."""
        columns = "*" if self._rule == "first" else f"* REPLACE (regexp_replace(stream, {quoted(LAST_DASH)}, '') AS category)"
        sql = f"SELECT {columns} FROM {self._source(connection, files)}"
        if conditions is not None:
            sql = f"SELECT * FROM ({sql}) WHERE {conditions.sql()}"
        drops = () if layer is None else layer.drops(files, system=conditions is None or conditions.system)
        if layer is not None and not layer.settled:
            sql = _under(connection, sql, layer, drops=drops)
        if hidden is not None:
            connection.register(_SOURCE, hidden.to_arrow())
            connection.execute(f"CREATE TEMP TABLE {_HIDDEN} AS SELECT * FROM {_SOURCE}")
            connection.unregister(_SOURCE)
            sql = (
                f"SELECT e.* FROM ({sql}) e LEFT JOIN {_HIDDEN} h ON e.stream = h.hidden_stream WHERE h.hidden_stream IS NULL "
                "OR (NOT h.gone AND e.revision >= h.least_revision AND coalesce(e.recorded_at >= h.least_time, true))"
            )
        if layer is not None and layer.settled:
            sql = f"SELECT * EXCLUDE (sequence, origin) FROM ({_under(connection, sql, layer, drops=drops)})"
        return sql

    def _source(self, connection: duckdb.DuckDBPyConnection, files: Sequence[DataFile]) -> str:
        if not files:
            nothing = ", ".join(f"NULL::{_DUCKDB_TYPES[field.type]} AS {field.name}" for field in EVENT_SCHEMA)
            return f"(SELECT {nothing} WHERE false)"
        if self._place.directory is None:
            # DuckDB would download an extension to read object stores; deltalake's file system is already available.
            connection.register(_SOURCE, self._place.dataset([file.path for file in files]))
            return _SOURCE
        paths = ", ".join(quoted(literal_path(self._place.file_url(file.path))) for file in files)
        return f"read_parquet([{paths}], hive_partitioning = false)"


def _under(connection: duckdb.DuckDBPyConnection, sql: str, layer: Layer, *, drops: Sequence[EventFilter]) -> str:
    """Return SQL that applies the overlay of a fork to recorded events."""
    if drops:
        sql = f"SELECT * FROM ({sql}) WHERE " + " AND ".join(f"NOT ({one.sql()})" for one in drops)
    if layer.gone.height:
        connection.register(_GONE, layer.gone.to_arrow())
        sql = f"SELECT r.* FROM ({sql}) r ANTI JOIN {_GONE} g ON " + " AND ".join(f"r.{name} = g.{name}" for name in KEY)
    sql = f"SELECT *, 0::BIGINT AS sequence, 'recorded' AS origin FROM ({sql})"
    if layer.added.height:
        connection.register(_ADDED, layer.added.to_arrow())
        sql = f"{sql} UNION ALL SELECT * FROM {_ADDED}"
    return sql


def shortened(sql: str) -> str:
    """Return the beginning of a query on one line."""
    line = " ".join(sql.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _exact(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Return a relation whose values convert to Arrow and Polars without loss."""
    types = [str(one) for one in relation.types]
    for name, one in zip(relation.columns, types, strict=True):
        lossy = _LOSSY.search(_QUOTED.sub("", one))
        if lossy is not None and one not in _AS_TEXT:
            raise QueryError(f"The column {name!r} holds values of the type {lossy[0]} within another: cast it to VARCHAR.")
    if not {*_AS_TEXT, "HUGEINT"} & {*types}:
        return relation
    # By their numbers, since columns may share a name.
    columns = []
    for number, (name, one) in enumerate(zip(relation.columns, types, strict=True), 1):
        column = f"#{number}::VARCHAR" if one in _AS_TEXT else _WHOLE.format(f"#{number}") if one == "HUGEINT" else f"#{number}"
        columns.append(f"{column} AS {identifier(name)}")
    return relation.project(", ".join(columns))


def _columns_read(connection: duckdb.DuckDBPyConnection, relation: duckdb.DuckDBPyRelation) -> list[str]:
    """Return the columns of events that a relation reads: those that DuckDB's plan names, in projections and filters; all if it tells
    no plan."""
    try:
        ((_, plan),) = connection.execute(f"EXPLAIN (FORMAT json) {relation.sql_query()}").fetchall()
    except (duckdb.Error, ValueError):
        return list(EVENT_SCHEMA.names)
    # The expression by which system events are left out has words in it that are names of columns.
    words = set(_WORD.findall(plan.replace(_EXPRESSION_IN_JSON, "")))
    return [name for name in EVENT_SCHEMA.names if name in words]


_SHOWN = 200
_AS_TEXT = ("UHUGEINT", "BIGNUM", "BIT", "TIME WITH TIME ZONE")
_LOSSY = re.compile(r"\b(" + "|".join(_AS_TEXT) + r")\b")
_QUOTED = re.compile(r'"[^"]*"')
_WHOLE = (
    "CASE WHEN {0} IS NULL OR {0} BETWEEN -99999999999999999999999999999999999999 AND 99999999999999999999999999999999999999 THEN {0} "
    "ELSE error('A whole number has more than 38 digits, which fits into no table: cast it to VARCHAR') END"
)
_EXPRESSION_IN_JSON = json.dumps(EXPRESSION)[1:-1]
_WORD = re.compile(r"\w+")
_UNREADABLE = (duckdb.IOException, duckdb.SerializationException, duckdb.HTTPException, duckdb.InvalidInputException)
_MISSING_COLUMN = re.compile(r'Referenced column "(?P<name>[^"]*)" not found|does not have a column named "(?P<other>[^"]*)"')
_MISSING_TABLE = re.compile(r"Table with name (?P<name>\S+) does not exist")
_KIND = re.compile(r"^[A-Za-z -]+ (Error|Exception): ")


def as_duckdb_error(error: duckdb.Error | UnicodeDecodeError) -> duckdb.Error:
    """Return DuckDB's error. It truncates a quoted payload by bytes; Python then reports half a character as a UnicodeDecodeError."""
    return error if isinstance(error, duckdb.Error) else duckdb.InvalidInputException(error.object.decode(errors="replace"))


def query_error(error: duckdb.Error, *, place: Location, files: Sequence[DataFile]) -> WorkbenchError:
    """Translate an error of DuckDB."""
    # Damaged pages come as the bare base class, with the text of the Thrift library.
    if isinstance(error, _UNREADABLE) or type(error) is duckdb.Error:
        damage = diagnosis(place, files)
        if damage is not None:
            return damage
    if isinstance(translation(error, place.path), StorageFull):
        return translation(error, place.path)
    text = _KIND.sub("", str(error).strip().splitlines()[0]).rstrip(".!: ")
    if "TProtocolException" in text:  # a footer that only DuckDB cannot read
        return LakeDamaged(f"A file of the lake {place.path} is damaged: {text}. Restore it, or export into a new directory.")
    if isinstance(error, duckdb.OutOfMemoryException):
        return LakeError(f"DuckDB needs more memory than there is: {text}.")
    column = _MISSING_COLUMN.search(text)
    if column is not None:
        known = ", ".join(EVENT_SCHEMA.names)
        return QueryError(f"There is no column {column['name'] or column['other']!r}; the columns of {VIEW} are {known}.")
    table = _MISSING_TABLE.search(text)
    if table is not None:
        return QueryError(f"There is no table {table['name']!r}: the view to ask is called {VIEW}.")
    return QueryError(f"DuckDB refuses the query: {text}.")
