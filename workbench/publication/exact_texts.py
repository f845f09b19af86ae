"""The text of JSON values with numbers as recorded, which DuckDB writes from their nearest doubles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from workbench.lake.json_paths import json_paths
from workbench.lake.reading.event_filter import quoted

FUNCTION = "exact_text"
"""The name under which DuckDB knows ``exact_text``; it is told with ``create_function``."""

_END = r"\s*[,}\]]"
_LOSSY = rf"[0-9.]{{17,}}{_END}|[0-9][eE][+-]?[0-9]+{_END}"
"""What a payload holds, outside of texts or in them, if a number in it has more digits than a double, or an exponent."""
_REWRITTEN = rf"{_LOSSY}|\.[0-9]+0{_END}|\.0000|-0{_END}"
"""The same for numbers of which DuckDB writes another text: 1.50, 0.00001 and -0 too."""


def exact_text(data: str, path: str) -> str | None:
    """Return the text of the value at a place of a JSON object: a text as it is, and any other value as JSON.

    Numbers are as recorded. Of equal keys the first counts. Spaces between values go. None if there is no such place, or the object is
    nested more deeply than Python can read.

    Parameters
    ----------
    path
        A JSON array of the keys that lead to the value.

    >>> exact_text('{"a": {"b": 1.10}, "c": [0.1234567890123456789, "x"]}', '["a", "b"]')
    '1.10'
    >>> exact_text('{"a": {"b": 1.10}, "c": [0.1234567890123456789, "x"]}', '["c"]')
    '[0.1234567890123456789,"x"]'
    """
    try:
        found = _DECODE(data)
        for key in json.loads(path):
            found = next((value for name, value in found if name == key), None) if isinstance(found, _NumberPairs) else None
        return found if found is None or type(found) is str else _written(found)
    except RecursionError:
        return None


def exact_columns(paths: Sequence[Sequence[str]]) -> tuple[str, list[str]]:
    """Return SQL for the texts of several places of ``data``: what a row is extended by, and an expression for each place.

    The expressions are null where the text that ``json_extract_string`` gives is exact.
    """
    kinds = f"CASE WHEN regexp_matches(data, {quoted(_REWRITTEN)}) THEN json_type(data, {json_paths(paths)}) END AS kinds"
    lossy = f"regexp_matches(data, {quoted(_LOSSY)})"
    expressions = [
        f"CASE WHEN kinds[{at}] IN ('DOUBLE', 'BIGINT', 'UBIGINT') OR (kinds[{at}] IN ('ARRAY', 'OBJECT') AND {lossy}) "
        f"THEN {FUNCTION}(data, {quoted(json.dumps(list(path)))}) END"
        for at, path in enumerate(paths, 1)
    ]
    return kinds, expressions


class _Number(str):
    """A number as recorded."""

    __slots__ = ()


class _NumberPairs(list[tuple[str, Any]]):
    """An object as recorded: with equal keys."""


_DECODE = json.JSONDecoder(object_pairs_hook=_NumberPairs, parse_float=_Number, parse_int=_Number).decode


def _written(value: Any) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, _NumberPairs):
        return "{" + ",".join(f"{_written(name)}:{_written(inner)}" for name, inner in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
