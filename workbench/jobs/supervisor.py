"""One attempt at a job, in a process of its own: which limits it is held to, and what its end means."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from workbench.host.child_process import ChildProcess, ProcessEnd, child_process
from workbench.jobs.ledger import Outcome
from workbench.jobs.process_identity import Process
from workbench.jobs.worker import Answer, Request

_REPORT_SECONDS = 30.0
"""How much longer a report may take than its limit, which it enforces itself so as to keep what it has of its notebook."""

Beat = Callable[[Process | None], bool]
"""Called first with the process that works on an attempt, then every 15 seconds; returns whether the attempt is still held."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended.

    Attributes
    ----------
    permanent
        Whether it would fail in the same way again.
    memory
        The most bytes that its processes were seen to hold together.
    """

    outcome: Outcome
    seconds: float
    message: str = ""
    permanent: bool = False
    memory: int = 0
    answer: Answer = field(default_factory=Answer)


def supervise(request: Request, *, memory: int | None, beat: Beat) -> Ended:
    """Run an attempt in a worker process, and end it at its limits.

    Whatever happens, no process of it is left: also where this raises.
    """
    began = time.monotonic()
    with child_process("workbench.jobs.worker", environment=_environment()) as worker:
        # The worker learns what to do only when the ledger knows it: at no moment does an unknown process work.
        if not beat(Process.of(worker.pid)):
            return Ended("lost", time.monotonic() - began)
        limits_itself = request.work == "report"
        worker.ask(replace(request, memory=memory) if limits_itself else request)
        end = worker.await_end(
            Answer,
            seconds=request.seconds + (_REPORT_SECONDS if limits_itself else 0),
            memory=None if limits_itself else memory,
            beat=lambda: beat(None),
        )
        ended = _ended(end, request, worker, memory=memory)
    return replace(ended, seconds=time.monotonic() - began, memory=end.memory)


def _ended(end: ProcessEnd[Answer], request: Request, worker: ChildProcess, *, memory: int | None) -> Ended:
    if end.over == "lost":
        return Ended("lost", 0)
    if end.over == "time":
        limit = f"its limit of {request.seconds:g} seconds"
        return Ended("timed out", 0, f"It took longer than {limit}: raise limits: {{time: …}}, or ask for less.")
    if end.over == "memory":
        held = f"{end.memory / 1e9:.2f} GB, more than its limit of {(memory or 0) / 1e9:.2f} GB"
        return Ended("out of memory", 0, f"Its processes held {held}: raise limits: {{memory: …}}, or ask for less.")
    answer = end.answer
    if answer is None:
        words = f" Its last words: {last}" if (last := worker.last_words()) else ""
        if end.status < 0:
            name = signal.Signals(-end.status).name
            more = ", perhaps since the memory of the machine ran out" if name == "SIGKILL" else ""
            return Ended("killed", 0, f"Its process was ended by {name}{more}.{words}")
        return Ended("failed", 0, f"Its process ended with status {end.status} and without an answer.{words}")
    if answer.message:
        return Ended(answer.outcome, 0, answer.message, permanent=answer.permanent, answer=answer)
    return Ended("succeeded", 0, answer.note, answer=answer)


def _environment() -> dict[str, str]:
    """Return the environment of a worker: the scheduler's, which holds the credentials."""
    return os.environ | {"GLOG_minloglevel": "3"}
