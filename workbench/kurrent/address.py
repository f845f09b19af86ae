"""The address of a KurrentDB, read once and shown without its credentials."""

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
        """Read ``name:port``, the port being 2113 where it is missing; an IPv6 address needs brackets and may have a zone.

        Raises
        ------
        InvalidAddress
            It is no such thing. The message does not repeat it.
        """
        found = re.fullmatch(r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>.*))?", text, re.DOTALL)
        if found is None or (found["name"] is not None and text.count(":") > 1):
            raise InvalidAddress(f"The address has a host that cannot be read. An IPv6 address stands in brackets: [::1]:{_DEFAULT_PORT}.")
        port = found["port"]
        if port is not None and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
            raise InvalidAddress(
                f"The address has a port that is no number from 1 to 65535; write it like {_EXAMPLE}. A / ? # or @ in user or password "
                f"{_ENCODE}."
            )
        number = _DEFAULT_PORT if port is None else int(port)
        if found["ipv6"] is None:
            if not re.fullmatch(r"[A-Za-z0-9._-]+", found["name"]):
                raise InvalidAddress(
                    "The address has a host with characters that a host name cannot have. Names beyond ASCII are written as xn--…; an "
                    f"@, / or ? in user or password {_ENCODE}."
                )
            return cls(found["name"], number)
        literal = found["ipv6"].replace("%25", "%")  # RFC 6874 writes the zone behind %25, people behind %
        try:
            ipaddress.IPv6Address(literal)
        except ValueError:
            raise InvalidAddress("The address has something in brackets that is no IPv6 address.") from None
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
            The scheme is another one, there is no host, a port is no number, or an option cannot be. The message repeats no part of
            the address behind its scheme but the names of options, since a malformed address may hold a password anywhere.
        """
        if not isinstance(text, str):
            raise InvalidAddress(f"An address is text, like {_EXAMPLE}; this is a {type(text).__name__}.")
        scheme, separator, rest = text.strip().partition("://")
        scheme = scheme.lower()
        if not separator or scheme.removesuffix(_DISCOVER) not in _SCHEMES:
            shown = f"{scheme[:20]}://" if separator else "without a scheme"
            raise InvalidAddress(f"An address {shown} is not known; write it like {_EXAMPLE}.")
        parts = re.fullmatch(r"(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?P<fragment>.*)", rest, re.DOTALL)
        assert parts is not None  # whatever the text, it has these parts
        if parts["path"] not in ("", "/") or parts["fragment"]:
            # A password with / or # in it ends the host early, and its rest would be shown as a part of the address.
            raise InvalidAddress(
                f"The address has something behind its hosts that is no option. A character of that kind in user, password or option "
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
            The user name has a colon in it, which no login over HTTP can have (RFC 7617).
        """
        username = username or self.username or os.environ.get(USERNAME_VARIABLE) or None
        if username is not None and ":" in username:
            raise InvalidAddress("The user name has a colon in it, which separates it from the password in every login; name another user.")
        password = password or self.password or os.environ.get(PASSWORD_VARIABLE) or None
        return replace(self, username=username, password=password)

    @property
    def discovers(self) -> bool:
        """Whether the cluster's gossip says which node to read: where it was asked for, or there are several hosts."""
        return self.scheme.endswith(_DISCOVER) or len(self.hosts) > 1

    def __str__(self) -> str:
        return f"{self.scheme}://{','.join(map(str, self.hosts))}"


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidAddress("The user or the password of the address is percent-encoded, and what it encodes is no UTF-8.") from None
