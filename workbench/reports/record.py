"""The record of a run: what was asked, what the page was made from, and how the run ended.

A page is made from its basis: the events up to a position, the notebook, the parameters, the scenario, and the packages. A report that is
run again from the same basis has the same bytes.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

import workbench
from workbench.errors import ReportError
from workbench.reports.parameters import Value
from workbench.reports.request import Ending, RunLimits

if TYPE_CHECKING:
    from workbench.timeline import Timeline

RECORD, PAGE, EXECUTED = "run.json", "report.html", "notebook.ipynb"
"""The names of a run's files: its record, its page, and the notebook with its results."""

# Sums over all events of a type, which do not depend on the order of rows or the version of DuckDB; narrow columns only.
_EVENTS = """
    SELECT type, count(*), sum(position::HUGEINT), sum(recorded_ticks::HUGEINT), sum(revision::HUGEINT),
        sum((position % 2147483647)::HUGEINT * (recorded_ticks % 2147483629)::HUGEINT)
    FROM events GROUP BY type ORDER BY type
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """The request for a run.

    Attributes
    ----------
    notebook
        The path, or the name of one that the workbench brings along.
    at
        The cutoff as the notebook was given it: a time, or a position; None in an empty lake.
    parameters
        The values that were given; the others were the notebook's defaults.
    environment
        The names of the environment variables that were passed to the notebook. Their values are not recorded.
    """

    notebook: str
    lake: str
    at: str | int | None
    scenario: str | None
    parameters: Mapping[str, Value]
    code: bool
    limits: RunLimits
    environment: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Basis:
    """What a page was made from.

    Attributes
    ----------
    store, log
        The address of the event store, and the first event of its log, by which two logs are told apart.
    table, lake_version
        Of the lake: the id that no other has, and its version when the run began.
    position, events, late
        As in ``ReportRun``.
    data
        A digest of the events up to that position: of how many there are of each type, and of their positions, revisions and times.
    notebook, scenario
        Digests of the files.
    defaults
        Of the notebook's parameters.
    packages
        Python and all that is installed beside it, and which version of each.
    """

    store: str
    log: str
    table: str
    lake_version: int
    cutoff: str
    position: int | None
    events: int
    late: int
    edits: tuple[str, ...]
    data: str
    notebook: str
    scenario: str | None
    defaults: Mapping[str, Value]
    packages: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is recorded of one run of a report: enough to repeat it.

    Attributes
    ----------
    title
        The title of the report.
    outcome, message, cell
        How the run ended; the reason for a failure, and the code cell of the notebook in which it was, counted from 1.
    started, seconds, memory
        When it began, how long it took, and the most bytes that its processes held together whenever that was looked at.
    asked
        What was run, over which lake, with which parameters and limits.
    basis
        What the page rests on: the log, the position, the events, the notebook, and the versions of packages.
    page
        The SHA-256 of the page; None if there is none.
    format
        The version of this format.
    """

    title: str
    outcome: Ending
    message: str
    cell: int | None
    started: datetime
    seconds: float
    memory: int
    asked: Asked
    basis: Basis
    page: str | None
    format: Literal[1] = 1

    @property
    def report(self) -> str:
        """The name of the report: that of its notebook."""
        return Path(self.asked.notebook).stem

    def write(self, file: Path) -> None:
        """Write the record as JSON."""
        file.write_bytes(msgspec.json.format(msgspec.json.encode(self)) + b"\n")


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run in a directory of runs.

    Attributes
    ----------
    directory
        The directory of the run itself.
    record
        Its record; None if that cannot be read.
    """

    directory: Path
    record: RunRecord | None


def read_record(run: str | Path) -> RunRecord:
    """Return the record of a run.

    Parameters
    ----------
    run
        The directory of the run.

    Returns
    -------
    RunRecord
        The record.

    Raises
    ------
    ReportError
        The directory is not a run, or its record cannot be read.

    Examples
    --------
    >>> found = read_record("data/runs/event_types-2026-03-01T060000Z")
    >>> found.outcome, found.asked.at, found.basis.events
    ('succeeded', '2026-03-01T00:00:00Z', 12345)
    """
    file = Path(run) / RECORD
    try:
        return msgspec.json.decode(file.read_bytes(), type=RunRecord)
    except FileNotFoundError:
        raise ReportError(f"{run} is no run of a report: there is no {RECORD} in it.") from None
    except (OSError, msgspec.DecodeError) as error:
        raise ReportError(f"The record of the run {run} cannot be read: {error}.") from error


def digest(content: bytes) -> str:
    """Return the SHA-256 of some bytes."""
    return sha256(content).hexdigest()


def digest_of_events(recorded: Timeline) -> str:
    """Return a digest of the events of a timeline, by which it is known whether one is gone, new, or another."""
    return digest(repr(recorded.sql(_EVENTS).fetchall()).encode())


def packages() -> dict[str, str]:
    """Return the versions of Python, the workbench and all installed distributions, by name, as their folders are called."""
    found = {}
    for place in reversed(sys.path):
        for folder in Path(place).glob("*.dist-info") if place else ():
            name, _, version = folder.stem.partition("-")
            found[re.sub(r"[-_.]+", "-", name).lower()] = version
    return {**dict(sorted(found.items())), "workbench": workbench.__version__, "python": platform.python_version()}
