"""What happened to real servers, told with stores that answer as they did: an export keeps what it promises through each story."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from esdbclient import EventStoreDBClient, StreamState

from tests.export.watch import Watch
from tests.oracle import fill, lake_rows, log_of, new_events
from tests.proxy import Proxy
from tests.stores import Clock, Member, NewEvent, Store
from workbench.errors import SourceBehind, SourceNotReady
from workbench.events import Selection
from workbench.export import ExportSummary, export_log
from workbench.kurrent import connect, reader
from workbench.kurrent.connection import Transport
from workbench.lake import open_lake

pytestmark = pytest.mark.needs("fresh server", "faults", "clock")

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
STREAMS = 100  # how many calls a server takes on one connection


class Cluster:
    """A leader and a follower with one log, which take their time from one clock."""

    def __init__(self, new_store: Callable[..., Store]) -> None:
        self.clock = Clock(START)
        self.leader = new_store(accept_timestamps=False, clock=self.clock)
        self.follower = new_store(accept_timestamps=False, clock=self.clock)
        leader, follower = (int(store.address.rpartition(":")[2]) for store in (self.leader, self.follower))
        self.leader.faults.gossip([Member("127.0.0.1", leader), Member("127.0.0.1", follower, "Follower")])
        self.follower.faults.not_leader(host="127.0.0.1", port=leader)

    def append(self, stream: str, events: Sequence[NewEvent]) -> None:
        for node in (self.leader, self.follower):
            node.append(stream, events)


@pytest.fixture
def cluster(new_store: Callable[..., Store]) -> Cluster:
    return Cluster(new_store)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def copied(address: str, lake: Path, *, system: bool = False) -> ExportSummary:
    return export_log(address, lake, selection=Selection(system=True) if system else None, clock=Watch().clock, follower_seconds=0)


def recorded_until(lake: Path, moment: datetime) -> list[str]:
    """The ids of the events in a lake that were recorded at or before a time."""
    ticks = (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1) * 10
    return [row[4] for row in lake_rows(lake) if row[6] <= ticks]


# -- complete until


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("preference", ["leader", "follower"])
def test_what_a_lake_promised_stays_true_while_events_become_readable_late(
    cluster: Cluster, lake: Path, preference: str, seed: int
) -> None:
    chance, now = random.Random(seed), START
    source = cluster.leader if preference == "leader" else cluster.follower
    address = f"{source.uri}&nodePreference={preference}"
    promises: list[tuple[datetime, list[str]]] = []
    held_since: datetime | None = None
    cluster.append("s-0", new_events(1))
    for _ in range(30):
        now += timedelta(milliseconds=chance.choice((1, 40, 900, 4_000)))
        cluster.clock.set(now)
        if held_since is not None and now - held_since > timedelta(seconds=5):  # so none is held for 10 seconds
            held_since = None
        elif held_since is None and chance.random() < 0.5:
            held_since = now
        cluster.leader.faults.visibility_delay = 0 if held_since is None else math.inf
        cluster.follower.faults.lag = chance.choice((0, 0, 1, 5))
        if chance.random() < 0.8:
            cluster.append(f"s-{chance.randrange(3)}", new_events(chance.randint(1, 4)))
        if chance.random() < 0.6:
            with suppress(SourceBehind):  # the follower lags behind what is in the lake
                checkpoint = copied(address, lake).checkpoint
                if checkpoint is not None:
                    promises.append((checkpoint.complete_until, recorded_until(lake, checkpoint.complete_until)))
    cluster.leader.faults.visibility_delay, cluster.follower.faults.lag = 0, 0
    copied(address, lake)
    assert lake_rows(lake) == log_of(source)
    assert len({moment for moment, _ in promises}) > 3
    for moment, known in promises:
        assert recorded_until(lake, moment) == known


def test_events_of_an_explicit_transaction_that_come_with_older_times_are_counted(cluster: Cluster, lake: Path) -> None:
    store = cluster.leader
    store.append("s", new_events(2))
    commit = store.faults.begin_transaction("t", new_events(3))
    cluster.clock.set(START + timedelta(minutes=1))
    store.append("s", new_events(2))
    first = copied(store.uri, lake)
    commit()
    store.append("s", new_events(1))
    second = copied(store.uri, lake)
    assert (first.late_events, second.late_events) == (0, 3)
    assert lake_rows(lake) == log_of(store)


# -- never committed


def test_events_that_a_deposed_leader_shows_never_come_into_a_lake(cluster: Cluster, lake: Path) -> None:
    address = f"{cluster.follower.uri}&nodePreference=follower"
    cluster.append("s", new_events(5))
    copied(address, lake)
    before = lake_rows(lake)
    cluster.follower.faults.phantom_tail("s", new_events(3))
    with pytest.raises(SourceNotReady, match="PreReplica"):
        copied(address, lake)
    assert lake_rows(lake) == before
    cluster.leader.faults.begin_epoch()
    cluster.follower.faults.drop_phantom_tail()
    cluster.append("s", new_events(4))
    copied(address, lake)
    assert lake_rows(lake) == log_of(cluster.leader) == log_of(cluster.follower)


# -- what a server writes for itself


@pytest.mark.parametrize("system", [False, True])
def test_with_the_projections_on_a_copy_is_exact_and_by_default_without_their_links(
    new_store: Callable[..., Store], lake: Path, *, system: bool
) -> None:
    store = new_store(links=True)
    traced = [NewEvent(uuid4(), f"t-{i % 3}", b"{}", b'{"$correlationId":"c-%d"}' % (i // 4)) for i in range(60)]
    for i, event in enumerate(traced):
        store.append(f"order-{i % 5}", [event])
        if i % 20 == 19:
            copied(store.uri, lake, system=system)
    fill(store, 60)
    with closing(EventStoreDBClient(store.uri)) as client:
        client.set_stream_metadata("order-1", metadata={"$maxCount": 2})
        client.delete_stream("order-2", current_version=StreamState.ANY)
        client.tombstone_stream("order-3", current_version=StreamState.ANY)
    copied(store.uri, lake, system=system)
    assert lake_rows(lake) == log_of(store, system=system)
    assert len(log_of(store, system=True)) > 4 * len(log_of(store))
    assert open_lake(lake).info().events == len(lake_rows(lake))


# -- a server that comes and goes


def test_an_export_goes_on_over_a_restart_of_the_server(new_store: Callable[..., Store], tmp_path: Path, lake: Path) -> None:
    store = new_store(data=tmp_path / "data")
    fill(store, 200)
    log = log_of(store)

    host, _, port = store.address.rpartition(":")

    def restart(number: int) -> None:
        if number == 0:
            store.stop()
            new_store(data=tmp_path / "data", port=int(port))

    watch = Watch()
    watch.moves = restart
    with Proxy(host, int(port)) as link:
        link.cut_after(30_000, by="fin")
        summary = export_log(f"esdb://{link.address}?tls=false", lake, clock=watch.clock)
    assert (summary.retries, summary.events_kept) == (1, len(log))
    assert lake_rows(lake) == log


def long_log(store: Store, megabytes: int) -> None:
    """Fill a log with more than a client reads ahead, in few events."""
    for _ in range(megabytes):
        store.append("s", [NewEvent(uuid4(), "t", b"x" * 20_000) for _ in range(50)])


def copied_with_pauses(store: Store, lake: Path, transport: Transport, *seconds: float) -> ExportSummary:
    """Export, and hold the export up behind its first batches, as a slow disk does."""
    pauses = iter(seconds)
    with connect(store.uri, transport=transport) as source:
        return export_log(source, lake, progress=lambda _: time.sleep(next(pauses, 0)), clock=Watch().clock)


@pytest.mark.parametrize(
    ("transport", "pauses"),
    [("http2", (6.0,)), ("http2", (2.0,) * 4), ("grpc", (6.0,))],
    ids=["once", "for each batch", "through gRPC's library"],
)
def test_commits_may_take_longer_than_the_server_waits_for_an_answer_to_its_ping(
    new_store: Callable[..., Store], lake: Path, transport: Transport, pauses: tuple[float, ...]
) -> None:
    store = new_store(keep_alive=2.5)
    long_log(store, 60)
    summary = copied_with_pauses(store, lake, transport, *pauses)
    assert (summary.retries, summary.events_kept) == (0, 3_000)


@pytest.mark.slow
@pytest.mark.parametrize("pauses", [(60.0,), (8.0,) * 4], ids=["a minute once", "eight seconds for each batch"])
def test_commits_may_take_as_long_as_on_a_slow_disk(store: Store, lake: Path, pauses: tuple[float, ...]) -> None:
    long_log(store, 60)
    summary = copied_with_pauses(store, lake, "http2", *pauses)
    assert (summary.retries, summary.events_kept) == (0, 3_000)


def test_reads_that_were_given_up_leave_room_for_others_on_their_connection(
    store: Store, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "CHUNK_EVENTS", 7)
    long_log(store, 10)
    with connect(store.uri, transport="grpc") as source:
        end = source.end()
        assert end is not None
        for _ in range(STREAMS + 1):
            batches = source.read_batches(upto=end)
            assert next(batches).last.order < end.order
            assert isinstance(batches, Generator)
            batches.close()
        assert export_log(source, lake).events_kept == 500
