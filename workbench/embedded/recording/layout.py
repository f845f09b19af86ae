"""The positions of records in the log: the size of each, and the start of the next."""

from __future__ import annotations

LOG_HEADER = 128
"""The position of the first record."""

CHUNK = 256 * 1024 * 1024
"""The log is divided into chunks of this many bytes, and no record spans two chunks."""

RECORD_OVERHEAD = 96
"""How many bytes a record takes besides its names and its payload; all that the commit of a transaction takes."""


def size_of_record(stream: str, event_type: str = "", data: bytes = b"", metadata: bytes = b"") -> int:
    """Return how many bytes a record takes."""
    return RECORD_OVERHEAD + len(stream.encode()) + len(event_type.encode()) + len(data) + len(metadata)


def place(end: int, size: int) -> tuple[int, int]:
    """Return where a record of so many bytes begins that is written behind an end, and the end behind it."""
    begin = end + CHUNK - end % CHUNK if end % CHUNK + size > CHUNK else end
    return begin, begin + size
