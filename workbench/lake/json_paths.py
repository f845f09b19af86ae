"""Paths into payloads in the syntax of DuckDB's JSON functions."""

from __future__ import annotations

import re
from collections.abc import Iterable

from workbench.lake.reading.event_filter import quoted

Steps = Iterable[str | int]


def is_reachable(steps: Steps) -> bool:
    """Whether DuckDB's syntax can express a path: keys cannot be empty, and a ``*`` is a wildcard even in quotes.

    >>> is_reachable(["address", "city"]), is_reachable(["a*"])
    (True, False)
    """
    return all(isinstance(step, int) or (step != "" and not re.search(r'["*\\\x00-\x1f\x7f]', step)) for step in steps)


def json_path(steps: Steps) -> str:
    """Return a path, which must be reachable, in DuckDB's syntax.

    >>> json_path(["address", "zip code", 0])
    '$."address"."zip code"[0]'
    """
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f'."{step}"' for step in steps)


def json_paths(places: Iterable[Steps]) -> str:
    """Return a list of paths as SQL, so that DuckDB looks all of them up in one pass over a payload.

    >>> json_paths([["a"], ["b", "c"]])
    '[\\'$."a"\\', \\'$."b"."c"\\']'
    """
    return "[" + ", ".join(quoted(json_path(place)) for place in places) + "]"
