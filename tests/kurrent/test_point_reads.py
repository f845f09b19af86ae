"""Reads of single events: what the log holds at a position, before it, and in a stream, whatever was taken away from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from esdbclient import EventStoreDBClient, StreamState

from tests.oracle import fill, log_of, new_events
from tests.stores import NewEvent, Store
from workbench.errors import InvalidPosition, StreamDeleted
from workbench.events import EventAt
from workbench.kurrent import PointReader, StreamMetadata, connect

pytestmark = pytest.mark.needs("fresh server")


@pytest.fixture
def points(store: Store) -> Iterator[PointReader]:
    with connect(store.uri) as source:
        yield source.points


def metadata(store: Store, stream: str, data: bytes, *, is_json: bool = True) -> None:
    store.append(f"$${stream}", [NewEvent(id=new_events(1)[0].id, type="$metadata", data=data, is_json=is_json)])


@pytest.mark.needs("faults")
def test_each_event_is_read_at_its_own_position(store: Store, points: PointReader) -> None:
    fill(store, 60)
    store.faults.transaction("account-1", new_events(5))
    for row in log_of(store):
        assert points.event_at(row[0], row[1]) == EventAt(*row[:6])


def test_behind_the_end_of_the_log_there_is_no_event(store: Store, points: PointReader) -> None:
    fill(store, 3)
    assert points.event_at(10**12, 10**12) is None


def test_a_position_of_no_record_is_refused_by_name(store: Store, points: PointReader) -> None:
    fill(store, 3)
    place = log_of(store)[1][0] + 1
    with pytest.raises(InvalidPosition):
        points.event_at(place, place)
    with pytest.raises(InvalidPosition):
        points.events_before(place, place, count=1)
    with pytest.raises(InvalidPosition):
        points.event_at(place - 1, place)


def test_events_before_a_position_come_newest_first_and_leave_it_out(store: Store, points: PointReader) -> None:
    fill(store, 40)
    log = log_of(store, system=True)
    found = points.events_before(log[20][0], log[20][1], count=5)
    assert found["event_id"].to_pylist() == [row[4] for row in log[19:14:-1]]
    assert points.events_before(log[0][0], log[0][1], count=5).num_rows == 0


def test_an_event_is_read_in_its_stream_at_or_behind_a_revision(store: Store, points: PointReader) -> None:
    store.append("a", new_events(6))
    log = [row for row in log_of(store) if row[2] == "a"]
    assert points.event_in_stream("a", 3) == EventAt(*log[3][:6])
    metadata(store, "a", b'{"$tb":5}')
    assert points.event_in_stream("a", 3) == EventAt(*log[5][:6])
    assert points.event_in_stream("a", 6) is None
    assert points.event_in_stream("never-written", 0) is None


def test_a_tombstoned_stream_is_said_to_be_deleted(store: Store, points: PointReader) -> None:
    store.append("a", new_events(2))
    with closing(EventStoreDBClient(store.uri)) as client:
        client.tombstone_stream("a", current_version=StreamState.ANY)
    with pytest.raises(StreamDeleted):
        points.event_in_stream("a", 0)


@pytest.mark.parametrize(
    ("data", "may_hide"),
    [
        (b"{}", False),
        (b'{"$maxCount": 3}', True),
        (b'{"$maxAge": 60}', True),
        (b'{"$tb": 9}', True),
        (b'{"\\u0024tb": 9}', True),
        (b'{"$acl": {"$r": "$all"}, "owner": "me"}', False),
        (b'{"$maxCount": 3} trailing', True),
        (b"\xff", False),
        (b"[1]", False),
    ],
)
def test_metadata_says_whether_it_may_hide_events(store: Store, points: PointReader, data: bytes, may_hide: bool) -> None:
    store.append("a", new_events(1))
    assert points.stream_metadata("a") is None
    metadata(store, "a", b"{}")
    metadata(store, "a", data)
    assert points.stream_metadata("a") == StreamMetadata(revision=1, may_hide=may_hide)
