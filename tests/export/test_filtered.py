"""The server leaves out what is not kept, and an export knows all the same that nothing is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from rich.progress import Progress as Bar
from typer.testing import CliRunner

from tests.export.watch import Watch
from tests.oracle import fill, lake_rows, log_of
from tests.stores import NewEvent, Store
from workbench.cli.app import app
from workbench.cli.bar import QUIET_SECONDS, ProgressPercentage
from workbench.errors import ReadInterrupted, SourceError
from workbench.events import Checkpoint, Selection
from workbench.export import ExportSummary, export_log
from workbench.kurrent import Batch, Connection, EventPosition, ReadFilter, connect
from workbench.lake import open_lake


def append(store: Store, *streams: str) -> None:
    for stream in streams:
        store.append(stream, [NewEvent(id=uuid4(), type="happened", data=b"{}")])


def exported(store: Store, lake: Path, selection: Selection | None = None) -> tuple[ExportSummary, int]:
    """Export, and count the bulk reads."""
    reads = 0
    with connect(store.uri) as source:
        read_batches = source.read_batches

        def counted(*, after: Checkpoint | None = None, upto: EventPosition, filter: ReadFilter | None = None) -> Iterator[Batch]:  # noqa: A002
            nonlocal reads
            reads += 1
            return read_batches(after=after, upto=upto, filter=filter)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Connection, "read_batches", lambda _, **asked: counted(**asked))
            return export_log(source, lake, selection=selection), reads


def ids_of(store: Store) -> list[str]:
    return [row[4] for row in log_of(store, system=True)]


def test_the_server_leaves_out_its_own_streams_and_the_checkpoint_is_the_logs_end(store: Store, tmp_path: Path) -> None:
    append(store, "order-1", "$ce-order", "$et-happened", "$svc-all", "$ce-order")
    summary, _ = exported(store, tmp_path / "lake")
    assert (summary.events_read, summary.events_kept) == (2, 2)
    assert summary.checkpoint is not None
    assert summary.checkpoint.event_id == ids_of(store)[-1]
    assert lake_rows(tmp_path / "lake") == log_of(store)


def test_where_nothing_kept_is_new_nothing_is_read_and_the_checkpoint_moves_on(store: Store, tmp_path: Path) -> None:
    append(store, "order-1", "$ce-order")
    exported(store, tmp_path / "lake")
    append(store, "$stats-x", "$stats-x")
    summary, reads = exported(store, tmp_path / "lake")
    assert (summary.events_read, reads) == (0, 0)
    assert summary.checkpoint is not None
    assert summary.checkpoint.event_id == ids_of(store)[-1]
    # From a checkpoint that names an event of the server's own the next export goes on.
    append(store, "order-2", "$stats-x")
    summary, reads = exported(store, tmp_path / "lake")
    assert (summary.events_read, reads) == (1, 1)
    assert lake_rows(tmp_path / "lake") == log_of(store)


def test_an_export_when_nothing_at_all_is_new_reads_nothing(store: Store, tmp_path: Path) -> None:
    append(store, "order-1", "$ce-order")
    first, _ = exported(store, tmp_path / "lake")
    again, reads = exported(store, tmp_path / "lake")
    assert first.checkpoint is not None
    assert again.checkpoint is not None
    assert (again.events_read, reads, again.checkpoint.event_id) == (0, 0, first.checkpoint.event_id)


@pytest.mark.parametrize(
    ("selection", "sent", "kept"),
    [
        (Selection(categories=("order",)), 2, 2),
        (Selection(streams=("order-1", "$svc-*")), 2, 2),
        (Selection(streams=("order-*",), categories=("order",), types=("other",)), 2, 0),
        (Selection(types=("happened",)), 4, 4),
        (Selection(categories=("$ce",), system=True), 1, 1),
        (Selection(system=True), 5, 5),
    ],
)
@pytest.mark.needs("empty log")
def test_categories_and_streams_are_chosen_at_the_server_and_types_here(
    store: Store, tmp_path: Path, selection: Selection, sent: int, kept: int
) -> None:
    append(store, "order-1", "payment-1", "$ce-order", "order-2", "$svc-all")
    summary, _ = exported(store, tmp_path / "lake", selection)
    assert (summary.events_read, summary.events_kept) == (sent, kept)


def test_a_selection_that_fits_nothing_reads_nothing_and_is_said(store: Store, tmp_path: Path) -> None:
    append(store, "order-1")
    summary, reads = exported(store, tmp_path / "lake", Selection(categories=("ordr",)))
    assert (summary.is_empty, summary.events_read, reads) == (True, 0, 0)
    assert summary.checkpoint is not None
    said = CliRunner().invoke(app, ["export", "--source", store.uri, "--lake", str(tmp_path / "lake")])
    assert said.exit_code == 0
    assert "none in the log fits its selection" in said.stdout
    append(store, "ordr-1")
    assert not exported(store, tmp_path / "lake")[0].is_empty
    assert [row[2] for row in lake_rows(tmp_path / "lake")] == ["ordr-1"]


def test_a_stream_that_is_in_a_category_of_links_is_explained_on_the_command_line(store: Store, tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["export", "--source", store.uri, "--lake", str(tmp_path / "lake"), "--category", "$ce-order"])
    assert said.exit_code != 0
    assert "select the category order" in said.stderr


@pytest.mark.needs("faults")
def test_what_a_cut_leaves_ends_at_an_event_that_was_kept(store: Store, tmp_path: Path) -> None:
    for number in range(30):
        append(store, f"order-{number}", "$ce-order", "$et-happened")
    with pytest.MonkeyPatch.context() as patch, connect(store.uri) as source:
        read_batches = source.read_batches

        def cut(_: Connection, **asked: Any) -> Iterator[Batch]:
            store.faults.interrupt_reads(after=12)
            return read_batches(**asked)

        patch.setattr(Connection, "read_batches", cut)
        patch.setattr("workbench.export.retrying.WAITS", ())
        with pytest.raises(ReadInterrupted):
            export_log(source, tmp_path / "lake")
    checkpoint = open_lake(tmp_path / "lake").info().checkpoint
    rows = lake_rows(tmp_path / "lake")
    assert checkpoint is not None
    assert 0 < len(rows) < 30
    assert checkpoint.event_id == rows[-1][4]
    exported(store, tmp_path / "lake")
    assert lake_rows(tmp_path / "lake") == log_of(store)


def after_the_end_was_named(source: Connection, happens: Callable[[EventPosition], object], patch: pytest.MonkeyPatch) -> None:
    """Let something happen right before the read."""
    read_batches = source.read_batches

    def read(_: Connection, *, upto: EventPosition, **asked: Any) -> Iterator[Batch]:
        end = source.end()
        assert end is not None
        happens(end)
        return read_batches(upto=upto, **asked)

    patch.setattr(Connection, "read_batches", read)


@pytest.mark.needs("faults")
def test_an_end_of_the_servers_own_that_is_scavenged_meanwhile_is_no_checkpoint(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(store, "order-1", "order-2", "$stats-x")
    log = log_of(store)
    with connect(store.uri) as source:
        after_the_end_was_named(source, lambda end: store.faults.scavenge([end.position]), monkeypatch)
        summary = export_log(source, tmp_path / "lake")
    assert lake_rows(tmp_path / "lake") == log
    assert summary.checkpoint is not None
    assert summary.checkpoint.event_id == log[-1][4]


@pytest.mark.needs("faults")
def test_a_node_that_lags_after_a_reconnect_is_waited_for_until_it_shows_the_end(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(store, *(f"order-{number}" for number in range(5)), "$stats-x", "$stats-x")
    log, watch = log_of(store, system=True), Watch()

    def lag(number: int) -> None:
        store.faults.lag = 1 if number == 0 else 0

    watch.moves = lag
    with connect(store.uri) as source:
        after_the_end_was_named(source, lambda _: store.faults.interrupt_reads(after=2) if not watch.slept else None, monkeypatch)
        summary = export_log(source, tmp_path / "lake", clock=watch.clock, waiting=watch.told.append)
    assert ["The node lags" in wait.why for wait in watch.told] == [False, True]
    assert summary.checkpoint is not None
    assert summary.checkpoint.event_id == log[-1][4]
    assert lake_rows(tmp_path / "lake") == log_of(store)


@pytest.mark.needs("faults")
def test_an_end_of_the_servers_own_that_a_node_takes_back_is_no_checkpoint(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(store, "order-1", "order-2", "$stats-x")
    log = log_of(store)

    def taken_back(_: EventPosition) -> None:
        store.faults.restore(upto=log[-1][0])
        append(store, "$stats-x")

    with connect(store.uri) as source:
        after_the_end_was_named(source, taken_back, monkeypatch)
        with pytest.raises(SourceError, match="The log changed while it was read"):
            export_log(source, tmp_path / "lake")


@pytest.mark.needs("faults")
@pytest.mark.parametrize("system", [False, True])
def test_a_log_with_the_links_of_the_projections_is_copied_exactly(new_store: Callable[..., Store], tmp_path: Path, system: bool) -> None:
    store = new_store(links=True)
    fill(store, 300)
    export_log(store.uri, tmp_path / "lake", selection=Selection(system=system))
    fill(store, 100, begin=300)
    export_log(store.uri, tmp_path / "lake")
    assert lake_rows(tmp_path / "lake") == log_of(store, system=system)
    assert len(log_of(store, system=True)) > 2 * len(log_of(store))


def test_a_bar_shows_seconds_instead_of_a_percentage_while_nothing_is_heard() -> None:
    now = 100.0
    bar = Bar(get_time=lambda: now)
    task = bar.add_task("export", total=1.0, told_at=now)
    bar.update(task, completed=0.25)
    assert ProgressPercentage().render(bar.tasks[0]).plain == " 25%"
    now += QUIET_SECONDS + 10
    assert ProgressPercentage().render(bar.tasks[0]).plain == "12 s"
