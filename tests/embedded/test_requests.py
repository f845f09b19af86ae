"""How many requests a call takes, and that it is answered only at their end."""

from collections.abc import Iterator
from queue import SimpleQueue

import grpc
import pytest

from tests.embedded.wire import read_stream

STREAMS = "/event_store.client.streams.Streams/"
ONE_REQUEST = {
    f"{STREAMS}Read": read_stream("s").SerializeToString(),
    f"{STREAMS}Delete": b"\x0a\x07\x0a\x03\x1a\x01s\x22\x00",
    f"{STREAMS}Tombstone": b"\x0a\x07\x0a\x03\x1a\x01t\x22\x00",
    "/event_store.client.gossip.Gossip/Read": b"",
    "/event_store.client.server_features.ServerFeatures/GetSupportedMethods": b"",
    "/event_store.client.persistent_subscriptions.PersistentSubscriptions/List": b"\x0a\x02\x0a\x00",
}


@pytest.mark.parametrize("method", ONE_REQUEST)
def test_a_call_of_one_request_is_answered_only_when_the_client_has_ended_its_side(channel: grpc.Channel, method: str) -> None:
    requests: SimpleQueue[bytes | None] = SimpleQueue()
    requests.put(ONE_REQUEST[method])
    answers = channel.stream_stream(method)(iter(requests.get, None), timeout=20)
    requests.put(ONE_REQUEST[method])  # an answer to the first would be under way by now
    with pytest.raises(grpc.RpcError) as caught:
        list(answers)
    requests.put(None)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INTERNAL, "Additional data after the message received.")


@pytest.mark.parametrize("method", ONE_REQUEST)
def test_a_call_without_its_request_is_refused(channel: grpc.Channel, method: str) -> None:
    nothing: Iterator[bytes] = iter(())
    with pytest.raises(grpc.RpcError) as caught:
        list(channel.stream_stream(method)(nothing, timeout=20))
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INTERNAL, "Incomplete message.")


@pytest.mark.parametrize("method", ["Read", "Append", "BatchAppend", "Delete", "Tombstone"])
def test_what_is_no_message_is_refused_with_a_sentence(channel: grpc.Channel, method: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(channel.stream_stream(f"{STREAMS}{method}")(iter([b"\xff"]), timeout=20))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "protobuf cannot decode it" in str(caught.value.details())
