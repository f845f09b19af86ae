"""Decodes many serialised events at once, column by column.

A read answers with one protobuf message per event. The messages of a log are so alike that a batch of them can be decoded in lockstep:
one cursor per message, and numpy moves all cursors over the same bytes. The result is Arrow columns; no Python object is made for a
field of an event.

Sources: ``streams.proto`` of KurrentDB (``ReadResp``), and the wire format at https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workbench.errors import ReadInterrupted

Ints: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]

_VARINT, _LENGTH = 0, 2
_WIDTHS = {1: 8, 5: 4}
"""The size of each fixed-size wire type."""

EVENT = 1
"""The number of ``ReadResp.event`` in the oneof ``content``."""


class MalformedMessage(ReadInterrupted):
    """Raised when bytes from the server are not a valid protobuf message of the protocol."""


@dataclass(frozen=True, slots=True)
class Spans:
    """The occurrences of one field in the bytes: for each, its message, its first byte and the byte after its last.

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
    """Serialised messages in one piece of memory, followed by zeros as a margin."""

    data: Bytes
    start: Ints
    end: Ints

    @classmethod
    def of(cls, messages: Sequence[bytes]) -> Self:
        """Concatenate separate messages."""
        sizes = np.fromiter(map(len, messages), np.int64, len(messages))
        end = np.cumsum(sizes)
        return cls(np.frombuffer(b"".join([*messages, _MARGIN]), np.uint8), end - sizes, end)

    @classmethod
    def behind_prefixes(cls, body: bytearray, starts: list[int], end: int) -> Self:
        """Copy consecutive messages from a body, where each follows gRPC's prefix of five bytes.

        Parameters
        ----------
        body
            The received bytes, from the first prefix on.
        starts
            Where each prefix begins.
        end
            Where the last message ends.
        """
        edges = np.array([*starts, end], np.int64)
        with memoryview(body) as view:
            data = np.frombuffer(b"".join((view[:end], _MARGIN)), np.uint8)
        return cls(data, edges[:-1] + 5, edges[1:])


_MARGIN = bytes(10)  # as long as the longest varint, so that reading a truncated one stays inside
_NOTHING = Spans(*(np.empty(0, np.int64) for _ in range(3)))


_GAPS: Final = tuple(
    (np.uint64(gap), np.uint64(low), np.uint64(high))
    for gap, low, high in (
        (1, 0x007F_007F_007F_007F, 0x7F00_7F00_7F00_7F00),
        (2, 0x0000_3FFF_0000_3FFF, 0x3FFF_0000_3FFF_0000),
        (4, 0x0000_0000_0FFF_FFFF, 0x0FFF_FFFF_0000_0000),
    )
)


def _words(data: Bytes) -> npt.NDArray[np.uint64]:
    """View the eight bytes from each byte on as one little-endian number, without a copy."""
    return np.ndarray(data.size - 7, "<u8", buffer=data.data, strides=(1,))


def _varints(data: Bytes, cursor: Ints) -> tuple[Ints, Ints]:
    """Read one varint at each cursor; return the values (signed 64 bits) and the cursors after them."""
    byte = data[cursor]
    if not byte.size or byte.max() < 0x80:
        return byte.astype(np.int64), cursor + 1
    word: npt.NDArray[np.uint64] = _words(data)[cursor]
    last = ~word & 0x8080_8080_8080_8080  # the high bit of each byte that ends a varint
    last &= -last  # the first of them
    size = (np.bitwise_count(last - 1) >> 3).astype(np.int64) + 1
    word &= (last - 1) & 0x7F7F_7F7F_7F7F_7F7F
    # Each byte holds seven bits: close the gaps between bytes, then between pairs, then between fours.
    for gap, low, high in _GAPS:
        word = (word & low) | (word & high) >> gap
    value, after = word.view(np.int64), cursor + size
    long = np.flatnonzero(last == 0)
    if long.size:
        value[long], after[long] = _long_varints(data, cursor[long])
    return value, after


def _long_varints(data: Bytes, cursor: Ints) -> tuple[Ints, Ints]:
    """Read varints of more than eight bytes."""
    value, shift = np.zeros(cursor.size, np.int64), 0
    going = np.arange(cursor.size)
    cursor = cursor.copy()
    while going.size:
        if shift > 63:
            raise MalformedMessage("The server sent a varint of more than ten bytes; the read was stopped.")
        byte = data[cursor[going]]
        value[going] |= (byte & 0x7F).astype(np.int64) << shift
        cursor[going] += 1
        going = going[byte >= 0x80]
        shift += 7
    return value, cursor


def fields(data: Bytes, messages: Spans) -> dict[int, Spans]:
    """Return the fields of all messages by number; repeated occurrences in a message keep their order.

    Each round reads one field number, the smallest that comes next in any message, from all messages where it comes next. Writers of
    protobuf put fields in order, so messages that lack a field wait for the others, and all read the following field together.

    Parameters
    ----------
    data
        The bytes, with the margin that ``Messages`` adds.
    messages
        The spans of the messages.

    Raises
    ------
    MalformedMessage
        A message ends within a field, or uses a wire type that protobuf no longer has.
    """
    row, cursor, end = messages.row, messages.start, messages.end
    found: dict[int, list[Spans]] = {}
    while True:
        open_ = cursor < end
        if not open_.all():
            row, cursor, end = row[open_], cursor[open_], end[open_]
        if not row.size:
            break
        tag, behind = _varints(data, cursor)
        first = int(tag.min())
        here = np.flatnonzero(tag == first)
        if here.size == row.size:
            value, stop, cursor = _values(data, first & 7, behind, end)
            found.setdefault(first >> 3, []).append(Spans(row, value, stop))
        else:
            value, stop, after = _values(data, first & 7, behind[here], end[here])
            found.setdefault(first >> 3, []).append(Spans(row[here], value, stop))
            cursor = cursor.copy()
            cursor[here] = after
    return {number: spans[0] if len(spans) == 1 else _joined(spans) for number, spans in found.items()}


def _values(data: Bytes, wire: int, cursor: Ints, end: Ints) -> tuple[Ints, Ints, Ints]:
    """Read one value of a wire type at each cursor; return its start or value, its end, and the cursor after it."""
    if wire == _LENGTH:
        size, start = _varints(data, cursor)
        if (size < 0).any() or (size > end - start).any():
            raise _malformed()
        after = start + size
        return start, after, after
    if wire == _VARINT:
        value, after = _varints(data, cursor)
        stop = np.zeros(cursor.size, np.int64)
    elif wire in _WIDTHS:
        value, after = cursor, cursor + _WIDTHS[wire]
        stop = after
    else:
        raise _malformed()
    if (after > end).any():
        raise _malformed()
    return value, stop, after


def _malformed() -> MalformedMessage:
    return MalformedMessage("The server sent a message that is not valid protobuf; the read was stopped.")


def _joined(spans: list[Spans]) -> Spans:
    return Spans(*(np.concatenate(part) for part in zip(*((s.row, s.start, s.end) for s in spans), strict=True)))


def one_each(spans: Spans | None, count: int) -> Spans:
    """Return one occurrence for each of ``count`` messages: the last, as protobuf specifies, or an empty one if the field is absent."""
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

    The spans must be ascending and must not overlap, as fields of successive messages are. Then the buffer already is a binary column in
    which every second value is a gap between two spans, and Arrow copies only the values.
    """
    sizes = spans.size
    count, least = sizes.size, int(sizes.min(initial=2**31))
    if count and 0 < least == sizes.max():
        offsets = np.arange(0, (count + 1) * least, least, dtype=np.int32)
        values = _same_sized(data, spans.start, least)
        return pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(values)])
    edges = np.empty(2 * spans.start.size + 1, np.int32)
    # An absent field is (0, 0): move it to the end of the one before, so that the edges stay ascending.
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
    """Cut spans of stream names to their categories (``workbench.events.category_of``): up to the first ``-``, if any."""
    dash = pc.find_substring(names, "-").to_numpy(zero_copy_only=False)
    return Spans(spans.row, spans.start, np.where(dash < 0, spans.end, spans.start + dash))


def equal(data: Bytes, spans: Spans, literal: bytes) -> npt.NDArray[np.bool_]:
    """Return for each span whether it equals a literal."""
    same: npt.NDArray[np.bool_] = spans.size == len(literal)
    rows, words = np.flatnonzero(same), _words(data)
    for at in range(0, len(literal), 8):
        part = literal[at : at + 8]
        mask = 2 ** (8 * len(part)) - 1
        rows = rows[words[spans.start[rows] + at] & mask == int.from_bytes(part, "little")]
    same[:] = False
    same[rows] = True
    return same


def stamps(data: Bytes, spans: Spans) -> Ints:
    """Parse each span as ticks of 100 ns since 1970, which the server writes as a decimal number; negative before 1970.

    Raises
    ------
    MalformedMessage
        One of them is not a 64-bit integer. Whether the ticks are a valid instant is not checked here.
    """
    size = spans.size
    values = np.zeros(size.size, np.int64)
    for count in np.unique(size).tolist():
        rows = np.flatnonzero(size == count)
        digits = _same_sized(data, spans.start[rows], count) - ord("0") if 1 <= count <= 18 else None
        if digits is None or digits.max() > 9:  # a sign, or so many digits that the number may overflow
            values[rows] = [_stamp(bytes(data[start : start + count])) for start in spans.start[rows].tolist()]
            continue
        value = np.zeros(rows.size, np.int64)
        for digit in digits.T:
            value *= 10
            value += digit
        values[rows] = value
    return values


def _stamp(text: bytes) -> int:
    if re.fullmatch(rb"-?[0-9]{1,19}", text) is None:
        raise MalformedMessage("The server sent a time stamp that is not a number; the read was stopped.")
    ticks = int(text)
    if not -(2**63) <= ticks < 2**63:
        raise MalformedMessage(f"The server sent the time stamp {ticks}, which has more than 64 bits; the read was stopped.")
    return ticks


def _same_sized(data: Bytes, start: Ints, size: int) -> Bytes:
    """Copy ``size`` bytes from each start into a row."""
    everywhere = np.ndarray(data.size - size + 1, f"V{size}", buffer=data.data, strides=(1,))
    return everywhere[start].view(np.uint8).reshape(start.size, size)


@dataclass(frozen=True, slots=True)
class Decoded:
    """The columns of a batch of recorded events, as on the wire; row ``i`` is the ``i``-th event of the read."""

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
    """Decode serialised ``ReadResp`` messages; skip those that are not events (confirmations, checkpoints, caught-up).

    Returns
    -------
    The events in the order of the messages, or None if there are none. A read that does not resolve links returns the link itself as
    the event, even if its target is gone.

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
        ticks=stamps(data, named(b"created")),
        is_json=equal(data, named(b"content-type"), b"application/json"),
        event_id=text(data, one_each(identity.get(2), count), what="event id"),
        stream=stream,
        category=binary(data, _upto_dash(stream, named_stream)).cast(pa.string()),
        type=text(data, named(b"type"), what="event type"),
        data=binary(data, one_each(event.get(8), count)),
        metadata=binary(data, one_each(event.get(7), count)),
    )


def text_where(column: pa.Array, valid: npt.NDArray[np.bool_]) -> tuple[pa.Array, pa.Array]:
    """Split a binary column into a text column of the valid values and a binary column of the others; each is null elsewhere."""
    mask = pa.array(valid)
    if valid.all():
        return column.cast(pa.string()), pa.nulls(len(column), pa.binary())
    return pc.if_else(mask, column, None).cast(pa.string()), pc.if_else(mask, None, column)
