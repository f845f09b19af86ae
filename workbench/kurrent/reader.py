"""The bulk reader: reads the log of a KurrentDB into Arrow record batches.

esdbclient's own ``read_all`` makes a Python object of every event, switches threads for each, rounds the time, and does not report how a
read ended. This reader takes the serialised messages of ``Streams.Read``, decodes thousands at once (``wire``), and checks the end of
the stream: status OK *and* the high-water mark reached. The messages come over a plain HTTP/2 connection (``http2``) or through gRPC's
library; the result is the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import NoneType
from typing import Any

import grpc
import msgspec
import numpy as np
import pyarrow as pa

from workbench.errors import ReadInterrupted
from workbench.events import EVENT_SCHEMA, FIRST_TICKS, LAST_TICKS, MAX_POSITION, Checkpoint
from workbench.kurrent import wire
from workbench.kurrent.errors import Peer, translate_rpc_error
from workbench.kurrent.filter import ReadFilter
from workbench.kurrent.transport.http2 import Endpoint
from workbench.protocol import shared_pb2, streams_pb2
from workbench.trace_ids import CAUSATION, CORRELATION, trace_ids

READ = "/event_store.client.streams.Streams/Read"
FEATURES = "/event_store.client.server_features.ServerFeatures/GetSupportedMethods"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

CHUNK_EVENTS, CHUNK_BYTES = 8_192, 16 * 1024 * 1024
"""Messages are decoded in chunks that fit the processor's cache; large events end a chunk early."""


@dataclass(frozen=True, slots=True)
class EventPosition:
    """One end of the log: the position, prepare position, id and stream of its first or last event.

    ``answered_at`` is the server's time at its answer, from the header ``date``, rounded down to the second; None if the server sends no
    such header. ``recorded_at`` is the event's own time; None for an undated event.
    """

    position: int
    prepare_position: int
    event_id: str
    answered_at: datetime | None = field(default=None, compare=False)
    stream: str = field(default="", compare=False)
    recorded_at: datetime | None = field(default=None, compare=False)

    @property
    def order(self) -> tuple[int, int]:
        return self.position, self.prepare_position


@dataclass(frozen=True, slots=True)
class Batch:
    """Events in log order, and the position of the last."""

    events: pa.RecordBatch
    last: EventPosition


class Reader:
    """Reads ``$all`` over a channel that the caller opens and closes."""

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        address: Peer | str,
        metadata: tuple[tuple[str, str], ...] = (),
        endpoint: Endpoint | None = None,
    ) -> None:
        self._address, self._endpoint = address, endpoint
        self._metadata = metadata
        self._read = channel.unary_stream(READ, request_serializer=streams_pb2.ReadReq.SerializeToString, response_deserializer=None)
        self._features = channel.unary_unary(FEATURES, request_serializer=shared_pb2.Empty.SerializeToString, response_deserializer=None)

    def one(
        self,
        *,
        backwards: bool,
        timeout: float | None,
        before: EventPosition | None = None,
        only: ReadFilter | None = None,
    ) -> EventPosition | None:
        """Return the first event of the log, the last, or the last before a given one, among those that pass a filter.

        A :class:`grpc.RpcError` reaches the caller.
        """
        request = _request(at=before, backwards=backwards, count=1, only=only)
        call = self._read(request, timeout=timeout, metadata=self._metadata)
        messages = list(call)
        decoded = wire.decode(wire.Messages.of(messages)) if messages else None
        return None if decoded is None else replace(_end(decoded, 0), answered_at=_date(call.initial_metadata()))

    def batches(self, *, after: Checkpoint | None, upto: EventPosition, only: ReadFilter | None = None) -> Iterator[Batch]:
        """Yield the events from ``after`` (inclusive) to ``upto`` (inclusive); see ``Connection.read_batches``."""
        last: EventPosition | None = None
        with closing(self._messages(_request(at=after, only=only))) as chunks:
            for messages in chunks:
                decoded = wire.decode(messages)
                if decoded is None:
                    continue
                within = _count_upto(decoded, upto)
                if within:
                    last = _end(decoded, within - 1)
                    yield Batch(events_of(decoded).slice(0, within), last)
                if within < decoded.position.size or (last is not None and last.order == upto.order):
                    return
        if last is None or last.order < upto.order:
            reached = "before the first event" if last is None else f"at position {last.position}"
            raise ReadInterrupted(
                f"{self._address}: the server ended the read {reached}, but had named {upto.position} as its last position."
            )

    def _messages(self, request: streams_pb2.ReadReq) -> Generator[wire.Messages]:
        """Yield the answers to a request in chunks; translate errors of the call."""
        try:
            if self._endpoint is None:
                yield from self._through_grpc(request)
            else:
                call = self._endpoint.call(READ, request.SerializeToString())
                yield from call.chunks(events=CHUNK_EVENTS, size=CHUNK_BYTES)
        except grpc.RpcError as error:
            raise translate_rpc_error(error, address=self._address, reading=True) from error

    def _through_grpc(self, request: streams_pb2.ReadReq) -> Iterator[wire.Messages]:
        call = self._read(request, metadata=self._metadata)
        chunk: list[bytes] = []
        size = 0
        failure: grpc.RpcError | None = None
        try:
            try:
                for message in call:
                    chunk.append(message)
                    size += len(message)
                    if len(chunk) == CHUNK_EVENTS or size >= CHUNK_BYTES:
                        yield wire.Messages.of(chunk)
                        chunk, size = [], 0
            except grpc.RpcError as error:
                failure = error  # raised after the complete messages before it are yielded
            if chunk:
                yield wire.Messages.of(chunk)
            if failure is not None:
                raise failure
        finally:
            call.cancel()

    def supports(self, service: str, method: str, *, timeout: float) -> bool:
        """Ask the server's features service whether it has a method; False if there is no such service."""
        try:
            answer = self._features(shared_pb2.Empty(), timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                return False
            raise translate_rpc_error(error, address=self._address) from error
        return (service, method) in _supported(answer)


def _date(headers: Iterable[tuple[str, str | bytes]] | None) -> datetime | None:
    """Return the instant of the header ``date`` (RFC 9110, 5.6.7); None if it is missing or invalid."""
    for name, value in headers or ():
        if name == "date" and isinstance(value, str):
            try:
                return parsedate_to_datetime(value).astimezone(UTC)
            except (ValueError, OverflowError):
                return None
    return None


def _request(
    *, at: Checkpoint | EventPosition | None, backwards: bool = False, count: int = 2**64 - 1, only: ReadFilter | None = None
) -> streams_pb2.ReadReq:
    options = streams_pb2.ReadReq.Options
    where: dict[str, Any]
    if at is not None:
        # The prepare position is the event's own: inside an explicit transaction (C, C) would skip the rest of it.
        position = options.Position(commit_position=at.position, prepare_position=at.prepare_position)
        where = {"position": position}
    else:
        where = {"end": shared_pb2.Empty()} if backwards else {"start": shared_pb2.Empty()}
    request = streams_pb2.ReadReq(
        options=options(
            all=options.AllOptions(**where),
            read_direction=options.ReadDirection.Backwards if backwards else options.ReadDirection.Forwards,
            resolve_links=False,
            count=count,
            no_filter=shared_pb2.Empty(),
            uuid_option=options.UUIDOption(string=shared_pb2.Empty()),
        )
    )
    if only is not None:
        only.write_into(request.options)
    return request


def _count_upto(decoded: wire.Decoded, upto: EventPosition) -> int:
    """Count the events at or before a high-water mark; positions are ascending."""
    position, prepare = upto.order
    beyond = (decoded.position > position) | ((decoded.position == position) & (decoded.prepare_position > prepare))
    return int(beyond.argmax()) if beyond.any() else int(beyond.size)


def _end(decoded: wire.Decoded, row: int) -> EventPosition:
    position, prepare_position = int(decoded.position[row]), int(decoded.prepare_position[row])
    event_id, stream = decoded.event_id[row].as_py(), decoded.stream[row].as_py()
    return EventPosition(position, prepare_position, event_id, stream=stream, recorded_at=_moment(int(decoded.ticks[row])))


def _moment(ticks: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(microseconds=ticks // 10)
    except OverflowError:  # no instant, see EVENT_SCHEMA
        return None


class _Trace(msgspec.Struct):
    correlation: Any = msgspec.field(name=CORRELATION, default=None)
    causation: Any = msgspec.field(name=CAUSATION, default=None)


_PLAIN = (str, NoneType)
_ESCAPED_KEY = re.compile(rb'\\u[^"]*"\s*:')
"""A key with an escape, which may be another spelling of a trace key."""
_KEYS = (CORRELATION.encode(), CAUSATION.encode())


_any_json = msgspec.json.Decoder(msgspec.Raw)
_trace_json = msgspec.json.Decoder(_Trace)


def events_of(decoded: wire.Decoded) -> pa.RecordBatch:
    """Return decoded events in ``EVENT_SCHEMA``: payloads split into JSON text and bytes, correlation and causation ids extracted.

    A payload is JSON text if it is valid UTF-8 and msgspec's strict decoder accepts it: RFC 8259, no NaN, no trailing commas, surrogates
    in pairs, nested no deeper than the interpreter's recursion limit. Payloads are unchanged: one of the two columns holds the recorded
    bytes.
    """
    data, data_bytes = _split(decoded.data, _is_json)
    trace = _Traces()
    metadata, metadata_bytes = _split(decoded.metadata, trace.read)
    columns = {
        "position": _positions(decoded.position),
        "prepare_position": _positions(decoded.prepare_position),
        "stream": decoded.stream,
        "category": decoded.category,
        "revision": _positions(decoded.revision),
        "event_id": decoded.event_id,
        "type": decoded.type,
        "recorded_at": _instants(decoded.ticks),
        "recorded_ticks": pa.array(decoded.ticks),
        "is_json": pa.array(decoded.is_json),
        "data": data,
        "metadata": metadata,
        "data_bytes": data_bytes,
        "metadata_bytes": metadata_bytes,
        "correlation_id": pa.array(trace.correlation, pa.string()),
        "causation_id": pa.array(trace.causation, pa.string()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in EVENT_SCHEMA.names], schema=EVENT_SCHEMA)


def _instants(ticks: wire.Ints) -> pa.Array:
    undated = (ticks < FIRST_TICKS) | (ticks > LAST_TICKS)
    return pa.array(ticks // 10, pa.timestamp("us", tz="UTC"), mask=undated if undated.any() else None)


def _positions(values: wire.Ints) -> pa.Array:
    # The server counts in unsigned 64 bits. Only its sentinels for "none" and "deleted" exceed what a lake can hold.
    return pa.array(np.where(values < 0, MAX_POSITION, values))


def _split(column: pa.Array, parse: Callable[[list[bytes | None]], list[bool]]) -> tuple[pa.Array, pa.Array]:
    """Split a binary column into a text column for JSON and a binary column for the rest; ``parse`` gets valid UTF-8 or None."""
    try:
        column.cast(pa.string())
        valid = parse(column.to_pylist())
    except pa.ArrowInvalid:
        valid = parse([value if _is_utf8(value) else None for value in column.to_pylist()])
    return wire.text_where(column, np.array(valid, np.bool_))


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_json(values: list[bytes | None]) -> list[bool]:
    decode, valid = _any_json.decode, []
    for value in values:
        try:
            if value:
                decode(value)
        except (msgspec.DecodeError, RecursionError):
            valid.append(False)
        else:
            valid.append(bool(value))
    return valid


class _Traces:
    """Reads a metadata column once: which values are JSON, and the correlation and causation ids in them."""

    def __init__(self) -> None:
        self.correlation: list[str | None] = []
        self.causation: list[str | None] = []

    def read(self, values: list[bytes | None]) -> list[bool]:
        decode, valid = _trace_json.decode, []
        for value in values:
            correlation = causation = None
            try:
                if value:
                    trace = decode(value)
                    correlation, causation = trace.correlation, trace.causation
                    if _is_odd(value, trace):
                        correlation, causation = trace_ids(value.decode())
            except msgspec.ValidationError:  # JSON, as far as it was parsed, but not an object
                valid += _is_json([value])
            except (msgspec.DecodeError, RecursionError):
                valid.append(False)
            else:
                valid.append(bool(value))
            self.correlation.append(correlation)
            self.causation.append(causation)
        return valid


def _is_odd(metadata: bytes, trace: _Trace) -> bool:
    """Whether an id is not text, or its key may occur twice; the decoder would take the last one."""
    if not isinstance(trace.correlation, _PLAIN) or not isinstance(trace.causation, _PLAIN):
        return True
    return (
        metadata.count(_KEYS[0]) > 1 or metadata.count(_KEYS[1]) > 1 or (b"\\u" in metadata and _ESCAPED_KEY.search(metadata) is not None)
    )


def _supported(answer: bytes) -> set[tuple[str, str]]:
    """Read ``SupportedMethods`` (methods = 1 of method_name = 1, service_name = 2), whose stubs esdbclient does not ship."""
    data = np.frombuffer(answer + bytes(10), np.uint8)
    whole = wire.Spans(*(np.array([edge], np.int64) for edge in (0, 0, len(answer))))
    methods = wire.fields(data, whole).get(1)
    if methods is None:
        return set()
    count = methods.row.size
    parts = wire.fields(data, wire.Spans(np.arange(count), methods.start, methods.end))
    names = wire.text(data, wire.one_each(parts.get(1), count), what="method name").to_pylist()
    services = wire.text(data, wire.one_each(parts.get(2), count), what="service name").to_pylist()
    return set(zip(services, names, strict=True))
