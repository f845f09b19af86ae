"""``Fold``: logic that a projection cannot declare, as a function ``(state, event) -> state``, run in several processes."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import polars as pl

from workbench.errors import InvalidProjection, ReplayError, ValueDoesNotFit
from workbench.fold.results import PROVENANCE, Counts, FoldResult, failures_frame
from workbench.projection import plan as ir
from workbench.projection.declaration import checked_categories, checked_key
from workbench.projection.evaluation import keying, places
from workbench.projection.expressions import Value
from workbench.projection.fingerprint import function_fingerprint
from workbench.projection.payloads import ABSENT, decoder
from workbench.projection.rows import ROW, Row, event_in_words, rows_of
from workbench.projection.values import Misfit

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORTH_A_PROCESS = 500_000
"""With fewer events, starting a process and sending its share takes longer than folding in this process."""
_decode = decoder((), whole=True, decimals=False)


class RecordedEvent:
    """An event as a fold's function sees it; payloads are decoded on first use.

    ``data`` and ``metadata`` are decoded JSON, or None if there is no JSON; the first of duplicate keys counts.
    """

    __slots__ = ("_data", "_metadata", "_row")

    def __init__(self, row: Row) -> None:
        self._row = row
        self._data: Any = ABSENT
        self._metadata: Any = ABSENT

    @property
    def stream(self) -> str:
        """The stream's name."""
        return str(self._row[0])

    @property
    def category(self) -> str:
        """The stream's category."""
        return str(self._row[1])

    @property
    def type(self) -> str:
        """The event's type."""
        return str(self._row[2])

    @property
    def revision(self) -> int:
        """The event's number in its stream."""
        return int(self._row[3])

    @property
    def position(self) -> int:
        """The event's commit position."""
        return int(self._row[4])

    @property
    def recorded_at(self) -> datetime | None:
        """When the server recorded the event, in UTC; None if its timestamp is outside the years 1 to 9999."""
        return None if self._row[5] is None else _EPOCH + timedelta(microseconds=self._row[5])

    @property
    def event_id(self) -> str:
        """The event's id."""
        return str(self._row[6])

    @property
    def data(self) -> Any:
        """The payload."""
        if self._data is ABSENT:
            self._data = None if self._row[7] is None else _decode(self._row[7])
        return self._data

    @property
    def metadata(self) -> Any:
        """The metadata."""
        if self._metadata is ABSENT:
            self._metadata = None if self._row[8] is None else _decode(self._row[8])
        return self._metadata

    @property
    def correlation_id(self) -> str | None:
        """The metadata's ``$correlationId``."""
        return None if self._row[10] is None else str(self._row[10])

    @property
    def causation_id(self) -> str | None:
        """The metadata's ``$causationId``."""
        return None if self._row[11] is None else str(self._row[11])

    def __repr__(self) -> str:
        return f"<{event_in_words(self._row)}>"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fold:
    """A Python function that folds events into state, for logic that a `Projection` cannot declare.

    Parameters
    ----------
    function
        ``(state, event) -> state``. At an entity's first event the state is ``initial``. To return None ends the entity, or does not begin
        it. The keys of a dict, or the fields of a dataclass, become the columns of the result; any other state becomes the one column
        ``state``. To fold in several processes, the function must be in a module that can be imported.
    category
        The category whose events are folded, or several (with ``key``).
    key
        Where an event says which entity it is about, such as ``event.data["userId"]``. By default, the part of the stream's name after the
        category's ``-``.
    initial
        The state before an entity's first event, copied for each entity; or a function without parameters that returns it.
    version
        A name or number that you change whenever the function changes. Without it, snapshots of the fold cannot be kept.
    state
        The type of a state, by which snapshots are read again: a class such as a dataclass, or ``dict[str, set[int]]``. States made of
        dicts, lists, texts, numbers and instants need none.

    Raises
    ------
    InvalidProjection
        ``function`` cannot be called, there is no category, or there are several and no key.

    Examples
    --------
    >>> def longest(state, event):
    ...     if event.type != "chat.message_sent":
    ...         return state
    ...     return {"longest": max(state["longest"], len(event.data["text"]))}
    >>> Longest = Fold(longest, category="room", initial={"longest": 0}, version=1)
    >>> wb.state(Longest, wb.open("data/demo").timeline).select("key", "longest").head(2)
    shape: (2, 2)
    ┌─────┬─────────┐
    │ key ┆ longest │
    │ --- ┆ ---     │
    │ str ┆ i64     │
    ╞═════╪═════════╡
    │ 1   ┆ 218     │
    │ 10  ┆ 160     │
    └─────┴─────────┘
    """

    function: Callable[[Any, RecordedEvent], Any] = field(kw_only=False)
    category: str | Sequence[str]
    key: Value | None = None
    initial: Any = None
    version: str | int | None = None
    state: Any = None

    def __post_init__(self) -> None:
        given: object = self.function
        if not callable(given):
            raise InvalidProjection(f"Fold() expects a function (state, event) -> state, got {given!r}.")
        checked_key(self.name, self.key)
        checked_categories(self.name, self.category, self.key)

    @property
    def name(self) -> str:
        """The function's name."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories whose events are folded."""
        return (self.category,) if isinstance(self.category, str) else tuple(self.category)

    def fingerprint(self) -> str | None:
        """Return a text that changes with the fold's version, category and key; None without a version."""
        named = function_fingerprint(self.function, self.version)
        initial = function_fingerprint(self.initial, self.version) if callable(self.initial) else repr(self.initial)
        return None if named is None else f"Fold({named}, {self.categories!r}, {self.key!r}, {initial})"

    def begin(self) -> Any:
        """Return the state of an entity before its first event."""
        return self.initial() if callable(self.initial) else copy.deepcopy(self.initial)


@dataclass(frozen=True, slots=True)
class Folded:
    """An entity that exists: its state, and the last event applied to it."""

    state: Any
    position: int
    revision: int
    recorded_at: int | None
    event_count: int


@dataclass(frozen=True, slots=True)
class _Part:
    """The result of one process. It has the parts of ``Folded`` in dicts by key, because creating an object per event is slow."""

    entities: dict[str, tuple[Any, int, int, int | None, int]]
    counts: Counts
    failures: list[ValueDoesNotFit]
    failed_at: list[tuple[int, int]]


def fold_function(
    fold: Fold,
    events: pl.DataFrame | Iterable[pl.DataFrame],
    *,
    initial: Mapping[str, Folded] | None = None,
    errors: Literal["raise", "collect"] = "raise",
    workers: int | None = None,
) -> tuple[FoldResult, dict[str, Folded]]:
    """Fold events by a function.

    Parameters
    ----------
    events
        Rows with the columns of ``EVENT_SCHEMA``; the events of each entity are in log order.
    initial
        The entities from a fold over earlier events, to continue from. They are not changed.
    errors
        ``"collect"`` skips events at which the function raises an error, and returns them as ``failures``.
    workers
        The number of processes; by default, as many as pay off. A function that other processes cannot import runs in this one.

    Returns
    -------
    tuple
        The result, without a history; and the entities, from which a later fold can continue.

    Raises
    ------
    ReplayError
        The states do not form one frame, or the stream has no key.
    Exception
        The function's own exception, with a note that names the event.
    """
    frame = events if isinstance(events, pl.DataFrame) else pl.concat(list(events))
    ours = frame.filter(pl.col("category").is_in(fold.categories))
    keyed, keyless = keyed_events(fold, ours)
    processes = _processes(fold, keyed.height, workers)
    held = dict(initial or {})
    if processes == 1:
        parts = [_fold_part(fold, keyed, held, collects=errors == "collect")]
    else:
        parts = _in_processes(fold, keyed, held, processes, collects=errors == "collect")
    entities = {key: Folded(*entity) for part in parts for key, entity in part.entities.items()}
    counts = sum((part.counts for part in parts), Counts(keyless=keyless))
    failures = [failure for part in parts for failure in part.failures]
    failed_at = [at for part in parts for at in part.failed_at]
    return FoldResult(_state(fold, entities), None, counts, failures_frame(failures, failed_at)), entities


def keyed_events(fold: Fold, events: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Return the events with a key, in the column ``_key``, and the number of events without one."""
    value = fold.key.value if fold.key is not None else None
    if value is None:
        key = pl.col("stream").str.slice(pl.col("category").str.len_chars() + 1)
        keyed = events.with_columns(_key=key)
        without = keyed.filter(pl.col("_key") == "").head(1)
        if without.height:
            raise ReplayError(f"{fold.name}: stream {without['stream'][0]!r} has nothing after its category and '-': declare key=.")
        return keyed, 0
    steps = [step for path in places(value) for step in path.steps if isinstance(step, str)]
    decode = decoder(steps, whole=not steps, decimals=False)
    find = keying(value)
    data, metadata = (isinstance(value, ir.Path) and value.root == root for root in ("data", "metadata"))
    keys = []
    for row in rows_of(events):
        try:
            keys.append(find(row, decode(row[7]) if data else ABSENT, decode(row[8]) if metadata else ABSENT))
        except RecursionError as error:
            raise ReplayError(f"{fold.name}: the key cannot be read because it is nested too deeply; in {event_in_words(row)}.") from error
        except Misfit as error:
            raise ReplayError(f"{fold.name}: the key cannot be read because {error.reason}; in {event_in_words(row)}.") from error
    keyed = events.with_columns(pl.Series("_key", keys, dtype=pl.String))
    kept = keyed.filter(pl.col("_key").is_not_null())
    return kept, keyed.height - kept.height


def _fold_part(fold: Fold, events: pl.DataFrame, held: Mapping[str, Folded], *, collects: bool) -> _Part:
    """Fold events that have keys, one after the other."""
    # The function may change a state in place. It must not change states that were passed in, nor the state before a failed event.
    there = {key: (copy.deepcopy(one.state), one.position, one.revision, one.recorded_at, one.event_count) for key, one in held.items()}
    applied = orphans = 0
    failures: list[ValueDoesNotFit] = []
    failed_at: list[tuple[int, int]] = []
    for key, row in zip(events["_key"].to_list(), rows_of(events), strict=True):
        before = there.get(key)
        state = fold.begin() if before is None else copy.deepcopy(before[0]) if collects else before[0]
        try:
            after = fold.function(state, RecordedEvent(row))
        except Exception as error:
            if not collects:
                error.add_note(f"in {event_in_words(row)}")
                raise
            failures.append(_failure(row, fold, error))
            failed_at.append((row[ROW.index("position")], row[ROW.index("prepare_position")]))
            continue
        if after is None:
            orphans += before is None
            applied += before is not None
            there.pop(key, None)
            continue
        applied += 1
        there[key] = (after, row[4], row[3], row[5], 1 if before is None else before[4] + 1)
    return _Part(there, Counts(applied=applied, orphans=orphans, failed=len(failures)), failures, failed_at)


def _in_processes(fold: Fold, keyed: pl.DataFrame, held: dict[str, Folded], processes: int, *, collects: bool) -> list[_Part]:
    """Fold in several processes, each with a share of the entities."""
    keys = pl.Series("_key", list(held), dtype=pl.String).to_frame().select(_share(processes)).to_series()
    shares: list[dict[str, Folded]] = [{} for _ in range(processes)]
    for share, (key, entity) in zip(keys.to_list(), held.items(), strict=True):
        shares[share][key] = entity
    # Each process maps a file of events into memory, because pickling them through a pipe takes longer than the fold. Processes are
    # spawned, since a forked process panics after deltalake was used, and all at once, so that they start while the file is written.
    with TemporaryDirectory() as folder, ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for _ in range(processes):
            pool.submit(_start)
        file = Path(folder) / "events.arrow"
        keyed.select(*ROW, "_key").write_ipc(file)
        futures = [
            pool.submit(_fold_share, fold, file, share, processes, entities, collects=collects) for share, entities in enumerate(shares)
        ]
        return [future.result() for future in futures]


def _start() -> None:
    """Do nothing. Calling it makes a process start and load this module."""


def _fold_share(fold: Fold, file: Path, share: int, processes: int, held: dict[str, Folded], *, collects: bool) -> _Part:
    return _fold_part(fold, pl.scan_ipc(file, glob=False).filter(_share(processes) == share).collect(), held, collects=collects)


def _share(processes: int) -> pl.Expr:
    """Return the number of the process that folds a key's entity."""
    return pl.col("_key").hash(seed=0) % processes


def _processes(fold: Fold, events: int, workers: int | None) -> int:
    if workers is not None and workers < 1:
        raise InvalidProjection(f"workers must be at least 1, got {workers}.")
    wanted = workers if workers is not None else min(os.cpu_count() or 1, max(1, events // _WORTH_A_PROCESS))
    if wanted == 1 or getattr(fold.function, "__module__", None) in (None, "__main__"):
        return 1
    try:
        pickle.dumps(fold)
    except (pickle.PicklingError, AttributeError, TypeError):  # a lambda, a function inside a function
        return 1
    return wanted


def _state(fold: Fold, entities: dict[str, Folded]) -> pl.DataFrame:
    rows = []
    for key, entity in sorted(entities.items()):
        columns = columns_of(entity.state)
        taken = {"key", *PROVENANCE} & columns.keys()
        if taken:
            raise ReplayError(
                f"{fold.name}: a state has the field {', '.join(sorted(taken))}, which is a column of every result: choose another name."
            )
        provenance = (entity.position, entity.revision, entity.recorded_at, entity.event_count)
        rows.append({"key": key, **columns, **dict(zip(PROVENANCE, provenance, strict=True))})
    try:
        frame = pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"key": pl.String})
    except (pl.exceptions.PolarsError, TypeError, OverflowError, ValueError) as error:
        raise ReplayError(f"{fold.name}: the states do not form one frame: {error}") from error
    if not rows:
        return pl.DataFrame(schema={"key": pl.String, **PROVENANCE})
    named = [name for name in frame.columns if name not in PROVENANCE]
    return frame.select(*named, *(pl.col(name).cast(dtype) for name, dtype in PROVENANCE.items()))


def columns_of(state: Any) -> dict[str, Any]:
    if isinstance(state, dict):
        return {str(name): value for name, value in state.items()}
    if dataclasses.is_dataclass(state) and not isinstance(state, type):
        return {one.name: getattr(state, one.name) for one in dataclasses.fields(state)}
    return {"state": state}


def _failure(row: Row, fold: Fold, error: Exception) -> ValueDoesNotFit:
    stream, _, event_type, revision, position, _, event_id, *_ = row
    return ValueDoesNotFit(
        f"{type(error).__name__}: {error}",
        stream=stream,
        revision=revision,
        position=position,
        type=event_type,
        event_id=event_id,
        field="state",
        value=f"{fold.name}(...)",
    )
