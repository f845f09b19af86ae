"""How a signal ends a command: like Ctrl-C, with an exit status of its own; and how it ends a query that runs in another language."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE_SECONDS, _AGAIN_SECONDS = 1.2, 0.05
_at_last: Callable[[int], None] | None = None
_ending = threading.Lock()
"""Held by the one thread that ends the process, where several watch."""


@contextmanager
def interrupted_by_signals(*, at_last: Callable[[int], None] | None = None) -> Iterator[None]:
    """Have SIGTERM and SIGHUP raise :class:`Stopped` within the block.

    One that somebody else handles, or that is ignored, as ``nohup`` has it, stays as it is; and so do both outside of the main thread,
    which is the only one that Python lets handle signals. ``at_last`` ends the process at once: it is called in another thread with the
    number of the signal, where an :func:`interruptible` block does not yield to it.
    """
    global _at_last  # noqa: PLW0603  # signals are the process's, and so is this
    before, _at_last = _at_last, at_last
    held = []
    if threading.current_thread() is threading.main_thread():
        held = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in held:
        signal.signal(number, stop)
    try:
        yield
    finally:
        _at_last = before
        for number in held:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def interruptible(interrupt: Callable[[], None], *, abandon: Callable[[], None]) -> Iterator[None]:
    """Call ``interrupt`` when SIGINT, SIGTERM or SIGHUP arrives within the block, which then ends as that signal's handler has it.

    Python runs handlers only between its own instructions, so a query in a library would keep them waiting. ``interrupt`` is called in
    another thread, again and again until the block ends. Where the library does not yield for 1.2 seconds, and a command runs, then
    ``abandon`` is called and the command ends. Outside of the main thread nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.settimeout(0)
    try:
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    except ValueError:  # another interpreter's main thread
        reader.close()
        writer.close()
        yield
        return
    watch = _Watch(reader, before, interrupt, abandon)
    watch.start()
    try:
        yield
    except BaseException as error:
        number = watch.end(writer)
        # A generator is closed where the handler's exception left it behind: the exception is on its way already.
        if number is None or isinstance(error, KeyboardInterrupt | GeneratorExit):
            raise
        # The library made an error of its own of it, in which the handler's exception may have been lost.
        handler = signal.getsignal(number)
        if callable(handler):
            handler(number, None)
        raise KeyboardInterrupt from error
    finally:
        watch.end(writer)
        reader.close()


class _Watch:
    """Waits for a signal while the main thread is busy elsewhere."""

    def __init__(self, reader: socket.socket, before: int, interrupt: Callable[[], None], abandon: Callable[[], None]) -> None:
        self._number: int | None = None
        self._ended = threading.Event()
        self._reader, self._before = reader, before
        self._interrupt, self._abandon = interrupt, abandon
        self._thread = threading.Thread(target=self._run, name="interrupt", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self, writer: socket.socket) -> int | None:
        """Stop watching, and return the number of the signal that came; None if none did."""
        if self._thread.is_alive():
            signal.set_wakeup_fd(self._before)
            self._ended.set()
            writer.close()
            self._thread.join()
        return self._number

    def _run(self) -> None:
        while numbers := self._reader.recv(64):
            if self._before != -1:
                with suppress(OSError):
                    os.write(self._before, numbers)
            self._number = next((number for number in numbers if number in _SIGNALS), None)
            if self._number is not None:
                self._stop(self._number)
                return

    def _stop(self, number: int) -> None:
        stands = _main_instruction()
        for _ in range(round(_PATIENCE_SECONDS / _AGAIN_SECONDS)):
            self._interrupt()
            if self._ended.wait(_AGAIN_SECONDS):
                return
        # Elsewhere by now, Python has run the handler, and what takes time is the cleaning up.
        if _at_last is not None and _main_instruction() == stands and _ending.acquire(blocking=False):
            self._abandon()
            _at_last(number)
        while not self._ended.wait(_AGAIN_SECONDS):
            self._interrupt()


def _main_instruction() -> tuple[int, int] | None:
    """Return where the main thread stands in Python's code."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return None if frame is None else (id(frame), frame.f_lasti)
