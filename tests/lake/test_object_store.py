"""A lake in an object store is a lake: the same code, but for the lock, which a store cannot give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.lake.histories import STORE, checkpoint_at, row, rows_of, table
from tests.lake.s3 import ObjectStore, object_store
from workbench.errors import LakeBusy, LakeDamaged, LakeError, LakeNotFound
from workbench.events import EVENT_SCHEMA, Selection
from workbench.lake import Lake, LakeWriter, open_lake
from workbench.lake.files.parquet import read_footer

LOG = [row(10 * number, f"user-{number % 5}", revision=number // 5, type=f"type{number % 3}") for number in range(1, 41)]


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket with a place for one lake in it."""

    store: ObjectStore
    url: str

    @property
    def options(self) -> dict[str, str]:
        return self.store.options

    def writer(self) -> LakeWriter:
        return LakeWriter.open(self.url, store=STORE, selection=Selection(), storage_options=self.options)

    def lake(self) -> Lake:
        return open_lake(self.url, storage_options=self.options)

    def fill(self) -> Lake:
        with self.writer() as writer:
            for first in range(0, len(LOG), 8):
                piece = LOG[first : first + 8]
                writer.append(table(piece), checkpoint_at(piece[-1]))
        return self.lake()


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with object_store() as running:
        yield running


@pytest.fixture
def bucket(store: ObjectStore, request: pytest.FixtureRequest) -> Bucket:
    return Bucket(store, f"s3://bucket/lakes/{request.node.name}")


def test_what_is_written_is_read_by_both_engines(bucket: Bucket) -> None:
    timeline = bucket.fill().timeline
    assert rows_of(timeline.events().collect()) == LOG
    assert timeline.events().head(3).collect().height == 3
    past = timeline.upto(LOG[20]["recorded_at"]).streams("user-1", "user-2*").types("type*")
    expected = [event for event in LOG[:21] if event["stream"] in ("user-1", "user-2")]
    assert rows_of(past.events().collect()) == expected
    assert past.count() == len(expected)
    assert pa.table(past.sql("select * from events order by position").to_arrow_table()).cast(EVENT_SCHEMA).to_pylist() == expected
    assert past.sql("select max(recorded_at) from events").fetchall() == [(expected[-1]["recorded_at"],)]


def test_info_and_a_duckdb_file_work_from_afar(bucket: Bucket, tmp_path: Path) -> None:
    lake = bucket.fill()
    assert (lake.info().events, lake.info().streams, lake.info().unclustered_runs) == (40, 5, 5)
    lake.write_duckdb(tmp_path / "lake.duckdb")
    assert (tmp_path / "lake.duckdb").stat().st_size > 0


def test_clustering_and_vacuum_work_and_the_reader_is_told_to_refresh(bucket: Bucket) -> None:
    lake = bucket.fill()
    with bucket.writer() as writer:
        assert writer.cluster().epochs == 1
        assert rows_of(lake.timeline.events().collect()) == LOG
        assert writer.vacuum(older_than=timedelta(0)) == 5
    with pytest.raises(LakeError, match="refresh"):
        lake.timeline.events().collect()
    assert rows_of(lake.refresh().timeline.events().collect()) == LOG
    with bucket.writer() as writer:
        assert writer.checkpoint == checkpoint_at(LOG[-1])


def test_of_two_writers_the_second_keeps_nothing(bucket: Bucket) -> None:
    with bucket.writer() as first, bucket.writer() as second:
        first.append(table(LOG[:8]), checkpoint_at(LOG[7]))
        with pytest.raises(LakeBusy):
            second.append(table(LOG[:5]), checkpoint_at(LOG[4]))
    assert rows_of(bucket.lake().timeline.events().collect()) == LOG[:8]


def test_a_missing_object_is_named(bucket: Bucket) -> None:
    lake = bucket.fill()
    file = lake.files()[0]
    bucket.store.delete(file.removeprefix("s3://bucket/"))
    with pytest.raises(LakeDamaged, match=Path(file).name):
        lake.timeline.events().collect()


def silently_damaged(content: bytes, column: str) -> bytes:
    """Flip a bit so that a reader who checks nothing reads something else and no error."""
    expected = pq.read_table(BytesIO(content))
    chunk = read_footer(BytesIO(content), digest=None, columns=EVENT_SCHEMA.names).chunk(0, column)
    for at in reversed(range(chunk.start, chunk.start + chunk.size)):
        damaged = content[:at] + bytes((content[at] ^ 1,)) + content[at + 1 :]
        try:
            if pq.read_table(BytesIO(damaged)) != expected:
                return damaged
        except (OSError, pa.ArrowException):
            continue
    raise AssertionError("every flipped bit is an error")


def test_a_flipped_bit_in_an_object_is_an_error_in_both_engines(bucket: Bucket) -> None:
    file = bucket.fill().files()[0]
    key = file.removeprefix("s3://bucket/")
    bucket.store.write(key, silently_damaged(bucket.store.read(key), "event_id"))
    lake = bucket.lake()
    with pytest.raises(LakeDamaged, match=Path(file).name):
        lake.timeline.events().collect()
    with pytest.raises(LakeDamaged, match=Path(file).name), lake.reading():
        lake.sql("select max(event_id) from events").fetchall()
    with pytest.raises(LakeDamaged, match=Path(file).name):
        lake.verify()
    assert lake.timeline.events().select("data").collect().height == len(LOG)


def test_a_bucket_without_a_lake_is_no_lake(bucket: Bucket) -> None:
    with pytest.raises(LakeNotFound, match=bucket.url):
        bucket.lake()


def test_credentials_appear_nowhere(bucket: Bucket) -> None:
    lake = bucket.fill()
    with bucket.writer() as writer:
        said = [repr(lake), repr(writer), repr(lake.timeline), repr(lake.timeline.describe()), repr(lake.info()), repr(lake._snapshot)]
    assert not [text for text in said if "hush" in text]
    assert not [key for key in bucket.store.list_keys() if b"hush" in bucket.store.read(key)]


def test_a_flipped_bit_in_the_footer_of_an_object_is_an_error_in_both_engines(bucket: Bucket) -> None:
    file = bucket.fill().files()[0]
    key = file.removeprefix("s3://bucket/")
    whole = bucket.store.read(key)
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for at in range(start, len(whole), 211):
        bucket.store.write(key, whole[:at] + bytes((whole[at] ^ 4,)) + whole[at + 1 :])
        lake = bucket.lake()
        with pytest.raises(LakeDamaged, match=Path(file).name):
            lake.timeline.events().collect()
        with pytest.raises(LakeDamaged, match=Path(file).name), lake.reading():
            lake.sql("select max(event_id) from events").fetchall()
    bucket.store.write(key, whole)
    assert rows_of(bucket.lake().timeline.events().collect()) == LOG
