"""Attempts in processes of their own: what fails, hangs, is killed or takes too much is told apart, and no process is left."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # it brings no types
import pytest

from tests.cli.test_failures import other_server
from tests.jobs.jobs import NIGHTLY, SetClock, Work, pipeline_of, scheduler_of
from tests.lakes import community, write_lake
from tests.oracle import log_of, new_events
from tests.reports.notebooks import write_notebook
from tests.stores import Store
from workbench.errors import StorageFull
from workbench.events import Selection
from workbench.jobs import Ledger, Scheduler
from workbench.jobs.process_identity import Process
from workbench.jobs.supervisor import Ended, _environment, supervise
from workbench.jobs.worker import Request, perform
from workbench.lake import open_lake


def export(source: str, lake: Path, *, seconds: float = 60) -> Request:
    return Request("export", str(lake), {}, seconds, source=source)


def tried(request: Request, *, memory: int | None = None, on_start: Any = None) -> tuple[Ended, list[Process]]:
    """Supervise an attempt; return how it ended, and which processes were told to work on it."""
    workers: list[Process] = []

    def beat(worker: Process | None) -> bool:
        if worker is not None:
            workers.append(worker)
            if on_start is not None:
                on_start(worker)
        return True

    return supervise(request, memory=memory, beat=beat), workers


def test_an_export_runs_in_a_process_that_the_ledger_knows_of_before_it_begins(store: Store, tmp_path: Path) -> None:
    seen: list[bool] = []
    ended, [worker] = tried(export(store.uri, tmp_path / "lake"), on_start=lambda _: seen.append((tmp_path / "lake").exists()))
    assert (ended.outcome, ended.message) == ("succeeded", "")
    assert ended.answer.details["lake"] == str(tmp_path / "lake")
    assert ended.memory > 10**7
    assert seen == [False]
    assert worker.is_gone


def test_an_export_takes_the_selection_that_its_job_says(store: Store, tmp_path: Path) -> None:
    for stream in ("order-1", "$ce-order", "payment-1"):
        store.append(stream, new_events(1))
    chosen = Selection(streams=("order-*", "$ce-*"), system=True)
    ended, _ = tried(replace(export(store.uri, tmp_path / "lake"), selection=asdict(chosen)))
    assert (ended.outcome, ended.message) == ("succeeded", "")
    lake = open_lake(tmp_path / "lake")
    assert lake.info().selection == Selection(streams=("$ce-*", "order-*"), system=True)
    assert lake.timeline.with_system().events().collect()["stream"].to_list() == ["order-1", "$ce-order"]


def test_what_fails_says_so_in_one_sentence(store: Store, tmp_path: Path) -> None:
    ended, _ = tried(Request("report", str(tmp_path / "nowhere"), {"html": str(tmp_path / "a.html")}, 60, notebook="event_types"))
    assert (ended.outcome, ended.permanent) == ("failed", False)
    assert "There is no lake" in ended.message
    ended, _ = tried(Request("report", str(tmp_path / "nowhere"), {"html": str(tmp_path / "a.html")}, 60, notebook="no_such"))
    assert (ended.outcome, ended.permanent) == ("failed", True)
    assert "There is no notebook 'no_such'" in ended.message


def test_a_report_gets_the_variables_that_its_job_lists_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lake(tmp_path / "lake", community(20))
    monkeypatch.setenv("SALES_TOKEN", "told")
    monkeypatch.setenv("KURRENTDB_PASSWORD", "hush")
    write_notebook(tmp_path / "n.ipynb", "import os\n(os.environ['SALES_TOKEN'], os.environ.get('KURRENTDB_PASSWORD'))")
    text = "schedule: 0 0 * * *\nlake: lake\njobs:\n  sales: {notebook: n.ipynb, environment: SALES_TOKEN, out: sales.html}\n"
    at = datetime(2026, 2, 1, tzinfo=UTC)
    scheduler = Scheduler([pipeline_of(tmp_path, text)], ledger=Ledger(tmp_path / "ledger.sqlite"))
    done = scheduler.run("p/sales", scheduled_at=at)
    assert (done.outcome, done.message) == ("succeeded", "")
    assert "('told', None)" in unescape((tmp_path / "sales.html").read_text(encoding="utf-8"))


def test_what_takes_longer_than_its_limit_is_ended_with_all_its_processes(tmp_path: Path) -> None:
    with other_server(b"") as port:
        ended, [worker] = tried(export(f"esdb://127.0.0.1:{port}?tls=false", tmp_path / "lake", seconds=1.5))
    assert ended.outcome == "timed out"
    assert "longer than its limit of 1.5 seconds" in ended.message
    assert ended.seconds < 10
    assert worker.is_gone


def test_what_takes_more_memory_than_its_limit_is_ended(tmp_path: Path) -> None:
    with other_server(b"") as port:
        ended, [worker] = tried(export(f"esdb://127.0.0.1:{port}?tls=false", tmp_path / "lake"), memory=10**6)
    assert ended.outcome == "out of memory"
    assert "more than its limit of 0.00 GB" in ended.message
    assert worker.is_gone


def test_a_worker_that_is_killed_is_told_apart(tmp_path: Path) -> None:
    ended, _ = tried(export("esdb://127.0.0.1:1?tls=false", tmp_path / "lake"), on_start=lambda one: os.kill(one.pid, signal.SIGKILL))
    assert ended.outcome == "killed"
    assert "ended by SIGKILL, perhaps since the memory of the machine ran out" in ended.message


def test_a_run_that_is_no_longer_ours_is_never_begun(tmp_path: Path) -> None:
    ended = supervise(export("esdb://127.0.0.1:1?tls=false", tmp_path / "lake"), memory=None, beat=lambda _: False)
    assert ended.outcome == "lost"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/reports/a.html"),
            "The system refused it: No space left on device (/reports/a.html).",
        ),
        (StorageFull("No room is left."), "No room is left."),
        (MemoryError(), "The memory did not suffice."),
        (ZeroDivisionError("division by zero"), "It failed with ZeroDivisionError: division by zero."),
    ],
)
def test_a_disk_that_is_full_and_other_failures_are_answers(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("workbench.reports.report_plan.plan_report", fails)
    answer = perform(Request("report", "lake", {"html": "a.html"}, 60, notebook="event_types"))
    assert (answer.message, answer.permanent) == (said, False)


def test_a_place_for_files_that_is_gone_fails_the_run_and_is_tried_again(tmp_path: Path) -> None:
    clock, work = SetClock.at("2026-03-01T00:15:00Z"), Work()
    (tmp_path / "out").write_text("no directory", encoding="utf-8")
    text = "retry: {times: 1, wait: 1m}\n" + NIGHTLY.replace("needs: copy, ", "").replace("  copy: {export: everything}\n", "")
    scheduler = scheduler_of(tmp_path, text, clock, work)
    [done] = scheduler.due()
    assert (done.outcome, done.state) == ("failed", "due")
    assert "Its files cannot be put in place" in done.message
    assert str(tmp_path / "out") in done.message
    (tmp_path / "out").unlink()
    clock.on(minutes=1)
    assert [one.outcome for one in scheduler.due()] == ["succeeded"]


def test_a_scheduler_that_is_killed_takes_its_worker_with_it_and_the_next_one_goes_on(store: Store, tmp_path: Path) -> None:
    pipelines = tmp_path / "p.yaml"
    pipelines.write_text(
        "schedule: 0 0 * * *\nsince: 2026-03-01\nsource: $STORE\nlake: lake\njobs:\n  copy: {export: everything}\n", encoding="utf-8"
    )
    words = [sys.executable, "-m", "workbench", "schedule", "due", str(pipelines), "--now", "2026-03-01T00:01:00Z"]
    with other_server(b"") as port:
        environment = os.environ | {"STORE": f"esdb://127.0.0.1:{port}?tls=false"}
        scheduler = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        worker = _child_of(scheduler.pid)
        scheduler.kill()
        scheduler.communicate()
        worker.wait(15)  # it sees that its scheduler is gone
    done = subprocess.run(words, env=os.environ | {"STORE": store.uri}, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert "p/copy lost" in first
    assert "p/copy succeeded" in second
    users = [row for row in log_of(store) if not row[2].startswith("$") and not row[5].startswith("$")]
    assert open_lake(tmp_path / "lake").timeline.count() == len(users)


def _child_of(pid: int) -> psutil.Process:
    """Wait until a scheduler has given work to its worker, and return that."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for child in psutil.Process(pid).children():
            if any(one.status == psutil.CONN_ESTABLISHED for one in child.net_connections(kind="tcp")):
                return child
        time.sleep(0.05)
    raise AssertionError("no worker has connected")


@pytest.mark.parametrize("wanted", ["NONE", "INFO"])
def test_an_attempt_logs_of_grpc_what_the_user_wants(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setenv("GRPC_VERBOSITY", wanted)
    assert _environment()["GRPC_VERBOSITY"] == wanted
