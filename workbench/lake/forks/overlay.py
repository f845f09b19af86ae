"""The overlay of edits over one version of a lake: the recorded events that are removed, and the events that are added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from operator import and_
from threading import RLock

import polars as pl

from workbench.events import EVENT_SCHEMA
from workbench.lake.files.format import DataFile
from workbench.lake.reading.event_filter import EventFilter
from workbench.timeline.edits import Edit, Effect

EVENT = pl.DataFrame(EVENT_SCHEMA.empty_table()).schema
FORK = pl.Schema({**EVENT, "sequence": pl.Int64(), "origin": pl.String()})
"""The columns of an event as it was recorded, and of one in a fork."""
KEY = ("position", "prepare_position")

_KEPT, _KEPT_ROWS = 8, 2_000_000
"""The limits of the overlay cache: the number of overlays, and of events in them. The last one is always kept."""


@dataclass(frozen=True, slots=True)
class Layer:
    """An overlay restricted to some conditions, for files that are restricted in the same way."""

    dropped: tuple[EventFilter, ...]
    """Recorded events that match any of these are removed."""
    gone: pl.DataFrame
    """Recorded events with these positions and prepare positions are removed too."""
    added: pl.DataFrame
    """The added events, with the columns of ``FORK``."""
    settled: bool = False
    """Whether the added events are already restricted to the visible ones."""

    def between(self, after: int | None, upto: int | None) -> Layer:
        """Narrow to a range of positions, exclusive and inclusive."""
        if after is None and upto is None:
            return self
        inside = _inside(after, upto)
        return replace(self, gone=self.gone.filter(inside), added=self.added.filter(inside))

    def of_streams(self, after: str | None, before: str | None) -> Layer:
        """Narrow to a range of streams: from the first one on, and before the second."""
        parts = []
        if after is not None:
            parts.append(pl.col("stream") >= after)
        if before is not None:
            parts.append(pl.col("stream") < before)
        return replace(self, added=self.added.filter(reduce(and_, parts))) if parts else self

    def drops(self, files: Sequence[DataFile], *, system: bool) -> tuple[EventFilter, ...]:
        """Return the conditions that events of some files must not match; without ``system``, system events are left out anyway."""
        asked = self.dropped if system else tuple(replace(one, system=True) for one in self.dropped)
        return tuple(one.unproven(files) for one in asked if one.files(files))


@dataclass(frozen=True, slots=True)
class Overlay:
    """The result of a chain of edits.

    Attributes
    ----------
    added
        The added events, with the columns of ``FORK`` and those that further edits need: see ``workbench.lake.forks.apply_edits``.
    touched
        The recorded events that are removed; None if there are too many to list.
    """

    dropped: tuple[EventFilter, ...]
    gone: pl.DataFrame
    added: pl.DataFrame
    touched: pl.DataFrame | None
    effects: tuple[Effect, ...] = ()

    def over(self, conditions: EventFilter, *, time: datetime | None) -> Layer:
        """Restrict to the events of a timeline; ``time`` is that of its cutoff.

        The time decides about events that were moved or inserted after the last event recorded by then: those with a later time are not in
        the cut.
        """
        asked = replace(conditions, upto=None).polars()
        parts = [] if asked is None else [asked]
        if conditions.upto is not None:
            parts.append(in_cut(conditions.upto, time))
        added = self.added.filter(reduce(and_, parts)) if parts else self.added
        return Layer(self.dropped, self.gone.filter(_inside(conditions.after, conditions.upto)), added.select(FORK.names()))


def in_cut(last: int, time: datetime | None) -> pl.Expr:
    """Return the condition that an event of a fork is in the cut of a position, or of a time that resolved to it."""
    inside = pl.col("position") <= last
    return inside if time is None else inside & ((pl.col("sequence") == 0) | (pl.col("recorded_at") <= time))


class Overlays:
    """A cache of the most recent overlays of one version of a lake; thread-safe."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._known: dict[tuple[Edit, ...], Overlay] = {}

    def of(self, edits: tuple[Edit, ...], extend: Callable[[Overlay | None, Edit], Overlay]) -> Overlay:
        """Return the overlay of a chain of edits, starting from the longest cached prefix of the chain."""
        with self._lock:
            known = next((count for count in range(len(edits), 0, -1) if edits[:count] in self._known), 0)
            overlay = self._known.pop(edits[:known]) if known == len(edits) else self._known.get(edits[:known])
            for edit in edits[known:]:
                overlay = extend(overlay, edit)
            assert overlay is not None
            self._known[edits] = overlay
            while len(self._known) > _KEPT or (len(self._known) > 1 and sum(map(_size, self._known.values())) > _KEPT_ROWS):
                del self._known[next(iter(self._known))]
            return overlay


def _size(overlay: Overlay) -> int:
    return overlay.gone.height + overlay.added.height


def _inside(after: int | None, upto: int | None) -> pl.Expr:
    parts = [pl.lit(value=True)]
    if after is not None:
        parts.append(pl.col("position") > after)
    if upto is not None:
        parts.append(pl.col("position") <= upto)
    return reduce(and_, parts)
