"""Translates errors of gRPC to errors of the workbench; no other module does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import grpc

from workbench.errors import (
    AccessDenied,
    InvalidPosition,
    ReadInterrupted,
    SourceError,
    SourceNotReady,
    SourceUnavailable,
    StreamDeleted,
    StreamNotFound,
    TlsMismatch,
    WrongExpectedRevision,
)
from workbench.host_port import join_host_port
from workbench.kurrent.address import PASSWORD_VARIABLE, USERNAME_VARIABLE

_Code = grpc.StatusCode


class Login(Enum):
    """Which login is sent with the calls."""

    SENT = auto()
    NONE = auto()
    NO_PASSWORD = auto()
    NOT_WITHOUT_TLS = auto()


@dataclass(frozen=True, slots=True)
class Peer:
    """The server that is called, as error messages name it.

    Attributes
    ----------
    address
        The address as it was given, without its credentials.
    login
        Which login is sent with the calls.
    node
        The node that was chosen among several or by gossip; None if the address's only host was dialled.
    by_gossip
        Whether the cluster's gossip named it.
    """

    address: str
    login: Login = Login.SENT
    node: str | None = None
    by_gossip: bool = False

    def __str__(self) -> str:
        return self.address if self.node is None or self.address.endswith(f"//{self.node}") else f"{self.address} (node {self.node})"


CODES: Final[dict[grpc.StatusCode, tuple[type[SourceError], str]]] = {
    _Code.UNAVAILABLE: (
        SourceUnavailable,
        "nothing answers there. Check that the server runs and that host and port are right",
    ),
    _Code.DEADLINE_EXCEEDED: (
        SourceUnavailable,
        "there was no answer in time. Check that a KurrentDB listens on that port, or try again when it is less busy",
    ),
    _Code.UNIMPLEMENTED: (
        SourceUnavailable,
        "the server does not know this call. Check that it is a KurrentDB (or EventStoreDB from 20.6) and that this is its gRPC port",
    ),
    _Code.UNAUTHENTICATED: (
        AccessDenied,
        "user or password was refused. Give them in the address, or as KURRENTDB_USERNAME and KURRENTDB_PASSWORD",
    ),
    _Code.PERMISSION_DENIED: (
        AccessDenied,
        "this user lacks the right. To read the whole log ($all), a user must be in $admins or be allowed by an ACL",
    ),
    _Code.CANCELLED: (ReadInterrupted, "the call was cancelled before its end. Run it again"),
    _Code.ABORTED: (ReadInterrupted, "the server ended the call before its end. Run it again"),
    _Code.DATA_LOSS: (ReadInterrupted, "the server says that data is lost. Check the server's log"),
    _Code.INTERNAL: (ReadInterrupted, "the call broke. Run it again; if it still fails, check the server's log"),
    _Code.UNKNOWN: (ReadInterrupted, "the server failed during the call. Run it again; if it still fails, check the server's log"),
    _Code.RESOURCE_EXHAUSTED: (
        ReadInterrupted,
        "a message or a queue was larger than allowed. Run it again when it is less busy",
    ),
    _Code.NOT_FOUND: (StreamNotFound, "there is no such stream"),
    _Code.ALREADY_EXISTS: (SourceError, "it exists already"),
    _Code.FAILED_PRECONDITION: (SourceError, "the server refused the call in its present state"),
    _Code.INVALID_ARGUMENT: (SourceError, "the server refused the call as invalid"),
    _Code.OUT_OF_RANGE: (InvalidPosition, "the server refused the position"),
}
"""For each gRPC status, the error class and a sentence: what happened, and what to do."""

_TOMBSTONED = (StreamDeleted, "the stream was deleted for good (tombstoned)")
_OTHER_REVISION = (WrongExpectedRevision, "the stream is not at the expected revision. Read it and decide again")
_STARTING = (SourceNotReady, "the node is not ready: it is starting, or its cluster elects a leader. Wait a moment and run it again")
_NO_LOGIN = f"Give them in the address, or as {USERNAME_VARIABLE} and {PASSWORD_VARIABLE}"
_REFUSED_LOGIN: Final = {
    Login.NONE: f"the server wants a login, and none was sent: there is no user and no password. {_NO_LOGIN}",
    Login.NO_PASSWORD: f"the server wants a login, and none was sent: there is a user without a password. {_NO_LOGIN}",
    Login.NOT_WITHOUT_TLS: "the server wants a login, and none was sent: the address says tls=false, and passwords are sent over TLS only. "
    "Use ?tls=true",
}
_TLS_SIGNS = ("SSL_ERROR", "Ssl handshake", "CERTIFICATE_VERIFY_FAILED", "certificate verify failed", "empty address list")


def no_leader(peer: Peer | str, *, said: str = "") -> SourceNotReady:
    """Return the error for a cluster that has no leader at the moment."""
    return SourceNotReady(
        f"{peer}: the cluster has no leader just now{said}. It elects one within seconds if most of its nodes run; run it again then."
    )


def missing_login(peer: Peer | str) -> str | None:
    """Return a sentence that says that no login was sent, and how to send one; None if one was sent."""
    return _REFUSED_LOGIN.get(peer.login) if isinstance(peer, Peer) else None


def translate_rpc_error(error: grpc.RpcError, *, address: Peer | str, reading: bool = False) -> SourceError:
    """Return the workbench's error for a failed call; ``reading`` means that the answer had begun.

    The message holds the address as given, a sentence from the table, and the first line of the server's message.
    """
    peer = Peer(address) if isinstance(address, str) else address
    code, details = error.code(), error.details() or ""
    trailers = {key: value for key, value in error.trailing_metadata() or () if isinstance(value, str)}
    kind, sentence = CODES.get(code, (SourceError, "the call failed"))
    reason = trailers.get("exception", "")
    if any(sign in details for sign in _TLS_SIGNS):
        kind, sentence = TlsMismatch, tls_sentence(details)
    elif details == "Leader info available":
        leader = join_host_port(trailers.get("leader-endpoint-host", "unknown"), trailers.get("leader-endpoint-port", ""))
        if peer.by_gossip:
            return no_leader(peer, said=f": {peer.node} is no longer the leader, and names {leader}")
        kind, sentence, details = SourceUnavailable, f"this node is not the leader; {leader} is. Connect there, or use +discover", ""
    elif "No leader info available" in details:
        return no_leader(peer)
    elif code is _Code.UNAVAILABLE and "not ready" in details.lower():
        kind, sentence = _STARTING
    elif _refuses_position(details):
        kind, sentence = InvalidPosition, "no record of the log begins at the requested position"
    elif reason == "access-denied" or code in (_Code.PERMISSION_DENIED, _Code.UNAUTHENTICATED):
        kind, sentence = CODES[_Code.UNAUTHENTICATED if code is _Code.UNAUTHENTICATED else _Code.PERMISSION_DENIED]
        sentence = missing_login(peer) or sentence
    elif reason == "stream-deleted" or "is deleted" in details:
        kind, sentence = _TOMBSTONED
    elif reason == "wrong-expected-version" or "WrongExpectedVersion" in details:
        kind, sentence = _OTHER_REVISION
    elif reading and kind is SourceUnavailable:
        kind, sentence = ReadInterrupted, "the connection broke in the middle of the read"
    return kind(_message(peer, sentence, details))


def _refuses_position(details: str) -> bool:
    """Whether a server said that no record begins at a position: 25.0 names the reason, 23.10 only the failed call."""
    return (
        "InvalidPosition" in details
        or "invalid position" in details.lower()
        or re.fullmatch(r"Unexpected (Filtered)?ReadAllResult: Error", details) is not None
    )


def tls_sentence(details: str) -> str:
    """Say what to change after a failed TLS handshake."""
    if "WRONG_VERSION_NUMBER" in details:
        return "the server does not speak TLS on that port. Add ?tls=false to the address"
    if "verify failed" in details.lower() or "CERTIFICATE_VERIFY_FAILED" in details:
        return "the server's certificate is not trusted. Name its authority with tlsCaFile=/path/to/ca.crt in the address"
    return "the TLS handshake failed. Check tls= and tlsCaFile= in the address"


def _message(address: Peer, sentence: str, details: str) -> str:
    said = details.strip().partition("\n")[0][:200]
    return f"{address}: {sentence}." + (f" (The answer was: {said})" if said else "")
