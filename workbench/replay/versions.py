"""Versions of entities, each with the event that made it: what ``history``, ``first``, ``diff`` and ``lineage`` look at."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import polars as pl

from workbench.errors import ReplayError
from workbench.projection import plan as ir
from workbench.projection.plan import COLUMNS
from workbench.replay.engine import events_of
from workbench.replay.fold import OnError
from workbench.replay.function import Fold, RecordedEvent, columns_of, keyed_events
from workbench.replay.materialised import history_of
from workbench.replay.results import HISTORY_PROVENANCE, PROVENANCE, polars_type
from workbench.replay.rows import ROW, event_in_words, rows_of
from workbench.replay.subject import Subject
from workbench.replay.witness import WITNESSED, with_witness
from workbench.timeline import Timeline

_FOLD_WITNESS = {column: f"_{column}" for column in WITNESSED}
_TAKEN = {"key", "event_id", "event_stream", *PROVENANCE, *HISTORY_PROVENANCE, *_FOLD_WITNESS.values()}


@dataclass(frozen=True, slots=True)
class Versions:
    """Every version of every entity.

    Attributes
    ----------
    rows
        As ``results.history_schema`` says, and behind it ``event_id``, ``stream`` and ``prepare_position`` of the version's event, under
        the names that ``witness`` gives.
    fields
        The names of the entity's fields among the columns.
    """

    rows: pl.DataFrame
    fields: tuple[str, ...]
    witness: dict[str, str]

    @property
    def history(self) -> pl.DataFrame:
        """The versions as ``history`` gives them."""
        return self.rows.drop(self.witness.values())


def versions(subject: Subject, timeline: Timeline, *, key: str | None = None, errors: OnError = "raise") -> Versions:
    """Replay a timeline, as ``subject.folded`` gives it, and keep every version."""
    if isinstance(subject, Fold):
        return _of_fold(subject, timeline, key=key, errors=errors)
    traced, witness = with_witness(subject)
    rows = history_of(traced, timeline, key=key, errors=errors)
    ordered = [name for name in rows.columns if name not in witness.values()]
    return Versions(rows.select(*ordered, *witness.values()), tuple(field.name for field in subject.fields), witness)


def _of_fold(fold: Fold, timeline: Timeline, *, key: str | None, errors: OnError) -> Versions:
    """Run a fold event by event in this process, and keep a copy of every state."""
    keyed, _ = keyed_events(fold, events_of(fold, timeline, key=key).collect())
    if key is not None:
        keyed = keyed.filter(pl.col("_key") == key)
    states: dict[str, tuple[Any, int, int]] = {}  # what is there, how many events made it, and its last version
    rows: list[dict[str, Any]] = []
    fields: dict[str, None] = {}
    for name, row in zip(keyed["_key"].to_list(), rows_of(keyed), strict=True):
        stream, _, event_type, revision, position, recorded_at, event_id, *_ = row
        state, count, version = states.get(name, (None, 0, -1))
        try:
            after = fold.function(fold.begin() if version < 0 else copy.deepcopy(state), RecordedEvent(row))
        except Exception as error:
            if errors == "collect":
                continue
            error.add_note(f"in {event_in_words(row)}")
            raise
        if version >= 0:
            rows[version] |= {"valid_to_position": position, "valid_to": recorded_at}
        if after is None:
            states.pop(name, None)
            continue
        states[name] = (after, count + 1, len(rows))
        columns = columns_of(after)
        fields |= dict.fromkeys(columns)
        taken = sorted(columns.keys() & _TAKEN)
        if taken:
            raise ReplayError(f"{fold.name}: a state names {', '.join(taken)}, which every history has: choose another name.")
        rows.append(
            {
                "key": name,
                **columns,
                "event_type": event_type,
                "revision": revision,
                "event_count": count + 1,
                "valid_from_position": position,
                "valid_to_position": None,
                "valid_from": recorded_at,
                "valid_to": None,
                "_event_id": event_id,
                "_stream": stream,
                "_prepare_position": row[ROW.index("prepare_position")],
            }
        )
    own = {"key": pl.String(), **HISTORY_PROVENANCE, **{name: polars_type(ir.Kind(COLUMNS[one])) for one, name in _FOLD_WITNESS.items()}}
    try:
        frame = pl.DataFrame(rows, infer_schema_length=None) if rows else pl.DataFrame(schema=own)
    except (pl.exceptions.PolarsError, TypeError, OverflowError, ValueError) as error:
        raise ReplayError(f"{fold.name}: the states cannot be the rows of one frame: {error}") from error
    ordered = ["key", *fields, *HISTORY_PROVENANCE, *_FOLD_WITNESS.values()]
    shaped = frame.select(pl.col(name).cast(own[name]) if name in own else pl.col(name) for name in ordered)
    return Versions(shaped.sort("key", maintain_order=True), tuple(fields), _FOLD_WITNESS)
