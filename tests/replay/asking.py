"""What tests of the questions share: small lakes on disk, and a choice of the engine that answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import polars as pl

from tests.strategies import Recorded, frame
from workbench.events import EVENT_SCHEMA, Checkpoint, Selection, Store
from workbench.fold import vectorised
from workbench.lake import LakeWriter, open_lake
from workbench.timeline import Timeline

COMPLETE = datetime(2030, 1, 1, tzinfo=UTC)
State = dict[str, tuple[Any, ...]]


@contextmanager
def lake_of(history: Sequence[Recorded]) -> Iterator[Timeline]:
    """Write a history as one export, and give the timeline of the lake."""
    with TemporaryDirectory() as place:
        yield timeline_in(Path(place) / "lake", history)


def timeline_in(path: Path, history: Sequence[Recorded]) -> Timeline:
    """Write a history as one export, and return the timeline of the lake."""
    first = history[0] if history else None
    store = Store("esdb://store.example:2113", first.position if first else None, _id(first) if first else None)
    writer = LakeWriter.open(path, store=store, selection=Selection())
    last = history[-1] if history else Recorded("thing-1", 0, "t", 0, 0, 0, None, None)
    rows = frame(history).to_arrow(compat_level=pl.CompatLevel.oldest())
    writer.append(rows.cast(EVENT_SCHEMA), Checkpoint(last.position, last.prepare_position, _id(last), COMPLETE))
    writer.close()
    return open_lake(path).timeline


@contextmanager
def engine(*, columns: bool) -> Iterator[None]:
    """Choose which engine answers where both could."""
    if columns:
        yield
        return
    with mock.patch.object(vectorised, "supports", return_value=False):
        yield


def event(
    position: int, type_: str, data: str | None = "{}", *, stream: str = "thing-1", revision: int | None = None, at: int | None = None
) -> Recorded:
    """Return an event whose metadata is empty; what is not said follows from the position."""
    moment = 1_700_000_000_000_000 + position * 1_000_000 if at is None else at
    return Recorded(stream, position if revision is None else revision, type_, position, position, moment, data, None)


def entities(state: pl.DataFrame, fields: Sequence[str]) -> State:
    """Return the fields of each entity by key."""
    return {row["key"]: tuple(_hashable(row[name]) for name in fields) for row in state.iter_rows(named=True)}


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _id(one: Recorded) -> str:
    return f"00000000-0000-0000-0000-{one.prepare_position:012d}"
