"""With ``links=True`` a store writes what the system projections of a real server wrote, whose log of 738 events lies beside this file."""

import base64
import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from esdbclient import EventStoreDBClient, RecordedEvent, StreamState

from tests.embedded.wire import events
from workbench.embedded import ANY, EmbeddedStore, NewEvent
from workbench.embedded.recording.clock import to_ticks

RECORDED = Path(__file__).with_name("projections.jsonl.gz")
WRITTEN = ("$ce-", "$et-", "$bc-", "$category-", "$streams", "$projections-")


class Event(NamedTuple):
    """An event of either log."""

    position: int
    stream: str
    revision: int
    type: str
    id: str
    created: datetime
    is_json: bool
    data: str
    metadata: str


@cache
def recorded() -> list[Event]:
    def text(row: dict[str, Any], name: str) -> str:
        return row[name] if name in row else base64.b64decode(row[f"{name}_base64"]).decode()

    rows = [json.loads(line) for line in gzip.decompress(RECORDED.read_bytes()).splitlines()]
    return [
        Event(
            row["position"],
            row["stream"],
            row["revision"],
            row["type"],
            row["id"],
            datetime.fromisoformat(row["created"]),
            row["content_type"] == "application/json",
            text(row, "data"),
            text(row, "metadata"),
        )
        for row in rows
    ]


def log_of(client: EventStoreDBClient) -> list[Event]:
    def row(event: RecordedEvent) -> Event:
        assert event.commit_position is not None
        assert event.recorded_at is not None
        is_json = event.content_type == "application/json"
        place = (event.commit_position, event.stream_name, event.stream_position, event.type, str(event.id), event.recorded_at, is_json)
        return Event(*place, event.data.decode(), event.metadata.decode())

    return [row(event) for event in client.read_all(filter_exclude=[])]


def is_users(event: Event) -> bool:
    return not event.stream.removeprefix("$$").startswith("$")


def written(log: list[Event]) -> dict[str, list[tuple[str, bool, str, str]]]:
    """What stands in each stream that projections write, with positions and ids replaced by the places that they name."""
    place = {event.position: f"{event.revision}@{event.stream}" for event in log}
    place_of_id = {event.id: place[event.position] for event in log}

    def by_place(metadata: str) -> str:
        values = json.loads(metadata) if metadata else {}
        values.update({name: place[values[name]] for name in ("$c", "$p") if values.get(name, -1) > 0})
        values.update({name: place_of_id[values[name]] for name in ("$causedBy",) if name in values})
        return json.dumps(values)

    found = defaultdict(list)
    for event in log:
        if event.stream.removeprefix("$$").startswith(WRITTEN) or event.stream in {"$et", "$$$et"}:
            found[event.stream].append((event.type, event.is_json, event.data, by_place(event.metadata)))
    return dict(found)


def replay(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    """Append the users' events of the recorded log, with their ids and times."""
    # The times of events were rounded when they were written down, and those in the links were not.
    exact = {event.data: json.loads(event.metadata)["$eventTimestamp"] for event in recorded() if event.stream.startswith("$bc-")}
    for event in filter(is_users, recorded()):
        if event.type == "$streamDeleted":
            client.tombstone_stream(event.stream, current_version=StreamState.ANY)
        else:
            created = datetime.fromisoformat(exact.get(f"{event.revision}@{event.stream}", event.created.isoformat()))
            new = NewEvent(
                UUID(event.id), event.type, event.data.encode(), event.metadata.encode(), event.is_json, created=to_ticks(created)
            )
            store.append(event.stream, [new], expected=ANY if event.stream.startswith("$$") else event.revision - 1)


@pytest.fixture
def store() -> Iterator[EmbeddedStore]:
    with EmbeddedStore(links=True) as running:
        yield running


def test_the_projections_write_what_those_of_a_real_server_wrote(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    replay(store, client)
    expected, found = written(recorded()), written(log_of(client))
    assert found.keys() == expected.keys()
    for stream, content in expected.items():
        assert found[stream] == content


def test_links_stand_behind_what_they_lead_to_and_resolve(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    store.append("order-1", events(3))
    found = client.get_stream("$ce-order", resolve_links=True)
    assert [(event.stream_name, event.stream_position) for event in found] == [("order-1", number) for number in range(3)]
    log = log_of(client)
    begin = next(number for number, event in enumerate(log) if is_users(event))
    assert [is_users(event) for event in log[begin:]] == [True] * 3 + [False] * (len(log) - begin - 3)
    assert {event.created for event in log[begin + 3 :]} <= {event.created for event in log[begin : begin + 3]}


@pytest.mark.parametrize(
    ("stream", "metadata", "expected"),
    [
        ("alone", b"", {"$streams", "$et-t"}),
        ("-x", b"", {"$streams", "$et-t"}),
        ("a-b-c", b"", {"$streams", "$category-a", "$ce-a", "$et-t"}),
        ("a-b", b'{"$correlationId":"c-1"}', {"$streams", "$category-a", "$ce-a", "$et-t", "$bc-c-1"}),
        ("a-b", b'{"$correlationId":7}', {"$streams", "$category-a", "$ce-a", "$et-t", "$bc-7"}),
        ("a-b", b'{"$correlationId":7.0}', {"$streams", "$category-a", "$ce-a", "$et-t", "$bc-7"}),
        ("a-b", b'{"$correlationId":null}', {"$streams", "$category-a", "$ce-a", "$et-t"}),
        ("a-b", b'"$correlationId"', {"$streams", "$category-a", "$ce-a", "$et-t"}),
        ("$svc-catch-all", b"", set()),
        ("$$$svc-catch-all", b"", set()),
    ],
)
def test_an_event_is_indexed_by_what_it_is(
    store: EmbeddedStore, client: EventStoreDBClient, stream: str, metadata: bytes, expected: set[str]
) -> None:
    before = len(log_of(client))
    store.append(stream, [NewEvent(uuid4(), "t", b"{}", metadata)])
    new = log_of(client)[before + 1 :]
    assert {event.stream for event in new if event.type != "$metadata"} == expected
    assert {event.stream for event in new if event.type == "$metadata"} == {"$$" + name for name in expected}


def test_links_of_a_user_are_indexed_by_category_alone_and_only_where_their_stream_is_there(
    store: EmbeddedStore, client: EventStoreDBClient
) -> None:
    store.append("a-1", events(2))
    store.append("gone-1", events(1))
    client.tombstone_stream("gone-1", current_version=StreamState.ANY)
    targets = [b"1@a-1", b"9@a-1", b"0@gone-1", b"0@never-1", b"no link"]
    store.append("links-1", [NewEvent(uuid4(), "$>", target, is_json=False) for target in targets])
    store.append("links-2", [NewEvent(uuid4(), "$>", b"0@links-1", is_json=False)])
    assert [event.data for event in client.get_stream("$ce-links")] == [b"1@a-1", b"-1@", b"no link", b"1@a-1"]
    assert not [event for event in log_of(client) if event.stream == "$et-$>"]


def test_links_are_written_once_over_restarts_and_for_a_log_that_had_none(tmp_path: Path) -> None:
    for links, count in ((False, 0), (True, 2), (True, 3)):
        with EmbeddedStore(tmp_path, links=links) as store:
            store.append("a-1", events(1))
            client = EventStoreDBClient(store.uri)
            assert len([event for event in log_of(client) if event.stream == "$ce-a"]) == count
            client.close()


def test_links_go_on_after_a_scavenge_and_a_restored_backup(store: EmbeddedStore, client: EventStoreDBClient) -> None:
    first, second = (store.append("a-1", events(1)) for _ in range(2))
    store.faults.scavenge([first.commit])
    store.append("a-1", events(1))
    assert [event.data for event in client.get_stream("$ce-a")] == [b"0@a-1", b"1@a-1", b"2@a-1"]
    store.faults.restore(upto=second.commit)  # the backup lacks the links of its last event
    store.append("a-1", events(1))
    assert [event.data for event in client.get_stream("$ce-a")] == [b"0@a-1", b"1@a-1", b"2@a-1"]
