"""The measurements, each run in a separate process that prints one line of JSON.

usage: python -m workbench.performance.tasks TASK LAKE PROJECTION ARGUMENTS…
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from workbench.analysis.distribution import distribution
from workbench.fold import vectorised
from workbench.fold.entity_scope import EntityScope
from workbench.fold.event_by_event.function_fold import Fold, fold_function
from workbench.fold.event_by_event.plan_fold import fold
from workbench.fold.loading import load_projection
from workbench.fold.resolve import Source, Subject, folded, subject_of
from workbench.lake import Lake, open_lake
from workbench.materialised.histories import materialise
from workbench.replay.history import history
from workbench.replay.state import state
from workbench.timeline import Timeline

_STAGES = ("read", "decode", "order", "fold", "write")


def cuts(lake: str, projection: str) -> dict[str, Any]:
    """How many events there are, by type; where a quarter and half of them end; and an entity to ask for."""
    timeline, subject, _ = _asked(lake, projection)
    ours = timeline.categories(*subject.categories)
    counts = ours.sql("SELECT type, count(*) FROM events GROUP BY 1 ORDER BY 2 DESC, 1").fetchall()
    sql = "SELECT quantile_disc(position, 0.25), quantile_disc(position, 0.5), max(position), epoch(max(recorded_at)), "
    sql += "count(*) FILTER (recorded_at >= (SELECT max(recorded_at) FROM events) - INTERVAL 30 DAY), epoch(min(recorded_at)) FROM events"
    [(quarter, half, last, ends, recent, begins)] = ours.sql(sql).fetchall()
    days = min(30.0, (ends - begins) / 86_400) if last is not None else 0.0
    return {
        "types": dict(counts),
        "ends": [quarter, half, last],
        "position": timeline.position,
        "recent": recent,
        "days": days,
        "version": timeline.describe().lake_version,
    }


def rebuild(lake: str, projection: str, engine: str, position: str, type_: str) -> dict[str, Any]:
    """The state of all entities up to a position, twice; of events of one type alone, where one is named."""
    evict(lake)
    timeline, subject, _ = _asked(lake, projection)
    timeline = timeline.upto(position=int(position))
    if type_:
        assert not isinstance(subject, Fold)
        # Of one type alone, whatever it is that begins an entity.
        only = tuple(handled for handled in subject.types if handled.type == type_)
        subject = replace(subject, types=only, creates=False)
    runs = []
    for _ in range(2):
        began = time.perf_counter()
        stages = _rebuild(subject, timeline, engine)
        runs.append({"seconds": time.perf_counter() - began, "stages": stages})
    return {"cold": runs[0], "warm": runs[1]}


def _rebuild(subject: Subject, timeline: Timeline, engine: str) -> dict[str, float]:
    whole = folded(timeline, subject, question="bench")
    if isinstance(subject, Fold):
        fold_function(subject, EntityScope(subject, whole).events().collect(), errors="collect")
        return {}
    if engine == "event by event" or not vectorised.supports(subject):
        fold(subject, EntityScope(subject, whole).events().collect_batches(maintain_order=True), errors="collect")
        return {}
    found = vectorised.state(subject, whole, errors="collect").timings
    return {name: value for name, value in asdict(found).items() if name in _STAGES}


def versions(lake: str, projection: str) -> dict[str, Any]:
    """Every version of every entity, written to a Parquet file."""
    timeline, subject, source = _asked(lake, projection)
    assert not isinstance(subject, Fold)
    evict(lake)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as scratch:
        if not vectorised.supports(subject):
            history(source, timeline, errors="collect").write_parquet(Path(scratch) / "history.parquet")
            return {"seconds": time.perf_counter() - began, "stages": {}}
        found = vectorised.versions(subject, folded(timeline, subject, question="bench"), errors="collect")
        writer = None
        for batch in found:
            with found.timings.stage("write"):
                table = batch.to_arrow(compat_level=pl.CompatLevel.oldest())
                if writer is None:
                    writer = pq.ParquetWriter(Path(scratch) / "history.parquet", table.schema)
                writer.write_table(table)
        if writer is not None:
            writer.close()
        stages = {name: value for name, value in asdict(found.timings).items() if name in _STAGES}
    return {"seconds": time.perf_counter() - began, "stages": stages}


def answers(lake: str, projection: str) -> dict[str, Any]:
    """Questions that are asked every day, each twice, with nothing materialised."""
    with _beside(lake) as opened:
        return {"answers": _ask(load_projection(projection), opened.timeline)}


def materialised(lake: str, projection: str) -> dict[str, Any]:
    """The same with a materialised history or a snapshot."""
    with _beside(lake) as opened:
        source = load_projection(projection)
        began = time.perf_counter()
        kept = materialise(source, opened, errors="collect")
        written = time.perf_counter() - began
        return {"seconds": written, "bytes": kept.bytes, "answers": _ask(source, opened.timeline)}


@contextmanager
def _beside(lake: str) -> Iterator[Lake]:
    """Yield a scratch lake over the same events: it shares no materialised results with the lake itself."""
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as scratch:
        (Path(scratch) / "events").symlink_to(Path(lake, "events").resolve(), target_is_directory=True)
        yield open_lake(scratch)


def _ask(source: Source, timeline: Timeline) -> dict[str, list[float]]:
    questions: dict[str, Callable[[], object]] = {
        "state of all": lambda: state(source, timeline, errors="collect"),
        "distribution of types": lambda: distribution(timeline),
        "count by SQL": lambda: timeline.sql("SELECT count(*) FROM events").fetchall(),
    }
    found = {name: [_timed(ask), _timed(ask)] for name, ask in questions.items()}
    keys = state(source, timeline, errors="collect")["key"]
    if len(keys):
        some = keys[len(keys) // 2]
        of_one: dict[str, Callable[[], object]] = {
            "state of one": lambda: state(source, timeline, key=some, errors="collect"),
            "history of one": lambda: history(source, timeline, key=some, errors="collect"),
        }
        found |= {name: [_timed(ask), _timed(ask)] for name, ask in of_one.items()}
    return found


def _timed(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


def _asked(lake: str, projection: str) -> tuple[Timeline, Subject, Source]:
    opened: Lake = open_lake(lake)
    source = load_projection(projection)
    return opened.timeline, subject_of(source, opened.timeline), source


def evict(lake: str) -> None:
    """Ask the operating system to drop a lake's files from its cache, if it supports that."""
    if not hasattr(os, "posix_fadvise"):
        return
    for file in Path(lake, "events").glob("*.parquet"):
        handle = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


TASKS: dict[str, Callable[..., dict[str, Any]]] = {task.__name__: task for task in (cuts, rebuild, versions, answers, materialised)}


def main(arguments: list[str]) -> None:
    """Run a task and print its result, with the peak memory of the process."""
    found = TASKS[arguments[0]](*arguments[1:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes on Linux, bytes on a Mac.
    found["peak_bytes"] = peak if sys.platform == "darwin" else peak * 1024
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
