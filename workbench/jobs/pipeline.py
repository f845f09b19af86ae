"""What a pipeline declares: jobs, each an export or a report, with when they run, what they need, and what is kept of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from workbench.errors import UsageError
from workbench.events import Selection
from workbench.jobs.cron import CronTimes
from workbench.zones import Every, begin, zone

CatchUp = Literal["all", "latest", "none"]
AsOf = Literal["scheduled", "hour", "day", "week", "month"]
Format = Literal["html", "duckdb"]

PLACES = ("job", "date", "time", "format")
"""What stands for itself in braces in ``out``."""

_PERIODS: Mapping[AsOf, Every] = {"hour": "1h", "day": "1d", "week": "1w", "month": "1mo"}
_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Export:
    """A job that copies what is new in an event store into a lake.

    Attributes
    ----------
    source
        The address of the event store, or ``$NAME`` for an environment variable that holds it. It never contains a user or a password.
    lake
        The lake: a path relative to the pipeline's file, a URL, or ``$NAME`` for an environment variable that holds either.
    selection
        ``everything``, or what to keep: ``{categories: [user, order]}``, ``{system: true}``.
    accept_scavenged
        Whether to continue if the last exported event was scavenged and nothing else proves that the log is the same.
    """

    source: str
    lake: str
    selection: Selection = field(default_factory=Selection)
    accept_scavenged: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """A job that runs a notebook over a lake and keeps the page.

    Attributes
    ----------
    notebook
        The name of a notebook that the workbench ships, or a path relative to the pipeline's file.
    lake
        The lake, as for an export.
    parameters
        Values for the parameters that the notebook declares.
    scenario
        A scenario whose edits apply to the history: its name, or a path relative to the pipeline's file.
    as_of
        The end of the history: the ``scheduled`` time, or the beginning of its ``hour``, ``day``, ``week`` (Monday) or ``month`` in the
        zone of the schedule.
    environment
        Names of environment variables to pass to the notebook, in addition to the few that every program needs.
    """

    notebook: str
    lake: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    scenario: str | None = None
    as_of: AsOf = "scheduled"
    environment: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one attempt.

    Attributes
    ----------
    time
        How long the attempt may take.
    cell
        How long one cell of a notebook may take.
    memory
        How many bytes the attempt's processes may hold together: ``4 GB``, ``500 MiB``.
    output
        How many bytes all cells together may print or draw.
    """

    time: timedelta = timedelta(hours=2)
    cell: timedelta = timedelta(minutes=10)
    memory: int | None = None
    output: int = 50_000_000


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed run is tried again.

    Attributes
    ----------
    times
        How many further attempts are made. Failures that would repeat, such as a wrong password, are not tried again.
    wait
        How long to wait before the first of them.
    factor
        How much longer each wait is than the one before it.
    longest
        The longest wait.
    """

    times: int = 0
    wait: timedelta = timedelta(minutes=1)
    factor: float = 2.0
    longest: timedelta = timedelta(hours=1)

    def delay(self, failures: int) -> timedelta:
        """Return how long to wait after so many failures of one run.

        >>> [Retry(wait=timedelta(minutes=20)).delay(failures).total_seconds() / 60 for failures in (1, 2, 3, 1000)]
        [20.0, 40.0, 60.0, 60.0]
        """
        wait = self.wait
        for _ in range(failures - 1):
            if wait >= self.longest:
                break
            wait *= self.factor
        return min(wait, self.longest)


@dataclass(frozen=True, slots=True)
class Retention:
    """Which files and records of past runs are kept. The last run that succeeded is always kept.

    Attributes
    ----------
    runs
        Keep the files of this many runs.
    age
        Keep files up to this age.
    history
        Keep the records of runs in the ledger up to this age.
    """

    runs: int | None = None
    age: timedelta | None = None
    history: timedelta = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Job:
    """One export or report, and when it runs.

    Attributes
    ----------
    name
        ``pipeline/job``: its name in the ledger and in metrics.
    work
        The export or the report.
    times
        When the job runs, as a line of cron: ``15 0 * * 1-5``. Fields have Debian's meaning: ``1`` is Monday.
    folder
        The folder of the pipeline's file.
    needs
        Jobs that must have succeeded first, for their last time up to this job's time or for a later one.
    catch_up
        Which times to make up for if no scheduler ran: ``all``, the ``latest`` or ``none``.
    since
        The instant from which its times count. Without it: from when a scheduler first sees the job.
    limits
        What an attempt may use.
    retry
        When a failed run is tried again.
    retention
        Which files and records of past runs are kept.
    formats
        What is written: ``html`` for a report, ``duckdb`` for an export, which then also writes one DuckDB file.
    out
        Where files go: a path with ``{job}``, ``{date}``, ``{time}`` and ``{format}``, or ``$NAME`` at its beginning.
    written
        Where ``out`` stands: file, line and column.
    """

    name: str
    work: Export | Report
    times: CronTimes
    folder: Path
    needs: tuple[str, ...] = ()
    catch_up: CatchUp = "latest"
    since: datetime | None = None
    limits: Limits = field(default_factory=Limits)
    retry: Retry = field(default_factory=Retry)
    retention: Retention = field(default_factory=Retention)
    formats: tuple[Format, ...] = ()
    out: str | None = None
    written: str = ""

    @property
    def lake(self) -> str:
        """The lake that is written or read: an absolute path, or a URL.

        Raises
        ------
        UsageError
            It names a variable of the environment that is not set.
        """
        return resolved(self.work.lake, folder=self.folder, what=f"the lake of {self.name}")

    def as_of(self, scheduled_at: datetime) -> datetime:
        """Return the instant in UTC up to which a report looks at the lake, at one of its times."""
        every = _PERIODS.get(self.work.as_of) if isinstance(self.work, Report) else None
        return scheduled_at.astimezone(UTC) if every is None else begin(scheduled_at, every, self.times.zone)

    def outputs(self, scheduled_at: datetime) -> dict[Format, Path]:
        """Return where the files of a run go, by format.

        Raises
        ------
        UsageError
            The place names a variable of the environment that is not set.
        """
        if self.out is None:
            return {}
        local = scheduled_at.astimezone(zone(self.times.zone))
        # In UTC: of two local times of one name, one file would take the other's place.
        told = {"job": self.name, "date": f"{local:%Y-%m-%d}", "time": f"{scheduled_at.astimezone(UTC):%Y-%m-%dT%H%MZ}"}
        what = f"out of {self.name}"
        return {one: Path(resolved(self.out.format(**told, format=one), folder=self.folder, what=what)) for one in self.formats}


@dataclass(frozen=True, slots=True)
class Metrics:
    """What ``workbench metrics`` measures of a pipeline's lakes, in addition to what it measures of every lake.

    Attributes
    ----------
    actor
        The path in an event that names the user who acted: ``metadata.userId``. Without it, user actions are not counted.
    snapshots
        Event types that are snapshots, with ``*`` for any run of characters.
    types
        How many event types are counted by name; the others are counted together.
    replay
        Projections that are rebuilt to measure how long that takes.
    """

    actor: tuple[str | int, ...] | None = None
    snapshots: tuple[str, ...] = ()
    types: int = 20
    replay: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The jobs of one file, each after those that it needs.

    Attributes
    ----------
    file
        The pipeline's file.
    name
        The pipeline's name; by default that of the file.
    jobs
        Exports and reports by name.
    metrics
        What is measured of the lakes.
    """

    file: Path
    name: str
    jobs: tuple[Job, ...]
    metrics: Metrics = field(default_factory=Metrics)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables of the environment that must be set for its jobs."""
        texts = [one.work.lake for one in self.jobs] + [one.work.source for one in self.jobs if isinstance(one.work, Export)]
        texts += [one.out for one in self.jobs if one.out is not None]
        asked = {name for one in self.jobs if isinstance(one.work, Report) for name in one.work.environment}
        return tuple(sorted(asked | {found[1] for text in texts if (found := _VARIABLE.fullmatch(text))}))


def resolved(text: str, *, folder: Path, what: str) -> str:
    """Return a place or an address as it is now: a variable at its beginning filled in, a path as seen from ``folder``.

    Raises
    ------
    UsageError
        The variable is not set. No message repeats what a variable holds.
    """
    found = _VARIABLE.fullmatch(text)
    if found is not None:
        value = os.environ.get(found[1])
        if not value:
            raise UsageError(f"The environment variable {found[1]} is not set, and {what} is {text}: set it where the scheduler runs.")
        # A path in a variable is seen from where the scheduler runs.
        text = value + found[2]
        return text if "://" in text else str(Path(text).expanduser().resolve())
    return text if "://" in text else str((folder / Path(text).expanduser()).resolve())
