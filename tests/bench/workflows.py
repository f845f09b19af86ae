"""Measure how long it takes to follow all traces of a workflow, against DuckDB putting the same events in order, in one run.

usage: python -m tests.bench.workflows [--traces N] [--repeat R] [--keep DIR]

Method. A lake is written straight through the lake's writer: so many correlation ids with six events each on average, in three streams
each, their events mingled in the log, and as many events again without a correlation id. ``workflows`` gives all five tables. ``bare`` is
DuckDB alone over the same files: the events that have a correlation id, ordered by it and by position, into Arrow. They run in turn in one
process that has answered both once before; the medians count, and processor time beside wall clock, since machines are shared.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import workbench as wb
from workbench.events import EVENT_SCHEMA, Checkpoint, Selection, Store
from workbench.lake import LakeWriter

BATCH = 200_000
STEPS = ("order.placed", "payment.requested", "payment.settled", "parcel.packed", "parcel.sent", "order.completed")
UNDONE = ("order.placed", "payment.requested", "payment.failed", "order.cancelled")
ORDER = wb.Workflow(start="order.placed", done="order.completed", compensated="order.cancelled", failed="order.lost", stuck_after="1d")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=500_000, help="correlation ids (default: 500,000)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the median counts")
    parser.add_argument("--keep", type=Path, help="keep the lake there and use it again")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as scratch:
        lake = (asked.keep or Path(scratch)) / f"workflows-{asked.traces}"
        if not lake.exists():
            write_lake(lake, asked.traces)
        now = wb.open(lake).timeline
        bare = "SELECT correlation_id, type, position, recorded_at FROM events WHERE correlation_id IS NOT NULL ORDER BY 1, position"
        tasks: dict[str, Callable[[], Any]] = {
            "bare": lambda: now.sql(bare).to_arrow_table(),
            "workflows": lambda: wb.workflows(ORDER, now),
        }
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
        for turn in range(asked.repeat + 1):
            for name, task in tasks.items():
                wall, processor = time.perf_counter(), time.process_time()
                found = task()
                if turn:
                    runs[name].append((time.perf_counter() - wall, time.process_time() - processor))
        print(f"{now.count():,} events; {found}")
        assert found.traces.height == asked.traces
        for name, measured in runs.items():
            wall, processor = (statistics.median(run[kind] for run in measured) for kind in (0, 1))
            print(f"{name:<12}{wall:>7.2f} s, {processor:.2f} s of processor time")
        print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:,.0f} MB")
    return 0


def write_lake(path: Path, traces: int) -> None:
    """Write so many traces: nine in ten completed, the others undone, stuck half way, or repeated a step; and as much beside them."""
    chance = np.random.default_rng(11)
    ways = [*[STEPS] * 18, UNDONE, STEPS[:4], (*STEPS[:3], *STEPS[1:])]
    picked = chance.integers(0, len(ways), traces)
    lengths = np.array([len(way) for way in ways])[picked]
    trace = np.repeat(np.arange(traces), lengths)
    step = np.arange(len(trace)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    span = 90 * 86_400e6
    at = np.repeat(chance.random(traces) * span, lengths) + step * np.repeat(chance.exponential(60e6, traces), lengths)
    beside = len(trace)
    trace = np.concatenate([trace, np.full(beside, -1)])
    kinds = np.array([[(*way, *way)[number] for number in range(8)] for way in ways])
    types = np.concatenate([kinds[np.repeat(picked, lengths), step], np.full(beside, "page.seen")])
    order = np.argsort(np.concatenate([at, chance.random(beside) * span]), kind="stable")
    times = np.sort(np.concatenate([at, chance.random(beside) * span])).astype(np.int64) + 1_767_225_600_000_000
    trace, types = trace[order], types[order]
    store = Store("esdb://bench", 0, _id(0, "e"))
    with LakeWriter.open(path, store=store, selection=Selection()) as writer:
        for first in range(0, len(trace), BATCH):
            part = slice(first, first + BATCH)
            rows = _batch(first, trace[part].tolist(), types[part].tolist(), times[part])
            last = first + rows.num_rows - 1
            writer.append(rows, Checkpoint(last * 400, last * 400, _id(last, "e"), datetime(2030, 1, 1, tzinfo=UTC)))
        writer.cluster()


def _batch(first: int, traces: list[int], types: list[str], times: Any) -> pa.Table:
    count = len(traces)
    positions = np.arange(first, first + count, dtype=np.int64) * 400
    # The service is the first word of a type; each has a stream of its own for a trace, and pages are seen in few streams.
    categories = [name.partition(".")[0] for name in types]
    streams = [
        f"{category}-{trace if trace >= 0 else number % 1000}"
        for number, (category, trace) in enumerate(zip(categories, traces, strict=True))
    ]
    correlations = [None if trace < 0 else _id(trace, "c") for trace in traces]
    columns = {
        "position": positions,
        "prepare_position": positions,
        "stream": streams,
        "category": categories,
        "revision": [0] * count,
        "event_id": [_id(number, "e") for number in range(first, first + count)],
        "type": types,
        "recorded_at": pa.array(times).cast(pa.timestamp("us", tz="UTC")),
        "recorded_ticks": times * 10,
        "is_json": [True] * count,
        "data": ['{"amount": 7, "note": "of a benchmark"}'] * count,
        "metadata": [None if one is None else f'{{"$correlationId":"{one}"}}' for one in correlations],
        "data_bytes": pa.nulls(count, pa.binary()),
        "metadata_bytes": pa.array([b"" if one is None else None for one in correlations], pa.binary()),
        "correlation_id": correlations,
        "causation_id": pa.nulls(count, pa.string()),
    }
    return pa.table([pa.array(columns[field.name]).cast(field.type) for field in EVENT_SCHEMA], schema=EVENT_SCHEMA)


def _id(number: int, kind: str) -> str:
    # Like a random UUID: an id that goes up would be put in order faster than real ones.
    mixed = number * 0x9E3779B97F4A7C15 % 2**64
    return f"{mixed >> 32:08x}-{mixed >> 16 & 0xFFFF:04x}-4{ord(kind):03x}-8000-{mixed & 0xFFFF:012x}"


if __name__ == "__main__":
    sys.exit(main())
