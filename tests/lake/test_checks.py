"""A flipped bit is an error that names the file, in both engines, and never a wrong number."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from tests.lake.histories import START, Row, checkpoint_at, lake_of, open_writer, row, rows_of, table, write
from workbench.errors import LakeDamaged
from workbench.events import EVENT_SCHEMA
from workbench.lake import Lake, open_lake
from workbench.lake.files import file_writer
from workbench.lake.files.format import FileName
from workbench.lake.files.integrity import Malformed
from workbench.lake.files.parquet import CheckedFile, ColumnChunk, Footer, read_footer
from workbench.lake.reading.query import _columns_read

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


def footer_of(file: Path) -> Footer:
    """Read and check the footer of a file."""
    name = FileName.parse(file.name)
    assert name is not None
    with file.open("rb") as source:
        return read_footer(source, digest=name.digest, columns=EVENT_SCHEMA.names)


def flip_page(file: Path, column: str, *, group: int = 0) -> None:
    """Flip bits in the last page of a column."""
    chunk = footer_of(file).chunk(group, column)
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
    monkeypatch.setattr(file_writer, "ROW_GROUP_ROWS", 50)
    _, file = one_file(tmp_path)
    flip_page(file, "data", group=5)
    timeline = open_lake(tmp_path).timeline
    first, last = timeline.streams("user-0"), timeline.streams("user-6")
    assert first.events().collect().height == first.count() == 42
    assert first.sql("select max(data) from events").fetchall() != []
    for question in (lambda: last.events().collect(), lambda: last.sql("select max(data) from events")):
        with pytest.raises(LakeDamaged, match="row group 5"):
            question()


def test_a_column_is_checked_once_for_an_opened_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, _ = one_file(tmp_path)
    checked: list[int] = []
    monkeypatch.setattr(ColumnChunk, "check", lambda chunk, _: checked.append(chunk.start))
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


def test_verify_holds_what_the_log_says_of_a_file_against_its_rows(tmp_path: Path) -> None:
    """As in lakes up to format 2, whose log proves nothing of itself."""
    _, file = one_file(tmp_path)
    DeltaTable(str(tmp_path / "events")).alter.set_table_properties({"workbench.format": "2"}, raise_if_not_exists=False)
    commit = tmp_path / "events" / "_delta_log" / f"{1:020}.json"
    whole = commit.read_text()
    edits = {"position": ("10", "11"), "recorded_ticks": (f"{START + 10**8}", f"{START}"), "stream": (r"\"user-0\"", r"\"user-1\"")}
    for name, (old, new) in edits.items():
        assert whole.count(rf"\"{name}\": {old}") == 1
        commit.write_text(whole.replace(rf"\"{name}\": {old}", rf"\"{name}\": {new}"))
        with pytest.raises(LakeDamaged, match=rf"{file.name}.*bounds of column {name} in the lake's log"):
            open_lake(tmp_path).verify()
    commit.write_text(whole)
    open_lake(tmp_path).verify()


def test_a_count_of_rows_in_the_log_is_held_against_the_file(tmp_path: Path) -> None:
    """As in lakes up to format 2, whose log proves nothing of itself."""
    _, file = one_file(tmp_path)
    DeltaTable(str(tmp_path / "events")).alter.set_table_properties({"workbench.format": "2"}, raise_if_not_exists=False)
    commit = tmp_path / "events" / "_delta_log" / f"{1:020}.json"
    whole = commit.read_text()
    assert whole.count(r"\"numRecords\": 300") == 1
    commit.write_text(whole.replace(r"\"numRecords\": 300", r"\"numRecords\": 299"))
    for ask in (by_polars, by_duckdb, Lake.verify):
        with pytest.raises(LakeDamaged, match=rf"{file.name}.*rows.*299|{file.name}.*299 rows"):
            ask(open_lake(tmp_path))


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


# -- the proof that a file carries


def test_every_file_names_the_digest_of_its_footer_run_or_epoch(tmp_path: Path) -> None:
    write(tmp_path, LOG, batch=40)
    with open_writer(tmp_path) as writer:
        writer.cluster()
        more = row(100_000, "user-1", revision=900)
        writer.append(table([more]), checkpoint_at(more))
    files = open_lake(tmp_path).files()
    assert {Path(file).name.partition("-")[0] for file in files} == {"run", "epoch"}
    for file in map(Path, files):
        content = file.read_bytes()
        footer = content[-8 - int.from_bytes(content[-8:-4], "little") :]
        assert file.stem.endswith(f"-{hashlib.sha256(footer).hexdigest()[:32]}")


def test_a_footer_holds_the_digest_of_each_column_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_writer, "ROW_GROUP_ROWS", 64)
    _, file = one_file(tmp_path)
    content, footer, expected = file.read_bytes(), footer_of(file), pq.read_metadata(file)
    assert footer.groups == expected.num_row_groups == 5
    for group in range(footer.groups):
        for index, name in enumerate(EVENT_SCHEMA.names):
            column, chunk = expected.row_group(group).column(index), footer.chunk(group, name)
            assert name == column.path_in_schema
            assert (chunk.start, chunk.size) == (column.dictionary_page_offset or column.data_page_offset, column.total_compressed_size)
            assert chunk.digest == hashlib.sha256(content[chunk.start : chunk.start + chunk.size]).digest()[:16]


def test_a_stream_whose_name_is_what_stands_in_for_digests_is_no_harm(tmp_path: Path) -> None:
    rows = [row(10, "workbench." * 200), row(20, "x")]
    lake = lake_of(tmp_path, rows)
    assert rows_of(lake.timeline.events().collect()) == rows
    lake.verify()


def damaged_lakes(path: Path, *, footer: bool, flips: int) -> Iterator[Path]:
    """Yield the one file of a lake after each of some flips of a bit, in its footer or in its data, each alone."""
    _, file = one_file(path)
    whole, chosen = file.read_bytes(), random.Random(13)
    end = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for number in range(flips):
        flip(file, chosen.randrange(end, len(whole)) if footer else chosen.randrange(end), bits=1 << number % 8)
        yield file
        file.write_bytes(whole)


@pytest.mark.parametrize("read", [by_polars, by_duckdb])
def test_a_flipped_bit_in_a_footer_is_an_error_of_the_workbench_for_whoever_reads(tmp_path: Path, read: Callable[[Lake], object]) -> None:
    for file in damaged_lakes(tmp_path, footer=True, flips=60):
        for ask in (read, Lake.verify):
            with pytest.raises(LakeDamaged, match=f"{file.name}.*footer|{file.name}.*does not end as a Parquet file"):
                ask(open_lake(tmp_path))


@pytest.mark.parametrize("footer", [True, False])
def test_verify_finds_every_flipped_bit_of_the_data(tmp_path: Path, footer: bool) -> None:
    expected = by_duckdb(lake_of(tmp_path / "whole", LOG, batch=len(LOG)))
    for _ in damaged_lakes(tmp_path / "lake", footer=footer, flips=500):
        lake = open_lake(tmp_path / "lake")
        try:
            lake.verify()
        except LakeDamaged:
            continue
        assert by_duckdb(lake) == expected  # the magic at the beginning, which nobody reads


def test_a_clustering_merges_no_damaged_file(tmp_path: Path) -> None:
    write(tmp_path, LOG, batch=50)
    file = Path(open_lake(tmp_path).files()[0])
    whole = file.read_bytes()
    for at in (len(whole) - 40, 60):
        flip(file, at)
        with open_writer(tmp_path) as writer, pytest.raises(LakeDamaged, match=file.name):
            writer.cluster()
        file.write_bytes(whole)


# -- a file that checks itself


def checked(file: Path, content: bytes) -> CheckedFile:
    name = FileName.parse(file.name)
    assert name is not None
    assert name.digest is not None
    return CheckedFile(io.BytesIO(content), digest=name.digest)


@pytest.mark.parametrize("pre_buffer", [True, False])
def test_no_flipped_bit_comes_out_of_a_checked_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pre_buffer: bool) -> None:
    monkeypatch.setattr(file_writer, "ROW_GROUP_ROWS", 64)
    _, file = one_file(tmp_path)
    whole, expected = file.read_bytes(), pq.read_table(file)
    assert whole == checked(file, whole).read()
    footer, unread = footer_of(file), 0
    end = max(chunk.start + chunk.size for chunk in footer.extents())
    for at in [*range(0, end, 101), *range(end, len(whole), 211)]:
        content = whole[:at] + bytes((whole[at] ^ 1 << at % 8,)) + whole[at + 1 :]
        try:
            assert pq.ParquetFile(pa.PythonFile(checked(file, content)), pre_buffer=pre_buffer).read() == expected, at
        except (OSError, pa.ArrowException):
            continue
        unread += 1
    assert unread == 1  # the magic at the beginning


def test_a_checked_file_gives_zeros_for_a_damaged_chunk_however_it_is_read(tmp_path: Path) -> None:
    _, file = one_file(tmp_path)
    chunk = footer_of(file).chunk(0, "event_id")
    whole = file.read_bytes()
    end = chunk.start + chunk.size
    damaged = whole[: end - 1] + bytes((whole[end - 1] ^ 1,)) + whole[end:]
    expected = whole[: chunk.start] + bytes(chunk.size) + whole[end:]
    source = checked(file, damaged)
    assert source.read() == expected
    for start, size in ((chunk.start, chunk.size), (chunk.start - 9, 10), (chunk.start + 3, 4), (end - 1, 2), (end, 7), (0, end)):
        source.seek(start)
        assert source.read(size) == expected[start : start + size]
        assert source.tell() == start + size


# -- files that were written before there were digests


@pytest.fixture
def older(tmp_path: Path) -> Path:
    with tarfile.open(Path(__file__).with_name("format-2.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "lake"


@pytest.mark.parametrize("read", [by_polars, by_duckdb, Lake.verify])
def test_a_flipped_bit_in_a_page_of_an_older_file_is_an_error(older: Path, read: Callable[[Lake], object]) -> None:
    file = Path(open_lake(older).files()[0])
    with file.open("rb") as source:
        footer = read_footer(source, digest=None, columns=EVENT_SCHEMA.names)
    for column in EVENT_SCHEMA.names:
        whole, chunk = file.read_bytes(), footer.chunk(0, column)
        flip(file, chunk.start + chunk.size - 3)
        with pytest.raises(LakeDamaged, match=file.name):
            read(open_lake(older))
        file.write_bytes(whole)


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7), cut=st.integers(0, 30))
def test_a_damaged_footer_is_read_or_refused_and_never_worse(at: int, bit: int, cut: int) -> None:
    data = bytearray(_FILE)
    data[at % len(data)] ^= 1 << bit
    file = bytes(data[: len(data) - (cut if cut < 5 else 0)])
    try:
        assert read_footer(io.BytesIO(file), digest=None, columns=EVENT_SCHEMA.names).groups >= 0
    except Malformed as error:
        assert str(error)  # noqa: PT017


def parquet_of(rows: list[Row], *, row_group_size: int) -> bytes:
    sink = io.BytesIO()
    with file_writer.new_writer(pa.PythonFile(sink)) as writer:
        writer.write_table(table(rows), row_group_size=row_group_size)
    return sink.getvalue()


_FILE = parquet_of(LOG[:40], row_group_size=16)
