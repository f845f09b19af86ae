"""The correlation and the causation id that an event's metadata carries."""

from __future__ import annotations

import json
from typing import Any

CORRELATION, CAUSATION = "$correlationId", "$causationId"


def trace_ids(metadata: str) -> tuple[str | None, str | None]:
    """Return the correlation and the causation id of metadata, which are JSON; None where there is none.

    Of equal keys the first counts, as in payloads. See ``id_text`` for ids that are no texts.

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
    """Return the text that the server makes of an id in metadata: of a number its digits; of null, an array or an object there is none.

    It is that of .NET's ``JToken.Value<string>()``, which KurrentDB's projection ``$by_correlation_id`` asks for.

    >>> id_text(42), id_text(1.0), id_text(True), id_text([])
    ('42', '1', 'True', None)
    """
    if value is None or isinstance(value, (dict, list)):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < _PLAIN:
        return str(int(value))
    return str(value)


_PLAIN = 1e15
"""From here on .NET writes doubles with an exponent."""


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


# Integers stay the digits that they are: Python reads no longer ones than 4,300.
_DECODE = json.JSONDecoder(object_pairs_hook=_first_of_each, parse_int=str).decode
