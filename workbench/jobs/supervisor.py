"""One attempt at a job, in a process of its own that is watched: its time, its memory, and whether it is still ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO

import psutil  # type: ignore[import-untyped]  # it brings no types

from workbench.jobs.ledger import Outcome
from workbench.jobs.process_identity import Process
from workbench.jobs.worker import Answer, Request
from workbench.processes import resident_memory

HEARTBEAT_SECONDS = 15.0
_LOOK_SECONDS = 0.1
_MEMORY_LOOKS = 5
_ORDERLY_SECONDS = 5.0
_REPORT_SECONDS = 30.0
"""How much longer a report may take than its limit, to which it holds itself: so it keeps what it has of its notebook."""

Beat = Callable[[Process | None], bool]
"""Told now and then that an attempt goes on, and first which process works on it; answers whether it is still ours."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended.

    Attributes
    ----------
    permanent
        Whether it would fail in the same way again.
    memory
        The most bytes that its processes held together, as far as was looked.
    """

    outcome: Outcome
    seconds: float
    message: str = ""
    permanent: bool = False
    memory: int = 0
    answer: Answer = field(default_factory=Answer)


def supervise(request: Request, *, memory: int | None, beat: Beat) -> Ended:
    """Let a worker do what is requested, and see to it that it keeps to its limits.

    Whatever happens, no process of it is left: also where this raises.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors, _started(errors) as worker:
        try:
            # Only when the ledger names the worker does it learn what to do: there is no moment at which it works and is not known.
            if not beat(Process.of(worker.pid)):
                return Ended("lost", time.monotonic() - began)
            _ask(worker, replace(request, memory=memory) if request.work == "report" else request)
            outcome, message, peak = _watch(worker, request, memory=memory, beat=beat, began=began)
        finally:
            _clear(worker)
        seconds = time.monotonic() - began
        if outcome is not None:
            return Ended(outcome, seconds, message, memory=peak)
        return _read(worker, errors, seconds=seconds, peak=peak)


def _started(errors: IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "workbench.jobs.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=_environment(),
        encoding="utf-8",
        # Ctrl-C reaches the scheduler only, who then ends the attempt in order.
        start_new_session=True,
    )


def _ask(worker: subprocess.Popen[str], request: Request) -> None:
    assert worker.stdin is not None
    with suppress(BrokenPipeError):  # it died at once; its status tells
        worker.stdin.write(json.dumps(asdict(request)) + "\n")
        worker.stdin.flush()


def _watch(
    worker: subprocess.Popen[str], request: Request, *, memory: int | None, beat: Beat, began: float
) -> tuple[Outcome | None, str, int]:
    """Wait for the worker's end; return why it has to be ended before that, if it has, and the most memory that was seen."""
    peak, looks, last_beat = 0, 0, time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            worker.wait(_LOOK_SECONDS)
            return None, "", peak
        if looks % _MEMORY_LOOKS == 0:
            peak = max(peak, resident_memory(worker.pid))
        looks += 1
        now = time.monotonic()
        holds_itself = request.work == "report"
        if now - began > request.seconds + (_REPORT_SECONDS if holds_itself else 0):
            limit = f"its limit of {request.seconds:g} seconds"
            return "timed out", f"It took longer than {limit}: raise limits: {{time: …}}, or ask for less.", peak
        if memory is not None and peak > memory and not holds_itself:
            held = f"{peak / 1e9:.2f} GB, more than its limit of {memory / 1e9:.2f} GB"
            return "out of memory", f"Its processes held {held}: raise limits: {{memory: …}}, or ask for less.", peak
        if now - last_beat > HEARTBEAT_SECONDS:
            last_beat = now
            if not beat(None):
                return "lost", "", peak


def _clear(worker: subprocess.Popen[str]) -> None:
    """End the worker and all that it started."""
    left: list[psutil.Process] = []
    if worker.poll() is None:
        with suppress(psutil.Error):
            left = psutil.Process(worker.pid).children(recursive=True)
        worker.terminate()  # it takes a report's processes with it
        with suppress(subprocess.TimeoutExpired):
            worker.wait(_ORDERLY_SECONDS)
    for one in left:
        with suppress(psutil.Error):
            one.kill()
    if worker.poll() is None:
        worker.kill()
        worker.wait()
    assert worker.stdin is not None
    with suppress(BrokenPipeError):  # what it did not read any more
        worker.stdin.close()


def _read(worker: subprocess.Popen[str], errors: IO[str], *, seconds: float, peak: int) -> Ended:
    assert worker.stdout is not None
    text = worker.stdout.read()
    status = worker.returncode
    try:
        answer = Answer(**json.loads(text))
    except (ValueError, TypeError):
        errors.seek(0)
        last = errors.read().strip().rpartition("\n")[2]
        words = f" Its last words: {last}" if last else ""
        if status < 0:
            name = signal.Signals(-status).name
            more = ", perhaps since the memory of the machine ran out" if name == "SIGKILL" else ""
            return Ended("killed", seconds, f"Its process was ended by {name}{more}.{words}", memory=peak)
        return Ended("failed", seconds, f"Its process ended with status {status} and without an answer.{words}", memory=peak)
    if answer.message:
        return Ended(answer.outcome, seconds, answer.message, permanent=answer.permanent, memory=peak, answer=answer)
    return Ended("succeeded", seconds, answer.note, memory=peak, answer=answer)


def _environment() -> dict[str, str]:
    """Return the environment of a worker: the scheduler's, since credentials stand there, and this package, installed or not."""
    import workbench  # noqa: PLC0415  # for its place

    search = [os.environ.get("PYTHONPATH", ""), str(Path(workbench.__file__).parent.parent)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, search)), "GLOG_minloglevel": "3"}
