"""Handles the signals that end a command, and interrupts queries that run outside of Python."""

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
    """Raised when SIGTERM or SIGHUP arrives; a subclass of KeyboardInterrupt, so that clean-up for Ctrl-C also applies."""

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
"""Held by the one watching thread that ends the process."""


@contextmanager
def interrupted_by_signals(*, at_last: Callable[[int], None] | None = None) -> Iterator[None]:
    """Raise :class:`Stopped` on SIGTERM and SIGHUP within the block.

    A signal with another handler, or one that is ignored, as under ``nohup``, is left alone. Outside of the main thread both are, because
    Python handles signals only there. ``at_last`` ends the process at once: it is called in another thread with the number of the signal
    if an :func:`interruptible` block does not stop.
    """
    global _at_last  # noqa: PLW0603  # signals are per process, and so is this
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
    """Call ``interrupt`` when SIGINT, SIGTERM or SIGHUP arrives within the block; the signal's handler then ends the block.

    Python runs handlers only between its own instructions, so a query in a library would delay them. ``interrupt`` is called in another
    thread, repeatedly until the block ends. If the library does not stop within 1.2 seconds and a command is running, ``abandon`` is
    called and the command ends. Outside of the main thread this does nothing.
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
        # The handler's exception closes the generator, and is already propagating.
        if number is None or isinstance(error, KeyboardInterrupt | GeneratorExit):
            raise
        # The library raised its own error instead, which may have replaced the handler's exception.
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
        """Stop watching, and return the number of the signal that arrived, or None."""
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
        # The main thread has moved on: Python has run the handler, and the clean-up takes time.
        if _at_last is not None and _main_instruction() == stands and _ending.acquire(blocking=False):
            self._abandon()
            _at_last(number)
        while not self._ended.wait(_AGAIN_SECONDS):
            self._interrupt()


def _main_instruction() -> tuple[int, int] | None:
    """Return the position of the main thread in Python's code."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return None if frame is None else (id(frame), frame.f_lasti)
