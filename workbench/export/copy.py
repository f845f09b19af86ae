"""Copy what is new in a log: read on one thread, write and commit on another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from workbench.errors import InvalidPosition, LakeMismatch, LogRewritten, SourceBehind, WorkbenchError
from workbench.events import EVENT_SCHEMA, Checkpoint, Selection, Store
from workbench.export.progress import ExportSummary, Progress
from workbench.export.selecting import check_selection, chosen
from workbench.kurrent import Batch, LogEnd, connect
from workbench.lake import LakeWriter

COMMIT_EVENTS, COMMIT_BYTES = 131_072, 64 * 1024 * 1024
"""A commit holds at most about this much; it bounds the memory, and what a crash can lose of the work done."""

_TICK = timedelta(microseconds=1)

FOLLOWER_SECONDS = 30.0
"""How long a log that ends before the checkpoint is waited for: a follower may lag behind the leader that was copied."""


class Source(Protocol):
    """What an export needs of a connection; ``workbench.connect`` gives one.

    ``end`` and ``start`` give the log's last and first event, ``read_batches`` its events between two of them, inclusively.
    """

    address: str

    def start(self) -> LogEnd | None: ...
    def end(self) -> LogEnd | None: ...
    def read_batches(self, *, after: Checkpoint | None = None, upto: LogEnd) -> Iterator[Batch]: ...


def export_log(
    source: Source | str,
    lake: str | Path,
    *,
    selection: Selection | None = None,
    cluster: bool = True,
    progress: Callable[[Progress], None] | None = None,
    storage_options: dict[str, str] | None = None,
    follower_seconds: float = FOLLOWER_SECONDS,
) -> ExportSummary:
    """Copy what is new in the log of ``source`` into ``lake``, which is made where there is none.

    The log's last event is taken first and is where this export ends: a busy log is not chased. Run again, it copies what came
    since. It may be killed at any moment: what was committed is whole, and the next export goes on behind it.

    Parameters
    ----------
    source
        An open connection, from :func:`workbench.connect`; or an address, which is opened and closed here.
    lake
        A directory, or the URL of an object store (with ``storage_options``).
    selection
        Which events to keep. A new lake leaves out the streams that the server writes for itself, unless ``system`` is set. A lake
        remembers its selection and refuses another one; without a selection its own holds. What governs whether the kept events are
        visible is kept with them: metadata of the chosen streams, and tombstones.
    cluster
        Whether to merge what was written into files sorted by stream, where enough has come together.
    progress
        Called from this thread after each batch.
    follower_seconds
        How long to wait for a log that ends before the checkpoint.

    Raises
    ------
    SourceError
        The server failed, or the log is behind (``SourceBehind``) or is another one than was copied (``LogRewritten``).
    LakeError
        The lake is of another store or selection (``LakeMismatch``), is written by another export (``LakeBusy``), is no lake, or its disk
        is full. It is as it was at its last commit.
    """
    if isinstance(source, str):
        with connect(source) as connection:
            return export_log(
                connection,
                lake,
                selection=selection,
                cluster=cluster,
                progress=progress,
                storage_options=storage_options,
                follower_seconds=follower_seconds,
            )
    selection = selection or Selection()
    check_selection(selection)
    asked = datetime.now(UTC)
    end, start = source.end(), source.start()
    store = Store(source.address, start.position if start else None, start.event_id if start else None)
    with LakeWriter.open(lake, store=store, selection=selection, storage_options=storage_options) as writer:
        before = writer.checkpoint
        if before is not None:
            if start is not None and _surely_another(writer.store, start):
                raise _another_store(writer, source, start)
            asked, end = _caught_up(source, before, asked, end, lake=str(lake), seconds=follower_seconds)
        began = time.perf_counter()
        copy = _Copy(writer, writer.selection, before)
        if end is not None:
            batches = source.read_batches(after=before, upto=end)
            if before is not None:
                batches = _behind(batches, before, source=source, start=start, writer=writer, found=copy)
            # Whose clock stamps the events decides until when they are all there.
            copy.run(batches, end, min(asked, end.answered_at or asked), progress)
        seconds = time.perf_counter() - began
        clustered = writer.cluster() if cluster else None
        if clustered is not None and clustered.epochs:
            writer.vacuum()  # what was replaced a day ago; readers of today's files are not disturbed
        return ExportSummary(
            source=source.address,
            lake=str(lake),
            events_read=copy.read,
            events_kept=copy.kept,
            commits=copy.commits,
            checkpoint=writer.checkpoint,
            resumed_after=before,
            scavenged=copy.scavenged,
            seconds=seconds,
            cluster=clustered,
            cluster_seconds=time.perf_counter() - began - seconds,
        )


def _caught_up(
    source: Source, before: Checkpoint, asked: datetime, end: LogEnd | None, *, lake: str, seconds: float
) -> tuple[datetime, LogEnd]:
    """Wait until the log reaches the checkpoint; return the end of the log and the instant before it was asked for."""
    deadline = time.monotonic() + seconds
    while end is None or end.order < (before.position, before.prepare_position):
        if time.monotonic() >= deadline:
            reached = "is empty" if end is None else f"ends at position {end.position}"
            raise SourceBehind(
                f"The log at {source.address} {reached}, and the lake {lake} was copied up to position {before.position}. Either this node "
                "lags behind the one that was copied: then wait, or name the leader; or the store was restored from a backup or "
                "replaced: then export it into a new lake."
            )
        time.sleep(min(1.0, max(0.05, deadline - time.monotonic())))
        asked, end = datetime.now(UTC), source.end()
    return asked, end


def _behind(
    batches: Iterator[Batch], before: Checkpoint, *, source: Source, start: LogEnd | None, writer: LakeWriter, found: _Copy
) -> Iterator[Batch]:
    """Drop the checkpoint's own event from the head of a read, once it has proved that the log is the one that was copied."""

    def rewritten(what: str) -> WorkbenchError:
        if start is not None and writer.store.first_event_id not in (None, start.event_id):
            return _another_store(writer, source, start)
        return LogRewritten(
            f"The log at {source.address} was rewritten: at position {before.position}, up to which the lake {writer.path} was "
            f"copied, {what}. A backup was restored, or another cluster answers there. Nothing was changed; export it into a new lake."
        )

    order = before.position, before.prepare_position
    proved = False
    try:
        for batch in batches:
            events = batch.events
            if not proved:
                first = events["position"][0].as_py(), events["prepare_position"][0].as_py()
                if first == order:
                    if events["event_id"][0].as_py() != before.event_id:
                        raise rewritten(f"event {before.event_id} stood and {events['event_id'][0].as_py()} stands now")
                    events = events.slice(1)
                elif first < order:
                    raise rewritten(f"the server goes on at position {first[0]}")
                else:
                    found.scavenged = True
                proved = True
            if events.num_rows:
                yield replace(batch, events=events)
    except InvalidPosition as error:
        raise rewritten("no event begins") from error


def _surely_another(held: Store, start: LogEnd) -> bool:
    """Say whether a log begins where the copied one did, or before, with another event. A scavenge only takes events away."""
    return held.first_position is not None and start.position <= held.first_position and start.event_id != held.first_event_id


def _another_store(writer: LakeWriter, source: Source, start: LogEnd) -> LakeMismatch:
    held = writer.store
    return LakeMismatch(
        f"The lake {writer.path} is the copy of another store: it was copied from {held.address}, whose log began with event "
        f"{held.first_event_id}, and the log at {source.address} begins with {start.event_id}. Export it into a lake of its own."
    )


class _Copy:
    """One run: reads on this thread, sorts and writes on another, a commit ahead at the most."""

    def __init__(self, writer: LakeWriter, selection: Selection, before: Checkpoint | None) -> None:
        self.read = self.kept = self.commits = 0
        self.scavenged = False
        self._writer, self._selection, self._before = writer, selection, before

    def run(self, batches: Iterator[Batch], end: LogEnd, asked: datetime, progress: Callable[[Progress], None] | None) -> None:
        began = time.perf_counter()
        origin = self._before.position if self._before else 0
        held: list[pa.RecordBatch] = []
        pending: Future[None] | None = None
        rows = size = 0
        complete = self._before.complete_until if self._before else datetime.fromtimestamp(0, UTC)
        with ThreadPoolExecutor(1, thread_name_prefix="lake") as thread:

            def commit(last: LogEnd, until: datetime) -> Future[None]:
                if pending is not None:
                    pending.result()
                table = pa.Table.from_batches(held, EVENT_SCHEMA)
                self.commits += 1
                return thread.submit(self._writer.append, table, Checkpoint(last.position, last.prepare_position, last.event_id, until))

            for batch in batches:
                kept = chosen(batch.events, self._selection)
                self.read += batch.events.num_rows
                self.kept += kept.num_rows
                held.append(kept)
                rows, size = rows + kept.num_rows, size + kept.nbytes
                # Within a run the lake is complete as far as it was copied, and more events may carry the last one's time; only the
                # last commit knows of the time asked.
                complete = max(complete, batch.events["recorded_at"][-1].as_py() - _TICK)
                if batch.last.order < end.order and (rows >= COMMIT_EVENTS or size >= COMMIT_BYTES):
                    pending = commit(batch.last, complete)
                    held, rows, size = [], 0, 0
                if progress is not None:
                    done = (batch.last.position - origin) / max(1, end.position - origin)
                    progress(Progress(self.read, time.perf_counter() - began, done))
            pending = commit(end, max(asked, complete))
            pending.result()
