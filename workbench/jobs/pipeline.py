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
    """What is new in an event store is copied into a lake.

    Attributes
    ----------
    source, lake
        As written: an address, a path as seen from the pipeline's file, or ``$NAME``, a variable of the environment.
    accept_scavenged
        Whether to go on where the event at which the last export ended was scavenged, and nothing proves that the log is the same.
    """

    source: str
    lake: str
    selection: Selection = field(default_factory=Selection)
    accept_scavenged: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """A notebook is run over a lake.

    Attributes
    ----------
    notebook
        A name that comes along, or a path.
    as_of
        Until when the lake is looked at: the scheduled time itself, or the beginning of its hour, day, week (Monday) or month in the
        zone of the schedule.
    environment
        Names of the environment variables that the notebook is given, beyond those that every program needs.
    """

    notebook: str
    lake: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    scenario: str | None = None
    as_of: AsOf = "scheduled"
    environment: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an attempt and one cell of a notebook may take, and how many bytes all processes may hold and all cells put out."""

    time: timedelta = timedelta(hours=2)
    cell: timedelta = timedelta(minutes=10)
    memory: int | None = None
    output: int = 50_000_000


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a run that failed is begun again, and after how long: each wait is ``factor`` times the one before, up to ``longest``."""

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
    """What is kept: the files of the last so many runs, those no older than ``age``, and for how long a run stands in the ledger.

    The last run that succeeded is always kept.
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
        ``pipeline/job``, which names it in the ledger and in metrics.
    needs
        Jobs, by their full names, that must have succeeded for their last time up to this job's, or for a later one.
    catch_up
        What becomes of times at which no scheduler ran: all are made up for, the latest only, or none.
    since
        From when on its times count; None from when it is first seen.
    out
        Where files go, with ``{job}``, ``{date}``, ``{time}`` and ``{format}`` in it; None where there are none.
    written
        Where ``out`` stands: the pipeline's file, with line and column.
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
    """What is measured of a pipeline's lakes, beyond what every lake has.

    Attributes
    ----------
    actor
        The place in an event where the one who acted stands, as its steps: ``("metadata", "userId")``; None: user actions are not counted.
    snapshots
        Event types that are snapshots, with ``*`` for any run of characters.
    types
        How many event types are counted by name; the others are counted together.
    replay
        Projections whose state is rebuilt to see how long that takes.
    """

    actor: tuple[str | int, ...] | None = None
    snapshots: tuple[str, ...] = ()
    types: int = 20
    replay: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The jobs of one file, each behind those that it needs."""

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
