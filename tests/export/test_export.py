"""Exactly once: whatever happens on the way, the lake is one exact copy of a beginning of the log, and in the end of all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow as pa
import pytest

from tests.export.watch import Watch
from tests.oracle import Row, fill, lake_rows, log_of, new_events
from tests.stores import NewEvent, Store, clock_of
from workbench.errors import LakeBusy, LakeMismatch, LogRewritten, SourceBehind, WorkbenchError
from workbench.events import Checkpoint, Selection
from workbench.export import ExportSummary, Progress, export_log
from workbench.export import copy as module
from workbench.kurrent import Batch, Connection, EventPosition, NodeState, PointReader, ReadFilter, connect, reader
from workbench.kurrent.connection import Transport
from workbench.lake import LakeWriter, open_lake


@pytest.fixture(params=["http2", "grpc"])
def transport(request: pytest.FixtureRequest) -> Transport:
    chosen: Transport = request.param
    return chosen


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks and commits of a few events, so that a small log has many boundaries."""
    monkeypatch.setattr(reader, "CHUNK_EVENTS", 7)
    monkeypatch.setattr(module, "COMMIT_EVENTS", 20)


def exported(store: Store, lake: Path, **options: object) -> ExportSummary:
    options.setdefault("clock", Watch().clock)
    with connect(store.uri, transport=options.pop("transport", "http2")) as source:  # type: ignore[arg-type]
        return export_log(source, lake, **options)  # type: ignore[arg-type]


def test_every_event_read_back_from_the_lake_gives_the_recorded_bytes(store: Store, tmp_path: Path, transport: Transport) -> None:
    fill(store, 400)
    summary = exported(store, tmp_path / "lake", transport=transport)
    log = log_of(store)
    assert lake_rows(tmp_path / "lake") == log
    assert summary.events_read >= summary.events_kept == len(log)
    assert summary.checkpoint is not None
    assert summary.checkpoint.position == log[-1][0]


def test_exporting_twice_is_exporting_once(store: Store, tmp_path: Path) -> None:
    fill(store, 120)
    exported(store, tmp_path / "lake")
    again = exported(store, tmp_path / "lake")
    assert again.events_read == 0
    assert lake_rows(tmp_path / "lake") == log_of(store)


def test_a_later_export_copies_only_what_is_new(store: Store, tmp_path: Path, transport: Transport) -> None:
    fill(store, 100)
    first = exported(store, tmp_path / "lake", transport=transport)
    fill(store, 30, begin=100)
    second = exported(store, tmp_path / "lake", transport=transport)
    assert second.resumed_after == first.checkpoint
    assert second.events_read == 30
    assert lake_rows(tmp_path / "lake") == log_of(store)


@pytest.mark.needs("empty log")
def test_an_empty_log_gives_an_empty_lake_that_may_become_any_copy(store: Store, tmp_path: Path) -> None:
    summary = exported(store, tmp_path / "lake")
    assert (summary.events_read, summary.checkpoint) == (0, None)
    assert lake_rows(tmp_path / "lake") == []
    fill(store, 10)
    exported(store, tmp_path / "lake")
    assert lake_rows(tmp_path / "lake") == log_of(store)


class Wrapped:
    """A source to which something happens when it is asked for its end, or read."""

    def __init__(self, source: Connection) -> None:
        self._source = source
        self.end, self.read_batches = source.end, source.read_batches

    if TYPE_CHECKING:
        address: str
        points: PointReader
        accepts_timestamps: bool
        leader_address: str | None

        def start(self) -> EventPosition | None: ...
        def check_node(self) -> NodeState: ...
        def leader_end(self) -> EventPosition | None: ...
        def reconnect(self) -> None: ...
        def last_kept(self, end: EventPosition, *, filter: ReadFilter) -> EventPosition | None: ...  # noqa: A002

    else:

        def __getattr__(self, name: str) -> object:
            return getattr(self._source, name)


def interrupted(source: Connection, store: Store, *, after: int, quietly: bool = False) -> Wrapped:
    """Let the first read of the log end early; the answers before it stay as they are."""

    reads = 0

    def read_batches(
        *,
        after: Checkpoint | None = None,
        upto: EventPosition,
        filter: ReadFilter | None = None,  # noqa: A002  # as the connection names it
        count: int = after,
    ) -> Iterator[Batch]:
        nonlocal reads
        reads += 1
        if reads == 1:
            store.faults.interrupt_reads(after=count, quietly=quietly)
        return source.read_batches(after=after, upto=upto, filter=filter)

    wrapped = Wrapped(source)
    wrapped.read_batches = read_batches
    return wrapped


def test_a_busy_log_is_not_chased(store: Store, tmp_path: Path) -> None:
    fill(store, 50)
    log = log_of(store)
    with connect(store.uri) as source:

        def end() -> EventPosition | None:
            found = source.end()
            fill(store, 25, begin=1000)
            return found

        busy = Wrapped(source)
        busy.end = end
        export_log(busy, tmp_path / "lake")
        assert lake_rows(tmp_path / "lake") == log
        export_log(source, tmp_path / "lake")
    assert lake_rows(tmp_path / "lake") == log_of(store)


@pytest.mark.needs("timestamps")
def test_the_lake_is_complete_until_the_instant_before_the_end_was_asked_for(store: Store, tmp_path: Path) -> None:
    fill(store, 20)
    before = datetime.now(UTC)
    summary = exported(store, tmp_path / "lake")
    assert summary.checkpoint is not None
    # The server says the time to the second.
    assert before - timedelta(seconds=1) <= summary.checkpoint.complete_until <= datetime.now(UTC)
    assert open_lake(tmp_path / "lake").info().complete_until == summary.checkpoint.complete_until


@pytest.mark.needs("timestamps")
def test_a_server_whose_clock_is_behind_decides_until_when_the_lake_is_complete(store: Store, tmp_path: Path) -> None:
    fill(store, 5)
    behind = datetime.now(UTC) - timedelta(minutes=10)
    with connect(store.uri) as source:
        wrapped = Wrapped(source)
        wrapped.end = lambda: replace(end, answered_at=behind) if (end := source.end()) else None
        summary = export_log(wrapped, tmp_path / "lake")
    assert summary.checkpoint is not None
    assert summary.checkpoint.complete_until < datetime.now(UTC)
    last = lake_rows(tmp_path / "lake")[-1][6] // 10
    assert summary.checkpoint.complete_until == max(behind, datetime.fromtimestamp(0, UTC) + timedelta(microseconds=last - 1))


def test_an_address_may_stand_for_a_connection(store: Store, tmp_path: Path) -> None:
    fill(store, 5)
    assert export_log(store.uri, tmp_path / "lake").events_kept == 5


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.mark.needs("clock")
@pytest.mark.usefixtures("small_steps")
def test_a_killed_export_leaves_a_lake_that_is_complete_as_far_as_it_was_copied_and_no_further(store: Store, tmp_path: Path) -> None:
    clock = clock_of(store)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for i in range(60):
        clock.set(start + timedelta(hours=i))
        store.append("a", new_events(1))

    def killed(step: Progress) -> None:
        if step.events > 45:
            raise Killed

    with pytest.raises(Killed):
        exported(store, tmp_path / "lake", progress=killed)
    rows = lake_rows(tmp_path / "lake")
    until = open_lake(tmp_path / "lake").info().complete_until
    assert 0 < len(rows) < 60
    assert until == start + timedelta(hours=len(rows) - 1, microseconds=-1)


@pytest.mark.needs("faults")
@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("quietly", [False, True], ids=["connection lost", "ended with OK"])
@pytest.mark.parametrize("after", [0, 1, 6, 7, 20, 21, 55, 99])
def test_an_export_whose_read_stops_early_goes_on_by_itself_and_completes_the_copy(
    store: Store, tmp_path: Path, transport: Transport, after: int, quietly: bool
) -> None:
    fill(store, 100)
    log, watch = log_of(store), Watch()
    with connect(store.uri, transport=transport) as source:
        summary = export_log(interrupted(source, store, after=after, quietly=quietly), tmp_path / "lake", clock=watch.clock)
    assert lake_rows(tmp_path / "lake") == log
    assert summary.events_read == len(log)
    assert (summary.retries, summary.waited, watch.slept) == (1, 1.0, [1.0])


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_export_that_ends_at_any_commit_boundary_is_completed_by_the_next(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    append = LakeWriter.append
    fill(store, 130)
    log = log_of(store)
    commits = exported(store, tmp_path / "whole").commits
    assert commits > 4
    for last in range(commits):
        made = 0

        def killed(writer: LakeWriter, batch: pa.Table, checkpoint: Checkpoint, *, last: int = last) -> None:
            nonlocal made
            if made == last and moment == "before":
                raise Killed
            append(writer, batch, checkpoint)
            if made == last:
                raise Killed
            made += 1

        lake = tmp_path / f"{moment}-{last}"
        monkeypatch.setattr(LakeWriter, "append", killed)
        with pytest.raises(Killed):
            exported(store, lake)
        monkeypatch.setattr(LakeWriter, "append", append)
        copied = lake_rows(lake)
        assert copied == log[: len(copied)]
        exported(store, lake)
        assert lake_rows(lake) == log


@pytest.mark.needs("faults")
@pytest.mark.usefixtures("small_steps")
def test_a_checkpoint_inside_an_explicit_transaction_skips_and_repeats_nothing(store: Store, tmp_path: Path, transport: Transport) -> None:
    fill(store, 15)
    store.faults.transaction("account-1", new_events(40))
    fill(store, 15, begin=15)
    log = log_of(store)
    assert len({row[0] for row in log}) < len(log)
    for after in range(14, 60, 5):
        lake = tmp_path / str(after)
        with connect(store.uri, transport=transport) as source:
            early = Wrapped(source)
            early.end = partial(EventPosition, log[after][0], log[after][1], log[after][4])
            export_log(early, lake)
            assert lake_rows(lake) == log[: after + 1]
            export_log(source, lake)
        assert lake_rows(lake) == log


@pytest.mark.needs("fresh server")
def test_a_lake_into_which_nothing_was_copied_yet_refuses_another_store(
    store: Store, new_store: Callable[..., Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    fill(store, 5)
    with monkeypatch.context() as patch:
        patch.setattr(LakeWriter, "append", killed)
        with pytest.raises(Killed):
            exported(store, tmp_path / "lake")
    other = new_store()
    fill(other, 5)
    with pytest.raises(LakeMismatch, match="another store"):
        exported(other, tmp_path / "lake")
    exported(store, tmp_path / "lake")
    assert lake_rows(tmp_path / "lake") == log_of(store)


@pytest.mark.needs("faults")
def test_a_restored_backup_is_refused_and_nothing_is_changed(store: Store, tmp_path: Path, transport: Transport) -> None:
    fill(store, 60)
    log = log_of(store)
    exported(store, tmp_path / "lake")
    store.faults.restore(upto=log[39][0])
    fill(store, 60, begin=500)
    with pytest.raises(LogRewritten, match="Nothing was changed") as caught:
        exported(store, tmp_path / "lake", transport=transport)
    assert str(log[-1][0]) in str(caught.value)
    assert lake_rows(tmp_path / "lake") == log


@pytest.mark.needs("faults")
def test_another_store_behind_the_same_address_is_refused(store: Store, tmp_path: Path) -> None:
    fill(store, 20)
    log = log_of(store)
    exported(store, tmp_path / "lake")
    store.faults.restore(upto=-1)
    fill(store, 80, begin=7)
    with pytest.raises(LakeMismatch, match="another store"):
        exported(store, tmp_path / "lake")
    assert lake_rows(tmp_path / "lake") == log


@pytest.mark.needs("faults")
def test_a_follower_that_lags_is_waited_for(store: Store, tmp_path: Path) -> None:
    fill(store, 40)
    exported(store, tmp_path / "lake")
    store.faults.lag = 15
    watch = Watch()

    def catch_up(number: int) -> None:
        if number == 3:
            store.faults.clear()

    watch.moves = catch_up
    summary = exported(store, tmp_path / "lake", follower_seconds=20, clock=watch.clock, waiting=watch.told.append)
    assert summary.events_read == 0
    assert [(wait.seconds, len(watch.slept)) for wait in watch.told] == [(20, 4)]
    assert lake_rows(tmp_path / "lake") == log_of(store)


@pytest.mark.needs("faults")
@pytest.mark.parametrize("lag", [15, 40], ids=["behind", "empty"])
def test_a_log_that_stays_behind_the_checkpoint_is_refused_with_both_positions(store: Store, tmp_path: Path, lag: int) -> None:
    fill(store, 40)
    exported(store, tmp_path / "lake")
    end = log_of(store)[-1][0]
    store.faults.lag = lag
    seen = log_of(store)
    with pytest.raises(SourceBehind) as caught:
        exported(store, tmp_path / "lake", follower_seconds=0.1)
    assert str(end) in str(caught.value)
    assert (str(seen[-1][0]) if seen else "empty") in str(caught.value)
    assert "backup" in str(caught.value)


@pytest.mark.needs("faults")
def test_a_log_whose_beginning_was_scavenged_is_still_the_same_log(store: Store, tmp_path: Path) -> None:
    fill(store, 50)
    exported(store, tmp_path / "lake")
    log = log_of(store)
    store.faults.scavenge([row[0] for row in log[:10]])
    fill(store, 5, begin=50)
    assert exported(store, tmp_path / "lake").events_read == 5
    assert lake_rows(tmp_path / "lake") == log + log_of(store)[40:]


@pytest.mark.needs("faults")
def test_a_redacted_event_is_copied_as_the_bytes_that_it_holds_now(store: Store, tmp_path: Path) -> None:
    fill(store, 10)
    store.faults.redact(log_of(store)[0][0])
    exported(store, tmp_path / "lake")
    rows = lake_rows(tmp_path / "lake")
    assert rows == log_of(store)
    assert set(rows[0][8]) == {0xFF}


def test_a_selection_keeps_what_it_chooses_and_the_checkpoint_stays_the_logs(store: Store, tmp_path: Path) -> None:
    fill(store, 100)
    log = log_of(store)
    cases: dict[Selection, Callable[[Row], bool]] = {
        Selection(streams=("user-*",)): lambda row: row[2].startswith("user-"),
        Selection(streams=("user-1", "room-0")): lambda row: row[2] in {"user-1", "room-0"},
        Selection(categories=("user", "order")): lambda row: row[2].split("-")[0] in {"user", "order"},
        Selection(types=("type.1", "type.3")): lambda row: row[5] in {"type.1", "type.3"},
        Selection(types=("type.*",), categories=("room",)): lambda row: row[2].startswith("room-"),
        Selection(streams=("none",)): lambda row: False,
    }
    for number, (selection, keeps) in enumerate(cases.items()):
        summary = exported(store, tmp_path / str(number), selection=selection)
        assert lake_rows(tmp_path / str(number)) == [row for row in log if keeps(row)]
        sent = ReadFilter.of(selection)
        assert sent is not None
        assert summary.events_read == sum(sent.keeps(row[2]) for row in log)
        assert summary.checkpoint is not None
        assert summary.checkpoint.event_id == log[-1][4]
        fill(store, 3, begin=100)
        log = log_of(store)
        assert exported(store, tmp_path / str(number), selection=selection).events_read == sum(sent.keeps(row[2]) for row in log[-3:])


def test_a_selection_keeps_what_governs_the_chosen_streams(store: Store, tmp_path: Path) -> None:
    fill(store, 30)
    for stream in ("user-1", "room-0"):
        store.append(f"$${stream}", [NewEvent(id=uuid4(), type="$metadata", data=b'{"$maxCount":2}')])
    exported(store, tmp_path / "lake", selection=Selection(streams=("user-*",), types=("type.1",)))
    rows = lake_rows(tmp_path / "lake")
    assert {row[2] for row in rows if row[5] == "$metadata"} == {"$$user-1"}
    assert {row[5] for row in rows} == {"type.1", "$metadata"}


def test_a_lake_refuses_another_selection(store: Store, tmp_path: Path) -> None:
    fill(store, 10)
    exported(store, tmp_path / "lake", selection=Selection(streams=("user-*",)))
    with pytest.raises(LakeMismatch, match=r"user-\*.*room-\*"):
        exported(store, tmp_path / "lake", selection=Selection(streams=("room-*",)))


def test_without_a_selection_the_lakes_own_holds(store: Store, tmp_path: Path) -> None:
    fill(store, 10)
    exported(store, tmp_path / "lake", selection=Selection(streams=("user-*",)))
    fill(store, 20, begin=10)
    exported(store, tmp_path / "lake")
    assert lake_rows(tmp_path / "lake") == [row for row in log_of(store) if row[2].startswith("user-")]


def test_two_exports_into_one_lake_are_refused(store: Store, tmp_path: Path) -> None:
    fill(store, 10)
    exported(store, tmp_path / "lake")
    held = open_lake(tmp_path / "lake").info()
    with LakeWriter.open(tmp_path / "lake", store=held.store, selection=held.selection), pytest.raises(LakeBusy):
        exported(store, tmp_path / "lake")


@pytest.mark.usefixtures("small_steps")
def test_progress_rises_to_the_end(store: Store, tmp_path: Path) -> None:
    fill(store, 100)
    seen: list[Progress] = []
    summary = exported(store, tmp_path / "lake", progress=seen.append)
    assert [step.events for step in seen] == sorted(step.events for step in seen)
    assert seen[-1].events == summary.events_read
    assert seen[-1].done == 1
    assert seen[-1].remaining == 0
    assert 0 < seen[0].done < 1


@pytest.mark.usefixtures("small_steps")
def test_a_failure_to_write_ends_the_export_with_its_own_error(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, 100)

    def refused(*_: object) -> None:
        raise WorkbenchError("no")

    monkeypatch.setattr(LakeWriter, "append", refused)
    with pytest.raises(WorkbenchError, match="no"):
        exported(store, tmp_path / "lake")
