"""Measure what a report costs against the bare papermill run of the same notebook, in one run.

usage: python -m tests.bench.reports [--events N] [--pairs R] [--notebook NAME]

Method. The lake is the sample's, exported from the embedded store. Each figure is a process of its own, started as a user would start it,
and its wall time counts, from start to end: `papermill NOTEBOOK OUT.ipynb -p lake … -p at …`, which leaves an executed notebook, against
`workbench report run NOTEBOOK --runs DIR …`, which leaves the same, and a page, a record and the index; and against `--out FILE`. The runs
alternate, so that all meet the same machine; one round before warms the disk's cache. The ratio is the median of the ratios of the rounds.
(The processors' time of a report cannot be told from outside: it ends its kernel without waiting for it.)
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from workbench.embedded import EmbeddedStore
from workbench.export import export_log
from workbench.kurrent import connect
from workbench.reports import find_notebook
from workbench.sample import load

WANTED = 1.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000, help="events in the lake (default: 20,000)")
    parser.add_argument("--pairs", type=int, default=7, help="rounds that count")
    parser.add_argument("--notebook", default="event_types", help="a notebook that comes along, or a path")
    asked = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}; {asked.events:,} events")
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as scratch:
        place = Path(scratch)
        with EmbeddedStore() as store, connect(store.uri) as source:
            load(source, events=asked.events, days=90, seed=1)
            export_log(source, place / "lake")
        _compare(place, find_notebook(asked.notebook), pairs=asked.pairs)
    return 0


def _compare(place: Path, notebook: Path, *, pairs: int) -> None:
    lake, python = str(place / "lake"), [sys.executable, "-m"]
    commands = {
        "papermill": [*python, "papermill", "--no-progress-bar", str(notebook), str(place / "out.ipynb"), "-p", "lake", lake],
        "report --runs": [*python, "workbench", "report", "run", str(notebook), "--lake", lake, "--runs", str(place / "runs")],
        "report --out": [*python, "workbench", "report", "run", str(notebook), "--lake", lake, "--out", str(place / "out.html")],
    }
    rounds = []
    for _ in range(pairs + 1):
        rounds.append({name: _seconds(command) for name, command in commands.items()})
        shutil.rmtree(place / "runs")
    for name in commands:
        seconds = statistics.median(one[name] for one in rounds[1:])
        ratio = statistics.median(one[name] / one["papermill"] for one in rounds[1:])
        wanted = "the baseline" if name == "papermill" else f"{ratio:.2f} times papermill (wanted: at most {WANTED})"
        print(f"  {name:<16}{seconds:6.2f} s   {wanted}")


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parent.parent.parent)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
