"""What an export tells its caller: how far it is, and in the end what it did."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.events import Checkpoint
from workbench.lake import ClusterResult
from workbench.lake.info import undated_note


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an export is; handed to the caller after each batch that was read."""

    events: int
    seconds: float
    done: float

    @property
    def rate(self) -> float:
        """Events read per second, so far."""
        return self.events / self.seconds if self.seconds else 0.0

    @property
    def remaining(self) -> float | None:
        """Seconds that are left if the log goes on as it did, or None while nothing can be said."""
        return self.seconds * (1 - self.done) / self.done if self.done > 0 else None


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause of an export, handed to the caller before it begins.

    Attributes
    ----------
    seconds
        How long it takes, at the most.
    why
        What happened, as a sentence.
    position
        Up to where the log was copied, or None where nothing was.
    number
        Which wait this is since the last commit, from 1.
    is_poll
        Whether the server is asked again all the while, so that the wait may be shorter.
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
        New events that the server sent, and those of them that the selection let into the lake. The server leaves out streams of which
        nothing is kept.
    checkpoint
        The last event seen, or None of a log without events. The lake is complete until ``checkpoint.complete_until``.
    resumed_after
        The checkpoint that this export went on from, or None where it began at the start of the log.
    scavenged
        Whether the event at that checkpoint was gone, removed by a scavenge, so that other events had to prove that the log is the same.
    streams_compared
        How many streams proved that, by the newest event that the lake has of each. Where it is 0, nothing did, and ``accept_scavenged``
        let the export go on.
    late_events
        New events whose time lies at or before the instant up to which the lake was complete before. Explicit transactions carry the
        time at which they were begun; with them, answers as of such a time change.
    undated_events
        Of the kept events, those whose time stamp is no instant, as it lies outside the years 1 to 9999.
    is_empty
        Whether the lake holds no event at all.
    retries, waited
        How often the connection broke and the export went on by itself, and how many seconds it waited for that.
    seconds
        The time for reading and committing, waits included.
    cluster, cluster_seconds
        What clustering did thereafter, or None without it; and its own time.
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
        """What is worth telling beside the figures, a sentence each."""
        found = []
        if self.retries:
            times = "once" if self.retries == 1 else f"{self.retries} times"
            found.append(f"The connection broke {times}; the export went on by itself after waiting {self.waited:g} s in all.")
        if self.scavenged and self.streams_compared:
            streams = "1 stream proves" if self.streams_compared == 1 else f"{self.streams_compared} streams prove"
            found.append(f"The event at which the last export ended was scavenged; the newest of {streams} that the log is the same.")
        elif self.scavenged:
            found.append(
                "The event at which the last export ended was scavenged; nothing proves that the log is the same, as was accepted."
            )
        if self.late_events:
            found.append(
                f"{self.late_events:,} new events have times up to which the lake was complete already, as those of explicit transactions "
                "may: from now on, answers as of such times count them."
            )
        if self.undated_events:
            found.append(f"{undated_note(self.undated_events)}.")
        if self.is_empty and self.checkpoint is not None:
            found.append("The lake holds no event: none in the log fits its selection, which `workbench info` names.")
        return tuple(found)
