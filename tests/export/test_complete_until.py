"""Until when a lake is complete: no event that comes later has a time up to which that was promised."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.export.watch import Watch
from tests.oracle import lake_rows, log_of, new_events
from tests.stores import NewEvent, Store, clock_of
from workbench.errors import BeyondExport, UsageError
from workbench.export import ExportSummary, export_log
from workbench.export.complete_until import VISIBLE_WITHIN, HighWaterMark
from workbench.kurrent import EventPosition
from workbench.lake import open_lake

pytestmark = pytest.mark.needs("faults", "clock", "fresh server")

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
NewStore = Callable[..., Store]


@pytest.fixture
def real(new_store: NewStore) -> Store:
    """A store that stamps events itself, as a real server does, at noon."""
    store = new_store(accept_timestamps=False)
    clock_of(store).set(NOON)
    return store


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def export(store: Store, lake: Path, *, watch: Watch | None = None, until: datetime | None = None) -> ExportSummary:
    return export_log(store.uri, lake, clock=(watch or Watch()).clock, until=until)


def complete_until(store: Store, lake: Path) -> datetime:
    checkpoint = export(store, lake).checkpoint
    assert checkpoint is not None
    assert open_lake(lake).info().complete_until == checkpoint.complete_until
    return checkpoint.complete_until


# -- the formula


@given(
    stamp=st.none() | st.integers(0, 100),
    date=st.none() | st.integers(0, 100),
    previous=st.none() | st.integers(0, 100),
)
def test_a_promise_is_the_previous_one_the_last_stamp_or_ten_seconds_before_the_date(
    stamp: int | None, date: int | None, previous: int | None
) -> None:
    end = EventPosition(1, 1, "a", recorded_at=None if stamp is None else after(stamp))
    mark = HighWaterMark(end, None if date is None else after(date))
    expected = [] if previous is None else [after(previous)]
    if stamp is not None:
        expected.append(after(stamp) - TICK if date is None else min(after(stamp) - TICK, after(date)))
    if date is not None:
        expected.append(after(date) - VISIBLE_WITHIN)
    found = mark.complete_until(None if previous is None else after(previous))
    assert found == max(expected, default=datetime.fromtimestamp(0, UTC))


# -- events that are stamped before they can be read


def test_an_event_that_was_stamped_before_it_could_be_read_breaks_no_promise(real: Store, tmp_path: Path) -> None:
    real.append("a", new_events(3))
    real.faults.visibility_delay = math.inf
    clock_of(real).set(after(1))
    waiting = threading.Thread(target=real.append, args=("a", new_events(1)))
    waiting.start()
    try:
        time.sleep(0.2)  # it is stamped long before
        clock_of(real).set(after(9))
        promised = complete_until(real, tmp_path / "lake")
    finally:
        real.faults.visibility_delay = 0
        waiting.join()
    export(real, tmp_path / "lake")
    late = lake_rows(tmp_path / "lake")[-1]
    assert len(lake_rows(tmp_path / "lake")) == 4
    assert datetime.fromtimestamp(late[6] / 1e7, UTC) > promised
    assert promised == NOON - TICK


def test_an_idle_log_is_complete_until_ten_seconds_before_the_servers_date(real: Store, tmp_path: Path) -> None:
    real.append("a", new_events(3))
    assert complete_until(real, tmp_path / "lake") == NOON - TICK
    clock_of(real).set(after(60))
    assert complete_until(real, tmp_path / "lake") == after(50)
    assert export(real, tmp_path / "lake").events_read == 0


def test_a_promise_is_never_taken_back(real: Store, tmp_path: Path) -> None:
    clock_of(real).set(after(60))
    real.append("a", new_events(3))
    clock_of(real).set(after(120))
    promised = complete_until(real, tmp_path / "lake")
    clock_of(real).set(after(20))
    real.append("a", new_events(1))
    assert complete_until(real, tmp_path / "lake") == promised == after(110)


def test_a_stamp_ahead_of_the_servers_date_promises_no_more_than_the_date(real: Store, tmp_path: Path) -> None:
    clock_of(real).set(after(60))
    real.append("a", new_events(3))
    clock_of(real).set(after(30))
    assert complete_until(real, tmp_path / "lake") == after(30)


def test_without_a_date_the_own_clock_before_the_question_stands_in(new_store: NewStore, tmp_path: Path) -> None:
    store = new_store(accept_timestamps=False)
    store.faults.date_header = False
    store.append("a", new_events(3))
    watch = Watch()
    watch.slept.append(3600)  # an hour later
    begun = watch.clock.now()
    checkpoint = export(store, tmp_path / "lake", watch=watch).checkpoint
    assert checkpoint is not None
    assert begun <= checkpoint.complete_until + VISIBLE_WITHIN <= watch.clock.now()


def test_a_store_that_accepts_given_times_promises_up_to_its_date(new_store: NewStore, tmp_path: Path) -> None:
    store = new_store(accept_timestamps=True)
    clock_of(store).set(NOON)
    store.append("a", new_events(3))
    clock_of(store).set(after(60))
    assert complete_until(store, tmp_path / "lake") == after(60)


def test_events_of_an_explicit_transaction_with_older_times_are_counted(real: Store, tmp_path: Path) -> None:
    real.append("a", new_events(3))
    clock_of(real).set(after(60))
    assert complete_until(real, tmp_path / "lake") == after(50)
    begun = int(after(20).timestamp()) * 10**7
    real.faults.transaction("b", [NewEvent(id=event.id, type="t", created=begun) for event in new_events(4)])
    real.append("a", new_events(2))
    summary = export(real, tmp_path / "lake")
    assert (summary.events_read, summary.late_events) == (6, 4)
    assert export(real, tmp_path / "lake").late_events == 0


# -- followers


@pytest.fixture
def follower(real: Store, new_store: NewStore) -> Store:
    """A follower of the store at noon, with the same log; events are written to both by ``write``."""
    store = new_store(accept_timestamps=False)
    clock_of(store).set(NOON)
    host, _, port = real.address.rpartition(":")
    store.faults.not_leader(host=host, port=int(port))
    return store


def write(leader: Store, follower: Store, *, replicated: bool = True) -> None:
    events = new_events(1)
    leader.append("a", events)
    if replicated:
        host, _, port = leader.address.rpartition(":")
        follower.faults.node_state("Leader")
        follower.append("a", events)
        follower.faults.not_leader(host=host, port=int(port))


def export_follower(follower: Store, lake: Path) -> ExportSummary:
    return export_log(f"{follower.uri}&nodePreference=follower", lake, clock=Watch().clock)


def test_a_follower_that_has_all_of_its_leaders_log_promises_as_the_leader_does(real: Store, follower: Store, tmp_path: Path) -> None:
    write(real, follower)
    assert [row[:2] for row in log_of(real)] == [row[:2] for row in log_of(follower)]
    clock_of(real).set(after(60))
    clock_of(follower).set(after(600))  # its own clock says nothing
    checkpoint = export_follower(follower, tmp_path / "lake").checkpoint
    assert checkpoint is not None
    assert checkpoint.complete_until == after(50)


def test_a_follower_that_lags_promises_its_last_stamp_and_a_later_question_names_the_leader(
    real: Store, follower: Store, tmp_path: Path
) -> None:
    write(real, follower)
    clock_of(real).set(after(5))
    write(real, follower, replicated=False)
    clock_of(real).set(after(60))
    clock_of(follower).set(after(60))
    checkpoint = export_follower(follower, tmp_path / "lake").checkpoint
    assert checkpoint is not None
    assert checkpoint.complete_until == NOON - TICK
    with pytest.raises(BeyondExport) as caught:
        open_lake(tmp_path / "lake").timeline.upto(after(30)).count()
    assert real.address in str(caught.value)
    assert "leader" in str(caught.value)
    # Once the leader has been read, nothing of that is left.
    export(real, tmp_path / "lake")
    open_lake(tmp_path / "lake").timeline.upto(after(30)).count()
    with pytest.raises(BeyondExport) as caught:
        open_lake(tmp_path / "lake").timeline.upto(after(55)).count()
    assert "leader" not in str(caught.value)


def test_a_follower_whose_leader_cannot_be_asked_promises_its_last_stamp(real: Store, follower: Store, tmp_path: Path) -> None:
    write(real, follower)
    clock_of(follower).set(after(60))
    real.stop()
    checkpoint = export_follower(follower, tmp_path / "lake").checkpoint
    assert checkpoint is not None
    assert checkpoint.complete_until == NOON - TICK


# -- waiting for a time


def ticking(store: Store, watch: Watch) -> None:
    """Let the server's clock go on with the waits."""
    clock = clock_of(store)
    watch.moves = lambda number: clock.set(after(0.5 * (number + 1)))


def test_an_export_waits_until_it_can_promise_a_time(real: Store, tmp_path: Path) -> None:
    real.append("a", new_events(3))
    watch = Watch()
    ticking(real, watch)
    checkpoint = export(real, tmp_path / "lake", watch=watch, until=NOON).checkpoint
    assert checkpoint is not None
    assert NOON <= checkpoint.complete_until < after(1)
    assert 10 <= sum(watch.slept) <= 11.5


def test_events_that_become_readable_in_the_wait_are_copied_by_the_same_export(real: Store, tmp_path: Path) -> None:
    real.append("a", new_events(3))
    watch = Watch()
    ticking(real, watch)
    moves = watch.moves

    def also_written(number: int) -> None:
        moves(number)
        if number == 4:
            real.append("b", new_events(2))

    watch.moves = also_written
    assert export(real, tmp_path / "lake", watch=watch, until=NOON).events_read == 5
    assert sum(watch.slept) < 3  # the new event's own stamp lies beyond


def test_an_export_waits_twelve_seconds_at_most(real: Store, tmp_path: Path) -> None:
    real.append("a", new_events(3))
    watch = Watch()
    checkpoint = export(real, tmp_path / "lake", watch=watch, until=NOON).checkpoint
    assert checkpoint is not None
    assert checkpoint.complete_until < NOON
    assert 12 <= sum(watch.slept) <= 12.5


def test_a_time_that_is_promised_already_is_not_waited_for(real: Store, tmp_path: Path) -> None:
    real.append("a", new_events(3))
    clock_of(real).set(after(60))
    watch = Watch()
    export(real, tmp_path / "lake", watch=watch, until=after(50))
    export(real, tmp_path / "lake", watch=watch, until=after(20))
    assert watch.slept == []


def test_a_time_in_the_future_is_refused(real: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="future"):
        export(real, tmp_path / "lake", until=datetime.now(UTC) + timedelta(hours=1))
