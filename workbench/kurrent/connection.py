"""An open connection to a KurrentDB: the only place that makes an esdbclient or a channel."""

from __future__ import annotations

import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator
from importlib.resources import as_file, files
from types import TracebackType
from typing import Literal, Self, get_args

import grpc
from esdbclient import EventStoreDBClient
from esdbclient.common import BasicAuthCallCredentials
from grpc.experimental import ChannelOptions

from workbench.errors import InvalidAddress, TlsMismatch, UsageError
from workbench.events import Checkpoint
from workbench.kurrent.address import Address
from workbench.kurrent.errors import translate_client_error, translate_rpc_error
from workbench.kurrent.http2 import Endpoint
from workbench.kurrent.point_reads import PointReader
from workbench.kurrent.reader import Batch, LogEnd, Reader
from workbench.kurrent.writer import Writer

Transport = Literal["http2", "grpc"]

ANSWER_SECONDS = 10.0
"""How long the first answer of a server may take. A port that accepts and never speaks is no KurrentDB."""

KEEPALIVE_MS = 10_000
"""How long a connection may be silent before a sign of life is asked for, and how long that may take: as in KurrentDB's clients."""

_NEVER_MS = 2**31 - 1
_LARGEST_MESSAGE = 20 * 1024 * 1024  # an event is at most 16 MiB, and its envelope is small


def connect(address: str, *, username: str | None = None, password: str | None = None, transport: Transport = "http2") -> Connection:
    """Open a connection to the KurrentDB at an address, and ask it for one answer to see that it is there.

    Parameters
    ----------
    address
        ``esdb://host:2113?tls=false``, ``esdb+discover://…``, and the same with ``kurrentdb``; several hosts by comma. The
        options are those of KurrentDB's connection strings that esdbclient knows.
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
        The address cannot be read.
    SourceUnavailable, TlsMismatch, AccessDenied
        Nothing answers, one side speaks TLS and the other does not, the password or the right is wrong.
    """
    connection = Connection(Address.parse(address).with_login(username, password), transport=transport)
    try:
        connection.end()
    except BaseException:
        connection.close()
        raise
    return connection


class _Client(EventStoreDBClient):
    """esdbclient for what it is good at, discovery and channel settings, with a login that never enters its address.

    Its parser wants a user and a password in every TLS address, does not decode them, and repeats the whole address in its
    errors; so it is given a placeholder there, and the login here.
    """

    def __init__(self, address: Address) -> None:
        self._login = (address.username, address.password)
        query = f"?{address.query}" if address.query else ""
        super().__init__(f"{address.scheme}://-:-@{address.hosts}{query}")

    def construct_call_credentials(self, username: str | None, password: str | None) -> grpc.CallCredentials | None:
        username, password = self._login
        if not (username and password and self.connection_spec.options.Tls):
            return None
        return grpc.metadata_call_credentials(BasicAuthCallCredentials(username, password))

    def channel(self) -> grpc.Channel:
        """Make a channel to the chosen node that hands over messages without a thread switch for each."""
        seconds = self.connection_spec.options
        return self._construct_grpc_channel(
            self.connection_target,
            (
                (ChannelOptions.SingleThreadedUnaryStream, 1),
                ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
                # esdbclient sets `grpc.keepalive_ms`, which gRPC does not know.
                ("grpc.keepalive_time_ms", _milliseconds(seconds.KeepAliveInterval) or _NEVER_MS),
                ("grpc.keepalive_timeout_ms", _milliseconds(seconds.KeepAliveTimeout) or _NEVER_MS),
                ("grpc.http2.max_pings_without_data", 0),
            ),
        )

    def endpoint(self) -> Endpoint:
        """Return the chosen node for a plain HTTP/2 connection, with the same trust and login as the channel's."""
        host, _, port = self.connection_target.rpartition(":")
        options = self.connection_spec.options
        headers = self.metadata
        username, password = self._login
        tls = None
        if options.Tls:
            tls = ssl.create_default_context(cadata=self.root_certificates.decode() if self.root_certificates else None)
            if not self.root_certificates:
                # gRPC brings its own list of authorities; who is trusted must not depend on the transport.
                with as_file(files("grpc._cython") / "_credentials" / "roots.pem") as roots:
                    tls.load_verify_locations(cafile=roots)
            if options.UserCertFile:
                tls.load_cert_chain(options.UserCertFile, options.UserKeyFile)
            tls.set_alpn_protocols(["h2"])
            if username and password:
                login = b64encode(f"{username}:{password}".encode()).decode()
                headers = (*headers, ("authorization", f"Basic {login}"))
        interval = _milliseconds(options.KeepAliveInterval)
        silence = None if interval is None else interval / 1000
        return Endpoint(host.strip("[]"), int(port), tls, headers, connect_seconds=ANSWER_SECONDS, silence_seconds=silence)

    @property
    def credentials(self) -> grpc.CallCredentials | None:
        return self._call_credentials

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        leader = "true" if self.connection_spec.options.NodePreference == "leader" else "false"
        return (*self._call_metadata, ("requires-leader", leader))


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
        try:
            self._client = _Client(address)
            endpoint = self._client.endpoint() if transport == "http2" else None
        except (ValueError, OSError) as error:
            raise InvalidAddress(f"{self.address}: {_without_address(error)}.") from None
        except Exception as error:
            raise translate_client_error(error, address=self.address) from error
        self._tls = self._client.connection_spec.options.Tls
        self._channel = self._client.channel()
        self._reader = Reader(
            self._channel,
            address=self.address,
            metadata=self._client.metadata,
            credentials=self._client.credentials,
            endpoint=endpoint,
        )

    def end(self) -> LogEnd | None:
        """Return the last event of the log, or None of an empty one: the high-water mark of a read that is to be complete."""
        return self._one(backwards=True)

    def start(self) -> LogEnd | None:
        """Return the first event of the log, or None of an empty one. It tells one store from another."""
        return self._one(backwards=False)

    def _one(self, *, backwards: bool) -> LogEnd | None:
        try:
            return self._reader.one(backwards=backwards, timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            if not self._tls and self._speaks_tls():
                raise TlsMismatch(
                    f"{self.address}: the server speaks TLS, and the address says tls=false. Use ?tls=true, with tlsCaFile= for a "
                    "private authority, and a user and password."
                ) from error
            raise translate_rpc_error(error, address=self.address) from error

    def read_batches(self, *, after: Checkpoint | None = None, upto: LogEnd) -> Iterator[Batch]:
        """Read the whole log in order, system events and all, up to and including a high-water mark.

        Parameters
        ----------
        after
            Where to begin: *at* this event, inclusively, as the server has it; None is the beginning of the log.
        upto
            The last event to read, as :meth:`end` gave it.

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
        return self._reader.batches(after=after, upto=upto)

    @property
    def points(self) -> PointReader:
        """Reads of single events, each with a deadline."""
        return PointReader(self._channel, address=self.address, metadata=self._client.metadata, credentials=self._client.credentials)

    def writer(self) -> Writer:
        """Return a writer that keeps many appends in flight over one call; a context manager."""
        return Writer(self._channel, address=self.address, metadata=self._client.metadata, credentials=self._client.credentials)

    @property
    def accepts_timestamps(self) -> bool:
        """Whether the server lets a client say when an event was recorded; the embedded store does, KurrentDB does not."""
        return self._reader.supports("workbench.embedded", "timestamps", timeout=ANSWER_SECONDS)

    def close(self) -> None:
        self._channel.close()
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Connection to {self.address}>"

    def _speaks_tls(self) -> bool:
        """Try a TLS handshake, trusting anyone: it is only asked whether TLS is spoken, nothing is sent."""
        host, _, port = self._client.connection_target.rpartition(":")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=3) as plain, context.wrap_socket(plain):
                return True
        except OSError:
            return False


def _milliseconds(value: int | None) -> int | None:
    """Read a keep-alive option: absent is the default, and what is not positive turns it off."""
    if value is None:
        return KEEPALIVE_MS
    return value if value > 0 else None


def _without_address(error: Exception) -> str:
    """Return esdbclient's complaint about an address without the address, which it appends behind a colon."""
    if isinstance(error, ssl.SSLError):
        return f"a file that the address names holds no certificate or key that can be read ({error.reason or 'not PEM'})"
    if isinstance(error, OSError):
        return f"a file that the address names cannot be read: {error.strerror} ({error.filename})"
    head, _, tail = str(error).rpartition(": ")
    return head if "://" in tail and head else str(error)
