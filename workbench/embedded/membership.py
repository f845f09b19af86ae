"""The gossip of a node of a cluster, and the calls that the node refuses because of its state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import NAMESPACE_URL, UUID, uuid5

from workbench.embedded.calls.failures import Failure, not_leader, not_ready
from workbench.errors import UsageError
from workbench.host_port import join_host_port
from workbench.protocol import gossip_pb2, shared_pb2

LEADER = "Leader"
STATES = tuple(gossip_pb2.MemberInfo.VNodeState.keys())
"""The states of a node, by the names of the protocol."""

# KurrentDB, ClusterVNodeController.cs: which states refuse a call before they look at what it wants.
_CLOSED = {"Initializing", "ShuttingDown", "Shutdown"}
_TAKES_NO_WRITES = _CLOSED | {"DiscoverLeader", "Unknown", "PreLeader", "ReadOnlyLeaderless", "ResigningLeader"}
_READS_AS_LEADER = {LEADER, "ResigningLeader", "PreLeader"}
_KNOWS_NO_LEADER = {"DiscoverLeader", "Unknown", "ReadOnlyLeaderless"}

_INSTANCE = UUID("00000000-0000-4000-8000-000000000001")


@dataclass(frozen=True, slots=True)
class Member:
    """A node in the gossip.

    Parameters
    ----------
    host, port
        Where clients reach it.
    state
        One of ``STATES``, such as ``"Leader"``, ``"Follower"``, ``"ReadOnlyReplica"`` or ``"CatchingUp"``.
    is_alive
        Whether the other nodes hear of it.

    Raises
    ------
    UsageError
        There is no such state.
    """

    host: str
    port: int
    state: str = LEADER
    is_alive: bool = True

    def __post_init__(self) -> None:
        check_state(self.state)


def check_state(state: str) -> None:
    """Raise UsageError for an unknown state."""
    if state not in STATES:
        raise UsageError(f"No node has the state {state!r}: it is one of {', '.join(STATES)}.")


def refusal(state: str, leader: tuple[str, int] | None, *, requires_leader: bool, writes: bool) -> Failure | None:
    """Return what a node in a state answers to a call that it refuses, or None if it serves the call.

    Parameters
    ----------
    leader
        Where the leader is, as far as the node knows.
    requires_leader
        Whether the call says that only the leader may serve it.
    """
    if state in (_TAKES_NO_WRITES if writes else _CLOSED):
        return not_ready()
    if state in _READS_AS_LEADER or not (requires_leader or writes):
        return None
    return not_ready() if leader is None or state in _KNOWS_NO_LEADER else not_leader(*leader)


def cluster_info(members: Sequence[Member], *, now: int) -> gossip_pb2.ClusterInfo:
    """Return the answer to a question for gossip."""
    return gossip_pb2.ClusterInfo(
        members=[
            gossip_pb2.MemberInfo(
                instance_id=shared_pb2.UUID(string=str(_identity(member, single=len(members) == 1))),
                time_stamp=now,
                state=gossip_pb2.MemberInfo.VNodeState.Value(member.state),
                is_alive=member.is_alive,
                http_end_point=gossip_pb2.EndPoint(address=member.host, port=member.port),
            )
            for member in members
        ]
    )


def _identity(member: Member, *, single: bool) -> UUID:
    return _INSTANCE if single else uuid5(NAMESPACE_URL, join_host_port(member.host, member.port))
