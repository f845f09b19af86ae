"""Extracts paths from the payloads of a timeline's events, with one DuckDB query for each epoch.

`json_extract` with a list of paths parses a payload once and distinguishes absent values from null. It rewrites numbers with a fraction as
their nearest double, and refuses some text that Python's parsers accept (half a surrogate pair); such rows are marked doubtful.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from typing import TypeVar

import duckdb
import polars as pl
import pyarrow as pa

from workbench.events import Selection
from workbench.lake.files.format import DataFile, in_log_order
from workbench.lake.forks.overlay import Layer
from workbench.lake.json_paths import is_reachable, json_paths
from workbench.lake.reading.event_filter import EventFilter, Names, quoted
from workbench.lake.reading.query import Queries, as_duckdb_error
from workbench.timeline import Timeline
from workbench.timeline.extraction import Chunk, Extraction, PayloadPath

CHUNK_ROWS = 1_000_000
"""About how many rows of the log one query looks at; what it gives is held by the caller, and so is what was read ahead."""

APART_ROWS = 500_000
"""The same where chunks may hold ranges of streams: smaller ones keep two cores busy from the beginning to the end. Whole epochs are put
together up to a few more, since several are ordered together as fast as one."""

_AHEAD = 2
"""The number of chunks to read ahead: with only one, reader and caller would often wait for each other."""

_BATCH = 32_768
"""Rows per Arrow batch of DuckDB: with its larger default, each batch would allocate fresh memory."""

_WANTED, _AMONG = "_workbench_wanted", "_workbench_among"
_MALFORMED = "Malformed JSON"


Item = TypeVar("Item")
Answer = TypeVar("Answer")


def read_ahead(read: Callable[[Item], Answer], items: Iterable[Item]) -> Generator[Answer, None, None]:
    """Read items one after the other, a few ahead of the caller, and yield the results."""
    ahead = ThreadPoolExecutor(1, thread_name_prefix="extract")
    coming: deque[Future[Answer]] = deque()
    try:
        for item in items:
            coming.append(ahead.submit(read, item))
            if len(coming) > _AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        # Do not wait: the garbage collector may close this generator, and joining a thread there can block for ever.
        ahead.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Extractor:
    """Answers one extraction from files of one lake."""

    queries: Queries
    files: tuple[DataFile, ...]
    conditions: EventFilter
    hidden: pl.DataFrame | None
    extraction: Extraction
    layer: Layer | None = None

    @classmethod
    def of(
        cls,
        extraction: Extraction,
        *,
        timeline: Timeline,
        queries: Queries,
        files: Sequence[DataFile],
        conditions: EventFilter,
        hidden: pl.DataFrame | None,
        layer_of: Callable[[EventFilter], Layer] | None = None,
    ) -> Extractor:
        """Restrict a timeline's conditions to the categories and streams of an extraction, and choose the files."""
        ours = EventFilter.of(
            Timeline(log=timeline.log, selections=(Selection(categories=extraction.categories),), system=True), rule=conditions.rule
        )
        clauses = [*conditions.clauses, *ours.clauses]
        if extraction.streams is not None:
            clauses.append(tuple(Names("stream", name, literal=True) for name in extraction.streams))
        narrowed = replace(conditions, clauses=tuple(clauses))
        layer = None if layer_of is None else layer_of(narrowed)
        return cls(queries, tuple(narrowed.files(files)), narrowed, hidden, extraction, layer)

    def chunks(self) -> Generator[Chunk, None, None]:
        """Yield the result chunk by chunk; the next chunks are read while the caller works on this one."""
        return read_ahead(self.chunk, self.pieces())

    def unwanted(self) -> dict[str, int]:
        """Count the events of other types; empty if the extraction names many streams."""
        if (not self.files and not self._adds) or self.extraction.among is not None:
            return {}
        relation = self.queries.relation(
            "SELECT type, count(*) FROM events GROUP BY type ORDER BY type",
            files=self.files,
            conditions=self.conditions.unproven(self.files),
            hidden=self.hidden,
            layer=self.layer,
        )
        with self.queries.translated(self.files):
            found = dict(relation.fetchall())
        return {name: count for name, count in found.items() if name not in {one.type for one in self.extraction.wanted}}

    @property
    def _adds(self) -> bool:
        """Whether edits add events, possibly outside of the positions of all files."""
        return self.layer is not None and self.layer.added.height > 0

    def pieces(self) -> Iterator[Piece]:
        """Yield what is read at a time, each with its part of the layer: what lies behind those before it, up to its own last event."""
        if self.layer is None:
            yield from self._recorded_pieces()
            return
        pieces = list(self._recorded_pieces()) or ([Piece((), self.conditions)] if self._adds else [])
        ends = [piece.last for piece in pieces]
        # Pieces of one epoch share a range of positions.
        later = [next((end for end in reversed(ends[:at]) if end < ends[at]), None) for at in range(len(pieces))]
        for piece, after in zip(pieces, later, strict=True):
            upto = piece.last if piece.last < ends[-1] else None
            yield replace(piece, layer=self.layer.between(after, upto).of_streams(piece.after, piece.before))

    def _recorded_pieces(self) -> Iterator[Piece]:
        """Combine small neighbours; divide an epoch by its streams, and large files of other programs by positions."""
        named = (all(names.column == "stream" and names.exact for names in clause) for clause in self.conditions.clauses)
        if any(named):  # few rows, wherever they are
            if self.files:
                yield Piece(self.files, self.conditions)
            return
        most = 1.2 * APART_ROWS if self.extraction.apart else CHUNK_ROWS
        together: tuple[DataFile, ...] = ()
        for group in in_log_order(self.files):
            rows = _rows(group)
            if together and _rows(together) + rows > most:
                yield Piece(together, self.conditions)
                together = ()
            if rows > 4 * CHUNK_ROWS:
                yield from (Piece(group, conditions) for conditions in self._cut(group))
            elif self.extraction.apart and rows > 1.5 * APART_ROWS and (ends := self._stream_ends(group)):
                for after, before in zip([None, *ends], [*ends, None], strict=True):
                    yield Piece(group, self.conditions, after, before)
            else:
                together += group
        if together:
            yield Piece(together, self.conditions)

    def _stream_ends(self, group: Sequence[DataFile]) -> list[str]:
        """Return names of streams that divide the files of an epoch into pieces of about equal size, by their statistics."""
        ends: list[str] = []
        rows = 0
        most = _rows(group) / round(_rows(group) / APART_ROWS)
        for file in group:
            for least, count in self.queries.row_groups(file):
                if rows >= most and (not ends or least > ends[-1]):
                    ends.append(least)
                    rows = 0
                rows += count
        return ends

    def _cut(self, group: Sequence[DataFile]) -> Iterator[EventFilter]:
        first = min(file.first_position for file in group)
        last = max(file.last_position for file in group)
        step = ceil((last - first + 1) / ceil(_rows(group) / CHUNK_ROWS))
        upto, after = self.conditions.upto, self.conditions.after
        for start in range(first, last + 1, step):
            end = start + step - 1
            yield replace(
                self.conditions, upto=end if upto is None else min(end, upto), after=start - 1 if after is None else max(start - 1, after)
            )

    def chunk(self, piece: Piece, *, flag: str | None = None) -> Chunk:
        """Extract one piece, with a condition of SQL, if there is one, as a further column ``flag``."""
        began = time.perf_counter()
        conditions = piece.conditions.unproven(piece.files)
        among = self.extraction.among
        relation = partial(
            self.queries.relation,
            files=piece.files,
            conditions=conditions,
            hidden=self.hidden,
            layer=piece.layer,
            tables=None if among is None else {_AMONG: among.to_frame("stream").to_arrow()},
        )
        with self.queries.translated(piece.files):
            try:
                rows = relation(self._sql(piece, flag, guarded=False)).to_arrow_table(_BATCH)
            except (duckdb.InvalidInputException, UnicodeDecodeError) as error:
                if _MALFORMED not in str(as_duckdb_error(error)):
                    raise
                rows = relation(self._sql(piece, flag, guarded=True)).to_arrow_table(_BATCH)
        fetch = partial(self.fetch, piece)
        return Chunk(rows.combine_chunks(), piece.before is None, fetch, time.perf_counter() - began)

    def fetch(self, piece: Piece, wanted: pl.DataFrame) -> pl.DataFrame:
        rows = wanted.select("position", "prepare_position").to_arrow()
        sql = f"SELECT * FROM events SEMI JOIN {_WANTED} USING (position, prepare_position) ORDER BY position, prepare_position"
        relation = self.queries.relation(
            sql, files=piece.files, conditions=piece.conditions, hidden=self.hidden, layer=piece.layer, tables={_WANTED: rows}
        )
        with self.queries.translated(piece.files):
            found: pa.Table = relation.to_arrow_table()
        return pl.DataFrame(found)

    def _sql(self, piece: Piece, flag: str | None, *, guarded: bool) -> str:
        """Return the query.

        Conditional expressions use ``CASE``, because in the columns of a query DuckDB evaluates both sides of an ``AND`` or ``OR`` for
        every row.
        """
        wanted = self.extraction.wanted
        columns = [
            f"epoch_us({name}) AS {name}" if name == "recorded_at" else name
            for name in dict.fromkeys(("position", "prepare_position", *self.extraction.columns))
        ]
        doubts: dict[int, list[str]] = {}
        for root in ("data", "metadata"):
            lists = []
            for code, one in enumerate(wanted):
                paths = [place for place in one.places if place.root == root]
                if not paths:
                    continue
                if not all(is_reachable(place.steps) for place in paths):
                    doubts.setdefault(code, []).append("true")
                    continue
                taken = f"json_extract({root}, {json_paths(place.steps for place in paths)})"
                if guarded:
                    taken = f"TRY({taken})"
                    doubts.setdefault(code, []).append(f"{root} IS NOT NULL AND {taken} IS NULL")
                lists.append((code, taken))
                if long := [_long_number(place) for place in paths if place.digits]:
                    doubts.setdefault(code, []).extend(long)
            columns.append(f"{_by_code(lists, otherwise='NULL')}::VARCHAR[] AS {root}")
        doubtful = [(code, " OR ".join(f"coalesce({doubt}, false)" for doubt in found)) for code, found in sorted(doubts.items())]
        columns.append(f"{_by_code(doubtful, otherwise='false')} AS doubtful")
        if flag is not None:
            columns.append(f"({flag}) AS flag")
        # A function of a type, unlike comparisons, is worked out once for each entry of a dictionary; null where a type is not wanted.
        # And `IN` with many constants becomes a hash join, which loses the order.
        place = f"list_position([{', '.join(quoted(one.type) for one in wanted)}]::VARCHAR[], type)"
        view = "events" if self.extraction.among is None else f"(SELECT * FROM events SEMI JOIN {_AMONG} USING (stream))"
        events = f"SELECT *, ({place} - 1)::USMALLINT AS code FROM {view} WHERE {place} IS NOT NULL{piece.range}{self._mentioning()}"
        return f"SELECT {', '.join(columns)}, code FROM ({events})"

    def _mentioning(self) -> str:
        mention = self.extraction.mention
        if mention is None:
            return ""
        choices = [f"contains({root}, {quoted(text)})" for root in mention.roots for text in mention.texts]
        return f" AND ({' OR '.join(choices)})"


@dataclass(frozen=True, slots=True)
class Piece:
    """The input of one query; ``after`` is the first of its streams, ``before`` the first stream after them."""

    files: tuple[DataFile, ...]
    conditions: EventFilter
    after: str | None = None
    before: str | None = None
    layer: Layer | None = None

    @property
    def last(self) -> int:
        """The last position, from the statistics."""
        last = max((file.last_position for file in self.files), default=-1)
        return last if self.conditions.upto is None else min(last, self.conditions.upto)

    @property
    def range(self) -> str:
        return (f" AND stream >= {quoted(self.after)}" if self.after is not None else "") + (
            f" AND stream < {quoted(self.before)}" if self.before is not None else ""
        )


def _rows(files: Sequence[DataFile]) -> int:
    return sum(file.rows for file in files)


def _by_code(answers: Sequence[tuple[int, str]], *, otherwise: str) -> str:
    """Return SQL that selects an expression by the event's type."""
    branches = " ".join(f"WHEN code = {code} THEN {answer}" for code, answer in answers)
    return f"(CASE {branches} ELSE {otherwise} END)" if branches else otherwise


def _long_number(place: PayloadPath) -> str:
    """Return the condition that a number at a path may differ from the text of its nearest double: it is long, or has an exponent.

    Fifteen digits survive a conversion to a double and back. If an escape may spell the key, any such number in the payload counts.
    """
    number = r"-?[0-9.]*([0-9.]{16}|[0-9.][eE])"
    last = place.steps[-1] if place.steps else 0
    anywhere = rf"regexp_matches({place.root}, '(^|[\[:,\s]){number}')"
    if isinstance(last, int) or "/" in last:
        return anywhere
    keyed = re.escape(f'"{last}"') + r"\s*:\s*(\[([^\]]*[,\s])?)?" + number
    spelt = rf"(CASE WHEN regexp_matches({place.root}, '(?i)\\u({_codes(last)})') THEN {anywhere} ELSE false END)"
    plain = f"regexp_matches({place.root}, {quoted(keyed)})"
    return rf"(CASE WHEN {plain} THEN true WHEN contains({place.root}, '\u') THEN {spelt} ELSE false END)"


def _codes(key: str) -> str:
    """Return the hexadecimal digits by which an escape spells a character of a key, as choices of a regular expression."""
    units = key.encode("utf-16-be").hex()
    return "|".join(sorted({units[at : at + 4] for at in range(0, len(units), 4)}))
