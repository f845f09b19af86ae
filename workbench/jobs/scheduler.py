"""What is due is found, claimed, done and written down: the same whether cron calls it or it waits by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Protocol

from workbench.errors import UsageError
from workbench.events import format_time
from workbench.jobs.ledger import Attempt, Ledger, Outcome, Run, State, utc_now
from workbench.jobs.output_conflicts import overwriting
from workbench.jobs.outputs import Stage, expired, move_outputs, remove, settle_failed
from workbench.jobs.pipeline import Export, Job, Pipeline, Report, resolved
from workbench.jobs.supervisor import Beat, Ended, supervise
from workbench.jobs.worker import Request
from workbench.reports import find_notebook

GRACE = timedelta(minutes=15)
"""How late a time may be that is not made up for, and how long ago one of a job that is seen for the first time."""

MOST = 1000
"""Of one job, no more missed times than these are looked at: the latest of them."""

LOST = 3
"""How often a run may be begun whose scheduler was gone before its end."""

_LONGEST_PAUSE = 30.0
_INSTANT = timedelta(microseconds=1)
_CONSIDERED = timedelta(minutes=5)


class Perform(Protocol):
    """How an attempt is carried out; `supervise` does it in a process of its own."""

    def __call__(self, request: Request, *, memory: int | None, beat: Beat) -> Ended: ...


@dataclass(frozen=True, slots=True)
class Done:
    """An attempt that has ended, and the new state of its run: ``due`` again, ``succeeded`` or ``failed``."""

    job: str
    scheduled_at: datetime
    attempt: int
    outcome: Outcome
    state: State
    seconds: float
    message: str = ""
    not_before: datetime | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A due run that has not begun, and what it waits for."""

    job: str
    scheduled_at: datetime
    why: str


class Scheduler:
    """Runs the jobs of pipelines at their times.

    Any number of schedulers may share a ledger. Each runs one job after another: earlier times first, and for the same time a job
    after the jobs that it needs.

    Parameters
    ----------
    clock
        Says what time it is: up to when jobs are due, and when retries may begin.
    """

    def __init__(
        self, pipelines: Sequence[Pipeline], *, ledger: Ledger, clock: Callable[[], datetime] = utc_now, perform: Perform = supervise
    ) -> None:
        self.jobs = {job.name: job for pipeline in pipelines for job in pipeline.jobs}
        names = [pipeline.name for pipeline in pipelines]
        for index, pipeline in enumerate(pipelines):
            if pipeline.name in names[:index]:
                other = pipelines[names.index(pipeline.name)]
                raise UsageError(f"{pipeline.file} and {other.file} are both named {pipeline.name!r}: give one of them another name.")
        for error in overwriting(self.jobs.values()):
            raise error
        self._order = {name: index for index, name in enumerate(self.jobs)}
        self._ledger, self._clock, self._perform = ledger, clock, perform

    def due(self, *, stop: threading.Event | None = None) -> Iterator[Done]:
        """Run everything that is due, and yield each attempt when it has ended. Retries that must wait are left to a later call.

        Parameters
        ----------
        stop
            If it is set, no further job is begun.
        """
        stop = stop or threading.Event()
        while not stop.is_set():
            done = self._step()
            if done is None:
                return
            yield done

    def serve(self, *, stop: threading.Event, report: Callable[[Done], None]) -> None:
        """Run jobs when they are due, until ``stop`` is set; then finish the running job and return."""
        while not stop.is_set():
            for done in self.due(stop=stop):
                report(done)
            stop.wait(self._pause())

    def waiting(self) -> list[Waiting]:
        """Return the runs that are due and not begun, with what each waits for."""
        now = self._clock()
        runs = self._ledger.unfinished(list(self.jobs))
        return [
            Waiting(run.job, run.scheduled_at, why) for run in runs if run.state == "due" and (why := self._obstacle(run, now)) is not None
        ]

    def upcoming(self, *, count: int) -> list[tuple[Job, datetime]]:
        """Return the next times of all jobs, the earliest first."""
        now = self._clock()
        found = [
            (job, at)
            for job in self.jobs.values()
            for at in islice(job.times.after(max(now, job.since - _INSTANT) if job.since else now), count)
        ]
        return sorted(found, key=lambda one: (one[1], self._order[one[0].name]))[:count]

    def run(self, job: str, *, scheduled_at: datetime) -> Done:
        """Run a job now for one of its times, whether or not it is due, has run, or has what it needs.

        Raises
        ------
        UsageError
            There is no such job, or it is running.
        """
        found = self.jobs.get(job)
        if found is None:
            raise UsageError(f"There is no job {job!r}; there are {', '.join(self.jobs)}.")
        self._ledger.enqueue(job, scheduled_at)
        run = self._ledger.run(job, scheduled_at)
        if run is not None and run.state == "running" and self._ledger.lost(run):
            self._take_over(found, run)
            run = self._ledger.run(job, scheduled_at)
        attempt = None if run is None else self._ledger.claim(run)
        if run is None or attempt is None:
            raise UsageError(f"{job} is running at this moment: wait until it has ended.")
        return self._attempt(found, run, attempt)

    def _step(self) -> Done | None:
        """Run one job, or take one over; return None if nothing can be done now."""
        now = self._clock()
        for job in self.jobs.values():
            self._consider(job, now)
        runs = self._ledger.unfinished(list(self.jobs))
        for run in sorted(runs, key=lambda one: (one.scheduled_at, self._order[one.job])):
            job = self.jobs[run.job]
            if run.state == "running":
                if self._ledger.lost(run) and (done := self._take_over(job, run)) is not None:
                    return done
            elif self._obstacle(run, now) is None:
                attempt = self._ledger.claim(run)
                if attempt is not None:
                    return self._attempt(job, run, attempt)
        return None

    def _consider(self, job: Job, now: datetime) -> None:
        """Record which times of a job have come since the last call, and which of them were missed."""
        after = self._ledger.considered_until(job.name)
        begin = after or (now - GRACE if job.since is None else job.since - _INSTANT)
        if begin >= now:
            return
        times = job.times.between(begin, now, most=MOST)
        if not times and after is not None and now - after < _CONSIDERED:
            return
        due = times
        if job.catch_up != "all":
            due = times[-1:] if job.catch_up == "latest" or (times and now - times[-1] <= GRACE) else []
        self._ledger.consider(job.name, after=after, upto=now, due=due, missed=[one for one in times if one not in due])
        if due and job.catch_up != "all":
            self._ledger.supersede(job.name, before=due[-1])

    def _obstacle(self, run: Run, now: datetime) -> str | None:
        """Return what a due run has to wait for; None if it can begin."""
        if run.not_before is not None and run.not_before > now:
            return f"a retry, until {format_time(run.not_before)}"
        for name in self.jobs[run.job].needs:
            since = self.jobs[name].times.last(run.scheduled_at) or run.scheduled_at
            if not self._ledger.has_succeeded(name, since=since):
                return f"{name} of {format_time(since)}, or a later one"
        return None

    def _pause(self) -> float:
        """Return for how many seconds nothing can become due; half a minute at most, since clocks are set and schedulers die."""
        now = self._clock()
        moments = [at for _, at in self.upcoming(count=1)]
        moments += [
            run.not_before for run in self._ledger.unfinished(list(self.jobs)) if run.not_before is not None and run.not_before > now
        ]
        return min([_LONGEST_PAUSE, *(max(0.0, (one - now).total_seconds()) for one in moments)])

    def _take_over(self, job: Job, run: Run) -> Done | None:
        """Finish an attempt whose scheduler is gone if only its files were not in place, or mark its run as due again."""
        attempt = self._ledger.adopt(run)
        if attempt is None:
            return None
        files = None
        if run.placing is not None:
            try:
                files = move_outputs(run.placing)
            except OSError:
                files = None  # its place is gone: then it is done again, and says so itself
        if files is not None:
            assert run.placing is not None
            details = run.placing["details"]
            seconds = float(details.get("seconds", 0.0))
            self._ledger.end(attempt, "succeeded", state="succeeded", seconds=seconds, details=details, files=files)
            self._retain(job)
            return Done(run.job, run.scheduled_at, attempt.number, "succeeded", "succeeded", seconds, files=tuple(files))
        before = self._ledger.attempts(since=run.scheduled_at, job=run.job, outcome="lost")
        times = sum(one.scheduled_at == run.scheduled_at for one in before) + 1
        state: State = "due" if times < LOST else "failed"
        again = "it is begun again" if state == "due" else f"it was begun {times} times and is given up"
        message = f"The scheduler that had begun it was gone before its end; {again}."
        self._ledger.end(attempt, "lost", state=state, message=message)
        return Done(run.job, run.scheduled_at, attempt.number, "lost", state, 0.0, message)

    def _attempt(self, job: Job, run: Run, attempt: Attempt) -> Done:
        """Carry out an attempt that this scheduler holds, and record how it ended."""
        stage = Stage({}, attempt.number)
        try:
            stage = Stage(job.outputs(run.scheduled_at), attempt.number)
            stage.prepare()
            request = self._request(job, run, stage)
            ended = self._perform(request, memory=job.limits.memory, beat=lambda worker: self._ledger.heartbeat(attempt, worker=worker))
            return self._finish(job, run, attempt, ended, stage)
        except UsageError as error:
            return self._finish(job, run, attempt, Ended("failed", 0.0, str(error), permanent=True), stage)
        except OSError as error:
            where = error.filename or job.out
            said = f"Its files cannot be put in place: {error.strerror or error} ({where}). Look whether the place is there and has room."
            stage.clear()
            return self._finish(job, run, attempt, Ended("failed", 0.0, said), stage)
        except BaseException:
            # Ctrl-C, or an error of our own: the run is due again at once.
            self._ledger.end(attempt, "interrupted", state="due", message="The scheduler was stopped.")
            raise
        finally:
            stage.clear()

    def _finish(self, job: Job, run: Run, attempt: Attempt, ended: Ended, stage: Stage) -> Done:
        files: list[Path] = []
        state: State
        not_before = None
        if ended.outcome == "succeeded":
            state = "succeeded"
            details = {**ended.answer.details, "memory": ended.memory, "seconds": ended.seconds}
            moves = stage.moves()
            if not self._ledger.place(attempt, moves=moves, details=details):
                return self._no_longer_ours(attempt, ended)
            settled = move_outputs({"moves": [(target, staged, digest) for target, (staged, digest) in moves.items()]})
            assert settled is not None  # all of it was there a moment ago
            files = settled
        else:
            if not self._ledger.heartbeat(attempt):
                return self._no_longer_ours(attempt, ended)
            files = settle_failed(stage)
            details = {"memory": ended.memory}
            failures = run.failures + 1
            state = "failed" if ended.permanent or failures > job.retry.times else "due"
            if state == "due":
                not_before = self._clock() + job.retry.delay(failures)
        held = self._ledger.end(
            attempt,
            ended.outcome,
            state=state,
            message=ended.message,
            seconds=ended.seconds,
            not_before=not_before,
            details=details,
            files=files if state == "succeeded" else list(dict.fromkeys([*run.files, *files])),
        )
        if not held:
            return self._no_longer_ours(attempt, ended)
        if state == "succeeded":
            stage.forget_failures()
        if state != "due":
            self._retain(job)
        return Done(
            job.name, run.scheduled_at, attempt.number, ended.outcome, state, ended.seconds, ended.message, not_before, tuple(files)
        )

    def _no_longer_ours(self, attempt: Attempt, ended: Ended) -> Done:
        said = "Another scheduler took it over, since this one had given no sign of life; nothing of this attempt was kept."
        return Done(attempt.job, attempt.scheduled_at, attempt.number, "lost", "running", ended.seconds, said)

    def _request(self, job: Job, run: Run, stage: Stage) -> Request:
        files = {kind: str(file) for kind, file in stage.files().items()}
        seconds, work = job.limits.time.total_seconds(), job.work
        if isinstance(work, Export):
            source = resolved(work.source, folder=job.folder, what=f"the source of {job.name}")
            until = self._until(job, run)
            return Request(
                "export",
                job.lake,
                files,
                seconds,
                source=source,
                selection=asdict(work.selection),
                accept_scavenged=work.accept_scavenged,
                until=None if until is None else format_time(until),
            )
        return Request(
            "report",
            job.lake,
            files,
            seconds,
            notebook=str(find_notebook(work.notebook)),
            parameters=work.parameters,
            scenario=work.scenario,
            at=format_time(job.as_of(run.scheduled_at)),
            cell_seconds=max(1, round(job.limits.cell.total_seconds())),
            max_output=job.limits.output,
            environment=work.environment,
        )

    def _until(self, export: Job, run: Run) -> datetime | None:
        """Return the latest instant up to which the reports that are due, and need this export, look at the lake; None without any."""
        now = self._clock()
        needing = {export.name}
        moments = []
        for job in self.jobs.values():  # each stands behind those that it needs
            if needing.isdisjoint(job.needs):
                continue
            needing.add(job.name)
            at = job.times.last(now)
            if isinstance(job.work, Report) and at is not None and at >= run.scheduled_at:
                moments.append(job.as_of(at))
        return max(moments, default=None)

    def _retain(self, job: Job) -> None:
        """Remove the files and ledger rows of a job that its retention no longer keeps."""
        now = self._clock()
        runs = [] if job.out is None else self._ledger.with_files(job.name)
        over = []
        for succeeded in (True, False):  # failures do not take the places of reports
            over += expired([run for run in runs if (run.state == "succeeded") is succeeded], job.retention, now=now)
        cleared = remove(over, kept=[run for run in runs if run not in over])
        self._ledger.forget(job.name, files=cleared, before=now - job.retention.history)
