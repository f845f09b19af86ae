"""A read that is cut keeps what came, and the export goes on by itself; what does not pass by itself fails at once."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tests.export.watch import Watch
from tests.oracle import fill, lake_rows, log_of, new_events
from tests.proxy import CutBy, Proxy
from tests.stores import NewEvent, Store
from workbench.errors import LogRewritten, SourceNotReady, SourceUnavailable, StorageFull, WorkbenchError
from workbench.events import Checkpoint
from workbench.export import ExportSummary, copy, export_log, wait_until_ready
from workbench.export.retrying import WAITS
from workbench.kurrent import Connection, NodeState, connect
from workbench.kurrent.connection import Transport
from workbench.lake import LakeWriter


@pytest.fixture(params=["http2", "grpc"])
def transport(request: pytest.FixtureRequest) -> Transport:
    chosen: Transport = request.param
    return chosen


def proxy_of(store: Store) -> Proxy:
    host, _, port = store.address.rpartition(":")
    return Proxy(host, int(port))


def export(link: Proxy | Store, lake: Path, watch: Watch, *, transport: Transport = "http2") -> ExportSummary:
    address = f"esdb://{link.address}?tls=false"
    with wait_until_ready(lambda: connect(address, transport=transport), told=watch.told.append, clock=watch.clock) as source:
        return export_log(source, lake, clock=watch.clock, waiting=watch.told.append)


def in_the(number: int, action: Callable[[], object]) -> Callable[[int], None]:
    """Do something in the wait of a number, from 0."""

    def move(at: int) -> None:
        if at == number:
            action()

    return move


def write_large(store: Store, *, events: int, size: int) -> None:
    for start in range(0, events, 50):
        store.append(f"large-{start}", [NewEvent(id=event.id, type="large", data=b"x" * size) for event in new_events(50)])


@pytest.mark.parametrize("by", ["reset", "fin"])
def test_a_link_that_is_cut_every_2_mb_copies_everything(store: Store, tmp_path: Path, transport: Transport, by: CutBy) -> None:
    write_large(store, events=1000, size=8_000)
    watch = Watch()
    with proxy_of(store) as link:
        link.cut_every(2_000_000, by=by)
        summary = export(link, tmp_path / "lake", watch, transport=transport)
        assert link.cuts >= 3
    log = log_of(store)
    assert lake_rows(tmp_path / "lake") == log
    assert summary.events_read == summary.events_kept == len(log)
    # Each cut came behind a commit, so that each wait is the shortest.
    assert summary.retries == len(watch.told) == len(watch.slept) >= 3
    assert {(wait.seconds, wait.number) for wait in watch.told} == {(1.0, 1)}
    assert summary.waited == sum(watch.slept)
    positions = [wait.position for wait in watch.told]
    assert None not in positions
    assert len(set(positions)) == len(positions)


def test_where_nothing_more_comes_the_waits_grow_and_the_export_ends_with_position_and_cause(store: Store, tmp_path: Path) -> None:
    write_large(store, events=500, size=8_000)
    log, watch = log_of(store), Watch()
    with proxy_of(store) as link:
        link.cut_after(2_000_000)
        watch.moves = in_the(0, link.refuse)
        with pytest.raises(SourceUnavailable) as caught:
            export(link, tmp_path / "lake", watch)
    assert watch.slept == list(WAITS)
    assert [wait.number for wait in watch.told] == [1, 2, 3, 4, 5]
    copied = lake_rows(tmp_path / "lake")
    assert 0 < len(copied) < len(log)
    assert copied == log[: len(copied)]
    assert f"position {copied[-1][0]}" in str(caught.value)
    assert link.address in str(caught.value)
    assert "Run it again later" in str(caught.value)
    assert not any("again" in wait.why for wait in watch.told[:1])
    again = export(store, tmp_path / "lake", watch)
    assert again.events_read == len(log) - len(copied)
    assert lake_rows(tmp_path / "lake") == log


def test_an_export_goes_on_to_the_end_that_it_took_first(store: Store, tmp_path: Path) -> None:
    write_large(store, events=300, size=8_000)
    log, watch = log_of(store), Watch()
    watch.moves = in_the(0, lambda: fill(store, 30))
    with proxy_of(store) as link:
        link.cut_after(1_000_000)
        summary = export(link, tmp_path / "lake", watch)
    assert watch.slept == [1.0]
    assert lake_rows(tmp_path / "lake") == log
    assert summary.events_read == len(log)


@pytest.mark.needs("faults")
@pytest.mark.parametrize("what", ["starting", "election", "another leader"])
def test_a_node_that_is_not_ready_in_mid_export_is_waited_for(store: Store, tmp_path: Path, what: str) -> None:
    write_large(store, events=300, size=8_000)
    watch = Watch()

    def trouble() -> None:
        if what == "starting":
            store.faults.not_ready()
        elif what == "election":
            store.faults.node_state("Unknown")
        else:
            store.faults.not_leader(host="127.0.0.1", port=1)

    watch.moves = lambda number: trouble() if number == 0 else store.faults.clear() if number == 2 else None
    with proxy_of(store) as link:
        link.cut_after(1_000_000)
        summary = export(link, tmp_path / "lake", watch)
    assert watch.slept == [1.0, 2.0, 5.0]
    assert summary.retries == 3
    assert lake_rows(tmp_path / "lake") == log_of(store)


@pytest.mark.needs("faults")
@pytest.mark.parametrize("what", ["starting", "no leader"])
def test_a_node_that_is_not_ready_is_waited_for_on_the_first_connect(store: Store, tmp_path: Path, what: str) -> None:
    fill(store, 20)
    watch = Watch()
    watch.moves = in_the(2, store.faults.clear)
    if what == "starting":
        store.faults.not_ready()
    else:
        store.faults.node_state("Unknown")
    export(store, tmp_path / "lake", watch)
    assert watch.slept == [1.0, 2.0, 5.0]
    assert lake_rows(tmp_path / "lake") == log_of(store)


@pytest.mark.needs("faults")
def test_a_node_that_never_becomes_ready_is_given_up(store: Store, tmp_path: Path) -> None:
    watch = Watch()
    store.faults.not_ready()
    with pytest.raises(SourceNotReady, match="Nothing was copied, after 5 tries in 63 s"):
        export(store, tmp_path / "lake", watch)
    assert watch.slept == list(WAITS)


def test_a_refused_connection_fails_at_once_on_the_first_connect(tmp_path: Path) -> None:
    watch = Watch()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"esdb://127.0.0.1:{probe.getsockname()[1]}?tls=false"
    with pytest.raises(SourceUnavailable):
        export_log(address, tmp_path / "lake", clock=watch.clock)
    assert watch.slept == []


@pytest.mark.parametrize("error", [StorageFull("full"), WorkbenchError("no")])
def test_an_error_of_the_lake_is_never_tried_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: WorkbenchError
) -> None:
    fill(store, 100)
    watch, tried = Watch(), 0

    def refused(writer: LakeWriter, batch: pa.Table, checkpoint: Checkpoint) -> None:
        nonlocal tried
        tried += 1
        raise error

    monkeypatch.setattr(copy, "COMMIT_EVENTS", 20)
    monkeypatch.setattr(LakeWriter, "append", refused)
    with pytest.raises(type(error)) as caught:
        export(store, tmp_path / "lake", watch)
    assert caught.value is error
    assert (tried, watch.slept) == (1, [])


@pytest.mark.needs("faults")
def test_a_log_that_was_rewritten_while_the_connection_was_gone_is_refused(store: Store, tmp_path: Path) -> None:
    write_large(store, events=300, size=8_000)
    log, watch = log_of(store), Watch()

    def restored() -> None:
        store.faults.restore(upto=log[9][0])
        write_large(store, events=350, size=9_000)

    watch.moves = in_the(0, restored)
    with proxy_of(store) as link:
        link.cut_after(1_000_000)
        with pytest.raises(LogRewritten):
            export(link, tmp_path / "lake", watch)
    copied = lake_rows(tmp_path / "lake")
    assert copied == log[: len(copied)]
    assert copied


def test_what_a_node_sent_is_dropped_where_it_is_no_longer_one_to_read(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_large(store, events=300, size=8_000)
    watch = Watch()
    check_node = Connection.check_node
    with proxy_of(store) as link:
        link.cut_after(1_000_000)

        def check(source: Connection) -> NodeState:
            if link.cuts and not watch.slept:
                raise SourceNotReady("The node was deposed.")
            return check_node(source)

        monkeypatch.setattr(Connection, "check_node", check)
        summary = export(link, tmp_path / "lake", watch)
    assert [wait.position for wait in watch.told] == [None]
    assert summary.events_read == 300
    assert lake_rows(tmp_path / "lake") == log_of(store)
