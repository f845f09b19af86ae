"""Continues after a broken connection: waits, reconnects and tries again as long as the export advances."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from workbench.errors import ReadInterrupted, SourceError, SourceNotReady, SourceUnavailable
from workbench.export.progress import Wait

WAITS: Final = (1.0, 2.0, 5.0, 15.0, 40.0)
"""Seconds to wait before each try. Each commit restarts the series; an election takes 2 to 3 s, a restart longer."""

BROKEN: Final = (SourceUnavailable, ReadInterrupted)
"""Errors that may be temporary once a server has answered: a restart, a broken link, a new leader."""

T = TypeVar("T")


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """A clock, and a way to wait."""

    now: Callable[[], datetime] = _utc_now
    seconds: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(slots=True)
class Tries:
    """Tries something until it succeeds, and counts the waits.

    Attributes
    ----------
    told
        Called before each wait.
    retries, waited
        The number of waits, and their total seconds.
    """

    clock: Stopwatch
    told: Callable[[Wait], None]
    retries: int = 0
    waited: float = 0.0

    def run(
        self,
        attempt: Callable[[], T],
        *,
        again: Callable[[], object] = lambda: None,
        position: Callable[[], int | None] = lambda: None,
        passing: tuple[type[SourceError], ...] = BROKEN,
    ) -> T:
        """Call ``attempt`` until it succeeds, and return its result.

        Parameters
        ----------
        again
            Called before each further try; may fail as well.
        position
            The progress of the work. If it has advanced, the waits start with the shortest again.
        passing
            The errors that may be temporary; others are raised at once.

        Raises
        ------
        SourceError
            The last error, after the last wait.
        """
        number, reached = 0, position()
        while True:
            try:
                if number:
                    again()
                return attempt()
            except passing as error:
                if position() != reached:
                    number, reached = 0, position()
                if number == len(WAITS):
                    raise _given_up(error, reached) from error
                wait = Wait(WAITS[number], str(error), position=reached, number=number + 1)
            number += 1
            self._wait(wait)

    def _wait(self, wait: Wait) -> None:
        self.retries += 1
        self.waited += wait.seconds
        self.told(wait)
        self.clock.sleep(wait.seconds)


def wait_until_ready(connect: Callable[[], T], *, told: Callable[[Wait], None], clock: Stopwatch | None = None) -> T:
    """Call ``connect``, and repeat while the server is starting or its cluster has no leader.

    Any other error is raised at once: nothing answers, TLS fails, the password is wrong.
    """
    return Tries(clock or Stopwatch(), told).run(connect, passing=(SourceNotReady,))


def _given_up(error: SourceError, position: int | None) -> SourceError:
    tried = f"{len(WAITS)} tries in {sum(WAITS):.0f} s"
    if position is None:
        return type(error)(f"Nothing was copied, after {tried}. {error} Run the export again later.")
    return type(error)(f"The export stopped at position {position}: {tried} failed. {error} Run it again later: it continues from there.")
