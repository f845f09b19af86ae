"""Leaves out links, so that questions about correlation ids, causes or people count each event once."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from workbench.timeline import Timeline

NO_LINK_SQL = "(type <> '$>' AND type <> '$@')"
"""Whether an event is not a link. A link has the correlation id of its target, so each link to an event would count it again."""

NO_LINK = ~pl.col("type").is_in(["$>", "$@"])
"""The same condition as a Polars expression."""


def unlinked(timeline: Timeline) -> Timeline:
    """Return the timeline without resolved links, which repeat events; unresolved link events may remain."""
    return replace(timeline, follows=False)
