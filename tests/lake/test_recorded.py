"""Single events of a lake, looked up for a comparison with its store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracle import fill, log_of, new_events
from tests.stores import Store as RunningStore
from workbench.events import EventAt, Selection, Store
from workbench.export import copy, export_log
from workbench.lake import LakeWriter, open_lake
from workbench.server_streams import is_server_stream


@pytest.mark.needs("faults")
@pytest.mark.parametrize("cluster", [True, False])
def test_the_newest_event_of_each_users_stream_comes_newest_first(
    store: RunningStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: bool
) -> None:
    monkeypatch.setattr(copy, "COMMIT_EVENTS", 20)
    for part in range(6):
        fill(store, 50, begin=part * 50)
        store.append(f"once-{part}", new_events(2))
        store.faults.transaction("account-1", new_events(3))
        export_log(store.uri, tmp_path / "lake", cluster=cluster)
    newest: dict[str, EventAt] = {}
    for row in log_of(store):
        if not row[2].startswith("$$") and not is_server_stream(row[2]):
            newest[row[2]] = EventAt(*row[:6])
    expected = sorted(newest.values(), key=lambda event: event.order, reverse=True)
    held = open_lake(tmp_path / "lake").info()
    with LakeWriter.open(tmp_path / "lake", store=held.store, selection=held.selection) as writer:
        recorded = writer.recorded()
        assert list(recorded.newest_of_streams(most=1000)) == expected
        for most in (1, 3, 8):
            assert list(recorded.newest_of_streams(most=most)) == expected[:most]


def test_a_lake_holds_an_event_only_by_its_place_and_its_id(store: RunningStore, tmp_path: Path) -> None:
    fill(store, 30)
    export_log(store.uri, tmp_path / "lake")
    events = [(row[0], row[1], row[4]) for row in log_of(store)]
    another = (events[3][0], events[3][1], events[4][2])
    elsewhere = (events[3][0] + 1, events[3][1] + 1, events[3][2])
    with LakeWriter.open(tmp_path / "lake", store=Store(store.address), selection=Selection()) as writer:
        recorded = writer.recorded()
        assert recorded.holds([events[3], another, elsewhere, events[29]]) == {events[3], events[29]}
        assert recorded.holds([]) == set()


def test_an_empty_lake_has_no_newest_events(tmp_path: Path) -> None:
    with LakeWriter.open(tmp_path / "lake", store=Store("esdb://localhost:2113"), selection=Selection()) as writer:
        assert list(writer.recorded().newest_of_streams(most=8)) == []
        assert writer.recorded().holds([(1, 1, "a")]) == set()
