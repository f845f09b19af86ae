"""Where in a log an entity is mentioned, if its key stands in the payloads of events: found by looking at their text alone."""

from __future__ import annotations

import json
from collections.abc import Iterable

import polars as pl

from workbench.projection.plan import Plan
from workbench.replay.kernel.layout import key_roots
from workbench.timeline import Timeline


def may_be_about(plan: Plan, key: str) -> pl.Expr | None:
    """Return a condition that every event about an entity fits, and few others; None where a key may come from elsewhere.

    The key stands in the payload, as a JSON string or as a whole number, or an escape does that may spell it.
    """
    roots = key_roots(plan)
    if not roots:
        return None
    text = key if key.removeprefix("-").isdecimal() else json.dumps(key, ensure_ascii=False)
    names = [pl.col(root).str.contains(spelt, literal=True) for root in roots for spelt in (text, "\\")]
    return pl.col("type").is_in([handled.type for handled in plan.types]) & pl.any_horizontal(names)


def streams_about(plan: Plan, timeline: Timeline, keys: Iterable[str]) -> set[str] | None:
    """Return streams among which are all those with events about some entities; None where that takes a replay to know."""
    conditions = [may_be_about(plan, key) for key in keys]
    known = [condition for condition in conditions if condition is not None]
    if not known or len(known) < len(conditions):
        return None
    events = timeline.categories(*plan.categories).events().filter(pl.any_horizontal(known))
    return set(events.select(pl.col("stream").unique()).collect()["stream"])
