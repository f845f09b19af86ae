"""Defines the format of a lake: its identity, its checkpoint, and the names and statistics of its files.

A lake is a directory with one Delta table, ``events``. The table's configuration holds the format, the store and the selection. Delta's
application transactions hold the checkpoint, so that it commits together with the data and survives the clean-up of Delta's log.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from workbench.errors import LakeDamaged, LakeNotFound
from workbench.events import FIRST_TICKS, LAST_TICKS, Checkpoint, Selection, Store
from workbench.lake.files.integrity import check_value

FORMAT_VERSION = 3
"""The version of the lake's format. It increases when an older workbench could misread what a newer one writes.

Format 1 does not record whether a lake holds the server's own streams; it always does. Up to format 2, Delta's log has no check values.
Both can be read; the next export, or ``workbench upgrade``, upgrades them to format 3.
"""

SUMMED_SINCE = 3
"""The format from which the log carries the sums of `workbench.lake.files.sums` and a check value of the table's configuration."""

TABLE = "events"
EXPORT, CLUSTER = "export", "cluster"
"""The application transactions that guard exports and clusterings: each commit increments the version of its own."""

_OWN = "workbench."
_FORMAT, _STORE, _SELECTION, _CHECK = "workbench.format", "workbench.store", "workbench.selection", "workbench.check"
_NAMES_OF_SELECTION = ("streams", "categories", "types")
_LEADER = "workbench.leader"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

STATISTICS = ("position", "prepare_position", "stream", "category", "revision", "type", "recorded_at", "recorded_ticks")
"""The columns with minimum and maximum in Delta and Parquet. Payloads would only bloat both."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The store and the selection from which a lake is copied."""

    store: Store
    selection: Selection


def table_configuration(identity: Identity) -> dict[str, str]:
    """Return the configuration with which a lake's table is created.

    ``delta.appendOnly`` makes every Delta writer refuse to delete or overwrite rows; rewrites that keep the rows are still allowed.
    """
    return {
        "delta.appendOnly": "true",
        "delta.checkpointInterval": "50",
        **checked_changes(
            {},
            {
                **format_configuration(),
                **store_configuration(identity.store),
                _SELECTION: json.dumps(_selection_parts(identity.selection), sort_keys=True),
            },
        ),
    }


def format_configuration() -> dict[str, str]:
    """Return the part of the configuration that holds the lake's format."""
    return {_FORMAT: str(FORMAT_VERSION)}


def format_of(configuration: Mapping[str, str]) -> int:
    """Return the format of a lake that `identity_of` has accepted."""
    return int(configuration[_FORMAT])


def checked_changes(configuration: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """Return changes of a table's configuration together with the new check value of the configuration."""
    changed = {**configuration, **changes}
    return {**changes, _CHECK: _check(changed)} if format_of(changed) >= SUMMED_SINCE else dict(changes)


def _check(configuration: Mapping[str, str]) -> str:
    own = {name: value for name, value in configuration.items() if name.startswith(_OWN) and name != _CHECK}
    return check_value(own).hex()


def store_configuration(store: Store) -> dict[str, str]:
    """Return the part of the configuration that names the store."""
    return {_STORE: json.dumps(asdict(store), sort_keys=True)}


def _selection_parts(selection: Selection) -> dict[str, list[str] | bool]:
    return {**{part: sorted(set(getattr(selection, part))) for part in _NAMES_OF_SELECTION}, "system": selection.system}


def identity_of(path: str, configuration: Mapping[str, str]) -> Identity:
    """Read the identity of a lake from its table's configuration.

    Raises
    ------
    LakeNotFound
        The table is not a lake's, or a newer workbench wrote it.
    LakeDamaged
        The configuration differs from what was written.
    """
    written = configuration.get(_FORMAT)
    if written is None:
        raise LakeNotFound(f"{path} holds a Delta table that is not a lake: choose another directory.")
    if not written.isdigit() or int(written) > FORMAT_VERSION:
        raise LakeNotFound(
            f"{path} is a lake of format {written}, but this workbench reads format {FORMAT_VERSION}: upgrade the workbench."
        )
    if int(written) >= SUMMED_SINCE and configuration.get(_CHECK) != _check(configuration):
        raise LakeDamaged(
            f"The log of the lake {path} is damaged, {TABLE}/_delta_log: what the lake says of itself is not what was written. "
            "Restore it, or export into a new directory."
        )
    try:
        store = Store(**json.loads(configuration[_STORE]))
        selection = Selection.of_fields({"system": True, **json.loads(configuration[_SELECTION])})
    except (KeyError, TypeError, ValueError) as error:
        raise LakeDamaged(f"{path} does not say which store it is a copy of: export into a new directory.") from error
    return Identity(store=store, selection=selection)


def leader_configuration(leader: str | None) -> dict[str, str]:
    """Return the part of the configuration that names the leader to read instead of a follower; see `leader_of`."""
    return {_LEADER: json.dumps(leader)}


def leader_of(configuration: Mapping[str, str]) -> str | None:
    """Return the cluster's leader, as host and port, if the last export read a follower that could not tell whether it was up to date.

    None if the follower could, or the leader was read; empty if the leader was not known.
    """
    leader: str | None = json.loads(configuration.get(_LEADER, "null"))
    return leader


def accepts_selection(held: Selection, asked: Selection) -> bool:
    """Whether an export with one selection may continue a lake that holds another.

    An empty selection fits any lake. Names must be the same, in any order. If system streams are asked for, the lake must hold them; if
    not, the lake may still hold them.
    """
    same_names = all(set(getattr(held, part)) == set(getattr(asked, part)) for part in _NAMES_OF_SELECTION)
    return not asked or (same_names and (held.system or not asked.system))


def checkpoint_transactions(checkpoint: Checkpoint, *, serial: int) -> dict[str, int]:
    """Return the application transactions, name to signed 64-bit version, that hold a checkpoint.

    ``serial`` is the guard: two writers that start from the same commit use the same application ids, so Delta lets only the first
    commit.
    """
    event_id = UUID(checkpoint.event_id).int
    return {
        EXPORT: serial,
        f"{EXPORT}.position": checkpoint.position,
        f"{EXPORT}.prepare_position": checkpoint.prepare_position,
        f"{EXPORT}.event_id.high": signed(event_id >> 64),
        f"{EXPORT}.event_id.low": signed(event_id & (2**64 - 1)),
        f"{EXPORT}.complete_until": (checkpoint.complete_until - _EPOCH) // _MICROSECOND,
    }


def checkpoint_from(version_of: Callable[[str], int | None]) -> Checkpoint | None:
    """Read a checkpoint from application transactions; None if nothing was exported yet."""
    if version_of(EXPORT) is None:
        return None

    def version(part: str) -> int:
        value = version_of(f"{EXPORT}.{part}")
        if value is None:
            raise LakeDamaged(f"The lake's checkpoint has no {part}: export into a new directory.")
        return value

    event_id = (version("event_id.high") % 2**64 << 64) | version("event_id.low") % 2**64
    return Checkpoint(
        position=version("position"),
        prepare_position=version("prepare_position"),
        event_id=str(UUID(int=event_id)),
        complete_until=_EPOCH + version("complete_until") * _MICROSECOND,
    )


def signed(value: int) -> int:
    """Reinterpret an unsigned 64-bit number as a signed one, which Delta can hold."""
    return value - 2**64 if value >= 2**63 else value


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file of a version of the lake, with its statistics; bounds are inclusive."""

    path: str
    bytes: int
    rows: int
    first_position: int
    last_position: int
    first_prepare: int
    first_ticks: int
    last_ticks: int
    least_stream: str
    greatest_stream: str
    least_category: str
    greatest_category: str
    least_type: str
    greatest_type: str
    epoch: tuple[int, int] | None
    """The first and last position of the epoch to which the file belongs; None for a sorted run."""
    digest: int = 0
    """The SHA-256, as a number, of the file's entry in the log: name, size, rows and all bounds."""

    @property
    def content_digest(self) -> str | None:
        """The digest of the file's footer, which holds the digests of its data; None for a file without digests."""
        name = FileName.parse(self.path)
        return None if name is None else name.digest

    @property
    def has_undated(self) -> bool:
        """Whether some of the events are undated, see ``EVENT_SCHEMA``; then the bounds of ticks need not be valid instants."""
        return self.first_ticks < FIRST_TICKS or self.last_ticks > LAST_TICKS

    @property
    def range(self) -> tuple[int, int]:
        """The range of positions of the run or of the whole epoch."""
        return self.epoch or (self.first_position, self.last_position)

    @property
    def order(self) -> tuple[int, int, int, int]:
        """The sort key of runs and epochs by log order, and of the files in one epoch by streams.

        Two runs share a position if a batch ended inside an explicit transaction; then the prepare position decides.
        """
        name = FileName.parse(self.path)
        if self.epoch is not None and name is not None:
            return (*self.epoch, -1, name.part)
        return (*self.range, self.first_prepare, 0)


_NAME = re.compile(
    r"(?P<kind>run|epoch)-(?P<first>\d+)-(?P<last>\d+)-(?P<part>\d+)-(?P<token>[0-9a-f]+)(-(?P<digest>[0-9a-f]{32}))?\.parquet"
)


@dataclass(frozen=True, slots=True)
class FileName:
    """The name of a file, which describes its contents.

    >>> FileName("run", 17, 4711, 0, "c0ffeec0ffee", "0" * 32).text
    'run-17-4711-0-c0ffeec0ffee-00000000000000000000000000000000.parquet'

    Attributes
    ----------
    token
        Makes the name unique, because two writers may write the same file at the same time.
    digest
        The digest of the content, see `workbench.lake.files.parquet`; None for files up to format 2.
    """

    kind: str
    first: int
    last: int
    part: int
    token: str
    digest: str | None = None

    @property
    def text(self) -> str:
        digest = "" if self.digest is None else f"-{self.digest}"
        return f"{self.kind}-{self.first}-{self.last}-{self.part}-{self.token}{digest}.parquet"

    @classmethod
    def parse(cls, text: str) -> FileName | None:
        found = _NAME.fullmatch(text)
        if found is None:
            return None
        return cls(found["kind"], int(found["first"]), int(found["last"]), int(found["part"]), found["token"], found["digest"])


def data_files(table: DeltaTable) -> tuple[DataFile, ...]:
    """Return the files that a table names, in log order; within an epoch in the order of streams."""
    found = pa.table(table.get_add_actions(flatten=True))
    for number, column in enumerate(found.schema):
        if pa.types.is_timestamp(column.type):  # in microseconds: Python knows no instants after the year 9999, and is slow with others
            found = found.set_column(number, column.name, found.column(number).cast(pa.timestamp("us", "UTC")).cast(pa.int64()))
    actions = found.to_pylist()
    return tuple(sorted((data_file(action) for action in actions), key=lambda file: file.order))


def in_log_order(files: Iterable[DataFile]) -> Iterator[tuple[DataFile, ...]]:
    """Group files, given in order, so that all events of a group come before those of the next: a run or an epoch.

    Files with overlapping positions stay together, so that a table that Spark has compacted is still read correctly.
    """
    group: list[DataFile] = []
    last = -1
    for file in files:
        if group and file.range[0] > last:
            yield tuple(group)
            group = []
        group.append(file)
        last = max(last, file.range[1])
    if group:
        yield tuple(group)


def data_file(action: Mapping[str, object]) -> DataFile:
    """Read one row of ``DeltaTable.get_add_actions(flatten=True)``.

    Raises
    ------
    LakeDamaged
        The file has no statistics, so another program added it.
    """
    path = str(action["path"])
    name = FileName.parse(path)
    try:
        return DataFile(
            path=path,
            bytes=_whole(action["size_bytes"]),
            rows=_whole(action["num_records"]),
            first_position=_whole(action["min.position"]),
            last_position=_whole(action["max.position"]),
            first_prepare=_whole(action["min.prepare_position"]),
            first_ticks=_whole(action["min.recorded_ticks"]),
            last_ticks=_whole(action["max.recorded_ticks"]),
            least_stream=_text(action["min.stream"]),
            greatest_stream=_text(action["max.stream"]),
            least_category=_text(action["min.category"]),
            greatest_category=_text(action["max.category"]),
            least_type=_text(action["min.type"]),
            greatest_type=_text(action["max.type"]),
            epoch=(name.first, name.last) if name is not None and name.kind == "epoch" else None,
            digest=_digest(action),
        )
    except (KeyError, TypeError) as error:
        raise LakeDamaged(f"The lake names a file without statistics, which an export never writes: {path}.") from error


def added_file(action: AddAction) -> DataFile:
    """Return the file that an action adds, as if read from the log."""
    statistics = json.loads(action.stats)
    found = {"path": action.path, "size_bytes": action.size, "num_records": statistics["numRecords"]}
    for kind, bounds in (("min", statistics["minValues"]), ("max", statistics["maxValues"])):
        found |= {f"{kind}.{name}": value for name, value in bounds.items()}
    for name in _BOUNDS:
        if name.endswith(".recorded_at") and found.get(name) is not None:
            found[name] = (datetime.fromisoformat(found[name]) - _EPOCH) // _MICROSECOND
    return data_file(found)


DATED = f"recorded_ticks BETWEEN {FIRST_TICKS} AND {LAST_TICKS}"
"""The condition that an event is not undated."""

_BOUNDS = tuple(f"{kind}.{name}" for name in STATISTICS for kind in ("min", "max"))


def are_dated_as_stamped(rows: pa.Table) -> bool:
    """Whether ``recorded_at`` is null exactly where the stamp is not a valid instant."""
    ticks = rows.column("recorded_ticks")
    dated = pc.and_(pc.greater_equal(ticks, FIRST_TICKS), pc.less_equal(ticks, LAST_TICKS))
    return bool(pc.all(pc.equal(dated, pc.is_valid(rows.column("recorded_at"))), min_count=0).as_py())


def _digest(action: Mapping[str, object]) -> int:
    """Return the SHA-256 of an action's description of its file; the name holds a digest of the content."""
    said = [action["path"], action["size_bytes"], action["num_records"], *map(action.get, _BOUNDS)]
    return int.from_bytes(hashlib.sha256(msgspec.json.encode(said)).digest(), "big")


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
