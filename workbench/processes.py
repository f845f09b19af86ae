"""Processes of this machine: what they hold in memory, and how all that one of them started is ended."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

MARK = "WORKBENCH_RUN"
"""The environment variable by which the processes of one run are known; its value is the run's own."""

_PR_SET_CHILD_SUBREAPER = 36
_END_SECONDS = 5.0


def resident_memory(pid: int) -> int:
    """Return how many bytes a process and all that it started hold in memory; 0 if it is gone.

    What several of them share counts for each.
    """
    import psutil  # type: ignore[import-untyped]  # noqa: PLC0415  # it brings no types; a tenth of a second, while the process begins

    found = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                found += int(one.memory_info().rss)
    return found


def adopt_orphans() -> None:
    """Become the parent of every process that this one's descendants leave behind, so that none gets away by detaching itself.

    Only Linux has this. Elsewhere `end_run` finds such processes by their mark.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_run(mark: str, *, below: int | None = None) -> None:
    """End all processes of a run, save this one.

    Parameters
    ----------
    mark
        What the run's processes have as the environment variable `MARK`.
    below
        End also what stands below this process, whatever its environment: a process may clear that.
    """
    import psutil  # noqa: PLC0415  # as above

    deadline = time.monotonic() + _END_SECONDS
    # What is killed may have started another process a moment before.
    while (found := list(_of_run(mark, below))) and time.monotonic() < deadline:
        for one in found:
            with suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(found, timeout=1)


def _of_run(mark: str, below: int | None) -> Iterator[Any]:
    import psutil  # noqa: PLC0415  # as above

    descendants = []
    if below is not None:
        with suppress(psutil.Error):
            descendants = psutil.Process(below).children(recursive=True)
    for one in {*descendants, *psutil.process_iter()}:
        with suppress(psutil.Error, OSError):
            is_ours = one in descendants or one.environ().get(MARK) == mark
            if is_ours and one.pid != os.getpid() and one.status() != psutil.STATUS_ZOMBIE:
                yield one
