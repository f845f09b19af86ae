"""Builds the tree of causes and effects among the events with one correlation id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from workbench.analysis.without_links import NO_LINK, unlinked
from workbench.display import spelled
from workbench.errors import UsageError
from workbench.events import format_time
from workbench.lake.forks.event_ids import as_event_id
from workbench.timeline import Timeline, ensure_timelines

_COLUMNS = ("position", "prepare_position", "recorded_at", "stream", "revision", "type", "event_id", "causation_id")


@dataclass(frozen=True, slots=True)
class Trace:
    """The events with one correlation id, each below the one that caused it.

    Attributes
    ----------
    correlation_id
        The id.
    timeline
        The history in which it was looked for.
    events
        One row for each event in the order of the tree, effects below their causes in log order: ``depth`` (0 without a cause in the
        trace), ``parent`` (the row of its cause, or null), ``note`` (what is odd about its cause, mostly null), ``since_start`` (of the
        trace's first event that has a time) and ``since_cause`` (null if one of the two events is undated), then ``position``,
        ``prepare_position``, ``recorded_at``, ``stream``, ``revision``, ``type``, ``event_id``, ``causation_id``.
    """

    correlation_id: str
    timeline: Timeline = field(repr=False)
    events: pl.DataFrame = field(repr=False)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is odd, one sentence for each such event."""
        odd = self.events.drop_nulls("note").select("type", "stream", "revision", "note").iter_rows()
        return tuple(f"{event_type} (event {revision} of {stream}): {note}" for event_type, stream, revision, note in odd)

    def __str__(self) -> str:
        """Write the tree as text."""
        first = self.events["recorded_at"].min()
        since = f" since {format_time(first)}" if isinstance(first, datetime) else ""
        lines = [f"{self.correlation_id}: {self.events.height:,} events{since}"]
        columns = self.events.select("type", "stream", "revision", "since_start", "note").iter_rows()
        for branch, (event_type, stream, revision, passed, note) in zip(self._branches(), columns, strict=True):
            odd = f"  [{note}]" if note else ""
            after = "" if passed is None else f"  +{spelled(passed)}"
            lines.append(f"{branch}{event_type}  {stream}@{revision}{after}{odd}")
        return "\n".join(lines)

    def _branches(self) -> Iterator[str]:
        """Yield the lines of the tree that are drawn before each event."""
        parents = self.events["parent"].to_list()
        last = {parent: row for row, parent in enumerate(parents)}  # the last effect of each cause, and the last root
        above: dict[int, str] = {}
        for row, parent in enumerate(parents):
            if parent is None:
                above[row] = ""
                yield ""
                continue
            closes = last[parent] == row
            yield above[parent] + ("└─ " if closes else "├─ ")
            above[row] = above[parent] + ("   " if closes else "│  ")


def trace(timeline: Timeline, correlation_id: str) -> Trace:
    """Return the events with a correlation id as a tree of causes and effects.

    An event's cause is the one whose id its ``$causationId`` names; UUIDs may be in any notation. If several events have that id, the last
    one before the effect counts. An event begins a tree of its own if it names no cause, or one that is not in the trace, is later in the
    log, or leads back to the event; a note says which.

    Parameters
    ----------
    timeline
        Any history, what-ifs included. Links are left out.
    correlation_id
        The value of ``$correlationId`` in the events' metadata, spelled exactly.

    Returns
    -------
    Trace
        The tree: its frame ``events`` has one row for each event, and its text is drawn as below.

    Raises
    ------
    UsageError
        No event has that correlation id.

    Examples
    --------
    >>> print(wb.trace(wb.open("data/demo").timeline, "c45af724-b3fa-416e-ac31-1940a8abf26a"))
    c45af724-b3fa-416e-ac31-1940a8abf26a: 8 events since 2026-01-01T00:00:53.731224Z
    registration.started  registration-1@0  +0 s
    └─ user.created  user-2@0  +210 ms
       └─ registration.step_completed  registration-1@1  +347 ms
          └─ chat.member_joined  room-1@3  +539 ms
             └─ registration.step_completed  registration-1@2  +940 ms
                └─ community.member_welcomed  member-2@0  +1.07 s
                   ├─ registration.step_completed  registration-1@3  +1.21 s
                   └─ registration.completed  registration-1@4  +1.21 s
    """
    ensure_timelines(timeline)
    timeline = unlinked(timeline)
    found = timeline.events().filter(NO_LINK & (pl.col("correlation_id") == correlation_id)).select(_COLUMNS).collect()
    if found.is_empty():
        raise UsageError(
            f"No event has the correlation id {correlation_id!r} ({timeline}): workflows() lists those of a workflow, and "
            "sql('select distinct correlation_id from events') all of them."
        )
    parents, notes = _causes(found, timeline, correlation_id)
    order, depths = _walked(parents)
    place = {row: number for number, row in enumerate(order)}
    rows = found[order].with_columns(
        pl.Series("depth", [depths[row] for row in order], dtype=pl.Int64),
        pl.Series("parent", [None if (parent := parents[row]) is None else place[parent] for row in order], dtype=pl.Int64),
        pl.Series("note", [notes.get(row) for row in order], dtype=pl.String),
        (pl.col("recorded_at") - pl.lit(found["recorded_at"].drop_nulls().first(), dtype=found.schema["recorded_at"])).alias("since_start"),
    )
    cause = rows["recorded_at"].gather(rows["parent"])
    since = rows.select((pl.col("recorded_at") - cause).alias("since_cause")).to_series()
    return Trace(
        correlation_id, timeline, rows.with_columns(since).select("depth", "parent", "note", "since_start", "since_cause", *_COLUMNS)
    )


def _causes(found: pl.DataFrame, timeline: Timeline, correlation_id: str) -> tuple[list[int | None], dict[int, str]]:
    """Return the row of each event's cause, in log order, and notes on causes that are odd."""
    ids, causes = found["event_id"].to_list(), found.select(as_event_id("causation_id")).to_series().to_list()
    began_by = pl.DataFrame({"id": [correlation_id]}).select(as_event_id("id")).item()
    with_id: dict[str, list[int]] = {}
    for row, event_id in enumerate(ids):
        with_id.setdefault(event_id, []).append(row)
    elsewhere = _elsewhere(timeline, {cause for cause in causes if cause is not None and cause not in with_id})
    parents: list[int | None] = [None] * len(ids)
    notes: dict[int, str] = {}
    for row, cause in enumerate(causes):
        if cause is None:
            if row:
                notes[row] = "names no cause"
        elif cause not in with_id and cause == began_by:
            pass  # by convention the trace has the id of its first message, usually a command
        elif cause not in with_id:
            notes[row] = f"its cause {elsewhere.get(cause, f'{cause} is not in this history')}"
        else:
            rows = with_id[cause]
            earlier = [one for one in rows if one < row]
            parents[row] = earlier[-1] if earlier else rows[0]
            if rows == [row]:
                notes[row] = "names itself as its cause"
            elif not earlier:
                notes[row] = "its cause comes later in the log"
            elif len(earlier) > 1:
                notes[row] = f"its cause's id stands in {len(earlier)} events before it; the last one counts"
    _cut_circles(parents, notes)
    return parents, notes


def _elsewhere(timeline: Timeline, ids: set[str]) -> dict[str, str]:
    """Describe where events outside a trace are."""
    if not ids:
        return {}
    asked = (
        timeline.events()
        .filter(NO_LINK & pl.col("event_id").is_in(sorted(ids)))
        .select("event_id", "type", "stream", "correlation_id")
        .collect()
    )
    return {
        event_id: f"is {event_type} of {stream}, which has {'no correlation id' if other is None else f'the correlation id {other}'}"
        for event_id, event_type, stream, other in asked.iter_rows()
    }


def _cut_circles(parents: list[int | None], notes: dict[int, str]) -> None:
    """Make the first event of each cycle a root."""
    settled: set[int] = set()
    for row in range(len(parents)):
        way: dict[int, None] = {}
        at: int | None = row
        while at is not None and at not in settled and at not in way:
            way[at] = None
            at = parents[at]
        if at is not None and at in way:
            circle = list(way)[list(way).index(at) :]
            first = min(circle)
            parents[first] = None
            if len(circle) > 1:
                notes[first] = f"its causes lead back to it, through {len(circle) - 1} other event{'s' if len(circle) > 2 else ''}"
        settled |= way.keys()


def _walked(parents: list[int | None]) -> tuple[list[int], dict[int, int]]:
    """Return the rows in the order of the tree, and the depth of each."""
    effects: dict[int | None, list[int]] = {}
    for row, parent in enumerate(parents):
        effects.setdefault(parent, []).append(row)
    order, depths = [], {}
    waiting = [(row, 0) for row in reversed(effects.get(None, []))]
    while waiting:
        row, depth = waiting.pop()
        order.append(row)
        depths[row] = depth
        waiting += [(effect, depth + 1) for effect in reversed(effects.get(row, []))]
    return order, depths
