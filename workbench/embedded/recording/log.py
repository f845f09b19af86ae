"""The log: the recorded events in order, and the rules by which an append is accepted or refused.

The module is long because accepting an append, indexing it and publishing it share one state, which must change together.

The log keeps an index of all records in memory (some 50 bytes a record) and their frames in a storage. An append is *staged*
first: it has its place and its revision, and later appends build on it. Once the storage has written it, it is *published*:
only then is it acknowledged and seen by readers. Several appends that wait for the disk together share one write.

The rules are those of KurrentDB's index writer (``IndexWriter.CheckCommit``, ``StorageWriterService``).
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID, uuid5

from workbench.embedded.recording import records
from workbench.embedded.recording.appends import ANY, NO_STREAM, STREAM_EXISTS, AppendResult, Tombstoned, WrongRevision
from workbench.embedded.recording.committed import CommittedIds
from workbench.embedded.recording.layout import CHUNK, LOG_HEADER, RECORD_OVERHEAD, place, size_of_record
from workbench.embedded.recording.metadata import ReadLimits, read_object
from workbench.embedded.recording.records import MAX_REVISION, NewEvent, Record
from workbench.embedded.recording.storage import Storage

LAST = -1
"""Stands for the last event of a stream where a link names a revision."""

_PAGE = 4_096
_ID_NAMESPACE = UUID("6f1c2c1e-6b0a-4c7e-9d0c-3b8f5f0f6a51")


class _Staged(NamedTuple):
    """An event with an assigned position that is not in the log yet."""

    record: Record
    id: UUID
    limits: ReadLimits | None
    """What it hides, if it is the metadata of a stream."""

    end: int
    """The end of the log behind it."""


# A stream of metadata keeps its last event only (KurrentDB: the metadata of a metastream is $maxCount 1).
_METASTREAM_LIMITS = ReadLimits(max_count=1)
_NO_LIMITS = ReadLimits()


class Stream:
    """The events of one stream: their numbers in the log, in order, and what its metadata said since which number."""

    __slots__ = ("deleted_at", "limits", "name", "numbers")

    def __init__(self, name: str) -> None:
        self.name = name
        self.numbers = array("q")
        self.limits: list[tuple[int, ReadLimits]] = []
        self.deleted_at: int | None = None


class Log:
    """An append-only log with streams, in the memory of one process.

    All methods are called from one thread, save that the storage may write elsewhere what ``take_staged`` handed out.
    Numbers count records from 0 in log order, positions are byte offsets with gaps.
    """

    def __init__(self, storage: Storage, *, now: Callable[[], int]) -> None:
        self._storage = storage
        self._now = now
        self.history = 0
        """Incremented when the log is replaced by another, as by a restored backup."""
        self.generation = 0
        """Incremented when records are removed or replaced, which changes the numbers of records."""
        self._committed = CommittedIds()
        self._clear()

    def _clear(self) -> None:
        self.commits = array("q")
        self.prepares = array("q")
        self.revisions = array("q")
        self.created = array("q")
        self.stream_of: list[Stream] = []
        self.type_of: list[str] = []
        self._streams: dict[str, Stream] = {}
        self._empty = array("q")
        """Where appends of nothing took a place in the log. No reader sees one; the places are forgotten at a restart."""
        self._unpublished: list[Record] = []
        self._taken = 0
        self.published = 0
        """How many records readers may see."""
        self.end = LOG_HEADER
        """The position at which the next record will begin."""

    @property
    def blocking(self) -> bool:
        """Whether writing waits for a disk."""
        return self._storage.blocking

    @property
    def scavenged(self) -> int:
        """Below this position the log was scavenged: records may be missing, and a read may start anywhere."""
        return self._storage.scavenged

    def restart(self) -> None:
        """Note that the log was replaced by another one, for which a server is restarted: it knows no ids of earlier appends."""
        self.history += 1
        self._committed.forget()

    def load(self) -> None:
        """Build the index from what the storage holds."""
        self._fill(self._storage.load())

    def _fill(self, recorded: Iterable[Record]) -> None:
        types: dict[str, str] = {}
        for record in recorded:
            self._index(record, types.setdefault(record.type, record.type))
        self.published = len(self.commits)
        for stream in list(self._streams.values()):
            if stream.name.startswith("$$"):
                (frame,) = self._storage.frames_at(stream.numbers[-1:])
                payload = records.decode(frame)
                self._note_limits(stream, ReadLimits.parse(payload.data, is_json=payload.is_json), stream.numbers[-1])
        self.end = max(self.end, self._storage.end)
        if self.published:
            self.end = max(self.end, self._end_of(self.published - 1))

    def _end_of(self, number: int) -> int:
        if self.commits[number] != self.prepares[number]:
            return self.commits[number] + RECORD_OVERHEAD  # of the commit record
        payload = records.decode(self.frames(number, number + 1)[0])
        size = size_of_record(self.stream_of[number].name, self.type_of[number], payload.data, payload.metadata)
        return self.commits[number] + size

    # -- writing

    def append(self, stream: str, events: Sequence[NewEvent], *, expected: int = ANY) -> AppendResult:
        """Stage events at the end of a stream, all or none.

        ``expected`` is a revision, ``NO_STREAM``, ``ANY`` or ``STREAM_EXISTS``. An append that was recorded before, by its event
        ids at the revisions that it would take, is not recorded again and answers as it did. For ``ANY`` and ``STREAM_EXISTS``
        that holds as long as ``CommittedIds`` knows the ids, and not after a restart. An append of nothing takes a place in the
        log, which no reader sees, and brings a deleted stream back.

        Raises
        ------
        WrongRevision
            The stream is at another revision.
        Tombstoned
            The stream takes no more events.
        """
        repeated = self._check(stream, events, expected)
        if repeated is not None:
            return repeated
        last = self.last_revision(stream)
        original = stream.removeprefix("$$")
        deleted = self.limits(original).deleted
        recreated_from = self.last_revision(original) + 1
        nothing = None
        if events:
            staged = self._prepared(stream, events)
            end = staged[-1].end
        else:
            staged = []
            nothing, end = place(self.end, size_of_record(stream))
        if deleted:
            created = events[-1].created if events else None
            staged += self._revival(original, events if stream != original else (), recreated_from, end=end, created=created)
        if nothing is not None:
            self._empty.append(nothing)
            self.end = end
        self._stage(staged)
        if nothing is not None:
            return AppendResult(last, nothing, nothing, len(self.commits))
        record = staged[len(events) - 1].record
        return AppendResult(record.revision, record.commit, record.prepare, len(self.commits))

    def _revival(self, stream: str, own: Sequence[NewEvent], recreated_from: int, *, end: int, created: int | None) -> list[_Staged]:
        """Prepare the metadata that brings a deleted stream back and leaves hidden what was there before the deletion.

        ``own`` is the metadata, if that is what is being appended. What is no JSON object brings all events back, and is kept.
        """
        metastream = "$$" + stream
        newest = read_object(own[-1].data) if own else self._newest_metadata(stream)
        if newest is None:
            return []
        first = self.last_revision(metastream) + 1 + len(own)
        metadata = self._metadata({**newest, "$tb": recreated_from}, created=created, end=end)
        return self._prepared(metastream, [metadata], revision=first, end=end)

    def delete(self, stream: str, *, expected: int = ANY, created: int | None = None) -> AppendResult:
        """Stage the metadata that hides all events of a stream; a later append continues its revisions.

        ``created`` as in ``NewEvent``.

        Raises
        ------
        WrongRevision
            The stream is at another revision, or there is none.
        Tombstoned
            The stream was tombstoned, or was deleted and is expected to exist.
        """
        metadata = self._metadata({"$tb": MAX_REVISION}, created=created)
        self._check(stream, [metadata], expected)
        metastream = "$$" + stream
        if self.last_revision(stream) < 0 and self.last_revision(metastream) < 0:
            raise WrongRevision(stream, expected=expected, current=NO_STREAM)
        self._stage(self._prepared(metastream, [metadata]))
        return self._done()

    def tombstone(self, stream: str, *, expected: int = ANY, created: int | None = None) -> AppendResult:
        """Stage the event that ends a stream for ever, at the greatest revision there is.

        ``created`` as in ``NewEvent``.

        Raises
        ------
        WrongRevision
            The stream is at another revision.
        Tombstoned
            The stream was tombstoned before.
        """
        event = NewEvent(_own_id(self.end), "$streamDeleted", is_json=False, created=created)
        self._check(stream, [event], expected)
        self._stage(self._prepared(stream, [event], revision=MAX_REVISION))
        return self._done()

    def append_transaction(self, stream: str, events: Sequence[NewEvent]) -> AppendResult:
        """Stage events as an explicit transaction of the old TCP protocol: one commit position, and a prepare position each."""
        return self.commit_transaction(stream, self.prepare_transaction(stream, events))

    def prepare_transaction(self, stream: str, events: Sequence[NewEvent]) -> list[tuple[int, NewEvent]]:
        """Give the events of a transaction their prepare positions and their times; they are not in the log until it is committed."""
        prepared, end = [], self.end
        for event in events:
            position, end = place(end, size_of_record(stream, event.type, event.data, event.metadata))
            prepared.append((position, replace(event, created=self._now() if event.created is None else event.created)))
        self.end = end
        return prepared

    def commit_transaction(self, stream: str, prepared: Sequence[tuple[int, NewEvent]]) -> AppendResult:
        """Stage the events of a transaction, all at one commit position behind whatever was recorded meanwhile."""
        if self.last_revision(stream) == MAX_REVISION:
            raise Tombstoned(stream)
        commit, end = place(self.end, RECORD_OVERHEAD)
        first = self.last_revision(stream) + 1
        self._stage(
            [
                self._staged(stream, event, revision=revision, commit=commit, prepare=prepare, end=end)
                for revision, (prepare, event) in enumerate(prepared, first)
            ]
        )
        return self._done()

    def _check(self, stream: str, events: Sequence[NewEvent], expected: int) -> AppendResult | None:
        current = self.last_revision(stream)
        if current == MAX_REVISION:
            raise Tombstoned(stream)
        if expected == STREAM_EXISTS:
            if self.limits(stream).deleted:
                raise Tombstoned(stream)
            if current < 0 and self.last_revision("$$" + stream) < 0:
                raise WrongRevision(stream, expected=expected, current=current)
        if expected in (ANY, STREAM_EXISTS):
            return self._repeated_recently(stream, events, expected, current)
        if expected < current:
            return self._repeated(stream, events, expected, current)
        if expected > current:
            raise WrongRevision(stream, expected=expected, current=current)
        return None

    def _repeated_recently(self, stream: str, events: Sequence[NewEvent], expected: int, current: int) -> AppendResult | None:
        revision = -1
        for at, event in enumerate(events):
            known = self._committed.place_of(event.id)
            if known is None or known.stream != stream:
                if at:  # begins like an append that was recorded, and goes on otherwise
                    raise WrongRevision(stream, expected=expected, current=current)
                return None
            revision = known.revision
        return None if revision < 0 else self._again(stream, revision)

    def _repeated(self, stream: str, events: Sequence[NewEvent], expected: int, current: int) -> AppendResult | None:
        for at, event in enumerate(events):
            revision = expected + 1 + at
            if self._committed.place_of(event.id) != (stream, revision) and event.id != self._id_at(stream, revision):
                if at == 0 and expected == NO_STREAM and self.limits(stream).deleted:
                    return None
                raise WrongRevision(stream, expected=expected, current=current)
        if not events:
            raise WrongRevision(stream, expected=expected, current=current)
        return self._again(stream, expected + len(events))

    def _number_at(self, stream: str, revision: int) -> int | None:
        known = self._streams.get(stream)
        numbers = known.numbers if known is not None else ()
        at = bisect_left(numbers, revision, key=self.revisions.__getitem__)
        return numbers[at] if at < len(numbers) and self.revisions[numbers[at]] == revision else None

    def _id_at(self, stream: str, revision: int) -> UUID | None:
        number = self._number_at(stream, revision)
        return None if number is None else records.id_of(self.frames_at([number])[0])

    def _again(self, stream: str, revision: int) -> AppendResult:
        """Answer an append that was recorded before: without its position, where a reader of the stream no longer sees it."""
        seen = self.number_of(stream, revision, head=len(self.commits))
        if seen is not None:
            return self._at(seen)
        number = self._number_at(stream, revision)
        return AppendResult(revision, -1, -1, 0 if number is None else number + 1)

    def _at(self, number: int) -> AppendResult:
        return AppendResult(self.revisions[number], self.commits[number], self.prepares[number], number + 1)

    def _done(self) -> AppendResult:
        return self._at(len(self.commits) - 1)

    def _prepared(self, stream: str, events: Sequence[NewEvent], *, revision: int | None = None, end: int | None = None) -> list[_Staged]:
        """Give events their places behind the end of the log and of the stream, or behind those named. Changes nothing."""
        first = self.last_revision(stream) + 1 if revision is None else revision
        behind = self.end if end is None else end
        staged = []
        for at, event in enumerate(events, first):
            position, behind = place(behind, size_of_record(stream, event.type, event.data, event.metadata))
            staged.append(self._staged(stream, event, revision=at, commit=position, prepare=position, end=behind))
        return staged

    def _staged(self, stream: str, event: NewEvent, *, revision: int, commit: int, prepare: int, end: int) -> _Staged:
        created = self._now() if event.created is None else event.created
        frame = records.encode(event, stream=stream, revision=revision, prepare=prepare, commit=commit, created=created)
        limits = ReadLimits.parse(event.data, is_json=event.is_json) if stream.startswith("$$") else None
        return _Staged(Record(commit, prepare, stream, revision, event.type, created, frame), event.id, limits, end)

    def _stage(self, staged: Sequence[_Staged]) -> None:
        """Put events that have their places into the index. What could fail was done before, so that an append is all or nothing."""
        for one in staged:
            number = len(self.commits)
            self._index(one.record, one.record.type)
            self._committed.note(one.id, one.record.stream, one.record.revision)
            self._unpublished.append(one.record)
            if one.limits is not None:
                self._note_limits(self._streams[one.record.stream], one.limits, number)
            self.end = one.end

    def _index(self, record: Record, type_name: str) -> None:
        stream = self._streams.get(record.stream)
        if stream is None:
            stream = self._streams[record.stream] = Stream(record.stream)
        number = len(self.commits)
        stream.numbers.append(number)
        if record.revision == MAX_REVISION:
            stream.deleted_at = number
        self.commits.append(record.commit)
        self.prepares.append(record.prepare)
        self.revisions.append(record.revision)
        self.created.append(record.created)
        self.stream_of.append(stream)
        self.type_of.append(type_name)

    def _note_limits(self, metastream: Stream, limits: ReadLimits, number: int) -> None:
        name = metastream.name[2:]
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = Stream(name)
        stream.limits.append((number, limits))

    def _metadata(self, values: Mapping[str, object], *, created: int | None, end: int | None = None) -> NewEvent:
        event_id = _own_id(self.end if end is None else end)
        return NewEvent(event_id, "$metadata", json.dumps(values, separators=(",", ":")).encode(), created=created)

    def _newest_metadata(self, stream: str) -> dict[str, object]:
        found = self.newest("$$" + stream)
        return (read_object(found[1]) if found is not None else None) or {}

    def take_staged(self) -> tuple[int, Sequence[Record]]:
        """Return the records that are to be written next, and the number of the first of them."""
        first = self.published + self._taken
        taken = self._unpublished[self._taken :]
        self._taken += len(taken)
        return first, taken

    def write(self, first: int, staged: Sequence[Record]) -> None:
        """Write what was taken. This method alone may run on another thread."""
        self._storage.write(first, staged)

    def publish(self, count: int) -> None:
        """Let readers see the next ``count`` records, which were written."""
        del self._unpublished[:count]
        self._taken -= count
        self.published += count

    def flush(self) -> None:
        """Write and publish all that is staged."""
        first, staged = self.take_staged()
        if staged:
            self.write(first, staged)
            self.publish(len(staged))

    # -- reading

    def last_revision(self, stream: str) -> int:
        """Return the greatest revision of a stream, ``NO_STREAM``, or that of a tombstone; staged events count.

        When a stream is tombstoned, the stream of its metadata goes on if it had any, although nobody can read it any more, and is
        tombstoned too if it had none.
        """
        known = self._streams.get(stream)
        if known is not None and known.numbers:
            return self.revisions[known.numbers[-1]]
        original = self._streams.get(stream[2:]) if stream.startswith("$$") else None
        return NO_STREAM if original is None or original.deleted_at is None else MAX_REVISION

    def newest(self, stream: str) -> tuple[str, bytes] | None:
        """Return type and data of the last event of a stream, staged events included; None where there is none."""
        known = self._streams.get(stream)
        if known is None or not known.numbers:
            return None
        number = known.numbers[-1]
        return self.type_of[number], records.decode(self.frames_at([number])[0]).data

    def limits(self, stream: str, *, head: int | None = None) -> ReadLimits:
        """Return what hides events of a stream, as its metadata says at a head, or with what is staged."""
        if stream.startswith("$$"):
            return _METASTREAM_LIMITS
        known = self._streams.get(stream)
        if known is not None:
            for number, limits in reversed(known.limits):
                if head is None or number < head:
                    return limits
        return _NO_LIMITS

    def readable(self, stream: str, *, head: int) -> Sequence[int] | None:
        """Return the numbers of the events that a reader of a stream may see, in order; None if there is no such stream.

        Raises
        ------
        Tombstoned
            The stream was tombstoned.
        """
        known = self._streams.get(stream)
        original = self._streams.get(stream[2:]) if stream.startswith("$$") else known
        if original is not None and original.deleted_at is not None and original.deleted_at < head:
            raise Tombstoned(stream)
        limits = self.limits(stream, head=head)
        if known is None or limits.deleted:
            return None
        stop = bisect_left(known.numbers, head)
        if stop == 0:
            return None
        first = limits.truncate_before
        if limits.max_count is not None:
            first = max(first, self.revisions[known.numbers[stop - 1]] - limits.max_count + 1)
        start = bisect_left(known.numbers, first, hi=stop, key=self.revisions.__getitem__) if first else 0
        numbers = known.numbers[start:stop]
        if limits.max_age is None:
            return numbers
        oldest = self._now() - limits.max_age
        return array("q", [number for number in numbers if self.created[number] >= oldest])

    def recorded(self, stream: str, *, after: int, head: int) -> Sequence[int]:
        """Return the numbers of all events of a stream above a revision, whatever its metadata hides."""
        known = self._streams.get(stream)
        if known is None:
            return ()
        start = bisect_right(known.numbers, after, key=self.revisions.__getitem__)
        return known.numbers[start : bisect_left(known.numbers, head)]

    def position(self, number: int) -> tuple[int, int]:
        """Return commit and prepare position of a record."""
        return self.commits[number], self.prepares[number]

    def behind(self, number: int) -> int:
        """Return the position right behind a record, or behind the commit of its transaction."""
        commit = self.commits[number]
        after = bisect_right(self.commits, commit, lo=number)
        end = self.commits[after] if after < len(self.commits) else self.end
        empty = bisect_right(self._empty, commit)
        return min(end, self._empty[empty]) if empty < len(self._empty) else end

    def find(self, commit: int, prepare: int, *, head: int) -> int:
        """Return the number of the first record at or after a position; ``head`` if there is none below that."""
        number = bisect_left(self.commits, commit, hi=head)
        while number < head and self.commits[number] == commit and self.prepares[number] < prepare:
            number += 1
        return number

    def begins(self, commit: int, *, head: int) -> bool:
        """Whether a read may start at a commit position.

        It may where a record begins, behind the last one, at the cut between two chunks, and in a chunk that was scavenged, where
        the read goes on at the next record that is left.
        """
        number = bisect_left(self.commits, commit, hi=head)
        if number == head or self.commits[number] == commit or commit % CHUNK == 0 or commit < self.scavenged:
            return True
        at = bisect_left(self._empty, commit)
        if at < len(self._empty) and self._empty[at] == commit:
            return True
        # The events of an explicit transaction begin before the commit that is their position.
        last = self.commits[number]
        same = range(number, bisect_right(self.commits, last, lo=number, hi=head))
        return any(self.prepares[one] == commit for one in same)

    def number_of(self, stream: str, revision: int, *, head: int) -> int | None:
        """Return the number of an event by its stream and revision, as a link names it; None if no reader may see it.

        The revision -1 stands for the last event of the stream.
        """
        try:
            numbers = self.readable(stream, head=head)
        except Tombstoned:
            return None
        if numbers is None:
            return None
        at = len(numbers) - 1 if revision == LAST else bisect_left(numbers, revision, key=self.revisions.__getitem__)
        return numbers[at] if 0 <= at < len(numbers) and revision in (LAST, self.revisions[numbers[at]]) else None

    def frames(self, start: int, stop: int) -> Sequence[bytes]:
        """Return the messages of published records by their numbers, ``stop`` not included."""
        return self._storage.frames(start, stop)

    def frames_at(self, numbers: Sequence[int]) -> list[bytes]:
        """Return the messages of records, staged ones included, in the order asked for."""
        if not numbers or max(numbers) < self.published:
            return list(self._storage.frames_at(numbers))
        return [
            self._storage.frames_at([number])[0] if number < self.published else self._unpublished[number - self.published].frame
            for number in numbers
        ]

    # -- surgery

    def all_records(self) -> Iterator[Record]:
        """Yield every published record with its message."""
        for start in range(0, self.published, _PAGE):
            for number, frame in enumerate(self.frames(start, min(start + _PAGE, self.published)), start):
                yield Record(
                    self.commits[number],
                    self.prepares[number],
                    self.stream_of[number].name,
                    self.revisions[number],
                    self.type_of[number],
                    self.created[number],
                    frame,
                )

    def hidden_positions(self) -> set[int]:
        """Return the commit positions of the records that a scavenge takes away: no reader of a stream sees them any more.

        The last event of a stream stays, so that its revisions go on where they were, and so does a tombstone.
        """
        hidden: set[int] = set()
        for stream in self._streams.values():
            try:
                seen = set(self.readable(stream.name, head=self.published) or ())
            except Tombstoned:
                seen = set()
            hidden.update(self.commits[number] for number in stream.numbers[:-1] if number not in seen)
        return hidden

    def rewrite(self, kept: Sequence[Record], *, scavenged: int | None = None, end: int | None = None) -> None:
        """Put other records in the place of all, as a scavenge, a redaction or a restored backup does.

        Nothing may be staged. ``scavenged`` is the position below which records may be missing from now on; ``end`` the position
        at which the log ends from now on (both: as before).
        """
        if self._unpublished:
            raise ValueError("appends wait to be written")
        self._storage.replace_all(
            kept,
            scavenged=self.scavenged if scavenged is None else scavenged,
            end=self.end if end is None else end,
        )
        self.generation += 1
        self._clear()
        self._fill(kept)


def _own_id(end: int) -> UUID:
    # Of the log's own events; made from their place, so that the same calls give the same log.
    return uuid5(_ID_NAMESPACE, str(end))
