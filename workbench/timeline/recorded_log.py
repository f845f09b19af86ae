"""What a timeline needs of a lake, and where results come from."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyRelation
    from pyarrow import Table

    from workbench.events import CategoryRule, Cutoff
    from workbench.lake.files.format import DataFile, Identity
    from workbench.lake.files.location import Location
    from workbench.lake.reading.query import Queries
    from workbench.timeline import Timeline
    from workbench.timeline.edits import Effect
    from workbench.timeline.extraction import Extracted, Extraction, Pair


class RecordedLog(Protocol):
    """What a timeline needs of a lake: one version of its events, and methods that execute a timeline over them."""

    @property
    def path(self) -> str:
        """Where the lake lies."""

    @property
    def place(self) -> Location:
        """The same, as a directory or an object store."""

    @property
    def table(self) -> str:
        """The id of the lake's table, which no other table has."""

    @property
    def version(self) -> int:
        """The version of the table."""

    @property
    def identity(self) -> Identity:
        """Which store was copied, and what of it."""

    @property
    def rule(self) -> CategoryRule:
        """How categories are cut from the names of streams."""

    @property
    def files(self) -> tuple[DataFile, ...]:
        """The files that hold the events, in the order of their positions."""

    @property
    def queries(self) -> Queries:
        """Runs SQL over these files."""

    def resolve(self, cutoff: Cutoff, *, stale: bool) -> int | None:
        """Return the position of the last event, system events included, at or before the cutoff; None if there is none."""

    def events(self, timeline: Timeline) -> pl.LazyFrame:
        """Return the timeline's events, lazily, in log order."""

    def query(self, timeline: Timeline, sql: str, *, tables: Mapping[str, Table] | None = None) -> DuckDBPyRelation:
        """Return a lazy relation over a view ``events`` of the timeline, and over ``tables`` by name."""

    def extract(self, timeline: Timeline, extraction: Extraction) -> Extracted:
        """Give places of the payloads of the timeline's events, chunk by chunk."""

    def extract_beside(self, fork: Timeline, extraction: Extraction) -> Generator[Pair, None, None]:
        """Give the same of a what-if and, beside it, of the timeline without its edits; nothing of either is hidden."""

    def named(self, fork: Timeline, places: pl.DataFrame) -> pl.DataFrame:
        """Return the ``event_id`` of events, given their ``position`` and ``prepare_position``: of a what-if, or of what was recorded."""

    def count(self, timeline: Timeline) -> int:
        """Count the timeline's events."""

    def late(self, timeline: Timeline) -> int:
        """Count the events inside the timeline's cut whose stamp is later than the time of its cutoff."""

    def last_position(self) -> int | None:
        """Return the position of the last event in the lake."""

    def describe(self, timeline: Timeline) -> Provenance:
        """Say where results of the timeline come from; counts its events."""

    def unresolved(self, timeline: Timeline) -> int:
        """Count the links of the timeline that lead nowhere."""

    def effects(self, timeline: Timeline) -> tuple[Effect, ...]:
        """Say of each edit of the timeline what it came to."""

    def touched(self, timeline: Timeline) -> pl.DataFrame | None:
        """Return the events that the timeline's edits touch, as they were recorded and as they are now; None if there are many."""

    def added(self, timeline: Timeline) -> pl.DataFrame:
        """Return the events that the timeline's edits put somewhere, or changed, as they are then; whatever its cutoff and selection."""

    def first_touched(self, timeline: Timeline) -> int | None:
        """Return the position of the first event that the timeline's edits took away or put there; None if there is none."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a result came from: enough to make it again."""

    store: str
    lake: str
    lake_version: int
    position: int | None
    cutoff: str
    complete_until: datetime | None
    selection: str
    events: int
    late: int
    schema_version: int
    workbench_version: str
    edits: tuple[str, ...] = ()
