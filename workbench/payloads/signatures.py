"""Signatures of payloads: numbers by which payloads of one shape are told to be so, several times faster than by working out each shape.

Which keys stand in which objects, and what kind of value stands at which place, DuckDB says quickly of places that are named. So shapes
are worked out for a sample; over all events a number is made of the keys and kinds at the places known from it; and of each number one
payload is looked at. Where it has a place that was not asked for, the number proves nothing, and its payloads are worked out one by one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.lake.json_paths import is_reachable, json_path, json_paths
from workbench.lake.reading.event_filter import quoted

Path = tuple[str, ...]

_MOST_TYPES = 24
"""Each is one more comparison for each event."""
_MOST_PLACES = 100
"""Of one type: with many more, working out the shape is as fast."""


@dataclass(slots=True)
class _Asked:
    """The places that are asked for of one type.

    Attributes
    ----------
    values
        All of them but the payload itself and what is inside of arrays.
    objects, arrays
        Where objects and arrays were seen: of objects the keys count, of arrays the shape of what is in them.
    numbers
        Whether there may be numbers.
    """

    values: dict[Path, None] = field(default_factory=dict)
    objects: dict[Path, None] = field(default_factory=dict)
    arrays: dict[Path, None] = field(default_factory=dict)
    numbers: bool = False

    def take(self, places: Iterable[tuple[Path, str]]) -> None:
        """Take in a shape. What no path can name is not asked for, nor what is inside of arrays, which stand as a whole."""
        for path, kind in places:
            if not is_reachable(path):
                self.numbers |= kind != "text"
                continue
            if path:
                self.values[path] = None
            if kind == "object":
                self.objects[path] = None
            elif kind == "array":
                self.arrays[path] = None
            self.numbers |= kind in ("integer", "float")

    def sql(self, root: str) -> str:
        parts = ["type"]
        parts += [f"json_keys({root}, {json_paths(self.objects)})"] if self.objects else []
        parts += [f"json_type({root}, {json_paths([(), *self.values])})"]
        parts += [f"json_structure(json_extract({root}, {quoted(json_path(path))}))::VARCHAR" for path in self.arrays]
        return f"hash({', '.join(part if part == 'type' else f'TRY({part})' for part in parts)})"

    def covers(self, value: Any, path: Path = ()) -> bool:
        """Whether all that a value holds is asked for."""
        if isinstance(value, _Pairs):
            return (
                path in self.objects
                and len({key for key, _ in value}) == len(value)
                and all((*path, key) in self.values and self.covers(inner, (*path, key)) for key, inner in value)
            )
        if isinstance(value, list):
            return path in self.arrays and (self.numbers or all(isinstance(inner, str) for inner in value))
        return self.numbers or isinstance(value, bool) or not isinstance(value, (int, float))


@dataclass(frozen=True, slots=True)
class Signatures:
    """Signatures of the payloads of some event types.

    Attributes
    ----------
    of
        SQL: the number of an event's type and payload; null for other types, and where there is no payload.
    types
        SQL: a condition, whether an event is of one of the types.
    numbers
        SQL: a condition, whether an event is of a type in whose payloads numbers were seen. Of other types, the signature of a payload
        with a number proves nothing.
    """

    of: str
    types: str
    numbers: str
    _asked: Mapping[str, _Asked]

    @classmethod
    def learned(cls, seen: Iterable[tuple[str, int, Iterable[tuple[Path, str]]]], *, root: str) -> Signatures:
        """Learn which places to ask for.

        Parameters
        ----------
        seen
            Types, the number of their events and the places of their payloads with the kinds of value that stand there.
        """
        asked: dict[str, _Asked] = {}
        events: Counter[str] = Counter()
        for type_, count, places in seen:
            one = asked.setdefault(type_, _Asked())
            events[type_] += count
            one.take(places)
        often = [type_ for type_, _ in events.most_common() if len(asked[type_].values) <= _MOST_PLACES][:_MOST_TYPES]
        chosen = {type_: asked[type_] for type_ in often}
        cases = "".join(f" WHEN type = {quoted(type_)} THEN {one.sql(root)}" for type_, one in chosen.items())
        return cls(
            f"CASE WHEN {root} IS NULL THEN NULL::UBIGINT{cases} END",
            _among(chosen),
            _among(type_ for type_, one in chosen.items() if one.numbers),
            chosen,
        )

    def proves(self, type_: str, payload: str) -> bool:
        """Whether all payloads with the signature of this one have its shape, but for chance of the order of 1 in 2**64."""
        try:
            return self._asked[type_].covers(json.loads(payload, object_pairs_hook=_Pairs))
        except (ValueError, RecursionError):  # numbers of thousands of digits, thousands of levels
            return False


class _Pairs(list[tuple[str, Any]]):
    """An object, as its keys and values are written."""


def _among(types: Iterable[str]) -> str:
    listed = ", ".join(quoted(type_) for type_ in types)
    return f"type IN ({listed})" if listed else "false"
