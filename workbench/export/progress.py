"""What an export tells its caller: how far it is, and in the end what it did."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.events import Checkpoint
from workbench.lake import ClusterResult


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
        How long it takes, or may take.
    why
        What happened, as a sentence.
    position
        Up to where the log was copied, or None where nothing was.
    number
        Which wait this is since the last commit, from 1.
    """

    seconds: float
    why: str
    position: int | None = None
    number: int = 1

    def __str__(self) -> str:
        reached = "" if self.position is None else f" The lake holds the log up to position {self.position}."
        return f"{self.why}{reached} Waiting {self.seconds:g} s before going on."


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export did.

    Attributes
    ----------
    source, lake
        The address without credentials, and the lake's path.
    events_read, events_kept
        New events that were seen in the log, and those of them that the selection let into the lake.
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
    retries: int
    waited: float
    seconds: float
    cluster: ClusterResult | None
    cluster_seconds: float

    @property
    def rate(self) -> float:
        """Events read and committed per second, clustering left out."""
        return self.events_read / self.seconds if self.seconds else 0.0
