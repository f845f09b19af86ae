"""Clustering changes where events stand, never which, and costs in proportion to what is new."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lake.histories import Row, checkpoint_at, logs, open_writer, row, rows_of, table, write
from tests.lake.test_writer import contents, parquet_files
from tests.laws import at_least
from workbench.errors import LakeBusy, LakeDamaged, LakeError
from workbench.lake import open_lake
from workbench.lake.files import clustering as cluster_module
from workbench.lake.files import file_writer as runs_module
from workbench.lake.files.clustering import EPOCH_BYTES, EPOCH_ROWS, FAN, ClusterResult, MergeInput, cluster, next_merge
from workbench.lake.files.format import DataFile
from workbench.lake.files.location import Location

LOG = [row(10 * number, f"user-{number % 5}", revision=number // 5) for number in range(1, 61)]


def unit(size: int, *, first: int = 0) -> MergeInput:
    """A unit of so many bytes, and a hundredth as many rows."""
    name = f"run-{first}-{first}-0-00.parquet"
    return MergeInput((DataFile(name, size, size // 100, first, first, 0, 0, 0, "", "", "", "", "", "", None),))


def merge_all(units: list[MergeInput]) -> tuple[list[MergeInput], int]:
    """Merge until nothing is left to merge; return the units and the bytes that were rewritten."""
    rewritten = 0
    while (merge := next_merge(units)) is not None:
        assert len(merge) > 1
        at = units.index(merge[0])
        assert units[at : at + len(merge)] == merge
        size = sum(each.bytes for each in merge)
        rewritten += size
        units = [*units[:at], unit(size, first=merge[0].files[0].first_position), *units[at + len(merge) :]]
    return units, rewritten


@given(rows=logs(most=50), batch=st.integers(1, 5), small=st.booleans())
@settings(max_examples=at_least(20))
def test_a_clustered_lake_holds_the_same_events_bit_for_bit_in_the_promised_order(
    rows: list[Row], batch: int, small: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("lake")
    with pytest.MonkeyPatch.context() as patch:
        if small:  # many row groups and files, so that streams reach across them
            patch.setattr(runs_module, "ROW_GROUP_ROWS", 3)
            patch.setattr(cluster_module, "ROW_GROUP_ROWS", 3)
            patch.setattr(cluster_module, "FILE_BYTES", 6_000)
        write(path, rows, batch=batch)
        before = contents(path)
        with open_writer(path) as writer:
            writer.cluster()
            assert writer.cluster() == ClusterResult()
    assert contents(path) == before == rows
    for epoch in cluster_module.units_of(open_lake(path)._snapshot.files):
        stored = [event for file in epoch.files for event in pq.read_table(path / "events" / file.path).to_pylist()]
        assert stored == sorted(
            stored, key=lambda event: (event["category"], event["stream"], event["position"], event["prepare_position"])
        )


def test_a_clustered_lake_takes_further_appends_and_clusterings(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        for number, event in enumerate(LOG):
            writer.append(table([event]), checkpoint_at(event))
            if number % 7 == 6:
                writer.cluster()
        writer.cluster()
    assert contents(tmp_path) == LOG
    info = open_lake(tmp_path).info()
    assert info.files < 12
    with open_writer(tmp_path) as writer:
        assert writer.checkpoint == checkpoint_at(LOG[-1])


@given(sizes=st.lists(st.integers(10_000, EPOCH_BYTES), max_size=40))
def test_a_plan_always_ends_and_never_rewrites_a_full_epoch(sizes: list[int]) -> None:
    units = [unit(size, first=number) for number, size in enumerate(sizes)]
    full = [each for each in units if each.full]
    merged, _ = merge_all(units)
    assert all(each in merged for each in full)
    assert sum(each.bytes for each in merged) == sum(sizes)


def test_an_export_every_minute_leaves_few_files_and_rewrites_each_event_a_few_times() -> None:
    sizes = random.Random(1)
    units: list[MergeInput] = []
    written = rewritten = most = 0
    for number in range(6_000):
        size = sizes.randint(8_000, 60_000)
        written += size
        units, cost = merge_all([*units, unit(size, first=number)])
        rewritten += cost
        most = max(most, len(units))
    assert most < 40
    assert rewritten < 8 * written


def test_a_large_first_export_becomes_full_epochs_in_one_rewrite() -> None:
    runs = [unit(8 * 2**20, first=number) for number in range(160)]
    units, rewritten = merge_all(runs)
    assert rewritten <= sum(run.bytes for run in runs)
    assert all(each.bytes <= EPOCH_BYTES and each.rows <= EPOCH_ROWS for each in units)
    assert sum(not each.full for each in units) < FAN


def test_a_file_that_another_program_wrote_is_never_merged() -> None:
    """Its rows may stand in any order, and a merge takes each run as sorted."""
    units = [unit(1000, first=first) for first in range(2 * FAN - 1)]
    assert next_merge(units) is not None
    foreign = MergeInput((replace(units[FAN - 1].files[0], path="part-00000-c000.snappy.parquet"),))
    assert next_merge([*units[: FAN - 1], foreign, *units[FAN:]]) is None


def test_of_two_clusterers_the_second_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, LOG)
    place = Location.of(tmp_path)
    original = cluster_module._commit
    after: set[str] = set()

    def overtaken(*arguments: object) -> None:
        monkeypatch.setattr(cluster_module, "_commit", original)
        cluster(place)
        after.update(Path(file).name for file in open_lake(tmp_path).files())
        original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cluster_module, "_commit", overtaken)
    with pytest.raises(LakeBusy):
        cluster(place)
    assert contents(tmp_path) == LOG
    assert {name for name in parquet_files(tmp_path) if name.startswith("epoch")} == after


def test_an_append_beside_a_clustering_succeeds_and_both_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, LOG[:50])
    original = cluster_module._commit
    with open_writer(tmp_path) as writer:
        exporter = open_lake(tmp_path)

        def beside(*arguments: object) -> None:
            writer.append(table(LOG[50:55]), checkpoint_at(LOG[54]))
            original(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(cluster_module, "_commit", beside)
        assert writer.cluster().epochs == 1
        writer.append(table(LOG[55:]), checkpoint_at(LOG[-1]))
    assert contents(tmp_path) == LOG
    assert open_lake(tmp_path).info().unclustered_runs == 2
    assert exporter.timeline.count() == 50


def test_a_clustering_that_fails_leaves_no_file_and_no_change(tmp_path: Path) -> None:
    write(tmp_path, LOG)
    damaged = sorted((tmp_path / "events").glob("*.parquet"))[3]
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:200] + bytes(200) + whole[400:])
    files = parquet_files(tmp_path)
    with open_writer(tmp_path) as writer, pytest.raises(LakeDamaged, match=damaged.name):
        writer.cluster()
    assert parquet_files(tmp_path) == files
    damaged.write_bytes(whole)
    assert contents(tmp_path) == LOG


def test_a_reader_goes_on_after_a_clustering_and_is_told_to_refresh_after_a_vacuum(tmp_path: Path) -> None:
    write(tmp_path, LOG)
    reader = open_lake(tmp_path)
    frame, relation = reader.timeline.events(), reader.sql("select count(data) from events")
    with open_writer(tmp_path) as writer:
        writer.cluster()
        assert writer.vacuum() == 0
        assert rows_of(frame.collect()) == LOG
        assert relation.fetchall() == [(len(LOG),)]
        assert writer.vacuum(older_than=timedelta(0)) == 9
    with pytest.raises(LakeError, match="refresh"):
        frame.collect()
    with pytest.raises(LakeError, match="refresh"):
        reader.sql("select count(data) from events")
    with pytest.raises(LakeError, match="refresh"), reader.reading():
        relation.fetchall()
    assert rows_of(reader.refresh().timeline.events().collect()) == LOG


def test_a_vacuum_keeps_what_another_writer_may_be_about_to_commit(tmp_path: Path) -> None:
    write(tmp_path, LOG)
    with open_writer(tmp_path) as writer:
        (tmp_path / "events" / "run-9000-9001-0-ffff.parquet").write_bytes(b"half a file")
        assert writer.vacuum(older_than=timedelta(hours=1)) == 0
    assert contents(tmp_path) == LOG


def test_runs_that_share_a_position_keep_the_order_of_their_transaction(tmp_path: Path) -> None:
    transaction = [row(50, f"user-{number % 2}", prepare=50 + number, revision=number // 2, number=number) for number in range(12)]
    write(tmp_path, transaction, batch=2)
    assert contents(tmp_path) == transaction
    with open_writer(tmp_path) as writer:
        assert writer.cluster().epochs == 1
    assert contents(tmp_path) == transaction
    [file] = open_lake(tmp_path).files()
    assert [event["prepare_position"] for event in pq.read_table(file).to_pylist()] == [*range(50, 62, 2), *range(51, 62, 2)]


def test_a_table_that_another_program_compacted_still_reads_in_log_order(tmp_path: Path) -> None:
    write(tmp_path, LOG[:40], batch=10)
    DeltaTable(str(tmp_path / "events")).optimize.compact()
    assert contents(tmp_path) == LOG[:40]
    with open_writer(tmp_path) as writer:
        for event in LOG[40:]:
            writer.append(table([event]), checkpoint_at(event))
        assert writer.cluster().events == 20
    assert contents(tmp_path) == LOG
    assert open_lake(tmp_path).timeline.streams("user-3").count() == 12
