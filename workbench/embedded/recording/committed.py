"""A cache of recent event ids and their positions, by which the server recognises a repeated append."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple
from uuid import UUID

_CAPACITY = 8 * 1024 * 1024
_ENTRY = 28  # the id, a revision, and a reference to the name; the name comes on top, at two bytes a character


class RecordedAt(NamedTuple):
    """Where an event was recorded."""

    stream: str
    revision: int


class CommittedIds:
    """A cache of the ids that were recorded last, 8 MiB as the server counts them (``IndexWriter``, ``CommittedEventsMemCacheLimit``).

    It lives in memory only: a server that was restarted knows none. The first place of an id counts, also where the same id is
    recorded again.
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._places: OrderedDict[int, RecordedAt] = OrderedDict()
        self._size = 0

    def place_of(self, event_id: UUID) -> RecordedAt | None:
        """Return where an id was recorded first, as far as the cache still knows."""
        return self._places.get(event_id.int)

    def note(self, event_id: UUID, stream: str, revision: int) -> None:
        """Remember an id that is being recorded, unless it is known already. The oldest ids make room."""
        if event_id.int in self._places:
            return
        self._places[event_id.int] = RecordedAt(stream, revision)
        self._size += _cost(stream)
        while self._size > self._capacity:
            _, oldest = self._places.popitem(last=False)
            self._size -= _cost(oldest.stream)

    def forget(self) -> None:
        """Forget all ids, as a restart does."""
        self._places.clear()
        self._size = 0


def _cost(stream: str) -> int:
    return _ENTRY + 2 * len(stream)
