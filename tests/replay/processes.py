"""Processes that write to a lake: killed on the way, or several at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SPAWN = multiprocessing.get_context("spawn")


def killed(work: Callable[[str, Any, int], None], path: Path, *, after: float) -> None:
    """Let a process work on a lake for good, and kill it so many seconds after it said that it is under way."""
    ready = _SPAWN.Event()
    process = _SPAWN.Process(target=work, args=(str(path), ready, 10_000))
    process.start()
    assert ready.wait(60)
    time.sleep(after)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()


def side_by_side(work: Callable[[str, Any, int], None], look: Callable[[str, int], None], path: Path, *, rounds: tuple[int, int]) -> None:
    """Let one process work on a lake and two look at it, so many rounds each, and see that all of them end well."""
    ready = _SPAWN.Event()  # held: a process that starts finds it by its name
    processes = [
        _SPAWN.Process(target=work, args=(str(path), ready, rounds[0])),
        *(_SPAWN.Process(target=look, args=(str(path), rounds[1])) for _ in range(2)),
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
