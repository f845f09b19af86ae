"""The vectorised engine: folds chunks of a log into state and versions."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from workbench.fold.entity_scope import keyed_by_stream
from workbench.fold.event_by_event.plan_fold import OnError, fold
from workbench.fold.results import FAILURES_SCHEMA, Counts, FoldResult, history_schema, state_schema
from workbench.fold.vectorised.chunk_steps import ChunkVersions, FieldValues, Ordered, Steps, base_of, in_order
from workbench.fold.vectorised.column_expressions import Scope
from workbench.fold.vectorised.entity_table import EntityTable, version_frame
from workbench.fold.vectorised.extraction_layout import ExtractionLayout
from workbench.fold.vectorised.field_columns import Entities
from workbench.fold.vectorised.first_edit_states import FirstEditStates
from workbench.fold.vectorised.handler_matching import HandlerMatcher, Matches, Rows, keys_of, streams_of
from workbench.fold.vectorised.json_columns import Mask, mask
from workbench.fold.vectorised.key_ids import KeyIds
from workbench.fold.vectorised.lifetimes import lifetimes_of
from workbench.fold.vectorised.operations import Outcome, Use, outcome
from workbench.projection import plan as ir
from workbench.timeline.extraction import Chunk


@dataclass(slots=True)
class Timings:
    """The time of each stage of a replay, in seconds.

    ``read`` is the time of the reader, which works ahead in its own thread; ``wait`` is the time that the engine waited for it.
    """

    read: float = 0.0
    wait: float = 0.0
    decode: float = 0.0
    order: float = 0.0
    fold: float = 0.0
    write: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, name, getattr(self, name) + time.perf_counter() - began)


Answer = TypeVar("Answer")

_MUCH = 50_000
"""From this many versions on, several threads are faster than one."""

_STRAY, _KEYLESS, _OTHER = -2, -3, -4
"""Entity numbers of rows without an entity: the key is invalid (empty, or a list), absent, or not the requested one."""


class Engine:
    """A vectorised replay in progress.

    If an event of an entity is in doubt, the event-by-event engine takes over the entity for the rest of the replay.
    """

    def __init__(
        self, plan: ir.Plan, layout: ExtractionLayout, *, key: str | None, keeps_history: bool, errors: OnError, timings: Timings
    ) -> None:
        self._plan = plan
        self._key = key
        self._keeps_history = keeps_history
        self._errors: OnError = errors
        self._timings = timings
        self._by_stream = keyed_by_stream(plan)
        self._decider = HandlerMatcher(plan, layout)
        self._carry = EntityTable(plan)
        self._json_keys = KeyIds()
        self._of_json_key: Entities = np.zeros(0, dtype=np.int64)
        self._slow = pl.DataFrame(schema=state_schema(plan))
        self._open = pl.DataFrame(schema=history_schema(plan))
        """The open versions of slow entities."""
        self._waiting: list[pl.DataFrame] = []
        """The events of slow entities in the current epoch: position, prepare position and key."""
        self._failures: list[pl.DataFrame] = []
        self._counts = Counts()
        self._marks: FirstEditStates | None = None

    def mark(self) -> FirstEditStates:
        """Also record each entity's state at its first marked event. Call it before the first chunk; histories do not support it."""
        self._marks = FirstEditStates(self._carry)
        return self._marks

    def resume(self, state: pl.DataFrame, versions: pl.DataFrame | None = None) -> None:
        """Continue from the state of an earlier replay, and from its versions if a history is recorded."""
        unfit = pl.col("key").is_in(self._carry.take_in(state))
        self._slow = state.filter(unfit)
        if versions is not None and versions.height:
            codes = {handled.type: code for code, handled in enumerate(self._plan.types)}
            entities = self._carry.entities(versions["key"])
            self._carry.code[entities] = versions["event_type"].replace_strict(codes, return_dtype=pl.Int64).to_numpy()
            self._open = versions.filter(unfit)

    def take(self, chunk: Chunk, *, pointed: Mask | None = None) -> Iterator[pl.DataFrame]:
        """Fold a chunk; if a history is recorded, yield the versions that its events ended.

        Parameters
        ----------
        pointed
            Whether each row is a marked event, see ``mark``.
        """
        rows = chunk.rows
        with self._timings.stage("decode"):
            decisions, scopes = self._decider.decide(chunk)
        with self._timings.stage("order"):
            ordered, keyless, strays = self._order(rows, decisions)
        self._counts += Counts(unmatched=decisions.unmatched, keyless=keyless, unhandled=decisions.unhandled)
        doubtful = rows.column("doubtful").to_numpy()
        bad = self._carry.slow.copy()
        bad[ordered.entities[doubtful[ordered.rows]]] = True
        yield from self._fold(rows, decisions, scopes, ordered, bad, pointed=pointed)
        with self._timings.stage("fold"):
            slow = bad[ordered.entities]
            if slow.any() or len(strays):
                self._hand_over(rows, ordered.rows[slow], ordered.entities[slow], strays)
            # In log order, so that the first failure found is the first in the log.
            if chunk.ends and self._waiting:
                yield from self._one_by_one(chunk)
        for column in self._carry.columns.values():
            column.sweep()

    def rest(self) -> Iterator[pl.DataFrame]:
        """Yield the open versions."""
        alive = np.flatnonzero(self._carry.alive & ~self._carry.slow)
        if len(alive):
            yield self._carry.versions(alive)
        if len(self._open):
            yield self._open

    def result(self, unhandled: Counter[str]) -> FoldResult:
        """Return state, counts and failures."""
        state = self._carry.state(np.flatnonzero(self._carry.alive & ~self._carry.slow))
        failures = pl.concat([*self._failures, pl.DataFrame(schema=FAILURES_SCHEMA)])
        counts = self._counts + Counts(unhandled=unhandled)
        return FoldResult(pl.concat([state, self._slow]).sort("key"), None, counts, failures)

    def _order(self, rows: pa.Table, decisions: Matches) -> tuple[Ordered, int, Rows]:
        """Order the matching rows by entity and log.

        Also return the number of rows without a key, and the rows that fail because their key is invalid: their stream gives none, it is a
        list or an object, or their payload cannot be decoded.
        """
        entity = np.full(rows.num_rows, _OTHER, dtype=np.int64)
        if decisions.keyed_by_stream:
            by_stream = np.zeros(rows.num_rows, dtype=np.bool_)
            for matching in decisions.keyed_by_stream:
                by_stream[matching] = True
            names, starts = streams_of(rows)
            if len(self._plan.categories) == 1:
                keys = names.str.slice(len(self._plan.categories[0]) + 1)
            else:
                keys = names.str.slice(pl.Series(rows.column("category")).gather(starts).str.len_chars() + 1)
            numbers = self._entities(keys)
            entity = np.where(by_stream, np.repeat(numbers, np.diff(np.append(starts, rows.num_rows))), _OTHER)
        for matching, keys in decisions.keys:
            entity[matching] = self._entities(keys)
        if decisions.json_keys:
            matching = np.concatenate([matching for matching, _ in decisions.json_keys])
            texts = pl.concat([texts for _, texts in decisions.json_keys])
            # Look up the entity of each distinct text once; no JSON text is empty.
            numbers, fresh = self._json_keys.of(texts.fill_null("") if texts.null_count() else texts)
            self._of_json_key = np.append(self._of_json_key, self._entities(keys_of(texts.gather(fresh))))
            entity[matching] = self._of_json_key[numbers]
        strays = np.concatenate([np.flatnonzero(entity == _STRAY), np.array(decisions.unreadable, dtype=np.int64)])
        return in_order(entity, rows), int(np.count_nonzero(entity == _KEYLESS)), strays

    def _entities(self, keys: pl.Series) -> Entities:
        """Return the numbers of entities by key, and a negative code for a key that is absent, empty or not the requested one."""
        if self._key is None and not keys.null_count() and not (keys == "").any():
            return self._carry.entities(keys)
        numbers = np.full(len(keys), _OTHER, dtype=np.int64)
        numbers[keys.is_null().to_numpy()] = _KEYLESS
        numbers[mask(keys == "")] = _STRAY
        wanted = mask(keys != "" if self._key is None else keys == self._key)
        numbers[wanted] = self._carry.entities(keys.filter(pl.Series(wanted)))
        return numbers

    def _fold(
        self, rows: pa.Table, decisions: Matches, scopes: list[Scope], ordered: Ordered, bad: Mask, *, pointed: Mask | None
    ) -> Iterator[pl.DataFrame]:
        timings, carry = self._timings, self._carry
        with timings.stage("order"):
            at, handlers = self._steps(rows.num_rows, decisions, ordered)
        with timings.stage("fold"):
            begins = np.array([handler.creates or not (self._plan.creates or handler.deletes) for handler in self._decider.handlers])
            deletes = np.array([handler.deletes for handler in self._decider.handlers])
            entities = ordered.entities[at]
            lives = lifetimes_of(entities, begins=begins[handlers], deletes=deletes[handlers], alive_before=carry.alive[entities])
            run = np.flatnonzero(lives.runs)
            passed = len(at) - len(run)
            steps = Steps.of(at[run], handlers[run], entities[run], lives, run) if passed else Steps.of(at, handlers, entities, lives, None)
        outcomes: dict[str, Outcome] = {}
        with timings.stage("decode"):
            uses = self._uses(steps, ordered, scopes)
            for name, column in carry.columns.items():
                if name in uses:
                    outcomes[name] = outcome(column, uses[name], lives=steps.life, base=base_of(column, steps))
                    bad[steps.entity[outcomes[name].doubtful]] = True
        with timings.stage("fold"):
            sure_rows = ~bad[ordered.entities]
            points = steps.last_of_events()
            if bad.any():
                points = points[~bad[steps.entity[points]]]
            self._counts += Counts(applied=len(points), orphans=int(np.count_nonzero(sure_rows)) - len(points))
            versions = ChunkVersions.of(steps, points, ordered, rows, carry, last_only=not self._keeps_history)
            held = {name: FieldValues(column, outcomes.get(name), steps) for name, column in carry.columns.items()}
        if self._keeps_history:
            with timings.stage("write"):
                ended = self._ended(held, versions)
            self._commit(held, versions)
            yield ended
        else:
            with timings.stage("fold"):
                if self._marks is not None and pointed is not None:
                    self._marks.go_past(steps, ordered, rows, pointed, held=held, bad=bad)
                self._commit(held, versions)

    def _steps(self, count: int, decisions: Matches, ordered: Ordered) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Return the steps, as indices into the ordered events and the numbers of handlers."""
        rank = np.full(count, -1, dtype=np.int64)
        rank[ordered.rows] = np.arange(len(ordered.rows))
        matched = [(number, rank[rows]) for number, rows in decisions.matched]
        if (rank == -1).any():
            matched = [(number, at[at >= 0]) for number, at in matched]
        if sum(len(at) for _, at in matched) == len(ordered.rows):  # each event matches one handler
            handlers = np.empty(len(ordered.rows), dtype=np.min_scalar_type(len(self._decider.handlers)))
            for number, at in matched:
                handlers[at] = number
            return np.arange(len(ordered.rows)), handlers
        keys = np.concatenate([at * len(self._decider.handlers) + number for number, at in matched])
        keys.sort()
        return np.divmod(keys, len(self._decider.handlers))

    def _uses(self, steps: Steps, ordered: Ordered, scopes: list[Scope]) -> dict[str, list[Use]]:
        uses: dict[str, list[Use]] = {}
        for number, handler in enumerate(self._decider.handlers):
            if not handler.operations:
                continue
            here = np.flatnonzero(steps.handler == number)
            if not len(here):
                continue
            scope = scopes[self._decider.type_of[number]].at(ordered.rows[steps.at[here]])
            for rank, operation in enumerate(handler.operations):
                uses.setdefault(operation.field, []).append(Use(operation, rank, here, scope))
        return uses

    def _ended(self, held: dict[str, FieldValues], versions: ChunkVersions) -> pl.DataFrame:
        """Return the versions that an event of this chunk ended, including those from earlier chunks."""
        carry = self._carry
        first = versions.first & carry.alive[versions.entity]
        carried = versions.entity[first]
        before = carry.versions(carried, ends=versions.position[first], end_times=versions.recorded_at[first])
        ended = np.flatnonzero(versions.alive & ~versions.last)
        points = versions.points[ended]
        values = _beside({name: partial(found.at, points) for name, found in held.items()}, size=len(points))
        after = version_frame(
            self._plan,
            carry.columns,
            keys=carry.keys(versions.entity[ended]),
            held=values,
            code=versions.code[ended],
            revision=versions.revision[ended],
            count=versions.count[ended],
            position=versions.position[ended],
            recorded_at=versions.recorded_at[ended],
            ends=versions.position[ended + 1] if len(ended) else None,
            end_times=versions.recorded_at[ended + 1] if len(ended) else None,
        )
        return pl.concat([before, after])

    def _commit(self, held: dict[str, FieldValues], versions: ChunkVersions) -> None:
        """Store the entities' values after their last events for the next chunk."""
        carry = self._carry
        last = np.flatnonzero(versions.last)
        carry.alive[versions.entity[last]] = versions.alive[last]
        last = last[versions.alive[last]]
        entities = versions.entity[last]
        values = {name: found.at(versions.points[last]) for name, found in held.items()}
        for name, column in carry.columns.items():
            column.put(entities, values[name])
        carry.position[entities] = versions.position[last]
        carry.revision[entities] = versions.revision[last]
        carry.recorded_at[entities] = versions.recorded_at[last]
        carry.count[entities] = versions.count[last]
        carry.code[entities] = versions.code[last]

    def _hand_over(self, rows: pa.Table, slow: Rows, entities: Entities, strays: Rows) -> None:
        """Queue entities, and events that will fail without one, for the event-by-event engine, which runs at the end of the epoch."""
        carry = self._carry
        touched = np.unique(entities)
        fresh = touched[~carry.slow[touched] & carry.alive[touched]]
        if len(fresh):
            self._slow = pl.concat([self._slow, carry.state(fresh)])
            if self._keeps_history:
                self._open = pl.concat([self._open, carry.versions(fresh)])
        carry.slow[touched] = True
        carry.alive[touched] = False
        places = pl.DataFrame(rows.select(["position", "prepare_position"]).take(pa.array(np.concatenate([slow, strays]))))
        keys = pl.concat([carry.keys(entities), pl.repeat(None, len(strays), dtype=pl.String, eager=True)])
        self._waiting.append(places.with_columns(key=keys))

    def _one_by_one(self, chunk: Chunk) -> Iterator[pl.DataFrame]:
        """Fold the queued events with the event-by-event engine."""
        waiting = pl.concat(self._waiting)
        self._waiting = []
        events = chunk.fetch(waiting)
        ours = pl.col("key").is_in(waiting["key"].unique().implode())
        before, others = self._slow.filter(ours), self._slow.filter(~ours)
        result = fold(self._plan, events, initial=before, history=self._keeps_history, errors=self._errors)
        self._counts += result.counts
        self._failures.append(result.failures)
        self._slow = pl.concat([others, result.state])
        if not self._keeps_history:
            return
        assert result.history is not None
        # The first event of an entity that does not fail ends the version before it.
        first = (
            events.join(waiting.drop_nulls("key"), on=["position", "prepare_position"], how="inner", maintain_order="left")
            .join(result.failures.select("position", "event_id"), on=["position", "event_id"], how="anti", maintain_order="left")
            .unique("key", keep="first", maintain_order=True)
            .select("key", valid_to_position="position", valid_to="recorded_at")
        )
        columns = self._open.columns
        ending = self._open.drop("valid_to_position", "valid_to").join(first, on="key", how="left", maintain_order="left").select(columns)
        versions = pl.concat([ending, result.history])
        ended = pl.col("valid_to_position").is_not_null()
        self._open = versions.filter(~ended)
        yield versions.filter(ended)


def _beside(asked: Mapping[str, Callable[[], Answer]], *, size: int) -> dict[str, Answer]:
    """Compute several fields in parallel if the work is large, because numpy uses only one thread."""
    if size < _MUCH:
        return {name: ask() for name, ask in asked.items()}
    with ThreadPoolExecutor(2, thread_name_prefix="fields") as threads:
        coming = {name: threads.submit(ask) for name, ask in asked.items()}
        return {name: answer.result() for name, answer in coming.items()}
