"""Copies new events of a log into a lake: reads on one thread, writes and commits on another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from workbench.errors import InvalidPosition, ReadInterrupted, SourceBehind, SourceError, UsageError
from workbench.events import EVENT_SCHEMA, Checkpoint, Selection, Store, format_time
from workbench.export.complete_until import UNTIL_SECONDS, HighWaterMark, high_water_mark, wait_for
from workbench.export.goal import Goal
from workbench.export.progress import ExportSummary, Progress, Wait
from workbench.export.retrying import Stopwatch, Tries, wait_until_ready
from workbench.export.same_log import Proof, behind, check_start, prove
from workbench.export.selecting import check_selection, chosen
from workbench.export.source import Source
from workbench.kurrent import Batch, EventPosition, connect
from workbench.lake import LakeWriter
from workbench.lake.files.location import Location
from workbench.materialised.key_index import keep_up

COMMIT_EVENTS, COMMIT_BYTES = 131_072, 64 * 1024 * 1024
"""The approximate size of a commit; it limits the memory, and the work that a crash can lose."""

FOLLOWER_SECONDS = 30.0
"""How long to wait for a log that ends before the checkpoint: a follower may lag behind the leader that was copied."""

EMPTY_SECONDS = 5.0
"""How long to poll an empty log: for a second after its first start, a server shows none of its events."""


def export_log(
    source: Source | str,
    lake: str | Path,
    *,
    selection: Selection | None = None,
    cluster: bool = True,
    accept_scavenged: bool = False,
    until: datetime | None = None,
    progress: Callable[[Progress], None] | None = None,
    waiting: Callable[[Wait], None] | None = None,
    storage_options: dict[str, str] | None = None,
    follower_seconds: float = FOLLOWER_SECONDS,
    clock: Stopwatch | None = None,
) -> ExportSummary:
    """Copy what is new in the log of an event store into a lake, exactly once. The lake is made if it does not exist.

    The last event of the log is looked up first, and is where the export ends: a busy log is not chased. The next export continues there.
    A batch and the checkpoint behind it are one commit, so that an export may be killed at any moment.

    If the connection breaks or the server restarts, the export commits what came and continues by itself: it waits 1, 2, 5, 15 and 40
    seconds, connects again, and checks that the log is still the same. Each commit starts the waits again.

    Indexes of keys that `materialise` made are brought up to date when 100,000 or more events are new.

    Parameters
    ----------
    source
        The store's address, such as ``"esdb://localhost:2113?Tls=false"``; or a connection from :func:`workbench.kurrent.connect`.
    lake
        A directory, or the URL of one in an object store.
    selection
        Which events to keep. A new lake leaves out the streams that the server writes for itself, unless ``system`` is set. A lake
        remembers its selection, which is the default, and refuses another one. Metadata of the chosen streams and tombstones are always
        kept, as they decide which events are visible.
    cluster
        Whether to merge new files into files sorted by stream when there are enough of them.
    accept_scavenged
        Continue even if the event at which the last export ended was scavenged and no other event proves that the log is the one that was
        copied. A log that is proved to be another one is refused all the same.
    until
        A time up to which the lake should be complete. The export waits for it, at most 12 seconds, before it looks up the last event. The
        checkpoint in the result says whether that was enough.
    progress
        Called after each batch, in this thread.
    waiting
        Called before each wait with its reason, in this thread.
    storage_options
        Options of deltalake for object stores.
    follower_seconds
        How long to wait for a log that ends before the checkpoint, as that of a follower may.
    clock
        Tells the time and waits; for tests.

    Returns
    -------
    ExportSummary
        How many events were read and kept, the checkpoint, and what else happened.

    Raises
    ------
    SourceError
        The server keeps failing; or the log is behind the lake (``SourceBehind``), is another one than was copied (``LogRewritten``), or
        may be (``LogUnproven``).
    LakeError
        The lake is of another store or selection (``LakeMismatch``), is being written by another export (``LakeBusy``), is not a lake, or
        its disk is full. It stays as it was at its last commit.
    UsageError
        The address or the selection is not valid, or ``until`` is in the future.

    Examples
    --------
    >>> from uuid import uuid4
    >>> from workbench.embedded import EmbeddedStore, NewEvent
    >>> with EmbeddedStore() as store:
    ...     _ = store.append("user-1", [NewEvent(uuid4(), "user.created", b'{"name": "Ada"}')])
    ...     found = wb.export_log(store.uri, "data/copy")
    >>> found.events_kept, wb.open("data/copy").timeline.count()
    (1, 1)
    """
    clock = clock or Stopwatch()
    waiting = waiting or _untold
    if isinstance(source, str):
        address = source
        with wait_until_ready(lambda: connect(address), clock=clock, told=waiting) as connection:
            return export_log(
                connection,
                lake,
                selection=selection,
                cluster=cluster,
                accept_scavenged=accept_scavenged,
                until=until,
                progress=progress,
                waiting=waiting,
                storage_options=storage_options,
                follower_seconds=follower_seconds,
                clock=clock,
            )
    selection = selection or Selection()
    check_selection(selection)
    if until is not None and until > clock.now() + timedelta(seconds=UNTIL_SECONDS):
        raise UsageError(f"until={format_time(until)} is in the future: no lake can be complete until then yet.")
    began = time.perf_counter()
    tries = Tries(clock, waiting)
    start = tries.run(lambda: _start(source, clock), again=source.reconnect)
    store = Store(source.address, start.position if start else None, start.event_id if start else None)
    with LakeWriter.open(lake, store=store, selection=selection, storage_options=storage_options) as writer:
        run = _Export(
            source=source,
            writer=writer,
            clock=clock,
            waiting=waiting,
            copy=_Copy(writer, writer.selection, progress),
            accept_scavenged=accept_scavenged,
            until=until,
            follower_seconds=follower_seconds,
        )
        tries.run(run.go_on, again=source.reconnect, position=run.position)
        seconds = time.perf_counter() - began
        clustered = writer.cluster() if cluster else None
        if clustered is not None and clustered.epochs:
            writer.vacuum()  # deletes files that were replaced a day ago or earlier, so that current readers keep theirs
        summary = ExportSummary(
            source=source.address,
            lake=str(lake),
            events_read=run.copy.read,
            events_kept=run.copy.kept,
            commits=run.copy.commits,
            checkpoint=writer.checkpoint,
            resumed_after=run.copy.before,
            scavenged=run.proof.scavenged,
            streams_compared=run.proof.streams_compared,
            late_events=run.copy.late,
            undated_events=run.copy.undated,
            is_empty=writer.is_empty,
            retries=tries.retries,
            waited=tries.waited,
            seconds=seconds,
            cluster=clustered,
            cluster_seconds=time.perf_counter() - began - seconds,
        )
    keep_up(Location.of(lake, storage_options=storage_options))
    return summary


def _untold(_: Wait) -> None:
    """Tell nobody of a wait."""


def _start(source: Source, clock: Stopwatch) -> EventPosition | None:
    """Return the first event of the log."""
    start = source.start()
    deadline = clock.seconds() + EMPTY_SECONDS
    while start is None and clock.seconds() < deadline:
        clock.sleep(0.25)
        start = source.start()
    return start


@dataclass(slots=True)
class _Export:
    """One export into an open lake; each call of :meth:`go_on` continues from the lake's checkpoint."""

    source: Source
    writer: LakeWriter
    clock: Stopwatch
    waiting: Callable[[Wait], None]
    copy: _Copy
    accept_scavenged: bool
    until: datetime | None
    follower_seconds: float
    mark: HighWaterMark | None = None
    goal: Goal | None = None
    proof: Proof = field(default_factory=Proof)

    def position(self) -> int | None:
        """Return the position up to which the log has been copied."""
        return None if self.writer.checkpoint is None else self.writer.checkpoint.position

    def go_on(self) -> None:
        """Verify that the log is the same, and copy it from the checkpoint to its end.

        The first call determines the end; later calls keep it.
        """
        before, start = self.writer.checkpoint, self.source.start()
        check_start(self.source, self.writer, start)  # do not wait for another store, which may be shorter
        mark = self._ask(before)
        if before is not None:
            proof = prove(self.source, self.writer, before, start, accept_scavenged=self.accept_scavenged)
            if proof.scavenged:
                self.proof = proof
        if self.mark is None:
            self.mark = mark
        if self.mark.end is None:
            return
        if not _reaches(mark, self.mark.end):
            # Another node has answered since the connection broke. A filtered read would not show that it lags.
            shown = "nothing of the log" if mark.end is None else f"the log up to position {mark.end.position}"
            raise ReadInterrupted(
                f"{self.source.address}: the node that answers now shows {shown}, but the log ended at position {self.mark.end.position} "
                "when the export began. The node lags, or has lost events that it had not replicated."
            )
        if self.goal is None:
            self.goal = Goal.of(self.source, self.mark.end, self.writer.selection)
        batches = self.goal.batches(self.source, before)
        self.copy.run(
            batches if before is None else behind(batches, before),
            self.mark,
            self.goal,
            check=self.source.check_node,
            stands=self._end_stands,
        )

    def _end_stands(self) -> bool:
        """Whether the event at the log's end is still there, which a filtered read does not show; it may have been scavenged."""
        assert self.mark is not None
        assert self.mark.end is not None
        assert self.goal is not None
        end = self.mark.end
        if self.goal.end == end:
            return True
        try:
            found = self.source.points.event_at(end.position, end.prepare_position)
        except InvalidPosition as error:
            raise _changed(end, None) from error
        if found is None or found.order > end.order:
            return False
        if found.event_id != end.event_id:
            raise _changed(end, found.event_id)
        return True

    def _ask(self, before: Checkpoint | None) -> HighWaterMark:
        """Ask for the end of the log until it reaches the checkpoint and, if requested, a time."""
        given_times = self.source.accepts_timestamps

        def ask() -> HighWaterMark:
            return high_water_mark(self.source, clock=self.clock, given_times=given_times)

        if self.mark is None and self.until is not None:
            previous = None if before is None else before.complete_until
            mark = wait_for(self.until, ask, previous=previous, clock=self.clock, told=self.waiting)
        else:
            mark = ask()
        if before is None or _reaches(mark, before):
            return mark
        why = f"The log at {self.source.address} ends before the lake's checkpoint."
        self.waiting(Wait(self.follower_seconds, why, before.position, is_poll=True))
        deadline = self.clock.seconds() + self.follower_seconds
        while self.clock.seconds() < deadline:
            self.clock.sleep(min(1.0, max(0.05, deadline - self.clock.seconds())))
            mark = ask()
            if _reaches(mark, before):
                return mark
        reached = "is empty" if mark.end is None else f"ends at position {mark.end.position}"
        raise SourceBehind(
            f"The log at {self.source.address} {reached}, but the lake {self.writer.path} was copied up to position {before.position}. "
            "If this node lags behind the one that was copied, wait, or name the leader. If the store was restored from a backup or "
            "replaced, export it into a new lake."
        )


def _reaches(mark: HighWaterMark, place: Checkpoint | EventPosition) -> bool:
    return mark.end is not None and mark.end.order >= place.order


class _Copy:
    """Collects batches and commits them together; another thread sorts and writes, at most one commit behind."""

    def __init__(self, writer: LakeWriter, selection: Selection, progress: Callable[[Progress], None] | None) -> None:
        self.before = writer.checkpoint
        self.read = self.kept = self.late = self.undated = self.commits = 0
        self._writer, self._selection, self._progress = writer, selection, progress
        self._began = time.perf_counter()

    def run(
        self,
        batches: Iterator[Batch],
        mark: HighWaterMark,
        goal: Goal,
        *,
        check: Callable[[], object],
        stands: Callable[[], bool],
    ) -> None:
        """Commit the events of a read, with checkpoints up to a high-water mark; if the read breaks, commit what it gave.

        Parameters
        ----------
        check
            Called before each commit; if it fails, the events since the last commit are discarded.
        stands
            Called when the read has ended; returns whether the event at the high-water mark is still there.
        """
        assert mark.end is not None
        end, held = mark.end, _Held()
        with ThreadPoolExecutor(1, thread_name_prefix="lake") as thread:
            commits = _Commits(thread, self._writer)
            try:
                for batch in batches:
                    held.add(batch, chosen(batch.events, self._selection), self.before)
                    if not goal.is_reached(batch.last.order) and (held.kept >= COMMIT_EVENTS or held.size >= COMMIT_BYTES):
                        check()
                        self._commit(commits, held, mark)
                        held = _Held()
                    self._tell(held, batch.last, end)
                check()
                is_there = stands()
            except SourceError:
                commits.wait()
                if held.last is not None:
                    with suppress(SourceError):  # the cluster may not have committed these events; they are read again
                        check()
                        self._commit(commits, held, mark)
                        commits.wait()
                raise
            self._finish(commits, held, mark, goal if is_there else None)
            commits.wait()

    def _commit(self, commits: _Commits, held: _Held, mark: HighWaterMark) -> None:
        """Commit the held events before the end of the read."""
        assert held.last is not None
        # Later events may have the same time as the last one; only the final commit can use the time of the high-water mark.
        self._count(held)
        commits.add(held.events, held.last, mark.up_to(held.last.recorded_at, commits.complete_until))

    def _finish(self, commits: _Commits, held: _Held, mark: HighWaterMark, goal: Goal | None) -> None:
        """Commit the held events after the read; if it reached its goal, the checkpoint is the high-water mark.

        Without a goal, the event at the mark is gone and cannot be the checkpoint.
        """
        assert mark.end is not None
        before, last = commits.checkpoint, held.last
        copied = None if before is None else before.order
        if goal is not None and goal.is_reached(copied if last is None else last.order):
            if last is not None and goal.end is not None and last != goal.end:
                raise _changed(goal.end, last.event_id)
            until = mark.complete_until(commits.complete_until)
            if last is not None or copied != mark.end.order or until != commits.complete_until:
                commits.wait()
                self._writer.remember_leader(mark.leader if mark.date is None else None)
                self._count(held)
                commits.add(held.events, mark.end, until)
        elif last is not None:  # it was scavenged meanwhile
            self._commit(commits, held, mark)

    def _count(self, held: _Held) -> None:
        self.read += held.read
        self.kept += held.kept
        self.late += held.late
        self.undated += held.undated
        self.commits += 1

    def _tell(self, held: _Held, last: EventPosition, end: EventPosition) -> None:
        if self._progress is not None:
            origin = self.before.position if self.before else 0
            done = (last.position - origin) / max(1, end.position - origin)
            self._progress(Progress(self.read + held.read, time.perf_counter() - self._began, done))


def _changed(end: EventPosition, found: str | None) -> SourceError:
    stands = "no event stands" if found is None else f"event {found} stands"
    return SourceError(
        f"The log changed while it was read: at position {end.position} {stands}, but {end.event_id} was there when the export asked for "
        "the end of the log. The node lost events that it had not replicated: run the export again."
    )


@dataclass(slots=True)
class _Held:
    """The events that were read since the last commit."""

    events: list[pa.RecordBatch] = field(default_factory=list)
    last: EventPosition | None = None
    read: int = 0
    kept: int = 0
    late: int = 0
    undated: int = 0
    size: int = 0

    def add(self, batch: Batch, kept: pa.RecordBatch, before: Checkpoint | None) -> None:
        self.events.append(kept)
        self.last = batch.last
        self.read += batch.events.num_rows
        self.kept += kept.num_rows
        self.size += kept.nbytes
        self.undated += kept["recorded_at"].null_count
        if before is not None:
            self.late += pc.sum(pc.less_equal(kept["recorded_at"], pa.scalar(before.complete_until))).as_py() or 0


class _Commits:
    """The commits of one read, one after another on their own thread."""

    def __init__(self, thread: ThreadPoolExecutor, writer: LakeWriter) -> None:
        self.checkpoint = writer.checkpoint
        self._thread, self._writer = thread, writer
        self._pending: Future[None] | None = None

    @property
    def complete_until(self) -> datetime | None:
        return None if self.checkpoint is None else self.checkpoint.complete_until

    def add(self, events: list[pa.RecordBatch], last: EventPosition, until: datetime) -> None:
        """Queue a commit after the previous one."""
        self.wait()
        self.checkpoint = Checkpoint(last.position, last.prepare_position, last.event_id, until)
        self._pending = self._thread.submit(self._writer.append, pa.Table.from_batches(events, EVENT_SCHEMA), self.checkpoint)

    def wait(self) -> None:
        """Wait for the current commit, and raise its error."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
