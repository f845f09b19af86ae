"""Pipelines whose work is made up, a clock that is set, and schedulers over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from workbench.jobs import Done, Ledger, Pipeline, Scheduler, load_pipeline
from workbench.jobs.process_identity import Process
from workbench.jobs.supervisor import Beat, Ended
from workbench.jobs.worker import Answer, Request

HOURLY = """\
source: esdb://db.example
lake: lake
schedule: 0 * * * *
jobs:
  copy: {export: everything}
"""
NIGHTLY = """\
source: esdb://db.example
lake: lake
schedule: 15 0 * * *
jobs:
  report: {notebook: event_types, needs: copy, out: "out/{time}.html"}
  copy: {export: everything}
"""


@dataclass
class SetClock:
    """A clock that stands still until it is set."""

    now: datetime

    @classmethod
    def at(cls, text: str) -> SetClock:
        return cls(datetime.fromisoformat(text))

    def __call__(self) -> datetime:
        return self.now

    def on(self, **span: float) -> None:
        self.now += timedelta(**span)


def succeeds(request: Request, number: int) -> Ended:
    for file in request.files.values():
        Path(file).write_text(f"{request.at} {number}", encoding="utf-8")
    return Ended("succeeded", 1.5, memory=1000, answer=Answer(details={"events_kept": 3} if request.work == "export" else {}))


def fails(message: str = "It did not work.", *, permanent: bool = False) -> Callable[[Request, int], Ended]:
    return lambda request, number: Ended("failed", 0.5, message, permanent=permanent)


@dataclass
class Work:
    """Stands for what jobs do: which requests came, and how each ends, by the name of what is done and the attempt."""

    how: Callable[[Request, int], Ended] = succeeds
    requests: list[Request] = field(default_factory=list)
    during: Callable[[], object] = lambda: None

    def __call__(self, request: Request, *, memory: int | None, beat: Beat) -> Ended:
        self.requests.append(request)
        worker = Process.current()
        if not beat(replace(worker, started=1.0)):  # gone as soon as its scheduler is
            return Ended("lost", 0.0)
        self.during()
        return self.how(request, len(self.requests))


def pipeline_of(place: Path, text: str, *, name: str = "p") -> Pipeline:
    file = place / f"{name}.yaml"
    file.write_text(text, encoding="utf-8")
    return load_pipeline(file)


def scheduler_of(
    place: Path, text: str, clock: SetClock, work: Work, *, holder: Process | None = None, ledger_clock: SetClock | None = None
) -> Scheduler:
    """Return a scheduler of the pipeline ``p``; each is another process where ``holder`` says so."""
    ledger = Ledger(place / "ledger.sqlite", clock=ledger_clock or clock, holder=holder)
    return Scheduler([pipeline_of(place, text)], ledger=ledger, clock=clock, perform=work)


def told(done: list[Done]) -> list[tuple[str, str, str]]:
    """Return the jobs, times and outcomes of attempts."""
    return [(one.job, f"{one.scheduled_at:%m-%d %H:%M}", one.outcome) for one in done]


def states(place: Path) -> dict[tuple[str, str], str]:
    """Return what the ledger says of each run."""
    return {(run.job, f"{run.scheduled_at:%m-%d %H:%M}"): run.state for run in Ledger(place / "ledger.sqlite").runs()}
