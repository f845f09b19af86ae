"""What clients are answered when they write."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from queue import SimpleQueue
from uuid import uuid4

import esdbclient
import grpc
import pytest
from esdbclient import EventStoreDBClient, StreamState
from esdbclient.exceptions import MaximumAppendSizeExceededError, NotFound, StreamIsDeleted, WrongCurrentVersion
from esdbclient.protos.Grpc import shared_pb2, streams_pb2, streams_pb2_grpc

from tests.embedded.wire import batch, events, message, proposed
from workbench.embedded import Clock, EmbeddedStore, NewEvent, Tombstoned, WrongRevision

Append = Callable[..., int]


@pytest.fixture(params=["Append", "BatchAppend"])
def append(request: pytest.FixtureRequest, client: EventStoreDBClient) -> Append:
    """Append one event by either way that esdbclient has."""

    def by_append(stream: str, expected: int | StreamState, event: esdbclient.NewEvent) -> int:
        return client.append_event(stream, current_version=expected, event=event)

    def by_batch(stream: str, expected: int | StreamState, event: esdbclient.NewEvent) -> int:
        return client.append_events(stream, current_version=expected, events=[event])

    return by_append if request.param == "Append" else by_batch


def details_of(response: streams_pb2.BatchAppendResp, kind: type[shared_pb2.BadRequest]) -> shared_pb2.BadRequest:
    found = kind()
    assert response.error.details.Unpack(found), response
    return found


# -- both ways


def test_an_event_is_recorded_as_it_was_sent(append: Append, client: EventStoreDBClient) -> None:
    event = esdbclient.NewEvent(type="a.b", data=b"\x00\xff", metadata=b'{"m":1}', content_type="application/octet-stream")
    position = append("s-1", StreamState.NO_STREAM, event)
    (found,) = client.get_stream("s-1")
    assert (found.id, found.type, found.data, found.metadata) == (event.id, event.type, event.data, event.metadata)
    assert found.content_type == "application/octet-stream"
    assert (found.stream_name, found.stream_position) == ("s-1", 0)
    assert (found.commit_position, found.prepare_position) == (position, position)


def test_other_content_types_are_octets(append: Append, client: EventStoreDBClient) -> None:
    event = proposed()
    object.__setattr__(event, "content_type", "text/plain")
    append("s", StreamState.ANY, event)
    assert client.get_stream("s")[0].content_type == "application/octet-stream"


@pytest.mark.parametrize(
    ("expected", "said"),
    [(5, "Stream position of last event is 1 not 5"), (StreamState.NO_STREAM, "is 1 not"), (0, "is 1 not 0")],
)
def test_a_wrong_revision_is_told(append: Append, client: EventStoreDBClient, expected: int | StreamState, said: str) -> None:
    client.append_events("s", current_version=StreamState.ANY, events=[proposed(), proposed()])
    with pytest.raises(WrongCurrentVersion, match=said):
        append("s", expected, proposed())


@pytest.mark.parametrize("expected", [0, StreamState.EXISTS])
def test_a_missing_stream_is_told(append: Append, expected: int | StreamState) -> None:
    with pytest.raises(WrongCurrentVersion, match="does not exist"):
        append("s", expected, proposed())


def test_a_tombstoned_stream_is_told(append: Append, client: EventStoreDBClient) -> None:
    client.tombstone_stream("s", current_version=StreamState.ANY)
    with pytest.raises((StreamIsDeleted, esdbclient.exceptions.FailedPrecondition), match="is deleted"):
        append("s", StreamState.ANY, proposed())


def test_an_event_that_comes_twice_is_recorded_once(append: Append, client: EventStoreDBClient) -> None:
    event = proposed()
    first = append("s", StreamState.NO_STREAM, event)
    assert append("s", StreamState.NO_STREAM, event) == first
    assert append("s", StreamState.ANY, event) == first
    assert len(client.get_stream("s")) == 1


def test_the_ways_see_each_others_events(client: EventStoreDBClient) -> None:
    event = proposed()
    first = client.append_event("s", current_version=StreamState.NO_STREAM, event=event)
    assert client.append_events("s", current_version=StreamState.NO_STREAM, events=[event]) == first


# -- Append, raw


def append_requests(stream: str, *messages: streams_pb2.AppendReq.ProposedMessage) -> Iterator[streams_pb2.AppendReq]:
    options = streams_pb2.AppendReq.Options()
    options.stream_identifier.stream_name = stream.encode()
    options.any.SetInParent()
    yield streams_pb2.AppendReq(options=options)
    for one in messages:
        yield streams_pb2.AppendReq(proposed_message=one)


def append_message(**metadata: str) -> streams_pb2.AppendReq.ProposedMessage:
    return streams_pb2.AppendReq.ProposedMessage(id=shared_pb2.UUID(string=str(uuid4())), metadata=metadata)


def trailers(error: grpc.RpcError) -> dict[str, str]:
    return {pair.key: pair.value for pair in error.trailing_metadata()}


def test_the_refusal_of_an_append_says_both_revisions(stub: streams_pb2_grpc.StreamsStub) -> None:
    options = streams_pb2.AppendReq.Options(revision=7)
    options.stream_identifier.stream_name = b"s"
    refusal = stub.Append(iter([streams_pb2.AppendReq(options=options)])).wrong_expected_version
    assert refusal.expected_revision == refusal.expected_revision_20_6_0 == 7
    assert refusal.WhichOneof("current_revision_option") == "current_no_stream"


@pytest.mark.parametrize("missing", ["type", "content-type"])
def test_an_event_needs_a_type_and_a_content_type(stub: streams_pb2_grpc.StreamsStub, missing: str) -> None:
    metadata = {"type": "t", "content-type": "application/json"}
    del metadata[missing]
    with pytest.raises(grpc.RpcError) as caught:
        stub.Append(append_requests("s", append_message(**metadata)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == f"Required Metadata Property '{missing}' is missing"
    assert trailers(caught.value)["exception"] == "missing-required-metadata-property"


@pytest.mark.parametrize("event_id", ["", "no-uuid", "00000000-0000-0000-0000-000000000000"])
def test_an_event_needs_an_id(stub: streams_pb2_grpc.StreamsStub, event_id: str) -> None:
    one = append_message(**{"type": "t", "content-type": "application/json"})
    one.id.string = event_id
    with pytest.raises(grpc.RpcError) as caught:
        stub.Append(append_requests("s", one))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("stream", ["", "$$"])
def test_a_stream_needs_a_name(stub: streams_pb2_grpc.StreamsStub, stream: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Append(append_requests(stream))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_append_that_is_too_large_is_refused(client: EventStoreDBClient, stub: streams_pb2_grpc.StreamsStub) -> None:
    fits, too_large = proposed(data=b"x" * 1_000_000), proposed(data=b"x" * 1_048_577)
    client.append_event("s", current_version=StreamState.ANY, event=fits)
    with pytest.raises(MaximumAppendSizeExceededError, match="1048576"):
        client.append_events("s", current_version=StreamState.ANY, events=[too_large])
    one = append_message(**{"type": "t", "content-type": "application/json"})
    one.data = b"x" * 1_048_577
    with pytest.raises(grpc.RpcError) as caught:
        stub.Append(append_requests("s", one))
    expected = {"exception": "maximum-append-size-exceeded", "maximum-append-size": "1048576"}
    assert trailers(caught.value).items() >= expected.items()
    assert len(client.get_stream("s")) == 1


def test_an_append_of_nothing_answers_the_current_revision_and_a_position(stub: streams_pb2_grpc.StreamsStub) -> None:
    success = stub.Append(append_requests("s")).success
    assert success.WhichOneof("current_revision_option") == "no_stream"
    assert success.WhichOneof("position_option") == "position"


# -- BatchAppend, raw


def test_many_appends_are_in_flight_and_answered_in_order(stub: streams_pb2_grpc.StreamsStub) -> None:
    requests = [batch(f"s-{number % 7}", events(1)) for number in range(500)]
    replies = list(stub.BatchAppend(iter(requests)))
    assert [reply.correlation_id for reply in replies] == [request.correlation_id for request in requests]
    assert [reply.stream_identifier for reply in replies] == [request.options.stream_identifier for request in requests]
    positions = [reply.success.position.commit_position for reply in replies]
    assert positions == sorted(set(positions))
    assert replies[-1].success.current_revision == 499 // 7


def test_a_reply_comes_while_the_call_is_open(stub: streams_pb2_grpc.StreamsStub) -> None:
    requests: SimpleQueue[streams_pb2.BatchAppendReq | None] = SimpleQueue()
    replies = stub.BatchAppend(iter(requests.get, None))
    for number in range(3):
        requests.put(batch("s", events(1)))
        assert next(replies).success.current_revision == number
    requests.put(None)
    assert list(replies) == []


def test_an_append_in_parts_is_recorded_when_its_last_part_came(stub: streams_pb2_grpc.StreamsStub, client: EventStoreDBClient) -> None:
    one, other = uuid4(), uuid4()
    replies = list(
        stub.BatchAppend(
            iter(
                [
                    batch("s", events(2), correlation=one, final=False),
                    batch("s", events(1), correlation=other),
                    batch("s", events(2), correlation=one, first=False, final=False),
                    batch("s", events(1), correlation=one, first=False),
                ]
            )
        )
    )
    assert [reply.correlation_id.string for reply in replies] == [str(other), str(one)]
    assert [reply.success.current_revision for reply in replies] == [0, 5]
    assert len(client.get_stream("s")) == 6


def test_an_append_whose_last_part_never_came_leaves_nothing(stub: streams_pb2_grpc.StreamsStub, client: EventStoreDBClient) -> None:
    assert list(stub.BatchAppend(iter([batch("s", events(2), final=False)]))) == []
    with pytest.raises(NotFound):
        client.get_stream("s")


def test_the_parts_of_an_append_that_was_refused_are_passed_over(stub: streams_pb2_grpc.StreamsStub) -> None:
    correlation = uuid4()
    large = NewEvent(uuid4(), "t", b"x" * 600_000)
    parts = [
        batch("s", [large], correlation=correlation, final=False),
        batch("s", [NewEvent(uuid4(), "t", b"x" * 600_000)], correlation=correlation, first=False, final=False),
        batch("s", events(1), correlation=correlation, first=False),
        batch("s", events(1)),
    ]
    refused, taken = stub.BatchAppend(iter(parts))
    assert details_of(refused, shared_pb2.MaximumAppendSizeExceeded).maxAppendSize == 1_048_576
    assert taken.success.current_revision == 0


def test_one_refused_append_does_not_end_the_call(stub: streams_pb2_grpc.StreamsStub) -> None:
    replies = list(stub.BatchAppend(iter([batch("s", events(1), expected=9), batch("s", events(1), expected="no_stream")])))
    details = details_of(replies[0], shared_pb2.WrongExpectedVersion)
    assert details.expected_stream_position == 9
    assert details.WhichOneof("current_stream_revision_option") == "current_no_stream"
    assert replies[0].error.message == "WrongExpectedVersion"
    assert replies[1].success.current_revision == 0


def test_a_deadline_that_is_over_times_out(stub: streams_pb2_grpc.StreamsStub) -> None:
    (reply,) = stub.BatchAppend(iter([batch("s", events(1), deadline=0.0)]))
    details_of(reply, shared_pb2.Timeout)


def test_a_deadline_that_passes_before_the_last_part_times_out(stub: streams_pb2_grpc.StreamsStub) -> None:
    requests: SimpleQueue[streams_pb2.BatchAppendReq | None] = SimpleQueue()
    replies = stub.BatchAppend(iter(requests.get, None))
    correlation = uuid4()
    requests.put(batch("s", events(1), correlation=correlation, final=False, deadline=0.05))
    details_of(next(replies), shared_pb2.Timeout)
    requests.put(batch("s", events(1), correlation=correlation, first=False))
    requests.put(None)
    assert list(replies) == []


def test_a_bad_event_is_told(stub: streams_pb2_grpc.StreamsStub) -> None:
    bad_type, bad_id, bad_stream, good = (batch("s", events(1)) for _ in range(4))
    bad_type.proposed_messages[0].metadata["type"] = ""
    bad_id.proposed_messages[0].id.string = "x"
    bad_stream.options.stream_identifier.stream_name = b"$$"
    *refused, taken = stub.BatchAppend(iter([bad_type, bad_id, bad_stream, good]))
    said = [details_of(reply, shared_pb2.BadRequest).message for reply in refused]
    assert said == [
        "Empty eventType provided. (Parameter 'eventType')",
        "Unrecognized Guid format.",
        "Specified argument was out of the range of valid values. (Parameter 'eventStreamId')",
    ]
    assert taken.success.current_revision == 0


def test_an_append_that_is_refused_for_an_event_is_answered_again_when_its_time_is_over(
    stub: streams_pb2_grpc.StreamsStub, client: EventStoreDBClient
) -> None:
    requests: SimpleQueue[streams_pb2.BatchAppendReq | None] = SimpleQueue()
    replies = stub.BatchAppend(iter(requests.get, None))
    correlation = uuid4()
    bad = batch("s", events(1), correlation=correlation, final=False, deadline=0.2)
    bad.proposed_messages[0].id.string = "x"
    requests.put(bad)
    details_of(next(replies), shared_pb2.BadRequest)
    requests.put(batch("s", events(1), correlation=correlation, first=False))  # not recorded without the event that was refused
    late = next(replies)
    details_of(late, shared_pb2.Timeout)
    assert late.correlation_id.WhichOneof("value") == "structured"
    requests.put(None)
    assert list(replies) == []
    with pytest.raises(NotFound):
        client.get_stream("s")


def test_an_append_whose_last_part_does_not_come_fails_after_two_seconds(stub: streams_pb2_grpc.StreamsStub) -> None:
    requests: SimpleQueue[streams_pb2.BatchAppendReq | None] = SimpleQueue()
    replies = stub.BatchAppend(iter(requests.get, None), timeout=30)
    requests.put(batch("s", events(1), final=False, deadline=600.0))
    details_of(next(replies), shared_pb2.Timeout)
    requests.put(None)


def test_older_clients_name_the_instant_until_which_they_wait(stub: streams_pb2_grpc.StreamsStub) -> None:
    over, ahead = batch("s", events(1)), batch("s", events(1))
    over.options.deadline_21_10_0.seconds = 1_000_000_000
    ahead.options.deadline_21_10_0.seconds = 4_102_444_800
    late, taken = stub.BatchAppend(iter([over, ahead]))
    details_of(late, shared_pb2.Timeout)
    assert taken.success.current_revision == 0


def test_correlation_ids_may_be_numbers(stub: streams_pb2_grpc.StreamsStub) -> None:
    request = batch("s", events(1))
    request.correlation_id.structured.most_significant_bits = -7
    (reply,) = stub.BatchAppend(iter([request]))
    assert reply.correlation_id == request.correlation_id


# -- times


def test_a_writer_may_stamp_its_events(stub: streams_pb2_grpc.StreamsStub, client: EventStoreDBClient) -> None:
    stamped = [NewEvent(uuid4(), "t", created=ticks) for ticks in (17_000_000_000_000_001, 16_000_000_000_000_000)]
    list(stub.BatchAppend(iter([batch("s", stamped)])))
    one = append_message(**{"type": "t", "content-type": "application/json", "created": "5"})
    stub.Append(append_requests("s", one))
    times = [event.recorded_at for event in client.get_stream("s")]
    assert times[1] == datetime.fromtimestamp(1_600_000_000, UTC)
    assert times[2] == datetime.fromtimestamp(0, UTC)


def test_a_deletion_may_be_stamped_by_its_call_and_a_revival_takes_the_time_of_its_events(
    store: EmbeddedStore, stub: streams_pb2_grpc.StreamsStub, client: EventStoreDBClient
) -> None:
    for stream in ("s", "t"):
        store.append(stream, [NewEvent(uuid4(), "t", created=1)])
    delete = streams_pb2.DeleteReq(
        options=streams_pb2.DeleteReq.Options(stream_identifier=shared_pb2.StreamIdentifier(stream_name=b"s"), any=shared_pb2.Empty())
    )
    tombstone = streams_pb2.TombstoneReq(
        options=streams_pb2.TombstoneReq.Options(stream_identifier=shared_pb2.StreamIdentifier(stream_name=b"t"), any=shared_pb2.Empty())
    )
    stub.Delete(delete, metadata=[("created", "20000000")])
    stub.Tombstone(tombstone, metadata=[("created", "30000000")])
    store.append("s", [NewEvent(uuid4(), "t", created=40_000_000)])
    recorded = [(event.stream_name, event.type, event.recorded_at) for event in client.read_all(filter_exclude=[])]
    times = [(stream, type_, int(at.timestamp())) for stream, type_, at in recorded if at is not None and type_ != "t"]
    assert times == [("$$s", "$metadata", 2), ("t", "$streamDeleted", 3), ("$$s", "$metadata", 4)]
    with pytest.raises(grpc.RpcError, match="100 ns ticks"):
        stub.Delete(delete, metadata=[("created", "soon")])


def test_a_store_may_refuse_to_be_told_the_time() -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    with EmbeddedStore(accept_timestamps=False, clock=Clock(moment)) as store, grpc.insecure_channel(store.address) as channel:
        stub = streams_pb2_grpc.StreamsStub(channel)
        list(stub.BatchAppend(iter([batch("s", [NewEvent(uuid4(), "t", created=5)])])))
        client = EventStoreDBClient(store.uri)
        assert client.get_stream("s")[0].recorded_at == moment
        client.close()


@pytest.mark.parametrize("stamp", ["", "soon", "-1", "1.5", "٣", str(2**63)])
def test_a_stamp_must_be_ticks(stub: streams_pb2_grpc.StreamsStub, stamp: str) -> None:
    request = batch("s", [])
    request.proposed_messages.append(message(events(1)[0], created=stamp))
    (reply,) = stub.BatchAppend(iter([request]))
    assert "100 ns ticks" in details_of(reply, shared_pb2.BadRequest).message


# -- deleting


def test_a_stream_that_is_not_there_cannot_be_deleted(client: EventStoreDBClient) -> None:
    for expected in (StreamState.ANY, StreamState.EXISTS, 0):
        with pytest.raises(NotFound):
            client.delete_stream("s", current_version=expected)


@pytest.mark.parametrize("how", ["delete_stream", "tombstone_stream"])
def test_deleting_at_a_wrong_revision_says_both(client: EventStoreDBClient, how: str) -> None:
    client.append_event("s", current_version=StreamState.ANY, event=proposed())
    with pytest.raises(WrongCurrentVersion, match=r"Stream: s, Expected version: 5, Actual version: 0"):
        getattr(client, how)("s", current_version=5)


def test_the_trailers_of_a_wrong_revision(stub: streams_pb2_grpc.StreamsStub) -> None:
    options = streams_pb2.DeleteReq.Options(revision=3)
    options.stream_identifier.stream_name = b"s"
    with pytest.raises(grpc.RpcError) as caught:
        stub.Delete(streams_pb2.DeleteReq(options=options))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    expected = {"exception": "wrong-expected-version", "stream-name": "s", "expected-version": "3", "actual-version": "-1"}
    assert trailers(caught.value).items() >= expected.items()


def test_a_deleted_stream_is_not_found_and_can_be_recreated(client: EventStoreDBClient) -> None:
    client.append_events("s", current_version=StreamState.ANY, events=[proposed(), proposed()])
    client.delete_stream("s", current_version=1)
    with pytest.raises(NotFound):
        client.get_stream("s")
    assert client.get_current_version("s") is StreamState.NO_STREAM
    assert client.get_stream_metadata("s") == ({"$tb": 2**63 - 1}, 0)
    client.delete_stream("s", current_version=StreamState.ANY)
    with pytest.raises(StreamIsDeleted):
        client.delete_stream("s", current_version=StreamState.EXISTS)
    client.append_event("s", current_version=StreamState.NO_STREAM, event=proposed())
    assert [event.stream_position for event in client.get_stream("s")] == [2]


def test_a_tombstoned_stream_is_deleted_for_ever(client: EventStoreDBClient) -> None:
    client.append_event("s", current_version=StreamState.ANY, event=proposed())
    client.tombstone_stream("s", current_version=0)
    for call in (
        lambda: client.get_stream("s"),
        lambda: client.get_stream_metadata("s"),
        lambda: client.delete_stream("s", current_version=StreamState.ANY),
        lambda: client.tombstone_stream("s", current_version=StreamState.ANY),
    ):
        with pytest.raises(StreamIsDeleted):
            call()
    *_, last = client.read_all(filter_exclude=[])
    assert (last.type, last.stream_position) == ("$streamDeleted", 2**63 - 1)


def test_metadata_is_set_and_read(client: EventStoreDBClient) -> None:
    assert client.get_stream_metadata("s") == ({}, StreamState.NO_STREAM)
    client.set_stream_metadata("s", metadata={"$maxCount": 1})
    client.append_events("s", current_version=StreamState.ANY, events=[proposed() for _ in range(3)])
    assert client.get_stream_metadata("s") == ({"$maxCount": 1}, 0)
    assert [event.stream_position for event in client.get_stream("s")] == [2]
    assert len(list(client.read_all())) == 3
    with pytest.raises(WrongCurrentVersion):
        client.set_stream_metadata("s", metadata={}, current_version=5)


# -- in process


def test_events_can_be_appended_past_the_wire(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    done = store.append("s", events(3))
    assert [event.commit_position for event in client.get_stream("s")][-1] == done.commit
    with pytest.raises(WrongRevision):
        store.append("s", events(1), expected=9)
    client.tombstone_stream("s", current_version=StreamState.ANY)
    with pytest.raises(Tombstoned):
        store.append("s", events(1))


def test_an_asyncio_client_works_in_the_same_process(store: EmbeddedStore) -> None:
    async def main() -> int:
        client = esdbclient.AsyncEventStoreDBClient(store.uri)
        await client.connect()
        await client.append_events("s", current_version=StreamState.ANY, events=[proposed()])
        found = await client.get_stream("s")
        await client.close()
        return len(found)

    assert asyncio.run(main()) == 1
