"""Makes a plan that merges the payloads of a category, for state without a declaration.

For each stream of the category, the top-level keys of every payload that is a JSON object are merged: the last event with a key wins, an
absent key changes nothing, and null makes the column null. Every event counts, and none ends an entity. The columns are all keys of the
category in the lake at any time, sorted by name, so that states at different times have the same columns. A column is text, integer,
float or boolean if all its values are, and canonical JSON text otherwise; a float column may contain only integers that a double can
represent exactly. A key with the name of a result column, such as ``revision``, becomes ``data.revision``. A column name cannot contain
U+0000; it appears as ``\\u0000``.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.errors import UsageError
from workbench.fold.results import HISTORY_PROVENANCE, PROVENANCE
from workbench.payloads.profile import Found, top_level
from workbench.projection.plan import Branch, Field, HandledType, Handler, Operation, Path, Plan
from workbench.timeline import Timeline

_TAKEN = frozenset({"key", "event_id", "event_stream", *PROVENANCE, *HISTORY_PROVENANCE})


def merging_plan(category: str, *timelines: Timeline) -> Plan:
    """Return the plan that merges the payloads of a category, with the keys of all timelines, since a fork may add keys.

    Raises
    ------
    UsageError
        No timeline has such a category.
    """
    keys: dict[str, Found] = {}
    types: dict[str, set[str]] = {}
    for found in _found(category, timelines):
        for type_, seen in found.items():
            types.setdefault(type_, set()).update(seen)
            for name, one in seen.items():
                keys[name] = keys[name] + one if name in keys else one
    names: dict[str, str] = {}
    for key in sorted(keys):
        name = key.replace("\0", "\\u0000")
        while name in _TAKEN or (name != key and name in keys):
            name = f"data.{name}"
        names[key] = name
    fields = tuple(Field(names[key], keys[key].scalar()) for key in sorted(keys))
    handled = []
    for type_, its in sorted(types.items()):
        operations = tuple(Operation("set", names[key], Path("data", (key,))) for key in sorted(its))
        handled.append(HandledType(type_, (Branch(None, type_, None, (Handler(None, operations, creates=True),)),)))
    return Plan(category, (category,), fields, tuple(handled), creates=True)


def _found(category: str, timelines: Sequence[Timeline]) -> list[dict[str, dict[str, Found]]]:
    """Profile the payloads of a category in each timeline; at least one timeline must have the category."""
    found, missing = [], None
    for timeline in timelines:
        try:
            found.append(top_level(category, timeline))
        except UsageError as error:
            missing = error
    if missing is not None and not found:
        raise missing
    return found
