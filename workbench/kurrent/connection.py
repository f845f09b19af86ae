"""An open connection to a KurrentDB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import Final, Literal, Self, get_args

import grpc

from workbench.errors import SourceError, SourceNotReady, UsageError
from workbench.events import Checkpoint
from workbench.kurrent.address import Address, Host
from workbench.kurrent.bulk_writer import BulkWriter
from workbench.kurrent.cluster import Node, NodeState, explained, find_node, leader_of, member_at, read_gossip, state_of
from workbench.kurrent.errors import Peer, translate_rpc_error
from workbench.kurrent.filter import ReadFilter
from workbench.kurrent.point_reads import PointReader
from workbench.kurrent.reader import Batch, EventPosition, Reader
from workbench.kurrent.transport.channels import ANSWER_SECONDS, Channels

Transport = Literal["http2", "grpc"]

LEADER_SECONDS: Final = 5.0
"""How long the leader may take to say where its log ends while another node is read."""


def connect(address: str, *, username: str | None = None, password: str | None = None, transport: Transport = "http2") -> Connection:
    """Open a connection to the KurrentDB at an address, and ask it for one answer to see that it is there.

    Parameters
    ----------
    address
        A connection string of KurrentDB: ``esdb://host:2113?tls=false``, ``esdb+discover://…``, and the same with ``kurrentdb``,
        ``kurrent`` or ``kdb``; several hosts by comma.
    username, password
        Taken before those of the address and of the environment (``KURRENTDB_USERNAME``, ``KURRENTDB_PASSWORD``).
    transport
        How the log is read: over a plain HTTP/2 connection, the fast way, or through gRPC's library, which heeds the environment's
        proxies. Everything else goes through gRPC in any case.

    Returns
    -------
    Connection
        A context manager; leaving it closes the connection.

    Raises
    ------
    InvalidAddress
        The address cannot be read, or a file that it names.
    SourceUnavailable, TlsMismatch, AccessDenied
        Nothing answers, TLS fails, the password or the right is wrong.
    SourceNotReady
        A ``SourceUnavailable`` that passes by itself: the node is starting, or its cluster elects a leader.

    Warns
    -----
    WorkbenchWarning
        There is no node of the kind that ``nodePreference`` names, so that the leader is read; or a keep-alive option is very short.
    """
    connection = Connection(Address.parse(address).with_login(username, password), transport=transport)
    try:
        connection.end()
    except BaseException:
        connection.close()
        raise
    return connection


class Connection:
    """A connection to one KurrentDB; made by :func:`connect`.

    Attributes
    ----------
    address : str
        The address without its credentials.
    """

    def __init__(self, address: Address, *, transport: Transport = "http2") -> None:
        if transport not in get_args(Transport):
            raise UsageError(f"There is no transport {transport!r}; it is one of {', '.join(get_args(Transport))}.")
        self.address = str(address)
        self._given, self._transport = address, transport
        self._channels = Channels(address)
        self._leader: tuple[Host, grpc.Channel] | None = None
        self._open(find_node(address, self._channels))

    def _open(self, node: Node) -> None:
        self._node = node
        dialled = str(node.host) if self._given.discovers else None
        self._peer = Peer(self.address, self._channels.login, node=dialled, by_gossip=node.by_gossip)
        self._metadata = self._channels.metadata(requires_leader=node.requires_leader)
        self._channel = self._channels.grpc(node.host)
        endpoint = self._channels.http2(node.host, requires_leader=node.requires_leader) if self._transport == "http2" else None
        self._reader = Reader(self._channel, address=self._peer, metadata=self._metadata, endpoint=endpoint)

    def reconnect(self) -> None:
        """Look anew for the node to read, and open new channels to it; this object goes on with them.

        Calls that are under way end. Where no node is found, the old channels stay.

        Raises
        ------
        SourceError
            As :func:`connect` does; but for the search itself nothing is asked of the node.
        """
        node = find_node(self._given, self._channels)
        self.close()
        self._open(node)

    def check_node(self) -> NodeState:
        """Make sure that the node serves only what its cluster has committed to, and say what it is.

        Where the leader is read, each call says so and the node itself refuses if it is not: nothing is asked. Any other node is
        asked for its state: one that was deposed, or that catches up, may serve events that the cluster never commits to. So this
        is to be called before each read, and before what was read is kept.

        Raises
        ------
        SourceNotReady
            The node is in no state to be read, or has become the leader since: ``reconnect``.
        SourceUnavailable
            It does not answer, or its gossip does not list it under the address that was dialled.
        """
        if self._node.requires_leader:
            return NodeState.LEADER
        try:
            members = read_gossip(self._channel, metadata=self._metadata, timeout=self._given.options.gossip_timeout)
        except grpc.RpcError as error:
            raise self._explained(error) from error
        self._node = replace(self._node, leader=leader_of(members))
        state = state_of(member_at(members, self._node.host, peer=self._peer), peer=self._peer)
        if state is NodeState.LEADER:
            # A leader that is deposed says so too late, so it is read only by calls that it refuses by itself.
            raise SourceNotReady(f"{self._peer}: the node has become the leader of its cluster meanwhile. Connect again.")
        return state

    @property
    def leader_address(self) -> str | None:
        """Host and port of the cluster's leader, as far as the node has told; None while it has named none."""
        return None if self._node.leader is None else str(self._node.leader)

    def leader_end(self) -> EventPosition | None:
        """Return the last event of the *leader's* log, or None where that is empty, or no leader can be asked.

        Where the leader is read anyway, it is :meth:`end`.
        """
        if self._node.requires_leader:
            return self.end()
        host = self._node.leader
        if host is None:
            return None
        if self._leader is None or self._leader[0] != host:
            self._forget_leader()
            self._leader = host, self._channels.grpc(host)
        reader = Reader(self._leader[1], address=self._peer, metadata=self._channels.metadata(requires_leader=True))
        try:
            return reader.one(backwards=True, timeout=LEADER_SECONDS)
        except grpc.RpcError:
            return None

    def end(self) -> EventPosition | None:
        """Return the last event of the log, or None of an empty one: the high-water mark of a read that is to be complete."""
        return self._one(backwards=True)

    def start(self) -> EventPosition | None:
        """Return the first event of the log, or None of an empty one. It tells one store from another."""
        return self._one(backwards=False)

    def last_kept(self, end: EventPosition, *, filter: ReadFilter) -> EventPosition | None:  # noqa: A002  # the protocol's own word
        """Return the last event of the log, up to and including ``end``, whose stream passes a filter; None if there is none.

        The server looks through the log backwards until it finds one, which takes as long as it takes: there is no deadline.

        Raises
        ------
        ReadInterrupted
            The connection broke.
        """
        if filter.keeps(end.stream):
            return end
        try:
            return self._reader.one(backwards=True, timeout=None, before=end, only=filter)
        except grpc.RpcError as error:
            raise translate_rpc_error(error, address=self._peer, reading=True) from error

    def _one(self, *, backwards: bool) -> EventPosition | None:
        try:
            return self._reader.one(backwards=backwards, timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            raise self._explained(error) from error

    def _explained(self, error: grpc.RpcError) -> SourceError:
        return explained(error, channels=self._channels, host=self._node.host, peer=self._peer)

    def read_batches(
        self,
        *,
        after: Checkpoint | None = None,
        upto: EventPosition,
        filter: ReadFilter | None = None,  # noqa: A002  # the protocol's own word
    ) -> Iterator[Batch]:
        """Read the log in order, system events and all, up to and including a high-water mark.

        Parameters
        ----------
        after
            Where to begin: *at* this event, inclusively, as the server has it; None is the beginning of the log.
        upto
            The last event to read, as :meth:`end` gave it; with a filter, as :meth:`last_kept` did.
        filter
            Which streams the server sends; without it, all.

        Yields
        ------
        Batch
            An Arrow record batch in ``EVENT_SCHEMA`` and how far it reaches; some thousand events each. Links are not resolved:
            a link is an event of its own.

        Raises
        ------
        ReadInterrupted
            The connection broke, or the server ended the stream before the high-water mark.
        InvalidPosition
            ``after`` names no record of this log.
        """
        return self._reader.batches(after=after, upto=upto, only=filter)

    @property
    def points(self) -> PointReader:
        """Reads of single events, each with a deadline."""
        return PointReader(self._channel, address=self._peer, metadata=self._metadata)

    def writer(self) -> BulkWriter:
        """Return a writer that keeps many appends in flight over one call; a context manager."""
        return BulkWriter(self._channel, address=self._peer, metadata=self._metadata)

    @property
    def accepts_timestamps(self) -> bool:
        """Whether the server lets a client say when an event was recorded; the embedded store does, KurrentDB does not."""
        return self._reader.supports("workbench.embedded", "timestamps", timeout=ANSWER_SECONDS)

    def close(self) -> None:
        self._channel.close()
        self._forget_leader()

    def _forget_leader(self) -> None:
        if self._leader is not None:
            self._leader[1].close()
            self._leader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Connection to {self.address}>"
