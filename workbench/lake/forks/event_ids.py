"""Normalises ids of events in metadata, which writers may put there in another notation than the lake's."""

from __future__ import annotations

import polars as pl

_UUID = r"(?i)^\s*[{(]?[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}[)}]?\s*$"
_PARTS = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))


def as_event_id(name: str) -> pl.Expr:
    """Return a column of ids in the notation of the lake's event ids, for comparison with them.

    A UUID may be in upper case, without dashes, or in braces, as .NET writes them; anything else stays as it is.

    >>> ids = pl.DataFrame({"id": ["{0A0B0C0D-0000-4000-8000-000000000001}", "{0A}"]})
    >>> ids.select(as_event_id("id")).to_series().to_list()
    ['0a0b0c0d-0000-4000-8000-000000000001', '{0A}']
    """
    column = pl.col(name)
    digits = column.str.to_lowercase().str.replace_all("[^0-9a-f]", "")
    dashed = pl.concat_str([digits.str.slice(start, length) for start, length in _PARTS], separator="-")
    return pl.when(column.str.contains(_UUID)).then(dashed).otherwise(column).alias(name)
