"""What an export reports to its caller: its progress, and a summary at the end."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.events import Checkpoint
from workbench.lake import ClusterResult
from workbench.lake.info import undated_note


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an export; passed to the caller after each batch."""

    events: int
    seconds: float
    done: float

    @property
    def rate(self) -> float:
        """Events read per second, so far."""
        return self.events / self.seconds if self.seconds else 0.0

    @property
    def remaining(self) -> float | None:
        """The estimated seconds left at the present rate, or None if there is no estimate yet."""
        return self.seconds * (1 - self.done) / self.done if self.done > 0 else None


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause of an export; passed to the caller before it begins.

    Attributes
    ----------
    seconds
        The longest that it takes.
    why
        What happened, as a sentence.
    position
        The position up to which the log was copied, or None.
    number
        The number of this wait since the last commit, from 1.
    is_poll
        Whether the server is polled during the wait, which may then end earlier.
    """

    seconds: float
    why: str
    position: int | None = None
    number: int = 1
    is_poll: bool = False

    def __str__(self) -> str:
        reached = "" if self.position is None else f" The lake holds the log up to position {self.position}."
        return f"{self.why}{reached} Waiting{' up to' if self.is_poll else ''} {self.seconds:g} s before going on."


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export did.

    Attributes
    ----------
    source, lake
        The address without credentials, and the lake's path.
    events_read, events_kept
        The number of new events that the server sent, and of those that the selection kept. The server filters out streams that the
        selection excludes.
    checkpoint
        The last event seen, or None for a log without events. The lake is complete until ``checkpoint.complete_until``.
    resumed_after
        The checkpoint from which this export continued, or None if it began at the start of the log.
    scavenged
        Whether a scavenge had removed the event at that checkpoint, so that other events had to prove that the log is the same.
    streams_compared
        The number of streams whose newest event in the lake proved that. If it is 0, nothing did, and ``accept_scavenged`` let the
        export continue.
    late_events
        The number of new events with a time at or before the instant until which the lake was complete before. Explicit transactions
        carry the time at which they began; such events change earlier answers as of that time.
    undated_events
        The number of kept events whose time stamp is not a valid instant, because it is outside the years 1 to 9999.
    is_empty
        Whether the lake holds no event at all.
    retries, waited
        How often the connection broke and the export continued, and the total seconds that it waited.
    seconds
        The time for reading and committing, waits included.
    cluster, cluster_seconds
        The result of clustering after the export, or None without it; and its duration.
    """

    source: str
    lake: str
    events_read: int
    events_kept: int
    commits: int
    checkpoint: Checkpoint | None
    resumed_after: Checkpoint | None
    scavenged: bool
    streams_compared: int
    late_events: int
    undated_events: int
    is_empty: bool
    retries: int
    waited: float
    seconds: float
    cluster: ClusterResult | None
    cluster_seconds: float

    @property
    def rate(self) -> float:
        """Events read and committed per second, clustering left out."""
        return self.events_read / self.seconds if self.seconds else 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks beside the figures, one sentence each."""
        found = []
        if self.retries:
            times = "once" if self.retries == 1 else f"{self.retries} times"
            found.append(f"The connection broke {times}; the export continued after waiting {self.waited:g} s in total.")
        if self.scavenged and self.streams_compared:
            streams = "1 stream proves" if self.streams_compared == 1 else f"{self.streams_compared} streams prove"
            found.append(f"The event at which the last export ended was scavenged; the newest event of {streams} that the log is the same.")
        elif self.scavenged:
            found.append(
                "The event at which the last export ended was scavenged; nothing proves that the log is the same, which you accepted."
            )
        if self.late_events:
            found.append(
                f"{self.late_events:,} new events have times until which the lake was already complete, as events of explicit transactions "
                "may: from now on, answers as of such times include them."
            )
        if self.undated_events:
            found.append(f"{undated_note(self.undated_events)}.")
        if self.is_empty and self.checkpoint is not None:
            found.append("The lake holds no event: none in the log fits its selection, which `workbench info` names.")
        return tuple(found)
