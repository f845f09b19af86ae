"""The plain HTTP/2 call, against a server that says exactly what a test wants it to say."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.network import ipv6
from workbench.kurrent.transport.http2 import Endpoint
from workbench.kurrent.transport.http2_frames import CallFailed, Exchange
from workbench.kurrent.wire import Messages

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 0x20
OK = [(":status", "200"), ("content-type", "application/grpc+proto")]
DONE = [("grpc-status", "0")]


def frame(kind: int, flags: int, payload: bytes, *, stream: int = 1) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def message(payload: bytes) -> bytes:
    return b"\x00" + struct.pack(">I", len(payload)) + payload


BEGUN = [frame(DATA, 0, message(bytes(1 << 20))[at : at + (1 << 19)]) for at in (0, 1 << 19)]
"""A message of a MiB less its last five bytes: enough that the caller is woken."""


class Server:
    """Answers one connection: takes the request, exchanges SETTINGS, then sends what the test's script says."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.encoder = hpack.Encoder()
        self.frames: list[tuple[int, int, int, bytes]] = []
        self._read = connection.makefile("rb")
        assert self._read.read(24) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        while not (self.frames and self.frames[-1][:2] == (DATA, END_STREAM)):
            self.next_frame()
        self.send(frame(SETTINGS, 0, b"", stream=0))
        assert self.next_frame()[:2] == (SETTINGS, ACK)

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
def serving(script: Callable[[Server], None], *, silence: float = 20.0, ping: float = 60.0, host: str = "127.0.0.1") -> Iterator[Endpoint]:
    failures: list[BaseException] = []

    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(30)
            try:
                script(Server(connection))
                # Closing with bytes unread would reset the connection and take back what was sent.
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except (TimeoutError, AssertionError) as error:
                failures.append(error)
            except OSError:
                pass  # the client has heard enough

    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            port = listener.getsockname()[1]
            yield Endpoint(host, port, None, (("x-key", "value"),), silence_seconds=silence, ping_seconds=ping)
        finally:
            thread.join(10)
    assert not failures, failures


def answers(endpoint: Endpoint, *, events: int = 1000, size: int = 1 << 20, request: bytes = b"ask") -> list[list[bytes]]:
    chunks = endpoint.call("/svc/Method", request).chunks(events=events, size=size)
    return [payloads(chunk) for chunk in chunks]


def payloads(chunk: Messages) -> list[bytes]:
    return [bytes(chunk.data[a:b]) for a, b in zip(chunk.start.tolist(), chunk.end.tolist(), strict=True)]


def failure(script: Callable[[Server], None], *, silence: float = 20.0, ping: float = 60.0) -> CallFailed:
    with serving(script, silence=silence, ping=ping) as endpoint, pytest.raises(CallFailed) as caught:
        answers(endpoint)
    return caught.value


def reading_threads() -> int:
    return sum(thread.name == "workbench-reader" for thread in threading.enumerate())


def test_the_request_is_a_grpc_call_with_the_endpoints_headers() -> None:
    seen: list[tuple[dict[str, str], bytes]] = []

    def script(server: Server) -> None:
        seen.append(server.request())
        server.send(server.headers(OK), server.headers(DONE, end=True))

    with serving(script) as endpoint:
        assert answers(endpoint) == []
    headers, body = seen[0]
    assert headers[":path"] == "/svc/Method"
    assert headers[":method"] == "POST"
    assert headers["te"] == "trailers"
    assert headers["content-type"] == "application/grpc"
    assert headers["x-key"] == "value"
    assert body == message(b"ask")


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


def test_both_windows_are_granted_again_as_they_are_used() -> None:
    million = 1 << 20

    def script(server: Server) -> None:
        settings = next(payload for kind, flags, _, payload in server.frames if (kind, flags) == (SETTINGS, 0))
        first = dict(struct.iter_unpack(">HI", settings))[4]
        window = {0: 65_535, 1: first}

        def take_grants(frames: list[tuple[int, int, int, bytes]]) -> None:
            for kind, _, stream, payload in frames:
                if kind == WINDOW_UPDATE:
                    window[stream] += int.from_bytes(payload, "big")

        take_grants(server.frames)
        server.send(server.headers(OK))
        for _ in range(34):
            while min(window.values()) < million:
                take_grants([server.next_frame()])
            server.send(frame(DATA, 0, message(bytes(million - 5))))
            window = {stream: left - million for stream, left in window.items()}
        server.send(server.headers(DONE, end=True))

    with serving(script) as endpoint:
        chunks = endpoint.call("/m", b"").chunks(events=1000, size=4 * million)
        assert sum(chunk.start.size for chunk in chunks) == 34


def test_a_request_larger_than_the_servers_window_is_sent_as_the_window_grows() -> None:
    request = bytes(range(256)) * 400
    taken: list[bytes] = []

    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(30)
            reading = connection.makefile("rb")
            reading.read(24)
            connection.sendall(frame(SETTINGS, 0, struct.pack(">HI", 4, 20_000), stream=0))
            flags = 0
            while not flags & END_STREAM:
                head = reading.read(9)
                payload = reading.read(int.from_bytes(head[:3], "big"))
                if head[3] == DATA:
                    flags = head[4]
                    taken.append(payload)
                    grant = struct.pack(">I", len(payload))
                    connection.sendall(frame(WINDOW_UPDATE, 0, grant, stream=0) + frame(WINDOW_UPDATE, 0, grant))
            encoder = hpack.Encoder()
            connection.sendall(frame(HEADERS, END_HEADERS | END_STREAM, encoder.encode([*OK, *DONE])))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        assert answers(Endpoint("127.0.0.1", listener.getsockname()[1], None, ()), request=request) == []
        thread.join(10)
    assert b"".join(taken) == message(request)
    assert max(map(len, taken)) <= 16_384


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


def test_a_silent_server_is_asked_for_signs_of_life_and_given_up() -> None:
    def script(server: Server) -> None:
        server.send(server.headers(OK))
        for _ in range(3):
            assert server.next_frame()[0] == PING
            server.send(frame(PING, ACK, bytes(8), stream=0))
        server.send(frame(DATA, 0, message(b"slow")))
        server.connection.recv(1 << 16)
        while server.connection.recv(1 << 16):
            pass  # until the client closes

    began = time.monotonic()
    error = failure(script, silence=1.0, ping=0.5)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "silent for 1 seconds" in error.details()
    assert time.monotonic() - began > 2.4, "an answered PING is a sign of life"


def test_the_server_hears_from_a_caller_who_pauses() -> None:
    paused, heard = threading.Event(), threading.Event()

    def script(server: Server) -> None:
        server.send(server.headers(OK), frame(DATA, 0, message(b"one")), *BEGUN)
        assert paused.wait(30)
        server.send(frame(PING, 0, b"are you?", stream=0))
        frames = [server.next_frame() for _ in range(4)]
        assert (PING, ACK, 0, b"are you?") in frames
        assert [kind for kind, flags, _, _ in frames if not flags & ACK] == [PING] * 3, "and sends its own"
        heard.set()
        server.send(frame(DATA, 0, bytes(5)), server.headers(DONE, end=True))

    with serving(script, ping=0.1) as endpoint:
        chunks = endpoint.call("/m", b"").chunks(events=1, size=4 << 20)
        assert payloads(next(chunks)) == [b"one"]
        paused.set()
        assert heard.wait(30)
        assert [payloads(chunk) for chunk in chunks] == [[bytes(1 << 20)]]


def test_silence_counts_only_while_the_caller_waits() -> None:
    resumed = threading.Event()

    def script(server: Server) -> None:
        server.send(server.headers(OK), frame(DATA, 0, message(b"one")), *BEGUN)
        assert resumed.wait(30)
        server.send(frame(DATA, 0, bytes(5)), server.headers(DONE, end=True))

    with serving(script, silence=0.5) as endpoint:
        chunks = endpoint.call("/m", b"").chunks(events=1, size=4 << 20)
        assert payloads(next(chunks)) == [b"one"]
        time.sleep(1.5)
        threading.Timer(0.1, resumed.set).start()
        assert [payloads(chunk) for chunk in chunks] == [[bytes(1 << 20)]]


def test_no_more_than_32_mib_are_read_ahead_of_a_caller_who_pauses() -> None:
    million = 1 << 20
    sent = 0
    blocked = threading.Event()

    def script(server: Server) -> None:
        nonlocal sent
        server.connection.settimeout(1.0)
        server.send(server.headers(OK))
        window = 65_535 + sum(int.from_bytes(payload, "big") for kind, _, _, payload in server.frames if kind == WINDOW_UPDATE)
        while True:
            while window >= million:
                server.send(frame(DATA, 0, message(bytes(million - 5))))
                sent, window = sent + million, window - million
            try:
                kind, _, stream, payload = server.next_frame()
            except TimeoutError:
                blocked.set()
                return
            window += int.from_bytes(payload, "big") if (kind, stream) == (WINDOW_UPDATE, 0) else 0

    with serving(script) as endpoint:
        chunks = endpoint.call("/m", b"").chunks(events=10**6, size=16 * million)
        assert next(chunks).start.size == 16
        assert blocked.wait(60)
        del chunks
    assert 4 * million <= sent - 16 * million <= 32 * million


def test_a_slow_server_is_read_as_it_answers() -> None:
    taken = threading.Event()

    def script(server: Server) -> None:
        server.send(server.headers(OK), frame(DATA, 0, message(b"one")))
        assert taken.wait(30)
        server.send(server.headers(DONE, end=True))

    with serving(script) as endpoint:
        chunks = endpoint.call("/m", b"").chunks(events=1, size=1 << 20)
        assert payloads(next(chunks)) == [b"one"]
        taken.set()
        assert list(chunks) == []


@pytest.mark.parametrize("reset", [False, True])
def test_what_came_whole_before_a_cut_is_handed_over_first(reset: bool) -> None:
    got: list[bytes] = []
    cut = threading.Event()

    def script(server: Server) -> None:
        server.send(server.headers(OK), frame(DATA, 0, message(b"one") + message(b"two") + message(b"three")[:6]))
        if reset:
            assert cut.wait(30)
            server.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            server.connection.close()

    def take(endpoint: Endpoint) -> None:
        for chunk in endpoint.call("/m", b"").chunks(events=1000, size=1 << 20):
            got.extend(payloads(chunk))

    with serving(script) as endpoint:
        threading.Timer(0.3, cut.set).start()
        with pytest.raises(CallFailed) as caught:
            take(endpoint)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert got == [b"one", b"two"]


def test_giving_up_ends_the_thread_and_the_connection_at_once() -> None:
    closed = threading.Event()

    def script(server: Server) -> None:
        server.send(server.headers(OK), frame(DATA, 0, message(b"one")), *BEGUN)
        while server.connection.recv(1 << 16):
            pass
        closed.set()

    with serving(script) as endpoint:
        chunks = endpoint.call("/m", b"").chunks(events=1, size=1 << 20)
        next(chunks)
        assert reading_threads() == 1
        del chunks
        assert reading_threads() == 0
        assert closed.wait(10)


def test_an_error_of_the_reading_thread_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Exchange, data: bytes) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Exchange, "receive", broken)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1], None, ())
        call = endpoint.call("/m", b"")
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"x")
            with pytest.raises(RuntimeError, match="a fault of ours"):
                list(call.chunks(events=1, size=1))


def test_a_process_ends_in_the_middle_of_a_read() -> None:
    program = """
import sys
from workbench.kurrent.transport.http2 import Endpoint
chunks = Endpoint("127.0.0.1", int(sys.argv[1]), None, ()).call("/m", b"").chunks(events=1, size=1 << 20)
print(next(chunks).start.size, flush=True)
sys.exit(3)
"""

    def script(server: Server) -> None:
        server.send(server.headers(OK), frame(DATA, 0, message(b"one")), *BEGUN)
        while server.connection.recv(1 << 16):
            pass

    with serving(script) as endpoint:
        done = subprocess.run([sys.executable, "-c", program, str(endpoint.port)], timeout=30, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "1\n", "")


@pytest.mark.parametrize(("host", "authority"), [("127.0.0.1", "127.0.0.1"), pytest.param("::1", "[::1]", marks=ipv6)])
def test_an_ipv6_address_stands_in_brackets_in_the_authority(host: str, authority: str) -> None:
    seen: list[str] = []

    def script(server: Server) -> None:
        seen.append(server.request()[0][":authority"])
        server.send(server.headers([*OK, *DONE], end=True))

    with serving(script, host=host) as endpoint:
        answers(endpoint)
        assert seen == [f"{authority}:{endpoint.port}"]


def test_the_authority_leaves_out_the_zone_of_an_ipv6_address() -> None:
    assert Endpoint("fe80::1%eth0", 2113, None, ()).authority == "[fe80::1]:2113"


def test_nothing_that_answers_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(CallFailed) as caught:
        Endpoint("127.0.0.1", port, None, ()).call("/m", b"")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
