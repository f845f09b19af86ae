"""How a store starts, stops, refuses to start, and tells who it is."""

import socket
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from esdbclient import EventStoreDBClient, StreamState
from esdbclient.exceptions import AccessDeniedError, DiscoveryFailed, ServiceUnavailable

from tests.embedded.wire import events, proposed
from tests.network import ipv6
from workbench.embedded import NOTICE, Account, Clock, EmbeddedStore
from workbench.embedded.recording.clock import to_ticks
from workbench.embedded.recording.storage import FILE_NAME
from workbench.embedded.store_certificate import credentials
from workbench.errors import EmbeddedStoreError, InvalidTime, UsageError, WorkbenchWarning
from workbench.kurrent import connect


def count(uri: str) -> int:
    client = EventStoreDBClient(uri)
    try:
        return len(list(client.read_all(filter_exclude=[], timeout=10)))
    finally:
        client.close()


# -- life


def test_a_constructor_does_nothing(tmp_path: Path) -> None:
    threads = threading.active_count()
    store = EmbeddedStore(tmp_path / "data")
    assert not (tmp_path / "data").exists()
    assert threading.active_count() == threads
    assert store.port == 0
    store.stop()
    assert store.wait(timeout=0)


def test_a_store_serves_between_start_and_stop() -> None:
    with EmbeddedStore() as store:
        assert not store.wait(timeout=0)
        assert count(store.uri) == 0
        assert str(store.port) in repr(store)
    assert store.wait(timeout=0)
    assert "stopped" in repr(store)
    with pytest.raises(ServiceUnavailable):
        count(store.uri)
    with pytest.raises(EmbeddedStoreError, match="does not run"):
        store.append("s", events(1))


@ipv6
@pytest.mark.parametrize("tls", [False, True])
def test_a_store_serves_at_an_ipv6_address(*, tls: bool) -> None:
    with EmbeddedStore(host="::1", tls=tls) as store:
        assert store.address == f"[::1]:{store.port}"
        assert store.address in store.uri
        assert store.address in repr(store)
        store.append("user-1", events(1))
        assert count(store.uri) == 1
        discovering = f"{store.uri.replace('esdb://', 'esdb+discover://')}&nodePreference=follower"
        with pytest.warns(WorkbenchWarning, match="the leader is read instead"):
            gossiped = connect(discovering)
        with connect(store.uri) as source, gossiped:
            assert source.end() == gossiped.end()
            assert gossiped.leader_address == store.address


def test_stopping_ends_a_subscription(store: EmbeddedStore) -> None:
    client = EventStoreDBClient(store.uri)
    subscription = client.subscribe_to_all(timeout=20)
    store.stop()
    with pytest.raises(Exception, match=r"(?i)cancel|unavailable|reset|closed|ping"):
        next(subscription)
    client.close()


def test_a_store_can_be_started_again_and_stopped_twice(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    for number in range(3):
        store.start()
        store.append("s", events(1))
        assert count(store.uri) == number + 1
        store.stop()
        store.stop()


def test_a_running_store_is_not_started_twice(store: EmbeddedStore) -> None:
    with pytest.raises(EmbeddedStoreError, match="already runs"):
        store.start()


def test_several_stores_run_side_by_side(capfd: pytest.CaptureFixture[str]) -> None:
    stores = [EmbeddedStore().start() for _ in range(3)]
    for number, store in enumerate(stores):
        store.append("s", events(number + 1))
    assert [count(store.uri) for store in stores] == [1, 2, 3]
    stores[1].stop()
    assert [count(store.uri) for store in (stores[0], stores[2])] == [1, 3]
    for store in stores:
        store.stop()
    assert "BlockingIOError" not in capfd.readouterr().err


# -- refusals


def test_a_port_that_is_taken_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(EmbeddedStoreError, match=f"cannot listen at 127.0.0.1:{port}"):
            EmbeddedStore(port=port).start()


def test_an_ipv6_address_is_given_without_brackets() -> None:
    with pytest.raises(UsageError, match=r"'\[::1\]' has brackets: leave them out"):
        EmbeddedStore(host="[::1]")


def test_a_data_folder_in_use_is_refused_and_free_afterwards(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path), pytest.raises(EmbeddedStoreError, match="has the data folder"):
        EmbeddedStore(tmp_path).start()
    with EmbeddedStore(tmp_path):
        pass


def test_a_failed_start_lets_go_of_the_data_folder(tmp_path: Path, store: EmbeddedStore) -> None:
    with pytest.raises(EmbeddedStoreError, match="cannot listen"):
        EmbeddedStore(tmp_path, port=store.port).start()
    with EmbeddedStore(tmp_path):
        pass


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(EmbeddedStoreError, match="holds no event store"):
        EmbeddedStore(tmp_path).start()
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(EmbeddedStoreError, match="cannot be used"):
        EmbeddedStore(tmp_path / "data").start()


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_a_damaged_file_is_refused_and_an_empty_one_is_new(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    if content:
        with pytest.raises(EmbeddedStoreError, match="cannot be opened as an event store"):
            EmbeddedStore(tmp_path).start()
    else:
        with EmbeddedStore(tmp_path) as store:
            assert count(store.uri) == 0


@pytest.mark.parametrize(
    ("pragma", "said"),
    [("CREATE TABLE t (x)", "of another program"), ("PRAGMA user_version = 99", "format 99")],
)
def test_another_programs_or_a_newer_file_is_refused(tmp_path: Path, pragma: str, said: str) -> None:
    with EmbeddedStore(tmp_path):
        pass
    if said.startswith("of"):
        (tmp_path / FILE_NAME).unlink()
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.executescript(pragma)
    connection.close()
    with pytest.raises(EmbeddedStoreError, match=said):
        EmbeddedStore(tmp_path).start()


# -- who it is


def test_gossip_names_one_leader_where_the_client_dialled(store: EmbeddedStore) -> None:
    client = EventStoreDBClient(f"esdb+discover://127.0.0.1:{store.port}?tls=false")
    (member,) = client.read_gossip()
    assert (member.state, member.address, member.port) == ("NODE_STATE_LEADER", "127.0.0.1", store.port)
    client.append_event("s", current_version=StreamState.ANY, event=proposed())
    client.close()
    assert count(store.uri) == 1


def test_what_is_not_there_says_so(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    assert list(client.list_subscriptions()) == []
    with pytest.raises(Exception, match="UNIMPLEMENTED"):
        client.create_subscription_to_all("group")
    with pytest.raises(Exception, match="UNIMPLEMENTED"):
        client.create_projection(name="p", query="fromAll()")


@pytest.mark.parametrize("accepts", [True, False])
def test_server_features_list_the_methods_and_whether_timestamps_are_accepted(*, accepts: bool) -> None:
    with EmbeddedStore(accept_timestamps=accepts) as store, grpc.insecure_channel(store.address) as channel:
        call = channel.unary_unary("/event_store.client.server_features.ServerFeatures/GetSupportedMethods")
        answer = call(b"", timeout=10)
    assert b"\x0a\x0bbatchappend\x12\x22event_store.client.streams.streams\x1a\x11deadline_duration" in answer
    assert (b"\x0a\x0atimestamps\x12\x12workbench.embedded" in answer) is accepts
    assert answer.endswith(b"\x12\x0625.0.1")


def test_what_the_store_lacks_is_listed_and_unimplemented(store: EmbeddedStore) -> None:
    with grpc.insecure_channel(store.address) as channel:
        features = channel.unary_unary("/event_store.client.server_features.ServerFeatures/GetSupportedMethods")(b"", timeout=10)
        for package, service, method in (
            ("persistent_subscriptions", "PersistentSubscriptions", "GetInfo"),
            ("projections", "Projections", "Statistics"),
            ("users", "Users", "Details"),
        ):
            name = f"event_store.client.{package}.{service}"
            assert name.lower().encode() in features
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(f"/{name}/{method}")(b"", timeout=10)
            assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNIMPLEMENTED, "Method is unimplemented.")


def test_the_notice_says_what_the_store_is_for() -> None:
    assert "development and demonstration" in NOTICE
    assert "development and demonstration" in str(EmbeddedStore.__doc__)


# -- users


@pytest.fixture
def guarded() -> EmbeddedStore:
    return EmbeddedStore(tls=True, username="admin", password="changeit", users={"analyst": Account("secret")})


def test_an_admin_reads_everything_over_tls(guarded: EmbeddedStore) -> None:
    with guarded as store:
        store.append("s", events(2))
        assert count(store.uri) == 2
        assert store.uri.startswith("esdb://admin:changeit@127.0.0.1:")
        assert store.ca_file is not None
        assert store.ca_file.exists()
    assert not store.ca_file.exists()


def test_a_certificate_is_good_for_localhost_too(guarded: EmbeddedStore) -> None:
    with guarded as store:
        assert count(store.uri.replace("127.0.0.1", "localhost")) == 0


@pytest.mark.parametrize(
    ("login", "code", "said"),
    [
        ("admin:wrong@", "UNAUTHENTICATED", ""),
        ("nobody:changeit@", "UNAUTHENTICATED", ""),
        ("analyst:secret@", "PERMISSION_DENIED", "Access Denied"),
    ],
)
def test_who_may_not_read_all_is_told_why(guarded: EmbeddedStore, login: str, code: str, said: str) -> None:
    with guarded as store:
        store.append("s", events(1))
        with pytest.raises(Exception, match=code) as caught:
            count(store.uri.replace("admin:changeit@", login))
        assert said in str(caught.value)


def test_a_user_without_rights_has_the_streams_of_users_only(guarded: EmbeddedStore) -> None:
    with guarded as store:
        client = EventStoreDBClient(store.uri_for("analyst"))
        client.append_event("s", current_version=StreamState.ANY, event=proposed())
        client.set_stream_metadata("s", metadata={"$maxCount": 9})
        assert len(client.get_stream("s")) == 1
        with pytest.raises(Exception, match="PERMISSION_DENIED"):
            client.get_stream("$settings")
        with pytest.raises(Exception, match="PERMISSION_DENIED"):
            client.list_subscriptions()
        with pytest.raises(AccessDeniedError):
            client.append_events("$system", current_version=StreamState.ANY, events=[proposed()])
        client.close()


def test_the_trailer_of_a_refusal(guarded: EmbeddedStore) -> None:
    with guarded as store:
        assert store.ca_file is not None
        credentials = grpc.ssl_channel_credentials(store.ca_file.read_bytes())
        with grpc.secure_channel(store.address, credentials) as channel:
            call = channel.unary_stream("/event_store.client.streams.Streams/Read")
            with pytest.raises(grpc.RpcError) as caught:
                list(call(b"\x0a\x0a\x12\x02\x12\x00\x28\x01\x4a\x02\x12\x00", timeout=10))  # $all from its start, as nobody
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert ("exception", "access-denied") in [tuple(pair) for pair in caught.value.trailing_metadata()]


def test_a_client_without_tls_finds_no_server(guarded: EmbeddedStore) -> None:
    with guarded as store, pytest.raises((ServiceUnavailable, DiscoveryFailed)):
        count(f"esdb://{store.address}?tls=false")


def test_a_host_that_no_certificate_can_name_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedStoreError, match=r"A certificate cannot name the host 'my_host' .*: use another name, or its IP address"):
        credentials(tmp_path, host="my_host")


def test_a_durable_store_keeps_its_certificate(tmp_path: Path) -> None:
    def certificate() -> bytes:
        with EmbeddedStore(tmp_path, tls=True) as store:
            assert store.ca_file is not None
            assert count(store.uri) == 0
            return store.ca_file.read_bytes()

    assert certificate() == certificate()
    assert (tmp_path / "tls" / "server.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"username": "admin", "password": "changeit"},
        {"tls": True, "username": "admin"},
        {"tls": True, "password": "changeit"},
        {"users": {"analyst": Account("secret")}},
        {"tls": True, "username": "a@b", "password": "changeit"},
        {"tls": True, "username": "admin", "password": "with space"},
        {"tls": True, "username": "admin", "password": ""},
    ],
)
def test_credentials_that_no_client_could_send_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        EmbeddedStore(**arguments)


@pytest.mark.parametrize("port", [-1, 65_536, 99_999])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match=str(port)):
        EmbeddedStore(port=port)


# -- the clock


def test_a_clock_follows_the_system_until_it_is_set() -> None:
    clock = Clock()
    now = to_ticks(datetime.now(UTC))
    assert abs(clock() - now) < 600_000_000
    clock.set(datetime(2020, 1, 1, tzinfo=UTC))
    clock.advance(timedelta(seconds=-1))
    assert clock() == to_ticks(datetime(2019, 12, 31, 23, 59, 59, tzinfo=UTC))
    clock.reset()
    assert clock() >= now
    with pytest.raises(InvalidTime, match="no time zone"):
        clock.set(datetime(2020, 1, 1))  # noqa: DTZ001 - that is the point


def test_events_are_stamped_by_the_stores_clock() -> None:
    moment = datetime(2026, 3, 1, 9, tzinfo=UTC)
    clock = Clock(moment)
    with EmbeddedStore(clock=clock) as store:
        store.append("s", events(1))
        clock.advance(timedelta(hours=-1))
        store.append("s", events(1))
        client = EventStoreDBClient(store.uri)
        assert [event.recorded_at for event in client.get_stream("s")] == [moment, moment - timedelta(hours=1)]
        client.close()
