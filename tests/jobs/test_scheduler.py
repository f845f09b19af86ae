"""What is due is done once: missed times, retries, what is needed, several schedulers, and what is kept."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.jobs.jobs import HOURLY, NIGHTLY, SetClock, Work, fails, pipeline_of, scheduler_of, states, succeeds, told
from tests.laws import at_least
from workbench.errors import UsageError
from workbench.jobs import CronTimes, Ledger, Scheduler
from workbench.jobs.process_identity import Process
from workbench.jobs.supervisor import Ended
from workbench.jobs.worker import Request

OTHER_MACHINE = Process("another boot", 1, 1.0)


def test_a_job_runs_at_its_time_once_and_not_before(tmp_path: Path) -> None:
    clock, work = SetClock.at("2026-03-01T10:20:00Z"), Work()
    scheduler = scheduler_of(tmp_path, HOURLY, clock, work)
    assert list(scheduler.due()) == []
    clock.on(minutes=39, seconds=59)
    assert list(scheduler.due()) == []
    clock.on(seconds=1)
    assert told(list(scheduler.due())) == [("p/copy", "03-01 11:00", "succeeded")]
    assert list(scheduler.due()) == []
    clock.on(minutes=59)
    assert list(scheduler_of(tmp_path, HOURLY, clock, work).due()) == []
    clock.on(minutes=1)
    assert told(list(scheduler.due())) == [("p/copy", "03-01 12:00", "succeeded")]


def test_a_new_job_owes_nothing_but_the_time_that_has_just_been(tmp_path: Path) -> None:
    clock = SetClock.at("2026-03-01T10:01:00Z")
    assert told(list(scheduler_of(tmp_path, HOURLY, clock, Work()).due())) == [("p/copy", "03-01 10:00", "succeeded")]


@pytest.mark.parametrize(
    ("catch_up", "late", "expected", "missed"),
    [
        ("all", 30, ["11:00", "12:00", "13:00"], []),
        ("latest", 30, ["13:00"], ["11:00", "12:00"]),
        ("none", 30, [], ["11:00", "12:00", "13:00"]),
        ("none", 10, ["13:00"], ["11:00", "12:00"]),
    ],
)
def test_missed_times_are_made_up_for_as_declared(tmp_path: Path, catch_up: str, late: int, expected: list[str], missed: list[str]) -> None:
    clock, work = SetClock.at("2026-03-01T10:30:00Z"), Work()
    scheduler = scheduler_of(tmp_path, f"catch_up: {catch_up}\n{HOURLY}", clock, work)
    assert list(scheduler.due()) == []
    clock.now = clock.now.replace(hour=13, minute=late)
    assert told(list(scheduler.due())) == [("p/copy", f"03-01 {at}", "succeeded") for at in expected]
    assert [at for (_, at), state in sorted(states(tmp_path).items()) if state == "missed"] == [f"03-01 {at}" for at in missed]
    assert list(scheduler.due()) == []


def test_times_since_a_moment_are_owed_from_the_beginning(tmp_path: Path) -> None:
    clock = SetClock.at("2026-03-01T12:30:00Z")
    scheduler = scheduler_of(tmp_path, f"catch_up: all\nsince: 2026-03-01T10:00:00Z\n{HOURLY}", clock, Work())
    assert [at for _, at, _ in told(list(scheduler.due()))] == ["03-01 10:00", "03-01 11:00", "03-01 12:00"]


def test_a_schedule_that_is_changed_owes_nothing_of_its_past(tmp_path: Path) -> None:
    clock, work = SetClock.at("2026-03-01T00:15:00Z"), Work()
    assert len(list(scheduler_of(tmp_path, "catch_up: all\n" + HOURLY.replace("0 * * * *", "15 0 * * *"), clock, work).due())) == 1
    clock.on(hours=12)
    assert list(scheduler_of(tmp_path, "catch_up: all\n" + HOURLY.replace("0 * * * *", "15 0 * * *"), clock, work).due()) == []
    assert list(scheduler_of(tmp_path, "catch_up: all\n" + HOURLY, clock, work).due()) == []
    clock.on(hours=1)
    assert len(list(scheduler_of(tmp_path, "catch_up: all\n" + HOURLY, clock, work).due())) == 1


def test_daylight_saving_changes_neither_skip_a_night_nor_repeat_one(tmp_path: Path) -> None:
    text = "zone: Europe/Berlin\ncatch_up: all\n" + HOURLY.replace("0 * * * *", "30 2 * * *")
    for begin, expected in (
        ("2026-03-27T12:00:00Z", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),
        ("2026-10-23T12:00:00Z", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
    ):
        place, clock, found = tmp_path / begin[:10], SetClock.at(begin), []
        place.mkdir()
        scheduler = scheduler_of(place, text, clock, Work())
        for _ in range(3 * 24 * 2):
            found += told(list(scheduler.due()))
            clock.on(minutes=30)
        assert [at for _, at, _ in found] == expected


def test_a_clock_that_is_set_back_runs_nothing_again(tmp_path: Path) -> None:
    clock, work = SetClock.at("2026-03-01T10:00:00Z"), Work()
    scheduler = scheduler_of(tmp_path, HOURLY, clock, work)
    assert len(list(scheduler.due())) == 1
    clock.on(hours=-3)
    assert list(scheduler.due()) == []
    clock.on(hours=3, minutes=30)
    assert list(scheduler.due()) == []


def test_retries_wait_longer_each_time_and_end(tmp_path: Path) -> None:
    clock, work = SetClock.at("2026-03-01T10:00:00Z"), Work(fails("The lake is not there."))
    scheduler = scheduler_of(tmp_path, "retry: {times: 2, wait: 1m, factor: 3}\n" + HOURLY, clock, work)
    [first] = scheduler.due()
    assert (first.state, first.message, first.not_before) == ("due", "The lake is not there.", clock.now + timedelta(minutes=1))
    assert list(scheduler.due()) == []
    assert [one.why for one in scheduler.waiting()] == ["a retry, until 2026-03-01T10:01:00Z"]
    clock.on(minutes=1)
    [second] = scheduler.due()
    assert (second.attempt, second.state, second.not_before) == (2, "due", clock.now + timedelta(minutes=3))
    clock.on(minutes=3)
    [third] = scheduler.due()
    assert (third.attempt, third.state, third.not_before) == (3, "failed", None)
    clock.on(minutes=30)
    assert list(scheduler.due()) == []
    assert len(work.requests) == 3


def test_no_retry_waits_longer_than_declared(tmp_path: Path) -> None:
    clock = SetClock.at("2026-03-01T10:00:00Z")
    text = "retry: {times: 3, wait: 2m, factor: 4, longest: 5m}\n" + HOURLY
    scheduler = scheduler_of(tmp_path, text, clock, Work(fails()))
    for minutes in (2, 5, 5):
        [done] = scheduler.due()
        assert done.not_before == clock.now + timedelta(minutes=minutes)
        clock.on(minutes=minutes)


def test_what_would_fail_again_is_not_tried_again(tmp_path: Path) -> None:
    clock, work = SetClock.at("2026-03-01T10:00:00Z"), Work(fails("There is no notebook.", permanent=True))
    [done] = scheduler_of(tmp_path, "retry: {times: 5}\n" + HOURLY, clock, work).due()
    assert (done.state, done.outcome) == ("failed", "failed")


def test_a_variable_that_is_not_set_fails_its_job_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_LAKE", raising=False)
    text = HOURLY + "  other: {export: everything, lake: $NO_SUCH_LAKE}\n"
    work = Work()
    first, second = scheduler_of(tmp_path, text, SetClock.at("2026-03-01T10:00:00Z"), work).due()
    assert (first.job, first.outcome, second.job, second.outcome, second.state) == ("p/copy", "succeeded", "p/other", "failed", "failed")
    assert "NO_SUCH_LAKE is not set" in second.message
    assert len(work.requests) == 1


def test_a_later_time_stands_for_one_that_still_waits(tmp_path: Path) -> None:
    clock, work = SetClock.at("2026-03-01T10:00:00Z"), Work(fails())
    scheduler = scheduler_of(tmp_path, "retry: {times: 9, wait: 50m}\n" + HOURLY, clock, work)
    list(scheduler.due())
    clock.on(hours=1)
    work.how = succeeds
    assert told(list(scheduler.due())) == [("p/copy", "03-01 11:00", "succeeded")]
    assert states(tmp_path) == {("p/copy", "03-01 10:00"): "failed", ("p/copy", "03-01 11:00"): "succeeded"}


def test_a_report_waits_for_its_export_of_the_same_time_or_a_later_one(tmp_path: Path) -> None:
    clock = SetClock.at("2026-03-01T00:15:00Z")
    work = Work(lambda request, number: (fails() if request.work == "export" and number == 1 else succeeds)(request, number))
    scheduler = scheduler_of(tmp_path, "retry: {times: 1, wait: 5m}\n" + NIGHTLY, clock, work)
    assert told(list(scheduler.due())) == [("p/copy", "03-01 00:15", "failed")]
    assert [one.why for one in scheduler.waiting()] == [
        "a retry, until 2026-03-01T00:20:00Z",
        "p/copy of 2026-03-01T00:15:00Z, or a later one",
    ]
    clock.on(minutes=5)
    assert told(list(scheduler.due())) == [("p/copy", "03-01 00:15", "succeeded"), ("p/report", "03-01 00:15", "succeeded")]
    assert [request.at for request in work.requests if request.work == "report"] == ["2026-03-01T00:15:00Z"]


def test_reports_whose_export_failed_for_good_are_made_up_for_after_the_next_one(tmp_path: Path) -> None:
    clock, work = SetClock.at("2026-03-01T00:15:00Z"), Work(fails())
    scheduler = scheduler_of(tmp_path, "catch_up: all\n" + NIGHTLY, clock, work)
    assert told(list(scheduler.due())) == [("p/copy", "03-01 00:15", "failed")]
    clock.on(days=1)
    work.how = succeeds
    assert told(list(scheduler.due())) == [
        ("p/copy", "03-02 00:15", "succeeded"),
        ("p/report", "03-01 00:15", "succeeded"),
        ("p/report", "03-02 00:15", "succeeded"),
    ]


def test_a_daily_report_needs_the_last_of_the_hourly_exports_before_it(tmp_path: Path) -> None:
    text = NIGHTLY.replace("copy: {export: everything}", "copy: {export: everything, schedule: 0 * * * *}")
    clock, work = SetClock.at("2026-03-01T00:14:00Z"), Work()
    scheduler = scheduler_of(tmp_path, text, clock, work)
    assert told(list(scheduler.due())) == [("p/copy", "03-01 00:00", "succeeded")]
    clock.on(minutes=1)
    assert told(list(scheduler.due())) == [("p/report", "03-01 00:15", "succeeded")]


def test_of_two_schedulers_one_runs_a_time_and_neither_runs_a_job_twice_at_once(tmp_path: Path) -> None:
    clock, seen = SetClock.at("2026-03-01T10:00:00Z"), []
    other = scheduler_of(tmp_path, "catch_up: all\n" + HOURLY, clock, Work(), holder=replace(Process.current(), pid=1, started=0.0))

    def meanwhile() -> None:
        seen.append(list(other.due()))
        clock.on(hours=1)  # the next time is due while this one is running
        seen.append(list(other.due()))
        clock.on(hours=-1)

    work = Work(during=meanwhile)
    scheduler = scheduler_of(tmp_path, "catch_up: all\n" + HOURLY, clock, work)
    assert told([next(scheduler.due())]) == [("p/copy", "03-01 10:00", "succeeded")]
    assert seen == [[], []]
    clock.on(hours=1)
    assert told(list(other.due())) == [("p/copy", "03-01 11:00", "succeeded")]


def test_many_schedulers_at_once_run_each_time_once(tmp_path: Path) -> None:
    clock = SetClock.at("2026-03-01T10:00:00Z")
    text = HOURLY + "".join(f"  more-{n}: {{export: everything}}\n" for n in range(6))
    pipeline_of(tmp_path, text)
    found: list[tuple[str, str, str]] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            holder = replace(Process.current(), started=float(threading.get_ident()))
            # Their holders are of this process, and stand as alive while it is.
            scheduler = Scheduler(
                [pipeline], ledger=Ledger(tmp_path / "ledger.sqlite", clock=clock, holder=holder), clock=clock, perform=Work()
            )
            found.extend(told(list(scheduler.due())))
        except BaseException as error:  # noqa: BLE001  # shown by the test
            errors.append(error)

    pipeline = pipeline_of(tmp_path, text)
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    attempts = Ledger(tmp_path / "ledger.sqlite").attempts(outcome="succeeded")
    assert sorted(one.job for one in attempts) == sorted(job.name for job in pipeline.jobs)


def claimed(place: Path, clock: SetClock, holder: Process) -> Ledger:
    """Leave a run behind that a scheduler has claimed and never ended."""
    ledger = Ledger(place / "ledger.sqlite", clock=clock, holder=holder)
    ledger.consider("p/copy", after=None, upto=clock.now, due=[clock.now], missed=[])
    [run] = ledger.unfinished(["p/copy"])
    assert ledger.claim(run) is not None
    return ledger


def test_a_run_whose_scheduler_is_proved_dead_is_taken_over_at_once(tmp_path: Path) -> None:
    clock, work = SetClock.at("2026-03-01T10:00:00Z"), Work()
    claimed(tmp_path, clock, replace(Process.current(), started=1.0))  # the id is used again, by another process
    first, second = scheduler_of(tmp_path, HOURLY, clock, work).due()
    assert (first.outcome, first.attempt, first.state, second.outcome, second.attempt) == ("lost", 1, "due", "succeeded", 2)
    assert first.message == "The scheduler that had begun it was gone before its end; it is begun again."


def test_a_run_of_a_scheduler_that_lives_is_left_alone_however_long_it_takes(tmp_path: Path) -> None:
    clock, work = SetClock.at("2026-03-01T10:00:00Z"), Work()
    claimed(tmp_path, clock, Process.current())
    clock.on(minutes=59)
    assert list(scheduler_of(tmp_path, HOURLY, clock, work).due()) == []


def test_a_run_of_another_machine_is_taken_over_when_its_heartbeat_has_stopped(tmp_path: Path) -> None:
    clock, work = SetClock.at("2026-03-01T10:00:00Z"), Work()
    claimed(tmp_path, clock, OTHER_MACHINE)
    clock.on(minutes=1)
    scheduler = scheduler_of(tmp_path, HOURLY, clock, work)
    assert list(scheduler.due()) == []
    clock.on(minutes=2)
    assert [one.outcome for one in scheduler.due()] == ["lost", "succeeded"]


def test_a_scheduler_that_was_thought_dead_and_wakes_up_changes_nothing(tmp_path: Path) -> None:
    clock = SetClock.at("2026-03-01T00:15:00Z")
    text = NIGHTLY.replace("needs: copy, ", "")
    written: list[str] = []

    def asleep() -> None:
        """Stand still in the middle of an attempt, for longer than a heartbeat counts."""
        if not written:
            written.append("")
            clock.on(minutes=10)
            found = told(list(scheduler_of(tmp_path, text, clock, Work(), holder=replace(OTHER_MACHINE, pid=2)).due()))
            assert ("p/report", "03-01 00:15", "succeeded") in found

    work = Work(during=asleep)
    [woken, *_] = scheduler_of(tmp_path, text, clock, work, holder=OTHER_MACHINE).due()
    assert woken.outcome == "lost"
    assert "Another scheduler took it over" in woken.message
    [page] = (tmp_path / "out").iterdir()
    assert page.read_text(encoding="utf-8") == "2026-03-01T00:15:00Z 1"
    assert work.requests[0].files["html"] != str(page)
    assert Ledger(tmp_path / "ledger.sqlite").totals()[-1].outcome == "succeeded"
    assert all(state == "succeeded" for state in states(tmp_path).values())


def test_schedulers_of_two_pipelines_share_a_ledger_and_run_their_own_jobs(tmp_path: Path) -> None:
    clock, ledger = SetClock.at("2026-03-01T10:00:00Z"), Ledger(tmp_path / "ledger.sqlite")
    one, other = (Scheduler([pipeline_of(tmp_path, HOURLY, name=name)], ledger=ledger, clock=clock, perform=Work()) for name in "pq")
    ledger.consider("q/copy", after=None, upto=clock.now, due=[clock.now], missed=[])
    assert told(list(one.due())) == [("p/copy", "03-01 10:00", "succeeded")]
    assert one.waiting() == []
    assert told(list(other.due())) == [("q/copy", "03-01 10:00", "succeeded")]


def two_ledgers(place: Path, clock: SetClock) -> tuple[Ledger, Ledger]:
    """Return the ledger as two schedulers on two other machines have it."""
    first, second = (Ledger(place / "ledger.sqlite", clock=clock, holder=Process(machine, 1, 1.0)) for machine in ("one", "two"))
    first.consider("p/copy", after=None, upto=clock.now, due=[clock.now], missed=[])
    return first, second


def test_of_two_that_saw_a_run_due_one_claims_it(tmp_path: Path) -> None:
    clock = SetClock.at("2026-03-01T10:00:00Z")
    first, second = two_ledgers(tmp_path, clock)
    [seen] = second.unfinished(["p/copy"])
    attempt = first.claim(seen)
    assert attempt is not None
    assert second.claim(seen) is None
    later = clock.now + timedelta(minutes=5)
    assert first.end(attempt, "failed", state="due", not_before=later)
    assert second.claim(seen) is None  # what it saw was not yet one that waits for its retry
    assert len(first.attempts()) == 1
    assert [(run.state, run.not_before) for run in second.unfinished(["p/copy"])] == [("due", later)]


def test_a_run_for_which_a_later_time_stands_meanwhile_is_not_claimed(tmp_path: Path) -> None:
    clock = SetClock.at("2026-03-01T10:00:00Z")
    first, second = two_ledgers(tmp_path, clock)
    [seen] = second.unfinished(["p/copy"])
    first.supersede("p/copy", before=clock.now + timedelta(hours=1))
    assert second.claim(seen) is None
    assert [run.state for run in first.runs()] == ["missed"]


def test_a_job_is_claimed_for_one_time_at_once(tmp_path: Path) -> None:
    clock = SetClock.at("2026-03-01T10:00:00Z")
    first, second = two_ledgers(tmp_path, clock)
    begun, clock.now = clock.now, clock.now + timedelta(hours=1)
    assert first.consider("p/copy", after=begun, upto=clock.now, due=[clock.now], missed=[])
    earlier, later = second.unfinished(["p/copy"])
    attempt = first.claim(earlier)
    assert attempt is not None
    assert second.claim(later) is None
    assert first.end(attempt, "succeeded", state="succeeded")
    assert second.claim(later) is not None


def test_times_that_another_scheduler_has_considered_meanwhile_are_not_considered_again(tmp_path: Path) -> None:
    clock = SetClock.at("2026-03-01T10:00:00Z")
    first, second = two_ledgers(tmp_path, clock)
    assert not second.consider("p/copy", after=None, upto=clock.now - timedelta(hours=1), due=[], missed=[clock.now - timedelta(hours=2)])
    assert second.considered_until("p/copy") == clock.now
    assert len(first.runs()) == 1


def test_a_holder_that_wakes_up_before_its_run_is_adopted_keeps_it(tmp_path: Path) -> None:
    clock = SetClock.at("2026-03-01T10:00:00Z")
    first, second = two_ledgers(tmp_path, clock)
    [run] = first.unfinished(["p/copy"])
    attempt = first.claim(run)
    assert attempt is not None
    clock.on(minutes=10)
    [seen] = second.unfinished(["p/copy"])
    assert second.lost(seen)
    assert first.heartbeat(attempt)
    assert second.adopt(seen) is None
    assert first.end(attempt, "succeeded", state="succeeded")


def test_of_two_that_saw_a_run_lost_one_adopts_it(tmp_path: Path) -> None:
    clock = SetClock.at("2026-03-01T10:00:00Z")
    first, second = two_ledgers(tmp_path, clock)
    dead = Ledger(tmp_path / "ledger.sqlite", clock=clock, holder=OTHER_MACHINE)
    [run] = dead.unfinished(["p/copy"])
    assert dead.claim(run) is not None
    [seen] = first.unfinished(["p/copy"])
    adopted = first.adopt(seen)
    assert adopted is not None
    assert second.adopt(seen) is None
    assert not dead.heartbeat(adopted)
    assert first.end(adopted, "lost", state="due")


def test_an_attempt_that_is_over_cannot_end_the_next_one_of_the_same_scheduler(tmp_path: Path) -> None:
    clock = SetClock.at("2026-03-01T10:00:00Z")
    first, second = two_ledgers(tmp_path, clock)
    [run] = first.unfinished(["p/copy"])
    over = first.claim(run)
    assert over is not None
    [seen] = second.unfinished(["p/copy"])
    adopted = second.adopt(seen)
    assert adopted is not None
    assert second.end(adopted, "lost", state="due")
    [again] = first.unfinished(["p/copy"])
    attempt = first.claim(again)
    assert attempt is not None
    assert not first.end(over, "succeeded", state="succeeded")
    assert first.end(attempt, "failed", state="failed")


def test_a_run_is_lost_only_when_all_who_hold_it_are_gone(tmp_path: Path) -> None:
    """A worker that outlives its scheduler may still write: until it has stopped, nobody begins anew."""
    clock = SetClock.at("2026-03-01T10:00:00Z")
    dead = replace(Process.current(), started=1.0)
    ledger = claimed(tmp_path, clock, dead)
    [run] = ledger.unfinished(["p/copy"])
    assert ledger.lost(run)
    assert not ledger.lost(replace(run, holders=(dead, Process.current())))
    assert ledger.lost(replace(run, holders=(dead, dead)))


def test_a_run_that_takes_every_scheduler_down_is_given_up(tmp_path: Path) -> None:
    clock = SetClock.at("2026-03-01T10:00:00Z")
    dead = replace(Process.current(), started=1.0)
    claimed(tmp_path, clock, dead)
    outcomes = []
    for _ in range(3):
        ledger = Ledger(tmp_path / "ledger.sqlite", clock=clock, holder=dead)
        scheduler = Scheduler([pipeline_of(tmp_path, HOURLY)], ledger=Ledger(tmp_path / "ledger.sqlite", clock=clock), clock=clock)
        [run] = ledger.unfinished(["p/copy"])
        if run.state == "due":
            assert ledger.claim(run) is not None
        outcomes.append(next(scheduler.due()))
    assert [(one.outcome, one.state) for one in outcomes] == [("lost", "due"), ("lost", "due"), ("lost", "failed")]


class Crash(BaseException):
    """A scheduler that dies: what comes after does not happen."""


def crash(*_: Any, **__: Any) -> Any:
    raise Crash


@pytest.mark.parametrize("where", ["place", "settled", "end"])
def test_a_crash_between_run_and_ledger_makes_no_second_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Once the work is done and the ledger knows of it, the next scheduler puts files in place and does not do the work again."""
    clock, text = SetClock.at("2026-03-01T00:15:00Z"), NIGHTLY.replace("needs: copy, ", "")
    text = text.replace("  copy: {export: everything}\n", "")
    dying = Ledger(tmp_path / "ledger.sqlite", clock=clock, holder=replace(Process.current(), started=1.0))
    work = Work()
    scheduler = Scheduler([pipeline_of(tmp_path, text)], ledger=dying, clock=clock, perform=work)

    with monkeypatch.context() as patched:
        patched.setattr("workbench.jobs.outputs.shutil.rmtree", lambda *_, **__: None)  # nor is anything cleaned up
        # A process that is gone says of its attempt nothing at all, not even that it was interrupted.
        patched.setattr(dying, "end", crash)
        if where == "place":
            patched.setattr(dying, "place", crash)
        if where == "settled":
            patched.setattr("workbench.jobs.scheduler.move_outputs", crash)
        with pytest.raises(Crash):
            list(scheduler.due())
    assert (tmp_path / "out" / "2026-03-01T0015Z.html").exists() == (where == "end")

    after = Work()
    done = list(scheduler_of(tmp_path, text, clock, after).due())
    assert done[-1].outcome == "succeeded"
    assert done[-1].files == (tmp_path / "out" / "2026-03-01T0015Z.html",)
    assert len(after.requests) == (1 if where == "place" else 0)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["2026-03-01T0015Z.html"]
    assert states(tmp_path) == {("p/report", "03-01 00:15"): "succeeded"}


@pytest.mark.parametrize("foreign", [True, False])
def test_a_file_that_another_put_in_place_is_not_taken_for_one_of_the_run(tmp_path: Path, foreign: bool) -> None:
    clock = SetClock.at("2026-03-01T00:15:00Z")
    text = NIGHTLY.replace("needs: copy, ", "").replace("  copy: {export: everything}\n", "")
    dying = Ledger(tmp_path / "ledger.sqlite", clock=clock, holder=replace(Process.current(), started=1.0))
    scheduler = Scheduler([pipeline_of(tmp_path, text)], ledger=dying, clock=clock, perform=Work())
    dying.end = crash  # type: ignore[method-assign]  # who is dead writes nothing
    with pytest.raises(Crash):
        list(scheduler.due())
    page = tmp_path / "out" / "2026-03-01T0015Z.html"
    if foreign:  # the run's own is gone, with the folder in which it was made
        page.write_text("from elsewhere", encoding="utf-8")
    after = Work()
    done = list(scheduler_of(tmp_path, text, clock, after).due())
    assert [one.outcome for one in done] == (["lost", "succeeded"] if foreign else ["succeeded"])
    assert len(after.requests) == foreign
    assert page.read_text(encoding="utf-8") == "2026-03-01T00:15:00Z 1"


def test_a_scheduler_that_is_stopped_leaves_its_run_due_and_no_failure(tmp_path: Path) -> None:
    clock, work = SetClock.at("2026-03-01T10:00:00Z"), Work()

    def stopped() -> None:
        raise KeyboardInterrupt

    work.during = stopped
    scheduler = scheduler_of(tmp_path, HOURLY, clock, work)
    with pytest.raises(KeyboardInterrupt):
        list(scheduler.due())
    [run] = Ledger(tmp_path / "ledger.sqlite").runs()
    assert (run.state, run.attempts, run.failures) == ("due", 1, 0)
    work.during = lambda: None
    assert told(list(scheduler.due())) == [("p/copy", "03-01 10:00", "succeeded")]


def test_a_stop_ends_it_behind_the_job_that_is_running(tmp_path: Path) -> None:
    clock, stop = SetClock.at("2026-03-01T00:15:00Z"), threading.Event()
    work = Work(during=stop.set)
    done: list[Any] = []
    scheduler_of(tmp_path, NIGHTLY, clock, work).serve(stop=stop, report=done.append)
    assert told(done) == [("p/copy", "03-01 00:15", "succeeded")]
    assert states(tmp_path)["p/report", "03-01 00:15"] == "due"


def test_files_are_kept_as_declared_and_the_last_ones_always(tmp_path: Path) -> None:
    text = "retention: {runs: 3, age: 10d}\n" + NIGHTLY
    clock, work = SetClock.at("2026-03-01T00:15:00Z"), Work()
    scheduler = scheduler_of(tmp_path, text, clock, work)
    for _ in range(5):
        list(scheduler.due())
        clock.on(days=1)
    kept = [f"2026-03-0{day}T0015Z.html" for day in (3, 4, 5)]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == kept
    clock.on(days=30)
    list(scheduler.due())
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_file_that_a_later_run_has_written_too_is_not_removed(tmp_path: Path) -> None:
    text = "retention: {runs: 1}\n" + NIGHTLY.replace("{time}", "latest")
    clock, work = SetClock.at("2026-03-01T00:15:00Z"), Work()
    scheduler = scheduler_of(tmp_path, text, clock, work)
    for _ in range(3):
        list(scheduler.due())
        clock.on(days=1)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["latest.html"]


def test_the_ledger_forgets_what_is_old_and_runs_nothing_again(tmp_path: Path) -> None:
    text = "retention: {history: 3d}\ncatch_up: all\n" + HOURLY.replace("0 * * * *", "0 0 * * *")
    clock, work = SetClock.at("2026-03-01T00:00:00Z"), Work()
    scheduler = scheduler_of(tmp_path, text, clock, work)
    for _ in range(10):
        list(scheduler.due())
        clock.on(days=1)
    assert sorted(at for _, at in states(tmp_path)) == ["03-07 00:00", "03-08 00:00", "03-09 00:00", "03-10 00:00"]
    assert len(work.requests) == 10
    [total] = Ledger(tmp_path / "ledger.sqlite").totals()
    assert (total.attempts, total.seconds, total.events) == (10, 15.0, 30)


def test_one_run_may_be_asked_for_again(tmp_path: Path) -> None:
    clock, work = SetClock.at("2026-03-01T10:00:00Z"), Work(fails())
    scheduler = scheduler_of(tmp_path, HOURLY, clock, work)
    list(scheduler.due())
    work.how = succeeds
    done = scheduler.run("p/copy", scheduled_at=clock.now)
    assert (done.outcome, done.attempt) == ("succeeded", 2)
    assert scheduler.run("p/copy", scheduled_at=datetime(2026, 2, 1, tzinfo=UTC)).outcome == "succeeded"
    with pytest.raises(UsageError, match="There is no job 'p/cpy'; there are p/copy"):
        scheduler.run("p/cpy", scheduled_at=clock.now)

    def beside() -> None:
        with pytest.raises(UsageError, match="p/copy is running at this moment"):
            scheduler.run("p/copy", scheduled_at=clock.now)

    work.during = beside
    assert scheduler.run("p/copy", scheduled_at=clock.now).attempt == 3


def test_what_comes_next_is_said_of_all_jobs(tmp_path: Path) -> None:
    clock = SetClock.at("2026-03-01T10:00:00Z")
    found = scheduler_of(tmp_path, HOURLY + "  other: {export: everything, schedule: 30 11 * * *}\n", clock, Work()).upcoming(count=3)
    assert [(job.name, f"{at:%H:%M}") for job, at in found] == [("p/copy", "11:00"), ("p/other", "11:30"), ("p/copy", "12:00")]


def test_pipelines_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    one, other = pipeline_of(tmp_path, HOURLY), pipeline_of(tmp_path / "a", HOURLY)
    with pytest.raises(UsageError, match=r"p\.yaml and .*p\.yaml are both named 'p'"):
        Scheduler([one, other], ledger=Ledger(tmp_path / "ledger.sqlite"))


@settings(max_examples=at_least(12))
@given(
    steps=st.lists(
        st.tuples(st.integers(1, 200), st.sampled_from(["succeeded", "failed", "stopped", "dead"]), st.integers(0, 1)), max_size=12
    ),
    catch_up=st.sampled_from(["all", "latest", "none"]),
)
def test_whatever_happens_no_time_succeeds_twice_and_with_catch_up_none_is_left_out(
    steps: list[tuple[int, str, int]], catch_up: str
) -> None:
    """Two schedulers take turns at any moments; attempts succeed, fail, are stopped, or their scheduler dies."""
    begin = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    with TemporaryDirectory() as folder:
        place, clock, numbers = Path(folder), SetClock(begin), count()
        text = f"zone: Europe/Berlin\ncatch_up: {catch_up}\nretry: {{times: 99, wait: 1m}}\n{HOURLY}"
        pipeline = pipeline_of(place, text)
        succeeded: list[datetime] = []

        def turn(how: str, who: int) -> None:
            def during() -> None:
                if how in ("stopped", "dead"):
                    raise KeyboardInterrupt if how == "stopped" else Crash

            def ended(request: Request, number: int) -> Ended:
                return (succeeds if how == "succeeded" else fails())(request, number)

            holder = Process.current() if how != "dead" else replace(Process.current(), pid=who + 1, started=float(next(numbers)))
            ledger = Ledger(place / "l.sqlite", clock=clock, holder=holder)
            if how == "dead":
                ledger.end = crash  # type: ignore[method-assign]  # who is dead writes nothing
            scheduler = Scheduler([pipeline], ledger=ledger, clock=clock, perform=Work(ended, during=during))
            with suppress(KeyboardInterrupt, Crash):
                succeeded.extend(one.scheduled_at for one in scheduler.due() if one.outcome == "succeeded")

        for minutes, how, who in steps:
            turn(how, who)
            clock.on(minutes=minutes)
        for _ in range(4):  # what was lost is found, what waits for a retry is retried
            turn("succeeded", 0)
            clock.on(minutes=61)
        turn("succeeded", 0)
        assert len(succeeded) == len(set(succeeded))
        runs = Ledger(place / "l.sqlite").runs()
        assert sorted(run.scheduled_at for run in runs if run.state == "succeeded") == sorted(succeeded)
        seen = {run.scheduled_at for run in runs}
        first = min(seen)
        assert seen == set(CronTimes.parse("0 * * * *", zone="Europe/Berlin").between(first - timedelta(seconds=1), clock.now, most=10**6))
        if catch_up == "all":
            given_up = {run.scheduled_at for run in runs if run.state == "failed"}
            assert {run.scheduled_at for run in runs if run.state in ("succeeded", "failed")} == seen
            assert all(len(Ledger(place / "l.sqlite").attempts(since=at, job="p/copy", outcome="lost")) >= 3 for at in given_up)
