"""How far a read of the log goes where the server leaves out what is not kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from workbench.events import Checkpoint, Selection
from workbench.export.source import Source
from workbench.kurrent import Batch, EventPosition, ReadFilter


@dataclass(frozen=True, slots=True)
class Goal:
    """What is read of the log, and its last event, without which the read is not complete.

    Attributes
    ----------
    end
        The last event, up to and including the log's own, that passes the filter; None if none does.
    filter
        What the server is asked to leave out. It may let through more than the selection does, and never less.
    """

    end: EventPosition | None
    filter: ReadFilter | None

    @classmethod
    def of(cls, source: Source, end: EventPosition, selection: Selection) -> Goal:
        """Ask for the goal of a read up to the log's end."""
        asked = ReadFilter.of(selection)
        return cls(end if asked is None else source.last_kept(end, filter=asked), asked)

    def batches(self, source: Source, before: Checkpoint | None) -> Iterator[Batch]:
        """Read what is behind a checkpoint; where nothing is, the server is not asked."""
        if self.end is None or self.is_reached(None if before is None else before.order):
            return iter(())
        return source.read_batches(after=before, upto=self.end, filter=self.filter)

    def is_reached(self, order: tuple[int, int] | None) -> bool:
        """Tell whether a log that was copied up to some place lacks nothing of the goal."""
        return self.end is None or (order is not None and order >= self.end.order)
