"""A node tells its state and its cluster, and refuses what a real node in that state refuses."""

import math
from collections.abc import Iterator
from itertools import islice

import grpc
import pytest
from esdbclient import EventStoreDBClient, StreamState
from esdbclient.exceptions import NodeIsNotLeader
from esdbclient.protos.Grpc import gossip_pb2, gossip_pb2_grpc, shared_pb2, streams_pb2_grpc

from tests.embedded.wire import events, proposed, read_all, read_stream, recorded
from workbench.embedded import EmbeddedStore, Member
from workbench.embedded.membership import STATES
from workbench.errors import UsageError

ANYONE, LEADER = [("requires-leader", "false")], [("requires-leader", "true")]
NOT_READY = (grpc.StatusCode.UNAVAILABLE, "Server Is Not Ready")
NOT_LEADER = (grpc.StatusCode.NOT_FOUND, "Leader info available")


@pytest.fixture
def other() -> Iterator[EmbeddedStore]:
    with EmbeddedStore() as running:
        yield running


def outcome(stub: streams_pb2_grpc.StreamsStub, metadata: list[tuple[str, str]]) -> int | tuple[grpc.StatusCode, str]:
    """How many events a read of ``$all`` shows, or how it was refused."""
    try:
        return len(recorded(stub.Read(read_all(), metadata=metadata, timeout=10)))
    except grpc.RpcError as error:
        return error.code(), error.details()


def appended(client: EventStoreDBClient) -> None:
    client.append_event("s", current_version=StreamState.ANY, event=proposed())


# -- starting


def test_a_node_that_starts_refuses_so_many_calls(store: EmbeddedStore, stub: streams_pb2_grpc.StreamsStub) -> None:
    store.append("s", events(1))
    store.faults.not_ready(times=2)
    assert [outcome(stub, ANYONE), outcome(stub, LEADER), outcome(stub, ANYONE)] == [NOT_READY, NOT_READY, 1]


def test_a_node_that_starts_refuses_until_cleared(store: EmbeddedStore, stub: streams_pb2_grpc.StreamsStub) -> None:
    store.append("s", events(1))
    store.faults.not_ready()
    assert [outcome(stub, LEADER) for _ in range(3)] == [NOT_READY] * 3
    with EventStoreDBClient(f"{store.uri}&nodePreference=follower") as client, pytest.raises(Exception, match="Server Is Not Ready"):
        appended(client)
    store.faults.clear()
    assert outcome(stub, LEADER) == 1


def test_in_an_election_only_those_are_refused_who_want_the_leader(store: EmbeddedStore, stub: streams_pb2_grpc.StreamsStub) -> None:
    store.append("s", events(1))
    store.faults.not_ready(times=1, requires_leader=True)
    assert [outcome(stub, ANYONE), outcome(stub, LEADER), outcome(stub, LEADER)] == [1, NOT_READY, 1]


def test_a_log_looks_empty_for_a_while(store: EmbeddedStore, stub: streams_pb2_grpc.StreamsStub, client: EventStoreDBClient) -> None:
    store.append("s", events(2))
    store.faults.empty_for(math.inf)
    appended(client)
    assert outcome(stub, LEADER) == 0
    assert [message.WhichOneof("content") for message in stub.Read(read_stream("s"), timeout=10)] == ["stream_not_found"]
    store.faults.clear()
    assert outcome(stub, LEADER) == 3


def test_an_empty_log_fills_by_itself(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", events(2))
    store.faults.empty_for(0.3)
    assert list(client.read_all()) == []
    with client.subscribe_to_all(timeout=10) as subscription:
        assert len(list(islice(subscription, 2))) == 2


# -- states and members


@pytest.mark.parametrize("state", STATES)
def test_a_node_tells_its_state(store: EmbeddedStore, channel: grpc.Channel, state: str) -> None:
    store.faults.node_state(state)
    (member,) = gossip_pb2_grpc.GossipStub(channel).Read(shared_pb2.Empty(), timeout=10).members
    assert gossip_pb2.MemberInfo.VNodeState.Name(member.state) == state
    assert (member.http_end_point.address, member.http_end_point.port, member.is_alive) == ("127.0.0.1", store.port, True)


@pytest.mark.parametrize(
    ("state", "anyone", "wanting_the_leader"),
    [
        ("Initializing", NOT_READY, (NOT_READY, NOT_READY)),
        ("DiscoverLeader", 1, (NOT_READY, NOT_READY)),
        ("Unknown", 1, (NOT_READY, NOT_READY)),
        ("PreReplica", 1, (NOT_READY, NOT_LEADER)),
        ("CatchingUp", 1, (NOT_READY, NOT_LEADER)),
        ("Clone", 1, (NOT_READY, NOT_LEADER)),
        ("Follower", 1, (NOT_READY, NOT_LEADER)),
        ("ReadOnlyReplica", 1, (NOT_READY, NOT_LEADER)),
        ("ReadOnlyLeaderless", 1, (NOT_READY, NOT_READY)),
        ("PreLeader", 1, (1, 1)),
        ("Leader", 1, (1, 1)),
        ("ResigningLeader", 1, (1, 1)),
        ("ShuttingDown", NOT_READY, (NOT_READY, NOT_READY)),
    ],
)
def test_a_state_decides_who_is_served(
    store: EmbeddedStore, stub: streams_pb2_grpc.StreamsStub, state: str, anyone: object, wanting_the_leader: tuple[object, object]
) -> None:
    store.append("s", events(1))
    store.faults.node_state(state)
    where_none_is_known = outcome(stub, LEADER)
    store.faults.gossip([Member("127.0.0.1", store.port, state), Member("other.example", 2113)])
    assert outcome(stub, ANYONE) == anyone
    assert (where_none_is_known, outcome(stub, LEADER)) == wanting_the_leader


def test_only_a_leader_takes_appends(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    for state in STATES:
        store.faults.node_state(state)
        if state == "Leader":
            appended(client)
        else:
            with pytest.raises(Exception, match="Server Is Not Ready"):
                appended(client)


def test_a_dead_leader_is_not_named(store: EmbeddedStore, stub: streams_pb2_grpc.StreamsStub) -> None:
    store.faults.node_state("Follower")
    store.faults.gossip([Member("127.0.0.1", store.port, "Follower"), Member("other.example", 2113, is_alive=False)])
    assert outcome(stub, LEADER) == NOT_READY


def test_a_state_that_no_node_has_is_refused(store: EmbeddedStore) -> None:
    with pytest.raises(UsageError, match=r"'Lead'.*Follower"):
        store.faults.node_state("Lead")
    with pytest.raises(UsageError, match="'Lead'"):
        Member("127.0.0.1", 2113, "Lead")


def test_gossip_leads_from_a_follower_to_its_leader(store: EmbeddedStore, other: EmbeddedStore) -> None:
    store.append("s", events(1))
    other.append("s", events(2))
    store.faults.not_leader(host="127.0.0.1", port=other.port)
    members = [Member("127.0.0.1", store.port, "Follower"), Member("127.0.0.1", other.port)]
    other.faults.gossip(members)
    for seed in (store, other):
        for preference, count in (("leader", 2), ("follower", 1)):
            with EventStoreDBClient(f"esdb+discover://{seed.address}?tls=false&nodePreference={preference}") as client:
                assert [(member.port, member.state) for member in client.read_gossip()] == [
                    (store.port, "NODE_STATE_FOLLOWER"),
                    (other.port, "NODE_STATE_LEADER"),
                ]
                assert len(client.get_stream("s")) == count


def test_a_read_ends_when_its_node_is_no_longer_the_leader(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", events(1))
    with client.subscribe_to_all(timeout=10) as subscription:
        next(subscription)
        store.faults.not_leader(host="other.example", port=2113)
        store.append("s", events(1))
        with pytest.raises(NodeIsNotLeader):
            next(subscription)


# -- a deposed leader


def test_a_phantom_tail_shows_to_those_who_take_any_node_and_goes_away(store: EmbeddedStore, stub: streams_pb2_grpc.StreamsStub) -> None:
    kept = store.append("s", events(2))
    phantom = store.faults.phantom_tail("s", events(3))
    assert (outcome(stub, ANYONE), outcome(stub, LEADER)) == (5, NOT_READY)
    reading = stub.Read(read_all(count=None), metadata=ANYONE, timeout=10)
    assert len(recorded(islice(reading, 6))) == 5
    store.faults.drop_phantom_tail()
    with pytest.raises(grpc.RpcError) as caught:
        list(reading)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert outcome(stub, ANYONE) == outcome(stub, LEADER) == 2
    later = store.append("s", events(1))
    assert later.revision == kept.revision + 1
    assert kept.commit < phantom.commit
    assert later.commit not in {kept.commit, phantom.commit}
    with pytest.raises(UsageError, match="no phantom tail"):
        store.faults.drop_phantom_tail()


def test_a_phantom_tail_may_come_in_parts_and_leaves_a_follower_a_follower(
    store: EmbeddedStore, stub: streams_pb2_grpc.StreamsStub
) -> None:
    store.append("s", events(1))
    store.faults.not_leader(host="other.example", port=2113)
    store.faults.phantom_tail("s", events(1))
    store.faults.phantom_tail("t", events(1))
    assert (outcome(stub, ANYONE), outcome(stub, LEADER)) == (3, NOT_LEADER)
    store.faults.drop_phantom_tail()
    assert (outcome(stub, ANYONE), outcome(stub, LEADER)) == (1, NOT_LEADER)


def test_after_an_election_the_nodes_record_the_same_at_the_same_places_again(store: EmbeddedStore, other: EmbeddedStore) -> None:
    common, new = events(2), events(2)
    for node in (store, other):
        node.append("s", common)
    lost = store.faults.phantom_tail("s", events(1))
    other.faults.begin_epoch()
    store.faults.drop_phantom_tail()
    first, second = (node.append("s", new) for node in (store, other))
    assert first == second
    assert lost.commit < first.commit
    assert first.revision == lost.revision + 1
