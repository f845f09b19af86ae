"""Logs for the tests of lake and timeline: rows as plain dictionaries, which are the oracle, and lakes made of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow as pa
from hypothesis import strategies as st

from workbench.events import EVENT_SCHEMA, FIRST_TICKS, LAST_TICKS, MAX_POSITION, Checkpoint, Selection, Store, category_of
from workbench.lake import Lake, LakeWriter, open_lake

Row = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = 17_672_256_000_000_000
"""2026-01-01T00:00:00Z in ticks of 100 ns since 1970."""

COMPLETE = datetime(2030, 1, 1, tzinfo=UTC)
STORE = Store("esdb://localhost:2113", 0, "00000000-0000-0000-0000-000000000001")

STREAMS = [
    "user-1",
    "user-2",
    "user-10",
    "user",
    "users",
    "user!-1",
    "order-eu-7",
    "order-us-7",
    "naïve-ü",
    "a\U0010ffffb-1",
    "it's-1",
    "x%_*-1",
    "long-" + "é" * 90,
    "$$user-1",
    "$settings",
    "$ce-user",
    "$svc-all",
    "$$$svc-all",
]
TYPES = ["user.created", "user.moved", "user.moved.v2", "order_paid", "Ärger", "$metadata", "$>"]


def row(
    position: int,
    stream: str,
    *,
    revision: int = 0,
    type: str = "happened",  # noqa: A002
    ticks: int | None = None,
    prepare: int | None = None,
    data: str | bytes | None = "{}",
    metadata: str | bytes | None = None,
    number: int | None = None,
) -> Row:
    """Return one event; what is not said follows from the position."""
    stamped = START + position * 10_000_000 if ticks is None else ticks
    return {
        "position": position,
        "prepare_position": position if prepare is None else prepare,
        "stream": stream,
        "category": category_of(stream),
        "revision": revision,
        "event_id": str(UUID(int=(position if number is None else number) + 1)),
        "type": type,
        "recorded_at": EPOCH + timedelta(microseconds=stamped // 10) if FIRST_TICKS <= stamped <= LAST_TICKS else None,
        "recorded_ticks": stamped,
        "is_json": isinstance(data, str),
        "data": data if isinstance(data, str) else None,
        "metadata": metadata if isinstance(metadata, str) else None,
        "data_bytes": data if isinstance(data, bytes) else None,
        "metadata_bytes": metadata if isinstance(metadata, bytes) else None,
        "correlation_id": None if position % 3 else "c",
        "causation_id": None,
    }


def table(rows: Sequence[Row]) -> pa.Table:
    """Return rows as a table of ``EVENT_SCHEMA``."""
    return pa.Table.from_pylist(list(rows), schema=EVENT_SCHEMA)


def rows_of(frame: pl.DataFrame) -> list[Row]:
    """Return a frame's rows as the oracle writes them."""
    return frame.to_dicts()


def checkpoint_at(last: Row, *, complete_until: datetime = COMPLETE) -> Checkpoint:
    """Return the checkpoint that names an event as the last one seen."""
    return Checkpoint(last["position"], last["prepare_position"], last["event_id"], complete_until)


def open_writer(path: Path | str, *, store: Store = STORE, selection: Selection = Selection()) -> LakeWriter:  # noqa: B008
    """Open a writer with the store and selection of these tests."""
    return LakeWriter.open(path, store=store, selection=selection)


def write(path: Path, rows: Sequence[Row], *, batch: int = 7, complete_until: datetime = COMPLETE) -> None:
    """Write a lake in batches of so many rows."""
    with open_writer(path) as writer:
        for first in range(0, len(rows), batch):
            piece = rows[first : first + batch]
            writer.append(table(piece), checkpoint_at(piece[-1], complete_until=complete_until))


def lake_of(path: Path, rows: Sequence[Row], *, batch: int = 7, complete_until: datetime = COMPLETE) -> Lake:
    """Write a lake and open it."""
    write(path, rows, batch=batch, complete_until=complete_until)
    return open_lake(path)


def is_system(event: Row) -> bool:
    """Tell whether a timeline leaves an event out unless it is asked for system events."""
    stream: str = event["stream"]
    return stream.startswith("$$") or stream in {"$settings", "$ce-user"} or event["type"].startswith("$")


@st.composite
def logs(draw: st.DrawFn, *, most: int = 40) -> list[Row]:
    """Draw a log: gaps between positions, transactions that share one, clocks that run backwards, all sorts of payloads."""
    rows: list[Row] = []
    revisions: dict[str, int] = {}
    position, prepare, ticks = draw(st.integers(0, 3)), 0, START
    payloads = st.one_of(st.none(), st.just(""), st.text(max_size=8).map(lambda text: f'{{"t":"{text!r}"}}'), st.binary(max_size=6))
    for number in range(draw(st.integers(0, most))):
        together = bool(rows) and draw(st.integers(0, 5)) == 0
        position += 0 if together else draw(st.integers(1, 900))
        prepare = prepare + 1 if together else position
        ticks += draw(st.integers(-40, 90)) * 7_654_321
        stream = draw(st.sampled_from(STREAMS))
        revisions[stream] = revisions.get(stream, draw(st.sampled_from([0, 0, 0, 5])) - 1) + 1
        rows.append(
            row(
                position,
                stream,
                revision=revisions[stream],
                type=draw(st.sampled_from(TYPES)),
                ticks=ticks,
                prepare=prepare,
                data=draw(payloads),
                metadata=draw(payloads),
                number=number,
            )
        )
    return rows


def cuts(rows: Sequence[Row]) -> st.SearchStrategy[list[int]]:
    """Draw where a log is cut into batches."""
    return st.lists(st.integers(0, len(rows)), max_size=6).map(lambda ends: sorted({*ends, len(rows)}))


def tombstone(position: int, stream: str) -> Row:
    """Return the event that deletes a stream for ever."""
    return row(position, stream, revision=MAX_POSITION, type="$streamDeleted")
