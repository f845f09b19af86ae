"""Parses and checks the options of a connection string."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import unquote

from workbench.errors import InvalidAddress, WorkbenchWarning

KEEPALIVE_MS: Final = 10_000
"""Milliseconds of silence before a ping, and for the answer to it; the defaults of KurrentDB's clients."""

_LARGEST: Final = 2**31 - 1  # gRPC and the server take 32 bits
_SHORTEST_KEEPALIVE_MS: Final = 1_000  # below it, KurrentDB's clients warn too: servers may drop a client that pings so often


class NodePreference(Enum):
    """Which node of a cluster to read."""

    LEADER = "leader"
    FOLLOWER = "follower"
    READ_ONLY_REPLICA = "readonlyreplica"
    RANDOM = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a connection string, each with the default of KurrentDB's clients.

    Attributes
    ----------
    tls
        Whether the server speaks TLS.
    connection_name
        The name of this client in the server's logs, or None.
    max_discover_attempts, discovery_interval, gossip_timeout
        How often to ask the cluster for its members, the milliseconds between two attempts, and the seconds to wait for an answer.
    keep_alive_interval, keep_alive_timeout
        Milliseconds of silence before the server is pinged, and to wait for its answer; None turns pings off.
    tls_ca_file, user_cert_file, user_key_file
        PEM files: the authorities that may have signed the server's certificate, and the client's own certificate and key.
    """

    tls: bool = True
    connection_name: str | None = None
    max_discover_attempts: int = 10
    discovery_interval: int = 100
    gossip_timeout: int = 5
    node_preference: NodePreference = NodePreference.LEADER
    keep_alive_interval: int | None = KEEPALIVE_MS
    keep_alive_timeout: int | None = KEEPALIVE_MS
    tls_ca_file: str | None = None
    user_cert_file: str | None = None
    user_key_file: str | None = None

    @classmethod
    def parse(cls, query: str) -> Options:
        """Parse the part of a connection string after the question mark.

        Names are case-insensitive, values percent-encoded. ``defaultDeadline`` and ``throwOnAppendFailure`` are accepted and have no
        effect: they concern writes by other clients.

        Raises
        ------
        InvalidAddress
            An option is unknown, given twice, empty, or has an invalid value. The message names the option, and its value only if that
            cannot be a secret.
        """
        given = _Given(_split(query))
        given.number("defaultDeadline", 0, least=-_LARGEST)
        given.flag("throwOnAppendFailure", default=True)
        options = cls(
            tls=given.flag("tls", default=True),
            connection_name=given.name("connectionName"),
            max_discover_attempts=given.number("maxDiscoverAttempts", 10, least=1),
            discovery_interval=given.number("discoveryInterval", 100, least=0),
            gossip_timeout=given.number("gossipTimeout", 5, least=1),
            node_preference=given.preference("nodePreference"),
            keep_alive_interval=given.keep_alive("keepAliveInterval"),
            keep_alive_timeout=given.keep_alive("keepAliveTimeout"),
            tls_ca_file=given.get("tlsCaFile"),
            user_cert_file=given.get("userCertFile"),
            user_key_file=given.get("userKeyFile"),
        )
        # Without TLS there is no certificate to verify, and the two options are often written together.
        if not given.flag("tlsVerifyCert", default=True) and options.tls:
            raise InvalidAddress(
                "tlsVerifyCert=false is not supported: gRPC for Python always verifies the server's certificate. Name the authority that "
                "signed it with tlsCaFile=/path/to/ca.crt instead."
            )
        if (options.user_cert_file is None) != (options.user_key_file is None):
            has, lacks = ("userCertFile", "userKeyFile") if options.user_cert_file else ("userKeyFile", "userCertFile")
            raise InvalidAddress(f"The address has {has} but no {lacks}: give both a certificate and its key, or neither.")
        return options


KNOWN: Final = (
    "tls",
    "connectionName",
    "maxDiscoverAttempts",
    "discoveryInterval",
    "gossipTimeout",
    "nodePreference",
    "tlsVerifyCert",
    "tlsCaFile",
    "userCertFile",
    "userKeyFile",
    "keepAliveInterval",
    "keepAliveTimeout",
    "defaultDeadline",
    "throwOnAppendFailure",
)
"""The options of KurrentDB's connection strings, as its documentation writes them."""


def _split(query: str) -> dict[str, str]:
    """Return the options by their documented names, values still as they were written."""
    names = {name.lower(): name for name in KNOWN}
    parts = [(names.get(unquote(part.partition("=")[0]).strip().lower()), part) for part in query.split("&") if part]
    unknown = [part for name, part in parts if name is None]
    if any("@" in part for part in unknown):
        # After an unencoded ? in a password, the rest of the password looks like options; none of it may be shown.
        raise InvalidAddress(
            "The address has an @ after its ? that belongs to no known option. Characters in user and password must be "
            "percent-encoded: / as %2F, ? as %3F, # as %23, @ as %40."
        )
    if unknown:
        key = unknown[0].partition("=")[0]
        shown = key if re.fullmatch(r"[A-Za-z]{1,40}", key) else "with a name that is none"
        raise InvalidAddress(f"The address has an unknown option {shown}; the known ones are {', '.join(KNOWN)}.")
    found: dict[str, str] = {}
    for name, part in parts:
        assert name is not None
        _, equals, value = part.partition("=")
        if name in found:
            raise InvalidAddress(f"The address has the option {name} twice: give it once.")
        if not equals or not value:
            raise InvalidAddress(f"The address has the option {name} without a value: write {name}=…, or leave it out.")
        found[name] = value
    return found


class _Given:
    """The options that were given; each method reads one, or refuses its value by name."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options

    def get(self, name: str) -> str | None:
        value = self._options.get(name)
        if value is None:
            return None
        try:
            return unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise InvalidAddress(f"The option {name} in the address is percent-encoded, but does not decode to UTF-8.") from None

    def flag(self, name: str, *, default: bool) -> bool:
        value = (self.get(name) or str(default)).lower()
        if value not in ("true", "false"):
            raise InvalidAddress(f"The option {name} in the address must be true or false.")
        return value == "true"

    def number(self, name: str, default: int, *, least: int) -> int:
        value = self.get(name)
        if value is None:
            return default
        number = int(value) if re.fullmatch(r"[+-]?[0-9]{1,18}", value) else None
        if number is None or not least <= number <= _LARGEST:
            raise InvalidAddress(f"The option {name} in the address must be a whole number from {least} to {_LARGEST}.")
        return number

    def keep_alive(self, name: str) -> int | None:
        """Parse a keep-alive option: 0 or less turns it off, and a very short interval raises a warning."""
        number = self.number(name, KEEPALIVE_MS, least=-(10**18))
        if 0 < number < _SHORTEST_KEEPALIVE_MS:
            warnings.warn(
                f"The option {name} in the address is {number} ms. Below {_SHORTEST_KEEPALIVE_MS} ms servers may drop the connection, "
                "and a busy server may seem lost; the default is 10000.",
                WorkbenchWarning,
                stacklevel=2,
            )
        return number if number > 0 else None

    def name(self, name: str) -> str | None:
        value = self.get(name)
        if value is not None and not re.fullmatch(r"[!-~]([ -~]*[!-~])?", value):
            raise InvalidAddress(f"The option {name} in the address must be printable ASCII, with no space at either end.")
        return value

    def preference(self, name: str) -> NodePreference:
        value = (self.get(name) or NodePreference.LEADER.value).lower()
        try:
            return NodePreference(value)
        except ValueError:
            known = ", ".join(preference.value for preference in NodePreference)
            raise InvalidAddress(f"The option {name} in the address must be one of {known}.") from None
