"""``workbench schedule``: runs due jobs once, from cron, systemd, a container or by hand."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from workbench.cli import options
from workbench.cli.lines import printable, say
from workbench.errors import UsageError, WorkbenchError

if TYPE_CHECKING:
    from workbench.jobs import Done, Ledger, Pipeline, Scheduler

Files = Annotated[list[Path] | None, typer.Argument(metavar="[FILES]", help="Pipelines. Without any: pipelines/*.yaml.")]
LedgerFile = Annotated[
    Path | None,
    typer.Option(
        "--ledger",
        envvar="WORKBENCH_LEDGER",
        metavar="FILE",
        help="What was run, in an SQLite file. Without it: schedule.sqlite beside the pipelines.",
    ),
]
Now = Annotated[str | None, typer.Option("--now", metavar="TIME", help="Take this time for now: 2026-03-01T00:15:00Z.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The options that say which pipelines, and where their ledger is."""

    files: Files = None
    ledger: LedgerFile = None

    def pipelines(self) -> list[Pipeline]:
        """Read the pipelines."""
        from workbench.jobs import find_pipelines, load_pipeline

        return [load_pipeline(file) for file in self.files or find_pipelines()]

    def ledger_file(self, pipelines: list[Pipeline]) -> Path:
        """Return where the ledger is: the same whatever directory this is run in."""
        if self.ledger is not None:
            return self.ledger
        folders = {one.file.parent.resolve() for one in pipelines}
        if len(folders) > 1:
            raise UsageError("The pipelines lie in several directories, so that it is open where their ledger is: name it with --ledger.")
        return folders.pop() / "schedule.sqlite"

    def open(self, *, now: str | None = None) -> tuple[Scheduler, Ledger]:
        """Return the scheduler of these pipelines, and its ledger."""
        from workbench.events import parse_time
        from workbench.jobs import Ledger, Scheduler, utc_now

        pipelines = self.pipelines()
        ledger = Ledger(self.ledger_file(pipelines))
        if now is None:
            return Scheduler(pipelines, ledger=ledger, clock=utc_now), ledger
        moment = parse_time(now)
        return Scheduler(pipelines, ledger=ledger, clock=lambda: moment), ledger


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Give an event that SIGTERM sets; SIGINT stays Ctrl-C, which stops at once."""
    stop = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def register(app: typer.Typer) -> None:
    schedule = typer.Typer(help="Run the jobs of pipelines at their times.", no_args_is_help=True)
    app.add_typer(schedule, name="schedule")

    @options.command(schedule, example="workbench schedule due pipelines/nightly.yaml", dated=True)
    def due(*, schedule: Schedule, now: Now = None, json: options.Json = False) -> None:
        """Run what is due, once, and end: for cron and any other scheduler.

        Missed times are made up for as the pipelines declare. Called again, it does nothing twice; called beside itself, either does
        what the other has not begun. The exit status is 1 if a job failed. SIGTERM ends it behind the job that is running.
        """
        from workbench.cli.output import json_text

        scheduler, _ = schedule.open(now=now)
        done = []
        with stopped_by_signals() as stop:
            for one in scheduler.due(stop=stop):
                done.append(one)
                if not json:
                    say(sentence(one))
        waiting = scheduler.waiting()
        if json:
            print(json_text({"done": [as_json(one) for one in done], "waiting": [as_json(one) for one in waiting]}))
        for held in waiting if not json else ():
            say(f"{held.job} of {moment(held.scheduled_at)} waits for {held.why}", error=True)
        if not done and not waiting and not json:
            say("Nothing is due.", error=True)
        if any(one.outcome not in ("succeeded", "lost") for one in done):
            raise typer.Exit(1)

    @options.command(schedule, example="workbench schedule next pipelines/nightly.yaml --rows 5", name="next")
    def next_(*, schedule: Schedule, now: Now = None, output: options.Output) -> None:
        """Show which jobs come next, and when: in UTC, and in the zone of each."""
        import polars as pl

        from workbench.zones import zone

        output.check()
        scheduler, _ = schedule.open(now=now)
        rows = [
            (job.name, at, f"{at.astimezone(zone(job.times.zone)):%a %Y-%m-%d %H:%M} {job.times.zone}", job.times.text)
            for job, at in scheduler.upcoming(count=max(1, output.rows) if output.is_table else 1000)
        ]
        columns: dict[str, Any] = {"job": pl.String, "scheduled_at": pl.Datetime("us", "UTC"), "local": pl.String, "schedule": pl.String}
        output.show(pl.DataFrame(rows, schema=columns, orient="row"))

    @options.command(schedule, example="workbench schedule history pipelines/nightly.yaml --job nightly/copy")
    def history(
        *,
        schedule: Schedule,
        job: Annotated[str | None, typer.Option("--job", metavar="PIPELINE/JOB", help="Only of this job.")] = None,
        output: options.Output,
    ) -> None:
        """Show how each attempt of each job ended, the latest first."""
        output.check()
        scheduler, ledger = schedule.open()
        if job is not None and job not in scheduler.jobs:
            raise UsageError(f"There is no job {job!r}; there are {', '.join(scheduler.jobs)}.")
        output.show(_history(ledger, [job] if job else list(scheduler.jobs), most=output.rows + 1 if output.is_table else None))

    @options.command(
        schedule, example="workbench schedule run nightly/event-types pipelines/nightly.yaml --time 2026-03-01T00:15:00Z", dated=True
    )
    def run(
        job: Annotated[str, typer.Argument(metavar="PIPELINE/JOB", help="The job.")],
        *,
        time: Annotated[str, typer.Option("--time", metavar="TIME", help="For which of its times: its report is of then.")],
        schedule: Schedule,
    ) -> None:
        """Run one job now, for one of its times, whether or not it is due or has run."""
        from workbench.events import parse_time

        scheduler, _ = schedule.open()
        done = scheduler.run(job, scheduled_at=parse_time(time))
        say(sentence(done))
        if done.outcome != "succeeded":
            raise typer.Exit(1)

    @options.command(schedule, example="workbench schedule serve pipelines/nightly.yaml --metrics-port 9464", dated=True)
    def serve(
        *,
        schedule: Schedule,
        metrics_port: Annotated[
            int | None, typer.Option("--metrics-port", metavar="N", min=0, max=65535, help="Also answer Prometheus at this port.")
        ] = None,
        metrics_host: Annotated[
            str, typer.Option("--metrics-host", metavar="HOST", help="At which address of this machine.")
        ] = "127.0.0.1",
    ) -> None:
        """Run jobs when they are due, until stopped: SIGTERM waits for the running job, Ctrl-C does not."""
        from contextlib import ExitStack

        from workbench.metrics import serve_metrics

        scheduler, ledger = schedule.open()
        with ExitStack() as stack:
            stop = stack.enter_context(stopped_by_signals())
            if metrics_port is not None:
                server = stack.enter_context(serve_metrics(schedule.pipelines(), ledger=ledger, host=metrics_host, port=metrics_port))
                say(f"Metrics at {server.url}")
            say(f"Waiting for {', '.join(scheduler.jobs)}; ledger {ledger.path}")
            scheduler.serve(stop=stop, report=lambda done: say(sentence(done)))
        say("Stopped.")

    @options.command(schedule, example="workbench schedule emit --to crontab pipelines/nightly.yaml")
    def emit(
        *,
        schedule: Schedule,
        to: Annotated[Literal["crontab", "systemd"], typer.Option("--to", help="For which scheduler.")],
    ) -> None:
        """Print a line for a crontab, or a unit for systemd, that runs these pipelines."""
        from workbench.jobs.emit import emit as text_of

        pipelines = schedule.pipelines()
        beside = Path(sys.executable).with_name("workbench")
        command = beside if beside.exists() else Path(shutil.which("workbench") or "workbench")
        print(text_of(pipelines, to=to, ledger=schedule.ledger_file(pipelines), command=command), end="")


def moment(at: datetime) -> str:
    """Write a scheduled time: to the second."""
    from workbench.events import format_time

    return format_time(at)


def sentence(done: Done) -> str:
    """Say how an attempt ended, in one line."""
    head = f"{moment(done.scheduled_at)} {done.job} {done.outcome} in {done.seconds:.1f} s"
    if done.attempt > 1:
        head += f" at attempt {done.attempt}"
    if done.message:
        head += f": {printable(done.message)}"
    if done.not_before is not None:
        head += f" Again at {done.not_before:%H:%M:%S} UTC."
    return head + "".join(f"\n  {file}" for file in done.files)


def as_json(one: Any) -> dict[str, Any]:
    """Return a frozen dataclass as what JSON has."""
    from dataclasses import asdict

    return asdict(one)


def _history(ledger: Ledger, jobs: list[str], *, most: int | None) -> Any:
    import polars as pl

    if not ledger.path.exists():
        raise WorkbenchError(f"There is no ledger {ledger.path}: nothing was run yet, or it is another one; name it with --ledger.")
    runs = ledger.runs(jobs=jobs, most=most)
    oldest = min((run.scheduled_at for run in runs), default=None)
    attempts: dict[tuple[str, datetime], list[Any]] = {}
    for one in ledger.attempts(since=oldest) if oldest else ():
        attempts.setdefault((one.job, one.scheduled_at), []).insert(0, one)
    rows = [
        (
            *(run.job, run.scheduled_at, run.state),
            *((one.number, one.started_at, one.seconds, one.outcome or "running", one.message) if one else (None, None, None, None, None)),
            run.not_before if run.state == "due" else None,
        )
        for run in runs
        for one in attempts.get((run.job, run.scheduled_at), [None])
    ]
    time = pl.Datetime("us", "UTC")
    columns: dict[str, Any] = {
        "job": pl.String,
        "scheduled_at": time,
        "state": pl.String,
        "attempt": pl.Int64,
        "started_at": time,
        "seconds": pl.Float64,
    }
    return pl.DataFrame(rows, schema=columns | {"outcome": pl.String, "message": pl.String, "not_before": time}, orient="row")
