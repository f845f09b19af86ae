"""Selects the events of a batch that an export keeps."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from workbench.errors import UsageError
from workbench.events import Selection
from workbench.server_streams import EXPRESSION, linked_category, only_server_streams


def check_selection(selection: Selection) -> None:
    """Refuse a selection that could keep nothing.

    Raises
    ------
    UsageError
        A name is empty, or names only the server's own streams, which are left out.
    """
    if "" in (*selection.streams, *selection.categories, *selection.types):
        raise UsageError("The selection has an empty name, which would select nothing: omit it, or name what to keep.")
    for name in selection.categories:
        linked = linked_category(name)
        if linked is not None:
            raise UsageError(
                f"{name} is not a category but the stream in which the server keeps links to the events of category {linked}: "
                f"select the category {linked}."
            )
    if selection.system:
        return
    others = [name for name in selection.streams if only_server_streams(name, column="stream")]
    others += [name for name in selection.categories if only_server_streams(name, column="category")]
    if others:
        raise UsageError(
            f"The selection names {others[0]}, one of the server's own streams, which a lake leaves out by default: "
            "add --system (system: true in a pipeline)."
        )


def chosen(events: pa.RecordBatch, selection: Selection) -> pa.RecordBatch:
    """Keep the events of a selection, and the system events that govern whether those are visible."""
    # Most often the server has already left its own streams out, and checking the first letter is enough.
    if not selection.system and pc.any(pc.starts_with(events["stream"], "$")).as_py():
        events = events.filter(pc.invert(in_server_stream(events["stream"])))
    if not selection.is_narrow:
        return events
    stream, type_ = events["stream"], events["type"]
    mask = pa.scalar(value=True)
    if selection.types:
        # Tombstones and stream metadata decide what is visible in the chosen streams, whichever types were chosen.
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


def in_server_stream(streams: pa.Array) -> pa.Array:
    """Return for each stream name whether it is one of the server's own streams."""
    return pc.match_substring_regex(streams, EXPRESSION)


def _like(names: pa.Array, patterns: tuple[str, ...]) -> pa.Array:
    alternatives = "|".join(".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns)
    return pc.match_substring_regex(names, f"(?s)^(?:{alternatives})$")
