"""The plain HTTP/2 call, against a server that says exactly what a test wants it to say."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.kurrent.http2 import CallFailed, Endpoint

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 0x20
OK = [(":status", "200"), ("content-type", "application/grpc+proto")]
DONE = [("grpc-status", "0")]


def frame(kind: int, flags: int, payload: bytes, *, stream: int = 1) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def message(payload: bytes) -> bytes:
    return b"\x00" + struct.pack(">I", len(payload)) + payload


class Server:
    """Answers one connection: the preface, then what the test's script sends."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.encoder = hpack.Encoder()
        self.frames: list[tuple[int, int, int, bytes]] = []
        self._read = connection.makefile("rb")
        assert self._read.read(24) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        while not (self.frames and self.frames[-1][0] == DATA):
            self.next_frame()

    def next_frame(self) -> tuple[int, int, int, bytes]:
        head = self._read.read(9)
        assert len(head) == 9, "the client closed"
        payload = self._read.read(int.from_bytes(head[:3], "big"))
        self.frames.append((head[3], head[4], int.from_bytes(head[5:], "big"), payload))
        return self.frames[-1]

    def request(self) -> tuple[dict[str, str], bytes]:
        block = next(payload for kind, _, _, payload in self.frames if kind == HEADERS)
        body = next(payload for kind, _, _, payload in self.frames if kind == DATA)
        return {k.decode(): v.decode() for k, v in hpack.Decoder().decode(block, raw=True)}, body

    def headers(self, fields: list[tuple[str, str]], *, end: bool = False) -> bytes:
        return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), self.encoder.encode(fields))

    def send(self, *parts: bytes) -> None:
        self.connection.sendall(b"".join(parts))


@contextmanager
def serving(script: Callable[[Server], None], *, silence: float = 5.0) -> Iterator[Endpoint]:
    failures: list[AssertionError] = []

    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                script(Server(connection))
                # Closing with bytes unread would reset the connection and take back what was sent.
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except OSError:
                pass  # the client has heard enough
            except AssertionError as error:
                failures.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield Endpoint("127.0.0.1", listener.getsockname()[1], None, (("x-key", "value"),), silence_seconds=silence)
        finally:
            thread.join(10)
    assert not failures, failures


def answers(endpoint: Endpoint, *, events: int = 1000, size: int = 1 << 20) -> list[list[bytes]]:
    chunks = endpoint.call("/svc/Method", b"ask").chunks(events=events, size=size)
    return [[bytes(chunk.data[a:b]) for a, b in zip(chunk.start.tolist(), chunk.end.tolist(), strict=True)] for chunk in chunks]


def failure(script: Callable[[Server], None], *, silence: float = 5.0) -> CallFailed:
    with serving(script, silence=silence) as endpoint, pytest.raises(CallFailed) as caught:
        answers(endpoint)
    return caught.value


def test_the_request_is_a_grpc_call_with_the_endpoints_headers() -> None:
    seen: list[tuple[dict[str, str], bytes]] = []

    def script(server: Server) -> None:
        seen.append(server.request())
        server.send(frame(SETTINGS, 0, b"", stream=0), server.headers(OK), server.headers(DONE, end=True))

    with serving(script) as endpoint:
        assert answers(endpoint) == []
    headers, body = seen[0]
    assert headers[":path"] == "/svc/Method"
    assert headers[":method"] == "POST"
    assert headers["te"] == "trailers"
    assert headers["content-type"] == "application/grpc"
    assert headers["x-key"] == "value"
    assert body == message(b"ask")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=12), st.data())
def test_messages_arrive_whole_and_in_order_however_they_are_cut_into_frames_and_packets(
    payloads: list[bytes], data: st.DataObject
) -> None:
    body = b"".join(map(message, payloads))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    padding = data.draw(st.lists(st.integers(0, 9), min_size=len(pieces), max_size=len(pieces)))
    frames = [
        frame(DATA, PADDED, bytes([pad]) + piece + bytes(pad)) if pad else frame(DATA, 0, piece)
        for piece, pad in zip(pieces, padding, strict=True)
    ]
    packet = data.draw(st.integers(1, 64))

    def script(server: Server) -> None:
        whole = server.headers(OK) + b"".join(frames) + frame(0x42, 0xFF, b"unknown") + server.headers(DONE, end=True)
        for at in range(0, len(whole), packet):
            server.send(whole[at : at + packet])

    with serving(script) as endpoint:
        chunks = answers(endpoint, events=3)
    assert [payload for chunk in chunks for payload in chunk] == payloads
    assert all(len(chunk) == 3 for chunk in chunks[:-1])


def test_a_chunk_ends_at_its_size() -> None:
    def script(server: Server) -> None:
        server.send(server.headers(OK), *(frame(DATA, 0, message(bytes(400))) for _ in range(5)), server.headers(DONE, end=True))

    with serving(script) as endpoint:
        assert [len(chunk) for chunk in answers(endpoint, size=800)] == [2, 2, 1]


def test_headers_may_be_padded_prioritised_and_continued() -> None:
    def script(server: Server) -> None:
        block = server.encoder.encode(OK)
        padded = bytes([3]) + bytes(5) + block[:4] + bytes(3)
        server.send(frame(HEADERS, PADDED | PRIORITY, padded), frame(CONTINUATION, END_HEADERS, block[4:]))
        server.send(frame(DATA, 0, message(b"one")), server.headers(DONE, end=True))

    with serving(script) as endpoint:
        assert answers(endpoint) == [[b"one"]]


def test_settings_and_pings_are_acknowledged() -> None:
    def script(server: Server) -> None:
        server.send(frame(SETTINGS, 0, b"", stream=0), frame(PING, 0, b"12345678", stream=0))
        acknowledged = {server.next_frame()[:2], server.next_frame()[:2]}
        assert acknowledged == {(SETTINGS, ACK), (PING, ACK)}
        assert server.frames[-1][3] == b"12345678"
        server.send(server.headers(OK), server.headers(DONE, end=True))

    with serving(script) as endpoint:
        assert answers(endpoint) == []


def test_the_window_is_granted_again_as_it_is_used() -> None:
    million = 1 << 20

    def script(server: Server) -> None:
        window = 65_535 + sum(
            int.from_bytes(payload, "big") for kind, _, stream, payload in server.frames if kind == WINDOW_UPDATE and not stream
        )
        server.send(server.headers(OK))
        for _ in range(40):
            while window < million:
                kind, _, stream, payload = server.next_frame()
                if kind == WINDOW_UPDATE and not stream:
                    window += int.from_bytes(payload, "big")
            part = bytes(million - 5)
            server.send(frame(DATA, 0, message(part)))
            window -= million
        server.send(server.headers(DONE, end=True))

    with serving(script) as endpoint:
        chunks = endpoint.call("/m", b"").chunks(events=1000, size=4 * million)
        assert sum(chunk.start.size for chunk in chunks) == 40


def test_a_failed_call_gives_its_status_its_message_and_its_trailers() -> None:
    def script(server: Server) -> None:
        trailers = [("grpc-status", "7"), ("grpc-message", "Zugriff verweigert: caf%C3%A9"), ("exception", "access-denied")]
        server.send(server.headers(OK), frame(DATA, 0, message(b"x")), server.headers(trailers, end=True))

    error = failure(script)
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error.details() == "Zugriff verweigert: café"
    assert ("exception", "access-denied") in error.trailing_metadata()


def test_a_failure_may_come_as_trailers_alone() -> None:
    error = failure(lambda server: server.send(server.headers([*OK, ("grpc-status", "16")], end=True)))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("status", "code"),
    [("401", "UNAUTHENTICATED"), ("403", "PERMISSION_DENIED"), ("404", "UNIMPLEMENTED"), ("503", "UNAVAILABLE"), ("200", "UNKNOWN")],
)
def test_an_answer_that_is_no_grpc_has_the_status_that_grpc_gives_it(status: str, code: str) -> None:
    error = failure(lambda server: server.send(server.headers([(":status", status), ("content-type", "text/html")])))
    assert error.code().name == code
    assert status in error.details()


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        (lambda s: s.send(frame(RST_STREAM, 0, struct.pack(">I", 8))), "CANCELLED", "reset"),
        (lambda s: s.send(frame(GOAWAY, 0, struct.pack(">II", 0, 0), stream=0)), "UNAVAILABLE", "going away"),
        (lambda s: s.send(frame(GOAWAY, 0, struct.pack(">II", 1, 11) + b"calm", stream=0)), "UNAVAILABLE", "calm"),
        (lambda s: s.connection.close(), "UNAVAILABLE", "closed"),
        (lambda s: s.send(frame(DATA, END_STREAM, message(b"x"))), "UNKNOWN", "without a status"),
        (lambda s: s.send(frame(DATA, 0, message(b"xyz")[:6]), s.headers(DONE, end=True)), "INTERNAL", "within a message"),
        (lambda s: s.send(frame(DATA, 0, b"\x01" + message(b"x")[1:])), "INTERNAL", "compressed"),
        (lambda s: s.send(frame(DATA, 0, b"\x00" + struct.pack(">I", 1 << 30))), "INTERNAL", "larger"),
        (lambda s: s.send(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"), "INTERNAL", "frame larger"),
        (lambda s: s.send(frame(HEADERS, END_HEADERS, b"\xff\xff\xff\xff\xff\xff")), "INTERNAL", "cannot be read"),
    ],
)
def test_a_read_that_does_not_end_well_is_an_error(ending: Callable[[Server], None], code: str, said: str) -> None:
    def script(server: Server) -> None:
        server.send(server.headers(OK), frame(DATA, 0, message(b"before")))
        ending(server)

    error = failure(script)
    assert error.code().name == code
    assert said in error.details()


def test_a_server_that_goes_away_in_order_may_end_its_stream() -> None:
    def script(server: Server) -> None:
        server.send(server.headers(OK), frame(GOAWAY, 0, struct.pack(">II", 1, 0), stream=0))
        server.send(frame(DATA, 0, message(b"last")), server.headers(DONE, end=True))

    with serving(script) as endpoint:
        assert answers(endpoint) == [[b"last"]]


def test_a_silent_server_is_asked_for_a_sign_of_life_and_then_given_up() -> None:
    def script(server: Server) -> None:
        server.send(server.headers(OK))
        assert server.next_frame()[0] == PING
        server.send(frame(PING, ACK, bytes(8), stream=0), frame(DATA, 0, message(b"slow")))
        assert server.next_frame()[0] == PING
        server.connection.settimeout(5)
        server.connection.recv(1)  # until the client closes

    error = failure(script, silence=0.2)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "silent" in error.details()


def test_nothing_that_answers_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(CallFailed) as caught:
        Endpoint("127.0.0.1", port, None, ()).call("/m", b"")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
