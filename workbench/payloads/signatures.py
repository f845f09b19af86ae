"""Signatures of payloads: hashes that identify payloads of one shape several times faster than computing each shape.

DuckDB quickly returns the keys of objects and the kinds of values at given paths. So the shapes of a sample are computed first. Then each
event gets a hash of the keys and kinds at the paths of these shapes, and one payload per hash is examined. If that payload has a path that
was not part of the hash, the hash proves nothing, and the shapes of its payloads are computed one by one.
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
"""The limit of types: each costs one more comparison for each event."""
_MOST_PLACES = 100
"""The limit of paths of one type: with many more, computing the shape is as fast."""


@dataclass(slots=True)
class _Asked:
    """The paths of one type that are part of its signatures.

    Attributes
    ----------
    values
        All paths except the payload itself and the insides of arrays.
    objects, arrays
        The paths of objects, whose keys are hashed, and of arrays, of which the shape of the elements is hashed.
    numbers
        Whether there may be numbers.
    """

    values: dict[Path, None] = field(default_factory=dict)
    objects: dict[Path, None] = field(default_factory=dict)
    arrays: dict[Path, None] = field(default_factory=dict)
    numbers: bool = False

    def take(self, places: Iterable[tuple[Path, str]]) -> None:
        """Add a shape. Skip keys that DuckDB's paths cannot express, and the insides of arrays, which are hashed as a whole."""
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
        """Whether the signature includes every path of a value."""
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
        """Learn which paths to include.

        Parameters
        ----------
        seen
            Types, the number of their events, and the paths of their payloads with the kinds of their values.
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
        """Whether all payloads with the signature of this one have its shape, up to a hash collision (about 1 in 2**64)."""
        try:
            return self._asked[type_].covers(json.loads(payload, object_pairs_hook=_Pairs))
        except (ValueError, RecursionError):  # numbers of thousands of digits, thousands of levels
            return False


class _Pairs(list[tuple[str, Any]]):
    """An object, as its keys and values are written."""


def _among(types: Iterable[str]) -> str:
    listed = ", ".join(quoted(type_) for type_ in types)
    return f"type IN ({listed})" if listed else "false"
