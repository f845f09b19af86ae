"""Where records stand in the log: how many bytes each takes, and at which position the next begins."""

from __future__ import annotations

LOG_HEADER = 128
"""The position of the first record."""

CHUNK = 256 * 1024 * 1024
"""The log is cut into chunks of this many bytes, and no record crosses the cut."""

RECORD_OVERHEAD = 96
"""How many bytes a record takes besides its names and its payload; all that the commit of a transaction takes."""


def size_of_record(stream: str, event_type: str = "", data: bytes = b"", metadata: bytes = b"") -> int:
    """Return how many bytes a record takes."""
    return RECORD_OVERHEAD + len(stream.encode()) + len(event_type.encode()) + len(data) + len(metadata)


def place(end: int, size: int) -> tuple[int, int]:
    """Return where a record of so many bytes begins that is written behind an end, and the end behind it."""
    begin = end + CHUNK - end % CHUNK if end % CHUNK + size > CHUNK else end
    return begin, begin + size
