"""Measure how state is come by: against the loop that one would write, against the bare query, and against a library, in one run.

usage: python -m tests.bench.replay [--events N] [--streams S] [--repeat R] [--long] [--keep DIR]

Method. A lake is written straight through the lake's writer, once as exported (a run for each 200,000 events) and once clustered: events
of about 300 bytes with six fields, among them a float, a decimal and a set. Each figure is a process of its own; it asks twice and the
second answer counts, so that what is measured is neither imports nor the first check of a file's checksums.
The runs of a comparison alternate, and ratios are of their medians: absolute times of shared machines mean little. But where it says
so, nothing is materialised.

``plain`` reads the rows in log order, decodes each by orjson, folds them into dictionaries, and gives the very frame that the state is:
the benchmark checks that they are equal. ``lean`` is the same loop without what makes the answers comparable: no position, revision, time
and count of events, and only those payloads decoded that are needed. ``bare`` is DuckDB alone, extracting the same fields of the same
events from the same files into Arrow, by one ``json_extract`` with a list of paths. ``select`` is DuckDB reading the state's own columns
from the files that were materialised, with the filter that makes a state of a history. ``eventsourcing`` is that library rebuilding the
same aggregates, of the same events in the same order, from its own SQLite store, with its own JSON transcoder, as its repository does by
default: without snapshots, aggregate by aggregate; fewer events, as it takes long to write them, and the rate counts. A what-if is
measured from the edit to the diff. Questions for an entity that is keyed by a payload path use the index of keys.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.users import STEP, write_lake

ONE = "28"
"""A user who is there at the end of 5,000,000 events, and has moved."""

_OTHERS = ("plain", "lean", "bare", "bare, key too", "select")
"""What the workbench is measured against."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5_000_000, help="events in the lake (default: 5,000,000)")
    parser.add_argument("--streams", type=int, default=100_000, help="streams in the lake (default: 100,000)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each figure; the median counts")
    parser.add_argument("--long", action="store_true", help="also a lake of ten times as many events of the same streams, clustered")
    parser.add_argument("--keep", type=Path, help="keep the lakes there and use them again")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as scratch:
        place = asked.keep or Path(scratch)
        print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}; {asked.events:,} events\n")
        rates: dict[str, float] = {}
        for name, clustered in (("clustered", True), ("as exported", False)):
            lake = _lake(place, asked.events, streams=asked.streams, clustered=clustered)
            print(name)
            found = _compare(str(lake), asked.events, repeat=asked.repeat)
            rates = rates or found
        _library(place, rate=rates["state"])
        if asked.long:
            print(f"{10 * asked.events:,} events of the same streams, clustered")
            _long(str(_lake(place, 10 * asked.events, streams=asked.streams, clustered=True)), 10 * asked.events, than=rates)
    return 0


def _lake(place: Path, events: int, *, streams: int, clustered: bool) -> Path:
    lake = place / f"{events}-{streams}-{'clustered' if clustered else 'as-exported'}"
    if not lake.exists():
        write_lake(lake, events, streams=streams, clustered=clustered)
    return lake


def _compare(lake: str, events: int, *, repeat: int) -> dict[str, float]:
    """Say how long it all takes; return the rates, in events a second, of what is asked of longer lakes too."""
    half = str(events // 2 * STEP)
    tasks = {
        "bare": ("bare", lake, half, ""),
        "bare, key too": ("bare", lake, half, "$.userId"),
        "state, stream": ("state", lake, half, "stream"),
        "state, payload": ("state", lake, half, "payload"),
        "plain": ("plain", lake, half),
        "lean": ("lean", lake, half),
        "rebuild": ("rebuild", lake),
        "fork of one": ("fork_of_one", lake, "stream"),
        "fork, dropped": ("fork_of_all", lake, "drop"),
        "fork, patched": ("fork_of_all", lake, "patch"),
        "one": ("one", lake, ONE),
        "one history": ("one_history", lake, ONE),
        "history, stream": ("history", lake, "stream"),
        "history, payload": ("history", lake, "payload"),
    }
    runs: dict[str, list[dict[str, Any]]] = {}
    for _ in range(repeat):
        for name, arguments in tasks.items():
            runs.setdefault(name, []).append(_run(*arguments))
    made_index = _run("key_index", lake, ONE)
    for _ in range(repeat):
        for name, arguments in {
            "one, keyed": ("one_keyed", lake, ONE),
            "one history, keyed": ("one_keyed_history", lake, ONE),
            "fork of one, keyed": ("fork_of_one", lake, "payload"),
        }.items():
            runs.setdefault(name, []).append(_run(*arguments))
    _run("forget", lake)
    made = _run("materialise", lake)
    for _ in range(repeat):
        for name, arguments in {
            "kept": ("kept", lake, half),
            "select": ("select", lake, half),
            "one, kept": ("one_kept", lake, ONE),
            "one history, kept": ("one_history_kept", lake, ONE),
        }.items():
            runs.setdefault(name, []).append(_run(*arguments))
    _run("forget", lake)
    seconds = {name: statistics.median(float(run["seconds"]) for run in found) for name, found in runs.items()}
    assert runs["plain"][0]["digest"] == runs["state, stream"][0]["digest"] == runs["kept"][0]["digest"]
    _say("plain loop, half time", f"{seconds['plain']:.2f} s", f"lean: {seconds['lean']:.2f} s")
    for key, bare in (("stream", "bare"), ("payload", "bare, key too")):
        took = seconds[f"state, {key}"]
        _say(f"bare query, key by {key}", f"{seconds[bare]:.2f} s", "")
        _say(f"state of all, key by {key}", f"{took:.2f} s", f"{seconds['plain'] / took:.1f} times as fast as plain (wanted: 5)")
        _say("", "", f"{seconds['lean'] / took:.1f} times as fast as lean")
        _say("", "", f"{took / seconds[bare]:.2f} times the bare query (wanted: at most 2)")
        _stages(runs[f"state, {key}"])
    for key in ("stream", "payload"):
        found = runs[f"history, {key}"]
        _say(f"full history to Parquet, by {key}", f"{events / seconds[f'history, {key}']:,.0f} events/s", "wanted: 1,200,000")
        _stages(found)
    _say("materialise", f"{made['seconds']:.2f} s", f"{made['bytes'] / 1e6:,.0f} MB on the disk")
    _say(
        "state of all, materialised",
        f"{seconds['kept']:.2f} s",
        f"{seconds['kept'] / seconds['select']:.2f} times the select (wanted: at most 1.5)",
    )
    for name, title in (("one", "state of one entity"), ("one history", "history of one entity")):
        kept = f"{seconds[f'{name}, kept'] * 1000:.0f} ms"
        _say(title, f"{seconds[name] * 1000:.0f} ms", f"materialised: {kept} (wanted: below 100)")
    _say("one entity, keyed by a payload path", f"{seconds['one, keyed'] * 1000:.0f} ms", "state (wanted: below 100)")
    _say("", f"{seconds['one history, keyed'] * 1000:.0f} ms", "history (wanted: below 100)")
    _say("", f"{made_index['seconds']:.2f} s", f"making the index of keys: {made_index['bytes'] / 1e6:.1f} MB on the disk")
    _say("", f"{seconds['fork of one, keyed'] * 1000:.0f} ms", "what if, an edit of it, to the diff (wanted: below 1,000)")
    _say("what if, an edit of one entity", f"{seconds['fork of one'] * 1000:.0f} ms", "diff with the baseline (wanted: below 1,000)")
    for name, edit in (("fork, dropped", "every user's logins dropped"), ("fork, patched", "every user's moves patched")):
        ratio = seconds[name] / (2 * seconds["rebuild"])
        _say(f"what if, {edit}", f"{seconds[name]:.2f} s", f"{ratio:.2f} times two rebuilds (wanted: at most 1.5)")
    forks = {name: found for name, found in runs.items() if name.startswith("fork")}
    replays = {name: found for name, found in runs.items() if name not in {*forks, *_OTHERS}}
    _say("peak memory", f"{_peak(replays):,.0f} MB", f"wanted: below 2,000; of what-ifs: {_peak(forks):,.0f} MB")
    print()
    return {name: events / seconds[task] for name, task in (("state", "state, stream"), ("history", "history, stream"))}


def _long(lake: str, events: int, *, than: dict[str, float]) -> None:
    for name, arguments in (("state", ("state", lake, str(events // 2 * STEP), "stream")), ("history", ("history", lake, "stream"))):
        run = _run(*arguments)
        slower = than[name] / (events / float(run["seconds"]))
        remark = f"{10 * slower:.1f} times as long as a tenth (wanted: 8.5 to 11.5), peak {run['peak_mb']:,.0f} MB"
        _say(f"{name} of all", f"{run['seconds']:.1f} s", remark)
    print()


def _library(place: Path, *, rate: float) -> None:
    """Say how a library for aggregates fares; ``rate`` is in events of the whole log a second, of which half are read."""
    found = _run("eventsourcing", str(place), "100000", "2000")
    if "missing" in found:
        print("eventsourcing is not installed: no comparison")
        return
    theirs = found["events"] / found["seconds"]
    _say("eventsourcing from SQLite", f"{theirs:,.0f} events/s", f"state of all is {rate / 2 / theirs:.0f} times as fast")
    print()


def _peak(runs: dict[str, list[dict[str, Any]]]) -> float:
    return max(float(run["peak_mb"]) for found in runs.values() for run in found)


def _stages(found: list[dict[str, Any]]) -> None:
    names = found[0]["stages"]
    medians = {name: statistics.median(float(run["stages"][name]) for run in found) for name in names}
    print("    of that: " + ", ".join(f"{name} {took:.2f}" for name, took in medians.items()) + " s; read runs beside the rest", flush=True)


def _run(task: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.replay_tasks", task, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent.parent)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _say(what: str, figure: str, remark: str) -> None:
    print(f"  {what:<36}{figure:<22}{remark}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
