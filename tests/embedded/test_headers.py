"""Answers carry the time of the store, as those of KurrentDB's web server do."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest
from esdbclient.protos.Grpc import gossip_pb2_grpc, shared_pb2, streams_pb2, streams_pb2_grpc

from tests.embedded.wire import batch, events, read_all
from workbench.embedded import Clock, EmbeddedStore

DATE = "Sun, 01 Mar 2026 09:00:01 GMT"


@pytest.fixture
def clock(store: EmbeddedStore) -> Clock:
    assert isinstance(store.clock, Clock)
    store.clock.set(datetime(2026, 3, 1, 9, 0, 1, 999_999, tzinfo=UTC))
    return store.clock


def dates(call: grpc.Call) -> list[str]:
    return [str(value) for name, value in call.initial_metadata() or () if name == "date"]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("count", [0, 3])
def test_a_read_says_the_stores_time_to_the_second_below(store: EmbeddedStore, stub: streams_pb2_grpc.StreamsStub, count: int) -> None:
    if count:
        store.append("s", events(count))
    reading = stub.Read(read_all(), timeout=10)
    assert len(list(reading)) == count
    assert dates(reading) == [DATE]


def test_the_date_follows_the_clock(clock: Clock, stub: streams_pb2_grpc.StreamsStub) -> None:
    for seconds, expected in ((0, DATE), (0, DATE), (1, DATE.replace(":01 ", ":02 ")), (-1, DATE)):
        clock.advance(timedelta(seconds=seconds))
        reading = stub.Read(read_all(), timeout=10)
        list(reading)
        assert dates(reading) == [expected]


@pytest.mark.usefixtures("clock")
def test_answers_of_every_kind_have_a_date(channel: grpc.Channel, stub: streams_pb2_grpc.StreamsStub) -> None:
    options = streams_pb2.AppendReq.Options(stream_identifier=shared_pb2.StreamIdentifier(stream_name=b"s"))
    options.any.SetInParent()
    _, appending = stub.Append.with_call(iter([streams_pb2.AppendReq(options=options)]), timeout=10)
    batches = stub.BatchAppend(iter([batch("s", events(1))]), timeout=10)
    assert next(iter(batches)).HasField("success")
    _, gossiping = gossip_pb2_grpc.GossipStub(channel).Read.with_call(shared_pb2.Empty(), timeout=10)
    assert [dates(call) for call in (appending, batches, gossiping)] == [[DATE]] * 3


@pytest.mark.usefixtures("clock")
def test_the_date_can_be_left_out(store: EmbeddedStore, stub: streams_pb2_grpc.StreamsStub) -> None:
    store.faults.date_header = False
    reading = stub.Read(read_all(), timeout=10)
    list(reading)
    assert dates(reading) == []
    store.faults.clear()
    reading = stub.Read(read_all(), timeout=10)
    list(reading)
    assert dates(reading) == [DATE]
