"""The client's side of one gRPC call over HTTP/2, without a socket: bytes from the server go in, its answer and our replies come out.

An :class:`Exchange` implements as much of HTTP/2 as one server-streaming call needs: one stream, no push, no compression. What RFC 9113
calls a connection error ends the call, because a reader that guesses could return wrong data.

Sources: RFC 9113 (HTTP/2), RFC 7541 (header compression, done by the library ``hpack``), and gRPC over HTTP/2
(https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, TypeVar
from urllib.parse import unquote

import grpc
import hpack

_Code = grpc.StatusCode

_DATA, _HEADERS, _PRIORITY_FRAME, _RST_STREAM, _SETTINGS = 0x0, 0x1, 0x2, 0x3, 0x4
_PUSH_PROMISE, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0x5, 0x6, 0x7, 0x8, 0x9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_ENABLE_PUSH, _INITIAL_WINDOW, _MAX_FRAME = 0x2, 0x4, 0x5
_SETTINGS_ALLOWED: Final = {_ENABLE_PUSH: range(1), _INITIAL_WINDOW: range(2**31), _MAX_FRAME: range(2**14, 2**24)}
_HEAD = struct.Struct(">BHBBI")
_NUMBER = struct.Struct(">I")
_SETTING = struct.Struct(">HI")
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_CONNECTION: Final = 0
_STREAM: Final = 1
_LARGEST_NUMBER = 2**31 - 1
_FIRST_WINDOW = 65_535
"""How many bytes each side may send, on the connection and on each stream, before the other grants more."""

WINDOW = 8 * 1024 * 1024
"""How many bytes the server may send ahead of :meth:`Exchange.take`; more is granted once half of them are taken."""
_LARGEST_FRAME = 1024 * 1024
_LARGEST_SENT_FRAME = 16_384  # every server takes frames of this size
_LARGEST_HEADERS = 64 * 1024
_NO_SETTINGS = "something else than HTTP/2 settings first"

_RESETS = {0x7: _Code.UNAVAILABLE, 0x8: _Code.CANCELLED, 0xB: _Code.RESOURCE_EXHAUSTED, 0xC: _Code.PERMISSION_DENIED}
_HTTP = {"400": _Code.INTERNAL, "401": _Code.UNAUTHENTICATED, "403": _Code.PERMISSION_DENIED, "404": _Code.UNIMPLEMENTED}
_HTTP |= dict.fromkeys(("429", "502", "503", "504"), _Code.UNAVAILABLE)
_CODES = {str(code.value[0]): code for code in _Code}


class CallFailed(grpc.RpcError):  # type: ignore[misc]  # grpc ships no types
    """Raised when a call ends with a status other than OK; has the methods of the errors of gRPC's library."""

    def __init__(self, code: grpc.StatusCode, details: str, trailers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(details)
        self._code, self._details, self._trailers = code, details, tuple(trailers)

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._trailers


class Exchange:
    """One call: its request, and the answer as far as it was received.

    Parameters
    ----------
    headers
        The header fields of the request, pseudo-header fields first.
    message
        The request's one message.

    Attributes
    ----------
    outgoing : bytearray
        The bytes to send next. The sender removes what it sent.
    buffered : int
        How many bytes of the answer's body were received but not taken.
    ended : bool
        Whether the call ended with status OK.
    """

    def __init__(self, headers: Sequence[tuple[str, str]], message: bytes) -> None:
        self.outgoing = bytearray(_PREFACE)
        self.ended = False
        self._received = bytearray()
        self._body = bytearray()
        self._greeted = self._answered = False
        self._decoder = hpack.Decoder()
        self._block: bytearray | None = None  # the header block that CONTINUATION frames go on with
        self._block_ends_stream = False
        self._allowed, self._taken = WINDOW, 0
        self._unsent = bytearray(b"\x00" + _NUMBER.pack(len(message)) + message)
        self._may_send = {_CONNECTION: _FIRST_WINDOW, _STREAM: _FIRST_WINDOW}
        self._first_stream_window = _FIRST_WINDOW
        settings = ((_ENABLE_PUSH, 0), (_INITIAL_WINDOW, WINDOW), (_MAX_FRAME, _LARGEST_FRAME))
        self._send(_SETTINGS, 0, _CONNECTION, b"".join(_SETTING.pack(*setting) for setting in settings))
        self._send(_WINDOW_UPDATE, 0, _CONNECTION, _NUMBER.pack(WINDOW - _FIRST_WINDOW))
        fields = [(name, value, name == "authorization") for name, value in headers]  # a login enters no compression table
        self._send(_HEADERS, _END_HEADERS, _STREAM, hpack.Encoder().encode(fields))
        self._send_request()

    @property
    def buffered(self) -> int:
        return len(self._body)

    def receive(self, data: bytes | memoryview) -> None:
        """Process bytes from the server, in pieces of any size.

        Raises
        ------
        CallFailed
            The call ended with a status other than OK, or the server broke the protocol. What came before can still be taken.
        """
        received = self._received
        received += data
        at, length = 0, len(received)
        with memoryview(received) as view:
            while length - at >= 9 and not self.ended:
                high, low, kind, flags, stream = _HEAD.unpack_from(received, at)
                size = high << 16 | low
                if size > _LARGEST_FRAME:
                    raise _broken("a frame larger than allowed" if self._greeted else _NO_SETTINGS)
                stop = at + 9 + size
                if stop > length:
                    break
                self._frame(kind, flags, stream & _LARGEST_NUMBER, view[at + 9 : stop])
                at = stop
        del received[:at]

    def take(self) -> bytearray:
        """Take the received part of the answer's body, and let the server send as many bytes again."""
        body, self._body = self._body, bytearray()
        self._credit(len(body))
        return body

    def ping(self) -> None:
        """Queue a PING, which the server must answer and which tells the server that the client is alive."""
        self._send(_PING, 0, _CONNECTION, bytes(8))

    def _credit(self, size: int) -> None:
        self._taken += size
        if self._taken >= WINDOW // 2 and not self.ended:
            for stream in (_CONNECTION, _STREAM):
                self._send(_WINDOW_UPDATE, 0, stream, _NUMBER.pack(self._taken))
            self._allowed += self._taken
            self._taken = 0

    def _frame(self, kind: int, flags: int, stream: int, payload: memoryview) -> None:
        if kind == _DATA and self._answered and stream == _STREAM and self._block is None:
            self._data(flags, payload)
        elif not self._greeted and (kind != _SETTINGS or flags & _ACK):
            raise _broken(_NO_SETTINGS)
        elif (kind == _CONTINUATION) is (self._block is None):
            raise _broken("a CONTINUATION frame out of place" if self._block is None else "another frame within a header block")
        elif kind in _STREAMS and stream not in _STREAMS[kind]:
            raise _broken(f"a frame of kind {kind} on stream {stream}")
        elif kind in _SIZES and len(payload) != _SIZES[kind]:
            raise _broken(f"a frame of kind {kind} with {len(payload)} bytes")
        else:
            self._control(kind, flags, stream, bytes(payload))

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Process a frame on an allowed stream; unknown kinds are ignored, as RFC 9113 requires."""
        if kind == _DATA:
            raise _broken("data before its headers")
        if kind == _PUSH_PROMISE:
            raise _broken("a PUSH_PROMISE frame, which was ruled out")
        if kind == _HEADERS:
            self._headers(flags, payload)
        elif kind == _CONTINUATION:
            self._continue(flags, payload)
        elif kind == _SETTINGS:
            self._settings(flags, payload)
        elif kind == _PING and not flags & _ACK:
            self._send(_PING, _ACK, _CONNECTION, payload)
        elif kind == _WINDOW_UPDATE:
            self._window_update(stream, payload)
        elif kind == _GOAWAY:
            self._goaway(payload)
        elif kind == _RST_STREAM:
            code = _NUMBER.unpack(payload)[0]
            raise CallFailed(_RESETS.get(code, _Code.INTERNAL), f"the server reset the stream (HTTP/2 error {code})")

    def _data(self, flags: int, payload: memoryview) -> None:
        size = len(payload)
        self._allowed -= size  # padding counts too
        if self._allowed < 0:
            raise _broken("more data than it was allowed")
        if flags & _PADDED:
            payload = _unpadded(payload)
            self._credit(size - len(payload))
        self._body += payload
        if flags & _END_STREAM:
            self._end({})

    def _headers(self, flags: int, payload: bytes) -> None:
        block = _unpadded(payload) if flags & _PADDED else payload
        if flags & _PRIORITY:
            if len(block) < 5:
                raise _broken("a HEADERS frame too short for its priority")
            block = block[5:]
        self._block_ends_stream = bool(flags & _END_STREAM)
        self._block = bytearray()
        self._continue(flags, block)

    def _continue(self, flags: int, payload: bytes) -> None:
        assert self._block is not None
        self._block += payload
        if len(self._block) > _LARGEST_HEADERS:
            raise _broken("headers larger than allowed")
        if flags & _END_HEADERS:
            block, self._block = bytes(self._block), None
            self._header_block(block)

    def _header_block(self, block: bytes) -> None:
        try:
            fields = self._decoder.decode(block, raw=True)
        except hpack.HPACKError as error:
            raise _broken(f"headers that cannot be read: {error}") from error
        headers = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields}
        if self._answered:
            if not self._block_ends_stream or ":status" in headers:
                raise _broken("headers in the middle of the answer")
            self._end(headers)
            return
        status = headers.get(":status", "")
        if len(status) != 3 or not (status.isascii() and status.isdecimal()):
            raise _broken("headers without a status")
        if status.startswith("1") and not self._block_ends_stream:
            return  # an interim answer: the final one follows
        self._answered = True
        if status != "200" or not _is_grpc(headers.get("content-type", "")):
            if headers.get("grpc-status", "0") != "0":
                self._end(headers)
            raise CallFailed(_HTTP.get(status, _Code.UNKNOWN), f"the answer was no gRPC: HTTP status {status}")
        if self._block_ends_stream:
            self._end(headers)

    def _end(self, trailers: dict[str, str]) -> None:
        status = trailers.get("grpc-status", "")
        if status == "0":
            self.ended = True
            return
        details = unquote(trailers.get("grpc-message", "")) if status else "the stream ended without a status"
        rest = [(name, value) for name, value in trailers.items() if not name.startswith((":", "grpc-"))]
        raise CallFailed(_CODES.get(status, _Code.UNKNOWN), details, rest)

    def _settings(self, flags: int, payload: bytes) -> None:
        if (flags & _ACK and payload) or len(payload) % _SETTING.size:
            raise _broken(f"a SETTINGS frame with {len(payload)} bytes")
        if flags & _ACK:
            return
        self._greeted = True
        for name, value in _SETTING.iter_unpack(payload):
            if name in _SETTINGS_ALLOWED and value not in _SETTINGS_ALLOWED[name]:
                raise _broken(f"setting {name} as {value}")
            if name == _INITIAL_WINDOW:
                self._may_send[_STREAM] += value - self._first_stream_window
                self._first_stream_window = value
        self._send(_SETTINGS, _ACK, _CONNECTION, b"")
        self._send_request()

    def _window_update(self, stream: int, payload: bytes) -> None:
        more = _NUMBER.unpack(payload)[0] & _LARGEST_NUMBER
        self._may_send[stream] += more
        if not more or self._may_send[stream] > _LARGEST_NUMBER:
            raise _broken("a window update of nothing" if not more else "a window larger than allowed")
        self._send_request()

    def _goaway(self, payload: bytes) -> None:
        if len(payload) < 8:
            raise _broken(f"a GOAWAY frame with {len(payload)} bytes")
        last, code = struct.unpack_from(">II", payload)
        # A server that shuts down gracefully finishes the streams up to `last`.
        if last & _LARGEST_NUMBER < _STREAM or code:
            said = payload[8:].decode(errors="replace")[:100]
            raise CallFailed(_Code.UNAVAILABLE, f"the server is going away (HTTP/2 error {code}) {said}".rstrip())

    def _send_request(self) -> None:
        """Send as much of the request as the server's windows allow."""
        while self._unsent and (room := min(*self._may_send.values(), _LARGEST_SENT_FRAME)) > 0:
            part = bytes(self._unsent[:room])
            del self._unsent[:room]
            for stream in self._may_send:
                self._may_send[stream] -= len(part)
            self._send(_DATA, 0 if self._unsent else _END_STREAM, _STREAM, part)

    def _send(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        size = len(payload)
        self.outgoing += _HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


_ONE, _ZERO, _BOTH = (_STREAM,), (_CONNECTION,), (_CONNECTION, _STREAM)
_STREAMS: Final = {
    _DATA: _ONE,
    _HEADERS: _ONE,
    _RST_STREAM: _ONE,
    _SETTINGS: _ZERO,
    _PING: _ZERO,
    _GOAWAY: _ZERO,
    _WINDOW_UPDATE: _BOTH,
    _CONTINUATION: _ONE,
}
"""On which streams each kind of frame is allowed."""

_SIZES: Final = {_PRIORITY_FRAME: 5, _RST_STREAM: 4, _PING: 8, _WINDOW_UPDATE: 4}
"""The kinds of frames with a fixed size."""

_Payload = TypeVar("_Payload", bytes, memoryview)


def _unpadded(payload: _Payload) -> _Payload:
    """Return a payload without its padding and the byte that holds the padding's length."""
    if not len(payload) or payload[0] >= len(payload):
        raise _broken("a frame with more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def _is_grpc(content_type: str) -> bool:
    kind = content_type.lower()
    return kind == "application/grpc" or kind.startswith(("application/grpc+", "application/grpc;"))


def _broken(what: str) -> CallFailed:
    return CallFailed(_Code.INTERNAL, f"the server broke HTTP/2: it sent {what}")
