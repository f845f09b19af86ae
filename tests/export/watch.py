"""A clock for exports that waits without waiting, and remembers for how long."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from workbench.export import Stopwatch, Wait


class Watch:
    """What an export waits for, in ``slept`` second by second and in ``told`` as it is told; ``clock`` is to be handed in.

    Attributes
    ----------
    moves
        Called at each sleep, with how many there were before: what happens to the world meanwhile.
    """

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.told: list[Wait] = []
        self.moves: Callable[[int], object] = lambda number: None
        self.clock = Stopwatch(now=self._now, seconds=self._seconds, sleep=self._sleep)

    def _now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=sum(self.slept))

    def _seconds(self) -> float:
        return time.monotonic() + sum(self.slept)

    def _sleep(self, seconds: float) -> None:
        self.moves(len(self.slept))
        self.slept.append(seconds)
