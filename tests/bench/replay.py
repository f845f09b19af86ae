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
measured from the edit to the diff.
"""

from __future__ import annotations

import argparse
import hashlib
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
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa

from workbench.events import EVENT_SCHEMA, Checkpoint, Selection, Store
from workbench.projection import Digits, Projection, event, on, plan_of

BATCH = 200_000
STEP = 400
"""Bytes from one position to the next."""
HANDLERS = (
    on("user.created").create("name", "email"),
    on("user.moved").set(city=event.data["address"]["city"]),
    on("user.logged_in").add(logins=1),
    on("user.paid").add(fees=event.data["fee"], paid=event.data["amount"]),
    on("user.role_granted").include(roles=event.data["role"]),
    on("user.role_revoked").exclude(roles=event.data["role"]),
    on("user.deleted").delete(),
)
TYPES = ("user.created", "user.moved", "user.logged_in", "user.paid", "user.role_granted", "user.role_revoked", "user.deleted")
PATHS = ("$.name", "$.email", "$.address.city", "$.fee", "$.amount", "$.role")


class User(Projection, category="user"):
    """Keyed by stream."""

    name: str | None
    email: str | None
    city: str | None
    logins: int = 0
    fees: float = 0.0
    paid: Annotated[Decimal, Digits(18, scale=2)] = Decimal(0)
    roles: set[str]
    handlers = HANDLERS


class Person(Projection, category="user", key=event.data["userId"]):
    """The same across streams."""

    name: str | None
    email: str | None
    city: str | None
    logins: int = 0
    fees: float = 0.0
    paid: Annotated[Decimal, Digits(18, scale=2)] = Decimal(0)
    roles: set[str]
    handlers = HANDLERS


PROJECTIONS = {"stream": User, "payload": Person}


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
        "fork of one": ("fork_of_one", lake),
        "fork, dropped": ("fork_of_all", lake, "drop"),
        "fork, patched": ("fork_of_all", lake, "patch"),
        "one": ("one", lake, "42"),
        "one history": ("one_history", lake, "42"),
        "history, stream": ("history", lake, "stream"),
        "history, payload": ("history", lake, "payload"),
    }
    runs: dict[str, list[dict[str, Any]]] = {}
    for _ in range(repeat):
        for name, arguments in tasks.items():
            runs.setdefault(name, []).append(_run(*arguments))
    made = _run("materialise", lake)
    for _ in range(repeat):
        for name, arguments in {
            "kept": ("kept", lake, half),
            "select": ("select", lake, half),
            "one, kept": ("one_kept", lake, "42"),
            "one history, kept": ("one_history_kept", lake, "42"),
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
    _say("what if, an edit of one entity", f"{seconds['fork of one'] * 1000:.0f} ms", "diff with the baseline (wanted: below 1,000)")
    for name, edit in (("fork, dropped", "every user's logins dropped"), ("fork, patched", "every user's moves patched")):
        ratio = seconds[name] / (2 * seconds["rebuild"])
        _say(f"what if, {edit}", f"{seconds[name]:.2f} s", f"{ratio:.2f} times two rebuilds (wanted: at most 1.5)")
    _say("peak memory", f"{_peak(runs):,.0f} MB", "wanted: below 2,000")
    print()
    return {name: events / seconds[task] for name, task in (("state", "state, stream"), ("history", "history, stream"))} | {
        "peak": _peak(runs)
    }


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
    others = ("plain", "lean", "bare", "bare, key too", "select")
    return max(float(run["peak_mb"]) for name, found in runs.items() if name not in others for run in found)


def _stages(found: list[dict[str, Any]]) -> None:
    names = found[0]["stages"]
    medians = {name: statistics.median(float(run["stages"][name]) for run in found) for name in names}
    print("    of that: " + ", ".join(f"{name} {took:.2f}" for name, took in medians.items()) + " s; read runs beside the rest", flush=True)


def _run(task: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.replay", "--task", task, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent.parent)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _say(what: str, figure: str, remark: str) -> None:
    print(f"  {what:<36}{figure:<22}{remark}", flush=True)


# What is measured ----------------------------------------------------------------------------------------------------------------


def state(lake: str, position: str, key: str) -> dict[str, Any]:
    """The state of every entity at a position, as a frame."""
    from workbench.lake import open_lake
    from workbench.replay import kernel

    timeline, plan = open_lake(lake).timeline.upto(position=int(position)), plan_of(PROJECTIONS[key])
    kernel.state(plan, timeline)
    began = time.perf_counter()
    found = kernel.state(plan, timeline)
    took = time.perf_counter() - began
    return {"seconds": took, "digest": _digest(found.result.state), "stages": _timings(found.timings)}


def history(lake: str, key: str) -> dict[str, Any]:
    """Every version of every entity, written to one Parquet file, as pyarrow compresses by default, in a thread of its own."""
    _write_history(lake, key)
    return _write_history(lake, key)


def _write_history(lake: str, key: str) -> dict[str, Any]:
    from concurrent.futures import ThreadPoolExecutor

    import pyarrow.parquet as pq

    from workbench.lake import open_lake
    from workbench.replay import kernel
    from workbench.replay.results import history_schema

    timeline, plan = open_lake(lake).timeline, plan_of(PROJECTIONS[key])
    schema = history_schema(plan).to_frame().to_arrow().schema
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(1) as beside:
        began = time.perf_counter()
        found = kernel.versions(plan, timeline)
        with pq.ParquetWriter(Path(scratch) / "history.parquet", schema, use_dictionary=_FEW, column_encoding=_RISING) as writer:
            written = None
            for batch in found:
                if written is not None:
                    written.result()  # no more than one batch waits
                written = beside.submit(writer.write_table, batch.to_arrow())
            if written is not None:
                written.result()
        took = time.perf_counter() - began
    assert found.result is not None
    return {"seconds": took, "rows": found.result.counts.applied, "stages": _timings(found.timings)}


_FEW = ["city", "event_type"]
"""Columns whose texts repeat."""
_RISING = dict.fromkeys(
    ("revision", "event_count", "valid_from_position", "valid_to_position", "valid_from", "valid_to"), "DELTA_BINARY_PACKED"
)


def one(lake: str, key: str) -> dict[str, Any]:
    """The state of one entity."""
    from workbench.replay import kernel

    return _twice(lake, lambda timeline: kernel.state(plan_of(User), timeline, key=key))


def one_history(lake: str, key: str) -> dict[str, Any]:
    """The history of one entity."""
    from workbench.replay import kernel

    return _twice(lake, lambda timeline: kernel.history(plan_of(User), timeline, key=key))


def rebuild(lake: str) -> dict[str, Any]:
    """The state of every entity at the end."""
    import workbench as wb

    return _twice(lake, lambda timeline: wb.state(User, timeline))


def fork_of_one(lake: str) -> dict[str, Any]:
    """What differs if one user had moved elsewhere: first of one user, then, measured, of another."""
    import workbench as wb

    now = wb.open(lake).timeline
    for user in (41, 42):
        began = time.perf_counter()
        found = wb.diff(User, now, now.patch(stream=f"user-{user}", type="user.moved", set={"address.city": "Rome"}))
        took = time.perf_counter() - began
    return {"seconds": took, "rows": found.height}


def fork_of_all(lake: str, edit: str) -> dict[str, Any]:
    """What differs if something had been otherwise for every user, the working out of the edit included."""
    import workbench as wb

    now = wb.open(lake).timeline
    wb.state(User, now)
    began = time.perf_counter()
    fork = now.drop(type="user.logged_in") if edit == "drop" else now.patch(type="user.moved", set={"address.city": "Rome"})
    rows = wb.diff(User, now, fork).height
    return {"seconds": time.perf_counter() - began, "rows": rows}


def materialise(lake: str) -> dict[str, Any]:
    """The history of every entity, kept in the lake."""
    import workbench as wb

    began = time.perf_counter()
    kept = wb.materialise(User, wb.open(lake))
    return {"seconds": time.perf_counter() - began, "bytes": kept.bytes}


def forget(lake: str) -> dict[str, Any]:
    """Remove what is kept."""
    import workbench as wb

    for one in wb.materialised(wb.open(lake)):
        one.remove()
    return {}


def kept(lake: str, position: str) -> dict[str, Any]:
    """The state of every entity at a position, from what is kept."""
    import workbench as wb

    found = []
    result = _twice(lake, lambda timeline: found.append(wb.state(User, timeline.upto(position=int(position)))))
    return result | {"digest": _digest(found[-1])}


def one_kept(lake: str, key: str) -> dict[str, Any]:
    """The state of one entity, from what is kept."""
    import workbench as wb

    return _twice(lake, lambda timeline: wb.state(User, timeline, key=key))


def one_history_kept(lake: str, key: str) -> dict[str, Any]:
    """The history of one entity, from what is kept."""
    import workbench as wb

    return _twice(lake, lambda timeline: wb.history(User, timeline, key=key))


def select(lake: str, position: str) -> dict[str, Any]:
    """DuckDB alone: the state's own columns from the files that are kept."""
    import duckdb

    import workbench as wb

    [kept] = wb.materialised(wb.open(lake), User)
    own = ("key", *(field.name for field in plan_of(User).fields), "valid_from_position", "revision", "valid_from", "event_count")
    sql = (
        f"SELECT {', '.join(own)} FROM read_parquet('{lake}/**/{kept.folder}/*.parquet') "
        f"WHERE valid_from_position <= {position} AND (valid_to_position IS NULL OR valid_to_position > {position})"
    )
    with duckdb.connect() as connection:
        connection.sql(sql).to_arrow_table()
        began = time.perf_counter()
        rows = connection.sql(sql).to_arrow_table().num_rows
        return {"seconds": time.perf_counter() - began, "rows": rows}


def _twice(lake: str, ask: Callable[[Any], Any]) -> dict[str, Any]:
    from workbench.lake import open_lake

    timeline = open_lake(lake).timeline
    ask(timeline)
    began = time.perf_counter()
    ask(timeline)
    return {"seconds": time.perf_counter() - began}


def _digest(state: Any) -> str:
    """What two states that are equal have in common, and no others."""
    return hashlib.sha256("\n".join(map(repr, state.rows())).encode()).hexdigest()


def bare(lake: str, position: str, more: str) -> dict[str, Any]:
    """DuckDB alone: the same fields of the same events, as Arrow."""
    import duckdb

    from workbench.lake import open_lake

    files = ", ".join(f"'{file}'" for file in open_lake(lake).files())
    paths = ", ".join(f"'{path}'" for path in (*PATHS, *filter(None, [more])))
    types = " OR ".join(f"type = '{name}'" for name in TYPES)
    sql = (
        f"SELECT stream, type, position, revision, recorded_at, json_extract(data, [{paths}]) FROM read_parquet([{files}]) "
        f"WHERE category = 'user' AND position <= {position} AND ({types})"
    )
    with duckdb.connect() as connection:
        connection.sql(sql).to_arrow_table()
        began = time.perf_counter()
        rows = connection.sql(sql).to_arrow_table().num_rows
        return {"seconds": time.perf_counter() - began, "rows": rows}


def plain(lake: str, position: str) -> dict[str, Any]:
    """The loop that one would write, to the same answer."""
    import orjson
    import polars as pl

    from workbench.lake import open_lake

    timeline = open_lake(lake).timeline.upto(position=int(position)).categories("user")
    began = time.perf_counter()
    users: dict[str, dict[str, Any]] = {}
    wanted = ("stream", "type", "data", "position", "revision", "recorded_at")
    for batch in timeline.events().select(wanted).collect().iter_slices(50_000):
        rows = zip(*(batch[name].to_list() for name in wanted), strict=True)
        for stream, kind, data, at, revision, recorded_at in rows:
            key = stream.removeprefix("user-")
            payload = orjson.loads(data)
            user = users.get(key)
            if kind == "user.created":
                if user is None:
                    user = users[key] = {
                        "key": key,
                        "city": None,
                        "logins": 0,
                        "fees": 0.0,
                        "paid": Decimal(0),
                        "roles": set(),
                        "event_count": 0,
                    }
                user["name"], user["email"] = payload["name"], payload["email"]
            elif user is None:
                continue
            elif kind == "user.moved":
                user["city"] = payload["address"]["city"]
            elif kind == "user.logged_in":
                user["logins"] += 1
            elif kind == "user.paid":
                user["fees"] += payload["fee"]
                user["paid"] += Decimal(str(payload["amount"]))
            elif kind == "user.role_granted":
                user["roles"].add(payload["role"])
            elif kind == "user.role_revoked":
                user["roles"].discard(payload["role"])
            elif kind == "user.deleted":
                del users[key]
                continue
            else:
                continue
            user["position"], user["revision"], user["recorded_at"] = at, revision, recorded_at
            user["event_count"] += 1
    for user in users.values():
        user["roles"] = sorted(user["roles"])
    names = ("key", "name", "email", "city", "logins", "fees", "paid", "roles", "position", "revision", "recorded_at", "event_count")
    columns = {name: [user[name] for user in users.values()] for name in names}
    frame = pl.DataFrame(columns, schema_overrides={"paid": pl.Decimal(18, 2)}).sort("key")
    return {"seconds": time.perf_counter() - began, "digest": _digest(frame)}


def lean(lake: str, position: str) -> dict[str, Any]:
    """The same loop for the fields alone, decoding no more than it must."""
    import orjson

    from workbench.lake import open_lake

    timeline = open_lake(lake).timeline.upto(position=int(position)).categories("user")
    began = time.perf_counter()
    users: dict[str, dict[str, Any]] = {}
    for batch in timeline.events().select("stream", "type", "data").collect().iter_slices(50_000):
        for stream, kind, data in zip(*(batch[name].to_list() for name in ("stream", "type", "data")), strict=True):
            key = stream[5:]
            user = users.get(key)
            if kind == "user.created":
                if user is None:
                    user = users[key] = {"city": None, "logins": 0, "fees": 0.0, "paid": Decimal(0), "roles": set()}
                payload = orjson.loads(data)
                user["name"], user["email"] = payload["name"], payload["email"]
            elif user is None:
                continue
            elif kind == "user.logged_in":
                user["logins"] += 1
            elif kind == "user.deleted":
                del users[key]
            else:
                payload = orjson.loads(data)
                if kind == "user.moved":
                    user["city"] = payload["address"]["city"]
                elif kind == "user.paid":
                    user["fees"] += payload["fee"]
                    user["paid"] += Decimal(str(payload["amount"]))
                elif kind == "user.role_granted":
                    user["roles"].add(payload["role"])
                elif kind == "user.role_revoked":
                    user["roles"].discard(payload["role"])
    return {"seconds": time.perf_counter() - began, "rows": len(users)}


def eventsourcing(place: str, events: str, streams: str) -> dict[str, Any]:
    """A library for aggregates, rebuilding them from its SQLite store."""
    try:
        from tests.bench import aggregates
    except ModuleNotFoundError:
        return {"missing": True}
    return aggregates.rebuild(Path(place), _events(int(events), int(streams)))


def _events(count: int, streams: int) -> dict[int, list[tuple[str, dict[str, Any]]]]:
    """Return events as they stand in the lakes, by user: type and payload."""
    chance = np.random.default_rng(7)
    found: dict[int, list[tuple[str, dict[str, Any]]]] = {}
    table = _batch(chance, 0, chance.integers(0, streams, count), np.zeros(streams, dtype=np.int64))
    for stream, kind, data in zip(*(table.column(name).to_pylist() for name in ("stream", "type", "data")), strict=True):
        found.setdefault(int(stream.removeprefix("user-")), []).append((kind, json.loads(data)))
    return found


def _timings(timings: Any) -> dict[str, float]:
    return {name: getattr(timings, name) for name in ("read", "wait", "decode", "order", "fold", "write")}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    task.__name__: task
    for task in (
        *(state, history, rebuild, fork_of_one, fork_of_all),
        *(one, one_history, materialise, forget, kept, one_kept, one_history_kept),
        *(select, bare, plain, lean, eventsourcing),
    )
}


# The lake ------------------------------------------------------------------------------------------------------------------------


def write_lake(path: Path, events: int, *, streams: int, clustered: bool) -> None:
    """Write a lake of users' events."""
    from workbench.lake import LakeWriter

    chance = np.random.default_rng(7)
    store = Store("esdb://bench", 0, _event_id(0))
    revisions = np.zeros(streams, dtype=np.int64)
    with LakeWriter.open(path, store=store, selection=Selection()) as writer:
        for first in range(0, events, BATCH):
            count = min(BATCH, events - first)
            table = _batch(chance, first, chance.integers(0, streams, count), revisions)
            last = first + count - 1
            writer.append(table, Checkpoint(last * STEP, last * STEP, _event_id(last), datetime(2030, 1, 1, tzinfo=UTC)))
        if clustered:
            writer.cluster()


def _batch(chance: np.random.Generator, first: int, users: Any, revisions: Any) -> pa.Table:
    count = len(users)
    kinds, picks, cents = (chance.integers(0, most, count).tolist() for most in (100, 1000, 10_000_000))
    fees = chance.random(count).tolist()
    types, payloads, numbers = [], [], []
    for user, kind, pick, cent, fee in zip(users.tolist(), kinds, picks, cents, fees, strict=True):
        number = int(revisions[user])
        revisions[user] += 1
        name, own = _event(0 if number == 0 else kind, user, pick, cent, fee)
        types.append(name)
        payloads.append(f'{{"userId":"u{user}",{own}{_TAIL % (user, cent, pick)}}}')
        numbers.append(number)
    positions = np.arange(first, first + count, dtype=np.int64) * STEP
    ticks = 17_672_256_000_000_000 + positions * 10_000
    columns = {
        "position": positions,
        "prepare_position": positions,
        "stream": [f"user-{user}" for user in users.tolist()],
        "category": ["user"] * count,
        "revision": numbers,
        "event_id": [_event_id(number) for number in range(first, first + count)],
        "type": types,
        "recorded_at": pa.array(ticks // 10).cast(pa.timestamp("us", tz="UTC")),
        "recorded_ticks": ticks,
        "is_json": [True] * count,
        "data": payloads,
        "metadata": ['{"$correlationId":"c"}'] * count,
        "data_bytes": pa.nulls(count, pa.binary()),
        "metadata_bytes": pa.nulls(count, pa.binary()),
        "correlation_id": ["c"] * count,
        "causation_id": pa.nulls(count, pa.string()),
    }
    return pa.table(columns).cast(EVENT_SCHEMA)


_TAIL = (
    '"requestId":"%08x-%08x-%04x","source":"web","agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36"'
)
_NAMES, _CITIES, _ROLES = (
    ("Ada", "Grace", "Edsger", "Käthe"),
    ("Berlin", "Paris", "São Paulo", "Oslo"),
    ("admin", "editor", "viewer", "owner"),
)


def _event(kind: int, user: int, pick: int, cent: int, fee: float) -> tuple[str, str]:
    """Return an event's type and its own part of the payload."""
    if kind < 1:
        return "user.created", f'"name":"{_NAMES[pick % 4]} {pick}","email":"u{user}@example.org",'
    if kind < 20:
        return "user.moved", f'"address":{{"street":"Main Street {pick}","city":"{_CITIES[pick % 4]}"}},'
    if kind < 55:
        return "user.logged_in", f'"ip":"10.0.{pick % 256}.{cent % 256}","device":"d{pick}",'
    if kind < 80:
        return "user.paid", f'"amount":{cent // 100}.{cent % 100:02d},"fee":{fee!r},"currency":"EUR",'
    if kind < 90:
        return "user.role_granted", f'"role":"{_ROLES[pick % 4]}",'
    if kind < 96:
        return "user.role_revoked", f'"role":"{_ROLES[pick % 4]}",'
    if kind < 98:
        return "user.noted", f'"note":"n{pick}",'
    return "user.deleted", '"reason":"asked",'


def _event_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--task"]:
        result = TASKS[sys.argv[2]](*sys.argv[3:])
        # On Linux in kB. The work is done by threads of this one process, so this is the whole of it.
        result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(json.dumps(result))
    else:
        sys.exit(main())
