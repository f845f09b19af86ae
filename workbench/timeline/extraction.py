"""What a replay asks of a recorded log: a few places of the payloads of some events, and nothing else.

The one who asks need not know how the log is kept; a lake answers with DuckDB.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

Root = Literal["data", "metadata"]


@dataclass(frozen=True, slots=True)
class PayloadPath:
    """A place in a payload: keys of objects and indices of arrays.

    ``digits`` says that the digits of a number count, and not its nearest double alone.
    """

    root: Root
    steps: tuple[str | int, ...]
    digits: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """Events of one type, and the places in them that are read."""

    type: str
    places: tuple[PayloadPath, ...]


@dataclass(frozen=True, slots=True)
class Mention:
    """Events that have one of some texts in one of some payloads."""

    roots: tuple[Root, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Extraction:
    """Which events are read, and what of them.

    Attributes
    ----------
    columns
        Columns of the events that are wanted besides ``position`` and ``prepare_position``; ``recorded_at`` comes in
        microseconds since the Unix epoch.
    streams
        Only these streams, by name; None for all of the categories.
    apart
        Whether the order of events of different streams does not matter, so that chunks may hold ranges of streams.
    among
        Only these streams, by name, where they may be many; None for all.
    mention
        At least the events that have a text in their payloads; None for all.
    """

    categories: tuple[str, ...]
    wanted: tuple[Wanted, ...]
    columns: tuple[str, ...] = ()
    streams: tuple[str, ...] | None = None
    apart: bool = False
    among: pl.Series | None = None
    mention: Mention | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of what was extracted.

    What one chunk holds comes before what the next one holds, in log order; only the pieces of an epoch follow each other by ranges of
    streams.

    Attributes
    ----------
    rows
        One row for each event of a wanted type: ``code`` (the index in ``Extraction.wanted``), ``position``, ``prepare_position``, the
        asked columns, ``data`` and ``metadata`` (lists of JSON text, in the order of the type's places with that root: null is absent,
        ``null`` is null; a list that is null holds nothing), and ``doubtful``: what was extracted cannot be relied on, and the event's
        payload must be read instead. Events of a stream mostly stand together and in order; no more is promised.
    ends
        Whether it ends an epoch: whatever follows is later than all before.
    fetch
        Reads whole events of the epoch, in log order, given a frame of their ``position`` and ``prepare_position``.
    seconds
        How long it took to read and extract.
    """

    rows: pa.Table
    ends: bool
    fetch: Callable[[pl.DataFrame], pl.DataFrame]
    seconds: float


@dataclass(frozen=True, slots=True)
class Pair:
    """A piece of what was recorded, and the same piece of a what-if.

    Attributes
    ----------
    gone
        Of each row of ``recorded``, whether edits took it away, or changed it.
    put
        Of each row of ``forked``, whether edits put it there.
    """

    recorded: Chunk
    forked: Chunk
    gone: NDArray[np.bool_]
    put: NDArray[np.bool_]


class Extracted(Protocol):
    """What a log gives for an extraction. Nothing is read before it is asked for."""

    def chunks(self) -> Generator[Chunk, None, None]:
        """Yield the events of the wanted types."""

    def unwanted(self) -> Mapping[str, int]:
        """Count the events of the categories that are of other types, by type."""
