"""Who may do what."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from workbench.embedded.failures import access_denied, unauthenticated


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the store. Admins read ``$all`` and the streams of the system; others read and write the streams of users."""

    password: str
    admin: bool = False


_ANYBODY = Account("", admin=True)


class Accounts:
    """The users of a store. Without any, everybody may do everything, as on a server that was started insecure."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = dict(accounts)

    def check(self, metadata: Iterable[tuple[str, str | bytes]], stream: str) -> None:
        """Let the sender of a call have a stream, or ``$all``.

        Raises
        ------
        Failure
            UNAUTHENTICATED for a wrong user or password, PERMISSION_DENIED for a lack of rights.
        """
        if not self._accounts:
            return
        account = self.account(metadata)
        if account is None or not (account.admin or _is_users(stream)):
            raise access_denied()

    def account(self, metadata: Iterable[tuple[str, str | bytes]]) -> Account | None:
        """Return the account that a call names, if it names one.

        Raises
        ------
        Failure
            UNAUTHENTICATED: there is no such account, or that is not its password.
        """
        if not self._accounts:
            return _ANYBODY
        for key, value in metadata:
            if key == "authorization":
                return self._authenticated(value if isinstance(value, str) else value.decode("latin-1"))
        return None

    def _authenticated(self, header: str) -> Account:
        scheme, _, encoded = header.partition(" ")
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise unauthenticated() from None
        account = self._accounts.get(name)
        if scheme.lower() != "basic" or account is None or not hmac.compare_digest(password.encode(), account.password.encode()):
            raise unauthenticated()
        return account


def _is_users(stream: str) -> bool:
    # A stream of metadata goes by the rights of the stream that it is about.
    return not stream.removeprefix("$$").startswith("$")
