"""Measure a series of states against one full history of the same entities, in one run.

usage: python -m tests.bench.series [--lake DIR] [--events N] [--streams S] [--steps N] [--repeat R]

Method. The lake is written for this, over a year, and thrown away, or is one of ``tests.bench.replay``; nothing is materialised.
``history`` is ``wb.history`` of all entities in memory. ``series`` measures four things, one of them not a number, at about so many steps:
days, or hours where the lake spans fewer days. Each runs in turn, as often as ``--repeat`` says, in one process that has answered both
once before; the ratios are of the medians, of wall clock and of processor time, since machines are shared. ``direct`` is what the steps
would take one by one: the state at one step in the middle, times their number.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

import workbench as wb
from tests.bench.users import User, write_lake
from workbench.analysis.series import Every
from workbench.timeline import Timeline

MEASURES = (pl.len(), pl.col("paid").sum(), pl.col("fees").mean(), pl.col("city").n_unique())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", type=Path, help="a lake of tests.bench.replay; without it one is written")
    parser.add_argument("--events", type=int, default=5_000_000, help="events in the lake that is written (default: 5,000,000)")
    parser.add_argument("--streams", type=int, default=100_000, help="and streams (default: 100,000)")
    parser.add_argument("--steps", type=int, default=365, help="steps at least, if the lake spans so many hours (default: 365)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the median counts")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as scratch:
        lake = asked.lake or Path(scratch) / "lake"
        if asked.lake is None:
            write_lake(lake, asked.events, streams=asked.streams, clustered=True, days=asked.steps)
        _compare(wb.open(lake).timeline, steps=asked.steps, repeat=asked.repeat)
    return 0


def _compare(now: Timeline, *, steps: int, repeat: int) -> None:
    [(days,)] = now.sql("SELECT date_diff('day', min(recorded_at), max(recorded_at)) FROM events").fetchall()
    every: Every = "1d" if days >= steps else "1h"
    per_day = 1 if every == "1d" else 24
    bound = now if days * per_day <= steps else _last(now, hours=steps * 24 // per_day)
    tasks: dict[str, Callable[[], pl.DataFrame]] = {
        "history": lambda: wb.history(User, now),
        "series": lambda: wb.series(User, bound, *MEASURES, every=every),
    }
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for turn in range(repeat + 1):
        for name, task in tasks.items():
            wall, processor = time.perf_counter(), time.process_time()
            found = task()
            if turn:
                runs[name].append((time.perf_counter() - wall, time.process_time() - processor))
            height = found.height
            del found
            if turn == 0:
                print(f"{name}: {height:,} rows")
    walls, processors = ({name: statistics.median(run[kind] for run in found) for name, found in runs.items()} for kind in (0, 1))
    for name in tasks:
        print(f"{name:<10}{walls[name]:>8.2f} s, {processors[name]:.2f} s of processor time")
    ratios = [measured["series"] / measured["history"] for measured in (walls, processors)]
    print(f"series / history: {ratios[0]:.2f}, of processor time {ratios[1]:.2f}")
    found = tasks["series"]()
    middle = found["at"][found.height // 2]
    began = time.perf_counter()
    state = wb.state(User, now.upto(middle, stale=True)).select(MEASURES)
    one = time.perf_counter() - began
    assert state.row(0) == found.row(found.height // 2)[2:]
    print(f"direct    {one * found.height:>8.0f} s, {found.height:,} states of {one:.2f} s")
    print(f"peak memory, of both: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:,.0f} MB")


def _last(now: Timeline, *, hours: int) -> Timeline:
    """Look at the last hours only."""
    [(since,)] = now.sql(f"SELECT max(recorded_at) - INTERVAL {hours} HOUR FROM events").fetchall()
    return now.after(since, stale=True)


if __name__ == "__main__":
    sys.exit(main())
