"""A connection carries as many calls as one to a real server, and a client that does not answer is dropped as there."""

import math
import socket
import struct
from collections.abc import Iterator
from itertools import islice

import grpc
import pytest
from esdbclient.protos.Grpc import streams_pb2_grpc

from tests.embedded.wire import events, read_all, recorded
from workbench.embedded import EmbeddedStore
from workbench.embedded.connections import STREAMS, channel_options
from workbench.errors import UsageError

SETTINGS, PING, GOAWAY = 4, 6, 7
ACK = 1


def frame(kind: int, flags: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + bytes(4) + payload


def greeted(store: EmbeddedStore) -> socket.socket:
    """A connection that has sent no more than HTTP/2's preface."""
    connection = socket.create_connection(("127.0.0.1", store.port), timeout=20)
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS))
    return connection


def frames(connection: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """Type, flags and payload of what the server sends, until it closes the connection."""
    with connection.makefile("rb") as received:
        while len(head := received.read(9)) == 9:
            yield head[3], head[4], received.read(int.from_bytes(head[:3], "big"))


def test_a_client_that_answers_no_ping_is_told_and_dropped() -> None:
    with EmbeddedStore(keep_alive=0.3) as store, greeted(store) as connection:
        seen = [(kind, payload) for kind, flags, payload in frames(connection) if kind in {PING, GOAWAY} and not flags & ACK]
    assert [kind for kind, _ in seen] == [PING, GOAWAY]
    assert b"ping" in seen[-1][1]


def test_a_client_that_answers_pings_is_kept() -> None:
    with EmbeddedStore(keep_alive=1.0) as store, greeted(store) as connection:
        answered = 0
        for kind, flags, payload in frames(connection):
            assert kind != GOAWAY
            if kind == PING and not flags & ACK:
                connection.sendall(frame(PING, ACK, payload))
                answered += 1
            if answered == 3:
                break
    assert answered == 3


def test_a_client_that_pings_often_is_not_refused() -> None:
    with EmbeddedStore() as store, greeted(store) as connection:
        for number in range(50):
            connection.sendall(frame(PING, 0, struct.pack(">Q", number)))
        answers = (payload for kind, flags, payload in frames(connection) if kind == PING and flags & ACK)
        assert [struct.unpack(">Q", payload)[0] for payload in islice(answers, 50)] == list(range(50))


def test_a_store_may_send_no_pings() -> None:
    assert "grpc.keepalive_time_ms" in dict(channel_options(10.0))
    assert "grpc.keepalive_time_ms" not in dict(channel_options(math.inf))


@pytest.mark.parametrize("seconds", [0, -1.0, math.nan])
def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="keep_alive"):
        EmbeddedStore(keep_alive=seconds)


def test_a_connection_carries_a_hundred_calls_and_more_wait(store: EmbeddedStore, stub: streams_pb2_grpc.StreamsStub) -> None:
    store.append("s", events(1))
    open_calls = [stub.Read(read_all(count=None), timeout=60) for _ in range(STREAMS)]
    for call in open_calls:
        assert len(recorded(islice(call, 2))) == 1
    waiting = stub.Read(read_all(), timeout=0.5)
    with pytest.raises(grpc.RpcError) as caught:
        list(waiting)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    open_calls[0].cancel()
    assert len(recorded(stub.Read(read_all(), timeout=20))) == 1
    for call in open_calls:
        call.cancel()
