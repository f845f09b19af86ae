"""The log that answers must be the one that was copied: a restored backup is refused, whatever it looks like, and no healthy log is."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from esdbclient import EventStoreDBClient, StreamState

from tests.export.watch import Watch
from tests.oracle import Row, fill, lake_rows, log_of, new_events
from tests.stores import Account, NewEvent, Store, clock_of
from workbench.errors import InvalidPosition, LakeMismatch, LogRewritten, LogUnproven, WorkbenchError
from workbench.events import Selection
from workbench.export import ExportSummary, export_log
from workbench.export.same_log import EVENTS_BEFORE, STREAMS
from workbench.lake import open_lake


def export(store: Store, lake: Path, *, selection: Selection | None = None, accept_scavenged: bool = False) -> ExportSummary:
    return export_log(store.uri, lake, selection=selection, accept_scavenged=accept_scavenged, clock=Watch().clock)


def write(store: Store, *streams: str, each: int = 1) -> None:
    for stream in streams:
        store.append(stream, new_events(each))


def write_longer(store: Store, stream: str) -> None:
    """Write events so large that the next ones begin elsewhere than small ones would."""
    store.append(stream, [NewEvent(id=uuid4(), type="longer", data=b"x" * 700) for _ in range(2)])


def limit(store: Store, stream: str, metadata: bytes) -> None:
    store.append(f"$${stream}", [NewEvent(id=uuid4(), type="$metadata", data=metadata)])


def delete(store: Store, stream: str, *, for_good: bool = False) -> None:
    with closing(EventStoreDBClient(store.uri)) as client:
        (client.tombstone_stream if for_good else client.delete_stream)(stream, current_version=StreamState.ANY)


def refused(store: Store, lake: Path, kind: type[WorkbenchError] = LogRewritten, *, accept_scavenged: bool = False) -> str:
    """Export, and return why that is refused; make sure that the lake is as it was."""
    before, version = lake_rows(lake), open_lake(lake).info().version
    with pytest.raises(kind) as caught:
        export(store, lake, accept_scavenged=accept_scavenged)
    assert type(caught.value) is kind
    assert (lake_rows(lake), open_lake(lake).info().version) == (before, version)
    return str(caught.value)


def went_on(store: Store, lake: Path, log: Sequence[Row], *, accept_scavenged: bool = False) -> ExportSummary:
    """Export, and make sure that the lake holds what it held, ``log``, and what came behind it."""
    summary = export(store, lake, accept_scavenged=accept_scavenged)
    assert lake_rows(lake) == [*log, *(row for row in log_of(store) if row[:2] > log[-1][:2])]
    return summary


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


# -- another log


@pytest.mark.needs("faults")
@pytest.mark.parametrize("scavenged", [False, True], ids=["as it is", "scavenged"])
def test_a_restored_backup_is_refused_with_the_event_that_differs(store: Store, lake: Path, scavenged: bool) -> None:
    fill(store, 60)
    export(store, lake)
    log = log_of(store)
    store.faults.restore(upto=log[39][0])
    fill(store, 60, begin=500)
    if scavenged:
        limit(store, "user-3", b'{"$maxCount": 1}')
        store.faults.scavenge()
        fill(store, 10, begin=900)
    said = refused(store, lake)
    assert "backup" in said
    assert "new lake" in said
    if scavenged:
        assert any(row[4] in said for row in (*log[40:], *log_of(store)))


@pytest.mark.needs("faults")
def test_a_restored_backup_whose_users_events_are_all_there_is_told_by_what_the_lake_lacks(store: Store, lake: Path) -> None:
    write(store, "a", "b", "c")
    write(store, "$stats", each=5)
    export(store, lake)
    log = log_of(store)
    store.faults.restore(upto=log[2][0])
    limit(store, "a", b'{"$maxCount": 1}')
    write(store, "z", each=5)
    store.faults.scavenge()
    assert "z" in refused(store, lake)


@pytest.mark.needs("faults")
def test_a_restored_backup_that_differs_in_a_limited_stream_alone_is_refused(store: Store, lake: Path) -> None:
    write(store, "kept", "limited")
    limit(store, "limited", b'{"$maxCount": 5}')
    write(store, "limited")
    export(store, lake)
    lost = log_of(store)[-1]
    store.faults.restore(upto=log_of(store)[-2][0])
    store.faults.scavenge()
    write(store, "limited")
    assert lost[4] in refused(store, lake)


@pytest.mark.needs("faults")
def test_a_restored_backup_is_refused_also_where_the_checkpoint_is_accepted_without_proof(store: Store, lake: Path) -> None:
    fill(store, 60)
    export(store, lake)
    store.faults.restore(upto=log_of(store)[39][0])
    fill(store, 60, begin=500)
    store.faults.scavenge()
    refused(store, lake, accept_scavenged=True)


@pytest.mark.needs("faults")
def test_another_event_at_the_position_of_the_checkpoint_is_enough(store: Store, lake: Path) -> None:
    write(store, "a", "b")
    export(store, lake)
    log = log_of(store)
    store.faults.restore(upto=log[0][0])
    write(store, "b", each=3)
    assert log_of(store)[1][0] == log[1][0]
    said = refused(store, lake)
    assert log[1][4] in said
    assert log_of(store)[1][4] in said


@pytest.mark.needs("faults", "fresh server")
@pytest.mark.parametrize("version", ["25.0", "23.10"])
def test_a_refused_position_is_another_log_where_nothing_else_can_be_compared(
    new_store: Callable[..., Store], lake: Path, version: str
) -> None:
    store = new_store(refused_position=version)
    limit(store, "a", b'{"$maxCount": 3}')
    write(store, "a", each=3)
    export(store, lake)
    store.faults.restore(upto=log_of(store)[0][0])
    write_longer(store, "a")
    assert "no event begins" in refused(store, lake)
    refused(store, lake, accept_scavenged=True)


@pytest.mark.needs("faults")
def test_a_refused_position_in_a_log_that_is_the_same_is_told_as_a_fault_of_the_server(store: Store, lake: Path) -> None:
    write(store, "a", "b")
    write(store, "$stats-x", each=2)
    export(store, lake)
    store.faults.restore(upto=log_of(store)[1][0])
    write_longer(store, "c")
    said = refused(store, lake, InvalidPosition)
    assert "2 streams" in said


@pytest.mark.needs("faults")
def test_another_store_is_refused(store: Store, lake: Path) -> None:
    fill(store, 20)
    export(store, lake)
    store.faults.restore(upto=-1)
    fill(store, 80, begin=7)
    assert "another store" in refused(store, lake, LakeMismatch)


# -- the same log


def aged(store: Store, stream: str) -> None:
    """Let all events of a stream be older than it keeps them."""
    limit(store, stream, b'{"$maxAge": 1}')
    clock_of(store).advance(timedelta(days=1))


@pytest.mark.needs("faults", "clock")
def test_a_log_that_was_scavenged_by_age_goes_on(store: Store, lake: Path) -> None:
    write(store, "kept-1", "kept-2", "sessions", each=3)
    write(store, "sessions", each=4)
    export(store, lake)
    log = log_of(store)
    aged(store, "sessions")
    write(store, "sessions")
    assert store.faults.scavenge() == 7
    write(store, "kept-1", each=2)
    summary = went_on(store, lake, log)
    assert summary.scavenged
    assert summary.streams_compared == 2
    assert export(store, lake).events_read == 0


@pytest.mark.needs("faults", "clock")
def test_a_log_with_nothing_left_to_compare_goes_on_only_where_the_user_vouches_for_it(store: Store, lake: Path) -> None:
    write(store, "sessions", each=5)
    export(store, lake)
    log = log_of(store)
    aged(store, "sessions")
    write(store, "sessions", each=1)
    store.faults.scavenge()
    write(store, "sessions", each=2)
    assert "--accept-scavenged" in refused(store, lake, LogUnproven)
    summary = went_on(store, lake, log, accept_scavenged=True)
    assert summary.scavenged
    assert summary.streams_compared == 0


@pytest.mark.needs("faults")
def test_a_filtered_lake_goes_on_where_the_newest_system_events_are_gone(store: Store, lake: Path) -> None:
    limit(store, "$stats", b'{"$maxCount": 1}')
    write(store, "user-1", "user-2", "other-1")
    write(store, "$stats", each=20)
    export(store, lake, selection=Selection(streams=("user-*",)))
    write(store, "$stats", each=2)
    store.faults.scavenge()
    write(store, "user-3")
    summary = export(store, lake, selection=Selection(streams=("user-*",)))
    assert summary.scavenged
    assert summary.streams_compared == 2
    assert {row[2] for row in lake_rows(lake)} == {"user-1", "user-2", "user-3"}


@pytest.mark.needs("fresh server", "faults")
def test_another_node_that_was_scavenged_otherwise_is_the_same_log(store: Store, new_store: Callable[..., Store], lake: Path) -> None:
    """The first node has scavenged what the second still shows in ``$all``, and the second has scavenged the checkpoint."""
    write(store, "kept", "sessions", each=3)
    sessions = [row[0] for row in log_of(store) if row[2] == "sessions"]
    limit(store, "sessions", b'{"$maxCount": 1}')
    limit(store, "$stats", b'{"$maxCount": 1}')
    write(store, "$stats", each=2)
    write(store, "kept")
    write(store, "$stats", each=1)
    first = new_store()
    _copy_log(store, first)
    first.faults.scavenge(sessions[:2])
    export(first, lake)
    log = lake_rows(lake)
    assert sessions[0] not in [row[0] for row in log]
    checkpoint = log[-1][0]
    write(store, "$stats", each=1)
    store.faults.scavenge([checkpoint])
    write(store, "kept")
    assert sessions[0] in [row[0] for row in log_of(store)]
    summary = went_on(store, lake, log)
    assert summary.scavenged
    assert summary.streams_compared >= 1


def _copy_log(source: Store, target: Store) -> None:
    """Let a store hold the same log as another, as two nodes of a cluster do."""
    for row in log_of(source):
        target.append(row[2], [NewEvent(id=UUID(row[4]), type=row[5], data=row[8], metadata=row[9], is_json=row[7])])
    assert [row[:6] for row in log_of(target)] == [row[:6] for row in log_of(source)]


@pytest.mark.needs("faults")
@pytest.mark.parametrize("gone", ["deleted", "tombstoned", "truncated", "limited once"])
def test_a_stream_that_lost_events_in_good_order_is_no_contradiction(store: Store, lake: Path, gone: str) -> None:
    write(store, "kept", "going", each=3)
    limit(store, "$stats", b'{"$maxCount": 1}')
    write(store, "$stats")
    export(store, lake)
    log = log_of(store)
    if gone == "truncated":
        write(store, "going")
        limit(store, "going", b'{"$tb": 3}')
    elif gone == "limited once":
        write(store, "going")
        limit(store, "going", b'{"$maxCount": 1}')
    else:
        delete(store, "going", for_good=gone == "tombstoned")
    write(store, "$stats")
    assert store.faults.scavenge() >= 3
    if gone == "limited once":
        limit(store, "going", b"{}")
    assert went_on(store, lake, log).streams_compared == 1


@pytest.mark.needs("faults")
def test_the_newest_events_of_eight_streams_are_enough(store: Store, lake: Path) -> None:
    write(store, *(f"s-{number}" for number in range(2 * STREAMS)))
    limit(store, "$stats", b'{"$maxCount": 1}')
    write(store, "$stats", each=EVENTS_BEFORE)
    export(store, lake)
    write(store, "$stats")
    store.faults.scavenge()
    assert export(store, lake).streams_compared == STREAMS


@pytest.mark.needs("faults")
def test_a_users_stream_whose_name_begins_with_a_dollar_proves_the_log_too(store: Store, lake: Path) -> None:
    write(store, "$svc-catch-all", "$stats-x")
    export(store, lake)
    log = log_of(store)
    store.faults.scavenge([log_of(store, system=True)[-1][0]])
    write(store, "$svc-catch-all")
    assert went_on(store, lake, log).streams_compared == 1


@pytest.mark.needs("faults")
@pytest.mark.needs("faults", "tls", "users")
def test_a_stream_that_the_user_may_not_read_is_not_compared(new_store: Callable[..., Store], lake: Path) -> None:
    store = new_store(tls=True, username="ops", password="s3cret", users={"analyst": Account("pass")})
    limit(store, "$all", b'{"$acl": {"$r": ["$admins", "analyst"]}}')
    write(store, "open", "secret", each=2)
    limit(store, "secret", b'{"$acl": {"$r": "$admins", "$mr": "$admins"}}')
    limit(store, "$stats", b'{"$maxCount": 1}')
    write(store, "$stats", each=2)
    address = store.uri_for("analyst")
    export_log(address, lake, clock=Watch().clock)
    write(store, "$stats")
    store.faults.scavenge()
    summary = export_log(address, lake, clock=Watch().clock)
    assert (summary.scavenged, summary.streams_compared) == (True, 1)


def test_an_explicit_transaction_is_compared_by_its_place_in_the_log(store: Store, lake: Path) -> None:
    store.faults.transaction("account-1", new_events(3))
    limit(store, "$stats", b'{"$maxCount": 1}')
    write(store, "$stats")
    export(store, lake)
    log = log_of(store)
    write(store, "$stats")
    store.faults.scavenge()
    assert went_on(store, lake, log).streams_compared == 1


@pytest.mark.needs("faults", "fresh server", "disk")
def test_an_upgrade_of_the_server_keeps_positions_and_identity(new_store: Callable[..., Store], tmp_path: Path, lake: Path) -> None:
    old = new_store(data=tmp_path / "store", refused_position="23.10")
    fill(old, 30)
    export(old, lake)
    log = log_of(old)
    old.stop()
    new = new_store(data=tmp_path / "store", refused_position="25.0")
    fill(new, 5, begin=30)
    summary = went_on(new, lake, log)
    assert (summary.events_read, summary.scavenged) == (5, False)


@pytest.mark.needs("faults", "fresh server", "disk")
def test_a_lake_from_before_these_promises_goes_on_with_its_own_selection(new_store: Callable[..., Store], tmp_path: Path) -> None:
    """``format-1.tar.xz`` holds a lake as the first exports wrote it, and the embedded store that it was copied from."""
    with tarfile.open(Path(__file__).parent / "format-1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    store, lake = new_store(data=tmp_path / "store"), tmp_path / "lake"
    log = lake_rows(lake)
    assert log == log_of(store, system=True)
    before = open_lake(lake).info()
    assert before.selection.system
    fill(store, 20, begin=60)
    summary = export(store, lake)
    assert (summary.events_read, summary.scavenged) == (20, False)
    assert lake_rows(lake) == log_of(store, system=True)
    store.faults.restore(upto=log[30][0])
    fill(store, 60, begin=200)
    refused(store, lake)


def test_an_export_when_nothing_is_new_adds_no_event_and_is_no_reason_to_refuse(store: Store, lake: Path) -> None:
    fill(store, 30)
    export(store, lake)
    log = log_of(store)
    for _ in range(2):
        assert went_on(store, lake, log).events_read == 0


@pytest.mark.needs("faults")
def test_the_first_event_of_a_server_that_just_started_is_waited_for(store: Store, lake: Path) -> None:
    fill(store, 30)
    store.faults.empty_for(60)
    watch = Watch()
    watch.moves = _then(store.faults.clear, after=3)
    assert export_log(store.uri, lake, clock=watch.clock).events_read == 30
    assert sum(watch.slept) < 5


@pytest.mark.needs("empty log")
def test_a_log_that_stays_empty_is_waited_for_five_seconds(store: Store, lake: Path) -> None:
    watch = Watch()
    assert export_log(store.uri, lake, clock=watch.clock).checkpoint is None
    assert 4 < sum(watch.slept) <= 5.25


def _then(action: Callable[[], None], *, after: int) -> Callable[[int], None]:
    def move(number: int) -> None:
        if number == after:
            action()

    return move
