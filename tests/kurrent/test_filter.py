"""Reads of ``$all`` that the server narrows, over both transports, and the last event that such a read can reach."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from tests.oracle import log_of
from tests.stores import NewEvent, Store
from workbench.events import Checkpoint, Selection
from workbench.kurrent import Connection, EventPosition, ReadFilter, Transport, connect


def filter_of(selection: Selection) -> ReadFilter:
    found = ReadFilter.of(selection)
    assert found is not None
    return found


USERS, ORDERS = filter_of(Selection()), filter_of(Selection(categories=("order",)))

STREAMS = ["order-1", "$ce-order", "$svc-all", "$$order-1", "$$$ce-order", "payment-1", "$et-paid", "order-1", "$stats-x", "$et-paid"]


@pytest.fixture(params=["http2", "grpc"])
def transport(request: pytest.FixtureRequest) -> Transport:
    chosen: Transport = request.param
    return chosen


def write(store: Store, streams: list[str]) -> None:
    for stream in streams:
        type_ = "$metadata" if stream.startswith("$$") else "happened"
        store.append(stream, [NewEvent(id=uuid4(), type=type_, data=b"{}")])


def read(source: Connection, upto: EventPosition, only: ReadFilter, after: Checkpoint | None = None) -> list[str]:
    return [name for batch in source.read_batches(after=after, upto=upto, filter=only) for name in batch.events["stream"].to_pylist()]


def ended(source: Connection) -> EventPosition:
    end = source.end()
    assert end is not None
    return end


def test_the_server_sends_only_what_passes_the_filter(store: Store, transport: Transport) -> None:
    write(store, STREAMS)
    with connect(store.uri, transport=transport) as source:
        last = source.last_kept(ended(source), filter=USERS)
        assert last is not None
        assert read(source, last, USERS) == ["order-1", "$svc-all", "$$order-1", "payment-1", "order-1"]
        assert read(source, last, ORDERS) == ["order-1", "$$order-1", "order-1"]


def test_a_filtered_read_begins_at_any_event_of_the_log(store: Store, transport: Transport) -> None:
    write(store, STREAMS)
    log = log_of(store, system=True)[-len(STREAMS) :]
    left_out = next(row for row in log if row[2] == "$et-paid")
    at = Checkpoint(left_out[0], left_out[1], left_out[4], datetime.now(UTC))
    with connect(store.uri, transport=transport) as source:
        last = source.last_kept(ended(source), filter=USERS)
        assert last is not None
        assert read(source, last, USERS, after=at) == ["order-1"]


def test_the_last_event_that_passes_is_the_logs_last_or_the_last_one_before_it(store: Store) -> None:
    write(store, STREAMS)
    with connect(store.uri) as source:
        end = ended(source)
        assert end.stream == "$et-paid"
        last = source.last_kept(end, filter=USERS)
        assert last is not None
        assert (last.stream, last.event_id) == ("order-1", log_of(store)[-1][4])
        # What comes behind the end that was named is never taken for it.
        write(store, ["order-2"])
        assert source.last_kept(end, filter=USERS) == last
        assert source.last_kept(ended(source), filter=USERS) == ended(source)


def test_there_is_no_last_event_where_nothing_passes(store: Store) -> None:
    nothing = filter_of(Selection(streams=("none",)))
    write(store, STREAMS)
    with connect(store.uri) as source:
        assert source.last_kept(ended(source), filter=nothing) is None


def test_a_look_back_shows_only_what_passes(store: Store) -> None:
    write(store, STREAMS)
    with connect(store.uri) as source:
        end = ended(source)
        found = source.points.events_before(end.position, end.prepare_position, count=3, filter=USERS)
    assert found["stream"].to_pylist() == ["order-1", "payment-1", "$$order-1"]
