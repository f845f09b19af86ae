"""The expectations of an append about its stream, and its results."""

from __future__ import annotations

from dataclasses import dataclass

NO_STREAM = -1
ANY = -2
STREAM_EXISTS = -4
"""What a writer may expect of a stream besides a revision; the numbers are KurrentDB's own, and stand in its messages."""

MAX_APPEND_SIZE = 1024 * 1024
"""How many bytes one append may have in all, the server's default."""


class WrongRevision(Exception):
    """Raised when a stream is not at the revision that the writer expected."""

    def __init__(self, stream: str, *, expected: int, current: int) -> None:
        super().__init__(f"stream {stream} is at revision {current}, not {expected}")
        self.stream = stream
        self.expected = expected
        self.current = current


class Tombstoned(Exception):
    """Raised when a stream was tombstoned."""

    def __init__(self, stream: str) -> None:
        super().__init__(f"stream {stream} is tombstoned")
        self.stream = stream


@dataclass(frozen=True, slots=True)
class AppendResult:
    """Where an append went: its last event, and how many records must be published before it may be acknowledged."""

    revision: int
    commit: int
    prepare: int
    count: int
