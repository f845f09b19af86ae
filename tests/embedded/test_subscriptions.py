"""What subscribers are sent: confirmation, what there is, that they caught up, and then what comes."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeAlias

import grpc
import pytest
from esdbclient import CaughtUp, Checkpoint, EventStoreDBClient, StreamState
from esdbclient.exceptions import StreamIsDeleted
from esdbclient.protos.Grpc import streams_pb2, streams_pb2_grpc

from tests.embedded.wire import Expression, chosen, events, read_all, read_stream
from workbench.embedded import Clock, EmbeddedStore

Stub: TypeAlias = streams_pb2_grpc.StreamsStub


def kinds(responses: Iterator[streams_pb2.ReadResp], count: int) -> list[str]:
    return [str(response.WhichOneof("content")) for response in islice(responses, count)]


@pytest.mark.parametrize("request_", [read_all(count=None), read_stream("s", count=None)], ids=["$all", "stream"])
def test_a_subscription_confirms_catches_up_says_so_and_goes_on(store: EmbeddedStore, stub: Stub, request_: streams_pb2.ReadReq) -> None:
    store.append("s", events(2))
    call = stub.Read(request_, timeout=10)
    assert kinds(call, 4) == ["confirmation", "event", "event", "caught_up"]
    store.append("s", events(2))
    assert kinds(call, 2) == ["event", "event"]
    call.cancel()


def test_a_subscription_starts_behind_its_position(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    done = store.append("s", events(3))
    positions = [event.commit_position for event in client.read_all()]
    with client.subscribe_to_all(commit_position=positions[1], timeout=10) as subscription:
        assert next(subscription).commit_position == done.commit
    with client.subscribe_to_stream("s", stream_position=1, timeout=10) as subscription:
        assert next(subscription).stream_position == 2


def test_a_subscription_from_the_end_sends_what_comes(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", events(3))
    with (
        client.subscribe_to_all(from_end=True, timeout=10) as all_,
        client.subscribe_to_stream("s", from_end=True, timeout=10) as stream,
        client.subscribe_to_stream("new", from_end=True, timeout=10) as new,
    ):
        store.append("new", events(1))
        store.append("s", events(1))
        assert [(event.stream_name, event.stream_position) for event in islice(all_, 2)] == [("new", 0), ("s", 3)]
        assert next(stream).stream_position == 3
        assert next(new).stream_position == 0


def test_a_subscription_to_a_stream_that_is_not_there_waits_for_it(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    with client.subscribe_to_stream("s", include_caught_up=True, timeout=10) as subscription:
        assert isinstance(next(subscription), CaughtUp)
        store.append("other", events(1))
        store.append("s", events(2))
        assert [event.stream_position for event in islice(subscription, 2)] == [0, 1]


def test_a_subscription_from_beyond_the_head_passes_over_what_comes_before_it(store: EmbeddedStore, stub: Stub) -> None:
    first = store.append("s", events(1))
    beyond = first.commit + 400
    call = stub.Read(read_all(position=(beyond, beyond), count=None), timeout=10)
    assert kinds(call, 2) == ["confirmation", "caught_up"]
    while store.append("s", events(1)).commit <= beyond:
        pass
    assert next(call).event.commit_position > beyond
    call.cancel()


def test_a_subscription_from_where_no_record_begins_is_refused(store: EmbeddedStore, stub: Stub) -> None:
    done = store.append("s", events(2))
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.Read(read_all(position=(done.commit - 1, done.commit - 1), count=None), timeout=10))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "Trying to read from an invalid position."


def test_a_filtered_subscription_is_sent_checkpoints(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", events(5))
    positions = [event.commit_position for event in client.read_all()]
    behind = [*positions[1:], store.append("t", []).commit]
    how: dict[str, Any] = {"include_checkpoints": True, "include_caught_up": True, "window_size": 2, "checkpoint_interval_multiplier": 1}
    with client.subscribe_to_all(filter_include=["nothing"], timeout=10, **how) as subscription:
        found = list(islice(subscription, 4))
        assert [type(one) for one in found] == [Checkpoint, Checkpoint, Checkpoint, CaughtUp]
        # A checkpoint stands where the page begins that was looked at last.
        assert [one.commit_position for one in found[:3]] == [0, behind[1], behind[3]]
        first = store.append("s", events(1))
        second = store.append("s", events(1))
        assert first.commit < second.commit == next(subscription).commit_position


def test_checkpoints_stand_behind_the_events_that_they_cover(store: EmbeddedStore, stub: Stub) -> None:
    store.append("s", events(3))
    options = chosen(types=Expression(prefix=["happened"]), window=1, multiplier=2)
    call = stub.Read(read_all(count=None, chosen=options), timeout=10)
    found = list(islice(call, 7))
    assert kinds(iter(found), 7) == ["confirmation", "event", "event", "checkpoint", "event", "checkpoint", "caught_up"]
    assert found[3].checkpoint.commit_position == found[2].event.commit_position
    assert found[5].checkpoint.commit_position == found[4].event.commit_position
    call.cancel()


@pytest.mark.parametrize(("window", "multiplier"), [(1, 1), (5, 3), (32, 1), (10_000, 1)])
def test_a_filtered_subscription_passes_no_event_by_and_no_checkpoint_runs_ahead(
    store: EmbeddedStore, stub: Stub, window: int, multiplier: int
) -> None:
    sent = []
    for number in range(90):
        done = store.append("s", events(number % 7 + 1, event_type="yes" if number % 2 else "no"))
        sent += [(done.revision - at) for at in reversed(range(number % 7 + 1))] if number % 2 else []
    options = chosen(types=Expression(prefix=["yes"]), window=window, multiplier=multiplier)
    call = stub.Read(read_all(count=None, chosen=options), timeout=20)
    revisions, last, checkpoint = [], -1, -1
    for answer in call:
        kind = answer.WhichOneof("content")
        if kind == "caught_up":
            break
        if kind == "event":
            assert answer.event.commit_position > checkpoint
            last = answer.event.commit_position
            revisions.append(answer.event.event.stream_revision)
        elif kind == "checkpoint":
            assert answer.checkpoint.commit_position >= last
            assert answer.checkpoint.commit_position > checkpoint
            checkpoint = answer.checkpoint.commit_position
    call.cancel()
    assert revisions == sent


def test_a_subscriber_at_the_head_is_sent_no_checkpoint_at_once(store: EmbeddedStore, stub: Stub) -> None:
    done = store.append("s", events(3))
    options = chosen(types=Expression(prefix=["x"]))
    call = stub.Read(read_all(position=(done.commit, done.prepare), count=None, chosen=options), timeout=10)
    assert kinds(call, 2) == ["confirmation", "caught_up"]
    call.cancel()


def fields(message: bytes) -> dict[int, int | bytes]:
    """The fields of a protobuf message, by their numbers; esdbclient's messages do not know all of a newer server's."""
    found: dict[int, int | bytes] = {}
    left = iter(message)

    def varint() -> int:
        value = shift = 0
        for byte in left:
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        return value

    for tag in left:
        value = varint()
        found[tag >> 3] = value if tag & 7 == 0 else bytes(islice(left, value))
    return found


def told(channel: grpc.Channel, request: streams_pb2.ReadReq, kind: int) -> tuple[int | bytes | None, Any]:
    """Where the first message of a kind says that a subscription stands, and when, in seconds."""
    call = channel.unary_stream("/event_store.client.streams.Streams/Read")(request.SerializeToString(), timeout=20)
    message = next(fields(answer)[kind] for answer in call if kind in fields(answer))
    call.cancel()
    assert isinstance(message, bytes)
    content = fields(message)
    moment = content[1 if kind == CAUGHT_UP else 3]
    assert isinstance(moment, bytes)
    seconds = fields(moment)[1]
    if kind == CHECKPOINT:
        return content[1], seconds
    where = content.get(2, content.get(3))
    return (fields(where)[1] if isinstance(where, bytes) else where), seconds


CHECKPOINT, CAUGHT_UP = 3, 8  # of ReadResp


def test_caught_up_and_checkpoints_say_where_and_when() -> None:
    clock = Clock(datetime(2026, 3, 1, tzinfo=UTC))
    now = 1_772_323_200
    with EmbeddedStore(clock=clock) as store, grpc.insecure_channel(store.address) as channel:
        assert told(channel, read_all(count=None), CAUGHT_UP) == (None, now)
        assert told(channel, read_stream("s", count=None), CAUGHT_UP) == (None, now)
        first = store.append("s", events(1))
        done = store.append("s", events(2))
        assert told(channel, read_all(count=None), CAUGHT_UP) == (done.commit, now)
        assert told(channel, read_all(end=True, count=None), CAUGHT_UP) == (done.commit, now)
        assert told(channel, read_stream("s", count=None), CAUGHT_UP) == (2, now)
        assert told(channel, read_stream("s", revision=9, count=None), CAUGHT_UP) == (9, now)
        filtered = read_all(count=None, chosen=chosen(types=Expression(prefix=["happened"]), window=1, multiplier=1))
        assert told(channel, filtered, CHECKPOINT) == (first.commit, now)


def test_a_subscription_to_a_deleted_stream_is_live_at_once_and_hears_nothing_old(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", events(3))
    client.delete_stream("s", current_version=StreamState.ANY)
    with client.subscribe_to_stream("s", include_caught_up=True, timeout=20) as subscription:
        assert isinstance(next(subscription), CaughtUp)
        store.append("s", events(1))
        assert next(subscription).stream_position == 3


def test_a_subscription_from_a_position_that_no_record_has_is_confirmed_and_refused(store: EmbeddedStore, stub: Stub) -> None:
    done = store.append("s", events(3))
    call = stub.Read(read_all(position=(done.commit - 1, done.commit - 1), count=None), timeout=20)
    assert next(call).WhichOneof("content") == "confirmation"
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Trying to read from an invalid position.",
    )


def test_a_tombstone_ends_a_subscription_to_its_stream(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", events(1))
    subscription = client.subscribe_to_stream("s", timeout=10)
    assert next(subscription).stream_position == 0
    client.tombstone_stream("s", current_version=StreamState.ANY)
    assert next(subscription).type == "$streamDeleted"
    with pytest.raises(StreamIsDeleted):
        next(subscription)
    with pytest.raises(StreamIsDeleted):
        next(client.subscribe_to_stream("s", timeout=10))


def test_a_subscription_sends_each_event_once_while_others_write(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    with client.subscribe_to_all(timeout=20) as subscription:
        for number in range(40):
            store.append(f"s-{number % 3}", events(number % 5 + 1))
        count = sum(number % 5 + 1 for number in range(40))
        positions = [event.commit_position or 0 for event in islice(subscription, count)]
    assert positions == sorted(set(positions))


def test_links_are_resolved_live_too(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", batch := events(1))
    with client.subscribe_to_stream("links", resolve_links=True, timeout=10) as subscription:
        link = events(1, event_type="$>")[0]
        store.append("links", [type(link)(link.id, "$>", b"0@s")])
        assert next(subscription).id == batch[0].id


def test_a_subscription_goes_on_across_a_scavenge(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", events(4))
    with client.subscribe_to_all(timeout=10) as all_, client.subscribe_to_stream("s", timeout=10) as stream:
        positions = [event.commit_position or 0 for event in islice(all_, 4)]
        assert len(list(islice(stream, 4))) == 4
        assert store.faults.scavenge(positions[:2]) == 2
        done = store.append("s", events(1))
        assert next(all_).commit_position == next(stream).commit_position == done.commit
