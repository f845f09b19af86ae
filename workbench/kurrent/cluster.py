"""Chooses the node of a cluster to read, from the cluster's gossip.

Sources: ``gossip.proto`` of KurrentDB; the node selection of its .NET client, which likewise takes the preferred kind first and
skips members that gossip reports as dead.
"""

from __future__ import annotations

import ipaddress
import random
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import grpc

from workbench.errors import AccessDenied, SourceError, SourceNotReady, SourceUnavailable, TlsMismatch, WorkbenchWarning
from workbench.kurrent.address import Address, Host
from workbench.kurrent.connection_options import NodePreference
from workbench.kurrent.errors import Peer, no_leader, translate_rpc_error
from workbench.kurrent.transport.channels import Channels
from workbench.kurrent.transport.tls import speaks_tls
from workbench.protocol import gossip_pb2, shared_pb2


class NodeState(Enum):
    """The states in which a node serves only events that the cluster has committed."""

    LEADER = "Leader"
    FOLLOWER = "Follower"
    READ_ONLY_REPLICA = "ReadOnlyReplica"


@dataclass(frozen=True, slots=True)
class GossipMember:
    """A member of a cluster: its address for clients, its state by the protocol's name, and whether the others can reach it."""

    host: Host
    state: str
    is_alive: bool

    @property
    def node_state(self) -> NodeState | None:
        """Its state if it can be read in that state, else None."""
        return _STATES.get(self.state)


@dataclass(frozen=True, slots=True)
class Node:
    """The node to read.

    Attributes
    ----------
    requires_leader
        Whether the node refuses each call while it is not the leader. If False, check the node's state before using what it serves.
    leader
        The leader of the cluster, if known.
    by_gossip
        Whether gossip chose it.
    """

    host: Host
    requires_leader: bool
    leader: Host | None
    by_gossip: bool


_STATES: Final = {state.value: state for state in NodeState}
_KINDS: Final = {
    NodePreference.LEADER: (NodeState.LEADER,),
    NodePreference.FOLLOWER: (NodeState.FOLLOWER,),
    NodePreference.READ_ONLY_REPLICA: (NodeState.READ_ONLY_REPLICA,),
    NodePreference.RANDOM: tuple(NodeState),
}


def read_gossip(channel: grpc.Channel, *, metadata: Sequence[tuple[str, str]], timeout: float) -> tuple[GossipMember, ...]:
    """Ask a node for the members of its cluster; a :class:`grpc.RpcError` reaches the caller."""
    read = channel.unary_unary(
        "/event_store.client.gossip.Gossip/Read",
        request_serializer=shared_pb2.Empty.SerializeToString,
        response_deserializer=gossip_pb2.ClusterInfo.FromString,
    )
    answer = read(shared_pb2.Empty(), metadata=metadata, timeout=timeout)
    return tuple(
        GossipMember(
            Host(member.http_end_point.address.strip("[]"), member.http_end_point.port),
            gossip_pb2.MemberInfo.VNodeState.Name(member.state)
            if member.state in gossip_pb2.MemberInfo.VNodeState.values()
            else f"state {member.state}",
            member.is_alive,
        )
        for member in answer.members
    )


def leader_of(members: Sequence[GossipMember]) -> Host | None:
    """Return the one live leader; None if there is none, or if the gossip names several."""
    leaders = [member for member in members if member.is_alive and member.node_state is NodeState.LEADER]
    return leaders[0].host if len(leaders) == 1 else None


def member_at(members: Sequence[GossipMember], host: Host, *, peer: Peer | str) -> GossipMember:
    """Return the member at a host.

    Raises
    ------
    SourceUnavailable
        No member advertises this host. The message lists the advertised addresses.
    """
    found = next((member for member in members if _same(member.host, host)), None)
    if found is None:
        advertised = ", ".join(str(member.host) for member in members) or "none"
        raise SourceUnavailable(
            f"{peer}: the cluster does not list a node at {host}, so it is unknown whether that node serves only committed events. "
            f"The cluster advertises {advertised}: dial one of these, or leave nodePreference out to read the leader."
        )
    return found


def state_of(member: GossipMember, *, peer: Peer | str) -> NodeState:
    """Return a node's state.

    Raises
    ------
    SourceNotReady
        The node may serve uncommitted events: it is starting, catching up, or was deposed.
    """
    if member.node_state is None:
        raise SourceNotReady(
            f"{peer}: the node at {member.host} is in the state {member.state}, and may serve events that the cluster never commits. "
            "Wait until it is Follower, ReadOnlyReplica or Leader, or read another node."
        )
    return member.node_state


def find_node(address: Address, channels: Channels, *, sleep: Callable[[float], None] = time.sleep) -> Node:
    """Find the node that an address asks for.

    A single host is used as it is; unless the leader is asked for, the host's own gossip must list it.
    Otherwise gossip decides. If there is no node of the preferred kind, the leader is used, with a warning.

    Raises
    ------
    SourceNotReady
        The cluster has no leader at the moment, or the node cannot be read in its present state.
    SourceError
        No host answers; the error is the last host's.
    """
    options, peer = address.options, Peer(str(address), channels.login)
    if not address.discovers:
        host = address.hosts[0]
        if options.node_preference is NodePreference.LEADER:
            return Node(host, requires_leader=True, leader=host, by_gossip=False)
        return _named(host, _ask(host, address, channels), preference=options.node_preference, peer=peer)
    for attempt in range(options.max_discover_attempts):
        failures: list[SourceError] = []
        for host in address.hosts:
            try:
                members = _ask(host, address, channels)
                return _chosen(host, members, preference=options.node_preference, peer=peer)
            except SourceError as error:
                failures.append(error)
        # Neither a certificate nor a password becomes right by asking again.
        if attempt + 1 == options.max_discover_attempts or all(isinstance(one, TlsMismatch | AccessDenied) for one in failures):
            break
        sleep(options.discovery_interval / 1000)
    # A cluster that answers and has no leader says more than a host that does not answer.
    raise next((one for one in failures if isinstance(one, SourceNotReady)), failures[-1])


def explained(error: grpc.RpcError, *, channels: Channels, host: Host, peer: Peer) -> SourceError:
    """Translate the error of the first call to a node; check TLS if that may be the cause."""
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        if channels.trust is not None:
            problem = channels.trust.problem(host)
        elif speaks_tls(host):
            problem = (
                "the server speaks TLS, and the address says tls=false. Use ?tls=true, with tlsCaFile= for a private authority, and a user "
                "and password"
            )
        else:
            problem = None
        if problem is not None:
            return TlsMismatch(f"{peer}: {problem}.")
    found = translate_rpc_error(error, address=peer)
    if peer.by_gossip and type(found) is SourceUnavailable and error.code() is grpc.StatusCode.UNAVAILABLE:
        # Gossip still names a dead leader for ten seconds or more.
        return SourceNotReady(
            f"{peer}: the cluster's gossip names this node, and nothing answers there. If it has just died, the cluster elects another "
            "within seconds; otherwise check that its advertised address can be reached from here."
        )
    return found


def _ask(host: Host, address: Address, channels: Channels) -> tuple[GossipMember, ...]:
    peer = Peer(str(address), channels.login, node=str(host) if len(address.hosts) > 1 else None)
    with channels.grpc(host, spread=address.discovers) as channel:
        try:
            # Any node answers with the gossip, so the call does not require the leader.
            return read_gossip(channel, metadata=channels.metadata(requires_leader=False), timeout=address.options.gossip_timeout)
        except grpc.RpcError as error:
            raise explained(error, channels=channels, host=host, peer=peer) from error


def _named(host: Host, members: Sequence[GossipMember], *, preference: NodePreference, peer: Peer) -> Node:
    """Return the node at the address's only host, when the preferred node is not the leader."""
    leader = leader_of(members)
    if len(members) == 1 and leader is not None:
        # A single node is often dialled by a name other than its own; it refuses calls if it is not the leader.
        _warn_of_leader(preference, peer)
        return Node(host, requires_leader=True, leader=host, by_gossip=False)
    state = state_of(member_at(members, host, peer=peer), peer=peer)
    if state is NodeState.LEADER:
        _warn_of_leader(preference, peer)
    return Node(host, requires_leader=state is NodeState.LEADER, leader=leader, by_gossip=False)


def _chosen(asked: Host, members: Sequence[GossipMember], *, preference: NodePreference, peer: Peer) -> Node:
    """Choose a node from the gossip of the host that was asked."""
    leader = leader_of(members)
    if len(members) == 1:
        # A single node need not advertise an address that clients can dial, so it is read where it was found.
        if leader is None:
            raise no_leader(peer, said=f": {asked} is in the state {members[0].state}")
        _warn_of_leader(preference, peer)
        return Node(asked, requires_leader=True, leader=asked, by_gossip=True)
    fitting = [member for member in members if member.is_alive and member.node_state in _KINDS[preference]]
    if preference is NodePreference.LEADER or not fitting:
        if leader is None:
            raise no_leader(peer)
        _warn_of_leader(preference, peer)
        return Node(leader, requires_leader=True, leader=leader, by_gossip=True)
    chosen = random.choice(fitting)
    return Node(chosen.host, requires_leader=chosen.node_state is NodeState.LEADER, leader=leader, by_gossip=True)


def _warn_of_leader(preference: NodePreference, peer: Peer) -> None:
    if preference in (NodePreference.FOLLOWER, NodePreference.READ_ONLY_REPLICA):
        warnings.warn(
            f"{peer}: there is no node of the kind nodePreference={preference.value} just now, so the leader is read instead.",
            WorkbenchWarning,
            stacklevel=2,
        )


def _same(one: Host, other: Host) -> bool:
    return one.port == other.port and _canonical(one.name) == _canonical(other.name)


def _canonical(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower().rstrip(".")
