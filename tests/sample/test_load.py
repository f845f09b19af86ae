"""Loading the sample over gRPC: what the store then holds is the history, to the byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.stores import Store
from workbench.errors import SourceError, WrongExpectedRevision
from workbench.events import MAX_POSITION
from workbench.kurrent import ANY, Connection, EventToWrite, connect
from workbench.sample import generate, load

EVENTS, SEED = 4_000, 3


pytestmark = pytest.mark.needs("fresh server")


@pytest.fixture
def source(store: Store) -> Iterator[Connection]:
    with connect(store.uri) as connection:
        yield connection


def _rows(source: Connection) -> list[dict[str, Any]]:
    """Return the whole log, a server's own events included."""
    end = source.end()
    if end is None:
        return []
    return [row for batch in source.read_batches(upto=end) for row in batch.events.to_pylist()]


def _bytes(row: dict[str, Any], column: str) -> bytes:
    text: str | None = row[column]
    recorded: bytes = row[f"{column}_bytes"] if text is None else text.encode()
    return recorded


def test_the_store_then_holds_the_history_event_for_event(source: Connection) -> None:
    own = len(_rows(source))
    summary = load(source, events=EVENTS, seed=SEED)
    system = generate(events=EVENTS, seed=SEED)
    history = list(system.events())
    rows = _rows(source)[own:]
    assert len(rows) == len(history) == summary.events == EVENTS
    for row, event in zip(rows, history, strict=True):
        assert (row["stream"], row["type"], row["revision"]) == (event.stream, event.type, min(event.revision, MAX_POSITION))
        assert (_bytes(row, "data"), _bytes(row, "metadata"), row["is_json"]) == (event.data, event.metadata, event.is_json)
        if event.id:  # else the store's own
            assert row["event_id"] == event.id
            assert not summary.accepts_timestamps or row["recorded_ticks"] == event.ticks
    assert {event.type for event in history if not event.id} == {"$streamDeleted", "$metadata"}
    assert summary.conflicts == system.facts.conflicts > 0
    assert summary.streams == len({row["stream"] for row in rows})
    assert sum(summary.by_service.values()) == EVENTS


@pytest.mark.needs("timestamps")
def test_a_store_that_takes_times_gets_those_at_which_the_events_happened(source: Connection) -> None:
    summary = load(source, events=600, seed=SEED)
    assert summary.accepts_timestamps
    assert summary.note is None
    stamps = [row["recorded_ticks"] for row in _rows(source)[-500:]]
    assert max(stamps) - min(stamps) > 24 * 60 * 60 * 10**7


def test_a_store_that_holds_a_sample_is_refused_and_left_as_it_is(source: Connection) -> None:
    load(source, events=100, seed=1)
    before = source.end()
    for seed in (1, 2):
        with pytest.raises(SourceError, match="is not empty: stream '"):
            load(source, events=500, seed=seed)
    assert source.end() == before


def test_progress_rises_to_the_number_of_events(source: Connection) -> None:
    told: list[tuple[int, int]] = []
    load(source, events=3_000, seed=1, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (3_000, 3_000)
    assert len(told) > 4


@pytest.mark.needs("faults")
def test_a_store_that_stamps_events_itself_is_loaded_and_said_to_compress_the_past(new_store: Callable[..., Store]) -> None:
    with connect(new_store(accept_timestamps=False).uri) as source:
        summary = load(source, events=300, days=20, seed=1)
        stamps = [row["recorded_ticks"] for row in _rows(source)]
    assert not summary.accepts_timestamps
    assert "the 20 days are compressed into" in (summary.note or "")
    assert max(stamps) - min(stamps) < 60 * 10**7


def test_a_stream_that_somebody_else_writes_to_ends_the_load_with_a_hint(source: Connection) -> None:
    def write(done: int, total: int) -> None:
        with source.writer() as writer:
            for number in range(1, 100):
                writer.append(f"registration-{number}", [EventToWrite("theirs")], expected=ANY)

    with pytest.raises(WrongExpectedRevision, match=r"'registration-\d+' is at revision \d+.*load the sample into a fresh one"):
        load(source, events=2_000, seed=1, progress=write)


def test_a_store_to_which_somebody_wrote_is_refused_though_it_holds_no_sample(source: Connection) -> None:
    with source.writer() as writer:
        writer.append("order-1", [EventToWrite("order.placed")], expected=ANY)
    before = source.end()
    with pytest.raises(SourceError, match=r"stream 'order-1' has events. Nothing was written"):
        load(source, events=100, seed=1)
    assert source.end() == before


def test_what_a_server_writes_for_itself_does_not_make_a_store_full(source: Connection) -> None:
    with source.writer() as writer:
        writer.set_metadata("$scavenges", {"$maxAge": 60})
        writer.append("$users", [EventToWrite("$User")], expected=ANY)
    own = len(_rows(source))
    load(source, events=100, seed=1)
    assert len(_rows(source)) == own + 100
