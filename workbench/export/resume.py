"""Go on after a connection broke: wait, connect anew, and try again, for as long as that gets further."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from workbench.errors import ReadInterrupted, SourceError, SourceNotReady, SourceUnavailable
from workbench.export.progress import Wait

WAITS: Final = (1.0, 2.0, 5.0, 15.0, 40.0)
"""How many seconds to wait before each try. The series begins anew with each commit; an election takes 2 to 3 s, a restart longer."""

BROKEN: Final = (SourceUnavailable, ReadInterrupted)
"""What may pass by itself once a server has answered: it is restarted, the link breaks, another node becomes the leader."""

T = TypeVar("T")


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """The time, and how to let it pass."""

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
        How many waits there were, and their seconds.
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
        """Call ``attempt`` until it returns, and return what it does.

        Parameters
        ----------
        again
            Called before each further try, and may fail like one.
        position
            How far the work has come. Where it has moved, the waits begin with the shortest again.
        passing
            The errors that may pass by themselves; any other is raised at once.

        Raises
        ------
        SourceError
            The last error, when the last wait was in vain.
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
    """Call ``connect``, again while the server says that it is starting or that its cluster has no leader.

    Whatever else fails, fails at once: an address where nothing answers, TLS, a password.
    """
    return Tries(clock or Stopwatch(), told).run(connect, passing=(SourceNotReady,))


def _given_up(error: SourceError, position: int | None) -> SourceError:
    tried = f"{len(WAITS)} tries in {sum(WAITS):.0f} s"
    if position is None:
        return type(error)(f"Nothing was copied, after {tried}. {error} Run the export again later.")
    return type(error)(
        f"The export ended at position {position}: {tried} got no further. {error} Run it again later: it goes on from there."
    )
