"""The process of one run: how it is started, what it may see of its caller, and how it is held to its limits."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from workbench.errors import ReportError
from workbench.processes import MARK, end_run, resident_memory
from workbench.reports.environment import environment_of
from workbench.reports.request import Limits, Outcome, Request

_LOOK_SECONDS = 0.2
"""How often the memory is looked at. (A limit on the address space cannot be one on memory: Polars and DuckDB reserve gigabytes, and
hold a few hundred megabytes.)"""
_ORDERLY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, and the most bytes that its processes held together, as far as was looked."""

    outcome: Outcome
    memory: int


@dataclass(frozen=True, slots=True)
class Child:
    """The process of a run. It lives no longer than the pipe that is its standard input."""

    process: subprocess.Popen[str]
    lifeline: IO[str]

    def ask(self, request: Request) -> None:
        """Tell it what to do."""
        with suppress(BrokenPipeError):  # it is gone already, and its status tells
            self.lifeline.write(json.dumps(asdict(request)) + "\n")
            self.lifeline.flush()


@contextmanager
def run_process(path: Path, *, lake: str, variables: Iterable[str] = ()) -> Iterator[Child]:
    """Start the process of a run; at the end, whatever happened, nothing that it started and none of its files is left.

    If this process is killed, the run's sees the end of its standard input, and ends by itself with all that it started.

    Parameters
    ----------
    path
        The notebook.
    variables
        Variables of the environment that are passed to it, beyond those that every run needs.
    """
    with tempfile.TemporaryDirectory(prefix="wb-") as folder, (Path(folder) / "stderr").open("w+", encoding="utf-8") as errors:
        mark = f"{os.getpid()}-{secrets.token_hex(8)}"
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "workbench.reports.notebook_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=path.parent,
            env={**environment_of(folder, lake=lake, asked=variables), MARK: mark},
            encoding="utf-8",
            # Ctrl-C reaches the caller only, who then ends the run in order.
            start_new_session=True,
        )
        lifeline, process.stdin = process.stdin, None  # or communicate would close it
        assert lifeline is not None
        try:
            yield Child(process, lifeline)
        except ReportError as error:
            errors.seek(0)
            if last := errors.read().strip().rpartition("\n")[2]:
                error.add_note(f"The run's last words: {last}")
            raise
        finally:
            if process.poll() is None:
                process.terminate()  # it takes with it all that it started
                try:
                    process.wait(_ORDERLY_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
            process.wait()
            # Where the process itself was killed, what it started still runs.
            end_run(mark)
            with suppress(BrokenPipeError):  # of what it did not read any more
                lifeline.close()
            process.communicate()


def await_outcome(child: Child, request: Request, *, limits: Limits, seconds: float) -> Ended:
    """Let a process do what is requested, and end it at its limits.

    Parameters
    ----------
    seconds
        How much of the time is left.

    Raises
    ------
    ReportError
        The process ended without an answer.
    """
    process = child.process
    child.ask(request)
    deadline, peak = time.monotonic() + seconds, 0
    while True:
        try:
            answer, _ = process.communicate(timeout=max(min(_LOOK_SECONDS, deadline - time.monotonic()), 0))
            return Ended(_read(answer, process, request), peak)
        except subprocess.TimeoutExpired:
            pass
        held = resident_memory(process.pid)
        peak = max(peak, held)
        if limits.memory is not None and held > limits.memory:
            return Ended(replace(_stopped(process, request), ending="out of memory"), peak)
        if time.monotonic() >= deadline:
            return Ended(replace(_stopped(process, request), ending="timed out"), peak)


def _read(answer: str, process: subprocess.Popen[str], request: Request) -> Outcome:
    try:
        return Outcome(**json.loads(answer))
    except (ValueError, TypeError):
        name = Path(request.notebook).name
        raise ReportError(f"The process that ran {name} ended with status {process.returncode} and without an answer.") from None


def _stopped(process: subprocess.Popen[str], request: Request) -> Outcome:
    """End a process in order, so that it keeps what it has of the notebook and says how far it came."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired, ReportError):
        answer, _ = process.communicate(timeout=_ORDERLY_SECONDS)
        return _read(answer, process, request)
    return Outcome("timed out")
