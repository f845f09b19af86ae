"""The process that one attempt at a job has to itself.

:mod:`workbench.jobs.supervisor` starts it as ``python -m workbench.jobs.worker``. It reads one JSON object from its standard
input, does the work, and answers with one on its standard output. Its standard input stays open while its scheduler lives: at its end it
stops, so that no work goes on that nobody holds.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Thread
from time import sleep
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from workbench.errors import (
    LakeMismatch,
    LogRewritten,
    LogUnproven,
    ReportError,
    RunOutOfMemory,
    RunTimedOut,
    UsageError,
    WorkbenchError,
)

if TYPE_CHECKING:
    from workbench.export import Wait

_ORDERLY_SECONDS = 5.0
_PERMANENT = (UsageError, LakeMismatch, LogRewritten, LogUnproven)
"""What fails again in the same way, however often it is tried."""

_LIMITS = {
    "raise cell_timeout=": "raise limits: {cell: …}",
    "raise timeout=": "raise limits: {time: …}",
    "raise memory=": "raise limits: {memory: …}",
    "raise max_output=": "raise limits: {output: …}",
}
"""How a pipeline calls what a run's errors advise to raise."""

_MADE = ".made"
"""Where a report is run before it stands beside its page."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be done: one export or one report, with everything resolved.

    Attributes
    ----------
    selection, accept_scavenged, until
        Of an export: the fields of a ``Selection``; whether a checkpoint may have been scavenged where nothing else proves that the log
        is the same; and the time, as text, up to which the lake should be complete.
    files
        Where the files of the job are written, by format: places of their own, from which they are moved when all is done.
    seconds, cell_seconds
        How long the whole may take, and a cell.
    memory
        How many bytes the processes of a report may hold together. An export is held to its limit by its supervisor.
    max_output
        How many bytes all cells of a report may put out.
    environment
        Of a report: the names of the variables that its notebook is given.
    """

    work: str
    lake: str
    files: Mapping[str, str]
    seconds: float
    source: str = ""
    selection: Mapping[str, Any] = field(default_factory=dict)
    accept_scavenged: bool = False
    until: str | None = None
    notebook: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    scenario: str | None = None
    at: str | None = None
    cell_seconds: int = 600
    memory: int | None = None
    max_output: int = 50_000_000
    environment: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """How it ended: without a message it succeeded, else ``outcome`` says how. What would fail again in the same way is ``permanent``.

    A ``note`` says what is worth telling of a success.
    """

    message: str = ""
    note: str = ""
    permanent: bool = False
    outcome: Literal["failed", "timed out", "out of memory"] = "failed"
    details: Mapping[str, Any] = field(default_factory=dict)


def perform(request: Request) -> Answer:
    """Do the work, and say how that ended; every failure becomes a sentence."""
    try:
        return _export(request) if request.work == "export" else _report(request)
    except WorkbenchError as error:
        # What an attempt leaves aside is cleared away, and nothing to be pointed at.
        notes = [note for note in getattr(error, "__notes__", ()) if _MADE not in note]
        said = " ".join([str(error), *notes])
        for theirs, ours in _LIMITS.items():
            said = said.replace(theirs, ours)
        outcome: Literal["failed", "timed out", "out of memory"] = "failed"
        if isinstance(error, RunTimedOut):
            outcome = "timed out"
        elif isinstance(error, RunOutOfMemory):
            outcome = "out of memory"
        return Answer(said, permanent=isinstance(error, _PERMANENT), outcome=outcome)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return Answer(f"The system refused it: {error.strerror or error}{where}.")
    except MemoryError:
        return Answer("The memory did not suffice.")
    except Exception as error:  # noqa: BLE001  # whatever a job meets is an answer, and its scheduler goes on
        return Answer(f"It failed with {type(error).__name__}: {error}.")


def _export(request: Request) -> Answer:
    from workbench.events import Selection, format_time, parse_time  # noqa: PLC0415  # a report has no use for it
    from workbench.export import export_log  # noqa: PLC0415
    from workbench.lake import open_lake  # noqa: PLC0415

    until = None if request.until is None else parse_time(request.until)
    done = export_log(
        request.source,
        request.lake,
        selection=Selection.of_fields(request.selection),
        accept_scavenged=request.accept_scavenged,
        until=until,
        waiting=_say_wait,
    )
    for file in request.files.values():
        open_lake(request.lake).write_duckdb(file)
    details = {
        "lake": done.lake,
        "events_read": done.events_read,
        "events_kept": done.events_kept,
        "position": None if done.checkpoint is None else done.checkpoint.position,
        "retries": done.retries,
        "late_events": done.late_events,
        "complete_until": None if done.checkpoint is None else format_time(done.checkpoint.complete_until),
    }
    notes = list(done.notes)
    if until is not None and (done.checkpoint is None or done.checkpoint.complete_until < until):
        notes.append(f"It could not be made complete until {format_time(until)}, which reports behind it ask for.")
    return Answer(note=" ".join(notes), details=details)


def _say_wait(wait: Wait) -> None:
    print(wait, file=sys.stderr, flush=True)


def _report(request: Request) -> Answer:
    from workbench.jobs.output_conflicts import FAILED  # noqa: PLC0415  # an export has no use for it
    from workbench.reports import run_report  # noqa: PLC0415  # as above
    from workbench.reports.record import RECORD  # noqa: PLC0415  # as above

    [place] = request.files.values()
    page = Path(place)
    made = page.with_name(_MADE)
    try:
        done = run_report(
            request.notebook,
            lake=request.lake,
            runs=made,
            at=request.at,
            scenario=request.scenario,
            parameters=request.parameters,
            cell_timeout=request.cell_seconds,
            timeout=request.seconds,
            memory=request.memory,
            max_output=request.max_output,
            environment=request.environment,
        )
    except ReportError:
        # Its record, and the notebook as far as it came.
        for kept in made.glob(f"*/{RECORD}"):
            kept.parent.rename(page.with_suffix(FAILED))
        shutil.rmtree(made, ignore_errors=True)
        raise
    assert done.directory is not None
    # Beside the page stands its run, named as it is: the record by which it can be verified, and the executed notebook.
    directory = done.directory.rename(page.with_suffix(""))
    shutil.rmtree(made)
    shutil.copyfile(directory / done.page.name, page)
    return Answer(details={"lake": request.lake, "cutoff": done.cutoff, "position": done.position, "events": done.events})


def _stop_with_scheduler() -> None:
    """Wait for the end of the standard input, which is the scheduler's; then stop, in order if that is possible."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(_ORDERLY_SECONDS)  # a library that does not come back keeps the signal waiting
    os._exit(1)


def _stop(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(1)


def main() -> None:
    """Do what standard input asks for."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever a library prints must not get into the answer.
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, _stop)
    line = sys.stdin.readline()
    if not line:
        return  # the scheduler is gone before it could say what it wanted
    Thread(target=_stop_with_scheduler, daemon=True).start()
    with closing(answer):
        json.dump(asdict(perform(Request(**json.loads(line)))), answer)


if __name__ == "__main__":
    main()
