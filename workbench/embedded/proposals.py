"""What a writer proposes, as the messages of ``Append`` and ``BatchAppend`` say it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from esdbclient.protos.Grpc import shared_pb2, streams_pb2

from workbench.embedded.failures import invalid_argument, missing_metadata
from workbench.embedded.log import ANY, NO_STREAM, STREAM_EXISTS
from workbench.embedded.records import NewEvent

ProposedMessage = streams_pb2.AppendReq.ProposedMessage | streams_pb2.BatchAppendReq.ProposedMessage

_STATES = {"any": ANY, "no_stream": NO_STREAM, "stream_exists": STREAM_EXISTS}


def stream_name(identifier: shared_pb2.StreamIdentifier) -> str:
    """Return the name of a stream as text.

    Raises
    ------
    Failure
        INVALID_ARGUMENT: it has none, or one that is not UTF-8.
    """
    try:
        name = identifier.stream_name.decode()
    except UnicodeDecodeError:
        raise invalid_argument("The stream's name is not UTF-8.") from None
    if not name or name == "$$":
        raise invalid_argument("The request names no stream.")
    return name


def proposed_event(message: ProposedMessage, *, accept_timestamps: bool) -> NewEvent:
    """Return the event that a message proposes; its own time only where the store accepts that.

    Raises
    ------
    Failure
        INVALID_ARGUMENT: no type, no content type, no id, or a time that is none.
    """
    metadata = message.metadata
    event_type, content_type = metadata.get("type"), metadata.get("content-type")
    if event_type is None or content_type is None:
        raise missing_metadata("type" if event_type is None else "content-type")
    if not event_type:
        raise invalid_argument("The event type is empty.")
    created = metadata.get("created") if accept_timestamps else None
    return NewEvent(
        parse_uuid(message.id),
        event_type,
        message.data,
        message.custom_metadata,
        content_type == "application/json",
        None if created is None else ticks_of(created),
    )


def expected_revision(options: Any, choice: str, revision: str) -> int:
    chosen = options.WhichOneof(choice)
    if chosen is None:
        raise invalid_argument("The request does not say which revision it expects.")
    return int(getattr(options, chosen)) if chosen == revision else _STATES[chosen]


def size_of(event: NewEvent) -> int:
    return len(event.data) + len(event.metadata) + 2 * len(event.type)  # as the server counts (Event.SizeOnDisk)


def ticks_of(created: str) -> int:
    """Read the time that a writer gives.

    Raises
    ------
    Failure
        INVALID_ARGUMENT: it is none.
    """
    if not (created.isascii() and created.isdecimal() and int(created) < 2**63):
        raise invalid_argument(f"The metadata 'created' is {created!r}: it must be 100 ns ticks since the Unix epoch, in digits.")
    return int(created)


def parse_uuid(value: shared_pb2.UUID) -> UUID:
    if value.WhichOneof("value") == "structured":
        parts = value.structured
        found = UUID(int=(parts.most_significant_bits % 2**64) << 64 | parts.least_significant_bits % 2**64)
    else:
        try:
            found = UUID(value.string)
        except ValueError:
            raise invalid_argument(f"{value.string!r} is no UUID.") from None
    if not found.int:
        raise invalid_argument("The event id is empty.")
    return found
