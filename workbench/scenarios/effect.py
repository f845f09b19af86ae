"""Applies a scenario to a timeline, and compares the states of projections before and after its edits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from workbench.display import card
from workbench.errors import UsageError
from workbench.events import format_time
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.loading import load_projection
from workbench.fold.resolve import Source, subject_of
from workbench.fold.results import PROVENANCE
from workbench.replay.diff import diff
from workbench.replay.state import state
from workbench.replay.state_conditions import json_fields
from workbench.scenarios.measures import measured
from workbench.scenarios.scenario import Scenario, Watched
from workbench.timeline import Timeline, ensure_timelines
from workbench.timeline.edits import Drop, Effect


@dataclass(frozen=True, slots=True)
class Measured:
    """The value of a measure before and after the edits."""

    name: str
    measure: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Consequence:
    """What a scenario changes in the states of one projection.

    Attributes
    ----------
    diff
        The entities that differ, as from `diff`.
    entities_before, entities_after
        The numbers of entities without and with the edits.
    """

    projection: str
    diff: pl.DataFrame = field(repr=False)
    entities_before: int
    entities_after: int
    measures: tuple[Measured, ...]

    def count(self, change: str) -> int:
        """Count the entities that were ``added``, ``removed`` or ``changed``."""
        return int((self.diff["change"] == change).sum())

    @property
    def changed_fields(self) -> dict[str, int]:
        """In how many entities each field changed, the most frequent first."""
        counts = Counter(name for names in self.diff["changed_fields"].to_list() for name in names)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @property
    def diverged(self) -> dict[str, Any] | None:
        """The earliest event after which any entity is another: ``key``, ``diverged_position`` and so on; None if nothing differs."""
        names = ["key", "diverged_position", "diverged_at", "diverged_event_type", "diverged_event_id"]
        first = self.diff.sort("diverged_position", nulls_last=True, maintain_order=True).select(names).head(1)
        return first.row(0, named=True) if first.height else None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The result of applying a scenario to a timeline.

    Attributes
    ----------
    scenario
        The scenario.
    timeline, fork
        The history without and with the scenario's edits.
    effects
        What each of the scenario's edits did.
    events_before, events_after
        The numbers of events of all categories in the two.
    consequences
        What changes in the states of each projection.
    """

    scenario: Scenario
    timeline: Timeline = field(repr=False)
    fork: Timeline = field(repr=False)
    effects: tuple[Effect, ...]
    events_before: int
    events_after: int
    consequences: tuple[Consequence, ...]

    def values(self) -> Iterator[tuple[str, str, Any, Any]]:
        """Yield what the scenario comes to: of which projection (empty for the events), what, and its value before and after."""
        yield "", "events", self.events_before, self.events_after
        yield "", "events edited", None, sum(one.matched for one in self.effects)
        if any(isinstance(one.edit, Drop) and one.edit.cascade for one in self.effects):
            yield "", "events that followed", None, sum(one.cascaded for one in self.effects)
        for one in self.consequences:
            yield one.projection, "entities", one.entities_before, one.entities_after
            for change in ("added", "removed", "changed"):
                yield one.projection, change, None, one.count(change)
            for name, count in one.changed_fields.items():
                yield one.projection, f"changed {name}", None, count
            yield one.projection, "diverged at position", None, None if one.diverged is None else one.diverged["diverged_position"]
            for each in one.measures:
                yield one.projection, each.name if each.name == each.measure else f"{each.name}: {each.measure}", each.before, each.after

    @property
    def summary(self) -> pl.DataFrame:
        """What the scenario comes to as a frame of texts: ``scenario``, ``projection``, ``what``, ``before`` and ``after``."""
        rows = [(self.scenario.name, projection, what, _text(before), _text(after)) for projection, what, before, after in self.values()]
        return pl.DataFrame(rows, schema=dict.fromkeys(("scenario", "projection", "what", "before", "after"), pl.String), orient="row")

    def _repr_html_(self) -> str:
        """Show the question, what the edits came to, and the entities and measures of each projection."""
        values: dict[str, object] = {"Events before": self.events_before, "Events after": self.events_after}
        for one in self.consequences:
            values[f"{one.projection.rpartition(':')[2]} entities that differ"] = one.diff.height
            values |= {f"{each.name}, before → after": f"{_text(each.before)} → {_text(each.after)}" for each in one.measures}
        notes = [*([self.scenario.question] if self.scenario.question else []), *map(str, self.effects), str(self.timeline)]
        return card("What if", values, place=self.scenario.name, notes=notes)._repr_html_()


def _text(value: Any) -> str | None:
    if isinstance(value, datetime):
        return format_time(value)
    return None if value is None else format(value, "f") if isinstance(value, Decimal) else str(value)


def whatif(scenario: Scenario, timeline: Timeline, *, errors: OnError = "raise") -> WhatIf:
    """Apply a scenario to a timeline, and return what it changes in the states of each of its projections.

    Parameters
    ----------
    scenario
        The scenario. Its edits apply after the timeline's own.
    timeline
        A history from its first event to its cutoff.
    errors
        ``"raise"`` stops at the first value that does not fit its field. ``"collect"`` leaves such events out.

    Returns
    -------
    WhatIf
        What each edit did, the number of events before and after, and for each projection the diff and the measures before and after.
        ``summary`` holds all of it in one frame.

    Raises
    ------
    UsageError
        ``scenario`` is not a scenario, a measure names a column that does not exist, or the timeline selects a part of the events.
    InvalidProjection
        The scenario names a projection that does not exist.
    ValueDoesNotFit
        A value does not fit its field.

    Examples
    --------
    >>> now = wb.open("data/demo").timeline
    >>> found = wb.whatif(wb.Scenario.load("no-deletions"), now)
    >>> users = found.summary.filter(pl.col("projection").str.ends_with(":User"))
    >>> users.select("what", "before", "after").head(2)
    shape: (2, 3)
    ┌──────────┬────────┬───────┐
    │ what     ┆ before ┆ after │
    │ ---      ┆ ---    ┆ ---   │
    │ str      ┆ str    ┆ str   │
    ╞══════════╪════════╪═══════╡
    │ entities ┆ 535    ┆ 602   │
    │ added    ┆ null   ┆ 67    │
    └──────────┴────────┴───────┘
    """
    if not isinstance(scenario, Scenario):
        raise UsageError(
            f"whatif() expects a scenario, got a {type(scenario).__name__}: load one with wb.Scenario.load(…). "
            "To compare a fork that you made with drop() and the like, call wb.diff(projection, now, fork)."
        )
    # Load all projections first, so that a wrong name in the last one fails before the first is folded.
    ensure_timelines(timeline)
    watched = [(one, _source(one)) for one in scenario.projections]
    fork = scenario.on(timeline)
    return WhatIf(
        scenario,
        timeline,
        fork,
        effects=fork.effects[len(timeline.edits) :],
        events_before=timeline.count(),
        events_after=fork.count(),
        consequences=tuple(_consequence(one, source, timeline, fork, errors=errors) for one, source in watched),
    )


def _source(watched: Watched) -> Source:
    return load_projection(watched.projection) if isinstance(watched.projection, str) else watched.projection


def _consequence(watched: Watched, source: Source, timeline: Timeline, fork: Timeline, *, errors: OnError) -> Consequence:
    before = state(source, timeline, errors=errors).drop(PROVENANCE)
    # Entities that the diff does not name are equal in both histories, so the fork need not be folded.
    differing = diff(source, timeline, fork, errors=errors)
    there = differing.filter(pl.col("after").is_not_null()).select("key", "after")
    dtype = differing.schema["after"]
    held = [name for name in (one.name for one in dtype.fields) if name != "key"] if isinstance(dtype, pl.Struct) else []
    there = there.select("key", *(pl.col("after").struct.field(name) for name in held))
    after = pl.concat([before.join(differing, on="key", how="anti"), there], how="diagonal_relaxed")
    fields = [name for name in after.columns if name != "key"]
    sides = [side.with_columns(pl.lit(None).alias(name) for name in fields if name not in side.columns) for side in (before, after)]
    json = json_fields(subject_of(source, timeline, fork))
    measures = tuple(
        Measured(name, measure.text, *(measured(measure, side, fields=fields, json=json) for side in sides))
        for name, measure in watched.measures
    )
    return Consequence(watched.name, differing, before.height, after.height, measures)
