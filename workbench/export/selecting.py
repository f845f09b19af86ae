"""Which events of a batch a selection keeps."""

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
        A name is empty, or names only streams that the server writes for itself, and those are left out.
    """
    if "" in (*selection.streams, *selection.categories, *selection.types):
        raise UsageError("The selection has an empty name, which would select nothing: leave it out, or name what to keep.")
    for name in selection.categories:
        linked = linked_category(name)
        if linked is not None:
            raise UsageError(
                f"{name} is no category but the stream in which the server keeps links to the events of category {linked}: "
                f"select the category {linked}."
            )
    if selection.system:
        return
    others = [name for name in selection.streams if only_server_streams(name, column="stream")]
    others += [name for name in selection.categories if only_server_streams(name, column="category")]
    if others:
        raise UsageError(
            f"The selection names {others[0]}, which the server writes for itself, and a lake leaves that out unless it is asked for: "
            "add --system (system: true in a pipeline)."
        )


def chosen(events: pa.RecordBatch, selection: Selection) -> pa.RecordBatch:
    """Keep the events of a selection, and the system events that govern whether those are visible."""
    # Most often the server has left its own streams out already, and a look at the first letter is enough.
    if not selection.system and pc.any(pc.starts_with(events["stream"], "$")).as_py():
        events = events.filter(pc.invert(in_server_stream(events["stream"])))
    if not selection.is_narrow:
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


def in_server_stream(streams: pa.Array) -> pa.Array:
    """Return for each name of a stream whether a server writes it for itself."""
    return pc.match_substring_regex(streams, EXPRESSION)


def _like(names: pa.Array, patterns: tuple[str, ...]) -> pa.Array:
    alternatives = "|".join(".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns)
    return pc.match_substring_regex(names, f"(?s)^(?:{alternatives})$")
