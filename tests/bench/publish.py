"""Measure what a publication of all types costs against DuckDB's own copy of the raw table, and what schemas cost, in one run.

usage: python -m tests.bench.publish [--events N] [--streams S] [--repeat R] [--lake DIR]

Method. The lake is that of ``tests.bench.users``, clustered: events of about 300 bytes of eight types with five to seven fields. Each
figure is a process of its own, and the runs alternate; ratios are of medians, of wall time and of the processors' time, since absolute
times of shared machines mean little. ``copy`` is DuckDB alone: ``COPY (SELECT * FROM read_parquet(...)) TO 'raw.parquet'`` over the same
files, with its defaults. ``publish`` looks at every payload for its shape, and writes a typed Parquet table for each type. ``schemas``
looks at every payload, by month. Both begin with nothing known. Peak memory is that of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.users import write_lake


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5_000_000, help="events in the lake (default: 5,000,000)")
    parser.add_argument("--streams", type=int, default=100_000, help="streams in the lake (default: 100,000)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each figure; the median counts")
    parser.add_argument("--lake", type=Path, help="take this lake instead of writing one; it is only read")
    asked = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as scratch:
        lake = asked.lake
        if lake is None:
            lake = Path(scratch) / "lake"
            write_lake(lake, asked.events, streams=asked.streams, clustered=True)
        runs: dict[str, list[dict[str, Any]]] = {}
        for _ in range(asked.repeat):
            for task in TASKS:
                runs.setdefault(task, []).append(_run(task, str(lake)))
    _say(runs)
    return 0


def _say(runs: dict[str, list[dict[str, Any]]]) -> None:
    def median(task: str, figure: str) -> float:
        return statistics.median(float(run[figure]) for run in runs[task])

    for task in runs:
        ratios = [median(task, figure) / median("copy", figure) for figure in ("seconds", "processors")]
        wanted = " (wanted: at most 3 times)" if task == "publish" else ""
        print(
            f"  {task:<10}{median(task, 'seconds'):6.2f} s, {median(task, 'processors'):6.2f} s of processors, "
            f"peak {median(task, 'peak_mb'):,.0f} MB: {ratios[0]:.2f} and {ratios[1]:.2f} times the copy{wanted}"
        )


def copy(lake: str, scratch: str) -> dict[str, Any]:
    """DuckDB alone."""
    import duckdb

    from workbench.lake import open_lake

    files = ", ".join(f"'{file}'" for file in open_lake(lake).files())
    with duckdb.connect() as connection:
        return _timed(lambda: connection.execute(f"COPY (SELECT * FROM read_parquet([{files}])) TO '{scratch}/raw.parquet'"))


def publish(lake: str, scratch: str) -> dict[str, Any]:
    """All types, as Parquet."""
    import workbench as wb

    opened = wb.open(lake)
    return _timed(lambda: wb.publish(opened, Path(scratch) / "tables"))


def schemas(lake: str, scratch: str) -> dict[str, Any]:
    """Fields of all types, by month."""
    import workbench as wb

    opened = wb.open(lake)
    return _timed(lambda: wb.schemas(opened.timeline, every="1mo"))


def _timed(ask: Callable[[], object]) -> dict[str, Any]:
    began, before = time.perf_counter(), time.process_time()
    ask()
    return {"seconds": time.perf_counter() - began, "processors": time.process_time() - before}


def _run(task: str, lake: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.publish", "--task", task, lake]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent.parent)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


TASKS: dict[str, Callable[[str, str], dict[str, Any]]] = {task.__name__: task for task in (copy, publish, schemas)}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--task"]:
        with tempfile.TemporaryDirectory(prefix="workbench-bench-") as folder:
            found = TASKS[sys.argv[2]](sys.argv[3], folder)
        # On Linux in kB. The work is done by threads of this one process, so this is the whole of it.
        print(json.dumps(found | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}))
    else:
        sys.exit(main())
