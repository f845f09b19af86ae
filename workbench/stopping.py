"""How a signal ends a command: like Ctrl-C, with an exit status of its own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Stopped(KeyboardInterrupt):
    """Raised where SIGTERM or SIGHUP arrives; whoever cleans up after Ctrl-C cleans up after these too."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = signal.Signals(number)


def stop(number: int, _: FrameType | None) -> NoReturn:
    """Handle a signal by raising :class:`Stopped`."""
    raise Stopped(number)


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP raise :class:`Stopped` within the block.

    One that somebody else handles, or that is ignored, as ``nohup`` has it, stays as it is; and so do both outside of the main thread,
    which is the only one that Python lets handle signals.
    """
    held = []
    if threading.current_thread() is threading.main_thread():
        held = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in held:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in held:
            signal.signal(number, signal.SIG_DFL)
