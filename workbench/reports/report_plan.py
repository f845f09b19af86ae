"""What a report is asked for, checked before anything is started."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from workbench.errors import ReportError, UsageError
from workbench.reports.environment import check_set
from workbench.reports.notebook_files import find_notebook
from workbench.reports.parameters import Parameter, Value, check_parameters, declared_parameters
from workbench.reports.request import RunLimits

OWN = ("lake", "at", "scenario")
"""The parameters that the run itself fills in: which lake, until when, and what if."""


@dataclass(frozen=True, slots=True)
class ReportPlan:
    """A run that was found to be possible, before anything is started."""

    path: Path
    lake: str
    at: str | int | datetime | date | None
    scenario: Path | None
    declared: tuple[Parameter, ...]
    values: Mapping[str, Value]
    code: bool
    limits: RunLimits
    environment: tuple[str, ...]
    started: datetime
    began: float

    @property
    def seconds(self) -> float:
        """How long ago it was made."""
        return time.monotonic() - self.began


def plan_report(
    notebook: str | Path,
    *,
    lake: str | Path,
    at: str | int | datetime | date | None,
    scenario: str | Path | None,
    parameters: Mapping[str, object] | Iterable[str],
    limits: RunLimits,
    code: bool = False,
    environment: Iterable[str] = (),
) -> ReportPlan:
    """Check what a report is asked for; see `run_report` for the parameters."""
    path = find_notebook(notebook)
    declared = declared_parameters(path)
    what_if = None if scenario is None else _found(scenario)
    return ReportPlan(
        path=path,
        lake=str(lake) if "://" in str(lake) else str(Path(lake).expanduser().resolve()),
        at=at,
        scenario=what_if,
        declared=declared,
        values=_accept(path, declared, parameters, scenario=what_if),
        code=code,
        limits=limits,
        environment=check_set(environment),
        started=datetime.now(UTC),
        began=time.monotonic(),
    )


def _found(scenario: str | Path) -> Path:
    """Return where a scenario lies, seen from anywhere: the notebook runs in a folder of its own."""
    from workbench.scenarios import find_scenario  # noqa: PLC0415  # the child has no use for it

    return find_scenario(scenario).resolve()


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
    for name in OWN:
        if name in values:
            raise UsageError(f"Give {name!r} as an argument of the run, not as a parameter of {path.name}.")
    return values
