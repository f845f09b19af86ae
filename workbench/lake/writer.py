"""Writes a lake: each commit adds a batch of events together with its checkpoint."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake import Schema as DeltaSchema
from deltalake.transaction import AddAction
from filelock import FileLock

from workbench.errors import LakeBusy, LakeMismatch, UsageError
from workbench.events import EVENT_SCHEMA, Checkpoint, Selection, Store
from workbench.host.durable_files import take_lock
from workbench.lake.files.clustering import ClusterResult, cluster
from workbench.lake.files.file_writer import runs_of, write_run
from workbench.lake.files.format import (
    CLUSTER,
    EXPORT,
    FORMAT_VERSION,
    SUMMED_SINCE,
    FileName,
    Identity,
    accepts_selection,
    added_file,
    are_dated_as_stamped,
    checked_changes,
    checkpoint_from,
    checkpoint_transactions,
    format_configuration,
    format_of,
    identity_of,
    leader_configuration,
    leader_of,
    store_configuration,
)
from workbench.lake.files.location import Location, discard, translated
from workbench.lake.files.sums import Sum, live_files, sealed, sum_of
from workbench.lake.reading.query import Queries
from workbench.lake.reading.recorded import RecordedEvents
from workbench.lake.reading.snapshot import Snapshot

REOPEN_AFTER = 100
"""The number of commits after which the table is reopened: a DeltaTable gets slower with each commit."""

LOCK = ".writer.lock"


class LakeWriter:
    """Writes one lake; a context manager. A local lake has at most one open writer at a time.

    Examples
    --------
    >>> from workbench.events import Selection, Store
    >>> with LakeWriter.open("lake", store=Store("esdb://localhost"), selection=Selection()) as writer:
    ...     writer.checkpoint is None
    True
    """

    def __init__(self, *, place: Location, table: DeltaTable, lock: FileLock | None) -> None:
        self._place = place
        self._table = table
        self._lock = lock
        self._filesystem = place.filesystem()
        self._identity = identity_of(place.path, table.metadata().configuration)
        with translated(place.path):
            files = live_files(place.path, table)
        self._format = format_of(table.metadata().configuration)
        self._total = sum_of(place.path, EXPORT, table.transaction_version) if self._format >= SUMMED_SINCE else Sum.of(files)
        self._checkpoint = checkpoint_from(table.transaction_version)
        self._serial = table.transaction_version(EXPORT) or 0
        self._commits = 0
        self._closed = False

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        store: Store,
        selection: Selection,
        storage_options: Mapping[str, str] | None = None,
    ) -> Self:
        """Open the lake at ``path`` for writing; create it if there is none.

        An empty selection creates a lake of users' events, and accepts the selection of an existing lake.

        Raises
        ------
        LakeMismatch
            The lake holds another selection; or nothing was copied yet, and the lake was created for another store: the first events of
            the two logs differ.
        LakeNotFound
            ``path`` holds something other than a lake.
        LakeBusy
            Another writer on this machine has the lake open.
        """
        place = Location.of(path, storage_options=storage_options)
        wanted = Identity(store=store, selection=selection)
        lock = _lock(place)
        try:
            table = place.open() if place.taken() else place.create(wanted)
            writer = cls(place=place, table=table, lock=lock)
            writer._accept(wanted)
            writer._sweep()
        except BaseException:
            if lock is not None:
                lock.release()
            raise
        return writer

    @classmethod
    def reopen(cls, path: str | Path, *, storage_options: Mapping[str, str] | None = None) -> Self:
        """Open an existing lake for writing, with any store and selection.

        Raises
        ------
        LakeNotFound
            There is no lake.
        LakeBusy
            Another writer on this machine has the lake open.
        """
        place = Location.of(path, storage_options=storage_options)
        held = identity_of(place.path, place.open().metadata().configuration)
        return cls.open(path, store=held.store, selection=held.selection, storage_options=storage_options)

    @property
    def path(self) -> str:
        """Where the lake lies."""
        return self._place.path

    @property
    def store(self) -> Store:
        """The store from which the lake was copied, as recorded in the lake."""
        return self._identity.store

    @property
    def selection(self) -> Selection:
        """The selection of the store's events that the lake holds."""
        return self._identity.selection

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The last event of the log that was copied; None before the first commit."""
        return self._checkpoint

    def remember_leader(self, leader: str | None) -> None:
        """Record which node to read instead, if the node that is read cannot tell until when the lake is complete.

        ``leader`` is its host and port, or empty if they are not known; None removes the record. A change takes a separate commit.
        """
        if leader == leader_of(self._table.metadata().configuration):
            return
        self._configure(leader_configuration(leader))

    def upgrade(self) -> bool:
        """Upgrade a lake of an older format to the present one, without new events; return whether anything changed."""
        if self._format >= FORMAT_VERSION:
            return False
        with translated(self.path):
            if self._checkpoint is not None:
                self._commit([], self._checkpoint)
            self._raise_format()
        return True

    @property
    def is_empty(self) -> bool:
        """Whether the lake holds no event; the selection may have left out all events of the log."""
        return not self._table.file_uris()

    def recorded(self) -> RecordedEvents:
        """Return the events that the lake holds now."""
        return RecordedEvents(Snapshot.newest(self._place, rule="first", queries=Queries(self._place, rule="first")))

    def append(self, batch: pa.Table, checkpoint: Checkpoint) -> None:
        """Add events and move the checkpoint, in one atomic commit.

        Parameters
        ----------
        batch
            Rows of ``EVENT_SCHEMA`` in log order, later than the present checkpoint; may be empty.
        checkpoint
            The last event seen; at or after the last row.

        Raises
        ------
        LakeBusy
            Another writer committed first. Nothing of the batch was kept.
        StorageFull
            No room was left. Nothing of the batch was kept.
        UsageError
            The rows have another schema, are out of order, or were written before; or the writer is closed.
        """
        self._check(batch, checkpoint)
        names: list[str] = []
        with translated(self.path):
            try:
                actions = self._write(batch, names)
                self._place.settle(names)
                if batch.column("recorded_at").null_count:
                    self._allow_undated()
            except BaseException:
                discard(self._place, self._filesystem, names)
                raise
            try:
                self._commit(actions, checkpoint)
            except BaseException as error:
                discard(self._place, self._filesystem, names, after=error)
                raise
            self._commits += 1
            if self._format < FORMAT_VERSION:
                self._raise_format()
            elif self._commits % REOPEN_AFTER == 0:
                self._table = self._place.open()
            else:
                self._table.update_incremental()
            self._place.settle([f"_delta_log/{self._table.version():020}.json"])

    def cluster(self) -> ClusterResult:
        """Merge sorted runs into epochs where that pays off; the time is proportional to the new data.

        Readers with the old list of files can still read them until a `vacuum`.

        Raises
        ------
        LakeBusy
            Another clusterer, on another machine, committed first.
        """
        self.upgrade()
        return cluster(self._place)

    def vacuum(self, *, older_than: timedelta = timedelta(days=1)) -> int:
        """Delete files that the newest version no longer names and that were replaced or abandoned longer ago than ``older_than``.

        A reader that opened the lake before must then refresh. Returns the number of deleted files.
        """
        hours = -(-older_than // timedelta(hours=1))
        if hours < 0:
            raise UsageError(f"older_than={older_than} is negative.")
        with translated(self.path):
            table = self._place.open()
            return len(table.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True))

    def close(self) -> None:
        """Release the lake for the next writer. Everything that was appended is already committed."""
        self._closed = True
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LakeWriter of {self.path}, checkpoint {self._checkpoint}>"

    def _check(self, batch: pa.Table, checkpoint: Checkpoint) -> None:
        if self._closed:
            raise UsageError(f"This writer of the lake {self.path} is closed: open another.")
        end = (checkpoint.position, checkpoint.prepare_position)
        known = self._checkpoint
        if known is not None and end < (known.position, known.prepare_position):
            raise UsageError(f"The checkpoint {checkpoint.position} is before the lake's, {known.position}.")
        if checkpoint.complete_until.tzinfo is None:
            raise UsageError("complete_until has no time zone: give an instant in UTC.")
        if not batch.schema.equals(EVENT_SCHEMA):
            raise UsageError("The columns of the batch differ from EVENT_SCHEMA: cast it first.")
        if not batch.num_rows:
            return
        position = batch.column("position").to_numpy()
        prepare = batch.column("prepare_position").to_numpy()
        rising = (position[1:] > position[:-1]) | ((position[1:] == position[:-1]) & (prepare[1:] > prepare[:-1]))
        if not rising.all():
            raise UsageError("The batch is not in log order, by position and prepare position.")
        if known is not None and (int(position[0]), int(prepare[0])) <= (known.position, known.prepare_position):
            raise UsageError(f"The batch begins at {position[0]}, but the lake already holds the log up to {known.position}.")
        if (int(position[-1]), int(prepare[-1])) > end:
            raise UsageError(f"The batch ends at {position[-1]}, after its checkpoint {checkpoint.position}.")
        if any(batch.column(field.name).null_count for field in EVENT_SCHEMA if not field.nullable):
            raise UsageError("The batch has nulls in columns that must not be null.")
        if not are_dated_as_stamped(batch):
            raise UsageError("The batch has recorded_at where recorded_ticks is not a valid instant, or null where it is.")

    def _write(self, batch: pa.Table, names: list[str]) -> list[AddAction]:
        """Write the files of a batch; add the name of each to `names` before writing it."""
        token = secrets.token_hex(6)
        actions: list[AddAction] = []
        for part, rows in enumerate(runs_of(batch) if batch.num_rows else ()):
            actions.append(write_run(rows, names, part=part, token=token, filesystem=self._filesystem))
        return actions

    def _commit(self, actions: Sequence[AddAction], checkpoint: Checkpoint) -> None:
        total = self._total + Sum.of(added_file(action) for action in actions)
        transactions = sealed(EXPORT, checkpoint_transactions(checkpoint, serial=self._serial + 1), total)
        clusterings = self._table.transaction_version(CLUSTER)
        if self._format < SUMMED_SINCE and clusterings is not None:  # the sums of the export include what was clustered before
            transactions |= sealed(CLUSTER, {CLUSTER: clusterings + 1}, Sum())
        self._table.create_write_transaction(
            list(actions),
            mode="append",
            schema=DeltaSchema.from_arrow(EVENT_SCHEMA),
            commit_properties=CommitProperties(app_transactions=[Transaction(name, version) for name, version in transactions.items()]),
        )
        self._serial, self._checkpoint, self._total = self._serial + 1, checkpoint, total

    def _allow_undated(self) -> None:
        """Allow nulls in ``recorded_at`` of a table that was created without them."""
        if not pa.schema(self._table.schema().to_arrow()).field("recorded_at").nullable:
            self._table.alter.drop_column_not_null("recorded_at")
            self._table = self._place.open()

    def _raise_format(self) -> None:
        """Set the lake's format to the present one, after a commit has written the sums that it requires."""
        self._configure(format_configuration())
        self._format = FORMAT_VERSION

    def _configure(self, changes: Mapping[str, str]) -> None:
        """Change the table's configuration, in a separate commit."""
        with translated(self.path):
            changed = checked_changes(self._table.metadata().configuration, changes)
            self._table.alter.set_table_properties(changed, raise_if_not_exists=False)
            self._table = self._place.open()

    def _accept(self, wanted: Identity) -> None:
        """Refuse another store or another selection; record the store's first event once it is known."""
        mine, other = self._identity.store, wanted.store
        # Once events were copied, the exporter verifies the event at the checkpoint instead: the first event may have been
        # scavenged since.
        known = self._checkpoint is None and mine.first_event_id is not None and other.first_event_id is not None
        if known and (mine.first_position, mine.first_event_id) != (other.first_position, other.first_event_id):
            raise LakeMismatch(
                f"{self.path} is a copy of another store: its log ({mine.address}) begins with event {mine.first_event_id}, "
                f"but that of {other.address} begins with {other.first_event_id}. Export into another directory."
            )
        if not accepts_selection(self._identity.selection, wanted.selection):
            raise LakeMismatch(
                f"{self.path} holds {self._identity.selection}, but the export asks for {wanted.selection}. "
                "Export into another directory, or leave out the options of the selection to use the lake's own."
            )
        if mine.first_event_id is None and self._checkpoint is None and other.first_event_id is not None:
            learned = Identity(store=Store(mine.address, other.first_position, other.first_event_id), selection=self._identity.selection)
            self._configure(store_configuration(learned.store))
            self._identity = learned

    def _sweep(self) -> None:
        """Remove files that a killed export wrote after its last commit.

        Runs after the checkpoint are in no commit, and no other writer on this machine will commit them, because this writer holds the
        lock. In an object store another machine might commit them, so there they wait for `vacuum`.
        """
        if self._place.directory is None:
            return
        end = -1 if self._checkpoint is None else self._checkpoint.position
        table_files = {Path(uri).name for uri in self._table.file_uris()}
        with translated(self.path):
            for entry in Path(self._place.url).glob("run-*.parquet"):
                name = FileName.parse(entry.name)
                if name is not None and name.last > end and entry.name not in table_files:
                    entry.unlink()


def _lock(place: Location) -> FileLock | None:
    """Take the lake's lock, or fail at once; object stores have no lock and rely on Delta's conflict detection."""
    if place.directory is None:
        return None
    place.claim()
    with translated(place.path):
        return take_lock(
            place.directory / LOCK, busy=LakeBusy(f"Another export is writing to the lake {place.path}: wait until it is done.")
        )
