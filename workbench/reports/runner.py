"""One run of a notebook in a process of its own, from checked parameters to what is put in place whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import workbench
from workbench.errors import CellFailed, CellTimedOut, KernelDied, ReportError, RunOutOfMemory, RunTimedOut, TooMuchOutput, UsageError
from workbench.events import Cutoff
from workbench.reports.environment import check_set
from workbench.reports.notebook_files import find_notebook, read_cells, shipped_notebooks, title_of
from workbench.reports.parameters import Parameter, Value, check_parameters, declared_parameters
from workbench.reports.process import Child, Ended, await_outcome, run_process
from workbench.reports.record import EXECUTED, PAGE, Asked, Basis, RunRecord, digest, digest_of_events, packages
from workbench.reports.request import Limits, Outcome, Request
from workbench.reports.runs import INDEX, settle, staged

if TYPE_CHECKING:
    from workbench.timeline import Provenance, Timeline

_OWN = ("lake", "at", "scenario")
"""The parameters that the run itself fills in: which lake, until when, and what if."""


@dataclass(frozen=True, slots=True)
class ReportRun:
    """A run that succeeded.

    Attributes
    ----------
    page
        The report.
    notebook, parameters
        What was run, with which values beside the notebook's own defaults.
    cutoff, position
        Until when, as it was asked for, and the position of the last event at which that came out; None in an empty lake.
    source, events
        Which event store, and how many of its events lie before the cutoff, without system events.
    late
        How many events up to that position, system events included, carry a stamp later than the cutoff's time: the server's
        clock ran backwards.
    seconds
        How long the run took.
    memory
        The most bytes that its processes held together, as far as was looked.
    directory
        Where all of the run is kept, if it is.
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

    The notebook runs in a process and a kernel of its own, of this Python. What it gives is written aside and moved into place when
    it is whole; until then, and after every failure, what stood at ``out`` stays. The same lake up to the same cutoff with the same
    parameters gives the same bytes.

    Parameters
    ----------
    notebook
        A path, or the name of a notebook that the workbench brings along, such as ``"event_types"``. It declares its
        parameters in a cell tagged ``parameters``, among them ``lake: str`` and ``at: str | int | None``, and to be asked what if
        ``scenario: str | None``.
    lake
        The lake: a folder, or an address in an object store.
    out
        Where the page goes, if nothing else is wanted; its folder exists or is made.
    runs
        Instead, a directory of runs. Each run has a directory of its own in it, with the page, the executed notebook and a record (see
        ``RunRecord``), and stands in the directory's ``index.html``. Failed runs have their record too, and no page.
    at
        Until when, inclusively: a time with a zone, a date (its first instant in UTC), or a position. Without it the lake's
        last event, as of now: what an export adds during the run does not get into the report.
    scenario
        A scenario, with whose edits the history is looked at: a YAML file, or the name of one that the workbench brings along. The foot
        of the page names the edits.
    parameters
        Values by name; or texts ``"name=value"`` as they come from a command line.
    cell_timeout, timeout
        How many seconds one cell, and the run as a whole, may take.
    memory
        How many bytes all processes of the run may hold together (resident, looked at five times a second).
    max_output
        How many bytes all cells may put out together, as text and as charts: a browser opens no page of hundreds of megabytes.
    code
        Whether the code of each cell can be unfolded on the page.
    environment
        Names of environment variables that the notebook needs. It sees no others of yours, since what a cell prints stands on the page:
        only those that every program needs, such as ``HOME`` and ``PATH``, and, for a lake in an object store, the variables of that store.

    Raises
    ------
    UsageError
        There is no such notebook, it has no such parameter, a value is not of its type, nothing can be written at ``out`` or ``runs``, or
        a variable of ``environment`` is not set.
        Nothing was started.
    LakeError, OutsideHistory, InvalidTime
        The lake cannot be read, or not up to ``at``.
    CellFailed, CellTimedOut, TooMuchOutput, KernelDied, RunTimedOut, RunOutOfMemory
        The notebook did not reach its end.
    ReportError
        The notebook or its page is at fault in another way.
    """
    target, keep = _place(out, runs)
    path, place = find_notebook(notebook), str(lake) if "://" in str(lake) else str(Path(lake).expanduser().resolve())
    declared = declared_parameters(path)
    what_if = None if scenario is None else _found(scenario)
    job = _Job(
        path=path,
        lake=place,
        scenario=what_if,
        declared=declared,
        values=_accept(path, declared, parameters, scenario=what_if),
        code=code,
        limits=Limits(cell_timeout, timeout, memory, max_output),
        environment=check_set(environment),
        started=datetime.now(UTC),
        began=time.monotonic(),
    )
    with run_process(path, lake=place, variables=job.environment) as child:
        # The child starts up while the lake is opened.
        opened = _open(place, at, what_if)
        return keep(child, job, opened, target)


@dataclass(frozen=True, slots=True)
class _Job:
    """A run that was found to be possible."""

    path: Path
    lake: str
    scenario: Path | None
    declared: tuple[Parameter, ...]
    values: Mapping[str, Value]
    code: bool
    limits: Limits
    environment: tuple[str, ...]
    started: datetime
    began: float

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


@dataclass(frozen=True, slots=True)
class _Opened:
    """A lake at a cutoff: where the report comes from, the parameters that say so to the notebook, and all that was recorded by then."""

    origin: Provenance
    own: Mapping[str, str | int | None]
    recorded: Timeline


def _to_page(child: Child, job: _Job, opened: _Opened, target: Path) -> ReportRun:
    """Do a job of which only the page is kept."""
    page = target.with_name(f".report.{secrets.token_hex(8)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        ended, error = _execute(child, job, opened, page=page)
        if error is not None:
            raise error
        with page.open("rb") as file:
            os.fsync(file.fileno())
        # A reader sees the old one or the new one, also after a power cut.
        page.replace(target)
    finally:
        page.unlink(missing_ok=True)
    return _done(job, opened, ended, page=target, directory=None)


def _to_runs(child: Child, job: _Job, opened: _Opened, runs: Path) -> ReportRun:
    """Do a job of which everything is kept, however it ends."""
    from workbench.scenarios.scenario import shipped_scenarios  # noqa: PLC0415  # as in _open

    with staged(runs) as stage:
        basis = _basis(job, opened)
        ended, error = _execute(child, job, opened, page=stage / PAGE, executed=stage / EXECUTED)
        record = RunRecord(
            title=title_of(read_cells(job.path)) or job.path.stem,
            outcome=ended.outcome.ending,
            message="" if error is None else str(error),
            cell=ended.outcome.cell,
            started=job.started,
            seconds=round(job.seconds, 3),
            memory=ended.memory,
            asked=Asked(
                notebook=_name(job.path, shipped_notebooks()),
                lake=job.lake,
                at=opened.own["at"],
                scenario=None if job.scenario is None else _name(job.scenario, shipped_scenarios()),
                parameters=job.values,
                code=job.code,
                limits=job.limits,
                environment=job.environment,
            ),
            basis=basis,
            page=None if error is not None else digest((stage / PAGE).read_bytes()),
        )
        if error is not None:
            (stage / PAGE).unlink(missing_ok=True)
        directory = settle(stage, runs, record=record)
    if error is not None:
        error.add_note(f"What came of it is kept in {directory}.")
        raise error
    return _done(job, opened, ended, page=directory / PAGE, directory=directory)


def _name(path: Path, shipped: Mapping[str, Path]) -> str:
    """Return the name of what comes along with the workbench, wherever that is installed, or else the path."""
    found = shipped.get(path.stem)
    return path.stem if found is not None and found.resolve() == path.resolve() else str(path)


def _execute(child: Child, job: _Job, opened: _Opened, *, page: Path, executed: Path | None = None) -> tuple[Ended, ReportError | None]:
    """Let the child do a job; return how that ended, and what is wrong with it."""
    values = {one.name: job.values.get(one.name, one.default) for one in job.declared if one.name not in _OWN}
    request = Request(
        notebook=str(job.path),
        parameters={**opened.own, **job.values},
        cell_timeout=job.limits.cell_timeout,
        max_output=job.limits.output,
        page=str(page),
        origin=_footer(opened.origin, job.path, values),
        executed=None if executed is None else str(executed),
        code=job.code,
        aside=str(page if executed is None else page.parent),
    )
    try:
        ended = await_outcome(child, request, limits=job.limits, seconds=job.limits.timeout - job.seconds)
    except ReportError as error:
        return Ended(Outcome("failed", reason=str(error)), 0), error
    return ended, _error(ended, job)


def _done(job: _Job, opened: _Opened, ended: Ended, *, page: Path, directory: Path | None) -> ReportRun:
    origin = opened.origin
    return ReportRun(
        page=page,
        notebook=job.path,
        parameters=MappingProxyType(dict(job.values)),
        cutoff=origin.cutoff,
        position=origin.position,
        source=origin.store,
        events=origin.events,
        late=origin.late,
        seconds=job.seconds,
        memory=ended.memory,
        directory=directory,
    )


def _basis(job: _Job, opened: _Opened) -> Basis:
    # Here and not above: the child imports this package too, and has no use for a lake.
    from workbench.lake.reading.snapshot import Snapshot  # noqa: PLC0415

    origin, log = opened.origin, opened.recorded.log
    assert isinstance(log, Snapshot)
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
        notebook=digest(job.path.read_bytes()),
        scenario=None if job.scenario is None else digest(job.scenario.read_bytes()),
        defaults={one.name: one.default for one in job.declared if one.name not in _OWN},
        packages=packages(),
    )


def _place(out: str | Path | None, runs: str | Path | None) -> tuple[Path, Callable[[Child, _Job, _Opened, Path], ReportRun]]:
    """Return where a run goes, and how; that it cannot go there is better said before a run than after it."""
    if out is not None and runs is None:
        return _writable(out), _to_page
    if runs is not None and out is None:
        return _writable(Path(runs) / INDEX).parent, _to_runs
    raise UsageError("Say where the report goes: out= is one page, runs= a directory in which each run has its own.")


def _found(scenario: str | Path) -> Path:
    """Return where a scenario lies, seen from anywhere: the notebook runs in a folder of its own."""
    from workbench.scenarios import find_scenario  # noqa: PLC0415  # the child has no use for it

    return find_scenario(scenario).resolve()


def _writable(out: str | Path) -> Path:
    """Return where a page goes; that it cannot go there is better said before a run than after it."""
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


def _accept(
    path: Path, declared: tuple[Parameter, ...], given: Mapping[str, object] | Iterable[str], *, scenario: Path | None
) -> dict[str, Value]:
    by_name = {parameter.name: parameter for parameter in declared}
    for name, samples in (("lake", ("data/demo",)), ("at", (None, "2026-03-01T00:00:00Z", 84731))):
        if name not in by_name or not all(by_name[name].accepts(sample) for sample in samples):
            raise ReportError(f"{path.name} cannot be a report: its parameters cell must declare `lake: str` and `at: str | int | None`.")
    if scenario is not None and not ("scenario" in by_name and by_name["scenario"].accepts(str(scenario))):
        raise UsageError(f"{path.name} cannot be asked what if: its parameters cell must declare `scenario: str | None = None`.")
    values = check_parameters(path, declared, given)
    for name in _OWN:
        if name in values:
            raise UsageError(f"Give {name!r} as an argument of the run, not as a parameter of {path.name}.")
    return values


def _open(lake: str, at: str | int | datetime | date | None, scenario: Path | None) -> _Opened:
    """Open a lake, and resolve the cutoff once."""
    # Here and not above: the child imports this package too, and has no use for a lake.
    from workbench.lake import open_lake  # noqa: PLC0415
    from workbench.scenarios import Scenario  # noqa: PLC0415

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


def _error(ended: Ended, job: _Job) -> ReportError | None:
    """Say what went wrong, if something did."""
    outcome, name, limits = ended.outcome, job.path.name, job.limits
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
            held = f"held {ended.memory / 1e6:,.0f} MB{where}, more than its limit of {limits.memory / 1e6:,.0f} MB"
            return RunOutOfMemory(f"The run of {name} {held}: raise memory=, or ask for less.")
        case "failed":
            return ReportError(f"The run of {name} failed: {outcome.reason}.")
