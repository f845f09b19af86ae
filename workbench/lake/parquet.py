"""The parts of a Parquet file that pyarrow does not show, or not without the risk that a damaged footer ends the process.

A file ends in its footer: which row groups it has, where the chunk of each column lies, and between which bounds its values are. A
chunk is a row of pages, each behind a header. Footer and headers are structs of parquet.thrift in Thrift's compact protocol, here read
as dictionaries by field number. pyarrow 26 lets a C++ exception through where it shows some damaged footers, which nothing can catch.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

_MAGIC = b"PAR1"
_TAIL = 8  # the footer's length in four bytes, and the magic

# Field numbers of parquet.thrift.
_FILE_SCHEMA, _FILE_ROW_GROUPS = 2, 4
_ELEMENT_NAME = 4
_GROUP_COLUMNS, _GROUP_ROWS = 1, 3
_CHUNK_METADATA = 3
_PATH, _VALUES, _SIZE, _DATA_PAGE, _DICTIONARY_PAGE, _STATISTICS = 3, 5, 7, 9, 11, 12
_GREATEST, _LEAST = 5, 6
_PAGE_KIND, _PAGE_SIZE, _PAGE_CHECKSUM = 1, 3, 4
_VALUE_PAGES = {0: 5, 3: 8}
"""The kinds of pages that hold values (data pages of version 1 and 2), with the field of the header whose field 1 counts them."""

_UNREADABLE = (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError)
"""What comes of a value that is not there, or not of its kind."""

_BOOLEANS, _BYTE, _INTEGERS, _BINARY, _LIST, _STRUCT = (1, 2), 3, (4, 5, 6), 8, 9, 12


class Malformed(Exception):
    """Raised when bytes of a Parquet file cannot be what was written."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where the pages of one column in one row group lie, how many values they hold (nulls too), and their bounds as the file has them."""

    start: int
    size: int
    values: int
    least: bytes | None
    greatest: bytes | None


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group: how many rows, and the chunks of its columns by name."""

    rows: int
    chunks: dict[str, Chunk]


def read_footer(source: BinaryIO) -> tuple[RowGroup, ...]:
    """Read which row groups a file has; a footer of 100 KB takes 15 ms.

    Raises
    ------
    Malformed
        The footer is none.
    """
    size = source.seek(0, os.SEEK_END)
    source.seek(max(size - _TAIL, 0))
    tail = source.read()
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > size - _TAIL:
        raise Malformed("it does not end as a Parquet file does")
    source.seek(size - _TAIL - length)
    try:
        footer, _ = _struct(source.read(length), 0)
        names = [element[_ELEMENT_NAME].decode() for element in footer[_FILE_SCHEMA][1:]]
        groups = tuple(
            RowGroup(group[_GROUP_ROWS], dict(_chunk(column[_CHUNK_METADATA], size) for column in group[_GROUP_COLUMNS]))
            for group in footer[_FILE_ROW_GROUPS]
        )
    except _UNREADABLE:
        raise Malformed("its footer cannot be read") from None
    if any(list(group.chunks) != names for group in groups):
        raise Malformed("its columns are named in two ways")
    return groups


def _chunk(metadata: dict[int, Any], file_size: int) -> tuple[str, Chunk]:
    statistics = metadata.get(_STATISTICS, {})
    start, size = metadata.get(_DICTIONARY_PAGE) or metadata[_DATA_PAGE], metadata[_SIZE]
    if not 0 <= start <= start + size <= file_size:
        raise ValueError("a column outside of the file")
    (name,) = metadata[_PATH]
    least, greatest = statistics.get(_LEAST), statistics.get(_GREATEST)
    if not all(bound is None or isinstance(bound, bytes) for bound in (least, greatest)):
        raise ValueError("a bound that is no value")
    return name.decode(), Chunk(start, size, metadata[_VALUES], least, greatest)


def check_pages(data: bytes, *, values: int) -> None:
    """Check the pages of a chunk: that they fill it, hold so many values, and are what their checksums say.

    Pages without a checksum, which no export wrote, are taken as they are.

    Raises
    ------
    Malformed
        They do not.
    """
    view = memoryview(data)
    at = found = 0
    try:
        while at < len(data):
            header, at = _struct(data, at)
            end = at + header[_PAGE_SIZE]
            if not at <= end <= len(data):
                raise Malformed("a page does not end in its column")
            if _PAGE_CHECKSUM in header and zlib.crc32(view[at:end]) != header[_PAGE_CHECKSUM] % 2**32:
                raise Malformed("the checksum of a page is wrong")
            if header[_PAGE_KIND] in _VALUE_PAGES:
                found += header[_VALUE_PAGES[header[_PAGE_KIND]]][1]
            at = end
    except _UNREADABLE:
        raise Malformed("the header of a page cannot be read") from None
    if found != values:
        raise Malformed("values are missing")


# -- Thrift's compact protocol: a kind in the low half of a byte; numbers as zigzag varints. Each value takes a byte at least, so
# -- that reading damaged bytes ends.


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Read a struct: its fields by their numbers, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _integer(data, at)
        kind = head & 15
        if kind in _INTEGERS:
            fields[number], at = _integer(data, at)
        elif kind in _BOOLEANS:  # the kind is the value
            fields[number] = kind == 1
        else:
            fields[number], at = _value(data, at, kind)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in _INTEGERS:
        return _integer(data, at)
    if kind == _STRUCT:
        return _struct(data, at)
    if kind == _BINARY:
        length, at = _varint(data, at)
        return data[at : at + length], at + length
    if kind == _LIST:
        return _list(data, at)
    if kind in _BOOLEANS or kind == _BYTE:
        return data[at], at + 1
    raise ValueError(f"nothing of kind {kind} stands in a Parquet file")


def _list(data: bytes, at: int) -> tuple[list[Any], int]:
    length, kind = data[at] >> 4, data[at] & 15
    at += 1
    if length == 15:
        length, at = _varint(data, at)
    values = []
    for _ in range(length):
        value, at = _value(data, at, kind)
        values.append(value)
    return values, at


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    if value < 128:  # most are small
        return value >> 1 ^ -(value & 1), at + 1
    value, at = _varint(data, at)
    return value >> 1 ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
