"""The journal of the services: events with their causes, appended to streams at the revision that the service has seen."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from workbench.kurrent.bulk_writer import Expected, StreamState
from workbench.sample.calendar import SECOND, SampleClock, SchemaVersions, to_text

TOMBSTONE_REVISION = 2**63 - 1
SOFT_DELETED = 2**63 - 1
"""The ``$tb`` of a stream that is deleted, and may be written again."""


@dataclass(frozen=True, slots=True)
class Cause:
    """The cause of an action: its conversation, the message that led to it, and the acting user."""

    correlation_id: str
    causation_id: str
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class JournalEvent:
    """An event as it is recorded.

    Attributes
    ----------
    id : str
        Empty where the store writes the event itself, and alone knows its id.
    body : dict or None
        The payload as the service meant it, for read models; None where the bytes are no JSON.
    ticks : int
        The server's stamp: 100 ns since the Unix epoch.
    """

    id: str
    stream: str
    revision: int
    type: str
    version: int
    body: Any
    data: bytes
    metadata: bytes
    is_json: bool
    ticks: int
    cause: Cause | None


@dataclass(frozen=True, slots=True)
class Append:
    """One atomic append.

    Attributes
    ----------
    refused : bool
        The stream has moved on since ``expected``: the store must refuse it.
    consequence : JournalEvent or None
        The event that the store itself writes right after it.
    """

    stream: str
    expected: Expected
    events: tuple[JournalEvent, ...]
    refused: bool = False
    consequence: JournalEvent | None = None

    @property
    def recorded(self) -> tuple[JournalEvent, ...]:
        """The events that the append adds to the store, in log order."""
        if self.refused:
            return ()
        return self.events if self.consequence is None else (*self.events, self.consequence)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A stream is deleted for good; the store records it as one ``$streamDeleted``."""

    stream: str
    event: JournalEvent

    @property
    def recorded(self) -> tuple[JournalEvent, ...]:
        return (self.event,)


Request = Append | Tombstone
Command = Callable[[], Request | None]
"""A command decides when it is run, on what its service knows then: what to write, or nothing."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to write: its type and payload. Bytes are written as they are, anything else as JSON."""

    type: str
    body: Any
    is_json: bool = True


def to_json(value: Any) -> bytes:
    """Serialise a payload; a Decimal keeps its digits: ``Decimal("1.10")`` becomes ``1.10``."""
    return orjson.dumps(value, default=_decimal)


def _decimal(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


class Journal:
    """The store as the services see it: ids, time, the revision of each stream, and scheduled commands.

    Parameters
    ----------
    rng
        The source of ids and delays: the same seed gives the same history.
    """

    def __init__(self, *, clock: SampleClock, versions: SchemaVersions, rng: random.Random) -> None:
        self.clock = clock
        self.rng = rng
        self._versions = versions
        self._heads: dict[str, int] = {}
        self._hidden: set[str] = set()  # the streams that are deleted and may be written again
        self._agenda: list[tuple[int, int, Command]] = []
        self._scheduled = 0

    def new_id(self) -> str:
        """Return a random UUID, version 4, as text."""
        digits = f"{self.rng.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def request(self, user_id: str | None = None) -> Cause:
        """Return the cause of something that a person asked for: a conversation begins, caused by the request itself."""
        request_id = self.new_id()
        return Cause(request_id, request_id, user_id)

    def version(self, event_type: str) -> int:
        """Return the schema version in which the services write a type today."""
        return self._versions.at(event_type, self.clock.progress)

    def instant(self, *, digits: int = 7, ahead: float = 0.0) -> str:
        """Return the present, or so many seconds ahead of it, as text for a payload."""
        return to_text(self.clock.now + int(ahead * SECOND), digits=digits)

    def revision(self, stream: str) -> int:
        """Return the revision of a stream's last event; -1 of one that never was."""
        return self._heads.get(stream, -1)

    def append(self, stream: str, *drafts: Draft, cause: Cause, expected: Expected) -> Append:
        """Make an append of events that were decided now."""
        head = self._heads.get(stream, -1)
        stamp = self.clock.stamp()
        events = []
        for draft in drafts:
            head += 1
            version = self.version(draft.type)
            metadata: dict[str, Any] = {"$correlationId": cause.correlation_id, "$causationId": cause.causation_id}
            if cause.user_id is not None:
                metadata["userId"] = cause.user_id
            metadata["schemaVersion"] = version
            raw = isinstance(draft.body, bytes)
            events.append(
                JournalEvent(
                    id=self.new_id(),
                    stream=stream,
                    revision=head,
                    type=draft.type,
                    version=version,
                    body=None if raw else draft.body,
                    data=draft.body if raw else to_json(draft.body),
                    metadata=orjson.dumps(metadata),
                    is_json=draft.is_json,
                    ticks=stamp,
                    cause=cause,
                )
            )
        return Append(stream, expected, tuple(events), consequence=self._revival(stream))

    def plain(self, stream: str, event_type: str, data: bytes, *, body: Any, metadata: bytes = b"") -> Append:
        """Make an append as clients do that know nothing of causes, versions and expected revisions."""
        event = self._bare(stream, event_type, data, body=body, metadata=metadata)
        return Append(stream, StreamState.ANY, (event,))

    def _bare(
        self,
        stream: str,
        event_type: str,
        data: bytes,
        *,
        body: Any,
        metadata: bytes = b"",
        revision: int | None = None,
        is_own: bool = True,
        is_json: bool = True,
    ) -> JournalEvent:
        return JournalEvent(
            id=self.new_id() if is_own else "",
            stream=stream,
            revision=self.revision(stream) + 1 if revision is None else revision,
            type=event_type,
            version=1,
            body=body,
            data=data,
            metadata=metadata,
            is_json=is_json,
            ticks=self.clock.stamp(),
            cause=None,
        )

    def _revival(self, stream: str) -> JournalEvent | None:
        """Return the events that the store writes when a deleted stream is written again; the earlier events stay hidden."""
        if stream not in self._hidden:
            return None
        body = {"$tb": self.revision(stream) + 1}
        return self._bare(f"$${stream}", "$metadata", to_json(body), body=body, is_own=False)

    def describe(self, stream: str, **metadata: Any) -> Append:
        """Set a stream's metadata: ``describe("room-1", maxCount=100)`` writes ``$maxCount``."""
        body = {f"${name}": value for name, value in metadata.items()}
        return self.plain(f"$${stream}", "$metadata", to_json(body), body=body)

    def soft_delete(self, stream: str) -> Append:
        """Delete a stream as KurrentDB's delete does: readers no longer see its events, a later append goes on counting."""
        return self.describe(stream, tb=SOFT_DELETED)

    def tombstone(self, stream: str) -> Tombstone:
        """Delete a stream for good."""
        event = self._bare(stream, "$streamDeleted", b"", body=None, revision=TOMBSTONE_REVISION, is_own=False, is_json=False)
        return Tombstone(stream, event)

    def accepts(self, request: Append) -> bool:
        """Whether the store will accept an append: whether its stream is at the expected revision."""
        head = self.revision(request.stream)
        match request.expected:
            case StreamState.NO_STREAM:
                return head < 0 or request.stream in self._hidden
            case StreamState.STREAM_EXISTS:
                return head >= 0
            case StreamState.ANY:
                return True
            case revision:
                return head == revision

    def record(self, event: JournalEvent) -> None:
        """Record that the store has an event."""
        self._heads[event.stream] = event.revision
        if event.type == "$metadata" and "$tb" in event.body:
            change = self._hidden.add if event.body["$tb"] == SOFT_DELETED else self._hidden.discard
            change(event.stream[len("$$") :])

    def later(self, seconds: float, command: Command) -> None:
        """Have a command run so many seconds from now."""
        self._scheduled += 1
        heapq.heappush(self._agenda, (self.clock.now + int(seconds * SECOND), self._scheduled, command))

    @property
    def next_due(self) -> int | None:
        """When the next scheduled command is due, in ticks."""
        return self._agenda[0][0] if self._agenda else None

    def take_due(self) -> Command:
        """Remove and return the next scheduled command."""
        return heapq.heappop(self._agenda)[2]
