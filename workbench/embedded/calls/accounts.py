"""Who may do what."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from workbench.embedded.calls.access import ADMINS, EVERYBODY, Right, may
from workbench.embedded.calls.failures import access_denied, unauthenticated
from workbench.embedded.recording.log import Log


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the store. Admins may do everything; others what the access lists of streams let them, by default all with users'
    streams and nothing with those of the system and ``$all``.
    """

    password: str
    admin: bool = False


_NOBODY = frozenset({EVERYBODY})
_SYSTEM = frozenset({EVERYBODY, ADMINS})


class Accounts:
    """The users of a store. Without any, everybody may do everything, as on a server that was started insecure."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = dict(accounts)

    def check(self, metadata: Iterable[tuple[str, str | bytes]], stream: str, right: Right, log: Log) -> None:
        """Let the sender of a call use a stream, or ``$all``.

        Raises
        ------
        Failure
            UNAUTHENTICATED for a wrong user or password, PERMISSION_DENIED for a lack of rights.
        """
        if self._accounts and not may(self.roles(metadata), right, stream, log):
            raise access_denied()

    def roles(self, metadata: Iterable[tuple[str, str | bytes]]) -> Set[str]:
        """Return the roles of the sender of a call.

        Raises
        ------
        Failure
            UNAUTHENTICATED: the call names an account that there is not, or with another password.
        """
        if not self._accounts:
            return _SYSTEM
        for key, value in metadata:
            if key == "authorization":
                return self._authenticated(value if isinstance(value, str) else value.decode("latin-1"))
        return _NOBODY

    def _authenticated(self, header: str) -> Set[str]:
        scheme, _, encoded = header.partition(" ")
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise unauthenticated() from None
        account = self._accounts.get(name)
        if scheme.lower() != "basic" or account is None or not hmac.compare_digest(password.encode(), account.password.encode()):
            raise unauthenticated()
        return _NOBODY | {name} | ({ADMINS} if account.admin else set())
