"""Derives the columns of a published table from the paths in its payloads and the kinds of value seen there.

Knowledge only grows: a path that held integers and now holds text is of both kinds. So a table's columns depend only on all payloads of
its type, not on the portions in which they were read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from workbench.lake.json_paths import is_reachable
from workbench.payloads.shapes import Known, Path
from workbench.publication.typed_tables import TypedColumn

EVENT_COLUMNS = ("position", "recorded_at", "stream", "revision", "event_id", "correlation_id", "causation_id")
"""The event's own columns, which come first."""
PAYLOAD, PAYLOAD_BYTES = "payload", "payload_bytes"

_RESERVED = frozenset({
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "between", "both", "by", "case", "cast", "check",
    "collate", "column", "constraint", "create", "cross", "cube", "current_date", "current_time", "current_timestamp", "default",
    "deferrable", "delete", "desc", "describe", "distinct", "do", "drop", "else", "end", "except", "exists", "false", "fetch", "for",
    "foreign", "from", "full", "grant", "group", "grouping", "having", "in", "initially", "inner", "insert", "intersect", "into", "is",
    "join", "lambda", "lateral", "leading", "left", "like", "limit", "natural", "not", "null", "offset", "on", "only", "or", "order",
    "outer", "over", "partition", "pivot", "placing", "primary", "qualify", "references", "returning", "right", "row", "rows", "select",
    "set", "show", "some", "summarize", "symmetric", "table", "then", "to", "trailing", "true", "union", "unique", "unpivot", "update",
    "user", "using", "values", "variadic", "view", "when", "where", "window", "with",
})  # fmt: skip
"""Reserved words of SQL, in DuckDB, PostgreSQL or the standard."""
_LONGEST = 100
"""The longest name in bytes of UTF-8, the unit of file systems."""


def columns_of(known: Known, *, named: Mapping[Path, str]) -> tuple[TypedColumn, ...]:
    """Return the columns of a type's payload, behind those of the event.

    Parameters
    ----------
    named
        The names that places have already; they keep them.

    Notes
    -----
    - Objects are flattened, ``address.city`` into ``address_city``; one that is no object in all events, has more than ``MOST_KEYS``
      different keys, or a key that no path can name, is one column of JSON text, as arrays are.
    - Booleans, integers of 64 bits and other numbers have columns of their kind; integers beside fractions count as their nearest
      doubles. Everything else, also values of several kinds, is text: a text as it is, a number as recorded, and any other value as
      JSON, in which numbers keep all their digits.
    - Absent and null are both null.
    - A payload that is no object stands in ``payload`` as recorded, as JSON; one that is no JSON in ``payload_bytes``.
    """
    taken = {name.casefold() for name in (*EVENT_COLUMNS, PAYLOAD, PAYLOAD_BYTES, "origin", *named.values())}
    columns = []
    for path in _leaves((), known, _below(known)):
        name = named.get(path)
        if name is None:
            name = unused(column_name(path), taken)
            taken.add(name.casefold())
        columns.append(TypedColumn(path, name, _type(known.kinds[path])))
    return tuple(columns)


def is_whole(known: Known) -> bool:
    """Whether payloads are objects that cannot be flattened."""
    below = _below(known)
    return "map" in known.kinds[()] or (bool(below) and not _is_flat((), known, below))


def _below(known: Known) -> dict[Path, list[Path]]:
    below: dict[Path, list[Path]] = {}
    for path in known.kinds:
        if path:
            below.setdefault(path[:-1], []).append(path)
    return below


def _is_flat(path: Path, known: Known, below: Mapping[Path, Iterable[Path]]) -> bool:
    """Whether an object's keys are columns of their own."""
    kinds = known.kinds[path] - {"null"}
    inside = below.get(path, ())
    # The payload itself may be anything: one that is not an object has its own column.
    return bool(inside) and (kinds == {"object"} or (not path and "map" not in kinds)) and all(map(is_reachable, inside))


def _leaves(path: Path, known: Known, below: Mapping[Path, list[Path]]) -> Iterator[Path]:
    if _is_flat(path, known, below):
        for inner in below[path]:
            yield from _leaves(inner, known, below)
    elif path:
        yield path


def _type(kinds: set[str]) -> str:
    found = kinds - {"null"}
    if found == {"boolean"}:
        return "BOOLEAN"
    if found == {"integer"}:
        return "BIGINT"
    if found in ({"float"}, {"integer", "float"}):
        return "DOUBLE"
    return "VARCHAR"


def column_name(path: Path) -> str:
    """Return a column name for a path that needs no quotes in SQL.

    >>> column_name(("address", "zip code")), column_name(("order",)), column_name(("2nd",))
    ('address_zip_code', 'order_', '_2nd')
    """
    return _plain("_".join(path))


def table_name(name: str) -> str:
    """Return a name for the table of an event type, which is also the name of its folder.

    >>> table_name("user.logged-in"), table_name("$metadata"), table_name("Straße")
    ('user_logged_in', 'metadata', 'Straße')
    """
    return _plain(name)


def unused(name: str, taken: set[str]) -> str:
    """Return a name that differs, ignoring case, from the taken names, which are in lower case."""
    found, number = name, 2
    while found.casefold() in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def _plain(text: str) -> str:
    name = re.sub(r"\W+", "_", text).strip("_").encode()[:_LONGEST].decode(errors="ignore").rstrip("_") or "_"
    if name[0].isdigit():
        name = f"_{name}"
    return f"{name}_" if name.casefold() in _RESERVED else name
