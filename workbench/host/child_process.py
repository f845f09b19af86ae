"""A Python child process with limits: the parent's side and the child's.

The parent writes a request, one line of JSON, to the child's standard input; the child writes an answer, one JSON object, to its standard
output. The standard input stays open while the parent lives. The child stops when it closes, so no child outlives its parent.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import IO, Any, Generic, Literal, TypeVar

import msgspec

import workbench

MARK = "WORKBENCH_RUN"
"""The environment variable that marks the processes of one run; its value belongs to that run alone."""

_PR_SET_CHILD_SUBREAPER = 36
_LOOK_SECONDS = 0.2
"""How often the memory is measured. A limit on the address space does not work: Polars and DuckDB reserve gigabytes and use a few hundred
megabytes of them."""
_BEAT_SECONDS = 15.0
_ORDERLY_SECONDS = 5.0
"""How long a process that is told to end may take to answer and to end what it started."""

Kind = TypeVar("Kind")
Over = Literal["time", "memory", "lost"]


@dataclass(frozen=True, slots=True)
class ProcessEnd(Generic[Kind]):
    """How a child process ended.

    Attributes
    ----------
    answer
        Its answer; None if it gave none.
    over
        Why the parent ended it: it exceeded its time limit or its memory limit, or the parent lost the right to the work. None if it
        ended by itself.
    status
        The exit status; negative, the number of the signal that killed it.
    memory
        The peak memory in bytes that was measured for it and its descendants.
    """

    answer: Kind | None
    over: Over | None
    status: int
    memory: int


@dataclass(frozen=True, slots=True)
class ChildProcess:
    """A child process, as its parent sees it; see `child_process`."""

    _process: subprocess.Popen[bytes]
    _lifeline: IO[bytes]
    _errors: IO[bytes]
    _mark: str

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def ask(self, request: object) -> None:
        """Send the request."""
        with suppress(BrokenPipeError):  # the process has ended, and its status says why
            self._lifeline.write(_encoded(request) + b"\n")
            self._lifeline.flush()

    def await_end(
        self, kind: type[Kind], *, seconds: float, memory: int | None = None, beat: Callable[[], bool] = lambda: True
    ) -> ProcessEnd[Kind]:
        """Wait for the answer and the end of the process; end the process if it exceeds a limit.

        Parameters
        ----------
        kind
            The type of the answer.
        seconds, memory
            The limits: seconds from now on, and bytes that the process and its descendants may hold together.
        beat
            Called every 15 seconds; if it returns False, the process is ended.
        """
        deadline, next_beat, patience = time.monotonic() + seconds, time.monotonic() + _BEAT_SECONDS, _LOOK_SECONDS
        over: Over | None = None
        peak = 0
        while True:
            with suppress(subprocess.TimeoutExpired):
                text, _ = self._process.communicate(timeout=max(min(patience, deadline - time.monotonic()), 0))
                return ProcessEnd(_decoded(text, kind), over, self._process.returncode, peak)
            if over is not None:
                end_run(self._mark, below=self.pid)
                continue
            peak = max(peak, _resident_memory(self.pid))
            now = time.monotonic()
            if memory is not None and peak > memory:
                over = "memory"
            elif now >= deadline:
                over = "time"
            elif now >= next_beat:
                next_beat = now + _BEAT_SECONDS
                over = None if beat() else "lost"
            if over is not None:
                self._process.terminate()
                patience = deadline = _ORDERLY_SECONDS
                deadline += now

    def last_words(self) -> str:
        """Return the last line that it wrote to its standard error."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]


@contextmanager
def child_process(module: str, *, environment: Mapping[str, str], folder: Path | None = None) -> Iterator[ChildProcess]:
    """Start ``python -m module``; at the end of the block no process that it started is left.

    Parameters
    ----------
    environment
        Its environment variables. The mark of the run, and the path by which Python finds this package, are added.
    folder
        Its working directory.
    """
    mark = f"{os.getpid()}-{secrets.token_hex(8)}"
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            env={**environment, "PYTHONPATH": _search_path(), MARK: mark},
            # Ctrl-C reaches the parent alone, which then ends the child in order.
            start_new_session=True,
        )
        lifeline, process.stdin = process.stdin, None  # or communicate() would close it
        assert lifeline is not None
        try:
            yield ChildProcess(process, lifeline, errors, mark)
        finally:
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=_ORDERLY_SECONDS)
            # Where the process could not end in order, what it started still runs.
            end_run(mark, below=process.pid if process.poll() is None else None)
            with suppress(BrokenPipeError):  # of what it did not read
                lifeline.close()
            process.communicate()


class Parent:
    """The parent, as its child process sees it. Redirects standard output to standard error, to reserve it for the answer."""

    def __init__(self) -> None:
        self._answer = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self._gone = Event()
        _adopt_orphans()

    def request(self, kind: type[Kind], *, gone: Callable[[Kind], object]) -> Kind | None:
        """Return what the parent asks for; None if it ended without a request.

        Parameters
        ----------
        gone
            Called with the request, in another thread, when the parent has ended. It ends the process.
        """
        line = sys.stdin.buffer.readline()
        if not line:
            return None
        request = msgspec.convert(json.loads(line), kind)

        def wait() -> None:
            while os.read(0, 4096):
                pass
            self._gone.set()
            gone(request)

        Thread(target=wait, daemon=True).start()
        return request

    def answer(self, answer: object) -> None:
        """Send the answer. If the parent has ended, this does not return: the callback ``gone`` ends this process."""
        if self._gone.is_set():
            Event().wait()
        with self._answer:
            self._answer.write(_encoded(answer))


def end_run(mark: str, *, below: int | None = None) -> None:
    """End all processes of a run, except this one.

    Parameters
    ----------
    mark
        The value of the environment variable `MARK` that the run's processes have.
    below
        End also this process's descendants, whatever their environment: a process may have cleared it.
    """
    import psutil  # type: ignore[import-untyped]  # noqa: PLC0415  # it brings no types; a tenth of a second, while the process begins

    deadline = time.monotonic() + _ORDERLY_SECONDS
    # A process may have started another one just before it was killed.
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
            top = psutil.Process(below)
            descendants = [top, *top.children(recursive=True)]
    for one in {*descendants, *psutil.process_iter()}:
        with suppress(psutil.Error, OSError):
            is_ours = one in descendants or one.environ().get(MARK) == mark
            if is_ours and one.pid != os.getpid() and one.status() != psutil.STATUS_ZOMBIE:
                yield one


def _resident_memory(pid: int) -> int:
    """Return how many bytes a process and its descendants hold in memory; shared memory counts for each. 0 if the process is gone."""
    import psutil  # noqa: PLC0415  # as above

    found = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                found += int(one.memory_info().rss)
    return found


def _adopt_orphans() -> None:
    """Become the parent of processes that this one's descendants orphan, so that none escapes by detaching itself.

    Only Linux offers this. Elsewhere `end_run` finds such processes by their mark.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _search_path() -> str:
    """Return ``PYTHONPATH`` as a child needs it: also for a checkout that is not installed."""
    search = [os.environ.get("PYTHONPATH", "")]
    package = str(Path(workbench.__file__).parent.parent)
    if package not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        search.append(package)
    return os.pathsep.join(filter(None, search))


def _encoded(value: object) -> bytes:
    return json.dumps(msgspec.to_builtins(value)).encode()  # msgspec's own JSON makes null of NaN


def _decoded(text: bytes, kind: type[Kind]) -> Kind | None:
    try:
        return msgspec.convert(json.loads(text), kind)
    except (ValueError, msgspec.ValidationError):
        return None
