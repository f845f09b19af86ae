"""The column-wise decoder says what protobuf's own parser says, for every message that the protocol allows."""

from __future__ import annotations

import contextlib
import uuid

import numpy as np
import pyarrow as pa
import pytest
from esdbclient.protos.Grpc import shared_pb2, streams_pb2
from hypothesis import given
from hypothesis import strategies as st

from workbench.events import EVENT_SCHEMA, FIRST_TICKS, LAST_TICKS, MAX_POSITION, category_of
from workbench.kurrent import wire
from workbench.kurrent.reader import events_of

Response = streams_pb2.ReadResp
Recorded = Response.ReadEvent.RecordedEvent

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.text("aé漢-$*", max_size=6)
payloads = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"", b"{}", b"null", b"NaN", b"[1,]", b'{"a":1}', '{"é":"漢字 🦊"}'.encode(), b'{"a":"\\ud800"}', b'"\xff"', b"1 2", b"[" * 5000]
    ),
    st.sampled_from(
        [b'{"$correlationId":"c","$causationId":"d"}', b'{"$correlationId":7}', b'["$correlationId"]', b'{"$causationId":null}']
    ),
)
unsigned = st.integers(0, 2**64 - 1)


@st.composite
def events(draw: st.DrawFn) -> Recorded:
    properties = {
        "type": draw(names),
        "content-type": draw(st.sampled_from(["application/json", "application/octet-stream", "application/jsom", ""])),
    }
    properties["created"] = str(draw(st.integers(0, 10**18 - 1)))
    properties |= draw(st.dictionaries(st.sampled_from(["typf", "creatdd", "content-typf", "x", "schema-format"]), names, max_size=2))
    return Recorded(
        id=shared_pb2.UUID(string=str(draw(st.uuids()))),
        stream_identifier=shared_pb2.StreamIdentifier(stream_name=draw(names).encode()),
        stream_revision=draw(unsigned),
        prepare_position=draw(unsigned),
        commit_position=draw(unsigned),
        metadata=properties,
        custom_metadata=draw(payloads),
        data=draw(payloads),
    )


@st.composite
def responses(draw: st.DrawFn) -> Response:
    kind = draw(st.sampled_from(["event"] * 6 + ["link", "checkpoint", "caught up", "confirmation"]))
    if kind == "checkpoint":
        return Response(checkpoint=Response.Checkpoint(commit_position=draw(unsigned), prepare_position=1))
    if kind == "caught up":
        return Response(caught_up=Response.CaughtUp())
    if kind == "confirmation":
        return Response(confirmation=Response.SubscriptionConfirmation(subscription_id="x"))
    envelope = Response.ReadEvent(event=draw(events()), commit_position=draw(unsigned))
    if kind == "link":
        envelope.link.CopyFrom(draw(events()))
    return Response(event=envelope)


def decode(messages: list[bytes]) -> wire.Decoded | None:
    return wire.decode(wire.Messages.of(messages))


def stored(value: int) -> int:
    return min(value, MAX_POSITION)


@given(st.lists(responses(), min_size=1, max_size=12))
def test_decoding_in_columns_equals_decoding_one_by_one(messages: list[Response]) -> None:
    decoded = decode([message.SerializeToString() for message in messages])
    expected = [message.event.event for message in messages if message.WhichOneof("content") == "event"]
    if decoded is None:
        assert not expected
        return
    batch = events_of(decoded)
    assert batch.schema == EVENT_SCHEMA
    for row, event in zip(batch.to_pylist(), expected, strict=True):
        stream = event.stream_identifier.stream_name.decode()
        assert row["position"] == stored(event.commit_position)
        assert row["prepare_position"] == stored(event.prepare_position)
        assert row["revision"] == stored(event.stream_revision)
        assert (row["stream"], row["category"]) == (stream, category_of(stream))
        assert (row["event_id"], row["type"]) == (event.id.string, event.metadata["type"])
        assert row["recorded_ticks"] == int(event.metadata["created"])
        assert row["is_json"] == (event.metadata["content-type"] == "application/json")
        for text, raw, recorded in (
            (row["data"], row["data_bytes"], event.data),
            (row["metadata"], row["metadata_bytes"], event.custom_metadata),
        ):
            assert (text is None) != (raw is None)
            assert (text.encode() if raw is None else raw) == recorded


@given(st.integers(-(2**63), 2**63 - 1) | st.integers(FIRST_TICKS - 2, FIRST_TICKS + 2) | st.integers(LAST_TICKS - 2, LAST_TICKS + 2))
def test_recorded_at_is_the_floor_of_the_ticks_or_null_where_they_are_no_instant(ticks: int) -> None:
    message = Response(event=Response.ReadEvent(event=Recorded(metadata={"type": "t", "created": str(ticks)})))
    decoded = decode([message.SerializeToString()])
    assert decoded is not None
    events = events_of(decoded)
    assert events["recorded_at"].cast(pa.int64()).to_pylist() == [ticks // 10 if FIRST_TICKS <= ticks <= LAST_TICKS else None]
    assert events["recorded_ticks"].to_pylist() == [ticks]


@given(st.lists(responses(), min_size=1, max_size=4), st.data())
def test_a_message_that_was_cut_or_damaged_never_reads_outside_and_never_hangs(messages: list[Response], data: st.DataObject) -> None:
    whole = bytearray(messages[-1].SerializeToString())
    damaged = whole[: data.draw(st.integers(0, len(whole)))]
    for _ in range(data.draw(st.integers(0, 3))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    rows = len(messages)
    with contextlib.suppress(wire.MalformedMessage):
        decoded = decode([*(m.SerializeToString() for m in messages[:-1]), bytes(damaged)])
        rows = 0 if decoded is None else events_of(decoded).num_rows
    assert rows <= len(messages)


@pytest.mark.parametrize(
    ("payload", "is_text"),
    [
        (b'{"a":[1,2.5e3,null,true,"\\u00e9"]}', True),
        (b" 1 ", True),
        (b'"a"', True),
        (b"1e999", True),
        (b'{"a":1,"a":2}', True),
        (b"", False),
        (b" ", False),
        (b"NaN", False),
        (b"[Infinity]", False),
        (b"[1,]", False),
        (b"{'a':1}", False),
        (b"01", False),
        (b"// c\n1", False),
        (b'"\\ud800"', False),
        (b'"\\udc00"', False),
        (b'"\xed\xa0\x80"', False),
        (b'"\xc3"', False),
        (b'"\t"', False),
        (b'{"a":1}{"b":2}', False),
        (b"\xef\xbb\xbf{}", False),
        (b"[" * 100_000, False),
    ],
)
@pytest.mark.parametrize("part", ["data", "metadata"])
def test_text_is_json_only_by_the_strict_grammar(payload: bytes, is_text: bool, part: str) -> None:
    event = Recorded(metadata={"type": "t", "created": "1"})
    setattr(event, "data" if part == "data" else "custom_metadata", payload)
    decoded = decode([Response(event=Response.ReadEvent(event=event)).SerializeToString()])
    assert decoded is not None
    row = events_of(decoded).to_pylist()[0]
    assert row[part] == (payload.decode() if is_text else None)
    assert row[f"{part}_bytes"] == (None if is_text else payload)


def test_correlation_and_causation_are_those_of_a_metadata_object_as_text() -> None:
    traces = {
        b'{"$correlationId":"c","$causationId":"d","user":{"a":[1]}}': ("c", "d"),
        b'{"$correlationId":5,"$causationId":"d"}': ("5", "d"),
        b'{"$correlationId":12345678901234567890123,"$causationId":1.50}': ("12345678901234567890123", "1.5"),
        b'{"$correlationId":true,"$causationId":{"a":1}}': ("True", None),
        b'{"$correlationId":"first","$correlationId":"last","$causationId":"a","$causationId":null}': ("first", "a"),
        b'{"$\\u0063orrelationId":"first","$correlationId":"last"}': ("first", None),
        b'{"a":{"$correlationId":"in"},"$correlationId":"c","b":"\\u00e9"}': ("c", None),
        b'{"$correlationId":null,"$correlationId":"last"}': (None, None),
        b'["$correlationId"]': (None, None),
        b'{"$correlationId":"c"': (None, None),
        b'{"a":{"$correlationId":"c"}}': (None, None),
        b"": (None, None),
    }
    messages = [
        Response(event=Response.ReadEvent(event=Recorded(metadata={"type": "t", "created": "1"}, custom_metadata=m))).SerializeToString()
        for m in traces
    ]
    decoded = decode(messages)
    assert decoded is not None
    rows = events_of(decoded).to_pylist()
    assert [(row["correlation_id"], row["causation_id"]) for row in rows] == list(traces.values())


def test_a_field_that_the_protocol_gains_later_is_stepped_over() -> None:
    event = Recorded(id=shared_pb2.UUID(string=str(uuid.UUID(int=1))), metadata={"type": "t", "created": "1"}, data=b"{}")
    later = event.SerializeToString() + b"\xa0\x06\x07" + b"\xa9\x06" + bytes(8) + b"\xad\x06" + bytes(4) + b"\xb2\x06\x02hi"
    decoded = decode([response_of(later)])
    assert decoded is not None
    assert decoded.type.to_pylist() == ["t"]
    assert decoded.data.to_pylist() == [b"{}"]


def response_of(event: bytes) -> bytes:
    """Return the response that holds an event as it is written here."""
    envelope = b"\x0a" + varint(len(event)) + event
    return b"\x0a" + varint(len(envelope)) + envelope


def test_of_a_field_that_stands_twice_the_last_counts() -> None:
    event = Recorded(data=b"first", stream_revision=1, metadata={"type": "t", "created": "1"}).SerializeToString()
    event += Recorded(data=b"last", stream_revision=2).SerializeToString()
    decoded = decode([response_of(event), response_of(event)])
    assert decoded is not None
    assert decoded.data.to_pylist() == [b"last", b"last"]
    assert decoded.revision.tolist() == [2, 2]


def test_a_number_of_more_than_ten_bytes_is_refused() -> None:
    event = Recorded(metadata={"type": "t", "created": "1"}).SerializeToString()
    assert decode([response_of(event + b"\x18" + b"\x80" * 9 + b"\x01")]) is not None
    with pytest.raises(wire.MalformedMessage, match="more than ten bytes"):
        decode([response_of(event + b"\x18" + b"\x80" * 10 + b"\x01")])


def test_a_length_that_would_overflow_is_refused() -> None:
    with pytest.raises(wire.MalformedMessage):
        decode([b"\x0a" + varint(2**63 - 1) + b"x"])
    with pytest.raises(wire.MalformedMessage):
        decode([b"\x08\x01", b"\x0a" + varint(2**64 - 1) + b"x"])


def test_a_time_stamp_that_is_no_number_of_64_bits_is_refused() -> None:
    for created in ("", "12a", "-", "--1", "1" * 20, str(2**63), str(-(2**63) - 1)):
        event = Recorded(metadata={"type": "t", "created": created})
        with pytest.raises(wire.MalformedMessage, match="time stamp"):
            decode([Response(event=Response.ReadEvent(event=event)).SerializeToString()])


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def test_spans_of_an_absent_field_are_empty_wherever_it_is_absent() -> None:
    data = np.frombuffer(b"abcdef", np.uint8)
    spans = wire.Spans(np.arange(4), np.array([0, 1, 0, 4]), np.array([0, 3, 0, 6]))
    assert wire.binary(data, spans).to_pylist() == [b"", b"bc", b"", b"ef"]
