"""Parses the address of a KurrentDB and shows it without its credentials."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Self
from urllib.parse import unquote

from workbench.errors import InvalidAddress
from workbench.host_port import join_host_port
from workbench.kurrent.connection_options import Options

_SCHEMES: Final = ("esdb", "kurrentdb", "kurrent", "kdb")
_DISCOVER: Final = "+discover"
_EXAMPLE: Final = "esdb://user:password@host:2113?tls=true or esdb://127.0.0.1:2113?tls=false"
_ENCODE: Final = "must be percent-encoded (/ as %2F, ? as %3F, # as %23, @ as %40)"
_DEFAULT_PORT: Final = 2113
USERNAME_VARIABLE, PASSWORD_VARIABLE = "KURRENTDB_USERNAME", "KURRENTDB_PASSWORD"


class Host(NamedTuple):
    """A name or an IP address, without brackets, and a port."""

    name: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Host:
        """Parse ``name:port``; the port defaults to 2113. An IPv6 address needs brackets and may have a zone.

        Raises
        ------
        InvalidAddress
            The text is not a host with an optional port. The message does not repeat the text.
        """
        found = re.fullmatch(r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>.*))?", text, re.DOTALL)
        if found is None or (found["name"] is not None and text.count(":") > 1):
            raise InvalidAddress(f"The address has an invalid host. Write an IPv6 address in brackets: [::1]:{_DEFAULT_PORT}.")
        port = found["port"]
        if port is not None and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
            raise InvalidAddress(
                f"The port in the address must be a number from 1 to 65535; write it like {_EXAMPLE}. A / ? # or @ in user or password "
                f"{_ENCODE}."
            )
        number = _DEFAULT_PORT if port is None else int(port)
        if found["ipv6"] is None:
            if not re.fullmatch(r"[A-Za-z0-9._-]+", found["name"]):
                raise InvalidAddress(
                    "The host in the address contains characters that a host name cannot have. Write non-ASCII names as xn--…; an "
                    f"@, / or ? in user or password {_ENCODE}."
                )
            return cls(found["name"], number)
        literal = found["ipv6"].replace("%25", "%")  # RFC 6874 writes the zone behind %25, people behind %
        try:
            ipaddress.IPv6Address(literal)
        except ValueError:
            raise InvalidAddress("The address has text in brackets that is not an IPv6 address.") from None
        return cls(literal, number)

    def __str__(self) -> str:
        return join_host_port(self.name, self.port)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a KurrentDB is and how to log in; ``str`` and ``repr`` show neither user nor password nor options.

    >>> str(Address.parse("kurrentdb+discover://ops:s3cret@db.example:2113?tls=true"))
    'kurrentdb+discover://db.example:2113'
    """

    scheme: str
    hosts: tuple[Host, ...]
    options: Options = field(default_factory=Options, repr=False)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address as KurrentDB's clients write it: ``esdb://``, ``kurrentdb://``, ``kurrent://`` or ``kdb://``.

        Each may have ``+discover``, and several hosts, with commas between them. User and password may be percent-encoded. A port
        that is missing is 2113.

        Raises
        ------
        InvalidAddress
            The scheme is unknown, the host is missing, or a port or an option is invalid. Apart from the scheme and the names of
            options, the message repeats no part of the address, because a malformed address may hold a password anywhere.
        """
        if not isinstance(text, str):
            raise InvalidAddress(f"An address must be text, like {_EXAMPLE}, got {type(text).__name__}.")
        scheme, separator, rest = text.strip().partition("://")
        scheme = scheme.lower()
        if not separator or scheme.removesuffix(_DISCOVER) not in _SCHEMES:
            shown = f"{scheme[:20]}://" if separator else "without a scheme"
            raise InvalidAddress(f"An address {shown} is not known; write it like {_EXAMPLE}.")
        parts = re.fullmatch(r"(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?P<fragment>.*)", rest, re.DOTALL)
        assert parts is not None  # the expression matches every text
        if parts["path"] not in ("", "/") or parts["fragment"]:
            # A / or # in a password ends the host early, and the rest of the password would be shown as part of the address.
            raise InvalidAddress(
                f"The address has text after its hosts that is not an option. Such a character in user, password or option "
                f"{_ENCODE}; write it like {_EXAMPLE}."
            )
        login, at, hosts = parts["authority"].rpartition("@")
        names = tuple(Host.parse(host.strip()) for host in hosts.split(",") if host.strip())
        if not names:
            raise InvalidAddress(f"The address names no host; write it like {_EXAMPLE}.")
        username, colon, password = login.partition(":")
        return cls(
            scheme=scheme,
            hosts=names,
            options=Options.parse(parts["query"] or ""),
            username=_decoded(username) if at else None,
            password=_decoded(password) if at and colon else None,
        )

    def with_login(self, username: str | None = None, password: str | None = None) -> Address:
        """Fill in user and password: those given here, else the address's own, else the environment's.

        The environment variables are ``KURRENTDB_USERNAME`` and ``KURRENTDB_PASSWORD``.

        Raises
        ------
        InvalidAddress
            The user name contains a colon, which HTTP logins do not allow (RFC 7617).
        """
        username = username or self.username or os.environ.get(USERNAME_VARIABLE) or None
        if username is not None and ":" in username:
            raise InvalidAddress("The user name contains a colon, which logins use to separate it from the password. Use another user.")
        password = password or self.password or os.environ.get(PASSWORD_VARIABLE) or None
        return replace(self, username=username, password=password)

    @property
    def discovers(self) -> bool:
        """Whether to choose the node by gossip: the address says ``+discover`` or has several hosts."""
        return self.scheme.endswith(_DISCOVER) or len(self.hosts) > 1

    def __str__(self) -> str:
        return f"{self.scheme}://{','.join(map(str, self.hosts))}"


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidAddress("The user or the password in the address is percent-encoded, but does not decode to UTF-8.") from None
