"""Parses requests from the wire, and checks their number."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from grpc import StatusCode

from workbench.embedded.calls.failures import Failure, invalid_argument

_M = TypeVar("_M", bound=Message)


async def only_request(requests: AsyncIterator[bytes], kind: type[_M]) -> _M:
    """Return the request of a call that takes exactly one, once the client has ended its side.

    A server that answers before the end of the request sends RST_STREAM behind its answer, which some clients take for a broken
    connection.

    Raises
    ------
    Failure
        INTERNAL: there is none, or more than one. INVALID_ARGUMENT: it is no message of that kind.
    """
    found = None
    async for request in requests:
        if found is not None:
            raise Failure(StatusCode.INTERNAL, "Additional data after the message received.")
        found = request
    if found is None:
        raise Failure(StatusCode.INTERNAL, "Incomplete message.")
    return parsed(found, kind)


def parsed(request: bytes, kind: type[_M]) -> _M:
    """Return the message that a request holds.

    Raises
    ------
    Failure
        INVALID_ARGUMENT: it is no message of that kind.
    """
    message: _M = kind()
    try:
        message.ParseFromString(request)
    except DecodeError:
        raise invalid_argument(f"The request is no {kind.DESCRIPTOR.name}: protobuf cannot decode it.") from None
    return message
