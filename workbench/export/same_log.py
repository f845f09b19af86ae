"""Verifies that a log is the one that was copied, before anything is written.

The event at the lake's checkpoint is the proof: if its position, prepare position and id are the same, so is everything before it. If
that event was scavenged, a server accepts any position near it, and its answer proves nothing. Then other events decide: events that the
server shows before the checkpoint must be in the lake, and events that no scavenge can remove must be where the lake has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from workbench.errors import (
    AccessDenied,
    InvalidPosition,
    LakeMismatch,
    LogRewritten,
    LogUnproven,
    SourceBehind,
    StreamDeleted,
    WorkbenchError,
)
from workbench.events import Checkpoint, EventAt
from workbench.export.selecting import chosen
from workbench.export.source import Source
from workbench.kurrent import Batch, EventPosition, ReadFilter
from workbench.lake import LakeWriter

EVENTS_BEFORE: Final = 64
"""How many events before the checkpoint are compared."""

STREAMS: Final = 8
"""How many streams are compared, by the newest event that the lake has of each."""

STREAMS_ASKED: Final = 1000
"""How many streams are examined to find that many from which a scavenge cannot have removed events."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The proof that the log is the one that was copied.

    Attributes
    ----------
    scavenged
        Whether the event at the checkpoint is gone.
    streams_compared
        The number of streams whose newest event in the lake was found in its place; 0 if the checkpoint is the proof, or there is none.
    """

    scavenged: bool = False
    streams_compared: int = 0


def check_start(source: Source, writer: LakeWriter, start: EventPosition | None) -> None:
    """Refuse a log that begins at or before the start of the copied one with a different event; a scavenge only removes events.

    Raises
    ------
    LakeMismatch
        The log is that of another store.
    """
    held = writer.store
    if writer.checkpoint is None or start is None or held.first_position is None:
        return
    if start.position <= held.first_position and start.event_id != held.first_event_id:
        raise _another_store(writer, source, start)


def prove(source: Source, writer: LakeWriter, before: Checkpoint, start: EventPosition | None, *, accept_scavenged: bool) -> Proof:
    """Compare the log of a source with a lake, up to the lake's checkpoint.

    Parameters
    ----------
    start
        The first event of the source's log.
    accept_scavenged
        Whether to continue if the event at the checkpoint was scavenged and no other event is a proof. A contradiction is always an error.

    Raises
    ------
    LogRewritten, LakeMismatch
        The log is another one.
    LogUnproven
        The event at the checkpoint was scavenged, and nothing else proves anything.
    InvalidPosition
        The server refuses the position of the checkpoint, although the log is the one that was copied.
    SourceBehind
        The log ends before the checkpoint.
    """
    return _Comparison(source, writer, before, start).run(accept_scavenged=accept_scavenged)


@dataclass(frozen=True, slots=True)
class _Comparison:
    source: Source
    writer: LakeWriter
    before: Checkpoint
    start: EventPosition | None

    def run(self, *, accept_scavenged: bool) -> Proof:
        try:
            found = self.source.points.event_at(self.before.position, self.before.prepare_position)
        except InvalidPosition as error:
            return self._refused(error)
        if found is None:
            raise SourceBehind(f"The log at {self.source.address} ends before position {self.before.position}, up to which it was copied.")
        order = self.before.position, self.before.prepare_position
        if found.order == order and found.event_id == self.before.event_id:
            return Proof()
        if found.order <= order:
            raise self._rewritten(f"event {self.before.event_id} was at position {order[0]}, and the server now has {found}")
        self._check_events_before()
        compared = self._check_streams()
        if not compared and not accept_scavenged:
            raise LogUnproven(
                f"The event at position {order[0]}, up to which the lake {self.writer.path} was copied, was scavenged from the log at "
                f"{self.source.address}, and no other event proves that the log is the same: a scavenge may have removed events from every "
                "stream that can be read. If you know that it is the same store and that no backup was restored, run the export with "
                "--accept-scavenged (accept_scavenged=True); otherwise export it into a new lake."
            )
        return Proof(scavenged=True, streams_compared=compared)

    def _refused(self, error: InvalidPosition) -> Proof:
        compared = self._check_streams()
        if not compared:
            raise self._rewritten(f"no event begins at position {self.before.position}, up to which the lake was copied") from error
        raise InvalidPosition(
            f"The server at {self.source.address} refuses position {self.before.position}, up to which the lake {self.writer.path} was "
            f"copied, although the newest events in the lake of {compared} streams are in their places. The server is at fault: check its "
            f"log and its index, or export from another node. ({error})"
        ) from error

    def _check_events_before(self) -> None:
        """Compare the events that the server shows before the checkpoint with the lake."""
        try:
            events = self.source.points.events_before(
                self.before.position,
                self.before.prepare_position,
                count=EVENTS_BEFORE,
                filter=ReadFilter.of(self.writer.selection),
            )
        except InvalidPosition:
            return
        rows = chosen(events, self.writer.selection).select(list(EventAt.__dataclass_fields__)).to_pylist()
        there = [EventAt(**row) for row in rows]
        held = self.writer.recorded().holds([(*event.order, event.event_id) for event in there])
        for event in there:
            # The node that was copied may have scavenged hidden events that this node still has.
            if (*event.order, event.event_id) not in held and self._is_shown(event):
                raise self._rewritten(f"{event} is in the log, before the position up to which it was copied, but not in the lake")

    def _is_shown(self, event: EventAt) -> bool:
        try:
            found = self.source.points.event_in_stream(event.stream, event.revision)
        except (StreamDeleted, AccessDenied):
            return False
        return found is not None and (found.revision, found.event_id) == (event.revision, event.event_id)

    def _check_streams(self) -> int:
        """Compare the newest event in the lake of some streams; return how many streams could be compared."""
        compared = 0
        for held in self.writer.recorded().newest_of_streams(most=STREAMS_ASKED):
            compared += self._check_stream(held)
            if compared == STREAMS:
                break
        return compared

    def _check_stream(self, held: EventAt) -> bool:
        """Check that no other event is in its place; return whether it is there, in a stream from which no scavenge removes events."""
        points = self.source.points
        try:
            metadata = points.stream_metadata(held.stream)
            found = points.event_in_stream(held.stream, held.revision)
        except (StreamDeleted, AccessDenied):
            return False
        may_hide = metadata is not None and metadata.may_hide
        if found is None or found.revision != held.revision:
            if may_hide or (metadata is not None and metadata.revision > 0):
                return False  # this metadata, or earlier metadata that the server no longer shows, may have let a scavenge remove it
            instead = "the stream does not exist" if found is None else f"the stream continues with revision {found.revision}"
            raise self._rewritten(f"the lake has {held}, and {instead}")
        # A read of a stream does not tell the commit position of an explicit transaction.
        known = held.order if held.position == held.prepare_position else (found.position, held.prepare_position)
        if (found.event_id, found.order) != (held.event_id, known):
            raise self._rewritten(f"the lake has {held}, and the server has {found}")
        return not may_hide

    def _rewritten(self, what: str) -> WorkbenchError:
        if self.start is not None and self.writer.store.first_event_id not in (None, self.start.event_id):
            return _another_store(self.writer, self.source, self.start)
        return LogRewritten(
            f"The log at {self.source.address} is not the log from which the lake {self.writer.path} was copied: {what}. A backup was "
            "restored, another store answers there, or the node lost events that it had not replicated. Nothing was changed; export "
            "the log into a new lake."
        )


def behind(batches: Iterator[Batch], before: Checkpoint) -> Iterator[Batch]:
    """Skip the checkpoint's own event, the first of a read unless it was scavenged."""
    first = True
    for batch in batches:
        events = batch.events
        if first and (events["position"][0].as_py(), events["prepare_position"][0].as_py()) == (before.position, before.prepare_position):
            events = events.slice(1)
        first = False
        if events.num_rows:
            yield replace(batch, events=events)


def _another_store(writer: LakeWriter, source: Source, start: EventPosition) -> LakeMismatch:
    held = writer.store
    return LakeMismatch(
        f"The lake {writer.path} is a copy of another store: it was copied from {held.address}, whose log began with event "
        f"{held.first_event_id}, but the log at {source.address} begins with {start.event_id}. Export it into a new lake."
    )
