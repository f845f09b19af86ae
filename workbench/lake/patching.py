"""Edits of JSON text: only what is named changes, everything else stays byte for byte, digits and spaces included."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

_SPACE = re.compile(r"[ \t\n\r]*")
_scan = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode
"""Python's own scanner says where a value ends; numbers are left as text, which may be longer than Python reads."""

Place = tuple[str, ...]
_Member = tuple[str, int, int, int]
"""A key, where it begins, and where its value begins and ends."""


class NoObject(Exception):
    """Raised when there is no JSON object where one must be; the message says what there is."""


def patched(text: str, puts: Sequence[tuple[Place, str]], takes: Sequence[Place]) -> str:
    """Return the text of an object with other values at some places, and without some.

    Of duplicate keys the first counts and is the one that is put; all of them are taken. A new key comes last. Objects that are not
    there on the way to a place are made.

    Raises
    ------
    NoObject
        The text, or what stands on the way to a place that is put, is no object.
    """
    for place, value in puts:
        quick = _put_plainly(text, place, value)
        text = _put(text, 0, place, value) if quick is None else quick
    for place in takes:
        text = _take(text, 0, place)
    return text


def _put_plainly(text: str, place: Place, value: str) -> str | None:
    """Return an object with another value at a place, ten times as fast; None if something else than that may be meant.

    The place must be there, and each key on the way stand in the text once: then it is the one. What could spell a key otherwise, an
    escape or a space behind it, must be nowhere.
    """
    finder = _finder(place)
    if finder is None:
        return None
    try:
        part = finder.find(text)
    except msgspec.MsgspecError:
        return None
    for _ in place:
        part = part.part
    for other in _OTHERWISE:
        if other in text:
            return None
    for key in finder.keys:
        if text.count(key) != 1:
            return None
    held = str(part, "utf-8")
    at = text.index(key) + len(key)
    return text[:at] + value + text[at + len(held) :] if text.startswith(held, at) else None


_OTHERWISE = ("\\", '" ', '"\n', '"\r', '"\t')
"""What may spell a key in another way than in quotes right before its colon."""


class _Finder(NamedTuple):
    find: Callable[[str], Any]
    """Decodes an object down to the raw text at a place, and nothing else."""
    keys: tuple[str, ...]
    """The keys on the way, each as it stands in a text."""


@lru_cache(maxsize=1_000)
def _finder(place: Place) -> _Finder | None:
    """Return what finds a place; None where a key has to be escaped."""
    keys = tuple(json.dumps(key, ensure_ascii=False) for key in place)
    if keys != tuple(f'"{key}"' for key in place):
        return None
    found: Any = msgspec.Raw
    for key in reversed(place):
        found = msgspec.defstruct("Part", [("part", found)], rename={"part": key})
    return _Finder(msgspec.json.Decoder(found).decode, tuple(f"{key}:" for key in keys))


def _put(text: str, start: int, place: Place, value: str) -> str:
    members, opening = _members(text, start)
    key, below = place[0], place[1:]
    found = next((member for member in members if member[0] == key), None)
    if found is not None:
        if below:
            return _put(text, found[2], below, value)
        return text[: found[2]] + value + text[found[3] :]
    for step in reversed(below):
        value = f"{{{json.dumps(step, ensure_ascii=False)}:{value}}}"
    after = members[-1][3] if members else opening
    return f"{text[:after]}{',' if members else ''}{json.dumps(key, ensure_ascii=False)}:{value}{text[after:]}"


def _take(text: str, start: int, place: Place) -> str:
    try:
        members, opening = _members(text, start)
    except NoObject:
        if start:
            return text  # nothing is there to be taken
        raise
    key, below = place[0], place[1:]
    at = [index for index, member in enumerate(members) if member[0] == key]
    if below:
        return _take(text, members[at[0]][2], below) if at else text
    for _ in at:
        members, opening = _members(text, start)  # anew: what is taken moves the rest
        index = next(index for index, member in enumerate(members) if member[0] == key)
        if index + 1 < len(members):
            cut = (members[index][1], members[index + 1][1])
        else:
            cut = (members[index - 1][3] if index else opening, members[index][3])
        text = text[: cut[0]] + text[cut[1] :]
    return text


def _members(text: str, start: int) -> tuple[list[_Member], int]:
    """Return the members of the object that begins at or behind ``start``, and where its inside begins."""
    at = _space(text, start)
    if text[at : at + 1] != "{":
        raise NoObject(f"{text[start : start + 30]}{'...' if len(text) > start + 30 else ''} is no JSON object")
    opening = at + 1
    members: list[_Member] = []
    at = _space(text, opening)
    while text[at] != "}":
        if text[at] == ",":
            at = _space(text, at + 1)
        key, end = _scan(text, at)
        begins = _space(text, _space(text, end) + 1)
        try:
            _, ends = _scan(text, begins)
        except RecursionError:
            raise NoObject("it is nested too deeply") from None
        members.append((key, at, begins, ends))
        at = _space(text, ends)
    return members, opening


def _space(text: str, at: int) -> int:
    if text[at : at + 1] > " ":  # most often
        return at
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()
