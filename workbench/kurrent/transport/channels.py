"""Open connections to the nodes behind one address: trust, login, keep-alive, the same for gRPC and for plain HTTP/2."""

from __future__ import annotations

import uuid
from base64 import b64encode
from typing import Final

import grpc
from grpc.experimental import ChannelOptions

from workbench.kurrent.address import Address, Host
from workbench.kurrent.errors import Login
from workbench.kurrent.transport.http2 import PING_SECONDS, Endpoint
from workbench.kurrent.transport.tls import Trust

ANSWER_SECONDS = 10.0
"""How long the first answer of a server may take. A port that accepts a connection and stays silent is not a KurrentDB."""

_NEVER_MS: Final = 2**31 - 1
_LARGEST_MESSAGE: Final = 20 * 1024 * 1024  # an event is at most 16 MiB, and its envelope is small


class Channels:
    """Opens channels to any node of the cluster that an address names.

    Attributes
    ----------
    trust : Trust or None
        The trusted authorities and the client's certificate; None without TLS.
    login : Login
        Which login goes with each call.

    Raises
    ------
    InvalidAddress
        A file that the address names cannot be read or has the wrong content.
    """

    def __init__(self, address: Address) -> None:
        self._options = address.options
        self.trust = Trust.load(address.options) if address.options.tls else None
        self.login = _login(address)
        name = self._options.connection_name or str(uuid.uuid4())
        self._headers: tuple[tuple[str, str], ...] = (("connection-name", name),)
        if self.login is Login.SENT:
            login = b64encode(f"{address.username}:{address.password}".encode()).decode()
            self._headers += (("authorization", f"Basic {login}"),)

    def metadata(self, *, requires_leader: bool) -> tuple[tuple[str, str], ...]:
        """Return the headers of every call; with ``requires_leader`` a node that is not the leader refuses it."""
        return (*self._headers, ("requires-leader", "true" if requires_leader else "false"))

    def grpc(self, host: Host, *, spread: bool = False) -> grpc.Channel:
        """Open a gRPC channel that hands over messages without a thread switch for each.

        With ``spread``, all addresses of a host name are tried, not only the first.
        """
        options: list[tuple[str, int | str]] = [
            (ChannelOptions.SingleThreadedUnaryStream, 1),
            ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
            ("grpc.keepalive_time_ms", self._options.keep_alive_interval or _NEVER_MS),
            ("grpc.keepalive_timeout_ms", self._options.keep_alive_timeout or _NEVER_MS),
            ("grpc.http2.max_pings_without_data", 0),
        ]
        if spread:
            options.append(("grpc.lb_policy_name", "round_robin"))
        target = str(host)
        if "%" in target:  # gRPC takes the zone of an IPv6 address only in this form, encoded
            target = f"ipv6:{target.replace('%', '%25')}"
        if self.trust is None:
            return grpc.insecure_channel(target, options)
        return grpc.secure_channel(target, self.trust.credentials(), options)

    def http2(self, host: Host, *, requires_leader: bool) -> Endpoint:
        """Return the endpoint for plain HTTP/2 calls; each call opens its own connection.

        A call fails when the server sends nothing for the keep-alive interval and then does not answer within the keep-alive timeout.
        """
        interval, timeout = self._options.keep_alive_interval, self._options.keep_alive_timeout
        return Endpoint(
            host.name,
            host.port,
            None if self.trust is None else self.trust.context(),
            self.metadata(requires_leader=requires_leader),
            connect_seconds=ANSWER_SECONDS,
            silence_seconds=None if interval is None or timeout is None else (interval + timeout) / 1000,
            ping_seconds=PING_SECONDS if interval is None else min(PING_SECONDS, interval / 1000),
        )


def _login(address: Address) -> Login:
    """Return which login is sent: a password is sent over TLS only, and only with a user."""
    if not address.username:
        return Login.NONE
    if not address.password:
        return Login.NO_PASSWORD
    return Login.SENT if address.options.tls else Login.NOT_WITHOUT_TLS
