"""The event-by-event engine: executes the semantics of ``workbench.projection.plan`` literally.

It is the reference for the meaning of a projection: property tests hold the vectorised engine equal to it. It also runs every plan with
Python functions. The module is long because one class holds the state of a fold, and its methods are the steps for one event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import localcontext
from time import perf_counter_ns
from typing import Any, Literal

import polars as pl

from workbench.errors import ReplayError, ValueDoesNotFit
from workbench.fold.event_by_event.changes import Change, Undo, beginning, changing, take_back
from workbench.fold.event_by_event.upcast_run import Lifting, lifting
from workbench.fold.results import Counts, FoldResult, failures_frame, frame_of, history_schema, state_of_versions, state_schema
from workbench.projection import plan as ir
from workbench.projection.evaluation import Ask, Read, asking, columns, keying, places
from workbench.projection.payloads import ABSENT, decoder
from workbench.projection.rows import ROW, Row, event_in_words, rows_of
from workbench.projection.values import Misfit, shown

OnError = Literal["raise", "collect"]
_STREAM, _TYPE, _REVISION, _POSITION, _RECORDED_AT, _EVENT_ID, _DATA, _METADATA, _PREPARE = (
    ROW.index(name)
    for name in ("stream", "type", "revision", "position", "recorded_at", "event_id", "data", "metadata", "prepare_position")
)
_ALWAYS = frozenset({"stream", "category", "type", "revision", "position", "recorded_at", "event_id", "prepare_position"})


def fold(
    plan: ir.Plan,
    events: pl.DataFrame | Iterable[pl.DataFrame],
    *,
    initial: pl.DataFrame | None = None,
    versions: pl.DataFrame | None = None,
    history: bool = False,
    errors: OnError = "raise",
) -> FoldResult:
    """Fold events into the state of every entity.

    Parameters
    ----------
    plan
        The compiled projection.
    events
        Rows with the columns of ``EVENT_SCHEMA``, as one frame or in batches; the events of each entity are in log order.
    initial
        The state from a fold over earlier events, to continue from.
    versions
        With ``history``, instead of ``initial``: the open versions at the end of the earlier fold. They are returned again, with their
        ends if these are known now.
    history
        Whether to also return every version of every entity.
    errors
        ``"collect"`` skips events with a value that does not fit and returns them as ``failures``, instead of stopping at the first.

    Raises
    ------
    ValueDoesNotFit
        A value does not fit its field, or the stream has no key.
    ReplayError
        The events of an entity are not in log order.
    """
    folding = _Folding(plan, keeps_history=history, collects=errors == "collect")
    if versions is not None:
        folding.resume(state_of_versions(versions, plan), versions)
    elif initial is not None:
        folding.resume(initial)
    # Enough precision for exact sums of decimals: two numbers of at most 38 digits and one scale.
    with localcontext(prec=80):
        for batch in (events,) if isinstance(events, pl.DataFrame) else events:
            folding.take(batch)
    return folding.result()


@dataclass(frozen=True, slots=True)
class Step:
    """The effect of one event on one entity.

    Attributes
    ----------
    became
        The outcome under which the event is counted, see ``workbench.projection.plan``.
    values
        The fields after the event, in a result's form; None if the entity does not exist.
    count
        The number of events applied to the entity since it began; 0 if it does not exist.
    nanoseconds
        The time to decode and fold the event; 0 if its type has no handler.
    """

    row: Row
    became: str
    values: tuple[Any, ...] | None
    count: int
    nanoseconds: int
    failure: ValueDoesNotFit | None


def stepped(plan: ir.Plan, events: Iterable[pl.DataFrame], *, key: str, is_all_ours: bool, errors: OnError = "raise") -> list[Step]:
    """Fold the events of one entity one by one, and return the effect of each, in log order.

    Parameters
    ----------
    events
        Batches as for ``fold``.
    is_all_ours
        Whether all events are about the entity, as in its stream; otherwise only events of handled types with its key are.

    Raises
    ------
    ValueDoesNotFit
        A value does not fit its field.
    """
    folding = _Folding(plan, keeps_history=False, collects=errors == "collect")
    with localcontext(prec=80):
        return [step for batch in events for step in folding.steps(batch, key, is_all_ours=is_all_ours)]


def keyed(plan: ir.Plan, events: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield the events of handled types in each batch with their ``key``, which is empty if unknown; skips events without a key.

    If a user's function raises an error, the event's key is unknown and the error is dropped.
    """
    folding = _Folding(plan, keeps_history=False, collects=True)
    for batch in events:
        ours = folding.ours(batch)
        keys = pl.Series("key", [folding.key(row) for row in rows_of(ours, needed=folding.needed)], dtype=pl.String)
        yield ours.with_columns(keys).filter(pl.col("key").is_not_null())


class _Entity:
    """An entity that exists: its fields, the last event applied to it, and its last version in the history."""

    __slots__ = ("count", "position", "recorded_at", "revision", "values", "version")

    def __init__(self, values: list[Any], count: int, *, position: int, revision: int, recorded_at: int | None, version: int) -> None:
        self.values = values
        self.count = count
        self.position = position
        self.revision = revision
        self.recorded_at = recorded_at
        self.version = version


@dataclass(frozen=True, slots=True)
class _Handler:
    where: Ask | None
    changes: tuple[Change, ...]
    begins: bool
    deletes: bool


@dataclass(frozen=True, slots=True)
class _Branch:
    condition: Ask | None
    type: str
    key: Read
    handlers: tuple[_Handler, ...]
    always: bool
    """Whether no handler has a condition."""


@dataclass(frozen=True, slots=True)
class _Handled:
    data: Callable[[str | None], Any] | None
    metadata: Callable[[str | None], Any] | None
    branches: tuple[_Branch, ...]
    lift: Lifting | None

    def branch(self, row: Row, data: Any, metadata: Any) -> _Branch | None:
        """Return the branch that an event takes."""
        for branch in self.branches:
            if branch.condition is None or branch.condition(row, data, metadata) is True:
                return branch
        return None

    def branch_of(self, lifted: str) -> _Branch | None:
        """Return the branch of an upcast type."""
        return next((branch for branch in self.branches if branch.type == lifted), None)


class _Folding:
    """A fold in progress."""

    def __init__(self, plan: ir.Plan, *, keeps_history: bool, collects: bool) -> None:
        self._plan = plan
        self._history: list[tuple[Any, ...]] | None = [] if keeps_history else None
        self._ends: list[tuple[int | None, int | None]] = []
        self._collects = collects
        self._handled = {handled.type: _compiled(handled, plan) for handled in plan.types}
        compiled = self._handled.values()
        read = {"data": any(one.data for one in compiled), "metadata": any(one.metadata for one in compiled)}
        self.needed = _ALWAYS | columns(plan.types) | {name for name, is_read in read.items() if is_read}
        self._begin = beginning(plan)
        self._sets = [index for index, field in enumerate(plan.fields) if field.kind.name == "set"]
        self._entities: dict[str, _Entity] = {}
        self._became: Counter[str] = Counter()
        self._unhandled: Counter[str] = Counter()
        self._undo: Undo = []
        self._failures: list[ValueDoesNotFit] = []
        self._failed_at: list[tuple[int, int]] = []

    def resume(self, state: pl.DataFrame, versions: pl.DataFrame | None = None) -> None:
        """Start from the entities of a state, and from their versions if a history is recorded."""
        schema = state_schema(self._plan)
        if state.schema != schema:
            raise ReplayError(f"The state to continue from has the columns {state.schema}, but {self._plan.name} has {schema}.")
        names = [field.name for field in self._plan.fields]
        whole = state.select(
            pl.col(name).cast(pl.List(pl.Int64) if isinstance(dtype, pl.List) else pl.Int64) if _is_instant(dtype) else pl.col(name)
            for name, dtype in schema.items()
        )
        for row in whole.iter_rows(named=True):
            values = [row[name] for name in names]
            for index in self._sets:
                values[index] = None if values[index] is None else set(values[index])
            self._entities[row["key"]] = _Entity(
                values,
                row["event_count"],
                position=row["position"],
                revision=row["revision"],
                recorded_at=row["recorded_at"],
                version=-1,
            )
        if versions is not None and self._history is not None:
            for key, event_type in versions.select("key", "event_type").iter_rows():
                self._remember(key, self._entities[key], event_type)

    def take(self, batch: pl.DataFrame) -> None:
        """Fold a batch of events."""
        others = batch.filter(pl.col("category").is_in(self._plan.categories), ~pl.col("type").is_in(list(self._handled)))
        for name, count in others["type"].value_counts().iter_rows():
            self._unhandled[name] += count
        self._take_rows(rows_of(self.ours(batch), needed=self.needed))

    def ours(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Return the events of handled types."""
        return batch.filter(pl.col("category").is_in(self._plan.categories), pl.col("type").is_in(list(self._handled)))

    def steps(self, batch: pl.DataFrame, key: str, *, is_all_ours: bool) -> Iterator[Step]:
        """Fold a batch and yield the effect of each event about the entity; with ``is_all_ours``, all events are about it."""
        for row in rows_of(batch, needed=self.needed):
            if row[_TYPE] not in self._handled:
                if is_all_ours:
                    yield self._step(row, key, "unhandled", 0)
                continue
            if not (is_all_ours or self.key(row) in (key, "")):
                continue
            failed = len(self._failures)
            self._became.clear()
            began = perf_counter_ns()
            self._take_rows((row,))
            took = perf_counter_ns() - began
            [became] = self._became
            yield self._step(row, key, became, took, self._failures[failed:])

    def _step(self, row: Row, key: str, became: str, took: int, failures: Sequence[ValueDoesNotFit] = ()) -> Step:
        entity = self._entities.get(key)
        values = None if entity is None else tuple(self._frozen(entity.values))
        return Step(row, became, values, 0 if entity is None else entity.count, took, failures[0] if failures else None)

    def key(self, row: Row) -> str | None:
        """Return the key of an event of a handled type.

        The key is empty if it is unknown, because the event cannot be upcast or its key is invalid.
        """
        try:
            branch, data, metadata = self._branch(self._handled[row[_TYPE]], row)
            return None if branch is None else branch.key(row, data, metadata)
        except (Misfit, RecursionError):
            return ""

    def _take_rows(self, rows: Iterable[Row]) -> None:
        became, undo = self._became, self._undo
        for row in rows:
            try:
                became[self._fold(row)] += 1
            except Misfit as misfit:
                self._fail(row, misfit.reason, field=misfit.field, value=shown(misfit.value))
            except RecursionError:
                self._fail(row, "it is nested too deeply", field="event.data", value="...")
            if undo:
                undo.clear()

    def result(self) -> FoldResult:
        """Return the result of the events folded so far."""
        counts = Counts(
            applied=self._became["applied"],
            unmatched=self._became["unmatched"],
            orphans=self._became["orphan"],
            keyless=self._became["keyless"],
            failed=self._became["failed"],
            unhandled=dict(sorted(self._unhandled.items())),
        )
        state = [
            (key, *self._frozen(entity.values), entity.position, entity.revision, entity.recorded_at, entity.count)
            for key, entity in self._entities.items()
        ]
        history = None
        if self._history is not None:
            versions = [
                (*version[:-2], version[-2], end[0], version[-1], end[1]) for version, end in zip(self._history, self._ends, strict=True)
            ]
            history = frame_of(history_schema(self._plan), versions)
        return FoldResult(frame_of(state_schema(self._plan), state), history, counts, failures_frame(self._failures, self._failed_at))

    def _fail(self, row: Row, reason: str, *, field: str, value: str) -> None:
        """Record an event as failed, or stop the replay."""
        failure = ValueDoesNotFit(
            reason,
            stream=row[_STREAM],
            revision=row[_REVISION],
            position=row[_POSITION],
            type=row[_TYPE],
            event_id=row[_EVENT_ID],
            field=field,
            value=value,
        )
        if not self._collects:
            raise failure from None
        take_back(self._undo)
        self._failures.append(failure)
        self._failed_at.append((row[_POSITION], row[_PREPARE]))
        self._became["failed"] += 1

    def _fold(self, row: Row) -> str:
        """Fold one event by the six steps in ``workbench.projection.plan``, and return its outcome."""
        branch, data, metadata = self._branch(self._handled[row[_TYPE]], row)
        if branch is None:
            self._unhandled[row[_TYPE]] += 1
            return "unhandled"
        matching = branch.handlers
        if not branch.always:
            matching = tuple(one for one in matching if one.where is None or one.where(row, data, metadata) is True)
            if not matching:
                return "unmatched"
        key = branch.key(row, data, metadata)
        if key is None:
            return "keyless"
        if not key:
            raise Misfit("nothing follows the category and '-': declare key=", field="key", value=row[_STREAM])

        before = self._entities.get(key)
        if before is not None and before.position > row[_POSITION]:
            raise ReplayError(f"Events of {key!r} are not in log order: position {row[_POSITION]} comes after {before.position}.")
        values, count = (None, 0) if before is None else (before.values.copy(), before.count)
        ran = False
        for handler in matching:
            if values is None:
                if not handler.begins:
                    continue
                values, count = self._begin(), 0
            ran = True
            for change in handler.changes:
                change(values, row, data, metadata, self._undo)
            if handler.deletes:
                values = None
        if not ran:
            return "orphan"
        self._keep(key, before, values, count + 1, row)
        return "applied"

    def _branch(self, handled: _Handled, row: Row) -> tuple[_Branch | None, Any, Any]:
        """Return the branch that an event takes, and its payloads, upcast if the branch reads upcast payloads."""
        data = handled.data(row[_DATA]) if handled.data is not None else ABSENT
        metadata = handled.metadata(row[_METADATA]) if handled.metadata is not None else ABSENT
        if handled.lift is None:
            return handled.branch(row, data, metadata), data, metadata
        branch, data = self._lifted(handled, handled.lift, row, data, metadata)
        return branch, data, metadata

    def _lifted(self, handled: _Handled, lift: Lifting, row: Row, data: Any, metadata: Any) -> tuple[_Branch | None, Any]:
        """Run upcasters on an event. An error in a user's function names the event, or is collected like other failures."""
        try:
            lifted, data = lift(row, data, metadata)
        except Misfit:
            raise
        except Exception as error:
            if self._collects:
                raise Misfit(f"an upcaster's function raised {type(error).__name__}: {error}", field="event.data", value=None) from error
            error.add_note(f"in {event_in_words(row)}")
            raise
        return handled.branch_of(lifted), data

    def _keep(self, key: str, before: _Entity | None, values: list[Any] | None, count: int, row: Row) -> None:
        """Store an event's result as the entity's state, and as a version if a history is recorded."""
        if self._history is not None and before is not None and before.version >= 0:
            self._ends[before.version] = (row[_POSITION], row[_RECORDED_AT])
        if values is None:
            self._entities.pop(key, None)
            return
        if before is None:
            entity = self._entities[key] = _Entity(
                values, count, position=row[_POSITION], revision=row[_REVISION], recorded_at=row[_RECORDED_AT], version=-1
            )
        else:
            entity = before
            entity.values, entity.count = values, count
            entity.position, entity.revision, entity.recorded_at = row[_POSITION], row[_REVISION], row[_RECORDED_AT]
        if self._history is not None:
            self._remember(key, entity, row[_TYPE])

    def _remember(self, key: str, entity: _Entity, event_type: str) -> None:
        """Add the entity's current state to the history as a version."""
        assert self._history is not None
        entity.version = len(self._history)
        values = self._frozen(entity.values)
        self._history.append((key, *values, event_type, entity.revision, entity.count, entity.position, entity.recorded_at))
        self._ends.append((None, None))

    def _frozen(self, values: list[Any]) -> list[Any]:
        """Return an entity's values in a result's form, with sets ascending."""
        if not self._sets:
            return values
        frozen = values.copy()
        for index in self._sets:
            if frozen[index] is not None:
                frozen[index] = sorted(frozen[index])
        return frozen


def _compiled(handled: ir.HandledType, plan: ir.Plan) -> _Handled:
    read = list(places(handled))
    decimals = any("decimal" in (field.kind.name, field.kind.element and field.kind.element.name) for field in plan.fields)
    lifts = bool(handled.lifts)
    decoders: dict[str, Callable[[str | None], Any] | None] = {}
    for root in ("data", "metadata"):
        paths = [place for place in read if place.root == root]
        keys = [step for path in paths for step in path.steps if isinstance(step, str)]
        whole = lifts or _takes_json(handled, plan) or any(not path.steps for path in paths)
        decoders[root] = decoder(keys, whole=whole, decimals=decimals) if paths or lifts else None
    return _Handled(
        decoders["data"],
        decoders["metadata"],
        tuple(_compiled_branch(branch, plan) for branch in handled.branches),
        lifting(handled.type, handled.lifts) if lifts else None,
    )


def _compiled_branch(branch: ir.Branch, plan: ir.Plan) -> _Branch:
    handlers = tuple(
        _Handler(
            None if handler.where is None else asking(handler.where),
            tuple(changing(operation, plan.fields) for operation in handler.operations),
            handler.creates or not (plan.creates or handler.deletes),
            handler.deletes,
        )
        for handler in branch.handlers
    )
    return _Branch(
        None if branch.condition is None else asking(branch.condition),
        branch.type,
        keying(branch.key),
        handlers,
        all(handler.where is None for handler in handlers),
    )


def _takes_json(handled: ir.HandledType, plan: ir.Plan) -> bool:
    """Whether an operation reads a value that may be an object, all of whose keys matter."""
    json = {
        field.name
        for field in plan.fields
        if "json" in (field.kind.name, field.kind.element.name if field.kind.element is not None else "")
    }
    return any(operation.field in json for branch in handled.branches for one in branch.handlers for operation in one.operations)


def _is_instant(dtype: pl.DataType) -> bool:
    return isinstance(dtype.inner if isinstance(dtype, pl.List) else dtype, pl.Datetime)
