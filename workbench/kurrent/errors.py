"""The one table in which errors of gRPC and of esdbclient become errors of the workbench."""

from __future__ import annotations

import re
from typing import Final

import esdbclient.exceptions as client
import grpc

from workbench.errors import (
    AccessDenied,
    InvalidPosition,
    ReadInterrupted,
    SourceError,
    SourceUnavailable,
    StreamDeleted,
    StreamNotFound,
    TlsMismatch,
    UsageError,
    WrongExpectedRevision,
)

_Code = grpc.StatusCode

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
        "what answers there does not know this call. Check that it is a KurrentDB (or EventStoreDB from 20.6) and its gRPC port",
    ),
    _Code.UNAUTHENTICATED: (
        AccessDenied,
        "user or password was refused. Give them in the address, or as KURRENTDB_USERNAME and KURRENTDB_PASSWORD",
    ),
    _Code.PERMISSION_DENIED: (
        AccessDenied,
        "this user lacks the right. Reading the whole log ($all) needs a member of $admins, or an ACL that allows it",
    ),
    _Code.CANCELLED: (ReadInterrupted, "the call was cancelled before its end. Run it again"),
    _Code.ABORTED: (ReadInterrupted, "the server ended the call before its end. Run it again"),
    _Code.DATA_LOSS: (ReadInterrupted, "the server says that data is lost. Check the server's log"),
    _Code.INTERNAL: (ReadInterrupted, "the call broke. Run it again; if it stays, check the server's log"),
    _Code.UNKNOWN: (ReadInterrupted, "the server failed within the call. Run it again; if it stays, check the server's log"),
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
"""For each gRPC status: the class, and what happened with what to do next."""

EXCEPTIONS: Final[dict[type[Exception], grpc.StatusCode]] = {
    client.ServiceUnavailable: _Code.UNAVAILABLE,
    client.SSLError: _Code.UNAVAILABLE,
    client.DiscoveryFailed: _Code.UNAVAILABLE,
    client.NodeIsNotLeader: _Code.UNAVAILABLE,
    client.DeadlineExceeded: _Code.DEADLINE_EXCEEDED,
    client.GrpcDeadlineExceeded: _Code.DEADLINE_EXCEEDED,
    client.AppendDeadlineExceeded: _Code.DEADLINE_EXCEEDED,
    client.AccessDeniedError: _Code.PERMISSION_DENIED,
    client.CancelledByClient: _Code.CANCELLED,
    client.AbortedByServer: _Code.ABORTED,
    client.ConsumerTooSlow: _Code.ABORTED,
    client.InternalError: _Code.INTERNAL,
    client.ExceptionThrownByHandler: _Code.UNKNOWN,
    client.UnknownError: _Code.UNKNOWN,
    client.GrpcError: _Code.UNKNOWN,
    client.SubscriptionConfirmationError: _Code.UNKNOWN,
    client.ExceptionIteratingRequests: _Code.UNKNOWN,
    client.NotFound: _Code.NOT_FOUND,
    client.AlreadyExists: _Code.ALREADY_EXISTS,
    client.FailedPrecondition: _Code.FAILED_PRECONDITION,
    client.MaximumSubscriptionsReached: _Code.FAILED_PRECONDITION,
    client.OperationFailed: _Code.FAILED_PRECONDITION,
    client.InvalidTransactionError: _Code.INVALID_ARGUMENT,
    client.BadRequestError: _Code.INVALID_ARGUMENT,
    client.MaximumAppendSizeExceededError: _Code.INVALID_ARGUMENT,
    client.ProgrammingError: _Code.INVALID_ARGUMENT,
    client.EventStoreDBClientException: _Code.UNKNOWN,
}
"""esdbclient's exceptions, each as the status that it stands for; those with a class of their own below come first."""

_NO_SUCH_NODE = (SourceUnavailable, "the cluster has no node of the kind that nodePreference names. Name another, or leave it out")

_OWN: Final[dict[type[Exception], tuple[type[SourceError], str]]] = {
    client.LeaderNotFound: _NO_SUCH_NODE,
    client.FollowerNotFound: _NO_SUCH_NODE,
    client.ReadOnlyReplicaNotFound: _NO_SUCH_NODE,
    client.WrongCurrentVersion: (
        WrongExpectedRevision,
        "the stream has another revision than was expected. Read it and decide again",
    ),
    client.StreamIsDeleted: (StreamDeleted, "the stream was deleted for good (tombstoned)"),
}

_TLS_SIGNS = ("SSL_ERROR", "Ssl handshake", "CERTIFICATE_VERIFY_FAILED", "certificate verify failed", "empty address list")


def translate_rpc_error(error: grpc.RpcError, *, address: str, reading: bool = False) -> SourceError:
    """Return the workbench's error for a failed call; ``reading`` says that the answer had begun.

    The message holds the address as given, the sentence of the table, and the first line of what the server said.
    """
    code, details = error.code(), error.details() or ""
    trailers = {key: value for key, value in error.trailing_metadata() or () if isinstance(value, str)}
    kind, sentence = CODES.get(code, (SourceError, "the call failed"))
    reason = trailers.get("exception", "")
    if any(sign in details for sign in _TLS_SIGNS):
        kind, sentence = TlsMismatch, tls_sentence(details)
    elif details == "Leader info available":
        leader = f"{trailers.get('leader-endpoint-host', 'unknown')}:{trailers.get('leader-endpoint-port', '')}"
        kind, sentence, details = (
            SourceUnavailable,
            f"this node is not the leader, {leader} is. Connect there, or use +discover",
            "",
        )
    elif _refuses_position(details):
        kind, sentence = InvalidPosition, "no record of the log begins at the position that was asked for"
    elif reason == "access-denied":
        kind, sentence = CODES[_Code.PERMISSION_DENIED]
    elif reason == "stream-deleted" or "is deleted" in details:
        kind, sentence = _OWN[client.StreamIsDeleted]
    elif reason == "wrong-expected-version" or "WrongExpectedVersion" in details:
        kind, sentence = _OWN[client.WrongCurrentVersion]
    elif reading and kind is SourceUnavailable:
        kind, sentence = (
            ReadInterrupted,
            "the connection broke in the middle of the read. Run it again: it goes on from what is stored",
        )
    return kind(_message(address, sentence, details))


def _refuses_position(details: str) -> bool:
    """Tell whether a server said that no record begins at a position: 25.0 names the reason, 23.10 only the call that failed."""
    return (
        "InvalidPosition" in details
        or "invalid position" in details.lower()
        or re.fullmatch(r"Unexpected (Filtered)?ReadAllResult: Error", details) is not None
    )


def translate_client_error(error: Exception, *, address: str) -> SourceError | UsageError:
    """Return the workbench's error for an exception of esdbclient; subclasses stand for their nearest named class."""
    for cls in type(error).__mro__:
        if cls in _OWN:
            kind, sentence = _OWN[cls]
            return kind(_message(address, sentence, str(error)))
        if cls in EXCEPTIONS:
            kind, sentence = CODES[EXCEPTIONS[cls]]
            details = str(error)
            if isinstance(error, client.SSLError) or any(sign in details for sign in _TLS_SIGNS):
                kind, sentence = TlsMismatch, tls_sentence(details)
            return kind(_message(address, sentence, details))
    raise error


def tls_sentence(details: str) -> str:
    """Say which side of a failed TLS handshake to mend."""
    if "WRONG_VERSION_NUMBER" in details:
        return "the server does not speak TLS on that port. Add ?tls=false to the address"
    if "verify failed" in details.lower() or "CERTIFICATE_VERIFY_FAILED" in details:
        return "the server's certificate is not trusted. Name its authority with tlsCaFile=/path/to/ca.crt in the address"
    return "the TLS handshake failed. Check tls= and tlsCaFile= in the address"


def _message(address: str, sentence: str, details: str) -> str:
    said = details.strip().partition("\n")[0][:200]
    return f"{address}: {sentence}." + (f" (The answer was: {said})" if said else "")
