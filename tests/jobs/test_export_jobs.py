"""What a schedule asks of an export, and which of its failures are not tried again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.jobs.jobs import SetClock, Work, scheduler_of
from tests.oracle import fill, log_of, new_events
from tests.stores import NewEvent, Store, clock_of
from workbench.cli.schedule import sentence
from workbench.events import Selection, format_time
from workbench.export import complete_until, export_log
from workbench.jobs import Ledger
from workbench.jobs.supervisor import Ended
from workbench.jobs.worker import Answer, Request, perform
from workbench.lake import open_lake

REPORTS = """\
zone: Europe/Berlin
source: esdb://db.example
lake: lake
schedule: 15 1 * * *
since: 2026-03-02
jobs:
  copy: {export: everything, accept_scavenged: true}
  daily: {notebook: event_types, needs: copy, as_of: day, out: "out/daily-{time}.html"}
  later: {notebook: event_types, needs: daily, schedule: 30 1 * * *, out: "out/later-{time}.html"}
  other: {notebook: event_types, out: "out/other-{time}.html"}
  alone: {export: everything, lake: another}
"""


def requests(place: Path, at: str) -> dict[str, Request]:
    """Return what a scheduler asks for at a time, by the lake and the work."""
    work = Work()
    list(scheduler_of(place, REPORTS, SetClock.at(at), work).due())
    return {f"{request.work} {Path(request.lake).name}": request for request in work.requests if request.work == "export"}


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-03-02T00:15:00Z", "2026-03-01T23:00:00Z"),  # midnight in Berlin; the later report is not due yet
        ("2026-03-02T00:29:59Z", "2026-03-01T23:00:00Z"),
        ("2026-03-02T00:30:00Z", "2026-03-02T00:30:00Z"),
    ],
)
def test_an_export_is_to_reach_the_latest_time_that_the_due_reports_behind_it_look_at(tmp_path: Path, now: str, until: str) -> None:
    asked = requests(tmp_path, now)
    assert asked["export lake"].until == until
    assert asked["export another"].until is None


def test_an_export_may_accept_a_scavenged_checkpoint(tmp_path: Path) -> None:
    asked = requests(tmp_path, "2026-03-02T00:15:00Z")
    assert asked["export lake"].accept_scavenged
    assert not asked["export another"].accept_scavenged


def export_request(store: Store, lake: Path, **more: object) -> Request:
    return Request("export", str(lake), {}, 60, source=store.uri, **more)  # type: ignore[arg-type]


@pytest.mark.needs("faults")
def test_a_log_that_was_rewritten_is_not_tried_again(store: Store, tmp_path: Path) -> None:
    fill(store, 40)
    export_log(store.uri, tmp_path / "lake")
    store.faults.restore(upto=log_of(store)[9][0])
    fill(store, 60, begin=500)
    answer = perform(export_request(store, tmp_path / "lake"))
    assert "backup" in answer.message
    assert answer.permanent


@pytest.mark.needs("faults")
def test_a_log_that_nothing_proves_is_not_tried_again_unless_it_is_accepted(store: Store, tmp_path: Path) -> None:
    store.append("$$a", [NewEvent(id=new_events(1)[0].id, type="$metadata", data=b'{"$maxCount": 1}')])
    store.append("a", new_events(3))
    export_log(store.uri, tmp_path / "lake")
    store.append("a", new_events(2))
    store.faults.scavenge()
    answer = perform(export_request(store, tmp_path / "lake"))
    assert "--accept-scavenged" in answer.message
    assert answer.permanent
    answer = perform(export_request(store, tmp_path / "lake", accept_scavenged=True))
    assert answer.message == ""
    assert "nothing proves" in answer.note


def test_a_lake_of_another_selection_is_not_tried_again(store: Store, tmp_path: Path) -> None:
    fill(store, 10)
    export_log(store.uri, tmp_path / "lake", selection=Selection(streams=("user-*",)))
    answer = perform(export_request(store, tmp_path / "lake", selection=asdict(Selection(streams=("room-*",)))))
    assert "selection" in answer.message
    assert answer.permanent


@pytest.mark.needs("faults")
def test_a_server_that_does_not_answer_is_tried_again(store: Store, tmp_path: Path) -> None:
    store.stop()
    answer = perform(export_request(store, tmp_path / "lake"))
    assert answer.message
    assert not answer.permanent


def test_a_scheduled_export_reaches_the_time_that_it_is_asked_for(store: Store, tmp_path: Path) -> None:
    fill(store, 10)
    export_log(store.uri, tmp_path / "lake")
    reached = open_lake(tmp_path / "lake").info().complete_until
    assert reached is not None
    until = reached - timedelta(seconds=1)
    answer = perform(export_request(store, tmp_path / "lake", until=format_time(until)))
    assert answer.message == ""
    assert answer.details["complete_until"] >= format_time(until)


def test_what_is_worth_telling_of_a_success_is_kept_and_said(tmp_path: Path) -> None:
    def noted(request: Request, number: int) -> Ended:
        return Ended("succeeded", 1.0, "The connection broke once.", answer=Answer(note="The connection broke once."))

    work = Work(noted)
    [copied, *_] = list(scheduler_of(tmp_path, REPORTS, SetClock.at("2026-03-02T00:15:00Z"), work).due())
    assert copied.outcome == "succeeded"
    assert sentence(copied).endswith(": The connection broke once.")
    assert any(
        "broke once" in one.message for one in Ledger(tmp_path / "ledger.sqlite").attempts(since=copied.scheduled_at, job=copied.job)
    )


@pytest.mark.needs("faults", "clock", "fresh server")
def test_an_export_that_cannot_reach_the_time_of_its_reports_says_so(
    new_store: Callable[..., Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(complete_until, "UNTIL_SECONDS", 0.1)
    store = new_store(accept_timestamps=False)
    clock_of(store).set(datetime(2026, 3, 1, 12, tzinfo=UTC))
    store.append("a", new_events(1))
    answer = perform(export_request(store, tmp_path / "lake", until="2026-03-01T12:00:00Z"))
    assert answer.message == ""
    assert "2026-03-01T12:00:00Z" in answer.note
