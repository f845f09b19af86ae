"""Reads the correlation id and the causation id from an event's metadata."""

from __future__ import annotations

import json
from typing import Any

CORRELATION, CAUSATION = "$correlationId", "$causationId"


def trace_ids(metadata: str) -> tuple[str | None, str | None]:
    """Return the correlation id and the causation id in JSON metadata, each None if it is missing.

    If a key occurs more than once, the first counts, as in payloads. For ids that are not text, see ``id_text``.

    >>> trace_ids('{"$correlationId": 42, "$causationId": "a", "$causationId": "b"}')
    ('42', 'a')
    """
    try:
        found = _DECODE(metadata)
    except RecursionError:  # nested too deeply to be read
        return None, None
    if not isinstance(found, dict):
        return None, None
    return id_text(found.get(CORRELATION)), id_text(found.get(CAUSATION))


def id_text(value: object) -> str | None:
    """Return an id in metadata as the server's text: a number becomes its digits; null, an array or an object becomes None.

    This follows .NET's ``JToken.Value<string>()``, which KurrentDB's projection ``$by_correlation_id`` uses.

    >>> id_text(42), id_text(1.0), id_text(True), id_text([])
    ('42', '1', 'True', None)
    """
    if value is None or isinstance(value, (dict, list)):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < _PLAIN:
        return str(int(value))
    return str(value)


_PLAIN = 1e15
"""The least double that .NET writes with an exponent."""


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


# Integers stay text: Python parses no more than 4,300 digits.
_DECODE = json.JSONDecoder(object_pairs_hook=_first_of_each, parse_int=str).decode
