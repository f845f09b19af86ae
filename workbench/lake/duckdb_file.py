"""Exports a lake to one DuckDB file, for use elsewhere."""

from __future__ import annotations

from pathlib import Path

import duckdb

from workbench.errors import LakeError
from workbench.events import EVENT_SCHEMA
from workbench.lake.aside import built_aside
from workbench.lake.database import connect
from workbench.lake.files.format import in_log_order
from workbench.lake.files.location import translated
from workbench.lake.info import read_info
from workbench.lake.reading.query import query_error
from workbench.lake.reading.snapshot import Snapshot


def write_duckdb(snapshot: Snapshot, file: Path) -> None:
    """Write a snapshot into a DuckDB file: table ``events`` in log order, table ``lake`` of one row. Replaces the file atomically."""
    if file.is_dir():
        raise LakeError(f"{file} is a directory: name a file to write.")
    with translated(str(file)):
        file.parent.mkdir(parents=True, exist_ok=True)
        with built_aside(file) as building:
            _build(snapshot, building)


def _build(snapshot: Snapshot, file: Path) -> None:
    try:
        try:
            opened = connect(file)
        except duckdb.Error as error:
            raise LakeError(f"The DuckDB file cannot be written in {file.parent}: {str(error).splitlines()[0]}") from error
        with opened as connection:
            connection.execute(f"CREATE TABLE events AS {snapshot.queries.select(connection, ())}")
            # Epochs follow each other in log order, so sorting one at a time is enough and needs the memory of one.
            for epoch in in_log_order(snapshot.files):
                snapshot.queries.checks.verify(epoch, columns=EVENT_SCHEMA.names)
                rows = snapshot.queries.select(connection, epoch)
                connection.execute(f"INSERT INTO events SELECT * FROM ({rows}) ORDER BY position, prepare_position")
            info = read_info(snapshot)
            row = (
                info.path,
                info.version,
                info.store.address,
                str(info.selection),
                info.events,
                info.last_position,
                info.complete_until,
            )
            connection.execute(
                "CREATE TABLE lake (path VARCHAR, version BIGINT, store VARCHAR, selection VARCHAR, events BIGINT, "
                "last_position BIGINT, complete_until TIMESTAMP WITH TIME ZONE)"
            )
            connection.execute("INSERT INTO lake VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    except duckdb.Error as error:
        raise query_error(error, place=snapshot.place, files=snapshot.files) from error
