"""A server that answers KurrentDB's Streams.Read from messages serialised beforehand, in frames as KurrentDB sends them.

usage: python -m tests.bench.fixed_server FRAMES    (FRAMES: make_frames.py; the port is printed)

It exists to measure a reader. A real server puts many small messages into one DATA frame, and messages cross its frames; gRPC's own library
gives each message a frame of its own, which costs a reader more. Here the messages of a log lie in one piece of memory, each behind gRPC's
prefix, and an answer is a stretch of it, cut into frames of 8 KiB whatever they hold. So it sends as fast as any client reads.
It honours the direction, the count and the position of a read of ``$all``, and ignores its other options; other calls are UNIMPLEMENTED.
"""

from __future__ import annotations

import mmap
import socketserver
import struct
import sys
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hpack
from esdbclient.protos.Grpc import streams_pb2

READ = "/event_store.client.streams.Streams/Read"
FRAME = 8 * 1024
_AHEAD = 32
"""Frames that are sent before what the client says is looked at again."""

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_INITIAL_WINDOW = 4
_HEAD = struct.Struct(">BHBBI")


class Log:
    """Messages in log order, in one piece of memory."""

    def __init__(self, path: str) -> None:
        self.positions: list[int] = []
        self.edges = [0]
        body = bytearray()
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stored:
            at = 0
            while at < len(stored):
                size, position = struct.unpack_from("<IQ", stored, at)
                body += b"\x00" + size.to_bytes(4, "big") + stored[at + 12 : at + 12 + size]
                self.positions.append(position)
                self.edges.append(len(body))
                at += 12 + size
        self.body = memoryview(body)

    def answer(self, request: bytes) -> memoryview:
        """Return the messages that answer a read, each behind its prefix."""
        options = streams_pb2.ReadReq.FromString(request).options
        given = options.all.WhichOneof("all_option") == "position"
        at = bisect_left(self.positions, options.all.position.commit_position) if given else 0
        count = len(self.positions)
        if options.read_direction != streams_pb2.ReadReq.Options.ReadDirection.Backwards:
            return self.body[self.edges[at] : self.edges[min(at + options.count, count)]]
        backwards = range(at if given else count, -1, -1)[: options.count + 1]
        return memoryview(b"".join(self.body[self.edges[row - 1] : self.edges[row]] for row in backwards[:-1]))


class Connection(socketserver.BaseRequestHandler):
    """One connection: takes frames, and sends what its streams have to say while the client's windows allow it."""

    server: Server

    def setup(self) -> None:
        self.received = bytearray()
        self.windows = {0: 65_535}
        self.first_window = 65_535
        self.requests: dict[int, tuple[str, bytearray]] = {}
        self.answers: dict[int, memoryview] = {}
        self.decoder, self.encoder = hpack.Decoder(), hpack.Encoder()

    def handle(self) -> None:
        self.request.sendall(_frame(_SETTINGS, 0, 0))
        preface = True
        try:
            while part := self.request.recv(65_536):
                self.received += part
                if preface and len(self.received) >= 24:
                    del self.received[:24]
                    preface = False
                if not preface:
                    self._take_frames()
                while self._send():
                    self._look()
        except ConnectionError:
            pass

    def _look(self) -> None:
        """Take what the client has said meanwhile."""
        self.request.setblocking(False)
        try:
            part = self.request.recv(65_536)
        except BlockingIOError:
            return
        finally:
            self.request.setblocking(True)
        if not part:
            raise ConnectionError
        self.received += part
        self._take_frames()

    def _take_frames(self) -> None:
        for kind, flags, stream, payload in self._frames():
            if kind == _SETTINGS and not flags & _ACK:
                for name, value in struct.iter_unpack(">HI", payload):
                    if name == _INITIAL_WINDOW:
                        self._change_windows(value)
                self.request.sendall(_frame(_SETTINGS, _ACK, 0))
            elif kind == _PING and not flags & _ACK:
                self.request.sendall(_frame(_PING, _ACK, 0, payload))
            elif kind == _WINDOW_UPDATE:
                if stream in self.windows:
                    self.windows[stream] += int.from_bytes(payload, "big")
            elif kind == _HEADERS:
                assert flags & (_END_HEADERS | _PADDED | _PRIORITY) == _END_HEADERS, "a client that this server does not know"
                path = dict(self.decoder.decode(payload, raw=True))[b":path"].decode()
                self.requests[stream] = path, bytearray()
                self.windows[stream] = self.first_window
            elif kind == _DATA:
                path, message = self.requests[stream]
                message += payload
                if flags & _END_STREAM:
                    del self.requests[stream]
                    self._answer(stream, path, bytes(message[5:]))
            elif kind == _RST_STREAM:
                self.answers.pop(stream, None)
                self.windows.pop(stream, None)

    def _frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        while len(self.received) >= 9:
            high, low, kind, flags, stream = _HEAD.unpack_from(self.received)
            stop = 9 + (high << 16 | low)
            if len(self.received) < stop:
                return
            payload = bytes(self.received[9:stop])
            del self.received[:stop]
            yield kind, flags, stream, payload

    def _answer(self, stream: int, path: str, request: bytes) -> None:
        headers = [(":status", "200"), ("content-type", "application/grpc")]
        if path == READ:
            self.request.sendall(_frame(_HEADERS, _END_HEADERS, stream, self.encoder.encode(headers)))
            self.answers[stream] = self.server.log.answer(request)
        else:
            trailers = self.encoder.encode([*headers, ("grpc-status", "12"), ("grpc-message", "only Streams.Read is served")])
            self.request.sendall(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, trailers))
            del self.windows[stream]

    def _change_windows(self, first: int) -> None:
        """Take another first window, which counts for the open streams too (RFC 9113, 6.9.2): gRPC's library changes it as it reads."""
        for stream in self.windows:
            if stream:
                self.windows[stream] += first - self.first_window
        self.first_window = first

    def _send(self) -> bool:
        """Send the next frames of one answer; return whether there was anything that may be sent."""
        for stream, answer in self.answers.items():
            room = max(min(self.windows[0], self.windows[stream], _AHEAD * FRAME, len(answer)), 0)
            if not room and len(answer):
                continue
            frames: list[Any] = []
            for at in range(0, room, FRAME):
                part = answer[at : min(at + FRAME, room)]
                frames += (_head(_DATA, 0, stream, len(part)), part)
            self.windows[0] -= room
            self.windows[stream] -= room
            self.answers[stream] = answer[room:]
            if room == len(answer):
                del self.answers[stream], self.windows[stream]
                frames.append(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, self.encoder.encode([("grpc-status", "0")])))
            self.request.sendall(b"".join(frames))
            return True
        return False


class Server(socketserver.ThreadingTCPServer):
    """Serves one log on a port of loopback that is free."""

    daemon_threads = True

    def __init__(self, log: Log) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.log = log


def _head(kind: int, flags: int, stream: int, size: int) -> bytes:
    return _HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream)


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return _head(kind, flags, stream, len(payload)) + payload


if __name__ == "__main__":
    with Server(Log(sys.argv[1])) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
