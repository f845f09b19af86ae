"""Profiles a category: its event types, the top-level keys of their payloads, and the kinds of their values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import NoneType
from typing import Any

import msgspec
import polars as pl

from workbench.errors import UsageError
from workbench.payloads.shapes import places, shapes
from workbench.projection.fields import fits_int64, storable
from workbench.projection.payloads import decoder
from workbench.projection.plan import Kind
from workbench.projection.values import Number, instant_of
from workbench.timeline import Timeline

_exact = decoder((), whole=True, decimals=False)
_fast = msgspec.json.Decoder().decode
_EXACT = 2**53
"""Integers up to this size are exact as doubles."""
_KINDS: dict[type, str] = {bool: "boolean", NoneType: "null", float: "float", Number: "float", list: "array", dict: "object"}


@dataclass(slots=True)
class Found:
    """The values at one key, in the payloads of one or several event types."""

    present: int = 0
    nulls: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    elements: Counter[str] = field(default_factory=Counter)
    """The kinds of the elements of arrays."""

    def take(self, value: Any) -> None:
        """Take a value in."""
        self.present += 1
        if value is None:
            self.nulls += 1
            return
        self.kinds[_kind(value)] += 1
        if type(value) is list:
            self.elements.update(map(_kind, value))

    def count(self, kind: str, events: int) -> None:
        """Count values of one kind."""
        self.present += events
        if kind == "null":
            self.nulls += events
        else:
            self.kinds[kind] += events

    def __add__(self, other: Found) -> Found:
        return Found(self.present + other.present, self.nulls + other.nulls, self.kinds + other.kinds, self.elements + other.elements)

    def scalar(self, *, instants: bool = False) -> Kind:
        """Return the kind of field that holds all these values unchanged; JSON if no other does."""
        return _scalar(self.kinds, instants=instants)

    def declared(self) -> Kind:
        """Return the kind of field that one would declare for these values."""
        if self.kinds.keys() == {"array"} and self.elements and "null" not in self.elements:
            return Kind("list", _scalar(self.elements, instants=True))
        return self.scalar(instants=True)


@dataclass(slots=True)
class TypeProfile:
    """What was seen of one event type.

    Attributes
    ----------
    objects
        Events whose payload is a JSON object: only these have keys.
    first, last
        Events that are the first, or the last, of their entity.
    """

    events: int = 0
    objects: int = 0
    first: int = 0
    last: int = 0
    keys: dict[str, Found] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CategoryProfile:
    """What a lake holds of a category.

    Attributes
    ----------
    types
        By event type, the one that comes first in the log first.
    without_key
        Whether a stream's name is that of the category alone, so that it names no entity.
    """

    category: str
    types: dict[str, TypeProfile]
    without_key: bool

    def keys(self) -> dict[str, Found]:
        """Return the values at each key, over all types."""
        found: dict[str, Found] = {}
        for seen in self.types.values():
            for name, one in seen.keys.items():
                found[name] = found[name] + one if name in found else one
        return found


def profile_of(category: str, timeline: Timeline, *, key: str | None = None) -> CategoryProfile:
    """Profile all events of a category in the lake, regardless of the timeline's cutoff and selection.

    So the result is the same for all timelines of one version of a lake.

    Parameters
    ----------
    key
        A top-level key of the payloads that identifies the entity of an event; by default, the stream does.

    Raises
    ------
    UsageError
        There is no such category; the message names those that there are.
    """
    return _survey(category, _all_of(timeline), key)


def top_level(category: str, timeline: Timeline) -> dict[str, dict[str, Found]]:
    """Return the values at each top-level key of a category's payloads, by event type, as :func:`profile_of` does, but much faster.

    The results differ only in counts, if a key occurs twice in an object, and in that texts are not checked for instants.

    Raises
    ------
    UsageError
        There is no such category; the message names those that there are.
    """
    return _top_level(category, _all_of(timeline))


@lru_cache(maxsize=16)
def _top_level(category: str, whole: Timeline) -> dict[str, dict[str, Found]]:
    found: dict[str, dict[str, Found]] = {}
    unsure: set[str] = set()
    for type_, held, shape, digits, events in (
        shapes(whole.categories(category)).select("type", "held", "shape", "digits", "events").iter_rows()
    ):
        keys = found.setdefault(type_, {})
        standing = [(path[0], kind) for path, kind in places(shape) if len(path) == 1] if shape is not None else []
        # Where a key stands twice with values of two kinds, DuckDB says no more than that it is JSON, as of an empty object.
        # An integer of sixteen digits may be no double.
        if held == "unreadable" or digits or (shape is not None and '"JSON"' in shape):
            unsure.add(type_)
        for name, kind in standing:
            keys.setdefault(name, Found()).count(kind, events)
    if not found:
        raise _no_such(category, whole)
    if unsure:
        surveyed = _survey(category, whole.types(*sorted(unsure)), None).types
        found |= {type_: surveyed[type_].keys for type_ in unsure}
    return found


def _all_of(timeline: Timeline) -> Timeline:
    return replace(
        timeline, cutoff=None, upto_position=None, after_position=None, selections=(), system=False, visible_only=False, follows=False
    )


def _no_such(category: str, whole: Timeline) -> UsageError:
    known = whole.events().select(pl.col("category").unique().sort()).collect()["category"].to_list()
    has = f"it has {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}" if known else "it has no events"
    return UsageError(f"The lake {whole.log.path} has no category {category!r}; {has}.")


@lru_cache(maxsize=16)  # a version of a lake does not change
def _survey(category: str, whole: Timeline, key: str | None) -> CategoryProfile:
    types: dict[str, TypeProfile] = {}
    last_of: dict[Any, str] = {}
    without_key = False
    batches = whole.categories(category).events().select("stream", "type", "data").collect_batches(maintain_order=True)
    for batch in batches:
        for stream, type_, data in batch.iter_rows():
            seen = types.get(type_)
            if seen is None:
                seen = types[type_] = TypeProfile()
            payload = None if data is None else _decode(data)
            entity = stream if key is None else payload.get(key) if type(payload) is dict else None
            seen.events += 1
            seen.first += entity not in last_of
            last_of[entity] = type_
            without_key |= stream == category
            if type(payload) is not dict:
                continue
            seen.objects += 1
            keys = seen.keys
            for name, value in payload.items():
                if name not in keys:
                    if not storable(name):
                        continue
                    keys[name] = Found()
                keys[name].take(value)
    if not types:
        raise _no_such(category, whole)
    for type_, count in Counter(last_of.values()).items():
        types[type_].last = count
    return CategoryProfile(category, types, without_key)


def _decode(text: str) -> Any:
    """Return a payload's value; of duplicate keys in an object the first counts. One that is nested too deeply to be read has none."""
    # The fast decoder takes the last one, so it is trusted where every key is accounted for, each right before its colon.
    if not any(gap in text for gap in ('" ', '"\n', '"\r', '"\t')):
        try:
            value = _fast(text)
        except msgspec.DecodeError:  # a number beyond the doubles, half a surrogate pair
            return _exact(text)
        except RecursionError:
            return None
        if text.count('":') == _keys_in(value):
            return value
    try:
        return _exact(text)
    except RecursionError:
        return None


def _keys_in(value: Any) -> int:
    """Count the keys of all objects in a value, however deep they lie."""
    count, inside = 0, [value]
    while inside:
        one = inside.pop()
        if type(one) is dict:
            count += len(one)
            inside.extend(inner for inner in one.values() if type(inner) in (dict, list))
        elif type(one) is list:
            inside.extend(one)
    return count


def _kind(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return "instant" if len(value) >= 20 and value[4] == "-" and instant_of(value) is not None else "text"
    if kind is int:
        return "integer" if -_EXACT <= value <= _EXACT else "long integer" if fits_int64(value) else "number"
    return _KINDS[kind]


def _scalar(kinds: Counter[str], *, instants: bool) -> Kind:
    names = kinds.keys()
    if not names:
        return Kind("json")
    if names == {"boolean"}:
        return Kind("boolean")
    if names == {"instant"} and instants:
        return Kind("instant")
    if names <= {"text", "instant"}:
        return Kind("text")
    if names <= {"integer", "long integer"}:
        return Kind("integer")
    if names <= {"integer", "float"}:
        return Kind("float")
    return Kind("json")
