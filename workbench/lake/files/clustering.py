"""Clustering: merges sorted runs of one range of positions into one epoch, in files sorted by stream.

It follows the tiers of a log-structured merge tree. A unit is a run or an epoch; its tier is the order of magnitude of its size. `FAN`
neighbours of one tier, with the smaller units between them, are merged into a unit of a higher tier, until an epoch is full. So an event
is rewritten once per tier, independent of the lake's size, and an export every minute leaves a few dozen files.
"""

from __future__ import annotations

import secrets
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake import Schema as DeltaSchema
from deltalake.transaction import AddAction, RemoveAction
from pyarrow import fs

from workbench.errors import StorageFull
from workbench.events import EVENT_SCHEMA
from workbench.lake.files.file_writer import ROW_GROUP_BYTES, ROW_GROUP_ROWS, FileWriter, row_group_rows, sorted_by_stream
from workbench.lake.files.format import CLUSTER, DataFile, FileName, added_file
from workbench.lake.files.integrity import Malformed
from workbench.lake.files.location import Location, damaged, diagnosis, discard, translated, translation
from workbench.lake.files.parquet import Footer, read_footer
from workbench.lake.files.sums import Sum, live_files, sealed, sum_of

FAN = 4
"""The number of units of one tier that are merged, and the ratio of sizes between tiers."""

EPOCH_BYTES = 256 * 2**20
EPOCH_ROWS = 1_000_000
"""The maximum size of an epoch. Reading in log order sorts one epoch at a time, so this limits a reader's memory."""

FILE_BYTES = 64 * 2**20
"""The size at which a new file of an epoch begins. A file is held in memory until it is complete."""

MERGE_BYTES = 128 * 2**20
MERGE_INPUTS = 256
"""The limits of a merge: the bytes of its inputs in memory, before compression, and the number of inputs."""

_COMPRESSION = 10


@dataclass(frozen=True, slots=True)
class MergeInput:
    """A sorted run, or the files of an epoch in the order of their streams."""

    files: tuple[DataFile, ...]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def tier(self) -> int:
        """The order of magnitude of the unit's size: the power of `FAN`."""
        return (self.bytes.bit_length() - 1) // (FAN.bit_length() - 1)

    @property
    def full(self) -> bool:
        """Whether it is never merged: two of its size would not fit into an epoch, or another program wrote it in an unknown order."""
        foreign = FileName.parse(self.files[0].path) is None
        return foreign or self.bytes * 2 > EPOCH_BYTES or self.rows * 2 > EPOCH_ROWS

    @property
    def merge_bytes(self) -> int:
        """The bytes of the unit that a merge holds at a time: a row group, or all of a small unit."""
        return min(ROW_GROUP_BYTES, self.bytes * _COMPRESSION)


@dataclass(frozen=True, slots=True)
class ClusterResult:
    """The result of a clustering: the number of epochs written, of files merged and of events in them."""

    epochs: int = 0
    events: int = 0
    files_removed: int = 0
    files_added: int = 0
    bytes_added: int = 0


def units_of(files: Sequence[DataFile]) -> list[MergeInput]:
    """Group files, in the order of their positions, into runs and epochs."""
    return [MergeInput(tuple(unit)) for _, unit in groupby(files, key=lambda file: file.epoch or file.path)]


def next_merge(units: Sequence[MergeInput]) -> list[MergeInput] | None:
    """Return the neighbours to merge next, oldest first; None if the lake is sufficiently clustered."""
    for full, stretch in groupby(units, key=lambda unit: unit.full):
        if full:
            continue
        neighbours = list(stretch)
        for tier in sorted({unit.tier for unit in neighbours}):
            for small, group in groupby(neighbours, key=lambda unit, tier=tier: unit.tier <= tier):  # type: ignore[misc]
                candidates = list(group)
                if small and sum(unit.tier == tier for unit in candidates) >= FAN:
                    return _that_fit(candidates)
    return None


def _that_fit(units: Sequence[MergeInput]) -> list[MergeInput]:
    """Return as many of the oldest units as fit into one epoch and the memory of one merge: at least two, as none is full."""
    chosen: list[MergeInput] = []
    size = rows = memory = 0
    for unit in units:
        size, rows, memory = size + unit.bytes, rows + unit.rows, memory + unit.merge_bytes
        if len(chosen) > 1 and (size > EPOCH_BYTES or rows > EPOCH_ROWS or memory > MERGE_BYTES or len(chosen) == MERGE_INPUTS):
            break
        chosen.append(unit)
    return chosen


def cluster(place: Location) -> ClusterResult:
    """Merge units, one transaction for each epoch; concurrent appends succeed, a concurrent clustering conflicts.

    Raises
    ------
    LakeBusy
        Another clustering committed first; its result is kept, and the last epoch of this one is discarded.
    """
    filesystem = place.filesystem()
    total = ClusterResult()
    while True:
        # The plan, the guard and the commit use one DeltaTable object: Delta refuses the commit if another clustering committed
        # since the object was opened.
        table = place.open()
        merge = next_merge(units_of(live_files(place.path, table)))
        if merge is None:
            return total
        added = _write_epoch(place, filesystem, merge)
        removed = [file for unit in merge for file in unit.files]
        with translated(place.path):
            try:
                place.settle([action.path for action in added])
                _commit(place, table, added, removed)
            except BaseException as error:
                discard(place, filesystem, [action.path for action in added], after=error)
                raise
        total = ClusterResult(
            epochs=total.epochs + 1,
            events=total.events + sum(unit.rows for unit in merge),
            files_removed=total.files_removed + len(removed),
            files_added=total.files_added + len(added),
            bytes_added=total.bytes_added + sum(action.size for action in added),
        )


def _commit(place: Location, table: DeltaTable, added: Sequence[AddAction], removed: Sequence[DataFile]) -> None:
    now = time.time_ns() // 1_000_000
    guard = {CLUSTER: (table.transaction_version(CLUSTER) or 0) + 1}
    total = sum_of(place.path, CLUSTER, table.transaction_version) + Sum.of(map(added_file, added)) - Sum.of(removed)
    transactions = [Transaction(name, version) for name, version in sealed(CLUSTER, guard, total).items()]
    table.create_write_transaction(
        [
            *added,
            *(RemoveAction(file.path, data_change=False, deletion_timestamp=now, size=file.bytes, partition_values={}) for file in removed),
        ],
        mode="append",
        schema=DeltaSchema.from_arrow(EVENT_SCHEMA),
        commit_properties=CommitProperties(app_transactions=transactions),
    )


def _write_epoch(place: Location, filesystem: fs.FileSystem, units: Sequence[MergeInput]) -> list[AddAction]:
    """Merge units into the files of one epoch and return the actions that add them; on failure remove the files."""
    first = min(unit.files[0].range[0] for unit in units)
    last = max(unit.files[0].range[1] for unit in units)
    token = secrets.token_hex(6)
    names: list[str] = []
    actions: list[AddAction] = []
    try:
        rows = _in_row_groups(merged([_Cursor(place, filesystem, unit) for unit in units]))
        pending = next(rows, None)
        while pending is not None:
            file = FileWriter()
            while pending is not None and file.bytes < FILE_BYTES:
                file.write(pending, row_group_size=pending.num_rows)
                pending = next(rows, None)
            name = FileName("epoch", first, last, len(names), token)
            actions.append(file.finish(name, names, filesystem=filesystem, data_change=False))
    except BaseException as error:
        discard(place, filesystem, names)
        if isinstance(error, (OSError, pa.ArrowException)):
            meaning = translation(error, place.path)
            files = [file for unit in units for file in unit.files]
            raise (meaning if isinstance(meaning, StorageFull) else diagnosis(place, files) or meaning) from error
        raise
    return actions


def merged(cursors: Sequence[_Cursor]) -> Iterator[pa.Table]:
    """Merge units, given in log order, into consecutive tables in the order (category, stream), then log order.

    Each round looks a few rows ahead in every unit and takes the least stream that it finds there. All rows before that stream are known,
    so they are sorted and yielded. Rows of that stream itself are taken only from the units up to the one where it was found, because that
    unit may have more of them in its next row group, and they come before the rows of later units.
    """
    ahead = max(ROW_GROUP_ROWS // max(len(cursors), 1), 1)
    while shown := [(cursor.look(ahead), number) for number, cursor in enumerate(cursors) if cursor.left]:
        bound, owner = min(shown)
        yield sorted_by_stream(pa.concat_tables([cursors[number].take(bound, inclusive=number <= owner) for _, number in shown]))


def _in_row_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Recut a sequence of tables into row groups of the right size."""
    pending: list[pa.Table] = []
    for table in tables:
        pending.append(table)
        if sum(part.num_rows for part in pending) < ROW_GROUP_ROWS and sum(part.nbytes for part in pending) < ROW_GROUP_BYTES:
            continue
        rows = pa.concat_tables(pending)
        size = row_group_rows(rows)
        whole = rows.num_rows - rows.num_rows % size
        yield from (rows.slice(first, size) for first in range(0, whole, size))
        pending = [rows.slice(whole)]
    rest = pa.concat_tables(pending) if pending else EVENT_SCHEMA.empty_table()
    if rest.num_rows:
        yield rest


class _Cursor:
    """Iterates over a unit, one row group at a time, and returns its rows stream by stream."""

    def __init__(self, place: Location, filesystem: fs.FileSystem, unit: MergeInput) -> None:
        self._place = place
        self._filesystem = filesystem
        self._groups = self._row_groups(unit)
        self._given = 0
        self._load()

    @property
    def left(self) -> bool:
        """Whether there are rows that were not taken."""
        return bool(self._given < self._rows.num_rows)

    def look(self, rows: int) -> tuple[str, str]:
        """Return the category and stream ``rows`` rows ahead, or at the end of the current row group."""
        return self._keys[bisect_left(self._ends, min(self._given + rows, self._rows.num_rows))]

    def take(self, bound: tuple[str, str], *, inclusive: bool) -> pa.Table:
        """Return the rows up to a category and stream; load the next row group when this one is used up."""
        stop = (bisect_right if inclusive else bisect_left)(self._keys, bound)
        end = max(self._ends[stop - 1] if stop else 0, self._given)
        rows = self._rows.slice(self._given, end - self._given)
        self._given = end
        if self._groups and not self.left:
            self._load()
        return rows

    def _load(self) -> None:
        file, group, footer = self._groups.pop(0)
        with self._filesystem.open_input_file(file.path) as source:
            if self._place.directory is not None:  # a file from an object store checks itself
                self._check(source, file, group, footer)
            parquet = pq.ParquetFile(source, metadata=footer.metadata, page_checksum_verification=footer.digests is None)
            self._rows = parquet.read_row_group(group).cast(EVENT_SCHEMA)
        self._given = 0
        # The end of each stream: rows of one stream are contiguous.
        streams = pc.run_end_encode(self._rows.column("stream").combine_chunks(), run_end_type=pa.int64())
        self._ends: list[int] = streams.run_ends.to_pylist()
        categories = self._rows.column("category").take(pa.array([end - 1 for end in self._ends], pa.int64()))
        self._keys: list[tuple[str, str]] = list(zip(categories.to_pylist(), streams.values.to_pylist(), strict=True))

    def _check(self, source: pa.NativeFile, file: DataFile, group: int, footer: Footer) -> None:
        for name in footer.names:
            try:
                footer.chunk(group, name).check(source)
            except Malformed as error:
                raise damaged(self._place, file, f"{error}, in column {name}, row group {group}") from None

    def _row_groups(self, unit: MergeInput) -> list[tuple[DataFile, int, Footer]]:
        groups: list[tuple[DataFile, int, Footer]] = []
        for file in unit.files:
            try:
                with self._filesystem.open_input_file(file.path) as source:
                    footer = read_footer(source, digest=file.content_digest, columns=EVENT_SCHEMA.names)
            except Malformed as error:
                raise damaged(self._place, file, str(error)) from None
            groups += [(file, group, footer) for group in range(footer.groups)]
        return groups
