"""One run of a notebook in a process of its own, from checked parameters to a page that is put in place whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import workbench
from workbench.errors import CellFailed, CellTimedOut, KernelDied, ReportError, RunTimedOut, UsageError
from workbench.events import Cutoff
from workbench.reports.notebooks import find_notebook
from workbench.reports.parameters import Parameter, Value, check_parameters, declared_parameters
from workbench.reports.request import Outcome, Request

if TYPE_CHECKING:
    from workbench.timeline import Provenance

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


def run_report(
    notebook: str | Path,
    *,
    lake: str | Path,
    out: str | Path,
    at: str | int | datetime | date | None = None,
    scenario: str | Path | None = None,
    parameters: Mapping[str, object] | Iterable[str] = (),
    cell_timeout: int = 600,
    timeout: float = 1800,
) -> ReportRun:
    """Run a notebook over a lake and write its report: one HTML file that opens anywhere, offline.

    The notebook runs in a process and a kernel of its own, of this Python. The page is written aside and moved to ``out`` when
    it is whole; until then, and after every failure, what stood there stays. The same lake up to the same cutoff with the same
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
        Where the page goes; its folder exists or is made.
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

    Raises
    ------
    UsageError
        There is no such notebook, it has no such parameter, a value is not of its type, or no file can be written at ``out``.
        Nothing was started.
    LakeError, OutsideHistory, InvalidTime
        The lake cannot be read, or not up to ``at``.
    CellFailed, CellTimedOut, KernelDied, RunTimedOut
        The notebook did not reach its end.
    ReportError
        The notebook or its page is at fault in another way.
    """
    started = time.monotonic()
    path, place = find_notebook(notebook), str(lake) if "://" in str(lake) else str(Path(lake).expanduser().resolve())
    target = _writable(out)
    declared = declared_parameters(path)
    what_if = None if scenario is None else _found(scenario)
    values = _accept(path, declared, parameters, scenario=what_if)
    page = target.with_name(f".report.{secrets.token_hex(8)}.part")
    with _child(path) as child:
        # The child starts up while the lake is opened.
        origin, own = _open(place, at, what_if)
        request = Request(
            notebook=str(path),
            parameters={**own, **values},
            cell_timeout=cell_timeout,
            page=str(page),
            origin=_footer(origin, path, {p.name: values.get(p.name, p.default) for p in declared if p.name not in _OWN}),
        )
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            outcome = _await(child, request, path, seconds=timeout - (time.monotonic() - started), limit=timeout)
            _raise_for(outcome, path, cell_timeout)
            _settle(page, target)
        finally:
            page.unlink(missing_ok=True)
    return ReportRun(
        page=target,
        notebook=path,
        parameters=MappingProxyType(values),
        cutoff=origin.cutoff,
        position=origin.position,
        source=origin.store,
        events=origin.events,
        late=origin.late,
        seconds=time.monotonic() - started,
    )


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


def _open(lake: str, at: str | int | datetime | date | None, scenario: Path | None) -> tuple[Provenance, dict[str, Value]]:
    """Resolve the cutoff once, and return where the report comes from and the parameters that say so to the notebook."""
    # Here and not above: the child imports this package too, and has no use for a lake.
    from workbench.lake import open_lake  # noqa: PLC0415
    from workbench.scenarios import Scenario  # noqa: PLC0415

    own: dict[str, Value] = {"lake": lake} if scenario is None else {"lake": lake, "scenario": str(scenario)}
    timeline = open_lake(lake).timeline
    if scenario is not None:
        timeline = Scenario.load(scenario).on(timeline)
    if at is not None:
        cutoff = Cutoff.parse(at)
        timeline = timeline.upto(at)
        return timeline.describe(), {**own, "at": cutoff.position if cutoff.time is None else str(cutoff)}
    if timeline.position is not None:
        timeline = timeline.upto(position=timeline.position)
    return timeline.describe(), {**own, "at": timeline.position}


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


@contextmanager
def _child(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the process of a run; at the end, whatever happened, neither it nor its kernel nor its files are left."""
    with tempfile.TemporaryDirectory(prefix="wb-") as folder, (Path(folder) / "stderr").open("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "workbench.reports.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=path.parent,
            env=_environment(folder),
            encoding="utf-8",
            # Ctrl-C reaches the caller only, who then ends the run in order.
            start_new_session=True,
        )
        try:
            yield process
        except ReportError as error:
            errors.seek(0)
            if last := errors.read().strip().rpartition("\n")[2]:
                error.add_note(f"The run's last words: {last}")
            raise
        finally:
            if process.poll() is None:
                process.terminate()  # it takes its kernel with it
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()  # a kernel sees within a second that its parent is gone, and ends
            process.communicate()


def _environment(folder: str) -> dict[str, str]:
    """Return the environment of a run: the caller's, without what would make the same run come out differently elsewhere."""
    foreign = ("PYTHON", "IPYTHON", "JUPYTER", "JPY_", "PAPERMILL", "PLOTLY", "POLARS", "LC_", "LANG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    search = [os.environ.get("PYTHONPATH", "")]
    package = str(Path(workbench.__file__).parent.parent)
    if package not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        search.append(package)  # a checkout that is not installed
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(filter(None, search)),
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "",
        "IPYTHONDIR": folder,
        "JUPYTER_CONFIG_DIR": folder,
        "JUPYTER_NO_CONFIG": "1",
        "JUPYTER_RUNTIME_DIR": folder,
        "JUPYTER_PLATFORM_DIRS": "1",
        "PLOTLY_RENDERER": "plotly_mimetype",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }


def _await(process: subprocess.Popen[str], request: Request, path: Path, *, seconds: float, limit: float) -> Outcome:
    try:
        answer, _ = process.communicate(json.dumps(asdict(request)), timeout=max(seconds, 0))
    except subprocess.TimeoutExpired:
        raise RunTimedOut(
            f"The run of {path.name} took longer than its limit of {limit:g} seconds: raise timeout=, or ask for less."
        ) from None
    try:
        return Outcome(**json.loads(answer))
    except ValueError:
        raise ReportError(f"The process that ran {path.name} ended with status {process.returncode} and without an answer.") from None


def _raise_for(outcome: Outcome, path: Path, cell_timeout: int) -> None:
    cell = "Starting the kernel of" if outcome.cell is None else f"Cell {outcome.cell} of"
    match outcome.ending:
        case "done":
            return
        case "cell failed":
            raise CellFailed(f"{cell} {path.name} failed with {outcome.reason}.")
        case "cell timed out":
            raise CellTimedOut(f"{cell} {path.name} took longer than {cell_timeout} seconds: raise cell_timeout=, or ask for less.")
        case "kernel died":
            raise KernelDied(f"{cell} {path.name} ended its process: it was killed, crashed, or ran out of memory.")
        case "failed":
            raise ReportError(f"The run of {path.name} failed: {outcome.reason}.")


def _settle(page: Path, target: Path) -> None:
    """Put a finished page in its place, so that a reader sees the old one or the new one, also after a power cut."""
    with page.open("rb") as file:
        os.fsync(file.fileno())
    page.replace(target)
