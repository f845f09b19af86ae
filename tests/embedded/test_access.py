"""Who may do what with which stream."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import grpc
import pytest
from esdbclient.protos.Grpc import streams_pb2, streams_pb2_grpc

from tests.embedded.wire import events, read_all, read_stream
from workbench.embedded import EmbeddedStore, NewEvent
from workbench.embedded.calls.access import DELETE, READ, WRITE, Right, may
from workbench.embedded.calls.accounts import Account
from workbench.embedded.recording.log import Log
from workbench.embedded.recording.storage import MemoryStorage

ANALYST, NOBODY, ADMIN = {"$all", "analyst"}, {"$all"}, {"$all", "admin", "$admins"}


@pytest.fixture
def log() -> Log:
    return Log(MemoryStorage(), now=lambda: 0)


def metadata(stream_acl: object) -> list[NewEvent]:
    return [NewEvent(uuid4(), "$metadata", json.dumps({"$acl": stream_acl}).encode())]


def defaults(**acls: object) -> list[NewEvent]:
    return [NewEvent(uuid4(), "update-default-acl", json.dumps({f"${name}": acl for name, acl in acls.items()}).encode())]


def rights(log: Log, roles: set[str], stream: str) -> list[Right]:
    return [right for right in (READ, WRITE, DELETE) if may(roles, right, stream, log)]


@pytest.mark.parametrize("roles", [ANALYST, NOBODY])
def test_by_default_all_have_the_streams_of_users_and_nobody_those_of_the_system(log: Log, roles: set[str]) -> None:
    for stream in ("s", "$$s"):
        assert rights(log, roles, stream) == [READ, WRITE, DELETE]
    for stream in ("$all", "$settings", "$$$settings", "$$$all"):
        assert rights(log, roles, stream) == []


def test_admins_may_do_everything(log: Log) -> None:
    log.append("$$s", metadata({"$r": [], "$w": "nobody"}))
    assert rights(log, ADMIN, "s") == rights(log, ADMIN, "$settings") == [READ, WRITE, DELETE]


@pytest.mark.parametrize("analysts", ["analyst", ["ops", "analyst"]], ids=["a text", "a list"])
def test_the_access_list_of_a_stream_names_who_may(log: Log, analysts: object) -> None:
    log.append("$$s", metadata({"$r": analysts, "$w": "ops", "$d": []}))
    assert rights(log, ANALYST, "s") == [READ]
    assert rights(log, NOBODY, "s") == []
    log.append("$$$all", metadata({"$r": analysts}))
    assert rights(log, ANALYST, "$all") == [READ]
    assert rights(log, NOBODY, "$all") == []


def test_metadata_goes_by_its_own_rights_in_the_list_of_its_stream(log: Log) -> None:
    log.append("$$s", metadata({"$mr": "analyst", "$mw": "ops"}))
    assert rights(log, ANALYST, "$$s") == [READ]
    assert rights(log, NOBODY, "$$s") == []
    assert rights(log, ANALYST, "s") == [READ, WRITE, DELETE]


def test_the_settings_say_what_holds_where_a_stream_says_nothing(log: Log) -> None:
    log.append("$settings", defaults(userStreamAcl={"$r": "ops", "$w": "analyst"}, systemStreamAcl={"$r": ["analyst"]}))
    log.append("$$open", metadata({"$r": "$all"}))
    assert rights(log, ANALYST, "s") == [WRITE, DELETE]
    assert rights(log, ANALYST, "open") == [READ, WRITE, DELETE]
    assert rights(log, ANALYST, "$all") == rights(log, ANALYST, "$settings") == [READ]
    assert rights(log, NOBODY, "$all") == []


def test_metadata_that_is_none_gives_and_takes_no_rights(log: Log) -> None:
    log.append("$$s", [NewEvent(uuid4(), "$metadata", b"junk")])
    assert rights(log, NOBODY, "s") == [READ, WRITE, DELETE]


# -- over the wire


@pytest.fixture
def guarded() -> Iterator[EmbeddedStore]:
    with EmbeddedStore(tls=True, username="admin", password="changeit", users={"analyst": Account("secret")}) as store:
        yield store


@pytest.fixture
def channel(guarded: EmbeddedStore) -> Iterator[grpc.Channel]:
    assert guarded.ca_file is not None
    with grpc.secure_channel(guarded.address, grpc.ssl_channel_credentials(guarded.ca_file.read_bytes())) as channel:
        yield channel


def append_of_nothing(stream: str) -> Iterator[streams_pb2.AppendReq]:
    options = streams_pb2.AppendReq.Options(any={})
    options.stream_identifier.stream_name = stream.encode()
    yield streams_pb2.AppendReq(options=options)


def delete(stream: str) -> streams_pb2.DeleteReq:
    options = streams_pb2.DeleteReq.Options(any={})
    options.stream_identifier.stream_name = stream.encode()
    return streams_pb2.DeleteReq(options=options)


def login(user: str) -> dict[str, Any]:
    texts = {"analyst": "YW5hbHlzdDpzZWNyZXQ=", "wrong": "YW5hbHlzdDpndWVzcw=="}  # analyst:secret, analyst:guess
    return {"metadata": (("authorization", f"Basic {texts[user]}"),), "timeout": 20}


def test_each_kind_of_call_asks_for_its_right(guarded: EmbeddedStore, channel: grpc.Channel) -> None:
    guarded.append("s", events(1))
    stub = streams_pb2_grpc.StreamsStub(channel)
    calls: dict[str, Callable[[], object]] = {
        "$r": lambda: list(stub.Read(read_stream("s"), **login("analyst"))),
        "$w": lambda: stub.Append(append_of_nothing("s"), **login("analyst")),
        "$mr": lambda: list(stub.Read(read_stream("$$s"), **login("analyst"))),
        "$mw": lambda: stub.Append(append_of_nothing("$$s"), **login("analyst")),
        "$d": lambda: stub.Delete(delete("s"), **login("analyst")),
    }
    for right, call in calls.items():
        guarded.append("$$s", metadata({right: "$admins"}))
        for other, allowed in calls.items():
            if other == right:
                with pytest.raises(grpc.RpcError) as caught:
                    call()
                assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            elif other != "$d":  # which would change the list
                allowed()


def test_an_access_list_lets_others_read_all(guarded: EmbeddedStore, channel: grpc.Channel) -> None:
    guarded.append("$$$all", metadata({"$r": "analyst"}))
    stub = streams_pb2_grpc.StreamsStub(channel)
    assert len(list(stub.Read(read_all(), **login("analyst")))) == 1
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.Read(read_all(), timeout=20))
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    "method",
    [
        "event_store.client.streams.Streams/Read",
        "event_store.client.server_features.ServerFeatures/GetSupportedMethods",
        "event_store.client.streams.Streams/NoSuch",
        "nothing.Nothing/Read",
    ],
)
def test_a_wrong_password_is_refused_whatever_is_called(channel: grpc.Channel, method: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"/{method}")(b"", **login("wrong"))
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAUTHENTICATED, "Unauthenticated")
