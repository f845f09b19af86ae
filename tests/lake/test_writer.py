"""A batch and its checkpoint are one commit, whoever else writes, and whatever dies."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lake.histories import (
    COMPLETE,
    STORE,
    Row,
    checkpoint_at,
    cuts,
    logs,
    open_writer,
    row,
    rows_of,
    table,
    write,
)
from tests.laws import at_least
from workbench.errors import LakeBusy, LakeMismatch, LakeNotFound, StorageFull, UsageError
from workbench.events import EVENT_SCHEMA, Checkpoint, Selection, Store
from workbench.lake import LakeWriter, open_lake
from workbench.lake import writer as writer_module
from workbench.lake.files import file_writer
from workbench.lake.files.format import checkpoint_from, checkpoint_transactions
from workbench.lake.files.location import Location

LOG = [row(10 * number, f"user-{number % 3}", revision=number // 3) for number in range(1, 13)]


def contents(path: Path | str) -> list[Row]:
    return rows_of(open_lake(path).timeline.with_system().events().collect())


def parquet_files(path: Path) -> set[str]:
    return {file.name for file in (path / "events").glob("*.parquet")}


def second_writer(path: Path) -> LakeWriter:
    """A writer as on another machine, which the lock of this one does not keep out."""
    place = Location.of(path)
    return LakeWriter(place=place, table=place.open(), lock=None)


@given(data=st.data(), rows=logs())
@settings(max_examples=at_least(25))
def test_a_log_appended_in_any_batches_is_the_same_lake(
    data: st.DataObject, rows: list[Row], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("lake")
    begin = 0
    with open_writer(path) as writer:
        for end in data.draw(cuts(rows)):
            if end:  # an empty batch moves the checkpoint, which needs an event to name
                writer.append(table(rows[begin:end]), checkpoint_at(rows[end - 1]))
            begin = end
    assert contents(path) == rows


@given(
    position=st.integers(0, 2**63 - 1),
    prepare=st.integers(0, 2**63 - 1),
    event_id=st.uuids(),
    complete=st.datetimes(timezones=st.just(UTC)),
)
def test_a_checkpoint_survives_its_encoding(position: int, prepare: int, event_id: object, complete: datetime) -> None:
    checkpoint = Checkpoint(position, prepare, str(event_id), complete)
    transactions = checkpoint_transactions(checkpoint, serial=3)
    assert all(-(2**63) <= version < 2**63 for version in transactions.values())
    assert checkpoint_from(transactions.get) == checkpoint


def test_nothing_exported_yet_is_no_checkpoint(tmp_path: Path) -> None:
    with open_writer(tmp_path / "lake") as writer:
        assert writer.checkpoint is None
        assert repr(writer).startswith("<LakeWriter of ")
    assert contents(tmp_path / "lake") == []


def test_the_checkpoint_commits_with_its_batch_and_a_new_writer_goes_on_from_it(tmp_path: Path) -> None:
    write(tmp_path, LOG[:5])
    with open_writer(tmp_path) as writer:
        assert writer.checkpoint == checkpoint_at(LOG[4])
        writer.append(table(LOG[5:]), checkpoint_at(LOG[-1]))
        assert writer.checkpoint == checkpoint_at(LOG[-1])
    assert contents(tmp_path) == LOG


def test_an_empty_batch_moves_the_checkpoint_alone(tmp_path: Path) -> None:
    later = COMPLETE + timedelta(days=1)
    write(tmp_path, LOG)
    with open_writer(tmp_path) as writer:
        writer.append(table([]), checkpoint_at(row(500, "skipped-1"), complete_until=later))
    with open_writer(tmp_path) as writer:
        assert writer.checkpoint == checkpoint_at(row(500, "skipped-1"), complete_until=later)
    assert contents(tmp_path) == LOG
    assert len(parquet_files(tmp_path)) == 2


def test_the_checkpoint_outlives_the_clean_up_of_deltas_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "REOPEN_AFTER", 10)
    with open_writer(tmp_path) as writer:
        for event in LOG:
            writer.append(table([event]), checkpoint_at(event))
        for number in range(60):
            writer.append(table([]), checkpoint_at(LOG[-1], complete_until=COMPLETE + timedelta(seconds=number)))
    delta = DeltaTable(str(tmp_path / "events"))
    delta.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 seconds"})
    delta.create_checkpoint()
    delta.cleanup_metadata()
    assert len(list((tmp_path / "events" / "_delta_log").glob("*.json"))) < 5
    with open_writer(tmp_path) as writer:
        assert writer.checkpoint == checkpoint_at(LOG[-1], complete_until=COMPLETE + timedelta(seconds=59))
    assert contents(tmp_path) == LOG


def test_a_long_export_leaves_checkpoints_of_deltas_log_by_itself(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        for number in range(55):
            writer.append(table([]), checkpoint_at(LOG[0], complete_until=COMPLETE + timedelta(seconds=number)))
    assert list((tmp_path / "events" / "_delta_log").glob("*.checkpoint.parquet"))


def test_of_two_writers_that_began_at_one_commit_the_second_keeps_nothing(tmp_path: Path) -> None:
    write(tmp_path, LOG[:4])
    first, second = second_writer(tmp_path), second_writer(tmp_path)
    first.append(table(LOG[4:8]), checkpoint_at(LOG[7]))
    files = parquet_files(tmp_path)
    with pytest.raises(LakeBusy, match=r"this batch was discarded"):
        second.append(table(LOG[4:6]), checkpoint_at(LOG[5]))
    assert parquet_files(tmp_path) == files
    assert contents(tmp_path) == LOG[:8]


def test_two_writers_conflict_over_checkpoints_without_rows_too(tmp_path: Path) -> None:
    write(tmp_path, LOG[:4])
    first, second = second_writer(tmp_path), second_writer(tmp_path)
    first.append(table([]), checkpoint_at(LOG[7]))
    with pytest.raises(LakeBusy):
        second.append(table([]), checkpoint_at(LOG[5]))


def test_a_lake_that_is_being_written_is_refused_to_a_second_export_at_once(tmp_path: Path) -> None:
    with open_writer(tmp_path), pytest.raises(LakeBusy, match="Another export is writing"):
        open_writer(tmp_path)
    open_writer(tmp_path).close()


def test_a_writer_that_is_dropped_lets_the_next_one_in(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    del writer
    open_writer(tmp_path).close()


def test_a_closed_writer_writes_no_more(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.close()
    with pytest.raises(UsageError, match="closed"):
        writer.append(table(LOG), checkpoint_at(LOG[-1]))
    assert contents(tmp_path) == []


def test_another_store_is_refused_while_nothing_was_copied_and_both_are_named(tmp_path: Path) -> None:
    open_writer(tmp_path).close()
    other = Store("esdb://elsewhere:2113", 0, "00000000-0000-0000-0000-000000000099")
    with pytest.raises(LakeMismatch, match=r"localhost:2113.*elsewhere:2113"):
        open_writer(tmp_path, store=other)


def test_a_log_whose_first_event_has_gone_is_accepted_once_there_is_a_checkpoint_to_prove_it(tmp_path: Path) -> None:
    write(tmp_path, LOG)
    scavenged = Store("esdb://localhost:2113", 500, "00000000-0000-0000-0000-000000000099")
    with open_writer(tmp_path, store=scavenged) as writer:
        assert writer.store == STORE


def test_the_same_store_under_another_address_is_accepted(tmp_path: Path) -> None:
    write(tmp_path, LOG)
    with open_writer(tmp_path, store=Store("esdb://proxy:1", STORE.first_position, STORE.first_event_id)) as writer:
        assert writer.store == STORE


def test_a_store_whose_first_event_is_unknown_is_accepted_and_known_later(tmp_path: Path) -> None:
    open_writer(tmp_path, store=Store("esdb://localhost:2113")).close()
    with open_writer(tmp_path) as writer:
        assert writer.store == STORE
    with pytest.raises(LakeMismatch):
        open_writer(tmp_path, store=Store("esdb://localhost:2113", 0, "00000000-0000-0000-0000-000000000099"))
    write(tmp_path, LOG)
    with open_writer(tmp_path, store=Store("esdb://localhost:2113")) as writer:
        assert (writer.store, writer.checkpoint) == (STORE, checkpoint_at(LOG[-1]))


def test_another_selection_is_refused_and_both_are_named(tmp_path: Path) -> None:
    open_writer(tmp_path, selection=Selection(categories=("user", "order"))).close()
    open_writer(tmp_path, selection=Selection(categories=("order", "user"))).close()
    with pytest.raises(LakeMismatch, match=r"categories order, user.*categories order\."):
        open_writer(tmp_path, selection=Selection(categories=("order",)))
    with pytest.raises(LakeMismatch, match=r"categories order, user.*with system streams"):
        open_writer(tmp_path, selection=Selection(categories=("order", "user"), system=True))


@pytest.mark.parametrize("held", [Selection(), Selection(system=True), Selection(types=("a",)), Selection(streams=("$*",), system=True)])
def test_without_a_selection_that_of_the_lake_holds(tmp_path: Path, held: Selection) -> None:
    open_writer(tmp_path, selection=held).close()
    with open_writer(tmp_path) as writer:
        assert writer.selection == held
    assert open_lake(tmp_path).info().selection == held


@pytest.mark.parametrize("names", [{}, {"categories": ["user"]}])
def test_a_lake_of_format_1_holds_what_the_server_writes_for_itself_and_is_gone_on_with(
    tmp_path: Path, names: dict[str, list[str]]
) -> None:
    given = Selection.of_fields(names)
    open_writer(tmp_path, selection=given).close()
    written = {"streams": [], "categories": [], "types": [], **names}
    older = {"workbench.format": "1", "workbench.selection": json.dumps(written)}
    DeltaTable(str(tmp_path / "events")).alter.set_table_properties(older, raise_if_not_exists=False)
    for asked in (given, Selection(), replace(given, system=True)):
        with open_writer(tmp_path, selection=asked) as writer:
            assert writer.selection == replace(given, system=True)


def test_a_directory_with_other_things_stays_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(LakeNotFound, match="other files"):
        open_writer(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_creation_that_was_killed_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "lake" / "events").mkdir(parents=True)
    open_writer(tmp_path / "lake").close()
    assert contents(tmp_path / "lake") == []


def test_a_file_is_no_place_for_a_lake(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("")
    with pytest.raises(LakeNotFound, match="is a file"):
        open_writer(tmp_path / "lake")


def test_another_delta_table_is_not_written_to(tmp_path: Path) -> None:
    DeltaTable.create(str(tmp_path / "events"), schema=pa.schema([("x", pa.int64())]))
    with pytest.raises(LakeNotFound, match="that is not a lake: choose another directory"):
        open_writer(tmp_path)
    assert DeltaTable(str(tmp_path / "events")).version() == 0


def test_a_lake_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    write(tmp_path, LOG)
    DeltaTable(str(tmp_path / "events")).alter.set_table_properties({"workbench.format": "4"}, raise_if_not_exists=False)
    for open_it in (open_writer, open_lake):
        with pytest.raises(LakeNotFound, match="format 4"):
            open_it(tmp_path)


@pytest.mark.parametrize(
    ("batch", "checkpoint", "said"),
    [
        (LOG[3:], LOG[-1], "already holds the log up to 50"),
        ([LOG[6], LOG[5]], LOG[-1], "log order"),
        ([LOG[6], LOG[6]], LOG[-1], "log order"),
        (LOG[5:], LOG[6], "after its checkpoint"),
        ([], LOG[2], "before the lake's"),
        # Events of one explicit transaction have one position, and differ in the prepare position.
        ([row(50, "user-1", prepare=50)], LOG[-1], "already holds the log up to 50"),
        ([row(60, "user-1", prepare=60), row(60, "user-1", prepare=58)], LOG[-1], "log order"),
        ([row(60, "user-1", prepare=58), row(60, "user-1", prepare=60)], row(60, "user-1", prepare=58), "after its checkpoint"),
        ([], row(50, "user-1", prepare=49), "before the lake's"),
    ],
)
def test_what_would_break_exactly_once_is_refused(tmp_path: Path, batch: list[Row], checkpoint: Row, said: str) -> None:
    with open_writer(tmp_path) as writer:
        writer.append(table(LOG[:5]), checkpoint_at(LOG[4]))
        with pytest.raises(UsageError, match=said):
            writer.append(table(batch), checkpoint_at(checkpoint))
    assert contents(tmp_path) == LOG[:5]


def test_rows_of_another_schema_are_refused(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        with pytest.raises(UsageError, match="EVENT_SCHEMA"):
            writer.append(table(LOG).drop_columns(["data"]), checkpoint_at(LOG[-1]))
        broken = table(LOG).set_column(2, EVENT_SCHEMA.field("stream"), pa.nulls(len(LOG), pa.string()))
        with pytest.raises(UsageError, match="null"):
            writer.append(broken, checkpoint_at(LOG[-1]))
        with pytest.raises(UsageError, match="time zone"):
            writer.append(table(LOG), checkpoint_at(LOG[-1], complete_until=datetime(2026, 1, 1)))  # noqa: DTZ001


def test_a_batch_larger_than_a_run_becomes_several_in_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = [row(number, f"user-{number % 2}", data='"' + "x" * 1000 * (number % 5) + '"') for number in range(1, 60)]
    monkeypatch.setattr(file_writer.runs_of, "__kwdefaults__", {"most": 10_000})
    with open_writer(tmp_path) as writer:
        writer.append(table(big), checkpoint_at(big[-1]))
    lake = open_lake(tmp_path)
    assert lake.info().version == 1
    assert lake.info().files > 5
    assert contents(tmp_path) == big


def test_rows_inside_a_run_are_sorted_by_category_and_stream_then_log_order(tmp_path: Path) -> None:
    names = ["user-2", "user!-1", "user-10", "b", "a-1", "user-2", "b-7", "a-1", "ü-1", "user-10"]
    rows = [row(number, name, revision=number) for number, name in enumerate(names, start=1)]
    write(tmp_path, rows, batch=100)
    [file] = open_lake(tmp_path).files()
    stored = pa.parquet.read_table(file).to_pylist()
    assert stored == sorted(rows, key=lambda event: (event["category"], event["stream"], event["position"]))


def test_statistics_in_delta_bound_what_the_files_hold(tmp_path: Path) -> None:
    rows = [row(1, "a" * 100 + "\U0010ffff"), row(2, "b" * 64 + "\U0010ffff" * 9), row(3, "b" * 200), row(4, "a" * 70)]
    write(tmp_path, rows, batch=4)
    statistics = pa.table(DeltaTable(str(tmp_path / "events")).get_add_actions(flatten=True)).to_pylist()[0]
    assert statistics["min.stream"] == "a" * 64
    assert all(statistics["min.stream"] <= event["stream"] <= statistics["max.stream"] for event in rows)
    assert (statistics["min.position"], statistics["max.position"], statistics["num_records"]) == (1, 4, 4)
    assert statistics["min.recorded_at"] == rows[0]["recorded_at"]


def _append_for_ever(path: str, ready: object) -> None:
    """Append batches one after the other until killed, going on from the checkpoint."""
    with open_writer(path) as writer:
        ready.set()  # type: ignore[attr-defined]
        first = 1 if writer.checkpoint is None else writer.checkpoint.position + 1
        while True:
            piece = [row(number, f"user-{number % 7}", revision=number) for number in range(first, first + 50)]
            writer.append(table(piece), checkpoint_at(piece[-1]))
            first += 50


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_its_last_commit_and_the_next_goes_on(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    for delay in (0.03, 0.11, 0.19, 0.27):
        ready = spawn.Event()
        process = spawn.Process(target=_append_for_ever, args=(str(tmp_path), ready))
        process.start()
        assert ready.wait(60)
        time.sleep(delay)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        positions = [event["position"] for event in contents(tmp_path)]
        assert positions == list(range(1, len(positions) + 1))
        with open_writer(tmp_path) as writer:
            assert (writer.checkpoint.position if writer.checkpoint else 0) == len(positions)
            assert {Path(file).name for file in open_lake(tmp_path).files()} == parquet_files(tmp_path)


def test_a_file_written_but_never_committed_is_swept_by_the_next_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, LOG[:5])
    files = parquet_files(tmp_path)

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, open_writer(tmp_path) as writer:
        patch.setattr(LakeWriter, "_commit", die)
        with pytest.raises(Killed):
            writer.append(table(LOG[5:]), checkpoint_at(LOG[-1]))
    assert len(parquet_files(tmp_path)) == len(files) + 1
    assert contents(tmp_path) == LOG[:5]
    open_writer(tmp_path).close()
    assert parquet_files(tmp_path) == files


def test_a_full_disk_is_said_so_and_leaves_the_lake_as_it_was(tmp_path: Path) -> None:
    write(tmp_path, LOG[:5])
    files = parquet_files(tmp_path)
    big = [row(1000 + number, "user-1", data=os.urandom(40_000)) for number in range(20)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_writer(tmp_path) as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        try:
            with pytest.raises(StorageFull, match="No room is left"):
                writer.append(table(big), checkpoint_at(big[-1]))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert parquet_files(tmp_path) == files
        writer.append(table(LOG[5:]), checkpoint_at(LOG[-1]))
    assert contents(tmp_path) == LOG


def test_no_program_can_delete_rows_of_a_lake_by_mistake(tmp_path: Path) -> None:
    write(tmp_path, LOG)
    with pytest.raises(Exception, match="append-only"):
        DeltaTable(str(tmp_path / "events")).delete()
    assert contents(tmp_path) == LOG


def test_readers_see_whole_commits_while_a_writer_appends(tmp_path: Path) -> None:
    write(tmp_path, LOG[:1])
    done = threading.Event()

    def append() -> None:
        with open_writer(tmp_path) as writer:
            for event in LOG[1:]:
                twice = [event, {**event, "prepare_position": event["position"] + 1}]
                writer.append(table(twice), checkpoint_at(twice[-1]))
        done.set()

    thread = threading.Thread(target=append)
    thread.start()
    while not done.is_set():
        seen = open_lake(tmp_path).timeline.count()
        assert seen % 2 == 1
    thread.join()
    assert open_lake(tmp_path).timeline.count() == 2 * len(LOG) - 1


def test_what_a_commit_names_is_on_the_disk_before_it_and_the_commit_itself_before_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power failure a commit must not outlive its files; what is asked of the disk, and in which order, is all a test can see."""
    path = tmp_path / "lake"
    happened: list[str] = []
    commit, fsync = LakeWriter._commit, os.fsync

    def committed(writer: LakeWriter, *arguments: object) -> None:
        happened.append("commit")
        commit(writer, *arguments)  # type: ignore[arg-type]

    def synced(handle: int) -> None:
        happened.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    with open_writer(path) as writer:
        monkeypatch.setattr(LakeWriter, "_commit", committed)
        monkeypatch.setattr(os, "fsync", synced)
        writer.append(table(LOG), checkpoint_at(LOG[-1]))
    cut = happened.index("commit")
    assert parquet_files(path) | {"events"} <= set(happened[:cut])
    assert {f"{DeltaTable(str(path / 'events')).version():020}.json", "_delta_log"} <= set(happened[cut:])
