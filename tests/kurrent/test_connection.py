"""A connection over real gRPC: addresses, discovery, login, and a log read to its end over both transports."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from tests.oracle import fill, log_of, new_events
from tests.proxy import CutBy, Proxy
from tests.stores import NewEvent, Store
from workbench.errors import InvalidPosition, ReadInterrupted, SourceUnavailable, UsageError
from workbench.events import EVENT_SCHEMA, Checkpoint
from workbench.kurrent import EventPosition, connect
from workbench.kurrent.connection import Transport
from workbench.kurrent.reader import _date


@pytest.fixture(params=["http2", "grpc"])
def transport(request: pytest.FixtureRequest) -> Transport:
    chosen: Transport = request.param
    return chosen


@pytest.mark.parametrize("scheme", ["esdb", "kurrentdb", "kurrent", "esdb+discover", "kurrentdb+discover", "kurrent+discover"])
def test_every_scheme_leads_to_the_log(store: Store, transport: Transport, scheme: str) -> None:
    fill(store, 10)
    with connect(f"{scheme}://{store.address}?tls=false", transport=transport) as source:
        end = source.end()
        assert end is not None
        assert sum(batch.events.num_rows for batch in source.read_batches(upto=end)) == len(log_of(store, system=True))
        assert source.address == f"{scheme}://{store.address}"


def test_several_hosts_are_asked_in_turn(store: Store) -> None:
    fill(store, 3)
    with connect(f"esdb://127.0.0.1:1,{store.address}?tls=false&maxDiscoverAttempts=1") as source:
        assert source.end() is not None


@pytest.mark.needs("faults")
def test_a_node_that_is_not_the_leader_names_the_leader(store: Store) -> None:
    store.faults.not_leader(host="127.0.0.2", port=9999)
    with pytest.raises(SourceUnavailable, match=r"127\.0\.0\.2:9999"):
        connect(store.uri)


@pytest.mark.needs("empty log")
def test_an_empty_log_has_no_ends(store: Store) -> None:
    with connect(store.uri) as source:
        assert source.start() is None
        assert source.end() is None


def test_the_ends_of_the_log_are_its_first_and_last_event(store: Store) -> None:
    fill(store, 30)
    with connect(store.uri) as source:
        log = log_of(store, system=True)
        assert source.start() == EventPosition(log[0][0], log[0][1], log[0][4])
        assert source.end() == EventPosition(log[-1][0], log[-1][1], log[-1][4])


def test_a_read_begins_at_its_checkpoint_and_ends_at_the_mark_both_inclusively(store: Store, transport: Transport) -> None:
    fill(store, 30)
    log = log_of(store)
    after = Checkpoint(log[10][0], log[10][1], log[10][4], datetime.now(UTC))
    upto = EventPosition(log[20][0], log[20][1], log[20][4])
    with connect(store.uri, transport=transport) as source:
        batches = list(source.read_batches(after=after, upto=upto))
    assert [position for batch in batches for position in batch.events["position"].to_pylist()] == [row[0] for row in log[10:21]]
    assert all(batch.events.schema == EVENT_SCHEMA for batch in batches)
    assert batches[-1].last == upto


def test_a_mark_that_the_log_does_not_reach_is_an_interrupted_read(store: Store, transport: Transport) -> None:
    fill(store, 5)
    with connect(store.uri, transport=transport) as source, pytest.raises(ReadInterrupted, match="ended the read at position"):
        list(source.read_batches(upto=EventPosition(2**50, 2**50, "")))


def test_a_position_between_two_events_is_an_invalid_one(store: Store, transport: Transport) -> None:
    fill(store, 5)
    log = log_of(store)
    between = Checkpoint(log[2][0] + 1, log[2][1] + 1, str(uuid4()), datetime.now(UTC))
    with connect(store.uri, transport=transport) as source, pytest.raises(InvalidPosition):
        list(source.read_batches(after=between, upto=EventPosition(log[-1][0], log[-1][1], log[-1][4])))


def test_an_iteration_that_is_given_up_leaves_the_connection_usable(store: Store, transport: Transport) -> None:
    fill(store, 50)
    with connect(store.uri, transport=transport) as source:
        end = source.end()
        assert end is not None
        reading = source.read_batches(upto=end)
        next(reading)
        del reading
        assert sum(batch.events.num_rows for batch in source.read_batches(upto=end)) == len(log_of(store, system=True))


def test_events_larger_than_a_chunk_arrive_whole(store: Store, transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.kurrent.reader.CHUNK_BYTES", 100_000)
    stream = f"large-{uuid4()}"
    large = [bytes([65 + i]) * 900_000 for i in range(4)]
    for data in large:
        store.append(stream, [NewEvent(id=uuid4(), type="t", data=data)])
    with connect(store.uri, transport=transport) as source:
        end = source.end()
        assert end is not None
        batches = list(source.read_batches(upto=end))
    found = [[row["data_bytes"] for row in batch.events.to_pylist() if row["stream"] == stream] for batch in batches]
    assert [data for chunk in found for data in chunk] == large
    assert max(len(chunk) for chunk in found) == 1


@pytest.mark.parametrize("by", ["reset", "fin"])
def test_a_read_that_is_cut_hands_over_the_whole_messages_that_came(store: Store, transport: Transport, by: CutBy) -> None:
    for _ in range(8):
        store.append("s", [NewEvent(uuid4(), "t", b"x" * 10_000) for _ in range(50)])
    log = log_of(store)
    host, _, port = store.address.rpartition(":")
    with Proxy(host, int(port)) as link, connect(f"esdb://{link.address}?tls=false", transport=transport) as source:
        end = source.end()
        assert end is not None
        link.cut_after(2_000_000, by=by)
        positions: list[int] = []

        def read(upto: EventPosition) -> None:
            for batch in source.read_batches(upto=upto):
                positions.extend(batch.events["position"].to_pylist())

        with pytest.raises(ReadInterrupted):
            read(end)
    assert positions == [row[0] for row in log[: len(positions)]]
    assert 150 < len(positions) < 220, "whole messages of 2 MB, and no more"


@pytest.mark.needs("fresh server", "tls", "users")
def test_a_long_log_comes_whole_over_tls(new_store: Callable[..., Store], transport: Transport) -> None:
    store = new_store(tls=True, username="admin", password="changeit")
    for _ in range(20):
        store.append("s", [NewEvent(uuid4(), "t", b"x" * 20_000) for _ in range(50)])
    address = f"esdb://admin:changeit@{store.address}?tls=true&tlsCaFile={store.ca_file}"
    with connect(address, transport=transport) as source:
        end = source.end()
        assert end is not None
        read = [batch.events for batch in source.read_batches(upto=end)]
    assert sum(events.num_rows for events in read) == 1000
    assert all(len(data) == 20_000 for events in read for data in events["data_bytes"].to_pylist())


@pytest.mark.needs("faults")
def test_only_a_store_that_says_so_accepts_timestamps(new_store: Callable[..., Store]) -> None:
    for accepts in (True, False):
        with connect(new_store(accept_timestamps=accepts).uri) as source:
            assert source.accepts_timestamps is accepts


def test_an_unknown_transport_is_refused_with_the_known_ones(store: Store) -> None:
    with pytest.raises(UsageError, match="http2, grpc"):
        connect(store.uri, transport="carrier pigeon")  # type: ignore[arg-type]  # the test is about this


@pytest.mark.needs("fresh server")
def test_a_read_of_a_server_that_has_stopped_is_unavailable_or_interrupted(store: Store, transport: Transport) -> None:
    store.append("a", new_events(3))
    source = connect(store.uri, transport=transport)
    end = source.end()
    assert end is not None
    store.stop()
    with source, pytest.raises((SourceUnavailable, ReadInterrupted), match="esdb://127"):
        list(source.read_batches(upto=end))


def test_the_end_of_the_log_carries_the_servers_own_time_where_it_sends_one() -> None:
    assert _date([("server", "Kestrel"), ("date", "Sun, 01 Mar 2026 09:00:00 GMT")]) == datetime(2026, 3, 1, 9, tzinfo=UTC)
    assert _date([("date", "yesterday")]) is None
    assert _date([]) is None
    assert _date(None) is None
