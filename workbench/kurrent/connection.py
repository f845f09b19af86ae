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
    """Open a connection to the KurrentDB at an address, and check that it answers.

    Parameters
    ----------
    address
        A connection string of KurrentDB: ``esdb://host:2113?tls=false``, ``esdb+discover://…``, and the same with ``kurrentdb``,
        ``kurrent`` or ``kdb``; commas separate several hosts.
    username, password
        Override those of the address and of the environment (``KURRENTDB_USERNAME``, ``KURRENTDB_PASSWORD``).
    transport
        How to read the log: ``"http2"`` is the fast way; ``"grpc"`` uses gRPC's library, which honours the proxies that the environment
        names. All other calls use gRPC's library.

    Returns
    -------
    Connection
        A context manager; leaving it closes the connection.

    Raises
    ------
    InvalidAddress
        The address is invalid, or a file that it names cannot be read.
    SourceUnavailable, TlsMismatch, AccessDenied
        Nothing answers, TLS fails, the password is wrong or the user lacks a right.
    SourceNotReady
        A temporary ``SourceUnavailable``: the node is starting, or its cluster elects a leader.

    Warns
    -----
    WorkbenchWarning
        There is no node of the kind that ``nodePreference`` names, so the leader is read; or a keep-alive option is very short.
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
            raise UsageError(f"Unknown transport {transport!r}: use one of {', '.join(get_args(Transport))}.")
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
        """Choose the node to read again, and replace this connection's channels.

        Calls in progress end. If no node is found, the old channels stay.

        Raises
        ------
        SourceError
            As :func:`connect` does, except that the chosen node is not asked for an answer.
        """
        node = find_node(self._given, self._channels)
        self.close()
        self._open(node)

    def check_node(self) -> NodeState:
        """Check that the node serves only events that its cluster has committed, and return its state.

        A read from the leader needs no check: each call requires the leader, and the node refuses if it is not. Any other node is asked
        for its state, because a deposed or lagging node may serve events that the cluster never commits. Call this before each read,
        and again before storing what was read.

        Raises
        ------
        SourceNotReady
            The node cannot be read in its present state, or has become the leader: call ``reconnect``.
        SourceUnavailable
            The node does not answer, or its gossip does not list the address that was dialled.
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
            # A deposed leader reports its new state too late, so only calls that require the leader may read it.
            raise SourceNotReady(f"{self._peer}: the node has become the leader of its cluster meanwhile. Connect again.")
        return state

    @property
    def leader_address(self) -> str | None:
        """Host and port of the cluster's leader, or None if the node has not named one yet."""
        return None if self._node.leader is None else str(self._node.leader)

    def leader_end(self) -> EventPosition | None:
        """Return the last event of the *leader's* log, or None if that log is empty or no leader can be asked.

        If this connection reads the leader, this is :meth:`end`.
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
        """Return the last event of the log, the high-water mark of a complete read; None if the log is empty."""
        return self._one(backwards=True)

    def start(self) -> EventPosition | None:
        """Return the first event of the log, which identifies the store; None if the log is empty."""
        return self._one(backwards=False)

    def last_kept(self, end: EventPosition, *, filter: ReadFilter) -> EventPosition | None:  # noqa: A002  # the protocol's own word
        """Return the last event of the log, up to and including ``end``, whose stream passes a filter; None if there is none.

        The server searches the log backwards until it finds one; there is no deadline.

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
        """Read the log in order, system events included, up to and including a high-water mark.

        Parameters
        ----------
        after
            Where to begin: *at* this event, inclusively, as in the protocol; None is the beginning of the log.
        upto
            The last event to read, from :meth:`end`; with a filter, from :meth:`last_kept`.
        filter
            Which streams the server sends; None sends all.

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
        """Reads single events, each with a deadline."""
        return PointReader(self._channel, address=self._peer, metadata=self._metadata)

    def writer(self) -> BulkWriter:
        """Return a writer that keeps many appends in flight over one call; a context manager."""
        return BulkWriter(self._channel, address=self._peer, metadata=self._metadata)

    @property
    def accepts_timestamps(self) -> bool:
        """Whether a client may set the time at which an event was recorded; the embedded store allows it, KurrentDB does not."""
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
