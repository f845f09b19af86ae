"""One server-streaming gRPC call over a plain HTTP/2 connection, for reading much.

gRPC's own Python library spends five to six microseconds of processor time on each message that it hands over, more than all the rest
of an export together. A read of the log is one call with one request and very many small answers; HTTP/2 carries them as frames with a
header of nine bytes, and that is quickly taken apart. So this module speaks just as much of HTTP/2 as such a call needs: one stream,
no push, no compression. Everything else (discovery, single answers, appends) goes through gRPC's library.

Sources: RFC 9113 (HTTP/2), RFC 7541 (header compression, done by the library ``hpack``), and gRPC over HTTP/2
(https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import grpc
import hpack

from workbench.kurrent.wire import Messages

_Code = grpc.StatusCode

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x8, 0x9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_FRAME = struct.Struct(">BHBBI")
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_STREAM: Final = 1

_WINDOW = 16 * 1024 * 1024
"""How many bytes the server may send ahead of us; half of it, once taken, is granted again."""
_LARGEST_FRAME = 1024 * 1024
_RECEIVE = 1024 * 1024
_LARGEST_MESSAGE = 20 * 1024 * 1024

_RESETS = {0x7: _Code.UNAVAILABLE, 0x8: _Code.CANCELLED, 0xB: _Code.RESOURCE_EXHAUSTED, 0xC: _Code.PERMISSION_DENIED}
_HTTP = {400: _Code.INTERNAL, 401: _Code.UNAUTHENTICATED, 403: _Code.PERMISSION_DENIED, 404: _Code.UNIMPLEMENTED}
_HTTP |= dict.fromkeys((429, 502, 503, 504), _Code.UNAVAILABLE)
_CODES = {code.value[0]: code for code in _Code}


class CallFailed(grpc.RpcError):  # type: ignore[misc]  # grpc ships no types
    """A call that ended with another status than OK; it answers as the errors of gRPC's library do."""

    def __init__(self, code: grpc.StatusCode, details: str, trailers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(details)
        self._code, self._details, self._trailers = code, details, tuple(trailers)

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._trailers


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how to connect: the node, its TLS context or None, the headers of every call, and how long silence is borne."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    headers: tuple[tuple[str, str], ...]
    connect_seconds: float = 10.0
    silence_seconds: float | None = 10.0

    def call(self, path: str, request: bytes) -> StreamingCall:
        """Begin a call; the connection is its own and ends with it.

        Raises
        ------
        CallFailed
            UNAVAILABLE: nothing answers there.
        """
        try:
            plain = socket.create_connection((self.host, self.port), timeout=self.connect_seconds)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = plain if self.tls is None else self.tls.wrap_socket(plain, server_hostname=self.host)
            return StreamingCall(connection, self, path, request)
        except OSError as error:
            raise CallFailed(_Code.UNAVAILABLE, f"failed to connect: {error}") from error


class StreamingCall:
    """A call that is under way. Messages are taken by :meth:`chunks`; :meth:`cancel` ends it at any time."""

    def __init__(self, connection: socket.socket, endpoint: Endpoint, path: str, request: bytes) -> None:
        self._socket = connection
        self._socket.settimeout(endpoint.silence_seconds)
        self._silence = endpoint.silence_seconds
        self._headers = hpack.Decoder()
        self._block = bytearray()
        self._block_ends_stream = False
        self._answered = self._ended = False
        self._taken = 0
        self._body = bytearray()
        head = [
            (":method", "POST"),
            (":scheme", "http" if endpoint.tls is None else "https"),
            (":path", path),
            (":authority", f"{endpoint.host}:{endpoint.port}"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "workbench"),
        ]
        encoded = [(name, value, name == "authorization") for name, value in (*head, *endpoint.headers)]
        # A large window for the stream, and at once for the connection too, whose window begins at 65,535 bytes.
        settings = struct.pack(">HIHIHI", 0x2, 0, 0x4, _WINDOW, 0x5, _LARGEST_FRAME)
        self._socket.sendall(
            _PREFACE
            + _frame(_SETTINGS, 0, 0, settings)
            + _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _WINDOW - 65_535))
            + _frame(_HEADERS, _END_HEADERS, _STREAM, hpack.Encoder().encode(encoded))
            + _frame(_DATA, _END_STREAM, _STREAM, b"\x00" + struct.pack(">I", len(request)) + request)
        )

    def chunks(self, *, events: int, size: int) -> Iterator[Messages]:
        """Yield the answers in order, many at once: a chunk ends at so many messages or bytes, whichever comes first.

        Raises
        ------
        CallFailed
            The status of the call was not OK, or the connection broke before there was one.
        """
        received = bytearray()
        scratch = bytearray(_RECEIVE)
        view = memoryview(scratch)
        start: list[int] = []
        end: list[int] = []
        at = 0  # where the next message begins in the body
        failure: CallFailed | None = None
        try:
            while not self._ended:
                received += view[: self._receive(scratch)]
                try:
                    self._take(received)
                except CallFailed as error:
                    failure = error  # what came whole before it is handed over first
                body, length = self._body, len(self._body)
                while length - at >= 5:
                    stop = at + 5 + int.from_bytes(body[at + 1 : at + 5], "big")
                    if stop > length:
                        if stop - at > _LARGEST_MESSAGE or body[at]:
                            self._refuse(body[at])
                        break
                    if body[at]:
                        self._refuse(body[at])
                    start.append(at + 5)
                    end.append(stop)
                    at = stop
                    if len(start) == events or at >= size:
                        yield Messages.within(body, start, end)
                        self._body = body = body[at:]
                        start, end, at, length = [], [], 0, len(body)
                if failure is not None:
                    raise failure
                self._grant()
            if start:
                yield Messages.within(self._body, start, end)
            if at < len(self._body):
                raise CallFailed(_Code.INTERNAL, "the stream ended within a message")
        except OSError as error:
            raise CallFailed(_Code.UNAVAILABLE, f"the connection broke: {error}") from error
        finally:
            self.cancel()

    def cancel(self) -> None:
        """End the call and close its connection."""
        self._socket.close()

    def _receive(self, scratch: bytearray) -> int:
        """Wait for bytes; a server that is silent is asked for a sign of life once, and given up thereafter."""
        try:
            count = self._socket.recv_into(scratch)
        except TimeoutError:
            self._socket.sendall(_frame(_PING, 0, 0, bytes(8)))
            try:
                count = self._socket.recv_into(scratch)
            except TimeoutError:
                raise CallFailed(_Code.UNAVAILABLE, f"the server was silent for {2 * (self._silence or 0):g} seconds") from None
        if not count:
            raise CallFailed(_Code.UNAVAILABLE, "the server closed the connection")
        return count

    def _take(self, received: bytearray) -> None:
        """Take the whole frames from what was received, and leave the rest; payloads of DATA go to the body."""
        at, length = 0, len(received)
        view = memoryview(received)
        while length - at >= 9:
            high, low, kind, flags, stream = _FRAME.unpack_from(received, at)
            stop = at + 9 + (high << 16 | low)
            if stop > length:
                if stop - at - 9 > _LARGEST_FRAME:
                    raise CallFailed(_Code.INTERNAL, "the server sent a frame larger than allowed")
                break
            if kind == _DATA and not flags & _PADDED:
                self._body += view[at + 9 : stop]
                self._taken += stop - at - 9
                if flags & _END_STREAM:
                    self._end({})
            else:
                self._control(kind, flags, stream & 0x7FFFFFFF, bytes(view[at + 9 : stop]))
            at = stop
            if self._ended:
                break
        view.release()
        del received[:at]

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._body += payload[1 : len(payload) - payload[0]]
            self._taken += len(payload)
            if flags & _END_STREAM:
                self._end({})
        elif kind == _HEADERS:
            skipped = (5 if flags & _PRIORITY else 0) + (1 if flags & _PADDED else 0)
            padding = payload[0] if flags & _PADDED else 0
            self._block = bytearray(payload[skipped : len(payload) - padding])
            self._block_ends_stream = bool(flags & _END_STREAM)
            if flags & _END_HEADERS:
                self._header_block()
        elif kind == _CONTINUATION:
            self._block += payload
            if flags & _END_HEADERS:
                self._header_block()
        elif kind == _SETTINGS and not flags & _ACK:
            self._socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._socket.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind == _RST_STREAM and stream == _STREAM:
            code = int.from_bytes(payload[:4], "big")
            raise CallFailed(_RESETS.get(code, _Code.INTERNAL), f"the server reset the stream (HTTP/2 error {code})")
        elif kind == _GOAWAY:
            last, code = struct.unpack(">II", payload[:8])
            # A server that shuts down in order lets streams up to `last` run to their end.
            if last & 0x7FFFFFFF < _STREAM or code:
                said = payload[8:].decode(errors="replace")[:100]
                raise CallFailed(_Code.UNAVAILABLE, f"the server is going away (HTTP/2 error {code}) {said}".rstrip())

    def _header_block(self) -> None:
        try:
            fields = self._headers.decode(bytes(self._block), raw=True)
        except hpack.HPACKError as error:
            raise CallFailed(_Code.INTERNAL, f"the server sent headers that cannot be read: {error}") from error
        headers = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields}
        if not self._answered:
            self._answered = True
            status = headers.get(":status", "")
            if status != "200" or not headers.get("content-type", "").startswith("application/grpc"):
                code = _HTTP.get(int(status) if status.isdecimal() else 0, _Code.UNKNOWN)
                raise CallFailed(code, f"the answer was no gRPC: HTTP status {status}")
        if self._block_ends_stream:
            self._end(headers)

    def _end(self, trailers: dict[str, str]) -> None:
        self._ended = True
        status = trailers.get("grpc-status", "")
        if status != "0":
            code = _CODES.get(int(status), _Code.UNKNOWN) if status.isdecimal() else _Code.UNKNOWN
            details = unquote(trailers.get("grpc-message", "")) if status else "the stream ended without a status"
            raise CallFailed(code, details, [(k, v) for k, v in trailers.items() if not k.startswith((":", "grpc-"))])

    def _grant(self) -> None:
        if self._taken >= _WINDOW // 2 and not self._ended:
            grant = struct.pack(">I", self._taken)
            self._socket.sendall(_frame(_WINDOW_UPDATE, 0, 0, grant) + _frame(_WINDOW_UPDATE, 0, _STREAM, grant))
            self._taken = 0

    @staticmethod
    def _refuse(compressed: int) -> None:
        what = "a compressed message, which was not asked for" if compressed else "a message larger than any event"
        raise CallFailed(_Code.INTERNAL, f"the server sent {what}")


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    size = len(payload)
    return _FRAME.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload
