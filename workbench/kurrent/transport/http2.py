"""One server-streaming gRPC call over its own connection, for bulk reads.

gRPC's own Python library spends five to six microseconds of processor time on each message, more than the rest of an export together.
A read of the log is one call with one request and very many small answers; ``http2_frames`` parses them, and this module moves the bytes.
Everything else (discovery, single answers, appends) goes through gRPC's library.

A separate thread owns the socket, so that it answers the server however long the caller works on a chunk: KurrentDB drops a client that
answers no PING for about 20 seconds. HTTP/2's windows limit how much is read ahead.
"""

from __future__ import annotations

import contextlib
import math
import selectors
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import grpc

from workbench.host_port import join_host_port
from workbench.kurrent.transport.http2_frames import CallFailed, Exchange
from workbench.kurrent.wire import Messages

_Code = grpc.StatusCode

PING_SECONDS = 5.0
"""How often to send a PING. KurrentDB itself sends one after 10 seconds without any frame."""

_RECEIVE = 1024 * 1024
_ENOUGH, _SOON = 1024 * 1024, 0.1
"""The caller is woken after this many bytes or seconds, whichever comes first: waking costs more than parsing frames."""

_LARGEST_MESSAGE = 20 * 1024 * 1024
_PREFIX = struct.Struct(">BI")
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how to connect.

    Attributes
    ----------
    host, port
        The node; an IPv6 address without brackets.
    tls
        The TLS context, or None for a connection without TLS.
    headers
        Header fields of every call.
    connect_seconds
        How long connecting and the TLS handshake may take, each.
    silence_seconds
        How long the server may send nothing while the caller waits; None for no limit.
    ping_seconds
        How often to send a PING, which the server answers.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    headers: tuple[tuple[str, str], ...]
    connect_seconds: float = 10.0
    silence_seconds: float | None = 20.0
    ping_seconds: float = PING_SECONDS

    @property
    def authority(self) -> str:
        """Host and port as HTTP writes them: an IPv6 address in brackets (RFC 3986, 3.2.2), without its zone (RFC 6874, 4)."""
        return join_host_port(self._name, self.port)

    @property
    def _name(self) -> str:
        return self.host.partition("%")[0]

    def call(self, path: str, request: bytes) -> StreamingCall:
        """Connect for one call, which starts when its answers are first read.

        Raises
        ------
        CallFailed
            UNAVAILABLE: nothing answers there.
        """
        headers = [
            (":method", "POST"),
            (":scheme", "http" if self.tls is None else "https"),
            (":path", path),
            (":authority", self.authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "workbench"),
            *self.headers,
        ]
        try:
            connection = socket.create_connection((self.host, self.port), timeout=self.connect_seconds)
            try:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.tls is not None:
                    connection = self.tls.wrap_socket(connection, server_hostname=self._name)
            except BaseException:
                connection.close()
                raise
        except OSError as error:
            raise CallFailed(_Code.UNAVAILABLE, f"failed to connect: {error}") from error
        return StreamingCall(connection, Exchange(headers, request), self)


class StreamingCall:
    """A call in progress. :meth:`chunks` yields its messages; :meth:`cancel` ends it at any time.

    The thread owns the socket. The exchange is shared: hold the lock of ``_changed`` to access it.
    """

    def __init__(self, connection: socket.socket, exchange: Exchange, endpoint: Endpoint) -> None:
        self._socket, self._exchange, self._endpoint = connection, exchange, endpoint
        self._socket.settimeout(0)
        self._changed = threading.Condition()
        self._wake, self._woken = socket.socketpair()
        self._wake.settimeout(0)
        self._thread = threading.Thread(target=self._run, name="workbench-reader", daemon=True)
        self._started = self._cancelled = self._finished = False
        self._failure: BaseException | None = None
        self._heard = time.monotonic()

    def chunks(self, *, events: int, size: int) -> Iterator[Messages]:
        """Yield the answers in order, in chunks of at most this many messages or about this many bytes.

        Complete messages are yielded before a failure is raised.

        Raises
        ------
        CallFailed
            The status of the call was not OK, or the connection broke before there was one.
        """
        body = bytearray()
        starts: list[int] = []
        at = 0  # where the next message begins in the body
        finished = False
        failure: BaseException | None = None
        unpack, append = _PREFIX.unpack_from, starts.append
        try:
            self._start()
            while not finished:
                part, finished, failure = self._receive()
                body += part
                length = len(body)
                while at + 5 <= length:
                    compressed, count = unpack(body, at)
                    stop = at + 5 + count
                    if compressed or stop > length:
                        if compressed or count > _LARGEST_MESSAGE:
                            what = "a compressed message, which was not asked for" if compressed else "a message larger than any event"
                            finished, failure = True, CallFailed(_Code.INTERNAL, f"the server sent {what}")
                        break
                    append(at)
                    at = stop
                    if len(starts) == events or at >= size:
                        yield Messages.behind_prefixes(body, starts, at)
                        del body[:at]
                        at, length = 0, len(body)
                        starts.clear()
            if starts:
                yield Messages.behind_prefixes(body, starts, at)
            if failure is not None:
                raise failure
            if at < len(body):
                raise CallFailed(_Code.INTERNAL, "the stream ended within a message")
        finally:
            self.cancel()

    def cancel(self) -> None:
        """End the call, its thread and its connection. May be called at any time, from any thread."""
        self._cancelled = True
        self._notify_thread()
        # This may run in the garbage collector: on any thread, and at interpreter exit, when daemon threads no longer run.
        if self._started and threading.current_thread() is not self._thread and not sys.is_finalizing():
            self._thread.join()
        for end in (self._socket, self._wake, self._woken):
            end.close()

    def _start(self) -> None:
        self._started = True
        self._thread.start()

    def _receive(self) -> tuple[bytearray, bool, BaseException | None]:
        """Wait for more of the body; return it, whether it was the last part, and the failure that ended the call."""
        silence = self._endpoint.silence_seconds or math.inf
        with self._changed:
            began = now = time.monotonic()
            while not self._finished and self._exchange.buffered < _ENOUGH:
                if self._exchange.buffered and now - began >= _SOON:
                    break
                if now - max(began, self._heard) >= silence:
                    self._finished = True
                    self._failure = CallFailed(_Code.UNAVAILABLE, f"the server was silent for {silence:g} seconds")
                    break
                self._changed.wait(_SOON)
                now = time.monotonic()
            body = self._exchange.take()
            if self._exchange.outgoing:
                self._notify_thread()
            return body, self._finished, self._failure

    def _notify_thread(self) -> None:
        with contextlib.suppress(OSError):  # the thread has a wake-up pending, or has ended
            self._wake.send(b"x")

    def _run(self) -> None:
        """Serve the connection until the call has ended; store its failure for the caller."""
        failure: BaseException | None = None
        try:
            self._converse()
        except OSError as error:
            failure = CallFailed(_Code.UNAVAILABLE, f"the connection broke: {error}")
        except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
            failure = error
        with self._changed:
            self._finished, self._failure = True, failure
            self._changed.notify()

    def _converse(self) -> None:
        scratch = memoryview(bytearray(_RECEIVE))
        ping_at = time.monotonic() + self._endpoint.ping_seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.register(self._socket, selectors.EVENT_READ)
            while not (self._cancelled or self._exchange.ended):
                now = time.monotonic()
                if now >= ping_at:
                    with self._changed:
                        self._exchange.ping()
                    ping_at = now + self._endpoint.ping_seconds
                unsent = self._send()
                if self._take_in(scratch):
                    continue
                selector.modify(self._socket, selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0))
                for key, _ in selector.select(ping_at - now):
                    if key.fileobj is self._woken:
                        self._woken.recv(4096)

    def _send(self) -> bool:
        """Send the pending bytes; return whether the connection is full for now."""
        outgoing = self._exchange.outgoing
        while outgoing:
            with self._changed:
                part = bytes(outgoing)
            try:
                sent = self._socket.send(part)
            except _NOT_NOW:
                return True
            with self._changed:
                del outgoing[:sent]
        return False

    def _take_in(self, scratch: memoryview) -> bool:
        """Receive once; return whether any bytes came."""
        try:
            count = self._socket.recv_into(scratch)
        except _NOT_NOW:
            return False
        if not count:
            raise CallFailed(_Code.UNAVAILABLE, "the server closed the connection")
        with self._changed:
            self._heard = time.monotonic()
            self._exchange.receive(scratch[:count])
            if self._exchange.buffered >= _ENOUGH:
                self._changed.notify()
        return True
