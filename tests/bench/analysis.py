"""Measure what a history says of itself: distribution, drift, store and activity, each against the direct query.

usage: python -m tests.bench.analysis [--events N] [--streams S] [--repeat R] [--keep DIR]

Method. A lake is written straight through the lake's writer, once as exported (a run for each 200,000 events) and once clustered: events
of about 300 bytes. Each figure is a process of its own; it asks twice and the second answer counts, so that what is measured is neither
imports nor the first check of a file's checksums. The runs of a comparison alternate, and ratios are of their medians: absolute times of
shared machines mean little. Processor time is of all threads; on idle processors, what can be shared takes their part of it.

``bare`` is the least query in DuckDB that reads the same columns of all events: for the distribution a count and a sum of the payloads'
lengths by type; for the store the first and last time and the length of each stream; for activity a count by the actor, which stands in
the payload. Everything else a question gives is what is compared with it.
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

from tests.bench.users import STEP, write_lake

HERE = Path(__file__).parent
ZONE = "Europe/Berlin"
WANTED = 2.0
BARE = {
    "distribution": "SELECT type, count(*), sum(strlen(data)) FROM events GROUP BY 1",
    "store": "SELECT stream, min(recorded_at), max(recorded_at), count(*), min(revision), max(revision) FROM events GROUP BY 1",
    "activity": "SELECT json_extract_string(data, '$.\"userId\"'), count(*) FROM events GROUP BY 1",
}
PAIRS = {
    "distribution": "distribution",
    "distribution over time": "distribution",
    "lifespans": "distribution",
    "drift": "distribution",
    "store": "store",
    "activity": "activity",
}
"""Each question, and the bare query that it is held against."""


def questions(lake: str) -> dict[str, Callable[[], object]]:
    """Return what is measured on a lake, by name."""
    import workbench as wb
    from workbench import event

    now = wb.open(lake).timeline
    half = (now.position or 0) // 2 // STEP * STEP
    return {
        "distribution": lambda: wb.distribution(now),
        "distribution over time": lambda: wb.distribution(now, every="auto", tz=ZONE),
        "lifespans": lambda: wb.lifespans(now, tz=ZONE),
        "drift": lambda: wb.drift(now.upto(position=half), now.after(position=half)),
        "store": lambda: wb.store_usage(now, tz=ZONE),
        "activity": lambda: wb.activity(now, actor=event.data["userId"], tz=ZONE),
        **{f"bare {name}": lambda sql=sql: now.sql(sql).pl() for name, sql in BARE.items()},  # type: ignore[misc]  # bound now
    }


def measure(lake: str, name: str) -> dict[str, float]:
    """Ask twice, and say what the second answer took."""
    ask = questions(lake)[name]
    ask()
    began, processor = time.perf_counter(), time.process_time()
    ask()
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    # On Linux in kB.
    return {"seconds": seconds, "processor": processor, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5_000_000, help="events in the lake (default: 5,000,000)")
    parser.add_argument("--streams", type=int, default=100_000, help="streams in the lake (default: 100,000)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each figure; the median counts")
    parser.add_argument("--keep", type=Path, help="keep the lakes there and use them again")
    parser.add_argument("--measure", nargs=2, metavar=("LAKE", "NAME"), help="measure one figure, and print it as JSON")
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(*asked.measure)))
        return 0
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as scratch:
        place = asked.keep or Path(scratch)
        print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}; {asked.events:,} events\n")
        for name, clustered in (("clustered", True), ("as exported", False)):
            lake = place / f"{asked.events}-{asked.streams}-{name.replace(' ', '-')}"
            if not lake.exists():
                write_lake(lake, asked.events, streams=asked.streams, clustered=clustered)
            print(name)
            _compare(str(lake), repeat=asked.repeat)
    return 0


def _compare(lake: str, *, repeat: int) -> None:
    runs: dict[str, list[dict[str, Any]]] = {}
    for _ in range(repeat):
        for name in [*(f"bare {name}" for name in BARE), *PAIRS]:
            runs.setdefault(name, []).append(_run(lake, name))
    seconds, processor, peak = (
        {name: statistics.median(float(run[figure]) for run in found) for name, found in runs.items()}
        for figure in ("seconds", "processor", "peak_mb")
    )
    for name, bare in PAIRS.items():
        ratio = f"{processor[name] / processor[f'bare {bare}']:.2f} times the bare query's"
        wanted = f"wanted: below {WANTED:g} s"
        print(f"{name:<26}{seconds[name]:>7.2f} s{processor[name]:>8.2f} s of processors, {ratio:<34}{peak[name]:>7,.0f} MB  {wanted}")
    print(flush=True)


def _run(lake: str, name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.analysis", "--measure", lake, name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=HERE.parent.parent)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    sys.exit(main())
