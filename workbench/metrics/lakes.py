"""Measures a lake: its end, its size, the rate and types of its events, and the duration of typical queries."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from workbench.errors import WorkbenchError
from workbench.fold.loading import load_projection
from workbench.jobs import Export, Job, Metrics, Pipeline
from workbench.jobs.pipeline import resolved
from workbench.kurrent import connect
from workbench.lake import Lake, open_lake
from workbench.replay.state import state
from workbench.timeline import Timeline

WINDOWS = {"5m": timedelta(minutes=5), "1h": timedelta(hours=1), "1d": timedelta(days=1)}
"""The windows for event rates; each ends at the time until which the lake is complete."""

OTHER = "(other)"
"""The label of all event types that are not counted by name."""


@dataclass(frozen=True, slots=True)
class WatchedLake:
    """A lake that pipelines name, the measurements that they request, and the job that fills it, if any."""

    path: str
    name: str
    metrics: Metrics
    export: Job | None = None


@dataclass(frozen=True, slots=True)
class LakeFigures:
    """What was measured of a lake; system events are left out of all but its size.

    Attributes
    ----------
    version
        Of the lake's table: the same version has the same contents.
    position, complete_until
        How far the log was copied; None if nothing was.
    source_position
        Where the log ends now, if it was asked and answered.
    rates
        Events a second, by window.
    types
        Events by type: the most frequent by name, the others together.
    snapshots, snapshots_per_day, actions_per_day, actors_per_day
        Of all, and of the last day before ``complete_until``; None where the pipeline does not say what they are.
    query_seconds
        How long queries took: of the types of all events, of the number of streams, of the last day, and of one stream.
    replay_seconds, replay_entities
        How long the state of each projection took, and how many entities it has.
    failed
        Projections and what became of them, where they could not be replayed.
    """

    version: int
    bytes: int
    files: int
    unclustered_files: int
    position: int | None = None
    last_event_position: int | None = None
    complete_until: datetime | None = None
    source_position: int | None = None
    events: int = 0
    streams: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)
    types: Mapping[str, int] = field(default_factory=dict)
    snapshots: int | None = None
    snapshots_per_day: int | None = None
    actions_per_day: int | None = None
    actors_per_day: int | None = None
    query_seconds: Mapping[str, float] = field(default_factory=dict)
    replay_seconds: Mapping[str, float] = field(default_factory=dict)
    replay_entities: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)


def watched_lakes(pipelines: Sequence[Pipeline]) -> list[WatchedLake]:
    """Return the lakes that pipelines name. A lake is labelled with the name of its folder; if two share it, with their full paths.

    Raises
    ------
    UsageError
        The path of a lake uses an environment variable that is not set.
    """
    found: dict[str, WatchedLake] = {}
    for pipeline in pipelines:
        for job in pipeline.jobs:
            path = job.lake
            name = PurePosixPath(path.rstrip("/")).name
            export = job if isinstance(job.work, Export) else None
            known = found.get(path)
            if known is None or (known.export is None and export is not None):
                found[path] = WatchedLake(path, name, pipeline.metrics, export)
    names = [one.name for one in found.values()]
    return [one if names.count(one.name) == 1 else WatchedLake(one.path, one.path, one.metrics, one.export) for one in found.values()]


def version_of(watched: WatchedLake) -> int:
    """Return the version of a lake as it is now; reads Delta's log only.

    Raises
    ------
    LakeError
        It cannot be read.
    """
    return open_lake(watched.path).timeline.with_system().describe().lake_version


def measure(watched: WatchedLake) -> LakeFigures:
    """Measure a lake as it is now. This runs the queries and the replays that the pipeline requests.

    Raises
    ------
    LakeError
        It cannot be read.
    """
    lake = open_lake(watched.path)
    info, timeline, metrics = lake.info(), lake.timeline, watched.metrics
    figures: dict[str, Any] = {
        "version": info.version,
        "bytes": info.bytes,
        "files": info.files,
        "unclustered_files": info.unclustered_runs,
        "position": None if info.checkpoint is None else info.checkpoint.position,
        "last_event_position": info.last_position,
        "complete_until": info.complete_until,
        "source_position": _source_position(watched.export),
    }
    until = info.complete_until
    if until is None:
        return LakeFigures(**figures)
    asked = _AskedLake(lake, {})
    by_type = dict(asked("types", timeline, "SELECT type, count(*) FROM events GROUP BY type ORDER BY count(*) DESC, type"))
    [(streams,)] = asked("streams", timeline, "SELECT count(DISTINCT stream) FROM events")
    last_day = timeline.after(until - WINDOWS["1d"])
    counts = [f"count(*) FILTER (recorded_at > {_instant(until - span)})" for span in WINDOWS.values()]
    actor = None if metrics.actor is None else _text_at(metrics.actor)
    counts += [f"count({actor})", f"count(DISTINCT {actor})"] if actor else ["NULL", "NULL"]
    counts.append(f"count(*) FILTER ({_like(metrics.snapshots)})" if metrics.snapshots else "NULL")
    upto = f"WHERE recorded_at > {_instant(until - WINDOWS['1d'])} AND recorded_at <= {_instant(until)}"
    [row] = asked("last day", last_day, f"SELECT {', '.join(counts)} FROM events {upto}")
    *in_windows, actions, actors, snapshots_per_day = row
    with lake.reading():
        one = timeline.sql("SELECT stream FROM events WHERE NOT contains(stream, '*') LIMIT 1").fetchall()
    for (stream,) in one:
        asked("one stream", timeline.streams(stream), "SELECT count(data) FROM events")
    seconds, entities, failed = _replays(metrics.replay, timeline)
    is_snapshot = re.compile("|".join(".*".join(map(re.escape, one.split("*"))) for one in metrics.snapshots), re.DOTALL)
    return LakeFigures(
        **figures,
        events=sum(by_type.values()),
        streams=streams,
        rates={name: count / span.total_seconds() for (name, span), count in zip(WINDOWS.items(), in_windows, strict=True)},
        types=_bounded(by_type, metrics.types),
        snapshots=sum(count for name, count in by_type.items() if is_snapshot.fullmatch(name)) if metrics.snapshots else None,
        snapshots_per_day=snapshots_per_day,
        actions_per_day=actions,
        actors_per_day=actors,
        query_seconds=asked.seconds,
        replay_seconds=seconds,
        replay_entities=entities,
        failed=failed,
    )


@dataclass(frozen=True, slots=True)
class _AskedLake:
    """Queries to a lake, and how long each took."""

    lake: Lake
    seconds: dict[str, float]

    def __call__(self, name: str, timeline: Timeline, sql: str) -> list[tuple[Any, ...]]:
        began = time.perf_counter()
        with self.lake.reading():
            rows: list[tuple[Any, ...]] = timeline.sql(sql).fetchall()
        self.seconds[name] = time.perf_counter() - began
        return rows


def _bounded(counts: Mapping[str, int], most: int) -> dict[str, int]:
    """Keep the most frequent by name, so that labels do not grow with the data."""
    names = list(counts)
    found = {name: counts[name] for name in names[:most]}
    rest = sum(counts[name] for name in names[most:])
    # A type may have the name of that label; it is then counted with the others.
    return found | {OTHER: found.get(OTHER, 0) + rest} if rest else found


def _replays(projections: Sequence[str], timeline: Timeline) -> tuple[dict[str, float], dict[str, int], dict[str, str]]:
    seconds, entities, failed = {}, {}, {}
    for name in projections:
        short = name if "/" not in name else name.rpartition("/")[2]
        began = time.perf_counter()
        try:
            found = state(load_projection(name), timeline)
        except WorkbenchError as error:
            failed[short] = str(error)
            continue
        seconds[short], entities[short] = time.perf_counter() - began, found.height
    return seconds, entities, failed


def _source_position(export: Job | None) -> int | None:
    """Return the end of the log from which a lake is copied; None if the server does not answer."""
    if export is None or not isinstance(export.work, Export):
        return None
    with suppress(WorkbenchError), connect(resolved(export.work.source, folder=export.folder, what="the source")) as source:
        end = source.end()
        return None if end is None else end.position
    return None


def _instant(moment: datetime) -> str:
    return f"TIMESTAMPTZ '{moment.isoformat()}'"


def _text_at(place: tuple[str | int, ...]) -> str:
    """Return SQL for the text of the value at a path in a payload; null if there is none."""
    root, *steps = place
    pointer = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    # A text with half a surrogate pair cannot be read, and would end the query.
    return f"TRY(json_extract_string({root}, '{pointer.replace(chr(39), chr(39) * 2)}'))"


def _like(patterns: Sequence[str]) -> str:
    """Return the SQL for types that fit one of several patterns."""
    expressions = ("(?s)^" + ".*".join(map(re.escape, one.split("*"))) + "$" for one in patterns)
    return " OR ".join(f"regexp_full_match(type, '{one.replace(chr(39), chr(39) * 2)}')" for one in expressions)
