"""What clients are answered when they read."""

from typing import Any, Literal, TypeAlias
from uuid import UUID, uuid4

import grpc
import pytest
from esdbclient import EventStoreDBClient, StreamState
from esdbclient.exceptions import NotFound, UnknownError
from esdbclient.protos.Grpc import streams_pb2, streams_pb2_grpc

from tests.embedded.wire import Expression, Options, chosen, events, read_all, read_stream, recorded
from workbench.embedded import EmbeddedStore, NewEvent
from workbench.errors import UsageError

Stub: TypeAlias = streams_pb2_grpc.StreamsStub


def typed(*types: str) -> list[NewEvent]:
    return [NewEvent(uuid4(), event_type, b"{}") for event_type in types]


def link(revision: int, stream: str) -> list[NewEvent]:
    return [NewEvent(uuid4(), "$>", b"%d@%s" % (revision, stream.encode()), is_json=False)]


# -- a stream


@pytest.mark.parametrize(
    ("how", "seen"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"stream_position": 3}, [3, 4]),
        ({"stream_position": 9}, []),
        ({"limit": 2}, [0, 1]),
        ({"backwards": True}, [4, 3, 2, 1, 0]),
        ({"backwards": True, "stream_position": 2}, [2, 1, 0]),
        ({"backwards": True, "stream_position": 9, "limit": 1}, [4]),
        ({"backwards": True, "limit": 2}, [4, 3]),
    ],
)
def test_a_stream_is_read_inclusively(store: EmbeddedStore, client: EventStoreDBClient, how: dict[str, Any], seen: list[int]) -> None:
    store.append("other", events(3))
    store.append("s", events(5))
    assert [event.stream_position for event in client.get_stream("s", **how)] == seen


def test_a_long_stream_is_read_whole(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    batch = events(1_000)
    store.append("s", batch)
    assert [event.id for event in client.get_stream("s")] == [event.id for event in batch]
    assert [event.id for event in client.get_stream("s", backwards=True)] == [event.id for event in batch[::-1]]


@pytest.mark.parametrize("options", [{"end": True}, {"count": 0}], ids=str)
def test_a_stream_read_that_can_have_no_events_is_an_error(store: EmbeddedStore, stub: Stub, options: dict[str, Any]) -> None:
    store.append("s", events(2))
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.Read(read_stream("s", **options)))
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNKNOWN, "Unexpected ReadStreamResult: Error")


def test_a_stream_that_is_not_there_is_not_found(client: EventStoreDBClient, stub: Stub) -> None:
    with pytest.raises(NotFound, match="'nowhere'"):
        client.get_stream("nowhere")
    (answer,) = stub.Read(read_stream("nowhere"))
    assert answer.stream_not_found.stream_identifier.stream_name == b"nowhere"


def test_the_error_of_a_tombstoned_stream_has_its_trailers(client: EventStoreDBClient, stub: Stub) -> None:
    client.tombstone_stream("s", current_version=StreamState.ANY)
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.Read(read_stream("s")))
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "Event stream 's' is deleted.",
    )
    trailers = {pair.key: pair.value for pair in caught.value.trailing_metadata()}
    assert trailers.items() >= {"exception": "stream-deleted", "stream-name": "s"}.items()


@pytest.mark.parametrize(("name", "trailer"), [("größe-1", "gr%C3%B6%C3%9Fe-1"), ("a\n\x00b", "a%0A%00b"), ("50% ~", "50% ~")])
def test_a_stream_of_any_name_is_refused_with_an_answer(client: EventStoreDBClient, stub: Stub, name: str, trailer: str) -> None:
    with pytest.raises(NotFound):
        client.delete_stream(name, current_version=StreamState.EXISTS, timeout=10)
    client.tombstone_stream(name, current_version=StreamState.ANY)
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.Read(read_stream(name), timeout=10))
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, f"Event stream '{name}' is deleted.")
    assert {pair.key: pair.value for pair in caught.value.trailing_metadata()}["stream-name"] == trailer


def test_newer_clients_are_told_the_last_revision(store: EmbeddedStore, stub: Stub) -> None:
    store.append("s", events(3))
    *_, last = stub.Read(read_stream("s", count=1, compatibility=1))
    assert last.last_stream_position == 2
    first, last = stub.Read(read_stream("s", revision=7, compatibility=1))
    assert (first.first_stream_position, last.last_stream_position) == (3, 2)


def test_newer_clients_are_told_where_a_stream_begins_when_a_page_of_it_is_hidden(
    store: EmbeddedStore, client: EventStoreDBClient, stub: Stub
) -> None:
    store.append("s", events(100))
    client.set_stream_metadata("s", metadata={"$tb": 70}, current_version=StreamState.ANY)
    first, *found, last = stub.Read(read_stream("s", compatibility=1))
    assert (first.first_stream_position, len(found), last.last_stream_position) == (70, 30, 99)
    begun = next(iter(stub.Read(read_stream("s", revision=50, compatibility=1))))  # a page that ends among the visible ones
    assert begun.event.event.stream_revision == 70


# -- $all


@pytest.mark.parametrize(("version", "said"), [("25.0", "InvalidPosition"), ("23.10", "Error")])
def test_a_position_that_no_record_has_is_refused_in_the_words_of_a_version(version: Literal["25.0", "23.10"], said: str) -> None:
    with EmbeddedStore(refused_position=version) as store, grpc.insecure_channel(store.address) as channel:
        position = store.append("s", events(2)).commit - 1
        for backwards in (False, True):
            for request, result in (
                (read_all(position=(position, position), backwards=backwards), "ReadAllResult"),
                (
                    read_all(position=(position, position), backwards=backwards, chosen=chosen(types=Expression(prefix=["x"]))),
                    "FilteredReadAllResult",
                ),
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    list(streams_pb2_grpc.StreamsStub(channel).Read(request, timeout=20))
                assert caught.value.details() == f"Unexpected {result}: {said}"


def test_no_other_version_has_words_for_a_position() -> None:
    with pytest.raises(UsageError, match=r"'24\.10' is no version that can be modelled"):
        EmbeddedStore(refused_position="24.10")  # type: ignore[arg-type]  # what a user may write


def test_a_read_backwards_begins_at_or_before_the_end(store: EmbeddedStore, stub: Stub) -> None:
    done = store.append("s", events(2))
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.Read(read_all(position=(10**15, 10**15), backwards=True)))
    assert caught.value.details() == "Unexpected ReadAllResult: Error"
    assert list(stub.Read(read_all(position=(1, 1), backwards=True))) == []
    both = stub.Read(read_all(position=(done.commit, done.commit - 1), backwards=True))
    assert list(both) == []  # the record before ends behind that prepare position


def test_all_is_read_forwards_inclusively_and_backwards_exclusively(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("a", events(2))
    store.append("b", events(3))
    positions = [event.commit_position for event in client.read_all()]
    assert [event.commit_position for event in client.read_all(backwards=True)] == positions[::-1]
    assert [event.commit_position for event in client.read_all(commit_position=positions[2])] == positions[2:]
    assert [event.commit_position for event in client.read_all(commit_position=positions[2], limit=2)] == positions[2:4]
    before = client.read_all(commit_position=positions[2], backwards=True)
    assert [event.commit_position for event in before] == positions[1::-1]
    assert client.get_commit_position() == positions[-1]


def test_many_events_are_read_in_both_directions(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    batch = events(700)
    for start in range(0, 700, 100):
        store.append(f"s-{start}", batch[start : start + 100])
    assert [event.id for event in client.read_all()] == [event.id for event in batch]
    assert [event.id for event in client.read_all(backwards=True)] == [event.id for event in batch[::-1]]
    assert [event.id for event in client.read_all(limit=300)] == [event.id for event in batch[:300]]


def test_an_empty_log_has_no_events(client: EventStoreDBClient) -> None:
    assert list(client.read_all()) == list(client.read_all(backwards=True)) == []
    assert client.get_commit_position() == 0


def test_a_position_beyond_the_head_has_no_events(store: EmbeddedStore, client: EventStoreDBClient, stub: Stub) -> None:
    done = store.append("s", events(2))
    assert list(client.read_all(commit_position=done.commit + 1)) == []
    assert list(stub.Read(read_all(position=(2**64 - 1, 2**64 - 1)))) == []
    assert len(list(client.read_all(commit_position=done.commit + 1, backwards=True))) == 2
    assert list(stub.Read(read_all(end=True))) == []


@pytest.mark.parametrize("backwards", [True, False])
def test_a_position_where_no_record_begins_is_invalid(store: EmbeddedStore, client: EventStoreDBClient, *, backwards: bool) -> None:
    done = store.append("s", events(2))
    for filters in ([], ["x"]):
        with pytest.raises(UnknownError, match="ReadAllResult: InvalidPosition"):
            list(client.read_all(commit_position=done.commit - 1, backwards=backwards, filter_exclude=filters))


def test_hidden_events_are_still_in_all(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", events(3))
    client.delete_stream("s", current_version=StreamState.ANY)
    found = list(client.read_all(filter_exclude=[]))
    assert [(event.stream_name, event.type) for event in found] == [("s", "happened")] * 3 + [("$$s", "$metadata")]


def test_an_explicit_transaction_is_read_from_any_of_its_prepares(store: EmbeddedStore, stub: Stub) -> None:
    done = store.faults.transaction("s", events(3))
    store.append("s", events(1))
    found = recorded(stub.Read(read_all()))
    assert [event.commit_position for event in found[:3]] == [done.commit] * 3
    assert found[1].prepare_position < found[2].prepare_position < done.commit
    place = (done.commit, found[1].prepare_position)
    assert [event.stream_revision for event in recorded(stub.Read(read_all(position=place)))] == [1, 2, 3]
    assert [event.stream_revision for event in recorded(stub.Read(read_all(position=place, backwards=True)))] == [0]
    assert [event.stream_revision for event in recorded(stub.Read(read_all(position=(done.commit, done.commit))))] == [3]


# -- shapes


def test_ids_are_sent_as_numbers_to_those_who_ask(store: EmbeddedStore, stub: Stub) -> None:
    (sent,) = batch = events(1)
    store.append("s", batch)
    (event,) = recorded(stub.Read(read_all(structured=True)))
    bits = event.id.structured
    assert UUID(int=(bits.most_significant_bits % 2**64) << 64 | bits.least_significant_bits % 2**64) == sent.id


def test_links_are_resolved_to_those_who_ask(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", batch := events(3))
    done = store.append("links", link(1, "s"))
    (plain,) = client.get_stream("links")
    assert (plain.type, plain.link) == ("$>", None)
    (resolved,) = client.get_stream("links", resolve_links=True)
    assert resolved.id == batch[1].id
    assert resolved.link is not None
    assert (resolved.link.stream_name, resolved.link.commit_position) == ("links", done.commit)
    assert len(list(client.read_all(resolve_links=True, filter_exclude=[]))) == 4


@pytest.mark.parametrize("gone", ["missing", "revision", "deleted", "tombstoned"])
def test_a_dangling_link_comes_without_its_target(store: EmbeddedStore, client: EventStoreDBClient, stub: Stub, gone: str) -> None:
    store.append("s", events(1))
    target = {"missing": link(0, "nowhere"), "revision": link(7, "s")}
    done = store.append("links", target.get(gone, link(0, "s")))
    if gone in ("deleted", "tombstoned"):
        getattr(client, "delete_stream" if gone == "deleted" else "tombstone_stream")("s", current_version=StreamState.ANY)
    (answer,) = stub.Read(read_stream("links", resolve=True))
    assert not answer.event.HasField("event")
    assert answer.event.link.commit_position == answer.event.commit_position == done.commit
    assert client.get_stream("links", resolve_links=True) == ()


@pytest.mark.parametrize("data", [b"\xff@@", b"", b"x@s", b"1_0@s", b"0", b"9223372036854775808@s"])
def test_what_does_not_begin_with_a_number_is_no_link(store: EmbeddedStore, stub: Stub, data: bytes) -> None:
    store.append("s", events(1))
    store.append("links", [NewEvent(uuid4(), "$>", data)])
    (answer,) = stub.Read(read_stream("links", resolve=True))
    assert answer.event.event.data == data
    assert not answer.event.HasField("link")


def test_a_link_to_the_revision_before_the_first_names_the_last_event(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", batch := events(3))
    store.append("links", [NewEvent(uuid4(), "$>", b"-1@s"), NewEvent(uuid4(), "$>", b" 1@s")])
    assert [event.id for event in client.get_stream("links", resolve_links=True)] == [batch[2].id, batch[1].id]


# -- filters


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        (chosen(types=Expression(prefix=["user.", "order."])), [0, 1, 3]),
        (chosen(types=Expression(regex=r"\.created$")), [0, 3]),
        (chosen(types=Expression(regex=r"^(?<kind>user)\.")), [0, 1]),
        (chosen(streams=Expression(prefix=["b"])), [2, 3]),
        (chosen(streams=Expression(regex="[ab]-2$"), window=None), [3]),
        (chosen(types=Expression(prefix=["nothing"]), window=1), []),
    ],
)
def test_filters_choose_by_type_and_by_stream(store: EmbeddedStore, stub: Stub, options: Options.FilterOptions, seen: list[int]) -> None:
    store.append("a-1", typed("user.created", "user.moved"))
    store.append("b-1", typed("other"))
    store.append("b-2", typed("order.created"))
    positions = [event.commit_position for event in recorded(stub.Read(read_all()))]
    expected = [positions[number] for number in seen]
    assert [event.commit_position for event in recorded(stub.Read(read_all(chosen=options)))] == expected
    backwards = stub.Read(read_all(chosen=options, backwards=True, end=True))
    assert [event.commit_position for event in recorded(backwards)] == expected[::-1]
    assert [event.commit_position for event in recorded(stub.Read(read_all(chosen=options, count=1)))] == expected[:1]


def test_a_filter_finds_the_rare_event_in_a_long_log(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    for _ in range(10):
        store.append("s", events(900))
    store.append("s", typed("rare"))
    assert [event.stream_position for event in client.read_all(filter_include=["rare"])] == [9_000]
    assert len(list(client.read_all(filter_exclude=["rare"]))) == 9_000


def test_the_clients_default_filter_hides_what_belongs_to_the_system(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("s", typed("$system", "a", "PersistentConfig1"))
    assert [event.type for event in client.read_all()] == ["a"]
    assert [event.type for event in client.read_all(filter_exclude=[])] == ["$system", "a", "PersistentConfig1"]


@pytest.mark.parametrize(
    "request_",
    [
        read_all(chosen=Options.FilterOptions(max=1, checkpointIntervalMultiplier=1)),
        read_all(chosen=Options.FilterOptions(event_type=Expression(prefix=["a"]))),
        read_all(chosen=chosen(types=Expression(regex="("))),
        read_all(chosen=chosen(types=Expression(prefix=["a"]), multiplier=0), count=None),
        read_all(backwards=True, count=None),
        read_stream(""),
        streams_pb2.ReadReq(),
        streams_pb2.ReadReq(options=Options(count=1)),
    ],
)
def test_a_read_that_means_nothing_is_refused(stub: Stub, request_: streams_pb2.ReadReq) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.Read(request_))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_read_of_a_growing_log_goes_on_to_its_head(store: EmbeddedStore) -> None:
    for _ in range(2):
        store.append("s", [NewEvent(uuid4(), "t", b"x" * 4_000) for _ in range(250)])
    # A window that does not grow holds the server back: it cannot have sent all before the last append.
    with grpc.insecure_channel(store.address, options=[("grpc.http2.bdp_probe", 0)]) as channel:
        reading = streams_pb2_grpc.StreamsStub(channel).Read(read_all(), timeout=60)
        next(reading)
        store.append("s", events(1))
        assert len(list(reading)) == 500
