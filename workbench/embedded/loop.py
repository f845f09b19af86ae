"""The event loop that all stores of this process share, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")

_starting = threading.Lock()
_thread: threading.Thread | None = None
_loop: asyncio.AbstractEventLoop


def run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine on the shared loop, which is started when it is first needed, and return what it returns.

    There is one loop for all, because gRPC's asyncio side has one completion queue a process: with several loops, all wake up
    for each event of any, and all but one log an error (https://github.com/grpc/grpc/issues/25364).
    """
    return asyncio.run_coroutine_threadsafe(coroutine, _started()).result()


def _started() -> asyncio.AbstractEventLoop:
    global _thread, _loop  # noqa: PLW0603 - the one loop of the process
    with _starting:
        if _thread is None or not _thread.is_alive():  # also in a child process, to which no thread was handed on
            _loop = asyncio.new_event_loop()
            _loop.set_exception_handler(_handle)
            _thread = threading.Thread(target=_loop.run_forever, name="embedded-store", daemon=True)
            _thread.start()
        return _loop


def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Another loop of this process uses gRPC too (an asyncio client, say) and was faster at the completion queue.
    if not isinstance(context.get("exception"), BlockingIOError):
        loop.default_exception_handler(context)
