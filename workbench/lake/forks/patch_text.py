"""Edits JSON text: only the named values change; everything else, digits and spaces included, stays byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_SPACE = re.compile(r"[ \t\n\r]*")
_scan = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode
"""Python's own scanner finds the end of a value; numbers stay text, because they may have more digits than Python parses."""

TextPath = tuple[str, ...]
_Member = tuple[str, int, int, int]
"""A key, the start of the key, and the start and end of its value."""


class NoObject(Exception):
    """Raised when a value that must be a JSON object is not; the message shows the value."""


def patched(text: str, puts: Sequence[tuple[TextPath, str]], takes: Sequence[TextPath]) -> str:
    """Return the text of an object with values set at some paths and removed at others.

    Of duplicate keys the first counts and is the one that is set; all of them are removed. A new key comes last. Missing objects on a path
    that is set are created.

    Raises
    ------
    NoObject
        The text, or a value on a path that is set, is not an object.
    """
    for place, value in puts:
        text = _put(text, 0, place, value)
    for place in takes:
        text = _take(text, 0, place)
    return text


def _put(text: str, start: int, place: TextPath, value: str) -> str:
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


def _take(text: str, start: int, place: TextPath) -> str:
    try:
        members, opening = _members(text, start)
    except NoObject:
        if start:
            return text  # there is nothing to remove
        raise
    key, below = place[0], place[1:]
    at = [index for index, member in enumerate(members) if member[0] == key]
    if below:
        return _take(text, members[at[0]][2], below) if at else text
    for _ in at:
        members, opening = _members(text, start)  # again: removing a member moves the rest
        index = next(index for index, member in enumerate(members) if member[0] == key)
        if index + 1 < len(members):
            cut = (members[index][1], members[index + 1][1])
        else:
            cut = (members[index - 1][3] if index else opening, members[index][3])
        text = text[: cut[0]] + text[cut[1] :]
    return text


def _members(text: str, start: int) -> tuple[list[_Member], int]:
    """Return the members of the object that begins at or after ``start``, and the position after its opening brace."""
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
