"""Parquet files that prove what is in them.

The name of a file holds the SHA-256 of its footer, and the footer holds, as a key-value, the SHA-256 of each column chunk. So whoever
knows the name can check the footer, and then just those chunks that are read. No Parquet reader does that by itself: a flipped bit that
still decompresses would be a wrong number, and a changed bound in a footer would leave out what is there. Files that the workbench
wrote up to format 2 of the lake have no such digests; their pages have checksums.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

_KEY = "workbench.digests"
_MAGIC = b"PAR1"
_TAIL = 8  # the footer's length in four bytes, and the magic
_DIGEST = 16  # the bytes that are kept of a SHA-256
_FILLER = "workbench."


class Malformed(Exception):
    """Raised when bytes of a Parquet file cannot be what was written."""


@dataclass(frozen=True, slots=True)
class ColumnChunk:
    """Where one column of one row group lies in a file, the digest of its bytes if the file has digests, and its bounds."""

    start: int
    size: int
    digest: bytes | None
    bounds: tuple[Any, Any] | None

    def check(self, source: BinaryIO | pa.NativeFile) -> None:
        """Read the chunk and compare its digest.

        Raises
        ------
        Malformed
            It is not what was written.
        """
        source.seek(self.start)
        if self.digest is not None and _digest(source.read(self.size)) != self.digest:
            raise Malformed("its bytes are not what was written")


@dataclass(frozen=True, slots=True)
class Footer:
    """The footer of a file."""

    metadata: Any  # pyarrow's FileMetaData, which has no types
    digests: bytes | None
    names: tuple[str, ...]

    @property
    def groups(self) -> int:
        """How many row groups the file has."""
        return int(self.metadata.num_row_groups)

    def chunk(self, group: int, name: str) -> ColumnChunk:
        """Return one column of one row group.

        Only of a footer that was checked are bounds returned: pyarrow 26 ends the process where it shows those of some damaged footers.
        """
        index = self.names.index(name)
        column = self.metadata.row_group(group).column(index)
        start = column.dictionary_page_offset or column.data_page_offset
        if self.digests is None:
            return ColumnChunk(start, column.total_compressed_size, None, None)
        at = (group * len(self.names) + index) * _DIGEST
        statistics = column.statistics if name != "recorded_at" else None  # an instant that Python may not know
        bounds = (statistics.min, statistics.max) if statistics is not None and statistics.has_min_max else None
        return ColumnChunk(start, column.total_compressed_size, self.digests[at : at + _DIGEST], bounds)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A whole Parquet file in memory, and the digest of its footer, which belongs into its name."""

    parts: tuple[pa.Buffer, bytes]
    digest: str

    @property
    def size(self) -> int:
        return sum(map(len, self.parts))


def seal(writer: pq.ParquetWriter, sink: pa.BufferOutputStream, *, groups: int) -> Sealed:
    """Close a writer whose file has so many row groups, and put the digests of the column chunks into the footer.

    Where the chunks lie is known once the footer is written. So it is written with a text of the right length, which gives way.
    """
    columns = len(writer.schema.names)
    length = len(base64.b64encode(bytes(groups * columns * _DIGEST)))
    filler = (_FILLER * (length // len(_FILLER) + 1))[:length]
    writer.add_key_value_metadata({_KEY: filler})
    writer.close()
    data = sink.getvalue()
    start = len(data) - _TAIL - int.from_bytes(data[len(data) - _TAIL : len(data) - 4], "little")
    footer = data[start:].to_pybytes()
    metadata = pq.read_metadata(pa.BufferReader(footer))
    found = Footer(metadata, None, tuple(metadata.schema.names))
    assert (found.groups, len(found.names)) == (groups, columns)
    chunks = (found.chunk(group, name) for group in range(groups) for name in found.names)
    digests = b"".join(_digest(data[chunk.start : chunk.start + chunk.size]) for chunk in chunks)
    at = footer.rindex(filler.encode())  # key-values stand behind the bounds, which may be any text
    footer = footer[:at] + base64.b64encode(digests) + footer[at + length :]
    return Sealed((data[:start], footer), _digest(footer).hex())


def read_footer(source: BinaryIO | pa.NativeFile, *, digest: str | None, columns: Sequence[str]) -> Footer:
    """Read the footer of a file that has these columns.

    ``digest`` is what the file's name says; None of a file without digests.

    Raises
    ------
    Malformed
        The footer is not what was written, or none.
    """
    size = source.seek(0, os.SEEK_END)
    source.seek(max(size - _TAIL, 0))
    tail = source.read()
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > size - _TAIL:
        raise Malformed("it does not end as a Parquet file does")
    source.seek(size - _TAIL - length)
    footer = source.read()
    if digest is not None and _digest(footer).hex() != digest:
        raise Malformed("its footer is not what was written")
    try:
        metadata = pq.read_metadata(pa.BufferReader(footer))
        names = tuple(metadata.schema.names)
    except (OSError, ValueError, pa.ArrowException):
        raise Malformed("its footer cannot be read") from None
    if not set(names) >= set(columns):
        raise Malformed("its columns have other names")
    digests = base64.b64decode((metadata.metadata or {}).get(_KEY.encode(), b"")) if digest is not None else None
    return Footer(metadata, digests, names)


def _digest(data: Any) -> bytes:
    return hashlib.sha256(data).digest()[:_DIGEST]
