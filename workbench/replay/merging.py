"""No declaration at all: the payloads of a category, merged.

For each stream of the category, every event's payload that is a JSON object lays its top-level keys over what was there: the last one to
have a key wins, a key that is absent changes nothing, and null makes it null. Every event counts, and none ends an entity. The columns
are all the keys that the lake holds in this category, whatever the cutoff, so that states at different times have the same ones, sorted
by name. A column is text, integer, float or boolean if all its values are, and canonical JSON text otherwise; a float column's integers
are those that a double holds exactly. A key that is also the name of a column of every result, such as ``revision``, becomes
``data.revision``.
"""

from __future__ import annotations

from workbench.projection.plan import Branch, Field, HandledType, Handler, Operation, Path, Plan
from workbench.replay.results import HISTORY_PROVENANCE, PROVENANCE
from workbench.replay.survey import survey
from workbench.timeline import Timeline

_TAKEN = frozenset({"key", "event_id", "event_stream", *PROVENANCE, *HISTORY_PROVENANCE})


def merging_plan(category: str, timeline: Timeline) -> Plan:
    """Return the plan that merges the payloads of a category.

    Raises
    ------
    UsageError
        The lake has no such category.
    """
    found = survey(category, timeline)
    keys = found.keys()
    names: dict[str, str] = {}
    for key in sorted(keys):
        name = key
        while name in _TAKEN or (name != key and name in keys):
            name = f"data.{name}"
        names[key] = name
    fields = tuple(Field(names[key], keys[key].scalar()) for key in sorted(keys))
    types = []
    for type_, seen in sorted(found.types.items()):
        operations = tuple(Operation("set", names[key], Path("data", (key,))) for key in sorted(seen.keys))
        types.append(HandledType(type_, (Branch(None, type_, None, (Handler(None, operations, creates=True),)),)))
    return Plan(category, (category,), fields, tuple(types), creates=True)
