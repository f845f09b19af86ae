"""The system projections of a KurrentDB: the links that they write beside the events of users.

Five of them, in the order of their numbers in ``$v``: ``$streams``, ``$stream_by_category``, ``$by_category``, ``$by_event_type`` and
``$by_correlation_id``. What each writes follows their handlers (``EventStore.Projections.Core/Standard``) and was compared with
the log of a server. A server runs them some time after the append; here their links stand right behind the events that
they index, and have the same stamps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from workbench.embedded.recording import records
from workbench.embedded.recording.appends import NO_STREAM, Tombstoned
from workbench.embedded.recording.log import Log
from workbench.embedded.recording.metadata import ReadLimits, read_object
from workbench.embedded.recording.records import NewEvent
from workbench.trace_ids import id_text

_LINK, _REFERENCE, _METADATA = "$>", "$@", "$metadata"
_STREAMS, _CATEGORIES, _BY_CATEGORY, _BY_TYPE, _BY_CORRELATION = 1, 2, 3, 4, 5
_HANDLERS = {
    "$streams": ("IndexStreams", "", True),
    "$stream_by_category": ("CategorizeStreamByPath", "first\r\n-", True),
    "$by_category": ("CategorizeEventsByStreamPath", "first\r\n-", True),
    "$by_event_type": ("IndexEventsByEventType", "", False),
    "$by_correlation_id": ("ByCorrelationId", '{"correlationIdProperty":"$correlationId"}', False),
}
"""Name of each projection, its handler, its query, and whether it takes links."""

_READABLE = b'{"$acl":{"$r":"$all","$mr":"$all"}}'
_NUMBER = re.compile(r"-?\d+", re.ASCII)
_NO_EVENT = -1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Event:
    """A recorded event as a projection sees it: where it stands, and what it is or, if it is a link, what it leads to."""

    commit: int
    prepare: int
    place_stream: str
    place_revision: int
    stream: str
    revision: int
    type: str
    id: UUID | None
    data: bytes
    correlation: str | None
    created: int

    @property
    def is_resolved(self) -> bool:
        return self.stream != self.place_stream

    @property
    def deleted_stream(self) -> str | None:
        """The stream that this event deletes, or None if it deletes none."""
        if self.place_stream.startswith("$$"):
            deletes = self.type == _METADATA and ReadLimits.parse(self.data).deleted
            return self.place_stream[2:] if deletes else None
        return self.place_stream if self.type == "$streamDeleted" else None


class _Emitted(NamedTuple):
    """What a projection writes: a link, unless the type says otherwise."""

    projection: int
    stream: str
    data: str
    extra: str = ""
    type: str = _LINK


class Projections:
    """Writes the links for what was appended to a log. Lives on the thread of the log's callers.

    Parameters
    ----------
    log
        A log that is loaded. One that the projections have not seen yet is indexed from its beginning.
    new_id
        Makes the ids of links. By chance, so that no two logs have the same ones at the same place.
    """

    def __init__(self, log: Log, *, new_id: Callable[[], UUID] = uuid4) -> None:
        self._log = log
        self._new_id = new_id
        self._generation, self._history = log.generation, log.history
        self._next = len(log.commits)
        if log.last_revision("$projections-$all") == NO_STREAM:
            self._next = 0
            self._begin()
        self.catch_up()

    def catch_up(self) -> None:
        """Stage the links for all events that were staged since the last time."""
        log = self._log
        if self._generation != log.generation:
            self._next = log.published
            if self._history != log.history:  # a backup may end between an event and its links
                while self._next and _is_users(log.stream_of[self._next - 1].name):
                    self._next -= 1
            self._generation, self._history = log.generation, log.history
        emitted: dict[str, list[NewEvent]] = {}
        while self._next < len(log.commits):
            end = len(log.commits)
            for event in self._users_events(self._next, end):
                for link in _links(event):
                    emitted.setdefault(link.stream, []).append(self._event(link, event))
            self._next = end
            for stream, links in emitted.items():
                if log.last_revision("$$" + stream) == NO_STREAM:
                    log.append("$$" + stream, [NewEvent(self._new_id(), _METADATA, _READABLE, created=links[0].created)])
                log.append(stream, links)
            self._next = len(log.commits)
            emitted.clear()

    def _begin(self) -> None:
        """Record what a server does when it starts its projections for the first time."""
        log = self._log
        created = [NewEvent(self._new_id(), "$ProjectionCreated", name.encode(), is_json=False) for name in _HANDLERS]
        log.append("$projections-$all", [NewEvent(self._new_id(), "$ProjectionsInitialized", is_json=False), *created])
        for version in (0, 1):
            for name in _HANDLERS:
                log.append(f"$projections-{name}", [NewEvent(self._new_id(), "$ProjectionUpdated", _definition(name, version))])
        log.append("$$$et", [NewEvent(self._new_id(), _METADATA, _READABLE)])
        log.append("$et", [NewEvent(self._new_id(), "$Checkpoint", b'{"$c":0,"$p":-1}', b'{"$v":"4:-1:1:4","$c":0,"$p":-1}')])

    def _event(self, link: _Emitted, cause: _Event) -> NewEvent:
        metadata = f'{{"$v":"{link.projection}:-1:1:4","$c":{cause.commit},"$p":{cause.prepare}{link.extra}'
        if cause.id is not None:
            metadata += f',"$causedBy":"{cause.id}"'
        if cause.correlation is not None:
            metadata += f',"$correlationId":{_text(cause.correlation)}'
        return NewEvent(self._new_id(), link.type, link.data.encode(), (metadata + "}").encode(), is_json=False, created=cause.created)

    def _users_events(self, start: int, end: int) -> Iterator[_Event]:
        """Yield those events that projections look at: of streams that do not begin with ``$``, and their metadata."""
        log = self._log
        streams = log.stream_of
        numbers = [number for number in range(start, end) if _is_users(streams[number].name)]
        for number, frame in zip(numbers, log.frames_at(numbers), strict=True):
            event = self._looked_at(number, frame)
            if event is not None:
                yield event

    def _looked_at(self, number: int, frame: bytes) -> _Event | None:
        """Return an event, a link resolved; None for a link to a stream that was deleted or never there."""
        log = self._log
        commit, prepare = log.position(number)
        place_stream, place_revision = log.stream_of[number].name, log.revisions[number]
        stream, revision, kind, payload = place_stream, place_revision, log.type_of[number], records.decode(frame)
        identity: UUID | None = payload.id
        data, metadata = payload.data, payload.metadata
        if kind == _LINK:
            text, _, target_stream = data.decode(errors="replace").partition("@")
            if _NUMBER.fullmatch(text):
                try:
                    if log.readable(target_stream, head=len(log.commits)) is None:
                        return None
                except Tombstoned:
                    return None
                target = log.number_of(target_stream, int(text), head=len(log.commits))
                if target is None:
                    stream, revision, kind, identity, data, metadata = "", _NO_EVENT, "", None, b"", b""
                else:
                    payload = records.decode(log.frames_at([target])[0])
                    stream, revision, kind = target_stream, int(text), log.type_of[target]
                    identity, data, metadata = payload.id, payload.data, payload.metadata
        return _Event(
            commit,
            prepare,
            place_stream,
            place_revision,
            stream,
            revision,
            kind,
            identity,
            data,
            _correlation(metadata),
            log.created[number],
        )


def _links(event: _Event) -> Iterator[_Emitted]:
    """Yield what the projections write for one event, in the order of their numbers."""
    place, deleted = event.place_stream, event.deleted_stream
    extra = "" if deleted is None else ',"$deleted":-1'
    category = _category(place)
    if event.place_revision == 0:
        yield _Emitted(_STREAMS, "$streams", f"0@{place}")
        if category is not None:
            yield _Emitted(_CATEGORIES, f"$category-{category}", place, type=_REFERENCE)
    target = event.data.decode(errors="replace") if event.type == _LINK else f"{event.revision}@{event.stream}"
    original = place if deleted is None else deleted
    category = _category(original)
    if category is not None:
        yield _Emitted(_BY_CATEGORY, f"$ce-{category}", target, f',"$o":{_text(original)}{extra}')
    if event.is_resolved or event.type == _LINK:
        return
    # The server's projection writes the stream that metadata is about in the place of the stream of metadata.
    yield _Emitted(_BY_TYPE, f"$et-{event.type if deleted is None else '$deleted'}", f"{event.revision}@{place.removeprefix('$$')}", extra)
    if event.correlation is not None:
        moment = (_EPOCH + timedelta(microseconds=event.created // 10)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        yield _Emitted(_BY_CORRELATION, f"$bc-{event.correlation}", target, f',"$eventTimestamp":"{moment}"')


def _is_users(stream: str) -> bool:
    return not stream.removeprefix("$$").startswith("$")


def _category(stream: str) -> str | None:
    """Return the category of a stream, which ends at the first dash; None where it has none, or is a system stream."""
    at = stream.find("-")
    return stream[:at] if at > 0 and not stream.startswith("$") else None


def _correlation(metadata: bytes) -> str | None:
    if b"$correlationId" not in metadata:
        return None
    return id_text((read_object(metadata) or {}).get("$correlationId"))


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _definition(name: str, version: int) -> bytes:
    """Return what a server records of a projection that it made (version 0) or was told to run (version 1)."""
    handler, query, takes_links = _HANDLERS[name]
    options = {"definesFold": True, **({"includeLinks": True} if takes_links else {})}
    definition: dict[str, Any] = {
        "handlerType": f"native:EventStore.Projections.Core.Standard.{handler}",
        "query": query,
        "mode": "Continuous",
        **({"enabled": True} if version else {}),
        "sourceDefinition": {"allEvents": True, "allStreams": True, "categories": [], "events": [], "streams": [], "options": options},
        "emitEnabled": True,
        "checkpointsDisabled": False,
        "trackEmittedStreams": False,
        "epoch": -1,
        "version": version,
        "runAs": {"name": "$system"},
        "checkpointHandledThreshold": 4000,
        "checkpointUnhandledBytesThreshold": 10000000,
        "pendingEventsThreshold": 5000,
        "maxWriteBatchLength": 500,
        "projectionSubsystemVersion": 4,
    }
    return json.dumps(definition, indent=2).encode()
