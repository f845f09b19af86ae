"""Exposes the metrics to Prometheus. Jobs, lakes and event types are labels; streams and users never are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import psutil  # type: ignore[import-untyped]  # it brings no types
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from workbench.errors import WorkbenchError
from workbench.jobs import Attempt, Export, Job, Ledger, Pipeline, utc_now
from workbench.jobs.ledger import State
from workbench.metrics.lakes import LakeFigures, WatchedLake, measure, version_of, watched_lakes

REMEASURED_SECONDS = 3600.0
"""How long until an unchanged lake is measured again: its response times may have changed."""

Number = float | int | bool | datetime | None
Row = tuple[list[str], Number]


@dataclass(frozen=True, slots=True)
class _Measured:
    """The last figures of a lake, or the reason why there are none."""

    figures: LakeFigures | None = None
    at: float = 0.0
    why: str = ""


class Figures(Collector):
    """The metrics of pipelines: of their jobs, from the ledger, and of their lakes, as last measured.

    A scrape reads the ledger and measures nothing; `refresh` measures the lakes.

    Parameters
    ----------
    clock
        Returns the present time, for lags and delays.

    Raises
    ------
    UsageError
        The path of a lake uses an environment variable that is not set.
    """

    def __init__(self, pipelines: Sequence[Pipeline], *, ledger: Ledger, clock: Callable[[], datetime] = utc_now) -> None:
        self._jobs = [job for pipeline in pipelines for job in pipeline.jobs]
        self._lakes = watched_lakes(pipelines)
        self._ledger, self._clock = ledger, clock
        self._measured = {one.name: _Measured() for one in self._lakes}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Measure the lakes that have changed since the last measurement, or whose last measurement is old."""
        for watched in self._lakes:
            old, now = self._measured[watched.name], time.monotonic()
            try:
                if old.figures is not None and now - old.at < REMEASURED_SECONDS and version_of(watched) == old.figures.version:
                    continue
                found = _Measured(measure(watched), now)
            except WorkbenchError as error:
                found = _Measured(None, now, str(error))
            with self._lock:
                self._measured[watched.name] = found

    @property
    def failures(self) -> dict[str, str]:
        """The reasons why lakes could not be read or projections not replayed, by name."""
        with self._lock:
            measured = dict(self._measured)
        lakes = {name: one.why for name, one in measured.items() if one.why}
        return lakes | {what: why for one in measured.values() if one.figures for what, why in one.figures.failed.items()}

    def collect(self) -> Iterator[Metric]:
        """Yield the families: of jobs, of lakes, and of this process."""
        now = self._clock()
        with self._lock:
            figures = {name: one.figures for name, one in self._measured.items()}
        yield from _of_jobs(self._jobs, self._ledger, now)
        yield from _of_lakes(self._lakes, figures, now)
        memory = psutil.Process().memory_info().rss
        yield _gauge("memory_bytes", "Resident memory of the process that measured the lakes.", [], [([], memory)])


def _of_jobs(jobs: Sequence[Job], ledger: Ledger, now: datetime) -> Iterator[Metric]:
    names = [job.name for job in jobs]
    totals = [one for one in ledger.totals() if one.job in names]
    # Prometheus has a label job of its own.
    by_outcome = ["job_name", "outcome"]
    yield _counter(
        "job_attempts", "Attempts at runs that have ended, by outcome.", by_outcome, [([t.job, t.outcome], t.attempts) for t in totals]
    )
    yield _counter("job_attempt_seconds", "What attempts took.", by_outcome, [([t.job, t.outcome], t.seconds) for t in totals])
    exports = [job.name for job in jobs if isinstance(job.work, Export)]
    copied = [([name], sum(t.events for t in totals if t.job == name)) for name in exports]
    yield _counter("export_events", "Events that exports have copied.", ["job_name"], copied)

    def gauge(name: str, says: str, of: Callable[[Job], Number]) -> Metric:
        return _gauge(name, says, ["job_name"], [([job.name], of(job)) for job in jobs])

    counts = ledger.counts()
    last = {name: ledger.last_success(name) for name in names}

    def late(job: Job) -> Number:
        expected, seen = job.times.last(now), ledger.first_seen_at(job.name)
        begins = job.since or seen
        # If no scheduler has ever seen a job, the time of its declaration is unknown; then report it as late rather than not.
        if expected is None or (begins is not None and expected < begins) or ledger.has_succeeded(job.name, since=expected):
            return 0
        return (now - expected).total_seconds()

    def count(state: State) -> Callable[[Job], Number]:
        return lambda job: counts.get((job.name, state), 0)

    def failed(job: Job) -> Number:
        ended = ledger.last_ended(job.name)
        return ended is not None and ended.state == "failed"

    yield gauge("job_runs_due", "Runs that are due and not begun.", count("due"))
    yield gauge("job_runs_running", "Runs that are going on.", count("running"))
    yield gauge("job_runs_missed", "Times that were missed and not made up for, as far as the ledger goes back.", count("missed"))
    yield gauge("job_last_run_failed", "Whether the last run that has ended failed for good.", failed)
    yield gauge("job_late_seconds", "How long ago the last time was that a job has not yet succeeded for; 0 if it has.", late)
    yield gauge("job_next_timestamp_seconds", "When a job is due next.", lambda job: next(job.times.after(now), None))

    def of_last(name: str, says: str, of: Callable[[Attempt], Number]) -> Metric:
        return _gauge(name, says, ["job_name"], [([job], of(one)) for job, one in last.items() if one is not None])

    yield of_last("job_last_success_timestamp_seconds", "When a job last succeeded.", lambda one: one.ended_at)
    yield of_last("job_last_success_scheduled_timestamp_seconds", "For which time that was.", lambda one: one.scheduled_at)
    yield of_last("job_last_duration_seconds", "How long it took.", lambda one: one.seconds)
    yield of_last("job_last_peak_memory_bytes", "The most memory that its processes held.", lambda one: one.details.get("memory"))


def _of_lakes(lakes: Sequence[WatchedLake], measured: dict[str, LakeFigures | None], now: datetime) -> Iterator[Metric]:
    found = {name: one for name, one in measured.items() if one is not None}
    yield _gauge("lake_up", "Whether a lake could be read.", ["lake"], [([one.name], one.name in found) for one in lakes])

    def gauge(name: str, says: str, of: Callable[[LakeFigures], Number]) -> Metric:
        return _gauge(name, says, ["lake"], [([lake], of(one)) for lake, one in found.items()])

    def by(name: str, label: str, says: str, of: Callable[[LakeFigures], Iterable[tuple[str, Number]]]) -> Metric:
        return _gauge(name, says, ["lake", label], [([lake, key], value) for lake, one in found.items() for key, value in of(one)])

    def lag(one: LakeFigures) -> Number:
        return None if one.complete_until is None else max(0.0, (now - one.complete_until).total_seconds())

    def behind(one: LakeFigures) -> Number:
        return None if one.source_position is None else max(0, one.source_position - (one.position or 0))

    exported = [lake for lake in lakes if lake.export is not None and lake.name in found]
    yield gauge("lake_bytes", "Size of a lake's files.", lambda one: one.bytes)
    yield gauge("lake_files", "Number of a lake's files.", lambda one: one.files)
    yield gauge("lake_unclustered_files", "Files that are not yet merged into sorted ones.", lambda one: one.unclustered_files)
    yield gauge("lake_complete_until_timestamp_seconds", "Until when a lake is known to be complete.", lambda one: one.complete_until)
    yield gauge("lake_lag_seconds", "How long ago that was.", lag)
    yield gauge("lake_position", "Up to which position the log was copied.", lambda one: one.position)
    yield gauge("source_position", "At which position the log ends, where its store answered.", lambda one: one.source_position)
    yield gauge("lake_lag_bytes", "How far the log goes on behind the copy; positions count bytes.", behind)
    asked = [([lake.name], found[lake.name].source_position is not None) for lake in exported]
    yield _gauge("source_up", "Whether the store that a lake is copied from answered.", ["lake"], asked)

    yield _counter(
        "events", "Events in a lake, without those of the system.", ["lake"], [([lake], one.events) for lake, one in found.items()]
    )
    yield by("events_per_second", "window", "Events a second, over a window before the lake's end.", lambda one: one.rates.items())
    yield gauge("streams", "Streams in a lake.", lambda one: one.streams)
    taken = [([lake], one.snapshots) for lake, one in found.items()]
    yield _counter("snapshots", "Snapshots among the events, by the types that the pipeline names.", ["lake"], taken)
    yield gauge("snapshots_per_day", "Snapshots in the last day before the lake's end.", lambda one: one.snapshots_per_day)
    yield by("query_seconds", "query", "How long a question to a lake took.", lambda one: one.query_seconds.items())
    yield by("replay_seconds", "projection", "How long the state of a projection took.", lambda one: one.replay_seconds.items())
    yield by("replay_entities", "projection", "How many entities it has.", lambda one: one.replay_entities.items())
    yield by("replay_failed", "projection", "Whether the events do not become its state.", _failed)
    yield gauge("user_actions_per_day", "Events of users in the last day before the lake's end.", lambda one: one.actions_per_day)
    yield gauge("active_users_per_day", "Users who acted in that day.", lambda one: one.actors_per_day)
    yield by("event_type_events", "type", "Events by type: the most frequent by name, the others together.", lambda one: one.types.items())


def _failed(one: LakeFigures) -> Iterator[tuple[str, Number]]:
    yield from ((name, name in one.failed) for name in (*one.replay_seconds, *one.failed))


def _gauge(name: str, says: str, labels: list[str], rows: Iterable[Row]) -> Metric:
    return _filled(GaugeMetricFamily(f"workbench_{name}", says, labels=labels), rows)


def _counter(name: str, says: str, labels: list[str], rows: Iterable[Row]) -> Metric:
    return _filled(CounterMetricFamily(f"workbench_{name}", says, labels=labels), rows)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, rows: Iterable[Row]) -> Metric:
    """Add the rows with a value: a missing value is not 0."""
    for labels, value in rows:
        if value is not None:
            family.add_metric(labels, value.timestamp() if isinstance(value, datetime) else float(value))
    return family
