"""Parses the events that a writer proposes, from the messages of ``Append`` and ``BatchAppend``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from workbench.embedded.calls.failures import invalid_argument, missing_metadata, not_chosen
from workbench.embedded.recording.appends import ANY, NO_STREAM, STREAM_EXISTS
from workbench.embedded.recording.records import MAX_REVISION, NewEvent
from workbench.protocol import shared_pb2, streams_pb2

ProposedMessage = streams_pb2.AppendReq.ProposedMessage | streams_pb2.BatchAppendReq.ProposedMessage

_OUT_OF_RANGE = "Specified argument was out of the range of valid values. (Parameter 'eventStreamId')"
_STATES = {"any": ANY, "no_stream": NO_STREAM, "stream_exists": STREAM_EXISTS}


def stream_name(identifier: shared_pb2.StreamIdentifier) -> str:
    """Return the name of a stream as text; what is not UTF-8 in it is replaced.

    Raises
    ------
    Failure
        INVALID_ARGUMENT: it has none.
    """
    name = identifier.stream_name.decode(errors="replace")
    if not name:
        raise invalid_argument("The request names no stream.", in_batch=_OUT_OF_RANGE)
    return name


def writable_stream(identifier: shared_pb2.StreamIdentifier) -> str:
    """Return the name of a stream that can be written to.

    Raises
    ------
    Failure
        INVALID_ARGUMENT: it has no name, or it is the metadata of a stream without a name.
    """
    name = stream_name(identifier)
    if name == "$$":
        raise invalid_argument("The stream '$$' would be the metadata of a stream without a name.", in_batch=_OUT_OF_RANGE)
    return name


def proposed_event(message: ProposedMessage, *, accept_timestamps: bool) -> NewEvent:
    """Return the event that a message proposes; its own time only where the store accepts that.

    Raises
    ------
    Failure
        INVALID_ARGUMENT: no type, no content type, no id, or a time that is none.
    """
    event_id = parse_uuid(message.id)
    metadata = message.metadata
    event_type, content_type = metadata.get("type"), metadata.get("content-type")
    if event_type is None or content_type is None:
        raise missing_metadata("type" if event_type is None else "content-type")
    if not event_id.int:
        raise invalid_argument("The event id is empty.", in_batch="Empty eventId provided. (Parameter 'eventId')")
    if not event_type:
        raise invalid_argument("The event type is empty.", in_batch="Empty eventType provided. (Parameter 'eventType')")
    created = metadata.get("created") if accept_timestamps else None
    return NewEvent(
        event_id,
        event_type,
        message.data,
        message.custom_metadata,
        content_type == "application/json",
        None if created is None else ticks_of(created),
    )


def expected_revision(options: Any, choice: str, revision: str) -> int:
    """Return the revision that a writer expects a stream to have, or a state that it expects.

    Raises
    ------
    Failure
        INVALID_ARGUMENT: the request expects nothing, or a revision that no stream can have.
    """
    chosen = options.WhichOneof(choice)
    if chosen is None:
        message = options.DESCRIPTOR.containing_type.name
        raise not_chosen(f"{message}+Types+Options", "".join(word.capitalize() for word in choice.split("_")))
    if chosen != revision:
        return _STATES[chosen]
    expected = int(getattr(options, chosen))
    if MAX_REVISION < expected < 2**64 - 1:  # the server takes the greatest number, which no stream fits
        raise invalid_argument(f"The expected revision {expected} is greater than any revision.")
    return expected


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
    """Return a UUID, which may be the empty one.

    Raises
    ------
    Failure
        INVALID_ARGUMENT: there is none, or a text that is none.
    """
    if value.WhichOneof("value") is None:
        raise invalid_argument("A UUID is missing.", in_batch="Value cannot be null. (Parameter 'dto')")
    if value.WhichOneof("value") == "structured":
        parts = value.structured
        return UUID(int=(parts.most_significant_bits % 2**64) << 64 | parts.least_significant_bits % 2**64)
    try:
        return UUID(value.string)
    except ValueError:
        raise invalid_argument(f"{value.string!r} is no UUID.", in_batch="Unrecognized Guid format.") from None
