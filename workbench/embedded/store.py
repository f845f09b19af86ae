"""The embedded event store: a server in a thread of this process."""

from __future__ import annotations

import re
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

import grpc
import grpc.aio

from workbench.embedded import loop
from workbench.embedded.calls.accounts import Account, Accounts
from workbench.embedded.calls.headers import DateHeader
from workbench.embedded.calls.services import handlers
from workbench.embedded.connections import KEEP_ALIVE, channel_options
from workbench.embedded.faults import FaultPlan, Faults
from workbench.embedded.node import EmbeddedNode
from workbench.embedded.recording.appends import ANY, AppendResult
from workbench.embedded.recording.clock import Clock
from workbench.embedded.recording.log import Log
from workbench.embedded.recording.records import NewEvent
from workbench.embedded.recording.storage import MemoryStorage, SqliteStorage, Storage
from workbench.embedded.recording.system_projections import Projections
from workbench.embedded.store_certificate import credentials
from workbench.errors import EmbeddedStoreError, UsageError
from workbench.host_port import join_host_port

NOTICE = "This event store is for development and demonstration. It is no KurrentDB and keeps no production data."
"""The notice that the command line prints when it starts a store."""

_GRACE = 0.2  # seconds that calls under way have to end when the store stops; subscriptions never end of their own
_LARGEST_MESSAGE = 17 * 1024 * 1024
_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a port that is taken is an error, not shared
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
    ("grpc.max_send_message_length", _LARGEST_MESSAGE),
    # Clients of other languages ping every ten seconds, also between calls.
    ("grpc.keepalive_permit_without_calls", 1),
)
_REFUSED_POSITION = {"25.0": "InvalidPosition", "23.10": "Error"}


class EmbeddedStore:
    """An event store for development and demonstration that speaks KurrentDB's gRPC protocol, in a thread of this process.

    It is for tests, notebooks and demonstrations, not for production. It models KurrentDB 25.0.1. esdbclient and clients for other
    languages work with it unchanged: appends, reads of streams and of ``$all``, catch-up subscriptions, metadata, deletions. What it
    does not have (projections, persistent subscriptions, users, monitoring) is listed, as real servers list it, and answers
    UNIMPLEMENTED.

    Nothing happens before ``start``, or the ``with`` block.

    Parameters
    ----------
    data
        The folder that keeps the events, made if it is not there; None keeps them in memory until ``stop``. What was acknowledged
        is on the disk, and outlives a killed process.
    port, host
        Where to listen; port 0 takes a free one. An IPv6 address is given without brackets: ``"::1"``.
    tls, username, password
        With ``tls`` the store makes a certificate for itself, and ``uri`` names the file by which clients trust it. User name and
        password need TLS and stand in ``uri``; left out, they are ``admin`` and ``changeit``. Without TLS everybody may do
        everything, as on a server that was started insecure.
    users
        More accounts by their names, as ``{"analyst": Account("secret")}``: those that are no admins may not read ``$all``.
    accept_timestamps
        Whether a writer may stamp its events: by the metadata key ``created`` of a proposed message, decimal text of 100 ns ticks
        since the Unix epoch; for ``Delete`` and ``Tombstone``, by the call's own metadata. A real server ignores the key.
        ServerFeatures lists the method ``workbench.embedded/timestamps`` where it is accepted.
    links
        Whether the store writes what a server with its system projections on writes: links by stream, category, event type and
        correlation (``$streams``, ``$category-``, ``$ce-``, ``$et-``, ``$bc-``), each right behind the event that it leads to.
    keep_alive
        After how many silent seconds a client is sent a PING, and after how many more it is dropped if it has not answered: as on
        a real server, 10 and 10. ``math.inf`` drops nobody.
    refused_position
        The version of KurrentDB whose words answer a read of ``$all`` from a position that no record has: ``25.0`` says
        ``InvalidPosition``, ``23.10`` says no more than ``Error``.
    clock
        Tells the time in such ticks, for events that bring none and for ``$maxAge``; a ``Clock`` can be set.

    Attributes
    ----------
    faults
        Switches for faults, see ``Faults``.
    ca_file
        With TLS, the file of the certificate authority.

    Raises
    ------
    UsageError
        A host in brackets, a port or a time that is none, a user name without TLS or password, or one that cannot stand in a URI.

    Examples
    --------
    >>> from esdbclient import EventStoreDBClient, NewEvent, StreamState
    >>> with EmbeddedStore() as store:
    ...     client = EventStoreDBClient(store.uri)
    ...     _ = client.append_event("user-1", current_version=StreamState.NO_STREAM, event=NewEvent(type="a", data=b"{}"))
    ...     print([event.type for event in client.read_all()])
    ...     client.close()
    ['a']
    """

    def __init__(
        self,
        data: str | Path | None = None,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        tls: bool = False,
        username: str | None = None,
        password: str | None = None,
        users: Mapping[str, Account] | None = None,
        accept_timestamps: bool = True,
        links: bool = False,
        keep_alive: float = KEEP_ALIVE,
        refused_position: Literal["25.0", "23.10"] = "25.0",
        clock: Callable[[], int] | None = None,
    ) -> None:
        if refused_position not in _REFUSED_POSITION:
            raise UsageError(f"refused_position={refused_position!r} is no version that can be modelled: use '25.0' or '23.10'.")
        if not 0 <= port <= 65_535:
            raise UsageError(f"{port!r} is no port: ports run from 1 to 65535, and 0 takes a free one.")
        if host.startswith("["):
            raise UsageError(f"The host {host!r} has brackets: leave them out, as in host='::1'.")
        if (username is None) != (password is None):
            raise UsageError("A user name and a password go together: give both, or neither.")
        if (username is not None or users) and not tls:
            raise UsageError("Clients send a password over TLS only: add tls=True, or leave the users away.")
        if tls and username is None:
            # esdbclient refuses a URI with TLS and without a user, even where nobody asks for one.
            username, password = "admin", "changeit"
        accounts = dict(users or {})
        if username is not None and password is not None:
            accounts[username] = Account(password, admin=True)
        for name, account in accounts.items():
            if not (re.fullmatch(r"[A-Za-z0-9._~-]+", name) and re.fullmatch(r"[A-Za-z0-9._~!$&'()*+,;=-]+", account.password)):
                raise UsageError(f"The name or password of user {name!r} cannot stand in a URI: use letters, digits and . _ ~ - only.")
        self.clock = Clock() if clock is None else clock
        self.ca_file: Path | None = None
        self.faults = Faults(plan := FaultPlan(), rewrite=self._rewrite, record=self._record, notify=self._notify)
        self._plan = plan
        self._data = None if data is None else Path(data)
        self._host = host
        self._requested_port = port
        self._port = 0
        self._tls = tls
        self._username = username
        self._users = accounts
        self._accept_timestamps = accept_timestamps
        self._links = links
        self._connection_options = channel_options(keep_alive)
        self._refused_position = _REFUSED_POSITION[refused_position]
        self._running: _Running | None = None
        self._opened = ExitStack()
        self._stopped = threading.Event()
        self._stopped.set()

    # -- life

    def start(self) -> Self:
        """Open the log and serve it.

        Raises
        ------
        EmbeddedStoreError
            It runs already, the port is taken, or the data folder is in use, not a store's, or cannot be written.
        """
        if self._running is not None:
            raise EmbeddedStoreError(f"The embedded store already runs at {self.address}: stop it first.")
        with ExitStack() as undo:
            storage = self._open_storage()
            undo.callback(storage.close)
            log = Log(storage, now=self.clock)
            log.load()
            own = self._credentials(undo)
            self._running = loop.run(self._serve(log, own))
            self._opened = undo.pop_all()
        self._stopped.clear()
        return self

    def stop(self) -> None:
        """End all calls, write what was taken, and close the log. Does nothing if the store does not run."""
        running, self._running = self._running, None
        if running is not None:
            if not sys.is_finalizing():  # when Python ends, it closes what is still open, and the thread of the loop runs no more
                loop.run(running.stop())
            self._opened.close()
            self._stopped.set()

    def wait(self, *, timeout: float | None = None) -> bool:
        """Block until the store is stopped, or seconds have passed; return whether it is stopped."""
        return self._stopped.wait(timeout)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        where = f"at {self.address}" if self._running is not None else "stopped"
        return f"<EmbeddedStore {where}, {'in memory' if self._data is None else f'data in {self._data}'}>"

    # -- address

    @property
    def port(self) -> int:
        """The port that is listened at; 0 before the first start."""
        return self._port

    @property
    def address(self) -> str:
        """Host and port, without credentials; an IPv6 address stands in brackets."""
        return join_host_port(self._host, self._port)

    @property
    def uri(self) -> str:
        """The connection string for clients. With TLS it holds user name and password."""
        return self.uri_for(self._username)

    def uri_for(self, user: str | None) -> str:
        """Return the connection string of a user, or of nobody."""
        login = "" if user is None else f"{user}:{self._users[user].password}@"
        if not self._tls:
            return f"esdb://{login}{self.address}?tls=false"
        return f"esdb://{login}{self.address}?tls=true&tlsCaFile={quote(str(self.ca_file))}"

    # -- writing past the wire

    def append(self, stream: str, events: Sequence[NewEvent], *, expected: int = ANY) -> AppendResult:
        """Append events without a client, and return where they went once they are safely recorded.

        Faults that delay or lose the answer to a client do not touch this.

        Raises
        ------
        WrongRevision, Tombstoned
            As a client is told.
        """
        return self._record(lambda log: log.append(stream, events, expected=expected))

    def _record(self, append: Callable[[Log], AppendResult]) -> AppendResult:
        node = self._here().node

        async def recorded() -> AppendResult:
            done = append(node.log)
            node.settle()
            await node.written(done.count)
            return done

        return loop.run(recorded())

    def _rewrite(self, change: Callable[[Log], None]) -> None:
        loop.run(self._here().node.rewrite(change))

    def _notify(self) -> None:
        """Wake all who wait, and return when a change of the faults is in effect."""
        if self._running is None:
            return
        node = self._running.node

        async def notified() -> None:
            node.notify()

        loop.run(notified())

    def _here(self) -> _Running:
        if self._running is None:
            raise EmbeddedStoreError("The embedded store does not run: start it first.")
        return self._running

    # -- starting

    def _open_storage(self) -> Storage:
        if self._data is None:
            return MemoryStorage()
        storage = SqliteStorage(self._data)
        storage.open()
        return storage

    def _credentials(self, undo: ExitStack) -> grpc.ServerCredentials | None:
        if not self._tls:
            return None
        if self._data is None:
            folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="embedded-store-")))
        else:
            folder = self._data / "tls"
        own = credentials(folder, host=self._host)
        self.ca_file = own.ca_file
        return grpc.ssl_server_credentials([(own.key, own.certificate)])

    async def _serve(self, log: Log, own: grpc.ServerCredentials | None) -> _Running:
        node = EmbeddedNode(
            log,
            accounts=Accounts(self._users),
            plan=self._plan,
            now=self.clock,
            accept_timestamps=self._accept_timestamps,
            refused_position=self._refused_position,
        )
        dates = DateHeader(self.clock, is_on=lambda: self._plan.date_header)
        server = grpc.aio.server(interceptors=[dates], options=(*_OPTIONS, *self._connection_options))
        server.add_generic_rpc_handlers(handlers(node))
        where = join_host_port(self._host, self._requested_port)
        try:
            self._port = server.add_insecure_port(where) if own is None else server.add_secure_port(where, own)
        except RuntimeError as error:
            raise EmbeddedStoreError(
                f"The embedded store cannot listen at {where}: the port is taken, or the address is not this machine's. Name "
                "another port, or 0 for a free one."
            ) from error
        node.address = (self._host, self._port)
        if self._links:
            node.projections = Projections(log)
            node.settle()
        node.start()
        await server.start()
        return _Running(server, node)


@dataclass(frozen=True, slots=True)
class _Running:
    """A started store."""

    server: grpc.aio.Server
    node: EmbeddedNode

    async def stop(self) -> None:
        await self.server.stop(_GRACE)
        await self.node.stop()
