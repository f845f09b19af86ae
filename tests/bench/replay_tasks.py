"""What is measured of replays, each task a process of its own: ``python -m tests.bench.replay_tasks TASK ARGUMENT...`` prints JSON."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.users import PATHS, PROJECTIONS, TYPES, Person, User, batch
from workbench.projection import plan_of


def state(lake: str, position: str, key: str) -> dict[str, Any]:
    """The state of every entity at a position, as a frame."""
    from workbench.fold import vectorised
    from workbench.lake import open_lake

    timeline, plan = open_lake(lake).timeline.upto(position=int(position)), plan_of(PROJECTIONS[key])
    vectorised.state(plan, timeline)
    began = time.perf_counter()
    found = vectorised.state(plan, timeline)
    took = time.perf_counter() - began
    return {"seconds": took, "digest": _digest(found.result.state), "stages": _timings(found.timings)}


def history(lake: str, key: str) -> dict[str, Any]:
    """Every version of every entity, written to one Parquet file, as ``wb.write_history`` does."""
    _write_history(lake, key)
    return _write_history(lake, key)


def _write_history(lake: str, key: str) -> dict[str, Any]:
    from workbench.fold import vectorised
    from workbench.fold.results import history_schema
    from workbench.lake import open_lake
    from workbench.replay.history_export import write_versions

    timeline, plan = open_lake(lake).timeline, plan_of(PROJECTIONS[key])
    with tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        found = vectorised.versions(plan, timeline)
        write_versions(found, Path(scratch) / "history.parquet", schema=history_schema(plan))
        took = time.perf_counter() - began
    assert found.result is not None
    return {"seconds": took, "rows": found.result.counts.applied, "stages": _timings(found.timings)}


def one(lake: str, key: str) -> dict[str, Any]:
    """The state of one entity."""
    from workbench.fold import vectorised

    return _twice(lake, lambda timeline: vectorised.state(plan_of(User), timeline, key=key))


def one_history(lake: str, key: str) -> dict[str, Any]:
    """The history of one entity."""
    from workbench.fold import vectorised

    return _twice(lake, lambda timeline: vectorised.history(plan_of(User), timeline, key=key))


def key_index(lake: str, key: str) -> dict[str, Any]:
    """The index of keys of a projection that is keyed by a payload path. What was kept is removed."""
    import workbench as wb
    from workbench.materialised.key_index import write_index

    opened = wb.open(lake)
    wb.state(User, opened.timeline, key=key)  # what is measured is neither imports nor the first check of a file's checksums
    for kept in wb.list_materialised(opened):
        kept.remove()
    began = time.perf_counter()
    write_index(plan_of(Person), opened.timeline)
    took = time.perf_counter() - began
    [made] = wb.list_materialised(opened)
    return {"seconds": took, "bytes": made.bytes}


def one_keyed(lake: str, key: str) -> dict[str, Any]:
    """The state of one entity, keyed by a payload path, with the index of keys."""
    import workbench as wb

    return _twice(lake, lambda timeline: wb.state(Person, timeline, key=f"u{key}"))


def one_keyed_history(lake: str, key: str) -> dict[str, Any]:
    """The history of one entity, keyed by a payload path, with the index of keys."""
    import workbench as wb

    return _twice(lake, lambda timeline: wb.history(Person, timeline, key=f"u{key}"))


def rebuild(lake: str) -> dict[str, Any]:
    """The state of every entity at the end."""
    import workbench as wb

    return _twice(lake, lambda timeline: wb.state(User, timeline))


def fork_of_one(lake: str, key: str) -> dict[str, Any]:
    """What differs if one user had moved elsewhere: first of one user, then, measured, of another."""
    import workbench as wb

    now = wb.open(lake).timeline
    for user in (22, 28):
        began = time.perf_counter()
        found = wb.diff(PROJECTIONS[key], now, now.patch(stream=f"user-{user}", type="user.moved", set={"address.city": "Rome"}))
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

    for one in wb.list_materialised(wb.open(lake)):
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

    [kept] = wb.list_materialised(wb.open(lake), User)
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
    for piece in timeline.events().select(wanted).collect().iter_slices(50_000):
        rows = zip(*(piece[name].to_list() for name in wanted), strict=True)
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
    for piece in timeline.events().select("stream", "type", "data").collect().iter_slices(50_000):
        for stream, kind, data in zip(*(piece[name].to_list() for name in ("stream", "type", "data")), strict=True):
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
    table = batch(chance, 0, chance.integers(0, streams, count), np.zeros(streams, dtype=np.int64))
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
        *(key_index, one_keyed, one_keyed_history),
        *(select, bare, plain, lean, eventsourcing),
    )
}


if __name__ == "__main__":
    result = TASKS[sys.argv[1]](*sys.argv[2:])
    # On Linux in kB. The work is done by threads of this one process, so this is the whole of it.
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps(result))
