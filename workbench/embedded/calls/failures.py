"""What the server answers when it refuses a call: status, text and trailers, as clients match them.

The texts and trailers are KurrentDB's (``RpcExceptions.cs``, ``Constants.cs``); clients tell errors apart by the trailer
``exception``, esdbclient also by words of the text.
"""

from __future__ import annotations

import string
from typing import NoReturn
from urllib.parse import quote

import grpc
import grpc.aio
from grpc import StatusCode

from workbench.embedded.recording.appends import MAX_APPEND_SIZE, Tombstoned, WrongRevision

_PRINTABLE = string.printable.rstrip(string.whitespace) + " "
"""The characters that a trailer can hold as they are."""


class Failure(Exception):
    """Raised inside the server to end a call with a status other than OK.

    ``in_batch`` is what ``BatchAppend`` says instead of the details. There the server shows the text of a .NET exception, where
    other calls end with no more than "Exception was thrown by handler.".
    """

    def __init__(self, code: StatusCode, details: str, *, in_batch: str | None = None, **trailers: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.in_batch = in_batch
        # The name of a stream may hold any character. gRPC sends no answer at all, and no error, if a trailer is not printable ASCII.
        self.trailers = tuple((name.replace("_", "-"), quote(value, safe=_PRINTABLE)) for name, value in trailers.items())

    async def abort(self, context: grpc.aio.ServicerContext[object, object]) -> NoReturn:
        """End the call."""
        await context.abort(self.code, self.details, self.trailers)
        raise AssertionError("abort returned")


def wrong_revision(error: WrongRevision) -> Failure:
    """A delete or tombstone that expected another revision (an append says so in its response)."""
    return Failure(
        StatusCode.FAILED_PRECONDITION,
        f"Delete failed due to WrongExpectedVersion. Stream: {error.stream}, Expected version: {error.expected}, "
        f"Actual version: {error.current}",
        exception="wrong-expected-version",
        stream_name=error.stream,
        expected_version=str(error.expected),
        actual_version=str(error.current),
    )


def tombstoned(error: Tombstoned) -> Failure:
    """Any call on a stream that was tombstoned."""
    return Failure(
        StatusCode.FAILED_PRECONDITION,
        f"Event stream '{error.stream}' is deleted.",
        exception="stream-deleted",
        stream_name=error.stream,
    )


def access_denied() -> Failure:
    """A user without the right."""
    return Failure(StatusCode.PERMISSION_DENIED, "Access Denied", exception="access-denied")


def unauthenticated() -> Failure:
    """A user that is unknown, or a wrong password."""
    return Failure(StatusCode.UNAUTHENTICATED, "Unauthenticated")


def not_leader(host: str, port: int) -> Failure:
    """A call that only the leader takes, on another node."""
    return Failure(
        StatusCode.NOT_FOUND,
        "Leader info available",
        exception="not-leader",
        leader_endpoint_host=host,
        leader_endpoint_port=str(port),
    )


def not_ready() -> Failure:
    """Any call on a node that is starting, and one that only the leader takes where there is no leader."""
    return Failure(StatusCode.UNAVAILABLE, "Server Is Not Ready")


def append_too_large() -> Failure:
    """An append of more bytes than one write may have."""
    return Failure(
        StatusCode.INVALID_ARGUMENT,
        f"Maximum Append Size of {MAX_APPEND_SIZE} Exceeded.",
        exception="maximum-append-size-exceeded",
        maximum_append_size=str(MAX_APPEND_SIZE),
    )


def missing_metadata(name: str) -> Failure:
    """A proposed event without its type or content type."""
    return Failure(
        StatusCode.INVALID_ARGUMENT,
        f"Required Metadata Property '{name}' is missing",
        in_batch="The given key was not present in the dictionary.",
        exception="missing-required-metadata-property",
        required_metadata_properties="type,content-type",
    )


def invalid_argument(details: str, *, in_batch: str | None = None) -> Failure:
    """A request that cannot mean anything."""
    return Failure(StatusCode.INVALID_ARGUMENT, details, in_batch=in_batch)


def not_chosen(message: str, choice: str) -> Failure:
    """A request that leaves open one of the choices that a message of the protocol offers; both are named as in .NET."""
    details = f"'None' is not a valid EventStore.Client.Streams.{message}+{choice}OneofCase"
    return invalid_argument(details, in_batch=f'Status(StatusCode="InvalidArgument", Detail="{details}")')


def unimplemented(what: str) -> Failure:
    """A call of a method, or of a service, that this server does not have."""
    return Failure(StatusCode.UNIMPLEMENTED, f"{what} is unimplemented.")
