"""Which node is read, and that nothing is taken from one that may serve what its cluster never commits to."""

from __future__ import annotations

import grpc
import pytest

from tests.kurrent.nodes import FakeNode, cluster, member, nodes
from tests.network import ipv6
from workbench.errors import SourceNotReady, SourceUnavailable, WorkbenchWarning
from workbench.kurrent import Connection, NodeState, connect

FAST = "tls=false&maxDiscoverAttempts=2&discoveryInterval=1"


def discover(found: list[FakeNode], preference: str = "leader", *, scheme: str = "esdb+discover") -> Connection:
    return connect(f"{scheme}://{','.join(node.address for node in found)}?{FAST}&nodePreference={preference}")


@pytest.mark.parametrize("scheme", ["esdb", "esdb+discover", "kurrentdb+discover", "kurrent+discover", "kdb+discover"])
def test_several_hosts_lead_to_the_leader_whatever_the_scheme(scheme: str) -> None:
    with cluster("Follower", "Follower", "Leader") as found, discover(found, scheme=scheme) as source:
        assert source.address == f"{scheme}://{','.join(node.address for node in found)}"
        assert source.leader_address == found[2].address
        assert source.check_node() is NodeState.LEADER
        assert found[2].calls[-1] == ("read", "true")


def test_where_the_leader_is_read_the_node_itself_refuses_and_gossip_is_not_asked_again() -> None:
    with cluster("Follower", "Leader") as found, discover(found) as source:
        asked = sum(node.count("gossip") for node in found)
        assert source.check_node() is NodeState.LEADER
        assert sum(node.count("gossip") for node in found) == asked


@pytest.mark.parametrize(
    ("preference", "state", "node_state"),
    [("follower", "Follower", NodeState.FOLLOWER), ("readonlyreplica", "ReadOnlyReplica", NodeState.READ_ONLY_REPLICA)],
)
def test_a_node_that_is_not_the_leader_is_asked_for_its_state_each_time(preference: str, state: str, node_state: NodeState) -> None:
    with cluster("Leader", state) as found, discover(found, preference) as source:
        assert found[1].calls[-1] == ("read", "false")
        asked = found[1].count("gossip")
        assert source.check_node() is node_state
        assert source.check_node() is node_state
        assert found[1].count("gossip") == asked + 2
        assert source.leader_address == found[0].address


@pytest.mark.parametrize("state", ["Unknown", "DiscoverLeader", "CatchingUp", "PreReplica", "Clone", "ReadOnlyLeaderless", "ShuttingDown"])
def test_a_node_that_falls_out_of_its_state_is_refused_by_the_next_check(state: str) -> None:
    with cluster("Leader", "Follower") as found, discover(found, "follower") as source:
        found[1].members[1] = member(found[1].address, state)
        with pytest.raises(SourceNotReady, match=rf"{found[1].address} is in the state {state}, and may serve events"):
            source.check_node()


def test_a_follower_that_becomes_the_leader_is_read_as_the_leader_after_a_reconnect() -> None:
    with cluster("Leader", "Follower") as found, discover(found, "follower") as source:
        for node in found:
            node.members[:] = [member(found[0].address, "Unknown", is_alive=False), member(found[1].address, "Leader")]
        found[1].is_leader = True
        with pytest.raises(SourceNotReady, match="has become the leader"):
            source.check_node()
        with pytest.warns(WorkbenchWarning, match="the leader is read instead"):
            source.reconnect()
        assert source.check_node() is NodeState.LEADER
        source.end()
        assert found[1].calls[-1] == ("read", "true")


def test_without_a_node_of_the_preferred_kind_the_leader_is_read_and_a_warning_says_so() -> None:
    for preference in ("follower", "readonlyreplica"):
        with cluster("Leader", "CatchingUp") as found:
            with pytest.warns(WorkbenchWarning, match=f"no node of the kind nodePreference={preference} just now, so the leader is read"):
                source = discover(found, preference)
            with source:
                assert source.check_node() is NodeState.LEADER
                assert found[0].calls[-1] == ("read", "true")


def test_members_that_gossip_calls_dead_are_left_out() -> None:
    with cluster("Leader", "Follower", "Follower") as found:
        for node in found:
            node.members[1] = member(found[1].address, "Follower", is_alive=False)
            node.members.append(member("127.0.0.1:1", "Leader", is_alive=False))  # a leader that died, still named
        for _ in range(8):
            with discover(found, "follower"):
                pass
        assert found[1].count("read") == 0
        with discover(found) as source:
            assert source.leader_address == found[0].address


def test_a_random_node_is_any_that_serves_and_the_leader_is_read_as_the_leader() -> None:
    with cluster("Leader", "Follower", "CatchingUp") as found:
        for _ in range(12):
            with discover(found, "random"):
                pass
        assert {call for call in found[0].calls if call[0] == "read"} <= {("read", "true")}
        assert {call for call in found[1].calls if call[0] == "read"} <= {("read", "false")}
        assert found[2].count("read") == 0
        assert found[0].count("read") + found[1].count("read") == 12


def test_a_cluster_without_a_leader_is_said_to_have_none_just_now() -> None:
    with cluster("Follower", "Unknown") as found:
        with pytest.raises(SourceNotReady, match="the cluster has no leader just now"):
            discover(found)
        with pytest.raises(SourceNotReady, match="the cluster has no leader just now"):
            discover(found[1:], scheme="esdb+discover")
        assert found[0].count("gossip") == 2  # as often as maxDiscoverAttempts says
        assert found[0].count("read") == 0


def test_a_leader_that_was_deposed_since_it_was_named_is_said_to_be_none() -> None:
    with cluster("Leader", "Follower") as found:
        found[0].is_leader = False
        with pytest.raises(SourceNotReady, match=r"no leader just now: .* is no longer the leader, and names elsewhere:2113"):
            discover(found)


def test_a_leader_that_gossip_names_and_that_does_not_answer_may_have_just_died() -> None:
    with cluster("Leader", "Follower") as found:
        found[0].stop()
        with pytest.raises(SourceNotReady, match="gossip names this node, and nothing answers there"):
            discover(found)


def test_a_node_that_is_starting_is_said_to_be_starting() -> None:
    with nodes(1) as found:
        found[0].refusal = (grpc.StatusCode.UNAVAILABLE, "Server Is Not Ready", ())
        with pytest.raises(SourceNotReady, match="the node is not ready: it is starting"):
            connect(f"esdb://{found[0].address}?tls=false")


def test_a_single_host_that_is_not_the_leader_is_refused_with_the_way_on() -> None:
    with cluster("Leader", "Follower") as found, pytest.raises(SourceUnavailable, match=r"elsewhere:2113 is\. Connect there") as caught:
        connect(f"esdb://{found[1].address}?tls=false")
    assert not isinstance(caught.value, SourceNotReady)


def test_a_single_host_is_read_as_the_follower_that_its_gossip_says_it_is() -> None:
    with cluster("Leader", "Follower") as found, connect(f"esdb://{found[1].address}?tls=false&nodePreference=follower") as source:
        assert source.check_node() is NodeState.FOLLOWER
        assert found[1].calls[-1][0] == "gossip"
        assert found[0].calls == []


def test_a_node_that_gossip_does_not_list_under_the_dialled_address_is_refused_with_those_it_lists() -> None:
    with cluster("Leader", "Follower") as found:
        port = found[1].address.rpartition(":")[2]
        with pytest.raises(SourceUnavailable, match=rf"does not list a node at localhost:{port}.* {found[0].address}, {found[1].address}"):
            connect(f"esdb://localhost:{port}?tls=false&nodePreference=follower")
        with connect(f"esdb://{found[1].address}?tls=false&nodePreference=follower") as source:
            found[1].members = [member("10.0.0.1:2113", "Leader"), member("10.0.0.2:2113", "Follower")]
            with pytest.raises(SourceUnavailable, match=r"advertises 10\.0\.0\.1:2113, 10\.0\.0\.2:2113: dial one of these"):
                source.check_node()


def test_a_node_on_its_own_may_be_dialled_by_another_name_than_it_advertises() -> None:
    with nodes(1) as found:
        found[0].members = [member("container:2113", "Leader")]
        for address in (f"esdb://{found[0].address}?tls=false&nodePreference=random", f"esdb+discover://{found[0].address}?tls=false"):
            with connect(address) as source:
                assert source.check_node() is NodeState.LEADER
                assert source.leader_address == found[0].address
                assert found[0].calls[-1] == ("read", "true")


def test_the_end_of_the_leader_is_asked_of_the_leader() -> None:
    with cluster("Leader", "Follower") as found, discover(found, "follower") as source:
        found[0].end, found[1].end = 300, 200
        own, leaders = source.end(), source.leader_end()
        assert own is not None
        assert leaders is not None
        assert (own.position, leaders.position) == (200, 300)
        assert found[0].calls[-1] == ("read", "true")
        found[0].is_leader = False
        assert source.leader_end() is None


def test_the_end_of_a_leader_that_cannot_be_asked_is_none() -> None:
    with cluster("Leader", "Follower") as found, discover(found, "follower") as source:
        found[0].stop()
        assert source.leader_end() is None
        found[1].members[0] = member(found[0].address, "Leader", is_alive=False)
        assert source.check_node() is NodeState.FOLLOWER
        assert source.leader_address is None
        assert source.leader_end() is None


def test_a_reconnect_finds_the_new_leader_and_the_same_connection_goes_on() -> None:
    with cluster("Leader", "Follower") as found, discover(found) as source:
        found[0].stop()
        found[1].is_leader = True
        found[1].members[:] = [member(found[0].address, "Leader", is_alive=False), member(found[1].address, "Leader")]
        source.reconnect()
        assert source.leader_address == found[1].address
        assert source.end() is not None
        assert found[1].calls[-1] == ("read", "true")


def test_a_reconnect_that_finds_no_node_leaves_the_connection_as_it_was() -> None:
    with cluster("Leader", "Follower") as found, discover(found) as source:
        members = list(found[0].members)
        for node in found:
            node.members[0] = member(found[0].address, "Unknown")
        with pytest.raises(SourceNotReady, match="no leader just now"):
            source.reconnect()
        assert source.end() is not None
        found[0].members = members
        source.reconnect()
        assert source.end() is not None


@ipv6
@pytest.mark.parametrize("host", ["[::1]", "[::1%25lo]", "[::1%lo]"])
def test_a_host_may_be_an_ipv6_address_with_a_zone(host: str) -> None:
    with nodes(1, host="[::1]") as found:
        port = found[0].address.rpartition(":")[2]
        with connect(f"esdb://{host}:{port}?tls=false") as source:
            assert source.end() is not None
