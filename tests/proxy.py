"""A link to a server that breaks when it is told to: a TCP proxy on the loopback interface.

Faults on the way belong here and not into a server, so that every server that the tests run against meets them.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

T = TypeVar("T")

CutBy = Literal["reset", "fin", "stall"]

_PIECE = 16 * 1024  # no larger than the pipes between, so that a link that is paused soon blocks the server
_SECONDS = 10.0  # for anything that is asked of the proxy's own thread
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


@dataclass(eq=False, slots=True)
class _Link:
    """A client's connection, and ours to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    passed: int = 0
    """Bytes from the server to the client since the rule for cuts was made."""
    pumps: list[asyncio.Task[None]] = field(default_factory=list)


@dataclass(slots=True)
class _Rule:
    """Cut a link once so many bytes came over it, so many times (None: always)."""

    after: int
    left: int | None
    by: CutBy


class Proxy:
    """Passes on what a client and the server at an address send each other. A context manager; a client dials ``address``.

    Parameters
    ----------
    host, port
        The server.

    Attributes
    ----------
    port : int
        The proxy's own port, on 127.0.0.1.
    accepted, cuts : int
        How many connections were taken, and how many of them were cut by a rule so far.

    Examples
    --------
    >>> with Proxy("127.0.0.1", 2113) as link:  # doctest: +SKIP
    ...     link.cut_every(2_000_000)
    ...     connect(f"esdb://{link.address}?tls=false")
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._server_port = host, port
        self.port = 0
        self.accepted = 0
        self.cuts = 0
        self._rule: _Rule | None = None
        self._links: set[_Link] = set()
        self._open = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread

    @property
    def address(self) -> str:
        """Host and port to dial."""
        return f"127.0.0.1:{self.port}"

    # -- what happens to the link

    def cut_after(self, count: int, *, times: int | None = 1, by: CutBy = "reset") -> None:
        """Cut a connection once the server has sent so many bytes over it, counted from now or from its beginning.

        The bytes before the cut reach the client, those behind it do not. ``by="fin"`` closes in good order instead, as a server
        does whose process was killed, and ``by="stall"`` leaves the connection open and silent. Replaces the rule before.
        """
        self._ask(self._set_rule(_Rule(count, times, by)))

    def cut_every(self, count: int, *, by: CutBy = "reset") -> None:
        """Cut each connection once the server has sent so many bytes over it, for as long as the proxy lives."""
        self.cut_after(count, times=None, by=by)

    def cut_now(self, *, by: CutBy = "reset") -> None:
        """Cut all connections that are open; they do not count as ``cuts``."""
        self._ask(self._cut_all(by))

    def pause(self) -> None:
        """Pass nothing on, in neither direction, until ``resume``: connections stay open, and new ones are taken and stay silent."""
        self._ask(self._set_open(on=False))

    def resume(self) -> None:
        """Pass on again, beginning with what was held back."""
        self._ask(self._set_open(on=True))

    def refuse(self) -> None:
        """Cut all connections and refuse new ones, as where nothing listens, until ``accept``."""
        self._ask(self._stop_listening())
        self.cut_now()

    def accept(self) -> None:
        """Take connections again, at the same port."""
        self._ask(self._listen())

    def heal(self) -> None:
        """End all of that: no rule for cuts, nothing paused, connections are taken."""
        self._ask(self._set_rule(None))
        self.resume()
        self.accept()

    # -- life

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._ask(self._listen())
        self.resume()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)
        self._loop.close()

    def _ask(self, task: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(_SECONDS)

    # -- on the proxy's own thread

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=_PIECE)
            self.port = self._listener.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _set_rule(self, rule: _Rule | None) -> None:
        self._rule = rule
        for link in self._links:
            link.passed = 0

    async def _set_open(self, *, on: bool) -> None:
        if on:
            self._open.set()
        else:
            self._open.clear()

    async def _cut_all(self, by: CutBy) -> None:
        gone = [pump for link in self._links for pump in link.pumps]
        for link in list(self._links):
            self._cut(link, by)
        await asyncio.gather(*gone, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            answers, server = await asyncio.open_connection(self._host, self._server_port, limit=_PIECE)
        except OSError:
            _close(client, "reset")
            return
        link = _Link(client, server)
        for writer in (client, server):
            # Without room of its own the proxy holds back what the other side does not take.
            writer.transport.set_write_buffer_limits(high=_PIECE)
        self._links.add(link)
        link.pumps = [asyncio.create_task(self._requests(link, reader)), asyncio.create_task(self._answers(link, answers))]
        try:
            await asyncio.wait(link.pumps)
        finally:
            self._cut(link, "fin")

    async def _requests(self, link: _Link, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                await self._open.wait()
                link.server.write(piece)
                await link.server.drain()
            link.server.write_eof()

    async def _answers(self, link: _Link, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                await self._open.wait()
                rule = self._rule
                room = None if rule is None else rule.after - link.passed
                link.passed += len(piece)
                link.client.write(piece if room is None else piece[: max(0, room)])
                await link.client.drain()
                if rule is not None and room is not None and len(piece) >= room:
                    self.cuts += 1
                    if rule.left is not None:
                        rule.left -= 1
                        if rule.left <= 0 and self._rule is rule:
                            self._rule = None
                    await _delivered(link.client)
                    if rule.by == "stall":
                        await asyncio.Event().wait()  # until the link is closed
                    self._cut(link, rule.by)
                    return
            link.client.write_eof()

    def _cut(self, link: _Link, by: CutBy) -> None:
        if link not in self._links:
            return
        self._links.discard(link)
        _close(link.client, by)
        _close(link.server, by)
        for pump in link.pumps:
            if pump is not asyncio.current_task():
                pump.cancel()


async def _delivered(writer: asyncio.StreamWriter) -> None:
    """Wait until the other side has taken what was written: a reset throws away what is still on its way."""
    while not writer.transport.is_closing():
        in_kernel = struct.unpack("i", fcntl.ioctl(writer.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4)))[0]
        if not writer.transport.get_write_buffer_size() and not in_kernel:
            return
        await asyncio.sleep(0.005)


def _close(writer: asyncio.StreamWriter, by: CutBy) -> None:
    if by == "fin":
        writer.close()
        return
    if not writer.transport.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
