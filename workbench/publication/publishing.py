"""``publish``: one typed table for each event type, and states and results beside them, for whoever does not ask the lake itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from workbench.errors import LakeMismatch, UsageError
from workbench.fold.resolve import Source, subject_of
from workbench.frames import as_frame
from workbench.lake.lake import Lake
from workbench.materialised.stored_file import Moment, moment_at
from workbench.payloads.shapes import ELEMENT, Known, places, shapes
from workbench.publication.catalogue import Format, Notes, PublishedTable, TableKind, by_source, noted
from workbench.publication.table_columns import EVENT_COLUMNS, columns_of, is_whole, table_name, unused
from workbench.publication.target import TableChange, Target, staging, target_of
from workbench.publication.typed_tables import Press, Staged, TableLayout, long_places
from workbench.replay.state import state
from workbench.timeline import RecordedLog, Timeline

_JSON_KINDS = frozenset({"null", "boolean", "integer", "float", "text", "array", "long"})


@dataclass(frozen=True, slots=True)
class Published:
    """What was published.

    Attributes
    ----------
    to
        The directory or file.
    position
        Up to which event of the log; None if there was none.
    tables
        One row for each table, by kind and name: ``table``, ``kind`` (``events``, ``state`` or ``result``), ``source`` (the event type, the
        projection, the result's name), ``columns``, ``rows``, ``new_rows`` (what this run added), ``anew`` (whether all rows were
        written anew), ``files`` and ``bytes`` (0 in a DuckDB file).
    """

    to: str
    format: str
    position: int | None
    tables: pl.DataFrame = field(repr=False)

    def _repr_html_(self) -> str:
        return self.tables._repr_html_()


def publish(
    history: Lake | Timeline,
    to: str | Path,
    *,
    types: Sequence[str] | None = None,
    projections: Iterable[Source] = (),
    results: Mapping[str, Any] | None = None,
    format: Format | None = None,  # noqa: A002  # the user's own word
    guard_formulas: bool = False,
) -> Published:
    """Write one typed table for each event type, and states and results beside them, for other tools.

    A table's first columns are the event's own: ``position``, ``recorded_at``, ``stream``, ``revision``, ``event_id``, ``correlation_id``,
    ``causation_id``, and ``origin`` in a what-if. The payload's columns follow. Objects are flattened: ``address.city`` becomes
    ``address_city``. Booleans, integers and other numbers have their types; integers mixed with fractions become doubles; integers beyond
    64 bits and values of several kinds become text, strings as they are. Arrays, and objects that cannot be flattened, become JSON text.
    Absent and null both become null. Rows are in the order of the lake's files.

    To publish again adds only the events after the last one published. A table whose columns they change is written anew, so that all of
    its files have the same columns; a column keeps its name. States and results are always written anew; those that are no longer given
    are removed. A what-if, and a timeline that is ``visible()``, are written anew as a whole. Everything is staged: if the process is
    killed, what was published before stays. In a directory, only the files that ``manifest.json`` names are valid.

    Parameters
    ----------
    history
        A lake, or a timeline: as of any time, selected, or a what-if.
    to
        A directory, or a file that ends in ``.duckdb``.
    types
        Only these event types, in which ``*`` stands for any run of characters. An empty list means none.
    projections
        Projections, folds or names of categories. Their states at the end of the timeline become tables: ``User_state``.
    results
        Frames, or what Polars can make a frame of, by the names of their tables.
    format
        ``"parquet"``, ``"csv"`` or ``"arrow"`` in a directory, or ``"duckdb"``. By default, it follows from ``to``.
    guard_formulas
        In CSV, put ``'`` before each text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line break. Spreadsheets may take such a
        text for a formula; other readers see one character more.

    Returns
    -------
    Published
        Its frame ``tables`` has one row for each table: name, kind, source, columns, rows, and how many rows are new.

    Raises
    ------
    UsageError
        Something else, or more of the history, was published there; or ``format`` does not fit the name of ``to``.
    LakeMismatch
        What was published there is of another lake, or of a history that was rewritten since.
    LakeBusy
        Another process publishes there, or has the DuckDB file open.
    StorageFull
        No space is left. What was published before stays.

    Examples
    --------
    >>> now = wb.open("data/demo").timeline
    >>> published = wb.publish(now, "data/registrations", types=["registration.step_*"])
    >>> published.tables.select("table", "columns", "rows")
    shape: (3, 3)
    ┌───────────────────────────────┬─────────┬──────┐
    │ table                         ┆ columns ┆ rows │
    │ ---                           ┆ ---     ┆ ---  │
    │ str                           ┆ i64     ┆ i64  │
    ╞═══════════════════════════════╪═════════╪══════╡
    │ registration_step_compensated ┆ 8       ┆ 71   │
    │ registration_step_completed   ┆ 8       ┆ 1581 │
    │ registration_step_failed      ┆ 9       ┆ 42   │
    └───────────────────────────────┴─────────┴──────┘
    """
    timeline = history.timeline if isinstance(history, Lake) else history
    snapshot = timeline.log
    target, settled = target_of(to, format)
    events = timeline if not types else timeline.types(*types)
    what = _described(events, is_none=types is not None and not types)
    goes_on = not timeline.edits and not timeline.visible_only and not timeline.follows
    states = {subject_of(one, timeline).name: one for one in projections}
    target.notes()  # refuses what is in the way, before anything is made
    with staging(target) as folder:
        before = target.notes()
        moment = None if timeline.position is None else moment_at(snapshot, timeline.position)
        if before is not None:
            _check(before, snapshot, target, what=what, form=settled, goes_on=goes_on, moment=moment)
            if before.guard_formulas != guard_formulas:
                was = "with" if before.guard_formulas else "without"
                raise UsageError(f"{target.path} was published {was} guard_formulas: do as then, or publish to another place.")
        notes = Notes(
            snapshot.table,
            what,
            settled,
            goes_on,
            position=None if moment is None else moment.position,
            event_id=None if moment is None else moment.event_id,
            events=0 if moment is None else moment.events,
            generation=1 if before is None else before.generation + 1,
            guard_formulas=guard_formulas,
        )
        with Press(folder, place=str(target.path), guard_formulas=guard_formulas) as press:
            names = _Names(before)
            is_nothing = types is not None and not types
            changes = [] if is_nothing else _events(events, before, press, names)
            for name, source in states.items():
                changes.append(_frame(state(source, timeline), "state", name, press, names.of("state", name, f"{name}_state")))
            for name, found in (results or {}).items():
                changes.append(_frame(as_frame(found, name=f"results[{name!r}]"), "result", name, press, names.of("result", name, name)))
            done = target.commit(notes, changes, before=before, press=press)
    return Published(str(target.path), settled, done.position, _told(done, changes))


def _events(timeline: Timeline, before: Notes | None, press: Press, names: _Names) -> list[TableChange]:
    """Stage what is new of each event type."""
    there = {} if before is None or not before.goes_on else {one.source: one for one in before.tables if one.kind == "events"}
    since = before.position if before is not None and there else None
    tail = (
        timeline
        if since is None
        else replace(timeline, after_position=max(since, -1 if timeline.after_position is None else timeline.after_position))
    )
    known = {name: table.known for name, table in there.items()}
    rows = _survey(tail, known)
    tables = {}
    for name, found in known.items():
        old = there.get(name)
        layout = _layout(name, found, {} if old is None else old.named, is_fork=bool(timeline.edits))
        width = len(layout.events) + len(layout.columns) + (layout.payload != "never") + layout.payload_bytes
        tables[name] = PublishedTable(names.of("events", name, table_name(name)), "events", name, 0, width, layout=layout)
    anew = {name for name in tables if name in there and not _same(there[name].layout, tables[name].layout)}
    staged = press.stage_events(tail, [_laid(tables[name]) for name in rows if name not in anew])
    if anew:
        staged |= press.stage_events(_narrowed(timeline, anew), [_laid(tables[name]) for name in sorted(anew)])
    changes = []
    for name, table in tables.items():
        old = there.get(name)
        is_anew = old is None or name in anew
        ours = staged.get(name, Staged())
        before_it = 0 if old is None or is_anew else old.rows
        files = () if old is None else old.files
        changes.append(TableChange(noted(table, known[name], rows=ours.rows + before_it, files=files), ours, is_anew))
    return sorted(changes, key=lambda change: change.table.name.casefold())


def _survey(timeline: Timeline, known: dict[str, Known]) -> dict[str, int]:
    """Take in what a timeline's payloads hold; return how many events there are of each type."""
    rows: dict[str, int] = {}
    long: dict[str, dict[tuple[str, ...], None]] = {}
    for row in shapes(timeline).iter_rows(named=True):
        type_ = row["type"]
        rows[type_] = rows.get(type_, 0) + row["events"]
        found = known.setdefault(type_, Known())
        if row["shape"] is None:
            found.take((), row["held"])
            continue
        for path, kind in places(row["shape"]):
            if ELEMENT in path:  # arrays stand as a whole
                continue
            found.take(path, kind)
            if row["digits"] == 19 and kind in ("integer", "float"):
                long.setdefault(type_, {})[path] = None
    for type_, paths in long.items():
        asked = [path for path in paths if path in known[type_].kinds and "long" not in known[type_].kinds[path]]
        for path in long_places(timeline, type_, asked):
            known[type_].take(path, "long")
    return rows


def _layout(type_: str, known: Known, named: Mapping[tuple[str, ...], str], *, is_fork: bool) -> TableLayout:
    root = known.kinds[()]
    others = bool(root & _JSON_KINDS) or "unreadable" in root
    return TableLayout(
        type_,
        (*EVENT_COLUMNS, "origin") if is_fork else EVENT_COLUMNS,
        columns_of(known, named=named),
        "always" if is_whole(known) else "others" if others else "never",
        payload_bytes="bytes" in root,
        guarded="unreadable" in root,
    )


def _same(one: TableLayout | None, other: TableLayout | None) -> bool:
    return one is not None and other is not None and replace(one, guarded=False) == replace(other, guarded=False)


def _laid(table: PublishedTable) -> TableLayout:
    assert table.layout is not None
    return table.layout


def _narrowed(timeline: Timeline, names: set[str]) -> Timeline:
    # A star in a name stands for any run of characters; what it lets in too is not staged.
    return timeline.types(*sorted(names))


def _frame(frame: pl.DataFrame, kind: TableKind, source: str, press: Press, name: str) -> TableChange:
    staged = press.stage_frame(frame)
    return TableChange(PublishedTable(name, kind, source, frame.height, frame.width), staged, is_anew=True)


def _described(timeline: Timeline, *, is_none: bool) -> str:
    """Say which events are published, whatever the end."""
    if is_none:
        return "no events"
    parts = [timeline.selection]
    if timeline.after_position is not None:
        parts.append(f"after position {timeline.after_position}")
    parts += ["with system events"] if timeline.system else []
    parts += ["with what links lead to"] if timeline.follows else []
    parts += ["without what the store hides"] if timeline.visible_only else []
    return "; ".join([*parts, *(f"what if {edit}" for edit in timeline.edits)])


def _check(before: Notes, snapshot: RecordedLog, target: Target, *, what: str, form: str, goes_on: bool, moment: Moment | None) -> None:
    """Make sure that what was published is of the same history, and that this one does not end before it."""
    if before.lake != snapshot.table:
        raise LakeMismatch(f"{target.path} was published from another lake than {snapshot.path}: publish to another place.")
    if before.format != form:
        raise UsageError(f"{target.path} was published as {before.format}, and this is {form}: publish to another place.")
    if before.what != what:
        raise UsageError(f"{target.path} holds another publication ({before.what}), and this is one of {what}: publish to another place.")
    if before.position is None or not goes_on:
        return
    if moment is None or moment.position < before.position:
        ends = "ends before the first event" if moment is None else f"ends at {moment.position}"
        raise UsageError(
            f"{target.path} was published up to position {before.position}, and this history {ends}: publish to another place."
        )
    found = moment_at(snapshot, before.position)
    if found is None or (found.position, found.event_id, found.events) != (before.position, before.event_id, before.events):
        raise LakeMismatch(
            f"{target.path} was published up to position {before.position} from a history that {snapshot.path} does not hold any more: "
            "publish to another place."
        )


@dataclass(slots=True)
class _Names:
    """Gives tables their names: the one that they have, or one that no other has."""

    before: Notes | None
    taken: set[str] = field(init=False)

    def __post_init__(self) -> None:
        tables = () if self.before is None else self.before.tables
        self.taken = {"workbench_published", *(table.name.casefold() for table in tables)}

    def of(self, kind: TableKind, source: str, wanted: str) -> str:
        old = None if self.before is None else by_source(self.before.tables).get((kind, source))
        if old is not None:
            return old.name
        name = unused(table_name(wanted), self.taken)
        self.taken.add(name.casefold())
        return name


def _told(notes: Notes, changes: list[TableChange]) -> pl.DataFrame:
    staged = {change.table.name: change for change in changes}
    rows = [
        {
            "table": table.name,
            "kind": table.kind,
            "source": table.source,
            "columns": table.columns,
            "rows": table.rows,
            "new_rows": staged[table.name].staged.rows,
            "anew": staged[table.name].is_anew,
            "files": len(table.files),
            "bytes": sum(file.bytes for file in table.files),
        }
        for table in notes.tables
    ]
    schema = {"table": pl.String, "kind": pl.String, "source": pl.String, "columns": pl.Int64, "rows": pl.Int64}
    return pl.DataFrame(rows, schema=schema | {"new_rows": pl.Int64, "anew": pl.Boolean, "files": pl.Int64, "bytes": pl.Int64})
