"""Requests of the protocol, for what esdbclient cannot express, and events for both."""

from collections.abc import Iterable, Sequence
from uuid import UUID, uuid4

import esdbclient
from esdbclient.protos.Grpc import shared_pb2, streams_pb2

from workbench.embedded import NewEvent

Options = streams_pb2.ReadReq.Options
Expression = Options.FilterOptions.Expression


def proposed(event_type: str = "happened", data: bytes = b"{}", *, metadata: bytes = b"") -> esdbclient.NewEvent:
    return esdbclient.NewEvent(type=event_type, data=data, metadata=metadata)


def events(count: int, *, event_type: str = "happened") -> list[NewEvent]:
    return [NewEvent(uuid4(), event_type, b'{"n":%d}' % number) for number in range(count)]


def read_all(
    *,
    position: tuple[int, int] | None = None,
    end: bool = False,
    backwards: bool = False,
    count: int | None = 2**62,
    resolve: bool = False,
    structured: bool = False,
    chosen: Options.FilterOptions | None = None,
) -> streams_pb2.ReadReq:
    """A read of ``$all``; a subscription, if the count is None."""
    options = _options(backwards=backwards, count=count, resolve=resolve, structured=structured)
    if position is not None:
        options.all.position.commit_position, options.all.position.prepare_position = position
    elif end:
        options.all.end.SetInParent()
    else:
        options.all.start.SetInParent()
    if chosen is None:
        options.no_filter.SetInParent()
    else:
        options.filter.CopyFrom(chosen)
    return streams_pb2.ReadReq(options=options)


def read_stream(
    stream: str,
    *,
    revision: int | None = None,
    end: bool = False,
    backwards: bool = False,
    count: int | None = 2**62,
    resolve: bool = False,
    compatibility: int = 0,
) -> streams_pb2.ReadReq:
    """A read of a stream; a subscription, if the count is None."""
    options = _options(backwards=backwards, count=count, resolve=resolve, structured=False)
    options.stream.stream_identifier.stream_name = stream.encode()
    options.control_option.compatibility = compatibility
    if revision is not None:
        options.stream.revision = revision
    elif end:
        options.stream.end.SetInParent()
    else:
        options.stream.start.SetInParent()
    options.no_filter.SetInParent()
    return streams_pb2.ReadReq(options=options)


def _options(*, backwards: bool, count: int | None, resolve: bool, structured: bool) -> Options:
    options = Options(read_direction=Options.Backwards if backwards else Options.Forwards, resolve_links=resolve)
    if count is None:
        options.subscription.SetInParent()
    else:
        options.count = count
    (options.uuid_option.structured if structured else options.uuid_option.string).SetInParent()
    return options


def chosen(
    *,
    types: Expression | None = None,
    streams: Expression | None = None,
    window: int | None = 32,
    multiplier: int = 1,
) -> Options.FilterOptions:
    """A filter by event type or by the stream's name; ``window=None`` asks for ``count``."""
    options = Options.FilterOptions(event_type=types, stream_identifier=streams, checkpointIntervalMultiplier=multiplier)
    if window is None:
        options.count.SetInParent()
    else:
        options.max = window
    return options


def batch(
    stream: str,
    proposals: Sequence[NewEvent],
    *,
    correlation: UUID | None = None,
    expected: int | str = "any",
    final: bool = True,
    first: bool = True,
    deadline: float = 60.0,
) -> streams_pb2.BatchAppendReq:
    """A request of ``BatchAppend``; only the first of an append has options."""
    request = streams_pb2.BatchAppendReq(is_final=final)
    request.correlation_id.string = str(correlation or uuid4())
    if first:
        options = request.options
        options.stream_identifier.stream_name = stream.encode()
        if isinstance(expected, int):
            options.stream_position = expected
        else:
            getattr(options, expected).SetInParent()
        options.deadline.seconds, options.deadline.nanos = int(deadline), int(deadline % 1 * 1e9)
    for event in proposals:
        request.proposed_messages.append(message(event))
    return request


def message(event: NewEvent, **more: str) -> streams_pb2.BatchAppendReq.ProposedMessage:
    content_type = "application/json" if event.is_json else "application/octet-stream"
    stamp = {} if event.created is None else {"created": str(event.created)}
    return streams_pb2.BatchAppendReq.ProposedMessage(
        id=shared_pb2.UUID(string=str(event.id)),
        metadata={"type": event.type, "content-type": content_type, **stamp, **more},
        custom_metadata=event.metadata,
        data=event.data,
    )


def recorded(responses: Iterable[streams_pb2.ReadResp]) -> list[streams_pb2.ReadResp.ReadEvent.RecordedEvent]:
    """The events of a read, without what else it says."""
    return [response.event.event for response in responses if response.WhichOneof("content") == "event"]
