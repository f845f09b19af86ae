"""A log under any sequence of calls is what a simple model says, also after it was closed and opened again."""

import json
import shutil
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.embedded.logs import open_log, visible
from tests.embedded.wire import events
from workbench.embedded import ANY, NO_STREAM, STREAM_EXISTS, NewEvent, Tombstoned, WrongRevision
from workbench.embedded.recording.records import MAX_REVISION

STREAMS = ["a", "b", "c-1"]
streams = st.sampled_from(STREAMS)
expectations = st.one_of(st.sampled_from([ANY, NO_STREAM, STREAM_EXISTS]), st.integers(0, 6))


class Log(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="workbench-"))
        self.log, self.close = open_log(self.folder)
        self.last = dict.fromkeys(STREAMS, -1)
        self.first = dict.fromkeys(STREAMS, 0)
        self.keep: dict[str, int | None] = dict.fromkeys(STREAMS)
        self.has_metadata = dict.fromkeys(STREAMS, False)
        self.tombstoned: set[str] = set()
        self.recorded: list[tuple[str, int]] = []
        self.metadata_events = dict.fromkeys(STREAMS, 0)

    def teardown(self) -> None:
        self.close()
        shutil.rmtree(self.folder)

    def deleted(self, stream: str) -> bool:
        return self.first[stream] == MAX_REVISION

    def refusal(self, stream: str, expected: int) -> type[Exception] | None:
        if stream in self.tombstoned or (expected == STREAM_EXISTS and self.deleted(stream)):
            return Tombstoned
        if expected == STREAM_EXISTS:
            return None if self.last[stream] >= 0 or self.has_metadata[stream] else WrongRevision
        if expected == ANY or expected == self.last[stream] or (expected == NO_STREAM and self.deleted(stream)):
            return None
        return WrongRevision

    def metadata(self, stream: str) -> None:
        self.has_metadata[stream] = True
        self.recorded.append(("$$" + stream, self.metadata_events[stream]))
        self.metadata_events[stream] += 1

    @rule(stream=streams, count=st.integers(1, 3), expected=expectations)
    def append(self, stream: str, count: int, expected: int) -> None:
        refusal = self.refusal(stream, expected)
        if refusal is not None:
            with pytest.raises(refusal):
                self.log.append(stream, events(count), expected=expected)
            return
        done = self.log.append(stream, events(count), expected=expected)
        before = self.last[stream]
        self.last[stream] += count
        self.recorded += [(stream, before + 1 + at) for at in range(count)]
        assert done.revision == self.last[stream]
        if self.deleted(stream):
            self.first[stream] = before + 1
            self.metadata(stream)

    @rule(stream=streams, first=st.integers(0, 8), keep=st.integers(0, 4))
    def set_metadata(self, stream: str, first: int, keep: int) -> None:
        text = json.dumps({"$tb": first, "$maxCount": keep}).encode()
        try:
            self.log.append("$$" + stream, [NewEvent(uuid4(), "$metadata", text)])
        except Tombstoned:
            assert stream in self.tombstoned
            return
        revived = self.deleted(stream)
        self.metadata(stream)
        self.first[stream], self.keep[stream] = first, keep or None
        if revived:
            self.first[stream] = self.last[stream] + 1
            self.metadata(stream)

    @rule(stream=streams, expected=expectations)
    def delete(self, stream: str, expected: int) -> None:
        refusal = self.refusal(stream, expected)
        if refusal is None and self.last[stream] < 0 and not self.has_metadata[stream]:
            refusal = WrongRevision
        if refusal is not None:
            with pytest.raises(refusal):
                self.log.delete(stream, expected=expected)
            return
        self.log.delete(stream, expected=expected)
        self.first[stream], self.keep[stream] = MAX_REVISION, None
        self.metadata(stream)

    @rule(stream=streams, expected=expectations)
    def tombstone(self, stream: str, expected: int) -> None:
        refusal = self.refusal(stream, expected)
        if refusal is not None:
            with pytest.raises(refusal):
                self.log.tombstone(stream, expected=expected)
            return
        self.log.tombstone(stream, expected=expected)
        self.tombstoned.add(stream)
        self.recorded.append((stream, MAX_REVISION))

    @rule()
    def open_again(self) -> None:
        self.log.flush()
        end = self.log.end
        self.close()
        self.log, self.close = open_log(self.folder)
        assert self.log.end == end

    @rule()
    def scavenge(self) -> None:
        self.log.flush()
        gone = self.log.hidden_positions()
        kept = [record for record in self.log.all_records() if record.commit not in gone]
        self.log.rewrite(kept, scavenged=self.log.end)
        self.recorded = [(record.stream, record.revision) for record in kept]

    @invariant()
    def every_stream_shows_what_it_should(self) -> None:
        self.log.flush()
        for stream in STREAMS:
            try:
                seen = visible(self.log, stream)
            except Tombstoned:
                assert stream in self.tombstoned
                continue
            if self.last[stream] < 0 or self.deleted(stream):
                assert seen is None
                continue
            keep = self.keep[stream]
            first = max(self.first[stream], 0 if keep is None else self.last[stream] - keep + 1)
            left = {revision for name, revision in self.recorded if name == stream}  # a scavenge is for good
            assert seen == sorted(left & set(range(first, self.last[stream] + 1)))

    @invariant()
    def all_holds_everything_in_order(self) -> None:
        self.log.flush()
        assert [(record.stream, record.revision) for record in self.log.all_records()] == self.recorded
        positions = [self.log.position(number) for number in range(self.log.published)]
        assert positions == sorted(set(positions))


TestLog = Log.TestCase
TestLog.settings = settings(stateful_step_count=25)
