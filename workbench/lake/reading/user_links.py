"""Resolves links (events of type ``$>``) in users' streams.

A link's data names its target as ``revision@stream``. Targets are found as the server finds them when a client reads with
``resolve_links``: one step only, and not where the store hides the target from readers of its stream. ``-1`` is the last event of a
stream, and a link whose data names nothing stands for itself (recorded from EventStoreDB 23.10, section *links*).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from workbench.lake.files.format import DataFile
from workbench.lake.forks.overlay import EVENT, FORK, KEY
from workbench.lake.reading.event_filter import EventFilter
from workbench.lake.reading.query import Queries
from workbench.lake.reading.user_events import USER_LINK_SQL

_LINKS, _TARGETS = "_workbench_links", "_workbench_targets"
_PLACE = ("position", "prepare_position", "stream", "category", "revision")
"""The columns that a row has of the link; the others are its target's."""

_FIND = f"""
    SELECT {", ".join(_PLACE)}, coalesce(data, TRY(decode(data_bytes))) AS named FROM events WHERE {USER_LINK_SQL}
"""
_JOIN = f"""
    SELECT {", ".join(f"l.{name}" if name in _PLACE else f"e.{name}" for name in EVENT.names())}
    FROM events e JOIN {_LINKS} l ON e.stream = l.target_stream AND e.revision = l.target_revision
"""
_ITSELF = f"SELECT * FROM events SEMI JOIN {_LINKS} USING (position, prepare_position)"
_LAST = f"SELECT stream AS target_stream, max(revision) AS last_revision FROM events SEMI JOIN {_TARGETS} USING (stream) GROUP BY stream"

# As .NET's `long.TryParse` has it: blanks around the digits, a sign, leading zeros.
_REVISION = r"\A[\t-\r ]*([+-]?[0-9]+)[\t-\r ]*@"


@dataclass(frozen=True, slots=True)
class Links:
    """The links of a timeline.

    Attributes
    ----------
    rows
        One for each link that could be resolved, with the columns of ``FORK``; held in memory, payloads and all.
    places
        Position and prepare position of every link, including unresolved ones.
    unresolved
        The number of links whose target is not in the lake or is hidden by the store.
    """

    rows: pl.DataFrame
    places: pl.DataFrame
    unresolved: int


def find_links(
    queries: Queries,
    files: Sequence[DataFile],
    *,
    conditions: EventFilter,
    hidden_links: pl.DataFrame | None,
    hidden_targets: pl.DataFrame,
) -> Links:
    """Resolve the links that match a timeline's conditions, except those on types, which apply to the resolved rows.

    Parameters
    ----------
    hidden_links, hidden_targets
        The streams with hidden events, for links and for targets.
    """
    wanted = replace(
        conditions,
        clauses=tuple(clause for clause in conditions.clauses if all(names.column != "type" for names in clause)),
        system=True,
    )
    links = _ask(queries, _FIND, wanted.files(files), conditions=wanted, hidden=hidden_links)
    parsed = links.with_columns(
        target_revision=pl.col("named").str.extract(_REVISION).str.strip_prefix("+").cast(pl.Int64, strict=False),
        target_stream=pl.col("named").str.replace(r"(?s)\A[^@]*@", ""),
    ).drop("named")
    names_target = pl.col("target_revision").is_not_null()
    named, malformed = parsed.filter(names_target), parsed.filter(~names_target)
    anywhere = EventFilter((), upto=conditions.upto, after=None, system=True, rule=conditions.rule)
    cut = anywhere.files(files)
    if (named["target_revision"] == -1).any():
        targets = {_TARGETS: named.filter(target_revision=-1).select(stream="target_stream").unique().to_arrow()}
        last = _ask(queries, _LAST, cut, conditions=anywhere, hidden=hidden_targets, tables=targets)
        newest = pl.when(pl.col("target_revision") == -1).then("last_revision").otherwise("target_revision")
        named = named.join(last, on="target_stream", how="left").with_columns(target_revision=newest)
    rows = _rows(queries, _JOIN, cut, conditions=anywhere, hidden=hidden_targets, links=named)
    unresolved = named.height - rows.height
    rows = pl.concat([rows, _rows(queries, _ITSELF, wanted.files(files), conditions=wanted, hidden=None, links=malformed)])
    asked = replace(conditions, system=True).polars()
    return Links(rows if asked is None else rows.filter(asked), links.select(KEY), unresolved)


def _rows(
    queries: Queries,
    sql: str,
    files: Sequence[DataFile],
    *,
    conditions: EventFilter,
    hidden: pl.DataFrame | None,
    links: pl.DataFrame,
) -> pl.DataFrame:
    if links.is_empty():
        return pl.DataFrame(schema=FORK)
    found = _ask(queries, sql, files, conditions=conditions, hidden=hidden, tables={_LINKS: links.to_arrow()})
    return found.with_columns(sequence=pl.lit(0, dtype=pl.Int64), origin=pl.lit("recorded")).cast(FORK).select(FORK.names())


def _ask(queries: Queries, sql: str, files: Sequence[DataFile], **asked: object) -> pl.DataFrame:
    relation = queries.relation(sql, files=files, **asked)  # type: ignore[arg-type]
    with queries.translated(files):
        found = pl.from_arrow(relation.to_arrow_table())
    assert isinstance(found, pl.DataFrame)
    return found
