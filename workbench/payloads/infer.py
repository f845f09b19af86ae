"""``infer``: a draft of a projection, from what a lake holds of a category."""

from __future__ import annotations

import json
import keyword
import re
import unicodedata

from workbench.payloads.profile import CategoryProfile, Found, TypeProfile, profile_of
from workbench.projection.declaration import RESERVED
from workbench.projection.plan import Kind
from workbench.server_streams import ensure_not_system
from workbench.timeline import Timeline, ensure_timelines

_ENDS = re.compile(r"(?i)(deleted|removed|purged|erased|destroyed|closed|terminated)$")
_SNAPSHOT = re.compile(r"(?i)snapshot")
_MOSTLY = 0.8
_TYPES = {"text": "str", "integer": "int", "float": "float", "boolean": "bool", "instant": "datetime", "json": "Json"}
_WORDS = frozenset({"Projection", "Json", "datetime", "event", "on", "str", "int", "float", "bool", "list"})


def infer(category: str, timeline: Timeline) -> str:
    """Draft a projection from the events of a category.

    The fields are the top-level keys of the payloads, each with a type that holds all of its values. A type of event that is nearly always
    the first of its stream creates the entity; one that is mostly the last and is named like ``deleted`` ends it. Types named like a
    snapshot are left out. Comments say how often each type and key occurs, and how often a key is null.

    Parameters
    ----------
    category
        The category.
    timeline
        The history whose events of the category are all read. The query runs when the function is called.

    Returns
    -------
    str
        The text of a Python module that runs as it is and is meant to be edited.

    Raises
    ------
    UsageError
        The lake has no such category.
    InvalidProjection
        The category is the server's own; its events never become state.

    Examples
    --------
    >>> now = wb.open("data/demo").timeline
    >>> print(wb.infer("post", now), end="")
    # Drafted from what a lake holds of the category "post": look it through and edit it.
    <BLANKLINE>
    from workbench import Projection, on
    <BLANKLINE>
    <BLANKLINE>
    class Post(Projection, category="post"):
        userId: str | None  # in 94 % of the events
        title: str | None  # in 21 % of the events
        body: str | None  # in 17 % of the events
        tags: list[str]  # in 17 % of the events
        text: str | None  # in 40 % of the events
        reason: str | None  # in 2 % of the events
    <BLANKLINE>
        handlers = (
            # 684 events, all of them the first of their entity
            on("community.post_published").create("userId", "title", "body", "tags"),
            # 1,605 events
            on("community.comment_added").set("userId", "text"),
            # 1,399 events
            on("community.post_liked").set("userId"),
            # 62 events, all of them the last of their entity
            on("community.post_removed").delete(),
            # 164 events
            on("community.post_edited").set("title"),
            # 73 events
            on("community.post_unliked").set("userId"),
        )
    """
    ensure_timelines(timeline)
    ensure_not_system("category", (category,), f"A projection of {category}")
    found = profile_of(category, timeline)
    told = {name: seen for name, seen in found.types.items() if not _SNAPSHOT.search(name)}
    key = _key(told) if found.without_key else None
    if key is not None:
        found = profile_of(category, timeline, key=key)
        told = {name: found.types[name] for name in told}
    keys = CategoryProfile(category, told, found.without_key).keys()
    fields = _field_names(keys)
    body = [
        *_declared(keys, fields, told),
        "",
        "    handlers = (",
        *(line for name, seen in found.types.items() for line in _handler(name, seen, fields, told)),
        "    )",
    ]
    text = "\n".join(body)
    named = f", key=event.data[{_text(key)}]" if key is not None else ""
    imports = [name for name in ("Json", "Projection", "event", "on") if re.search(rf"\b{name}\b", text + named) or name == "Projection"]
    head = [
        f"# Drafted from what a lake holds of the category {_text(category)}: look it through and edit it.",
        "",
        *(["from datetime import datetime", ""] if "datetime" in text else []),
        f"from workbench import {', '.join(imports)}",
        "",
        "",
        f"class {_class_name(category)}(Projection, category={_text(category)}{named}):",
    ]
    if found.without_key and key is None:
        head.append("    # No key stands in all payloads: say where an event tells which entity it is about, by key=event.data[...].")
    return "\n".join([*head, text, ""])


def _declared(keys: dict[str, Found], fields: dict[str, str], told: dict[str, TypeProfile]) -> list[str]:
    events = sum(seen.events for seen in told.values())
    lines = []
    for key, name in fields.items():
        found = keys[key]
        kind = found.declared()
        optional = "" if kind.element is not None else " | None"
        what = f"in {_share(found.present, events)} of the events"
        if found.nulls:
            what += f", null in {_share(found.nulls, found.present)} of these"
        if kind.name == "json" and found.kinds:
            what += f": {' or '.join(sorted({'integer' if one == 'long integer' else one for one in found.kinds}))}"
        lines.append(f"    {name}: {_annotation(kind)}{optional}  # {what}")
    return lines or ["    events: int = 0  # no payload has keys: the events are counted"]


def _handler(name: str, seen: TypeProfile, fields: dict[str, str], told: dict[str, TypeProfile]) -> list[str]:
    counted = f"{seen.events:,} event{'s' if seen.events != 1 else ''}"
    if name not in told:
        return [f"        # {_text(name)}: {counted}, named like a snapshot, which repeats what other events say."]
    plain = [key for key in seen.keys if fields.get(key) == key]
    others = [f"{fields[key]}=event.data[{_text(key)}]" for key in seen.keys if key in fields and fields[key] != key]
    named = ", ".join([*map(_text, plain), *others])
    if _ENDS.search(name) and seen.last >= seen.events / 2 and len(told) > 1:
        change, comment = "delete()", f"{counted}, {_share(seen.last, seen.events)} of them the last of their entity"
    elif not fields:
        change, comment = "add(events=1)", counted
    elif seen.first >= seen.events * _MOSTLY:
        change = f"create({named})"
        comment = f"{counted}, {_share(seen.first, seen.events)} of them the first of their entity"
    elif seen.keys:
        change, comment = f"set({named})", counted
    else:
        return [f"        # {_text(name)}: {counted}, without keys; add(...) could count them."]
    return [f"        # {comment}", f"        on({_text(name)}).{change},"]


def _key(told: dict[str, TypeProfile]) -> str | None:
    """Guess which key says what entity an event is about: one that is in all payloads, text or an integer."""
    payloads = [seen for seen in told.values() if seen.objects]
    common = [key for key in (payloads[0].keys if payloads else ()) if all(_may_be_key(seen, key) for seen in payloads)]
    return next((key for key in common if re.search(r"(?i)id$", key)), common[0] if common else None)


def _may_be_key(seen: TypeProfile, key: str) -> bool:
    found = seen.keys.get(key)
    return (
        found is not None
        and found.present == seen.objects
        and not found.nulls
        and found.kinds.keys() <= {"text", "integer", "long integer"}
    )


def _field_names(keys: dict[str, Found]) -> dict[str, str]:
    """Return for each key the name of its field: the key itself where that can be one."""
    names: dict[str, str] = {}
    for key in keys:
        name = _identifier(key).lstrip("_") or "field"
        if not name.isidentifier():
            name = f"field_{name}"
        while name in RESERVED or keyword.iskeyword(name) or name in _WORDS or name in names.values() or (name != key and name in keys):
            name += "_"
        names[key] = name
    return names


def _identifier(text: str) -> str:
    """Return text with a ``_`` for what cannot stand in a name, and in the form in which Python knows names: ``ﬁeld`` is ``field``."""
    return "".join(letter if f"a{letter}".isidentifier() else "_" for letter in unicodedata.normalize("NFKC", text))


def _class_name(category: str) -> str:
    name = "".join(part[:1].upper() + part[1:] for part in _identifier(category).split("_"))
    return (
        name
        if name.isidentifier() and name not in _WORDS and not keyword.iskeyword(name)
        else f"Entity{name if name.isidentifier() else ''}"
    )


def _annotation(kind: Kind) -> str:
    return f"list[{_TYPES[kind.element.name]}]" if kind.element is not None else _TYPES[kind.name]


def _text(value: str) -> str:
    """Return text as a literal: that of JSON, which is one of Python too, but for letters that cannot be seen."""
    literal = json.dumps(value, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in literal)


def _share(part: int, whole: int) -> str:
    if part == whole:
        return "all"
    share = 100 * part / whole
    return "under 1 %" if share < 1 else f"{min(share, 99):.0f} %"
