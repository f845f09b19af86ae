"""The link of the tests breaks when it is told to, and only then."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.proxy import Proxy

SENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def server() -> Iterator[int]:
    """A port that sends a mebibyte to whoever writes it one byte, again and again."""

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while connection.recv(1):
                    connection.sendall(SENT)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join(10)
    for thread in threads:
        thread.join(10)


@pytest.fixture
def link(server: int) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", server) as proxy:
        yield proxy


def dial(link: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", link.port), timeout=10)


def received(client: socket.socket, count: int) -> tuple[bytes, str]:
    """Read so many bytes, or as many as come; and say how it ended."""
    found = b""
    try:
        while len(found) < count:
            piece = client.recv(65_536)
            if not piece:
                return found, "fin"
            found += piece
    except ConnectionResetError:
        return found, "reset"
    return found, "all"


def test_without_a_rule_everything_comes_through(link: Proxy) -> None:
    with dial(link) as client:
        for _ in range(3):
            client.sendall(b"x")
            assert received(client, len(SENT)) == (SENT, "all")
    assert (link.accepted, link.cuts) == (1, 0)


@pytest.mark.parametrize("by", ["reset", "fin"])
@pytest.mark.parametrize("count", [0, 1, 100_000])
def test_a_cut_lets_exactly_the_bytes_before_it_through(link: Proxy, by: str, count: int) -> None:
    link.cut_after(count, by="fin" if by == "fin" else "reset")
    with dial(link) as client:
        client.sendall(b"x")
        assert received(client, len(SENT)) == (SENT[:count], by)
    with dial(link) as client:  # once was asked for
        client.sendall(b"x")
        assert received(client, len(SENT)) == (SENT, "all")
    assert (link.accepted, link.cuts) == (2, 1)


def test_a_link_can_stall_instead_and_stays_open(link: Proxy) -> None:
    link.cut_after(70_000, by="stall")
    with dial(link) as client:
        client.sendall(b"x")
        assert received(client, 70_000) == (SENT[:70_000], "all")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
    assert link.cuts == 1


def test_cuts_go_on_on_every_connection_until_the_link_is_healed(link: Proxy) -> None:
    link.cut_every(70_000)
    for _ in range(4):
        with dial(link) as client:
            client.sendall(b"x")
            assert received(client, len(SENT)) == (SENT[:70_000], "reset")
    assert link.cuts == 4
    link.heal()
    with dial(link) as client:
        client.sendall(b"x")
        assert received(client, len(SENT)) == (SENT, "all")


def test_a_rule_counts_from_when_it_was_made(link: Proxy) -> None:
    with dial(link) as client:
        client.sendall(b"x")
        assert received(client, len(SENT))[1] == "all"
        link.cut_after(10)
        client.sendall(b"x")
        assert received(client, len(SENT)) == (SENT[:10], "reset")


def test_a_paused_link_is_silent_and_loses_nothing(link: Proxy) -> None:
    with dial(link) as client:
        link.pause()
        client.sendall(b"x")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        link.resume()
        client.settimeout(10)
        assert received(client, len(SENT)) == (SENT, "all")


def test_a_link_that_refuses_cuts_what_is_open_until_it_accepts_again(link: Proxy) -> None:
    with dial(link) as client:
        client.sendall(b"x")
        assert received(client, len(SENT))[1] == "all"
        link.refuse()
        assert received(client, 1)[1] == "reset"
        with pytest.raises(ConnectionRefusedError):
            dial(link)
    link.accept()
    with dial(link) as client:
        client.sendall(b"x")
        assert received(client, len(SENT)) == (SENT, "all")
