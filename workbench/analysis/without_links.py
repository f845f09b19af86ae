"""Leave out links: what follows correlation ids, causes or people must count each event once."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from workbench.timeline import Timeline

NO_LINK_SQL = "(type <> '$>' AND type <> '$@')"
"""Whether an event is no link. A link carries the correlation id of its target, so that each of an event's links would count again."""

NO_LINK = ~pl.col("type").is_in(["$>", "$@"])
"""The same for Polars."""


def unlinked(timeline: Timeline) -> Timeline:
    """Return the timeline without the events that links would show a second time; the links themselves may be in it."""
    return replace(timeline, follows=False)
