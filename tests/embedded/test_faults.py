"""Each fault looks to a client as it does on a real server, and goes away when it is cleared."""

import math
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from threading import Thread
from uuid import uuid4

import grpc
import pytest
from esdbclient import EventStoreDBClient, StreamState
from esdbclient.exceptions import GrpcDeadlineExceeded, NodeIsNotLeader, ServiceUnavailable, UnknownError
from esdbclient.protos.Grpc import streams_pb2_grpc

from tests.embedded.wire import batch, events, proposed, read_all, read_stream, recorded
from workbench.embedded import Clock, EmbeddedStore, NewEvent
from workbench.embedded.recording.layout import CHUNK


def test_a_read_is_cut_after_so_many_events(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", events(500))
    store.faults.interrupt_reads(after=300, times=2)
    for _ in range(2):
        reading = client.read_all()
        assert len(list(islice(reading, 300))) == 300
        with pytest.raises(ServiceUnavailable):
            next(reading)
    assert len(list(client.read_all())) == 500


def test_a_read_ends_early_as_if_that_were_all(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", events(10))
    store.faults.interrupt_reads(after=4, quietly=True)
    assert len(list(client.read_all())) == 4
    assert len(list(client.read_all())) == 10


def test_a_read_may_be_cut_before_its_first_event(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", events(1))
    store.faults.interrupt_reads(after=0)
    with pytest.raises(ServiceUnavailable):
        next(client.read_all())


def test_a_read_that_ends_before_the_cut_is_whole(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", events(3))
    store.faults.interrupt_reads(after=4)
    assert len(list(client.read_all())) == 3


def test_an_append_whose_reply_is_lost_was_recorded_once(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.faults.lose_replies()
    event = proposed()
    client.append_event("s", current_version=StreamState.NO_STREAM, event=event)  # the client tries again by itself
    assert [found.id for found in client.read_all()] == [event.id]


def test_a_batch_call_whose_reply_is_lost_breaks(store: EmbeddedStore) -> None:
    store.faults.lose_replies()
    with grpc.insecure_channel(store.address) as channel:
        stub = streams_pb2_grpc.StreamsStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.BatchAppend(iter([batch("s", events(1)), batch("s", events(1))])))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert recorded(stub.Read(read_all()))


def test_a_head_that_lags_comes_later(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", events(5))
    store.faults.lag = 2
    assert len(list(client.read_all())) == len(client.get_stream("s")) == 3
    with client.subscribe_to_all(timeout=10) as subscription:
        assert len(list(islice(subscription, 3))) == 3
        store.faults.lag = 0
        assert len(list(islice(subscription, 2))) == 2
    store.faults.lag = 9
    assert list(client.read_all(backwards=True)) == []
    store.faults.clear()
    assert len(list(client.read_all())) == 5


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
def test_an_event_is_stamped_before_it_can_be_read(tmp_path: Path, *, on_disk: bool) -> None:
    clock = Clock(datetime(2026, 3, 1, tzinfo=UTC))
    with EmbeddedStore(tmp_path if on_disk else None, clock=clock) as store, grpc.insecure_channel(store.address) as channel:
        stub = streams_pb2_grpc.StreamsStub(channel)
        store.append("s", events(1))
        store.faults.visibility_delay = math.inf
        store.append("s", events(2))
        appending = stub.BatchAppend(iter([batch("s", events(1))]), timeout=20)
        clock.advance(timedelta(hours=1))
        assert len(recorded(stub.Read(read_all(), timeout=10))) == 1
        assert len(recorded(stub.Read(read_stream("s"), timeout=10))) == 1
        assert not appending.done()
        store.faults.visibility_delay = 0
        assert next(iter(appending)).success.current_revision == 3
        seen = recorded(stub.Read(read_all(), timeout=10))
        assert [event.metadata["created"] for event in seen][:3] == [str(clock() - 36_000_000_000)] * 3
        assert len(seen) == 4


def test_a_change_of_the_faults_is_in_effect_when_it_was_made(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    for number in range(50):
        store.faults.visibility_delay = math.inf
        store.append("s", events(1))
        store.faults.visibility_delay = 0
        store.faults.visibility_delay = math.inf
        assert len(client.get_stream("s")) == number + 1


def test_an_event_becomes_visible_by_itself(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.faults.visibility_delay = 0.05
    client.append_event("s", current_version=StreamState.ANY, event=proposed())
    assert len(client.get_stream("s")) == 1  # the writer was answered when it could be read
    store.append("s", events(1))
    with client.subscribe_to_all(timeout=10) as subscription:
        assert len(list(islice(subscription, 2))) == 2


def test_a_node_that_is_not_the_leader_names_it(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.faults.not_leader(host="other.example", port=2113)
    for call in (
        lambda: client.append_event("s", current_version=StreamState.ANY, event=proposed()),
        lambda: client.append_events("s", current_version=StreamState.ANY, events=[proposed()]),
        lambda: client.tombstone_stream("s", current_version=StreamState.ANY),
        lambda: list(client.read_all()),
    ):
        with pytest.raises(NodeIsNotLeader) as caught:
            call()
        assert caught.value.leader_grpc_target == "other.example:2113"
    store.faults.clear()
    client.append_event("s", current_version=StreamState.ANY, event=proposed())


def test_a_follower_serves_those_who_do_not_ask_for_the_leader(store: EmbeddedStore) -> None:
    store.append("s", events(1))
    store.faults.not_leader(host="other.example", port=2113)
    with grpc.insecure_channel(store.address) as channel:
        stub = streams_pb2_grpc.StreamsStub(channel)
        assert len(recorded(stub.Read(read_all(), metadata=[("requires-leader", "false")]))) == 1


def test_a_slow_server_is_slow(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", events(1))
    store.faults.delay = 30.0
    with pytest.raises(GrpcDeadlineExceeded):
        client.get_stream("s", timeout=0.2)
    store.faults.clear()
    assert len(client.get_stream("s")) == 1


def test_a_scavenge_takes_what_nobody_sees(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("counted", events(5))
    client.set_stream_metadata("counted", metadata={"$maxCount": 2})
    store.append("gone", events(3))
    client.delete_stream("gone", current_version=StreamState.ANY)
    store.append("ended", events(3))
    client.tombstone_stream("ended", current_version=StreamState.ANY)
    before = [event.stream_position for event in client.get_stream("counted")]
    first = next(client.read_all(filter_exclude=[])).commit_position
    assert store.faults.scavenge() == 3 + 2 + 3
    assert [event.stream_position for event in client.get_stream("counted")] == before
    left = [(event.stream_name, event.stream_position) for event in client.read_all(filter_exclude=[])]
    assert left == [
        ("counted", 3),
        ("counted", 4),
        ("$$counted", 0),
        ("gone", 2),
        ("$$gone", 0),
        ("ended", 2**63 - 1),
    ]
    assert len(list(client.read_all(commit_position=first, filter_exclude=[]))) == len(left)
    client.append_event("gone", current_version=StreamState.ANY, event=proposed())
    assert [event.stream_position for event in client.get_stream("gone")] == [3]


def test_a_read_goes_on_behind_a_record_that_was_scavenged(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", events(4))
    positions = [event.commit_position or 0 for event in client.read_all()]
    assert store.faults.scavenge(positions[1:3]) == 2
    assert [event.commit_position for event in client.read_all(commit_position=positions[1])] == positions[3:]
    back = client.read_all(commit_position=positions[2], backwards=True)
    assert [event.commit_position for event in back] == positions[:1]


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
def test_any_position_is_accepted_where_the_log_was_scavenged_and_nowhere_else(tmp_path: Path, *, on_disk: bool) -> None:
    with EmbeddedStore(tmp_path if on_disk else None) as store, grpc.insecure_channel(store.address) as channel:
        stub = streams_pb2_grpc.StreamsStub(channel)

        def positions(commit: int, *, backwards: bool = False) -> list[int]:
            found = recorded(stub.Read(read_all(position=(commit, commit), backwards=backwards), timeout=10))
            return [event.commit_position for event in found]

        first, second, third = (store.append("s", events(1)).commit for _ in range(3))
        with pytest.raises(grpc.RpcError, match="InvalidPosition"):
            positions(second + 1)
        assert store.faults.scavenge([second]) == 1
        for commit in (first + 1, second - 1, second, second + 1, third - 1):
            assert positions(commit) == [third]
            assert positions(commit, backwards=True) == [first]
        assert positions(0) == [first, third]
        assert positions(third + 1) == []
        assert positions(CHUNK - 1, backwards=True) == [third, first]
        fourth, fifth = (store.append("s", events(1)).commit for _ in range(2))
        assert fourth == CHUNK
        assert positions(third + 1) == [fourth, fifth]
        assert positions(fourth) == [fourth, fifth]
        with pytest.raises(grpc.RpcError, match="InvalidPosition"):
            positions(fourth + 1)


def test_a_scavenge_closes_the_chunk_though_it_removes_nothing(store: EmbeddedStore) -> None:
    store.append("s", events(1))
    assert store.faults.scavenge() == 0
    assert store.append("s", events(1)).commit == CHUNK
    assert store.faults.scavenge() == 0
    assert store.append("s", events(1)).commit == 2 * CHUNK


def test_a_backup_is_scavenged_if_it_was_made_after_the_scavenge(store: EmbeddedStore, stub: streams_pb2_grpc.StreamsStub) -> None:
    old, lost = store.append("s", events(1)), store.append("s", events(1))
    store.faults.scavenge()
    new, later = store.append("s", events(1)), store.append("s", events(1))
    store.faults.restore(upto=new.commit)
    inside = read_all(position=(lost.commit + 1, lost.commit + 1))
    assert [event.commit_position for event in recorded(stub.Read(inside, timeout=10))] == [new.commit]
    store.faults.restore(upto=lost.commit)
    assert store.append("s", events(1)).commit == new.commit < later.commit
    store.faults.restore(upto=old.commit)
    assert store.append("s", [NewEvent(uuid4(), "t", b"x" * 500)]).commit == lost.commit
    store.append("s", events(1))
    with pytest.raises(grpc.RpcError, match="InvalidPosition"):
        list(stub.Read(inside, timeout=10))


def test_a_restored_backup_gives_positions_to_other_events(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    first = store.append("s", events(1))
    lost = store.append("s", [NewEvent(uuid4(), "happened", b"{}")])
    store.faults.restore(upto=first.commit)
    assert [event.commit_position for event in client.read_all()] == [first.commit]
    other = store.append("s", [NewEvent(uuid4(), "happened", b"{}")])
    assert (other.commit, other.revision) == (lost.commit, lost.revision)


def test_another_cluster_behind_the_address_has_a_log_of_its_own(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    done = store.append("s", events(2))
    store.faults.restore(upto=-1)
    assert list(client.read_all()) == []
    store.append("t", [NewEvent(uuid4(), "t", b"x" * 5_000)])
    store.append("t", events(1))
    with pytest.raises(UnknownError, match="InvalidPosition"):
        list(client.read_all(commit_position=done.commit))


def test_a_restored_backup_ends_the_calls_that_are_under_way(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", events(2))
    subscription = client.subscribe_to_all(timeout=10)
    assert len(list(islice(subscription, 2))) == 2
    store.faults.restore(upto=-1)
    with pytest.raises(ServiceUnavailable):
        next(subscription)


def test_a_redacted_event_keeps_its_place_and_loses_its_data(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    done = store.append("s", [NewEvent(uuid4(), "t", b'{"name":"x"}', b'{"m":1}')])
    store.append("s", events(1))
    before = client.get_stream("s")
    store.faults.redact(done.commit)
    after = client.get_stream("s")
    assert after[0].data == b"\xff" * len(before[0].data)
    assert (after[0].id, after[0].metadata, after[0].commit_position) == (before[0].id, before[0].metadata, done.commit)
    assert after[1] == before[1]


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
def test_an_explicit_transaction_is_committed_behind_what_came_meanwhile_with_the_times_of_its_events(
    tmp_path: Path, *, on_disk: bool
) -> None:
    clock = Clock(datetime(2026, 3, 1, tzinfo=UTC))
    with EmbeddedStore(tmp_path if on_disk else None, clock=clock) as store:
        before = store.append("s", events(1))
        commit = store.faults.begin_transaction("s", events(2))
        clock.advance(timedelta(hours=1))
        meanwhile = store.append("s", events(1))
        with EventStoreDBClient(store.uri) as client:
            assert [event.commit_position for event in client.read_all()] == [before.commit, meanwhile.commit]
            done = commit()
            seen = list(client.read_all())
        assert [event.commit_position for event in seen] == [before.commit, meanwhile.commit, done.commit, done.commit]
        assert [event.stream_position for event in seen] == [0, 1, 2, 3]
        assert seen[2].prepare_position is not None
        assert before.commit < seen[2].prepare_position < meanwhile.commit < done.commit
        assert [event.recorded_at for event in seen] == [datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in (0, 1, 0, 0)]


def test_faults_of_the_log_wait_for_appends_under_way(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    def write() -> None:
        for _ in range(60):
            store.append("s", events(1))

    writing = Thread(target=write)
    writing.start()
    deadline = time.monotonic() + 20
    while writing.is_alive() and time.monotonic() < deadline:
        store.faults.scavenge()
    writing.join(20)
    assert [event.stream_position for event in client.get_stream("s")] == list(range(60))
