"""Parquet files with digests of their contents.

The name of a file holds the digest of its footer, and the footer's key-value metadata holds the digest of each column chunk. So a reader
that knows the name can verify the footer, and then only the chunks that it reads. No Parquet reader does so by itself: a flipped bit that
still decompresses would give a wrong number, and a changed bound in a footer would hide events. Files of events up to format 2 of the
lake have no digests; their pages have checksums.

An engine that opens files by itself reads them after `ColumnChunk.check`; an engine that reads through Arrow gets a `CheckedFile`.
"""

from __future__ import annotations

import base64
import io
import os
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from workbench.lake.files.integrity import DIGEST_BYTES, Malformed, digest_of

_KEY = "workbench.digests"
_MAGIC = b"PAR1"
_TAIL = 8  # the footer's length in four bytes, and the magic
_LOOK = 65_536
"""The number of bytes read first from the end of a file: as many as Arrow reads, so that it needs no second read before the data."""
_FILLER = "workbench."


@dataclass(frozen=True, slots=True)
class ColumnChunk:
    """The location in a file of one column of one row group, the digest of its bytes if the file has digests, and its bounds."""

    start: int
    size: int
    digest: bytes | None
    bounds: tuple[Any, Any] | None

    def check(self, source: BinaryIO | pa.NativeFile) -> None:
        """Read the chunk and compare its digest.

        Raises
        ------
        Malformed
            The chunk differs from what was written.
        """
        source.seek(self.start)
        if self.digest is not None and digest_of(source.read(self.size)) != self.digest:
            raise Malformed("its bytes are not what was written")


@dataclass(frozen=True, slots=True)
class Footer:
    """The footer of a file."""

    metadata: Any  # pyarrow's FileMetaData, which has no types
    digests: bytes | None
    names: tuple[str, ...]

    @property
    def groups(self) -> int:
        """The number of row groups in the file."""
        return int(self.metadata.num_row_groups)

    def chunk(self, group: int, name: str) -> ColumnChunk:
        """Return one column of one row group.

        Bounds are returned only from a verified footer, because pyarrow 26 crashes on the bounds of some damaged footers.
        """
        index = self.names.index(name)
        column = self.metadata.row_group(group).column(index)
        start, size = _extent(column)
        if self.digests is None:
            return ColumnChunk(start, size, None, None)
        statistics = column.statistics if name != "recorded_at" else None  # Python may not be able to represent the instant
        bounds = (statistics.min, statistics.max) if statistics is not None and statistics.has_min_max else None
        return ColumnChunk(start, size, self._digest(group, index), bounds)

    def extents(self) -> list[ColumnChunk]:
        """Return all column chunks in the order of the file, without bounds."""
        places = ((group, index) for group in range(self.groups) for index in range(self.metadata.num_columns))
        found = (
            ColumnChunk(*_extent(self.metadata.row_group(group).column(index)), self._digest(group, index), None) for group, index in places
        )
        return sorted(found, key=lambda chunk: chunk.start)

    def _digest(self, group: int, index: int) -> bytes | None:
        at = (group * self.metadata.num_columns + index) * DIGEST_BYTES
        return None if self.digests is None else self.digests[at : at + DIGEST_BYTES]


class CheckedFile(io.RawIOBase):
    """A file with digests, open for reading, that never returns damaged data.

    It is used through ``pyarrow.PythonFile``, by readers that use Arrow, which reads whole column chunks. Instead of a damaged chunk it
    returns zeros, and for a damaged footer only zeros. No page or footer consists of zeros, so a reader that needs them fails. A reader
    that fetches a damaged chunk only because it is between chunks that it needs continues. An exception is not possible: raised in a
    thread of Arrow, it needs the GIL to be freed, while DuckDB 1.5 holds the GIL and waits for that thread.

    Parameters
    ----------
    source
        The underlying file; closed with this one.
    digest
        The digest of the footer, from the file's name.
    """

    def __init__(self, source: BinaryIO | pa.NativeFile, *, digest: str) -> None:
        self._source = source
        self._size = source.seek(0, os.SEEK_END)
        self._at = 0
        self._is_begun = False
        self._chunks: list[ColumnChunk] | None = None
        self._end = b""
        with suppress(Malformed):
            self._end = _read_end(source)
            self._chunks = _parsed(self._end, digest=digest, columns=()).extents()
        self._starts = [chunk.start for chunk in self._chunks or ()]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        start, kept = min(self._at, self._size), self._size - len(self._end)
        end = self._size if size is None or size < 0 else min(start + size, self._size)
        is_look, self._is_begun = not self._is_begun and start == kept and end == self._size, True
        self._at = end
        if self._chunks is None:
            return bytes(end - start)
        if start >= kept:
            return self._checked(start, self._end[start - kept : end - kept], is_look=is_look)
        self._source.seek(start)
        return self._checked(start, self._source.read(end - start), is_look=is_look)

    def check_all(self) -> None:
        """Read the whole file.

        Raises
        ------
        Malformed
            The footer or a column chunk differs from what was written.
        """
        if self._chunks is None:
            raise Malformed("its footer is not what was written")
        for chunk in self._chunks:
            chunk.check(self._source)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()

    def _checked(self, start: int, content: bytes, *, is_look: bool) -> bytes:
        """Verify the chunks that overlap a part of the file; read the rest of these chunks if necessary.

        Skip this for Arrow's first read of the footer: Arrow does not use the truncated chunk in it.
        """
        assert self._chunks is not None
        end = start + len(content)
        for chunk in self._chunks[max(bisect_right(self._starts, start) - 1, 0) : bisect_left(self._starts, end)]:
            first, last = max(chunk.start, start) - start, min(chunk.start + chunk.size, end) - start
            if first >= last:
                continue
            whole: bytes | memoryview = memoryview(content)[first:last]
            if last - first < chunk.size:
                self._source.seek(chunk.start)
                whole = b"" if is_look else self._source.read(chunk.size)
            if digest_of(whole) != chunk.digest:
                content = content[:first] + bytes(last - first) + content[last:]
        return content


@dataclass(frozen=True, slots=True)
class Sealed:
    """A complete Parquet file in memory, and the digest of its footer for the file's name."""

    parts: tuple[pa.Buffer, bytes]
    digest: str

    @property
    def size(self) -> int:
        return sum(map(len, self.parts))


def seal(writer: pq.ParquetWriter, sink: pa.BufferOutputStream, *, groups: int) -> Sealed:
    """Close a writer of a file with ``groups`` row groups, and put the digests of the column chunks into the footer.

    The positions of the chunks are known only when the footer is written. So it is first written with a filler of the right length, which
    is then replaced.
    """
    columns = sum(_leaves(field.type) for field in writer.schema)
    length = len(base64.b64encode(bytes(groups * columns * DIGEST_BYTES)))
    filler = (_FILLER * (length // len(_FILLER) + 1))[:length]
    writer.add_key_value_metadata({_KEY: filler})
    writer.close()
    data = sink.getvalue()
    start = len(data) - _TAIL - int.from_bytes(data[len(data) - _TAIL : len(data) - 4], "little")
    footer = data[start:].to_pybytes()
    metadata = pq.read_metadata(pa.BufferReader(footer))
    assert (metadata.num_row_groups, metadata.num_columns) == (groups, columns)
    places = (_extent(metadata.row_group(group).column(index)) for group in range(groups) for index in range(columns))
    digests = b"".join(digest_of(data[at : at + size]) for at, size in places)
    at = footer.rindex(filler.encode())  # key-values come after the bounds, which may contain any text
    footer = footer[:at] + base64.b64encode(digests) + footer[at + length :]
    return Sealed((data[:start], footer), digest_of(footer).hex())


def read_footer(source: BinaryIO | pa.NativeFile, *, digest: str | None, columns: Sequence[str]) -> Footer:
    """Read the footer of a file that has these columns.

    ``digest`` is the one in the file's name; None for a file without digests.

    Raises
    ------
    Malformed
        The footer differs from what was written, or is missing.
    """
    return _parsed(_read_end(source), digest=digest, columns=columns)


def _read_end(source: BinaryIO | pa.NativeFile) -> bytes:
    """Return the end of a file, including at least the footer."""
    size = source.seek(0, os.SEEK_END)
    source.seek(max(size - _LOOK, 0))
    end: bytes = source.read()
    length = int.from_bytes(end[-_TAIL:-4], "little")
    if end[-4:] != _MAGIC or length > size - _TAIL:
        raise Malformed("it does not end as a Parquet file does")
    if length > len(end) - _TAIL:
        source.seek(size - _TAIL - length)
        end = source.read()
    return end


def _parsed(end: bytes, *, digest: str | None, columns: Sequence[str]) -> Footer:
    footer = end[len(end) - _TAIL - int.from_bytes(end[-_TAIL:-4], "little") :]
    if digest is not None and digest_of(footer).hex() != digest:
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


def _leaves(kind: pa.DataType) -> int:
    """Return the number of Parquet columns for a type."""
    return sum(_leaves(kind.field(index).type) for index in range(kind.num_fields)) or 1


def _extent(column: Any) -> tuple[int, int]:
    """Return the start and the length of a column chunk."""
    return column.dictionary_page_offset or column.data_page_offset, column.total_compressed_size
