"""The ledger: how each job ended at each of its times, in one SQLite file that any number of schedulers share.

A run is a job and a scheduled time, and the ledger has one row for it. A scheduler claims it in a transaction before it does anything, so
only one of two schedulers begins it. The holder of a claim writes heartbeats. Another scheduler takes the run over only if the holder's
processes are known to be gone, or, if they ran on another machine, if no heartbeat came for a while. Whatever a holder writes is bound to
its claim: a holder that was thought dead and wakes up changes nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from workbench.errors import ScheduleError
from workbench.jobs.process_identity import Process

State = Literal["due", "running", "succeeded", "failed", "missed"]
Outcome = Literal["succeeded", "failed", "timed out", "killed", "out of memory", "interrupted", "lost"]

LEASE = timedelta(minutes=2)
"""How long a heartbeat counts for those who cannot look whether its process is there."""

_FORMAT = 1
_SCHEMA = """
CREATE TABLE job (job TEXT PRIMARY KEY, first_seen_at TEXT NOT NULL, considered_until TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE run (
    job TEXT NOT NULL,
    scheduled_at TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('due', 'running', 'succeeded', 'failed', 'missed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    not_before TEXT,
    holders TEXT,
    heartbeat_at TEXT,
    placing TEXT,
    files TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (job, scheduled_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX unfinished ON run (job, scheduled_at) WHERE state IN ('due', 'running');
CREATE TABLE attempt (
    job TEXT NOT NULL,
    scheduled_at TEXT NOT NULL,
    number INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    seconds REAL,
    outcome TEXT,
    message TEXT NOT NULL DEFAULT '',
    details TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (job, scheduled_at, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE total (job TEXT NOT NULL, outcome TEXT NOT NULL, attempts INTEGER NOT NULL, seconds REAL NOT NULL, events INTEGER NOT NULL,
    PRIMARY KEY (job, outcome)) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job: its scheduled time, state and attempts.

    Attributes
    ----------
    attempts, failures
        How often it was begun, and how many of these attempts failed by themselves.
    not_before
        Until when a retry waits.
    holders
        The scheduler that claimed it, and the process that works on it.
    placing
        What a finished attempt was about to put in place; see `Ledger.place`.
    files
        Where its files are; empty once they were removed.
    """

    job: str
    scheduled_at: datetime
    state: State
    attempts: int = 0
    failures: int = 0
    not_before: datetime | None = None
    holders: tuple[Process, ...] = ()
    heartbeat_at: datetime | None = None
    placing: Mapping[str, Any] | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a run: when it began, how it ended, and details of its result. What is not known while it runs is None."""

    job: str
    scheduled_at: datetime
    number: int
    started_at: datetime
    ended_at: datetime | None
    seconds: float | None
    outcome: Outcome | None
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Total:
    """The sums of a job's attempts that had one outcome, since the ledger began."""

    job: str
    outcome: str
    attempts: int
    seconds: float
    events: int


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Ledger:
    """The ledger in one file, which is opened for each transaction.

    Parameters
    ----------
    clock
        By which heartbeats and attempts are stamped; not the one that says what is due, which may be set.
    holder
        Who claims runs; this process, if it is not given.
    """

    def __init__(self, path: str | Path, *, clock: Callable[[], datetime] = utc_now, holder: Process | None = None) -> None:
        self.path = Path(path)
        self._clock = clock
        self._holder = holder or Process.current()

    def considered_until(self, job: str) -> datetime | None:
        """Return up to when a job's times were considered, inclusively; None of a job that was never seen."""
        with self._transaction() as db:
            found = db.execute("SELECT considered_until FROM job WHERE job = ?", (job,)).fetchone()
        return None if found is None else _moment(found[0])

    def first_seen_at(self, job: str) -> datetime | None:
        """Return when a scheduler first considered a job; None if none has."""
        with self._transaction() as db:
            found = db.execute("SELECT first_seen_at FROM job WHERE job = ?", (job,)).fetchone()
        return None if found is None else _moment(found[0])

    def consider(self, job: str, *, after: datetime | None, upto: datetime, due: Iterable[datetime], missed: Iterable[datetime]) -> bool:
        """Record which of a job's times are due and which are missed, unless another scheduler has done so meanwhile.

        Parameters
        ----------
        after
            Up to when they had been considered when they were worked out.
        """
        with self._transaction(write=True) as db:
            found = db.execute("SELECT considered_until FROM job WHERE job = ?", (job,)).fetchone()
            if (None if found is None else _moment(found[0])) != after:
                return False
            db.execute(
                "INSERT INTO job VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET considered_until = excluded.considered_until",
                (job, _text(upto), _text(upto)),
            )
            for state, times in (("due", due), ("missed", missed)):
                db.executemany(
                    "INSERT OR IGNORE INTO run (job, scheduled_at, state) VALUES (?, ?, ?)", [(job, _text(one), state) for one in times]
                )
        return True

    def supersede(self, job: str, *, before: datetime) -> None:
        """Give up the due runs of a job before a time, since a later run replaces them."""
        with self._transaction(write=True) as db:
            db.execute(
                "UPDATE run SET state = iif(failures > 0, 'failed', 'missed') WHERE job = ? AND scheduled_at < ? AND state = 'due'",
                (job, _text(before)),
            )

    def enqueue(self, job: str, scheduled_at: datetime) -> bool:
        """Mark a run as due although its time has passed or is not one of the job's, unless it is running. Return whether it is due now."""
        with self._transaction(write=True) as db:
            db.execute(
                "INSERT INTO run (job, scheduled_at, state) VALUES (?, ?, 'due') ON CONFLICT DO UPDATE "
                "SET state = 'due', failures = 0, not_before = NULL WHERE state <> 'running'",
                (job, _text(scheduled_at)),
            )
            return db.total_changes > 0

    def unfinished(self, jobs: Sequence[str]) -> list[Run]:
        """Return the runs of jobs that are due or running, the earliest first."""
        marks = ", ".join("?" * len(jobs))
        return self._runs(f"job IN ({marks}) AND state IN ('due', 'running') ORDER BY scheduled_at, job", *jobs)

    def run(self, job: str, scheduled_at: datetime) -> Run | None:
        """Return a run; None if the ledger has none of that time."""
        found = self._runs("job = ? AND scheduled_at = ?", job, _text(scheduled_at))
        return found[0] if found else None

    def has_succeeded(self, job: str, *, since: datetime) -> bool:
        """Return whether a job has succeeded for a time or a later one."""
        return bool(self._runs("job = ? AND scheduled_at >= ? AND state = 'succeeded' LIMIT 1", job, _text(since)))

    def claim(self, run: Run) -> Attempt | None:
        """Begin an attempt at a due run; return None if another scheduler began it, or runs the job for another time."""
        started = self._clock()
        with self._transaction(write=True) as db:
            changed = db.execute(
                "UPDATE run SET state = 'running', attempts = attempts + 1, holders = ?, heartbeat_at = ?, placing = NULL "
                "WHERE job = ? AND scheduled_at = ? AND state = 'due' AND attempts = ? "
                "AND NOT EXISTS (SELECT 1 FROM run AS other WHERE other.job = run.job "
                "AND other.state IN ('due', 'running') AND other.state = 'running')",
                (_holders(self._holder), _text(started), run.job, _text(run.scheduled_at), run.attempts),
            ).rowcount
            if not changed:
                return None
            number = run.attempts + 1
            db.execute(
                "INSERT INTO attempt (job, scheduled_at, number, started_at) VALUES (?, ?, ?, ?)",
                (run.job, _text(run.scheduled_at), number, _text(started)),
            )
        return Attempt(run.job, run.scheduled_at, number, started, None, None, None, "")

    def heartbeat(self, attempt: Attempt, *, worker: Process | None = None) -> bool:
        """Record that an attempt is running, and which process works on it if that is new; return False if it is no longer held."""
        sets, values = ("heartbeat_at = ?", ()) if worker is None else ("heartbeat_at = ?, holders = ?", (_holders(self._holder, worker),))
        with self._transaction(write=True) as db:
            return self._held(db, attempt, sets, (_text(self._clock()), *values))

    def place(self, attempt: Attempt, *, moves: Mapping[Path, tuple[Path, str]], details: Mapping[str, Any]) -> bool:
        """Record which files are about to be put in place, from where, with which digests; return False if the attempt is no longer held.

        From here on the attempt counts as one that succeeds: whoever takes it over puts in place what is not there yet, instead of
        doing the work again.
        """
        placing = {"moves": [[str(target), str(staged), digest] for target, (staged, digest) in moves.items()], "details": dict(details)}
        with self._transaction(write=True) as db:
            return self._held(db, attempt, "heartbeat_at = ?, placing = ?", (_text(self._clock()), json.dumps(placing)))

    def end(
        self,
        attempt: Attempt,
        outcome: Outcome,
        *,
        state: State,
        message: str = "",
        seconds: float = 0.0,
        not_before: datetime | None = None,
        details: Mapping[str, Any] | None = None,
        files: Sequence[Path] = (),
    ) -> bool:
        """Record how an attempt ended and the new state of its run; return False, and record nothing, if the attempt is no longer held.

        An attempt that was interrupted or lost is no failure of the job.
        """
        failed = outcome not in ("succeeded", "interrupted", "lost")
        told = dict(details or {})
        with self._transaction(write=True) as db:
            sets = "state = ?, failures = failures + ?, not_before = ?, holders = NULL, heartbeat_at = NULL, placing = NULL"
            values: tuple[Any, ...] = (state, int(failed), None if not_before is None else _text(not_before))
            if outcome == "succeeded" or files:
                sets, values = f"{sets}, files = ?", (*values, json.dumps([str(file) for file in files]))
            if not self._held(db, attempt, sets, values):
                return False
            db.execute(
                "UPDATE attempt SET ended_at = ?, seconds = ?, outcome = ?, message = ?, details = ? "
                "WHERE job = ? AND scheduled_at = ? AND number = ?",
                (_text(self._clock()), seconds, outcome, message, json.dumps(told), *_key(attempt), attempt.number),
            )
            db.execute(
                "INSERT INTO total VALUES (?, ?, 1, ?, ?) ON CONFLICT DO UPDATE "
                "SET attempts = attempts + 1, seconds = seconds + excluded.seconds, events = events + excluded.events",
                (attempt.job, outcome, seconds, int(told.get("events_kept", 0))),
            )
        return True

    def lost(self, run: Run) -> bool:
        """Say whether nobody works any more on a run that stands as running."""
        gone = [one.is_gone for one in run.holders]
        if None not in gone:
            return all(gone)
        return run.heartbeat_at is None or self._clock() - run.heartbeat_at > LEASE

    def adopt(self, run: Run) -> Attempt | None:
        """Take over the attempt of a run whose holders are gone, to bring it to its end; None if another scheduler was faster."""
        with self._transaction(write=True) as db:
            old = _holders(*run.holders)
            changed = db.execute(
                "UPDATE run SET holders = ?, heartbeat_at = ? "
                "WHERE job = ? AND scheduled_at = ? AND state = 'running' AND attempts = ? AND holders = ? AND heartbeat_at IS ?",
                (
                    *(_holders(self._holder), _text(self._clock()), run.job, _text(run.scheduled_at), run.attempts, old),
                    None if run.heartbeat_at is None else _text(run.heartbeat_at),
                ),
            ).rowcount
        if not changed:
            return None
        [attempt] = self._attempts("job = ? AND scheduled_at = ? AND number = ?", run.job, _text(run.scheduled_at), run.attempts)
        return attempt

    def with_files(self, job: str) -> list[Run]:
        """Return the runs of a job that have files, the latest first."""
        return self._runs("job = ? AND files <> '[]' ORDER BY scheduled_at DESC", job)

    def last_ended(self, job: str) -> Run | None:
        """Return the run of the latest time that has succeeded, or failed for good."""
        found = self._runs("job = ? AND state IN ('succeeded', 'failed') ORDER BY scheduled_at DESC LIMIT 1", job)
        return found[0] if found else None

    def counts(self) -> dict[tuple[str, State], int]:
        """Count the runs by job and state."""
        with self._transaction() as db:
            rows = db.execute("SELECT job, state, count(*) FROM run GROUP BY job, state").fetchall()
        return {(job, state): count for job, state, count in rows}

    def forget(self, job: str, *, files: Iterable[Run], before: datetime) -> None:
        """Write down that files of runs were removed, and remove the runs before a time, save the last and the last that succeeded."""
        with self._transaction(write=True) as db:
            db.executemany(
                "UPDATE run SET files = '[]' WHERE job = ? AND scheduled_at = ?", [(one.job, _text(one.scheduled_at)) for one in files]
            )
            db.execute(
                "DELETE FROM run WHERE job = :job AND scheduled_at < :before AND state NOT IN ('due', 'running') AND files = '[]' AND "
                "scheduled_at NOT IN (SELECT max(scheduled_at) FROM run WHERE job = :job UNION ALL "
                "SELECT coalesce(max(scheduled_at), '') FROM run WHERE job = :job AND state = 'succeeded')",
                {"job": job, "before": _text(before)},
            )
            db.execute(
                "DELETE FROM attempt WHERE job = ? AND NOT EXISTS "
                "(SELECT 1 FROM run WHERE run.job = attempt.job AND run.scheduled_at = attempt.scheduled_at)",
                (job,),
            )

    def runs(self, *, jobs: Sequence[str] | None = None, most: int | None = None) -> list[Run]:
        """Return the runs, the latest first: of all jobs in the ledger, or of some."""
        among = "1" if jobs is None else f"job IN ({', '.join('?' * len(jobs))})"
        return self._runs(f"{among} ORDER BY scheduled_at DESC, job LIMIT ?", *(jobs or ()), -1 if most is None else most)

    def attempts(self, *, since: datetime | None = None, job: str | None = None, outcome: Outcome | None = None) -> list[Attempt]:
        """Return the attempts, in the order of their runs: all, or those at times from one on, of a job, or with an outcome."""
        at_least = "" if since is None else _text(since)
        return self._attempts("scheduled_at >= ? AND job = coalesce(?, job) AND outcome IS coalesce(?, outcome)", at_least, job, outcome)

    def _attempts(self, where: str, *values: Any, order: str = "scheduled_at, job, number") -> list[Attempt]:
        columns = "job, scheduled_at, number, started_at, ended_at, seconds, outcome, message, details"
        with self._transaction() as db:
            rows = db.execute(f"SELECT {columns} FROM attempt WHERE {where} ORDER BY {order}", values).fetchall()
        return [
            Attempt(job, _moment(at), number, _moment(started), _optional(ended), seconds, outcome, message, json.loads(details))
            for job, at, number, started, ended, seconds, outcome, message, details in rows
        ]

    def last_success(self, job: str) -> Attempt | None:
        """Return the attempt by which a job succeeded for the latest of its times."""
        found = self._attempts("job = ? AND outcome = 'succeeded'", job, order="scheduled_at DESC, number DESC LIMIT 1")
        return found[0] if found else None

    def totals(self) -> list[Total]:
        """Return what attempts come to, by job and outcome."""
        with self._transaction() as db:
            return [Total(*row) for row in db.execute("SELECT job, outcome, attempts, seconds, events FROM total ORDER BY job, outcome")]

    def _held(self, db: sqlite3.Connection, attempt: Attempt, sets: str, values: tuple[Any, ...]) -> bool:
        changed = db.execute(
            f"UPDATE run SET {sets} WHERE job = ? AND scheduled_at = ? AND state = 'running' AND attempts = ? AND "
            "json_extract(holders, '$[0]') = json_extract(?, '$[0]')",
            (*values, *_key(attempt), attempt.number, _holders(self._holder)),
        ).rowcount
        return changed > 0

    def _runs(self, where: str, *values: Any) -> list[Run]:
        columns = "job, scheduled_at, state, attempts, failures, not_before, holders, heartbeat_at, placing, files"
        with self._transaction() as db:
            rows = db.execute(f"SELECT {columns} FROM run WHERE {where}", values).fetchall()
        return [
            Run(
                job,
                _moment(at),
                state,
                attempts,
                failures,
                _optional(not_before),
                tuple(Process(**one) for one in json.loads(holders or "[]")),
                _optional(heartbeat),
                None if placing is None else json.loads(placing),
                tuple(map(Path, json.loads(files))),
            )
            for job, at, state, attempts, failures, not_before, holders, heartbeat, placing, files in rows
        ]

    @contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """Give a connection with a transaction, which is committed at the end, or not at all."""
        try:
            db = self._opened()
            try:
                db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                yield db
                db.execute("COMMIT")
            finally:
                db.close()  # what is not committed is undone
        except sqlite3.Error as error:
            raise ScheduleError(f"The ledger {self.path} cannot be {'written' if write else 'read'}: {error}. {_advice(error)}") from error

    def _opened(self) -> sqlite3.Connection:
        if not self.path.exists():
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ScheduleError(
                    f"The ledger {self.path} cannot be made: {error.strerror}. Name another file with --ledger or WORKBENCH_LEDGER."
                ) from error
        # A writer waits for another one; the journal is SQLite's default, which also serves on storage without shared memory.
        db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        try:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                db.execute("BEGIN EXCLUSIVE")
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    for statement in _SCHEMA.split(";"):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {_FORMAT}")
                    version = _FORMAT
                db.execute("COMMIT")
            if version != _FORMAT:
                raise ScheduleError(
                    f"The ledger {self.path} has format {version}, and this workbench writes {_FORMAT}: use the one that made it."
                )
        except BaseException:
            db.close()
            raise
        return db


def _advice(error: sqlite3.Error) -> str:
    text = str(error)
    if "full" in text:
        return "No room is left there: nothing was begun that the ledger does not know of."
    if "locked" in text:
        return "Another process holds it for long: look which one."
    if "not a database" in text or "malformed" in text:
        return "It is none, or is damaged: move it away, and a new one is begun."
    return "Look at the file and its directory, or name another with --ledger or WORKBENCH_LEDGER."


def _text(moment: datetime) -> str:
    """Write a moment so that texts sort as the moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _optional(text: str | None) -> datetime | None:
    return None if text is None else _moment(text)


def _key(attempt: Attempt) -> tuple[str, str]:
    return attempt.job, _text(attempt.scheduled_at)


def _holders(*processes: Process) -> str:
    return json.dumps([one.as_json() for one in processes], sort_keys=True)
