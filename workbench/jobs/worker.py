"""The process of one attempt at a job: it exports or makes a report, and answers how that ended.

:mod:`workbench.jobs.supervisor` starts it as ``python -m workbench.jobs.worker``. :mod:`workbench.host.child_process` says how the two
talk.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from workbench.errors import (
    LakeMismatch,
    LogRewritten,
    LogUnproven,
    RunOutOfMemory,
    RunTimedOut,
    UsageError,
    WorkbenchError,
)
from workbench.host.child_process import Parent

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


@dataclass(frozen=True, slots=True)
class Request:
    """One export or one report to run, with everything resolved.

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
    """How the work ended. Without a message it succeeded; otherwise ``outcome`` says how it failed, and ``permanent`` whether a retry would
    fail in the same way. A ``note`` adds to a success.
    """

    message: str = ""
    note: str = ""
    permanent: bool = False
    outcome: Literal["failed", "timed out", "out of memory"] = "failed"
    details: Mapping[str, Any] = field(default_factory=dict)


def perform(request: Request) -> Answer:
    """Do the work, and return how it ended; every failure becomes a sentence."""
    try:
        return _export(request) if request.work == "export" else _report(request)
    except WorkbenchError as error:
        said = " ".join([str(error), *getattr(error, "__notes__", ())])
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
    from workbench.reports.record import RECORD  # noqa: PLC0415  # as above
    from workbench.reports.report_plan import plan_report  # noqa: PLC0415  # as above
    from workbench.reports.request import RunLimits  # noqa: PLC0415  # as above
    from workbench.reports.runner import make_report  # noqa: PLC0415  # as above

    plan = plan_report(
        request.notebook,
        lake=request.lake,
        at=request.at,
        scenario=request.scenario,
        parameters=request.parameters,
        limits=RunLimits(request.cell_seconds, request.seconds, request.memory, request.max_output),
        environment=request.environment,
    )
    [place] = request.files.values()
    page = Path(place)
    # Beside the page stands its run, named as it is: the record by which it can be verified, and the executed notebook.
    folder = page.with_suffix("")
    folder.mkdir()
    made = make_report(plan, folder, stage=folder, recorded=True)
    assert made.record is not None
    made.record.write(folder / RECORD)
    if made.error is not None:
        folder.rename(page.with_suffix(FAILED))
        raise made.error
    shutil.copyfile(made.run.page, page)
    return Answer(details={"lake": request.lake, "cutoff": made.run.cutoff, "position": made.run.position, "events": made.run.events})


def _stop_with_scheduler(_: Request) -> None:
    """Stop, in order if that is possible: nobody waits for the work any more."""
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(_ORDERLY_SECONDS)  # a library that does not come back keeps the signal waiting
    os._exit(1)


def _stop(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(1)


def main() -> None:
    """Do what the scheduler asks for."""
    parent = Parent()
    signal.signal(signal.SIGTERM, _stop)
    request = parent.request(Request, gone=_stop_with_scheduler)
    if request is not None:
        parent.answer(perform(request))


if __name__ == "__main__":
    main()
