"""Where the tests get their event stores from: the embedded one, or a server that somebody else wrote.

``WORKBENCH_TEST_SERVER`` names it:

``embedded``
    The embedded store, in the process of the test. The default.
``command:PROGRAM --port {port} --data {data}``
    A program that serves without TLS and login at a port of 127.0.0.1 and keeps its data in a directory that does not exist yet;
    ``{data}`` may be left out. Each test gets a fresh one; the next is started ahead. To try this without a KurrentDB:
    ``command:.venv/bin/python -m tests.stranger --port {port} --data {data}``.
``docker:IMAGE``
    A container of KurrentDB's official image for each test, insecure and in memory; the next is started ahead. Allow two seconds a
    test. Untried: nobody has run this yet.
``esdb://127.0.0.1:2113?tls=false``
    A server that runs already, without TLS and login, for tests that take any log. **They write into it.** Another machine than
    this one is refused unless ``WORKBENCH_TEST_ANYWHERE=1``.

A test asks the fixture ``store`` for a running store, or ``new_store`` for more of them, and says by ``@pytest.mark.needs(…)`` what
not every server has; see ``NEEDS``. It counts from where the log began: a KurrentDB writes events of its own when it starts.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Protocol

import grpc
from esdbclient.protos.Grpc import shared_pb2, streams_pb2, streams_pb2_grpc

from workbench import kurrent
from workbench.embedded import Account, Clock, EmbeddedStore, Faults, Member, NewEvent

__all__ = ["NEEDS", "Account", "Clock", "Member", "NewEvent", "Server", "Store", "clock_of", "read_all", "server_of"]

NEEDS: Final = {
    "fresh server": "a server for this test alone, which it may stop, with nothing in its log but the server's own events",
    "empty log": "a fresh server whose log begins without any event",
    "timestamps": "a server that lets a writer say when its events were recorded",
    "clock": "a server whose clock the test sets",
    "faults": "a server that fails when it is told to, or that is set up in an uncommon way",
    "tls": "a server that speaks TLS with a private authority",
    "users": "a server with the users that the test names",
    "disk": "a server whose data directory the test looks into",
}
"""The words of ``@pytest.mark.needs(…)``."""

DEADLINE: Final = 60.0
"""Seconds that a single call of the tests may take."""

_START_SECONDS = 90.0
_OWN_EVENTS_SECONDS = 3.0  # within which a real server has written its first event
_LOOPBACK = "127.0.0.1"


class Store(Protocol):
    """A running event store, as tests see it."""

    @property
    def uri(self) -> str:
        """The connection string."""

    @property
    def address(self) -> str:
        """Host and port."""

    def append(self, stream: str, events: Sequence[NewEvent], /) -> object:
        """Append events, whatever the stream's revision, and return once they are recorded."""

    def stop(self) -> None:
        """Stop the server in good order; ``needs("fresh server")``."""

    @property
    def faults(self) -> Faults:
        """Switches for faults; ``needs("faults")``."""

    @property
    def clock(self) -> Callable[[], int]:
        """The clock of the store, see :func:`clock_of`; ``needs("clock")``."""

    @property
    def ca_file(self) -> Path | None:
        """The file of the certificate authority; ``needs("tls")``."""

    def uri_for(self, user: str | None, /) -> str:
        """The connection string of a user, or of nobody; ``needs("users")``."""


class Server(Protocol):
    """A kind of event store, and what it offers to tests."""

    name: str

    @property
    def offers(self) -> frozenset[str]:
        """The words of ``NEEDS`` that hold for its stores."""

    def serve(self, **options: Any) -> AbstractContextManager[Store]:
        """Give a running store for as long as the block lasts. Options are those of ``EmbeddedStore``, and need a word."""

    def close(self) -> None:
        """End what was started ahead."""


def server_of(text: str) -> Server:
    """Return the server that a value of ``WORKBENCH_TEST_SERVER`` names.

    Raises
    ------
    ValueError
        It names none; the message says what it may be.
    """
    kind, _, rest = text.partition(":")
    if text in {"", "embedded"}:
        return _Embedded()
    if kind == "command" and "{port}" in rest:
        return _Started(text, _command(rest))
    if kind == "docker" and rest:
        if shutil.which("docker") is None:
            raise ValueError(f"WORKBENCH_TEST_SERVER is {text!r}, and there is no command docker here.")
        return _Started(text, _container(rest))
    if "://" in text:
        return _Running(text)
    raise ValueError(
        f"WORKBENCH_TEST_SERVER is {text!r}: it must be embedded, command:PROGRAM with {{port}} in it, docker:IMAGE, or an address "
        "like esdb://127.0.0.1:2113?tls=false."
    )


def clock_of(store: Store) -> Clock:
    """Return a store's clock, to be set."""
    assert isinstance(store.clock, Clock)
    return store.clock


def read_all(address: str, *, backwards: bool = False, count: int = 2**62, deadline: float = DEADLINE) -> list[Any]:
    """Read ``$all`` with protobuf's own parser, and return its recorded events."""
    options = streams_pb2.ReadReq.Options
    end = {"end": shared_pb2.Empty()} if backwards else {"start": shared_pb2.Empty()}
    request = streams_pb2.ReadReq(
        options=options(
            all=options.AllOptions(**end),
            read_direction=options.Backwards if backwards else options.Forwards,
            count=count,
            no_filter=shared_pb2.Empty(),
            uuid_option=options.UUIDOption(string=shared_pb2.Empty()),
        )
    )
    with grpc.insecure_channel(address) as channel:
        answers = streams_pb2_grpc.StreamsStub(channel).Read(request, timeout=deadline)
        return [answer.event.event for answer in answers if answer.HasField("event")]


class _Embedded:
    """The embedded store, in this process."""

    name = "embedded"
    offers = frozenset(NEEDS)

    def serve(self, **options: Any) -> AbstractContextManager[Store]:
        return EmbeddedStore(**options)

    def close(self) -> None:
        pass


class _Foreign:
    """A store of which nothing is known but its address. It is written to by a client, as anybody would."""

    def __init__(self, uri: str, stop: Callable[[], None] | None = None) -> None:
        self.uri = uri
        self.address = uri.partition("://")[2].partition("?")[0].rpartition("@")[2].rstrip("/")
        self._stop = stop
        self._connection: kurrent.Connection | None = None
        self._writing = threading.Lock()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def append(self, stream: str, events: Sequence[NewEvent], /) -> None:
        proposed = [
            kurrent.EventToWrite(event.type, event.data, event.metadata, event_id=str(event.id), is_json=event.is_json, ticks=event.created)
            for event in events
        ]
        with self._writing:
            if self._connection is None:
                self._connection = kurrent.connect(self.uri)
            with self._connection.writer() as writer:
                writer.append(stream, proposed, expected=kurrent.ANY)

    def stop(self) -> None:
        assert self._stop is not None, 'The test must say needs("fresh server").'
        self._stop()

    @property
    def faults(self) -> Faults:
        raise AssertionError('The test must say needs("faults").')

    @property
    def clock(self) -> Callable[[], int]:
        raise AssertionError('The test must say needs("clock").')

    @property
    def ca_file(self) -> Path | None:
        raise AssertionError('The test must say needs("tls").')

    def uri_for(self, user: str | None, /) -> str:
        raise AssertionError('The test must say needs("users").')


class _Running:
    """A server that runs already, and has who knows what in its log."""

    offers: frozenset[str] = frozenset()

    def __init__(self, uri: str) -> None:
        self.name = re.sub(r"//[^/?]*@", "//", uri)
        self._store = _Foreign(uri)
        host = self._store.address.rpartition(":")[0]
        if "tls=false" not in uri.replace("tls=False", "tls=false"):
            raise ValueError(f"WORKBENCH_TEST_SERVER is {self.name}: the tests take a server without TLS, with ?tls=false.")
        if not (_is_loopback(host) or os.environ.get("WORKBENCH_TEST_ANYWHERE") == "1"):
            raise ValueError(
                f"WORKBENCH_TEST_SERVER is {self.name}, which is not on this machine, and the tests would write into it. If that is "
                "what you want, set WORKBENCH_TEST_ANYWHERE=1."
            )

    @contextmanager
    def serve(self, **options: Any) -> Iterator[Store]:
        assert not options, "A test with a store of its own making must say by needs(…) what that is."
        yield self._store

    def close(self) -> None:
        self._store.close()


Start = Callable[[int, Path], tuple[Callable[[], None], Callable[[], None], Callable[[], str | None]]]
"""Starts a server at a port, with a directory; returns how it is stopped, how it is killed, and how one learns why it died."""


class _Started:
    """A program that is started anew for each test; the next one is started while a test runs."""

    def __init__(self, name: str, start: Start) -> None:
        self.name = name
        self._start = start
        self._ahead: _Process | None = None

    @cached_property
    def offers(self) -> frozenset[str]:
        found = {"fresh server"}
        with self._taken() as process:
            process.wait_until_ready()
            if not process.has_events(within=_OWN_EVENTS_SECONDS):
                found.add("empty log")
            with kurrent.connect(process.uri) as connection:
                if connection.accepts_timestamps:
                    found.add("timestamps")
        return frozenset(found)

    @contextmanager
    def serve(self, **options: Any) -> Iterator[Store]:
        assert not options, "A test with a store of its own making must say by needs(…) what that is."
        empty = "empty log" in self.offers
        with self._taken() as process:
            process.wait_until_ready()
            assert empty or process.has_events(within=_START_SECONDS), f"{self.name} has written no event of its own."
            store = _Foreign(process.uri, process.stop)
            try:
                yield store
            finally:
                store.close()

    @contextmanager
    def _taken(self) -> Iterator[_Process]:
        process, self._ahead = self._ahead or _Process(self._start), None
        try:
            self._ahead = _Process(self._start)
            yield process
        finally:
            process.close()

    def close(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None


class _Process:
    """A started server and its directory."""

    def __init__(self, start: Start) -> None:
        with socket.socket() as probe:
            probe.bind((_LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        self.uri = f"esdb://{_LOOPBACK}:{port}?tls=false"
        self._address = f"{_LOOPBACK}:{port}"
        with ExitStack() as undo:
            place = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="workbench-test-store-")))
            self.stop, kill, self._died = start(port, place)
            undo.callback(kill)
            self._undo = undo.pop_all()

    def wait_until_ready(self) -> None:
        """Wait until the server answers a read of its log."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                read_all(self._address, backwards=True, count=1, deadline=2)
            except grpc.RpcError as error:
                died = self._died()
                if died is not None:
                    raise RuntimeError(f"The server under test ended: {died}") from error
                if time.monotonic() > deadline:
                    raise RuntimeError(f"The server under test did not answer in {_START_SECONDS:.0f} seconds.") from error
                time.sleep(0.1)
            else:
                return

    def has_events(self, *, within: float) -> bool:
        """Wait until there is an event in the log, and return whether there was one in time."""
        deadline = time.monotonic() + within
        while not (found := read_all(self._address, backwards=True, count=1)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return bool(found)

    def close(self) -> None:
        self._undo.close()


def _command(text: str) -> Start:
    directory = Path.cwd()  # of whoever wrote the command; a test may be elsewhere when the next one is started

    def start(port: int, place: Path) -> tuple[Callable[[], None], Callable[[], None], Callable[[], str | None]]:
        words = [word.replace("{port}", str(port)).replace("{data}", str(place / "data")) for word in shlex.split(text)]
        with (place / "output").open("wb") as output:
            process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, cwd=directory)

        def stop() -> None:
            process.terminate()
            process.wait(30)

        def kill() -> None:
            # The whole group: the program may be a shell that has started the server.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

        def died() -> str | None:
            if process.poll() is None:
                return None
            return f"status {process.returncode}\n{(place / 'output').read_text(encoding='utf-8', errors='replace')[-2000:]}"

        return stop, kill, died

    return start


def _container(image: str) -> Start:
    def start(port: int, place: Path) -> tuple[Callable[[], None], Callable[[], None], Callable[[], str | None]]:
        docker = shutil.which("docker") or "docker"
        words = [docker, "run", "--detach", "--publish", f"{_LOOPBACK}:{port}:2113", image, "--insecure", "--mem-db"]
        name = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

        def stop() -> None:
            subprocess.run([docker, "stop", name], check=True, capture_output=True)

        def kill() -> None:
            subprocess.run([docker, "rm", "--force", "--volumes", name], check=True, capture_output=True)

        def died() -> str | None:
            asked = [docker, "inspect", "--format", "{{.State.Running}}", name]
            if subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip() == "true":
                return None
            said = subprocess.run([docker, "logs", "--tail", "20", name], check=True, capture_output=True, text=True)
            return said.stdout + said.stderr

        return stop, kill, died

    return start


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
