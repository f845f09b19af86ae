"""Decode many serialised events at once, column by column.

A read answers with one protobuf message an event, and the messages of a log are so alike that a batch of them can be decoded in
step: one cursor a message, all cursors moved by numpy over the same bytes. What comes out are Arrow columns; no Python object is
made for a field of an event.

Sources: ``streams.proto`` of KurrentDB (``ReadResp``), and the wire format at https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workbench.errors import ReadInterrupted

Ints: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

EVENT = 1
"""The number of ``ReadResp.event`` in the oneof ``content``."""


class MalformedMessage(ReadInterrupted):
    """Raised when bytes from the server are not the protobuf message that its protocol names."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Where the occurrences of one field lie in the bytes: the message each belongs to, and its first and past-the-end byte.

    For a varint, ``start`` holds the value and ``end`` is zero.
    """

    row: Ints
    start: Ints
    end: Ints

    @property
    def size(self) -> Ints:
        return self.end - self.start

    def where(self, chosen: npt.NDArray[np.bool_]) -> Spans:
        return Spans(self.row[chosen], self.start[chosen], self.end[chosen])


@dataclass(frozen=True, slots=True)
class Messages:
    """Serialised messages in one piece of memory, which ends in zeros that belong to none of them."""

    data: Bytes
    start: Ints
    end: Ints

    @classmethod
    def of(cls, messages: Sequence[bytes]) -> Self:
        """Put separate messages together."""
        sizes = np.fromiter(map(len, messages), np.int64, len(messages))
        end = np.cumsum(sizes)
        return cls(np.frombuffer(b"".join([*messages, _MARGIN]), np.uint8), end - sizes, end)

    @classmethod
    def behind_prefixes(cls, body: bytearray, starts: list[int], end: int) -> Self:
        """Take messages as they lie one after the other in a body, each behind gRPC's prefix of five bytes; the bytes are copied.

        Parameters
        ----------
        body
            What was received, from the first prefix on.
        starts
            Where each prefix begins.
        end
            Where the last message ends.
        """
        edges = np.array([*starts, end], np.int64)
        with memoryview(body) as view:
            data = np.frombuffer(b"".join((view[:end], _MARGIN)), np.uint8)
        return cls(data, edges[:-1] + 5, edges[1:])


_MARGIN = bytes(10)  # as long as the longest varint, so that none that is cut off reads outside
_NOTHING = Spans(*(np.empty(0, np.int64) for _ in range(3)))


def _varints(data: Bytes, cursor: Ints) -> tuple[Ints, Ints]:
    """Read one varint at each cursor; return the values (of 64 bits, as signed) and the cursors behind them."""
    byte = data[cursor]
    value = (byte & 0x7F).astype(np.int64)
    cursor = cursor + 1
    going = np.flatnonzero(byte & 0x80)
    shift = 7
    while going.size:
        if shift > 63:
            raise MalformedMessage("The server sent a varint of more than ten bytes; the read was stopped.")
        byte = data[cursor[going]]
        value[going] |= (byte & 0x7F).astype(np.int64) << shift
        cursor[going] += 1
        going = going[(byte & 0x80) != 0]
        shift += 7
    return value, cursor


def fields(data: Bytes, messages: Spans) -> dict[int, Spans]:
    """Return the fields of all messages by number; occurrences of a field stand in the order of the rounds that met them.

    Parameters
    ----------
    data
        The bytes; ``Messages`` says what stands behind them.
    messages
        Where the messages lie.

    Raises
    ------
    MalformedMessage
        A message ends within a field, or uses a wire type that protobuf no longer has.
    """
    row, cursor, end = messages.row, messages.start, messages.end
    found: dict[int, list[Spans]] = {}
    open_ = cursor < end
    while True:
        if not open_.all():
            row, cursor, end = row[open_], cursor[open_], end[open_]
        if not row.size:
            break
        tag, cursor = _varints(data, cursor)
        wire = tag & 7
        if (wire == _LENGTH).all():
            size, start = _varints(data, cursor)
            after = start + size
            value, stop = start, after
            bad = (size < 0) | (size > end - start)
        else:
            value, stop, after, bad = _mixed(data, wire, cursor, end)
        if (bad | (after > end)).any():
            raise MalformedMessage("The server sent a message that is no valid protobuf; the read was stopped.")
        number = tag >> 3
        first = int(number[0])
        if (number == first).all():
            found.setdefault(first, []).append(Spans(row, value, stop))
        else:
            for one in np.unique(number).tolist():
                chosen = number == one
                found.setdefault(one, []).append(Spans(row[chosen], value[chosen], stop[chosen]))
        cursor = after
        open_ = cursor < end
    return {number: spans[0] if len(spans) == 1 else _joined(spans) for number, spans in found.items()}


def _mixed(data: Bytes, wire: Ints, cursor: Ints, end: Ints) -> tuple[Ints, Ints, Ints, npt.NDArray[np.bool_]]:
    """Step over one field in each message, of whatever wire type: value or start, end, next cursor, and what is malformed."""
    number, behind = _varints(data, cursor)
    length = wire == _LENGTH
    value = np.where(length, behind, number)
    after = np.where(length, behind + number, behind)
    stop = np.where(length, after, 0)
    for code, width in ((_FIXED64, 8), (_FIXED32, 4)):
        fixed = wire == code
        value, after, stop = (
            np.where(fixed, cursor, value),
            np.where(fixed, cursor + width, after),
            np.where(fixed, cursor + width, stop),
        )
    known = length | (wire == _VARINT) | (wire == _FIXED64) | (wire == _FIXED32)
    return value, stop, after, ~known | (length & ((number < 0) | (number > end - behind)))


def _joined(spans: list[Spans]) -> Spans:
    return Spans(*(np.concatenate(part) for part in zip(*((s.row, s.start, s.end) for s in spans), strict=True)))


def one_each(spans: Spans | None, count: int) -> Spans:
    """Give each of ``count`` messages one occurrence: the last, as protobuf has it, or an empty one where the field is absent."""
    if spans is None:
        spans = _NOTHING
    if spans.row.size == count and (spans.row == np.arange(count)).all():
        return spans
    start, end = np.zeros(count, np.int64), np.zeros(count, np.int64)
    start[spans.row], end[spans.row] = spans.start, spans.end
    return Spans(np.arange(count), start, end)


def numbers(spans: Spans | None, count: int) -> Ints:
    """Return one varint for each of ``count`` messages; an absent one is 0."""
    return one_each(spans, count).start


def binary(data: Bytes, spans: Spans) -> pa.Array:
    """Return the bytes of each span as an Arrow column.

    The spans must not overlap and must rise, as fields of successive messages do. Then the buffer is one binary column already,
    whose every second value is a gap between two spans, and Arrow copies the values alone.
    """
    edges = np.empty(2 * spans.start.size + 1, np.int32)
    # An absent field is (0, 0): let it stand where the one before it ended, so that the edges still rise.
    absent = spans.end == spans.start
    start, end = spans.start, spans.end
    if absent.any():
        end = np.maximum.accumulate(np.where(absent, 0, end))
        start = np.where(absent, end, start)
    edges[0:-1:2], edges[1:-1:2] = start, end
    edges[-1] = edges[-2] if edges.size > 1 else 0
    column = pa.Array.from_buffers(pa.binary(), edges.size - 1, [None, pa.py_buffer(edges), pa.py_buffer(data)])
    return column.take(pa.array(np.arange(0, edges.size - 1, 2, dtype=np.int32)))


def text(data: Bytes, spans: Spans, *, what: str) -> pa.Array:
    """Return the spans as an Arrow text column.

    Raises
    ------
    MalformedMessage
        One of them is not valid UTF-8.
    """
    try:
        return binary(data, spans).cast(pa.string())
    except pa.ArrowInvalid:
        raise MalformedMessage(f"The server sent a {what} that is not valid UTF-8; the read was stopped.") from None


def _upto_dash(names: pa.Array, spans: Spans) -> Spans:
    """Cut spans of stream names to their categories (``workbench.events.category_of``): up to the first ``-``, else whole."""
    dash = pc.find_substring(names, "-").to_numpy(zero_copy_only=False)
    return Spans(spans.row, spans.start, np.where(dash < 0, spans.end, spans.start + dash))


def equal(data: Bytes, spans: Spans, literal: bytes) -> npt.NDArray[np.bool_]:
    """Say of each span whether it is exactly this literal."""
    same: npt.NDArray[np.bool_] = spans.size == len(literal)
    for i, byte in enumerate(literal):
        same[same] = data[spans.start[same] + i] == byte
    return same


def decimals(data: Bytes, spans: Spans, *, what: str) -> Ints:
    """Read each span as a decimal number, as the server writes its ticks.

    Raises
    ------
    MalformedMessage
        One of them is no decimal number of at most 18 digits.
    """
    size = spans.size
    values = np.zeros(size.size, np.int64)
    longest = int(size.max(initial=0))
    if longest > 18 or int(size.min(initial=1)) < 1:
        raise MalformedMessage(f"The server sent a {what} that is no number; the read was stopped.")
    for i in range(longest):
        here = i < size
        digit = data[np.where(here, spans.start + i, 0)].astype(np.int64) - ord("0")
        if ((digit < 0) | (digit > 9))[here].any():
            raise MalformedMessage(f"The server sent a {what} that is no number; the read was stopped.")
        values = np.where(here, values * 10 + digit, values)
    return values


@dataclass(frozen=True, slots=True)
class Decoded:
    """The columns of a batch of recorded events, as the wire has them; row ``i`` is the ``i``-th event of the read."""

    position: Ints
    prepare_position: Ints
    revision: Ints
    ticks: Ints
    is_json: npt.NDArray[np.bool_]
    event_id: pa.Array
    stream: pa.Array
    category: pa.Array
    type: pa.Array
    data: pa.Array
    metadata: pa.Array


def decode(messages: Messages) -> Decoded | None:
    """Decode serialised ``ReadResp`` messages; those that are no event (confirmations, checkpoints, caught-up) are left out.

    Returns
    -------
    The events in the order of the messages, or None where no message is one. A read that does not resolve links gives the link
    itself as the event, also where its target is gone.

    Raises
    ------
    MalformedMessage
        The bytes are not such messages.
    """
    data, total = messages.data, messages.start.size
    responses = fields(data, Spans(np.arange(total), messages.start, messages.end))
    found = responses.get(EVENT)
    if found is None:
        return None
    present = np.zeros(total, np.bool_)
    present[found.row] = True
    found = one_each(found, total).where(present)
    count = found.row.size
    envelope = fields(data, Spans(np.arange(count), found.start, found.end))
    event = fields(data, one_each(envelope.get(1), count))

    identity = fields(data, one_each(event.get(1), count))
    named_stream = one_each(fields(data, one_each(event.get(2), count)).get(3), count)
    stream = text(data, named_stream, what="stream name")
    properties = event.get(6, _NOTHING)
    pairs = fields(data, Spans(np.arange(properties.row.size), properties.start, properties.end))
    keys = one_each(pairs.get(1), properties.row.size)
    values = one_each(pairs.get(2), properties.row.size)

    def named(key: bytes) -> Spans:
        chosen = equal(data, keys, key)
        return one_each(Spans(properties.row[chosen], values.start[chosen], values.end[chosen]), count)

    return Decoded(
        position=numbers(event.get(5), count),
        prepare_position=numbers(event.get(4), count),
        revision=numbers(event.get(3), count),
        ticks=decimals(data, named(b"created"), what="time stamp"),
        is_json=equal(data, named(b"content-type"), b"application/json"),
        event_id=text(data, one_each(identity.get(2), count), what="event id"),
        stream=stream,
        category=binary(data, _upto_dash(stream, named_stream)).cast(pa.string()),
        type=text(data, named(b"type"), what="event type"),
        data=binary(data, one_each(event.get(8), count)),
        metadata=binary(data, one_each(event.get(7), count)),
    )


def text_where(column: pa.Array, valid: npt.NDArray[np.bool_]) -> tuple[pa.Array, pa.Array]:
    """Split a binary column in two of the same length: text where valid, the bytes elsewhere; the other half of each is null."""
    mask = pa.array(valid)
    if valid.all():
        return column.cast(pa.string()), pa.nulls(len(column), pa.binary())
    return pc.if_else(mask, column, None).cast(pa.string()), pc.if_else(mask, None, column)
