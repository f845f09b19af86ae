"""A flipped bit is an error that names the file, in both engines, and never a wrong number."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lake.histories import Row, checkpoint_at, lake_of, open_writer, row, rows_of, table, write
from workbench.errors import LakeDamaged
from workbench.events import EVENT_SCHEMA
from workbench.lake import Lake, open_lake, pages, runs
from workbench.lake.parquet import Malformed, check_pages, read_footer
from workbench.lake.query import _columns_read

_RANDOM = random.Random(11)  # for payloads that do not compress, so that many a flipped bit would decompress


def log(events: int) -> list[Row]:
    return [
        row(
            10 * number,
            f"user-{number % 7}",
            revision=number // 7,
            type=f"type{number % 3}",
            data=f'{{"x":"{_RANDOM.randbytes(20).hex()}"}}',
        )
        for number in range(1, events + 1)
    ]


LOG = log(300)


def one_file(path: Path) -> tuple[Lake, Path]:
    lake = lake_of(path, LOG, batch=len(LOG))
    (file,) = lake.files()
    return lake, Path(file)


def flip(file: Path, at: int, *, bits: int = 0x15) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= bits
    file.write_bytes(data)


def flip_page(file: Path, column: str, *, group: int = 0) -> None:
    """Flip bits in the last page of a column."""
    with file.open("rb") as source:
        chunk = read_footer(source)[group].chunks[column]
    flip(file, chunk.start + chunk.size - 3)


def by_polars(lake: Lake) -> object:
    return rows_of(lake.timeline.with_system().events().collect())


def by_duckdb(lake: Lake) -> object:
    with lake.reading():
        return lake.timeline.with_system().sql("select * from events order by position").fetchall()


@pytest.mark.parametrize("read", [by_polars, by_duckdb])
def test_no_flipped_bit_makes_a_wrong_result(tmp_path: Path, read: Callable[[Lake], object]) -> None:
    lake, file = one_file(tmp_path)
    whole, expected = file.read_bytes(), read(lake)
    footer = pq.read_metadata(file).serialized_size + 8
    chosen = random.Random(7)
    for number in range(40):
        flip(file, chosen.randrange(4, len(whole) - footer), bits=1 << number % 8)
        with pytest.raises(LakeDamaged, match=file.name):
            read(open_lake(tmp_path))
        file.write_bytes(whole)
    assert read(open_lake(tmp_path)) == expected


@pytest.mark.parametrize("column", EVENT_SCHEMA.names)
def test_a_damaged_column_is_met_by_whoever_reads_it_and_by_nobody_else(tmp_path: Path, column: str) -> None:
    _, file = one_file(tmp_path)
    flip_page(file, column)
    lake = open_lake(tmp_path)
    other = "data" if column != "data" else "metadata"
    whole = lake.timeline.with_system()
    if column not in ("position", "prepare_position"):  # by which Polars sorts
        assert whole.events().select(other).collect().height == len(LOG)
    assert len(whole.sql(f"select {other} from events").fetchall()) == len(LOG)
    with pytest.raises(LakeDamaged, match=f"{file.name}.*column {column}"):
        whole.sql(f"select {column} from events")
    with pytest.raises(LakeDamaged, match=f"{file.name}.*column {column}"):
        whole.events().select(column).collect()
    with pytest.raises(LakeDamaged, match=file.name):
        lake.verify()
    with pytest.raises(LakeDamaged, match=file.name):
        lake.write_duckdb(tmp_path / "copy.duckdb")


def test_what_a_filter_reads_is_checked_too(tmp_path: Path) -> None:
    _, file = one_file(tmp_path)
    flip_page(file, "revision")
    timeline = open_lake(tmp_path).timeline
    with pytest.raises(LakeDamaged, match="column revision"):
        timeline.sql("select count(*) from events where revision > 3")
    with pytest.raises(LakeDamaged, match="column revision"):
        timeline.events().filter(pl.col("revision") > 3).select("type").collect()
    with pytest.raises(LakeDamaged, match="column revision"):
        timeline.visible().count()


def test_only_the_row_groups_that_can_hold_what_is_asked_for_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "ROW_GROUP_ROWS", 50)
    _, file = one_file(tmp_path)
    flip_page(file, "data", group=5)
    timeline = open_lake(tmp_path).timeline
    first, last = timeline.streams("user-0"), timeline.streams("user-6")
    assert first.events().collect().height == first.count() == 42
    assert first.sql("select max(data) from events").fetchall() != []
    for question in (lambda: last.events().collect(), lambda: last.sql("select max(data) from events")):
        with pytest.raises(LakeDamaged, match="row group 5"):
            question()


def test_a_page_is_checked_once_for_an_opened_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, _ = one_file(tmp_path)
    checked: list[int] = []
    monkeypatch.setattr(pages, "check_pages", lambda _, *, values: checked.append(values))
    lake.sql("select type from events").fetchall()
    lake.sql("select type from events").fetchall()
    lake.refresh().timeline.events().select("type").collect()
    assert len(checked) == 4  # type and stream, by which system events are left out; position and prepare position, by which Polars sorts
    lake.sql("select data from events").fetchall()
    assert len(checked) == 5
    open_lake(tmp_path).sql("select type from events").fetchall()
    assert len(checked) == 7


def test_a_lake_that_is_whole_is_verified_run_or_epoch(tmp_path: Path) -> None:
    write(tmp_path, LOG, batch=40)
    with open_writer(tmp_path) as writer:
        writer.cluster()
        more = row(100_000, "user-1", revision=900, data=b"\x00")
        writer.append(table([more]), checkpoint_at(more))
    open_lake(tmp_path).verify()


def test_verify_finds_bounds_by_which_readers_would_skip_what_is_there(tmp_path: Path) -> None:
    _, file = one_file(tmp_path)
    whole = file.read_bytes()
    # The greatest stream, as the row group's statistics have it, in the footer: the last of the copies in the file.
    flip(file, whole.rindex(b"user-6") + 5, bits=2)
    with pytest.raises(LakeDamaged, match=rf"{file.name}.*bounds of column stream"):
        open_lake(tmp_path).verify()


def test_verify_finds_a_file_of_another_size_and_one_that_is_missing(tmp_path: Path) -> None:
    lake, file = one_file(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole + b"x")
    with pytest.raises(LakeDamaged, match="was written with"):
        lake.verify()
    file.unlink()
    with pytest.raises(LakeDamaged, match="missing"):
        lake.verify()


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("select type, count(*) from events group by 1", {"type"}),
        ("select a.type from events a join events b using (position) where b.data like '%x%'", {"type", "position", "data"}),
        ("with x as materialized (select revision from events) select * from x", {"revision"}),
        ("select * exclude (data, metadata) from events", set(EVENT_SCHEMA.names) - {"data", "metadata"}),
        ("select * from events order by position desc limit 2", set(EVENT_SCHEMA.names)),
        ("summarize events", set(EVENT_SCHEMA.names)),
        ("select count(*) from (select json_extract(metadata, '$.a') m from events) where m = 1", {"metadata"}),
        ("select 1", set()),
    ],
)
def test_a_plan_tells_what_a_query_reads(tmp_path: Path, sql: str, columns: set[str]) -> None:
    _, file = one_file(tmp_path)
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet('{file}')")
        assert set(_columns_read(connection, connection.sql(sql))) == columns


# -- reading Parquet


def parquet_of(rows: list[Row], *, row_group_size: int) -> bytes:
    sink = io.BytesIO()
    with runs.new_writer(pa.PythonFile(sink)) as writer:
        writer.write_table(table(rows), row_group_size=row_group_size)
    return sink.getvalue()


def test_a_footer_says_what_pyarrow_reads_in_it() -> None:
    file = parquet_of(LOG, row_group_size=64)
    expected = pq.read_metadata(io.BytesIO(file))
    groups = read_footer(io.BytesIO(file))
    assert [group.rows for group in groups] == [expected.row_group(number).num_rows for number in range(expected.num_row_groups)]
    for number, group in enumerate(groups):
        for index, (name, chunk) in enumerate(group.chunks.items()):
            column = expected.row_group(number).column(index)
            assert name == column.path_in_schema
            assert chunk.start == (column.dictionary_page_offset or column.data_page_offset)
            assert (chunk.size, chunk.values) == (column.total_compressed_size, column.num_values)
            check_pages(file[chunk.start : chunk.start + chunk.size], values=chunk.values)
        statistics = expected.row_group(number).column(2).statistics
        stream = group.chunks["stream"]
        assert (stream.least, stream.greatest) == (statistics.min.encode(), statistics.max.encode())


_FILE = parquet_of(LOG[:40], row_group_size=16)


@given(at=st.integers(0, len(_FILE) - 1), bit=st.integers(0, 7), cut=st.integers(0, 30))
@settings(max_examples=300, deadline=None)
def test_damaged_bytes_are_read_or_refused_and_never_worse(at: int, bit: int, cut: int) -> None:
    data = bytearray(_FILE)
    data[at] ^= 1 << bit
    file = bytes(data[: len(data) - (cut if cut < 5 else 0)])
    try:
        for group in read_footer(io.BytesIO(file)):
            for chunk in group.chunks.values():
                check_pages(file[chunk.start : chunk.start + chunk.size], values=chunk.values)
    except Malformed as error:
        assert str(error)  # noqa: PT017
