"""Measure the way from KurrentDB to a lake, in one run, against esdbclient as shipped.

usage: python -m tests.bench [--events N] [--large N] [--repeat R] [--keep DIR]

Method. A server (``fixed_server.py``) answers ``Streams.Read`` from messages made beforehand (``make_frames.py``: mixed sizes, nulls,
binary payloads, text beyond ASCII), many in a frame as KurrentDB does, and faster than any client takes them; so what is measured is the
client. Server and client share the machine. Each figure is a process of its own, warmed up by nothing; what is materialised is named in
``tasks.py``. The runs of a comparison alternate, and the ratio is of their medians: absolute times of shared machines mean little.

Processor time an event is that of the whole process (user and system, all its threads, from the open connection to the clustered lake), of
600,000 events of 300 bytes: the median of five runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="events in the log (default: 1,000,000)")
    parser.add_argument("--large", type=int, default=5_000_000, help="events in the log for the memory's growth; 0 leaves it out")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each figure; the median counts")
    parser.add_argument("--keep", type=Path, help="keep server, frames and lakes there and use them again")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as scratch:
        place = asked.keep or Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}; {asked.events:,} events\n")
        _start_up()
        _sample()
        _log(place, asked.events, repeat=asked.repeat)
        _plain(place)
        if asked.large:
            _large(place, asked.large)
    return 0


def _log(place: Path, events: int, *, repeat: int) -> None:
    baseline, arrow, export = [], [], []
    with _server(place, events) as uri:
        for _ in range(repeat):
            arrow.append(_run("read_to_arrow", uri))
            baseline.append(_run("client_as_shipped", uri))
            lake = place / f"lake-{events}"
            shutil.rmtree(lake, ignore_errors=True)
            export.append(_run("export", uri, str(lake)))
    shipped = _rate(baseline)
    _say("esdbclient as shipped, read_all", f"{shipped:>12,.0f} events/s", "the baseline")
    _say("read to Arrow batches", f"{_rate(arrow):>12,.0f} events/s", f"{_rate(arrow) / shipped:.1f} times (wanted: 10)")
    _say("export into a finished lake", f"{_rate(export):>12,.0f} events/s", f"{_rate(export) / shipped:.1f} times (wanted: 8)")
    whole = statistics.median(run["events"] / (run["seconds"] + run["cluster_seconds"]) for run in export)
    _say("the same with the clustering", f"{whole:>12,.0f} events/s", f"{whole / shipped:.1f} times")
    _say("  of that, clustering", f"{statistics.median(run['cluster_seconds'] for run in export):>12.2f} s", "")
    _say("peak memory of the export", f"{max(run['peak_mb'] for run in export):>12.0f} MB", "wanted: below 700")


def _plain(place: Path) -> None:
    events, runs = 600_000, 5
    lake = place / "lake-plain"
    reads, exports = [], []
    with _server(place, events, plain=True) as uri:
        for _ in range(runs):
            reads.append(_run("read_to_arrow", uri))
            shutil.rmtree(lake, ignore_errors=True)
            exports.append(_run("export", uri, str(lake)))
    _say("events of 300 bytes, read", f"{_rate(reads):>12,.0f} events/s", "wanted: 170,000 to 196,000, what a real server sends")
    for what, done, wanted in (("read", reads, ""), ("exported and clustered", exports, "wanted: at most 9")):
        cost = statistics.median(float(run["cpu_seconds"]) / float(run["events"]) for run in done)
        _say(f"  processor time, {what}", f"{cost * 1e6:>12.2f} µs/event", wanted)


def _large(place: Path, events: int) -> None:
    lake = place / f"lake-{events}"
    shutil.rmtree(lake, ignore_errors=True)
    with _server(place, events) as uri:
        export = _run("export", uri, str(lake))
    _say(f"export of {events:,} events", f"{export['events'] / export['seconds']:>12,.0f} events/s", "")
    _say("  its peak memory", f"{export['peak_mb']:>12.0f} MB", "wanted: below 700, as for one million")
    info = min((_run("info", str(lake)) for _ in range(3)), key=lambda run: float(run["seconds"]))
    _say(f"info on {info['events']:,} events", f"{info['seconds']:>12.2f} s", f"{info['files']} files; wanted: below 0.5")


def _sample() -> None:
    command = [sys.executable, "-m", "workbench", "db", "start", "--port", "0"]
    with tempfile.TemporaryDirectory() as data, subprocess.Popen([*command, "--data", data], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            uri = next(word for line in server.stdout for word in line.split() if word.startswith("esdb://"))
            run = _run("sample", uri, "50000")
        finally:
            server.terminate()
    _say("sample over gRPC, durable store", f"{run['events'] / run['seconds']:>12,.0f} events/s", "wanted: 5,000")


def _start_up() -> None:
    command = [sys.executable, "-m", "workbench", "--help"]
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    _say("workbench --help", f"{statistics.median(seconds):>12.2f} s", "wanted: below 0.4")


@contextmanager
def _server(place: Path, events: int, *, plain: bool = False) -> Iterator[str]:
    kind = ["plain"] if plain else []
    frames = place / f"{'-'.join([str(events), *kind])}.frames"
    if not frames.exists():
        subprocess.run([sys.executable, "-m", "tests.bench.make_frames", str(events), str(frames), *kind], check=True, cwd=ROOT)
    command = [sys.executable, "-m", "tests.bench.fixed_server", str(frames)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stdout is not None
        try:
            yield f"esdb://127.0.0.1:{int(server.stdout.readline())}?tls=false"
        finally:
            server.kill()


def _run(task: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.tasks", task, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _rate(runs: list[dict[str, Any]]) -> float:
    return statistics.median(float(run["events"]) / float(run["seconds"]) for run in runs)


def _say(what: str, figure: str, remark: str) -> None:
    print(f"{what:<36}{figure:<24}{remark}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
