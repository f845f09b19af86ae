"""Operations on sets and lists, which are represented as tuples; those of sets are ascending."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

Deed = tuple[str, int, Any]
"""An operation on a set or list: verb, keep, operand."""

_FEW = 8
"""Up to this many elements are inserted into a sorted set, or removed, one by one; more are sorted with the rest."""


def done(deed: Deed, held: tuple[Any, ...], *, kind: str) -> tuple[Any, ...] | None:
    """Return a set or list after one operation; only ``set`` can make it null."""
    verb, _, operand = deed
    if verb == "set":
        return operand if operand is None or kind == "list" else tuple(sorted(set(operand)))
    return grown((deed,), held, kind=kind)


def grown(deeds: Sequence[Deed], held: tuple[Any, ...], *, kind: str) -> tuple[Any, ...]:
    """Return a set or list after several operations other than ``set``. The cost is linear in elements and operations."""
    if kind == "list":
        elements = list(held)
        for _, keep, operand in deeds:
            elements.extend(operand)
            del elements[:-keep]
        return tuple(elements)
    if sum(len(operand) for _, _, operand in deeds) > _FEW:
        members = set(held)
        for verb, _, operand in deeds:
            (members.update if verb == "include" else members.difference_update)(operand)
        return tuple(sorted(members))
    ascending = list(held)
    for verb, _, operand in deeds:
        for element in operand:
            place = bisect_left(ascending, element)
            is_in = place < len(ascending) and ascending[place] == element
            if verb == "include" and not is_in:
                ascending.insert(place, element)
            elif verb == "exclude" and is_in:
                del ascending[place]
    return tuple(ascending)
