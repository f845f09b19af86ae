"""Short histories, told by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from tests.strategies import Recorded, frame
from workbench.fold.event_by_event.plan_fold import OnError, fold
from workbench.fold.results import FoldResult
from workbench.projection import Projection, plan_of

Told = tuple[str, Any] | tuple[str, Any, Any]
"""An event: type, data (None for bytes that are no JSON; text as it is; else what is written as JSON), metadata."""


def log(*events: Told, stream: str = "user-1") -> pl.DataFrame:
    """Return events of one stream, ten positions and one second apart."""
    return frame([_recorded(index, stream, *event) for index, event in enumerate(events)])


def mixed(*events: tuple[str, str, Any]) -> pl.DataFrame:
    """Return events of several streams: stream, type, data."""
    return frame([_recorded(index, stream, event_type, data) for index, (stream, event_type, data) in enumerate(events)])


def folded(projection: type[Projection], events: pl.DataFrame, *, history: bool = False, errors: OnError = "raise") -> FoldResult:
    """Fold by the projection's plan."""
    return fold(plan_of(projection), events, history=history, errors=errors)


def one(projection: type[Projection], *events: Told) -> dict[str, Any]:
    """Return the state of the only entity after events of one stream."""
    state = folded(projection, log(*events)).state
    assert state.height == 1
    return state.row(0, named=True)


def column(result: pl.DataFrame, name: str) -> Sequence[Any]:
    """Return a column as a list."""
    return result[name].to_list()


def _recorded(index: int, stream: str, event_type: str, data: Any, metadata: Any = None) -> Recorded:
    return Recorded(
        stream=stream,
        revision=index,
        type=event_type,
        position=10 * (index + 1),
        prepare_position=10 * (index + 1),
        recorded_at=1_700_000_000_000_000 + index * 1_000_000,
        data=data if data is None or isinstance(data, str) else json.dumps(data),
        metadata=None if metadata is None else json.dumps(metadata),
    )
