"""The pipelined writer, against a store, and against servers that answer as no healthy one does."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from esdbclient.protos.Grpc import shared_pb2, streams_pb2
from google.protobuf.any_pb2 import Any as AnyMessage

from tests.stores import Server, Store
from workbench.errors import (
    AccessDenied,
    SourceError,
    SourceUnavailable,
    StreamDeleted,
    UsageError,
    WorkbenchError,
    WrongExpectedRevision,
)
from workbench.kurrent import ANY, NO_STREAM, STREAM_EXISTS, Appended, BulkWriter, Connection, EventToWrite, connect
from workbench.kurrent.bulk_writer import WINDOW_REQUESTS
from workbench.kurrent.errors import Login, Peer


@pytest.fixture(scope="module")
def store(server: Server) -> Iterator[Store]:
    with server.serve() as running:
        yield running


@pytest.fixture
def source(store: Store) -> Iterator[Connection]:
    with connect(store.uri) as connection:
        yield connection


@pytest.fixture
def stream() -> str:
    return f"order-{uuid.uuid4()}"


def _recorded(source: Connection, stream: str) -> list[dict[str, Any]]:
    end = source.end()
    assert end is not None
    rows = [row for batch in source.read_batches(upto=end) for row in batch.events.to_pylist()]
    return [row for row in rows if row["stream"] == stream]


def test_an_event_is_recorded_byte_for_byte_with_its_id_and_flag(source: Connection, stream: str) -> None:
    event = EventToWrite("order.placed", b'{"a": 1.10, "\xc3\xa9": null}', b'{"$correlationId":"c"}')
    picture = EventToWrite("order.pictured", b"\x00\xff\x89PNG", b"plain text", is_json=False)
    with source.writer() as writer:
        appended = writer.append(stream, [event, picture], expected=NO_STREAM).result()
    first, second = _recorded(source, stream)
    assert (first["event_id"], first["type"], first["revision"]) == (event.event_id, "order.placed", 0)
    assert (first["data"].encode(), first["metadata"].encode()) == (event.data, event.metadata)
    assert first["is_json"] is True
    assert (second["data_bytes"], second["metadata_bytes"], second["is_json"]) == (picture.data, picture.metadata, False)
    assert appended == Appended(revision=1, position=second["position"])


@pytest.mark.needs("timestamps")
def test_an_event_is_recorded_at_its_own_time_to_the_tick(source: Connection, stream: str) -> None:
    with source.writer() as writer:
        writer.append(stream, [EventToWrite("a", ticks=17_000_000_000_000_003)], expected=NO_STREAM)
        writer.set_metadata(stream, {"owner": "me"}, ticks=5)
    assert [row["recorded_ticks"] for row in _recorded(source, stream)] == [17_000_000_000_000_003]
    assert [row["recorded_ticks"] for row in _recorded(source, f"$${stream}")] == [5]


@pytest.mark.needs("timestamps")
def test_an_event_without_a_time_of_its_own_is_stamped_by_the_store(source: Connection, stream: str) -> None:
    with source.writer() as writer:
        writer.append(stream, [EventToWrite("old", ticks=1), EventToWrite("new")], expected=NO_STREAM)
    old, new = _recorded(source, stream)
    assert old["recorded_ticks"] == 1
    assert new["recorded_ticks"] > 17_000_000_000_000_000


def test_thousands_of_appends_in_flight_are_carried_out_in_order(source: Connection, stream: str) -> None:
    count = 4 * WINDOW_REQUESTS
    with source.writer() as writer:
        pending = [writer.append(stream, [EventToWrite("n")], expected=i - 1 if i else NO_STREAM) for i in range(count)]
    answers = [answer.result() for answer in pending]
    assert [answer.revision for answer in answers] == list(range(count))
    positions = [answer.position for answer in answers]
    assert positions == sorted(set(positions))


def test_no_more_appends_than_the_window_are_in_flight(source: Connection, stream: str) -> None:
    with source.writer() as writer:
        pending = [writer.append(stream, [EventToWrite("n")], expected=ANY) for _ in range(3 * WINDOW_REQUESTS)]
        assert sum(not answer.done for answer in pending) <= WINDOW_REQUESTS


def test_large_events_pass_the_window_of_bytes(source: Connection, stream: str) -> None:
    with source.writer() as writer:
        answers = [writer.append(stream, [EventToWrite("big", bytes(900_000), is_json=False)], expected=ANY) for _ in range(24)]
    assert [answer.result().revision for answer in answers] == list(range(24))


@pytest.mark.parametrize("expected", [NO_STREAM, 0, 7])
def test_an_append_at_another_revision_is_refused_whole(source: Connection, stream: str, expected: Any) -> None:
    with source.writer() as writer:
        writer.append(stream, [EventToWrite("a"), EventToWrite("b")], expected=NO_STREAM)
        refused = writer.append(stream, [EventToWrite("c"), EventToWrite("d")], expected=expected)
        with pytest.raises(WrongExpectedRevision, match=rf"'{stream}' is at revision 1, and the append expected "):
            refused.result()
    assert [row["type"] for row in _recorded(source, stream)] == ["a", "b"]


def test_a_stream_that_must_exist_and_does_not_refuses_the_append(source: Connection, stream: str) -> None:
    with source.writer() as writer:
        pending = writer.append(stream, [EventToWrite("a")], expected=STREAM_EXISTS)
        with pytest.raises(WrongExpectedRevision, match="does not exist, and the append expected an existing stream"):
            pending.result()
        writer.append(stream, [EventToWrite("a")], expected=ANY)
        assert writer.append(stream, [EventToWrite("b")], expected=STREAM_EXISTS).result().revision == 1


def test_an_error_that_nobody_asked_for_is_raised_when_the_block_is_left(source: Connection, stream: str) -> None:
    def leave_two_errors_unasked() -> None:
        with source.writer() as writer:
            writer.append(stream, [EventToWrite("a")], expected=5)
            writer.append(stream, [EventToWrite("b")], expected=6)

    with pytest.raises(WrongExpectedRevision, match="revision 5"):
        leave_two_errors_unasked()


def test_an_error_that_was_asked_for_is_not_raised_again(source: Connection, stream: str) -> None:
    with source.writer() as writer:
        pending = writer.append(stream, [EventToWrite("a")], expected=5)
        with pytest.raises(WrongExpectedRevision):
            pending.result()
        writer.flush()
    with pytest.raises(WrongExpectedRevision):
        pending.result()


def test_an_exception_inside_the_block_is_not_hidden_by_refused_appends(source: Connection, stream: str) -> None:
    def fail_inside() -> None:
        with source.writer() as writer:
            writer.append(stream, [EventToWrite("a")], expected=5)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail_inside()


def test_the_same_event_ids_at_the_same_revision_are_recorded_once(source: Connection, stream: str) -> None:
    events = [EventToWrite("a"), EventToWrite("b")]
    with source.writer() as writer:
        first = writer.append(stream, events, expected=NO_STREAM).result()
        writer.append(stream, [EventToWrite("c")], expected=1)
        again = writer.append(stream, events, expected=NO_STREAM).result()
    assert again.revision == first.revision
    assert [row["type"] for row in _recorded(source, stream)] == ["a", "b", "c"]


def test_a_deleted_stream_goes_on_counting(source: Connection, stream: str) -> None:
    with source.writer() as writer:
        assert writer.revision(stream) is None
        writer.append(stream, [EventToWrite("a"), EventToWrite("b")], expected=NO_STREAM)
        writer.flush()
        assert writer.revision(stream) == 1
        writer.delete(stream, expected=1)
        assert writer.revision(stream) is None
        assert writer.append(stream, [EventToWrite("c")], expected=NO_STREAM).result().revision == 2
        assert writer.revision(stream) == 2


def test_a_deletion_comes_after_all_appends_made_before_it(source: Connection, stream: str) -> None:
    with source.writer() as writer:
        for i in range(200):
            writer.append(stream, [EventToWrite("a")], expected=i - 1 if i else NO_STREAM)
        writer.tombstone(stream, expected=199)
        pending = writer.append(stream, [EventToWrite("b")], expected=ANY)
        with pytest.raises(StreamDeleted, match=f"'{stream}' was deleted for good"):
            pending.result()
    assert [row["type"] for row in _recorded(source, stream)] == 200 * ["a"] + ["$streamDeleted"]


def test_a_deletion_at_another_revision_is_refused(source: Connection, stream: str) -> None:
    with source.writer() as writer:
        writer.append(stream, [EventToWrite("a")], expected=NO_STREAM)
        with pytest.raises(WrongExpectedRevision):
            writer.tombstone(stream, expected=9)
        with pytest.raises(WrongExpectedRevision):
            writer.delete(stream, expected=9)


def test_stream_metadata_is_an_event_of_the_metastream(source: Connection, stream: str) -> None:
    with source.writer() as writer:
        writer.set_metadata(stream, {"$maxCount": 3, "owner": "é"})
    (event,) = _recorded(source, f"$${stream}")
    assert (event["type"], event["data"]) == ("$metadata", '{"$maxCount":3,"owner":"é"}')


def test_an_append_of_nothing_or_at_a_negative_revision_is_wrong_use(source: Connection, stream: str) -> None:
    with source.writer() as writer:
        with pytest.raises(UsageError, match="at least one event"):
            writer.append(stream, [], expected=ANY)
        with pytest.raises(UsageError, match="of at least 0"):
            writer.append(stream, [EventToWrite("a")], expected=-1)


def test_a_writer_that_wrote_nothing_closes_quietly_and_then_refuses(source: Connection, stream: str) -> None:
    with source.writer() as writer:
        pass
    with pytest.raises(SourceError, match="this writer is closed"):
        writer.append(stream, [EventToWrite("a")], expected=ANY)


@pytest.mark.needs("fresh server")
def test_a_server_that_dies_ends_every_append_that_it_has_not_answered(new_store: Callable[..., Store]) -> None:
    store = new_store()
    with connect(store.uri) as source, source.writer() as writer:
        assert writer.append("a", [EventToWrite("a")], expected=ANY).result().revision == 0
        store.stop()

        def append_to_the_dead() -> None:
            writer.append("a", [EventToWrite("b")], expected=ANY).result()

        with pytest.raises(WorkbenchError) as first:
            append_to_the_dead()
        assert isinstance(first.value, SourceError)
        with pytest.raises(type(first.value)):
            writer.append("a", [EventToWrite("c")], expected=ANY)


@contextmanager
def _control_c(*, after: float) -> Iterator[None]:
    """Press Ctrl-C once, from outside, and see that it is handled afterwards as it was before."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("after", [0.05, 0.1, 0.2])
def test_control_c_ends_a_busy_writer_and_leaves_the_channel_usable_from_any_thread(source: Connection, stream: str, after: float) -> None:
    def write_for_ever() -> None:
        with source.writer() as writer:
            while True:
                writer.append(stream, [EventToWrite("a")], expected=ANY)

    with pytest.raises(KeyboardInterrupt), _control_c(after=after):
        write_for_ever()
    with ThreadPoolExecutor(1) as threads:
        revision = threads.submit(lambda: source.writer().revision(stream)).result(20)
    assert revision is None or revision >= 0


# Servers that answer as no healthy one does.

Handler = Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]


@contextmanager
def _writer_to(handler: Handler, *, patience: float = 20.0, address: Peer | str = "esdb://there") -> Iterator[BulkWriter]:
    """Serve BatchAppend by a function, and give a writer to it."""
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        method = grpc.stream_stream_rpc_method_handler(handler)
        service = grpc.method_handlers_generic_handler("event_store.client.streams.Streams", {"BatchAppend": method})
        server.add_generic_rpc_handlers((service,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            writer = BulkWriter(channel, address=address, patience=patience)
            try:
                yield writer
            finally:
                writer.close()
        server.stop(None).wait(10)


def _replies(detail: Any, *, message: str = "") -> Handler:
    def reply(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for raw in requests:
            response = streams_pb2.BatchAppendResp(correlation_id=streams_pb2.BatchAppendReq.FromString(raw).correlation_id)
            response.error.message = message
            packed = AnyMessage()
            packed.Pack(detail)
            response.error.details.CopyFrom(packed)
            yield response.SerializeToString()

    return reply


@pytest.mark.parametrize(
    ("detail", "error", "words"),
    [
        (shared_pb2.AccessDenied(), AccessDenied, "may not append"),
        (shared_pb2.Timeout(), SourceUnavailable, "in time"),
        (shared_pb2.MaximumAppendSizeExceeded(maxAppendSize=77), SourceError, "limit of 77 bytes"),
        (shared_pb2.BadRequest(message="no such thing"), SourceError, "no such thing"),
        (shared_pb2.InvalidTransaction(), SourceError, "because"),
        (shared_pb2.Unknown(), SourceError, "because"),
        (shared_pb2.StreamDeleted(), StreamDeleted, "tombstoned"),
        (shared_pb2.WrongExpectedVersion(current_stream_revision=4), WrongExpectedRevision, "is at revision 4"),
        (shared_pb2.WrongExpectedVersion(current_stream_revision=0), WrongExpectedRevision, "is at revision 0"),
        (shared_pb2.WrongExpectedVersion(current_no_stream={}), WrongExpectedRevision, "does not exist"),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "DESCRIPTOR") else None,
)
def test_each_refusal_becomes_an_error_that_names_address_and_stream(detail: Any, error: type[Exception], words: str) -> None:
    with _writer_to(_replies(detail, message="because")) as writer, pytest.raises(error, match=words) as caught:
        writer.append("order-1", [EventToWrite("a")], expected=ANY).result()
    assert str(caught.value).startswith("esdb://there: stream 'order-1'")


def test_an_event_beyond_the_servers_limit_is_told_with_its_id_its_size_and_the_limit() -> None:
    def refuse(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for raw in requests:
            request = streams_pb2.BatchAppendReq.FromString(raw)
            response = streams_pb2.BatchAppendResp(correlation_id=request.correlation_id)
            response.error.message = "Maximum Append Event Size Exceeded"
            response.error.details.type_url = "type.googleapis.com/event_store.client.MaximumAppendEventSizeExceeded"
            event_id = request.proposed_messages[0].id.string.encode()
            response.error.details.value = b"\x0a\x24" + event_id + b"\x10\xd2\x09" + b"\x18\x80\x08"  # 1234 and 1024 as varints
            yield response.SerializeToString()

    with _writer_to(refuse) as writer:
        event = EventToWrite("a")
        words = rf"stream 'a': event {event.event_id} has 1234 bytes, more than the server's limit of 1024 bytes for one event"
        with pytest.raises(SourceError, match=words):
            writer.append("a", [event], expected=ANY).result()


def test_a_writer_without_a_login_is_told_that_none_was_sent() -> None:
    def refuse(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from _replies(shared_pb2.AccessDenied())(requests, context)

    peer = Peer("esdb://there", Login.NONE)
    with _writer_to(refuse, address=peer) as writer, pytest.raises(AccessDenied, match="none was sent: there is no user and no password"):
        writer.append("a", [EventToWrite("a")], expected=ANY).result()


def test_answers_are_matched_by_correlation_id_in_any_order_and_in_either_form() -> None:
    def backwards(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        several = [streams_pb2.BatchAppendReq.FromString(next(requests)) for _ in range(3)]
        for request in reversed(several):
            structured = request.correlation_id.structured
            number = structured.most_significant_bits << 64 | structured.least_significant_bits
            response = streams_pb2.BatchAppendResp(correlation_id=shared_pb2.UUID(string=str(uuid.UUID(int=number))))
            response.success.current_revision = int(request.options.stream_identifier.stream_name)
            yield response.SerializeToString()

    with _writer_to(backwards) as writer:
        pending = [writer.append(str(i), [EventToWrite("a")], expected=ANY) for i in range(3)]
        assert [answer.result().revision for answer in pending] == [0, 1, 2]


def test_a_server_that_falls_silent_is_given_up() -> None:
    over = threading.Event()

    def silence(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        over.wait(20)
        yield from ()

    with _writer_to(silence, patience=0.4) as writer:
        pending = writer.append("a", [EventToWrite("a")], expected=ANY)
        with pytest.raises(SourceUnavailable, match=r"no answer in 0\.4 seconds"):
            pending.result()
        over.set()


def test_control_c_ends_the_wait_for_a_silent_server() -> None:
    over = threading.Event()

    def silence(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        over.wait(60)
        yield from ()

    def wait_for_an_answer() -> None:
        with _writer_to(silence, patience=60) as writer:
            try:
                writer.append("a", [EventToWrite("a")], expected=ANY).result()
            finally:
                over.set()

    with pytest.raises(KeyboardInterrupt), _control_c(after=0.5):
        wait_for_an_answer()


def test_a_server_that_ends_the_call_too_early_is_an_error_even_if_it_says_all_is_well() -> None:
    def leave(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        next(requests)
        yield from ()

    with _writer_to(leave) as writer, pytest.raises(SourceUnavailable, match="the server ended the call") as caught:
        writer.append("a", [EventToWrite("a")], expected=ANY).result()
    assert "1 append was not answered, and may have been recorded. Append again with the same event ids" in str(caught.value)
    assert "until it restarts" in str(caught.value)


def test_a_call_that_is_refused_tells_why() -> None:
    def refuse(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "Access Denied")
        yield from ()

    with _writer_to(refuse) as writer, pytest.raises(AccessDenied):
        writer.append("a", [EventToWrite("a")], expected=ANY).result()


def test_nothing_at_the_address_is_an_error_of_the_first_append() -> None:
    with grpc.insecure_channel("127.0.0.1:1") as channel, BulkWriter(channel, address="esdb://nowhere") as writer:
        pending = writer.append("a", [EventToWrite("a")], expected=ANY)
        with pytest.raises(SourceUnavailable, match="esdb://nowhere: nothing answers there"):
            pending.result()


@pytest.mark.needs("fresh server", "disk")
@pytest.mark.parametrize("first", [NO_STREAM, 0])
def test_after_a_restart_an_id_is_not_recorded_twice_with_no_stream_or_an_exact_revision(
    new_store: Callable[..., Store], tmp_path: Path, first: Any
) -> None:
    event = EventToWrite("a")
    before = [] if first is NO_STREAM else [EventToWrite("begin")]
    appended = []
    for _ in range(2):
        store = new_store(data=tmp_path / "data")
        with connect(store.uri) as source, source.writer() as writer:
            if before:
                writer.append("order-1", before, expected=NO_STREAM)
            appended.append(writer.append("order-1", [event], expected=first).result())
            assert writer.revision("order-1") == len(before)
        store.stop()
    assert appended[0] == appended[1]
