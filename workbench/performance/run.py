"""``bench``: how long replays take on one's own data, and what follows from that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from workbench.errors import ReplayError, UsageError
from workbench.fold.event_by_event.function_fold import Fold
from workbench.fold.loading import load_projection
from workbench.fold.resolve import subject_of
from workbench.lake import Lake
from workbench.lake.files.location import Location
from workbench.performance import result as told
from workbench.performance.result import PARTS, Machine, Measurement, QuestionTime, Rebuild
from workbench.projection.declaration import Projection

MOST_BY_HAND = 500_000
"""Events up to which the event-by-event engine is measured: it is there to be compared with, and its rate is the same for more."""
MOST_TYPES = 8
"""Event types that are measured one by one, the most frequent ones."""

Step = Callable[[str], None]


def bench(projection: str | type[Projection], lake: Lake, *, now: datetime, keeps: bool = True, on_step: Step | None = None) -> Measurement:
    """Measure how the state of a projection is come by, on a lake of one's own.

    Everything runs in processes of its own, one after the other, so that memory is that of the one thing. Each rebuild runs twice: *cold*
    is the first in a fresh process, after the system was asked to forget what it holds of the lake's files, where it can be asked; *warm*
    is the second. Nothing that is materialised in the lake is used: to measure it, it is made anew over the same events in a scratch
    folder, so that the lake is left as it was but for the measurement itself.

    Parameters
    ----------
    projection
        Its name, as on the command line, ``FILE.py:CLASS``, ``MODULE:CLASS`` or a category; or a class that stands in a module.
    now
        The time that is written down with the measurement.
    keeps
        Whether the measurement is kept in the lake, in ``measurements``, so that trends show.
    on_step
        Called with what is measured next.

    Raises
    ------
    UsageError
        The projection cannot be found by another process, the lake lies in an object store, or it has no events of the projection.
    ReplayError
        A measurement failed; the message says why.
    """
    directory = Location.of(lake.path).directory
    if directory is None:
        raise UsageError(f"bench() measures lakes on this machine's file system, and {lake.path} is an object store: copy it first.")
    if now.tzinfo is None:
        raise UsageError(f"{now} has no time zone: give datetime.now(UTC).")
    name = _name(projection)
    subject = subject_of(load_projection(name), lake.timeline)
    run = _Runner(str(directory), name, on_step or (lambda _: None))
    found = run("looking at the events", "cuts")
    counts: dict[str, int] = found["types"]
    events = sum(counts.values())
    if not events:
        raise UsageError(f"The lake {lake.path} holds no events of {subject.name}: there is nothing to measure.")
    rebuilds = list(_rebuilds(run, found, counts, lake, is_fold=isinstance(subject, Fold)))
    answers = list(_answers(run("asking questions", "answers"), is_materialised=False))
    seconds, size = None, None
    if run.may_fail("materialising", "materialised") is not None:
        made = run.last
        seconds, size = float(made["seconds"]), int(made["bytes"])
        answers += _answers(made, is_materialised=True)
    measurement = Measurement(
        now.astimezone(UTC),
        subject.name,
        found["version"],
        found["position"],
        events,
        found["recent"] / found["days"] if found["days"] else 0.0,
        Machine.this(),
        tuple(rebuilds),
        tuple(answers),
        seconds,
        size,
    )
    if keeps:
        told.keep(measurement, directory)
    return measurement


def measurements(lake: Lake) -> list[Measurement]:
    """Return what ``bench`` kept in a lake, the oldest first."""
    directory = Location.of(lake.path).directory
    return [] if directory is None else told.kept(directory)


def trend(lake: Lake) -> pl.DataFrame:
    """Return how the measurements that are kept in a lake changed: see ``result.trend``."""
    return told.trend(measurements(lake))


def _rebuilds(run: _Runner, found: dict[str, Any], counts: dict[str, int], lake: Lake, *, is_fold: bool) -> Iterator[Rebuild]:
    subject = subject_of(load_projection(run.projection), lake.timeline)
    ours = lake.timeline.categories(*subject.categories)
    best = "fold" if is_fold else "kernel"
    sizes = [ours.upto(position=position).count() for position in found["ends"]]
    for what, position, events in zip(PARTS, found["ends"], sizes, strict=True):
        yield from _runs(run(f"rebuilding {what}", "rebuild", best, str(position), ""), what, "best", events)
    last = str(found["ends"][-1])
    if is_fold:
        return
    position, events = next(
        ((at, count) for at, count in zip(reversed(found["ends"]), reversed(sizes), strict=True) if count <= MOST_BY_HAND), (None, 0)
    )
    if position is None:
        ends = ours.sql(f"SELECT quantile_disc(position, {MOST_BY_HAND / sizes[-1]}) FROM events").fetchall()
        position = ends[0][0]
        events = ours.upto(position=position).count()
    label = "engines side by side"
    for engine in ("kernel", "event by event"):
        yield from _runs(run(f"rebuilding by the {engine} engine", "rebuild", engine, str(position), ""), label, engine, events)
    made = run("writing the history", "versions")
    yield _rebuild("history to Parquet", "kernel", "cold", events=sizes[-1], run=made, made=made)
    handled = {one.type for one in getattr(subject, "types", ())}
    for type_ in [one for one in counts if one in handled][:MOST_TYPES]:
        made = run(f"rebuilding {type_} alone", "rebuild", "kernel", last, type_)
        yield _rebuild(f"{type_} alone", "kernel", "warm", events=counts[type_], run=made["warm"], made=made)


def _runs(made: dict[str, Any], what: str, engine: str, events: int) -> Iterator[Rebuild]:
    for name in ("cold", "warm"):
        yield _rebuild(what, engine, name, events=events, run=made[name], made=made)


def _rebuild(what: str, engine: str, name: str, *, events: int, run: dict[str, Any], made: dict[str, Any]) -> Rebuild:
    return Rebuild(what, engine, name, events, float(run["seconds"]), int(made["peak_bytes"]), **run["stages"])


def _answers(made: dict[str, Any], *, is_materialised: bool) -> Iterator[QuestionTime]:
    for question, (first, again) in made["answers"].items():
        yield QuestionTime(question, is_materialised, first, again)


def _name(projection: str | type[Projection]) -> str:
    if isinstance(projection, str):
        return projection
    given: object = projection
    if isinstance(given, type) and given.__module__ != "__main__" and given.__qualname__.isidentifier():
        return f"{given.__module__}:{given.__qualname__}"
    raise UsageError(
        f"bench() measures in processes of its own, which cannot find {projection!r}: write it into a file and name it FILE.py:CLASS."
    )


class _Runner:
    """Runs tasks, each in a process of its own."""

    def __init__(self, lake: str, projection: str, on_step: Step) -> None:
        self.lake = lake
        self.projection = projection
        self.on_step = on_step
        self.last: dict[str, Any] = {}

    def __call__(self, step: str, task: str, *arguments: str) -> dict[str, Any]:
        self.on_step(step)
        done = self._run(task, *arguments)
        if done.returncode:
            raise ReplayError(f"{step} failed: {_why(done.stderr)}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def may_fail(self, step: str, task: str) -> dict[str, Any] | None:
        """Run a task that some projections do not allow."""
        try:
            self.last = self(step, task)
        except ReplayError:
            return None
        return self.last

    def _run(self, task: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workbench.performance.tasks", task, self.lake, self.projection, *arguments]
        # Modules that this process can import, the other one can.
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        environment = os.environ | {"PYTHONPATH": paths}
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)


def _why(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else "the process ended without a word; it may have run out of memory."
