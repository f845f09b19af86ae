"""The interface through which a replay reads a log: it requests a few paths in the payloads of some events.

The replay does not know how the log is stored; a lake answers with DuckDB.
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
    """A path in a payload: keys of objects and indices of arrays.

    ``digits`` requests the recorded digits of a number, instead of its nearest double.
    """

    root: Root
    steps: tuple[str | int, ...]
    digits: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """An event type, and the paths to read from its events."""

    type: str
    places: tuple[PayloadPath, ...]


@dataclass(frozen=True, slots=True)
class Mention:
    """Restricts to events with one of these texts in one of these payloads."""

    roots: tuple[Root, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Extraction:
    """The events to read, and the parts of them to return.

    Attributes
    ----------
    columns
        Columns of the events to return besides ``position`` and ``prepare_position``; ``recorded_at`` is in microseconds since the Unix
        epoch.
    streams
        Only these streams, by name; None for all of the categories.
    apart
        Whether the order between streams is irrelevant, so that chunks may hold ranges of streams.
    among
        Only these streams, by name, possibly many; None for all.
    mention
        At least the events with a text in their payloads; None for all.
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
    """A piece of the result.

    Chunks follow each other in log order; within an epoch, they may follow each other by ranges of streams instead.

    Attributes
    ----------
    rows
        One row for each event of a wanted type: ``code`` (the index in ``Extraction.wanted``), ``position``, ``prepare_position``, the
        asked columns, ``data`` and ``metadata`` (lists of JSON text, in the order of the type's places with that root: null is absent,
        ``null`` is null; a list that is null holds nothing), and ``doubtful``: what was extracted cannot be relied on, and the event's
        payload must be read instead. Events of a stream mostly stand together and in order; no more is promised.
    ends
        Whether it ends an epoch: all later chunks come after all earlier ones in log order.
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
    """A piece of the recorded history, and the same piece of a what-if.

    Attributes
    ----------
    gone
        For each row of ``recorded``, whether edits removed or changed it.
    put
        For each row of ``forked``, whether edits added it.
    """

    recorded: Chunk
    forked: Chunk
    gone: NDArray[np.bool_]
    put: NDArray[np.bool_]


class Extracted(Protocol):
    """The lazy result of an extraction."""

    def chunks(self) -> Generator[Chunk, None, None]:
        """Yield the events of the wanted types."""

    def unwanted(self) -> Mapping[str, int]:
        """Count the events of the categories that are of other types, by type."""
