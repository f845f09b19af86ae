"""Edits many JSON texts at once with DuckDB, as ``workbench.lake.forks.patch_text`` edits one, where the texts are simple enough.

A text is simple enough if every key in it is in quotes, without escapes, right before its colon, and the edited key occurs at most once.
All other texts are left to ``patch_text``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from workbench.lake.database import connect
from workbench.lake.forks.patch_text import TextPath
from workbench.lake.json_paths import is_reachable, json_path
from workbench.lake.reading.event_filter import quoted

_BATCH = 50_000
"""So many texts a thread takes at a time."""

_SPACES = r"' ' || chr(9) || chr(10) || chr(13)"
_OTHERWISE = " OR ".join(
    (
        r"contains(text, '\')",
        "contains(text, ' :')",
        # Searching for one character is several times as fast as for two, and the character is rare.
        *(f"CASE WHEN contains(text, {gap}) THEN contains(text, {gap} || ':') ELSE false END" for gap in ("chr(9)", "chr(10)", "chr(13)")),
    )
)
"""Matches text in which a key may be spelled in another way: with an escape, or with a gap before its colon."""

_BEFORE = f"rtrim(parts[1], {_SPACES})"
_BEHIND = "substr(parts[2], length(held) + 1)"
_AFTER = f"ltrim({_BEHIND}, {_SPACES})"
_FOUND = f"len(parts) = 2 AND starts_with(parts[2], held) AND contains(',}}' || {_SPACES}, substr(parts[2], length(held) + 1, 1))"
"""The key occurs once, followed by exactly the extracted value, with the digits as written, and nothing more."""


def plainly_patched(texts: pl.Series, puts: Sequence[tuple[TextPath, str]], takes: Sequence[TextPath]) -> pl.Series:
    """Return the result of :func:`workbench.lake.forks.patch_text.patched` for each text; null where only that function can tell."""
    unknown = pl.repeat(None, len(texts), dtype=pl.String, eager=True)
    if not len(texts) or not all(map(is_reachable, (*(place for place, _ in puts), *takes))):
        return unknown
    steps = [*((place, _put(place, value)) for place, value in puts), *((place, _taken(place)) for place in takes)]
    sql = f"SELECT number, CASE WHEN NOT starts_with(text, '{{') OR {_OTHERWISE} THEN NULL ELSE text END AS text FROM texts"
    for place, step in steps:
        sql = f"SELECT number, {step} AS text FROM (SELECT number, text, {_held(place)} AS held, {_parts(place)} AS parts FROM ({sql}))"
    with connect() as connection:
        table = pl.DataFrame({"text": texts}).with_row_index("number").to_arrow()
        connection.register("texts", pa.Table.from_batches(table.to_batches(max_chunksize=_BATCH), table.schema))
        found = pl.DataFrame(connection.sql(sql).to_arrow_table(_BATCH))
    return found.sort("number")["text"]


def _put(place: TextPath, value: str) -> str:
    key = _key(place)
    replaced = f"CASE WHEN {_FOUND} THEN parts[1] || {key} || {quoted(value)} || {_BEHIND} END"
    if len(place) > 1:
        return f"CASE WHEN held IS NOT NULL THEN {replaced} END"
    added = (
        f"CASE WHEN NOT contains(text, {_name(place)}) AND text[-1] = '}}' AND NOT contains('{{' || {_SPACES}, text[-2]) "
        f"THEN left(text, -1) || ',' || {key} || {quoted(value)} || '}}' END"
    )
    return f"CASE WHEN held IS NOT NULL THEN {replaced} ELSE {added} END"


def _taken(place: TextPath) -> str:
    removed = (
        f"CASE WHEN NOT ({_FOUND}) THEN NULL "
        # Up to where the next member begins; of the last one, from where the one before it ends.
        f"WHEN {_AFTER}[1] = ',' THEN parts[1] || ltrim(substr({_AFTER}, 2), {_SPACES}) "
        f"WHEN {_AFTER}[1] <> '}}' THEN NULL "
        f"WHEN {_BEFORE}[-1] = ',' THEN rtrim(left({_BEFORE}, -1), {_SPACES}) || {_BEHIND} "
        f"WHEN {_BEFORE}[-1] = '{{' THEN {_BEFORE} || {_BEHIND} END"
    )
    return f"CASE WHEN held IS NOT NULL THEN {removed} WHEN NOT contains(text, {_name(place)}) THEN text END"


def _held(place: TextPath) -> str:
    """Return the text of the value at a path, null if there is none; its digits may differ from those that were written."""
    return f"json_extract(text, {quoted(json_path(place))})::VARCHAR"


def _parts(place: TextPath) -> str:
    """Return the text before and after a key."""
    return f"string_split(text, {_key(place)})"


def _name(place: TextPath) -> str:
    return quoted(json.dumps(place[-1], ensure_ascii=False))


def _key(place: TextPath) -> str:
    return quoted(f"{json.dumps(place[-1], ensure_ascii=False)}:")
