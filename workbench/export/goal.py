"""The end of a read of the log when the server filters events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from workbench.events import Checkpoint, Selection
from workbench.export.source import Source
from workbench.kurrent import Batch, EventPosition, ReadFilter


@dataclass(frozen=True, slots=True)
class Goal:
    """The part of the log to read, and its last event; a read that lacks that event is not complete.

    Attributes
    ----------
    end
        The last event of the log that passes the filter; None if none does.
    filter
        The server-side filter. It may let through more events than the selection, but never fewer.
    """

    end: EventPosition | None
    filter: ReadFilter | None

    @classmethod
    def of(cls, source: Source, end: EventPosition, selection: Selection) -> Goal:
        """Ask the server for the goal of a read up to the log's end."""
        asked = ReadFilter.of(selection)
        return cls(end if asked is None else source.last_kept(end, filter=asked), asked)

    def batches(self, source: Source, before: Checkpoint | None) -> Iterator[Batch]:
        """Read the events after a checkpoint; if there are none, do not ask the server."""
        if self.end is None or self.is_reached(None if before is None else before.order):
            return iter(())
        return source.read_batches(after=before, upto=self.end, filter=self.filter)

    def is_reached(self, order: tuple[int, int] | None) -> bool:
        """Whether a log that was copied up to an event has reached the goal."""
        return self.end is None or (order is not None and order >= self.end.order)
