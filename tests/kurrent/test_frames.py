"""The call without a socket: what RFC 9113 calls a connection error ends it, and nothing but a failed call comes of any bytes."""

from __future__ import annotations

import contextlib
import struct

import grpc
import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kurrent.test_recordings import NAMES, Recording
from tests.laws import at_least
from workbench.kurrent.transport.http2_frames import WINDOW, CallFailed, Exchange

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 0x20
Code = grpc.StatusCode
Fields = list[tuple[str, str]]
OK: Fields = [(":status", "200"), ("content-type", "application/grpc")]
DONE: Fields = [("grpc-status", "0")]


def frame(kind: int, flags: int = 0, payload: bytes = b"", *, stream: int = 1) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block(fields: Fields) -> bytes:
    return b"".join(hpack.Encoder().encode([field]) for field in fields)  # each on its own: no state that a next block needs


def headers(fields: Fields, *, end: bool = False) -> bytes:
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), block(fields))


GREETING = frame(SETTINGS, stream=0)
BEGUN = GREETING + headers(OK) + frame(DATA, 0, b"before")
END = headers(DONE, end=True)


def exchange_of(sent: bytes) -> Exchange:
    exchange = Exchange([(":method", "POST")], b"ask")
    exchange.receive(sent)
    return exchange


def failure_of(sent: bytes) -> CallFailed:
    exchange = Exchange([(":method", "POST")], b"ask")
    with pytest.raises(CallFailed) as caught:
        exchange.receive(sent)
    assert not exchange.ended
    if sent.startswith(BEGUN):
        assert exchange.take() == b"before", "what came before it stays"
    return caught.value


CONNECTION_ERRORS: dict[str, bytes] = {
    "DATA of another stream": frame(DATA, 0, b"wrong", stream=3),
    "DATA of the connection": frame(DATA, 0, b"wrong", stream=0),
    "trailers of another stream": frame(HEADERS, END_HEADERS | END_STREAM, block(DONE), stream=3),
    "trailers of the connection": frame(HEADERS, END_HEADERS | END_STREAM, block(DONE), stream=0),
    "a reset of another stream": frame(RST_STREAM, 0, bytes(4), stream=3),
    "a short GOAWAY": frame(GOAWAY, 0, bytes(7), stream=0),
    "an empty GOAWAY": frame(GOAWAY, 0, b"", stream=0),
    "a GOAWAY of a stream": frame(GOAWAY, 0, bytes(8), stream=1),
    "an empty padded DATA": frame(DATA, PADDED, b""),
    "DATA with as much padding as payload": frame(DATA, PADDED, b"\x04abc"),
    "DATA with more padding than payload": frame(DATA, PADDED, b"\xffabc"),
    "an empty padded HEADERS": frame(HEADERS, PADDED | END_HEADERS | END_STREAM, b""),
    "HEADERS with more padding than payload": frame(HEADERS, PADDED | END_HEADERS | END_STREAM, b"\x09" + block(DONE)[:5]),
    "HEADERS too short for its priority": frame(HEADERS, WITH_PRIORITY | END_HEADERS, bytes(4)),
    "padded HEADERS too short for its priority": frame(HEADERS, WITH_PRIORITY | PADDED | END_HEADERS, b"\x02" + bytes(6)),
    "a SETTINGS of five bytes": frame(SETTINGS, 0, bytes(5), stream=0),
    "a SETTINGS of a stream": frame(SETTINGS, 0, b"", stream=1),
    "an acknowledged SETTINGS with a payload": frame(SETTINGS, ACK, bytes(6), stream=0),
    "a setting that pushes": frame(SETTINGS, 0, struct.pack(">HI", 2, 1), stream=0),
    "a setting of too large a window": frame(SETTINGS, 0, struct.pack(">HI", 4, 1 << 31), stream=0),
    "a setting of too small a frame": frame(SETTINGS, 0, struct.pack(">HI", 5, 16_383), stream=0),
    "a PING of seven bytes": frame(PING, 0, bytes(7), stream=0),
    "a PING of nine bytes": frame(PING, ACK, bytes(9), stream=0),
    "a PING of a stream": frame(PING, 0, bytes(8), stream=1),
    "a RST_STREAM of three bytes": frame(RST_STREAM, 0, bytes(3)),
    "a PRIORITY of four bytes": frame(PRIORITY, 0, bytes(4)),
    "a WINDOW_UPDATE of three bytes": frame(WINDOW_UPDATE, 0, bytes(3)),
    "a WINDOW_UPDATE of nothing": frame(WINDOW_UPDATE, 0, bytes(4)),
    "a WINDOW_UPDATE beyond the largest window": frame(WINDOW_UPDATE, 0, struct.pack(">I", 0x7FFFFFFF)) * 2,
    "a WINDOW_UPDATE of another stream": frame(WINDOW_UPDATE, 0, bytes(3) + b"\x01", stream=3),
    "a CONTINUATION without headers": frame(CONTINUATION, END_HEADERS, block(DONE)),
    "DATA within a header block": frame(HEADERS, END_STREAM, block(DONE)[:3]) + frame(DATA, 0, b"wrong"),
    "a PING within a header block": frame(HEADERS, END_STREAM, block(DONE)[:3]) + frame(PING, 0, bytes(8), stream=0),
    "an unknown frame within a header block": frame(HEADERS, END_STREAM, block(DONE)[:3]) + frame(0x42),
    "a CONTINUATION of another stream": frame(HEADERS, END_STREAM, block(DONE)[:3])
    + frame(CONTINUATION, END_HEADERS, block(DONE)[3:], stream=3),
    "more than 64 KiB of CONTINUATION": frame(HEADERS, END_STREAM, b"") + frame(CONTINUATION, 0, bytes(16_384)) * 5,
    "a PUSH_PROMISE": frame(PUSH_PROMISE, END_HEADERS, bytes(4) + block(OK)),
    "trailers that do not end the stream": headers(DONE),
    "a second answer": headers(OK, end=True),
    "headers that cannot be read": frame(HEADERS, END_HEADERS | END_STREAM, b"\xff\xff\xff\xff\xff\xff"),
    "a frame larger than allowed": b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
}


@pytest.mark.parametrize("what", CONNECTION_ERRORS)
def test_a_breach_of_http2_is_a_connection_error_and_what_came_before_stays(what: str) -> None:
    error = failure_of(BEGUN + CONNECTION_ERRORS[what] + END)
    assert error.code() is Code.INTERNAL
    assert error.details().startswith("the server broke HTTP/2: it sent ")


@pytest.mark.parametrize(
    "first", [headers(OK), frame(SETTINGS, ACK, stream=0), frame(PING, 0, bytes(8), stream=0), b"HTTP/1.1 400 Bad Request\r\n\r\n"]
)
def test_a_server_that_does_not_begin_with_settings_speaks_no_http2(first: bytes) -> None:
    assert "something else than HTTP/2" in failure_of(first).details()


def test_data_before_the_headers_is_a_connection_error() -> None:
    assert "before its headers" in failure_of(GREETING + frame(DATA, 0, b"early")).details()


def test_more_data_than_the_window_is_a_connection_error_padding_included() -> None:
    part = frame(DATA, PADDED, b"\xff" + bytes(256 * 1024 - 1))
    exchange = exchange_of(GREETING + headers(OK) + part * (WINDOW // (256 * 1024)))
    with pytest.raises(CallFailed, match="more data than it was allowed"):
        exchange.receive(frame(DATA, 0, bytes(256 * 1024)))


def test_window_updates_grant_what_was_taken_to_the_connection_and_the_stream() -> None:
    exchange = exchange_of(BEGUN)
    exchange.outgoing.clear()
    part = frame(DATA, 0, bytes(1 << 20))
    exchange.receive(part * 4)
    assert exchange.outgoing == b"", "nothing is granted before it is taken"
    taken = struct.pack(">I", len(exchange.take()))
    assert exchange.outgoing == frame(WINDOW_UPDATE, 0, taken, stream=0) + frame(WINDOW_UPDATE, 0, taken, stream=1)


PADDED_FRAME = frame(DATA, PADDED, b"\xff" + bytes(16_000))


def test_padding_is_granted_again_though_nobody_takes_it() -> None:
    exchange, frames = exchange_of(GREETING + headers(OK)), 0
    exchange.outgoing.clear()
    while not exchange.outgoing:
        exchange.receive(PADDED_FRAME)
        exchange.take()
        frames += 1
    more = struct.pack(">I", frames * (len(PADDED_FRAME) - 9))
    assert frames == -(-WINDOW // 2 // (len(PADDED_FRAME) - 9))
    assert exchange.outgoing == frame(WINDOW_UPDATE, 0, more, stream=0) + frame(WINDOW_UPDATE, 0, more, stream=1)


def sent_of(exchange: Exchange) -> int:
    """Return how much of its request an exchange has sent since it was asked last."""
    data, exchange.outgoing[:] = bytes(exchange.outgoing), b""
    total = 0
    at = 24 if data.startswith(b"PRI") else 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 3], "big")
        total += size if data[at + 3] == DATA else 0
        at += 9 + size
    return total


def test_each_new_size_of_the_window_counts_from_the_one_before() -> None:
    """The difference is what is granted, or taken back (RFC 9113, 6.9.2)."""
    exchange = Exchange([(":method", "POST")], bytes(1_000_000))
    exchange.receive(GREETING + frame(WINDOW_UPDATE, 0, struct.pack(">I", 1_000_000), stream=0))
    assert sent_of(exchange) == 65_535
    for size, expected in ((70_000, 4465), (80_000, 10_000), (75_000, 0), (80_000, 0), (80_001, 1)):
        exchange.receive(frame(SETTINGS, 0, struct.pack(">HI", 4, size), stream=0))
        assert sent_of(exchange) == expected, size


def test_a_login_enters_no_compression_table() -> None:
    """So nobody who can add fields to a connection learns it from sizes; RFC 7541, 7.1.3, says it is never indexed."""
    exchange = Exchange([(":method", "POST"), ("authorization", "Basic c2VjcmV0"), ("other", "value")], b"ask")
    frames = bytes(exchange.outgoing)[24:]
    while frames[3] != HEADERS:
        frames = frames[9 + int.from_bytes(frames[:3], "big") :]
    decoder = hpack.Decoder()
    fields = decoder.decode(frames[9 : 9 + int.from_bytes(frames[:3], "big")], raw=True)
    assert [(name, type(field)) for field in fields for name, _ in [field]] == [
        (b":method", hpack.HeaderTuple),
        (b"authorization", hpack.NeverIndexedHeaderTuple),
        (b"other", hpack.HeaderTuple),
    ]


@pytest.mark.parametrize("interim", ["100", "103", "199"])
def test_interim_answers_are_passed_over(interim: str) -> None:
    exchange = exchange_of(GREETING + headers([(":status", interim), ("link", "x")]) + BEGUN[len(GREETING) :] + END)
    assert exchange.ended
    assert exchange.take() == b"before"


@pytest.mark.parametrize("status", ["", "20", "2000", "2x0", "²00"])
def test_headers_need_a_status_of_three_digits(status: str) -> None:
    assert "without a status" in failure_of(GREETING + headers([(":status", status)])).details()


@pytest.mark.parametrize("http", ["200", "400", "503"])
@pytest.mark.parametrize("content", ["application/grpc", "text/html"])
def test_the_status_of_grpc_counts_before_that_of_http(http: str, content: str) -> None:
    fields = [(":status", http), ("content-type", content), ("grpc-status", "7"), ("grpc-message", "no%2C")]
    error = failure_of(GREETING + headers(fields, end=True))
    assert (error.code(), error.details()) == (Code.PERMISSION_DENIED, "no,")


def test_an_answer_that_is_no_grpc_does_not_end_well_whatever_it_says() -> None:
    fields = [(":status", "503"), ("content-type", "text/html"), ("grpc-status", "0")]
    assert failure_of(GREETING + headers(fields, end=True)).code() is Code.UNAVAILABLE


@pytest.mark.parametrize(
    "content",
    ["application/grpc", "Application/gRPC", "APPLICATION/GRPC+PROTO", "application/grpc;charset=utf-8", "application/grpc+proto"],
)
def test_content_types_are_taken_in_any_case(content: str) -> None:
    assert exchange_of(GREETING + headers([(":status", "200"), ("content-type", content), *DONE], end=True)).ended


@pytest.mark.parametrize("content", ["application/grpc-web", "application/json", "text/html; application/grpc", ""])
def test_other_content_types_are_no_grpc(content: str) -> None:
    error = failure_of(GREETING + headers([(":status", "200"), ("content-type", content)]))
    assert (error.code(), error.details()) == (Code.UNKNOWN, "the answer was no gRPC: HTTP status 200")


@pytest.mark.parametrize("status", ["00", " 0", "+0", "0.", "\u0660", "-0", "17", "99999999999999999999", "x"])
def test_only_0_is_ok_and_a_status_that_nobody_knows_is_unknown(status: str) -> None:
    assert failure_of(BEGUN + headers([("grpc-status", status)], end=True)).code() is Code.UNKNOWN


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_every_status_of_grpc_is_told_as_it_is(code: grpc.StatusCode) -> None:
    assert failure_of(BEGUN + headers([("grpc-status", str(code.value[0]))], end=True)).code() is code


def test_nothing_that_follows_the_end_counts() -> None:
    exchange = exchange_of(BEGUN + END + frame(DATA, 0, b"after") + frame(PUSH_PROMISE))
    assert exchange.ended
    assert exchange.take() == b"before"


def replaced(data: bytes, at: int, by: bytes) -> bytes:
    return data[:at] + by + data[at + len(by) :]


@settings(max_examples=at_least(300))
@given(data=st.data())
def test_whatever_bytes_come_the_call_goes_on_ends_or_fails(data: st.DataObject) -> None:
    kinds = st.builds(
        frame,
        st.integers(0, 11),
        st.integers(0, 255),
        st.one_of(st.binary(max_size=20), st.sampled_from([block(OK), block(DONE), bytes(8), bytes(4)])),
        stream=st.sampled_from([0, 1, 2, 3, 0x80000001]),
    )
    pieces = data.draw(st.lists(st.one_of(kinds, kinds, st.binary(max_size=30)), max_size=8))
    survive(data.draw(st.sampled_from([b"", GREETING, BEGUN])) + b"".join(pieces), data.draw(st.integers(1, 50)))


@given(data=st.data())
def test_a_damaged_recording_goes_on_ends_or_fails(data: st.DataObject) -> None:
    sent = Recording.load(data.draw(st.sampled_from(NAMES))).sent[:4096]
    for _ in range(data.draw(st.integers(1, 3))):
        sent = replaced(sent, data.draw(st.integers(0, len(sent) - 1)), data.draw(st.binary(min_size=1, max_size=4)))
    survive(sent, data.draw(st.sampled_from([1, 7, 4096])))


def survive(sent: bytes, size: int) -> None:
    """Take bytes in pieces; anything but a failed call comes out as it is, and fails the test."""
    exchange = Exchange([(":method", "POST")], b"ask")
    with contextlib.suppress(CallFailed):
        for at in range(0, len(sent), size):
            exchange.receive(sent[at : at + size])
            if exchange.ended:
                break
    assert len(exchange.take()) <= len(sent)
