"""Runs a notebook in a process of its own, and puts its page in place whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import workbench
from workbench.errors import CellFailed, CellTimedOut, KernelDied, ReportError, RunOutOfMemory, RunTimedOut, TooMuchOutput, UsageError
from workbench.events import Cutoff
from workbench.host.child_process import ChildProcess, ProcessEnd, child_process
from workbench.host.durable_files import put_in_place, staged
from workbench.reports.environment import environment_of
from workbench.reports.notebook_files import read_cells, shipped_notebooks, title_of
from workbench.reports.parameters import Value
from workbench.reports.record import EXECUTED, PAGE, Asked, Basis, RunRecord, digest, digest_of_events, packages
from workbench.reports.report_plan import OWN, ReportPlan, plan_report
from workbench.reports.request import NotebookOutcome, NotebookRequest, RunLimits
from workbench.reports.runs import INDEX, keep_run, staged_run

if TYPE_CHECKING:
    from workbench.timeline import Provenance, Timeline


@dataclass(frozen=True, slots=True)
class ReportRun:
    """A run that succeeded.

    Attributes
    ----------
    page
        The path of the report.
    notebook, parameters
        What was run, and the values that were given beside the notebook's defaults.
    cutoff, position
        The cutoff as it was asked for, and the position that it resolved to; None in an empty lake.
    source, events
        The event store, and the number of its events up to the cutoff, without system events.
    late
        The number of events up to that position, system events included, with a stamp later than the cutoff's time: the server's
        clock ran backwards.
    seconds
        How long the run took.
    memory
        The most bytes that its processes held together, looked at five times a second.
    directory
        The directory of the run; None if only the page was written.
    """

    page: Path
    notebook: Path
    parameters: Mapping[str, Value]
    cutoff: str
    position: int | None
    source: str
    events: int
    late: int
    seconds: float
    memory: int = 0
    directory: Path | None = None


def run_report(
    notebook: str | Path,
    *,
    lake: str | Path,
    out: str | Path | None = None,
    runs: str | Path | None = None,
    at: str | int | datetime | date | None = None,
    scenario: str | Path | None = None,
    parameters: Mapping[str, object] | Iterable[str] = (),
    cell_timeout: int = 600,
    timeout: float = 1800,
    memory: int | None = None,
    max_output: int = 50_000_000,
    code: bool = False,
    environment: Iterable[str] = (),
) -> ReportRun:
    """Run a notebook over a lake and write its report: one HTML file that opens anywhere, offline.

    The notebook runs in a process and a kernel of its own, of this Python. The page is written under another name and renamed when it is
    complete; until then, and after a failure, an older page stays. The same lake up to the same cutoff with the same parameters gives the
    same bytes.

    Parameters
    ----------
    notebook
        A path, or the name of a notebook that the workbench includes, such as ``"event_types"``. It declares its parameters in a cell
        tagged ``parameters``: ``lake: str`` and ``at: str | int | None``, and for what-ifs ``scenario: str | None``.
    lake
        A directory, or the URL of one in an object store.
    out
        Where the page goes. Its directory is made if it does not exist. Give either ``out`` or ``runs``.
    runs
        A directory of runs. Each run gets a directory of its own in it, with the page, the executed notebook and a record (see
        `RunRecord`), and is listed in ``index.html``. A failed run has a record and no page.
    at
        The cutoff, inclusive: a time with a zone, a date (its first instant in UTC), or a position. By default, the lake's last event when
        the run starts: what an export adds during the run is not in the report.
    scenario
        A scenario whose edits are applied to the history: a YAML file, or the name of one that the workbench includes. The foot of the
        page names the edits.
    parameters
        Values by name; or texts ``"name=value"``, as on a command line.
    cell_timeout, timeout
        How many seconds one cell, and the run as a whole, may take.
    memory
        How many bytes all processes of the run may hold together: resident memory, looked at five times a second. No limit by default.
    max_output
        How many bytes all cells may output together, text and charts. Browsers do not open pages of hundreds of megabytes.
    code
        Whether the page can show the code of each cell.
    environment
        Names of environment variables that the notebook needs. What a cell prints is on the page; therefore it sees no other variables
        but those that every program needs, such as ``HOME`` and ``PATH``, and for a lake in an object store those of that store.

    Returns
    -------
    ReportRun
        Where the page is, and what it rests on.

    Raises
    ------
    UsageError
        There is no such notebook, it has no such parameter, a value is not of its type, ``out`` or ``runs`` cannot be written, or a
        variable of ``environment`` is not set. Nothing was started.
    LakeError, OutsideHistory, InvalidTime
        The lake cannot be read, or not up to ``at``.
    CellFailed, CellTimedOut, TooMuchOutput, KernelDied, RunTimedOut, RunOutOfMemory
        The notebook did not reach its end.
    ReportError
        The notebook or its page is at fault in another way.

    Examples
    --------
    >>> from workbench.reports import run_report
    >>> found = run_report("event_types", lake="data/demo", at="2026-03-01", out="data/report.html")
    >>> found.events, found.page.name
    (20314, 'report.html')
    """
    if (out is None) == (runs is None):
        raise UsageError("Say where the report goes: out= is one page, runs= a directory in which each run has its own.")
    target = _writable(out) if out is not None else _writable(Path(runs or "") / INDEX)
    plan = plan_report(
        notebook,
        lake=lake,
        at=at,
        scenario=scenario,
        parameters=parameters,
        limits=RunLimits(cell_timeout, timeout, memory, max_output),
        code=code,
        environment=environment,
    )
    return _to_page(plan, target) if out is not None else _to_runs(plan, target.parent)


@dataclass(frozen=True, slots=True)
class MadeReport:
    """The result of a plan: the run, the error that ended it, and its record if one is wanted."""

    run: ReportRun
    error: ReportError | None
    record: RunRecord | None


def make_report(plan: ReportPlan, folder: Path, *, stage: Path, recorded: bool) -> MadeReport:
    """Run a notebook as planned, and write its page into a folder. If the notebook fails, return the error instead of raising it.

    Parameters
    ----------
    stage
        The directory of this process that holds the folder. The run's process removes it where this process is killed.
    recorded
        Whether the executed notebook is written too, and a record is made.
    """
    with (
        tempfile.TemporaryDirectory(prefix="wb-") as own,
        child_process(
            "workbench.reports.notebook_process",
            environment=environment_of(own, lake=plan.lake, asked=plan.environment),
            folder=plan.path.parent,
        ) as process,
    ):
        # The process starts up while the lake is opened.
        opened = _open(plan)
        basis = _basis(plan, opened) if recorded else None
        request = _request(plan, opened, folder, stage=stage, recorded=recorded)
        process.ask(request)
        limits = plan.limits
        end = process.await_end(NotebookOutcome, seconds=limits.timeout - plan.seconds, memory=limits.memory)
        outcome, error = _outcome(end, plan, process)
    if error is not None:
        (folder / PAGE).unlink(missing_ok=True)
    page = folder / PAGE
    run = _run(plan, opened, page=page, memory=end.memory)
    return MadeReport(run, error, None if basis is None else _record(plan, opened, basis, run, outcome=outcome, error=error))


@dataclass(frozen=True, slots=True)
class _Opened:
    """A lake at a cutoff: where the report comes from, the parameters that say so to the notebook, and all that was recorded by then."""

    origin: Provenance
    own: Mapping[str, str | int | None]
    recorded: Timeline


def _to_page(plan: ReportPlan, target: Path) -> ReportRun:
    """Make a report of which only the page is kept."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with staged(target.parent, ".report.*.part") as stage:
        made = make_report(plan, stage, stage=stage, recorded=False)
        if made.error is not None:
            raise made.error
        put_in_place(made.run.page, target)
    return replace(made.run, page=target)


def _to_runs(plan: ReportPlan, runs: Path) -> ReportRun:
    """Make a report of which everything is kept, however it ends."""
    with staged_run(runs) as folder:
        made = make_report(plan, folder, stage=folder.parent, recorded=True)
        assert made.record is not None
        directory = keep_run(folder, runs, record=made.record)
    if made.error is not None:
        made.error.add_note(f"What came of it is kept in {directory}.")
        raise made.error
    return replace(made.run, page=directory / PAGE, directory=directory)


def _name(path: Path, shipped: Mapping[str, Path]) -> str:
    """Return the name of what comes along with the workbench, wherever that is installed, or else the path."""
    found = shipped.get(path.stem)
    return path.stem if found is not None and found.resolve() == path.resolve() else str(path)


def _request(plan: ReportPlan, opened: _Opened, folder: Path, *, stage: Path, recorded: bool) -> NotebookRequest:
    values = {one.name: plan.values.get(one.name, one.default) for one in plan.declared if one.name not in OWN}
    return NotebookRequest(
        notebook=str(plan.path),
        parameters={**opened.own, **plan.values},
        cell_timeout=plan.limits.cell_timeout,
        max_output=plan.limits.output,
        stage=str(stage),
        page=str(folder / PAGE),
        origin=_footer(opened.origin, plan.path, values),
        executed=str(folder / EXECUTED) if recorded else None,
        code=plan.code,
    )


def _run(plan: ReportPlan, opened: _Opened, *, page: Path, memory: int) -> ReportRun:
    origin = opened.origin
    return ReportRun(
        page=page,
        notebook=plan.path,
        parameters=MappingProxyType(dict(plan.values)),
        cutoff=origin.cutoff,
        position=origin.position,
        source=origin.store,
        events=origin.events,
        late=origin.late,
        seconds=plan.seconds,
        memory=memory,
    )


def _record(
    plan: ReportPlan, opened: _Opened, basis: Basis, run: ReportRun, *, outcome: NotebookOutcome, error: ReportError | None
) -> RunRecord:
    from workbench.scenarios.scenario import shipped_scenarios  # noqa: PLC0415  # as in _open

    return RunRecord(
        title=title_of(read_cells(plan.path)) or plan.path.stem,
        outcome=outcome.ending,
        message="" if error is None else str(error),
        cell=outcome.cell,
        started=plan.started,
        seconds=round(run.seconds, 3),
        memory=run.memory,
        asked=Asked(
            notebook=_name(plan.path, shipped_notebooks()),
            lake=plan.lake,
            at=opened.own["at"],
            scenario=None if plan.scenario is None else _name(plan.scenario, shipped_scenarios()),
            parameters=plan.values,
            code=plan.code,
            limits=plan.limits,
            environment=plan.environment,
        ),
        basis=basis,
        page=None if error is not None else digest(run.page.read_bytes()),
    )


def _basis(plan: ReportPlan, opened: _Opened) -> Basis:
    origin, log = opened.origin, opened.recorded.log
    store = log.identity.store
    return Basis(
        store=origin.store,
        log=f"{store.first_event_id or 'no event'} at position {store.first_position}",
        table=log.table,
        lake_version=origin.lake_version,
        cutoff=origin.cutoff,
        position=origin.position,
        events=origin.events,
        late=origin.late,
        edits=origin.edits,
        data=digest_of_events(opened.recorded),
        notebook=digest(plan.path.read_bytes()),
        scenario=None if plan.scenario is None else digest(plan.scenario.read_bytes()),
        defaults={one.name: one.default for one in plan.declared if one.name not in OWN},
        packages=packages(),
    )


def _writable(out: str | Path) -> Path:
    """Return the absolute path of a page, and refuse one that cannot be written before the run begins."""
    target = Path(out).expanduser().resolve()
    try:
        if target.is_dir():
            raise UsageError(f"{out} is a directory: name a file in it, such as {Path(out) / 'report.html'}.")
        if target.exists() and not target.is_file():
            raise UsageError(f"{out} is no regular file, and would be replaced: name another file.")
        folder = next(parent for parent in target.parents if parent.exists())
        if not folder.is_dir():
            raise UsageError(f"{folder} is a file and not a directory, so that {out} cannot be written: name another place.")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UsageError(f"You may not write to the directory {folder}: name another place than {out}.")
    except OSError as error:
        raise UsageError(f"{out} cannot be written ({error.strerror}): name another file.") from error
    return target


def _open(plan: ReportPlan) -> _Opened:
    """Open the lake, and resolve the cutoff once."""
    # Here and not above, as in _basis.
    from workbench.lake import open_lake  # noqa: PLC0415
    from workbench.scenarios import Scenario  # noqa: PLC0415

    lake, at, scenario = plan.lake, plan.at, plan.scenario
    own: dict[str, str | int | None] = {"lake": lake} if scenario is None else {"lake": lake, "scenario": str(scenario)}
    recorded = open_lake(lake).timeline
    timeline = recorded if scenario is None else Scenario.load(scenario).on(recorded)
    if at is not None:
        cutoff = Cutoff.parse(at)
        timeline = timeline.upto(at)
        own["at"] = cutoff.position if cutoff.time is None else str(cutoff)
    else:
        own["at"] = timeline.position
        if timeline.position is not None:
            timeline = timeline.upto(position=timeline.position)
    origin = timeline.describe()
    whole = recorded.with_system()
    return _Opened(origin, own, whole if origin.position is None else whole.upto(position=origin.position))


def _footer(origin: Provenance, path: Path, parameters: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:
    position = "no event" if origin.position is None else f"position {origin.position}"
    asked = "" if origin.cutoff == position or origin.position is None else f"{origin.cutoff}, "
    return (
        ("Source", origin.store),
        ("Until", f"{asked}{position}"),
        *(("What if", edit) for edit in origin.edits),
        ("Events", f"{origin.events:,}"),
        *([("Stamped after the cutoff", f"{origin.late:,}")] if origin.late else []),
        *((f"Parameter {name}", json.dumps(value, ensure_ascii=False)) for name, value in parameters.items()),
        ("Made by", f"{path.stem}, workbench {workbench.__version__}"),
    )


def _outcome(end: ProcessEnd[NotebookOutcome], plan: ReportPlan, process: ChildProcess) -> tuple[NotebookOutcome, ReportError | None]:
    """Return how a run ended, and the error that says so unless it succeeded."""
    error: ReportError | None
    if end.over is not None:
        cell = None if end.answer is None else end.answer.cell
        outcome = NotebookOutcome("out of memory" if end.over == "memory" else "timed out", cell)
        error = _error(outcome, plan, memory=end.memory)
    elif end.answer is not None:
        outcome = end.answer
        error = _error(outcome, plan, memory=end.memory)
    else:
        error = ReportError(f"The process that ran {plan.path.name} ended with status {end.status} and without an answer.")
        outcome = NotebookOutcome("failed", reason=str(error))
    if error is not None and (words := process.last_words()):
        error.add_note(f"The run's last words: {words}")
    return outcome, error


def _error(outcome: NotebookOutcome, plan: ReportPlan, *, memory: int) -> ReportError | None:
    """Return the error of a run that failed."""
    name, limits = plan.path.name, plan.limits
    cell = "Starting the kernel of" if outcome.cell is None else f"Cell {outcome.cell} of"
    where = "" if outcome.cell is None else f", in cell {outcome.cell}"
    match outcome.ending:
        case "succeeded":
            return None
        case "cell failed":
            return CellFailed(f"{cell} {name} failed with {outcome.reason}.")
        case "cell timed out":
            return CellTimedOut(f"{cell} {name} took longer than {limits.cell_timeout} seconds: raise cell_timeout=, or ask for less.")
        case "too much output":
            said = outcome.reason or f"put out more than the {limits.output / 1e6:,.0f} MB that a report may hold"
            return TooMuchOutput(f"{cell} {name} {said}: print less, aggregate before you draw, or raise max_output=.")
        case "kernel died":
            return KernelDied(f"{cell} {name} ended its process: it was killed, crashed, or ran out of memory.")
        case "timed out":
            return RunTimedOut(
                f"The run of {name} took longer than its limit of {limits.timeout:g} seconds{where}: raise timeout=, or ask for less."
            )
        case "out of memory":
            assert limits.memory is not None
            held = f"held {memory / 1e6:,.0f} MB{where}, more than its limit of {limits.memory / 1e6:,.0f} MB"
            return RunOutOfMemory(f"The run of {name} {held}: raise memory=, or ask for less.")
        case "failed":
            return ReportError(f"The run of {name} failed: {outcome.reason}.")
