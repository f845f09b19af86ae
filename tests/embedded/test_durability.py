"""What was acknowledged outlives the process that acknowledged it."""

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from esdbclient import EventStoreDBClient, StreamState
from esdbclient.protos.Grpc import streams_pb2, streams_pb2_grpc

from tests.embedded.wire import batch, events, proposed
from workbench.embedded import EmbeddedStore

SERVER = """
import sys
import threading
from collections.abc import Iterator
from workbench.embedded import EmbeddedStore
with EmbeddedStore(sys.argv[1]) as store:
    print(store.address, flush=True)
    store.wait()
"""


@pytest.mark.parametrize("kill_after", [1, 150, 700])
def test_a_killed_server_loses_no_acknowledged_event(tmp_path: Path, kill_after: int) -> None:
    data = tmp_path / "data"
    acknowledged: dict[str, int] = {}
    requests = [batch(f"s-{number % 20}", events(number % 3 + 1)) for number in range(2_000)]
    ended = threading.Event()

    def sending() -> Iterator[streams_pb2.BatchAppendReq]:
        yield from requests
        ended.wait(60)  # a call that is left open cannot end well before the kill, however slowly its replies are taken

    with subprocess.Popen([sys.executable, "-c", SERVER, str(data)], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            with grpc.insecure_channel(server.stdout.readline().strip()) as channel:
                replies = streams_pb2_grpc.StreamsStub(channel).BatchAppend(sending(), timeout=60)
                with pytest.raises(grpc.RpcError):
                    _collect(replies, acknowledged, server, kill_after)
        finally:
            server.kill()
            ended.set()
    assert server.returncode == -signal.SIGKILL
    sent = [str(event.id.string) for request in requests for event in request.proposed_messages]
    with EmbeddedStore(data) as store:
        client = EventStoreDBClient(store.uri)
        found = [str(event.id) for event in client.read_all()]
        positions = [event.commit_position for event in client.read_all()]
        client.close()
    assert found == sent[: len(found)]  # a prefix: nothing is missing in the middle, nothing is there twice
    ends = {request.correlation_id.string: request.proposed_messages[-1].id.string for request in requests}
    for correlation, position in acknowledged.items():
        assert positions[found.index(ends[correlation])] == position
    assert len(acknowledged) >= kill_after


def _collect(replies: grpc.Call, acknowledged: dict[str, int], server: subprocess.Popen[str], kill_after: int) -> None:
    for reply in replies:
        assert isinstance(reply, streams_pb2.BatchAppendResp)
        acknowledged[reply.correlation_id.string] = reply.success.position.commit_position
        if len(acknowledged) == kill_after:
            server.kill()
    raise AssertionError("the server outlived it all")


def test_a_disk_that_is_full_refuses_appends_and_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedStore(tmp_path) as store:
        store.append("s", events(2))
        with grpc.insecure_channel(store.address) as channel:
            stub = streams_pb2_grpc.StreamsStub(channel)

            def full(*_: object) -> None:
                raise sqlite3.OperationalError("database or disk is full")

            monkeypatch.setattr("workbench.embedded.recording.storage.SqliteStorage.write", full)
            for _ in range(2):
                with pytest.raises(grpc.RpcError) as caught:
                    list(stub.BatchAppend(iter([batch("s", events(1))]), timeout=10))
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
                assert "disk is full" in (caught.value.details() or "")
            monkeypatch.undo()
        client = EventStoreDBClient(store.uri)
        assert len(client.get_stream("s")) == 2
        client.close()
    with EmbeddedStore(tmp_path) as store:
        assert store.append("s", events(1)).revision == 2


def test_no_append_can_keep_a_store_from_starting_again(tmp_path: Path) -> None:
    deep = b"[" * 200_000 + b"]" * 200_000
    sent = [proposed("$metadata", deep), proposed("$metadata", b'{"$maxCount":1}')]
    for _ in range(2):
        with EmbeddedStore(tmp_path) as store:
            client = EventStoreDBClient(store.uri)
            client.append_to_stream("$$x-1", current_version=StreamState.NO_STREAM, events=sent)  # the second time it is there
            assert [event.id for event in client.read_all(filter_exclude=())] == [event.id for event in sent]
            client.close()


def test_what_was_taken_is_written_before_a_store_stops(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store:
        for _ in range(50):
            last = store.append("s", events(1))
    with EmbeddedStore(tmp_path) as store:
        assert store.append("s", events(1)).revision == last.revision + 1
