"""The address of a KurrentDB, read once and shown without its credentials."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Self
from urllib.parse import unquote, urlsplit

from workbench.errors import InvalidAddress

_SCHEMES = ("esdb", "esdb+discover", "kurrentdb", "kurrentdb+discover", "kdb", "kdb+discover")
_EXAMPLE = "esdb://user:password@host:2113?tls=true or esdb://127.0.0.1:2113?tls=false"
USERNAME_VARIABLE, PASSWORD_VARIABLE = "KURRENTDB_USERNAME", "KURRENTDB_PASSWORD"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a KurrentDB is and how to log in; ``str`` and ``repr`` show neither user nor password nor options.

    >>> str(Address.parse("kurrentdb+discover://ops:s3cret@db.example:2113?tls=true"))
    'esdb+discover://db.example:2113'
    """

    scheme: str
    hosts: str
    query: str = field(default="", repr=False)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``esdb://`` and ``kurrentdb://`` (also ``kdb://``), each with ``+discover``, as KurrentDB's clients write them.

        User and password may be percent-encoded. A port that is missing is 2113.

        Raises
        ------
        InvalidAddress
            The scheme is another one, there is no host, or a port is no number. The message repeats no part of the address
            behind its scheme, since a malformed address may hold a password anywhere.
        """
        if not isinstance(text, str):
            raise InvalidAddress(f"An address is text, like {_EXAMPLE}; this is a {type(text).__name__}.")
        scheme, separator, _ = text.strip().partition("://")
        if not separator or scheme.lower() not in _SCHEMES:
            shown = f"{scheme[:20]}://" if separator else "without a scheme"
            raise InvalidAddress(f"An address {shown} is not known; write it like {_EXAMPLE}.")
        try:
            parts = urlsplit(text.strip())
        except ValueError:
            raise InvalidAddress(f"The address has a host that cannot be read; write it like {_EXAMPLE}.") from None
        if "@" in parts.path + parts.query + parts.fragment:
            # A password with / ? or # in it ends the host early, and its rest would be shown as a part of the address.
            raise InvalidAddress(
                f"The address has a character in its user or password that must be percent-encoded (/ as %2F, ? as %3F, # as %23, @ as "
                f"%40); write it like {_EXAMPLE}."
            )
        login, at, hosts = parts.netloc.rpartition("@")
        username, _, password = login.partition(":")
        names = [_with_port(host.strip()) for host in hosts.split(",") if host.strip()]
        if not names:
            raise InvalidAddress(f"The address names no host; write it like {_EXAMPLE}.")
        return cls(
            scheme="esdb+discover" if scheme.lower().endswith("+discover") else "esdb",
            hosts=",".join(names),
            query=parts.query,
            username=unquote(username) if at else None,
            password=unquote(password) if at else None,
        )

    def with_login(self, username: str | None = None, password: str | None = None) -> Address:
        """Fill in user and password: those given here, else the address's own, else the environment's.

        The environment variables are ``KURRENTDB_USERNAME`` and ``KURRENTDB_PASSWORD``.
        """
        return replace(
            self,
            username=username or self.username or os.environ.get(USERNAME_VARIABLE),
            password=password or self.password or os.environ.get(PASSWORD_VARIABLE),
        )

    def __str__(self) -> str:
        return f"{self.scheme}://{self.hosts}"


def _with_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        return f"{host}:2113"
    if not name or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidAddress(f"The address has a port that is no number from 1 to 65535; write it like {_EXAMPLE}.")
    return host
