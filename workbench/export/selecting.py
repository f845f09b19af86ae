"""Which events of a batch a selection keeps."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from workbench.events import Selection


def chosen(events: pa.RecordBatch, selection: Selection) -> pa.RecordBatch:
    """Keep the events of a selection, and the system events that govern whether those are visible."""
    if not selection:
        return events
    stream, type_ = events["stream"], events["type"]
    mask = pa.scalar(value=True)
    if selection.types:
        # Tombstones and stream metadata decide what of the chosen streams is visible, whatever types were chosen.
        governs = pc.or_(pc.equal(type_, "$streamDeleted"), pc.starts_with(stream, "$$"))
        mask = pc.or_(_like(type_, selection.types), governs)
    governed = pc.replace_substring_regex(stream, r"^\$\$", "")
    if selection.streams:
        mask = pc.and_(mask, pc.or_(_like(stream, selection.streams), _like(governed, selection.streams)))
    if selection.categories:
        category = pc.replace_substring_regex(governed, r"(?s)-.*$", "")
        wanted = pa.array(selection.categories, pa.string())
        mask = pc.and_(mask, pc.or_(pc.is_in(events["category"], wanted), pc.is_in(category, wanted)))
    return events.filter(mask)


def _like(names: pa.Array, patterns: tuple[str, ...]) -> pa.Array:
    alternatives = "|".join(".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns)
    return pc.match_substring_regex(names, f"(?s)^(?:{alternatives})$")
